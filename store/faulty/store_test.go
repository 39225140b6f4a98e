package faulty

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A plain store has done what it was asked to, and finds two of everything.
type plain struct {
	calls []Op
	err   error
}

func (p *plain) did(op Op) error {
	p.calls = append(p.calls, op)
	return p.err
}

func (p *plain) Get(context.Context, coffer.VaultID, coffer.ObjectID) (*coffer.Document, error) {
	return new(coffer.Document), p.did(Get)
}

func (p *plain) Apply(_ context.Context, writes ...store.Write) ([]store.Result, error) {
	return make([]store.Result, len(writes)), p.did(Apply)
}

func (p *plain) Query(context.Context, coffer.VaultID, coffer.Query) iter.Seq2[*coffer.Document, error] {
	return twice(new(coffer.Document), func() error { return p.did(Query) })
}

func (p *plain) Count(context.Context, coffer.VaultID, coffer.Query) (int, error) {
	return 7, p.did(Count)
}

func (p *plain) Changes(context.Context, coffer.VaultID, uint64) iter.Seq2[coffer.Change, error] {
	return twice(coffer.Change{Number: 1}, func() error { return p.did(Changes) })
}

func twice[T any](x T, did func() error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		if err := did(); err != nil {
			yield(x, err)
			return
		}
		for range 2 {
			if !yield(x, nil) {
				return
			}
		}
	}
}

func (p *plain) Revision(context.Context, coffer.VaultID, coffer.ObjectID, uint64) (*coffer.Document, error) {
	return new(coffer.Document), p.did(Revision)
}

func (p *plain) Compact(context.Context, time.Time) (int64, error) { return 7, p.did(Compact) }

func (p *plain) Chunk(context.Context, coffer.VaultID, coffer.ObjectID, uint64, uint64) (store.Chunk, error) {
	return store.Chunk{Blob: "x"}, p.did(Chunk)
}

func (p *plain) Usage(context.Context, coffer.VaultID) (store.Usage, error) {
	return store.Usage{Law: 7}, p.did(Usage)
}

func (p *plain) Check(ctx context.Context, _ func(string), chunk func(store.Chunk)) error {
	for range 2 {
		chunk(store.Chunk{})
		if ctx.Err() != nil {
			break
		}
	}
	return p.did(Check)
}

func (p *plain) Close() error { return nil }

type (
	watching      struct{ p *plain }
	rebuilding    struct{ p *plain }
	checkpointing struct{ p *plain }
	metering      struct{ p *plain }
)

func (w watching) Watch(context.Context, func(coffer.VaultID)) error { return w.p.did(Watch) }
func (w watching) Once(context.Context, [16]byte, time.Time) (bool, error) {
	return true, w.p.did(Once)
}
func (r rebuilding) Rebuild(context.Context, func(string)) error { return r.p.did(Rebuild) }
func (c checkpointing) Checkpoint(context.Context, string) error { return c.p.did(Checkpoint) }
func (m metering) Stats(context.Context) (store.Stats, error) {
	return store.Stats{Vaults: 7}, m.p.did(Stats)
}

// everything is the calls of a store with every optional interface, and what they answer, as a text.
func everything(ctx context.Context, s store.Store) map[Op]func() (any, error) {
	return map[Op]func() (any, error){
		Get: func() (any, error) { return s.Get(ctx, coffer.VaultID{}, coffer.ObjectID{}) },
		Apply: func() (any, error) {
			results, err := s.Apply(ctx, store.Write{})
			return len(results), err
		},
		Query: func() (any, error) { return count(s.Query(ctx, coffer.VaultID{}, coffer.Query{})) },
		Count: func() (any, error) { return s.Count(ctx, coffer.VaultID{}, coffer.Query{}) },
		Changes: func() (any, error) {
			return count(s.Changes(ctx, coffer.VaultID{}, 0))
		},
		Revision: func() (any, error) { return s.Revision(ctx, coffer.VaultID{}, coffer.ObjectID{}, 0) },
		Compact:  func() (any, error) { return s.Compact(ctx, time.Time{}) },
		Chunk:    func() (any, error) { return s.Chunk(ctx, coffer.VaultID{}, coffer.ObjectID{}, 0, 0) },
		Usage:    func() (any, error) { return s.Usage(ctx, coffer.VaultID{}) },
		Check: func() (any, error) {
			n := 0
			err := s.Check(ctx, nil, func(store.Chunk) { n++ })
			return n, err
		},
		Watch: func() (any, error) { return nil, s.(store.Shared).Watch(ctx, nil) },
		Once: func() (any, error) {
			return s.(store.Shared).Once(ctx, [16]byte{1}, time.Time{})
		},
		Rebuild:    func() (any, error) { return nil, s.(store.Rebuilder).Rebuild(ctx, nil) },
		Checkpoint: func() (any, error) { return nil, s.(store.Checkpointer).Checkpoint(ctx, "") },
		Stats:      func() (any, error) { return s.(store.Meter).Stats(ctx) },
	}
}

func count[T any](all iter.Seq2[T, error]) (n int, err error) {
	for _, err := range all {
		if err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

func TestStore(t *testing.T) {
	down := coffer.E("test", coffer.Unavailable, nil)
	for op := range everything(t.Context(), nil) {
		t.Run(string(op), func(t *testing.T) {
			p := new(plain)
			s, faults := Store(struct {
				*plain
				watching
				rebuilding
				checkpointing
				metering
			}{p, watching{p}, rebuilding{p}, checkpointing{p}, metering{p}})
			do := everything(t.Context(), s)[op]
			well, err := do()
			if err != nil || len(p.calls) != 1 || p.calls[0] != op {
				t.Fatalf("well: %v, %v", p.calls, err)
			}
			try := func(r Rule, carriedOut bool) {
				t.Helper()
				p.calls = nil
				r.Ops, r.Times, r.Err = []Op{op}, 1, down
				faults.Fail(r)
				if _, err := do(); !errors.Is(err, coffer.Unavailable) || (len(p.calls) == 1) != carriedOut {
					t.Errorf("%+v: %v, %v", r, p.calls, err)
				}
				if got, err := do(); err != nil || fmt.Sprint(got) != fmt.Sprint(well) {
					t.Errorf("afterwards: %v, %v, want %v", got, err, well)
				}
			}
			try(Rule{}, false)
			try(Rule{Late: true}, true)
			if op == Query || op == Changes || op == Check {
				try(Rule{Part: true}, true)
				faults.Fail(Rule{Times: 1, Part: true, Err: down})
				if n, err := do(); n != 1 || !errors.Is(err, coffer.Unavailable) {
					t.Errorf("in part: %v, %v, want 1 and Unavailable", n, err)
				}
			}
			p.err = coffer.E("test", coffer.Corrupt, nil)
			faults.Fail(Rule{Times: 1, Late: true, Err: down})
			if _, err := do(); !errors.Is(err, coffer.Corrupt) {
				t.Errorf("its own error: %v, want Corrupt", err)
			}
		})
	}
}

// TestStoreInterfaces wraps stores with every choice of optional interfaces.
func TestStoreInterfaces(t *testing.T) {
	type all struct {
		watch, rebuild, checkpoint, stats bool
	}
	has := func(s store.Store) (a all) {
		_, a.watch = s.(store.Shared)
		_, a.rebuild = s.(store.Rebuilder)
		_, a.checkpoint = s.(store.Checkpointer)
		_, a.stats = s.(store.Meter)
		return a
	}
	p := new(plain)
	for _, s := range []store.Store{
		p,
		struct {
			*plain
			watching
		}{p, watching{p}},
		struct {
			*plain
			rebuilding
		}{p, rebuilding{p}},
		struct {
			*plain
			checkpointing
		}{p, checkpointing{p}},
		struct {
			*plain
			metering
		}{p, metering{p}},
		struct {
			*plain
			rebuilding
			checkpointing
			metering
		}{p, rebuilding{p}, checkpointing{p}, metering{p}},
		struct {
			*plain
			watching
			rebuilding
			metering
		}{p, watching{p}, rebuilding{p}, metering{p}},
		struct {
			*plain
			watching
			rebuilding
			checkpointing
			metering
		}{p, watching{p}, rebuilding{p}, checkpointing{p}, metering{p}},
	} {
		wrapped, faults := Store(s)
		if got, want := has(wrapped), has(s); got != want {
			t.Errorf("a store with %+v has %+v", want, got)
		}
		faults.Fail(Rule{Err: coffer.E("test", coffer.Corrupt, nil)})
		if m, ok := wrapped.(store.Meter); ok {
			if _, err := m.Stats(t.Context()); !errors.Is(err, coffer.Corrupt) {
				t.Errorf("Stats: %v", err)
			}
		}
		again, _ := Store(wrapped)
		if got, want := has(again), has(s); got != want {
			t.Errorf("a store with %+v, wrapped twice, has %+v", want, got)
		}
	}
}

func TestStoreSlow(t *testing.T) {
	s, faults := Store(new(plain))
	faults.Fail(Rule{Ops: []Op{Usage}, Delay: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		_, _ = s.Usage(ctx, coffer.VaultID{})
	}()
	select {
	case <-answered:
		t.Error("it did not wait")
	case <-time.After(10 * time.Millisecond):
	}
	cancel()
	<-answered
}
