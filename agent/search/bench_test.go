package search

import (
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"testing"
	"time"

	"github.com/cofferhq/coffer/internal/lucene"
)

// live returns how many bytes the last garbage collection found in use.
func live() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Fetches and times for many documents: COFFER_DOCUMENTS says how many. doc/search.md has the outcome for 100,000.
func TestManyDocuments(t *testing.T) {
	n, every := 6_000, 1_000
	if s := os.Getenv("COFFER_DOCUMENTS"); s != "" {
		n, _ = strconv.Atoi(s)
		every = 4_000
	}
	if s := os.Getenv("COFFER_FLUSH"); s != "" {
		every, _ = strconv.Atoi(s)
	}
	m := newMemory()
	x, err := Open(m, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(7, 7))
	docs := corpus(r, n)
	runtime.GC()
	var building time.Duration
	var manifest []byte
	var slowest time.Duration
	before, peak, kept := live(), uint64(0), 0
	for at := 0; at < n; at += every {
		start := time.Now()
		if err := x.Add(Delta{Documents: docs[at:min(at+every, n)]}); err != nil {
			t.Fatal(err)
		}
		now, drop, err := x.Flush(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		peak = max(peak, live()-min(live(), before+uint64(kept))) // as of a collection while it was written
		manifest = now
		if err := m.Drop(t.Context(), drop...); err != nil {
			t.Fatal(err)
		}
		took := time.Since(start)
		building, slowest = building+took, max(slowest, took)
		runtime.GC()
		kept = 0
		for _, b := range m.blocks {
			kept += len(b)
		}
	}
	t.Logf("%d documents in %v (longest flush %v), %d segments, %d blocks of together %d KiB, manifest %d bytes, "+
		"memory in a flush %d KiB at most", n, building.Round(time.Millisecond), slowest.Round(time.Millisecond),
		x.Segments(), len(m.blocks), kept>>10, len(manifest), peak>>10)
	if len(manifest) >= 3<<10 {
		t.Errorf("the manifest has %d bytes", len(manifest))
	}
	for _, text := range []string{
		"w0", "w30", "w1000", "w5000", "w19000", "text:w200", "name:w30 city:w2", `"w1 w2"`, "w19*", "w500~1", "w3 -w4",
		"total:[100 TO 110]", "modified>=2024-02-25", "*.pdf w900", "name:*77.pdf",
	} {
		q := parse(t, text)
		x, err := Open(m, manifest, nil)
		if err != nil {
			t.Fatal(err)
		}
		count := func(most int) (hits, fetches int, took time.Duration) {
			m.fetches = 0
			start := time.Now()
			for _, err := range x.Find(t.Context(), q) {
				if err != nil {
					t.Fatal(err)
				}
				if hits++; hits == most {
					break
				}
			}
			return hits, m.fetches, time.Since(start)
		}
		hits, fetches, cold := count(10)
		_, _, warm := count(10)
		all, allFetches, allTook := count(n)
		t.Logf("%-22s cold: %2d hits, %3d fetches, %v; warm: %v; all %d: %d more fetches, %v", text, hits, fetches,
			cold.Round(time.Microsecond), warm.Round(time.Microsecond), all, allFetches, allTook.Round(time.Microsecond))
	}
	words(t, m, manifest, x.Segments())
	start := time.Now()
	if manifest, _, err = x.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("compacted in %v", time.Since(start).Round(time.Millisecond))
	words(t, m, manifest, 1)
}

// words asks for words of all frequencies that ten documents or more have.
func words(t *testing.T, m *memory, manifest []byte, segments int) {
	worst, sum, asked, few := 0, 0, 0, 0
	for i := 0; i < 20_000; i += 53 {
		q := parse(t, fmt.Sprintf("w%d", i))
		x, err := Open(m, manifest, nil)
		if err != nil {
			t.Fatal(err)
		}
		m.fetches = 0
		hits := 0
		for _, err := range x.Find(t.Context(), q) {
			if err != nil {
				t.Fatal(err)
			}
			if hits++; hits == 10 {
				break
			}
		}
		if hits < 10 {
			few++
			continue
		}
		worst, sum, asked = max(worst, m.fetches), sum+m.fetches, asked+1
	}
	t.Logf("a word, cold, 10 hits, %d segments: %.1f fetches on average, %d at most, over %d words; %d had fewer",
		segments, float64(sum)/float64(asked), worst, asked, few)
	// Of each segment the root, a block of terms or two and one of postings, then a block for each hit.
	if limit := 4*segments + 10; worst > limit {
		t.Errorf("%d fetches for a word", worst)
	}
}

func BenchmarkMatch(b *testing.B) {
	docs := corpus(rand.New(rand.NewPCG(7, 7)), 100)
	q := parse(b, `w3 name:w1 OR "w2 w4" total:[1 TO 50]`)
	var fields []*lucene.Fields
	for i := range docs {
		fields = append(fields, docs[i].fields())
	}
	for i := 0; b.Loop(); i++ {
		q.Match(fields[i%len(fields)])
	}
}
