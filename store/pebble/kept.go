package pebble

import (
	"context"
	"errors"
	"slices"
	"time"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
)

// maxForget is how many kept revisions one commit of Compact drops.
const maxForget = 256

// Revision returns a revision of an object by its sequence; see [store.Store].
//
// The present one is looked for first: one that is replaced and kept meanwhile is found afterwards.
func (s *Store) Revision(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, sequence uint64,
) (*coffer.Document, error) {
	const op = "pebble.Revision"
	d, err := s.Get(ctx, v, id)
	if err == nil && d.Sequence == sequence || err != nil && !errors.Is(err, coffer.NotExist) {
		return d, err
	}
	if err := s.enter(ctx, op); err != nil {
		return nil, err
	}
	defer s.exit()
	it, err := s.db.NewIterWithContext(ctx, &engine.IterOptions{
		LowerBound: appendKept(nil, v, id, sequence, 0), UpperBound: appendKept(nil, v, id, sequence, ^uint64(0)),
	})
	if err != nil {
		return nil, failure(op, err)
	}
	defer s.health.leave(it)
	if !it.First() {
		if err := it.Error(); err != nil {
			return nil, failure(op, err)
		}
		return nil, coffer.E(op, coffer.NotExist, nil)
	}
	b, err := it.ValueAndErr()
	if err != nil {
		return nil, failure(op, err)
	}
	d, _, err = decodeRevision(b, id)
	if err != nil {
		return nil, err
	}
	return d, nil
}

// keptOf returns which revisions of an object are kept. It does not read them.
func (s *Store) keptOf(v coffer.VaultID, id coffer.ObjectID, h *head) (names []keptName, err error) {
	if h.kept.revisions == 0 {
		return nil, nil
	}
	prefix := appendObject(nil, v, keptTable, id)
	it, err := s.db.NewIter(&engine.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return nil, failure(applyOp, err)
	}
	defer it.Close()
	for more := it.First(); more; more = it.Next() {
		if len(it.Key()) != restAt+restLen(keptTable) {
			return nil, errRecord()
		}
		_, name := keptAt(it.Key())
		names = append(names, name)
	}
	if err := it.Error(); err != nil {
		return nil, failure(applyOp, err)
	}
	return names, nil
}

// Compact drops the kept revisions that are due; see [store.Store]. It costs what it drops: the queue is in the order
// of time. The commits go the way of all others. Then, if much was replaced, erased and dropped since that was last
// done, it has the engine write all tables anew without that, and waits for it.
func (s *Store) Compact(ctx context.Context, before time.Time) (dropped int64, err error) {
	const op = "pebble.Compact"
	if err := s.enter(ctx, op); err != nil {
		return 0, err
	}
	defer s.exit()
	from, end := appendDueTime(nil, 0), appendDueTime(nil, dueBefore(before))
	for {
		c, next, err := s.due(op, from, end)
		if err != nil {
			return dropped, err
		}
		if c == nil {
			return dropped, s.reclaim(ctx, op)
		}
		if err := s.commit(ctx, op, c); err != nil {
			return dropped, err
		}
		for i := range c.steps {
			dropped += c.steps[i].dropped
		}
		from = next
	}
}

// Compact has the engine give space back when more than this is dead, and more than a fifth of what the store takes.
const (
	muchDead = 4 << 20
	oneDead  = 5
)

// reclaim makes the engine give back the space of what is not needed any more, if that is worth the work. By itself it
// would do so only as more is written.
func (s *Store) reclaim(ctx context.Context, op string) error {
	dead := s.dead.Load()
	if dead < muchDead {
		return nil
	}
	m, err := s.metrics(op)
	if err != nil || dead < int64(m.DiskSpaceUsage())/oneDead {
		return err
	}
	if !s.health.guard(func() { err = s.db.Compact(ctx, []byte{0}, []byte{0xff}, false) }) {
		return s.health.failure(op)
	}
	if ctx.Err() != nil {
		return coffer.E(op, coffer.Unavailable, ctx.Err())
	}
	if err != nil {
		return failure(op, err)
	}
	s.dead.Add(-dead)
	return nil
}

// dueBefore returns the least time, in milliseconds, that is not before the instant.
func dueBefore(t time.Time) uint64 {
	if t.Year() < 1970 {
		return 0
	}
	if t.Year() > 9999 {
		return ^uint64(0)
	}
	milliseconds := t.UnixMilli()
	if time.UnixMilli(milliseconds).Before(t) {
		milliseconds++
	}
	return uint64(max(milliseconds, 0))
}

// due returns a call that drops the first kept revisions of a part of the queue, and where the queue goes on; nil if
// there are none. Several of an object make one step.
func (s *Store) due(op string, from, end []byte) (c *call, next []byte, err error) {
	it, err := s.db.NewIter(&engine.IterOptions{LowerBound: from, UpperBound: end})
	if err != nil {
		return nil, nil, failure(op, err)
	}
	defer s.health.leave(it)
	places := make(map[object]int)
	n := 0
	for more := it.First(); more && n < maxForget; more = it.Next() {
		key := it.Key()
		size, err := decodeDue(it.Value())
		if len(key) != dueLen || err != nil {
			return nil, nil, errRecord()
		}
		if c == nil {
			c = &call{done: make(chan struct{})}
		}
		v, id, name := dueAt(key)
		at, known := places[object{v, id}]
		if !known {
			at = len(c.steps)
			places[object{v, id}] = at
			c.steps = append(c.steps, step{act: forget, vault: v, id: id})
		}
		t := &c.steps[at]
		t.forget = append(t.forget, due{name, size})
		next = append(append(next[:0], key...), 0)
		n++
	}
	if err := it.Error(); err != nil {
		return nil, nil, failure(op, err)
	}
	if c != nil {
		for i := range c.steps {
			c.bytes += c.steps[i].cost()
		}
	}
	return c, next, nil
}

// weighKept counts off those of the kept revisions that are there. What was erased or purged meanwhile has left nothing
// but, perhaps, its places in the queue.
func (s *Store) weighKept(total *tally, t *step, v *verdict) error {
	var h head
	err := s.finder.find(appendObject(nil, t.vault, headTable, t.id), func(b []byte) (err error) {
		h, err = decodeHead(b)
		return err
	})
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return err
	}
	prefix := appendObject(nil, t.vault, keptTable, t.id)
	it, err := s.db.NewIter(&engine.IterOptions{LowerBound: prefix, UpperBound: after(prefix)})
	if err != nil {
		return failure(applyOp, err)
	}
	defer it.Close()
	bytes, dropped := total.after.Bytes, int64(0)
	var key []byte
	for _, d := range t.forget {
		v.forgets = append(v.forgets, d.keptName)
		key = appendKept(key[:0], t.vault, t.id, d.sequence, d.time)
		if !it.SeekGE(key) || !slices.Equal(it.Key(), key) {
			if err := it.Error(); err != nil {
				return failure(applyOp, err)
			}
			continue
		}
		if h.kept.revisions == 0 || h.kept.size < d.size {
			return coffer.Errorf(applyOp, coffer.Corrupt, "an object and what is kept of it do not agree")
		}
		h.kept.revisions--
		h.kept.size -= d.size
		bytes -= d.size
		dropped++
	}
	v.dead = total.after.Bytes - bytes
	v.head, t.dropped, total.after.Bytes = h, dropped, bytes
	return nil
}
