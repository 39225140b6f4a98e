// Package blobtest checks with one script that a driver keeps the contract of [blob.Store]. A driver's test calls
// [Run].
package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// Run runs all of the script, each part on a store of its own. disk makes an empty disk and returns the function that
// opens the store on it; it is called again to open it anew. The parts named in without are left out: "memory" measures
// what all of this process allocates, so it is not for a server in this process.
func Run(t *testing.T, disk func(t *testing.T) (open func() blob.Store), without ...string) {
	for _, part := range []struct {
		name string
		run  func(*bench)
	}{
		{"sizes", sizes},
		{"refused", refused},
		{"keys", keys},
		{"taken", taken},
		{"readers", readers},
		{"unseen", unseen},
		{"delete", remove},
		{"deleteOpen", removeOpen},
		{"deleteAll", removeAll},
		{"list", list},
		{"listWhile", listWhile},
		{"modified", modified},
		{"many", many},
		{"reopen", reopen},
		{"cancelled", cancelled},
		{"stalled", stalled},
		{"memory", memory},
		{"raceForKey", raceForKey},
		{"raceInFolder", raceInFolder},
	} {
		if slices.Contains(without, part.name) {
			continue
		}
		t.Run(part.name, func(t *testing.T) {
			open := disk(t)
			part.run(&bench{T: t, Store: open(), ctx: t.Context(), open: open})
		})
	}
}

type bench struct {
	*testing.T
	blob.Store
	ctx  context.Context
	open func() blob.Store
}

// content returns bytes that differ with the seed.
func content(seed, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 1}).Read(b)
	return b
}

func (b *bench) put(key string, body []byte) error {
	return b.Put(b.ctx, key, int64(len(body)), sha256.Sum256(body), bytes.NewReader(body))
}

func (b *bench) must(key string, body []byte) {
	b.Helper()
	if err := b.put(key, body); err != nil {
		b.Fatalf("Put: %v", err)
	}
}

func (b *bench) has(key string, want []byte) {
	b.Helper()
	r, size, err := b.Get(b.ctx, key)
	if err != nil {
		b.Fatalf("Get: %v", err)
	}
	got, err := io.ReadAll(r)
	if closeErr := r.Close(); err != nil || closeErr != nil {
		b.Fatalf("reading: %v, %v", err, closeErr)
	}
	if size != int64(len(want)) || !bytes.Equal(got, want) {
		b.Fatalf("Get: %d bytes that are not the %d put", len(got), len(want))
	}
}

func (b *bench) hasNot(key string) {
	b.Helper()
	if r, _, err := b.Get(b.ctx, key); !errors.Is(err, coffer.NotExist) || r != nil {
		b.Fatalf("Get: %v, %v, want NotExist", r, err)
	}
}

func (b *bench) lists(want map[string]int64) {
	b.Helper()
	got := make(map[string]int64)
	for info, err := range b.List(b.ctx) {
		if err != nil {
			b.Fatalf("List: %v", err)
		}
		if _, twice := got[info.Key]; twice {
			b.Fatal("List yields a key twice")
		}
		got[info.Key] = info.Size
	}
	if !maps.Equal(got, want) {
		b.Fatalf("List: %v, want %v", got, want)
	}
}

func sizes(b *bench) {
	want := make(map[string]int64)
	for i, size := range []int{0, 1, 1000, 64<<10 - 1, 128 << 10, 128<<10 + 1, 256 << 10, 1<<20 + 17} {
		key := fmt.Sprintf("v/%d", size)
		body := content(i, size)
		b.must(key, body)
		b.has(key, body)
		want[key] = int64(size)
	}
	b.lists(want)
}

// failing fails after some bytes.
type failing struct {
	io.Reader
	err error
}

func (f *failing) Read(b []byte) (int, error) {
	n, err := f.Reader.Read(b)
	if err == io.EOF {
		err = f.err
	}
	return n, err
}

// refused puts what must not be stored, of several sizes: drivers hold small blobs in memory, and large ones not.
func refused(b *bench) {
	for _, size := range []int{300, 300_000, 3_000_000} {
		b.refused(size)
	}
}

func (b *bench) refused(size int) {
	body := content(1, size)
	sum := sha256.Sum256(body)
	other := sum
	other[31] ^= 1
	broken := coffer.Errorf("reader", coffer.Locked, "held")
	fails := func(body []byte, err error) io.Reader { return &failing{bytes.NewReader(body), err} }
	half := size / 2
	for name, c := range map[string]struct {
		size int64
		sum  [32]byte
		r    io.Reader
		kind coffer.Kind
	}{
		"shorter":               {int64(size) + 1, sum, bytes.NewReader(body), coffer.Invalid},
		"empty":                 {int64(size), sum, bytes.NewReader(nil), coffer.Invalid},
		"half":                  {int64(size), sum, bytes.NewReader(body[:half]), coffer.Invalid},
		"half, of that sum":     {int64(size), sha256.Sum256(body[:half]), bytes.NewReader(body[:half]), coffer.Invalid},
		"much shorter":          {1 << 40, sum, bytes.NewReader(body), coffer.Invalid},
		"longer":                {int64(size) - 1, sum, bytes.NewReader(body), coffer.Invalid},
		"longer, right at size": {int64(half), sha256.Sum256(body[:half]), bytes.NewReader(body), coffer.Invalid},
		"longer than nothing":   {0, sha256.Sum256(nil), bytes.NewReader(body), coffer.Invalid},
		"negative":              {-1, sum, bytes.NewReader(body), coffer.Invalid},
		"another sum":           {int64(size), other, bytes.NewReader(body), coffer.Invalid},
		"sum of a part":         {int64(size), sha256.Sum256(body[:half]), bytes.NewReader(body), coffer.Invalid},
		"no sum":                {int64(size), [32]byte{}, bytes.NewReader(body), coffer.Invalid},
		"reader fails":          {int64(size) + 1, sum, fails(body, io.ErrClosedPipe), coffer.Unavailable},
		"reader fails at end":   {int64(size), sum, fails(body, io.ErrClosedPipe), coffer.Unavailable},
		"reader fails early":    {int64(size), sum, fails(body[:half], io.ErrClosedPipe), coffer.Unavailable},
		"reader has a kind":     {int64(size) + 1, sum, fails(body, broken), coffer.Locked},
	} {
		if err := b.Put(b.ctx, "v/key", c.size, c.sum, c.r); !errors.Is(err, c.kind) {
			b.Errorf("%d bytes, %s: %v, want %v", size, name, err, c.kind)
		}
		if r, _, err := b.Get(b.ctx, "v/key"); !errors.Is(err, coffer.NotExist) || r != nil {
			b.Fatalf("%d bytes, %s: then Get: %v, %v, want NotExist", size, name, r, err)
		}
	}
	b.lists(nil)
	b.must("v/key", body)
	b.has("v/key", body)
	if err := b.Delete(b.ctx, "v/key"); err != nil {
		b.Fatal(err)
	}
}

// readers puts what comes in pieces of all sorts.
func readers(b *bench) {
	body := content(1, 150_000)
	for name, r := range map[string]io.Reader{
		"byte":    iotest.OneByteReader(bytes.NewReader(body)),
		"half":    iotest.HalfReader(bytes.NewReader(body)),
		"data":    iotest.DataErrReader(bytes.NewReader(body)), // its end comes with the last bytes
		"idle":    &idle{r: bytes.NewReader(body)},
		"to":      bytes.NewBuffer(bytes.Clone(body)), // an io.WriterTo
		"limited": io.LimitReader(io.MultiReader(bytes.NewReader(body), zeros{}), int64(len(body))),
	} {
		if err := b.Put(b.ctx, "v/"+name, int64(len(body)), sha256.Sum256(body), r); err != nil {
			b.Fatalf("%s: %v", name, err)
		}
		b.has("v/"+name, body)
	}
}

// idle has nothing to give every other time that it is asked.
type idle struct {
	r     io.Reader
	turns int
}

func (i *idle) Read(b []byte) (int, error) {
	if i.turns++; i.turns%2 == 0 {
		return 0, nil
	}
	return i.r.Read(b)
}

func keys(b *bench) {
	long := strings.Repeat("x", blob.MaxSegment)
	want := make(map[string]int64)
	for i, key := range []string{
		"a", "0", "-", "_", "a/b", "a/b/c", "ab/c", "a/bc", "a-b/c", "1/2/3/4/5/6/7/8",
		"new", "new/x", "format", "00", "ff/ff",
		strings.Repeat(long+"/", blob.MaxSegments-1) + long, long,
	} {
		b.must(key, content(i, i))
		want[key] = int64(i)
	}
	b.lists(want)
	i := 0
	for key, size := range want {
		r, got, err := b.Get(b.ctx, key)
		if err != nil || got != size {
			b.Fatalf("Get: %d, %v", got, err)
		}
		_ = r.Close()
		i++
	}
	for _, key := range []string{
		"", "/", "a/", "/a", "a//b", ".", "..", "../a", "a/../../b", "a/.", "A", "a.b", "a.blob",
		"a b", "a\x00b", "ä", `a\b`, "a:b",
		"1/2/3/4/5/6/7/8/9", long + "x", "/etc/passwd",
	} {
		_, _, get := b.Get(b.ctx, key)
		for call, err := range map[string]error{
			"Put": b.put(key, nil), "Get": get, "Delete": b.Delete(b.ctx, "a", key), "DeleteAll": b.DeleteAll(b.ctx, key),
		} {
			if !errors.Is(err, coffer.Invalid) {
				b.Errorf("%s of %q: %v, want Invalid", call, key, err)
			}
		}
	}
	b.lists(want)
}

func taken(b *bench) {
	first := content(1, 5000)
	b.must("v/key", first)
	for _, second := range [][]byte{first, content(2, 10)} {
		if err := b.put("v/key", second); !errors.Is(err, coffer.Conflict) {
			b.Fatalf("Put: %v, want Conflict", err)
		}
	}
	b.has("v/key", first)
	if err := b.Delete(b.ctx, "v/key"); err != nil {
		b.Fatal(err)
	}
	b.must("v/key", content(2, 10))
	b.has("v/key", content(2, 10))
}

// unseen looks for a blob while its bytes are arriving.
func unseen(b *bench) {
	body := content(1, 500_000)
	r, w := io.Pipe()
	done := make(chan error)
	go func() { done <- b.Put(b.ctx, "v/key", int64(len(body)), sha256.Sum256(body), r) }()
	for part := range slices.Chunk(body, 100_000) {
		b.hasNot("v/key")
		b.lists(nil)
		if _, err := w.Write(part); err != nil {
			b.Fatal(err)
		}
	}
	b.hasNot("v/key") // the end is not announced yet
	_ = w.Close()
	if err := <-done; err != nil {
		b.Fatalf("Put: %v", err)
	}
	b.has("v/key", body)
}

func remove(b *bench) {
	one, two := content(1, 100_000), content(2, 10)
	b.must("v/o/1", one)
	b.must("v/o/2", two)
	b.must("v/p/3", two)
	r, size, err := b.Get(b.ctx, "v/o/1")
	if err != nil {
		b.Fatal(err)
	}
	if err := b.Delete(b.ctx, "v/o/1", "v/o/absent", "w/absent"); err != nil {
		b.Fatalf("Delete: %v", err)
	}
	b.hasNot("v/o/1")
	if got, err := io.ReadAll(r); err != nil || size != int64(len(one)) || !bytes.Equal(got, one) {
		b.Fatalf("what was open is %d bytes, %v", len(got), err)
	}
	_ = r.Close()
	b.lists(map[string]int64{"v/o/2": 10, "v/p/3": 10})
	if err := errors.Join(b.Delete(b.ctx), b.Delete(b.ctx, "v/o/1")); err != nil {
		b.Fatalf("Delete of nothing: %v", err)
	}
	if err := b.Delete(b.ctx, "v/p/3", "v/o/2", "v/o/2"); err != nil {
		b.Fatalf("Delete: %v", err)
	}
	b.lists(nil)
	b.must("v/o/1", two)
	b.has("v/o/1", two)
}

// removeOpen deletes a blob that somebody has begun to read, and that is too large to be on its way already.
func removeOpen(b *bench) {
	body := content(1, 12<<20)
	b.must("v/o/1", body)
	for _, del := range []func() error{
		func() error { return b.Delete(b.ctx, "v/o/1") },
		func() error { return b.DeleteAll(b.ctx, "v") },
	} {
		r, _, err := b.Get(b.ctx, "v/o/1")
		if err != nil {
			b.Fatalf("Get: %v", err)
		}
		begun := make([]byte, 100)
		if _, err := io.ReadFull(r, begun); err != nil {
			b.Fatalf("reading: %v", err)
		}
		if err := del(); err != nil {
			b.Fatalf("deleting: %v", err)
		}
		b.hasNot("v/o/1")
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(append(begun, rest...), body) {
			b.Fatalf("what was open is %d bytes, %v", len(rest)+len(begun), err)
		}
		_ = r.Close()
		b.must("v/o/1", body)
	}
}

func removeAll(b *bench) {
	want := make(map[string]int64)
	for _, key := range []string{"a", "a/b", "a/b/c", "a/bc", "ab", "ab/c", "b/a/b", "a/b/c/d/e"} {
		b.must(key, content(1, 100))
		want[key] = 100
	}
	for prefix, gone := range map[string][]string{
		"absent": nil, "a/absent": nil,
		"a/b": {"a/b", "a/b/c", "a/b/c/d/e"},
	} {
		if err := b.DeleteAll(b.ctx, prefix); err != nil {
			b.Fatalf("DeleteAll: %v", err)
		}
		for _, key := range gone {
			delete(want, key)
		}
	}
	b.lists(want)
	b.must("a/b/c", content(2, 7))
	b.has("a/b/c", content(2, 7))
	if err := b.DeleteAll(b.ctx, "a"); err != nil {
		b.Fatalf("DeleteAll: %v", err)
	}
	b.lists(map[string]int64{"ab": 100, "ab/c": 100, "b/a/b": 100})
}

func list(b *bench) {
	b.lists(nil)
	want := make(map[string]int64)
	for i := range 700 {
		key := fmt.Sprintf("%d/%d/%d", i%3, i%5, i)
		b.must(key, content(i, i%10))
		want[key] = int64(i % 10)
	}
	b.lists(want)
	for range b.List(b.ctx) {
		break
	}
}

// listWhile lists while others put and delete: what is there all the time is seen, once.
func listWhile(b *bench) {
	stay := make(map[string]int64)
	for i := range 40 {
		key := fmt.Sprintf("v/%d/%d", i%4, i)
		b.must(key, content(i, i))
		stay[key] = int64(i)
	}
	var all sync.WaitGroup
	done := make(chan struct{})
	for i := range 4 {
		all.Go(func() {
			for round := 0; ; round++ {
				select {
				case <-done:
					return
				default:
				}
				key := fmt.Sprintf("v/%d/x%d", (i+round)%6, i)
				if err := errors.Join(b.put(key, content(i, 10)), b.Delete(b.ctx, key)); err != nil {
					b.Errorf("meanwhile: %v", err)
					return
				}
			}
		})
	}
	for range 20 {
		left := maps.Clone(stay)
		for info, err := range b.List(b.ctx) {
			if err != nil {
				b.Errorf("List: %v", err)
				break
			}
			if strings.Contains(info.Key, "x") {
				if info.Size != 10 {
					b.Errorf("List: a blob of 10 bytes has %d", info.Size)
				}
				continue
			}
			if size, ok := left[info.Key]; !ok || size != info.Size {
				b.Errorf("List: %v, which it should not have, or not twice", info)
			}
			delete(left, info.Key)
		}
		if len(left) > 0 {
			b.Errorf("List lacks %d of %d blobs", len(left), len(stay))
		}
	}
	close(done)
	all.Wait()
	b.lists(stay)
}

// modified checks that blobs say when they were put, within what clocks may differ and what formats round.
func modified(b *bench) {
	const slack = 10 * time.Second
	before := time.Now().Add(-slack)
	b.must("v/early", content(1, 10))
	b.must("v/late", content(2, 10))
	after := time.Now().Add(slack)
	for info, err := range b.List(b.ctx) {
		if err != nil {
			b.Fatalf("List: %v", err)
		}
		if info.Modified.Before(before) || info.Modified.After(after) {
			b.Errorf("put between %v and %v, says List at %v", before, after, info.Modified)
		}
	}
}

// many puts more blobs than fit in one answer of a server, many at a time, and deletes them with one call.
func many(b *bench) {
	const count, writers = 1100, 16
	want := make(map[string]int64)
	keys := make([]string, 0, count+2)
	for i := range count {
		key := fmt.Sprintf("v/%d/%d", i%7, i)
		keys = append(keys, key)
		want[key] = int64(i % 300)
	}
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			for i := w; i < count; i += writers {
				if err := b.put(keys[i], content(i, i%300)); err != nil {
					b.Errorf("Put: %v", err)
					return
				}
			}
		})
	}
	all.Wait()
	b.lists(want)
	for i := 0; i < count; i += 37 {
		b.has(keys[i], content(i, i%300))
	}
	b.must("v/0/stays", nil)
	if err := b.Delete(b.ctx, append(keys, keys[0], "v/absent")...); err != nil {
		b.Fatalf("Delete: %v", err)
	}
	b.lists(map[string]int64{"v/0/stays": 0})
}

func reopen(b *bench) {
	want := make(map[string]int64)
	for i := range 20 {
		key := fmt.Sprintf("v/%d", i)
		b.must(key, content(i, 1000))
		want[key] = 1000
	}
	b.Store = b.open()
	b.lists(want)
	for i := range 20 {
		b.has(fmt.Sprintf("v/%d", i), content(i, 1000))
	}
	b.must("v/20", nil)
}

// endless never ends, and cancels a context after some bytes.
type endless struct {
	left   int
	cancel func()
}

func (e *endless) Read(b []byte) (int, error) {
	if e.left -= len(b); e.left < 0 {
		e.cancel()
	}
	return len(b), nil
}

func cancelled(b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	err := b.Put(ctx, "v/key", 1<<40, [32]byte{}, &endless{1 << 20, cancel})
	if !errors.Is(err, context.Canceled) || !errors.Is(err, coffer.Unavailable) {
		b.Fatalf("Put: %v, want Unavailable for %v", err, context.Canceled)
	}
	b.lists(nil)
	b.must("v/key", nil)
	_, _, get := b.Get(ctx, "v/key")
	var list error
	for _, list = range b.List(ctx) {
	}
	for i, err := range []error{get, list, b.Delete(ctx, "v/key"), b.DeleteAll(ctx, "v")} {
		if !errors.Is(err, context.Canceled) {
			b.Errorf("call %d: %v, want %v", i, err, context.Canceled)
		}
	}
	b.has("v/key", nil)
}

// stalling gives some bytes and then nothing until it is let go.
type stalling struct {
	r      io.Reader
	asked  chan struct{} // closed when it stalls
	let    chan struct{}
	closed bool
}

func (s *stalling) Read(b []byte) (int, error) {
	n, err := s.r.Read(b)
	if err != io.EOF {
		return n, err
	}
	if !s.closed {
		s.closed = true
		close(s.asked)
	}
	<-s.let
	return 0, io.EOF
}

// stalled puts from readers that stall: others are not held up, and nothing is stored when nobody waits any more.
func stalled(b *bench) {
	body := content(1, 300_000)
	var all sync.WaitGroup
	let := make(chan struct{})
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	for i := range 8 {
		r := &stalling{r: bytes.NewReader(body[:200_000]), asked: make(chan struct{}), let: let}
		all.Go(func() {
			err := b.Put(ctx, fmt.Sprintf("v/stalled-%d", i), int64(len(body)), sha256.Sum256(body), r)
			if err == nil {
				b.Error("half a blob was put")
			}
		})
		<-r.asked
	}
	b.must("v/other", body)
	b.has("v/other", body)
	b.lists(map[string]int64{"v/other": int64(len(body))})
	cancel()
	close(let)
	all.Wait()
	b.lists(map[string]int64{"v/other": int64(len(body))})
}

// memory puts and gets much and measures what was allocated for it.
func memory(b *bench) {
	const size = 64 << 20
	sum := sha256.New()
	if _, err := io.CopyN(sum, zeros{}, size); err != nil {
		b.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if err := b.Put(b.ctx, "v/key", size, [32]byte(sum.Sum(nil)), io.LimitReader(zeros{}, size)); err != nil {
		b.Fatalf("Put: %v", err)
	}
	r, _, err := b.Get(b.ctx, "v/key")
	if err != nil {
		b.Fatal(err)
	}
	defer r.Close()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		b.Errorf("%d bytes allocated to put and open %d", n, size)
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

func raceForKey(b *bench) {
	for round := range 20 {
		key := fmt.Sprintf("v/%d", round)
		var all sync.WaitGroup
		errs := make([]error, 16)
		for i := range errs {
			all.Go(func() { errs[i] = b.put(key, content(i, 1000)) })
		}
		all.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner >= 0:
				b.Fatal("a key was put twice")
			case err == nil:
				winner = i
			case !errors.Is(err, coffer.Conflict):
				b.Fatalf("Put: %v, want Conflict", err)
			}
		}
		if winner < 0 {
			b.Fatal("nobody put the key")
		}
		b.has(key, content(winner, 1000))
	}
}

// raceInFolder puts and deletes blobs of few folders at once, so that folders come and go.
func raceInFolder(b *bench) {
	const writers, rounds = 16, 15
	var all sync.WaitGroup
	for i := range writers {
		all.Go(func() {
			for round := range rounds {
				key := fmt.Sprintf("v/%d/%d-%d", round%3, i, round)
				if err := b.put(key, content(i, 100)); err != nil {
					b.Errorf("Put: %v", err)
					return
				}
				r, size, err := b.Get(b.ctx, key)
				if err != nil || size != 100 {
					b.Errorf("Get of what was put: %d, %v", size, err)
					return
				}
				_ = r.Close()
				if err := b.Delete(b.ctx, key); err != nil {
					b.Errorf("Delete: %v", err)
					return
				}
				if i == 0 {
					if err := b.DeleteAll(b.ctx, "v/absent"); err != nil {
						b.Errorf("DeleteAll: %v", err)
					}
					for _, err := range b.List(b.ctx) {
						if err != nil {
							b.Errorf("List: %v", err)
						}
					}
				}
			}
		})
	}
	all.Wait()
	b.lists(nil)
}
