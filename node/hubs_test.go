package node_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
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
}

// sent notes what is sent, and goes on with it.
type sent struct {
	types, bodies []string
}

func (s *sent) RoundTrip(r *http.Request) (*http.Response, error) {
	b, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	s.types, s.bodies = append(s.types, r.Header.Get("Content-Type")), append(s.bodies, string(b))
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
	post := func(w *hubWorld) (taken bool) {
		r, err := http.Post("http://"+w.node.Addr().String()+"/", hub.SeveralContentType, strings.NewReader(wire.bodies[0]))
		if err != nil {
			t.Fatal(err)
		}
		r.Body.Close()
		return r.StatusCode == http.StatusOK
	}
	notes := &coffer.ObjectQuery{Interface: "Collections", Context: "http://schema.org", Type: "Note"}
	for _, w := range []*hubWorld{first, second, third} {
		taken, there := post(w), 0
		page, err := w.client(t, alice, "").Objects(ctx, alice.DID(), notes)
		if err == nil {
			there = len(page.Objects)
		}
		if w == second != taken || w != third && (there != 1 || page.Objects[0].ID != revs[0]) || w == third && there > 0 {
			t.Errorf("it is taken: %v, and is there: %d, %v", taken, there, err)
		}
	}
}

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
