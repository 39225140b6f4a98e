package edv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"net/http"
	"strconv"
	"sync"

	"github.com/cofferhq/coffer"
)

// peekHead checks that the head of a raw chunk is that of the chunk described, and returns a reader of the whole.
func peekHead(ref coffer.ChunkRef, r io.Reader) (io.Reader, error) {
	const op = "put chunk"
	short := coffer.Errorf(op, coffer.Invalid, "not a raw chunk, or not of its size")
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return nil, short
	}
	n, err := HeadLength(length)
	if err != nil {
		return nil, err
	}
	if int64(n) > ref.Size-4 {
		return nil, short
	}
	head := append(make([]byte, 0, 4+n), length[:]...)[:4+n]
	if _, err := io.ReadFull(r, head[4:]); err != nil {
		return nil, short
	}
	c, err := DecodeChunkHead(head[4:])
	if err != nil {
		return nil, err
	}
	if c.Index != ref.Index || c.Sequence != ref.Sequence {
		return nil, coffer.Errorf(op, coffer.Invalid, "the chunk's head is for another index or sequence")
	}
	if s, ok := r.(io.Seeker); ok {
		if _, err := s.Seek(-int64(len(head)), io.SeekCurrent); err == nil {
			return r, nil
		}
	}
	return io.MultiReader(bytes.NewReader(head), r), nil
}

// jsonChunk reads a raw chunk and returns its JSON form, for servers that know no other.
func jsonChunk(ref coffer.ChunkRef, r io.Reader) ([]byte, error) {
	const op = "put chunk"
	if ref.Size > maxAnswer {
		return nil, coffer.Errorf(op, coffer.Exhausted, "the chunk is too large")
	}
	raw := make([]byte, ref.Size)
	u := newUpload(r, ref.Size, ref.Sum)
	if _, err := io.ReadFull(u.body(), raw); err != nil {
		return nil, err
	}
	if sha256.Sum256(raw) != ref.Sum {
		return nil, coffer.Errorf(op, coffer.Invalid, "the chunk does not have its hash")
	}
	return JSONFromRaw(raw)
}

// readJSONChunk reads a chunk in its JSON form.
func readJSONChunk(
	ctx context.Context, resp *http.Response, index uint64,
) (ref coffer.ChunkRef, _ io.ReadCloser, err error) {
	const op = "chunk"
	b, err := readBounded(resp, maxAnswer)
	if err != nil {
		return ref, nil, unreachable(ctx, op, err)
	}
	c, raw, err := RawFromJSON(b)
	if err != nil {
		return ref, nil, coffer.E(op, coffer.Corrupt, err)
	}
	if c.Index != index {
		return ref, nil, coffer.Errorf(op, coffer.Corrupt, "the server answered with another chunk")
	}
	ref = coffer.ChunkRef{Sequence: c.Sequence, Index: index, Size: int64(len(raw)), Sum: sha256.Sum256(raw)}
	// One that came by a patch belongs to another set than the one it was written for.
	if set, err := strconv.ParseUint(resp.Header.Get("Coffer-Sequence"), 10, 64); err == nil {
		ref.Sequence = set
	}
	return ref, io.NopCloser(bytes.NewReader(raw)), nil
}

// An upload is a body of known size and hash that is sent as it is read, neither more nor less than size.
type upload struct {
	r      io.Reader
	seeker io.Seeker // nil if it can be read once only
	start  int64     // where seeker stood
	size   int64
	sum    [32]byte

	current *uploadBody
}

func newUpload(r io.Reader, size int64, sum [32]byte) *upload {
	u := &upload{r: r, size: size, sum: sum}
	if s, ok := r.(io.Seeker); ok {
		if at, err := s.Seek(0, io.SeekCurrent); err == nil {
			u.seeker, u.start = s, at
		}
	}
	return u
}

// body returns the body for one attempt to send it.
func (u *upload) body() io.ReadCloser {
	u.current = &uploadBody{r: u.r, left: u.size}
	return u.current
}

// release ends the attempt under way: the reader is the caller's again. It returns what was wrong with the reader.
func (u *upload) release() error {
	if u.current == nil {
		return nil
	}
	u.current.Close()
	return u.current.err
}

// rewind makes the body ready to be sent again, if that can be done.
func (u *upload) rewind() bool {
	if u.release() != nil || u.seeker == nil {
		return false
	}
	_, err := u.seeker.Seek(u.start, io.SeekStart)
	return err == nil
}

// An uploadBody is an upload on its way. The transport may go on reading when the server has answered already, so its
// end is waited for.
type uploadBody struct {
	mu     sync.Mutex
	r      io.Reader
	left   int64
	err    error
	closed bool
}

// Close implements [io.Closer]: nothing is read from then on.
func (b *uploadBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// Read implements [io.Reader]. Before the last byte is given, it makes sure that there is no other after it.
func (b *uploadBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return 0, io.ErrClosedPipe
	case b.err != nil:
		return 0, b.err
	case b.left == 0:
		return 0, io.EOF
	}
	n, err := b.r.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	const op = "put chunk"
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		b.err = coffer.Errorf(op, coffer.Unavailable, "the chunk could not be read")
	case err != nil && b.left > 0:
		b.err = coffer.Errorf(op, coffer.Invalid, "the chunk is shorter than its size")
	case err == nil && b.left == 0:
		if m, _ := io.ReadFull(b.r, make([]byte, 1)); m > 0 {
			b.err = coffer.Errorf(op, coffer.Invalid, "the chunk is longer than its size")
		}
	}
	if b.err != nil {
		return 0, b.err
	}
	return n, nil
}
