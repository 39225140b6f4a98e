package keyring

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

func TestSuccession(t *testing.T) {
	first := Generate()
	second := must(first.Rotated(Signing))
	third := must(must(second.Rotated(Vault)).Rotated(Signing))
	if len(first.FormerDIDs()) != 0 || !slices.Equal(third.FormerDIDs(), []string{first.DID(), second.DID()}) {
		t.Errorf("former names %v", third.FormerDIDs())
	}
	for name, c := range map[string]struct{ from, to *Ring }{
		"one step": {first, second}, "two steps": {first, third}, "the last step": {second, third},
	} {
		statement := must(c.to.Succession(c.from.DID()))
		from, to, err := VerifySuccession(statement)
		if from != c.from.DID() || to != c.to.DID() || err != nil {
			t.Errorf("%s: from %s to %s, %v", name, from, to, err)
		}
		b, _ := decode(strings.TrimPrefix(statement, successionPrefix))
		for i := range b {
			changed := slices.Clone(b)
			changed[i] ^= 1
			from, to, err := VerifySuccession(successionPrefix + encode(changed))
			if err == nil || from != "" || to != "" {
				t.Errorf("%s: byte %d changed, and nobody saw it", name, i)
			}
		}
	}
	if _, err := third.Succession(third.DID()); !errors.Is(err, coffer.NotExist) {
		t.Errorf("from the present name: %v", err)
	}
	statement := must(second.Succession(first.DID()))
	b, _ := decode(strings.TrimPrefix(statement, successionPrefix))
	for name, c := range map[string]struct {
		statement string
		kind      coffer.Kind
	}{
		"empty":      {"", coffer.Invalid},
		"no prefix":  {statement[1:], coffer.Invalid},
		"one key":    {successionPrefix + encode(b[:33]), coffer.Invalid},
		"cut":        {statement[:len(statement)-4], coffer.Invalid},
		"newer":      {successionPrefix + encode(append([]byte{2}, b[1:]...)), coffer.Invalid},
		"too long":   {successionPrefix + strings.Repeat("A", 1<<20), coffer.Invalid},
		"64 links":   {successionPrefix + encode(append(b[:1:1], make([]byte, 32+64*successionLink)...)), coffer.Invalid},
		"line break": {statement + "\n", coffer.Invalid},
		"twice":      {successionPrefix + encode(append(slices.Clone(b), b[33:]...)), coffer.Corrupt},
	} {
		if _, _, err := VerifySuccession(c.statement); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// The successor must agree: nobody can make another's name his own.
	s := succeed(first.secrets.signers[0].signing, first.secrets.signers[0].signing)
	if s.leadsTo(first.Key(coffer.SigningKey).Public) {
		t.Error("a key came after itself")
	}
	s = second.former[0]
	s.confirmed = s.signed
	if s.leadsTo(second.Key(coffer.SigningKey).Public) {
		t.Error("the successor did not sign")
	}
}

func FuzzVerifySuccession(f *testing.F) {
	r := must(Generate().Rotated(Signing))
	f.Add(must(r.Succession(r.FormerDIDs()[0])))
	f.Add(successionPrefix)
	f.Fuzz(func(t *testing.T, s string) {
		from, to, err := VerifySuccession(s)
		if err == nil && (!isDID(from) || !isDID(to) || from == to) {
			t.Errorf("from %q to %q", from, to)
		}
		if err != nil && coffer.KindOf(err) == coffer.Other {
			t.Error(err)
		}
	})
}
