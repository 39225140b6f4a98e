package hub_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/merge"
	nodehub "github.com/cofferhq/coffer/node/hub"
)

const partSize = 384 << 10

var pictures = hub.Kind{Context: "schema.org", Type: "ImageObject"}

// noise returns bytes that are nowhere else.
func noise(n int) []byte {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(n), byte(n >> 8), byte(n >> 16)})
	_, _ = r.Read(b)
	return b
}

func putFile(t *testing.T, h *hub.Hub, name string, b []byte, o *hub.PutOptions) coffer.CommitRev {
	t.Helper()
	return must(h.PutFile(t.Context(), pictures, playlist{Name: name}, bytes.NewReader(b), o))(t)
}

// readFile reads a file to its end.
func readFile(ctx context.Context, h *hub.Hub, id coffer.CommitRev) ([]byte, error) {
	f, err := h.OpenFile(ctx, pictures, id)
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(f)
	return b, errors.Join(err, f.Close())
}

func wantFile(t *testing.T, h *hub.Hub, id coffer.CommitRev, want []byte) {
	t.Helper()
	if got := must(readFile(t.Context(), h, id))(t); !bytes.Equal(got, want) {
		t.Fatalf("read %d bytes, which are not the %d that were written", len(got), len(want))
	}
}

// kept returns the ids of all objects of the kind that are not removed: heads, and parts.
func kept(t *testing.T, w *world, owner string) (heads, parts []coffer.CommitRev) {
	t.Helper()
	for _, of := range []struct {
		filter string
		ids    *[]coffer.CommitRev
	}{{"NOT meta.part:true", &heads}, {"meta.part:true", &parts}} {
		p, err := w.as(owner, "").Objects(t.Context(), w.ring(owner).DID(), &coffer.ObjectQuery{
			Interface: coffer.CollectionsInterface, Context: pictures.Context, Type: pictures.Type,
			NoDeleted: true, Filter: of.filter,
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range p.Objects {
			*of.ids = append(*of.ids, o.ID)
		}
	}
	return heads, parts
}

func work(t *testing.T, h *hub.Hub, kinds ...hub.Kind) (last hub.Progress) {
	t.Helper()
	for p, err := range h.Work(t.Context(), kinds...) {
		if err != nil {
			t.Fatal(err)
		}
		last = p
	}
	return last
}

func TestFile(t *testing.T) {
	for _, size := range []int{0, 1, partSize, partSize + 1, 3 * partSize} {
		w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
		h := w.open("alice", "alice")
		b := noise(size)
		var told int64
		id := putFile(t, h, "rain", b, &hub.PutOptions{Progress: func(done int64) {
			if done <= told {
				t.Errorf("after %d bytes there were %d", told, done)
			}
			told = done
		}})
		o := must(h.Object(ctx, pictures, id))(t)
		if o.File == nil || o.File.Size != int64(size) || told != o.File.Size {
			t.Errorf("%d bytes: %+v, told %d", size, o.File, told)
		}
		if heads, parts := kept(t, w, "alice"); len(heads) != 1 || len(parts) != (size+partSize-1)/partSize {
			t.Errorf("%d bytes: %d heads, %d parts", size, len(heads), len(parts))
		}
		wantFile(t, h, id, b)
		if err := h.Replace(ctx, pictures, id, playlist{Name: "sun"}, nil); err != nil {
			t.Fatal(err)
		}
		wantFile(t, h, id, b)
		if got := names(t, h, pictures, nil); !slices.Equal(got, []string{"sun"}) {
			t.Errorf("listed %q", got)
		}
		unfiltered := w.open("alice", "alice", func(o *hub.Options) { o.Hub = unsorted{o.Hub} })
		if got := names(t, unfiltered, pictures, nil); !slices.Equal(got, []string{"sun"}) {
			t.Errorf("of all objects it listed %q", got)
		}
		if err := h.Remove(ctx, pictures, id); err != nil {
			t.Fatal(err)
		}
		if heads, parts := kept(t, w, "alice"); heads != nil || parts != nil {
			t.Errorf("after it was removed there are %d heads and %d parts", len(heads), len(parts))
		}
		_, err := h.OpenFile(ctx, pictures, id)
		want(t, err, coffer.NotExist)
	}
}

// An unsorted hub knows no filters.
type unsorted struct{ coffer.Hub }

func (d unsorted) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	c := *q
	c.Filter = ""
	return d.Hub.Objects(ctx, owner, &c)
}

func TestFileFromAnywhere(t *testing.T) {
	w := newWorld(t, nodehub.Limits{})
	spy := &asked{Hub: w.as("alice", "")}
	h := w.open("alice", "alice", func(o *hub.Options) { o.Hub = spy })
	b := noise(4*partSize + 5)
	id := putFile(t, h, "x", b, nil)
	f := must(h.OpenFile(t.Context(), pictures, id))(t)
	spy.commits.Store(0)
	for _, at := range []int64{int64(len(b)) - 3, 10, partSize - 5, 3 * partSize, int64(len(b))} {
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		got := make([]byte, 20)
		n, err := io.ReadFull(f, got)
		if end := int64(len(b)) - at; n != int(min(20, end)) || end >= 20 && err != nil || end < 20 && err == nil {
			t.Errorf("at %d: %d bytes, %v", at, n, err)
		}
		if !bytes.Equal(got[:n], b[at:at+int64(n)]) {
			t.Errorf("at %d: other bytes", at)
		}
	}
	for _, whence := range []int{io.SeekStart, io.SeekEnd, 9} {
		if _, err := f.Seek(-int64(len(b))-1, whence); !errors.Is(err, coffer.Invalid) {
			t.Errorf("before the beginning: %v", err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if n := spy.commits.Load(); n > 8 {
		t.Errorf("%d parts were fetched", n)
	}
	if _, err := f.Read(make([]byte, 1)); err == nil {
		t.Error("read what is closed")
	}
}

// The hub sees that a part is one, and neither bytes nor value.
func TestFileIsSealed(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	h := w.open("alice", "alice")
	putFile(t, h, "a secret name", []byte(strings.Repeat("all in the clear", 9)), &hub.PutOptions{
		Meta: []byte(`{"cache-intent":"min","part":true}`),
	})
	s := seen(t, w, "alice")
	for _, secret := range []string{"in the clear", "YWxsIGluIHRoZSBjbGVhcm", "secret name"} {
		if strings.Contains(s, secret) {
			t.Errorf("the hub is handed %q", secret)
		}
	}
	p, err := w.as("alice", "").Objects(ctx, h.Owner(), &coffer.ObjectQuery{Interface: coffer.CollectionsInterface})
	if err != nil || len(p.Objects) != 2 || string(p.Objects[0].Meta) != `{"cache-intent":"min","part":true}` ||
		string(p.Objects[1].Meta) != `{"cache-intent":"min"}` {
		t.Errorf("the hub is handed %+v, %v", p, err)
	}
	_, err = h.PutFile(ctx, pictures, 1, strings.NewReader("x"), &hub.PutOptions{Public: true})
	want(t, err, coffer.Invalid)
	_, err = h.PutFile(ctx, hub.Kind{Interface: coffer.StoresInterface, Context: "a", Type: "b"}, 1, strings.NewReader(""), nil)
	want(t, err, coffer.Invalid)
	id := putFile(t, h, "x", noise(5), nil)
	want(t, h.Replace(ctx, pictures, id, 1, &hub.PutOptions{Public: true}), coffer.Invalid)
	id = must(h.Put(ctx, pictures, 1, nil))(t)
	_, err = h.OpenFile(ctx, pictures, id)
	want(t, err, coffer.Invalid)
}

// Whoever follows the kind is shown the file, and then that it is gone: nothing of parts.
func TestWatchedFile(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	spy := &asked{Hub: w.as("alice", "")}
	h := w.open("alice", "alice", func(o *hub.Options) { o.Hub = spy })
	watch := h.Watch(pictures, nil, "")
	id := putFile(t, h, "x", noise(3*partSize), nil)
	for _, gone := range []bool{false, true} {
		spy.commits.Store(0)
		n := 0
		for o, err := range watch.Changes(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			if n++; o.ID != id || o.Deleted != gone {
				t.Errorf("got %+v", o)
			}
		}
		if n != 1 || spy.commits.Load() > 2 {
			t.Errorf("%d objects, and %d commits", n, spy.commits.Load())
		}
		if !gone {
			if err := h.Remove(ctx, pictures, id); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func TestSharedFile(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	b, other := noise(2*partSize+7), noise(9)
	id := putFile(t, alice, "shared", b, nil)
	second := putFile(t, alice, "not shared", other, nil)
	mine := w.ring("alice").DID()
	for name, p := range map[string]hub.Permission{
		"bob":   {},
		"carol": {Objects: []coffer.CommitRev{id}},
		"dave":  {CreatedBy: mine},
	} {
		p.Grantee, p.Kind, p.Allow = w.ring(name).DID(), pictures, "-R--"
		must(alice.Grant(ctx, p))(t)
		w.advance(2 * time.Second)
		wantFile(t, w.open(name, "alice"), id, b)
	}
	_, err := readFile(ctx, w.open("carol", "alice"), second)
	want(t, err, coffer.Denied)
	lax := w.open("carol", "alice", func(o *hub.Options) { o.Hub = traitor{o.Hub, w.as("alice", "")} })
	wantFile(t, lax, id, b)
	_, err = readFile(ctx, lax, second)
	want(t, err, coffer.Denied)

	// A grant names so many objects and not more.
	many := make([]coffer.CommitRev, 98)
	for i := range many {
		many[i][0] = byte(i + 1)
	}
	_, err = alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("bob").DID(), Kind: pictures, Allow: "-R--", Objects: append(many, id),
	})
	want(t, err, coffer.Exhausted)
	// What a filter says of the object it does not say of the parts.
	tagged := putFile(t, alice, "tagged", b, &hub.PutOptions{Tags: []string{"x"}})
	must(alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("eve").DID(), Kind: pictures, Allow: "-R--", Filter: "meta.tags:x",
	}))(t)
	eve := w.open("eve", "alice")
	if got := names(t, eve, pictures, nil); !slices.Equal(got, []string{"tagged"}) {
		t.Errorf("read %q", got)
	}
	_, err = readFile(ctx, eve, tagged)
	want(t, err, coffer.Denied)
}

// After a revocation and the work that it leaves, what was fetched before opens nothing that is fetched then.
func TestRevokedFile(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	b := noise(partSize + 7)
	id := putFile(t, alice, "x", b, nil)
	toBob := must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: pictures, Allow: "-R--"}))(t)
	must(alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("carol").DID(), Kind: pictures, Allow: "-R--", Objects: []coffer.CommitRev{id},
	}))(t)
	back := false // shows the head as it was
	then := w.now()
	lax := w.open("bob", "alice", func(o *hub.Options) {
		o.Now = func() time.Time { return then } // he keeps the keys that he has
		o.Hub = traitor{o.Hub, liar{Hub: w.as("alice", ""), commits: func(p *coffer.CommitPage) {
			if back && p.Commits[0].Rev() == id {
				p.Commits = p.Commits[:1]
			}
		}}}
	})
	wantFile(t, lax, id, b)
	if err := alice.Revoke(ctx, toBob); err != nil {
		t.Fatal(err)
	}
	wantFile(t, lax, id, b) // his keys are still right
	if p := work(t, alice); p.Done != 3 || p.Seen != 3 || p.Left != 0 {
		t.Errorf("worked: %+v", p)
	}
	_, err := readFile(ctx, lax, id)
	want(t, err, coffer.Denied)
	back = true
	if o := must(lax.Object(ctx, pictures, id))(t); o.File == nil {
		t.Errorf("got %+v", o)
	}
	_, err = readFile(ctx, lax, id)
	want(t, err, coffer.Denied)
	wantFile(t, alice, id, b)
	w.advance(2 * time.Second)
	wantFile(t, w.open("carol", "alice"), id, b)
	if p := work(t, alice, pictures); p.Done != 0 {
		t.Errorf("worked again: %+v", p)
	}
	if err := alice.Remove(ctx, pictures, id); err != nil {
		t.Fatal(err)
	}
}

// Who may create and not read leaves files, too.
func TestFileHandedIn(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("shop").DID(), Kind: pictures, Allow: "C---"}))(t)
	b := noise(2*partSize + 1)
	id := putFile(t, w.open("shop", "alice"), "invoice", b, nil)
	wantFile(t, alice, id, b)
	must(alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("bob").DID(), Kind: pictures, Allow: "-R--", Objects: []coffer.CommitRev{id},
	}))(t)
	bob := w.open("bob", "alice")
	_, err := readFile(ctx, bob, id)
	want(t, err, coffer.Denied)
	if p := work(t, alice, pictures); p.Done != 4 {
		t.Errorf("worked: %+v", p)
	}
	w.advance(2 * time.Second)
	wantFile(t, bob, id, b)
	if o := must(bob.Object(ctx, pictures, id))(t); o.Author != w.ring("shop").DID() {
		t.Errorf("by %s", o.Author)
	}
}

// Work has a key of the head alone open the parts, too, whatever they were sealed with.
func TestFileOfSeveralSalts(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	b := noise(partSize + 1)
	f, salt := hub.FileOf(must(alice.Object(ctx, pictures, putFile(t, alice, "x", b, nil)))(t))
	salt[0]++
	id := must(f.Forge(ctx, alice, pictures, salt))(t)
	must(alice.Grant(ctx, hub.Permission{
		Grantee: w.ring("bob").DID(), Kind: pictures, Allow: "-R--", Objects: []coffer.CommitRev{id},
	}))(t)
	w.advance(2 * time.Second)
	bob := w.open("bob", "alice")
	_, err := readFile(ctx, bob, id)
	want(t, err, coffer.Denied)
	if p := work(t, alice, pictures); p.Done != 2 {
		t.Errorf("worked: %+v", p)
	}
	wantFile(t, bob, id, b)
}

func TestFileMoved(t *testing.T) {
	w := newWorld(t, nodehub.Limits{})
	alice := w.open("alice", "alice")
	b := noise(2*partSize + 1)
	id := putFile(t, alice, "x", b, nil)
	there := newWorldAt(t, nodehub.Limits{}, w.ahead)
	bound := &bounded{Hub: there.as("alice", "")}
	other := there.open("alice", "alice", func(o *hub.Options) { o.Hub = bound })
	if n := must(other.Import(t.Context(), alice.Export(t.Context())))(t); n != 4 {
		t.Errorf("%d commits", n)
	}
	if bound.most > 1<<20 {
		t.Errorf("%d bytes in one message", bound.most)
	}
	wantFile(t, other, id, b)
}

// bounded notes how much a hub is handed at once.
type bounded struct {
	coffer.Hub
	most int
}

func (b *bounded) Adopt(ctx context.Context, owner string, commits ...*coffer.Commit) (int, error) {
	n := 0
	for _, c := range commits {
		n += len(c.Payload)
	}
	b.most = max(b.most, n)
	return b.Hub.Adopt(ctx, owner, commits...)
}

func TestHubThatAltersFiles(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice := w.open("alice", "alice")
	b := noise(3*partSize - 1)
	id := putFile(t, alice, "x", b, nil)
	_, parts := kept(t, w, "alice")
	stranger := putFile(t, alice, "y", noise(partSize), nil)
	_, all := kept(t, w, "alice")
	strange := all[slices.IndexFunc(all, func(r coffer.CommitRev) bool { return !slices.Contains(parts, r) })]
	commits := func(id coffer.CommitRev) []*coffer.Commit {
		p, err := w.as("alice", "").Commits(ctx, w.ring("alice").DID(), &coffer.CommitQuery{Objects: []coffer.CommitRev{id}})
		if err != nil {
			t.Fatal(err)
		}
		return p.Commits
	}
	// instead answers with the commits of another object, or of none.
	instead := func(of coffer.CommitRev, list []*coffer.Commit) func(*coffer.CommitPage) {
		return func(p *coffer.CommitPage) {
			if len(p.Commits) > 0 && p.Commits[0].Rev() == of {
				p.Commits = list
			}
		}
	}
	// Who may update, and has the keys, writes other bytes over a part, in his own name.
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: pictures, Allow: "-RU-"}))(t)
	over := func(b []byte) []*coffer.Commit {
		if err := w.open("bob", "alice").Replace(ctx, pictures, parts[1], b, nil); err != nil {
			t.Fatal(err)
		}
		return commits(parts[1])
	}
	was := commits(parts[1])
	for name, l := range map[string]func(*coffer.CommitPage){
		"another part":            instead(parts[0], commits(parts[1])),
		"a part twice":            instead(parts[1], commits(parts[0])),
		"a part of another file":  instead(parts[2], commits(strange)),
		"no part":                 instead(parts[1], nil),
		"no last part":            instead(parts[2], nil),
		"another file":            instead(id, commits(stranger)),
		"the same bytes, by him":  instead(parts[1], over(b[partSize:2*partSize])),
		"other bytes, by him":     instead(parts[1], over(noise(partSize))),
		"fewer bytes, by him":     instead(parts[1], over(noise(5))),
		"commits put together":    instead(parts[0], slices.Concat(commits(parts[0]), commits(strange))),
		"a damaged one":           instead(parts[0], []*coffer.Commit{damaged(*commits(parts[0])[0])}),
		"what hides its creation": instead(parts[1], commits(parts[1])[1:]),
	} {
		h := w.open("alice", "alice", func(o *hub.Options) { o.Hub = liar{Hub: o.Hub, commits: l} })
		got, err := readFile(ctx, h, id)
		if !errors.Is(err, coffer.Corrupt) || len(got) >= len(b) {
			t.Errorf("%s: read %d bytes, %v", name, len(got), err)
		}
	}
	// Of a part there is no earlier state: back to what its author wrote is what the file says.
	h := w.open("alice", "alice", func(o *hub.Options) { o.Hub = liar{Hub: o.Hub, commits: instead(parts[1], was)} })
	wantFile(t, h, id, b)
	if err := alice.Remove(ctx, pictures, strange); err != nil {
		t.Fatal(err)
	}
	_, err := readFile(ctx, alice, stranger)
	want(t, err, coffer.NotExist)
}

func damaged(c coffer.Commit) *coffer.Commit {
	c.Payload = c.Payload[:len(c.Payload)-4] + "AAAA"
	return &c
}

// A breaking hub takes so many commits, and no more.
type breaking struct {
	coffer.Hub
	left *atomic.Int64
}

func (b breaking) Write(ctx context.Context, owner string, c *coffer.Commit) ([]coffer.CommitRev, error) {
	if b.left.Add(-1) < 0 {
		return nil, coffer.Errorf("write", coffer.Unavailable, "gone")
	}
	return b.Hub.Write(ctx, owner, c)
}

func TestInterruptedFile(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	left := new(atomic.Int64)
	left.Store(1 << 40)
	alice := w.open("alice", "alice", func(o *hub.Options) { o.Hub = breaking{o.Hub, left} })
	b := noise(4 * partSize)
	whole := putFile(t, alice, "whole", b, nil)
	there := func(want int) {
		t.Helper()
		if heads, parts := kept(t, w, "alice"); len(heads) != 1 || len(parts) != want {
			t.Errorf("%d heads and %d parts, want 1 and %d", len(heads), len(parts), want)
		}
		if got := names(t, alice, pictures, nil); !slices.Equal(got, []string{"whole"}) {
			t.Errorf("listed %q", got)
		}
	}
	// What is read fails, or the context ends: what was written is removed.
	failing := io.MultiReader(bytes.NewReader(b[:3*partSize]), iotest.ErrReader(io.ErrClosedPipe))
	_, err := alice.PutFile(ctx, pictures, 1, failing, nil)
	if !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
	there(4)
	ended, end := context.WithCancel(ctx)
	_, err = alice.PutFile(ended, pictures, 1, io.MultiReader(
		bytes.NewReader(b[:2*partSize]), ending{end}, bytes.NewReader(b),
	), nil)
	want(t, err, coffer.Unavailable)
	there(4)
	// The hub goes away: nothing can be removed.
	gone := make(chan struct{})
	_, err = alice.PutFile(ctx, pictures, 1, io.MultiReader(
		bytes.NewReader(b[:2*partSize]), ending{func() { <-gone }}, bytes.NewReader(b),
	), &hub.PutOptions{Progress: func(done int64) {
		if done == 2*partSize {
			left.Store(0)
			close(gone)
		}
	}})
	want(t, err, coffer.Unavailable)
	left.Store(1 << 40)
	there(6)
	work(t, alice, pictures)
	there(6) // it may still be on its way
	w.advance(25 * time.Hour)
	work(t, alice, pictures)
	there(4)
	wantFile(t, alice, whole, b)
}

// ending does something when it is read.
type ending struct{ then func() }

func (e ending) Read([]byte) (int, error) {
	e.then()
	return 0, io.EOF
}

// What an author says of a file that is not so is found out.
func TestFileThatIsNone(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	h := w.open("alice", "alice")
	b := noise(2*partSize + 3)
	good, salt := hub.FileOf(must(h.Object(ctx, pictures, putFile(t, h, "x", b, nil)))(t))
	other, _ := hub.FileOf(must(h.Object(ctx, pictures, putFile(t, h, "y", b, nil)))(t))
	for name, change := range map[string]func(f *hub.ForgedFile){
		"as it is":             func(*hub.ForgedFile) {},
		"another sum":          func(f *hub.ForgedFile) { f.Sum = make([]byte, 32) },
		"another id":           func(f *hub.ForgedFile) { f.ID = make([]byte, 16) },
		"a part twice":         func(f *hub.ForgedFile) { f.Parts[1] = f.Parts[0] },
		"another order":        func(f *hub.ForgedFile) { f.Parts[1], f.Parts[0] = f.Parts[0], f.Parts[1] },
		"a part of another":    func(f *hub.ForgedFile) { f.Parts[1] = other.Parts[1] },
		"no such part":         func(f *hub.ForgedFile) { f.Parts[1][0]++ },
		"longer":               func(f *hub.ForgedFile) { f.Size++ },
		"shorter":              func(f *hub.ForgedFile) { f.Size-- },
		"fewer parts":          func(f *hub.ForgedFile) { f.Parts = f.Parts[:2] },
		"too many parts":       func(f *hub.ForgedFile) { f.Parts = append(f.Parts, f.Parts[0]) },
		"negative":             func(f *hub.ForgedFile) { f.Size, f.Parts = -1, nil },
		"too large":            func(f *hub.ForgedFile) { f.Size, f.Parts = 1<<62, nil },
		"nothing of it":        func(f *hub.ForgedFile) { f.Size, f.Parts = 0, nil },
		"a short id":           func(f *hub.ForgedFile) { f.ID = f.ID[:15] },
		"an object, no part":   func(f *hub.ForgedFile) { f.Parts[0] = must(h.Put(ctx, pictures, "x", nil))(t) },
		"an object of another": func(f *hub.ForgedFile) { f.Parts[0] = must(h.Put(ctx, playlists, "x", nil))(t) },
	} {
		f := good
		f.Parts = slices.Clone(good.Parts)
		change(&f)
		id := must(f.Forge(ctx, h, pictures, salt))(t)
		got, err := readFile(ctx, h, id)
		switch {
		case name == "as it is":
			if err != nil || !bytes.Equal(got, b) {
				t.Errorf("%s: %v", name, err)
			}
		case !errors.Is(err, coffer.Corrupt) || len(got) >= len(b):
			t.Errorf("%s: read %d bytes, %v", name, len(got), err)
		}
		// Nor is anything else in the middle of it.
		file, err := h.OpenFile(ctx, pictures, id)
		if err != nil {
			continue
		}
		if _, err := file.Seek(partSize, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		some := make([]byte, partSize)
		if n, err := io.ReadFull(file, some); n > 0 && !bytes.Equal(some[:n], b[partSize:][:n]) {
			t.Errorf("%s: read other bytes, %v", name, err)
		}
		file.Close()
	}
}

// Nobody has the owner remove, grant or seal what is another's by calling it his file.
func TestFileOfOthersParts(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, bob := w.open("alice", "alice"), w.open("bob", "alice")
	b := noise(partSize + 1)
	hers := putFile(t, alice, "x", b, nil)
	second := putFile(t, alice, "y", b, nil)
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: pictures, Allow: "CRU-"}))(t)
	w.advance(2 * time.Second)
	f, salt := hub.FileOf(must(bob.Object(ctx, pictures, hers))(t))
	f.Parts = append(f.Parts[:1], hers)
	his := must(f.Forge(ctx, bob, pictures, salt))(t)
	if err := f.ForgeOver(ctx, bob, pictures, second); err != nil {
		t.Fatal(err)
	}
	for _, id := range []coffer.CommitRev{his, second} {
		_, err := readFile(ctx, alice, id)
		want(t, err, coffer.Corrupt)
		must(alice.Grant(ctx, hub.Permission{
			Grantee: w.ring("carol").DID(), Kind: pictures, Allow: "-RUD", Objects: []coffer.CommitRev{id},
		}))(t)
	}
	// Nor are his bytes in her part a file of his.
	small, salt := hub.FileOf(must(alice.Object(ctx, pictures, putFile(t, alice, "z", noise(9), nil)))(t))
	mine := []byte("nine here")
	if err := bob.Replace(ctx, pictures, small.Parts[0], mine, nil); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(mine)
	small.Sum = sum[:]
	_, err := readFile(ctx, alice, must(small.Forge(ctx, bob, pictures, salt))(t))
	want(t, err, coffer.Corrupt)

	w.advance(2 * time.Second)
	carol := w.open("carol", "alice")
	for _, id := range append(f.Parts, hers) {
		want(t, carol.Remove(ctx, pictures, id), coffer.Denied)
	}
	work(t, alice, pictures)
	for _, id := range []coffer.CommitRev{his, second} {
		if err := alice.Remove(ctx, pictures, id); err != nil {
			t.Fatal(err)
		}
	}
	wantFile(t, alice, hers, b)
	if heads, parts := kept(t, w, "alice"); len(heads) != 3 || len(parts) != 3 {
		t.Errorf("there are %d heads and %d parts", len(heads), len(parts))
	}
}

// Who changes the value of another's file leaves the bytes as they are.
func TestFileChangedByAnother(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	alice, bob := w.open("alice", "alice"), w.open("bob", "alice")
	b := noise(partSize + 1)
	id := putFile(t, alice, "x", b, &hub.PutOptions{Strategy: merge.MergePatch})
	must(alice.Grant(ctx, hub.Permission{Grantee: w.ring("bob").DID(), Kind: pictures, Allow: "CRU-"}))(t)
	w.advance(2 * time.Second)
	if err := bob.Replace(ctx, pictures, id, playlist{Name: "by Bob"}, nil); err != nil {
		t.Fatal(err)
	}
	wantFile(t, alice, id, b) // it stays her file
	wantFile(t, bob, id, b)
	his := putFile(t, bob, "his", noise(7), nil)
	wantFile(t, alice, his, noise(7))
	if err := alice.Remove(ctx, pictures, his); err != nil {
		t.Fatal(err)
	}
	wantFile(t, bob, id, b)
}
