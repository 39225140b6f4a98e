package main

import (
	"context"
	"errors"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type hubRevokeCommand struct {
	ID []string `arg:"" help:"Ids of permissions, as \"coffer hub grants\" shows them, or how they begin."`
	hubPlace
}

// Help says more.
func (hubRevokeCommand) Help() string {
	return `From the next request on the hub refuses, and what is written from now on does not open for them. What they read stays
read. What there is already is encrypted anew by "coffer hub work".

Examples:
  coffer hub grants
  coffer hub revoke 3f9a
  coffer hub work`
}

// Run ends permissions.
func (c *hubRevokeCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	h, err := c.own(ctx, o)
	if err != nil {
		return err
	}
	given := make(map[coffer.CommitRev]*hub.Given)
	for g, err := range h.Grants(ctx) {
		if errors.Is(err, coffer.Corrupt) {
			continue
		}
		if err != nil {
			return o.explainHub(h, err, "cannot look for the permission")
		}
		given[g.ID] = g
	}
	const see = `see "coffer hub grants"`
	left := false
	for _, text := range c.ID {
		id, err := oneID(text, see, func(yield func(coffer.CommitRev, error) bool) {
			for id := range given {
				if !yield(id, nil) {
					return
				}
			}
		})
		if err != nil {
			return err
		}
		g := given[id]
		if g == nil {
			return failed(coffer.NotExist, see, "there is no such permission, or it was revoked")
		}
		if err := h.Revoke(ctx, id); err != nil {
			return o.explainHub(h, err, "cannot revoke it")
		}
		left = left || strings.Contains(g.Allow, "R") && g.Grantee != coffer.Everybody
		r := o.hubGrant(ctx, g)
		r.State = "revoked"
		if p.Quiet && !p.JSON {
			continue
		}
		err = p.result(r, "access ended: %s, %s %s", printable(r.who()), r.Allow, printable(kindText(g.Kind)))
		if err != nil {
			return err
		}
	}
	if left {
		p.note(`What is there is still sealed under keys that they had: "coffer hub work" encrypts it anew.`)
	}
	return nil
}
