package hub

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// several is a world with a second hub, and a third that requests are not for. Their servers began some time ago.
type severalWorld struct {
	*world
	second, third         *Server
	secondHost, thirdHost *host
}

const third = "did:test:third-hub"

func newSeveralWorld(t testing.TB) *severalWorld {
	t.Helper()
	w := &severalWorld{world: newWorld(t, nil)}
	begin := func(did string) (*Server, *host) {
		h := &host{objects: new(coffer.ObjectPage), kinds: new(coffer.HubDescription)}
		s, err := NewServer(ServerOptions{
			Host: h, Keys: []Keys{w.known[did]}, Key: w.key, AnswerKey: w.answerKey, Secret: [32]byte{3},
			Now: func() time.Time { return w.now },
		})
		if err != nil {
			t.Fatal(err)
		}
		return s, h
	}
	w.known[third] = w.known[modern].Under(third)
	w.second, w.secondHost = begin(other)
	w.third, w.thirdHost = begin(third)
	w.now = w.now.Add(time.Minute)
	return w
}

// bring posts an envelope to one of the hubs.
func bring(to http.Handler, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", "/", strings.NewReader(body))
	r.Header.Set("Content-Type", SeveralContentType)
	a := httptest.NewRecorder()
	to.ServeHTTP(a, r)
	return a
}

// client returns a client of the first hub that asks the second, too.
func (w *severalWorld) client(t testing.TB) (*Client, *direct) {
	return w.world.client(t, w.modern(), func(o *ClientOptions) {
		o.Others = []*coffer.Identity{
			w.identity(t, hubDID, "X25519"), w.identity(t, other, "X25519"), w.identity(t, alice, "key-1"),
		}
	})
}

// TestH33SeveralHubs sends one envelope to two hubs, and tries it at a third.
func TestH33SeveralHubs(t *testing.T) {
	w := newSeveralWorld(t)
	for name, ask := range map[string]func(*Client) error{
		"commit plane": func(c *Client) error { _, err := c.Describe(t.Context(), alice); return err },
		"verb plane": func(c *Client) error {
			_, err := c.Perform(t.Context(), alice, &coffer.HubAct{Interface: "Collections", Verb: coffer.RequestVerb})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, d := w.client(t)
			w.observed = nil
			if err := ask(c); err != nil {
				t.Fatal(err)
			}
			if d.n != 1 || len(w.observed) != 1 || strings.Contains(w.observed[0], tokenRoute) {
				t.Errorf("%d requests, %q", d.n, w.observed)
			}
			called := w.host.called
			w.host.called = ""
			if a := bring(w.Server, d.sent[0]); a.Code != 401 || w.host.called != "" {
				t.Errorf("again at the first: %d", a.Code)
			}
			if a := bring(w.second, d.sent[0]); a.Code != 200 || w.secondHost.called != called || w.secondHost.who != modern {
				t.Errorf("at the second: %d %s", a.Code, a.Body)
			}
			if a := bring(w.third, d.sent[0]); a.Code != 401 || w.thirdHost.called != "" {
				t.Errorf("at one that it is not for: %d", a.Code)
			}
			// One of the hubs can read it, and encrypt it to another hub. That one sees that it is not meant.
			text, _, err := w.second.decryptSeveral(d.sent[0])
			if err != nil {
				t.Fatal(err)
			}
			handed := w.encrypted(t, string(text), third+"#X25519")
			r := httptest.NewRequest("POST", "/", strings.NewReader(handed))
			r.Header.Set("Content-Type", ContentType)
			a := httptest.NewRecorder()
			if w.third.ServeHTTP(a, r); a.Code != 401 || w.thirdHost.called != "" {
				t.Errorf("handed on to one that it is not for: %d", a.Code)
			}
		})
	}
}

// severally is a letter to the hubs, in an envelope for the first alone or for all.
func (w *severalWorld) severally(t testing.TB, aud string, change map[string]any) string {
	t.Helper()
	l := modernLetter(strings.ReplaceAll(asked(descriptionRequest, ""), `"aud":"`+hubDID, `"aud":"`+aud))
	l.header = map[string]any{
		"did-access-token": nil, "coffer-hubs": []string{hubDID, other}, "coffer-made": w.now.UnixMilli(),
	}
	maps.Copy(l.header, change)
	return w.sealed(t, l)
}

func TestSeveralHeaders(t *testing.T) {
	w := newSeveralWorld(t)
	at := func(d time.Duration) map[string]any { return map[string]any{"coffer-made": w.now.Add(d).UnixMilli()} }
	hubs := func(dids ...string) map[string]any { return map[string]any{"coffer-hubs": dids} }
	for name, body := range map[string]string{
		"now":                    w.severally(t, hubDID, nil),
		"for another of them":    w.severally(t, other, nil),
		"for this one alone":     w.severally(t, hubDID, hubs(hubDID)),
		"by another of my names": w.severally(t, hubDID, hubs(other, "did:test:alias")),
		"once nonces are kept":   w.severally(t, hubDID, at(2*time.Millisecond-time.Minute+messageSkew)),
		"a fast clock":           w.severally(t, hubDID, at(messageSkew)),
	} {
		if a := w.post(body); a.Code != 200 {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
	}
	refused(t, openedText(t, w, w.post(w.severally(t, third, nil))), badRequest, "aud")

	many := make([]string, maxHubs)
	for i := range many {
		many[i] = fmt.Sprint("did:test:", i)
	}
	for name, body := range map[string]string{
		"not for this one":  w.severally(t, hubDID, hubs(other, third)),
		"for nobody":        w.severally(t, hubDID, hubs()),
		"for no list":       w.severally(t, hubDID, map[string]any{"coffer-hubs": hubDID}),
		"for too many":      w.severally(t, hubDID, hubs(append(many, hubDID)...)),
		"a long name":       w.severally(t, hubDID, hubs(hubDID, "did:"+strings.Repeat("x", 2<<10))),
		"no time":           w.severally(t, hubDID, map[string]any{"coffer-made": nil}),
		"no hubs":           w.severally(t, hubDID, map[string]any{"coffer-hubs": nil}),
		"with a token":      w.severally(t, hubDID, map[string]any{"did-access-token": w.tokens.issue(modern, w.now)}),
		"not a time":        w.severally(t, hubDID, map[string]any{"coffer-made": "now"}),
		"the future":        w.severally(t, hubDID, at(messageSkew+time.Millisecond)),
		"before the server": w.severally(t, hubDID, at(messageSkew-time.Minute-time.Millisecond)),
	} {
		w.host.called = ""
		inClear(t, w.post(body), 401, authenticationFailed)
		if w.host.called != "" {
			t.Errorf("%s: the host was asked", name)
		}
	}
	old := w.severally(t, hubDID, nil)
	w.now = w.now.Add(tokenLife)
	inClear(t, w.post(old), 401, authenticationFailed)
}

func openedText(t testing.TB, w *severalWorld, a *httptest.ResponseRecorder) string {
	t.Helper()
	_, text := w.opened(t, a, modern+"#X25519")
	return text
}

func TestSeveralEnvelopes(t *testing.T) {
	w := newSeveralWorld(t)
	_, _, err := w.Server.decryptSeveral("{}")
	if err == nil {
		t.Error("no envelope is opened")
	}
	text := []byte("x")
	envelope := func(enc jose.Encryption, dids ...string) string {
		var to []jose.Recipient
		for _, id := range dids {
			k, err := w.publicKey(id)
			if err != nil {
				t.Fatal(err)
			}
			to = append(to, jose.Recipient{KeyID: id, Curve: jose.X25519, Public: k.Public})
		}
		key, err := jose.NewContentKey(enc)
		if err != nil {
			t.Fatal(err)
		}
		protected, err := key.Protected()
		if err != nil {
			t.Fatal(err)
		}
		recipients, err := key.Wrap(to...)
		if err != nil {
			t.Fatal(err)
		}
		return string(key.Encrypt(protected, recipients, text))
	}
	both := envelope(jose.A256GCM, other+"#X25519", hubDID+"#X25519")
	if got, _, err := w.decryptSeveral(both); err != nil || string(got) != "x" {
		t.Errorf("%q, %v", got, err)
	}
	for name, body := range map[string]string{
		"of another":            envelope(jose.A256GCM, other+"#X25519"),
		"otherwise encrypted":   envelope(jose.XC20P, hubDID+"#X25519"),
		"the key for another":   strings.Replace(envelope(jose.A256GCM, other+"#X25519"), other, hubDID, 1),
		"the key of RSA":        strings.ReplaceAll(both, hubDID+"#X25519", hubDID+"#key-1"),
		"changed":               strings.Replace(both, `"ciphertext":"`, `"ciphertext":"AAAA`, 1),
		"compact":               w.encrypted(t, "x", hubDID+"#X25519"),
		"a member of no use":    strings.Replace(both, "{", `{"unprotected":{},`, 1),
		"recipients of no form": `{"protected":"eyJlbmMiOiJBMjU2R0NNIn0","recipients":[1],"iv":"AAAAAAAAAAAAAAAA","ciphertext":"","tag":"AAAAAAAAAAAAAAAAAAAAAA"}`,
	} {
		if _, _, err := w.decryptSeveral(body); err == nil {
			t.Errorf("%s: it is opened", name)
		}
	}
}

// TestAloneAfterAll asks hubs that take no envelopes to several, or not this one.
func TestAloneAfterAll(t *testing.T) { synctest.Test(t, aloneAfterAll) }

func aloneAfterAll(t *testing.T) {
	for _, status := range []int{400, 401, 415} {
		w := newSeveralWorld(t)
		c, d := w.client(t)
		d.change = func(n int, r *http.Request) *http.Response {
			if r.Header.Get("Content-Type") == SeveralContentType {
				return response1(status, `{"@type":"ErrorResponse","error_code":"bad_request"}`)
			}
			return nil
		}
		for range 2 {
			if _, err := c.Describe(t.Context(), alice); err != nil {
				t.Errorf("%d: %v", status, err)
			}
		}
		if d.n != 4 { // to several, for a token, and twice with it
			t.Errorf("%d: %d requests", status, d.n)
		}
	}
	w := newSeveralWorld(t)
	c, d := w.client(t)
	d.change = func(int, *http.Request) *http.Response { return response1(503, ``) }
	if _, err := c.Describe(t.Context(), alice); coffer.KindOf(err) != coffer.Unavailable || d.n != maxAttempts {
		t.Errorf("a hub that is away: %v after %d requests", err, d.n)
	}
	if !slices.Equal(c.several.hubs, []string{hubDID, other}) {
		t.Errorf("encrypted to %q", c.several.hubs)
	}
}
