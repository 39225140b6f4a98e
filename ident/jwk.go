package ident

import (
	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// parseJWK reads a public key and its use: "sig", "enc", or "" for both. It is Invalid if the JWK holds a private or a
// secret key: whoever made it has lost it.
func parseJWK(b []byte) (k key, use string, err error) {
	j, err := jose.ParseJWK(b)
	if err == nil {
		k.kind, k.public, err = j.Public()
	}
	if err != nil {
		return key{}, "", coffer.E("JWK", coffer.Invalid, err)
	}
	if err := k.check(); err != nil {
		return key{}, "", err
	}
	return k, j.Use, nil
}
