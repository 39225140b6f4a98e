package hub

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/merge"
)

// rules are how an interface differs from the others. The zero rules are those of Collections: what the owner has not
// granted nobody may, and what he has, its holder may.
type rules struct {
	// open reports whether who asks may read the object without a grant. It may be nil.
	open func(s *Service, r *row, who string) bool

	// granted narrows what a grant can be asked for; false when none can help. It may be nil.
	granted func(a *grant.Ask) bool

	// counts reports whether a grant counts, which otherwise does. It may be nil.
	counts func(p *grant.Permission, a *grant.Ask) bool

	// unique says that of a context and type there is but one object that is not deleted.
	unique bool

	// accept checks a commit that is new here. r is the object as it is, nil if the commit creates it. It may be nil.
	accept func(ctx context.Context, h *hub, v *view, r *row, c *merge.Commit, by *standing) error

	// tags adds what rows are found by beside what all are. It may be nil.
	tags func(r *row, add func(texts ...string))
}

// interfaces are the names of the interfaces that there are.
var interfaces = [...]string{
	coffer.ProfileInterface, coffer.PermissionsInterface, coffer.ActionsInterface,
	coffer.StoresInterface, coffer.CollectionsInterface, coffer.ServicesInterface,
}

// rulesOf returns the rules of an interface, nil if there is no such interface.
func rulesOf(name string) *rules {
	switch name {
	case coffer.ProfileInterface:
		return &rules{open: profileOpen, unique: true}
	case coffer.PermissionsInterface:
		return &rules{open: permissionOpen, accept: acceptPermission, tags: permissionTags}
	case coffer.ActionsInterface:
		return &rules{counts: actionCounts, accept: acceptAction, tags: actionTags}
	case coffer.StoresInterface:
		return &rules{granted: storeGranted, unique: true, accept: acceptStored, tags: storedTags}
	case coffer.CollectionsInterface:
		return &rules{}
	case coffer.ServicesInterface:
		return &rules{}
	}
	return nil
}

// A standing is on what somebody who may do something rests: his being the owner, a grant, or neither.
type standing struct {
	owner bool
	grant *grant.Permission
}

// stranger reports whether it is neither.
func (b *standing) stranger() bool { return !b.owner && b.grant == nil }

func denied() error { return coffer.Errorf("hub", coffer.Denied, "no grant allows it") }

func invalid(target, reason string) error {
	return coffer.E("hub", coffer.Invalid, &coffer.Fault{Target: target, Reason: reason})
}

func notExist(target string) error {
	const reason = "no such object with this interface, context and type"
	return coffer.E("hub", coffer.NotExist, &coffer.Fault{Target: target, Reason: reason})
}

func exhausted(target, reason string) error {
	return coffer.E("hub", coffer.Exhausted, &coffer.Fault{Target: target, Reason: reason})
}

func notImplemented(target, reason string) error {
	return coffer.E("hub", coffer.Invalid, &coffer.Fault{Code: coffer.NotImplemented, Target: target, Reason: reason})
}

// owns reports whether the caller is the hub's owner.
func (v *view) owns(owner string) bool { return v.who != "" && v.who == owner }

// ask returns what to ask grants for, false when none can help.
func (v *view) ask(h *hub, right grant.Rights, o *coffer.HubObject) (*grant.Ask, bool) {
	a := &grant.Ask{
		Now: v.s.o.Now(), Who: v.who, Owner: h.owner, Right: right, Purpose: v.purpose,
		Interface: o.Interface, Context: o.Context, Type: o.Type, Object: o.ID, Creator: o.CreatedBy,
		Match: func(text string) (bool, error) { return matches(v.s.filter(text), o), nil },
	}
	if v.who == "" { // nobody is one of everybody
		if right != grant.ReadRight {
			return nil, false
		}
		a.Who = coffer.Everybody
	}
	if r := rulesOf(o.Interface); r == nil || r.granted != nil && !r.granted(a) {
		return nil, false
	}
	return a, true
}

// filter reads the filter of a grant; nil if it is none.
func (s *Service) filter(text string) Filter {
	if s.o.Filter == nil {
		return nil
	}
	f, err := s.o.Filter(text)
	if err != nil {
		return nil
	}
	return f
}

// matches reports whether an object matches the filter of a grant. What cannot be decided does not match.
func matches(f Filter, o *coffer.HubObject) bool {
	if f == nil {
		return false
	}
	fields, err := json.Marshal(o)
	if err != nil {
		return false
	}
	ok, err := f.Match(fields)
	return ok && err == nil
}

// may returns on what the caller's right rests to do something with an object, which need not be there. Denied when it
// has none. Reading without a grant is readable's.
func (v *view) may(ctx context.Context, h *hub, right grant.Rights, o *coffer.HubObject) (*standing, error) {
	if v.owns(h.owner) {
		return &standing{owner: true}, nil
	}
	a, ok := v.ask(h, right, o)
	if !ok {
		return nil, denied()
	}
	tags := []string{h.tag(byGrant, a.Who, a.Context, a.Type)}
	if a.Object != (coffer.CommitRev{}) {
		tags = append(tags, h.tag(byObjectGrant, a.Who, a.Context, a.Type, a.Object.String()))
	}
	if right == grant.ReadRight {
		tags = append(tags, h.tag(byGrant, coffer.Everybody, a.Context, a.Type),
			h.tag(byObjectGrant, coffer.Everybody, a.Context, a.Type, a.Object.String()))
	}
	var by *standing
	var used coffer.ObjectID
	for d, err := range h.documents(ctx, tags, coffer.ObjectID{}, grantsAtOnce) {
		if err != nil {
			return nil, err
		}
		p, err := h.grantIn(d)
		if err != nil {
			return nil, err
		}
		if allows(p, a) {
			by, used = &standing{grant: p}, d.ID
			break
		}
	}
	if by == nil {
		return nil, denied()
	}
	return by, h.use(ctx, used, a.Now) // after the query, which has a view of the store open
}

// grantsAtOnce is how many grants are asked for at a time.
const grantsAtOnce = 64

func (h *hub) grantIn(d *coffer.Document) (*grant.Permission, error) {
	r, err := h.readRow(d, false)
	if err != nil {
		return nil, err
	}
	p := r.permission()
	if p == nil {
		return nil, corrupt()
	}
	return p, nil
}

// allows reports whether one grant allows what is asked.
func allows(p *grant.Permission, a *grant.Ask) bool {
	r := rulesOf(a.Interface)
	if r.counts != nil && !r.counts(p, a) {
		return false
	}
	return grant.Permit([]*grant.Permission{p}, a) == nil
}

// open reports whether the caller may read the object without a grant.
func (v *view) open(r *row) bool {
	rules := rulesOf(r.Object.Interface)
	return v.owns(r.Object.Sub) || r.public() || rules.open != nil && rules.open(v.s, r, v.who)
}

// readable returns nil if the caller may read the object, else Denied.
func (v *view) readable(ctx context.Context, h *hub, r *row) error {
	if v.open(r) {
		return nil
	}
	_, err := v.may(ctx, h, grant.ReadRight, &r.Object)
	return err
}

// rightFor returns what an operation needs.
func rightFor(operation string) grant.Rights {
	switch operation {
	case merge.Create:
		return grant.CreateRight
	case merge.Update:
		return grant.UpdateRight
	}
	return grant.DeleteRight
}

// identifier returns whose key it is when who names one.
func identifier(who string) string {
	did, _, _ := strings.Cut(who, "#")
	return did
}
