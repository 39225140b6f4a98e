package files

import (
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// Delete removes blobs; see [blob.Store]. Folders that become empty are removed, too, unless blobs are just being put.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	const op = "files.Delete"
	for _, key := range keys {
		if err := blob.CheckKey(key); err != nil {
			return err
		}
	}
	touched := make(map[string]struct{})
	for _, key := range keys {
		if err := ctx.Err(); err != nil {
			return coffer.E(op, coffer.Unavailable, err)
		}
		path := s.path(key)
		if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return failure(op, err)
		}
		// One that is absent may have been removed a moment ago, by a call that failed or goes on, and not durably yet.
		touched[filepath.Dir(path)] = struct{}{}
	}
	for folder := range touched {
		if err := s.folders.flushRemoval(s.dir, folder); err != nil {
			return failure(op, err)
		}
		s.folders.prune(s.dir, folder)
	}
	return nil
}

// DeleteAll removes all blobs below a prefix; see [blob.Store]. They are gone at once for everybody; the space is free
// when it returns.
func (s *Store) DeleteAll(ctx context.Context, prefix string) error {
	const op = "files.DeleteAll"
	if err := s.Delete(ctx, prefix); err != nil {
		return err
	}
	folder := s.folder(prefix)
	removed := filepath.Join(s.dir, newName, rand.Text())
	if err := s.folders.move(folder, removed); err != nil {
		if errors.Is(err, fs.ErrNotExist) { // perhaps since a moment ago, as in Delete
			return failure(op, s.folders.flushRemoval(s.dir, filepath.Dir(folder)))
		}
		return failure(op, unnamed(err))
	}
	if err := s.fs.RemoveAll(removed); err != nil {
		return failure(op, err)
	}
	s.folders.prune(s.dir, filepath.Dir(folder))
	return nil
}
