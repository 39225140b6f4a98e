package hubtest

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/cofferhq/coffer"
)

func raw(texts ...string) (all []json.RawMessage) {
	for _, t := range texts {
		all = append(all, json.RawMessage(t))
	}
	return all
}

// act makes an act on a kind of objects.
func (k kind) act(verb coffer.Verb, payload ...string) coffer.HubAct {
	return coffer.HubAct{Interface: k.iface, Verb: verb, Context: k.context, Type: k.typ, Payload: raw(payload...)}
}

// perform carries out an act at Alice's hub, as somebody who may.
func (s *story) perform(as *Person, a coffer.HubAct) []coffer.HubItem {
	s.Helper()
	items, err := as.Hub.Perform(s.ctx, s.Alice.DID, &a)
	if err != nil {
		s.Fatalf("%s of %s: %v", a.Verb, a.Interface, err)
	}
	return items
}

func (s *story) tryPerform(as *Person, a coffer.HubAct) error {
	_, err := as.Hub.Perform(s.ctx, s.Alice.DID, &a)
	return err
}

// verbs: add, request, update and remove, with no commit in sight.
func (s *story) verbs() {
	alice, bob := &s.Alice, &s.Bob
	add := playlists.act(coffer.AddVerb, `{"name":"one"}`)
	add.Meta = json.RawMessage(`{"title":"One","cache-intent":"full"}`)
	added := s.perform(alice, add)
	if len(added) != 1 || added[0].ID == "" || added[0].Author != alice.DID {
		s.Fatalf("got %+v", added)
	}
	again := s.perform(alice, playlists.act(coffer.AddVerb, `{"name":"one"}`)) // alike, and another one
	if len(again) != 1 || again[0].ID == added[0].ID {
		s.Fatalf("got %+v", again)
	}
	one := func(as *Person, id string) coffer.HubItem {
		s.Helper()
		a := playlists.act(coffer.RequestVerb)
		a.ID = id
		items := s.perform(as, a)
		if len(items) != 1 || items[0].ID != id {
			s.Fatalf("got %+v", items)
		}
		return items[0]
	}
	item := one(alice, added[0].ID)
	s.equal("data", item.Data, members{"name": "one"})
	var m struct {
		Title  string
		Intent string `json:"cache-intent"`
	}
	if err := json.Unmarshal(item.Meta, &m); err != nil || m.Title != "One" || m.Intent != "full" {
		s.Errorf("the meta is %s", item.Meta)
	}

	// Rights are those of the commit plane.
	update := playlists.act(coffer.UpdateVerb, `{"name":"two"}`)
	update.ID = added[0].ID
	remove := playlists.act(coffer.RemoveVerb)
	remove.ID = added[0].ID
	for _, a := range []coffer.HubAct{playlists.act(coffer.RequestVerb), update, remove, add} {
		s.denied(s.tryPerform(bob, a))
	}
	grant := s.permit(bob, "-RU-", playlists)
	s.perform(bob, update)
	s.denied(s.tryPerform(bob, remove))
	s.denied(s.tryPerform(bob, add))
	item = one(alice, added[0].ID)
	s.equal("data", item.Data, members{"name": "two"})
	if item.Author != bob.DID {
		s.Errorf("written by another")
	}
	s.update(alice, grants, grant, s.grantOf(bob.DID, "CRUD", playlists))

	// Both planes show the same objects.
	id, err := coffer.ParseCommitRev(added[0].ID)
	if err != nil {
		s.Fatal(err)
	}
	o := s.object(alice, playlists, id)
	if o.CreatedBy != alice.DID || o.UpdatedBy != bob.DID || o.Sub != alice.DID {
		s.Errorf("got %+v", o)
	}
	signed := s.create(alice, playlists, `{"name":"signed"}`)
	text := s.create(alice, playlists, "no JSON")
	s.equal("data", one(bob, signed.String()).Data, members{"name": "signed"})
	s.equal("data", one(bob, text.String()).Data, "no JSON")
	if items := s.perform(bob, playlists.act(coffer.RequestVerb)); len(items) != 4 {
		s.Errorf("%d items", len(items))
	}

	// The schema is found however it was written, and objects keep what they were written with.
	for _, context := range []string{"schema.org", "https://schema.org", "https://schema.org/", "http://schema.org/",
		"schema.org/"} {
		a := playlists.act(coffer.RequestVerb)
		a.Context = context
		if items := s.perform(alice, a); len(items) != 4 {
			s.Errorf("%d items of %s", len(items), context)
		}
	}

	// Who replaces what a clock that is ahead has dated replaces it all the same.
	ahead := s.create(alice, playlists, `{"n":1}`, members{"committed_at": stamp(s.now().Add(5 * time.Minute))})
	s.update(alice, playlists, ahead, `{"n":2}`, members{"committed_at": stamp(s.now().Add(5 * time.Minute))})
	late := playlists.act(coffer.UpdateVerb, `{"n":3}`)
	late.ID = ahead.String()
	s.perform(bob, late)
	s.equal("data", one(bob, ahead.String()).Data, members{"n": 3})
	s.remove(alice, playlists, ahead)

	// A commit of the hub is nobody else's to send.
	cs := s.commits(alice, &coffer.CommitQuery{Objects: []coffer.CommitRev{id}})
	if len(cs) != 2 {
		s.Fatalf("%d commits", len(cs))
	}
	for _, who := range []*Person{alice, bob} {
		s.refused(s.try(who, cs[1]), coffer.Invalid, "commit")
	}

	s.perform(bob, remove)
	for _, a := range []coffer.HubAct{update, remove, {Interface: "Collections", Verb: coffer.RequestVerb, ID: added[0].ID,
		Context: playlists.context, Type: playlists.typ}} {
		s.refused(s.tryPerform(bob, a), coffer.NotExist, "")
	}
	if o := s.object(alice, playlists, id); !o.Deleted {
		s.Error("not deleted")
	}
	if items := s.perform(bob, playlists.act(coffer.RequestVerb)); len(items) != 3 {
		s.Errorf("%d items", len(items))
	}
}

// notThere: interfaces and verbs that are not offered, and what is asked for wrongly.
func (s *story) notThere() {
	alice := &s.Alice
	id := s.create(alice, playlists, "one")
	for _, who := range []*Person{alice, &s.Bob} {
		for _, a := range []coffer.HubAct{
			{Interface: "Things", Verb: coffer.RequestVerb}, {Interface: "Collections", Verb: "Merge"},
			{Interface: "collections", Verb: coffer.RequestVerb}, {Interface: "", Verb: coffer.RequestVerb},
		} {
			s.notOffered(s.tryPerform(who, a))
		}
	}
	for name, a := range map[string]coffer.HubAct{
		"an id of nothing": {Interface: "Collections", Verb: coffer.RequestVerb, ID: "x"},
		"no id to update":  playlists.act(coffer.UpdateVerb, `{}`),
		"no id to remove":  playlists.act(coffer.RemoveVerb),
		"nothing to add":   playlists.act(coffer.AddVerb),
		"no schema":        {Interface: "Collections", Verb: coffer.AddVerb, Payload: raw(`{}`)},
		"a meta that is a text": {Interface: "Collections", Verb: coffer.AddVerb, Context: "x", Type: "y",
			Meta: raw(`"x"`)[0], Payload: raw(`{}`)},
	} {
		if err := s.tryPerform(alice, a); !errors.Is(err, coffer.Invalid) {
			s.Errorf("%s: %v, want invalid", name, err)
		}
	}
	two := playlists.act(coffer.UpdateVerb, `{}`, `{}`)
	two.ID = id.String()
	s.refused(s.tryPerform(alice, two), coffer.Invalid, "")
	s.reads(alice, playlists, id, "one")
}

// relay: an interface can be offered elsewhere, for everybody, as long as the owner says so.
func (s *story) relay() {
	alice, bob := &s.Alice, &s.Bob
	relays := kind{"Services", "schema.identity.foundation/0.1", "Relay"}
	id := s.create(alice, relays, `{"interface":"Collections","location":"https://hub.example/.identity"}`)
	for _, who := range []*Person{alice, bob} {
		err := s.tryPerform(who, playlists.act(coffer.RequestVerb))
		if f := faultOf(err); f == nil || f.Location != "https://hub.example/.identity" {
			s.Errorf("got %v, want another place", err)
		}
	}
	s.perform(alice, coffer.HubAct{Interface: "Profile", Verb: coffer.RequestVerb})
	s.remove(alice, relays, id)
	s.perform(alice, playlists.act(coffer.RequestVerb))

	// Nobody else sends the owner's callers elsewhere, and nowhere but to a web address.
	s.permit(bob, "CRUD", relays)
	s.create(bob, relays, `{"interface":"Collections","location":"https://mallory.example/"}`)
	id = s.create(alice, relays, `{"interface":"Actions","location":"https://hub.example/"}`)
	s.update(bob, relays, id, `{"interface":"Collections","location":"https://mallory.example/"}`)
	for _, location := range []string{"http://hub.example/", "javascript:alert(1)", "//hub.example/", ""} {
		s.create(alice, relays, s.json(members{"interface": "Collections", "location": location}))
	}
	s.perform(alice, playlists.act(coffer.RequestVerb))
}

// described: everybody is told what he can do, and nothing of the rest.
func (s *story) described() {
	alice, bob, dave := &s.Alice, &s.Bob, &s.Dave
	offers := kind{"Collections", "http://schema.org", "Offer"}
	s.create(alice, playlists, "one")
	s.create(alice, games, "chess")
	s.create(alice, offers, "bicycle", meta(members{"public": true}))
	schema := `{"$schema":"https://json-schema.org/draft/2020-12/schema","type":"object","required":["name"]}`
	s.create(alice, kind{"Collections", "https://json-schema.org/draft/2020-12/schema", "Schema"}, schema,
		meta(members{"public": true, "context": playlists.context, "type": playlists.typ}))
	s.permit(bob, "CR--", playlists)
	kinds := func(as *Person) map[kind]coffer.HubKind {
		s.Helper()
		d, err := as.Hub.Describe(s.ctx, alice.DID)
		if err != nil {
			s.Fatal(err)
		}
		all := map[kind]coffer.HubKind{}
		for _, k := range d.Kinds {
			all[kind{k.Interface, k.Context, k.Type}] = k
		}
		var api struct{ OpenAPI string }
		if err := json.Unmarshal(d.OpenAPI, &api); err != nil || len(api.OpenAPI) < 3 || api.OpenAPI[:3] != "3.1" {
			s.Errorf("the description is not OpenAPI 3.1: %v", err)
		}
		return all
	}
	check := func(as *Person, k kind, allow string) {
		s.Helper()
		if got := kinds(as)[k].Allow; got != allow {
			s.Errorf("%s of %s: got %q, want %q", k.typ, k.iface, got, allow)
		}
	}
	for _, k := range []kind{playlists, games, offers} {
		check(alice, k, "CRUD")
	}
	check(bob, playlists, "CR--")
	check(bob, games, "")
	check(bob, offers, "-R--")
	check(dave, playlists, "")
	check(dave, offers, "-R--")
	s.equal("schema", kinds(bob)[playlists].Schema, json.RawMessage(schema))
	if d, err := s.Carol.Hub.Describe(s.ctx, "did:example:none"); err == nil {
		for _, k := range d.Kinds {
			if k.Interface != "Actions" {
				s.Errorf("a hub that is not there has objects of %s", k.Interface)
			}
		}
	}
}

// readers: a payload is for the owner alone, for those with a grant, or for everybody.
func (s *story) readers() {
	alice, bob, dave := &s.Alice, &s.Bob, &s.Dave
	statement := kind{"Collections", "https://bank.example", "Statement"}
	own := s.create(alice, statement, "for Alice")
	both := s.create(alice, statement, "for Alice and Bob")
	all := s.create(alice, statement, "for all", meta(members{"public": true}))
	s.permit(bob, "-R--", statement, members{"object_id": []string{both.String()}})
	request := func(as *Person) (got []string) {
		s.Helper()
		for _, i := range s.perform(as, statement.act(coffer.RequestVerb)) {
			got = append(got, i.ID)
		}
		return got
	}
	s.equal("Alice", request(alice), []coffer.CommitRev{own, both, all})
	s.equal("Bob", request(bob), []coffer.CommitRev{both, all})
	s.equal("Dave", request(dave), []coffer.CommitRev{all})
	s.lists(bob, statement.query(), both, all)
	s.lists(dave, statement.query(), all)
}
