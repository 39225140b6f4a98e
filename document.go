package coffer

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"slices"
)

// A Document is one revision of one object, as a provider sees it: opaque, immutable, named by its hash.
type Document struct {
	ID       ObjectID
	Sequence uint64 // depth of this revision: 0 for the first (the compare-and-swap counter of encrypted data vaults)
	Parents  []Rev  // the revisions that it replaces; none for the first
	Tags     []Tag  // all that a query may match
	Stream   *Stream
	Body     []byte // the envelope exactly as received: for an encrypted data vault, its whole JSON document
}

// MaxSequence is the greatest sequence a document may have: the greatest that still has a successor among the
// integers that JSON carries exactly.
const MaxSequence = 1<<53 - 2

// A Tag is a blinded name and value that a query may match. To the vault all three texts are opaque.
type Tag struct {
	Key    string // id of the HMAC key that blinded name and value
	Name   string
	Value  string
	Unique bool // at most one document of the vault may hold a unique tag with this key, name and value
}

// Bounds on tags: they come from outside and each costs index entries.
const (
	MaxTags    = 4096 // in one document
	MaxTagText = 1024 // bytes in each of a tag's texts
)

// A Stream says which set of chunks belongs to a document.
type Stream struct {
	Pending  bool   // opened, and nothing closed yet: no set is named
	Sequence uint64 // the document's sequence while the set's chunks were written; names the set
	Chunks   uint64 // how many chunks the set has
	// Patch names another set, written while the set named by Sequence was closed: when the revision is accepted its
	// chunks take the places of that set's chunks with the same indexes. 0 is none; set 0 is never a patch.
	Patch uint64
}

// A ChunkRef describes one chunk of a document's stream.
type ChunkRef struct {
	Sequence uint64   // which set it belongs to
	Index    uint64   // position in the set, from 0
	Size     int64    // bytes as stored
	Sum      [32]byte // SHA-256 of the bytes as stored
}

// A Rev names a revision: the SHA-256 of its canonical form.
type Rev [sha256.Size]byte

// String returns the rev as unpadded base64url, 43 characters.
func (r Rev) String() string { return base64.RawURLEncoding.EncodeToString(r[:]) }

// ParseRev reads what [Rev.String] writes.
func ParseRev(s string) (r Rev, err error) {
	b, err := base64.RawURLEncoding.Strict().DecodeString(s)
	if err != nil || len(b) != len(r) || len(s) != base64.RawURLEncoding.EncodedLen(len(r)) { // line breaks are passed over
		return r, Errorf("revision", Invalid, "must be 43 characters of base64url")
	}
	copy(r[:], b)
	return r, nil
}

// Rev returns the name of the revision. Two documents have the same Rev just when they are equal in every field,
// the order of Tags included and the order of Parents not. The form hashed is given in doc/revision.md.
func (d *Document) Rev() Rev {
	size := 128 + len(d.Parents)*len(Rev{})
	for _, t := range d.Tags {
		size += 3*8 + len(t.Key) + len(t.Name) + len(t.Value) + 1
	}
	b := make([]byte, 0, size)
	b = append(b, "coffer revision 1\x00"...)
	b = append(b, d.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, d.Sequence)
	parents := d.Parents
	if len(parents) > 1 {
		parents = slices.SortedFunc(slices.Values(parents), func(x, y Rev) int { return bytes.Compare(x[:], y[:]) })
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(parents)))
	for _, p := range parents {
		b = append(b, p[:]...)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(d.Tags)))
	for _, t := range d.Tags {
		b = appendText(b, t.Key)
		b = appendText(b, t.Name)
		b = appendText(b, t.Value)
		b = appendFlag(b, t.Unique)
	}
	b = appendFlag(b, d.Stream != nil)
	if s := d.Stream; s != nil {
		if s.Patch != 0 {
			b = binary.BigEndian.AppendUint64(append(b, 2), s.Patch)
		} else {
			b = appendFlag(b, s.Pending)
		}
		b = binary.BigEndian.AppendUint64(b, s.Sequence)
		b = binary.BigEndian.AppendUint64(b, s.Chunks)
	}
	b = binary.BigEndian.AppendUint64(b, uint64(len(d.Body)))
	h := sha256.New()
	h.Write(b)
	h.Write(d.Body)
	return Rev(h.Sum(b[:0]))
}

// Check reports the first rule of form that the document breaks, as Invalid: bounds on sequence and tags, a stream
// that names a set of the future, no body, no id.
func (d *Document) Check() error {
	const op = "document"
	switch {
	case d.ID == ObjectID{}:
		return Errorf(op, Invalid, "no id")
	case d.Sequence > MaxSequence:
		return Errorf(op, Invalid, "sequence out of range")
	case len(d.Body) == 0:
		return Errorf(op, Invalid, "no body")
	case len(d.Tags) > MaxTags:
		return Errorf(op, Invalid, "too many tags")
	case len(d.Parents) > 64:
		return Errorf(op, Invalid, "too many parents")
	case d.Stream != nil && d.Stream.Sequence > d.Sequence:
		return Errorf(op, Invalid, "stream sequence is greater than the document's")
	case d.Stream != nil && d.Stream.Patch != 0 &&
		(d.Stream.Pending || d.Stream.Patch <= d.Stream.Sequence || d.Stream.Patch > d.Sequence):
		return Errorf(op, Invalid, "stream is patched with a set that cannot be")
	}
	for _, t := range d.Tags {
		if t.Key == "" || t.Name == "" || len(t.Key) > MaxTagText || len(t.Name) > MaxTagText || len(t.Value) > MaxTagText {
			return Errorf(op, Invalid, "tag text empty or too long")
		}
	}
	return nil
}

func appendText(b []byte, s string) []byte {
	return append(binary.BigEndian.AppendUint64(b, uint64(len(s))), s...)
}

func appendFlag(b []byte, v bool) []byte {
	if v {
		return append(b, 1)
	}
	return append(b, 0)
}
