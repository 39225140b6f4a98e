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

// inboxes lets one message at a time into a vault, so that they are counted rightly. Where several nodes serve one
// store, each of them lets one in at a time: as many too many may lie in an inbox as there are other nodes.
type inboxes struct {
	mu     sync.Mutex
	vaults map[coffer.VaultID]*entrance
}

// An entrance is one vault's, while anybody is at it.
type entrance struct {
	busy  chan struct{}
	count int
}

// enter returns once no other message is on its way into the vault, and a function that must then be called; or an
// error when ctx ends first.
func (x *inboxes) enter(ctx context.Context, id coffer.VaultID) (leave func(), err error) {
	x.mu.Lock()
	e := x.vaults[id]
	if e == nil {
		if x.vaults == nil {
			x.vaults = make(map[coffer.VaultID]*entrance)
		}
		e = &entrance{busy: make(chan struct{}, 1)}
		x.vaults[id] = e
	}
	e.count++
	x.mu.Unlock()
	forget := func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if e.count--; e.count == 0 {
			delete(x.vaults, id)
		}
	}
	select {
	case e.busy <- struct{}{}:
		return func() {
			<-e.busy
			forget()
		}, nil
	case <-ctx.Done():
		forget()
		return nil, coffer.E("inbox", coffer.Unavailable, ctx.Err())
	}
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
	var changes []coffer.Change
	err := v.lawful(ctx, func(first bool) (err error) {
		changes, err = v.deliver(ctx, d, first)
		return err
	})
	if err != nil {
		return coffer.Change{}, err
	}
	return changes[0], nil
}

func (v *View) deliver(ctx context.Context, d *coffer.Document, first bool) ([]coffer.Change, error) {
	r, err := v.decideOn(ctx, false, grant.Write, v.url+"/inbox") // messages have counts of their own
	if err != nil {
		return nil, err
	}
	if err := checkMessage(d); err != nil {
		return nil, err
	}
	if first {
		now := v.s.now()
		if err := v.s.senders.take(v.chain(), now); err != nil {
			return nil, err
		}
		if err := v.s.messages.take(v.id, now); err != nil {
			return nil, err
		}
	}
	leave, err := v.s.inboxes.enter(ctx, v.id)
	if err != nil {
		return nil, err
	}
	defer leave()
	n, err := v.disk().Count(ctx, v.id, coffer.Query{Index: inboxKey, Has: []string{messageName}})
	if err != nil {
		return nil, err
	}
	if n >= maxMessages {
		return nil, &tooFast{coffer.Errorf("inbox", coffer.Exhausted, "the inbox is full"), fullPause}
	}
	w, err := v.write(coffer.Write{Document: d})
	if err != nil {
		return nil, err
	}
	return v.commit(ctx, r, []store.Write{w})
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
