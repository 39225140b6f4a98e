package agent

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/search"
	"github.com/cofferhq/coffer/internal/jose"
)

// An edit is one caller's part of a commit. It may be carried out several times, each time on what is present then,
// and must leave what it found when it fails.
type edit struct {
	change func(context.Context, *txn) error
	done   chan error
}

// commits is the queue of edits. Whoever has the turn commits all that wait, in one write to the vault.
type commits struct {
	turn    chan struct{}
	mu      sync.Mutex
	waiting []*edit
}

const (
	maxAttempts = 40 // how often a commit is tried that others get ahead of
	maxEdits    = 256
	maxBytes    = 4 << 20 // of sealed objects in one commit, after which no more edits are taken
)

// errAgain says that an edit was not tried for a reason that was not its own.
var errAgain = errors.New("try again")

// commit carries out a change of the owner's vault: at once with those of other callers, atomically, and again on what
// is present then when somebody else was faster.
func (a *Agent) commit(ctx context.Context, change func(context.Context, *txn) error) error {
	if a.guest != nil {
		return a.guest.commit(ctx, a, change)
	}
	c := &a.commits
	for {
		e := &edit{change, make(chan error, 1)}
		c.mu.Lock()
		c.waiting = append(c.waiting, e)
		c.mu.Unlock()
		if err := a.turn(ctx, e); !errors.Is(err, errAgain) {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

// turn waits until the edit is done: by somebody else, or in a turn of its own.
func (a *Agent) turn(ctx context.Context, e *edit) error {
	c := &a.commits
	for {
		select {
		case err := <-e.done:
			return err
		case c.turn <- struct{}{}:
		}
		// It may have been done while it waited for the turn, or be too far behind in the queue for this one.
		if len(e.done) == 0 {
			c.mu.Lock()
			n := min(len(c.waiting), maxEdits)
			batch := slices.Clone(c.waiting[:n])
			c.waiting = slices.Delete(c.waiting, 0, n)
			c.mu.Unlock()
			a.run(ctx, batch)
		}
		<-c.turn
	}
}

// run commits the edits and tells each of them what came of it.
func (a *Agent) run(ctx context.Context, batch []*edit) {
	var err error
	for attempt, torn := 0, 0; attempt < maxAttempts && len(batch) > 0; attempt++ {
		number := a.number()
		var t *txn
		if t, err = a.begin(ctx); err != nil {
			if a.torn(ctx, number, torn, err) {
				torn++
				continue
			}
			break
		}
		var failed int
		if failed, err = t.carryOut(ctx, &batch); failed >= 0 {
			if ctx.Err() != nil {
				break
			}
			if a.torn(ctx, t.number, torn, err) {
				torn++
				continue
			}
			// It may have left half of a change in the tree: the others begin anew without it.
			batch[failed].done <- err
			batch, err = slices.Delete(batch, failed, failed+1), nil
			attempt--
			continue
		}
		if later := batch[t.edits:]; len(later) > 0 { // there is no room for them
			a.commits.mu.Lock()
			a.commits.waiting = append(slices.Clone(later), a.commits.waiting...)
			a.commits.mu.Unlock()
			batch = batch[:t.edits]
		}
		err = t.apply(ctx)
		switch coffer.KindOf(err) {
		case coffer.Conflict, coffer.Invalid, coffer.Exhausted, coffer.Denied: // it has not happened, and will not
			for _, f := range t.undo {
				f()
			}
		}
		if !t.asked && a.torn(ctx, t.number, torn, err) {
			torn++
			continue
		}
		if !errors.Is(err, coffer.Conflict) {
			break
		}
		pause(ctx, attempt)
	}
	// The end of the context is that of one caller, not of the others.
	if ctx.Err() != nil && err != nil {
		err = errAgain
	}
	for _, e := range batch {
		e.done <- err
	}
}

// pause waits for a while that is longer the more often others were faster, and never the same for two devices.
func pause(ctx context.Context, attempt int) {
	longest := min(200*time.Millisecond, 2*time.Millisecond<<min(attempt, 10))
	select {
	case <-time.After(rand.N(longest)):
	case <-ctx.Done():
	}
}

// carryOut carries out edits until the commit is full, one at least. Those that fail and leave nothing are told so and
// taken out. It returns which one failed and may have left something, or -1.
func (t *txn) carryOut(ctx context.Context, batch *[]*edit) (failed int, err error) {
	for t.edits < len(*batch) && t.bytes <= maxBytes {
		e, before := (*batch)[t.edits], t.mark()
		err := e.change(ctx, t)
		switch {
		case err == nil:
			t.edits++
		case ctx.Err() == nil && t.mark() == before && !errors.Is(err, coffer.Corrupt):
			e.done <- err
			*batch = slices.Delete(*batch, t.edits, t.edits+1)
		default:
			return t.edits, err
		}
	}
	return -1, nil
}

// mark returns what is different once an edit has left something.
func (t *txn) mark() [6]uint64 {
	return [...]uint64{
		t.tree.Edits(), uint64(len(t.writes)), uint64(len(t.delta.Documents) + len(t.delta.Removed)), uint64(len(t.changed)),
		uint64(len(t.boxes)), t.next.Epoch,
	}
}

// A txn is a commit on its way.
type txn struct {
	*view
	now     time.Time
	asked   bool // the vault was asked: what became of it may not be known
	edits   int  // that were carried out
	bytes   int  // of what they write
	writes  []coffer.Write
	wrote   map[coffer.ObjectID]seal.Ref  // the keys of what is written
	before  map[coffer.ObjectID]*revision // what was there of what is sealed; nil of what is new
	delta   search.Delta                  // to the search index
	fresh   map[coffer.ObjectID]bool      // folders that the commit makes
	boxes   map[int]*box
	next    head // what the head will be
	turn    uint64
	changed []*grantRecord // records of grants that are new or changed
	touched bool           // the head itself is changed
	moving  bool           // to the places that follow from another secret
	after   []func()       // once it is committed
	undo    []func()       // when it is not
	records []*known
}

// begin looks at what is present.
func (a *Agent) begin(ctx context.Context) (*txn, error) {
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	t := v.change()
	t.next = *v.head
	t.next.Log = slices.Clone(v.head.Log)
	if err := t.rotate(ctx); err != nil {
		return nil, err
	}
	if err := t.retry(ctx); err != nil {
		return nil, err
	}
	return t, t.expire(ctx)
}

// change begins a commit on what was seen.
func (v *view) change() *txn {
	v.sealed = make(map[coffer.ObjectID]*coffer.Document)
	return &txn{
		view: v, now: v.a.Now().UTC(), turn: v.a.feed.turn(), wrote: make(map[coffer.ObjectID]seal.Ref),
		fresh: make(map[coffer.ObjectID]bool), boxes: make(map[int]*box), before: make(map[coffer.ObjectID]*revision),
	}
}

// seal makes a document of what is to be stored in the place of what is there, if anything.
func (a *Agent) seal(ctx context.Context, ref seal.Ref, there *revision, p seal.Plain,
	o seal.ObjectOptions) (*coffer.Document, error) {
	o.Ref, o.Author = ref, a.Keyring
	if o.Time.IsZero() {
		o.Time = a.Now().UTC()
	}
	o.Time = o.Time.Truncate(time.Second) // of one length as text, so that the sizes of envelopes do not vary with it
	if there != nil {
		o.Sequence, o.Parents = there.next()
	}
	return seal.SealObject(ctx, p, o)
}

// write makes a document part of the commit. Of several revisions of an object, which several callers may want at once,
// the last one is written, in the place of what was there before the commit.
func (t *txn) write(ref seal.Ref, d *coffer.Document) {
	t.bytes += len(d.Body)
	if t.sealed[ref.ID] != nil {
		t.writes[t.at(ref.ID)].Document = d
	} else {
		t.writes = append(t.writes, coffer.Write{Document: d})
	}
	t.wrote[ref.ID], t.sealed[ref.ID] = ref, d
}

// at returns where the commit writes an object.
func (t *txn) at(id coffer.ObjectID) int {
	return slices.IndexFunc(t.writes, func(w coffer.Write) bool { return w.ID() == id })
}

// erase makes the end of an object part of the commit. One that the commit would have made is not made.
func (t *txn) erase(id coffer.ObjectID) {
	if t.sealed[id] == nil {
		t.writes = append(t.writes, coffer.Write{Erase: id})
		return
	}
	if i := t.at(id); t.before[id] == nil {
		t.writes = slices.Delete(t.writes, i, i+1)
	} else {
		t.writes[i] = coffer.Write{Erase: id}
	}
	delete(t.sealed, id)
	delete(t.wrote, id)
}

// putRecord seals one of the agent's own records, of a fixed size, into the commit.
func (t *txn) putRecord(ctx context.Context, ref seal.Ref, there *known, content []byte, decoded any) error {
	var before *revision
	if there != nil && there.ref.ID == ref.ID {
		before = there.revision
	} else if there != nil {
		t.erase(there.ref.ID)
	}
	d, err := t.sealAs(ctx, ref, before, seal.Plain{Content: content},
		seal.ObjectOptions{Size: recordSize, Fixed: true, Time: t.now})
	if err != nil {
		return err
	}
	t.write(ref, d)
	t.records = append(t.records, &known{
		revision: &revision{ref: ref, doc: d, rev: d.Rev(), present: []coffer.Rev{d.Rev()},
			opened: &seal.Opened{Plain: seal.Plain{Content: content}}},
		decoded: decoded,
	})
	return nil
}

// apply writes the commit: objects, pages, boxes and the head, in one. Whatever the commit does, a box is part of it,
// so that the vault cannot tell who grants something from who does not.
func (t *txn) apply(ctx context.Context) error {
	a := t.a
	pages, drop := t.tree.Dirty()
	if len(t.writes) == 0 && len(pages) == 0 && len(drop) == 0 && len(t.changed) == 0 && len(t.delta.Documents)+len(t.delta.Removed) == 0 &&
		!t.touched {
		return nil
	}
	for _, p := range pages {
		if err := t.putRecord(ctx, p.Ref(), t.pages[p.Ref().ID], p.Content(), p); err != nil {
			return err
		}
	}
	for _, id := range drop {
		t.erase(id)
	}
	if err := t.deliver(ctx); err != nil {
		return err
	}
	if err := t.putBoxes(ctx); err != nil {
		return err
	}
	if err := t.putHead(ctx); err != nil {
		return err
	}
	t.asked = true
	changes, err := a.Vault.Apply(ctx, t.writes...)
	if err != nil {
		if errors.Is(err, coffer.Conflict) || errors.Is(err, coffer.NotExist) {
			err = coffer.E("commit", coffer.Conflict, err) // something is not what it was a moment ago
			a.doubt(ctx, t.writes)
		}
		return err
	}
	if err := acknowledged(t.writes, changes); err != nil {
		return err
	}
	if err := a.wrote(changes); err != nil {
		return err
	}
	for _, k := range t.records {
		a.keepKnown(ctx, k, t.turn)
	}
	for _, id := range drop {
		a.objects.remove(id)
		a.drop(ctx, id)
	}
	for _, f := range t.after {
		f()
	}
	return nil
}

// putHead makes the next head part of the commit. What its log has no room for goes into the index and the registers.
func (t *txn) putHead(ctx context.Context) error {
	h := &t.next
	h.Commits++
	h.Seen, h.Root = t.a.feed.history.seen(), newRefJSON(t.tree.Root())
	if len(t.delta.Documents)+len(t.delta.Removed) > 0 {
		b, err := t.delta.Encode()
		if err != nil {
			return err
		}
		h.Log = append(h.Log, entry{Delta: b, Weight: weigh(&t.delta)})
	}
	for _, g := range t.changed {
		h.Log = append(h.Log, entry{Grant: g})
	}
	if err := t.settle(ctx, h); err != nil {
		return err
	}
	content, err := jose.Encode(h)
	if err != nil {
		return err
	}
	ref, err := t.a.place(ctx, "head")
	if err != nil {
		return err
	}
	return t.putRecord(ctx, ref, t.written, content, nil)
}

// What a head's log may hold: the weight of changes to the index, and bytes of JSON of grants. When the index is written
// tells neither whether something was granted, nor how many folders there are: grants are apart, and folders weigh
// nothing as long as there is room.
const (
	maxWeight = 12 << 10
	maxGrants = maxRecord / 4
	headRoom  = 64 // bytes for numbers that grow
)

// weigh returns how much a delta counts.
func weigh(d *search.Delta) (n int) {
	for i := range d.Documents {
		if o := &d.Documents[i]; o.Type != TypeFolder {
			n += 160 + len(o.Name) + len(o.Type) + len(o.MIME) + len(o.Value) + len(o.Text)
		}
	}
	return n + 64*len(d.Removed)
}

// settle moves what the head's log has no room for into a new segment of the search index, and into the registers of
// grants.
func (t *txn) settle(ctx context.Context, h *head) error {
	var weight, grants int
	rest := *h // all but grants
	rest.Log = nil
	for _, e := range h.Log {
		if e.Grant == nil {
			weight += e.Weight
			rest.Log = append(rest.Log, e)
			continue
		}
		b, err := jose.Encode(e)
		if err != nil {
			return err
		}
		grants += len(b)
	}
	if grants > maxGrants || t.moving {
		if err := t.settleGrants(ctx, h); err != nil {
			return err
		}
		h.Log = slices.DeleteFunc(h.Log, func(e entry) bool { return e.Grant != nil })
	}
	rest.Registers, rest.Boxes = 0, 0
	b, err := jose.Encode(rest)
	if err != nil {
		return err
	}
	if weight <= maxWeight && len(b)+maxGrants+headRoom <= maxRecord || len(rest.Log) == 0 {
		return nil
	}
	x, err := t.a.index(h)
	if err != nil {
		return err
	}
	manifest, drop, err := x.Flush(ctx)
	t.undo = append(t.undo, func() { _ = (*blocks)(t.a).Drop(context.WithoutCancel(ctx), x.Made()...) })
	if err != nil {
		return err
	}
	h.Index = manifest
	h.Log = slices.DeleteFunc(h.Log, func(e entry) bool { return e.Grant == nil })
	t.after = append(t.after, func() {
		// They are of no use to anybody now; what is left behind by a crash shows in a check.
		_ = (*blocks)(t.a).Drop(context.WithoutCancel(ctx), drop...)
	})
	return nil
}
