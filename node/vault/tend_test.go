package vault

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
)

// A tended store notes how it is looked after.
type tended struct {
	store.Store
	fails     atomic.Bool
	mu        sync.Mutex
	compacted []time.Time
	watch     func(ctx context.Context, grew func(coffer.VaultID)) error
}

func (s *tended) Compact(_ context.Context, before time.Time) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.compacted = append(s.compacted, before)
	if s.fails.Load() {
		return 3, errors.New("the disk is away")
	}
	return 3, nil
}

func (s *tended) Once(context.Context, [16]byte, time.Time) (bool, error) {
	return false, errors.New("asked for Once")
}

func (s *tended) Watch(ctx context.Context, grew func(coffer.VaultID)) error {
	return s.watch(ctx, grew)
}

// tendedBlobs count how often they are listed.
type tendedBlobs struct {
	blob.Store
	listed atomic.Int64
}

func (b *tendedBlobs) List(context.Context) iter.Seq2[blob.Info, error] {
	b.listed.Add(1)
	return func(func(blob.Info, error) bool) {}
}

func TestTend(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := coffer.VaultID{1}
		grew := make(chan coffer.VaultID)
		disk := &tended{watch: func(ctx context.Context, tell func(coffer.VaultID)) error {
			for {
				select {
				case v := <-grew:
					tell(v)
				case <-ctx.Done():
					return nil
				}
			}
		}}
		blobs := new(tendedBlobs)
		s := New(Options{Store: disk, Blobs: blobs, Now: time.Now, Limits: Limits{Keep: 24 * time.Hour}})
		ctx, stop := context.WithCancel(t.Context())
		var log bytes.Buffer
		ended := make(chan struct{})
		begun := time.Now()
		go func() {
			defer close(ended)
			s.Tend(ctx, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		woken := func(by coffer.VaultID, want bool) {
			t.Helper()
			grown, stop := s.feed.Wait(v)
			defer stop()
			grew <- by
			synctest.Wait()
			select {
			case <-grown:
				if !want {
					t.Error("a follower was woken by another vault")
				}
			default:
				if want {
					t.Error("a follower was not woken")
				}
			}
		}
		woken(v, true)
		woken(coffer.VaultID{2}, false)
		woken(coffer.VaultID{}, true)
		disk.fails.Store(true)
		time.Sleep(13 * time.Hour)
		synctest.Wait()
		if n := blobs.listed.Load(); n != 3 {
			t.Errorf("swept %d times in 13 hours, want 3", n)
		}
		if n := len(disk.compacted); n != 14 {
			t.Errorf("dropped revisions %d times in 13 hours, want 14", n)
		}
		for i, before := range disk.compacted {
			if want := begun.Add(time.Duration(i-24) * time.Hour); !before.Equal(want) {
				t.Errorf("the %dth time those before %v, want %v", i, before, want)
			}
		}
		stop()
		<-ended
		if !strings.Contains(log.String(), "count=3") || !strings.Contains(log.String(), "the disk is away") {
			t.Errorf("logged:\n%s", &log)
		}
	})
}

// TestTendWithoutWatch looks after a store that cannot say what others wrote.
func TestTendWithoutWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := &tended{watch: func(context.Context, func(coffer.VaultID)) error { return errors.New("not here") }}
		s := New(Options{Store: disk, Blobs: new(tendedBlobs), Now: time.Now})
		ctx, stop := context.WithCancel(t.Context())
		var log bytes.Buffer
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			s.Tend(ctx, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		synctest.Wait()
		for range 3 {
			grown, leave := s.feed.Wait(coffer.VaultID{1})
			time.Sleep(2 * wakeEvery)
			select {
			case <-grown:
			default:
				t.Error("a follower was not woken")
			}
			leave()
		}
		stop()
		<-ended
		if !strings.Contains(log.String(), "not here") {
			t.Errorf("logged:\n%s", &log)
		}
	})
}
