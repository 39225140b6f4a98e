package agent

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"io"
	"sync"

	"github.com/cofferhq/coffer"
)

// A Partial is a file that a download fills. An *os.File that can be read and written is one.
type Partial interface {
	io.ReaderAt
	io.WriterAt
	// Truncate gives the file this length.
	Truncate(size int64) error
	// Sync returns once what was written is durable.
	Sync() error
}

// Resume is WriteTo for a file that may hold what an earlier call wrote before it was interrupted. As far as the Journal
// knows what was written, and the file still holds just that, only the rest is fetched; from the start when the object
// has another revision now, when there is no Journal, or when another program stored the object. What else the file
// holds is overwritten. The place, such as the path of the file, tells downloads of the same object apart: two of one
// place must not run at once.
//
// After an error, kept says that the file is of use to a later call. That is so when ctx ended or the vault became
// unavailable, never when the object changed. Without an error the file is whole, but not yet durable.
func (o *Object) Resume(ctx context.Context, w Partial, place string,
	progress func(done, total int64)) (kept bool, err error) {
	a := o.agent
	if a.Journal == nil || o.stream == nil {
		if err := w.Truncate(0); err != nil {
			return false, err
		}
		return false, o.WriteTo(ctx, w, progress)
	}
	if progress == nil {
		progress = func(done, total int64) {}
	}
	d := &download{object: o, file: w, progress: progress, ahead: make(map[uint64]tag)}
	d.what = string(o.ID[:]) + place
	if err := d.resume(ctx); err != nil {
		// Interrupted while it looked at what is there: that stays as it is.
		return ctx.Err() != nil, err
	}
	if err := w.Truncate(d.offset(d.done)); err != nil {
		return false, err
	}
	d.written = d.offset(d.done)
	progress(d.written, o.Size)
	err = o.writeFrom(ctx, w, d.done, func(index uint64, plain []byte) error { return d.wrote(ctx, index, plain) })
	passing := ctx.Err() != nil || errors.Is(err, coffer.Unavailable) || errors.Is(err, coffer.Exhausted)
	if err != nil && passing && d.done > 0 && d.note(context.WithoutCancel(ctx), d.state) == nil {
		return true, err
	}
	a.forget(context.WithoutCancel(ctx), noteDownload, d.what)
	return false, err
}

// A download is a stream on its way out of the vault.
type download struct {
	object   *Object
	file     Partial
	what     string // what its note is on
	progress func(done, total int64)
	key      base64url
	tags     cipher.AEAD // under the key

	mu      sync.Mutex // guards the following
	state              // of what is in the file without a gap
	ahead   map[uint64]tag
	written int64
	noted   uint64
	noting  bool
}

// noteEvery is how many chunks may be stored before the journal is told.
const noteEvery = 16

// A state says which bytes the first chunks of a file are.
type state struct {
	done uint64
	sum  [sha256.Size]byte // of their tags: each time the SHA-256 of the sum before and the next tag
}

// A downloadNote is how far a download got.
type downloadNote struct {
	Revision base64url `json:"revision"`
	Done     uint64    `json:"done"`
	Key      base64url `json:"key"` // of AES-256
	Sum      base64url `json:"sum"`
}

// A tag is what knows a chunk again: its GMAC, under a key of this download's own. The nonce is the chunk's index, and
// a chunk of one revision never has other bytes, so that no nonce is used for two.
type tag [16]byte

func (d *download) setKey(key []byte) error {
	block, err := aes.NewCipher(key)
	if err != nil {
		return err
	}
	d.key = key
	d.tags, err = cipher.NewGCM(block)
	return err
}

func (d *download) tag(index uint64, plain []byte) (t tag) {
	var nonce [12]byte
	binary.BigEndian.PutUint64(nonce[4:], index)
	d.tags.Seal(t[:0], nonce[:], nil, plain)
	return t
}

// add counts the next chunk.
func (s *state) add(t tag) {
	s.done++
	s.sum = sha256.Sum256(append(s.sum[:], t[:]...))
}

// offset returns where the chunk with the index begins.
func (d *download) offset(index uint64) int64 {
	return min(int64(index)*int64(d.object.stream.ChunkSize), d.object.Size)
}

// resume finds how much of the file is there. What is noted is believed of the journal, and of the file only after each
// byte was read again: a crash, another program or a person may have changed it.
func (d *download) resume(ctx context.Context) error {
	a, o := d.object.agent, d.object
	var n downloadNote
	if a.load(ctx, noteDownload, d.what, &n) && string(n.Revision) == string(o.revision.rev[:]) &&
		n.Done <= o.chunks.Chunks() && len(n.Key) == 32 && len(n.Sum) == sha256.Size {
		if err := d.setKey(n.Key); err != nil {
			return err
		}
		there, err := d.look(ctx, n.Done)
		if err != nil {
			return err
		}
		if there.done == n.Done && subtle.ConstantTimeCompare(there.sum[:], n.Sum) == 1 {
			d.state, d.noted = there, there.done
			return nil
		}
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return d.setKey(key)
}

// look reads the first chunks of the file, as far as it has them.
func (d *download) look(ctx context.Context, chunks uint64) (s state, err error) {
	buf := make([]byte, d.object.stream.ChunkSize)
	for s.done < chunks {
		if err := ctx.Err(); err != nil {
			return s, context.Cause(ctx)
		}
		from := d.offset(s.done)
		plain := buf[:d.offset(s.done+1)-from]
		if n, err := d.file.ReadAt(plain, from); n < len(plain) {
			if errors.Is(err, io.EOF) {
				err = nil // cut short
			}
			return s, err
		}
		s.add(d.tag(s.done, plain))
	}
	return s, nil
}

// wrote counts a chunk that is in the file now, and tells the journal now and then.
func (d *download) wrote(ctx context.Context, index uint64, plain []byte) error {
	t := d.tag(index, plain)
	d.mu.Lock()
	d.ahead[index] = t
	for t, ok := d.ahead[d.done]; ok; t, ok = d.ahead[d.done] {
		delete(d.ahead, d.done)
		d.add(t)
	}
	d.written += int64(len(plain))
	d.progress(d.written, d.object.Size)
	now := d.state
	due := !d.noting && now.done >= d.noted+noteEvery && now.done < d.object.chunks.Chunks()
	d.noting = d.noting || due
	d.mu.Unlock()
	if !due {
		return nil
	}
	err := d.note(ctx, now)
	d.mu.Lock()
	d.noted, d.noting = now.done, false
	d.mu.Unlock()
	return err
}

// note makes what is in the file durable, and then tells the journal. Only the former can fail: a journal that fails
// does not end a download.
func (d *download) note(ctx context.Context, s state) error {
	if err := d.file.Sync(); err != nil {
		return err // the system may never write these bytes, nor say so again
	}
	o := d.object
	o.agent.save(ctx, noteDownload, d.what, downloadNote{o.revision.rev[:], s.done, d.key, s.sum[:]})
	return nil
}
