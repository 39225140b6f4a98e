package hub

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math/bits"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/merge"
)

// unsigned is what strangers may say in the header of a commit that is not signed.
type unsigned struct {
	Work         string `json:"work"`         // a decimal number
	Introduction string `json:"introduction"` // a compact JWS
}

// Bounds of it.
const (
	maxWork         = 32
	maxIntroduction = 8 << 10
)

func unsignedOf(c *merge.Commit) (u unsigned) {
	if json.Unmarshal(c.Raw.Header, &u) != nil {
		return unsigned{}
	}
	return u
}

// worked reports whether the commit bears a proof of work: a number n, in "work", for which
// SHA-256("coffer work 1" 0x00 rev "." n), with rev in hexadecimal, begins with so many zero bits.
func worked(c *merge.Commit, zeros int) bool {
	n := unsignedOf(c).Work
	if n == "" || len(n) > maxWork || strings.Trim(n, "0123456789") != "" {
		return false
	}
	sum := sha256.Sum256([]byte("coffer work 1\x00" + c.Rev.String() + "." + n))
	found := 0
	for _, b := range sum {
		found += bits.LeadingZeros8(b)
		if b != 0 {
			break
		}
	}
	return found >= zeros
}

// introduced reports whether the commit bears an introduction by the owner to its signer, or to everybody, that has not
// ended: a compact JWS (RFC 7515, section 7.1) with the claims "sub" and "exp", a time, and "jti".
func (v *view) introduced(ctx context.Context, owner string, c *merge.Commit) (bool, error) {
	text := unsignedOf(c).Introduction
	if text == "" || len(text) > maxIntroduction {
		return false, nil
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return false, nil
	}
	var decoded [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil || strings.ContainsAny(p, "\r\n") {
			return false, nil
		}
		decoded[i] = b
	}
	var header struct {
		Alg  string          `json:"alg"`
		Kid  string          `json:"kid"`
		Crit json.RawMessage `json:"crit"`
		B64  json.RawMessage `json:"b64"`
	}
	var claims struct {
		Sub string    `json:"sub"`
		Exp time.Time `json:"exp"`
		JTI string    `json:"jti"`
	}
	if json.Unmarshal(decoded[0], &header) != nil || header.Crit != nil || header.B64 != nil ||
		identifier(header.Kid) != owner || json.Unmarshal(decoded[1], &claims) != nil || claims.JTI == "" ||
		claims.Sub != v.who && claims.Sub != coffer.Everybody || !v.s.o.Now().Before(claims.Exp) {
		return false, nil
	}
	key, err := v.s.o.Key(ctx, header.Kid, header.Alg, coffer.Assertion)
	switch {
	case errors.Is(err, coffer.Unavailable):
		return false, err
	case err != nil:
		return false, nil
	}
	return key.Verify([]byte(parts[0]+"."+parts[1]), decoded[2]), nil
}
