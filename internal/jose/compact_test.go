package jose

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"math/big"
	"slices"
	"strings"
	"testing"
)

// sdkKey returns the private key of a party in the vectors.
func (v sdkVectors) sdkKey(t testing.TB, party string) (keyID string, k *rsa.PrivateKey, public *JWK) {
	t.Helper()
	var j struct{ N, E, D, P, Q string }
	if err := json.Unmarshal(v.Parties[party].PrivateKeyJwk, &j); err != nil {
		t.Fatal(err)
	}
	number := func(s string) *big.Int {
		b, err := base64.RawURLEncoding.DecodeString(s)
		if err != nil {
			t.Fatal(err)
		}
		return new(big.Int).SetBytes(b)
	}
	k = &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: number(j.N), E: int(number(j.E).Int64())}, D: number(j.D),
		Primes: []*big.Int{number(j.P), number(j.Q)},
	}
	k.Precompute()
	if err := k.Validate(); err != nil {
		t.Fatal(err)
	}
	return v.Parties[party].Kid, k, &JWK{Kty: "RSA", N: j.N, E: j.E}
}

func rsaReader(keyID string, k *rsa.PrivateKey) CompactReader {
	return CompactReader{KeyID: keyID, Decrypt: func(ciphertext []byte) ([]byte, error) {
		return rsa.DecryptOAEP(sha1.New(), nil, k, ciphertext, nil)
	}}
}

func curveReader(keyID string, c Curve, k *ecdh.PrivateKey) CompactReader {
	return CompactReader{KeyID: keyID, Curve: c, Agree: readerOf(keyID, c, k).Agree}
}

// TestSDKEnvelopes opens what the published client sealed.
func TestSDKEnvelopes(t *testing.T) {
	v := readSDKVectors(t)
	keyID, k, _ := v.sdkKey(t, "hub")
	for _, e := range v.Envelopes {
		j, err := ParseCompactJWE(e.JWE)
		if err != nil {
			t.Fatalf("%s: %v", e.Name, err)
		}
		if j.KeyID() != keyID || j.header.Alg != RSAOAEP || j.header.Enc != A128GCM {
			t.Errorf("%s: %s %s %s", e.Name, j.KeyID(), j.header.Alg, j.header.Enc)
		}
		for range 2 { // opening leaves it as it is
			if plaintext, err := j.Open(rsaReader(keyID, k)); err != nil || string(plaintext) != e.JWS {
				t.Errorf("%s: %q, %v", e.Name, plaintext, err)
			}
		}
	}
}

// openByHand opens a compact JWE without anything of this package, as the RFCs have it.
func openByHand(t *testing.T, s string, rsaKey *rsa.PrivateKey, key *ecdh.PrivateKey) []byte {
	t.Helper()
	var parts [5][]byte
	texts := strings.Split(s, ".")
	for i := range parts {
		var err error
		if parts[i], err = base64.RawURLEncoding.DecodeString(texts[i]); err != nil {
			t.Fatal(err)
		}
	}
	var h struct {
		Alg, Enc string
		EPK      struct{ X, Y string }
	}
	if err := json.Unmarshal(parts[0], &h); err != nil {
		t.Fatal(err)
	}
	size := map[string]int{"A128GCM": 16, "A192GCM": 24, "A256GCM": 32}[h.Enc]
	var cek []byte
	var err error
	if h.Alg == "RSA-OAEP" {
		if cek, err = rsa.DecryptOAEP(sha1.New(), nil, rsaKey, parts[1], nil); err != nil {
			t.Fatal(err)
		}
	} else {
		x, _ := base64.RawURLEncoding.DecodeString(h.EPK.X)
		y, _ := base64.RawURLEncoding.DecodeString(h.EPK.Y)
		point := x
		if key.Curve() == ecdh.P256() {
			point = slices.Concat([]byte{4}, x, y)
		}
		public, err := key.Curve().NewPublicKey(point)
		if err != nil {
			t.Fatal(err)
		}
		z, err := key.ECDH(public)
		if err != nil {
			t.Fatal(err)
		}
		u := func(n int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(n)) }
		sum := sha256.Sum256(slices.Concat(u(1), z, u(len(h.Enc)), []byte(h.Enc), u(0), u(0), u(8*size)))
		cek = sum[:size]
	}
	if len(cek) != size {
		t.Fatalf("a content key of %d bytes for %s", len(cek), h.Enc)
	}
	block, err := aes.NewCipher(cek)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	plaintext, err := aead.Open(nil, parts[2], append(parts[3], parts[4]...), []byte(texts[0]))
	if err != nil {
		t.Fatal(err)
	}
	return plaintext
}

func TestSealCompact(t *testing.T) {
	rsaID, rsaKey, rsaJWK := readSDKVectors(t).sdkKey(t, "alice")
	keys := map[Curve]*ecdh.PrivateKey{}
	jwks := map[Curve]*JWK{}
	for _, c := range []Curve{X25519, P256} {
		k, err := c.ecdh().GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		public, _ := jwkOf(c, k.PublicKey().Bytes())
		keys[c], jwks[c] = k, &JWK{Kty: public.Type, Crv: string(c), X: public.X, Y: public.Y}
	}
	for _, enc := range []string{"", A128GCM, A192GCM, string(A256GCM)} {
		for _, plaintext := range []string{"", "x", strings.Repeat("long ", 5000)} {
			s, err := SealCompact([]byte(plaintext), CompactRecipient{rsaID, rsaJWK}, enc)
			if err != nil {
				t.Fatal(err)
			}
			if got := openByHand(t, s, rsaKey, nil); string(got) != plaintext {
				t.Errorf("RSA, %q: %q", enc, got)
			}
			j, err := ParseCompactJWE(s)
			if err != nil {
				t.Fatal(err)
			}
			if got, err := j.Open(rsaReader(rsaID, rsaKey)); err != nil || string(got) != plaintext {
				t.Errorf("RSA, %q: %q, %v", enc, got, err)
			}
			if enc == "" && j.header.Enc != A128GCM {
				t.Errorf("RSA: %s", j.header.Enc)
			}
			for c, k := range keys {
				s, err := SealCompact([]byte(plaintext), CompactRecipient{`did:x:y#"1"`, jwks[c]}, enc)
				if err != nil {
					t.Fatal(err)
				}
				if got := openByHand(t, s, nil, k); string(got) != plaintext {
					t.Errorf("%s, %q: %q", c, enc, got)
				}
				j, err := ParseCompactJWE(s)
				if err != nil {
					t.Fatal(err)
				}
				if got, err := j.Open(curveReader(`did:x:y#"1"`, c, k)); err != nil || string(got) != plaintext {
					t.Errorf("%s, %q: %q, %v", c, enc, got, err)
				}
				if enc == "" && (j.header.Enc != string(A256GCM) || j.header.Alg != ECDHES) {
					t.Errorf("%s: %s %s", c, j.header.Alg, j.header.Enc)
				}
			}
		}
	}
	ed, err := ParseJWK([]byte(edExample))
	if err != nil {
		t.Fatal(err)
	}
	k1, err := ParseJWK([]byte(kExample))
	if err != nil {
		t.Fatal(err)
	}
	signs := *rsaJWK
	signs.Use = "sig"
	for name, c := range map[string]struct {
		to  CompactRecipient
		enc string
	}{
		"no key":          {CompactRecipient{KeyID: "a"}, ""},
		"no id":           {CompactRecipient{Key: rsaJWK}, ""},
		"long id":         {CompactRecipient{strings.Repeat("a", maxCompactKeyID+1), rsaJWK}, ""},
		"id not UTF-8":    {CompactRecipient{"\xff", rsaJWK}, ""},
		"encryption":      {CompactRecipient{"a", rsaJWK}, "A128CBC-HS256"},
		"XC20P":           {CompactRecipient{"a", jwks[X25519]}, string(XC20P)},
		"Ed25519":         {CompactRecipient{"a", ed}, ""},
		"secp256k1":       {CompactRecipient{"a", k1}, ""},
		"only signs":      {CompactRecipient{"a", &signs}, ""},
		"zero JWK":        {CompactRecipient{"a", &JWK{}}, ""},
		"RSA without n":   {CompactRecipient{"a", &JWK{Kty: "RSA", E: "AQAB"}}, ""},
		"low order":       {CompactRecipient{"a", &JWK{Kty: "OKP", Crv: "X25519", X: encode64(make([]byte, 32))}}, ""},
		"short":           {CompactRecipient{"a", &JWK{Kty: "OKP", Crv: "X25519", X: "AA"}}, ""},
		"not on P-256":    {CompactRecipient{"a", &JWK{Kty: "EC", Crv: "P-256", X: jwks[P256].X, Y: jwks[P256].X}}, ""},
		"kty of no curve": {CompactRecipient{"a", &JWK{Kty: "EC", Crv: "X25519", X: jwks[X25519].X}}, ""},
	} {
		if s, err := SealCompact([]byte("x"), c.to, c.enc); err == nil {
			t.Errorf("%s: %s", name, s)
		}
	}
}

// TestOpenFails has everything go wrong that can, with one outcome.
func TestOpenFails(t *testing.T) {
	v := readSDKVectors(t)
	keyID, k, public := v.sdkKey(t, "hub")
	_, other, _ := v.sdkKey(t, "alice")
	good := rsaReader(keyID, k)
	parts := strings.Split(v.Envelopes[1].JWE, ".")
	flip := func(i int) string {
		bad := slices.Clone(parts)
		b, _ := Decode64(bad[i])
		b[len(b)/2] ^= 1
		bad[i] = encode64(b)
		return strings.Join(bad, ".")
	}
	header := func(h string) string { return strings.Join(append([]string{encode64([]byte(h))}, parts[1:]...), ".") }
	wrong := func(cek []byte) string { // a content key of another length, rightly encrypted
		b, err := rsa.EncryptOAEP(sha1.New(), rand.Reader, &k.PublicKey, cek, nil)
		if err != nil {
			t.Fatal(err)
		}
		return strings.Join([]string{parts[0], encode64(b), parts[2], parts[3], parts[4]}, ".")
	}
	named := func(r CompactReader) CompactReader { r.KeyID = keyID; return r }
	curve, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	x, _ := jwkOf(X25519, curve.PublicKey().Bytes())
	forCurve, err := SealCompact([]byte("x"), CompactRecipient{keyID, &JWK{Kty: "OKP", Crv: "X25519", X: x.X}}, "")
	if err != nil {
		t.Fatal(err)
	}
	forRSA, err := SealCompact([]byte("x"), CompactRecipient{keyID, public}, "")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		jwe string
		r   CompactReader
	}{
		"encrypted key":    {flip(1), good},
		"iv":               {flip(2), good},
		"ciphertext":       {flip(3), good},
		"tag":              {flip(4), good},
		"header":           {header(`{"kid":"` + keyID + `", "alg":"RSA-OAEP","enc":"A128GCM"}`), good},
		"other encryption": {header(`{"kid":"` + keyID + `","alg":"RSA-OAEP","enc":"A256GCM"}`), good},
		"another id":       {v.Envelopes[1].JWE, rsaReader(keyID+"0", k)},
		"another key":      {v.Envelopes[1].JWE, rsaReader(keyID, other)},
		"no key":           {v.Envelopes[1].JWE, CompactReader{KeyID: keyID}},
		"a key to agree":   {forRSA, curveReader(keyID, X25519, curve)},
		"an RSA key":       {forCurve, good},
		"another curve": {forCurve, named(CompactReader{Curve: P256, Agree: func([]byte) ([]byte, error) {
			return make([]byte, 32), nil
		}})},
		"agreement fails": {forCurve, named(CompactReader{Curve: X25519, Agree: func([]byte) ([]byte, error) {
			return nil, errors.New("the token is gone")
		}})},
		"empty content key": {wrong(nil), good},
		"long content key":  {wrong(make([]byte, 32)), good},
	} {
		j, err := ParseCompactJWE(c.jwe)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if plaintext, err := j.Open(c.r); err != ErrDecrypt || plaintext != nil {
			t.Errorf("%s: %q, %v", name, plaintext, err)
		}
	}
}

func TestBadCompactJWE(t *testing.T) {
	v := readSDKVectors(t)
	parts := strings.Split(v.Envelopes[1].JWE, ".")
	header := func(h string) string { return strings.Join(append([]string{encode64([]byte(h))}, parts[1:]...), ".") }
	part := func(i int, s string) string {
		bad := slices.Clone(parts)
		bad[i] = s
		return strings.Join(bad, ".")
	}
	epk := `"epk":{"kty":"OKP","crv":"X25519","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`
	const ok = `{"kid":"a","alg":"RSA-OAEP","enc":"A128GCM"}`
	if _, err := ParseCompactJWE(header(ok)); err != nil {
		t.Fatal(err)
	}
	agree := func(h string) string { return encode64([]byte(h)) + ".." + strings.Join(parts[2:], ".") }
	if _, err := ParseCompactJWE(agree(`{"kid":"a","alg":"ECDH-ES","enc":"A128GCM",` + epk + `}`)); err != nil {
		t.Fatal(err)
	}
	with := func(member string) string { return header(strings.Replace(ok, "{", "{"+member+",", 1)) }
	for name, bad := range map[string]string{
		"nothing":            "",
		"four parts":         strings.Join(parts[:4], "."),
		"six parts":          v.Envelopes[1].JWE + ".",
		"a JWS":              v.Envelopes[1].JWS,
		"crit":               with(`"crit":["x"]`),
		"zip":                with(`"zip":"DEF"`),
		"b64":                with(`"b64":false`),
		"apu":                with(`"apu":"AA"`),
		"apv":                with(`"apv":""`),
		"epk beside RSA":     with(epk),
		"repeated":           with(`"alg":"RSA-OAEP"`),
		"repeated, escaped":  with(`"\u0061lg":"RSA-OAEP"`),
		"no kid":             header(`{"alg":"RSA-OAEP","enc":"A128GCM"}`),
		"empty kid":          header(`{"kid":"","alg":"RSA-OAEP","enc":"A128GCM"}`),
		"long kid":           header(strings.Replace(ok, `"a"`, `"`+strings.Repeat("a", maxCompactKeyID+1)+`"`, 1)),
		"kid a number":       header(`{"kid":1,"alg":"RSA-OAEP","enc":"A128GCM"}`),
		"no alg":             header(`{"kid":"a","enc":"A128GCM"}`),
		"RSA-OAEP-256":       header(strings.Replace(ok, "OAEP", "OAEP-256", 1)),
		"RSA1_5":             header(strings.Replace(ok, "RSA-OAEP", "RSA1_5", 1)),
		"dir":                header(strings.Replace(ok, "RSA-OAEP", "dir", 1)),
		"CBC":                header(strings.Replace(ok, "A128GCM", "A128CBC-HS256", 1)),
		"XC20P":              header(strings.Replace(ok, "A128GCM", "XC20P", 1)),
		"null":               header(`null`),
		"long header":        header(`{"x":"` + strings.Repeat("a", MaxHeader) + `",` + ok[1:]),
		"no epk":             agree(`{"kid":"a","alg":"ECDH-ES","enc":"A128GCM"}`),
		"agreement and key":  header(`{"kid":"a","alg":"ECDH-ES","enc":"A128GCM",` + epk + `}`),
		"RSA without a key":  part(1, ""),
		"short key":          part(1, encode64(make([]byte, MinRSA/8-1))),
		"long key":           part(1, encode64(make([]byte, MaxRSA/8+1))),
		"padded key":         part(1, parts[1]+"="),
		"short iv":           part(2, encode64(make([]byte, 11))),
		"iv of 16":           part(2, encode64(make([]byte, 16))),
		"no iv":              part(2, ""),
		"short tag":          part(4, encode64(make([]byte, 12))),
		"long tag":           part(4, encode64(make([]byte, 17))),
		"line end":           part(3, parts[3][:4]+"\n"+parts[3][4:]),
		"standard base64":    part(3, "++++"),
		"loose ciphertext":   part(3, "AB"),
		"loose header":       part(0, "e31"),
		"header not base64":  part(0, "{}"),
		"ciphertext a digit": part(3, "A"),
	} {
		if j, err := ParseCompactJWE(bad); err == nil {
			t.Errorf("%s: %+v", name, j)
		}
	}
}

func FuzzCompactJWE(f *testing.F) {
	v := readSDKVectors(f)
	keyID, k, public := v.sdkKey(f, "hub")
	for _, e := range v.Envelopes {
		f.Add(e.JWE)
	}
	curve, err := ecdh.X25519().NewPrivateKey(make([]byte, 32))
	if err != nil {
		f.Fatal(err)
	}
	x, _ := jwkOf(X25519, curve.PublicKey().Bytes())
	for _, key := range []*JWK{public, {Kty: "OKP", Crv: "X25519", X: x.X}} {
		s, err := SealCompact([]byte("x"), CompactRecipient{keyID, key}, "")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(s)
	}
	both := rsaReader(keyID, k)
	both.Curve, both.Agree = X25519, curveReader(keyID, X25519, curve).Agree
	f.Fuzz(func(t *testing.T, s string) {
		j, err := ParseCompactJWE(s)
		if err != nil {
			return
		}
		if compactKeySize(j.header.Enc) == 0 || j.KeyID() == "" || j.header.Alg != RSAOAEP && j.header.Alg != ECDHES {
			t.Errorf("%s %s %s", j.KeyID(), j.header.Alg, j.header.Enc)
		}
		if _, err := j.Open(both); err != nil && err != ErrDecrypt {
			t.Error(err)
		}
	})
}

func BenchmarkCompact(b *testing.B) {
	keyID, k, public := readSDKVectors(b).sdkKey(b, "hub")
	message := make([]byte, 4<<10)
	s, err := SealCompact(message, CompactRecipient{keyID, public}, "")
	if err != nil {
		b.Fatal(err)
	}
	b.Run("open RSA", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			j, err := ParseCompactJWE(s)
			if err != nil {
				b.Fatal(err)
			}
			if _, err := j.Open(rsaReader(keyID, k)); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parse", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseCompactJWE(s); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("seal RSA", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := SealCompact(message, CompactRecipient{keyID, public}, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
}
