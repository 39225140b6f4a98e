package ident

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
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

// A public key of 2048 bits, of a party in the vectors of the published hub client.
const rsaJWK = `{"kty":"RSA","n":"` + rsaModulus + `","e":"AQAB"}`

const rsaModulus = "rBvnlJYL-3rLybGSSSJtOYZIFjcGwACTMW6XTgjPkM-BQNdtXjIEJahbhPPaDrr0CMVtgdeHKiPmb1qwyygyMBQ6KB" +
	"-pjxnubsyUrKkwcCp5rrAbo6iiZWOqEhF_A8lW4UXw8JCOTZe5-C1ysoIDuHiSnuppco3OPkdcBDD0NauT0nb5nyg9" +
	"NEwoWwiL2vqwtmbhsPLxeLaB72MZHITDnrS_yvGlv3WJ-LA9iAKgo0SZVzlnSopQZekkZRnofRCh8s5mqYSpeJ-3Tm" +
	"ymkhwzbFtJJ_IM1PmiSRKsWzg5dSmICQj2LMD6wqNJf9MFvcbh3NMT_39NW_8pCZbtBxJInQ"

// sdkVectors are commits and envelopes that the published hub client made.
type sdkVectors struct {
	Parties map[string]struct {
		DID, Kid    string
		DIDDocument json.RawMessage
	}
	Envelopes []struct{ Name, Signer, JWS string }
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

// TestSDKVectors verifies what the published client signed, by the documents that it resolves itself.
func TestSDKVectors(t *testing.T) {
	ctx := context.Background()
	v := readSDKVectors(t)
	var pins []Pin
	for _, p := range v.Parties {
		pins = append(pins, Pin{ID: p.DID, Document: p.DIDDocument})
	}
	r := newResolver(t, Options{Pinned: pins})
	checked := 0
	verify := func(name string, j *jose.JWS, p coffer.Purpose) {
		t.Helper()
		var h struct {
			Alg string `json:"alg"`
			Kid string `json:"kid"`
		}
		if err := j.Header(&h); err != nil {
			t.Fatal(err)
		}
		key, err := r.MessageKey(ctx, h.Kid, h.Alg, p)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		signature, _ := jose.Decode64(j.Signature)
		if !key.Verify(j.Input(), signature) {
			t.Errorf("%s: does not verify", name)
		}
		signature[7] ^= 1
		if key.Verify(j.Input(), signature) || key.Verify(j.Input(), nil) {
			t.Errorf("%s: another signature verifies", name)
		}
		if again, _ := r.MessageKey(ctx, h.Kid, h.Alg, p); again != key {
			t.Errorf("%s: the verifier is not kept", name)
		}
		checked++
	}
	for _, c := range v.Commits {
		verify(c.Name, &c.Commit, coffer.Assertion)
	}
	for _, e := range v.Envelopes {
		j, err := jose.ParseCompactJWS(e.JWS)
		if err != nil {
			t.Fatal(err)
		}
		verify(e.Name, j, coffer.Authentication)
		if k, err := r.AnswerKey(ctx, e.Signer); err != nil || k.ID != e.Signer || k.Type != RSA {
			t.Errorf("%s: answer to %+v, %v", e.Name, k, err)
		}
	}
	if checked < 8 {
		t.Errorf("%d signatures in the vectors", checked)
	}
	// Their documents go out as they are.
	for _, p := range v.Parties {
		_, body := Resolution(ctx, r, p.DID)
		var a struct{ Document json.RawMessage }
		if err := json.Unmarshal(body, &a); err != nil || canonical(t, a.Document) != canonical(t, p.DIDDocument) {
			t.Errorf("%s: %v", body, err)
		}
	}
}

// A signer is a key pair of one kind.
type signer struct {
	kind, alg string
	public    []byte
	sign      func(message []byte) []byte
}

func jwkOf(t testing.TB, s signer, use string) string {
	t.Helper()
	j, err := jose.JWKOf(s.kind, s.public)
	if err != nil {
		t.Fatal(err)
	}
	j.Use = use
	b, err := jose.Encode(j)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func signersOfAllKinds(t testing.TB) []signer {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	der := x509.MarshalPKCS1PublicKey(&r.PublicKey)
	p, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := p.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	edPublic, ed, _ := ed25519.GenerateKey(rand.Reader)
	k, err := secp256k1.GeneratePrivateKey()
	if err != nil {
		t.Fatal(err)
	}
	return []signer{
		{RSA, "RS256", der, func(message []byte) []byte {
			digest := sha256.Sum256(message)
			b, _ := rsa.SignPKCS1v15(nil, r, crypto.SHA256, digest[:])
			return b
		}},
		{RSA, "RS512", der, func(message []byte) []byte {
			digest := sha512.Sum512(message)
			b, _ := rsa.SignPKCS1v15(nil, r, crypto.SHA512, digest[:])
			return b
		}},
		{P256, "ES256", append([]byte{2 | point[64]&1}, point[1:33]...), func(message []byte) []byte {
			digest := sha256.Sum256(message)
			r, s, _ := ecdsa.Sign(rand.Reader, p, digest[:])
			b := make([]byte, 64)
			r.FillBytes(b[:32])
			s.FillBytes(b[32:])
			return b
		}},
		{Ed25519, "EdDSA", edPublic, func(message []byte) []byte { return ed25519.Sign(ed, message) }},
		{Secp256k1, "ES256K", k.PubKey().SerializeCompressed(), func(message []byte) []byte {
			digest := sha256.Sum256(message)
			made := k1.Sign(k, digest[:])
			r, s := made.R(), made.S()
			rb, sb := r.Bytes(), s.Bytes()
			return append(rb[:], sb[:]...)
		}},
	}
}

// TestMessageKey has each kind of key sign by each kind of name, and tried with the algorithms of the others.
func TestMessageKey(t *testing.T) {
	ctx := context.Background()
	message := []byte("header.payload")
	signers := signersOfAllKinds(t)
	for _, s := range signers {
		did := didJWK(jwkOf(t, s, ""))
		keyIDs := []string{did + "#0"}
		r := newResolver(t, Options{})
		if s.kind != RSA {
			name := key{s.kind, s.public}.multikey()
			keyIDs = append(keyIDs, "did:key:"+name+"#"+name, name+"#"+name)
		} else if len(did) < 480 || len(did) > 540 {
			t.Errorf("a DID of %d characters", len(did))
		}
		for _, keyID := range keyIDs {
			for _, p := range []coffer.Purpose{coffer.Authentication, coffer.Assertion} {
				v, err := r.MessageKey(ctx, keyID, s.alg, p)
				if err != nil {
					t.Fatalf("%s by %.20s: %v", s.alg, keyID, err)
				}
				signature := s.sign(message)
				if !v.Verify(message, signature) || v.Verify([]byte("header.paylood"), signature) ||
					v.Verify(message, signature[1:]) || v.Verify(message, append(signature, 0)) ||
					v.Verify(message, nil) || v.Verify(message, make([]byte, len(signature))) {
					t.Errorf("%s by %.20s: wrong answer", s.alg, keyID)
				}
			}
			for _, other := range signers {
				v, err := r.MessageKey(ctx, keyID, other.alg, coffer.Assertion)
				if other.kind != s.kind && !errors.Is(err, coffer.Denied) {
					t.Errorf("%s by %.20s: %v", other.alg, keyID, err)
				}
				if err == nil && other.alg != s.alg && v.Verify(message, s.sign(message)) {
					t.Errorf("%s verifies as %s", s.alg, other.alg)
				}
			}
			for _, alg := range []string{"", "none", "HS256", "PS256", "rs256", "ES384", "RS1"} {
				if _, err := r.MessageKey(ctx, keyID, alg, coffer.Assertion); !errors.Is(err, coffer.Invalid) {
					t.Errorf("%q: %v", alg, err)
				}
			}
			for p, kind := range map[coffer.Purpose]coffer.Kind{
				"": coffer.Invalid, "keyAgreement": coffer.Invalid, coffer.Authorship: coffer.Invalid,
			} {
				if _, err := r.MessageKey(ctx, keyID, s.alg, p); !errors.Is(err, kind) {
					t.Errorf("%q: %v", p, err)
				}
			}
		}
		for _, use := range []string{"sig", "enc"} {
			if use == "enc" && s.kind != RSA && s.kind != P256 {
				continue
			}
			_, err := r.MessageKey(ctx, didJWK(jwkOf(t, s, use))+"#0", s.alg, coffer.Assertion)
			if (use == "sig") != (err == nil) || use == "enc" && !errors.Is(err, coffer.Denied) {
				t.Errorf("%s of use %s: %v", s.alg, use, err)
			}
		}
		for keyID, kind := range map[string]coffer.Kind{
			did: coffer.Invalid, did + "#": coffer.Invalid, "#0": coffer.Invalid, did + "#1": coffer.NotExist,
			did + "#0#0": coffer.NotExist, did + "#" + strings.Repeat("0", maxID): coffer.Invalid,
		} {
			if _, err := r.MessageKey(ctx, keyID, s.alg, coffer.Assertion); !errors.Is(err, kind) {
				t.Errorf("%.20s…: %v", keyID, err)
			}
		}
	}
}

// TestES256K takes the other signature that there is for each, and no numbers out of range.
func TestES256K(t *testing.T) {
	order := secp256k1.Params().N
	for _, s := range signersOfAllKinds(t) {
		if s.alg != "ES256" && s.alg != "ES256K" {
			continue
		}
		v, err := newMessageVerifier(s.alg, s.public)
		if err != nil {
			t.Fatal(err)
		}
		n := order
		if s.alg == "ES256" {
			n = elliptic.P256().Params().N
		}
		message := []byte("message")
		signature := s.sign(message)
		with := func(r, s *big.Int) []byte {
			b := slices.Clone(signature)
			if r != nil {
				r.FillBytes(b[:32])
			}
			s.FillBytes(b[32:])
			return b
		}
		number := new(big.Int).SetBytes(signature[32:])
		if !v.Verify(message, with(nil, new(big.Int).Sub(n, number))) {
			t.Errorf("%s: the other half of the range is refused", s.alg)
		}
		for name, bad := range map[string][]byte{
			"zero s": with(nil, new(big.Int)), "zero r": with(new(big.Int), number), "s of the order": with(nil, n),
			"r of the order": with(n, number),
		} {
			if v.Verify(message, bad) {
				t.Errorf("%s: %s verifies", s.alg, name)
			}
		}
	}
}

// TestKeptVerifiers names one by what a verifier of another kind is kept under.
func TestKeptVerifiers(t *testing.T) {
	ctx := context.Background()
	r := newResolver(t, Options{})
	for _, s := range signersOfAllKinds(t) {
		if _, err := r.MessageKey(ctx, didJWK(jwkOf(t, s, ""))+"#0", s.alg, coffer.Assertion); err != nil {
			t.Fatal(err)
		}
		if s.kind == Ed25519 {
			continue
		}
		name := s.alg + " " + string(s.public)
		for _, id := range []string{name + "#" + name, "did:key:" + name + "#" + name} {
			if v, err := r.Key(ctx, id, coffer.Invocation); v != nil || err == nil {
				t.Errorf("%s: taken for a key that names itself", s.alg)
			}
		}
	}
}

// TestAnswerKey finds what to encrypt to, for all kinds of who signed.
func TestAnswerKey(t *testing.T) {
	ctx := context.Background()
	signers := signersOfAllKinds(t)
	r, p, ed := signers[0], signers[2], signers[3]
	jwk := func(s signer, use string) string { return `"publicKeyJwk":` + jwkOf(t, s, use) }
	const x = "JsonWebKey2020"
	x25519 := methodJSON("#x", "Multikey", multibase(carol))
	document := func(id, rest string) string {
		return strings.ReplaceAll(`{"id":"`+somebody+`",`+rest+`}`, somebody, id)
	}
	for i, c := range []struct{ name, document, signed, want string }{
		{"RSA, lists without agreement", `"verificationMethod":[` + methodJSON("#a", x, jwk(r, "")) +
			`],"authentication":["#a"]`, "#a", "#a"},
		{"RSA, another to encrypt to", `"verificationMethod":[` + methodJSON("#a", x, jwk(r, "")) + "," + x25519 +
			`],"authentication":["#a"],"keyAgreement":["#x"]`, "#a", "#a"},
		{"RSA that only signs", `"verificationMethod":[` + methodJSON("#a", x, jwk(r, "sig")) + "," + x25519 +
			`],"authentication":["#a"],"keyAgreement":["#x"]`, "#a", "#x"},
		{"RSA that only signs, embedded", `"authentication":[` + methodJSON("#a", x, jwk(r, "sig")) + "]", "#a", ""},
		{"P-256", `"verificationMethod":[` + methodJSON("#a", x, jwk(p, "")) + `],"authentication":["#a"]`, "#a", "#a"},
		{"P-256 that only signs", `"publicKey":[` + methodJSON("#a", x, jwk(p, "sig")) + "]", "#a", ""},
		{"Ed25519", `"publicKey":[` + methodJSON("#a", x, jwk(ed, "")) + "," + x25519 + "]", "#a", "#x"},
		{"two RSA keys", `"publicKey":[` + methodJSON("#e", RSA, jwk(r, "enc")) + "," + methodJSON("#s", RSA, jwk(r, "sig")) +
			"]", "#s", "#e"},
		{"secp256k1 cannot be encrypted to", `"verificationMethod":[` + methodJSON("#k", x, jwk(signers[4], "")) + "," +
			methodJSON("#a", x, jwk(ed, "")) + `],"authentication":["#a"],"keyAgreement":["#k"]`, "#a", ""},
		{"no such key", `"publicKey":[` + methodJSON("#a", x, jwk(r, "")) + "]", "#b", ""},
	} {
		id := fmt.Sprintf("did:web:example%d.org", i)
		resolver := newResolver(t, Options{Pinned: []Pin{{ID: id, Document: []byte(document(id, c.document))}}})
		k, err := resolver.AnswerKey(ctx, id+c.signed)
		if c.want == "" {
			if !errors.Is(err, coffer.NotExist) {
				t.Errorf("%s: %+v, %v", c.name, k, err)
			}
			continue
		}
		if err != nil || k.ID != id+c.want {
			t.Errorf("%s: %+v, %v", c.name, k, err)
			continue
		}
		j, err := jose.JWKOf(k.Type, k.Public)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := jose.SealCompact([]byte("answer"), jose.CompactRecipient{KeyID: k.ID, Key: j}, ""); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	resolver := newResolver(t, Options{})
	k, err := resolver.AnswerKey(ctx, "did:key:"+alice+"#"+alice)
	if err != nil || k.Type != X25519 {
		t.Errorf("did:key: %+v, %v", k, err)
	}
	for _, id := range []string{"", "did:key:" + alice, "#a"} {
		if _, err := resolver.AnswerKey(ctx, id); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%q: %v", id, err)
		}
	}
}

// TestOldDocuments reads documents as there were before 2020.
func TestOldDocuments(t *testing.T) {
	rsaKey := methodJSON("#a", RSA, `"publicKeyJwk":`+rsaJWK)
	ed := methodJSON("#b", "Ed25519VerificationKey2018", `"publicKeyJwk":`+edJWK)
	k := methodJSON("#k", sdkSecp256k1, `"publicKeyJwk":`+k1JWK)
	x := methodJSON("#x", "Multikey", multibase(carol))
	only := func(use string) string { return strings.Replace(rsaKey, `"kty"`, `"use":"`+use+`","kty"`, 1) }
	for name, c := range map[string]struct{ rest, authenticate, assert, invoke, agree string }{
		"no lists": {
			`"publicKey":[` + rsaKey + "," + ed + "," + k + "," + x + `]`, "#a #b #k", "#a #b #k", "", "#a #x",
		},
		"no lists, new": {`"verificationMethod":[` + ed + "," + x + `]`, "#b", "#b", "", "#x"},
		"an empty list": {`"publicKey":[` + rsaKey + `],"authentication":[]`, "", "", "", ""},
		"lists":         {`"publicKey":[` + rsaKey + "," + ed + `],"authentication":["#b"]`, "#b", "", "", ""},
		"by an object":  {`"publicKey":[` + ed + `],"authentication":[{"type":"x","publicKey":"#b"}]`, "#b", "", "", ""},
		"by two objects": {
			`"publicKey":[` + ed + `],"authentication":[{"type":"x","publicKey":["#b"]},{}]`, "#b", "", "", "",
		},
		"both": {`"verificationMethod":[` + ed + `],"publicKey":[` + strings.Replace(rsaKey, "#a", "#b", 1) + "," + rsaKey +
			`],"capabilityInvocation":["#a","#b"]`, "", "", "#a #b", ""},
		"only encrypted to": {`"publicKey":[` + only("enc") + `]`, "", "", "", "#a"},
		"only signs":        {`"publicKey":[` + only("sig") + `]`, "#a", "#a", "", ""},
		"use against lists": {`"publicKey":[` + only("enc") +
			`],"authentication":["#a"],"assertionMethod":["#a"],"keyAgreement":["#a"]`, "", "", "", "#a"},
		"malformed are passed over": {`"publicKey":[` + methodJSON("#c", "Multikey", multibase("z1")) + "," +
			methodJSON("#d", RSA, `"publicKeyPem":"x"`) + "," + methodJSON("#e", "Multikey", `"publicKeyHex":"00"`) + "," +
			rsaKey + `]`, "#a", "#a", "", "#a"},
	} {
		got, err := parseDocument(somebody, []byte(`{"id":"`+somebody+`",`+c.rest+`}`))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		short := func(keys []coffer.PublicKey) string { return strings.ReplaceAll(ids(keys), somebody, "") }
		if short(got.Authenticate) != c.authenticate || short(got.Assert) != c.assert || short(got.Invoke) != c.invoke ||
			short(got.Agreement) != c.agree || got.Delegate != nil {
			t.Errorf("%s: %+v", name, got)
		}
		if name == "both" && got.Invoke[1].Type != Ed25519 {
			t.Error("the older list came before the newer")
		}
	}
}

// TestDocument2019 holds what goes out against what hub-sdk-js 0.1.2 asks of a document.
func TestDocument2019(t *testing.T) {
	ctx := context.Background()
	id := didJWK(rsaJWK)
	x := methodJSON("#x", "Multikey", multibase(carol))
	method := func(tail, use string) string {
		return methodJSON(tail, "JsonWebKey2020", `"publicKeyJwk":`+strings.Replace(rsaJWK, "{", `{"use":"`+use+`",`, 1))
	}
	r := newResolver(t, Options{Pinned: []Pin{{ID: somebody, Document: []byte(
		`{"@context":"https://www.w3.org/ns/did/v1","id":"` + somebody + `","verificationMethod":[` +
			x + "," + method("#s", "sig") + "," + method("#e", "enc") + "," +
			methodJSON("#k", Secp256k1, `"publicKeyJwk":`+k1JWK) + `],"keyAgreement":["#x","#e"],` +
			`"authentication":["#s","#k"],"assertionMethod":["#s"],` +
			`"service":[{"id":"#hub","type":"IdentityHub","serviceEndpoint":{"instances":["did:web:hub.example"]}}]}`)}}})
	for _, c := range []struct {
		id, keys string
		services int
	}{
		{id, "0 RsaVerificationKey2018 RSA ", 0},
		{somebody, "e RsaVerificationKey2018 RSA enc,s RsaVerificationKey2018 RSA sig,x X25519KeyAgreementKey2020 OKP enc," +
			"k Secp256k1VerificationKey2018 EC sig", 1},
	} {
		status, body := Resolution(ctx, r, c.id)
		var a struct {
			Document struct {
				Context   json.RawMessage `json:"@context"`
				ID        string
				PublicKey []struct {
					ID, Type, Controller string
					PublicKeyJwk         jose.JWK
				}
				Service []struct{ Type string }
			}
			ResolverMetadata map[string]any
		}
		if err := json.Unmarshal(body, &a); err != nil || status != 200 {
			t.Fatal(status, err)
		}
		var keys []string
		for _, k := range a.Document.PublicKey {
			if k.ID != c.id+"#"+k.PublicKeyJwk.Kid || k.Controller != c.id {
				t.Errorf("key %+v", k)
			}
			keys = append(keys, k.PublicKeyJwk.Kid+" "+k.Type+" "+k.PublicKeyJwk.Kty+" "+k.PublicKeyJwk.Use)
		}
		if got := strings.Join(keys, ","); got != c.keys || a.Document.ID != c.id || a.Document.Context == nil ||
			a.ResolverMetadata == nil || len(a.Document.Service) != c.services {
			t.Errorf("%s", body)
		}
		// Who reads the older form finds the same keys.
		document := struct{ Document json.RawMessage }{}
		if err := json.Unmarshal(body, &document); err != nil {
			t.Fatal(err)
		}
		again, err := parseDocument(c.id, document.Document)
		if err != nil || len(again.Agreement) == 0 || len(again.Authenticate) == 0 {
			t.Errorf("%+v, %v", again, err)
		}
	}
}

func TestRSABounds(t *testing.T) {
	modulus := func(bits int) string {
		n := new(big.Int).Lsh(big.NewInt(1), uint(bits-1))
		return base64.RawURLEncoding.EncodeToString(n.SetBit(n, 0, 1).Bytes())
	}
	r := newResolver(t, Options{})
	for bits, ok := range map[int]bool{
		512: false, 1024: false, 2047: false, 2048: true, 4096: true, 8192: true, 8193: false,
	} {
		id := didJWK(`{"kty":"RSA","n":"` + modulus(bits) + `","e":"AQAB"}`)
		if _, err := r.Resolve(context.Background(), id); (err == nil) != ok {
			t.Errorf("%d bits, a DID of %d characters: %v", bits, len(id), err)
		}
	}
}

func BenchmarkMessageKey(b *testing.B) {
	ctx := context.Background()
	message := []byte("header.payload")
	for _, s := range signersOfAllKinds(b) {
		r := newResolver(b, Options{})
		keyID := didJWK(jwkOf(b, s, "")) + "#0"
		signature := s.sign(message)
		b.Run(s.alg, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				v, err := r.MessageKey(ctx, keyID, s.alg, coffer.Authentication)
				if err != nil || !v.Verify(message, signature) {
					b.Fatal(err)
				}
			}
		})
	}
}
