package main

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
)

type rmCommand struct {
	Path      string `arg:"" help:"File, object or folder."`
	Recursive bool   `short:"r" help:"Remove a folder with all that is in it."`
}

// Run erases what is at the path: the node keeps no copy.
func (c *rmCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	s, err := o.spot(ctx, c.Path)
	if err != nil {
		return err
	}
	if err := s.writable(); err != nil {
		return err
	}
	err = s.agent.Remove(ctx, s.path, c.Recursive)
	switch {
	case errors.Is(err, coffer.NotExist):
		return s.missing(c.Path, err)
	case errors.Is(err, coffer.Conflict) && !c.Recursive:
		return failed(coffer.Conflict, "remove it with all that is in it: coffer rm -r", "%s is a folder and not empty",
			shown(c.Path))
	case err != nil:
		return s.explain(err, "", "cannot remove %s", shown(c.Path))
	}
	o.hint(ctx)
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		Removed string `json:"removed"`
	}{c.Path}, "removed %s", printable(shown(c.Path)))
}
