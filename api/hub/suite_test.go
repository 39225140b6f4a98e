package hub_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	api "github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/hubtest"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/node/hub"
	"github.com/cofferhq/coffer/node/vault"
)

// TestSuite tells all stories at hubs across a socket. Each of the people has keys of another kind.
func TestSuite(t *testing.T) {
	people := map[string]requester{
		"alice": ringRequester(coffertest.Person(t, "alice")),
		"bob":   setRequester(t, "RSA"),
		"carol": setRequester(t, "P-256"),
		"dave":  setRequester(t, "Ed25519"), // with nothing to encrypt to: each answer goes to a key that came along
	}
	keys := keyring.NewJWKSet(hubDID)
	for _, kind := range []string{"RSA", "Ed25519", "X25519"} {
		if err := keys.Generate(kind, kind, ""); err != nil {
			t.Fatal(err)
		}
	}
	limits := hubtest.Limits{
		ActionSize: 1000, SenderBurst: 5, ActionsWait: 8, StoreKeys: 5, StoreBytes: 10_000, ObjectCommits: 20,
	}
	hubtest.Run(t, func(t testing.TB) *hubtest.Place { return newPlace(t, keys, people, limits, new(atomic.Int64)) })
}

const hubDID = "did:web:hub.example"

// newPlace makes a place on a store of its own, kept by the hub with these keys. Its clock is ahead by so many
// nanoseconds.
func newPlace(
	t testing.TB, keys *keyring.JWKSet, people map[string]requester, limits hubtest.Limits, ahead *atomic.Int64,
) *hubtest.Place {
	now := func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }
	resolver, err := ident.New(ident.Options{Pinned: []ident.Pin{{ID: hubDID, Document: document(t, keys)}}, Now: now})
	if err != nil {
		t.Fatal(err)
	}
	service := hub.New(hub.Options{
		Vaults: coffertest.HubVaults(t, coffertest.NewVaults(t, vault.Limits{})),
		Key:    resolver.MessageKey, Filter: coffertest.HubFilter, Signer: signer{keys}, Secret: sha256.Sum256([]byte(t.Name())),
		Limits: hub.Limits{
			Commits: limits.ObjectCommits, Actions: limits.ActionSize, Waiting: limits.ActionsWait,
			SenderBurst: limits.SenderBurst, SenderEvery: time.Minute, OwnerBurst: 1000,
			StoreKeys: int64(limits.StoreKeys), StoreBytes: limits.StoreBytes,
		},
		PublicProfile: true, Now: now,
	})
	server, err := api.NewServer(api.ServerOptions{
		Host: service, Keys: []api.Keys{keys}, Key: resolver.MessageKey, AnswerKey: resolver.AnswerKey,
		Secret: [32]byte{1}, Now: now, Report: func(_ string, err error) { t.Error(err) },
	})
	if err != nil {
		t.Fatal(err)
	}
	at := httptest.NewServer(server)
	t.Cleanup(at.Close)
	identity, err := resolver.Resolve(t.Context(), hubDID)
	if err != nil {
		t.Fatal(err)
	}
	person := func(name string) hubtest.Person {
		who := people[name]
		hubs := func(purpose string) coffer.Hub {
			c, err := api.NewClient(api.ClientOptions{
				URL: at.URL + "/.identity", Hub: identity, Requester: who, Key: resolver.MessageKey, Now: now, Purpose: purpose,
			})
			if err != nil {
				t.Fatal(err)
			}
			return c
		}
		return hubtest.Person{DID: who.DID(), Hub: hubs(""), For: hubs, Sign: who.commit(t)}
	}
	return &hubtest.Place{
		Alice: person("alice"), Bob: person("bob"), Carol: person("carol"), Dave: person("dave"),
		Fresh:   func(t testing.TB) *hubtest.Place { return newPlace(t, keys, people, limits, ahead) },
		Now:     now,
		Advance: func(d time.Duration) { ahead.Add(int64(d)) },
		Limits:  limits,
	}
}

// document is the identity document of the hub.
func document(t testing.TB, keys *keyring.JWKSet) []byte {
	t.Helper()
	type method struct {
		ID         string    `json:"id"`
		Type       string    `json:"type"`
		Controller string    `json:"controller"`
		Key        *jose.JWK `json:"publicKeyJwk"`
	}
	methods := make([]method, 0, 3)
	for _, id := range keys.KeyIDs() {
		methods = append(methods, method{id, "JsonWebKey2020", hubDID, keys.Public(id)})
	}
	b, err := json.Marshal(map[string]any{
		"@context": "https://www.w3.org/ns/did/v1", "id": hubDID, "verificationMethod": methods,
		"authentication":  []string{hubDID + "#RSA", hubDID + "#Ed25519"},
		"assertionMethod": []string{hubDID + "#RSA", hubDID + "#Ed25519"},
		"keyAgreement":    []string{hubDID + "#RSA", hubDID + "#X25519"},
	})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// signer signs what the verb plane writes.
type signer struct{ *keyring.JWKSet }

func (s signer) KeyID() string { return hubDID + "#Ed25519" }
func (s signer) Alg() string   { return "EdDSA" }

func (s signer) SignInput(ctx context.Context, input []byte) ([]byte, error) {
	return s.JWKSet.SignInput(ctx, s.KeyID(), coffer.Assertion, input)
}

// A requester signs requests, and commits, too.
type requester struct{ api.Requester }

func ringRequester(r *keyring.Ring) requester { return requester{api.KeyringRequester(r)} }

// setRequester is somebody whose identifier is a key of the kind.
func setRequester(t testing.TB, kind string) requester {
	t.Helper()
	set := keyring.NewJWKSet("did:example:new")
	if err := set.Generate("0", kind, ""); err != nil {
		t.Fatal(err)
	}
	set = set.Under(keyring.JWKDID(set.Public(set.KeyIDs()[0])))
	return requester{api.SetRequester(set, set.KeyIDs()[0])}
}

// commit signs commits.
func (r requester) commit(t testing.TB) func(map[string]any, []byte) *coffer.Commit {
	return func(protected map[string]any, payload []byte) *coffer.Commit {
		protected["alg"], protected["kid"] = r.Algorithm(), r.KeyID()
		j := jose.NewJWS(protected, payload)
		signature, err := r.SignInput(context.Background(), coffer.Assertion, j.Input())
		if err != nil {
			t.Fatal(err)
		}
		return &coffer.Commit{
			Protected: j.Protected, Payload: j.Payload, Signature: base64.RawURLEncoding.EncodeToString(signature),
		}
	}
}
