package seal

import (
	"context"
	"crypto/ecdh"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"

	"github.com/cofferhq/coffer"
)

// ring is a keyring with keys that a test chose.
type ring struct {
	id      string
	did     string
	signing ed25519.PrivateKey
	secret  *ecdh.PrivateKey
	hmacID  string
	hmacKey []byte
	agreed  int   // how often Agree was called
	fail    error // what Agree, MAC and Sign fail with
	macs    int
}

func (r *ring) DID() string { return r.did }

func (r *ring) Sign(_ context.Context, purpose coffer.Purpose, message []byte) ([]byte, error) {
	if r.fail != nil {
		return nil, r.fail
	}
	if purpose != coffer.Authorship {
		return nil, coffer.Errorf("sign", coffer.Denied, "not for this purpose")
	}
	return ed25519.Sign(r.signing, message), nil
}

func (r *ring) Key(use coffer.KeyUse) coffer.PublicKey {
	switch use {
	case coffer.SigningKey:
		return coffer.PublicKey{
			ID: r.did + "#signing", Controller: r.did, Type: "Ed25519VerificationKey2020",
			Public: r.signing.Public().(ed25519.PublicKey),
		}
	case coffer.AgreementKey:
		return coffer.PublicKey{ID: r.id, Type: "X25519KeyAgreementKey2020", Public: r.secret.PublicKey().Bytes()}
	case coffer.HMACKey:
		return coffer.PublicKey{ID: r.hmacID, Type: "Sha256HmacKey2019"}
	}
	return coffer.PublicKey{}
}

func (r *ring) Agree(_ context.Context, peer []byte) ([]byte, error) {
	r.agreed++
	if r.fail != nil {
		return nil, r.fail
	}
	public, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		return nil, coffer.E("agree", coffer.Invalid, err)
	}
	z, err := r.secret.ECDH(public)
	if err != nil {
		return nil, coffer.E("agree", coffer.Invalid, err)
	}
	return z, nil
}

func (r *ring) MAC(_ context.Context, message []byte) ([]byte, error) {
	r.macs++
	if r.fail != nil {
		return nil, r.fail
	}
	m := hmac.New(sha256.New, r.hmacKey)
	m.Write(message)
	return m.Sum(nil), nil
}

func newRing(t testing.TB, name string) *ring {
	t.Helper()
	seed := sha256.Sum256([]byte(name))
	secret, err := ecdh.X25519().NewPrivateKey(seed[:])
	if err != nil {
		t.Fatal(err)
	}
	did := "did:example:" + name
	return &ring{
		id: did + "#agreement", did: did, signing: ed25519.NewKeyFromSeed(seed[:]), secret: secret,
		hmacID: "urn:hmac:" + name, hmacKey: seed[:],
	}
}

func (r *ring) public() coffer.PublicKey { return r.Key(coffer.AgreementKey) }

// known are the known answers of published clients.
type known struct {
	JWEXC20P struct {
		KeyAgreementKey struct{ ID, PrivateKey string }
		PlaintextUtf8   string
		JWE             json.RawMessage
	}
	Stream struct {
		Plaintext string
		Chunks    []json.RawMessage
	}
	Blinding struct {
		HMACKey, HMACID string
		Document        struct {
			Sequence      uint64
			Content, Meta json.RawMessage
		}
		Indexes []struct {
			Attribute json.RawMessage
			Unique    bool
		}
		Version1, Version2 blinding
	}
}

// blinding is what one version makes of the known document and queries.
type blinding struct {
	Entry                                                        json.RawMessage
	QueryEquals, QueryTwo, QueryPrefix, QueryUnindexed, QueryHas struct {
		Index  string
		Equals []map[string]string
		Has    []string
	}
}

func knownAnswers(t testing.TB) *known {
	t.Helper()
	b, err := os.ReadFile("../../internal/vectors/edv-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	k := new(known)
	if err := json.Unmarshal(b, k); err != nil {
		t.Fatal(err)
	}
	return k
}

// knownRing holds the keys of the known answers.
func knownRing(t testing.TB, k *known) *ring {
	t.Helper()
	r := newRing(t, "known")
	r.id = k.JWEXC20P.KeyAgreementKey.ID
	var err error
	if r.secret, err = ecdh.X25519().NewPrivateKey(unhex(t, k.JWEXC20P.KeyAgreementKey.PrivateKey)); err != nil {
		t.Fatal(err)
	}
	r.hmacID, r.hmacKey = k.Blinding.HMACID, unhex(t, k.Blinding.HMACKey)
	return r
}

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
