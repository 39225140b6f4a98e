package pebble

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// TestCheckFindsDamage plants damage of each sort, one at a time, and expects Check to say so.
func TestCheckFindsDamage(t *testing.T) {
	v, other := coffer.VaultID{1}, coffer.VaultID{2}
	tag := coffer.Tag{Key: "k", Name: "n", Value: "v"}
	name := coffer.Tag{Key: "k", Name: "name", Value: "v", Unique: true}
	first := newDocument("first", tag, name)
	second := successor(first, "second", tag, name)
	beside, erased := newDocument("beside", tag), newDocument("erased", tag)
	chunk := store.Chunk{ID: first.ID, Blob: "blob", Ref: coffer.ChunkRef{Sequence: 1, Size: 7}}

	object := func(table byte, d *coffer.Document) []byte { return appendObject(nil, v, table, d.ID) }
	posting := func(m term, d *coffer.Document) []byte { return append(appendTerm(nil, v, m), d.ID[:]...) }
	tagged, named := tagTerm(tag.Key, tag.Name, tag.Value), nameTerm(tag.Key, tag.Name)
	unique := tagTerm(name.Key, name.Name, name.Value)
	unique[0] = uniqueTable
	chunkKey := appendChunk(nil, v, first.ID, 1, 0)
	usageKey := appendTable(nil, v, usageTable)
	// edited returns a value with one byte changed, counted from the front or from the back.
	edited := func(at int) func([]byte) []byte {
		return func(b []byte) []byte {
			b = slices.Clone(b)
			b[(at+len(b))%len(b)] ^= 1
			return b
		}
	}
	set := func(value []byte) func([]byte) []byte { return func([]byte) []byte { return value } }
	gone := func([]byte) []byte { return nil }

	for what, damage := range map[string]struct {
		key  []byte
		edit func([]byte) []byte // nil deletes
		want string
	}{
		"document form":        {object(docTable, first), edited(0), "a document does not decode"},
		"document body":        {object(docTable, first), edited(-1), "a document does not hash to its name"},
		"document name":        {object(docTable, first), edited(5), "a document and its head do not agree"},
		"document gone":        {object(docTable, first), gone, "a head has no document"},
		"document of nobody":   {object(docTable, erased), set(appendRevision(nil, erased, erased.Rev())), "a document has no head"},
		"head gone":            {object(headTable, first), gone, "a document has no head"},
		"head form":            {object(headTable, first), edited(0), "a head does not decode"},
		"head size":            {object(headTable, first), edited(-2), "a document and its head do not agree"},
		"head chunks":          {object(headTable, first), edited(-1), "more or fewer chunks than it should"},
		"head with chunks":     {object(headTable, beside), edited(-1), "more or fewer chunks than it should"},
		"head change":          {object(headTable, erased), edited(-1), "last change is not in the feed"},
		"head of nobody":       {appendObject(nil, v, headTable, coffer.ObjectID{1}), set([]byte{1, 0, 0, 99}), "last change is not in the feed"},
		"chunk gone":           {chunkKey, gone, "more or fewer chunks than it should"},
		"chunk form":           {chunkKey, edited(0), "a chunk does not decode"},
		"chunk size":           {chunkKey, edited(1), "usage of a vault does not add up"},
		"chunk of nobody":      {appendChunk(nil, v, erased.ID, 0, 0), set(encodeChunk(nil, &chunk)), "a chunk is attached to nothing"},
		"chunk of another set": {appendChunk(nil, v, first.ID, 0, 0), set(encodeChunk(nil, &chunk)), "a set that its document does not have"},
		"change gone":          {appendChange(nil, v, 2), gone, "changes are missing from a feed"},
		"first change gone":    {appendChange(nil, v, 1), gone, "changes are missing from a feed"},
		"last change gone":     {appendChange(nil, v, 5), gone, "usage of a vault does not add up"},
		"change form":          {appendChange(nil, v, 2), edited(0), "a change does not decode"},
		"change rev":           {appendChange(nil, v, 2), edited(25), "last change is not in the feed"},
		"change too many":      {appendChange(nil, v, 7), set([]byte{1}), "changes are missing from a feed"},
		"tag gone":             {posting(tagged, first), gone, "a document is missing from an index"},
		"name gone":            {posting(named, beside), gone, "a document is missing from an index"},
		"unique tag gone":      {appendTerm(nil, v, unique), gone, "a document is missing from an index"},
		"unique tag stolen":    {appendTerm(nil, v, unique), set(beside.ID[:]), "a unique tag is held by another document"},
		"unique tag form":      {appendTerm(nil, v, unique), edited(99), "a unique tag is held by another document"},
		"unique tag short":     {appendTerm(nil, v, unique), set([]byte{1}), "an index entry does not decode"},
		"tag of nobody":        {posting(tagged, erased), set([]byte{}), "an index entry has no document"},
		"name of nobody":       {posting(named, erased), set([]byte{}), "an index entry has no document"},
		"unique tag of nobody": {appendTerm(nil, v, term{uniqueTable}), set(beside.ID[:]), "an index entry has no document"},
		"tag with a value":     {posting(tagged, first), set([]byte{1}), "an index entry does not decode"},
		"usage gone":           {usageKey, gone, "a vault has no usage"},
		"usage form":           {usageKey, edited(0), "the usage of a vault does not decode"},
		"usage off":            {usageKey, edited(2), "the usage of a vault does not add up"},
		"unknown table":        {appendTable(nil, v, 'z'), set([]byte{1}), "a key is of no known form"},
		"unknown key":          {[]byte{7}, set([]byte{1}), "a key is of no known form"},
		"long key":             {append(usageKey, 1), set([]byte{1}), "a key is of no known form"},
		"another vault":        {appendTable(nil, coffer.VaultID{9}, usageTable), edited(2), ""},
	} {
		t.Run(what, func(t *testing.T) {
			fs := vfs.NewMem()
			s := on(t, "store", Options{FS: fs})
			apply(t, s, putting(v, first), putting(other, first))
			apply(t, s, putting(v, second))
			apply(t, s, store.Write{Vault: v, Attach: &chunk})
			apply(t, s, putting(v, beside), putting(v, erased))
			w := putting(v, erased)
			w.Document, w.Erase = nil, &erased.ID
			apply(t, s, w)
			checkClean(t, s)
			if damage.want == "" {
				closeStore(t, s)
				return
			}

			value, closer, err := s.db.Get(damage.key)
			if err == nil {
				value = slices.Clone(value)
				_ = closer.Close()
			} else if !errors.Is(err, engine.ErrNotFound) {
				t.Fatal(err)
			}
			if value = damage.edit(value); value == nil {
				err = s.db.Delete(damage.key, engine.Sync)
			} else {
				err = s.db.Set(damage.key, value, engine.Sync)
			}
			if err != nil {
				t.Fatal(err)
			}
			var said []string
			if err := s.Check(t.Context(), func(what string) { said = append(said, what) }, nil); err != nil {
				t.Errorf("Check: %v", err)
			}
			if !slices.ContainsFunc(said, func(what string) bool { return strings.Contains(what, damage.want) }) {
				t.Errorf("Check said %q, want %q", said, damage.want)
			}
			closeStore(t, s)
		})
	}
}

// TestRottenDisk changes bytes in the middle of every table on the disk: no read may return what was never written.
func TestRottenDisk(t *testing.T) {
	dir := t.TempDir()
	v := coffer.VaultID{1}
	s := on(t, dir, Options{})
	var all []*coffer.Document
	for range 200 {
		d := newDocument(strings.Repeat("body", 500), coffer.Tag{Key: "k", Name: "n", Value: "v"})
		apply(t, s, putting(v, d))
		all = append(all, d)
	}
	if err := s.db.Flush(); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	damaged := 0
	for _, pattern := range []string{"*.sst", "*.blob"} {
		names, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			for i := len(b) / 4; i < len(b)/2; i++ {
				b[i] ^= 0x5a
			}
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
			damaged++
		}
	}
	if damaged < 2 {
		t.Fatalf("%d tables", damaged)
	}
	var said bytes.Buffer
	s, err := Open(dir, Options{})
	if err != nil {
		if !errors.Is(err, coffer.Corrupt) {
			t.Fatalf("Open: %v, want Corrupt", err)
		}
		return
	}
	lost := 0
	for _, d := range all {
		got, err := s.Get(t.Context(), v, d.ID)
		switch {
		case err == nil && got.Rev() != d.Rev():
			t.Fatal("Get returned what was never written")
		case err != nil && !errors.Is(err, coffer.Corrupt):
			t.Fatalf("Get: %v, want Corrupt", err)
		case err != nil:
			lost++
		}
	}
	if lost == 0 {
		t.Error("no document was damaged")
	}
	err = s.Check(t.Context(), func(what string) { said.WriteString(what) }, nil)
	if said.Len() == 0 || err != nil && !errors.Is(err, coffer.Corrupt) {
		t.Errorf("Check said %q and %v", &said, err)
	}
	_ = s.Close()
}
