package vault

import (
	"context"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/store"
)

// Config returns the vault's configuration.
func (v *View) Config(ctx context.Context) (*coffer.Config, error) {
	r, err := v.decide(ctx, grant.Read, v.url)
	if err != nil {
		return nil, err
	}
	c := r.Config
	return &c, nil
}

// Configure replaces the vault's configuration. Conflict unless its sequence is one more than the present one's;
// Invalid if it would change id or referenceId. A new controller takes the vault over: all capabilities that the old
// one delegated are void. Whose the vault is, and from where it may be reached, no delegate may change: Denied.
func (v *View) Configure(ctx context.Context, c *coffer.Config) error {
	if err := v.lawful(ctx, func(first bool) error { return v.configure(ctx, c, first) }); err != nil {
		return err
	}
	v.s.feed.Grew(v.id) // so that those who follow are decided on anew
	return nil
}

func (v *View) configure(ctx context.Context, c *coffer.Config, first bool) error {
	const op = "configure vault"
	old, err := v.decideOn(ctx, first, grant.Write, v.url)
	if err != nil {
		return err
	}
	if err := checkConfig(c); err != nil {
		return err
	}
	delegated := len(v.caller.Links()) > 0
	switch {
	case delegated && (c.Controller != old.Controller || !slices.Equal(c.IPAllowList, old.IPAllowList)):
		return refused(coffer.Errorf(op, coffer.Denied, "only for the vault's controller"))
	case c.ID != old.ID:
		return coffer.Errorf(op, coffer.Invalid, "the id is not this vault's")
	case c.ReferenceID != old.ReferenceID:
		return coffer.Errorf(op, coffer.Invalid, "referenceId may not change")
	case c.MeterID != old.MeterID:
		return coffer.Errorf(op, coffer.Invalid, "meterId may not change")
	case c.Sequence != old.Sequence+1:
		return coffer.Errorf(op, coffer.Conflict, "sequence is not one more than the present one")
	}
	_, err = v.replace(ctx, old, &record{Config: *c}, store.Write{Vault: v.id, Govern: true, Law: &old.law})
	return err
}

// replace puts a new configuration in the place of old, with writes that move the vault's law.
func (v *View) replace(ctx context.Context, old, r *record, also ...store.Write) ([]store.Result, error) {
	d, err := r.document(v.id)
	if err != nil {
		return nil, err
	}
	d.Parents = []coffer.Rev{old.rev}
	writes := append(also, store.Write{Vault: own, By: v.caller.Who(), Time: v.s.now(), Document: d})
	defer v.s.configs.forget(v.id) // a loser of a race, too, is to read what won
	return v.disk().Apply(ctx, writes...)
}

// EraseVault erases the vault: documents, chunks, revocations, and the configuration but for id and controller, who
// can still read in the feed that it was erased. Only the controller may, no delegate.
func (v *View) EraseVault(ctx context.Context) (coffer.Change, error) {
	var r store.Result
	err := v.lawful(ctx, func(first bool) (err error) {
		r, err = v.purge(ctx, first)
		return err
	})
	if err != nil {
		return coffer.Change{}, err
	}
	v.s.feed.Grew(v.id)
	v.s.release(ctx, v.id, r)
	return v.placed(r.Change), nil
}

// purge erases the vault from the store.
func (v *View) purge(ctx context.Context, first bool) (r store.Result, err error) {
	old, err := v.decideOn(ctx, first, grant.Write, v.url)
	if err != nil {
		return r, err
	}
	if len(v.caller.Links()) > 0 {
		return r, refused(coffer.Errorf("erase vault", coffer.Denied, "only for the vault's controller"))
	}
	gone := &record{Erased: true, Config: coffer.Config{ID: old.ID, Sequence: old.Sequence + 1, Controller: old.Controller}}
	by, now := v.caller.Who(), v.s.now()
	results, err := v.replace(ctx, old, gone,
		store.Write{Vault: v.id, By: by, Time: now, Purge: true, Law: &old.law},
		store.Write{Vault: law(v.id), By: by, Time: now, Purge: true},
		store.Write{Vault: tileVault(v.id), By: by, Time: now, Purge: true})
	if err != nil {
		return r, err
	}
	return results[0], nil
}
