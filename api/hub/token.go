package hub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"
)

// tokenLife is how long an access token is good for, tokenSkew how far the clocks of servers with one secret may part.
const (
	tokenLife = 5 * time.Minute
	tokenSkew = time.Minute
)

// An access token is base64url of when it was made (8 bytes, nanoseconds of Unix time) and a MAC over that and the
// identifier that it is for. It names nobody, and only who has the secret can tell for whom it is.
const tokenSize = 8 + sha256.Size

// tokens makes and checks access tokens, and names the nonces that come with them.
type tokens struct{ key, names []byte }

func newTokens(secret [32]byte) tokens {
	derive := func(label string) []byte {
		m := hmac.New(sha256.New, secret[:])
		m.Write([]byte(label))
		return m.Sum(nil)
	}
	return tokens{derive("coffer hub access token 1"), derive("coffer hub nonce 1")}
}

// issue returns a token for the identifier.
func (t tokens) issue(did string, now time.Time) string {
	b := binary.BigEndian.AppendUint64(make([]byte, 0, tokenSize), uint64(now.UnixNano()))
	return encode64(t.appendMAC(b, did))
}

func (t tokens) appendMAC(made []byte, did string) []byte {
	m := hmac.New(sha256.New, t.key)
	m.Write(made)
	m.Write([]byte(did))
	return m.Sum(made)
}

// check returns when the token was made, and false if it is not for the identifier or not good now.
func (t tokens) check(token, did string, now time.Time) (made time.Time, ok bool) {
	if len(token) != base64.RawURLEncoding.EncodedLen(tokenSize) {
		return time.Time{}, false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil || len(b) != tokenSize || !hmac.Equal(t.appendMAC(b[:8:8], did), b) {
		return time.Time{}, false
	}
	made = time.Unix(0, int64(binary.BigEndian.Uint64(b)))
	return made, now.Before(made.Add(tokenLife)) && !made.After(now.Add(tokenSkew))
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
