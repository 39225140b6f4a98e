package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

// A hubSource is what is kept as the bytes of an object.
type hubSource struct {
	io.Reader
	name  string // "" for standard input
	size  int64  // -1: not known
	close func() error
}

// hubSource opens a file, or standard input, for the caller to close.
func (p *program) hubSource(ctx context.Context, name string) (*hubSource, error) {
	if name == "-" {
		return &hubSource{untilDone(ctx, p.stdin), "", -1, func() error { return nil }}, nil
	}
	f, err := openSource(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	switch {
	case err != nil:
		err = explain(err, "", "cannot read %s", name)
	case !info.Mode().IsRegular():
		err = failed(coffer.Invalid, "to keep what it says, pipe it into: coffer hub put KIND --file -", "%s is no file", name)
	default:
		return &hubSource{f, filepath.Base(name), info.Size(), f.Close}, nil
	}
	return nil, errors.Join(err, f.Close())
}

// A mediaObject is what is said of bytes of which nothing else is said: the members of MediaObject of schema.org.
type mediaObject struct {
	Type     string `json:"@type"`
	Name     string `json:"name,omitempty"`
	Encoding string `json:"encodingFormat,omitempty"`
	Size     string `json:"contentSize,omitempty"`
}

// described returns the value for bytes of a kind, by what is known of them.
func (s *hubSource) described(k hub.Kind) any {
	m := mediaObject{Type: k.Type, Name: s.name, Encoding: mediaType(s.name)}
	if s.size >= 0 {
		m.Size = bytesText(s.size)
	}
	return m
}

// putFile keeps an object with its bytes.
func (p *program) putFile(ctx context.Context, h *hub.Hub, k hub.Kind, value any, s *hubSource,
	o *hub.PutOptions) (coffer.CommitRev, error) {
	bar := p.progress(cmp.Or(s.name, kindText(k)), s.size)
	defer bar.done()
	var before int64
	o.Progress = func(done int64) {
		bar.add(done - before)
		before = done
	}
	id, err := h.PutFile(ctx, k, value, s, o)
	if ctx.Err() != nil {
		err = interruptedTransfer(false)
	}
	return id, err
}

// getFile writes the bytes of an object to a file, or to standard output.
func (o *owner) getFile(ctx context.Context, h *hub.Hub, k hub.Kind, id coffer.CommitRev, out string) error {
	p := o.program
	f, err := h.OpenFile(ctx, k, id)
	switch {
	case errors.Is(err, coffer.Invalid):
		return failed(coffer.Invalid, "without --file you get its value", "the object has no bytes beside its value")
	case errors.Is(err, coffer.NotExist):
		return errNoObject()
	case err != nil:
		return o.explainHub(h, err, "cannot get the object")
	}
	defer f.Close()
	size := f.Object.File.Size
	copyTo := func(w io.Writer, bar *progress) error {
		_, err := io.Copy(bar.write(w), f)
		bar.done()
		if ctx.Err() != nil {
			return interruptedTransfer(false)
		}
		return err
	}
	if out == "-" {
		var bar *progress
		if !isTerminal(p.stdout) {
			bar = p.progress(short(id), size)
		}
		return o.explainHub(h, copyTo(p.stdout, bar), "what was written is not all of it")
	}
	if info, err := os.Stat(out); err == nil && info.IsDir() {
		return failed(coffer.Conflict, "give the name of a file", "there is a folder at %s", out)
	}
	root, err := os.OpenRoot(filepath.Dir(out))
	if err != nil {
		return failed(kindOf(err), "make its folder first", "cannot write %s: %v", out, withoutPath(err))
	}
	defer root.Close()
	err = replaceFile(root, filepath.Base(out), 0o600, func(w *os.File, _ string) error {
		return copyTo(w, p.progress(out, size))
	})
	if err != nil {
		return o.explainHub(h, err, "cannot %s", doing(err, short(id), out))
	}
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		hubObject
		Out string `json:"out"`
	}{newHubObject(h, f.Object), out}, "wrote %s, %s", printable(out), bytesText(size))
}
