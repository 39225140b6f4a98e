package main

import (
	"context"
	"errors"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/node"
)

// disks are the flags that say where a node keeps what it keeps: the same for every command.
type disks struct {
	Data  string `placeholder:"DIR" help:"Folder of everything that the node keeps, but for what --store and --blobs say. Default: cofferd in XDG_DATA_HOME."`
	Store string `placeholder:"URL" help:"Database for the documents, which several nodes may share: postgres://user:password@host:port/database. Default: in the data folder."`
	Blobs string `placeholder:"URL" help:"Bucket for the chunks: s3://host:port/bucket, or s3+http:// without TLS. Keys may stand in AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY. Default: in the data folder, which serves one node only, whatever the store."`
}

// config returns what the flags say.
func (d disks) config(env func(string) string) (node.Config, error) {
	c := node.Config{
		Store: d.Store, Blobs: d.Blobs, Version: version(),
		Access: node.Access{
			Key: env("AWS_ACCESS_KEY_ID"), Secret: env("AWS_SECRET_ACCESS_KEY"), Token: env("AWS_SESSION_TOKEN"),
		},
	}
	var err error
	c.Data, err = d.path(env)
	return c, err
}

// path returns the data folder, by the XDG base directory specification if none was given.
func (d disks) path(env func(string) string) (string, error) {
	if d.Data != "" {
		return filepath.Abs(d.Data)
	}
	if base := env("XDG_DATA_HOME"); filepath.IsAbs(base) {
		return filepath.Join(base, "cofferd"), nil
	}
	if home := env("HOME"); filepath.IsAbs(home) {
		return filepath.Join(home, ".local", "share", "cofferd"), nil
	}
	return "", coffer.Errorf("data folder", coffer.Invalid, "there is no home directory: give --data DIR")
}

// elsewhere reports whether nothing but keys is in the data folder.
func (d disks) elsewhere() bool { return d.Store != "" && d.Blobs != "" }

// open opens the disks of a node that does not run, or whose disks are shared.
func (d disks) open(ctx context.Context, p *program) (*node.Disks, error) {
	c, err := d.config(p.env)
	if err != nil && !d.elsewhere() {
		return nil, err
	}
	opened, err := node.OpenDisks(ctx, c)
	if errors.Is(err, coffer.Locked) {
		return nil, coffer.Errorf("data folder", coffer.Locked, "the node is running: stop it first")
	}
	return opened, err
}
