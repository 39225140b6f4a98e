package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

func (b *bench) governing() store.Write {
	return store.Write{Vault: b.vault, By: who, Time: instant, Govern: true}
}

// under returns the write as one that was decided under a law.
func under(law uint64, w store.Write) store.Write {
	w.Law = &law
	return w
}

// outlawed applies writes that rest on a law which moved, and checks that nothing came of them.
func (b *bench) outlawed(writes ...store.Write) {
	b.Helper()
	before := b.usage()
	_, err := b.Apply(b.ctx, writes...)
	if !errors.Is(err, store.ErrMoved) || !errors.Is(err, coffer.Conflict) {
		b.Fatalf("Apply: %v, want Conflict for what moved", err)
	}
	if after := b.usage(); after != before {
		b.Fatalf("usage is %+v after a refusal, was %+v", after, before)
	}
}

// lawIs checks the number of the vault's law.
func (b *bench) lawIs(want uint64) {
	b.Helper()
	if u := b.usage(); u.Law != want {
		b.Fatalf("the law is %d, want %d", u.Law, want)
	}
}

func laws(b *bench) {
	first := document("first")
	b.must(under(0, b.put(first))) // of a vault that was never written to
	b.outlawed(under(1, b.put(document("ahead of the law"))))
	for i := range uint64(3) {
		if r := b.must(b.governing())[0]; r.Change != (coffer.Change{}) || r.Released != nil || r.Purged {
			b.Fatalf("result %+v", r)
		}
		b.lawIs(i + 1)
	}
	if got := b.changes(0); len(got) != 1 {
		b.Fatalf("%d changes: laws are not in the feed", len(got))
	}
	b.must(b.put(document("under any law")), under(3, b.put(document("under this one"))))

	// Every step may rest on a law, and the law is what a caller hears of first.
	chunk := store.Chunk{ID: first.ID, Blob: "x", Ref: coffer.ChunkRef{Size: 1}}
	none := coffer.NewObjectID()
	timeless := b.governing()
	timeless.Time, timeless.By = time.Time{}, ""
	for _, w := range []store.Write{
		b.put(document("d")), b.put(first), b.put(successor(first, "second")), b.erasure(first.ID), b.erasure(none),
		b.attachment(chunk), b.attachment(store.Chunk{ID: none, Blob: "x"}), b.detachment(chunk), timeless, b.purging(),
	} {
		for _, law := range []uint64{0, 2, 4, 1 << 63, ^uint64(0)} {
			b.outlawed(under(law, w))
		}
	}
	second := successor(first, "second")
	b.must(under(3, b.put(second)))
	b.must(under(3, b.attachment(store.Chunk{ID: first.ID, Blob: "x", Ref: coffer.ChunkRef{Sequence: 1, Size: 1}})))
	b.must(under(3, b.detachment(store.Chunk{ID: first.ID, Ref: coffer.ChunkRef{Sequence: 1}})))
	b.must(under(3, timeless))
	b.must(under(4, b.erasure(first.ID)))

	// What is refused for something else is not refused for the law.
	taken := document("taken", uniqueTag("name", "taken"))
	b.must(b.put(taken))
	if _, err := b.Apply(b.ctx, under(4, b.put(taken))); !errors.Is(err, coffer.Conflict) || errors.Is(err, store.ErrMoved) {
		b.Fatalf("Apply: %v, want Conflict that is not of the law", err)
	}

	// Of many steps each may name it, and one is enough to refuse all.
	one, two := document("one"), document("two")
	b.outlawed(b.put(one), under(3, b.put(two)))
	b.outlawed(under(3, b.put(one)), b.put(two))
	b.outlawed(under(4, b.put(one)), under(5, b.put(two)))
	b.hasNot(one.ID)
	b.must(under(4, b.put(one)), b.put(two))

	// The law is that before the commit, wherever in it the law is changed.
	three, four, five := document("three"), document("four"), document("five")
	b.outlawed(b.governing(), under(5, b.put(three)))
	b.outlawed(under(5, b.put(three)), b.governing())
	b.outlawed(under(4, b.put(three)), under(5, b.governing()))
	b.must(under(4, b.put(three)), b.governing())
	b.lawIs(5)
	b.must(under(5, b.governing()), under(5, b.put(four)))
	b.lawIs(6)
	b.must(b.put(five), under(6, b.governing()), under(6, b.erasure(four.ID)))
	b.lawIs(7)

	// What is refused changes no law.
	b.refused(coffer.Conflict, b.governing(), b.put(taken))
	b.refused(coffer.Conflict, b.put(document("rival", uniqueTag("name", "taken"))), b.governing())
	b.lawIs(7)

	// Forms.
	b.refused(coffer.Invalid, b.governing(), b.governing())
	b.refused(coffer.Invalid, b.governing(), b.purging())
	b.refused(coffer.Invalid, b.purging(), b.governing())
	named, kept, both := b.governing(), b.governing(), b.governing()
	named.Present, kept.Keep, both.Erase = five.Rev(), true, &five.ID
	b.refused(coffer.Invalid, named)
	b.refused(coffer.Invalid, kept)
	b.refused(coffer.Invalid, both)

	// Each vault has its own.
	main, other := b.vault, coffer.NewVaultID()
	elsewhere := store.Write{Vault: other, Govern: true}
	b.must(b.governing(), elsewhere, under(7, b.put(document("beside a law"))))
	b.outlawed(under(8, b.put(document("d"))), under(0, elsewhere))
	b.must(under(8, b.put(document("d"))), under(1, elsewhere))
	b.lawIs(8)
	b.vault = other
	if u := b.usage(); u != (store.Usage{Law: 2}) {
		b.Fatalf("usage %+v", u)
	}
	b.hasNot(five.ID)
	if got := b.changes(0); got != nil {
		b.Fatalf("feed %+v", got)
	}
	b.reopen()
	b.lawIs(2)
	b.vault = main
	b.lawIs(8)

	// Purging is a change of law, too, and may rest on one.
	b.outlawed(under(7, b.purging()))
	b.must(under(8, b.purging()))
	b.lawIs(9)
	b.outlawed(under(8, b.put(five)))
	b.must(under(9, b.put(five)))
	b.must(b.purging())
	b.lawIs(10)
	b.reopen()
	b.lawIs(10)
	b.outlawed(under(0, b.put(five)))
}

// raceForLaw changes the law under writers that each name the law they read. Whoever changes it marks that in the feed,
// in the same commit.
func raceForLaw(b *bench) {
	const governors, others = 4, 24
	each := rounds(25)
	var acknowledged, changed atomic.Uint64 // the greatest law that somebody was told of; how often it was changed
	var refused atomic.Int64
	stop := make(chan struct{})
	var all sync.WaitGroup
	for i := range others {
		all.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				u, err := b.Usage(b.ctx, b.vault)
				if err != nil {
					b.Errorf("Usage: %v", err)
					return
				}
				told := acknowledged.Load()
				w := under(u.Law, b.put(document(fmt.Sprint(i, n))))
				w.By = fmt.Sprint("under ", u.Law)
				switch _, err := b.Apply(b.ctx, w); {
				case err == nil && told > u.Law:
					b.Errorf("accepted under law %d after somebody was told of law %d", u.Law, told)
				case err != nil && !errors.Is(err, store.ErrMoved):
					b.Errorf("Apply: %v", err)
					return
				case err != nil:
					refused.Add(1)
				}
			}
		})
	}
	together(governors, func(i int) {
		for n := 0; n < each; {
			law := b.law()
			marker := b.put(document(fmt.Sprint("governor", i, n)))
			marker.By = fmt.Sprint("law ", law+1)
			_, err := b.Apply(b.ctx, under(law, b.governing()), marker)
			if err != nil {
				if !errors.Is(err, store.ErrMoved) {
					b.Errorf("Apply: %v", err)
					return
				}
				continue
			}
			n++
			changed.Add(1)
			for {
				told := acknowledged.Load()
				if told >= law+1 || acknowledged.CompareAndSwap(told, law+1) {
					break
				}
			}
		}
	})
	close(stop)
	all.Wait()
	b.lawIs(changed.Load())
	if changed.Load() != uint64(governors*each) {
		b.Errorf("the law was changed %d times", changed.Load())
	}
	law, written := uint64(0), 0
	for _, c := range b.changes(0) {
		words := strings.Fields(c.By)
		n, err := strconv.ParseUint(words[1], 10, 64)
		switch {
		case err != nil:
			b.Fatal(err)
		case words[0] == "law" && n != law+1:
			b.Fatalf("law %d follows law %d", n, law)
		case words[0] == "law":
			law = n
		case n != law:
			b.Fatalf("a write under law %d stands where law %d holds", n, law)
		default:
			written++
		}
	}
	b.Logf("%d laws, %d writes under them, %d refused", law, written, refused.Load())
	if written == 0 {
		b.Error("nothing was written")
	}
}

// law returns the law as Usage has it, or 0 after an error.
func (b *bench) law() uint64 {
	u, err := b.Usage(b.ctx, b.vault)
	if err != nil {
		b.Errorf("Usage: %v", err)
	}
	return u.Law
}
