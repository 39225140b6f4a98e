package faulty

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// A shelf keeps blobs in the plainest way.
type shelf map[string]string

func (s shelf) Put(_ context.Context, key string, size int64, sum [32]byte, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return coffer.E("shelf", coffer.KindOf(err), err)
	}
	if int64(len(b)) != size || sha256.Sum256(b) != sum {
		return coffer.E("shelf", coffer.Invalid, nil)
	}
	s[key] = string(b)
	return nil
}

func (s shelf) Get(_ context.Context, key string) (io.ReadCloser, int64, error) {
	text, ok := s[key]
	if !ok {
		return nil, 0, coffer.E("shelf", coffer.NotExist, nil)
	}
	return io.NopCloser(strings.NewReader(text)), int64(len(text)), nil
}

func (s shelf) Delete(_ context.Context, keys ...string) error {
	for _, key := range keys {
		delete(s, key)
	}
	return nil
}

func (s shelf) DeleteAll(_ context.Context, prefix string) error {
	for key := range s {
		if key == prefix || strings.HasPrefix(key, prefix+"/") {
			delete(s, key)
		}
	}
	return nil
}

func (s shelf) List(context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for key, text := range s {
			if !yield(blob.Info{Key: key, Size: int64(len(text))}, nil) {
				return
			}
		}
	}
}

func TestBlobs(t *testing.T) {
	inner := shelf{}
	s, faults := Blobs(inner)
	ctx := t.Context()
	down := coffer.E("test", coffer.Unavailable, nil)
	text := []byte("0123456789")
	put := func(key string) error {
		return s.Put(ctx, key, int64(len(text)), sha256.Sum256(text), bytes.NewReader(text))
	}
	get := func(key string) (string, error) {
		r, size, err := s.Get(ctx, key)
		if err != nil {
			return "", err
		}
		defer r.Close()
		if size != int64(len(text)) {
			t.Errorf("Get: %d bytes", size)
		}
		b, err := io.ReadAll(r)
		return string(b), err
	}
	once := func(op Op, r Rule) {
		r.Ops, r.Times, r.Err = []Op{op}, 1, down
		faults.Fail(r)
	}
	check := func(what string, err error, there int) {
		t.Helper()
		if !errors.Is(err, coffer.Unavailable) || len(inner) != there {
			t.Errorf("%s: %v, %d are there, want Unavailable and %d", what, err, len(inner), there)
		}
	}
	once(Put, Rule{})
	check("Put", put("a/1"), 0)
	once(Put, Rule{Part: true})
	check("Put in part", put("a/1"), 0)
	once(Put, Rule{Late: true})
	check("Put late", put("a/1"), 1)
	once(Put, Rule{Name: "a/2"})
	if err := put("a/3"); err != nil {
		t.Errorf("Put of another: %v", err)
	}
	check("Put of this one", put("a/2"), 2)

	once(Get, Rule{})
	_, err := get("a/1")
	check("Get", err, 2)
	once(Get, Rule{Part: true})
	got, err := get("a/1")
	if check("Get in part", err, 2); got != "01234" {
		t.Errorf("Get in part: %q", got)
	}
	once(Get, Rule{Late: true})
	_, err = get("a/1")
	check("Get late", err, 2)
	if got, err = get("a/1"); err != nil || got != string(text) {
		t.Errorf("Get: %q, %v", got, err)
	}

	once(List, Rule{Part: true})
	n, err := count(s.List(ctx))
	if check("List in part", err, 2); n != 1 {
		t.Errorf("%d in part of a list", n)
	}
	once(Delete, Rule{Name: "a/3"})
	check("Delete", s.Delete(ctx, "a/1", "a/3"), 2)
	once(Delete, Rule{Part: true})
	check("Delete in part", s.Delete(ctx, "a/1", "a/3"), 1)
	once(Delete, Rule{Late: true})
	check("Delete late", s.Delete(ctx, "a/3"), 0)
	if err := errors.Join(put("a/1"), put("b/1")); err != nil {
		t.Fatal(err)
	}
	once(DeleteAll, Rule{})
	check("DeleteAll", s.DeleteAll(ctx, "a"), 2)
	once(DeleteAll, Rule{Late: true})
	check("DeleteAll late", s.DeleteAll(ctx, "a"), 1)
	if err := s.DeleteAll(ctx, "b"); err != nil || len(inner) != 0 {
		t.Errorf("DeleteAll: %v", err)
	}
}
