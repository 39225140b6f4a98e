package storetest

import (
	"context"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

func TestLinear(t *testing.T) { Linear(t, memoryDisk) }

// TestLinearFindsFaults lets clients work on stores that break the contract now and then, each in one way.
func TestLinearFindsFaults(t *testing.T) {
	for name, broken := range map[string]func(store.Store) store.Store{
		"stale read":     func(s store.Store) store.Store { return &staleStore{Store: s} },
		"stale query":    func(s store.Store) store.Store { return &staleQueryStore{Store: s} },
		"lost update":    func(s store.Store) store.Store { return &losingStore{Store: s} },
		"swapped feed":   func(s store.Store) store.Store { return &swappingStore{Store: s} },
		"short feed":     func(s store.Store) store.Store { return &lateStore{Store: s} },
		"tag twice":      func(s store.Store) store.Store { return &laxStore{Store: s} },
		"lawless":        func(s store.Store) store.Store { return &lawlessStore{Store: s} },
		"refused, done":  func(s store.Store) store.Store { return &lyingStore{Store: s} },
		"stale usage":    func(s store.Store) store.Store { return &staleUsageStore{Store: s} },
		"lost compare":   func(s store.Store) store.Store { return &overwritingStore{Store: s} },
		"early in feed":  func(s store.Store) store.Store { return &earlyStore{Store: s} },
		"erased returns": func(s store.Store) store.Store { return &ghostStore{Store: s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rng(t)
			for range 20 { // the clients may not come to see it at once
				h := newHistory(r)
				s := broken(memoryDisk(t)())
				h.work(t.Context(), 40, s)
				h.look(t.Context(), s)
				switch err := h.check(linearTime); {
				case errors.Is(err, errNotLinearizable):
					return
				case err != nil:
					t.Fatal(err)
				}
			}
			t.Error("nobody noticed")
		})
	}
}

// sometimes reports true in one of n cases.
func sometimes(n int) bool { return rand.IntN(n) == 0 }

// A staleStore sometimes reads what was present before.
type staleStore struct {
	store.Store
	old sync.Map
}

func (s *staleStore) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error) {
	if old, ok := s.old.Load([2]any{v, id}); ok && sometimes(10) {
		return old.(*coffer.Document), nil
	}
	d, err := s.Store.Get(ctx, v, id)
	if err == nil {
		s.old.Store([2]any{v, id}, d)
	}
	return d, err
}

// A staleQueryStore sometimes finds what it found before.
type staleQueryStore struct {
	store.Store
	old sync.Map
}

func (s *staleQueryStore) Query(
	ctx context.Context, v coffer.VaultID, q coffer.Query,
) iter.Seq2[*coffer.Document, error] {
	if q.Equals != nil {
		return s.Store.Query(ctx, v, q)
	}
	if old, ok := s.old.Load(v); ok && sometimes(10) {
		return old.(iter.Seq2[*coffer.Document, error])
	}
	var found []*coffer.Document
	for d, err := range s.Store.Query(ctx, v, q) {
		if err == nil {
			found = append(found, d)
		}
	}
	again := iter.Seq2[*coffer.Document, error](func(yield func(*coffer.Document, error) bool) {
		for _, d := range found {
			if !yield(d, nil) {
				return
			}
		}
	})
	s.old.Store(v, again)
	return again
}

// A losingStore sometimes acknowledges a commit that it then forgets.
type losingStore struct {
	store.Store
	mu sync.Mutex
}

func (s *losingStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d := writes[0].Document; d != nil && len(d.Parents) > 0 && sometimes(20) {
		u, _ := s.Usage(ctx, writes[0].Vault)
		if p, err := s.Get(ctx, writes[0].Vault, d.ID); err == nil && p.Rev() == d.Parents[0] {
			return []store.Result{{Change: coffer.Change{Number: u.Changes + 1}}}, nil
		}
	}
	return s.Store.Apply(ctx, writes...)
}

// A swappingStore sometimes yields two neighbours of a feed in each other's places.
type swappingStore struct{ store.Store }

func (s *swappingStore) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	all := gather(s.Store.Changes(ctx, v, after))
	if n := len(all); n > 1 && sometimes(10) {
		i := rand.IntN(n - 1)
		a, b := all[i], all[i+1]
		a.Number, b.Number = b.Number, a.Number
		all[i], all[i+1] = b, a
	}
	return yielding(all)
}

func gather(changes iter.Seq2[coffer.Change, error]) (all []coffer.Change) {
	for c, err := range changes {
		if err == nil {
			all = append(all, c)
		}
	}
	return all
}

func yielding(all []coffer.Change) iter.Seq2[coffer.Change, error] {
	return func(yield func(coffer.Change, error) bool) {
		for _, c := range all {
			if !yield(c, nil) {
				return
			}
		}
	}
}

// A lateStore sometimes does not yet show the last change, though it was acknowledged.
type lateStore struct{ store.Store }

func (s *lateStore) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	all := gather(s.Store.Changes(ctx, v, after))
	if n := len(all); n > 0 && sometimes(5) {
		all = all[:n-1]
	}
	return yielding(all)
}

// An earlyStore sometimes shows a change that nobody has made.
type earlyStore struct{ store.Store }

func (s *earlyStore) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	all := gather(s.Store.Changes(ctx, v, after))
	if n := len(all); n > 0 && sometimes(10) {
		next := all[n-1]
		next.Number++
		all = append(all, next)
	}
	return yielding(all)
}

// A laxStore sometimes lets a second object have a unique tag.
type laxStore struct{ store.Store }

func (s *laxStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	results, err := s.Store.Apply(ctx, writes...)
	if d := writes[0].Document; d != nil && errors.Is(err, coffer.Conflict) && !errors.Is(err, store.ErrMoved) {
		lax := *d
		lax.Tags = slices.Clone(d.Tags)
		for i := range lax.Tags {
			lax.Tags[i].Unique = false
		}
		writes[0].Document = &lax
		return s.Store.Apply(ctx, writes...)
	}
	return results, err
}

// A lawlessStore forgets, sometimes, that a write rests on a law.
type lawlessStore struct{ store.Store }

func (s *lawlessStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	if sometimes(2) {
		writes[0].Law = nil
	}
	return s.Store.Apply(ctx, writes...)
}

// A lyingStore sometimes calls a conflict what it has done.
type lyingStore struct{ store.Store }

func (s *lyingStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	results, err := s.Store.Apply(ctx, writes...)
	if err == nil && sometimes(20) {
		return nil, coffer.E("test", coffer.Conflict, nil)
	}
	return results, err
}

// A staleUsageStore sometimes says what it said before.
type staleUsageStore struct {
	store.Store
	old sync.Map
}

func (s *staleUsageStore) Usage(ctx context.Context, v coffer.VaultID) (store.Usage, error) {
	if old, ok := s.old.Load(v); ok && sometimes(5) {
		return old.(store.Usage), nil
	}
	u, err := s.Store.Usage(ctx, v)
	s.old.Store(v, u)
	return u, err
}

// An overwritingStore sometimes puts a revision in the place of another one than its parent.
type overwritingStore struct {
	store.Store
	mu sync.Mutex
}

func (s *overwritingStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	results, err := s.Store.Apply(ctx, writes...)
	if d := writes[0].Document; d != nil && errors.Is(err, coffer.Conflict) && sometimes(3) {
		if p, err := s.Get(ctx, writes[0].Vault, d.ID); err == nil {
			forced := *d
			forced.Parents, forced.Sequence = []coffer.Rev{p.Rev()}, p.Sequence+1
			writes[0].Document = &forced
			return s.Store.Apply(ctx, writes...)
		}
	}
	return results, err
}

// A ghostStore sometimes shows what was erased.
type ghostStore struct {
	store.Store
	old sync.Map
}

func (s *ghostStore) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error) {
	d, err := s.Store.Get(ctx, v, id)
	if err == nil {
		s.old.Store([2]any{v, id}, d)
	} else if old, ok := s.old.Load([2]any{v, id}); ok && sometimes(4) {
		return old.(*coffer.Document), nil
	}
	return d, err
}

// TestLinearWithUnknown gives the checker writes whose callers were not told: some happened, some did not.
func TestLinearWithUnknown(t *testing.T) {
	r := rng(t)
	for range 10 {
		h := newHistory(r)
		s := &silentStore{Store: memoryDisk(t)()}
		for range 3 { // clients that are not told leave
			h.work(t.Context(), 15, s)
		}
		h.look(t.Context(), s)
		if h.unknown == 0 {
			t.Fatal("everybody was told")
		}
		if err := h.check(linearTime); err != nil {
			t.Fatal(err)
		}
	}
}

// A silentStore does not tell what became of a write, sometimes.
type silentStore struct {
	store.Store
	mu   sync.Mutex
	late []store.Write // not carried out yet
}

func (s *silentStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	s.mu.Lock()
	late := s.late
	s.late = nil
	s.mu.Unlock()
	for _, w := range late {
		_, _ = s.Store.Apply(ctx, w)
	}
	down := coffer.E("test", coffer.Unavailable, nil)
	switch rand.IntN(40) {
	case 0: // never
		return nil, down
	case 1: // now
		_, _ = s.Store.Apply(ctx, writes...)
		return nil, down
	case 2: // some time
		s.mu.Lock()
		defer s.mu.Unlock()
		s.late = append(s.late, writes...)
		return nil, down
	}
	return s.Store.Apply(ctx, writes...)
}
