// Package files is a [blob.Store] in a folder.
//
// A blob with the key a/b/c is the file aa/a/b/c below the folder, where aa are the first two characters of a, so that
// no folder holds every vault. It is written as a file below tmp, made durable, and only then given its name.
package files

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// A Store keeps blobs as files in a folder.
type Store struct{ root string }

var _ blob.Store = (*Store)(nil)

// temporary is the folder of what is being written. No shard has a name of three characters.
const temporary = "tmp"

// Open opens the folder, making it if it is not there. What an earlier process was writing is removed.
func Open(root string) (*Store, error) {
	const op = "files.Open"
	tmp := filepath.Join(root, temporary)
	if err := os.RemoveAll(tmp); err != nil {
		return nil, failure(op, err)
	}
	if err := os.MkdirAll(tmp, 0o700); err != nil {
		return nil, failure(op, err)
	}
	return &Store{root}, nil
}

// path returns where a key's blob, or the blobs below a prefix of keys, are.
func (s *Store) path(key string) (string, error) {
	if !blob.ValidKey(key) {
		return "", coffer.Errorf("blob", coffer.Invalid, "malformed key")
	}
	return filepath.Join(s.root, shard(key), filepath.FromSlash(key)), nil
}

func shard(key string) string { return (key + "__")[:2] }

// buffers are for copying, so that putting needs constant memory.
var buffers = sync.Pool{New: func() any { b := make([]byte, 128<<10); return &b }}

// Put implements [blob.Store].
func (s *Store) Put(ctx context.Context, key string, size int64, sum [32]byte, r io.Reader) (err error) {
	const op = "put blob"
	path, err := s.path(key)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Join(s.root, temporary), "")
	if err != nil {
		return failure(op, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	if err := fill(ctx, f, size, sum, r); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return failure(op, err)
	}
	if err := f.Close(); err != nil {
		return failure(op, err)
	}
	return failure(op, s.place(f.Name(), path))
}

// fill copies just size bytes that hash to sum.
func fill(ctx context.Context, f *os.File, size int64, sum [32]byte, r io.Reader) error {
	const op = "put blob"
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	h := sha256.New()
	var n int64
	for {
		if err := ctx.Err(); err != nil {
			return coffer.E(op, coffer.Unavailable, err)
		}
		k, readErr := r.Read(*buf)
		if n += int64(k); n > size {
			return coffer.Errorf(op, coffer.Invalid, "more bytes than announced")
		}
		h.Write((*buf)[:k])
		if _, err := f.Write((*buf)[:k]); err != nil {
			return failure(op, err)
		}
		if readErr == io.EOF {
			break
		} else if readErr != nil {
			return coffer.E(op, coffer.KindOf(readErr), readErr)
		}
	}
	if n != size {
		return coffer.Errorf(op, coffer.Invalid, "fewer bytes than announced")
	}
	if [32]byte(h.Sum(nil)) != sum {
		return coffer.Errorf(op, coffer.Invalid, "not the bytes announced")
	}
	return nil
}

// place gives a durable file its name, durably.
func (s *Store) place(from, path string) error {
	dir := filepath.Dir(path)
	for {
		if err := makeDurable(dir, s.root); err != nil {
			return err
		}
		err := os.Rename(from, path)
		if errors.Is(err, fs.ErrNotExist) {
			continue // the folder went away in between, being empty
		}
		if err != nil {
			return err
		}
		return syncFolder(dir)
	}
}

// makeDurable makes a folder and those above it, up to root, and syncs the ones that got a new entry.
func makeDurable(dir, root string) error {
	if dir == root {
		return nil
	}
	if err := os.Mkdir(dir, 0o700); err == nil {
		return syncFolder(filepath.Dir(dir))
	} else if errors.Is(err, fs.ErrExist) {
		return nil
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDurable(filepath.Dir(dir), root); err != nil {
		return err
	}
	return makeDurable(dir, root)
}

func syncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

// Get implements [blob.Store]. The reader is an [*os.File].
func (s *Store) Get(_ context.Context, key string) (io.ReadCloser, int64, error) {
	path, err := s.path(key)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, 0, failure("get blob", err)
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fs.ErrNotExist
	}
	if err != nil {
		f.Close()
		return nil, 0, failure("get blob", err)
	}
	return f, info.Size(), nil
}

// Delete implements [blob.Store].
func (s *Store) Delete(_ context.Context, keys ...string) error {
	for _, key := range keys {
		path, err := s.path(key)
		if err != nil {
			return err
		}
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failure("delete blob", err)
		}
		// Folders go with their last entry; one with others in it stays.
		for dir := filepath.Dir(path); dir != s.root && os.Remove(dir) == nil; {
			dir = filepath.Dir(dir)
		}
	}
	return nil
}

// DeleteAll implements [blob.Store].
func (s *Store) DeleteAll(_ context.Context, prefix string) error {
	path, err := s.path(prefix)
	if err != nil {
		return err
	}
	return failure("delete blobs", os.RemoveAll(path))
}

// List implements [blob.Store].
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		err := filepath.WalkDir(s.root, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // removed since
			} else if err != nil {
				return err
			}
			if err := ctx.Err(); err != nil {
				return err
			}
			rel, err := filepath.Rel(s.root, path)
			if err != nil {
				return err
			}
			if d.IsDir() {
				if rel == temporary {
					return fs.SkipDir
				}
				return nil
			}
			_, key, ok := strings.Cut(filepath.ToSlash(rel), "/")
			if !ok || !blob.ValidKey(key) {
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			} else if err != nil {
				return err
			}
			if !yield(blob.Info{Key: key, Size: info.Size()}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(blob.Info{}, failure("list blobs", err))
		}
	}
}

// failure wraps an error of the operating system. Paths, which name vaults, stay out of the text.
func failure(op string, err error) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return coffer.Errorf(op, coffer.NotExist, "no such blob")
	case errors.As(err, &path):
		err = path.Err
	case errors.As(err, &link):
		err = link.Err
	}
	return coffer.E(op, coffer.Unavailable, err)
}
