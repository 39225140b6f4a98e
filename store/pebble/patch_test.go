package pebble

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// patchWriter patches the stream of one object again and again, until an error, and tells of each sequence that was
// acknowledged. The body of a revision says which blobs its set is made of.
func patchWriter(ctx context.Context, s *Store, v coffer.VaultID, id coffer.ObjectID, told func(uint64)) error {
	blobs := []string{"first"}
	attach := func(sequence, index uint64, blob string) error {
		_, err := s.Apply(ctx, store.Write{Vault: v, Attach: &store.Chunk{
			ID: id, Blob: blob, Ref: coffer.ChunkRef{Sequence: sequence, Index: index, Size: int64(len(blob))}}})
		return err
	}
	d := &coffer.Document{ID: id, Body: []byte("[]")}
	if _, err := s.Apply(ctx, putting(v, d)); err != nil {
		return err
	}
	if err := attach(0, 0, blobs[0]); err != nil {
		return err
	}
	var patch uint64 // the first set is closed, the others are patches
	for {
		body, err := json.Marshal(blobs)
		if err != nil {
			return err
		}
		d = successor(d, string(body))
		d.Stream = &coffer.Stream{Chunks: uint64(len(blobs)), Patch: patch}
		if _, err := s.Apply(ctx, putting(v, d)); err != nil {
			return err
		}
		told(d.Sequence)
		patch = d.Sequence
		n := 1 + rand.IntN(6)
		blobs = append([]string(nil), blobs[:min(n, len(blobs))]...)
		for i := range n {
			if i == len(blobs) {
				blobs = append(blobs, "")
			} else if rand.IntN(2) == 0 {
				continue
			}
			blobs[i] = fmt.Sprintf("%d-%d", patch, i)
			if err := attach(patch, uint64(i), blobs[i]); err != nil {
				return err
			}
		}
	}
}

// verifyPatched checks that the set is the one that the present revision's body tells of.
func verifyPatched(t *testing.T, s *Store, v coffer.VaultID, id coffer.ObjectID, told uint64) {
	t.Helper()
	d, err := s.Get(t.Context(), v, id)
	if errors.Is(err, coffer.NotExist) && told == 0 {
		return
	}
	if err != nil || d.Sequence < told {
		t.Fatalf("%v, %v: not what was acknowledged as sequence %d", d, err, told)
	}
	var blobs []string
	if err := json.Unmarshal(d.Body, &blobs); err != nil {
		t.Fatal(err)
	}
	for i, blob := range blobs {
		if c, err := s.Chunk(t.Context(), v, id, 0, uint64(i)); err != nil || c.Blob != blob {
			t.Fatalf("chunk %d of sequence %d is %q, %v, want %q", i, d.Sequence, c.Blob, err, blob)
		}
	}
	if d.Sequence > 0 {
		if _, err := s.Chunk(t.Context(), v, id, 0, uint64(len(blobs))); !errors.Is(err, coffer.NotExist) {
			t.Fatalf("a chunk behind the end: %v", err)
		}
	}
}

// TestPatchPowerCut takes the disk as it would be after a power cut while streams are patched: a set is the old one or
// the new one, with its document.
func TestPatchPowerCut(t *testing.T) {
	fs := vfs.NewCrashableMem()
	s := on(t, "store", Options{FS: fs, Memory: 2 << 20})
	v := coffer.NewVaultID()
	ctx, cancel := context.WithCancel(t.Context())
	var ids [8]coffer.ObjectID
	var told [8]atomic.Uint64
	var going sync.RWMutex // held while the writers rest, and leave the processor to what looks after them
	var writers sync.WaitGroup
	for i := range ids {
		ids[i] = coffer.NewObjectID()
		writers.Go(func() {
			err := patchWriter(ctx, s, v, ids[i], func(sequence uint64) {
				told[i].Store(sequence)
				going.RLock()
				defer going.RUnlock()
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Apply: %v", err)
			}
		})
	}
	for cut := range 8 {
		time.Sleep(time.Duration(rand.IntN(60)) * time.Millisecond)
		var before [8]uint64
		for i := range told {
			before[i] = told[i].Load()
		}
		after := fs.CrashClone(vfs.CrashCloneCfg{
			UnsyncedDataPercent: cut * 14, RNG: rand.New(rand.NewPCG(rand.Uint64(), 0)),
		})
		going.Lock()
		again := on(t, "store", Options{FS: after})
		checkClean(t, again)
		for i, id := range ids {
			verifyPatched(t, again, v, id, before[i])
		}
		closeStore(t, again)
		going.Unlock()
	}
	cancel()
	writers.Wait()
	checkClean(t, s)
	for i, id := range ids {
		verifyPatched(t, s, v, id, told[i].Load())
		if told[i].Load() < 3 {
			t.Error("hardly anything was patched")
		}
	}
	closeStore(t, s)
}

// TestPatchFault lets the log fail while streams are patched.
func TestPatchFault(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		t.Run(op, func(t *testing.T) {
			var failing atomic.Bool
			fs := vfs.NewCrashableMem()
			s := on(t, "store", Options{FS: &hookedDisk{fs, func(at, name string) error {
				if failing.Load() && at == op && strings.Contains(name, ".log") {
					return &os.PathError{Op: at, Path: name, Err: syscall.EIO}
				}
				return nil
			}}})
			v, id := coffer.NewVaultID(), coffer.NewObjectID()
			var told uint64
			err := patchWriter(t.Context(), s, v, id, func(sequence uint64) {
				told = sequence
				failing.Store(told == 40)
			})
			if !errors.Is(err, coffer.Unavailable) || told < 40 {
				t.Errorf("after %d patches: %v, want Unavailable", told, err)
			}
			again := on(t, "store", Options{FS: fs.CrashClone(vfs.CrashCloneCfg{})})
			checkClean(t, again)
			verifyPatched(t, again, v, id, told)
			closeStore(t, again)
		})
	}
}

// TestPatchWork counts what it costs to patch one chunk of a long stream: no more than of a short one.
func TestPatchWork(t *testing.T) {
	s := on(t, "store", Options{FS: vfs.NewMem(), NoSync: true})
	defer closeStore(t, s)
	v := coffer.NewVaultID()
	weigh := func(chunks uint64) (allocations float64) {
		d := newDocument("d")
		apply(t, s, putting(v, d))
		for i := range chunks {
			apply(t, s, store.Write{Vault: v, Attach: &store.Chunk{ID: d.ID, Blob: "b", Ref: coffer.ChunkRef{Index: i}}})
		}
		closed := successor(d, "closed")
		closed.Stream = &coffer.Stream{Chunks: chunks}
		apply(t, s, putting(v, closed))
		ref := coffer.ChunkRef{Sequence: 1, Index: chunks / 2}
		apply(t, s, store.Write{Vault: v, Attach: &store.Chunk{ID: d.ID, Blob: "c", Ref: ref}})
		patched := successor(closed, "patched")
		patched.Stream = &coffer.Stream{Chunks: chunks, Patch: 1}
		w, st := putting(v, patched), step{}
		if err := s.prepare(&st, &w); err != nil {
			t.Fatal(err)
		}
		return testing.AllocsPerRun(20, func() { // judged again and again, and never carried out
			g, c := s.newGroup(), &call{steps: []step{st}}
			if s.judge(g, c); c.err != nil {
				t.Fatal(c.err)
			}
			s.finder.close()
			_ = g.batch.Close()
		})
	}
	few, many := weigh(4), weigh(4000)
	if many > 2*few+20 {
		t.Errorf("%v allocations for one chunk of 4000, %v for one of 4", many, few)
	}
}
