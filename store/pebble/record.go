package pebble

import (
	"encoding/binary"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Records are sequences of numbers (unsigned varints in their shortest form), single bytes, hashes and ids of fixed
// length, and texts (length and bytes). The last field of some takes what is left. They begin with the byte recordForm;
// another one is a record of a later version and does not decode.
const recordForm = 1

// A revision is a document as recorded, with its name:
//
//	form, rev, sequence, number of parents, parents, number of tags,
//	tags (unique 0 or 1, key, name, value),
//	stream (0; or 1 closed, 2 pending, 3 patched, then sequence, chunks; and patch if patched), body
func appendRevision(b []byte, d *coffer.Document, rev coffer.Rev) []byte {
	b = append(b, recordForm)
	b = append(b, rev[:]...)
	b = appendNumber(b, d.Sequence)
	b = appendNumber(b, uint64(len(d.Parents)))
	for i := range d.Parents {
		b = append(b, d.Parents[i][:]...)
	}
	b = appendNumber(b, uint64(len(d.Tags)))
	for i := range d.Tags {
		t := &d.Tags[i]
		b = append(b, flag(t.Unique))
		b = appendText(b, t.Key)
		b = appendText(b, t.Name)
		b = appendText(b, t.Value)
	}
	if s := d.Stream; s == nil {
		b = append(b, 0)
	} else if s.Patch != 0 {
		b = appendNumber(appendNumber(appendNumber(append(b, 3), s.Sequence), s.Chunks), s.Patch)
	} else {
		b = append(b, 1+flag(s.Pending))
		b = appendNumber(b, s.Sequence)
		b = appendNumber(b, s.Chunks)
	}
	return append(b, d.Body...)
}

// decodeRevision reads what appendRevision writes. The document shares nothing with b.
func decodeRevision(b []byte, id coffer.ObjectID) (*coffer.Document, coffer.Rev, error) {
	r := reader{b: b}
	r.form()
	rev := coffer.Rev(r.hash())
	d := &coffer.Document{ID: id, Sequence: r.number()}
	if n := r.count(len(rev)); n > 0 {
		d.Parents = make([]coffer.Rev, n)
		for i := range d.Parents {
			d.Parents[i] = r.hash()
		}
	}
	d.Tags = r.tags()
	d.Stream = r.stream()
	d.Body = append([]byte(nil), r.rest()...)
	return d, rev, r.end()
}

// decodePrior reads only the name, the tags and the stream of a recorded document.
func decodePrior(b []byte) (coffer.Rev, []coffer.Tag, *coffer.Stream, error) {
	r := reader{b: b}
	r.form()
	rev := coffer.Rev(r.hash())
	r.number()
	for range r.count(len(rev)) {
		r.hash()
	}
	tags := r.tags()
	stream := r.stream()
	r.rest()
	return rev, tags, stream, r.end()
}

// A head is what is known of an object without its document: form, state (0 erased, 1 present), sequence, number of its
// last change; if present rev, size, number of chunks attached; and if revisions are kept how many, and their size:
// then the form is keptForm.
type head struct {
	present  bool
	sequence uint64
	number   uint64
	rev      coffer.Rev
	size     int64
	chunks   uint64
	kept     kept
}

// kept is how many revisions of an object are kept, and their size.
type kept struct {
	revisions uint64
	size      int64
}

// keptForm is the form of heads of objects with kept revisions.
const keptForm = 2

func (h *head) append(b []byte) []byte {
	form := byte(recordForm)
	if h.kept.revisions > 0 {
		form = keptForm
	}
	b = append(b, form, flag(h.present))
	b = appendNumber(b, h.sequence)
	b = appendNumber(b, h.number)
	if h.present {
		b = append(b, h.rev[:]...)
		b = appendNumber(b, uint64(h.size))
		b = appendNumber(b, h.chunks)
	}
	if form == keptForm {
		b = appendNumber(b, h.kept.revisions)
		b = appendNumber(b, uint64(h.kept.size))
	}
	return b
}

func decodeHead(b []byte) (h head, err error) {
	r := reader{b: b}
	form := r.byte()
	h.present = r.flag()
	h.sequence = r.number()
	h.number = r.number()
	if h.present {
		h.rev = r.hash()
		h.size = r.size()
		h.chunks = r.number()
	}
	switch form {
	case recordForm:
	case keptForm:
		h.kept = kept{r.number(), r.size()}
		r.bad = r.bad || h.kept.revisions == 0 || !h.present
	default:
		r.bad = true
	}
	return h, r.end()
}

// A kept revision is recorded as it was when it was present. In the queue, its size is recorded: form, size.
func encodeDue(b []byte, size int64) []byte {
	return appendNumber(append(b, recordForm), uint64(size))
}

func decodeDue(b []byte) (size int64, err error) {
	r := reader{b: b}
	r.form()
	size = r.size()
	return size, r.end()
}

// A change is recorded as form, kind, id, sequence, rev if accepted, time in milliseconds of Unix time, by.
func encodeChange(b []byte, c *coffer.Change) []byte {
	b = append(b, recordForm, byte(c.Kind))
	b = append(b, c.ID[:]...)
	b = appendNumber(b, c.Sequence)
	if c.Kind == coffer.Accepted {
		b = append(b, c.Rev[:]...)
	}
	b = appendNumber(b, uint64(c.Time.UnixMilli()))
	return append(b, c.By...)
}

func decodeChange(b []byte, number uint64) (c coffer.Change, err error) {
	r := reader{b: b}
	r.form()
	c.Number = number
	c.Kind = coffer.ChangeKind(r.byte())
	c.ID = coffer.ObjectID(r.take(idLen))
	c.Sequence = r.number()
	switch c.Kind {
	case coffer.Accepted:
		c.Rev = r.hash()
	case coffer.Erased, coffer.VaultErased:
	default:
		r.bad = true
	}
	c.Time = time.UnixMilli(r.size()).UTC()
	c.By = string(r.rest())
	return c, r.end()
}

// A chunk is recorded as form, size, sum, key of the blob. Object, set and index are in its key.
func encodeChunk(b []byte, c *store.Chunk) []byte {
	b = append(b, recordForm)
	b = appendNumber(b, uint64(c.Ref.Size))
	b = append(b, c.Ref.Sum[:]...)
	return append(b, c.Blob...)
}

func decodeChunk(b []byte, id coffer.ObjectID, set, index uint64) (c store.Chunk, err error) {
	r := reader{b: b}
	r.form()
	c.ID = id
	c.Ref = coffer.ChunkRef{Sequence: set, Index: index, Size: r.size(), Sum: r.hash()}
	c.Blob = string(r.rest())
	return c, r.end()
}

// decodeChunkAt decodes a chunk that was found under a key.
func decodeChunkAt(key, b []byte) (store.Chunk, error) {
	if len(key) != restAt+idLen+16 {
		return store.Chunk{}, errRecord()
	}
	rest := key[restAt:]
	set, index := binary.BigEndian.Uint64(rest[idLen:]), binary.BigEndian.Uint64(rest[idLen+8:])
	return decodeChunk(b, coffer.ObjectID(rest[:idLen]), set, index)
}

// The holder of a unique tag is recorded as its id alone.
func decodeHolder(b []byte) (coffer.ObjectID, error) {
	if len(b) != idLen {
		return coffer.ObjectID{}, errRecord()
	}
	return coffer.ObjectID(b), nil
}

// Usage is recorded as form, documents, bytes, changes; and law, unless that is 0: then the form is lawForm.
func encodeUsage(b []byte, u store.Usage) []byte {
	form := byte(recordForm)
	if u.Law > 0 {
		form = lawForm
	}
	b = append(b, form)
	b = appendNumber(b, uint64(u.Documents))
	b = appendNumber(b, uint64(u.Bytes))
	b = appendNumber(b, u.Changes)
	if u.Law > 0 {
		b = appendNumber(b, u.Law)
	}
	return b
}

// lawForm is the form of records of usage that have a law.
const lawForm = 2

func decodeUsage(b []byte) (u store.Usage, err error) {
	r := reader{b: b}
	form := r.byte()
	u = store.Usage{Documents: r.size(), Bytes: r.size(), Changes: r.number()}
	switch form {
	case recordForm:
	case lawForm:
		u.Law = r.number()
		r.bad = r.bad || u.Law == 0
	default:
		r.bad = true
	}
	return u, r.end()
}

func appendNumber(b []byte, n uint64) []byte { return binary.AppendUvarint(b, n) }

func appendText(b []byte, s string) []byte { return append(appendNumber(b, uint64(len(s))), s...) }

func flag(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// A reader takes fields off the front of a record. After the first that is not there or not well formed, all are zero
// and end returns an error.
type reader struct {
	b   []byte
	bad bool
}

// zeros is what is taken from a record that has no more.
var zeros [32]byte

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.b) {
		r.bad = true
		return zeros[:min(n, len(zeros))]
	}
	taken := r.b[:n]
	r.b = r.b[n:]
	return taken
}

func (r *reader) form() {
	if r.byte() != recordForm {
		r.bad = true
	}
}

func (r *reader) byte() byte { return r.take(1)[0] }

func (r *reader) flag() bool {
	f := r.byte()
	r.bad = r.bad || f > 1
	return f == 1
}

func (r *reader) hash() [32]byte { return [32]byte(r.take(32)) }

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.b)
	if r.bad || size <= 0 || size > 1 && r.b[size-1] == 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[size:]
	return n
}

// size returns a number that is an int64.
func (r *reader) size() int64 {
	n := r.number()
	if n > 1<<62 {
		r.bad = true
		return 0
	}
	return int64(n)
}

// count returns how many fields of at least the given length follow: no more than there can be.
func (r *reader) count(length int) int {
	n := r.number()
	if n > uint64(len(r.b)/length) {
		r.bad = true
		return 0
	}
	return int(n)
}

// tags reads all tags. Their texts share one string: one allocation, and all live as long as the document.
func (r *reader) tags() []coffer.Tag {
	n := r.count(4)
	if n == 0 || r.bad {
		return nil
	}
	start := r.b
	type span struct{ from, to int }
	spans := make([]span, 0, 3*n)
	tags := make([]coffer.Tag, n)
	for i := range tags {
		tags[i].Unique = r.flag()
		for range 3 {
			length := r.count(1)
			from := len(start) - len(r.b)
			r.take(length)
			spans = append(spans, span{from, from + length})
		}
	}
	if r.bad {
		return nil
	}
	texts := string(start[:len(start)-len(r.b)])
	for i := range tags {
		s := spans[3*i:]
		tags[i].Key = texts[s[0].from:s[0].to]
		tags[i].Name = texts[s[1].from:s[1].to]
		tags[i].Value = texts[s[2].from:s[2].to]
	}
	return tags
}

// stream reads a stream, nil if there is none.
func (r *reader) stream() *coffer.Stream {
	form := r.byte()
	if form == 0 || form > 3 {
		r.bad = r.bad || form > 3
		return nil
	}
	s := &coffer.Stream{Pending: form == 2, Sequence: r.number(), Chunks: r.number()}
	if form == 3 {
		if s.Patch = r.number(); s.Patch == 0 {
			r.bad = true
		}
	}
	return s
}

// rest returns all that is left.
func (r *reader) rest() []byte {
	rest := r.b
	r.b = nil
	return rest
}

// end returns an error unless all was well formed and nothing is left.
func (r *reader) end() error {
	if r.bad || len(r.b) > 0 {
		return errRecord()
	}
	return nil
}

func errRecord() error { return coffer.Errorf("store", coffer.Corrupt, "a record does not decode") }
