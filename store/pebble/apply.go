package pebble

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A call is one call of Apply on its way through the queue.
type call struct {
	steps   []step
	bytes   int           // about how much it adds to a batch
	taken   atomic.Bool   // set by whoever comes first: the writer to carry it out, or its caller to give it up
	done    chan struct{} // closed when results and err are set
	results []store.Result
	err     error
}

// A step is a write, made ready in the caller's goroutine. It shares nothing with the caller but texts.
type step struct {
	act    act
	vault  coffer.VaultID
	id     coffer.ObjectID // zero for a purge and a change of law
	change coffer.Change   // as it goes into the feed, but for its number
	limit  store.Usage
	law    *uint64 // that the vault must have, if not nil

	// Of a document.
	insert  bool       // it has no parents
	base    coffer.Rev // its only parent, or zero; of other acts: what must be present, or zero
	reindex bool
	keep    bool // what it replaces
	keeps   uint64
	chunks  uint64 // of the set that is patched
	patch   uint64 // the set that it is patched with; 0 if none is
	size    int64
	record  []byte
	index   index

	prior prior // of what a document or an erasure replaces

	chunk store.Chunk // of an attachment or a detachment

	forget  []due // kept revisions of the object that are due
	dropped int64 // how many of them there were; set when the step is carried out
}

// A due is a kept revision as the queue has it.
type due struct {
	keptName
	size int64
}

// An act is what a step does.
type act uint8

const (
	put act = iota
	erase
	attach
	detach
	govern
	purge
	forget
)

// A prior is what the caller found before it queued: index and stream of the present revision, if there was one, and
// its record, if it is to be kept. Since rev is a hash of the document, it stays right for as long as the present
// revision has that rev.
type prior struct {
	rev    coffer.Rev
	index  index
	stream *coffer.Stream
	record []byte
}

// Apply carries out writes; see [store.Store].
func (s *Store) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	const op = "pebble.Apply"
	if err := store.CheckWrites(writes); err != nil {
		return nil, err
	}
	if err := s.enter(ctx, op); err != nil {
		return nil, err
	}
	defer s.exit()
	if len(writes) == 0 {
		return nil, nil
	}
	c := &call{steps: make([]step, len(writes)), done: make(chan struct{})}
	for i := range writes {
		if err := s.prepare(&c.steps[i], &writes[i]); err != nil {
			return nil, err
		}
		c.bytes += c.steps[i].cost()
	}
	if err := s.commit(ctx, op, c); err != nil {
		return nil, err
	}
	return c.results, nil
}

// commit queues a call and waits until it is durable, or refused. Only then may the caller look at it again.
func (s *Store) commit(ctx context.Context, op string, c *call) error {
	select {
	case s.queue <- c:
	case <-ctx.Done():
		return coffer.E(op, coffer.Unavailable, ctx.Err())
	case <-s.health.dead:
		return s.health.failure(op)
	}
	select {
	case <-c.done:
	case <-s.health.dead:
		return s.health.failure(op)
	case <-ctx.Done():
		// Either the writer will pass it by, or it is being carried out and nobody waits for it.
		c.taken.CompareAndSwap(false, true)
		return coffer.E(op, coffer.Unavailable, ctx.Err())
	}
	return c.err
}

// prepare does all of a write that needs no order: naming, encoding, hashing, and reading what it replaces.
func (s *Store) prepare(t *step, w *store.Write) (err error) {
	t.vault, t.id, t.limit, t.base = w.Vault, w.ID(), w.Limit, w.Present
	if w.Law != nil {
		law := *w.Law
		t.law = &law
	}
	t.change = coffer.Change{ID: t.id, By: w.By, Time: store.Instant(w.Time)}
	switch {
	case w.Document != nil:
		d := w.Document
		t.act = put
		t.insert = len(d.Parents) == 0
		if len(d.Parents) == 1 {
			t.base = d.Parents[0]
		}
		t.reindex, t.keep = w.Reindex, w.Keep
		t.keeps = store.Keeps(d)
		if d.Stream != nil {
			t.chunks, t.patch = d.Stream.Chunks, d.Stream.Patch
		}
		t.size = store.Size(d)
		t.change.Kind, t.change.Sequence, t.change.Rev = coffer.Accepted, d.Sequence, d.Rev()
		t.record = appendRevision(make([]byte, 0, int(t.size)+64+8*len(d.Tags)+32*len(d.Parents)), d, t.change.Rev)
		t.index = indexOf(d.Tags)
		if !t.insert {
			t.prior, err = s.prior(t.vault, t.id, t.keep)
		}
	case w.Erase != nil:
		t.act = erase
		t.change.Kind = coffer.Erased
		t.prior, err = s.prior(t.vault, t.id, false)
	case w.Attach != nil:
		t.act = attach
		t.chunk = *w.Attach
	case w.Detach != nil:
		t.act = detach
		t.chunk = *w.Detach
	case w.Govern:
		t.act = govern
	default:
		t.act = purge
		t.change.Kind = coffer.VaultErased
	}
	return err
}

// cost is about how many bytes a step adds to a batch.
func (t *step) cost() int {
	return len(t.record) + len(t.prior.record) + 64*(len(t.index)+len(t.prior.index)) + 128*len(t.forget) + 256
}

// prior reads what is present; there may be nothing.
func (s *Store) prior(v coffer.VaultID, id coffer.ObjectID, keep bool) (p prior, err error) {
	err = s.read(appendObject(nil, v, docTable, id), func(b []byte) error {
		rev, tags, stream, err := decodePrior(b)
		p = prior{rev: rev, index: indexOf(tags), stream: stream}
		if keep {
			p.record = bytes.Clone(b)
		}
		return err
	})
	if errors.Is(err, coffer.NotExist) {
		err = nil
	}
	return p, err
}

// read calls decode with the value of a key, or returns NotExist.
func (s *Store) read(key []byte, decode func([]byte) error) error {
	const op = "store"
	b, closer, err := s.db.Get(key)
	if errors.Is(err, engine.ErrNotFound) {
		return coffer.E(op, coffer.NotExist, nil)
	}
	if err != nil {
		return failure(op, err)
	}
	err = decode(b)
	if s.health.broken() { // and closing may wait for ever; see leave
		return s.health.failure(op)
	}
	if closeErr := closer.Close(); closeErr != nil { // even when decoding failed: what could not be read was empty
		err = failure(op, closeErr)
	}
	return err
}
