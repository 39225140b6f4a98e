package ident

import (
	"context"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// FuzzID resolves names without a network, and holds what comes out against what a name may stand for.
func FuzzID(f *testing.F) {
	for _, s := range []string{
		"did:key:" + alice, alice, "did:key:" + carol, "did:key:zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv",
		"did:key:zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", didJWK(edJWK), didJWK(k1JWK), didJWK(rsaJWK),
		"did:web:example.org%3A8443:a:b", "https://example.org/a", "urn:uuid:0", "did:x:y#z", "",
	} {
		f.Add(s)
	}
	r := newResolver(f, Options{})
	f.Fuzz(func(t *testing.T, id string) {
		got, err := r.Resolve(context.Background(), id)
		if (got == nil) != (err != nil) || err != nil && coffer.KindOf(err) == coffer.Other {
			t.Fatalf("%v, %v", got, err)
		}
		if _, host, err := webURL(id); err == nil && strings.ContainsAny(host, "/?#@[]\\ ") {
			t.Errorf("host %q", host)
		}
		if err != nil {
			r.Key(context.Background(), id, coffer.Invocation)
			return
		}
		wellFormed(t, id, got)
		for _, k := range got.Invoke {
			if _, err := r.Key(context.Background(), k.ID, coffer.Invocation); (err == nil) != (k.Type == Ed25519) {
				t.Errorf("key: %v", err)
			}
		}
		// One text for each key: nobody can go by two names of this kind.
		if multikey := strings.TrimPrefix(id, "did:key:"); multikey[0] == 'z' {
			if k, err := parseMultikey(multikey); err != nil || k.multikey() != multikey {
				t.Errorf("%v, %v", k, err)
			}
		}
	})
}

// wellFormed fails unless the identity holds only keys of its own, each well formed and good for what it is listed for.
func wellFormed(t *testing.T, id string, got *coffer.Identity) {
	t.Helper()
	if got.ID != id || jose.Valid(got.Document) != nil || len(got.Services) > maxServices {
		t.Errorf("%+v", got)
	}
	for _, list := range [][]coffer.PublicKey{
		got.Authenticate, got.Invoke, got.Delegate, got.Assert, got.Agreement,
	} {
		if len(list) > maxKeys {
			t.Errorf("%d keys", len(list))
		}
		for _, k := range list {
			if err := (key{k.Type, k.Public}).check(); err != nil || !strings.HasPrefix(k.ID, id+"#") || k.Controller != id {
				t.Errorf("%+v: %v", k, err)
			}
		}
	}
	for _, k := range got.Agreement {
		if k.Type == Ed25519 {
			t.Error("an Ed25519 key does not agree")
		}
	}
	for _, list := range [][]coffer.PublicKey{got.Authenticate, got.Invoke, got.Delegate, got.Assert} {
		for _, k := range list {
			if k.Type == X25519 {
				t.Error("an X25519 key does not sign")
			}
		}
	}
}

func FuzzDocument(f *testing.F) {
	f.Add([]byte(documentOf(somebody)))
	f.Add([]byte(`{"id":"` + somebody + `","keyAgreement":[` + methodJSON("#a", "Multikey", multibase(carol)) + `]}`))
	f.Add([]byte(`{"id":"` + somebody + `","verificationMethod":[` +
		methodJSON("#a", "JsonWebKey2020", `"publicKeyJwk":`+k1JWK) + `],"assertionMethod":["#a"]}`))
	f.Add([]byte(`{"id":"` + somebody +
		`","service":[{"id":"#a","type":["x","y"],"serviceEndpoint":{"uri":"z","locations":["a"]}}]}`))
	f.Add([]byte(`{"id":"` + somebody + `","publicKey":[` + methodJSON("#a", RSA, `"publicKeyJwk":`+rsaJWK) + `]}`))
	f.Add([]byte(`{"id":"` + somebody + `","publicKey":[` + methodJSON("#a", "Multikey", multibase(alice)) +
		`],"authentication":[{"type":"x","publicKey":"#a"}]}`))
	f.Add([]byte(`{"didDocument":` + documentOf(somebody) + `,"didResolutionMetadata":{"error":""}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func(string, []byte) (*coffer.Identity, error){parseDocument, parseResolution} {
			got, err := parse(somebody, b)
			if (got == nil) != (err != nil) || err != nil && coffer.KindOf(err) == coffer.Other {
				t.Fatalf("%v, %v", got, err)
			}
			if err == nil {
				wellFormed(t, somebody, got)
			}
		}
	})
}

func FuzzJWK(f *testing.F) {
	f.Add([]byte(edJWK))
	f.Add([]byte(k1JWK))
	f.Add([]byte(rsaJWK))
	f.Add([]byte(`{"crv":"P-256","kty":"EC","x":"acbIQiuMs3i8_uszEjJ2tpTtRM4EU3yz91PH6CdH2V0","y":"_KcyLj9vWMptnmKtm46GqDz8wf74I5LKgrl2GzH3nSE"}`))
	f.Add([]byte(`{"kty":"OKP","crv":"X25519","use":"enc","x":"3p7bfXt9wbTTW2HC7OQ1Nz-DQ8hbeGdNrfx-FG-IK08","d":"AA"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		k, _, err := parseJWK(b)
		if err != nil {
			if coffer.KindOf(err) == coffer.Other {
				t.Error(err)
			}
			return
		}
		if k.kind == RSA {
			if err := k.check(); err != nil {
				t.Error(err)
			}
			return
		}
		// Both forms of a point must say that it is on the curve.
		again, err := parseMultikey(k.multikey())
		if err != nil || again.kind != k.kind || string(again.public) != string(k.public) {
			t.Errorf("%+v: %+v, %v", k, again, err)
		}
	})
}
