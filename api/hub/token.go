package hub

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"sync"
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

// tokens makes and checks access tokens.
type tokens struct{ key []byte }

func newTokens(secret [32]byte) tokens {
	m := hmac.New(sha256.New, secret[:])
	m.Write([]byte("coffer hub access token 1"))
	return tokens{m.Sum(nil)}
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

// nonces remembers which nonces have been used, for as long as the tokens that they came with are good. It holds two
// generations. When the younger one is full or old, the older one is forgotten, and with it every token that was made
// before the younger began: what cannot be remembered cannot be replayed. Clients then ask for new tokens.
type nonces struct {
	most int // in one generation

	mu       sync.Mutex
	young    generation
	old      generation
	lastUsed time.Time // the latest time at which a nonce was used, or its token made
}

type generation struct {
	used  map[[16]byte]struct{}
	start time.Time // later than all that happened in the generation before
}

// noncesKept bounds a generation: some 40 MiB at the most.
const noncesKept = 1 << 20

func newNonces(most int, now time.Time) *nonces {
	n := &nonces{most: most, young: generation{make(map[[16]byte]struct{}), now}}
	n.old.start = now
	return n
}

// use notes that who signed used the nonce with a token made then. It reports false when he has used it before, or when
// the token is one that is no longer remembered.
func (n *nonces) use(signer, nonce string, made, now time.Time) bool {
	h := sha256.New()
	h.Write([]byte(signer))
	h.Write([]byte{0}) // in no identifier
	h.Write([]byte(nonce))
	name := [16]byte(h.Sum(nil))

	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.young.used) >= n.most || now.Sub(n.young.start) > tokenLife+tokenSkew {
		n.old = n.young
		start := now
		if !start.After(n.lastUsed) {
			start = n.lastUsed.Add(1)
		}
		n.young = generation{make(map[[16]byte]struct{}), start}
	}
	if made.Before(n.old.start) {
		return false
	}
	if _, ok := n.old.used[name]; ok {
		return false
	}
	if _, ok := n.young.used[name]; ok {
		return false
	}
	n.young.used[name] = struct{}{}
	for _, t := range []time.Time{now, made} {
		if t.After(n.lastUsed) {
			n.lastUsed = t
		}
	}
	return true
}

func encode64(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
