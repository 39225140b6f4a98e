package faulty

import (
	"context"
	"iter"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Store returns a store that does what another one does unless the faults, which are none at first, strike. It has the
// optional interfaces that the other one has.
//
// A rule with Late fails an operation that was carried out: whoever called Apply does not know the outcome. One with
// Part lets a Query, Changes or Check begin, and fails it after the first thing found; elsewhere it is as one without.
// What a rule fails with should be an error as a store may return.
func Store(s store.Store) (store.Store, *Faults) {
	f := &faultyStore{Store: s}
	w, shared := s.(store.Shared)
	r, rebuilds := s.(store.Rebuilder)
	c, copies := s.(store.Checkpointer)
	m, measures := s.(store.Meter)
	wa, re, ch, me := sharer{f, w}, rebuilder{f, r}, checkpointer{f, c}, meter{f, m}
	type (
		share interface {
			Watch(context.Context, func(coffer.VaultID)) error
			Once(context.Context, [16]byte, time.Time) (bool, error)
		}
		rebuild    = store.Rebuilder
		checkpoint = store.Checkpointer
		stats      = store.Meter
	)
	has := 0
	for i, h := range [...]bool{shared, rebuilds, copies, measures} {
		if h {
			has |= 1 << i
		}
	}
	var wrapped store.Store
	switch has {
	case 0:
		wrapped = f
	case 1:
		wrapped = struct {
			store.Store
			share
		}{f, wa}
	case 2:
		wrapped = struct {
			store.Store
			rebuild
		}{f, re}
	case 3:
		wrapped = struct {
			store.Store
			share
			rebuild
		}{f, wa, re}
	case 4:
		wrapped = struct {
			store.Store
			checkpoint
		}{f, ch}
	case 5:
		wrapped = struct {
			store.Store
			share
			checkpoint
		}{f, wa, ch}
	case 6:
		wrapped = struct {
			store.Store
			rebuild
			checkpoint
		}{f, re, ch}
	case 7:
		wrapped = struct {
			store.Store
			share
			rebuild
			checkpoint
		}{f, wa, re, ch}
	case 8:
		wrapped = struct {
			store.Store
			stats
		}{f, me}
	case 9:
		wrapped = struct {
			store.Store
			share
			stats
		}{f, wa, me}
	case 10:
		wrapped = struct {
			store.Store
			rebuild
			stats
		}{f, re, me}
	case 11:
		wrapped = struct {
			store.Store
			share
			rebuild
			stats
		}{f, wa, re, me}
	case 12:
		wrapped = struct {
			store.Store
			checkpoint
			stats
		}{f, ch, me}
	case 13:
		wrapped = struct {
			store.Store
			share
			checkpoint
			stats
		}{f, wa, ch, me}
	case 14:
		wrapped = struct {
			store.Store
			rebuild
			checkpoint
			stats
		}{f, re, ch, me}
	default:
		wrapped = struct {
			store.Store
			share
			rebuild
			checkpoint
			stats
		}{f, wa, re, ch, me}
	}
	return wrapped, &f.faults
}

// A faultyStore is a store before another one. Close is passed on as it is.
type faultyStore struct {
	store.Store
	faults Faults
}

// call carries out an operation that has one answer.
func call[T any](ctx context.Context, f *Faults, op Op, do func() (T, error)) (T, error) {
	var none T
	b := f.strike(ctx, op)
	if b.err != nil && !b.late {
		return none, b.err
	}
	answer, err := do()
	if b.late && err == nil {
		return none, b.err
	}
	return answer, err
}

// sequence carries out an operation that yields.
func sequence[T any](ctx context.Context, f *Faults, op Op, do iter.Seq2[T, error]) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		b := f.strike(ctx, op)
		if b.early() {
			yield(none, b.err)
			return
		}
		for x, err := range do {
			if !yield(x, err) || err != nil {
				return
			}
			if b.part {
				break
			}
		}
		if b.err != nil {
			yield(none, b.err)
		}
	}
}

func (s *faultyStore) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error) {
	return call(ctx, &s.faults, Get, func() (*coffer.Document, error) { return s.Store.Get(ctx, v, id) })
}

func (s *faultyStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	return call(ctx, &s.faults, Apply, func() ([]store.Result, error) { return s.Store.Apply(ctx, writes...) })
}

func (s *faultyStore) Query(
	ctx context.Context, v coffer.VaultID, q coffer.Query,
) iter.Seq2[*coffer.Document, error] {
	return sequence(ctx, &s.faults, Query, s.Store.Query(ctx, v, q))
}

func (s *faultyStore) Count(ctx context.Context, v coffer.VaultID, q coffer.Query) (int, error) {
	return call(ctx, &s.faults, Count, func() (int, error) { return s.Store.Count(ctx, v, q) })
}

func (s *faultyStore) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	return sequence(ctx, &s.faults, Changes, s.Store.Changes(ctx, v, after))
}

func (s *faultyStore) Revision(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, sequence uint64,
) (*coffer.Document, error) {
	return call(ctx, &s.faults, Revision, func() (*coffer.Document, error) {
		return s.Store.Revision(ctx, v, id, sequence)
	})
}

func (s *faultyStore) Compact(ctx context.Context, before time.Time) (int64, error) {
	return call(ctx, &s.faults, Compact, func() (int64, error) { return s.Store.Compact(ctx, before) })
}

func (s *faultyStore) Chunk(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, set, index uint64,
) (store.Chunk, error) {
	return call(ctx, &s.faults, Chunk, func() (store.Chunk, error) { return s.Store.Chunk(ctx, v, id, set, index) })
}

func (s *faultyStore) Usage(ctx context.Context, v coffer.VaultID) (store.Usage, error) {
	return call(ctx, &s.faults, Usage, func() (store.Usage, error) { return s.Store.Usage(ctx, v) })
}

func (s *faultyStore) Check(ctx context.Context, report func(string), chunk func(store.Chunk)) error {
	b := s.faults.strike(ctx, Check)
	if b.early() {
		return b.err
	}
	if b.part {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		whole := chunk
		chunk = func(c store.Chunk) {
			if whole != nil && ctx.Err() == nil {
				whole(c)
			}
			cancel()
		}
	}
	if err := s.Store.Check(ctx, report, chunk); err != nil && !b.part {
		return err
	}
	return b.err
}

type sharer struct {
	*faultyStore
	inner store.Shared
}

func (w sharer) Watch(ctx context.Context, grew func(coffer.VaultID)) error {
	return attempt(ctx, &w.faults, Watch, func() error { return w.inner.Watch(ctx, grew) })
}

func (w sharer) Once(ctx context.Context, name [16]byte, until time.Time) (first bool, err error) {
	err = attempt(ctx, &w.faults, Once, func() error {
		first, err = w.inner.Once(ctx, name, until)
		return err
	})
	return first && err == nil, err
}

type rebuilder struct {
	*faultyStore
	inner store.Rebuilder
}

func (r rebuilder) Rebuild(ctx context.Context, report func(string)) error {
	return attempt(ctx, &r.faults, Rebuild, func() error { return r.inner.Rebuild(ctx, report) })
}

type checkpointer struct {
	*faultyStore
	inner store.Checkpointer
}

func (c checkpointer) Checkpoint(ctx context.Context, dir string) error {
	return attempt(ctx, &c.faults, Checkpoint, func() error { return c.inner.Checkpoint(ctx, dir) })
}

type meter struct {
	*faultyStore
	inner store.Meter
}

func (m meter) Stats(ctx context.Context) (store.Stats, error) {
	return call(ctx, &m.faults, Stats, func() (store.Stats, error) { return m.inner.Stats(ctx) })
}

// attempt carries out an operation that answers with an error or nothing.
func attempt(ctx context.Context, f *Faults, op Op, do func() error) error {
	_, err := call(ctx, f, op, func() (struct{}, error) { return struct{}{}, do() })
	return err
}
