package tree

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// edit makes a change. If it fails, nothing has changed.
func (t *Tree) edit(change func() error) error {
	t.edits++
	t.editing = true
	root := t.root
	err := change()
	for i := 0; err == nil && i < len(t.touched); i++ { // what is done here may touch more
		if s := t.touched[i]; t.sheets[s.ref.ID] == s {
			if err = t.settle(s); err == nil {
				err = t.note(s)
			}
		}
	}
	if err != nil {
		for _, f := range slices.Backward(t.undo) {
			f()
		}
		t.root = root
	}
	t.editing, t.undo, t.touched = false, nil, nil
	return err
}

// own makes a page ours to change. Denied without its write key.
func (t *Tree) own(s *sheet) error {
	if s.edit == t.edits {
		return nil
	}
	if s.ref.Write == (seal.WriteKey{}) {
		return coffer.Errorf("tree", coffer.Denied, "the tree is seen without its write keys")
	}
	before := *s
	t.undo = append(t.undo, func() { *s = before })
	t.touched = append(t.touched, s)
	s.body, s.page, s.dirty, s.edit = s.body.clone(), nil, true, t.edits
	return nil
}

// add makes a new page, whose link the caller puts into parent. It may hold rows of the parent, which become its own.
// Corrupt when the id is that of another page: ids of new pages are those of folders, which others may have written.
func (t *Tree) add(ref seal.Ref, parent *sheet, b *body) (*sheet, error) {
	if t.sheets[ref.ID] != nil || t.drop[ref.ID] || t.seen[ref.ID] {
		return nil, corrupt("two folders have one id")
	}
	s := &sheet{ref: ref, parent: parent, body: b, dirty: true, edit: t.edits}
	if err := t.adopt(&b.top, parent, s); err != nil {
		return nil, err
	}
	t.sheets[ref.ID] = s
	t.undo = append(t.undo, func() { delete(t.sheets, ref.ID) })
	t.touched = append(t.touched, s)
	return s, nil
}

// discard drops a page to which nothing leads any more.
func (t *Tree) discard(s *sheet) {
	id := s.ref.ID
	delete(t.sheets, id)
	t.undo = append(t.undo, func() { t.sheets[id] = s })
	if s.stored && !t.drop[id] {
		t.drop[id] = true
		t.undo = append(t.undo, func() { delete(t.drop, id) })
	}
}

// adopt makes what a folder holds, which stood in one page, stand in another.
func (t *Tree) adopt(f *folder, from, to *sheet) error {
	if err := t.reparent(f, from, to); err != nil {
		return err
	}
	return f.rewrap(from.ref.Write, to.ref.Write)
}

// reparent tells the loaded pages that are linked in the folder, or in a folder inline below it, that their links now
// stand in another page.
func (t *Tree) reparent(f *folder, from, to *sheet) error {
	move := func(l *link) error {
		child := t.sheets[l.id]
		if child == nil {
			return nil
		}
		if child.parent != from {
			return corrupt("a page is linked twice")
		}
		child.parent = to
		t.undo = append(t.undo, func() { child.parent = from })
		return nil
	}
	for _, l := range f.subs {
		if err := move(l); err != nil {
			return err
		}
	}
	for _, r := range f.rows {
		var err error
		switch r.kind {
		case inline:
			err = t.reparent(&r.in, from, to)
		case paged:
			err = move(&r.link)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// rewrap wraps the write keys in a folder, and in the folders inline below it, under another page's.
func (f *folder) rewrap(from, to seal.WriteKey) error {
	for i, l := range f.subs {
		w := anew(from, to, l)
		c := *l
		c.write = w
		f.subs[i] = &c
	}
	for i, r := range f.rows {
		if r.kind == inline {
			if err := r.in.rewrap(from, to); err != nil {
				return err
			}
			continue
		}
		w := anew(from, to, &r.link)
		c := *r
		c.write = w
		f.rows[i] = &c
	}
	return nil
}

// anew wraps a link's write key under another page's. One that was not wrapped under the first stays what it is, and
// no more of use: who may write a page must not keep its owner from giving it new keys.
func anew(from, to seal.WriteKey, l *link) wrapped {
	w, err := rewrap(from, to, l.id, l.write)
	if err != nil {
		return l.write
	}
	return w
}

// relink changes the link of s in its parent's page.
func (t *Tree) relink(s *sheet, change func(*link)) error {
	if err := t.own(s.parent); err != nil {
		return err
	}
	if !s.parent.body.top.relink(s.ref.ID, change) {
		return corrupt("a page is not linked where it was found")
	}
	return nil
}

func (f *folder) relink(id coffer.ObjectID, change func(*link)) bool {
	for i, l := range f.subs {
		if l.id == id {
			c := *l
			change(&c)
			f.subs[i] = &c
			return true
		}
	}
	for i, r := range f.rows {
		if r.kind == paged && r.id == id {
			c := *r
			change(&c.link)
			f.rows[i] = &c
			return true
		}
		if r.in.relink(id, change) {
			return true
		}
	}
	return false
}

// linkOf returns the link of the page with this id in the folder and the folders inline below it, nil if there is none.
func (f *folder) linkOf(id coffer.ObjectID) *link {
	for _, l := range f.subs {
		if l.id == id {
			return l
		}
	}
	for _, r := range f.rows {
		if r.kind == paged && r.id == id {
			return &r.link
		}
		if l := r.in.linkOf(id); l != nil {
			return l
		}
	}
	return nil
}

// Put makes the node a file at the path, in place of the file that is there, and makes the folders that are missing.
// Its Name is not looked at; an empty Type is TypeFile. Conflict if a folder is at the path or a file on the way;
// Invalid for the root and for what cannot be kept; Exhausted if the entry does not fit into a page.
//
// A node of a smaller epoch than [Tree.EpochFor] returns is kept, and due at once.
func (t *Tree) Put(ctx context.Context, path string, n Node) error {
	names, err := segments(path)
	if err != nil {
		return err
	}
	return t.edit(func() error {
		return t.insert(ctx, names, n.Modified, func(s *sheet, there *row) (*row, error) {
			if there != nil && there.kind != file {
				return nil, coffer.Errorf("tree", coffer.Conflict, "a folder is at the path")
			}
			r, err := newRow(Base(path), n, s.ref.Write)
			if err == nil && there != nil && there.due > r.epoch {
				r.due = there.due
			}
			return r, err
		})
	})
}

// MakeFolder makes a folder at the path, and those that are missing on the way. Nothing changes if it is there.
// Conflict if a file is at the path or on the way.
func (t *Tree) MakeFolder(ctx context.Context, path string, modified time.Time) error {
	names, err := segments(path)
	if err != nil || len(names) == 0 {
		return err
	}
	if _, r, err := t.walk(ctx, names, false, nil); err != nil || r != nil && r.kind != file {
		return err
	}
	return t.edit(func() error {
		return t.insert(ctx, names, modified, func(_ *sheet, there *row) (*row, error) {
			if there != nil {
				return nil, coffer.Errorf("tree", coffer.Conflict, "a file is at the path")
			}
			return newFolderRow(Base(path), modified)
		})
	})
}

// insert puts a row at a path, and makes the folders that are missing. The row is made for the page in which it will
// stand, knowing what is there.
func (t *Tree) insert(ctx context.Context, names []string, modified time.Time,
	build func(s *sheet, there *row) (*row, error)) error {
	if len(names) == 0 {
		return coffer.Errorf("tree", coffer.Invalid, "the path is the root's")
	}
	deep := 0 // how many of the names lead to p, the last not counted
	p, there, err := t.walk(ctx, names, true, func(place, *row) error { deep++; return nil })
	if err != nil {
		return err
	}
	if there != nil {
		deep = len(names) - 1
	}
	f := p.folder()
	if len(f.subs) > 0 { // divided, and no sub-page is for this name
		if p, err = t.addSub(p.s, hashOf(f.id, names[deep])); err != nil {
			return err
		}
	}
	if err := t.own(p.s); err != nil {
		return err
	}
	r, err := build(p.s, there)
	if err != nil {
		return err
	}
	for _, name := range slices.Backward(names[deep : len(names)-1]) {
		outer, err := newFolderRow(name, modified)
		if err != nil {
			return err
		}
		outer.in.rows = []*row{r}
		r = outer
	}
	p.folder().set(r)
	return t.fit(p.s)
}

// Remove removes the file or the empty folder at the path. NotExist if there is nothing, Conflict if the folder is not
// empty, Invalid for the root.
func (t *Tree) Remove(ctx context.Context, path string) error {
	if path == "" {
		return coffer.Errorf("tree", coffer.Invalid, "the root cannot be removed")
	}
	return t.edit(func() error {
		p, r, err := t.look(ctx, path, true, nil)
		if err != nil {
			return err
		}
		if r.kind != file {
			in, err := t.enter(ctx, p, r, true)
			if err != nil {
				return err
			}
			if f := in.folder(); len(f.rows)+len(f.subs) > 0 {
				return coffer.Errorf("tree", coffer.Conflict, "the folder is not empty")
			}
			if r.kind == paged {
				t.discard(in.s)
			}
		}
		if err := t.own(p.s); err != nil {
			return err
		}
		p.folder().remove(r.name)
		return t.shrink(ctx, p.s)
	})
}

// Cut removes what is at the path with all below it, at most limit files per call, and returns the nodes of the files
// that it removed. Done says that nothing is left: the last call removed the folder itself, too, but never the root.
// What is in pages that cannot be read is not returned, and those pages are not erased. NotExist if there is nothing at
// the path; Invalid for a limit below 1.
func (t *Tree) Cut(ctx context.Context, path string, limit int) (nodes []Node, done bool, err error) {
	if limit < 1 {
		return nil, false, coffer.Errorf("tree", coffer.Invalid, "the limit must be positive")
	}
	err = t.edit(func() error {
		p, r, err := t.look(ctx, path, true, nil)
		if err != nil {
			return err
		}
		c := &cut{t: t, ctx: ctx, limit: limit}
		if r == nil {
			done, err = c.folder(p, 0)
			nodes = c.nodes
			return err
		}
		if done, err = c.row(p, r, 0); err != nil {
			return err
		}
		if nodes = c.nodes; done {
			return t.shrink(ctx, p.s)
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return nodes, done, nil
}

// maxNesting is how many folders and sub-pages one walk goes down. Folders that are moved can come to lie deeper than
// paths reach.
const maxNesting = 1024

// A cut removes files until its limit is reached.
type cut struct {
	t     *Tree
	ctx   context.Context
	limit int
	nodes []Node
}

// row removes a row and all below it, as far as the limit lets it.
func (c *cut) row(p place, r *row, depth int) (bool, error) {
	if r.kind == file {
		if len(c.nodes) == c.limit {
			return false, nil
		}
		n, err := r.node(p.s.ref.Write)
		if err != nil {
			return false, err
		}
		c.nodes = append(c.nodes, n)
	} else {
		in, err := c.t.enter(c.ctx, p, r, true)
		switch {
		case errors.Is(err, coffer.Corrupt): // it cannot be read, and what it named cannot be told
		case err != nil:
			return false, err
		default:
			if done, err := c.folder(in, depth+1); err != nil || !done {
				return false, err
			}
			if r.kind == paged {
				c.t.discard(in.s)
			}
		}
	}
	if err := c.t.own(p.s); err != nil {
		return false, err
	}
	p.folder().remove(r.name)
	return true, nil
}

// folder removes all that is in a folder, as far as the limit lets it.
func (c *cut) folder(p place, depth int) (bool, error) {
	if depth > maxNesting {
		return false, corrupt("folders are nested too deep")
	}
	f := p.folder()
	for _, l := range slices.Backward(slices.Clone(f.subs)) {
		in, err := c.t.into(c.ctx, p, l, f.id, true)
		switch {
		case errors.Is(err, coffer.Corrupt): // as above
		case err != nil:
			return false, err
		default:
			if done, err := c.folder(in, depth+1); err != nil || !done {
				return false, err
			}
			c.t.discard(in.s)
		}
		if err := c.t.own(p.s); err != nil {
			return false, err
		}
		p.folder().removeSub(l.id)
	}
	for _, r := range slices.Backward(slices.Clone(f.rows)) {
		if done, err := c.row(p, r, depth); err != nil || !done {
			return false, err
		}
	}
	return true, nil
}

// Move moves a file, or a folder with all in it, and makes the folders that are missing on the way. Ids and keys stay;
// what was due stays due. NotExist if there is nothing at from, Conflict if something is at to, Invalid for the root,
// into the folder itself, and where what stands in the same page would come to lie deeper than [MaxDepth]. What is in
// pages further below may come to lie too deep, or at too long a path, to be reached until a folder above moves back.
//
// Who could read the folder that it stood in knows its keys: renew it if he is not to read on.
func (t *Tree) Move(ctx context.Context, from, to string) error {
	names, err := segments(to)
	if err != nil {
		return err
	}
	if from == "" || to == "" {
		return coffer.Errorf("tree", coffer.Invalid, "the root cannot be moved, or moved to")
	}
	return t.edit(func() error {
		p, r, err := t.look(ctx, from, true, nil)
		if err != nil {
			return err
		}
		if from != to && Within(to, from) {
			return coffer.Errorf("tree", coffer.Invalid, "a folder cannot be moved into itself")
		}
		if from == to {
			return coffer.Errorf("tree", coffer.Conflict, "something is at the path")
		}
		if len(names)+r.in.height() > MaxDepth {
			return coffer.Errorf("tree", coffer.Invalid, "would be nested too deep")
		}
		if r.kind == paged && r.epoch < p.due { // what is due in it is noted in its page
			if _, err := t.enter(ctx, p, r, true); err != nil {
				return err
			}
			r = p.folder().get(r.name)
		}
		c := *r
		c.name, c.in = names[len(names)-1], r.in.clone()
		if c.kind == file && c.epoch < p.due || c.kind == inline && !c.in.settled(p.due) {
			c.due = max(c.due, p.due)
		}
		if err := t.own(p.s); err != nil {
			return err
		}
		p.folder().remove(r.name)
		err = t.insert(ctx, names, r.modified, func(s *sheet, there *row) (*row, error) {
			if there != nil {
				return nil, coffer.Errorf("tree", coffer.Conflict, "something is at the path")
			}
			one := folder{rows: []*row{&c}}
			err := t.adopt(&one, p.s, s)
			return one.rows[0], err
		})
		if err != nil {
			return err
		}
		return t.shrink(ctx, p.s)
	})
}

// height returns how many levels of rows the folder has in its page.
func (f *folder) height() (n int) {
	for _, r := range f.rows {
		n = max(n, 1+r.in.height())
	}
	return n
}

// SetShared notes whether the keys of what is at the path were given to somebody: [Node.Shared]. The page is to be
// written then, even if it said so before. NotExist if there is nothing, Invalid for the root.
func (t *Tree) SetShared(ctx context.Context, path string, shared bool) error {
	if path == "" {
		return coffer.Errorf("tree", coffer.Invalid, "the root has no mark")
	}
	return t.edit(func() error {
		p, r, err := t.look(ctx, path, true, nil)
		if err != nil {
			return err
		}
		// Noted already or not, the page is written: that tells nothing then.
		if err := t.own(p.s); err != nil {
			return err
		}
		f := p.folder()
		c := *f.get(r.name)
		c.shared = shared
		f.set(&c)
		return t.fit(p.s)
	})
}

// Dirty returns what a commit must write and erase so that the tree is found again as it is: pages in the order of
// their ids, and the ids of pages that no longer are. Called again it returns the same, until the next change.
func (t *Tree) Dirty() (put []*Page, drop []coffer.ObjectID) {
	byID := func(a, b coffer.ObjectID) int { return bytes.Compare(a[:], b[:]) }
	for _, id := range slices.SortedFunc(maps.Keys(t.sheets), byID) {
		if s := t.sheets[id]; s.dirty {
			if s.page == nil {
				s.page = newPage(s.ref, s.body.clone())
			}
			put = append(put, s.page)
		}
	}
	return put, slices.SortedFunc(maps.Keys(t.drop), byID)
}
