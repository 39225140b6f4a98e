package hubtest

import (
	"encoding/json"
	"errors"
	"maps"
	"time"

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

// verbCombinations: each verb under each combination of rights.
func (s *story) verbCombinations() {
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
		added := s.perform(alice, k.act(coffer.AddVerb, `{"n":1}`, `{"n":2}`))
		for verb, test := range map[coffer.Verb]struct {
			right int
			id    string
		}{
			coffer.AddVerb: {1, ""}, coffer.RequestVerb: {2, ""}, coffer.UpdateVerb: {4, added[0].ID},
			coffer.RemoveVerb: {8, added[1].ID},
		} {
			a := k.act(verb, `{"by":"Bob"}`)
			a.ID = test.id
			if err := s.tryPerform(bob, a); i&test.right == 0 {
				s.denied(err)
			} else if err != nil {
				s.Errorf("%s under %s: %v", verb, allow, err)
			}
			s.denied(s.tryPerform(&s.Carol, a))
		}
		want := 2 + i&1 - i>>3
		items := s.perform(alice, k.act(coffer.RequestVerb))
		if len(items) != want || (items[0].Author == bob.DID) != (i&4 != 0) {
			s.Errorf("%d items under %s", len(items), allow)
		}
	}
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
			s.commit(who, playlists, "x"), s.commit(who, playlists, "x", updating(id)), s.commit(who, playlists, "x",
				deleting(id)),
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

// least: a grant can be for single objects, for a creator, a purpose, an interface, and shows nothing else.
func (s *story) least() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	first := s.create(alice, playlists, "first")
	second := s.create(alice, playlists, "second")
	third := s.create(alice, playlists, "third")
	s.permit(bob, "-RU-", playlists, members{"object_id": []string{second.String()}})
	s.lists(bob, playlists.query(), second)
	s.reads(bob, playlists, second, "second")
	for _, others := range [][]coffer.CommitRev{{first}, {second, third}, {}} {
		s.denied(s.tryCommits(bob, others...))
	}
	_, err := bob.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{Revisions: []coffer.CommitRev{second, first}})
	s.denied(err)
	s.update(bob, playlists, second, "second by Bob")
	s.denied(s.try(bob, s.commit(bob, playlists, "x", updating(first))))
	s.denied(s.try(bob, s.commit(bob, playlists, "x")))

	// Asked for by id, what may not be read is not there.
	q := playlists.query()
	q.IDs = []coffer.CommitRev{first, second}
	s.lists(bob, q, second)

	// For one interface.
	s.create(alice, profiles, "Alice")
	asCollection := kind{"Collections", profiles.context, profiles.typ}
	id := s.create(alice, asCollection, "somebody")
	s.permit(carol, "-R--", asCollection, members{"interface": "Collections"})
	s.lists(carol, asCollection.query(), id)
	if s.PrivateProfile {
		s.denied(s.tryList(carol, profiles))
	}
	s.permit(carol, "C---", games, members{"interface": "Profile"})
	s.denied(s.try(carol, s.commit(carol, games, "x")))

	if bob.For != nil {
		s.permit(bob, "-R--", games, members{"purpose": "research"})
		game := s.create(alice, games, "chess")
		s.denied(s.tryList(bob, games))
		for purpose, may := range map[string]bool{"research": true, "Research": false, "advertising": false, "": false} {
			p, err := bob.For(purpose).Objects(s.ctx, alice.DID, games.query())
			if !may {
				s.denied(err)
			} else if err != nil || len(p.Objects) != 1 || p.Objects[0].ID != game {
				s.Errorf("for research: %v", err)
			}
			if _, err := bob.For(purpose).Commits(s.ctx, alice.DID,
				&coffer.CommitQuery{Objects: []coffer.CommitRev{game}}); !may {
				s.denied(err)
			} else if err != nil {
				s.Errorf("for research: %v", err)
			}
		}
	}
}

// manyGrants: however many grants somebody has, each counts, and no more than that.
func (s *story) manyGrants() {
	alice, bob := &s.Alice, &s.Bob
	var want, rest, held []coffer.CommitRev
	for i := range 150 {
		id := s.create(alice, playlists, "x")
		if i%10 == 7 {
			rest = append(rest, id)
			continue
		}
		want = append(want, id)
		held = append(held, s.permit(bob, "-R--", playlists, members{"object_id": []string{id.String()}}))
	}
	// Some for objects that are not there.
	for i := range byte(2) {
		var elsewhere []string
		for j := range byte(coffer.MaxQueryIDs) {
			elsewhere = append(elsewhere, coffer.CommitRev{i, j}.String())
		}
		held = append(held, s.permit(bob, "-R--", playlists, members{"object_id": elsewhere}))
	}
	q := playlists.query()
	q.Limit = 50
	s.lists(bob, q, want...)
	s.lists(bob, grants.query(), held...)
	if err := s.tryCommits(bob, want[:coffer.MaxQueryIDs]...); err != nil {
		s.Error(err)
	}
	for _, id := range rest {
		s.denied(s.tryCommits(bob, id))
	}
	for i := range 100 {
		s.remove(alice, grants, held[i])
	}
	s.lists(bob, q, want[100:]...)
	s.denied(s.tryCommits(bob, want[0]))
}

// register: grants are made, listed, changed and ended by the owner alone, and count at once.
func (s *story) register() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	id := s.create(alice, playlists, "one")
	s.denied(s.tryList(bob, playlists))
	toBob := s.permit(bob, "-R--", playlists)
	toCarol := s.permit(carol, "-R--", playlists)
	s.lists(bob, playlists.query(), id)
	s.lists(alice, grants.query(), toBob, toCarol)
	s.lists(alice, &coffer.ObjectQuery{Interface: "Permissions"}, toBob, toCarol)

	// Who was granted something can see that, and nobody else's.
	s.lists(bob, grants.query(), toBob)
	s.lists(carol, &coffer.ObjectQuery{Interface: "Permissions"}, toCarol)
	s.reads(bob, grants, toBob, s.grantOf(bob.DID, "-R--", playlists))
	s.denied(s.tryCommits(bob, toCarol))
	s.denied(s.tryCommits(bob, toBob, toCarol))
	s.denied(s.tryList(&s.Dave, grants))

	// More, less, nothing, all at once.
	s.update(alice, grants, toBob, s.grantOf(bob.DID, "-RU-", playlists))
	s.update(bob, playlists, id, "by Bob")
	s.update(alice, grants, toBob, s.grantOf(bob.DID, "-R--", playlists))
	s.denied(s.try(bob, s.commit(bob, playlists, "again", updating(id))))
	s.lists(bob, playlists.query(), id)
	s.update(alice, grants, toBob, s.grantOf(bob.DID, "----", playlists))
	s.denied(s.tryList(bob, playlists))
	s.update(alice, grants, toBob, s.grantOf(bob.DID, "-R--", games)) // it is for something else now
	s.denied(s.tryList(bob, playlists))
	s.update(alice, grants, toBob, s.grantOf(s.Dave.DID, "-R--", playlists)) // and for somebody else
	s.denied(s.tryList(bob, games))
	s.lists(&s.Dave, playlists.query(), id)
	s.remove(alice, grants, toBob)
	s.denied(s.tryList(&s.Dave, playlists))
	s.lists(carol, playlists.query(), id)

	// Two grants of one thing: one is enough.
	second := s.permit(carol, "-R--", playlists)
	s.remove(alice, grants, toCarol)
	s.lists(carol, playlists.query(), id)
	s.remove(alice, grants, second)
	s.denied(s.tryList(carol, playlists))
	s.denied(s.tryCommits(carol, id))
}

// badGrants: what a grant must not be, and which part of it is at fault.
func (s *story) badGrants() {
	alice, bob := &s.Alice, &s.Bob
	id := s.create(alice, playlists, "one")
	for _, test := range []struct {
		with   members
		target string
	}{
		{members{"owner": nil}, ".owner"},
		{members{"owner": s.Carol.DID}, ".owner"},
		{members{"grantee": nil}, ".grantee"},
		{members{"grantee": 7}, ".grantee"},
		{members{"allow": nil}, ".allow"},
		{members{"allow": "-R-Z"}, ".allow"},
		{members{"context": nil}, ".context"},
		{members{"type": nil}, ".type"},
		{members{"type": []string{"a", "b"}}, ".type"},
		{members{"allow": "CR--", "created_by": bob.DID}, ".created_by"},
		{members{"grantee": "*", "allow": "-RU-"}, ".allow"},
		{members{"object_id": id.String()}, ".object_id"},
		{members{"expires_at": 1}, ".expires_at"},
		{members{"not_before": "2019-03-29T08:00:00Z"}, ""},
	} {
		for _, operation := range []members{{}, updating(s.permit(&s.Dave, "-R--", games))} {
			c := s.commit(alice, grants, s.grantOf(bob.DID, "-R--", playlists, test.with), operation)
			s.refused(s.try(alice, c), coffer.Invalid, "commit.payload"+test.target)
		}
	}
	payload := s.grantOf(bob.DID, "-R--", playlists)
	for _, text := range []string{"x", "[]", "null", `{"allow":"CRUD",` + payload[1:]} {
		s.refused(s.try(alice, s.commit(alice, grants, text)), coffer.Invalid, "commit.payload")
	}
	for _, test := range []struct {
		with   members
		target string
	}{
		{members{"context": "schema.identity.foundation/Hub/"}, "context"},
		{members{"type": "Grant"}, "type"},
		{members{"commit_strategy": "lastWriterWins"}, "commit_strategy"},
		{members{"commit_strategy": "json-merge-patch"}, "commit_strategy"},
	} {
		c := s.commit(alice, grants, payload, test.with)
		s.refused(s.try(alice, c), coffer.Invalid, "commit.protected."+test.target)
	}
	s.denied(s.tryList(bob, playlists))
	// What only looks like a grant is none.
	s.create(alice, kind{"Collections", grants.context, grants.typ}, payload)
	s.denied(s.tryList(bob, playlists))
}

// used: the owner is shown on which days a grant was used, and nobody else is.
func (s *story) used() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	id := s.create(alice, playlists, `{"n":1}`)
	read, write, never := s.permit(bob, "-R--", playlists), s.permit(carol, "--U-", playlists), s.permit(carol, "-R--", games)
	days := func() map[coffer.CommitRev][]string {
		s.Helper()
		all := make(map[coffer.CommitRev][]string)
		for _, o := range s.list(alice, grants.query()) {
			all[o.ID] = o.Used
		}
		return all
	}
	for grant, used := range days() {
		if len(used) > 0 {
			s.Errorf("the grant %v was used before it was: %q", grant == read, used)
		}
	}
	before := s.now().UTC().Format(time.DateOnly)
	s.list(bob, playlists.query())
	s.list(bob, playlists.query())
	s.update(carol, playlists, id, `{"n":2}`)
	s.list(alice, playlists.query()) // the owner needs none
	s.denied(s.tryList(bob, games))
	after := s.now().UTC().Format(time.DateOnly)
	got := days()
	for _, grant := range []coffer.CommitRev{read, write} {
		if u := got[grant]; len(u) != 1 || u[0] != before && u[0] != after {
			s.Errorf("used on %q, want %s", u, before)
		}
	}
	if u := got[never]; len(u) != 0 {
		s.Errorf("a grant that was not used was used on %q", u)
	}
	for _, o := range s.list(bob, grants.query()) {
		if o.Used != nil {
			s.Errorf("another than the owner sees %q", o.Used)
		}
	}
	if s.Advance == nil {
		return
	}
	s.Advance(48 * time.Hour)
	s.reads(bob, playlists, id, `{"n":2}`)
	if u := days()[read]; len(u) != 2 || u[0] != got[read][0] || u[1] <= u[0] {
		s.Errorf("used on %q after two more days", u)
	}
}

// creators: a grant for what somebody created shows that alone, in both queries, and lets change that alone.
func (s *story) creators() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	s.permit(bob, "C---", playlists)
	s.permit(carol, "C---", playlists)
	alices := s.create(alice, playlists, "Alice's")
	bobs := s.create(bob, playlists, "Bob's")
	carols := s.create(carol, playlists, "Carol's")
	s.denied(s.tryList(bob, playlists))

	s.permit(bob, "-RUD", playlists, members{"created_by": bob.DID})
	s.lists(bob, playlists.query(), bobs)
	s.reads(bob, playlists, bobs, "Bob's")
	for _, id := range []coffer.CommitRev{alices, carols} {
		s.denied(s.tryCommits(bob, id))
		s.denied(s.tryCommits(bob, bobs, id))
		s.denied(s.try(bob, s.commit(bob, playlists, "x", updating(id))))
		s.denied(s.try(bob, s.commit(bob, playlists, "{}", deleting(id))))
		_, err := bob.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{Revisions: []coffer.CommitRev{id}})
		s.denied(err)
	}
	_, err := bob.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{})
	s.denied(err)

	// The same where no commits are in sight.
	if items := s.perform(bob, playlists.act(coffer.RequestVerb)); len(items) != 1 || items[0].ID != bobs.String() {
		s.Errorf("Bob is shown %d items", len(items))
	}
	for _, verb := range []coffer.Verb{coffer.UpdateVerb, coffer.RemoveVerb} {
		a := playlists.act(verb, `{}`)
		a.ID = alices.String()
		s.denied(s.tryPerform(bob, a))
	}

	// It counts who created an object, not who wrote last.
	s.update(alice, playlists, bobs, "Bob's, by Alice")
	s.reads(bob, playlists, bobs, "Bob's, by Alice")
	s.update(bob, playlists, bobs, "Bob's again")
	s.remove(bob, playlists, bobs)

	// Another's objects.
	s.permit(&s.Dave, "-R--", playlists, members{"created_by": carol.DID})
	s.lists(&s.Dave, playlists.query(), carols)
	s.denied(s.tryCommits(&s.Dave, alices))
}

// escalation: who may write grants by a grant may not.
func (s *story) escalation() {
	alice, bob := &s.Alice, &s.Bob
	id := s.create(alice, playlists, "one")
	for _, with := range []members{{}, {"interface": "Permissions"}} {
		err := s.try(alice, s.commit(alice, grants, s.grantOf(bob.DID, "CRUD", grants, with)))
		if err != nil {
			s.refused(err, coffer.Invalid, "")
		}
	}
	other := s.permit(&s.Carol, "-R--", playlists)
	all := s.grantOf(bob.DID, "CRUD", playlists)
	s.denied(s.try(bob, s.commit(bob, grants, all)))
	s.denied(s.try(bob, s.commit(bob, grants, all, updating(other))))
	s.denied(s.try(bob, s.commit(bob, grants, "{}", deleting(other))))
	s.denied(s.tryList(bob, playlists))
	s.lists(&s.Carol, playlists.query(), id)
	_, err := bob.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
		Interface: "Permissions", Verb: coffer.AddVerb, Context: grants.context, Type: grants.typ,
		Payload: []json.RawMessage{json.RawMessage(all)},
	})
	s.denied(err)
	// Nor does Alice take what Bob signed for a grant of hers.
	if _, err := alice.Hub.Adopt(s.ctx, alice.DID, s.commit(bob, grants, all)); err == nil {
		s.Error("a grant that Bob signed was adopted")
	}
	s.denied(s.tryList(bob, playlists))
}

// ended: a grant that was deleted is none, whatever the deletion carries, and whatever comes after it.
func (s *story) ended() {
	alice, bob := &s.Alice, &s.Bob
	s.create(alice, playlists, "one")
	payload := s.grantOf(bob.DID, "CRUD", playlists)
	for name, end := range map[string]func(coffer.CommitRev){
		"by a deletion with the grant's payload": func(id coffer.CommitRev) {
			s.write(alice, s.commit(alice, grants, payload, deleting(id)))
		},
		"by a deletion without a payload": func(id coffer.CommitRev) {
			s.write(alice, s.commit(alice, grants, "", deleting(id)))
		},
		"and updated after it": func(id coffer.CommitRev) {
			s.remove(alice, grants, id)
			if err := s.try(alice, s.commit(alice, grants, payload, updating(id))); err != nil {
				s.refused(err, coffer.Invalid, "")
			}
		},
		"by a deletion older than all": func(id coffer.CommitRev) {
			s.remove(alice, grants, id, members{"committed_at": "2019-03-29T08:00:00.000Z"})
		},
		"by an update later than another that came after it": func(id coffer.CommitRev) {
			late := s.commit(alice, grants, payload, updating(id))
			s.update(alice, grants, id, s.grantOf(bob.DID, "----", playlists))
			s.write(alice, late)
		},
	} {
		id := s.permit(bob, "CRUD", playlists)
		if err := s.tryList(bob, playlists); err != nil {
			s.Fatalf("%s: %v", name, err)
		}
		end(id)
		if err := s.tryList(bob, playlists); !errors.Is(err, coffer.Denied) {
			s.Errorf("%s: %v, want denied", name, err)
		}
		if err := s.try(bob, s.commit(bob, playlists, "x")); !errors.Is(err, coffer.Denied) {
			s.Errorf("%s: %v, want denied", name, err)
		}
	}
}

// expiry: a grant ends by itself, and one that is not to be revoked is not, until it may be.
func (s *story) expiry() {
	if s.Advance == nil {
		s.Skip("the clock of this place cannot be set")
	}
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	id := s.create(alice, playlists, "one")
	in := func(d time.Duration) string { return s.now().Add(d).UTC().Format(time.RFC3339) }
	s.permit(bob, "CRUD", playlists, members{"expires_at": in(time.Hour)})
	s.lists(bob, playlists.query(), id)
	s.update(bob, playlists, id, "two")

	held := s.permit(carol, "-RU-", playlists, members{"not_revocable_before": in(2 * time.Hour),
		"expires_at": in(4 * time.Hour)})
	locked := func(c *coffer.Commit) {
		s.Helper()
		s.refused(s.try(alice, c), coffer.Locked, "")
		s.lists(carol, playlists.query(), id)
	}
	promise := func(allow string, with members) string {
		m := members{"not_revocable_before": in(2 * time.Hour), "expires_at": in(4 * time.Hour)}
		maps.Copy(m, with)
		return s.grantOf(carol.DID, allow, playlists, m)
	}
	locked(s.commit(alice, grants, "{}", deleting(held)))
	locked(s.commit(alice, grants, promise("-R--", nil), updating(held)))
	locked(s.commit(alice, grants, promise("-RU-", members{"not_revocable_before": nil}), updating(held)))
	locked(s.commit(alice, grants, promise("-RU-", members{"not_revocable_before": in(time.Minute)}), updating(held)))
	locked(s.commit(alice, grants, promise("-RU-", members{"expires_at": in(time.Hour)}), updating(held)))
	locked(s.commit(alice, grants, promise("-RU-", members{"purpose": "p"}), updating(held)))
	locked(s.commit(alice, grants, promise("-RU-", members{"grantee": bob.DID}), updating(held)))
	if _, err := alice.Hub.Adopt(s.ctx, alice.DID, s.commit(alice, grants, "{}", deleting(held))); err == nil {
		s.Error("what may not be revoked was, by adopting that")
	}
	s.lists(carol, playlists.query(), id)
	s.update(alice, grants, held, promise("-RUD", members{"not_revocable_before": in(3 * time.Hour)}))

	s.Advance(time.Hour + time.Second)
	s.denied(s.tryList(bob, playlists))
	s.denied(s.tryCommits(bob, id))
	s.denied(s.try(bob, s.commit(bob, playlists, "x", updating(id))))
	s.lists(carol, playlists.query(), id)
	s.Advance(time.Hour + time.Second)
	locked(s.commit(alice, grants, "{}", deleting(held)))
	s.Advance(time.Hour)
	s.remove(alice, grants, held)
	s.denied(s.tryList(carol, playlists))
}

// audit: the commits of grants tell who had access to what and when.
func (s *story) audit() {
	alice, bob := &s.Alice, &s.Bob
	id := s.permit(bob, "-R--", playlists)
	changed := s.update(alice, grants, id, s.grantOf(bob.DID, "CRUD", playlists))
	ended := s.remove(alice, grants, id)
	cs := s.commits(alice, &coffer.CommitQuery{Objects: []coffer.CommitRev{id}})
	if len(cs) != 3 || cs[0].Rev() != id || cs[1].Rev() != changed || cs[2].Rev() != ended {
		s.Fatalf("%d commits of a grant", len(cs))
	}
	s.equal("first", json.RawMessage(s.payload(cs[0])), json.RawMessage(s.grantOf(bob.DID, "-R--", playlists)))
	s.equal("second", json.RawMessage(s.payload(cs[1])), json.RawMessage(s.grantOf(bob.DID, "CRUD", playlists)))
	o := s.object(alice, grants, id)
	if !o.Deleted || o.Revision != ended || o.CreatedBy != alice.DID {
		s.Errorf("got %+v", o)
	}
	// An auditor may read that by a grant, and write nothing.
	s.permit(&s.Dave, "-R--", grants)
	cs = s.commits(&s.Dave, &coffer.CommitQuery{Objects: []coffer.CommitRev{id}})
	if len(cs) != 3 {
		s.Errorf("an auditor reads %d commits", len(cs))
	}
}

// shared: two apps with grants work on one set of objects.
func (s *story) shared() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	s.permit(bob, "CRUD", playlists)
	s.permit(carol, "CRUD", playlists)
	one := s.create(bob, playlists, "by Bob")
	two := s.create(carol, playlists, "by Carol")
	for _, who := range []*Person{alice, bob, carol} {
		s.lists(who, playlists.query(), one, two)
		s.reads(who, playlists, one, "by Bob")
	}
	s.update(carol, playlists, one, "by both")
	s.remove(bob, playlists, two)
	s.reads(alice, playlists, one, "by both")
	o := s.object(bob, playlists, one)
	if o.CreatedBy != bob.DID || o.UpdatedBy != carol.DID || o.Sub != alice.DID {
		s.Errorf("got %+v", o)
	}
	q := playlists.query()
	q.NoDeleted = true
	s.lists(carol, q, one)
}

// public: what is granted to everybody, or what its owner marks public, anybody reads and nobody writes.
func (s *story) public() {
	alice, bob, dave := &s.Alice, &s.Bob, &s.Dave
	offers := kind{"Collections", "http://schema.org", "Offer"}
	public := meta(members{"public": true, "title": "Bicycle"})
	secret := s.create(alice, offers, "secret")
	s.denied(s.tryList(dave, offers))
	first := s.create(alice, offers, "bicycle", public)
	second := s.create(alice, offers, "tandem", public)
	s.create(alice, playlists, "mine")
	s.lists(dave, offers.query(), first, second)
	s.reads(dave, offers, first, "bicycle")
	s.denied(s.tryCommits(dave, secret))
	s.denied(s.tryCommits(dave, first, secret))
	s.denied(s.tryList(dave, playlists))
	s.denied(s.try(dave, s.commit(dave, offers, "x", updating(first))))
	s.denied(s.try(dave, s.commit(dave, offers, "x")))
	if s.Nobody != nil {
		all, _ := s.pages(s.Nobody, alice.DID, offers.query())
		if len(all) != 2 {
			s.Errorf("nobody sees %d offers", len(all))
		}
		_, err := s.Nobody.Objects(s.ctx, alice.DID, playlists.query())
		s.denied(err)
		_, err = s.Nobody.Write(s.ctx, alice.DID, s.commit(dave, offers, "x"))
		if err == nil {
			s.Error("nobody has written something")
		}
	}
	// It is public as long as its owner's last commit says so, and what others write is not.
	s.update(alice, offers, second, "tandem", meta(members{"public": false}))
	s.lists(dave, offers.query(), first)
	s.denied(s.tryCommits(dave, second))
	s.permit(bob, "C-U-", offers)
	s.create(bob, offers, "by Bob", public)
	s.lists(dave, offers.query(), first)
	s.update(bob, offers, first, "by Bob", public)
	s.denied(s.tryList(dave, offers))
	s.update(alice, offers, first, "bicycle", public)
	s.lists(dave, offers.query(), first)
	s.remove(alice, offers, first)
	if err := s.tryCommits(dave, secret); !errors.Is(err, coffer.Denied) {
		s.Errorf("a secret is read: %v", err)
	}

	// A grant to everybody is for a whole type.
	mine := s.list(alice, playlists.query())[0].ID
	grant := s.create(alice, grants, s.grantOf(coffer.Everybody, "-R--", playlists))
	for _, who := range []*Person{bob, dave} {
		s.lists(who, playlists.query(), mine)
		s.reads(who, playlists, mine, "mine")
		s.denied(s.try(who, s.commit(who, playlists, "x", updating(mine))))
	}
	if s.Nobody != nil {
		if all, _ := s.pages(s.Nobody, alice.DID, playlists.query()); len(all) != 1 {
			s.Errorf("nobody sees %d playlists", len(all))
		}
	}
	s.remove(alice, grants, grant)
	s.denied(s.tryList(bob, playlists))
}

// impersonation: nobody writes as another, by whatever the commit or its sender says.
func (s *story) impersonation() {
	alice, bob := &s.Alice, &s.Bob
	s.permit(bob, "CRUD", playlists)
	id := s.create(alice, playlists, "one")
	// An owner's commit that was read elsewhere, sent by another.
	c := s.commit(alice, playlists, "two", updating(id))
	s.refused(s.try(bob, c), coffer.Invalid, "commit")
	s.reads(alice, playlists, id, "one")
	// Who signs is who wrote, whatever "iss" says.
	s.refused(s.try(bob, s.commit(bob, playlists, "x", members{"iss": alice.DID})), coffer.Invalid, "commit.protected.iss")
	own := s.create(bob, playlists, "x", members{"iss": bob.DID})
	if o := s.object(alice, playlists, own); o.CreatedBy != bob.DID {
		s.Error("created by another")
	}
	for _, m := range []members{{"author": alice.DID}, {"author": alice.DID, "via": "hub"}} {
		c := s.commit(bob, playlists, "x", meta(m))
		if err := s.try(bob, c); err != nil {
			s.refused(err, coffer.Invalid, "")
		} else if o := s.object(alice, playlists, c.Rev()); o.CreatedBy != bob.DID || o.UpdatedBy != bob.DID {
			s.Error("created by another, as its meta says")
		}
	}
	// What was written for one hub is not for another.
	for _, c := range []*coffer.Commit{
		s.commit(bob, playlists, "x", of(&s.Carol)), s.commit(bob, playlists, "x", of(&s.Carol), updating(id)),
	} {
		s.refused(s.try(bob, c), coffer.Invalid, "commit.protected.sub")
	}
	_, err := bob.Hub.Write(s.ctx, bob.DID, s.commit(bob, playlists, "x"))
	s.refused(err, coffer.Invalid, "commit.protected.sub")
}
