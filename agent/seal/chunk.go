package seal

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// place is the protected header member "coffer" of a chunk: "<document>/<sequence>/<index>", and "/last" on the last
// chunk. It binds the chunk to its document, its set and its position, and the end to the last chunk.
func place(id coffer.ObjectID, sequence, index uint64, last bool) jose.Member {
	b := append([]byte(id.String()), '/')
	b = append(strconv.AppendUint(b, sequence, 10), '/')
	b = strconv.AppendUint(b, index, 10)
	if last {
		b = append(b, "/last"...)
	}
	return jose.Member{Name: "coffer", Value: string(b)}
}

// A ChunkSealer seals the chunks of one stream, in any order and by several goroutines at once.
type ChunkSealer struct {
	id         coffer.ObjectID
	stream     Stream
	recipients jsontext.Value
}

// NewChunkSealer returns a sealer for the stream, begun or found pending, of the document with this id. The recipients,
// one at least, are named in each chunk, and are those of foreign clients who shall read the stream; readers with this
// package need only the document. Invalid when the stream is not being written, for recipients that [Seal] refuses, and
// for more of them than a chunk's head has room for.
func NewChunkSealer(id coffer.ObjectID, s *Stream, recipients ...coffer.PublicKey) (*ChunkSealer, error) {
	const op = "chunk sealer"
	if s.key == nil || !s.Pending {
		return nil, coffer.Errorf(op, coffer.Invalid, "stream is not being written")
	}
	wrapped, err := wrap(s.key, recipients)
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	c := &ChunkSealer{id: id, stream: *s, recipients: wrapped}
	if _, err := edv.HeadLength([4]byte(binary.BigEndian.AppendUint32(nil, uint32(c.Overhead())))); err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "too many recipients for a chunk")
	}
	return c, nil
}

// Seal appends a chunk in its raw form ([edv.RawChunkType]) to dst and returns the extended slice. Each chunk but the
// last has just the stream's ChunkSize bytes of plaintext, the last has from one to that many; else it is Invalid, and
// so is an index beyond [MaxChunks]. Plaintext and dst must not overlap. With room for [ChunkSealer.Overhead] bytes
// more than the plaintext in dst, nothing is copied.
func (s *ChunkSealer) Seal(dst []byte, index uint64, last bool, plaintext []byte) ([]byte, error) {
	const op = "seal chunk"
	n, size := len(plaintext), s.stream.ChunkSize
	if index >= MaxChunks || n > size || n < size && !last || n == 0 {
		return nil, coffer.Errorf(op, coffer.Invalid, "index or length out of range")
	}
	key := s.stream.key
	protected, err := key.Protected(place(s.id, s.stream.Sequence, index, last))
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	start := len(dst)
	raw := append(dst, 0, 0, 0, 0)
	raw = strconv.AppendUint(append(raw, `{"index":`...), index, 10)
	raw = strconv.AppendUint(append(raw, `,"offset":`...), index*uint64(size)+uint64(n), 10)
	raw = strconv.AppendUint(append(raw, `,"sequence":`...), s.stream.Sequence, 10)
	raw = key.AppendDetached(append(raw, `,"jwe":`...), protected, s.recipients, "}", plaintext)
	binary.BigEndian.PutUint32(raw[start:], uint32(len(raw)-start-4-n))
	return raw, nil
}

// Overhead is at most how many bytes of room a sealed chunk needs beyond its plaintext.
func (s *ChunkSealer) Overhead() int { return 512 + len(s.recipients) }

// Ref describes a chunk that Seal returned, as a vault wants it described.
func (s *ChunkSealer) Ref(index uint64, raw []byte) coffer.ChunkRef {
	return coffer.ChunkRef{
		Sequence: s.stream.Sequence, Index: index, Size: int64(len(raw)), Sum: sha256.Sum256(raw),
	}
}

// A ChunkOpener opens the chunks of one stream, in any order and by several goroutines at once.
type ChunkOpener struct {
	ring   coffer.Keyring
	id     coffer.ObjectID
	stream Stream

	// Foreign streams only: the recipients that were last seen in a chunk, and the key that was wrapped for them.
	mu         sync.Mutex
	recipients []byte
	key        *jose.ContentKey
}

// NewChunkOpener returns an opener for the document's stream. NotExist when it has none, Unavailable while it is
// pending.
func NewChunkOpener(ring coffer.Keyring, o *Opened) (*ChunkOpener, error) {
	const op = "chunk opener"
	switch {
	case o.Stream == nil:
		return nil, coffer.Errorf(op, coffer.NotExist, "document has no stream")
	case o.Stream.Pending:
		return nil, coffer.Errorf(op, coffer.Unavailable, "stream is not closed yet")
	}
	return &ChunkOpener{ring: ring, id: o.ID, stream: *o.Stream}, nil
}

// maxRawChunk bounds what is looked at: a full chunk, and a head with as many recipients as there may be.
const maxRawChunk = MaxChunkSize + 2<<20

// Open appends the plaintext of the chunk with this index to dst and returns the extended slice. Raw is the chunk in
// its raw form; the two must not overlap.
//
// For a bound stream Open fails with Corrupt unless raw is just what was sealed as this chunk of this stream of this
// document. Chunks are then as safe one by one as all in order, and a part of a stream can be read alone: chunk i
// begins at byte i*ChunkSize. For a foreign stream it fails with Corrupt when the chunk does not decrypt or says that
// it is another, with Denied when its recipients do not name the keyring's key, and with the keyring's own error.
// NotExist for an index beyond the end.
func (o *ChunkOpener) Open(ctx context.Context, dst, raw []byte, index uint64) ([]byte, error) {
	c, err := o.prepare(ctx, raw, index)
	if err != nil {
		return nil, err
	}
	return c.decrypt(dst)
}

// OpenInPlace is Open without a copy: raw is given up and the plaintext takes its place. With 16 bytes of room behind
// raw nothing is allocated for it.
func (o *ChunkOpener) OpenInPlace(ctx context.Context, raw []byte, index uint64) ([]byte, error) {
	c, err := o.prepare(ctx, raw, index)
	if err != nil {
		return nil, err
	}
	return c.decrypt(c.ciphertext[:0])
}

// prepared is a chunk taken apart, with its key: all that can be checked before it is decrypted has been checked.
type prepared struct {
	jwe        *jose.JWE
	ciphertext []byte
	key        *jose.ContentKey
}

func (c *prepared) decrypt(dst []byte) ([]byte, error) {
	plaintext, err := c.jwe.DecryptDetached(dst, c.ciphertext, c.key)
	if err != nil {
		return nil, coffer.E("open chunk", coffer.Corrupt, err)
	}
	return plaintext, nil
}

func (o *ChunkOpener) prepare(ctx context.Context, raw []byte, index uint64) (*prepared, error) {
	const op = "open chunk"
	if index >= o.stream.Chunks {
		return nil, coffer.Errorf(op, coffer.NotExist, "the stream ends before")
	}
	if len(raw) > maxRawChunk {
		return nil, coffer.Errorf(op, coffer.Corrupt, "chunk is too large")
	}
	head, ciphertext, err := edv.SplitRaw(raw)
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	var c edv.Chunk
	if err := jose.Decode(head, &c); err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	j, err := jose.Parse(c.JWE)
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	if len(j.Ciphertext) > 0 || c.Index != index || c.Sequence != o.stream.Sequence {
		return nil, coffer.Errorf(op, coffer.Corrupt, "another chunk")
	}
	if o.stream.key == nil {
		key, err := o.unwrap(ctx, j)
		return &prepared{j, ciphertext, key}, err
	}
	size, last := uint64(o.stream.ChunkSize), index == o.stream.Chunks-1
	end := min((index+1)*size, o.stream.Size)
	protected, err := o.stream.key.Protected(place(o.id, o.stream.Sequence, index, last))
	if err != nil || j.Protected != protected || c.Offset != end || uint64(len(ciphertext)) != end-index*size {
		return nil, coffer.Errorf(op, coffer.Corrupt, "sealed for another place, or of another length")
	}
	return &prepared{j, ciphertext, o.stream.key}, nil
}

// unwrap returns the content key of a foreign chunk. All chunks of a stream repeat the same recipients as a rule, so
// the keyring is asked once.
func (o *ChunkOpener) unwrap(ctx context.Context, j *jose.JWE) (*jose.ContentKey, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.key != nil && o.key.Enc() == j.Enc && bytes.Equal(o.recipients, j.Recipients) {
		return o.key, nil
	}
	key, err := unwrap(ctx, o.ring, j)
	if err == nil {
		o.recipients, o.key = j.Recipients, key
	}
	return key, err
}
