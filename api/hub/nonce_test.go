package hub

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

func TestNonces(t *testing.T) {
	t0 := time.Unix(1000, 0)
	n, secret := newNonces(2, t0), newTokens([32]byte{1})
	use := func(nonce string, made, now time.Duration, want bool) {
		t.Helper()
		if n.use(secret.nonce(alice, nonce), t0.Add(made), t0.Add(now)) != want {
			t.Errorf("%s, token of %v at %v: want %v", nonce, made, now, want)
		}
	}
	use("a", 0, 1, true)
	use("a", 0, 2, false)
	use("b", 0, 3, true)
	use("a", 0, 3, false)
	if !n.use(secret.nonce(bob, "a"), t0, t0.Add(3)) { // full: a younger generation begins
		t.Error("another's nonce is another")
	}
	use("c", 0, 4, true)
	use("d", 0, 5, false) // full again: a and b are forgotten, and what came with them
	use("a", 0, 6, false)
	use("d", 5, 6, true)
	use("d", 5, 7, false)

	n = newNonces(100, t0) // time passes
	use("a", 0, 0, true)
	use("a", 0, tokenLife, false)
	use("b", tokenLife, tokenLife+tokenSkew+1, true)
	use("a", 0, tokenLife+tokenSkew+2, false)
	use("c", 2*(tokenLife+tokenSkew)+2, 2*(tokenLife+tokenSkew)+2, true)
	if len(n.old.used)+len(n.young.used) != 2 {
		t.Error("a is not forgotten")
	}
}

// TestOnce has two servers of one hub, of which the second has just begun. What one of them took is none for the other.
func TestOnce(t *testing.T) {
	noted := make(map[[16]byte]time.Time)
	var away error
	var options ServerOptions
	w := newWorld(t, func(o *ServerOptions) {
		o.Once = func(_ context.Context, name [16]byte, until time.Time) (bool, error) {
			_, again := noted[name]
			noted[name] = until
			return !again && away == nil, away
		}
		options = *o
	})
	early := w.tokens.issue(modern, w.now)
	w.now = w.now.Add(time.Second)
	second, err := NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	post := func(s *Server, body string) *httptest.ResponseRecorder {
		r := httptest.NewRequest("POST", "/", strings.NewReader(body))
		r.Header.Set("Content-Type", ContentType)
		a := httptest.NewRecorder()
		s.ServeHTTP(a, r)
		return a
	}
	l := modernLetter(asked(descriptionRequest, ""))
	bodies := map[string]func() string{
		"token": func() string {
			l.header = map[string]any{"did-access-token": early, "did-requester-nonce": "once"}
			return w.sealed(t, l)
		},
		"time": func() string {
			l.header = map[string]any{
				"did-access-token": nil, "coffer-hubs": []string{hubDID}, "coffer-made": w.now.UnixMilli(),
			}
			return w.sealed(t, l)
		},
	}
	for name, body := range bodies {
		b := body()
		if a := post(second, b); a.Code != 200 {
			t.Errorf("%s: %d %s", name, a.Code, a.Body)
		}
		for _, s := range []*Server{w.Server, second} {
			inClear(t, post(s, b), 401, authenticationFailed)
		}
	}
	if until := noted[w.tokens.nonce(modern, "once")]; !until.Equal(w.now.Add(tokenLife - time.Second)) {
		t.Errorf("noted until %v", until)
	}
	if w.tokens.nonce(modern, "once") == newTokens([32]byte{2}).nonce(modern, "once") {
		t.Error("who has no secret knows the names")
	}

	away = coffer.Errorf("once", coffer.Unavailable, "the disk is away")
	for _, body := range bodies {
		inClear(t, post(second, body()), 503, temporarilyUnavailable)
	}
}
