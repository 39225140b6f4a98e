package ledger

import (
	"encoding/binary"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/cofferhq/coffer"
)

// A Hash is one of a leaf, of a node or of a root of a log (RFC 6962, section 2.1).
type Hash = [tlog.HashSize]byte

// leafLabel begins every leaf.
const leafLabel = "coffer change 1\x00"

// Leaf returns the canonical form of a change: the leaf of the vault's log with the index Number-1. Two changes have
// the same leaf just when they are equal in every field but Cursor, and in Time by the millisecond. doc/ledger.md
// specifies it.
func Leaf(c coffer.Change) []byte {
	b := make([]byte, 0, len(leafLabel)+8+1+len(c.ID)+8+len(c.Rev)+8+len(c.By)+8)
	b = append(b, leafLabel...)
	b = binary.BigEndian.AppendUint64(b, c.Number)
	b = append(b, byte(c.Kind))
	b = append(b, c.ID[:]...)
	b = binary.BigEndian.AppendUint64(b, c.Sequence)
	b = append(b, c.Rev[:]...)
	b = binary.BigEndian.AppendUint64(b, uint64(len(c.By)))
	b = append(b, c.By...)
	return binary.BigEndian.AppendUint64(b, uint64(c.Time.UnixMilli()))
}

// LeafHash returns the hash of the change's leaf: SHA-256 of a zero byte and the leaf (RFC 6962, section 2.1).
func LeafHash(c coffer.Change) Hash { return Hash(tlog.RecordHash(Leaf(c))) }

func nodeHash(left, right Hash) Hash { return Hash(tlog.NodeHash(tlog.Hash(left), tlog.Hash(right))) }

// emptyRoot is the root of the log without leaves: SHA-256 of nothing.
var emptyRoot = func() Hash {
	h, err := tlog.TreeHash(0, nil)
	if err != nil {
		panic(err) // reads nothing
	}
	return Hash(h)
}()
