package hub_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/merge"
	"github.com/cofferhq/coffer/node/hub"
)

var action = of(coffer.ActionsInterface, "http://schema.org", "ReadAction")

// with puts members into the header that is not signed.
func with(c *coffer.Commit, members map[string]string) *coffer.Commit {
	b, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	other := *c
	other.Header = b
	return &other
}

// work finds a proof of work for a commit.
func work(c *coffer.Commit, zeros int) string {
	for n := 0; ; n++ {
		text := fmt.Sprint(n)
		sum := sha256.Sum256([]byte("coffer work 1\x00" + c.Rev().String() + "." + text))
		found := 0
		for _, b := range sum {
			found += bits.LeadingZeros8(b)
			if b != 0 {
				break
			}
		}
		if found >= zeros {
			return text
		}
	}
}

// introduce signs an introduction.
func introduce(t *testing.T, by somebody, header, claims map[string]any) string {
	t.Helper()
	header["alg"], header["kid"] = by.Alg(), by.KeyID()
	b, err := json.Marshal(claims)
	if err != nil {
		t.Fatal(err)
	}
	j := jose.NewJWS(header, b)
	signature, err := by.SignInput(t.Context(), j.Input())
	if err != nil {
		t.Fatal(err)
	}
	j.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return j.Compact()
}

// TestWaiting fills an inbox: one whom the owner introduced by name still comes in, with as much as anybody may leave.
func TestWaiting(t *testing.T) {
	s := newSite(t, func(o *hub.Options) { o.Limits.Waiting, o.Limits.WaitingOfSender = 3, 2 })
	s.write(alice, s.commit(alice, `{}`))
	leave := func(who somebody, to string) error {
		text := introduce(t, alice, map[string]any{}, map[string]any{
			"sub": to, "exp": time.Now().Add(time.Hour).Format(time.RFC3339), "jti": "1",
		})
		c := with(s.commit(who, `{}`, action), map[string]string{"introduction": text})
		_, err := s.as(who).Write(t.Context(), alice.DID(), c)
		return err
	}
	for _, who := range []somebody{"x", "y", "z"} {
		s.write(who, s.commit(who, `{}`, action))
	}
	wants(t, "a stranger", leave(carol, ""), coffer.Exhausted)
	wants(t, "one of everybody", leave(carol, coffer.Everybody), coffer.Exhausted)
	for range 2 {
		if err := leave(bob, bob.DID()); err != nil {
			t.Errorf("one who was introduced: %v", err)
		}
	}
	wants(t, "too much of his", leave(bob, bob.DID()), coffer.Exhausted)
}

// TestWork asks strangers for a proof of work, or an introduction.
func TestWork(t *testing.T) {
	const zeros = 8
	s := newSite(t, func(o *hub.Options) {
		o.Limits.Work, o.Limits.SenderBurst, o.Limits.SenderEvery = zeros, 2, time.Hour
	})
	s.write(alice, s.commit(alice, `{}`))
	leave := func(who somebody, members func(*coffer.Commit) map[string]string) error {
		c := s.commit(who, `{}`, action)
		if members != nil {
			c = with(c, members(c))
		}
		_, err := s.as(who).Write(t.Context(), alice.DID(), c)
		return err
	}
	wants(t, "no work", leave(bob, nil), coffer.Denied)
	wants(t, "work for another", leave(bob, func(*coffer.Commit) map[string]string {
		other := s.commit(bob, `{}`, action)
		return map[string]string{"work": work(other, zeros)}
	}), coffer.Denied)
	wants(t, "no number", leave(bob, func(*coffer.Commit) map[string]string {
		return map[string]string{"work": "x"}
	}), coffer.Denied)
	worked := func(c *coffer.Commit) map[string]string { return map[string]string{"work": work(c, zeros)} }
	for range 2 {
		if err := leave(bob, worked); err != nil {
			t.Fatal(err)
		}
	}
	wants(t, "too fast", leave(bob, worked), coffer.Exhausted)
	soon, ago := time.Now().Add(time.Hour).Format(time.RFC3339), time.Now().Add(-time.Hour).Format(time.RFC3339)
	for name, one := range map[string]struct {
		by     somebody
		header map[string]any
		claims map[string]any
		good   bool
	}{
		"to bob":       {alice, nil, map[string]any{"sub": bob.DID(), "exp": soon, "jti": "1"}, true},
		"to everybody": {alice, nil, map[string]any{"sub": "*", "exp": soon, "jti": "1"}, true},
		"to another":   {alice, nil, map[string]any{"sub": carol.DID(), "exp": soon, "jti": "1"}, false},
		"ended":        {alice, nil, map[string]any{"sub": bob.DID(), "exp": ago, "jti": "1"}, false},
		"without end":  {alice, nil, map[string]any{"sub": bob.DID(), "jti": "1"}, false},
		"without id":   {alice, nil, map[string]any{"sub": bob.DID(), "exp": soon}, false},
		"by himself":   {bob, nil, map[string]any{"sub": bob.DID(), "exp": soon, "jti": "1"}, false},
		"with a demand": {
			alice, map[string]any{"crit": []string{"x"}}, map[string]any{"sub": "*", "exp": soon, "jti": "1"}, false,
		},
		"in other letters": {alice, nil, map[string]any{"SUB": "*", "exp": soon, "jti": "1"}, false},
	} {
		if one.header == nil {
			one.header = map[string]any{}
		}
		text := introduce(t, one.by, one.header, one.claims)
		err := leave(bob, func(*coffer.Commit) map[string]string { return map[string]string{"introduction": text} })
		if one.good != (err == nil) {
			t.Errorf("an introduction %s: %v", name, err)
		}
		tampered := text[:len(text)-10] + strings.Repeat("A", 10)
		err = leave(bob, func(*coffer.Commit) map[string]string { return map[string]string{"introduction": tampered} })
		wants(t, "a tampered introduction", err, coffer.Denied)
	}
	// Who was granted it needs none of that.
	s.write(alice, s.commit(alice, grantOf(bob, "http://schema.org", "ReadAction", "C---", ""), asGrant))
	for range 3 {
		if err := leave(bob, nil); err != nil {
			t.Error(err)
		}
	}
}

// TestIrrevocable tries to take back what may not yet be: by writing, and by adopting.
func TestIrrevocable(t *testing.T) {
	s := newSite(t, nil)
	until := time.Now().Add(time.Hour).Format(time.RFC3339)
	id := s.grant(bob, "-R--", fmt.Sprintf(`,"not_revocable_before":%q`, until))
	gone := s.commit(alice, `{}`, asGrant, later(merge.Delete, id))
	less := s.commit(alice, grantOf(bob, shelf.Context, shelf.Type, "----", ""), asGrant, later(merge.Update, id))
	more := s.commit(alice, grantOf(bob, shelf.Context, shelf.Type, "CR--",
		fmt.Sprintf(`,"not_revocable_before":%q`, until)), asGrant, later(merge.Update, id))
	for _, c := range []*coffer.Commit{gone, less} {
		_, err := s.as(alice).Write(t.Context(), alice.DID(), c)
		wants(t, "write", err, coffer.Locked)
		_, err = s.as(alice).Adopt(t.Context(), alice.DID(), c)
		wants(t, "adopt", err, coffer.Locked)
	}
	s.write(alice, more)
	s.options.Now = func() time.Time { return time.Now().Add(2 * time.Hour) }
	s.beside().write(alice, gone)
	_, err := s.beside().as(bob).Objects(t.Context(), alice.DID(), books(coffer.ObjectQuery{}))
	wants(t, "what is gone", err, coffer.Denied)
}

// TestForgedGrants adopts grants that the owner has not signed, and a commit of the hub that it writes from outside.
func TestForgedGrants(t *testing.T) {
	s := newSite(t, nil)
	s.write(alice, s.commit(alice, `{}`))
	forged := s.commit(bob, grantOf(bob, shelf.Context, shelf.Type, "CRUD", ""), asGrant)
	_, err := s.as(alice).Adopt(t.Context(), alice.DID(), forged)
	wants(t, "a grant that another signed", err, coffer.Invalid)
	pose := s.commit(bob, `{}`, meta(`{"via":"hub","author":"`+alice.DID()+`"}`))
	_, err = s.as(bob).Write(t.Context(), alice.DID(), pose)
	wants(t, "a commit in another's name", err, coffer.Invalid)
	own := s.commit(somebody("hub"), `{}`)
	_, err = s.as(somebody("hub")).Write(t.Context(), alice.DID(), own)
	wants(t, "a commit of the hub's", err, coffer.Invalid)
	s.grant(bob, "C---", "")
	_, err = s.as(bob).Adopt(t.Context(), alice.DID(), s.commit(bob, `{}`))
	wants(t, "adopting in another's hub", err, coffer.Denied)
	update := s.commit(alice, `{}`, later(merge.Update, coffer.CommitRev{1}))
	good := s.commit(alice, `{}`)
	_, err = s.as(alice).Adopt(t.Context(), alice.DID(), good, update)
	wants(t, "an update of nothing", err, coffer.NotExist)
	if n, err := s.as(alice).Adopt(t.Context(), alice.DID(), good, good); n != 1 || err != nil {
		t.Errorf("what failed has stored something: %d, %v", n, err)
	}
}

// TestAddedTwice adds the same, in one millisecond, more than once.
func TestAddedTwice(t *testing.T) {
	now := time.Now()
	s := newSite(t, func(o *hub.Options) { o.Now = func() time.Time { return now } })
	ids := make(map[string]bool)
	for range 3 {
		items, err := s.as(alice).Perform(t.Context(), alice.DID(), act(coffer.AddVerb, func(a *coffer.HubAct) {
			a.Context, a.Type = shelf.Context, shelf.Type
			a.Payload = []json.RawMessage{json.RawMessage(`{}`), json.RawMessage(`{}`)}
		}))
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range items {
			ids[i.ID] = true
		}
	}
	if len(ids) != 6 {
		t.Errorf("of 6 objects there are %d", len(ids))
	}
}

func act(verb coffer.Verb, set func(*coffer.HubAct)) *coffer.HubAct {
	a := &coffer.HubAct{Interface: coffer.CollectionsInterface, Verb: verb, Context: "schema.org", Type: "Song"}
	if set != nil {
		set(a)
	}
	return a
}

// TestVerbs goes through the verb plane, and finds its writes on the commit plane.
func TestVerbs(t *testing.T) {
	s := newSite(t, nil)
	do := func(who somebody, a *coffer.HubAct) ([]coffer.HubItem, error) {
		return s.as(who).Perform(t.Context(), alice.DID(), a)
	}
	must := func(who somebody, a *coffer.HubAct) []coffer.HubItem {
		t.Helper()
		items, err := do(who, a)
		if err != nil {
			t.Fatalf("%s: %v", a.Verb, err)
		}
		return items
	}
	added := must(alice, act(coffer.AddVerb, func(a *coffer.HubAct) {
		a.Meta = json.RawMessage(`{"title":"one"}`)
		a.Payload = []json.RawMessage{json.RawMessage(`{"n":1}`), json.RawMessage(`{"n":1}`), json.RawMessage(`{"n":3}`)}
	}))
	if len(added) != 3 || added[0].ID == added[1].ID || added[0].Author != alice.DID() {
		t.Fatalf("added %v", added)
	}
	for _, context := range []string{"schema.org", "schema.org/", "http://schema.org", "https://schema.org/"} {
		got := must(alice, act(coffer.RequestVerb, func(a *coffer.HubAct) { a.Context, a.Skip, a.Take = context, 1, 1 }))
		if len(got) != 1 || got[0].ID != added[1].ID || string(got[0].Data) != `{"n":1}` {
			t.Errorf("%s: got %v", context, got)
		}
	}
	_, err := do(bob, act(coffer.RequestVerb, nil))
	wants(t, "a stranger reads", err, coffer.Denied)
	one := []json.RawMessage{json.RawMessage(`{"n":9}`)}
	_, err = do(bob, act(coffer.AddVerb, func(a *coffer.HubAct) { a.Payload = one }))
	wants(t, "a stranger adds", err, coffer.Denied)
	s.write(alice, s.commit(alice, grantOf(bob, "schema.org", "Song", "CRU-", ""), asGrant))
	his := must(bob, act(coffer.AddVerb, func(a *coffer.HubAct) { a.Payload = one }))
	if len(his) != 1 || his[0].Author != bob.DID() {
		t.Fatalf("added %v", his)
	}
	must(bob, act(coffer.UpdateVerb, func(a *coffer.HubAct) { a.ID, a.Payload = added[0].ID, one }))
	_, err = do(bob, act(coffer.RemoveVerb, func(a *coffer.HubAct) { a.ID = added[0].ID }))
	wants(t, "removing without the right", err, coffer.Denied)
	_, err = do(bob, act(coffer.UpdateVerb, func(a *coffer.HubAct) { a.ID, a.Payload = coffer.CommitRev{}.String(), one }))
	wants(t, "updating nothing", err, coffer.NotExist)
	must(alice, act(coffer.RemoveVerb, func(a *coffer.HubAct) { a.ID = added[1].ID }))
	_, err = do(alice, act(coffer.RequestVerb, func(a *coffer.HubAct) { a.ID = added[1].ID }))
	wants(t, "what is removed", err, coffer.NotExist)
	got := must(bob, act(coffer.RequestVerb, nil))
	if len(got) != 3 || got[0].ID != added[0].ID || string(got[0].Data) != `{"n":9}` || got[0].Author != bob.DID() ||
		!strings.Contains(string(got[0].Meta), `"title":"one"`) || got[2].ID != his[0].ID {
		t.Errorf("got %v", got)
	}
	for _, verb := range []coffer.Verb{coffer.ExecuteVerb, "Sing"} {
		_, err = do(alice, act(verb, nil))
		code(t, err, coffer.NotImplemented)
	}
	_, err = do(alice, act(coffer.RequestVerb, func(a *coffer.HubAct) { a.Interface = "Songs" }))
	code(t, err, coffer.NotImplemented)

	// They are commits of the hub, which go to another one with their authors.
	p, err := s.as(alice).Commits(t.Context(), alice.DID(), &coffer.CommitQuery{})
	if err != nil {
		t.Fatal(err)
	}
	other := newSite(t, nil)
	if n, err := other.as(alice).Adopt(t.Context(), alice.DID(), p.Commits...); err != nil || n != len(p.Commits) {
		t.Fatal(n, err)
	}
	for _, site := range []*site{s, other} {
		q := &coffer.ObjectQuery{Interface: coffer.CollectionsInterface}
		p, err := site.as(alice).Objects(t.Context(), alice.DID(), q)
		if err != nil || len(p.Objects) != 4 {
			t.Fatal(len(p.Objects), err)
		}
		o := p.Objects
		if o[0].CreatedBy != alice.DID() || o[0].UpdatedBy != bob.DID() || o[3].CreatedBy != bob.DID() {
			t.Errorf("wrong authors: %v", o)
		}
	}
}

func code(t *testing.T, err error, code string) {
	t.Helper()
	var f *coffer.Fault
	if !errors.As(err, &f) || f.Code != code {
		t.Errorf("got %v, want %s", err, code)
	}
}

// TestVerbsOfOne is about what there is one of, and about other places.
func TestVerbsOfOne(t *testing.T) {
	s := newSite(t, nil)
	must := func(who somebody, a coffer.HubAct) []coffer.HubItem {
		t.Helper()
		items, err := s.as(who).Perform(t.Context(), alice.DID(), &a)
		if err != nil {
			t.Fatalf("%s %s: %v", a.Interface, a.Verb, err)
		}
		return items
	}
	payload := func(text string) []json.RawMessage { return []json.RawMessage{json.RawMessage(text)} }
	profile := coffer.HubAct{Interface: coffer.ProfileInterface, Verb: coffer.AddVerb}
	for _, name := range []string{"a", "b"} {
		profile.Payload = payload(`{"@context":"http://schema.org","@type":"Person","name":"` + name + `"}`)
		must(alice, profile)
	}
	got := must(carol, coffer.HubAct{Interface: coffer.ProfileInterface, Verb: coffer.RequestVerb})
	if len(got) != 1 || !strings.Contains(string(got[0].Data), `"b"`) {
		t.Errorf("profile: %v", got)
	}
	// A Store is of a pair.
	s.write(alice, s.commit(alice, grantOf(bob, bob.DID(), "Store", "CRUD", `,"max_keys":2`), asGrant))
	s.write(alice, s.commit(alice, grantOf(carol, carol.DID(), "Store", "CRUD", ``), asGrant))
	kept := coffer.HubAct{Interface: coffer.StoresInterface, Verb: coffer.AddVerb}
	for i, key := range []string{"k1", "k2", "k1"} {
		kept.Key, kept.Payload = key, payload(fmt.Sprint(i))
		must(bob, kept)
	}
	kept.Key = "k3"
	_, err := s.as(bob).Perform(t.Context(), alice.DID(), &kept)
	wants(t, "a third key", err, coffer.Exhausted)
	ask := coffer.HubAct{Interface: coffer.StoresInterface, Verb: coffer.RequestVerb, Key: "k1"}
	if got := must(bob, ask); len(got) != 1 || string(got[0].Data) != "2" {
		t.Errorf("value: %v", got)
	}
	_, err = s.as(carol).Perform(t.Context(), alice.DID(), &ask)
	wants(t, "a key of another pair", err, coffer.NotExist)
	ask.Context = bob.DID()
	if got := must(alice, ask); len(got) != 1 {
		t.Errorf("the owner's view: %v", got)
	}
	ask.Key = ""
	for _, who := range []somebody{alice, bob} {
		if got := must(who, ask); len(got) != 2 {
			t.Errorf("%d keys", len(got))
		}
	}
	if got := must(carol, ask); len(got) != 0 {
		t.Errorf("carol sees %v", got)
	}
	must(bob, coffer.HubAct{Interface: coffer.StoresInterface, Verb: coffer.RemoveVerb, Key: "k2"})
	must(bob, kept)
	// Actions of an interface are offered elsewhere, if the owner says so.
	relay := of(coffer.ServicesInterface, "schema.identity.foundation/0.1", "Relay")
	s.write(alice, s.commit(alice, `{"interface":"Actions","location":"javascript:1"}`, relay))
	leave := coffer.HubAct{
		Interface: coffer.ActionsInterface, Verb: coffer.AddVerb, Context: "schema.org", Type: "A", Payload: payload(`{}`),
	}
	must(carol, leave)
	s.write(alice, s.commit(alice, `{"interface":"Actions","location":"https://hub.example/x"}`, relay))
	_, err = s.as(carol).Perform(t.Context(), alice.DID(), &leave)
	var f *coffer.Fault
	if !errors.As(err, &f) || f.Location != "https://hub.example/x" {
		t.Errorf("got %v", err)
	}
}

// TestDescribe describes a hub to its owner, a grantee and a stranger.
func TestDescribe(t *testing.T) {
	s := newSite(t, nil)
	s.write(alice, s.commit(alice, `{}`))
	s.write(alice, s.commit(alice, `{}`, of(coffer.ProfileInterface, "schema.org", "Person")))
	s.write(alice, s.commit(alice, `{}`, of(coffer.CollectionsInterface, "schema.org", "Offer"), meta(`{"public":true}`)))
	s.write(alice, s.commit(alice, `{"type":"object"}`,
		of(coffer.CollectionsInterface, "https://json-schema.org/draft/2020-12/schema", "Schema"),
		meta(`{"public":true,"context":"http://schema.org","type":"Book"}`)))
	s.grant(bob, "-RU-", "")
	s.grant(bob, "--UD", `,"purpose":"other"`)
	s.write(alice, s.commit(alice, grantOf(carol, "x", "Y", "C---", ""), asGrant))
	const public = "Actions * * C---; Collections https://json-schema.org/draft/2020-12/schema Schema -R--; " +
		"Collections schema.org Offer -R--; Profile schema.org Person -R--"
	for who, want := range map[somebody]string{
		alice: "Collections http://schema.org Book CRUD schema; " +
			"Collections https://json-schema.org/draft/2020-12/schema Schema CRUD; " +
			"Collections schema.org Offer CRUD; Permissions schema.identity.foundation/0.1 PermissionGrant CRUD; " +
			"Profile schema.org Person CRUD",
		bob: "Actions * * C---; Collections http://schema.org Book -RU- schema; " +
			"Collections https://json-schema.org/draft/2020-12/schema Schema -R--; Collections schema.org Offer -R--; " +
			"Permissions schema.identity.foundation/0.1 PermissionGrant -R--; Profile schema.org Person -R--",
		carol: "Actions * * C---; Collections https://json-schema.org/draft/2020-12/schema Schema -R--; " +
			"Collections schema.org Offer -R--; Collections x Y C---; " +
			"Permissions schema.identity.foundation/0.1 PermissionGrant -R--; Profile schema.org Person -R--",
		somebody("dave"): public,
	} {
		d, err := s.as(who).Describe(t.Context(), alice.DID())
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, k := range d.Kinds {
			text := k.Interface + " " + k.Context + " " + k.Type + " " + k.Allow
			if k.Schema != nil {
				text += " schema"
			}
			got = append(got, text)
		}
		if text := strings.Join(got, "; "); text != want {
			t.Errorf("%s is told\n%s, want\n%s", who, text, want)
		}
		var doc struct {
			OpenAPI    string `json:"openapi"`
			Components struct {
				Schemas map[string]json.RawMessage `json:"schemas"`
			} `json:"components"`
		}
		if err := json.Unmarshal(d.OpenAPI, &doc); err != nil || doc.OpenAPI != "3.1.0" {
			t.Fatalf("OpenAPI: %v", err)
		}
		tells := strings.Contains(string(d.OpenAPI), "Book") == strings.Contains(want, "Book")
		if doc.Components.Schemas["WriteRequest"] == nil || !tells {
			t.Errorf("OpenAPI for %s: %s", who, d.OpenAPI)
		}
	}
}

// TestSort sorts by values of several kinds, in pages.
func TestSort(t *testing.T) {
	s := newSite(t, nil)
	texts := []string{`{"k":"b"}`, `{"k":3}`, `{}`, `{"k":"a"}`, `{"k":true}`, `{"k":-1}`, `{"k":{}}`, `{"k":"b"}`}
	var ids []coffer.CommitRev
	for _, text := range texts {
		ids = append(ids, s.write(alice, s.commit(alice, `{}`, meta(text))))
	}
	for by, want := range map[string][]int{
		"meta.k":      {5, 1, 3, 0, 7, 4, 2, 6},
		"-meta.k":     {4, 0, 7, 3, 1, 5, 2, 6},
		"created_at":  {0, 1, 2, 3, 4, 5, 6, 7},
		"-updated_at": {7, 6, 5, 4, 3, 2, 1, 0},
	} {
		for _, limit := range []int{1, 3, 100} {
			got, _ := s.all(alice, books(coffer.ObjectQuery{Sort: by, Limit: limit}))
			var places []int
			for _, id := range got {
				places = append(places, slices.Index(ids, id))
			}
			if !slices.Equal(places, want) {
				t.Errorf("by %s in pages of %d: %v, want %v", by, limit, places, want)
			}
		}
	}
}

// TestThreads answers actions, and what is no action.
func TestThreads(t *testing.T) {
	s := newSite(t, nil)
	book := s.write(alice, s.commit(alice, `{}`))
	first := s.write(bob, s.commit(bob, `{}`, action))
	other := s.write(bob, s.commit(bob, `{}`, action))
	answer := s.write(bob, s.commit(bob, `{}`, action, meta(fmt.Sprintf(`{"thread":%q,"parent":%q}`, first, first))))
	for text, good := range map[string]bool{
		fmt.Sprintf(`{"thread":%q,"parent":%q}`, first, answer):                         true,
		fmt.Sprintf(`{"thread":%q}`, first):                                             true,
		`{"thread":"hub://did:example:bob/Actions","parent":"hub://did:example:bob/x"}`: true,
		fmt.Sprintf(`{"thread":%q,"parent":%q}`, other, answer):                         false,
		fmt.Sprintf(`{"parent":%q}`, book):                                              false,
		fmt.Sprintf(`{"parent":%q}`, coffer.CommitRev{1}):                               false,
		`{"parent":"https://example.com"}`:                                              false,
		`{"parent":7}`:                                                                  false,
		`{"state":"done"}`:                                                              false,
		`{"state":"new"}`:                                                               true,
		`{"state":"lost"}`:                                                              false,
	} {
		_, err := s.as(bob).Write(t.Context(), alice.DID(), s.commit(bob, `{}`, action, meta(text)))
		if good && err != nil {
			t.Errorf("%s: %v", text, err)
		} else if !good {
			wants(t, text, err, coffer.Invalid)
		}
	}
}

// TestSeveralProfiles adopts profiles of one kind that two other hubs had, and keeps them all.
func TestSeveralProfiles(t *testing.T) {
	s := newSite(t, nil)
	profile := of(coffer.ProfileInterface, "schema.org", "Person")
	var all []*coffer.Commit
	for range 3 {
		all = append(all, s.commit(alice, `{}`, profile))
	}
	for i, batch := range [][]*coffer.Commit{all[:2], all[2:]} {
		if n, err := s.as(alice).Adopt(t.Context(), alice.DID(), batch...); err != nil || n != len(batch) {
			t.Fatal(i, n, err)
		}
	}
	q := &coffer.ObjectQuery{Interface: coffer.ProfileInterface}
	if ids, _ := s.all(carol, q); len(ids) != 3 || ids[0] != all[0].Rev() {
		t.Errorf("profiles: %v", ids)
	}
	_, err := s.as(alice).Write(t.Context(), alice.DID(), s.commit(alice, `{}`, profile))
	wants(t, "another one", err, coffer.Invalid)
	s.write(alice, s.commit(alice, `{"n":1}`, profile, later(merge.Update, all[1].Rev())))
	s.write(alice, s.commit(alice, `{}`, profile, later(merge.Delete, all[0].Rev())))
}

// TestExactNames marks objects public in other letters, which does not count.
func TestExactNames(t *testing.T) {
	s := newSite(t, nil)
	for _, text := range []string{
		`{"Public":true}`, `{"public":false,"PUBLIC":true}`, `{"public":"true"}`, `{"public":1}`,
	} {
		s.write(alice, s.commit(alice, `{}`, meta(text)))
	}
	_, err := s.as(bob).Objects(t.Context(), alice.DID(), books(coffer.ObjectQuery{}))
	wants(t, "nothing is public", err, coffer.Denied)
	id := s.write(alice, s.commit(alice, `{}`, meta(`{"public":true}`)))
	if ids, _ := s.all(bob, books(coffer.ObjectQuery{})); len(ids) != 1 || ids[0] != id {
		t.Errorf("public: %v", ids)
	}
}
