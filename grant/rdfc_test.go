package grant

import (
	"bytes"
	"encoding/hex"
	"testing"
)

// The signed bytes of a chain of nine delegations, of which the canonicalization in the published JavaScript libraries
// (jsonld 9.0.0 and rdf-canonize 5.0.0) gives the same quads.
func TestCanonicalNine(t *testing.T) {
	d, err := parseCapability([]byte(longChain(t, 9, func(int) Suite { return Ed25519Signature2020 })), MaxChain-1)
	if err != nil {
		t.Fatal(err)
	}
	b, err := d.signed()
	if err != nil {
		t.Fatal(err)
	}
	const want = "7b2155b320c488a9aa9ae7cc633262d7095fa54dda2969b169a04c6b49fff2df" +
		"9c45c63123d9c4f6b379a3e902afaa3e7a54a1ba56b28d7deed8b1bec87a94ef"
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("signed bytes %s", got)
	}
}

// What the proof of a long chain signs does not depend on the order in which it is written down.
func TestCanonicalShuffled(t *testing.T) {
	for name, suite := range suites() {
		for _, n := range []int{1, 4, 9} {
			d, err := parseCapability([]byte(longChain(t, n, suite)), MaxChain-1)
			if err != nil {
				t.Fatal(err)
			}
			s := new(dataset)
			s.proof(d, 0, s.node(), false)
			want, err := s.canonical()
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(20) {
				got, err := shuffled(s, seed).canonical()
				if err != nil || !bytes.Equal(got, want) {
					t.Fatalf("%d of %s, seed %d: another form, or %v", n, name, seed, err)
				}
			}
		}
	}
}

// Work is bounded: a graph in which all nodes look alike is refused in bounded time, and a ring is not.
func TestCanonicalBound(t *testing.T) {
	full := new(dataset)
	for range 12 {
		full.node()
	}
	for i := 1; i <= 12; i++ {
		for j := 1; j <= 12; j++ {
			if i != j {
				full.add(blank(i), "<urn:p:q>", blank(j), 0)
			}
		}
	}
	if _, err := full.canonical(); err == nil {
		t.Error("a complete graph of twelve nodes was canonicalized")
	}
	ring := new(dataset)
	for range 12 {
		ring.node()
	}
	for i := range 12 {
		ring.add(blank(i+1), "<urn:p:q>", blank((i+1)%12+1), 0)
	}
	if _, err := ring.canonical(); err != nil {
		t.Errorf("a ring of twelve nodes: %v", err)
	}
}

func TestPermute(t *testing.T) {
	for _, row := range []struct {
		list []int
		want int
	}{{[]int{1}, 1}, {[]int{1, 2, 3}, 6}, {[]int{1, 1, 1}, 1}, {[]int{1, 1, 2, 2}, 6}} {
		seen := map[string]bool{}
		for more := true; more; more = permute(row.list) {
			key := ""
			for _, n := range row.list {
				key += string(rune('a' + n))
			}
			if seen[key] {
				t.Errorf("%s twice", key)
			}
			seen[key] = true
		}
		if len(seen) != row.want {
			t.Errorf("%d orders, want %d", len(seen), row.want)
		}
	}
}
