package edv

import (
	"context"
	"crypto/sha256"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// ServerOptions are what a [Server] is made of. Host, Origin, Key and Now are needed.
type ServerOptions struct {
	Host Host
	// Origin is the scheme, host and port under which clients know the server, without a slash at the end. All URLs
	// are made from it, and none from what a request says.
	Origin string
	// Key finds the key with an id, as [grant.Facts] says.
	Key func(ctx context.Context, keyID string, p coffer.Purpose) (coffer.Verifier, error)
	Now func() time.Time

	Skew    time.Duration // tolerance between clocks; 0 is the 300 seconds of the published servers
	MaxLife time.Duration // of a delegation; 0 is a year
	Limits  Limits
	// Creators are the identifiers that may create vaults; empty lets everyone do so for themselves.
	Creators []string
	// Resolve answers GET /1.0/identifiers/{id} with a status and a DID resolution result; nil switches the route off.
	Resolve func(ctx context.Context, id string) (status int, body []byte)
	LogKey  string // the verifier key of the vaults' checkpoints; empty: there are none
	NodeDID string // the node's own identifier, for the description; may be empty
	Version string // of the software, for the description; may be empty
	// Address finds who is at the other end; nil takes the connection's. A node behind a proxy that it trusts reads a
	// header here.
	Address func(*http.Request) netip.Addr
	// Observe is told of every request once it is answered. route is the method and the pattern of the route, never
	// a path. May be nil.
	Observe func(route string, status int, took time.Duration, bytes int64)
	// Report is told of every failure of ours: an answer with status 500, or one that broke off. May be nil.
	Report func(route string, err error)
}

// Limits bound what a request may bring. Zero members take the default.
type Limits struct {
	Document int64 // bytes of a document; 10 MB
	Chunk    int64 // bytes of a chunk, in either form; 10 MB
	Body     int64 // bytes of any other body; 100 kB
	Batch    int64 // bytes of a batch; 32 MB
	BatchOps int   // operations in a batch; 1000
	Answer   int64 // bytes of documents in an answer to a query, beyond which it says hasMore; 32 MiB
}

func (l *Limits) setDefaults() {
	for _, d := range []struct {
		limit *int64
		value int64
	}{{&l.Document, 10e6}, {&l.Chunk, 10e6}, {&l.Body, 100e3}, {&l.Batch, 32e6}, {&l.Answer, 32 << 20}} {
		if *d.limit <= 0 {
			*d.limit = d.value
		}
	}
	if l.BatchOps <= 0 {
		l.BatchOps = 1000
	}
}

// defaultSkew is that of the published servers.
const defaultSkew = 300 * time.Second

// capabilitiesKept is how many verified capabilities are remembered, a few kilobytes each, and capabilityKept how long:
// as long as identity documents.
const (
	capabilitiesKept = 4096
	capabilityKept   = 5 * time.Minute
)

// A Server serves the vaults of a [Host] over HTTP, as doc/http-api.md says. It is made by [NewServer].
type Server struct {
	o            ServerOptions
	host         string // as clients must send it
	places       []*place
	capabilities capabilities
	sessions     sessions
	history      *lru.Cache[historyPlace, coffer.Cursor]
	buffers      sync.Pool     // of *[]byte
	closed       chan struct{} // closed when the feeds must end
	closing      sync.Once
}

// NewServer returns a server, or Invalid when something needed is missing or the origin is not one.
func NewServer(o ServerOptions) (*Server, error) {
	const op = "server"
	if o.Host == nil || o.Key == nil || o.Now == nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "Host, Key or Now is missing")
	}
	u, err := url.Parse(o.Origin)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || o.Origin != u.Scheme+"://"+u.Host {
		return nil, coffer.Errorf(op, coffer.Invalid, "the origin must be a scheme and a host")
	}
	o.Limits.setDefaults()
	if o.Skew == 0 {
		o.Skew = defaultSkew
	}
	if o.Address == nil {
		o.Address = remoteAddress
	}
	s := &Server{o: o, host: u.Host, closed: make(chan struct{})}
	s.places = s.routes()
	s.buffers.New = func() any { b := make([]byte, 0, bufferSize); return &b }
	s.capabilities.now = o.Now
	if s.capabilities.kept, err = lru.New[[32]byte, verified](capabilitiesKept); err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	if s.sessions.Cache, err = lru.New[string, *grant.Session](sessionsKept); err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	if s.history, err = lru.New[historyPlace, coffer.Cursor](historyPlacesKept); err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	return s, nil
}

// Close ends the feeds that clients follow, which would not end by themselves, and lets all else be answered. Hand it
// to [http.Server.RegisterOnShutdown].
func (s *Server) Close() { s.closing.Do(func() { close(s.closed) }) }

// capabilities is a [grant.Cache]. What it keeps is verified anew after a while, however often it is used: a key that
// left its owner's identity document must not go on delegating.
type capabilities struct {
	kept *lru.Cache[[32]byte, verified]
	now  func() time.Time
}

type verified struct {
	capability *grant.Capability
	at         time.Time
}

// Get implements [grant.Cache].
func (c capabilities) Get(key [32]byte) (*grant.Capability, bool) {
	v, ok := c.kept.Get(key)
	if age := c.now().Sub(v.at); !ok || age < 0 || age >= capabilityKept {
		return nil, false
	}
	return v.capability, true
}

// Add implements [grant.Cache].
func (c capabilities) Add(key [32]byte, value *grant.Capability) {
	c.kept.Add(key, verified{value, c.now()})
}

func remoteAddress(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{} // in no range
	}
	return a.Addr().Unmap()
}

// A call is one request on its way. It is the [http.ResponseWriter] of its own answer and counts what is written.
type call struct {
	*Server
	r      *http.Request
	out    http.ResponseWriter
	path   path
	route  *route
	vault  coffer.VaultID // set when the route is below a vault
	url    string         // the vault's
	caller grant.Caller
	digest [32]byte // of the body, as signed; set when there is a body
	signer string   // the verification method that signed

	status  int
	written int64
}

// Header, WriteHeader and Write implement [http.ResponseWriter].
func (c *call) Header() http.Header { return c.out.Header() }

// WriteHeader notes the status.
func (c *call) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.out.WriteHeader(status)
}

// Write counts the bytes.
func (c *call) Write(b []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.out.Write(b)
	c.written += int64(n)
	return n, err
}

// ReadFrom passes a file on to the connection, which sends it without copying where the system can.
func (c *call) ReadFrom(r io.Reader) (int64, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := io.Copy(c.out, r)
	c.written += n
	return n, err
}

// Unwrap is for [http.ResponseController].
func (c *call) Unwrap() http.ResponseWriter { return c.out }

// unknownRoute is what Observe is told of requests to no route.
const unknownRoute = "unknown"

// ServeHTTP implements [http.Handler].
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	start := s.o.Now()
	c := &call{Server: s, r: r, out: w}
	name := unknownRoute
	defer func() {
		if s.o.Observe != nil {
			s.o.Observe(name, c.status, s.o.Now().Sub(start), c.written)
		}
	}()
	h := w.Header()
	h["Access-Control-Allow-Origin"] = anyOrigin
	h["Access-Control-Expose-Headers"] = exposed
	h["X-Content-Type-Options"] = noSniff
	err := c.find()
	if c.route != nil {
		name = c.route.name
		if err = c.admit(); err == nil {
			err = c.route.serve(c)
		}
	}
	if err != nil {
		c.fail(name, err)
	}
}

// Header values that never change.
var (
	anyOrigin = []string{"*"}
	exposed   = []string{"Location, ETag, Retry-After, Coffer-Parents, Coffer-Sequence"}
	noSniff   = []string{"nosniff"}
	jsonType  = []string{"application/json"}
	fresh     = []string{"private, no-cache"}
	noStore   = []string{"no-store"}
)

// fail answers with a problem. When the answer has begun already, the connection is cut: a client must not take a part
// for the whole.
func (c *call) fail(route string, err error) {
	conflict := stateError
	if c.route != nil && c.route.conflict != "" {
		conflict = c.route.conflict
	}
	f := asFailure(err, conflict)
	if c.o.Report != nil && (f.status == http.StatusInternalServerError || c.status != 0) && c.r.Context().Err() == nil {
		c.o.Report(route, err)
	}
	if c.status != 0 {
		panic(http.ErrAbortHandler)
	}
	if hasBody(c.r) { // the rest of a body is waited for before the answer goes out, but not for long
		_ = http.NewResponseController(c.out).SetReadDeadline(time.Now().Add(discardTime))
	}
	h := c.Header()
	if f.retry > 0 {
		h.Set("Retry-After", f.retryAfter())
	}
	h["Cache-Control"] = noStore
	for _, k := range []string{"Etag", "Location", "Vary"} {
		delete(h, k)
	}
	c.json(f.status, f.body())
}

// json writes a whole JSON body.
func (c *call) json(status int, b []byte) {
	h := c.Header()
	if h["Content-Type"] == nil {
		h["Content-Type"] = jsonType
	}
	h["Content-Length"] = []string{strconv.Itoa(len(b))}
	c.WriteHeader(status)
	c.Write(b) // a client that went away needs no answer
}

// encode writes v as the whole JSON body.
func (c *call) encode(status int, v any) error {
	b, err := jose.Encode(v)
	if err != nil {
		return coffer.E("answer", coffer.Other, err)
	}
	c.json(status, b)
	return nil
}

// empty answers with a status and nothing more.
func (c *call) empty(status int) error {
	c.WriteHeader(status)
	return nil
}

// view is the vault as the caller may see it.
func (c *call) view() View { return c.o.Host.As(c.caller, c.vault) }

// target is the URL that the request is for, without its query.
func (c *call) target() string { return c.o.Origin + c.path.text }

// object returns the document that the path names.
func (c *call) object() (coffer.ObjectID, error) {
	id, err := coffer.ParseObjectID(c.path.segments[3])
	if err != nil {
		return id, invalid(err)
	}
	return id, nil
}

// accepts reports whether the client named the media type among those that it takes.
func (c *call) accepts(mediaType string) bool {
	for _, v := range c.r.Header["Accept"] {
		if strings.Contains(v, mediaType) {
			return true
		}
	}
	return false
}

// hasBody reports whether the request has a body.
func hasBody(r *http.Request) bool { return r.ContentLength != 0 }

// mediaType returns the media type of the body without parameters, in lower case.
func (c *call) mediaType() string {
	t, _, _ := strings.Cut(c.r.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(t))
}

// body reads the JSON body of an authorized request and checks that it is the one that was signed.
func (c *call) body(limit int64) ([]byte, error) {
	b, err := c.read(limit)
	if err != nil {
		return nil, err
	}
	return b, c.checkDigest(b)
}

// read reads the JSON body of a request. What it returns stands for nothing until its digest is checked.
func (c *call) read(limit int64) ([]byte, error) {
	if !hasBody(c.r) {
		return nil, fail(http.StatusBadRequest, validationError, coffer.Invalid, "no body")
	}
	t, ok := strings.CutPrefix(c.mediaType(), "application/")
	if !ok || t != "json" && !strings.HasSuffix(t, "+json") {
		return nil, fail(http.StatusUnsupportedMediaType, mediaTypeError, coffer.Invalid, "the body must be JSON")
	}
	return c.readAll(limit)
}

// A body may take so long, and so much longer for its size: a slow one holds memory and a connection. What is left of
// the body of a request that failed may take discardTime.
const (
	receiveTime = time.Minute
	slowest     = 32 << 10 // bytes per second
	discardTime = 3 * time.Second
)

// receiving bounds the time for the body. The function returned lifts the bound: passed while a request is served, it
// would look like a client that left.
func (c *call) receiving(limit int64) (received func()) {
	rc := http.NewResponseController(c.out)
	_ = rc.SetReadDeadline(time.Now().Add(receiveTime + time.Duration(limit/slowest)*time.Second))
	return func() { _ = rc.SetReadDeadline(time.Time{}) }
}

func (c *call) readAll(limit int64) ([]byte, error) {
	n := c.r.ContentLength
	if n > limit {
		return nil, &http.MaxBytesError{Limit: limit}
	}
	defer c.receiving(limit)()
	r := http.MaxBytesReader(c.out, c.r.Body, limit)
	if n < 0 {
		b, err := io.ReadAll(r)
		return b, cutShort(err)
	}
	// No more is set aside than what has come or is soon to come: a length is only a promise.
	b := make([]byte, 0, min(n, 1<<20))
	for int64(len(b)) < n {
		b = slices.Grow(b, 1)
		m, err := r.Read(b[len(b):min(int64(cap(b)), n)])
		b = b[:len(b)+m]
		if err != nil && int64(len(b)) < n {
			return nil, cutShort(err)
		}
	}
	return b, nil
}

// cutShort is the error for a body that ended early. One that is too large keeps its error.
func cutShort(err error) error {
	if _, tooLarge := err.(*http.MaxBytesError); err == nil || tooLarge {
		return err
	}
	return fail(http.StatusBadRequest, validationError, coffer.Invalid, "the body ended early")
}

func (c *call) checkDigest(b []byte) error {
	if sha256.Sum256(b) != c.digest {
		return fail(http.StatusBadRequest, dataError, coffer.Invalid, "the body is not the one that was signed")
	}
	return nil
}
