package search

import (
	"bytes"
	"math"
	"sort"

	"github.com/cofferhq/coffer"
)

// directory says where everything of a segment is.
type directory struct {
	entries  uint32        // documents and removals; ordinals are less
	removed  []uint32      // ordinals of removals, ascending
	stored   []storedBlock // by ids
	terms    []termBlock   // by terms
	postings []*block      // one stream, cut every payload bytes
	payload  uint64        // bytes of the stream in each of its blocks but the last
	length   uint64        // of the stream
	filter   filter        // of the ids; empty in the oldest segment
}

type storedBlock struct {
	*block
	first coffer.ObjectID
	start uint32 // ordinal of the first
}

type termBlock struct {
	*block
	first []byte
	start uint64 // where in the stream the lists of its terms begin
}

const segmentVersion = 1

// all returns the blocks that Blocks keeps.
func (d *directory) all() (list []*block) {
	for _, b := range d.stored {
		list = append(list, b.block)
	}
	for _, b := range d.terms {
		list = append(list, b.block)
	}
	return append(list, d.postings...)
}

// encode returns the directory, with the blocks themselves instead of their refs if inline.
func (d *directory) encode(inline bool) []byte {
	b := []byte{segmentVersion, 0}
	where := func(x *block) { b = appendRef(b, x.ref) }
	if inline {
		b[1] = 1
		where = func(x *block) { b = appendBytes(b, x.data) }
	}
	b = appendUvarint(b, uint64(d.entries))
	b = appendUvarint(b, uint64(len(d.removed)))
	next := uint32(0)
	for _, n := range d.removed {
		b = appendUvarint(b, uint64(n-next))
		next = n + 1
	}
	b = appendUvarint(b, uint64(len(d.stored)))
	for _, s := range d.stored {
		b = append(b, s.first[:]...)
		b = appendUvarint(b, uint64(s.start))
		where(s.block)
	}
	b = appendUvarint(b, uint64(len(d.terms)))
	for _, t := range d.terms {
		b = appendBytes(b, t.first)
		b = appendUvarint(b, t.start)
		where(t.block)
	}
	b = appendUvarint(b, d.length)
	b = appendUvarint(b, d.payload)
	for _, p := range d.postings {
		where(p)
	}
	return appendBytes(b, d.filter)
}

// decodeDirectory reads what encode writes. Corrupt for anything else, Invalid for another version.
func decodeDirectory(raw []byte) (*directory, error) {
	r := reader{b: raw}
	if r.byte() != segmentVersion && !r.bad {
		return nil, coffer.Errorf("search", coffer.Invalid, "a segment of another version")
	}
	inline := r.byte()
	where := func() *block {
		if inline == 1 {
			return &block{data: append([]byte{}, r.bytes(MaxBlockSize)...)}
		}
		return &block{ref: r.ref()}
	}
	if inline > 1 {
		r.fail()
	}
	d := &directory{entries: uint32(r.count(math.MaxInt32))}
	next := uint64(0)
	for n := r.count(len(r.b)); n > 0 && !r.bad; n-- {
		at := next + uint64(r.count(math.MaxInt32))
		if at >= uint64(d.entries) {
			r.fail()
		}
		d.removed = append(d.removed, uint32(at))
		next = at + 1
	}
	for n := r.count(len(r.b)); n > 0 && !r.bad; n-- {
		s := storedBlock{first: r.id(), start: uint32(r.count(math.MaxInt32))}
		s.block = where()
		if last := len(d.stored) - 1; s.start >= d.entries || last < 0 && s.start != 0 || last >= 0 &&
			(s.start <= d.stored[last].start || bytes.Compare(s.first[:], d.stored[last].first[:]) <= 0) {
			r.fail()
		}
		d.stored = append(d.stored, s)
	}
	for n := r.count(len(r.b)); n > 0 && !r.bad; n-- {
		t := termBlock{first: r.bytes(maxKey), start: r.uvarint()}
		t.block = where()
		if last := len(d.terms) - 1; last >= 0 &&
			(t.start < d.terms[last].start || bytes.Compare(t.first, d.terms[last].first) <= 0) {
			r.fail()
		}
		d.terms = append(d.terms, t)
	}
	d.length, d.payload = r.uvarint(), r.uvarint()
	if d.length > 0 && (d.payload == 0 || d.payload > MaxBlockSize) {
		r.fail()
	}
	for n := uint64(0); n < d.length && !r.bad; n += d.payload {
		d.postings = append(d.postings, where())
	}
	d.filter = r.bytes(len(r.b))
	if r.bad || len(r.b) > 0 || d.entries > 0 && len(d.stored) == 0 {
		return nil, errCorrupt("a segment's directory is malformed")
	}
	return d, nil
}

// storedAt returns which block has the document with this ordinal.
func (d *directory) storedAt(ordinal uint32) int {
	return sort.Search(len(d.stored), func(i int) bool { return d.stored[i].start > ordinal }) - 1
}

// storedOf returns which block may have the document with this id, or -1.
func (d *directory) storedOf(id coffer.ObjectID) int {
	return sort.Search(len(d.stored), func(i int) bool { return bytes.Compare(d.stored[i].first[:], id[:]) > 0 }) - 1
}

// storedEnd returns the ordinal just behind a block.
func (d *directory) storedEnd(i int) uint32 {
	if i+1 < len(d.stored) {
		return d.stored[i+1].start
	}
	return d.entries
}

// decodeStored reads block i of the stored documents, without its first byte.
func (d *directory) decodeStored(i int, data []byte) ([]stored, error) {
	r := reader{b: data}
	n := int(d.storedEnd(i) - d.stored[i].start)
	if n > len(data)/len(coffer.ObjectID{}) {
		return nil, errCorrupt("a block of documents is too short")
	}
	list := make([]stored, 0, n)
	var seen interned
	for ; n > 0 && !r.bad; n-- {
		s := r.stored(&seen)
		if k := len(list); k == 0 && s.id != d.stored[i].first || k > 0 && bytes.Compare(s.id[:], list[k-1].id[:]) <= 0 {
			r.fail()
		}
		list = append(list, s)
	}
	if r.bad || len(r.b) > 0 ||
		i+1 < len(d.stored) && bytes.Compare(list[len(list)-1].id[:], d.stored[i+1].first[:]) >= 0 {
		return nil, errCorrupt("a block of documents is malformed")
	}
	return list, nil
}

// filter is a Bloom filter of ids, which are random: ten bits for each, seven of them set.
type filter []byte

const (
	filterBits = 10
	filterSet  = 7
)

func newFilter(ids int) filter { return make(filter, (ids*filterBits+7)/8+1) }

func (f filter) each(id coffer.ObjectID, visit func(i uint64, mask byte) bool) bool {
	bits := uint64(len(f)) * 8
	var a, b uint64
	for i := range 8 {
		a, b = a<<8|uint64(id[i]), b<<8|uint64(id[i+8])
	}
	for range filterSet {
		if !visit(a%bits/8, 1<<(a%bits%8)) {
			return false
		}
		a += b | 1
	}
	return true
}

func (f filter) add(id coffer.ObjectID) {
	f.each(id, func(i uint64, mask byte) bool { f[i] |= mask; return true })
}

// has reports whether the id may have been added. Without a filter any id may.
func (f filter) has(id coffer.ObjectID) bool {
	return len(f) == 0 || f.each(id, func(i uint64, mask byte) bool { return f[i]&mask != 0 })
}
