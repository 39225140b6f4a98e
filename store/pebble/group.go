package pebble

import (
	"sync"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Bounds on a group, so that no call waits for too many others, and a batch fits into the table of recent writes. A
// call that is larger by itself makes a group of its own.
const (
	maxGroup      = 256
	maxGroupBytes = 256 << 10
)

// A group is calls that share a commit.
type group struct {
	calls   []*call
	bytes   int
	batch   *engine.Batch
	objects map[object]struct{} // touched by its calls
	uniques map[unique]struct{} // taken or released by its calls
	purged  map[coffer.VaultID]struct{}
	tallies map[coffer.VaultID]*tally

	key, value []byte // to build records in
}

type object struct {
	vault coffer.VaultID
	id    coffer.ObjectID
}

type unique struct {
	vault coffer.VaultID
	term  term
}

// A tally is the usage of a vault before and after a group.
type tally struct{ before, after store.Usage }

func (s *Store) newGroup() *group {
	return &group{
		batch:   s.db.NewBatch(),
		objects: make(map[object]struct{}),
		uniques: make(map[unique]struct{}),
		purged:  make(map[coffer.VaultID]struct{}),
		tallies: make(map[coffer.VaultID]*tally),
	}
}

// form takes calls off the queue, forms groups, applies their batches and hands them to settle, until the store stops
// or breaks. The engine may then stop this goroutine for ever.
func (s *Store) form() {
	defer close(s.groups)
	var left *call // taken off the queue, but not fit for the group before
	for {
		if left == nil {
			select {
			case left = <-s.queue:
			case <-s.stop:
				return
			}
		}
		g := s.newGroup()
		left = s.fill(g, left)
		select {
		case s.groups <- g:
		case <-s.health.dead:
			return
		}
	}
}

// fill adds the first call and what waits in the queue to the group, and applies its batch. It returns a call that has
// to go into the next group, if there is one.
func (s *Store) fill(g *group, first *call) (left *call) {
	for c := first; c != nil; c = s.waiting() {
		if len(g.calls) > 0 && (len(g.calls) == maxGroup || g.bytes+c.bytes > maxGroupBytes || g.overlaps(c)) {
			left = c
			break
		}
		if c.taken.CompareAndSwap(false, true) {
			g.calls = append(g.calls, c)
			g.bytes += c.bytes
			s.judge(g, c)
		}
	}
	s.finder.close()
	for v, t := range g.tallies {
		if t.before == t.after {
			delete(g.tallies, v)
			continue
		}
		g.set(appendTable(g.key[:0], v, usageTable), encodeUsage(g.value[:0], t.after))
	}
	if g.batch.Empty() || s.health.broken() {
		return left
	}
	s.durable.begin(g)
	var err error
	if s.sync {
		err = s.db.ApplyNoSyncWait(g.batch, engine.Sync)
	} else {
		err = s.db.Apply(g.batch, engine.NoSync)
	}
	if err != nil {
		s.health.fail(err)
	}
	return left
}

// set adds a record to the batch and keeps the two buffers.
func (g *group) set(key, value []byte) {
	_ = g.batch.Set(key, value, nil) // errs only on a batch that was committed
	g.key, g.value = key, value
}

func (g *group) drop(key []byte) {
	_ = g.batch.Delete(key, nil)
	g.key = key
}

// waiting returns the next call of the queue, or nil if none waits.
func (s *Store) waiting() *call {
	select {
	case c := <-s.queue:
		return c
	default:
		return nil
	}
}

// overlaps reports whether a call would read from the database what the group is about to change. It need not ask for
// the unique tags that the call would release: while their object is not touched, no other can have touched them.
func (g *group) overlaps(c *call) bool {
	for i := range c.steps {
		t := &c.steps[i]
		if _, ok := g.purged[t.vault]; ok {
			return true
		}
		if _, ok := g.objects[object{t.vault, t.id}]; ok {
			return true
		}
		if len(g.uniques) > 0 {
			for _, m := range t.index.uniques() {
				if _, ok := g.uniques[unique{t.vault, m}]; ok {
					return true
				}
			}
		}
	}
	return false
}

// settle waits for the disk, group after group, and answers the callers. A call that broke a rule is answered then,
// too: what it was refused for is durable, and in the database for its caller to read. When the store breaks, callers
// are not answered: they notice.
func (s *Store) settle() {
	defer close(s.settled)
	for g := range s.groups {
		if s.sync && !g.batch.Empty() {
			if err := g.batch.SyncWait(); err != nil {
				s.health.fail(err)
			}
		}
		if s.health.broken() { // all groups that follow rest upon this one
			return
		}
		s.durable.end(g)
		_ = g.batch.Close()
		for _, c := range g.calls {
			close(c.done)
		}
	}
}

// durable knows, of vaults with commits that are not on the disk yet, what they were before.
type durable struct {
	mu     sync.Mutex
	vaults map[coffer.VaultID]*pending
}

type pending struct {
	usage store.Usage // durable
	last  *group      // the newest group that changes the vault
}

// begin is called before a group's batch is applied.
func (d *durable) begin(g *group) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.vaults == nil {
		d.vaults = make(map[coffer.VaultID]*pending)
	}
	for v, t := range g.tallies {
		p := d.vaults[v]
		if p == nil {
			p = &pending{usage: t.before}
			d.vaults[v] = p
		}
		p.last = g
	}
}

// end is called when a group is durable, before its callers are answered.
func (d *durable) end(g *group) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for v, t := range g.tallies {
		if p := d.vaults[v]; p.last == g {
			delete(d.vaults, v)
		} else {
			p.usage = t.after
		}
	}
}

// usage returns the durable usage of a vault, if it is not what the database says. It is asked after the database was
// read: what the database showed was noted by begin before.
func (d *durable) usage(v coffer.VaultID) (store.Usage, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.vaults[v]
	if p == nil {
		return store.Usage{}, false
	}
	return p.usage, true
}
