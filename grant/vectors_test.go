package grant

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// vectors are known answers that the published JavaScript libraries gave.
type vectors struct {
	Keys map[string]struct {
		Seed  string `json:"ed25519Seed"`
		DID   string `json:"did"`
		KeyID string `json:"keyId"`
	} `json:"keys"`
	Vault struct {
		ID     string `json:"id"`
		RootID string `json:"rootCapabilityId"`
	} `json:"vault"`
	Zcaps map[string]struct {
		Capability        json.RawMessage `json:"capability"`
		DocumentNQuads    string          `json:"documentNQuads"`
		DocumentHash      string          `json:"documentHash"`
		ProofOptionsQuads string          `json:"proofOptionsNQuads"`
		ProofOptionsHash  string          `json:"proofOptionsHash"`
		SignedBytes       string          `json:"signedBytes"`
		Signature         string          `json:"signature"`
	} `json:"zcaps"`
	DataIntegrity map[Suite]json.RawMessage `json:"dataIntegrityZcaps"`
	HTTP          map[string]struct {
		Method        string            `json:"method"`
		URL           string            `json:"url"`
		Body          string            `json:"body"`
		Headers       map[string]string `json:"headers"`
		SigningString string            `json:"signingString"`
		Capability    string            `json:"capability"`
	} `json:"http"`
	Digest struct {
		Body, Multihash, SHA256, Structured string
	} `json:"digest"`
}

func readVectors(t testing.TB) *vectors {
	t.Helper()
	b, err := os.ReadFile("../internal/vectors/edv-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	v := new(vectors)
	if err := json.Unmarshal(b, v); err != nil {
		t.Fatal(err)
	}
	return v
}

// A person is a keyring with one Ed25519 key, named by did:key.
type person struct {
	coffer.Keyring
	private ed25519.PrivateKey
	did     string
}

func newPerson(seed []byte) *person {
	p := &person{private: ed25519.NewKeyFromSeed(seed)}
	public := p.private.Public().(ed25519.PublicKey)
	p.did = "did:key:" + coffer.Multibase(append([]byte{0xed, 0x01}, public...))
	return p
}

// named returns the person whose seed is one byte, repeated.
func named(b byte) *person { return newPerson([]byte(strings.Repeat(string(rune(b)), 32))) }

func (p *person) keyID() string { return p.did + "#" + strings.TrimPrefix(p.did, "did:key:") }
func (p *person) DID() string   { return p.did }

func (p *person) Key(coffer.KeyUse) coffer.PublicKey {
	return coffer.PublicKey{
		ID: p.keyID(), Controller: p.did, Type: "Ed25519VerificationKey2020", Public: p.private.Public().(ed25519.PublicKey),
	}
}

func (p *person) Sign(_ context.Context, _ coffer.Purpose, message []byte) ([]byte, error) {
	return ed25519.Sign(p.private, message), nil
}

// verifier is an Ed25519 key.
type verifier ed25519.PublicKey

func (k verifier) Verify(message, signature []byte) bool {
	return ed25519.Verify(ed25519.PublicKey(k), message, signature)
}

// didKey resolves the ids of did:key keys.
func didKey(_ context.Context, id string, _ coffer.Purpose) (coffer.Verifier, error) {
	did, fragment, _ := strings.Cut(id, "#")
	text, ok := strings.CutPrefix(did, "did:key:")
	if !ok || fragment != text {
		return nil, coffer.Errorf("key", coffer.NotExist, "not a did:key")
	}
	b, err := coffer.ParseMultibase(text)
	if err != nil || len(b) != 34 || b[0] != 0xed || b[1] != 1 {
		return nil, coffer.Errorf("key", coffer.NotExist, "not an Ed25519 key")
	}
	return verifier(b[2:]), nil
}

// when the vectors' requests were made.
var when = time.Unix(1767323045, 0)

// facts returns facts for a vault at https://vault.example whose controller is given.
func facts(vault, controller string) *Facts {
	return &Facts{
		Now:    when.Add(time.Minute),
		Origin: "https://vault.example",
		Action: Read,
		Skew:   300 * time.Second,
		Roots: func(_ context.Context, target string) ([]string, error) {
			if target == vault || target == "https://vault.example/edvs" || strings.HasPrefix(target, vault+"/zcaps/revocations/") {
				return []string{controller}, nil
			}
			return nil, nil
		},
		Key: didKey,
	}
}

func TestVectorProofs(t *testing.T) {
	v := readVectors(t)
	if len(v.Zcaps) != 6 {
		t.Fatalf("%d capabilities in the vectors", len(v.Zcaps))
	}
	for name, z := range v.Zcaps {
		t.Run(name, func(t *testing.T) {
			d, err := parseCapability(z.Capability, MaxChain-1)
			if err != nil {
				t.Fatal(err)
			}
			proof, document, err := d.canonicalRDF()
			if err != nil {
				t.Fatal(err)
			}
			if string(document) != z.DocumentNQuads {
				t.Errorf("document\n%s\nwant\n%s", document, z.DocumentNQuads)
			}
			if string(proof) != z.ProofOptionsQuads {
				t.Errorf("proof\n%s\nwant\n%s", proof, z.ProofOptionsQuads)
			}
			signed, err := d.signed()
			if err != nil {
				t.Fatal(err)
			}
			if hex.EncodeToString(signed) != z.SignedBytes || z.SignedBytes != z.ProofOptionsHash+z.DocumentHash {
				t.Error("signed bytes differ")
			}
			if hex.EncodeToString(d.value[:]) != z.Signature {
				t.Error("signature differs")
			}
			if _, err := VerifyChain(t.Context(), z.Capability, facts(v.Vault.ID, v.Keys["alice"].DID)); err != nil {
				t.Error(err)
			}
		})
	}
	for suite, capability := range v.DataIntegrity {
		t.Run(string(suite), func(t *testing.T) {
			c, err := VerifyChain(t.Context(), capability, facts(v.Vault.ID, v.Keys["alice"].DID))
			if err != nil {
				t.Fatal(err)
			}
			if c.Delegator() != v.Keys["alice"].DID || c.RootTarget() != v.Vault.ID {
				t.Error("another delegator or root")
			}
		})
	}
}

// Delegating the same with the same keys gives the same capabilities, to the last byte of the proof.
func TestVectorDelegations(t *testing.T) {
	v := readVectors(t)
	people := map[string]*person{}
	for _, k := range v.Keys {
		seed, _ := hex.DecodeString(k.Seed)
		p := newPerson(seed)
		if p.did != k.DID || p.keyID() != k.KeyID {
			t.Fatal("did:key differs")
		}
		people[p.did] = p
	}
	made := 0
	remake := func(name string, capability []byte, suite Suite) {
		d, err := parseCapability(capability, MaxChain-1)
		if err != nil {
			t.Fatal(err)
		}
		parent, _ := ParseRootID(d.chain[0])
		if d.parent != nil {
			parent = string(d.parent.raw)
		}
		o := DelegateOptions{
			Controller: d.Controller.list[0], Target: d.InvocationTarget, Expires: d.expires, Created: d.created, ID: d.ID,
			Suite: suite,
		}
		for _, a := range d.AllowedAction.list {
			o.Actions = append(o.Actions, Action(a))
		}
		b, err := Delegate(t.Context(), people[identifierOf(d.Proof.VerificationMethod)], parent, o)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var got, want map[string]any
		json.Unmarshal(b, &got)
		json.Unmarshal(capability, &want)
		// A string or an array of one is the same to the proof; which it was is not in the options.
		delete(got, "allowedAction")
		delete(want, "allowedAction")
		g, _ := json.Marshal(got)
		w, _ := json.Marshal(want)
		if string(g) != string(w) {
			t.Errorf("%s: got\n%s\nwant\n%s", name, g, w)
		}
		made++
	}
	for name, z := range v.Zcaps {
		remake(name, z.Capability, "")
	}
	for suite, z := range v.DataIntegrity {
		remake(string(suite), z, suite)
	}
	if made != 8 {
		t.Fatalf("made %d", made)
	}
}

func TestVectorRequests(t *testing.T) {
	v := readVectors(t)
	if len(v.HTTP) != 5 {
		t.Fatalf("%d requests in the vectors", len(v.HTTP))
	}
	alice := named('\x11')
	for name, r := range v.HTTP {
		t.Run(name, func(t *testing.T) {
			action := Read
			if strings.Contains(r.Headers["capability-invocation"], `action="write"`) {
				action = Write
			}
			in := &Invocation{
				Method: r.Method, URI: strings.TrimPrefix(r.URL, "https://vault.example"), Host: r.Headers["host"],
				HasBody: r.Body != "", Header: map[string][]string{},
			}
			for k, h := range r.Headers {
				in.Header[canonicalName(k)] = []string{h}
			}
			s, err := parseAuthorization(in.Header["Authorization"])
			if err != nil {
				t.Fatal(err)
			}
			if b, err := s.signingString(in); err != nil || string(b) != r.SigningString {
				t.Fatalf("signing string\n%s\nwant\n%s\n%v", b, r.SigningString, err)
			}
			f := facts(v.Vault.ID, alice.did)
			f.Action = action
			got, err := Verify(t.Context(), in, f)
			if err != nil {
				t.Fatal(err)
			}
			if got.HasDigest != (r.Body != "") || got.HasDigest && got.Digest != sha256.Sum256([]byte(r.Body)) {
				t.Error("digest differs")
			}
			if got.KeyID != s.keyID || got.Caller.Who() != identifierOf(s.keyID) {
				t.Error("another caller")
			}
			target, root := ParseRootID(r.Capability)
			if root != (len(got.Caller.Links()) == 0) {
				t.Error("links differ")
			}
			if !root {
				return // gzip of the same JSON differs; TestInvoke shows that ours is verified
			}
			i, err := NewInvoker(alice, target)
			if err != nil {
				t.Fatal(err)
			}
			request := Request{Method: r.Method, URL: r.URL, Action: action, Now: when}
			if r.Body != "" {
				sum := sha256.Sum256([]byte(r.Body))
				request.BodySum, request.ContentType = &sum, "application/json"
			}
			h, err := i.Sign(t.Context(), request)
			if err != nil {
				t.Fatal(err)
			}
			delete(in.Header, "Accept")
			delete(in.Header, "Host")
			if len(h) != len(in.Header) {
				t.Errorf("%d headers, want %d", len(h), len(in.Header))
			}
			for k := range in.Header {
				if h[k] == nil || h[k][0] != in.Header[k][0] {
					t.Errorf("%s:\n%q\nwant\n%q", k, h[k], in.Header[k])
				}
			}
		})
	}
}

func TestVectorIdentifiers(t *testing.T) {
	v := readVectors(t)
	if got := RootID(v.Vault.ID); got != v.Vault.RootID {
		t.Errorf("root id %s", got)
	}
	if got, ok := ParseRootID(v.Vault.RootID); !ok || got != v.Vault.ID {
		t.Errorf("target %s", got)
	}
	sum := sha256.Sum256([]byte(v.Digest.Body))
	for _, form := range []string{v.Digest.Multihash, v.Digest.SHA256, v.Digest.Structured} {
		got, ok, err := parseDigest([]string{form})
		if err != nil || !ok || got != sum {
			t.Errorf("%s: %v", form, err)
		}
	}
	if got := FormatDigest(sum); got != v.Digest.Multihash {
		t.Errorf("digest %s", got)
	}
}
