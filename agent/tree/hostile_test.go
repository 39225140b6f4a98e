package tree

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// A forger writes pages as one could who has all the write keys.
type forger struct {
	*disk
	refs map[string]seal.Ref
}

func (f *forger) ref(name string) seal.Ref {
	r, ok := f.refs[name]
	if !ok {
		r = seal.NewRef()
		f.refs[name] = r
	}
	return r
}

// link returns a link of one page to another.
func (f *forger) link(from, to, prefix string) link {
	r := f.ref(to)
	return link{id: r.ID, key: r.Key, write: wrap(f.ref(from).Write, r.ID, r.Write), prefix: prefix, waits: true}
}

// page writes the page of a folder that holds folders.
func (f *forger) page(name string, holds ...string) {
	b := &body{top: folder{id: f.ref(name).ID}}
	for i, to := range holds {
		b.top.set(&row{kind: paged, name: fmt.Sprint(i), link: f.link(name, to, "")})
	}
	f.write(name, b)
}

func (f *forger) write(name string, b *body) {
	f.pages[f.ref(name).ID] = stored{f.ref(name), b.encode(f.ref(name).ID)}
}

// everywhere walks the tree in each way there is, and returns the errors.
func everywhere(f *forger) (errs []error) {
	for _, walk := range []func(*Tree) error{
		func(t *Tree) error { _, _, err := t.Cut(ctx, "", 1000); return err },
		func(t *Tree) error { _, _, err := t.Due(ctx, "", 1000); return err },
		func(t *Tree) error {
			for waiting := []string{""}; len(waiting) > 0; {
				p := waiting[0]
				waiting = waiting[1:]
				for n, err := range t.List(ctx, p) {
					if err != nil {
						return err
					}
					if n.Type == TypeFolder {
						waiting = append(waiting, join(p, n.Name))
					}
				}
			}
			return nil
		},
	} {
		f.loads = 0
		errs = append(errs, walk(f.open()))
		if f.loads > 3*len(f.pages) {
			errs = append(errs, errors.New("too many loads"))
		}
	}
	return errs
}

func TestHostilePages(t *testing.T) {
	leaf := func(f *forger, page, of, prefix string, names ...string) {
		b := &body{top: folder{id: f.ref(of).ID}, prefix: prefix}
		for _, n := range names {
			r, err := newRow(n, fileNode(), f.ref(page).Write)
			check(t, err)
			b.top.set(r)
		}
		f.write(page, b)
	}
	divided := func(f *forger, page, of, prefix string, subs ...string) {
		b := &body{top: folder{id: f.ref(of).ID}, prefix: prefix}
		for i := 0; i < len(subs); i += 2 {
			l := f.link(page, subs[i+1], subs[i])
			b.top.setSub(&l)
		}
		f.write(page, b)
	}
	for what, forge := range map[string]func(*forger){
		"a page in itself":     func(f *forger) { f.page("root", "root") },
		"a page in the second": func(f *forger) { f.page("root", "a"); f.page("a", "root") },
		"a circle below": func(f *forger) {
			f.page("root", "a")
			f.page("a", "b")
			f.page("b", "c")
			f.page("c", "a")
		},
		"a lattice, with more ways than there is time": func(f *forger) {
			f.page("root", "0a", "0b", "0c")
			for i := range 40 {
				for _, x := range "abc" {
					n := i + 1
					f.page(fmt.Sprint(i, string(x))[:], fmt.Sprintf("%da", n), fmt.Sprintf("%db", n), fmt.Sprintf("%dc", n))
				}
			}
			for _, x := range "abc" {
				f.page(fmt.Sprint(40, string(x)))
			}
		},
		"a folder reached twice": func(f *forger) {
			f.page("root", "a", "b")
			f.page("a", "c")
			f.page("b", "c")
			f.page("c")
		},
		"a sub-page of two folders": func(f *forger) {
			f.page("root", "a", "b")
			divided(f, "a", "a", "", "0", "s")
			divided(f, "b", "b", "", "0", "s")
			leaf(f, "s", "a", "0")
		},
		"a sub-page of another folder": func(f *forger) {
			divided(f, "root", "root", "", "0", "s")
			leaf(f, "s", "other", "0")
		},
		"a sub-page of another prefix": func(f *forger) {
			divided(f, "root", "root", "", "0", "s")
			leaf(f, "s", "root", "1")
		},
		"a sub-page that says it is a folder's": func(f *forger) {
			divided(f, "root", "root", "", "0", "s")
			f.page("s")
		},
		"a sub-page where a folder's should be": func(f *forger) {
			f.page("root", "s")
			leaf(f, "s", "root", "0")
		},
		"a sub-page that leads back": func(f *forger) {
			divided(f, "root", "root", "", "0", "s")
			divided(f, "s", "root", "0", "00", "root")
		},
		"names in the wrong sub-page": func(f *forger) {
			divided(f, "root", "root", "", "0", "s")
			leaf(f, "s", "root", "0", "a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p")
		},
		"a page that is missing": func(f *forger) { f.page("root", "a") },
		"a folder as another page": func(f *forger) {
			f.page("root", "a")
			f.write("a", &body{top: folder{id: f.ref("a").ID}})
			f.pages[f.ref("a").ID] = stored{f.ref("a"), f.pages[f.ref("root").ID].content}
		},
		"keys that were wrapped elsewhere": func(f *forger) {
			b := &body{top: folder{id: f.ref("root").ID}}
			l := f.link("elsewhere", "a", "")
			b.top.set(&row{kind: paged, name: "a", link: l})
			f.write("root", b)
			f.page("a")
		},
	} {
		f := &forger{newDisk(t, MaxContent), map[string]seal.Ref{}}
		f.refs["root"] = f.root
		forge(f)
		for i, err := range everywhere(f) {
			if i == 0 && err == nil {
				continue // Cut passes over what cannot be read
			}
			if !errors.Is(err, coffer.Corrupt) {
				t.Errorf("%s: walk %d: %v, want Corrupt", what, i, err)
			}
		}
	}
}

// TestDeepPages: pages, one in the other, deeper than anything may be.
func TestDeepPages(t *testing.T) {
	f := &forger{newDisk(t, MaxContent), map[string]seal.Ref{}}
	f.refs["0"] = f.root
	const n = maxNesting + 10
	for i := range n {
		f.page(fmt.Sprint(i), fmt.Sprint(i+1))
	}
	f.page(fmt.Sprint(n))
	tr := f.open()
	if _, _, err := tr.Cut(ctx, "", 1); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("cut: %v", err)
	}
	if err := tr.Renew(ctx, "", 1); err != nil {
		t.Fatal(err)
	}
	for i := 0; ; i++ {
		_, more, err := tr.Due(ctx, "", 1)
		if errors.Is(err, coffer.Corrupt) {
			break
		}
		if err != nil || !more || i > n {
			t.Fatalf("due: %v", err)
		}
	}
}

// TestFolderWithAnothersID: a page is never made in place of another.
func TestFolderWithAnothersID(t *testing.T) {
	f := &forger{newDisk(t, MaxContent), map[string]seal.Ref{}}
	f.refs["root"] = f.root
	f.page("victim")
	b := &body{top: folder{id: f.root.ID}}
	b.top.set(&row{kind: paged, name: "victim", link: f.link("root", "victim", "")})
	b.top.set(&row{kind: paged, name: "guest", link: f.link("root", "guest", "")})
	f.write("root", b)
	id := f.ref("victim").ID
	g := &body{top: folder{id: f.ref("guest").ID}}
	g.top.set(&row{kind: inline, name: "x", link: link{id: id}, in: folder{id: id}})
	f.write("guest", g)
	tr := f.open()
	if _, err := tr.Get(ctx, "victim/x"); !errors.Is(err, coffer.NotExist) {
		t.Fatal(err)
	}
	if _, err := tr.Detach(ctx, "guest/x"); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("%v, want Corrupt", err)
	}
	if put, _ := tr.Dirty(); len(put) > 0 {
		t.Error("something was changed")
	}
}

func TestLoaderIsNotBelieved(t *testing.T) {
	for what, p := range map[string]*Page{"nothing": nil, "another page": NewRoot(seal.NewRef())} {
		tr := At(seal.NewRef(), func(context.Context, seal.Ref) (*Page, error) { return p, nil })
		if _, err := tr.Get(ctx, "a"); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v", what, err)
		}
	}
	tr := At(seal.NewRef(), func(context.Context, seal.Ref) (*Page, error) { return nil, coffer.Unavailable })
	if _, err := tr.Get(ctx, "a"); !errors.Is(err, coffer.Unavailable) {
		t.Error(err)
	}
	if err := tr.Put(ctx, "a", fileNode()); !errors.Is(err, coffer.Unavailable) {
		t.Error(err)
	}
}
