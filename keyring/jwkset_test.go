package keyring

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1 "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// sdkVectors are commits and envelopes that the published hub client made.
type sdkVectors struct {
	Parties map[string]struct {
		DID           string
		Kid           string
		PrivateKeyJwk json.RawMessage
	}
	Envelopes []struct{ Name, Signer, Body, JWS, JWE string }
	Commits   []struct {
		Name   string
		Commit jose.JWS
	}
}

func readSDKVectors(t testing.TB) (v sdkVectors) {
	t.Helper()
	b, err := os.ReadFile("../internal/jose/testdata/hub-sdk-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// party returns the keys of somebody in the vectors.
func (v sdkVectors) party(t testing.TB, name string) *JWKSet {
	t.Helper()
	p := v.Parties[name]
	s := NewJWKSet(p.DID)
	if err := s.Add("key-1", p.PrivateKeyJwk); err != nil {
		t.Fatal(err)
	}
	if ids := s.KeyIDs(); len(ids) != 1 || ids[0] != p.Kid {
		t.Fatalf("ids %q", ids)
	}
	return s
}

// TestSDKVectors opens what the published client sealed to a hub, and signs as it does: RS256 has one signature.
func TestSDKVectors(t *testing.T) {
	v := readSDKVectors(t)
	hub := v.party(t, "hub")
	if len(v.Envelopes) == 0 || len(v.Commits) == 0 {
		t.Fatal("no vectors")
	}
	signers := map[string]*JWKSet{"did:test:alice#key-1": v.party(t, "alice"), "did:test:bob#key-1": v.party(t, "bob")}
	signsLike := func(name string, j *jose.JWS) {
		var h struct {
			Kid string `json:"kid"`
		}
		if err := j.Header(&h); err != nil {
			t.Fatal(err)
		}
		got, err := signers[h.Kid].SignInput(context.Background(), h.Kid, coffer.Assertion, j.Input())
		if want, ok := jose.Decode64(j.Signature); err != nil || !ok || !bytes.Equal(got, want) {
			t.Errorf("%s: another signature; %v", name, err)
		}
	}
	for _, c := range v.Commits {
		signsLike(c.Name, &c.Commit)
	}
	for _, e := range v.Envelopes {
		j, err := jose.ParseCompactJWE(e.JWE)
		if err != nil {
			t.Fatal(err)
		}
		r, ok := hub.Reader(j.KeyID())
		if !ok {
			t.Fatal("no reader")
		}
		plaintext, err := j.Open(r)
		if err != nil || string(plaintext) != e.JWS {
			t.Fatalf("%s: %q, %v", e.Name, plaintext, err)
		}
		message, err := jose.ParseCompactJWS(string(plaintext))
		if err != nil {
			t.Fatal(err)
		}
		if body, ok := jose.Decode64(message.Payload); !ok || string(body) != e.Body {
			t.Errorf("%s: body %q", e.Name, body)
		}
		signsLike(e.Name, message)
	}
}

// verifies checks a signature without anything of this package.
func verifies(t *testing.T, k *jose.JWK, message, signature []byte) bool {
	t.Helper()
	kind, public, err := k.Public()
	if err != nil {
		t.Fatal(err)
	}
	digest := sha256.Sum256(message)
	switch kind {
	case jose.Ed25519Key:
		return ed25519.Verify(public, message, signature)
	case jose.P256Key:
		x, _ := jose.Decode64(k.X)
		y, _ := jose.Decode64(k.Y)
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			t.Fatal(err)
		}
		r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
		return ecdsa.Verify(key, digest[:], r, s)
	case jose.Secp256k1Key:
		key, err := secp256k1.ParsePubKey(public)
		if err != nil {
			t.Fatal(err)
		}
		var r, s secp256k1.ModNScalar
		r.SetByteSlice(signature[:32])
		s.SetByteSlice(signature[32:])
		return k1.NewSignature(&r, &s).Verify(digest[:], key)
	}
	n, _ := jose.Decode64(k.N)
	key := &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: 65537}
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, digest[:], signature) == nil
}

// everyKind returns a set with a key of each kind and use.
func everyKind(t testing.TB) *JWKSet {
	t.Helper()
	s := NewJWKSet("did:web:hub.example")
	for _, k := range []struct{ tail, kind, use string }{
		{"rsa", "RSA", ""},
		{"ed", "Ed25519", ""},
		{"ed-sig", "Ed25519", "sig"},
		{"x", "X25519", ""},
		{"x-enc", "X25519", "enc"},
		{"p", "P-256", ""},
		{"p-sig", "P-256", "sig"},
		{"p-enc", "P-256", "enc"},
		{"k", "secp256k1", ""},
	} {
		if err := s.Generate(k.tail, k.kind, k.use); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// TestJWKSet uses each kind of key for what it is for, before and after it was sealed.
func TestJWKSet(t *testing.T) {
	made := everyKind(t)
	secret := [32]byte(count(0x00, 32))
	loaded, err := OpenJWKSet(secret, must(made.Seal(secret)))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(loaded.KeyIDs(), made.KeyIDs()) || loaded.DID() != made.DID() {
		t.Fatalf("%q", loaded.KeyIDs())
	}
	want := map[string]struct {
		alg   string
		reads bool
	}{
		"rsa": {"RS256", true}, "ed": {"EdDSA", false}, "ed-sig": {"EdDSA", false}, "x": {"", true}, "x-enc": {"", true},
		"p": {"ES256", true}, "p-sig": {"ES256", false}, "p-enc": {"", true}, "k": {"ES256K", false},
	}
	message := []byte("message")
	for _, id := range made.KeyIDs() {
		tail := strings.TrimPrefix(id, "did:web:hub.example#")
		if *made.Public(id) != *loaded.Public(id) || made.Public(id).Kid != tail {
			t.Errorf("%s: %+v, %+v", id, made.Public(id), loaded.Public(id))
		}
		for name, s := range map[string]*JWKSet{"made": made, "loaded": loaded} {
			if alg := s.Algorithm(id); alg != want[tail].alg {
				t.Errorf("%s %s: algorithm %q", name, id, alg)
			}
			signature, err := s.SignInput(context.Background(), id, coffer.Authentication, message)
			if want[tail].alg == "" {
				if !errors.Is(err, coffer.Denied) {
					t.Errorf("%s %s: signs, %v", name, id, err)
				}
			} else if err != nil || !verifies(t, made.Public(id), message, signature) {
				t.Errorf("%s %s: signature does not verify, %v", name, id, err)
			}
			r, ok := s.Reader(id)
			if ok != want[tail].reads {
				t.Errorf("%s %s: reads %v", name, id, ok)
			}
			sealed, err := jose.SealCompact(message, jose.CompactRecipient{KeyID: id, Key: made.Public(id)}, "")
			if !ok {
				if err == nil {
					t.Errorf("%s %s: is sealed to", name, id)
				}
				continue
			}
			j, parseErr := jose.ParseCompactJWE(sealed)
			if err != nil || parseErr != nil {
				t.Fatal(err, parseErr)
			}
			if plaintext, err := j.Open(r); err != nil || string(plaintext) != "message" {
				t.Errorf("%s %s: %q, %v", name, id, plaintext, err)
			}
		}
	}
	if _, err := loaded.SignInput(context.Background(), made.KeyIDs()[0], "", message); !errors.Is(err, coffer.Invalid) {
		t.Errorf("without a purpose: %v", err)
	}
	for _, id := range []string{"did:web:hub.example#none", "did:web:hub.example", "#rsa", "did:web:hub.exampl#rsa", ""} {
		_, err := loaded.SignInput(context.Background(), id, coffer.Assertion, message)
		if _, ok := loaded.Reader(id); ok || !errors.Is(err, coffer.NotExist) || loaded.Public(id) != nil ||
			loaded.Algorithm(id) != "" {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestUnder gives keys to an identifier that is made of one.
func TestUnder(t *testing.T) {
	s := NewJWKSet("")
	if err := s.Generate("0", "RSA", ""); err != nil {
		t.Fatal(err)
	}
	did := JWKDID(s.Public("#0"))
	if len(did) < 480 || len(did) > 520 {
		t.Errorf("a DID of %d characters", len(did))
	}
	named := s.Under(did)
	if named.DID() != did || named.Public(did+"#0") == nil || named.Public("#0") != nil || s.Public("#0") == nil {
		t.Errorf("%q", named.KeyIDs())
	}
	if r, ok := named.Reader(did + "#0"); !ok || r.KeyID != did+"#0" {
		t.Error("no reader")
	}
	// What is added to the one is not added to the other.
	for _, set := range []*JWKSet{s, named} {
		if err := set.Generate("1", "Ed25519", ""); err != nil {
			t.Fatal(err)
		}
	}
	if s.Public("#1").X == named.Public(did+"#1").X {
		t.Error("sets share a key that was added later")
	}
}

func TestBadJWK(t *testing.T) {
	v := readSDKVectors(t)
	alice, bob := string(v.Parties["alice"].PrivateKeyJwk), string(v.Parties["bob"].PrivateKeyJwk)
	member := func(jwk, name string) string {
		var m map[string]string
		if err := json.Unmarshal([]byte(jwk), &m); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprintf("%q", m[name])
	}
	swap := func(name string) string { return strings.Replace(alice, member(alice, name), member(bob, name), 1) }
	const ed = `{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",` +
		`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}` // RFC 8037, appendix A.1
	const p = `{"kty":"EC","crv":"P-256","x":"acbIQiuMs3i8_uszEjJ2tpTtRM4EU3yz91PH6CdH2V0",` +
		`"y":"_KcyLj9vWMptnmKtm46GqDz8wf74I5LKgrl2GzH3nSE","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`
	set := NewJWKSet("did:web:hub.example")
	if err := set.Add("good", []byte(ed)); err != nil {
		t.Fatal(err)
	}
	if err := set.Add("good", []byte(ed)); !errors.Is(err, coffer.Conflict) {
		t.Errorf("twice: %v", err)
	}
	for name, jwk := range map[string]string{
		"nothing":        "",
		"public":         strings.Replace(ed, `"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",`, "", 1),
		"another's d":    swap("d"),
		"another's n":    swap("n"),
		"another's p":    swap("p"),
		"no p":           strings.Replace(alice, `"p"`, `"px"`, 1),
		"another Ed x":   strings.Replace(ed, "11qY", "21qY", 1),
		"another scalar": p,
		"short d":        strings.Replace(ed, "nWGx", "", 1),
		"padded d":       strings.Replace(ed, `f2A"`, `f2A="`, 1),
		"more primes":    strings.Replace(alice, "{", `{"oth":[],`, 1),
		"repeated":       strings.Replace(ed, "{", `{"kty":"OKP",`, 1),
		"symmetric":      `{"kty":"oct","k":"AAAA","d":"AAAA"}`,
		"bad use":        strings.Replace(ed, "{", `{"use":"both",`, 1),
		"Ed25519 enc":    strings.Replace(ed, "{", `{"use":"enc",`, 1),
		"long":           strings.Replace(ed, "{", "{"+strings.Repeat(" ", maxFile), 1),
	} {
		if err := set.Add("bad", []byte(jwk)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"kind":       set.Generate("a", "RSA4", ""),
		"use":        set.Generate("a", "Ed25519", "both"),
		"X25519 sig": set.Generate("a", "X25519", "sig"),
		"k1 enc":     set.Generate("a", "secp256k1", "enc"),
		"no tail":    set.Generate("", "Ed25519", ""),
		"long tail":  set.Generate(strings.Repeat("a", maxTail+1), "Ed25519", ""),
		"space":      set.Generate("a b", "Ed25519", ""),
	} {
		if !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := range maxJWKs - 1 {
		if err := set.Generate(fmt.Sprint(i), "X25519", ""); err != nil {
			t.Fatal(err)
		}
	}
	if err := set.Generate("more", "X25519", ""); !errors.Is(err, coffer.Exhausted) {
		t.Errorf("too many: %v", err)
	}
}

// TestSealedJWKSet opens sets that are none, and secrets that no program wrote.
func TestSealedJWKSet(t *testing.T) {
	set := NewJWKSet("did:web:hub.example")
	if err := set.Generate("a", "Ed25519", ""); err != nil {
		t.Fatal(err)
	}
	secret := [32]byte(count(0x00, 32))
	sealed := must(set.Seal(secret))
	if _, err := OpenJWKSet([32]byte(count(0x01, 32)), sealed); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("another secret: %v", err)
	}
	for i, want := range map[int]coffer.Kind{0: coffer.Invalid, 1: coffer.Corrupt, 30: coffer.Corrupt, len(sealed) - 1: coffer.Corrupt} {
		b := bytes.Clone(sealed)
		b[i] ^= 2
		if _, err := OpenJWKSet(secret, b); !errors.Is(err, want) {
			t.Errorf("byte %d: %v", i, err)
		}
	}
	for _, n := range []int{0, 1, 24, 25, len(sealed) - 1} {
		if _, err := OpenJWKSet(secret, sealed[:n]); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%d bytes: %v", n, err)
		}
	}
	good := string(must(set.marshal()))
	if _, err := unmarshalJWKSet([]byte(good)); err != nil {
		t.Fatal(err)
	}
	for name, secrets := range map[string]string{
		"nothing":   "",
		"unknown":   strings.Replace(good, "{", `{"x":1,`, 1),
		"no kid":    strings.Replace(good, `"kid":"a"`, `"kid":""`, 1),
		"no d":      strings.Replace(good, `"d":`, `"p":`, 1),
		"two alike": strings.Replace(good, `"keys":[`, `"keys":[`+good[strings.Index(good, "[")+1:len(good)-2]+",", 1),
	} {
		if _, err := unmarshalJWKSet([]byte(secrets)); !errors.Is(err, coffer.Corrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestJWKSetVector holds a sealed set with a key of each kind, of known secrets, nonce and key, against what there was first.
func TestJWKSetVector(t *testing.T) {
	set := NewJWKSet("did:test:alice")
	for _, k := range []struct{ tail, jwk string }{
		{"key-1", string(readSDKVectors(t).Parties["alice"].PrivateKeyJwk)},
		{"ed", `{"kty":"OKP","crv":"Ed25519","use":"sig","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",` +
			`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`}, // RFC 8037, appendix A.1
		{"x", `{"kty":"OKP","crv":"X25519","d":"XasIfmJKikt54X-Lg4AO5m87sSkmGLb9HC-LJ_-I4Os",` +
			`"x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`}, // RFC 7748, section 6.1: Bob
		{"p", `{"kty":"EC","crv":"P-256","use":"enc","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",` +
			`"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","d":"870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE"}`},
		{"k", `{"kty":"EC","crv":"secp256k1","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g",` +
			`"y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`},
	} {
		if err := set.Add(k.tail, []byte(k.jwk)); err != nil {
			t.Fatalf("%s: %v", k.tail, err)
		}
	}
	secret := [32]byte(count(0x00, 32))
	made := must(set.seal(secret, bytes.NewReader(count(0x30, 24))))
	kept := golden(t, "set.jwks", made)
	if !bytes.Equal(made, kept) {
		t.Error("other bytes are made")
	}
	loaded, err := OpenJWKSet(secret, kept)
	if err != nil || !slices.Equal(loaded.KeyIDs(), set.KeyIDs()) || loaded.DID() != set.DID() {
		t.Fatalf("%q, %v", loaded.KeyIDs(), err)
	}
	for _, id := range set.KeyIDs() {
		if *loaded.Public(id) != *set.Public(id) {
			t.Errorf("%s: %+v", id, loaded.Public(id))
		}
	}
}

// TestJWKSetIsMute prints a set in all ways and looks for its secrets, and for whose they are.
func TestJWKSetIsMute(t *testing.T) {
	set := NewJWKSet("did:web:hub.example")
	const d = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"
	if err := set.Add("a", []byte(`{"kty":"OKP","crv":"Ed25519","d":"`+d+`",`+
		`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`)); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "set", set)
	seed, _ := decode(d)
	for _, text := range []string{
		fmt.Sprintf("%v %+v %#v %s %q %x %d", set, set, set, set, set, set, set),
		fmt.Sprintf("%v %+v", struct{ S *JWKSet }{set}, *set), string(must(json.Marshal(set))), log.String(),
		string(must(json.Marshal(struct{ S *JWKSet }{set}))),
	} {
		if strings.Contains(text, d) || strings.Contains(text, fmt.Sprintf("%x", seed[:8])) ||
			strings.Contains(text, strings.Trim(fmt.Sprint(seed[:8]), "[]")) {
			t.Errorf("%q", text)
		}
	}
}

func FuzzPrivateJWK(f *testing.F) {
	v := readSDKVectors(f)
	f.Add([]byte(v.Parties["alice"].PrivateKeyJwk))
	f.Add([]byte(`{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",` +
		`"x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`))
	f.Add([]byte(`{"kty":"EC","crv":"secp256k1","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g",` +
		`"y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg","d":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		s := NewJWKSet("did:web:hub.example")
		if err := s.Add("a", b); err != nil {
			if !errors.Is(err, coffer.Invalid) {
				t.Error(err)
			}
			return
		}
		id := s.KeyIDs()[0]
		if s.Algorithm(id) != "" {
			signature, err := s.SignInput(context.Background(), id, coffer.Assertion, b)
			if err != nil || !verifies(t, s.Public(id), b, signature) {
				t.Errorf("signature does not verify: %v", err)
			}
		}
		again, err := unmarshalJWKSet(must(s.marshal()))
		if err != nil || *again.Public(id) != *s.Public(id) {
			t.Errorf("does not come back: %v", err)
		}
	})
}

func BenchmarkJWKSet(b *testing.B) {
	alice := readSDKVectors(b).party(b, "alice")
	id := alice.KeyIDs()[0]
	b.Run("RS256", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := alice.SignInput(context.Background(), id, coffer.Authentication, []byte("message")); err != nil {
				b.Fatal(err)
			}
		}
	})
	set := everyKind(b)
	for _, tail := range []string{"rsa", "ed", "p", "k"} {
		id := set.DID() + "#" + tail
		b.Run(set.Algorithm(id)+" generated", func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := set.SignInput(context.Background(), id, coffer.Authentication, []byte("message")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
