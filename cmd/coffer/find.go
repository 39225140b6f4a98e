package main

import (
	"context"
	"errors"
	"strings"

	"github.com/cofferhq/coffer"
)

type findCommand struct {
	Query      []string `arg:"" optional:"" help:"Words, or conditions like type:Invoice and total:[10 TO 20]; see doc/query.md."`
	AtProvider []string `placeholder:"F=V" help:"Instead of a query: let the node find by attributes (coffer attribute)."`
	Long       bool     `short:"l" help:"Show size, time of change and type, too."`
}

// Help says more.
func (findCommand) Help() string {
	return `The query is in the syntax of Lucene. The node sees nothing of it.

Examples:
  coffer find tax 2025
  coffer find 'type:Invoice AND customer:"ACME Ltd"'
  coffer find 'total:[100 TO 500] -paid:true'
  coffer find 'ext:pdf modified>=2026-01-01'
  coffer find --at-provider customer=ACME

With --at-provider the node searches, and sees which objects have the same value, and when the same is searched for
again; no names and no values.`
}

// Run lists the objects that meet the query. That there are none is no failure.
func (c *findCommand) Run(ctx context.Context, p *program) error {
	if (len(c.Query) == 0) == (len(c.AtProvider) == 0) {
		return failed(coffer.Invalid, `see "coffer find --help"`, "give a query, or --at-provider")
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if len(c.AtProvider) > 0 {
		return o.findAtProvider(ctx, c.AtProvider, c.Long)
	}
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
