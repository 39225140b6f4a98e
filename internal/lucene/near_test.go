package lucene

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHostilePhrase asks for a phrase of one word, over and over, in texts of that word: strangers ask hubs such things,
// of thousands of objects at once.
func TestHostilePhrase(t *testing.T) {
	f, err := ParseFilter(`"b` + strings.Repeat(" a", MaxTerms-1) + `"`)
	if err != nil {
		t.Fatal(err)
	}
	object, err := json.Marshal(map[string]string{"meta": strings.Repeat("a ", 1900) + "b"})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	for range 20 {
		if ok, err := f.Match(object); ok || err != nil {
			t.Fatal(ok, err)
		}
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("20 objects take %v", took)
	}
}

// TestNear compares with all places that there are.
func TestNear(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var all func(positions [][]uint32, i int, low, high int64) int64
	all = func(positions [][]uint32, i int, low, high int64) int64 {
		if i == len(positions) {
			return high - low
		}
		least := int64(1 << 40)
		for _, at := range positions[i] {
			p := int64(at) - int64(i)
			if i == 0 {
				least = min(least, all(positions, 1, p, p))
			} else {
				least = min(least, all(positions, i+1, min(low, p), max(high, p)))
			}
		}
		return least
	}
	for range 20_000 {
		positions := make([][]uint32, 1+r.IntN(4))
		for i := range positions {
			for range r.IntN(5) {
				positions[i] = append(positions[i], r.Uint32N(12))
			}
			slices.Sort(positions[i])
			positions[i] = slices.Compact(positions[i])
		}
		slop := r.IntN(5)
		if got, want := Near(positions, slop), all(positions, 0, 0, 0) <= int64(slop); got != want {
			t.Fatalf("%v within %d: %v", positions, slop, got)
		}
	}
	if Near(nil, 5) {
		t.Error("no words make a phrase")
	}
}
