package vault

import (
	"context"
	"errors"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// gates keep acts that change who may do what in a vault apart from writes to it: those decide and commit inside, so
// that once a revocation, a new controller or the end of the vault is acknowledged, nothing is written that it forbids.
// Vaults share gates.
type gates [64]sync.RWMutex

// write is held by a write to the vault, from its decision to its commit.
func (g *gates) write(id coffer.VaultID) (leave func()) {
	m := &g[int(id[0])%len(g)]
	m.RLock()
	return m.RUnlock
}

// change is held by an act that changes who may do what.
func (g *gates) change(id coffer.VaultID) (leave func()) {
	m := &g[int(id[0])%len(g)]
	m.Lock()
	return m.Unlock
}

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

// The names of what is in a vault, as capabilities name them.
func (v *View) documents() string                  { return v.url + "/documents" }
func (v *View) document(id coffer.ObjectID) string { return v.url + "/documents/" + id.String() }

// decide is the gate: it returns the vault's configuration if the caller may do the act, now. Otherwise the error is a
// refusal: NotExist when the caller has no right in this vault at all, or there is no such vault; Denied when the
// caller has some right in it, but not this one.
func (v *View) decide(ctx context.Context, action grant.Action, targets ...string) (*record, error) {
	r, err := v.admit(ctx, action, targets...)
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
	return r, v.s.pace.take(v.id, v.s.now())
}

// allow is admit without counting the call: for what a call decides on again.
func (v *View) allow(ctx context.Context, action grant.Action, targets ...string) (*record, error) {
	r, err := v.s.lookup(ctx, v.id)
	if errors.Is(err, coffer.NotExist) {
		return nil, nothing()
	} else if err != nil {
		return nil, err
	}
	// The authority was verified against the controller of that time: a vault that changed hands since obeys its
	// new controller only.
	if !same(authority(v.caller), r.Controller) {
		return nil, nothing()
	}
	// With an erased vault went its revocations, which could no longer stop a delegate.
	if r.Erased && len(v.caller.Links()) > 0 {
		return nil, nothing()
	}
	act := grant.Act{Root: v.url, Action: action, Targets: targets}
	err = grant.Decide(v.caller, act, v.s.now(), func(l grant.Link) (bool, error) { return v.s.revoked(ctx, v.id, l) })
	switch coffer.KindOf(err) {
	case coffer.NotExist:
		return nil, nothing()
	case coffer.Denied:
		return nil, refused(err)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
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
