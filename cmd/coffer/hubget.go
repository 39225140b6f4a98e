package main

import "context"

type hubGetCommand struct {
	Kind string `arg:"" help:"CONTEXT/TYPE."`
	ID   string `arg:"" help:"Its id, or how that begins."`
	hubKind
	hubOf
}

// Help says more.
func (hubGetCommand) Help() string {
	return `Examples:
  coffer hub get schema.org/MusicPlaylist 3f9a
  coffer hub get schema.org/MusicPlaylist 3f9a --of Bob
  coffer hub get schema.org/MusicPlaylist 3f9a --json | jq .author`
}

// Run writes the value of an object.
func (c *hubGetCommand) Run(ctx context.Context, p *program) error {
	k, err := c.kind(c.Kind)
	if err != nil {
		return err
	}
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	object, err := o.object(ctx, h, k, c.ID)
	if err != nil {
		return err
	}
	return p.value(h, object)
}
