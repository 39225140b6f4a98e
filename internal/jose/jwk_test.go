package jose

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"math/big"
	"strings"
	"testing"
)

// The keys of the examples of RFC 7638 (section 3.1), RFC 8037 (appendix A.2 and A.6), RFC 7517 (appendix A.1), and the
// base point of secp256k1 (SEC 2, section 2.4.1).
const (
	rsaExample = `{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tS` +
		`oc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8K` +
		`JZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF4` +
		`4-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}`
	edExample = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	xExample  = `{"kty":"OKP","crv":"X25519","kid":"Bob","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}`
	pExample  = `{"kty":"EC","crv":"P-256","x":"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",` +
		`"y":"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM","use":"enc","kid":"1"}`
	kExample = `{"kty":"EC","crv":"secp256k1","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g",` +
		`"y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg"}`
)

func TestJWK(t *testing.T) {
	for _, c := range []struct {
		jwk, kind string
		size      int
		public    string // how it begins
		print     string // where a specification has it
	}{
		{rsaExample, RSAKey, 270, "3082010a0282010100d2fc7b", "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"},
		{edExample, Ed25519Key, 32, "d75a9801", "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"},
		{xExample, X25519Key, 32, "de9edb7d", ""},
		{pExample, P256Key, 33, "0330a042", ""},
		{kExample, Secp256k1Key, 33, "0279be667e", ""},
	} {
		k, err := ParseJWK([]byte(c.jwk))
		if err != nil {
			t.Errorf("%s: %v", c.kind, err)
			continue
		}
		kind, public, err := k.Public()
		if err != nil || kind != c.kind || len(public) != c.size || !strings.HasPrefix(hex.EncodeToString(public), c.public) {
			t.Errorf("%s: %x, %v", kind, public, err)
		}
		if print := k.Thumbprint(); c.print != "" && encode64(print[:]) != c.print {
			t.Errorf("%s: thumbprint %s", kind, encode64(print[:]))
		}
		again, err := JWKOf(kind, public)
		if err != nil || again.Thumbprint() != k.Thumbprint() || again.Kid+again.Use+again.Alg != "" {
			t.Errorf("%s: %+v, %v", kind, again, err)
		}
		longer := append(public[:len(public):len(public)], 0)
		for _, bad := range [][]byte{nil, public[1:], append([]byte{9}, public...), longer} {
			if k, err := JWKOf(kind, bad); err == nil {
				t.Errorf("%s: %+v of %x", kind, k, bad)
			}
		}
	}
	if _, err := JWKOf("Sha256HmacKey2019", make([]byte, 32)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("unknown kind: %v", err)
	}
	for _, kind := range []string{P256Key, Secp256k1Key} {
		off := make([]byte, 33)
		off[0] = 2
		found := 0
		for i := range 32 { // half of all numbers are the x of no point
			off[32] = byte(i)
			if _, err := JWKOf(kind, off); err != nil {
				found++
			}
		}
		if found < 8 || found > 24 {
			t.Errorf("%s: %d of 32 are refused", kind, found)
		}
		for _, prefix := range []byte{0, 1, 4, 5, 6, 7} {
			off[0] = prefix
			if _, err := JWKOf(kind, off); err == nil {
				t.Errorf("%s: accepted with prefix %d", kind, prefix)
			}
		}
	}
}

func TestBadJWK(t *testing.T) {
	change := func(jwk, old, new string) string {
		bad := strings.Replace(jwk, old, new, 1)
		if bad == jwk {
			t.Fatalf("nothing changed: %s", old)
		}
		return bad
	}
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	long := new(big.Int).Lsh(big.NewInt(1), MaxRSA)
	modulus := func(n *big.Int) string { return `{"kty":"RSA","n":"` + encode64(n.Bytes()) + `","e":"AQAB"}` }
	zero := append([]byte{0}, short.N.Bytes()...)
	for name, c := range map[string]struct {
		jwk     string
		unknown bool
	}{
		"nothing":          {"", false},
		"null":             {"null", true},
		"empty":            {"{}", true},
		"d":                {change(edExample, "{", `{"d":"",`), false},
		"p":                {change(rsaExample, "{", `{"p":null,`), false},
		"k":                {change(edExample, "{", `{"k":"AA",`), false},
		"symmetric":        {`{"kty":"oct"}`, true},
		"repeated":         {change(edExample, "{", `{"kty":"OKP",`), false},
		"curve":            {change(pExample, "P-256", "P-384"), true},
		"curve of OKP":     {change(edExample, "Ed25519", "Ed448"), true},
		"RSA with a curve": {change(rsaExample, "{", `{"crv":"P-256",`), true},
		"no x":             {change(edExample, `"x"`, `"z"`), false},
		"y":                {change(edExample, "{", `{"y":"AA",`), false},
		"no y":             {change(pExample, `"y"`, `"z"`), false},
		"padding":          {change(edExample, `URo"`, `URo="`), false},
		"spare bits":       {change(edExample, `URo"`, `URp"`), false},
		"off P-256":        {change(pExample, `"4Et`, `"5Et`), false},
		"off secp256k1":    {change(kExample, `"SDr`, `"TDr`), false},
		"other curve":      {change(kExample, "secp256k1", "P-256"), false},
		"1024 bits":        {modulus(short.N), true},
		"too long":         {modulus(long), true},
		"very long":        {`{"kty":"RSA","n":"` + strings.Repeat("A", 1<<20) + `","e":"AQAB"}`, true},
		"no n":             {`{"kty":"RSA","e":"AQAB"}`, false},
		"leading zero":     {`{"kty":"RSA","n":"` + encode64(zero) + `","e":"AQAB"}`, false},
		"even n":           {change(rsaExample, `DKgw"`, `DKgA"`), false},
		"no e":             {change(rsaExample, `"e"`, `"f"`), false},
		"e of one":         {change(rsaExample, "AQAB", "AQ"), false},
		"even e":           {change(rsaExample, "AQAB", "AQAA"), false},
		"long e":           {change(rsaExample, "AQAB", "AQAAAAE"), false},
		"e with a zero":    {change(rsaExample, "AQAB", "AAEAAQ"), false},
		"e of 32 bits":     {change(rsaExample, "AQAB", "gAAAAQ"), false},
	} {
		if k, err := ParseJWK([]byte(c.jwk)); err == nil || errors.Is(err, ErrUnknownKey) != c.unknown {
			t.Errorf("%s: %+v, %v", name, k, err)
		}
	}
	if _, err := ParseJWK([]byte(change(rsaExample, "AQAB", "Aw"))); err != nil {
		t.Errorf("e of three: %v", err)
	}
}

func FuzzJWK(f *testing.F) {
	for _, s := range []string{rsaExample, edExample, xExample, pExample, kExample} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		k, err := ParseJWK(b)
		if err != nil {
			return
		}
		kind, public, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		again, err := JWKOf(kind, public)
		if err != nil || again.Thumbprint() != k.Thumbprint() {
			t.Errorf("%s: %+v, %v", b, again, err)
		}
		SealCompact([]byte("x"), CompactRecipient{KeyID: "x", Key: k}, "")
	})
}
