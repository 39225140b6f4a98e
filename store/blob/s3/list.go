package s3

import (
	"context"
	"iter"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// List yields all blobs; see [blob.Store]. It holds a page of a thousand at a time.
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	const op = "s3.List"
	return func(yield func(blob.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(blob.Info{}, coffer.E(op, coffer.Unavailable, err))
			return
		}
		for o, err := range s.objects(ctx, s.prefix) {
			if err == nil {
				err = ctx.Err()
			}
			if err != nil {
				yield(blob.Info{}, failure(ctx, op, unstored(err)))
				return
			}
			key, ok := s.key(o.Key)
			if ok && !yield(blob.Info{Key: key, Size: o.Size, Modified: o.LastModified}, nil) {
				return
			}
		}
	}
}

// objects yields the objects whose names begin with prefix. The error, which is the last that it yields, is one of
// minio-go.
func (s *Store) objects(ctx context.Context, prefix string) iter.Seq2[minio.ObjectInfo, error] {
	return func(yield func(minio.ObjectInfo, error) bool) {
		watched, w, end := s.watch(ctx)
		defer end()
		servers := func() { w.timer.Reset(retries * s.patience) } // a page, with all attempts
		servers()
		owner := false
		o := minio.ListObjectsOptions{Prefix: prefix, Recursive: true, FetchOwner: &owner}
		for object := range s.core.ListObjectsIter(watched, s.bucket, o) {
			w.callers()
			if object.Err != nil {
				yield(object, because(watched, object.Err))
				return
			}
			if !strings.HasPrefix(object.Key, prefix) { // never touch what is not ours, whatever the server says
				continue
			}
			if !yield(object, nil) {
				return
			}
			servers()
		}
		if watched.Err() != nil { // minio-go then just ends
			yield(minio.ObjectInfo{}, context.Cause(watched))
		}
	}
}

// AbortUploads drops the parts of uploads below the prefix that began more than age ago, by the server's times and this
// machine's clock, and returns how many uploads these were. They are left when a node dies while it puts a large blob.
// It fails with Unavailable.
func (s *Store) AbortUploads(ctx context.Context, age time.Duration) (n int, err error) {
	const op = "s3.AbortUploads"
	watched, w, end := s.watch(ctx)
	defer end()
	servers := func() { w.timer.Reset(2 * retries * s.patience) }
	servers()
	before := time.Now().Add(-age)
	for u := range s.core.ListIncompleteUploads(watched, s.bucket, s.prefix, true) {
		if code(u.Err) == "NoSuchUpload" { // some servers say so when there is none
			return n, nil
		}
		if u.Err != nil {
			return n, failure(ctx, op, unstored(because(watched, u.Err)))
		}
		if _, ours := s.key(u.Key); !ours || u.Initiated.IsZero() || !u.Initiated.Before(before) {
			continue
		}
		err := s.core.AbortMultipartUpload(watched, s.bucket, u.Key, u.UploadID)
		if err != nil && code(err) != "NoSuchUpload" {
			return n, failure(ctx, op, unstored(because(watched, err)))
		}
		n++
		servers()
	}
	return n, nil
}
