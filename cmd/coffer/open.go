package main

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type openCommand struct {
	URI     string `arg:"" help:"hub://DID/Interface/context/type/id, or a shorter one; context and type percent-encoded."`
	Purpose string `placeholder:"TEXT" help:"What for, if a permission asks for that."`
	hubPlace
}

// Help says more.
func (openCommand) Help() string {
	return `Of an object the value is written; of a kind, a list; of a hub or an interface, what can be done there. Where the hub is
says the identity behind the DID. What is public opens without an identity of yours, too.

Examples:
  coffer open hub://did:web:bob.example
  coffer open hub://did:web:bob.example/Collections/schema.org/Offer
  coffer open hub://did:key:z6Mk…/Collections/schema.org/Offer/3f9a… --at https://vault.example`
}

// Run opens what a hub address names.
func (c *openCommand) Run(ctx context.Context, p *program) error {
	u, err := hub.ParseURI(c.URI)
	if err != nil {
		return explain(err, "it is like hub://did:web:bob.example/Collections/schema.org/Offer",
			"that is no address of a hub")
	}
	o, err := p.openOrStranger(ctx)
	if err != nil {
		return err
	}
	defer o.close()
	h, err := o.hub(ctx, u.Owner, c.At, c.Purpose)
	if err != nil {
		return err
	}
	switch {
	case u.Type == "":
		return o.describeHub(ctx, h, u.Interface)
	case u.ID == coffer.CommitRev{}:
		return o.listObjects(ctx, h, h.Query(ctx, u.Kind(), nil))
	}
	object, err := o.object(ctx, h, u.Kind(), u.ID.String())
	if err != nil {
		return err
	}
	return p.value(h, object)
}

// openOrStranger returns the profile's owner, or somebody whom nobody knows when there is no identity.
func (p *program) openOrStranger(ctx context.Context) (*owner, error) {
	_, err := p.loadProfile()
	if errors.Is(err, coffer.NotExist) {
		return p.stranger()
	}
	return p.open(ctx, 1)
}
