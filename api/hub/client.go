package hub

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"encoding/json"
	"io"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// ClientOptions are what a [Client] is made of. URL, Hub, Requester, Key and Now are needed.
type ClientOptions struct {
	// URL is where the hub is. It must be https, or on this machine itself.
	URL string
	// Hub is the hub's identity: requests are encrypted to one of its agreement keys.
	Hub *coffer.Identity
	// Others are the identities of other hubs that the same things are asked of. With any, a request is encrypted to all
	// that have an X25519 key, as long as the hub takes such requests; they need no access token. May be empty.
	Others    []*coffer.Identity
	Requester Requester
	// Key finds the keys that answers are signed with. It should remember what it found.
	Key func(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error)
	// HTTP sends the requests; nil is a client with connections of its own. Its CheckRedirect is not used.
	HTTP *http.Client
	Now  func() time.Time
	// Purpose is what the requests are said to be for; may be empty.
	Purpose string
}

// A Client reaches the hubs at one URL as one requester, and is a [coffer.Hub]. It may be used by several goroutines.
//
// An answer is believed only if the hub has signed it and it repeats the nonce of the request; all else is Corrupt, or
// what a status says that is not 200. Who could not be authenticated gets Denied with a [coffer.Fault] in the chain
// that has the code "authentication_failed".
type Client struct {
	o    ClientOptions
	http *http.Client
	hub  jose.CompactRecipient
	by   signer

	several *several    // nil: requests are for one
	alone   atomic.Bool // the hub does not take requests to several

	turn    chan struct{} // holds one when somebody has the session in hand
	session *session      // nil before the first request
}

var _ coffer.Hub = (*Client)(nil)

// A session is an access token, and the key that answers are encrypted to while it lasts. That of a request to several
// hubs is for this request, and has no token.
type session struct {
	several bool

	token string
	began time.Time
	reply *jose.JWK // nil: answers are encrypted to the requester's own key
	// reader opens what is encrypted to reply.
	reader jose.CompactReader
}

// sessionMargin is how long before the end of its token a session is no longer used.
const sessionMargin = 30 * time.Second

// maxAnswer bounds an answer: a full page of commits.
const maxAnswer = 64 << 20

// maxRefusal bounds an answer in the clear.
const maxRefusal = 64 << 10

// NewClient returns a client. Invalid if something needed is missing, the URL may not be used, or the hub has no key
// that can be encrypted to.
func NewClient(o ClientOptions) (*Client, error) {
	const op = "client"
	if o.Hub == nil || o.Requester == nil || o.Key == nil || o.Now == nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "Hub, Requester, Key or Now is missing")
	}
	if err := checkURL(op, o.URL); err != nil {
		return nil, err
	}
	c := &Client{o: o, http: httpClient(o.HTTP), turn: make(chan struct{}, 1)}
	var err error
	c.by = signer{keyID: o.Requester.KeyID(), alg: o.Requester.Algorithm(), sign: o.Requester.SignInput}
	if c.hub, err = recipientOf(o.Hub); err != nil {
		return nil, err
	}
	c.several = severalOf(append([]*coffer.Identity{o.Hub}, o.Others...))
	return c, nil
}

func checkURL(op, text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "https" && !(u.Scheme == "http" && local(u.Hostname())) {
		return coffer.Errorf(op, coffer.Invalid, "the URL must be https, or on this machine")
	}
	return nil
}

// httpClient returns a client that follows no redirects, over the connections of another one or its own.
func httpClient(of *http.Client) *http.Client {
	c := new(http.Client)
	if of != nil {
		*c = *of
	} else {
		c.Transport = newTransport()
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return c
}

func local(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.DisableCompression = true // nothing that is encrypted can be compressed
	t.ResponseHeaderTimeout = 2 * time.Minute
	t.MaxIdleConnsPerHost = 16
	return t
}

// recipientOf returns the hub's key to encrypt to: the cheapest for both ends.
func recipientOf(hub *coffer.Identity) (to jose.CompactRecipient, err error) {
	for _, kind := range []string{jose.X25519Key, jose.P256Key, jose.RSAKey} {
		for _, k := range hub.Agreement {
			if k.Type != kind {
				continue
			}
			if jwk, err := jose.JWKOf(k.Type, k.Public); err == nil {
				return jose.CompactRecipient{KeyID: k.ID, Key: jwk}, nil
			}
		}
	}
	return to, coffer.Errorf("client", coffer.Invalid, "the hub has no key that can be encrypted to")
}

// How often a request is sent, when the hub cannot be reached or cannot answer now.
const (
	maxAttempts = 4
	firstPause  = 100 * time.Millisecond // before the second; three times as long before the next
)

// send sends a request and returns the answer of the wanted type. A request that does no harm when it happens twice is
// sent again when it fails with Unavailable.
func (c *Client) send(ctx context.Context, op string, r *request, wanted string) (*answer, error) {
	r.Issuer, r.Purpose = c.o.Requester.DID(), c.o.Purpose
	payload, err := jose.Encode(r)
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "a part of the request is not JSON or not UTF-8")
	}
	pause := firstPause
	for attempt := 1; ; attempt++ {
		a, err := c.attempt(ctx, op, r, payload, wanted)
		if coffer.KindOf(err) != coffer.Unavailable || attempt == maxAttempts || !r.repeatable() {
			return a, err
		}
		t := time.NewTimer(pause/2 + mathrand.N(pause))
		pause *= 3
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return nil, err
		}
	}
}

// repeatable reports whether a request does no harm when it happens twice: a commit is there once, however often it comes.
func (r *request) repeatable() bool {
	return !r.verbal() || strings.HasSuffix(r.Type, "/"+later[coffer.RequestVerb])
}

// attempt sends a request with an access token, which is renewed once when the hub does not take it, or to several hubs.
func (c *Client) attempt(ctx context.Context, op string, r *request, payload []byte, wanted string) (*answer, error) {
	b, err := c.exchange(ctx, op, payload)
	if err != nil {
		return nil, err
	}
	a, err := parseAnswer(op, b)
	switch {
	case err != nil:
		return nil, err
	case r.verbal() && (a.Response == nil || a.Response.RequestHash != requestHash(payload)):
		return nil, coffer.Errorf(op, coffer.Corrupt, "the answer is to another request")
	case a.Type == errorResponse:
		return nil, errorFrom(op, a)
	case a.Type != wanted:
		return nil, coffer.Errorf(op, coffer.Corrupt, "the answer is of another type than the request")
	}
	return a, nil
}

// exchange sends a request, to several hubs or under the session, and returns the text of the answer.
func (c *Client) exchange(ctx context.Context, op string, payload []byte) ([]byte, error) {
	if c.several != nil && !c.alone.Load() {
		s := &session{several: true}
		if err := s.makeReply(); err != nil {
			return nil, coffer.E(op, coffer.Other, err)
		}
		b, err := c.once(ctx, op, s, payload)
		if !notForSeveral(err) {
			return b, err
		}
		c.alone.Store(true)
	}
	s, err := c.begin(ctx, op, nil)
	if err != nil {
		return nil, err
	}
	b, err := c.once(ctx, op, s, payload)
	if !isUnauthenticated(err) {
		return b, err
	}
	if s, err = c.begin(ctx, op, s); err != nil {
		return nil, err
	}
	return c.once(ctx, op, s, payload)
}

// begin returns a session, another than the one that is of no more use. Who comes while one is being begun waits.
func (c *Client) begin(ctx context.Context, op string, useless *session) (*session, error) {
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, coffer.E(op, coffer.Unavailable, context.Cause(ctx))
	}
	if s := c.session; s != nil && s != useless && c.o.Now().Before(s.began.Add(tokenLife-sessionMargin)) {
		return s, nil
	}
	c.session = nil
	s := &session{began: c.o.Now()}
	if _, ok := c.o.Requester.Reader(); !ok || c.by.alg != rs256 && c.by.alg != rs512 {
		// Hubs that know no such key pass over it, and encrypt to one of the requester's own.
		if err := s.makeReply(); err != nil {
			return nil, coffer.E(op, coffer.Other, err)
		}
	}
	token, err := c.once(ctx, op, s, nil)
	if err != nil {
		return nil, err
	}
	if s.token = string(token); s.token == "" {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the hub answered with no access token")
	}
	c.session = s
	return s, nil
}

// makeReply makes the key that answers are encrypted to. It is forgotten with the session, and so nobody can open them
// later.
func (s *session) makeReply() error {
	k, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	if s.reply, err = jose.JWKOf(jose.X25519Key, k.PublicKey().Bytes()); err != nil {
		return err
	}
	s.reader = jose.CompactReader{KeyID: replyKeyID, Curve: jose.X25519, Agree: func(ephemeral []byte) ([]byte, error) {
		peer, err := ecdh.X25519().NewPublicKey(ephemeral)
		if err != nil {
			return nil, err
		}
		return k.ECDH(peer)
	}}
	return nil
}

// once sends one envelope and returns what is in that of the answer. Without a token it asks for one, unless the request
// is one to several hubs.
func (c *Client) once(ctx context.Context, op string, s *session, payload []byte) ([]byte, error) {
	var random [16]byte
	rand.Read(random[:])
	nonce := encode64(random[:])
	h := header{Nonce: nonce, Token: s.token, ReplyKey: s.reply}
	var e string
	var err error
	contentType := envelopeType
	if s.several {
		h.Made = c.o.Now().UnixMilli()
		contentType = severalType
		e, err = c.several.seal(ctx, &c.by, h, payload)
	} else {
		e, err = c.by.seal(ctx, h, payload, c.hub)
	}
	if err != nil {
		return nil, coffer.E(op, coffer.KindOf(err), err)
	}
	b, err := c.post(ctx, op, contentType, e)
	if err != nil {
		return nil, err
	}
	return c.unseal(ctx, op, s, nonce, string(b))
}

// unseal opens the envelope of an answer.
func (c *Client) unseal(ctx context.Context, op string, s *session, nonce, body string) ([]byte, error) {
	corrupt := func(reason string) error { return coffer.Errorf(op, coffer.Corrupt, reason) }
	e, err := jose.ParseCompactJWE(body)
	if err != nil {
		return nil, corrupt("the hub's answer is malformed")
	}
	reader, ok := c.o.Requester.Reader()
	if e.KeyID() == replyKeyID {
		reader, ok = s.reader, s.reply != nil
	}
	if !ok {
		return nil, corrupt("the hub's answer is for another")
	}
	text, err := e.Open(reader)
	if err != nil {
		return nil, corrupt("the hub's answer cannot be opened")
	}
	m, err := jose.ParseCompactJWS(string(text))
	var h header
	if err != nil || m.Header(&h) != nil {
		return nil, corrupt("the hub's answer is malformed")
	}
	if signer, _, _ := strings.Cut(h.KeyID, "#"); signer != c.o.Hub.ID {
		return nil, corrupt("the answer is not signed by the hub")
	}
	key, err := c.o.Key(ctx, h.KeyID, h.Alg, coffer.Authentication)
	if coffer.KindOf(err) == coffer.Unavailable && err != nil {
		return nil, err
	}
	signature, ok := jose.Decode64(m.Signature)
	payload, ok2 := jose.Decode64(m.Payload)
	switch {
	case err != nil || !ok || !ok2 || !key.Verify(m.Input(), signature):
		return nil, corrupt("the answer is not signed by the hub")
	case h.Nonce != nonce:
		return nil, corrupt("the answer is to another request")
	}
	return payload, nil
}

// post sends an envelope and returns the answer's.
func (c *Client) post(ctx context.Context, op string, contentType []string, envelope string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.o.URL, strings.NewReader(envelope))
	if err != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "malformed URL")
	}
	req.Header["Content-Type"] = contentType
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, unreachable(ctx, op, err)
	}
	defer resp.Body.Close()
	limit := int64(maxAnswer)
	if resp.StatusCode != http.StatusOK {
		limit = maxRefusal
	}
	b, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	switch {
	case err != nil:
		return nil, unreachable(ctx, op, err)
	case resp.StatusCode != http.StatusOK:
		return nil, &clearRefusal{resp.StatusCode, refusal(op, resp, b)}
	case int64(len(b)) > limit:
		return nil, coffer.Errorf(op, coffer.Exhausted, "the answer is too large")
	}
	return bytes.TrimSpace(b), nil
}

// An outage is an error of the network. Its text is not shown: it holds addresses.
type outage struct{ err error }

func (o *outage) Error() string { return "the hub could not be reached" }
func (o *outage) Unwrap() error { return o.err }

func unreachable(ctx context.Context, op string, err error) error {
	if ctx.Err() != nil {
		return coffer.E(op, coffer.Unavailable, context.Cause(ctx))
	}
	return coffer.E(op, coffer.Unavailable, &outage{err})
}

// maxPayload bounds the payload of a commit: a MiB in base64url. A hub may take less.
const maxPayload = (1<<20*4 + 2) / 3

// Write implements [coffer.Hub].
func (c *Client) Write(ctx context.Context, owner string, w *coffer.Commit) ([]coffer.CommitRev, error) {
	const op = "write"
	switch {
	case w == nil:
		return nil, bad("commit", missingParameter)
	case len(w.Payload) > maxPayload: // the hub could not even tell, as it would not read the envelope
		return nil, bad("commit.payload", "Text is too long")
	}
	one := commitOf(w)
	r := c.about(writeRequest, owner)
	r.Commit = &one
	a, err := c.send(ctx, op, r, writeResponse)
	if err != nil {
		return nil, err
	}
	return a.Revisions, nil
}

// about is a request of the commit plane.
func (c *Client) about(requestType, owner string) *request {
	return &request{Context: schemaContext, Type: requestType, Subject: owner, Audience: c.o.Hub.ID}
}

// Adopt implements [coffer.Hub]. All commits travel in one envelope, of which a hub bounds the size.
func (c *Client) Adopt(ctx context.Context, owner string, commits ...*coffer.Commit) (int, error) {
	const op = "adopt"
	if len(commits) > coffer.MaxAdopt || slices.Contains(commits, nil) {
		return 0, coffer.Errorf(op, coffer.Invalid, "too many commits, or one that is none")
	}
	r := c.about(adoptRequest, owner)
	r.Commits = make(list[commit], len(commits))
	for i, w := range commits {
		r.Commits[i] = commitOf(w)
	}
	a, err := c.send(ctx, op, r, adoptResponse)
	if err != nil {
		return 0, err
	}
	return a.Added, nil
}

// Objects implements [coffer.Hub].
func (c *Client) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	r := c.about(objectQueryRequest, owner)
	r.Query = &query{
		Interface: q.Interface, Context: q.Context, Type: q.Type, Objects: q.IDs,
		Filter: q.Filter, Sort: q.Sort, NoDeleted: q.NoDeleted, Since: q.Since, Skip: q.Skip, Limit: q.Limit,
	}
	for _, f := range q.Filters {
		r.Query.Filters = append(r.Query.Filters, filter(f))
	}
	a, err := c.send(ctx, "objects", r, objectQueryResponse)
	if err != nil {
		return nil, err
	}
	page := &coffer.ObjectPage{Objects: make([]coffer.HubObject, len(a.Objects)), Skip: a.Skip, Watermark: a.Watermark}
	for i := range a.Objects {
		page.Objects[i] = a.Objects[i].object()
	}
	return page, nil
}

// Commits implements [coffer.Hub].
func (c *Client) Commits(ctx context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	const op = "commits"
	r := c.about(commitQueryRequest, owner)
	r.Query = &query{Objects: q.Objects, Revisions: q.Revisions, Since: q.Since, Skip: q.Skip, Limit: q.Limit}
	a, err := c.send(ctx, op, r, commitQueryResponse)
	if err != nil {
		return nil, err
	}
	page := &coffer.CommitPage{Commits: make([]*coffer.Commit, len(a.Commits)), Skip: a.Skip, Watermark: a.Watermark}
	for i := range a.Commits {
		if page.Commits[i], err = a.Commits[i].commit("commits"); err != nil {
			return nil, coffer.E(op, coffer.Corrupt, err)
		}
	}
	return page, nil
}

// Perform implements [coffer.Hub].
func (c *Client) Perform(ctx context.Context, owner string, h *coffer.HubAct) ([]coffer.HubItem, error) {
	const op = "perform"
	verb, ok := later[h.Verb]
	if !ok || !slices.Contains(interfaces, h.Interface) {
		return nil, unoffered("@type")
	}
	r := &request{
		Type: h.Interface + "/" + verb, Audience: owner,
		Request: &act{
			Schema: h.Context, Type: h.Type, ID: h.ID, Key: h.Key, Skip: h.Skip, Take: h.Take, Filter: h.Filter,
		},
	}
	payload, err := payloadOf(h)
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	if r.Payload = payload; len(h.Payload) != 1 && h.Meta != nil {
		r.Meta = []byte(h.Meta)
	}
	a, err := c.send(ctx, op, r, h.Interface+"/Response")
	if err != nil {
		return nil, err
	}
	if a.Payload.Kind() == '{' { // a success without items
		return nil, nil
	}
	var all []wrapped
	if jose.DecodeOpen(a.Payload, &all) != nil {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the hub's answer is malformed")
	}
	found := make([]coffer.HubItem, len(all))
	for i, w := range all {
		found[i] = coffer.HubItem{
			ID: w.ID, Meta: withoutID(w.Meta, w.ID), Data: json.RawMessage(w.Data), Author: w.Author,
		}
	}
	return found, nil
}

// Describe implements [coffer.Hub].
func (c *Client) Describe(ctx context.Context, owner string) (*coffer.HubDescription, error) {
	a, err := c.send(ctx, "describe", c.about(descriptionRequest, owner), descriptionResponse)
	if err != nil {
		return nil, err
	}
	d := &coffer.HubDescription{OpenAPI: json.RawMessage(a.OpenAPI)}
	for _, k := range a.Kinds {
		d.Kinds = append(d.Kinds, coffer.HubKind{
			Interface: k.Interface, Context: k.Context, Type: k.Type, Allow: k.Allow, Schema: json.RawMessage(k.Schema),
		})
	}
	return d, nil
}
