package hub_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/merge"
	nodehub "github.com/cofferhq/coffer/node/hub"
)

// inbox returns the messages of a hub.
func inbox(t *testing.T, h *hub.Hub, all bool) (list []*hub.Message) {
	t.Helper()
	for m, err := range h.Inbox(t.Context(), all) {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, m)
	}
	return list
}

func TestThreadOverTwoHubs(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice", "bob")
	alice, bob := w.open("alice", "alice"), w.open("bob", "bob")
	atAlice, atBob := w.open("bob", "alice"), w.open("alice", "bob")

	first := must(atAlice.Send(ctx, hub.Action{Type: "InviteAction", Value: "tea?"}, &hub.SendOptions{Copy: bob}))(t)
	must(atAlice.Send(ctx, hub.Action{Type: "InviteAction", Value: "something else"}, nil))(t)
	for _, s := range []string{"tea?", "something else"} {
		if strings.Contains(seen(t, w, "alice"), s) || strings.Contains(seen(t, w, "bob"), s) {
			t.Errorf("a hub is handed %q", s)
		}
	}
	w.advance(time.Second)
	m := inbox(t, alice, false)[0]
	if m.URI != first || m.From != bob.Owner() || m.State != hub.New || m.Thread != first || string(m.Value) != `"tea?"` {
		t.Fatalf("got %+v", m)
	}
	must(alice.Reply(ctx, atBob, m, hub.Action{Type: "RsvpAction", Value: "when?"}, nil))(t)
	w.advance(time.Second)
	m = inbox(t, bob, false)[0]
	if m.Thread != first || m.Parent != first {
		t.Fatalf("got %+v", m)
	}
	must(bob.Reply(ctx, atAlice, m, hub.Action{Type: "InviteAction", Value: "at five"}, nil))(t)
	w.advance(time.Second)
	last := inbox(t, alice, false)[2]
	if last.Thread != first || last.Parent.Owner != bob.Owner() {
		t.Fatalf("got %+v", last)
	}
	if err := alice.Done(ctx, last); err != nil {
		t.Fatal(err)
	}
	for _, h := range []*hub.Hub{alice, bob} {
		var words []string
		for _, m := range must(h.Thread(ctx, first))(t) {
			words = append(words, string(m.Value))
		}
		if !slices.Equal(words, []string{`"tea?"`, `"when?"`, `"at five"`}) {
			t.Errorf("the thread is %q", words)
		}
	}
	_, err := alice.Reply(ctx, atAlice, m, hub.Action{Type: "x", Value: 1}, nil)
	want(t, err, coffer.Invalid)
	_, err = atAlice.Thread(ctx, first)
	want(t, err, coffer.Denied)
}

func TestSeenAndDone(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice")
	alice, phone := w.open("alice", "alice"), w.open("alice", "alice")
	must(w.open("bob", "alice").Send(ctx, hub.Action{Type: "AskAction", Value: "?"}, nil))(t)
	m := inbox(t, alice, false)[0]
	if err := alice.Seen(ctx, m); err != nil {
		t.Fatal(err)
	}
	if got := inbox(t, phone, false)[0]; got.State != hub.Seen || string(got.Value) != `"?"` || got.From == alice.Owner() {
		t.Errorf("got %+v", got)
	}
	if err := phone.Done(ctx, m); err != nil {
		t.Fatal(err)
	}
	if got := inbox(t, alice, false); len(got) != 0 {
		t.Errorf("still there: %+v", got)
	}
	if got := inbox(t, alice, true); len(got) != 1 || got[0].State != hub.Done {
		t.Errorf("got %+v", got)
	}
	if got := must(alice.Message(ctx, m.URI.ID))(t); got.State != hub.Done {
		t.Errorf("got %+v", got)
	}
	if err := alice.Discard(ctx, m); err != nil {
		t.Fatal(err)
	}
	_, err := alice.Message(ctx, m.URI.ID)
	want(t, err, coffer.NotExist)
}

func TestWorkAndIntroduction(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{Work: 8}), t.Context()
	w.begin("alice")
	alice, bob := w.open("alice", "alice"), w.open("bob", "alice")
	a := hub.Action{Type: "AskAction", Value: 1}
	_, err := bob.Send(ctx, a, &hub.SendOptions{Work: -1})
	want(t, err, coffer.Denied)
	if _, err := bob.Send(ctx, a, &hub.SendOptions{Work: 8}); err != nil {
		t.Errorf("with work: %v", err)
	}
	text := must(alice.Introduce(ctx, w.ring("bob").DID(), w.now().Add(time.Hour)))(t)
	if _, err := bob.Send(ctx, a, &hub.SendOptions{Work: -1, Introduction: text}); err != nil {
		t.Errorf("introduced: %v", err)
	}
	_, err = w.open("carol", "alice").Send(ctx, a, &hub.SendOptions{Work: -1, Introduction: text})
	want(t, err, coffer.Denied)
	w.advance(2 * time.Hour)
	_, err = bob.Send(ctx, a, &hub.SendOptions{Work: -1, Introduction: text})
	want(t, err, coffer.Denied)
	_, err = bob.Introduce(ctx, "*", w.now())
	want(t, err, coffer.Denied)
}

func TestRequestAndAnswer(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("shop")
	alice, shop := w.open("alice", "alice"), w.open("shop", "shop")
	atAlice, atShop := w.open("shop", "alice"), w.open("alice", "shop")
	sizes := hub.Kind{Context: "shop.example", Type: "Measurements"}
	id := must(alice.Put(ctx, sizes, playlist{Name: "M"}, nil))(t)
	must(atAlice.RequestPermission(ctx, hub.PermissionRequest{
		Nonce: "n", Purpose: "fitting",
		Permissions: []hub.Wanted{{Context: "shop.example", Type: "Measurements", Allow: "-R--"}},
	}, &hub.SendOptions{Copy: shop}))(t)
	m := inbox(t, alice, false)[0]
	r := must(alice.PermissionRequest(ctx, m))(t)
	if r.From != shop.Owner() || r.Purpose != "fitting" || len(r.Permissions) != 1 {
		t.Fatalf("asked for %+v", r)
	}
	granted := hub.Permission{Kind: r.Permissions[0].Kind(), Allow: r.Permissions[0].Allow}
	ids := must(alice.Answer(ctx, atShop, m, []hub.Permission{granted}, nil))(t)
	if len(ids) != 1 || len(inbox(t, alice, false)) != 0 {
		t.Errorf("granted %v", ids)
	}
	answer := inbox(t, shop, false)[0]
	asked := func() *hub.Asked { return must(shop.Asked(ctx))(t) }
	got, err := asked().PermissionAnswer(ctx, answer)
	if err != nil || got.Request != m.URI || len(got.Granted) != 1 || got.Granted[0].Allow != "-R--" {
		t.Fatalf("answered %+v %v", got, err)
	}
	if p := must(hub.Get[playlist](ctx, atAlice, sizes, id))(t); p.Name != "M" {
		t.Errorf("the shop reads %+v", p)
	}

	must(atAlice.RequestPermission(ctx, hub.PermissionRequest{}, &hub.SendOptions{Copy: shop}))(t)
	m = inbox(t, alice, false)[0]
	must(alice.Answer(ctx, atShop, m, nil, nil))(t)
	if got, err := asked().PermissionAnswer(ctx, inbox(t, shop, false)[1]); err != nil || len(got.Granted) != 0 {
		t.Errorf("refused: %v, %v", got, err)
	}
	// A request that another one signed, sent on by the shop.
	forged := must(w.open("bob", "alice").RequestPermission(ctx, hub.PermissionRequest{}, nil))(t)
	bobs := must(alice.Message(ctx, forged.ID))(t)
	must(atAlice.Send(ctx, hub.Action{Context: m.Kind.Context, Type: m.Kind.Type, Value: bobs.Value}, nil))(t)
	list := inbox(t, alice, false)
	_, err = alice.PermissionRequest(ctx, list[len(list)-1])
	want(t, err, coffer.Corrupt)
	// A request to somebody else.
	w.begin("bob")
	toBob := must(w.open("shop", "bob").RequestPermission(ctx, hub.PermissionRequest{}, nil))(t)
	other := must(w.open("bob", "bob").Message(ctx, toBob.ID))(t)
	must(atAlice.Send(ctx, hub.Action{Context: m.Kind.Context, Type: m.Kind.Type, Value: other.Value}, nil))(t)
	list = inbox(t, alice, false)
	_, err = alice.PermissionRequest(ctx, list[len(list)-1])
	want(t, err, coffer.Corrupt)
	_, err = alice.PermissionRequest(ctx, answer)
	want(t, err, coffer.Invalid)
}

// TestAnswersToNothing has people answer what they were not asked, in all the ways in which a true answer could be taken
// for theirs.
func TestAnswersToNothing(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice", "bob", "shop")
	alice, shop := w.open("alice", "alice"), w.open("shop", "shop")
	kept := &hub.SendOptions{Copy: shop}
	want1 := hub.PermissionRequest{Nonce: "one", Permissions: []hub.Wanted{{Context: "c", Type: "t", Allow: "-R--"}}}
	must(w.open("shop", "alice").RequestPermission(ctx, want1, kept))(t)
	must(w.open("shop", "alice").RequestAttestation(ctx, hub.Attestation{Nonce: "two"}, kept))(t)
	must(w.open("shop", "alice").RequestPermission(ctx, hub.PermissionRequest{Nonce: "three"}, nil))(t) // no copy
	toAlice := inbox(t, alice, false)
	must(alice.Answer(ctx, w.open("alice", "shop"), toAlice[0], nil, nil))(t)
	must(alice.Consent(ctx, w.open("alice", "shop"), toAlice[1], true, nil))(t)
	must(alice.Answer(ctx, w.open("alice", "shop"), toAlice[2], nil, nil))(t)
	true1 := inbox(t, shop, false)[0]
	true2 := inbox(t, shop, false)[1]
	asked := must(shop.Asked(ctx))(t)
	if _, err := asked.PermissionAnswer(ctx, true1); err != nil {
		t.Fatal(err)
	}
	if yes, at, err := asked.Consent(true2); err != nil || !yes || at != toAlice[1].URI {
		t.Fatalf("%v %v %v", yes, at, err)
	}
	_, err := asked.PermissionAnswer(ctx, inbox(t, shop, false)[2])
	want(t, err, coffer.NotExist)

	// claims signed by somebody for what is sent
	claims := func(by string, c map[string]any) any {
		ring := w.ring(by)
		header := map[string]any{"alg": "EdDSA", "kid": ring.Key(coffer.SigningKey).ID}
		text := must(json.Marshal(c))(t)
		j := jose.NewJWS(header, text)
		j.Signature = base64.RawURLEncoding.EncodeToString(must(ring.Sign(ctx, coffer.Assertion, j.Input()))(t))
		return map[string]string{"response": j.Compact()}
	}
	granted := []map[string]string{{"context": "c", "type": "t", "allow": "CRUD"}}
	response := func(iss, aud, nonce string) map[string]any {
		return map[string]any{"iss": w.ring(iss).DID(), "aud": w.ring(aud).DID(), "nonce": nonce, "granted": granted}
	}
	last := func() *hub.Message {
		list := inbox(t, shop, false)
		return list[len(list)-1]
	}
	const about = "schema.identity.foundation/0.1"
	for name, one := range map[string]struct {
		from  string
		value any
		kind  coffer.Kind
	}{
		"who was not asked":   {"bob", claims("bob", response("bob", "shop", "one")), coffer.NotExist},
		"another's nonce":     {"alice", claims("alice", response("alice", "shop", "four")), coffer.NotExist},
		"of another question": {"alice", claims("alice", response("alice", "shop", "two")), coffer.NotExist},
		"no nonce":            {"alice", claims("alice", response("alice", "shop", "")), coffer.NotExist},
		"in another's name":   {"bob", claims("bob", response("alice", "shop", "one")), coffer.Corrupt},
		"another's answer":    {"bob", claims("alice", response("alice", "shop", "one")), coffer.Corrupt},
		"to another":          {"alice", claims("alice", response("alice", "bob", "one")), coffer.Corrupt},
		"to nobody": {
			"alice", claims("alice", map[string]any{"iss": alice.Owner(), "nonce": "one"}), coffer.Corrupt,
		},
	} {
		a := hub.Action{Context: about, Type: hub.PermissionResponseAction, Value: one.value}
		must(w.open(one.from, "shop").Send(ctx, a, nil))(t)
		if got, err := asked.PermissionAnswer(ctx, last()); got != nil || !errors.Is(err, one.kind) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	// A true answer, said to be to another message.
	must(shop.Reply(ctx, w.open("shop", "alice"), true1, hub.Action{Type: "x", Value: 1}, nil))(t)
	list := inbox(t, alice, false)
	must(alice.Reply(ctx, w.open("alice", "shop"), list[len(list)-1], hub.Action{
		Context: about, Type: hub.PermissionResponseAction, Value: claims("alice", response("alice", "shop", "one")),
	}, nil))(t)
	_, err = asked.PermissionAnswer(ctx, last())
	want(t, err, coffer.NotExist)
	// Bob agrees to what Alice was asked.
	must(w.open("bob", "shop").Send(ctx, hub.Action{
		Context: about, Type: hub.ConsentAttestationAction, Value: hub.Attestation{Nonce: "two", Consent: true},
	}, nil))(t)
	_, _, err = asked.Consent(last())
	want(t, err, coffer.NotExist)
	_, _, err = asked.Proof(ctx, true2)
	want(t, err, coffer.Invalid)
}

// TestKindsOfParents answers a message of one type with one of another: what is said of the parent is what it is.
func TestKindsOfParents(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice", "bob")
	alice, bob := w.open("alice", "alice"), w.open("bob", "bob")
	atAlice, atBob := w.open("bob", "alice"), w.open("alice", "bob")
	first := must(atAlice.Send(ctx, hub.Action{Type: "InviteAction", Value: 1}, &hub.SendOptions{Copy: bob}))(t)
	second := must(alice.Reply(ctx, atBob, inbox(t, alice, false)[0], hub.Action{Type: "RsvpAction", Value: 2}, nil))(t)
	if m := inbox(t, bob, false)[0]; m.Thread != first || m.Parent != first {
		t.Errorf("the second: %+v", m)
	}
	must(bob.Reply(ctx, atAlice, inbox(t, bob, false)[0], hub.Action{Type: "ThankAction", Value: 3}, nil))(t)
	third := inbox(t, alice, false)[1]
	if third.Thread != first || third.Parent != second {
		t.Errorf("the third: thread %v, parent %v", third.Thread, third.Parent)
	}
	if m := must(alice.Message(ctx, third.URI.ID))(t); m.Thread != first || m.Parent != second {
		t.Errorf("the third alone: thread %v, parent %v", m.Thread, m.Parent)
	}
	must(alice.Reply(ctx, atBob, third, hub.Action{Type: "ByeAction", Value: 4}, nil))(t)
	if m := inbox(t, bob, false)[1]; m.Thread != first || m.Parent != third.URI {
		t.Errorf("the fourth: thread %v, parent %v", m.Thread, m.Parent)
	}
	// A full URI into the owner's own hub is no more than an id, and what is no message is nothing.
	other := must(alice.Put(ctx, playlists, playlist{Name: "x"}, nil))(t)
	c := commitBy(t, w, "bob", "alice", merge.Header{
		Interface: coffer.ActionsInterface, Context: "schema.org", Type: "ReadAction", Operation: merge.Create,
		Strategy: merge.Basic, Meta: json.RawMessage(`{"parent":"hub://` + alice.Owner() + `/Actions/a/b/` + first.ID.String() +
			`","thread":"hub://` + alice.Owner() + `/Actions/a/b/` + other.String() + `"}`),
	}, []byte(`{}`))
	if _, err := w.as("bob", "").Write(ctx, alice.Owner(), c); err != nil {
		t.Fatal(err)
	}
	if m := must(alice.Message(ctx, c.Rev()))(t); m.Parent != first || m.Thread != m.URI {
		t.Errorf("a claim: thread %v, parent %v", m.Thread, m.Parent)
	}
}

// deaf cannot find the keys of some.
type deaf struct {
	hub.Resolver
	lost map[string]coffer.Kind // by identifier
}

func (d *deaf) Resolve(ctx context.Context, id string) (*coffer.Identity, error) {
	if kind, lost := d.lost[id]; lost {
		return nil, coffer.Errorf("resolve", kind, "lost")
	}
	return d.Resolver.Resolve(ctx, id)
}

func (d *deaf) MessageKey(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error) {
	did, _, _ := strings.Cut(keyID, "#")
	if kind, lost := d.lost[did]; lost {
		return nil, coffer.Errorf("key", kind, "lost")
	}
	return d.Resolver.MessageKey(ctx, keyID, alg, p)
}

// TestSendersWhoAreGone has the identities of senders vanish after they left something. The others' messages are read, and
// theirs can be put away.
func TestSendersWhoAreGone(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice")
	d := &deaf{w.resolver, make(map[string]coffer.Kind)}
	alice := w.open("alice", "alice", func(o *hub.Options) { o.Resolver = d })
	for _, name := range []string{"bob", "carol", "dave"} {
		must(w.open(name, "alice").Send(ctx, hub.Action{Type: "AskAction", Value: name}, nil))(t)
	}
	d.lost[w.ring("bob").DID()], d.lost[w.ring("carol").DID()] = coffer.Unavailable, coffer.NotExist
	read := func() (good int, bad []*hub.Message) {
		for m, err := range alice.Inbox(ctx, false) {
			switch {
			case err == nil:
				good++
			case m == nil || m.Value != nil || !errors.Is(err, coffer.Unavailable) && !errors.Is(err, coffer.Corrupt):
				t.Fatalf("%+v, %v", m, err)
			default:
				bad = append(bad, m)
			}
		}
		return good, bad
	}
	good, bad := read()
	if good != 1 || len(bad) != 2 {
		t.Fatalf("%d messages, and %d that are not sure", good, len(bad))
	}
	for _, m := range bad {
		if _, err := alice.Thread(ctx, m.URI); err != nil {
			t.Errorf("the thread: %v", err)
		}
		one, err := alice.Message(ctx, m.URI.ID)
		if one == nil || one.Value != nil || err == nil {
			t.Errorf("alone: %+v, %v", one, err)
		}
		if err := alice.Discard(ctx, one); err != nil {
			t.Errorf("discard: %v", err)
		}
	}
	if good, bad = read(); good != 1 || len(bad) != 0 {
		t.Errorf("%d messages, and %d that are not sure", good, len(bad))
	}
}

func TestAttestationInOneThread(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice", "bank")
	alice, bank := w.open("alice", "alice"), w.open("bank", "bank")
	atAlice, atBank := w.open("bank", "alice"), w.open("alice", "bank")
	first := must(atAlice.RequestAttestation(ctx, hub.Attestation{Types: []string{"Age"}, Nonce: "n"},
		&hub.SendOptions{Copy: bank}))(t)
	m := inbox(t, alice, false)[0]
	w.advance(time.Second)
	must(alice.Consent(ctx, atBank, m, true, nil))(t)
	w.advance(time.Second)
	must(alice.DeliverAttestation(ctx, atBank, m, json.RawMessage(`{"over":18}`), nil))(t)
	for _, h := range []*hub.Hub{alice, bank} {
		var got []string
		for _, m := range must(h.Thread(ctx, first))(t) {
			var a hub.Attestation
			if err := m.Into(&a); err != nil || a.Nonce != "n" {
				t.Fatalf("%+v: %v", a, err)
			}
			got = append(got, m.Kind.Type+string(a.Proof))
		}
		if !slices.Equal(got, []string{
			"RequestAttestationAction", "ConsentAttestationAction", `DeliverAttestationAction{"over":18}`,
		}) {
			t.Errorf("the thread is %q", got)
		}
	}
	if len(inbox(t, alice, false)) != 0 {
		t.Error("the request is not done")
	}
	_, err := alice.Consent(ctx, atBank, inbox(t, bank, true)[0], true, nil)
	want(t, err, coffer.Invalid)
}

// TestWorkDespiteWhoIsGone has one who could write make his identity unreachable once he is revoked: what he left must
// not keep the rest under keys that he has.
func TestWorkDespiteWhoIsGone(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	d := &deaf{w.resolver, make(map[string]coffer.Kind)}
	alice := w.open("alice", "alice", func(o *hub.Options) { o.Resolver = d })
	must(alice.Put(ctx, playlists, playlist{Name: "first"}, nil))(t)
	all := hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "CRUD"}
	permission := must(alice.Grant(ctx, all))(t)
	must(w.open("bob", "alice").Put(ctx, playlists, playlist{Name: "Bob's"}, nil))(t)
	must(alice.Put(ctx, playlists, playlist{Name: "last"}, nil))(t)
	if err := alice.Revoke(ctx, permission); err != nil {
		t.Fatal(err)
	}
	d.lost[w.ring("bob").DID()] = coffer.Unavailable
	var last hub.Progress
	for p, err := range alice.Work(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	if last.Done != 2 || last.Left != 1 {
		t.Errorf("sealed anew: %+v", last)
	}
	all.Grantee, all.CreatedBy, all.Allow = w.ring("carol").DID(), alice.Owner(), "-R--"
	if _, err := alice.Grant(ctx, all); err != nil {
		t.Errorf("nothing can be granted any more: %v", err)
	}
}

// TestKeysDespiteWhoIsGone has the identity of one who may read vanish before new keys are sent: the other gets his, and
// what is left to do is not forgotten.
func TestKeysDespiteWhoIsGone(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	d := &deaf{w.resolver, make(map[string]coffer.Kind)}
	alice := w.open("alice", "alice", func(o *hub.Options) { o.Resolver = d })
	mine := hub.Permission{Kind: playlists, Allow: "-R--", CreatedBy: alice.Owner()}
	for _, name := range []string{"bob", "carol"} {
		mine.Grantee = w.ring(name).DID()
		must(alice.Grant(ctx, mine))(t)
	}
	id := must(alice.Put(ctx, playlists, playlist{Name: "later"}, nil))(t)
	d.lost[w.ring("bob").DID()] = coffer.Unavailable
	work := func() (last error) {
		for _, err := range alice.Work(ctx, playlists) {
			last = err
		}
		return last
	}
	want(t, work(), coffer.Unavailable)
	if _, err := hub.Get[playlist](ctx, w.open("carol", "alice"), playlists, id); err != nil {
		t.Errorf("carol: %v", err)
	}
	delete(d.lost, w.ring("bob").DID())
	if err := work(); err != nil {
		t.Fatal(err)
	}
	if _, err := hub.Get[playlist](ctx, w.open("bob", "alice"), playlists, id); err != nil {
		t.Errorf("bob: %v", err)
	}
}

// TestListDespiteWhoIsGone lists objects of which one is by somebody whose identity cannot be reached.
func TestListDespiteWhoIsGone(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	d := &deaf{w.resolver, make(map[string]coffer.Kind)}
	alice := w.open("alice", "alice", func(o *hub.Options) { o.Resolver = d })
	must(alice.Put(ctx, playlists, playlist{Name: "first"}, nil))(t)
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: playlists, Allow: "CRUD"}))(t)
	must(w.open("bob", "alice").Put(ctx, playlists, playlist{Name: "Bob's"}, nil))(t)
	must(alice.Put(ctx, playlists, playlist{Name: "last"}, nil))(t)
	d.lost[w.ring("bob").DID()] = coffer.Unavailable
	shown, away := 0, 0
	for _, err := range alice.Query(ctx, playlists, nil) {
		switch {
		case err == nil:
			shown++
		case hub.OfOne(err) && errors.Is(err, coffer.Unavailable):
			away++
		default:
			t.Error(err)
		}
	}
	if shown != 2 || away != 1 {
		t.Errorf("%d are shown, %d cannot be checked", shown, away)
	}
}
