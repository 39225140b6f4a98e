package merge

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"math/big"
	"os"
	"testing"

	"github.com/cofferhq/coffer"
)

// vectorFile is what the published client, hub-sdk-js 0.1.2, made and computed.
type vectorFile struct {
	Parties map[string]struct {
		KeyID      string                `json:"kid"`
		PrivateJWK struct{ N, E string } `json:"privateKeyJwk"`
	}
	Commits []struct {
		Name      string
		Commit    coffer.Commit
		Rev       coffer.CommitRev
		Object    coffer.CommitRev `json:"object_id"`
		Protected map[string]any   `json:"protectedHeaders"`
	}
	States []struct {
		Commits []string
		Payload any
	}
}

func vectors(t testing.TB) *vectorFile {
	t.Helper()
	b, err := os.ReadFile("../internal/jose/testdata/hub-sdk-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var v vectorFile
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatal(err)
	}
	return &v
}

type rs256 rsa.PublicKey

func (k *rs256) Verify(message, signature []byte) bool {
	sum := sha256.Sum256(message)
	return rsa.VerifyPKCS1v15((*rsa.PublicKey)(k), crypto.SHA256, sum[:], signature) == nil
}

// TestVectors compares with what the published client made.
func TestVectors(t *testing.T) {
	v := vectors(t)
	keys := map[string]*rs256{}
	for _, p := range v.Parties {
		number := func(s string) *big.Int {
			b, err := base64.RawURLEncoding.DecodeString(s)
			if err != nil {
				t.Fatal(err)
			}
			return new(big.Int).SetBytes(b)
		}
		keys[p.KeyID] = &rs256{N: number(p.PrivateJWK.N), E: int(number(p.PrivateJWK.E).Int64())}
	}
	byName := map[string]*Commit{}
	for _, w := range v.Commits {
		c, err := Parse(&w.Commit)
		if err != nil {
			t.Fatalf("%s: %v", w.Name, err)
		}
		if c.Rev != w.Rev || c.Object != w.Object {
			t.Errorf("%s: is %v of %v, want %v of %v", w.Name, c.Rev, c.Object, w.Rev, w.Object)
		}
		h := c.Header
		for name, got := range map[string]string{
			"alg": h.Alg, "kid": h.KeyID, "iss": h.Issuer, "interface": h.Interface, "context": h.Context, "type": h.Type,
			"operation": h.Operation, "commit_strategy": h.Strategy, "sub": h.Sub, "committed_at": h.CommittedText,
		} {
			if got != w.Protected[name] {
				t.Errorf("%s: %s is %q, want %q", w.Name, name, got, w.Protected[name])
			}
		}
		if !c.Verify(keys[h.KeyID]) || c.Verify(keys["did:test:bob#key-1"]) {
			t.Errorf("%s: the signature is not the one of its key", w.Name)
		}
		byName[w.Name] = c
	}
	if len(byName) != 7 || len(v.States) != 2 {
		t.Fatalf("%d commits, %d states", len(byName), len(v.States))
	}
	for _, w := range v.States {
		var commits []*Commit
		for _, name := range w.Commits {
			commits = append(commits, byName[name])
		}
		want, err := json.Marshal(w.Payload)
		if err != nil {
			t.Fatal(err)
		}
		permute(commits, func(order []*Commit) {
			s, err := Of(order)
			if err != nil {
				t.Fatal(err)
			}
			if s.Deleted != (w.Payload == nil) || !s.Deleted && string(s.Value) != string(want) {
				t.Fatalf("%q, deleted %v; want %s", s.Value, s.Deleted, want)
			}
		})
	}
}
