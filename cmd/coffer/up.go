package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/node"
)

type upCommand struct {
	Listen string `placeholder:"ADDR" help:"Address of the node, for good. Default: 127.0.0.1:4747, or another port."`
	protector
}

// A personalNode is what is kept of the personal node: where it listens. Its vaults' URLs hold the address, so it must
// not change.
type personalNode struct {
	Version int    `json:"version"`
	Listen  string `json:"listen"`
}

// Run starts the personal node, creates what is missing, says where everything is, and serves until ctx ends.
func (c *upCommand) Run(ctx context.Context, p *program) error {
	known, err := p.loadProfile()
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return err
	}
	if known != nil && !known.Personal {
		return failed(coffer.Conflict,
			`take another profile with --profile NAME, or run a node without an identity: "coffer serve"`,
			"the vault of profile %s is kept at %s", p.Profile, known.Node)
	}
	l, err := p.places()
	if err != nil {
		return err
	}
	data, err := p.nodeData()
	if err != nil {
		return err
	}
	n, err := c.openNode(ctx, p, data)
	if err != nil {
		return err
	}
	serving, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- n.Serve(serving) }()
	fail := func(err error) error {
		stop()
		return errors.Join(err, <-ended)
	}
	protection := ""
	if known == nil {
		if known, protection, err = c.create(ctx, p, l, n.Origin()); err != nil {
			return fail(err)
		}
	}
	if known.Node != n.Origin() {
		return fail(failed(coffer.Conflict, "give --listen the address that it had",
			"the vault of profile %s is at %s, but the node is at %s",
			p.Profile, known.Node, n.Origin()))
	}
	if err := c.announce(p, l, known, data, protection); err != nil {
		return fail(err)
	}
	return <-ended
}

// create makes an identity and a vault on the personal node.
func (c *upCommand) create(ctx context.Context, p *program, l places, origin string) (*profile, string, error) {
	ring, protection, err := (&initCommand{protector: c.protector}).identity(ctx, p, l)
	if err != nil {
		return nil, "", err
	}
	defer ring.Close()
	made := &profile{Node: origin, Personal: true, Space: spaceAt(origin)}
	return made, protection, p.settle(ctx, made, ring, false)
}

// openNode opens the personal node where it was before. At its first start any free port will do.
func (c *upCommand) openNode(ctx context.Context, p *program, data string) (*node.Node, error) {
	config, err := p.base("XDG_CONFIG_HOME", ".config")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(config, "node.json")
	var kept personalNode
	b, err := readSmall(file, maxProfile)
	switch {
	case err == nil:
		if err := jose.Decode(b, &kept); err != nil || kept.Version != 1 || kept.Listen == "" {
			return nil, failed(coffer.Corrupt, "write the address of the node into it, or remove it", "%s is damaged", file)
		}
	case !errors.Is(err, fs.ErrNotExist):
		return nil, explain(err, "", "cannot read %s", file)
	}
	listen := c.Listen
	switch {
	case listen == "" && kept.Listen != "":
		listen = kept.Listen
	case listen == "":
		listen = node.DefaultListen
		if l, err := net.Listen("tcp", listen); err != nil {
			listen = "127.0.0.1:0"
		} else if err := l.Close(); err != nil {
			return nil, err
		}
	}
	n, err := p.openNode(ctx, node.Config{Data: data, Listen: listen})
	if err != nil || kept.Listen == n.Addr().String() {
		return n, err
	}
	if kept.Listen != "" {
		return nil, errors.Join(n.Close(), failed(coffer.Conflict, "run it without --listen",
			"the personal node is at %s, and the vaults that it keeps are known by that", kept.Listen))
	}
	if err := writeJSONFile(file, personalNode{1, n.Addr().String()}); err != nil {
		return nil, errors.Join(explain(err, "", "cannot write %s", file), n.Close())
	}
	return n, nil
}

// announce says where everything is and what to do with it.
func (c *upCommand) announce(p *program, l places, known *profile, data, protection string) error {
	type up struct {
		identity
		Data       string `json:"data"`
		Keyring    string `json:"keyring"`
		Config     string `json:"config"`
		Protection string `json:"protection,omitempty"`
	}
	command := "coffer"
	if p.Profile != "default" {
		command += " --profile " + p.Profile
	}
	next := fmt.Sprintf("echo hello | %[1]s put - hello.txt\n  %[1]s ls -l\n  %[1]s get hello.txt -", command)
	return p.result(up{newIdentity(p, known), data, l.keyring, l.config, protection},
		"identity  %s\nvault     %s\nkeys      %s\ndata      %s\naddress   %s\n\n"+
			"Your node is running until you interrupt it. Now, in another terminal:\n\n  %s",
		known.DID, known.Vault, l.keyring, data, known.Node, next)
}
