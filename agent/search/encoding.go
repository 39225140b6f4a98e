package search

import (
	"encoding/binary"
	"math"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

func appendUvarint(b []byte, v uint64) []byte { return binary.AppendUvarint(b, v) }

func appendBytes[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// intern is the texts that were written before, so that each is written once.
type intern map[string]uint64

// append writes a text: 0 and the text when it is new, or else its number, counted from 1.
func (t *intern) append(b []byte, s string) []byte {
	if n, ok := (*t)[s]; ok {
		return appendUvarint(b, n)
	}
	if *t == nil {
		*t = intern{}
	}
	(*t)[s] = uint64(len(*t) + 1)
	return appendBytes(append(b, 0), s)
}

// interned is the texts that were read before.
type interned [][]byte

// Flags of a stored document.
const (
	flagRemoved  = 1
	flagModified = 2
)

func appendRemoved(b []byte, id coffer.ObjectID) []byte {
	return append(append(b, id[:]...), flagRemoved)
}

func appendStored(b []byte, seen *intern, h *Hit) []byte {
	b = append(b, h.ID[:]...)
	if h.Modified.IsZero() {
		b = append(b, 0)
	} else {
		b = append(b, flagModified)
		b = binary.AppendVarint(b, h.Modified.Unix())
		b = appendUvarint(b, uint64(h.Modified.Nanosecond()))
	}
	b = seen.append(b, string(h.Folder[:]))
	b = seen.append(b, h.Type)
	b = seen.append(b, h.MIME)
	b = appendBytes(b, h.Name)
	return appendUvarint(b, uint64(h.Size))
}

// stored is a document as it is kept to be shown. Its texts are parts of what it was read from.
type stored struct {
	id, folder      coffer.ObjectID
	removed, timed  bool
	seconds         int64
	nanos           int64
	name, typ, mime []byte
	size            int64
}

func (s *stored) modified() time.Time {
	if !s.timed {
		return time.Time{}
	}
	return time.Unix(s.seconds, s.nanos).UTC()
}

func (s *stored) hit() Hit {
	return Hit{s.id, s.folder, string(s.name), string(s.typ), string(s.mime), s.size, s.modified()}
}

// reader reads from b. Once something is wrong, bad is set and all that is read is zero.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) fail() {
	r.bad, r.b = true, nil
}

func (r *reader) uvarint() uint64 {
	if len(r.b) > 0 && r.b[0] < 0x80 {
		v := r.b[0]
		r.b = r.b[1:]
		return uint64(v)
	}
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) varint() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.fail()
		return 0
	}
	r.b = r.b[n:]
	return v
}

// count reads a number up to most.
func (r *reader) count(most int) int {
	v := r.uvarint()
	if v > uint64(most) {
		r.fail()
		return 0
	}
	return int(v)
}

// take returns the next n bytes, not copied.
func (r *reader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.fail()
		return nil
	}
	b := r.b[:n:n]
	r.b = r.b[n:]
	return b
}

// bytes reads a length up to most, and so many bytes.
func (r *reader) bytes(most int) []byte { return r.take(r.count(most)) }

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) id() (id coffer.ObjectID) {
	copy(id[:], r.take(len(id)))
	return id
}

func (r *reader) interned(seen *interned, most int) []byte {
	n := r.uvarint()
	if n == 0 {
		b := r.bytes(most)
		if !r.bad {
			*seen = append(*seen, b)
		}
		return b
	}
	if n > uint64(len(*seen)) || len((*seen)[n-1]) > most {
		r.fail()
		return nil
	}
	return (*seen)[n-1]
}

func (r *reader) stored(seen *interned) (s stored) {
	s.id = r.id()
	switch r.byte() {
	case flagRemoved:
		s.removed = true
		return s
	case flagModified:
		s.timed = true
		s.seconds = r.varint()
		s.nanos = int64(r.count(999_999_999))
	case 0:
	default:
		r.fail()
	}
	folder := r.interned(seen, len(s.folder))
	if len(folder) != len(s.folder) {
		r.fail()
	}
	copy(s.folder[:], folder)
	s.typ = r.interned(seen, MaxType)
	s.mime = r.interned(seen, MaxType)
	s.name = r.bytes(MaxName)
	size := r.uvarint()
	if size > math.MaxInt64 {
		r.fail()
	}
	s.size = int64(size)
	return s
}

// refSize is the length of a Ref as bytes: id, key, write key.
const refSize = 16 + 32 + 32

func appendRef(b []byte, ref seal.Ref) []byte {
	b = append(b, ref.ID[:]...)
	b = append(b, ref.Key[:]...)
	return append(b, ref.Write[:]...)
}

func (r *reader) ref() (ref seal.Ref) {
	ref.ID = r.id()
	copy(ref.Key[:], r.take(len(ref.Key)))
	copy(ref.Write[:], r.take(len(ref.Write)))
	if (ref.ID == coffer.ObjectID{}) {
		r.fail()
	}
	return ref
}

// sortable returns a number so that its bytes sort as the numbers do. It is not NaN.
func sortable(n float64) uint64 {
	v := math.Float64bits(n)
	if v>>63 == 1 {
		return ^v
	}
	return v | 1<<63
}

func sortableTime(t int64) uint64 { return uint64(t) ^ 1<<63 }
