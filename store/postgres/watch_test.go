package postgres

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
)

// watching watches a store, and returns where what it is told comes from, and what Watch returned.
func watching(ctx context.Context, s *Store) (<-chan coffer.VaultID, <-chan error) {
	grew, ended := make(chan coffer.VaultID, 1000), make(chan error, 1)
	go func() { ended <- s.Watch(ctx, func(v coffer.VaultID) { grew <- v }) }()
	return grew, ended
}

// expect waits for a vault.
func expect(t *testing.T, grew <-chan coffer.VaultID, v coffer.VaultID, within time.Duration) {
	t.Helper()
	late := time.After(within)
	for {
		select {
		case got := <-grew:
			if got == v {
				return
			}
		case <-late:
			t.Fatal("nobody told")
		}
	}
}

const aWhile = 10 * time.Second // for a machine that is busy; without notifications it would be quiet

func TestWatch(t *testing.T) {
	url := servers.Database(t)
	here, there := on(t, url, Options{}), on(t, url, Options{})
	defer closeStore(t, there)
	ctx, cancel := context.WithCancel(t.Context())
	grew, ended := watching(ctx, here)
	expect(t, grew, coffer.VaultID{}, aWhile)
	for i := range 20 {
		v := coffer.VaultID{byte(i + 1)}
		apply(t, there, putting(v, newDocument("d")))
		expect(t, grew, v, aWhile)
	}
	// Both watch: who is new is told to look, and both hear of each other.
	theirs, _ := watching(ctx, there)
	expect(t, theirs, coffer.VaultID{}, aWhile)
	apply(t, here, putting(coffer.VaultID{1}, newDocument("d")))
	expect(t, theirs, coffer.VaultID{1}, aWhile)

	// The connection is lost: it looks for itself, and listens again.
	run(t, url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()
		AND query LIKE 'LISTEN%'
		OR datname = current_database() AND query LIKE '%pg_notify%' AND application_name = 'coffer'`)
	expect(t, grew, coffer.VaultID{}, aWhile)
	v := coffer.VaultID{77}
	for end := time.Now().Add(aWhile); ; {
		if _, err := there.Apply(t.Context(), putting(v, newDocument("d"))); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatal(err)
		}
	}
	expect(t, grew, coffer.VaultID{}, aWhile)
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("Watch: %v", err)
	}
	closing, ended := watching(t.Context(), here)
	expect(t, closing, coffer.VaultID{}, aWhile)
	closeStore(t, here)
	if err := <-ended; !errors.Is(err, coffer.Unavailable) {
		t.Errorf("Watch of a closed store: %v, want Unavailable", err)
	}
}

// TestPoll watches a server that does not pass notifications on: a user who must not use the function.
func TestPoll(t *testing.T) {
	s := on(t, servers.Database(t), Options{Poll: time.Millisecond})
	defer closeStore(t, s)
	ctx, cancel := context.WithCancel(t.Context())
	var n int
	s.pollFor(ctx, time.Hour, s.poll, func(v coffer.VaultID) {
		if v != (coffer.VaultID{}) {
			t.Errorf("vault %v", v)
		}
		if n++; n == 3 {
			cancel()
		}
	})
	if n != 3 {
		t.Errorf("told %d times", n)
	}
}

// TestAlone checks when a process need not tell what it writes.
func TestAlone(t *testing.T) {
	n := newNotifier(nil)
	told := func() bool {
		n.vaults = make(map[coffer.VaultID]struct{})
		n.announce([]coffer.VaultID{{1}})
		return len(n.vaults) > 0
	}
	if !told() {
		t.Error("who does not listen cannot know that it is alone")
	}
	n.watch(1)
	if !told() {
		t.Error("who has just begun to listen cannot know that it is alone")
	}
	n.since = n.since.Add(-2 * quiet)
	if told() {
		t.Error("nobody is there")
	}
	n.heard("other")
	if _, ok := n.vaults[coffer.VaultID{}]; !ok {
		t.Error("who is new must be told to look")
	}
	if !told() {
		t.Error("another one is there")
	}
	n.others["other"] = time.Now().Add(-4 * quiet)
	if told() {
		t.Error("the other one has gone")
	}
	n.watch(-1)
	if !told() {
		t.Error("who does not listen any more cannot know that it is alone")
	}
}
