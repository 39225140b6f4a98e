package seal

import (
	"encoding/base64"
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Stream is what a sealed document says of its stream. [NewNativeStream] and [NewStream] begin one, [Open] and
// [OpenObject] find one. It holds the key of the chunks, out of sight.
//
// A native stream has a table that pins every chunk, so that what the document's author signed is all of the stream;
// its length is padded, and its chunks name nobody. doc/streams.md gives the form. The other kind is for clients of
// encrypted data vaults that know nothing of this package: its chunks name their readers.
type Stream struct {
	Pending   bool   // being written: not all chunks are there, and none can be read
	Native    bool   // padded, with a table
	Sequence  uint64 // the document's sequence while the chunks were written; names the set
	Patch     uint64 // the set whose chunks take the places of others with this revision; 0 if none. Native streams only
	Chunks    uint64 // how many chunks the vault has, a native stream's table and padding included; 0 while pending
	Size      uint64 // bytes of plaintext; 0 while pending, and when a foreign client wrote
	ChunkSize int    // bytes of plaintext in each chunk but the last; 0 when a foreign client wrote

	key   *jose.ContentKey // nil when a foreign client wrote
	table []Entry          // of a closed native stream: its chunks, or its table chunks
	used  uint64           // about how many chunks of a native stream were sealed under the key
}

// Bounds on streams.
const (
	DefaultChunkSize = 1 << 20
	MaxChunkSize     = 8 << 20
	// MaxChunks keeps within what one key of A256GCM may encrypt with random ivs, a resumed upload included.
	MaxChunks = 1 << 31
)

// NewStream begins a stream with a key of its own. Its chunks are to be put while the document has this sequence: that
// of the revision that the stream is sealed in as pending; or, to replace a stream whose readers shall be served
// until the new one is closed, the document's present sequence. A chunk size of 0 means [DefaultChunkSize]. Invalid
// for a chunk size out of range.
//
// An upload that was interrupted goes on with the Stream that [Open] finds in the pending document, as long as the
// document still has that sequence: sealing a chunk again is safe. The bytes must be those of the first attempt;
// where they may have changed, begin a new stream, for the provider could serve a mixture of the two.
func NewStream(sequence uint64, chunkSize int) (*Stream, error) {
	if chunkSize == 0 {
		chunkSize = DefaultChunkSize
	}
	key, err := jose.NewContentKey(jose.A256GCM)
	if err != nil {
		return nil, err
	}
	s := &Stream{Pending: true, Sequence: sequence, ChunkSize: chunkSize, key: key}
	if err := s.check(coffer.MaxSequence); err != nil {
		return nil, coffer.E("stream", coffer.Invalid, err)
	}
	return s, nil
}

// Close returns the stream, not a native one, as the closing revision of its document shall seal it: complete, with
// this many bytes of plaintext. Invalid for more than the stream may have, and for a stream that was not being written.
func (s *Stream) Close(size uint64) (*Stream, error) {
	const op = "stream"
	if !s.Pending || s.key == nil || s.Native {
		return nil, coffer.Errorf(op, coffer.Invalid, "not being written")
	}
	if size > MaxChunks*uint64(s.ChunkSize) {
		return nil, coffer.Errorf(op, coffer.Invalid, "too long")
	}
	c := *s
	c.Pending, c.Size, c.Chunks = false, size, chunksOf(size, s.ChunkSize)
	return &c, nil
}

// Bound reports whether each chunk is bound to its document, stream and position, as those that this package wrote are.
func (s *Stream) Bound() bool { return s.key != nil }

// chunksOf returns how many chunks a stream has; an empty one has none.
func chunksOf(size uint64, chunkSize int) uint64 {
	return (size + uint64(chunkSize) - 1) / uint64(chunkSize)
}

// check reports the first rule of form that the stream of a document with this sequence breaks.
func (s *Stream) check(sequence uint64) error {
	switch {
	case s.Sequence > sequence:
		return errors.New("stream is of a later sequence than its document")
	case s.Native:
		return s.checkNative(sequence)
	case s.Patch != 0:
		return errors.New("only a native stream is patched")
	case s.Chunks > MaxChunks || s.Pending && (s.Chunks != 0 || s.Size != 0):
		return errors.New("stream has an impossible number of chunks")
	case s.key == nil:
		return nil
	case s.ChunkSize < 1 || s.ChunkSize > MaxChunkSize:
		return errors.New("chunk size out of range")
	case s.Size > MaxChunks*uint64(s.ChunkSize):
		return errors.New("stream is too long")
	case !s.Pending && s.Chunks != chunksOf(s.Size, s.ChunkSize):
		return errors.New("stream has another number of chunks than its size needs")
	}
	return nil
}

// streamMember is the member "stream" of what is sealed. Foreign clients have the first three members, pass over the
// others, and carry all of them over when they write a document anew without a new stream. Then they repeat sequence
// and chunks in the clear, so there must be neither while the stream is pending.
type streamMember struct {
	Pending   bool    `json:"pending,omitzero"`
	Sequence  *uint64 `json:"sequence,omitzero"`
	Chunks    *uint64 `json:"chunks,omitzero"`
	Opened    uint64  `json:"opened,omitzero"` // the sequence while pending
	Size      uint64  `json:"size,omitzero"`
	ChunkSize int     `json:"chunkSize,omitzero"`
	Enc       string  `json:"enc,omitzero"`
	Key       string  `json:"key,omitzero"` // base64url

	// Of native streams.
	Form  int    `json:"form,omitzero"` // nativeForm
	Patch uint64 `json:"patch,omitzero"`
	Table string `json:"table,omitzero"` // base64url
	Used  uint64 `json:"used,omitzero"`
}

func (s *Stream) inside() (jsontext.Value, error) {
	m := streamMember{Pending: s.Pending, Size: s.Size, ChunkSize: s.ChunkSize}
	if s.Pending {
		m.Opened = s.Sequence
	} else {
		m.Sequence, m.Chunks = &s.Sequence, &s.Chunks
	}
	if s.Native {
		m.Form, m.Patch, m.Used = nativeForm, s.Patch, s.used
		m.Table = base64.RawURLEncoding.EncodeToString(AppendTable(nil, s.table))
	}
	if s.key != nil {
		m.Enc, m.Key = string(s.key.Enc()), base64.RawURLEncoding.EncodeToString(s.key.Bytes())
	}
	return jose.Encode(m)
}

// outside returns what the provider is told of the stream.
func (s *Stream) outside() (*edv.StreamRef, *coffer.Stream) {
	out := &coffer.Stream{Pending: true}
	if !s.Pending {
		out = &coffer.Stream{Sequence: s.Sequence, Chunks: s.Chunks, Patch: s.Patch}
	}
	return edv.NewStreamRef(out), out
}

// decodeStream reads what a document with this sequence says of its stream.
func decodeStream(b []byte, sequence uint64) (*Stream, error) {
	s, err := parseStream(b)
	if err != nil {
		return nil, err
	}
	return s, s.check(sequence)
}

// parseStream is decodeStream without a check of what it says.
func parseStream(b []byte) (*Stream, error) {
	var m streamMember
	if err := decodeObject(b, &m); err != nil {
		return nil, err
	}
	s := &Stream{Pending: m.Pending}
	switch {
	case m.Pending:
		s.Sequence = m.Opened
	case m.Sequence == nil || m.Chunks == nil:
		return nil, errors.New("stream is neither pending nor closed")
	default:
		s.Sequence, s.Chunks = *m.Sequence, *m.Chunks
	}
	switch {
	case m.Form != 0 && m.Form != nativeForm:
		return nil, errors.New("stream is of a later form than is known here")
	case m.Form == nativeForm:
		s.Native, s.Patch, s.used = true, m.Patch, m.Used
	case m.Key == "":
		return s, nil // a foreign client's; what else it may say is not ours
	}
	raw, ok := jose.Decode64(m.Key)
	if !ok {
		return nil, errors.New("key of the stream is not base64url")
	}
	var err error
	if s.key, err = jose.ContentKeyOf(jose.Encryption(m.Enc), raw); err != nil {
		return nil, err
	}
	s.Size, s.ChunkSize = m.Size, m.ChunkSize
	if s.Native && m.Table != "" {
		if s.table, err = decodeTableText(m.Table); err != nil {
			return nil, err
		}
	}
	return s, nil
}
