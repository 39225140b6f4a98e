package seal

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/cofferhq/coffer"
)

func TestPadme(t *testing.T) {
	for n, want := range map[int64]int64{
		-5: -5, 0: 0, 1: 1, 2: 2, 3: 3, 7: 7, 8: 8, 9: 10, 10: 10, 15: 16, 17: 18, 33: 36, 100: 104, 200: 208, 255: 256,
		257: 272, 1000: 1024, 1023: 1024, 1025: 1088, 9_999: 10_240, 16_384: 16_384, 16_385: 17_408,
		1_000_000: 1_015_808,
		1<<62 + 1: 1<<62 + 1<<56, math.MaxInt64: math.MaxInt64,
	} {
		if got := Padme(n); got != want {
			t.Errorf("Padme(%d) = %d, want %d", n, got, want)
		}
	}
}

// What the paper promises: at most 12 % are added, classes are ordered, and a class is its own.
func TestPadmeBound(t *testing.T) {
	check := func(n int64) {
		p := Padme(n)
		if p < n || float64(p-n) > 0.12*float64(n) || Padme(p) != p || Padme(n+1) < p {
			t.Fatalf("Padme(%d) = %d", n, p)
		}
	}
	for n := range int64(1 << 18) {
		check(n)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 100_000 {
		check(r.Int64N(1 << (18 + r.IntN(43))))
	}
}

func TestPadded(t *testing.T) {
	for _, test := range []struct {
		n, size int
		fixed   bool
		want    int
		err     error
	}{
		{1000, 0, false, 1024, nil},
		{1000, 1000, false, 1000, nil},
		{1000, 5000, false, 5000, nil},
		{1000, 999, false, 1024, nil},
		{1000, 1000, true, 1000, nil},
		{1000, 999, true, 0, coffer.Exhausted},
		{1000, 0, true, 0, coffer.Invalid},
		{1000, -1, false, 0, coffer.Invalid},
		{1000, maxPadded + 1, false, 0, coffer.Exhausted},
		{maxPadded + 1, 0, false, 0, coffer.Exhausted},
	} {
		got, err := padded(test.n, test.size, test.fixed)
		if got != test.want || !errors.Is(err, test.err) {
			t.Errorf("%d bytes to %d, fixed %v: %d, %v", test.n, test.size, test.fixed, got, err)
		}
	}
}

func TestPadMember(t *testing.T) {
	for n := range 40 {
		b := appendPad([]byte(`{"a":1`), len(`{"a":1`)+padMember+n)
		if len(b) != len(`{"a":1`)+padMember+n {
			t.Fatalf("%s has %d bytes", b, len(b))
		}
		if !isPad(b[len(`{"a":1,"pad":`) : len(b)-1]) {
			t.Errorf("%s is no pad", b)
		}
	}
	for _, v := range []string{``, `"`, `null`, `1`, `"B"`, `"AAB"`, `"\u0041"`, `"A\"A"`, `A`, `["A"]`} {
		if isPad([]byte(v)) {
			t.Errorf("%s is a pad", v)
		}
	}
}
