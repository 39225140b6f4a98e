package hub

import (
	"bytes"
	"context"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// ServerOptions are what a [Server] is made of. Host, Keys, Key, AnswerKey, Secret and Now are needed.
type ServerOptions struct {
	Host Host
	// Keys are the hub's own, one value for each identifier that it is known by; the first is the main one. Each needs a
	// key that signs and one that can be encrypted to.
	Keys []Keys
	// Key finds the key with an id, as [grant.MessageFacts] says. It should remember what it found: it is asked for every
	// request.
	Key func(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error)
	// AnswerKey finds what to encrypt the answer to for who signed with a key. NotExist when there is nothing.
	AnswerKey func(ctx context.Context, keyID string) (coffer.PublicKey, error)
	// Secret makes the access tokens. Servers with the same secret take each other's.
	Secret [32]byte
	Now    func() time.Time
	// Once notes a name for all servers with the same keys and Secret, and reports whether none had noted it yet; it may
	// forget it once the instant has passed on every clock. So a request that one of them took is none for another. If nil,
	// the server itself remembers what it took, and there must be no other.
	Once func(ctx context.Context, name [16]byte, until time.Time) (first bool, err error)
	// Since is since when no other server takes requests with these keys: of one that was there before, nobody remembers
	// what it took. Zero is now. It is not asked for where there is Once.
	Since time.Time

	Limits Limits
	// Endpoint is the URL under which clients reach the hub, for the description; may be empty.
	Endpoint string
	// Strategies are the commit strategies that the host knows, for the description.
	Strategies []string
	Version    string // of the software, for the description; may be empty
	// Observe is told of every request once it is answered. route is one of a few fixed names: what kind of request it
	// was. May be nil.
	Observe func(route string, status int, took time.Duration, bytes int64)
	// Report is told of every failure of ours. May be nil.
	Report func(route string, err error)
}

// Limits bound what a request may bring. Zero members take the default.
type Limits struct {
	Body   int64         // bytes of an envelope; 2 MiB
	Answer int64         // bytes of commits in an answer, beyond which it has fewer than were asked for; 8 MiB
	Time   time.Duration // for an answer, once the request has been received; 30 seconds
}

func (l *Limits) setDefaults() {
	if l.Body <= 0 {
		l.Body = 2 << 20
	}
	if l.Answer <= 0 {
		l.Answer = 8 << 20
	}
	if l.Time <= 0 {
		l.Time = 30 * time.Second
	}
}

// A Server serves the hubs of a [Host] over HTTP, at every path that it is given. It is made by [NewServer].
type Server struct {
	o           ServerOptions
	readers     map[string]reader // by the id of the key that requests are encrypted to
	facts       grant.MessageFacts
	tokens      tokens
	nonces      *nonces
	description []byte // JSON
}

// A reader is a key that requests are encrypted to, and those of the same identity that sign the answers.
type reader struct {
	jose.CompactReader
	rsa, other *signer
}

// NewServer returns a server, or Invalid when something needed is missing.
func NewServer(o ServerOptions) (*Server, error) {
	const op = "server"
	switch {
	case o.Host == nil || o.Key == nil || o.AnswerKey == nil || o.Now == nil:
		return nil, coffer.Errorf(op, coffer.Invalid, "Host, Key, AnswerKey or Now is missing")
	case o.Secret == [32]byte{}:
		return nil, coffer.Errorf(op, coffer.Invalid, "the secret is missing")
	case len(o.Keys) == 0:
		return nil, coffer.Errorf(op, coffer.Invalid, "the hub has no identity")
	}
	o.Limits.setDefaults()
	if o.Since.IsZero() {
		o.Since = o.Now()
	}
	s := &Server{
		o: o, readers: make(map[string]reader), tokens: newTokens(o.Secret), nonces: newNonces(noncesKept, o.Since),
		facts: grant.MessageFacts{Key: o.Key},
	}
	for _, k := range o.Keys {
		s.facts.Audience = append(s.facts.Audience, k.DID())
		if err := s.addKeys(k); err != nil {
			return nil, err
		}
	}
	var err error
	if s.description, err = jose.Encode(s.describe()); err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	return s, nil
}

// addKeys takes an identity's keys into use.
func (s *Server) addKeys(k Keys) error {
	var rsa, other *signer
	for _, id := range k.KeyIDs() {
		by := &signer{keyID: id, alg: k.Algorithm(id)}
		by.sign = func(ctx context.Context, p coffer.Purpose, input []byte) ([]byte, error) {
			return k.SignInput(ctx, id, p, input)
		}
		switch {
		case by.alg == rs256 && rsa == nil:
			rsa = by
		case by.alg == edDSA && (other == nil || other.alg != edDSA):
			other = by
		case by.alg != "" && by.alg != rs256 && other == nil:
			other = by
		}
	}
	if rsa == nil {
		rsa = other
	}
	if other == nil {
		other = rsa
	}
	n := len(s.readers)
	for _, id := range k.KeyIDs() {
		if r, ok := k.Reader(id); ok {
			s.readers[id] = reader{r, rsa, other}
		}
	}
	if rsa == nil || len(s.readers) == n {
		return coffer.Errorf("server", coffer.Invalid, "an identity of the hub has no key to sign with, or none to read with")
	}
	return nil
}

// A call is one request on its way.
type call struct {
	*Server
	r     *http.Request
	out   http.ResponseWriter
	route string // what Observe and Report are told
	from  sender
	// verbal is set for requests of the verb plane, of which the answers repeat the request's hash.
	verbal bool

	status  int
	written int64
}

// Routes besides the types of requests.
const (
	unknownRoute  = "unknown"
	tokenRoute    = "AccessToken"
	describeRoute = "GET"
)

// Header values that never change.
var (
	anyOrigin    = []string{"*"}
	exposed      = []string{"Location, Retry-After"}
	noSniff      = []string{"nosniff"}
	noStore      = []string{"no-store"}
	jsonType     = []string{"application/json"}
	envelopeType = []string{ContentType}
	severalType  = []string{SeveralContentType}
	allowed      = []string{"GET, HEAD, POST, OPTIONS"}
)

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.o.Now()
	c := &call{Server: s, r: r, out: w, route: unknownRoute}
	defer func() {
		if s.o.Observe != nil {
			s.o.Observe(c.route, c.status, s.o.Now().Sub(start), c.written)
		}
	}()
	h := w.Header()
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["Access-Control-Expose-Headers"] = exposed
	h["X-Content-Type-Options"] = noSniff
	h["Cache-Control"] = noStore
	if err := guarded(c.serve); err != nil {
		c.fail(err)
	}
}

// guarded turns a panic into an error: also then the client must get JSON.
func guarded(f func() error) (err error) {
	defer func() {
		switch p := recover(); p {
		case nil:
		case http.ErrAbortHandler:
			panic(p)
		default: // what it says may hold contents
			err = coffer.Errorf("serve", coffer.Other, "panic")
		}
	}()
	return f()
}

func (c *call) serve() error {
	switch c.r.Method {
	case http.MethodPost:
		return c.post()
	case http.MethodGet, http.MethodHead:
		c.route = describeRoute
		c.write(http.StatusOK, jsonType, c.description)
		return nil
	case http.MethodOptions:
		h := c.out.Header()
		h["Allow"], h["Access-Control-Allow-Methods"] = allowed, allowed
		h["Access-Control-Allow-Headers"] = []string{"Content-Type"}
		h["Access-Control-Max-Age"] = []string{"86400"}
		c.status = http.StatusNoContent
		c.out.WriteHeader(c.status)
		return nil
	}
	f := fail(http.StatusMethodNotAllowed, badRequest, "Requests are sent with POST")
	f.header = http.Header{"Allow": allowed}
	return f
}

// post answers an envelope.
func (c *call) post() error {
	t, _, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
	var decrypt decrypter
	switch strings.ToLower(strings.TrimSpace(t)) {
	case ContentType:
		decrypt = c.decrypt
	case SeveralContentType:
		decrypt = c.decryptSeveral
	default:
		return fail(http.StatusBadRequest, badRequest, "The content type must be "+ContentType)
	}
	body, err := c.read()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(c.r.Context(), c.o.Limits.Time)
	defer cancel()
	m, err := c.open(ctx, decrypt, body)
	if err != nil {
		return err
	}
	if asksForToken(m) {
		c.route = tokenRoute
		return c.reply([]byte(c.tokens.issue(m.Signer(), c.o.Now())))
	}
	b, err := c.perform(ctx, m)
	if err != nil {
		return err
	}
	return c.reply(b)
}

// A body may take so long, and so much longer for its size: a slow one holds memory and a connection. What is left of
// the body of a request that failed may take discardTime.
const (
	receiveTime = time.Minute
	slowest     = 32 << 10 // bytes per second
	discardTime = 3 * time.Second
)

// read reads the body.
func (c *call) read() (string, error) {
	n, limit := c.r.ContentLength, c.o.Limits.Body
	if n > limit {
		return "", &http.MaxBytesError{Limit: limit}
	}
	rc := http.NewResponseController(c.out)
	_ = rc.SetReadDeadline(time.Now().Add(receiveTime + time.Duration(limit/slowest)*time.Second))
	var b bytes.Buffer
	b.Grow(int(min(max(n, 0), 64<<10)) + bytes.MinRead) // a length is only a promise
	if _, err := b.ReadFrom(http.MaxBytesReader(c.out, c.r.Body, limit)); err != nil {
		if _, tooLarge := err.(*http.MaxBytesError); tooLarge {
			return "", err
		}
		return "", fail(http.StatusBadRequest, badRequest, "The request ended early")
	}
	_ = rc.SetReadDeadline(time.Time{}) // passed while a request is served, it would look like a client that left
	return b.String(), nil
}

// reply answers in an envelope, also that there was no time.
func (c *call) reply(payload []byte) error {
	e, err := c.from.by.seal(c.r.Context(), header{Nonce: c.from.nonce}, payload, c.from.to)
	if err != nil {
		return coffer.E("answer", coffer.KindOf(err), err)
	}
	c.write(http.StatusOK, envelopeType, []byte(e))
	return nil
}

// sendTime is how long a client may take to receive an answer, and as much longer for its size as for that of a body.
const sendTime = time.Minute

// write writes a whole answer: bytes, since net/http cuts a text into small pieces.
func (c *call) write(status int, contentType []string, body []byte) {
	h := c.out.Header()
	h["Content-Type"] = contentType
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	rc := http.NewResponseController(c.out)
	_ = rc.SetWriteDeadline(time.Now().Add(sendTime + time.Duration(len(body)/slowest)*time.Second))
	c.status = status
	c.out.WriteHeader(status)
	n, _ := c.out.Write(body) // a client that went away needs no answer
	c.written += int64(n)
}

// fail answers in the clear.
func (c *call) fail(err error) {
	now := c.o.Now()
	f := asFailure(err, now)
	if f.status == http.StatusInternalServerError {
		c.report(err)
	}
	if c.r.ContentLength != 0 { // the rest of a body is waited for before the answer goes out, but not for long
		_ = http.NewResponseController(c.out).SetReadDeadline(time.Now().Add(discardTime))
	}
	maps.Copy(c.out.Header(), f.header)
	c.write(f.status, jsonType, f.body(now))
}

// report tells of a failure of ours, unless it is that the client left.
func (c *call) report(err error) {
	if c.o.Report != nil && c.r.Context().Err() == nil {
		c.o.Report(c.route, err)
	}
}
