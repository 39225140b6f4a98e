package main

import (
	"context"

	"github.com/cofferhq/coffer/agent/hub"
)

type hubDescribeCommand struct {
	Who string `arg:"" optional:"" help:"Whose hub: contact or identifier. Default: yours."`
	hubPlace
}

// Help says more.
func (hubDescribeCommand) Help() string {
	return `With --json: with an OpenAPI document of the messages that the hub takes, and JSON Schemas where there are some.

Examples:
  coffer hub describe Bob
  coffer hub describe Bob --json | jq .openapi`
}

// Run describes a hub.
func (c *hubDescribeCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	h, err := (&hubOf{Of: c.Who, hubPlace: c.hubPlace}).hub(ctx, o)
	if err != nil {
		return err
	}
	return o.describeHub(ctx, h, "")
}

// describeHub writes what can be done in a hub, or in one interface of it.
func (o *owner) describeHub(ctx context.Context, h *hub.Hub, of string) error {
	d, err := h.Describe(ctx)
	if err != nil {
		return o.explainHub(h, err, "cannot look at the hub")
	}
	p := o.program
	if p.JSON && of == "" {
		return writeJSON(p.stdout, d)
	}
	t := p.table()
	for _, k := range d.Kinds {
		if of != "" && k.Interface != of {
			continue
		}
		if err := t.row(k, k.Interface, k.Context+"/"+k.Type, k.Allow); err != nil {
			return err
		}
	}
	return t.flush()
}
