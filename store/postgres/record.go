package postgres

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/cofferhq/coffer"
)

// The columns that hold more than one value, and those that the database has no type for; doc/postgres.md gives them
// to operators.

// tagsForm is the first byte of a column of tags: the form of what follows.
const tagsForm = 1

// encodeTags writes the tags of a revision: form, and for each tag unique (0 or 1) and the texts of key, name and
// value, each after its length as an unsigned varint in its shortest form.
func encodeTags(tags []coffer.Tag) []byte {
	size := 1
	for i := range tags {
		t := &tags[i]
		size += 7 + len(t.Key) + len(t.Name) + len(t.Value)
	}
	b := append(make([]byte, 0, size), tagsForm)
	for i := range tags {
		t := &tags[i]
		b = append(b, flag(t.Unique))
		for _, text := range [...]string{t.Key, t.Name, t.Value} {
			b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
		}
	}
	return b
}

// decodeTags reads what encodeTags writes. The texts share one string, so that all live as long as one of them.
func decodeTags(b []byte) ([]coffer.Tag, error) {
	if len(b) == 0 || b[0] != tagsForm {
		return nil, errRecord()
	}
	if len(b) == 1 {
		return nil, nil
	}
	all := string(b)
	var tags []coffer.Tag
	for at := 1; at < len(all); {
		if len(tags) == coffer.MaxTags || all[at] > 1 {
			return nil, errRecord()
		}
		t := coffer.Tag{Unique: all[at] == 1}
		at++
		for _, text := range [...]*string{&t.Key, &t.Name, &t.Value} {
			n, size := binary.Uvarint(b[at:])
			if size <= 0 || size > 1 && b[at+size-1] == 0 || n > uint64(len(all)-at-size) {
				return nil, errRecord()
			}
			at += size
			*text = all[at : at+int(n)]
			at += int(n)
		}
		tags = append(tags, t)
	}
	return tags, nil
}

func flag(v bool) byte {
	if v {
		return 1
	}
	return 0
}

// encodeParents writes parents one after the other.
func encodeParents(parents []coffer.Rev) []byte {
	b := make([]byte, 0, len(parents)*len(coffer.Rev{}))
	for i := range parents {
		b = append(b, parents[i][:]...)
	}
	return b
}

func decodeParents(b []byte) ([]coffer.Rev, error) {
	const length = len(coffer.Rev{})
	if len(b)%length != 0 {
		return nil, errRecord()
	}
	if len(b) == 0 {
		return nil, nil
	}
	parents := make([]coffer.Rev, 0, len(b)/length)
	for ; len(b) > 0; b = b[length:] {
		parents = append(parents, coffer.Rev(b))
	}
	return parents, nil
}

func decodeRev(b []byte) (coffer.Rev, error) {
	if len(b) != len(coffer.Rev{}) {
		return coffer.Rev{}, errRecord()
	}
	return coffer.Rev(b), nil
}

// A number of the contract may be as great as 2^64-1. Where only that it comes back matters, it is stored in two's
// complement. Where its order matters, as for the places of chunks, as eight bytes.

func place(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

func decodePlace(b []byte) (uint64, error) {
	if len(b) != 8 {
		return 0, errRecord()
	}
	return binary.BigEndian.Uint64(b), nil
}

func errRecord() error { return coffer.Errorf("store", coffer.Corrupt, "a record does not decode") }

// A term is what documents are found by: the hash of a tag or of a tag's name. It is the first 16 bytes of a SHA-256,
// so that what an index holds is small: a vault's writers could make two of their own tags collide with 2^64 work, and
// would only mislead themselves.
type term [16]byte

// termOf hashes a tag's key, name and value, or key and name alone. Each text stands behind its length, so that they do
// not run into each other.
func termOf(texts ...string) (t term) {
	b := make([]byte, 0, 256)
	b = append(b, byte(len(texts)))
	for _, s := range texts {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	sum := sha256.Sum256(b)
	copy(t[:], sum[:])
	return t
}

// A posting is that a document has a tag.
type posting struct {
	tag, name term
	exclusive bool
}

// An index is the postings of a document, in the order of their tags, without duplicates. A tag that is unique once is.
type index []posting

func indexOf(tags []coffer.Tag) index {
	if len(tags) == 0 {
		return nil
	}
	x := make(index, 0, len(tags))
	for i := range tags {
		t := &tags[i]
		x = append(x, posting{termOf(t.Key, t.Name, t.Value), termOf(t.Key, t.Name), t.Unique})
	}
	slices.SortFunc(x, func(a, b posting) int {
		if c := bytes.Compare(a.tag[:], b.tag[:]); c != 0 {
			return c
		}
		return int(flag(b.exclusive)) - int(flag(a.exclusive))
	})
	return slices.CompactFunc(x, func(a, b posting) bool { return a.tag == b.tag })
}

// differ calls gone for the postings of old that are not in x, and come for those of x that are not in old.
func (x index) differ(old index, gone, come func(posting)) {
	for len(x) > 0 || len(old) > 0 {
		order := 1
		switch {
		case len(old) == 0:
			order = -1
		case len(x) > 0:
			order = bytes.Compare(x[0].tag[:], old[0].tag[:])
		}
		switch {
		case order < 0:
			come(x[0])
			x = x[1:]
		case order > 0:
			gone(old[0])
			old = old[1:]
		default:
			if x[0] != old[0] {
				gone(old[0])
				come(x[0])
			}
			x, old = x[1:], old[1:]
		}
	}
}

// Columns of statements that take many rows.
type (
	uuids   = pgtype.FlatArray[pgtype.UUID]
	int8s   = pgtype.FlatArray[int64]
	maybes  = pgtype.FlatArray[pgtype.Int8]
	flags   = pgtype.FlatArray[bool]
	perhaps = pgtype.FlatArray[pgtype.Bool]
	byteas  = pgtype.FlatArray[[]byte]
)

func uuid(b [16]byte) pgtype.UUID { return pgtype.UUID{Bytes: b, Valid: true} }
