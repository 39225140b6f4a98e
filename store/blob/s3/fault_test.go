package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store/faulty"
)

func content(seed, size int) []byte {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), 7}).Read(b)
	return b
}

// putOne puts a blob with the key and its content, which follow from n.
func putOne(ctx context.Context, s *Store, n, size int) (key string, err error) {
	b := content(n, size)
	key = fmt.Sprintf("v/%d/%d", n, size)
	return key, s.Put(ctx, key, int64(size), sha256.Sum256(b), bytes.NewReader(b))
}

// whole reports whether a blob that putOne put is there. It fails when a part of it is.
func whole(t *testing.T, s *Store, key string) bool {
	t.Helper()
	var n, size int
	if _, err := fmt.Sscanf(key, "v/%d/%d", &n, &size); err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Get(t.Context(), key)
	if errors.Is(err, coffer.NotExist) {
		return false
	}
	if err != nil {
		t.Fatalf("Get: %v", err)
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, content(n, size)) {
		t.Fatalf("%d of %d bytes are to be seen, %v", len(got), size, err)
	}
	return true
}

// before returns a store behind a proxy, and the same without.
func before(t *testing.T, patience time.Duration) (p *faulty.Proxy, s, direct *Store) {
	t.Helper()
	u := servers.Bucket(t)
	direct = on(t, u)
	p, through := faulty.Before(t, u)
	s, err := Open(t.Context(), through, Options{Patience: patience})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	s.part, direct.part = 5<<20, 5<<20 // no server that is one takes less
	return p, s, direct
}

// uploads returns how many uploads are under way.
func uploads(t *testing.T, s *Store) (n int) {
	t.Helper()
	for u := range s.core.ListIncompleteUploads(t.Context(), s.bucket, s.prefix, true) {
		if u.Err != nil && code(u.Err) != "NoSuchUpload" {
			t.Fatal(u.Err)
		}
		n++
	}
	return n
}

// TestCutPut cuts the connection at every stage of a Put: afterwards the blob is there, whole, or it is not; and it is
// there when Put said so.
func TestCutPut(t *testing.T) {
	p, s, direct := before(t, 5*time.Second)
	n, stored, lost := 0, 0, 0
	for _, size := range []int{10, 100_000, 1 << 20, 11 << 20} {
		cuts := []int64{0, 1, 200, 700, int64(size) / 2, int64(size) - 1, int64(size), int64(size) + 300, int64(size) + 600,
			int64(size) + 900}
		for _, c := range []faulty.Direction{faulty.ToServer, faulty.ToClient} {
			for _, after := range cuts {
				if c == faulty.ToClient && after > 700 {
					continue // an answer is never so long
				}
				n++
				p.CutAfter(c, after)
				key, err := putOne(t.Context(), s, n, size)
				p.Heal()
				if err != nil && !errors.Is(err, coffer.Unavailable) {
					t.Errorf("%d bytes, cut after %d: %v, want Unavailable", size, after, err)
				}
				if err != nil && (strings.Contains(err.Error(), key) || strings.Contains(err.Error(), s.bucket)) {
					t.Errorf("%v names what it must not", err)
				}
				switch is := whole(t, direct, key); {
				case err == nil && !is:
					t.Errorf("%d bytes, cut after %d: said to be stored and is not there", size, after)
				case is:
					stored++
				default:
					lost++
				}
			}
		}
	}
	if stored == 0 || lost == 0 || p.Cuts() == 0 {
		t.Errorf("%d stored, %d not, %v: nothing was tested", stored, lost, p)
	}
	// What is left is of uploads whose names never arrived here.
	left := uploads(t, direct)
	if n, err := direct.AbortUploads(t.Context(), -time.Hour); n != left || left > 2 || err != nil {
		t.Errorf("%d uploads are left, %d were dropped, %v", left, n, err)
	}
	t.Logf("%d stored, %d not, %v", stored, lost, p)
}

// TestLostAnswer cuts the connection when the blob has arrived, before the answer to it has: it is known again.
func TestLostAnswer(t *testing.T) {
	u := servers.Bucket(t)
	direct := on(t, u)
	for _, size := range []int{10, 1 << 20, 11 << 20} {
		lossy := &lossy{RoundTripper: newTransport(defaultPatience)}
		again, err := Open(t.Context(), u, Options{Transport: lossy})
		if err != nil {
			t.Fatalf("Open: %v", err)
		}
		again.part = 5 << 20
		lossy.arm()
		key, err := putOne(t.Context(), again, size, size)
		if err != nil || !lossy.struck() || !whole(t, direct, key) {
			t.Errorf("%d bytes: %v, want it to be found out that it is there", size, err)
		}
	}
}

// A lossy transport loses the answer to what puts an object, once.
type lossy struct {
	http.RoundTripper
	mu    sync.Mutex
	armed bool
	hit   bool
}

func (l *lossy) arm()         { l.mu.Lock(); defer l.mu.Unlock(); l.armed = true }
func (l *lossy) struck() bool { l.mu.Lock(); defer l.mu.Unlock(); return l.hit }

func (l *lossy) RoundTrip(r *http.Request) (*http.Response, error) {
	response, err := l.RoundTripper.RoundTrip(r)
	q := r.URL.Query()
	puts := r.Method == http.MethodPut && !q.Has("partNumber") || r.Method == http.MethodPost && q.Has("uploadId")
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil && l.armed && puts {
		l.armed, l.hit = false, true
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		return nil, io.ErrUnexpectedEOF
	}
	return response, err
}

// slowly gives some bytes, and the rest after a while.
type slowly struct {
	r    io.Reader
	left int
	wait time.Duration
}

func (s *slowly) Read(p []byte) (int, error) {
	if s.left == 0 {
		<-time.After(s.wait)
		s.left = math.MaxInt
	}
	n, err := s.r.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, err
}

// TestStall lets a server keep silent, in the middle of all sorts of calls; and a client, whom nobody hurries.
func TestStall(t *testing.T) {
	const patience = 4 * time.Second // more than a busy server takes for anything
	p, s, direct := before(t, patience)
	key, err := putOne(t.Context(), s, 1, 8<<20)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	body := content(2, 1<<20)
	slow := &slowly{bytes.NewReader(body), 300_000, patience + time.Second}
	if err := s.Put(t.Context(), "v/2/1048576", int64(len(body)), sha256.Sum256(body), slow); err != nil {
		t.Errorf("Put of a slow client: %v", err)
	}
	if _, err := io.ReadFull(r, make([]byte, 1000)); err != nil {
		t.Errorf("reading slowly: %v", err)
	}
	s.patience = 300 * time.Millisecond // from here on all is to fail
	p.Stall(true)
	begun := time.Now()
	rest, err := io.ReadAll(r)
	if !errors.Is(err, coffer.Unavailable) || len(rest) >= 8<<20-1000 {
		t.Errorf("reading from a server that stalls: %d bytes, %v, want Unavailable", len(rest), err)
	}
	if _, again := r.Read(make([]byte, 1)); !errors.Is(again, coffer.Unavailable) {
		t.Errorf("and again: %v", again)
	}
	calls := map[string]func() error{
		"Get":       func() error { _, _, err := s.Get(t.Context(), key); return err },
		"Delete":    func() error { return s.Delete(t.Context(), "w/absent") },
		"DeleteAll": func() error { return s.DeleteAll(t.Context(), "w") },
		"List": func() error {
			for _, err := range s.List(t.Context()) {
				return err
			}
			return nil
		},
		"small Put": func() error { _, err := putOne(t.Context(), s, 3, 10); return err },
		"Put":       func() error { _, err := putOne(t.Context(), s, 4, 1<<20); return err },
		"large Put": func() error { _, err := putOne(t.Context(), s, 5, 11<<20); return err },
	}
	var all sync.WaitGroup
	for name, call := range calls {
		all.Go(func() {
			if err := call(); !errors.Is(err, coffer.Unavailable) || errors.Is(err, context.Canceled) {
				t.Errorf("%s with a server that stalls: %v, want Unavailable", name, err)
			}
		})
	}
	all.Wait()
	if took := time.Since(begun); took > 60*time.Second {
		t.Errorf("all that took %v", took)
	}
	p.Heal()
	if !whole(t, direct, key) {
		t.Error("what was there is not")
	}
}

// TestCutGet ends answers early.
func TestCutGet(t *testing.T) {
	p, s, direct := before(t, 5*time.Second)
	const size = 4 << 20
	key, err := putOne(t.Context(), direct, 1, size)
	if err != nil {
		t.Fatal(err)
	}
	want := content(1, size)
	for _, after := range []int64{1000, size / 2, size - 1} {
		p.CutAfter(faulty.ToClient, after)
		r, n, err := s.Get(t.Context(), key)
		if err != nil {
			t.Fatalf("Get: %v", err)
		}
		got, err := io.ReadAll(r)
		_ = r.Close()
		if n != size || !errors.Is(err, coffer.Unavailable) || len(got) >= size || !bytes.HasPrefix(want, got) {
			t.Errorf("cut after %d: %d of %d bytes, %v, want some and Unavailable", after, len(got), n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	r, _, err := s.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(r); !errors.Is(err, context.Canceled) || !errors.Is(err, coffer.Unavailable) {
		t.Errorf("reading when the context has ended: %v", err)
	}
	_ = r.Close()
}

// TestRandomCuts cuts connections while many put, get, list and delete.
func TestRandomCuts(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p, s, direct := before(t, 5*time.Second)
	p.CutAtRandom(rand.New(rand.NewPCG(seed, 1)), 3)
	var (
		mu    sync.Mutex
		all   sync.WaitGroup
		there = make(map[string]bool) // what was said to be put, and whether it was said to be deleted then
		fails int
	)
	for w := range 6 {
		all.Go(func() {
			for i := range 30 {
				n := w*100 + i
				key, err := putOne(t.Context(), s, n, []int{10, 30_000, 400_000}[n%3])
				mu.Lock()
				if err == nil {
					there[key] = true
				} else {
					fails++
				}
				mu.Unlock()
				if err != nil && !errors.Is(err, coffer.Unavailable) {
					t.Errorf("Put: %v", err)
				}
				if err == nil && i%3 == 0 {
					err := s.Delete(t.Context(), key)
					mu.Lock()
					if delete(there, key); err == nil {
						there[key] = false
					}
					mu.Unlock()
				}
				if i%10 == 0 {
					for _, err := range s.List(t.Context()) {
						if err != nil && !errors.Is(err, coffer.Unavailable) {
							t.Errorf("List: %v", err)
						}
					}
				}
			}
		})
	}
	all.Wait()
	p.Heal()
	for key, is := range there {
		if whole(t, direct, key) != is {
			t.Errorf("a blob that is to be there, %v, is otherwise", is)
		}
	}
	for info, err := range direct.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		whole(t, direct, info.Key)
	}
	t.Logf("%d known, %d failed, %v", len(there), fails, p)
}

// TestDeleteSome answers that some of many were not deleted.
func TestDeleteSome(t *testing.T) {
	for _, c := range []string{"AccessDenied", "InvalidArgument", "InternalError", ""} {
		t.Run(c, func(t *testing.T) {
			u, _ := behind(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodDelete && strings.HasSuffix(r.URL.Path, "/1.blob") {
						answer(w, 403, "AccessDenied")
						return
					}
					if !r.URL.Query().Has("delete") {
						next.ServeHTTP(w, r)
						return
					}
					text, _ := io.ReadAll(r.Body)
					_, _ = io.WriteString(w, "<DeleteResult>")
					for i := range 3 {
						name := fmt.Sprintf("v/%d.blob", i)
						switch {
						case !bytes.Contains(text, []byte("<Key>"+name+"</Key>")):
						case i != 1:
							_, _ = io.WriteString(w, "<Deleted><Key>"+name+"</Key></Deleted>")
						case c != "":
							_, _ = io.WriteString(w, "<Error><Key>"+name+"</Key><Code>"+c+"</Code></Error>")
						}
					}
					_, _ = io.WriteString(w, "</DeleteResult>")
				})
			})
			s, err := Open(t.Context(), u, Options{})
			if err != nil {
				t.Fatal(err)
			}
			// Two are left, so that it is a call for many again.
			err = s.removeSome(t.Context(), map[string]struct{}{"v/0.blob": {}, "v/1.blob": {}, "v/2.blob": {}})
			if err == nil {
				t.Error("that one of three was not deleted is no error")
			}
			if c == "AccessDenied" {
				err := s.Delete(t.Context(), "v/0", "v/1", "v/2")
				if !errors.Is(err, coffer.Unavailable) {
					t.Errorf("Delete: %v, want Unavailable", err)
				}
			}
		})
	}
}

// TestAbortUploads leaves an upload behind as a node does that dies.
func TestAbortUploads(t *testing.T) {
	for name, u := range map[string]string{"real": servers.Bucket(t), "in process": inProcess(t)} {
		t.Run(name, func(t *testing.T) {
			s := on(t, u)
			for _, key := range []string{"v/1", "w/2"} {
				if _, err := s.core.NewMultipartUpload(t.Context(), s.bucket, s.name(key), minio.PutObjectOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			if n, err := s.AbortUploads(t.Context(), time.Hour); n != 0 || err != nil {
				t.Errorf("AbortUploads of old ones: %d, %v", n, err)
			}
			on(t, u)
			if got := uploads(t, s); got != 2 {
				t.Errorf("%d uploads under way, want 2", got)
			}
			if n, err := s.AbortUploads(t.Context(), -time.Hour); n != 2 || err != nil {
				t.Errorf("AbortUploads: %d, %v", n, err)
			}
			if got := uploads(t, s); got != 0 {
				t.Errorf("%d uploads are left", got)
			}
		})
	}
}
