package ident

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1 "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// algorithms are the signatures of a JWS that are checked here, and the kinds of key that make them.
var algorithms = map[string]string{"RS256": RSA, "RS512": RSA, "ES256": P256, "ES256K": Secp256k1, "EdDSA": Ed25519}

// MessageKey returns the verifier of the key that keyID names, for signatures in the form that a JWS of this "alg" has:
// RS256 and RS512 by RSA keys, ES256 by P-256, ES256K by secp256k1, EdDSA by Ed25519. The owner is what stands before
// the first "#"; his document must list the key for the purpose, as for [Resolver.Key]. It is Invalid for other
// algorithms, malformed ids and unknown purposes, NotExist when the document has no such key, Denied when it has it,
// but not for this purpose or of another kind; for the rest as Resolve.
func (r *Resolver) MessageKey(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error) {
	kind := algorithms[alg]
	if kind == "" {
		return nil, coffer.Errorf("key", coffer.Invalid, "signatures of this algorithm are not checked here")
	}
	if kind == Ed25519 {
		if v, ok := r.named(keyID, p); ok {
			return v, nil
		}
	}
	k, err := r.listed(ctx, keyID, p)
	if err != nil {
		return nil, err
	}
	if k.Type != kind {
		return nil, coffer.Errorf("key", coffer.Denied, "not a key for this algorithm")
	}
	if kind == Ed25519 {
		return r.verifier(key{k.Type, k.Public})
	}
	name := alg + " " + string(k.Public) // no multikey: they have no spaces
	if v, ok := r.verifiers.Get(name); ok {
		return v, nil
	}
	v, err := newMessageVerifier(alg, k.Public)
	if err != nil {
		return nil, coffer.Errorf("key", coffer.Invalid, "not a public key of its kind")
	}
	r.verifiers.Add(name, v)
	return v, nil
}

func newMessageVerifier(alg string, public []byte) (coffer.Verifier, error) {
	switch alg {
	case "ES256":
		x, y := elliptic.UnmarshalCompressed(elliptic.P256(), public)
		if x == nil {
			return nil, jose.ErrUnknownKey
		}
		point := make([]byte, 65)
		point[0] = 4
		x.FillBytes(point[1:33])
		y.FillBytes(point[33:])
		k, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), point)
		return p256Verifier{k}, err
	case "ES256K":
		k, err := secp256k1.ParsePubKey(public)
		return secp256k1Verifier{k}, err
	}
	k, err := x509.ParsePKCS1PublicKey(public)
	return rsaVerifier{k, alg == "RS512"}, err
}

// An rsaVerifier checks RS256 and RS512 (RFC 7518, section 3.3).
type rsaVerifier struct {
	key  *rsa.PublicKey
	long bool // SHA-512
}

// Verify keeps the contract of coffer.Verifier.
func (v rsaVerifier) Verify(message, signature []byte) bool {
	if v.long {
		digest := sha512.Sum512(message)
		return rsa.VerifyPKCS1v15(v.key, crypto.SHA512, digest[:], signature) == nil
	}
	digest := sha256.Sum256(message)
	return rsa.VerifyPKCS1v15(v.key, crypto.SHA256, digest[:], signature) == nil
}

// A p256Verifier checks ES256 (RFC 7518, section 3.4): two numbers of 32 bytes.
type p256Verifier struct{ key *ecdsa.PublicKey }

// Verify keeps the contract of coffer.Verifier.
func (v p256Verifier) Verify(message, signature []byte) bool {
	if len(signature) != 64 {
		return false
	}
	digest := sha256.Sum256(message)
	r, s := new(big.Int).SetBytes(signature[:32]), new(big.Int).SetBytes(signature[32:])
	return ecdsa.Verify(v.key, digest[:], r, s)
}

// A secp256k1Verifier checks ES256K (RFC 8812, section 3.2): two numbers of 32 bytes. The second may be in the upper
// half of its range: the specification does not ask for less, and what a commit is called does not depend on its
// signature.
type secp256k1Verifier struct{ key *secp256k1.PublicKey }

// Verify keeps the contract of coffer.Verifier.
func (v secp256k1Verifier) Verify(message, signature []byte) bool {
	if len(signature) != 64 {
		return false
	}
	var r, s secp256k1.ModNScalar
	if r.SetByteSlice(signature[:32]) || s.SetByteSlice(signature[32:]) { // not below the order
		return false
	}
	digest := sha256.Sum256(message)
	return k1.NewSignature(&r, &s).Verify(digest[:], v.key)
}

// AnswerKey returns the key to encrypt an answer to for who signed with the key that signerKeyID names: that key
// itself, which is what clients of hubs expect, if it is of RSA or P-256 and its JWK does not say that it only signs;
// else the first RSA, X25519 or P-256 key that its owner's document lists for being encrypted to. jose.JWKOf makes a
// JWK of it.
// Invalid for a malformed id, NotExist when the document has no such key, or none to encrypt to; for the rest as
// Resolve.
func (r *Resolver) AnswerKey(ctx context.Context, signerKeyID string) (coffer.PublicKey, error) {
	identity, err := r.owner(ctx, signerKeyID)
	if err != nil {
		return coffer.PublicKey{}, err
	}
	signer, ok := findAny(signerKeyID, identity)
	if !ok {
		return coffer.PublicKey{}, errNoKey
	}
	_, listed := find(signerKeyID, identity.Agreement)
	if (signer.Type == RSA || signer.Type == P256) && (listed || useOf(identity, signerKeyID) != "sig") {
		return signer, nil
	}
	for _, k := range identity.Agreement {
		if agrees(k) {
			return k, nil
		}
	}
	return coffer.PublicKey{}, coffer.Errorf("key", coffer.NotExist, "its owner has no key to encrypt to")
}
