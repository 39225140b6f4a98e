package hub_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	nodehub "github.com/cofferhq/coffer/node/hub"
)

// documents resolves identifiers to documents.
type documents map[string]string

func (d documents) Resolve(_ context.Context, id string) (*coffer.Identity, error) {
	text, ok := d[id]
	if !ok {
		return nil, coffer.Errorf("resolve", coffer.NotExist, "no such identity")
	}
	if text == "down" {
		return nil, coffer.Errorf("resolve", coffer.Unavailable, "down")
	}
	return &coffer.Identity{ID: id, Document: []byte(text)}, nil
}

func hubService(endpoint string) string {
	return fmt.Sprintf(`{"service":[{"type":"LinkedDomains","serviceEndpoint":"https://other.example"},
		{"type":"IdentityHub","serviceEndpoint":%s}]}`, endpoint)
}

const (
	userEndpoint = `{"@context":"schema.identity.foundation/hub","@type":"UserServiceEndpoint","instances":%s}`
	hostEndpoint = `{"@context":"schema.identity.foundation/hub","@type":"HostServiceEndpoint","locations":%s}`
)

var somewhere = documents{
	"did:x:user":    hubService(fmt.Sprintf(userEndpoint, `["did:x:down","did:x:gone","did:x:a","did:x:b","not a DID"]`)),
	"did:x:a":       hubService(fmt.Sprintf(hostEndpoint, `["https://a.example/.identity","https://a2.example","ftp:a"]`)),
	"did:x:b":       hubService(`["https://b.example", "https://a2.example"]`),
	"did:x:down":    "down",
	"did:x:plain":   hubService(`"https://plain.example/hub"`),
	"did:x:mixed":   hubService(`["https://own.example", "did:x:a", {"instances":["did:x:b"]}, 7]`),
	"did:x:types":   `{"service":[{"type":["X","IdentityHub"],"serviceEndpoint":{"locations":["https://t.example"]}}]}`,
	"did:x:loop":    hubService(fmt.Sprintf(userEndpoint, `["did:x:loop"]`)),
	"did:x:away":    hubService(fmt.Sprintf(userEndpoint, `["did:x:gone","did:x:down"]`)),
	"did:x:none":    `{"service":[]}`,
	"did:x:twice":   `{"service":[],"service":[]}`,
	"did:x:odd":     hubService(`7`),
	"did:x:nothing": "",
}

func TestEndpoints(t *testing.T) {
	for _, c := range []struct {
		did  string
		want []string
		kind error
	}{
		{"did:x:user", []string{
			"https://a.example/.identity did:x:a", "https://a2.example did:x:a", "https://b.example did:x:b",
		}, nil},
		{"did:x:plain", []string{"https://plain.example/hub did:x:plain"}, nil},
		{"did:x:mixed", []string{
			"https://own.example did:x:mixed", "https://a.example/.identity did:x:a", "https://a2.example did:x:a",
			"https://b.example did:x:b",
		}, nil},
		{"did:x:types", []string{"https://t.example did:x:types"}, nil},
		{"did:x:loop", nil, coffer.NotExist},
		{"did:x:away", nil, coffer.Unavailable},
		{"did:x:none", nil, coffer.NotExist},
		{"did:x:odd", nil, coffer.NotExist},
		{"did:x:nothing", nil, coffer.NotExist},
		{"did:x:twice", nil, coffer.Invalid},
		{"did:x:unknown", nil, coffer.NotExist},
		{"did:x:down", nil, coffer.Unavailable},
	} {
		list, err := hub.Endpoints(t.Context(), somewhere, c.did)
		var got []string
		hosts := make(map[string]bool)
		for _, e := range list {
			got = append(got, e.URL+" "+e.Host.ID)
			hosts[e.Host.ID] = true
		}
		for _, e := range list {
			known := map[string]bool{e.Host.ID: true}
			for _, o := range e.Others {
				known[o.ID] = true
			}
			if len(e.Others) != len(hosts)-1 || !maps.Equal(known, hosts) {
				t.Errorf("%s: of %d hosts, %s knows %d others", c.did, len(hosts), e.URL, len(e.Others))
			}
		}
		if !slices.Equal(got, c.want) || c.kind != nil && !errors.Is(err, c.kind) || c.kind == nil && err != nil {
			t.Errorf("%s: %q, %v", c.did, got, err)
		}
	}
}

// flaky is a hub that is down at times.
type flaky struct {
	coffer.Hub
	down bool
}

func (f *flaky) Write(ctx context.Context, owner string, c *coffer.Commit) ([]coffer.CommitRev, error) {
	if f.down {
		return nil, coffer.Errorf("hub", coffer.Unavailable, "down")
	}
	return f.Hub.Write(ctx, owner, c)
}

func (f *flaky) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	if f.down {
		return nil, coffer.Errorf("hub", coffer.Unavailable, "down")
	}
	return f.Hub.Objects(ctx, owner, q)
}

func TestDialFallsOver(t *testing.T) {
	w, ctx := newWorld(t, nodehub.Limits{}), t.Context()
	places := map[string]*flaky{
		"https://a2.example": {Hub: w.as("alice", "")}, "https://b.example": {Hub: w.as("alice", "")},
	}
	var opened []string
	open := func(_ context.Context, e hub.Endpoint) (coffer.Hub, error) {
		opened = append(opened, e.URL)
		if p := places[e.URL]; p != nil {
			return p, nil
		}
		return nil, coffer.Errorf("dial", coffer.Unavailable, "nobody is there")
	}
	dialed := must(hub.Dial(ctx, somewhere, "did:x:user", open))(t)
	if opened != nil {
		t.Errorf("opened %q before anything was asked", opened)
	}
	alice := w.open("alice", "alice", func(o *hub.Options) { o.Hub = dialed })
	for range 3 {
		must(alice.Put(ctx, playlists, playlist{Name: "x"}, nil))(t)
	}
	if !slices.Equal(opened, []string{"https://a.example/.identity", "https://a2.example"}) {
		t.Errorf("opened %q", opened)
	}
	watch := alice.Watch(playlists, nil, "")
	count := func() (n int, failed error) {
		for _, err := range watch.Changes(ctx) {
			if failed = err; err == nil {
				n++
			}
		}
		return n, failed
	}
	if n, err := count(); n != 3 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	places["https://a2.example"].down = true
	id := must(alice.Put(ctx, playlists, playlist{Name: "y"}, nil))(t)
	if p := must(hub.Get[playlist](ctx, alice, playlists, id))(t); p.Name != "y" {
		t.Errorf("got %+v", p)
	}
	// The watermark is the first one's, who alone can say what changed since.
	if _, err := count(); !errors.Is(err, coffer.Unavailable) {
		t.Errorf("another instance was asked: %v", err)
	}
	places["https://a2.example"].down = false
	if n, err := count(); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	places["https://a2.example"].down, places["https://b.example"].down = true, true
	_, err := alice.Put(ctx, playlists, 1, nil)
	want(t, err, coffer.Unavailable)
	_, err = dialed.Objects(ctx, alice.Owner(), &coffer.ObjectQuery{Interface: "Collections", Skip: "made up"})
	want(t, err, coffer.Invalid)
}

func FuzzEndpoints(f *testing.F) {
	for _, d := range somewhere {
		f.Add(d)
	}
	f.Fuzz(func(t *testing.T, document string) {
		known := documents{"did:x:user": document, "did:x:a": somewhere["did:x:a"]}
		list, err := hub.Endpoints(t.Context(), known, "did:x:user")
		if (err == nil) != (len(list) > 0) {
			t.Errorf("%d endpoints, %v", len(list), err)
		}
	})
}
