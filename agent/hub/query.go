package hub

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/internal/lucene"
)

// QueryOptions narrow a query.
type QueryOptions struct {
	// Filter is in the syntax of Lucene (doc/query.md). Names of what the hub sees mean that: "created_by", "created_at",
	// "updated_by", "updated_at", "id", "commit_strategy", and "meta.title" and the like. All others are members of the
	// value, "name" or "artist.name", which "value." before them says as well. What can be asked of the hub is asked of
	// the hub; the rest is matched here, after opening: the hub does not learn it.
	Filter string
	Sort   string // "created_at", "updated_at", or a member of meta: "meta.title"; "-" before it: descending
	IDs    []coffer.CommitRev
	Limit  int // objects at most; 0: all
	// Deleted has objects yielded, too, that were removed.
	Deleted bool
}

// Query yields the objects of a kind that match, in the order in which they came to the hub, or as Sort says. o may be
// nil. An error of which [OfOne] says so, or Denied with the object's key missing, is about one object: the sequence goes
// on. Invalid for a filter that is none.
func (h *Hub) Query(ctx context.Context, k Kind, o *QueryOptions) iter.Seq2[*Object, error] {
	return h.query(ctx, k, o, "", nil)
}

func (h *Hub) query(ctx context.Context, k Kind, o *QueryOptions, since string,
	watermark *string) iter.Seq2[*Object, error] {
	return func(yield func(*Object, error) bool) {
		if o == nil {
			o = &QueryOptions{}
		}
		k, err := k.check()
		if err != nil {
			yield(nil, err)
			return
		}
		theirs, ours, err := split(o.Filter)
		if err != nil {
			yield(nil, err)
			return
		}
		q := coffer.ObjectQuery{
			IDs: o.IDs, Filter: theirs, Sort: o.Sort, NoDeleted: !o.Deleted, Since: since,
		}
		if ours == nil && o.Limit > 0 {
			q.Limit = min(o.Limit, coffer.MaxHubPage)
		}
		n := 0
		for found, err := range h.list(ctx, k, &q, watermark) {
			if err == nil && ours != nil && !found.Deleted {
				var ok bool
				if ok, err = found.matches(ours); err == nil && !ok {
					continue
				}
			}
			if !yield(found, err) {
				return
			}
			if n++; n == o.Limit {
				return
			}
		}
	}
}

// valuePrefix makes clear that a member of the value is meant.
const valuePrefix = "value."

// exposed reports whether a field is of what a hub sees.
func exposed(field string) bool {
	switch field {
	case "interface", "context", "id", "created_by", "created_at", "sub", "commit_strategy",
		"updated_by", "updated_at", "revision":
		return true
	}
	return strings.HasPrefix(field, "meta.")
}

// split returns the part of a filter that a hub can answer, and the part that only who opens objects can: nil if there
// is none. Both must hold.
func split(filter string) (theirs string, ours *lucene.Query, err error) {
	if filter == "" {
		return "", nil, nil
	}
	q, err := lucene.Parse(filter)
	if err != nil {
		return "", nil, err
	}
	parts, ok := q.Root.(lucene.And)
	if !ok {
		parts = lucene.And{q.Root}
	}
	var a, b lucene.And
	for _, p := range parts {
		if answerable(p) {
			a = append(a, p)
		} else {
			b = append(b, p)
		}
	}
	join := func(l lucene.And) *lucene.Query {
		switch len(l) {
		case 0:
			return nil
		case 1:
			return &lucene.Query{Root: l[0]}
		}
		return &lucene.Query{Root: l}
	}
	if qa := join(a); qa != nil {
		theirs = qa.String()
	}
	if len(theirs) > lucene.MaxLength {
		return "", q, nil
	}
	return theirs, join(b), nil
}

// answerable reports whether a condition is about what a hub sees alone.
func answerable(n lucene.Node) bool {
	switch n := n.(type) {
	case lucene.All:
		return true
	case lucene.And:
		return !slices.ContainsFunc(n, func(m lucene.Node) bool { return !answerable(m) })
	case lucene.Or:
		return !slices.ContainsFunc(n, func(m lucene.Node) bool { return !answerable(m) })
	case lucene.Not:
		return answerable(n.Node)
	case lucene.Term:
		return exposed(n.Field)
	case lucene.Pattern:
		return exposed(n.Field)
	case lucene.Fuzzy:
		return exposed(n.Field)
	case lucene.Range:
		return exposed(n.Field)
	case lucene.Exists:
		return exposed(n.Field)
	}
	return false
}

// matches reports whether an object that was opened meets a query.
func (o *Object) matches(q *lucene.Query) (bool, error) {
	seen, err := jose.Encode(coffer.HubObject{
		Interface: o.Kind.Interface, Context: o.Kind.Context, ID: o.ID, Sub: o.record.Created.Header.Sub,
		CreatedBy: o.Author, CreatedAt: o.CreatedAt, UpdatedBy: o.UpdatedBy, UpdatedAt: o.UpdatedAt,
		Strategy: o.Strategy, Meta: o.Meta, Revision: o.Revision,
	})
	if err != nil {
		return false, corrupt("an object cannot be matched")
	}
	var all map[string]json.RawMessage
	if err := jose.DecodeOpen(seen, &all); err != nil {
		return false, corrupt("an object cannot be matched")
	}
	var members map[string]json.RawMessage
	_ = jose.DecodeOpen(o.Value, &members)
	delete(all, "type")
	for name, v := range members {
		if _, taken := all[name]; !taken && !exposed(name) {
			all[name] = v
		}
	}
	all[strings.TrimSuffix(valuePrefix, ".")] = o.Value
	text, err := jose.Encode(all)
	if err != nil {
		return false, corrupt("an object cannot be matched")
	}
	var fields lucene.Fields
	if err := fields.JSON(text); err != nil {
		return false, corrupt("an object cannot be matched")
	}
	return q.Match(&fields), nil
}

// A Watch follows the objects of a kind.
type Watch struct {
	h     *Hub
	kind  Kind
	o     QueryOptions
	since string
}

// Watch returns a Watch of the objects of a kind that match, from a watermark of an earlier one on; "" for all there
// is. o may be nil.
func (h *Hub) Watch(k Kind, o *QueryOptions, watermark string) *Watch {
	w := &Watch{h: h, kind: k, since: watermark}
	if o != nil {
		w.o = *o
	}
	w.o.Deleted, w.o.Limit = true, 0
	return w
}

// Changes yields what was written since the last time that it was gone through to the end, removed objects included:
// the first time all there is, and all again when the hub has forgotten what was read. The errors are those of
// [Hub.Query].
func (w *Watch) Changes(ctx context.Context) iter.Seq2[*Object, error] {
	return func(yield func(*Object, error) bool) {
		mark, failed := w.since, false
		for o, err := range w.h.query(ctx, w.kind, &w.o, w.since, &mark) {
			if err != nil && !errors.Is(err, coffer.Corrupt) && !errors.Is(err, coffer.Denied) {
				failed = true
			}
			if !yield(o, err) {
				return
			}
		}
		if !failed {
			w.since = mark
		}
	}
}

// Watermark returns how far Changes was gone through, for [Hub.Watch] to go on another time. It is the hub's word, and
// good for this hub and identity alone.
func (w *Watch) Watermark() string { return w.since }
