package hub

import (
	"context"
	"errors"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/merge"
)

// maxAhead is how far ahead a writer's clock may be.
const maxAhead = 10 * time.Minute

// Write implements [coffer.Hub].
func (v *view) Write(ctx context.Context, owner string, c *coffer.Commit) ([]coffer.CommitRev, error) {
	if c == nil {
		return nil, invalid("commit", "Required parameter is missing")
	}
	m, err := merge.Parse(c)
	if err != nil {
		return nil, err
	}
	if c.Withheld != nil {
		return nil, invalid("commit.withheld", "only of what was accepted elsewhere may the payload be withheld")
	}
	// What a hub signs for somebody, it does not take from outside, from nobody.
	if v.who == "" || m.Signer() != v.who || author(m) != v.who || v.s.o.Signer != nil && v.who == v.s.o.Signer.DID() {
		return nil, invalid("commit", "The commit must be signed by the request issuer")
	}
	if err := v.s.verify(ctx, m); err != nil {
		return nil, err
	}
	if rulesOf(m.Header.Interface) == nil {
		return nil, invalid("commit.protected.interface", "no such interface")
	}
	drafts, err := v.write(ctx, owner, m)
	if err != nil {
		return nil, err
	}
	return drafts[0].is.revs(), nil
}

// verify checks a commit's signature.
func (s *Service) verify(ctx context.Context, c *merge.Commit) error {
	key, err := s.o.Key(ctx, c.Header.KeyID, c.Header.Alg, coffer.Assertion)
	switch {
	case errors.Is(err, coffer.Unavailable):
		return err
	case err != nil || !c.Verify(key):
		return invalid("commit", "Signature could not be verified")
	}
	return nil
}

// write stores commits of the caller's, each of another object, or none of them.
func (v *view) write(ctx context.Context, owner string, commits ...*merge.Commit) ([]*draft, error) {
	h, err := v.hubFor(ctx, owner, commits[0].Header.Interface)
	if err != nil {
		return nil, err
	}
	if commits[0].Header.Interface == coffer.StoresInterface && !v.owns(owner) {
		lock := &v.s.stores[mac(h.ids[:], commits[0].Header.Context)[0]]
		lock.Lock() // what is counted must not grow meanwhile
		defer lock.Unlock()
	}
	return v.s.store(ctx, h, commits, func(r *row, c *merge.Commit, first bool) (*standing, error) {
		return v.judge(ctx, h, r, c, first)
	})
}

// hubFor returns the owner's hub to write to. The owner makes it by writing; for others, who may leave an action, it is
// made only when the owner is named as one who has a hub.
func (v *view) hubFor(ctx context.Context, owner, iface string) (*hub, error) {
	named := len(v.s.o.Owners) > 0 && iface == coffer.ActionsInterface && v.who != ""
	h, err := v.s.open(ctx, owner, v.owns(owner) || named)
	if err == nil && h == nil {
		err = denied()
	}
	return h, err
}

// judge decides on a commit of the caller's. r is its object, nil if it is not there.
func (v *view) judge(ctx context.Context, h *hub, r *row, c *merge.Commit, first bool) (*standing, error) {
	hd := &c.Header
	there := r != nil && r.of(c)
	o := &coffer.HubObject{Interface: hd.Interface, Context: hd.Context, Type: hd.Type, Sub: h.owner, Meta: hd.Meta}
	switch {
	case there:
		o = &r.Object
	case hd.Operation == merge.Create:
		o.CreatedBy, o.CreatedAt, o.Strategy = v.who, hd.CommittedAt, hd.Strategy
		o.UpdatedBy, o.UpdatedAt = o.CreatedBy, o.CreatedAt
	}
	by, err := v.may(ctx, h, rightFor(hd.Operation), o)
	leaves := hd.Interface == coffer.ActionsInterface && hd.Operation == merge.Create && v.who != ""
	if leaves && errors.Is(err, coffer.Denied) {
		by, err = &standing{}, nil // anybody may
	}
	switch {
	case err != nil:
		return nil, err
	case hd.Sub != h.owner:
		return nil, invalid("commit.protected.sub", "not the owner of this hub")
	case hd.Operation != merge.Create && !there:
		return nil, notExist("commit.protected.object_id")
	case there && r.has(c.Rev):
		return by, nil
	case !merge.Known(hd.Strategy):
		return nil, invalid("commit.protected.commit_strategy", "no such strategy")
	case hd.CommittedAt.After(v.s.o.Now().Add(maxAhead)):
		return nil, invalid("commit.protected.committed_at", "in the future")
	}
	if there {
		if err := c.Follows(r.created()); err != nil {
			return nil, err
		}
	}
	if accept := rulesOf(hd.Interface).accept; accept != nil && first {
		return by, accept(ctx, h, v, r, c, by)
	}
	return by, nil
}

// Adopt implements [coffer.Hub].
func (v *view) Adopt(ctx context.Context, owner string, commits ...*coffer.Commit) (int, error) {
	if !v.owns(owner) {
		return 0, denied()
	}
	if len(commits) > coffer.MaxAdopt {
		return 0, invalid("commits", "too many")
	}
	h, err := v.s.open(ctx, owner, true)
	if err != nil || len(commits) == 0 {
		return 0, err
	}
	parsed := make([]*merge.Commit, len(commits))
	for i, c := range commits {
		if c == nil {
			return 0, invalid("commit", "Required parameter is missing")
		}
		m, err := merge.Parse(c)
		if err != nil {
			return 0, err
		}
		switch {
		case m.Header.Sub != owner:
			return 0, invalid("commit.protected.sub", "not the owner of this hub")
		case rulesOf(m.Header.Interface) == nil:
			return 0, invalid("commit.protected.interface", "no such interface")
		case !merge.Known(m.Header.Strategy):
			return 0, invalid("commit.protected.commit_strategy", "no such strategy")
		case m.Header.Interface == coffer.PermissionsInterface && (author(m) != owner || !v.s.vouches(m.Signer(), owner)):
			return 0, invalid("commit.protected.kid", "grants are the owner's alone")
		}
		if c.Withheld != nil {
			if i := m.Header.Interface; i == coffer.PermissionsInterface || i == coffer.ActionsInterface {
				return 0, invalid("commit.withheld", "not of this interface")
			}
		} else if err := v.s.verify(ctx, m); err != nil {
			return 0, err
		}
		parsed[i] = m
	}
	n := 0
	drafts, err := v.s.store(ctx, h, parsed, nil)
	for _, d := range drafts {
		n += len(d.fresh) + len(d.whole)
	}
	return n, err
}
