package node

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
)

// check verifies documents, and reads every chunk that is recorded. It needs the same little memory for any node. Chunks
// that nothing names are no fault: a crash leaves them, and the next start removes them.
func check(ctx context.Context, documents store.Store, chunks blob.Store, report func(string)) error {
	buffer := make([]byte, 128<<10)
	return documents.Check(ctx, report, func(c store.Chunk) {
		if ctx.Err() != nil {
			return // the store ends the check
		}
		r, size, err := chunks.Get(ctx, c.Blob)
		switch {
		case errors.Is(err, coffer.NotExist):
			report("a chunk is recorded, but not there")
			return
		case err != nil:
			report("a chunk cannot be read")
			return
		}
		defer r.Close()
		if size != c.Ref.Size {
			report("a chunk is not of its recorded size")
			return
		}
		h := sha256.New()
		// Of the reader nothing but Read is shown, so that the buffer is used.
		if _, err := io.CopyBuffer(h, struct{ io.Reader }{r}, buffer); err != nil {
			report("a chunk cannot be read")
		} else if [32]byte(h.Sum(nil)) != c.Ref.Sum {
			report("a chunk does not have its recorded hash")
		}
	})
}
