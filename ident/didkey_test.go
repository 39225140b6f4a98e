package ident

import (
	"context"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// ids returns the ids of keys.
func ids(keys []coffer.PublicKey) (all string) {
	for _, k := range keys {
		all += k.ID + " "
	}
	return strings.TrimSpace(all)
}

// canonical returns JSON in one form, so that two can be compared.
func canonical(t *testing.T, b []byte) string {
	t.Helper()
	c, err := jose.Canonical(b)
	if err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return string(c)
}

// TestAgreement compares the X25519 keys made from Ed25519 keys with known answers: of the did:key specification, of
// libsodium (its test ed25519_convert), and of people whose seeds are 32 times 11, 22, 33 and 44 (hexadecimal), made by
// hashing the seed instead.
func TestAgreement(t *testing.T) {
	r := newResolver(t, Options{})
	for ed, x := range map[string]string{
		"z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK": "z6LSj72tK8brWgZja8NLRwPigth2T9QRiG1uH9oKZuKjdh9p",
		key{Ed25519, unhex(t, "b5076a8474a832daee4dd5b4040983b6623b5f344aca57d4d6ee4baf3f259e6e")}.multikey(): key{
			X25519, unhex(t, "f1814f0e8ff1043d8a44d25babff3cedcae6c22c3edaa48f857ae70de2baae50")}.multikey(),
		alice: "z6LSjuVbCDAdUDqnzt8B2JRAHCK1ijYpM6g95nT8vRFjQnf1",
	} {
		for _, prefix := range []string{"did:key:", ""} {
			id := prefix + ed
			got, err := r.Resolve(context.Background(), id)
			if err != nil {
				t.Fatal(err)
			}
			sign, agree := id+"#"+ed, id+"#"+x
			if ids(got.Invoke) != sign || ids(got.Delegate) != sign || ids(got.Assert) != sign || ids(got.Agreement) != agree {
				t.Errorf("%s: %+v", id, got)
			}
			if k := got.Agreement[0]; k.Type != X25519 || k.Controller != id || len(k.Public) != 32 {
				t.Errorf("%s: %+v", id, k)
			}
			if k := got.Invoke[0]; k.Type != Ed25519 || k.Controller != id || len(k.Public) != 32 {
				t.Errorf("%s: %+v", id, k)
			}
		}
	}
}

// TestKeyDocument compares whole documents.
func TestKeyDocument(t *testing.T) {
	const multikeyDocument = `{
		"@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/multikey/v1"],
		"id": "ID",
		"verificationMethod": [{"id": "ID#KEY", "type": "Multikey", "controller": "ID", "publicKeyMultibase": "KEY"}],
		"authentication": ["ID#KEY"], "assertionMethod": ["ID#KEY"],
		"capabilityDelegation": ["ID#KEY"], "capabilityInvocation": ["ID#KEY"]}`
	r := newResolver(t, Options{})
	for _, c := range []struct{ multikey, kind, document string }{
		{"z6MkhaXgBZDvotDkL5257faiztiGiC2QtKLGpbnnEGta2doK", Ed25519, `{
			"@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/ed25519-2020/v1",
				"https://w3id.org/security/suites/x25519-2020/v1"],
			"id": "ID",
			"verificationMethod": [
				{"id": "ID#KEY", "type": "Ed25519VerificationKey2020", "controller": "ID", "publicKeyMultibase": "KEY"}],
			"authentication": ["ID#KEY"], "assertionMethod": ["ID#KEY"],
			"capabilityDelegation": ["ID#KEY"], "capabilityInvocation": ["ID#KEY"],
			"keyAgreement": [
				{"id": "ID#z6LSj72tK8brWgZja8NLRwPigth2T9QRiG1uH9oKZuKjdh9p", "type": "X25519KeyAgreementKey2020",
				"controller": "ID", "publicKeyMultibase": "z6LSj72tK8brWgZja8NLRwPigth2T9QRiG1uH9oKZuKjdh9p"}]}`},
		{"z6LSj72tK8brWgZja8NLRwPigth2T9QRiG1uH9oKZuKjdh9p", X25519, `{
			"@context": ["https://www.w3.org/ns/did/v1", "https://w3id.org/security/suites/x25519-2020/v1"],
			"id": "ID",
			"keyAgreement": [{"id": "ID#KEY", "type": "X25519KeyAgreementKey2020",
				"controller": "ID", "publicKeyMultibase": "KEY"}]}`},
		// P-256 and secp256k1 keys of the did:key specification.
		{"zDnaerx9CtbPJ1q36T5Ln5wYt3MQYeGRG5ehnPAmxcf5mDZpv", P256, multikeyDocument},
		{"zQ3shokFTS3brHcDQrn82RUDfCZESWL1ZdCEJwekUDPQiYBme", Secp256k1, multikeyDocument},
		{"zQ3shtxV1FrJfhqE1dvxYRcCknWNjHc3c5X1y3ZSoPDi2aur2", Secp256k1, multikeyDocument},
		{"zQ3shZc2QzApp2oymGvQbzP8eKheVshBHbU4ZYjeXqwSKEn6N", Secp256k1, multikeyDocument},
	} {
		id := "did:key:" + c.multikey
		got, err := r.Resolve(context.Background(), id)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		want := strings.NewReplacer("ID", id, "KEY", c.multikey).Replace(c.document)
		if canonical(t, got.Document) != canonical(t, []byte(want)) {
			t.Errorf("%s:\n%s, want\n%s", id, got.Document, want)
		}
		all := append(append([]coffer.PublicKey(nil), got.Invoke...), got.Agreement...)
		if k := all[0]; k.Type != c.kind || (key{k.Type, k.Public}).multikey() != c.multikey {
			t.Errorf("%s: %+v", id, k)
		}
	}
}

func BenchmarkResolveKey(b *testing.B) {
	r := newResolver(b, Options{})
	b.ReportAllocs()
	for b.Loop() {
		r.Resolve(context.Background(), "did:key:"+alice)
	}
}
