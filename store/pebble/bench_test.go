package pebble

import (
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

const benchKey = "did:key:zExampleOfTheUsualLengthOfAKeyAgreementKey#hmac"

// benchDocument returns a document of 1.5 kB that cannot be compressed, with three tags, the last one unique.
func benchDocument(i int) *coffer.Document {
	body := make([]byte, 1500)
	rand.Read(body)
	tag := func(name, value string) coffer.Tag {
		return coffer.Tag{Key: benchKey, Name: name, Value: value}
	}
	d := &coffer.Document{ID: coffer.NewObjectID(), Body: body, Tags: []coffer.Tag{
		tag("CUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("RV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d", i/10)),
		tag("DUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("SV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d", i%7)),
		tag("EUQaxPtSLtd8L3WBAIkJ4DiVJeqoF6bdnhR7lSaPloZ", fmt.Sprintf("TV58Va4904K-18_L5g_vfARXRWEB00knFSGPpukUBro%d", i)),
	}}
	d.Tags[2].Unique = true
	return d
}

// spread calls f with 0, 1, … n-1 in so many goroutines.
func spread(b *testing.B, goroutines, n int, f func(i int) error) {
	var next atomic.Int64
	var all sync.WaitGroup
	for range goroutines {
		all.Go(func() {
			for i := int(next.Add(1) - 1); i < n; i = int(next.Add(1) - 1) {
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	all.Wait()
}

// A side is one of the two that a benchmark compares.
type side struct {
	name string
	do   func(i int) error

	rounds []float64 // operations per second
	cpu    time.Duration
	ops    int
}

// duel lets two sides take turns, so that whatever else the machine does meets both alike, and reports medians of their
// rates, the median of the ratios of rounds, and the processor time that each operation took.
func duel(b *testing.B, goroutines, perRound int, sides ...*side) {
	b.StopTimer()
	b.ResetTimer()
	b.StartTimer()
	for from := 0; from < b.N; from += perRound {
		n := min(perRound, b.N-from)
		for _, s := range sides {
			used, start := cpuTime(), time.Now()
			spread(b, goroutines, n, func(i int) error { return s.do(from + i) })
			s.rounds = append(s.rounds, float64(n)/time.Since(start).Seconds())
			s.cpu += cpuTime() - used
			s.ops += n
		}
	}
	b.StopTimer()
	b.ReportMetric(0, "ns/op")
	for _, s := range sides {
		b.ReportMetric(median(s.rounds), s.name+"/s")
		b.ReportMetric(float64(s.cpu.Microseconds())/float64(s.ops), s.name+"-cpu-µs")
	}
	if len(sides) == 2 {
		var ratios []float64
		for i, r := range sides[0].rounds {
			ratios = append(ratios, r/sides[1].rounds[i])
		}
		b.ReportMetric(median(ratios), "ratio")
	}
}

func median(x []float64) float64 {
	x = slices.Sorted(slices.Values(x))
	return x[len(x)/2]
}

func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkInsert makes durable inserts, beside an engine that is given the same keys and values and nothing else to
// do, one batch for each document.
func BenchmarkInsert(b *testing.B) {
	for _, o := range []struct {
		name string
		Options
	}{{"default", Options{}}, {"tree", Options{Separate: -1}}, {"64MiB", Options{Memory: 64 << 20}}} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("%s/writers=%d", o.name, writers), func(b *testing.B) {
				s := on(b, b.TempDir(), o.Options)
				defer s.Close()
				db, err := engine.Open(b.TempDir(), engineOptions(o.Options, newHealth(nil)))
				if err != nil {
					b.Fatal(err)
				}
				defer db.Close()
				v := coffer.NewVaultID()
				duel(b, writers, 500*min(writers, 8), &side{name: "store", do: func(i int) error {
					_, err := s.Apply(b.Context(), store.Write{Vault: v, By: by, Time: time.Now(), Document: benchDocument(i)})
					return err
				}}, &side{name: "bare", do: func(i int) error { return bareInsert(db, v, i) }})
			})
		}
	}
}

const by = "did:key:z6MkexampleExampleExampleExampleExampleExample"

func bareInsert(db *engine.DB, v coffer.VaultID, i int) error {
	d := benchDocument(i)
	rev := d.Rev()
	size := store.Size(d)
	batch := db.NewBatch()
	defer batch.Close()
	set := func(key, value []byte) { _ = batch.Set(key, value, nil) }
	for _, m := range indexOf(d.Tags) {
		key := appendTerm(nil, v, m)
		if m[0] == uniqueTable {
			set(key, d.ID[:])
		} else {
			set(append(key, d.ID[:]...), nil)
		}
	}
	set(appendObject(nil, v, docTable, d.ID), appendRevision(nil, d, rev))
	set(appendObject(nil, v, headTable, d.ID), (&head{present: true, rev: rev, size: size}).append(nil))
	set(appendChange(nil, v, uint64(i)), encodeChange(nil, &coffer.Change{Kind: coffer.Accepted, ID: d.ID, Rev: rev, By: by}))
	set(appendTable(nil, v, usageTable), encodeUsage(nil, store.Usage{Documents: int64(i), Changes: uint64(i)}))
	return batch.Commit(engine.Sync)
}

// filled returns a store with n documents of benchDocument.
func filled(b *testing.B, o Options, n int) (*Store, coffer.VaultID, []coffer.ObjectID) {
	s := on(b, b.TempDir(), o)
	v := coffer.NewVaultID()
	ids := make([]coffer.ObjectID, 0, n)
	for len(ids) < n {
		writes := make([]store.Write, 100)
		for i := range writes {
			d := benchDocument(len(ids))
			writes[i] = store.Write{Vault: v, By: by, Time: time.Now(), Document: d}
			ids = append(ids, d.ID)
		}
		if _, err := s.Apply(b.Context(), writes...); err != nil {
			b.Fatal(err)
		}
	}
	return s, v, ids
}

// BenchmarkRead reads from vaults of different sizes, beside an engine that is asked for the same keys.
func BenchmarkRead(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		s, v, ids := filled(b, Options{}, n)
		random := func(i int) int { return i * 7919 % n }
		b.Run(fmt.Sprintf("get/%d", n), func(b *testing.B) {
			duel(b, 4, 2000, &side{name: "store", do: func(i int) error {
				_, err := s.Get(b.Context(), v, ids[random(i)])
				return err
			}}, &side{name: "bare", do: func(i int) error {
				_, closer, err := s.db.Get(appendObject(nil, v, docTable, ids[random(i)]))
				if err != nil {
					return err
				}
				return closer.Close()
			}})
		})
		query := func(name string, found, tags int, idsOnly bool) {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				duel(b, 4, 500, &side{name: "store", do: func(i int) error {
					filter := make(map[string]string)
					for _, t := range benchDocument(random(i)).Tags[:tags] {
						filter[t.Name] = t.Value
					}
					q := coffer.Query{Index: benchKey, Equals: []map[string]string{filter}, IDsOnly: idsOnly}
					got := 0
					for _, err := range s.Query(b.Context(), v, q) {
						if err != nil {
							return err
						}
						got++
					}
					if got < found {
						return fmt.Errorf("%d found, want %d", got, found)
					}
					return nil
				}})
			})
		}
		query("tag", 10, 1, false)
		query("tag-ids", 10, 1, true)
		query("two-tags", 1, 2, false) // meets a list of a seventh of the vault
		_ = s.Close()
	}
}
