package hubtest

import (
	"encoding/base64"
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
)

// typed: objects are found by context and type, and no schema has to be known.
func (s *story) typed() {
	alice := &s.Alice
	first := s.create(alice, playlists, `{"name":"one"}`, meta(members{"title": "One", "tags": []string{"rock"}}))
	s.create(alice, games, `{"name":"chess"}`)
	second := s.create(alice, playlists, `plain text`)
	s.create(alice, kind{"Collections", "https://schema.org", "MusicPlaylist"}, `{}`)
	s.create(alice, kind{"Collections", "http://schema.org/", "MusicPlaylist"}, `{}`)
	s.lists(alice, playlists.query(), first, second)
	s.reads(alice, playlists, first, `{"name":"one"}`)
	s.reads(alice, playlists, second, `plain text`)

	o := s.object(alice, playlists, first)
	if o.Interface != "Collections" || o.Context != playlists.context || o.Type != playlists.typ ||
		o.CreatedBy != alice.DID ||
		o.Sub != alice.DID || o.Strategy != "basic" || o.UpdatedBy != alice.DID || o.Revision != first || o.Deleted ||
		o.CreatedAt.IsZero() || !o.CreatedAt.Equal(o.UpdatedAt) {
		s.Errorf("got %+v", o)
	}
	s.equal("meta", o.Meta, members{"title": "One", "tags": []string{"rock"}})

	// Of an update, what it says counts.
	c := s.commit(alice, playlists, `{"name":"uno"}`, updating(first), meta(members{"title": "Uno"}))
	if revs := s.write(alice, c); !slices.Equal(revs, []coffer.CommitRev{first, c.Rev()}) {
		s.Errorf("the revisions are %v", short(revs))
	}
	now := s.object(alice, playlists, first)
	if now.Revision != c.Rev() || !now.CreatedAt.Equal(o.CreatedAt) || !now.UpdatedAt.After(o.UpdatedAt) {
		s.Errorf("got %+v", now)
	}
	s.equal("meta", now.Meta, members{"title": "Uno"})
	s.lists(alice, playlists.query(), first, second)

	// All commits of an object, in the order of arrival, as they were written.
	got := s.commits(alice, &coffer.CommitQuery{Objects: []coffer.CommitRev{first}})
	if len(got) != 2 || got[0].Rev() != first {
		s.Fatalf("got %d commits", len(got))
	}
	s.same(got[1], c, alice.DID)
	var h struct {
		ObjectID coffer.CommitRev `json:"object_id"`
	}
	if err := json.Unmarshal(got[0].Header, &h); err != nil || h.ObjectID != first {
		s.Errorf("the header of a create commit says %s", got[0].Header)
	}
}

// customSchema: any context and type will do, as long as there are both.
func (s *story) customSchema() {
	alice := &s.Alice
	for _, k := range []kind{
		{"Collections", "https://example.org/inventory#v2", "Möbelstück"},
		{"Collections", "urn:x", strings.Repeat("t", 1000)},
		{"Collections", " ", "a/b c%20"},
		{"Collections", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU", "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0"},
	} {
		id := s.create(alice, k, `{"x":1}`)
		s.permit(&s.Bob, "-R--", k)
		s.lists(&s.Bob, k.query(), id)
		s.reads(&s.Bob, k, id, `{"x":1}`)
	}
	s.refused(s.try(alice, s.commit(alice, playlists, "x", members{"type": nil})), coffer.Invalid, "commit.protected.type")
	s.refused(s.try(alice, s.commit(alice, playlists, "x", members{"context": nil})), coffer.Invalid,
		"commit.protected.context")
	for _, q := range []coffer.ObjectQuery{
		{Interface: "Collections", Context: "http://schema.org"},
		{Interface: "Collections", Type: "MusicPlaylist"},
	} {
		_, err := alice.Hub.Objects(s.ctx, alice.DID, &q)
		s.refused(err, coffer.Invalid, "query.context, query.type")
	}
	_, err := alice.Hub.Objects(s.ctx, alice.DID, &coffer.ObjectQuery{})
	s.refused(err, coffer.Invalid, "query.interface")
}

// anyOrder: the same commits, adopted in any order and more than once, make the same state, at every place.
func (s *story) anyOrder() {
	alice := &s.Alice
	random := rand.New(rand.NewPCG(7, 7))
	at := s.now().Add(-time.Hour)
	var all []*coffer.Commit
	for i := range 8 {
		strategy := members{"commit_strategy": []string{"basic", "lastWriterWins", "json-merge-patch"}[i%3]}
		first := s.commit(alice, playlists, s.json(members{"n": i}), strategy)
		all = append(all, first)
		for j := range 6 {
			operation := updating(first.Rev())
			if i%2 == 1 && j == 3 {
				operation = deleting(first.Rev())
			}
			// Few times, so that revisions decide.
			when := members{"committed_at": stamp(at.Add(time.Duration(random.IntN(3)) * time.Millisecond))}
			title := meta(members{"title": s.json([]int{i, j})})
			all = append(all, s.commit(alice, playlists, s.json(members{"n": j, s.json(j): i}), strategy, operation, when,
				title))
		}
	}
	var want []coffer.HubObject
	for round := range 4 {
		p := s.Place
		if round > 0 {
			p = s.Fresh(s.T)
		}
		left := slices.Clone(all)
		if round == 0 { // one by one, as they were made
			for _, c := range left {
				s.writeTo(alice, &p.Alice, c)
			}
		} else {
			random.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
			n, err := p.Alice.Hub.Adopt(s.ctx, alice.DID, append(left, left[:20]...)...)
			if err != nil || n != len(all) {
				s.Fatalf("adopted %d of %d: %v", n, len(all), err)
			}
			if n, err = p.Alice.Hub.Adopt(s.ctx, alice.DID, left[:10]...); err != nil || n != 0 {
				s.Fatalf("adopted %d again: %v", n, err)
			}
		}
		got, _ := s.pages(p.Alice.Hub, alice.DID, playlists.query())
		slices.SortFunc(got, func(a, b coffer.HubObject) int { return strings.Compare(a.ID.String(), b.ID.String()) })
		if round == 0 {
			want = got
			continue
		}
		s.equal("objects", got, want)
	}
	if len(want) != 8 {
		s.Errorf("%d objects", len(want))
	}
}

// refusals: each thing that can be wrong with a commit (reference, section 7.3), and which part is at fault.
func (s *story) refusals() {
	alice, bob := &s.Alice, &s.Bob
	id := s.create(alice, playlists, `{"name":"one"}`)
	before := s.commits(alice, &coffer.CommitQuery{})

	refused := func(as *Person, c *coffer.Commit, kind coffer.Kind, target string) {
		s.Helper()
		s.refused(s.try(as, c), kind, target)
	}
	for _, name := range []string{
		"interface", "context", "type", "operation", "committed_at", "commit_strategy", "sub",
	} {
		for _, value := range []any{nil, "", 7, []string{"x"}} {
			refused(alice, s.commit(alice, playlists, "x", members{name: value}), coffer.Invalid, "commit.protected."+name)
		}
	}
	for _, test := range []struct {
		with   members
		target string
	}{
		{members{"operation": "upsert"}, "operation"},
		{members{"operation": "Create"}, "operation"},
		{members{"object_id": id.String()}, "object_id"},
		{members{"operation": "update"}, "object_id"},
		{members{"operation": "delete"}, "object_id"},
		{members{"operation": "update", "object_id": "x"}, "object_id"},
		{members{"operation": "update", "object_id": strings.ToUpper(id.String())}, "object_id"},
		{members{"rev": id.String()}, "rev"},
		{members{"crit": []string{"x"}}, "crit"},
		{members{"iss": bob.DID}, "iss"},
		{members{"committed_at": "yesterday"}, "committed_at"},
		{members{"committed_at": stamp(s.now().Add(20 * time.Minute))}, "committed_at"},
		{members{"commit_strategy": "theirs"}, "commit_strategy"},
		{members{"interface": "Things"}, "interface"},
		{members{"interface": "collections"}, "interface"},
		{members{"sub": bob.DID}, "sub"},
		{members{"meta": "x"}, "meta"},
		{members{"meta": members{"x": strings.Repeat("x", 5000)}}, "meta"},
	} {
		refused(alice, s.commit(alice, playlists, "x", test.with), coffer.Invalid, "commit.protected."+test.target)
	}
	// Five minutes ahead is a clock that is ahead.
	s.write(alice, s.commit(alice, games, "x", members{"committed_at": stamp(s.now().Add(5 * time.Minute))}))

	good := s.commit(alice, playlists, "x")
	other := s.commit(alice, playlists, "y")
	for _, test := range []struct {
		change func(*coffer.Commit)
		target string
	}{
		{func(c *coffer.Commit) { c.Protected = "" }, "commit.protected"},
		{func(c *coffer.Commit) { c.Protected += "=" }, "commit.protected"},
		{func(c *coffer.Commit) {
			b, err := base64.RawURLEncoding.DecodeString(c.Protected)
			if err != nil {
				s.Fatal(err)
			}
			twice := `{"operation":"delete",` + string(b[1:])
			c.Protected = base64.RawURLEncoding.EncodeToString([]byte(twice))
		}, "commit.protected"},
		{func(c *coffer.Commit) { c.Payload = "" }, "commit.payload"},
		{func(c *coffer.Commit) { c.Payload = "eA==" }, "commit.payload"},
		{func(c *coffer.Commit) { c.Payload = base64.RawURLEncoding.EncodeToString(make([]byte, 1<<20+1)) },
			"commit.payload"},
		{func(c *coffer.Commit) { c.Signature = "" }, "commit.signature"},
		{func(c *coffer.Commit) { c.Signature = "?" }, "commit.signature"},
		{func(c *coffer.Commit) { c.Header = json.RawMessage(`[]`) }, "commit.header"},
		// What is well formed and not what was signed.
		{func(c *coffer.Commit) { c.Signature = other.Signature }, "commit"},
		{func(c *coffer.Commit) { c.Payload = other.Payload }, "commit"},
	} {
		c := *good
		test.change(&c)
		refused(alice, &c, coffer.Invalid, test.target)
	}
	refused(alice, nil, coffer.Invalid, "commit")

	// Somebody else's commit, be it right or not, whoever sends it.
	refused(bob, good, coffer.Invalid, "commit")
	refused(alice, s.commit(bob, playlists, "x"), coffer.Invalid, "commit")

	// Objects are found with their interface, context and type only, and keep their strategy.
	for _, k := range []kind{games, {"Profile", playlists.context, playlists.typ}, {"Collections", "schema.org",
		playlists.typ}} {
		refused(alice, s.commit(alice, k, "x", updating(id)), coffer.NotExist, "")
		refused(alice, s.commit(alice, k, "{}", deleting(id)), coffer.NotExist, "")
	}
	refused(alice, s.commit(alice, playlists, "x", updating(good.Rev())), coffer.NotExist, "")
	refused(alice, s.commit(alice, playlists, "x", updating(id), members{"commit_strategy": "lastWriterWins"}),
		coffer.Invalid, "commit.protected.commit_strategy")

	// Nothing of this is there. What the hub computes is not to be had from a sender.
	after := s.commits(alice, &coffer.CommitQuery{})
	if len(after) != len(before)+1 {
		s.Errorf("%d commits are there, were %d and one more", len(after), len(before))
	}
	lying := s.commit(alice, playlists, "x")
	lying.Header = json.RawMessage(`{"iss":"did:example:mallory","rev":"00","object_id":"` + id.String() + `","mine":1}`)
	s.write(alice, lying)
	got := s.commits(alice, &coffer.CommitQuery{Revisions: []coffer.CommitRev{lying.Rev()}})
	if len(got) != 1 {
		s.Fatalf("%d commits", len(got))
	}
	s.same(got[0], lying, alice.DID)
	var h struct {
		ObjectID coffer.CommitRev `json:"object_id"`
		Mine     int
	}
	if err := json.Unmarshal(got[0].Header, &h); err != nil || h.ObjectID != lying.Rev() || h.Mine != 1 {
		s.Errorf("the header says %s", got[0].Header)
	}
	update := s.commit(alice, playlists, "y", updating(lying.Rev()))
	update.Header = lying.Header
	s.write(alice, update)
	got = s.commits(alice, &coffer.CommitQuery{Revisions: []coffer.CommitRev{update.Rev()}})
	if len(got) != 1 {
		s.Fatalf("%d commits", len(got))
	}
	s.same(got[0], update, alice.DID)
	if strings.Contains(string(got[0].Header), id.String()) {
		s.Errorf("the header says %s", got[0].Header)
	}
}
