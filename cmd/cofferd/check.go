package main

import (
	"context"
	"errors"
	"fmt"
)

type checkCommand struct {
	dataFolder
}

// errWrong is the failure of a check that found something.
var errWrong = errors.New("the store is damaged")

// Run verifies the store and writes a line for each thing that is wrong.
func (c *checkCommand) Run(ctx context.Context, p *program) error {
	data, err := c.path(p.env)
	if err != nil {
		return err
	}
	n, err := openExisting(ctx, data)
	if err != nil {
		return err
	}
	wrong := 0
	err = n.Check(ctx, func(what string) {
		wrong++
		fmt.Fprintln(p.stdout, what)
	})
	if err = errors.Join(err, n.Close()); err != nil {
		return err
	}
	if wrong > 0 {
		return fmt.Errorf("%w: %d things are wrong", errWrong, wrong)
	}
	_, err = fmt.Fprintln(p.stdout, "all is well")
	return err
}
