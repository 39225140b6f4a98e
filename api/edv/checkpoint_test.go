package edv

import (
	"errors"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

const hash = `"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="`

func TestDecodeProof(t *testing.T) {
	for _, tt := range []struct {
		name, body string
		hashes     int // -1: Corrupt
	}{
		{"none", `{"hashes":[]}`, 0},
		{"two", `{"hashes":[` + hash + `,` + hash + `],"more":1}`, 2},
		{"as many as may be", `{"hashes":[` + strings.Repeat(hash+",", maxProof-1) + hash + `]}`, maxProof},
		{"too many", `{"hashes":[` + strings.Repeat(hash+",", maxProof) + hash + `]}`, -1},
		{"no list", `{}`, -1},
		{"null", `{"hashes":null}`, -1},
		{"short", `{"hashes":["AAEC"]}`, -1},
		{"unpadded", `{"hashes":[` + strings.Replace(hash, "=", "", 1) + `]}`, -1},
		{"not canonical", `{"hashes":[` + strings.Replace(hash, "h8=", "h9=", 1) + `]}`, -1},
		{"line break", `{"hashes":[` + strings.Replace(hash, "h8=", `h8=\n`, 1) + `]}`, -1},
		{"no JSON", `x`, -1},
	} {
		proof, err := decodeProof([]byte(tt.body))
		if tt.hashes < 0 && !errors.Is(err, coffer.Corrupt) || tt.hashes >= 0 && (err != nil || len(proof) != tt.hashes) {
			t.Errorf("%s: %d hashes, %v; want %d", tt.name, len(proof), err, tt.hashes)
		}
	}
}

func FuzzDecodeProof(f *testing.F) {
	f.Add([]byte(`{"hashes":[` + hash + `]}`))
	f.Add([]byte(`{"hashes":[]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		if proof, err := decodeProof(b); err != nil && !errors.Is(err, coffer.Corrupt) || len(proof) > maxProof {
			t.Errorf("%d hashes, %v", len(proof), err)
		}
	})
}
