package main

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type revokeCommand struct {
	Path  string `arg:"" optional:"" help:"What was shared."`
	Type  string `placeholder:"T" help:"Instead of PATH: the type that was shared."`
	ID    string `name:"id" placeholder:"GRANT" help:"Instead of PATH: one grant, as \"coffer grants\" shows it."`
	With  string `placeholder:"WHO" help:"Only of this reader. Alone: all that was shared with them."`
	Group string `placeholder:"NAME" help:"Only of this group. Alone: all that was shared with it."`
	Later bool   `help:"Do not encrypt anew now what they could read; \"coffer work\" does."`
}

// Help says more.
func (revokeCommand) Help() string {
	return `Access ends at once: the node refuses from the next request on, and what is stored from then on does not open for
them. Then what is there already is encrypted anew, which may take a while; it may be interrupted, and "coffer work"
goes on. What they read before, they have.

Examples:
  coffer revoke photos/2026 --with Bob
  coffer revoke --with Bob                   # everything
  coffer revoke --type Invoice
  coffer revoke --id 3q2-7wAAAAAAAAAAAAAAAA --later`
}

// Run takes grants back.
func (c *revokeCommand) Run(ctx context.Context, p *program) error {
	named := 0
	for _, s := range []string{c.Path, c.Type, c.ID} {
		if s != "" {
			named++
		}
	}
	if named > 1 || named == 0 && c.With == "" && c.Group == "" {
		return failed(coffer.Invalid, `see "coffer revoke --help"`,
			"say which grants are meant: PATH, --type or --id; or --with or --group alone")
	}
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	if err := o.own(c.Path); err != nil {
		return err
	}
	options := agent.RevokeOptions{Path: c.Path, Type: c.Type, ID: c.ID, Group: c.Group}
	if c.With != "" {
		who, err := o.contact(ctx, c.With)
		if err != nil {
			return err
		}
		options.With = who.DID
	}
	ended, err := o.Revoke(ctx, options)
	switch {
	case errors.Is(err, coffer.NotExist):
		return failed(coffer.NotExist, `see what is shared with "coffer grants"`, "there is no such share")
	case ctx.Err() != nil:
		return &failure{message: "interrupted", next: "run the same command again to finish", err: errInterrupted}
	case err != nil:
		return explain(err, "run the same command again to finish", "access cannot be ended")
	}
	if err := o.ended(ctx, ended); err != nil {
		return err
	}
	return o.workNow(ctx, c.Later)
}

// ended says whose access ended.
func (o *owner) ended(ctx context.Context, list []*agent.Grant) error {
	if o.program.Quiet && !o.program.JSON {
		return nil
	}
	for _, g := range list {
		r := o.granted(ctx, g)
		if err := o.program.result(r, "access ended: %s, %s", printable(viaText(r)), printable(r.what())); err != nil {
			return err
		}
	}
	return nil
}
