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
	err = o.Remove(ctx, c.Path, c.Recursive)
	switch {
	case errors.Is(err, coffer.NotExist):
		return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", c.Path)
	case errors.Is(err, coffer.Conflict) && !c.Recursive:
		return failed(coffer.Conflict, "remove it with all that is in it: coffer rm -r", "%s is a folder and not empty",
			c.Path)
	case err != nil:
		return explain(err, "", "cannot remove %s", c.Path)
	}
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		Removed string `json:"removed"`
	}{c.Path}, "removed %s", printable(c.Path))
}
