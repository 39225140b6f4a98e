package vault

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
)

// arrivals are the blobs that are being written at this node and not yet recorded.
type arrivals struct {
	mu     sync.Mutex
	keys   map[string]bool
	coming map[coffer.VaultID]int64 // bytes
}

// arrive notes that a blob of a vault is on its way, and returns how many bytes are with it; the function returned ends
// that.
func (a *arrivals) arrive(v coffer.VaultID, key string, size int64) (coming int64, arrived func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.keys == nil {
		a.keys, a.coming = make(map[string]bool), make(map[coffer.VaultID]int64)
	}
	a.keys[key] = true
	a.coming[v] += size
	return a.coming[v], func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.keys, key)
		if a.coming[v] -= size; a.coming[v] == 0 {
			delete(a.coming, v)
		}
	}
}

func (a *arrivals) arriving(key string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.keys[key]
}

// sweepAge is how long after it was put a blob that nothing names is taken for left behind, where other nodes put some
// too: it may just be arriving at one of them. None takes near as long to be recorded once it is there.
const sweepAge = 24 * time.Hour

// sweepMost is how many such blobs one sweep removes there. They are remembered until all have been seen.
const sweepMost = 10_000

// Sweep removes the blobs that no chunk names: what a crash between two steps left behind. It may run while the
// service works, here and at other nodes over the same stores. It returns how many it removed.
//
// Where others put blobs, too, those of the last day are left alone: of the day before the newest one was put, by the clock of
// what keeps them, and of the day before now, by ours. So one clock that is far off makes it remove less, and nothing
// that is still to be named.
func (s *Service) Sweep(ctx context.Context) (removed int, err error) {
	var left []blob.Info
	var newest time.Time
	ours := s.now().Add(-sweepAge)
	for info, err := range s.blobs.List(ctx) {
		if err != nil {
			return removed, err
		}
		if info.Modified.After(newest) {
			newest = info.Modified
		}
		// Asked in this order, a blob that is recorded in between is seen to be one or the other.
		arriving := s.arriving(info.Key)
		named, err := s.named(ctx, info.Key)
		if err != nil {
			return removed, err
		}
		switch {
		case arriving || named:
		case s.patient:
			if info.Modified.Before(ours) && len(left) < sweepMost {
				left = append(left, info)
			}
		default:
			if err := s.blobs.Delete(ctx, info.Key); err != nil {
				return removed, err
			}
			removed++
		}
	}
	for _, info := range left {
		if !info.Modified.Before(newest.Add(-sweepAge)) {
			continue
		}
		if err := s.blobs.Delete(ctx, info.Key); err != nil {
			return removed, err
		}
		removed++
	}
	return removed, nil
}

// named reports whether a chunk is recorded to be the blob with the key: in the set that it was written for, or in the
// one that was patched with that. Keys of unknown form are left alone.
func (s *Service) named(ctx context.Context, key string) (bool, error) {
	v, id, ref, err := readBlobKey(key)
	if err != nil {
		return true, nil
	}
	is := func(set uint64) (bool, error) {
		c, err := s.store.Chunk(ctx, v, id, set, ref.Index)
		if errors.Is(err, coffer.NotExist) {
			return false, nil
		}
		return err == nil && c.Blob == key, err
	}
	// Asked in this order, one that is moved in between is found: it moves only once.
	if yes, err := is(ref.Sequence); yes || err != nil {
		return yes, err
	}
	d, err := s.store.Get(ctx, v, id)
	if errors.Is(err, coffer.NotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return is(store.Keeps(d))
}
