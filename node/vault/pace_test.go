package vault

import (
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

func numbered(n uint64) (v coffer.VaultID) {
	binary.BigEndian.PutUint64(v[8:], n)
	return v
}

func TestPace(t *testing.T) {
	begun := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, tt := range map[string]struct {
		rate   float64
		burst  int           // calls that may come at once
		wait   time.Duration // the least after which one more may come
		during int           // calls that may come in a minute, besides
	}{
		"two in a second":        {2, 20, 500 * time.Millisecond, 120},
		"many":                   {1000, 10_000, time.Millisecond, 60_000},
		"one in ten seconds":     {0.1, 1, 10 * time.Second, 6},
		"one in twenty, and not": {0.05, 1, 20 * time.Second, 3},
		"hardly any":             {1e-15, 1, slowestPace, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p, v, now := newPace(tt.rate), numbered(1), begun
			all := func() (n int) {
				for p.take(v, now) == nil {
					n++
				}
				return n
			}
			if n := all(); n != tt.burst {
				t.Fatalf("%d came at once, want %d", n, tt.burst)
			}
			if err := p.take(numbered(2), now); err != nil {
				t.Errorf("another vault: %v", err)
			}
			now = now.Add(tt.wait - time.Microsecond)
			if n := all(); n != 0 {
				t.Errorf("%d came before their time", n)
			}
			now = now.Add(time.Microsecond)
			if n := all(); n != 1 {
				t.Errorf("%d came in time, want 1", n)
			}
			came := 0
			for step := tt.wait; step <= time.Minute; step += tt.wait {
				now = now.Add(tt.wait)
				came += all()
			}
			if came != tt.during {
				t.Errorf("%d came in a minute, want %d", came, tt.during)
			}
			// A clock that goes back, by however much, keeps nobody out for longer than a burst takes.
			now = begun.Add(-24 * time.Hour)
			all()
			now = now.Add(tt.wait)
			if n := all(); n != 1 {
				t.Errorf("after the clock was set back, %d came, want 1", n)
			}
		})
	}
	var later interface{ RetryAfter() time.Duration }
	p := newPace(0.1)
	_ = p.take(numbered(1), begun)
	err := p.take(numbered(1), begun.Add(3*time.Second))
	if !errors.Is(err, coffer.Exhausted) || !errors.As(err, &later) || later.RetryAfter() != 7*time.Second {
		t.Errorf("%v, %v; want Exhausted, for seven seconds", err, later)
	}
}

// TestPaceIsBounded has more vaults come than are remembered, at once and over time.
func TestPaceIsBounded(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	p := newPace(1)
	for n := range uint64(3 * pacedVaults) {
		if err := p.take(numbered(n), now); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(p.whole); n > pacedVaults || n < pacedVaults/2 {
		t.Errorf("%d are remembered, of %d", n, pacedVaults)
	}
	now = now.Add(time.Hour)
	last := numbered(1 << 40)
	for range 3 {
		_ = p.take(last, now)
	}
	for n := range uint64(pacedVaults) {
		_ = p.take(numbered(1<<41+n), now)
	}
	if n := len(p.whole); n > pacedVaults {
		t.Errorf("%d are remembered, of %d", n, pacedVaults)
	}
}
