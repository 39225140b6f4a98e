package grant

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
)

// negotiate returns both ends of a session.
func negotiate(t *testing.T, who *person) (client, server *Session) {
	t.Helper()
	o, err := OpenSession()
	if err != nil {
		t.Fatal(err)
	}
	server, public, err := NewSession(o.Public(), who.keyID(), "https://vault.example", when, 5*time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	client, err = o.Session(public, server.ID, who.keyID(), "https://vault.example", server.Expires)
	if err != nil {
		t.Fatal(err)
	}
	return client, server
}

func TestSession(t *testing.T) {
	alice, bob := named(0x11), named(0x12)
	client, server := negotiate(t, alice)
	if client.key != server.key || client.key == [32]byte{} {
		t.Fatal("the ends have different keys")
	}
	i, err := NewInvoker(alice, benchVault)
	if err != nil {
		t.Fatal(err)
	}
	f := facts(benchVault, alice.did)
	verify := func(in *Invocation) error {
		v, err := Verify(t.Context(), in, f)
		if err == nil && (v.KeyID != alice.keyID() || v.Caller.Who() != alice.did) {
			t.Error("another caller")
		}
		return err
	}
	if err := verify(request(t, i.Under(client))); coffer.KindOf(err) != coffer.NotExist {
		t.Errorf("a server without sessions: %v", err)
	}
	f.Session = func(id string) *Session {
		if id == server.ID {
			return server
		}
		return nil
	}
	if err := verify(request(t, i.Under(client))); err != nil {
		t.Error(err)
	}
	if err := verify(request(t, i.Under(client).Under(nil))); err != nil {
		t.Errorf("without a session again: %v", err)
	}
	in := request(t, i.Under(client))
	in.URI += "x"
	if err := verify(in); coffer.KindOf(err) != coffer.NotExist {
		t.Errorf("changed: %v", err)
	}
	other := *client
	other.key[0]++
	if err := verify(request(t, i.Under(&other))); coffer.KindOf(err) != coffer.NotExist {
		t.Errorf("other key: %v", err)
	}
	other.ID = "AAAA"
	if err := verify(request(t, i.Under(&other))); coffer.KindOf(err) != coffer.NotExist {
		t.Errorf("other id: %v", err)
	}
	// The session speaks for the key that opened it, and for no other.
	_, bobs := negotiate(t, bob)
	bobs.ID = server.ID
	f.Session = func(string) *Session { return bobs }
	if err := verify(request(t, i.Under(bobs))); coffer.KindOf(err) != coffer.NotExist {
		t.Errorf("another's session: %v", err)
	}
	f.Session = func(string) *Session { return server }
	f.Now = server.Expires.Add(-1)
	if err := verify(request(t, i.Under(client))); err != nil {
		t.Errorf("just before its end: %v", err)
	}
	f.Now = server.Expires
	if err := verify(request(t, i.Under(client))); err == nil || !strings.Contains(err.Error(), "session has expired") {
		t.Errorf("at its end: %v", err)
	}
}

func TestSessionDelegated(t *testing.T) {
	capability, who := delegated(t, 2, "")
	client, server := negotiate(t, who)
	i, err := NewInvoker(who, capability)
	if err != nil {
		t.Fatal(err)
	}
	f := facts(benchVault, named(0x11).did)
	f.Session = func(string) *Session { return server }
	v, err := Verify(t.Context(), request(t, i.Under(client)), f)
	if err != nil || v.Caller.Who() != who.did || len(v.Caller.Links()) != 2 {
		t.Errorf("%+v, %v", v, err)
	}
}

// Both ends must see the same id, key id, origin and public keys.
func TestSessionBinds(t *testing.T) {
	o, err := OpenSession()
	if err != nil {
		t.Fatal(err)
	}
	const key, origin = "did:a#b", "https://vault.example"
	server, public, err := NewSession(o.Public(), key, origin, when, 0)
	if err != nil {
		t.Fatal(err)
	}
	if !server.Expires.Equal(when.Add(MaxSession)) {
		t.Errorf("expires %v", server.Expires)
	}
	if s, _, _ := NewSession(o.Public(), key, origin, when, time.Hour); !s.Expires.Equal(when.Add(MaxSession)) {
		t.Errorf("lives an hour: %v", s.Expires)
	}
	for name, s := range map[string][3]string{
		"id": {"x" + server.ID, key, origin}, "key": {server.ID, key + "c", origin}, "origin": {server.ID, key, origin + ":8443"},
		"moved": {server.ID + key, "", origin},
	} {
		c, err := o.Session(public, s[0], s[1], s[2], server.Expires)
		if err != nil || c.key == server.key {
			t.Errorf("another %s: the same key, or %v", name, err)
		}
	}
	if c, err := o.Session(public, server.ID, key, origin, server.Expires); err != nil || c.key != server.key {
		t.Errorf("the same: another key, or %v", err)
	}
	for name, peer := range map[string][]byte{"short": public[:31], "zero": make([]byte, 32), "none": nil} {
		if _, _, err := NewSession(peer, key, origin, when, 0); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("%s client key: %v", name, err)
		}
		if _, err := o.Session(peer, server.ID, key, origin, when); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("%s server key: %v", name, err)
		}
	}
	for _, id := range []string{"", `a"b`, "a b", "a\nb", strings.Repeat("a", 65)} {
		if _, err := o.Session(public, id, key, origin, when); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("id %q: %v", id, err)
		}
	}
	if _, _, err := NewSession(o.Public(), "", origin, when, 0); coffer.KindOf(err) != coffer.Invalid {
		t.Errorf("no key id: %v", err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %v", server, server, server, server, *server)
	if bytes.Contains([]byte(printed), server.key[:]) || strings.ContainsAny(printed, "0123456789[{") {
		t.Errorf("printed: %s", printed)
	}
}

func TestInvoker(t *testing.T) {
	alice, bob := named(0x11), named(0x12)
	capability := forge(t, alice, draftOf(t, alice, benchVault, bob, nil))
	for authority, who := range map[string]*person{"": alice, "vault": alice, "{}": alice, capability[:99]: bob} {
		if _, err := NewInvoker(who, authority); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("authority %q: %v", authority, err)
		}
	}
	if _, err := NewInvoker(alice, capability); coffer.KindOf(err) != coffer.Denied {
		t.Errorf("another's capability: %v", err)
	}
	i, err := NewInvoker(bob, capability)
	if err != nil || i.Target() != benchVault {
		t.Fatal(err)
	}
	var sum [32]byte
	for name, change := range map[string]func(*Request){
		"relative URL":         func(r *Request) { r.URL = "/edvs" },
		"no path":              func(r *Request) { r.URL = "https://vault.example" },
		"no host":              func(r *Request) { r.URL = "https:///edvs" },
		"other server":         func(r *Request) { r.URL = "https://vault.example.org" + benchDocument },
		"other vault":          func(r *Request) { r.URL = benchVault + "x" },
		"fragment":             func(r *Request) { r.URL += "#x" },
		"newline":              func(r *Request) { r.URL += "\nhost: x" },
		"no method":            func(r *Request) { r.Method = "" },
		"no action":            func(r *Request) { r.Action = "" },
		"bad action":           func(r *Request) { r.Action = `read",id="x` },
		"no time":              func(r *Request) { r.Now = time.Time{} },
		"body of unknown type": func(r *Request) { r.BodySum = &sum },
	} {
		r := Request{Method: "GET", URL: benchVault + "/query", Action: Read, Now: when}
		change(&r)
		if _, err := i.Sign(t.Context(), r); coffer.KindOf(err) != coffer.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	h, err := i.Sign(t.Context(), Request{
		Method: "POST", URL: benchVault + "/query", Action: Read, Now: when, Life: time.Minute,
		BodySum: &sum, ContentType: "application/json",
	})
	if err != nil {
		t.Fatal(err)
	}
	in := &Invocation{
		Method: "POST", URI: strings.TrimPrefix(benchVault, "https://vault.example") + "/query", Host: "vault.example",
		HasBody: true, Header: h,
	}
	f := facts(benchVault, alice.did)
	if v, err := Verify(t.Context(), in, f); err != nil || !v.HasDigest || v.Digest != sum {
		t.Errorf("%+v, %v", v, err)
	}
	f.Now = when.Add(time.Minute + 301*time.Second)
	if _, err := Verify(t.Context(), in, f); coffer.KindOf(err) != coffer.NotExist {
		t.Errorf("after its life: %v", err)
	}
}
