package ident

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

type failing struct{ err error }

func (f failing) Resolve(context.Context, string) (*coffer.Identity, error) { return nil, f.err }

func TestResolution(t *testing.T) {
	ctx := context.Background()
	did := "did:key:" + alice
	r := newResolver(t, Options{})
	status, body := Resolution(ctx, r, did)
	identity, _ := r.Resolve(ctx, did)
	old, err := document2019(identity)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"@context":"https://w3id.org/did-resolution/v1","didDocument":` + string(identity.Document) +
		`,"didResolutionMetadata":{"contentType":"application/did+ld+json"},"didDocumentMetadata":{},"document":` +
		string(old) + `,"resolverMetadata":{}}`
	if status != http.StatusOK || canonical(t, body) != canonical(t, []byte(want)) {
		t.Errorf("%d %s", status, body)
	}
	for _, c := range []struct {
		resolver coffer.Resolver
		id       string
		status   int
		code     string
	}{
		{r, "did:key:x", 400, "invalidDid"},
		{r, "did:unknown:x", 501, "methodNotSupported"},
		{r, "did:web:example.org", 403, "notAllowed"},
		{r, "urn:x:y", 404, "notFound"},
		{failing{coffer.Errorf("", coffer.Unavailable, "")}, "did:x:y", 503, "unavailable"},
		{failing{errors.New("defect")}, "did:x:y", 500, "internalError"},
	} {
		status, body := Resolution(ctx, c.resolver, c.id)
		want := `{"@context":"https://w3id.org/did-resolution/v1","didDocument":null,"didResolutionMetadata":{"error":"` +
			c.code + `"},"didDocumentMetadata":{}}`
		if status != c.status || canonical(t, body) != canonical(t, []byte(want)) {
			t.Errorf("%s: %d %s", c.id, status, body)
		}
	}
}

// TestRemote asks a universal resolver that is made of our own Resolution, and bad ones.
func TestRemote(t *testing.T) {
	ctx := context.Background()
	behind := newResolver(t, Options{})
	const odd = "did:example:host%3A8080"
	mux := http.NewServeMux()
	asked := 0
	mux.HandleFunc("GET /r/1.0/identifiers/{id}", func(w http.ResponseWriter, r *http.Request) {
		asked++
		id := r.PathValue("id")
		answers := map[string]string{
			odd:                  documentOf(odd),
			"did:example:result": `{"didDocument":` + documentOf("did:example:result") + `,"didResolutionMetadata":{}}`,
			"did:example:other":  documentOf(odd),
			"did:example:deactivated": `{"didDocument":` + documentOf("did:example:deactivated") +
				`,"didDocumentMetadata":{"deactivated":true}}`,
			"did:example:null":     `{"didDocument":null,"didResolutionMetadata":{}}`,
			"did:example:notfound": `{"didDocument":null,"didResolutionMetadata":{"error":"notFound"}}`,
			"did:example:invalid":  `{"didDocument":null,"didResolutionMetadata":{"error":"invalidDid"}}`,
			"did:example:method":   `{"didDocument":null,"didResolutionMetadata":{"error":"methodNotSupported"}}`,
			"did:example:internal": `{"didDocument":null,"didResolutionMetadata":{"error":"internalError"}}`,
			"did:example:html":     `<html>`,
		}
		if a, ok := answers[id]; ok {
			io.WriteString(w, a)
			return
		}
		var code int
		if _, err := fmt.Sscanf(id, "did:example:%d", &code); err == nil {
			w.Header().Set("Location", "/r/1.0/identifiers/"+odd)
			w.WriteHeader(code)
			return
		}
		status, body := Resolution(r.Context(), behind, id)
		w.WriteHeader(status)
		w.Write(body)
	})
	server := httptest.NewServer(mux)
	defer server.Close()
	remote, err := NewRemote(server.URL+"/r/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for id, kind := range map[string]coffer.Kind{
		"did:key:" + alice: 0, didJWK(edJWK): 0, odd: 0, "did:example:result": 0,
		"did:key:x": coffer.Invalid, "did:example:other": coffer.Invalid, "did:example:deactivated": coffer.NotExist,
		"did:example:null": coffer.Invalid, "did:example:notfound": coffer.NotExist, "did:example:invalid": coffer.Invalid,
		"did:example:method": coffer.Invalid, "did:example:internal": coffer.Unavailable, "did:example:html": coffer.Invalid,
		"did:example:400": coffer.Invalid, "did:example:404": coffer.NotExist, "did:example:410": coffer.NotExist,
		"did:example:501": coffer.Invalid, "did:example:500": coffer.Unavailable, "did:example:302": coffer.Unavailable,
		"https://example.org/": coffer.Invalid, alice: coffer.Invalid, "did:example:": coffer.Invalid,
	} {
		got, err := remote.Resolve(ctx, id)
		if kind == 0 && (err != nil || got.ID != id || len(got.Invoke) == 0) || kind != 0 && !errors.Is(err, kind) {
			t.Errorf("%s: %+v, %v", id, got, err)
		}
		unknown := strings.HasSuffix(id, ":method") || strings.HasSuffix(id, ":501")
		if unknown && !errors.Is(err, ErrMethod) {
			t.Errorf("%s: %v", id, err)
		}
	}

	// Behind a Resolver it is asked for what the Resolver does not know itself, and its answers are kept.
	r := newResolver(t, Options{Other: remote})
	asked = 0
	for range 3 {
		if _, err := r.Resolve(ctx, odd); err != nil {
			t.Error(err)
		}
	}
	r.Resolve(ctx, "did:key:"+alice)
	r.Resolve(ctx, "did:web:example.org")
	r.Resolve(ctx, "urn:x:y")
	if asked != 1 {
		t.Errorf("asked %d times", asked)
	}
	if v, err := r.Key(ctx, odd+"#a", coffer.Invocation); v == nil || err != nil {
		t.Error(err)
	}

	for _, bad := range []string{"", "resolver.example", "ftp://resolver.example", "https://", "https://r.example/?x",
		"https://r.example/#x", "::"} {
		if _, err := NewRemote(bad, nil); !errors.Is(err, coffer.Invalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
