package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/cofferhq/coffer/agent"
)

type whoamiCommand struct {
	Card bool   `help:"Write your contact card: what others need to share with you."`
	Name string `placeholder:"NAME" help:"What the card is to call you."`
}

// Run shows the identity, which needs no passphrase and no node, or writes its card.
func (c *whoamiCommand) Run(ctx context.Context, p *program) error {
	known, err := p.loadProfile()
	if err != nil {
		return err
	}
	if !c.Card && c.Name == "" {
		return p.result(newIdentity(p, known), "%s", known.text(p.Profile))
	}
	ring, err := p.openKeyring(ctx)
	if err != nil {
		return err
	}
	defer ring.Close()
	card, err := agent.CardText(ctx, ring, c.Name)
	if err != nil {
		return explain(err, "", "cannot make a card")
	}
	return p.result(struct {
		DID  string `json:"did"`
		Name string `json:"name,omitempty"`
		Card string `json:"card"`
	}{ring.DID(), c.Name, card}, "%s", card)
}

// An identity is how results describe the profile's.
type identity struct {
	DID          string `json:"did"`
	Controller   string `json:"controller"` // by which the provider knows the vault's owner
	KeyAgreement string `json:"keyAgreement"`
	HMAC         string `json:"hmac"`
	Vault        string `json:"vault"`
	Node         string `json:"node"`
	Hub          string `json:"hub"`
	Profile      string `json:"profile"`
}

func newIdentity(p *program, c *profile) identity {
	return identity{c.DID, c.controllerDID(), c.KeyAgreement, c.HMAC, c.Vault, c.Node, c.hub(), p.Profile}
}

// text describes the profile to a person.
func (c *profile) text(name string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "identity       %s\n", c.DID)
	if c.pseudonymous() {
		fmt.Fprintf(&b, "at the node    %s\n", c.Controller)
	} else {
		fmt.Fprintf(&b, "at the node    the same: it knows whose vault this is\n")
	}
	fmt.Fprintf(&b, "key agreement  %s\nindex key      %s\nvault          %s\nnode           %s\nhub            %s\n"+
		"profile        %s", c.KeyAgreement, c.HMAC, c.Vault, c.Node, c.hub(), name)
	return b.String()
}
