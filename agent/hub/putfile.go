package hub

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
)

// PutFile keeps what r reads, to its end, as a file: a new object with the value, and bytes. They are sealed like the
// value; o may be nil. The object is there once all of it is. What was written when it fails is removed, as far as the
// hub can be reached, and later by [Hub.Work]. A few parts of 384 KiB are in memory at a time.
//
// Invalid for what is no Collection, and for files that are to be public; Exhausted for more than [MaxFile] bytes, or a
// value that does not fit beside (48 KiB always do); else the errors of r and of [Hub.Put].
func (h *Hub) PutFile(ctx context.Context, k Kind, value any, r io.Reader, o *PutOptions) (coffer.CommitRev, error) {
	var none coffer.CommitRev
	if o == nil {
		o = &PutOptions{}
	}
	k, err := k.check()
	switch {
	case err != nil:
		return none, err
	case k.Interface != coffer.CollectionsInterface:
		return none, coffer.Errorf("put file", coffer.Invalid, "files are objects of Collections")
	case o.Public:
		return none, errPublicFile
	}
	text, err := encodeValue(value)
	if err != nil {
		return none, err
	}
	m, err := o.meta(nil)
	if err != nil {
		return none, err
	}
	part := &PutOptions{part: true}
	if intent := metaOf(m).Intent; intent != "" { // caches that leave out the one leave out the other
		if part.Meta, err = meta(nil, map[string]any{"cache-intent": intent}); err != nil {
			return none, err
		}
	}
	u := &upload{h: h, kind: k, salt: newSalt(), part: part, progress: o.Progress}
	var id coffer.CommitRev
	head, err := u.run(ctx, r)
	if err == nil {
		// Who may read the head by a key of its own reads the parts by the same: they have its salt.
		id, err = h.create(ctx, k, &inside{Value: text, File: head}, under(u.salt), o)
	}
	if err != nil {
		u.undo(ctx, id)
		return none, err
	}
	return id, nil
}

// An upload is a file being written.
type upload struct {
	h    *Hub
	kind Kind
	salt salt
	part *PutOptions
	ids  []*coffer.CommitRev // of what was or may have been written; zero: nothing was

	mu       sync.Mutex
	done     int64
	progress func(done int64)
}

// run writes the parts, and returns what the head is to say.
func (u *upload) run(ctx context.Context, r io.Reader) (*fileHead, error) {
	head, sum := &fileHead{ID: make([]byte, fileIDSize)}, sha256.New()
	rand.Read(head.ID)
	c, err := newCrew(ctx), error(nil)
	for err == nil && c.ctx.Err() == nil {
		b := make([]byte, partSize)
		var n int
		if n, err = io.ReadFull(r, b); n == 0 {
			break
		}
		if len(u.ids) == maxParts {
			err = coffer.Errorf("put file", coffer.Exhausted, "the file is too large for a hub")
			break
		}
		sum.Write(b[:n])
		head.Size += int64(n)
		index, id := len(u.ids), new(coffer.CommitRev)
		u.ids = append(u.ids, id)
		c.do(func(ctx context.Context) (err error) {
			*id, err = u.write(ctx, &filePart{head.ID, index}, b[:n])
			return err
		})
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	if err := errors.Join(err, c.wait()); err != nil {
		return nil, err
	}
	for _, id := range u.ids {
		head.Parts = append(head.Parts, id[:]...)
	}
	head.Sum = sum.Sum(nil)
	return head, nil
}

// write writes one part.
func (u *upload) write(ctx context.Context, p *filePart, b []byte) (coffer.CommitRev, error) {
	value, err := json.Marshal(b)
	if err != nil {
		return coffer.CommitRev{}, err
	}
	id, err := u.h.create(ctx, u.kind, &inside{Value: value, Part: p}, under(u.salt), u.part)
	if err == nil && u.progress != nil {
		u.mu.Lock()
		defer u.mu.Unlock()
		u.done += int64(len(b))
		u.progress(u.done)
	}
	return id, err
}

// undone is how long it is tried to remove what was written.
const undone = 30 * time.Second

// undo removes what was written, and what is not known to have been.
func (u *upload) undo(ctx context.Context, head coffer.CommitRev) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undone)
	defer cancel()
	if head != (coffer.CommitRev{}) && u.h.Remove(ctx, u.kind, head) == nil {
		return // with its parts
	}
	wire, err := u.h.wire(ctx, u.kind)
	if err != nil {
		return
	}
	c := newCrew(ctx)
	for _, id := range u.ids {
		if *id != (coffer.CommitRev{}) {
			c.do(func(ctx context.Context) error { return u.h.removePart(ctx, wire, *id) })
		}
	}
	_ = c.wait()
}

// A crew does a few things at once, until one of them fails.
type crew struct {
	ctx    context.Context // ends with the first failure
	fail   context.CancelCauseFunc
	places chan struct{}
	work   sync.WaitGroup
}

func newCrew(ctx context.Context) *crew {
	c := &crew{places: make(chan struct{}, partsAtOnce)}
	c.ctx, c.fail = context.WithCancelCause(ctx)
	return c
}

// do has one thing done, when there is a place for it.
func (c *crew) do(f func(context.Context) error) {
	select {
	case c.places <- struct{}{}:
	case <-c.ctx.Done():
		return
	}
	c.work.Go(func() {
		defer func() { <-c.places }()
		if err := f(c.ctx); err != nil {
			c.fail(err)
		}
	})
}

// wait waits until all is done, and returns the first failure, or that the context has ended.
func (c *crew) wait() error {
	c.work.Wait()
	err := context.Cause(c.ctx)
	c.fail(nil)
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		err = coffer.E("file", coffer.Unavailable, err)
	}
	return err
}
