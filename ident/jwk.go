package ident

import (
	"encoding/base64"
	"encoding/json"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// A jwk is what matters here of a JSON Web Key (RFC 7517, RFC 7518 section 6.2, RFC 8037, RFC 8812).
type jwk struct {
	Type    string          `json:"kty"`
	Curve   string          `json:"crv"`
	X       string          `json:"x"`
	Y       string          `json:"y"`
	Use     string          `json:"use"`
	Private json.RawMessage `json:"d"`
	Secret  json.RawMessage `json:"k"`
}

// parseJWK reads a public key. It is Invalid if the JWK holds a private or a secret key: whoever made it has lost it.
func parseJWK(b []byte) (k key, use string, err error) {
	var j jwk
	if err := jose.DecodeOpen(b, &j); err != nil {
		return key{}, "", coffer.E("JWK", coffer.Invalid, err)
	}
	if j.Private != nil || j.Secret != nil {
		return key{}, "", coffer.Errorf("JWK", coffer.Invalid, "holds a private key")
	}
	x, errX := base64.RawURLEncoding.Strict().DecodeString(j.X)
	y, errY := base64.RawURLEncoding.Strict().DecodeString(j.Y)
	switch j.Type + " " + j.Curve {
	case "OKP Ed25519":
		k = key{Ed25519, x}
		err = k.check()
	case "OKP X25519":
		k = key{X25519, x}
		err = k.check()
	case "EC P-256":
		k, err = compress(P256, x, y)
	case "EC secp256k1":
		k, err = compress(Secp256k1, x, y)
	default:
		return key{}, "", coffer.E("JWK", coffer.Invalid, errUnknownKey)
	}
	if err != nil {
		return key{}, "", err
	}
	// The decoder passes over line breaks, so the text must be checked against what the bytes are written as.
	if errX != nil || errY != nil || base64.RawURLEncoding.EncodeToString(x) != j.X ||
		base64.RawURLEncoding.EncodeToString(y) != j.Y || j.Type == "OKP" && j.Y != "" {
		return key{}, "", coffer.Errorf("JWK", coffer.Invalid, "a coordinate is not base64url")
	}
	return k, j.Use, nil
}
