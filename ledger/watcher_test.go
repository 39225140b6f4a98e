package ledger

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// A host is a node that serves a log, honestly or not.
type host struct {
	t       testing.TB
	s       *Signer
	changes []coffer.Change
}

func newHost(t testing.TB, n uint64) *host {
	h := &host{t: t, s: signer(t, "node")}
	for i := range n {
		h.changes = append(h.changes, change(i+1))
	}
	return h
}

// fork returns a host with the same key whose log differs from the change with the number on.
func (h *host) fork(number uint64) *host {
	f := &host{h.t, h.s, append([]coffer.Change(nil), h.changes...)}
	for i := number - 1; i < uint64(len(f.changes)); i++ {
		f.changes[i].Rev[5]++
	}
	return f
}

func (h *host) leaves(size int) (out naive) {
	for _, c := range h.changes[:size] {
		out = append(out, LeafHash(c))
	}
	return out
}

func (h *host) note(size int) []byte { return sign(h.t, h.s, uint64(size), h.leaves(size).root()) }

func (h *host) proof(from, to int) []Hash { return h.leaves(to).consistency(from) }

// follow is a turn against the host: a checkpoint of the size, then the feed up to some change.
func follow(w *Watcher, note []byte, feed []coffer.Change) error {
	if err := w.Checkpoint(note, w.Due()); err != nil {
		return err
	}
	due := w.Due()
	for _, c := range feed {
		if c.Number <= w.Size() && c.Kind != coffer.VaultErased {
			continue
		}
		if err := w.Read(c); err != nil {
			return err
		}
	}
	return w.Ended(due)
}

func newWatcher(t testing.TB, h *host) *Watcher {
	t.Helper()
	w, err := NewWatcher(testOrigin, h.s.Verifier())
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// again returns the watcher as it is after it was kept and read back.
func again(t testing.TB, w *Watcher) *Watcher {
	t.Helper()
	b, err := w.Encode()
	if err != nil {
		t.Fatal(err)
	}
	r, err := DecodeWatcher(b)
	if err != nil {
		t.Fatalf("decode %s: %v", b, err)
	}
	if c, err := r.Encode(); err != nil || !bytes.Equal(b, c) {
		t.Fatalf("read back as\n%s\nwant\n%s", c, b)
	}
	return r
}

func TestWatcherFollowsAnHonestNode(t *testing.T) {
	h := newHost(t, 40)
	w := newWatcher(t, h)
	for _, size := range []int{0, 1, 1, 2, 7, 8, 9, 31, 40, 40} {
		w = again(t, w)
		if size > 2 {
			if err := w.Wrote(h.changes[size-1]); err != nil {
				t.Fatalf("own write %d: %v", size, err)
			}
		}
		if err := follow(w, h.note(size), h.changes[:size]); err != nil {
			t.Fatalf("at %d: %v", size, err)
		}
		c, b := w.Signed()
		if w.Size() != uint64(size) || c.Size != uint64(size) || !bytes.Equal(b, h.note(size)) || w.Due() != uint64(size) {
			t.Fatalf("at %d: read %d, signed %d, due %d", size, w.Size(), c.Size, w.Due())
		}
		if size > 0 && w.Cursor() != h.changes[size-1].Cursor {
			t.Fatal("the cursor is another")
		}
	}
}

func TestWatcherFeedGrowsBeyondTheCheckpoint(t *testing.T) {
	h := newHost(t, 12)
	w := newWatcher(t, h)
	if err := follow(w, h.note(5), h.changes[:12]); err != nil {
		t.Fatal(err)
	}
	if c, _ := w.Signed(); c.Size != 5 || w.Size() != 12 {
		t.Fatalf("read %d, signed %d", w.Size(), c.Size)
	}
	w = again(t, w)
	// A checkpoint that was on its way while more was read.
	if err := w.Checkpoint(h.note(9), 5); !errors.Is(err, coffer.Conflict) {
		t.Errorf("overtaken: %v, want Conflict", err)
	}
	// With the proof it is good.
	if err := w.Heard(h.note(9), h.proof(9, 12)); err != nil {
		t.Errorf("with its proof: %v", err)
	}
	if err := w.Checkpoint(h.note(12), w.Due()); err != nil {
		t.Error(err)
	}
}

func TestWatcherFindsHostileNodes(t *testing.T) {
	const read = 11 // changes that the watcher has read, with a checkpoint
	for _, tt := range []struct {
		name     string
		attack   func(w *Watcher, h *host) error
		want     error
		evidence bool
	}{
		{"a fork of the same size", func(w *Watcher, h *host) error {
			return w.Checkpoint(h.fork(7).note(read), w.Due())
		}, ErrForked, true},
		{"a fork that is longer", func(w *Watcher, h *host) error {
			return follow(w, h.fork(7).note(20), h.fork(7).changes[:20])
		}, ErrForked, false},
		{"a fork whose feed goes on from ours", func(w *Watcher, h *host) error {
			return follow(w, h.fork(7).note(20), h.changes[:20])
		}, ErrForked, false},
		{"a fork beyond what is signed", func(w *Watcher, h *host) error {
			return follow(w, h.note(20), h.fork(15).changes[:20])
		}, ErrForked, false},
		{"two checkpoints ahead that differ", func(w *Watcher, h *host) error {
			if err := w.Checkpoint(h.note(20), w.Due()); err != nil {
				return err
			}
			return w.Checkpoint(h.fork(3).note(20), w.Due())
		}, ErrForked, true},
		{"a fork of which another device heard", func(w *Watcher, h *host) error {
			return w.Heard(h.fork(3).note(7), h.proof(7, read))
		}, ErrForked, true},
		{"a fork of which another device heard, at a power of two", func(w *Watcher, h *host) error {
			return w.Heard(h.fork(3).note(8), h.proof(8, read))
		}, ErrForked, false},
		{"a fork of which another device heard, without a proof", func(w *Watcher, h *host) error {
			return w.Heard(h.fork(3).note(7), nil)
		}, ErrForked, false},
		{"a fork of which another device heard, ahead", func(w *Watcher, h *host) error {
			if err := w.Heard(h.fork(3).note(20), nil); err != nil {
				return err
			}
			return follow(w, h.note(22), h.changes[:22])
		}, ErrForked, false},
		{"a rollback", func(w *Watcher, h *host) error {
			return w.Checkpoint(h.note(read-1), w.Due())
		}, ErrRolledBack, false},
		{"a rollback behind what was signed ahead", func(w *Watcher, h *host) error {
			if err := w.Checkpoint(h.note(20), w.Due()); err != nil {
				return err
			}
			return w.Checkpoint(h.note(19), w.Due())
		}, ErrRolledBack, false},
		{"a rollback to nothing", func(w *Watcher, h *host) error {
			return w.Checkpoint(h.note(0), w.Due())
		}, ErrRolledBack, false},
		{"a feed that ends before what is signed", func(w *Watcher, h *host) error {
			return follow(w, h.note(20), h.changes[:19])
		}, ErrWithheld, false},
		{"a feed that ends before an own write", func(w *Watcher, h *host) error {
			if err := w.Wrote(h.changes[read+2]); err != nil {
				return err
			}
			return w.Ended(w.Due())
		}, ErrWithheld, false},
		{"a checkpoint without an own write", func(w *Watcher, h *host) error {
			if err := w.Wrote(h.changes[read+2]); err != nil {
				return err
			}
			return w.Checkpoint(h.note(read+1), w.Due())
		}, ErrWithheld, false},
		{"an own write altered", func(w *Watcher, h *host) error {
			if err := w.Wrote(h.changes[read+2]); err != nil {
				return err
			}
			f := h.fork(read + 3)
			return follow(w, f.note(20), f.changes[:20])
		}, ErrForked, false},
		{"an own write acknowledged twice, differently", func(w *Watcher, h *host) error {
			if err := w.Wrote(h.changes[read+2]); err != nil {
				return err
			}
			return w.Wrote(h.fork(read + 3).changes[read+2])
		}, ErrForked, false},
		{"two changes in another order", func(w *Watcher, h *host) error {
			feed := append([]coffer.Change(nil), h.changes[:20]...)
			feed[13], feed[14] = feed[14], feed[13]
			return follow(w, h.note(20), feed)
		}, ErrGap, false},
		{"two changes in another order, numbered anew", func(w *Watcher, h *host) error {
			feed := append([]coffer.Change(nil), h.changes[:20]...)
			feed[13], feed[14] = feed[14], feed[13]
			feed[13].Number, feed[14].Number = 14, 15
			return follow(w, h.note(20), feed)
		}, ErrForked, false},
		{"a change left out", func(w *Watcher, h *host) error {
			return follow(w, h.note(20), append(append([]coffer.Change(nil), h.changes[:13]...), h.changes[14:20]...))
		}, ErrGap, false},
		{"a change twice", func(w *Watcher, h *host) error {
			return w.Read(h.changes[read-1])
		}, ErrGap, false},
		{"a change with another author", func(w *Watcher, h *host) error {
			feed := append([]coffer.Change(nil), h.changes[:20]...)
			feed[13].By = "did:example:mallory"
			return follow(w, h.note(20), feed)
		}, ErrForked, false},
		{"a change with another time", func(w *Watcher, h *host) error {
			feed := append([]coffer.Change(nil), h.changes[:20]...)
			feed[13].Time = feed[13].Time.Add(time.Second)
			return follow(w, h.note(20), feed)
		}, ErrForked, false},
		{"another key", func(w *Watcher, h *host) error {
			h.s = signer(h.t, "another")
			return w.Checkpoint(h.note(20), w.Due())
		}, ErrUnsigned, false},
		{"an erasure too early", func(w *Watcher, h *host) error {
			if err := w.Checkpoint(h.note(20), w.Due()); err != nil {
				return err
			}
			return w.Read(coffer.Change{Number: 15, Kind: coffer.VaultErased})
		}, ErrRolledBack, false},
		{"a vault that lives on", func(w *Watcher, h *host) error {
			if err := w.Read(coffer.Change{Number: 15, Kind: coffer.VaultErased}); err != nil {
				return err
			}
			return w.Read(h.changes[15])
		}, ErrRolledBack, false},
		{"a log that lives on", func(w *Watcher, h *host) error {
			if err := w.Read(coffer.Change{Number: 15, Kind: coffer.VaultErased}); err != nil {
				return err
			}
			return again(h.t, w).Checkpoint(h.note(20), 0)
		}, ErrRolledBack, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			h := newHost(t, 30)
			w := newWatcher(t, h)
			if err := follow(w, h.note(read), h.changes[:read]); err != nil {
				t.Fatal(err)
			}
			v := h.s.Verifier()
			err := tt.attack(w, h)
			if !errors.Is(err, tt.want) || !errors.Is(err, coffer.Corrupt) || coffer.KindOf(err) != coffer.Corrupt {
				t.Fatalf("%v, want %v", err, tt.want)
			}
			for _, other := range []error{ErrForked, ErrGap, ErrRolledBack, ErrUnsigned, ErrWithheld} {
				if other != tt.want && errors.Is(err, other) {
					t.Errorf("is also %v", other)
				}
			}
			var f *Fault
			if !errors.As(err, &f) || (f.Evidence != nil) != tt.evidence {
				t.Fatalf("evidence: %t, want %t", f != nil && f.Evidence != nil, tt.evidence)
			}
			if f.Evidence == nil {
				return
			}
			b, err := f.Evidence.Encode()
			if err != nil {
				t.Fatal(err)
			}
			e, err := DecodeEvidence(b)
			if err != nil {
				t.Fatal(err)
			}
			if err := e.Check(v, testOrigin); err != nil {
				t.Errorf("the evidence proves nothing: %v", err)
			}
			again(t, w)
		})
	}
}

// TestWatcherIsNotFooledIntoAccusing hands an honest node's doings over in awkward orders.
func TestWatcherIsNotFooledIntoAccusing(t *testing.T) {
	h := newHost(t, 30)
	w := newWatcher(t, h)
	for i, step := range []func() error{
		func() error { return w.Wrote(coffer.Change{}) }, // a server that says nothing
		func() error { return w.Wrote(h.changes[4]) },
		func() error { return w.Wrote(h.changes[2]) },
		func() error { return w.Wrote(h.changes[2]) },
		func() error { return w.Ended(0) }, // the feed was asked for before the write
		func() error { return w.Checkpoint(h.note(3), 3) },
		func() error { return follow(w, h.note(6), h.changes[:6]) },
		func() error { return w.Wrote(h.changes[3]) }, // late
		func() error { return w.Heard(h.note(2), h.proof(2, 6)) },
		func() error { return w.Heard(h.note(0), nil) },
		func() error { return w.Heard(h.note(6), nil) },
		func() error { return w.Heard(h.note(9), nil) },
		func() error { return w.Heard(h.note(8), nil) },
		func() error { return follow(w, h.note(12), h.changes[:12]) },
		func() error { return w.Read(coffer.Change{Number: 40, Kind: coffer.VaultErased, Cursor: "c"}) },
		func() error { return w.Wrote(h.changes[13]) },
		func() error { return w.Ended(w.Due()) },
		func() error { return w.Heard(h.note(20), nil) },
	} {
		if err := step(); err != nil {
			t.Fatalf("step %d: %v", i, err)
		}
		w = again(t, w)
	}
	if !w.Erased() || w.Cursor() != "c" {
		t.Error("the erasure is not remembered")
	}
}

func TestWatcherIsBounded(t *testing.T) {
	h := newHost(t, 600)
	w := newWatcher(t, h)
	for i := range maxPending {
		if err := w.Heard(h.note(2+i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Heard(h.note(100), nil); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("one checkpoint more: %v, want Exhausted", err)
	}
	for _, c := range h.changes {
		if err := w.Wrote(c); err != nil {
			t.Fatal(err)
		}
	}
	b, err := w.Encode()
	if err != nil || len(b) > MaxWatcher {
		t.Errorf("%d bytes, %v", len(b), err)
	}
	w = again(t, w)
	if err := follow(w, h.note(600), h.changes[:599]); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("with many pending: %v", err)
	}
	due := w.Due()
	for _, c := range h.changes[:599] {
		if err := w.Read(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Ended(due); !errors.Is(err, ErrWithheld) {
		t.Errorf("the last own write is not missed: %v", err)
	}
}

func TestEvidence(t *testing.T) {
	h := newHost(t, 30)
	v, f := h.s.Verifier(), h.fork(3)
	stranger := &host{t, signer(t, "another"), h.changes}
	for _, tt := range []struct {
		name         string
		older, newer []byte
		proof        []Hash
		want         coffer.Kind // of Contradiction; 0 is none
	}{
		{"same size", h.note(9), f.note(9), nil, 0},
		{"same size, the other way", f.note(9), h.note(9), nil, 0},
		{"by the node's proof", h.note(9), f.note(20), f.proof(9, 20), 0},
		{"by the node's proof, notes in the other order", f.note(20), h.note(9), f.proof(9, 20), 0},
		{"the same", h.note(9), h.note(9), nil, coffer.NotExist},
		{"a log that grew", h.note(9), h.note(20), h.proof(9, 20), coffer.NotExist},
		{"a proof of another log", h.note(9), h.note(20), f.proof(9, 20), coffer.NotExist},
		{"no proof", h.note(9), f.note(20), nil, coffer.NotExist},
		{"a power of two", h.note(8), f.note(20), f.proof(8, 20), coffer.NotExist},
		{"empty", h.note(0), f.note(20), nil, coffer.NotExist},
		{"another's", stranger.note(9), f.note(9), nil, coffer.Corrupt},
		{"nonsense", h.note(9), []byte("x"), nil, coffer.Corrupt},
	} {
		e, err := Contradiction(v, testOrigin, tt.older, tt.newer, tt.proof)
		if tt.want != 0 {
			if !errors.Is(err, tt.want) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if err := e.Check(v, testOrigin); err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		if err := e.Check(stranger.s.Verifier(), testOrigin); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s, judged by another key: %v, want Corrupt", tt.name, err)
		}
		if err := e.Check(v, testOrigin+"x"); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s, of another log: %v, want Corrupt", tt.name, err)
		}
	}
	// Nobody can make up a prefix.
	made := &Evidence{Older: h.note(9), Newer: h.note(20), Proof: h.proof(9, 20), Prefix: Hash{1}}
	if err := made.Check(v, testOrigin); !errors.Is(err, coffer.Invalid) {
		t.Errorf("made up: %v, want Invalid", err)
	}
	made = &Evidence{Older: h.note(9), Newer: h.note(9), Proof: h.proof(9, 20)}
	if err := made.Check(v, testOrigin); !errors.Is(err, coffer.Invalid) {
		t.Errorf("the same twice: %v, want Invalid", err)
	}
}

func FuzzDecodeWatcher(f *testing.F) {
	h := newHost(f, 30)
	w := newWatcher(f, h)
	add := func() {
		b, err := w.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	add()
	for _, err := range []error{follow(w, h.note(9), h.changes[:9]), w.Heard(h.note(20), nil), w.Wrote(h.changes[12])} {
		if err != nil {
			f.Fatal(err)
		}
	}
	add()
	f.Fuzz(func(t *testing.T, b []byte) {
		w, err := DecodeWatcher(b)
		if err != nil {
			if !errors.Is(err, coffer.Corrupt) {
				t.Errorf("%v, want Corrupt", err)
			}
			return
		}
		again(t, w)
		if w.Size() < MaxSize {
			c := change(1)
			c.Number = w.Size() + 1
			_ = w.Read(c)
			_ = w.Ended(w.Due())
		}
	})
}

func FuzzDecodeEvidence(f *testing.F) {
	h := newHost(f, 30)
	v := h.s.Verifier()
	for _, proof := range [][]Hash{nil, h.fork(3).proof(9, 20)} {
		newer := h.fork(3).note(9)
		if proof != nil {
			newer = h.fork(3).note(20)
		}
		e, err := Contradiction(v, testOrigin, h.note(9), newer, proof)
		if err != nil {
			f.Fatal(err)
		}
		b, err := e.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := DecodeEvidence(b)
		if err != nil {
			return
		}
		_ = e.Check(v, testOrigin)
		again, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if d, err := DecodeEvidence(again); err != nil || !bytes.Equal(d.Newer, e.Newer) || len(d.Proof) != len(e.Proof) {
			t.Errorf("read back as %+v, %v", d, err)
		}
	})
}
