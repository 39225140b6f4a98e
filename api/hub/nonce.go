package hub

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/cofferhq/coffer/grant"
)

// take notes that a message was taken, and refuses one that was taken before. One that names hubs brings no token, but says
// when it was made. Unavailable when nobody can tell.
func (s *Server) take(ctx context.Context, m *grant.Message) error {
	now, made := s.o.Now(), m.Made
	var good bool
	if m.Hubs == nil {
		made, good = s.tokens.check(m.Token, m.Signer(), now)
	} else {
		good = !made.After(now.Add(messageSkew)) && now.Before(made.Add(tokenLife))
	}
	if !good {
		return unauthenticated
	}
	name := s.tokens.nonce(m.Signer(), m.Nonce)
	var first bool
	if s.o.Once != nil {
		var err error
		if first, err = s.o.Once(ctx, name, made.Add(tokenLife)); err != nil {
			return err
		}
	} else {
		early := m.Hubs != nil && made.Before(s.o.Since.Add(messageSkew))
		first = !early && s.nonces.use(name, made, now)
	}
	if !first {
		return unauthenticated
	}
	return nil
}

// A nonceName stands for a nonce and who used it. Only who has the secret can tell for which.
type nonceName = [16]byte

// nonce returns the name of a nonce.
func (t tokens) nonce(signer, nonce string) nonceName {
	m := hmac.New(sha256.New, t.names)
	m.Write([]byte(signer))
	m.Write([]byte{0}) // in no identifier
	m.Write([]byte(nonce))
	return nonceName(m.Sum(nil))
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
	used  map[nonceName]struct{}
	start time.Time // later than all that happened in the generation before
}

// noncesKept bounds a generation: some 40 MiB at the most.
const noncesKept = 1 << 20

func newNonces(most int, now time.Time) *nonces {
	n := &nonces{most: most, young: generation{make(map[nonceName]struct{}), now}}
	n.old.start = now
	return n
}

// use notes that the nonce with the name was used with a token made then. It reports false when it was used before, or when
// the token is one that is no longer remembered.
func (n *nonces) use(name nonceName, made, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.young.used) >= n.most || now.Sub(n.young.start) > tokenLife+tokenSkew {
		n.old = n.young
		start := now
		if !start.After(n.lastUsed) {
			start = n.lastUsed.Add(1)
		}
		n.young = generation{make(map[nonceName]struct{}), start}
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
