package keyring

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/hpke"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

// must returns v; it is for what cannot fail unless the test is wrong.
func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// saved returns the Ring as it is after a file was written and read.
func saved(t testing.TB, r *Ring) *Ring {
	t.Helper()
	path := filepath.Join(t.TempDir(), "k")
	if err := Save(path, r, words("x")); err != nil {
		t.Fatal(err)
	}
	return must(Load(path, say("x")))
}

// fingerprint is all that a keyring does, for comparing.
func fingerprint(t testing.TB, k coffer.Owner) string {
	t.Helper()
	ctx := context.Background()
	pseudonym := must(k.Pseudonym(ctx, "p"))
	parts := []string{
		string(must(k.Sign(ctx, coffer.Statement, []byte("m")))), string(must(k.MAC(ctx, []byte("m")))),
		string(must(k.Agree(ctx, append([]byte{9}, make([]byte, 31)...)))), string(must(k.Derive(ctx, "l"))),
		pseudonym.DID(), pseudonym.Key(coffer.HMACKey).ID,
	}
	for use := coffer.SigningKey; use <= coffer.DeliveryKey; use++ {
		parts = append(parts, k.Key(use).ID, k.Key(use).Controller, string(k.Key(use).Public))
	}
	return strings.Join(parts, "|")
}

func sealTo(t testing.TB, k coffer.PublicKey, info, plaintext string) []byte {
	t.Helper()
	public := must(hpke.MLKEM768X25519().NewPublicKey(k.Public))
	return must(hpke.Seal(public, hpke.HKDFSHA256(), hpke.ChaCha20Poly1305(), []byte(info), []byte(plaintext)))
}

// TestRotated rotates each use by itself, and all, and looks at what changed and what still works.
func TestRotated(t *testing.T) {
	ctx := context.Background()
	for kind, old := range map[string]*Ring{"generated": Generate(), "imported": imported(t, 0x11)} {
		before := fingerprint(t, old)
		for name, c := range map[string]struct {
			uses    []Use
			changed []coffer.KeyUse
			vault   bool
		}{
			"signing":  {[]Use{Signing}, []coffer.KeyUse{coffer.SigningKey, coffer.AgreementKey}, false},
			"delivery": {[]Use{Delivery}, []coffer.KeyUse{coffer.DeliveryKey}, false},
			"hmac":     {[]Use{HMAC}, []coffer.KeyUse{coffer.HMACKey}, false},
			"vault":    {[]Use{Vault}, nil, true},
			"all": {nil, []coffer.KeyUse{
				coffer.SigningKey, coffer.AgreementKey, coffer.HMACKey, coffer.DeliveryKey}, true},
		} {
			rotated := must(old.Rotated(c.uses...))
			for where, r := range map[string]*Ring{"memory": rotated, "file": saved(t, rotated)} {
				what := kind + ", " + name + ", " + where
				for use := coffer.SigningKey; use <= coffer.DeliveryKey; use++ {
					_, was, _ := strings.Cut(old.Key(use).ID, "#")
					_, is, _ := strings.Cut(r.Key(use).ID, "#")
					if use == coffer.HMACKey {
						was, is = old.Key(use).ID, r.Key(use).ID
					}
					if (was != is) != slices.Contains(c.changed, use) {
						t.Errorf("%s: key %d: was %s, is %s", what, use, was, is)
					}
				}
				if same := bytes.Equal(must(r.Derive(ctx, "x")), must(old.Derive(ctx, "x"))); same == c.vault {
					t.Errorf("%s: what is derived is the same: %v", what, same)
				}
				for _, use := range allUses {
					want := 1
					if len(c.uses) == 0 || slices.Contains(c.uses, use) {
						want = 2
					}
					if got := r.Generations(use); got != want {
						t.Errorf("%s: %d generations of use %d, want %d", what, got, use, want)
					}
				}
				if b, err := r.Receive(ctx, []byte("i"), sealTo(t, old.Key(coffer.DeliveryKey), "i", "m")); string(b) != "m" {
					t.Errorf("%s: delivered to the old key: %q, %v", what, b, err)
				}
				if b, err := r.Receive(ctx, []byte("i"), sealTo(t, r.Key(coffer.DeliveryKey), "i", "m")); string(b) != "m" {
					t.Errorf("%s: delivered to the new key: %q, %v", what, b, err)
				}
				if r.Key(coffer.DeliveryKey).ID != rotated.Key(coffer.DeliveryKey).ID {
					t.Errorf("%s: another delivery key", what)
				}
			}
		}
		if fingerprint(t, old) != before {
			t.Errorf("%s: rotating changed the old Ring", kind)
		}
		old.Close()
	}
}

func TestEarlier(t *testing.T) {
	ctx := context.Background()
	rings := []*Ring{Generate()}
	for _, uses := range [][]Use{{Signing}, {HMAC}, {Signing, Delivery}, {Vault}, nil} {
		rings = append(rings, must(rings[len(rings)-1].Rotated(uses...)))
	}
	r := saved(t, rings[len(rings)-1])
	if len(rings[0].Earlier()) != 0 {
		t.Error("a Ring that was never rotated has earlier keys")
	}
	all := append([]coffer.Keyring{r}, r.Earlier()...)
	for i, old := range rings {
		for use := coffer.SigningKey; use <= coffer.DeliveryKey; use++ {
			found := slices.IndexFunc(all, func(k coffer.Keyring) bool {
				_, a, _ := strings.Cut(k.Key(use).ID, "#")
				_, b, _ := strings.Cut(old.Key(use).ID, "#")
				return a == b && bytes.Equal(k.Key(use).Public, old.Key(use).Public)
			})
			if found < 0 {
				t.Errorf("ring %d: its key for use %d is in no earlier keyring", i, use)
				continue
			}
			if use == coffer.AgreementKey {
				peer := Generate()
				a := must(all[found].Agree(ctx, peer.Key(use).Public))
				if !bytes.Equal(a, must(peer.Agree(ctx, old.Key(use).Public))) {
					t.Errorf("ring %d: agrees on something else", i)
				}
			}
		}
		at := must(r.At(Vault, old.Generations(Vault)-1))
		if !bytes.Equal(must(at.Derive(ctx, "x")), must(old.Derive(ctx, "x"))) {
			t.Errorf("ring %d: its vault secret is not found", i)
		}
		if must(at.Pseudonym(ctx, "x")).DID() != must(old.Pseudonym(ctx, "x")).DID() {
			t.Errorf("ring %d: its pseudonyms are not found", i)
		}
		mac := must(r.At(HMAC, old.Generations(HMAC)-1))
		if mac.Key(coffer.HMACKey).ID != old.Key(coffer.HMACKey).ID ||
			!bytes.Equal(must(mac.MAC(ctx, []byte("x"))), must(old.MAC(ctx, []byte("x")))) {
			t.Errorf("ring %d: its HMAC key is not found", i)
		}
		signing := must(r.At(Signing, old.Generations(Signing)-1))
		s := must(signing.Sign(ctx, coffer.Statement, []byte("m")))
		if signing.DID() != old.DID() || !ed25519.Verify(old.Key(coffer.SigningKey).Public, []byte("m"), s) {
			t.Errorf("ring %d: its signing key is not found", i)
		}
	}
	for _, bad := range []struct {
		use Use
		n   int
	}{{Vault, -1}, {Vault, r.Generations(Vault)}, {Vault, math.MaxInt}, {0, 0}, {Vault + 1, 0}} {
		if _, err := r.At(bad.use, bad.n); !errors.Is(err, coffer.NotExist) {
			t.Errorf("use %d at %d: %v", bad.use, bad.n, err)
		}
	}
}

func TestForget(t *testing.T) {
	ctx := context.Background()
	first := Generate()
	r := must(must(first.Rotated()).Rotated())
	secret := must(r.At(Vault, 0))
	kept := must(secret.Derive(ctx, "x"))
	for _, use := range allUses {
		next := must(r.Forget(use, 1))
		next = saved(t, next)
		if next.Generations(use) != 3 {
			t.Errorf("use %d: %d generations, want 3", use, next.Generations(use))
		}
		if _, err := next.At(use, 0); !errors.Is(err, coffer.NotExist) {
			t.Errorf("use %d: forgotten, but there: %v", use, err)
		}
		a, b := must(r.At(use, 1)), must(next.At(use, 1))
		if fingerprint(t, a) != fingerprint(t, b) || fingerprint(t, r) != fingerprint(t, next) {
			t.Errorf("use %d: forgetting changed what stays", use)
		}
		if !slices.Equal(next.FormerDIDs(), r.FormerDIDs()) {
			t.Errorf("use %d: former names forgotten", use)
		}
		if from, to, err := VerifySuccession(must(next.Succession(first.DID()))); from != first.DID() || to != r.DID() {
			t.Errorf("use %d: succession from %s to %s, %v", use, from, to, err)
		}
		again := must(next.Forget(use, 1))
		if fingerprint(t, again) != fingerprint(t, next) || again.Generations(use) != 3 {
			t.Errorf("use %d: forgetting twice", use)
		}
		if more := must(again.Rotated()); more.Generations(use) != 4 {
			t.Errorf("use %d: %d generations after one more", use, more.Generations(use))
		}
	}
	if !bytes.Equal(must(must(r.At(Vault, 0)).Derive(ctx, "x")), kept) {
		t.Error("forgetting changed the old Ring")
	}
	next := must(r.Forget(Delivery, 2))
	late := sealTo(t, first.Key(coffer.DeliveryKey), "", "m")
	if _, err := next.Receive(ctx, nil, late); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("received with a forgotten key: %v", err)
	}
	for _, bad := range []struct {
		use    Use
		before int
	}{{Vault, 3}, {Vault, -1}, {0, 0}, {Vault + 1, 0}} {
		if _, err := r.Forget(bad.use, bad.before); !errors.Is(err, coffer.Invalid) {
			t.Errorf("use %d before %d: %v", bad.use, bad.before, err)
		}
	}
	// A file of version 1 has a root, from which generation 0 could be had again.
	if s := saved(t, next).secrets; s.root != nil {
		t.Error("the root is still there")
	}
}

func TestGenerationsAreBounded(t *testing.T) {
	r := Generate()
	for range maxGenerations - 1 {
		r = must(r.Rotated())
	}
	for _, use := range allUses {
		if _, err := r.Rotated(use); !errors.Is(err, coffer.Exhausted) {
			t.Errorf("use %d: a generation too many: %v", use, err)
		}
		next := must(r.Forget(use, 60))
		if _, err := next.Rotated(use); errors.Is(err, coffer.Exhausted) != (use == Signing) {
			t.Errorf("use %d: after forgetting some: %v", use, err)
		}
	}
	if fingerprint(t, saved(t, r)) != fingerprint(t, r) {
		t.Error("the largest Ring does not come back")
	}
	if from, to, err := VerifySuccession(must(r.Succession(r.FormerDIDs()[0]))); err != nil || to != r.DID() {
		t.Errorf("the longest succession: %s, %s, %v", from, to, err)
	}
	bundle := must(r.SealBundleUnder([32]byte{1}))
	if fingerprint(t, must(OpenBundleUnder([32]byte{1}, bundle))) != fingerprint(t, r) {
		t.Error("the largest bundle does not come back")
	}
	for name, uses := range map[string][]Use{"unknown": {9}, "zero": {0}, "twice": {Vault, Vault}} {
		if _, err := Generate().Rotated(uses...); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestVersions follows a file from version 1 to version 2, from which there is no way back.
func TestVersions(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	version := func() int { return must(parse(must(readFile("", path, false)))).version }
	first := Generate()
	if err := Save(path, first, words("x")); err != nil || version() != 1 {
		t.Fatalf("version %d, %v", version(), err)
	}
	r := must(must(Load(path, say("x"))).WithDevice())
	if err := Replace(path, r, words("x")); err != nil || version() != 2 {
		t.Fatalf("version %d, %v", version(), err)
	}
	again := must(Load(path, say("x")))
	id, public := r.Device()
	id2, public2 := again.Device()
	if id != id2 || !bytes.Equal(public, public2) || id == [16]byte{} || fingerprint(t, again) != fingerprint(t, first) {
		t.Error("not the same identity or device")
	}
	if id, public := first.Device(); id != [16]byte{} || public != nil {
		t.Error("a Ring of version 1 has a device")
	}
	for _, old := range []*Ring{first, imported(t, 0x11)} {
		if err := Replace(path, old, words("x")); !errors.Is(err, coffer.Conflict) || version() != 2 {
			t.Errorf("replaced by version 1: %v", err)
		}
	}
	if err := ChangePassphrase(path, []byte("x"), []byte("y")); err != nil || version() != 2 {
		t.Errorf("changed the passphrase: %v", err)
	}
	// A file that a newer program wrote is not to be lost either.
	newer := write(t, []byte(strings.Replace(string(sealed(t)), "keyring/1", "keyring/3", 1)))
	if err := Replace(newer, r, words("x")); !errors.Is(err, coffer.Conflict) {
		t.Errorf("replaced a newer file: %v", err)
	}
	if err := Replace(write(t, []byte("no keyring")), r, words("x")); err != nil {
		t.Errorf("replaced something else: %v", err)
	}
	device := must(r.Rotated(Vault))
	if id3, _ := device.Device(); id3 != id {
		t.Error("rotating made another device")
	}
}

// TestCompose opens files with passphrases in either form of Unicode.
func TestCompose(t *testing.T) {
	const composedWord, partsWord = "cl\u00e9", "cle\u0301"
	r := Generate()
	for _, word := range []string{composedWord, partsWord} {
		path := filepath.Join(t.TempDir(), "k")
		if err := Save(path, r, words(word)); err != nil {
			t.Fatal(err)
		}
		for _, typed := range []string{composedWord, partsWord} {
			if _, err := Load(path, say(typed)); err != nil {
				t.Errorf("saved under %+q, typed %+q: %v", word, typed, err)
			}
		}
		if _, err := Load(path, say("cle")); !errors.Is(err, coffer.Locked) {
			t.Errorf("opened without the accent: %v", err)
		}
	}
	// As older programs wrote it: under the bytes that were typed.
	secrets, version, err := r.marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, h, err := words("x").newKey(bytes.NewReader(make([]byte, saltSize)))
	if err != nil {
		t.Fatal(err)
	}
	old := must(seal(secrets, version, cheap.key([]byte(partsWord), make([]byte, saltSize)), h,
		bytes.NewReader(make([]byte, 24))))
	if _, err := Load(write(t, old), say(partsWord)); err != nil {
		t.Errorf("an older file: %v", err)
	}
	if _, err := Load(write(t, old), say(composedWord)); !errors.Is(err, coffer.Locked) {
		t.Errorf("an older file, by the other form: %v", err)
	}
	given := []byte(partsWord)
	if err := Save(filepath.Join(t.TempDir(), "k"), r, Passphrase(given)); err != nil || string(given) != partsWord {
		t.Errorf("the caller's passphrase became %q, %v", given, err)
	}
	for name, word := range map[string]string{
		"bytes that are no text": "\xff\xfe", "short enough once composed": strings.Repeat("e\u0301", maxPassphrase/2),
	} {
		path := filepath.Join(t.TempDir(), "k")
		if err := Save(path, r, words(word)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if _, err := Load(path, say(word)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, word := range []string{strings.Repeat("e\u0301", maxPassphrase/2+1), strings.Repeat("x", 1<<20)} {
		if err := Save(filepath.Join(t.TempDir(), "k"), r, words(word)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%d bytes: %v", len(word), err)
		}
	}
}
