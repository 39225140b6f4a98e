package node

import (
	"encoding/json"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

// TestRouteOf names every route of the wire by its pattern, whatever stands in its place.
func TestRouteOf(t *testing.T) {
	b, err := os.ReadFile("../api/edv/openapi.json")
	if err != nil {
		t.Fatal(err)
	}
	var described struct {
		Paths map[string]map[string]json.RawMessage `json:"paths"`
	}
	if err := json.Unmarshal(b, &described); err != nil || len(described.Paths) < 20 {
		t.Fatalf("%d paths, %v", len(described.Paths), err)
	}
	marker := coffer.NewObjectID().String()
	for pattern, methods := range described.Paths {
		for method := range methods {
			method = strings.ToUpper(method)
			if method == "PARAMETERS" {
				continue
			}
			path := regexp.MustCompile(`\{[a-zA-Z]+\}`).ReplaceAllString(pattern, marker)
			want := method + " " + pattern
			if got := routeOf(httptest.NewRequest(method, path, nil)); got != want {
				t.Errorf("%s is %q", want, got)
			}
		}
	}
	for _, path := range []string{
		"/", "//", "/edvs/", "/edvs/z/" + marker, "/" + marker, "/edvs/z/documents/z/chunks/0/" + marker,
		"/edvs/z/documents/z/chunks/0/" + strings.Repeat("chunks/0/", 100), "/wp-admin/" + marker,
	} {
		if got := routeOf(httptest.NewRequest("GET", path, nil)); strings.Contains(got, marker) || len(got) > 200 {
			t.Errorf("%s is %q", path, got)
		}
	}
	if got := routeOf(httptest.NewRequest(strings.ToUpper(marker[:8]), "/edvs", nil)); got != unknownRoute {
		t.Errorf("a method that there is not: %q", got)
	}
}

// FuzzRouteOf looks for a path of which something shows.
func FuzzRouteOf(f *testing.F) {
	for _, s := range []string{"/edvs/z/documents/z", "/edvs/z/documents/query", "//", "/1.0/identifiers/did:x",
		"/%2Fedvs"} {
		f.Add("GET", s)
	}
	words := append(slices.Concat(known, methods), unknownRoute, "",
		"{vault}", "{id}", "{index}", "{capability}", "{sequence}")
	f.Fuzz(func(t *testing.T, method, path string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Method, r.URL.Path, r.URL.RawPath = method, path, ""
		for _, w := range strings.FieldsFunc(routeOf(r), func(c rune) bool { return c == '/' || c == ' ' }) {
			if !slices.Contains(words, w) {
				t.Errorf("%q shows", w)
			}
		}
	})
}
