package hub_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/hubtest"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/node/hub"
	"github.com/cofferhq/coffer/node/vault"
	"github.com/cofferhq/coffer/store/blob/files"
	"github.com/cofferhq/coffer/store/postgres"
)

// TestSuite tells all stories at hubs in this process, each on a store of its own.
func TestSuite(t *testing.T) {
	hubtest.Run(t, func(t testing.TB) *hubtest.Place {
		h := &house{vaults: func(t testing.TB) *coffertest.Vaults { return coffertest.NewVaults(t, vault.Limits{}) }}
		return h.place(t, 0)
	})
}

// TestSuiteOnPostgres tells them at hubs on one database.
func TestSuiteOnPostgres(t *testing.T) {
	documents, err := postgres.Open(t.Context(), servers.Database(t), postgres.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { documents.Close() })
	chunks, err := files.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	vaults := coffertest.NewVaultsOn(t, vault.Limits{}, documents, chunks)
	hubtest.Run(t, func(t testing.TB) *hubtest.Place {
		h := &house{vaults: func(testing.TB) *coffertest.Vaults { return vaults }}
		return h.place(t, 0)
	})
}

// A house has places whose clocks go alike.
type house struct {
	vaults func(testing.TB) *coffertest.Vaults
	ahead  atomic.Int64 // nanoseconds by which the clocks are ahead
}

// place makes a place, which asks strangers for so many bits of work.
func (h *house) place(t testing.TB, work int) *hubtest.Place {
	limits := hubtest.Limits{
		ActionSize: 1000, SenderBurst: 5, ActionsWait: 8, StoreKeys: 5, StoreBytes: 10_000, ObjectCommits: 20,
	}
	now := func() time.Time { return time.Now().Add(time.Duration(h.ahead.Load())) }
	service := hub.New(hub.Options{
		Vaults: coffertest.HubVaults(t, h.vaults(t)),
		Key:    keyOf,
		Filter: coffertest.HubFilter,
		Signer: somebody("hub"),
		Secret: sha256.Sum256([]byte(t.Name())),
		Limits: hub.Limits{
			Commits: limits.ObjectCommits, Actions: limits.ActionSize, Waiting: limits.ActionsWait,
			SenderBurst: limits.SenderBurst, SenderEvery: time.Minute, OwnerBurst: 1000,
			StoreKeys: int64(limits.StoreKeys), StoreBytes: limits.StoreBytes,
			Work: work,
		},
		PublicProfile: true,
		Now:           now,
	})
	person := func(name string) hubtest.Person {
		who := somebody(name)
		hubs := func(purpose string) coffer.Hub { return service.As(who.caller(t), purpose) }
		return hubtest.Person{DID: who.DID(), Hub: hubs(""), For: hubs, Sign: who.sign(t)}
	}
	return &hubtest.Place{
		Alice: person("alice"), Bob: person("bob"), Carol: person("carol"), Dave: person("dave"),
		Nobody:  service.As(grant.Caller{}, ""),
		Fresh:   func(t testing.TB) *hubtest.Place { return h.place(t, work) },
		Guarded: h.place,
		Now:     now,
		Advance: func(d time.Duration) { h.ahead.Add(int64(d)) },
		Limits:  limits,
	}
}

// somebody has a name and a key.
type somebody string

func (s somebody) private() ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(s))
	return ed25519.NewKeyFromSeed(seed[:])
}

func (s somebody) DID() string   { return "did:example:" + string(s) }
func (s somebody) KeyID() string { return s.DID() + "#key-1" }
func (s somebody) Alg() string   { return "EdDSA" }

func (s somebody) SignInput(_ context.Context, input []byte) ([]byte, error) {
	return ed25519.Sign(s.private(), input), nil
}

func (s somebody) Verify(message, signature []byte) bool {
	return len(signature) == ed25519.SignatureSize &&
		ed25519.Verify(s.private().Public().(ed25519.PublicKey), message, signature)
}

// keyOf returns the key of anybody whose identifier is an example.
func keyOf(_ context.Context, keyID, alg string, _ coffer.Purpose) (coffer.Verifier, error) {
	name, ok := strings.CutPrefix(strings.TrimSuffix(keyID, "#key-1"), "did:example:")
	if !ok || somebody(name).KeyID() != keyID || alg != "EdDSA" {
		return nil, coffer.Errorf("key", coffer.NotExist, "no such key")
	}
	return somebody(name), nil
}

// caller returns who signs a message to the hub.
func (s somebody) caller(t testing.TB) grant.Caller {
	t.Helper()
	j := jose.NewJWS(map[string]string{"alg": s.Alg(), "kid": s.KeyID(), "did-requester-nonce": "n"}, nil)
	signature, _ := s.SignInput(context.Background(), j.Input())
	j.Signature = base64.RawURLEncoding.EncodeToString(signature)
	m, err := grant.ReadMessage(j.Compact())
	if err != nil {
		t.Fatal(err)
	}
	facts := &grant.MessageFacts{Key: keyOf, Audience: []string{"did:example:hub"}}
	signed, err := m.Verify(context.Background(), facts)
	if err != nil {
		t.Fatal(err)
	}
	c, err := signed.Caller(s.DID(), "did:example:hub")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// sign signs commits.
func (s somebody) sign(t testing.TB) func(map[string]any, []byte) *coffer.Commit {
	return func(protected map[string]any, payload []byte) *coffer.Commit {
		protected["alg"], protected["kid"] = s.Alg(), s.KeyID()
		j := jose.NewJWS(protected, payload)
		signature, err := s.SignInput(context.Background(), j.Input())
		if err != nil {
			t.Fatal(err)
		}
		return &coffer.Commit{
			Protected: j.Protected, Payload: j.Payload, Signature: base64.RawURLEncoding.EncodeToString(signature),
		}
	}
}
