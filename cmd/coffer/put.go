package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"mime"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/grant"
)

type putCommand struct {
	Source string `arg:"" name:"src" help:"File or folder; - is standard input."`
	Dest   string `arg:"" name:"dest" help:"Where to keep it: below DEST if that is a folder or ends in /. Or in a share: NAME:PATH, or LINK."`
	Type   string `placeholder:"T" help:"The source is JSON: keep it as an object of this type."`
	Force  bool   `help:"Store files again whose size and time of change are those of what is stored."`

	ShareWith []string `placeholder:"WHO" help:"Contacts who can read it from the first moment on; writes their links."`
}

// Help says more.
func (putCommand) Help() string {
	return `After an interruption, the same command goes on where it stopped.

Examples:
  coffer put ~/Documents/tax tax
  pg_dump shop | coffer put - backup/shop.sql
  echo '{"customer": "ACME"}' | coffer put - invoices/17 --type Invoice
  coffer put report.pdf reports/ --share-with Bob,Carol
  coffer put summer.jpg album:2026/          # into a share that was accepted`
}

// A stored is the result for one file or object.
type stored struct {
	Path       string          `json:"path"`
	DocumentID coffer.ObjectID `json:"documentId"`
	Sequence   uint64          `json:"sequence"`
	Size       int64           `json:"size"`
	Unchanged  bool            `json:"unchanged,omitempty"` // it was there already
	Links      []link          `json:"links,omitempty"`     // of those whom it is shared with
}

// A link is how the result of storing describes one.
type link struct {
	Recipient string `json:"recipient"`
	Name      string `json:"name,omitempty"`
	Link      string `json:"link"`
}

// Run stores the source.
func (c *putCommand) Run(ctx context.Context, p *program) error {
	source, err := c.stat(p)
	if err != nil {
		return err
	}
	workers := chunksAtOnce
	if source != nil && source.IsDir() {
		workers = 1
	}
	o, err := p.open(ctx, workers)
	if err != nil {
		return err
	}
	defer o.close()
	t := &transfer{program: p, owner: o, again: c.Force}
	if t.at, err = o.spot(ctx, c.Dest); err != nil {
		return err
	}
	if err := t.at.writable(); err != nil {
		return err
	}
	if len(c.ShareWith) > 0 && t.at.shared != nil {
		return failed(coffer.Invalid, "ask the owner", "only what is in your own vault can be shared")
	}
	if t.share, err = o.readers(ctx, c.ShareWith, agent.ShareOptions{}); err != nil {
		return err
	}
	switch {
	case c.Type != "":
		err = c.object(ctx, t, source)
	case source == nil:
		err = c.stream(ctx, t)
	case source.IsDir():
		err = c.folder(ctx, t)
	default:
		err = c.file(ctx, t, source)
	}
	if ctx.Err() != nil {
		return interruptedTransfer(c.Source != "-")
	}
	if err == nil {
		o.hint(ctx)
	}
	return err
}

// stat describes the source; nil stands for standard input.
func (c *putCommand) stat(p *program) (fs.FileInfo, error) {
	if c.Source == "-" {
		if c.Dest == "-" || strings.HasSuffix(c.Dest, "/") || c.Dest == "" {
			return nil, failed(coffer.Invalid, "give the name to keep it under",
				"what comes from standard input has no name of its own")
		}
		return nil, nil
	}
	info, err := os.Stat(c.Source)
	switch {
	case err != nil:
		return nil, failed(kindOf(err), "", "cannot read %s: %v", c.Source, withoutPath(err))
	case info.IsDir() && c.Type != "":
		return nil, failed(coffer.Invalid, "give the objects one by one", "%s is a folder, and --type is for one object",
			c.Source)
	case !info.IsDir() && !info.Mode().IsRegular():
		return nil, failed(coffer.Invalid, "to store what it says, pipe it into: coffer put - DEST",
			"%s is neither a file nor a folder", c.Source)
	}
	return info, nil
}

// dest returns the path to keep a source of this name under, and what is there.
func (c *putCommand) dest(ctx context.Context, t *transfer, name string) (string, agent.Info, error) {
	if t.at.whole() {
		return "", agent.Info{}, nil
	}
	given := t.at.path
	for dest := given; ; dest = path.Join(dest, name) {
		clean, err := agent.CleanPath(dest)
		if err != nil {
			return "", agent.Info{}, explain(err, "", "cannot keep anything under %q", dest)
		}
		below := clean == "" || dest == given && strings.HasSuffix(dest, "/")
		if below && name == "" {
			return "", agent.Info{}, failed(coffer.Invalid, "give the name to keep it under",
				"what comes from standard input has no name of its own")
		}
		if below && dest == given {
			continue
		}
		there, err := t.at.agent.Stat(ctx, clean)
		switch {
		case errors.Is(err, coffer.NotExist):
			return clean, agent.Info{}, nil
		case err != nil:
			return "", there, t.at.explain(err, "", "cannot look at %s", clean)
		case !there.IsFolder():
			return clean, there, nil
		case name == "" || dest != given:
			return "", there, failed(coffer.Conflict, "remove it first, or take another name", "there is a folder at %s", clean)
		}
	}
}

// object stores a typed object.
func (c *putCommand) object(ctx context.Context, t *transfer, info fs.FileInfo) error {
	name, in := "", t.program.stdin
	if info != nil {
		f, err := openSource(c.Source)
		if err != nil {
			return err
		}
		defer f.Close()
		name, in = filepath.Base(c.Source), f
	}
	source, err := c.value(ctx, in, info)
	if err != nil {
		return err
	}
	dest, _, err := c.dest(ctx, t, name)
	if err != nil {
		return err
	}
	there, err := t.at.agent.Put(ctx, dest, source, agent.PutOptions{Share: t.share})
	if err != nil {
		return t.at.explain(err, "", "cannot store %s as an object", c.Source)
	}
	return t.stored(ctx, there, false, "stored %s, %s", t.shown(there), printable(there.Type))
}

// value reads a typed object.
func (c *putCommand) value(ctx context.Context, in io.Reader, info fs.FileInfo) (s agent.Source, err error) {
	s.Type = c.Type
	if info != nil {
		s.Modified = info.ModTime()
	}
	if s.Value, err = io.ReadAll(io.LimitReader(untilDone(ctx, in), agent.MaxValue+1)); err != nil {
		return s, explain(err, "", "cannot read %s", c.Source)
	}
	if len(s.Value) > agent.MaxValue {
		return s, failed(coffer.Invalid, "store it as a file, without --type", "an object has at most %s",
			bytesText(agent.MaxValue))
	}
	return s, nil
}

// openSource opens a file to be stored.
func openSource(name string) (*os.File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, failed(kindOf(err), "", "cannot read %s: %v", name, withoutPath(err))
	}
	return f, nil
}

// stream stores what comes from standard input.
func (c *putCommand) stream(ctx context.Context, t *transfer) error {
	dest, _, err := c.dest(ctx, t, "")
	if err != nil {
		return err
	}
	t.bar = t.program.progress(t.at.prefix+dest, -1)
	defer t.bar.done()
	source := agent.Source{Reader: untilDone(ctx, t.program.stdin), Size: -1, MIME: mediaType(dest)}
	there, err := t.at.agent.Put(ctx, dest, source, agent.PutOptions{Progress: t.counter(), Share: t.share})
	t.bar.done()
	if err != nil {
		return t.at.explain(err, "", "cannot store standard input")
	}
	return t.stored(ctx, there, false, "stored %s, %s", t.shown(there), bytesText(there.Size))
}

// file stores one file.
func (c *putCommand) file(ctx context.Context, t *transfer, info fs.FileInfo) error {
	dest, there, err := c.dest(ctx, t, filepath.Base(filepath.Clean(c.Source)))
	if err != nil {
		return err
	}
	t.bar = t.program.progress(t.at.prefix+dest, info.Size())
	defer t.bar.done()
	f, err := openSource(c.Source)
	if err != nil {
		return err
	}
	defer f.Close()
	after, unchanged, err := t.put(ctx, f, dest, there)
	t.bar.done()
	switch {
	case err != nil:
		return t.at.explain(err, "", "cannot store %s", c.Source)
	case unchanged:
		return t.stored(ctx, after, true, "%s is stored already, unchanged", t.shown(after))
	}
	return t.stored(ctx, after, false, "stored %s, %s", t.shown(after), bytesText(after.Size))
}

// mediaType returns what a file is by its name, as far as that can be told.
func mediaType(name string) string {
	media, _, _ := strings.Cut(mime.TypeByExtension(path.Ext(name)), ";")
	return media
}

// untilDone returns what r reads, up to the end of ctx: a read of a terminal or a pipe cannot be called off, but need
// not be waited for.
func untilDone(ctx context.Context, r io.Reader) io.Reader {
	out, in := io.Pipe()
	go func() { // ends with r, or with the program
		_, err := io.Copy(in, r)
		in.CloseWithError(err)
	}()
	context.AfterFunc(ctx, func() { in.CloseWithError(context.Cause(ctx)) })
	return out
}

// put stores an open file unless what is there is the same by type, size, time and mode.
func (t *transfer) put(ctx context.Context, f *os.File, dest string, there agent.Info) (after agent.Info,
	unchanged bool, err error) {
	info, err := f.Stat()
	if err != nil {
		return there, false, err
	}
	if !t.again && len(t.share) == 0 && there.Type == agent.TypeFile && there.Size == info.Size() && there.Modified.Equal(info.ModTime()) &&
		there.Mode == info.Mode().Perm() && t.asListed(ctx, there) {
		t.bar.add(info.Size())
		return there, true, nil
	}
	after, err = t.at.agent.Put(ctx, dest, agent.Source{
		Reader: f, Size: info.Size(), MIME: mediaType(dest), Modified: info.ModTime(), Mode: info.Mode(),
	}, agent.PutOptions{Progress: t.counter(), Share: t.share})
	now, statErr := f.Stat()
	changed := statErr != nil || now.Size() != info.Size() || !now.ModTime().Equal(info.ModTime())
	if changed && (err == nil || errors.Is(err, coffer.Conflict)) {
		return after, false, failed(coffer.Conflict, "run the same command again",
			"%s changed while it was being read", f.Name())
	}
	return after, false, err
}

// shown returns how a person knows what was stored.
func (t *transfer) shown(i agent.Info) string { return printable(t.at.item(i).Path) }

// result describes what was stored.
func (t *transfer) result(i agent.Info, unchanged bool) stored {
	return stored{Path: t.at.item(i).Path, DocumentID: i.ID, Sequence: i.Sequence, Size: i.Size, Unchanged: unchanged}
}

// asListed reports whether an object is what its folder says. Whoever was given an object alone to write can replace it,
// but not what its folder says of it.
func (t *transfer) asListed(ctx context.Context, there agent.Info) bool {
	if t.at.shared != nil {
		return true
	}
	t.mu.Lock()
	if t.alone == nil {
		t.alone = make(map[string]bool)
		for g, err := range t.owner.Grants(ctx) {
			if err != nil {
				break // what is stored tells
			}
			if !g.Folder && slices.Contains(g.Actions, grant.Write) {
				t.alone[path.Base(g.Path)] = true // it may have been moved since
			}
		}
	}
	doubtful := t.alone[there.Name()]
	t.mu.Unlock()
	if !doubtful {
		return true
	}
	now, err := t.at.agent.Get(ctx, there.Path)
	return err == nil && now.ID == there.ID && now.Sequence == there.Sequence
}

// stored writes the result for a single file or object, and the links of those whom it is shared with.
func (t *transfer) stored(ctx context.Context, i agent.Info, unchanged bool, format string, args ...any) error {
	v := t.result(i, unchanged)
	for n, text := range i.Links {
		v.Links = append(v.Links, link{t.share[n].With, t.owner.callName(ctx, t.share[n].With), text})
	}
	if t.program.JSON || !t.program.Quiet {
		if err := t.program.result(v, format, args...); err != nil || t.program.JSON {
			return err
		}
	}
	return t.links(v.Links)
}

// links writes links, each after the name of its reader.
func (t *transfer) links(list []link) error {
	for _, l := range list {
		if err := t.program.result(l, "%s  %s", printable(l.Name), l.Link); err != nil {
			return err
		}
	}
	return nil
}
