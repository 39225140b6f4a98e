package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/node"
)

type statsCommand struct {
	disks
	JSON bool `name:"json" help:"Write one line of JSON."`
}

// Run writes what the node holds and, of one that runs, what it does.
func (c *statsCommand) Run(ctx context.Context, p *program) error {
	s, err := c.read(ctx, p)
	if err != nil {
		return err
	}
	if c.JSON {
		return p.json(s)
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	row := func(name string, value any) { fmt.Fprintf(w, "%s\t%v\n", name, value) }
	row("vaults", s.Documents.Vaults)
	row("documents", s.Documents.Documents)
	row("changes", s.Documents.Changes)
	row("bytes of quotas", sizeText(s.Documents.Bytes))
	row("store, on disk", sizeText(s.Documents.Disk))
	if s.Chunks != nil {
		row("chunks", s.Chunks.Count)
		row("chunks, bytes", sizeText(s.Chunks.Bytes))
	}
	if n := s.Node; n != nil {
		row("running for", time.Duration(n.Uptime*float64(time.Second)).Round(time.Second))
		row("requests", n.Requests)
		row("requests that failed", n.Failed)
		row("requests refused", n.Refused)
		in, wait := n.InFlight, n.Waiting
		row("requests under way", in.Small+in.Medium+in.Large)
		row("requests waiting", wait.Small+wait.Medium+wait.Large)
		row("feeds followed", in.Follower)
		row("memory", sizeText(n.Memory))
		row("store's caches", sizeText(s.Documents.Memory))
	}
	return w.Flush()
}

// read asks the node that runs with the data folder, or looks at the disks when there is none.
func (c *statsCommand) read(ctx context.Context, p *program) (*node.Stats, error) {
	if data, err := c.path(p.env); err == nil {
		running, err := node.FindRunning(ctx, data)
		if err == nil {
			return running.Stats(ctx)
		}
		if !errors.Is(err, coffer.NotExist) {
			return nil, err
		}
	}
	d, err := c.open(ctx, p)
	if err != nil {
		return nil, err
	}
	s, err := d.Stats(ctx, true)
	return s, errors.Join(err, d.Close())
}
