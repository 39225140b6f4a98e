package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"

	"github.com/cofferhq/coffer"
)

// TestCopy copies a store while others put and delete.
func TestCopy(t *testing.T) {
	for name, fail := range map[string]func(op, name string) error{
		"links":   nil,
		"copies":  func(op, _ string) error { return map[string]error{"link": syscall.EXDEV}[op] },
		"at most": func(op, name string) error { return map[string]error{"link": syscall.EMLINK}[op] },
	} {
		t.Run(name, func(t *testing.T) {
			base := t.TempDir()
			s := on(t, filepath.Join(base, "store"))
			there := make(map[string]int)
			for n := range 60 {
				key := fmt.Sprintf("v%d/%d/%d", n%3, n%7, n)
				put(t, s, key, body(uint64(n*1000)))
				there[key] = n * 1000
			}
			gone := map[string]int{"v0/0/0": 0}
			delete(there, "v0/0/0")
			if err := s.Delete(t.Context(), "v0/0/0"); err != nil {
				t.Fatal(err)
			}
			done := make(chan struct{})
			var all, begun sync.WaitGroup
			for w := range 3 {
				begun.Add(1)
				all.Go(func() {
					for i := 0; ; i++ {
						b := []byte("meanwhile")
						key := fmt.Sprintf("v%d/m%d/%d", w, w, i)
						err := s.Put(context.Background(), key, int64(len(b)), sha256.Sum256(b), bytes.NewReader(b))
						if err == nil && i%2 == 0 {
							err = s.Delete(context.Background(), key)
						}
						if err != nil {
							t.Errorf("meanwhile: %v", err)
						}
						if i == 3 {
							begun.Done()
						}
						select {
						case <-done:
							if i > 3 {
								return
							}
						default:
						}
					}
				})
			}
			begun.Wait()
			to := filepath.Join(base, "copies", "first")
			if err := newStore(&failing{FS: disk{}, fail: fail}, s.dir).Copy(t.Context(), to); err != nil {
				t.Fatalf("Copy: %v", err)
			}
			close(done)
			all.Wait()
			c := on(t, to)
			check(t, c, there, gone)
			check(t, s, there, gone)
			// They are two stores now.
			if err := c.DeleteAll(t.Context(), "v1"); err != nil {
				t.Fatal(err)
			}
			put(t, c, "v1/1/1", []byte("another"))
			check(t, s, there, gone)
			if err := s.Copy(t.Context(), to); !errors.Is(err, coffer.Invalid) {
				t.Errorf("Copy onto a store: %v, want Invalid", err)
			}
			if err := s.Copy(t.Context(), filepath.Join(base, "store", "x")); !errors.Is(err, coffer.Invalid) {
				t.Errorf("Copy into the store: %v, want Invalid", err)
			}
		})
	}
}

// TestCopyFails makes every operation fail, one after the other: no half of a copy is left.
func TestCopyFails(t *testing.T) {
	base := t.TempDir()
	s := on(t, filepath.Join(base, "store"))
	there := make(map[string]int)
	for n := range 5 {
		key := fmt.Sprintf("v%d/%d", n%2, n)
		put(t, s, key, body(uint64(n)))
		there[key] = n
	}
	for _, links := range []bool{true, false} {
		for n := 1; ; n++ {
			fsys := &failing{FS: disk{}}
			fsys.set(func(op, _ string) error {
				switch {
				case fsys.ops == n:
					return syscall.ENOSPC
				case op == "link" && !links:
					return syscall.EXDEV
				}
				return nil
			})
			to := filepath.Join(base, "copy", fmt.Sprint(links, n))
			failed := newStore(fsys, s.dir)
			err := failed.Copy(t.Context(), to)
			if err == nil {
				check(t, on(t, to), there, nil)
				if fsys.ops < n {
					break
				}
				continue
			}
			if !errors.Is(err, coffer.Unavailable) {
				t.Errorf("operation %d fails: %v, want Unavailable", n, err)
			}
			if left, err := os.ReadDir(to); err == nil && len(left) > 0 {
				t.Errorf("operation %d fails: %d entries are left", n, len(left))
			}
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Copy(ctx, filepath.Join(base, "never")); !errors.Is(err, context.Canceled) {
		t.Errorf("Copy: %v, want %v", err, context.Canceled)
	}
	if _, err := os.Stat(filepath.Join(base, "never")); err == nil {
		t.Error("a copy that was given up is there")
	}
}
