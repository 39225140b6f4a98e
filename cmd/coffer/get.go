package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type getCommand struct {
	Path string `arg:"" optional:"" help:"File, object or folder. Or of a share: NAME:PATH, LINK, or LINK:PATH."`
	Out  string `arg:"" optional:"" help:"Where to put it: below OUT if that is a folder; - is standard output. Default: here, under its name."`
	ID   string `name:"id" placeholder:"ID" help:"Instead of PATH: the document that another client of encrypted data vaults wrote."`
}

// Help says more.
func (getCommand) Help() string {
	return `After an interruption, the same command goes on where it stopped.

Examples:
  coffer get tax/2025.pdf .
  coffer get tax ~/restored
  coffer get backup/shop.sql - | psql shop
  coffer get "coffer:AbC…" report.pdf
  coffer get album:2025/summer.jpg
  coffer get --id z19pjAGaCdp2EkKzUcvdSf9wG -`
}

// A fetched is the result for one file or object.
type fetched struct {
	item
	Out string `json:"out"`
}

// Run fetches what is named.
func (c *getCommand) Run(ctx context.Context, p *program) error {
	if c.Path == "" && c.ID == "" {
		return failed(coffer.Invalid, `see "coffer get --help"`, "say what to get")
	}
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	if c.ID != "" {
		return c.foreign(ctx, o)
	}
	s, err := o.spot(ctx, c.Path)
	if err != nil {
		return err
	}
	err = c.at(ctx, &transfer{program: p, owner: o, at: s})
	if ctx.Err() != nil {
		return interruptedTransfer(c.Out != "-")
	}
	return err
}

// at fetches what is at the spot.
func (c *getCommand) at(ctx context.Context, t *transfer) error {
	s := t.at
	if !s.whole() {
		there, err := s.agent.Stat(ctx, s.path)
		if errors.Is(err, coffer.NotExist) {
			return s.missing(c.Path, err)
		}
		if err != nil {
			return s.explain(err, "", "cannot look at %s", shown(c.Path))
		}
		if there.IsFolder() {
			return c.folder(ctx, t, there.Path)
		}
	}
	object, err := s.agent.Get(ctx, s.path)
	if err != nil {
		return s.explain(err, "", "cannot get %s", shown(c.Path))
	}
	return c.single(ctx, t, object)
}

// single writes one object to OUT.
func (c *getCommand) single(ctx context.Context, t *transfer, o *agent.Object) error {
	if c.Out == "-" {
		return c.toStdout(ctx, t, o)
	}
	name := t.at.name(o.Path)
	out := c.Out
	if out == "" {
		out = "."
	}
	info, err := os.Stat(out)
	switch {
	case err == nil && info.IsDir():
		out = filepath.Join(out, name)
	case strings.HasSuffix(out, "/"):
		return failed(coffer.NotExist, "make it first", "there is no folder %s", c.Out)
	}
	folder := filepath.Dir(out)
	if info, err := os.Stat(folder); err == nil && !info.IsDir() {
		return failed(coffer.Conflict, "", "%s is not a folder", folder)
	}
	// What follows the folder is a single name, whatever it says of itself.
	root, err := os.OpenRoot(folder)
	if err != nil {
		return failed(kindOf(err), "make its folder first", "cannot write %s: %v", c.Out, withoutPath(err))
	}
	defer root.Close()
	t.bar = t.program.progress(name, o.Size)
	defer t.bar.done()
	err = t.save(ctx, o, root, filepath.Base(out))
	t.bar.done()
	if err != nil {
		return t.at.explain(err, "", "cannot %s", doing(err, c.Path, out))
	}
	if t.program.Quiet && !t.program.JSON {
		return nil
	}
	return t.program.result(fetched{t.at.item(o.Info), out}, "wrote %s, %s", printable(out), bytesText(o.Size))
}

// doing says what failed: to write here, or to get it from there.
func doing(err error, what, out string) string {
	if local(err) {
		return "write " + out
	}
	return "get " + shown(what)
}

// toStdout writes one object to standard output. What is written before a failure is from the beginning of the object.
func (c *getCommand) toStdout(ctx context.Context, t *transfer, o *agent.Object) error {
	if !isTerminal(t.program.stdout) {
		t.bar = t.program.progress(t.at.name(o.Path), o.Size)
	}
	defer t.bar.done()
	r := o.Open(ctx)
	defer r.Close()
	if _, err := io.Copy(t.program.stdout, t.bar.read(r)); err != nil {
		return explain(err, "what was written until now is incomplete", "cannot get all of it")
	}
	return nil
}

// save writes an object to a file below a folder, with its mode and its time of change. A long one that is interrupted
// goes on the next time.
func (t *transfer) save(ctx context.Context, o *agent.Object, root *os.Root, name string) error {
	mode := o.Mode.Perm()
	if mode == 0 {
		mode = 0o600
	}
	changed := func(name string) error {
		if o.Modified.IsZero() {
			return nil
		}
		return root.Chtimes(name, o.Modified, o.Modified)
	}
	if o.Size > agent.MaxInline {
		if f, err := openPartial(root, partialName(name, o.ID)); err == nil {
			return f.fill(name, mode&^t.program.umask, changed, func(place string) (bool, error) {
				return o.Resume(ctx, f, place, t.counter())
			})
		}
	}
	return replaceFile(root, name, mode, func(f *os.File, temporary string) error {
		if err := o.WriteTo(ctx, f, t.counter()); err != nil {
			return err
		}
		return changed(temporary)
	})
}

// inside returns a path below a folder, without the folder.
func inside(p, folder string) string {
	if folder == "" {
		return p
	}
	return strings.TrimPrefix(p, folder+"/")
}
