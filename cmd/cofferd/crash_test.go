package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/keyring"
)

// TestCrash kills the node with SIGKILL in the middle of 16 writers, again and again, whatever its disks are. After
// each restart every write that was acknowledged is there, and the store is in order (UC-31).
func TestCrash(t *testing.T) {
	for _, c := range combinations {
		t.Run(c.name, func(t *testing.T) { testCrash(t, c) })
	}
}

func testCrash(t *testing.T, c combination) {
	flags := append(c.flags(t), "--data", filepath.Join(t.TempDir(), "data"))
	p := start(t, nil, serving(flags, "--listen", "127.0.0.1:0")...)
	address := p.origin[len("http://"):]
	ring, vault := newVault(t, p.origin)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))

	w := newWriters(ring)
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	for round := range rounds {
		ctx, cancel := context.WithCancel(t.Context())
		var running sync.WaitGroup
		w.begin(ctx, t, &running, vault, 16, fmt.Sprintf("round-%d", round), random)
		w.until(t, 32+random.IntN(100))
		p.stop(t, syscall.SIGKILL)
		cancel()
		running.Wait()
		well(t, "after a crash", flags...)
		p = start(t, nil, serving(flags, "--listen", address)...)
		w.verify(t, vault)
	}
	t.Logf("%d acknowledged writes are there after %d crashes", w.count(), rounds)
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v\n%s", err, p.log)
	}
	well(t, "at the end", flags...)
}

// begin starts n writers, which go on until ctx ends or the node goes away. Nothing else may make them fail.
func (w *writers) begin(
	ctx context.Context, t *testing.T, running *sync.WaitGroup, vault *edv.RemoteVault, n int, name string,
	random *rand.Rand,
) {
	for i := range n {
		seed := random.Uint64()
		running.Go(func() {
			var err error
			if i%4 < 3 {
				err = w.write(ctx, vault, seed)
			} else {
				err = w.store(ctx, vault, fmt.Sprintf("%s/writer-%d", name, i))
			}
			if !errors.Is(err, coffer.Unavailable) && ctx.Err() == nil {
				t.Errorf("writer %d: %v", i, err)
			}
		})
	}
}

// until waits for n more writes to be acknowledged.
func (w *writers) until(t *testing.T, n int) {
	t.Helper()
	before := w.count()
	for end := time.Now().Add(60 * time.Second); w.count() < before+n; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("only %d writes were acknowledged", w.count()-before)
		}
	}
}

// Writers write into one vault and remember what was acknowledged.
type writers struct {
	ring *keyring.Ring

	mu        sync.Mutex
	documents map[coffer.ObjectID]coffer.Rev // the latest acknowledged
	files     map[string][]byte
	writes    int
}

func newWriters(ring *keyring.Ring) *writers {
	return &writers{ring: ring, documents: map[coffer.ObjectID]coffer.Rev{}, files: map[string][]byte{}}
}

func (w *writers) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.writes
}

// write inserts and replaces documents until it fails.
func (w *writers) write(ctx context.Context, vault *edv.RemoteVault, seed uint64) error {
	random := rand.New(rand.NewPCG(seed, 1))
	for {
		d := &coffer.Document{ID: coffer.NewObjectID()}
		for revision := range 1 + random.IntN(3) {
			if revision > 0 {
				d = &coffer.Document{ID: d.ID, Sequence: d.Sequence + 1, Parents: []coffer.Rev{d.Rev()}}
			}
			if err := w.sealed(ctx, d, 100+random.IntN(20_000)); err != nil {
				return err
			}
			if _, err := coffer.Put(ctx, vault, d); err != nil {
				return err
			}
			w.mu.Lock()
			w.documents[d.ID] = d.Rev()
			w.writes++
			w.mu.Unlock()
		}
	}
}

// sealed gives the document a body.
func (w *writers) sealed(ctx context.Context, d *coffer.Document, size int) error {
	content, err := json.Marshal(map[string]string{"text": string(bytes.Repeat([]byte("x"), size))})
	if err != nil {
		return err
	}
	made, err := seal.Seal(ctx, w.ring, seal.Plain{Content: content}, seal.Options{ID: d.ID, Sequence: d.Sequence,
		Parents: d.Parents})
	if err != nil {
		return err
	}
	d.Body, d.Tags, d.Stream = made.Body, made.Tags, made.Stream
	return nil
}

// store puts files with chunks until it fails.
func (w *writers) store(ctx context.Context, vault *edv.RemoteVault, name string) error {
	a, err := agent.New(agent.Options{Vault: vault, Keyring: w.ring})
	if err != nil {
		return err
	}
	for i := 0; ; i++ {
		path := fmt.Sprintf("%s/%d", name, i)
		b := bytes.Repeat([]byte(path), 200_000)
		if _, err := a.Put(ctx, path, agent.Source{Reader: bytes.NewReader(b), Size: int64(len(b))},
			agent.PutOptions{}); err != nil {
			return err
		}
		w.mu.Lock()
		w.files[path] = []byte(path)
		w.writes++
		w.mu.Unlock()
	}
}

// verify reads all that was acknowledged. A document may have a later revision: one that was accepted, and whose
// acknowledgement the crash swallowed.
func (w *writers) verify(t *testing.T, vault *edv.RemoteVault) {
	t.Helper()
	ctx := t.Context()
	w.mu.Lock()
	defer w.mu.Unlock()
	lost := 0
	for id, want := range w.documents {
		docs, err := vault.Get(ctx, id)
		if err != nil || len(docs) != 1 {
			lost++
			t.Logf("an acknowledged document: %v", err)
			continue
		}
		if got := docs[0].Rev(); got != want && (len(docs[0].Parents) != 1 || docs[0].Parents[0] != want) {
			lost++
			continue
		}
		w.documents[id] = docs[0].Rev()
	}
	a, err := agent.New(agent.Options{Vault: vault, Keyring: w.ring})
	if err != nil {
		t.Fatal(err)
	}
	for path, pattern := range w.files {
		o, err := a.Get(ctx, path)
		if err != nil {
			lost++
			t.Logf("an acknowledged file: %v", err)
			continue
		}
		got := make(sink, o.Size)
		if err := o.WriteTo(ctx, got, nil); err != nil || !bytes.Equal(got, bytes.Repeat(pattern, 200_000)) {
			lost++
			t.Logf("an acknowledged file reads otherwise: %v", err)
		}
	}
	if lost > 0 {
		t.Fatalf("%d of %d acknowledged things are lost", lost, len(w.documents)+len(w.files))
	}
}

// A sink is memory of fixed size that is written to at offsets.
type sink []byte

func (s sink) WriteAt(b []byte, offset int64) (int, error) {
	if offset < 0 || offset+int64(len(b)) > int64(len(s)) {
		return 0, errors.New("beyond the end")
	}
	return copy(s[offset:], b), nil
}
