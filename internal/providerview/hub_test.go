package providerview

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	apihub "github.com/cofferhq/coffer/api/hub"
	"github.com/cofferhq/coffer/ident"
	"github.com/cofferhq/coffer/keyring"
)

// hub returns the hub of an owner at the provider, as the keyring's holder sees it.
func (p *provider) hub(ring *keyring.Ring, owner string) *hub.Hub {
	t := p.t
	t.Helper()
	resolver, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	said, err := apihub.Describe(t.Context(), nil, p.url+"/.identity")
	if err != nil {
		t.Fatal(err)
	}
	node, err := resolver.Resolve(t.Context(), said.Own())
	if err != nil {
		t.Fatal(err)
	}
	client, err := apihub.NewClient(apihub.ClientOptions{
		URL: p.url + "/.identity", Hub: node, Requester: apihub.KeyringRequester(ring), Key: resolver.MessageKey, Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	h, err := hub.Open(hub.Options{Hub: client, Owner: owner, Keyring: ring, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// TestUC45H09H19H20HubView plays a day at a hub: objects, private ones, a public one, a grant, a reader's query, a
// message and its reply; and then looks at the node. What people sealed shows nowhere, and nothing of all that shows on
// the disk or in the traffic (H-19, H-20).
func TestUC45H09H19H20HubView(t *testing.T) {
	t.Parallel()
	p, ctx := newProvider(t), t.Context()
	alice, bob := keyring.Generate(), keyring.Generate()
	own, other := p.hub(alice, ""), p.hub(bob, "")
	value, private, public, title, message, reply := random(), random(), random(), random(), random(), random()
	kind, secretKind, exposed, sealed := random(), random(), random(), random()

	open := hub.Kind{Context: "https://schema.example", Type: "T" + kind}
	hidden := hub.Kind{Context: "https://schema.example", Type: "S" + secretKind, Private: true}
	id, err := own.Put(ctx, open, map[string]string{"name": "n" + value}, &hub.PutOptions{Title: "t" + title})
	if err != nil {
		t.Fatal(err)
	}
	if err := own.Replace(ctx, open, id, map[string]string{"name": "m" + value}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := own.Put(ctx, hidden, map[string]string{"name": "p" + private}, nil); err != nil {
		t.Fatal(err)
	}
	notice := hub.Kind{Context: "https://schema.example", Type: "Notice"}
	if _, err := own.Publish(ctx, notice, map[string]string{"text": "o" + public}, nil); err != nil {
		t.Fatal(err)
	}
	for _, k := range []hub.Kind{open, hidden} {
		if _, err := own.Grant(ctx, hub.Permission{Grantee: bob.DID(), Kind: k, Allow: "-R--"}); err != nil {
			t.Fatal(err)
		}
	}
	// Who has a hub can be answered.
	if err := other.SetProfile(ctx, hub.Kind{Context: "https://schema.org", Type: "Person"}, map[string]string{"name": "Bob"}); err != nil {
		t.Fatal(err)
	}
	theirs := p.hub(bob, alice.DID())
	read := 0
	for _, q := range []struct {
		kind   hub.Kind
		filter string
	}{
		{open, ""}, {hidden, ""}, {notice, ""},
		{open, fmt.Sprintf("name:m%s AND NOT name:q%s", value, sealed)},
		{open, fmt.Sprintf("NOT meta.title:x%s", exposed)},
	} {
		for o, err := range theirs.Query(ctx, q.kind, &hub.QueryOptions{Filter: q.filter}) {
			if err != nil || o.Value == nil {
				t.Fatalf("%v, %v", o, err)
			}
			read++
		}
	}
	if read != 5 {
		t.Fatalf("%d objects read, want 5", read)
	}
	if _, err := theirs.Send(ctx, hub.Action{Type: "AskAction", Value: "m" + message}, nil); err != nil {
		t.Fatal(err)
	}
	for m, err := range own.Inbox(ctx, false) {
		if err != nil || !bytes.Contains(m.Value, []byte(message)) {
			t.Fatalf("%v, %v", m, err)
		}
		if _, err := own.Reply(ctx, p.hub(alice, bob.DID()), m, hub.Action{Type: "ReplyAction", Value: "r" + reply}, nil); err != nil {
			t.Fatal(err)
		}
	}
	answers := 0
	for _, err := range other.Inbox(ctx, false) {
		if err != nil {
			t.Fatal(err)
		}
		answers++
	}
	if answers != 1 {
		t.Fatalf("%d answers", answers)
	}

	p.tellsNobody()
	patterns := []Pattern{
		NewPattern("value of a sealed object", []byte(value)),
		NewPattern("value of a private object", []byte(private)),
		NewPattern("type of a private object", []byte(secretKind)),
		NewPattern("filter over sealed values", []byte(sealed)),
		NewPattern("message to a stranger", []byte(message)),
		NewPattern("reply to a message", []byte(reply)),
		NewPattern("type of an object in a hub", []byte(kind)),
		NewPattern("title of an object in a hub", []byte(title)),
		NewPattern("filter over what a hub sees", []byte(exposed)),
		NewPattern("value of a public object", []byte(public)),
		NewPattern("identifier of a hub's owner", []byte(alice.DID()[len("did:key:"):])),
		NewPattern("identifier of who asks a hub", []byte(bob.DID()[len("did:key:"):])),
		NewPattern("id of an object in a hub", []byte(id.String())),
	}
	if seen := p.look(patterns, "in a hub"); !seen["memory"]["identifier of a hub's owner"] {
		t.Error("what the hub must know is not found in memory: the search does not work")
	}
}

// tellsNobody looks at the form of all that was captured of hubs: each request, whoever asks and whosever hub is meant,
// and each answer differs from the others of its kind by its ciphertext and its length alone. So two identities of one
// person look like any two (H-21).
func (p *provider) tellsNobody() {
	t := p.t
	t.Helper()
	exchanges, err := p.recorder.Exchanges()
	if err != nil {
		t.Fatal(err)
	}
	// form names all of a message but its ciphertext. What each message has anew is random.
	form := func(h http.Header, body []byte) string {
		h = h.Clone()
		h.Del("Content-Length")
		h.Del("Date")
		parts := strings.Split(string(body), ".")
		b, err := base64.RawURLEncoding.DecodeString(parts[0])
		var head map[string]any
		if err != nil || len(parts) != 5 || json.Unmarshal(b, &head) != nil {
			t.Fatalf("no compact JWE in the traffic: %.200s", body)
		}
		if _, ok := head["epk"].(map[string]any); ok {
			head["epk"] = "random"
		}
		return fmt.Sprint(h, head)
	}
	requests, answers := make(map[string]int), make(map[string]int)
	for _, e := range exchanges {
		if e.Request.Method == http.MethodGet {
			continue // the description of the host
		}
		if e.Request.RequestURI != "/.identity" || e.Answer.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %d", e.Request.Method, e.Request.RequestURI, e.Answer.StatusCode)
		}
		requests[form(e.Request.Header, e.In)]++
		answers[form(e.Answer.Header, e.Out)]++
	}
	for what, forms := range map[string]map[string]int{"requests": requests, "answers": answers} {
		if len(forms) != 1 {
			t.Errorf("%d forms of %s:", len(forms), what)
		}
		for f, n := range forms {
			if t.Logf("%d %s: %s", n, what, f); n < 20 {
				t.Errorf("only %d %s of a form", n, what)
			}
		}
	}
}

// TestH22H45TwoInstances follows one object from its insertion: it gets an id and a wrapper with its key and
// cache-intent, it is encrypted for those with the right to read, and it is the same in another instance. It comes there
// by export and import: instances do not send each other objects by themselves. Then the first instance is killed, and
// who was at work there goes on at the other.
func TestH22H45TwoInstances(t *testing.T) {
	t.Parallel()
	p, ctx := newProvider(t), t.Context()
	alice, bob, carol := keyring.Generate(), keyring.Generate(), keyring.Generate()
	own := p.hub(alice, "")
	kind := hub.Kind{Context: "https://schema.org", Type: "Recipe"}
	read := hub.Permission{Grantee: bob.DID(), Kind: kind, Allow: "-R--"}
	create := hub.Permission{Grantee: carol.DID(), Kind: kind, Allow: "C---"}
	for _, give := range []hub.Permission{read, create} {
		if _, err := own.Grant(ctx, give); err != nil {
			t.Fatal(err)
		}
	}
	value := map[string]string{"name": "Soup " + random()}
	id, err := own.Put(ctx, kind, value, &hub.PutOptions{Meta: json.RawMessage(`{"cache-intent":"attr"}`)})
	if err != nil {
		t.Fatal(err)
	}
	wrapped := false
	var all []*coffer.Commit
	for c, err := range own.Export(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, c); c.Rev() != id {
			continue
		}
		var head struct {
			Meta struct {
				Intent string `json:"cache-intent"`
			}
		}
		var wrapper struct {
			Protected, IV, Ciphertext, Tag string
			Recipients                     []struct {
				Key string `json:"encrypted_key"`
			}
		}
		for text, into := range map[string]any{c.Protected: &head, c.Payload: &wrapper} {
			b, err := base64.RawURLEncoding.DecodeString(text)
			if err == nil {
				err = json.Unmarshal(b, into)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		wrapped = head.Meta.Intent == "attr" && len(wrapper.Recipients) == 1 && wrapper.Recipients[0].Key != "" &&
			wrapper.Protected != "" && wrapper.IV != "" && wrapper.Ciphertext != "" && wrapper.Tag != ""
		if !wrapped {
			t.Errorf("the wrapper is %+v, of %+v", wrapper, head)
		}
	}
	if !wrapped {
		t.Fatal("the id is not that of a commit")
	}

	second := newProvider(t)
	if n, err := second.hub(alice, "").Import(ctx, func(yield func(*coffer.Commit, error) bool) {
		for _, c := range all {
			if !yield(c, nil) {
				return
			}
		}
	}); err != nil || n != len(all) {
		t.Fatalf("%d of %d commits came to the other instance: %v", n, len(all), err)
	}
	for i, at := range []*provider{p, second} {
		for name, who := range map[string]*keyring.Ring{"Alice": alice, "Bob": bob} {
			got, err := hub.Get[map[string]string](ctx, at.hub(who, alice.DID()), kind, id)
			if err != nil || got["name"] != value["name"] {
				t.Errorf("%s reads at instance %d: %v, %v", name, i, got, err)
			}
		}
		_, err := hub.Get[map[string]string](ctx, at.hub(carol, alice.DID()), kind, id)
		if !errors.Is(err, coffer.Denied) && !errors.Is(err, coffer.NotExist) {
			t.Errorf("who may not read does at instance %d: %v", i, err)
		}
	}

	resolver, err := ident.New(ident.Options{})
	if err != nil {
		t.Fatal(err)
	}
	services := services{resolver, map[string]string{}}
	var instances []string
	for _, at := range []*provider{p, second} {
		said, err := apihub.Describe(ctx, nil, at.url+"/.identity")
		if err != nil {
			t.Fatal(err)
		}
		instances = append(instances, said.Own())
		services.of[said.Own()] = fmt.Sprintf(`{"locations":[%q]}`, said.Endpoint)
	}
	services.of[alice.DID()] = fmt.Sprintf(`{"instances":[%q,%q]}`, instances[0], instances[1])
	both, err := hub.Dial(ctx, services, alice.DID(), func(_ context.Context, e hub.Endpoint) (coffer.Hub, error) {
		return apihub.NewClient(apihub.ClientOptions{
			URL: e.URL, Hub: e.Host, Others: e.Others, Requester: apihub.KeyringRequester(alice), Key: resolver.MessageKey,
			Now: time.Now,
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	mine, err := hub.Open(hub.Options{Hub: both, Keyring: alice, Resolver: resolver})
	if err != nil {
		t.Fatal(err)
	}
	if err := mine.Replace(ctx, kind, id, map[string]string{"name": "first"}, nil); err != nil {
		t.Fatal(err)
	}
	p.stopped = true
	if err := p.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	p.cmd.Wait()
	got, err := hub.Get[map[string]string](ctx, mine, kind, id)
	if err != nil || got["name"] != value["name"] { // what was written last, the other was not sent
		t.Errorf("after the first was killed: %v, %v", got, err)
	}
	if err := mine.Replace(ctx, kind, id, map[string]string{"name": "second"}, nil); err != nil {
		t.Fatal(err)
	}
	got, err = hub.Get[map[string]string](ctx, second.hub(bob, alice.DID()), kind, id)
	if err != nil || got["name"] != "second" {
		t.Errorf("what was written after the first was killed: %v, %v", got, err)
	}
}

// services are a resolver of identities whose documents say of what hub service they are.
type services struct {
	coffer.Resolver
	of map[string]string // endpoints, by identifier
}

// Resolve implements [coffer.Resolver].
func (s services) Resolve(ctx context.Context, did string) (*coffer.Identity, error) {
	found, err := s.Resolver.Resolve(ctx, did)
	if err != nil {
		return nil, err
	}
	with := *found
	with.Document = []byte(`{"service":[{"type":"IdentityHub","serviceEndpoint":` + s.of[did] + `}]}`)
	return &with, nil
}
