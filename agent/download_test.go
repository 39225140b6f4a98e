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

// A download breaks at every place, over and over, and goes on; nothing is fetched twice but what was on its way.
func TestResumeDownload(t *testing.T) {
	var left, got atomic.Int64
	left.Store(1 << 30)
	journal := &memory{}
	a := newHouse(t).owner(func(o *agent.Options) {
		o.Journal, o.Vault = journal, breaking{o.Vault, &left, &got}
	})
	const chunks = 40
	content := noise(1, chunks<<20-5)
	put(t, a, "f", content)
	f, attempts := partialFile(t), 0
	for kept := true; kept; attempts++ {
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
	if n := got.Load(); n < chunks || n > chunks+int64(attempts)*4 {
		t.Fatalf("%d chunks were fetched for %d in %d attempts", n, chunks, attempts)
	}
	if len(journal.notes) != 0 {
		t.Fatal("the journal still has a note")
	}
}

// A download starts anew when the file or the note is not what was left behind, or the object is another.
func TestResumeDownloadRefused(t *testing.T) {
	var left, got atomic.Int64
	journal := &memory{}
	a := newHouse(t).owner(func(o *agent.Options) {
		o.Journal, o.Vault, o.Workers = journal, breaking{o.Vault, &left, &got}, 1
	})
	content, other := noise(1, 8<<20), noise(2, 6<<20+1)
	for name, change := range map[string]func(f *os.File) error{
		"nothing":        func(f *os.File) error { return nil },
		"a byte changed": func(f *os.File) error { _, err := f.WriteAt([]byte{^content[3<<20]}, 3<<20); return err },
		"cut short":      func(f *os.File) error { return f.Truncate(5<<20 - 1) },
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
			for name, b := range journal.notes {
				journal.notes[name] = bytes.Replace(b, []byte(`"tag":"`), []byte(`"tag":"A`), 1)
			}
			return nil
		},
		"a note of something else": func(*os.File) error {
			for name := range journal.notes {
				journal.notes[name] = []byte(`{"id":"z19uMCiPNET4YbcPpBcab5mEE"}`)
			}
			return nil
		},
		"no note": func(*os.File) error { clear(journal.notes); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			left.Store(1 << 30)
			put(t, a, "f", content)
			o, err := a.Get(t.Context(), "f")
			if err != nil {
				t.Fatal(err)
			}
			f := partialFile(t)
			if _, err := f.WriteAt(make([]byte, 9<<20), 0); err != nil { // of something else, and longer
				t.Fatal(err)
			}
			left.Store(5)
			kept, err := o.Resume(t.Context(), f, "here", nil)
			expect(t, err, coffer.Unavailable)
			if !kept || len(journal.notes) != 1 {
				t.Fatalf("kept is %t, and the journal has %d notes", kept, len(journal.notes))
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
			want, chunks := content, int64(8)
			switch name {
			case "nothing":
				chunks = 3
			case "the object is another":
				want, chunks = other, 7
			}
			holds(t, f, want)
			if got.Load() != chunks {
				t.Fatalf("%d chunks were fetched, want %d", got.Load(), chunks)
			}
			if len(journal.notes) != 0 {
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
	a := newHouse(t).owner(func(o *agent.Options) {
		o.Journal, o.Vault = journal, breaking{o.Vault, &left, &got}
	})
	put(t, a, "f", noise(1, 8<<20))
	o, err := a.Get(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	f := partialFile(t)
	left.Store(5)
	_, err = o.Resume(t.Context(), f, "here", nil)
	expect(t, err, coffer.Unavailable)
	left.Store(1 << 30)
	put(t, a, "f", noise(2, 8<<20))
	kept, err := o.Resume(t.Context(), f, "here", nil)
	expect(t, err, coffer.Conflict)
	if kept || len(journal.notes) != 0 {
		t.Fatalf("kept is %t, and the journal has %d notes", kept, len(journal.notes))
	}
}
