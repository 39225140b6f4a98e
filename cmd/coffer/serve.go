package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/node"
)

// nodeMemory is what a node in this process holds itself to, softly, and what of it the store may have.
const (
	nodeMemory  = 192 << 20
	storeMemory = 32 << 20
)

type serveCommand struct {
	Listen  string `default:"127.0.0.1:4747" placeholder:"ADDR" help:"Address to listen at. Default: ${default}."`
	Data    string `placeholder:"DIR" help:"Folder of all that the node keeps. Default: coffer/node in XDG_DATA_HOME."`
	Origin  string `placeholder:"URL" help:"Scheme and host under which clients know the node. Default: the address."`
	TLSCert string `name:"tls-cert" placeholder:"FILE" help:"Certificate for HTTPS."`
	TLSKey  string `name:"tls-key" placeholder:"FILE" help:"Key of the certificate."`
}

// Run runs a node until ctx ends. A provider for others runs cofferd, which has limits and quotas.
func (c *serveCommand) Run(ctx context.Context, p *program) error {
	data := c.Data
	if data == "" {
		var err error
		if data, err = p.nodeData(); err != nil {
			return err
		}
	}
	n, err := p.openNode(ctx, node.Config{
		Data: data, Listen: c.Listen, Origin: c.Origin, TLSCert: c.TLSCert, TLSKey: c.TLSKey,
	})
	if err != nil {
		return err
	}
	if err := p.result(map[string]string{"node": n.Origin(), "data": data}, "listening on %s", n.Origin()); err != nil {
		return errors.Join(err, n.Close())
	}
	return n.Serve(ctx)
}

// openNode opens a node in this process. Only what goes wrong is logged.
func (p *program) openNode(ctx context.Context, c node.Config) (*node.Node, error) {
	if p.env("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(nodeMemory)
	}
	level := slog.LevelWarn
	if p.Quiet {
		level = slog.LevelError
	}
	options := &slog.HandlerOptions{Level: level}
	c.Log = slog.New(slog.NewTextHandler(p.stderr, options))
	if p.JSON {
		c.Log = slog.New(slog.NewJSONHandler(p.stderr, options))
	}
	c.Memory = storeMemory
	if c.Limits.Document == 0 {
		c.Limits.Document, c.Limits.Chunk = 16<<20, 16<<20
	}
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, explain(err, "", "cannot make a place for the node's data")
	}
	n, err := node.Open(ctx, c)
	if kind := kindOf(err); kind == coffer.Unavailable || kind == coffer.Locked {
		return nil, explain(err, fmt.Sprintf("is a node running already at %s, or on the same data?", c.Listen),
			"cannot start the node")
	}
	return n, explain(err, "", "cannot start the node")
}
