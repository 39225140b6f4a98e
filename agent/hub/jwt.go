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

// A jwt is a compact JWS that was read. Nothing in it is to be believed before verify.
type jwt struct {
	header           jwtHeader
	claims           []byte
	input, signature []byte
}

// parseJWT reads a compact JWS. Invalid for what is none.
func parseJWT(text string) (*jwt, error) {
	if len(text) > maxJWT {
		return nil, coffer.Errorf("JWT", coffer.Invalid, "too long")
	}
	j, err := jose.ParseCompactJWS(text)
	if err != nil {
		return nil, coffer.E("JWT", coffer.Invalid, err)
	}
	var header struct {
		jwtHeader
		B64 json.RawMessage `json:"b64"`
	}
	if j.Header(&header) != nil || header.B64 != nil {
		return nil, coffer.Errorf("JWT", coffer.Invalid, "malformed")
	}
	t := &jwt{header: header.jwtHeader, input: j.Input()}
	t.claims, _ = jose.Decode64(j.Payload)
	t.signature, _ = jose.Decode64(j.Signature)
	return t, nil
}

// signer returns the identifier of whose key is said to have signed.
func (t *jwt) signer() string {
	did, _, _ := strings.Cut(t.header.KeyID, "#")
	return did
}

// verify returns nil if the key that is named signed, and is for the purpose; Corrupt if not.
func (t *jwt) verify(ctx context.Context, r Resolver, p coffer.Purpose) error {
	key, err := r.MessageKey(ctx, t.header.KeyID, t.header.Alg, p)
	if errors.Is(err, coffer.Unavailable) {
		return err
	}
	if err != nil || !key.Verify(t.input, t.signature) {
		return coffer.Errorf("JWT", coffer.Corrupt, "not signed by whom it names")
	}
	return nil
}

// readJWT reads the claims of what signJWT returned, and checks that an identity signed it. Corrupt if it did not,
// Invalid for what is no such text.
func readJWT(ctx context.Context, r Resolver, text, by string, claims any) error {
	t, err := parseJWT(text)
	if err != nil {
		return err
	}
	if jose.DecodeOpen(t.claims, claims) != nil {
		return coffer.Errorf("JWT", coffer.Invalid, "malformed")
	}
	if t.signer() != by {
		return coffer.Errorf("JWT", coffer.Corrupt, "signed by another")
	}
	return t.verify(ctx, r, coffer.Assertion)
}
