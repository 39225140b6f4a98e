package keyring

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"math/big"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A privateJWK is a private key as JSON. Of RSA keys the first three numbers are enough; what else there may be follows
// from them, and is written for others.
type privateJWK struct {
	jose.JWK
	D  string `json:"d"`
	P  string `json:"p,omitempty"`
	Q  string `json:"q,omitempty"`
	DP string `json:"dp,omitempty"`
	DQ string `json:"dq,omitempty"`
	QI string `json:"qi,omitempty"`
}

// A privateJWKSet is what is sealed in the file of a JWKSet: a JWK Set (RFC 7517, section 5) of private keys, whose
// kids are the tails, with the identifier.
type privateJWKSet struct {
	DID  string       `json:"did"`
	Keys []privateJWK `json:"keys"`
}

var errMalformedJWK = coffer.Errorf("keyring", coffer.Invalid, "not a private JWK of a kind known here")

func parsePrivateJWK(b []byte) (private any, use string, err error) {
	var j struct {
		privateJWK
		Others any `json:"oth"` // further primes
	}
	if len(b) > maxFile || jose.DecodeOpen(b, &j) != nil || j.Others != nil {
		return nil, "", errMalformedJWK
	}
	private, err = j.key()
	return private, j.Use, err
}

// key returns the private key, if all that the JWK says belongs together.
func (j *privateJWK) key() (private any, err error) {
	kind, _, err := j.Public()
	d, ok := decode(j.D)
	if err != nil || !ok || len(d) == 0 || len(d) > jose.MaxRSA/8 || kind != jose.RSAKey && len(d) != 32 {
		return nil, errMalformedJWK
	}
	defer clear(d)
	switch kind {
	case jose.RSAKey:
		private, err = j.rsa(d)
	case jose.Ed25519Key:
		private = ed25519.NewKeyFromSeed(d)
	case jose.X25519Key:
		private, err = ecdh.X25519().NewPrivateKey(d)
	case jose.P256Key:
		private, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), d)
	case jose.Secp256k1Key:
		var scalar secp256k1.ModNScalar
		if scalar.SetByteSlice(d) || scalar.IsZero() {
			return nil, errMalformedJWK
		}
		private = secp256k1.NewPrivateKey(&scalar)
	}
	if err != nil {
		return nil, errMalformedJWK
	}
	public, err := publicJWK(private)
	if err != nil || public.Thumbprint() != j.Thumbprint() {
		return nil, errMalformedJWK
	}
	return private, nil
}

func (j *privateJWK) rsa(d []byte) (*rsa.PrivateKey, error) {
	n, okN := decode(j.N)
	e, okE := decode(j.E)
	p, okP := decode(j.P)
	q, okQ := decode(j.Q)
	if !okN || !okE || !okP || !okQ || len(p) == 0 || len(q) == 0 || len(p)+len(q) > len(n)+2 {
		return nil, errMalformedJWK
	}
	number := func(b []byte) *big.Int { return new(big.Int).SetBytes(b) }
	k := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: number(n), E: int(number(e).Int64())},
		D:         number(d),
		Primes:    []*big.Int{number(p), number(q)},
	}
	k.Precompute()
	return k, k.Validate()
}

// publicJWK returns the public part of a private key.
func publicJWK(private any) (*jose.JWK, error) {
	var kind string
	var public []byte
	var err error
	switch k := private.(type) {
	case *rsa.PrivateKey:
		kind, public = jose.RSAKey, x509.MarshalPKCS1PublicKey(&k.PublicKey)
	case ed25519.PrivateKey:
		kind, public = jose.Ed25519Key, k[ed25519.SeedSize:]
	case *ecdh.PrivateKey:
		kind, public = jose.X25519Key, k.PublicKey().Bytes()
	case *ecdsa.PrivateKey:
		kind = jose.P256Key
		if public, err = k.PublicKey.Bytes(); err == nil {
			public = append([]byte{2 | public[64]&1}, public[1:33]...)
		}
	case *secp256k1.PrivateKey:
		kind, public = jose.Secp256k1Key, k.PubKey().SerializeCompressed()
	}
	if err != nil {
		return nil, errMalformedJWK
	}
	j, err := jose.JWKOf(kind, public)
	if err != nil {
		return nil, errMalformedJWK
	}
	return j, nil
}

// marshal returns the secrets as they are sealed. The caller clears them.
func (s *JWKSet) marshal() ([]byte, error) {
	set := privateJWKSet{DID: s.did, Keys: make([]privateJWK, len(s.keys))}
	for i, k := range s.keys {
		j := &set.Keys[i]
		j.JWK = k.public
		switch private := k.private.(type) {
		case *rsa.PrivateKey:
			p := private.Precomputed
			for _, n := range []struct {
				to   *string
				from *big.Int
			}{
				{&j.D, private.D},
				{&j.P, private.Primes[0]},
				{&j.Q, private.Primes[1]},
				{&j.DP, p.Dp},
				{&j.DQ, p.Dq},
				{&j.QI, p.Qinv},
			} {
				*n.to = encode(n.from.Bytes())
			}
		case ed25519.PrivateKey:
			j.D = encode(private.Seed())
		case *ecdh.PrivateKey:
			j.D = encode(private.Bytes())
		case *ecdsa.PrivateKey:
			b, err := private.Bytes()
			if err != nil {
				return nil, coffer.Errorf("save keyring", coffer.Other, "a key has no bytes")
			}
			j.D = encode(b)
		case *secp256k1.PrivateKey:
			j.D = encode(private.Serialize())
		}
	}
	b, err := jose.Encode(set)
	if err != nil {
		return nil, coffer.Errorf("save keyring", coffer.Invalid, "the identifier is not UTF-8")
	}
	return b, nil
}

// unmarshalJWKSet undoes marshal.
func unmarshalJWKSet(b []byte) (*JWKSet, error) {
	corrupt := func() (*JWKSet, error) {
		return nil, coffer.Errorf("load keyring", coffer.Corrupt, "the secrets are malformed")
	}
	var set privateJWKSet
	if jose.Decode(b, &set) != nil || len(set.Keys) > maxJWKs {
		return corrupt()
	}
	s := NewJWKSet(set.DID)
	for i := range set.Keys {
		j := &set.Keys[i]
		private, err := j.key()
		if err != nil || s.add(j.Kid, j.Use, private) != nil {
			return corrupt()
		}
	}
	return s, nil
}
