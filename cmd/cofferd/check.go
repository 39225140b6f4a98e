package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/node"
)

type checkCommand struct {
	disks
	Rebuild bool `help:"First make anew what the store derives from documents: indexes and usage. No other node may be using it."`
	JSON    bool `name:"json" help:"Write lines of JSON."`
}

// errWrong is the failure of a check that found something.
var errWrong = errors.New("the store is damaged")

// A finding is a line of what a check writes: what is wrong, what was made anew, or, as the last one, how much was
// read.
type finding struct {
	Wrong   string       `json:"wrong,omitempty"`
	Rebuilt string       `json:"rebuilt,omitempty"`
	Count   *int         `json:"count,omitempty"` // of what is wrong
	Read    *node.Census `json:"read,omitempty"`
}

// Run verifies the disks and writes a line for each thing that is wrong.
func (c *checkCommand) Run(ctx context.Context, p *program) error {
	d, err := c.open(ctx, p)
	if err != nil {
		return err
	}
	write := func(f finding) error {
		switch {
		case c.JSON:
			return p.json(f)
		case f.Wrong != "":
			_, err = fmt.Fprintln(p.stdout, f.Wrong)
		case f.Rebuilt != "":
			_, err = fmt.Fprintln(p.stdout, "made anew:", f.Rebuilt)
		}
		return err
	}
	shown := p.progress()
	var failed error // to write
	note := func(f finding) {
		shown.clear()
		failed = errors.Join(failed, write(f))
	}
	if c.Rebuild {
		shown.show("making anew what is derived")
		err = d.Rebuild(ctx, func(what string) { note(finding{Rebuilt: what}) })
	}
	wrong := 0
	var read node.Census
	if err == nil {
		shown.show("checking")
		err = d.Check(ctx, func(what string) {
			wrong++
			note(finding{Wrong: what})
		}, func(c node.Census) {
			read = c
			shown.show(fmt.Sprintf("checking: %d chunks, %d MB read", c.Chunks, c.Bytes/1e6))
		})
	}
	shown.clear()
	if err = errors.Join(err, failed, d.Close()); err != nil {
		return err
	}
	if c.JSON {
		err = p.json(finding{Count: &wrong, Read: &read})
	} else if wrong == 0 {
		_, err = fmt.Fprintln(p.stdout, "all is well")
	}
	if wrong > 0 {
		return fmt.Errorf("%w: %d things are wrong", errWrong, wrong)
	}
	return err
}
