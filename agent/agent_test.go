package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/node/vault"
)

// A house is a provider in this process with one vault, Alice's.
type house struct {
	t      testing.TB
	vaults *coffertest.Vaults
	id     coffer.VaultID
	url    string
	alice  *keyring.Ring
	now    time.Time // of the agents, if set
}

func newHouse(t testing.TB) *house {
	t.Helper()
	h := &house{t: t, vaults: coffertest.NewVaults(t, vault.Limits{}), alice: coffertest.Person(t, "alice")}
	h.id, h.url = h.vaults.NewVault(t, h.alice)
	return h
}

// view returns Alice's vault as somebody may see it.
func (h *house) view(who coffer.Keyring, capability []byte) *vault.View {
	return h.vaults.As(h.vaults.Caller(h.t, who, h.url, capability), h.id)
}

func (h *house) clock() time.Time {
	if h.now.IsZero() {
		return time.Now()
	}
	return h.now
}

func resolver(t testing.TB) coffer.Resolver {
	t.Helper()
	r, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// owner returns an agent of Alice's. The options may change what it is made of.
func (h *house) owner(options ...func(*agent.Options)) *agent.Agent {
	h.t.Helper()
	o := agent.Options{
		Vault: h.view(h.alice, nil), Keyring: h.alice, Resolver: resolver(h.t), URL: h.url,
		Revoker: revoker{h}, Now: h.clock,
	}
	for _, change := range options {
		change(&o)
	}
	return newAgent(h.t, o)
}

// guest returns an agent of somebody else for one object of a link.
func (h *house) guest(who coffer.Keyring, s agent.Shared) *agent.Agent {
	h.t.Helper()
	own := newAgent(h.t, agent.Options{Vault: h.view(who, nil), Keyring: who, Resolver: resolver(h.t)})
	return own.In(h.view(who, s.Capability))
}

func newAgent(t testing.TB, o agent.Options) *agent.Agent {
	t.Helper()
	a, err := agent.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// revoker revokes as Alice.
type revoker struct{ h *house }

func (r revoker) Revoke(ctx context.Context, capability []byte) error {
	url := r.h.url + "/zcaps/revocations/x"
	return r.h.view(r.h.alice, nil).Revoke(ctx, url, r.h.vaults.Chain(r.h.t, capability), capability)
}

// on returns an option that puts a wrapper around the vault.
func on(wrap func(coffer.Vault) coffer.Vault) func(*agent.Options) {
	return func(o *agent.Options) { o.Vault = wrap(o.Vault) }
}

// noise returns n bytes that do not repeat.
func noise(seed uint64, n int) []byte {
	b := make([]byte, n)
	var key [32]byte
	key[0], key[1] = byte(seed), byte(seed>>8)
	rand.NewChaCha8(key).Read(b)
	return b
}

func file(b []byte) agent.Source {
	return agent.Source{
		Reader: bytes.NewReader(b), Size: int64(len(b)), Modified: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Mode: 0o640,
	}
}

func put(t testing.TB, a *agent.Agent, path string, b []byte) agent.Info {
	t.Helper()
	i, err := a.Put(t.Context(), path, file(b), agent.PutOptions{})
	if err != nil {
		t.Fatalf("put: %v", err)
	}
	return i
}

func get(t testing.TB, a *agent.Agent, path string) []byte {
	t.Helper()
	o, err := a.Get(t.Context(), path)
	if err != nil {
		t.Fatalf("get: %v", err)
	}
	return read(t, o)
}

func read(t testing.TB, o *agent.Object) []byte {
	t.Helper()
	r := o.Open(t.Context())
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil {
		t.Fatalf("read: %v", err)
	}
	return b
}

func expect(t testing.TB, err error, kind coffer.Kind) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error is %v, want kind %q", err, kind)
	}
}

// paths returns the paths that a listing yields, sorted.
func paths(t testing.TB, list iter.Seq2[agent.Info, error]) []string {
	t.Helper()
	names := []string{}
	for i, err := range list {
		if err != nil {
			t.Fatalf("list: %v", err)
		}
		names = append(names, i.Path)
	}
	slices.Sort(names)
	return names
}

func same(t testing.TB, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Fatalf("got %q, want %q", got, want)
	}
}

// at collects what WriteTo writes.
type at struct {
	mu sync.Mutex
	b  []byte
}

func (w *at) WriteAt(p []byte, offset int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if need := int(offset) + len(p); need > len(w.b) {
		w.b = append(w.b, make([]byte, need-len(w.b))...)
	}
	return copy(w.b[offset:], p), nil
}

// memory is a Journal.
type memory struct {
	mu    sync.Mutex
	notes map[string][]byte
}

func (m *memory) Load(_ context.Context, name string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b, ok := m.notes[name]; ok {
		return b, nil
	}
	return nil, coffer.E("journal", coffer.NotExist, nil)
}

func (m *memory) Save(_ context.Context, name string, b []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.notes == nil {
		m.notes = make(map[string][]byte)
	}
	m.notes[name] = bytes.Clone(b)
	return nil
}

func (m *memory) Delete(_ context.Context, name string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.notes, name)
	return nil
}

// Alice stores files of all sorts of sizes and reads them from another of her devices, which has nothing but her keys.
func TestUC01(t *testing.T) {
	h := newHouse(t)
	phone, laptop := h.owner(), h.owner()
	const chunk = 1 << 20
	sizes := []int{0, 1, 900, agent.MaxInline, agent.MaxInline + 1, chunk - 1, chunk, chunk + 1, 3*chunk + 77}
	for n, size := range sizes {
		path := fmt.Sprintf("deep/er/%d.bin", size)
		b := noise(uint64(n), size)
		var last int64
		info, err := phone.Put(t.Context(), path, file(b), agent.PutOptions{Progress: func(done, total int64) {
			if done < last || total != int64(size) {
				t.Errorf("progress from %d to %d of %d", last, done, total)
			}
			last = done
		}})
		if err != nil {
			t.Fatalf("%d bytes: %v", size, err)
		}
		if last != int64(size) || info.Size != int64(size) || info.Path != path || !info.Own {
			t.Fatalf("%d bytes: progress %d, %+v", size, last, info)
		}
		o, err := laptop.Get(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		if got := read(t, o); !bytes.Equal(got, b) {
			t.Fatalf("%d bytes came back as others", size)
		}
		w := &at{}
		if err := o.WriteTo(t.Context(), w, nil); err != nil || !bytes.Equal(w.b, b) {
			t.Fatalf("%d bytes: WriteTo: %v", size, err)
		}
		for _, r := range [][2]int{{0, 1}, {size / 2, size}, {size - 1, 1}, {chunk - 1, 2}, {size, 1}} {
			from, n := max(0, r[0]), r[1]
			p := make([]byte, n)
			k, err := o.ReadAt(t.Context(), p, int64(from))
			want := b[min(from, size):min(from+n, size)]
			if !bytes.Equal(p[:k], want) || (err == io.EOF) != (len(want) < n) || err != nil && err != io.EOF {
				t.Fatalf("%d bytes: ReadAt(%d, %d) = %d, %v", size, from, n, k, err)
			}
		}
		if o.Mode != 0o640 || !o.Modified.Equal(file(nil).Modified) || o.Type != agent.TypeFile {
			t.Fatalf("description came back as %+v", o.Info)
		}
	}
	if n := len(paths(t, laptop.List(t.Context(), "deep/er"))); n != len(sizes) {
		t.Fatalf("%d of %d files are listed", n, len(sizes))
	}
	same(t, paths(t, laptop.List(t.Context(), "")), []string{"deep"})
	if n := len(paths(t, laptop.Walk(t.Context(), "/"))); n != len(sizes)+2 {
		t.Fatalf("walked %d objects", n)
	}
}

// The operator looks for a marker in all that it has of a vault: bodies, tags and chunks.
func TestUC02(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	marker := []byte("the-marker-in-the-file")
	put(t, a, "small/the-marker-in-the-name", marker)
	put(t, a, "big/the-marker-in-the-name", bytes.Repeat(marker, 3e5))
	typed := map[string]string{"f": string(marker)}
	if _, err := agent.Put(t.Context(), a, "typed/the-marker-in-the-name", typed); err != nil {
		t.Fatal(err)
	}
	v := h.view(h.alice, nil)
	seen := 0
	look := func(b []byte) {
		seen++
		if bytes.Contains(b, []byte("marker")) {
			t.Error("the provider sees the marker")
		}
	}
	for d, err := range v.Query(t.Context(), coffer.Query{}) {
		if err != nil {
			t.Fatal(err)
		}
		look(d.Body)
		look(fmt.Append(nil, d.Tags))
		if d.Stream == nil {
			continue
		}
		for i := range d.Stream.Chunks {
			_, r, err := v.Chunk(t.Context(), d.ID, i)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			r.Close()
			if err != nil {
				t.Fatal(err)
			}
			look(b)
		}
	}
	if seen < 2*6+7 {
		t.Fatalf("only %d things were looked at", seen)
	}
}

// Bob, an anonymous client and the operator request Alice's object by its exact address.
func TestUC03(t *testing.T) {
	h := newHouse(t)
	info := put(t, h.owner(), "secret.txt", []byte("secret"))
	bob := coffertest.Person(t, "bob")

	_, err := newAgent(t, agent.Options{Vault: h.view(bob, nil), Keyring: bob}).GetID(t.Context(), info.ID)
	expect(t, err, coffer.NotExist)
	nobody := h.vaults.As(grant.Caller{}, h.id)
	_, err = newAgent(t, agent.Options{Vault: nobody, Keyring: bob}).GetID(t.Context(), info.ID)
	expect(t, err, coffer.NotExist)
	// The operator needs no permission, and has no key.
	_, err = newAgent(t, agent.Options{Vault: h.view(h.alice, nil), Keyring: bob}).GetID(t.Context(), info.ID)
	expect(t, err, coffer.Denied)

	if got := get(t, h.owner(), "secret.txt"); string(got) != "secret" {
		t.Fatalf("Alice reads %q", got)
	}
}

// Two files of one name in two folders do not get in each other's way.
func TestSameName(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	put(t, a, "work/tax-2025.pdf", []byte("one"))
	put(t, a, "home/tax-2025.pdf", []byte("two"))
	if string(get(t, a, "work/tax-2025.pdf")) != "one" || string(get(t, a, "home/tax-2025.pdf")) != "two" {
		t.Fatal("files of one name are mixed up")
	}
	same(t, paths(t, a.Find(t.Context(), "name:tax-2025.pdf")), []string{"home/tax-2025.pdf", "work/tax-2025.pdf"})
}

func TestReplace(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	small, big, other := []byte("small"), noise(1, 1<<20+5), noise(2, 2<<20+5)
	id := put(t, a, "f", small).ID
	for n, b := range [][]byte{big, other, small, other, nil, big} {
		info := put(t, a, "f", b)
		if info.ID != id {
			t.Fatal("replacing gave the object another id")
		}
		if !bytes.Equal(get(t, a, "f"), b) {
			t.Fatalf("step %d: what is read is not what was put last", n)
		}
	}
	same(t, paths(t, a.List(t.Context(), "")), []string{"f"})
}

func TestPutOver(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	first, err := a.Put(t.Context(), "f", file([]byte("1")), agent.PutOptions{Over: &agent.Info{}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Put(t.Context(), "f", file([]byte("x")), agent.PutOptions{Over: &agent.Info{}})
	expect(t, err, coffer.Conflict)
	if _, err = a.Put(t.Context(), "f", file([]byte("2")), agent.PutOptions{Over: &first}); err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{[]byte("x"), noise(1, 1<<17)} {
		_, err = a.Put(t.Context(), "f", file(b), agent.PutOptions{Over: &first})
		expect(t, err, coffer.Conflict)
	}
	if string(get(t, a, "f")) != "2" {
		t.Fatal("a refused put left something")
	}
}

func TestSourceLengths(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	for _, length := range []int{0, 5, agent.MaxInline, agent.MaxInline + 1, 1<<20 - 1, 1 << 20, 2<<20 + 1} {
		b := noise(3, length)
		// Not known beforehand, and read a little at a time.
		halves := io.MultiReader(bytes.NewReader(b[:length/2]), bytes.NewReader(b[length/2:]))
		s := agent.Source{Reader: halves, Size: -1}
		if _, err := a.Put(t.Context(), "f", s, agent.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(get(t, a, "f"), b) {
			t.Fatalf("%d bytes came back as others", length)
		}
		for _, wrong := range []int{length - 1, length + 1, length + 1<<20} {
			if wrong < 0 {
				continue
			}
			s := agent.Source{Reader: bytes.NewReader(b), Size: int64(wrong)}
			_, err := a.Put(t.Context(), "f", s, agent.PutOptions{})
			expect(t, err, coffer.Conflict)
		}
		if !bytes.Equal(get(t, a, "f"), b) {
			t.Fatalf("a refused put changed what is there")
		}
	}
	failing := agent.Source{Reader: io.MultiReader(bytes.NewReader(noise(1, 1<<21)), failingReader{}), Size: -1}
	if _, err := a.Put(t.Context(), "g", failing, agent.PutOptions{}); !errors.Is(err, errSource) {
		t.Fatalf("a source that fails gives %v", err)
	}
	_, err := a.Stat(t.Context(), "g")
	expect(t, err, coffer.NotExist)
	same(t, paths(t, a.List(t.Context(), "")), []string{"f"})
}

var errSource = errors.New("source fails")

type failingReader struct{}

func (failingReader) Read([]byte) (int, error) { return 0, errSource }

func TestFolders(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	ctx := t.Context()
	put(t, a, "a/b/c/f", nil)
	put(t, a, "a/g", nil)
	if err := a.MkdirAll(ctx, "a/b/empty"); err != nil {
		t.Fatal(err)
	}
	if err := a.MkdirAll(ctx, "a/b/empty/"); err != nil {
		t.Fatal(err)
	}
	expect(t, a.MkdirAll(ctx, "a/g"), coffer.Conflict)
	same(t, paths(t, a.List(ctx, "a")), []string{"a/b", "a/g"})
	same(t, paths(t, a.Walk(ctx, "a")), []string{"a/b", "a/b/c", "a/b/c/f", "a/b/empty", "a/g"})
	parent := map[string]bool{"a": true}
	for i, err := range a.Walk(ctx, "a") {
		if err != nil || !parent[i.Path[:strings.LastIndex(i.Path, "/")]] {
			t.Fatalf("walk came to a path before its folder (%v)", err)
		}
		parent[i.Path] = true
	}
	_, err := a.Put(ctx, "a/g/x", file(nil), agent.PutOptions{})
	expect(t, err, coffer.Conflict)
	_, err = a.Put(ctx, "a/b", file(nil), agent.PutOptions{})
	expect(t, err, coffer.Conflict)
	_, err = a.Get(ctx, "a/b")
	expect(t, err, coffer.Conflict)
	for _, err := range a.List(ctx, "a/g") {
		expect(t, err, coffer.NotExist)
	}
	for _, err := range a.Walk(ctx, "nowhere") {
		expect(t, err, coffer.NotExist)
	}
	if i, err := a.Stat(ctx, "/"); err != nil || !i.IsFolder() {
		t.Fatalf("the root is %+v, %v", i, err)
	}
	if i, err := a.Stat(ctx, "/a/b/"); err != nil || !i.IsFolder() || i.Name() != "b" {
		t.Fatalf("a folder is %+v, %v", i, err)
	}

	expect(t, a.Remove(ctx, "a", false), coffer.Conflict)
	expect(t, a.Remove(ctx, "nowhere", true), coffer.NotExist)
	if err := a.Remove(ctx, "a/b/empty", false); err != nil {
		t.Fatal(err)
	}
	for n := range 150 { // more than are erased in one commit
		put(t, a, fmt.Sprintf("a/b/many/%d", n), nil)
	}
	if err := a.Remove(ctx, "a", true); err != nil {
		t.Fatal(err)
	}
	same(t, paths(t, a.Walk(ctx, "")), []string{})
	n, err := h.view(h.alice, nil).Count(ctx, coffer.Query{})
	if err != nil || n != 0 {
		t.Fatalf("%d documents are left after removing all (%v)", n, err)
	}
	put(t, a, "a/b/c/f", []byte("again"))
}

func TestPathsRefused(t *testing.T) {
	a := newHouse(t).owner()
	ctx := t.Context()
	for _, p := range []string{"", "/", "//", "a//b", "..", "a/../b", "./a", "a/.", "a\x00b", "a\xff",
		".coffer", ".coffer/grants/x",
		strings.Repeat("a", agent.MaxPath+1), strings.Repeat("a/", agent.MaxDepth) + "a"} {
		_, err := a.Put(ctx, p, file(nil), agent.PutOptions{})
		expect(t, err, coffer.Invalid)
		_, err = a.Get(ctx, p)
		expect(t, err, coffer.Invalid)
		expect(t, a.Remove(ctx, p, true), coffer.Invalid)
		expect(t, a.MkdirAll(ctx, p), coffer.Invalid)
	}
	for _, p := range []string{`C:\Windows`, "nul", "a b", "ü", "…", ".hidden", ".coffer2", "a\nb",
		strings.Repeat("a/", agent.MaxDepth-1) + "a"} {
		put(t, a, p, []byte(p))
		if string(get(t, a, p)) != p {
			t.Fatalf("%q came back as something else", p)
		}
	}
	for _, s := range []agent.Source{
		{}, {Value: []byte(`{}`)}, {Value: []byte(`{`), Type: "T"}, {Value: []byte(`{"a":1,"a":2}`), Type: "T"},
		{Value: []byte(`{}`), Type: agent.TypeFolder}, {Value: []byte(`{}`), Type: agent.TypeFile},
		{Value: []byte(`{}`), Type: "Grant"},
		{Value: make([]byte, agent.MaxValue+1), Type: "T"}, {Value: []byte(`{}`), Type: strings.Repeat("T", 257)},
	} {
		_, err := a.Put(ctx, "x", s, agent.PutOptions{})
		expect(t, err, coffer.Invalid)
	}
}

// Eight writers at once: everybody's put succeeds or says that it lost, and what is left is one of theirs, whole.
func TestConcurrentPut(t *testing.T) {
	for _, size := range []int{100, 1<<20 + 100} {
		h := newHouse(t)
		const writers = 8
		var group sync.WaitGroup
		var mu sync.Mutex
		won := make(map[int]bool)
		for n := range writers {
			a := h.owner()
			group.Go(func() {
				b := noise(uint64(n), size)
				_, err := a.Put(t.Context(), "folder/contended", file(b), agent.PutOptions{})
				if err != nil && !errors.Is(err, coffer.Conflict) {
					t.Errorf("a writer fails with %v", err)
				}
				if err == nil {
					mu.Lock()
					won[n] = true
					mu.Unlock()
				}
				put(t, a, fmt.Sprintf("folder/%d", n), nil)
			})
		}
		group.Wait()
		got := get(t, h.owner(), "folder/contended")
		if len(won) == 0 {
			t.Fatal("nobody won")
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(won)), func(n int) bool {
			return bytes.Equal(got, noise(uint64(n), size))
		}) {
			t.Fatal("what is there is nobody's who had won")
		}
		if n := len(paths(t, h.owner().Walk(t.Context(), ""))); n != writers+2 {
			t.Fatalf("%d objects are there, not %d", n, writers+2)
		}
	}
}
