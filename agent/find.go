package agent

import (
	"context"
	"errors"
	"io"
	"iter"
	"mime"
	"path"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/search"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/internal/lucene"
)

// Find yields what meets a query in the syntax of Lucene (doc/query.md), in no particular order: by words of names, by
// type, media type, size and time, by the fields of typed objects, and by the words of texts. Invalid for what is no
// query. What the agent keeps for itself does not show. Sequence, Mode and Author are not set: only the index is read.
//
// The vault sees that some sealed objects are read, which hold parts of the index, and nothing of the query.
func (a *Agent) Find(ctx context.Context, query string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		q, err := lucene.Parse(query)
		if err == nil && a.guest != nil {
			err = coffer.Errorf("find", coffer.Invalid, "what somebody else shared cannot be searched")
		}
		seen := make(map[coffer.ObjectID]bool)
		for again := 0; err == nil; again++ {
			var more bool
			number := a.number()
			if more, err = a.findOnce(ctx, q, seen, yield); !more {
				return
			}
			// Parts of the index may have been joined, and gone, while it was read.
			if a.torn(ctx, number, again, err) {
				err = nil
			}
		}
		yield(Info{}, err)
	}
}

// findOnce yields what was not seen before. It reports false when nothing more is to be yielded.
func (a *Agent) findOnce(ctx context.Context, q *lucene.Query, seen map[coffer.ObjectID]bool,
	yield func(Info, error) bool) (more bool, err error) {
	v, err := a.look(ctx)
	if err != nil {
		return true, err
	}
	x, err := a.index(v.head)
	if err != nil {
		return true, err
	}
	for found, err := range x.Find(ctx, q) {
		if err != nil {
			return true, err
		}
		if seen[found.ID] {
			continue
		}
		i, err := hit(ctx, x, found)
		if errors.Is(err, coffer.NotExist) {
			continue // not by a path that can be named
		}
		if err != nil {
			return true, err
		}
		seen[found.ID] = true
		if !yield(i, nil) {
			return false, nil
		}
	}
	return false, nil
}

// hit describes what the index found. The index is part of the same commits as the folders, and needs no look at them.
func hit(ctx context.Context, x *search.Index, h search.Hit) (Info, error) {
	p, err := x.Path(ctx, h.ID)
	if err != nil {
		return Info{}, err
	}
	if p == "" || tree.Within(p, reserved) {
		return Info{}, coffer.Errorf("find", coffer.NotExist, "the agent's own")
	}
	return Info{ID: h.ID, Path: p, Type: h.Type, MIME: h.MIME, Size: h.Size, Modified: h.Modified}, nil
}

// index returns the search index as a head has it.
func (a *Agent) index(h *head) (*search.Index, error) {
	var deltas []search.Delta
	for _, e := range h.Log {
		if e.Delta == nil {
			continue
		}
		d, err := search.DecodeDelta(e.Delta)
		if err != nil {
			return nil, err
		}
		deltas = append(deltas, *d)
	}
	return search.Open((*blocks)(a), h.Index, deltas)
}

// blocks keeps the index's blocks as sealed objects: each is written once.
type blocks Agent

// Get implements [search.Blocks].
func (b *blocks) Get(ctx context.Context, ref seal.Ref) ([]byte, error) {
	a := (*Agent)(b)
	if data := a.parts.get(ref); data != nil {
		return data, nil
	}
	if d := a.cached(ctx, ref.ID); d != nil {
		if r, err := a.open(ctx, ref, a.mine, d); err == nil {
			return a.part(ref, r)
		}
	}
	r, err := a.read(ctx, ref, a.mine)
	if err != nil {
		return nil, gone(err)
	}
	if a.feed.follows() {
		a.keep(ctx, r.doc)
	}
	return a.part(ref, r)
}

// part returns what a block holds, and remembers it.
func (a *Agent) part(ref seal.Ref, r *revision) ([]byte, error) {
	data, err := blockData(r)
	if err == nil {
		a.parts.put(ref, data)
	}
	return data, err
}

// parts remembers opened blocks of the index, which never change, up to [maxParts] bytes.
type parts struct {
	mu    sync.Mutex
	byRef map[seal.Ref][]byte
	order []seal.Ref // oldest first
	size  int
}

const maxParts = 48 << 20

func (p *parts) get(ref seal.Ref) []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.byRef[ref]
}

func (p *parts) put(ref seal.Ref, data []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.byRef == nil {
		p.byRef = make(map[seal.Ref][]byte)
	}
	if p.byRef[ref] != nil {
		return
	}
	p.byRef[ref], p.order, p.size = data, append(p.order, ref), p.size+len(data)
	for p.size > maxParts {
		p.size -= len(p.byRef[p.order[0]])
		delete(p.byRef, p.order[0])
		p.order = p.order[1:]
	}
}

func blockData(r *revision) ([]byte, error) {
	c, err := decodeContent(r.opened.Content)
	if err != nil || c.Type != TypeFile {
		return nil, coffer.Errorf("index", coffer.Corrupt, "not a part of the index")
	}
	return c.Data, nil
}

// Put implements [search.Blocks]. A block is padded to a multiple of the size of a record: a small one looks like a page.
func (b *blocks) Put(ctx context.Context, data [][]byte) ([]seal.Ref, error) {
	a := (*Agent)(b)
	var refs []seal.Ref
	var writes []coffer.Write
	flush := func() error {
		if len(writes) == 0 {
			return nil
		}
		changes, err := a.Vault.Apply(ctx, writes...)
		if err == nil {
			err = a.wrote(changes)
		}
		writes = nil
		return err
	}
	for _, d := range data {
		c := content{Type: TypeFile, Data: d, Size: int64(len(d))}
		content, err := c.encode()
		if err != nil {
			return nil, err
		}
		ref := seal.NewRef()
		doc, err := a.seal(ctx, ref, nil, seal.Plain{Content: content},
			seal.ObjectOptions{Size: (len(content) + recordSize - maxRecord + recordSize - 1) / recordSize * recordSize})
		if err != nil {
			return nil, err
		}
		refs, writes = append(refs, ref), append(writes, coffer.Write{Document: doc})
		if a.feed.follows() {
			a.keep(ctx, doc)
		}
		if len(writes) == 64 {
			if err := flush(); err != nil {
				return nil, err
			}
		}
	}
	return refs, flush()
}

// Drop implements [search.Blocks].
func (b *blocks) Drop(ctx context.Context, refs ...seal.Ref) error {
	a := (*Agent)(b)
	for _, r := range refs {
		if _, err := a.Vault.Apply(ctx, coffer.Write{Erase: r.ID}); err != nil && !errors.Is(err, coffer.NotExist) {
			return err
		}
		a.drop(ctx, r.ID)
	}
	return nil
}

// indexed makes what can be searched for of an object part of the commit, and keeps what else says something of it what
// it is.
func (t *txn) indexed(ctx context.Context, path string, n tree.Node, c *content, renamed bool) error {
	if t.a.guest != nil || tree.Within(path, reserved) {
		return nil
	}
	if err := t.linked(ctx, n, renamed); err != nil {
		return err
	}
	if err := t.excerpted(ctx, n.Ref.ID, c); err != nil {
		return err
	}
	parent, err := t.indexFolders(ctx, tree.FolderOf(path))
	if err != nil {
		return err
	}
	d := search.Document{
		ID: n.Ref.ID, Folder: parent, Name: n.Name, Type: n.Type, MIME: n.MIME, Size: n.Size, Modified: n.Modified,
		Value: c.Value, Text: c.text,
	}
	if d.Text == "" && isText(n.MIME, n.Name) && utf8.Valid(c.Data) {
		d.Text = string(c.Data)
	}
	t.found(d)
	return nil
}

// indexFolders makes the folders of a path findable that are new, and returns the id of the innermost.
func (t *txn) indexFolders(ctx context.Context, folder string) (id coffer.ObjectID, err error) {
	if folder == "" || t.a.guest != nil {
		return id, nil
	}
	chain, err := t.tree.Chain(ctx, folder)
	if err != nil {
		return id, err
	}
	for i, n := range chain {
		if t.fresh[n.Ref.ID] {
			d := search.Document{ID: n.Ref.ID, Folder: id, Name: n.Name, Type: TypeFolder, Modified: n.Modified}
			t.found(d)
		}
		id = chain[i].Ref.ID
	}
	return id, nil
}

// moved makes the new name of what is at a path findable.
func (t *txn) moved(ctx context.Context, path string) error {
	if t.a.guest != nil {
		return nil
	}
	n, err := t.tree.Get(ctx, path)
	if err != nil {
		return err
	}
	if n.Type != TypeFolder {
		r, err := t.a.readNode(ctx, t.view, n)
		if err != nil {
			return gone(err)
		}
		c, err := decodeContent(r.opened.Content)
		if err != nil {
			return err
		}
		return t.indexed(ctx, path, n, c, true)
	}
	parent, err := t.indexFolders(ctx, tree.FolderOf(path))
	if err != nil {
		return err
	}
	t.found(search.Document{ID: n.Ref.ID, Folder: parent, Name: n.Name, Type: TypeFolder, Modified: n.Modified})
	return nil
}

// found makes what can be searched for of a document part of the commit, in the place of what was before.
func (t *txn) found(d search.Document) {
	t.unfound(d.ID)
	t.delta.Removed = slices.DeleteFunc(t.delta.Removed, func(id coffer.ObjectID) bool { return id == d.ID })
	t.delta.Documents = append(t.delta.Documents, d)
}

// unfound makes part of the commit that something cannot be found any more.
func (t *txn) unfound(id coffer.ObjectID) {
	if t.a.guest != nil {
		return
	}
	t.delta.Documents = slices.DeleteFunc(t.delta.Documents, func(d search.Document) bool { return d.ID == id })
	if !slices.Contains(t.delta.Removed, id) {
		t.delta.Removed = append(t.delta.Removed, id)
	}
}

// maxFullText is how many bytes of a text are searched.
const maxFullText = 256 << 10

// isText reports whether a file is text, by its media type or else by its name.
func isText(media, name string) bool {
	if media == "" {
		media = mime.TypeByExtension(path.Ext(name))
	}
	return strings.HasPrefix(media, "text/") || strings.HasPrefix(media, "application/json") ||
		media == "" && path.Ext(name) == ""
}

// textOf reads the beginning of a text as far as it is searched.
func textOf(r io.Reader) string {
	b, err := io.ReadAll(io.LimitReader(r, maxFullText))
	if err != nil {
		return ""
	}
	for i := 0; i < utf8.UTFMax && len(b) > 0 && !utf8.Valid(b); i++ {
		b = b[:len(b)-1] // cut within a letter
	}
	if !utf8.Valid(b) {
		return ""
	}
	return string(b)
}
