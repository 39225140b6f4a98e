package keyring

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

var update = flag.Bool("update", false, "write what can be made again in testdata anew, and what is missing")

// formatPage returns doc/keyring.md.
func formatPage(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "doc", "keyring.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// count returns n bytes that count from a first one.
func count(from, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(from + i)
	}
	return b
}

// golden returns a file of testdata, which is made of b first if it is to be.
func golden(t *testing.T, name string, b []byte) []byte {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return kept
}

// listed is the identity of version 2 in doc/keyring.md: of the root there, with a second generation of known seeds.
func listed(t *testing.T) *Ring {
	t.Helper()
	r := must(fromRoot(count(0x00, 32)).WithDevice())
	s := must(r.copied(""))
	for i, use := range allUses {
		s.seeds[use] = append(s.seeds[use], count(0x40+0x20*i, 32))
	}
	s.root = nil
	last, _ := newSigner(s.seeds[Signing][0])
	next, _ := newSigner(s.seeds[Signing][1])
	ids := append(slices.Clone(r.hmacIDs), uuid([16]byte(count(0xc0, 16))))
	r = newRing(s, r.first, ids, []succession{succeed(last.signing, next.signing)})
	r.setDevice([16]byte(count(0xd0, 16)), count(0xe0, 32))
	return r
}

// TestVector makes the files that doc/keyring.md shows from the same inputs, to the byte, and opens them.
func TestVector(t *testing.T) {
	for name, r := range map[string]*Ring{"v1.keyring": fromRoot(count(0x00, 32)), "v2.keyring": listed(t)} {
		secrets, version, err := r.marshal()
		if err != nil {
			t.Fatal(err)
		}
		key, h, err := Passphrase([]byte("correct horse battery staple")).newKey(bytes.NewReader(count(0x20, saltSize)))
		if err != nil {
			t.Fatal(err)
		}
		made, err := seal(secrets, version, key, h, bytes.NewReader(count(0x30, 24)))
		if err != nil {
			t.Fatal(err)
		}
		if kept := golden(t, name, made); !bytes.Equal(made, kept) {
			t.Errorf("made\n%sbut %s is\n%s", made, name, kept)
		}
		if !strings.Contains(formatPage(t), "```\n"+string(made)+"```\n") {
			t.Errorf("doc/keyring.md does not show\n%s", made)
		}
		again, err := Load(filepath.Join("testdata", name), say("correct horse battery staple"))
		if err != nil {
			t.Fatal(err)
		}
		same(t, r, again)
		if fingerprint(t, r) != fingerprint(t, again) || r.deviceID != again.deviceID {
			t.Errorf("%s: not the same identity", name)
		}
	}
}

// TestKnownAnswers2 pins what version 2 makes of known inputs; the same values stand in doc/keyring.md.
func TestKnownAnswers2(t *testing.T) {
	ctx := context.Background()
	page := formatPage(t)
	shows := func(what, value string) {
		t.Helper()
		if !strings.Contains(page, value) {
			t.Errorf("doc/keyring.md does not have %s: %s", what, value)
		}
	}
	sum := func(b []byte) string { s := sha256.Sum256(b); return hex.EncodeToString(s[:]) }
	r := fromRoot(count(0x00, 32))
	shows("what is derived", hex.EncodeToString(must(r.Derive(ctx, "example"))))
	shows("pseudonym", must(r.Pseudonym(ctx, "example")).DID())
	shows("pseudonym's HMAC key", must(r.Pseudonym(ctx, "example")).Key(coffer.HMACKey).ID)
	if b := Bearer([32]byte(count(0x00, 32))); fingerprint(t, b) != fingerprint(t, r) {
		t.Error("a bearer's seed is not a root")
	}
	i := must(FromSeeds(count(0x40, 32), count(0x60, 32), "urn:example:hmac"))
	shows("imported delivery seed", hex.EncodeToString(i.secrets.seeds[Delivery][0]))
	shows("imported vault secret", hex.EncodeToString(i.secrets.seeds[Vault][0]))

	two := listed(t)
	shows("second DID", two.DID())
	shows("second delivery key", two.Key(coffer.DeliveryKey).ID)
	shows("second HMAC key", two.Key(coffer.HMACKey).ID)
	shows("device's key", sum(two.devicePublic))
	statement := must(two.Succession(r.DID()))
	shows("succession", "```\n"+statement+"\n```\n")

	card := must(two.Card(ctx, "Ada"))
	if kept := golden(t, "ada.card", []byte(card+"\n")); string(kept) != card+"\n" {
		t.Errorf("made\n%s\nbut ada.card is\n%s", card, kept)
	}
	shows("card", sum([]byte(card)))

	sealed := must(two.sealBundleUnder([32]byte(count(0x00, 32)), bytes.NewReader(count(0x30, 24))))
	shows("bundle", sum(sealed))
	kept := golden(t, "secret.bundle", sealed)
	if !bytes.Equal(sealed, kept) {
		t.Error("secret.bundle is another one")
	}
	opened := must(OpenBundleUnder([32]byte(count(0x00, 32)), kept))
	if fingerprint(t, opened) != fingerprint(t, two) {
		t.Error("secret.bundle holds another identity")
	}

	code := formatCode([codeData]byte(count(0, codeData)))
	shows("pairing code", code)
	p := must(ParsePairing(code))
	id, open, key := p.ID(), p.Secret(), p.Key()
	shows("pairing's object", hex.EncodeToString(id[:]))
	shows("pairing's open-access secret", hex.EncodeToString(open[:]))
	shows("pairing's key", hex.EncodeToString(key[:]))
	shows("pairing's bearer", p.Bearer().DID())

	words := phrase([32]byte(count(0x00, 32)))
	shows("phrase", words)
	recovery := must(ParsePhrase(words))
	id, open = recovery.ID(), recovery.Secret()
	shows("phrase's object", hex.EncodeToString(id[:]))
	shows("phrase's open-access secret", hex.EncodeToString(open[:]))
	shows("phrase's key", sum(recovery.Public()))

	// What HPKE sealed cannot be made again: it is random.
	for name, made := range map[string]func() []byte{
		"phrase.bundle": func() []byte { return must(two.SealBundle(recovery.Public())) },
		"delivery":      func() []byte { return sealTo(t, r.Key(coffer.DeliveryKey), "example", "delivered") },
	} {
		if _, err := os.Stat(filepath.Join("testdata", name)); err != nil && *update {
			golden(t, name, made())
		}
	}
	bundle, err := os.ReadFile(filepath.Join("testdata", "phrase.bundle"))
	if err != nil {
		t.Fatal(err)
	}
	if opened := must(recovery.Open(bundle)); fingerprint(t, opened) != fingerprint(t, two) {
		t.Error("phrase.bundle holds another identity")
	}
	sealed, err = os.ReadFile(filepath.Join("testdata", "delivery"))
	if err != nil {
		t.Fatal(err)
	}
	if b, err := two.Receive(ctx, []byte("example"), sealed); err != nil || string(b) != "delivered" {
		t.Errorf("delivery: %q, %v", b, err)
	}
}
