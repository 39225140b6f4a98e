// Package blob says what a keeper of chunks must do. Drivers: files, in a folder; s3, in a bucket. Package blobtest
// checks every driver with one script.
package blob

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/cofferhq/coffer"
)

// A Store keeps immutable byte strings under keys. A key is one to eight path segments of lower-case letters, digits,
// "-" and "_", joined by "/"; anything else is Invalid. All methods may be called concurrently. Every method fails with
// Unavailable when the disk does.
type Store interface {
	// Put stores size bytes of r under a new key and returns once they are durable. Invalid, and nothing stored, when
	// r is shorter or longer or does not hash to sum. Nobody ever sees a part of them. A key is put once: Conflict, and
	// what is there stays, when it is taken. An error of r is returned with its own kind, or as Unavailable. When ctx
	// ends first, nothing is stored, unless it was all there.
	Put(ctx context.Context, key string, size int64, sum [32]byte, r io.Reader) error

	// Get returns the bytes and how many there are, or NotExist. The reader is an *os.File where that is what the
	// bytes are in, so that they can be sent without passing through this process. What is open stays readable when it
	// is deleted.
	Get(ctx context.Context, key string) (io.ReadCloser, int64, error)

	// Delete removes the blobs with the keys, durably. Absent ones are no error.
	Delete(ctx context.Context, keys ...string) error

	// DeleteAll removes, durably, every blob whose key begins with the segments of prefix, the one with the key prefix
	// itself too. None is no error.
	DeleteAll(ctx context.Context, prefix string) error

	// List yields all keys, in no order, with their sizes. What is put or deleted meanwhile may be among them or not.
	List(ctx context.Context) iter.Seq2[Info, error]
}

// An Info is what List says of a blob.
type Info struct {
	Key      string
	Size     int64
	Modified time.Time // when it was put, by the clock of the disk or the server that keeps it
}

// Bounds on keys.
const (
	MaxSegments = 8
	MaxSegment  = 100 // bytes; leaves room for what a driver adds within the 255 bytes of a file's name
)

// CheckKey returns Invalid unless key is a key as [Store] has them, with segments of at most [MaxSegment] bytes.
func CheckKey(key string) error {
	const op = "blob key"
	segments, length := 1, 0
	for i := range len(key) {
		c := key[i]
		switch {
		case c == '/':
			if length == 0 {
				return coffer.Errorf(op, coffer.Invalid, "a segment is empty")
			}
			segments, length = segments+1, 0
			continue
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '-', c == '_':
			length++
		default:
			return coffer.Errorf(op, coffer.Invalid, "a character is not allowed")
		}
		if length > MaxSegment || segments > MaxSegments {
			return coffer.Errorf(op, coffer.Invalid, "too long")
		}
	}
	if length == 0 {
		return coffer.Errorf(op, coffer.Invalid, "a segment is empty")
	}
	return nil
}
