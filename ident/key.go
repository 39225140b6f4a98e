package ident

import (
	"bytes"
	"crypto/ecdh"
	"crypto/elliptic"
	"errors"
	"math/big"

	"github.com/oasisprotocol/curve25519-voi/curve"
	"github.com/oasisprotocol/curve25519-voi/primitives/x25519"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// The types of keys in an Identity, whatever its document calls them.
const (
	Ed25519   = jose.Ed25519Key   // 32 bytes, RFC 8032
	X25519    = jose.X25519Key    // 32 bytes, RFC 7748
	P256      = jose.P256Key      // 33 bytes: the compressed point, SEC 1
	Secp256k1 = jose.Secp256k1Key // 33 bytes: the compressed point, SEC 1
	RSA       = jose.RSAKey       // PKCS #1 DER, of 2048 to 8192 bits
)

// A key is a public key of one of these types. What the parsers return is well formed.
type key struct {
	kind   string
	public []byte
}

// errUnknownKey is the reason when a key may be well formed but is of a kind that this package does not know.
var errUnknownKey = errors.New("unknown kind of key")

// codecs are the multicodec prefixes of the kinds.
var codecs = [...]struct {
	kind   string
	prefix string
}{
	{Ed25519, "\xed\x01"},
	{X25519, "\xec\x01"},
	{P256, "\x80\x24"},
	{Secp256k1, "\xe7\x01"},
}

// multikey returns the key's multibase text, as did:key and publicKeyMultibase have it. There is one text per key.
func (k key) multikey() string {
	for _, c := range codecs {
		if c.kind == k.kind {
			return coffer.Multibase(append([]byte(c.prefix), k.public...))
		}
	}
	return ""
}

// parseMultikey reads what multikey writes.
func parseMultikey(s string) (key, error) {
	b, err := coffer.ParseMultibase(s)
	if err != nil {
		return key{}, err
	}
	for _, c := range codecs {
		if public, ok := bytes.CutPrefix(b, []byte(c.prefix)); ok {
			k := key{c.kind, public}
			return k, k.check()
		}
	}
	return key{}, coffer.E("key", coffer.Invalid, errUnknownKey)
}

// check returns an Invalid error unless the key is one: of the right length, and a point of its curve. An X25519 key is
// any 32 bytes; those of low order are found out when they are used.
func (k key) check() error {
	ok := false
	switch k.kind {
	case Ed25519:
		var y curve.CompressedEdwardsY
		if _, err := y.SetBytes(k.public); err == nil {
			_, err = new(curve.EdwardsPoint).SetCompressedY(&y)
			ok = err == nil
		}
	case X25519:
		ok = len(k.public) == 32
	case P256:
		if len(k.public) == 33 {
			x, _ := elliptic.UnmarshalCompressed(elliptic.P256(), k.public)
			ok = x != nil
		}
	case Secp256k1:
		if len(k.public) == 33 && (k.public[0] == 2 || k.public[0] == 3) {
			p, x := secp256k1Prime(), new(big.Int).SetBytes(k.public[1:])
			ok = x.Cmp(p) < 0 && big.Jacobi(secp256k1Square(x, p), p) == 1
		}
	}
	if !ok {
		return coffer.Errorf("key", coffer.Invalid, "not a public key of its kind")
	}
	return nil
}

// compress returns the compressed form of the point (x, y) of 32 bytes each, if it is on the curve of the kind.
func compress(kind string, x, y []byte) (key, error) {
	if len(x) != 32 || len(y) != 32 {
		return key{}, coffer.Errorf("key", coffer.Invalid, "a coordinate must have 32 bytes")
	}
	k := key{kind, append([]byte{2 + y[31]&1}, x...)}
	ok := false
	switch kind {
	case P256:
		_, err := ecdh.P256().NewPublicKey(append(append([]byte{4}, x...), y...))
		ok = err == nil
	case Secp256k1:
		p, x, y := secp256k1Prime(), new(big.Int).SetBytes(x), new(big.Int).SetBytes(y)
		ok = x.Cmp(p) < 0 && y.Cmp(p) < 0 && y.Exp(y, big.NewInt(2), p).Cmp(secp256k1Square(x, p)) == 0
	}
	if !ok {
		return key{}, coffer.Errorf("key", coffer.Invalid, "not a public key of its kind")
	}
	return k, nil
}

// secp256k1Prime returns 2^256 - 2^32 - 977, the prime of the field (SEC 2, section 2.4.1).
func secp256k1Prime() *big.Int {
	p := new(big.Int).Lsh(big.NewInt(1), 256)
	return p.Sub(p, big.NewInt(1<<32+977))
}

// secp256k1Square returns x³ + 7 modulo p, which is y² if x is on the curve.
func secp256k1Square(x, p *big.Int) *big.Int {
	s := new(big.Int).Exp(x, big.NewInt(3), p)
	return s.Mod(s.Add(s, big.NewInt(7)), p)
}

// agreement returns the X25519 key that belongs to an Ed25519 key: the same point on the other form of the curve.
func (k key) agreement() (key, error) {
	u, ok := x25519.EdPublicKeyToX25519(k.public)
	if !ok {
		return key{}, coffer.Errorf("key", coffer.Invalid, "not a public key of its kind")
	}
	return key{X25519, u}, nil
}
