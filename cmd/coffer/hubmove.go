package main

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
)

type hubMoveCommand struct {
	URL    string `arg:"" help:"Where your hub is to be: the address of a node."`
	NoCopy bool   `help:"What there is, is there already, or is not wanted there."`
}

// Help says more.
func (hubMoveCommand) Help() string {
	return `Copies all to the hub at another node and uses that one from now on, with this profile. The old one keeps what it has.
Your vault stays where it is: so the node that keeps it need not know who you are. Your other devices need it with
--no-copy, too.

Examples:
  coffer hub move https://other.example
  coffer hub import hub.jsonl --at https://other.example && coffer hub move https://other.example --no-copy`
}

// Run copies the owner's hub, and notes where it is now.
func (c *hubMoveCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	e, err := o.endpointAt(ctx, c.URL)
	if err != nil {
		return err
	}
	if e.URL == o.profile.hub() {
		return failed(coffer.Conflict, "", "your hub is there already")
	}
	to, err := (&hubPlace{At: e.URL}).own(ctx, o)
	if err != nil {
		return err
	}
	if err := o.beginHub(ctx, e.URL); err != nil {
		return o.explainHub(to, err, "cannot use the hub at %s", e.URL)
	}
	n := 0
	if !c.NoCopy {
		from, err := o.ownHub(ctx)
		if err != nil {
			return err
		}
		bar := p.counted("copying")
		defer bar.done()
		done := 0
		n, err = to.Import(ctx, func(yield func(*coffer.Commit, error) bool) {
			for commit, err := range from.Export(ctx) {
				bar.at(done, done+1)
				if done++; !yield(commit, err) {
					return
				}
			}
		})
		bar.done()
		if errors.Is(err, coffer.Corrupt) {
			return explain(err, "what can be verified is there now; to go without the rest, add --no-copy", "cannot copy all of it")
		}
		if err != nil {
			return o.explainHub(to, err, "cannot copy all of it; the same command goes on")
		}
	}
	if o.profile.HubAt = e.URL; e.URL == o.profile.Node+hubPath {
		o.profile.HubAt = ""
	}
	if err := p.saveProfile(o.profile); err != nil {
		return err
	}
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		Hub string `json:"hub"`
		New int    `json:"new"`
	}{e.URL, n}, "your hub is at %s now; copied %d commits", e.URL, n)
}
