package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/stream"
)

func TestReader(t *testing.T) {
	const chunk = 64
	for _, n := range []int{0, 1, 64, 100, 17*64 + 1, 1030*64 + 3} {
		data := noise(1, n)
		v := newShelf(t, idA)
		s := v.write(data, chunk, nil)
		r := v.reader(s)
		if n < 2000 {
			if err := iotest.TestReader(r, data); err != nil { // Read, Seek and ReadAt
				t.Errorf("%d bytes: %v", n, err)
			}
		}
		if _, err := r.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if k, err := r.WriteTo(&out); err != nil || k != int64(n) || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%d bytes: wrote %d: %v", n, k, err)
		}
		if r.Size() != int64(n) || r.Chunks() != uint64(n+chunk-1)/chunk || r.ChunkSize() != chunk {
			t.Errorf("%d bytes: %d in %d chunks of %d", n, r.Size(), r.Chunks(), r.ChunkSize())
		}
		whole := make([]byte, n)
		var mu sync.Mutex
		first, count := min(2, r.Chunks()), uint64(0)
		err := r.Each(t.Context(), first, func(number uint64, plain []byte) error {
			mu.Lock()
			defer mu.Unlock()
			count++
			copy(whole[number*chunk:], plain)
			return nil
		})
		if begin := int(min(first*chunk, uint64(n))); err != nil || count != r.Chunks()-first ||
			!bytes.Equal(whole[begin:], data[begin:]) {
			t.Errorf("%d bytes: %d chunks from %d on: %v", n, count, first, err)
		}
		if _, err := r.Chunk(t.Context(), nil, r.Chunks()); !errors.Is(err, coffer.NotExist) {
			t.Errorf("%d bytes: beyond the end: %v", n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
		if _, err := r.Read(make([]byte, 1)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("closed: %v", err)
		}
	}
}

// A part of a stream costs the chunks it is in, and one of the table.
func TestReadAtFetchesLittle(t *testing.T) {
	const chunk, n = 64, 2100 * 64
	data := noise(1, n)
	v := newShelf(t, idA)
	r := v.reader(v.write(data, chunk, nil))
	for _, test := range []struct {
		offset, length int
		fetched        []uint64
	}{
		{1500 * chunk, 1, []uint64{1501, 2049}},
		{1500*chunk + 7, 50, nil}, // kept
		{1501 * chunk, 64, []uint64{1502}},
		{1500*chunk + 60, 64 + 8, []uint64{1501, 1502, 1503}},
		{1502 * chunk, 64, nil}, // kept
		{2099*chunk + 63, 1, []uint64{2101, int64Stored(2112)}},
		{1023*chunk + 63, 2, []uint64{1023, 1024, 1025}},
	} {
		v.got = nil
		p := make([]byte, test.length)
		if k, err := r.ReadAt(p, int64(test.offset)); k != len(p) || err != nil ||
			!bytes.Equal(p, data[test.offset:test.offset+test.length]) {
			t.Fatalf("%+v: %d, %v", test, k, err)
		}
		slices.Sort(v.got)
		if !slices.Equal(v.got, test.fetched) {
			t.Errorf("%+v: fetched %d", test, v.got)
		}
	}
	for _, test := range []struct {
		offset int64
		length int
		n      int
		want   error
	}{
		{n, 1, 0, io.EOF}, {n - 1, 2, 1, io.EOF}, {n - 200, 300, 200, io.EOF}, {n + 5, 1, 0, io.EOF}, {n, 0, 0, nil},
		{-1, 1, 0, coffer.Invalid},
	} {
		if k, err := r.ReadAt(make([]byte, test.length), test.offset); k != test.n || !errors.Is(err, test.want) {
			t.Errorf("%+v: %d, %v", test, k, err)
		}
	}
}

// int64Stored returns the index of the last chunk of a stream of three parts with so many data chunks.
func int64Stored(data uint64) uint64 { return data + 2 }

// Many read at once.
func TestReaderInParallel(t *testing.T) {
	const chunk, n = 64, 1100*64 + 5
	data := noise(1, n)
	v := newShelf(t, idA)
	r := v.reader(v.write(data, chunk, nil))
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 200 {
				offset := (i*7919 + worker*104729) % n
				p := make([]byte, min(i, n-offset))
				if k, err := r.ReadAt(p, int64(offset)); k != len(p) || err != nil || !bytes.Equal(p, data[offset:offset+k]) {
					t.Errorf("at %d: %d, %v", offset, k, err)
				}
			}
		})
	}
	wg.Wait()
}

// A stream in the form for foreign clients is read as well.
func TestReaderOfAnotherForm(t *testing.T) {
	const chunk = 64
	data := noise(1, 5*chunk+3)
	s, err := seal.NewStream(0, chunk)
	if err != nil {
		t.Fatal(err)
	}
	public := coffer.PublicKey{ID: "did:example:foreign#key", Type: "X25519KeyAgreementKey2020", Public: noise(4, 32)}
	sealer, err := seal.NewChunkSealer(idA, s, public)
	if err != nil {
		t.Fatal(err)
	}
	v := newShelf(t, idA)
	w := seal.NewWriter(sealer, func(ref coffer.ChunkRef, raw []byte) error {
		return v.PutChunk(t.Context(), idA, ref, bytes.NewReader(raw))
	})
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if s, err = w.Close(); err != nil {
		t.Fatal(err)
	}
	v.accept(s)
	v.holds(s, data)
	// And replaced by a native one.
	v.holds(v.write(data, chunk, s), data)
}

// What a provider can do to the chunks of a stream, and to which the reader must not fall, strict or not.
func TestReaderFindsTampering(t *testing.T) {
	const chunk = 64
	type stored map[uint64][]byte
	clone := func(m map[uint64][]byte) stored {
		c := make(stored)
		for i, raw := range m {
			c[i] = bytes.Clone(raw)
		}
		return c
	}
	for _, n := range []int{4 * chunk, 40 * chunk, 1100 * chunk} {
		v := newShelf(t, idA)
		data := noise(1, n)
		first := v.write(data, chunk, nil)
		old := clone(v.sets[first.Sequence])
		changed := bytes.Clone(data)
		changed[1*chunk]++
		s := v.write(changed, chunk, first)
		good := clone(v.sets[s.Sequence])

		b := newShelf(t, idB)
		sb := b.write(changed, chunk, nil)
		foreign := b.sets[sb.Sequence]

		tables := s.Layout().Tables
		table := s.Layout().TableIndex(0)
		for name, change := range map[string]func(c stored){
			"two swapped":                    func(c stored) { c[1], c[2] = c[2], c[1] },
			"one twice":                      func(c stored) { c[1] = c[2] },
			"one left out":                   func(c stored) { delete(c, 1) },
			"the last left out":              func(c stored) { delete(c, s.Layout().TableIndex(0)-1) },
			"one of the version before":      func(c stored) { c[1] = old[1] },
			"all of the version before":      func(c stored) { copyInto(c, old) },
			"another document's":             func(c stored) { c[1] = foreign[1] },
			"all of another document":        func(c stored) { copyInto(c, foreign) },
			"the table of the one before":    func(c stored) { c[table] = old[table] },
			"the table and the chunk before": func(c stored) { c[table], c[1] = old[table], old[1] },
			"the table left out":             func(c stored) { delete(c, table) },
			"the table as a chunk":           func(c stored) { c[1] = c[table] },
			"a chunk as the table":           func(c stored) { c[table] = c[1] },
			"another document's table":       func(c stored) { c[table] = foreign[table] },
			"cut short":                      func(c stored) { c[1] = c[1][:len(c[1])-1] },
			"longer":                         func(c stored) { c[1] = append(c[1], 0) },
			"empty":                          func(c stored) { c[1] = nil },
			"huge":                           func(c stored) { c[1] = make([]byte, 9<<20) },
			"a bit of the ciphertext":        func(c stored) { c[1][len(c[1])-1] ^= 1 },
			"a bit of the table":             func(c stored) { c[table][len(c[table])-1] ^= 1 },
		} {
			if tables == 0 && bytes.Contains([]byte(name), []byte("table")) {
				continue
			}
			for _, strict := range []bool{true, false} {
				c := clone(good)
				change(c)
				if name == "the last left out" && tables == 0 {
					c = clone(good)
					delete(c, s.Chunks-1)
				}
				v.sets[s.Sequence] = c
				r, err := stream.NewReader(t.Context(), stream.ReadOptions{Vault: v, ID: idA, Stream: s, Strict: strict})
				if err != nil {
					t.Fatal(err)
				}
				got, err := io.ReadAll(r)
				if !errors.Is(err, coffer.Corrupt) {
					t.Errorf("%d bytes, %s: read %d: %v", n, name, len(got), err)
				}
				if !bytes.HasPrefix(changed, got) {
					t.Errorf("%d bytes, %s: read something else", n, name)
				}
				r.Close()
			}
		}
		v.sets[s.Sequence] = good
		v.holds(s, changed)
	}
}

func copyInto(to, from map[uint64][]byte) {
	for i, raw := range from {
		to[i] = raw
	}
}

// While a stream is patched, the old version is read until the patch is accepted, and then the reader learns why it
// cannot go on.
func TestReadWhilePatched(t *testing.T) {
	const chunk = 64
	v := newShelf(t, idA)
	data := noise(1, 100*chunk)
	s := v.write(data, chunk, nil)
	changed := coffer.Errorf("read", coffer.Conflict, "changed while being read")
	asked := 0
	r, err := stream.NewReader(t.Context(), stream.ReadOptions{
		Vault: v, ID: idA, Stream: s, Workers: 1,
		Changed: func(context.Context) error { asked++; return changed },
	})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p := make([]byte, 10*chunk)
	if _, err := io.ReadFull(r, p); err != nil || !bytes.Equal(p, data[:len(p)]) {
		t.Fatal(err)
	}
	v.claim()
	later := bytes.Clone(data)
	later[50*chunk]++
	o := v.options(later, chunk)
	o.Base = s
	s2, err := stream.Write(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, p); err != nil || !bytes.Equal(p, data[len(p):2*len(p)]) || asked != 0 {
		t.Fatalf("while it is patched: %v", err)
	}
	v.accept(s2)
	rest, err := io.ReadAll(r)
	if err != changed || asked == 0 || !bytes.Equal(rest, data[20*chunk:50*chunk]) {
		t.Fatalf("patched: %d bytes, %v", len(rest), err)
	}
	if _, err := r.Read(p); err != changed {
		t.Errorf("again: %v", err)
	}
	v.holds(s2, later)
}

// The vault's own errors come as they are, and nobody is asked about them.
func TestReaderHandsOnErrors(t *testing.T) {
	const chunk = 64
	v := newShelf(t, idA)
	data := noise(1, 40*chunk)
	s := v.write(data, chunk, nil)
	down := coffer.E("get", coffer.Unavailable, nil)
	v.serve = func(index uint64, raw []byte) ([]byte, error) {
		if index == 7 {
			return nil, down
		}
		return raw, nil
	}
	r, err := stream.NewReader(t.Context(), stream.ReadOptions{Vault: v, ID: idA, Stream: s,
		Changed: func(context.Context) error { t.Error("asked"); return nil }})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != down || !bytes.Equal(got, data[:7*chunk]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	err = r.Each(t.Context(), 0, func(uint64, []byte) error { return nil })
	if err != down {
		t.Error(err)
	}
	if _, err := r.ReadAt(make([]byte, 200), 6*chunk); err != down {
		t.Error(err)
	}
	full := errors.New("full")
	if err := r.Each(t.Context(), 10, func(uint64, []byte) error { return full }); err != full {
		t.Error(err)
	}
	v.serve = nil // it is up again
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
		t.Error(err)
	}
	r.Close()

	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err = stream.NewReader(ctx, stream.ReadOptions{Vault: v, ID: idA, Stream: s}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 1)); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	for name, s := range map[string]*seal.Stream{"none": nil, "foreign": {Chunks: 3}} {
		if _, err := stream.NewReader(ctx, stream.ReadOptions{Vault: v, ID: idA, Stream: s}); err == nil {
			t.Errorf("a reader of a stream that is %s", name)
		}
	}
}
