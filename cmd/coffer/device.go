package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/skip2/go-qrcode"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
	"github.com/cofferhq/coffer/keyring"
)

// deviceCommand is "coffer device".
type deviceCommand struct {
	Pair devicePairCommand `cmd:"" help:"Let another device join: shows a code for it, and waits."`
	Join deviceJoinCommand `cmd:"" help:"Make this a device of an identity that another one has."`
	Ls   deviceLsCommand   `cmd:"" help:"List the devices."`
	Rm   deviceRmCommand   `cmd:"" help:"Remove a device, and replace all keys that it has."`
}

type devicePairCommand struct {
	QR   bool   `name:"qr" help:"Show the code as a QR code, too."`
	Name string `placeholder:"NAME" help:"What this device is called. Default: the name of the machine."`
}

// Help says more.
func (devicePairCommand) Help() string {
	return `The code is as good as your keys for ten minutes, or until a device has joined. Show it to nobody else.

Examples:
  coffer device pair --qr`
}

type deviceJoinCommand struct {
	Vault string `arg:"" help:"The vault's URL; or what the QR code holds, which begins with coffer-pair:."`
	Code  string `arg:"" optional:"" help:"The code that \"coffer device pair\" shows on the other device."`
	Name  string `placeholder:"NAME" help:"What this device is called. Default: the name of the machine."`
	protector
}

// Help says more.
func (deviceJoinCommand) Help() string {
	return `Examples:
  coffer device join https://vault.example/edvs/z19x… ABCD-EFGH-JKMN-PQRS-TVWX-YZ01 --name laptop
  coffer device join coffer-pair:https://vault.example/edvs/z19x…#ABCD-EFGH-JKMN-PQRS-TVWX-YZ01`
}

type deviceLsCommand struct{}

type deviceRmCommand struct {
	Device string `arg:"" help:"Name or id of the device."`
	Later  bool   `help:"Leave encrypting anew to \"coffer work\"."`
}

// Help says more.
func (deviceRmCommand) Help() string {
	return `The node refuses the device from then on, and it opens nothing that is stored afterwards. What it has
already, and what it fetched before, it has. If this is interrupted, the same command goes on.

Examples:
  coffer device rm laptop`
}

// nodes leads to vaults anywhere, by their URLs.
type nodes struct{ p *program }

// Open implements [agent.Door].
func (n nodes) Open(ctx context.Context, vault string, id coffer.ObjectID, s coffer.Secret) (*coffer.Document, error) {
	origin, err := originOf(vault)
	if err != nil {
		return nil, err
	}
	nobody := keyring.Generate()
	defer nobody.Close()
	client, err := n.p.dial(origin, nobody)
	if err != nil {
		return nil, err
	}
	return client.Open(ctx, vault, id, s)
}

// Drop implements [agent.Door]. Nothing here leaves messages.
func (nodes) Drop(context.Context, string, coffer.Keyring, []byte, *coffer.Document) error {
	return coffer.Errorf("drop", coffer.Invalid, "not by this way")
}

// originOf returns the origin of a vault's URL.
func originOf(vault string) (string, error) {
	u, err := url.Parse(vault)
	if err != nil || u.Host == "" || u.User != nil || !strings.HasPrefix(u.Path, "/edvs/") {
		return "", failed(coffer.Invalid, `it is what "coffer whoami" shows as vault`, "that is no vault's URL")
	}
	return u.Scheme + "://" + u.Host, nil
}

const pairPrefix = "coffer-pair:"

// pairWait is how often the other side is asked whether a device joined.
const pairWait = time.Second

// Run leaves the keys for a new device, and waits until it has joined.
func (c *devicePairCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer func() { o.close() }()
	if o, err = o.registered(ctx, c.Name); err != nil {
		return err
	}
	code, pairing := keyring.NewPairing()
	until := p.now().Add(agent.PairingTime)
	// If this process ends without a word, a later one erases what it left.
	o.profile.Pairing, o.profile.PairingUntil = pairing.ID().String(), until
	if err := p.saveProfile(o.profile); err != nil {
		return err
	}
	defer func() {
		if err := o.Withdraw(context.WithoutCancel(ctx), pairing.ID()); err == nil {
			o.profile.Pairing, o.profile.PairingUntil = "", time.Time{}
			_ = p.saveProfile(o.profile)
		}
	}()
	if err := o.OfferPairing(ctx, pairing, o.profile.Node); err != nil {
		return explain(err, "", "cannot leave the keys for the new device")
	}
	text := pairPrefix + o.profile.Vault + "#" + code
	if err := p.result(struct {
		Code  string    `json:"code"`
		Vault string    `json:"vault"`
		Text  string    `json:"text"`
		Until time.Time `json:"until"`
	}{code, o.profile.Vault, text, until.UTC().Truncate(time.Second)},
		"On the new device, within ten minutes:\n\n  coffer device join %s %s\n", o.profile.Vault, code); err != nil {
		return err
	}
	if c.QR && !p.JSON {
		q, err := qrcode.New(text, qrcode.Medium)
		if err != nil {
			return failed(coffer.Invalid, "type the code instead", "the code is too long for a QR code")
		}
		fmt.Fprintln(p.stdout, q.ToSmallString(false))
	}
	d, err := o.awaitDevice(ctx, pairing)
	if err != nil {
		return err
	}
	return p.result(newDevice(*d), "%s joined.", printable(d.Name))
}

// awaitDevice waits until a device joined by a pairing.
func (o *owner) awaitDevice(ctx context.Context, pairing keyring.Pairing) (*agent.Device, error) {
	ctx, cancel := context.WithTimeout(ctx, agent.PairingTime)
	defer cancel()
	tick := time.NewTicker(pairWait)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return nil, failed(coffer.NotExist, "begin again", "no device joined within ten minutes: the code is over")
			}
			return nil, ctx.Err()
		case <-tick.C:
		}
		d, err := o.Joined(ctx, pairing)
		if err != nil && ctx.Err() == nil && kindOf(err) != coffer.Unavailable {
			return nil, explain(err, "", "cannot find out whether a device joined")
		}
		if d != nil {
			return d, nil
		}
	}
}

// registered returns the owner once this device is noted in the vault, so that others can leave new keys for it. A name
// renames it. The owner given is closed if another one takes its place, or on error.
func (o *owner) registered(ctx context.Context, name string) (*owner, error) {
	if _, public := o.ring.Device(); public == nil {
		next, err := o.ring.WithDevice()
		if err == nil {
			err = o.program.replaceKeyring(next)
		}
		if err != nil {
			return o, explain(err, "", "cannot make this a device")
		}
		reopened, err := o.reopen(ctx, next)
		if err != nil {
			return o, err
		}
		o = reopened
	}
	if o.profile.Place != "" && name == "" {
		return o, nil
	}
	place, err := o.named(name, func(name string) (string, error) { return o.AddDevice(ctx, name) })
	if err != nil {
		return o, err
	}
	o.profile.Place = place
	o.profile.Keys = generationsText(o.ring)
	return o, o.program.saveProfile(o.profile)
}

// named notes a device under the name, or else under that of the machine, with a number if that is taken.
func (o *owner) named(name string, add func(name string) (string, error)) (place string, err error) {
	const most = 20
	machine, _ := os.Hostname()
	if machine, _, _ = strings.Cut(machine, "."); machine == "" || len(machine) > 60 {
		machine = "device"
	}
	for n := 1; n <= most; n++ {
		try := name
		if name == "" {
			if try = machine; n > 1 {
				try = fmt.Sprintf("%s-%d", machine, n)
			}
		}
		place, err = add(try)
		if name != "" || !errors.Is(err, coffer.Conflict) {
			break
		}
	}
	return place, explain(err, "give another one with --name", "cannot note this device")
}

// Run makes a profile out of what another device left.
func (c *deviceJoinCommand) Run(ctx context.Context, p *program) error {
	l, err := p.places()
	if err != nil {
		return err
	}
	vault, code := c.Vault, c.Code
	if rest, ok := strings.CutPrefix(vault, pairPrefix); ok && code == "" {
		vault, code, _ = strings.Cut(rest, "#")
	}
	pairing, err := keyring.ParsePairing(code)
	if err != nil {
		return explain(err, "look at the other device, and type it again", "that is not a pairing code")
	}
	if err := p.vacant(l); err != nil {
		return err
	}
	found, err := agent.OpenPairing(ctx, nodes{p}, vault, pairing, p.now())
	if errors.Is(err, coffer.NotExist) {
		return explain(err, `begin again on the other device: coffer device pair`,
			"nothing is left there for this code: it is another one, was used, or is over")
	}
	if err != nil {
		return explain(err, "", "cannot join")
	}
	o, err := p.inherit(ctx, l, found, &c.protector)
	if err != nil {
		return err
	}
	defer o.close()
	place, err := o.named(c.Name, func(name string) (string, error) { return o.Join(ctx, pairing, name) })
	if err != nil {
		return err
	}
	o.profile.Place = place
	if err := p.saveProfile(o.profile); err != nil {
		return err
	}
	return p.result(newIdentity(p, o.profile), "%s", o.profile.text(p.Profile))
}

// vacant fails if the profile is in use.
func (p *program) vacant(l places) error {
	for _, file := range []string{l.config, l.keyring} {
		switch there, err := exists(file); {
		case err != nil:
			return explain(err, "", "cannot look for the profile")
		case there:
			return failed(coffer.Conflict, "take another one with --profile NAME",
				"there is an identity in profile %s already", p.Profile)
		}
	}
	return nil
}

// inherit makes the profile that of an identity that another device left, and returns its owner.
func (p *program) inherit(ctx context.Context, l places, found *agent.Legacy, by *protector) (*owner, error) {
	ring := found.Ring
	node, err := originOf(found.Vault)
	if err == nil && found.Node != "" && found.Node != node {
		err = failed(coffer.Corrupt, "do not use this node", "what was left there is for another node")
	}
	if err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	made := &profile{
		DID: ring.DID(), KeyAgreement: ring.Key(coffer.AgreementKey).ID, HMAC: ring.Key(coffer.HMACKey).ID, Node: node,
		Vault: found.Vault, Space: found.Space, LogKey: found.LogKey, Keys: generationsText(ring),
	}
	if _, err := by.save(ctx, p, ring, nil); err != nil {
		return nil, errors.Join(err, ring.Close())
	}
	o, err := p.owner(ctx, made, ring, 1)
	if err == nil {
		if err = o.Hear(ctx, found.Seen); err != nil {
			o.left()
			err = explain(err, "do not use this node", "the vault is not what the other device saw")
		}
	}
	if err == nil {
		err = p.saveProfile(made)
	}
	if err != nil {
		// Nothing is lost: the other device has the keys, and so can this one be begun anew.
		return nil, errors.Join(err, ring.Close(), os.Remove(l.keyring))
	}
	return o, nil
}

// A device is how results describe one.
type device struct {
	ID      string    `json:"id"`
	Name    string    `json:"name"`
	Added   time.Time `json:"added"`
	This    bool      `json:"this"`
	Current bool      `json:"current"` // it has been left the present keys
	Lost    bool      `json:"lost,omitempty"`
}

func newDevice(d agent.Device) device {
	return device{d.ID, d.Name, d.Added, d.This, d.Current, d.Lost}
}

// Run lists the devices.
func (deviceLsCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	list, err := o.Devices(ctx)
	if err != nil {
		return explain(err, "", "cannot list the devices")
	}
	t := p.table()
	for _, d := range list {
		state := ""
		switch {
		case d.This:
			state = "this one"
		case d.Lost:
			state = `being removed: "coffer device rm" goes on`
		}
		if err := t.row(newDevice(d), d.Name, "since "+timeText(d.Added), d.ID, state); err != nil {
			return err
		}
	}
	return t.flush()
}

// Run removes a device and replaces all keys.
func (c *deviceRmCommand) Run(ctx context.Context, p *program) error {
	o, err := p.open(ctx, chunksAtOnce)
	if err != nil {
		return err
	}
	if err := o.LoseDevice(ctx, c.Device); err != nil {
		o.close()
		return explain(err, `see "coffer device ls"`, "cannot remove %s", c.Device)
	}
	if o, err = o.rotate(ctx); err != nil {
		return err
	}
	defer o.close()
	if err := o.workNow(ctx, c.Later); err != nil {
		return err
	}
	p.note("%s is removed. All keys are new: hand your contacts your new card, coffer whoami --card.", c.Device)
	return o.rotated(ctx)
}
