package edv_test

import (
	"context"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/vaulttest"
)

// newClient returns a client of the server for the keyring's holder.
func newClient(t testing.TB, origin string, who coffer.Keyring, sessions bool) *edv.Client {
	t.Helper()
	c, err := edv.NewClient(edv.ClientOptions{Base: origin, Keyring: who, Now: time.Now, Sessions: sessions})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// newVault makes a vault for the client's identity.
func newVault(t testing.TB, c *edv.Client, who coffer.Keyring) *edv.RemoteVault {
	t.Helper()
	config, err := c.CreateVault(t.Context(), &coffer.Config{Controller: who.DID()})
	if err != nil {
		t.Fatalf("create vault: %v", err)
	}
	v, err := c.Vault(config.ID)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestRemoteVault plays the script of all vaults across a socket.
func TestRemoteVault(t *testing.T) {
	for name, sessions := range map[string]bool{"signatures": false, "sessions": true} {
		t.Run(name, func(t *testing.T) {
			keeps := map[bool]time.Duration{true: time.Hour}[sessions] // one of the nodes keeps what is replaced
			n := coffertest.Node(t, node.Config{Limits: vault.Limits{Keep: keeps}})
			alice, bob := coffertest.Person(t, "alice"), coffertest.Person(t, "bob")
			asAlice, asBob := newClient(t, n.Origin(), alice, sessions), newClient(t, n.Origin(), bob, sessions)
			vaulttest.Run(t, func(t *testing.T) *vaulttest.House {
				v := newVault(t, asAlice, alice)
				return &vaulttest.House{
					Alice: v,
					Bob: func(t testing.TB, capability []byte) coffer.Vault {
						var capabilities [][]byte
						if capability != nil {
							capabilities = append(capabilities, capability)
						}
						b, err := asBob.Vault(v.URL(), capabilities...)
						if err != nil {
							t.Fatal(err)
						}
						return b
					},
					Delegate: func(t testing.TB, id coffer.ObjectID, expires time.Time, actions ...string) []byte {
						target := v.URL() + "/documents"
						if id != (coffer.ObjectID{}) {
							target += "/" + id.String()
						}
						return delegate(t, alice, v.URL(), bob, target, expires, actions...)
					},
					DelegateAt: func(t testing.TB, path string, expires time.Time, actions ...string) []byte {
						return delegate(t, alice, v.URL(), bob, v.URL()+path, expires, actions...)
					},
					Ledger: &vaulttest.Ledger{Origin: ledger.Origin(v.URL()), Key: logKey(t, asAlice)},
					Revoke: v.Revoke,
					Keeps:  keeps > 0,
				}
			})
		})
	}
}

func logKey(t testing.TB, c *edv.Client) string {
	t.Helper()
	key, err := c.LogKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// delegate returns a capability from one to another.
func delegate(t testing.TB, from coffer.Keyring, parent string, to coffer.Keyring, target string, expires time.Time, actions ...string) []byte {
	t.Helper()
	o := grant.DelegateOptions{Controller: to.DID(), Target: target, Created: time.Now(), Expires: expires}
	for _, a := range actions {
		o.Actions = append(o.Actions, grant.Action(a))
	}
	c, err := grant.Delegate(context.Background(), from, parent, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
