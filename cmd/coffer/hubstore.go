package main

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/hub"
	"github.com/cofferhq/coffer/internal/jose"
)

type hubStoreCommand struct {
	Who   string `arg:"" help:"With whom you share it: contact or identifier."`
	Key   string `arg:"" optional:"" help:"Write its value; without it, all keys and values."`
	Value string `arg:"" optional:"" help:"Keep this under the key: JSON, or a text."`
	Rm    bool   `help:"Remove the key."`

	LetIn    bool  `help:"Let them use it. Again, with other bounds: extend it."`
	MaxBytes int64 `placeholder:"N" help:"With --let-in: how much it may hold."`
	MaxKeys  int64 `placeholder:"N" help:"With --let-in: how many keys."`

	Theirs bool `help:"The one that they keep for you, in their hub."`
	hubPlace
}

// Help says more.
func (hubStoreCommand) Help() string {
	return `A store is yours and one other's: nobody else can see it. The node sees the keys, and not the values.

Examples:
  coffer hub store shop --let-in --max-keys 20
  coffer hub store shop size '{"shoe": 42}'
  coffer hub store shop
  coffer hub store Alice size --theirs          # at the shop's`
}

// A storeEntry is how results describe a key.
type storeEntry struct {
	Key   string          `json:"key"`
	Value json.RawMessage `json:"value"`
}

// Run works in a store.
func (c *hubStoreCommand) Run(ctx context.Context, p *program) error {
	if err := c.check(); err != nil {
		return err
	}
	o, err := p.open(ctx, 1)
	if err != nil {
		return err
	}
	defer o.close()
	did, err := o.whom(ctx, c.Who)
	if err != nil {
		return err
	}
	hubOwner, with := o.ring.DID(), did
	if c.Theirs {
		hubOwner, with = did, o.ring.DID()
	}
	h, err := o.hub(ctx, hubOwner, c.At, "")
	if err != nil {
		return err
	}
	s := h.Store(with)
	switch {
	case c.LetIn:
		err = c.letIn(ctx, o, h, did)
	case c.Rm:
		err = s.Remove(ctx, c.Key)
		err = c.told(p, err, "removed")
	case c.Value != "":
		err = s.Put(ctx, c.Key, textOrJSON(c.Value))
		err = c.told(p, err, "kept")
	case c.Key != "":
		var v json.RawMessage
		if err = s.Get(ctx, c.Key, &v); err == nil {
			err = p.result(storeEntry{c.Key, v}, "%s", v)
		}
	default:
		err = c.all(ctx, p, s)
	}
	var fault *coffer.Fault
	if errors.Is(err, coffer.NotExist) && !errors.As(err, &fault) {
		return explain(err, "see what there is without a key", "nothing is kept under %s", c.Key)
	}
	return o.explainHub(h, err, "cannot use the store")
}

// check refuses arguments that do not go together.
func (c *hubStoreCommand) check() error {
	const help = `see "coffer hub store --help"`
	switch {
	case c.Rm && (c.Key == "" || c.Value != "" || c.LetIn):
		return failed(coffer.Invalid, help, "--rm goes with a key, and with nothing else")
	case c.LetIn && (c.Key != "" || c.Theirs):
		return failed(coffer.Invalid, help, "--let-in is for your own store with them, as a whole")
	case !c.LetIn && (c.MaxBytes != 0 || c.MaxKeys != 0):
		return failed(coffer.Invalid, help, "--max-bytes and --max-keys go with --let-in")
	case c.MaxBytes < 0 || c.MaxKeys < 0:
		return failed(coffer.Invalid, help, "a bound is not negative")
	}
	return nil
}

// letIn lets the other one use the store. A permission that was there before ends once the new one is given.
func (c *hubStoreCommand) letIn(ctx context.Context, o *owner, h *hub.Hub, did string) error {
	var before []coffer.CommitRev
	for g, err := range h.Grants(ctx) {
		switch {
		case errors.Is(err, coffer.Corrupt):
			continue
		case err != nil:
			return err
		case g.Kind.Interface == coffer.StoresInterface && g.Grantee == did:
			before = append(before, g.ID)
		}
	}
	id, err := h.GrantStore(ctx, did, c.MaxBytes, c.MaxKeys)
	if err != nil {
		return err
	}
	for _, old := range before {
		if err := h.Revoke(ctx, old); err != nil {
			return err
		}
	}
	p := o.program
	if p.Quiet && !p.JSON {
		return nil
	}
	return p.result(struct {
		ID   string `json:"id"`
		With string `json:"with"`
	}{id.String(), did}, "%s can use the store; end it with: coffer hub revoke %s", printable(o.callHub(ctx, did)), short(id))
}

// told says what became of a key.
func (c *hubStoreCommand) told(p *program, err error, done string) error {
	if err != nil || p.Quiet && !p.JSON {
		return err
	}
	return p.result(struct {
		Key  string `json:"key"`
		Done string `json:"done"`
	}{c.Key, done}, "%s %s", done, printable(c.Key))
}

func (c *hubStoreCommand) all(ctx context.Context, p *program, s *hub.Store) error {
	t := p.table()
	var bad unopened
	for e, err := range s.All(ctx) {
		switch {
		case err != nil && bad.one(err):
			continue
		case err != nil:
			return err
		}
		bad.some = true
		if err := t.row(storeEntry(e), e.Key, cut(compact(e.Value))); err != nil {
			return err
		}
	}
	if err := t.flush(); err != nil {
		return err
	}
	return bad.failure(p)
}

// textOrJSON is what a text on the command line means: JSON if it is that, and else itself.
func textOrJSON(s string) any {
	if jose.Valid([]byte(s)) == nil {
		return json.RawMessage(s)
	}
	return s
}
