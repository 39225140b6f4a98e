package seal

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/internal/jose"
)

func TestLayout(t *testing.T) {
	for _, test := range []struct {
		size   uint64
		chunk  int
		want   Layout
		stored uint64
	}{
		{0, 64, Layout{0, 64, 0, 0}, 0},
		{1, 64, Layout{1, 64, 1, 0}, 1},
		{100, 64, Layout{104, 64, 2, 0}, 2},
		{16 * 64, 64, Layout{1024, 64, 16, 0}, 16},
		{16*64 + 1, 64, Layout{1088, 64, 17, 1}, 18},
		{1024 * 64, 64, Layout{65536, 64, 1024, 1}, 1025},
		{1024*64 + 1, 64, Layout{67584, 64, 1056, 2}, 1058},
		{3 << 30, 1 << 20, Layout{3 << 30, 1 << 20, 3072, 3}, 3075},
		{MaxDataChunks * MaxChunkSize, MaxChunkSize, Layout{1 << 47, MaxChunkSize, MaxDataChunks, 1 << 14}, 1<<24 + 1<<14},
	} {
		l, err := NewLayout(test.size, test.chunk)
		if err != nil || l != test.want || l.Stored() != test.stored {
			t.Errorf("%d bytes: %+v, %v", test.size, l, err)
		}
		if l.Data > 4000 {
			continue
		}
		// Each place has one chunk, and the lengths add up.
		var there []string
		for range l.Stored() {
			there = append(there, "")
		}
		place := func(index uint64, what string) {
			if index >= l.Stored() || there[index] != "" {
				t.Fatalf("%d bytes: no place for %s at %d", test.size, what, index)
			}
			there[index] = what
		}
		var length, entries uint64
		for i := range l.Data {
			place(DataIndex(i), fmt.Sprint("data ", i))
			length += uint64(l.DataLength(i))
		}
		for i := range l.Tables {
			place(l.TableIndex(i), fmt.Sprint("table ", i))
		}
		for i := range max(l.Tables, 1) {
			entries += uint64(l.Span(i))
		}
		if length != l.Padded || entries != l.Data {
			t.Errorf("%d bytes: %d bytes, %d entries", test.size, length, entries)
		}
		if l.DataLength(l.Data) != 0 || l.Span(max(l.Tables, 1)) != 0 {
			t.Errorf("%d bytes: something beyond the end", test.size)
		}
		if n := l.Stored(); n > 0 && (!l.Last(n-1) || l.Last(n)) {
			t.Errorf("%d bytes: the last is not last", test.size)
		}
	}
	for _, test := range []struct {
		size  uint64
		chunk int
		want  coffer.Kind
	}{
		{0, 0, coffer.Invalid}, {0, -1, coffer.Invalid}, {0, MaxChunkSize + 1, coffer.Invalid},
		{MaxDataChunks + 1, 1, coffer.Exhausted}, {1<<64 - 1, MaxChunkSize, coffer.Exhausted},
	} {
		if _, err := NewLayout(test.size, test.chunk); !errors.Is(err, test.want) {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// native seals data as a native stream, and returns it with the chunks that a vault has.
func native(t testing.TB, id coffer.ObjectID, begun *Stream, data []byte) (*Stream, [][]byte) {
	t.Helper()
	sealer, err := NewChunkSealer(id, begun)
	if err != nil {
		t.Fatal(err)
	}
	l, err := NewLayout(uint64(len(data)), begun.ChunkSize)
	if err != nil {
		t.Fatal(err)
	}
	padded := append(bytes.Clone(data), make([]byte, l.Padded-uint64(len(data)))...)
	chunks := make([][]byte, l.Stored())
	put := func(index uint64, plain []byte) Entry {
		raw, err := sealer.Seal(nil, index, l.Last(index), plain)
		if err != nil {
			t.Fatal(err)
		}
		ref := sealer.Ref(index, raw)
		if ref.Sequence != begun.set() || ref.Index != index || ref.Size != int64(len(raw)) {
			t.Errorf("ref is %+v", ref)
		}
		chunks[index] = raw
		return sealer.Entry(ref, raw, nil, plain)
	}
	var entries, roots []Entry
	for i := range l.Data {
		begin := int(i) * l.ChunkSize
		entries = append(entries, put(DataIndex(i), padded[begin:begin+l.DataLength(i)]))
	}
	for i := range l.Tables {
		begin := int(i) * TableSpan
		roots = append(roots, put(l.TableIndex(i), AppendTable(nil, entries[begin:begin+l.Span(i)])))
	}
	if l.Tables == 0 {
		roots = entries
	}
	s, err := begun.Finish(uint64(len(data)), roots, l.Stored())
	if err != nil {
		t.Fatal(err)
	}
	return s, chunks
}

func mustNative(t testing.TB, sequence uint64, chunkSize int) *Stream {
	t.Helper()
	s, err := NewNativeStream(sequence, chunkSize)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A native stream goes through a document, native or not, and through a Reader; its chunks name nobody, and a vault
// that keeps them as JSON gives the same bytes back.
func TestNativeStream(t *testing.T) {
	r := newRing(t, "alice")
	for _, n := range []int{0, 1, 100, 1024, 1025, 1024*64 + 5} {
		data := bytesOf(n)
		s, chunks := native(t, idA, mustNative(t, 4, 64), data)
		doc := mustSeal(t, r, Plain{Stream: s}, Options{ID: idA, Sequence: 5})
		if *doc.Stream != (coffer.Stream{Sequence: 4, Chunks: uint64(len(chunks))}) {
			t.Errorf("the document names %+v", doc.Stream)
		}
		opened := mustOpen(t, r, doc)
		if !reflect.DeepEqual(opened.Stream.table, s.table) && n > 0 || opened.Stream.Size != uint64(n) ||
			!opened.Stream.Native || opened.Stream.used != uint64(len(chunks)) {
			t.Errorf("%d bytes: stream is %+v", n, opened.Stream)
		}
		opener, err := NewChunkOpener(r, opened)
		if err != nil {
			t.Fatal(err)
		}
		get := func(_ context.Context, dst []byte, index uint64) ([]byte, error) {
			return append(dst, chunks[index]...), nil
		}
		if got, err := io.ReadAll(NewReader(t.Context(), opener, get)); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: read %d: %v", n, len(got), err)
		}
		for i, raw := range chunks {
			head, _, err := edv.SplitRaw(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := edv.DecodeChunkHead(head); err != nil {
				t.Fatalf("chunk %d: a vault refuses it: %v", i, err)
			}
			if i > 20 {
				continue
			}
			text, err := edv.JSONFromRaw(raw)
			if err != nil {
				t.Fatal(err)
			}
			if _, back, err := edv.RawFromJSON(text); err != nil || !bytes.Equal(back, raw) {
				t.Fatalf("chunk %d is another after a round trip through JSON: %v", i, err)
			}
			if len(raw) > 64*64+512 || bytes.Contains(raw, []byte(r.id)) {
				t.Errorf("chunk %d has a head of %q", i, head)
			}
		}
	}
}

// A patched stream says so in its document, until it is settled.
func TestPatchedStream(t *testing.T) {
	r := newRing(t, "alice")
	base, _ := native(t, idA, mustNative(t, 4, 64), bytesOf(200))
	begun, err := base.Patched(7)
	if err != nil {
		t.Fatal(err)
	}
	s, chunks := native(t, idA, begun, bytesOf(300))
	if s.Patch != 7 || s.Sequence != 4 || s.used != base.used+uint64(len(chunks)) {
		t.Errorf("stream is %+v", s)
	}
	doc := mustSeal(t, r, Plain{Stream: s}, Options{ID: idA, Sequence: 8})
	if *doc.Stream != (coffer.Stream{Sequence: 4, Chunks: uint64(len(chunks)), Patch: 7}) {
		t.Errorf("the document names %+v", doc.Stream)
	}
	wire, err := edv.DecodeDocument(doc.Body)
	if err != nil || *wire.Stream != *doc.Stream {
		t.Errorf("its body names %+v: %v", wire.Stream, err)
	}
	o := mustOpen(t, r, doc)
	if o.Stream.Patch != 7 {
		t.Errorf("stream is %+v", o.Stream)
	}
	if doc = mustSeal(t, r, Plain{Stream: o.Stream.Settled()}, Options{ID: idA, Sequence: 9}); doc.Stream.Patch != 0 {
		t.Errorf("the settled document names %+v", doc.Stream)
	}
	for name, f := range map[string]func() error{
		"same set":                 func() error { _, err := base.Patched(4); return err },
		"no set":                   func() error { _, err := base.Patched(coffer.MaxSequence + 1); return err },
		"pending":                  func() error { _, err := begun.Patched(9); return err },
		"foreign":                  func() error { _, err := (&Stream{Chunks: 3}).Patched(9); return err },
		"a sealer of a closed one": func() error { _, err := NewChunkSealer(idA, s); return err },
		"a sealer with recipients": func() error { _, err := NewChunkSealer(idA, begun, r.public()); return err },
		"finished twice":           func() error { _, err := s.Finish(300, s.table, 0); return err },
		"another table":            func() error { _, err := begun.Finish(300, s.table[1:], 0); return err },
		"closed without a table":   func() error { _, err := begun.Close(300); return err },
		"sealed before the patch": func() error {
			_, err := Seal(t.Context(), r, Plain{Stream: s}, Options{ID: idA, Sequence: 6})
			return err
		},
		"sealed while patched": func() error {
			_, err := Seal(t.Context(), r, Plain{Stream: begun}, Options{ID: idA, Sequence: 8})
			return err
		},
		"too long a table": func() error {
			sealer, err := NewChunkSealer(idA, begun)
			if err == nil {
				_, err = sealer.Seal(nil, 0, false, make([]byte, TableSpan*EntrySize+1))
			}
			return err
		},
	} {
		if err := f(); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	worn := *base
	worn.used = maxUsed + 1
	if _, err := worn.Patched(7); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("patched too often: %v", err)
	}
	// A longer one is not opened without its table.
	long, chunks := native(t, idA, mustNative(t, 0, 64), bytesOf(64*20))
	opener, err := NewStreamOpener(idA, long)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := opener.Open(t.Context(), nil, chunks[0], 0); !errors.Is(err, coffer.Invalid) {
		t.Errorf("without a table: %v", err)
	}
	if _, err := opener.OpenTable(chunks[20], 1); !errors.Is(err, coffer.NotExist) {
		t.Errorf("a table beyond the end: %v", err)
	}
	if _, err := opener.OpenData(nil, chunks[0], 20, &Entry{}, false); !errors.Is(err, coffer.NotExist) {
		t.Errorf("beyond the end: %v", err)
	}
}

// What an upload needs to go on survives; nothing else is taken for it.
func TestPending(t *testing.T) {
	base, _ := native(t, idA, mustNative(t, 4, 64), bytesOf(200))
	patch, err := base.Patched(7)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Stream{mustNative(t, 4, 64), patch} {
		b, err := s.EncodePending()
		if err != nil {
			t.Fatal(err)
		}
		back, err := DecodePending(b)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(back.key.Bytes(), s.key.Bytes()) {
			t.Error("reads with another key")
		}
		back.key = s.key
		if !reflect.DeepEqual(back, s) {
			t.Errorf("%+v reads as %+v", s, back)
		}
	}
	if _, err := base.EncodePending(); !errors.Is(err, coffer.Invalid) {
		t.Errorf("a closed one: %v", err)
	}
	closed, _ := base.inside()
	old, err := NewStream(0, 64)
	if err != nil {
		t.Fatal(err)
	}
	other, _ := old.inside()
	for _, b := range [][]byte{closed, other, []byte(`{}`), []byte(`null`), nil} {
		if _, err := DecodePending(b); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v", b, err)
		}
	}
}

// Whichever bit of a native chunk changes, it does not open; without the hash, only the number of the set may be
// another.
func TestOpenDataFindsChangedBits(t *testing.T) {
	data := bytesOf(100)
	s, chunks := native(t, idA, mustNative(t, 4, 64), data)
	o, err := NewStreamOpener(idA, s)
	if err != nil {
		t.Fatal(err)
	}
	set := bytes.Index(chunks[1], []byte(`"sequence":4`)) + len(`"sequence":`)
	for i := range chunks[1] {
		for bit := range 8 {
			raw := bytes.Clone(chunks[1])
			raw[i] ^= 1 << bit
			if _, err := o.OpenData(nil, raw, 1, &s.table[1], true); !errors.Is(err, coffer.Corrupt) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			if _, err := o.Open(t.Context(), nil, raw, 1); !errors.Is(err, coffer.Corrupt) {
				t.Fatalf("bit %d of byte %d: %v", bit, i, err)
			}
			got, err := o.OpenDataInPlace(raw, 1, &s.table[1], false)
			if err == nil && (i != set || !bytes.HasPrefix(got, data[64:])) {
				t.Fatalf("opened with bit %d of byte %d changed", bit, i)
			}
			if err != nil && !errors.Is(err, coffer.Corrupt) {
				t.Fatal(err)
			}
		}
	}
}

// Who knows the key can seal another chunk for the same place. The table knows it.
func TestTablePinsVersions(t *testing.T) {
	begun := mustNative(t, 4, 64)
	s, chunks := native(t, idA, begun, bytesOf(200))
	_, others := native(t, idA, begun, bytesOf(200)) // even with the same bytes
	later, err := s.Patched(9)
	if err != nil {
		t.Fatal(err)
	}
	_, patched := native(t, idA, later, bytesOf(200))
	o, err := NewStreamOpener(idA, s)
	if err != nil {
		t.Fatal(err)
	}
	for i := range chunks {
		if _, err := o.OpenData(nil, chunks[i], uint64(i), &s.table[i], false); err != nil {
			t.Error(err)
		}
		for _, raw := range [][]byte{others[i], patched[i]} {
			if _, err := o.OpenData(nil, raw, uint64(i), &s.table[i], false); !errors.Is(err, coffer.Corrupt) {
				t.Errorf("another version of chunk %d: %v", i, err)
			}
		}
		// The same tag on another sum is found when it is asked for.
		e := s.table[i]
		e.Sum[31]++
		if _, err := o.OpenData(nil, chunks[i], uint64(i), &e, true); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("another sum: %v", err)
		}
	}
}

func TestMarker(t *testing.T) {
	key, plain := [32]byte{1}, bytesOf(100)
	m := NewMarker(key, idA, 4)
	e := Entry{Sum: [32]byte{5}}
	e.Mark = m.Mark(e.Sum, plain)
	if !m.Same(&e, plain) {
		t.Error("the same is not found")
	}
	longer, other := append(bytes.Clone(plain), 0), bytes.Clone(plain)
	other[99]++
	later := e
	later.Sum[0]++
	for name, same := range map[string]bool{
		"another plaintext": m.Same(&e, other), "a longer one": m.Same(&e, longer), "a shorter one": m.Same(&e, plain[:99]),
		"another sum": m.Same(&later, plain), "no mark": m.Same(&Entry{Sum: e.Sum}, plain),
		"another document": NewMarker(key, idB, 4).Same(&e, plain), "another set": NewMarker(key, idA, 5).Same(&e, plain),
		"another key": NewMarker([32]byte{2}, idA, 4).Same(&e, plain),
		"no marker":   NewMarker([32]byte{}, idA, 4).Same(&Entry{}, plain),
	} {
		if same {
			t.Errorf("%s is taken for the same", name)
		}
	}
	if NewMarker([32]byte{}, idA, 4).Mark(e.Sum, plain) != [16]byte{} {
		t.Error("no marker makes marks")
	}
}

func TestDecodeTable(t *testing.T) {
	entries := []Entry{{Sum: [32]byte{1}, Tag: [16]byte{2}, Mark: [16]byte{3}}, {Sum: [32]byte{31: 4}}}
	b := AppendTable([]byte("x"), entries)[1:]
	if got, err := DecodeTable(b); err != nil || !reflect.DeepEqual(got, entries) {
		t.Errorf("%+v, %v", got, err)
	}
	for _, b := range [][]byte{b[1:], make([]byte, (maxTable+1)*EntrySize)} {
		if _, err := DecodeTable(b); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%d bytes: %v", len(b), err)
		}
	}
}

// What a document says of a native stream must fit together.
func TestNativeMember(t *testing.T) {
	s, _ := native(t, idA, mustNative(t, 4, 64), bytesOf(200))
	good, err := s.inside()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := decodeStream(good, 5); err != nil {
		t.Fatal(err)
	}
	for _, change := range [][2]string{
		{`"form":1`, `"form":2`}, {`"size":200`, `"size":999`}, {`"chunks":4`, `"chunks":3`},
		{`"chunkSize":64`, `"chunkSize":0`},
		{`"chunkSize":64`, `"chunkSize":128`}, {`"enc":"A256GCM"`, `"enc":"XC20P"`}, {`"sequence":4`, `"sequence":6`},
		{`"form":1`, `"form":1,"patch":4`}, {`"form":1`, `"form":1,"patch":6`}, {`"table":"`, `"table":"AAAA`},
		{`"table":"`, `"table":"\n`}, {`"table":"`, `"table":"=`}, {`"key":"`, `"nokey":"`},
		{`"sequence":4`, `"pending":true`},
		{`"used":4`, `"used":99999999999`}, {`"form":1,`, ``}, {`"size":200`, `"size":9007199254740993`},
	} {
		b := bytes.Replace(good, []byte(change[0]), []byte(change[1]), 1)
		if bytes.Equal(b, good) {
			t.Fatalf("%s does not have %s", good, change[0])
		}
		if s, err := decodeStream(b, 5); err == nil && s.Native {
			t.Errorf("%s becomes %s, and is taken: %+v", change[0], change[1], s)
		}
	}
}

func FuzzDecodeTable(f *testing.F) {
	f.Add(AppendTable(nil, []Entry{{Sum: [32]byte{1}}, {Tag: [16]byte{2}}}))
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		if entries, err := DecodeTable(b); err == nil && !bytes.Equal(AppendTable(nil, entries), b) {
			t.Fatal("encodes another way")
		}
	})
}

func FuzzStreamMember(f *testing.F) {
	for _, n := range []int{0, 100, 64 * 20} {
		s, _ := native(f, idA, mustNative(f, 4, 64), bytesOf(n))
		b, _ := s.inside()
		f.Add([]byte(b))
	}
	pending, _ := mustNative(f, 4, 64).inside()
	f.Add([]byte(pending))
	f.Add([]byte(`{"sequence":0,"chunks":2}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeStream(b, 9)
		if err != nil {
			return
		}
		again, err := s.inside()
		if err != nil {
			t.Fatal(err)
		}
		back, err := decodeStream(again, 9)
		if err != nil {
			t.Fatalf("%s reads, and as %s does not: %v", b, again, err)
		}
		if s.key != nil {
			back.key = s.key
		}
		if len(s.table) == 0 {
			back.table = s.table
		}
		if !reflect.DeepEqual(s, back) {
			t.Fatalf("%+v reads as %+v", s, back)
		}
		_, _ = DecodePending(b)
	})
}

func FuzzOpenData(f *testing.F) {
	data := bytesOf(64 * 20)
	s, chunks := native(f, idA, mustNative(f, 4, 64), data)
	o, err := NewStreamOpener(idA, s)
	if err != nil {
		f.Fatal(err)
	}
	entries, err := o.OpenTable(bytes.Clone(chunks[20]), 0)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(chunks[0])
	f.Add(chunks[19])
	f.Add(chunks[20])
	f.Fuzz(func(t *testing.T, raw []byte) {
		for i := range uint64(20) {
			for _, strict := range []bool{true, false} {
				got, err := o.OpenData(nil, raw, i, &entries[i], strict)
				if err == nil && !bytes.Equal(got, data[i*64:(i+1)*64]) {
					t.Fatal("reads what was not written")
				}
				if err != nil && !errors.Is(err, coffer.Corrupt) {
					t.Fatal(err)
				}
			}
		}
		if _, err := o.OpenTable(bytes.Clone(raw), 0); err != nil && !errors.Is(err, coffer.Corrupt) {
			t.Fatal(err)
		}
	})
}

var update = flag.Bool("update-streams", false, "seal the known answer of a native stream anew")

// A knownStream is the known answer of doc/streams.md. Bytes are in hexadecimal.
type knownStream struct {
	ID        string   `json:"id"`
	Sequence  uint64   `json:"sequence"`
	ChunkSize int      `json:"chunkSize"`
	Key       string   `json:"key"`
	MarkKey   string   `json:"markKey"`
	Plaintext string   `json:"plaintext"` // as it is
	Member    string   `json:"member"`    // as it is
	Chunks    []string `json:"chunks"`
	Entries   []string `json:"entries"`
}

func TestNativeKnownAnswer(t *testing.T) {
	const file = "testdata/native-stream.json"
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var k knownStream
	if err := json.Unmarshal(text, &k); err != nil {
		t.Fatal(err)
	}
	id := coffer.ObjectID(unhex(t, k.ID))
	marks := NewMarker([32]byte(unhex(t, k.MarkKey)), id, k.Sequence)
	if *update {
		key, err := jose.ContentKeyOf(jose.A256GCM, unhex(t, k.Key))
		if err != nil {
			t.Fatal(err)
		}
		begun := &Stream{Pending: true, Native: true, Sequence: k.Sequence, ChunkSize: k.ChunkSize, key: key}
		s, chunks := native(t, id, begun, []byte(k.Plaintext))
		padded := append([]byte(k.Plaintext), make([]byte, k.ChunkSize)...)
		k.Chunks, k.Entries = nil, nil
		for i, raw := range chunks {
			e, begin := &s.table[i], i*k.ChunkSize
			e.Mark = marks.Mark(e.Sum, padded[begin:begin+s.Layout().DataLength(uint64(i))])
			k.Chunks = append(k.Chunks, hex.EncodeToString(raw))
			k.Entries = append(k.Entries, hex.EncodeToString(AppendTable(nil, s.table[i:i+1])))
		}
		member, err := s.inside()
		if err != nil {
			t.Fatal(err)
		}
		k.Member = string(member)
		if text, err = json.MarshalIndent(k, "", "  "); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	s, err := decodeStream([]byte(k.Member), k.Sequence+1)
	if err != nil {
		t.Fatal(err)
	}
	if back, err := s.inside(); err != nil || string(back) != k.Member {
		t.Errorf("the member becomes %s: %v", back, err)
	}
	if hex.EncodeToString(s.key.Bytes()) != k.Key || s.Sequence != k.Sequence || s.ChunkSize != k.ChunkSize {
		t.Errorf("the member reads as %+v", s)
	}
	o, err := NewStreamOpener(id, s)
	if err != nil {
		t.Fatal(err)
	}
	var whole []byte
	for i, text := range k.Chunks {
		n := len(whole)
		if whole, err = o.OpenData(whole, unhex(t, text), uint64(i), &s.table[i], true); err != nil {
			t.Fatal(err)
		}
		if got := hex.EncodeToString(AppendTable(nil, s.table[i:i+1])); got != k.Entries[i] {
			t.Errorf("entry %d is %s", i, got)
		}
		if !marks.Same(&s.table[i], whole[n:]) {
			t.Errorf("mark %d is another", i)
		}
	}
	padding := make([]byte, s.Layout().Padded-s.Size)
	if len(padding) != 3 || !bytes.Equal(whole, append([]byte(k.Plaintext), padding...)) {
		t.Errorf("opens as %q", whole)
	}
}

// A stream of 64 MiB, chunk by chunk, each in turn with the bare cipher on the same bytes: to be run with GOMAXPROCS=1.
// What is reported is the best throughput of a chunk, and how much that is of the bare cipher's best: on a machine with
// other things to do, both are disturbed alike.
func BenchmarkStream64MiB(b *testing.B) {
	const size, count = 64 << 20, 64
	data := bytesOf(size)
	s := mustNative(b, 0, 0)
	closed, chunks := native(b, idA, s, data)
	sealer, err := NewChunkSealer(idA, s)
	if err != nil {
		b.Fatal(err)
	}
	opener, err := NewStreamOpener(idA, closed)
	if err != nil {
		b.Fatal(err)
	}
	entries, err := opener.OpenTable(bytes.Clone(chunks[count]), 0)
	if err != nil {
		b.Fatal(err)
	}
	marks := NewMarker([32]byte{1}, idA, 0)
	block, _ := aes.NewCipher(make([]byte, 32))
	gcm, _ := cipher.NewGCM(block)
	iv := make([]byte, gcm.NonceSize())
	sealed := make([]byte, 0, size/count+4096)
	given := make([]byte, size/count+4096)
	plain := func(i uint64) []byte { return data[i*size/count : (i+1)*size/count] }
	bareSeal := func(i uint64) error { gcm.Seal(sealed, iv, plain(i), nil); return nil }
	bareOpen := func(i uint64) error {
		_, err := gcm.Open(sealed[:0], iv, given[:size/count+gcm.Overhead()], nil)
		return err
	}
	copySealed := func(uint64) { gcm.Seal(given[:0], iv, data[:size/count], nil) }
	copyChunk := func(i uint64) { copy(given, chunks[i]) }
	nothing := func(uint64) {}
	for _, run := range []struct {
		name       string
		before     func(i uint64) // of the chunk, not timed
		chunk      func(i uint64) error
		beforeBare func(i uint64)
		bare       func(i uint64) error
	}{
		{"seal", nothing, func(i uint64) error {
			_, err := sealer.Seal(sealed, i, false, plain(i))
			return err
		}, nothing, bareSeal},
		{"seal, ref", nothing, func(i uint64) error {
			raw, err := sealer.Seal(sealed, i, false, plain(i))
			sealer.Ref(i, raw)
			return err
		}, nothing, bareSeal},
		{"seal, ref and mark", nothing, func(i uint64) error {
			raw, err := sealer.Seal(sealed, i, false, plain(i))
			sealer.Entry(sealer.Ref(i, raw), raw, marks, plain(i))
			return err
		}, nothing, bareSeal},
		{"open", nothing, func(i uint64) error {
			_, err := opener.OpenData(sealed, chunks[i], i, &entries[i], false)
			return err
		}, copySealed, bareOpen},
		{"open in place", copyChunk, func(i uint64) error {
			_, err := opener.OpenDataInPlace(given[:len(chunks[i])], i, &entries[i], false)
			return err
		}, copySealed, bareOpen},
		{"open, strict", nothing, func(i uint64) error {
			_, err := opener.OpenData(sealed, chunks[i], i, &entries[i], true)
			return err
		}, copySealed, bareOpen},
		{"mark", nothing, func(i uint64) error { marks.Same(&entries[i], plain(i)); return nil }, nothing, bareSeal},
		{"SHA-256", nothing, func(i uint64) error { sha256.Sum256(plain(i)); return nil }, nothing, bareSeal},
	} {
		b.Run(run.name, func(b *testing.B) {
			best := func(best *time.Duration, before func(uint64), i uint64, f func(uint64) error) {
				before(i)
				start := time.Now()
				err := f(i)
				if took := time.Since(start); *best == 0 || took < *best {
					*best = took
				}
				if err != nil {
					b.Fatal(err)
				}
			}
			var chunk, bare time.Duration
			for b.Loop() {
				for i := range uint64(count) {
					best(&bare, run.beforeBare, i, run.bare)
					best(&chunk, run.before, i, run.chunk)
				}
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(size/count/chunk.Seconds()/1e6, "MB/s")
			b.ReportMetric(size/count/bare.Seconds()/1e6, "bare-MB/s")
			b.ReportMetric(100*bare.Seconds()/chunk.Seconds(), "%-of-bare")
		})
	}
}
