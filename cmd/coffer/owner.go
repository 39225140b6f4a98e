package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/ledger"
)

// An owner is the profile's person at work: an agent for the vault, and what it works with.
type owner struct {
	*agent.Agent
	program    *program
	profile    *profile
	ring       *keyring.Ring
	controller coffer.Keyring // by whom the provider knows the person
	client     *edv.Client    // as the controller
	vault      *edv.RemoteVault
	resolver   *ident.Resolver
	log        *pinnedLog // nil when the node signs no checkpoints
	left       func()     // gives the cache back

	mine  *hub.Hub          // one's own, where the profile says, once it was needed
	names map[string]string // what the owner calls others, by identifier, once it was needed
}

// open unlocks the profile's identity and returns its owner. Workers is how many chunks of one file are on their way at
// once.
func (p *program) open(ctx context.Context, workers int) (*owner, error) {
	c, err := p.loadProfile()
	if err != nil {
		return nil, err
	}
	ring, err := p.openKeyring(ctx)
	if err != nil {
		return nil, err
	}
	o, err := p.owner(ctx, c, ring, workers)
	if err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	return p.current(ctx, o, workers)
}

// owner returns the owner of a profile. It asks the node for its log key if the profile has none, and nothing else.
func (p *program) owner(ctx context.Context, c *profile, ring *keyring.Ring, workers int) (*owner, error) {
	l, err := p.places()
	if err != nil {
		return nil, err
	}
	o := &owner{program: p, profile: c, ring: ring}
	if o.controller, err = c.controller(ctx, ring); err != nil {
		return nil, explain(err, "", "cannot use the keys")
	}
	if o.client, err = p.dial(c.Node, o.controller); err != nil {
		return nil, err
	}
	if o.vault, err = o.client.Vault(c.Vault); err != nil {
		return nil, explain(err, "", "the profile's vault cannot be used")
	}
	pinned := false
	if c.LogKey == "" {
		if c.LogKey, err = logKey(ctx, o.client); err != nil {
			return nil, err
		}
		if pinned = c.LogKey != ""; pinned {
			if err := p.saveProfile(c); err != nil {
				return nil, err
			}
		}
	}
	if o.resolver, err = p.resolver(); err != nil {
		return nil, err
	}
	options := agent.Options{
		Vault: o.vault, Keyring: ring, Controller: o.controller, Space: c.Space, Resolver: o.resolver, URL: c.Vault,
		Revoker: o.vault, Journal: journal{l.journal}, Now: p.now, Workers: workers,
	}
	if c.LogKey != "" {
		key, err := ledger.ParseVerifier(c.LogKey)
		if err != nil {
			return nil, failed(coffer.Corrupt, "remove the member logKey from "+l.config,
				"the profile's configuration is damaged")
		}
		o.log = &pinnedLog{Log: o.vault, client: o.client, key: key, url: c.Vault, config: l.config}
		options.Log, options.LogKey = o.log, key
	}
	if there, err := exists(l.journal); err == nil && (!there || pinned) {
		// The vault's history is followed anew: what the cache holds may have been replaced meanwhile.
		forgetCache(l.cache)
	}
	cache, left := openCache(l.cache, maxCache)
	if o.left = left; cache != nil {
		options.Cache = cache
	}
	if o.Agent, err = agent.New(options); err != nil {
		left()
		return nil, err
	}
	return o, nil
}

// controller returns the identity by which the provider knows the vault's owner: that which follows from the vault
// secret and the space, or, in a vault that the provider knows to be the person's, the person's own.
func (c *profile) controller(ctx context.Context, ring *keyring.Ring) (coffer.Keyring, error) {
	if c.Space == "" || c.Space == asMyself {
		return c.former(ring)
	}
	// The secret may have had other generations since the vault was made.
	for n := ring.Generations(keyring.Vault) - 1; n >= 0; n-- {
		at, err := ring.At(keyring.Vault, n)
		if err != nil {
			return nil, err
		}
		as, err := at.Pseudonym(ctx, "vault "+c.Space)
		if err != nil {
			return nil, err
		}
		if c.Controller == "" {
			c.Controller = as.DID()
		}
		if as.DID() == c.Controller {
			return as, nil
		}
	}
	return nil, coffer.Errorf("keyring", coffer.NotExist, "the keys that control the vault are not in it")
}

// resolver returns what finds the keys of others. With whom one has to do is the owner's choice, so any public host may
// be asked for its keys.
func (p *program) resolver() (*ident.Resolver, error) {
	pins, err := p.pins()
	if err != nil {
		return nil, err
	}
	r, err := ident.New(ident.Options{Pinned: pins, AllowWeb: []string{"*"}, Now: p.now})
	return r, explain(err, `see "Configured keys" in doc/identifiers.md`, "cannot use identities.json")
}

// pins reads the profile's file of names and their keys, if there is one.
func (p *program) pins() ([]ident.Pin, error) {
	l, err := p.places()
	if err != nil {
		return nil, err
	}
	b, err := os.ReadFile(l.identities)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	pins, err := ident.ReadPins(b)
	return pins, explain(err, `see "Configured keys" in doc/identifiers.md`, "cannot read identities.json")
}

// dial returns a client for a node, with sessions: most requests then cost the node no signature to check. Clients share
// no connections, so that the node cannot tell that two identities are one person by that.
func (p *program) dial(node string, as coffer.Keyring) (*edv.Client, error) {
	p.node = node
	client, err := edv.NewClient(edv.ClientOptions{Base: node, Keyring: as, Now: p.now, Sessions: true})
	return client, explain(err, "give it like https://vault.example", "cannot use the node")
}

// hint tells the person, after a change, that there is work left. It is no result: what it cannot find out it leaves.
func (o *owner) hint(ctx context.Context) {
	if o.program.Quiet || o.program.JSON || ctx.Err() != nil {
		return
	}
	left := 0
	jobs, err := o.Jobs(ctx)
	for _, j := range jobs {
		left += j.Left
	}
	if err == nil && left > 0 {
		o.program.note(`%s still to be encrypted anew after a share ended: "coffer work" does it.`, objectsText(left))
	}
}

// close forgets the keys, and gives the cache back.
func (o *owner) close() {
	o.left()
	_ = o.ring.Close()
}
