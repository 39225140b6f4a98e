package main

import "context"

type hubGetCommand struct {
	Kind string `arg:"" help:"CONTEXT/TYPE."`
	ID   string `arg:"" help:"Its id, or how that begins."`
	File string `placeholder:"PATH" help:"Write what was kept with it to this file; - is standard output."`
	hubKind
	hubOf
}

// Help says more.
func (hubGetCommand) Help() string {
	return `Examples:
  coffer hub get schema.org/MusicPlaylist 3f9a
  coffer hub get schema.org/MusicPlaylist 3f9a --of Bob
  coffer hub get schema.org/MusicPlaylist 3f9a --json | jq .author
  coffer hub get schema.org/ImageObject 0c5d --file sunset.jpg`
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
	if c.File != "" {
		id, err := o.objectID(ctx, h, k, c.ID)
		if err != nil {
			return err
		}
		return o.getFile(ctx, h, k, id, c.File)
	}
	object, err := o.object(ctx, h, k, c.ID)
	if err != nil {
		return err
	}
	return p.value(h, object)
}
