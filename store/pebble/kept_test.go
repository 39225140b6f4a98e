package pebble

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	engine "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// replaced writes an object with so many kept revisions, one replaced in each millisecond from the given one on, and
// returns its revisions.
func replaced(t testing.TB, s *Store, v coffer.VaultID, revisions int, from int64) []*coffer.Document {
	t.Helper()
	all := []*coffer.Document{newDocument("first")}
	apply(t, s, putting(v, all[0]))
	for i := range revisions {
		next := successor(all[i], strings.Repeat(fmt.Sprint(i), 1+i%400))
		apply(t, s, store.Write{Vault: v, Document: next, Keep: true, Time: time.UnixMilli(from + int64(i))})
		all = append(all, next)
	}
	return all
}

// queued counts the places in the queue.
func queued(t testing.TB, s *Store) (n int) {
	for k := range dump(t, s) {
		if k[0] == dueKeys {
			n++
		}
	}
	return n
}

// TestCompactKept drops kept revisions of several objects, in more than one commit, up to an instant.
func TestCompactKept(t *testing.T) {
	s := on(t, "store", Options{FS: vfs.NewMem()})
	defer closeStore(t, s)
	v := coffer.VaultID{1}
	const each = 2*maxForget/3 + 5
	var objects [][]*coffer.Document
	for i := range 3 {
		objects = append(objects, replaced(t, s, v, each, 1000+int64(i)))
	}
	checkClean(t, s)
	compact := func(before time.Time, want int64) {
		t.Helper()
		if n, err := s.Compact(t.Context(), before); err != nil || n != want {
			t.Fatalf("Compact: %d, %v, want %d", n, err, want)
		}
		checkClean(t, s)
	}
	compact(time.Time{}, 0)
	compact(time.UnixMilli(1000), 0)
	compact(time.UnixMilli(1000).Add(time.Nanosecond), 1) // what was replaced in that very millisecond
	compact(time.UnixMilli(1001), 0)
	compact(time.UnixMilli(1000+each), 3*each-1-3) // of the second the last, of the third the last two are left
	for i, all := range objects {
		for _, d := range all {
			got, err := s.Revision(t.Context(), v, d.ID, d.Sequence)
			if there := int(d.Sequence) > each-1-i; !there && !errors.Is(err, coffer.NotExist) ||
				there && (err != nil || got.Rev() != d.Rev()) {
				t.Errorf("Revision %d of %d: %v, %v", d.Sequence, i, got, err)
			}
		}
	}
	compact(time.Date(20000, 1, 1, 0, 0, 0, 0, time.UTC), 3)
	if n := queued(t, s); n > 0 {
		t.Errorf("%d places in the queue", n)
	}
}

// TestKeptEnd erases and purges what has kept revisions, and lets the queue run dry afterwards.
func TestKeptEnd(t *testing.T) {
	s := on(t, "store", Options{FS: vfs.NewMem()})
	defer closeStore(t, s)
	v := coffer.VaultID{1}
	erased := replaced(t, s, v, 5, 1000)
	stays := replaced(t, s, v, 5, 1000)
	gone := replaced(t, s, coffer.VaultID{2}, 5, 1000)
	apply(t, s, store.Write{Vault: v, Time: time.UnixMilli(9000), Erase: &erased[0].ID})
	if n := queued(t, s); n != 10 {
		t.Errorf("%d places in the queue after an erasure, want 10", n)
	}
	apply(t, s, store.Write{Vault: coffer.VaultID{2}, Time: time.UnixMilli(9000), Purge: true})
	checkClean(t, s)
	// The same ids again, in the vault that was purged, with the same places in the queue but of another size.
	again := &coffer.Document{ID: gone[0].ID, Body: []byte("again, and longer")}
	apply(t, s, putting(coffer.VaultID{2}, again))
	apply(t, s, store.Write{
		Vault: coffer.VaultID{2}, Document: successor(again, "x"), Keep: true, Time: time.UnixMilli(1000),
	})
	checkClean(t, s)
	if n, err := s.Compact(t.Context(), time.UnixMilli(8000)); err != nil || n != 6 {
		t.Errorf("Compact: %d, %v, want 6", n, err)
	}
	if n := queued(t, s); n != 0 {
		t.Errorf("%d places in the queue", n)
	}
	checkClean(t, s)
	if _, err := s.Revision(t.Context(), v, stays[0].ID, 5); err != nil {
		t.Errorf("Revision: %v", err)
	}
	if u, err := s.Usage(t.Context(), coffer.VaultID{2}); err != nil || u.Bytes != 1 {
		t.Errorf("Usage: %+v, %v", u, err)
	}
}

// TestKeepLate keeps a revision that came after the caller had read what is present.
func TestKeepLate(t *testing.T) {
	s := on(t, "store", Options{FS: vfs.NewMem()})
	defer closeStore(t, s)
	v := coffer.VaultID{1}
	first := newDocument("first")
	second := successor(first, "second")
	apply(t, s, putting(v, first))
	late := &call{steps: make([]step, 1), done: make(chan struct{})}
	w := putting(v, successor(second, "third"))
	w.Keep = true
	if err := s.prepare(&late.steps[0], &w); err != nil { // sees the first
		t.Fatal(err)
	}
	apply(t, s, putting(v, second))
	if err := s.commit(t.Context(), "test", late); err != nil {
		t.Fatal(err)
	}
	if got, err := s.Revision(t.Context(), v, first.ID, 1); err != nil || got.Rev() != second.Rev() {
		t.Errorf("Revision: %v, %v", got, err)
	}
	if _, err := s.Revision(t.Context(), v, first.ID, 0); !errors.Is(err, coffer.NotExist) {
		t.Errorf("Revision: %v, want NotExist", err)
	}
	checkClean(t, s)
}

// TestCheckFindsKeptDamage plants damage in what is kept.
func TestCheckFindsKeptDamage(t *testing.T) {
	s := on(t, "store", Options{FS: vfs.NewMem()})
	defer closeStore(t, s)
	v := coffer.VaultID{1}
	all := replaced(t, s, v, 2, 1000)
	id := all[0].ID
	erased := newDocument("erased")
	apply(t, s, putting(v, erased))
	apply(t, s, store.Write{Vault: v, Time: time.UnixMilli(1), Erase: &erased.ID})
	want := dump(t, s)
	kept, place := appendKept(nil, v, id, 1, 1001), appendDue(nil, v, id, 1, 1001)
	record := []byte(want[string(kept)])
	flipped := func(b []byte, at int) []byte {
		b = bytes.Clone(b)
		b[(at+len(b))%len(b)] ^= 1
		return b
	}
	for what, c := range map[string]struct {
		key, value []byte
		want       string
	}{
		"gone": {kept, nil, "an object has more or fewer kept revisions"},
		"form": {kept, flipped(record, 0), "a kept revision does not decode"},
		"body": {kept, flipped(record, -1), "a kept revision does not hash to its name"},
		"name": {kept, flipped(record, 3), "a kept revision does not hash to its name"},
		"another's": {kept, []byte(want[string(appendKept(nil, v, id, 0, 1000))]),
			"a kept revision does not hash to its name"},
		"too many":          {appendKept(nil, v, id, 1, 1002), record, "an object has more or fewer kept revisions"},
		"the present one":   {appendKept(nil, v, id, 2, 1002), record, "a kept revision was never replaced"},
		"of nothing":        {appendKept(nil, v, coffer.ObjectID{9}, 1, 1001), record, "a revision is kept of nothing"},
		"of what is erased": {appendKept(nil, v, erased.ID, 1, 1001), record, "a revision is kept of nothing"},
		"not in the queue":  {place, nil, "a kept revision is not in the queue"},
		"queue, size":       {place, encodeDue(nil, 99), "a kept revision is not in the queue"},
		"queue, form":       {place, []byte{9, 1}, "a place in the queue of kept revisions does not decode"},
		"queue, key":        {append(bytes.Clone(place), 1), []byte{1, 1}, "a key is of no known form"},
		"head": {appendObject(nil, v, headTable, id), (&head{present: true, sequence: 2, number: 3, rev: all[2].Rev(),
			size: store.Size(all[2])}).append(nil), "an object has more or fewer kept revisions"},
		"head, size": {appendObject(nil, v, headTable, id),
			flipped([]byte(want[string(appendObject(nil, v, headTable, id))]), -1),
			"an object has more or fewer kept revisions"},
		"head of none": {appendObject(nil, v, headTable, erased.ID), nil, "a change is of an object that has no head"},
		"old head": {appendObject(nil, v, headTable, erased.ID), (&head{number: 1}).append(nil),
			"a head is not of the last change of its object"},
	} {
		t.Run(what, func(t *testing.T) {
			var err error
			if c.value == nil {
				err = s.db.Delete(c.key, engine.Sync)
			} else {
				err = s.db.Set(c.key, c.value, engine.Sync)
			}
			if err != nil {
				t.Fatal(err)
			}
			said := checked(t, s)
			if !slices.ContainsFunc(said, func(what string) bool { return strings.Contains(what, c.want) }) {
				t.Errorf("Check said %q, want %q", said, c.want)
			}
			restore(t, s, want)
		})
	}
	checkClean(t, s)
}

// TestSpaceBack replaces and erases most of a store: Compact must give the space back.
func TestSpaceBack(t *testing.T) {
	s := on(t, t.TempDir(), Options{Memory: 2 << 20})
	defer closeStore(t, s)
	v := coffer.VaultID{1}
	body := make([]byte, 20_000) // few and large ones: it is bytes that count here
	const n = 1000
	commit := func(write func(i int) store.Write) {
		t.Helper()
		for i := 0; i < n; {
			writes := make([]store.Write, 0, 10)
			for range cap(writes) {
				if w := write(i); w.Document != nil || w.Erase != nil {
					w.Vault, w.Time = v, time.UnixMilli(1000)
					writes = append(writes, w)
				}
				i++
			}
			apply(t, s, writes...)
		}
	}
	// disk waits until the store takes at most so many bytes: the engine removes files when it gets to it.
	disk := func(what string, most int64) int64 {
		t.Helper()
		if _, err := s.Compact(t.Context(), time.UnixMilli(2000)); err != nil {
			t.Fatal(err)
		}
		for start := time.Now(); ; time.Sleep(10 * time.Millisecond) {
			stats, err := s.Stats(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			late := time.Since(start) > time.Minute
			if stats.Disk <= most || late {
				t.Logf("%s: %d kB on the disk, of %d kB", what, stats.Disk>>10, stats.Bytes>>10)
				if late {
					t.Errorf("%d bytes are left, want at most %d", stats.Disk, most)
				}
				return stats.Disk
			}
		}
	}
	all := make([]*coffer.Document, n)
	commit(func(i int) store.Write {
		all[i] = &coffer.Document{ID: coffer.NewObjectID(), Body: body}
		return store.Write{Document: all[i]}
	})
	full := disk("full", 1<<40)
	commit(func(i int) store.Write {
		if i%10 < 4 { // the last revision is kept, and dropped by the Compact that follows
			return store.Write{Document: successor(all[i], "x"), Keep: i%2 == 0}
		}
		return store.Write{}
	})
	disk("two fifths replaced", full*17/20) // the engine leaves up to a fifth dead where it lies
	commit(func(i int) store.Write {
		if i%10 >= 5 {
			return store.Write{Erase: &all[i].ID}
		}
		return store.Write{}
	})
	disk("half of it erased", full/3)
	apply(t, s, store.Write{Vault: v, Time: time.UnixMilli(1000), Purge: true})
	disk("purged", full/5)
	checkClean(t, s)
}
