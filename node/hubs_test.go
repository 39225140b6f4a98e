package node_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/coffertest"
	"github.com/cofferhq/coffer/hubtest"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/keyring"
	"github.com/cofferhq/coffer/node"
)

// TestHubSuite tells all stories at the hubs of whole nodes, over sockets, on each kind of disk. Each story has people of
// its own, so that they share a node and find empty hubs.
func TestHubSuite(t *testing.T) {
	for _, disk := range []struct {
		name  string
		store func(t *testing.T) string
	}{
		{"Pebble", func(*testing.T) string { return "" }},
		{"PostgreSQL", func(t *testing.T) string { return servers.Database(t) }},
	} {
		t.Run(disk.name, func(t *testing.T) {
			t.Parallel()
			w := newHubWorld(t, node.Config{Store: disk.store(t)}, new(atomic.Int64))
			hubtest.Run(t, func(t testing.TB) *hubtest.Place {
				people := make([]*keyring.Ring, 4)
				for i := range people {
					people[i] = keyring.Generate()
				}
				p := w.place(t, people)
				// Another host, with other disks.
				p.Fresh = func(t testing.TB) *hubtest.Place { return newHubWorld(t, node.Config{}, w.ahead).place(t, people) }
				return p
			})
		})
	}
}

// A hubWorld is a node with hubs, and its clock.
type hubWorld struct {
	node     *node.Node
	resolver *ident.Resolver
	host     *coffer.Identity
	ahead    *atomic.Int64 // by which the clock is ahead, in nanoseconds
}

func newHubWorld(t testing.TB, c node.Config, ahead *atomic.Int64) *hubWorld {
	t.Helper()
	w := &hubWorld{ahead: ahead}
	c.Now = w.now
	c.Origin = "http://127.0.0.1:1" // the same for all nodes on a database; nobody connects to it
	w.node = coffertest.Node(t, c)
	var err error
	if w.resolver, err = ident.New(ident.Options{Now: w.now}); err != nil {
		t.Fatal(err)
	}
	if w.host, err = w.resolver.Resolve(t.Context(), w.node.DID()); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *hubWorld) now() time.Time { return time.Now().Add(time.Duration(w.ahead.Load())) }

// client returns the hubs as the ring's holder sees them.
func (w *hubWorld) client(t testing.TB, ring *keyring.Ring, purpose string) coffer.Hub {
	t.Helper()
	c, err := hub.NewClient(hub.ClientOptions{
		URL: "http://" + w.node.Addr().String() + "/.identity", Hub: w.host, Requester: hub.KeyringRequester(ring),
		Key: w.resolver.MessageKey, Now: w.now, Purpose: purpose,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (w *hubWorld) place(t testing.TB, people []*keyring.Ring) *hubtest.Place {
	person := func(ring *keyring.Ring) hubtest.Person {
		hubs := func(purpose string) coffer.Hub { return w.client(t, ring, purpose) }
		return hubtest.Person{DID: ring.DID(), Hub: hubs(""), For: hubs, Sign: signCommit(t, ring)}
	}
	return &hubtest.Place{
		Alice: person(people[0]), Bob: person(people[1]), Carol: person(people[2]), Dave: person(people[3]),
		Now:     w.now,
		Advance: func(d time.Duration) { w.ahead.Add(int64(d)) },
	}
}

// signCommit returns what signs commits as the ring's holder.
func signCommit(t testing.TB, ring *keyring.Ring) func(map[string]any, []byte) *coffer.Commit {
	return func(protected map[string]any, payload []byte) *coffer.Commit {
		protected["alg"], protected["kid"] = "EdDSA", ring.Key(coffer.SigningKey).ID
		j := jose.NewJWS(protected, payload)
		signature, err := ring.Sign(context.Background(), coffer.Assertion, j.Input())
		if err != nil {
			t.Fatal(err)
		}
		return &coffer.Commit{
			Protected: j.Protected, Payload: j.Payload, Signature: base64.RawURLEncoding.EncodeToString(signature),
		}
	}
}

// note returns the protected header of a commit that creates a note, or an object of another interface and type.
func note(owner string, more map[string]any) map[string]any {
	protected := map[string]any{
		"interface": "Collections", "context": "http://schema.org", "type": "Note", "operation": "create", "sub": owner,
		"commit_strategy": "basic", "committed_at": time.Now().UTC().Format("2006-01-02T15:04:05.000Z"),
	}
	for name, v := range more {
		protected[name] = v
	}
	return protected
}

// TestHubsOfTwoNodes has two nodes on one database be one host of hubs: what is written at one is read at the other, and
// what is revoked at one is refused at the other from the next request on.
func TestHubsOfTwoNodes(t *testing.T) {
	database := servers.Database(t)
	data := t.TempDir()
	config := node.Config{Data: data, Store: database, Blobs: servers.Bucket(t), CreateBucket: true}
	first := newHubWorld(t, config, new(atomic.Int64))
	config.Data = t.TempDir()
	for _, name := range []string{"node.json", "node.key", "log.key"} {
		b, err := os.ReadFile(filepath.Join(data, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(config.Data, name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	second := newHubWorld(t, config, new(atomic.Int64))
	if a, b := described(t, first.node), described(t, second.node); len(a.DIDs) != 3 || strings.Join(a.DIDs, " ") != strings.Join(b.DIDs, " ") {
		t.Fatalf("hubs of other names: %q, %q", a.DIDs, b.DIDs)
	}
	alice, bob := keyring.Generate(), keyring.Generate()
	here, there := first.client(t, alice, ""), second.client(t, bob, "")
	ctx := t.Context()
	sign := signCommit(t, alice)
	revs, err := here.Write(ctx, alice.DID(), sign(note(alice.DID(), nil), []byte(`{"text":"x"}`)))
	if err != nil {
		t.Fatal(err)
	}
	notes := &coffer.ObjectQuery{Interface: "Collections", Context: "http://schema.org", Type: "Note"}
	for range 3 {
		if _, err := there.Objects(ctx, alice.DID(), notes); !errors.Is(err, coffer.Denied) {
			t.Fatalf("without a grant: %v", err)
		}
		permission := map[string]any{
			"interface": "Permissions", "context": "schema.identity.foundation/0.1", "type": "PermissionGrant",
		}
		payload, err := json.Marshal(map[string]string{
			"owner": alice.DID(), "grantee": bob.DID(), "context": notes.Context, "type": notes.Type, "allow": "-R--",
		})
		if err != nil {
			t.Fatal(err)
		}
		granted, err := here.Write(ctx, alice.DID(), sign(note(alice.DID(), permission), payload))
		if err != nil {
			t.Fatal(err)
		}
		page, err := there.Objects(ctx, alice.DID(), notes)
		if err != nil || len(page.Objects) != 1 || page.Objects[0].ID != revs[0] {
			t.Fatalf("with a grant: %+v, %v", page, err)
		}
		permission["operation"], permission["object_id"] = "delete", granted[0].String()
		if _, err := here.Write(ctx, alice.DID(), sign(note(alice.DID(), permission), nil)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := there.Objects(ctx, alice.DID(), notes); !errors.Is(err, coffer.Denied) {
		t.Errorf("after it was revoked: %v", err)
	}

	// What one of them took is none for the other, though its tokens are good at both.
	wire := new(sent)
	caught, err := hub.NewClient(hub.ClientOptions{
		URL: "http://" + first.node.Addr().String() + "/.identity", Hub: first.host,
		Requester: hub.KeyringRequester(alice), Key: first.resolver.MessageKey, Now: first.now,
		HTTP: &http.Client{Transport: wire},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := caught.Objects(ctx, alice.DID(), notes); err != nil {
		t.Fatal(err)
	}
	last := wire.bodies[len(wire.bodies)-1]
	for _, w := range []*hubWorld{first, second} {
		if status := w.post(t, hub.ContentType, last); status != http.StatusUnauthorized {
			t.Errorf("sent again: %d", status)
		}
	}
	if status := second.post(t, hub.ContentType, wire.bodies[0]); status != http.StatusOK {
		t.Errorf("a request for a token, sent again: %d", status)
	}
}

// post sends an envelope, and returns the status of the answer.
func (w *hubWorld) post(t testing.TB, contentType, body string) int {
	t.Helper()
	r, err := http.Post("http://"+w.node.Addr().String()+"/", contentType, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	return r.StatusCode
}

// sent notes what is sent, and goes on with it.
type sent struct {
	types, bodies []string
	heads         []string // of each request: method, URL and header
}

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.types, s.bodies = append(s.types, r.Header.Get("Content-Type")), append(s.bodies, string(b))
	s.heads = append(s.heads, fmt.Sprint(r.Method, " ", r.URL, " ", r.Header))
	r.Body = io.NopCloser(strings.NewReader(string(b)))
	return http.DefaultTransport.RoundTrip(r)
}

// TestH33SeveralHosts has hubs at two nodes. One envelope is for both: what is in it happens at each that gets it, and a
// third node cannot open it.
func TestH33SeveralHosts(t *testing.T) {
	ahead := new(atomic.Int64)
	first, second, third := newHubWorld(t, node.Config{}, ahead), newHubWorld(t, node.Config{}, ahead), newHubWorld(t, node.Config{}, ahead)
	ahead.Add(int64(time.Minute)) // nodes take such envelopes once they have run for a moment
	alice, ctx, wire := keyring.Generate(), t.Context(), new(sent)
	both, err := hub.NewClient(hub.ClientOptions{
		URL: "http://" + first.node.Addr().String() + "/.identity", Hub: first.host, Others: []*coffer.Identity{second.host},
		Requester: hub.KeyringRequester(alice), Key: first.resolver.MessageKey, Now: first.now,
		HTTP: &http.Client{Transport: wire},
	})
	if err != nil {
		t.Fatal(err)
	}
	revs, err := both.Write(ctx, alice.DID(), signCommit(t, alice)(note(alice.DID(), nil), []byte(`{"text":"x"}`)))
	if err != nil {
		t.Fatal(err)
	}
	if len(wire.types) != 1 || wire.types[0] != hub.SeveralContentType {
		t.Fatalf("sent %q", wire.types)
	}
	notes := &coffer.ObjectQuery{Interface: "Collections", Context: "http://schema.org", Type: "Note"}
	for _, w := range []*hubWorld{first, second, third} {
		taken, there := w.post(t, hub.SeveralContentType, wire.bodies[0]) == http.StatusOK, 0
		page, err := w.client(t, alice, "").Objects(ctx, alice.DID(), notes)
		if err == nil {
			there = len(page.Objects)
		}
		if w == second != taken || w != third && (there != 1 || page.Objects[0].ID != revs[0]) || w == third && there > 0 {
			t.Errorf("it is taken: %v, and is there: %d, %v", taken, there, err)
		}
	}
}

// TestWire looks at what goes between people and a whole node's hubs, and sends some of it otherwise.
func TestWire(t *testing.T) {
	ahead := new(atomic.Int64)
	w, ctx := newHubWorld(t, node.Config{}, ahead), t.Context()
	base := "http://" + w.node.Addr().String()
	// asking returns the hubs as somebody sees them, and what goes there.
	asking := func(t *testing.T, who hub.Requester, path string) (coffer.Hub, *sent) {
		wire := new(sent)
		c, err := hub.NewClient(hub.ClientOptions{
			URL: base + path, Hub: w.host, Requester: who, Key: w.resolver.MessageKey, Now: w.now,
			HTTP: &http.Client{Transport: wire},
		})
		if err != nil {
			t.Fatal(err)
		}
		return c, wire
	}
	person := func() hub.Requester { return hub.KeyringRequester(keyring.Generate()) }
	// device is an identity whose keys are of another kind.
	device := func() hub.Requester {
		keys := keyring.NewJWKSet("did:example:new")
		if err := keys.Generate("0", "P-256", ""); err != nil {
			t.Fatal(err)
		}
		keys = keys.Under(keyring.JWKDID(keys.Public(keys.KeyIDs()[0])))
		return hub.SetRequester(keys, keys.KeyIDs()[0])
	}
	offers := func(verb coffer.Verb, payload ...json.RawMessage) *coffer.HubAct {
		return &coffer.HubAct{
			Interface: "Collections", Verb: verb, Context: "schema.org", Type: "Offer", Payload: payload,
			Meta: json.RawMessage(`{"title":"Bicycle","public":true}`),
		}
	}
	bicycle := json.RawMessage(`{"name":"Bicycle"}`)

	// The host has its hubs at /.identity, as its identity document and its description say, and nowhere below: as with
	// well-known URIs (RFC 8615, section 3), the path is at the root and compared byte for byte.
	t.Run("H-26 at a well-known place", func(t *testing.T) {
		alice := person()
		own, _ := asking(t, alice, "/.identity")
		profile := &coffer.HubAct{
			Interface: "Profile", Verb: coffer.AddVerb, Context: "schema.org", Type: "Person",
			Payload: []json.RawMessage{json.RawMessage(`{"name":"Alice"}`)},
		}
		if _, err := own.Perform(ctx, alice.DID(), profile); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{"/.identity", "/", "/api/v1.0", "/.identity/api/v1.0"} {
			c, _ := asking(t, person(), path)
			items, err := c.Perform(ctx, alice.DID(), &coffer.HubAct{Interface: "Profile", Verb: coffer.RequestVerb})
			if err != nil || len(items) != 1 || string(items[0].Data) != `{"name":"Alice"}` {
				t.Errorf("%s: %v, %v", path, items, err)
			}
		}
		for _, path := range []string{
			"/.identity/", "/.Identity", "/.identity/Profile", "/.identity/" + alice.DID(), "/x/.identity",
			"/.well-known/.identity",
		} {
			fetched(t, w.node, path, http.StatusNotFound)
			r, err := http.Post(base+path, hub.ContentType, strings.NewReader("x"))
			if err != nil {
				t.Fatal(err)
			}
			if r.Body.Close(); r.StatusCode != http.StatusNotFound {
				t.Errorf("POST %s: %d", path, r.StatusCode)
			}
		}
		var document struct {
			Service []struct {
				Type     string
				Endpoint struct{ Locations []string } `json:"serviceEndpoint"`
			}
		}
		if err := json.Unmarshal(fetched(t, w.node, "/.well-known/did.json", http.StatusOK), &document); err != nil {
			t.Fatal(err)
		}
		at := described(t, w.node).Endpoint
		if s := document.Service; len(s) != 1 || s[0].Type != "IdentityHub" || len(s[0].Endpoint.Locations) != 1 ||
			s[0].Endpoint.Locations[0] != at || !strings.HasSuffix(at, "/.identity") {
			t.Errorf("the hubs are at %q, by the document at %+v", at, s)
		}
	})

	// Whoever signs as the identity is answered; who signs as another is not, nor is what was caught on the way and is
	// sent again, by whoever brings it.
	t.Run("H-29 identity keys, and a replay", func(t *testing.T) {
		for name, somebody := range map[string]func() hub.Requester{"a person": person, "a device": device} {
			alice := somebody()
			own, wire := asking(t, alice, "/.identity")
			there := func() int {
				t.Helper()
				items, err := own.Perform(ctx, alice.DID(), offers(coffer.RequestVerb))
				if err != nil {
					t.Fatalf("%s: %v", name, err)
				}
				return len(items)
			}
			if _, err := own.Perform(ctx, alice.DID(), offers(coffer.AddVerb, bicycle)); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(wire.bodies) != 2 { // the challenge, which is the access token, and the response
				t.Fatalf("%s: %d requests", name, len(wire.bodies))
			}
			if n := there(); n != 1 {
				t.Errorf("%s: %d objects", name, n)
			}
			caught := wire.bodies[1:]
			for range 2 {
				for _, body := range caught {
					r, err := http.Post(base+"/.identity", hub.ContentType, strings.NewReader(body))
					if err != nil {
						t.Fatal(err)
					}
					b, _ := io.ReadAll(r.Body)
					r.Body.Close()
					if r.StatusCode != http.StatusUnauthorized || !strings.Contains(string(b), `"authentication_failed"`) {
						t.Errorf("%s: what was caught is answered with %d %s", name, r.StatusCode, b)
					}
				}
			}
			if n := there(); n != 1 {
				t.Errorf("%s: a replay made %d objects of one", name, n)
			}
			impostor, _ := asking(t, claimant{somebody(), alice}, "/.identity")
			_, err := impostor.Perform(ctx, alice.DID(), offers(coffer.RequestVerb))
			var fault *coffer.Fault
			if !errors.Is(err, coffer.Denied) || !errors.As(err, &fault) || fault.Code != "authentication_failed" {
				t.Errorf("%s: another's key: %v", name, err)
			}
		}
	})

	// What a request is about is in the envelope alone, on both planes.
	t.Run("H-32 nothing in the URL", func(t *testing.T) {
		ring := keyring.Generate()
		alice, ctx := hub.KeyringRequester(ring), t.Context()
		own, wire := asking(t, alice, "/.identity")
		notes := &coffer.ObjectQuery{
			Interface: "Collections", Context: "http://schema.org", Type: "Note", Filter: "meta.title:x",
		}
		_, added := own.Perform(ctx, alice.DID(), offers(coffer.AddVerb, bicycle))
		_, read := own.Perform(ctx, alice.DID(), offers(coffer.RequestVerb))
		_, wrote := own.Write(ctx, alice.DID(), signCommit(t, ring)(note(alice.DID(), nil), []byte(`{}`)))
		_, listed := own.Objects(ctx, alice.DID(), notes)
		_, said := own.Describe(ctx, alice.DID())
		if err := errors.Join(added, read, wrote, listed, said); err != nil {
			t.Fatal(err)
		}
		for i, head := range wire.heads {
			if head != wire.heads[0] || strings.Contains(head, "did:") || wire.types[i] != hub.ContentType ||
				!strings.HasPrefix(head, "POST "+base+"/.identity map[") {
				t.Errorf("request %d is %s", i, head)
			}
			if strings.Count(wire.bodies[i], ".") != 4 {
				t.Errorf("request %d is no compact JWE", i)
			}
		}
		if len(wire.heads) != 6 {
			t.Errorf("%d requests", len(wire.heads))
		}
	})

	// Who knows the identity and the schema, and was never here, needs one request beside that for an access token.
	t.Run("H-42 no discovery", func(t *testing.T) {
		alice := person()
		own, _ := asking(t, alice, "/.identity")
		if _, err := own.Perform(ctx, alice.DID(), offers(coffer.AddVerb, bicycle)); err != nil {
			t.Fatal(err)
		}
		stranger, wire := asking(t, person(), "/.identity")
		items, err := stranger.Perform(ctx, alice.DID(), offers(coffer.RequestVerb))
		if err != nil || len(items) != 1 || string(items[0].Data) != string(bicycle) {
			t.Errorf("%v, %v", items, err)
		}
		if len(wire.heads) != 2 {
			t.Errorf("%d requests: %q", len(wire.heads), wire.heads)
		}
	})
}

// A claimant signs with a key of its own and says that it is another's.
type claimant struct {
	hub.Requester
	as hub.Requester
}

func (c claimant) DID() string   { return c.as.DID() }
func (c claimant) KeyID() string { return c.as.KeyID() }

// described asks a node's hubs who they are.
func described(t *testing.T, n *node.Node) *hub.Description {
	t.Helper()
	d, err := hub.Describe(t.Context(), nil, "http://"+n.Addr().String()+"/.identity")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// fetched returns what a node answers to GET, with this status.
func fetched(t *testing.T, n *node.Node, path string, status int) []byte {
	t.Helper()
	r, err := http.Get("http://" + n.Addr().String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	if r.StatusCode != status {
		t.Fatalf("GET %s: %d %s", path, r.StatusCode, b)
	}
	return b
}

// TestHubNames starts a node again and finds its hubs under the same names, with the same keys; and resolves them.
func TestHubNames(t *testing.T) {
	c := node.Config{Data: t.TempDir(), Origin: "http://hub.example:8080"}
	var before *hub.Description
	var document []byte
	t.Run("first", func(t *testing.T) {
		n := coffertest.Node(t, c)
		before, document = described(t, n), fetched(t, n, "/.well-known/did.json", http.StatusOK)
	})
	n := coffertest.Node(t, c)
	after := described(t, n)
	if strings.Join(before.DIDs, " ") != strings.Join(after.DIDs, " ") || before.DID != "did:web:hub.example%3A8080" {
		t.Errorf("%q, then %q", before.DIDs, after.DIDs)
	}
	if again := fetched(t, n, "/.well-known/did.json", http.StatusOK); string(again) != string(document) {
		t.Error("another identity document")
	}
	// As resolver clients write it, and as they should.
	for _, path := range []string{before.DID, url.PathEscape(before.DID)} {
		var said struct {
			DIDDocument json.RawMessage `json:"didDocument"`
			Document    struct {
				ID        string `json:"id"`
				PublicKey []struct {
					Type string `json:"type"`
					JWK  struct {
						Kty string `json:"kty"`
						Kid string `json:"kid"`
					} `json:"publicKeyJwk"`
				} `json:"publicKey"`
			} `json:"document"`
		}
		if err := json.Unmarshal(fetched(t, n, "/1.0/identifiers/"+path, http.StatusOK), &said); err != nil {
			t.Fatal(err)
		}
		keys := said.Document.PublicKey
		if said.Document.ID != before.DID || len(keys) < 2 || keys[0].Type != "RsaVerificationKey2018" || keys[0].JWK.Kty != "RSA" ||
			keys[0].JWK.Kid == "" || said.DIDDocument == nil {
			t.Errorf("%s: %+v", path, said)
		}
	}
}

// TestNoHubs switches the hubs off.
func TestNoHubs(t *testing.T) {
	n := coffertest.Node(t, node.Config{Hub: node.Hub{Off: true}})
	for _, path := range []string{"/.identity", "/.well-known/did.json", "/"} {
		fetched(t, n, path, http.StatusNotFound)
	}
	_, err := node.Open(t.Context(), node.Config{Data: t.TempDir(), Listen: "127.0.0.1:0", Hub: node.Hub{Work: 33}})
	if !errors.Is(err, coffer.Invalid) {
		t.Errorf("33 bits of work: %v", err)
	}
}
