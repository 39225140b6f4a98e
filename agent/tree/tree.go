// Package tree keeps the names of a vault in pages: a cryptree whose pages all look the same from outside.
//
// A page is the content of a sealed object of [PageSize] bytes. It holds the entries of a folder: files, each with the
// [seal.Ref] that opens it, and folders. A small folder stands in its parent's page with all it holds, so that many
// small folders look like one flat one. When a page is full a folder in it moves to a page of its own; a folder that is
// too large for one page is divided among sub-pages by the hashes of its names. Who has a page's Ref can read all
// below it; who has its write key, too, can change all below it. doc/tree.md is the format.
//
// The package does no I/O, reads no clock and seals nothing. Pages come through a [Loader], and [Tree.Dirty] tells what
// a commit must write and erase.
//
// # New keys
//
// An entry has the epoch under which its key was made. Where a reader was cut off, a folder is renewed
// ([Tree.Renew]): its page gets new keys at once, and all keys below that are of a smaller epoch are due. Pages get new
// keys when something below them is written and when [Tree.Due] goes through them; files get them from the caller, who
// seals them anew and puts them back. That something waits for keys is noted in the pages on the way to it, so that a
// walk passes over all the rest.
package tree

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// Types of nodes that the tree knows. All others are of typed objects, which are kept like files.
const (
	TypeFile   = "File"
	TypeFolder = "Folder"
)

// A Node is what stands at a path.
type Node struct {
	// Ref opens what stands there. A folder's ID is its identity, for as long as it lives; the keys are those of its
	// page, and zero while it stands in another's. Write is zero when the tree is seen without write keys.
	Ref      seal.Ref
	Name     string // last segment of the path; "" for the root
	Type     string // TypeFolder for folders
	MIME     string
	Size     int64
	Modified time.Time // the zero time when not known; 1970-01-01 00:00 UTC is not told from it
	Mode     fs.FileMode
	Sequence uint64
	Rev      coffer.Rev
	Epoch    uint64 // under which Ref's keys were made; 0 for folders without keys of their own, and for the root
	Shared   bool   // the keys were given to somebody; set by Put and SetShared
}

// A Loader returns the page that was sealed at a Ref, by [Decode] or from a cache. It should fail with NotExist when
// there is none; the tree makes that Corrupt, as it only asks for pages that must be there.
type Loader func(ctx context.Context, ref seal.Ref) (*Page, error)

// A Tree is one state of a folder and all below it, with the changes made to it. What was loaded is remembered. It is
// for one goroutine at a time.
//
// Paths are relative to the tree's root and clean ([CleanPath]); others are Invalid. All methods may fail with the
// loader's errors, and with Corrupt when a page is not what its writer made or is reached in two ways. A failed method
// has changed nothing. Methods that change something are Denied in a tree without a write key.
type Tree struct {
	root   seal.Ref
	load   Loader
	max    int // bytes of a page's content
	atOnce int // how many sub-pages Renew renews itself
	sheets map[coffer.ObjectID]*sheet
	drop   map[coffer.ObjectID]bool
	seen   map[coffer.ObjectID]bool // pages that were ever fetched

	// The edit that is being made.
	editing bool
	edits   uint64
	undo    []func()
	touched []*sheet
}

// A sheet is a page as the tree holds it.
type sheet struct {
	ref    seal.Ref
	parent *sheet // the page that holds its link; nil for the root
	body   *body
	page   *Page  // as loaded, or as last encoded; nil when it has changed since
	dirty  bool   // it must be written
	stored bool   // it was loaded, so it must be erased when it is dropped
	edit   uint64 // the edit in which body was last made ours to change
}

// At returns the tree whose root page is at the Ref.
func At(root seal.Ref, load Loader) *Tree {
	return &Tree{
		root: root, load: load, max: MaxContent, atOnce: renewAtOnce,
		sheets: make(map[coffer.ObjectID]*sheet), drop: make(map[coffer.ObjectID]bool), seen: make(map[coffer.ObjectID]bool),
	}
}

// Edits counts the changes that were tried: while it is the same, nothing has changed.
func (t *Tree) Edits() uint64 { return t.edits }

// Root returns the Ref of the root page. Renewing the root changes it.
func (t *Tree) Root() seal.Ref { return t.root }

// A place is a folder of the tree.
type place struct {
	s     *sheet
	names []string // of the folders inline on the way to it, from the page's own
	due   uint64   // keys in it, but for pages of later epochs, must be of at least this epoch
}

// folder returns what the page holds of the folder. It is good until the page is changed.
func (p place) folder() *folder { return p.s.body.top.at(p.names) }

// at returns the folder inline that these names lead to.
func (f *folder) at(names []string) *folder {
	for _, n := range names {
		f = &f.get(n).in
	}
	return f
}

// top returns the root folder.
func (t *Tree) top(ctx context.Context) (place, error) {
	s := t.sheets[t.root.ID]
	if s == nil {
		var err error
		if s, err = t.fetch(ctx, t.root, t.root.ID, ""); err != nil {
			return place{}, err
		}
		t.sheets[t.root.ID] = s
	}
	return place{s: s, due: s.body.due}, nil
}

// fetch loads a page, which must be what is expected there.
func (t *Tree) fetch(ctx context.Context, ref seal.Ref, folder coffer.ObjectID, prefix string) (*sheet, error) {
	p, err := t.load(ctx, ref)
	switch {
	case errors.Is(err, coffer.NotExist):
		return nil, corrupt("a page is missing")
	case err != nil:
		return nil, err
	case p == nil || p.ref.ID != ref.ID || p.body.top.id != folder || p.body.prefix != prefix:
		return nil, corrupt("a page is not the one that belongs there")
	}
	t.seen[ref.ID] = true
	return &sheet{ref: ref, body: p.body, page: p, stored: true}, nil
}

// open returns the page that a link in s leads to. A page has one place: what is linked from a second is Corrupt, so
// that no pages, whoever made them, lead in a circle or to more work than there are pages.
func (t *Tree) open(ctx context.Context, s *sheet, l *link, folder coffer.ObjectID) (*sheet, error) {
	if child := t.sheets[l.id]; child != nil {
		if child.parent != s || child.body.top.id != folder || child.body.prefix != l.prefix {
			return nil, corrupt("a page is linked twice")
		}
		return child, nil
	}
	if t.drop[l.id] {
		return nil, corrupt("a page is linked twice")
	}
	ref, err := s.refOf(l)
	if err != nil {
		return nil, err
	}
	child, err := t.fetch(ctx, ref, folder, l.prefix)
	if err != nil {
		return nil, err
	}
	child.parent = s
	t.sheets[l.id] = child
	if t.editing { // s may be a page that is not, when the edit fails
		t.undo = append(t.undo, func() { delete(t.sheets, l.id) })
	}
	return child, nil
}

// refOf returns the Ref of a page that is linked in s.
func (s *sheet) refOf(l *link) (seal.Ref, error) {
	write, err := unwrap(s.ref.Write, l.id, l.write)
	return seal.Ref{ID: l.id, Key: l.key, Write: write}, err
}

// find returns the row of a name in a folder, nil if there is none, and the place in which it stands or would: for a
// divided folder, that is one of its sub-pages. With edit the pages on the way get the keys that are due.
func (t *Tree) find(ctx context.Context, p place, name string, edit bool) (place, *row, error) {
	f := p.folder()
	if len(f.subs) > 0 {
		for hash := hashOf(f.id, name); len(f.subs) > 0; f = p.folder() {
			i := slices.IndexFunc(f.subs, func(l *link) bool { return strings.HasPrefix(hash, l.prefix) })
			if i < 0 {
				return p, nil, nil
			}
			var err error
			if p, err = t.into(ctx, p, f.subs[i], f.id, edit); err != nil {
				return p, nil, err
			}
		}
	}
	return p, f.get(name), nil
}

// into returns the place to which a link in p leads.
func (t *Tree) into(ctx context.Context, p place, l *link, folder coffer.ObjectID, edit bool) (place, error) {
	s, err := t.open(ctx, p.s, l, folder)
	if err != nil {
		return place{}, err
	}
	due := s.body.due
	if l.epoch < p.due {
		if edit {
			if err := t.renew(s, p.due); err != nil {
				return place{}, err
			}
		}
		due = max(due, p.due)
	}
	return place{s: s, due: due}, nil
}

// enter returns the folder that a row in p is.
func (t *Tree) enter(ctx context.Context, p place, r *row, edit bool) (place, error) {
	switch r.kind {
	case inline:
		return place{s: p.s, names: append(slices.Clip(p.names), r.name), due: max(p.due, r.due)}, nil
	case paged:
		return t.into(ctx, p, &r.link, r.id, edit)
	}
	return place{}, errFile
}

// errFile is what is wrong with a path that goes on behind a file.
var errFile = coffer.Errorf("tree", coffer.Conflict, "a file is where a folder should be")

// walk returns the place and the row at a path below the root, the row nil if there is none. Each folder on the way is
// handed to see with the place in which it stands. Conflict for a file on the way.
func (t *Tree) walk(ctx context.Context, names []string, edit bool, see func(place, *row) error) (place, *row, error) {
	p, err := t.top(ctx)
	for i, name := range names {
		if err != nil {
			break
		}
		var r *row
		if p, r, err = t.find(ctx, p, name, edit); err != nil || r == nil || i == len(names)-1 {
			return p, r, err
		}
		if see != nil && r.kind != file {
			if err = see(p, r); err != nil {
				break
			}
		}
		p, err = t.enter(ctx, p, r, edit)
	}
	return p, nil, err
}

// look is walk for what must be there: NotExist if it is not.
func (t *Tree) look(ctx context.Context, path string, edit bool, see func(place, *row) error) (place, *row, error) {
	names, err := segments(path)
	if err != nil {
		return place{}, nil, err
	}
	p, r, err := t.walk(ctx, names, edit, see)
	if errors.Is(err, errFile) || err == nil && r == nil && len(names) > 0 {
		err = notExist()
	}
	return p, r, err
}

func notExist() error { return coffer.Errorf("tree", coffer.NotExist, "nothing is at the path") }

// Get returns what is at the path. "" is the root, a folder without a name.
func (t *Tree) Get(ctx context.Context, path string) (Node, error) {
	p, r, err := t.look(ctx, path, false, nil)
	switch {
	case err != nil:
		return Node{}, err
	case r == nil:
		return Node{Ref: t.root, Type: TypeFolder}, nil
	}
	return r.node(p.s.ref.Write)
}

// Chain returns the folders that hold what is at the path, outermost first and without the root, and then that itself.
// For the root it returns just the root.
func (t *Tree) Chain(ctx context.Context, path string) ([]Node, error) {
	var chain []Node
	add := func(p place, r *row) error {
		n, err := r.node(p.s.ref.Write)
		chain = append(chain, n)
		return err
	}
	p, r, err := t.look(ctx, path, false, add)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return []Node{{Ref: t.root, Type: TypeFolder}}, nil
	}
	if err := add(p, r); err != nil {
		return nil, err
	}
	return chain, nil
}

// List yields what is in a folder, in the order of names; "" is the root. NotExist if there is no such folder. All
// pages of the folder are loaded before the first is yielded. Changes made meanwhile do not show.
func (t *Tree) List(ctx context.Context, path string) iter.Seq2[Node, error] {
	return func(yield func(Node, error) bool) {
		type standing struct {
			*row
			page seal.WriteKey
		}
		var all []standing
		var gather func(place) error
		gather = func(p place) error {
			f := p.folder()
			for _, l := range f.subs {
				below, err := t.into(ctx, p, l, f.id, false)
				if err == nil {
					err = gather(below)
				}
				if err != nil {
					return err
				}
			}
			for _, r := range f.rows {
				all = append(all, standing{r, p.s.ref.Write})
			}
			return nil
		}
		p, err := t.lookFolder(ctx, path, false)
		if err == nil {
			err = gather(p)
		}
		if err != nil {
			yield(Node{}, err)
			return
		}
		slices.SortFunc(all, func(a, b standing) int { return strings.Compare(a.name, b.name) })
		for _, r := range all {
			if n, err := r.node(r.page); !yield(n, err) || err != nil {
				return
			}
		}
	}
}

// lookFolder returns the folder at a path: NotExist if there is none.
func (t *Tree) lookFolder(ctx context.Context, path string, edit bool) (place, error) {
	p, r, err := t.look(ctx, path, edit, nil)
	switch {
	case err != nil || r == nil:
		return p, err
	case r.kind == file:
		return p, notExist()
	}
	return t.enter(ctx, p, r, edit)
}

// EpochFor returns the epoch that what is written at the path must have at least: the greatest that is still due there.
// The path need not exist. Conflict if a file is on the way.
func (t *Tree) EpochFor(ctx context.Context, path string) (uint64, error) {
	names, err := segments(path)
	if err != nil {
		return 0, err
	}
	p, r, err := t.walk(ctx, names, false, nil)
	if err != nil || r == nil {
		return p.due, err
	}
	if r.kind == file {
		return max(p.due, r.due), nil
	}
	p, err = t.enter(ctx, p, r, false)
	return p.due, err
}
