package keyring

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

// TestPhrase compares with vectors of BIP-39 (trezor/python-mnemonic, vectors.json).
func TestPhrase(t *testing.T) {
	for b, want := range map[byte]string{
		0x00: strings.Repeat("abandon ", 23) + "art",
		0x7f: strings.Repeat("legal winner thank year wave sausage worth useful ", 2) +
			"legal winner thank year wave sausage worth title",
		0x80: strings.Repeat("letter advice cage absurd amount doctor acoustic avoid ", 2) +
			"letter advice cage absurd amount doctor acoustic bless",
		0xff: strings.Repeat("zoo ", 23) + "vote",
	} {
		entropy := [32]byte(bytes.Repeat([]byte{b}, 32))
		if got := phrase(entropy); got != want {
			t.Errorf("%x: %s", b, got)
		}
		if r := must(ParsePhrase(want)); r.entropy() != entropy {
			t.Errorf("%x: %x", b, r.entropy())
		}
	}
}

func TestParsePhrase(t *testing.T) {
	words := NewPhrase()
	r := must(ParsePhrase(words))
	list := strings.Fields(words)
	wide := strings.Map(func(c rune) rune { // as some keyboards of the Far East type
		if c == ' ' {
			return '\u3000'
		}
		return c - 'a' + '\uff41'
	}, words)
	for name, typed := range map[string]string{
		"capitals": strings.ToUpper(words), "spaces": "  " + strings.Join(list, " \t\r\n ") + "\n", "wide": wide,
	} {
		again, err := ParsePhrase(typed)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		} else if again.ID() != r.ID() || again.Secret() != r.Secret() || !bytes.Equal(again.Public(), r.Public()) {
			t.Errorf("%s: another phrase", name)
		}
	}
	if r.ID() == (coffer.ObjectID{}) || len(r.Public()) != deliverySize {
		t.Errorf("id %v, key of %d bytes", r.ID(), len(r.Public()))
	}
	with := func(i int, word string) string {
		changed := slices.Clone(list)
		changed[i] = word
		return strings.Join(changed, " ")
	}
	other := "zoo"
	if list[0] == other {
		other = "abandon"
	}
	mismatch := strings.Join(append(slices.Repeat([]string{"abandon"}, 23), "zoo"), " ")
	for name, c := range map[string]struct{ typed, text string }{
		"empty":          {"", "24 words, not 0"},
		"23":             {strings.Join(list[1:], " "), "24 words, not 23"},
		"25":             {words + " zoo", "24 words, not 25"},
		"12 that fit":    {strings.Repeat("abandon ", 11) + "about", "24 words, not 12"},
		"first unknown":  {with(0, "xyzzy"), "word 1 is none"},
		"last unknown":   {with(23, "xyzzy"), "word 24 is none"},
		"seventh cut":    {with(6, "abando"), "word 7 is none"},
		"do not fit":     {mismatch, "do not fit together"},
		"far too long":   {strings.Repeat("abandon ", 1000), "too long"},
		"another script": {with(4, "новый"), "word 5 is none"},
	} {
		_, err := ParsePhrase(c.typed)
		if !errors.Is(err, coffer.Invalid) || !strings.Contains(err.Error(), c.text) {
			t.Errorf("%s: %v", name, err)
		}
		if err != nil && (strings.Contains(err.Error(), "xyzzy") || strings.Contains(err.Error(), "abando")) {
			t.Errorf("%s: the error has a word of the phrase: %v", name, err)
		}
	}
	r.Public()[0] ^= 1
	if !bytes.Equal(r.Public(), must(ParsePhrase(words)).Public()) {
		t.Error("a caller changed the key")
	}
}

func FuzzParsePhrase(f *testing.F) {
	f.Add(phrase([32]byte{}))
	f.Add(strings.Repeat("zoo ", 24))
	f.Add("\u3000")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParsePhrase(s)
		if err != nil {
			if !errors.Is(err, coffer.Invalid) {
				t.Error(err)
			}
			return
		}
		if again, err := ParsePhrase(phrase(r.entropy())); err != nil || again.ID() != r.ID() {
			t.Errorf("its own words: %v", err)
		}
	})
}
