package grant

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"maps"
	"math/big"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// messageHeader returns the protected header of a message of somebody's.
func messageHeader(who *person) map[string]any {
	return map[string]any{
		"alg": "EdDSA", "kid": who.keyID(), "did-requester-nonce": "1111-2222", "did-access-token": "opaque",
	}
}

// messageOf signs a message, right or wrong.
func messageOf(t testing.TB, who *person, header map[string]any, payload string) string {
	t.Helper()
	j := jose.NewJWS(header, []byte(payload))
	signature, err := who.Sign(t.Context(), coffer.Authentication, j.Input())
	if err != nil {
		t.Fatal(err)
	}
	j.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return j.Compact()
}

// messageFacts are those of a hub that knows these people.
func messageFacts(people ...*person) *MessageFacts {
	return &MessageFacts{
		Audience: []string{"did:example:hub", "did:example:same"},
		Key: func(_ context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error) {
			for _, who := range people {
				if who.keyID() == keyID && alg == "EdDSA" && p == coffer.Authentication {
					return verifier(who.Key(coffer.SigningKey).Public), nil
				}
			}
			return nil, coffer.Errorf("key", coffer.Denied, "not that key")
		},
	}
}

func TestMessage(t *testing.T) {
	alice, bob := named(0x11), named(0x12)
	text := messageOf(t, alice, messageHeader(alice), `{"@type":"x"}`)
	m, err := ReadMessage(text)
	if err != nil {
		t.Fatal(err)
	}
	if m.KeyID != alice.keyID() || m.Alg != "EdDSA" || m.Nonce != "1111-2222" || m.Token != "opaque" ||
		string(m.Payload) != `{"@type":"x"}` || m.Signer() != alice.did || m.ReplyKey != nil {
		t.Errorf("got %+v", m)
	}
	facts := messageFacts(alice, bob)
	signed, err := m.Verify(t.Context(), facts)
	if err != nil || signed.signer != alice.did {
		t.Fatalf("got %v, %v", signed, err)
	}
	for _, aud := range facts.Audience {
		c, err := signed.Caller(alice.did, aud)
		if err != nil || c.Who() != alice.did {
			t.Errorf("got %v, %v", c, err)
		}
		if err := Decide(c, Act{Action: Read, Targets: []string{""}}, when, nil); !errors.Is(err, coffer.NotExist) {
			t.Errorf("a caller at hubs has rights at a vault: %v", err)
		}
	}
	for _, test := range []struct{ iss, aud, target string }{
		{bob.did, "did:example:hub", "iss"},
		{"", "did:example:hub", "iss"},
		{alice.keyID(), "did:example:hub", "iss"},
		{alice.did, "did:example:other", "aud"},
		{alice.did, "", "aud"},
		{alice.did, alice.did, "aud"},
	} {
		c, err := signed.Caller(test.iss, test.aud)
		var f *coffer.Fault
		if !errors.Is(err, coffer.Denied) || !errors.As(err, &f) || f.Target != test.target || c.Who() != "" {
			t.Errorf("%v: got %v", test, err)
		}
	}
	if _, err := (Signed{}).Caller("", ""); !errors.Is(err, coffer.Denied) {
		t.Errorf("nobody calls: %v", err)
	}
	if signed, err = m.Verify(t.Context(), &MessageFacts{Key: facts.Key}); err != nil {
		t.Fatal(err)
	}
	if _, err := signed.Caller(alice.did, ""); !errors.Is(err, coffer.Denied) {
		t.Errorf("a hub without a name is called: %v", err)
	}
}

func TestMessageForms(t *testing.T) {
	alice := named(0x11)
	header := messageHeader(alice)
	delete(header, "did-access-token")
	header["coffer-reply-key"], header["typ"] = map[string]any{"kty": "OKP"}, "JWT"
	m, err := ReadMessage(messageOf(t, alice, header, ""))
	if err != nil {
		t.Fatal(err)
	}
	if m.Token != "" || len(m.Payload) != 0 || string(m.ReplyKey) != `{"kty":"OKP"}` {
		t.Errorf("got %+v", m)
	}
	if _, err := m.Verify(t.Context(), messageFacts(alice)); err != nil {
		t.Errorf("a request for a token: %v", err)
	}
}

// TestMessageToSeveralHubs: whoever of them it comes to takes it, and nobody else.
func TestMessageToSeveralHubs(t *testing.T) {
	alice := named(0x11)
	header := messageHeader(alice)
	delete(header, "did-access-token")
	header["coffer-hubs"], header["coffer-made"] = []string{"did:example:first", "did:example:same"}, 1763730000123
	m, err := ReadMessage(messageOf(t, alice, header, ""))
	if err != nil {
		t.Fatal(err)
	}
	if len(m.Hubs) != 2 || !m.Made.Equal(time.UnixMilli(1763730000123)) {
		t.Errorf("got %+v", m)
	}
	facts := messageFacts(alice)
	signed, err := m.Verify(t.Context(), facts)
	if err != nil {
		t.Fatal(err)
	}
	for _, aud := range []string{"did:example:first", "did:example:same", "did:example:hub"} {
		if _, err := signed.Caller(alice.did, aud); err != nil {
			t.Errorf("%s: %v", aud, err)
		}
	}
	if _, err := signed.Caller(alice.did, "did:example:other"); !errors.Is(err, coffer.Denied) {
		t.Errorf("for another hub: %v", err)
	}
	facts.Audience = []string{"did:example:other"}
	if _, err := m.Verify(t.Context(), facts); !errors.Is(err, coffer.NotExist) {
		t.Errorf("at another hub: %v", err)
	}
}

func TestReadMessageRefuses(t *testing.T) {
	alice := named(0x11)
	for _, text := range badMessages(t, alice) {
		if _, err := ReadMessage(text); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%.200s: %v, want Invalid", text, err)
		}
	}
}

func badMessages(t testing.TB, alice *person) (texts []string) {
	type m = map[string]any
	hubs := []string{"did:example:hub"}
	for _, change := range []m{
		{"alg": "none"}, {"alg": "NONE"}, {"alg": ""}, {"alg": nil}, {"alg": 1}, {"alg": []string{"EdDSA"}},
		{"kid": ""}, {"kid": alice.did}, {"kid": alice.did + "#"}, {"kid": "#key"}, {"kid": 7},
		{"kid": "did:x:y#" + strings.Repeat("k", maxMessageKeyID)},
		{"crit": []string{"exp"}}, {"crit": []string{}}, {"crit": 1}, {"b64": false}, {"b64": true},
		{"did-requester-nonce": ""}, {"did-requester-nonce": nil},
		{"did-requester-nonce": strings.Repeat("n", maxMessageNonce+1)},
		{"did-access-token": strings.Repeat("t", maxMessageToken+1)}, {"did-access-token": 1},
		{"large": strings.Repeat("x", jose.MaxHeader)},
		{"coffer-hubs": hubs}, {"coffer-made": 1}, {"coffer-hubs": hubs, "coffer-made": 1}, // with a token, too
		{"did-access-token": nil, "coffer-hubs": hubs}, {"did-access-token": nil, "coffer-made": 1},
		{"did-access-token": nil, "coffer-hubs": []string{}, "coffer-made": 1},
		{"did-access-token": nil, "coffer-hubs": hubs[0], "coffer-made": 1},
		{"did-access-token": nil, "coffer-hubs": hubs, "coffer-made": 1.5},
		{"did-access-token": nil, "coffer-hubs": slices.Repeat(hubs, maxMessageHubs+1), "coffer-made": 1},
		{"did-access-token": nil, "coffer-hubs": []string{strings.Repeat("x", maxMessageHub+1)}, "coffer-made": 1},
	} {
		header := messageHeader(alice)
		maps.Copy(header, change)
		texts = append(texts, messageOf(t, alice, header, "x"))
	}
	good := messageOf(t, alice, messageHeader(alice), "x")
	part := strings.Split(good, ".")
	header, err := json.Marshal(messageHeader(alice))
	if err != nil {
		t.Fatal(err)
	}
	twice := base64.RawURLEncoding.EncodeToString([]byte(strings.Replace(string(header), "{", `{"alg":"none",`, 1)))
	return append(texts,
		"", ".", "..", "...", part[0], part[0]+"."+part[1], part[0]+"."+part[1]+".", "."+part[1]+"."+part[2],
		good+".", good+"=", good+"\n", " "+good, part[0]+".e.x"+part[2], part[0]+"."+part[1]+"="+"."+part[2],
		part[0]+".+/+/."+part[2], twice+"."+part[1]+"."+part[2], good+strings.Repeat("A", maxMessageSignature),
		"bnVsbA."+part[1]+"."+part[2], "W10."+part[1]+"."+part[2], part[0]+"."+good,
	)
}

func TestVerifyMessageRefuses(t *testing.T) {
	alice, bob := named(0x11), named(0x12)
	verify := func(text string, f *MessageFacts) error {
		t.Helper()
		m, err := ReadMessage(text)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := m.Verify(t.Context(), f)
		if err != nil && signed.signer != "" {
			t.Error("somebody signed what was refused")
		}
		return err
	}
	with := func(name, value string) map[string]any {
		h := messageHeader(alice)
		h[name] = value
		return h
	}
	good := messageOf(t, alice, messageHeader(alice), "hello")
	part := strings.Split(good, ".")
	other := strings.Split(messageOf(t, alice, with("did-requester-nonce", "3333"), "other"), ".")
	for name, text := range map[string]string{
		"signed by another":      messageOf(t, bob, messageHeader(alice), "hello"),
		"an unknown key":         messageOf(t, alice, with("kid", alice.did+"#other"), "hello"),
		"an unknown person":      messageOf(t, alice, with("kid", "did:example:nobody#key"), "hello"),
		"an unsuitable alg":      messageOf(t, alice, with("alg", "RS256"), "hello"),
		"another payload":        part[0] + "." + other[1] + "." + part[2],
		"no payload":             part[0] + ".." + part[2],
		"another header":         other[0] + "." + part[1] + "." + part[2],
		"a signature of another": part[0] + "." + part[1] + "." + other[2],
		"a short signature":      part[0] + "." + part[1] + ".AAAA",
	} {
		if err := verify(text, messageFacts(alice, bob)); !errors.Is(err, coffer.NotExist) {
			t.Errorf("%s: %v, want NotExist", name, err)
		}
	}
	for want, f := range map[coffer.Kind]*MessageFacts{
		coffer.Unavailable: {Key: func(context.Context, string, string, coffer.Purpose) (coffer.Verifier, error) {
			return nil, coffer.Errorf("resolve", coffer.Unavailable, "not now")
		}},
		coffer.NotExist: {Key: func(context.Context, string, string, coffer.Purpose) (coffer.Verifier, error) {
			return nil, nil
		}},
	} {
		if err := verify(good, f); !errors.Is(err, want) {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// FuzzReadMessage checks that what is read is within bounds and is the text that was given.
func FuzzReadMessage(f *testing.F) {
	alice := named(0x11)
	f.Add(messageOf(f, alice, messageHeader(alice), "hello"))
	f.Add(messageOf(f, alice, messageHeader(alice), ""))
	for _, text := range badMessages(f, alice) {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		m, err := ReadMessage(text)
		if err != nil {
			if !errors.Is(err, coffer.Invalid) {
				t.Fatal(err)
			}
			return
		}
		if m.Signer() == "" || !strings.HasPrefix(m.KeyID, m.Signer()+"#") || m.Alg == "" ||
			strings.EqualFold(m.Alg, "none") || m.Nonce == "" || len(m.Nonce) > maxMessageNonce || len(m.signature) == 0 {
			t.Fatalf("%q is %+v", text, m)
		}
		if string(m.input)+"."+base64.RawURLEncoding.EncodeToString(m.signature) != text {
			t.Fatalf("%q was read as something else", text)
		}
	})
}

// rs256 is an RSA key as a JWK has it.
type rs256 struct{ N, E string }

func (k *rs256) Verify(message, signature []byte) bool {
	number := func(s string) *big.Int {
		b, _ := base64.RawURLEncoding.DecodeString(s)
		return new(big.Int).SetBytes(b)
	}
	sum := sha256.Sum256(message)
	key := &rsa.PublicKey{N: number(k.N), E: int(number(k.E).Int64())}
	return rsa.VerifyPKCS1v15(key, crypto.SHA256, sum[:], signature) == nil
}

// TestPublishedClient reads and verifies what hub-sdk-js 0.1.2 sends.
func TestPublishedClient(t *testing.T) {
	b, err := os.ReadFile("../internal/jose/testdata/hub-sdk-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v struct {
		Parties map[string]struct {
			KeyID string `json:"kid"`
			JWK   *rs256 `json:"privateKeyJwk"`
		}
		Envelopes []struct{ Signer, Nonce, AccessToken, Body, JWS string }
	}
	if err := json.Unmarshal(b, &v); err != nil || len(v.Envelopes) != 4 {
		t.Fatalf("%d envelopes, %v", len(v.Envelopes), err)
	}
	facts := &MessageFacts{Key: func(_ context.Context, keyID, alg string, _ coffer.Purpose) (coffer.Verifier, error) {
		for _, p := range v.Parties {
			if p.KeyID == keyID && alg == "RS256" {
				return p.JWK, nil
			}
		}
		return nil, coffer.NotExist
	}}
	for _, e := range v.Envelopes {
		m, err := ReadMessage(e.JWS)
		if err != nil {
			t.Fatal(err)
		}
		if m.KeyID != e.Signer || m.Nonce != e.Nonce || m.Token != e.AccessToken || string(m.Payload) != e.Body {
			t.Errorf("got %+v, want %+v", m, e)
		}
		if _, err := m.Verify(t.Context(), facts); err != nil {
			t.Error(err)
		}
	}
}
