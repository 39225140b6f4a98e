package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"hash"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// Bounds of the S3 API.
const (
	maxParts = 10_000
	maxPart  = 5 << 30
)

// mark is the metadata under which a Put leaves its random mark on an object.
const mark = "Coffer-Put"

// Put stores a blob; see [blob.Store]. It needs the same memory for any size. When the server's answer to a blob that
// was sent whole is lost and cannot be had, the error is Unavailable and the blob may be there, or come to be: keys are
// not used again. It is Invalid, too, when the blob is larger than what S3 can keep.
func (s *Store) Put(ctx context.Context, key string, size int64, sum [32]byte, r io.Reader) error {
	const op = "s3.Put"
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	if size < 0 {
		return coffer.Errorf(op, coffer.Invalid, "negative size")
	}
	if size > maxParts*maxPart {
		return coffer.Errorf(op, coffer.Invalid, "larger than an object can be")
	}
	if err := ctx.Err(); err != nil {
		return coffer.E(op, coffer.Unavailable, err)
	}
	b := s.buffers.Get().(*[small]byte)
	defer s.buffers.Put(b)
	p := &put{
		Store: s, name: s.name(key), size: size, sum: sum, mark: rand.Text(),
		source: &source{r: r, left: size, sum: sum, hash: sha256.New(), buffer: b[:]},
	}
	if !s.conditional || size > s.part {
		// Between this and the end another Put of the key may come, which the server then lets overwrite this one.
		if is, err := p.stat(ctx); err != nil {
			return failure(ctx, op, err)
		} else if is != nobodys {
			return conflict()
		}
	}
	switch {
	case size <= small:
		return p.whole(ctx)
	case size <= s.part:
		return p.stream(ctx)
	default:
		return p.parts(ctx)
	}
}

func conflict() error { return coffer.Errorf("s3.Put", coffer.Conflict, "the key is taken") }

// A put is a Put under way.
type put struct {
	*Store
	name   string
	size   int64
	sum    [32]byte
	mark   string
	source *source
}

func (p *put) options() (o minio.PutObjectOptions) {
	o.UserMetadata = map[string]string{mark: p.mark}
	o.DisableContentSha256 = true // of pieces: the server is told that of all
	if p.conditional {
		o.SetMatchETagExcept("*")
	}
	return o
}

// whole puts a small blob. All of it is read and checked first, so that it can be sent again.
func (p *put) whole(ctx context.Context) error {
	b := p.buffers.Get().(*[small]byte)
	defer p.buffers.Put(b)
	body := b[:p.size]
	if _, err := io.ReadFull(p.source, body); err != nil {
		return p.source.failure(err)
	}
	if err := p.source.end(); err != nil {
		return err
	}
	lost := false // an answer, to bytes that may have arrived
	for attempt := 0; ; attempt++ {
		err := p.send(ctx, bytes.NewReader(body))
		switch {
		case err == nil:
			return nil
		case taken(err) && !lost:
			return conflict()
		case !transient(err) || attempt == retries || !pause(ctx, attempt):
			return p.settle(ctx, err)
		}
		lost = true
	}
}

// stream puts a blob in one request. It is sent again as long as nothing of it was read.
func (p *put) stream(ctx context.Context) error {
	for attempt := 0; ; attempt++ {
		err := p.send(ctx, p.source)
		if broken := p.source.broken(); broken != nil {
			return broken
		}
		switch {
		case err == nil && p.source.checked:
			return nil
		case taken(err):
			return conflict()
		case p.source.checked:
			return p.settle(ctx, err)
		case p.source.touched || !transient(err) || attempt == retries || !pause(ctx, attempt):
			return failure(ctx, "s3.Put", unstored(err))
		}
	}
}

// errHasty says that the server answered before it had all.
var errHasty = errors.New("the server answered before it had all")

func unstored(err error) error {
	if err == nil {
		return errHasty
	}
	if absent(err) { // the bucket, or what is in front of it
		return minio.ErrorResponse{Code: minio.NoSuchBucket, StatusCode: http.StatusNotFound}
	}
	return err
}

// send makes one request with all of the blob. It does not read from body once it has returned. The error is one of
// minio-go.
func (p *put) send(ctx context.Context, body io.Reader) error {
	watched, w, end := p.watch(ctx)
	defer end()
	g := &guard{r: body, watch: w}
	defer g.close()
	_, err := p.core.PutObject(watched, p.bucket, p.name, g, p.size, "", hex.EncodeToString(p.sum[:]), p.options())
	return because(watched, err)
}

// because returns the cause for which a context ended, in place of an error that came with it.
func because(ctx context.Context, err error) error {
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// parts puts a blob in several requests, and makes them an object.
func (p *put) parts(ctx context.Context) (err error) {
	const op = "s3.Put"
	options := p.options()
	initial := minio.PutObjectOptions{UserMetadata: options.UserMetadata}
	limited, cancel := p.limit(ctx)
	id, err := p.core.NewMultipartUpload(limited, p.bucket, p.name, initial)
	cancel()
	if err != nil {
		return failure(ctx, op, unstored(err))
	}
	defer func() {
		if err != nil {
			limited, cancel := p.limit(context.WithoutCancel(ctx))
			defer cancel()
			_ = p.core.AbortMultipartUpload(limited, p.bucket, p.name, id) // what is left, AbortUploads drops
		}
	}()
	part := max(p.part, (p.size+maxParts-1)/maxParts)
	var done []minio.CompletePart
	for left := p.size; left > 0; left -= part {
		n, err := p.sendPart(ctx, id, len(done)+1, min(left, part))
		if broken := p.source.broken(); broken != nil {
			return broken
		}
		if err != nil {
			return failure(ctx, op, unstored(err))
		}
		done = append(done, minio.CompletePart{PartNumber: n.PartNumber, ETag: n.ETag})
	}
	if !p.source.checked {
		return failure(ctx, op, errHasty)
	}
	limited, cancel = p.limit(ctx)
	defer cancel()
	if _, err := p.core.CompleteMultipartUpload(limited, p.bucket, p.name, id, done, options); err != nil {
		return p.settle(ctx, because(limited, err))
	}
	return nil
}

func (p *put) sendPart(ctx context.Context, id string, number int, size int64) (minio.ObjectPart, error) {
	watched, w, end := p.watch(ctx)
	defer end()
	g := &guard{r: io.LimitReader(p.source, size), watch: w}
	defer g.close()
	part, err := p.core.PutObjectPart(watched, p.bucket, p.name, id, number, g, size, minio.PutObjectPartOptions{})
	return part, because(watched, err)
}

// settle finds out what became of a blob that was sent whole, when the answer was err.
func (p *put) settle(ctx context.Context, err error) error {
	const op = "s3.Put"
	if ctx.Err() != nil {
		return failure(ctx, op, err)
	}
	is, statErr := p.stat(ctx)
	switch {
	case statErr == nil && is == ours:
		return nil
	case statErr == nil && is == others:
		return conflict()
	case err != nil && !transient(err) && !errors.Is(err, errSilent): // refused
		return failure(ctx, op, unstored(err))
	}
	return coffer.Errorf(op, coffer.Unavailable, "the server's answer is lost: the blob may be there, or come to be")
}

type whose int

const (
	nobodys whose = iota // there is none
	ours
	others
)

// stat says whose the object with the name is. The error is one of minio-go.
func (p *put) stat(ctx context.Context) (whose, error) {
	limited, cancel := p.limit(ctx)
	defer cancel()
	info, err := p.core.StatObject(limited, p.bucket, p.name, minio.StatObjectOptions{})
	switch {
	case err != nil && absent(err):
		return nobodys, nil
	case err != nil:
		return nobodys, because(limited, err)
	case info.UserMetadata[mark] == p.mark:
		return ours, nil
	default:
		return others, nil
	}
}

// putBytes puts an object that is no blob, over what is there unless the options say otherwise. The error is one of
// minio-go.
func (s *Store) putBytes(ctx context.Context, name string, body []byte, o minio.PutObjectOptions) error {
	sum := sha256.Sum256(body)
	o.DisableContentSha256 = true
	_, err := s.core.PutObject(
		ctx, s.bucket, name, bytes.NewReader(body), int64(len(body)), "", hex.EncodeToString(sum[:]), o)
	return because(ctx, err)
}

// pause waits before another attempt. It returns false when ctx ends first.
func pause(ctx context.Context, attempt int) bool {
	var b [1]byte
	rand.Read(b[:])
	wait := 100 * time.Millisecond << attempt
	t := time.NewTimer(wait/2 + wait/2*time.Duration(b[0])/256)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A source gives the bytes of a reader and checks them: the last ones only when all hash to the sum and the reader has
// no more. Until then it keeps at least one byte to itself. There are servers that take what came before a connection
// broke for all, as long as it has the right hash; so a reader that ends early must not have sent bytes of the right
// hash.
type source struct {
	r       io.Reader
	left    int64 // not read yet
	sum     [32]byte
	hash    hash.Hash
	buffer  []byte
	waiting []byte // what was read and not given, a part of buffer
	touched bool   // the reader was asked
	checked bool   // all is well
	err     error  // one of ours
}

func (s *source) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, s.err
	}
	for s.err == nil {
		ready := s.waiting
		if s.left > 0 && len(ready) > 0 {
			ready = ready[:len(ready)-1]
		}
		if len(ready) > 0 {
			n := copy(p, ready)
			s.waiting = s.waiting[n:]
			return n, nil
		}
		if s.left == 0 {
			if err := s.end(); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		s.fill()
	}
	return 0, s.err
}

// fill reads some of the bytes that are left, and checks them if these are all.
func (s *source) fill() {
	const op = "s3.Put"
	s.touched = true
	held := copy(s.buffer, s.waiting) // a byte at most
	n, err := s.r.Read(s.buffer[held:min(int64(len(s.buffer)), int64(held)+s.left)])
	s.hash.Write(s.buffer[held : held+n])
	s.waiting = s.buffer[:held+n]
	s.left -= int64(n)
	switch {
	case s.left == 0 && (err == nil || err == io.EOF):
		_ = s.end()
	case err != nil:
		s.err = readFailure(op, err)
	}
}

// end makes sure that the reader ends where it should and gave what it should.
func (s *source) end() error {
	const op = "s3.Put"
	if s.err != nil || s.checked {
		return s.err
	}
	s.touched = true
	var more [1]byte
	switch n, err := io.ReadFull(s.r, more[:]); {
	case n > 0:
		s.err = coffer.Errorf(op, coffer.Invalid, "longer than announced")
	case err != io.EOF:
		s.err = readFailure(op, err)
	case [32]byte(s.hash.Sum(nil)) != s.sum:
		s.err = coffer.Errorf(op, coffer.Invalid, "does not hash to what was announced")
	default:
		s.checked = true
	}
	return s.err
}

// broken returns why the reader did not give what it should, if so.
func (s *source) broken() error { return s.err }

// failure returns the error of who read from s as one of ours.
func (s *source) failure(err error) error {
	if s.err != nil {
		return s.err
	}
	return readFailure("s3.Put", err)
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

// A guard stands between a caller's reader and a transport, which may go on reading when its request is over. While the
// reader is asked, it is the caller's turn.
type guard struct {
	mu     sync.Mutex
	r      io.Reader
	watch  *watch
	closed bool
}

func (g *guard) Read(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return 0, io.ErrClosedPipe
	}
	g.watch.callers()
	defer g.watch.servers()
	return g.r.Read(p)
}

// close waits until the reader is not being read from, and makes sure that it is not again.
func (g *guard) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	g.watch.callers()
}
