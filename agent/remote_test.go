package agent_test

import (
	"bytes"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/node"
)

// A day with a vault on the other side of a socket: the same as in this process.
func TestOverHTTP(t *testing.T) {
	n := coffertest.Node(t, node.Config{})
	ctx := t.Context()
	client := func(who coffer.Keyring) *edv.Client {
		c, err := edv.NewClient(edv.ClientOptions{Base: n.Origin(), Keyring: who, Now: time.Now, Sessions: true})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	alice, bob := coffertest.Person(t, "alice"), coffertest.Person(t, "bob")
	config, err := client(alice).CreateVault(ctx, &coffer.Config{Controller: alice.DID()})
	if err != nil {
		t.Fatal(err)
	}
	v, err := client(alice).Vault(config.ID)
	if err != nil {
		t.Fatal(err)
	}
	var left atomic.Int64
	left.Store(5)
	breaking := &hostile{Vault: v, put: func(coffer.ChunkRef) error {
		if left.Add(-1) < 0 {
			return coffer.E("put chunk", coffer.Unavailable, nil)
		}
		return nil
	}}
	a := newAgent(t, agent.Options{
		Vault: breaking, Keyring: alice, Resolver: resolver(t), URL: config.ID, Revoker: v, Journal: &memory{},
		Workers: 1, // so that it is known which chunks were stored
	})

	content := noise(1, 9<<20+3)
	_, err = a.Put(ctx, "deep/er/file", file(content), agent.PutOptions{})
	expect(t, err, coffer.Unavailable)
	left.Store(5) // just what is missing
	put(t, a, "deep/er/file", content)
	if !bytes.Equal(get(t, a, "deep/er/file"), content) {
		t.Fatal("it came back as another")
	}
	left.Store(1 << 20)
	if _, err := agent.Put(ctx, a, "deep/invoice", Invoice{Customer: "Ada"}); err != nil {
		t.Fatal(err)
	}
	same(t, paths(t, a.Find(ctx, "customer:Ada")), []string{"deep/invoice"})
	same(t, paths(t, a.Walk(ctx, "")), []string{"deep", "deep/er", "deep/er/file", "deep/invoice"})

	g, link := share(t, a, "deep", agent.ShareOptions{With: bob.DID(), Actions: readWrite})
	var capabilities [][]byte
	for _, s := range link.Objects {
		capabilities = append(capabilities, s.Capability)
	}
	shared, err := client(bob).Vault(link.Vault, capabilities...)
	if err != nil {
		t.Fatal(err)
	}
	guest := newAgent(t, agent.Options{Vault: shared, Keyring: bob}).In(shared)
	for _, s := range link.Objects {
		o, err := guest.GetID(ctx, s.ID)
		if err != nil {
			t.Fatal(err)
		}
		w := &at{}
		if err := o.WriteTo(ctx, w, nil); err != nil || len(w.b) != int(o.Size) {
			t.Fatalf("Bob reads %d bytes: %v", len(w.b), err)
		}
		if o.Path == "deep/er/file" {
			if _, err := guest.PutID(ctx, s.ID, file(content[1:]), agent.PutOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if !bytes.Equal(get(t, a, "deep/er/file"), content[1:]) {
		t.Fatal("Alice does not get what Bob wrote")
	}
	if err := a.Revoke(ctx, agent.Revocation{Grant: g.ID}); err != nil {
		t.Fatal(err)
	}
	for _, s := range link.Objects {
		if _, err := guest.GetID(ctx, s.ID); !errors.Is(err, coffer.NotExist) && !errors.Is(err, coffer.Denied) {
			t.Fatalf("Bob after he was revoked: %v", err)
		}
	}
	if !bytes.Equal(get(t, a, "deep/er/file"), content[1:]) {
		t.Fatal("revoking changed the content")
	}
	if err := a.Remove(ctx, "deep", true); err != nil {
		t.Fatal(err)
	}
	same(t, paths(t, a.Walk(ctx, "")), []string{})
}
