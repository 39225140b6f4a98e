package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A Census is how far a check has come.
type Census struct {
	Chunks int64 `json:"chunks"` // read, or found to be missing
	Bytes  int64 `json:"bytes"`  // of them
}

// Check reads everything that the disks hold and calls report with a sentence for each thing that is wrong: what the
// store finds (see [store.Store]), and a chunk that is missing, unreadable, or not what was recorded. It calls
// progress, unless it is nil, after every chunk. The sentences hold no identifiers. It needs the same little memory
// for any node, and returns an error only when it could not go on. Chunks that nothing names are no fault: a crash
// leaves them, and a node that runs removes them.
func (d *Disks) Check(ctx context.Context, report func(string), progress func(Census)) error {
	var c Census
	buffer := make([]byte, 128<<10)
	return d.documents.Check(ctx, report, func(chunk store.Chunk) {
		if ctx.Err() != nil {
			return // the store ends the check
		}
		// What is gone or otherwise may have been replaced or removed meanwhile.
		if wrong := d.checkChunk(ctx, chunk, buffer); wrong != "" && ctx.Err() == nil && d.recorded(ctx, chunk) {
			report(wrong)
		}
		c.Chunks++
		c.Bytes += chunk.Ref.Size
		if progress != nil {
			progress(c)
		}
	})
}

// checkChunk reads a chunk and returns what is wrong with it, if anything is.
func (d *Disks) checkChunk(ctx context.Context, c store.Chunk, buffer []byte) (wrong string) {
	r, size, err := d.chunks.Get(ctx, c.Blob)
	switch {
	case errors.Is(err, coffer.NotExist):
		return "a chunk is recorded, but not there"
	case err != nil:
		return "a chunk cannot be read"
	}
	defer r.Close()
	if size != c.Ref.Size {
		return "a chunk is not of its recorded size"
	}
	h := sha256.New()
	// Of the reader nothing but Read is shown, so that the buffer is used.
	if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, buffer); err != nil {
		return "a chunk cannot be read"
	}
	if [32]byte(h.Sum(nil)) != c.Ref.Sum {
		return "a chunk does not have its recorded hash"
	}
	return ""
}

// recorded reports whether the chunk is recorded still; yes where that cannot be found out.
func (d *Disks) recorded(ctx context.Context, c store.Chunk) bool {
	first, _, _ := strings.Cut(c.Blob, "/")
	var v coffer.VaultID
	if b, err := hex.DecodeString(first); err != nil || len(b) != len(v) {
		return true
	} else {
		copy(v[:], b)
	}
	now, err := d.documents.Chunk(ctx, v, c.ID, c.Ref.Sequence, c.Ref.Index)
	if errors.Is(err, coffer.NotExist) {
		return false
	}
	return err != nil || now.Blob == c.Blob
}
