package grant

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"time"

	"github.com/cofferhq/coffer"
)

// MaxSession is the longest life of a session.
const MaxSession = 10 * time.Minute

// sessionPrefix begins the keyId of a request that is signed under a session.
const sessionPrefix = "session:"

// A Session is a short-lived key that stands in for an invoker's signing key: requests under it carry an HMAC over the
// same signing string. It is bound to the verification method that signed its negotiation, and to the server's origin.
//
// Negotiation is a request signed by the invoker's own key. The client makes an [Opening] and sends its public key; the
// server verifies the request, calls [NewSession] with the verified key id, and answers with the session's id, its own
// public key and the expiry; the client then has the session from [Opening.Session]. Both keys are forgotten with the
// session. The server's answer is protected by the transport alone, as all answers are.
//
// While a session lives, the invoker's identity document is not consulted again.
type Session struct {
	ID      string
	KeyID   string    // the invoker's verification method
	Expires time.Time // at most [MaxSession] after the negotiation
	key     [32]byte
}

// String returns a text without the key, so that a session can be printed by accident.
func (s Session) String() string { return "grant.Session" }

// GoString is String.
func (s Session) GoString() string { return s.String() }

// sum returns the HMAC-SHA256 over a signing string.
func (s *Session) sum(message []byte) []byte {
	h := hmac.New(sha256.New, s.key[:])
	h.Write(message)
	return h.Sum(nil)
}

// NewSession makes the server's end of a session for the client that sent the X25519 public key in a request that
// [Verify] found signed by the key with the id. It returns the session and the public key to answer with. A life of 0,
// or beyond [MaxSession], is MaxSession. Invalid if the client's key is malformed or of low order.
func NewSession(client []byte, keyID, origin string, now time.Time, life time.Duration) (*Session, []byte, error) {
	if keyID == "" || origin == "" {
		return nil, nil, coffer.Errorf("session", coffer.Invalid, "no key id or no origin to bind to")
	}
	if life <= 0 || life > MaxSession {
		life = MaxSession
	}
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, nil, coffer.E("session", coffer.Other, err)
	}
	var id [16]byte
	rand.Read(id[:])
	s := &Session{
		ID:      base64.RawURLEncoding.EncodeToString(id[:]),
		KeyID:   keyID,
		Expires: now.Add(life).Truncate(time.Second),
	}
	public := private.PublicKey().Bytes()
	if err := s.agree(private, client, client, public, origin); err != nil {
		return nil, nil, err
	}
	return s, public, nil
}

// An Opening is the client's end of a session that is being negotiated.
type Opening struct{ private *ecdh.PrivateKey }

// OpenSession begins a negotiation with a fresh key.
func OpenSession() (*Opening, error) {
	private, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return nil, coffer.E("session", coffer.Other, err)
	}
	return &Opening{private}, nil
}

// Public returns the X25519 public key to send, 32 bytes.
func (o *Opening) Public() []byte { return o.private.PublicKey().Bytes() }

// Session returns the session that the server answered with: its public key, the session's id and expiry. The key id
// is the one that signed the negotiation, and the origin is the one that it was sent to. Invalid if the answer is
// malformed.
func (o *Opening) Session(server []byte, id, keyID, origin string, expires time.Time) (*Session, error) {
	if id == "" || len(id) > 64 || !plain(id) {
		return nil, coffer.Errorf("session", coffer.Invalid, "malformed session id")
	}
	s := &Session{ID: id, KeyID: keyID, Expires: expires}
	if err := s.agree(o.private, server, o.Public(), server, origin); err != nil {
		return nil, err
	}
	return s, nil
}

// agree derives the session's key: HKDF-SHA256 of the shared secret; the info binds all that both ends must see alike,
// each with its length before it.
func (s *Session) agree(private *ecdh.PrivateKey, peer, client, server []byte, origin string) error {
	public, err := ecdh.X25519().NewPublicKey(peer)
	if err != nil {
		return coffer.Errorf("session", coffer.Invalid, "malformed public key")
	}
	secret, err := private.ECDH(public)
	if err != nil {
		return coffer.Errorf("session", coffer.Invalid, "public key of low order")
	}
	info := []byte("coffer session 1")
	for _, part := range [...]string{string(client), string(server), s.ID, s.KeyID, origin} {
		info = binary.BigEndian.AppendUint32(info, uint32(len(part)))
		info = append(info, part...)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, string(info), len(s.key))
	if err != nil {
		return coffer.E("session", coffer.Other, err)
	}
	copy(s.key[:], key)
	return nil
}

// plain reports whether s is printable ASCII that may stand in a quoted header parameter.
func plain(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return true
}
