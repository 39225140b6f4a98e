package hubtest

import (
	"encoding/json"
	"strings"

	"github.com/cofferhq/coffer"
)

// intent: a request returns as much of the data as it says, and another instance takes commits without their payloads,
// which it can be given later.
func (s *story) intent() {
	alice, bob := &s.Alice, &s.Bob
	long := `{"name":"long","text":"` + strings.Repeat("x", coffer.MaxAttributes) + `"}`
	small := s.create(alice, playlists, `{"name":"small"}`, meta(members{"title": "S", "cache-intent": "min"}))
	s.update(alice, playlists, small, `{"name":"smaller"}`, meta(members{"title": "S", "cache-intent": "min"}))
	s.create(alice, playlists, long, meta(members{"title": "L", "cache-intent": "attr"}))
	patched := s.create(alice, games, `{"n":1}`, members{"commit_strategy": "json-merge-patch"})
	s.update(alice, games, patched, `{"m":2}`, members{"commit_strategy": "json-merge-patch"})

	sizes := func(p *Place, k kind, intent string) (got []int) {
		s.Helper()
		a := k.act(coffer.RequestVerb)
		if intent != "" {
			a.Meta = json.RawMessage(`{"cache-intent":"` + intent + `"}`)
		}
		items, err := p.Alice.Hub.Perform(s.ctx, alice.DID, &a)
		if err != nil {
			s.Fatalf("request: %v", err)
		}
		for _, i := range items {
			if i.ID == "" || k == playlists && !strings.Contains(string(i.Meta), "title") {
				s.Errorf("the record is %+v", i)
			}
			got = append(got, len(i.Data))
		}
		return got
	}
	whole := len(`{"name":"smaller"}`)
	s.equal("no data", sizes(s.Place, playlists, "min"), []int{0, 0})
	s.equal("short data", sizes(s.Place, playlists, "attr"), []int{whole, 0})
	s.equal("all data", sizes(s.Place, playlists, "full"), []int{whole, len(long)})
	s.equal("all data", sizes(s.Place, playlists, ""), []int{whole, len(long)})

	// From outside every commit comes whole.
	mine := s.commit(alice, playlists, `{"name":"half"}`)
	rev := mine.Rev()
	mine.Payload, mine.Withheld = "", &rev
	_, err := alice.Hub.Write(s.ctx, alice.DID, mine)
	s.refused(err, coffer.Invalid, "commit.withheld")

	to := s.Fresh(s.T)
	all := s.commits(alice, &coffer.CommitQuery{})
	without := make([]*coffer.Commit, len(all))
	for i, c := range all {
		rev := c.Rev()
		without[i] = &coffer.Commit{Protected: c.Protected, Header: c.Header, Signature: c.Signature, Withheld: &rev}
	}
	if n, err := to.Alice.Hub.Adopt(s.ctx, alice.DID, without...); err != nil || n != len(all) {
		s.Fatalf("adopted %d of %d: %v", n, len(all), err)
	}
	s.equal("no data", sizes(to, playlists, "full"), []int{0, 0})
	s.equal("no data", sizes(to, games, ""), []int{0})
	page, err := to.Alice.Hub.Objects(s.ctx, alice.DID, playlists.query())
	if err != nil || len(page.Objects) != 2 || !page.Objects[0].Withheld || page.Objects[0].ID != small {
		s.Fatalf("objects: %+v, %v", page, err)
	}
	back, err := to.Alice.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{Objects: []coffer.CommitRev{small}})
	if err != nil || len(back.Commits) != 2 {
		s.Fatalf("commits: %+v, %v", back, err)
	}
	for i, c := range back.Commits {
		if c.Withheld == nil || c.Payload != "" || c.Rev() != all[i].Rev() || c.Protected != all[i].Protected {
			s.Errorf("commit %d: %+v", i, c)
		}
	}

	// Commits that come whole later fill in, once; those that come without do not take away.
	for i, want := range []int{1, 0} {
		if n, err := to.Alice.Hub.Adopt(s.ctx, alice.DID, all[1]); err != nil || n != want {
			s.Errorf("whole, time %d: %d new: %v", i, n, err)
		}
	}
	if n, err := to.Alice.Hub.Adopt(s.ctx, alice.DID, without...); err != nil || n != 0 {
		s.Errorf("without, again: %d new: %v", n, err)
	}
	s.equal("some data", sizes(to, playlists, "full"), []int{whole, 0})
	if n, err := to.Alice.Hub.Adopt(s.ctx, alice.DID, all...); err != nil || n != len(all)-1 {
		s.Errorf("all whole: %d new: %v", n, err)
	}
	s.equal("all data", sizes(to, playlists, "full"), []int{whole, len(long)})
	s.equal("all data", sizes(to, games, ""), []int{len(`{"m":2,"n":1}`)})

	// Grants and messages are never without.
	grant, message := s.commit(alice, grants, s.grantOf(bob.DID, "-R--", playlists)), s.commit(bob, messages, "hello")
	for _, c := range []*coffer.Commit{grant, message} {
		rev := c.Rev()
		c.Payload, c.Withheld = "", &rev
		_, err := to.Alice.Hub.Adopt(s.ctx, alice.DID, c)
		s.refused(err, coffer.Invalid, "commit.withheld")
	}
}
