package hubtest

import (
	"github.com/cofferhq/coffer"
)

// combinations: each operation under each combination of rights.
func (s *story) combinations() {
	alice, bob := &s.Alice, &s.Bob
	for i := range 16 {
		k := kind{"Collections", "http://schema.org", "Type" + string(rune('A'+i))}
		allow := []byte("----")
		for j, letter := range []byte("CRUD") {
			if i&(1<<j) != 0 {
				allow[j] = letter
			}
		}
		s.permit(bob, string(allow), k)
		id := s.create(alice, k, "one")
		second := s.create(alice, k, "two")
		try := func(right int, what string, err error) {
			s.Helper()
			if i&right == 0 {
				s.denied(err)
			} else if err != nil {
				s.Errorf("%s under %s: %v", what, allow, err)
			}
		}
		try(2, "list", s.tryList(bob, k))
		try(2, "read", s.tryCommits(bob, id, second))
		try(4, "update", s.try(bob, s.commit(bob, k, "by Bob", updating(id))))
		try(8, "delete", s.try(bob, s.commit(bob, k, "{}", deleting(second))))
		try(1, "create", s.try(bob, s.commit(bob, k, "by Bob")))
		// Whoever may not learns nothing of what there is.
		if i&4 == 0 {
			s.denied(s.try(bob, s.commit(bob, k, "x", updating(coffer.CommitRev{1}))))
		} else {
			s.refused(s.try(bob, s.commit(bob, k, "x", updating(coffer.CommitRev{1}))), coffer.NotExist, "")
		}
		// What happened is what was allowed.
		all := s.list(alice, k.query())
		if len(all) != 2+i&1 {
			s.Errorf("%d objects under %s", len(all), allow)
		}
		if o := all[0]; (o.UpdatedBy == bob.DID) != (i&4 != 0) || o.CreatedBy != alice.DID {
			s.Errorf("under %s the first was updated by another", allow)
		}
		if all[1].Deleted != (i&8 != 0) {
			s.Errorf("under %s the second is deleted: %v", allow, all[1].Deleted)
		}
		if i&1 != 0 && all[2].CreatedBy != bob.DID {
			s.Errorf("under %s the third was created by another", allow)
		}
		// It is for Bob, in Alice's hub, and this type.
		s.denied(s.tryList(&s.Carol, k))
		s.denied(s.tryCommits(&s.Carol, id))
		s.denied(s.try(&s.Carol, s.commit(&s.Carol, k, "x")))
	}
	s.denied(s.tryList(bob, games))
	s.denied(s.try(bob, s.commit(bob, games, "x")))
	_, err := bob.Hub.Objects(s.ctx, s.Carol.DID, playlists.query())
	s.denied(err)
	// A grant in Alice's hub that says Carol owns it is none.
	err = s.try(alice, s.commit(alice, grants, s.grantOf(bob.DID, "CRUD", playlists, members{"owner": s.Carol.DID})))
	if err != nil {
		s.refused(err, coffer.Invalid, "commit.payload.owner")
	}
	s.denied(s.tryList(bob, playlists))
}

// ownerMayAll: without any grant.
func (s *story) ownerMayAll() {
	alice := &s.Alice
	if all := s.list(alice, playlists.query()); len(all) != 0 {
		s.Errorf("%d objects in an empty hub", len(all))
	}
	if all := s.commits(alice, &coffer.CommitQuery{}); len(all) != 0 {
		s.Errorf("%d commits in an empty hub", len(all))
	}
	id := s.create(alice, playlists, "one")
	s.update(alice, playlists, id, "two")
	s.reads(alice, playlists, id, "two")
	s.remove(alice, playlists, id)
	if o := s.object(alice, playlists, id); !o.Deleted {
		s.Error("not deleted")
	}
	// Nobody else, whatever he asks.
	for _, who := range []*Person{&s.Bob, &s.Carol} {
		for _, q := range []*coffer.ObjectQuery{
			playlists.query(), {Interface: "Collections"}, {Interface: "Permissions"}, grants.query(), {Interface: "Actions"},
			{Interface: "Stores"}, {Interface: "Collections", IDs: []coffer.CommitRev{id}},
			{Interface: playlists.iface, Context: playlists.context, Type: playlists.typ, IDs: []coffer.CommitRev{id}},
		} {
			p, err := who.Hub.Objects(s.ctx, alice.DID, q)
			if err == nil {
				s.Errorf("a stranger was shown %d objects of %s", len(p.Objects), q.Interface)
				continue
			}
			s.denied(err)
		}
		for _, q := range []*coffer.CommitQuery{
			{}, {Objects: []coffer.CommitRev{id}}, {Revisions: []coffer.CommitRev{id}}, {Objects: []coffer.CommitRev{{1}}},
			{Revisions: []coffer.CommitRev{{1}}},
		} {
			_, err := who.Hub.Commits(s.ctx, alice.DID, q)
			s.denied(err)
		}
		for _, c := range []*coffer.Commit{
			s.commit(who, playlists, "x"), s.commit(who, playlists, "x", updating(id)), s.commit(who, playlists, "x", deleting(id)),
			s.commit(who, playlists, "x", updating(coffer.CommitRev{1})), s.commit(who, profiles, "x"),
			s.commit(who, kind{"Services", "x", "y"}, "x"), s.commit(who, kind{"Stores", who.DID, "y"}, "x"),
		} {
			s.denied(s.try(who, c))
		}
		// Nor in a hub that there is not.
		_, err := who.Hub.Objects(s.ctx, "did:example:none", playlists.query())
		s.denied(err)
		_, err = who.Hub.Adopt(s.ctx, alice.DID, s.commit(who, playlists, "x"))
		s.denied(err)
	}
	s.reads(alice, playlists, id, "{}")
}
