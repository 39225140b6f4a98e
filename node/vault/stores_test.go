package vault_test

import (
	"context"
	"testing"
	"time"

	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store/blob"
	"github.com/cofferhq/coffer/store/blob/files"
	"github.com/cofferhq/coffer/store/blob/s3"
	"github.com/cofferhq/coffer/store/postgres"
	"github.com/cofferhq/coffer/vaulttest"
)

// TestOnServers plays the script of all vaults, and the changes of who may do what, at two nodes that serve one
// database: each through connections of its own.
func TestOnServers(t *testing.T) {
	for name, chunks := range map[string]func(t *testing.T) (open func() blob.Store){
		"postgres and files": func(t *testing.T) func() blob.Store {
			one, err := files.Open(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			return func() blob.Store { return one }
		},
		"postgres and s3": func(t *testing.T) func() blob.Store {
			url := servers.Bucket(t)
			return func() blob.Store {
				s, err := s3.Open(t.Context(), url, s3.Options{Create: true})
				if err != nil {
					t.Fatal(err)
				}
				return s
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			url := servers.Database(t)
			connect := chunks(t)
			open := func() *postgres.Store {
				s, err := postgres.Open(t.Context(), url, postgres.Options{})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { s.Close() })
				return s
			}
			limits := vault.Limits{Keep: time.Hour}
			a := coffertest.NewVaultsOn(t, limits, open(), connect())
			documents := open()
			b := a.Beside(documents, connect())
			a.Attend(t)
			b.Attend(t)
			vaulttest.Run(t, func(t *testing.T) *vaulttest.House {
				h := house(t, a, b)
				h.Keeps = true
				return h
			})
			t.Run("laws", func(t *testing.T) { changeLaws(t, a, b, 12) })
			t.Run("followers", func(t *testing.T) { followElsewhere(t, a, b) })
			err := documents.Check(context.Background(), func(problem string) { t.Errorf("store: %s", problem) }, nil)
			if err != nil {
				t.Errorf("check: %v", err)
			}
		})
	}
}
