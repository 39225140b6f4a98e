package ident

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/cofferhq/coffer"
)

// How long answers of the network are kept, how many and how much, and how many look-ups run at once.
const (
	keepFound  = 5 * time.Minute
	keepFailed = 30 * time.Second
	maxAnswers = 8192
	maxKept    = 16 << 20
	maxLookups = 32
)

// lookups keeps the answers of the network, and joins look-ups of one name into one.
type lookups struct {
	now   func() time.Time
	slots chan struct{}

	mu      sync.Mutex
	answers *simplelru.LRU[string, answer]
	size    int // bytes of answers, about
	flights map[string]*flight
}

type answer struct {
	identity *coffer.Identity
	err      error
	until    time.Time
}

// size counts the document twice: once as bytes, and once for what was read from it.
func (a answer) size(id string) int {
	n := 512 + len(id)
	if a.identity != nil {
		n += 2 * len(a.identity.Document)
	}
	return n
}

// A flight is a look-up under way. Its answer may be read once done is closed.
type flight struct {
	done   chan struct{}
	answer answer
	gaveUp bool // whoever led it was called off: there is no answer
}

func newLookups(now func() time.Time) *lookups {
	l := &lookups{now: now, slots: make(chan struct{}, maxLookups), flights: make(map[string]*flight)}
	l.answers, _ = simplelru.NewLRU(maxAnswers, func(id string, a answer) { l.size -= a.size(id) }) // fails for sizes < 1
	return l
}

// do returns the kept answer for id, or what ask returns. Of several callers at the same time one asks, under its own
// context, and the others wait for it; when it is called off, the next one asks.
func (l *lookups) do(ctx context.Context, id string, ask func(context.Context) (*coffer.Identity, error)) (
	*coffer.Identity, error,
) {
	for {
		l.mu.Lock()
		if a, ok := l.answers.Get(id); ok && l.now().Before(a.until) {
			l.mu.Unlock()
			return a.identity, a.err
		}
		f, found := l.flights[id]
		if !found {
			f = &flight{done: make(chan struct{}), gaveUp: true}
			l.flights[id] = f
		}
		l.mu.Unlock()
		if !found {
			l.lead(ctx, id, f, ask)
			return f.answer.identity, f.answer.err
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, coffer.E("resolve", coffer.Unavailable, ctx.Err())
		}
		if !f.gaveUp {
			return f.answer.identity, f.answer.err
		}
	}
}

// lead asks, and lets those who wait go on, come what may.
func (l *lookups) lead(ctx context.Context, id string, f *flight, ask func(context.Context) (*coffer.Identity, error)) {
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.flights, id)
		if !f.gaveUp {
			l.keep(id, f.answer)
		}
		close(f.done)
	}()
	busy := time.NewTimer(lookupTime)
	defer busy.Stop()
	select {
	case l.slots <- struct{}{}:
		defer func() { <-l.slots }()
	case <-busy.C:
		f.answer.err, f.gaveUp = coffer.Errorf("resolve", coffer.Unavailable, "too many look-ups are under way"), false
		return // with an answer for those who wait with us that is old already, so it is not kept
	case <-ctx.Done():
		f.answer.err = coffer.E("resolve", coffer.Unavailable, ctx.Err())
		return
	}
	identity, err := ask(ctx)
	f.answer = answer{identity, err, l.now().Add(keepFound)}
	if err != nil {
		f.answer.identity = nil
		f.answer.until = l.now().Add(keepFailed)
	}
	f.gaveUp = err != nil && ctx.Err() != nil
}

func (l *lookups) keep(id string, a answer) {
	l.answers.Remove(id) // an old answer gives its size back only so
	l.answers.Add(id, a)
	l.size += a.size(id)
	for l.size > maxKept {
		l.answers.RemoveOldest()
	}
}
