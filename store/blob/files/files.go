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
	"path/filepath"
	"strings"
	"sync"
	"syscall"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// A Store is a [blob.Store] in a folder.
type Store struct {
	fs      FS
	dir     string
	folders folders
	buffers sync.Pool // of *buffer
}

var _ blob.Store = (*Store)(nil)

const (
	formatName = "format"
	formatStem = "coffer blobs "
	formatText = formatStem + "1\n"
	newName    = "new"
	suffix     = ".blob" // has a character that no segment has: a blob and a folder never meet
)

// Open opens the store in a folder, and makes both if there is none. What was left half written or half removed is
// cleared away. When it fails, it leaves no new folder behind. It fails with
//
//   - Invalid when the folder was written by a later version, is something else, or has a file in its place or above
//     it;
//   - Denied when it may not write there;
//   - Unavailable when the disk fails, is full or is mounted read-only.
//
// The reason is one sentence that does not name the folder.
func Open(dir string) (*Store, error) { return OpenOn(disk{}, dir) }

// OpenOn is Open on another file system: for tests of what happens when it fails.
func OpenOn(fsys FS, dir string) (*Store, error) {
	s := newStore(fsys, dir)
	made, err := makeAll(fsys, dir)
	if err == nil {
		err = s.open()
	}
	if err != nil {
		removeMade(fsys, made)
		return nil, refusal(err)
	}
	return s, nil
}

func newStore(fsys FS, dir string) *Store {
	s := &Store{fs: fsys, dir: dir, folders: folders{fs: fsys}}
	s.buffers.New = func() any { return &buffer{sum: sha256.New()} }
	return s
}

// open makes sure that the folder is a store, and clears it.
func (s *Store) open() error {
	const op = "files.Open"
	switch format, err := s.format(); {
	case errors.Is(err, fs.ErrNotExist):
		if err := s.create(); err != nil {
			return err
		}
	case errors.Is(err, syscall.EISDIR):
		return coffer.Errorf(op, coffer.Invalid, "the folder is no blob store")
	case err != nil:
		return err
	case format == formatText:
	case strings.HasPrefix(format, formatStem):
		return coffer.Errorf(op, coffer.Invalid, "the folder was written by a later version of this program: use that")
	default:
		return coffer.Errorf(op, coffer.Invalid, "the folder is no blob store")
	}
	fresh := filepath.Join(s.dir, newName)
	if err := s.fs.RemoveAll(fresh); err != nil {
		return err
	}
	return s.fs.Mkdir(fresh)
}

// format returns the text of the file that says what the folder is.
func (s *Store) format() (string, error) {
	f, err := s.fs.Open(filepath.Join(s.dir, formatName))
	if err != nil {
		return "", err
	}
	b, err := io.ReadAll(io.LimitReader(f, 100))
	return string(b), errors.Join(err, f.Close())
}

// create makes an empty folder a store. After a failure the folder is as it was.
func (s *Store) create() (err error) {
	const op = "files.Open"
	f, err := s.fs.Open(s.dir)
	if err != nil {
		return err
	}
	there, err := f.ReadDir(2)
	if closeErr := f.Close(); err == nil || err == io.EOF {
		err = closeErr
	}
	if err != nil {
		return err
	}
	for _, e := range there {
		if e.Name() != newName { // left by a creation that was cut off
			return coffer.Errorf(op, coffer.Invalid, "the folder is neither a blob store nor empty")
		}
	}
	fresh, format := filepath.Join(s.dir, newName), filepath.Join(s.dir, formatName)
	defer func() {
		if err != nil {
			_ = s.fs.Remove(format)
			_ = s.fs.RemoveAll(fresh)
		}
	}()
	if err := s.fs.Mkdir(fresh); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return s.sign()
}

// sign puts the file in place that makes the folder a store, durably.
func (s *Store) sign() error {
	f, name, err := s.newFile()
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, formatText)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := s.fs.Rename(name, filepath.Join(s.dir, formatName)); err != nil {
		return err
	}
	return syncFolder(s.fs, s.dir)
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
func (s *Store) newFile() (File, string, error) {
	name := filepath.Join(s.dir, newName, rand.Text())
	f, err := s.fs.Create(name)
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
		return failure(op, unnamed(err))
	}
	defer s.fs.Remove(name)
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
	return failure(op, unnamed(err))
}

// A buffer is what a Put works with.
type buffer struct {
	bytes [128 << 10]byte
	sum   hash.Hash
}

// fill writes all of r to f, and hashes it on the way.
func (s *Store) fill(ctx context.Context, f File, size int64, sum [32]byte, r io.Reader) error {
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
	f, err := s.fs.Open(s.path(key))
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

// refusal returns an error of the file system, or one of ours, as Open returns it.
func refusal(err error) error {
	const op = "files.Open"
	var ours *coffer.Error
	switch {
	case errors.As(err, &ours):
		return err
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return coffer.Errorf(op, coffer.Invalid,
			"there is a file where a folder should be: name another folder, or remove it")
	case errors.Is(err, syscall.EROFS):
		return coffer.Errorf(op, coffer.Unavailable, "the disk is mounted read-only: mount it so that it can be written to")
	case errors.Is(err, fs.ErrPermission):
		return coffer.Errorf(op, coffer.Denied, "this user may not write in the folder: give it to the user of this program")
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return coffer.Errorf(op, coffer.Unavailable, "the disk is full: make room on it")
	default:
		return failure(op, unnamed(err))
	}
}

// unnamed keeps what the store itself needs and does not find from being taken for a blob that is not there.
func unnamed(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return syscall.EIO
	}
	return err
}
