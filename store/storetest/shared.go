package storetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// patience is how long the suite waits for what must come soon, on a machine that is busy.
const patience = 2 * time.Minute

// twin opens the store a second time, as another process would, or skips the test if it is not one to share. It is
// closed with the test, before the other one.
func (b *bench) twin() *bench {
	b.Helper()
	if _, ok := b.Store.(store.Shared); !ok {
		b.Skip("not a store to share")
	}
	other := *b
	other.Store = b.open()
	b.Cleanup(func() { _ = other.Store.Close() })
	return &other
}

// shared writes at one of two that have a disk open, and reads at the other.
func shared(b *bench) {
	o := b.twin()
	d := document("d", tag("t", "1"), uniqueTag("u", "1"))
	for i := range 20 {
		here, there := b, o
		if i%2 == 1 {
			here, there = o, b
		}
		here.must(here.put(d))
		there.has(d)
		there.hasRevision(d)
		there.finds(coffer.Query{Index: "k", Has: []string{"t"}}, d)
		there.finds(coffer.Query{Index: "k", Equals: []map[string]string{{"u": "1"}}}, d)
		there.refused(coffer.Conflict, there.put(document("rival", uniqueTag("u", "1"))))
		there.refused(coffer.Conflict, there.put(d))
		if u, v := here.usage(), there.usage(); u != v || u.Changes != uint64(i+1) {
			b.Fatalf("usage %+v at one, %+v at the other", u, v)
		}
		if f, g := here.changes(0), there.changes(0); !slices.Equal(f, g) || len(f) != i+1 {
			b.Fatalf("%d changes at one, %d at the other", len(f), len(g))
		}
		d = successor(d, fmt.Sprint(i), d.Tags...)
	}
	chunk := store.Chunk{ID: d.ID, Blob: "blob", Ref: coffer.ChunkRef{Sequence: 19, Size: 7}}
	o.must(o.attachment(chunk))
	if got, err := b.Chunk(b.ctx, b.vault, d.ID, 19, 0); err != nil || got != chunk {
		b.Fatalf("Chunk: %+v, %v", got, err)
	}
	b.must(b.keeping(d, instant))
	o.hasRevision(d)
	if kept, err := o.Revision(b.ctx, b.vault, d.ID, 19); err != nil || kept.Rev() != d.Parents[0] {
		b.Fatalf("Revision: %v, %v", kept, err)
	}
	o.compacts(later, 1)
	b.hasNoRevision(d.ID, 19)

	// A law changed at one holds at the other.
	b.must(b.governing())
	o.lawIs(1)
	o.outlawed(under(0, o.put(document("late"))))
	o.must(under(1, o.put(document("in time"))), o.governing())
	b.outlawed(under(1, b.put(document("late"))))

	// One may be closed and opened while the other goes on.
	o.reopen()
	o.has(d)
	b.must(b.erasure(d.ID))
	o.hasNot(d.ID)
	o.must(o.purging())
	b.hasNot(d.ID)
	b.lawIs(3)
	o.must(o.put(document("d", d.Tags...)))
	if err := o.Store.Close(); err != nil {
		b.Fatalf("Close: %v", err)
	}
	b.must(b.put(document("the other is closed")))
	b.clean()
	o.Store = b.open()
	o.clean()
	if u, v := b.usage(), o.usage(); u != v {
		b.Fatalf("usage %+v at one, %+v at the other", u, v)
	}
}

// raceInShared lets writers at both write to the same objects, tags and feed.
func raceInShared(b *bench) {
	o := b.twin()
	at := func(i int) *bench {
		if i%2 == 1 {
			return o
		}
		return b
	}
	const n = 16
	present := document("first")
	b.must(b.put(present))
	for round := range rounds(15) {
		var next [n]*coffer.Document
		var errs [n]error
		together(n, func(i int) {
			next[i] = successor(present, fmt.Sprint(round, i), uniqueTag("round", fmt.Sprint(round)))
			_, errs[i] = at(i).Apply(b.ctx, b.put(next[i]))
			if got, err := at(i).Get(b.ctx, b.vault, present.ID); err != nil || got.Sequence != present.Sequence+1 {
				b.Errorf("Get: %v, %v", got, err)
			}
		})
		present = next[b.one(errs[:])]
		b.has(present)
		o.has(present)
		var rivals [n]*coffer.Document
		together(n, func(i int) {
			rivals[i] = document("rival", uniqueTag("name", fmt.Sprint(round)))
			_, errs[i] = at(i).Apply(b.ctx, b.put(rivals[i]))
		})
		winner := rivals[b.one(errs[:])]
		o.finds(coffer.Query{Index: "k", Equals: []map[string]string{{"name": fmt.Sprint(round)}}}, winner)
		together(n, func(i int) { _, errs[i] = at(i).Apply(b.ctx, under(uint64(round), b.governing())) })
		b.one(errs[:])
		o.lawIs(uint64(round + 1))
	}
	before := b.usage().Changes
	each := rounds(30)
	together(n, func(i int) {
		for j := range each {
			results, err := at(i).Apply(b.ctx, b.put(document(fmt.Sprint(i, j))), b.put(document("beside")))
			if err != nil {
				b.Errorf("Apply: %v", err)
				return
			}
			// Whoever was told of a change finds it at the other, too.
			number := results[1].Change.Number
			u, err := at(i+1).Usage(b.ctx, b.vault)
			if err != nil || u.Changes < number {
				b.Errorf("Usage: %+v, %v: less than was acknowledged", u, err)
			}
			for c, err := range at(i+1).Changes(b.ctx, b.vault, number-1) {
				if err != nil || c != results[1].Change {
					b.Errorf("Changes: %+v, %v, want what was acknowledged", c, err)
				}
				break
			}
		}
	})
	f, g := b.changes(0), o.changes(0)
	if !slices.Equal(f, g) || uint64(len(f)) != before+uint64(2*n*each) {
		b.Fatalf("%d changes at one, %d at the other, want %d", len(f), len(g), before+uint64(2*n*each))
	}
	for i, c := range f {
		if c.Number != uint64(i+1) {
			b.Fatalf("change %d has the number %d", i+1, c.Number)
		}
	}
}

// watched looks whether one is told what the other writes.
func watched(b *bench) {
	o := b.twin()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	grew := make(chan coffer.VaultID, 1024)
	ended := make(chan error, 1)
	go func() {
		ended <- o.Store.(store.Shared).Watch(ctx, func(v coffer.VaultID) {
			select {
			case grew <- v:
			case <-ctx.Done():
			}
		})
	}()
	named := 0
	for round := range 10 {
		w := b.put(document("d"))
		switch round {
		case 4:
			w = b.governing()
		case 5:
			w = b.purging()
		}
		if round < 4 || round > 6 { // a vault of its own
			w.Vault = coffer.NewVaultID()
		}
		b.must(w)
		limit := time.NewTimer(patience)
		for told := false; !told; {
			select {
			case v := <-grew:
				told = v == w.Vault || v == coffer.VaultID{}
				if v == w.Vault {
					named++
				}
			case err := <-ended:
				b.Fatalf("Watch: %v", err)
			case <-limit.C:
				b.Fatalf("round %d: nobody was told", round)
			}
		}
		limit.Stop()
	}
	if named == 0 {
		b.Error("no vault was named")
	}
	cancel()
	select {
	case err := <-ended:
		if err != nil {
			b.Errorf("Watch: %v, want nil when it is told to end", err)
		}
	case <-time.After(patience):
		b.Fatal("Watch does not end")
	}
	if err := o.Store.Close(); err != nil {
		b.Fatalf("Close: %v", err)
	}
	ctx, cancel = context.WithTimeout(b.ctx, patience)
	defer cancel()
	if err := o.Store.(store.Shared).Watch(ctx, func(coffer.VaultID) {}); !errors.Is(err, coffer.Unavailable) {
		b.Errorf("Watch after Close: %v, want Unavailable", err)
	}
}
