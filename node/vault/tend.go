package vault

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// How often a service looks after what it keeps.
const (
	sweepEvery   = 6 * time.Hour
	compactEvery = time.Hour
	wakeEvery    = 5 * time.Second // of followers, when the store cannot say what other processes wrote
)

// Tend looks after the service until ctx ends: it wakes those who follow vaults that other nodes write to, removes
// blobs that nothing names at the start and every few hours, and drops kept revisions that are due about every hour.
// What fails is logged, and tried again the next time.
func (s *Service) Tend(ctx context.Context, log *slog.Logger) {
	var wg sync.WaitGroup
	if shared, ok := s.store.(store.Shared); ok {
		wg.Go(func() { s.watch(ctx, shared, log) })
	}
	wg.Go(func() {
		every(ctx, sweepEvery, func() {
			removed, err := s.Sweep(ctx)
			if err != nil && ctx.Err() == nil {
				log.Error("sweep of chunks", "error", err)
			}
			if removed > 0 {
				log.Info("removed chunks that nothing named", "count", removed)
			}
		})
	})
	wg.Go(func() {
		every(ctx, compactEvery, func() {
			dropped, err := s.store.Compact(ctx, s.now().Add(-s.limits.Keep))
			if err != nil && ctx.Err() == nil {
				log.Error("dropping revisions that were replaced", "error", err)
			}
			if dropped > 0 {
				log.Info("dropped revisions that were replaced", "count", dropped)
			}
		})
	})
	wg.Wait()
}

// every calls do now and then, until ctx ends.
func every(ctx context.Context, d time.Duration, do func()) {
	t := time.NewTicker(d)
	defer t.Stop()
	for {
		do()
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// watch wakes those who follow what other processes write.
func (s *Service) watch(ctx context.Context, shared store.Shared, log *slog.Logger) {
	err := shared.Watch(ctx, func(v coffer.VaultID) {
		if v == (coffer.VaultID{}) {
			s.feed.GrewAll()
		} else {
			s.feed.Grew(v)
		}
	})
	if ctx.Err() != nil {
		return
	}
	if err == nil {
		err = errors.New("the store ended it")
	}
	log.Error("watching what other nodes write; followers are woken every few seconds instead", "error", err)
	every(ctx, wakeEvery, s.feed.GrewAll)
}
