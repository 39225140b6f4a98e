package pebble

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
)

// TestOpenRefused opens what cannot be opened: each reason is said in one sentence that names no file, and nothing is
// left that was not there before.
func TestOpenRefused(t *testing.T) {
	refusing := func(err error, ops ...string) func(op, name string) error {
		return func(op, name string) error {
			if slices.Contains(ops, op) {
				return err
			}
			return nil
		}
	}
	const mayNot, readOnly = "this user may not write to the folder", "its file system is read-only"
	for what, c := range map[string]struct {
		hook func(op, name string) error
		kind coffer.Kind
		text string
	}{
		"may not make the folder": {refusing(syscall.EACCES, "mkdir"), coffer.Unavailable, mayNot},
		"may not write":           {refusing(syscall.EACCES, "lock", "create"), coffer.Unavailable, mayNot},
		"read-only folder":        {refusing(syscall.EROFS, "mkdir"), coffer.Unavailable, readOnly},
		"read-only":               {refusing(syscall.EROFS, "lock", "create"), coffer.Unavailable, readOnly},
		"full":                    {refusing(syscall.ENOSPC, "create"), coffer.Unavailable, "the disk is full"},
		"full at the first byte":  {refusing(syscall.ENOSPC, "write"), coffer.Unavailable, "the disk is full"},
		"full at the first sync":  {refusing(syscall.ENOSPC, "sync"), coffer.Unavailable, "the disk is full"},
		"over quota":              {refusing(syscall.EDQUOT, "create"), coffer.Unavailable, "the disk is full"},
		"another error of a disk": {refusing(syscall.EIO, "create"), coffer.Unavailable, "input/output error"},
	} {
		t.Run(what, func(t *testing.T) {
			mem := vfs.NewMem()
			_, err := Open("a/b/store", Options{FS: &hookedDisk{mem, c.hook}})
			if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) || strings.Contains(err.Error(), "a/b") {
				t.Errorf("Open: %v, want %v: %s", err, c.kind, c.text)
			}
			if names, err := mem.List(""); err != nil || len(names) > 0 {
				t.Errorf("left are %q, %v", names, err)
			}
		})
	}

	// At any step of making a store in a folder that is there.
	for step := int64(0); ; step++ {
		mem, steps, done := vfs.NewMem(), atomic.Int64{}, atomic.Bool{}
		if err := mem.MkdirAll("store/lost+found", 0o700); err != nil {
			t.Fatal(err)
		}
		s, err := Open("store", Options{FS: &hookedDisk{mem, func(op, _ string) error {
			if op != "mkdir" && steps.Add(1)-1 == step && !done.Load() {
				return syscall.ENOSPC
			}
			return nil
		}}})
		if err == nil {
			done.Store(true)
			last := step >= steps.Load()
			closeStore(t, s)
			if !last {
				continue // it did not matter
			}
			if step < 10 {
				t.Errorf("only %d steps could fail", step)
			}
			break
		}
		if !errors.Is(err, coffer.Unavailable) || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("step %d: %v", step, err)
		}
		if names, err := mem.List("store"); err != nil || !slices.Equal(names, []string{"lost+found"}) {
			t.Errorf("step %d: left are %q, %v", step, names, err)
		}
	}

	// With a store in it, at any step: what was acknowledged is there when there is room again.
	for step := int64(0); ; step++ {
		mem, steps, done := vfs.NewCrashableMem(), atomic.Int64{}, atomic.Bool{}
		s := on(t, "store", Options{FS: mem})
		furnish(t, s)
		want := dump(t, s)
		closeStore(t, s)
		full := mem.CrashClone(vfs.CrashCloneCfg{})
		s, err := Open("store", Options{FS: &hookedDisk{full, func(op, _ string) error {
			if op != "mkdir" && op != "lock" && steps.Add(1)-1 >= step && !done.Load() {
				return syscall.ENOSPC
			}
			return nil
		}}})
		if err == nil {
			done.Store(true)
			closeStore(t, s)
			if step < 5 {
				t.Errorf("only %d steps could fail", step)
			}
			break
		}
		if !errors.Is(err, coffer.Unavailable) || !strings.Contains(err.Error(), "the disk is full") {
			t.Errorf("step %d: %v", step, err)
		}
		s = on(t, "store", Options{FS: full.CrashClone(vfs.CrashCloneCfg{})})
		if all := differences(dump(t, s), want); len(all) > 0 {
			t.Errorf("step %d: %q", step, all)
		}
		closeStore(t, s)
	}
}

// TestOpenNoFolder gives paths of the operating system that cannot be a store's folder.
func TestOpenNoFolder(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{file, filepath.Join(file, "below")} {
		if _, err := Open(path, Options{}); !errors.Is(err, coffer.Invalid) || strings.Contains(err.Error(), dir) {
			t.Errorf("Open: %v, want Invalid that does not name the file", err)
		}
	}
	if os.Getuid() == 0 {
		return // may write everywhere
	}
	locked := filepath.Join(dir, "locked")
	if err := os.Mkdir(locked, 0o500); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{locked, filepath.Join(locked, "below")} {
		if _, err := Open(path, Options{}); !errors.Is(err, coffer.Unavailable) {
			t.Errorf("Open: %v, want Unavailable", err)
		}
	}
}

// files returns what is in a folder.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	all := make(map[string]string)
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(filepath.Join(dir, path))
		all[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// TestLaterUntouched opens a store of a later format, with a log to replay, and looks at every file afterwards.
func TestLaterUntouched(t *testing.T) {
	dir := t.TempDir()
	s := on(t, dir, Options{})
	furnish(t, s)
	closeStore(t, s)
	s = on(t, dir, Options{})
	apply(t, s, putting(fullVault, newDocument("in the log")))
	if err := s.db.Set(formatKey, appendNumber(nil, format+1), engine.Sync); err != nil {
		t.Fatal(err)
	}
	closeStore(t, s)
	before := files(t, dir)
	for range 2 {
		_, err := Open(dir, Options{})
		if !errors.Is(err, coffer.Invalid) || !strings.Contains(err.Error(), "later version") {
			t.Errorf("Open: %v, want Invalid", err)
		}
		if after := files(t, dir); !maps.Equal(before, after) {
			t.Errorf("the folder has changed: %q, %q", slices.Sorted(maps.Keys(before)), slices.Sorted(maps.Keys(after)))
		}
	}
	if len(before) < 5 {
		t.Errorf("%d files", len(before))
	}
}
