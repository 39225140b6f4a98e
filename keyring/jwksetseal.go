package keyring

import (
	"crypto/cipher"
	"crypto/rand"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer"
)

// jwkSetData is what authenticates a sealed set as one, beside its secret.
const jwkSetData = "coffer JWK set 1"

// maxSealedSet bounds a sealed set.
const maxSealedSet = 256 << 10

// Seal returns the set, encrypted under a secret that is used for nothing else (XChaCha20-Poly1305 with a random nonce,
// which comes first): for a place where others may see it.
func (s *JWKSet) Seal(secret [32]byte) ([]byte, error) {
	secrets, err := s.marshal()
	if err != nil {
		return nil, err
	}
	defer clear(secrets)
	aead := jwkSetAEAD(secret)
	nonce := make([]byte, aead.NonceSize(), aead.NonceSize()+len(secrets)+aead.Overhead())
	rand.Read(nonce)
	return aead.Seal(nonce, nonce, secrets, []byte(jwkSetData)), nil
}

// OpenJWKSet opens what [JWKSet.Seal] returned: Corrupt if it is something else, or under another secret.
func OpenJWKSet(secret [32]byte, sealed []byte) (*JWKSet, error) {
	aead := jwkSetAEAD(secret)
	n := aead.NonceSize()
	damaged := coffer.Errorf("keyring", coffer.Corrupt, "not a sealed set of keys, or not under this secret")
	if len(sealed) < n || len(sealed) > maxSealedSet {
		return nil, damaged
	}
	secrets, err := aead.Open(nil, sealed[:n], sealed[n:], []byte(jwkSetData))
	if err != nil {
		return nil, damaged
	}
	defer clear(secrets)
	return unmarshalJWKSet(secrets)
}

func jwkSetAEAD(secret [32]byte) cipher.AEAD {
	aead, err := chacha20poly1305.NewX(secret[:])
	if err != nil {
		panic(err) // only for a key of another length
	}
	return aead
}
