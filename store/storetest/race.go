package storetest

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

const writers = 64

// together calls f in so many goroutines and waits for them.
func together(n int, f func(i int)) {
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { f(i) })
	}
	all.Wait()
}

// one checks that of what the writers got exactly one is no error, and all others are conflicts.
func (b *bench) one(errs []error) (winner int) {
	b.Helper()
	winner = -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			b.Fatal("two writers won")
		case err == nil:
			winner = i
		case !errors.Is(err, coffer.Conflict):
			b.Fatalf("Apply: %v, want Conflict", err)
		}
	}
	if winner < 0 {
		b.Fatal("no writer won")
	}
	return winner
}

func raceForObject(b *bench) {
	present := document("first")
	b.must(b.put(present))
	for round := range 20 {
		var next [writers]*coffer.Document
		var errs [writers]error
		together(writers, func(i int) {
			next[i] = successor(present, fmt.Sprint(round, i), tag("writer", fmt.Sprint(i)))
			_, errs[i] = b.Apply(b.ctx, b.put(next[i]))
			// Whoever is refused finds what it was refused for.
			if got, err := b.Get(b.ctx, b.vault, present.ID); err != nil || got.Sequence != present.Sequence+1 {
				b.Errorf("Get: %v, %v", got, err)
			}
		})
		present = next[b.one(errs[:])]
		b.has(present)
		b.finds(coffer.Query{Index: "k", Has: []string{"writer"}}, present)
	}
	fresh := document("inserted")
	var errs [writers]error
	together(writers, func(i int) { _, errs[i] = b.Apply(b.ctx, b.put(fresh)) })
	b.one(errs[:])
}

func raceForTag(b *bench) {
	var holder *coffer.Document
	for round := range 20 {
		var rivals [writers]*coffer.Document
		var errs [writers]error
		name := uniqueTag("name", fmt.Sprint(round%2))
		together(writers, func(i int) {
			rivals[i] = document(fmt.Sprint(i), name)
			_, errs[i] = b.Apply(b.ctx, b.put(rivals[i]))
		})
		winner := rivals[b.one(errs[:])]
		b.finds(coffer.Query{Index: "k", Equals: []map[string]string{{"name": name.Value}}}, winner)
		if holder != nil {
			b.must(b.erasure(holder.ID))
		}
		holder = winner
	}
}

func raceInFeed(b *bench) {
	const n, each = 16, 60
	var stop atomic.Bool
	var reader sync.WaitGroup
	reader.Go(func() { // sees an unbroken feed that only grows, never ahead of Usage read afterwards
		var last uint64
		for !stop.Load() {
			for c, err := range b.Changes(b.ctx, b.vault, last) {
				if err != nil || c.Number != last+1 {
					b.Errorf("Changes: %+v, %v after %d", c, err, last)
					return
				}
				last = c.Number
			}
			if u, err := b.Usage(b.ctx, b.vault); err != nil || u.Changes < last {
				b.Errorf("Usage: %+v, %v after %d", u, err, last)
				return
			}
		}
	})
	var mu sync.Mutex
	acknowledged := make(map[uint64]coffer.Change)
	together(n, func(i int) {
		var d *coffer.Document
		for j := range each {
			if d == nil || j%5 == 0 {
				d = document(fmt.Sprint(i, j), tag("writer", fmt.Sprint(i)))
			} else {
				d = successor(d, fmt.Sprint(i, j), tag("writer", fmt.Sprint(i)))
			}
			results, err := b.Apply(b.ctx, b.put(d), b.put(document("beside")))
			if err != nil {
				b.Errorf("Apply: %v", err)
				return
			}
			mu.Lock()
			for _, r := range results {
				acknowledged[r.Change.Number] = r.Change
			}
			mu.Unlock()
			if u, err := b.Usage(b.ctx, b.vault); err != nil || u.Changes < results[1].Change.Number {
				b.Errorf("Usage: %+v, %v: less than was acknowledged", u, err)
			}
		}
	})
	stop.Store(true)
	reader.Wait()
	all := b.changes(0)
	if len(all) != 2*n*each || len(acknowledged) != len(all) {
		b.Fatalf("%d changes, %d acknowledged, want %d", len(all), len(acknowledged), 2*n*each)
	}
	for _, c := range all {
		if acknowledged[c.Number] != c {
			b.Fatalf("change %d is not what was acknowledged", c.Number)
		}
	}
}

// raceWithReaders keeps an invariant in every commit and looks whether each read sees one state.
func raceWithReaders(b *bench) {
	left, right := document("", tag("pair", "0")), document("", tag("pair", "0"))
	left.Body, right.Body = []byte("0"), []byte("0")
	b.must(b.put(left), b.put(right))
	var stop atomic.Bool
	var readers sync.WaitGroup
	for range 4 {
		readers.Go(func() {
			for !stop.Load() {
				var sequences []uint64
				for d, err := range b.Query(b.ctx, b.vault, coffer.Query{Index: "k", Has: []string{"pair"}}) {
					if err != nil {
						b.Errorf("Query: %v", err)
						return
					}
					sequences = append(sequences, d.Sequence)
				}
				if len(sequences) != 2 || sequences[0] != sequences[1] {
					b.Errorf("a query saw the sequences %d", sequences)
					return
				}
				err := b.Check(b.ctx, func(s string) { b.Errorf("Check under way: %s", s) }, nil)
				if err != nil {
					b.Errorf("Check: %v", err)
				}
			}
		})
	}
	for i := range 150 {
		value := fmt.Sprint(i)
		left, right = successor(left, value, tag("pair", value)), successor(right, value, tag("pair", value))
		b.must(b.put(left), b.put(right))
		b.must(b.attachment(store.Chunk{
			ID: left.ID, Blob: value, Ref: coffer.ChunkRef{Sequence: left.Sequence, Size: 1},
		}))
	}
	stop.Store(true)
	readers.Wait()
}
