package vault

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/store"
)

// A View is one vault as one caller may see it. It keeps the contract of [coffer.Vault]; each method decides anew.
type View struct {
	s      *Service
	caller grant.Caller
	id     coffer.VaultID
	url    string
}

// As returns the vault as the caller may see it. It never fails: what the caller may not do, or does not exist, shows
// when it is tried.
func (s *Service) As(caller grant.Caller, id coffer.VaultID) *View {
	return &View{s: s, caller: caller, id: id, url: s.target(id)}
}

// disk is the store, in the vault's turns.
func (v *View) disk() disk { return v.s.disk(v.id) }

// The names of what is in a vault, as capabilities name them.
func (v *View) documents() string                  { return v.url + "/documents" }
func (v *View) document(id coffer.ObjectID) string { return v.url + "/documents/" + id.String() }

// lawful calls act, which decides and then commits under the law that it decided under. When that law has moved before
// the commit, nothing was written, and act is called again: so once a revocation, a new controller or the end of the
// vault is acknowledged, at whichever node, nothing is written that it forbids. first is true the first time: an act
// counts as one call. Unavailable when the law moves again and again.
func (v *View) lawful(ctx context.Context, act func(first bool) error) error {
	for i := range lawAttempts {
		err := act(i == 0)
		if !errors.Is(err, store.ErrMoved) {
			return err
		}
		v.s.configs.forget(v.id)
		if err := ctx.Err(); err != nil {
			return coffer.E("vault", coffer.Unavailable, err)
		}
	}
	return coffer.Errorf("vault", coffer.Unavailable, "who may do what in the vault is changing all the time")
}

// lawAttempts is how often an act is decided on. Of those who change the law at once, one wins each time.
const lawAttempts = 64

// decide is the gate: it returns the vault's configuration if the caller may do the act, now. Otherwise the error is a
// refusal: NotExist when the caller has no right in this vault at all, or there is no such vault; Denied when the
// caller has some right in it, but not this one.
func (v *View) decide(ctx context.Context, action grant.Action, targets ...string) (*record, error) {
	return v.decideOn(ctx, true, action, targets...)
}

// decideOn is decide for an act that may be decided on several times, and counts once.
func (v *View) decideOn(ctx context.Context, first bool, action grant.Action, targets ...string) (*record, error) {
	r, err := v.allow(ctx, action, targets...)
	if err == nil && first {
		err = v.count()
	}
	switch {
	case err != nil:
		return nil, err
	case r.Erased:
		return nil, nothing()
	}
	return r, nil
}

// admit is decide, also for the controller of a vault that has been erased.
func (v *View) admit(ctx context.Context, action grant.Action, targets ...string) (*record, error) {
	r, err := v.allow(ctx, action, targets...)
	if err != nil {
		return nil, err
	}
	return r, v.count()
}

// count counts a call at the vault's rate.
func (v *View) count() error { return v.s.pace.take(v.id, v.s.now()) }

// allow is admit without counting the call: for what a call decides on again.
func (v *View) allow(ctx context.Context, action grant.Action, targets ...string) (*record, error) {
	r, err := v.s.lookup(ctx, v.id)
	if errors.Is(err, coffer.NotExist) {
		return nil, nothing()
	} else if err != nil {
		return nil, err
	}
	if err := v.judge(ctx, r, action, targets...); err != nil {
		return nil, err
	}
	return r, nil
}

// judge decides by a configuration and the law that it was read under: for what is decided on in one with something
// else.
func (v *View) judge(ctx context.Context, r *record, action grant.Action, targets ...string) error {
	// The authority was verified against the controller of that time: a vault that changed hands since obeys its
	// new controller only.
	if !same(authority(v.caller), r.Controller) {
		return nothing()
	}
	// With an erased vault went its revocations, which could no longer stop a delegate.
	if r.Erased && len(v.caller.Links()) > 0 {
		return nothing()
	}
	act := grant.Act{Root: v.url, Action: action, Targets: targets}
	err := grant.Decide(v.caller, act, v.s.now(), v.cut(ctx, r))
	switch coffer.KindOf(err) {
	case coffer.NotExist:
		return nothing()
	case coffer.Denied:
		return refused(err)
	}
	return err
}

// cut returns what tells whether a link is revoked under the configuration's law.
func (v *View) cut(ctx context.Context, r *record) func(grant.Link) (bool, error) {
	return func(l grant.Link) (bool, error) { return v.s.revoked(ctx, v.id, r.law, l) }
}

// authority returns whose authority a caller's rests on: the first delegator's, or its own.
func authority(c grant.Caller) string {
	if links := c.Links(); len(links) > 0 {
		return links[0].Delegator
	}
	return c.Who()
}

// A refusal is an error of the gate, as opposed to one about what lies behind it.
type refusal struct{ error }

func (r *refusal) Unwrap() error { return r.error }

// Refused marks the error as the gate's.
func (r *refusal) Refused() bool { return true }

func refused(err error) error { return &refusal{err} }

// nothing is the answer to those who have no right at all, be there a vault or not.
func nothing() error { return refused(coffer.Errorf("vault", coffer.NotExist, "no such vault")) }
