package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// What goes between this program and other clients of encrypted data vaults: they reach documents by their ids, and read
// what is sealed to their X25519 keys.

// A foreignShare is the result of sharing with such a client: all that it needs.
type foreignShare struct {
	URL        string          `json:"url"`
	Key        string          `json:"key"`
	With       string          `json:"with"`
	Until      time.Time       `json:"until"`
	Capability json.RawMessage `json:"capability"`
}

// foreign seals one object to another client's key, and writes what the client needs.
func (c *shareCommand) foreign(ctx context.Context, p *program) error {
	if c.Path == "" || c.Type != "" || c.Group != "" || len(c.With) > 0 || len(c.Fields) > 0 || c.Write {
		return failed(coffer.Invalid, `see "coffer share --help"`, "--edv is for reading one object, and goes with --until alone")
	}
	var o agent.ForeignOptions
	var err error
	if c.Until != "" {
		if o.Until, err = parseUntil(c.Until, p.now()); err != nil {
			return err
		}
	}
	owner, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer owner.close()
	if o.Key, o.With, err = owner.ForeignKey(ctx, c.Edv); err != nil {
		return explain(err, "give its DID, or the id of an X25519 key of it", "cannot find a key to seal to")
	}
	s, err := owner.ShareForeign(ctx, c.Path, o)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", c.Path)
	}
	if err != nil {
		return explain(err, "", "cannot share %s", c.Path)
	}
	p.note("The node can now see who can read this document. It holds what is there now: after each change, share it again.")
	r := foreignShare{URL: s.URL, Key: s.Key, With: s.With, Until: s.Until, Capability: s.Capability}
	return writeJSON(p.stdout, r) // for a program, with or without --json
}

// A foreignDocument is the result for a document of another client's that was written to a file.
type foreignDocument struct {
	ID  string `json:"documentId"`
	Out string `json:"out"`
}

// foreign fetches a document of another client's, by its id: its stream, or else its content.
func (c *getCommand) foreign(ctx context.Context, o *owner) error {
	out := c.Path // the only one that there is
	if c.Out != "" {
		return failed(coffer.Invalid, `see "coffer get --help"`, "with --id, say only where to put it")
	}
	id, err := coffer.ParseObjectID(c.ID)
	if err != nil {
		return explain(err, "", "%q is no document id", c.ID)
	}
	d, err := o.GetForeign(ctx, id)
	if errors.Is(err, coffer.Invalid) {
		return explain(err, "get it by its path", "cannot get %s", c.ID)
	}
	if err != nil {
		return explain(err, "", "cannot get %s", c.ID)
	}
	source := io.ReadCloser(io.NopCloser(bytes.NewReader(d.Content)))
	if d.Stream {
		if source, err = d.Open(ctx); err != nil {
			return explain(err, "", "cannot read %s", c.ID)
		}
	}
	defer source.Close()
	if out == "-" || out == "" && !d.Stream {
		_, err := io.Copy(o.program.stdout, source)
		return explain(err, "", "cannot get %s", c.ID)
	}
	if info, err := os.Stat(out); out == "" || err == nil && info.IsDir() {
		out = filepath.Join(out, id.String()) // its content says what it wants to be called, which is not to be believed
	}
	if err := keepForeign(source, out); err != nil {
		return explain(err, "", "cannot write %s", out)
	}
	return o.program.result(foreignDocument{id.String(), out}, "wrote %s", printable(out))
}

// keepForeign writes a file once all of it is there.
func keepForeign(source io.Reader, out string) (err error) {
	partial, err := os.CreateTemp(filepath.Dir(out), ".coffer-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			partial.Close()
			os.Remove(partial.Name())
		}
	}()
	if _, err := io.Copy(partial, source); err != nil {
		return err
	}
	if err := partial.Close(); err != nil {
		return err
	}
	return os.Rename(partial.Name(), out)
}
