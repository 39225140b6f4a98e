package search

import (
	"encoding/binary"
	"slices"
	"strings"

	"github.com/cofferhq/coffer/internal/lucene"
)

// The kinds of terms: a term's first byte. Where a NUL stands between two texts, the first holds none.
const (
	kindBool   = 'b' // field NUL ("0" or "1")
	kindExists = 'e' // field, and each field that it is within
	kindNumber = 'n' // field NUL, 8 bytes that sort as the numbers
	kindTime   = 't' // field NUL, 8 bytes that sort as the times
	kindWord   = 'w' // word NUL field; the only one with positions
	kindWhole  = 'x' // field NUL, the folded text
)

// maxKey bounds a term.
const maxKey = 1 + lucene.MaxField + 1 + lucene.MaxWhole

// valueGap lies between the places of the last word of a value and the first of the next, so that no phrase goes from
// one into the other.
const valueGap = lucene.MaxSlop + lucene.MaxTerms + 1

// A postingList is one in the making: the documents that have a term, by ordinals.
type postingList struct {
	words bool
	count int
	next  uint32 // least ordinal that may follow
	b     []byte
}

// add adds a document, for a word with its places as bytes.
func (l *postingList) add(ordinal uint32, many bool, places []byte) {
	delta := uint64(ordinal - l.next)
	if l.words {
		delta <<= 1
		if many {
			delta |= 1
		}
	}
	l.b = appendUvarint(l.b, delta)
	l.b = append(l.b, places...)
	l.next = ordinal + 1
	l.count++
}

// terms hands out each term of a document once, for a word with its places.
func terms(f *lucene.Fields, emit func(key string, places []uint32)) {
	exists := map[string]bool{}
	for name, x := range f.All() {
		for part := name; !exists[part]; {
			exists[part] = true
			emit(string(kindExists)+part, nil)
			dot := strings.LastIndexByte(part, '.')
			if dot <= 0 {
				break
			}
			part = part[:dot]
		}
		seen := map[string]bool{}
		once := func(key string) {
			if !seen[key] {
				seen[key] = true
				emit(key, nil)
			}
		}
		for _, v := range x.Bools {
			once(boolKey(name, v))
		}
		for _, v := range x.Numbers {
			once(numberKey(kindNumber, name, sortable(v)))
		}
		for _, v := range x.Times {
			once(numberKey(kindTime, name, sortableTime(v)))
		}
		for _, v := range x.Wholes {
			once(wholeKey(name, v))
		}
		places := map[string][]uint32{}
		at := uint32(0)
		for _, text := range x.Words {
			for _, w := range text {
				places[w] = append(places[w], at)
				at++
			}
			at += valueGap
		}
		for w, list := range places {
			emit(wordKey(w, name), list)
		}
	}
}

func boolKey(field string, v bool) string {
	if v {
		return string(kindBool) + field + "\x001"
	}
	return string(kindBool) + field + "\x000"
}

func numberKey(kind byte, field string, v uint64) string {
	b := append([]byte{kind}, field...)
	return string(binary.BigEndian.AppendUint64(append(b, 0), v))
}

func wholeKey(field, folded string) string { return string(kindWhole) + field + "\x00" + folded }

func wordKey(word, field string) string { return string(kindWord) + word + "\x00" + field }

// appendPlaces writes the places of a word in a document, of which there is one at least, and reports whether there are
// more.
func appendPlaces(b []byte, places []uint32) ([]byte, bool) {
	if len(places) == 1 {
		return appendUvarint(b, uint64(places[0])), false
	}
	b = appendUvarint(b, uint64(len(places)))
	next := uint32(0)
	for _, p := range places {
		b = appendUvarint(b, uint64(p-next))
		next = p + 1
	}
	return b, true
}

// A posting is one entry of a posting list.
type posting struct {
	ordinal uint32
	many    bool
	places  []byte // as they are written
}

// postings reads a posting list.
type postings struct {
	r     reader
	words bool
	next  uint64 // least ordinal that may follow
	end   uint64 // all ordinals are less
	left  int
}

// read returns the next posting. It reports false at the end, and when the list is malformed: then r.bad is set.
func (p *postings) read() (x posting, ok bool) {
	if p.left == 0 {
		if len(p.r.b) > 0 {
			p.r.fail()
		}
		return x, false
	}
	p.left--
	delta := p.r.uvarint()
	if p.words {
		x.many = delta&1 == 1
		delta >>= 1
	}
	if p.r.bad || delta >= p.end-p.next {
		p.r.fail()
		return x, false
	}
	x.ordinal = uint32(p.next + delta)
	p.next += delta + 1
	if p.words {
		start, n := p.r.b, uint64(1)
		if x.many {
			if n = p.r.uvarint(); n > uint64(len(p.r.b)) || n < 2 {
				p.r.fail()
				return x, false
			}
		}
		for ; n > 0; n-- {
			p.r.uvarint()
		}
		if p.r.bad {
			return x, false
		}
		x.places = start[:len(start)-len(p.r.b)]
	}
	return x, true
}

// decode returns the places of a posting, ascending. Those of a malformed list may be any, but not more than there are
// bytes.
func (x posting) decode() []uint32 {
	r := reader{b: x.places}
	if !x.many {
		return []uint32{uint32(r.uvarint())}
	}
	n := r.count(len(x.places))
	list := make([]uint32, 0, n)
	next := uint32(0)
	for ; n > 0; n-- {
		p := next + uint32(r.uvarint())
		list = append(list, p)
		next = p + 1
	}
	if !slices.IsSorted(list) {
		slices.Sort(list)
	}
	return list
}
