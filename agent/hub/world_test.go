package hub_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
	nodehub "github.com/cofferhq/coffer/node/hub"
	"github.com/cofferhq/coffer/node/vault"
)

// A world is a node with hubs, in this process, and people who have keys.
type world struct {
	t        testing.TB
	service  *nodehub.Service
	resolver *ident.Resolver
	ahead    *atomic.Int64
	people   map[string]*keyring.Ring
}

const hubDID = "did:web:hub.example"

func newWorld(t testing.TB, limits nodehub.Limits) *world {
	t.Helper()
	return newWorldAt(t, limits, new(atomic.Int64))
}

func newWorldAt(t testing.TB, limits nodehub.Limits, ahead *atomic.Int64, change ...func(*nodehub.Options)) *world {
	t.Helper()
	r, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, resolver: r, people: make(map[string]*keyring.Ring), ahead: ahead}
	o := nodehub.Options{
		Vaults: coffertest.HubVaults(t, coffertest.NewVaults(t, vault.Limits{})),
		Key:    r.MessageKey, Filter: coffertest.HubFilter, Secret: [32]byte{1}, Limits: limits, PublicProfile: true, Now: w.now,
	}
	for _, f := range change {
		f(&o)
	}
	w.service = nodehub.New(o)
	return w
}

func (w *world) now() time.Time          { return time.Now().Add(time.Duration(w.ahead.Load())) }
func (w *world) advance(d time.Duration) { w.ahead.Add(int64(d)) }

func (w *world) ring(name string) *keyring.Ring {
	if w.people[name] == nil {
		w.people[name] = coffertest.Person(w.t, name)
	}
	return w.people[name]
}

// as returns the hubs as somebody sees them.
func (w *world) as(name, purpose string) coffer.Hub {
	w.t.Helper()
	ctx, ring := context.Background(), w.ring(name)
	j := jose.NewJWS(map[string]string{
		"alg": "EdDSA", "kid": ring.Key(coffer.SigningKey).ID, "did-requester-nonce": "n",
	}, nil)
	signature, err := ring.Sign(ctx, coffer.Authentication, j.Input())
	if err != nil {
		w.t.Fatal(err)
	}
	j.Signature = base64.RawURLEncoding.EncodeToString(signature)
	m, err := grant.ReadMessage(j.Compact())
	if err != nil {
		w.t.Fatal(err)
	}
	signed, err := m.Verify(ctx, &grant.MessageFacts{Key: w.resolver.MessageKey, Audience: []string{hubDID}})
	if err != nil {
		w.t.Fatal(err)
	}
	c, err := signed.Caller(ring.DID(), hubDID)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.service.As(c, purpose)
}

// open opens the owner's hub as somebody sees it.
func (w *world) open(name, owner string, change ...func(*hub.Options)) *hub.Hub {
	w.t.Helper()
	o := hub.Options{
		Hub: w.as(name, ""), Owner: w.ring(owner).DID(), Keyring: w.ring(name), Resolver: w.resolver, Now: w.now,
	}
	for _, f := range change {
		f(&o)
	}
	h, err := hub.Open(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// begin makes hubs for people, who say something of themselves there.
func (w *world) begin(names ...string) {
	w.t.Helper()
	for _, name := range names {
		h := w.open(name, name)
		if err := h.SetProfile(context.Background(), hub.Kind{Context: "schema.org", Type: "Person"}, name); err != nil {
			w.t.Fatal(err)
		}
	}
}

// memoryJournal is a journal that a test can look into.
type memoryJournal map[string][]byte

func (j memoryJournal) Load(_ context.Context, name string) ([]byte, error) {
	if b, ok := j[name]; ok {
		return b, nil
	}
	return nil, coffer.Errorf("journal", coffer.NotExist, "nothing")
}

func (j memoryJournal) Save(_ context.Context, name string, note []byte) error {
	j[name] = slices.Clone(note)
	return nil
}

// exampleTB lets an example use what tests use.
type exampleTB struct {
	testing.TB
	cleanup []func()
}

func (t *exampleTB) Helper()                   {}
func (t *exampleTB) Name() string              { return "Example" }
func (t *exampleTB) Cleanup(f func())          { t.cleanup = append(t.cleanup, f) }
func (t *exampleTB) Fatal(args ...any)         { panic(fmt.Sprint(args...)) }
func (t *exampleTB) Fatalf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }
func (t *exampleTB) Errorf(f string, a ...any) { panic(fmt.Sprintf(f, a...)) }

func (t *exampleTB) TempDir() string {
	dir, err := os.MkdirTemp("", "coffer-example-")
	if err != nil {
		panic(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func (t *exampleTB) end() {
	for _, f := range slices.Backward(t.cleanup) {
		f()
	}
}
