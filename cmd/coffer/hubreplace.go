package main

import "context"

type hubReplaceCommand struct {
	Kind string `arg:"" help:"CONTEXT/TYPE."`
	ID   string `arg:"" help:"Its id, or how that begins."`
	File string `arg:"" help:"The new value, as JSON; - is standard input."`
	hubMeta
	hubKind
	hubOf
}

// Help says more.
func (hubReplaceCommand) Help() string {
	return `Title and tags stay unless you give others. What was public is so afterwards only with --public.

Examples:
  coffer hub replace schema.org/MusicPlaylist 3f9a rain.json
  coffer hub get schema.org/Offer 77c1 | jq '.price = 90' | coffer hub replace schema.org/Offer 77c1 - --public`
}

// Run puts a value in the place of an object's.
func (c *hubReplaceCommand) Run(ctx context.Context, p *program) error {
	k, err := c.kind(c.Kind)
	if err != nil {
		return err
	}
	value, err := p.jsonFrom(ctx, c.File)
	if err != nil {
		return err
	}
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	id, err := o.objectID(ctx, h, k, c.ID)
	if err != nil {
		return err
	}
	if err := h.Replace(ctx, k, id, value, c.options()); err != nil {
		return o.explainHub(h, err, "cannot replace the object")
	}
	return o.wrote(h, k, id, "replaced")
}
