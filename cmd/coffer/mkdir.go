package main

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type mkdirCommand struct {
	Path string `arg:"" help:"Folder; those above it are made, too."`
}

// Run makes a folder. That it is there already is no failure.
func (c *mkdirCommand) Run(ctx context.Context, p *program) error {
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
	err = s.agent.MkdirAll(ctx, s.path)
	switch {
	case errors.Is(err, coffer.Conflict):
		return failed(coffer.Conflict, "take another name", "there is a file at %s, or on the way to it", shown(c.Path))
	case err != nil:
		return s.explain(err, "", "cannot make the folder %s", shown(c.Path))
	}
	o.hint(ctx)
	if p.Quiet && !p.JSON {
		return nil
	}
	clean, _ := agent.CleanPath(s.path) // it was, or the folder could not have been made
	return p.result(struct {
		Folder string `json:"folder"`
	}{s.prefix + clean}, "made %s", printable(s.prefix+clean))
}
