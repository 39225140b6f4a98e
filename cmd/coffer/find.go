package main

import (
	"context"
	"errors"
	"strings"

	"github.com/cofferhq/coffer"
)

type findCommand struct {
	Query []string `arg:"" help:"Words, or conditions like type:Invoice and total:[10 TO 20]; see doc/query.md."`
	Long  bool     `short:"l" help:"Show size, time of change and type, too."`
}

// Help says more.
func (findCommand) Help() string {
	return `The query is in the syntax of Lucene. The node sees nothing of it.

Examples:
  coffer find tax 2025
  coffer find 'type:Invoice AND customer:"ACME Ltd"'
  coffer find 'total:[100 TO 500] -paid:true'
  coffer find 'ext:pdf modified>=2026-01-01'`
}

// Run lists the objects that meet the query. That there are none is no failure.
func (c *findCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	found, err := collect(o.Find(ctx, strings.Join(c.Query, " ")))
	if errors.Is(err, coffer.Invalid) {
		return failed(coffer.Invalid, `write it like: report type:Invoice 'customer:"ACME Ltd"'; see doc/query.md`,
			"this is no query: %s", reason(err))
	}
	if err != nil {
		return explain(err, "", "cannot search")
	}
	return p.list(&spot{agent: o.Agent}, found, c.Long)
}
