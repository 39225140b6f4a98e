package agent_test

import (
	"testing"

	"github.com/cofferhq/coffer/agent"
)

// Whoever asks says what to call it, but not what the owner calls a contact.
func TestAskingKeepsTheName(t *testing.T) {
	at := provider(t)
	alice, bob := newPerson(t, at, "alice"), newPerson(t, at, "bob")
	ctx, door := t.Context(), &door{t, at}
	put(t, alice.Agent, "note", []byte("1"))
	card, err := bob.ring.Card(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := alice.AddContact(ctx, card, "Bob"); err != nil {
		t.Fatal(err)
	}
	name, err := alice.Name(ctx, "note", "")
	if err != nil {
		t.Fatal(err)
	}
	page, err := bob.OpenName(ctx, name, door)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := bob.Ask(ctx, page, agent.AskOptions{Name: "Mother"}, door); err != nil {
		t.Fatal(err)
	}
	for r, err := range alice.Requests(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := alice.Grant(ctx, r, agent.ShareOptions{}, ""); err != nil {
			t.Fatal(err)
		}
	}
	c, err := alice.Contact(ctx, bob.ring.DID())
	if err != nil {
		t.Fatal(err)
	}
	if c.Name != "Bob" {
		t.Errorf("the contact is called %q now", c.Name)
	}
}
