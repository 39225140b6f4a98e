package faulty

import (
	"context"
	"io"
	"iter"

	"github.com/cofferhq/coffer/store/blob"
)

// Blobs returns a blob store that does what another one does unless the faults, which are none at first, strike. A
// rule's Name is a part of a key.
//
// A rule with Late fails an operation that was carried out. One with Part lets Put read half of the bytes and breaks
// off, lets what Get returns break off in the middle, lets Delete delete the first half of the keys, and List yield
// one.
func Blobs(s blob.Store) (blob.Store, *Faults) {
	b := &blobs{inner: s}
	return b, &b.faults
}

type blobs struct {
	inner  blob.Store
	faults Faults
}

func (s *blobs) Put(ctx context.Context, key string, size int64, sum [32]byte, r io.Reader) error {
	b := s.faults.strike(ctx, Put, key)
	if b.early() {
		return b.err
	}
	if b.part {
		r = io.MultiReader(io.LimitReader(r, size/2), broken{b.err})
	}
	return b.after(s.inner.Put(ctx, key, size, sum, r))
}

// A broken reader has nothing but its error.
type broken struct{ err error }

func (r broken) Read([]byte) (int, error) { return 0, r.err }

func (s *blobs) Get(ctx context.Context, key string) (io.ReadCloser, int64, error) {
	b := s.faults.strike(ctx, Get, key)
	if b.early() {
		return nil, 0, b.err
	}
	r, size, err := s.inner.Get(ctx, key)
	if err != nil || b.err == nil {
		return r, size, err
	}
	if b.late {
		_ = r.Close()
		return nil, 0, b.err
	}
	return &half{io.MultiReader(io.LimitReader(r, size/2), broken{b.err}), r}, size, nil
}

// A half is a blob that breaks off in the middle.
type half struct {
	io.Reader
	io.Closer
}

func (s *blobs) Delete(ctx context.Context, keys ...string) error {
	b := s.faults.strike(ctx, Delete, keys...)
	if b.early() {
		return b.err
	}
	if b.part {
		if err := s.inner.Delete(ctx, keys[:len(keys)/2]...); err != nil {
			return err
		}
		return b.err
	}
	return b.after(s.inner.Delete(ctx, keys...))
}

func (s *blobs) DeleteAll(ctx context.Context, prefix string) error {
	b := s.faults.strike(ctx, DeleteAll, prefix)
	if b.err != nil && !b.late {
		return b.err
	}
	return b.after(s.inner.DeleteAll(ctx, prefix))
}

func (s *blobs) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return sequence(ctx, &s.faults, List, s.inner.List(ctx))
}
