package vault

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"iter"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/store"
)

// Revocations stay for a day after their capability has ended, by the tolerance between clocks and then some.
const revocationGrace = 24 * 60 * 60 // seconds

// delegatesRevocations is what a vault's list of revocations may hold after somebody else than its controller has added
// to it: delegates can make capabilities without end, and revoke them.
var delegatesRevocations = store.Usage{Documents: 10_000, Bytes: 16 << 20}

// revocationID is where the revocation of what a delegator delegated is kept. The delegator is part of it: who makes a
// capability with an id that another uses cannot revoke the other's.
func revocationID(l grant.Link) coffer.ObjectID {
	h := sha256.New()
	for _, s := range []string{"coffer revocation", l.Delegator, l.ID} {
		sum := sha256.Sum256([]byte(s))
		h.Write(sum[:])
	}
	return coffer.ObjectID(h.Sum(nil)[:16])
}

// revoked reports whether the link is revoked in the vault.
func (s *Service) revoked(ctx context.Context, id coffer.VaultID, l grant.Link) (bool, error) {
	_, err := s.store.Get(ctx, law(id), revocationID(l))
	if errors.Is(err, coffer.NotExist) {
		return false, nil
	}
	return err == nil, err
}

// Revoked reports whether any of the links is revoked in this vault. It asks no authority.
func (v *View) Revoked(ctx context.Context, links []grant.Link) (bool, error) {
	for _, l := range links {
		if is, err := v.s.revoked(ctx, v.id, l); is || err != nil {
			return is, err
		}
	}
	return false, nil
}

// Revoke revokes a capability whose chain has been verified for this vault; encoded is its JSON. From then on it opens
// nothing, nor does what was delegated from it.
//
// The caller's authority comes from the vault's root capability, or from the root capability for the URL of this
// revocation, at, whose controllers are the vault's and all who took part in the chain: so the delegate, too, can cut
// it. NotExist if the capability, or one that it rests on, is revoked already. Delegates fill no more than a bounded
// part of the list: Exhausted. The controller can always revoke.
func (v *View) Revoke(ctx context.Context, at string, c *grant.Capability, encoded []byte) error {
	const op = "revoke"
	defer v.s.gates.change(v.id)()
	now := v.s.now()
	revoked := func(l grant.Link) (bool, error) { return v.s.revoked(ctx, v.id, l) }
	// Only the authority of the vault's root rests on its controller; that of the other was verified against the chain.
	if _, err := v.decide(ctx, grant.Write, v.url+"/zcaps/revocations", at); err != nil {
		r, lookupErr := v.s.lookup(ctx, v.id)
		if lookupErr != nil || r.Erased {
			return err
		}
		if grant.Decide(v.caller, grant.Act{Root: at, Action: grant.Write, Targets: []string{at}}, now, revoked) != nil {
			return err
		}
		// The URL alone does not say that it is this capability's.
		took := func(who string) bool { return same(who, v.caller.Who()) }
		if !took(r.Controller) && !slices.ContainsFunc(c.ChainControllers(), took) {
			return err
		}
		if err := v.s.pace.take(v.id, now); err != nil {
			return err
		}
	}
	links := c.Links()
	if len(links) == 0 {
		return coffer.Errorf(op, coffer.Invalid, "not a delegated capability")
	}
	if is, err := v.Revoked(ctx, links); err != nil {
		return err
	} else if is {
		return refused(coffer.Errorf(op, coffer.NotExist, "revoked already"))
	}
	link := links[len(links)-1]
	body, err := json.Marshal(coffer.Revocation{
		Capability: encoded, Delegator: link.Delegator, By: v.caller.Who(), Time: now, Expires: link.Expires,
	})
	if err != nil {
		return coffer.E(op, coffer.Invalid, err)
	}
	w := store.Write{Vault: law(v.id), By: v.caller.Who(), Time: now,
		Document: &coffer.Document{ID: revocationID(link), Body: body}}
	if r, err := v.s.lookup(ctx, v.id); err != nil {
		return err
	} else if !same(v.caller.Who(), r.Controller) {
		w.Limit = delegatesRevocations
	}
	if _, err = v.s.apply(ctx, w); err != nil {
		return err
	}
	v.s.feed.Grew(v.id) // so that those who follow are decided on anew
	return nil
}

// Revocations yields the revocations that have not outlived their capabilities, oldest first.
func (v *View) Revocations(ctx context.Context) iter.Seq2[coffer.Revocation, error] {
	return func(yield func(coffer.Revocation, error) bool) {
		if _, err := v.decide(ctx, grant.Read, v.url+"/zcaps/revocations"); err != nil {
			yield(coffer.Revocation{}, err)
			return
		}
		var all []coffer.Revocation
		for d, err := range v.s.store.Query(ctx, law(v.id), coffer.Query{}) {
			var r coffer.Revocation
			if err == nil && json.Unmarshal(d.Body, &r) != nil {
				err = coffer.Errorf("revocation", coffer.Corrupt, "unreadable")
			}
			if err != nil {
				yield(coffer.Revocation{}, err)
				return
			}
			if v.s.now().Unix() <= r.Expires.Unix()+revocationGrace {
				all = append(all, r)
			}
		}
		slices.SortStableFunc(all, func(a, b coffer.Revocation) int { return a.Time.Compare(b.Time) })
		for _, r := range all {
			if !yield(r, nil) {
				return
			}
		}
	}
}
