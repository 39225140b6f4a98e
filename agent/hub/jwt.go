package hub

import (
	"context"
	"encoding/base64"
	"encoding/json"
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
	payload, err := jose.Encode(claims)
	if err != nil {
		return "", coffer.Errorf("sign", coffer.Invalid, "a text is not UTF-8")
	}
	j := jose.NewJWS(jwtHeader{Alg: h.o.Sign.Algorithm(), KeyID: h.o.Sign.KeyID(), Type: "JWT"}, payload)
	signature, err := h.o.Sign.SignInput(ctx, coffer.Assertion, j.Input())
	j.Signature = base64.RawURLEncoding.EncodeToString(signature)
	return j.Compact(), err
}

// readJWT reads the claims of what signJWT returned, and checks that an identity signed it. Corrupt if it did not,
// Invalid for what is no such text.
func readJWT(ctx context.Context, r Resolver, text, by string, claims any) error {
	if len(text) > maxJWT {
		return coffer.Errorf("JWT", coffer.Invalid, "too long")
	}
	j, err := jose.ParseCompactJWS(text)
	if err != nil {
		return coffer.E("JWT", coffer.Invalid, err)
	}
	var header struct {
		jwtHeader
		B64 json.RawMessage `json:"b64"`
	}
	payload, _ := jose.DecodeSegment(j.Payload)
	signature, _ := jose.DecodeSegment(j.Signature)
	if j.Header(&header) != nil || header.B64 != nil || jose.DecodeOpen(payload, claims) != nil {
		return coffer.Errorf("JWT", coffer.Invalid, "malformed")
	}
	if did, _, _ := strings.Cut(header.KeyID, "#"); did != by {
		return coffer.Errorf("JWT", coffer.Corrupt, "signed by another")
	}
	key, err := r.MessageKey(ctx, header.KeyID, header.Alg, coffer.Assertion)
	if errors.Is(err, coffer.Unavailable) {
		return err
	}
	if err != nil || !key.Verify(j.Input(), signature) {
		return coffer.Errorf("JWT", coffer.Corrupt, "not signed by whom it names")
	}
	return nil
}
