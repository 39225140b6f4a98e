package main

import "context"

type hubRmCommand struct {
	Kind string   `arg:"" help:"CONTEXT/TYPE."`
	ID   []string `arg:"" help:"Ids, or how they begin."`
	hubKind
	hubOf
}

// Help says more.
func (hubRmCommand) Help() string {
	return `Examples:
  coffer hub rm schema.org/MusicPlaylist 3f9a 77c1`
}

// Run removes objects.
func (c *hubRmCommand) Run(ctx context.Context, p *program) error {
	k, err := c.kind(c.Kind)
	if err != nil {
		return err
	}
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	for _, text := range c.ID {
		id, err := o.objectID(ctx, h, k, text)
		if err != nil {
			return err
		}
		if err := h.Remove(ctx, k, id); err != nil {
			return o.explainHub(h, err, "cannot remove %s", text)
		}
		if err := o.wrote(h, k, id, "removed"); err != nil {
			return err
		}
	}
	return nil
}
