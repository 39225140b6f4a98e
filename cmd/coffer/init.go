package main

import (
	"context"
	"errors"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/keyring"
)

type initCommand struct {
	Node    string `required:"" placeholder:"URL" help:"The node that is to keep the vault."`
	Keyring string `placeholder:"FILE" help:"Take over the identity in a keyring file of another device."`
	KeyFile string `placeholder:"FILE" help:"Key file that protects that keyring, if any. Default: the one beside it."`

	AsMyself bool `help:"Let the node know you by your identity, as nodes demand that admit people by name."`
	protector
}

// mainVault is the referenceId of the vault that an identity's devices share.
const mainVault = "main"

// asMyself is the space of a vault that the provider knows to be the person's.
const asMyself = "main"

// spaceAt returns the space of the vault at a node. Nodes, and who compares what they know, cannot tell that the
// vaults of two spaces are one person's.
func spaceAt(node string) string { return "main " + node }

// Run creates or takes over an identity and finds or makes its vault. An interrupted run can be repeated.
func (c *initCommand) Run(ctx context.Context, p *program) error {
	l, err := p.places()
	if err != nil {
		return err
	}
	switch there, err := exists(l.config); {
	case err != nil:
		return explain(err, "", "cannot look for the profile")
	case there:
		return failed(coffer.Conflict, "take another one with --profile NAME",
			"there is an identity in profile %s already", p.Profile)
	}
	made := &profile{Node: strings.TrimSuffix(c.Node, "/")}
	made.Space = spaceAt(made.Node)
	if c.AsMyself {
		made.Space = asMyself
	}
	nobody := keyring.Generate()
	defer nobody.Close()
	if _, err := p.dial(made.Node, nobody); err != nil { // before there are keys for nothing
		return err
	}
	ring, protection, err := c.identity(ctx, p, l)
	if err != nil {
		return err
	}
	defer ring.Close()
	if err := p.settle(ctx, made, ring, c.Keyring != ""); err != nil {
		return err
	}
	return p.result(struct {
		identity
		Protection string `json:"protection,omitempty"`
	}{newIdentity(p, made), protection}, "%s", made.text(p.Profile))
}

// identity returns the profile's keyring: one that an interrupted run made, one taken over, or a new one. It says what
// protects it, if that was decided here.
func (c *initCommand) identity(ctx context.Context, p *program, l places) (*keyring.Ring, string, error) {
	there, err := exists(l.keyring)
	switch {
	case err != nil:
		return nil, "", explain(err, "", "cannot look for keys")
	case there && c.Keyring != "":
		return nil, "", failed(coffer.Conflict, "take another profile with --profile NAME, or run it without --keyring",
			"there are keys in profile %s already", p.Profile)
	case there:
		ring, err := p.openKeyring(ctx)
		return ring, "", err
	}
	var ring *keyring.Ring
	var passphrase []byte
	if c.Keyring != "" {
		key := c.KeyFile
		if key == "" {
			key = keyFile(c.Keyring)
		}
		if ring, passphrase, err = p.unlock(ctx, c.Keyring, key); err != nil {
			return nil, "", err
		}
	} else {
		ring = keyring.Generate()
	}
	protection, err := c.save(ctx, p, ring, passphrase)
	if err != nil {
		return nil, "", errors.Join(err, ring.Close())
	}
	return ring, protection, nil
}

// settle finds or makes the identity's vault on the profile's node, and writes the profile.
func (p *program) settle(ctx context.Context, c *profile, ring *keyring.Ring, takenOver bool) error {
	c.DID = ring.DID()
	controller, err := c.controller(ctx, ring)
	if err != nil {
		return explain(err, "", "cannot use the keys")
	}
	client, err := p.dial(c.Node, controller)
	if err != nil {
		return err
	}
	agreement, index := controller.Key(coffer.AgreementKey), controller.Key(coffer.HMACKey)
	found, err := client.FindVaults(ctx, mainVault)
	if err == nil && len(found) == 0 {
		var made *coffer.Config
		made, err = client.CreateVault(ctx, &coffer.Config{
			Controller: controller.DID(), ReferenceID: mainVault,
			KeyAgreementKey: &coffer.KeyRef{ID: agreement.ID, Type: agreement.Type},
			HMAC:            &coffer.KeyRef{ID: index.ID, Type: index.Type},
		})
		found = []*coffer.Config{made}
		switch {
		case errors.Is(err, coffer.Conflict): // another device was faster
			found, err = client.FindVaults(ctx, mainVault)
		case err == nil && takenOver && c.pseudonymous():
			p.note("The identity had no vault of its own there: this one is new. If it has one that the node knows to be " +
				"yours, made by an earlier version or with --as-myself, give --as-myself.")
		}
	}
	if kind := kindOf(err); err != nil && c.pseudonymous() && (kind == coffer.Denied || kind == coffer.NotExist) {
		return explain(err, "if it admits people by name, tell them your identity ("+ring.DID()+") and give --as-myself",
			"the node gives no vault")
	}
	if err != nil {
		return explain(err, "", "the node gives no vault")
	}
	if len(found) != 1 || found[0].Controller != controller.DID() || !strings.HasPrefix(found[0].ID, c.Node+"/edvs/") {
		return failed(coffer.Corrupt, "do not use this node", "the node's answer makes no sense")
	}
	c.KeyAgreement, c.HMAC = ring.Key(coffer.AgreementKey).ID, ring.Key(coffer.HMACKey).ID
	c.Vault = found[0].ID
	if c.LogKey, err = logKey(ctx, client); err != nil {
		return err
	}
	return p.saveProfile(c)
}
