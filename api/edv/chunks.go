package edv

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// chunk returns the document and the index that the path names.
func (c *call) chunk() (id coffer.ObjectID, index uint64, err error) {
	if id, err = c.object(); err != nil {
		return id, 0, err
	}
	text := c.path.segments[5]
	index, err = strconv.ParseUint(text, 10, 64)
	if err != nil || index > maxChunkIndex || text != strconv.FormatUint(index, 10) {
		return id, 0, fail(http.StatusNotFound, notFoundError, coffer.NotExist, "no such chunk")
	}
	return id, index, nil
}

// putChunk is POST V/documents/{id}/chunks/{index}, in either form.
func (c *call) putChunk() error {
	id, index, err := c.chunk()
	if err != nil {
		return err
	}
	return c.putChunkTo(c.view(), id, index)
}

// putChunkTo stores the body as a chunk in a vault.
func (c *call) putChunkTo(v coffer.Vault, id coffer.ObjectID, index uint64) error {
	put := c.putJSONChunk
	if c.mediaType() == RawChunkType {
		put = c.putRawChunk
	}
	if err := put(v, id, index); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

func (c *call) putJSONChunk(v coffer.Vault, id coffer.ObjectID, index uint64) error {
	body, err := c.body(c.o.Limits.Chunk)
	if err != nil {
		return err
	}
	chunk, raw, err := RawFromJSON(body)
	if err != nil {
		return invalid(err)
	}
	if chunk.Index != index {
		return fail(http.StatusBadRequest, dataError, coffer.Invalid, "the chunk's index is not the one in the path")
	}
	ref := coffer.ChunkRef{Sequence: chunk.Sequence, Index: index, Size: int64(len(raw)), Sum: sha256.Sum256(raw)}
	return v.PutChunk(c.r.Context(), id, ref, bytes.NewReader(raw))
}

// putRawChunk hands the body on as it comes in. The store hashes it once, and takes it only if it is what was signed.
func (c *call) putRawChunk(v coffer.Vault, id coffer.ObjectID, index uint64) error {
	size := c.r.ContentLength
	switch {
	case size < 0:
		return fail(http.StatusLengthRequired, lengthError, coffer.Invalid, "a raw chunk needs a Content-Length")
	case size > c.o.Limits.Chunk:
		return &http.MaxBytesError{Limit: c.o.Limits.Chunk}
	}
	defer c.receiving(size)()
	body := &bodyReader{r: c.r.Body}
	var length [4]byte
	if _, err := io.ReadFull(body, length[:]); err != nil {
		return cutShort(err)
	}
	n, err := HeadLength(length)
	if err != nil {
		return invalid(err)
	}
	if int64(n) > size-4 {
		return fail(http.StatusBadRequest, validationError, coffer.Invalid, "the head is longer than the chunk")
	}
	head := make([]byte, 4+n)
	copy(head, length[:])
	if _, err := io.ReadFull(body, head[4:]); err != nil {
		return cutShort(err)
	}
	chunk, err := DecodeChunkHead(head[4:])
	if err != nil {
		return invalid(err)
	}
	if chunk.Index != index {
		return fail(http.StatusBadRequest, dataError, coffer.Invalid, "the chunk's index is not the one in the path")
	}
	ref := coffer.ChunkRef{Sequence: chunk.Sequence, Index: index, Size: size, Sum: c.digest}
	err = v.PutChunk(c.r.Context(), id, ref, io.MultiReader(bytes.NewReader(head), body))
	if err != nil && body.err != nil {
		return cutShort(body.err) // the client's doing, whatever the store made of it
	}
	return err
}

// A bodyReader remembers how reading a body failed.
type bodyReader struct {
	r   io.Reader
	err error
}

func (b *bodyReader) Read(p []byte) (int, error) {
	n, err := b.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.err = err
	}
	return n, err
}

// getChunk is GET V/documents/{id}/chunks/{index}: raw if the client takes that, else as JSON.
func (c *call) getChunk() error {
	id, index, err := c.chunk()
	if err != nil {
		return err
	}
	return c.getChunkFrom(c.view(), id, index)
}

// getChunkFrom answers with a chunk of a vault.
func (c *call) getChunkFrom(v coffer.Vault, id coffer.ObjectID, index uint64) error {
	ref, r, err := v.Chunk(c.r.Context(), id, index)
	if err != nil {
		return err
	}
	return c.sendChunk(ref, r)
}

// sendChunk answers with a chunk, and closes the reader.
func (c *call) sendChunk(ref coffer.ChunkRef, r io.ReadCloser) error {
	defer r.Close()
	raw := c.accepts(RawChunkType)
	etag := base64.RawURLEncoding.EncodeToString(ref.Sum[:])
	if !raw {
		etag += "-json"
	}
	etag = quote(etag)
	h := c.Header()
	h["Etag"] = []string{etag}
	h["Cache-Control"] = fresh
	h["Vary"] = []string{"Accept"}
	h["Coffer-Sequence"] = []string{strconv.FormatUint(ref.Sequence, 10)}
	if c.unchanged(etag) {
		return c.empty(http.StatusNotModified)
	}
	c.extendDeadline(sendChunkTime)
	if !raw {
		b := make([]byte, ref.Size)
		if _, err := io.ReadFull(r, b); err != nil {
			return coffer.E("chunk", coffer.Corrupt, errors.New("shorter than recorded"))
		}
		b, err := JSONFromRaw(b)
		if err != nil {
			return err
		}
		c.json(http.StatusOK, b)
		return nil
	}
	h["Content-Type"] = []string{RawChunkType}
	h["Content-Length"] = []string{strconv.FormatInt(ref.Size, 10)}
	c.WriteHeader(http.StatusOK)
	if c.r.Method == http.MethodHead {
		return nil
	}
	// A limited file goes to the connection without passing through this process, where the system can do that.
	if n, err := c.ReadFrom(io.LimitReader(r, ref.Size)); err != nil || n != ref.Size {
		return coffer.Errorf("chunk", coffer.Unavailable, "broke off")
	}
	return nil
}

// dropChunk is DELETE V/documents/{id}/chunks/{index}.
func (c *call) dropChunk() error {
	id, index, err := c.chunk()
	if err != nil {
		return err
	}
	return c.dropChunkFrom(c.view(), id, index)
}

// dropChunkFrom removes a chunk from a vault.
func (c *call) dropChunkFrom(v coffer.Vault, id coffer.ObjectID, index uint64) error {
	if err := v.DropChunk(c.r.Context(), id, index); err != nil {
		return err
	}
	return c.empty(http.StatusNoContent)
}

// etagSum reads the entity tag of a raw chunk.
func etagSum(etag string) (sum [32]byte, ok bool) {
	b, ok := jose.Decode64(strings.Trim(etag, `"`))
	if !ok || len(b) != len(sum) {
		return sum, false
	}
	return [32]byte(b), true
}
