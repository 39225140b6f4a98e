package agent

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// maxLife is how long a share lasts if nothing else is said: a capability may live for a year, and clocks differ.
const maxLife = 364 * 24 * time.Hour

// ShareOptions say with whom something is shared, and how.
type ShareOptions struct {
	With    string         // identifier of the reader: a person, a service, any that the Resolver knows
	Actions []grant.Action // nil is reading; otherwise reading must be among them
	Until   time.Time      // at most a year away; zero is a year less a day
}

// A Grant is the owner's record of a share.
type Grant struct {
	ID      string
	Path    string // what was shared: an object, or a folder
	With    string // identifier of the reader
	Key     string // id of the reader's key that the objects are sealed to
	Actions []grant.Action
	Since   time.Time
	Until   time.Time
	Objects []Granted

	public   []byte
	revision *revision // of the record
}

// A Granted is one object that a Grant covers, and the capability for it.
type Granted struct {
	ID         coffer.ObjectID
	Revoked    time.Time // zero while it is not
	Capability []byte    // its JSON
}

// Revoked reports whether all of the grant is revoked.
func (g *Grant) Revoked() bool {
	return !slices.ContainsFunc(g.Objects, func(o Granted) bool { return o.Revoked.IsZero() })
}

// Link returns what the reader needs. Objects whose capability is revoked are left out.
func (g *Grant) Link(vault, from string) *Link {
	l := &Link{Vault: vault, From: from}
	for _, o := range g.Objects {
		if o.Revoked.IsZero() {
			s := Shared{ID: o.ID, Actions: g.Actions, Until: g.Until, Capability: o.Capability}
			l.Objects = append(l.Objects, s)
		}
	}
	return l
}

// covers reports whether the grant is for the object and not revoked.
func (g *Grant) covers(id coffer.ObjectID) bool {
	return slices.ContainsFunc(g.Objects, func(o Granted) bool { return o.ID == id && o.Revoked.IsZero() })
}

// grantJSON is the value of a grant's record (doc/objects.md, section "Grants").
type grantJSON struct {
	Path    string         `json:"path"`
	With    string         `json:"with"`
	Key     reader         `json:"key"`
	Actions []grant.Action `json:"actions"`
	Since   time.Time      `json:"since"`
	Until   time.Time      `json:"until"`
	Objects []grantedJSON  `json:"objects"`
}

type grantedJSON struct {
	ID         coffer.ObjectID `json:"id"`
	Revoked    time.Time       `json:"revoked,omitzero"`
	Capability jsontext.Value  `json:"capability"`
}

// grantFolder holds the records of grants.
const grantFolder = reserved + "/grants"

// Share lets somebody read, or read and write, the object at the path, or each object that is in the folder there now,
// at most [MaxShared] of them. It returns the owner's record and the link to give to the reader, who needs nothing else
// and whom the owner need not be online for. File contents are not uploaded again.
//
// The record is stored first: whatever was begun shows in [Agent.Grants] and can be revoked. A call that was
// interrupted leaves a grant without a link; revoke it and share again.
//
// NotExist when nothing is there, or the reader has no key to seal to; Invalid for options out of range, Exhausted for
// too many objects; otherwise the Resolver's own error.
func (a *Agent) Share(ctx context.Context, path string, o ShareOptions) (*Grant, *Link, error) {
	const op = "share"
	now := a.Now().UTC().Truncate(time.Second)
	if o.Until.IsZero() {
		o.Until = now.Add(maxLife)
	}
	if o.Actions == nil {
		o.Actions = []grant.Action{grant.Read}
	}
	switch {
	case a.guest || a.Resolver == nil || a.URL == "":
		return nil, nil, coffer.Errorf(op, coffer.Invalid, "needs a resolver and the URL of a vault of one's own")
	case !o.Until.After(now):
		return nil, nil, coffer.Errorf(op, coffer.Invalid, "it would end before it begins")
	case !slices.Contains(o.Actions, grant.Read):
		return nil, nil, coffer.Errorf(op, coffer.Invalid, "reading is not among the actions")
	case o.With == "" || o.With == a.Keyring.DID():
		return nil, nil, coffer.Errorf(op, coffer.Invalid, "nobody else is named")
	}
	path, err := objectPath(path)
	if err != nil {
		return nil, nil, err
	}
	ids, err := a.below(ctx, path)
	if err != nil {
		return nil, nil, err
	}
	key, err := a.agreementKey(ctx, o.With)
	if err != nil {
		return nil, nil, err
	}
	g := &Grant{
		Path: path, With: o.With, Key: key.ID, public: key.Public, Actions: o.Actions,
		Since: now, Until: o.Until.UTC().Truncate(time.Second), ID: coffer.NewObjectID().String(),
	}
	for _, id := range ids {
		c, err := grant.Delegate(ctx, a.Keyring, a.URL, grant.DelegateOptions{
			Controller: o.With, Target: a.URL + "/documents/" + id.String(), Actions: o.Actions,
			Created: now, Expires: g.Until,
		})
		if err != nil {
			return nil, nil, err
		}
		g.Objects = append(g.Objects, Granted{ID: id, Capability: c})
	}
	if err := a.record(ctx, g); err != nil {
		return nil, nil, err
	}
	for _, id := range ids {
		if err := a.admit(ctx, id); err != nil {
			return nil, nil, err
		}
	}
	return g, g.Link(a.URL, a.Keyring.DID()), nil
}

// below returns the ids of what is shared with a path.
func (a *Agent) below(ctx context.Context, path string) (ids []coffer.ObjectID, err error) {
	r, err := a.lookup(ctx, path)
	if err != nil {
		return nil, err
	}
	if r.content.Type != TypeFolder {
		return []coffer.ObjectID{r.doc.ID}, nil
	}
	for i, err := range a.Walk(ctx, path) {
		if err != nil {
			return nil, err
		}
		if i.IsFolder() {
			continue
		}
		if len(ids) == MaxShared {
			return nil, coffer.Errorf("share", coffer.Exhausted, "too many objects; share the folders in it one by one")
		}
		ids = append(ids, i.ID)
	}
	if len(ids) == 0 {
		return nil, coffer.Errorf("share", coffer.NotExist, "nothing is in the folder")
	}
	return ids, nil
}

// agreementKey returns the key to seal to for an identifier.
func (a *Agent) agreementKey(ctx context.Context, id string) (coffer.PublicKey, error) {
	who, err := a.Resolver.Resolve(ctx, id)
	if err != nil {
		return coffer.PublicKey{}, err
	}
	for _, k := range who.Agreement {
		if strings.HasPrefix(k.Type, "X25519") && len(k.Public) == 32 && k.ID != "" {
			return k, nil
		}
	}
	return coffer.PublicKey{}, coffer.Errorf("share", coffer.NotExist, "the reader has no key to seal to")
}

// record stores the record of a grant, in the place of the one it was read from.
func (a *Agent) record(ctx context.Context, g *Grant) error {
	w := grantJSON{
		Path: g.Path, With: g.With, Key: reader{ID: g.Key, Key: g.public}, Actions: g.Actions,
		Since: g.Since, Until: g.Until,
	}
	for _, o := range g.Objects {
		w.Objects = append(w.Objects, grantedJSON{o.ID, o.Revoked, o.Capability})
	}
	value, err := jose.Encode(w)
	if err != nil {
		return coffer.E("grant", coffer.Invalid, err)
	}
	c := &content{Type: typeGrant, Modified: a.Now().UTC(), Value: value, Size: int64(len(value))}
	g.revision, err = a.replace(ctx, &place{path: grantFolder + "/" + g.ID, there: g.revision}, c, draft{})
	return err
}

// readGrant reads a record.
func readGrant(r *revision) (*Grant, error) {
	var w grantJSON
	if err := jose.DecodeOpen(r.content.Value, &w); err != nil {
		return nil, coffer.E("grant", coffer.Corrupt, err)
	}
	g := &Grant{
		ID: r.content.Name, Path: w.Path, With: w.With, Key: w.Key.ID, public: w.Key.Key, Actions: w.Actions,
		Since: w.Since, Until: w.Until, revision: r,
	}
	for _, o := range w.Objects {
		g.Objects = append(g.Objects, Granted{ID: o.ID, Revoked: o.Revoked, Capability: o.Capability})
	}
	return g, nil
}

// Grants yields the records of all shares of this vault, those that ended or were revoked included, in no particular
// order.
func (a *Agent) Grants(ctx context.Context) iter.Seq2[*Grant, error] {
	return a.grants(ctx, []pair{{"content.type", typeGrant}})
}

// grants yields the records that the index finds. Only what the owner wrote itself counts.
func (a *Agent) grants(ctx context.Context, filter []pair) iter.Seq2[*Grant, error] {
	return func(yield func(*Grant, error) bool) {
		wanted := func(c *content) bool { return c.Type == typeGrant && c.Folder == grantFolder }
		for r, err := range a.search(ctx, [][]pair{filter}, wanted) {
			if err == nil && !r.own {
				continue
			}
			var g *Grant
			if err == nil {
				g, err = readGrant(r)
			}
			if !yield(g, err) || err != nil {
				return
			}
		}
	}
}

// grantsOf returns the records of the grants that are for the object.
func (a *Agent) grantsOf(ctx context.Context, id coffer.ObjectID) (list []*Grant, err error) {
	for g, err := range a.grants(ctx, []pair{{"content.type", typeGrant}, {valuePath("objects.id"), id.String()}}) {
		if err != nil {
			return nil, err
		}
		list = append(list, g)
	}
	return list, nil
}

// granted returns the owner and whoever may read the object now by a grant, each once. None when that is the owner
// alone.
func (a *Agent) granted(ctx context.Context, id coffer.ObjectID) ([]reader, error) {
	grants, err := a.grantsOf(ctx, id)
	if err != nil {
		return nil, err
	}
	own := a.Keyring.Key(coffer.AgreementKey)
	list := []reader{{ID: own.ID, Key: own.Public}}
	for _, g := range grants {
		if !g.covers(id) || !a.Now().Before(g.Until) {
			continue
		}
		at := slices.IndexFunc(list, func(r reader) bool { return r.ID == g.Key })
		switch {
		case at < 0:
			list = append(list, reader{ID: g.Key, Key: g.public, Until: g.Until})
		case at > 0 && list[at].Until.Before(g.Until):
			list[at].Until = g.Until
		}
	}
	if len(list) == 1 {
		return nil, nil
	}
	return list, nil
}

// admit seals the present revision of an object to all who may read it by a grant.
func (a *Agent) admit(ctx context.Context, id coffer.ObjectID) (err error) {
	for range maxAttempts {
		var r *revision
		if r, err = a.current(ctx, id); err != nil {
			return err
		}
		if ok, err := a.believed(ctx, r); err != nil {
			return err
		} else if !ok {
			return coffer.Errorf("share", coffer.Corrupt, "the object was not written by this owner")
		}
		d := draft{id: id, replaces: r, content: r.opened.Content, stream: r.opened.Stream, rekey: r.meta.Rekey}
		if d.readers, err = a.granted(ctx, id); err != nil {
			return err
		}
		if _, err = a.commit(ctx, d); !errors.Is(err, coffer.Conflict) {
			return err
		}
	}
	return err
}
