// Package hub is the wire between people and identity hubs, both ends: the messages of the published clients (2019,
// signed commits) and those of the explainer of 2018 (verbs), in one kind of envelope at one URL for all identities.
// [Server] serves a [Host]; [Client] reaches a hub and is a [coffer.Hub]. doc/hub-api.md specifies it.
package hub

import (
	"context"
	"encoding/base64"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A Host has the hubs that a [Server] serves.
type Host interface {
	// As returns the hubs as the caller may see them, who says that he asks for a purpose ("" for none).
	As(caller grant.Caller, purpose string) coffer.Hub
}

// Keys are the private keys of one identity, by their ids, which begin with its identifier. keyring.JWKSet keeps it.
type Keys interface {
	// DID returns the identity's identifier.
	DID() string
	// KeyIDs returns the ids of the keys, always in the same order.
	KeyIDs() []string
	// Public returns the public part of a key, nil if there is no such key.
	Public(keyID string) *jose.JWK
	// Algorithm returns the JWS algorithm of a key, "" if it does not sign.
	Algorithm(keyID string) string
	// SignInput signs the signing input of a JWS with a key.
	SignInput(ctx context.Context, keyID string, p coffer.Purpose, input []byte) ([]byte, error)
	// Reader returns a key for opening what was encrypted to it, and false if it is not for that.
	Reader(keyID string) (jose.CompactReader, bool)
}

// schemaContext is the "@context" of all messages of the commit plane.
const schemaContext = "https://schema.identity.foundation/0.1"

// ContentType is the media type of envelopes to one hub, and of answers.
const ContentType = "application/jwt"

// JWS algorithms that matter here: who signs with RSA is answered with RSA.
const (
	rs256 = "RS256"
	rs512 = "RS512"
	edDSA = "EdDSA"
)

// replyKeyID is the key id in an answer that is encrypted to the key that came with the request.
const replyKeyID = "coffer-reply-key"

// A header is the protected header of a message's JWS.
type header struct {
	Nonce    string    `json:"did-requester-nonce"`
	Token    string    `json:"did-access-token,omitempty"`
	Hubs     []string  `json:"coffer-hubs,omitempty"`
	Made     int64     `json:"coffer-made,omitzero"` // milliseconds of Unix time
	ReplyKey *jose.JWK `json:"coffer-reply-key,omitempty"`
	Alg      string    `json:"alg"`
	KeyID    string    `json:"kid"`
}

// signer signs messages with one key.
type signer struct {
	keyID, alg string
	sign       func(ctx context.Context, p coffer.Purpose, input []byte) ([]byte, error)
}

// seal makes an envelope: the payload, signed, then encrypted.
func (s *signer) seal(ctx context.Context, h header, payload []byte, to jose.CompactRecipient) (string, error) {
	text, err := s.signed(ctx, h, payload)
	if err != nil {
		return "", err
	}
	return jose.SealCompact(text, to, "")
}

// signed returns the compact JWS of a payload.
func (s *signer) signed(ctx context.Context, h header, payload []byte) ([]byte, error) {
	h.Alg, h.KeyID = s.alg, s.keyID
	protected, err := jose.Encode(h)
	if err != nil {
		return nil, err
	}
	// One buffer becomes the signing input, then the compact JWS.
	b64 := base64.RawURLEncoding
	text := make([]byte, 0, b64.EncodedLen(len(protected))+b64.EncodedLen(len(payload))+maxSignature)
	text = b64.AppendEncode(text, protected)
	text = b64.AppendEncode(append(text, '.'), payload)
	signature, err := s.sign(ctx, coffer.Authentication, text)
	if err != nil {
		return nil, err
	}
	return b64.AppendEncode(append(text, '.'), signature), nil
}

// maxSignature is room for the signatures that there are, with the dots around the payload: RSA of 8192 bits.
const maxSignature = 1400
