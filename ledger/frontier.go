package ledger

import (
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cofferhq/coffer"
)

// MaxSize is the greatest size of a log: the greatest integer that JSON carries exactly.
const MaxSize = 1<<53 - 1

// A Frontier is all that one has to remember of a log of any length to go on computing its root: the roots of the
// perfect subtrees that its leaves make, largest first, one for each bit that is set in the size. The zero Frontier is
// that of the empty log.
type Frontier struct {
	size   uint64
	hashes []Hash
}

// Append adds the hash of one more leaf. It panics beyond [MaxSize], which nobody reaches by appending.
func (f *Frontier) Append(leaf Hash) {
	if f.size >= MaxSize {
		panic("ledger: the log is too long")
	}
	for s := f.size; s&1 == 1; s >>= 1 {
		last := len(f.hashes) - 1
		leaf = nodeHash(f.hashes[last], leaf)
		f.hashes = f.hashes[:last]
	}
	f.hashes = append(f.hashes, leaf)
	f.size++
}

// Size returns the number of leaves.
func (f *Frontier) Size() uint64 { return f.size }

// Root returns the root of the log (RFC 6962, section 2.1).
func (f *Frontier) Root() Hash {
	if f.size == 0 {
		return emptyRoot
	}
	h := f.hashes[len(f.hashes)-1]
	for i := len(f.hashes) - 2; i >= 0; i-- {
		h = nodeHash(f.hashes[i], h)
	}
	return h
}

// Clone returns a copy that shares nothing with f.
func (f *Frontier) Clone() Frontier { return Frontier{f.size, slices.Clone(f.hashes)} }

// frontierVersion is the first byte of an encoded Frontier.
const frontierVersion = 1

// Encode returns the frontier as bytes: a version (1), the size (8 bytes, big endian), the hashes. At most 1705 bytes.
func (f *Frontier) Encode() []byte {
	b := make([]byte, 0, 9+len(f.hashes)*len(Hash{}))
	b = binary.BigEndian.AppendUint64(append(b, frontierVersion), f.size)
	for _, h := range f.hashes {
		b = append(b, h[:]...)
	}
	return b
}

// DecodeFrontier reads what [Frontier.Encode] writes; anything else is Corrupt.
func DecodeFrontier(b []byte) (Frontier, error) {
	const op = "frontier"
	if len(b) < 9 || b[0] != frontierVersion {
		return Frontier{}, coffer.Errorf(op, coffer.Corrupt, "not of a version that is known")
	}
	size := binary.BigEndian.Uint64(b[1:])
	b = b[9:]
	if size > MaxSize || len(b) != bits.OnesCount64(size)*len(Hash{}) {
		return Frontier{}, coffer.Errorf(op, coffer.Corrupt, "the size is not that of the hashes")
	}
	f := Frontier{size: size}
	for ; len(b) > 0; b = b[len(Hash{}):] {
		f.hashes = append(f.hashes, Hash(b[:len(Hash{})]))
	}
	return f, nil
}
