package pebble

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/storetest"
)

// on opens a store that must open.
func on(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// putting returns the write that accepts a document.
func putting(v coffer.VaultID, d *coffer.Document) store.Write {
	return store.Write{Vault: v, By: "did:example:writer", Time: time.UnixMilli(1e12), Document: d}
}

func newDocument(body string, tags ...coffer.Tag) *coffer.Document {
	return &coffer.Document{ID: coffer.NewObjectID(), Body: []byte(body), Tags: tags}
}

func successor(d *coffer.Document, body string, tags ...coffer.Tag) *coffer.Document {
	return &coffer.Document{
		ID: d.ID, Sequence: d.Sequence + 1, Parents: []coffer.Rev{d.Rev()}, Body: []byte(body), Tags: tags,
	}
}

func apply(t testing.TB, s *Store, writes ...store.Write) {
	t.Helper()
	if _, err := s.Apply(t.Context(), writes...); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

// checkClean fails the test for everything that Check reports.
func checkClean(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Check(t.Context(), func(what string) { t.Errorf("Check: %s", what) }, nil); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestStore(t *testing.T) {
	for name, o := range map[string]Options{
		"default": {},
		"small":   {Memory: 1},
		"tree":    {Separate: -1, NoSync: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) func() store.Store {
				o := o
				dir := t.TempDir()
				if name != "small" { // where most happens on the disk, it is a real one
					dir, o.FS = "store", vfs.NewMem()
				}
				return func() store.Store { return on(t, dir, o) }
			})
		})
	}
}

func TestFormat(t *testing.T) {
	fs := vfs.NewMem()
	write := func(value []byte) {
		t.Helper()
		db, err := engine.Open("store", engineOptions("store", Options{FS: fs}, newHealth(nil), new(scheduler)))
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if value == nil {
			err = errors.Join(db.Delete(formatKey, nil), db.Set([]byte("another"), nil, nil))
		} else {
			err = db.Set(formatKey, value, nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, on(t, "store", Options{FS: fs}))
	for _, c := range []struct {
		value []byte
		kind  coffer.Kind
		text  string
	}{
		{appendNumber(nil, format+1), coffer.Invalid, "written by a later version"},
		{appendNumber(nil, 1<<40), coffer.Invalid, "written by a later version"},
		{[]byte{}, coffer.Corrupt, "is damaged"},
		{[]byte{0}, coffer.Corrupt, "is damaged"},
		{[]byte{1, 1}, coffer.Corrupt, "is damaged"},
		{nil, coffer.Corrupt, "is not a store"},
	} {
		write(c.value)
		if _, err := Open("store", Options{FS: fs}); !errors.Is(err, c.kind) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("format %x: %v, want %v, %q", c.value, err, c.kind, c.text)
		}
	}
	write(appendNumber(nil, format))
	closeStore(t, on(t, "store", Options{FS: fs}))
}

func TestOpenTwice(t *testing.T) {
	dir := t.TempDir()
	s := on(t, dir, Options{})
	if _, err := Open(dir, Options{}); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("Open of an open store: %v, want Unavailable", err)
	}
	closeStore(t, s)
	closeStore(t, on(t, dir, Options{}))
}

// TestNewerEngine opens a folder that a later version of the engine has written.
func TestNewerEngine(t *testing.T) {
	dir := t.TempDir()
	closeStore(t, on(t, dir, Options{}))
	markers, err := filepath.Glob(filepath.Join(dir, "marker.format-version.*"))
	if err != nil || len(markers) == 0 {
		t.Fatalf("no markers: %v", err)
	}
	for _, m := range markers {
		if err := os.Remove(m); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "marker.format-version.000099.900"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(dir, Options{}); !errors.Is(err, coffer.Invalid) || strings.Contains(err.Error(), dir) {
		t.Errorf("Open: %v, want Invalid that does not name the folder", err)
	}
}

// TestSilence checks that the engine writes nothing to the process's standard error.
func TestSilence(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = stderr }()
	s := on(t, t.TempDir(), Options{})
	for range 3 {
		apply(t, s, putting(coffer.VaultID{1}, newDocument(strings.Repeat("x", 1<<20))))
		if err := s.db.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	closeStore(t, s)
	_ = w.Close()
	b := make([]byte, 1024)
	if n, _ := r.Read(b); n > 0 {
		t.Errorf("the engine wrote %q", b[:n])
	}
}

// TestLateParent replaces a document that was replaced after the caller had read what is present, so that what the
// caller prepared is of no use.
func TestLateParent(t *testing.T) {
	s := on(t, "store", Options{FS: vfs.NewMem()})
	defer closeStore(t, s)
	v := coffer.VaultID{1}
	tag := func(name string) coffer.Tag { return coffer.Tag{Key: "k", Name: name, Value: "v", Unique: true} }
	first := newDocument("first", tag("one"))
	second := successor(first, "second", tag("two"))
	third := successor(second, "third", tag("one"), tag("three"))
	apply(t, s, putting(v, first))
	late := &call{steps: make([]step, 1), done: make(chan struct{})}
	w := putting(v, third)
	if err := s.prepare(&late.steps[0], &w); err != nil { // sees the first
		t.Fatal(err)
	}
	apply(t, s, putting(v, second))
	s.queue <- late
	<-late.done
	if late.err != nil {
		t.Fatalf("Apply: %v", late.err)
	}
	apply(t, s, putting(v, newDocument("the tag of the second is free", tag("two"))))
	checkClean(t, s)
}

// TestCompacts writes much, twice, and waits until the engine has tidied up: nothing may hold compactions for ever.
func TestCompacts(t *testing.T) {
	fs := vfs.NewMem()
	for range 2 {
		s := on(t, "store", Options{FS: fs, Memory: 2 << 20})
		for range 16 { // a few more than the engine writes out before it compacts
			var writes []store.Write
			for i := range 100 {
				tag := coffer.Tag{Key: "k", Name: "n", Value: strings.Repeat("v", i)}
				writes = append(writes, putting(coffer.VaultID{1}, newDocument(strings.Repeat("body", 400), tag)))
			}
			apply(t, s, writes...)
		}
		for start := time.Now(); ; time.Sleep(time.Millisecond) {
			m := s.db.Metrics()
			if m.Compact.Count > 0 && m.Compact.NumInProgress == 0 && m.Levels[0].Sublevels < 4 && m.MemTable.Count == 1 {
				break
			}
			if time.Since(start) > time.Minute {
				t.Fatalf("%d compactions, %d levels at the top", m.Compact.Count, m.Levels[0].Sublevels)
			}
		}
		checkClean(t, s)
		closeStore(t, s)
	}
}
