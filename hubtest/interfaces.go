package hubtest

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	mathbits "math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
)

// profile: what an owner is, of any schema, one object for each, read by everybody.
func (s *story) profile() {
	alice, bob := &s.Alice, &s.Bob
	device := kind{"Profile", "https://example.org/devices", "Thermostat"}
	shop := kind{"Profile", "http://schema.org", "LocalBusiness"}
	person := s.create(alice, profiles, `{"name":"Alice"}`)
	business := s.create(alice, shop, `{"name":"Alice's"}`)
	thing := s.create(alice, device, `{}`)
	if s.PrivateProfile {
		s.denied(s.tryList(bob, profiles))
		s.permit(bob, "-R--", profiles)
		s.lists(bob, profiles.query(), person)
		s.denied(s.tryList(bob, shop))
	} else {
		// One request says what somebody is. The first is the primary one.
		s.lists(bob, &coffer.ObjectQuery{Interface: "Profile"}, person, business, thing)
		s.lists(bob, shop.query(), business)
		s.reads(bob, shop, business, `{"name":"Alice's"}`)
		items, err := bob.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{Interface: "Profile", Verb: coffer.RequestVerb})
		if err != nil || len(items) != 3 {
			s.Fatalf("%d items: %v", len(items), err)
		}
		s.equal("profile", items[0].Data, members{"name": "Alice"})
	}
	s.denied(s.try(bob, s.commit(bob, profiles, "x", updating(person))))
	s.denied(s.try(bob, s.commit(bob, profiles, "x", deleting(person))))

	// One for each context and type, also when two come at once; another one when it is gone.
	s.refused(s.try(alice, s.commit(alice, profiles, "second")), coffer.Invalid, "")
	s.permit(bob, "CRUD", profiles)
	s.refused(s.try(bob, s.commit(bob, profiles, "second")), coffer.Invalid, "")
	s.update(alice, profiles, person, `{"name":"Alice A."}`)
	s.remove(alice, profiles, person)
	s.create(alice, playlists, "not a profile")
	var made sync.WaitGroup
	errs := make([]error, 6)
	for i := range errs {
		made.Go(func() { errs[i] = s.try(alice, s.commit(alice, profiles, strconv.Itoa(i))) })
	}
	made.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		} else {
			s.refused(err, coffer.Invalid, "")
		}
	}
	if won != 1 {
		s.Errorf("%d profiles of one schema were made at once", won)
	}
	q := profiles.query()
	q.NoDeleted = true
	if got := s.list(alice, q); len(got) != 1 {
		s.Errorf("%d profiles of one schema", len(got))
	}
	s.refused(s.try(alice, s.commit(alice, profiles, "x", updating(coffer.CommitRev{1}))), coffer.NotExist, "")
}

// left: a stranger leaves a message, and can do nothing else with it.
func (s *story) left() {
	alice, bob := &s.Alice, &s.Bob
	s.create(alice, playlists, "one") // she has a hub
	first := s.commit(bob, messages, `{"read":"this"}`, meta(members{"title": "Hello"}))
	s.write(bob, first)
	s.write(bob, first) // a sender who is not sure that it came
	id := first.Rev()
	s.lists(alice, messages.query(), id)
	s.lists(alice, &coffer.ObjectQuery{Interface: "Actions"}, id)
	s.reads(alice, messages, id, `{"read":"this"}`)
	if o := s.object(alice, messages, id); o.CreatedBy != bob.DID || o.Sub != alice.DID {
		s.Errorf("got %+v", o)
	}
	for _, who := range []*Person{bob, &s.Carol} {
		s.denied(s.tryList(who, messages))
		_, err := who.Hub.Objects(s.ctx, alice.DID, &coffer.ObjectQuery{Interface: "Actions"})
		s.denied(err)
		q := messages.query()
		q.IDs = []coffer.CommitRev{id}
		_, err = who.Hub.Objects(s.ctx, alice.DID, q)
		s.denied(err)
		s.denied(s.tryCommits(who, id))
		_, err = who.Hub.Commits(s.ctx, alice.DID, &coffer.CommitQuery{Revisions: []coffer.CommitRev{id}})
		s.denied(err)
		s.denied(s.try(who, s.commit(who, messages, "x", updating(id))))
		s.denied(s.try(who, s.commit(who, messages, "{}", deleting(id))))
		for _, verb := range []coffer.Verb{coffer.RequestVerb, coffer.UpdateVerb, coffer.RemoveVerb} {
			_, err = who.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
				Interface: "Actions", Verb: verb, Context: messages.context, Type: messages.typ, ID: id.String(),
				Payload: []json.RawMessage{json.RawMessage(`{}`)},
			})
			s.denied(err)
		}
	}
	// Who may read a type of objects does not read messages of that type.
	if err := s.try(alice, s.commit(alice, grants, s.grantOf(bob.DID, "-R--", messages))); err != nil {
		s.Fatal(err)
	}
	s.denied(s.tryCommits(bob, id))

	// Types are many, known or not.
	other := kind{"Actions", "https://example.org/unheard-of", "Anything"}
	s.lists(alice, other.query())
	unknown := s.commit(bob, other, "x")
	s.write(bob, unknown)
	s.lists(alice, other.query(), unknown.Rev())

	// Nobody leaves one for somebody else, or as somebody else, or in a hub that is not there.
	s.refused(s.try(&s.Carol, s.commit(bob, messages, "x")), coffer.Invalid, "commit")
	if s.Nobody != nil {
		if _, err := s.Nobody.Write(s.ctx, alice.DID, s.commit(bob, messages, "x")); err == nil {
			s.Error("nobody has left a message")
		}
	}
}

// handled: the owner sees a message, has done with it, removes it; in the end another instance knows that, too.
func (s *story) handled() {
	alice, bob := &s.Alice, &s.Bob
	s.create(alice, playlists, "one")
	a, b, c := s.create(bob, messages, "1"), s.create(bob, messages, "2"), s.create(bob, messages, "3")
	s.update(alice, messages, a, "1", meta(members{"state": "seen"}))
	s.update(alice, messages, b, "2", meta(members{"state": "done"}))
	s.remove(alice, messages, c)
	s.refused(s.try(alice, s.commit(alice, messages, "x", updating(a), meta(members{"state": "lost"}))),
		coffer.Invalid, "")
	check := func(p *Place) {
		s.Helper()
		got, _ := s.pages(p.Alice.Hub, alice.DID, messages.query())
		if len(got) != 3 || !slices.Equal(ids(got), []coffer.CommitRev{a, b, c}) {
			s.Fatalf("%d messages", len(got))
		}
		s.equal("first", got[0].Meta, members{"state": "seen"})
		s.equal("second", got[1].Meta, members{"state": "done"})
		if !got[2].Deleted || got[0].CreatedBy != bob.DID {
			s.Errorf("got %+v", got[2])
		}
	}
	check(s.Place)
	second := s.Fresh(s.T)
	s.copy(second)
	check(second)
}

// threads: replies say what they answer, and that is there.
func (s *story) threads() {
	alice, bob := &s.Alice, &s.Bob
	list := s.create(alice, playlists, "one")
	first := s.create(bob, messages, "question")
	in := func(thread, parent coffer.CommitRev) members {
		return meta(members{"thread": thread.String(), "parent": parent.String()})
	}
	second := s.create(alice, messages, "answer", in(first, first))
	third := s.create(bob, messages, "thanks", in(first, second))
	other := s.create(bob, messages, "another matter")
	under := 0
	for _, o := range s.list(alice, messages.query()) {
		var m struct{ Thread, Parent string }
		if o.Meta == nil || json.Unmarshal(o.Meta, &m) != nil {
			continue
		}
		if m.Thread == first.String() && (m.Parent == first.String() || m.Parent == second.String()) {
			under++
		}
	}
	if under != 2 {
		s.Errorf("%d replies in a thread", under)
	}
	for name, m := range map[string]members{
		"a parent that is not there":         in(first, coffer.CommitRev{1}),
		"a parent that is no action":         meta(members{"parent": list.String()}),
		"a parent of another thread":         in(other, third),
		"a thread that is not there":         in(coffer.CommitRev{1}, first),
		"a thread that is no action":         in(list, first),
		"a parent that is no revision":       meta(members{"parent": "x"}),
		"a parent that is no text":           meta(members{"parent": 7}),
		"a thread at an address of nowhere":  meta(members{"thread": "https://example.org/"}),
		"a parent of the thread of a parent": in(third, third),
	} {
		if err := s.try(alice, s.commit(alice, messages, "x", m)); !errors.Is(err, coffer.Invalid) {
			s.Errorf("%s: %v, want invalid", name, err)
		}
	}
	// What is answered may be in the correspondent's hub.
	there := "hub://" + bob.DID + "/Actions/" + "http%3A%2F%2Fschema.org/ReadAction/" + first.String()
	s.create(alice, messages, "answer to his", meta(members{"thread": there, "parent": there}))
}

// flood: strangers are held to bounds, each of them and all together, and the owner is not.
func (s *story) flood() {
	l := s.Limits
	alice, bob, carol, dave := &s.Alice, &s.Bob, &s.Carol, &s.Dave
	s.create(alice, playlists, "one")
	exhausted := func(as *Person, payload string) {
		s.Helper()
		s.refused(s.try(as, s.commit(as, messages, payload)), coffer.Exhausted, "")
	}
	if l.ActionSize > 0 {
		exhausted(carol, strings.Repeat("x", l.ActionSize+1))
		s.remove(alice, messages, s.create(carol, messages, strings.Repeat("x", l.ActionSize)))
		s.remove(alice, messages, s.create(alice, messages, strings.Repeat("x", l.ActionSize+1)))
	}
	if l.SenderBurst == 0 || l.ActionsWait == 0 {
		s.Skip("this place does not say what it bears")
	}
	var left []coffer.CommitRev
	for range l.SenderBurst {
		left = append(left, s.create(bob, messages, "x"))
	}
	for range 20 {
		exhausted(bob, "x")
	}
	// Others can still leave some, until there are too many.
	for len(left) < l.ActionsWait {
		who := carol
		if len(left) > l.SenderBurst+1 {
			who = dave
		}
		left = append(left, s.create(who, messages, "x"))
	}
	exhausted(dave, "x")
	q := messages.query()
	q.NoDeleted = true
	s.lists(alice, q, left...)
	// The owner is not kept from anything, nor is who was granted it.
	s.create(alice, playlists, "two")
	own := s.create(alice, messages, "a note to herself")
	s.permit(carol, "C---", messages)
	s.create(carol, messages, "granted")
	s.remove(alice, messages, own)
	// What was handled makes room; and time makes room for who was too fast.
	s.update(alice, messages, left[0], "x", meta(members{"state": "done"}))
	s.remove(alice, messages, left[1])
	s.create(dave, messages, "x")
	if s.Advance != nil {
		exhausted(bob, "x")
		s.Advance(24 * time.Hour)
		s.create(bob, messages, "x")
	}
	exhausted(dave, "x")
}

// guarded: a stranger shows work or an introduction; the owner and those with a grant need neither.
func (s *story) guarded() {
	if s.Guarded == nil {
		s.Skip("this place asks strangers for nothing")
	}
	const bits = 8
	g := &story{T: s.T, Place: s.Guarded(s.T, bits), ctx: s.ctx, last: s.last}
	alice, bob, carol := &g.Alice, &g.Bob, &g.Carol
	g.create(alice, messages, "a note to herself")
	with := func(header members) *coffer.Commit {
		c := g.commit(bob, messages, "x")
		c.Header = json.RawMessage(g.json(header))
		return c
	}
	// zeros returns how many leading bits of the proof are zero.
	zeros := func(c *coffer.Commit, n string) (count int) {
		for _, b := range sha256.Sum256([]byte("coffer work 1\x00" + c.Rev().String() + "." + n)) {
			count += mathbits.LeadingZeros8(b)
			if b != 0 {
				break
			}
		}
		return count
	}
	c := g.commit(bob, messages, "x")
	g.denied(g.try(bob, c))
	worked, idle := "", ""
	for n := 0; worked == "" || idle == ""; n++ {
		if text := strconv.Itoa(n); zeros(c, text) >= bits {
			worked = text
		} else {
			idle = text
		}
	}
	for _, n := range []any{idle, "", worked + "0", "+" + worked, " " + worked, strings.Repeat("0", 10_000)} {
		if text := n.(string); zeros(c, text) >= bits && strings.Trim(text, "0123456789") == "" {
			continue
		}
		c.Header = json.RawMessage(g.json(members{"work": n}))
		g.denied(g.try(bob, c))
	}
	c.Header = json.RawMessage(g.json(members{"work": worked}))
	g.write(bob, c)
	again := g.commit(bob, messages, "x") // work is for one message
	again.Header = c.Header
	if zeros(again, worked) < bits {
		g.denied(g.try(bob, again))
	}

	introduction := func(by *Person, to string, exp time.Time) string {
		claims := g.json(members{"sub": to, "exp": exp.UTC().Format(time.RFC3339), "jti": "1"})
		j := by.Sign(members{"typ": "introduction"}, []byte(claims))
		return j.Protected + "." + j.Payload + "." + j.Signature
	}
	soon := g.now().Add(time.Hour)
	g.write(bob, with(members{"introduction": introduction(alice, bob.DID, soon)}))
	g.write(bob, with(members{"introduction": introduction(alice, "*", soon)}))
	good := introduction(alice, bob.DID, soon)
	for name, text := range map[string]string{
		"for another": introduction(alice, carol.DID, soon),
		"by another":  introduction(carol, bob.DID, soon),
		"by himself":  introduction(bob, bob.DID, soon),
		"of the past": introduction(alice, bob.DID, g.now().Add(-time.Hour)),
		"with another's name": strings.Split(introduction(alice, carol.DID, soon), ".")[0] + good[strings.Index(good,
			"."):][:9],
		"signed by nobody": good[:strings.LastIndex(good, ".")+1],
		"in two parts":     good[:strings.LastIndex(good, ".")],
		"no JWS":           "x",
	} {
		if err := g.try(bob, with(members{"introduction": text})); !errors.Is(err, coffer.Denied) {
			s.Errorf("an introduction %s: %v, want denied", name, err)
		}
	}
	g.permit(carol, "C---", messages)
	g.create(carol, messages, "granted")
}

// separate: each identity has a hub of its own, and what is in one is not in another.
func (s *story) separate() {
	alice, bob := &s.Alice, &s.Bob
	mine := s.create(alice, playlists, "Alice's")
	c := s.commit(bob, playlists, "Bob's", of(bob))
	s.writeTo(bob, bob, c)
	his := c.Rev()
	s.lists(alice, playlists.query(), mine)
	if all, _ := s.pages(bob.Hub, bob.DID, playlists.query()); !slices.Equal(ids(all), []coffer.CommitRev{his}) {
		s.Errorf("Bob has %d objects", len(all))
	}
	q := playlists.query()
	q.IDs = []coffer.CommitRev{his}
	s.lists(alice, q)
	if all := s.commits(alice, &coffer.CommitQuery{Objects: []coffer.CommitRev{his}}); len(all) != 0 {
		s.Errorf("%d commits of another hub", len(all))
	}
	if all := s.commits(alice, &coffer.CommitQuery{Revisions: []coffer.CommitRev{his}}); len(all) != 0 {
		s.Errorf("%d commits of another hub", len(all))
	}
	s.refused(s.try(alice, s.commit(alice, playlists, "x", updating(his))), coffer.NotExist, "")
	// A right at one hub is none at another.
	s.permit(bob, "CRUD", playlists)
	_, err := s.Carol.Hub.Objects(s.ctx, bob.DID, playlists.query())
	s.denied(err)
	_, err = alice.Hub.Objects(s.ctx, bob.DID, playlists.query())
	s.denied(err)
	_, err = alice.Hub.Write(s.ctx, bob.DID, s.commit(alice, playlists, "x", of(bob), updating(his)))
	s.denied(err)
	_, err = alice.Hub.Adopt(s.ctx, bob.DID, c)
	s.denied(err)
}

// store is the kind of a key in the Store of Alice and somebody.
func store(with *Person, key string) kind { return kind{"Stores", with.DID, key} }

// permitStore makes Alice grant somebody a Store.
func (s *story) permitStore(to *Person, with ...members) coffer.CommitRev {
	s.Helper()
	return s.permit(to, "CRUD", kind{"", to.DID, "Store"}, with...)
}

// stores: the owner and somebody share keys and values, that nobody else sees.
func (s *story) stores() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	s.create(alice, playlists, "one")
	s.denied(s.try(bob, s.commit(bob, store(bob, "a"), "1")))
	held := s.permitStore(bob)
	s.permitStore(carol)
	a := s.create(bob, store(bob, "a"), "1")
	b := s.create(alice, store(bob, "b"), "2")
	s.update(alice, store(bob, "a"), a, "one")
	s.update(bob, store(bob, "b"), b, "two")
	for _, who := range []*Person{alice, bob} {
		s.reads(who, store(bob, "a"), a, "one")
		s.reads(who, store(bob, "b"), b, "two")
	}
	// One object for a key.
	s.refused(s.try(bob, s.commit(bob, store(bob, "a"), "2")), coffer.Invalid, "")
	s.remove(bob, store(bob, "a"), a)
	a = s.create(bob, store(bob, "a"), "again")

	// A third sees and does nothing, also when he is granted the very key.
	s.permit(carol, "CRUD", store(bob, "a"))
	s.permit(carol, "CRUD", kind{"", bob.DID, "Store"})
	s.denied(s.tryCommits(carol, a))
	s.denied(s.tryList(carol, store(bob, "a")))
	s.denied(s.try(carol, s.commit(carol, store(bob, "a"), "x", updating(a))))
	s.denied(s.try(carol, s.commit(carol, store(bob, "c"), "x")))
	own := s.create(carol, store(carol, "a"), "Carol's")
	s.reads(carol, store(carol, "a"), own, "Carol's")
	s.denied(s.tryCommits(bob, own))
	if p, err := bob.Hub.Objects(s.ctx, alice.DID, &coffer.ObjectQuery{Interface: "Stores"}); err != nil {
		s.denied(err)
	} else if slices.ContainsFunc(p.Objects, func(o coffer.HubObject) bool { return o.Context != bob.DID }) {
		s.Error("keys of another are listed")
	}

	// On the verb plane, by key, and the keys in pages.
	act := coffer.HubAct{Interface: "Stores", Verb: coffer.AddVerb, Key: "color",
		Payload: []json.RawMessage{json.RawMessage(`"red"`)}}
	if _, err := bob.Hub.Perform(s.ctx, alice.DID, &act); err != nil {
		s.Fatal(err)
	}
	for _, get := range []struct {
		as      *Person
		context string
	}{{bob, ""}, {alice, bob.DID}} {
		items, err := get.as.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
			Interface: "Stores", Verb: coffer.RequestVerb, Context: get.context, Key: "color",
		})
		if err != nil || len(items) != 1 || string(items[0].Data) != `"red"` {
			s.Errorf("%d items: %v", len(items), err)
		}
	}
	for skip, want := range []int{2, 2, 1, 0} {
		items, err := bob.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
			Interface: "Stores", Verb: coffer.RequestVerb, Skip: skip, Take: 2,
		})
		if err != nil || len(items) != want {
			s.Errorf("%d items after %d: %v", len(items), skip, err)
		}
	}
	_, err := bob.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{Interface: "Stores", Verb: coffer.RequestVerb,
		Key: "shape"})
	s.refused(err, coffer.NotExist, "")
	act.Verb, act.Payload[0] = coffer.UpdateVerb, json.RawMessage(`"blue"`)
	if _, err := bob.Hub.Perform(s.ctx, alice.DID, &act); err != nil {
		s.Error(err)
	}
	act.Verb = coffer.RemoveVerb
	if _, err := bob.Hub.Perform(s.ctx, alice.DID, &act); err != nil {
		s.Error(err)
	}
	_, err = bob.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{Interface: "Stores", Verb: coffer.RequestVerb, Key: "color"})
	s.refused(err, coffer.NotExist, "")
	_, err = s.Dave.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{Interface: "Stores", Verb: coffer.RequestVerb, Key: "a"})
	s.denied(err)

	// The owner ends it.
	s.remove(alice, grants, held)
	s.denied(s.tryCommits(bob, a))
	s.denied(s.try(bob, s.commit(bob, store(bob, "a"), "x", updating(a))))
	s.reads(alice, store(bob, "a"), a, "again")
}

// storeLimits: a Store holds what its grant says, or else what the hub says; the owner may extend that.
func (s *story) storeLimits() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	s.create(alice, playlists, "one")
	held := s.permitStore(bob, members{"max_keys": 3, "max_bytes": 1000})
	exhausted := func(as *Person, c *coffer.Commit) {
		s.Helper()
		s.refused(s.try(as, c), coffer.Exhausted, "")
	}
	var last coffer.CommitRev
	for i := range 3 {
		last = s.create(bob, store(bob, strconv.Itoa(i)), strings.Repeat("x", 100))
	}
	exhausted(bob, s.commit(bob, store(bob, "3"), "x"))
	s.update(bob, store(bob, "2"), last, strings.Repeat("y", 800))
	exhausted(bob, s.commit(bob, store(bob, "2"), strings.Repeat("z", 801), updating(last)))
	s.update(alice, grants, held, s.grantOf(bob.DID, "CRUD", kind{"", bob.DID, "Store"}, members{"max_keys": 4,
		"max_bytes": 2000}))
	s.update(bob, store(bob, "2"), last, strings.Repeat("z", 801))
	s.create(bob, store(bob, "3"), "x")
	exhausted(bob, s.commit(bob, store(bob, "4"), "x"))
	s.remove(bob, store(bob, "2"), last)
	s.create(bob, store(bob, "4"), "x")

	// A value that grows patch by patch is as large as what it has become.
	patched := members{"commit_strategy": "json-merge-patch"}
	s.permitStore(&s.Dave, members{"max_bytes": 1000})
	grown := s.commit(&s.Dave, store(&s.Dave, "a"), `{}`, patched)
	err := s.try(&s.Dave, grown)
	for i := 0; i < 6 && err == nil; i++ {
		value := s.json(members{strconv.Itoa(i): strings.Repeat("x", 300)})
		err = s.try(&s.Dave, s.commit(&s.Dave, store(&s.Dave, "a"), value, patched, updating(grown.Rev())))
	}
	if err == nil {
		s.Error("a Store grows beyond its limit by patches")
	} else if !errors.Is(err, coffer.Invalid) { // a hub may refuse the strategy here
		s.refused(err, coffer.Exhausted, "")
	}

	s.permitStore(carol)
	if n := s.Limits.StoreKeys; n > 0 {
		for i := range n {
			last = s.create(carol, store(carol, strconv.Itoa(i)), "x")
		}
		exhausted(carol, s.commit(carol, store(carol, "more"), "x"))
		s.create(alice, store(carol, "more"), "the owner's")
	}
	if n := s.Limits.StoreBytes; n > 0 && s.Limits.StoreKeys > 0 {
		k := store(carol, strconv.Itoa(s.Limits.StoreKeys-1))
		exhausted(carol, s.commit(carol, k, strings.Repeat("x", int(n)+1), updating(last)))
	}
}

// services: descriptors are seen by who may, and nothing is executed.
func (s *story) services() {
	alice, bob, dave := &s.Alice, &s.Bob, &s.Dave
	api := kind{"Services", "https://spec.openapis.org/oas/3.1", "OpenAPI"}
	open := `{"openapi":"3.1.0","info":{"title":"Opening hours","version":"1"},"servers":[{"url":"https://a.example/"}]}`
	private := `{"openapi":"3.1.0","info":{"title":"Orders","version":"1"},"servers":[{"url":"https://shop.example/o"}]}`
	s.create(alice, api, open, meta(members{"public": true}))
	second := s.create(alice, api, private)
	request := func(as *Person) []coffer.HubItem {
		s.Helper()
		items, err := as.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{Interface: "Services", Verb: coffer.RequestVerb})
		if err != nil {
			s.Errorf("services: %v", err)
		}
		return items
	}
	s.permit(bob, "-R--X", api, members{"object_id": []string{second.String()}})
	if items := request(alice); len(items) != 2 {
		s.Errorf("the owner sees %d services", len(items))
	}
	if items := request(bob); len(items) != 2 {
		s.Errorf("Bob sees %d services", len(items))
	}
	if items := request(dave); len(items) != 1 || items[0].ID == second.String() {
		s.Errorf("everybody sees %d services", len(items))
	} else {
		s.equal("service", items[0].Data, json.RawMessage(open))
	}
	for _, who := range []*Person{alice, bob} {
		_, err := who.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
			Interface: "Services", Verb: coffer.ExecuteVerb, Context: api.context, Type: api.typ, ID: second.String(),
		})
		s.notOffered(err)
	}
}

// schemas: each party's types are asked for by name, and none was registered.
func (s *story) bySchema() {
	alice, bob, carol := &s.Alice, &s.Bob, &s.Carol
	patient := kind{"Collections", "http://hl7.org/fhir", "Patient"}
	product := kind{"Collections", "https://gs1.org/voc/", "Product"}
	s.permit(bob, "-RU-", patient)
	s.permit(carol, "C---", product)
	sealed := s.create(alice, patient, `{"protected":"eyJ","ciphertext":"AAAA"}`)
	s.update(bob, patient, sealed, `{"protected":"eyJ","ciphertext":"BBBB"}`)
	s.reads(alice, patient, sealed, `{"protected":"eyJ","ciphertext":"BBBB"}`)
	items, err := carol.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
		Interface: "Collections", Verb: coffer.AddVerb, Context: product.context, Type: product.typ,
		Payload: []json.RawMessage{json.RawMessage(`{"gtin":"1"}`), json.RawMessage(`{"gtin":"2"}`)},
	})
	if err != nil || len(items) != 2 {
		s.Fatalf("%d items: %v", len(items), err)
	}
	s.denied(s.tryList(carol, product))
	got := s.list(alice, product.query())
	if len(got) != 2 || got[0].CreatedBy != carol.DID || got[0].ID.String() != items[0].ID {
		s.Errorf("%d products", len(got))
	}
	s.denied(s.tryList(bob, product))
	s.denied(s.tryList(carol, patient))
}

// strategies: what writers who part have written makes one state, as the object's strategy says.
func (s *story) strategies() {
	alice, bob := &s.Alice, &s.Bob
	s.permit(bob, "CRUD", playlists)
	at := s.now().Add(-time.Hour)
	when := func(ms int) members {
		return members{"committed_at": stamp(at.Add(time.Duration(ms) * time.Millisecond))}
	}
	for _, test := range []struct{ strategy, want string }{
		{"basic", `{"c":3}`}, {"lastWriterWins", `{"c":3}`}, {"json-merge-patch", `{"a":1,"b":2,"c":3}`},
	} {
		strategy := members{"commit_strategy": test.strategy}
		id := s.create(alice, playlists, `{"a":1,"x":1}`, strategy, when(9))
		s.update(bob, playlists, id, `{"c":3}`, strategy, when(2))
		s.update(alice, playlists, id, `{"b":2,"x":null}`, strategy, when(1))
		if o := s.object(alice, playlists, id); o.Strategy != test.strategy || o.UpdatedBy != bob.DID {
			s.Errorf("got %+v", o)
		}
		items, err := bob.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
			Interface: playlists.iface, Verb: coffer.RequestVerb, Context: playlists.context, Type: playlists.typ,
			ID: id.String(),
		})
		if err != nil || len(items) != 1 {
			s.Fatalf("%s: %d items: %v", test.strategy, len(items), err)
		}
		s.equal(test.strategy, items[0].Data, json.RawMessage(test.want))
		// A delete wins for ever.
		s.remove(alice, playlists, id, strategy, when(0))
		s.update(bob, playlists, id, `{"d":4}`, strategy)
		if o := s.object(alice, playlists, id); !o.Deleted {
			s.Errorf("%s: an update has revived a deleted object", test.strategy)
		}
		if _, err := bob.Hub.Perform(s.ctx, alice.DID, &coffer.HubAct{
			Interface: playlists.iface, Verb: coffer.RequestVerb, Context: playlists.context, Type: playlists.typ,
			ID: id.String(),
		}); !errors.Is(err, coffer.NotExist) {
			s.Errorf("%s: a deleted object is shown: %v", test.strategy, err)
		}
	}
	// Bounded.
	if n := s.Limits.ObjectCommits; n > 0 {
		id := s.create(alice, games, "0")
		for i := range n - 1 {
			s.update(alice, games, id, fmt.Sprint(i))
		}
		s.refused(s.try(alice, s.commit(alice, games, "x", updating(id))), coffer.Exhausted, "")
		s.remove(alice, games, id)
	}
}
