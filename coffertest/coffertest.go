// Package coffertest has ready-made people and nodes for tests: those of this module and those of programs that use it.
package coffertest

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"log/slog"
	"net/netip"
	neturl "net/url"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
	"github.com/cofferhq/coffer/store/blob/files"
	"github.com/cofferhq/coffer/store/pebble"
)

// Person returns the keyring of somebody with this name, always the same. It is no secret: never use it for real.
func Person(t testing.TB, name string) *keyring.Ring {
	t.Helper()
	seed, mac := sha256.Sum256([]byte("signing "+name)), sha256.Sum256([]byte("hmac "+name))
	k, err := keyring.FromSeeds(seed[:], mac[:], "urn:example:hmac:"+name)
	if err != nil {
		t.Fatalf("coffertest: keyring: %v", err)
	}
	t.Cleanup(func() { k.Close() })
	return k
}

// Origin is where [Vaults] says that its vaults are. Nothing listens there.
const Origin = "https://vault.example"

// loopback is where all callers are.
var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// Vaults are a provider's vaults in this process, on an embedded store in a temporary folder.
type Vaults struct {
	*vault.Service
	// Chunks is the folder of the chunks: a file for each. Empty if the stores are the test's own.
	Chunks string

	options vault.Options
	facts   grant.Facts
	ahead   *atomic.Int64 // nanoseconds by which the clock of all nodes is ahead
}

// Now returns the provider's time.
func (v *Vaults) Now() time.Time { return time.Now().Add(time.Duration(v.ahead.Load())) }

// Advance sets the provider's clock forward, at all of its nodes.
func (v *Vaults) Advance(d time.Duration) { v.ahead.Add(int64(d)) }

// NewVaults returns an empty provider that ends with the test.
func NewVaults(t testing.TB, limits vault.Limits) *Vaults {
	t.Helper()
	documents, err := pebble.Open(t.TempDir(), pebble.Options{})
	if err != nil {
		t.Fatalf("coffertest: store: %v", err)
	}
	t.Cleanup(func() {
		if err := documents.Check(context.Background(), func(problem string) { t.Errorf("store: %s", problem) }, nil); err != nil {
			t.Errorf("coffertest: check: %v", err)
		}
		documents.Close()
	})
	folder := t.TempDir()
	chunks, err := files.Open(folder)
	if err != nil {
		t.Fatalf("coffertest: chunks: %v", err)
	}
	v := NewVaultsOn(t, limits, documents, chunks)
	v.Chunks = folder
	return v
}

// NewVaultsOn returns an empty provider over stores of the test's, which are empty, and the test's to close.
func NewVaultsOn(t testing.TB, limits vault.Limits, documents store.Store, chunks blob.Store) *Vaults {
	t.Helper()
	v := &Vaults{ahead: new(atomic.Int64)}
	resolver, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatalf("coffertest: resolver: %v", err)
	}
	v.facts = grant.Facts{Origin: Origin, Skew: 5 * time.Minute, Key: resolver.Key}
	v.options = vault.Options{
		Store: documents, Blobs: chunks, Now: v.Now, Limits: limits,
		Target: func(id coffer.VaultID) string { return Origin + "/edvs/" + id.String() },
		Signer: LogSigner(t, Origin),
	}
	v.Restart()
	return v
}

// Restart puts another service in the place of the one there was, over the same stores, as a node does that starts again.
func (v *Vaults) Restart() { v.Service = vault.New(v.options) }

// Beside returns another node of the provider, with the same clock, over the same stores: through connections of its
// own to what they keep things in, or through those that this node has.
func (v *Vaults) Beside(documents store.Store, chunks blob.Store) *Vaults {
	beside := *v
	beside.options.Store, beside.options.Blobs = documents, chunks
	beside.Restart()
	return &beside
}

// Attend looks after the node's vaults until the test ends; see [vault.Service.Tend]. What goes wrong fails the test.
func (v *Vaults) Attend(t testing.TB) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.Service.Tend(ctx, slog.New(&faults{slog.DiscardHandler, t}))
	}()
	t.Cleanup(func() {
		stop()
		<-done
	})
}

// faults fails a test for each fault that is logged.
type faults struct {
	slog.Handler
	t testing.TB
}

func (f *faults) Enabled(_ context.Context, l slog.Level) bool { return l >= slog.LevelWarn }

func (f *faults) Handle(_ context.Context, r slog.Record) error {
	text := r.Message
	r.Attrs(func(a slog.Attr) bool {
		text += " " + a.String()
		return true
	})
	f.t.Error("coffertest: logged: " + text)
	return nil
}

// LogSigner returns what signs checkpoints for the node with the origin, always the same. It is no secret: never use it
// for real.
func LogSigner(t testing.TB, origin string) *ledger.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte("log " + origin))
	s, err := ledger.NewSigner(ledger.Origin(origin), ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatalf("coffertest: signer: %v", err)
	}
	return s
}

// Caller returns who the keyring's holder is to these vaults: by a delegated capability, or, without one, by claiming to
// control the vault whose URL is given. It is nobody when the claim does not hold.
func (v *Vaults) Caller(t testing.TB, who coffer.Keyring, url string, capability []byte) grant.Caller {
	t.Helper()
	authority, action := url, grant.Read
	if capability != nil {
		c, err := grant.ParseCapability(capability)
		if err != nil {
			t.Fatalf("coffertest: capability: %v", err)
		}
		authority, url = string(capability), c.Target()
		if a := c.Actions(); len(a) > 0 {
			action = a[0]
		}
	}
	return v.verified(t, who, authority, url, action, v.roots)
}

// Creator returns who the keyring's holder is when making vaults. For that, everybody is their own root.
func (v *Vaults) Creator(t testing.TB, who coffer.Keyring) grant.Caller {
	t.Helper()
	url, own := Origin+"/edvs", []string{who.DID()}
	return v.verified(t, who, url, url, grant.Write, func(context.Context, string) ([]string, error) { return own, nil })
}

// Revoker returns who the keyring's holder is at the URL for revoking a capability, and that URL: the vault's controller and
// everybody who took part in the chain is somebody there.
func (v *Vaults) Revoker(t testing.TB, who coffer.Keyring, capability []byte) (caller grant.Caller, at string) {
	t.Helper()
	c := v.Chain(t, capability)
	at = c.RootTarget() + "/zcaps/revocations/" + neturl.PathEscape(c.ID())
	return v.verified(t, who, at, at, grant.Write, func(ctx context.Context, target string) ([]string, error) {
		if target != at {
			return v.roots(ctx, target)
		}
		owner, err := v.roots(ctx, c.RootTarget())
		return append(owner, c.ChainControllers()...), err
	}), at
}

// verified signs a request and returns whom verifying it shows: nobody when it shows no right.
func (v *Vaults) verified(t testing.TB, who coffer.Keyring, authority, url string, action grant.Action,
	roots func(context.Context, string) ([]string, error)) grant.Caller {
	t.Helper()
	ctx := context.Background()
	invoker, err := grant.NewInvoker(who, authority)
	if err != nil {
		t.Fatalf("coffertest: invoker: %v", err)
	}
	headers, err := invoker.Sign(ctx, grant.Request{Method: "GET", URL: url, Action: action, Now: v.Now()})
	if err != nil {
		t.Fatalf("coffertest: sign: %v", err)
	}
	facts := v.facts
	facts.Now, facts.Action, facts.Roots = v.Now(), action, roots
	in := &grant.Invocation{Method: "GET", URI: url[len(Origin):], Host: Origin[len("https://"):], Header: headers}
	verified, err := grant.Verify(ctx, in, &facts)
	if err != nil {
		return grant.Caller{}
	}
	return verified.Caller
}

// Chain returns the capability with its chain verified for the vault with the URL.
func (v *Vaults) Chain(t testing.TB, capability []byte) *grant.Capability {
	t.Helper()
	facts := v.facts
	facts.Now, facts.Roots = v.Now(), v.roots
	c, err := grant.VerifyChain(context.Background(), capability, &facts)
	if err != nil {
		t.Fatalf("coffertest: chain: %v", err)
	}
	return c
}

// NewVault makes a vault for the keyring's holder and returns its id and URL.
func (v *Vaults) NewVault(t testing.TB, who coffer.Keyring) (coffer.VaultID, string) {
	t.Helper()
	c, err := v.Create(context.Background(), v.Creator(t, who), &coffer.Config{Controller: who.DID()})
	if err != nil {
		t.Fatalf("coffertest: create vault: %v", err)
	}
	id, err := coffer.ParseVaultID(c.ID[len(Origin+"/edvs/"):])
	if err != nil {
		t.Fatalf("coffertest: vault's id: %v", err)
	}
	return id, c.ID
}

// roots returns the controllers of a vault's root capability.
func (v *Vaults) roots(ctx context.Context, target string) ([]string, error) {
	id, err := coffer.ParseVaultID(target[min(len(target), len(Origin+"/edvs/")):])
	if err != nil {
		return nil, nil
	}
	controller, err := v.Controller(ctx, id, loopback)
	if controller == "" || err != nil {
		return nil, err
	}
	return []string{controller}, nil
}

// Node runs a node at a free port of the loopback address until the test ends.
func Node(t testing.TB, c node.Config) *node.Node {
	t.Helper()
	if c.Data == "" {
		c.Data = t.TempDir()
	}
	c.Listen = "127.0.0.1:0"
	ctx, stop := context.WithCancel(context.Background())
	n, err := node.Open(ctx, c)
	if err != nil {
		stop()
		t.Fatalf("coffertest: node: %v", err)
	}
	done := make(chan error, 1)
	go func() { done <- n.Serve(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Errorf("coffertest: the node ended with: %v", err)
		}
	})
	return n
}
