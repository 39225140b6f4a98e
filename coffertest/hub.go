package coffertest

import (
	"context"
	"sync"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/lucene"
	"github.com/cofferhq/coffer/node/hub"
)

// HubVaults returns empty vaults in this process for a hub to keep its documents in, which end with the test. They are
// made as they are asked for.
func HubVaults(t testing.TB, vaults *Vaults) hub.Vaults {
	return &hubVaults{t: t, vaults: vaults, made: make(map[string]coffer.Vault)}
}

type hubVaults struct {
	t      testing.TB
	vaults *Vaults
	mu     sync.Mutex
	made   map[string]coffer.Vault
}

// Vault implements [hub.Vaults].
func (v *hubVaults) Vault(_ context.Context, name string, make bool) (coffer.Vault, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.made[name] == nil {
		if !make {
			return nil, coffer.Errorf("vault", coffer.NotExist, "none with this name")
		}
		keys := Person(v.t, "provider")
		id, url := v.vaults.NewVault(v.t, keys)
		v.made[name] = v.vaults.As(v.vaults.Caller(v.t, keys, url, nil), id)
	}
	return v.made[name], nil
}

// HubFilter reads a filter of a hub, in the syntax of Lucene.
func HubFilter(text string) (hub.Filter, error) {
	f, err := lucene.ParseFilter(text)
	if err != nil {
		return nil, err
	}
	return f, nil
}
