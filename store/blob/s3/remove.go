package s3

import (
	"context"
	"errors"
	"slices"

	"github.com/minio/minio-go/v7"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// Delete removes blobs; see [blob.Store]. It deletes a thousand with one call, and fails with Unavailable when the
// server does not say of each that it is gone.
func (s *Store) Delete(ctx context.Context, keys ...string) error {
	const op = "s3.Delete"
	for _, key := range keys {
		if err := blob.CheckKey(key); err != nil {
			return err
		}
	}
	names := make([]string, len(keys))
	for i, key := range keys {
		names[i] = s.name(key)
	}
	return s.remove(ctx, op, names)
}

// DeleteAll removes all blobs below a prefix; see [blob.Store]. It looks again until there are none.
func (s *Store) DeleteAll(ctx context.Context, prefix string) error {
	const op = "s3.DeleteAll"
	if err := s.Delete(ctx, prefix); err != nil {
		return err
	}
	for range 2 * retries {
		found := false
		names := make([]string, 0, batch)
		for o, err := range s.objects(ctx, s.prefix+prefix+"/") {
			if err != nil {
				return failure(ctx, op, unstored(err))
			}
			if _, ours := s.key(o.Key); !ours {
				continue
			}
			found = true
			if names = append(names, o.Key); len(names) == batch {
				if err := s.remove(ctx, op, names); err != nil {
					return err
				}
				names = names[:0]
			}
		}
		if err := s.remove(ctx, op, names); err != nil || !found {
			return err
		}
	}
	return coffer.Errorf(op, coffer.Unavailable, "more and more blobs are put while they are deleted")
}

// remove removes objects.
func (s *Store) remove(ctx context.Context, op string, names []string) error {
	for some := range slices.Chunk(names, batch) {
		left := make(map[string]struct{}, len(some))
		for _, name := range some {
			left[name] = struct{}{}
		}
		for attempt := 0; len(left) > 0; attempt++ {
			if err := ctx.Err(); err != nil {
				return coffer.E(op, coffer.Unavailable, err)
			}
			err := s.removeSome(ctx, left)
			if len(left) > 0 && (err != nil && !transient(err) || attempt == retries || !pause(ctx, attempt)) {
				return failure(ctx, op, unstored(err))
			}
		}
	}
	return nil
}

var errNotAll = errors.New("the server did not delete all")

// removeSome makes one call and takes out of names what is gone. The error is one of minio-go.
func (s *Store) removeSome(ctx context.Context, names map[string]struct{}) error {
	limited, cancel := s.limit(ctx)
	defer cancel()
	if len(names) == 1 {
		for name := range names {
			err := s.core.RemoveObject(limited, s.bucket, name, minio.RemoveObjectOptions{})
			if err != nil && code(err) != minio.NoSuchKey {
				return because(limited, err)
			}
			delete(names, name)
		}
		return nil
	}
	objects := func(yield func(minio.ObjectInfo) bool) {
		for name := range names {
			if !yield(minio.ObjectInfo{Key: name}) {
				return
			}
		}
	}
	results, err := s.core.RemoveObjectsWithIter(limited, s.bucket, objects, minio.RemoveObjectsOptions{})
	if err != nil {
		return err
	}
	// minio-go drops some errors of single objects: what counts is of which the server says that they are gone.
	err = errNotAll
	var gone []string
	for r := range results {
		switch {
		case r.Err == nil || code(r.Err) == minio.NoSuchKey:
			gone = append(gone, r.ObjectName)
		case code(r.Err) == minio.AccessDenied || err == errNotAll:
			err = r.Err
		}
	}
	for _, name := range gone {
		delete(names, name)
	}
	return because(limited, err)
}
