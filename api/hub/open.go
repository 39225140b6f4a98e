package hub

import (
	"context"
	"net/http"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A sender is who a request is from, and how he is answered.
type sender struct {
	signed grant.Signed
	nonce  string
	by     *signer               // signs the answer
	to     jose.CompactRecipient // who it is encrypted to
}

// A decrypter opens an envelope of one kind, and says to which key of the hub's it was encrypted.
type decrypter func(body string) (text []byte, key reader, err error)

// decrypt opens an envelope to this hub alone.
func (s *Server) decrypt(body string) (text []byte, key reader, err error) {
	e, err := jose.ParseCompactJWE(body)
	if err != nil {
		return nil, key, err
	}
	key, ok := s.readers[e.KeyID()]
	if !ok {
		return nil, key, unauthenticated
	}
	text, err = e.Open(key.CompactReader)
	return text, key, err
}

// asksForToken reports whether a message is to get a token, and no more.
func asksForToken(m *grant.Message) bool { return m.Token == "" && m.Hubs == nil }

// open opens an envelope and finds out who it is from. The order of checks is part of the protocol: nothing is done,
// and nothing but the one refusal answered, for who has not signed. A message that it returns is no replay, but for one that
// asks for a token.
func (c *call) open(ctx context.Context, decrypt decrypter, body string) (*grant.Message, error) {
	text, key, err := decrypt(body)
	if err != nil {
		return nil, unauthenticated
	}
	m, err := grant.ReadMessage(string(text))
	if err != nil {
		return nil, unauthenticated
	}
	if c.from.signed, err = m.Verify(ctx, &c.facts); err != nil {
		return nil, unauthenticated
	}
	if !asksForToken(m) {
		if err := c.take(ctx, m); err != nil {
			return nil, err
		}
	}
	c.from.nonce = m.Nonce
	c.from.by = key.other
	if m.Alg == rs256 || m.Alg == rs512 {
		c.from.by = key.rsa
	}
	c.from.to, err = c.recipient(ctx, m)
	return m, err
}

// recipient returns who the answer is encrypted to. It is found before anything is done, so that nothing is done that
// cannot be answered.
func (c *call) recipient(ctx context.Context, m *grant.Message) (to jose.CompactRecipient, err error) {
	const op = "answer key"
	if m.ReplyKey != nil {
		k, err := jose.ParseJWK(m.ReplyKey)
		if err != nil || k.Crv != string(jose.X25519) {
			return to, fail(http.StatusBadRequest, badRequest, "The key for the answer is not a public X25519 key")
		}
		return jose.CompactRecipient{KeyID: replyKeyID, Key: k}, nil
	}
	public, err := c.o.AnswerKey(ctx, m.KeyID)
	switch {
	case coffer.KindOf(err) == coffer.Unavailable:
		return to, err
	case err != nil:
		return to, fail(http.StatusBadRequest, badRequest, "The signer has no key that an answer could be encrypted to")
	}
	k, err := jose.JWKOf(public.Type, public.Public)
	if err != nil {
		return to, coffer.E(op, coffer.Other, err)
	}
	return jose.CompactRecipient{KeyID: public.ID, Key: k}, nil
}
