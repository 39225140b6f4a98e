package keyring

import (
	"errors"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

func samePairing(a, b Pairing) bool {
	return a.ID() == b.ID() && a.Secret() == b.Secret() && a.Key() == b.Key() && a.Bearer().DID() == b.Bearer().DID()
}

func TestPairing(t *testing.T) {
	code, p := NewPairing()
	if !regexp.MustCompile(`^([0-9A-HJKMNP-TV-Z]{4}-){5}[0-9A-HJKMNP-TV-Z]{4}$`).MatchString(code) {
		t.Errorf("the code looks like %s", code)
	}
	for name, typed := range map[string]string{
		"as it is": code, "small": strings.ToLower(code), "without hyphens": strings.ReplaceAll(code, "-", ""),
		"spaces": " " + strings.ReplaceAll(code, "-", "  ") + "\n", "O": strings.ReplaceAll(code, "0", "o"),
		"I": strings.ReplaceAll(code, "1", "I"), "l": strings.ReplaceAll(code, "1", "l"),
		"pretty hyphens": strings.ReplaceAll(code, "-", "\u2011"),
	} {
		again, err := ParsePairing(typed)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if !samePairing(p, again) {
			t.Errorf("%s: another pairing", name)
		}
	}
	other, q := NewPairing()
	if code == other || samePairing(p, q) || p.ID() == q.ID() || p.Key() == q.Key() {
		t.Error("two codes, one pairing")
	}
	if string(p.derive("open", 32)) == string(p.derive("bundle", 32)) {
		t.Error("one secret for two uses")
	}
	for name, typed := range map[string]string{
		"empty": "", "short": code[1:], "long": code + "0", "U": "U" + code[1:], "other letters": "é" + code[1:],
		"far too long": strings.Repeat(code, 1000),
	} {
		if _, err := ParsePairing(typed); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestPairingTypos makes mistakes in a code: any one, two neighbours swapped, and random ones of two to four
// characters.
func TestPairingTypos(t *testing.T) {
	code, _ := NewPairing()
	plain := strings.ReplaceAll(code, "-", "")
	wrong := func(typed []byte) {
		t.Helper()
		if string(typed) == plain {
			return
		}
		if _, err := ParsePairing(string(typed)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s for %s: %v", typed, plain, err)
		}
	}
	for i := range plain {
		for _, c := range []byte(codeDigits) {
			typed := []byte(plain)
			typed[i] = c
			wrong(typed)
		}
		for j := range i {
			typed := []byte(plain)
			typed[i], typed[j] = typed[j], typed[i]
			wrong(typed)
		}
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 20000 {
		typed := []byte(plain)
		for range 2 + random.IntN(3) {
			typed[random.IntN(codeSize)] = codeDigits[random.IntN(32)]
		}
		wrong(typed)
	}
}

func FuzzParsePairing(f *testing.F) {
	code, _ := NewPairing()
	f.Add(code)
	f.Add("0000-0000-0000-0000-0000-0000")
	f.Add("\u0131\u212a")
	f.Fuzz(func(t *testing.T, s string) {
		p, err := ParsePairing(s)
		if err != nil {
			if !errors.Is(err, coffer.Invalid) {
				t.Error(err)
			}
			return
		}
		if again, err := ParsePairing(formatCode(p.code())); err != nil || !samePairing(p, again) {
			t.Errorf("its own code: %v", err)
		}
	})
}
