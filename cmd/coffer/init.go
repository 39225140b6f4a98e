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
	protector
}

// mainVault is the referenceId of the vault that an identity's devices share.
const mainVault = "main"

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
	if err := p.settle(ctx, made, ring); err != nil {
		return err
	}
	return p.result(struct {
		identity
		Protection string `json:"protection,omitempty"`
	}{newIdentity(p, made), protection}, identityText, made.DID, made.KeyAgreement, made.HMAC, made.Vault, made.Node,
		p.Profile)
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
func (p *program) settle(ctx context.Context, c *profile, ring *keyring.Ring) error {
	client, err := p.dial(c.Node, ring)
	if err != nil {
		return err
	}
	agreement, index := ring.Key(coffer.AgreementKey), ring.Key(coffer.HMACKey)
	found, err := client.FindVaults(ctx, mainVault)
	if err == nil && len(found) == 0 {
		var made *coffer.Config
		made, err = client.CreateVault(ctx, &coffer.Config{
			Controller: ring.DID(), ReferenceID: mainVault,
			KeyAgreementKey: &coffer.KeyRef{ID: agreement.ID, Type: agreement.Type},
			HMAC:            &coffer.KeyRef{ID: index.ID, Type: index.Type},
		})
		found = []*coffer.Config{made}
		if errors.Is(err, coffer.Conflict) { // another device was faster
			found, err = client.FindVaults(ctx, mainVault)
		}
	}
	if err != nil {
		return explain(err, "", "the node gives no vault")
	}
	if len(found) != 1 || found[0].Controller != ring.DID() || !strings.HasPrefix(found[0].ID, c.Node+"/edvs/") {
		return failed(coffer.Corrupt, "do not use this node", "the node's answer makes no sense")
	}
	c.DID, c.KeyAgreement, c.HMAC, c.Vault = ring.DID(), agreement.ID, index.ID, found[0].ID
	return p.saveProfile(c)
}
