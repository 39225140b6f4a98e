package agent_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node"
)

// narrow is a vault over which so many chunks pass in each direction, and then none.
type narrow struct {
	*edv.RemoteVault
	up, down atomic.Int64
	sent     atomic.Int64
	got      atomic.Int64
}

func (v *narrow) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	if v.up.Add(-1) < 0 {
		return coffer.E("put chunk", coffer.Unavailable, nil)
	}
	v.sent.Add(1)
	return v.RemoteVault.PutChunk(ctx, id, ref, r)
}

func (v *narrow) Chunk(ctx context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	if v.down.Add(-1) < 0 {
		return coffer.ChunkRef{}, nil, coffer.E("chunk", coffer.Unavailable, nil)
	}
	v.got.Add(1)
	return v.RemoteVault.Chunk(ctx, id, index)
}

func (v *narrow) open() {
	v.up.Store(1 << 30)
	v.down.Store(1 << 30)
}

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
	remote, err := client(alice).Vault(config.ID)
	if err != nil {
		t.Fatal(err)
	}
	text, err := client(alice).LogKey(ctx)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ledger.ParseVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	v, journal := &narrow{RemoteVault: remote}, &memory{}
	device := func(who *keyring.Ring, journal agent.Journal) *agent.Agent {
		a, err := agent.New(agent.Options{
			Vault: v, Keyring: who, URL: config.ID, Revoker: remote, Log: remote, LogKey: key, Journal: journal, Workers: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := device(alice, journal)

	// An upload breaks, and goes on.
	content := noise(1, 9<<20+3)
	v.open()
	v.up.Store(5)
	_, err = a.Put(ctx, "deep/er/file", file(content), agent.PutOptions{})
	expect(t, err, coffer.Unavailable)
	if v.sent.Load() != 5 {
		t.Fatalf("%d chunks were sent", v.sent.Load())
	}
	v.open()
	put(t, device(alice, journal), "deep/er/file", content)
	if v.sent.Load() != 10 {
		t.Errorf("%d chunks were sent for 10", v.sent.Load())
	}
	if !bytes.Equal(get(t, a, "deep/er/file"), content) {
		t.Fatal("it came back as another")
	}

	// A change of one chunk sends that.
	v.sent.Store(0)
	content[5<<20] ^= 1
	put(t, a, "deep/er/file", content)
	if v.sent.Load() != 1 {
		t.Errorf("%d chunks were sent for one that changed", v.sent.Load())
	}

	// A download breaks, and goes on.
	f := partialFile(t)
	v.down.Store(4)
	v.got.Store(0)
	for attempts := 0; ; attempts++ {
		o, err := device(alice, journal).Get(ctx, "deep/er/file")
		if err != nil {
			t.Fatal(err)
		}
		kept, err := o.Resume(ctx, f, "here", nil)
		if err == nil {
			break
		}
		expect(t, err, coffer.Unavailable)
		if !kept || attempts > 5 {
			t.Fatal("the download does not go on")
		}
		v.down.Store(4)
	}
	holds(t, f, content)
	if v.got.Load() != 10 {
		t.Errorf("%d chunks were fetched for 10", v.got.Load())
	}
	v.open()

	if _, err := agent.Put(ctx, a, "deep/invoice", struct {
		Customer string `json:"customer"`
	}{"Ada"}); err != nil {
		t.Fatal(err)
	}
	if got := found(t, device(alice, nil), "customer:ada"); !slices.Equal(got, []string{"deep/invoice"}) {
		t.Errorf("found %q", got)
	}
	if got := strings.Join(paths(t, a, ""), " "); got != "deep deep/er deep/er/file deep/invoice" {
		t.Errorf("there is %s", got)
	}

	// Bob is given it to write, and writes.
	card, err := bob.Card(ctx, "Bob")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.AddContact(ctx, card, ""); err != nil {
		t.Fatal(err)
	}
	shares, err := a.Share(ctx, "deep", agent.ShareOptions{With: bob.DID(), Actions: both})
	if err != nil {
		t.Fatal(err)
	}
	his, err := agent.New(agent.Options{Vault: remote, Keyring: bob})
	if err != nil {
		t.Fatal(err)
	}
	i, err := his.OpenLink(ctx, shares[0].Link)
	if err != nil {
		t.Fatal(err)
	}
	shared, err := client(i.Reader).Vault(i.Vault, i.Capability)
	if err != nil {
		t.Fatal(err)
	}
	guest, err := his.In(i, shared)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get(t, guest, "er/file"), content) {
		t.Error("Bob reads something else")
	}
	put(t, guest, "er/file", content[1:])
	put(t, guest, "new/by Bob", []byte("Bob's"))
	if !bytes.Equal(get(t, a, "deep/er/file"), content[1:]) || string(get(t, a, "deep/new/by Bob")) != "Bob's" {
		t.Error("Alice does not get what Bob wrote")
	}

	// He is revoked.
	if _, err := a.Revoke(ctx, agent.RevokeOptions{With: bob.DID()}); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"er/file", "new/by Bob"} {
		if _, err := guest.Get(ctx, p); !errors.Is(err, coffer.NotExist) && !errors.Is(err, coffer.Denied) {
			t.Errorf("Bob after he was revoked: %v", err)
		}
	}
	if err := a.Work(ctx, nil); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(get(t, device(alice, nil), "deep/er/file"), content[1:]) {
		t.Error("revoking changed the content")
	}
	if got := verified(t, a, agent.VerifyOptions{Contents: true}); len(got) > 0 {
		t.Errorf("a check finds %q", got)
	}
	if err := a.Remove(ctx, "deep", true); err != nil {
		t.Fatal(err)
	}
	if got := paths(t, a, ""); len(got) > 0 {
		t.Errorf("there is %q", got)
	}
	if journal.len() != 1 { // what is known of the history
		t.Errorf("the journal has %d notes", journal.len())
	}
}
