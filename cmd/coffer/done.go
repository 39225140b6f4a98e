package main

import (
	"context"

	"github.com/cofferhq/coffer/agent/hub"
)

type doneCommand struct {
	ID      []string `arg:"" help:"Messages, or how their ids begin."`
	Discard bool     `help:"Remove them for good, rather than keep them for \"coffer inbox --all\"."`
	hubPlace
}

// Help says more.
func (doneCommand) Help() string {
	return `What is done on one device is done on all.

Examples:
  coffer done 3f9a 77c1
  coffer done 3f9a --discard`
}

// Run puts messages away.
func (c *doneCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	h, err := c.own(ctx, o)
	if err != nil {
		return err
	}
	for _, text := range c.ID {
		m, unknown := o.received(ctx, h, text)
		if m == nil || unknown != nil && !c.Discard {
			return unknown
		}
		state := hub.Done
		if c.Discard {
			state, err = "discarded", h.Discard(ctx, m)
		} else {
			err = h.Done(ctx, m)
		}
		if err != nil {
			return o.explainHub(h, err, "cannot put it away")
		}
		if p.Quiet && !p.JSON {
			continue
		}
		d := (&reading{owner: o, h: h}).message(ctx, m, unknown)
		d.State = state
		if err := p.result(d, "%s %s  %s", state, short(m.URI.ID), printable(d.who())); err != nil {
			return err
		}
	}
	return nil
}
