package hub

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"math/bits"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/merge"
)

// Bounds of what strangers may say in the header of a commit that is not signed: "work", a decimal number, and
// "introduction", a compact JWS.
const (
	maxWork         = 32
	maxIntroduction = 8 << 10
)

// unsigned returns a text of the header of a commit that is not signed, "" if there is none.
func unsigned(c *merge.Commit, name string) (text string) {
	if !exact(c.Raw.Header, members{name: &text}) {
		return ""
	}
	return text
}

// worked reports whether the commit bears a proof of work: a number n, in "work", for which
// SHA-256("coffer work 1" 0x00 rev "." n), with rev in hexadecimal, begins with so many zero bits.
func worked(c *merge.Commit, zeros int) bool {
	n := unsigned(c, "work")
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

// introduced returns to whom the introduction is that the commit bears, if it is one by the owner to its signer, or to
// everybody, that has not ended: a compact JWS (RFC 7515, section 7.1) with the claims "sub" and "exp", a time, and "jti".
// It is "" if there is none.
func (v *view) introduced(ctx context.Context, owner string, c *merge.Commit) (to string, err error) {
	text := unsigned(c, "introduction")
	if text == "" || len(text) > maxIntroduction {
		return "", nil
	}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		return "", nil
	}
	var decoded [3][]byte
	for i, p := range parts {
		var ok bool
		if decoded[i], ok = decode64(p); !ok {
			return "", nil
		}
	}
	var alg, kid, sub, id string
	var crit, b64 json.RawMessage
	var ends time.Time
	if !exact(decoded[0], members{"alg": &alg, "kid": &kid, "crit": &crit, "b64": &b64}) || crit != nil || b64 != nil ||
		!exact(decoded[1], members{"sub": &sub, "exp": &ends, "jti": &id}) || id == "" || identifier(kid) != owner ||
		sub != v.who && sub != coffer.Everybody || !v.s.o.Now().Before(ends) {
		return "", nil
	}
	key, err := v.s.o.Key(ctx, kid, alg, coffer.Assertion)
	switch {
	case errors.Is(err, coffer.Unavailable):
		return "", err
	case err != nil || !key.Verify([]byte(parts[0]+"."+parts[1]), decoded[2]):
		return "", nil
	}
	return sub, nil
}
