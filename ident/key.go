package ident

import (
	"bytes"

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

// codecs are the multicodec prefixes of the kinds that are written so.
var codecs = [...]struct {
	kind   string
	prefix string
}{
	{Ed25519, "\xed\x01"},
	{X25519, "\xec\x01"},
	{P256, "\x80\x24"},
	{Secp256k1, "\xe7\x01"},
}

// multikey returns the key's multibase text, as did:key and publicKeyMultibase have it. There is one text per key, and
// none of an RSA key.
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
	return key{}, coffer.E("key", coffer.Invalid, jose.ErrUnknownKey)
}

// check returns an Invalid error unless the key is one: of the right form, and a point of its curve. An X25519 key is
// any 32 bytes; those of low order are found out when they are used.
func (k key) check() error {
	var err error
	if k.kind == Ed25519 {
		var y curve.CompressedEdwardsY
		if _, err = y.SetBytes(k.public); err == nil {
			_, err = new(curve.EdwardsPoint).SetCompressedY(&y)
		}
	} else {
		_, err = jose.JWKOf(k.kind, k.public)
	}
	if err != nil {
		return coffer.Errorf("key", coffer.Invalid, "not a public key of its kind")
	}
	return nil
}

// agreement returns the X25519 key that belongs to an Ed25519 key: the same point on the other form of the curve.
func (k key) agreement() (key, error) {
	u, ok := x25519.EdPublicKeyToX25519(k.public)
	if !ok {
		return key{}, coffer.Errorf("key", coffer.Invalid, "not a public key of its kind")
	}
	return key{X25519, u}, nil
}
