// Package stream moves whole streams between a reader or writer and a [coffer.Vault]: [Write] cuts, pads, seals and
// stores, and a [Reader] fetches and opens, sequentially or anywhere. It knows of one document's chunks and the
// [seal.Stream] that describes them, and nothing of names, documents or keyrings; the caller seals what Write returns
// in the document's next revision, and opens the document that the Reader's stream stands in.
//
// Memory is bounded whatever the length: a few chunks, and 64 KiB of table now and then.
package stream

import (
	"context"
	"errors"
	"io"

	"github.com/cofferhq/coffer"
)

// DefaultWorkers is how many chunks are on their way at once, if not said otherwise.
const DefaultWorkers = 4

// fetch appends a chunk as the vault keeps it, of at most so many bytes, to dst. What is missing or cut short is
// Corrupt: the document says that it is there.
func fetch(ctx context.Context, v coffer.Vault, id coffer.ObjectID, dst []byte, index uint64,
	most int64) ([]byte, error) {
	const op = "read"
	ref, r, err := v.Chunk(ctx, id, index)
	if err != nil {
		if errors.Is(err, coffer.NotExist) {
			err = coffer.Errorf(op, coffer.Corrupt, "a chunk is missing")
		}
		return dst, err
	}
	defer r.Close()
	if ref.Index != index || ref.Size < 0 || ref.Size > most {
		return dst, coffer.Errorf(op, coffer.Corrupt, "another chunk")
	}
	n, end := len(dst), len(dst)+int(ref.Size)
	if end > cap(dst) {
		grown := make([]byte, end, end+spare)
		copy(grown, dst)
		dst = grown
	}
	dst = dst[:end]
	switch _, err := io.ReadFull(r, dst[n:]); {
	case err == io.EOF, err == io.ErrUnexpectedEOF: // of a body that is whole; a broken connection is another error
		return dst, coffer.Errorf(op, coffer.Corrupt, "a chunk is cut short")
	case err != nil:
		return dst, err
	}
	return dst, nil
}

// Room around a chunk's plaintext.
const (
	spare   = 16      // bytes behind a chunk, in which it is opened in place
	maxHead = 4 << 10 // bytes of a native chunk's head, and more
)
