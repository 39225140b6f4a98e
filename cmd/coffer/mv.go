package main

import (
	"context"
	"errors"
	"path"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type mvCommand struct {
	Old string `arg:"" help:"File, object or folder."`
	New string `arg:"" help:"Its new path; below NEW if that is a folder or ends in /."`

	Later bool `help:"If it leaves a share, do not encrypt it anew now; \"coffer work\" does."`
}

// Help says more.
func (mvCommand) Help() string {
	return `Nothing is uploaded again. Who could read it by a share of its own still can. Who could by a share of a folder that
it leaves cannot any more: then it is encrypted anew.

Examples:
  coffer mv draft.md letters/2026/
  coffer mv photos archive/photos`
}

// Run gives something another path.
func (c *mvCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	from, err := o.spot(ctx, c.Old)
	if err != nil {
		return err
	}
	to := from
	share, _, _ := strings.Cut(c.New, ":")
	if from.shared == nil || from.prefix == "" || share+":" != from.prefix {
		if to, err = o.spot(ctx, c.New); err != nil {
			return err
		}
	} else {
		to = &spot{from.agent, c.New[len(from.prefix):], from.shared, from.prefix}
	}
	if from.agent != to.agent {
		return failed(coffer.Invalid, `use "coffer get" and "coffer put"`, "things move within one vault only")
	}
	if err := from.writable(); err != nil {
		return err
	}
	old, err := agent.CleanPath(from.path)
	if err == nil && old == "" {
		return failed(coffer.Invalid, "", "%s cannot be moved", shown(c.Old))
	}
	dest, err2 := agent.CleanPath(to.path)
	if err = errors.Join(err, err2); err != nil {
		return explain(err, "", "cannot move %s to %s", shown(c.Old), shown(c.New))
	}
	there, err := to.agent.Stat(ctx, dest)
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return to.explain(err, "", "cannot look at %s", shown(c.New))
	}
	if err == nil && there.IsFolder() && old != dest || strings.HasSuffix(to.path, "/") {
		dest = path.Join(dest, path.Base(old))
	}
	err = from.agent.Move(ctx, old, dest)
	switch {
	case errors.Is(err, coffer.NotExist):
		return from.missing(c.Old, err)
	case errors.Is(err, coffer.Conflict):
		return failed(coffer.Conflict, "take another name", "there is something at %s already, or that is within %s",
			to.prefix+dest, shown(c.Old))
	case err != nil:
		return from.explain(err, "", "cannot move %s", shown(c.Old))
	}
	if !p.Quiet || p.JSON {
		if err := p.result(struct {
			From string `json:"from"`
			To   string `json:"to"`
		}{from.prefix + old, to.prefix + dest}, "moved to %s", printable(to.prefix+dest)); err != nil {
			return err
		}
	}
	if from.shared != nil {
		return nil
	}
	return o.workNow(ctx, c.Later)
}
