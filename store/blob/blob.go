// Package blob says what a keeper of chunks must do, and has the suite that checks it in blobtest. Drivers: files, in a
// folder.
package blob

import (
	"context"
	"io"
	"iter"
)

// A Store keeps immutable byte strings under keys. A key is one to eight path segments of lower-case letters, digits,
// "-" and "_", joined by "/"; anything else is Invalid.
type Store interface {
	// Put stores size bytes of r under a new key and returns once they are durable. Invalid, and nothing stored, when
	// r is shorter or longer or does not hash to sum. Nobody ever sees a part of them. A key is put once.
	Put(ctx context.Context, key string, size int64, sum [32]byte, r io.Reader) error

	// Get returns the bytes and how many there are, or NotExist. The reader is an *os.File where that is what the
	// bytes are in, so that they can be sent without passing through this process.
	Get(ctx context.Context, key string) (io.ReadCloser, int64, error)

	// Delete removes the blobs with the keys. Absent ones are no error.
	Delete(ctx context.Context, keys ...string) error

	// DeleteAll removes every blob whose key begins with the segments of prefix.
	DeleteAll(ctx context.Context, prefix string) error

	// List yields all keys, in no order, with their sizes.
	List(ctx context.Context) iter.Seq2[Info, error]
}

// An Info is a key and a size.
type Info struct {
	Key  string
	Size int64
}
