package main

import (
	"context"
	"errors"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

type grantsCommand struct {
	Path string `arg:"" optional:"" help:"Only for what is there or below."`
	All  bool   `short:"a" help:"Show those that are over, too."`

	Links bool `help:"Write new links of all that last: readers need them after keys were rotated."`
}

// Help says more.
func (grantsCommand) Help() string {
	return `Examples:
  coffer grants
  coffer grants photos -a
  coffer grants --json | jq -r 'select(.name=="Bob").grant'`
}

// Run lists the grants of this vault, from the owner's signed records.
func (c *grantsCommand) Run(ctx context.Context, p *program) error {
	folder, err := agent.CleanPath(c.Path)
	if err != nil {
		return explain(err, "", "%q is no path", c.Path)
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if c.Links {
		return o.newLinks(ctx, folder)
	}
	t := p.table()
	for g, err := range o.Grants(ctx) {
		if err != nil {
			return explain(err, "", "cannot list the grants")
		}
		r := o.granted(ctx, g)
		below := folder == "" || r.Path == folder || strings.HasPrefix(r.Path, folder+"/")
		if !below || !c.All && r.State != "active" {
			continue
		}
		if err := t.row(r, r.Grant, r.what(), actionsText(r.Actions), r.state(), viaText(r)); err != nil {
			return err
		}
	}
	return t.flush()
}

func actionsText(actions []grant.Action) string {
	var list []string
	for _, a := range actions {
		list = append(list, string(a))
	}
	return strings.Join(list, ",")
}

// state says to a person until when a grant lasts, or how it ended.
func (g *granted) state() string {
	switch {
	case g.State == "active":
		return "until " + timeText(g.Until)
	case g.Ended.IsZero():
		return g.State + " " + timeText(g.Until)
	}
	return g.State + " " + timeText(g.Ended)
}

// viaText names the recipient of a grant, and the group.
func viaText(g granted) string {
	if g.Group != "" {
		return g.Name + " (" + g.Group + ")"
	}
	return g.Name
}

type whoCommand struct {
	Path string `arg:"" help:"File, object or folder."`
}

// Help says more.
func (whoCommand) Help() string {
	return `Whoever else can read it, or could: because of the item itself, a folder that holds it, or its type; each with the
time from when until when, and why it ended. With --json, with the statements that you signed, for others to check.

Examples:
  coffer who photos/2026/summer.jpg
  coffer who people/ada --json`
}

// Run tells who can read something, or could.
func (c *whoCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.own(c.Path); err != nil {
		return err
	}
	list, err := o.Who(ctx, c.Path)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", c.Path)
	}
	if err != nil {
		return explain(err, "", "cannot tell who can read %s", c.Path)
	}
	t := p.table()
	for _, g := range list {
		r := o.granted(ctx, g)
		for _, s := range g.Statements {
			r.Statements = append(r.Statements, statement{s.By, s.Message, s.Signature})
		}
		by := "by " + r.what()
		if r.Group != "" {
			by += ", group " + r.Group
		}
		if err := t.row(r, r.Name, actionsText(r.Actions), "since "+timeText(r.Since), r.state(), by); err != nil {
			return err
		}
	}
	if len(list) == 0 && !p.JSON {
		p.note("Nobody else can read it, or could.")
	}
	return t.flush()
}
