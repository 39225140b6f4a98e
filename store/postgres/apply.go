package postgres

import (
	"context"
	"sync/atomic"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

const applyOp = "postgres.Apply"

// A call is one call of Apply on its way through the queue.
type call struct {
	steps   []step
	vaults  []coffer.VaultID // of the steps, without duplicates
	bytes   int              // about how much it sends
	purges  bool
	governs bool
	taken   atomic.Bool   // set by whoever comes first: a committer to carry it out, or its caller to give it up
	done    chan struct{} // closed when results and err are set
	results []store.Result
	err     error
}

// A step is a write, made ready in the caller's goroutine.
type step struct {
	act    act
	vault  coffer.VaultID
	id     coffer.ObjectID // zero for a purge and a change of law
	change coffer.Change   // as it goes into the feed, but for its number
	limit  store.Usage
	law    *uint64 // that the vault must have, if not nil

	// Of a document.
	document *coffer.Document
	insert   bool       // it has no parents
	base     coffer.Rev // its only parent, or zero; of other acts: what must be present, or zero
	reindex  bool
	keep     bool
	keeps    uint64
	chunks   uint64 // of the set that is patched
	patch    uint64 // the set that it is patched with; 0 if none is
	size     int64
	tags     []byte
	index    index

	chunk store.Chunk // of an attachment or a detachment
}

func (t *step) object() object { return object{t.vault, t.id} }

// An act is what a step does.
type act uint8

const (
	put act = iota
	erase
	attach
	detach
	govern
	purge
)

// Apply carries out writes; see [store.Store].
func (s *Store) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	if err := store.CheckWrites(writes); err != nil {
		return nil, err
	}
	if err := s.enter(ctx, applyOp); err != nil {
		return nil, err
	}
	defer s.exit()
	if len(writes) == 0 {
		return nil, nil
	}
	c := newCall(writes)
	s.queue.put(c)
	select {
	case <-c.done:
	case <-ctx.Done():
		// Either a committer will pass it by, or it is being carried out and nobody waits for it.
		if c.taken.CompareAndSwap(false, true) {
			s.queue.leave(c)
		}
		return nil, coffer.E(applyOp, coffer.Unavailable, ctx.Err())
	}
	return c.results, c.err
}

func newCall(writes []store.Write) *call {
	c := &call{steps: make([]step, len(writes)), done: make(chan struct{})}
	seen := make(map[coffer.VaultID]struct{}, 1)
	for i := range writes {
		t := &c.steps[i]
		t.prepare(&writes[i])
		c.bytes += t.cost()
		c.purges = c.purges || t.act == purge
		c.governs = c.governs || t.act == govern || t.act == purge
		if _, ok := seen[t.vault]; !ok {
			seen[t.vault] = struct{}{}
			c.vaults = append(c.vaults, t.vault)
		}
	}
	return c
}

// prepare does all of a write that needs no order: naming, encoding and hashing.
func (t *step) prepare(w *store.Write) {
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
		t.document = d
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
		t.tags = encodeTags(d.Tags)
		t.index = indexOf(d.Tags)
		t.change.Kind, t.change.Sequence, t.change.Rev = coffer.Accepted, d.Sequence, d.Rev()
	case w.Erase != nil:
		t.act = erase
		t.change.Kind = coffer.Erased
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
}

// cost is about how many bytes a step sends.
func (t *step) cost() int {
	n := 512 + len(t.tags) + 80*len(t.index) + len(t.change.By)
	if t.document != nil {
		n += len(t.document.Body)
	}
	return n
}

// prior returns the step's document as what a later write replaces.
func (t *step) prior() *prior {
	return &prior{
		rev: t.change.Rev, sequence: t.change.Sequence, size: t.size, stream: t.document.Stream, tags: t.tags,
	}
}

// inFeed reports whether the step counts a change.
func (t *step) inFeed() bool { return t.act == put || t.act == erase || t.act == purge }
