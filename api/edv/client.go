package edv

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// ClientOptions are what a [Client] is made of. Base, Keyring and Now are needed.
type ClientOptions struct {
	// Base is the server's origin: scheme, host and port, without a slash at the end. It must be https, or name this
	// machine itself.
	Base    string
	Keyring coffer.Keyring
	// HTTP sends the requests; nil is a client with connections of its own, enough of them for parallel transfers.
	// Its CheckRedirect is not used: redirects are refused.
	HTTP *http.Client
	Now  func() time.Time
	// Sessions lets the client sign with a session's key where the server offers that: much cheaper for both ends.
	Sessions bool
}

// A Client reaches the vaults of one server as one identity. It may be used by several goroutines.
//
// Requests that may safely be sent again are, a few times with growing pauses, when the server cannot be reached or
// asks to come again. All errors are [coffer.Error]s with the kind that the server named.
type Client struct {
	o    ClientOptions
	http *http.Client

	mu          sync.Mutex
	described   *Description   // nil before it was asked for
	session     *grant.Session // nil if there is none
	negotiating bool
	sessionNext time.Time // when a session may be tried for, after it failed
}

// idleConnections is how many connections to the server are kept for the next requests.
const idleConnections = 32

// NewClient returns a client. Invalid if something needed is missing, or Base is not an origin that may be used.
func NewClient(o ClientOptions) (*Client, error) {
	const op = "client"
	if o.Keyring == nil || o.Now == nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "Keyring or Now is missing")
	}
	u, err := url.Parse(o.Base)
	if err != nil || u.Host == "" || o.Base != u.Scheme+"://"+u.Host {
		return nil, coffer.Errorf(op, coffer.Invalid, "the base must be a scheme and a host")
	}
	if u.Scheme != "https" && !(u.Scheme == "http" && local(u.Hostname())) {
		return nil, coffer.Errorf(op, coffer.Invalid, "the base must be https, or on this machine")
	}
	c := &Client{o: o, http: new(http.Client)}
	if o.HTTP != nil {
		*c.http = *o.HTTP
	} else {
		c.http.Transport = newTransport()
	}
	c.http.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c, nil
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// newTransport returns a transport that keeps several HTTP/1.1 connections rather than one of HTTP/2: chunks travel
// side by side, and files go from disk to the connection.
func newTransport() *http.Transport {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 2 * maxWait,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          idleConnections,
		MaxIdleConnsPerHost:   idleConnections,
		DisableCompression:    true, // nothing that is sealed can be compressed
		WriteBufferSize:       bufferSize,
		ReadBufferSize:        bufferSize,
		Protocols:             new(http.Protocols),
	}
	t.Protocols.SetHTTP1(true)
	return t
}

// Description returns what the server says of itself: an empty one if it says nothing, as the published servers do not.
func (c *Client) Description(ctx context.Context) (*Description, error) {
	c.mu.Lock()
	d := c.described
	c.mu.Unlock()
	if d != nil {
		return d, nil
	}
	d = new(Description)
	a, err := c.send(ctx, &request{op: "describe", method: "GET", url: c.o.Base + "/.well-known/coffer", repeat: true})
	switch {
	case coffer.KindOf(err) == coffer.NotExist || coffer.KindOf(err) == coffer.Invalid: // it has no such place
	case err != nil:
		return nil, err
	default:
		if jose.DecodeOpen(a.body, d) != nil {
			return nil, coffer.Errorf("describe", coffer.Corrupt, "the server's description is malformed")
		}
	}
	c.mu.Lock()
	c.described = d
	c.mu.Unlock()
	return d, nil
}

// has reports whether the server has the feature, as far as it is known.
func (c *Client) has(ctx context.Context, feature string) bool {
	d, err := c.Description(ctx)
	return err == nil && slices.Contains(d.Features, feature)
}

// CreateVault makes a vault from a configuration whose controller is the client's identity, and returns the
// configuration with the id that the server chose. Conflict if the controller has a vault with this referenceId.
func (c *Client) CreateVault(ctx context.Context, config *coffer.Config) (*coffer.Config, error) {
	const op = "create vault"
	body, err := jose.Encode(config)
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	r := &request{op: op, method: "POST", url: c.o.Base + "/edvs", action: grant.Write, body: body}
	if r.invoker, err = grant.NewInvoker(c.o.Keyring, r.url); err != nil {
		return nil, err
	}
	a, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	var created coffer.Config
	if jose.DecodeOpen(a.body, &created) != nil || !strings.HasPrefix(created.ID, c.o.Base+"/edvs/") {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the server answered with no configuration")
	}
	return &created, nil
}

// FindVaults returns the configurations of the identity's own vaults with the referenceId: one or none.
func (c *Client) FindVaults(ctx context.Context, referenceID string) ([]*coffer.Config, error) {
	const op = "find vault"
	target := c.o.Base + "/edvs"
	q := "?controller=" + encodeComponent(c.o.Keyring.DID()) + "&referenceId=" + encodeComponent(referenceID)
	invoker, err := grant.NewInvoker(c.o.Keyring, target)
	if err != nil {
		return nil, err
	}
	r := &request{op: op, method: "GET", url: target + q, action: grant.Read, invoker: invoker, repeat: true}
	a, err := c.send(ctx, r)
	if err != nil {
		return nil, err
	}
	var found []*coffer.Config
	if jose.DecodeOpen(a.body, &found) != nil || slices.Contains(found, nil) {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the server answered with no configurations")
	}
	return found, nil
}

// A request is what the client sends.
type request struct {
	op          string
	method, url string
	action      grant.Action
	invoker     *grant.Invoker // nil for what needs no authority
	accept      string
	ifMatch     string
	ifNoneMatch string
	access      *coffer.Secret // nil for none
	contentType string         // application/json if empty
	body        []byte         // nil for none, or for a stream
	stream      *upload
	repeat      bool  // does no harm when it is sent twice
	limit       int64 // bytes of the answer; maxAnswer if 0
}

// An answered is an answer with a body that was read whole.
type answered struct {
	status int
	header http.Header
	body   []byte
}

// maxAnswer bounds an answer: a full page of documents and one document more.
const maxAnswer = 96 << 20

// maxProblem bounds what is read of an answer that is a problem.
const maxProblem = 1 << 20

// send sends a request and reads the answer whole.
func (c *Client) send(ctx context.Context, r *request) (*answered, error) {
	resp, err := c.exchange(ctx, r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if r.method == http.MethodHead {
		return &answered{resp.StatusCode, resp.Header, nil}, nil
	}
	limit := r.limit
	if limit == 0 {
		limit = maxAnswer
	}
	b, err := readBounded(resp, limit)
	if err != nil {
		return nil, unreachable(ctx, r.op, err)
	}
	if int64(len(b)) > limit {
		return nil, coffer.Errorf(r.op, coffer.Exhausted, "the answer is too large")
	}
	return &answered{resp.StatusCode, resp.Header, b}, nil
}

// readBounded reads up to one byte more than the limit.
func readBounded(resp *http.Response, limit int64) ([]byte, error) {
	n := resp.ContentLength
	if n < 0 || n > limit {
		return io.ReadAll(io.LimitReader(resp.Body, limit+1))
	}
	b := make([]byte, n)
	_, err := io.ReadFull(resp.Body, b)
	return b, err
}

// Bounds on sending again.
const (
	maxAttempts  = 4
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

// exchange sends a request, again where that is safe and may help, and returns the answer if it is a success. The
// caller closes its body.
func (c *Client) exchange(ctx context.Context, r *request) (*http.Response, error) {
	pause := firstPause
	for attempt := 1; ; attempt++ {
		resp, err := c.attempt(ctx, r)
		if err == nil && resp.StatusCode < 300 {
			return resp, nil
		}
		// What was refused as one too many, or by a server that is not ready, was not done.
		again, wait := r.repeat, time.Duration(0)
		if err == nil {
			again = resp.StatusCode == http.StatusServiceUnavailable || resp.StatusCode == http.StatusTooManyRequests
			wait = retryAfter(resp.Header)
			err = problemOf(r.op, resp)
		} else if coffer.KindOf(err) != coffer.Unavailable {
			again = false
		}
		if !again || attempt == maxAttempts || wait > longestPause || ctx.Err() != nil || !r.rewind() {
			return nil, err
		}
		wait = max(wait, pause/2+rand.N(pause))
		pause *= 3
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

// problemOf reads an answer that is no success.
func problemOf(op string, resp *http.Response) error {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxProblem))
	if err != nil {
		body = nil // the status says enough
	}
	return errorFrom(op, resp.StatusCode, body)
}

func retryAfter(h http.Header) time.Duration {
	n, err := strconv.Atoi(h.Get("Retry-After"))
	if err != nil || n < 0 || n > 1e6 {
		return 0
	}
	return time.Duration(n) * time.Second
}

// rewind makes the body ready to be sent again, if that can be done.
func (r *request) rewind() bool { return r.stream == nil || r.stream.rewind() }

// attempt sends a request once; under a session once more without it if the server refuses, because it may have
// forgotten the session.
func (c *Client) attempt(ctx context.Context, r *request) (*http.Response, error) {
	var session *grant.Session
	if r.invoker != nil && (r.stream == nil || r.stream.seeker != nil) {
		session = c.currentSession(ctx)
	}
	resp, err := c.once(ctx, r, session)
	if err != nil || session == nil || resp.StatusCode != http.StatusForbidden || !r.rewind() {
		return resp, err
	}
	resp.Body.Close()
	if resp, err = c.once(ctx, r, nil); err == nil && resp.StatusCode != http.StatusForbidden {
		c.dropSession(session)
	}
	return resp, err
}

// once signs and sends a request.
func (c *Client) once(ctx context.Context, r *request, session *grant.Session) (*http.Response, error) {
	h := make(http.Header, 8)
	contentType := r.contentType
	if contentType == "" {
		contentType = "application/json"
	}
	var sum *[32]byte
	var body io.Reader
	switch {
	case r.stream != nil:
		sum, body = &r.stream.sum, r.stream.body()
	case r.body != nil:
		s := sha256.Sum256(r.body)
		sum, body = &s, bytes.NewReader(r.body)
	}
	if r.invoker != nil {
		signed, err := r.invoker.Under(session).Sign(ctx, grant.Request{
			Method: r.method, URL: r.url, Action: r.action, BodySum: sum, ContentType: contentType, Now: c.o.Now(),
		})
		if err != nil {
			return nil, err
		}
		h = signed
	}
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, body)
	if err != nil {
		return nil, coffer.Errorf(r.op, coffer.Invalid, "malformed URL")
	}
	if r.stream != nil {
		req.ContentLength = r.stream.size
	}
	for name, value := range map[string]string{"Accept": r.accept, "If-Match": r.ifMatch, "If-None-Match": r.ifNoneMatch} {
		if value != "" {
			h[name] = []string{value}
		}
	}
	if r.access != nil {
		h[AccessHeader] = []string{formatAccess(*r.access)}
	}
	req.Header = h
	resp, err := c.http.Do(req)
	if err != nil {
		if r.stream != nil {
			if bad := r.stream.release(); bad != nil {
				return nil, bad
			}
		}
		return nil, unreachable(ctx, r.op, err)
	}
	return resp, nil
}

// An outage is an error of the network. Its text is not shown: it holds addresses.
type outage struct{ err error }

func (o *outage) Error() string { return "the server could not be reached" }
func (o *outage) Unwrap() error { return o.err }

func unreachable(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return coffer.E(op, coffer.Unavailable, context.Cause(ctx))
	}
	return coffer.E(op, coffer.Unavailable, &outage{err})
}

// Bounds on the client's sessions.
const (
	sessionMargin = 30 * time.Second // before its end, in which it is no longer used
	sessionPause  = time.Minute      // after a failure, until the next is tried for
)

// currentSession returns the session to sign under, negotiating one if it is time, or nil. Requests that come while
// one is being negotiated do not wait for it.
func (c *Client) currentSession(ctx context.Context) *grant.Session {
	if !c.o.Sessions {
		return nil
	}
	now := c.o.Now()
	c.mu.Lock()
	if s := c.session; s != nil && now.Before(s.Expires.Add(-sessionMargin)) {
		c.mu.Unlock()
		return s
	}
	wait := c.negotiating || now.Before(c.sessionNext)
	c.negotiating = c.negotiating || !wait
	c.session = nil
	c.mu.Unlock()
	if wait {
		return nil
	}
	s, err := c.negotiate(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.negotiating = false
	if c.session = s; err != nil {
		c.sessionNext = now.Add(sessionPause)
	}
	return s
}

func (c *Client) dropSession(s *grant.Session) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session == s {
		c.session = nil
	}
}

// negotiate asks the server for a session.
func (c *Client) negotiate(ctx context.Context) (*grant.Session, error) {
	const op = "session"
	if !c.has(ctx, FeatureSessions) {
		return nil, coffer.Errorf(op, coffer.Invalid, "the server offers none")
	}
	opening, err := grant.OpenSession()
	if err != nil {
		return nil, err
	}
	body, err := jose.Encode(sessionOffer{base64.RawURLEncoding.EncodeToString(opening.Public())})
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	r := &request{op: op, method: "POST", url: c.o.Base + "/sessions", action: grant.Write, body: body, limit: maxProblem}
	if r.invoker, err = grant.NewInvoker(c.o.Keyring, r.url); err != nil {
		return nil, err
	}
	resp, err := c.once(ctx, r, nil)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode >= 300 {
		return nil, problemOf(op, resp)
	}
	defer resp.Body.Close()
	b, err := readBounded(resp, maxProblem)
	if err != nil {
		return nil, unreachable(ctx, op, err)
	}
	var a sessionAnswer
	if jose.DecodeOpen(b, &a) != nil {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the server answered with none")
	}
	key, err := decodeKey(a.PublicKey)
	if err != nil {
		return nil, coffer.E(op, coffer.Corrupt, err)
	}
	// The server's clock may be another: no session is used for longer than one may last.
	if latest := c.o.Now().Add(grant.MaxSession); a.Expires.After(latest) {
		a.Expires = latest
	}
	return opening.Session(key, a.ID, c.o.Keyring.Key(coffer.SigningKey).ID, c.o.Base, a.Expires)
}
