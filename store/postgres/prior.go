package postgres

import (
	"sync"

	"github.com/cofferhq/coffer"
)

// A prior is what is known of a revision that a write replaces or erases. Since rev is a hash of the whole revision, it
// stays right for ever: what may change is only whether that revision is still the present one.
type prior struct {
	rev      coffer.Rev
	sequence uint64
	size     int64
	stream   *coffer.Stream
	tags     []byte // as encodeTags writes them
}

func (p *prior) index() (index, error) {
	tags, err := decodeTags(p.tags)
	return indexOf(tags), err
}

type object struct {
	vault coffer.VaultID
	id    coffer.ObjectID
}

// priors remembers what this process has lately read or written, so that a write that replaces it need not read it
// first. It is a guess: each commit makes sure that it is right. There are two generations, the younger one takes what
// is new or used; when it is full the older one is dropped.
type priors struct {
	mu         sync.Mutex
	limit      int // bytes in both generations together
	used       int // of the younger one
	older      map[object]*prior
	younger    map[object]*prior
	olderBytes int
}

// priorCost is about what an entry takes beside its tags.
const priorCost = 256

func newPriors(limit int) *priors {
	return &priors{limit: limit, younger: make(map[object]*prior)}
}

func (c *priors) get(o object) *prior {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.younger[o]; p != nil {
		return p
	}
	p := c.older[o]
	if p != nil {
		c.put(o, p)
	}
	return p
}

func (c *priors) set(o object, p *prior) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.put(o, p)
}

func (c *priors) put(o object, p *prior) {
	cost := priorCost + len(p.tags)
	if cost > c.limit/16 {
		delete(c.younger, o)
		delete(c.older, o)
		return
	}
	if old := c.younger[o]; old != nil {
		c.used -= priorCost + len(old.tags)
	}
	c.younger[o] = p
	if c.used += cost; c.used > c.limit/2 {
		c.older, c.olderBytes = c.younger, c.used
		c.younger, c.used = make(map[object]*prior), 0
	}
}

func (c *priors) drop(o object) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.younger[o]; old != nil {
		c.used -= priorCost + len(old.tags)
		delete(c.younger, o)
	}
	delete(c.older, o)
}

func (c *priors) memory() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return int64(c.used + c.olderBytes)
}

// known remembers vaults that have a row, which they never lose.
type known struct {
	mu             sync.Mutex
	older, younger map[coffer.VaultID]struct{}
}

// maxKnown is how many vaults one generation of known holds.
const maxKnown = 1 << 15

func (k *known) has(v coffer.VaultID) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if _, ok := k.younger[v]; ok {
		return true
	}
	_, ok := k.older[v]
	if ok {
		k.put(v)
	}
	return ok
}

func (k *known) add(v coffer.VaultID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.put(v)
}

func (k *known) put(v coffer.VaultID) {
	if k.younger == nil || len(k.younger) >= maxKnown {
		k.older, k.younger = k.younger, make(map[coffer.VaultID]struct{})
	}
	k.younger[v] = struct{}{}
}

func (k *known) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.older, k.younger = nil, nil
}

func (k *known) memory() int64 {
	k.mu.Lock()
	defer k.mu.Unlock()
	return int64(40 * (len(k.older) + len(k.younger)))
}
