package edv

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// RawChunkType is the media type of a chunk whose ciphertext travels as bytes: four bytes, big endian, the length of a
// head; the head, which is the chunk's JSON with an empty ciphertext; and the ciphertext. Vaults keep chunks in this
// form and give each client the form that it asks for. It is specified in doc/chunk.md.
const RawChunkType = "application/vnd.coffer.chunk"

// A Chunk is one piece of a stream as it travels.
type Chunk struct {
	Index    uint64         `json:"index"`
	Offset   uint64         `json:"offset"` // bytes of plaintext up to the end of this chunk
	Sequence uint64         `json:"sequence"`
	JWE      jsontext.Value `json:"jwe"`
}

// maxChunkHead bounds a raw chunk's head: it holds little but the recipients.
const maxChunkHead = 1 << 20

// maxChunkIndex bounds the index of a chunk.
const maxChunkIndex = 1 << 32

// HeadLength returns the length of the head of a raw chunk that begins with these four bytes, or Invalid.
func HeadLength(b [4]byte) (int, error) {
	n := binary.BigEndian.Uint32(b[:])
	if n < 2 || n > maxChunkHead {
		return 0, coffer.Errorf("chunk", coffer.Invalid, "length of head out of range")
	}
	return int(n), nil
}

// DecodeChunkHead reads the head of a raw chunk strictly. Its ciphertext must be empty, and stand where [JSONFromRaw]
// looks for it: a head that is spaced, or that holds another such member behind, would give other JSON.
func DecodeChunkHead(head []byte) (*Chunk, error) {
	c, ciphertext, err := decodeChunk(head)
	if err != nil {
		return nil, err
	}
	if ciphertext != "" {
		return nil, coffer.Errorf("chunk", coffer.Invalid, "ciphertext stands in the head")
	}
	probed, err := JSONFromRaw(JoinRaw(head, []byte{0, 0, 0}))
	if err != nil {
		return nil, coffer.Errorf("chunk", coffer.Invalid, "the head has no place for the ciphertext")
	}
	if _, ciphertext, err = decodeChunk(probed); err != nil || ciphertext != "AAAA" {
		return nil, coffer.Errorf("chunk", coffer.Invalid, "the head has no place for the ciphertext")
	}
	return c, nil
}

// decodeChunk reads a chunk, or its head, and the text of its ciphertext.
func decodeChunk(b []byte) (_ *Chunk, ciphertext string, _ error) {
	const op = "chunk"
	var w struct {
		Chunk
		Index    *uint64 `json:"index"`
		Offset   *uint64 `json:"offset"`
		Sequence *uint64 `json:"sequence"`
		JWE      *jwe    `json:"jwe"`
	}
	if err := jose.Decode(b, &w); err != nil {
		return nil, "", coffer.E(op, coffer.Invalid, err)
	}
	if err := w.JWE.check(); err != nil {
		return nil, "", err
	}
	if w.Index == nil || w.Offset == nil || w.Sequence == nil {
		return nil, "", coffer.Errorf(op, coffer.Invalid, "no index, offset or sequence")
	}
	if *w.Index > maxChunkIndex || *w.Offset > 1<<53 || *w.Sequence > coffer.MaxSequence {
		return nil, "", coffer.Errorf(op, coffer.Invalid, "number out of range")
	}
	return &Chunk{Index: *w.Index, Offset: *w.Offset, Sequence: *w.Sequence}, w.JWE.Ciphertext, nil
}

// ciphertextMember is how a chunk's ciphertext begins, in the compact JSON that clients send.
var ciphertextMember = []byte(`"ciphertext":"`)

// RawFromJSON reads a chunk in its JSON form strictly and returns it in the raw form: the same bytes but for the
// ciphertext, so that [JSONFromRaw] gives back just what came in.
func RawFromJSON(b []byte) (*Chunk, []byte, error) {
	const op = "chunk"
	c, _, err := decodeChunk(b)
	if err != nil {
		return nil, nil, err
	}
	start := bytes.LastIndex(b, ciphertextMember)
	if start < 0 { // spaced or escaped JSON: bring it to the compact form first
		v := jsontext.Value(bytes.Clone(b))
		if err := v.Canonicalize(); err != nil {
			return nil, nil, coffer.Errorf(op, coffer.Invalid, "not valid JSON")
		}
		if b, start = v, bytes.LastIndex(v, ciphertextMember); start < 0 {
			return nil, nil, coffer.Errorf(op, coffer.Invalid, "no ciphertext")
		}
	}
	start += len(ciphertextMember)
	end := bytes.IndexByte(b[start:], '"')
	if end < 0 {
		return nil, nil, coffer.Errorf(op, coffer.Invalid, "no ciphertext")
	}
	end += start
	headLen := len(b) - (end - start)
	if headLen > maxChunkHead {
		return nil, nil, coffer.Errorf(op, coffer.Invalid, "too much beside the ciphertext")
	}
	raw := make([]byte, 4, 4+headLen+base64.RawURLEncoding.DecodedLen(end-start))
	binary.BigEndian.PutUint32(raw, uint32(headLen))
	raw = append(raw, b[:start]...)
	raw = append(raw, b[end:]...)
	raw, err = base64.RawURLEncoding.Strict().AppendDecode(raw, b[start:end])
	if err != nil {
		return nil, nil, coffer.Errorf(op, coffer.Invalid, "ciphertext is not base64url")
	}
	if _, err := DecodeChunkHead(raw[4 : 4+headLen]); err != nil {
		return nil, nil, err // the member found was not the ciphertext
	}
	return c, raw, nil
}

// JSONFromRaw returns the JSON form of a raw chunk.
func JSONFromRaw(raw []byte) ([]byte, error) {
	head, ciphertext, err := SplitRaw(raw)
	if err != nil {
		return nil, err
	}
	at := bytes.LastIndex(head, ciphertextMember)
	if at < 0 {
		return nil, coffer.Errorf("chunk", coffer.Corrupt, "head has no ciphertext member")
	}
	at += len(ciphertextMember)
	out := make([]byte, 0, len(head)+base64.RawURLEncoding.EncodedLen(len(ciphertext)))
	out = append(out, head[:at]...)
	out = base64.RawURLEncoding.AppendEncode(out, ciphertext)
	return append(out, head[at:]...), nil
}

// SplitRaw returns the head and the ciphertext of a raw chunk.
func SplitRaw(raw []byte) (head, ciphertext []byte, err error) {
	if len(raw) < 4 {
		return nil, nil, coffer.Errorf("chunk", coffer.Invalid, "too short")
	}
	n, err := HeadLength([4]byte(raw))
	if err != nil {
		return nil, nil, err
	}
	if len(raw) < 4+n {
		return nil, nil, coffer.Errorf("chunk", coffer.Invalid, "too short")
	}
	return raw[4 : 4+n], raw[4+n:], nil
}

// JoinRaw returns the raw form of a chunk with this head, whose ciphertext is empty, and this ciphertext.
func JoinRaw(head, ciphertext []byte) []byte {
	raw := make([]byte, 4, 4+len(head)+len(ciphertext))
	binary.BigEndian.PutUint32(raw, uint32(len(head)))
	raw = append(raw, head...)
	return append(raw, ciphertext...)
}
