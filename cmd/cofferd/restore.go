package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/cofferhq/coffer/node"
)

type restoreCommand struct {
	disks
	From string `required:"" placeholder:"DIR" help:"The backup: a folder that cofferd backup made."`
}

// Run makes a data folder of a backup, and writes a line for each thing that is wrong with the backup.
func (c *restoreCommand) Run(ctx context.Context, p *program) error {
	config, err := c.config(p.env)
	if err != nil {
		return err
	}
	shown := p.progress()
	var failed error // to write
	m, err := node.Restore(ctx, c.From, config, func(what string) {
		shown.clear()
		_, err := fmt.Fprintln(p.stdout, what)
		failed = errors.Join(failed, err)
	}, func(c node.Census) {
		shown.show(fmt.Sprintf("checking: %d chunks, %d MB read", c.Chunks, c.Bytes/1e6))
	})
	shown.clear()
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	_, err = fmt.Fprintf(p.stdout, "restored the state of %s\n", m.Time.Format("2006-01-02 15:04:05 MST"))
	return err
}
