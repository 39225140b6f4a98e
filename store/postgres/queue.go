package postgres

import (
	"runtime"
	"slices"
	"sync"

	"github.com/cofferhq/coffer"
)

// Bounds on a group, so that no call waits for too many others, and no message is large. A call that is larger by
// itself makes a group of its own.
const (
	maxGroup      = 256
	maxGroupBytes = 1 << 20
	maxScan       = 4 * maxGroup // how many waiting calls are looked at for one group
)

// A queue is where calls wait for a committer.
type queue struct {
	mu      sync.Mutex
	some    sync.Cond
	waiting []*call
	busy    map[coffer.VaultID]struct{} // written to by a group under way
	closed  bool
}

func newQueue() *queue {
	q := &queue{busy: make(map[coffer.VaultID]struct{})}
	q.some.L = &q.mu
	return q
}

func (q *queue) put(c *call) {
	q.mu.Lock()
	q.waiting = append(q.waiting, c)
	free := true
	for _, v := range c.vaults {
		_, busy := q.busy[v]
		free = free && !busy
	}
	q.mu.Unlock()
	if free { // else whoever is busy with the vault comes back for it
		q.some.Signal()
	}
}

// leave takes out a call that its caller has given up.
func (q *queue) leave(c *call) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if i := slices.Index(q.waiting, c); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
	}
}

// close lets every take return nil.
func (q *queue) close() {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	q.some.Broadcast()
}

// take waits for calls and returns a group of them, or nil when the queue is closed. The vaults of the group that the
// committer had before are free for others then.
func (q *queue) take(before *group) *group {
	// Those whose calls were just answered get a chance to make the next ones: else groups are large and small in turns.
	for range 2 {
		runtime.Gosched()
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if before != nil {
		for v := range before.vaults {
			delete(q.busy, v)
		}
	}
	for {
		if g := q.fill(); g != nil {
			if len(q.waiting) > 0 {
				q.some.Signal()
			}
			return g
		}
		if q.closed {
			return nil
		}
		q.some.Wait()
	}
}

// fill makes a group of calls that wait, or returns nil if there are none that may go.
func (q *queue) fill() *group {
	var g *group
	var behind map[coffer.VaultID]struct{} // vaults with a call that has to wait: later ones do not overtake it
	left := q.waiting[:0]
	for i, c := range q.waiting {
		if i >= maxScan || g != nil && (len(g.calls) == maxGroup || g.alone) {
			left = append(left, q.waiting[i:]...)
			break
		}
		free := func(v coffer.VaultID) bool {
			_, busy := q.busy[v]
			_, waits := behind[v]
			return !busy && !waits
		}
		fits := g == nil || g.fits(c)
		for _, v := range c.vaults {
			fits = fits && free(v)
		}
		if !fits {
			if behind == nil {
				behind = make(map[coffer.VaultID]struct{})
			}
			for _, v := range c.vaults {
				behind[v] = struct{}{}
			}
			left = append(left, c)
			continue
		}
		if !c.taken.CompareAndSwap(false, true) {
			continue // given up
		}
		if g == nil {
			g = newGroup()
		}
		g.add(c)
	}
	clear(q.waiting[len(left):])
	q.waiting = left
	if g == nil {
		return nil
	}
	for v := range g.vaults {
		q.busy[v] = struct{}{}
	}
	return g
}

// A group is calls that share a transaction.
type group struct {
	calls    []*call
	bytes    int
	alone    bool // no other call may join
	vaults   map[coffer.VaultID]struct{}
	governed map[coffer.VaultID]struct{} // their laws change: what comes later looks at them anew
	objects  map[object]struct{}
	wrote    []coffer.VaultID // what the last try changed
}

type unique struct {
	vault coffer.VaultID
	tag   term
}

func newGroup() *group {
	return &group{
		vaults:   make(map[coffer.VaultID]struct{}),
		governed: make(map[coffer.VaultID]struct{}),
		objects:  make(map[object]struct{}),
	}
}

// fits reports whether a call may join: it is not too much, and touches no object that another call of the group does.
// Calls that want the same unique tag may meet in a group: the statements of the short way fail then, and the long way
// gives it to the first.
func (g *group) fits(c *call) bool {
	if c.purges || g.bytes+c.bytes > maxGroupBytes {
		return false
	}
	if len(g.governed) > 0 {
		for _, v := range c.vaults {
			if _, ok := g.governed[v]; ok {
				return false
			}
		}
	}
	for i := range c.steps {
		t := &c.steps[i]
		if t.act == govern {
			continue
		}
		if _, ok := g.objects[t.object()]; ok {
			return false
		}
	}
	return true
}

func (g *group) add(c *call) {
	g.calls = append(g.calls, c)
	g.bytes += c.bytes
	g.alone = g.alone || c.purges || c.bytes > maxGroupBytes
	for _, v := range c.vaults {
		g.vaults[v] = struct{}{}
		if c.governs {
			g.governed[v] = struct{}{}
		}
	}
	for i := range c.steps {
		t := &c.steps[i]
		if t.act == govern || t.act == purge {
			continue
		}
		g.objects[t.object()] = struct{}{}
	}
}
