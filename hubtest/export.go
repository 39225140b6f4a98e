package hubtest

import (
	"errors"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
)

// copy exports all of Alice's hub and imports it at another place, and returns how many commits that were.
func (s *story) copy(to *Place) int {
	s.Helper()
	all := s.commits(&s.Alice, &coffer.CommitQuery{})
	for part := range slices.Chunk(all, 7) {
		n, err := to.Alice.Hub.Adopt(s.ctx, s.Alice.DID, part...)
		if err != nil || n != len(part) {
			s.Fatalf("adopted %d of %d: %v", n, len(part), err)
		}
	}
	return len(all)
}

// export: all of a hub is had by one query, and a hub made of it answers like the first, to everybody.
func (s *story) export() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	list := s.create(alice, playlists, `{"n":1}`, members{"commit_strategy": "json-merge-patch"},
		meta(members{"title": "One"}))
	s.create(alice, playlists, "public", meta(members{"public": true}))
	s.create(alice, profiles, `{"name":"Alice"}`)
	s.permit(bob, "CRU-", playlists)
	s.permit(carol, "-R--", games, members{"created_by": bob.DID})
	ended := s.permit(carol, "CRUD", playlists)
	s.permit(bob, "C---", games)
	s.create(alice, games, "Alice's")
	s.create(bob, games, "Bob's")
	s.update(bob, playlists, list, `{"m":2}`, members{"commit_strategy": "json-merge-patch"})
	s.remove(alice, grants, ended)
	s.remove(alice, playlists, s.create(bob, playlists, "gone"))
	s.create(bob, messages, "hello")
	s.permitStore(bob)
	s.create(bob, store(bob, "a"), "1")
	items, err := bob.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
		Interface: playlists.iface, Verb: coffer.AddVerb, Context: playlists.context, Type: playlists.typ,
		Payload: raw(`{"by":"verb"}`),
	})
	if err != nil || len(items) != 1 {
		s.Fatalf("%d items: %v", len(items), err)
	}

	to := s.Fresh(s.T)
	s.copy(to)
	if n := s.copyAgain(to); n != 0 {
		s.Errorf("%d commits were new when all were there", n)
	}
	type answer struct {
		Objects []coffer.HubObject
		Commits []coffer.CommitRev
		Items   []coffer.HubItem
		Kind    coffer.Kind
	}
	ask := func(p *Place) (all []answer) {
		s.Helper()
		for _, who := range []*Person{&p.Alice, &p.Bob, &p.Carol, &p.Dave} {
			for _, k := range []kind{
				playlists, games, profiles, grants, messages, store(bob, "a"), {iface: "Collections"}, {iface: "Profile"},
				{iface: "Permissions"}, {iface: "Actions"}, {iface: "Stores"}, {iface: "Services"},
			} {
				var a answer
				if page, err := who.Hub.Objects(s.ctx, alice.DID, k.query()); err != nil {
					a.Kind = coffer.KindOf(err)
				} else {
					a.Objects = page.Objects
					for i := range a.Objects {
						a.Objects[i].Used = nil // what was done here, and not there
					}
					var asked []coffer.CommitRev
					for _, o := range page.Objects {
						asked = append(asked, o.ID)
					}
					if len(asked) > 0 {
						page, err := who.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{Objects: asked})
						if err != nil {
							s.Errorf("the commits of listed objects: %v", err)
							continue
						}
						for _, c := range page.Commits {
							a.Commits = append(a.Commits, c.Rev())
						}
					}
				}
				if k.context != "" {
					a.Items, _ = who.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
						Interface: k.iface, Verb: coffer.RequestVerb, Context: k.context, Type: k.typ,
					})
				}
				all = append(all, a)
			}
		}
		return all
	}
	want, got := ask(s.Place), ask(to)
	for i := range want {
		s.equal("answer "+string(rune('A'+i%12))+" to person "+string(rune('1'+i/12)), got[i], want[i])
	}
	if o := got[0].Objects; len(o) != 4 || o[3].CreatedBy != bob.DID {
		s.Errorf("%d playlists", len(o))
	}

	// Permissions are in force there.
	second := &story{T: s.T, Place: to, ctx: s.ctx, last: s.last}
	second.create(&to.Bob, playlists, "written there")
	second.denied(second.try(&to.Carol, second.commit(&to.Carol, playlists, "x")))

	// And all of it goes back.
	s.last = second.last
	back := second.commits(&to.Alice, &coffer.CommitQuery{})
	if n, err := alice.Hub.Adopt(s.ctx, alice.DID, back...); err != nil || n != 1 {
		s.Errorf("%d commits came back: %v", n, err)
	}
}

func (s *story) copyAgain(to *Place) int {
	s.Helper()
	n, err := to.Alice.Hub.Adopt(s.ctx, s.Alice.DID, s.commits(&s.Alice, &coffer.CommitQuery{})...)
	if err != nil {
		s.Fatal(err)
	}
	return n
}

// parted: two instances of a hub, each of which took writes while the other was away, hold the same once each was given
// what the other has: the same commits, byte for byte, and so the same objects and rights. Neither is the master, and
// either does alone, whatever store it has. That is the half of H-08 that a contract of one hub can show: that instances
// give each other commits by themselves is no part of it.
func (s *story) parted() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	patch := members{"commit_strategy": "json-merge-patch"}
	patched, replaced := s.create(alice, playlists, `{"n":1}`, patch), s.create(alice, playlists, "first")
	s.permit(bob, "CRU-", playlists)
	revoked := s.permit(carol, "-R--", playlists)
	to := s.Fresh(s.T)
	s.copy(to)
	there := &story{T: s.T, Place: to, ctx: s.ctx, last: s.last.Add(time.Second)}

	s.update(alice, playlists, patched, `{"here":1}`, patch)
	s.update(bob, playlists, replaced, "here")
	s.create(alice, games, "here")
	there.update(&to.Bob, playlists, patched, `{"there":2}`, patch)
	there.update(&to.Alice, playlists, replaced, "there, and later")
	there.create(&to.Bob, messages, "there")
	there.remove(&to.Alice, grants, revoked)
	s.lists(carol, playlists.query(), patched, replaced)
	there.denied(there.tryList(&to.Carol, playlists))

	for _, way := range [][2]*story{{s, there}, {there, s}} {
		commits := way[0].commits(&way[0].Alice, &coffer.CommitQuery{})
		if _, err := way[1].Alice.Hub.Adopt(s.ctx, alice.DID, commits...); err != nil {
			s.Fatal(err)
		}
	}
	type state struct {
		Commits map[coffer.CommitRev]coffer.Commit
		Objects map[coffer.CommitRev]coffer.HubObject
	}
	var states []state
	for _, at := range []*story{s, there} {
		now := state{make(map[coffer.CommitRev]coffer.Commit), make(map[coffer.CommitRev]coffer.HubObject)}
		for _, c := range at.commits(&at.Alice, &coffer.CommitQuery{}) {
			now.Commits[c.Rev()] = coffer.Commit{Protected: c.Protected, Payload: c.Payload, Signature: c.Signature}
		}
		for _, k := range []kind{playlists, games, messages, grants} {
			for _, o := range at.list(&at.Alice, k.query()) {
				o.Used = nil // what was done here, and not there
				now.Objects[o.ID] = o
			}
		}
		states = append(states, now)
		at.reads(&at.Bob, playlists, replaced, "there, and later")
		one := playlists.act(coffer.RequestVerb)
		one.ID = patched.String()
		if items := at.perform(&at.Bob, one); len(items) != 1 {
			s.Errorf("%d items", len(items))
		} else {
			s.equal("patched at both", items[0].Data, members{"n": 1, "here": 1, "there": 2})
		}
		at.denied(at.tryList(&at.Carol, playlists))
	}
	if len(states[0].Commits) != 11 || len(states[0].Objects) != 6 {
		s.Errorf("%d commits of %d objects", len(states[0].Commits), len(states[0].Objects))
	}
	s.equal("the other instance", states[1], states[0])
}

// adopting: whole or not at all, whatever the order, by the owner alone.
func (s *story) adopting() {
	alice, bob := &s.Alice, &s.Bob
	first := s.commit(bob, playlists, "by Bob")
	update := s.commit(bob, playlists, "changed", updating(first.Rev()))
	other := s.commit(alice, games, "chess")
	adopt := func(as *Person, commits ...*coffer.Commit) (int, error) {
		return as.Hub.Adopt(s.ctx, alice.DID, commits...)
	}
	_, err := adopt(bob, first)
	s.denied(err)
	forged := *first
	forged.Signature = other.Signature
	for name, test := range map[string]struct {
		commit *coffer.Commit
		want   coffer.Kind
	}{
		"no create commit":  {update, coffer.NotExist},
		"forged":            {&forged, coffer.Invalid},
		"nothing":           {nil, coffer.Invalid},
		"of another hub":    {s.commit(alice, games, "x", of(bob)), coffer.Invalid},
		"no such interface": {s.commit(alice, kind{"Things", "x", "y"}, "x"), coffer.Invalid},
		"another's grant":   {s.commit(bob, grants, s.grantOf(bob.DID, "CRUD", playlists)), coffer.Invalid},
		"of another type":   {s.commit(alice, playlists, "x", updating(other.Rev())), coffer.Invalid},
	} {
		if n, err := adopt(alice, other, test.commit); !errors.Is(err, test.want) || n != 0 {
			s.Errorf("%s: adopted %d, %v; want %v", name, n, err, test.want)
		}
	}
	if n, err := adopt(alice, make([]*coffer.Commit, coffer.MaxAdopt+1)...); !errors.Is(err, coffer.Invalid) {
		s.Errorf("too many: adopted %d, %v", n, err)
	}
	if all := s.commits(alice, &coffer.CommitQuery{}); len(all) != 0 {
		s.Errorf("%d commits of what was refused", len(all))
	}
	if n, err := adopt(alice); err != nil || n != 0 {
		s.Errorf("adopted %d of none: %v", n, err)
	}
	if n, err := adopt(alice, update, other, update, first); err != nil || n != 3 {
		s.Errorf("adopted %d: %v", n, err)
	}
	s.reads(alice, playlists, first.Rev(), "changed")
	if o := s.object(alice, playlists, first.Rev()); o.CreatedBy != bob.DID {
		s.Errorf("got %+v", o)
	}
	s.denied(s.tryList(bob, playlists))
	if n, err := adopt(alice, update, first); err != nil || n != 0 {
		s.Errorf("adopted %d again: %v", n, err)
	}
}

// forgedWithheld: nobody can verify what is said of a commit whose payload is withheld. When the commit comes whole,
// what its signer said counts, or it is refused.
func (s *story) forgedWithheld() {
	alice, bob, dave := &s.Alice, &s.Bob, &s.Dave
	// without returns a commit as if its payload were withheld, with another's protected header.
	without := func(c, as *coffer.Commit) *coffer.Commit {
		rev := c.Rev()
		return &coffer.Commit{Protected: as.Protected, Signature: as.Signature, Withheld: &rev}
	}
	secret := s.commit(alice, playlists, "secret", meta(members{"title": "mine"}))
	public := s.commit(alice, playlists, "secret", meta(members{"public": true}))
	if _, err := alice.Hub.Adopt(s.ctx, alice.DID, without(secret, public)); err != nil {
		s.refused(err, coffer.Invalid, "")
		return // nothing is believed without its payload
	}
	if _, err := alice.Hub.Adopt(s.ctx, alice.DID, secret); err != nil {
		s.refused(err, coffer.Invalid, "")
	}
	if p, err := dave.Hub.Commits(s.ctx, alice.DID,
		&coffer.CommitQuery{Objects: []coffer.CommitRev{secret.Rev()}}); err == nil {
		for _, c := range p.Commits {
			if c.Payload != "" {
				s.Error("a secret is public, by what was said of it while it was withheld")
			}
		}
	}

	// The same for who created it, and of what type it is.
	s.permit(bob, "-R--", games)
	for _, forged := range []*coffer.Commit{s.commit(bob, playlists, "x"), s.commit(alice, games, "x")} {
		genuine := s.commit(alice, playlists, "another secret")
		if _, err := alice.Hub.Adopt(s.ctx, alice.DID, without(genuine, forged)); err != nil {
			s.refused(err, coffer.Invalid, "")
			continue
		}
		if _, err := alice.Hub.Adopt(s.ctx, alice.DID, genuine); err != nil {
			s.refused(err, coffer.Invalid, "")
		}
		if p, err := bob.Hub.Commits(s.ctx, alice.DID,
			&coffer.CommitQuery{Objects: []coffer.CommitRev{genuine.Rev()}}); err == nil {
			for _, c := range p.Commits {
				if c.Payload != "" {
					s.Error("a secret is read as of another type")
				}
			}
		}
		whole := s.commits(alice, &coffer.CommitQuery{Revisions: []coffer.CommitRev{genuine.Rev()}})
		o := s.list(alice, &coffer.ObjectQuery{Interface: "Collections", IDs: []coffer.CommitRev{genuine.Rev()}})
		if len(whole) == 1 && whole[0].Withheld == nil && (len(o) != 1 || o[0].CreatedBy != alice.DID ||
			o[0].Type != playlists.typ) {
			s.Errorf("a commit is here as it was signed, and its object is not: %+v", o)
		}
	}

	// And for what object it is about.
	one, two := s.create(alice, playlists, "one"), s.create(alice, playlists, "two")
	update := s.commit(alice, playlists, "one, changed", updating(one))
	if _, err := alice.Hub.Adopt(s.ctx, alice.DID, without(update, s.commit(alice, playlists, "x",
		updating(two)))); err != nil {
		s.refused(err, coffer.Invalid, "")
	}
	if _, err := alice.Hub.Write(s.ctx, alice.DID, update); err != nil {
		s.refused(err, coffer.Invalid, "")
	} else {
		s.reads(alice, playlists, one, "one, changed")
	}
}
