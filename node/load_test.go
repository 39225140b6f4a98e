package node_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/node"
)

// A journal is a log that a test reads.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// TestTooManyRequests sends 2,000 requests at once to a node that serves four: each is answered, with what was asked
// for or with when to try again, and the node is as before afterwards.
func TestTooManyRequests(t *testing.T) {
	r := start(t, node.Config{Data: t.TempDir(), Admission: node.Admission{Small: 4, Wait: 20 * time.Millisecond}})
	v := r.vault(t, nil)
	d := put(t, v)
	get(t, http.DefaultClient, r.Origin()+"/metrics")
	before := settled()

	const clients = 2000
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: patience}
	var served, refused atomic.Int64
	var wg sync.WaitGroup
	begin := make(chan struct{})
	for i := range clients {
		wg.Go(func() {
			<-begin
			path := "/.well-known/coffer"
			if i%100 == 0 {
				path = "/healthz" // always answered
			}
			resp, err := client.Get(r.Origin() + path)
			if err != nil {
				t.Errorf("no answer: %v", err)
				return
			}
			defer resp.Body.Close()
			_, _ = io.Copy(io.Discard, resp.Body)
			switch {
			case resp.StatusCode == http.StatusOK:
				served.Add(1)
			case resp.StatusCode == http.StatusTooManyRequests && path != "/healthz":
				if n, err := strconv.Atoi(resp.Header.Get("Retry-After")); err != nil || n < 1 {
					t.Errorf("refused without a time to wait: %q", resp.Header.Get("Retry-After"))
				}
				refused.Add(1)
			default:
				t.Errorf("%s is answered with %d", path, resp.StatusCode)
			}
		})
	}
	close(begin)
	wg.Wait()
	if served.Load()+refused.Load() != clients || served.Load() == 0 {
		t.Errorf("%d served, %d refused, of %d", served.Load(), refused.Load(), clients)
	}
	t.Logf("%d served, %d refused", served.Load(), refused.Load())
	if _, err := v.Get(t.Context(), d.ID); err != nil {
		t.Errorf("afterwards: %v", err)
	}
	until(t, "memory as before", func() bool { return settled() < before+16<<20 })
	_, text := get(t, http.DefaultClient, r.Origin()+"/metrics")
	for _, want := range []string{
		fmt.Sprintf(`coffer_requests_refused_total{tier="small"} %d`, refused.Load()),
		`coffer_requests_in_flight{tier="small"} 0`, `coffer_requests_waiting{tier="small"} 0`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	if want := `coffer_requests_total{route="GET /.well-known/coffer",status="429"}`; refused.Load() > 0 &&
		!strings.Contains(text, want) {
		t.Errorf("metrics have no %s", want)
	}
}

// settled returns the memory in use.
func settled() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}

// TestTiersApart fills the places of large requests with uploads that do not end, and those of followers: others are
// served.
func TestTiersApart(t *testing.T) {
	r := start(t, node.Config{Data: t.TempDir(), Admission: node.Admission{
		Small: 2, Large: 1, Followers: 1, Wait: 10 * time.Millisecond,
	}})
	v := r.vault(t, nil)
	d := put(t, v)
	ctx, end := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer end()
	follow := func() { // until the end
		for range v.Changes(ctx, "", true) {
		}
	}
	upload := func() { // until the end
		ref, b := chunk(0, 2<<20)
		reader, writer := io.Pipe()
		defer context.AfterFunc(ctx, func() { writer.Close() })()
		go writer.Write(b[:1000])
		_ = v.PutChunk(ctx, d.ID, ref, reader)
	}
	wg.Go(follow)
	wg.Go(upload)
	status := func(tier string, name string, n int) bool {
		_, text := get(t, http.DefaultClient, r.Origin()+"/metrics")
		return strings.Contains(text, fmt.Sprintf("coffer_requests_%s{tier=%q} %d\n", name, tier, n))
	}
	until(t, "a follower and an upload", func() bool {
		return status("follower", "in_flight", 1) && status("large", "in_flight", 1)
	})
	ref, b := chunk(1, 1_200_000)
	if err := v.PutChunk(t.Context(), d.ID, ref, bytes.NewReader(b)); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("a second upload: %v, want %v", err, coffer.Exhausted)
	}
	for range 10 {
		if _, err := v.Get(t.Context(), d.ID); err != nil {
			t.Fatalf("a read: %v", err)
		}
	}
}

// TestSlowLog logs what took long, by its route, and says nothing of whose it was.
func TestSlowLog(t *testing.T) {
	var log journal
	r := start(t, node.Config{Data: t.TempDir(), Slow: time.Nanosecond, Log: log.logger()})
	v := r.vault(t, nil)
	d := put(t, v)
	putChunk(t, v, d.ID)
	_, body, err := v.Chunk(t.Context(), d.ID, 0) // by ReadFrom
	if err != nil {
		t.Fatal(err)
	}
	n, err := io.Copy(io.Discard, body)
	if body.Close(); err != nil {
		t.Fatal(err)
	}
	get(t, http.DefaultClient, r.Origin()+"/not/"+d.ID.String())
	for ch, err := range v.Changes(t.Context(), "", true) { // of a follower nothing is said
		if err != nil || ch.Number > 0 {
			break
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	text := log.String()
	for _, want := range []string{
		`level=WARN msg="slow request" route="POST /edvs/{vault}/documents" status=`,
		`route="POST /edvs/{vault}/documents/{id}/chunks/{index}" status=204`, "tier=medium",
		`route="GET /edvs/{vault}/documents/{id}/chunks/{index}" status=200`, fmt.Sprintf("bytes=%d", n),
		`route=unknown status=404`, "took=",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the log has no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, "tier=follower") {
		t.Errorf("who waits for changes is called slow")
	}
	nothingOf(t, "the log", text, r, v, d)
}

// nothingOf looks for what would name somebody or something.
func nothingOf(t *testing.T, where, text string, r *run, v *edv.RemoteVault, d *coffer.Document) {
	t.Helper()
	for what, marker := range map[string]string{
		"vault": v.URL()[strings.LastIndex(v.URL(), "/")+1:], "object": d.ID.String(), "raw object": string(d.ID[:]),
		"person": coffertest.Person(t, "alice").DID(), "address": "127.0.0.1", "node": r.DID(), "path": "/not/",
	} {
		if strings.Contains(text, marker) {
			t.Errorf("%s names the %s", where, what)
		}
	}
}

// TestStats reads what a node holds and does, as another process does, and as metrics.
func TestStats(t *testing.T) {
	data := filepath.Join(t.TempDir(), strings.Repeat("long", 40)) // longer than the path of a socket may be
	r := start(t, node.Config{Data: data})
	v := r.vault(t, nil)
	d := put(t, v)
	putChunk(t, v, d.ID)
	put(t, v)
	var running *node.Running
	until(t, "a control socket", func() (ok bool) {
		var err error
		running, err = node.FindRunning(t.Context(), data)
		return err == nil
	})
	info, err := os.Stat(filepath.Join(data, "control.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has the mode %v, %v", info.Mode(), err)
	}
	s, err := running.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.Documents.Documents != 3 || s.Documents.Vaults != 2 || s.Documents.Changes != 3 || s.Documents.Disk <= 0 {
		t.Errorf("documents: %+v", s.Documents) // the vault's, and its configuration
	}
	if s.Chunks == nil || s.Chunks.Count != 1 || s.Chunks.Bytes < 100_000 {
		t.Errorf("chunks: %+v", s.Chunks)
	}
	if s.Node == nil || s.Node.Requests < 4 || s.Node.Memory <= 0 || s.Node.Uptime <= 0 {
		t.Errorf("node: %+v", s.Node)
	}
	_, text := get(t, http.DefaultClient, r.Origin()+"/metrics")
	for _, want := range []string{"coffer_store_documents 3", "coffer_store_vaults 2", "coffer_store_disk_bytes "} {
		if !strings.Contains(text, want) {
			t.Errorf("metrics have no %s", want)
		}
	}
	if err := r.stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := node.FindRunning(t.Context(), data); !errors.Is(err, coffer.NotExist) {
		t.Errorf("after its end a node runs: %v", err)
	}
	disks, err := node.OpenDisks(t.Context(), node.Config{Data: data})
	if err != nil {
		t.Fatal(err)
	}
	defer disks.Close()
	s, err = disks.Stats(t.Context(), true)
	if err != nil || s.Documents.Documents != 3 || s.Chunks.Count != 1 || s.Node != nil {
		t.Errorf("of a node at rest: %+v, %v", s, err)
	}
	left, err := os.ReadDir(data)
	if err != nil || slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasPrefix(e.Name(), ".") }) {
		t.Errorf("left over: %v, %v", left, err)
	}
}
