package main

import (
	"context"

	"github.com/cofferhq/coffer/agent/hub"
)

type hubLsCommand struct {
	Kind   string `arg:"" help:"CONTEXT/TYPE."`
	Filter string `arg:"" optional:"" help:"Only what matches, in the syntax of Lucene: of the value's members, and meta.title, created_by and the like."`
	Sort   string `placeholder:"FIELD" help:"created_at, updated_at or meta.title; with - before it, descending."`
	Limit  int    `placeholder:"N" help:"At most so many."`
	hubKind
	hubOf
}

// Help says more.
func (hubLsCommand) Help() string {
	return `What is asked of the value is matched here, after opening it: the node does not learn it.

Examples:
  coffer hub ls schema.org/MusicPlaylist
  coffer hub ls schema.org/Offer 'price:[100 TO 500]' --of Bob
  coffer hub ls schema.org/Offer 'meta.tags:bicycle' --sort=-updated_at`
}

// Run lists objects.
func (c *hubLsCommand) Run(ctx context.Context, p *program) error {
	k, err := c.kind(c.Kind)
	if err != nil {
		return err
	}
	o, h, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	defer o.close()
	query := hub.QueryOptions{Filter: c.Filter, Sort: c.Sort, Limit: c.Limit}
	return o.listObjects(ctx, h, h.Query(ctx, k, &query))
}
