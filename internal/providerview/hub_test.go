package providerview

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/cofferhq/coffer/agent/hub"
	apihub "github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
)

// hub returns the hub of an owner at the provider, as the keyring's holder sees it.
func (p *provider) hub(ring *keyring.Ring, owner string) *hub.Hub {
	t := p.t
	t.Helper()
	resolver, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	said, err := apihub.Describe(t.Context(), nil, p.url+"/.identity")
	if err != nil {
		t.Fatal(err)
	}
	node, err := resolver.Resolve(t.Context(), said.Own())
	if err != nil {
		t.Fatal(err)
	}
	client, err := apihub.NewClient(apihub.ClientOptions{
		URL: p.url + "/.identity", Hub: node, Requester: apihub.KeyringRequester(ring), Key: resolver.MessageKey, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.Open(hub.Options{Hub: client, Owner: owner, Keyring: ring, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestUC45H09HubView plays a day at a hub: objects, private ones, a public one, a grant, a reader's query, a message and
// its reply; and then looks at the node.
func TestUC45H09HubView(t *testing.T) {
	t.Parallel()
	p, ctx := newProvider(t), t.Context()
	alice, bob := keyring.Generate(), keyring.Generate()
	own, other := p.hub(alice, ""), p.hub(bob, "")
	value, private, public, title, message, reply := random(), random(), random(), random(), random(), random()
	kind, secretKind, exposed, sealed := random(), random(), random(), random()

	open := hub.Kind{Context: "https://schema.example", Type: "T" + kind}
	hidden := hub.Kind{Context: "https://schema.example", Type: "S" + secretKind, Private: true}
	id, err := own.Put(ctx, open, map[string]string{"name": "n" + value}, &hub.PutOptions{Title: "t" + title})
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Replace(ctx, open, id, map[string]string{"name": "m" + value}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Put(ctx, hidden, map[string]string{"name": "p" + private}, nil); err != nil {
		t.Fatal(err)
	}
	notice := hub.Kind{Context: "https://schema.example", Type: "Notice"}
	if _, err := own.Publish(ctx, notice, map[string]string{"text": "o" + public}, nil); err != nil {
		t.Fatal(err)
	}
	for _, k := range []hub.Kind{open, hidden} {
		if _, err := own.Grant(ctx, hub.Permission{Grantee: bob.DID(), Kind: k, Allow: "-R--"}); err != nil {
			t.Fatal(err)
		}
	}
	// Who has a hub can be answered.
	if err := other.SetProfile(ctx, hub.Kind{Context: "https://schema.org", Type: "Person"}, map[string]string{"name": "Bob"}); err != nil {
		t.Fatal(err)
	}
	theirs := p.hub(bob, alice.DID())
	read := 0
	for _, q := range []struct {
		kind   hub.Kind
		filter string
	}{
		{open, ""}, {hidden, ""}, {notice, ""},
		{open, fmt.Sprintf("name:m%s AND NOT name:q%s", value, sealed)},
		{open, fmt.Sprintf("NOT meta.title:x%s", exposed)},
	} {
		for o, err := range theirs.Query(ctx, q.kind, &hub.QueryOptions{Filter: q.filter}) {
			if err != nil || o.Value == nil {
				t.Fatalf("%v, %v", o, err)
			}
			read++
		}
	}
	if read != 5 {
		t.Fatalf("%d objects read, want 5", read)
	}
	if _, err := theirs.Send(ctx, hub.Action{Type: "AskAction", Value: "m" + message}, nil); err != nil {
		t.Fatal(err)
	}
	for m, err := range own.Inbox(ctx, false) {
		if err != nil || !bytes.Contains(m.Value, []byte(message)) {
			t.Fatalf("%v, %v", m, err)
		}
		if _, err := own.Reply(ctx, p.hub(alice, bob.DID()), m, hub.Action{Type: "ReplyAction", Value: "r" + reply}, nil); err != nil {
			t.Fatal(err)
		}
	}
	answers := 0
	for _, err := range other.Inbox(ctx, false) {
		if err != nil {
			t.Fatal(err)
		}
		answers++
	}
	if answers != 1 {
		t.Fatalf("%d answers", answers)
	}

	patterns := []Pattern{
		NewPattern("value of a sealed object", []byte(value)),
		NewPattern("value of a private object", []byte(private)),
		NewPattern("type of a private object", []byte(secretKind)),
		NewPattern("filter over sealed values", []byte(sealed)),
		NewPattern("message to a stranger", []byte(message)),
		NewPattern("reply to a message", []byte(reply)),
		NewPattern("type of an object in a hub", []byte(kind)),
		NewPattern("title of an object in a hub", []byte(title)),
		NewPattern("filter over what a hub sees", []byte(exposed)),
		NewPattern("value of a public object", []byte(public)),
		NewPattern("identifier of a hub's owner", []byte(alice.DID()[len("did:key:"):])),
		NewPattern("identifier of who asks a hub", []byte(bob.DID()[len("did:key:"):])),
		NewPattern("id of an object in a hub", []byte(id.String())),
	}
	if seen := p.look(patterns, "in a hub"); !seen["memory"]["identifier of a hub's owner"] {
		t.Error("what the hub must know is not found in memory: the search does not work")
	}
}
