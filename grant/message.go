package grant

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Bounds of hub messages. The message as a whole is bounded by who receives it.
const (
	maxMessageSignature = 1 << 11 // characters: of RSA with 8192 bits it has 1366
	maxMessageKeyID     = 2 << 10
	maxMessageNonce     = 256
	maxMessageToken     = 8 << 10
	maxMessageHubs      = 16
	maxMessageHub       = 2 << 10
)

// A Message is a hub message as its sender signed it: a compact JSON Web Signature (RFC 7515, section 7.1). Nothing in
// it is to be believed before [Message.Verify].
type Message struct {
	KeyID    string          // "kid": who signed, by what key
	Alg      string          // "alg"
	Nonce    string          // "did-requester-nonce"; answers repeat it
	Token    string          // "did-access-token"; "" asks for one, unless the message names hubs
	Hubs     []string        // "coffer-hubs": the hubs that it is for, any of which may take it; nil: the one it comes to
	Made     time.Time       // "coffer-made": of a message that names hubs; such a one is in place of a token's
	ReplyKey json.RawMessage // "coffer-reply-key": a JWK to encrypt the answer to; nil if there is none
	Payload  []byte          // the request; may be empty

	input     []byte // what is signed
	signature []byte
}

// ReadMessage reads a hub message without verifying it. Invalid when it is not a compact JWS with canonical base64url
// and a protected header in strict JSON; when the header has no "alg", or "none"; no "kid" that is an identifier and a
// fragment; no "did-requester-nonce"; one of "coffer-hubs" and "coffer-made" without the other, or with a token; or has
// "crit" or "b64", of which nothing is understood here.
func ReadMessage(jws string) (*Message, error) {
	j, err := jose.ParseCompactJWS(jws)
	if err != nil {
		return nil, badMessage("not a compact JWS")
	}
	if len(j.Signature) > maxMessageSignature {
		return nil, badMessage("the signature is too large")
	}
	m := &Message{input: j.Input()}
	m.signature, _ = jose.Decode64(j.Signature)
	m.Payload, _ = jose.Decode64(j.Payload)
	var h struct {
		Alg      string          `json:"alg"`
		KeyID    string          `json:"kid"`
		Nonce    string          `json:"did-requester-nonce"`
		Token    string          `json:"did-access-token"`
		Hubs     []string        `json:"coffer-hubs"`
		Made     *int64          `json:"coffer-made"` // milliseconds of Unix time
		ReplyKey json.RawMessage `json:"coffer-reply-key"`
		B64      json.RawMessage `json:"b64"`
	}
	if j.Header(&h) != nil {
		return nil, badMessage("the header is not JSON of the expected form, too large, or demands what is not known here")
	}
	did, fragment, _ := strings.Cut(h.KeyID, "#")
	switch {
	case h.B64 != nil:
		return nil, badMessage("the header demands what is not understood here")
	case h.Alg == "" || strings.EqualFold(h.Alg, "none"):
		return nil, badMessage("a message must be signed")
	case did == "" || fragment == "" || len(h.KeyID) > maxMessageKeyID:
		return nil, badMessage("kid is not the id of a key")
	case h.Nonce == "" || len(h.Nonce) > maxMessageNonce || len(h.Token) > maxMessageToken:
		return nil, badMessage("no nonce, or the nonce or the token is too long")
	case (h.Hubs == nil) != (h.Made == nil) || h.Hubs != nil && h.Token != "":
		return nil, badMessage("a message for several hubs says when it was made, and has no token")
	case h.Hubs != nil && (len(h.Hubs) == 0 || len(h.Hubs) > maxMessageHubs) || slices.ContainsFunc(h.Hubs, tooLongForHub):
		return nil, badMessage("no hub is named, or too many, or one by a name that is too long")
	}
	m.KeyID, m.Alg, m.Nonce, m.Token, m.ReplyKey = h.KeyID, h.Alg, h.Nonce, h.Token, h.ReplyKey
	if h.Hubs != nil {
		m.Hubs, m.Made = h.Hubs, time.UnixMilli(*h.Made)
	}
	return m, nil
}

func tooLongForHub(did string) bool { return len(did) > maxMessageHub }

func badMessage(reason string) error { return coffer.Errorf("message", coffer.Invalid, reason) }

// Signer returns the identifier of whose key is said to have signed: the key id up to its first '#'.
func (m *Message) Signer() string { return identifierOf(m.KeyID) }

// MessageFacts are what is needed to verify hub messages.
type MessageFacts struct {
	// Key returns the key with the id if its controller's identity document lists it for the purpose and it suits the
	// JWS algorithm. An error of kind Unavailable is passed on; any other means that there is no such key.
	Key func(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error)
	// Audience is what this hub is known by: its identifiers.
	Audience []string
}

// Signed is what [Message.Verify] found: who signed, and whom it can be for. The zero Signed is nobody.
type Signed struct {
	signer   string
	audience []string
}

// Verify verifies the message's signature by the key that it names, for authentication, and that this hub is among those
// that it is for. It fails with NotExist for whatever is wrong with it: a stranger is not told which. That it is not sent
// again, and not too old, is for the caller to see to.
func (m *Message) Verify(ctx context.Context, f *MessageFacts) (Signed, error) {
	key, err := f.Key(ctx, m.KeyID, m.Alg, coffer.Authentication)
	switch {
	case err != nil && coffer.KindOf(err) == coffer.Unavailable:
		return Signed{}, err
	case err != nil || key == nil || !key.Verify(m.input, m.signature):
		return Signed{}, noRight("message")
	case m.Hubs == nil:
		return Signed{signer: m.Signer(), audience: f.Audience}, nil
	case !slices.ContainsFunc(f.Audience, func(did string) bool { return slices.Contains(m.Hubs, did) }):
		return Signed{}, noRight("message")
	}
	return Signed{signer: m.Signer(), audience: slices.Concat(f.Audience, m.Hubs)}, nil
}

// Caller returns who asks by a message that says it is from iss, for aud. Denied unless iss is the signer, and aud is
// one that this hub is known by, or another of the hubs that the signer named. At a vault this caller has no right at all.
func (s Signed) Caller(iss, aud string) (Caller, error) {
	switch {
	case s.signer == "" || iss != s.signer:
		return Caller{}, coffer.E("message", coffer.Denied, &coffer.Fault{Target: "iss", Reason: "not who signed"})
	case aud == "" || !slices.Contains(s.audience, aud):
		return Caller{}, coffer.E("message", coffer.Denied, &coffer.Fault{Target: "aud", Reason: "for another hub"})
	}
	return Caller{who: s.signer}, nil
}
