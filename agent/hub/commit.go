package hub

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/merge"
)

// corrupt is what a hub's answer is that does not hold.
func corrupt(reason string) error { return coffer.Errorf("hub", coffer.Corrupt, reason) }

// errWithheld is of an object of which there is but a record: its "cache-intent" says so of instances that are caches.
var errWithheld = coffer.Errorf("hub", coffer.Unavailable, "this instance has a record of the object alone: ask another")

// verify checks a commit's form and its signature. Corrupt if either is wrong, Unavailable if the payload is withheld; the
// commit comes with the error when it has the form of one, and nobody can tell that it is signed by who it says.
func verify(ctx context.Context, r Resolver, c *coffer.Commit) (*merge.Commit, error) {
	m, err := merge.Parse(c)
	if err != nil {
		return nil, corrupt("a commit is malformed")
	}
	if c.Withheld != nil {
		return nil, errWithheld
	}
	key, err := r.MessageKey(ctx, m.Header.KeyID, m.Header.Alg, coffer.Assertion)
	switch {
	case err == nil && m.Verify(key):
		return m, nil
	case err == nil:
		return m, corrupt("the signature of a commit is not right")
	case errors.Is(err, coffer.Invalid), errors.Is(err, coffer.NotExist), errors.Is(err, coffer.Denied):
		return m, corrupt("a commit is not signed with a key of who it says")
	}
	return m, err
}

// A record is an object as its commits have it.
type record struct {
	*merge.State
	commits []*merge.Commit
	used    []string // of a grant, what the hub says of it
}

// maxPages bounds how long a hub may go on.
const maxPages = 10_000

// records returns verified records of objects, nil for those of which the hub has no commits. An error that is of one
// object alone is in its place among the errors; the record says then what is claimed, if it has a State.
func (h *Hub) records(ctx context.Context, ids []coffer.CommitRev) ([]*record, []error, error) {
	at := make(map[coffer.CommitRev]int, len(ids))
	for i, id := range ids {
		at[id] = i
	}
	list, failed := make([]*record, len(ids)), make([]error, len(ids))
	if len(ids) == 0 {
		return list, failed, nil
	}
	q := coffer.CommitQuery{Objects: ids}
	for pages := 0; ; pages++ {
		p, err := h.o.Hub.Commits(ctx, h.o.Owner, &q)
		if err != nil {
			return nil, nil, err
		}
		for _, c := range p.Commits {
			m, err := merge.Parse(c)
			if err != nil {
				return nil, nil, corrupt("a commit is malformed")
			}
			i, asked := at[m.Object]
			if !asked {
				return nil, nil, corrupt("a commit of another object than was asked for")
			}
			if _, err := verify(ctx, h.o.Resolver, c); err != nil {
				failed[i] = err
			}
			if list[i] == nil {
				list[i] = new(record)
			}
			list[i].commits = append(list[i].commits, m)
		}
		if q.Skip = p.Skip; q.Skip == "" {
			break
		}
		if pages == maxPages {
			return nil, nil, corrupt("the hub does not come to an end")
		}
	}
	for i, r := range list {
		if r == nil {
			continue
		}
		var err error
		if r.State, err = merge.Of(r.commits); err != nil {
			failed[i] = corrupt("commits that do not go together")
		} else if r.Created.Header.Sub != h.o.Owner {
			r.State, failed[i] = nil, corrupt("an object of another owner than was asked for")
		}
	}
	return list, failed, nil
}

// A claim is an error of one object alone: nobody but the hub says what is in its record.
type claim struct {
	record *record
	error
}

func (c *claim) Unwrap() error { return c.error }

// OfOne reports whether an error of a list is about one object alone, which does not hold (Corrupt), or of which nobody can
// say at present whether it does (Unavailable), because its author's identity cannot be reached: that is the author's
// doing, and must not stop what concerns others.
func OfOne(err error) bool {
	var c *claim
	return errors.Is(err, coffer.Corrupt) || errors.As(err, &c)
}

// is reports whether the object is of a kind, as the hub sees it.
func (r *record) is(k Kind) bool {
	c := &r.Created.Header
	return c.Interface == k.Interface && c.Context == k.Context && c.Type == k.Type
}

// pages yields what the hub lists for a query, with the records. The errors yielded with a record concern that one.
// At the end the watermark is put where it is to go.
func (h *Hub) pages(ctx context.Context, q *coffer.ObjectQuery, watermark *string) iter.Seq2[*record, error] {
	return func(yield func(*record, error) bool) {
		c := *q
		mark := ""
		for n := 0; ; n++ {
			p, err := h.o.Hub.Objects(ctx, h.o.Owner, &c)
			if err != nil {
				yield(nil, err)
				return
			}
			if n == maxPages || len(p.Objects) > coffer.MaxHubPage {
				yield(nil, corrupt("the hub does not come to an end"))
				return
			}
			if p.Watermark != "" {
				mark = p.Watermark
			}
			ids := make([]coffer.CommitRev, len(p.Objects))
			for i := range p.Objects {
				ids[i] = p.Objects[i].ID
			}
			list, failed, err := h.records(ctx, ids)
			if err != nil {
				yield(nil, err)
				return
			}
			for i, r := range list {
				err := failed[i]
				switch {
				case err != nil:
				case r == nil:
					err = corrupt("an object without commits")
				default:
					r.used = p.Objects[i].Used
					err = answers(r, &p.Objects[i], q)
				}
				if err != nil && r != nil && r.State != nil {
					err = &claim{r, err}
				}
				if err != nil {
					r = nil
				}
				if !yield(r, err) {
					return
				}
			}
			if c.Skip = p.Skip; c.Skip == "" {
				break
			}
		}
		if watermark != nil && mark != "" {
			*watermark = mark
		}
	}
}

// answers checks that a record is what was asked for, and what the hub says it is. The hub may know a newer state by
// the time that the commits are asked for; it must not know a state that no commit made.
func answers(r *record, o *coffer.HubObject, q *coffer.ObjectQuery) error {
	c := &r.Created.Header
	made := slices.ContainsFunc(r.commits, func(m *merge.Commit) bool { return m.Rev == o.Revision })
	switch {
	case c.Interface != q.Interface || q.Context != "" && (c.Context != q.Context || c.Type != q.Type),
		len(q.IDs) > 0 && !slices.Contains(q.IDs, r.Object):
		return corrupt("an object of another kind than was asked for")
	case o.Interface != c.Interface || o.Context != c.Context || o.Type != c.Type || o.Sub != c.Sub ||
		o.Strategy != c.Strategy || !made:
		return corrupt("an object is not what the hub says of it")
	}
	return nil
}

// write signs a commit and has the hub keep it. after is what it replaces, nil if it creates an object. It is of now,
// unless the header has a time: what says nothing new bears that of what it replaces, and so comes right after it, and
// before whatever another one writes meanwhile, which counts.
func (h *Hub) write(ctx context.Context, hd merge.Header, payload []byte, after *record,
	extra func(*coffer.Commit) error) (coffer.CommitRev, error) {
	if h.o.Sign == nil {
		return coffer.CommitRev{}, coffer.Errorf("write", coffer.Denied, "nobody is there to sign")
	}
	hd.Sub, hd.Alg, hd.KeyID = h.o.Owner, h.o.Sign.Algorithm(), h.o.Sign.KeyID()
	if hd.Issuer = h.me; hd.CommittedAt.IsZero() {
		hd.CommittedAt = h.o.Now().UTC().Truncate(time.Millisecond)
	}
	if after != nil {
		c := &after.Created.Header
		hd.Interface, hd.Context, hd.Type, hd.Strategy = c.Interface, c.Context, c.Type, c.Strategy
		hd.ObjectID = after.Object.String()
		// What comes after another must say so: states follow from what commits say, not from when they came.
		if last := after.Latest.Header.CommittedAt; !hd.CommittedAt.After(last) {
			hd.CommittedAt = last.Add(time.Millisecond)
		}
	}
	c, err := merge.Build(hd, payload, func(input []byte) ([]byte, error) {
		return h.o.Sign.SignInput(ctx, coffer.Assertion, input)
	})
	if err != nil {
		return coffer.CommitRev{}, err
	}
	if extra != nil {
		if err := extra(c); err != nil {
			return coffer.CommitRev{}, err
		}
	}
	_, err = h.o.Hub.Write(ctx, h.o.Owner, c)
	return c.Rev(), err
}

// one returns the record of one object of a kind. NotExist if the hub has none.
func (h *Hub) one(ctx context.Context, wire Kind, id coffer.CommitRev) (*record, error) {
	list, failed, err := h.records(ctx, []coffer.CommitRev{id})
	switch {
	case err != nil:
		return nil, err
	case failed[0] != nil:
		return nil, failed[0]
	case list[0] == nil:
		return nil, coffer.Errorf("hub", coffer.NotExist, "no such object")
	case !list[0].is(wire):
		return nil, coffer.Errorf("hub", coffer.NotExist, "no such object of this kind")
	}
	return list[0], nil
}

// metaMembers are what of a commit's meta means something here.
type metaMembers struct {
	Title, State, Thread, Parent string
	Intent                       string // "cache-intent"
	Tags                         []string
	Public, Part                 bool
}

// metaOf reads a meta that anybody may have written: what is not of the form that it should have is passed over.
func metaOf(raw json.RawMessage) (m metaMembers) {
	var all map[string]json.RawMessage
	if len(raw) == 0 || jose.DecodeOpen(raw, &all) != nil {
		return m
	}
	_ = jose.DecodeOpen(all["title"], &m.Title)
	_ = jose.DecodeOpen(all["tags"], &m.Tags)
	_ = jose.DecodeOpen(all["public"], &m.Public)
	_ = jose.DecodeOpen(all[partMember], &m.Part)
	_ = jose.DecodeOpen(all["state"], &m.State)
	_ = jose.DecodeOpen(all["cache-intent"], &m.Intent)
	_ = jose.DecodeOpen(all["thread"], &m.Thread)
	_ = jose.DecodeOpen(all["parent"], &m.Parent)
	return m
}

var errMeta = coffer.Errorf("hub", coffer.Invalid, "meta must be a JSON object")

// meta returns the meta of a commit: what is there already with members put in its place, those that are nil removed.
func meta(there json.RawMessage, members map[string]any) (json.RawMessage, error) {
	all := make(map[string]any)
	if len(there) > 0 {
		if err := json.Unmarshal(there, &all); err != nil || all == nil {
			return nil, errMeta
		}
	}
	for name, v := range members {
		if v == nil {
			delete(all, name)
		} else {
			all[name] = v
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	b, err := json.Marshal(all)
	if err != nil {
		return nil, errMeta
	}
	return b, nil
}
