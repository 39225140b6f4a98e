package pebble

import (
	"testing"

	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/storetest"
)

// on opens a store that must open.
func on(t testing.TB, dir string, o Options) *Store {
	t.Helper()
	s, err := Open(dir, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func TestStore(t *testing.T) {
	for name, o := range map[string]Options{
		"":      {},
		"small": {Memory: 1},
		"tree":  {Separate: -1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storetest.Run(t, func(t *testing.T) func() store.Store {
				dir := t.TempDir()
				return func() store.Store { return on(t, dir, o) }
			})
		})
	}
}
