package vault

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer"
)

// slotTime is how long an act of the tests holds its slots.
const slotTime = 10 * time.Millisecond

// quiet checks that nobody holds or waits for slots.
func quiet(t *testing.T, x *turns) {
	t.Helper()
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.free != x.slots || x.waiting != 0 || len(x.vaults) != 0 || x.turn != nil {
		t.Errorf("%d of %d slots are free, %d acts wait in %d lines", x.free, x.slots, x.waiting, len(x.vaults))
	}
}

// perform takes slots and holds them for a while. It returns how long it waited.
func perform(ctx context.Context, x *turns, v byte, cost int) (time.Duration, error) {
	begun := time.Now()
	if err := x.take(ctx, coffer.VaultID{v}, cost, false); err != nil {
		return 0, err
	}
	waited := time.Since(begun)
	time.Sleep(slotTime)
	x.give(cost)
	return waited, nil
}

// TestAFloodDelaysNobodyElse has one vault flood the store with acts of each size.
func TestAFloodDelaysNobodyElse(t *testing.T) {
	for name, cost := range map[string]int{"small": small, "medium": medium, "large": large} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x := newTurns(32)
				x.each, x.all = 20000, 40000
				var wg sync.WaitGroup
				const flood = 10_000
				for range flood {
					wg.Go(func() {
						if _, err := perform(t.Context(), x, 1, cost); err != nil {
							t.Error(err)
						}
					})
				}
				synctest.Wait()
				for range 20 {
					waited, err := perform(t.Context(), x, 2, small)
					if err != nil || waited > 2*slotTime {
						t.Errorf("another vault's act waited for %v (%v), want at most %v", waited, err, 2*slotTime)
					}
				}
				begun := time.Now()
				wg.Wait()
				if took, ideal := time.Since(begun), flood*slotTime*time.Duration(cost)/32; took > ideal+2*slotTime {
					t.Errorf("the flood took %v, and could take %v", took, ideal)
				}
				quiet(t, x)
			})
		})
	}
}

// TestLargeActsComeToo has small ones of many vaults try to keep a large one out.
func TestLargeActsComeToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTurns(16) // a large one needs all
		var wg sync.WaitGroup
		stop := make(chan struct{})
		for v := range byte(40) {
			wg.Go(func() {
				for {
					if _, err := perform(t.Context(), x, 10+v, small); err != nil {
						t.Error(err)
					}
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		time.Sleep(time.Second)
		for range 5 {
			// Four rounds of forty vaults, for its credit, and a slot's time for the slots.
			waited, err := perform(t.Context(), x, 1, large)
			if limit := (large/share*40/16 + 4) * slotTime; err != nil || waited > limit {
				t.Errorf("a large act waited for %v (%v), want at most %v", waited, err, limit)
			}
		}
		close(stop)
		wg.Wait()
		quiet(t, x)
	})
}

// TestTurnsAreFair gives vaults that ask for different sizes the same share of the store.
func TestTurnsAreFair(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTurns(32)
		x.each = 1000
		costs := []int{small, small, medium, large}
		done := make([]int, len(costs)) // slots
		var mu sync.Mutex
		ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
		defer stop()
		var wg sync.WaitGroup
		for v, cost := range costs {
			for range 200 {
				wg.Go(func() {
					for ctx.Err() == nil {
						if _, err := perform(ctx, x, byte(v), cost); err == nil {
							mu.Lock()
							done[v] += cost
							mu.Unlock()
						}
					}
				})
			}
		}
		wg.Wait()
		quiet(t, x)
		total := 0
		for _, n := range done {
			total += n
		}
		for v, n := range done {
			if share := float64(n) / float64(total); share < 0.2 || share > 0.3 {
				t.Errorf("vault %d, with acts of %d slots, had %.2f of the store, want a quarter", v, costs[v], share)
			}
		}
		if all := 32 * int(10*time.Second/slotTime); total < all*9/10 {
			t.Errorf("%d slots were used, of %d", total, all)
		}
	})
}

// TestTooManyWait checks the bounds, and that what goes on is not subject to them.
func TestTooManyWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := newTurns(1)
		x.each, x.all = 3, 5
		if err := x.take(t.Context(), coffer.VaultID{1}, large, false); err != nil { // more than there are
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wait := func(v byte, begun bool) {
			wg.Go(func() {
				if err := x.take(ctx, coffer.VaultID{v}, small, begun); !errors.Is(err, context.Canceled) {
					t.Errorf("%v, want the context's end", err)
				}
			})
			synctest.Wait()
		}
		refused := func(v byte) {
			t.Helper()
			err := x.take(t.Context(), coffer.VaultID{v}, small, false)
			var later interface{ RetryAfter() time.Duration }
			if !errors.Is(err, coffer.Exhausted) || !errors.As(err, &later) || later.RetryAfter() <= 0 {
				t.Errorf("%v, want Exhausted with a time to wait", err)
			}
		}
		for range 3 {
			wait(1, false)
		}
		refused(1)
		wait(2, false)
		wait(3, false)
		refused(4) // all together
		wait(1, true)
		stop()
		wg.Wait()
		x.give(large)
		quiet(t, x)
	})
}

// TestTurnsLeakNothing has acts of all kinds come and give up, at random.
func TestTurnsLeakNothing(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	synctest.Test(t, func(t *testing.T) {
		x := newTurns(20)
		x.each, x.all = 8, 30
		var wg sync.WaitGroup
		for i := range uint64(50) {
			random := rand.New(rand.NewPCG(seed, i))
			wg.Go(func() {
				for range 200 {
					ctx, stop := context.WithTimeout(t.Context(), time.Duration(random.IntN(int(8*slotTime))))
					_, err := perform(ctx, x, byte(random.IntN(6)), []int{small, medium, large}[random.IntN(3)])
					if err != nil && !errors.Is(err, coffer.Exhausted) && !errors.Is(err, context.DeadlineExceeded) {
						t.Error(err)
					}
					stop()
					time.Sleep(time.Duration(random.IntN(int(4 * slotTime))))
				}
			})
		}
		wg.Wait()
		quiet(t, x)
	})
}

func BenchmarkTurns(b *testing.B) {
	x := newTurns(defaultSlots)
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := x.take(b.Context(), coffer.VaultID{1}, small, false); err != nil {
				b.Fatal(err)
			}
			x.give(small)
		}
	})
	b.Run("together", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := x.take(b.Context(), coffer.VaultID{1}, small, false); err != nil {
					b.Error(err)
				}
				x.give(small)
			}
		})
	})
}
