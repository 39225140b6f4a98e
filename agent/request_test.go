package agent_test

import (
	"context"
	"slices"
	"testing"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/coffertest"
)

// A door leads to vaults in this process, as the wire does to others.
type door struct {
	t  testing.TB
	at *coffertest.Vaults
}

func (d *door) id(url string) coffer.VaultID {
	id, err := coffer.ParseVaultID(url[len(coffertest.Origin+"/edvs/"):])
	if err != nil {
		d.t.Fatal(err)
	}
	return id
}

func (d *door) Open(ctx context.Context, url string, id coffer.ObjectID, secret coffer.Secret) (*coffer.Document, error) {
	return d.at.As(d.at.Caller(d.t, coffertest.Person(d.t, "nobody"), url, nil), d.id(url)).Opened(ctx, id, secret)
}

func (d *door) Drop(ctx context.Context, url string, by coffer.Keyring, capability []byte, m *coffer.Document) error {
	return d.at.As(d.at.Caller(d.t, by, url, capability), d.id(url)).Drop(ctx, m)
}

func TestAsking(t *testing.T) {
	at := provider(t)
	alice, bob, carol := newPerson(t, at, "alice"), newPerson(t, at, "bob"), newPerson(t, at, "carol")
	ctx, door := t.Context(), &door{t, at}
	if _, err := agent.Put(ctx, alice.Agent, "health/record", struct {
		Blood  string `json:"blood"`
		Secret string `json:"secret"`
	}{"A+", "no"}); err != nil {
		t.Fatal(err)
	}
	name, err := alice.Name(ctx, "health/record", "Alice's health")
	if err != nil {
		t.Fatal(err)
	}
	if len(name) > 400 {
		t.Errorf("a name of %d bytes is too long for a QR code", len(name))
	}
	ask := func(p *person, o agent.AskOptions) string {
		t.Helper()
		page, err := p.OpenName(ctx, name, door)
		if err != nil {
			t.Fatal(err)
		}
		if page.Title != "Alice's health" || page.Owner != alice.ring.DID() {
			t.Errorf("page %q of %s", page.Title, page.Owner)
		}
		id, err := p.Ask(ctx, page, o, door)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	ask(bob, agent.AskOptions{Reason: "surgery", Fields: []string{"blood"}, Name: "Dr. Bob"})
	ask(carol, agent.AskOptions{Reason: "curious"})
	if err := alice.Move(ctx, "health", "archive"); err != nil {
		t.Fatal(err)
	}
	answer := func(p *person) agent.Answer {
		t.Helper()
		for a, err := range p.Answers(ctx, door) {
			if err != nil {
				t.Fatal(err)
			}
			return a
		}
		t.Fatal("nothing was asked")
		panic("")
	}
	if !answer(bob).Waiting {
		t.Error("answered before anybody did")
	}
	var all []*agent.Request
	for r, err := range alice.device(t, nil).Requests(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, r)
	}
	if len(all) != 2 {
		t.Fatalf("%d requests, want 2", len(all))
	}
	for _, r := range all {
		if r.Path != "archive/record" {
			t.Errorf("asked for %s", r.Path)
		}
		switch r.From {
		case bob.ring.DID():
			if r.Reason != "surgery" || r.Name != "Dr. Bob" || !slices.Equal(r.Fields, []string{"blood"}) {
				t.Errorf("request %+v", r)
			}
			if _, err := alice.Grant(ctx, r, agent.ShareOptions{Fields: r.Fields}, "here"); err != nil {
				t.Fatal(err)
			}
		case carol.ring.DID():
			if err := alice.Refuse(ctx, r, "no"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if a := answer(carol); a.Waiting || a.Link != "" || a.Message != "no" {
		t.Errorf("answer %+v", a)
	}
	got := answer(bob)
	if got.Link == "" {
		t.Fatalf("answer %+v", got)
	}
	g := bob.guest(t, got.Link)
	if b := get(t, g, ""); string(b) != `{"blood":"A+"}` {
		t.Errorf("got %s", b)
	}
	// What is granted of an object follows it.
	if _, err := alice.Agent.Put(ctx, "archive/record", agent.Source{Value: []byte(`{"blood":"B-","secret":1}`), Type: "x"},
		agent.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if b := get(t, g, ""); string(b) != `{"blood":"B-"}` {
		t.Errorf("got %s", b)
	}
	for r, err := range alice.Requests(ctx) {
		t.Errorf("a request is left: %+v, %v", r, err)
	}
	var id string
	for n, err := range alice.Names(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		id = n.ID
	}
	if err := alice.Unname(ctx, id); err != nil {
		t.Fatal(err)
	}
	_, err = carol.OpenName(ctx, name, door)
	expect(t, err, coffer.NotExist)
}
