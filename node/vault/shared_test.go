package vault_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
	"github.com/cofferhq/coffer/store/blob/files"
	"github.com/cofferhq/coffer/store/pebble"
)

// A sharedStore stands for a database that several nodes serve: each of them is told of what any of them writes.
type sharedStore struct {
	store.Store
	usages atomic.Int64 // how often a law was read
	gets   atomic.Int64

	mu       sync.Mutex
	watching map[int]func(coffer.VaultID)
	next     int
}

func (s *sharedStore) Usage(ctx context.Context, v coffer.VaultID) (store.Usage, error) {
	s.usages.Add(1)
	return s.Store.Usage(ctx, v)
}

func (s *sharedStore) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error) {
	s.gets.Add(1)
	return s.Store.Get(ctx, v, id)
}

func (s *sharedStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	results, err := s.Store.Apply(ctx, writes...)
	if err == nil {
		s.mu.Lock()
		defer s.mu.Unlock()
		for _, grew := range s.watching {
			for _, w := range writes {
				grew(w.Vault)
			}
		}
	}
	return results, err
}

// Once is not for vaults.
func (s *sharedStore) Once(context.Context, [16]byte, time.Time) (bool, error) {
	return false, errors.New("asked for Once")
}

func (s *sharedStore) Watch(ctx context.Context, grew func(coffer.VaultID)) error {
	s.mu.Lock()
	n := s.next
	s.next++
	if s.watching == nil {
		s.watching = make(map[int]func(coffer.VaultID))
	}
	s.watching[n] = grew
	s.mu.Unlock()
	grew(coffer.VaultID{})
	<-ctx.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.watching, n)
	return nil
}

// sharedStores returns stores for several nodes, which end with the test.
func sharedStores(t testing.TB) (*sharedStore, blob.Store) {
	t.Helper()
	documents, err := pebble.Open(t.TempDir(), pebble.Options{NoSync: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		err := documents.Check(context.Background(), func(problem string) { t.Errorf("store: %s", problem) }, nil)
		if err != nil {
			t.Errorf("check: %v", err)
		}
		documents.Close()
	})
	chunks, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return &sharedStore{Store: documents}, chunks
}

// twoNodes returns two nodes of one provider, both looked after.
func twoNodes(t testing.TB, limits vault.Limits) (a, b *coffertest.Vaults) {
	t.Helper()
	documents, chunks := sharedStores(t)
	a = coffertest.NewVaultsOn(t, limits, documents, chunks)
	b = a.Beside(documents, chunks)
	a.Attend(t)
	b.Attend(t)
	return a, b
}

// A duo is a story at two nodes: Alice is at the first, those who write at the second.
type duo struct {
	*story
	there *coffertest.Vaults
}

func tellTwo(t *testing.T, a, b *coffertest.Vaults) *duo {
	t.Helper()
	s := &story{T: t, vaults: a}
	s.alice, s.bob, s.carol = coffertest.Person(t, "alice"), coffertest.Person(t, "bob"), coffertest.Person(t, "carol")
	s.id, s.url = a.NewVault(t, s.alice)
	s.v = s.as(s.alice, nil)
	return &duo{s, b}
}

// thereAs is as at the second node.
func (d *duo) thereAs(who coffer.Keyring, capability []byte) *vault.View {
	d.Helper()
	return d.there.As(d.there.Caller(d, who, d.url, capability), d.id)
}

// TestLawsAcrossNodes changes who may do what at one node while what it forbids is written at the other. Once the
// change is acknowledged, nothing of that is accepted any more, and reads are refused at once.
func TestLawsAcrossNodes(t *testing.T) {
	a, b := twoNodes(t, vault.Limits{})
	rounds := 40
	if testing.Short() {
		rounds = 6
	}
	changeLaws(t, a, b, rounds)
}

// changeLaws plays that between two nodes.
func changeLaws(t *testing.T, a, b *coffertest.Vaults, rounds int) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	type change struct {
		name string
		do   func(d *duo, capability []byte) error
		kept coffer.Keyring // who may read the feed afterwards; alice if nil
	}
	changes := []change{
		{"revocation", func(d *duo, capability []byte) error { return d.revoke(d.alice, capability) }, nil},
		{"takeover", func(d *duo, _ []byte) error {
			c := d.config()
			c.Sequence, c.Controller = c.Sequence+1, d.carol.DID()
			return d.v.Configure(d.Context(), c)
		}, coffertest.Person(t, "carol")},
		{"erasure", func(d *duo, _ []byte) error {
			_, err := d.v.EraseVault(d.Context())
			return err
		}, nil},
	}
	for round := range rounds {
		c := changes[round%len(changes)]
		if !t.Run(fmt.Sprintf("%s %d", c.name, round), func(t *testing.T) {
			d := tellTwo(t, a, b)
			target := d.put(document(10))
			capability := d.delegate(d.alice, "", d.bob, "", grant.Read, grant.Write)
			asBob := d.thereAs(d.bob, capability)
			if _, err := asBob.Get(t.Context(), target.ID); err != nil {
				t.Fatalf("as Bob, before: %v", err)
			}
			before := 1 + random.IntN(20)
			begun := make(chan struct{}, 1000)
			var wg sync.WaitGroup
			var acknowledged atomic.Bool
			again := func(write func(n uint64) error) {
				wg.Go(func() {
					for n := uint64(0); ; n++ {
						late := acknowledged.Load()
						if err := write(n); err != nil {
							d.want(err, coffer.NotExist, "as Bob, afterwards")
							return
						}
						if late {
							t.Error("a write that began afterwards was accepted")
							return
						}
						select {
						case begun <- struct{}{}:
						default:
						}
					}
				})
			}
			for i := range uint64(4) {
				again(func(n uint64) error {
					_, err := coffer.Put(t.Context(), asBob, document(10))
					if err == nil && n%4 == 0 {
						ref, b := chunk(0, i<<32+n, 10)
						err = asBob.PutChunk(t.Context(), target.ID, ref, bytes.NewReader(b))
					}
					return err
				})
			}
			sequence := func() uint64 { return 0 }
			if c.name == "revocation" { // the others change the configuration themselves
				again(func(uint64) error {
					config, err := asBob.Config(t.Context())
					if err != nil {
						return err
					}
					config.Sequence++
					return asBob.Configure(t.Context(), config)
				})
				sequence = func() uint64 { return d.config().Sequence }
			}
			for range before {
				<-begun
			}
			d.want(c.do(d, capability), works, c.name)
			acknowledged.Store(true)
			configured := sequence()
			_, readErr := asBob.Get(t.Context(), target.ID)
			_, writeErr := coffer.Put(t.Context(), asBob, document(10))
			who := c.kept
			if who == nil {
				who = d.alice
			}
			feed, err := d.changes(d.as(who, nil))
			wg.Wait()
			later, laterErr := d.changes(d.as(who, nil))
			d.want(readErr, coffer.NotExist, "as Bob, a read")
			d.want(writeErr, coffer.NotExist, "as Bob, a write")
			if err != nil || laterErr != nil || len(later) != len(feed) {
				t.Errorf("the feed had %d changes and has %d (%v, %v)", len(feed), len(later), err, laterErr)
			}
			if now := sequence(); now != configured {
				t.Errorf("the configuration's sequence was %d and is %d", configured, now)
			}
		}) {
			return
		}
	}
}

// TestManyChangeTheLaw has both nodes revoke at once: all are done, each at its own law.
func TestManyChangeTheLaw(t *testing.T) {
	a, b := twoNodes(t, vault.Limits{})
	d := tellTwo(t, a, b)
	const many = 12
	var capabilities [][]byte
	for range many {
		capabilities = append(capabilities, d.delegate(d.alice, "", d.bob, "/documents", grant.Read))
	}
	hers, his := d.v, d.thereAs(d.alice, nil)
	errs := make(chan error, 2*many)
	for i, c := range capabilities {
		chain := a.Chain(t, c)
		v := []*vault.View{hers, his}[i%2]
		go func() { errs <- v.Revoke(t.Context(), d.url+"/zcaps/revocations/x", chain, c) }()
		go func() {
			_, err := coffer.Put(t.Context(), his, document(10))
			errs <- err
		}()
	}
	for range 2 * many {
		d.want(<-errs, works, "a revocation, or a write beside it")
	}
	for _, c := range capabilities {
		for name, v := range map[string]*vault.View{"at one": d.as(d.bob, c), "at the other": d.thereAs(d.bob, c)} {
			_, err := v.Count(t.Context(), coffer.Query{})
			d.want(err, coffer.NotExist, "as Bob, "+name)
		}
	}
}

// TestACreatedVaultIsThereAtOnce makes vaults at one node that were looked for, in vain, at the other.
func TestACreatedVaultIsThereAtOnce(t *testing.T) {
	a, b := twoNodes(t, vault.Limits{})
	alice := coffertest.Person(t, "alice")
	asAlice := a.Creator(t, alice)
	find := func() int {
		found, err := b.Find(t.Context(), b.Creator(t, alice), alice.DID(), "main")
		if err != nil {
			t.Fatal(err)
		}
		return len(found)
	}
	if n := find(); n != 0 {
		t.Fatalf("%d vaults are found before", n)
	}
	c, err := a.Create(t.Context(), asAlice, &coffer.Config{Controller: alice.DID(), ReferenceID: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if n := find(); n != 1 {
		t.Errorf("%d vaults are found at the other node", n)
	}
	id, err := coffer.ParseVaultID(c.ID[len(c.ID)-len(coffer.VaultID{}.String()):])
	if err != nil {
		t.Fatal(err)
	}
	if _, err := coffer.Put(t.Context(), b.As(b.Caller(t, alice, c.ID, nil), id), document(1)); err != nil {
		t.Errorf("put at the other node: %v", err)
	}
}

// TestWhatADecisionReads counts what deciding costs: on a shared store the law each time and nothing else, on another
// one nothing.
func TestWhatADecisionReads(t *testing.T) {
	documents, chunks := sharedStores(t)
	type counting struct{ store.Store } // hides that it is shared
	for name, tt := range map[string]struct {
		at    store.Store
		reads int64
	}{"shared": {documents, 1}, "not shared": {counting{documents}, 0}} {
		t.Run(name, func(t *testing.T) {
			s := &story{T: t, vaults: coffertest.NewVaultsOn(t, vault.Limits{}, tt.at, chunks)}
			s.alice, s.bob = coffertest.Person(t, "alice"), coffertest.Person(t, "bob")
			s.id, s.url = s.vaults.NewVault(t, s.alice)
			s.v = s.as(s.alice, nil)
			d := s.put(document(10))
			asBob := s.as(s.bob, s.delegate(s.alice, "", s.bob, "/documents", grant.Read, grant.Write))
			get := func() {
				if _, err := asBob.Get(t.Context(), d.ID); err != nil {
					t.Fatal(err)
				}
			}
			get() // what is remembered from now on
			usages, gets := documents.usages.Load(), documents.gets.Load()
			for range 10 {
				get()
			}
			if u, g := documents.usages.Load()-usages, documents.gets.Load()-gets; u != 10*tt.reads || g != 10 {
				t.Errorf("ten gets by a delegate read the law %d times and %d documents, want %d and 10", u, g, 10*tt.reads)
			}
			usages, gets = documents.usages.Load(), documents.gets.Load()
			for range 10 {
				if _, err := coffer.Put(t.Context(), asBob, document(10)); err != nil {
					t.Fatal(err)
				}
			}
			if u, g := documents.usages.Load()-usages, documents.gets.Load()-gets; u != 10*tt.reads || g != 0 {
				t.Errorf("ten inserts by a delegate read the law %d times and %d documents, want %d and 0", u, g, 10*tt.reads)
			}
		})
	}
}

// A movingStore moves the law before each commit.
type movingStore struct {
	store.Store
	moving atomic.Bool
	tries  atomic.Int64
}

func (m *movingStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	if m.moving.Load() && writes[0].Law != nil {
		m.tries.Add(1)
		if _, err := m.Store.Apply(ctx, store.Write{Vault: writes[0].Vault, Govern: true}); err != nil {
			return nil, err
		}
	}
	return m.Store.Apply(ctx, writes...)
}

// TestTheLawNeverRests gives up in the end, with nothing done, and without a trace in what is remembered.
func TestTheLawNeverRests(t *testing.T) {
	documents, chunks := sharedStores(t)
	moving := &movingStore{Store: documents}
	s := &story{T: t, vaults: coffertest.NewVaultsOn(t, vault.Limits{Rate: 100}, moving, chunks)}
	s.alice = coffertest.Person(t, "alice")
	s.id, s.url = s.vaults.NewVault(t, s.alice)
	s.v = s.as(s.alice, nil)
	moving.moving.Store(true)
	_, err := coffer.Put(t.Context(), s.v, document(10))
	s.want(err, coffer.Unavailable, "put")
	if errors.Is(err, store.ErrMoved) || moving.tries.Load() < 2 || moving.tries.Load() > 100 {
		t.Errorf("%v, after %d attempts", err, moving.tries.Load())
	}
	moving.moving.Store(false)
	if n, err := s.changes(s.v); err != nil || len(n) != 0 {
		t.Errorf("%d changes, %v; want none", len(n), err)
	}
	s.put(document(10))
	for range 900 { // what was tried again counted once
		if _, err := s.v.Count(t.Context(), coffer.Query{}); err != nil {
			t.Fatalf("the vault's rate was used up: %v", err)
		}
	}
}

// TestAFollowerAtAnotherNode is woken by what is written at the first, and cut off by what is revoked there.
func TestAFollowerAtAnotherNode(t *testing.T) {
	a, b := twoNodes(t, vault.Limits{})
	followElsewhere(t, a, b)
}

// followElsewhere plays that.
func followElsewhere(t *testing.T, a, b *coffertest.Vaults) {
	d := tellTwo(t, a, b)
	capability := d.delegate(d.alice, "", d.bob, "/changes", grant.Read)
	asBob := d.thereAs(d.bob, capability)
	got, ended := make(chan coffer.Change, 10), make(chan error, 1)
	go func() {
		var last error
		for c, err := range asBob.Changes(t.Context(), "", true) {
			if last = err; err == nil {
				got <- c
			}
		}
		ended <- last
	}()
	for i := range uint64(3) {
		d.put(document(10))
		if c := await(t, got); c.Number != i+1 {
			t.Fatalf("change %d, want %d", c.Number, i+1)
		}
	}
	d.want(d.revoke(d.alice, capability), works, "revoke")
	d.want(await(t, ended), coffer.NotExist, "the feed")
}

// TestSweepBesideUploads sweeps at one node while chunks arrive at the other: none is lost, and of what was left behind
// only the old.
func TestSweepBesideUploads(t *testing.T) {
	documents, chunks := sharedStores(t)
	clock := &clockedBlobs{Store: chunks}
	a := coffertest.NewVaultsOn(t, vault.Limits{}, documents, clock)
	d := tellTwo(t, a, a.Beside(documents, clock))
	there := d.thereAs(d.alice, nil)
	target := d.put(document(10))
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var swept atomic.Int64
	sweeping := func(v *coffertest.Vaults) {
		for {
			n, err := v.Sweep(t.Context())
			if err != nil {
				t.Errorf("sweep: %v", err)
			}
			swept.Add(int64(n))
			select {
			case <-stop:
				return
			default:
			}
		}
	}
	wg.Go(func() { sweeping(a) })
	wg.Go(func() { sweeping(d.there) })
	var uploads sync.WaitGroup
	for i := range uint64(4) {
		uploads.Go(func() {
			for n := range uint64(50) {
				if err := putChunk(t.Context(), there, target.ID, i<<32+n, 100); err != nil {
					t.Errorf("put chunk: %v", err)
				}
			}
		})
	}
	uploads.Wait()
	close(stop)
	wg.Wait()
	if swept.Load() != 0 {
		t.Errorf("%d chunks were swept that were arriving", swept.Load())
	}
	for i := range uint64(4) {
		for n := range uint64(50) {
			_, r, err := d.v.Chunk(t.Context(), target.ID, i<<32+n)
			if err != nil {
				t.Fatalf("chunk: %v", err)
			}
			r.Close()
		}
	}

	// What a crash left behind, by the clock of what keeps it.
	now := time.Now()
	for name, tt := range map[string]struct {
		left    time.Duration // how old it is
		newest  time.Duration // how old the newest one is
		ours    time.Duration // by which our clock is ahead
		removed int
	}{
		"old":                               {25 * time.Hour, 0, 0, 1},
		"young":                             {23 * time.Hour, 0, 0, 0},
		"young, and our clock is far ahead": {23 * time.Hour, 0, 1000 * time.Hour, 0},
		"young, and one was put by a clock that is far ahead": {23 * time.Hour, -1000 * time.Hour, 0, 0},
		"old, and our clock is far behind":                    {25 * time.Hour, 0, -1000 * time.Hour, 0},
		"old, and nothing newer is there":                     {1000 * time.Hour, 1000 * time.Hour, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			ref, b := chunk(0, 1<<40, 10)
			key := fmt.Sprintf("%x/%x/%d-%d-%s", d.id[:], target.ID[:], ref.Sequence, ref.Index, "ab")
			if err := chunks.Put(t.Context(), key, ref.Size, ref.Sum, bytes.NewReader(b)); err != nil {
				t.Fatal(err)
			}
			clock.set(key, now.Add(-tt.left), now.Add(-tt.newest))
			a.Advance(tt.ours)
			defer a.Advance(-tt.ours)
			n, err := d.there.Sweep(t.Context())
			if err != nil || n != tt.removed {
				t.Errorf("removed %d, %v; want %d", n, err, tt.removed)
			}
			if err := chunks.Delete(t.Context(), key); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// clockedBlobs say when blobs were put: one, and all others.
type clockedBlobs struct {
	blob.Store
	mu         sync.Mutex
	key        string
	at, others time.Time
}

func (c *clockedBlobs) set(key string, at, others time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.key, c.at, c.others = key, at, others
}

func (c *clockedBlobs) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range c.Store.List(ctx) {
			c.mu.Lock()
			if info.Modified = c.others; info.Key == c.key {
				info.Modified = c.at
			}
			if c.others.IsZero() {
				info.Modified = time.Now()
			}
			c.mu.Unlock()
			if !yield(info, err) {
				return
			}
		}
	}
}
