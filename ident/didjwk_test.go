package ident

import (
	"context"
	"encoding/base64"
	"errors"
	"math/big"
	"strings"
	"testing"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/cofferhq/coffer"
)

func didJWK(jwk string) string { return "did:jwk:" + base64.RawURLEncoding.EncodeToString([]byte(jwk)) }

// TestJWK holds both examples of the did:jwk specification and what follows for the other kinds and uses.
func TestJWK(t *testing.T) {
	const (
		p256 = "did:jwk:eyJjcnYiOiJQLTI1NiIsImt0eSI6IkVDIiwieCI6ImFjYklRaXVNczNpOF91c3pFakoydHBUdFJNNEVVM3l6OTFQSDZDZEgyVjAiLCJ5IjoiX0tjeUxqOXZXTXB0bm1LdG00NkdxRHo4d2Y3NEk1TEtncmwyR3pIM25TRSJ9"
		x255 = "did:jwk:eyJrdHkiOiJPS1AiLCJjcnYiOiJYMjU1MTkiLCJ1c2UiOiJlbmMiLCJ4IjoiM3A3YmZYdDl3YlRUVzJIQzdPUTFOei1EUThoYmVHZE5yZngtRkctSUswOCJ9"
		head = `{"@context":["https://www.w3.org/ns/did/v1","https://w3id.org/security/suites/jws-2020/v1"],"id":"ID",
			"verificationMethod":[{"id":"ID#0","type":"JsonWebKey2020","controller":"ID","publicKeyJwk":`
	)
	r := newResolver(t, Options{})
	for _, c := range []struct {
		id, document, kind string
		sign, agree        bool // as lists of the Identity
	}{
		{p256, head + `{"crv":"P-256","kty":"EC","x":"acbIQiuMs3i8_uszEjJ2tpTtRM4EU3yz91PH6CdH2V0",
			"y":"_KcyLj9vWMptnmKtm46GqDz8wf74I5LKgrl2GzH3nSE"}}],"assertionMethod":["ID#0"],"authentication":["ID#0"],
			"capabilityInvocation":["ID#0"],"capabilityDelegation":["ID#0"],"keyAgreement":["ID#0"]}`, P256, true, true},
		{x255, head + `{"kty":"OKP","crv":"X25519","use":"enc","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08"}}],
			"keyAgreement":["ID#0"]}`, X25519, false, true},
		{didJWK(edJWK), "", Ed25519, true, false},
		{didJWK(strings.Replace(edJWK, "{", `{"use":"sig","kid":"k","ext":true,`, 1)), "", Ed25519, true, false},
		{didJWK(strings.Replace(edJWK, "{", `{"use":"enc",`, 1)), "", Ed25519, false, false},
		{didJWK(k1JWK), "", Secp256k1, true, true},
		{didJWK(strings.Replace(k1JWK, "{", `{"use":"sig",`, 1)), "", Secp256k1, true, false},
	} {
		got, err := r.Resolve(context.Background(), c.id)
		if err != nil {
			t.Errorf("%s: %v", c.id, err)
			continue
		}
		want := strings.ReplaceAll(c.document, "ID", c.id)
		if want != "" && canonical(t, got.Document) != canonical(t, []byte(want)) {
			t.Errorf("%s:\n%s, want\n%s", c.id, got.Document, want)
		}
		sign, agree := "", ""
		if c.sign {
			sign = c.id + "#0"
		}
		if c.agree {
			agree = c.id + "#0"
		}
		if ids(got.Invoke) != sign || ids(got.Delegate) != sign || ids(got.Assert) != sign || ids(got.Agreement) != agree {
			t.Errorf("%s: %+v", c.id, got)
		}
		for _, k := range append(got.Invoke, got.Agreement...) {
			if k.Type != c.kind {
				t.Errorf("%s: %+v", c.id, k)
			}
		}
	}
	v, err := r.Key(context.Background(), didJWK(edJWK)+"#0", coffer.Invocation)
	if err != nil || v == nil {
		t.Errorf("Ed25519: %v", err)
	}
	if _, err := r.Key(context.Background(), p256+"#0", coffer.Invocation); !errors.Is(err, coffer.Invalid) {
		t.Errorf("P-256: %v", err)
	}
}

const (
	// RFC 8037, appendix A.2
	edJWK = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}`
	// The base point of secp256k1 (SEC 2, section 2.4.1).
	k1JWK = `{"kty":"EC","crv":"secp256k1","x":"eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g",` +
		`"y":"SDradyajxGVdpPv8DhEIqP0XtEimhVQZnEfQj_sQ1Lg"}`
)

func TestParseJWK(t *testing.T) {
	for _, good := range []string{edJWK, k1JWK} {
		k, _, err := parseJWK([]byte(good))
		if err != nil {
			t.Fatal(err)
		}
		if again, err := parseMultikey(k.multikey()); err != nil || string(again.public) != string(k.public) {
			t.Errorf("%s: %v, %v", good, again, err)
		}
	}
	over := base64.RawURLEncoding.EncodeToString(new(big.Int).Add(secp256k1.Params().P, big.NewInt(1)).Bytes())
	for name, c := range map[string]struct{ from, old, new string }{
		"private key":      {edJWK, `{`, `{"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",`},
		"empty private":    {edJWK, `{`, `{"d":"",`},
		"null private":     {edJWK, `{`, `{"d":null,`},
		"secret":           {edJWK, `{`, `{"k":"AA",`},
		"repeated":         {edJWK, `{`, `{"kty":"OKP",`},
		"unknown type":     {edJWK, `OKP`, `RSA`},
		"unknown curve":    {edJWK, `Ed25519`, `Ed448`},
		"type in capitals": {edJWK, `"kty"`, `"KTY"`},
		"curve of EC":      {edJWK, `Ed25519`, `P-256`},
		"y":                {edJWK, `{`, `{"y":"AA",`},
		"no x":             {edJWK, `"x"`, `"X"`},
		"x is a number":    {edJWK, `"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`, `11`},
		"short x":          {edJWK, `11qY`, ``},
		"spare bits":       {edJWK, `URo"`, `URp"`},
		"padding":          {edJWK, `URo"`, `URo="`},
		"line break":       {edJWK, `URo"`, `URo\n"`},
		"standard base64":  {edJWK, `_`, `/`},
		"other curve":      {k1JWK, `secp256k1`, `P-256`},
		"no y":             {k1JWK, `"y"`, `"Y"`},
		"not on the curve": {k1JWK, `"y":"S`, `"y":"T`},
		"beyond the field": {k1JWK, `eb5mfvncu6xVoGKVzocLBwKb_NstzijZWfKBWxb4F5g`, over},
		"array":            {edJWK, edJWK, `[]`},
		"nothing":          {edJWK, edJWK, ``},
		"more":             {edJWK, `}`, `} ` + edJWK},
	} {
		bad := strings.Replace(c.from, c.old, c.new, 1)
		if bad == c.from {
			t.Fatalf("%s: nothing changed", name)
		}
		if k, _, err := parseJWK([]byte(bad)); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v, %v", name, k, err)
		}
		if _, err := resolveJWK(didJWK(bad), strings.TrimPrefix(didJWK(bad), "did:jwk:")); err == nil {
			t.Errorf("did:jwk with %s: accepted", name)
		}
	}
	if _, err := resolveJWK(didJWK(edJWK), "\n"+strings.TrimPrefix(didJWK(edJWK), "did:jwk:")); err == nil {
		t.Error("did:jwk with a line end: accepted")
	}
	for _, bad := range []string{"eyJ9", "e30", "_", "a%20", "e30:e30", "e30.e30"} {
		got, err := newResolver(t, Options{}).Resolve(context.Background(), "did:jwk:"+bad)
		if !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v, %v", bad, got, err)
		}
	}
}
