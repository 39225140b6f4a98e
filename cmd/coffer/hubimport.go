package main

import (
	"context"
	"errors"
	"io"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

type hubImportCommand struct {
	File  string `arg:"" help:"What \"coffer hub export\" wrote; - is standard input."`
	Cache bool   `help:"Leave out the values that, by their \"cache-intent\", a cache of another hub need not hold."`
	hubPlace
}

// Help says more.
func (hubImportCommand) Help() string {
	return `It may be done again: what is there already changes nothing.

Examples:
  coffer hub import hub.jsonl --at https://other.example`
}

// Run has the owner's hub take over what was exported.
func (c *hubImportCommand) Run(ctx context.Context, p *program) error {
	var in io.Reader = p.stdin
	bar := p.progress("importing", -1)
	defer bar.done()
	if c.File != "-" {
		f, err := openSource(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	h, err := c.own(ctx, o)
	if err != nil {
		return err
	}
	commits := hub.ReadExport(bar.read(untilDone(ctx, in)))
	if c.Cache {
		commits = hub.Cached(commits)
	}
	n, err := h.Import(ctx, commits)
	if errors.Is(err, coffer.Invalid) {
		return explain(err, `it must be all of what "coffer hub export" wrote, of your own hub`, "cannot import %s", c.File)
	}
	if errors.Is(err, coffer.Corrupt) {
		return explain(err, "what can be verified is there now", "cannot import all of it")
	}
	if err != nil {
		return o.explainHub(h, err, "cannot import all of it; the same command goes on")
	}
	bar.done()
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		New int `json:"new"`
	}{n}, "imported %d new commits", n)
}
