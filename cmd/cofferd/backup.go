package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/node"
)

type backupCommand struct {
	disks
	Dir  string `arg:"" placeholder:"DIR" help:"Folder to make. There must be nothing there."`
	JSON bool   `name:"json" help:"Write what was copied as one line of JSON."`
}

// Run makes a backup: through the node if it runs, else of its disks.
func (c *backupCommand) Run(ctx context.Context, p *program) error {
	if c.Store != "" {
		return coffer.Errorf("backup", coffer.Invalid,
			"the store is a database: use pg_dump, and replication of the bucket, as doc/operating.md says")
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		return err
	}
	m, err := c.make(ctx, p, dir)
	if err != nil {
		return err
	}
	if m.Chunks == nil {
		fmt.Fprintln(p.stderr, "cofferd: the chunks are in a bucket and were not copied: keep a replica of the bucket, "+
			"in which nothing is removed before the backups that name it")
	}
	if c.JSON {
		return p.json(m)
	}
	total := m.Documents
	if m.Chunks != nil {
		total.Files += m.Chunks.Files
		total.Bytes += m.Chunks.Bytes
	}
	_, err = fmt.Fprintf(p.stdout, "copied %d files, %s\n", total.Files, sizeText(total.Bytes))
	return err
}

func (c *backupCommand) make(ctx context.Context, p *program, dir string) (*node.Manifest, error) {
	data, err := c.path(p.env)
	if err != nil {
		return nil, err
	}
	running, err := node.FindRunning(ctx, data)
	switch {
	case err == nil:
		return running.Backup(ctx, dir)
	case !errors.Is(err, coffer.NotExist):
		return nil, err
	}
	d, err := c.open(ctx, p)
	if err != nil {
		return nil, err
	}
	m, err := d.Backup(ctx, dir)
	return m, errors.Join(err, d.Close())
}
