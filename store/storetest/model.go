package storetest

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A model is what a vault should be, kept in the plainest way: the reference that stores are compared with.
type model struct {
	documents map[coffer.ObjectID]*coffer.Document
	taken     map[coffer.ObjectID]bool
	chunks    map[place]store.Chunk
	kept      map[revision]replaced
	feed      []coffer.Change
	last      uint64
	law       uint64
}

type place struct {
	id         coffer.ObjectID
	set, index uint64
}

type revision struct {
	id       coffer.ObjectID
	sequence uint64
}

// A replaced revision is one that is kept.
type replaced struct {
	*coffer.Document
	at time.Time
}

func newModel() *model {
	return &model{
		documents: make(map[coffer.ObjectID]*coffer.Document),
		taken:     make(map[coffer.ObjectID]bool),
		chunks:    make(map[place]store.Chunk),
		kept:      make(map[revision]replaced),
	}
}

func (m *model) clone() *model {
	return &model{
		maps.Clone(m.documents), maps.Clone(m.taken), maps.Clone(m.chunks), maps.Clone(m.kept), slices.Clone(m.feed),
		m.last, m.law,
	}
}

func size(d *coffer.Document) int64 {
	n := len(d.Body)
	for _, t := range d.Tags {
		n += len(t.Key + t.Name + t.Value)
	}
	return int64(n)
}

func (m *model) usage() store.Usage {
	u := store.Usage{Documents: int64(len(m.documents)), Changes: m.last, Law: m.law}
	for _, d := range m.documents {
		u.Bytes += size(d)
	}
	for _, r := range m.kept {
		u.Bytes += size(r.Document)
	}
	for _, c := range m.chunks {
		u.Bytes += c.Ref.Size
	}
	return u
}

// release forgets the chunks of an object but those of one set, if keep.
func (m *model) release(id coffer.ObjectID, keep bool, set uint64) (blobs []string) {
	for p, c := range m.chunks {
		if p.id == id && !(keep && p.set == set) {
			delete(m.chunks, p)
			blobs = append(blobs, c.Blob)
		}
	}
	return blobs
}

func (m *model) there(id coffer.ObjectID, set, index uint64) bool {
	_, ok := m.chunks[place{id, set, index}]
	return ok
}

// patch puts the chunks of one set in the places of those of another, and reports whether all are there then.
func (m *model) patch(id coffer.ObjectID, s coffer.Stream) (blobs []string, whole bool) {
	for p, c := range maps.Clone(m.chunks) {
		if p.id == id && p.set == s.Patch && p.index < s.Chunks {
			to := place{id, s.Sequence, p.index}
			if old, ok := m.chunks[to]; ok {
				blobs = append(blobs, old.Blob)
			}
			c.Ref.Sequence = s.Sequence
			m.chunks[to] = c
			delete(m.chunks, p)
		}
	}
	for p, c := range m.chunks {
		if p.id == id && p.index >= s.Chunks {
			delete(m.chunks, p)
			blobs = append(blobs, c.Blob)
		}
	}
	for i := range s.Chunks {
		if !m.there(id, s.Sequence, i) {
			return blobs, false
		}
	}
	return blobs, true
}

// apply carries out one write, or says which kind of rule it breaks, in the order: what is present, unique tags,
// limits.
func (m *model) apply(w store.Write) (r store.Result, broken coffer.Kind) {
	var before store.Usage
	if w.Limit != (store.Usage{}) {
		before = m.usage()
	}
	id := w.ID()
	present := m.documents[id]
	if w.Present != (coffer.Rev{}) && present != nil && w.Present != present.Rev() {
		return r, coffer.Conflict
	}
	c := coffer.Change{ID: id, By: w.By, Time: w.Time.UTC().Truncate(time.Millisecond)}
	switch {
	case w.Document != nil:
		d := w.Document
		if len(d.Parents) == 0 && m.taken[id] {
			return r, coffer.Conflict
		}
		if len(d.Parents) > 0 && (present == nil || len(d.Parents) != 1 || d.Parents[0] != present.Rev() ||
			d.Sequence != present.Sequence+1 && !(w.Reindex && d.Sequence == present.Sequence)) {
			return r, coffer.Conflict
		}
		for _, t := range d.Tags {
			for _, other := range m.documents {
				if t.Unique && other.ID != id && slices.Contains(other.Tags, t) {
					return r, coffer.Conflict
				}
			}
		}
		set := d.Sequence
		if d.Stream != nil && !d.Stream.Pending {
			set = d.Stream.Sequence
		}
		switch patched := d.Stream != nil && d.Stream.Patch != 0; {
		case !patched:
		case present == nil || present.Stream == nil:
			return r, coffer.Conflict
		case d.Sequence == present.Sequence:
			if *d.Stream != *present.Stream {
				return r, coffer.Conflict
			}
		case present.Stream.Pending || present.Stream.Sequence != set || d.Stream.Patch != present.Sequence:
			return r, coffer.Conflict
		default:
			var whole bool
			if r.Released, whole = m.patch(id, *d.Stream); !whole {
				return r, coffer.Conflict
			}
		}
		r.Released = append(r.Released, m.release(id, true, set)...)
		if w.Keep && present != nil && d.Sequence != present.Sequence {
			m.kept[revision{id, present.Sequence}] = replaced{present, c.Time}
		}
		m.documents[id], m.taken[id] = d, true
		c.Kind, c.Sequence, c.Rev = coffer.Accepted, d.Sequence, d.Rev()
	case w.Erase != nil:
		if present == nil {
			return r, coffer.NotExist
		}
		r.Released = m.release(id, false, 0)
		delete(m.documents, id)
		maps.DeleteFunc(m.kept, func(at revision, _ replaced) bool { return at.id == id })
		c.Kind, c.Sequence = coffer.Erased, present.Sequence
	case w.Attach != nil:
		if present == nil {
			return r, coffer.NotExist
		}
		if present.Sequence != w.Attach.Ref.Sequence {
			return r, coffer.Conflict
		}
		p := place{id, w.Attach.Ref.Sequence, w.Attach.Ref.Index}
		if old, ok := m.chunks[p]; ok && old.Blob != w.Attach.Blob {
			r.Released = []string{old.Blob}
		}
		m.chunks[p] = *w.Attach
	case w.Detach != nil:
		if w.Present != (coffer.Rev{}) && present == nil {
			return r, coffer.NotExist
		}
		p := place{id, w.Detach.Ref.Sequence, w.Detach.Ref.Index}
		old, ok := m.chunks[p]
		if !ok {
			return r, coffer.NotExist
		}
		delete(m.chunks, p)
		r.Released = []string{old.Blob}
	case w.Govern:
		m.law++
	case w.Purge:
		last, law := m.last, m.law
		*m = *newModel()
		m.last, m.law = last, law+1
		c.Kind = coffer.VaultErased
		r.Purged = true
	}
	if c.Kind != 0 {
		m.last++
		c.Number = m.last
		m.feed = append(m.feed, c)
		r.Change = c
	}
	if w.Limit == (store.Usage{}) {
		return r, coffer.Other
	}
	after := m.usage()
	if w.Limit.Documents > 0 && after.Documents > max(w.Limit.Documents, before.Documents) ||
		w.Limit.Bytes > 0 && after.Bytes > max(w.Limit.Bytes, before.Bytes) {
		return r, coffer.Exhausted
	}
	return r, coffer.Other
}

// all carries out the writes of a commit, or none, and says which kind of rule they break, and whether it is that of
// laws, which comes first.
func (m *model) all(writes []store.Write) (results []store.Result, broken coffer.Kind, moved bool) {
	for _, w := range writes {
		if w.Law != nil && *w.Law != m.law {
			return nil, coffer.Conflict, true
		}
	}
	next := m.clone()
	for _, w := range writes {
		r, broken := next.apply(w)
		if broken != coffer.Other {
			return nil, broken, false
		}
		slices.Sort(r.Released)
		results = append(results, r)
	}
	*m = *next
	return results, coffer.Other, false
}

// revision returns a revision that is present or kept, or nil.
func (m *model) revision(id coffer.ObjectID, sequence uint64) *coffer.Document {
	if d := m.documents[id]; d != nil && d.Sequence == sequence {
		return d
	}
	return m.kept[revision{id, sequence}].Document
}

// compact drops kept revisions and returns how many.
func (m *model) compact(before time.Time) int64 {
	n := len(m.kept)
	maps.DeleteFunc(m.kept, func(_ revision, r replaced) bool { return r.at.Before(before) })
	return int64(n - len(m.kept))
}

// matches reports whether a query selects a document, limit and place aside.
func matches(q *coffer.Query, d *coffer.Document) bool {
	has := func(name string, value *string) bool {
		return slices.ContainsFunc(d.Tags, func(t coffer.Tag) bool {
			return t.Key == q.Index && t.Name == name && (value == nil || t.Value == *value)
		})
	}
	if len(q.Equals) == 0 && len(q.Has) == 0 {
		return true
	}
	for _, filter := range q.Equals {
		all := len(filter) > 0
		for name, value := range filter {
			all = all && has(name, &value)
		}
		if all {
			return true
		}
	}
	all := len(q.Has) > 0
	for _, name := range q.Has {
		all = all && has(name, nil)
	}
	return all
}

func (m *model) query(q *coffer.Query) (found []*coffer.Document) {
	for _, d := range m.documents {
		if matches(q, d) && bytes.Compare(d.ID[:], q.After[:]) > 0 {
			found = append(found, d)
		}
	}
	slices.SortFunc(found, func(a, b *coffer.Document) int { return bytes.Compare(a.ID[:], b.ID[:]) })
	if q.Limit > 0 && len(found) > q.Limit {
		found = found[:q.Limit]
	}
	return found
}

// A dice makes random writes and queries over few names, so that they meet.
type dice struct {
	*rand.Rand
	ids   []coffer.ObjectID
	blobs int
}

func (x *dice) chance(percent int) bool { return x.IntN(100) < percent }

// newDice returns dice over 40 objects.
func newDice(r *rand.Rand) *dice {
	x := &dice{Rand: r}
	for range 40 {
		x.ids = append(x.ids, x.newID())
	}
	return x
}

func (x *dice) newID() (id coffer.ObjectID) {
	for i := range id {
		id[i] = byte(x.IntN(256))
	}
	return id
}

// instant returns a moment among those of writes.
func (x *dice) instant() time.Time {
	return store.Instant(instant).Add(time.Duration(x.IntN(1e6)) * time.Millisecond)
}

// rounds returns n, or a part of it where there is little time.
func rounds(n int) int {
	if testing.Short() {
		return max(1, n/5)
	}
	return n
}

func (x *dice) id() coffer.ObjectID { return x.ids[x.IntN(len(x.ids))] }

func (x *dice) text() string { return string(rune('a' + x.IntN(4))) }

func (x *dice) tags() (tags []coffer.Tag) {
	for range x.IntN(5) {
		t := coffer.Tag{Key: "k", Name: x.text(), Value: x.text()}
		if x.chance(20) {
			t.Value, t.Unique = fmt.Sprint(x.IntN(30)), true
		}
		if x.chance(10) {
			t.Key = "l"
		}
		tags = append(tags, t)
	}
	return tags
}

// write returns a write that often keeps the rules and sometimes does not.
func (x *dice) write(m *model, vault coffer.VaultID, used map[coffer.ObjectID]bool) (w store.Write) {
	w = store.Write{Vault: vault, By: x.text(), Time: instant.Add(time.Duration(x.IntN(1e9)) * time.Microsecond)}
	if x.chance(15) {
		law := m.law
		if x.chance(10) {
			law = uint64(x.IntN(int(law) + 2))
		}
		w.Law = &law
	}
	if x.chance(4) && !used[coffer.ObjectID{}] {
		used[coffer.ObjectID{}] = true
		w.Govern = true
		return w
	}
	id := x.id()
	for used[id] {
		id = x.newID()
	}
	used[id] = true
	present := m.documents[id]
	sequence := uint64(x.IntN(3))
	if present != nil && x.chance(90) {
		sequence = present.Sequence
	}
	ref := coffer.ChunkRef{Sequence: sequence, Index: uint64(x.IntN(3)), Size: int64(x.IntN(50)), Sum: [32]byte{1}}
	switch k := x.IntN(100); {
	case k < 60:
		d := &coffer.Document{ID: id, Body: make([]byte, 1+x.IntN(30)), Tags: x.tags()}
		if present != nil && x.chance(90) {
			*d = *successor(present, string(d.Body), d.Tags...)
			if w.Reindex = x.chance(20); w.Reindex && x.chance(80) {
				d.Sequence--
			}
		} else if x.chance(5) {
			d.Parents = []coffer.Rev{{1}}
		}
		if x.chance(50) {
			d.Stream = &coffer.Stream{Pending: x.chance(50), Sequence: d.Sequence, Chunks: 1}
			if x.chance(50) && d.Sequence > 0 {
				d.Stream.Sequence--
			}
		}
		if present != nil && present.Stream != nil && !present.Stream.Pending && x.chance(70) {
			s := *present.Stream
			if d.Sequence == present.Sequence+1 || x.chance(10) {
				s.Chunks, s.Patch = 0, 0
				if present.Sequence > s.Sequence && x.chance(90) {
					s.Patch = present.Sequence
				}
				for m.there(id, s.Sequence, s.Chunks) || m.there(id, s.Patch, s.Chunks) {
					s.Chunks++
				}
				if x.chance(30) {
					s.Chunks = uint64(x.IntN(4))
				}
			}
			if d.Stream = &s; d.Check() != nil {
				d.Stream = nil
			}
		}
		w.Document = d
		w.Keep = x.chance(40)
	case k < 70:
		w.Erase = &id
	case k < 92:
		x.blobs++
		w.Attach = &store.Chunk{ID: id, Ref: ref, Blob: fmt.Sprint("blob-", x.blobs)}
	default:
		w.Detach = &store.Chunk{ID: id, Ref: ref}
	}
	if w.Document == nil && present != nil && x.chance(20) {
		if w.Present = present.Rev(); x.chance(20) {
			w.Present = coffer.Rev{1}
		}
	}
	if x.chance(10) {
		u := m.usage()
		w.Limit = store.Usage{Documents: u.Documents + int64(x.IntN(2)), Bytes: u.Bytes + int64(x.IntN(40))}
	}
	return w
}

func (x *dice) query() coffer.Query {
	q := coffer.Query{Index: "k", IDsOnly: x.chance(30)}
	if x.chance(10) {
		q.Index = "l"
	}
	if x.chance(40) {
		q.Limit = 1 + x.IntN(4)
	}
	if x.chance(40) {
		q.After = x.id()
	}
	switch x.IntN(5) {
	case 0:
	case 1:
		for range 1 + x.IntN(3) {
			q.Has = append(q.Has, x.text())
		}
	default:
		for range 1 + x.IntN(4) {
			filter := make(map[string]string)
			for range x.IntN(4) {
				filter[x.text()] = x.text()
			}
			q.Equals = append(q.Equals, filter)
		}
	}
	return q
}

// random compares the store with the model over many random writes and queries.
func random(b *bench) {
	x := newDice(rng(b.T))
	m := newModel()
	for round := range rounds(500) {
		var writes []store.Write
		used := make(map[coffer.ObjectID]bool)
		for range 1 + max(0, x.IntN(8)-4) {
			writes = append(writes, x.write(m, b.vault, used))
		}
		if x.chance(1) && x.chance(50) {
			writes = []store.Write{b.purging()}
		}
		b.compare(m, writes)
		for range 3 {
			q := x.query()
			want := m.query(&q)
			if err := same(b.query(q), want, q.IDsOnly); err != nil {
				b.Fatalf("round %d: query %+v: %v", round, q, err)
			}
			q.Limit, q.After = 0, coffer.ObjectID{}
			if n, err := b.Count(b.ctx, b.vault, q); err != nil || n != len(m.query(&q)) {
				b.Fatalf("round %d: count %+v: %d, %v", round, q, n, err)
			}
		}
		if id, sequence := x.id(), uint64(x.IntN(5)); !b.compareRevision(m, id, sequence) {
			b.Fatalf("round %d: a revision is another", round)
		}
		if x.chance(2) {
			before := x.instant()
			if n, err := b.Compact(b.ctx, before); err != nil || n != m.compact(before) {
				b.Fatalf("round %d: Compact: %d, %v", round, n, err)
			}
		}
		if round%50 == 49 {
			if x.chance(50) {
				b.reopen()
			}
			b.compareAll(m, x.ids)
		}
	}
}

// compare applies writes to both, and compares what they answer.
func (b *bench) compare(m *model, writes []store.Write) {
	b.Helper()
	want, broken, moved := m.all(writes)
	got, err := b.Apply(b.ctx, writes...)
	if broken != coffer.Other {
		if !errors.Is(err, broken) || errors.Is(err, store.ErrMoved) != moved {
			b.Fatalf("Apply: %v, want %v, for a law that moved: %v", err, broken, moved)
		}
		return
	}
	if err != nil {
		b.Fatalf("Apply: %v, want no error", err)
	}
	for i, w := range want {
		g := got[i]
		slices.Sort(g.Released)
		if g.Change != w.Change || g.Purged != w.Purged || !slices.Equal(g.Released, w.Released) {
			b.Fatalf("result %d: %+v, want %+v", i, g, w)
		}
	}
}

// compareRevision reports whether both have the same revision, or none.
func (b *bench) compareRevision(m *model, id coffer.ObjectID, sequence uint64) bool {
	b.Helper()
	got, err := b.Revision(b.ctx, b.vault, id, sequence)
	want := m.revision(id, sequence)
	if want == nil {
		return got == nil && errors.Is(err, coffer.NotExist)
	}
	return err == nil && got.ID == id && got.Rev() == want.Rev()
}

// compareAll compares all that there is to read.
func (b *bench) compareAll(m *model, ids []coffer.ObjectID) {
	b.Helper()
	if got, want := b.usage(), m.usage(); got != want {
		b.Fatalf("usage %+v, want %+v", got, want)
	}
	if !slices.Equal(b.changes(0), m.feed) {
		b.Fatal("the feed is another")
	}
	for _, id := range ids {
		if d := m.documents[id]; d != nil {
			b.has(d)
		} else {
			b.hasNot(id)
		}
	}
	for at := range m.kept {
		if !b.compareRevision(m, at.id, at.sequence) {
			b.Fatal("a kept revision is another")
		}
	}
	recorded := 0
	err := b.Check(b.ctx, func(s string) { b.Errorf("Check: %s", s) }, func(c store.Chunk) {
		recorded++
		if m.chunks[place{c.ID, c.Ref.Sequence, c.Ref.Index}] != c {
			b.Errorf("Check: a chunk that is not there")
		}
	})
	if err != nil || recorded != len(m.chunks) {
		b.Fatalf("Check: %d chunks, %v, want %d", recorded, err, len(m.chunks))
	}
	for p, c := range m.chunks {
		if got, err := b.Chunk(b.ctx, b.vault, p.id, p.set, p.index); err != nil || got != c {
			b.Fatalf("Chunk: %+v, %v", got, err)
		}
	}
	if meter, ok := b.Store.(store.Meter); ok {
		u := m.usage()
		b.measures(meter, store.Stats{
			Vaults: int64(min(u.Changes, 1)), Documents: u.Documents, Bytes: u.Bytes, Changes: int64(u.Changes),
		})
	}
}

// measures checks what a store says it holds, sizes of disk and memory aside.
func (b *bench) measures(meter store.Meter, want store.Stats) {
	b.Helper()
	got, err := meter.Stats(b.ctx)
	if err != nil {
		b.Fatalf("Stats: %v", err)
	}
	if got.Disk < 0 || got.Memory < 0 {
		b.Fatalf("Stats: %d bytes of disk, %d of memory", got.Disk, got.Memory)
	}
	got.Disk, got.Memory = 0, 0
	if got != want {
		b.Fatalf("Stats: %+v, want %+v", got, want)
	}
}
