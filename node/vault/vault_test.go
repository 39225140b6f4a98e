package vault_test

import (
	"context"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/vaulttest"
)

func TestVaultContract(t *testing.T) {
	t.Run("one node", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) *vaulttest.House {
			at := coffertest.NewVaults(t, vault.Limits{})
			return house(t, at, at)
		})
	})
	t.Run("replaced revisions are kept", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) *vaulttest.House {
			at := coffertest.NewVaults(t, vault.Limits{Keep: time.Hour})
			h := house(t, at, at)
			h.Keeps = true
			return h
		})
	})
	t.Run("one slot", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) *vaulttest.House {
			at := coffertest.NewVaults(t, vault.Limits{Slots: 1})
			return house(t, at, at)
		})
	})
	t.Run("two nodes", func(t *testing.T) {
		vaulttest.Run(t, func(t *testing.T) *vaulttest.House {
			a, b := twoNodes(t, vault.Limits{})
			return house(t, a, b)
		})
	})
}

// house returns a new vault of Alice's, who is at one node of a provider, with Bob at the other; or at the same one.
func house(t *testing.T, hers, his *coffertest.Vaults) *vaulttest.House {
	alice, bob := coffertest.Person(t, "alice"), coffertest.Person(t, "bob")
	id, url := hers.NewVault(t, alice)
	owner := hers.As(hers.Caller(t, alice, url, nil), id)
	return &vaulttest.House{
		Alice: owner,
		Bob: func(t testing.TB, capability []byte) coffer.Vault {
			return his.As(his.Caller(t, bob, url, capability), id)
		},
		Delegate: func(t testing.TB, object coffer.ObjectID, expires time.Time, actions ...string) []byte {
			return delegate(t, alice, bob, url, object, expires, actions)
		},
		Revoke: func(ctx context.Context, capability []byte) error {
			return owner.Revoke(ctx, url+"/zcaps/revocations/x", hers.Chain(t, capability), capability)
		},
		DelegateAt: func(t testing.TB, path string, expires time.Time, actions ...string) []byte {
			return delegateAt(t, alice, bob, url, path, expires, actions)
		},
		Ledger: &vaulttest.Ledger{
			Origin: ledger.Origin(url), Key: coffertest.LogSigner(t, coffertest.Origin).Verifier().String(),
			Restart: func(t testing.TB) coffer.Vault {
				hers.Restart()
				return hers.As(hers.Caller(t, alice, url, nil), id)
			},
		},
	}
}

func delegate(t testing.TB, from, to coffer.Keyring, url string, object coffer.ObjectID, expires time.Time, actions []string) []byte {
	t.Helper()
	path := "/documents"
	if object != (coffer.ObjectID{}) {
		path += "/" + object.String()
	}
	return delegateAt(t, from, to, url, path, expires, actions)
}

func delegateAt(t testing.TB, from, to coffer.Keyring, url, path string, expires time.Time, actions []string) []byte {
	t.Helper()
	o := grant.DelegateOptions{Controller: to.DID(), Target: url + path, Expires: expires, Created: time.Now()}
	for _, a := range actions {
		o.Actions = append(o.Actions, grant.Action(a))
	}
	capability, err := grant.Delegate(t.Context(), from, url, o)
	if err != nil {
		t.Fatalf("delegate: %v", err)
	}
	return capability
}
