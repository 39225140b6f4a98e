package agent

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// TestHeadOfNewerProgram refuses a head that a later version wrote, whose rules this one does not know.
func TestHeadOfNewerProgram(t *testing.T) {
	for _, c := range []struct {
		head string
		want coffer.Kind
	}{
		{`{"type":"coffer/head","version":2}`, coffer.Invalid},
		{`{"type":"coffer/page","version":1}`, coffer.Corrupt},
		{`[]`, coffer.Corrupt},
	} {
		k := &known{revision: &revision{opened: &seal.Opened{Plain: seal.Plain{Content: json.RawMessage(c.head)}}}}
		if _, err := decodeHead(k); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", c.head, err, c.want)
		}
	}
}

func TestBundleOfNewerProgram(t *testing.T) {
	_, err := decodeBundle([]byte(`{"type":"coffer/bundle","version":2,"vault":"v","space":"s","sealed":"AA"}`))
	if !errors.Is(err, coffer.Invalid) {
		t.Errorf("%v", err)
	}
}

func FuzzBundle(f *testing.F) {
	f.Add([]byte(`{"type":"coffer/bundle","version":1,"vault":"https://vault.example/edvs/z1","space":"main","sealed":"AA"}`))
	f.Add([]byte(`{"type":"coffer/bundle","version":2}`))
	f.Add([]byte(`{"type":"coffer/bundle","version":1,"expires":"2027-01-01T00:00:00Z","sealed":"_w"}`))
	f.Fuzz(func(t *testing.T, content []byte) {
		b, err := decodeBundle(content)
		if err == nil && (b.Version != bundleVersion || len(b.Sealed) > maxBundle) {
			t.Errorf("taken: %+v", b)
		}
	})
}

func FuzzPlace(f *testing.F) {
	f.Add(textOfPlace(newPlaceJSON(newOpenPlace())))
	f.Add(".")
	f.Add("z1.AAAA")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := parsePlace(text)
		if err == nil && textOfPlace(newPlaceJSON(p)) != text {
			t.Errorf("%q is read as another place", text)
		}
	})
}

// TestCounts tells whether keys were rotated since.
func TestCounts(t *testing.T) {
	for _, c := range []struct {
		now, then []int
		want      bool
	}{
		{nil, nil, false},
		{[]int{1, 1, 1, 1}, nil, false},
		{[]int{1, 1, 1, 2}, nil, true},
		{[]int{2, 2, 2, 2}, []int{2, 2, 2, 2}, false},
		{[]int{2, 2, 2, 2}, []int{1, 3, 3, 3}, true},
		{nil, []int{3, 3, 3, 3}, false},
	} {
		if got := sinceAny(c.now, c.then); got != c.want {
			t.Errorf("%v since %v: %v", c.now, c.then, got)
		}
	}
}
