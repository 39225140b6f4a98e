package tree

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// A model is what a tree should hold: nodes by path. What it says of folders is their id, their time and their mark.
type model struct {
	t     *testing.T
	rnd   *rand.Rand
	disk  *disk
	tree  *Tree
	nodes map[string]Node
	need  map[coffer.ObjectID]uint64 // of files: the epoch that their keys must have
	epoch uint64
	flat  bool
	// files' keys that were known to somebody who was cut off
	stale map[seal.ObjectKey]bool
}

var ctx = context.Background()

func TestAgainstModel(t *testing.T) {
	for _, tt := range []struct {
		max, once, seeds, ops, names int
		flat                         bool // few folders, large ones
	}{
		{max: 1200, once: 64, seeds: 6, ops: 250, names: 12},
		{max: 2000, once: 64, seeds: 4, ops: 400, names: 30},
		{max: 1000, once: 1, seeds: 10, ops: 300, names: 30, flat: true},
		{max: MaxContent, once: 64, seeds: 1, ops: 1200, names: 60},
	} {
		for seed := range tt.seeds {
			t.Run(fmt.Sprintf("max=%d/flat=%v/seed=%d", tt.max, tt.flat, seed), func(t *testing.T) {
				m := &model{
					t: t, rnd: rand.New(rand.NewPCG(uint64(seed), uint64(tt.max))), disk: newDisk(t, tt.max),
					nodes: map[string]Node{}, need: map[coffer.ObjectID]uint64{}, stale: map[seal.ObjectKey]bool{},
				}
				m.disk.once, m.flat = tt.once, tt.flat
				m.tree = m.disk.open()
				for i := range tt.ops {
					m.step(tt.names)
					if m.rnd.IntN(4) == 0 {
						m.tree = m.disk.commit(m.tree)
					}
					if i%10 == 0 {
						m.compare()
					}
				}
				m.finish()
			})
		}
	}
}

// path returns a random path, of something that is there or not.
func (m *model) path(names int) string {
	if paths := slices.Sorted(maps.Keys(m.nodes)); len(paths) > 0 && m.rnd.IntN(3) > 0 {
		return paths[m.rnd.IntN(len(paths))]
	}
	p := ""
	if m.flat {
		p = fmt.Sprintf("d%d", m.rnd.IntN(2))
	}
	for range 1 + m.rnd.IntN(4)*m.rnd.IntN(2) {
		p = join(p, fmt.Sprintf("n%d", m.rnd.IntN(names)))
	}
	if m.rnd.IntN(20) == 0 {
		p = join(p, strings.Repeat("é\"", 1+m.rnd.IntN(40)))
	}
	return p
}

// parentOf returns what stands in the way of something at the path: whether a file does.
func (m *model) blocked(path string) bool {
	for _, a := range Ancestors(path) {
		if n, ok := m.nodes[a]; ok && n.Type != TypeFolder {
			return true
		}
	}
	return false
}

// expect fails unless the error is of the kind.
func (m *model) expect(what string, err error, want coffer.Kind) bool {
	m.t.Helper()
	if want == 0 && err != nil || want != 0 && !errors.Is(err, want) {
		m.t.Fatalf("%s: %v, want %v", what, err, want)
	}
	return err == nil
}

// folders makes the folders that are missing on the way to a path.
func (m *model) folders(path string, modified time.Time) {
	for _, a := range Ancestors(path) {
		if _, ok := m.nodes[a]; !ok {
			m.nodes[a] = Node{Name: Base(a), Type: TypeFolder, Modified: modified}
		}
	}
}

func (m *model) below(path string) (paths []string) {
	for p := range m.nodes {
		if Within(p, path) {
			paths = append(paths, p)
		}
	}
	slices.Sort(paths)
	return paths
}

func (m *model) step(names int) {
	path := m.path(names)
	there, ok := m.nodes[path]
	folder := ok && there.Type == TypeFolder
	modified := day.Add(time.Duration(m.rnd.IntN(1e6)) * 1003)
	op := m.rnd.IntN(20)
	if m.flat && (op == 13 || op == 9) { // so that folders grow large, are taken apart file by file, and grow again
		op = 19
	}
	if m.flat && op < 9 && len(m.nodes) > 40 && m.rnd.IntN(2) == 0 {
		op = 10
	}
	switch {
	case op < 9:
		n := fileNode()
		n.Name, n.Modified, n.Shared = Base(path), modified, m.rnd.IntN(9) == 0
		due, err := m.tree.EpochFor(ctx, path)
		if m.blocked(path) {
			m.expect("epoch", err, coffer.Conflict)
		} else {
			m.expect("epoch", err, 0)
		}
		if n.Epoch = max(due, 1); ok && !folder {
			if n.Ref = there.Ref; there.Epoch < due {
				n.Ref = n.Ref.Renewed()
			} else {
				n.Epoch = there.Epoch
			}
		}
		var want coffer.Kind
		if folder || m.blocked(path) {
			want = coffer.Conflict
		}
		if m.expect("put", m.tree.Put(ctx, path, n), want) {
			m.folders(path, n.Modified)
			m.nodes[path] = n
		}
	case op < 10:
		var want coffer.Kind
		if ok && !folder || m.blocked(path) {
			want = coffer.Conflict
		}
		if m.expect("make folder", m.tree.MakeFolder(ctx, path, modified), want) && !ok {
			m.folders(path, modified)
			m.nodes[path] = Node{Name: Base(path), Type: TypeFolder, Modified: modified}
		}
	case op < 13:
		want := coffer.NotExist
		if ok {
			if want = 0; len(m.below(path)) > 1 {
				want = coffer.Conflict
			}
		}
		if m.expect("remove", m.tree.Remove(ctx, path), want) {
			delete(m.nodes, path)
		}
	case op < 14:
		if !ok {
			_, _, err := m.tree.Cut(ctx, path, 3)
			m.expect("cut", err, coffer.NotExist)
			return
		}
		if m.rnd.IntN(3) > 0 {
			return
		}
		cut := map[coffer.ObjectID]bool{}
		for done := false; !done; {
			var nodes []Node
			var err error
			nodes, done, err = m.tree.Cut(ctx, path, 1+m.rnd.IntN(9))
			m.expect("cut", err, 0)
			for _, n := range nodes {
				cut[n.Ref.ID] = true
			}
			if m.rnd.IntN(3) == 0 {
				m.tree = m.disk.commit(m.tree)
			}
		}
		for _, p := range m.below(path) {
			if n := m.nodes[p]; n.Type != TypeFolder && !cut[n.Ref.ID] {
				m.t.Fatal("a file was cut and not returned")
			} else if n.Type != TypeFolder {
				delete(cut, n.Ref.ID)
			}
			delete(m.nodes, p)
		}
		if len(cut) > 0 {
			m.t.Fatal("more was cut than was there")
		}
	case op < 16:
		m.move(path, m.path(names))
	case op < 17:
		ref, err := m.tree.Detach(ctx, path)
		if !ok {
			m.expect("detach", err, coffer.NotExist)
		} else if !folder {
			m.expect("detach", err, coffer.Conflict)
		} else if m.expect("detach", err, 0) {
			n, err := m.tree.Get(ctx, path)
			if check(m.t, err); n.Ref != ref || ref.Key == (seal.ObjectKey{}) || ref.Write == (seal.WriteKey{}) {
				m.t.Fatal("a folder was not detached")
			}
		}
	case op < 18:
		shared := m.rnd.IntN(2) == 0
		if !ok {
			m.expect("shared", m.tree.SetShared(ctx, path, shared), coffer.NotExist)
		} else if m.expect("shared", m.tree.SetShared(ctx, path, shared), 0) {
			there.Shared = shared
			m.nodes[path] = there
		}
	case op < 19:
		if m.rnd.IntN(8) == 0 {
			path, folder = "", true
		}
		if folder {
			m.renew(path)
		}
	default:
		m.due(1+m.rnd.IntN(20), 1+m.rnd.IntN(3))
	}
}

func (m *model) move(from, to string) {
	_, ok := m.nodes[from]
	_, taken := m.nodes[to]
	err := m.tree.Move(ctx, from, to)
	switch {
	case !ok:
		m.expect("move", err, coffer.NotExist)
	case from == to:
		m.expect("move", err, coffer.Conflict)
	case Within(to, from):
		m.expect("move", err, coffer.Invalid)
	case taken || m.blocked(to):
		m.expect("move", err, coffer.Conflict)
	case m.expect("move", err, 0):
		m.folders(to, m.nodes[from].Modified)
		for _, p := range m.below(from) {
			n := m.nodes[p]
			delete(m.nodes, p)
			p = to + p[len(from):]
			n.Name = Base(p)
			m.nodes[p] = n
		}
	}
}

// renew cuts somebody off who knows all keys at and below the path.
func (m *model) renew(path string) {
	m.epoch += 2
	m.tree = m.disk.commit(m.tree)
	before, err := m.tree.Get(ctx, path)
	check(m.t, err)
	if before.Ref.Key != (seal.ObjectKey{}) {
		m.disk.stale[before.Ref.Key] = true
		subPages(m.t, m.tree, path, func(k seal.ObjectKey) { m.disk.stale[k] = true })
	}
	for p, n := range all(m.t, m.tree, path, map[string]Node{}) {
		if n.Type != TypeFolder {
			m.stale[n.Ref.Key] = true
			m.need[n.Ref.ID] = m.epoch
		} else if n.Ref.Key != (seal.ObjectKey{}) {
			m.disk.stale[n.Ref.Key] = true
			subPages(m.t, m.tree, p, func(k seal.ObjectKey) { m.disk.stale[k] = true })
		}
	}
	m.expect("renew", m.tree.Renew(ctx, path, m.epoch), 0)
	after, err := m.tree.Get(ctx, path)
	check(m.t, err)
	if after.Ref.Key == before.Ref.Key || after.Ref.Write == before.Ref.Write ||
		after.Ref.ID != before.Ref.ID && path != "" {
		m.t.Fatal("a folder was not renewed")
	}
}

// subPages tells the keys of a folder's sub-pages.
func subPages(t *testing.T, tr *Tree, path string, see func(seal.ObjectKey)) {
	p, err := tr.lookFolder(ctx, path, false)
	check(t, err)
	var down func(place)
	down = func(p place) {
		f := p.folder()
		for _, l := range f.subs {
			see(l.key)
			below, err := tr.into(ctx, p, l, f.id, false)
			check(t, err)
			down(below)
		}
	}
	down(p)
}

// due makes the keys anew that are due, at most so many times.
func (m *model) due(limit, times int) (done bool) {
	for range times {
		found, more, err := m.tree.Due(ctx, "", limit)
		check(m.t, err)
		if len(found) > limit {
			m.t.Fatal("more was found than asked for")
		}
		for _, f := range found {
			n, ok := m.nodes[f.Path]
			if f.Node != n || !ok {
				m.t.Fatalf("found is %+v, want %+v", f.Node, n)
			}
			epoch, err := m.tree.EpochFor(ctx, f.Path)
			check(m.t, err)
			if epoch <= n.Epoch {
				m.t.Fatal("what was found is not due")
			}
			n.Ref, n.Epoch = n.Ref.Renewed(), epoch
			check(m.t, m.tree.Put(ctx, f.Path, n))
			m.nodes[f.Path] = n
		}
		if m.rnd.IntN(2) == 0 {
			m.tree = m.disk.commit(m.tree)
		}
		if !more && len(found) < limit {
			return true
		}
	}
	return false
}

// compare fails unless the tree, and the tree that was written, are as the model has it.
func (m *model) compare() {
	m.t.Helper()
	for range 2 {
		got := all(m.t, m.tree, "", map[string]Node{})
		for p, n := range got {
			want, ok := m.nodes[p]
			if want.Type == TypeFolder {
				want.Ref, want.Epoch = n.Ref, n.Epoch
			}
			if n != want || !ok {
				m.t.Fatalf("at %q is %+v, want %+v", p, n, want)
			}
			if one, err := m.tree.Get(ctx, p); err != nil || one != n {
				m.t.Fatalf("Get(%q) = %+v, %v, want %+v", p, one, err, n)
			}
			if n.Type == TypeFolder || n.Epoch >= m.need[n.Ref.ID] {
				continue
			}
			if e, err := m.tree.EpochFor(ctx, p); err != nil || e < m.need[n.Ref.ID] {
				m.t.Fatalf("at %q keys of epoch %d are due, want %d", p, e, m.need[n.Ref.ID])
			}
		}
		if len(got) != len(m.nodes) {
			m.t.Fatalf("%d nodes, want %d", len(got), len(m.nodes))
		}
		m.tree = m.disk.commit(m.tree)
	}
	// After all was listed every page that is needed was loaded.
	fresh := m.disk.open()
	all(m.t, fresh, "", map[string]Node{})
	for id := range m.disk.pages {
		if fresh.sheets[id] == nil {
			m.t.Fatal("a page was left over")
		}
	}
	m.reader()
}

// reader looks at the tree as one who may only read.
func (m *model) reader() {
	ref := m.disk.root
	ref.Write = seal.WriteKey{}
	r := At(ref, m.disk.load)
	n := 0
	for p, got := range all(m.t, r, "", map[string]Node{}) {
		want := m.nodes[p]
		if want.Ref.Write = (seal.WriteKey{}); want.Type == TypeFolder {
			want.Ref, want.Epoch = got.Ref, got.Epoch
		}
		if got != want || got.Ref.Write != (seal.WriteKey{}) {
			m.t.Fatalf("a reader sees %+v, want %+v", got, want)
		}
		n++
	}
	if n != len(m.nodes) {
		m.t.Fatal("a reader sees another number of nodes")
	}
	if err := r.Put(ctx, "new", fileNode()); !errors.Is(err, coffer.Denied) {
		m.t.Fatalf("a reader puts: %v", err)
	}
}

// finish makes all keys anew, and then removes all.
func (m *model) finish() {
	m.compare()
	for i := 0; !m.due(25, 1); i++ {
		if i > 1000 {
			m.t.Fatal("what is due never ends")
		}
	}
	m.compare()
	for _, n := range m.nodes {
		if n.Type != TypeFolder && m.stale[n.Ref.Key] {
			m.t.Fatal("a key was to be made anew and was not")
		}
	}
	for _, p := range m.disk.pages {
		if m.disk.stale[p.ref.Key] {
			m.t.Fatal("a page's key was to be made anew and was not")
		}
	}
	if found, more, err := m.tree.Due(ctx, "", 1); err != nil || len(found) > 0 || more {
		m.t.Fatalf("still due: %v, %v, %v", len(found), more, err)
	}
	m.tree = m.disk.commit(m.tree)
	all(m.t, m.tree, "", map[string]Node{})
	for _, s := range m.tree.sheets {
		if s.body.waits() {
			m.t.Fatal("a mark was left")
		}
	}
	for done := false; !done; {
		var err error
		_, done, err = m.tree.Cut(ctx, "", 40)
		check(m.t, err)
	}
	m.nodes = map[string]Node{}
	m.compare()
	if len(m.disk.pages) != 1 {
		m.t.Fatalf("%d pages are left", len(m.disk.pages))
	}
}
