package search

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

func FuzzDecodeDelta(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 3 {
		d := Delta{Removed: []coffer.ObjectID{{1}}}
		for range n {
			d.Documents = append(d.Documents, someDocument(r, coffer.NewObjectID()))
		}
		b, err := d.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		d, err := DecodeDelta(b)
		if err != nil {
			if !errors.Is(err, coffer.Corrupt) && !errors.Is(err, coffer.Invalid) {
				t.Error(err)
			}
			return
		}
		again, err := d.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := DecodeDelta(again); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzManifest(f *testing.F) {
	f.Add(encodeManifest([]*segment{{entries: 1, weight: 2, root: seal.NewRef()}, {root: seal.NewRef()}}))
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		segments, err := decodeManifest(b)
		switch {
		case err != nil && !errors.Is(err, coffer.Corrupt) && !errors.Is(err, coffer.Invalid):
			t.Error(err)
		case err == nil && len(encodeManifest(segments)) >= 3<<10:
			t.Error("longer than 3 KiB")
		}
	})
}

// hostile is blocks one of which is not what was put.
type hostile struct {
	*memory
	ref   seal.Ref
	block []byte
}

func (h *hostile) Get(ctx context.Context, ref seal.Ref) ([]byte, error) {
	if ref == h.ref {
		return h.block, nil
	}
	return h.memory.Get(ctx, ref)
}

// FuzzBlocks puts other bytes in the place of each block. Whatever is asked, the answer is some hits, or Corrupt.
func FuzzBlocks(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 3))
	type sample struct {
		m        *memory
		manifest []byte
		refs     []seal.Ref
	}
	// One segment that is all in its root, one of many blocks, and one whose directory has blocks of its own.
	var samples []sample
	kinds := map[byte]bool{}
	for _, n := range []int{3, 60, 800} {
		m := newMemory()
		x, err := Open(m, nil, nil)
		if err != nil {
			f.Fatal(err)
		}
		x.BlockSize = MinBlockSize
		var d Delta
		for range n {
			d.Documents = append(d.Documents, someDocument(r, coffer.NewObjectID()))
		}
		if err := x.Add(d); err != nil {
			f.Fatal(err)
		}
		manifest, _, err := x.Flush(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		refs, err := x.Refs(f.Context())
		if err != nil {
			f.Fatal(err)
		}
		k := len(samples)
		samples = append(samples, sample{m, manifest, refs})
		for i, ref := range refs {
			if b := m.blocks[ref]; !kinds[b[0]] || i%40 == 0 {
				kinds[b[0]] = true
				f.Add(uint8(k), uint16(i), b)
				f.Add(uint8(k), uint16(i), b[:len(b)/2])
				c := append([]byte(nil), b...)
				for range 5 {
					c[r.IntN(len(c))] ^= byte(r.IntN(256))
				}
				f.Add(uint8(k), uint16(i), c)
			}
		}
	}
	for _, k := range []byte{blockRoot, blockDirectory, blockTerms, blockPostings, blockStored} {
		if !kinds[k] {
			f.Fatalf("no block of kind %c", k)
		}
	}
	words := []string{"ada", "rep*", `"annual report"~2`, "total:[1 TO 5]", "-wine", "name:*.pdf", "budgte~"}
	f.Fuzz(func(t *testing.T, k uint8, i uint16, b []byte) {
		s := samples[int(k)%len(samples)]
		if len(s.refs) == 0 {
			return
		}
		h := &hostile{s.m, s.refs[int(i)%len(s.refs)], b}
		x, err := Open(h, s.manifest, nil)
		if err != nil {
			t.Fatal(err)
		}
		check := func(err error) {
			if err != nil && !errors.Is(err, coffer.Corrupt) && !errors.Is(err, coffer.Invalid) &&
				!errors.Is(err, coffer.NotExist) && !errors.Is(err, coffer.Exhausted) {
				t.Error(err)
			}
		}
		for _, text := range words {
			for _, err := range x.Find(t.Context(), parse(t, text)) {
				check(err)
			}
		}
		_, err = x.Path(t.Context(), coffer.ObjectID{1})
		check(err)
		_, err = x.Refs(t.Context())
		check(err)
		if int(k)%len(samples) == 2 {
			return // slow
		}
		if err := x.Add(Delta{Removed: []coffer.ObjectID{{1}}}); err != nil {
			t.Fatal(err)
		}
		x.BlockSize = MinBlockSize
		_, _, err = x.Flush(t.Context())
		check(err)
		check(x.blocks.Drop(t.Context(), x.Made()...))
	})
}
