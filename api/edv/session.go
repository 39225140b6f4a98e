package edv

import (
	"encoding/base64"
	"net/http"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// sessionsKept is how many sessions live at once. One that is pushed out is negotiated anew.
const sessionsKept = 4096

type sessions struct {
	*lru.Cache[string, *grant.Session]
}

// find returns the session with the id, or nil. Whether it is over is for [grant.Verify] to see.
func (s sessions) find(id string) *grant.Session {
	found, _ := s.Get(id)
	return found
}

// sessionOffer is the body of a request for a session, sessionAnswer that of the answer. Keys are X25519 public keys in
// unpadded base64url.
type sessionOffer struct {
	PublicKey string `json:"publicKey"`
}

type sessionAnswer struct {
	ID        string    `json:"id"`
	PublicKey string    `json:"publicKey"`
	Expires   time.Time `json:"expires"`
}

// openSession is POST /sessions: for every did:key identity, whose keys need no looking up.
func (c *call) openSession() error {
	if err := c.authorize(grant.Write, c.rootOf(claimedIdentity(c.r.Header))); err != nil {
		return err
	}
	body, err := c.body(c.o.Limits.Body)
	if err != nil {
		return err
	}
	var offer sessionOffer
	if err := jose.Decode(body, &offer); err != nil {
		return invalid(coffer.E("session", coffer.Invalid, err))
	}
	key, err := decodeKey(offer.PublicKey)
	if err != nil {
		return invalid(err)
	}
	session, public, err := grant.NewSession(key, c.signer, c.o.Origin, c.o.Now(), grant.MaxSession)
	if err != nil {
		return err
	}
	c.sessions.Add(session.ID, session)
	c.Header()["Cache-Control"] = noStore
	return c.encode(http.StatusCreated, sessionAnswer{
		ID: session.ID, PublicKey: base64.RawURLEncoding.EncodeToString(public), Expires: session.Expires.UTC(),
	})
}

func decodeKey(s string) ([]byte, error) {
	b, ok := jose.Decode64(s)
	if !ok || len(b) != 32 {
		return nil, coffer.Errorf("session", coffer.Invalid, "publicKey must be 32 bytes in base64url")
	}
	return b, nil
}
