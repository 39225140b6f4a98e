package agent

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// An upload is a stream on its way into the vault.
type upload struct {
	content   *content
	total     int64                               // bytes; negative when not known
	open      func(skip int64) (io.Reader, error) // the bytes from there on
	options   PutOptions
	resumable bool

	// Set once the upload is under way.
	claim  *revision // only its writer may put chunks beside it
	stream *seal.Stream
	done   uint64 // chunks that are stored, without a gap
	noted  uint64 // of which the journal knows
}

// noteEvery is how many chunks may be stored before the journal is told.
const noteEvery = 16

// stream puts what does not fit into a document.
//
// Chunks are put beside a revision that this upload made itself, the claim: what other uploads put is then never mixed
// with it, for whoever claims later makes the earlier one's chunks fail with Conflict. The claim still shows what was
// there before. The closing revision names the new chunks, and the old ones go.
func (a *Agent) stream(ctx context.Context, find finder, u *upload) (Info, error) {
	p, err := a.claim(ctx, find, u)
	if err != nil {
		return Info{}, err
	}
	r, err := a.fill(ctx, u, func(ctx context.Context) (*revision, error) {
		return a.replace(ctx, &place{path: p.path, there: u.claim}, u.content, draft{stream: u.stream})
	})
	if err != nil {
		return Info{}, err
	}
	return r.info(), nil
}

// claim begins the upload, or finds where it was interrupted.
func (a *Agent) claim(ctx context.Context, find finder, u *upload) (*place, error) {
	var err error
	for range maxAttempts {
		var p *place
		if p, err = find(ctx); err != nil {
			return nil, err
		}
		if resumed, err := a.resume(ctx, p, u); resumed || err != nil {
			return p, err
		}
		if err = p.check(u.options); err != nil {
			return nil, err
		}
		d := draft{id: coffer.NewObjectID(), replaces: p.there}
		if p.there != nil {
			d.id = p.there.doc.ID
		}
		if u.stream, err = seal.NewStream(d.sequence(), 0); err != nil {
			return nil, err
		}
		if r := p.there; r != nil && !r.pending() {
			d.content, d.stream, d.rekey = r.opened.Content, r.opened.Stream, r.meta.Rekey
		} else {
			c := newContent(u.content.Type, p.path)
			if d.content, err = c.encode(); err != nil {
				return nil, err
			}
			d.stream = u.stream
		}
		if d.readers, err = a.readers(ctx, p.there); err != nil {
			return nil, err
		}
		if u.claim, err = a.commit(ctx, d, p.folders...); err == nil {
			a.note(ctx, u)
			return p, nil
		}
		if !errors.Is(err, coffer.Conflict) {
			break
		}
	}
	return nil, err
}

// fill stores the chunks that are missing, makes the closing revision with finish, and ends the upload.
func (a *Agent) fill(ctx context.Context, u *upload,
	finish func(context.Context) (*revision, error)) (*revision, error) {
	skip := int64(u.done) * int64(u.stream.ChunkSize)
	source, err := u.open(skip)
	if err != nil {
		return nil, err
	}
	if u.total >= 0 { // one byte too many is enough to know
		source = io.LimitReader(source, max(0, u.total-skip)+1)
	}
	size, err := a.send(ctx, u, source, skip)
	if err == nil && u.total >= 0 && size != u.total {
		err = otherLength()
	}
	if err != nil {
		a.note(context.WithoutCancel(ctx), u)
		return nil, err
	}
	if u.stream, err = u.stream.Close(uint64(size)); err != nil {
		return nil, err
	}
	u.content.Size = size
	r, err := finish(ctx)
	if err != nil {
		return nil, err
	}
	a.forget(ctx, u)
	u.options.Progress(size, size)
	return r, nil
}

// A piece is one chunk's plaintext on its way.
type piece struct {
	index uint64
	last  bool
	plain []byte
}

// send stores the chunks from u.done on and returns the size of the whole stream. It reads in this goroutine and seals
// and puts in others. All buffers are made here and used again.
func (a *Agent) send(ctx context.Context, u *upload, source io.Reader, skipped int64) (int64, error) {
	sealer, err := seal.NewChunkSealer(u.claim.doc.ID, u.stream, a.Keyring.Key(coffer.AgreementKey))
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	pieces := make(chan piece)
	free := make(chan []byte, a.Workers+2)
	for range cap(free) {
		free <- make([]byte, u.stream.ChunkSize)
	}
	var workers sync.WaitGroup
	var mu sync.Mutex
	ahead := make(map[uint64]bool) // stored, with a gap before
	sent := skipped
	for range a.Workers {
		workers.Go(func() {
			raw := make([]byte, 0, u.stream.ChunkSize+sealer.Overhead())
			for p := range pieces {
				var err error
				if raw, err = sealer.Seal(raw[:0], p.index, p.last, p.plain); err == nil {
					err = a.Vault.PutChunk(ctx, u.claim.doc.ID, sealer.Ref(p.index, raw), bytes.NewReader(raw))
				}
				if err != nil {
					cancel(err)
				} else {
					mu.Lock()
					for ahead[p.index] = true; ahead[u.done]; u.done++ {
						delete(ahead, u.done)
					}
					if u.done >= u.noted+noteEvery {
						a.note(ctx, u)
					}
					sent += int64(len(p.plain))
					u.options.Progress(sent, u.total)
					mu.Unlock()
				}
				free <- p.plain[:cap(p.plain)]
			}
		})
	}
	size, err := cut(ctx, source, u.done, free, pieces)
	close(pieces)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		return 0, cause
	}
	return skipped + size, err
}

// cut reads the source into pieces from the index on and returns how many bytes there were. A piece is sent once it is
// known whether it is the last.
func cut(ctx context.Context, source io.Reader, index uint64, free <-chan []byte,
	pieces chan<- piece) (size int64, err error) {
	next := func() ([]byte, error) {
		select {
		case b := <-free:
			n, err := io.ReadFull(source, b)
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				err = nil
			}
			return b[:n], err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	here, err := next()
	for err == nil && len(here) > 0 {
		var after []byte
		if len(here) == cap(here) {
			if after, err = next(); err != nil {
				break
			}
		}
		select {
		case pieces <- piece{index, len(after) == 0, here}:
		case <-ctx.Done():
			return size, ctx.Err()
		}
		size, index, here = size+int64(len(here)), index+1, after
	}
	return size, err
}
