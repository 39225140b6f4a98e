package main

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// contactCommand is "coffer contact".
type contactCommand struct {
	Add contactAddCommand `cmd:"" help:"Keep somebody's card, so that you can share with them."`
	Ls  contactLsCommand  `cmd:"" help:"List your contacts."`
	Rm  contactRmCommand  `cmd:"" help:"Forget a contact with whom nothing is shared."`
}

type contactAddCommand struct {
	Card string `arg:"" help:"The card that \"coffer whoami --card\" writes there; or a file that holds it; - is standard input."`
	Name string `placeholder:"NAME" help:"What you call them. Default: what the card says."`
}

// Help says more.
func (contactAddCommand) Help() string {
	return `A card is public, and signed. Let them read you their identity by telephone if it matters who they are.

Examples:
  coffer contact add "coffer-card:AbC…" --name Bob
  coffer contact add bob.card
  ssh bob.example coffer whoami --card | coffer contact add -`
}

type contactLsCommand struct{}

type contactRmCommand struct {
	Who string `arg:"" help:"Name or identifier."`
}

// A contact is how results describe one.
type contact struct {
	DID  string `json:"did"`
	Name string `json:"name,omitempty"`
	Card string `json:"card"`
}

// Run keeps a card.
func (c *contactAddCommand) Run(ctx context.Context, p *program) error {
	card, err := p.text(ctx, c.Card, cardPrefix, isCard)
	if err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	added, err := o.addContact(ctx, card, c.Name)
	if err != nil {
		return err
	}
	o.hint(ctx)
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(contact{added.DID, added.Name, added.Card}, "added %s  %s", printable(added.Name), printable(added.DID))
}

// Run lists the contacts by name.
func (contactLsCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	var all []*agent.Contact
	for c, err := range o.Contacts(ctx) {
		if err != nil {
			return explain(err, "", "cannot list the contacts")
		}
		all = append(all, c)
	}
	slices.SortFunc(all, func(a, b *agent.Contact) int { return strings.Compare(a.Name+"\x00"+a.DID, b.Name+"\x00"+b.DID) })
	t := p.table()
	for _, c := range all {
		if err := t.row(contact{c.DID, c.Name, c.Card}, c.Name, c.DID); err != nil {
			return err
		}
	}
	return t.flush()
}

// Run forgets a contact.
func (c *contactRmCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	who, err := o.contact(ctx, c.Who)
	if err != nil {
		return err
	}
	err = o.RemoveContact(ctx, who.DID)
	if errors.Is(err, coffer.Conflict) {
		return failed(coffer.Conflict, `take it back first: coffer revoke --with "`+c.Who+`"`,
			"something is shared with %s", c.Who)
	}
	if err != nil {
		return explain(err, "", "cannot forget %s", c.Who)
	}
	o.hint(ctx)
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		Removed string `json:"removed"`
	}{who.DID}, "forgot %s", printable(c.Who))
}

// cardPrefix is what cards begin with.
const cardPrefix = "coffer-card:"

func isCard(s string) bool { return strings.HasPrefix(strings.TrimSpace(s), cardPrefix) }

// addContact keeps a card.
func (o *owner) addContact(ctx context.Context, card, name string) (*agent.Contact, error) {
	c, err := o.AddContact(ctx, card, name)
	return c, explain(err, `ask for it again, and take all of what "coffer whoami --card" writes there`,
		"the card cannot be used")
}

// contact returns the contact with a name or an identifier. A card is added first.
func (o *owner) contact(ctx context.Context, who string) (*agent.Contact, error) {
	if isCard(who) {
		return o.addContact(ctx, who, "")
	}
	c, err := o.Contact(ctx, who)
	switch {
	case errors.Is(err, coffer.NotExist):
		return nil, failed(coffer.NotExist, `add the card that "coffer whoami --card" writes there: coffer contact add CARD`,
			"there is no contact %s", who)
	case errors.Is(err, coffer.Conflict):
		return nil, failed(coffer.Conflict, `give the identifier, as "coffer contact ls" shows it`,
			"several contacts are called %s", who)
	}
	return c, explain(err, "", "cannot look for %s", who)
}

// contacts is contact for several, each once.
func (o *owner) contacts(ctx context.Context, who []string) (list []*agent.Contact, err error) {
	for _, w := range who {
		c, err := o.contact(ctx, w)
		if err != nil {
			return nil, err
		}
		if c.DID == o.ring.DID() {
			return nil, failed(coffer.Invalid, "", "%s is you", w)
		}
		if !slices.ContainsFunc(list, func(l *agent.Contact) bool { return l.DID == c.DID }) {
			list = append(list, c)
		}
	}
	return list, nil
}

// callName returns what the owner calls somebody: the name of the contact, or else the identifier.
func (o *owner) callName(ctx context.Context, did string) string {
	if o.names == nil {
		o.names = make(map[string]string)
		for c, err := range o.Contacts(ctx) {
			if err != nil {
				break
			}
			o.names[c.DID] = c.Name
		}
	}
	if name := o.names[did]; name != "" {
		return name
	}
	return did
}
