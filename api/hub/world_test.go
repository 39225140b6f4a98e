package hub

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// A host notes what reaches it, and answers what the test wants.
type host struct {
	mu      sync.Mutex
	called  string
	who     string
	purpose string
	owner   string
	arg     any

	err     error
	revs    []coffer.CommitRev
	added   int
	objects *coffer.ObjectPage
	commits func(*coffer.CommitQuery) *coffer.CommitPage
	items   []coffer.HubItem
	perform func(*coffer.HubAct) []coffer.HubItem
	kinds   *coffer.HubDescription
	panics  bool
}

type hostView struct {
	*host
	who     string
	purpose string
}

func (h *host) As(c grant.Caller, purpose string) coffer.Hub { return hostView{h, c.Who(), purpose} }

func (h hostView) note(what, owner string, arg any) error {
	h.host.mu.Lock()
	defer h.host.mu.Unlock()
	h.host.called, h.host.owner, h.host.arg = what, owner, arg
	h.host.who, h.host.purpose = h.who, h.purpose
	if h.panics {
		panic("a defect with a secret in it")
	}
	return h.err
}

func (h hostView) Write(_ context.Context, owner string, c *coffer.Commit) ([]coffer.CommitRev, error) {
	return h.revs, h.note("Write", owner, c)
}

func (h hostView) Adopt(_ context.Context, owner string, c ...*coffer.Commit) (int, error) {
	return h.added, h.note("Adopt", owner, c)
}

func (h hostView) Objects(_ context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	return h.objects, h.note("Objects", owner, q)
}

func (h hostView) Commits(_ context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	kept := *q
	return h.commits(q), h.note("Commits", owner, &kept)
}

func (h hostView) Perform(_ context.Context, owner string, a *coffer.HubAct) ([]coffer.HubItem, error) {
	if h.perform != nil {
		return h.perform(a), h.note("Perform", owner, a)
	}
	return h.items, h.note("Perform", owner, a)
}

func (h hostView) Describe(_ context.Context, owner string) (*coffer.HubDescription, error) {
	return h.kinds, h.note("Describe", owner, nil)
}

// A world is a server, the people who ask it, and what is known of their keys.
type world struct {
	*Server
	host     *host
	now      time.Time
	known    map[string]*keyring.JWKSet // identities by identifier
	reports  []string
	observed []string
}

const (
	alice  = "did:test:alice"
	bob    = "did:test:bob"
	hubDID = "did:test:hub"
	modern = "did:test:modern"
	other  = "did:test:other-hub"
)

type vectorFile struct {
	Parties map[string]struct {
		DID string          `json:"did"`
		Key json.RawMessage `json:"privateKeyJwk"`
	} `json:"parties"`
	Commits []struct {
		Name   string        `json:"name"`
		Commit coffer.Commit `json:"commit"`
		Rev    string        `json:"rev"`
	} `json:"commits"`
	Envelopes []struct {
		Name, Signer, Nonce, AccessToken, Body, JWS, JWE string
	} `json:"envelopes"`
}

var readVectors = sync.OnceValues(func() (v *vectorFile, err error) {
	b, err := os.ReadFile("../../internal/jose/testdata/hub-sdk-vectors.json")
	if err == nil {
		err = json.Unmarshal(b, &v)
	}
	return v, err
})

// newWorld has the people of the vectors with their RSA keys, and one with keys of today.
func newWorld(t testing.TB, change func(*ServerOptions)) *world {
	t.Helper()
	v, err := readVectors()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		host: &host{objects: new(coffer.ObjectPage), kinds: new(coffer.HubDescription)},
		now:  time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), known: make(map[string]*keyring.JWKSet),
	}
	w.host.commits = func(*coffer.CommitQuery) *coffer.CommitPage { return new(coffer.CommitPage) }
	for _, p := range v.Parties {
		w.known[p.DID] = keyring.NewJWKSet(p.DID)
		if err := w.known[p.DID].Add("key-1", p.Key); err != nil {
			t.Fatal(err)
		}
	}
	for did, kinds := range map[string][]string{
		hubDID: {"Ed25519", "X25519"}, modern: {"Ed25519", "X25519"}, other: {"Ed25519", "X25519"},
		"did:test:p256": {"P-256"}, "did:test:mute": {"Ed25519"},
	} {
		if w.known[did] == nil {
			w.known[did] = keyring.NewJWKSet(did)
		}
		for _, kind := range kinds {
			if err := w.known[did].Generate(kind, kind, ""); err != nil {
				t.Fatal(err)
			}
		}
	}
	o := ServerOptions{
		Host: w.host, Keys: []Keys{w.known[hubDID], w.known[hubDID].Under("did:test:alias")},
		Key: w.key, AnswerKey: w.answerKey, Secret: [32]byte{1}, Now: func() time.Time { return w.now },
		Strategies: []string{"basic"}, Version: "test",
		Report: func(route string, err error) { w.reports = append(w.reports, route+": "+err.Error()) },
		Observe: func(route string, status int, _ time.Duration, _ int64) {
			w.observed = append(w.observed, fmt.Sprint(route, " ", status))
		},
	}
	w.known["did:test:alias"] = w.known[hubDID].Under("did:test:alias")
	if change != nil {
		change(&o)
	}
	if w.Server, err = NewServer(o); err != nil {
		t.Fatal(err)
	}
	return w
}

type verifier func(message, signature []byte) bool

func (v verifier) Verify(message, signature []byte) bool { return v(message, signature) }

// key is what a resolver does.
func (w *world) key(_ context.Context, keyID, alg string, _ coffer.Purpose) (coffer.Verifier, error) {
	did, _, _ := strings.Cut(keyID, "#")
	set := w.known[did]
	if did == "did:test:away" {
		return nil, coffer.Errorf("key", coffer.Unavailable, "away")
	}
	if set == nil || set.Public(keyID) == nil {
		return nil, coffer.Errorf("key", coffer.NotExist, "no such key")
	}
	kind, public, err := set.Public(keyID).Public()
	if err != nil {
		return nil, err
	}
	switch {
	case kind == jose.Ed25519Key && alg == edDSA:
		return verifier(func(m, s []byte) bool { return ed25519.Verify(public, m, s) }), nil
	case kind == jose.RSAKey && (alg == rs256 || alg == rs512):
		k, err := x509.ParsePKCS1PublicKey(public)
		return verifier(func(m, s []byte) bool {
			if alg == rs512 {
				h := sha512.Sum512(m)
				return rsa.VerifyPKCS1v15(k, crypto.SHA512, h[:], s) == nil
			}
			h := sha256.Sum256(m)
			return rsa.VerifyPKCS1v15(k, crypto.SHA256, h[:], s) == nil
		}), err
	case kind == jose.P256Key && alg == "ES256":
		j := set.Public(keyID)
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, mustDecode(j.X), mustDecode(j.Y)))
		return verifier(func(m, s []byte) bool {
			h := sha256.Sum256(m)
			return len(s) == 64 && ecdsa.Verify(k, h[:], new(big.Int).SetBytes(s[:32]), new(big.Int).SetBytes(s[32:]))
		}), err
	}
	return nil, coffer.Errorf("key", coffer.Denied, "not for this algorithm")
}

func (w *world) answerKey(_ context.Context, keyID string) (coffer.PublicKey, error) {
	did, _, _ := strings.Cut(keyID, "#")
	for _, id := range append([]string{keyID}, w.known[did].KeyIDs()...) {
		if _, ok := w.known[did].Reader(id); ok {
			return w.publicKey(id)
		}
	}
	return coffer.PublicKey{}, coffer.Errorf("answer key", coffer.NotExist, "none")
}

func (w *world) publicKey(keyID string) (coffer.PublicKey, error) {
	did, _, _ := strings.Cut(keyID, "#")
	kind, public, err := w.known[did].Public(keyID).Public()
	return coffer.PublicKey{ID: keyID, Controller: did, Type: kind, Public: public}, err
}

// A letter is a message to the hub that a test makes by hand.
type letter struct {
	from    string // id of the key that signs
	to      string // id of the hub's key
	header  map[string]any
	payload string
	jws     func(string) string // changes what is signed already
}

func rsaLetter(payload string) letter {
	return letter{from: alice + "#key-1", to: hubDID + "#key-1", payload: payload}
}

func modernLetter(payload string) letter {
	return letter{from: modern + "#Ed25519", to: hubDID + "#X25519", payload: payload}
}

var nonce struct {
	sync.Mutex
	n int
}

func nextNonce() string {
	nonce.Lock()
	defer nonce.Unlock()
	nonce.n++
	return fmt.Sprint("nonce-", nonce.n)
}

// sealed returns the envelope. A nonce, an access token, alg and kid are added unless the letter has its own; a nil
// value leaves one out.
func (w *world) sealed(t testing.TB, l letter) string {
	t.Helper()
	did, _, _ := strings.Cut(l.from, "#")
	h := map[string]any{
		"alg": w.known[did].Algorithm(l.from), "kid": l.from, "did-requester-nonce": nextNonce(),
		"did-access-token": w.tokens.issue(did, w.now),
	}
	for name, v := range l.header {
		if h[name] = v; v == nil {
			delete(h, name)
		}
	}
	m := jose.NewJWS(h, []byte(l.payload))
	signature, err := w.known[did].SignInput(t.Context(), l.from, coffer.Authentication, m.Input())
	if err != nil {
		t.Fatal(err)
	}
	m.Signature = encode64(signature)
	text := m.Compact()
	if l.jws != nil {
		text = l.jws(text)
	}
	return w.encrypted(t, text, l.to)
}

func (w *world) encrypted(t testing.TB, text, to string) string {
	t.Helper()
	did, _, _ := strings.Cut(to, "#")
	e, err := jose.SealCompact([]byte(text), jose.CompactRecipient{KeyID: to, Key: w.known[did].Public(to)}, "")
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (w *world) post(body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/.identity", strings.NewReader(body))
	r.Header.Set("Content-Type", ContentType)
	return w.do(r)
}

func (w *world) do(r *http.Request) *httptest.ResponseRecorder {
	a := httptest.NewRecorder()
	w.ServeHTTP(a, r)
	return a
}

// opened opens the envelope of an answer with a key of who asked, and checks that the hub signed it.
func (w *world) opened(t testing.TB, a *httptest.ResponseRecorder, keyID string) (header, string) {
	t.Helper()
	if a.Code != 200 || a.Header().Get("Content-Type") != ContentType {
		t.Fatalf("status %d, %s: %s", a.Code, a.Header().Get("Content-Type"), a.Body)
	}
	did, _, _ := strings.Cut(keyID, "#")
	r, ok := w.known[did].Reader(keyID)
	if !ok {
		t.Fatal("no key to read with")
	}
	return w.openedBy(t, a.Body.String(), r)
}

func (w *world) openedBy(t testing.TB, body string, r jose.CompactReader) (header, string) {
	t.Helper()
	e, err := jose.ParseCompactJWE(body)
	if err != nil {
		t.Fatal(err)
	}
	text, err := e.Open(r)
	if err != nil {
		t.Fatal(err)
	}
	m, err := jose.ParseCompactJWS(string(text))
	if err != nil {
		t.Fatal(err)
	}
	var h header
	if err := m.Header(&h); err != nil {
		t.Fatal(err)
	}
	k, err := w.key(t.Context(), h.KeyID, h.Alg, coffer.Authentication)
	if err != nil {
		t.Fatal(err)
	}
	signature, _ := jose.Decode64(m.Signature)
	payload, _ := jose.Decode64(m.Payload)
	if !k.Verify(m.Input(), signature) {
		t.Fatal("the hub's signature does not verify")
	}
	return h, string(payload)
}

// ask sends a letter of the modern one and returns the text of the answer.
func (w *world) ask(t testing.TB, payload string) string {
	t.Helper()
	_, text := w.opened(t, w.post(w.sealed(t, modernLetter(payload))), modern+"#X25519")
	return text
}

// asked is a request of the commit plane by the modern one, of a type, with further members.
func asked(requestType, members string) string {
	if members != "" {
		members = "," + members
	}
	return fmt.Sprintf(`{"@context":%q,"@type":%q,"iss":%q,"sub":%q,"aud":%q%s}`,
		schemaContext, requestType, modern, alice, hubDID, members)
}

// refused checks that a text is an error with the code and the target.
func refused(t testing.TB, text, code, target string) {
	t.Helper()
	var a errorAnswer
	if err := jose.DecodeOpen([]byte(text), &a); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	if a.Context != schemaContext || a.Type != errorResponse || a.Code != code || a.Target != target ||
		a.DeveloperMessage == "" || a.Inner == nil || a.Inner.Timestamp.IsZero() {
		t.Errorf("got %s, want %s at %q", text, code, target)
	}
	if strings.Contains(text, "did:") || strings.Contains(text, "secret") {
		t.Errorf("the answer says too much: %s", text)
	}
}

// inClear checks that an answer is a refusal in the clear.
func inClear(t testing.TB, a *httptest.ResponseRecorder, status int, code string) {
	t.Helper()
	if a.Code != status || a.Header().Get("Content-Type") != "application/json" {
		t.Errorf("status %d, %s; want %d: %s", a.Code, a.Header().Get("Content-Type"), status, a.Body)
		return
	}
	refused(t, a.Body.String(), code, "")
}

func verifyEd25519(public, message, signature []byte) bool {
	return ed25519.Verify(public, message, signature)
}
