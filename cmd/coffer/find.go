package main

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
)

type findCommand struct {
	Query []string `arg:"" help:"Words of the name, or conditions like type:Invoice and customer:ACME; all must hold."`
	Long  bool     `short:"l" help:"Show size, time of change and type, too."`
}

// Run lists the objects that meet the query. That there are none is no failure.
func (c *findCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	query := ""
	for _, term := range c.Query {
		query += term + " "
	}
	found, err := collect(o.Find(ctx, query))
	if errors.Is(err, coffer.Invalid) {
		return failed(coffer.Invalid, `write it like: report type:Invoice 'customer:"ACME Ltd"'`, "this is no query: %s",
			reason(err))
	}
	if err != nil {
		return explain(err, "", "cannot search")
	}
	return p.list(found, c.Long)
}
