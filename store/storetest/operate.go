package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// optional calls the optional methods of a store that is closed, and returns what one of them failed with, by
// preference not with Unavailable; Unavailable if it has none.
func (b *bench) optional() error {
	var errs []error
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	if s, ok := b.Store.(store.Rebuilder); ok {
		errs = append(errs, s.Rebuild(ctx, func(string) {}))
	}
	if s, ok := b.Store.(store.Meter); ok {
		_, err := s.Stats(ctx)
		errs = append(errs, err)
	}
	if s, ok := b.Store.(store.Checkpointer); ok {
		errs = append(errs, s.Checkpoint(ctx, b.TempDir()+"/copy"))
	}
	for _, err := range errs {
		if !errors.Is(err, coffer.Unavailable) {
			return err
		}
	}
	return coffer.Unavailable
}

// fill writes something of everything to a vault and returns its model.
func (b *bench) fill(x *dice, commits int) *model {
	b.Helper()
	m := newModel()
	for range commits {
		var writes []store.Write
		used := make(map[coffer.ObjectID]bool)
		for range 1 + x.IntN(4) {
			writes = append(writes, x.write(m, b.vault, used))
		}
		b.compare(m, writes)
	}
	return m
}

// rebuilt makes anew what is derived in a store that is well.
func rebuilt(b *bench) {
	s, ok := b.Store.(store.Rebuilder)
	if !ok {
		b.Skip("nothing that can be rebuilt")
	}
	rebuild := func() {
		b.Helper()
		if err := s.Rebuild(b.ctx, func(what string) { b.Errorf("Rebuild: %s", what) }); err != nil {
			b.Fatalf("Rebuild: %v", err)
		}
		b.clean()
	}
	rebuild() // of nothing
	x := newDice(rng(b.T))
	vaults := make(map[coffer.VaultID]*model)
	for range 3 {
		b.vault = coffer.NewVaultID()
		vaults[b.vault] = b.fill(x, rounds(200))
	}
	purged := b.vault
	b.compare(vaults[purged], []store.Write{b.purging()})
	compareAll := func() {
		b.Helper()
		for v, m := range vaults {
			b.vault = v
			for range 50 {
				q := x.query()
				if err := same(b.query(q), m.query(&q), q.IDsOnly); err != nil {
					b.Fatalf("query %+v: %v", q, err)
				}
			}
			if got, want := b.usage(), m.usage(); got != want {
				b.Fatalf("usage %+v, want %+v", got, want)
			}
			if !slices.Equal(b.changes(0), m.feed) {
				b.Fatal("the feed is another")
			}
			for at := range m.kept {
				if !b.compareRevision(m, at.id, at.sequence) {
					b.Fatal("a kept revision is another")
				}
			}
		}
	}
	rebuild()
	compareAll()
	b.reopen()
	s = b.Store.(store.Rebuilder)
	compareAll()
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	if err := s.Rebuild(ctx, func(string) {}); !errors.Is(err, context.Canceled) {
		b.Fatalf("Rebuild: %v, want %v", err, context.Canceled)
	}
	rebuild()
	compareAll()
	for v, m := range vaults { // what was rebuilt can be written to
		b.vault = v
		for range 50 {
			b.compare(m, []store.Write{x.write(m, v, make(map[coffer.ObjectID]bool))})
		}
	}
	compareAll()
}

// measured adds up what vaults hold.
func measured(b *bench) {
	meter, ok := b.Store.(store.Meter)
	if !ok {
		b.Skip("it does not say how it is doing")
	}
	b.measures(meter, store.Stats{})
	b.must(b.governing())
	b.measures(meter, store.Stats{}) // it has no change
	x := newDice(rng(b.T))
	var want store.Stats
	for i := range 4 {
		b.vault = coffer.NewVaultID()
		m := b.fill(x, 40)
		if i == 3 {
			b.compare(m, []store.Write{b.purging()})
		}
		u := m.usage()
		want.Vaults++
		want.Documents += u.Documents
		want.Bytes += u.Bytes
		want.Changes += int64(u.Changes)
		b.measures(meter, want)
	}
	b.reopen()
	b.measures(b.Store.(store.Meter), want)
	if got, err := b.Store.(store.Meter).Stats(b.ctx); err != nil || got.Disk == 0 {
		b.Errorf("Stats: %+v, %v: it takes no room", got, err)
	}
}

// Checkpoints checks a driver that is a [store.Checkpointer]. The disk makes an empty one and returns a folder for
// copies, the function that opens the store, and the one that opens a copy in a folder.
func Checkpoints(
	t *testing.T, disk func(t *testing.T) (dir string, open func() store.Store, at func(string) store.Store),
) {
	dir, open, at := disk(t)
	name := func(copy string) string { return dir + "/" + copy }
	b := &bench{T: t, ctx: t.Context(), open: open, vault: coffer.NewVaultID()}
	b.Store = open()
	defer func() { _ = b.Store.Close() }()
	source := b.Store.(store.Checkpointer)
	verify := func(dir string, l *load, all []told) {
		t.Helper()
		s := at(dir)
		defer func() { _ = s.Close() }()
		l.verify(t, s, all)
	}

	// Of nothing.
	if err := source.Checkpoint(b.ctx, name("empty")); err != nil {
		t.Fatalf("Checkpoint: %v", err)
	}
	l := newLoad(rng(t))
	verify(name("empty"), l, nil)

	// In the middle of writing: all that was acknowledged before is in it, and each commit whole.
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	running := l.run(ctx, b.Store)
	for i := range 5 {
		running.await(t, 40*(i+1))
		before := running.told()
		dir := name(fmt.Sprint("copy", i))
		if err := source.Checkpoint(b.ctx, dir); err != nil {
			t.Fatalf("Checkpoint: %v", err)
		}
		verify(dir, l, before)
	}
	// A folder that is there is left alone.
	if err := source.Checkpoint(b.ctx, name("copy0")); err == nil || errors.Is(err, coffer.Unavailable) {
		t.Errorf("Checkpoint into a folder that is there: %v", err)
	}
	verify(name("copy0"), l, nil)
	// What was cut off is removed.
	off, cut := context.WithCancel(b.ctx)
	cut()
	if err := source.Checkpoint(off, name("cut")); !errors.Is(err, context.Canceled) {
		t.Errorf("Checkpoint: %v, want %v", err, context.Canceled)
	}
	for i := range 20 {
		off, cut := context.WithTimeout(b.ctx, time.Duration(i)*time.Millisecond)
		if err := source.Checkpoint(off, name("cut")); err == nil {
			cut()
			break
		} else if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Checkpoint: %v, want %v", err, context.DeadlineExceeded)
		}
		cut()
	}
	if err := source.Checkpoint(b.ctx, name("whole")); err != nil {
		t.Errorf("Checkpoint: %v", err)
	}
	cancel()
	running.ended(t, context.Canceled)
	all := running.told()
	verify(name("whole"), l, nil)

	// The copy is a store of its own: it can be written to, and nothing of that is in the first one.
	s := at(name("copy4"))
	other := &bench{T: t, Store: s, ctx: b.ctx, vault: b.vault}
	d := document("of the copy")
	other.must(other.put(d))
	other.has(d)
	other.clean()
	if err := s.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	b.hasNot(d.ID)
	l.verify(t, b.Store, all)
	b.reopen()
	l.verify(t, b.Store, all)
}
