package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

type getCommand struct {
	Path string `arg:"" help:"File, object or folder; the link of a share (coffer:…); or a document's id (z19…)."`
	Out  string `arg:"" help:"Where to put it: below OUT if that is a folder; - is standard output."`
}

// A fetched is the result for one file or object.
type fetched struct {
	item
	Out string `json:"out"`
}

// Run fetches what is named.
func (c *getCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	defer o.close()
	t := &transfer{program: p, owner: o}
	if isLink(c.Path) {
		err = c.link(ctx, t)
	} else if id, notID := coffer.ParseObjectID(c.Path); notID == nil {
		err = c.byID(ctx, t, id)
	} else {
		err = c.byPath(ctx, t)
	}
	if ctx.Err() != nil {
		return interruptedTransfer(c.Out != "-")
	}
	return err
}

// byPath fetches what the owner keeps under the path.
func (c *getCommand) byPath(ctx context.Context, t *transfer) error {
	there, err := t.owner.Stat(ctx, c.Path)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, `see what there is with "coffer ls -r"`, "there is no %s in the vault", c.Path)
	}
	if err != nil {
		return explain(err, "", "cannot look at %s", shown(c.Path))
	}
	if there.IsFolder() {
		return c.folder(ctx, t, there.Path)
	}
	object, err := t.owner.Get(ctx, there.Path)
	if err != nil {
		return explain(err, "", "cannot get %s", c.Path)
	}
	return c.single(ctx, t, object)
}

// byID fetches a document of the vault, whoever wrote it.
func (c *getCommand) byID(ctx context.Context, t *transfer, id coffer.ObjectID) error {
	object, err := t.owner.GetID(ctx, id)
	if errors.Is(err, coffer.NotExist) {
		return failed(coffer.NotExist, "", "there is no such document in the vault, or none for you")
	}
	if err != nil {
		return explain(err, "", "cannot get the document")
	}
	return c.single(ctx, t, object)
}

// link fetches what somebody shared.
func (c *getCommand) link(ctx context.Context, t *transfer) error {
	l, guest, err := t.program.follow(t.owner, c.Path)
	if err != nil {
		return err
	}
	if len(l.Objects) == 1 {
		object, err := guest.GetID(ctx, l.Objects[0].ID)
		if err != nil {
			return explainShare(explain(err, "", "cannot get what was shared"))
		}
		return c.single(ctx, t, object)
	}
	return c.shared(ctx, t, guest, l)
}

// isLink reports whether a path or destination is the link of a share.
func isLink(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), "coffer:") }

// follow opens the text of a link, and returns an agent for the vault that it leads to.
func (p *program) follow(o *owner, text string) (*agent.Link, *agent.Agent, error) {
	l, err := agent.OpenLink(text)
	if err != nil {
		return nil, nil, explain(err, "ask for it again, and take all of it", "this is not the link of a share")
	}
	origin, _, _ := strings.Cut(l.Vault, "/edvs/")
	client, err := p.dial(origin, o.ring)
	if err != nil {
		return nil, nil, err
	}
	capabilities := make([][]byte, len(l.Objects))
	for i, s := range l.Objects {
		capabilities[i] = s.Capability
	}
	vault, err := client.Vault(l.Vault, capabilities...)
	if errors.Is(err, coffer.Denied) {
		return nil, nil, failed(coffer.Denied, `"coffer whoami" says who you are`, "this link is for somebody else")
	}
	if err != nil {
		return nil, nil, explain(err, "ask for it again, and take all of it", "this is not the link of a share")
	}
	return l, o.In(vault), nil
}

// explainShare says why what was shared may be refused.
func explainShare(err error) error {
	if kind := kindOf(err); kind == coffer.NotExist || kind == coffer.Denied {
		return &failure{
			kind: kind, message: "the node refuses: the share was revoked, has ended, or what was shared is gone",
			next: "ask who shared it", err: err,
		}
	}
	return err
}

// single writes one object to OUT.
func (c *getCommand) single(ctx context.Context, t *transfer, o *agent.Object) error {
	if c.Out == "-" {
		return c.toStdout(ctx, t, o)
	}
	name := o.Name()
	if name == "" {
		name = o.ID.String() + ".json"
	}
	out := c.Out
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
		return explain(err, "", "cannot %s", doing(err, c.Path, out))
	}
	if t.program.Quiet && !t.program.JSON {
		return nil
	}
	return t.program.result(fetched{newItem(o.Info), out}, "wrote %s, %s", printable(out), bytesText(o.Size))
}

// doing says what failed: to write here, or to get it from there.
func doing(err error, what, out string) string {
	if local(err) {
		return "write " + out
	}
	if isLink(what) {
		what = "what was shared"
	}
	return "get " + what
}

// toStdout writes one object to standard output. What is written before a failure is from the beginning of the object.
func (c *getCommand) toStdout(ctx context.Context, t *transfer, o *agent.Object) error {
	if !isTerminal(t.program.stdout) {
		t.bar = t.program.progress(o.Name(), o.Size)
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

// sharedFolder returns the folder that holds all of the paths.
func sharedFolder(paths []string) string {
	if len(paths) == 0 {
		return ""
	}
	folder := path.Dir(paths[0])
	for _, p := range paths {
		for folder != "." && !strings.HasPrefix(p, folder+"/") {
			folder = path.Dir(folder)
		}
	}
	if folder == "." {
		return ""
	}
	return folder
}
