package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/coffertest"
)

// hostile is a vault that answers as it pleases.
type hostile struct {
	coffer.Vault
	document func(*coffer.Document) *coffer.Document // changes what is read; nil leaves it out
	also     []*coffer.Document                      // found by every query, too
	chunk    func(id coffer.ObjectID, index uint64, ref *coffer.ChunkRef, b []byte) []byte
	index    func(uint64) uint64 // which chunk is served
	put      func(ref coffer.ChunkRef) error
	written  func([]coffer.Write) // told of what is to be written, which then is not
}

func (h *hostile) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	if h.written != nil {
		h.written(writes)
		return nil, coffer.E("apply", coffer.Unavailable, nil)
	}
	return h.Vault.Apply(ctx, writes...)
}

func (h *hostile) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	docs, err := h.Vault.Get(ctx, id)
	for i, d := range docs {
		if h.document != nil {
			docs[i] = h.document(d)
		}
	}
	return docs, err
}

func (h *hostile) Query(ctx context.Context, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) {
		found := slices.Clone(h.also)
		for d, err := range h.Vault.Query(ctx, q) {
			if err != nil {
				yield(nil, err)
				return
			}
			if h.document != nil {
				d = h.document(d)
			}
			if d != nil {
				found = append(found, d)
			}
		}
		slices.SortStableFunc(found, func(a, b *coffer.Document) int { return bytes.Compare(a.ID[:], b.ID[:]) })
		for _, d := range found {
			if !yield(d, nil) {
				return
			}
		}
	}
}

func (h *hostile) Chunk(ctx context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	asked := index
	if h.index != nil {
		index = h.index(index)
	}
	ref, r, err := h.Vault.Chunk(ctx, id, index)
	if err != nil || h.chunk == nil {
		return ref, r, err
	}
	b, err := io.ReadAll(r)
	r.Close()
	if err != nil {
		return ref, nil, err
	}
	b = h.chunk(id, asked, &ref, b)
	if b == nil {
		return ref, nil, coffer.E("chunk", coffer.NotExist, nil)
	}
	return ref, io.NopCloser(bytes.NewReader(b)), nil
}

func (h *hostile) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	if h.put != nil {
		if err := h.put(ref); err != nil {
			return err
		}
	}
	return h.Vault.PutChunk(ctx, id, ref, r)
}

// What a vault can do to documents. Each is found out by name, and in listings nothing false shows.
func TestHostileDocuments(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	v := h.view(h.alice, nil)
	ctx := t.Context()
	document := func(i agent.Info) *coffer.Document {
		docs, err := v.Get(ctx, i.ID)
		if err != nil {
			t.Fatal(err)
		}
		return docs[0]
	}
	old := document(put(t, a, "f", []byte("old")))
	present := document(put(t, a, "f", []byte("present")))
	other := document(put(t, a, "other", []byte("other")))

	// The same owner's other vault, and what the provider itself sealed to the owner.
	elsewhere := newHouse(t)
	foreign := put(t, elsewhere.owner(), "f", []byte("elsewhere"))
	docs, err := elsewhere.view(elsewhere.alice, nil).Get(ctx, foreign.ID)
	if err != nil {
		t.Fatal(err)
	}
	forge := func(path, folder, name string) *coffer.Document {
		const form = `{"type":"File","path":"%s","name":"%s","folder":"%s","size":6,"data":"Zm9yZ2Vk"}`
		content := fmt.Sprintf(form, path, name, folder)
		d, err := seal.Seal(ctx, coffertest.Person(t, "provider"), seal.Plain{Content: []byte(content)}, seal.Options{
			ID: present.ID, Sequence: present.Sequence,
			Recipients: []coffer.PublicKey{h.alice.Key(coffer.AgreementKey)},
		})
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	as := func(d *coffer.Document, id coffer.ObjectID, sequence uint64) *coffer.Document {
		c := *d
		c.ID, c.Sequence = id, sequence
		return &c
	}
	cut := *present
	cut.Body = cut.Body[:len(cut.Body)-10]
	flipped := *present
	flipped.Body = bytes.Replace(present.Body, []byte(`"ciphertext":"`), []byte(`"ciphertext":"AAAA`), 1)
	tests := map[string]*coffer.Document{
		"another document":              other,
		"another one under its id":      as(other, present.ID, present.Sequence),
		"older revision as the present": as(old, old.ID, present.Sequence),
		"greater sequence":              as(present, present.ID, present.Sequence+1),
		"another vault's under its id":  as(docs[0], present.ID, docs[0].Sequence),
		"cut short":                     &cut,
		"changed":                       &flipped,
		"forged":                        forge("f", "", "f"),
		"forged, out of the folder":     forge("../f", "..", "f"),
		"forged, absolute":              forge("/etc/f", "/etc", "f"),
	}
	for name, d := range tests {
		t.Run(name, func(t *testing.T) {
			bad := h.owner(on(func(v coffer.Vault) coffer.Vault {
				return &hostile{Vault: v, document: func(*coffer.Document) *coffer.Document { return d }}
			}))
			_, err := bad.Get(ctx, "f")
			expect(t, err, coffer.Corrupt)
			_, err = bad.Stat(ctx, "f")
			expect(t, err, coffer.Corrupt)
			_, err = bad.Put(ctx, "f", file([]byte("new")), agent.PutOptions{})
			expect(t, err, coffer.Corrupt)
			for i, err := range bad.List(ctx, "") {
				if err == nil && (i.Path != "other" || i.ID != other.ID) {
					t.Errorf("the listing shows %+v", i)
				}
			}
		})
	}
	t.Run("forged beside", func(t *testing.T) {
		f := forge("malware", "", "malware")
		f.ID = coffer.NewObjectID()
		bad := h.owner(on(func(v coffer.Vault) coffer.Vault { return &hostile{Vault: v, also: []*coffer.Document{f}} }))
		for i, err := range bad.List(ctx, "") {
			if err == nil && i.Path == "malware" {
				t.Error("the listing shows what the provider made")
			}
		}
	})
	t.Run("the same for ever", func(t *testing.T) {
		bad := h.owner(on(func(v coffer.Vault) coffer.Vault {
			return &hostile{Vault: v, also: []*coffer.Document{other, other}}
		}))
		var failed error
		for _, err := range bad.List(ctx, "") {
			failed = err
		}
		expect(t, failed, coffer.Corrupt)
	})
	if string(get(t, a, "f")) != "present" {
		t.Fatal("a refused put changed what is there")
	}
}

// What a vault can do to chunks. None of it gives other bytes than were stored, nor a shorter file without an error.
func TestHostileChunks(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	ctx := t.Context()
	content, older, elsewhere := noise(1, 3<<20+9), noise(2, 3<<20+9), noise(3, 3<<20+9)
	put(t, a, "f", older)
	v := h.view(h.alice, nil)
	chunks := func(id coffer.ObjectID) (list [][]byte) {
		for i := range uint64(4) {
			_, r, err := v.Chunk(ctx, id, i)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			r.Close()
			list = append(list, b)
		}
		return list
	}
	f, err := a.Stat(ctx, "f")
	if err != nil {
		t.Fatal(err)
	}
	olderChunks := chunks(f.ID)
	put(t, a, "f", content)
	otherChunks := chunks(put(t, a, "g", elsewhere).ID)

	serve := func(b []byte, ref *coffer.ChunkRef) []byte {
		ref.Size = int64(len(b))
		return b
	}
	// A change is made to each chunk that is served for one that was asked for.
	change := func(f func(i uint64, ref *coffer.ChunkRef, b []byte) []byte) hostile {
		return hostile{chunk: func(_ coffer.ObjectID, i uint64, ref *coffer.ChunkRef, b []byte) []byte {
			return f(i, ref, b)
		}}
	}
	renamed := change(func(i uint64, ref *coffer.ChunkRef, b []byte) []byte { ref.Index = i; return b })
	renamed.index = func(i uint64) uint64 { return i ^ 1 }
	tests := map[string]hostile{
		"swapped":  {index: func(i uint64) uint64 { return i ^ 1 }},
		"repeated": {index: func(i uint64) uint64 { return 0 }},
		"renamed":  renamed,
		"missing": change(func(i uint64, _ *coffer.ChunkRef, b []byte) []byte {
			if i == 3 {
				return nil
			}
			return b
		}),
		"truncated": change(func(_ uint64, _ *coffer.ChunkRef, b []byte) []byte { return b[:len(b)-1] }),
		"shortened": change(func(_ uint64, ref *coffer.ChunkRef, b []byte) []byte { return serve(b[:len(b)-1], ref) }),
		"emptied":   change(func(_ uint64, ref *coffer.ChunkRef, b []byte) []byte { return serve(b[:0], ref) }),
		"huge":      change(func(_ uint64, ref *coffer.ChunkRef, b []byte) []byte { ref.Size = 1 << 60; return b }),
		"flipped":   change(func(_ uint64, _ *coffer.ChunkRef, b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		"older":     change(func(i uint64, ref *coffer.ChunkRef, _ []byte) []byte { return serve(olderChunks[i], ref) }),
		"elsewhere": change(func(i uint64, ref *coffer.ChunkRef, _ []byte) []byte { return serve(otherChunks[i], ref) }),
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			bad := h.owner(on(func(v coffer.Vault) coffer.Vault { test.Vault = v; return &test }))
			o, err := bad.Get(ctx, "f")
			if err != nil {
				t.Fatal(err)
			}
			r := o.Open(ctx)
			b, err := io.ReadAll(r)
			expect(t, err, coffer.Corrupt)
			if !bytes.HasPrefix(content, b) {
				t.Error("other bytes were read than were stored")
			}
			expect(t, o.WriteTo(ctx, &at{}, nil), coffer.Corrupt)
			p := make([]byte, len(content))
			n, err := o.ReadAt(ctx, p, 0)
			expect(t, err, coffer.Corrupt)
			if !bytes.Equal(p[:n], content[:n]) {
				t.Error("other bytes were read than were stored")
			}
		})
	}
	if !bytes.Equal(get(t, a, "f"), content) {
		t.Fatal("the honest vault does not serve the file")
	}
}

// While a file is being read it is replaced, claimed, shared, erased.
func TestChangedWhileRead(t *testing.T) {
	h := newHouse(t)
	a := h.owner()
	ctx := t.Context()
	first, second := noise(1, 2<<20+9), noise(2, 2<<20+9)
	begin := func() (*agent.Object, io.Reader) {
		o, err := a.Get(ctx, "f")
		if err != nil {
			t.Fatal(err)
		}
		r := o.Open(ctx)
		if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		return o, r
	}
	put(t, a, "f", first)

	o, r := begin()
	if _, _, err := a.Share(ctx, "f", agent.ShareOptions{With: coffertest.Person(t, "bob").DID()}); err != nil {
		t.Fatal(err)
	}
	fails := agent.Source{Reader: io.MultiReader(bytes.NewReader(second[:1<<20+1]), failingReader{}), Size: -1}
	if _, err := a.Put(ctx, "f", fails, agent.PutOptions{}); err == nil {
		t.Fatal("a failing source was put")
	}
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(rest, first[100:]) {
		t.Fatalf("sharing and claiming disturb a reader: %v", err)
	}
	w := &at{}
	if err := o.WriteTo(ctx, w, nil); err != nil || !bytes.Equal(w.b, first) {
		t.Fatalf("sharing and claiming disturb a reader: %v", err)
	}

	for name, replace := range map[string]func(){
		"by a stream": func() { put(t, a, "f", second) },
		"by a small":  func() { put(t, a, "f", []byte("small")) },
	} {
		put(t, a, "f", first)
		o, r := begin()
		replace()
		b, err := io.ReadAll(r)
		expect(t, err, coffer.Conflict)
		if !bytes.HasPrefix(first[100:], b) {
			t.Fatalf("%s: a mixture was read", name)
		}
		expect(t, o.WriteTo(ctx, &at{}, nil), coffer.Conflict)
	}
	put(t, a, "f", first)
	_, r = begin()
	if err := a.Remove(ctx, "f", false); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(r)
	expect(t, err, coffer.NotExist)
}

// An upload breaks at every place, over and over, and goes on; nothing is sent twice but what was on its way.
func TestResume(t *testing.T) {
	h := newHouse(t)
	journal := &memory{}
	const chunks = 40
	content := noise(1, chunks<<20-5)
	var sent atomic.Int64
	var left atomic.Int64
	a := h.owner(func(o *agent.Options) {
		o.Journal = journal
		o.Vault = &hostile{Vault: o.Vault, put: func(coffer.ChunkRef) error {
			if left.Add(-1) < 0 {
				return coffer.E("put chunk", coffer.Unavailable, nil)
			}
			sent.Add(1)
			return nil
		}}
	})
	for _, before := range [][]byte{nil, noise(2, 1<<20+3)} { // for the first time, and in the place of another
		path := "f"
		if before != nil {
			path = "g"
			left.Store(1 << 30)
			put(t, a, path, before)
		}
		sent.Store(0)
		attempts := 0
		for left.Store(7); ; left.Store(7) {
			attempts++
			_, err := a.Put(t.Context(), path, file(content), agent.PutOptions{})
			if err == nil {
				break
			}
			expect(t, err, coffer.Unavailable)
			if attempts > chunks {
				t.Fatal("it never ends")
			}
			if before != nil {
				if !bytes.Equal(get(t, a, path), before) {
					t.Fatal("an upload on its way shows")
				}
			} else {
				_, err := a.Stat(t.Context(), path)
				expect(t, err, coffer.NotExist)
			}
		}
		if n := sent.Load(); n < chunks || n > chunks+int64(attempts)*4 {
			t.Fatalf("%d chunks were sent for %d in %d attempts", n, chunks, attempts)
		}
		if !bytes.Equal(get(t, a, path), content) {
			t.Fatal("the resumed file is another")
		}
		if len(journal.notes) != 0 {
			t.Fatal("the journal still has a note")
		}
	}
}

// What is noted of an upload is not gone on with when the source changed, or somebody else wrote; and a note that was
// tampered with is as good as none.
func TestResumeRefused(t *testing.T) {
	h := newHouse(t)
	journal := &memory{}
	var left, sent atomic.Int64
	a := h.owner(func(o *agent.Options) {
		o.Journal = journal
		o.Vault = &hostile{Vault: o.Vault, put: func(coffer.ChunkRef) error {
			if left.Add(-1) < 0 {
				return coffer.E("put chunk", coffer.Unavailable, nil)
			}
			sent.Add(1)
			return nil
		}}
	})
	content := noise(1, 8<<20)
	for name, change := range map[string]func(s *agent.Source){
		"another time": func(s *agent.Source) { s.Modified = s.Modified.Add(1) },
		"another size": func(s *agent.Source) { *s = file(append(bytes.Clone(content), 1)) },
		"no time":      func(s *agent.Source) { s.Modified = time.Time{} },
		"another's claim": func(*agent.Source) {
			left.Store(0)
			_, err := h.owner(func(o *agent.Options) {
				down := func(coffer.ChunkRef) error { return coffer.E("", coffer.Unavailable, nil) }
				o.Vault = &hostile{Vault: o.Vault, put: down}
			}).Put(t.Context(), "f", file(content), agent.PutOptions{})
			expect(t, err, coffer.Unavailable)
		},
		"a note of something else": func(*agent.Source) {
			for name := range journal.notes {
				journal.notes[name] = []byte(`{"id":"z19uMCiPNET4YbcPpBcab5mEE"}`)
			}
		},
		"a note changed": func(*agent.Source) {
			for name, b := range journal.notes {
				journal.notes[name] = bytes.Replace(b, []byte(`"tag":"`), []byte(`"tag":"A`), 1)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			left.Store(5)
			_, err := a.Put(t.Context(), "f", file(content), agent.PutOptions{})
			expect(t, err, coffer.Unavailable)
			if len(journal.notes) != 1 {
				t.Fatalf("the journal has %d notes", len(journal.notes))
			}
			s := file(content)
			change(&s)
			sent.Store(0)
			left.Store(1 << 30)
			if _, err := a.Put(t.Context(), "f", s, agent.PutOptions{}); err != nil {
				t.Fatal(err)
			}
			if sent.Load() < 8 {
				t.Fatalf("only %d chunks were sent", sent.Load())
			}
			if !bytes.Equal(get(t, a, "f")[:len(content)], content) {
				t.Fatal("the file is another")
			}
			clear(journal.notes)
		})
	}
}
