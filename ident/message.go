package ident

import (
	"context"

	"github.com/cofferhq/coffer"
)

// MessageKey returns the verifier of the key that keyID names, for signatures in the form of a JWS with this "alg":
// RS256 or RS512 for RSA keys, ES256 for P-256, ES256K for secp256k1, EdDSA for Ed25519. It is Invalid for other
// algorithms and malformed ids, NotExist when the owner's document has no such key, Denied when it has it, but not for
// this purpose or algorithm; for the rest as Resolve.
func (r *Resolver) MessageKey(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error) {
	return nil, coffer.Errorf("key", coffer.Unavailable, "not yet")
}

// AnswerKey returns the key to encrypt an answer to for who signed with the key that signerKeyID names: the same key if
// it can be encrypted to, else the first that the owner's document lists for it. NotExist when there is none.
func (r *Resolver) AnswerKey(ctx context.Context, signerKeyID string) (coffer.PublicKey, error) {
	return coffer.PublicKey{}, coffer.Errorf("key", coffer.Unavailable, "not yet")
}
