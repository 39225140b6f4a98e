package vault

import (
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/time/rate"

	"github.com/cofferhq/coffer"
)

// Limits bound what owners may use. Zero members are no limit.
type Limits struct {
	Document  int64   // bytes of one document
	Chunk     int64   // bytes of one chunk
	Documents int64   // documents in one vault
	Bytes     int64   // bytes in one vault
	Vaults    int64   // vaults on this node
	Rate      float64 // calls to one vault in a second; ten seconds' worth may come at once
}

// A pace holds each vault to a rate of requests.
type pace struct {
	perSecond rate.Limit
	burst     int
	vaults    *lru.Cache[coffer.VaultID, *rate.Limiter]
}

// pacedVaults is how many vaults' rates are remembered. One that is forgotten starts with a full burst.
const pacedVaults = 65536

// burstSeconds is how many seconds' worth of requests may come at once.
const burstSeconds = 10

func newPace(perSecond float64) *pace {
	if perSecond <= 0 {
		return nil
	}
	vaults, err := lru.New[coffer.VaultID, *rate.Limiter](pacedVaults)
	if err != nil {
		panic(err) // only for a size below one
	}
	return &pace{perSecond: rate.Limit(perSecond), burst: max(1, int(perSecond*burstSeconds)), vaults: vaults}
}

// newMessagePace is newPace for messages, which come in larger bursts.
func newMessagePace(perSecond float64) *pace {
	p := newPace(perSecond)
	p.burst = max(1, int(perSecond*messageBurst))
	return p
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
	l, ok := p.vaults.Get(id)
	if !ok {
		l = rate.NewLimiter(p.perSecond, p.burst)
		if present, ok, _ := p.vaults.PeekOrAdd(id, l); ok {
			l = present
		}
	}
	if l.AllowN(now, 1) {
		return nil
	}
	wait := time.Duration(float64(time.Second) / float64(p.perSecond))
	return &tooFast{coffer.Errorf("vault", coffer.Exhausted, "too many requests"), max(wait, time.Second)}
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
