package s3

import (
	"context"
	"io"

	"github.com/minio/minio-go/v7"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// Get opens a blob; see [blob.Store]. A body that ends early, breaks off or stalls gives an Unavailable error when it
// is read, never io.EOF. The reader is of no use when ctx has ended.
func (s *Store) Get(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	const op = "s3.Get"
	if err := blob.CheckKey(key); err != nil {
		return nil, 0, err
	}
	if err := ctx.Err(); err != nil {
		return nil, 0, coffer.E(op, coffer.Unavailable, err)
	}
	watched, w, end := s.watch(ctx)
	w.timer.Reset(retries * s.patience)
	r, info, _, err := s.core.GetObject(watched, s.bucket, s.name(key), minio.GetObjectOptions{})
	w.callers()
	if err == nil && info.Size < 0 {
		_ = r.Close()
		end()
		return nil, 0, coffer.Errorf(op, coffer.Unavailable, "the server does not say how many bytes there are")
	}
	if err != nil {
		err = failure(ctx, op, because(watched, err))
		end()
		return nil, 0, err
	}
	return &body{ReadCloser: r, left: info.Size, watch: w, end: end, failure: func(err error) error {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			return coffer.Errorf(op, coffer.Unavailable, "the bytes end early")
		}
		// Not failure alone: what is no answer is never NotExist.
		return failure(ctx, op, because(watched, err))
	}}, info.Size, nil
}

// A body is the bytes of a blob on their way here.
type body struct {
	io.ReadCloser
	left    int64
	watch   *watch
	end     func()
	failure func(error) error
	err     error
}

func (b *body) Read(p []byte) (int, error) {
	if b.err != nil || len(p) == 0 {
		return 0, b.err
	}
	if b.left == 0 {
		return 0, io.EOF
	}
	b.watch.servers()
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.watch.callers()
	if b.left -= int64(n); err != nil && b.left > 0 {
		b.err = b.failure(err)
		return n, b.err
	}
	return n, nil
}

func (b *body) Close() error {
	b.end()
	return b.ReadCloser.Close()
}
