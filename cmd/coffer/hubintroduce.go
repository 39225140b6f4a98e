package main

import (
	"context"
	"time"

	"github.com/cofferhq/coffer"
)

type hubIntroduceCommand struct {
	Who   string `arg:"" help:"Contact or identifier; or \"everybody\"."`
	Until string `default:"30d" placeholder:"TIME" help:"Until when it is good, as for \"coffer share\". Default: 30d."`
}

// Help says more.
func (hubIntroduceCommand) Help() string {
	return `Messages that come with it are taken as from somebody known: the sender need not do the work that your node may ask of
strangers, nor keep to the bounds that they have.

Examples:
  coffer hub introduce Bob
  coffer hub introduce everybody --until 7d >contact-form.txt
  coffer send Alice "hello" --introduction "$(cat contact-form.txt)"     # at Bob's`
}

// Run makes an introduction.
func (c *hubIntroduceCommand) Run(ctx context.Context, p *program) error {
	until, err := parseUntil(c.Until, p.now())
	if err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	did, err := o.grantee(ctx, c.Who)
	if err != nil {
		return err
	}
	h, err := o.ownHub(ctx)
	if err != nil {
		return err
	}
	text, err := h.Introduce(ctx, did, until)
	if err != nil {
		return explain(err, "", "cannot make an introduction")
	}
	r := struct {
		Introduction string    `json:"introduction"`
		Sender       string    `json:"sender,omitempty"`
		Until        time.Time `json:"until"`
	}{text, did, until}
	if did == coffer.Everybody {
		r.Sender = ""
	}
	return p.result(r, "%s", text)
}
