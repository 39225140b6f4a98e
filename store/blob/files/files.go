// Package files keeps a [blob.Store] in a folder.
//
// # Layout
//
//	format           "coffer blobs 1": a later version is refused
//	new/…            files being written, folders being removed; emptied when the store is opened
//	5f/a/b/c.blob    the blob with the key a/b/c; 5f is the first byte of the SHA-256 of a
//
// The segments of a key are folders, so that what has a beginning in common is removed together; callers choose keys so
// that no folder gets more than some hundred thousand entries. The folders at the top are 256 at most, however many
// first segments there are.
//
// # Durability
//
// A blob is written to a file of its own below new, flushed, linked to its place, and the folder is flushed before Put
// returns: nobody ever sees a part of a blob. Flushing a folder costs as much as flushing a small file; concurrent Puts
// into one folder share flushes. Folders that are made on the way are flushed to their parents, once.
//
// One process may have a folder open at a time; whoever opens it sees to that.
package files

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// A Store is a [blob.Store] in a folder.
type Store struct {
	dir     string
	folders folders
	buffers sync.Pool // of *buffer
}

var _ blob.Store = (*Store)(nil)

const (
	formatName = "format"
	formatText = "coffer blobs 1\n"
	newName    = "new"
	suffix     = ".blob" // has a character that no segment has: a blob and a folder never meet
)

// Open opens the store in a folder, and makes both if there is none. What was left half written or half removed is
// cleared away. It fails with Invalid when the folder was written by a later version or is something else, and with
// Unavailable when the disk fails.
func Open(dir string) (*Store, error) {
	const op = "files.Open"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, failure(op, err)
	}
	s := &Store{dir: dir}
	s.buffers.New = func() any { return &buffer{sum: sha256.New()} }
	format, err := os.ReadFile(filepath.Join(dir, formatName))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := s.create(); err != nil {
			return nil, err
		}
	case err != nil:
		return nil, failure(op, err)
	case string(format) != formatText:
		return nil, coffer.Errorf(op, coffer.Invalid, "the folder is no blob store, or was written by a later version")
	}
	if err := os.RemoveAll(filepath.Join(dir, newName)); err != nil {
		return nil, failure(op, err)
	}
	if err := os.Mkdir(filepath.Join(dir, newName), 0o700); err != nil {
		return nil, failure(op, err)
	}
	return s, nil
}

// create makes an empty folder a store.
func (s *Store) create() error {
	const op = "files.Open"
	there, err := os.ReadDir(s.dir)
	if err != nil {
		return failure(op, err)
	}
	for _, e := range there {
		if e.Name() != newName { // left by a creation that was cut off
			return coffer.Errorf(op, coffer.Invalid, "the folder is neither a blob store nor empty")
		}
	}
	if err := os.MkdirAll(filepath.Join(s.dir, newName), 0o700); err != nil {
		return failure(op, err)
	}
	f, name, err := s.newFile()
	if err != nil {
		return failure(op, err)
	}
	_, err = f.WriteString(formatText)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return failure(op, err)
	}
	if err := os.Rename(name, filepath.Join(s.dir, formatName)); err != nil {
		return failure(op, err)
	}
	for _, dir := range []string{s.dir, filepath.Dir(s.dir)} {
		if err := syncFolder(dir); err != nil {
			return failure(op, err)
		}
	}
	return nil
}

// path returns where a blob is, for a key that was checked.
func (s *Store) path(key string) string { return s.folder(key) + suffix }

// folder returns where the blobs are whose keys go on after key.
func (s *Store) folder(key string) string {
	first, _, _ := strings.Cut(key, "/")
	sum := sha256.Sum256([]byte(first))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:1]), filepath.FromSlash(key))
}

// newFile creates a file that nobody sees.
func (s *Store) newFile() (*os.File, string, error) {
	name := filepath.Join(s.dir, newName, rand.Text())
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	return f, name, err
}

// Put stores a blob; see [blob.Store]. It needs the same memory for any size.
func (s *Store) Put(ctx context.Context, key string, size int64, sum [32]byte, r io.Reader) (err error) {
	const op = "files.Put"
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	if size < 0 {
		return coffer.Errorf(op, coffer.Invalid, "negative size")
	}
	f, name, err := s.newFile()
	if err != nil {
		return failure(op, err)
	}
	defer os.Remove(name)
	err = s.fill(ctx, f, size, sum, r)
	if err == nil {
		err = failure(op, f.Sync())
	}
	if closeErr := f.Close(); err == nil {
		err = failure(op, closeErr)
	}
	if err != nil {
		return err
	}
	err = s.folders.place(s.dir, name, s.path(key))
	if errors.Is(err, fs.ErrExist) {
		return coffer.Errorf(op, coffer.Conflict, "the key is taken")
	}
	return failure(op, err)
}

// A buffer is what a Put works with.
type buffer struct {
	bytes [128 << 10]byte
	sum   hash.Hash
}

// fill writes all of r to f, and hashes it on the way.
func (s *Store) fill(ctx context.Context, f *os.File, size int64, sum [32]byte, r io.Reader) error {
	const op = "files.Put"
	b := s.buffers.Get().(*buffer)
	defer s.buffers.Put(b)
	b.sum.Reset()
	for left := size; left > 0; {
		if err := ctx.Err(); err != nil {
			return coffer.E(op, coffer.Unavailable, err)
		}
		part := b.bytes[:min(left, int64(len(b.bytes)))]
		if _, err := io.ReadFull(r, part); err != nil {
			return readFailure(op, err)
		}
		b.sum.Write(part)
		if _, err := f.Write(part); err != nil {
			return failure(op, err)
		}
		left -= int64(len(part))
	}
	switch n, err := io.ReadFull(r, b.bytes[:1]); {
	case n > 0:
		return coffer.Errorf(op, coffer.Invalid, "longer than announced")
	case err != io.EOF:
		return readFailure(op, err)
	}
	if [32]byte(b.sum.Sum(b.bytes[:0])) != sum {
		return coffer.Errorf(op, coffer.Invalid, "does not hash to what was announced")
	}
	return nil
}

// Get opens a blob; see [blob.Store]. The reader is an *os.File.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	const op = "files.Get"
	if err := blob.CheckKey(key); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, coffer.E(op, coffer.Unavailable, err)
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, 0, failure(op, err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, failure(op, err)
	}
	return f, info.Size(), nil
}

// readFailure returns an error of a reader as one of ours.
func readFailure(op string, err error) error {
	var ours *coffer.Error
	switch {
	case err == io.EOF || err == io.ErrUnexpectedEOF:
		return coffer.Errorf(op, coffer.Invalid, "shorter than announced")
	case errors.As(err, &ours):
		return err
	default:
		return coffer.E(op, coffer.Unavailable, err)
	}
}

// failure returns an error of the file system as one of ours, without the names of files: they are keys. A nil one
// stays nil.
func failure(op string, err error) error {
	var no syscall.Errno
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return coffer.E(op, coffer.NotExist, nil)
	case errors.As(err, &no):
		return coffer.Errorf(op, coffer.Unavailable, no.Error())
	default:
		return coffer.Errorf(op, coffer.Unavailable, "the file system failed")
	}
}
