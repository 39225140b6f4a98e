package search

import (
	"bytes"
	"context"
	"iter"
	"sort"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// A segment is a part of the index that does not change.
type segment struct {
	entries uint32 // as in its directory
	weight  uint64 // bytes of its blocks
	root    seal.Ref

	mu  sync.Mutex
	dir *directory // nil until it is needed
}

// directory returns the segment's directory, which is fetched the first time.
func (s *segment) directory(ctx context.Context, x *Index) (*directory, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dir != nil {
		return s.dir, nil
	}
	raw, _, err := s.rawDirectory(ctx, x)
	if err != nil {
		return nil, err
	}
	d, err := decodeDirectory(raw)
	if err != nil {
		return nil, err
	}
	if d.entries != s.entries {
		return nil, errCorrupt("a segment is another one than the manifest says")
	}
	s.dir = d
	return d, nil
}

// rawDirectory returns the directory's bytes, and the blocks that they are in besides the root.
func (s *segment) rawDirectory(ctx context.Context, x *Index) (raw []byte, parts []*block, err error) {
	root, err := x.fetch(ctx, &block{ref: s.root}, blockRoot, true)
	if err != nil {
		return nil, nil, err
	}
	r := reader{b: root}
	if r.byte() == 0 && !r.bad {
		return r.b, nil, nil
	}
	for n := r.count(len(root) / refSize); n > 0; n-- {
		parts = append(parts, &block{ref: r.ref()})
	}
	if r.bad || len(r.b) > 0 || root[0] != 1 {
		return nil, nil, errCorrupt("a segment's root is malformed")
	}
	for _, p := range parts {
		b, err := x.fetch(ctx, p, blockDirectory, true)
		if err != nil {
			return nil, nil, err
		}
		raw = append(raw, b...)
	}
	return raw, parts, nil
}

// refs returns everything that Blocks keeps of the segment.
func (s *segment) refs(ctx context.Context, x *Index) ([]seal.Ref, error) {
	d, err := s.directory(ctx, x)
	if err != nil {
		return nil, err
	}
	_, parts, err := s.rawDirectory(ctx, x)
	if err != nil {
		return nil, err
	}
	refs := []seal.Ref{s.root}
	for _, b := range append(parts, d.all()...) {
		if b.data == nil {
			refs = append(refs, b.ref)
		}
	}
	return refs, nil
}

// An entry is a term and what is known of its posting list.
type entry struct {
	key    []byte // valid until the next entry
	count  int    // documents
	inline []byte // the list itself, if it is short
	start  uint64 // or where it stands in the stream
	length uint64
}

// maxInline is the length of a posting list up to which it stands with its term: rare terms cost no block more.
const maxInline = 384

// appendEntry writes a term behind another one.
func appendEntry(b, before, key []byte, count int, list []byte) []byte {
	shared := 0
	for shared < len(before) && shared < len(key) && before[shared] == key[shared] {
		shared++
	}
	b = appendUvarint(b, uint64(shared))
	b = appendBytes(b, key[shared:])
	b = appendUvarint(b, uint64(count))
	if len(list) <= maxInline {
		return append(appendUvarint(b, uint64(len(list))<<1|1), list...)
	}
	return appendUvarint(b, uint64(len(list))<<1)
}

// terms yields the terms that are not less than from, in order. Blocks that are read once are not cached.
func (s *segment) terms(ctx context.Context, x *Index, from string, once bool) iter.Seq2[*entry, error] {
	return func(yield func(*entry, error) bool) {
		d, err := s.directory(ctx, x)
		if err != nil {
			yield(nil, err)
			return
		}
		i := sort.Search(len(d.terms), func(i int) bool { return string(d.terms[i].first) > from }) - 1
		var e entry
		started := false
		for i = max(i, 0); i < len(d.terms); i++ {
			data, err := x.fetch(ctx, d.terms[i].block, blockTerms, once)
			if err != nil {
				yield(nil, err)
				return
			}
			r := reader{b: data}
			e = entry{key: make([]byte, 0, maxKey), start: d.terms[i].start}
			for first := true; len(r.b) > 0; first = false {
				if !r.entry(&e, d, first, d.terms[i].first) ||
					len(r.b) == 0 && i+1 < len(d.terms) && bytes.Compare(e.key, d.terms[i+1].first) >= 0 {
					yield(nil, errCorrupt("a block of terms is malformed"))
					return
				}
				if !started && string(e.key) < from {
					continue
				}
				started = true
				if !yield(&e, nil) {
					return
				}
			}
		}
	}
}

// entry reads the next term of a block over the one before, and reports whether it may stand there.
func (r *reader) entry(e *entry, d *directory, first bool, want []byte) bool {
	e.start += e.length
	shared, suffix := r.count(len(e.key)), r.bytes(maxKey)
	if r.bad || shared+len(suffix) > maxKey {
		return false
	}
	if first {
		if shared != 0 || !bytes.Equal(suffix, want) {
			return false
		}
	} else if bytes.Compare(suffix, e.key[shared:]) <= 0 {
		return false // not greater than the one before
	}
	e.key = append(e.key[:shared], suffix...)
	e.count = r.count(int(d.entries))
	length := r.uvarint()
	e.inline, e.length = nil, 0
	if length&1 == 1 {
		if length>>1 > maxInline {
			return false
		}
		e.inline = r.take(int(length >> 1))
	} else {
		e.length = length >> 1
		if e.start > d.length || e.length > d.length-e.start {
			return false
		}
	}
	return !r.bad && len(e.key) > 0 && e.count > 0
}

// postings returns a term's posting list.
func (s *segment) postings(ctx context.Context, x *Index, e *entry, once bool) (*postings, error) {
	d, err := s.directory(ctx, x)
	if err != nil {
		return nil, err
	}
	p := &postings{words: e.key[0] == kindWord, end: uint64(d.entries), left: e.count}
	if e.length == 0 {
		p.r.b = e.inline
		return p, nil
	}
	var list []byte
	for at, end := e.start, e.start+e.length; at < end; {
		i := at / d.payload
		data, err := x.fetch(ctx, d.postings[i], blockPostings, once)
		if err != nil {
			return nil, err
		}
		if want := min(d.payload, d.length-i*d.payload); uint64(len(data)) != want {
			return nil, errCorrupt("a block of postings has another length")
		}
		part := data[at-i*d.payload:]
		part = part[:min(uint64(len(part)), end-at)]
		if uint64(len(part)) == e.length {
			p.r.b = part
			return p, nil
		}
		list = append(list, part...)
		at += uint64(len(part))
	}
	p.r.b = list
	return p, nil
}

// A shelf reads stored documents of a segment, and keeps the block that was read last.
type shelf struct {
	x    *Index
	s    *segment
	at   int
	list []stored
}

func newShelf(x *Index, s *segment) *shelf { return &shelf{x: x, s: s, at: -1} }

func (h *shelf) open(ctx context.Context, d *directory, i int, once bool) error {
	if h.at == i {
		return nil
	}
	data, err := h.x.fetch(ctx, d.stored[i].block, blockStored, once)
	if err != nil {
		return err
	}
	if h.list, err = d.decodeStored(i, data); err != nil {
		h.at = -1
		return err
	}
	h.at = i
	return nil
}

// document returns the document with this ordinal, which is one of the segment's.
func (h *shelf) document(ctx context.Context, ordinal uint32) (*stored, error) {
	d, err := h.s.directory(ctx, h.x)
	if err != nil {
		return nil, err
	}
	i := d.storedAt(ordinal)
	if err := h.open(ctx, d, i, false); err != nil {
		return nil, err
	}
	return &h.list[ordinal-d.stored[i].start], nil
}

// find returns the entry with this id, nil if there is none.
func (h *shelf) find(ctx context.Context, id coffer.ObjectID) (*stored, error) {
	d, err := h.s.directory(ctx, h.x)
	if err != nil {
		return nil, err
	}
	i := d.storedOf(id)
	if i < 0 || !d.filter.has(id) {
		return nil, nil
	}
	if err := h.open(ctx, d, i, false); err != nil {
		return nil, err
	}
	k, ok := sort.Find(len(h.list), func(k int) int { return bytes.Compare(id[:], h.list[k].id[:]) })
	if !ok {
		return nil, nil
	}
	return &h.list[k], nil
}

// all yields all entries, in order.
func (s *segment) all(ctx context.Context, x *Index) iter.Seq2[*stored, error] {
	return func(yield func(*stored, error) bool) {
		d, err := s.directory(ctx, x)
		if err != nil {
			yield(nil, err)
			return
		}
		h := newShelf(x, s)
		for i := range d.stored {
			if err := h.open(ctx, d, i, true); err != nil {
				yield(nil, err)
				return
			}
			for k := range h.list {
				if !yield(&h.list[k], nil) {
					return
				}
			}
		}
	}
}
