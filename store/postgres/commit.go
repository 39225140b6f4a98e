package postgres

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// maxTries bounds how often a group is tried that meets the transactions of others.
const maxTries = 12

// commit carries out groups until the queue is closed.
func (s *Store) commit() {
	for g := s.queue.take(nil); g != nil; g = s.queue.take(g) {
		s.carryOut(g)
		for _, c := range g.calls {
			close(c.done)
		}
	}
}

// carryOut sets results or err of each call of the group.
func (s *Store) carryOut(g *group) {
	ctx := context.Background()
	if !g.purges() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, s.timeout)
		defer cancel()
	}
	var err error
	short := true
	for try := 1; ; try++ {
		var again bool
		again, err = s.try(ctx, g, &short)
		s.health.note(ctx, err)
		if err == nil || !again || try == maxTries || !pause(ctx, try) {
			break
		}
	}
	if err != nil {
		if away(err) {
			s.pool.Reset() // other connections are most likely lost, too
		}
		err = commitFailure(ctx, err)
		for _, c := range g.calls {
			c.results, c.err = nil, err
		}
		return
	}
	for _, v := range g.wrote {
		s.known.add(v)
	}
	for _, c := range g.calls {
		if c.err == nil {
			s.remember(c)
		}
	}
	s.notifier.announce(g.wrote)
}

func (g *group) purges() bool { return len(g.calls) == 1 && g.calls[0].purges }

// commitFailure is what callers are told when a group failed as a whole.
func commitFailure(ctx context.Context, err error) error {
	switch {
	case conflicting(err):
		return coffer.Errorf(applyOp, coffer.Unavailable, "the write met too many others; try again")
	case away(err) && !unsent(err):
		return coffer.Errorf(applyOp, coffer.Unavailable,
			"the connection to the database failed; whether the write was carried out is not known")
	}
	if ctx.Err() != nil { // ours, not the callers'
		return coffer.Errorf(applyOp, coffer.Unavailable,
			"the database takes too long; whether the write was carried out is not known")
	}
	return failure(ctx, applyOp, err)
}

// unsent reports whether an error came before anything was sent.
func unsent(err error) bool {
	var u *unreached
	return errors.As(err, &u) || pgconn.SafeToRetry(err)
}

// try carries out a group in one transaction. again says that it failed without having done anything, and that another
// try may do. short says that the short way may be tried; it is cleared when that did not do.
func (s *Store) try(ctx context.Context, g *group, short *bool) (again bool, err error) {
	c, err := s.pool.Acquire(ctx)
	if err != nil {
		return false, &unreached{err}
	}
	defer c.Release()
	var e *effects
	if *short {
		if e = s.presume(g); e == nil {
			*short = false
		}
	}
	if e != nil {
		g.wrote = e.vaults()
		err := s.shortWay(ctx, c, e)
		if !broken(err) {
			return err != nil && (conflicting(err) || unsent(err)), s.rollback(c, err)
		}
		*short = false
		if s.rollback(c, nil) != nil || c.Conn().IsClosed() {
			return true, err
		}
		if code(err) == "23502" {
			s.known.forget() // perhaps a vault has no row after all
		}
	}
	if err = s.longWay(ctx, c, g); broken(err) { // with the vaults locked, nothing but damage can be in the way
		err = coffer.Errorf(applyOp, coffer.Corrupt, "what the database holds does not agree with itself; check it")
	}
	return err != nil && (conflicting(err) || unsent(err)), s.rollback(c, err)
}

// rollback makes the connection fit for others after an error, and returns that error.
func (s *Store) rollback(c *pgxpool.Conn, err error) error {
	if c.Conn().IsClosed() || c.Conn().PgConn().TxStatus() == 'I' {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if _, failed := c.Exec(ctx, "ROLLBACK", pgx.QueryExecModeSimpleProtocol); failed != nil {
		_ = c.Conn().Close(ctx)
	}
	return err
}

// errUncommitted says that the database answered a COMMIT with something else.
var errUncommitted = coffer.Errorf(applyOp, coffer.Unavailable, "the database gave the write up")

// send carries out a batch that ends a transaction with COMMIT.
func send(ctx context.Context, c *pgxpool.Conn, b *pgx.Batch) error {
	committed := false
	b.Queue(commitSQL).Exec(func(tag pgconn.CommandTag) error {
		committed = tag.String() == "COMMIT"
		return nil
	})
	if err := c.SendBatch(ctx, b).Close(); err != nil {
		return err
	}
	if !committed {
		return errUncommitted
	}
	return nil
}

// shortWay carries out what was presumed in one round trip.
func (s *Store) shortWay(ctx context.Context, c *pgxpool.Conn, e *effects) error {
	b := &pgx.Batch{}
	b.Queue(beginSQL)
	vaults := e.vaults()
	ids := make(uuids, 0, len(vaults))
	all := true
	for _, v := range vaults {
		ids = append(ids, uuid(v))
		all = all && s.known.has(v)
	}
	switch {
	case !all:
		b.Queue(enterSQL, ids)
	case len(ids) > 1:
		b.Queue(lockSQL, ids)
	}
	e.queue(b)
	return send(ctx, c, b)
}

// presume returns what a group does if all is as it was last seen by this process, or nil if that is not known or
// cannot be made sure of by the statements alone. It sets the results.
func (s *Store) presume(g *group) *effects {
	e := newEffects()
	claimed := make(map[unique]struct{})
	for _, c := range g.calls {
		c.results, c.err = make([]store.Result, len(c.steps)), nil
		for i := range c.steps {
			t := &c.steps[i]
			c.results[i] = store.Result{}
			v := verdict{result: &c.results[i]}
			if !s.presumeStep(e, t, &v, claimed) {
				return nil
			}
			e.enact(t, &v)
		}
	}
	return e
}

func (s *Store) presumeStep(e *effects, t *step, v *verdict, claimed map[unique]struct{}) bool {
	h := e.charge(t.vault)
	if t.law != nil {
		if h.law != nil && *h.law != *t.law {
			return false
		}
		h.law = t.law
	}
	before := h.add
	var p *prior
	switch t.act {
	case put:
		p = s.priors.get(t.object())
		if t.patch != 0 || t.insert != (p == nil) || p != nil && !t.follows(p) {
			return false
		}
	case erase:
		if p = s.priors.get(t.object()); p == nil || t.base != (coffer.Rev{}) && t.base != p.rev {
			return false
		}
	case govern:
		h.add.Law++
		return true
	case attach:
		h.add.Bytes += t.chunk.Ref.Size
		v.chunks = 1
		v.moved = []store.Chunk{t.chunk}
	default:
		return false
	}
	if p != nil {
		v.prior, v.revisions = p, 1
		old, err := p.index()
		if err != nil {
			return false
		}
		v.old = old
	}
	// The statements release tags before they take any. That is in the order of the steps only if none is released by a
	// step that follows the one that takes it.
	sound := true
	t.index.differ(v.old, func(q posting) {
		if _, ok := claimed[unique{t.vault, q.tag}]; ok && q.exclusive {
			sound = false
		}
	}, func(q posting) {
		if q.exclusive {
			claimed[unique{t.vault, q.tag}] = struct{}{}
		}
	})
	if !sound {
		return false
	}
	switch t.act {
	case put:
		h.add.Bytes += t.size
		if p == nil {
			h.add.Documents++
		} else if !t.keeping(p) {
			h.add.Bytes -= p.size
		}
	case erase:
		h.add.Documents--
		h.add.Bytes -= p.size
		t.change.Sequence = p.sequence
	}
	if t.inFeed() {
		h.add.Changes++
		v.nth = int64(h.add.Changes)
		v.result.Change = t.change
	}
	// The step must not exceed its limit, wherever the vault began.
	if l := t.limit.Documents; l > 0 && h.add.Documents > before.Documents {
		h.most.Documents = min(h.most.Documents, l-h.add.Documents)
	}
	if l := t.limit.Bytes; l > 0 && h.add.Bytes > before.Bytes {
		h.most.Bytes = min(h.most.Bytes, l-h.add.Bytes)
	}
	return true
}

// follows reports whether a document may take the place of a revision.
func (t *step) follows(p *prior) bool {
	n := t.change.Sequence
	return len(t.document.Parents) == 1 && t.base == p.rev &&
		(n == p.sequence+1 || t.reindex && n == p.sequence)
}

// remember notes what a call has changed.
func (s *Store) remember(c *call) {
	for i := range c.steps {
		t := &c.steps[i]
		switch t.act {
		case put:
			s.priors.set(t.object(), t.prior())
		case erase:
			s.priors.drop(t.object())
		}
	}
}
