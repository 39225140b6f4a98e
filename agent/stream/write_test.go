package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/stream"
)

// Whatever its length, a stream is stored padded and read as it was, known to be so long or not.
func TestWrite(t *testing.T) {
	const chunk = 64
	for _, n := range []int{0, 1, 2, 63, 64, 65, 100, 128, 15 * 64, 16*64 - 1, 16 * 64, 16*64 + 1, 17 * 64, 1000 * 64,
		1023 * 64, 1024 * 64, 1024*64 + 1, 2048 * 64, 2100*64 + 7} {
		data := noise(1, n)
		for _, size := range []int64{int64(n), -1} {
			v := newShelf(t, idA)
			o := v.options(data, chunk)
			o.Size, o.Source = size, iotest.HalfReader(o.Source)
			var done, total int64
			o.Progress = func(d, of int64) {
				if d < done || of >= 0 && of != int64(n) {
					t.Errorf("%d bytes: progress from %d to %d of %d", n, done, d, of)
				}
				done, total = d, of
			}
			s, err := stream.Write(t.Context(), o)
			if err != nil {
				t.Fatalf("%d bytes: %v", n, err)
			}
			if done != int64(n) || total != int64(n) {
				t.Errorf("%d bytes: progress ends with %d of %d", n, done, total)
			}
			v.accept(s)
			l := s.Layout()
			if s.Size != uint64(n) || l.Padded != uint64(seal.Padme(int64(n))) || uint64(len(v.put)) != s.Chunks ||
				s.Patch != 0 || !s.Native {
				t.Errorf("%d bytes: %+v, %+v, %d chunks sent", n, s, l, len(v.put))
			}
			if l.Padded > uint64(n)*112/100+1 {
				t.Errorf("%d bytes are padded to %d", n, l.Padded)
			}
			v.holds(s, data)
		}
	}
}

// A stream of the default chunk size costs at most 12 % more than it has, and heads and tables of less than a
// thousandth.
func TestOverhead(t *testing.T) {
	for _, n := range []int64{1 << 20, 5<<20 + 1, 17<<20 + 1, 33<<20 + 1, 100<<20 + 1} {
		v := newShelf(t, idA)
		v.keep = func(uint64) bool { return false }
		o := v.options(nil, 0)
		o.Source, o.Size = io.LimitReader(zeros{}, n), n
		if _, err := stream.Write(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if over := float64(v.sent)/float64(n) - 1; over > 0.121 {
			t.Errorf("%d bytes cost %.2f %% more", n, 100*over)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// Only what differs is sent, and what is read is the new version.
func TestPatch(t *testing.T) {
	const chunk = 1 << 10
	edit := func(at int, b ...byte) func([]byte) []byte {
		return func(d []byte) []byte { copy(d[at:], b); return d }
	}
	cut := func(n int) func([]byte) []byte { return func(d []byte) []byte { return d[:n] } }
	grow := func(n int) func([]byte) []byte { return func(d []byte) []byte { return append(d, noise(9, n)...) } }
	for name, test := range map[string]struct {
		n      int
		change func([]byte) []byte
		sent   []uint64 // indexes; nil: do not look
		patch  bool
	}{
		"nothing":                  {40 * chunk, edit(0), []uint64{}, false},
		"nothing, short":           {3 * chunk, edit(0), []uint64{}, false},
		"a byte, inline":           {5 * chunk, edit(2*chunk, 1, 2), []uint64{2}, true},
		"a byte":                   {40 * chunk, edit(7*chunk, 1, 2), []uint64{7, 40}, true},
		"a byte of the third part": {3000 * chunk, edit(2100*chunk, 1, 2), []uint64{2102, 3010}, true},
		"a byte of the first part": {3000 * chunk, edit(0, 1, 2), []uint64{0, 1024}, true},
		"two parts":                {3000 * chunk, edit(1024*chunk-1, 1, 2), []uint64{1023, 1024, 1025, 2049}, true},
		"shorter in the padding": {5*chunk - 3, func(d []byte) []byte {
			clear(d[len(d)-2:])
			return d[:len(d)-1]
		}, nil, true},
		"inline to a table":             {16 * chunk, grow(1), []uint64{15, 16, 17}, true},
		"a table to inline":             {16*chunk + 1, cut(16 * chunk), []uint64{15}, true},
		"grown by a part":               {1024 * chunk, grow(1), nil, true},
		"shrunk by a part":              {1024*chunk + 1, cut(1024 * chunk), nil, true},
		"much longer":                   {40 * chunk, grow(3000 * chunk), nil, true},
		"much shorter":                  {3000 * chunk, cut(20 * chunk), nil, true},
		"to nothing":                    {40 * chunk, cut(0), []uint64{}, true},
		"from nothing":                  {0, grow(5), []uint64{0}, true},
		"a byte put before all of them": {40 * chunk, func(d []byte) []byte { return append([]byte{1}, d...) }, nil, true},
	} {
		t.Run(name, func(t *testing.T) {
			v := newShelf(t, idA)
			first := v.write(noise(1, test.n), chunk, nil)
			old := v.reader(first)
			data := test.change(noise(1, test.n))
			second := v.write(data, chunk, first)
			slices.Sort(v.put)
			if test.sent != nil && !slices.Equal(v.put, test.sent) {
				t.Errorf("sent %d, want %d", v.put, test.sent)
			}
			if got := second.Patch != 0; got != test.patch && test.sent != nil {
				t.Errorf("patch is %d", second.Patch)
			}
			if second.Sequence != first.Sequence {
				t.Error("the patched stream is another set")
			}
			v.holds(second, data)
			// And a third one on top of it, by way of the document.
			data = append(data, 5)
			v.holds(v.write(data, chunk, second.Settled()), data)
			// Who reads what is not there any more is told so, or reads what was there.
			if got, err := io.ReadAll(old); err == nil && !bytes.Equal(got, noise(1, test.n)) {
				t.Error("read something else")
			} else if err != nil {
				expect(t, err, coffer.Corrupt)
			}
		})
	}
}

// Of a long stream, a change of one chunk sends it and one of the table, no more.
func TestPatchSendsLittle(t *testing.T) {
	const chunk, chunks = 64 << 10, 1500
	v := newShelf(t, idA)
	v.keep = func(index uint64) bool { return index%1025 == 1024 || index > 1500 } // only the table
	content := func(changed int) io.Reader { return &pattern{left: chunk * chunks, changed: changed} }
	o := v.options(nil, chunk)
	o.Source, o.Size = content(-1), chunk*chunks
	s, err := stream.Write(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	v.accept(s)
	whole := v.sent
	v.claim()
	o = v.options(nil, chunk)
	o.Source, o.Size, o.Base = content(1100*chunk+5), chunk*chunks, s
	if _, err = stream.Write(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if len(v.put) != 2 || v.sent > chunk+64<<10+1<<10 {
		t.Errorf("%d of %d bytes sent, in %d chunks", v.sent, whole, len(v.put))
	}
	if len(v.got) != 2 {
		t.Errorf("%d chunks were fetched for a table of two", len(v.got))
	}
}

// pattern is a source that costs little: each 64 bytes begin with their number, and one byte is another.
type pattern struct{ at, left, changed int }

func (p *pattern) Read(b []byte) (int, error) {
	if p.left == 0 {
		return 0, io.EOF
	}
	n := min(len(b), p.left)
	clear(b[:n])
	for i := (64 - p.at%64) % 64; i+3 < n; i += 64 {
		at := (p.at + i) / 64
		b[i], b[i+1], b[i+2], b[i+3] = byte(at), byte(at>>8), byte(at>>16), byte(at>>24)
	}
	if i := p.changed - p.at; i >= 0 && i < n {
		b[i]++
	}
	p.at, p.left = p.at+n, p.left-n
	return n, nil
}

// Without the key of the marks, or with another, nothing is found the same; the new version is right all the same.
func TestPatchWithoutMarks(t *testing.T) {
	const chunk = 64
	data := noise(1, 40*chunk)
	for name, keys := range map[string][2][32]byte{
		"none": {}, "none before": {{}, markKey}, "none now": {markKey, {}}, "another": {markKey, {8}},
	} {
		v := newShelf(t, idA)
		o := v.options(data, chunk)
		o.MarkKey = keys[0]
		s, err := stream.Write(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		v.accept(s)
		v.claim()
		o = v.options(data, chunk)
		o.MarkKey, o.Base = keys[1], s
		if s, err = stream.Write(t.Context(), o); err != nil {
			t.Fatal(err)
		}
		if uint64(len(v.put)) != s.Chunks {
			t.Errorf("%s: %d chunks sent", name, len(v.put))
		}
		v.accept(s)
		v.holds(s, data)
	}
}

func TestWriteRefuses(t *testing.T) {
	const chunk = 64
	data := noise(1, 20*chunk)
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		change func(v *shelf, o *stream.WriteOptions)
		want   error
	}{
		"shorter than said":            {func(v *shelf, o *stream.WriteOptions) { o.Size++ }, coffer.Conflict},
		"longer than said":             {func(v *shelf, o *stream.WriteOptions) { o.Size-- }, coffer.Conflict},
		"longer than said, by a chunk": {func(v *shelf, o *stream.WriteOptions) { o.Size -= chunk }, coffer.Conflict},
		"said to be empty":             {func(v *shelf, o *stream.WriteOptions) { o.Size = 0 }, coffer.Conflict},
		"changed meanwhile":            {func(v *shelf, o *stream.WriteOptions) { v.sequence++ }, coffer.Conflict},
		"source breaks": {func(v *shelf, o *stream.WriteOptions) {
			o.Source = io.MultiReader(bytes.NewReader(data[:100]), iotest.ErrReader(broken))
		}, broken},
		"vault breaks": {func(v *shelf, o *stream.WriteOptions) {
			v.before = func(index uint64) error {
				if index == 7 {
					return broken
				}
				return nil
			}
		}, broken},
		"vault breaks at the table": {func(v *shelf, o *stream.WriteOptions) {
			v.before = func(index uint64) error {
				if index == 20 {
					return broken
				}
				return nil
			}
		}, broken},
		"chunk size": {func(v *shelf, o *stream.WriteOptions) { o.ChunkSize = seal.MaxChunkSize + 1 }, coffer.Invalid},
		"sequence":   {func(v *shelf, o *stream.WriteOptions) { o.Set = coffer.MaxSequence + 1 }, coffer.Invalid},
		"patch of the same set": {func(v *shelf, o *stream.WriteOptions) {
			o.Base, o.Set = v.write(data, chunk, nil), 0
		}, coffer.Invalid},
		"base is pending": {func(v *shelf, o *stream.WriteOptions) {
			o.Base, _ = seal.NewNativeStream(0, chunk)
		}, coffer.Unavailable},
		"the table of the base is not right": {func(v *shelf, o *stream.WriteOptions) {
			o.Base = v.write(data, chunk, nil)
			v.claim()
			o.Set = v.sequence
			v.serve = func(_ uint64, raw []byte) ([]byte, error) {
				raw = bytes.Clone(raw)
				raw[len(raw)-1]++
				return raw, nil
			}
		}, coffer.Corrupt},
	} {
		v := newShelf(t, idA)
		o := v.options(data, chunk)
		test.change(v, &o)
		if _, err := stream.Write(t.Context(), o); !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	v := newShelf(t, idA)
	v.before = func(index uint64) error { cancel(); return nil }
	if _, err := stream.Write(ctx, v.options(data, chunk)); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// An upload breaks at every place, over and over, and goes on; nothing is sent twice but what was on its way. What is
// kept in between is encoded.
func TestResume(t *testing.T) {
	const chunk = 64
	for _, test := range []struct {
		n       int
		patch   bool // the first half changes
		workers int
		extra   int // chunks that are sent again after an interruption
	}{
		{5 * chunk, false, 1, 0},
		{40*chunk + 1, false, 1, 0},
		{1100 * chunk, false, 1, 0},
		{1100 * chunk, false, 4, 64},
		{40*chunk + 1, true, 1, 32}, // what might have been on its way is sent even if it is the same
		{1100 * chunk, true, 1, 32},
		{1100 * chunk, true, 4, 64 + 32},
	} {
		v := newShelf(t, idA)
		data := noise(1, test.n)
		var base *seal.Stream
		if test.patch {
			base = v.write(noise(1, test.n), chunk, nil)
			for i := range data[:test.n/2] {
				data[i]++
			}
		}
		v.claim()
		down := coffer.E("put", coffer.Unavailable, nil)
		var kept []byte
		var s *seal.Stream
		breaks := 0
		for s == nil {
			if breaks > test.n {
				t.Fatal("it never ends")
			}
			left := 150
			v.before = func(uint64) error {
				if left--; left < 0 {
					return down
				}
				return nil
			}
			o := v.options(data, chunk)
			o.Base, o.Workers = base, test.workers
			o.Note = func(p stream.Progress) {
				var err error
				if kept, err = p.MarshalBinary(); err != nil {
					t.Fatal(err)
				}
			}
			if kept != nil {
				o.Resume = new(stream.Progress)
				if err := o.Resume.UnmarshalBinary(kept); err != nil {
					t.Fatal(err)
				}
			}
			var err error
			if s, err = stream.Write(t.Context(), o); err != nil {
				expect(t, err, coffer.Unavailable)
				breaks++
			}
		}
		want := int(s.Chunks)
		if test.patch {
			want = (test.n/2+chunk-1)/chunk + 1 // of the table
		}
		if m := len(v.put); m < want || m > want+breaks*test.extra {
			t.Errorf("%+v: %d chunks sent for %d, broken %d times", test, m, want, breaks)
		}
		if want > 300 && breaks == 0 {
			t.Error("it never broke")
		}
		v.accept(s)
		v.holds(s, data)
	}
}

// What was sent and is the same again after an interruption is sent anew: the vault would otherwise put what is left of
// the first attempt in its place.
func TestResumeAfterSourceChangedBack(t *testing.T) {
	const chunk, n = 64, 300
	v := newShelf(t, idA)
	old := noise(1, n*chunk)
	base := v.write(old, chunk, nil)
	v.claim()
	changed := bytes.Clone(old)
	for i := 100; i < 200; i++ {
		changed[i*chunk]++
	}
	down := coffer.E("put", coffer.Unavailable, nil)
	v.before = func(index uint64) error {
		if index == 120 {
			return down // all others of the window may arrive
		}
		return nil
	}
	var last stream.Progress
	o := v.options(changed, chunk)
	o.Base, o.Workers = base, 8
	noted := 0
	o.Note = func(p stream.Progress) {
		if noted++; noted == 1 { // the program ends with only the first note kept
			last = p
		}
	}
	_, err := stream.Write(t.Context(), o)
	expect(t, err, coffer.Unavailable)
	sent := slices.Clone(v.put)

	v.before = nil
	o = v.options(old, chunk) // but for what was sent first, all is as it was
	o.Base, o.Resume = base, &last
	s, err := stream.Write(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	v.accept(s)
	v.holds(s, old)
	if len(sent) == 0 {
		t.Error("the first attempt sent nothing")
	}
}

func TestResumeRefuses(t *testing.T) {
	const chunk = 64
	data := noise(1, 200*chunk)
	v := newShelf(t, idA)
	v.before = func(index uint64) error {
		if index == 100 {
			return coffer.E("put", coffer.Unavailable, nil)
		}
		return nil
	}
	var last stream.Progress
	o := v.options(data, chunk)
	o.Workers, o.Note = 1, func(p stream.Progress) { last = p }
	_, err := stream.Write(t.Context(), o)
	expect(t, err, coffer.Unavailable)
	if last.Done() != 100*chunk || last.Set() != 0 {
		t.Errorf("%d bytes done", last.Done())
	}
	v.before = nil
	changed := bytes.Clone(data)
	changed[50*chunk]++
	for name, change := range map[string]func(o *stream.WriteOptions){
		"another source":        func(o *stream.WriteOptions) { o.Source = bytes.NewReader(changed) },
		"a source cut short":    func(o *stream.WriteOptions) { o.Source, o.Size = bytes.NewReader(data[:50*chunk]), -1 },
		"another document":      func(o *stream.WriteOptions) { o.ID = idB },
		"another set":           func(o *stream.WriteOptions) { o.Set++ },
		"another chunk size":    func(o *stream.WriteOptions) { o.ChunkSize++ },
		"an empty progress":     func(o *stream.WriteOptions) { o.Resume = new(stream.Progress) },
		"of another base":       func(o *stream.WriteOptions) { o.Base = other(t, chunk) },
		"a source that is none": func(o *stream.WriteOptions) { o.Source, o.Size = bytes.NewReader(nil), 0 },
	} {
		o := v.options(data, chunk)
		resume := last
		o.Resume = &resume
		change(&o)
		if _, err := stream.Write(t.Context(), o); !errors.Is(err, coffer.Conflict) {
			t.Errorf("%s: %v", name, err)
		}
	}
	o = v.options(data, chunk)
	o.Resume = &last
	s, err := stream.Write(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.put) > 202 {
		t.Errorf("%d chunks sent", len(v.put))
	}
	v.accept(s)
	v.holds(s, data)
}

func other(t *testing.T, chunk int) *seal.Stream {
	return newShelf(t, idA).write(noise(3, 30*chunk), chunk, nil)
}

func FuzzProgress(f *testing.F) {
	for _, n := range []int{1, 40, 1100} {
		v := newShelf(f, idA)
		o := v.options(noise(1, n*64), 64)
		var last []byte
		o.Note = func(p stream.Progress) { last, _ = p.MarshalBinary() }
		if _, err := stream.Write(f.Context(), o); err != nil {
			f.Fatal(err)
		}
		f.Add(last)
	}
	f.Add([]byte{1})
	f.Fuzz(func(t *testing.T, b []byte) {
		var p stream.Progress
		if err := p.UnmarshalBinary(b); err != nil {
			expect(t, err, coffer.Corrupt)
			return
		}
		again, err := p.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		var q stream.Progress
		if err := q.UnmarshalBinary(again); err != nil || q.Done() != p.Done() || q.Set() != p.Set() {
			t.Fatal("reads another way", err)
		}
	})
}

// Three gigabytes of which a mebibyte changes: for the figures.
func BenchmarkPatch3GiB(b *testing.B) {
	const size = 3 << 30
	v := newShelf(b, idA)
	v.keep = func(index uint64) bool { return index%1025 == 1024 || index > 3072 }
	o := v.options(nil, 0)
	o.Source, o.Size = &pattern{left: size, changed: -1}, size
	s, err := stream.Write(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	v.accept(s)
	b.SetBytes(size)
	for i := 0; b.Loop(); i++ {
		v.claim()
		o = v.options(nil, 0)
		o.Source, o.Size, o.Base = &pattern{left: size, changed: i * 7 << 20}, size, s
		if _, err = stream.Write(b.Context(), o); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(v.sent), "sent-B/op")
	}
}
