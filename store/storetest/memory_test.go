package storetest

import (
	"context"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A memory is the models of vaults as a disk: what the suite is tried on before any driver.
type memory struct {
	mu     sync.RWMutex
	vaults map[coffer.VaultID]*model
}

func newMemory() *memory { return &memory{vaults: make(map[coffer.VaultID]*model)} }

func memoryDisk(*testing.T) (open func() store.Store) {
	m := newMemory()
	return func() store.Store { return &memoryStore{memory: m} }
}

// view returns a vault as it is now: what is written later changes another one.
func (m *memory) view(v coffer.VaultID) *model {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if vault := m.vaults[v]; vault != nil {
		return vault
	}
	return newModel()
}

// A memoryStore is the plainest store.
type memoryStore struct {
	*memory
	calls  sync.RWMutex // held, shared, by calls under way
	closed bool
}

func (s *memoryStore) enter(ctx context.Context) (exit func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, coffer.E("memory", coffer.Unavailable, err)
	}
	s.calls.RLock()
	if s.closed {
		s.calls.RUnlock()
		return nil, coffer.Errorf("memory", coffer.Unavailable, "closed")
	}
	return s.calls.RUnlock, nil
}

func (s *memoryStore) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	if err := store.CheckWrites(writes); err != nil {
		return nil, err
	}
	exit, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer exit()
	s.mu.Lock()
	defer s.mu.Unlock()
	next := make(map[coffer.VaultID]*model)
	for _, w := range writes {
		if next[w.Vault] == nil {
			next[w.Vault] = newModel()
			if m := s.vaults[w.Vault]; m != nil {
				next[w.Vault] = m.clone()
			}
		}
		if m := next[w.Vault]; w.Law != nil && *w.Law != m.law {
			return nil, coffer.E("memory", coffer.Conflict, store.ErrMoved)
		}
	}
	var results []store.Result
	for _, w := range writes {
		r, broken := next[w.Vault].apply(w)
		if broken != coffer.Other {
			return nil, coffer.E("memory", broken, nil)
		}
		results = append(results, r)
	}
	for v, m := range next {
		s.vaults[v] = m
	}
	return results, nil
}

func (s *memoryStore) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error) {
	return one(ctx, s, func() *coffer.Document { return s.view(v).documents[id] })
}

func (s *memoryStore) Revision(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, sequence uint64,
) (*coffer.Document, error) {
	return one(ctx, s, func() *coffer.Document { return s.view(v).revision(id, sequence) })
}

func (s *memoryStore) Chunk(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, set, index uint64,
) (store.Chunk, error) {
	c, err := one(ctx, s, func() *store.Chunk {
		if c, ok := s.view(v).chunks[place{id, set, index}]; ok {
			return &c
		}
		return nil
	})
	if err != nil {
		return store.Chunk{}, err
	}
	return *c, nil
}

// one returns what read finds, or NotExist.
func one[T any](ctx context.Context, s *memoryStore, read func() *T) (*T, error) {
	exit, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer exit()
	if x := read(); x != nil {
		return x, nil
	}
	return nil, coffer.E("memory", coffer.NotExist, nil)
}

func (s *memoryStore) Query(ctx context.Context, v coffer.VaultID, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return each(ctx, s, func() []*coffer.Document {
		found := s.view(v).query(&q)
		if q.IDsOnly {
			for i, d := range found {
				found[i] = &coffer.Document{ID: d.ID, Sequence: d.Sequence}
			}
		}
		return found
	})
}

func (s *memoryStore) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	return each(ctx, s, func() (later []coffer.Change) {
		for _, c := range s.view(v).feed {
			if c.Number > after {
				later = append(later, c)
			}
		}
		return later
	})
}

func each[T any](ctx context.Context, s *memoryStore, read func() []T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		exit, err := s.enter(ctx)
		if err != nil {
			var none T
			yield(none, err)
			return
		}
		defer exit()
		for _, x := range read() {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (s *memoryStore) Count(ctx context.Context, v coffer.VaultID, q coffer.Query) (int, error) {
	q.Limit, q.After = 0, coffer.ObjectID{}
	n := 0
	for _, err := range s.Query(ctx, v, q) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

func (s *memoryStore) Usage(ctx context.Context, v coffer.VaultID) (store.Usage, error) {
	exit, err := s.enter(ctx)
	if err != nil {
		return store.Usage{}, err
	}
	defer exit()
	return s.view(v).usage(), nil
}

func (s *memoryStore) Compact(ctx context.Context, before time.Time) (n int64, err error) {
	exit, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer exit()
	s.mu.Lock()
	defer s.mu.Unlock()
	for v, m := range s.vaults {
		m = m.clone()
		n += m.compact(before)
		s.vaults[v] = m
	}
	return n, nil
}

func (s *memoryStore) Check(ctx context.Context, report func(string), chunk func(store.Chunk)) error {
	exit, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer exit()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, m := range s.vaults {
		for _, c := range m.chunks {
			if chunk != nil {
				chunk(c)
			}
		}
	}
	return nil
}

func (s *memoryStore) Stats(ctx context.Context) (all store.Stats, err error) {
	exit, err := s.enter(ctx)
	if err != nil {
		return all, err
	}
	defer exit()
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, m := range s.vaults {
		u := m.usage()
		all.Vaults += int64(min(u.Changes, 1))
		all.Documents += u.Documents
		all.Bytes += u.Bytes
		all.Changes += int64(u.Changes)
		all.Disk++
	}
	return all, nil
}

// Watch tells, again and again, that something may have been missed.
func (s *memoryStore) Watch(ctx context.Context, grew func(coffer.VaultID)) error {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		exit, err := s.enter(context.Background())
		if err != nil {
			return err
		}
		exit()
		grew(coffer.VaultID{})
		s.mu.RLock()
		var all []coffer.VaultID
		for v := range s.vaults {
			all = append(all, v)
		}
		s.mu.RUnlock()
		for _, v := range all {
			grew(v)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// Rebuild has nothing to do.
func (s *memoryStore) Rebuild(ctx context.Context, _ func(string)) error {
	exit, err := s.enter(ctx)
	if err != nil {
		return err
	}
	exit()
	return nil
}

func (s *memoryStore) Close() error {
	s.calls.Lock()
	defer s.calls.Unlock()
	if s.closed {
		return coffer.Errorf("memory", coffer.Unavailable, "closed")
	}
	s.closed = true
	return nil
}

// TestSuite runs the suite on what it compares drivers with: a part that fails here asks for the wrong thing.
func TestSuite(t *testing.T) { Run(t, memoryDisk) }
