package vault

import (
	"context"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
)

// What acts on the store cost, in slots. It is known before they begin: by what they read at most, or bring.
const (
	small  = 1  // a read of one thing, or a write of few
	medium = 4  // a batch of a listing, a write of many
	large  = 16 // a commit of megabytes, a purge
)

// Bounds on acts. As many as there are slots share the disk; so many may wait for one vault, and in all. What one vault
// may have in both is less than the requests that a node lets in at once, so that one vault alone does not keep others
// out there.
const (
	defaultSlots = 64 // enough to share commits; with more there is less to take turns for
	waitingEach  = 128
	waitingAll   = 16384
)

// share is how many slots' worth of a vault's acts may go before it is the next vault's turn.
const share = 4

// turnPause is when to come again to a node that has too much to do.
const turnPause = time.Second

// turns let acts on the store begin: at once while there are slots, and else in turn over the vaults that have any
// waiting, so that what one vault asks for delays another's act by no more than a few of its own. Within a vault they
// go in the order in which they came. It is deficit round robin (Shreedhar and Varghese, 1995).
//
// Who holds slots waits for the store and for nothing else: neither for a client nor for a change.
type turns struct {
	each, all int // bounds on who waits

	mu      sync.Mutex
	slots   int // there are
	free    int
	waiting int // acts, of all vaults
	vaults  map[coffer.VaultID]*line
	turn    *line // whose turn it is, in a ring of all that have acts waiting; nil if none has
}

// A line is the acts of one vault that wait, at least one.
type line struct {
	vault       coffer.VaultID
	credit      int // slots that it may still take before the next one's turn
	waiting     int
	first, last *act
	before      *line // in the ring
	after       *line
}

// An act waits for its turn.
type act struct {
	cost          int
	begin         chan struct{} // closed when it holds its slots
	before, after *act
}

func newTurns(slots int) *turns {
	return &turns{each: waitingEach, all: waitingAll, slots: slots, free: slots, vaults: make(map[coffer.VaultID]*line)}
}

// take returns once an act of the vault may begin; the caller then calls give with the same cost. Exhausted with a time
// to wait if too many wait already. An act that was begun before, and goes on, waits in any case.
func (t *turns) take(ctx context.Context, v coffer.VaultID, cost int, begun bool) error {
	cost = min(cost, t.slots)
	t.mu.Lock()
	if t.waiting == 0 && t.free >= cost {
		t.free -= cost
		t.mu.Unlock()
		return nil
	}
	l := t.vaults[v]
	if !begun && (t.waiting >= t.all || l != nil && l.waiting >= t.each) {
		t.mu.Unlock()
		return &tooFast{coffer.Errorf("vault", coffer.Exhausted, "too many requests are waiting"), turnPause}
	}
	a := t.join(l, v, cost)
	t.pass() // a smaller one than the one whose turn it is may just fit
	t.mu.Unlock()
	select {
	case <-a.begin:
		return nil
	case <-ctx.Done():
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-a.begin: // in the same moment
		t.free += cost
	default:
		t.leave(t.vaults[v], a)
	}
	t.pass()
	return coffer.E("vault", coffer.Unavailable, ctx.Err())
}

// give ends an act that take let begin.
func (t *turns) give(cost int) {
	t.mu.Lock()
	t.free += min(cost, t.slots)
	if t.waiting > 0 {
		t.pass()
	}
	t.mu.Unlock()
}

// pass lets those begin whose turn it is, while there are slots for them. One that needs more than are free keeps its
// turn, so that small ones do not keep large ones out for ever.
func (t *turns) pass() {
	for t.turn != nil {
		l := t.turn
		a := l.first
		switch {
		case l.credit < a.cost:
			t.next(l.after)
		case t.free < a.cost:
			return
		default:
			t.free -= a.cost
			l.credit -= a.cost
			t.leave(l, a)
			close(a.begin)
		}
	}
}

// next makes it a line's turn.
func (t *turns) next(l *line) {
	t.turn = l
	l.credit += share
}

// join puts an act at the end of its vault's line, and a new line at the end of the round.
func (t *turns) join(l *line, v coffer.VaultID, cost int) *act {
	if l == nil {
		l = &line{vault: v}
		t.vaults[v] = l
		if t.turn == nil {
			l.before, l.after = l, l
			t.next(l)
		} else {
			l.before, l.after = t.turn.before, t.turn
			l.before.after, l.after.before = l, l
		}
	}
	a := &act{cost: cost, begin: make(chan struct{}), before: l.last}
	if l.last == nil {
		l.first = a
	} else {
		l.last.after = a
	}
	l.last = a
	l.waiting++
	t.waiting++
	return a
}

// leave takes an act out of its line, and the line out of the round if it was the last one.
func (t *turns) leave(l *line, a *act) {
	if a.before == nil {
		l.first = a.after
	} else {
		a.before.after = a.after
	}
	if a.after == nil {
		l.last = a.before
	} else {
		a.after.before = a.before
	}
	l.waiting--
	t.waiting--
	if l.waiting > 0 {
		return
	}
	delete(t.vaults, l.vault)
	switch {
	case l.after == l:
		t.turn = nil
		return
	case t.turn == l:
		t.next(l.after)
	}
	l.before.after, l.after.before = l.after, l.before
}
