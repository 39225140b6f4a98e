package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store"
)

// A load is writers that write to a few vaults through a few stores, and what they were told.
type load struct {
	vaults []coffer.VaultID
	stop   atomic.Bool
	all    sync.WaitGroup

	mu           sync.Mutex
	acknowledged map[coffer.VaultID][]coffer.Change
	unknown      int
}

func newLoad(stores []*Store, writers int) *load {
	l := &load{acknowledged: make(map[coffer.VaultID][]coffer.Change)}
	for range 3 {
		l.vaults = append(l.vaults, coffer.NewVaultID())
	}
	for i := range writers {
		l.all.Go(func() { l.write(stores[i%len(stores)], l.vaults[i%len(l.vaults)]) })
	}
	return l
}

// write inserts and replaces documents, each with one beside it, until the load stops.
func (l *load) write(s *Store, v coffer.VaultID) {
	var d *coffer.Document
	for n := 0; !l.stop.Load(); n++ {
		tag := coffer.Tag{Key: "k", Name: "n", Value: fmt.Sprint(n % 3)}
		if d == nil || n%4 == 0 {
			d = newDocument(fmt.Sprint(n), tag)
		} else {
			d = successor(d, fmt.Sprint(n), tag)
		}
		w := putting(v, d)
		w.Keep = n%2 == 0
		results, err := s.Apply(context.Background(), w, putting(v, newDocument("beside")))
		l.mu.Lock()
		for _, r := range results {
			l.acknowledged[v] = append(l.acknowledged[v], r.Change)
		}
		if err != nil {
			l.unknown++
			d = nil
		}
		l.mu.Unlock()
		if err != nil && !errors.Is(err, coffer.Unavailable) {
			panic(err)
		}
	}
}

func (l *load) count() (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range l.acknowledged {
		n += len(c)
	}
	return n
}

// until waits until so many more changes were acknowledged.
func (l *load) until(t *testing.T, more int) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	for from := l.count(); l.count() < from+more; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("nothing is acknowledged any more")
		}
	}
}

// check looks whether everything acknowledged is there, once, and pairs are whole.
func (l *load) check(t *testing.T, s *Store) {
	t.Helper()
	l.stop.Store(true)
	l.all.Wait()
	for _, v := range l.vaults {
		feed := make(map[uint64]coffer.Change)
		last, seen := uint64(0), make(map[coffer.Rev]bool)
		for c, err := range s.Changes(t.Context(), v, 0) {
			if err != nil || c.Number != last+1 || seen[c.Rev] {
				t.Fatalf("Changes: %+v, %v after %d", c, err, last)
			}
			last = c.Number
			feed[last], seen[c.Rev] = c, true
		}
		if last%2 != 0 {
			t.Errorf("%d changes: half of a commit is there", last)
		}
		for _, c := range l.acknowledged[v] {
			if feed[c.Number] != c {
				t.Fatalf("change %d was acknowledged, and is not there", c.Number)
			}
		}
	}
	checkClean(t, s)
	t.Logf("%d changes acknowledged, %d calls failed", l.count(), l.unknown)
}

// TestTerminated ends the sessions of two stores under load, again and again.
func TestTerminated(t *testing.T) {
	url := servers.Database(t)
	stores := []*Store{on(t, url, Options{}), on(t, url, Options{})}
	l := newLoad(stores, 12)
	for range 8 {
		l.until(t, 100)
		run(t, url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity
			WHERE datname = current_database() AND application_name = 'coffer'`)
	}
	l.until(t, 100)
	l.check(t, stores[0])
	for _, s := range stores {
		closeStore(t, s)
	}
	if l.unknown == 0 {
		t.Error("no call has noticed")
	}
}

// TestKilled kills the server itself, with everything in its memory.
func TestKilled(t *testing.T) {
	server, err := servers.StartPostgres()
	if errors.Is(err, servers.ErrLacking) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	}()
	url := server.URL + "/postgres"
	stores := []*Store{on(t, url, Options{}), on(t, url, Options{})}
	l := newLoad(stores, 12)
	for range 3 {
		l.until(t, 100)
		server.Kill()
		if _, err := stores[0].Get(t.Context(), l.vaults[0], coffer.NewObjectID()); !errors.Is(err, coffer.Unavailable) {
			t.Errorf("Get: %v, want Unavailable", err)
		}
		if err := server.Restart(); err != nil {
			t.Fatal(err)
		}
	}
	l.until(t, 100)
	l.check(t, stores[1])
	for _, s := range stores {
		closeStore(t, s)
	}
	if l.unknown == 0 {
		t.Error("no call has noticed")
	}
}

// A wire stands between a store and its server. It counts how often the client spoke after the server had, and can be
// cut.
type wire struct {
	url   string
	l     net.Listener
	trips atomic.Int64
	fuse  atomic.Pointer[string] // when the client has said this, the wire is cut
	cut   atomic.Bool            // what the server says next is dropped, and the connection with it
	all   sync.WaitGroup
}

func newWire(t *testing.T, url string) *wire {
	address, rest, ok := strings.Cut(strings.TrimPrefix(url, "postgres://coffer@"), "/")
	if !ok {
		t.Fatal("another form of URL")
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{url: "postgres://coffer@" + l.Addr().String() + "/" + rest + "?sslmode=disable", l: l}
	w.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.all.Go(func() { w.carry(c, address) })
		}
	})
	t.Cleanup(func() { _ = l.Close(); w.all.Wait() })
	return w
}

func (w *wire) carry(client net.Conn, address string) {
	defer client.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer server.Close()
	var spoke atomic.Bool // the server, last
	spoke.Store(true)
	var there sync.WaitGroup
	there.Go(func() {
		defer server.Close()
		_, _ = io.Copy(writer(func(b []byte) (int, error) {
			if spoke.Swap(false) {
				w.trips.Add(1)
			}
			if fuse := w.fuse.Load(); fuse != nil && bytes.Contains(b, []byte(*fuse)) {
				w.cut.Store(true)
			}
			return server.Write(b)
		}), client)
	})
	_, _ = io.Copy(writer(func(b []byte) (int, error) {
		if w.cut.Load() {
			return 0, io.ErrClosedPipe
		}
		spoke.Store(true)
		return client.Write(b)
	}), server)
	_ = client.Close()
	there.Wait()
}

type writer func([]byte) (int, error)

func (f writer) Write(b []byte) (int, error) { return f(b) }

// TestTrips counts round trips.
func TestTrips(t *testing.T) {
	w := newWire(t, servers.Database(t))
	s := on(t, w.url, Options{})
	defer closeStore(t, s)
	s.notifier.off.Store(true)
	v := coffer.NewVaultID()
	tags := []coffer.Tag{{Key: "k", Name: "n", Value: "v"}, {Key: "k", Name: "m", Value: "w", Unique: true}}
	d := newDocument("d", tags...)
	query := func(q coffer.Query) {
		for _, err := range s.Query(t.Context(), v, q) {
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	next := func(d *coffer.Document) *coffer.Document {
		n := successor(d, "n", tags[0])
		w := putting(v, n)
		w.Keep = n.Sequence == 1
		apply(t, s, w)
		return n
	}
	all := func(count bool) {
		for _, step := range []struct {
			name string
			do   func()
		}{
			{"insert", func() { apply(t, s, putting(v, d)) }},
			{"replace", func() { d = next(d) }},
			{"replace again", func() { d = next(d) }},
			{"govern", func() { apply(t, s, store.Write{Vault: v, Govern: true}) }},
			{"attach", func() {
				apply(t, s, store.Write{Vault: v, Attach: &store.Chunk{ID: d.ID, Blob: "b",
					Ref: coffer.ChunkRef{Sequence: d.Sequence}}})
			}},
			{"get", func() {
				if _, err := s.Get(t.Context(), v, d.ID); err != nil {
					t.Fatal(err)
				}
			}},
			{"a new document", func() { apply(t, s, putting(v, newDocument("e"))) }},
			{"a page", func() { query(coffer.Query{Limit: 10}) }},
			{"a tag", func() { query(coffer.Query{Index: "k", Equals: []map[string]string{{"n": "v"}}}) }},
			{"two tags", func() { query(coffer.Query{Index: "k", Equals: []map[string]string{{"n": "v", "m": "w"}}}) }},
			{"two filters", func() { query(coffer.Query{Index: "k", Equals: []map[string]string{{"n": "v"}, {"m": "w"}}}) }},
			{"two names", func() { query(coffer.Query{Index: "k", Has: []string{"n", "m"}}) }},
			{"usage", func() {
				if _, err := s.Usage(t.Context(), v); err != nil {
					t.Fatal(err)
				}
			}},
			{"changes", func() {
				for _, err := range s.Changes(t.Context(), v, 0) {
					if err != nil {
						t.Fatal(err)
					}
				}
			}},
			{"two vaults", func() {
				apply(t, s, putting(v, newDocument("e")), putting(coffer.VaultID{1}, newDocument("e")))
			}},
		} {
			before := w.trips.Load()
			step.do()
			if got := w.trips.Load() - before; count && got != 1 {
				t.Errorf("%s: %d round trips", step.name, got)
			}
		}
	}
	for range 3 { // statements are prepared on first use, on each connection
		all(false)
		v, d = coffer.NewVaultID(), newDocument("d", tags...)
	}
	apply(t, s, putting(v, newDocument("the vault is known")))
	all(true)
	checkClean(t, s)
}

// TestLostAnswer cuts the connection when the commit has been sent: the outcome is unknown, and must not pass for a
// success or be carried out twice.
func TestLostAnswer(t *testing.T) {
	url := servers.Database(t)
	w := newWire(t, url)
	s := on(t, w.url, Options{})
	v := coffer.NewVaultID()
	first := newDocument("first")
	apply(t, s, putting(v, first))
	fuse := "what is sent late"
	w.fuse.Store(&fuse)
	late := newDocument(fuse)
	if _, err := s.Apply(t.Context(), putting(v, late)); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("Apply: %v, want Unavailable", err)
	}
	w.fuse.Store(nil)
	w.cut.Store(false)
	other := on(t, url, Options{})
	for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		if _, err := other.Get(t.Context(), v, late.ID); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what was sent was not carried out")
		}
	}
	if _, err := s.Get(t.Context(), v, late.ID); err != nil {
		t.Errorf("Get: %v", err)
	}
	apply(t, s, putting(v, newDocument("next")))
	if u, err := s.Usage(t.Context(), v); err != nil || u.Changes != 3 || u.Documents != 3 {
		t.Errorf("Usage: %+v, %v", u, err)
	}
	checkClean(t, s)
	closeStore(t, s)
	closeStore(t, other)
}
