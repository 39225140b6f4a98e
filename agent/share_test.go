package agent_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/keyring"
)

var readWrite = []grant.Action{grant.Read, grant.Write}

// share shares a path and returns the link as the reader gets it: as text.
func share(t testing.TB, a *agent.Agent, path string, o agent.ShareOptions) (*agent.Grant, *agent.Link) {
	t.Helper()
	g, l, err := a.Share(t.Context(), path, o)
	if err != nil {
		t.Fatalf("share: %v", err)
	}
	opened, err := agent.OpenLink(l.String())
	if err != nil {
		t.Fatalf("link: %v", err)
	}
	return g, opened
}

// sees expects somebody to read just this at the end of a link to one object.
func (h *house) sees(who coffer.Keyring, l *agent.Link, want []byte) {
	h.t.Helper()
	if len(l.Objects) != 1 {
		h.t.Fatalf("the link has %d objects", len(l.Objects))
	}
	o, err := h.guest(who, l.Objects[0]).GetID(h.t.Context(), l.Objects[0].ID)
	if err != nil {
		h.t.Fatalf("get: %v", err)
	}
	if !bytes.Equal(read(h.t, o), want) {
		h.t.Fatal("the reader sees something else")
	}
}

func (h *house) denied(who coffer.Keyring, l *agent.Link) {
	h.t.Helper()
	for _, s := range l.Objects {
		_, err := h.guest(who, s).GetID(h.t.Context(), s.ID)
		expect(h.t, err, coffer.NotExist)
	}
}

// Alice saves a new object naming Bob in the same breath; Bob opens it while she is away.
func TestUC11(t *testing.T) {
	h := newHouse(t)
	bob := coffertest.Person(t, "bob")
	for _, content := range [][]byte{[]byte("hello Bob"), noise(1, 2<<20+1)} {
		a := h.owner()
		put(t, a, "for/bob", content)
		_, link := share(t, a, "for/bob", agent.ShareOptions{With: bob.DID()})
		if link.From != h.alice.DID() || link.Vault != h.url {
			t.Fatalf("the link is %+v", link)
		}
		h.sees(bob, link, content)
		// It is of use to nobody else.
		carol := coffertest.Person(t, "carol")
		if c := h.vaults.Caller(t, bob, h.url, link.Objects[0].Capability); c.Who() != bob.DID() {
			t.Fatalf("Bob is %q to the vault", c.Who())
		}
		if _, err := grant.NewInvoker(carol, string(link.Objects[0].Capability)); !errors.Is(err, coffer.Denied) {
			t.Fatalf("Carol uses Bob's capability: %v", err)
		}
	}
}

// Alice shares what she stored before: nothing is uploaded again.
func TestUC12(t *testing.T) {
	h := newHouse(t)
	bob := coffertest.Person(t, "bob")
	content := noise(1, 3<<20)
	put(t, h.owner(), "old", content)
	a := h.owner(on(func(v coffer.Vault) coffer.Vault {
		return &hostile{Vault: v, put: func(coffer.ChunkRef) error {
			t.Error("a chunk was uploaded")
			return nil
		}}
	}))
	_, link := share(t, a, "old", agent.ShareOptions{With: bob.DID()})
	h.sees(bob, link, content)
	info, err := a.Stat(t.Context(), "old")
	if err != nil || !slices.Contains(info.Readers, bob.Key(coffer.AgreementKey).ID) || len(info.Readers) != 2 {
		t.Fatalf("the owner is told of readers %q (%v)", info.Readers, err)
	}
}

// Alice shares with a service: a key and no person. It fetches and decrypts just that item.
func TestUC13(t *testing.T) {
	h := newHouse(t)
	service := keyring.Generate()
	defer service.Close()
	a := h.owner()
	put(t, a, "in/order", []byte("order"))
	other := put(t, a, "in/other", []byte("other"))
	_, link := share(t, a, "in/order", agent.ShareOptions{With: service.DID()})
	h.sees(service, link, []byte("order"))
	guest := h.guest(service, link.Objects[0])
	_, err := guest.GetID(t.Context(), other.ID)
	if !errors.Is(err, coffer.NotExist) && !errors.Is(err, coffer.Denied) {
		t.Fatalf("the service gets the other item: %v", err)
	}
	for _, err := range guest.List(t.Context(), "") {
		if err == nil {
			t.Fatal("the service lists the vault")
		}
	}
	// Reading is not writing.
	_, err = guest.PutID(t.Context(), link.Objects[0].ID, file([]byte("x")), agent.PutOptions{})
	expect(t, err, coffer.Denied)
}

// Alice shares item A of a folder of ten: B to J are denied, and there is a record of A only.
func TestUC14(t *testing.T) {
	h := newHouse(t)
	bob := coffertest.Person(t, "bob")
	a := h.owner()
	var others []agent.Info
	for _, name := range "ABCDEFGHIJ" {
		i := put(t, a, "ten/"+string(name), []byte(string(name)))
		if name != 'A' {
			others = append(others, i)
		}
	}
	g, link := share(t, a, "ten/A", agent.ShareOptions{With: bob.DID()})
	h.sees(bob, link, []byte("A"))
	for _, o := range others {
		_, err := h.guest(bob, link.Objects[0]).GetID(t.Context(), o.ID)
		if !errors.Is(err, coffer.NotExist) && !errors.Is(err, coffer.Denied) {
			t.Fatalf("Bob gets another item: %v", err)
		}
		docs, err := h.view(h.alice, nil).Get(t.Context(), o.ID)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := seal.Open(t.Context(), bob, docs[0]); !errors.Is(err, coffer.Denied) {
			t.Fatalf("Bob opens another item: %v", err)
		}
	}
	n := 0
	for r, err := range a.Grants(t.Context()) {
		if n++; err != nil || r.ID != g.ID || r.Path != "ten/A" || r.With != bob.DID() ||
			len(r.Objects) != 1 || r.Revoked() {
			t.Fatalf("the record is %+v, %v", r, err)
		}
	}
	if n != 1 {
		t.Fatalf("there are %d records", n)
	}
	// Records are the agent's own.
	same(t, paths(t, a.List(t.Context(), "")), []string{"ten"})
	same(t, paths(t, a.Find(t.Context(), "type:Grant")), []string{})
	same(t, paths(t, a.Find(t.Context(), "folder:.coffer/grants")), []string{})
}

// A folder is shared with one link: what is in it now, at any depth.
func TestShareFolder(t *testing.T) {
	h := newHouse(t)
	bob := coffertest.Person(t, "bob")
	a := h.owner()
	put(t, a, "f/a", []byte("a"))
	put(t, a, "f/deep/er/b", []byte("b"))
	put(t, a, "g", []byte("g"))
	_, link := share(t, a, "f", agent.ShareOptions{With: bob.DID()})
	var got []string
	for _, s := range link.Objects {
		o, err := h.guest(bob, s).GetID(t.Context(), s.ID)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, o.Path+"="+string(read(t, o)))
	}
	slices.Sort(got)
	same(t, got, []string{"f/a=a", "f/deep/er/b=b"})

	if err := a.MkdirAll(t.Context(), "empty"); err != nil {
		t.Fatal(err)
	}
	_, _, err := a.Share(t.Context(), "empty", agent.ShareOptions{With: bob.DID()})
	expect(t, err, coffer.NotExist)

	// A part is revoked, then the rest.
	if err := a.Revoke(t.Context(), agent.Revocation{Path: "f/deep", With: bob.DID()}); err != nil {
		t.Fatal(err)
	}
	var denied int
	for _, s := range link.Objects {
		if _, err := h.guest(bob, s).GetID(t.Context(), s.ID); errors.Is(err, coffer.NotExist) {
			denied++
		}
	}
	if denied != 1 {
		t.Fatalf("%d of 2 objects are denied", denied)
	}
	if err := a.Revoke(t.Context(), agent.Revocation{Path: "/", With: bob.DID()}); err != nil {
		t.Fatal(err)
	}
	h.denied(bob, link)
	expect(t, a.Revoke(t.Context(), agent.Revocation{Path: "g", With: bob.DID()}), coffer.NotExist)
	expect(t, a.Revoke(t.Context(), agent.Revocation{Grant: "x"}), coffer.NotExist)
}

// The operator edits the store to add Bob to an item without Alice: Bob cannot decrypt, and what Alice writes next is
// not sealed to him either.
func TestUC15(t *testing.T) {
	h := newHouse(t)
	bob, carol := coffertest.Person(t, "bob"), coffertest.Person(t, "carol")
	a := h.owner()
	info := put(t, a, "B", []byte("private"))
	share(t, a, "B", agent.ShareOptions{With: carol.DID()})
	// Bob's name in the list of recipients, which nothing protects: the place of Carol's, with her wrapped key.
	var written []byte
	bad := h.owner(on(func(v coffer.Vault) coffer.Vault {
		note := func(w []coffer.Write) { written = w[0].Document.Body }
		return &hostile{Vault: v, written: note, document: func(d *coffer.Document) *coffer.Document {
			forged := *d
			old, name := []byte(carol.Key(coffer.AgreementKey).ID), []byte(bob.Key(coffer.AgreementKey).ID)
			forged.Body = bytes.ReplaceAll(d.Body, old, name)
			if d.ID == info.ID && bytes.Equal(forged.Body, d.Body) {
				t.Error("nothing was forged")
			}
			return &forged
		}}
	}))
	o, err := bad.Get(t.Context(), "B")
	if err != nil || slices.Contains(o.Readers, bob.Key(coffer.AgreementKey).ID) {
		t.Fatalf("the forged reader is believed: %q, %v", o.Readers, err)
	}
	docs, err := h.view(h.alice, nil).Get(t.Context(), info.ID)
	if err != nil {
		t.Fatal(err)
	}
	forged := *docs[0]
	old, name := []byte(carol.Key(coffer.AgreementKey).ID), []byte(bob.Key(coffer.AgreementKey).ID)
	forged.Body = bytes.ReplaceAll(forged.Body, old, name)
	if _, err := seal.Open(t.Context(), bob, &forged); err == nil {
		t.Fatal("Bob opens it")
	}
	_, err = bad.Put(t.Context(), "B", file([]byte("next")), agent.PutOptions{})
	expect(t, err, coffer.Unavailable)
	if bytes.Contains(written, []byte(bob.DID())) || !bytes.Contains(written, []byte(carol.DID())) {
		t.Fatal("the next revision is sealed to Bob, or not to Carol")
	}
}

// Alice revokes Bob: his next request is denied, later versions do not open with his keys; Carol sees all of it.
func TestUC16(t *testing.T) {
	for _, content := range [][]byte{[]byte("first"), noise(1, 2<<20+3)} {
		h := newHouse(t)
		bob, carol := coffertest.Person(t, "bob"), coffertest.Person(t, "carol")
		a := h.owner()
		info := put(t, a, "f", content)
		bobs, toBob := share(t, a, "f", agent.ShareOptions{With: bob.DID()})
		_, toCarol := share(t, a, "f", agent.ShareOptions{With: carol.DID()})
		h.sees(bob, toBob, content)
		h.sees(carol, toCarol, content)

		// All the ciphertext that Bob could have kept, and what he knows of it.
		view := h.view(h.alice, nil)
		before, err := view.Get(t.Context(), info.ID)
		if err != nil {
			t.Fatal(err)
		}
		known, err := seal.Open(t.Context(), bob, before[0])
		if err != nil {
			t.Fatal(err)
		}
		var done int64
		progress := func(_ coffer.ObjectID, n, total int64) { done = n }
		err = a.Revoke(t.Context(), agent.Revocation{Grant: bobs.ID, Progress: progress})
		if err != nil {
			t.Fatal(err)
		}
		h.denied(bob, toBob)
		h.sees(carol, toCarol, content)
		if !bytes.Equal(get(t, a, "f"), content) {
			t.Fatal("revoking changed the content")
		}
		after, err := view.Get(t.Context(), info.ID)
		if err != nil {
			t.Fatal(err)
		}
		_, err = seal.Open(t.Context(), bob, after[0])
		expect(t, err, coffer.Denied)
		if known.Stream != nil {
			if done != int64(len(content)) {
				t.Errorf("progress ended at %d", done)
			}
			// Even with the vault's help Bob's key opens no chunk that is there now.
			opener, err := seal.NewChunkOpener(bob, known)
			if err != nil {
				t.Fatal(err)
			}
			_, r, err := view.Chunk(t.Context(), info.ID, 0)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			_, err = opener.Open(t.Context(), nil, raw, 0)
			expect(t, err, coffer.Corrupt)
		}
		put(t, a, "f", []byte("later"))
		h.denied(bob, toBob)
		h.sees(carol, toCarol, []byte("later"))
		for g, err := range a.Grants(t.Context()) {
			if err != nil || g.Revoked() != (g.With == bob.DID()) {
				t.Fatalf("the record is %+v, %v", g, err)
			}
		}
		// Doing it again changes nothing.
		was, _ := a.Stat(t.Context(), "f")
		if err := a.Revoke(t.Context(), agent.Revocation{Grant: bobs.ID}); err != nil {
			t.Fatal(err)
		}
		if is, _ := a.Stat(t.Context(), "f"); is.Sequence != was.Sequence {
			t.Fatal("revoking again sealed again")
		}
		// And Bob can be let in again.
		_, again := share(t, a, "f", agent.ShareOptions{With: bob.DID()})
		h.sees(bob, again, []byte("later"))
		h.denied(bob, toBob)
	}
}

// faulty is a vault whose nth write fails.
type faulty struct {
	coffer.Vault
	left int
}

func (f *faulty) step() error {
	if f.left--; f.left < 0 {
		return coffer.E("write", coffer.Unavailable, nil)
	}
	return nil
}

func (f *faulty) Apply(ctx context.Context, w ...coffer.Write) ([]coffer.Change, error) {
	if err := f.step(); err != nil {
		return nil, err
	}
	return f.Vault.Apply(ctx, w...)
}

func (f *faulty) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	if err := f.step(); err != nil {
		return err
	}
	return f.Vault.PutChunk(ctx, id, ref, r)
}

// Revoking is interrupted at every write: Bob is out from the first on, and calling again finishes.
func TestRevokeInterrupted(t *testing.T) {
	bob, carol := coffertest.Person(t, "bob"), coffertest.Person(t, "carol")
	content := noise(1, 1<<20+3)
	for writes := 0; ; writes++ {
		h := newHouse(t)
		a := h.owner()
		small, big := put(t, a, "f/small", []byte("small")), put(t, a, "f/big", content)
		_, toBob := share(t, a, "f", agent.ShareOptions{With: bob.DID(), Actions: readWrite})
		_, toCarol := share(t, a, "f/big", agent.ShareOptions{With: carol.DID()})
		known := make(map[coffer.ObjectID][]byte) // the stream's chunks
		_, r, err := h.view(h.alice, nil).Chunk(t.Context(), big.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		if known[big.ID], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}

		failing := h.owner(func(o *agent.Options) {
			o.Vault = &faulty{o.Vault, writes}
			o.Workers = 1
		})
		failed := failing.Revoke(t.Context(), agent.Revocation{With: bob.DID()})
		if failed != nil {
			expect(t, failed, coffer.Unavailable)
		}
		h.denied(bob, toBob)
		h.sees(carol, toCarol, content)
		if err := a.Revoke(t.Context(), agent.Revocation{With: bob.DID()}); err != nil {
			t.Fatalf("after %d writes: %v", writes, err)
		}
		for _, i := range []agent.Info{small, big} {
			docs, err := h.view(h.alice, nil).Get(t.Context(), i.ID)
			if err != nil {
				t.Fatal(err)
			}
			_, err = seal.Open(t.Context(), bob, docs[0])
			expect(t, err, coffer.Denied)
		}
		if string(get(t, a, "f/small")) != "small" || !bytes.Equal(get(t, a, "f/big"), content) {
			t.Fatalf("after %d writes the content is another", writes)
		}
		h.sees(carol, toCarol, content)
		_, r, err = h.view(h.alice, nil).Chunk(t.Context(), big.ID, 1)
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(r); err != nil || bytes.Equal(b, known[big.ID]) {
			t.Fatalf("after %d writes, the chunk is still the one whose key Bob has", writes)
		}
		if failed == nil {
			if writes < 5 {
				t.Fatalf("revoking took only %d writes", writes)
			}
			break
		}
	}
}

// Sharing until a time: later versions are not sealed to the reader, and the vault refuses.
func TestUC17(t *testing.T) {
	h := newHouse(t)
	bob := coffertest.Person(t, "bob")
	a := h.owner()
	info := put(t, a, "f", []byte("before"))
	until := time.Now().Add(time.Hour)
	g, link := share(t, a, "f", agent.ShareOptions{With: bob.DID(), Until: until})
	if !link.Objects[0].Until.Equal(until.Truncate(time.Second)) || !g.Until.Equal(link.Objects[0].Until) {
		t.Fatalf("until %v became %v", until, link.Objects[0].Until)
	}
	h.sees(bob, link, []byte("before"))
	put(t, a, "f", []byte("still before"))
	h.sees(bob, link, []byte("still before"))

	h.now = until.Add(time.Second)
	put(t, a, "f", []byte("after"))
	docs, err := h.view(h.alice, nil).Get(t.Context(), info.ID)
	if err != nil {
		t.Fatal(err)
	}
	_, err = seal.Open(t.Context(), bob, docs[0])
	expect(t, err, coffer.Denied)
	// What has ended needs no revoking to be cleared away.
	if err := a.Revoke(t.Context(), agent.Revocation{Grant: g.ID}); err != nil {
		t.Fatal(err)
	}
}

func TestShareRefused(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	put(t, a, "f", nil)
	bob := coffertest.Person(t, "bob").DID()
	now := time.Now()
	for name, o := range map[string]agent.ShareOptions{
		"nobody":         {},
		"oneself":        {With: h.alice.DID()},
		"no identifier":  {With: "bob"},
		"the past":       {With: bob, Until: now.Add(-time.Minute)},
		"too long":       {With: bob, Until: now.AddDate(1, 0, 2)},
		"writing blind":  {With: bob, Actions: []grant.Action{grant.Write}},
		"unknown action": {With: bob, Actions: []grant.Action{grant.Read, ""}},
	} {
		if _, _, err := a.Share(t.Context(), "f", o); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	_, _, err := a.Share(t.Context(), "nowhere", agent.ShareOptions{With: bob})
	expect(t, err, coffer.NotExist)
	for g, err := range a.Grants(t.Context()) {
		t.Errorf("a refused share left %+v, %v", g, err)
	}
}

// Bob writes through a grant. Alice finds and reads what he wrote as before; Carol, too; and once he is revoked, what
// he left is Alice's.
func TestWriteBack(t *testing.T) {
	for _, content := range [][]byte{[]byte("by Bob"), noise(1, 2<<20+3)} {
		h := newHouse(t)
		bob, carol := coffertest.Person(t, "bob"), coffertest.Person(t, "carol")
		a := h.owner()
		put(t, a, "draft/plan one.txt", []byte("by Alice"))
		_, toCarol := share(t, a, "draft", agent.ShareOptions{With: carol.DID()})
		g, toBob := share(t, a, "draft", agent.ShareOptions{With: bob.DID(), Actions: readWrite})
		guest := h.guest(bob, toBob.Objects[0])
		info, err := guest.PutID(t.Context(), toBob.Objects[0].ID, file(content), agent.PutOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if info.Path != "draft/plan one.txt" {
			t.Fatalf("Bob wrote to %q", info.Path)
		}
		h.sees(bob, toBob, content)
		h.sees(carol, toCarol, content)
		if !bytes.Equal(get(t, a, "draft/plan one.txt"), content) {
			t.Fatal("Alice reads something else")
		}
		same(t, paths(t, a.Find(t.Context(), "plan")), []string{"draft/plan one.txt"})
		if i, err := a.Stat(t.Context(), "draft/plan one.txt"); err != nil || i.Own {
			t.Fatalf("Alice takes it for her own: %+v, %v", i, err)
		}
		if err := a.Revoke(t.Context(), agent.Revocation{Grant: g.ID}); err != nil {
			t.Fatal(err)
		}
		h.denied(bob, toBob)
		if i, err := a.Stat(t.Context(), "draft/plan one.txt"); err != nil || !i.Own {
			t.Fatalf("it did not become Alice's: %+v, %v", i, err)
		}
		if !bytes.Equal(get(t, a, "draft/plan one.txt"), content) {
			t.Fatal("revoking changed the content")
		}
		h.sees(carol, toCarol, content)
	}
}

// Bob is revoked, and the provider lets him write all the same. That Alice then takes back what Carol was given does not
// make it hers.
func TestRevokedWriterIsNotTakenOver(t *testing.T) {
	h := newHouse(t)
	a, ctx := h.owner(), t.Context()
	bob, carol := coffertest.Person(t, "bob"), coffertest.Person(t, "carol")
	put(t, a, "deed", []byte("by Alice"))
	byBob, toBob := share(t, a, "deed", agent.ShareOptions{With: bob.DID(), Actions: readWrite})
	toCarol, _ := share(t, a, "deed", agent.ShareOptions{With: carol.DID()})
	id := toBob.Objects[0].ID
	seen, err := h.view(bob, toBob.Objects[0].Capability).Get(ctx, id) // while he may
	if err != nil {
		t.Fatal(err)
	}
	opened, err := seal.Open(ctx, bob, seen[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Revoke(ctx, agent.Revocation{Grant: byBob.ID}); err != nil {
		t.Fatal(err)
	}
	provider := h.view(h.alice, nil) // who asks nobody
	present, err := provider.Get(ctx, id)
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.Replace(opened.Content, []byte(base64.RawURLEncoding.EncodeToString([]byte("by Alice"))),
		[]byte(base64.RawURLEncoding.EncodeToString([]byte("by Mr. B"))), 1)
	forged, err := seal.Seal(ctx, bob, seal.Plain{Content: content, Meta: opened.Meta}, seal.Options{
		ID: id, Sequence: present[0].Sequence + 1, Parents: []coffer.Rev{present[0].Rev()}, Keep: opened.Entries,
		Recipients: []coffer.PublicKey{h.alice.Key(coffer.AgreementKey)},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := coffer.Put(ctx, provider, forged); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before", "after"} {
		if o, err := a.Get(ctx, "deed"); coffer.KindOf(err) != coffer.Corrupt {
			t.Errorf("%s Carol is revoked, Alice reads %+v, %v", when, o, err)
		}
		if err := a.Revoke(ctx, agent.Revocation{Grant: toCarol.ID}); err != nil {
			t.Fatal(err)
		}
	}
}

// Bob may write one object, and tries to make something else of it: a grant to himself for another object, a folder,
// a file elsewhere. Nothing of it is believed, nor becomes Alice's when she revokes him.
func TestWriterCannotMisplace(t *testing.T) {
	bob := coffertest.Person(t, "bob")
	for name, make := range map[string]func(private coffer.ObjectID) map[string]any{
		"a grant": func(private coffer.ObjectID) map[string]any {
			id := coffer.NewObjectID().String()
			key := bob.Key(coffer.AgreementKey)
			return map[string]any{
				"type": "Grant", "path": ".coffer/grants/" + id, "name": id, "folder": ".coffer/grants", "size": 1,
				"value": map[string]any{
					"path": "private", "with": bob.DID(), "actions": []string{"read"},
					"key":   map[string]any{"id": key.ID, "key": base64.RawURLEncoding.EncodeToString(key.Public)},
					"since": "2026-01-01T00:00:00Z", "until": "2999-01-01T00:00:00Z",
					"objects": []any{map[string]any{"id": private.String(), "capability": map[string]any{}}},
				},
			}
		},
		"a folder": func(coffer.ObjectID) map[string]any {
			return map[string]any{"type": "Folder", "path": "mine", "name": "mine", "folder": "", "size": 0}
		},
		"a file elsewhere": func(coffer.ObjectID) map[string]any {
			return map[string]any{"type": "File", "path": "elsewhere", "name": "elsewhere", "folder": "", "size": 0}
		},
		"nothing known": func(coffer.ObjectID) map[string]any { return map[string]any{"a": 1} },
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			a := h.owner()
			ctx := t.Context()
			private := put(t, a, "private", []byte("private"))
			put(t, a, "mine", []byte("x"))
			g, toBob := share(t, a, "mine", agent.ShareOptions{With: bob.DID(), Actions: readWrite})
			s := toBob.Objects[0]
			view := h.view(bob, s.Capability)
			docs, err := view.Get(ctx, s.ID)
			if err != nil {
				t.Fatal(err)
			}
			opened, err := seal.Open(ctx, bob, docs[0])
			if err != nil {
				t.Fatal(err)
			}
			content, err := json.Marshal(make(private.ID))
			if err != nil {
				t.Fatal(err)
			}
			d, err := seal.Seal(ctx, bob, seal.Plain{Content: content, Meta: opened.Meta}, seal.Options{
				ID: s.ID, Sequence: docs[0].Sequence + 1, Parents: []coffer.Rev{docs[0].Rev()}, Keep: opened.Entries,
				Recipients: []coffer.PublicKey{h.alice.Key(coffer.AgreementKey), bob.Key(coffer.AgreementKey)},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := coffer.Put(ctx, view, d); err != nil {
				t.Fatal(err)
			}
			check := func() {
				t.Helper()
				same(t, paths(t, a.List(ctx, "")), []string{"private"})
				_, err := a.Get(ctx, "mine")
				expect(t, err, coffer.Corrupt)
				n := 0
				for r, err := range a.Grants(ctx) {
					if n++; err != nil || r.ID != g.ID {
						t.Errorf("there is a grant %+v, %v", r, err)
					}
				}
				if n != 1 {
					t.Errorf("%d grants are found", n)
				}
			}
			check()
			if err := a.Revoke(ctx, agent.Revocation{Grant: g.ID}); err != nil {
				t.Fatal(err)
			}
			check()
			put(t, a, "private", []byte("next"))
			docs, err = h.view(h.alice, nil).Get(ctx, private.ID)
			if err != nil {
				t.Fatal(err)
			}
			_, err = seal.Open(ctx, bob, docs[0])
			expect(t, err, coffer.Denied)
		})
	}
}

func TestLinkRefused(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	put(t, a, "f", nil)
	bob := coffertest.Person(t, "bob")
	_, link := share(t, a, "f", agent.ShareOptions{With: bob.DID()})
	text := link.String()
	broken := strings.Replace(text, "coffer:", " \ncoffer:", 1)
	broken = broken[:len(broken)/2] + "\r\n  " + broken[len(broken)/2:] + "\n"
	if l, err := agent.OpenLink(broken); err != nil || l.String() != text {
		t.Fatalf("a link broken into lines: %v", err)
	}
	elsewhere := *link
	elsewhere.Vault = strings.Replace(link.Vault, "vault.example", "evil.example", 1)
	twice := *link
	for range agent.MaxShared {
		twice.Objects = append(twice.Objects, link.Objects[0])
	}
	whole, err := grant.Delegate(t.Context(), h.alice, h.url, grant.DelegateOptions{
		Controller: bob.DID(), Target: h.url + "/documents", Created: time.Now(), Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	broad := agent.Link{Vault: h.url, Objects: []agent.Shared{{Capability: whole}}}
	for name, text := range map[string]string{
		"empty": "", "no scheme": text[7:], "cut": text[:len(text)-9], "not base64": text + "=",
		"no objects": (&agent.Link{Vault: h.url}).String(), "not gzip": "coffer:e30",
		"another vault": elsewhere.String(), "too many": twice.String(), "all documents": broad.String(),
		"too long": "coffer:" + strings.Repeat("A", 2<<20),
	} {
		if _, err := agent.OpenLink(text); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzOpenLink(f *testing.F) {
	h := newHouse(f)
	a := h.owner()
	put(f, a, "f", nil)
	_, link, err := a.Share(f.Context(), "f", agent.ShareOptions{With: coffertest.Person(f, "bob").DID()})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(link.String())
	f.Add("coffer:")
	f.Add(fmt.Sprintf("coffer:%x", "{}"))
	f.Fuzz(func(t *testing.T, text string) {
		l, err := agent.OpenLink(text)
		if err != nil {
			expect(t, err, coffer.Invalid)
			return
		}
		again, err := agent.OpenLink(l.String())
		if err != nil || len(again.Objects) != len(l.Objects) || again.From != l.From {
			t.Fatalf("a link that was read is not read again: %v", err)
		}
	})
}

// Alice shares and revokes on one device while another of hers keeps writing.
func TestShareWhileWriting(t *testing.T) {
	h := newHouse(t)
	a, other := h.owner(), h.owner()
	put(t, a, "f", nil)
	stop := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			_, err := other.Put(t.Context(), "f", file(noise(1, n)), agent.PutOptions{})
			if err != nil && !errors.Is(err, coffer.Conflict) {
				t.Errorf("writing: %v", err)
			}
		}
	})
	end := sync.OnceFunc(func() {
		close(stop)
		writing.Wait()
	})
	defer end()
	for n := range 5 {
		who := coffertest.Person(t, fmt.Sprint("reader", n))
		g, _, err := a.Share(t.Context(), "f", agent.ShareOptions{With: who.DID()})
		if err == nil {
			err = a.Revoke(t.Context(), agent.Revocation{Grant: g.ID})
		}
		if err != nil && !errors.Is(err, coffer.Conflict) { // the other device may win too often
			t.Fatalf("sharing: %v", err)
		}
	}
	end()
	for g, err := range a.Grants(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if err := a.Revoke(t.Context(), agent.Revocation{Grant: g.ID}); err != nil {
			t.Fatal(err)
		}
	}
	if i, err := a.Stat(t.Context(), "f"); err != nil || len(i.Readers) != 1 {
		t.Fatalf("readers are left: %+v, %v", i, err)
	}
}
