package hub_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
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
	got, nonce, err := shop.PermissionAnswer(ctx, answer)
	if err != nil || nonce != "n" || len(got) != 1 || got[0].Allow != "-R--" {
		t.Fatalf("answered %+v %q %v", got, nonce, err)
	}
	if p := must(hub.Get[playlist](ctx, atAlice, sizes, id))(t); p.Name != "M" {
		t.Errorf("the shop reads %+v", p)
	}

	must(atAlice.RequestPermission(ctx, hub.PermissionRequest{}, nil))(t)
	m = inbox(t, alice, false)[0]
	must(alice.Answer(ctx, atShop, m, nil, nil))(t)
	if got, _, err := shop.PermissionAnswer(ctx, inbox(t, shop, false)[1]); err != nil || len(got) != 0 {
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
