package hub

import (
	"context"
	"encoding/json"
	"maps"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/merge"
)

// Permissions: the owner's grants. The owner alone writes them; a grantee reads those that are made to himself. What is
// in force follows from the state of the object, as for any other.

// permissionOpen reports whether a grant in force was made to who asks.
func permissionOpen(_ *Service, r *row, who string) bool {
	p := r.permission()
	return p != nil && who != "" && p.Grantee == who
}

// inForce returns the grant that an object of Permissions is by its last commit, without the keys that it delivers; nil
// if it is none: deleted, not the owner's, not well-formed, or not of the strategy that grants have.
func inForce(o *coffer.HubObject, last *merge.Commit) json.RawMessage {
	if o.Deleted || o.CreatedBy != o.Sub || o.UpdatedBy != o.Sub || checkGrant(o.Strategy, last) != nil {
		return nil
	}
	var m map[string]json.RawMessage
	if json.Unmarshal(last.Payload, &m) != nil {
		return nil
	}
	maps.DeleteFunc(m, func(name string, _ json.RawMessage) bool { return name == "keys" || strings.HasPrefix(name, "@") })
	b, err := json.Marshal(m)
	if err != nil {
		return nil
	}
	return b
}

// checkGrant checks a create or update commit of a grant.
func checkGrant(strategy string, c *merge.Commit) error {
	h := &c.Header
	switch {
	case h.Context != grant.PermissionContext:
		return invalid("commit.protected.context", "not the context of PermissionGrants")
	case h.Type != grant.PermissionType:
		return invalid("commit.protected.type", "not the type of PermissionGrants")
	case strategy != merge.Basic:
		return invalid("commit.protected.commit_strategy", "PermissionGrants have the basic strategy")
	}
	p, err := grant.ParsePermission(c.Payload)
	switch {
	case err != nil:
		return err
	case p.Owner != h.Sub:
		return invalid("commit.payload.owner", "not the owner of this hub")
	case p.Interface != "" && rulesOf(p.Interface) == nil:
		return invalid("commit.payload.interface", "no such interface")
	}
	return nil
}

func acceptPermission(_ context.Context, _ *hub, v *view, _ *row, c *merge.Commit, by *standing) error {
	if !by.owner {
		return denied()
	}
	if c.Header.Operation == merge.Delete {
		return nil
	}
	if err := checkGrant(c.Header.Strategy, c); err != nil {
		return err
	}
	p, err := grant.ParsePermission(c.Payload)
	if err != nil || p.Filter == "" {
		return err
	}
	if v.s.o.Filter == nil {
		return notImplemented("commit.payload.filter", "filters are not offered")
	}
	if _, err := v.s.o.Filter(p.Filter); err != nil {
		return invalid("commit.payload.filter", "not a filter")
	}
	return nil
}

// irrevocable returns Locked when what an object was grants something that it may not yet be taken from its grantee,
// and what it becomes does no more.
func (s *Service) irrevocable(was, is *row) error {
	old := was.permission()
	if old == nil || !s.o.Now().Before(old.NotRevocableBefore) || !is.permission().Narrows(old) {
		return nil
	}
	return coffer.E("hub", coffer.Locked, &coffer.Fault{Target: "commit", Reason: "the grant is not revocable yet"})
}

// permissionTags are what a grant in force is found by.
func permissionTags(r *row, add func(texts ...string)) {
	p := r.permission()
	if p == nil {
		return
	}
	add(byGrantee, p.Grantee)
	if p.Objects == nil {
		add(byGrant, p.Grantee, p.Context, p.Type)
		return
	}
	add(bySomeGrant, p.Grantee, p.Context, p.Type)
	for _, o := range p.Objects {
		add(byObjectGrant, p.Grantee, p.Context, p.Type, o.String())
	}
}
