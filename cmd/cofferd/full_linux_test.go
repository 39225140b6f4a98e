package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// TestFullDisk fills the disk while documents are written. The node ends, and says why; when there is room again and it is
// started anew, all that was acknowledged is there.
func TestFullDisk(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	if err := os.Mkdir(disk, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m"); err != nil {
		t.Skipf("no disk of its own can be had here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	data := []string{"--data", filepath.Join(disk, "data")}
	p := start(t, nil, serving(data, "--listen", "127.0.0.1:0")...)
	address := p.origin[len("http://"):]
	ring, vault := newVault(t, p.origin)
	w := newWriters(ring)
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var running sync.WaitGroup
	for range 4 {
		seed := rand.Uint64()
		running.Go(func() {
			if err := w.write(ctx, vault, seed); !errors.Is(err, coffer.Unavailable) {
				t.Errorf("a writer: %v", err)
			}
		})
	}
	select {
	case err := <-p.ended:
		if p.cmd.ProcessState.ExitCode() != exitFailure || !strings.Contains(p.log.String(), "the store failed") {
			t.Errorf("the node ended with %v:\n%s", err, p.log)
		}
	case <-ctx.Done():
		t.Fatalf("the node goes on without a disk:\n%s", p.log)
	}
	running.Wait()
	if w.count() == 0 {
		t.Fatal("nothing was acknowledged")
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size=256m"); err != nil {
		t.Fatal(err)
	}
	p = start(t, nil, serving(data, "--listen", address)...)
	w.verify(t, vault)
	if err := p.stop(t, syscall.SIGTERM); err != nil {
		t.Errorf("the end: %v\n%s", err, p.log)
	}
	well(t, "at the end", data...)
}
