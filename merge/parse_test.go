package merge

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"maps"
	"strings"
	"testing"

	"github.com/cofferhq/coffer"
)

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

// TestParseRefuses makes one thing wrong at a time.
func TestParseRefuses(t *testing.T) {
	rev := strings.Repeat("ab", 32)
	update := func(m map[string]any) { m["operation"], m["object_id"] = "update", rev }
	long := strings.Repeat("x", MaxText+1)
	type members = map[string]any
	for _, test := range []struct {
		name   string
		change func(members)
		target string
	}{
		{"no interface", func(m members) { delete(m, "interface") }, "interface"},
		{"no context", func(m members) { delete(m, "context") }, "context"},
		{"no type", func(m members) { delete(m, "type") }, "type"},
		{"no operation", func(m members) { delete(m, "operation") }, "operation"},
		{"no committed_at", func(m members) { delete(m, "committed_at") }, "committed_at"},
		{"no commit_strategy", func(m members) { delete(m, "commit_strategy") }, "commit_strategy"},
		{"no sub", func(m members) { delete(m, "sub") }, "sub"},
		{"no kid", func(m members) { delete(m, "kid") }, "kid"},
		{"no alg", func(m members) { delete(m, "alg") }, "alg"},
		{"empty type", func(m members) { m["type"] = "" }, "type"},
		{"type is a number", func(m members) { m["type"] = 1 }, "type"},
		{"type is null", func(m members) { m["type"] = nil }, "type"},
		{"type is a list", func(m members) { m["type"] = []string{"a"} }, "type"},
		{"long type", func(m members) { m["type"] = long }, "type"},
		{"long interface", func(m members) { m["interface"] = long }, "interface"},
		{"long owner", func(m members) { m["sub"] = long + long }, "sub"},
		{"long kid", func(m members) { m["kid"] = "did:x:y#" + long + long }, "kid"},
		{"unsigned", func(m members) { m["alg"] = "none" }, "alg"},
		{"unsigned in capitals", func(m members) { m["alg"] = "None" }, "alg"},
		{"crit", func(m members) { m["crit"] = []string{"x"} }, "crit"},
		{"b64", func(m members) { m["b64"] = true }, "b64"},
		{"rev", func(m members) { m["rev"] = rev }, "rev"},
		{"rev null", func(m members) { m["rev"] = nil }, "rev"},
		{"unknown operation", func(m members) { m["operation"] = "upsert" }, "operation"},
		{"operation in capitals", func(m members) { m["operation"] = "Create" }, "operation"},
		{"object_id on create", func(m members) { m["object_id"] = rev }, "object_id"},
		{"null object_id on create", func(m members) { m["object_id"] = nil }, "object_id"},
		{"no object_id on update", func(m members) { update(m); delete(m, "object_id") }, "object_id"},
		{"no object_id on delete", func(m members) { m["operation"] = "delete" }, "object_id"},
		{"object_id in capitals", func(m members) { update(m); m["object_id"] = strings.ToUpper(rev) }, "object_id"},
		{"short object_id", func(m members) { update(m); m["object_id"] = rev[2:] }, "object_id"},
		{"kid without fragment", func(m members) { m["kid"] = owner }, "kid"},
		{"kid with empty fragment", func(m members) { m["kid"] = owner + "#" }, "kid"},
		{"kid without identifier", func(m members) { m["kid"] = "#key-1" }, "kid"},
		{"iss of another", func(m members) { m["iss"] = "did:example:bob" }, "iss"},
		{"empty iss", func(m members) { m["iss"] = "" }, "iss"},
		{"null iss", func(m members) { m["iss"] = nil }, "iss"},
		{"iss with the key", func(m members) { m["iss"] = owner + "#key-1" }, "iss"},
		{"no time", func(m members) { m["committed_at"] = "yesterday" }, "committed_at"},
		{"meta is a text", func(m members) { m["meta"] = "x" }, "meta"},
		{"meta is null", func(m members) { m["meta"] = nil }, "meta"},
		{"large meta", func(m members) { m["meta"] = members{"x": strings.Repeat("x", MaxMeta)} }, "meta"},
		{"deep meta", func(m members) {
			m["meta"] = json.RawMessage(`{"x":` + strings.Repeat("[", MaxMetaDepth) + strings.Repeat("]", MaxMetaDepth) + `}`)
		}, "meta"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := plain()
			test.change(m)
			_, err := Parse(commitOf(t, m, "x"))
			refused(t, err, "commit.protected."+test.target)
		})
	}

	good := commitOf(t, plain(), "x")
	for _, test := range []struct {
		name   string
		change func(*coffer.Commit)
		target string
	}{
		{"no protected", func(c *coffer.Commit) { c.Protected = "" }, "commit.protected"},
		{"padding", func(c *coffer.Commit) { c.Payload = "eA==" }, "commit.payload"},
		{"standard base64", func(c *coffer.Commit) { c.Payload = "+/+/" }, "commit.payload"},
		{"line end", func(c *coffer.Commit) { c.Payload = "eHh4\n" }, "commit.payload"},
		{"spare bits", func(c *coffer.Commit) { c.Payload = "eB" }, "commit.payload"},
		{"nothing is created", func(c *coffer.Commit) { c.Payload = "" }, "commit.payload"},
		{"large payload", func(c *coffer.Commit) { c.Payload = encode(make([]byte, MaxPayload+1)) }, "commit.payload"},
		{"no signature", func(c *coffer.Commit) { c.Signature = "" }, "commit.signature"},
		{"broken signature", func(c *coffer.Commit) { c.Signature = "?" }, "commit.signature"},
		{"large signature", func(c *coffer.Commit) { c.Signature = encode(make([]byte, MaxSignature+1)) },
			"commit.signature"},
		{"header is a list", func(c *coffer.Commit) { c.Header = json.RawMessage(`[]`) }, "commit.header"},
		{"header is null", func(c *coffer.Commit) { c.Header = json.RawMessage(`null`) }, "commit.header"},
		{"header with a member twice", func(c *coffer.Commit) { c.Header = json.RawMessage(`{"a":1,"a":2}`) },
			"commit.header"},
		{"large header", func(c *coffer.Commit) {
			c.Header = json.RawMessage(`{"a":"` + strings.Repeat("x", MaxHeader) + `"}`)
		}, "commit.header"},
		{"deep header", func(c *coffer.Commit) {
			c.Header = json.RawMessage(`{"a":` + strings.Repeat("[", MaxMetaDepth) + strings.Repeat("]", MaxMetaDepth) + `}`)
		}, "commit.header"},
		{"not JSON", func(c *coffer.Commit) { c.Protected = encode([]byte(`{"a"`)) }, "commit.protected"},
		{"null", func(c *coffer.Commit) { c.Protected = encode([]byte(`null`)) }, "commit.protected"},
		{"large protected", func(c *coffer.Commit) {
			c.Protected = encode(bytes.Repeat([]byte(" "), MaxProtected+1))
		}, "commit.protected"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := *good
			test.change(&c)
			_, err := Parse(&c)
			refused(t, err, test.target)
		})
	}

	t.Run("a member twice", func(t *testing.T) {
		b, err := json.Marshal(plain())
		if err != nil {
			t.Fatal(err)
		}
		c := *good
		c.Protected = encode(append([]byte(`{"sub":"did:example:bob",`), b[1:]...))
		_, err = Parse(&c)
		refused(t, err, "commit.protected")
	})
	t.Run("nothing", func(t *testing.T) {
		_, err := Parse(nil)
		refused(t, err, "commit")
	})
}

// plain returns the protected header of a good commit.
func plain() map[string]any {
	return map[string]any{
		"interface": "Collections", "context": "http://schema.org", "type": "MusicPlaylist", "operation": "create",
		"committed_at": "2019-03-29T08:00:00.000Z", "commit_strategy": "basic", "sub": owner,
		"kid": owner + "#key-1", "alg": "EdDSA",
	}
}

func commitOf(t testing.TB, protected map[string]any, payload string) *coffer.Commit {
	t.Helper()
	b, err := json.Marshal(protected)
	if err != nil {
		t.Fatal(err)
	}
	return &coffer.Commit{Protected: encode(b), Payload: encode([]byte(payload)), Signature: encode(make([]byte, 64))}
}

// TestParseAccepts checks what must not be refused.
func TestParseAccepts(t *testing.T) {
	rev := strings.Repeat("ab", 32)
	for name, change := range map[string]func(map[string]any){
		"as it is":            func(map[string]any) {},
		"iss is the signer":   func(m map[string]any) { m["iss"] = owner },
		"members not known":   func(m map[string]any) { m["x"], m["typ"] = []int{1}, "JWT" },
		"two fragments":       func(m map[string]any) { m["kid"] = owner + "#a#b" },
		"a context of spaces": func(m map[string]any) { m["context"] = " " },
		"another interface":   func(m map[string]any) { m["interface"] = "Things" },
		"another strategy":    func(m map[string]any) { m["commit_strategy"] = "theirs" },
		"an empty meta":       func(m map[string]any) { m["meta"] = map[string]any{} },
		"no zone":             func(m map[string]any) { m["committed_at"] = "2019-03-29T08:00:00" },
		"another's commit":    func(m map[string]any) { m["kid"] = "did:example:bob#k" },
		"the longest type":    func(m map[string]any) { m["type"] = strings.Repeat("x", MaxText) },
		"an update":           func(m map[string]any) { m["operation"], m["object_id"] = "update", rev },
	} {
		m := maps.Clone(plain())
		change(m)
		if _, err := Parse(commitOf(t, m, "x")); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	escaped := &coffer.Commit{
		Protected: encode([]byte(`{"interface":"\u0043ollections","context":"a\\b\"c","type":"\ud83c\udfb8",` +
			`"operation":"cr\u0065ate",` +
			`"committed_at":"2019-03-29T08:00:00Z","commit_strategy":"basic","sub":"did:x:y","kid":"did:x:y#k","alg":"EdDSA"}`)),
		Payload: "eA", Signature: "AAAA",
	}
	if p, err := Parse(escaped); err != nil || p.Header.Interface != "Collections" || p.Header.Context != `a\b"c` ||
		p.Header.Type != "🎸" || p.Header.Operation != Create {
		t.Errorf("escapes: %+v, %v", p, err)
	}
	m := plain()
	m["operation"], m["object_id"] = "delete", rev
	c := commitOf(t, m, "")
	c.Header = json.RawMessage(`{"work":"17"}`)
	p, err := Parse(c)
	if err != nil {
		t.Fatal(err)
	}
	if p.Object.String() != rev || p.Object == p.Rev {
		t.Errorf("a delete of %v", p.Object)
	}
}

// FuzzParse checks that whatever is accepted is within bounds, and has a state if it creates.
func FuzzParse(f *testing.F) {
	for _, c := range vectors(f).Commits {
		protected, err := base64.RawURLEncoding.DecodeString(c.Commit.Protected)
		if err != nil {
			f.Fatal(err)
		}
		payload, err := base64.RawURLEncoding.DecodeString(c.Commit.Payload)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(protected, payload, []byte(c.Commit.Header), "AAAA")
	}
	f.Add([]byte(`{"operation":"create","operation":"delete"}`), []byte(nil), []byte(nil), "")
	f.Fuzz(func(t *testing.T, protected, payload, header []byte, signature string) {
		raw := &coffer.Commit{Protected: encode(protected), Payload: encode(payload), Signature: signature}
		if len(header) > 0 {
			raw.Header = header
		}
		c, err := Parse(raw)
		if err != nil {
			var target string
			refused(t, err, target)
			return
		}
		h := c.Header
		for _, s := range []string{h.Alg, h.KeyID, h.Interface, h.Context, h.Type, h.Operation, h.Strategy, h.Sub} {
			if s == "" || len(s) > MaxName {
				t.Fatalf("accepted %+v", h)
			}
		}
		if h.Issuer != "" && h.Issuer != c.Signer() || h.CommittedAt.IsZero() || c.Signer() == "" || c.Compare(c) != 0 {
			t.Fatalf("accepted %+v", h)
		}
		s, err := Of([]*Commit{c, c})
		if (err == nil) != (h.Operation == Create && Known(h.Strategy)) {
			t.Fatalf("state: %v", err)
		}
		if err == nil && (s.Deleted || !bytes.Equal(s.Value, payload)) {
			t.Fatalf("got %q, want %q", s.Value, payload)
		}
	})
}

// FuzzMergePatch checks that patches of any bytes have one result, which is JSON if a patch is.
func FuzzMergePatch(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1}}`), []byte(`{"a":{"b":null}}`), []byte(`{"a":[1e400,"\ud83c\udfb8"]}`))
	f.Add([]byte(`x`), []byte(`{"a":null}`), []byte(`[]`))
	f.Fuzz(func(t *testing.T, a, b, c []byte) {
		first := build(t, header(Create, MergePatch, 0), "x")
		second, third := later(t, first, Update, 1, "y"), later(t, first, Update, 2, "z")
		first.Payload, second.Payload, third.Payload = a, b, c
		s, err := Of([]*Commit{first, second, third})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Of([]*Commit{third, first, second})
		if err != nil || !bytes.Equal(again.Value, s.Value) {
			t.Fatalf("got %q, then %q: %v", s.Value, again.Value, err)
		}
		if _, ok := object(c); ok {
			if _, ok := object(s.Value); !ok {
				t.Fatalf("%q is no object", s.Value)
			}
		} else if !bytes.Equal(s.Value, c) {
			t.Fatalf("got %q, want %q", s.Value, c)
		}
	})
}

// TestWithheld checks commits without their payloads: their form, that nobody verifies them, what follows from them.
func TestWithheld(t *testing.T) {
	without := func(c *Commit) *coffer.Commit {
		return &coffer.Commit{Protected: c.Raw.Protected, Signature: c.Raw.Signature, Withheld: &c.Rev}
	}
	parse := func(c *Commit) *Commit {
		t.Helper()
		p, err := Parse(without(c))
		if err != nil {
			t.Fatal(err)
		}
		if p.Rev != c.Rev || p.Object != c.Object || len(p.Payload) != 0 || p.Verify(anything{}) {
			t.Errorf("got %+v", p)
		}
		return p
	}
	for _, strategy := range []string{Basic, MergePatch} {
		first := build(t, header(Create, strategy, 0), `{"a":1}`)
		second, third := later(t, first, Update, 1, `{"b":2}`), later(t, first, Update, 2, `{"c":3}`)
		end := later(t, first, Delete, 3, "")
		for _, test := range []struct {
			commits  []*Commit
			withheld bool
		}{
			{[]*Commit{first, second}, false},
			{[]*Commit{parse(first), second}, strategy == MergePatch},
			{[]*Commit{first, parse(second), third}, strategy == MergePatch},
			{[]*Commit{first, second, parse(third)}, true},
			{[]*Commit{parse(first), parse(second), end}, false},
		} {
			s, err := Of(test.commits)
			if err != nil || s.Withheld != test.withheld || s.Withheld && s.Value != nil {
				t.Errorf("%s of %d commits: %+v, %v", strategy, len(test.commits), s, err)
			}
		}
		_, err := Parse(without(end))
		refused(t, err, "commit.withheld")
		both := *first.Raw
		both.Withheld = &first.Rev
		_, err = Parse(&both)
		refused(t, err, "commit.withheld")
	}
}

// anything verifies everything.
type anything struct{}

func (anything) Verify([]byte, []byte) bool { return true }
