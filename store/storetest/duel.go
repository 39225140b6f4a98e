package storetest

import (
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

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

// A Side is one of the two that a benchmark compares.
type Side struct {
	Name string
	Do   func(i int) error // one operation, the i-th

	rounds []float64 // operations per second
	cpu    time.Duration
	ops    int
}

// Duel lets two sides take turns, so that whatever else the machine does meets both alike, and reports medians of their
// rates, the median of the ratios of rounds, and the processor time that each operation took.
func Duel(b *testing.B, goroutines, perRound int, sides ...*Side) {
	b.StopTimer()
	b.ResetTimer()
	b.StartTimer()
	for from := 0; from < b.N; from += perRound {
		n := min(perRound, b.N-from)
		for _, s := range sides {
			used, start := cpuTime(), time.Now()
			spread(b, goroutines, n, func(i int) error { return s.Do(from + i) })
			s.rounds = append(s.rounds, float64(n)/time.Since(start).Seconds())
			s.cpu += cpuTime() - used
			s.ops += n
		}
	}
	b.StopTimer()
	b.ReportMetric(0, "ns/op")
	for _, s := range sides {
		b.ReportMetric(median(s.rounds), s.Name+"/s")
		b.ReportMetric(float64(s.cpu.Microseconds())/float64(s.ops), s.Name+"-cpu-µs")
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
