package grant

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// What a PermissionGrant is written as: the context and the type of its object.
const (
	PermissionContext = "schema.identity.foundation/0.1"
	PermissionType    = "PermissionGrant"
)

// Rights are what a PermissionGrant allows: a set of the rights below.
type Rights uint8

// The rights.
const (
	CreateRight  Rights = 1
	ReadRight    Rights = 2
	UpdateRight  Rights = 4
	DeleteRight  Rights = 8
	ExecuteRight Rights = 16 // of Services
)

const rightLetters = "CRUDX"

// ParseRights reads "CRUD" and the like: each letter of CRUDX at most once, in any order, and '-' in place of those
// that are absent, five characters at most. Invalid for anything else.
func ParseRights(s string) (Rights, error) {
	var r Rights
	if s == "" || len(s) > len(rightLetters) {
		return 0, badRights()
	}
	for _, letter := range []byte(s) {
		if letter == '-' {
			continue
		}
		i := strings.IndexByte(rightLetters, letter)
		if i < 0 || r&(1<<i) != 0 {
			return 0, badRights()
		}
		r |= 1 << i
	}
	return r, nil
}

func badRights() error { return coffer.Errorf("permission", coffer.Invalid, "not a set of rights") }

// String returns the form "CRUD", "-R--"; with the right to execute, "-R--X".
func (r Rights) String() string {
	b := []byte(rightLetters)
	for i := range b {
		if r&(1<<i) == 0 {
			b[i] = '-'
		}
	}
	if r&ExecuteRight == 0 {
		b = b[:4]
	}
	return string(b)
}

// Bounds of permissions.
const (
	maxPermissionName = 2 << 10   // bytes of an identifier
	maxPermissionText = 1 << 10   // bytes of any other text
	maxPermissionKeys = 256 << 10 // bytes of sealed keys
)

// A Permission is what a PermissionGrant says: that its owner lets somebody do something with objects of a context and
// type in the owner's hub. All that restricts it must hold. See doc/permissions.md.
type Permission struct {
	Owner   string
	Grantee string // an identifier, or coffer.Everybody
	Context string // exact
	Type    string // exact
	Allow   Rights

	CreatedBy string             // only objects that were created by this identifier; "" for all
	Interface string             // only objects of this interface; "" for all
	Objects   []coffer.CommitRev // only these objects; empty for all
	Expires   time.Time          // not at this time or later; zero for never
	Purpose   string             // only for this purpose; "" for any
	Filter    string             // only objects that match, in the syntax of Lucene; "" for all

	NotRevocableBefore time.Time       // until then the owner cannot take it back; zero if he can
	MaxBytes, MaxKeys  int64           // what a Store may hold; 0 for what the hub allows
	Keys               json.RawMessage // keys of sealed objects, for the grantee to open; nil if there are none
}

func badPermission(name, reason string) error {
	target := "commit.payload"
	if name != "" {
		target += "." + name
	}
	return coffer.E("permission", coffer.Invalid, &coffer.Fault{Target: target, Reason: reason})
}

// ParsePermission reads the payload of a PermissionGrant. It is Invalid, with a *coffer.Fault whose target is
// "commit.payload" or "commit.payload." and a member's name, when it is not one JSON object without repeated members; a
// member is missing, of the wrong type or too large; one is not known here, as it might restrict the grant (those that
// begin with '@' are decoration); everybody is allowed more than to read; or the right to create is restricted to
// objects that somebody created or that there already are.
func ParsePermission(payload []byte) (*Permission, error) {
	var m permissionMembers
	if jose.Decode(payload, &m) != nil || m == nil {
		return nil, badPermission("", "not a JSON object, or a member is repeated")
	}
	p := new(Permission)
	var allow string
	for _, f := range [...]struct {
		name     string
		value    *string
		most     int
		required bool
	}{
		{"owner", &p.Owner, maxPermissionName, true},
		{"grantee", &p.Grantee, maxPermissionName, true},
		{"allow", &allow, maxPermissionText, true},
		{"context", &p.Context, maxPermissionText, true},
		{"type", &p.Type, maxPermissionText, true},
		{"created_by", &p.CreatedBy, maxPermissionName, false},
		{"interface", &p.Interface, maxPermissionText, false},
		{"purpose", &p.Purpose, maxPermissionText, false},
		{"filter", &p.Filter, maxPermissionText, false},
	} {
		if _, given := m[f.name]; !given && !f.required {
			continue
		}
		if err := m.text(f.name, f.value, f.most); err != nil {
			return nil, err
		}
	}
	for _, f := range [...]struct {
		name  string
		value *time.Time
	}{
		{"expires_at", &p.Expires},
		{"not_revocable_before", &p.NotRevocableBefore},
	} {
		if _, given := m[f.name]; given {
			var s string
			if err := m.text(f.name, &s, maxPermissionText); err != nil {
				return nil, err
			}
			t, err := time.Parse(time.RFC3339, s)
			if err != nil || t.IsZero() || !timeForm.MatchString(s) {
				return nil, badPermission(f.name, "not a time (RFC 3339)")
			}
			*f.value = t.UTC()
		}
	}
	for _, f := range [...]struct {
		name  string
		value *int64
	}{
		{"max_bytes", &p.MaxBytes},
		{"max_keys", &p.MaxKeys},
	} {
		if raw, given := m.take(f.name); given {
			if jose.Decode(raw, f.value) != nil || *f.value < 1 || *f.value > 1<<53 {
				return nil, badPermission(f.name, "not a positive whole number")
			}
		}
	}
	if raw, given := m.take("object_id"); given {
		if len(raw) > coffer.MaxQueryIDs*80 || jose.Decode(raw, &p.Objects) != nil ||
			len(p.Objects) == 0 || len(p.Objects) > coffer.MaxQueryIDs {
			return nil, badPermission("object_id", "not a list of object ids, empty, or too long")
		}
	}
	if raw, given := m.take("keys"); given {
		if len(raw) > maxPermissionKeys {
			return nil, badPermission("keys", "too large")
		}
		p.Keys = raw
	}
	for name := range m {
		if !strings.HasPrefix(name, "@") {
			return nil, badPermission("", "a member is not known here")
		}
	}
	var err error
	if p.Allow, err = ParseRights(allow); err != nil {
		return nil, badPermission("allow", "not a set of rights")
	}
	switch {
	case !isDID(p.Owner):
		return nil, badPermission("owner", "not an identifier")
	case p.Grantee != coffer.Everybody && !isDID(p.Grantee):
		return nil, badPermission("grantee", "not an identifier")
	case p.CreatedBy != "" && !isDID(p.CreatedBy):
		return nil, badPermission("created_by", "not an identifier")
	case p.Grantee == coffer.Everybody && p.Allow&^ReadRight != 0:
		return nil, badPermission("allow", "everybody can be allowed to read alone")
	case p.Allow&CreateRight != 0 && p.CreatedBy != "":
		return nil, badPermission("created_by", "does not go with the right to create")
	case p.Allow&CreateRight != 0 && p.Objects != nil:
		return nil, badPermission("object_id", "does not go with the right to create")
	}
	return p, nil
}

// timeForm is that of RFC 3339, which time.Parse does not insist on.
var timeForm = regexp.MustCompile(
	`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$`)

// permissionMembers are those of a PermissionGrant that were not read yet.
type permissionMembers map[string]json.RawMessage

func (m permissionMembers) take(name string) (json.RawMessage, bool) {
	raw, given := m[name]
	delete(m, name)
	return raw, given
}

// text reads a string that is not empty.
func (m permissionMembers) text(name string, value *string, most int) error {
	var s *string
	switch raw, given := m.take(name); {
	case !given:
		return badPermission(name, "Required parameter is missing")
	case jose.Decode(raw, &s) != nil || s == nil:
		return badPermission(name, "Required parameter is of the incorrect type")
	case *s == "":
		return badPermission(name, "Required parameter is missing")
	case len(*s) > most:
		return badPermission(name, "too large")
	}
	*value = *s
	return nil
}

func isDID(s string) bool {
	method, id, ok := strings.Cut(strings.TrimPrefix(s, "did:"), ":")
	return ok && strings.HasPrefix(s, "did:") && method != "" && id != "" && !strings.Contains(s, "#")
}

// An Ask is what somebody wants to do with an object in an owner's hub.
type Ask struct {
	Now       time.Time
	Who       string // "" is nobody, who may do what everybody may
	Owner     string
	Interface string
	Context   string
	Type      string
	Right     Rights
	Object    coffer.CommitRev // zero when it is not there yet
	Creator   string           // who created the object; "" when it is not there yet
	Purpose   string           // what for, as the one who asks says
	// Match reports whether the object, or what is to be created, matches a filter. May be nil: then none matches.
	Match func(filter string) (bool, error)
}

// Allows reports whether this grant alone allows what is asked. An error of Match is returned as it is.
//
// Whatever a grant says, it lets nobody but the owner write on the interface Permissions: who could write grants could
// give himself all.
func (p *Permission) Allows(a *Ask) (bool, error) {
	switch {
	case a.Owner == "" || a.Owner != p.Owner,
		(a.Who == "" || a.Who != p.Grantee) && p.Grantee != coffer.Everybody,
		a.Right == 0 || p.Allow&a.Right != a.Right,
		p.Grantee == coffer.Everybody && a.Right != ReadRight,
		a.Context != p.Context || a.Type != p.Type,
		p.Interface != "" && a.Interface != p.Interface,
		a.Interface == coffer.PermissionsInterface && a.Right != ReadRight,
		p.CreatedBy != "" && a.Creator != p.CreatedBy,
		p.Objects != nil && !slices.Contains(p.Objects, a.Object),
		!p.Expires.IsZero() && !a.Now.Before(p.Expires),
		p.Purpose != "" && a.Purpose != p.Purpose:
		return false, nil
	case p.Filter == "":
		return true, nil
	case a.Match == nil:
		return false, nil
	}
	return a.Match(p.Filter)
}

// Permit returns nil if the owner asks, or one of the grants allows what is asked, and otherwise Denied. What could
// not be decided counts as not allowed; if no grant allows it, the first such error is returned.
func Permit(ps []*Permission, a *Ask) error {
	if a.Who != "" && a.Who == a.Owner {
		return nil
	}
	var undecided error
	for _, p := range ps {
		ok, err := p.Allows(a)
		if ok && err == nil {
			return nil
		}
		if undecided == nil {
			undecided = err
		}
	}
	if undecided != nil {
		return undecided
	}
	return coffer.Errorf("permission", coffer.Denied, "no grant allows it")
}

// Narrows reports whether something is taken away, or may be, when p takes the place of old; p is nil when old ends.
// Before old.NotRevocableBefore nothing may be.
func (p *Permission) Narrows(old *Permission) bool {
	if p == nil {
		return old.Allow != 0
	}
	other := func(now, before string) bool { return now != "" && now != before }
	less := func(now, before int64) bool { return now != before && (now == 0 || before == 0 || now < before) }
	return old.Allow&^p.Allow != 0 ||
		p.Owner != old.Owner || p.Grantee != old.Grantee || p.Context != old.Context || p.Type != old.Type ||
		other(p.CreatedBy, old.CreatedBy) || other(p.Interface, old.Interface) ||
		other(p.Purpose, old.Purpose) || other(p.Filter, old.Filter) ||
		p.Objects != nil && (old.Objects == nil || slices.ContainsFunc(old.Objects, func(o coffer.CommitRev) bool {
			return !slices.Contains(p.Objects, o)
		})) ||
		!p.Expires.IsZero() && (old.Expires.IsZero() || p.Expires.Before(old.Expires)) ||
		p.NotRevocableBefore.Before(old.NotRevocableBefore) ||
		less(p.MaxBytes, old.MaxBytes) || less(p.MaxKeys, old.MaxKeys) ||
		old.Keys != nil && p.Keys == nil
}
