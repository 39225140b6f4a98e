package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// keysCommand is "coffer keys".
type keysCommand struct {
	Rotate     keysRotateCommand     `cmd:"" help:"Make new keys, and encrypt what there is anew under them."`
	Forget     keysForgetCommand     `cmd:"" help:"Drop keys that nothing is encrypted under any more."`
	Passphrase keysPassphraseCommand `cmd:"" help:"Change the passphrase of the keys on this device."`
	Protect    keysProtectCommand    `cmd:"" help:"Change what protects the keys on this device."`
}

type keysRotateCommand struct {
	Signing  bool `help:"The key that signs; your identifier is another one then, and your contacts need your new card."`
	Delivery bool `help:"The key that others send keys to; your contacts need your new card."`
	HMAC     bool `name:"hmac" help:"The key that blinds what the node can search for."`
	Vault    bool `help:"The secret that the vault is under."`
	All      bool `help:"All of them. This is the default."`
	Later    bool `help:"Leave encrypting anew to \"coffer work\"."`
}

// Help says more.
func (keysRotateCommand) Help() string {
	return `Your other devices find the new keys by themselves, and so does the recovery phrase. If it is interrupted, the
next command goes on with it. Readers whose shares last need new links if the vault's secret or the signing key was replaced:
they are written here, and by "coffer grants --links".

Examples:
  coffer keys rotate
  coffer keys rotate --hmac --later`
}

type keysForgetCommand struct {
	All bool `help:"The former signing and delivery keys, too: what others sent to them before opens no more."`
}

// Help says more.
func (keysForgetCommand) Help() string {
	return `After "coffer work" is done, nothing in the vault is under former keys. Other devices drop them, too.

Examples:
  coffer keys forget`
}

type keysPassphraseCommand struct {
	New string `placeholder:"FILE" help:"The new passphrase is the file's first line. Default: it is asked for."`
}

type keysProtectCommand struct {
	Passphrase bool   `xor:"by" required:"" help:"A passphrase."`
	Keychain   bool   `xor:"by" required:"" help:"This system's keychain."`
	Keyfile    bool   `xor:"by" required:"" help:"A key file beside the keys."`
	New        string `placeholder:"FILE" help:"The new passphrase is the file's first line. Default: it is asked for."`
}

// Run makes new keys and sees to it that all is under them.
func (c *keysRotateCommand) Run(ctx context.Context, p *program) error {
	var uses []keyring.Use
	for use, wanted := range map[keyring.Use]bool{
		keyring.Signing: c.Signing, keyring.Delivery: c.Delivery, keyring.HMAC: c.HMAC, keyring.Vault: c.Vault,
	} {
		if wanted {
			uses = append(uses, use)
		}
	}
	if c.All {
		uses = nil
	}
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	if o, err = o.rotate(ctx, uses...); err != nil {
		return err
	}
	defer o.close()
	if err := o.workNow(ctx, c.Later); err != nil {
		return err
	}
	return o.rotated(ctx)
}

// rotated says what came of a rotation.
func (o *owner) rotated(ctx context.Context) error {
	p := o.program
	if err := p.result(newIdentity(p, o.profile), "%s", o.profile.text(p.Profile)); err != nil {
		return err
	}
	return o.newLinks(ctx, "")
}

// newLinks writes new links of the shares that last, of what is in a folder.
func (o *owner) newLinks(ctx context.Context, folder string) error {
	shares, err := o.Links(ctx)
	if err != nil {
		return explain(err, "", "cannot make new links")
	}
	shares = slices.DeleteFunc(shares, func(s agent.Share) bool {
		return folder != "" && s.Path != folder && !strings.HasPrefix(s.Path, folder+"/")
	})
	return o.links(ctx, shares)
}

// rotate makes new keys, for all uses if none is named, and returns the owner that has them. The old one is closed.
func (o *owner) rotate(ctx context.Context, uses ...keyring.Use) (*owner, error) {
	var next *keyring.Ring
	_, err := o.Rotate(ctx, func(r *keyring.Ring) error {
		next = r
		return o.program.replaceKeyring(r)
	}, uses...)
	if err != nil {
		o.close()
		return nil, explain(err, "", "cannot make new keys")
	}
	return o.reopen(ctx, next)
}

// reopen returns the owner with another keyring, and closes the old one.
func (o *owner) reopen(ctx context.Context, ring *keyring.Ring) (*owner, error) {
	o.left()
	if ring != o.ring {
		_ = o.ring.Close()
	}
	next, err := o.program.owner(ctx, o.profile, ring, o.Workers)
	if err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	return o.program.current(ctx, next, o.Workers)
}

// generationsText names the generations of keys that there are.
func generationsText(r *keyring.Ring) string {
	list := make([]string, 0, 4)
	for _, use := range []keyring.Use{keyring.Signing, keyring.Delivery, keyring.HMAC, keyring.Vault} {
		n := r.Generations(use)
		oldest := n - 1
		for oldest > 0 {
			if _, err := r.At(use, oldest-1); err != nil {
				break
			}
			oldest--
		}
		list = append(list, fmt.Sprintf("%d-%d", oldest, n-1))
	}
	return strings.Join(list, " ")
}

// onlyGenerations is generationsText of keys that were never rotated.
const onlyGenerations = "0-0 0-0 0-0 0-0"

// current goes on with what is left of a rotation, on this device or another one, and returns the owner that has the
// newest keys. Without rotations and other devices it asks the node nothing.
func (p *program) current(ctx context.Context, o *owner, workers int) (*owner, error) {
	known := o.profile.Keys
	if known == "" {
		known = onlyGenerations
	}
	over := o.profile.Pairing != "" && p.now().After(o.profile.PairingUntil)
	if o.profile.Place == "" && known == generationsText(o.ring) && !over {
		return o, nil
	}
	stop := func(err error) (*owner, error) {
		o.close()
		return nil, err
	}
	_, err := o.Stale(ctx)
	if kind := kindOf(err); kind == coffer.NotExist || kind == coffer.Denied || kind == coffer.Corrupt {
		if found, e := o.otherController(ctx); e != nil {
			return stop(e)
		} else if found {
			return o.reopen(ctx, o.ring)
		}
		next, e := o.catchUp(ctx)
		if e != nil {
			return stop(e)
		}
		if next != nil {
			return o.reopen(ctx, next)
		}
	}
	if err != nil {
		return stop(explain(err, "if this device was removed, pair it again on another one: coffer device pair",
			"cannot use the vault"))
	}
	all, err := o.controllers(ctx)
	if err != nil {
		return stop(explain(err, "", "cannot use the keys"))
	}
	done, err := o.Settle(ctx, all[0], o)
	if err != nil {
		return stop(explain(err, "the next command goes on", "the new keys are not in use everywhere yet"))
	}
	if done.Handed {
		o.profile.Controller = all[0].DID()
		if err := p.saveProfile(o.profile); err != nil {
			return stop(err)
		}
		o.left()
		next, err := p.owner(ctx, o.profile, o.ring, workers)
		if err != nil {
			return nil, errors.Join(err, o.ring.Close())
		}
		o = next
	}
	if done.Moved || done.Handed {
		if err := o.RenewNames(ctx); err != nil {
			return stop(explain(err, "", "cannot renew what can be asked for"))
		}
	}
	if over {
		if id, err := coffer.ParseObjectID(o.profile.Pairing); err == nil {
			if err := o.Withdraw(ctx, id); err != nil {
				return stop(explain(err, "", "cannot erase what was left for a device"))
			}
		}
		o.profile.Pairing = ""
	}
	if now := generationsText(o.ring); over || now != known || o.profile.DID != o.ring.DID() {
		o.profile.Keys, o.profile.DID = now, o.ring.DID()
		o.profile.KeyAgreement, o.profile.HMAC = o.ring.Key(coffer.AgreementKey).ID, o.ring.Key(coffer.HMACKey).ID
		if err := p.saveProfile(o.profile); err != nil {
			return stop(err)
		}
	}
	return o, nil
}

// former returns the owner under the identifier by which the provider knows it: the present one, or, while keys are
// being rotated, one before.
func (c *profile) former(ring *keyring.Ring) (coffer.Keyring, error) {
	if c.Controller == "" || c.Controller == ring.DID() {
		return ring, nil
	}
	for n := ring.Generations(keyring.Signing) - 2; n >= 0; n-- {
		k, err := ring.At(keyring.Signing, n)
		if err != nil {
			return nil, err
		}
		if k.DID() == c.Controller {
			return k, nil
		}
	}
	return nil, coffer.Errorf("keyring", coffer.NotExist, "the keys that control the vault are not in it")
}

// controllers returns by whom the node may know the owner, the one first by whom it should.
func (o *owner) controllers(ctx context.Context) ([]coffer.Keyring, error) {
	label := "vault " + o.profile.Space
	if o.profile.Space == "" || o.profile.Space == asMyself {
		label = ""
	}
	return agent.Controllers(ctx, o.ring, label)
}

// otherController finds out by whom else the node knows the owner, and reports whether it found one.
func (o *owner) otherController(ctx context.Context) (bool, error) {
	all, err := o.controllers(ctx)
	if err != nil {
		return false, err
	}
	for _, k := range all {
		if k.DID() == o.controller.DID() {
			continue
		}
		client, err := o.program.dial(o.profile.Node, k)
		if err != nil {
			return false, err
		}
		vault, err := client.Vault(o.profile.Vault)
		if err != nil {
			return false, err
		}
		if _, err := vault.Config(ctx); err == nil {
			o.profile.Controller = k.DID()
			return true, o.program.saveProfile(o.profile)
		} else if kind := kindOf(err); kind != coffer.NotExist && kind != coffer.Denied {
			return false, explain(err, "", "cannot use the vault")
		}
	}
	return false, nil
}

// catchUp takes the keys that another device left for this one, and puts them into the file; nil if there are none.
func (o *owner) catchUp(ctx context.Context) (*keyring.Ring, error) {
	if o.profile.Place == "" {
		return nil, nil
	}
	next, err := agent.CatchUp(ctx, nodes{o.program}, o.profile.Vault, o.ring, o.profile.Place)
	switch kindOf(err) {
	case coffer.NotExist:
		return nil, nil
	case coffer.Conflict:
		return nil, explain(err, "add this one again from the other: coffer device pair", "two devices made new keys at once")
	}
	if err != nil {
		return nil, explain(err, "", "cannot take the new keys")
	}
	if err := o.program.replaceKeyring(next); err != nil {
		return nil, errors.Join(err, next.Close())
	}
	// Who controls the vault now follows from the new keys.
	o.profile.Controller = ""
	o.program.note("The keys were replaced on another device: this one has the new ones now.")
	return next, nil
}

// Configure implements [agent.Configurer].
func (o *owner) Configure(ctx context.Context, controller string) error {
	c, err := o.vault.Config(ctx)
	if err != nil {
		return err
	}
	all, err := o.controllers(ctx)
	if err != nil {
		return err
	}
	c.Sequence++
	c.Controller = controller
	agreement, index := all[0].Key(coffer.AgreementKey), all[0].Key(coffer.HMACKey)
	c.KeyAgreementKey = &coffer.KeyRef{ID: agreement.ID, Type: agreement.Type}
	c.HMAC = &coffer.KeyRef{ID: index.ID, Type: index.Type}
	return o.vault.Configure(ctx, c)
}

// replaceKeyring puts a keyring into the profile's file, protected as the one that is there.
func (p *program) replaceKeyring(r *keyring.Ring) error {
	l, err := p.places()
	if err != nil {
		return err
	}
	by, err := protectionOf(l.keyring)
	if err != nil {
		return err
	}
	protection := keyring.Keychain()
	switch by {
	case byPassphrase:
		protection = keyring.Passphrase(bytes.Clone(p.passphrase))
	case byKeyFile:
		protection = keyring.KeyFile(keyFile(l.keyring))
	}
	return explain(keyring.Replace(l.keyring, r, protection), "", "cannot save the keyring")
}

// protectionOf returns what protects a keyring file.
func protectionOf(file string) (string, error) {
	b, err := readSmall(file, maxProfile)
	if err != nil {
		return "", explain(err, "", "cannot read the keyring")
	}
	line, _ := bufio.NewReader(bytes.NewReader(b)).ReadBytes('\n')
	var h struct {
		Protection string `json:"protection"`
	}
	if jose.DecodeOpen(line, &h) != nil {
		return "", failed(coffer.Corrupt, "", "the keyring is damaged")
	}
	return h.Protection, nil
}

// Run drops former keys, here and on the other devices.
func (c *keysForgetCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	uses := []keyring.Use{keyring.Vault, keyring.HMAC}
	if c.All {
		uses = append(uses, keyring.Signing, keyring.Delivery)
	}
	next, err := o.Forget(ctx, uses...)
	if err == nil {
		err = p.replaceKeyring(next)
	}
	if err != nil {
		o.close()
		return explain(err, `"coffer work" goes on with that`, "the former keys are still needed")
	}
	if o, err = o.reopen(ctx, next); err != nil {
		return err
	}
	defer o.close()
	p.note("Only the present keys are left.")
	return nil
}

// Run changes the passphrase.
func (c *keysPassphraseCommand) Run(ctx context.Context, p *program) error {
	l, err := p.places()
	if err != nil {
		return err
	}
	if by, err := protectionOf(l.keyring); err != nil {
		return err
	} else if by != byPassphrase {
		return failed(coffer.Conflict, `give them one with "coffer keys protect --passphrase"`,
			"the keys are not protected by a passphrase")
	}
	return (&keysProtectCommand{Passphrase: true, New: c.New}).Run(ctx, p)
}

// Run changes what protects the keys.
func (c *keysProtectCommand) Run(ctx context.Context, p *program) error {
	l, err := p.places()
	if err != nil {
		return err
	}
	ring, err := p.openKeyring(ctx)
	if err != nil {
		return err
	}
	defer ring.Close()
	by := byPassphrase
	protection := keyring.Keychain()
	switch {
	case c.Passphrase:
		next, err := c.passphrase(ctx, p)
		if err != nil {
			return err
		}
		protection = keyring.Passphrase(next)
	case c.Keychain:
		by = byKeychain
	case c.Keyfile:
		by, protection = byKeyFile, keyring.KeyFile(keyFile(l.keyring))
	}
	if err := keyring.Replace(l.keyring, ring, protection); err != nil {
		return explain(err, "", "cannot save the keyring")
	}
	if by != byKeyFile {
		// It opens nothing any more. That it cannot be removed is no failure: it may be another's, too.
		_ = os.Remove(keyFile(l.keyring))
	}
	return p.result(struct {
		Protection string `json:"protection"`
	}{by}, "the keys are protected by: %s", by)
}

// passphrase returns the new passphrase.
func (c *keysProtectCommand) passphrase(ctx context.Context, p *program) ([]byte, error) {
	var next []byte
	var err error
	if c.New != "" {
		next, err = (&program{global: global{PassphraseFile: c.New}}).givenPassphrase()
	} else {
		next, err = p.newPassphrase(ctx)
	}
	if err == nil && len(next) == 0 {
		err = failed(coffer.Invalid, "give --new FILE", "no new passphrase was given")
	}
	return next, err
}
