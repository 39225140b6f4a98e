package hub_test

import (
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
)

func TestURI(t *testing.T) {
	id := strings.Repeat("0a", 32)
	rev, err := coffer.ParseCommitRev(id)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		text string
		uri  hub.URI
		form string // what it is written as; "" for text
	}{
		{"hub://did:foo:123abc/", hub.URI{Owner: "did:foo:123abc"}, "hub://did:foo:123abc"},
		{"Hub://did:web:localhost%3A8080:alice", hub.URI{Owner: "did:web:localhost%3A8080:alice"},
			"hub://did:web:localhost%3A8080:alice"},
		{"hub://did:foo:x/Profile", hub.URI{Owner: "did:foo:x", Interface: "Profile"}, ""},
		{"hub://did:foo:x/Collections/schema.org/Offer",
			hub.URI{Owner: "did:foo:x", Interface: "Collections", Context: "schema.org", Type: "Offer"}, ""},
		{"hub://did:foo:x/Collections/https%3A%2F%2Fschema.org%2F/T%C3%A9e%20%25/" + id,
			hub.URI{Owner: "did:foo:x", Interface: "Collections", Context: "https://schema.org/", Type: "Tée %", ID: rev}, ""},
		{"hub://did:foo:x/Collections/a:b/c+d%7e", hub.URI{
			Owner: "did:foo:x", Interface: "Collections", Context: "a:b", Type: "c+d~",
		}, "hub://did:foo:x/Collections/a%3Ab/c%2Bd~"},
	} {
		u, err := hub.ParseURI(c.text)
		if err != nil || u != c.uri {
			t.Errorf("%s: %+v, %v", c.text, u, err)
		}
		if c.form == "" {
			c.form = c.text
		}
		if u.String() != c.form {
			t.Errorf("%s: written as %s", c.text, u)
		}
	}
	for _, bad := range []string{
		"", "hub://", "hub:///", "http://did:foo:x", "hub:did:foo:x", "hub://foo", "hub://did:foo", "hub://did:foo:",
		"hub://did:Foo:x", "hub://did:foo:x:", "hub://did:foo:%3", "hub://did:foo:%zz", "hub://did:foo:a b",
		"hub://did:foo:x?y",
		"hub://did:foo:x#y", "hub://did:foo:x//", "hub://did:foo:x/Collections/schema.org",
		"hub://did:foo:x/Collections//Offer", "hub://did:foo:x/Collections/schema.org/Offer/1",
		"hub://did:foo:x/Collections/schema.org/Offer/" + strings.ToUpper(id),
		"hub://did:foo:x/Collections/schema.org/Offer/" + strings.Repeat("0", 64),
		"hub://did:foo:x/Collections/schema.org/Offer/" + id + "/x", "hub://did:foo:x/Coll%2",
		"hub://did:foo:x/Coll ections", "hub://did:foo:x/%ff", "hub://did:foo:x/C?a=b", "hub://did:foo:x/C#a",
		"hub://did:foo:x/" + strings.Repeat("a", 1025), "hub://did:foo:" + strings.Repeat("a", 2050),
		"hub://did:foo:x/" + strings.Repeat("%20", 8000),
	} {
		if u, err := hub.ParseURI(bad); err == nil {
			t.Errorf("%.80s: read as %+v", bad, u)
		} else {
			want(t, err, coffer.Invalid)
		}
	}
}

func FuzzParseURI(f *testing.F) {
	f.Add("hub://did:web:localhost%3A8080/Collections/schema.org/Offer/" + strings.Repeat("0a", 32))
	f.Add("Hub://did:example:abc123/permissions/sets%2Fstyle/v1.0")
	f.Add("hub://did:foo:x/")
	f.Fuzz(func(t *testing.T, s string) {
		u, err := hub.ParseURI(s)
		if err != nil {
			return
		}
		again, err := hub.ParseURI(u.String())
		if err != nil || again != u {
			t.Errorf("%q became %q, which is %+v, not %+v: %v", s, u, again, u, err)
		}
	})
}
