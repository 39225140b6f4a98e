package hub

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// An identity may have its hub at several hosts. A request to it is encrypted to all of them at once, so that whoever
// holds the envelope can bring it to any of them, and to no other. No access token would be good at each: that such a
// request is not sent again is known from when it says that it was made.

// SeveralContentType is the media type of envelopes to several hubs.
const SeveralContentType = "application/jose+json"

// maxHubs is how many hubs an envelope is for, at the most.
const maxHubs = 16

// messageSkew is how far ahead the clock of who makes requests without a token may be. A server takes none that may have
// been made before it began to remember nonces.
const messageSkew = 2 * time.Second

// several is whom envelopes to several hubs are for.
type several struct {
	hubs []string // identifiers
	keys []jose.Recipient
}

// severalOf returns the hubs that can be encrypted to at once, nil if the first cannot, or is alone. No two have the
// same identifier.
func severalOf(hubs []*coffer.Identity) *several {
	s := new(several)
	for _, h := range hubs {
		at := slices.IndexFunc(h.Agreement, func(k coffer.PublicKey) bool { return k.Type == jose.X25519Key })
		switch {
		case slices.Contains(s.hubs, h.ID) || len(s.hubs) == maxHubs:
		case at >= 0:
			k := h.Agreement[at]
			s.hubs = append(s.hubs, h.ID)
			s.keys = append(s.keys, jose.Recipient{KeyID: k.ID, Curve: jose.X25519, Public: k.Public})
		case len(s.hubs) == 0:
			return nil
		}
	}
	if len(s.hubs) < 2 {
		return nil
	}
	return s
}

// seal makes an envelope to all of them: the payload, signed by the signer, then encrypted.
func (s *several) seal(ctx context.Context, by *signer, h header, payload []byte) (string, error) {
	h.Hubs = s.hubs
	text, err := by.signed(ctx, h, payload)
	if err != nil {
		return "", err
	}
	key, err := jose.NewContentKey(jose.A256GCM)
	if err != nil {
		return "", err
	}
	protected, err := key.Protected()
	if err != nil {
		return "", err
	}
	recipients, err := key.Wrap(s.keys...)
	if err != nil {
		return "", err
	}
	return string(key.Encrypt(protected, recipients, text)), nil
}

// decryptSeveral opens an envelope to several hubs, of which this is one.
func (s *Server) decryptSeveral(body string) (text []byte, key reader, err error) {
	e, err := jose.Parse([]byte(body))
	if err != nil {
		return nil, key, err
	}
	ids, err := e.KeyIDs()
	if err != nil || len(ids) > maxHubs || e.Enc != jose.A256GCM {
		return nil, key, unauthenticated
	}
	for _, id := range ids {
		if key, ok := s.readers[id]; ok {
			k, err := e.Unwrap(jose.Reader{KeyID: key.KeyID, Curve: key.Curve, Agree: key.Agree})
			if err != nil {
				return nil, key, err
			}
			text, err = e.Decrypt(nil, k)
			return text, key, err
		}
	}
	return nil, key, unauthenticated
}

// A clearRefusal is what the hub said with a status.
type clearRefusal struct {
	status int
	error
}

func (r *clearRefusal) Unwrap() error { return r.error }

// notForSeveral reports whether an error may be because the hub takes no envelopes to several, or none now.
func notForSeveral(err error) bool {
	r, ok := err.(*clearRefusal)
	return ok && (r.status == http.StatusBadRequest || r.status == http.StatusUnauthorized ||
		r.status == http.StatusNotAcceptable || r.status == http.StatusUnsupportedMediaType)
}
