package postgres

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
)

func TestOnce(t *testing.T) {
	url := servers.Database(t)
	at := time.Now()
	here, there := on(t, url, Options{}), on(t, url, Options{})
	defer closeStore(t, there)
	ctx := t.Context()

	// Many at once, in two processes: one is told so.
	var firsts atomic.Int64
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			s := []*Store{here, there}[i%2]
			first, err := s.Once(ctx, [16]byte{1}, at.Add(time.Minute))
			if err != nil {
				t.Errorf("Once: %v", err)
			}
			if first {
				firsts.Add(1)
			}
		})
	}
	all.Wait()
	if n := firsts.Load(); n != 1 {
		t.Fatalf("%d were told to be the first, want 1", n)
	}
	if first, err := there.Once(ctx, [16]byte{2}, at.Add(time.Hour)); !first || err != nil {
		t.Fatalf("another name: %v, %v", first, err)
	}

	// What may still count on a clock that goes five minutes slow, read by one that goes five minutes fast, is kept.
	const count = `SELECT count(*) FROM once`
	for _, step := range []struct {
		after time.Duration
		left  int
	}{{11*time.Minute - time.Second, 2}, {11*time.Minute + time.Second, 1}} {
		here.forget(at.Add(step.after))
		if n := ask[int](t, url, count); n != step.left {
			t.Errorf("after %v, %d names are left, want %d", step.after, n, step.left)
		}
	}

	// Connections that broke are no reason to fail.
	run(t, url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
		WHERE datname = current_database() AND pid <> pg_backend_pid()`)
	if first, err := there.Once(ctx, [16]byte{2}, at.Add(time.Hour)); first || err != nil && !errors.Is(err, coffer.Unavailable) {
		t.Errorf("after the connections broke: %v, %v", first, err)
	}
	closeStore(t, here)
	if _, err := here.Once(ctx, [16]byte{3}, at); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("closed: %v, want Unavailable", err)
	}
}
