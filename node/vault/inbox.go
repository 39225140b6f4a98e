package vault

import (
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/store"
)

// A message is a document that somebody has left for the vault's owner, with a tag of this key and name. By them the
// owner finds it.
const (
	inboxKey    = "urn:coffer:inbox"
	messageName = "message"
)

// Bounds on messages.
const (
	maxMessage      = 64 << 10 // bytes of the body
	maxMessageValue = 64       // bytes of the tag's value
	maxMessages     = 1000     // present in one vault
)

// Messages are few: so many in a second may come by what the owner delegated once, and to one vault, where they have no
// more than half of its rate. So many seconds' worth may come at once.
const (
	chainMessages = 1
	vaultMessages = 5
	messageBurst  = 60
)

// fullPause is when to come again to an inbox that is full.
const fullPause = 10 * time.Minute

// inboxes lets one message at a time into a vault, so that they are counted rightly. Vaults share.
type inboxes [64]sync.Mutex

func (x *inboxes) enter(id coffer.VaultID) (leave func()) {
	m := &x[int(id[0])%len(x)]
	m.Lock()
	return m.Unlock
}

// Drop leaves a message; see [View.Deliver].
func (v *View) Drop(ctx context.Context, d *coffer.Document) error {
	_, err := v.Deliver(ctx, d)
	return err
}

// Deliver inserts a message by a capability for writing to the vault's inbox, for which nothing else can be done.
// Invalid if it is no message: that has sequence 0, no parents, no stream, just one tag with the key of the inbox, which
// is not unique, and else verifiers of secrets. Exhausted, with a time to wait, if too many come or have not been taken
// out; and if it is too large.
func (v *View) Deliver(ctx context.Context, d *coffer.Document) (coffer.Change, error) {
	defer v.s.gates.write(v.id)()
	r, err := v.allow(ctx, grant.Write, v.url+"/inbox")
	switch {
	case err != nil:
		return coffer.Change{}, err
	case r.Erased:
		return coffer.Change{}, nothing()
	}
	if err := checkMessage(d); err != nil {
		return coffer.Change{}, err
	}
	now := v.s.now()
	if err := v.s.senders.take(v.chain(), now); err != nil {
		return coffer.Change{}, err
	}
	if err := v.s.messages.take(v.id, now); err != nil {
		return coffer.Change{}, err
	}
	defer v.s.inboxes.enter(v.id)()
	n, err := v.s.store.Count(ctx, v.id, coffer.Query{Index: inboxKey, Has: []string{messageName}})
	if err != nil {
		return coffer.Change{}, err
	}
	if n >= maxMessages {
		return coffer.Change{}, &tooFast{coffer.Errorf("inbox", coffer.Exhausted, "the inbox is full"), fullPause}
	}
	w, err := v.write(coffer.Write{Document: d})
	if err != nil {
		return coffer.Change{}, err
	}
	changes, err := v.commit(ctx, []store.Write{w})
	if err != nil {
		return coffer.Change{}, err
	}
	return changes[0], nil
}

// checkMessage reports the first rule of messages that the document breaks.
func checkMessage(d *coffer.Document) error {
	const op = "message"
	if err := d.Check(); err != nil {
		return err
	}
	switch {
	case d.Sequence != 0 || len(d.Parents) > 0:
		return coffer.Errorf(op, coffer.Invalid, "a message is a first revision")
	case d.Stream != nil:
		return coffer.Errorf(op, coffer.Invalid, "a message has no stream")
	case len(d.Body) > maxMessage:
		return tooLarge(op)
	}
	n := 0
	for _, t := range d.Tags {
		switch {
		case t.Key == inboxKey && t.Name == messageName && !t.Unique && len(t.Value) <= maxMessageValue:
			n++
		case !verifier(t):
			return coffer.Errorf(op, coffer.Invalid, "a tag that a message cannot have")
		}
	}
	if n != 1 {
		return coffer.Errorf(op, coffer.Invalid, "a message has one tag of the inbox")
	}
	return nil
}

// chain names the caller's chain of capabilities, in the form of what paces are kept for: by its first delegation, so
// that handing it on, to however many, gives nobody more.
func (v *View) chain() coffer.VaultID {
	h := sha256.New()
	texts := []string{string(v.id[:]), authority(v.caller), ""}
	if links := v.caller.Links(); len(links) > 0 {
		texts[2] = links[0].ID
	}
	for _, s := range texts {
		sum := sha256.Sum256([]byte(s))
		h.Write(sum[:])
	}
	return coffer.VaultID(h.Sum(nil)[:16])
}
