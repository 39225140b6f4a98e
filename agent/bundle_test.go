package agent

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/keyring"
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
	f.Add([]byte(`{"type":"coffer/bundle","version":1,"vault":"https://v.example/edvs/z1","space":"main","sealed":"AA"}`))
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
	f.Add(textOfPlace(newPlaceJSON(newOpenPlace())) + "\n") // base64 decoders pass over it
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

// TestPlaces derives the places that doc/devices.md has as examples.
func TestPlaces(t *testing.T) {
	pairing, err := keyring.ParsePairing("0000-0000-0000-0000-0000-0000")
	if err != nil {
		t.Fatal(err)
	}
	phrase, err := keyring.ParsePhrase(strings.Repeat("abandon ", 23) + "art")
	if err != nil {
		t.Fatal(err)
	}
	p, r := pairingPlace(pairing), recoveryPlace(phrase)
	ref, open := p.ref(), p.secret()
	for _, c := range []struct {
		what string
		got  []byte
		want string
	}{
		{"pairing id", p.ID[:], "1943c8df12b2903e2172c97e30fdd787"},
		{"pairing key", p.Key[:], "3920aaf991a3790f7a4a23de6d52d308c727eae6c61e353710dce1440836aad1"},
		{"object key", ref.Key[:], "bdb434da3d4d5551bd0fda5d108f5e7791eb3d50fb2ca0edd3620394ac9c88e2"},
		{"write key", ref.Write[:], "4f9b896820cc114333eaff2a2ab4abb9844e7396a4673411e11fd2fcc979e5f0"},
		{"open secret", open[:], "b103b768fd9bfe8735c6e35bc33212f0c930fa3474927d2d44427add5ed6a434"},
		{"phrase id", r.ID[:], "3a3c37276b662fd9645610e125e4d9af"},
		{"phrase key", r.Key[:], "02d891ef9f0432ea3588e58e411fc35068b151fa2753df81b6623a07a6fb1a1a"},
	} {
		if got := hex.EncodeToString(c.got); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
	const text = "z19murmRZdWeCeuzkAp96Lcqt.OSCq-ZGjeQ96SiPebVLTCMcn6ubGHjU3ENzhRAg2qtE"
	if got := textOfPlace(newPlaceJSON(p)); got != text {
		t.Errorf("as text %s, want %s", got, text)
	}
}
