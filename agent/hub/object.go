package hub

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/merge"
)

// An Object is the present state of an object.
type Object struct {
	ID       coffer.CommitRev
	Revision coffer.CommitRev // names this state
	Kind     Kind

	Author    string // who created it: signed by him
	CreatedAt time.Time
	UpdatedBy string // who made this state; when the owner has sealed it anew, who did before, as the owner says
	UpdatedAt time.Time

	Title    string          // what the hub sees of it, beside kind, authors and times
	Tags     []string        //
	Meta     json.RawMessage // all of it
	Public   bool            // anybody may read it
	Sealed   bool            // the hub cannot read it
	Strategy string          // how states follow from what was written
	Deleted  bool            // there is no Value then

	// Value is the JSON of the value; of what other programs wrote in plain text and is no JSON, a JSON string.
	Value json.RawMessage
	File  *FileInfo // what is known of its bytes; nil: it has none

	file   *fileHead
	part   *filePart
	record *record
	seal   *envelope // of the state; nil if it is not sealed
}

// Into reads the value into v, as package encoding/json does. Invalid if it has another form, NotExist when the object
// was removed.
func (o *Object) Into(v any) error {
	if o.Deleted {
		return coffer.Errorf("get", coffer.NotExist, "the object was removed")
	}
	if err := json.Unmarshal(o.Value, v); err != nil {
		return coffer.Errorf("get", coffer.Invalid, "the object has another form")
	}
	return nil
}

// PutOptions say more of an object. The hub, and whoever may read the object, sees Title, Tags and Meta, even when the
// value is sealed: put nothing there that is not for the hub's eyes.
type PutOptions struct {
	Title string
	Tags  []string
	Meta  json.RawMessage // further members: a JSON object; "cache-intent" for one; "part" and "public" are passed over
	// Public leaves the value in plain text, for anybody to read.
	Public bool
	// Strategy says how states follow when several write at once; "" is [merge.Basic]: the last one counts. With
	// [merge.MergePatch] writers who change different members of a JSON object all count. It is an object's for good.
	Strategy string
	// Progress, if not nil, is told by [Hub.PutFile] how many bytes are in the hub.
	Progress func(done int64)

	part bool
}

// meta returns what the commit says; there is what it said before, which stays where o says nothing.
func (o *PutOptions) meta(there json.RawMessage) (json.RawMessage, error) {
	members := make(map[string]any)
	if len(o.Meta) > 0 {
		if err := json.Unmarshal(o.Meta, &members); err != nil || members == nil {
			return nil, errMeta
		}
	}
	if o.Title != "" {
		members["title"] = o.Title
	}
	if o.Tags != nil {
		members["tags"] = o.Tags
	}
	if members["public"] = nil; o.Public {
		members["public"] = true
	}
	if delete(members, partMember); o.part {
		members[partMember] = true
	}
	return meta(there, members)
}

// Put keeps a value as a new object, sealed unless the options say otherwise, and returns the object's id. o may be
// nil. The value is written as package encoding/json does; Invalid if that fails, Exhausted if it is too large (about
// 780 kB).
func (h *Hub) Put(ctx context.Context, k Kind, value any, o *PutOptions) (coffer.CommitRev, error) {
	text, err := encodeValue(value)
	if err != nil {
		return coffer.CommitRev{}, err
	}
	return h.create(ctx, k, &inside{Value: text}, nil, o)
}

// create keeps a new object. e is nil, or how it is to be sealed. After an error of the hub's the object may be there
// all the same; it has the id that is returned.
func (h *Hub) create(ctx context.Context, k Kind, in *inside, e *envelope, o *PutOptions) (coffer.CommitRev, error) {
	var none coffer.CommitRev
	if o == nil {
		o = &PutOptions{}
	}
	k, err := k.check()
	if err != nil {
		return none, err
	}
	wire, err := h.wire(ctx, k)
	if err != nil {
		return none, err
	}
	m, err := o.meta(nil)
	if err != nil {
		return none, err
	}
	payload := []byte(in.Value)
	if !o.Public {
		if payload, err = h.seal(ctx, k, e, in); err != nil {
			return none, err
		}
	}
	return h.write(ctx, merge.Header{
		Interface: wire.Interface, Context: wire.Context, Type: wire.Type,
		Operation: merge.Create, Strategy: cmp.Or(o.Strategy, merge.Basic), Meta: m,
	}, payload, nil, nil)
}

func encodeValue(value any) (json.RawMessage, error) {
	b, err := json.Marshal(value)
	if err != nil || jose.Valid(b) != nil {
		return nil, coffer.Errorf("put", coffer.Invalid, "the value cannot be written as JSON")
	}
	return b, nil
}

// seal seals a value of this identity's.
func (h *Hub) seal(ctx context.Context, k Kind, e *envelope, in *inside) ([]byte, error) {
	in.Owner, in.Interface, in.Context, in.Type, in.Author = h.o.Owner, k.Interface, k.Context, k.Type, h.me
	w, err := h.toWrite(ctx, k, e)
	if err != nil {
		return nil, err
	}
	if !w.handed {
		return in.sealObject(w.key, w.epoch, w.salt)
	}
	to, err := h.reader(ctx, h.o.Owner)
	if err != nil {
		return nil, err
	}
	return in.sealTo(to)
}

// Replace puts a value in the place of an object's. What the options do not give of Title, Tags and Meta stays as it
// was; the object is public afterwards only if they say so. A file keeps its bytes. NotExist if there is no such object
// of the kind, or it was removed.
//
// Who replaces what another one is replacing at the same time wins or loses by the object's strategy; neither is told.
func (h *Hub) Replace(ctx context.Context, k Kind, id coffer.CommitRev, value any, o *PutOptions) error {
	if o == nil {
		o = &PutOptions{}
	}
	there, err := h.Object(ctx, k, id)
	if err != nil {
		return err
	}
	return h.replace(ctx, there, value, o, nil)
}

func (h *Hub) replace(ctx context.Context, there *Object, value any, o *PutOptions, from *origin) error {
	if there.Deleted {
		return coffer.Errorf("replace", coffer.NotExist, "the object was removed")
	}
	if o.Strategy != "" && o.Strategy != there.Strategy {
		return coffer.Errorf("replace", coffer.Invalid, "an object's strategy stays")
	}
	if o.Public && there.File != nil {
		return errPublicFile
	}
	m, err := o.meta(there.Meta)
	if err != nil {
		return err
	}
	text, err := encodeValue(value)
	if err != nil {
		return err
	}
	if there.Strategy == merge.MergePatch && from == nil {
		text = diff(there.Value, text)
	}
	payload := []byte(text)
	if !o.Public {
		in := &inside{Value: text, Origin: from, File: there.file, Part: there.part}
		if payload, err = h.seal(ctx, there.Kind, there.seal, in); err != nil {
			return err
		}
	}
	hd := merge.Header{Operation: merge.Update, Meta: m}
	if from != nil {
		hd.CommittedAt = there.record.Latest.Header.CommittedAt
	}
	_, err = h.write(ctx, hd, payload, there.record, nil)
	return err
}

// diff returns a merge patch (RFC 7396) that makes b of a.
func diff(a, b json.RawMessage) json.RawMessage {
	var from, to map[string]json.RawMessage
	if json.Unmarshal(a, &from) != nil || json.Unmarshal(b, &to) != nil || from == nil || to == nil {
		return b
	}
	patch := make(map[string]json.RawMessage)
	for name, v := range to {
		if old, there := from[name]; !there {
			patch[name] = v
		} else if !bytes.Equal(old, v) {
			patch[name] = diff(old, v)
		}
	}
	for name := range from {
		if _, there := to[name]; !there {
			patch[name] = json.RawMessage("null")
		}
	}
	text, err := json.Marshal(patch)
	if err != nil {
		return b
	}
	return text
}

// Remove ends an object: its value, and its bytes if it is a file, are gone from what the hub shows, for good. NotExist
// if there is no such object. After another error it can be done again.
func (h *Hub) Remove(ctx context.Context, k Kind, id coffer.CommitRev) error {
	k, err := k.check()
	if err != nil {
		return err
	}
	wire, err := h.wire(ctx, k)
	if err != nil {
		return err
	}
	r, err := h.one(ctx, wire, id)
	if err != nil {
		return err
	}
	if err := h.removeParts(ctx, k, wire, r); err != nil {
		return err
	}
	return h.remove(ctx, r)
}

func (h *Hub) remove(ctx context.Context, r *record) error {
	if r.Deleted {
		return coffer.Errorf("remove", coffer.NotExist, "the object was removed")
	}
	_, err := h.write(ctx, merge.Header{Operation: merge.Delete}, []byte("{}"), r, nil)
	return err
}

// Object returns an object of a kind, removed or not. NotExist if there is none; Denied when one may not read it, or
// has no key.
func (h *Hub) Object(ctx context.Context, k Kind, id coffer.CommitRev) (*Object, error) {
	k, err := k.check()
	if err != nil {
		return nil, err
	}
	wire, err := h.wire(ctx, k)
	if err != nil {
		return nil, err
	}
	r, err := h.one(ctx, wire, id)
	if err != nil {
		return nil, err
	}
	return h.open(ctx, k, r)
}

// Get reads the value of an object into v. The errors are those of [Hub.Object] and [Object.Into].
func (h *Hub) Get(ctx context.Context, k Kind, id coffer.CommitRev, v any) error {
	o, err := h.Object(ctx, k, id)
	if err != nil {
		return err
	}
	return o.Into(v)
}

// Put is [Hub.Put] without options.
func Put[T any](ctx context.Context, h *Hub, k Kind, value T) (coffer.CommitRev, error) {
	return h.Put(ctx, k, value, nil)
}

// Get returns the value of an object.
func Get[T any](ctx context.Context, h *Hub, k Kind, id coffer.CommitRev) (value T, err error) {
	err = h.Get(ctx, k, id, &value)
	return value, err
}

// object returns what is known of an object without its value.
func (r *record) object(k Kind) *Object {
	o := &Object{
		ID: r.Object, Revision: r.Latest.Rev, Kind: k,
		Author: r.Created.Signer(), CreatedAt: r.Created.Header.CommittedAt,
		UpdatedBy: r.Latest.Signer(), UpdatedAt: r.Latest.Header.CommittedAt,
		Meta: r.Latest.Header.Meta, Strategy: r.Created.Header.Strategy, Deleted: r.Deleted, record: r,
	}
	m := metaOf(o.Meta)
	o.Title, o.Tags = m.Title, m.Tags
	o.Public = m.Public && r.Latest.Signer() == r.Created.Header.Sub // the owner alone can say so
	return o
}

// open checks and opens an object. k is its kind as its readers know it.
func (h *Hub) open(ctx context.Context, k Kind, r *record) (*Object, error) {
	o := r.object(k)
	if r.Deleted {
		return o, nil
	}
	var err error
	if r.Created.Header.Strategy != merge.MergePatch {
		value, in, err := h.openPayload(ctx, o, r.Latest)
		if err != nil {
			return nil, err
		}
		if o.Value = value; in != nil && in.Origin != nil && r.Latest.Signer() == h.o.Owner {
			o.UpdatedBy, o.UpdatedAt = in.Origin.Author, in.Origin.At
		}
		return o, nil
	}
	// The state is made of what was sealed, so that is opened first.
	opened := make([]*merge.Commit, len(r.commits))
	for i, c := range r.commits {
		plain := *c
		if plain.Payload, _, err = h.openPayload(ctx, o, c); err != nil {
			return nil, err
		}
		opened[i] = &plain
	}
	if _, _, err := h.openPayload(ctx, o, r.Latest); err != nil { // o.seal is the state's
		return nil, err
	}
	s, err := merge.Of(opened)
	if err != nil {
		return nil, corrupt("commits that do not go together")
	}
	o.Value = s.Value
	return o, nil
}

// openPayload returns the JSON that a commit carries, opened if it is sealed.
func (h *Hub) openPayload(ctx context.Context, o *Object, c *merge.Commit) (json.RawMessage, *inside, error) {
	e, err := parseEnvelope(c.Payload)
	if err != nil {
		return nil, nil, err
	}
	o.seal, o.Sealed, o.File, o.file, o.part = e, e != nil, nil, nil, nil
	if e == nil {
		return plain(c.Payload), nil, nil
	}
	author := c.Signer()
	var in *inside
	if e.keyed {
		if in, err = h.openKeyed(ctx, o.Kind, e); err != nil {
			return nil, nil, err
		}
	} else {
		if !h.mine {
			return nil, nil, coffer.Errorf("open", coffer.Denied, "sealed for the owner alone")
		}
		if in, err = e.openFrom(ctx, h.o.Keyring, h.o.Owner, author); err != nil {
			return nil, nil, err
		}
	}
	if !in.binds(h.o.Owner, o.Kind, author) {
		return nil, nil, corrupt("sealed as another object, or by another author")
	}
	if o.file, o.part = in.File, in.Part; o.file != nil {
		o.File = &FileInfo{Size: o.file.Size}
	}
	return in.Value, in, nil
}

// plain returns a payload that is not sealed as JSON.
func plain(payload []byte) json.RawMessage {
	if jose.Valid(payload) == nil {
		return payload
	}
	b, err := json.Marshal(string(payload))
	if err != nil {
		return json.RawMessage(`""`)
	}
	return b
}

// list yields the objects that a query of the hub lists, opened; not the parts of files. Errors that concern one object
// alone come with it in the sequence, which goes on.
func (h *Hub) list(ctx context.Context, k Kind, q *coffer.ObjectQuery,
	watermark *string) iter.Seq2[*Object, error] {
	return h.listed(ctx, k, q, watermark, false)
}

// listed is list, of objects that are parts, or of those that are none.
func (h *Hub) listed(ctx context.Context, k Kind, q *coffer.ObjectQuery, watermark *string,
	parts bool) iter.Seq2[*Object, error] {
	return func(yield func(*Object, error) bool) {
		wire, err := h.wire(ctx, k)
		if err != nil {
			yield(nil, err)
			return
		}
		c := *q
		c.Interface, c.Context, c.Type = wire.Interface, wire.Context, wire.Type
		c.Filter = partFilter(wire, c.Filter, parts)
		stopped := false
		pages := func() error {
			for r, err := range h.pages(ctx, &c, watermark) {
				if r == nil && errors.Is(err, coffer.Invalid) {
					return err
				}
				if r != nil && r.isPart() != parts {
					continue
				}
				var o *Object
				if err == nil {
					of := k
					if of.Type == "" {
						of.Context, of.Type = r.Created.Header.Context, r.Created.Header.Type
					}
					o, err = h.open(ctx, of, r)
				}
				if !yield(o, err) {
					stopped = true
					return nil
				}
			}
			return nil
		}
		err = pages()
		if err != nil && c.Since != "" {
			c.Since = "" // the hub does not know the place any more: all is read anew
			err = pages()
		}
		if err != nil && !stopped {
			yield(nil, err)
		}
	}
}
