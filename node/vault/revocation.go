package vault

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/store"
)

// Revocations stay for a day after their capability has ended, by the tolerance between clocks and then some.
const revocationGrace = 24 * 60 * 60 // seconds

// A listLimit is what a vault's list of revocations may hold: after somebody else than its controller has added to it,
// since delegates can make capabilities without end, and revoke them; and after the controller has.
type listLimit struct{ delegates, owner store.Usage }

var revocationsLimit = listLimit{
	delegates: store.Usage{Documents: 10_000, Bytes: 16 << 20},
	owner:     store.Usage{Documents: 100_000, Bytes: 160 << 20},
}

// prunings is how often in a second a vault's list, when it is full, is read for what may leave it.
const prunings = 1. / 600

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

// revocationsKept is how many links are remembered to be revoked or not: about 200 bytes each.
const revocationsKept = 32768

// A verdict says whether a link was revoked when the vault's law had the number.
type verdict struct {
	law     uint64
	revoked bool
}

type linkPlace struct {
	vault coffer.VaultID
	id    coffer.ObjectID // of the revocation, if there is one
}

func newVerdicts() *lru.Cache[linkPlace, verdict] {
	kept, err := lru.New[linkPlace, verdict](revocationsKept)
	if err != nil {
		panic(err) // only for a size below one
	}
	return kept
}

// revoked reports whether the link is revoked in the vault, for a decision under the law with the number, which was
// read before.
func (s *Service) revoked(ctx context.Context, id coffer.VaultID, number uint64, l grant.Link) (bool, error) {
	at := linkPlace{id, revocationID(l)}
	if known, ok := s.verdicts.Get(at); ok && known.law == number {
		return known.revoked, nil
	}
	_, err := s.disk(id).Get(ctx, law(id), at.id)
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return false, err
	}
	s.verdicts.Add(at, verdict{number, err == nil})
	return err == nil, nil
}

// Revoked reports whether any of the links is revoked in this vault. It asks no authority.
func (v *View) Revoked(ctx context.Context, links []grant.Link) (bool, error) {
	r, err := v.s.lookup(ctx, v.id)
	if errors.Is(err, coffer.NotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return v.revoked(ctx, r, links)
}

func (v *View) revoked(ctx context.Context, r *record, links []grant.Link) (bool, error) {
	for _, l := range links {
		if is, err := v.s.revoked(ctx, v.id, r.law, l); is || err != nil {
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
// it. NotExist if the capability, or one that it rests on, is revoked already. Exhausted if the list of revocations is
// full of such as still matter; delegates fill no more than a small part of what the controller may.
func (v *View) Revoke(ctx context.Context, at string, c *grant.Capability, encoded []byte) error {
	err := v.lawful(ctx, func(first bool) error { return v.revoke(ctx, at, c, encoded, first) })
	if err != nil {
		return err
	}
	v.s.feed.Grew(v.id) // so that those who follow are decided on anew
	return nil
}

func (v *View) revoke(ctx context.Context, at string, c *grant.Capability, encoded []byte, first bool) error {
	const op = "revoke"
	now := v.s.now()
	r, err := v.decideOn(ctx, first, grant.Write, v.url+"/zcaps/revocations", at)
	if err != nil {
		if r, err = v.tookPart(ctx, at, c, first, err); err != nil {
			return err
		}
	}
	links := c.Links()
	if len(links) == 0 {
		return coffer.Errorf(op, coffer.Invalid, "not a delegated capability")
	}
	if is, err := v.revoked(ctx, r, links); err != nil {
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
	w := store.Write{Vault: law(v.id), By: v.caller.Who(), Time: now, Limit: v.s.revocations.owner,
		Document: &coffer.Document{ID: revocationID(link), Body: body}}
	if !same(v.caller.Who(), r.Controller) {
		w.Limit = v.s.revocations.delegates
	}
	defer v.s.configs.forget(v.id)
	commit := func() error {
		_, err := v.disk().Apply(ctx, store.Write{Vault: v.id, Govern: true, Law: &r.law}, w)
		return err
	}
	if err = commit(); !errors.Is(err, coffer.Exhausted) || v.s.prunings.take(v.id, now) != nil {
		return err
	}
	if err := v.prune(ctx, w.By); err != nil {
		return err
	}
	return commit()
}

// outlived reports whether a revocation matters no more.
func outlived(r *coffer.Revocation, now time.Time) bool {
	return now.Unix() > r.Expires.Unix()+revocationGrace
}

// pruneMost is how many revocations leave the list in one commit.
const pruneMost = 1000

// prune erases revocations that have outlived their capabilities. What another one erases at the same time is no error.
func (v *View) prune(ctx context.Context, by string) error {
	now := v.s.now()
	var erase []store.Write
	commit := func() error {
		_, err := v.disk().Apply(ctx, erase...)
		erase = nil
		if errors.Is(err, coffer.NotExist) {
			return nil
		}
		return err
	}
	for d, err := range v.disk().Query(ctx, law(v.id), coffer.Query{}) {
		if err != nil {
			return err
		}
		var r coffer.Revocation
		if json.Unmarshal(d.Body, &r) != nil || !outlived(&r, now) {
			continue
		}
		erase = append(erase, store.Write{Vault: law(v.id), By: by, Time: now, Erase: &d.ID})
		if len(erase) == pruneMost {
			if err := commit(); err != nil {
				return err
			}
		}
	}
	if len(erase) == 0 {
		return nil
	}
	return commit()
}

// tookPart decides on who may revoke by having taken part in the chain: the authority of the vault's root rests on its
// controller, that of the other one was verified against the chain. It returns the vault's configuration, or the
// refusal.
func (v *View) tookPart(
	ctx context.Context, at string, c *grant.Capability, first bool, refusal error,
) (*record, error) {
	r, err := v.s.lookup(ctx, v.id)
	if err != nil || r.Erased {
		return nil, refusal
	}
	act := grant.Act{Root: at, Action: grant.Write, Targets: []string{at}}
	if grant.Decide(v.caller, act, v.s.now(), v.cut(ctx, r)) != nil {
		return nil, refusal
	}
	// The URL alone does not say that it is this capability's.
	took := func(who string) bool { return same(who, v.caller.Who()) }
	if !took(r.Controller) && !slices.ContainsFunc(c.ChainControllers(), took) {
		return nil, refusal
	}
	if first {
		err = v.s.pace.take(v.id, v.s.now())
	}
	return r, err
}

// Revocations yields the revocations that have not outlived their capabilities, oldest first.
func (v *View) Revocations(ctx context.Context) iter.Seq2[coffer.Revocation, error] {
	return func(yield func(coffer.Revocation, error) bool) {
		if _, err := v.decide(ctx, grant.Read, v.url+"/zcaps/revocations"); err != nil {
			yield(coffer.Revocation{}, err)
			return
		}
		var all []coffer.Revocation
		for d, err := range v.disk().Query(ctx, law(v.id), coffer.Query{}) {
			var r coffer.Revocation
			if err == nil && json.Unmarshal(d.Body, &r) != nil {
				err = coffer.Errorf("revocation", coffer.Corrupt, "unreadable")
			}
			if err != nil {
				yield(coffer.Revocation{}, err)
				return
			}
			if !outlived(&r, v.s.now()) {
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
