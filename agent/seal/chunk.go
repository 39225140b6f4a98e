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

// NewChunkSealer returns a sealer for the stream, begun or found pending, of the document with this id. The chunks of a
// native stream have no recipients. Those of another one name one at least: they are those of foreign clients who shall
// read the stream; readers with this package need only the document. Invalid when the stream is not being written, for
// recipients that [Seal] refuses, for none or for some where it must be otherwise, and for more of them than a chunk's
// head has room for.
func NewChunkSealer(id coffer.ObjectID, s *Stream, recipients ...coffer.PublicKey) (*ChunkSealer, error) {
	const op = "chunk sealer"
	if s.key == nil || !s.Pending {
		return nil, coffer.Errorf(op, coffer.Invalid, "stream is not being written")
	}
	if s.Native {
		if len(recipients) > 0 {
			return nil, coffer.Errorf(op, coffer.Invalid, "the chunks of a native stream have no recipients")
		}
		return &ChunkSealer{id: id, stream: *s, recipients: jsontext.Value(nativeRecipients)}, nil
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
//
// Of a native stream, index is where the chunk stands among all that the vault has ([Layout]), and its length must be
// what the layout says; since the layout may not be known yet, Seal looks only at the bounds. A table chunk is sealed
// like the others: its plaintext is what [AppendTable] returns.
func (s *ChunkSealer) Seal(dst []byte, index uint64, last bool, plaintext []byte) ([]byte, error) {
	const op = "seal chunk"
	n, size := len(plaintext), s.stream.ChunkSize
	if s.stream.Native && n <= TableSpan*EntrySize {
		size = max(n, size)
	}
	if index >= MaxChunks || n > size || n < size && !last && !s.stream.Native || n == 0 {
		return nil, coffer.Errorf(op, coffer.Invalid, "index or length out of range")
	}
	key := s.stream.key
	protected, err := key.Protected(place(s.id, s.stream.Sequence, index, last))
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	start := len(dst)
	raw := append(dst, 0, 0, 0, 0)
	raw = appendHeadStart(raw, index, index*uint64(s.stream.ChunkSize)+uint64(n))
	raw = strconv.AppendUint(raw, s.stream.set(), 10)
	raw = key.AppendDetached(append(raw, `,"jwe":`...), protected, s.recipients, "}", plaintext)
	binary.BigEndian.PutUint32(raw[start:], uint32(len(raw)-start-4-n))
	return raw, nil
}

// appendHeadStart appends the beginning of a chunk's head, up to the number of the set.
func appendHeadStart(b []byte, index, offset uint64) []byte {
	b = strconv.AppendUint(append(b, `{"index":`...), index, 10)
	b = strconv.AppendUint(append(b, `,"offset":`...), offset, 10)
	return append(b, `,"sequence":`...)
}

// Overhead is at most how many bytes of room a sealed chunk needs beyond its plaintext.
func (s *ChunkSealer) Overhead() int { return 512 + len(s.recipients) }

// Ref describes a chunk that Seal returned, as a vault wants it described.
func (s *ChunkSealer) Ref(index uint64, raw []byte) coffer.ChunkRef {
	return coffer.ChunkRef{
		Sequence: s.stream.set(), Index: index, Size: int64(len(raw)), Sum: sha256.Sum256(raw),
	}
}

// Entry returns what the table of a native stream says of a chunk that Seal returned and Ref described. A nil Marker
// makes no mark.
func (s *ChunkSealer) Entry(ref coffer.ChunkRef, raw []byte, m *Marker, plaintext []byte) Entry {
	e := Entry{Sum: ref.Sum, Mark: m.Mark(ref.Sum, plaintext)}
	end := 4 + int(binary.BigEndian.Uint32(raw)) - len(nativeEnd)
	if !decodeExact(e.Tag[:], raw[end-tagText:end]) {
		panic("seal: entry of what is no sealed chunk")
	}
	return e
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

// NewStreamOpener is [NewChunkOpener] for those who have the stream of the document with this id, and no keyring. It is
// Invalid for a stream that is not bound.
func NewStreamOpener(id coffer.ObjectID, s *Stream) (*ChunkOpener, error) {
	if s != nil && !s.Bound() {
		return nil, coffer.Errorf("chunk opener", coffer.Invalid, "the keyring's key is needed for this stream")
	}
	return NewChunkOpener(nil, &Opened{ID: id, Plain: Plain{Stream: s}})
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
// NotExist for an index beyond the end. Invalid for a native stream whose table is not inline: [ChunkOpener.OpenData]
// takes the entry.
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
	if o.stream.Native {
		if o.stream.Chunks > InlineEntries {
			return nil, coffer.Errorf(op, coffer.Invalid, "the table is needed to open a chunk of this stream")
		}
		return o.pinned(raw, index, o.stream.Layout().DataLength(index), &o.stream.table[index], true)
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

// OpenData appends the plaintext of the data chunk of a native stream with this number, as its entry in the table pins
// it, to dst and returns the extended slice. Raw is the chunk in its raw form; the two must not overlap.
//
// It fails with Corrupt unless raw was sealed with the stream's key as this chunk of this stream of this document, and
// has the entry's tag: what was sealed in the same place before or after is another chunk. Others who know the key, as
// all readers do, could make a chunk that passes for this one, if the vault lets them. With strict, Corrupt is also
// what is not of the entry's sum, so that nobody can. NotExist for a number beyond the end.
func (o *ChunkOpener) OpenData(dst, raw []byte, number uint64, e *Entry, strict bool) ([]byte, error) {
	c, err := o.data(raw, number, e, strict)
	if err != nil {
		return nil, err
	}
	return c.decrypt(dst)
}

// OpenDataInPlace is OpenData without a copy, as [ChunkOpener.OpenInPlace] is Open.
func (o *ChunkOpener) OpenDataInPlace(raw []byte, number uint64, e *Entry, strict bool) ([]byte, error) {
	c, err := o.data(raw, number, e, strict)
	if err != nil {
		return nil, err
	}
	return c.decrypt(c.ciphertext[:0])
}

// OpenTable returns the entries that the table chunk with this number has: those of the data chunks from
// number*[TableSpan] on. Raw is given up. Corrupt, and strictly so, as for OpenData; NotExist for a number beyond the
// end.
func (o *ChunkOpener) OpenTable(raw []byte, number uint64) ([]Entry, error) {
	l := o.stream.Layout()
	if number >= l.Tables {
		return nil, coffer.Errorf("open chunk", coffer.NotExist, "the table ends before")
	}
	c, err := o.pinned(raw, l.TableIndex(number), l.Span(number)*EntrySize, &o.stream.table[number], true)
	if err != nil {
		return nil, err
	}
	b, err := c.decrypt(c.ciphertext[:0])
	if err != nil {
		return nil, err
	}
	return DecodeTable(b)
}

func (o *ChunkOpener) data(raw []byte, number uint64, e *Entry, strict bool) (*prepared, error) {
	l := o.stream.Layout()
	if number >= l.Data {
		return nil, coffer.Errorf("open chunk", coffer.NotExist, "the stream ends before")
	}
	return o.pinned(raw, DataIndex(number), l.DataLength(number), e, strict)
}

// pinned takes a chunk of a native stream apart: the one that stands at the index, has so many bytes of plaintext, and
// is what the entry says.
func (o *ChunkOpener) pinned(raw []byte, index uint64, length int, e *Entry, strict bool) (*prepared, error) {
	const op = "open chunk"
	head, ciphertext, err := edv.SplitRaw(raw)
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	s := &o.stream
	protected, err := s.key.Protected(place(o.id, s.Sequence, index, index+1 == s.Chunks))
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	h, ok := parseNativeHead(head, index, index*uint64(s.ChunkSize)+uint64(length), protected)
	if !ok || len(ciphertext) != length || h.set < s.Sequence {
		return nil, coffer.Errorf(op, coffer.Corrupt, "sealed for another place, or of another length")
	}
	if h.tag != e.Tag {
		return nil, coffer.Errorf(op, coffer.Corrupt, "another chunk than the table names")
	}
	if strict && sha256.Sum256(raw) != e.Sum {
		return nil, coffer.Errorf(op, coffer.Corrupt, "other bytes than the table names")
	}
	j := &jose.JWE{Enc: s.key.Enc(), Protected: protected, IV: h.iv[:], Tag: h.tag[:]}
	return &prepared{j, ciphertext, s.key}, nil
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
