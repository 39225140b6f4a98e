package keyring

import (
	"context"
	"crypto"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	k1 "github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A JWKSet holds the private keys of one identity whose identifier is not made of them, as those of a hub: of the kinds
// that JSON Web Keys have, by key id. A key's id is the identifier, "#", and the key's tail. A set uses its keys on
// request and hands none of them out; what it prints, logs or marshals holds no secret.
//
// It is safe for concurrent use once all keys are in it.
type JWKSet struct {
	did  string
	keys []*jwkKey // in the order in which they were added; behind pointers, so that no verb of fmt reaches them
}

// A jwkKey is a private key, and what it can do.
type jwkKey struct {
	tail   string
	public jose.JWK
	// private is an *rsa.PrivateKey, an ed25519.PrivateKey, an *ecdsa.PrivateKey of P-256, a *secp256k1.PrivateKey, or an
	// *ecdh.PrivateKey of X25519.
	private any
	agree   *ecdh.PrivateKey // of X25519 and P-256 keys; else nil
}

// Bounds of a set.
const (
	maxJWKs = 32
	maxTail = 256
)

// NewJWKSet returns a set without keys. An identifier that is made of a key may be given later, by [JWKSet.Under].
func NewJWKSet(did string) *JWKSet { return &JWKSet{did: did} }

// Generate adds a new key: "RSA" (of 2048 bits), "Ed25519", "X25519", "P-256" or "secp256k1". Its use is "sig", "enc",
// or "" for all that it can do. It is Invalid for other kinds, for a use that the kind does not have, and for a tail
// that is not printable ASCII of 1 to 256 bytes; Conflict if there is a key of that tail, Exhausted beyond 32 keys.
func (s *JWKSet) Generate(tail, kind, use string) error {
	var private any
	var err error
	switch kind {
	case "RSA":
		private, err = rsa.GenerateKey(rand.Reader, jose.MinRSA)
	case "Ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "X25519":
		private, err = ecdh.X25519().GenerateKey(rand.Reader)
	case "P-256":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "secp256k1":
		private, err = secp256k1.GeneratePrivateKey()
	default:
		return coffer.Errorf("keyring", coffer.Invalid, "unknown kind of key")
	}
	if err != nil {
		return coffer.Errorf("keyring", coffer.Unavailable, "no key could be made")
	}
	return s.add(tail, use, private)
}

// Add adds a key that was made elsewhere: a private JWK (RFC 7517; RFC 7518, section 6; RFC 8037; RFC 8812) of one of
// the kinds of [JWKSet.Generate], RSA of 2048 to 8192 bits with both primes. Its "use" counts, its "kid" does not.
// Invalid if it is malformed, or the parts do not belong together; else as Generate.
func (s *JWKSet) Add(tail string, privateJWK []byte) error {
	private, use, err := parsePrivateJWK(privateJWK)
	if err != nil {
		return err
	}
	return s.add(tail, use, private)
}

func (s *JWKSet) add(tail, use string, private any) error {
	invalid := func(reason string) error { return coffer.Errorf("keyring", coffer.Invalid, reason) }
	if tail == "" || len(tail) > maxTail {
		return invalid("a key's id needs a tail of at most 256 bytes")
	}
	for i := range len(tail) {
		if c := tail[i]; c <= ' ' || c > '~' {
			return invalid("the tail of a key's id is printable ASCII")
		}
	}
	if s.find(s.did+"#"+tail) != nil {
		return coffer.Errorf("keyring", coffer.Conflict, "there is a key of that id")
	}
	if len(s.keys) == maxJWKs {
		return coffer.Errorf("keyring", coffer.Exhausted, "too many keys")
	}
	public, err := publicJWK(private)
	if err != nil {
		return err
	}
	k := &jwkKey{tail: tail, public: *public, private: private}
	k.public.Kid, k.public.Use = tail, use
	switch private := private.(type) {
	case *ecdh.PrivateKey:
		k.agree = private
	case *ecdsa.PrivateKey:
		if k.agree, err = private.ECDH(); err != nil {
			return invalid("not a key of its kind")
		}
	}
	switch use {
	case "":
	case "sig":
		k.agree = nil
		if k.algorithm() == "" {
			return invalid("this kind of key does not sign")
		}
	case "enc":
		if k.agree == nil && k.public.Kty != "RSA" {
			return invalid("this kind of key cannot be encrypted to")
		}
	default:
		return invalid(`the use of a key is "sig", "enc" or ""`)
	}
	s.keys = append(s.keys, k)
	return nil
}

func (s *JWKSet) find(keyID string) *jwkKey {
	for _, k := range s.keys {
		if n := len(s.did); len(keyID) > n && keyID[:n] == s.did && keyID[n] == '#' && keyID[n+1:] == k.tail {
			return k
		}
	}
	return nil
}

// DID returns the identity's identifier.
func (s *JWKSet) DID() string { return s.did }

// KeyIDs returns the ids of the keys, in the order in which they were added.
func (s *JWKSet) KeyIDs() []string {
	ids := make([]string, len(s.keys))
	for i, k := range s.keys {
		ids[i] = s.did + "#" + k.tail
	}
	return ids
}

// Public returns the public part of a key, with its use, and its tail as the kid; nil if there is no such key.
func (s *JWKSet) Public(keyID string) *jose.JWK {
	k := s.find(keyID)
	if k == nil {
		return nil
	}
	public := k.public
	return &public
}

// Algorithm returns the "alg" of the signatures that a key makes: RS256, EdDSA, ES256, ES256K, or "" if it makes none,
// or there is no such key.
func (s *JWKSet) Algorithm(keyID string) string {
	if k := s.find(keyID); k != nil {
		return k.algorithm()
	}
	return ""
}

func (k *jwkKey) algorithm() string {
	if k.public.Use == "enc" {
		return ""
	}
	switch k.private.(type) {
	case *rsa.PrivateKey:
		return "RS256"
	case ed25519.PrivateKey:
		return "EdDSA"
	case *ecdsa.PrivateKey:
		return "ES256"
	case *secp256k1.PrivateKey:
		return "ES256K"
	}
	return ""
}

// SignInput returns the key's signature of the input, in the form that a JWS has (RFC 7518, sections 3.3 and 3.4; RFC
// 8037; RFC 8812). It is Invalid without a purpose, NotExist if there is no such key, Denied if it does not sign. The
// purpose is not part of what is signed.
func (s *JWKSet) SignInput(_ context.Context, keyID string, p coffer.Purpose, input []byte) ([]byte, error) {
	if p == "" {
		return nil, coffer.Errorf("sign", coffer.Invalid, "no purpose given")
	}
	k := s.find(keyID)
	if k == nil {
		return nil, coffer.Errorf("sign", coffer.NotExist, "no key of that id")
	}
	if k.algorithm() == "" {
		return nil, coffer.Errorf("sign", coffer.Denied, "the key does not sign")
	}
	digest := sha256.Sum256(input)
	signature := make([]byte, 64)
	var err error
	switch private := k.private.(type) {
	case *rsa.PrivateKey:
		signature, err = rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, input)
	case *ecdsa.PrivateKey:
		r, s, failed := ecdsa.Sign(rand.Reader, private, digest[:])
		if err = failed; err == nil {
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
		}
	case *secp256k1.PrivateKey:
		made := k1.Sign(private, digest[:])
		r, s := made.R(), made.S()
		r.PutBytesUnchecked(signature[:32])
		s.PutBytesUnchecked(signature[32:])
	}
	if err != nil {
		return nil, coffer.Errorf("sign", coffer.Other, "the key failed")
	}
	return signature, nil
}

// Reader returns the key as one that opens what was encrypted to it; false if it cannot be encrypted to, or there is no
// such key.
func (s *JWKSet) Reader(keyID string) (jose.CompactReader, bool) {
	k := s.find(keyID)
	if k == nil || k.public.Use == "sig" {
		return jose.CompactReader{}, false
	}
	r := jose.CompactReader{KeyID: keyID, Curve: jose.Curve(k.public.Crv)}
	if private, ok := k.private.(*rsa.PrivateKey); ok {
		r.Decrypt = func(ciphertext []byte) ([]byte, error) {
			return rsa.DecryptOAEP(sha1.New(), nil, private, ciphertext, nil)
		}
		return r, true
	}
	if k.agree == nil {
		return jose.CompactReader{}, false
	}
	r.Agree = func(ephemeral []byte) ([]byte, error) {
		public, err := k.agree.Curve().NewPublicKey(ephemeral)
		if err != nil {
			return nil, err
		}
		return k.agree.ECDH(public)
	}
	return r, true
}

// Under returns the same keys as those of another identifier.
func (s *JWKSet) Under(did string) *JWKSet {
	return &JWKSet{did: did, keys: s.keys[:len(s.keys):len(s.keys)]}
}

// JWKDID returns the did:jwk of a public key. Its use counts, its kid and alg do not. The key's id is the DID and "#0".
func JWKDID(key *jose.JWK) string {
	public := *key
	public.Kid, public.Alg = "", ""
	b, err := jose.Encode(public)
	if err != nil {
		return "" // a text that is not UTF-8: no key
	}
	return "did:jwk:" + base64.RawURLEncoding.EncodeToString(b)
}

// sealedSet is the first byte of a sealed set: the form of what follows.
const sealedSet = 1

// setData is what a sealed set is authenticated with beside its first byte.
const setData = "coffer JWK set"

// maxSealedSet bounds a sealed set.
const maxSealedSet = 256 << 10

// Seal returns the set encrypted under a secret that is used for nothing else, for a place where others may see it. The
// form is in doc/keyring.md.
func (s *JWKSet) Seal(secret [32]byte) ([]byte, error) { return s.seal(secret, rand.Reader) }

func (s *JWKSet) seal(secret [32]byte, random io.Reader) ([]byte, error) {
	secrets, err := s.marshal()
	if err != nil {
		return nil, err
	}
	defer clear(secrets)
	aead, err := chacha20poly1305.NewX(secret[:])
	if err != nil {
		return nil, coffer.E("seal keys", coffer.Other, err)
	}
	b := make([]byte, 1+chacha20poly1305.NonceSizeX)
	b[0] = sealedSet
	if _, err := io.ReadFull(random, b[1:]); err != nil {
		return nil, coffer.Errorf("seal keys", coffer.Unavailable, "no randomness")
	}
	return aead.Seal(b, b[1:], secrets, []byte(setData+string(b[:1]))), nil
}

// OpenJWKSet opens what [JWKSet.Seal] returned: Corrupt if it is something else, or under another secret; Invalid if a
// newer version made it.
func OpenJWKSet(secret [32]byte, sealed []byte) (*JWKSet, error) {
	const op = "open keys"
	damaged := coffer.Errorf(op, coffer.Corrupt, "not a sealed set of keys, or not under this secret")
	const head = 1 + chacha20poly1305.NonceSizeX
	switch {
	case len(sealed) < head || len(sealed) > maxSealedSet:
		return nil, damaged
	case sealed[0] > sealedSet:
		return nil, coffer.Errorf(op, coffer.Invalid, "sealed by a newer version of this program; update it")
	}
	aead, err := chacha20poly1305.NewX(secret[:])
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	secrets, err := aead.Open(nil, sealed[1:head], sealed[head:], []byte(setData+string(sealed[:1])))
	if err != nil {
		return nil, damaged
	}
	defer clear(secrets)
	return unmarshalJWKSet(secrets)
}

// Format prints no secret, and not whose it is, whatever the verb.
func (s *JWKSet) Format(f fmt.State, _ rune) { io.WriteString(f, hidden) }

// String returns no secret, and not whose it is.
func (s *JWKSet) String() string { return hidden }

// GoString returns no secret, and not whose it is.
func (s *JWKSet) GoString() string { return hidden }

// MarshalJSON returns no secret, and not whose it is: a set leaves this process only by [JWKSet.Seal].
func (s *JWKSet) MarshalJSON() ([]byte, error) { return []byte(`"` + hidden + `"`), nil }

// LogValue returns no secret, and not whose it is.
func (s *JWKSet) LogValue() slog.Value { return slog.StringValue(hidden) }
