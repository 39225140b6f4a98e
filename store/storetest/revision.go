package storetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// keeping returns the write that accepts d and keeps what it replaces.
func (b *bench) keeping(d *coffer.Document, at time.Time) store.Write {
	return store.Write{Vault: b.vault, By: who, Time: at, Document: d, Keep: true}
}

// hasRevision checks that d is present or kept.
func (b *bench) hasRevision(d *coffer.Document) {
	b.Helper()
	got, err := b.Revision(b.ctx, b.vault, d.ID, d.Sequence)
	if err != nil {
		b.Fatalf("Revision %d: %v", d.Sequence, err)
	}
	if got.ID != d.ID || got.Rev() != d.Rev() {
		b.Fatalf("Revision %d: got %+v, want %+v", d.Sequence, got, d)
	}
}

// hasNoRevision checks that no revision of the id has the sequence.
func (b *bench) hasNoRevision(id coffer.ObjectID, sequence uint64) {
	b.Helper()
	if d, err := b.Revision(b.ctx, b.vault, id, sequence); !errors.Is(err, coffer.NotExist) || d != nil {
		b.Fatalf("Revision %d: %v, %v, want NotExist", sequence, d, err)
	}
}

// compacts drops kept revisions and checks how many they were.
func (b *bench) compacts(before time.Time, want int64) {
	b.Helper()
	if n, err := b.Compact(b.ctx, before); err != nil || n != want {
		b.Fatalf("Compact: %d, %v, want %d", n, err, want)
	}
}

// later is after everything that a script does.
var later = instant.Add(24 * time.Hour)

func revisions(b *bench) {
	b.hasNoRevision(coffer.NewObjectID(), 0)
	first := document("12345", tag("a", "1"), uniqueTag("u", "1"))
	b.must(b.keeping(first, instant)) // replaces nothing
	b.hasRevision(first)
	b.hasNoRevision(first.ID, 1)
	second := successor(first, "123", tag("b", "2"))
	second.Stream = &coffer.Stream{Sequence: 1, Chunks: 7}
	b.must(b.keeping(second, instant))
	b.hasRevision(first)
	b.hasRevision(second)
	b.hasNoRevision(first.ID, 2)
	b.hasNoRevision(first.ID, 1<<63)
	want := store.Usage{Documents: 1, Bytes: size(first) + size(second), Changes: 2}
	if u := b.usage(); u != want {
		b.Fatalf("usage %+v, want %+v", u, want)
	}

	// What is kept is found by its sequence alone, and holds no tag.
	b.finds(coffer.Query{}, second)
	b.finds(coffer.Query{Index: "k", Has: []string{"a"}})
	b.finds(coffer.Query{Index: "k", Has: []string{"u"}})
	b.has(second)
	free := document("the tag is free", uniqueTag("u", "1"))
	b.must(b.put(free))

	// The next one says anew whether what it replaces is kept.
	third := successor(second, "third")
	b.must(b.put(third))
	b.hasRevision(first)
	b.hasNoRevision(first.ID, 1)
	b.hasRevision(third)
	fourth := successor(third, "fourth")
	b.must(b.keeping(fourth, instant))
	b.reopen()
	b.hasRevision(first)
	b.hasNoRevision(first.ID, 1)
	b.hasRevision(third)
	b.hasRevision(fourth)

	// What is merely reindexed is not kept; with a sequence of its own it is.
	before := b.usage()
	reindexed := successor(fourth, "fourth", tag("r", "1"))
	reindexed.Sequence--
	w := b.keeping(reindexed, instant)
	w.Reindex = true
	b.must(w)
	b.hasRevision(reindexed)
	b.hasRevision(third)
	if u := b.usage(); u.Bytes != before.Bytes+3 {
		b.Fatalf("%d bytes, want %d", u.Bytes, before.Bytes+3)
	}
	fifth := successor(reindexed, "fifth")
	w = b.keeping(fifth, instant)
	w.Reindex = true
	b.must(w)
	b.hasRevision(reindexed)
	b.hasRevision(fifth)

	// What is refused keeps nothing.
	before = b.usage()
	sixth := successor(fifth, "6")
	b.refused(coffer.Conflict, b.keeping(sixth, instant), b.put(free))
	w = b.keeping(sixth, instant)
	w.Limit = store.Usage{Bytes: before.Bytes}
	b.refused(coffer.Exhausted, w)
	w.Limit.Bytes++
	b.must(w)
	b.hasRevision(fifth)
	if u := b.usage(); u.Bytes != before.Bytes+1 {
		b.Fatalf("%d bytes, want %d", u.Bytes, before.Bytes+1)
	}
	erasing := b.erasure(first.ID)
	erasing.Keep = true
	b.refused(coffer.Invalid, erasing)

	// Sequences need not begin with 0.
	high := document("high")
	high.Sequence = 1 << 40
	b.must(b.put(high))
	higher := successor(high, "higher")
	b.must(b.keeping(higher, instant))
	b.hasRevision(high)
	b.hasRevision(higher)
	b.hasNoRevision(high.ID, 0)
	if kept, err := b.Revision(b.ctx, b.vault, high.ID, high.Sequence); err != nil || string(kept.Body) != "high" {
		b.Fatalf("Revision: %v, %v", kept, err)
	}

	// An erasure removes all of its own.
	b.must(b.erasure(first.ID))
	for i := range uint64(8) {
		b.hasNoRevision(first.ID, i)
	}
	b.hasRevision(high)
	if u := b.usage(); u.Documents != 2 || u.Bytes != size(high)+size(higher)+size(free) {
		b.Fatalf("usage %+v", u)
	}
	b.compacts(later, 1)
	b.hasNoRevision(high.ID, high.Sequence)
	b.hasRevision(higher)

	// So does a purge, and nothing of it comes back with the id.
	b.must(b.keeping(successor(higher, "highest"), instant))
	b.must(b.purging())
	b.hasNoRevision(high.ID, high.Sequence+1)
	b.must(b.put(high))
	b.hasRevision(high)
	b.hasNoRevision(high.ID, high.Sequence+1)
	b.must(b.put(successor(high, "and without what it replaces")))
	b.hasNoRevision(high.ID, high.Sequence)
	b.compacts(later, 0)
}

// keptStreams checks that chunks are released as ever, whether the revision that named them is kept or not.
func keptStreams(b *bench) {
	s := b.stream(2)
	keep := func(stream coffer.Stream, released ...string) {
		b.Helper()
		w := s.put(s.next(stream))
		w.Keep = true
		s.write(w, released...)
	}
	opened, closed := uint64(0), s.d
	s.hasNoRevision(s.d.ID, opened)
	changed := s.attach(1)
	keep(coffer.Stream{Chunks: 2, Patch: 1}, "0-1")
	b.hasRevision(closed)
	if got, err := b.Chunk(b.ctx, b.vault, s.d.ID, 0, 1); err != nil || got.Blob != changed.Blob {
		b.Fatalf("Chunk: %+v, %v", got, err)
	}
	s.attach(0)
	keep(coffer.Stream{Sequence: 2, Chunks: 1}, "0-0", "1-1")
	if u := b.usage(); u.Bytes != 1+2*int64(len("n"))+int64(len("n")) {
		b.Fatalf("usage %+v", u)
	}
	b.must(b.erasure(s.d.ID))
	if u := b.usage(); u.Bytes != 0 {
		b.Fatalf("usage %+v", u)
	}
}

func compaction(b *bench) {
	at := store.Instant(instant)
	second := func(n int) time.Time { return at.Add(time.Duration(n) * time.Second) }
	b.compacts(later, 0)

	// Each revision counts from when it was replaced, whatever the order of times.
	d := document("0")
	all := []*coffer.Document{d}
	b.must(b.put(d))
	for i, when := range []int{30, 10, 20, 50, 40} { // when revision i is replaced
		d = successor(d, fmt.Sprint(i+1))
		all = append(all, d)
		b.must(b.keeping(d, second(when)))
	}
	holds := func(kept ...int) {
		b.Helper()
		there := make(map[int]bool)
		for _, i := range kept {
			there[i] = true
		}
		for i, d := range all {
			if there[i] {
				b.hasRevision(d)
			} else {
				b.hasNoRevision(d.ID, uint64(i))
			}
		}
		if u := b.usage(); u.Bytes != int64(len(kept)) || u.Documents != 1 || u.Changes != 6 {
			b.Fatalf("usage %+v, want %d bytes", u, len(kept))
		}
		b.clean()
	}
	holds(0, 1, 2, 3, 4, 5)
	b.compacts(second(10), 0) // not one that was replaced just then
	b.compacts(second(10).Add(time.Millisecond), 1)
	holds(0, 2, 3, 4, 5)
	b.compacts(second(10).Add(time.Millisecond), 0)
	b.compacts(second(31), 2)
	holds(3, 4, 5)
	b.reopen()
	holds(3, 4, 5)
	b.compacts(later, 2)
	holds(5)
	if got := b.changes(0); len(got) != 6 {
		b.Fatalf("%d changes: dropping is not in the feed", len(got))
	}
	b.compacts(time.Time{}, 0)
	b.compacts(time.Unix(1<<40, 0), 0)

	// In every vault, and more than one commit should take.
	main, other := b.vault, coffer.NewVaultID()
	beside := document("beside")
	b.vault = other
	b.must(b.put(beside))
	for range 3 {
		beside = successor(beside, "beside")
		b.must(b.keeping(beside, at))
	}
	b.vault = main
	many := rounds(1500)
	var documents []*coffer.Document
	for len(documents) < many {
		var writes []store.Write
		for range min(500, many-len(documents)) {
			d := document("many")
			documents = append(documents, d)
			writes = append(writes, b.put(d))
		}
		b.must(writes...)
	}
	for from := 0; from < many; from += 500 {
		var writes []store.Write
		for i := from; i < min(from+500, many); i++ {
			documents[i] = successor(documents[i], "many")
			writes = append(writes, b.keeping(documents[i], at))
		}
		b.must(writes...)
	}
	gone, stays := documents[0], documents[many-1]
	b.must(b.erasure(gone.ID))
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if n, err := b.Compact(ctx, later); !errors.Is(err, context.Canceled) || n != 0 {
		b.Fatalf("Compact: %d, %v, want %v", n, err, context.Canceled)
	}
	b.compacts(later, int64(many-1+3))
	b.hasNoRevision(stays.ID, 0)
	b.hasRevision(stays)
	if u := b.usage(); u.Bytes != 1+int64(4*(many-1)) {
		b.Fatalf("usage %+v", u)
	}
	b.vault = other
	b.has(beside)
	if u := b.usage(); u.Bytes != int64(len("beside")) {
		b.Fatalf("usage %+v", u)
	}
}

// raceWithCompaction drops kept revisions while others are made, read and erased.
func raceWithCompaction(b *bench) {
	const n = 12
	each := rounds(60)
	var stop atomic.Bool
	var dropped, kept, erased atomic.Int64
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for !stop.Load() {
			got, err := b.Compact(b.ctx, later)
			dropped.Add(got)
			if err != nil {
				b.Errorf("Compact: %v", err)
				return
			}
			if err := b.Check(b.ctx, func(s string) { b.Errorf("Check under way: %s", s) }, nil); err != nil {
				b.Errorf("Check: %v", err)
				return
			}
		}
	}()
	var last [n]*coffer.Document
	together(n, func(i int) {
		d := document("first")
		if _, err := b.Apply(b.ctx, b.put(d)); err != nil {
			b.Errorf("Apply: %v", err)
			return
		}
		for j := range each {
			next := successor(d, fmt.Sprint(i, j))
			if _, err := b.Apply(b.ctx, b.keeping(next, instant)); err != nil {
				b.Errorf("Apply: %v", err)
				return
			}
			kept.Add(1)
			if got, err := b.Revision(b.ctx, b.vault, d.ID, d.Sequence); err == nil && got.Rev() != d.Rev() ||
				err != nil && !errors.Is(err, coffer.NotExist) {
				b.Errorf("Revision: %v, %v", got, err)
			}
			if got, err := b.Revision(b.ctx, b.vault, d.ID, next.Sequence); err != nil || got.Rev() != next.Rev() {
				b.Errorf("Revision: %v, %v", got, err)
			}
			d = next
		}
		last[i] = d
		if i%3 == 0 { // what is kept of it may be dropped or erased, once
			if _, err := b.Apply(b.ctx, b.erasure(d.ID)); err != nil {
				b.Errorf("Apply: %v", err)
			}
			last[i] = nil
			erased.Add(1)
		}
	})
	stop.Store(true)
	<-ended
	if b.Failed() {
		return
	}
	rest, err := b.Compact(b.ctx, later)
	if err != nil {
		b.Fatalf("Compact: %v", err)
	}
	dropped.Add(rest)
	if got, most := dropped.Load(), kept.Load(); got > most || got < most-erased.Load()*int64(each) {
		b.Errorf("%d dropped of %d", got, most)
	}
	want := store.Usage{Changes: uint64(n*(each+1)) + uint64(erased.Load())}
	for _, d := range last {
		if d != nil {
			want.Documents++
			want.Bytes += size(d)
		}
	}
	if u := b.usage(); u != want {
		b.Errorf("usage %+v, want %+v", u, want)
	}
}
