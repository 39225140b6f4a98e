package main

import (
	"context"
	"errors"
	"io/fs"
	"os"

	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
)

// An owner is the profile's person at work: an agent for the vault, and what it works with.
type owner struct {
	*agent.Agent
	ring   *keyring.Ring
	client *edv.Client
}

// open unlocks the profile's identity and returns its owner. It asks the node nothing yet. Workers is how many chunks
// of one file are on their way at once.
func (p *program) open(ctx context.Context, workers int) (*owner, error) {
	c, err := p.loadProfile()
	if err != nil {
		return nil, err
	}
	l, err := p.places()
	if err != nil {
		return nil, err
	}
	ring, err := p.openKeyring(ctx)
	if err != nil {
		return nil, err
	}
	o, err := p.owner(c, ring, journal{l.journal}, workers)
	if err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	return o, nil
}

func (p *program) owner(c *profile, ring *keyring.Ring, notes agent.Journal, workers int) (*owner, error) {
	client, err := p.dial(c.Node, ring)
	if err != nil {
		return nil, err
	}
	vault, err := client.Vault(c.Vault)
	if err != nil {
		return nil, err
	}
	pins, err := p.pins()
	if err != nil {
		return nil, err
	}
	// Whom to share with is the owner's choice, so any public host may be asked for its keys.
	resolver, err := ident.New(ident.Options{Pinned: pins, AllowWeb: []string{"*"}, Now: p.now})
	if err != nil {
		return nil, err
	}
	a, err := agent.New(agent.Options{
		Vault: vault, Keyring: ring, Resolver: resolver, URL: c.Vault, Revoker: vault, Journal: notes,
		Now: p.now, Workers: workers,
	})
	return &owner{a, ring, client}, err
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

// dial returns a client for a node, with sessions: most requests then cost the node no signature to check.
func (p *program) dial(node string, ring *keyring.Ring) (*edv.Client, error) {
	p.node = node
	client, err := edv.NewClient(edv.ClientOptions{Base: node, Keyring: ring, Now: p.now, Sessions: true})
	return client, explain(err, "give it like https://vault.example", "cannot use the node")
}

// close forgets the keys.
func (o *owner) close() {
	_ = o.ring.Close()
}
