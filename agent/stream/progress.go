package stream

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// Progress is how far an upload got: what [Write] needs to go on with it. Its binary form holds the stream's key, so it
// must be kept sealed.
type Progress struct {
	id     coffer.ObjectID
	stream *seal.Stream // pending
	base   [sha256.Size]byte
	key    [32]byte          // of the tags that the chain is made of
	chain  [sha256.Size]byte // of the tags of the first data chunks: each time the SHA-256 of the chain before and the tag
	data   uint64            // how many these are: they are in the vault, without a gap
	roots  []seal.Entry      // of the table chunks that are
	tail   []seal.Entry      // of the data chunks that no table chunk describes yet

	// No chunk was sent that stands at reserved or behind it. From the data chunks counted on up to there, some may have
	// been.
	reserved uint64
	sealed   uint64 // about how many chunks were sealed
	sent     bool   // any at all
}

// Done returns how many bytes, the padding included, are in the vault without a gap.
func (p *Progress) Done() int64 { return int64(p.data) * int64(p.stream.ChunkSize) }

// Set returns the set that the chunks belong to: the upload can go on for as long as the document has that sequence.
func (p *Progress) Set() uint64 {
	if p.stream.Patch != 0 {
		return p.stream.Patch
	}
	return p.stream.Sequence
}

// Bounds and the form of what is encoded.
const (
	progressForm  = 1
	progressFixed = 1 + 16 + 3*32 + 3*8 + 1 + 3*4
	maxPending    = 1 << 10 // bytes of a pending stream
	maxRoots      = seal.MaxDataChunks / seal.TableSpan
)

// MarshalBinary returns the binary form. It never fails for what Write handed out.
func (p Progress) MarshalBinary() ([]byte, error) {
	if p.stream == nil {
		return nil, coffer.Errorf("progress", coffer.Invalid, "empty")
	}
	s, err := p.stream.EncodePending()
	if err != nil {
		return nil, err
	}
	b := make([]byte, 0, progressFixed+len(s)+(len(p.roots)+len(p.tail))*seal.EntrySize)
	b = append(b, progressForm)
	b = append(b, p.id[:]...)
	b = append(append(append(b, p.base[:]...), p.key[:]...), p.chain[:]...)
	for _, n := range []uint64{p.data, p.reserved, p.sealed} {
		b = binary.BigEndian.AppendUint64(b, n)
	}
	var sent byte
	if p.sent {
		sent = 1
	}
	b = append(b, sent)
	for _, n := range []int{len(s), len(p.roots), len(p.tail)} {
		b = binary.BigEndian.AppendUint32(b, uint32(n))
	}
	b = append(b, s...)
	return seal.AppendTable(seal.AppendTable(b, p.roots), p.tail), nil
}

// UnmarshalBinary reads what MarshalBinary wrote; else it is Corrupt.
func (p *Progress) UnmarshalBinary(b []byte) error {
	bad := coffer.Errorf("progress", coffer.Corrupt, "not an upload's progress")
	if len(b) < progressFixed || b[0] != progressForm {
		return bad
	}
	var q Progress
	b = b[1:]
	for _, f := range [][]byte{q.id[:], q.base[:], q.key[:], q.chain[:]} {
		b = b[copy(f, b):]
	}
	for _, n := range []*uint64{&q.data, &q.reserved, &q.sealed} {
		*n, b = binary.BigEndian.Uint64(b), b[8:]
	}
	if b[0] > 1 {
		return bad
	}
	q.sent, b = b[0] == 1, b[1:]
	var lengths [3]uint64
	for i := range lengths {
		lengths[i], b = uint64(binary.BigEndian.Uint32(b)), b[4:]
	}
	stream, roots, tail := lengths[0], lengths[1], lengths[2]
	if stream > maxPending || roots > maxRoots || tail > seal.TableSpan || q.data != roots*seal.TableSpan+tail ||
		q.data > seal.MaxDataChunks || uint64(len(b)) != stream+(roots+tail)*seal.EntrySize ||
		q.reserved > 2*seal.MaxDataChunks || q.sealed > 1<<40 {
		return bad
	}
	var err error
	if q.stream, err = seal.DecodePending(b[:stream]); err != nil {
		return err
	}
	b = b[stream:]
	if q.roots, err = seal.DecodeTable(b[:roots*seal.EntrySize]); err != nil {
		return err
	}
	if q.tail, err = seal.DecodeTable(b[roots*seal.EntrySize:]); err != nil {
		return err
	}
	*p = q
	return nil
}

// snapshot returns a copy that does not change. The entries may be shared: they are only ever appended to.
func (p *Progress) snapshot() Progress {
	q := *p
	q.roots, q.tail = slices.Clip(p.roots), slices.Clip(p.tail)
	return q
}

// add counts the next data chunk.
func (p *Progress) add(r *result) {
	p.data++
	p.tail = append(p.tail, r.entry)
	p.chain = chained(p.chain, r.tag)
}

func chained(chain [sha256.Size]byte, t tag) [sha256.Size]byte {
	return sha256.Sum256(append(chain[:], t[:]...))
}

// A tag is what knows a piece of the source again: its GMAC, under a key of this upload's own. The nonce is the number
// of the chunk. Two sources may meet the same nonce, but no tag leaves the program: only a hash of all of them does,
// sealed.
type tag [16]byte

// tagger returns what makes tags with the key.
func (p *Progress) tagger() (func(number uint64, plain []byte) tag, error) {
	block, err := aes.NewCipher(p.key[:])
	if err != nil {
		return nil, err
	}
	mac, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return func(number uint64, plain []byte) (t tag) {
		var nonce [12]byte
		binary.BigEndian.PutUint64(nonce[4:], number)
		mac.Seal(t[:0], nonce[:], nil, plain)
		return t
	}, nil
}

// begun returns the progress of an upload that has yet to begin.
func begun(id coffer.ObjectID, s *seal.Stream, base [sha256.Size]byte) *Progress {
	p := &Progress{id: id, stream: s, base: base}
	rand.Read(p.key[:])
	return p
}

// of reports whether the progress is that of an upload to the same place, of the same former stream.
func (p *Progress) of(id coffer.ObjectID, set uint64, base [sha256.Size]byte, chunkSize int) bool {
	return p.stream != nil && p.id == id && p.Set() == set && p.stream.ChunkSize == chunkSize &&
		subtle.ConstantTimeCompare(p.base[:], base[:]) == 1
}
