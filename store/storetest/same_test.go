package storetest

import (
	"context"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

func TestSame(t *testing.T) {
	Same(t, map[string]Disk{"one": memoryDisk, "other": memoryDisk})
}

// A roundingStore counts one byte too many for large vaults.
type roundingStore struct{ store.Store }

func (s roundingStore) Usage(ctx context.Context, v coffer.VaultID) (store.Usage, error) {
	u, err := s.Store.Usage(ctx, v)
	if u.Documents > 15 {
		u.Bytes++
	}
	return u, err
}

// TestSameFindsDifference checks that a store that is otherwise is found out.
func TestSameFindsDifference(t *testing.T) {
	var benches []*bench
	for i := range 2 {
		open := memoryDisk(t)
		b := &bench{T: t, ctx: t.Context(), open: func() store.Store {
			if i == 1 {
				return roundingStore{open()}
			}
			return open()
		}}
		b.Store = b.open()
		benches = append(benches, b)
	}
	err := compareStores([]string{"right", "wrong"}, benches, rng(t))
	if err == nil || !strings.Contains(err.Error(), "Usage") {
		t.Errorf("what differs: %v", err)
	}
}
