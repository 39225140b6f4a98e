// Package keyring is the only holder of private keys.
//
// A [Ring] is one identity: an Ed25519 key that signs, the X25519 key that is the same point seen from the other side,
// to which others encrypt, and an HMAC key that blinds what is indexed. Its name is the did:key of the signing key, so
// the name alone tells others how to check its signatures and how to encrypt to it. A Ring uses its keys on request and
// hands none of them out; what it prints, logs or marshals holds no secret.
//
//	ring := keyring.Generate()
//	err := keyring.Save(path, ring, keyring.Passphrase(words))
//	…
//	ring, err := keyring.Load(path, keyring.Unlock{Passphrase: ask})
//	defer ring.Close()
//
// At rest a Ring is a small file of mode 0600, sealed under a passphrase, under a key that the operating system's
// keychain holds, or under a key in another file; doc/keyring.md describes the format, which stays readable for ever,
// and what each protection is worth. Which path the file has is the caller's decision.
package keyring

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"

	"github.com/oasisprotocol/curve25519-voi/primitives/x25519"

	"github.com/cofferhq/coffer"
)

// A Ring is a coffer.Keyring whose private keys are in this process's memory. It is safe for concurrent use.
type Ring struct {
	signing, agreement, hmac coffer.PublicKey

	mu      sync.RWMutex
	secrets *secrets // nil once closed; behind a pointer, so that no verb of fmt reaches it through a copy
}

// secrets are what must not leave. Of a generated identity all follow from the root.
type secrets struct {
	root      []byte // 32 bytes; nil for an imported identity
	signing   ed25519.PrivateKey
	agreement []byte
	hmac      []byte
}

// Generate makes a new identity from 32 random bytes.
func Generate() *Ring {
	root := make([]byte, 32)
	rand.Read(root)
	return fromRoot(root)
}

// Labels keep what is derived from one root apart (doc/keyring.md, section "What is derived").
const (
	signingLabel = "coffer-keyring/1 ed25519 seed"
	hmacLabel    = "coffer-keyring/1 hmac key"
	hmacIDLabel  = "coffer-keyring/1 hmac id"
)

// fromRoot takes the root over.
func fromRoot(root []byte) *Ring {
	derive := func(label string, n int) []byte {
		b, err := hkdf.Key(sha256.New, root, nil, label, n)
		if err != nil {
			panic("keyring: HKDF refuses a fixed length")
		}
		return b
	}
	// A UUID of version 4, which is what others have here too: it does not show that it was derived.
	id := derive(hmacIDLabel, 16)
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80
	h := hex.EncodeToString(id)
	hmacID := "urn:uuid:" + strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")

	seed := derive(signingLabel, ed25519.SeedSize)
	defer clear(seed)
	r := newRing(seed, derive(hmacLabel, 32), hmacID)
	r.secrets.root = root
	return r
}

// maxHMACID is the greatest length of an HMAC key's id.
const maxHMACID = 1024

// FromSeeds takes over an identity made elsewhere: the seed of its Ed25519 key (RFC 8032), its HMAC key, each of 32
// bytes, and the URI that names the HMAC key. The arguments are copied. Invalid if one is malformed.
func FromSeeds(ed25519Seed, hmacKey []byte, hmacID string) (*Ring, error) {
	if len(ed25519Seed) != ed25519.SeedSize || len(hmacKey) != 32 {
		return nil, coffer.Errorf("keyring", coffer.Invalid, "a seed and an HMAC key have 32 bytes")
	}
	if len(hmacID) > maxHMACID || strings.IndexByte(hmacID, ':') < 1 ||
		strings.ContainsFunc(hmacID, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return nil, coffer.Errorf("keyring", coffer.Invalid, "the HMAC key's id is not a URI")
	}
	return newRing(ed25519Seed, append([]byte(nil), hmacKey...), hmacID), nil
}

// newRing takes the HMAC key over and copies the seed.
func newRing(seed, hmacKey []byte, hmacID string) *Ring {
	// X25519 clamps its scalar, so the first half of the hash is the private key of the same point (RFC 8032, section
	// 5.1.5, and RFC 7748, section 4.1).
	h := sha512.Sum512(seed)
	defer clear(h[:])
	s := &secrets{
		signing:   ed25519.NewKeyFromSeed(seed),
		agreement: append([]byte(nil), h[:32]...),
		hmac:      hmacKey,
	}
	public := append([]byte(nil), s.signing[ed25519.SeedSize:]...)
	x := (*x25519.PrivateKey)(s.agreement).Public()
	// The prefixes are the multicodecs ed25519-pub and x25519-pub (The did:key Method v0.9, section 3.1.1).
	name := coffer.Multibase(append([]byte{0xed, 0x01}, public...))
	did := "did:key:" + name
	return &Ring{
		signing: coffer.PublicKey{ID: did + "#" + name, Controller: did, Type: "Ed25519VerificationKey2020", Public: public},
		agreement: coffer.PublicKey{
			ID:         did + "#" + coffer.Multibase(append([]byte{0xec, 0x01}, x[:]...)),
			Controller: did, Type: "X25519KeyAgreementKey2020", Public: x[:],
		},
		hmac:    coffer.PublicKey{ID: hmacID, Controller: did, Type: "Sha256HmacKey2019"},
		secrets: s,
	}
}

// DID returns the did:key of the signing key.
func (r *Ring) DID() string { return r.signing.Controller }

// Key returns the public part of the key for a use, and the zero PublicKey for an unknown use. Of the HMAC key that is
// an id, which tells an outsider nothing of the DID.
func (r *Ring) Key(use coffer.KeyUse) coffer.PublicKey {
	var k coffer.PublicKey
	switch use {
	case coffer.SigningKey:
		k = r.signing
	case coffer.AgreementKey:
		k = r.agreement
	case coffer.HMACKey:
		k = r.hmac
	}
	k.Public = append([]byte(nil), k.Public...)
	return k
}

// Sign returns the Ed25519 signature of the message. It is Invalid without a purpose, Locked once the Ring is closed.
// The purpose is not part of what is signed: the protocols fix the message to the byte, and it says itself what it is
// for.
func (r *Ring) Sign(_ context.Context, purpose coffer.Purpose, message []byte) (signature []byte, err error) {
	if purpose == "" {
		return nil, coffer.Errorf("sign", coffer.Invalid, "no purpose given")
	}
	err = r.use("sign", func(s *secrets) error {
		signature = ed25519.Sign(s.signing, message)
		return nil
	})
	return signature, err
}

// Agree returns the X25519 shared secret with the peer's public key (RFC 7748, section 6.1). It is Invalid if that is
// not 32 bytes or of low order, Locked once the Ring is closed.
func (r *Ring) Agree(_ context.Context, peer []byte) (shared []byte, err error) {
	err = r.use("agree", func(s *secrets) error {
		if shared, err = x25519.X25519(s.agreement, peer); err != nil {
			return coffer.Errorf("agree", coffer.Invalid, "not a public key that can be agreed with")
		}
		return nil
	})
	return shared, err
}

// MAC returns the HMAC-SHA256 of the message. It is Locked once the Ring is closed.
func (r *Ring) MAC(_ context.Context, message []byte) (mac []byte, err error) {
	err = r.use("MAC", func(s *secrets) error {
		h := hmac.New(sha256.New, s.hmac)
		h.Write(message)
		mac = h.Sum(nil)
		return nil
	})
	return mac, err
}

// use calls f with the secrets, which stay what they are until it returns.
func (r *Ring) use(op string, f func(*secrets) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if r.secrets == nil {
		return coffer.Errorf(op, coffer.Locked, "the keyring is closed")
	}
	return f(r.secrets)
}

// Close overwrites the private keys with zeros. Copies that the Go runtime and its cryptography made while the keys
// were used may stay in memory until that is used for something else. The public parts remain.
func (r *Ring) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.secrets; s != nil {
		clear(s.root)
		clear(s.signing)
		clear(s.agreement)
		clear(s.hmac)
		r.secrets = nil
	}
	return nil
}

// hidden stands for a Ring, and for a Protection, wherever one is printed.
const hidden = "keyring (not shown)"

// Format prints no secret, and not whose it is, whatever the verb.
func (r *Ring) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// String returns no secret, and not whose it is.
func (r *Ring) String() string { return hidden }

// GoString returns no secret, and not whose it is.
func (r *Ring) GoString() string { return hidden }

// MarshalJSON returns no secret, and not whose it is: a Ring leaves this process only by Save.
func (r *Ring) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// LogValue returns no secret, and not whose it is.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(hidden) }
