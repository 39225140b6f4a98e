package hub

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// maxJWT bounds a signed text in an action.
const maxJWT = 64 << 10

type jwtHeader struct {
	Alg   string `json:"alg"`
	KeyID string `json:"kid"`
	Type  string `json:"typ,omitempty"`
}

// signJWT returns a compact JWS (RFC 7515, section 7.1) of claims.
func (h *Hub) signJWT(ctx context.Context, claims any) (string, error) {
	if h.o.Sign == nil {
		return "", coffer.Errorf("sign", coffer.Denied, "nobody is there to sign")
	}
	header, err := jose.Encode(jwtHeader{Alg: h.o.Sign.Algorithm(), KeyID: h.o.Sign.KeyID(), Type: "JWT"})
	if err != nil {
		return "", coffer.E("sign", coffer.Other, err)
	}
	payload, err := jose.Encode(claims)
	if err != nil {
		return "", coffer.Errorf("sign", coffer.Invalid, "a text is not UTF-8")
	}
	input := base64.RawURLEncoding.EncodeToString(header) + "." + base64.RawURLEncoding.EncodeToString(payload)
	signature, err := h.o.Sign.SignInput(ctx, coffer.Assertion, []byte(input))
	return input + "." + base64.RawURLEncoding.EncodeToString(signature), err
}

// readJWT reads the claims of what signJWT returned, and checks that an identity signed it. Corrupt if it did not,
// Invalid for what is no such text.
func readJWT(ctx context.Context, r Resolver, text, by string, claims any) error {
	invalid := coffer.Errorf("JWT", coffer.Invalid, "malformed")
	parts := strings.Split(text, ".")
	if len(text) > maxJWT || len(parts) != 3 {
		return invalid
	}
	var decoded [3][]byte
	for i, p := range parts {
		b, ok := decode64(p)
		if !ok {
			return invalid
		}
		decoded[i] = b
	}
	var header struct {
		jwtHeader
		Crit any `json:"crit"`
		B64  any `json:"b64"`
	}
	if jose.DecodeOpen(decoded[0], &header) != nil || header.Crit != nil || header.B64 != nil ||
		jose.DecodeOpen(decoded[1], claims) != nil {
		return invalid
	}
	if did, _, _ := strings.Cut(header.KeyID, "#"); did != by {
		return coffer.Errorf("JWT", coffer.Corrupt, "signed by another")
	}
	key, err := r.MessageKey(ctx, header.KeyID, header.Alg, coffer.Assertion)
	if errors.Is(err, coffer.Unavailable) {
		return err
	}
	if err != nil || !key.Verify([]byte(parts[0]+"."+parts[1]), decoded[2]) {
		return coffer.Errorf("JWT", coffer.Corrupt, "not signed by whom it names")
	}
	return nil
}
