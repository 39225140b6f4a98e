package vault

import (
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Tiles returns how many tiles of the vault's log are stored.
func (s *Service) Tiles(t testing.TB, id coffer.VaultID) int {
	t.Helper()
	n, err := s.store.Count(t.Context(), tileVault(id), coffer.Query{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// EraseTiles erases the tiles one by one: their ids stay taken.
func (s *Service) EraseTiles(t testing.TB, id coffer.VaultID) {
	t.Helper()
	s.eachTile(t, id, func(d *coffer.Document) store.Write { return store.Write{Erase: &d.ID} })
}

// DamageTiles puts something else in the place of each tile.
func (s *Service) DamageTiles(t testing.TB, id coffer.VaultID) {
	t.Helper()
	s.eachTile(t, id, func(d *coffer.Document) store.Write {
		return store.Write{Document: &coffer.Document{
			ID: d.ID, Sequence: d.Sequence + 1, Parents: []coffer.Rev{d.Rev()}, Body: d.Body[:len(d.Body)-1],
		}}
	})
}

func (s *Service) eachTile(t testing.TB, id coffer.VaultID, make func(*coffer.Document) store.Write) {
	t.Helper()
	var writes []store.Write
	for d, err := range s.store.Query(t.Context(), tileVault(id), coffer.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		w := make(d)
		w.Vault, w.Time = tileVault(id), s.now()
		writes = append(writes, w)
	}
	if len(writes) == 0 {
		return
	}
	if _, err := s.store.Apply(t.Context(), writes...); err != nil {
		t.Fatal(err)
	}
}

// PurgeTiles takes the tiles away as if there had never been any.
func (s *Service) PurgeTiles(t testing.TB, id coffer.VaultID) {
	t.Helper()
	w := store.Write{Vault: tileVault(id), Time: s.now(), Purge: true}
	if _, err := s.store.Apply(t.Context(), w); err != nil {
		t.Fatal(err)
	}
}
