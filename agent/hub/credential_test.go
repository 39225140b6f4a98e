package hub_test

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/internal/jose"
	nodehub "github.com/cofferhq/coffer/node/hub"
)

type object = map[string]any

// A bureau signs credentials and presentations as people.
type bureau struct {
	*world
	t testing.TB
}

func (b bureau) did(name string) string { return b.ring(name).DID() }

func (b bureau) json(v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		b.t.Fatal(err)
	}
	return text
}

// jwt signs claims as somebody.
func (b bureau) jwt(by string, p coffer.Purpose, claims object) string {
	ring := b.ring(by)
	j := jose.NewJWS(map[string]string{"alg": "EdDSA", "kid": ring.Key(coffer.SigningKey).ID}, b.json(claims))
	signature, err := ring.Sign(b.t.Context(), p, j.Input())
	if err != nil {
		b.t.Fatal(err)
	}
	j.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return j.Compact()
}

// integrity adds a proof to a document, with other members.
func (b bureau) integrity(by string, p coffer.Purpose, purpose string, document, members object) object {
	ring := b.ring(by)
	proof := object{
		"type": "DataIntegrityProof", "cryptosuite": "eddsa-jcs-2022", "created": "2026-01-01T00:00:00Z",
		"verificationMethod": ring.Key(coffer.SigningKey).ID, "proofPurpose": purpose,
	}
	maps.Copy(proof, members)
	hash := func(v object) []byte {
		text, err := jose.Canonical(b.json(v))
		if err != nil {
			b.t.Fatal(err)
		}
		sum := sha256.Sum256(text)
		return sum[:]
	}
	signature, err := ring.Sign(b.t.Context(), p, slices.Concat(hash(proof), hash(document)))
	if err != nil {
		b.t.Fatal(err)
	}
	proof["proofValue"] = coffer.Multibase(signature)
	document = maps.Clone(document)
	document["proof"] = proof
	return document
}

// credential is one by the state about Alice, with some members changed; nil removes them.
func (b bureau) credential(change object) object {
	c := object{
		"@context": []string{"https://www.w3.org/ns/credentials/v2"},
		"type":     []string{"VerifiableCredential", "AgeOver18"}, "issuer": b.did("state"),
		"validFrom": "2020-01-01T00:00:00Z", "credentialSubject": object{"id": b.did("alice"), "over": 18},
	}
	for name, v := range change {
		if c[name] = v; v == nil {
			delete(c, name)
		}
	}
	return c
}

// TestProof has Alice send what is a proof, and what is none.
func TestProof(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	w.begin("alice", "bank")
	b := bureau{w, t}
	alice, bank := w.open("alice", "alice"), w.open("bank", "bank")
	must(w.open("bank", "alice").RequestAttestation(ctx, hub.Attestation{Types: []string{"AgeOver18"}, Nonce: "n"},
		&hub.SendOptions{Copy: bank}))(t)
	asked := must(bank.Asked(ctx))(t)
	const signs, presents = coffer.Assertion, coffer.Authentication
	soon, ago := w.now().Add(time.Hour), w.now().Add(-time.Hour)
	signed := func(change object) object {
		return b.integrity("state", signs, "assertionMethod", b.credential(change), nil)
	}
	old := func(by string, change object) string { // VC-JWT of 2019
		claims := object{
			"iss": b.did(by), "sub": b.did("alice"), "nbf": ago.Unix(), "exp": soon.Unix(),
			"vc": object{"type": []string{"VerifiableCredential", "AgeOver18"}, "credentialSubject": object{"over": 18}},
		}
		maps.Copy(claims, change)
		return b.jwt(by, signs, claims)
	}
	presentation := func(parts ...any) object {
		return object{"type": "VerifiablePresentation", "verifiableCredential": parts}
	}
	presented := func(by string, change object, parts ...any) string {
		claims := object{"iss": b.did(by), "aud": b.did("bank"), "nonce": "n", "vp": presentation(parts...)}
		maps.Copy(claims, change)
		return b.jwt(by, presents, claims)
	}
	bound := func(by string, members object, parts ...any) object {
		return b.integrity(by, presents, "authentication", presentation(parts...), members)
	}
	state := func(purpose string, members object) object {
		return b.integrity("state", signs, purpose, b.credential(nil), members)
	}
	challenge := func(nonce, domain string) object { return object{"challenge": nonce, "domain": b.did(domain)} }
	x, bobs := []string{"VerifiableCredential", "X"}, object{"id": b.did("bob")}
	bobsToo := object{"sub": b.did("bob")}
	held := presentation(signed(nil))
	held["holder"] = b.did("bob")
	odd := presentation(signed(nil))
	odd["holder"] = []string{b.did("bob")}
	altered := signed(nil)
	altered["credentialSubject"] = object{"id": b.did("alice"), "over": 21}
	elsewhere := state("assertionMethod", object{"@context": []string{"x"}})
	inContext := state("assertionMethod", object{"@context": []string{"https://www.w3.org/ns/credentials/v2"}})
	forged := old("bob", nil)
	header := jose.NewJWS(object{"alg": "EdDSA", "kid": w.ring("state").Key(coffer.SigningKey).ID}, nil)
	forged = header.Protected + forged[slices.Index([]byte(forged), '.'):]

	good, invalid, corrupt := coffer.Kind(255), coffer.Invalid, coffer.Corrupt
	for name, one := range map[string]struct {
		proof any
		want  coffer.Kind
	}{
		"a credential with a proof":        {signed(nil), good},
		"with its context in the proof":    {inContext, good},
		"that ends":                        {signed(object{"validUntil": soon}), good},
		"a JWT of 2019":                    {old("state", nil), good},
		"a JWT of 2025":                    {b.jwt("state", signs, b.credential(nil)), good},
		"a presentation":                   {presentation(signed(nil), old("state", nil)), good},
		"one that is a JWT":                {presented("alice", nil, signed(nil)), good},
		"one with a proof":                 {bound("alice", challenge("n", "bank"), signed(nil)), good},
		"another type beside":              {presentation(signed(nil), signed(object{"type": x})), good},
		"nothing":                          {nil, invalid},
		"words":                            {"of age", invalid},
		"some JSON":                        {object{"over": 18}, invalid},
		"unsigned":                         {b.credential(nil), invalid},
		"an empty presentation":            {presentation(), invalid},
		"a presentation in another":        {presentation(presentation(signed(nil))), invalid},
		"one unsigned in it":               {presentation(signed(nil), b.credential(nil)), invalid},
		"without subject":                  {signed(object{"credentialSubject": nil}), invalid},
		"two subjects":                     {signed(object{"credentialSubject": []object{bobs, bobs}}), invalid},
		"an issuer that is none":           {signed(object{"issuer": 7}), invalid},
		"a time that is none":              {signed(object{"validUntil": "tomorrow"}), invalid},
		"another suite":                    {state("assertionMethod", object{"cryptosuite": "eddsa-rdfc-2022"}), invalid},
		"two things in a JWT":              {old("state", object{"vp": presentation()}), invalid},
		"a credential in place of another": {b.jwt("state", signs, object{"vp": b.credential(nil)}), invalid},
		"a presentation in its place":      {presented("alice", object{"vp": nil, "vc": presentation(signed(nil))}), invalid},
		"held by who knows whom":           {odd, invalid},
		"too many":                         {presentation(slices.Repeat([]any{old("state", nil)}, 17)...), invalid},
		"another type":                     {signed(object{"type": []string{"VerifiableCredential", "AgeOver16"}}), corrupt},
		"altered":                          {altered, corrupt},
		"in another context":               {elsewhere, corrupt},
		"by another than its issuer":       {b.integrity("bob", signs, "assertionMethod", b.credential(nil), nil), corrupt},
		"for another purpose":              {state("authentication", nil), corrupt},
		"its proof has ended":              {state("assertionMethod", object{"expires": ago}), corrupt},
		"about another":                    {signed(object{"credentialSubject": bobs}), corrupt},
		"about nobody":                     {signed(object{"credentialSubject": object{"over": 18}}), corrupt},
		"it has ended":                     {signed(object{"validUntil": ago}), corrupt},
		"it has not begun":                 {signed(object{"validFrom": soon}), corrupt},
		"a JWT by another key":             {forged, corrupt},
		"a JWT about another":              {old("state", object{"sub": b.did("bob")}), corrupt},
		"a JWT that has ended":             {old("state", object{"exp": ago.Unix()}), corrupt},
		"a JWT that has not begun":         {old("state", object{"nbf": soon.Unix()}), corrupt},
		"a JWT in another's name":          {old("bob", object{"iss": b.did("state")}), corrupt},
		"a JWT about two":                  {old("state", object{"sub": b.did("bob"), "vc": b.credential(nil)}), corrupt},
		"presented by another":             {presented("bob", nil, signed(nil)), corrupt},
		"held by another":                  {held, corrupt},
		"presented for another nonce":      {presented("alice", object{"nonce": "m"}, signed(nil)), corrupt},
		"presented to another":             {presented("alice", object{"aud": b.did("bob")}, signed(nil)), corrupt},
		"presented to nobody":              {presented("alice", object{"aud": nil}, signed(nil)), corrupt},
		"with a proof for another nonce":   {bound("alice", challenge("m", "bank"), signed(nil)), corrupt},
		"with a proof for another":         {bound("alice", challenge("n", "bob"), signed(nil)), corrupt},
		"with a proof by another":          {bound("bob", challenge("n", "bank"), signed(nil)), corrupt},
		"with one credential about others": {presented("alice", nil, signed(nil), old("state", bobsToo)), corrupt},
	} {
		m := &hub.Message{
			From: alice.Owner(), Kind: hub.Kind{Context: "schema.identity.foundation/0.1", Type: hub.DeliverAttestationAction},
			Value: b.json(object{"nonce": "n", "proof": one.proof}),
		}
		list, _, err := asked.Proof(ctx, m)
		switch {
		case one.want == good && (err != nil || len(list) == 0):
			t.Errorf("%s: %v", name, err)
		case one.want != good && (list != nil || !errors.Is(err, one.want)):
			t.Errorf("%s: %+v, %v", name, list, err)
		}
		for _, c := range list {
			if c.Issuer != b.did("state") || c.Subject != alice.Owner() || len(c.Types) != 1 {
				t.Errorf("%s: %+v", name, c)
			}
		}
		// The same is nothing when somebody else sends it.
		m.From = b.did("bob")
		if list, _, err := asked.Proof(ctx, m); list != nil || !errors.Is(err, coffer.NotExist) {
			t.Errorf("%s, by who was not asked: %+v, %v", name, list, err)
		}
	}
}

// FuzzProof reads what strangers send for a proof.
func FuzzProof(f *testing.F) {
	w := newWorld(f, nodehub.Limits{})
	w.begin("alice", "bank")
	b := bureau{w, f}
	bank := w.open("bank", "bank")
	_, err := w.open("bank", "alice").RequestAttestation(f.Context(), hub.Attestation{Nonce: "n"},
		&hub.SendOptions{Copy: bank})
	if err != nil {
		f.Fatal(err)
	}
	asked, err := bank.Asked(f.Context())
	if err != nil {
		f.Fatal(err)
	}
	signed := b.integrity("state", coffer.Assertion, "assertionMethod", b.credential(nil), nil)
	f.Add(b.json(signed))
	f.Add(b.json(object{"type": "VerifiablePresentation", "verifiableCredential": []any{signed}}))
	f.Add(b.json(b.jwt("state", coffer.Assertion, b.credential(nil))))
	f.Add([]byte(`{"type":[],"proof":{"@context":null}}`))
	f.Fuzz(func(t *testing.T, proof []byte) {
		value, err := json.Marshal(object{"nonce": "n", "proof": json.RawMessage(proof)})
		if err != nil {
			return
		}
		list, _, err := asked.Proof(t.Context(), &hub.Message{
			From: b.did("alice"), Value: value,
			Kind: hub.Kind{Context: "schema.identity.foundation/0.1", Type: hub.DeliverAttestationAction},
		})
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d credentials, %v", len(list), err)
		}
		for _, c := range list {
			if c.Issuer == "" || c.Subject != b.did("alice") {
				t.Errorf("by %q, about %q", c.Issuer, c.Subject)
			}
		}
	})
}
