package agent

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/ledger"
)

// A follower reads the vault's feed, so that what is remembered is what is present, and so that a vault that forgets,
// forks or withholds is found out.
type follower struct {
	calls     atomic.Uint64
	upgrading atomic.Bool // a vault without a head may be one that the first version used

	mu      sync.Mutex
	begun   uint64 // the last call for which the feed was read
	started bool
	blind   bool // the vault has no feed: nothing may be remembered
	cursor  coffer.Cursor
	history history
	latest  map[coffer.ObjectID]latest // what changed, as far as it was read and is remembered
	forgot  uint64                     // how often that was forgotten, for its size
}

// maxLatest bounds what is remembered of changes.
const maxLatest = 1 << 16

// follows reports whether the feed can be relied on.
func (f *follower) follows() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.started && !f.blind
}

// A latest is what the feed said last of an object.
type latest struct {
	sequence uint64
	rev      coffer.Rev
	number   uint64 // of the change
}

// saw remembers, in a vault without a feed, what it showed of an object: it is not to show an older state later.
func (f *follower) saw(r *revision) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.blind {
		return
	}
	if f.latest == nil || len(f.latest) >= maxLatest {
		f.latest = make(map[coffer.ObjectID]latest)
	}
	f.latest[r.ref.ID] = latest{sequence: r.doc.Sequence, rev: r.rev}
}

// thin forgets the changes of all objects but those that are known to be pages and other records: whoever can make many
// changes must not make a device forget of which ones it is not to be shown an older state.
func (f *follower) thin(known map[coffer.ObjectID]bool) {
	for id := range f.latest {
		if !known[id] {
			delete(f.latest, id)
		}
	}
	if len(f.latest) >= maxLatest {
		clear(f.latest)
	}
	f.forgot++
}

// expects returns what the feed said last of an object; ok is false when it said nothing.
func (f *follower) expects(id coffer.ObjectID) (l latest, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l, ok = f.latest[id]
	return l, ok
}

// turn counts how often the feed was forgotten.
func (f *follower) turn() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.forgot
}

// maxTorn is how often something is read again because others wrote while it was read.
const maxTorn = 12

// torn reports whether an error can come from others who wrote while something was read, piece by piece: then it is to
// be read again. What is wrong although nothing was written since the number is the vault's fault.
func (a *Agent) torn(ctx context.Context, number uint64, attempt int, err error) bool {
	if !errors.Is(err, coffer.Corrupt) || attempt >= maxTorn || ctx.Err() != nil {
		return false
	}
	var fault *ledger.Fault
	if errors.As(err, &fault) || a.refresh(ctx) != nil || a.guest == nil && a.number() == number {
		return false
	}
	pause(ctx, attempt)
	return a.guest == nil || attempt < 3
}

// number returns the number of the last change that was read.
func (a *Agent) number() uint64 {
	a.feed.mu.Lock()
	defer a.feed.mu.Unlock()
	return a.feed.history.number
}

// steady calls f with the present state, and again if others wrote while f read it.
func (a *Agent) steady(ctx context.Context, f func(*view) error) error {
	for attempt := 0; ; attempt++ {
		number := a.number()
		v, err := a.look(ctx)
		if err == nil {
			number = v.number
			err = f(v)
		}
		if err == nil || !a.torn(ctx, number, attempt, err) {
			return err
		}
	}
}

// refresh reads what the feed says since the last time, and forgets what was replaced.
func (a *Agent) refresh(ctx context.Context) error {
	f := &a.feed
	call := f.calls.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.begun > call {
		return nil // somebody began to read after this call was made, and is done
	}
	f.begun = f.calls.Add(1)
	if a.guest != nil {
		f.blind = true
	}
	if !f.started && !f.blind {
		if err := a.recall(ctx); err != nil {
			return err
		}
	}
	f.started = true
	if f.blind {
		a.objects.forget()
		return nil
	}
	if err := a.checkpoint(ctx); err != nil {
		return err
	}
	before, due := f.history.number, uint64(0)
	if f.history.watch != nil {
		due = f.history.watch.Due()
	}
	back := f.here()
	for c, err := range a.Vault.Changes(ctx, f.cursor, false) {
		if f.history.number == 0 && (errors.Is(err, coffer.Invalid) || errors.Is(err, coffer.Denied)) {
			f.blind = true // a server without a feed
			a.objects.forget()
			return nil
		}
		if err != nil {
			return err
		}
		back.note(f, c.ID)
		if err := f.history.append(c); err != nil {
			back.restore(f)
			return err
		}
		f.cursor = c.Cursor
		if f.latest == nil {
			f.latest = make(map[coffer.ObjectID]latest)
		}
		if len(f.latest) >= maxLatest {
			f.thin(a.objects.all())
		}
		f.latest[c.ID] = latest{c.Sequence, c.Rev, c.Number}
		if !a.objects.replaced(c.ID, c.Rev) {
			a.drop(ctx, c.ID)
		}
	}
	if f.history.watch != nil {
		if err := f.history.watch.Ended(due); err != nil {
			back.restore(f)
			return err
		}
	}
	if f.history.number != before {
		a.remember(ctx)
	}
	return nil
}

// A point is where a follower was before it read on: what turns out to be no history of the vault is not remembered as
// one.
type point struct {
	cursor coffer.Cursor
	number uint64
	watch  []byte // encoded, once something was read
	read   bool
	before map[coffer.ObjectID]*latest
}

func (f *follower) here() *point {
	return &point{cursor: f.cursor, number: f.history.number, before: make(map[coffer.ObjectID]*latest)}
}

// note is told of a change before it counts.
func (p *point) note(f *follower, id coffer.ObjectID) {
	if !p.read && f.history.watch != nil {
		p.watch, _ = f.history.watch.Encode() // without it, what was read stays
	}
	p.read = true
	if _, ok := p.before[id]; !ok {
		p.before[id] = nil
		if l, ok := f.latest[id]; ok {
			p.before[id] = &l
		}
	}
}

func (p *point) restore(f *follower) {
	if !p.read {
		return
	}
	if f.history.watch != nil {
		w, err := ledger.DecodeWatcher(p.watch)
		if err != nil {
			return
		}
		f.history.watch = w
	}
	f.cursor, f.history.number = p.cursor, p.number
	for id, l := range p.before {
		if l == nil {
			delete(f.latest, id)
		} else {
			f.latest[id] = *l
		}
	}
}

// doubt forgets what is remembered of objects that could not be replaced: it may be what the vault passed off as
// present once.
func (a *Agent) doubt(ctx context.Context, writes []coffer.Write) {
	for _, w := range writes {
		a.objects.remove(w.ID())
		a.drop(ctx, w.ID())
	}
}

// acknowledged makes sure that what the vault says to have accepted is what was written. A server without a feed says
// less.
func acknowledged(writes []coffer.Write, changes []coffer.Change) error {
	const op = "commit"
	if len(changes) != len(writes) {
		return coffer.Errorf(op, coffer.Corrupt, "the vault answered with another number of changes")
	}
	for i, w := range writes {
		c := changes[i]
		var rev coffer.Rev
		if w.Document != nil {
			rev = w.Document.Rev()
		}
		if c.ID != w.ID() || c.Rev != rev {
			return coffer.Errorf(op, coffer.Corrupt, "the vault acknowledged something else than was written")
		}
	}
	return nil
}
