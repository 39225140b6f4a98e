package node

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/node/vault"
)

// hubVaults are the vaults in which hubs keep what they hold: vaults like any other, whose controller is the node.
// It gets at them as anybody would, by requests that it signs, only that these take no way over the wire.
type hubVaults struct {
	vaults   *vault.Service
	keys     coffer.Keyring // the node's own
	resolver *ident.Resolver
	origin   string
	now      func() time.Time
}

// hubReference begins the referenceId of a hub's vault; what follows is the name that the hub has for it.
const hubReference = "hub "

// Vault returns the vault with a name: NotExist if there is none, unless it is to be made.
func (h *hubVaults) Vault(ctx context.Context, name string, make bool) (coffer.Vault, error) {
	all := h.origin + "/edvs"
	creator, err := h.caller(ctx, all)
	if err != nil {
		return nil, err
	}
	found, err := h.vaults.Find(ctx, creator, h.keys.DID(), hubReference+name)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 && make {
		c, err := h.vaults.Create(ctx, creator, &coffer.Config{Controller: h.keys.DID(), ReferenceID: hubReference + name})
		if errors.Is(err, coffer.Conflict) { // another request was first
			return h.Vault(ctx, name, false)
		} else if err != nil {
			return nil, err
		}
		found = append(found, c)
	}
	if len(found) == 0 {
		return nil, coffer.Errorf("hub", coffer.NotExist, "no such vault")
	}
	id, err := coffer.ParseVaultID(strings.TrimPrefix(found[0].ID, all+"/"))
	if err != nil {
		return nil, coffer.E("hub", coffer.Corrupt, err)
	}
	controller, err := h.caller(ctx, found[0].ID)
	if err != nil {
		return nil, err
	}
	return h.vaults.As(controller, id), nil
}

// caller returns who the node is to the root with the target, for as long as the node controls it.
func (h *hubVaults) caller(ctx context.Context, target string) (grant.Caller, error) {
	invoker, err := grant.NewInvoker(h.keys, target)
	if err != nil {
		return grant.Caller{}, err
	}
	now := h.now()
	headers, err := invoker.Sign(ctx, grant.Request{Method: "GET", URL: target, Action: grant.Read, Now: now})
	if err != nil {
		return grant.Caller{}, err
	}
	_, host, _ := strings.Cut(h.origin, "://")
	v, err := grant.Verify(ctx,
		&grant.Invocation{Method: "GET", URI: strings.TrimPrefix(target, h.origin), Host: host, Header: headers},
		&grant.Facts{
			Now: now, Origin: h.origin, Action: grant.Read, Skew: time.Minute, Key: h.resolver.Key,
			Roots: func(ctx context.Context, root string) ([]string, error) {
				local, isVault := strings.CutPrefix(root, h.origin+"/edvs/")
				if !isVault {
					return []string{h.keys.DID()}, nil
				}
				id, err := coffer.ParseVaultID(local)
				if err != nil {
					return nil, err
				}
				controller, err := h.vaults.Controller(ctx, id, netip.Addr{})
				return []string{controller}, err
			},
		})
	if err != nil {
		return grant.Caller{}, err
	}
	return v.Caller, nil
}
