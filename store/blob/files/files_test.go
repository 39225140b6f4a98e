package files

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
	"github.com/cofferhq/coffer/store/blob/blobtest"
)

func on(t testing.TB, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		dir := t.TempDir()
		return func() blob.Store { return on(t, dir) }
	})
}

func put(t testing.TB, s *Store, key string, body []byte) {
	t.Helper()
	if err := s.Put(t.Context(), key, int64(len(body)), sha256.Sum256(body), bytes.NewReader(body)); err != nil {
		t.Fatalf("Put: %v", err)
	}
}

// files returns the names of all files and folders below a folder.
func files(t testing.TB, dir string) (all []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		name, _ = filepath.Rel(dir, name)
		all = append(all, filepath.ToSlash(name))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func TestLayout(t *testing.T) {
	dir := t.TempDir()
	s := on(t, dir)
	empty := ". format new"
	if got := strings.Join(files(t, dir), " "); got != empty {
		t.Errorf("an empty store is %q", got)
	}
	put(t, s, "a/b/c", []byte("body"))
	if got := strings.Join(files(t, dir), " "); got != ". ca ca/a ca/a/b ca/a/b/c.blob format new" {
		t.Errorf("a store with one blob is %q", got)
	}
	r, _, err := s.Get(t.Context(), "a/b/c")
	if err != nil {
		t.Fatal(err)
	}
	if _, isFile := r.(*os.File); !isFile {
		t.Errorf("Get returns a %T", r)
	}
	_ = r.Close()
	if err := s.Delete(t.Context(), "a/b/c"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(files(t, dir), " "); got != empty {
		t.Errorf("after Delete: %q", got)
	}
	put(t, s, "a/b/c", []byte("body"))
	put(t, s, "a/b/d", []byte("body"))
	if err := s.DeleteAll(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(files(t, dir), " "); got != empty {
		t.Errorf("after DeleteAll: %q", got)
	}
}

func TestLeftovers(t *testing.T) {
	dir := t.TempDir()
	s := on(t, dir)
	put(t, s, "a/b", []byte("body"))
	for _, name := range []string{"new/half", "new/removed/a/b.blob"} {
		name = filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	// What is not ours is neither listed nor touched.
	strange := filepath.Join(dir, "ca", "a", "README.txt")
	if err := os.WriteFile(strange, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = on(t, dir)
	if got := strings.Join(files(t, dir), " "); got != ". ca ca/a ca/a/README.txt ca/a/b.blob format new" {
		t.Errorf("after opening: %q", got)
	}
	n := 0
	for info, err := range s.List(t.Context()) {
		if err != nil || info.Key != "a/b" {
			t.Errorf("List: %v, %v", info, err)
		}
		n++
	}
	if n != 1 {
		t.Errorf("List: %d blobs", n)
	}
	if err := s.Delete(t.Context(), "a/b"); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(strange); err != nil {
		t.Error(err)
	}
}

func TestFormat(t *testing.T) {
	dir := t.TempDir()
	on(t, dir)
	if err := os.WriteFile(filepath.Join(dir, formatName), []byte("coffer blobs 2\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, coffer.Invalid) {
		t.Errorf("a later format: %v, want Invalid", err)
	}
	dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir); !errors.Is(err, coffer.Invalid) {
		t.Errorf("a folder with other things: %v, want Invalid", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "thesis.txt")); err != nil {
		t.Error(err)
	}
	on(t, filepath.Join(dir, "below", "it"))
}

// TestErrorsNameNothing makes the file system fail and looks for keys in what is said.
func TestErrorsNameNothing(t *testing.T) {
	dir := t.TempDir()
	s := on(t, dir)
	put(t, s, "secretvault/x", nil)
	folder := filepath.Dir(s.path("secretvault/x"))
	if err := os.RemoveAll(folder); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(folder, nil, 0o600); err != nil { // a file where a folder should be
		t.Fatal(err)
	}
	err := s.Put(t.Context(), "secretvault/y", 0, sha256.Sum256(nil), bytes.NewReader(nil))
	if !errors.Is(err, coffer.Unavailable) || strings.Contains(err.Error(), "secret") ||
		strings.Contains(err.Error(), dir) {
		t.Errorf("Put: %v, want Unavailable that names nothing", err)
	}
}

// TestSharedFlush checks that a flush is shared only by those who came before it began.
func TestSharedFlush(t *testing.T) {
	d := folders{fs: disk{}}
	dir := t.TempDir()
	before := &flush{done: make(chan struct{})}
	d.flushes = map[string]*flushes{dir: {running: before}}
	const callers = 10
	done := make(chan error, callers)
	for range callers {
		go func() { done <- d.flush(dir) }()
	}
	select {
	case <-done:
		t.Fatal("a caller was content with a flush that began before it came")
	case <-time.After(50 * time.Millisecond):
	}
	close(before.done)
	for range callers {
		if err := <-done; err != nil {
			t.Fatal(err)
		}
	}
	if len(d.flushes) != 0 {
		t.Errorf("%d folders are still noted", len(d.flushes))
	}
	if err := d.flush(filepath.Join(dir, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("flush of no folder: %v", err)
	}
}

const childDir = "COFFER_FILES_CHILD_DIR"

// TestMain makes this program the child of TestKill when it is asked to be.
func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		fmt.Fprintln(os.Stderr, child(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// body is what a child puts: its length and all of its bytes follow from n.
func body(n uint64) []byte {
	b := make([]byte, n%400_000)
	_, _ = rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)}).Read(b)
	return b
}

func child(dir string) error {
	s, err := Open(dir)
	if err != nil {
		return err
	}
	errs := make(chan error)
	for i := range 8 {
		go func() {
			for {
				n := rand.Uint64() >> 1
				b := body(n)
				key := fmt.Sprintf("v%d/o%d/%d", i%2, n%3, n)
				err := s.Put(context.Background(), key, int64(len(b)), sha256.Sum256(b), bytes.NewReader(b))
				if err != nil {
					errs <- err
					return
				}
				_, _ = os.Stdout.WriteString(key + "\n")
			}
		}()
	}
	return <-errs
}

// TestKill kills a child with SIGKILL while it puts blobs: all that is to be seen afterwards is whole, and all that it
// said to be stored is there.
func TestKill(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Skip("no name of this program")
	}
	dir := t.TempDir()
	told := make(map[string]bool)
	leftovers := 0
	for round := range 6 {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		var kill sync.Once
		for {
			line, err := lines.ReadString('\n')
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			told[strings.TrimSuffix(line, "\n")] = true
			kill.Do(func() {
				time.AfterFunc(time.Duration(rand.IntN(200))*time.Millisecond, func() { _ = cmd.Process.Kill() })
			})
		}
		_ = cmd.Wait()
		half, err := os.ReadDir(filepath.Join(dir, newName))
		if err != nil {
			t.Fatal(err)
		}
		leftovers += len(half)
		s := on(t, dir)
		present := make(map[string]bool)
		for info, err := range s.List(t.Context()) {
			if err != nil {
				t.Fatalf("List: %v", err)
			}
			n, err := strconv.ParseUint(info.Key[strings.LastIndexByte(info.Key, '/')+1:], 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			r, _, err := s.Get(t.Context(), info.Key)
			if err != nil {
				t.Fatalf("Get: %v", err)
			}
			got, err := io.ReadAll(r)
			_ = r.Close()
			if err != nil || !bytes.Equal(got, body(n)) {
				t.Fatalf("a part of a blob is to be seen: %d of %d bytes, %v", len(got), n%400_000, err)
			}
			present[info.Key] = true
		}
		for key := range told {
			if !present[key] {
				t.Fatal("a blob that was said to be stored is not there")
			}
		}
		if half, err = os.ReadDir(filepath.Join(dir, newName)); err != nil || len(half) > 0 {
			t.Fatalf("%d leftovers, %v", len(half), err)
		}
		t.Logf("round %d: %d present, %d told", round, len(present), len(told))
	}
	if leftovers == 0 {
		t.Error("no child was killed in the middle of a Put")
	}
}
