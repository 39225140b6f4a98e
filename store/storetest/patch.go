package storetest

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A streamed is an object with a stream, as a script goes through its revisions.
type streamed struct {
	*bench
	d *coffer.Document
}

// stream inserts an object and closes a first set of one byte chunks, each called "<set>-<index>".
func (b *bench) stream(chunks uint64) *streamed {
	b.Helper()
	s := &streamed{b, document("opened")}
	s.d.Stream = &coffer.Stream{Pending: true}
	b.must(b.put(s.d))
	for i := range chunks {
		s.attach(i)
	}
	s.follow(coffer.Stream{Chunks: chunks})
	return s
}

// attach writes a chunk of the set of the present sequence.
func (s *streamed) attach(index uint64) store.Chunk {
	s.Helper()
	set := s.d.Sequence
	c := store.Chunk{ID: s.d.ID, Blob: fmt.Sprintf("%d-%d", set, index),
		Ref: coffer.ChunkRef{Sequence: set, Index: index, Size: 1, Sum: [32]byte{byte(set), byte(index)}}}
	s.must(s.attachment(c))
	return c
}

// next returns the revision that follows, with a stream.
func (s *streamed) next(stream coffer.Stream) *coffer.Document {
	n := successor(s.d, "n")
	n.Stream = &stream
	return n
}

// follow replaces the present revision and checks which blobs are released.
func (s *streamed) follow(stream coffer.Stream, released ...string) {
	s.Helper()
	s.write(s.put(s.next(stream)), released...)
}

func (s *streamed) write(w store.Write, released ...string) {
	s.Helper()
	got := s.must(w)[0].Released
	slices.Sort(got)
	if !slices.Equal(got, released) {
		s.Fatalf("released %q, want %q", got, released)
	}
	s.d = w.Document
	s.clean()
}

// blobs returns the blobs of all chunks that are recorded, in the order of their indexes, after checking that all are
// of one set.
func (s *streamed) blobs(set uint64) (blobs []string) {
	s.Helper()
	var all []store.Chunk
	if err := s.Check(s.ctx, func(s string) {}, func(c store.Chunk) { all = append(all, c) }); err != nil {
		s.Fatal(err)
	}
	slices.SortFunc(all, func(a, b store.Chunk) int { return cmp.Compare(a.Ref.Index, b.Ref.Index) })
	for _, c := range all {
		if got, err := s.Chunk(s.ctx, s.vault, c.ID, set, c.Ref.Index); err != nil || got != c {
			s.Fatalf("Chunk: %+v, %v, want %+v", got, err, c)
		}
		blobs = append(blobs, c.Blob)
	}
	return blobs
}

func (s *streamed) holds(set uint64, want ...string) {
	s.Helper()
	if got := s.blobs(set); !slices.Equal(got, want) {
		s.Fatalf("the set is %q, want %q", got, want)
	}
	size := int64(len(want) + len(s.d.Body))
	if u := s.usage(); u.Bytes != size || u.Documents != 1 {
		s.Fatalf("usage %+v, want %d bytes", u, size)
	}
}

func patches(b *bench) {
	s := b.stream(3)
	s.holds(0, "0-0", "0-1", "0-2")
	// One chunk of three changes. Until it is accepted, the old set is as it was.
	changed := s.attach(1)
	if c, err := b.Chunk(b.ctx, b.vault, s.d.ID, 0, 1); err != nil || c.Blob != "0-1" {
		b.Fatalf("Chunk: %+v, %v", c, err)
	}
	s.follow(coffer.Stream{Chunks: 3, Patch: 1}, "0-1")
	s.holds(0, "0-0", "1-1", "0-2")
	moved := changed
	moved.Ref.Sequence = 0
	if c, err := b.Chunk(b.ctx, b.vault, s.d.ID, 0, 1); err != nil || c != moved {
		b.Fatalf("Chunk: %+v, %v, want %+v", c, err, moved)
	}
	b.has(s.d)
	b.reopen()
	b.has(s.d)

	// Reindexing does not patch again, and is of the same stream.
	reindex := func(stream coffer.Stream) store.Write {
		w := b.put(s.next(stream))
		w.Document.Sequence--
		w.Reindex = true
		return w
	}
	b.refused(coffer.Conflict, reindex(coffer.Stream{Chunks: 2, Patch: 1}))
	b.refused(coffer.Conflict, reindex(coffer.Stream{Chunks: 3, Patch: 2}))
	s.write(reindex(coffer.Stream{Chunks: 3, Patch: 1}))
	s.holds(0, "0-0", "1-1", "0-2")

	// Growing, shrinking, and both sets dropping what is behind the end.
	s.attach(2)
	s.attach(3)
	s.follow(coffer.Stream{Chunks: 4, Patch: 2}, "0-2")
	s.holds(0, "0-0", "1-1", "2-2", "2-3")
	s.attach(0)
	s.attach(1)
	s.attach(9)
	s.follow(coffer.Stream{Chunks: 1, Patch: 3}, "0-0", "1-1", "2-2", "2-3", "3-1", "3-9")
	s.holds(0, "3-0")

	// Keeping the set without a patch, and with an empty one.
	s.follow(coffer.Stream{Chunks: 1})
	s.follow(coffer.Stream{Chunks: 1, Patch: 5})
	s.attach(0)
	s.follow(coffer.Stream{Chunks: 1}, "6-0") // what was written to patch it is not wanted
	s.holds(0, "3-0")

	// What cannot be.
	s.attach(2)
	n := s.d.Sequence
	for _, bad := range []coffer.Stream{
		{Chunks: 3, Patch: n},              // 1 is lacking
		{Chunks: 4, Patch: n},              // the end is lacking
		{Chunks: 1, Patch: n - 1},          // an older set
		{Chunks: 1, Patch: n + 1},          // a set to come
		{Sequence: 1, Chunks: 1, Patch: n}, // of a set that is not named
	} {
		b.refused(coffer.Conflict, b.put(s.next(bad)))
	}
	for _, bad := range []coffer.Stream{
		{Chunks: 1, Patch: n + 2}, {Sequence: n, Chunks: 1, Patch: n}, {Pending: true, Patch: n},
	} {
		b.refused(coffer.Invalid, b.put(s.next(bad)))
	}
	orphan := document("inserted")
	orphan.Sequence, orphan.Stream = 3, &coffer.Stream{Sequence: 1, Patch: 2}
	b.refused(coffer.Conflict, b.put(orphan))
	b.hasNot(orphan.ID)
	b.refused(coffer.Conflict, b.put(s.next(coffer.Stream{Chunks: 3, Patch: n})), b.put(document("beside")))
	limited := b.put(s.next(coffer.Stream{Chunks: 1, Patch: n}))
	limited.Document.Body, limited.Limit = []byte("nnnn"), store.Usage{Bytes: 4}
	b.refused(coffer.Exhausted, limited)
	for _, at := range []coffer.ChunkRef{{Index: 0}, {Sequence: n, Index: 2}} { // as they were
		if _, err := b.Chunk(b.ctx, b.vault, s.d.ID, at.Sequence, at.Index); err != nil {
			b.Fatalf("Chunk: %v", err)
		}
	}

	// A whole set takes the place of a patched one, and what is open cannot be patched.
	s.attach(0)
	s.follow(coffer.Stream{Sequence: 7, Chunks: 1}, "3-0")
	s.follow(coffer.Stream{Sequence: 8, Pending: true}, "7-0", "7-2")
	s.attach(0)
	b.refused(coffer.Conflict, b.put(s.next(coffer.Stream{Sequence: 8, Chunks: 1, Patch: 9})))
	s.follow(coffer.Stream{Sequence: 9, Chunks: 1})
	s.attach(0)
	s.follow(coffer.Stream{Sequence: 9, Chunks: 0, Patch: 10}, "10-0", "9-0")
	s.holds(9)

	// Erasing and purging find chunks in their new places.
	s.attach(0)
	s.follow(coffer.Stream{Sequence: 9, Chunks: 1, Patch: 11})
	if r := b.must(b.erasure(s.d.ID))[0]; !slices.Equal(r.Released, []string{"11-0"}) {
		b.Fatalf("released %q", r.Released)
	}
	if got := len(b.changes(0)); got != 15 {
		b.Fatalf("%d changes, want one for each revision", got)
	}
}

// present names revisions that must be present.
func present(b *bench) {
	s := b.stream(1)
	d := s.d
	named := func(w store.Write, rev coffer.Rev) store.Write {
		w.Present = rev
		return w
	}
	old, chunk := coffer.Rev{1}, store.Chunk{ID: d.ID, Blob: "x", Ref: coffer.ChunkRef{Sequence: 1, Size: 1}}
	none := coffer.NewObjectID()
	b.refused(coffer.Conflict, named(b.erasure(d.ID), old))
	b.refused(coffer.Conflict, named(b.attachment(chunk), old))
	b.refused(coffer.NotExist, named(b.erasure(none), d.Rev()))
	b.refused(coffer.NotExist, named(b.attachment(store.Chunk{ID: none, Blob: "x"}), d.Rev()))
	b.refused(coffer.NotExist, named(b.detachment(store.Chunk{ID: none}), d.Rev()))
	b.must(named(b.attachment(chunk), d.Rev()))
	b.refused(coffer.Conflict, named(b.detachment(chunk), old))
	b.must(named(b.detachment(chunk), d.Rev()))
	b.refused(coffer.Invalid, named(b.put(document("d")), d.Rev()))
	b.refused(coffer.Invalid, named(b.purging(), d.Rev()))
	b.must(named(b.erasure(d.ID), d.Rev()))
	b.refused(coffer.NotExist, named(b.erasure(d.ID), d.Rev()))
}

// raceForPatch attaches chunks while the revision that takes them in is accepted: each one that was acknowledged is in
// its place then, or released, once.
func raceForPatch(b *bench) {
	s := b.stream(4)
	var mu sync.Mutex
	gone := map[string]bool{}
	attached := s.blobs(0)
	note := func(err error, results []store.Result, blob ...string) {
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			if len(blob) == 0 || !errors.Is(err, coffer.Conflict) {
				b.Errorf("Apply: %v", err)
			}
			return
		}
		attached = append(attached, blob...)
		for _, blob := range results[0].Released {
			if gone[blob] {
				b.Error("a blob is released twice")
			}
			gone[blob] = true
		}
	}
	for round := range 30 {
		next := s.next(coffer.Stream{Chunks: 4, Patch: s.d.Sequence})
		begun := make(chan struct{}, 8)
		together(9, func(i int) {
			if i == 8 {
				for range round % 8 { // so that some are in time
					<-begun
				}
				results, err := b.Apply(b.ctx, b.put(next))
				note(err, results)
				return
			}
			c := store.Chunk{ID: s.d.ID, Blob: fmt.Sprintf("round %d, %d", round, i), Ref: coffer.ChunkRef{
				Sequence: next.Stream.Patch, Index: uint64(i % 4), Size: int64(i)}}
			results, err := b.Apply(b.ctx, b.attachment(c))
			note(err, results, c.Blob)
			begun <- struct{}{}
		})
		s.d = next
		b.has(s.d)
		there := s.blobs(0)
		if len(there) != 4 || len(attached) != len(gone)+4 {
			b.Fatalf("%d chunks are there of %d, %d are gone", len(there), len(attached), len(gone))
		}
		for _, blob := range there {
			if gone[blob] || !slices.Contains(attached, blob) {
				b.Fatal("a chunk is there that was released, or that nobody attached")
			}
		}
	}
	if len(attached) < 4+60 {
		b.Errorf("only %d chunks were attached in time", len(attached))
	}
}
