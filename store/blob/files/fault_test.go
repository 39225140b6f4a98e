package files

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
	"github.com/cofferhq/coffer/store/blob/blobtest"
)

// failing is a file system that fails on command.
type failing struct {
	FS
	mu   sync.Mutex
	fail func(op, name string) error // nil when it does not
	ops  int
}

func (f *failing) do(op, name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ops++
	if f.fail == nil {
		return nil
	}
	if err := f.fail(op, name); err != nil {
		return &fs.PathError{Op: op, Path: name, Err: err}
	}
	return nil
}

func (f *failing) set(fail func(op, name string) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail, f.ops = fail, 0
}

// nth makes the nth operation fail, and counts.
func (f *failing) nth(n int, err error) {
	f.set(func(string, string) error {
		if f.ops == n {
			return err
		}
		return nil
	})
}

func (f *failing) file(file File, name string, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return &failingFile{file, f, name}, nil
}

func (f *failing) Open(name string) (File, error) {
	if err := f.do("open", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Open(name)
	return f.file(file, name, err)
}

func (f *failing) Create(name string) (File, error) {
	if err := f.do("create", name); err != nil {
		return nil, err
	}
	file, err := f.FS.Create(name)
	return f.file(file, name, err)
}

func (f *failing) Link(name, to string) error {
	return cmp(f.do("link", to), func() error { return f.FS.Link(name, to) })
}

func (f *failing) Rename(name, to string) error {
	return cmp(f.do("rename", to), func() error { return f.FS.Rename(name, to) })
}

func (f *failing) Mkdir(name string) error {
	return cmp(f.do("mkdir", name), func() error { return f.FS.Mkdir(name) })
}

func (f *failing) Remove(name string) error {
	return cmp(f.do("remove", name), func() error { return f.FS.Remove(name) })
}

func (f *failing) RemoveAll(name string) error {
	return cmp(f.do("remove all", name), func() error { return f.FS.RemoveAll(name) })
}

// cmp returns the error, or else what do returns.
func cmp(err error, do func() error) error {
	if err != nil {
		return err
	}
	return do()
}

type failingFile struct {
	File
	fs   *failing
	name string
}

func (f *failingFile) Read(b []byte) (int, error) {
	if err := f.fs.do("read", f.name); err != nil {
		return 0, err
	}
	return f.File.Read(b)
}

func (f *failingFile) Write(b []byte) (int, error) {
	if err := f.fs.do("write", f.name); err != nil {
		n, _ := f.File.Write(b[:len(b)/2])
		return n, err
	}
	return f.File.Write(b)
}

func (f *failingFile) Sync() error {
	return cmp(f.fs.do("sync", f.name), f.File.Sync)
}

func (f *failingFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if err := f.fs.do("list", f.name); err != nil {
		return nil, err
	}
	return f.File.ReadDir(n)
}

// TestFailures makes every operation of the file system fail, one after the other, while blobs are put, read, listed
// and deleted: each call that cannot do what it should says so, and no call does it by halves.
func TestFailures(t *testing.T) {
	for n := 1; ; n++ {
		fsys := &failing{FS: disk{}}
		dir := t.TempDir()
		s, err := OpenOn(fsys, dir)
		if err != nil {
			t.Fatal(err)
		}
		fsys.nth(n, []syscall.Errno{syscall.EIO, syscall.ENOSPC}[n%2])
		there, gone := script(t, s)
		ops := fsys.ops
		fsys.set(nil)
		check(t, s, there, gone)
		check(t, on(t, dir), there, gone)
		if left, err := os.ReadDir(filepath.Join(dir, newName)); err != nil || len(left) > 0 {
			t.Fatalf("%d leftovers, %v", len(left), err)
		}
		if ops < n {
			t.Logf("%d operations", ops)
			return
		}
	}
}

// script puts, reads and deletes, and returns which blobs must be there then and which must not.
func script(t *testing.T, s *Store) (there, gone map[string]int) {
	t.Helper()
	there, gone = make(map[string]int), make(map[string]int)
	ok := func(err error) bool {
		t.Helper()
		if err != nil && (!errors.Is(err, coffer.Unavailable) || strings.Contains(err.Error(), "secretvault")) {
			t.Fatalf("%v, want Unavailable that names nothing", err)
		}
		return err == nil
	}
	for i, key := range []string{"secretvault/a/1", "secretvault/a/2", "secretvault/b/3", "other/4", "secretvault/a/1/x"} {
		b := body(uint64(i + 200_000))
		if ok(s.Put(t.Context(), key, int64(len(b)), sha256.Sum256(b), bytes.NewReader(b))) {
			there[key] = i + 200_000
		}
	}
	for key := range there {
		if r, _, err := s.Get(t.Context(), key); ok(err) {
			_ = r.Close()
		}
	}
	for _, err := range s.List(t.Context()) {
		ok(err)
	}
	remove := func(prefix string, do func() error) {
		err := do()
		for key, n := range there {
			if key == prefix || strings.HasPrefix(key, prefix+"/") {
				if delete(there, key); ok(err) {
					gone[key] = n
				}
			}
		}
	}
	remove("other/4", func() error { return s.Delete(t.Context(), "other/4") })
	remove("secretvault/a", func() error { return s.DeleteAll(t.Context(), "secretvault/a") })
	return there, gone
}

// check checks that blobs are there and not, and that all that are there are whole.
func check(t *testing.T, s *Store, there, gone map[string]int) {
	t.Helper()
	listed := make(map[string]bool)
	for info, err := range s.List(t.Context()) {
		if err != nil {
			t.Fatalf("List: %v", err)
		}
		r, size, err := s.Get(t.Context(), info.Key)
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		got, err := io.ReadAll(r)
		_ = r.Close()
		if err != nil || size != info.Size || len(got) != int(size) {
			t.Fatalf("%d of %d bytes, %v", len(got), size, err)
		}
		if n, is := there[info.Key]; is && !bytes.Equal(got, body(uint64(n))) {
			t.Fatal("other bytes than were put")
		}
		listed[info.Key] = true
	}
	for key := range there {
		if !listed[key] {
			t.Fatal("what was said to be put is not there")
		}
	}
	for key := range gone {
		if listed[key] {
			t.Fatal("what was said to be deleted is there")
		}
	}
}

// TestOpenFails opens stores where that cannot be done. Nothing is left of the attempt.
func TestOpenFails(t *testing.T) {
	base := t.TempDir()
	if err := os.WriteFile(filepath.Join(base, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"later": "coffer blobs 2\n", "strange": "diary\n"} {
		if err := os.Mkdir(filepath.Join(base, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(base, name, formatName), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(filepath.Join(base, "folder", formatName), 0o700); err != nil {
		t.Fatal(err)
	}
	before := files(t, base)
	errno := func(ops string, err error) func(op, name string) error {
		return func(op, _ string) error {
			if strings.Contains(ops, op) {
				return err
			}
			return nil
		}
	}
	for _, c := range []struct {
		dir      string
		fail     func(op, name string) error
		kind     coffer.Kind
		sentence string
	}{
		{"file", nil, coffer.Invalid, "a file where a folder should be"},
		{"file/below", nil, coffer.Invalid, "a file where a folder should be"},
		{"later", nil, coffer.Invalid, "later version"},
		{"strange", nil, coffer.Invalid, "no blob store"},
		{"folder", nil, coffer.Invalid, "no blob store"},
		{"a/b/c", errno("mkdir", syscall.EROFS), coffer.Unavailable, "read-only"},
		{"a/b/c", errno("mkdir", syscall.EACCES), coffer.Denied, "may not write"},
		{"a/b/c", errno("create", syscall.EACCES), coffer.Denied, "may not write"},
		{"a/b/c", errno("create", syscall.EROFS), coffer.Unavailable, "read-only"},
		{"a/b/c", errno("write", syscall.ENOSPC), coffer.Unavailable, "full"},
		{"a/b/c", errno("sync", syscall.EIO), coffer.Unavailable, "input/output error"},
		{"a/b/c", errno("rename", syscall.EIO), coffer.Unavailable, "input/output error"},
	} {
		_, err := OpenOn(&failing{FS: disk{}, fail: c.fail}, filepath.Join(base, c.dir))
		if !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.sentence) || strings.Contains(err.Error(), base) {
			t.Errorf("%s: %v, want %v, %q", c.dir, err, c.kind, c.sentence)
		}
		if after := files(t, base); !slices.Equal(after, before) {
			t.Fatalf("%s: %v is left, of %v", c.dir, after, before)
		}
	}
	// A store that is there, and cannot be written to any more.
	dir := filepath.Join(base, "store")
	put(t, on(t, dir), "a/b", nil)
	_, err := OpenOn(&failing{FS: disk{}, fail: errno("remove all", syscall.EROFS)}, dir)
	if !errors.Is(err, coffer.Unavailable) || !strings.Contains(err.Error(), "read-only") {
		t.Errorf("a store on a disk that is read-only: %v", err)
	}
	on(t, dir)
}

// memory is a file system in memory that can lose what was not flushed. Nothing else may go on meanwhile: that is what
// the lock is for.
type memory struct {
	*vfs.MemFS
	power *sync.RWMutex
}

// on does something while the power is on.
func (m memory) on(do func() error) error {
	m.power.RLock()
	defer m.power.RUnlock()
	return do()
}

func (m memory) Link(name, to string) error {
	return m.on(func() error { return m.MemFS.Link(name, to) })
}

func (m memory) Rename(name, to string) error {
	return m.on(func() error { return m.MemFS.Rename(name, to) })
}

func (m memory) Remove(name string) error {
	return m.on(func() error { return m.MemFS.Remove(name) })
}

// crash returns what is left when the power goes.
func (m memory) crash(c vfs.CrashCloneCfg) memory {
	m.power.Lock()
	defer m.power.Unlock()
	return memory{m.CrashClone(c), m.power}
}

type memoryFile struct {
	vfs.File
	fs      memory
	name    string
	entries []string
	listed  bool
}

func (m memory) Open(name string) (File, error) {
	m.power.RLock()
	defer m.power.RUnlock()
	info, err := m.Stat(name)
	if err != nil {
		return nil, err
	}
	open := func(name string) (vfs.File, error) { return m.MemFS.Open(name) }
	if info.IsDir() {
		open = m.OpenDir
	}
	f, err := open(name)
	if err != nil {
		return nil, err
	}
	return &memoryFile{File: f, fs: m, name: name}, nil
}

func (m memory) Create(name string) (File, error) {
	m.power.RLock()
	defer m.power.RUnlock()
	if _, err := m.Stat(name); err == nil {
		return nil, fs.ErrExist
	}
	f, err := m.MemFS.Create(name, "test")
	if err != nil {
		return nil, err
	}
	return &memoryFile{File: f, fs: m, name: name}, nil
}

func (m memory) Mkdir(name string) error {
	m.power.RLock()
	defer m.power.RUnlock()
	if _, err := m.Stat(name); err == nil {
		return fs.ErrExist
	}
	if _, err := m.Stat(filepath.Dir(name)); err != nil {
		return err
	}
	return m.MkdirAll(name, 0o700)
}

func (m memory) RemoveAll(name string) error {
	if err := m.on(func() error { return m.MemFS.RemoveAll(name) }); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (f *memoryFile) Write(b []byte) (n int, err error) {
	err = f.fs.on(func() error { n, err = f.File.Write(b); return err })
	return n, err
}

func (f *memoryFile) Sync() error { return f.fs.on(f.File.Sync) }

func (f *memoryFile) Stat() (fs.FileInfo, error) { return f.File.Stat() }

func (f *memoryFile) ReadDir(n int) (all []fs.DirEntry, err error) {
	if !f.listed {
		if f.entries, err = f.fs.List(f.name); err != nil {
			return nil, err
		}
		f.listed = true
	}
	if len(f.entries) == 0 {
		return nil, io.EOF
	}
	part := f.entries[:min(n, len(f.entries))]
	f.entries = f.entries[len(part):]
	for _, name := range part {
		info, err := f.fs.Stat(filepath.Join(f.name, name))
		if err == nil {
			all = append(all, fs.FileInfoToDirEntry(named{info, name}))
		}
	}
	return all, nil
}

// named is a file's information under the name that it has in a folder.
type named struct {
	fs.FileInfo
	name string
}

func (n named) Name() string { return n.name }

func TestStoreInMemory(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		fsys := memory{vfs.NewMem(), new(sync.RWMutex)}
		return func() blob.Store {
			s, err := OpenOn(fsys, "/store")
			if err != nil {
				t.Fatal(err)
			}
			return s
		}
	}, "memory")
}

// TestCrash takes the power away again and again while blobs are put and deleted, so that of what was not flushed some
// is lost: what was said to be put is there, what was said to be deleted is not, and nothing is there by halves.
func TestCrash(t *testing.T) {
	for round := range 60 {
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		fsys := memory{vfs.NewCrashableMem(), new(sync.RWMutex)}
		s, err := OpenOn(fsys, "/data/store")
		if err != nil {
			t.Fatal(err)
		}
		var (
			mu          sync.Mutex
			all         sync.WaitGroup
			there, gone = make(map[string]int), make(map[string]int)
			crash       = 20 + rng.IntN(150)
			acts        int
			after       memory
			thereAfter  = make(map[string]int)
			goneAfter   = make(map[string]int)
		)
		// note notes what is known by now, and takes the power away when it is time.
		note := func(change func()) {
			mu.Lock()
			defer mu.Unlock()
			change()
			if acts++; acts == crash {
				for key, n := range there {
					thereAfter[key] = n
				}
				for key, n := range gone {
					goneAfter[key] = n
				}
				after = fsys.crash(vfs.CrashCloneCfg{UnsyncedDataPercent: rng.IntN(101), RNG: rng})
			}
		}
		for w := range 4 {
			all.Go(func() {
				for i := range 50 {
					n := 1000*w + i
					b := body(uint64(n))
					key := fmt.Sprintf("v%d/%d/%d", n%2, n%5, n)
					if err := s.Put(context.Background(), key, int64(len(b)), sha256.Sum256(b), bytes.NewReader(b)); err != nil {
						t.Errorf("Put: %v", err)
						return
					}
					note(func() { there[key] = n })
					switch {
					case i%3 == 0:
						note(func() { delete(there, key) })
						if err := s.Delete(context.Background(), key); err != nil {
							t.Errorf("Delete: %v", err)
						}
						note(func() { gone[key] = n })
					case i == 40 && w == 0:
						prefix := "v0/1"
						var put map[string]int
						note(func() {
							put = make(map[string]int)
							for key, n := range there {
								if strings.HasPrefix(key, prefix+"/") {
									delete(there, key)
									put[key] = n
								}
							}
						})
						if err := s.DeleteAll(context.Background(), prefix); err != nil {
							t.Errorf("DeleteAll: %v", err)
						}
						note(func() {
							for key, n := range put {
								gone[key] = n
							}
							// Others may have put more meanwhile, and not know that it is gone.
							for key := range there {
								if strings.HasPrefix(key, prefix+"/") {
									delete(there, key)
								}
							}
						})
					}
				}
			})
		}
		all.Wait()
		if after.MemFS == nil {
			t.Fatalf("seed %d: no crash in %d acts", seed, acts)
		}
		again, err := OpenOn(after, "/data/store")
		if err != nil {
			t.Fatalf("round %d, seed %d: Open: %v", round, seed, err)
		}
		check(t, again, thereAfter, goneAfter)
		if t.Failed() {
			t.Fatalf("round %d, seed %d", round, seed)
		}
	}
}
