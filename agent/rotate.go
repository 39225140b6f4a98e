package agent

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// Keys are rotated in steps, each of which leaves a vault that every device which knows the new keys can go on with
// (doc/devices.md, section "Rotation"):
//
//  1. the new keys are saved on this device, beside the old ones ([Agent.Rotate])
//  2. they are left for the other devices, and for the recovery phrase
//  3. head, boxes and registers move to where the new secret puts them, the tree's root gets new keys, and all below it
//     is to be encrypted anew: one commit
//  4. the vault's provider is told the new controller
//
// [Agent.Settle] does what is left of 2 to 4. Step 3 is a part of every commit that finds it undone, so nothing is ever
// written in the old places under a keyring that has new ones.

// generations is a Keyring whose keys have generations: a [keyring.Ring].
type generations interface {
	coffer.Owner
	Generations(use keyring.Use) int
	At(use keyring.Use, n int) (coffer.Owner, error)
}

var uses = []keyring.Use{keyring.Signing, keyring.Delivery, keyring.HMAC, keyring.Vault}

// counts returns how many generations of each use there have been; nil for a Keyring without generations.
func counts(k coffer.Owner) (n []int) {
	if g, ok := k.(generations); ok {
		for _, use := range uses {
			n = append(n, g.Generations(use))
		}
	}
	return n
}

// since reports whether there are more generations of a use than there were. What was never noted was the first.
func since(now, then []int, use keyring.Use) bool {
	i := slices.Index(uses, use)
	if i >= len(now) {
		return false
	}
	if i >= len(then) {
		return now[i] > 1
	}
	return now[i] > then[i]
}

func sinceAny(now, then []int) bool {
	return slices.ContainsFunc(uses, func(u keyring.Use) bool { return since(now, then, u) })
}

// before finds the head where an earlier secret puts it: as long as nobody moved it. What was seen moved once is not
// looked for in its old place again, so that nobody who has the old secret can put something there.
func (v *view) before(ctx context.Context) (*known, error) {
	none := coffer.Errorf("head", coffer.NotExist, "there is none")
	g, ok := v.a.Keyring.(generations)
	if !ok || v.a.seenMoved(ctx) {
		return nil, none
	}
	for n := g.Generations(keyring.Vault) - 2; n >= 0; n-- {
		by, err := g.At(keyring.Vault, n)
		if errors.Is(err, coffer.NotExist) {
			break // forgotten, and all before it
		} else if err != nil {
			return nil, err
		}
		ref, err := v.a.placeBy(ctx, by, "head")
		if err != nil {
			return nil, err
		}
		k, err := v.a.record(ctx, ref, v.a.mine)
		if errors.Is(err, coffer.NotExist) {
			continue
		}
		v.by = by
		return k, err
	}
	return nil, none
}

// movedNote is what a device keeps of having seen the head in its place.
type movedNote struct {
	Vault int `json:"vault"` // generations of the vault secret then
}

func (a *Agent) seenMoved(ctx context.Context) bool {
	var n movedNote
	now := counts(a.Keyring)
	return len(now) == len(uses) && a.load(ctx, noteMoved, a.URL, &n) && n.Vault >= now[len(uses)-1]
}

// compare compares the keys that the head was written with to those at hand. Denied when others have newer ones.
func (v *view) compare(ctx context.Context) error {
	now := counts(v.a.Keyring)
	if sinceAny(v.head.Keys, now) && len(now) > 0 {
		return coffer.Errorf("head", coffer.Denied, "the keys were rotated on another device")
	}
	v.stale = sinceAny(now, v.head.Keys)
	if n := len(now); n > 0 && now[n-1] > 1 && !v.stale && !v.a.seenMoved(ctx) {
		v.a.save(ctx, noteMoved, v.a.URL, movedNote{now[n-1]})
	}
	return nil
}

// rotate makes part of the commit what rotated keys demand of a vault that was written before they were.
func (t *txn) rotate(ctx context.Context) error {
	now, then := counts(t.a.Keyring), t.head.Keys
	if t.written == nil {
		t.next.Keys = now
		return nil
	}
	if !t.stale {
		return nil
	}
	t.touched, t.next.Keys = true, now
	anew := since(now, then, keyring.Vault)
	if !anew && since(now, then, keyring.HMAC) {
		set, err := t.attributes(ctx)
		if err != nil {
			return err
		}
		anew = len(set) > 0 // what is found at the vault is blinded with the new key
	}
	if since(now, then, keyring.Vault) {
		t.moving = true
		for n := range t.head.Boxes {
			if _, err := t.box(ctx, n); err != nil {
				return err
			}
		}
	}
	if anew {
		t.next.Epoch++
		if err := t.tree.Renew(ctx, "", t.next.Epoch); err != nil {
			return err
		}
		// What was to be encrypted anew already is below the root, too.
		t.next.Jobs = []job{{Scope: t.tree.Root().ID, Epoch: t.next.Epoch}}
	}
	return t.refill(ctx)
}

// refill seals to all readers once more what they were granted, signed with the present key.
func (t *txn) refill(ctx context.Context) error {
	list, err := t.grants(ctx)
	if err != nil {
		return err
	}
	for _, g := range list.all {
		if !g.lasts() {
			continue
		}
		path, err := t.find(ctx, g)
		if errors.Is(err, coffer.NotExist) {
			continue
		} else if err != nil {
			return err
		}
		n, err := t.tree.Get(ctx, path)
		if err != nil {
			return err
		}
		c, err := t.contact(ctx, g.With)
		if errors.Is(err, coffer.NotExist) {
			continue
		} else if err != nil {
			return err
		}
		if err := t.fill(ctx, g, n.Ref, c.Delivery); err != nil {
			return err
		}
	}
	return nil
}

// former is an owner as of earlier generations of two uses.
type former struct {
	coffer.Owner              // with its vault secret
	mac          coffer.Owner // with its HMAC key
}

// MAC implements [coffer.Keyring].
func (f former) MAC(ctx context.Context, message []byte) ([]byte, error) {
	return f.mac.MAC(ctx, message)
}

// maxFormer bounds in how many former ways a note is looked for.
const maxFormer = 16

// before returns the agent as it was before keys were rotated that notes depend on, the latest first.
func (a *Agent) before() (list []*Agent) {
	g, ok := a.Keyring.(generations)
	if !ok {
		return nil
	}
	vaults, macs := g.Generations(keyring.Vault), g.Generations(keyring.HMAC)
	for back := 1; back < vaults+macs-1; back++ { // the sum of the steps back
		for i := max(0, back-macs+1); i <= min(back, vaults-1); i++ {
			v, err := g.At(keyring.Vault, vaults-1-i)
			if err != nil {
				continue
			}
			m, err := g.At(keyring.HMAC, macs-1-(back-i))
			if err != nil {
				continue
			}
			o := a.Options
			o.Keyring = former{v, m}
			if list = append(list, &Agent{Options: o}); len(list) == maxFormer {
				return list
			}
		}
	}
	return list
}

// ring returns the keyring as one that can rotate.
func (a *Agent) ring(op string) (*keyring.Ring, error) {
	r, ok := a.Keyring.(*keyring.Ring)
	if !ok || a.guest != nil {
		return nil, coffer.Errorf(op, coffer.Invalid, "needs a vault of one's own, and its keyring")
	}
	return r, nil
}

// Rotate makes new keys for these uses, for all if none is named, has them saved, and returns an agent that has them.
// Nothing else has happened then: [Agent.Settle] of the new agent does the rest, here or on another device. The old
// agent is of no more use.
//
// Save puts the keyring into its file, in the place of the old one, before it returns. Conflict if an earlier rotation
// is not settled; Denied if another device has newer keys; otherwise the errors of save and of [keyring.Ring.Rotated].
func (a *Agent) Rotate(ctx context.Context, save func(*keyring.Ring) error, uses ...keyring.Use) (*Agent, error) {
	const op = "rotate keys"
	old, err := a.ring(op)
	if err != nil {
		return nil, err
	}
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	if v.stale {
		return nil, coffer.Errorf(op, coffer.Conflict, "keys were rotated before, and that is not settled")
	}
	next, err := old.Rotated(uses...)
	if err != nil {
		return nil, err
	}
	if err := save(next); err != nil {
		return nil, errors.Join(err, next.Close())
	}
	o := a.Options
	o.Keyring, o.Controller = next, a.controller()
	return New(o)
}

// A Configurer can hand a vault on. The client of a vault's API is one, invoked by the vault's present controller.
type Configurer interface {
	// Configure makes another identity the vault's controller, from the next request on.
	Configure(ctx context.Context, controller string) error
}

// Settled is what there was to do.
type Settled struct {
	Moved bool // the vault was brought under the new keys
	Sent  int  // devices that the new keys were left for, and the recovery phrase
	// Handed says that the vault has another controller now: this agent is refused from now on, all capabilities that
	// the former one delegated are void, and whoever still is to read needs a new link ([Agent.Links]).
	Handed bool
}

// Settle does what rotated keys demand and is not done yet: it leaves the keys for the other devices and the recovery
// phrase, moves the vault to where they put it, has all encrypted anew by [Agent.Work], and makes controller the
// vault's controller, unless it is that already or is nil. After an error, or a crash, it can be called again, by any
// device that has the keys. When there is nothing to do it costs one look.
func (a *Agent) Settle(ctx context.Context, controller coffer.Keyring, at Configurer) (done Settled, err error) {
	if a.guest != nil {
		return done, coffer.Errorf("settle", coffer.Invalid, "needs a vault of one's own")
	}
	v, err := a.look(ctx)
	if err != nil {
		return done, err
	}
	sent, err := a.send(ctx, v)
	if err != nil {
		return done, err
	}
	done.Sent = len(sent)
	if done.Moved = v.stale; v.stale || len(sent) > 0 {
		if err := a.commit(ctx, func(ctx context.Context, t *txn) error { return t.sent(ctx, sent) }); err != nil {
			return done, err
		}
	}
	if controller == nil || controller.DID() == a.controller().DID() {
		return done, nil
	}
	if err := at.Configure(ctx, controller.DID()); err != nil {
		return done, err
	}
	done.Handed = true
	return done, nil
}

// Stale reports whether keys were rotated and that is not settled in the vault. Denied when another device has newer
// keys than this one.
func (a *Agent) Stale(ctx context.Context) (bool, error) {
	v, err := a.look(ctx)
	if err != nil {
		return false, err
	}
	return v.stale, nil
}

// Links returns new links of all grants that last, in the order in which they were given. Grants of what is gone, and
// to who is no contact any more, have none.
func (a *Agent) Links(ctx context.Context) (list []Share, err error) {
	for g, err := range a.Grants(ctx) {
		if err != nil {
			return nil, err
		}
		if g.Ended != nil {
			continue
		}
		link, err := a.Link(ctx, g.ID)
		if errors.Is(err, coffer.NotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		list = append(list, Share{g, link})
	}
	return list, nil
}

// Controllers returns by whom the provider may know the vault's owner while keys are rotated: first by whom it should,
// then who that was before, back to the earliest whose keys are kept. With a label they are pseudonyms, which have
// nothing in common that others could see; without one, the owner's own identifiers.
func Controllers(ctx context.Context, owner coffer.Owner, label string) (list []coffer.Keyring, err error) {
	use := keyring.Vault
	if label == "" {
		use = keyring.Signing
	}
	g, ok := owner.(generations)
	if !ok && label == "" {
		return []coffer.Keyring{owner}, nil
	} else if !ok {
		first, err := owner.Pseudonym(ctx, label)
		return []coffer.Keyring{first}, err
	}
	for n := g.Generations(use) - 1; n >= 0; n-- {
		at, err := g.At(use, n)
		if errors.Is(err, coffer.NotExist) {
			break // forgotten, and all before it
		} else if err != nil {
			return nil, err
		}
		c := coffer.Keyring(at)
		if label != "" {
			if c, err = at.Pseudonym(ctx, label); err != nil {
				return nil, err
			}
		}
		list = append(list, c)
	}
	return list, nil
}

// Forget returns the keyring without the earlier generations of these uses, to be saved in the place of the old one.
// What only they opened is lost. Conflict while something in the vault is to be encrypted anew, or a rotation is not
// settled. Settle of an agent with the new keyring tells the other devices.
func (a *Agent) Forget(ctx context.Context, uses ...keyring.Use) (*keyring.Ring, error) {
	const op = "forget keys"
	ring, err := a.ring(op)
	if err != nil {
		return nil, err
	}
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	if v.stale || v.head != nil && len(v.head.Jobs) > 0 {
		return nil, coffer.Errorf(op, coffer.Conflict, "not everything is encrypted anew yet")
	}
	for _, use := range uses {
		next, err := ring.Forget(use, ring.Generations(use)-1)
		if ring != a.Keyring {
			_ = ring.Close()
		}
		if err != nil {
			return nil, err
		}
		ring = next
	}
	if ring == a.Keyring {
		return nil, coffer.Errorf(op, coffer.Invalid, "no use of keys is named")
	}
	return ring, nil
}

// successions returns statements that lead from the owner's earlier names to the present one, the latest of them.
func (a *Agent) successions() (list []string, err error) {
	s, ok := a.Keyring.(interface {
		Succession(did string) (string, error)
	})
	if !ok {
		return nil, nil
	}
	names := a.formerDIDs()
	for _, did := range names[max(0, len(names)-maxNames):] {
		statement, err := s.Succession(did)
		if err != nil {
			return nil, err
		}
		list = append(list, statement)
	}
	return list, nil
}

// maxNames is how many of the owner's earlier names a link carries.
const maxNames = 8

// names returns the earlier names of an identity, as statements say. Corrupt for one that says something else.
func names(did string, statements []string) (list []string, err error) {
	if len(statements) > maxNames {
		return nil, coffer.Errorf("succession", coffer.Corrupt, "too many")
	}
	for _, s := range statements {
		from, to, err := keyring.VerifySuccession(s)
		if err != nil || to != did {
			return nil, coffer.Errorf("succession", coffer.Corrupt, "not to whom it should lead")
		}
		list = append(list, from)
	}
	return list, nil
}

// splitCard divides a card from the statements of succession after it.
func splitCard(text string) (card string, statements []string) {
	parts := strings.Fields(text)
	if len(parts) < 2 || len(parts) > 1+maxSuccessions {
		return strings.TrimSpace(text), nil
	}
	return parts[0], parts[1:]
}

// maxSuccessions bounds the statements after a card: an identity has at most 64 signing keys.
const maxSuccessions = 63

// CardText returns the owner's card, and after it statements that the earlier names of the owner were the same
// identity's: what [Agent.AddContact] takes.
func CardText(ctx context.Context, r *keyring.Ring, name string) (string, error) {
	text, err := r.Card(ctx, name)
	if err != nil {
		return "", err
	}
	for _, did := range r.FormerDIDs() {
		statement, err := r.Succession(did)
		if err != nil {
			return "", err
		}
		text += " " + statement
	}
	return text, nil
}

func succeeds(statement, from, to string) bool {
	f, t, err := keyring.VerifySuccession(statement)
	return err == nil && f == from && t == to
}

// succeeded lets contacts whom the statements name go on under the identifier of a card, and returns the name that the
// card's holder then has. Invalid for a statement that does not lead to the card's holder.
func (a *Agent) succeeded(ctx context.Context, c *keyring.Card, card, name string, statements []string) (string,
	error) {
	for _, s := range statements {
		from, to, err := keyring.VerifySuccession(s)
		if err != nil || to != c.DID {
			return "", coffer.Errorf("contact", coffer.Invalid, "what follows the card is no statement about its holder")
		}
		v, err := a.look(ctx)
		if err != nil {
			return "", err
		}
		known, err := v.contact(ctx, from)
		if errors.Is(err, coffer.NotExist) || err == nil && from == to {
			continue
		} else if err != nil {
			return "", err
		}
		if name == "" || name == c.Name {
			name = known.Name
		}
		w := contactJSON{DID: from, Name: known.Name, Card: card, Succession: s}
		if err := a.putValue(ctx, recordPath(contactFolder, from), contactType, w); err != nil {
			return "", err
		}
	}
	return name, nil
}

// RenewNames leaves the pages anew to which the names lead ([Agent.Name]), with the present card and the present
// controller's word. It is to be called after keys were rotated; the names stay what they are.
func (a *Agent) RenewNames(ctx context.Context) error {
	var list []*named
	for n, err := range values[named](ctx, a, namedFolder) {
		if err != nil {
			return err
		}
		list = append(list, n)
	}
	for _, n := range list {
		if !a.Now().Before(n.Until) {
			continue
		}
		if err := a.putPage(ctx, n); err != nil {
			return err
		}
	}
	return nil
}

// putPage leaves the page of a name.
func (a *Agent) putPage(ctx context.Context, n *named) error {
	ring, ok := a.Keyring.(carded)
	if !ok {
		return coffer.Errorf("name", coffer.Invalid, "the keyring has no card")
	}
	card, err := ring.Card(ctx, "")
	if err != nil {
		return err
	}
	seed, capability, err := a.asker(ctx, n)
	if err != nil {
		return err
	}
	page, err := jose.Encode(askPage{askType, askVersion, a.URL, n.Title, card, n.Token, seed, capability})
	if err != nil {
		return coffer.E("name", coffer.Invalid, err)
	}
	place, err := n.Place.place()
	if err != nil {
		return err
	}
	return a.putOpen(ctx, place, page)
}
