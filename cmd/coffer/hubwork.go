package main

import (
	"context"

	"github.com/cofferhq/coffer/agent/hub"
)

type hubWorkCommand struct {
	Kind []string `arg:"" optional:"" help:"Kinds (CONTEXT/TYPE) to go through in any case."`
	hubKind
	hubPlace
}

// Help says more.
func (hubWorkCommand) Help() string {
	return `Ends permissions that have expired, encrypts anew what others could read, and sends the keys of what is new to those who
may read it: to readers of single objects, of what a filter matches, or of what others left. It may be interrupted at
any time, and goes on the next time, on whichever device. Of kinds that you name, what is left of files that never came
whole is removed after a day.

Examples:
  coffer hub work
  coffer hub work schema.org/Order`
}

// Run does what permissions leave to be done.
func (c *hubWorkCommand) Run(ctx context.Context, p *program) error {
	var kinds []hub.Kind
	for _, text := range c.Kind {
		k, err := c.kind(text)
		if err != nil {
			return err
		}
		kinds = append(kinds, k)
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
	bar := p.counted("encrypting anew")
	defer bar.done()
	at := make(map[hub.Kind]hub.Progress)
	sum := func() (s hub.Progress) {
		for _, one := range at {
			s.Seen, s.Done, s.Left = s.Seen+one.Seen, s.Done+one.Done, s.Left+one.Left
		}
		return s
	}
	for now, err := range h.Work(ctx, kinds...) {
		if ctx.Err() != nil {
			return &failure{
				message: "interrupted: not all is encrypted anew yet", next: `"coffer hub work" goes on`, err: errInterrupted,
			}
		}
		if err != nil {
			return o.explainHub(h, err, "cannot encrypt all of it anew")
		}
		at[now.Kind] = now
		s := sum()
		bar.at(s.Done, max(s.Seen, s.Done))
	}
	bar.done()
	s := sum()
	if s.Left > 0 {
		p.note("Could not be opened, and stays as it is: %s.", objectsText(s.Left))
	}
	if p.Quiet && !p.JSON {
		return nil
	}
	text := "nothing is left to do"
	if s.Done > 0 {
		text = "encrypted anew: " + objectsText(s.Done)
	}
	return p.result(struct {
		Done int `json:"done"`
		Left int `json:"left"`
	}{s.Done, s.Left}, "%s", text)
}
