package hub_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/node/hub"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store/blob/files"
	"github.com/cofferhq/coffer/store/pebble"
)

// benchSize returns how many there are to be: otherwise, unless the environment says more.
func benchSize(b *testing.B, name string, otherwise int) int {
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		b.Fatalf("%s is not a number", name)
	}
	return n
}

// trusting takes every signature for good: signatures are not what is measured here.
type trusting struct{}

func (trusting) Verify(_, _ []byte) bool { return true }

// newBenchSite returns a site on an embedded store in a folder, that takes all signatures for good.
func newBenchSite(b testing.TB) *site {
	documents, err := pebble.Open(b.TempDir(), pebble.Options{})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { documents.Close() })
	chunks, err := files.Open(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	s := &site{t: b, at: time.Now().Add(-24 * time.Hour).UTC().Truncate(time.Millisecond)}
	s.options = hub.Options{
		Vaults: coffertest.HubVaults(b, coffertest.NewVaultsOn(b, vault.Limits{}, documents, chunks)),
		Key:    func(context.Context, string, string, coffer.Purpose) (coffer.Verifier, error) { return trusting{}, nil },
	}
	s.Service = hub.New(s.options)
	return s
}

// fill brings in so many commits.
func (s *site) fill(n int, commit func(i int) *coffer.Commit) {
	s.t.Helper()
	ctx, h := context.Background(), s.As(alice.caller(s.t), "")
	batch := make([]*coffer.Commit, 0, coffer.MaxAdopt)
	for i := range n {
		batch = append(batch, commit(i))
		if len(batch) == cap(batch) || i == n-1 {
			if _, err := h.Adopt(ctx, alice.DID(), batch...); err != nil {
				s.t.Fatal(err)
			}
			batch = batch[:0]
		}
	}
}

// BenchmarkFirstPage asks for the first page of an owner's objects, of which HUB_OBJECTS says how many there are.
func BenchmarkFirstPage(b *testing.B) {
	n := benchSize(b, "HUB_OBJECTS", 3000)
	b.Run(fmt.Sprintf("objects=%d", n), func(b *testing.B) {
		s := newBenchSite(b)
		s.fill(n, func(i int) *coffer.Commit { return s.build(alice, `{"n":`+strconv.Itoa(i)+`}`) })
		h, q := s.As(alice.caller(b), ""), books(coffer.ObjectQuery{})
		fresh := s.beside().As(alice.caller(b), "")
		start := time.Now()
		if _, err := fresh.Objects(b.Context(), alice.DID(), q); err != nil {
			b.Fatal(err)
		}
		first := time.Since(start)
		for b.Loop() {
			p, err := h.Objects(b.Context(), alice.DID(), q)
			if err != nil || len(p.Objects) != min(n, 100) {
				b.Fatal(len(p.Objects), err)
			}
		}
		b.ReportMetric(float64(first.Microseconds())/1000, "ms-opened-anew")
	})
}

// BenchmarkGrantCheck reads one object by a grant, of which there are few, and many (HUB_GRANTS).
func BenchmarkGrantCheck(b *testing.B) {
	for _, n := range []int{10, benchSize(b, "HUB_GRANTS", 3000)} {
		b.Run(fmt.Sprintf("grants=%d", n), func(b *testing.B) {
			s := newBenchSite(b)
			var id coffer.CommitRev
			s.fill(1, func(int) *coffer.Commit {
				c := s.build(alice, `{}`)
				id = c.Rev()
				return c
			})
			s.fill(n, func(i int) *coffer.Commit {
				to, typ := somebody("p"+strconv.Itoa(i)), shelf.Type
				switch i % 3 {
				case 1:
					to, typ = bob, "T"+strconv.Itoa(i)
				case 2:
					to = bob
				}
				more := ""
				if to == bob && typ == shelf.Type { // of all that are for him and books, one is for this one
					other := coffer.CommitRev{byte(i), byte(i >> 8), byte(i >> 16)}
					if i == 2 {
						other = id
					}
					more = fmt.Sprintf(`,"object_id":[%q]`, other)
				}
				return s.build(alice, grantOf(to, shelf.Context, typ, "-R--", more), asGrant)
			})
			h, q := s.As(bob.caller(b), ""), &coffer.CommitQuery{Objects: []coffer.CommitRev{id}}
			for b.Loop() {
				if _, err := h.Commits(b.Context(), alice.DID(), q); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkWrite creates objects, one after the other, and side by side.
func BenchmarkWrite(b *testing.B) {
	s := newBenchSite(b)
	s.fill(1, func(int) *coffer.Commit {
		return s.build(alice, grantOf(bob, shelf.Context, shelf.Type, "CRUD", ""), asGrant)
	})
	for _, who := range []somebody{alice, bob} {
		h := s.As(who.caller(b), "")
		b.Run("as="+string(who), func(b *testing.B) {
			commits := make([]*coffer.Commit, 0, 1<<12)
			for i := 0; b.Loop(); i++ {
				if i%cap(commits) == 0 {
					b.StopTimer()
					commits = commits[:0]
					for range cap(commits) {
						commits = append(commits, s.build(who, `{}`))
					}
					b.StartTimer()
				}
				if _, err := h.Write(b.Context(), alice.DID(), commits[i%cap(commits)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
