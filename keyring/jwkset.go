package keyring

import (
	"context"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A JWKSet holds the private keys of one identity that is named by its identity document, by key id: the identifier,
// "#", and the key's tail.
type JWKSet struct{ did string }

// NewJWKSet returns a set without keys.
func NewJWKSet(did string) *JWKSet { return &JWKSet{did: did} }

var errNotYet = coffer.Errorf("keyring", coffer.Unavailable, "not yet")

// Generate adds a new key: "RSA" (2048 bits), "Ed25519", "X25519", "P-256" or "secp256k1". use is "sig", "enc" or "".
func (s *JWKSet) Generate(tail, kind, use string) error { return errNotYet }

// Add adds a key given as a private JWK.
func (s *JWKSet) Add(tail string, privateJWK []byte) error { return errNotYet }

// DID returns the identity's identifier.
func (s *JWKSet) DID() string { return s.did }

// KeyIDs returns the ids of the keys in the order in which they were added.
func (s *JWKSet) KeyIDs() []string { return nil }

// Public returns the public part of a key, nil if there is no such key.
func (s *JWKSet) Public(keyID string) *jose.JWK { return nil }

// Algorithm returns how a key signs: RS256, EdDSA, ES256, ES256K, or "" if it does not.
func (s *JWKSet) Algorithm(keyID string) string { return "" }

// SignInput returns the key's signature in the form of a JWS.
func (s *JWKSet) SignInput(ctx context.Context, keyID string, p coffer.Purpose, input []byte) ([]byte, error) {
	return nil, errNotYet
}

// Reader returns the key as one that opens a compact JWE, and false if it does not.
func (s *JWKSet) Reader(keyID string) (jose.CompactReader, bool) { return jose.CompactReader{}, false }

// Under returns the same keys under another identifier.
func (s *JWKSet) Under(did string) *JWKSet { return &JWKSet{did: did} }

// SaveJWKSet writes a set to a new file, as Save does a Ring.
func SaveJWKSet(path string, s *JWKSet, p Protection) error { return errNotYet }

// LoadJWKSet reads a set from its file, as Load does a Ring.
func LoadJWKSet(path string, u Unlock) (*JWKSet, error) { return nil, errNotYet }

// JWKDID returns the did:jwk of a public key.
func JWKDID(key *jose.JWK) string { return "" }
