package grant

import (
	"context"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
)

// An Invoker signs requests by one authority: a root capability, or a delegated one that is encoded once. It may be
// used by several goroutines.
type Invoker struct {
	keyring coffer.Keyring
	keyID   string
	target  string
	header  string // Capability-Invocation up to the action
	session *Session
}

// NewInvoker returns an Invoker for an authority: the target of a root capability (a URL), or a delegated capability as
// JSON. It fails with Invalid if that is malformed, and with Denied if the keyring is not a controller of the delegated
// capability; whether it is one of a root, only the server knows.
func NewInvoker(kr coffer.Keyring, authority string) (*Invoker, error) {
	const op = "invoke"
	i := &Invoker{keyring: kr, keyID: kr.Key(coffer.SigningKey).ID}
	if !strings.HasPrefix(authority, "{") {
		if !absoluteURI(authority) {
			return nil, coffer.Errorf(op, coffer.Invalid, "neither a capability nor the URL of a root's target")
		}
		i.target = authority
		i.header = `zcap id="` + RootID(authority) + `",action="`
		return i, nil
	}
	c, err := ParseCapability([]byte(authority))
	if err != nil {
		return nil, err
	}
	if !holds(c.controllers, i.keyID) {
		return nil, coffer.Errorf(op, coffer.Denied, "the capability is for another controller")
	}
	i.target = c.target
	i.header = `zcap capability="` + deflate([]byte(authority)) + `",action="`
	return i, nil
}

// Under returns an Invoker for the same authority that signs with the session's key instead of the keyring's. With nil
// it is one that does not.
func (i *Invoker) Under(s *Session) *Invoker {
	under := *i
	under.session = s
	return &under
}

// Target returns the URL that the Invoker has authority over.
func (i *Invoker) Target() string { return i.target }

// A Request is what an [Invoker] signs.
type Request struct {
	Method      string
	URL         string // exactly as it will be sent; must be the authority's target or below it
	Action      Action
	BodySum     *[32]byte // SHA-256 of the body, nil without one
	ContentType string    // needed with a body
	Now         time.Time
	Life        time.Duration // of the signature; 0 is ten minutes
}

// Sign returns the headers to send, by their canonical names, so that the result converts to an http.Header:
// Capability-Invocation and Authorization, and with a body Digest and Content-Type. The Host header must be sent as the
// URL has it. Invalid if the URL is not covered by the authority (a capability is not shown to a server that has
// nothing to do with it) or is malformed.
func (i *Invoker) Sign(ctx context.Context, r Request) (map[string][]string, error) {
	const op = "invoke"
	_, rest, ok := strings.Cut(r.URL, "://")
	slash := strings.IndexByte(rest, '/')
	switch {
	case !ok || slash < 1 || !absoluteURI(r.URL) || strings.Contains(r.URL, "#"):
		return nil, coffer.Errorf(op, coffer.Invalid, "not a URL with host and path")
	case !covers(i.target, r.URL):
		return nil, coffer.Errorf(op, coffer.Invalid, "the authority does not cover the URL")
	case r.Method == "" || r.Action == "" || !plain(string(r.Action)) || r.Now.IsZero():
		return nil, coffer.Errorf(op, coffer.Invalid, "no method, action or time")
	case r.BodySum != nil && r.ContentType == "":
		return nil, coffer.Errorf(op, coffer.Invalid, "a body without a content type")
	}
	life := r.Life
	if life <= 0 {
		life = 10 * time.Minute
	}
	in := &Invocation{
		Method:  r.Method,
		URI:     rest[slash:],
		Host:    rest[:slash],
		HasBody: r.BodySum != nil,
		Header:  map[string][]string{"Capability-Invocation": {i.header + string(r.Action) + `"`}},
	}
	s := &signature{
		keyID:   i.keyID,
		headers: "(key-id) (created) (expires) (request-target) host capability-invocation",
		created: strconv.FormatInt(r.Now.Unix(), 10),
		expires: strconv.FormatInt(r.Now.Add(life).Unix(), 10),
	}
	if i.session != nil {
		s.keyID = sessionPrefix + i.session.ID
	}
	if in.HasBody {
		in.Header["Content-Type"] = []string{r.ContentType}
		in.Header["Digest"] = []string{FormatDigest(*r.BodySum)}
		s.headers += " content-type digest"
	}
	message, err := s.signingString(in)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, err.Error())
	}
	var sum []byte
	if i.session != nil {
		sum = i.session.sum(message)
	} else if sum, err = i.keyring.Sign(ctx, coffer.Invocation, message); err != nil {
		return nil, err
	}
	in.Header["Authorization"] = []string{`Signature keyId="` + s.keyID + `",headers="` + s.headers + `",signature="` +
		base64.StdEncoding.EncodeToString(sum) + `",created="` + s.created + `",expires="` + s.expires + `"`}
	return in.Header, nil
}
