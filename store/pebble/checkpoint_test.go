package pebble

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// TestCheckpoint copies the store again and again while 16 writers write: each copy opens, checks clean and has all
// that was acknowledged before it was asked for, whole commits only.
func TestCheckpoint(t *testing.T) {
	dir := t.TempDir()
	s := on(t, filepath.Join(dir, "store"), Options{Memory: 2 << 20})
	v := coffer.NewVaultID()
	ctx, cancel := context.WithCancel(t.Context())
	var told told
	var writers sync.WaitGroup
	for i := range 16 {
		writers.Go(func() {
			if err := write(ctx, s, v, i, 0, told.add); !errors.Is(err, context.Canceled) {
				t.Errorf("Apply: %v", err)
			}
		})
	}
	for range 4 {
		told.await(t, 1000) // more than the engine keeps in memory
		before := told.soFar()
		to := filepath.Join(dir, randomText())
		if err := s.Checkpoint(t.Context(), to); err != nil {
			t.Fatalf("Checkpoint: %v", err)
		}
		told.Lock() // who looks has the processor for itself
		again := on(t, to, Options{})
		verify(t, again, before)
		apply(t, again, putting(v, newDocument("the copy can be written to")))
		closeStore(t, again)
		told.Unlock()
	}
	cancel()
	writers.Wait()
	checkClean(t, s)
	closeStore(t, s)
}

// TestCheckpointFails lets the disk fail at each step of making a copy: nothing is left, and the store goes on.
func TestCheckpointFails(t *testing.T) {
	fs := vfs.NewMem()
	if err := fs.MkdirAll("disk2", 0o700); err != nil {
		t.Fatal(err)
	}
	steps, fail, failed := 0, -1, ""
	s := on(t, "store", Options{FS: &hookedDisk{fs, func(op, name string) error {
		if !strings.HasPrefix(name, "disk2") {
			return nil
		}
		if steps++; steps-1 == fail {
			failed = op
			return syscall.ENOSPC
		}
		return nil
	}}})
	v := coffer.VaultID{1}
	for i := range 3 {
		apply(t, s, putting(v, newDocument(strings.Repeat("body", 1000))))
		if i < 2 {
			if err := s.db.Flush(); err != nil {
				t.Fatal(err)
			}
		}
	}
	for fail = 0; ; fail++ {
		steps = 0
		err := s.Checkpoint(t.Context(), "disk2/copy")
		if fail >= steps {
			if err != nil {
				t.Fatalf("Checkpoint: %v", err)
			}
			break
		}
		if failed == "link" && err == nil { // it was copied instead
			closeStore(t, on(t, "disk2/copy", Options{FS: fs}))
			if err := fs.RemoveAll("disk2/copy"); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, coffer.Unavailable) || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("fault %d: %v, want Unavailable", fail, err)
		}
		names, err := fs.List("disk2")
		if err != nil || len(names) != 0 {
			t.Fatalf("fault %d: left are %q, %v", fail, names, err)
		}
		apply(t, s, putting(v, newDocument("the store goes on")))
	}
	if fail < 5 {
		t.Errorf("only %d steps could fail", fail)
	}
	closeStore(t, on(t, "disk2/copy", Options{FS: fs}))

	if err := s.Checkpoint(t.Context(), "disk2/copy"); !errors.Is(err, coffer.Conflict) {
		t.Errorf("Checkpoint where one is: %v, want Conflict", err)
	}
	if err := s.Checkpoint(t.Context(), "nowhere/copy"); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("Checkpoint into no folder: %v, want Unavailable", err)
	}
	fail = -1
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Checkpoint(ended, "disk2/copy2"); !errors.Is(err, context.Canceled) {
		t.Errorf("Checkpoint: %v, want %v", err, context.Canceled)
	}
	for after := range 12 {
		if err := s.Checkpoint(&ending{Context: t.Context(), after: after}, "disk2/copy2"); err == nil {
			break
		} else if !errors.Is(err, context.Canceled) {
			t.Errorf("Checkpoint: %v, want %v", err, context.Canceled)
		}
		if names, err := fs.List("disk2"); err != nil || len(names) != 1 {
			t.Fatalf("ended after %d: left are %q, %v", after, names, err)
		}
	}
	if err := fs.MkdirAll("disk2/copy3.partly/of one cut off", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Checkpoint(t.Context(), "disk2/copy3"); err != nil {
		t.Errorf("Checkpoint: %v", err)
	}
	if _, err := fs.Stat("disk2/copy3.partly"); err == nil {
		t.Error("what was cut off is still there")
	}
	closeStore(t, s)
	if err := s.Checkpoint(t.Context(), "disk2/copy4"); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("Checkpoint of a closed store: %v, want Unavailable", err)
	}
}

func TestStats(t *testing.T) {
	s := on(t, t.TempDir(), Options{})
	defer closeStore(t, s)
	stats, err := s.Stats(t.Context())
	if stats.Disk, stats.Memory = 0, 0; err != nil || stats != (store.Stats{}) {
		t.Errorf("Stats of nothing: %+v, %v", stats, err)
	}
	furnish(t, s)
	var want store.Stats
	for _, v := range []coffer.VaultID{fullVault, smallVault, purgedVault, lawVault} {
		u, err := s.Usage(t.Context(), v)
		if err != nil {
			t.Fatal(err)
		}
		if u.Changes > 0 {
			want.Vaults++
		}
		want.Documents += u.Documents
		want.Bytes += u.Bytes
		want.Changes += int64(u.Changes)
	}
	if stats, err = s.Stats(t.Context()); err != nil {
		t.Fatal(err)
	}
	if stats.Disk <= 0 || stats.Memory <= 0 {
		t.Errorf("disk %d, memory %d", stats.Disk, stats.Memory)
	}
	if stats.Disk, stats.Memory = 0, 0; stats != want || want.Vaults != 3 || want.Documents != 7 {
		t.Errorf("Stats: %+v, want %+v", stats, want)
	}
}
