package main

import (
	"context"
	"strings"
	"time"

	"github.com/cofferhq/coffer/grant"
)

type upgradeCommand struct{}

// Help says more.
func (upgradeCommand) Help() string {
	return `What an earlier version of coffer stored is moved into the form of this one, under new keys, and erased in the old form.
It may be interrupted, and goes on with the next call. What was shared then is not any more: it is listed, to be shared
anew.

Examples:
  coffer upgrade`
}

// An upgraded is the result.
type upgraded struct {
	Objects int            `json:"objects"`
	Folders int            `json:"folders"`
	Refused int            `json:"refused"`
	Renamed []string       `json:"renamed"`
	Shares  []earlierShare `json:"shares"`
}

// An earlierShare is what was shared, and is to be shared anew.
type earlierShare struct {
	Path    string         `json:"path"`
	With    string         `json:"with"`
	Actions []grant.Action `json:"actions"`
	Until   time.Time      `json:"until"`
}

// Run moves what there is.
func (upgradeCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	bar := p.counted("upgrading")
	defer bar.done()
	u, err := o.Upgrade(ctx, func(done, total int) { bar.at(done, total) })
	bar.done()
	if ctx.Err() != nil {
		return &failure{message: "interrupted", next: `"coffer upgrade" goes on`, err: errInterrupted}
	}
	if err != nil {
		return explain(err, `nothing is lost; "coffer upgrade" goes on`, "cannot upgrade the vault")
	}
	r := upgraded{Objects: u.Objects, Folders: u.Folders, Refused: u.Refused, Renamed: u.Renamed, Shares: []earlierShare{}}
	if r.Renamed == nil {
		r.Renamed = []string{}
	}
	var b strings.Builder
	b.WriteString("moved " + objectsText(u.Objects))
	for _, path := range u.Renamed {
		b.WriteString("\nsomething else was there: " + printable(path))
	}
	for _, s := range u.Shares {
		r.Shares = append(r.Shares, earlierShare{s.Path, s.With, s.Actions, s.Until})
		b.WriteString("\nto be shared anew: " + printable(s.Path) + " with " + printable(s.With) + " until " + timeText(s.Until))
	}
	if u.Refused > 0 {
		p.note("%s not as you left it: left alone.", objectsText(u.Refused))
	}
	return p.result(r, "%s", b.String())
}
