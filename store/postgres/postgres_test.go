package postgres

import (
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/storetest"
)

// on opens a store that must open.
func on(t testing.TB, url string, o Options) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, o)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

// putting returns the write that accepts a document.
func putting(v coffer.VaultID, d *coffer.Document) store.Write {
	return store.Write{Vault: v, By: "did:example:writer", Time: time.UnixMilli(1e12), Document: d}
}

func newDocument(body string, tags ...coffer.Tag) *coffer.Document {
	return &coffer.Document{ID: coffer.NewObjectID(), Body: []byte(body), Tags: tags}
}

func successor(d *coffer.Document, body string, tags ...coffer.Tag) *coffer.Document {
	return &coffer.Document{
		ID: d.ID, Sequence: d.Sequence + 1, Parents: []coffer.Rev{d.Rev()}, Body: []byte(body), Tags: tags,
	}
}

func apply(t testing.TB, s *Store, writes ...store.Write) []store.Result {
	t.Helper()
	results, err := s.Apply(t.Context(), writes...)
	if err != nil {
		t.Fatalf("Apply: %v", err)
	}
	return results
}

// checkClean fails the test for everything that Check reports.
func checkClean(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Check(t.Context(), func(what string) { t.Errorf("Check: %s", what) }, nil); err != nil {
		t.Errorf("Check: %v", err)
	}
}

func TestStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() store.Store {
		url := servers.Database(t)
		return func() store.Store { return on(t, url, Options{}) }
	})
}
