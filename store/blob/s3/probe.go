package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/cofferhq/coffer"
)

// A Point is one thing that a bucket is to do.
type Point struct {
	What string // a sentence: what it is to do
	Err  error  // nil when it does
	Must bool   // Open refuses a bucket that does not
}

// maxSkew is how far the server's clock may be from ours.
const maxSkew = 5 * time.Minute

// errBroken breaks a request off.
var errBroken = errors.New("broken off")

// Probe looks whether the bucket does what a store needs, and returns the points in order, up to the first that it must
// and does not. The objects that it makes are removed.
func (s *Store) Probe(ctx context.Context) (points []Point) {
	const op = "s3.Probe"
	name := s.prefix + probeName + rand.Text()
	defer func() {
		limited, cancel := s.limit(context.WithoutCancel(ctx))
		defer cancel()
		for _, name := range []string{name, name + "-cut"} {
			_ = s.core.RemoveObject(limited, s.bucket, name, minio.RemoveObjectOptions{})
		}
	}()
	body, other := []byte("a probe: "+rand.Text()), []byte("another: "+rand.Text())
	var conditional minio.PutObjectOptions
	conditional.SetMatchETagExcept("*")
	var date string

	// get returns the bytes of the object, some of them when a range is given.
	get := func(ctx context.Context, name string, o minio.GetObjectOptions) ([]byte, error) {
		r, _, header, err := s.core.GetObject(ctx, s.bucket, name, o)
		if err != nil {
			return nil, because(ctx, err)
		}
		defer r.Close()
		date = header.Get("Date")
		b, err := io.ReadAll(io.LimitReader(r, 1000))
		return b, because(ctx, err)
	}
	wrong := func(reason string) error { return coffer.Errorf(op, coffer.Invalid, reason) }
	for _, p := range []struct {
		what string
		must bool
		do   func(ctx context.Context) error
	}{
		{"What is put is there at once, and is what was put.", true, func(ctx context.Context) error {
			if err := s.putBytes(ctx, name, body, minio.PutObjectOptions{}); err != nil {
				return err
			}
			switch got, err := get(ctx, name, minio.GetObjectOptions{}); {
			case err != nil:
				return err
			case !bytes.Equal(got, body):
				return wrong("the server gave other bytes than were put: do not use it")
			}
			return nil
		}},
		{"The server's clock and this machine's are at most five minutes apart.", true, func(context.Context) error {
			t, err := http.ParseTime(date)
			if err != nil {
				return wrong("the server does not say what time it is")
			}
			if skew := time.Since(t).Abs(); skew > maxSkew {
				return wrong("the server's clock and this machine's are " + skew.Round(time.Minute).String() +
					" apart: set them")
			}
			return nil
		}},
		{"A name that is taken is not put again when asked not to (If-None-Match).", false, func(ctx context.Context) error {
			switch err := s.putBytes(ctx, name, other, conditional); {
			case taken(err):
				return nil
			case err == nil:
				body = other
				return wrong("the server puts over what is there, though it is asked not to: " +
					"it is asked before each put whether the name is taken")
			case minio.ToErrorResponse(err).StatusCode == http.StatusNotImplemented || code(err) == "InvalidArgument":
				return wrong("the server does not know If-None-Match: it is asked before each put whether the name is taken")
			default:
				return err
			}
		}},
		{"A part of an object can be had.", true, func(ctx context.Context) error {
			var some minio.GetObjectOptions
			_ = some.SetRange(2, 6)
			switch got, err := get(ctx, name, some); {
			case err != nil:
				return err
			case !bytes.Equal(got, body[2:7]):
				return wrong("the server does not give the part of an object that it is asked for")
			}
			return nil
		}},
		{"What was put is listed at once.", true, func(ctx context.Context) error {
			for o, err := range s.objects(ctx, name) {
				if err != nil {
					return err
				}
				if o.Key == name && o.Size == int64(len(body)) {
					return nil
				}
			}
			return wrong("the server does not list what was put a moment ago")
		}},
		{"A put that breaks off leaves nothing.", true, func(ctx context.Context) error {
			// As a Put does it; and large enough not to be taken in whole before it is looked at.
			whole := bytes.Repeat(body, 2*small/len(body))
			sum := sha256.Sum256(whole)
			cut := io.MultiReader(bytes.NewReader(whole[:len(whole)-1]), broken{})
			o := minio.PutObjectOptions{DisableContentSha256: true}
			_, err := s.core.PutObject(
				ctx, s.bucket, name+"-cut", cut, int64(len(whole)), "", hex.EncodeToString(sum[:]), o)
			if err == nil {
				return wrong("the server took a put that broke off")
			}
			if _, err = get(ctx, name+"-cut", minio.GetObjectOptions{}); err == nil {
				return wrong("the server keeps a part of what a put that broke off should have put")
			}
			if !absent(err) {
				return err
			}
			return nil
		}},
		{"What is deleted is gone at once.", true, func(ctx context.Context) error {
			if err := s.core.RemoveObject(ctx, s.bucket, name, minio.RemoveObjectOptions{}); err != nil {
				return because(ctx, err)
			}
			_, err := get(ctx, name, minio.GetObjectOptions{})
			if err == nil {
				return wrong("the server still gives what was deleted")
			}
			if !absent(err) {
				return err
			}
			return nil
		}},
	} {
		limited, cancel := s.limit(ctx)
		err := p.do(limited)
		cancel()
		if ours := (*coffer.Error)(nil); err != nil && !errors.As(err, &ours) {
			err, p.must = refusal(ctx, op, err), true // that the server cannot be asked is never just a warning
		}
		points = append(points, Point{p.what, err, p.must})
		if err != nil && p.must {
			break
		}
	}
	return points
}

// broken is a reader that breaks.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, errBroken }

// check probes the bucket and keeps in mind what it does not do.
func (s *Store) check(ctx context.Context, log *slog.Logger) error {
	for _, p := range s.Probe(ctx) {
		switch {
		case p.Err == nil:
		case p.Must:
			return p.Err
		default:
			s.conditional = false
			log.Warn("the bucket does not do all that it should", "what", p.What, "err", p.Err)
		}
	}
	return nil
}
