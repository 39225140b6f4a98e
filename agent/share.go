package agent

import (
	"context"
	"errors"
	"iter"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/keyring"
)

// maxLife is how long a share lasts if nothing else is said: a capability may live for a year, and clocks differ.
const maxLife = 364 * 24 * time.Hour

// maxReaders bounds the members of a group, and so the readers of one call.
const maxReaders = 1000

// ShareOptions say with whom something is shared, and how.
type ShareOptions struct {
	With    string         // identifier of a contact
	Group   string         // the group through which it is shared, if any
	Actions []grant.Action // nil is reading; otherwise reading must be among them
	Until   time.Time      // at most a year away; zero is a year less a day
	Fields  []string       // of a typed object: only these, by their dotted names; nil is all

	typ string // what is shared is all of this type
}

// A Share is a grant and the link to give to the reader, who needs nothing else and whom the owner need not be online
// for.
type Share struct {
	*Grant
	Link string
}

// check completes the options.
func (o *ShareOptions) check(a *Agent, now time.Time) error {
	const op = "share"
	if o.Until.IsZero() {
		o.Until = now.Add(maxLife)
	}
	o.Until = o.Until.UTC().Truncate(time.Second)
	if o.Actions == nil {
		o.Actions = []grant.Action{grant.Read}
	}
	switch {
	case a.guest != nil || a.URL == "":
		return coffer.Errorf(op, coffer.Invalid, "needs a vault of one's own, and its URL")
	case !o.Until.After(now):
		return coffer.Errorf(op, coffer.Invalid, "it would end before it begins")
	case o.Until.After(now.Add(maxLife + time.Hour)):
		return coffer.Errorf(op, coffer.Invalid, "a share lasts a year at most")
	case !slices.Contains(o.Actions, grant.Read):
		return coffer.Errorf(op, coffer.Invalid, "reading is not among the actions")
	case o.With == "" || o.With == a.Keyring.DID():
		return coffer.Errorf(op, coffer.Invalid, "nobody else is named")
	case len(o.Fields) > 0 && len(o.Actions) > 1:
		return coffer.Errorf(op, coffer.Invalid, "a part of an object can only be read")
	}
	return nil
}

// Share lets contacts read, or read and write, the object at the path, or all that is in the folder, now and later. It
// costs the same whatever the folder holds; no content is uploaded again. All of them are given it, or none.
//
// NotExist when nothing is there or somebody is no contact; Invalid for options out of range.
func (a *Agent) Share(ctx context.Context, path string, readers ...ShareOptions) ([]Share, error) {
	path, err := a.objectPath(path)
	if err != nil {
		return nil, err
	}
	return a.shareAt(ctx, path, readers)
}

func (a *Agent) shareAt(ctx context.Context, path string, readers []ShareOptions) (shares []Share, err error) {
	if len(readers) > maxReaders {
		return nil, coffer.Errorf("share", coffer.Exhausted, "too many readers at once")
	}
	err = a.commit(ctx, func(ctx context.Context, t *txn) error {
		shares = nil
		for _, o := range readers {
			s, err := t.share(ctx, path, o)
			if err != nil {
				return err
			}
			shares = append(shares, *s)
		}
		return nil
	})
	return shares, err
}

// ShareType is Share for all objects of a type, those included that come later.
func (a *Agent) ShareType(ctx context.Context, typ string, readers ...ShareOptions) ([]Share, error) {
	if typ == "" || typ == TypeFolder || len(typ) > maxText {
		return nil, coffer.Errorf("share", coffer.Invalid, "not a type of objects")
	}
	if err := a.collect(ctx, typ); err != nil {
		return nil, err
	}
	readers = slices.Clone(readers)
	for i := range readers {
		readers[i].typ = typ
	}
	return a.shareAt(ctx, typePath(typ), readers)
}

// typesFolder holds a folder for each type that was shared, with an entry for every object of the type.
const typesFolder = reserved + "/types"

func typePath(typ string) string { return recordPath(typesFolder, typ) }

// linkName is what an object is called in the folder of its type: names may be the same there.
func linkName(n tree.Node) string { return n.Ref.ID.String()[1:9] + " " + n.Name }

// collect makes the folder of a type.
func (a *Agent) collect(ctx context.Context, typ string) error {
	return a.commit(ctx, func(ctx context.Context, t *txn) error {
		folder := typePath(typ)
		if _, err := t.tree.Get(ctx, folder); !errors.Is(err, coffer.NotExist) {
			return err
		}
		if err := t.tree.MakeFolder(ctx, folder, t.now); err != nil {
			return err
		}
		for i, err := range t.walk(ctx, "") {
			if err != nil {
				return err
			}
			if i.Type != typ {
				continue
			}
			n, err := t.tree.Get(ctx, i.Path)
			if err != nil {
				return err
			}
			if err := t.tree.Put(ctx, path.Join(folder, linkName(n)), n); err != nil {
				return err
			}
		}
		return nil
	})
}

// linked keeps the entry of an object in the folder of its type, if the type is shared, what the object's own is. Renamed
// says that the object may have been called otherwise.
func (t *txn) linked(ctx context.Context, n tree.Node, renamed bool) error {
	folder := typePath(n.Type)
	if _, err := t.tree.Get(ctx, folder); errors.Is(err, coffer.NotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if renamed {
		if err := t.unlinked(ctx, n); err != nil {
			return err
		}
	}
	n.Name = linkName(n)
	return t.tree.Put(ctx, path.Join(folder, n.Name), n)
}

// unlinked takes an object out of the folder of its type, whatever it is called there.
func (t *txn) unlinked(ctx context.Context, n tree.Node) error {
	folder := typePath(n.Type)
	at := path.Join(folder, linkName(n))
	l, err := t.tree.Get(ctx, at)
	if errors.Is(err, coffer.NotExist) {
		l = tree.Node{}
		for l, err = range t.tree.List(ctx, folder) {
			if errors.Is(err, coffer.NotExist) {
				return nil // the type is not shared
			}
			if err != nil || l.Ref.ID == n.Ref.ID {
				break
			}
		}
		at = path.Join(folder, l.Name)
	}
	if err != nil || l.Ref.ID != n.Ref.ID {
		return err
	}
	return t.tree.Remove(ctx, at)
}

// share makes a grant part of the commit.
func (t *txn) share(ctx context.Context, path string, o ShareOptions) (*Share, error) {
	a := t.a
	now := t.now.Truncate(time.Second)
	if err := o.check(a, now); err != nil {
		return nil, err
	}
	c, err := t.contact(ctx, o.With)
	if err != nil {
		return nil, err
	}
	g := &grantRecord{
		ID: newGrantID(), Path: path, Type: o.typ, With: c.DID, Group: o.Group, Actions: o.Actions, Since: now, Until: o.Until,
		From: a.feed.history.size(), By: a.Keyring.DID(), register: -1,
	}
	if g.Group != "" && len(g.Group) > maxText {
		return nil, coffer.Errorf("share", coffer.Invalid, "a group's name is too long")
	}
	if len(o.Fields) > 0 {
		if path, err = t.excerpt(ctx, path, g, o.Fields); err != nil {
			return nil, err
		}
	}
	chain, err := t.tree.Chain(ctx, path)
	if err != nil {
		return nil, err
	}
	n := chain[len(chain)-1]
	ref := n.Ref
	if n.Type == TypeFolder {
		if ref, err = t.tree.Detach(ctx, path); err != nil {
			return nil, err
		}
		g.Folder = true
	}
	if err := t.tree.SetShared(ctx, path, true); err != nil {
		return nil, err
	}
	if written, ok := t.wrote[ref.ID]; ok && !g.Folder {
		ref = written
	}
	g.Scope = ref.ID
	if g.Box, g.Slot, err = t.vacant(ctx); err != nil {
		return nil, err
	}
	if g.Statement, err = a.sign(ctx, g); err != nil {
		return nil, err
	}
	list, err := t.grants(ctx)
	if err != nil {
		return nil, err
	}
	list.add(g)
	if err := t.fill(ctx, g, ref, c.Delivery); err != nil {
		return nil, err
	}
	link, err := t.link(ctx, g, n.Name, ref, chain, c.Delivery)
	if err != nil {
		return nil, err
	}
	return &Share{g.grant(), link}, nil
}

// Link returns the link of a grant that lasts, made anew: the reader may have lost it.
func (a *Agent) Link(ctx context.Context, id string) (link string, err error) {
	v, err := a.look(ctx)
	if err != nil {
		return "", err
	}
	list, err := v.grants(ctx)
	if err != nil {
		return "", err
	}
	g := list.byID[id]
	if g == nil || !g.lasts() {
		return "", coffer.Errorf("link", coffer.NotExist, "no such grant, or it is over")
	}
	path, err := v.find(ctx, g)
	if err != nil {
		return "", err
	}
	chain, err := v.tree.Chain(ctx, path)
	if err != nil {
		return "", err
	}
	c, err := v.contact(ctx, g.With)
	if err != nil {
		return "", err
	}
	n := chain[len(chain)-1]
	return v.link(ctx, g, n.Name, n.Ref, chain, c.Delivery)
}

// find returns the path of what a grant is for: it may have been moved since.
func (v *view) find(ctx context.Context, g *grantRecord) (string, error) {
	if n, err := v.tree.Get(ctx, g.Path); err == nil && n.Ref.ID == g.Scope {
		return g.Path, nil
	} else if err != nil && !errors.Is(err, coffer.NotExist) && !errors.Is(err, coffer.Corrupt) {
		return "", err
	}
	var spoiled error // a folder that cannot be read must not hide what is elsewhere
	for _, folder := range []string{excerptFolder, ""} {
		for waiting := []string{folder}; len(waiting) > 0; {
			next := waiting[len(waiting)-1]
			waiting = waiting[:len(waiting)-1]
			for i, err := range v.list1(ctx, next) {
				if errors.Is(err, coffer.NotExist) && next == excerptFolder {
					break
				}
				if errors.Is(err, coffer.Corrupt) {
					spoiled = err
					break
				}
				if err != nil {
					return "", err
				}
				if i.ID == g.Scope {
					return i.Path, nil
				}
				if i.IsFolder() {
					waiting = append(waiting, i.Path)
				}
			}
		}
	}
	if spoiled != nil {
		return "", spoiled
	}
	return "", coffer.Errorf("grant", coffer.NotExist, "what was granted is gone")
}

// capability returns the capability of a grant's reader: it is the same each time it is made.
func (a *Agent) capability(ctx context.Context, g *grantRecord) (reader *keyring.Ring, seed, capability []byte,
	err error) {
	if seed, err = a.Keyring.Derive(ctx, "coffer reader 2\x00"+a.Space+"\x00"+g.ID); err != nil {
		return nil, nil, nil, err
	}
	reader = keyring.Bearer([32]byte(seed))
	id, ok := jose.Decode64(g.ID)
	if !ok || len(id) != 16 {
		return nil, nil, nil, coffer.Errorf("grant", coffer.Corrupt, "has another kind of id")
	}
	capability, err = grant.Delegate(ctx, a.controller(), a.URL, grant.DelegateOptions{
		Controller: reader.DID(), Target: a.URL + "/held", Actions: g.Actions, Created: g.Since, Expires: g.Until,
		ID: urn(id),
	})
	return reader, seed, capability, err
}

// controller is whose vault it is to the provider.
func (a *Agent) controller() coffer.Keyring {
	if a.Controller != nil {
		return a.Controller
	}
	return a.Keyring
}

// urn returns 16 bytes as the URN of a UUID of version 4, which capabilities have for ids.
func urn(b []byte) string {
	b = slices.Clone(b)
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	const digits = "0123456789abcdef"
	var s strings.Builder
	s.WriteString("urn:uuid:")
	for i, c := range b {
		if i == 4 || i == 6 || i == 8 || i == 10 {
			s.WriteByte('-')
		}
		s.WriteByte(digits[c>>4])
		s.WriteByte(digits[c&15])
	}
	return s.String()
}

// excerptFolder holds the parts of typed objects that were granted by themselves.
const excerptFolder = reserved + "/excerpts"

// excerpt makes an object of some fields of a typed object, and returns its path.
func (t *txn) excerpt(ctx context.Context, of string, g *grantRecord, fields []string) (string, error) {
	n, err := t.tree.Get(ctx, of)
	if err != nil {
		return "", err
	}
	if n.Type == TypeFolder || n.Type == TypeFile {
		return "", coffer.Errorf("share", coffer.Invalid, "only a typed object has fields")
	}
	r, err := t.a.readNode(ctx, t.view, n)
	if err != nil {
		return "", err
	}
	c, err := decodeContent(r.opened.Content)
	if err != nil {
		return "", err
	}
	g.Source, g.Fields = n.Ref.ID, fields
	at := path.Join(excerptFolder, g.ID)
	if c.Value, err = pick(c.Value, fields); err != nil {
		return "", err
	}
	return at, t.putExcerpt(ctx, at, c)
}

// putExcerpt keeps the content, of which the value is just what was granted, as an excerpt.
func (t *txn) putExcerpt(ctx context.Context, at string, of *content) error {
	value := of.Value
	c := &content{Type: of.Type, Name: of.Name, Modified: of.Modified, Value: value, Size: int64(len(value))}
	b, err := c.encode()
	if err != nil {
		return err
	}
	ref, there, err := t.target(ctx, at, of.Type, nil)
	if err != nil {
		return err
	}
	_, err = t.put(ctx, at, ref, there, c, seal.Plain{Content: b}, PutOptions{})
	return err
}

// excerpted brings the excerpts of an object up to what it is now.
func (t *txn) excerpted(ctx context.Context, source coffer.ObjectID, c *content) error {
	list, err := t.grants(ctx)
	if err != nil {
		return err
	}
	for _, g := range list.all {
		if g.lasts() && g.Source == source && len(g.Fields) > 0 {
			part := *c
			var err error
			if part.Value, err = pick(c.Value, g.Fields); err != nil {
				part.Value = jsontext.Value("{}") // the object has none of them now
			}
			if err := t.putExcerpt(ctx, path.Join(excerptFolder, g.ID), &part); err != nil {
				return err
			}
		}
	}
	return nil
}

// pick returns the JSON object that has just these members of another, by their dotted names. What is not there is left
// out; Invalid if nothing is.
func pick(value jsontext.Value, fields []string) (jsontext.Value, error) {
	var from map[string]any
	if json.Unmarshal(value, &from) != nil {
		return nil, coffer.Errorf("share", coffer.Invalid, "the object has no fields")
	}
	to, found := make(map[string]any), false
	for _, f := range fields {
		src, dst := from, to
		names := strings.Split(f, ".")
		for i, name := range names {
			v, ok := src[name]
			if !ok {
				break
			}
			if i == len(names)-1 {
				dst[name], found = v, true
				break
			}
			if src, ok = v.(map[string]any); !ok {
				break
			}
			below, ok := dst[name].(map[string]any)
			if !ok {
				below = make(map[string]any)
				dst[name] = below
			}
			dst = below
		}
	}
	if !found {
		return nil, coffer.Errorf("share", coffer.Invalid, "the object has none of these fields")
	}
	return jose.Encode(to)
}

// Grants yields the records of all grants of this vault, those that are over included, in the order in which they were
// given. Each one's signatures have been verified.
func (a *Agent) Grants(ctx context.Context) iter.Seq2[*Grant, error] {
	return func(yield func(*Grant, error) bool) {
		v, err := a.look(ctx)
		var list *grants
		if err == nil {
			list, err = v.grants(ctx)
		}
		if err != nil {
			yield(nil, err)
			return
		}
		for _, g := range list.all {
			if err := a.check(ctx, g); err != nil {
				yield(nil, err)
				return
			}
			if !yield(g.grant(), nil) {
				return
			}
		}
	}
}

// Who returns the grants by which somebody else can read, or could read, what is at the path: its own, and those of the
// folders that hold it and of its type. Each one's signatures have been verified.
func (a *Agent) Who(ctx context.Context, path string) (list []*Grant, err error) {
	if path, err = a.objectPath(path); err != nil {
		return nil, err
	}
	err = a.steady(ctx, func(v *view) (err error) {
		list, err = v.who(ctx, path)
		return err
	})
	return list, err
}

func (v *view) who(ctx context.Context, path string) (list []*Grant, err error) {
	chain, err := v.tree.Chain(ctx, path)
	if err != nil {
		return nil, err
	}
	id := chain[len(chain)-1].Ref.ID
	if n, err := v.tree.Get(ctx, typePath(chain[len(chain)-1].Type)); err == nil {
		chain = append(chain, n)
	}
	all, err := v.grants(ctx)
	if err != nil {
		return nil, err
	}
	for _, g := range all.all {
		if g.Source != id && !slices.ContainsFunc(chain, func(n tree.Node) bool { return n.Ref.ID == g.Scope }) {
			continue
		}
		if err := v.a.check(ctx, g); err != nil {
			return nil, err
		}
		list = append(list, g.grant())
	}
	return list, nil
}
