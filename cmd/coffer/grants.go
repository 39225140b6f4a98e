package main

import (
	"context"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

type grantsCommand struct {
	Path string `arg:"" optional:"" help:"Only for what is there or below."`
	All  bool   `short:"a" help:"Show those that ended or were revoked, too."`
}

// A granted is how results describe a share.
type granted struct {
	Grant     string         `json:"grant"`
	Path      string         `json:"path"`
	Recipient string         `json:"recipient"`
	Actions   []grant.Action `json:"actions"`
	Since     time.Time      `json:"since"`
	Until     time.Time      `json:"until"`
	State     string         `json:"state"` // active, revoked, ended
	Objects   int            `json:"objects"`
}

// Run lists the shares of this vault, from the owner's records.
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
	var found []granted
	for g, err := range o.Grants(ctx) {
		if err != nil {
			return explain(err, "", "cannot list the shares")
		}
		state := "active"
		switch {
		case g.Revoked():
			state = "revoked"
		case !p.now().Before(g.Until):
			state = "ended"
		}
		below := folder == "" || g.Path == folder || strings.HasPrefix(g.Path, folder+"/")
		if below && (c.All || state == "active") {
			found = append(found, granted{g.ID, g.Path, g.With, g.Actions, g.Since, g.Until, state, len(g.Objects)})
		}
	}
	slices.SortFunc(found, func(a, b granted) int {
		if n := a.Since.Compare(b.Since); n != 0 {
			return n
		}
		return strings.Compare(a.Grant, b.Grant)
	})
	w := tabwriter.NewWriter(p.stdout, 0, 8, 2, ' ', 0)
	rows := &program{stdout: w, global: p.global}
	for _, g := range found {
		var actions []string
		for _, a := range g.Actions {
			actions = append(actions, string(a))
		}
		if err := rows.result(g, "%s\t%s\t%s\t%s\tuntil %s\t%s", g.Grant, printable(g.Path), strings.Join(actions, ","),
			g.State, timeText(g.Until), printable(g.Recipient)); err != nil {
			return err
		}
	}
	return w.Flush()
}
