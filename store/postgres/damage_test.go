package postgres

import (
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store"
)

// TestDamage spoils what is stored, one thing at a time, and looks whether Check says so, and whether Rebuild mends
// what can be mended.
func TestDamage(t *testing.T) {
	url := servers.Database(t)
	s := on(t, url, Options{})
	defer closeStore(t, s)
	v := coffer.VaultID{1}
	d := newDocument("d", coffer.Tag{Key: "k", Name: "n", Value: "v"}, coffer.Tag{Key: "k", Name: "u", Value: "v",
		Unique: true})
	apply(t, s, putting(v, d))
	w := putting(v, successor(d, "e", d.Tags...))
	w.Keep = true
	apply(t, s, w)
	gone := newDocument("gone")
	apply(t, s, putting(v, gone))
	apply(t, s, store.Write{Vault: v, Time: w.Time, Erase: &gone.ID})
	apply(t, s, store.Write{Vault: v, Attach: &store.Chunk{ID: d.ID, Blob: "b", Ref: coffer.ChunkRef{Sequence: 1,
		Size: 5}}})
	apply(t, s, putting(coffer.VaultID{2}, newDocument("another vault", d.Tags...)))
	checkClean(t, s)
	for _, damage := range []struct {
		sql   string
		says  string
		mends bool
	}{
		{`UPDATE revisions SET body = 'x' WHERE superseded IS NULL`, "does not hash to its name", false},
		{`UPDATE revisions SET body = 'x' WHERE superseded IS NOT NULL`, "does not hash to its name", false},
		{`UPDATE revisions SET tags = 'x'`, "a revision does not decode", false},
		{`UPDATE revisions SET rev = 'x'`, "a revision does not decode", false},
		{`UPDATE revisions SET parents = 'x'`, "a revision does not decode", false},
		{`UPDATE revisions SET size = size + 1`, "not as large as it should be", false},
		{`UPDATE revisions SET superseded = now()`, "an object that is present has no revision", false},
		{`DELETE FROM revisions WHERE superseded IS NULL`, "an object that is present has no revision", false},
		{`UPDATE documents SET present = false, rev = NULL, size = 0, chunks = 0`,
			"a revision has no object that is present", false},
		{`DELETE FROM documents`, "a revision has no object that is present", false},
		{`UPDATE documents SET size = size + 1`, "", false},
		{`UPDATE documents SET number = number + 1`, "an object's last change is not in the feed", false},
		{`UPDATE documents SET chunks = chunks + 1 WHERE present`, "more or fewer chunks", true},
		{`DELETE FROM tags`, "a document is missing from an index", true},
		{`DELETE FROM tags WHERE exclusive`, "a document is missing from an index", true},
		{`UPDATE tags SET exclusive = false`, "a document is missing from an index", true},
		{`UPDATE tags SET name = tag`, "a document is missing from an index", true},
		{`UPDATE tags SET id = '00000000-0000-0000-0000-000000000001'`, "an index entry has no document", true},
		{`INSERT INTO tags SELECT vault, name, tag, id, true FROM tags`, "an index entry has no document", true},
		{`DELETE FROM feed WHERE number = 2`, "changes are missing from a feed", false},
		{`DELETE FROM feed WHERE number = 1`, "changes are missing from a feed", false},
		{`UPDATE feed SET kind = 4`, "a change does not decode", false},
		{`UPDATE feed SET rev = 'x' WHERE kind = 1`, "a change does not decode", false},
		{`UPDATE vaults SET bytes = bytes + 1`, "usage of a vault does not add up", true},
		{`UPDATE vaults SET documents = 7`, "usage of a vault does not add up", true},
		{`UPDATE vaults SET changes = changes + 1`, "usage of a vault does not add up", true},
		{`UPDATE chunks SET size = 6`, "usage of a vault does not add up", true},
		{`UPDATE chunks SET sum = 'x'`, "a chunk does not decode", false},
		{`UPDATE chunks SET series = 0`, "a set that its document does not have", false},
		{`UPDATE chunks SET id = '00000000-0000-0000-0000-000000000001'`, "a chunk is attached to nothing", false},
		{`DELETE FROM chunks`, "more or fewer chunks", true},
		{`UPDATE vaults SET law = 0; DELETE FROM vaults`, "a vault has no usage", true},
	} {
		all := append([]string{"coffer_format"}, tables...)
		var save, restore string
		for _, table := range all {
			save += `DROP TABLE IF EXISTS saved_` + table + `; CREATE TABLE saved_` + table + ` AS SELECT * FROM ` + table + `; `
			restore += `DELETE FROM ` + table + `; INSERT INTO ` + table + ` SELECT * FROM saved_` + table + `; `
		}
		run(t, url, save+damage.sql)
		says := reports(t, s)
		if len(says) == 0 || !slices.ContainsFunc(says, func(one string) bool { return strings.Contains(one, damage.says) }) {
			t.Errorf("%s: Check says %q, want %q", damage.sql, says, damage.says)
		}
		if damage.mends {
			var mended []string
			if err := s.Rebuild(t.Context(), func(one string) { mended = append(mended, one) }); err != nil || len(mended) == 0 {
				t.Errorf("%s: Rebuild: %q, %v", damage.sql, mended, err)
			}
			if says := reports(t, s); len(says) > 0 {
				t.Errorf("%s: after Rebuild, Check says %q", damage.sql, says)
			}
			if err := s.Rebuild(t.Context(), func(one string) {
				t.Errorf("%s: a second Rebuild: %s", damage.sql,
					one)
			}); err != nil {
				t.Errorf("Rebuild: %v", err)
			}
		}
		run(t, url, restore)
	}
	checkClean(t, s)
}

func reports(t *testing.T, s *Store) (says []string) {
	t.Helper()
	if err := s.Check(t.Context(), func(one string) { says = append(says, one) }, nil); err != nil {
		t.Errorf("Check: %v", err)
	}
	return says
}

// TestRivals rebuilds an index when two documents hold a unique tag.
func TestRivals(t *testing.T) {
	url := servers.Database(t)
	s := on(t, url, Options{})
	defer closeStore(t, s)
	v := coffer.VaultID{1}
	tag := coffer.Tag{Key: "k", Name: "u", Value: "v", Unique: true}
	apply(t, s, putting(v, newDocument("holder", tag)))
	run(t, url, `CREATE TABLE saved AS SELECT * FROM tags; DELETE FROM tags`)
	apply(t, s, putting(v, newDocument("rival", tag)))
	var mended []string
	if err := s.Rebuild(t.Context(), func(one string) { mended = append(mended, one) }); err != nil {
		t.Fatal(err)
	}
	if len(mended) != 2 || !strings.Contains(mended[1], "unique tags that more than one document holds") {
		t.Errorf("Rebuild: %q", mended)
	}
}
