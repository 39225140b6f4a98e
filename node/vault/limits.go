package vault

import (
	"maps"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
)

// Limits bound what owners may use. Zero members are no limit, but for Keep and Slots.
type Limits struct {
	Document  int64   // bytes of one document
	Chunk     int64   // bytes of one chunk
	Documents int64   // documents in one vault
	Bytes     int64   // bytes in one vault
	Vaults    int64   // vaults on this node
	Rate      float64 // calls to one vault in a second; ten seconds' worth may come at once

	// Keep is how long a revision that was replaced can still be read; 0: it is gone at once. It counts as bytes of the
	// vault until it is dropped, which [Service.Tend] sees to, within about an hour.
	Keep time.Duration

	// Slots is how many small acts the store is given at once, larger ones counting as several. Beyond that they wait, and
	// take turns over the vaults. 0: 64.
	Slots int
}

// A pace holds each vault to a rate of requests. It is the generic cell rate algorithm: of a vault it remembers when
// its burst is whole again, and of one whose burst is, nothing.
type pace struct {
	interval time.Duration // between calls at the rate
	burst    time.Duration // that the calls which may come at once would take

	mu    sync.Mutex
	whole map[coffer.VaultID]int64 // Unix nanoseconds
}

// pacedVaults is how many vaults' rates are remembered, in some 50 bytes each. One that is forgotten starts with a full
// burst.
const pacedVaults = 65536

// slowestPace bounds the time between calls.
const slowestPace = 365 * 24 * time.Hour

// burstSeconds is how many seconds' worth of requests may come at once.
const burstSeconds = 10

func newPace(perSecond float64) *pace {
	if perSecond <= 0 {
		return nil
	}
	return newBurstPace(perSecond, burstSeconds)
}

// newMessagePace is newPace for messages, which come in larger bursts.
func newMessagePace(perSecond float64) *pace { return newBurstPace(perSecond, messageBurst) }

func newBurstPace(perSecond, seconds float64) *pace {
	interval := time.Duration(min(float64(slowestPace), float64(time.Second)/perSecond))
	// In whole calls, and at least one.
	burst := time.Duration(min(float64(slowestPace), float64(interval)*max(1, float64(int64(perSecond*seconds)))))
	return &pace{interval: interval, burst: burst, whole: make(map[coffer.VaultID]int64)}
}

// messages is how many messages may come to one vault in a second.
func (l Limits) messages() float64 {
	if l.Rate > 0 {
		return min(vaultMessages, l.Rate/2)
	}
	return vaultMessages
}

// take counts a call to the vault; Exhausted with a time to wait if there are too many.
func (p *pace) take(id coffer.VaultID, now time.Time) error {
	if p == nil {
		return nil
	}
	n := now.UnixNano()
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.whole[id]
	// A clock that was set back keeps nobody out for longer than a burst takes.
	at = min(max(at, n), n+int64(p.burst))
	if wait := time.Duration(at-n) + p.interval - p.burst; wait > 0 {
		p.whole[id] = at
		return &tooFast{coffer.Errorf("vault", coffer.Exhausted, "too many requests"), max(wait, time.Second)}
	}
	if !known && len(p.whole) >= pacedVaults {
		p.forget(n)
	}
	p.whole[id] = at + int64(p.interval)
	return nil
}

// forget makes room: of those whose burst is whole, and, if they are few, of any.
func (p *pace) forget(now int64) {
	maps.DeleteFunc(p.whole, func(_ coffer.VaultID, at int64) bool { return at <= now })
	for id := range p.whole {
		if len(p.whole) <= pacedVaults-pacedVaults/8 {
			return
		}
		delete(p.whole, id)
	}
}

// tooFast is an error that says when to try again.
type tooFast struct {
	error
	wait time.Duration
}

func (e *tooFast) Unwrap() error             { return e.error }
func (e *tooFast) RetryAfter() time.Duration { return e.wait }

// An oversize is an error about a thing that is too large in itself, as opposed to a quota that is used up.
type oversize struct{ error }

func (e *oversize) Unwrap() error { return e.error }

// TooLarge marks the error for the wire.
func (e *oversize) TooLarge() bool { return true }

func tooLarge(op string) error {
	return &oversize{coffer.Errorf(op, coffer.Exhausted, "larger than this node takes")}
}
