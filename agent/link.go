package agent

import (
	"context"
	"encoding/base64"
	"errors"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A delivery is all that a reader needs of a grant. As text it is a link: "coffer:" and the base64url of the delivery's
// JSON, padded, sealed to the reader (doc/objects.md, section "Links").
type delivery struct {
	Type        string            `json:"type"`
	Version     int               `json:"version"`
	Vault       string            `json:"vault"` // the vault's URL
	Grant       string            `json:"grant"`
	From        string            `json:"from"` // identifier of the owner
	To          string            `json:"to"`   // identifier of the reader
	Name        string            `json:"name"`
	Folder      bool              `json:"folder,omitzero"`
	Ref         refJSON           `json:"ref"`
	Actions     []grant.Action    `json:"actions"`
	Since       time.Time         `json:"since"`
	Until       time.Time         `json:"until"`
	Seed        base64url         `json:"seed"`       // of the reader's pseudonym for this grant
	Capability  jsontext.Value    `json:"capability"` // delegated to the pseudonym
	Box         refJSON           `json:"box"`        // where later keys are
	Slot        int               `json:"slot"`
	Above       []coffer.ObjectID `json:"above,omitempty"` // the folders that hold it
	Certificate *certificate      `json:"certificate,omitempty"`
	Former      []string          `json:"former,omitempty"` // statements of what the owner was called before
	Statement   base64url         `json:"statement,omitempty"`
}

const (
	deliveryType    = "coffer/delivery"
	deliveryVersion = 2
	deliveryInfo    = "coffer delivery 2"
	linkScheme      = "coffer:"
	maxLink         = 64 << 10 // bytes of a link's text
	linkUnit        = 2048     // a delivery is padded to a multiple of so many bytes
)

func (d *delivery) statement() ([]byte, error) {
	c := *d
	c.Statement = nil
	return signable("delivery", c)
}

// link returns the link of a grant.
func (v *view) link(ctx context.Context, g *grantRecord, name string, ref seal.Ref, chain []tree.Node,
	to []byte) (string, error) {
	a := v.a
	if !g.writes() {
		ref.Write = seal.WriteKey{}
	}
	_, seed, capability, err := a.capability(ctx, g)
	if err != nil {
		return "", err
	}
	box, err := a.numbered(ctx, "box", g.Box)
	if err != nil {
		return "", err
	}
	box.Write = seal.WriteKey{}
	d := &delivery{
		Type: deliveryType, Version: deliveryVersion, Vault: a.URL, Grant: g.ID, From: a.Keyring.DID(), To: g.With,
		Name: name, Folder: g.Folder, Ref: newRefJSON(ref), Actions: g.Actions, Since: g.Since, Until: g.Until,
		Seed: seed, Capability: capability, Box: newRefJSON(box), Slot: g.Slot,
	}
	for _, n := range chain[:len(chain)-1] {
		d.Above = append(d.Above, n.Ref.ID)
	}
	if g.writes() {
		c := &certificate{Grant: g.ID, Scope: g.Scope, Writer: g.With, Until: g.Until, By: a.Keyring.DID()}
		if c.Statement, err = a.sign(ctx, c); err != nil {
			return "", err
		}
		d.Certificate = c
	}
	if d.Former, err = a.successions(); err != nil {
		return "", err
	}
	if d.Statement, err = a.sign(ctx, d); err != nil {
		return "", err
	}
	return sealLink(d, to)
}

func sealLink(d *delivery, to []byte) (string, error) {
	b, err := jose.Encode(d)
	if err != nil {
		return "", coffer.E("link", coffer.Invalid, err)
	}
	if b, err = seal.PadDelivery(b, (len(b)/linkUnit+1)*linkUnit); err != nil {
		return "", err
	}
	sealed, err := seal.Deliver(to, []byte(deliveryInfo), b)
	if err != nil {
		return "", err
	}
	return linkScheme + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// An Invitation is what somebody else shared, out of a link that was meant for this keyring.
type Invitation struct {
	Vault      string // URL of the vault that it is in
	From       string // identifier of who shares; its signature has been verified
	Name       string // what it was called
	Folder     bool
	Actions    []grant.Action
	Since      time.Time
	Until      time.Time
	Capability []byte         // for what is held in the vault; to be invoked by Reader
	Reader     coffer.Keyring // the pseudonym that the vault knows the reader by

	d *delivery
}

// IsLink reports whether a text looks like a link.
func IsLink(text string) bool { return strings.HasPrefix(strings.TrimSpace(text), linkScheme) }

// OpenLink reads a link; white space around and in it, as mail programs leave it, is passed over. Invalid when it is no
// link, Denied when it is for somebody else, Corrupt when it is not signed by whom it names.
func (a *Agent) OpenLink(ctx context.Context, text string) (*Invitation, error) {
	const op = "link"
	encoded, ok := strings.CutPrefix(strings.Join(strings.Fields(text), ""), linkScheme)
	if len(text) > maxLink || !ok {
		return nil, coffer.Errorf(op, coffer.Invalid, "no link, or too long")
	}
	sealed, ok := jose.Decode64(encoded)
	if !ok {
		return nil, coffer.Errorf(op, coffer.Invalid, "no link, or a part of it is missing")
	}
	b, err := a.Keyring.Receive(ctx, []byte(deliveryInfo), sealed)
	if errors.Is(err, coffer.Corrupt) {
		return nil, coffer.Errorf(op, coffer.Denied, "it is for somebody else, or a part of it is missing")
	} else if err != nil {
		return nil, err
	}
	var d delivery
	if b, err = seal.UnpadDelivery(b); err != nil {
		return nil, err
	}
	if err := jose.DecodeOpen(b, &d); err != nil || d.Type != deliveryType || d.Version < 1 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "not what a link holds")
	}
	if d.Version != deliveryVersion {
		return nil, coffer.Errorf(op, coffer.Invalid, "made by a newer program")
	}
	if err := a.signedBy(ctx, d.From, &d, d.Statement); err != nil {
		return nil, err
	}
	return a.invitation(&d)
}

func (a *Agent) invitation(d *delivery) (*Invitation, error) {
	const op = "link"
	if d.To != a.Keyring.DID() && !a.former(d.To) {
		return nil, coffer.Errorf(op, coffer.Denied, "it is for somebody else")
	}
	c, err := grant.ParseCapability(d.Capability)
	if err != nil || c.RootTarget() != d.Vault || c.Target() != d.Vault+"/held" || len(d.Seed) != 32 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "its capability is for something else")
	}
	reader := bearer(d.Seed)
	return &Invitation{
		Vault: d.Vault, From: d.From, Name: d.Name, Folder: d.Folder, Actions: d.Actions, Since: d.Since, Until: d.Until,
		Capability: d.Capability, Reader: reader, d: d,
	}, nil
}
