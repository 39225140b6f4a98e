package hub

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// direct carries requests to a server in this process, and changes answers when asked to.
type direct struct {
	to     http.Handler
	change func(n int, r *http.Request) *http.Response // nil, or nil returned: none
	mu     sync.Mutex
	n      int
	sent   []string
}

func (d *direct) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	n := d.n
	d.n++
	d.sent = append(d.sent, string(body))
	d.mu.Unlock()
	if d.change != nil {
		if a := d.change(n, r); a != nil {
			return a, nil
		}
	}
	in := httptest.NewRequest(r.Method, r.URL.String(), strings.NewReader(string(body)))
	in.Header = r.Header
	a := httptest.NewRecorder()
	d.to.ServeHTTP(a, in)
	return a.Result(), nil
}

func response1(status int, body string, header ...string) *http.Response {
	a := httptest.NewRecorder()
	for i := 0; i < len(header); i += 2 {
		a.Header().Set(header[i], header[i+1])
	}
	a.WriteHeader(status)
	a.WriteString(body)
	return a.Result()
}

// identity is what a resolver says of the hub: with the keys named.
func (w *world) identity(t testing.TB, did string, tails ...string) *coffer.Identity {
	t.Helper()
	i := &coffer.Identity{ID: did}
	for _, tail := range tails {
		k, err := w.publicKey(did + "#" + tail)
		if err != nil {
			t.Fatal(err)
		}
		i.Agreement = append(i.Agreement, k)
	}
	return i
}

func (w *world) client(t testing.TB, r Requester, change func(*ClientOptions)) (*Client, *direct) {
	t.Helper()
	d := &direct{to: w.Server}
	o := ClientOptions{
		URL: "https://hub.example/.identity", Hub: w.identity(t, hubDID, "key-1", "X25519"), Requester: r, Key: w.key,
		HTTP: &http.Client{Transport: d}, Now: func() time.Time { return w.now },
	}
	if change != nil {
		change(&o)
	}
	c, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	return c, d
}

func (w *world) modern() Requester { return SetRequester(w.known[modern], modern+"#Ed25519") }

func TestClient(t *testing.T) {
	w := newWorld(t, nil)
	ring := keyring.Generate()
	w.known[ring.DID()] = keyring.NewJWKSet(ring.DID()) // its keys are known by what follows
	signing := ring.Key(coffer.SigningKey)
	key := func(ctx context.Context, keyID, alg string, p coffer.Purpose) (coffer.Verifier, error) {
		if keyID == signing.ID && alg == edDSA {
			return edVerifier(signing.Public), nil
		}
		return w.key(ctx, keyID, alg, p)
	}
	w.facts.Key = key
	v, _ := readVectors()
	commit := v.Commits[0].Commit
	rev := commit.Rev()
	at := time.Date(2019, 3, 29, 8, 0, 0, 123e6, time.UTC)
	w.host.revs, w.host.added = []coffer.CommitRev{rev, {1}}, 3
	w.host.objects = &coffer.ObjectPage{Objects: []coffer.HubObject{{
		Interface: "Collections", Context: "http://schema.org", Type: "MusicPlaylist", ID: rev, CreatedBy: alice, CreatedAt: at,
		Sub: alice, Strategy: "basic", Meta: json.RawMessage(`{"title":"x","a":1}`), UpdatedBy: bob, UpdatedAt: at,
		Revision: rev, Deleted: true,
	}}, Skip: "more", Watermark: "mark"}
	commits := &coffer.CommitPage{Commits: []*coffer.Commit{&commit}, Skip: "more", Watermark: "mark"}
	w.host.commits = func(*coffer.CommitQuery) *coffer.CommitPage { return commits }
	w.host.kinds = &coffer.HubDescription{
		Kinds:   []coffer.HubKind{{Interface: "Profile", Context: "c", Type: "t", Allow: "-R--", Schema: json.RawMessage(`{}`)}},
		OpenAPI: json.RawMessage(`{"openapi":"3.1.0"}`),
	}
	w.host.items = []coffer.HubItem{
		{ID: "1", Meta: json.RawMessage(`{"title":"x","a":1}`), Data: json.RawMessage(`{"b":1,"a":2}`), Author: bob},
		{ID: "2", Data: json.RawMessage(`"text"`)},
		{ID: "3", Meta: json.RawMessage(`{"id":"own"}`), Data: json.RawMessage(`null`)},
	}
	objectQuery := &coffer.ObjectQuery{
		Interface: "Collections", Context: "c", Type: "t", IDs: []coffer.CommitRev{rev},
		Filters: []coffer.FieldFilter{{Type: "eq", Field: "f", Value: "v"}}, Filter: "a:b", Sort: "-created_at", NoDeleted: true,
		Since: "w", Skip: "s", Limit: 7,
	}
	acts := []*coffer.HubAct{
		{
			Interface: "Collections", Verb: "Add", Context: "a/b", Type: "t", Meta: json.RawMessage(`{"title":"x"}`),
			Payload: []json.RawMessage{json.RawMessage(`[1]`)},
		},
		{
			Interface: "Collections", Verb: "Add", Type: "t", Meta: json.RawMessage(`{"title":"x"}`),
			Payload: []json.RawMessage{json.RawMessage(`1`), json.RawMessage(`{"data":1}`)},
		},
		{Interface: "Stores", Verb: "Update", Key: "k", Payload: []json.RawMessage{json.RawMessage(`"v"`)}},
		{Interface: "Profile", Verb: "Request", ID: "i", Skip: 1, Take: 2, Filter: "a:b"},
	}
	for name, r := range map[string]struct {
		Requester
		hub *coffer.Identity
	}{
		"RSA":       {SetRequester(w.known[alice], alice+"#key-1"), w.identity(t, hubDID, "key-1")},
		"X25519":    {w.modern(), w.identity(t, hubDID, "key-1", "X25519")},
		"P-256":     {SetRequester(w.known["did:test:p256"], "did:test:p256#P-256"), w.identity(t, "did:test:alias", "X25519")},
		"no reader": {SetRequester(w.known["did:test:mute"], "did:test:mute#Ed25519"), w.identity(t, hubDID, "X25519")},
		"keyring":   {KeyringRequester(ring), w.identity(t, hubDID, "X25519")},
	} {
		t.Run(name, func(t *testing.T) {
			c, d := w.client(t, r.Requester, func(o *ClientOptions) { o.Purpose, o.Key, o.Hub = "research", key, r.hub })
			check := func(got, want any, err error, called string, arg any) {
				t.Helper()
				if err != nil || !reflect.DeepEqual(got, want) {
					t.Errorf("%s: got %+v, %v; want %+v", called, got, err, want)
				}
				if w.host.called != called || w.host.who != r.DID() || w.host.owner != alice || w.host.purpose != "research" ||
					!reflect.DeepEqual(w.host.arg, arg) {
					t.Errorf("%s for %s by %s: %+v, want %+v", w.host.called, w.host.owner, w.host.who, w.host.arg, arg)
				}
			}
			ctx := t.Context()
			revs, err := c.Write(ctx, alice, &commit)
			check(revs, w.host.revs, err, "Write", &commit)
			n, err := c.Adopt(ctx, alice, &commit, &commit)
			check(n, 3, err, "Adopt", []*coffer.Commit{&commit, &commit})
			page, err := c.Objects(ctx, alice, objectQuery)
			check(page, w.host.objects, err, "Objects", objectQuery)
			for _, q := range []*coffer.CommitQuery{
				{}, {Objects: []coffer.CommitRev{rev}}, {Revisions: []coffer.CommitRev{rev}, Since: "w", Skip: "s", Limit: 7},
			} {
				got, err := c.Commits(ctx, alice, q)
				check(got, commits, err, "Commits", q)
			}
			d1, err := c.Describe(ctx, alice)
			check(d1, w.host.kinds, err, "Describe", nil)
			for _, a := range acts {
				items, err := c.Perform(ctx, alice, a)
				check(items, w.host.items, err, "Perform", a)
			}
			kept := w.host.items
			w.host.items = nil
			remove := &coffer.HubAct{Interface: "Collections", Verb: "Remove", ID: "i"}
			items, err := c.Perform(ctx, alice, remove)
			check(items, []coffer.HubItem(nil), err, "Perform", remove)
			w.host.items = kept
			if d.n != 13 { // one for the token
				t.Errorf("%d requests", d.n)
			}
			for _, s := range d.sent {
				if strings.Contains(s, "did:") {
					t.Error("who asks stands outside the envelope")
				}
			}
		})
	}
}

type edVerifier []byte

func (k edVerifier) Verify(m, s []byte) bool { return verifyEd25519(k, m, s) }

// TestRenewal: a token that the hub does not take is renewed exactly once.
func TestRenewal(t *testing.T) {
	w := newWorld(t, nil)
	c, d := w.client(t, w.modern(), nil)
	ask := func() error {
		_, err := c.Describe(t.Context(), alice)
		return err
	}
	requests := func(want int) {
		t.Helper()
		if d.n != want {
			t.Errorf("%d requests, want %d", d.n, want)
		}
		d.n = 0
	}
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	requests(2)
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	requests(1)
	w.tokens = newTokens([32]byte{9}) // the hub does not take it any more
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	requests(3)
	w.now = w.now.Add(tokenLife - sessionMargin) // before it ends
	if err := ask(); err != nil {
		t.Fatal(err)
	}
	requests(2)
	// A hub that takes none at all is asked twice.
	d.change = func(n int, r *http.Request) *http.Response {
		if n == 0 || n == 2 {
			return response1(401, `{"@type":"ErrorResponse","error_code":"authentication_failed"}`)
		}
		return nil
	}
	if err := ask(); !errors.Is(err, coffer.Denied) || !isUnauthenticated(err) {
		t.Errorf("got %v", err)
	}
	requests(3)
	// Inside an envelope the code is one like others.
	d.change = nil
	w.host.err = coffer.E("x", coffer.Denied, &coffer.Fault{Code: authenticationFailed, Reason: "x"})
	if err := ask(); !errors.Is(err, coffer.Denied) {
		t.Errorf("got %v", err)
	}
	requests(1)
}

// TestManyAtOnce: one token serves all who come at once.
func TestManyAtOnce(t *testing.T) {
	w := newWorld(t, func(o *ServerOptions) { o.Observe = nil })
	c, d := w.client(t, w.modern(), nil)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if _, err := c.Describe(context.Background(), alice); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if d.n != 9 {
		t.Errorf("%d requests", d.n)
	}
}

// TestH36FalseAnswers: what the client does not believe. On the verb plane an answer has the hash of its request; on
// both it repeats the nonce of the request, which the hub takes once.
func TestH36FalseAnswers(t *testing.T) {
	w := newWorld(t, nil)
	// answered makes an answer by hand, to the last request sent.
	var own jose.CompactRecipient // that it is encrypted to instead of the key that came with the request
	answered := func(d *direct, by, keyID string, change func(h map[string]any, text string) string) *http.Response {
		e, _ := jose.ParseCompactJWE(d.sent[len(d.sent)-1])
		r, _ := w.known[hubDID].Reader(e.KeyID())
		text, err := e.Open(r)
		if err != nil {
			t.Fatal(err)
		}
		m, _ := jose.ParseCompactJWS(string(text))
		var asked header
		m.Header(&asked)
		request, _ := jose.Decode64(m.Payload)
		h := map[string]any{"did-requester-nonce": asked.Nonce, "alg": w.known[by].Algorithm(keyID), "kid": keyID}
		answer := jose.NewJWS(h, []byte(change(h, string(request))))
		answer = jose.NewJWS(h, mustDecode(answer.Payload))
		s, err := w.known[by].SignInput(t.Context(), keyID, coffer.Authentication, answer.Input())
		if err != nil {
			t.Fatal(err)
		}
		answer.Signature = encode64(s)
		to := own
		if to.Key == nil {
			to = jose.CompactRecipient{KeyID: replyKeyID, Key: asked.ReplyKey}
		}
		sealed, err := jose.SealCompact([]byte(answer.Compact()), to, "")
		if err != nil {
			t.Fatal(err)
		}
		return response1(200, sealed)
	}
	good := func(_ map[string]any, request string) string {
		return `{"@type":"Profile/Response","response":{"requestHash":"` + requestHash([]byte(request)) + `"},"payload":[]}`
	}
	hubKey := hubDID + "#Ed25519"
	for _, row := range []struct {
		name   string
		answer func(d *direct) *http.Response
		want   coffer.Kind // Other: no error
	}{
		{"good", func(d *direct) *http.Response { return answered(d, hubDID, hubKey, good) }, coffer.Other},
		{"good, to the requester's own key", func(d *direct) *http.Response {
			own = jose.CompactRecipient{KeyID: modern + "#X25519", Key: w.known[modern].Public(modern + "#X25519")}
			return answered(d, hubDID, hubKey, good)
		}, coffer.Other},
		{"to the key of another", func(d *direct) *http.Response {
			own = jose.CompactRecipient{KeyID: bob + "#key-1", Key: w.known[bob].Public(bob + "#key-1")}
			return answered(d, hubDID, hubKey, good)
		}, coffer.Corrupt},
		{"nonce of another", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(h map[string]any, r string) string { h["did-requester-nonce"] = "x"; return good(h, r) })
		}, coffer.Corrupt},
		{"no nonce", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(h map[string]any, r string) string { delete(h, "did-requester-nonce"); return good(h, r) })
		}, coffer.Corrupt},
		{"hash of another", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(h map[string]any, r string) string { return good(h, r+" ") })
		}, coffer.Corrupt},
		{"no hash", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(map[string]any, string) string { return `{"@type":"Profile/Response","payload":[]}` })
		}, coffer.Corrupt},
		{"error without a hash", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(map[string]any, string) string {
				return `{"@type":"ErrorResponse","error_code":"not_found"}`
			})
		}, coffer.Corrupt},
		{"another type", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(h map[string]any, r string) string {
				return strings.Replace(good(h, r), "Profile", "Stores", 1)
			})
		}, coffer.Corrupt},
		{"not JSON", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(map[string]any, string) string { return "x" })
		}, coffer.Corrupt},
		{"signed by another", func(d *direct) *http.Response { return answered(d, other, other+"#Ed25519", good) }, coffer.Corrupt},
		{"signed by another, kid of the hub", func(d *direct) *http.Response {
			return answered(d, other, other+"#Ed25519", func(h map[string]any, r string) string { h["kid"] = hubKey; return good(h, r) })
		}, coffer.Corrupt},
		{"unknown key", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(h map[string]any, r string) string { h["kid"] = hubDID + "#x"; return good(h, r) })
		}, coffer.Corrupt},
		{"crit", func(d *direct) *http.Response {
			return answered(d, hubDID, hubKey, func(h map[string]any, r string) string { h["crit"] = []string{"x"}; return good(h, r) })
		}, coffer.Corrupt},
		{"not sealed", func(*direct) *http.Response { return response1(200, "x") }, coffer.Corrupt},
		{"the request itself", func(d *direct) *http.Response { return response1(200, d.sent[len(d.sent)-1]) }, coffer.Corrupt},
		{"too large", func(*direct) *http.Response { return response1(200, strings.Repeat("x", maxAnswer+1)) }, coffer.Exhausted},
	} {
		t.Run(row.name, func(t *testing.T) {
			c, d := w.client(t, w.modern(), nil)
			own = jose.CompactRecipient{}
			d.change = func(n int, _ *http.Request) *http.Response {
				if n == 0 {
					return nil
				}
				return row.answer(d)
			}
			_, err := c.Perform(t.Context(), alice, &coffer.HubAct{Interface: "Profile", Verb: "Request"})
			if (row.want == coffer.Other) != (err == nil) || err != nil && !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
		})
	}
	// An old answer to the same client is one to another request.
	c, d := w.client(t, w.modern(), nil)
	var old string
	d.change = func(n int, r *http.Request) *http.Response {
		switch n {
		case 1:
			in := httptest.NewRequest("POST", "/", strings.NewReader(d.sent[1]))
			in.Header = r.Header
			a := w.do(in)
			old = a.Body.String()
			return a.Result()
		case 2:
			return response1(200, old)
		}
		return nil
	}
	if _, err := c.Describe(t.Context(), alice); err != nil {
		t.Error(err)
	}
	if _, err := c.Describe(t.Context(), alice); !errors.Is(err, coffer.Corrupt) {
		t.Errorf("an old answer: %v", err)
	}
}

func mustDecode(s string) []byte {
	b, _ := jose.Decode64(s)
	return b
}

func TestRefusals(t *testing.T) { synctest.Test(t, refusals) }

func refusals(t *testing.T) {
	w := newWorld(t, nil)
	for _, row := range []struct {
		answer   *http.Response
		kind     coffer.Kind
		code     string
		location string
	}{
		{response1(501, `{"@type":"ErrorResponse","error_code":"not_implemented"}`), coffer.Invalid, coffer.NotImplemented, ""},
		{response1(501, ``), coffer.Invalid, coffer.NotImplemented, ""},
		{response1(303, `{}`, "Location", "https://relay.example/"), coffer.Invalid, coffer.NotImplemented, "https://relay.example/"},
		{response1(307, ``, "Location", "https://elsewhere.example/"), coffer.Unavailable, "", ""},
		{response1(400, `{"@type":"ErrorResponse","error_code":"bad_request","developer_message":"x"}`), coffer.Invalid, "", ""},
		{response1(413, `{"@type":"ErrorResponse","error_code":"bad_request"}`), coffer.Invalid, "", ""},
		{response1(429, `slow down`), coffer.Exhausted, "", ""},
		{response1(404, `<html>`), coffer.Invalid, "", ""},
		{response1(500, `{"@type":"ErrorResponse","error_code":"server_error"}`), coffer.Other, "", ""},
		{response1(500, `{"@type":"ErrorResponse","error_code":"from the future"}`), coffer.Other, "", ""},
		{response1(502, `<html>bad gateway`), coffer.Unavailable, "", ""},
		{response1(503, `{"@type":"ErrorResponse","error_code":"service_unavailable"}`), coffer.Unavailable, "", ""},
	} {
		c, d := w.client(t, w.modern(), nil)
		d.change = func(n int, _ *http.Request) *http.Response {
			if n == 0 {
				return nil
			}
			return row.answer
		}
		_, err := c.Describe(t.Context(), alice)
		var f *coffer.Fault
		if !errors.As(err, &f) || coffer.KindOf(err) != row.kind || f.Code != row.code || f.Location != row.location || f.Reason == "" {
			t.Errorf("%d: got %v, %+v", row.answer.StatusCode, err, f)
		}
		want := 2 // the first is for a token
		if row.kind == coffer.Unavailable {
			want = 1 + maxAttempts
		}
		if d.n != want {
			t.Errorf("%d: %d requests", row.answer.StatusCode, d.n)
		}
	}
}

// TestSentAgain has a hub that is away for a moment. What does no harm when it happens twice is sent again.
func TestSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		rev := coffer.CommitRev{1}
		w.host.revs = []coffer.CommitRev{rev}
		for _, c := range []struct {
			name  string
			ask   func(*Client) error
			again bool
		}{
			{"write", func(c *Client) error {
				_, err := c.Write(t.Context(), alice, &coffer.Commit{Protected: "x", Signature: "x"})
				return err
			}, true},
			{"read", func(c *Client) error {
				_, err := c.Perform(t.Context(), alice, &coffer.HubAct{Interface: "Collections", Verb: coffer.RequestVerb})
				return err
			}, true},
			{"add", func(c *Client) error {
				_, err := c.Perform(t.Context(), alice, &coffer.HubAct{Interface: "Collections", Verb: coffer.AddVerb})
				return err
			}, false},
		} {
			client, d := w.client(t, w.modern(), nil)
			d.change = func(n int, _ *http.Request) *http.Response {
				if n == 1 || n == 2 { // the first is for a token
					return response1(502, ``)
				}
				return nil
			}
			err, want := c.ask(client), 2
			if c.again {
				want = 4
			}
			if c.again != (err == nil) || d.n != want {
				t.Errorf("%s: %v after %d requests", c.name, err, d.n)
			}
			if seen := slices.Clone(d.sent); len(slices.Compact(seen)) != d.n {
				t.Errorf("%s: the same envelope was sent twice", c.name)
			}
		}
	})
}

func TestErrorsOverTheWire(t *testing.T) {
	w := newWorld(t, nil)
	c, _ := w.client(t, w.modern(), nil)
	w.host.err = coffer.E("x", coffer.Locked, &coffer.Fault{Target: "commit", Reason: "held\nback"})
	_, err := c.Write(t.Context(), alice, &coffer.Commit{Protected: "x", Signature: "x"})
	var f *coffer.Fault
	if !errors.Is(err, coffer.Locked) || !errors.As(err, &f) || f.Target != "commit" || f.Reason != "held back" {
		t.Errorf("got %v", err)
	}
	w.host.err = coffer.E("x", coffer.NotExist, nil)
	if _, err := c.Perform(t.Context(), alice, &coffer.HubAct{Interface: "Profile", Verb: "Request"}); !errors.Is(err, coffer.NotExist) {
		t.Errorf("got %v", err)
	}
	w.host.err = coffer.E("x", coffer.Invalid, &coffer.Fault{Location: "https://relay.example/"})
	if _, err := c.Perform(t.Context(), alice, &coffer.HubAct{Interface: "Profile", Verb: "Request"}); !errors.As(err, &f) ||
		f.Location != "https://relay.example/" {
		t.Errorf("got %v", err)
	}
	for _, a := range []*coffer.HubAct{
		{Interface: "Profile", Verb: "Drop"}, {Interface: "profile", Verb: "Request"}, {Interface: "Features", Verb: "Request"},
	} {
		if _, err := c.Perform(t.Context(), alice, a); !errors.As(err, &f) || f.Code != coffer.NotImplemented {
			t.Errorf("%s/%s: got %v", a.Interface, a.Verb, err)
		}
	}
	w.host.err = nil
	if _, err := c.Write(t.Context(), alice, &coffer.Commit{Payload: "\xff"}); !errors.Is(err, coffer.Invalid) {
		t.Errorf("got %v", err)
	}
	for _, n := range []int{1, coffer.MaxAdopt + 1} {
		if _, err := c.Adopt(t.Context(), alice, make([]*coffer.Commit, n)...); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%d: got %v", n, err)
		}
	}
	for target, w := range map[string]*coffer.Commit{"commit": nil, "commit.payload": {Payload: strings.Repeat("x", maxPayload+1)}} {
		if _, err := c.Write(t.Context(), alice, w); !errors.Is(err, coffer.Invalid) || !errors.As(err, &f) || f.Target != target {
			t.Errorf("got %v", err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c.turn <- struct{}{} // somebody else has the session in hand
	if _, err := c.Describe(ctx, alice); !errors.Is(err, coffer.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestOverHTTP: over a real connection, with the clock of the machine.
func TestOverHTTP(t *testing.T) {
	w := newWorld(t, func(o *ServerOptions) { o.Now = time.Now; o.Limits.Body = 1 << 16 })
	at := httptest.NewServer(w.Server)
	t.Cleanup(at.Close)
	c, _ := w.client(t, SetRequester(w.known[alice], alice+"#key-1"), func(o *ClientOptions) {
		o.URL, o.HTTP, o.Now = at.URL+"/.identity", nil, time.Now
	})
	if _, err := c.Describe(t.Context(), alice); err != nil {
		t.Fatal(err)
	}
	large := &coffer.Commit{Protected: "x", Payload: strings.Repeat("x", 1<<17), Signature: "x"}
	if _, err := c.Write(t.Context(), alice, large); !errors.Is(err, coffer.Invalid) {
		t.Errorf("got %v", err)
	}
	at.Close()
	if _, err := c.Describe(t.Context(), alice); !errors.Is(err, coffer.Unavailable) || strings.Contains(err.Error(), "127.0.0.1") {
		t.Errorf("got %v", err)
	}
}

// TestNewClient: what a client needs. It speaks TLS, but to its own machine (H-20).
func TestNewClient(t *testing.T) {
	w := newWorld(t, nil)
	for name, change := range map[string]func(*ClientOptions){
		"hub":       func(o *ClientOptions) { o.Hub = nil },
		"requester": func(o *ClientOptions) { o.Requester = nil },
		"key":       func(o *ClientOptions) { o.Key = nil },
		"now":       func(o *ClientOptions) { o.Now = nil },
		"no keys":   func(o *ClientOptions) { o.Hub = &coffer.Identity{ID: hubDID} },
		"http":      func(o *ClientOptions) { o.URL = "http://hub.example/" },
		"user":      func(o *ClientOptions) { o.URL = "https://a:b@hub.example/" },
		"no host":   func(o *ClientOptions) { o.URL = "https:///x" },
	} {
		c, _ := w.client(t, w.modern(), nil)
		o := c.o
		change(&o)
		if _, err := NewClient(o); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, url := range []string{"http://localhost:80/", "http://127.0.0.1/", "http://[::1]:8080/x", "https://hub.example"} {
		w.client(t, w.modern(), func(o *ClientOptions) { o.URL = url })
	}
}
