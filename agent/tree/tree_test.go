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

func TestPathsAreChecked(t *testing.T) {
	tr := newDisk(t, MaxContent).open()
	put(t, tr, "a/b")
	for _, bad := range []string{"/a", "a/", "a//b", ".", "..", "a/../b", "\x00", "\xff", strings.Repeat("x", MaxPath+1),
		strings.Repeat("x/", MaxDepth) + "x"} {
		_, err := tr.Get(ctx, bad)
		_, chain := tr.Chain(ctx, bad)
		_, epoch := tr.EpochFor(ctx, bad)
		for _, err := range []error{err, chain, epoch, tr.Put(ctx, bad, fileNode()), tr.MakeFolder(ctx, bad, day),
			tr.Remove(ctx, bad), tr.Move(ctx, "a/b", bad), tr.Move(ctx, bad, "c")} {
			if !errors.Is(err, coffer.Invalid) {
				t.Errorf("%q: %v, want Invalid", bad, err)
			}
		}
	}
	for _, err := range []error{tr.Put(ctx, "", fileNode()), tr.Remove(ctx, ""), tr.Move(ctx, "", "x"),
		tr.Move(ctx, "a/b", ""), tr.SetShared(ctx, "", true), tr.Renew(ctx, "a", 0), tr.Renew(ctx, "a", MaxEpoch+1)} {
		if !errors.Is(err, coffer.Invalid) {
			t.Errorf("%v, want Invalid", err)
		}
	}
}

func TestCleanPath(t *testing.T) {
	for p, want := range map[string]string{
		"": "", "/": "", "a": "a", "/a/b/": "a/b", "é/\\": "é/\\", " ": " ", "...": "...",
		strings.Repeat("x", MaxPath): strings.Repeat("x", MaxPath),
	} {
		if got, err := CleanPath(p); got != want || err != nil {
			t.Errorf("CleanPath(%q) = %q, %v", p, got, err)
		}
	}
	for _, p := range []string{"///", "a//b", "//a", "a/.", "../a", "a\x00", "\xc3", strings.Repeat("a/", 64) + "a"} {
		if got, err := CleanPath(p); !errors.Is(err, coffer.Invalid) {
			t.Errorf("CleanPath(%q) = %q, %v", p, got, err)
		}
	}
	if Base("a/b") != "b" || Base("") != "" || FolderOf("a/b/c") != "a/b" || FolderOf("a") != "" || FolderOf("") != "" ||
		!Within("a/b", "a") || Within("ab", "a") || !Within("a", "") ||
		!slices.Equal(Ancestors("a/b/c"), []string{"a", "a/b"}) || Ancestors("a") != nil {
		t.Error("a part of a path is wrong")
	}
}

func TestNodesComeBackAsTheyWere(t *testing.T) {
	d := newDisk(t, MaxContent)
	tr := d.open()
	for i, n := range []Node{
		{}, {Type: "https://example.com/Note", Shared: true}, {MIME: "a/b", Mode: 0o7777 | 1<<31},
		{Modified: time.Date(1901, 2, 3, 4, 5, 6, 789, time.UTC)}, {Modified: time.Unix(-1, 5e8)},
		{Modified: time.Date(9999, 1, 1, 0, 0, 0, 1, time.FixedZone("x", 3600)), Size: 1<<63 - 1},
		{Sequence: coffer.MaxSequence, Epoch: MaxEpoch, Rev: coffer.Rev{1}},
		{MIME: strings.Repeat("é", MaxText/2), Type: strings.Repeat("\u0001", MaxText)},
	} {
		n.Ref, n.Name = seal.NewRef(), fmt.Sprintf("%d \"\\\u2028\U0001f600<", i)
		if i == 0 {
			n.Ref.Write = seal.WriteKey{}
		}
		check(t, tr.Put(ctx, n.Name, n))
		got, err := d.commit(tr).Get(ctx, n.Name)
		check(t, err)
		if !got.Modified.Equal(n.Modified) {
			t.Errorf("time is %v, want %v", got.Modified, n.Modified)
		}
		if n.Modified = got.Modified; n.Type == "" {
			n.Type = TypeFile
		}
		if got != n {
			t.Errorf("got %+v, want %+v", got, n)
		}
	}
	for _, n := range []Node{
		{}, {Ref: seal.NewRef(), Type: TypeFolder}, {Ref: seal.NewRef(), Size: -1}, {Ref: seal.NewRef(), Epoch: MaxEpoch + 1},
		{Ref: seal.NewRef(), Sequence: coffer.MaxSequence + 1}, {Ref: seal.NewRef(), Type: "\xff"},
		{Ref: seal.NewRef(), MIME: strings.Repeat("x", MaxText+1)}, {Ref: seal.NewRef(), Modified: time.Unix(1e12, 0)},
	} {
		if err := tr.Put(ctx, "bad", n); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%v, want Invalid", err)
		}
	}
}

func TestChain(t *testing.T) {
	d := newDisk(t, MaxContent)
	tr := d.open()
	put(t, tr, "a/b/c")
	ref, err := tr.Detach(ctx, "a/b")
	check(t, err)
	chain, err := d.commit(tr).Chain(ctx, "a/b/c")
	check(t, err)
	if len(chain) != 3 || chain[0].Name != "a" || chain[0].Ref.Key != (seal.ObjectKey{}) || chain[1].Ref != ref ||
		chain[2].Name != "c" || chain[2].Type != TypeFile {
		t.Errorf("chain is %+v", chain)
	}
	if chain, err = tr.Chain(ctx, ""); err != nil || len(chain) != 1 || chain[0].Ref != tr.Root() {
		t.Errorf("chain of the root is %+v, %v", chain, err)
	}
}

// TestGuest: a folder that is handed on is a tree of its own, and its owner sees what was done in it.
func TestGuest(t *testing.T) {
	d := newDisk(t, MaxContent)
	tr := d.open()
	fill(t, tr, "shared/deep", 100)
	put(t, tr, "other")
	ref, err := tr.Detach(ctx, "shared")
	check(t, err)
	d.commit(tr)

	guest := At(ref, d.load)
	fill(t, guest, "new", 100)
	check(t, guest.Move(ctx, "deep", "moved"))
	if err := guest.Remove(ctx, "other"); !errors.Is(err, coffer.NotExist) {
		t.Errorf("a guest reaches beyond his folder: %v", err)
	}
	owners := d.root
	d.commit(guest)
	d.root = owners
	if got := all(t, d.open(), "", map[string]Node{}); len(got) != 2+200+2 {
		t.Errorf("the owner sees %d nodes", len(got))
	}
	if n, err := d.open().Get(ctx, "shared/moved/f00007.txt"); err != nil || n.Ref.Write == (seal.WriteKey{}) {
		t.Errorf("the owner sees %+v, %v", n, err)
	}

	// One who reads changes nothing, and cannot make the keys with which he could.
	ref.Write = seal.WriteKey{}
	reader := At(ref, d.load)
	if n, err := reader.Get(ctx, "moved/f00007.txt"); err != nil || n.Ref.Write != (seal.WriteKey{}) {
		t.Errorf("a reader sees %+v, %v", n, err)
	}
	_, _, cut := reader.Cut(ctx, "new", 5)
	_, detach := reader.Detach(ctx, "moved")
	for what, err := range map[string]error{
		"put": reader.Put(ctx, "x", fileNode()), "remove": reader.Remove(ctx, "new/f00001.txt"), "cut": cut,
		"move": reader.Move(ctx, "new", "old"), "renew": reader.Renew(ctx, "", 9),
		"shared":      reader.SetShared(ctx, "new", true),
		"make folder": reader.MakeFolder(ctx, "x", day),
	} {
		if !errors.Is(err, coffer.Denied) {
			t.Errorf("%s: %v, want Denied", what, err)
		}
	}
	if detach != nil && !errors.Is(detach, coffer.Denied) {
		t.Error(detach)
	}
	if put, drop := reader.Dirty(); len(put)+len(drop) > 0 {
		t.Error("a reader has changed something")
	}
}

// TestShapeDoesNotShow: 50 files take one page and the same bytes outside, flat or in a deep tree (pages are padded to
// one size).
func TestShapeDoesNotShow(t *testing.T) {
	shapes := map[string]func(i int) string{
		"flat":       func(i int) string { return "" },
		"5 deep":     func(i int) string { return strings.Repeat("folder/", i%5)[:max(0, i%5*7-1)] },
		"50 deep":    func(i int) string { return strings.TrimSuffix(strings.Repeat("folder/", i), "/") },
		"50 folders": func(i int) string { return fmt.Sprintf("folder%02d", i) },
	}
	for name, shape := range shapes {
		d := newDisk(t, MaxContent)
		tr := d.open()
		for i := range 50 {
			put(t, tr, join(shape(i), fmt.Sprintf("file%02d.txt", i)))
			tr = d.commit(tr)
			if len(d.pages) != 1 {
				t.Fatalf("%s: %d files take %d pages", name, i+1, len(d.pages))
			}
		}
		t.Logf("%s: %d bytes", name, len(d.pages[d.root.ID].content))
	}
}

func TestEntriesAreCompact(t *testing.T) {
	d := newDisk(t, MaxContent)
	tr := d.open()
	put(t, tr, "x")
	d.commit(tr)
	before := len(d.pages[d.root.ID].content)
	put(t, tr, strings.Repeat("n", 10))
	d.commit(tr)
	if got := len(d.pages[d.root.ID].content) - before - 10; got > 230 {
		t.Errorf("an entry takes %d bytes and its name", got)
	}
}

func TestLargeFolder(t *testing.T) {
	const n = 10_000
	d := newDisk(t, MaxContent)
	tr := d.open()
	fill(t, tr, "big/sub", n)
	tr = d.commit(tr)
	t.Logf("%d files in %d pages", n, len(d.pages))
	if len(d.pages) > n/30 {
		t.Errorf("%d pages", len(d.pages))
	}
	nodes := list(t, tr, "big/sub")
	if len(nodes) != n || !slices.IsSortedFunc(nodes, func(a, b Node) int { return strings.Compare(a.Name, b.Name) }) {
		t.Fatalf("%d nodes, or out of order", len(nodes))
	}
	changes := func(what string, most int, change func(*Tree) error) {
		t.Helper()
		d.loads = 0
		tr := d.open()
		check(t, change(tr))
		put, drop := tr.Dirty()
		if len(put) > most || len(drop) > 0 {
			t.Errorf("%s: %d pages written, %d erased", what, len(put), len(drop))
		}
		if d.loads > 10 {
			t.Errorf("%s: %d pages loaded", what, d.loads)
		}
		d.commit(tr)
	}
	changes("rename", 1, func(tr *Tree) error { return tr.Move(ctx, "big/sub", "big/renamed") })
	changes("move", 1, func(tr *Tree) error { return tr.Move(ctx, "big/renamed", "elsewhere/deep/sub") })
	changes("move up", 1, func(tr *Tree) error { return tr.Move(ctx, "elsewhere", "big/elsewhere") })
	changes("put", 1, func(tr *Tree) error { return tr.Put(ctx, "big/elsewhere/deep/sub/f00042.txt", fileNode()) })
	changes("rename of a file", 4, func(tr *Tree) error {
		return tr.Move(ctx, "big/elsewhere/deep/sub/f00043.txt", "big/elsewhere/deep/sub/g00043.txt")
	})

	tr = d.open()
	check(t, tr.Renew(ctx, "big/elsewhere/deep/sub", 7))
	tr = d.commit(tr)
	found := 0
	for {
		files, more, err := tr.Due(ctx, "", 1000)
		check(t, err)
		for _, f := range files {
			f.Node.Ref, f.Node.Epoch = f.Node.Ref.Renewed(), 7
			check(t, tr.Put(ctx, f.Path, f.Node))
		}
		found += len(files)
		if put, _ := tr.Dirty(); len(put) > 1000+dueAtOnce+10 {
			t.Errorf("%d pages in one commit", len(put))
		}
		if tr = d.commit(tr); !more {
			break
		}
	}
	if found != n {
		t.Errorf("%d files were due", found)
	}
	if _, _, err := tr.Due(ctx, "", 1); err != nil {
		t.Fatal(err)
	}
	tr = d.commit(tr)
	d.loads = 0
	if found, more, err := tr.Due(ctx, "", 1); err != nil || len(found) > 0 || more || d.loads > 2 {
		t.Errorf("when nothing is due: %d found, %v, %v, %d pages loaded", len(found), more, err, d.loads)
	}

	for done := false; !done; {
		var nodes []Node
		var err error
		nodes, done, err = tr.Cut(ctx, "big", 999)
		check(t, err)
		if found -= len(nodes); len(nodes) > 999 {
			t.Error("more than the limit was cut")
		}
		tr = d.commit(tr)
	}
	if found != 0 || len(d.pages) != 1 {
		t.Errorf("%d files and %d pages are left", found, len(d.pages))
	}
}

func TestDeepChain(t *testing.T) {
	deep := strings.TrimSuffix(strings.Repeat("d/", MaxDepth-1), "/")
	d := newDisk(t, MaxContent)
	tr := d.open()
	for i := range 200 {
		put(t, tr, join(deep, fmt.Sprint(i)))
	}
	tr = d.commit(tr)
	if len(d.pages) > 10 {
		t.Errorf("%d pages", len(d.pages))
	}
	if _, err := tr.Get(ctx, join(deep, "150")); err != nil || d.loads > 6 {
		t.Errorf("%v, %d pages loaded", err, d.loads)
	}
	put(t, tr, "e/f")
	if err := tr.Move(ctx, "e", join(deep, "e")); !errors.Is(err, coffer.Invalid) {
		t.Errorf("nested too deep: %v", err)
	}
	check(t, tr.Move(ctx, "e/f", join(deep, "f")))
	d.commit(tr)
}

func TestEntryThatDoesNotFit(t *testing.T) {
	d := newDisk(t, 800)
	tr := d.open()
	fill(t, tr, "a/b", 20)
	tr = d.commit(tr)
	before := all(t, tr, "", map[string]Node{})
	name := strings.Repeat("x", 600)
	for what, err := range map[string]error{
		"put": tr.Put(ctx, "a/b/"+name, fileNode()), "move": tr.Move(ctx, "a/b/f00003.txt", name),
		"new folders": tr.Put(ctx, name+"/y", fileNode()),
	} {
		if !errors.Is(err, coffer.Exhausted) {
			t.Errorf("%s: %v, want Exhausted", what, err)
		}
	}
	unchanged(t, tr, before)
}

func unchanged(t *testing.T, tr *Tree, before map[string]Node) {
	t.Helper()
	if put, drop := tr.Dirty(); len(put)+len(drop) > 0 {
		t.Fatalf("a failed change left %d pages to write, %d to erase", len(put), len(drop))
	}
	after := all(t, tr, "", map[string]Node{})
	if len(after) != len(before) {
		t.Fatalf("%d nodes, want %d", len(after), len(before))
	}
	for p, n := range before {
		if after[p] != n {
			t.Fatal("a failed change changed something")
		}
	}
}

// TestFailedChangesNothing lets each load fail in turn.
func TestFailedChangesNothing(t *testing.T) {
	d := newDisk(t, 1000)
	tr := d.open()
	fill(t, tr, "a", 40)
	fill(t, tr, "b/c", 40)
	put(t, tr, "b/d/e/f")
	tr = d.commit(tr)
	check(t, tr.Renew(ctx, "b", 5))
	tr = d.commit(tr)
	before := all(t, tr, "", map[string]Node{})
	for what, change := range map[string]func(*Tree) error{
		"put":    func(tr *Tree) error { return tr.Put(ctx, "b/c/new", fileNode()) },
		"remove": func(tr *Tree) error { return tr.Remove(ctx, "b/c/f00003.txt") },
		"move":   func(tr *Tree) error { return tr.Move(ctx, "b/c", "a/c") },
		"rename": func(tr *Tree) error { return tr.Move(ctx, "b/c/f00003.txt", "a/moved") },
		"renew":  func(tr *Tree) error { return tr.Renew(ctx, "a", 9) },
		"detach": func(tr *Tree) error { _, err := tr.Detach(ctx, "b/d/e"); return err },
		"cut":    func(tr *Tree) error { _, _, err := tr.Cut(ctx, "b", 60); return err },
		"due":    func(tr *Tree) error { _, _, err := tr.Due(ctx, "", 60); return err },
	} {
		failed := 0
		for n := 0; ; n++ {
			left := n
			tr := At(d.root, func(c context.Context, ref seal.Ref) (*Page, error) {
				if left--; left < 0 {
					return nil, coffer.Unavailable
				}
				return d.load(c, ref)
			})
			tr.max = d.max
			err := change(tr)
			left = 1 << 30
			if err == nil {
				break
			}
			if !errors.Is(err, coffer.Unavailable) {
				t.Fatalf("%s: %v", what, err)
			}
			unchanged(t, tr, before)
			failed++
		}
		if failed < 2 {
			t.Errorf("%s loads %d pages only", what, failed)
		}
	}
}

func TestDirtyIsDeterministic(t *testing.T) {
	d := newDisk(t, 1200)
	tr := d.open()
	fill(t, tr, "a", 50)
	one, _ := tr.Dirty()
	two, _ := tr.Dirty()
	if len(one) < 10 || !slices.Equal(one, two) {
		t.Error("Dirty returns something else the second time")
	}
	tr = d.commit(tr)
	if put, drop := tr.Dirty(); len(put)+len(drop) > 0 {
		t.Error("what was just read is dirty")
	}
}

// TestFolderKeepsItsID: a folder's identity is that of its page.
func TestFolderKeepsItsID(t *testing.T) {
	d := newDisk(t, MaxContent)
	tr := d.open()
	check(t, tr.MakeFolder(ctx, "a/b", day))
	id := func() coffer.ObjectID {
		n, err := tr.Get(ctx, "a/b")
		check(t, err)
		return n.Ref.ID
	}
	first := id()
	fill(t, tr, "a/b", 500)
	tr = d.commit(tr)
	check(t, tr.Renew(ctx, "a/b", 3))
	if id() != first || d.pages[first].ref.ID != first {
		t.Error("the folder's id has changed")
	}
	if n, err := tr.Get(ctx, "a/b"); err != nil || !n.Modified.Equal(day) || n.Epoch != 3 {
		t.Errorf("folder is %+v, %v", n, err)
	}
	check(t, tr.Move(ctx, "a/b", "b"))
	check(t, tr.Move(ctx, "b", "a/b"))
	if id() != first {
		t.Error("the folder's id has changed")
	}
}

// TestMovedStaysDue: what was due stays so where it is moved to, and the pages above know.
func TestMovedStaysDue(t *testing.T) {
	d := newDisk(t, 1500)
	tr := d.open()
	put(t, tr, "old/file")
	put(t, tr, "old/small/file")
	fill(t, tr, "old/large", 30)
	fill(t, tr, "new/place", 30)
	tr = d.commit(tr)
	check(t, tr.Renew(ctx, "old", 4))
	check(t, tr.Move(ctx, "old/file", "new/place/file"))
	check(t, tr.Move(ctx, "old/small", "new/place/small"))
	check(t, tr.Move(ctx, "old/large", "new/place/large"))
	tr = d.commit(tr)
	found := 0
	for {
		files, more, err := tr.Due(ctx, "new", 7)
		check(t, err)
		for _, f := range files {
			if e, err := tr.EpochFor(ctx, f.Path); err != nil || e != 4 {
				t.Fatalf("epoch %d, %v", e, err)
			}
			check(t, tr.Put(ctx, f.Path, f.Node)) // with what it had, it stays due
			if e, err := tr.EpochFor(ctx, f.Path); err != nil || e != 4 {
				t.Fatalf("epoch %d, %v", e, err)
			}
			f.Node.Epoch = 4
			check(t, tr.Put(ctx, f.Path, f.Node))
		}
		found += len(files)
		if tr = d.commit(tr); !more && len(files) == 0 {
			break
		}
	}
	if found != 32 {
		t.Errorf("%d files were due", found)
	}
}

// TestDividedStaysDue: while a folder that was renewed is divided further, and its sub-pages become one again, what is
// due in it stays so.
func TestDividedStaysDue(t *testing.T) {
	for _, max := range []int{800, 3000} {
		for _, once := range []int{0, 3, 64} {
			for seed := range 5 {
				t.Run(fmt.Sprintf("max=%d/once=%d/seed=%d", max, once, seed), func(t *testing.T) {
					stayDue(t, max, once, rand.New(rand.NewPCG(uint64(seed), 1)))
				})
			}
		}
	}
}

func stayDue(t *testing.T, max, once int, rnd *rand.Rand) {
	const epoch = 4
	d := newDisk(t, max)
	d.once = once
	tr := d.open()
	old := make(map[string]Node)
	for i := range 40 {
		path := fmt.Sprintf("a/%d", i)
		old[path] = put(t, tr, path)
	}
	growth := []int{0, 3, 15}[rnd.IntN(3)] // so many steps of 16 put a new file
	if growth == 0 {
		for i := range 20 { // small pages beside each other
			path := fmt.Sprintf("a/%d", i)
			check(t, tr.Remove(ctx, path))
			delete(old, path)
		}
	}
	tr = d.commit(tr)
	check(t, tr.Renew(ctx, "a", epoch))
	tr = d.commit(tr)
	a, err := tr.Get(ctx, "a")
	check(t, err)
	byHash := func(x, y string) int {
		return strings.Compare(hashOf(a.Ref.ID, Base(x)), hashOf(a.Ref.ID, Base(y)))
	}
	var done []string // paths of files that are not due
	for i := 0; len(old) > 0 && i < 150; i++ {
		paths := slices.SortedFunc(maps.Keys(old), byHash)
		path := paths[rnd.IntN(len(paths))*rnd.IntN(2)] // one page after the other, by and large
		switch op := rnd.IntN(4); {
		case rnd.IntN(16) < growth:
			n := fileNode()
			n.Epoch = epoch
			check(t, tr.Put(ctx, fmt.Sprintf("a/new%d", i), n))
		case op == 3 && len(done) > 0:
			check(t, tr.Remove(ctx, done[0]))
			done = done[1:]
		case op%2 == 0:
			n := old[path]
			n.Ref, n.Epoch = n.Ref.Renewed(), epoch
			check(t, tr.Put(ctx, path, n))
			delete(old, path)
			done = append(done, path)
		default:
			check(t, tr.Remove(ctx, path))
			delete(old, path)
		}
		if rnd.IntN(4) == 0 {
			tr = d.commit(tr)
		}
		for path := range old {
			if e, err := tr.EpochFor(ctx, path); err != nil || e != epoch {
				t.Fatalf("after %d steps keys of epoch %d are due, %v", i+1, e, err)
			}
		}
		if i%10 > 0 {
			continue
		}
		// The walk must find them, too; it may change the pages, so it walks what was written.
		d.commit(tr)
		found, more, err := d.open().Due(ctx, "", 1000)
		if err != nil || more || len(found) != len(old) {
			t.Fatalf("after %d steps %d of %d are found, %v, %v", i+1, len(found), len(old), more, err)
		}
		tr = d.open()
	}
}

// TestJoinedStaysDue: a sub-page in which nothing is due takes in one in which something is, be it that the page itself
// has new keys or not.
func TestJoinedStaysDue(t *testing.T) {
	for _, renewed := range []bool{false, true} {
		joinedStaysDue(t, renewed)
	}
}

func joinedStaysDue(t *testing.T, renewed bool) {
	const epoch = 4
	f := &forger{newDisk(t, 3000), map[string]seal.Ref{}}
	f.refs["root"] = f.root
	root := &body{top: folder{id: f.root.ID}, due: epoch}
	names := map[string][]string{}
	for prefix, n := range map[string]int{"00": 2, "01": 2, "1": 8} { // the last is too large to be joined
		b := &body{top: folder{id: f.root.ID}, prefix: prefix}
		for i := 0; len(b.top.rows) < n; i++ {
			name := fmt.Sprint(i)
			if !strings.HasPrefix(hashOf(f.root.ID, name), prefix) {
				continue
			}
			n := fileNode()
			if prefix == "00" {
				n.Epoch = epoch
			}
			r, err := newRow(name, n, f.ref(prefix).Write)
			check(t, err)
			b.top.set(r)
			names[prefix] = append(names[prefix], name)
		}
		if renewed && prefix != "00" {
			b.due = epoch
		}
		f.write(prefix, b)
		l := f.link("root", prefix, prefix)
		if l.waits = prefix != "00"; renewed || !l.waits {
			l.epoch = epoch
		}
		root.top.setSub(&l)
	}
	if renewed {
		root.due = 0
	}
	f.write("root", root)
	tr := f.open()
	check(t, tr.Remove(ctx, names["00"][0]))
	tr = f.commit(tr)
	if len(f.pages) != 3 {
		t.Fatalf("%d pages: nothing was joined", len(f.pages))
	}
	for _, name := range append(names["01"], names["1"]...) {
		if e, err := tr.EpochFor(ctx, name); err != nil || e != epoch {
			t.Errorf("epoch %d, %v", e, err)
		}
	}
	if found, more, err := tr.Due(ctx, "", 99); err != nil || more || len(found) != 10 {
		t.Errorf("%d found, %v, %v", len(found), more, err)
	}
}
