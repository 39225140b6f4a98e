package agent_test

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// breaking is a vault from which so many chunks can be read.
type breaking struct {
	coffer.Vault
	left, got *atomic.Int64
}

func (b breaking) Chunk(ctx context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	if b.left.Add(-1) < 0 {
		return coffer.ChunkRef{}, nil, coffer.E("chunk", coffer.Unavailable, nil)
	}
	b.got.Add(1)
	return b.Vault.Chunk(ctx, id, index)
}

func partialFile(t *testing.T) *os.File {
	t.Helper()
	f, err := os.Create(filepath.Join(t.TempDir(), "partial"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

func holds(t *testing.T, f *os.File, want []byte) {
	t.Helper()
	b, err := os.ReadFile(f.Name())
	if err != nil || !bytes.Equal(b, want) {
		t.Fatalf("the file holds %d bytes that are not the %d of the object: %v", len(b), len(want), err)
	}
}

// notes returns how many notes a journal has besides the one on the vault's history.
func (m *memory) pending() int { return m.len() - 1 }

// forNotes calls f for each of those, the note on the history left out: it is the one that was there first.
func (m *memory) forNotes(except map[string]bool, f func(name string)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.notes {
		if !except[name] {
			f(name)
		}
	}
}

// A download breaks at every place, over and over, and goes on; nothing is fetched twice but what was on its way.
func TestResumeDownload(t *testing.T) {
	var left, got atomic.Int64
	left.Store(1 << 30)
	journal := &memory{}
	p := newPerson(t, provider(t), "alice")
	a := p.device(t, func(o *agent.Options) { o.Journal, o.Vault = journal, breaking{o.Vault, &left, &got} })
	const chunks = 20
	content := noise(1, chunks<<20-5)
	put(t, a, "f", content)
	got.Store(0)
	f, attempts := partialFile(t), 0
	for kept := true; kept; attempts++ {
		left.Store(1 << 30)
		o, err := a.Get(t.Context(), "f")
		if err != nil {
			t.Fatal(err)
		}
		left.Store(7)
		last := int64(-1)
		kept, err = o.Resume(t.Context(), f, "here", func(done, total int64) {
			if done < last || total != int64(len(content)) {
				t.Errorf("progress from %d to %d of %d", last, done, total)
			}
			last = done
		})
		if kept != (err != nil) {
			t.Fatalf("kept is %t: %v", kept, err)
		}
		if err != nil {
			expect(t, err, coffer.Unavailable)
		}
		if attempts > chunks {
			t.Fatal("it never ends")
		}
	}
	holds(t, f, content)
	// More than 16 chunks have their table in a chunk of its own, which each attempt needs.
	if n := got.Load(); n < chunks || n > chunks+int64(attempts)*5 {
		t.Fatalf("%d chunks were fetched for %d in %d attempts", n, chunks, attempts)
	}
	if journal.pending() != 0 {
		t.Fatal("the journal still has a note")
	}
}

// A download starts anew when the file or the note is not what was left behind, or the object is another.
func TestResumeDownloadRefused(t *testing.T) {
	var left, got atomic.Int64
	left.Store(1 << 30)
	journal := &memory{}
	p := newPerson(t, provider(t), "alice")
	a := p.device(t, func(o *agent.Options) {
		o.Journal, o.Vault, o.Workers = journal, breaking{o.Vault, &left, &got}, 1
	})
	content, other := noise(1, 6<<20), noise(2, 5<<20+1)
	put(t, a, "f", other)
	first := make(map[string]bool)
	journal.forNotes(nil, func(name string) { first[name] = true })
	for name, change := range map[string]func(f *os.File) error{
		"nothing":        func(f *os.File) error { return nil },
		"a byte changed": func(f *os.File) error { _, err := f.WriteAt([]byte{^content[2<<20]}, 2<<20); return err },
		"cut short":      func(f *os.File) error { return f.Truncate(4<<20 - 1) },
		"chunks swapped": func(f *os.File) error {
			_, err := f.WriteAt(append(bytes.Clone(content[1<<20:2<<20]), content[:1<<20]...), 0)
			return err
		},
		"chunks of zeros": func(f *os.File) error { _, err := f.WriteAt(make([]byte, 2<<20), 0); return err },
		"the object is another": func(*os.File) error {
			put(t, a, "f", other)
			return nil
		},
		"a note changed": func(*os.File) error {
			journal.forNotes(first, func(name string) { journal.notes[name][40] ^= 1 })
			return nil
		},
		"a note of something else": func(*os.File) error {
			journal.forNotes(first, func(name string) {
				for f := range first {
					journal.notes[name] = bytes.Clone(journal.notes[f])
				}
			})
			return nil
		},
		"no note": func(*os.File) error {
			journal.forNotes(first, func(name string) { delete(journal.notes, name) })
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			left.Store(1 << 30)
			put(t, a, "f", content)
			o, err := a.Get(t.Context(), "f")
			if err != nil {
				t.Fatal(err)
			}
			f := partialFile(t)
			if _, err := f.WriteAt(make([]byte, 7<<20), 0); err != nil { // of something else, and longer
				t.Fatal(err)
			}
			left.Store(4)
			kept, err := o.Resume(t.Context(), f, "here", nil)
			expect(t, err, coffer.Unavailable)
			if !kept || journal.pending() != 1 {
				t.Fatalf("kept is %t, and the journal has %d notes", kept, journal.pending())
			}
			left.Store(1 << 30)
			if err := change(f); err != nil {
				t.Fatal(err)
			}
			if o, err = a.Get(t.Context(), "f"); err != nil {
				t.Fatal(err)
			}
			got.Store(0)
			if _, err := o.Resume(t.Context(), f, "here", nil); err != nil {
				t.Fatal(err)
			}
			want, chunks := content, int64(6)
			switch name {
			case "nothing":
				chunks = 2
			case "the object is another":
				want = other
			}
			holds(t, f, want)
			if got.Load() != chunks {
				t.Fatalf("%d chunks were fetched, want %d", got.Load(), chunks)
			}
			if journal.pending() != 0 {
				t.Fatal("the journal still has a note")
			}
		})
	}
}

// What is left of an object that changed while it was fetched is of no use.
func TestDownloadOfChanged(t *testing.T) {
	var left, got atomic.Int64
	left.Store(1 << 30)
	journal := &memory{}
	p := newPerson(t, provider(t), "alice")
	a := p.device(t, func(o *agent.Options) { o.Journal, o.Vault = journal, breaking{o.Vault, &left, &got} })
	put(t, a, "f", noise(1, 6<<20))
	o, err := a.Get(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	f := partialFile(t)
	left.Store(4)
	_, err = o.Resume(t.Context(), f, "here", nil)
	expect(t, err, coffer.Unavailable)
	left.Store(1 << 30)
	put(t, a, "f", noise(2, 6<<20))
	kept, err := o.Resume(t.Context(), f, "here", nil)
	expect(t, err, coffer.Conflict)
	if kept || journal.pending() != 0 {
		t.Fatalf("kept is %t, and the journal has %d notes", kept, journal.pending())
	}
}

// While a file is being read it is replaced, claimed, shared, erased.
func TestChangedWhileRead(t *testing.T) {
	at := provider(t)
	p, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	a := p.Agent
	ctx := t.Context()
	first, second := noise(1, 2<<20+9), noise(2, 2<<20+9)
	begin := func() (*agent.Object, io.ReadCloser) {
		o, err := a.Get(ctx, "f")
		if err != nil {
			t.Fatal(err)
		}
		r := o.Open(ctx)
		t.Cleanup(func() { r.Close() })
		if _, err := io.ReadFull(r, make([]byte, 100)); err != nil {
			t.Fatal(err)
		}
		return o, r
	}
	put(t, a, "f", first)
	_, r := begin()
	if _, err := a.Share(ctx, "f", agent.ShareOptions{With: p.knows(t, bob)}); err != nil {
		t.Fatal(err)
	}
	broken := agent.Source{Reader: io.MultiReader(bytes.NewReader(second[:1<<20+1]), broken{}), Size: -1}
	if _, err := a.Put(ctx, "f", broken, agent.PutOptions{}); err == nil {
		t.Fatal("a failing source was put")
	}
	rest, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(rest, first[100:]) {
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
		if err != nil { // it may have been on its way already
			expect(t, err, coffer.Conflict)
		}
		if !bytes.HasPrefix(first[100:], b) {
			t.Fatalf("%s: a mixture was read", name)
		}
		expect(t, o.WriteTo(ctx, nowhere{}, nil), coffer.Conflict)
	}
	put(t, a, "f", first)
	o, _ := begin()
	if err := a.Remove(ctx, "f", false); err != nil {
		t.Fatal(err)
	}
	expect(t, o.WriteTo(ctx, nowhere{}, nil), coffer.NotExist)
}

type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
