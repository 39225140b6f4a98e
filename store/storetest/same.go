package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Same runs one seeded sequence of operations on several drivers, and fails where one of them answers otherwise than
// another: in results, kinds of errors, the feed, what queries find, or usage. Each seed is a sequence of its own;
// without seeds there is one, which is printed.
func Same(t *testing.T, disks map[string]Disk, seeds ...uint64) {
	sources := []*rand.Rand{}
	for _, seed := range seeds {
		sources = append(sources, rand.New(rand.NewPCG(seed, seed)))
	}
	if len(seeds) == 0 {
		sources = append(sources, rng(t))
	}
	names := slices.Sorted(maps.Keys(disks))
	if len(names) < 2 {
		t.Fatal("nothing to compare with")
	}
	for i, r := range sources {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			var benches []*bench
			for _, name := range names {
				b := &bench{T: t, ctx: t.Context(), open: disks[name](t)}
				b.Store = b.open()
				defer func() { _ = b.Store.Close() }()
				benches = append(benches, b)
			}
			if err := compareStores(names, benches, r); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// A question is an operation on a store, and its answer as a text.
type question struct {
	what string
	ask  func(b *bench) string
}

// compareStores returns the first difference.
func compareStores(names []string, benches []*bench, r *rand.Rand) (different error) {
	x := newDice(r)
	var vaults [3]coffer.VaultID
	var models [3]*model // so that writes often keep the rules
	for i := range vaults {
		vaults[i] = coffer.VaultID(x.newID())
		models[i] = newModel()
	}
	differ := func(round int, q question) {
		want := q.ask(benches[0])
		for i, b := range benches[1:] {
			if got := q.ask(b); got != want && different == nil {
				different = fmt.Errorf("operation %d, %s:\n%s answers %s\n%s answers %s",
					round, q.what, names[0], want, names[i+1], got)
			}
		}
	}
	total := rounds(1200)
	for round := 0; round < total && different == nil; round++ {
		at := x.IntN(len(vaults))
		v, m := vaults[at], models[at]
		switch k := x.IntN(100); {
		case k < 50:
			differ(round, x.writing(vaults[:], models[:], at))
		case k < 52:
			before := x.instant()
			for _, m := range models {
				m.compact(before)
			}
			differ(round, question{"Compact", func(b *bench) string {
				n, err := b.Compact(b.ctx, before)
				return answer(n, err)
			}})
		case k < 53 && round%5 == 0:
			differ(round, question{"Purge", func(b *bench) string {
				results, err := b.Apply(b.ctx, store.Write{Vault: v, By: who, Time: instant, Purge: true})
				return answer(results, err)
			}})
			m.all([]store.Write{{Vault: v, By: who, Time: instant, Purge: true}})
		case k < 60:
			id := x.id()
			differ(round, question{"Get", func(b *bench) string {
				d, err := b.Get(b.ctx, v, id)
				return answer(d, err)
			}})
		case k < 66:
			id, sequence := x.id(), uint64(x.IntN(6))
			differ(round, question{"Revision", func(b *bench) string {
				d, err := b.Revision(b.ctx, v, id, sequence)
				return answer(d, err)
			}})
		case k < 70:
			id, set, index := x.id(), uint64(x.IntN(4)), uint64(x.IntN(3))
			differ(round, question{"Chunk", func(b *bench) string {
				c, err := b.Chunk(b.ctx, v, id, set, index)
				return answer(c, err)
			}})
		case k < 84:
			q := x.query()
			differ(round, question{fmt.Sprintf("Query %+v", q), func(b *bench) string { return found(b, v, q) }})
		case k < 90:
			q := x.query()
			differ(round, question{fmt.Sprintf("Count %+v", q), func(b *bench) string {
				n, err := b.Count(b.ctx, v, q)
				return answer(n, err)
			}})
		case k < 95:
			after := uint64(x.IntN(int(m.last) + 2))
			differ(round, question{fmt.Sprint("Changes after ", after), func(b *bench) string { return feedOf(b, v, after) }})
		default:
			differ(round, question{"Usage", func(b *bench) string {
				u, err := b.Usage(b.ctx, v)
				return answer(u, err)
			}})
		}
		if round%200 == 199 || round == total-1 {
			if x.chance(50) {
				for _, b := range benches {
					b.reopen()
				}
			}
			differ(round, question{"Check", whole})
			for _, v := range vaults {
				differ(round, question{"Changes", func(b *bench) string { return feedOf(b, v, 0) }})
				differ(round, question{"Query", func(b *bench) string { return found(b, v, coffer.Query{}) }})
				differ(round, question{"Usage", func(b *bench) string {
					u, err := b.Usage(b.ctx, v)
					return answer(u, err)
				}})
			}
		}
	}
	return different
}

// writing returns a commit to one vault, and sometimes to two.
func (x *dice) writing(vaults []coffer.VaultID, models []*model, at int) question {
	var writes []store.Write
	add := func(at int) {
		used := make(map[coffer.ObjectID]bool)
		for range 1 + max(0, x.IntN(8)-4) {
			writes = append(writes, x.write(models[at], vaults[at], used))
		}
	}
	add(at)
	if next := (at + 1) % len(vaults); x.chance(10) {
		add(next)
		// Both or none: the models are asked with all that each has to say.
		of := func(v coffer.VaultID) (own []store.Write) {
			for _, w := range writes {
				if w.Vault == v {
					own = append(own, w)
				}
			}
			return own
		}
		one, two := models[at].clone(), models[next].clone()
		_, first, _ := one.all(of(vaults[at]))
		_, second, _ := two.all(of(vaults[next]))
		if first == coffer.Other && second == coffer.Other {
			*models[at], *models[next] = *one, *two
		}
	} else {
		models[at].all(writes)
	}
	return question{fmt.Sprintf("Apply of %d", len(writes)), func(b *bench) string {
		results, err := b.Apply(b.ctx, writes...)
		for i := range results {
			slices.Sort(results[i].Released)
		}
		return answer(results, err)
	}}
}

// answer returns an answer as a text: of an error its kind.
func answer(x any, err error) string {
	if err != nil {
		return fmt.Sprintf("error of kind %v, of what moved: %v", coffer.KindOf(err), errors.Is(err, store.ErrMoved))
	}
	if d, ok := x.(*coffer.Document); ok {
		return revOf(d)
	}
	if results, ok := x.([]store.Result); ok {
		var b strings.Builder
		for _, r := range results {
			fmt.Fprintf(&b, "\n  %s, released %q, purged %v", changeOf(r.Change), r.Released, r.Purged)
		}
		return b.String()
	}
	return fmt.Sprintf("%+v", x)
}

func revOf(d *coffer.Document) string {
	return fmt.Sprintf("%x %d %v", d.ID[:4], d.Sequence, d.Rev())
}

func changeOf(c coffer.Change) string {
	return fmt.Sprintf("change %d %d %x %d %v %q %d %q", c.Number, c.Kind, c.ID[:4], c.Sequence, c.Rev, c.By,
		c.Time.UnixMilli(), c.Cursor)
}

func found(b *bench, v coffer.VaultID, q coffer.Query) string {
	var text strings.Builder
	for d, err := range b.Query(b.ctx, v, q) {
		if err != nil {
			text.WriteString(answer(nil, err))
			break
		}
		text.WriteString("\n  " + revOf(d))
	}
	return text.String()
}

func feedOf(b *bench, v coffer.VaultID, after uint64) string {
	var text strings.Builder
	for c, err := range b.Changes(b.ctx, v, after) {
		if err != nil {
			text.WriteString(answer(nil, err))
			break
		}
		text.WriteString("\n  " + changeOf(c))
	}
	return text.String()
}

// whole checks a store, which must be clean, and returns its chunks.
func whole(b *bench) string {
	var chunks []string
	err := b.Check(context.WithoutCancel(b.ctx), func(s string) { b.Errorf("Check: %s", s) }, func(c store.Chunk) {
		chunks = append(chunks, fmt.Sprintf("%x %+v %q", c.ID[:4], c.Ref, c.Blob))
	})
	slices.Sort(chunks)
	return answer(chunks, err)
}
