package agent

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"iter"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// A Contact is somebody with whom things can be shared: a person, a service, any holder of keys.
type Contact struct {
	DID      string
	Name     string // what the owner calls the contact; may be empty
	Card     string // the contact's card, as it was given
	Delivery []byte // the public key that keys are delivered to

	former bool // DID is what the contact was called before
}

// A Group is several contacts who are shared with as one.
type Group struct {
	Name    string   `json:"name"`
	Members []string `json:"members"` // identifiers of contacts
}

const (
	contactType   = "Contact"
	groupType     = "Group"
	contactFolder = reserved + "/contacts"
	groupFolder   = reserved + "/groups"
)

type contactJSON struct {
	DID  string `json:"did"`
	Name string `json:"name,omitzero"`
	Card string `json:"card"`
	// Succession says that the card's holder is the contact, under another identifier.
	Succession string `json:"succession,omitzero"`
}

// recordPath returns where the agent keeps an object of its own about something.
func recordPath(folder, about string) string {
	sum := sha256.Sum256([]byte(about))
	return folder + "/" + base64.RawURLEncoding.EncodeToString(sum[:16])
}

// AddContact keeps a card under a name, in the place of the one that its holder had before. After the card there may
// stand statements of succession, set off by white space: a contact that had the earlier name goes on under the new one,
// with its name and all that is shared with it. Invalid for what is no card,
// or one that its holder did not sign.
func (a *Agent) AddContact(ctx context.Context, card, name string) (*Contact, error) {
	card, statements := splitCard(card)
	c, err := keyring.ParseCard(card)
	if err != nil {
		return nil, err
	}
	if err := a.knownKey(ctx, c.DID, c.Signing); err != nil {
		return nil, err
	}
	if name == "" {
		name = c.Name
	}
	if len(name) > maxText || strings.HasPrefix(name, "did:") {
		return nil, coffer.Errorf("contact", coffer.Invalid, "a name is too long, or looks like an identifier")
	}
	if name, err = a.succeeded(ctx, c, card, name, statements); err != nil {
		return nil, err
	}
	b, err := jose.Encode(contactJSON{DID: c.DID, Name: name, Card: card})
	if err != nil {
		return nil, coffer.E("contact", coffer.Invalid, err)
	}
	_, err = a.put(ctx, recordPath(contactFolder, c.DID), Source{Value: b, Type: contactType}, PutOptions{})
	return &Contact{DID: c.DID, Name: name, Card: card, Delivery: c.Delivery.Public}, err
}

// knownKey checks that a key is one with which an identity signs.
func (a *Agent) knownKey(ctx context.Context, did string, key coffer.PublicKey) error {
	keys, err := a.signingKeys(ctx, did)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if string(k.Public) == string(key.Public) {
			return nil
		}
	}
	return coffer.Errorf("contact", coffer.Invalid, "the card is signed with a key that is not its holder's")
}

// Contact returns the contact with a name or an identifier. NotExist if there is none; Conflict if several have the
// name.
func (a *Agent) Contact(ctx context.Context, who string) (*Contact, error) {
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	if c, err := v.contact(ctx, who); !errors.Is(err, coffer.NotExist) {
		return c, err
	}
	var found *Contact
	for c, err := range a.Contacts(ctx) {
		if err != nil {
			return nil, err
		}
		if c.Name != who {
			continue
		}
		if found != nil {
			return nil, coffer.Errorf("contact", coffer.Conflict, "several contacts have this name")
		}
		found = c
	}
	if found == nil {
		return nil, coffer.Errorf("contact", coffer.NotExist, "no such contact")
	}
	return found, nil
}

// Contacts yields all contacts.
func (a *Agent) Contacts(ctx context.Context) iter.Seq2[*Contact, error] {
	return func(yield func(*Contact, error) bool) {
		v, err := a.look(ctx)
		if err != nil {
			yield(nil, err)
			return
		}
		for i, err := range v.list1(ctx, contactFolder) {
			if errors.Is(err, coffer.NotExist) {
				return
			}
			var c *Contact
			if err == nil {
				c, err = v.contactAt(ctx, i.Path)
			}
			if err == nil && c.former {
				continue
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}

// contact returns the contact with an identifier.
func (v *view) contact(ctx context.Context, did string) (*Contact, error) {
	v.acquaint(ctx)
	c, err := v.contactAt(ctx, recordPath(contactFolder, did))
	if err == nil && c.DID != did {
		return nil, coffer.Errorf("contact", coffer.Corrupt, "somebody else's")
	}
	return c, err
}

func (v *view) contactAt(ctx context.Context, path string) (*Contact, error) {
	var w contactJSON
	if err := v.value(ctx, path, &w); err != nil {
		return nil, err
	}
	card, err := keyring.ParseCard(w.Card)
	former := err == nil && card.DID != w.DID && succeeds(w.Succession, w.DID, card.DID)
	if err != nil || card.DID != w.DID && !former {
		return nil, coffer.Errorf("contact", coffer.Corrupt, "the card is not the contact's")
	}
	return &Contact{DID: w.DID, Name: w.Name, Card: w.Card, Delivery: card.Delivery.Public, former: former}, nil
}

// value reads one of the agent's own typed objects.
func (v *view) value(ctx context.Context, path string, into any) error {
	read := func(v *view) error { return v.valueNow(ctx, path, into) }
	err := read(v)
	if v.sealed == nil && v.a.torn(ctx, v.number, 0, err) {
		return v.a.steady(ctx, read)
	}
	return err
}

func (v *view) valueNow(ctx context.Context, path string, into any) error {
	n, err := v.tree.Get(ctx, path)
	if err != nil {
		return err
	}
	var r *revision
	if d := v.sealed[n.Ref.ID]; d != nil {
		r, err = v.a.open(ctx, n.Ref, v.a.mine, d)
	} else {
		r, err = v.own(ctx, n)
	}
	if err != nil {
		return err
	}
	c, err := decodeContent(r.opened.Content)
	if err != nil {
		return err
	}
	if err := jose.DecodeOpen(c.Value, into); err != nil {
		return coffer.Errorf("record", coffer.Corrupt, "one of the agent's own objects is not what it should be")
	}
	return nil
}

// RemoveContact forgets a contact. Conflict while something is shared with it.
func (a *Agent) RemoveContact(ctx context.Context, who string) error {
	c, err := a.Contact(ctx, who)
	if err != nil {
		return err
	}
	v, err := a.look(ctx)
	if err != nil {
		return err
	}
	list, err := v.grants(ctx)
	if err != nil {
		return err
	}
	for _, g := range list.all {
		if g.With == c.DID && g.lasts() {
			return coffer.Errorf("contact", coffer.Conflict, "something is shared with the contact")
		}
	}
	return a.remove(ctx, recordPath(contactFolder, c.DID), false)
}

// PutGroup keeps a group. Its members must be contacts; NotExist otherwise. It changes no grants: [Agent.ShareGroup]
// and [Agent.Revoke] do.
func (a *Agent) PutGroup(ctx context.Context, g Group) error {
	if g.Name == "" || len(g.Name) > maxText || len(g.Members) > maxReaders {
		return coffer.Errorf("group", coffer.Invalid, "no name, a too long one, or too many members")
	}
	for _, m := range g.Members {
		if _, err := a.Contact(ctx, m); err != nil {
			return err
		}
	}
	b, err := jose.Encode(g)
	if err != nil {
		return coffer.E("group", coffer.Invalid, err)
	}
	_, err = a.put(ctx, recordPath(groupFolder, g.Name), Source{Value: b, Type: groupType}, PutOptions{})
	return err
}

// Group returns the group with a name, or NotExist.
func (a *Agent) Group(ctx context.Context, name string) (g Group, err error) {
	v, err := a.look(ctx)
	if err != nil {
		return g, err
	}
	return g, v.value(ctx, recordPath(groupFolder, name), &g)
}

// Groups yields all groups.
func (a *Agent) Groups(ctx context.Context) iter.Seq2[Group, error] {
	return func(yield func(Group, error) bool) {
		v, err := a.look(ctx)
		if err != nil {
			yield(Group{}, err)
			return
		}
		for i, err := range v.list1(ctx, groupFolder) {
			if errors.Is(err, coffer.NotExist) {
				return
			}
			var g Group
			if err == nil {
				err = v.value(ctx, i.Path, &g)
			}
			if !yield(g, err) || err != nil {
				return
			}
		}
	}
}
