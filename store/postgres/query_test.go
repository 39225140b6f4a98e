package postgres

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store"
)

// fill inserts so many documents, with bodies of a size.
func fill(t *testing.T, s *Store, v coffer.VaultID, n, size int) {
	t.Helper()
	for n > 0 {
		var writes []store.Write
		for range min(n, 500) {
			tag := coffer.Tag{Key: "k", Name: "n", Value: fmt.Sprint(n % 5)}
			writes = append(writes, putting(v, newDocument(string(bytes.Repeat([]byte{'x'}, size)), tag)))
			n--
		}
		apply(t, s, writes...)
	}
}

// TestPages yields more than a page, from one state, however much is written meanwhile.
func TestPages(t *testing.T) {
	s := on(t, servers.Database(t), Options{})
	defer closeStore(t, s)
	v := coffer.NewVaultID()
	const n = 2*maxPage + 100
	fill(t, s, v, n, 10)
	for _, q := range []coffer.Query{{}, {IDsOnly: true}, {Limit: n - 1}, {Index: "k", Has: []string{"n"}}} {
		want, err := s.Count(t.Context(), v, q)
		if err != nil || want < n {
			t.Fatalf("Count: %d, %v", want, err)
		}
		if q.Limit > 0 {
			want = q.Limit
		}
		got, last := 0, coffer.ObjectID{}
		for d, err := range s.Query(t.Context(), v, q) {
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Compare(d.ID[:], last[:]) <= 0 {
				t.Fatalf("document %d is out of order", got)
			}
			last = d.ID
			if got++; got == 10 {
				fill(t, s, v, 50, 10)
			}
		}
		if got != want {
			t.Errorf("%d documents, want %d", got, want)
		}
	}
	if got := s.pool.Stat().AcquiredConns(); got != 0 {
		t.Errorf("%d connections are still held", got)
	}
}

// TestLarge yields documents that are too large for a page.
func TestLarge(t *testing.T) {
	s := on(t, servers.Database(t), Options{})
	defer closeStore(t, s)
	v := coffer.NewVaultID()
	fill(t, s, v, 20, 10)
	fill(t, s, v, 3, 6<<20)
	for _, limit := range []int{0, 1, 23, 22} {
		got, total := 0, 0
		for d, err := range s.Query(t.Context(), v, coffer.Query{Limit: limit}) {
			if err != nil {
				t.Fatal(err)
			}
			if store.Size(d) != int64(len(d.Body))+3 || len(d.Body) == 0 {
				t.Fatalf("a document has %d bytes", len(d.Body))
			}
			got++
			total += len(d.Body)
		}
		want := limit
		if limit == 0 {
			want = 23
		}
		if got != want || want == 23 && total != 20*10+3*6<<20 {
			t.Errorf("limit %d: %d documents of %d bytes", limit, got, total)
		}
	}
}

// TestSlowConsumer gives its view of the database up, so that others have the connection, and gets all that is there.
func TestSlowConsumer(t *testing.T) {
	s := on(t, servers.Database(t), Options{Connections: 2})
	defer closeStore(t, s)
	v := coffer.NewVaultID()
	const n = maxPage + 500
	fill(t, s, v, n, 10)
	w, err := s.view(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	p := &pager{s: s, op: "test", vault: v, search: searchOf(&coffer.Query{})}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := s.view(ctx, "test"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a second view: %v, want none while the first is held", err)
	}
	w.end() // as after hold
	if got := s.pool.Stat().AcquiredConns(); got != 0 {
		t.Errorf("%d connections are still held", got)
	}
	got := 0
	err = p.restOf(t.Context(), w, coffer.ObjectID{}, 0, func(*coffer.Document) bool { got++; return true })
	if err != nil || got != n {
		t.Errorf("%d documents, %v, want %d", got, err, n)
	}
}

// TestPurgedMeanwhile follows a feed that is purged between two pages.
func TestPurgedMeanwhile(t *testing.T) {
	s := on(t, servers.Database(t), Options{})
	defer closeStore(t, s)
	v := coffer.NewVaultID()
	fill(t, s, v, changesPage+10, 1)
	var last coffer.Change
	n := 0
	for c, err := range s.Changes(t.Context(), v, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; n == 1 {
			apply(t, s, store.Write{Vault: v, Time: time.UnixMilli(1e12), Purge: true})
		}
		last = c
	}
	if n != changesPage+1 || last.Kind != coffer.VaultErased || last.Number != changesPage+11 {
		t.Errorf("%d changes, the last %+v", n, last)
	}
}
