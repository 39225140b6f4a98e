package seal

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
)

// upload is a document with a stream as a provider has it: the sealed document, and raw chunks by index.
type upload struct {
	document *coffer.Document
	chunks   [][]byte
}

func (u *upload) get(_ context.Context, dst []byte, index uint64) ([]byte, error) {
	if index >= uint64(len(u.chunks)) {
		return nil, coffer.Errorf("chunk", coffer.NotExist, "none")
	}
	return append(dst, u.chunks[index]...), nil
}

func (u *upload) clone() *upload {
	d := *u.document
	c := &upload{document: &d}
	for _, raw := range u.chunks {
		c.chunks = append(c.chunks, bytes.Clone(raw))
	}
	return c
}

// write seals data as the stream of a document, in pieces of odd lengths.
func write(t testing.TB, r *ring, id coffer.ObjectID, sequence uint64, chunkSize int, data []byte) *upload {
	t.Helper()
	s, err := NewStream(sequence, chunkSize)
	if err != nil {
		t.Fatal(err)
	}
	return writeOn(t, r, id, s, data)
}

func writeOn(t testing.TB, r *ring, id coffer.ObjectID, s *Stream, data []byte) *upload {
	t.Helper()
	sealer, err := NewChunkSealer(id, s, r.public())
	if err != nil {
		t.Fatal(err)
	}
	u := &upload{}
	w := NewWriter(sealer, func(ref coffer.ChunkRef, raw []byte) error {
		if ref.Index != uint64(len(u.chunks)) || ref.Sequence != s.Sequence ||
			ref.Size != int64(len(raw)) || ref.Sum != sha256.Sum256(raw) {
			t.Errorf("ref is %+v", ref)
		}
		if _, _, err := edv.SplitRaw(raw); err != nil {
			t.Error(err)
		}
		u.chunks = append(u.chunks, bytes.Clone(raw))
		return nil
	})
	for n := 1; len(data) > 0; n += 3 {
		n = min(n, len(data))
		if k, err := w.Write(data[:n]); k != n || err != nil {
			t.Fatal(k, err)
		}
		data = data[n:]
	}
	closed, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("x")); err == nil {
		t.Error("wrote after the end")
	}
	u.document = mustSeal(t, r, Plain{Stream: closed}, Options{ID: id, Sequence: s.Sequence + 1})
	return u
}

func (u *upload) opener(t testing.TB, r *ring) *ChunkOpener {
	t.Helper()
	o, err := NewChunkOpener(r, mustOpen(t, r, u.document))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func (u *upload) read(t testing.TB, r *ring) ([]byte, error) {
	t.Helper()
	return io.ReadAll(NewReader(t.Context(), u.opener(t, r), u.get))
}

func bytesOf(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func TestStream(t *testing.T) {
	r := newRing(t, "alice")
	for _, n := range []int{0, 1, 63, 64, 65, 128, 1000} {
		data := bytesOf(n)
		u := write(t, r, idA, 4, 64, data)
		if want := (n + 63) / 64; len(u.chunks) != want {
			t.Errorf("%d bytes in %d chunks", n, len(u.chunks))
		}
		reader := func() *Reader { return NewReader(t.Context(), u.opener(t, r), u.get) }
		if err := iotest.TestReader(reader(), data); err != nil {
			t.Errorf("%d bytes: %v", n, err)
		}
		var out bytes.Buffer
		if k, err := reader().WriteTo(&out); err != nil || k != int64(n) || !bytes.Equal(out.Bytes(), data) {
			t.Errorf("%d bytes: wrote %d, %v", n, k, err)
		}
		o := mustOpen(t, r, u.document)
		if !o.Stream.Bound() || o.Stream.Size != uint64(n) || o.Stream.Sequence != 4 {
			t.Errorf("stream is %+v", o.Stream)
		}
		wire, err := edv.DecodeDocument(u.document.Body)
		if err != nil {
			t.Fatal(err)
		}
		if wire.Stream == nil || *wire.Stream != *u.document.Stream {
			t.Errorf("body names stream %+v", wire.Stream)
		}
		for i, raw := range u.chunks {
			text, err := edv.JSONFromRaw(raw)
			if err != nil {
				t.Fatal(err)
			}
			c, back, err := edv.RawFromJSON(text)
			if err != nil || !bytes.Equal(back, raw) {
				t.Fatalf("chunk %d is another after a round trip through JSON: %v", i, err)
			}
			if want := min((i+1)*64, n); c.Index != uint64(i) || c.Sequence != 4 || c.Offset != uint64(want) {
				t.Errorf("chunk %d says %+v", i, c)
			}
		}
	}
}

// Chunks are sealed and opened in any order, by many at once, into buffers that are used again.
func TestChunksInParallel(t *testing.T) {
	r := newRing(t, "alice")
	const size, count = 512, 40
	data := bytesOf(size*count - 100)
	s, err := NewStream(0, size)
	if err != nil {
		t.Fatal(err)
	}
	pending := mustSeal(t, r, Plain{Stream: s}, Options{ID: idA})
	if wire, err := edv.DecodeDocument(pending.Body); err != nil || wire.Stream == nil || *wire.Stream != *pending.Stream {
		t.Errorf("body does not say that its stream is pending: %v", err)
	}
	found := mustOpen(t, r, pending)
	if _, err := NewChunkOpener(r, found); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("opener for a pending stream: %v", err)
	}
	// The upload goes on with what the pending document holds.
	sealer, err := NewChunkSealer(idA, found.Stream, r.public())
	if err != nil {
		t.Fatal(err)
	}
	u := &upload{chunks: make([][]byte, count)}
	each := func(f func(i uint64, buffer []byte) error) {
		t.Helper()
		var wg sync.WaitGroup
		for worker := range uint64(4) {
			wg.Go(func() {
				buffer := make([]byte, 0, size+sealer.Overhead())
				for i := worker; i < count; i += 4 {
					if err := f(count-1-i, buffer); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	piece := func(i uint64) []byte { return data[i*size : min((i+1)*size, uint64(len(data)))] }
	each(func(i uint64, buffer []byte) error {
		raw, err := sealer.Seal(buffer, i, i == count-1, piece(i))
		if len(raw) > 0 && &raw[0] != &buffer[:1][0] {
			t.Error("the buffer was too small for the overhead that was promised")
		}
		u.chunks[i] = bytes.Clone(raw)
		return err
	})
	closed, err := found.Stream.Close(uint64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	u.document = mustSeal(t, r, Plain{Stream: closed}, Options{ID: idA, Sequence: 1})
	opener := u.opener(t, r)
	agreed := r.agreed
	each(func(i uint64, buffer []byte) error {
		got, err := opener.Open(t.Context(), buffer, u.chunks[i], i)
		if err == nil && !bytes.Equal(got, piece(i)) {
			err = fmt.Errorf("chunk %d reads another way", i)
		}
		return err
	})
	if r.agreed != agreed {
		t.Error("opening a chunk asked the keyring")
	}
	got, err := opener.OpenInPlace(t.Context(), bytes.Clone(u.chunks[7]), 7)
	if err != nil || !bytes.Equal(got, piece(7)) {
		t.Errorf("in place: %v", err)
	}
	if _, err := opener.Open(t.Context(), nil, u.chunks[0], count); !errors.Is(err, coffer.NotExist) {
		t.Errorf("beyond the end: %v", err)
	}
}

// A reader of the document reads the stream without being a recipient of its chunks.
func TestStreamForALaterReader(t *testing.T) {
	alice, bob := newRing(t, "alice"), newRing(t, "bob")
	data := bytesOf(200)
	u := write(t, alice, idA, 0, 64, data)
	o := mustOpen(t, alice, u.document)
	u.document = mustSeal(t, alice, o.Plain, Options{
		ID: idA, Sequence: 2, Recipients: []coffer.PublicKey{alice.public(), bob.public()},
	})
	if got, err := u.read(t, bob); err != nil || !bytes.Equal(got, data) {
		t.Error(err)
	}
}

// What a provider can do to the chunks of a stream, and to which the reader must not fall.
func TestReaderFindsTampering(t *testing.T) {
	r := newRing(t, "alice")
	data := bytesOf(64*3 + 10)
	good := write(t, r, idA, 4, 64, data)
	otherDocument := write(t, r, idB, 4, 64, data)
	otherSequence := write(t, r, idA, 5, 64, data)
	// The same key for another document, and for a longer and a shorter stream of this one: what a writer should not
	// do.
	s, err := NewStream(4, 64)
	if err != nil {
		t.Fatal(err)
	}
	sameKey, sameKeyB := writeOn(t, r, idA, s, data), writeOn(t, r, idB, s, data)
	longer, shorter := writeOn(t, r, idA, s, bytesOf(64*6)), writeOn(t, r, idA, s, data[:64*2])
	otherLength := writeOn(t, r, idA, s, data[:64*3+9])
	later := *s
	later.Sequence = 5
	sameKeyLater := writeOn(t, r, idA, &later, data)
	head := func(raw []byte, old, new string) []byte {
		h, c, err := edv.SplitRaw(raw)
		if err != nil {
			t.Fatal(err)
		}
		changed := bytes.Replace(h, []byte(old), []byte(new), 1)
		if bytes.Equal(changed, h) {
			t.Fatalf("head has no %s", old)
		}
		return edv.JoinRaw(changed, c)
	}
	for name, test := range map[string]struct {
		base   *upload
		change func(u *upload)
	}{
		"two swapped":         {good, func(u *upload) { u.chunks[0], u.chunks[1] = u.chunks[1], u.chunks[0] }},
		"one twice":           {good, func(u *upload) { u.chunks[1] = u.chunks[0] }},
		"one left out":        {good, func(u *upload) { u.chunks = slices.Delete(u.chunks, 1, 2) }},
		"the last elsewhere":  {good, func(u *upload) { u.chunks[2] = u.chunks[3] }},
		"another document's":  {good, func(u *upload) { u.chunks[1] = otherDocument.chunks[1] }},
		"another sequence's":  {good, func(u *upload) { u.chunks[1] = otherSequence.chunks[1] }},
		"same key, other id":  {sameKey, func(u *upload) { u.chunks[1] = sameKeyB.chunks[1] }},
		"same key, other set": {sameKey, func(u *upload) { u.chunks[1] = sameKeyLater.chunks[1] }},
		"same key, set relabeled": {sameKey, func(u *upload) {
			u.chunks[1] = head(sameKeyLater.chunks[1], `"sequence":5`, `"sequence":4`)
		}},
		"a middle one as the last": {shorter, func(u *upload) { u.chunks[1] = longer.chunks[1] }},
		"a last one in the middle": {longer, func(u *upload) { u.chunks[1] = shorter.chunks[1] }},
		"a last of other length":   {sameKey, func(u *upload) { u.chunks[3] = otherLength.chunks[3] }},
		"index relabeled": {good, func(u *upload) {
			u.chunks[1] = head(u.chunks[0], `"index":0`, `"index":1`)
		}},
		"index and offset relabeled": {good, func(u *upload) {
			u.chunks[1] = head(head(u.chunks[0], `"index":0`, `"index":1`), `"offset":64`, `"offset":128`)
		}},
		"offset changed":  {good, func(u *upload) { u.chunks[0] = head(u.chunks[0], `"offset":64`, `"offset":65`) }},
		"a member more":   {good, func(u *upload) { u.chunks[0] = head(u.chunks[0], `{"index"`, `{"x":1,"index"`) }},
		"ciphertext more": {good, func(u *upload) { u.chunks[0] = append(u.chunks[0], 0) }},
		"ciphertext less": {good, func(u *upload) { u.chunks[0] = u.chunks[0][:len(u.chunks[0])-1] }},
		"ciphertext moved": {good, func(u *upload) {
			u.chunks[0] = head(u.chunks[0], `"ciphertext":""`, `"ciphertext":"AAAA"`)
		}},
		"nothing":        {good, func(u *upload) { u.chunks[0] = nil }},
		"no head":        {good, func(u *upload) { u.chunks[0] = []byte{0, 0, 0, 2, '{', '}'} }},
		"a huge one":     {good, func(u *upload) { u.chunks[0] = append(u.chunks[0], make([]byte, maxRawChunk)...) }},
		"one of an old":  {otherSequence, func(u *upload) { u.chunks = good.chunks }},
		"all of another": {good, func(u *upload) { u.chunks = otherDocument.chunks }},
	} {
		u := test.base.clone()
		if _, err := u.read(t, r); err != nil {
			t.Fatalf("%s: unchanged: %v", name, err)
		}
		test.change(u)
		want := coffer.Corrupt
		if got, err := u.read(t, r); !errors.Is(err, want) {
			t.Errorf("%s: %v after %d bytes", name, err, len(got))
		}
	}
	// Truncation: the provider has no chunk where the document says there is one.
	u := good.clone()
	u.chunks = u.chunks[:3]
	if _, err := u.read(t, r); err == nil {
		t.Error("read a stream cut short")
	}
	// Or says that there are fewer.
	u = good.clone()
	u.document.Stream = &coffer.Stream{Sequence: 4, Chunks: 3}
	if _, err := Open(t.Context(), r, u.document); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("fewer chunks outside: %v", err)
	}
}

// Whichever bit of a chunk changes, Open fails or returns what was sealed.
func TestOpenChunkFindsChangedBits(t *testing.T) {
	r := newRing(t, "alice")
	data := bytesOf(100)
	u := write(t, r, idA, 4, 64, data)
	o := u.opener(t, r)
	head, _, err := edv.SplitRaw(u.chunks[1])
	if err != nil {
		t.Fatal(err)
	}
	start, end := bytes.Index(head, []byte(`"recipients":[`)), bytes.Index(head, []byte(`],"iv":`))
	for i := range u.chunks[1] {
		raw := bytes.Clone(u.chunks[1])
		raw[i] ^= 1
		got, err := o.Open(t.Context(), nil, raw, 1)
		if err == nil && (!bytes.Equal(got, data[64:]) || i-4 < start || i-4 > end) {
			t.Errorf("opened with byte %d changed", i)
		}
		if err != nil && !errors.Is(err, coffer.Corrupt) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
}

// foreign is the known stream of a published client, as the document of an equally foreign client names it.
func foreign(t testing.TB, k *known, r *ring) *upload {
	t.Helper()
	text := fmt.Sprintf(`{"content":{},"stream":{"sequence":0,"chunks":%d}}`, len(k.Stream.Chunks))
	u := &upload{document: sealText(t, r, text)}
	for _, text := range k.Stream.Chunks {
		_, raw, err := edv.RawFromJSON(text)
		if err != nil {
			t.Fatal(err)
		}
		u.chunks = append(u.chunks, raw)
	}
	return u
}

func TestForeignStream(t *testing.T) {
	k := knownAnswers(t)
	r := knownRing(t, k)
	u := foreign(t, k, r)
	want := unhex(t, k.Stream.Plaintext)
	if o := mustOpen(t, r, u.document); o.Stream.Bound() || o.Bound {
		t.Error("a foreign stream is reported as bound")
	}
	agreed := r.agreed
	if got, err := u.read(t, r); err != nil || !bytes.Equal(got, want) {
		t.Fatal(err)
	}
	if n := r.agreed - agreed; n != 2 {
		t.Errorf("the keyring was asked %d times for a document and a stream", n)
	}
	stranger := newRing(t, "stranger")
	o, err := NewChunkOpener(stranger, mustOpen(t, r, u.document))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := o.Open(t.Context(), nil, u.chunks[0], 0); !errors.Is(err, coffer.Denied) {
		t.Errorf("a stranger: %v", err)
	}
	swapped := u.clone()
	swapped.chunks[0], swapped.chunks[1] = swapped.chunks[1], swapped.chunks[0]
	if _, err := swapped.read(t, r); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("swapped chunks: %v", err)
	}
	for n, chunk := range u.chunks {
		opener := u.opener(t, r)
		plain := want[n*64 : min((n+1)*64, len(want))]
		for i := range chunk {
			raw := bytes.Clone(chunk)
			raw[i] ^= 1
			if got, err := opener.Open(t.Context(), nil, raw, uint64(n)); err == nil && !bytes.Equal(got, plain) {
				t.Errorf("chunk %d reads another way with byte %d changed", n, i)
			}
		}
	}
}

// A key that was wrapped for other recipients in a later chunk is found as well.
func TestForeignStreamWithSeveralKeys(t *testing.T) {
	r := newRing(t, "alice")
	first, second := write(t, r, idA, 0, 64, bytesOf(128)), write(t, r, idA, 0, 64, bytesOf(128))
	u := &upload{
		document: sealText(t, r, `{"content":{},"stream":{"sequence":0,"chunks":2}}`),
		chunks:   [][]byte{first.chunks[0], second.chunks[1]},
	}
	if got, err := u.read(t, r); err != nil || !bytes.Equal(got, bytesOf(128)) {
		t.Error(err)
	}
}

func TestStreamRefuses(t *testing.T) {
	r := newRing(t, "alice")
	for _, size := range []int{-1, MaxChunkSize + 1} {
		if _, err := NewStream(0, size); !errors.Is(err, coffer.Invalid) {
			t.Errorf("chunks of %d bytes: %v", size, err)
		}
	}
	if _, err := NewStream(coffer.MaxSequence+1, 0); !errors.Is(err, coffer.Invalid) {
		t.Errorf("sequence: %v", err)
	}
	s, err := NewStream(0, 64)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := NewChunkSealer(idA, s); !errors.Is(err, coffer.Invalid) {
		t.Errorf("no recipients: %v", err)
	}
	crowd := make([]coffer.PublicKey, 600)
	for i := range crowd {
		crowd[i] = r.public()
		crowd[i].ID = fmt.Sprintf("did:example:%01000d", i)
	}
	if _, err := NewChunkSealer(idA, s, crowd...); !errors.Is(err, coffer.Invalid) {
		t.Errorf("more recipients than fit: %v", err)
	}
	if _, err := s.Close(64*MaxChunks + 1); !errors.Is(err, coffer.Invalid) {
		t.Errorf("too long: %v", err)
	}
	sealer, err := NewChunkSealer(idA, s, r.public())
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		index uint64
		last  bool
		n     int
	}{
		"too long":           {0, true, 65},
		"short, in between":  {0, false, 63},
		"empty":              {0, true, 0},
		"beyond the numbers": {MaxChunks, false, 64},
	} {
		if _, err := sealer.Seal(nil, test.index, test.last, make([]byte, test.n)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	closed, err := s.Close(100)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := closed.Close(100); !errors.Is(err, coffer.Invalid) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := NewChunkSealer(idA, closed, r.public()); !errors.Is(err, coffer.Invalid) {
		t.Errorf("sealer for a closed stream: %v", err)
	}
	if _, err := NewChunkSealer(idA, &Stream{Pending: true}, r.public()); !errors.Is(err, coffer.Invalid) {
		t.Errorf("sealer for a foreign stream: %v", err)
	}
	if _, err := NewChunkOpener(r, &Opened{}); !errors.Is(err, coffer.NotExist) {
		t.Errorf("opener for a document without a stream: %v", err)
	}
}

func TestWriterHandsOnErrors(t *testing.T) {
	r := newRing(t, "alice")
	s, err := NewStream(0, 4)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := NewChunkSealer(idA, s, r.public())
	if err != nil {
		t.Fatal(err)
	}
	full := errors.New("full")
	w := NewWriter(sealer, func(coffer.ChunkRef, []byte) error { return full })
	if n, err := w.Write(make([]byte, 4)); n != 4 || err != nil {
		t.Errorf("wrote %d, %v", n, err)
	}
	if n, err := w.Write(make([]byte, 4)); n != 0 || err != full {
		t.Errorf("wrote %d, %v", n, err)
	}
	if _, err := w.Close(); err != full {
		t.Errorf("closed: %v", err)
	}
}

func TestReaderHandsOnErrors(t *testing.T) {
	r := newRing(t, "alice")
	u := write(t, r, idA, 0, 64, bytesOf(100))
	down := errors.New("down")
	get := func(ctx context.Context, dst []byte, index uint64) ([]byte, error) {
		if index == 1 {
			return nil, down
		}
		return u.get(ctx, dst, index)
	}
	if got, err := io.ReadAll(NewReader(t.Context(), u.opener(t, r), get)); err != down || len(got) != 64 {
		t.Errorf("read %d, %v", len(got), err)
	}
	if n, err := NewReader(t.Context(), u.opener(t, r), get).WriteTo(io.Discard); err != down || n != 64 {
		t.Errorf("wrote %d, %v", n, err)
	}
}

func FuzzOpenChunk(f *testing.F) {
	k := knownAnswers(f)
	r := knownRing(f, k)
	data := bytesOf(100)
	ours, theirs := write(f, r, idA, 4, 64, data), foreign(f, k, r)
	for i := range ours.chunks {
		f.Add(ours.chunks[i])
		f.Add(theirs.chunks[i])
	}
	f.Add([]byte{0, 0, 0, 2, '{', '}', 1, 2, 3})
	openOurs, openTheirs := ours.opener(f, r), theirs.opener(f, r)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for i := range uint64(2) {
			got, err := openOurs.Open(t.Context(), nil, raw, i)
			if err == nil && !bytes.Equal(got, data[i*64:min((i+1)*64, 100)]) {
				t.Fatal("reads what was not written")
			}
			if err != nil && !errors.Is(err, coffer.Corrupt) {
				t.Fatal(err)
			}
			if _, err := openTheirs.Open(t.Context(), nil, raw, i); err != nil &&
				!errors.Is(err, coffer.Corrupt) && !errors.Is(err, coffer.Denied) {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkChunk1MiB(b *testing.B) {
	r := newRing(b, "alice")
	data := bytesOf(DefaultChunkSize)
	s, err := NewStream(0, 0)
	if err != nil {
		b.Fatal(err)
	}
	sealer, err := NewChunkSealer(idA, s, r.public())
	if err != nil {
		b.Fatal(err)
	}
	raw, err := sealer.Seal(nil, 0, true, data)
	if err != nil {
		b.Fatal(err)
	}
	closed, err := s.Close(DefaultChunkSize)
	if err != nil {
		b.Fatal(err)
	}
	opener, err := NewChunkOpener(r, &Opened{ID: idA, Plain: Plain{Stream: closed}})
	if err != nil {
		b.Fatal(err)
	}
	buffer := make([]byte, 0, 2<<20)
	block, _ := aes.NewCipher(make([]byte, 32))
	gcm, _ := cipher.NewGCM(block)
	iv := make([]byte, gcm.NonceSize())
	whole := gcm.Seal(nil, iv, data, nil)
	run := func(name string, f func() error) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(DefaultChunkSize)
			b.ReportAllocs()
			for b.Loop() {
				if err := f(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
	run("seal", func() error { _, err := sealer.Seal(buffer, 0, true, data); return err })
	run("open", func() error { _, err := opener.Open(b.Context(), buffer, raw, 0); return err })
	run("seal and ref", func() error {
		raw, err := sealer.Seal(buffer, 0, true, data)
		sealer.Ref(0, raw)
		return err
	})
	run("bare AES-256-GCM seal", func() error { gcm.Seal(buffer, iv, data, nil); return nil })
	run("bare AES-256-GCM open", func() error { _, err := gcm.Open(buffer, iv, whole, nil); return err })
	run("bare SHA-256", func() error { sha256.Sum256(data); return nil })
	run("copy and open in place", func() error {
		_, err := opener.OpenInPlace(b.Context(), append(buffer, raw...), 0)
		return err
	})
}

// The sealed stream is what published clients expect, and more.
func TestStreamMember(t *testing.T) {
	s, err := NewStream(3, 0)
	if err != nil {
		t.Fatal(err)
	}
	closed, err := s.Close(DefaultChunkSize + 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		s    *Stream
		want map[string]any
	}{
		{s, map[string]any{"pending": true, "opened": 3.0, "sequence": nil, "chunks": nil}},
		{closed, map[string]any{"sequence": 3.0, "chunks": 2.0, "size": 1048577.0, "chunkSize": 1048576.0, "enc": "A256GCM"}},
	} {
		b, err := test.s.inside()
		if err != nil {
			t.Fatal(err)
		}
		var got map[string]any
		if err := json.Unmarshal(b, &got); err != nil {
			t.Fatal(err)
		}
		for name, v := range test.want {
			if got[name] != v {
				t.Errorf("%s is %v", name, got[name])
			}
		}
		back, err := decodeStream(b, 3)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.key.Bytes(), test.s.key.Bytes()) || back.key.Enc() != test.s.key.Enc() {
			t.Error("reads with another key")
		}
		back.key = test.s.key
		if !reflect.DeepEqual(back, test.s) {
			t.Errorf("reads as %+v", back)
		}
	}
}
