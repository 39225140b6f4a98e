package tree

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// A disk keeps the contents of pages under the keys with which they were written.
type disk struct {
	t     testing.TB
	root  seal.Ref
	max   int
	once  int // sub-pages that Renew renews itself
	pages map[coffer.ObjectID]stored
	loads int
	fail  error                   // what loads fail with, if anything
	stale map[seal.ObjectKey]bool // under which no page may be written any more
}

type stored struct {
	ref     seal.Ref
	content []byte
}

func newDisk(t testing.TB, max int) *disk {
	return &disk{
		t: t, root: seal.NewRef(), max: max, once: renewAtOnce, pages: make(map[coffer.ObjectID]stored),
		stale: make(map[seal.ObjectKey]bool),
	}
}

func (d *disk) load(_ context.Context, ref seal.Ref) (*Page, error) {
	d.loads++
	if d.fail != nil {
		return nil, d.fail
	}
	p, ok := d.pages[ref.ID]
	switch {
	case !ok && ref.ID == d.root.ID:
		return NewRoot(ref), nil
	case !ok:
		return nil, coffer.Errorf("disk", coffer.NotExist, "no page")
	case p.ref.Key != ref.Key || ref.Write != (seal.WriteKey{}) && p.ref.Write != ref.Write:
		return nil, coffer.Errorf("disk", coffer.Corrupt, "the page was written under other keys")
	}
	return Decode(ref, p.content)
}

// open returns the tree as it was written.
func (d *disk) open() *Tree {
	t := At(d.root, d.load)
	t.max, t.atOnce = d.max, d.once
	return t
}

// commit writes what has changed and returns the tree as it is found again.
func (d *disk) commit(t *Tree) *Tree {
	d.t.Helper()
	put, drop := t.Dirty()
	for _, p := range put {
		if len(p.Content()) > d.max {
			d.t.Fatalf("a page has %d bytes", len(p.Content()))
		}
		if room := p.body.room(); room < len(p.Content()) {
			d.t.Fatalf("a page of %d bytes was thought to have %d", len(p.Content()), room)
		}
		if d.stale[p.Ref().Key] {
			d.t.Fatal("a page was written under a key that was to be given up")
		}
		d.pages[p.Ref().ID] = stored{p.Ref(), p.Content()}
	}
	for _, id := range drop {
		if _, ok := d.pages[id]; !ok {
			d.t.Fatal("a page is dropped that was never written")
		}
		delete(d.pages, id)
	}
	d.root = t.Root()
	return d.open()
}

var day = time.Date(2026, 3, 1, 12, 30, 0, 0, time.UTC)

// fileNode returns a file as an agent would put it.
func fileNode() Node {
	n := Node{
		Ref: seal.NewRef(), Type: TypeFile, MIME: "text/plain", Size: 123456, Modified: day, Mode: 0o644, Sequence: 3,
		Epoch: 1,
	}
	copy(n.Rev[:], n.Ref.Key[:])
	return n
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, tr *Tree, path string) Node {
	t.Helper()
	n := fileNode()
	check(t, tr.Put(context.Background(), path, n))
	return n
}

// fill puts n files f00000… into a folder.
func fill(t testing.TB, tr *Tree, folder string, n int) {
	t.Helper()
	for i := range n {
		put(t, tr, join(folder, fmt.Sprintf("f%05d.txt", i)))
	}
}

// list returns what List yields.
func list(t testing.TB, tr *Tree, path string) (nodes []Node) {
	t.Helper()
	for n, err := range tr.List(context.Background(), path) {
		check(t, err)
		nodes = append(nodes, n)
	}
	return nodes
}

// all returns all nodes below a folder by their paths.
func all(t testing.TB, tr *Tree, path string, into map[string]Node) map[string]Node {
	t.Helper()
	for _, n := range list(t, tr, path) {
		p := join(path, n.Name)
		into[p] = n
		if n.Type == TypeFolder {
			all(t, tr, p, into)
		}
	}
	return into
}
