package jose

import (
	"crypto/ecdh"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"math/big"

	"github.com/go-json-experiment/json/jsontext"
)

// The kinds of public keys, by their types in identity documents, and the form that the key itself has there.
const (
	Ed25519Key   = "Ed25519VerificationKey2020"        // 32 bytes, RFC 8032
	X25519Key    = "X25519KeyAgreementKey2020"         // 32 bytes, RFC 7748
	P256Key      = "EcdsaSecp256r1VerificationKey2019" // 33 bytes: the compressed point, SEC 1
	Secp256k1Key = "EcdsaSecp256k1VerificationKey2019" // 33 bytes: the compressed point, SEC 1
	RSAKey       = "RsaVerificationKey2018"            // PKCS #1 DER, RFC 8017, appendix A.1.1
)

// Bounds of RSA keys, in bits of the modulus.
const (
	MinRSA = 2048
	MaxRSA = 8192
)

// A JWK is a public key as a JSON Web Key (RFC 7517; RFC 7518, section 6; RFC 8037; RFC 8812).
type JWK struct {
	Kty string `json:"kty"`
	Crv string `json:"crv,omitempty"`
	X   string `json:"x,omitempty"`
	Y   string `json:"y,omitempty"`
	N   string `json:"n,omitempty"`
	E   string `json:"e,omitempty"`
	Kid string `json:"kid,omitempty"`
	Use string `json:"use,omitempty"` // "sig", "enc", or empty for both
	Alg string `json:"alg,omitempty"`
}

// ErrUnknownKey is in the chain of the error when a key may be well formed but is not of a kind known here, or is an
// RSA key that is too small or too large.
var ErrUnknownKey = errors.New("unknown kind of key")

var errMalformedKey = errors.New("malformed public key")

// ParseJWK reads a public key and checks it as [JWK.Public] does. Members that do not matter here are passed over, but
// a key with a private or secret member is refused: whoever made it has lost it.
func ParseJWK(b []byte) (*JWK, error) {
	var k struct {
		JWK
		D  jsontext.Value `json:"d"`
		P  jsontext.Value `json:"p"`
		Q  jsontext.Value `json:"q"`
		DP jsontext.Value `json:"dp"`
		DQ jsontext.Value `json:"dq"`
		QI jsontext.Value `json:"qi"`
		K  jsontext.Value `json:"k"`
	}
	if err := DecodeOpen(b, &k); err != nil {
		return nil, err
	}
	for _, private := range []jsontext.Value{k.D, k.P, k.Q, k.DP, k.DQ, k.QI, k.K} {
		if private != nil {
			return nil, errors.New("JWK holds a private key")
		}
	}
	if _, _, err := k.Public(); err != nil {
		return nil, err
	}
	return &k.JWK, nil
}

// JWKOf returns the JWK of a key of one of the kinds, without kid, use and alg. It fails for other kinds, and when the
// key is not one of its kind.
func JWKOf(kind string, public []byte) (*JWK, error) {
	k := &JWK{}
	switch {
	case kind == Ed25519Key || kind == X25519Key:
		k.Kty, k.Crv, k.X = "OKP", "Ed25519", encode64(public)
		if kind == X25519Key {
			k.Crv = "X25519"
		}
	case kind == P256Key && len(public) == 33:
		x, y := elliptic.UnmarshalCompressed(elliptic.P256(), public)
		if x == nil {
			return nil, errMalformedKey
		}
		k.Kty, k.Crv, k.X, k.Y = "EC", "P-256", encode64(public[1:]), encode64(y.FillBytes(make([]byte, 32)))
	case kind == Secp256k1Key && len(public) == 33 && public[0]&^1 == 2:
		p := secp256k1Prime()
		y := secp256k1Square(new(big.Int).SetBytes(public[1:]), p)
		if y.ModSqrt(y, p) == nil {
			return nil, errMalformedKey
		}
		if y.Bit(0) != uint(public[0]&1) {
			y.Sub(p, y)
		}
		k.Kty, k.Crv, k.X, k.Y = "EC", "secp256k1", encode64(public[1:]), encode64(y.FillBytes(make([]byte, 32)))
	case kind == RSAKey:
		r, err := x509.ParsePKCS1PublicKey(public)
		if err != nil {
			return nil, errMalformedKey
		}
		k.Kty, k.N, k.E = "RSA", encode64(r.N.Bytes()), encode64(big.NewInt(int64(r.E)).Bytes())
	default:
		return nil, ErrUnknownKey
	}
	if _, _, err := k.Public(); err != nil {
		return nil, err
	}
	return k, nil
}

// Public returns the key's kind, one of those above, and the key in the form that it has there. It fails with
// [ErrUnknownKey] for other kinds and for RSA keys outside [MinRSA] and [MaxRSA]; else for points that are not on their
// curve, RSA exponents that are even, below 3 or above 31 bits, and texts that are not canonical base64url. Any 32
// bytes are an X25519 key, or an Ed25519 key: those that are no point, or of low order, are found out when they are
// used.
func (k *JWK) Public() (kind string, public []byte, err error) {
	switch k.Kty + " " + k.Crv {
	case "OKP Ed25519":
		kind = Ed25519Key
	case "OKP X25519":
		kind = X25519Key
	case "EC P-256":
		kind = P256Key
	case "EC secp256k1":
		kind = Secp256k1Key
	case "RSA ":
		r, err := k.rsa()
		if err != nil {
			return "", nil, err
		}
		return RSAKey, x509.MarshalPKCS1PublicKey(r), nil
	default:
		return "", nil, ErrUnknownKey
	}
	x, okX := Decode64(k.X)
	y, okY := Decode64(k.Y)
	if !okX || !okY || len(x) != 32 || k.Kty == "OKP" && len(y) != 0 || k.Kty == "EC" && len(y) != 32 {
		return "", nil, errMalformedKey
	}
	switch kind {
	case P256Key:
		_, err = ecdh.P256().NewPublicKey(append(append([]byte{4}, x...), y...))
	case Secp256k1Key:
		err = onSecp256k1(new(big.Int).SetBytes(x), new(big.Int).SetBytes(y))
	default:
		return kind, x, nil
	}
	if err != nil {
		return "", nil, errMalformedKey
	}
	return kind, append([]byte{2 | y[31]&1}, x...), nil
}

// rsa returns the RSA key, within the bounds.
func (k *JWK) rsa() (*rsa.PublicKey, error) {
	if len(k.N) > MaxRSA/6+8 { // before anything is made of it
		return nil, ErrUnknownKey
	}
	n, okN := Decode64(k.N)
	e, okE := Decode64(k.E)
	// Without leading zeros, as RFC 7518 wants it in section 2: one text for each key.
	if !okN || !okE || len(n) == 0 || n[0] == 0 || len(e) == 0 || e[0] == 0 {
		return nil, errMalformedKey
	}
	modulus, exponent := new(big.Int).SetBytes(n), new(big.Int).SetBytes(e[:min(len(e), 5)])
	if bits := modulus.BitLen(); bits < MinRSA || bits > MaxRSA {
		return nil, ErrUnknownKey
	}
	if modulus.Bit(0) == 0 || exponent.Bit(0) == 0 || exponent.BitLen() < 2 || exponent.BitLen() > 31 {
		return nil, errMalformedKey
	}
	return &rsa.PublicKey{N: modulus, E: int(exponent.Int64())}, nil
}

// Thumbprint returns the key's SHA-256 thumbprint (RFC 7638).
func (k *JWK) Thumbprint() [32]byte {
	// The members that make the key, in the order of their names.
	var members any = struct {
		Crv string `json:"crv"`
		Kty string `json:"kty"`
		X   string `json:"x"`
		Y   string `json:"y,omitempty"`
	}{k.Crv, k.Kty, k.X, k.Y}
	if k.Kty == "RSA" {
		members = struct {
			E   string `json:"e"`
			Kty string `json:"kty"`
			N   string `json:"n"`
		}{k.E, k.Kty, k.N}
	}
	b, err := Encode(members)
	if err != nil {
		return [32]byte{} // a text that is not UTF-8: no key
	}
	return sha256.Sum256(b)
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

func onSecp256k1(x, y *big.Int) error {
	p := secp256k1Prime()
	if x.Cmp(p) >= 0 || y.Cmp(p) >= 0 || new(big.Int).Exp(y, big.NewInt(2), p).Cmp(secp256k1Square(x, p)) != 0 {
		return errMalformedKey
	}
	return nil
}
