package edv_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/edv"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/node/vault"
)

func TestCheckpointsOverTheWire(t *testing.T) {
	key := coffertest.LogSigner(t, coffertest.Origin).Verifier()
	w := newWire(t, vault.Limits{}, func(o *edv.ServerOptions) { o.LogKey = key.String() })
	for range 3 {
		w.insert(t)
	}
	a := w.do(t, call{url: "checkpoint"}).want(t, "200")
	if got := a.Header.Get("Content-Type"); got != "text/plain; charset=utf-8" || a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("headers %v", a.Header)
	}
	c, err := ledger.Open(key, ledger.Origin(w.vault), []byte(a.body))
	if err != nil || c.Size != 3 {
		t.Fatalf("checkpoint %+v, %v", c, err)
	}
	w.do(t, call{url: "proof/consistency?from=1&to=3"}).want(t, "200")
	w.do(t, call{url: "proof/inclusion?index=1&size=3"}).want(t, "200")
	if got := w.do(t, call{url: "proof/consistency?from=0&to=3"}).want(t, "200").body; got != `{"hashes":[]}` {
		t.Errorf("no hashes are sent as %s", got)
	}
	const malformed = "400 ValidationError invalid"
	for url, want := range map[string]string{
		"proof/consistency":                              malformed,
		"proof/consistency?from=1":                       malformed,
		"proof/consistency?from=1&to=x":                  malformed,
		"proof/consistency?from=-1&to=3":                 malformed,
		"proof/consistency?from=1&to=3&more=1":           malformed,
		"proof/consistency?from=1&from=1&to=3":           malformed,
		"proof/consistency?from=1&to=9007199254740992":   malformed,
		"proof/consistency?from=3&to=1":                  "400 DataError invalid",
		"proof/consistency?from=1&to=4":                  "400 DataError invalid",
		"proof/inclusion?index=3&size=3":                 "400 DataError invalid",
		"proof/inclusion?index=1&size=9007199254740991":  "400 DataError invalid",
		"proof/inclusion?index=18446744073709551615&to=": malformed,
	} {
		w.do(t, call{url: url}).want(t, want)
	}
	for _, url := range []string{"checkpoint", "proof/consistency?from=1&to=3", "proof/inclusion?index=1&size=3"} {
		if got := w.do(t, call{as: w.bob, url: url}); got.StatusCode != http.StatusForbidden {
			t.Errorf("as a stranger %s: %s", url, got.problem())
		}
		w.do(t, call{as: w.bob, by: w.delegate(t, "", "read"), url: url}).want(t, "200")
		place, _, _ := strings.Cut(url, "?")
		w.do(t, call{as: w.bob, by: w.delegate(t, place, "read"), url: url}).want(t, "200")
	}
	w.do(t, call{method: "DELETE"}).want(t, "200")
	w.do(t, call{url: "checkpoint"}).want(t, "404 NotFoundError notExist")
}

func TestServerWithoutCheckpoints(t *testing.T) {
	w := newWire(t, vault.Limits{}, nil)
	w.do(t, call{url: "checkpoint"}).want(t, "404 NotFoundError notExist")
	for _, tt := range []struct {
		name, body string
		want       coffer.Kind
	}{
		{"says nothing of it", `{}`, coffer.NotExist},
		{"an endless key", `{"logKey":"` + strings.Repeat("x", 2000) + `"}`, coffer.Corrupt},
	} {
		at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			fmt.Fprint(w, tt.body)
		}))
		defer at.Close()
		if _, err := newClient(t, at.URL, w.alice, false).LogKey(t.Context()); !errors.Is(err, tt.want) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
}
