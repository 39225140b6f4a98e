package hub

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
)

// What a page costs at most.
const (
	maxScan    = 10_000  // objects or changes that are looked at for one page
	maxSorted  = 100_000 // objects that are looked at to sort
	rowsAtOnce = 128     // that are asked for at a time
)

// Objects implements [coffer.Hub].
func (v *view) Objects(ctx context.Context, owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	m, err := v.matcher(q)
	if err != nil {
		return nil, err
	}
	h, err := v.s.open(ctx, owner, false)
	if err != nil {
		return nil, err
	}
	if h == nil {
		return v.nothingYet(owner, q)
	}
	l := &listing{v: v, h: h, m: m, q: *q, limit: q.Limit, filters: make(map[string]Filter)}
	if l.limit <= 0 || l.limit > coffer.MaxHubPage {
		l.limit = coffer.MaxHubPage
	}
	l.q.Skip, l.q.Limit = "", 0
	if err := l.permit(ctx); err != nil {
		return nil, err
	}
	if err := l.start(ctx, q.Skip); err != nil {
		return nil, err
	}
	switch {
	case q.Sort != "":
		err = l.sorted(ctx)
	case l.from.Cursor != "":
		err = l.changed(ctx)
	default:
		err = l.arrived(ctx)
	}
	if err != nil {
		return nil, err
	}
	return l.page(ctx)
}

// nothingYet is the page of a hub that is not there: its watermark is the beginning of the feed.
func (v *view) nothingYet(owner string, q *coffer.ObjectQuery) (*coffer.ObjectPage, error) {
	switch {
	case !v.owns(owner) && !v.s.openToAll(q.Interface):
		return nil, denied()
	case q.Skip != "":
		return nil, invalid("query.skip_token", "not a token of this hub for this query and caller")
	}
	mark, err := v.token(owner, newerObjects, nil, &place{})
	return &coffer.ObjectPage{Objects: []coffer.HubObject{}, Watermark: mark}, err
}

// openToAll reports whether everybody may read all objects of the interface.
func (s *Service) openToAll(iface string) bool {
	return iface == coffer.ProfileInterface && s.o.PublicProfile
}

// A listing is a query being answered.
type listing struct {
	v     *view
	h     *hub
	m     *matcher
	q     coffer.ObjectQuery // without Skip and Limit: what tokens are bound to
	limit int

	from  place    // where the page begins; End is set
	tags  []string // what matches has one of them; nil: the caller may read nothing of it
	reads func(r *row) (bool, error)

	filters map[string]Filter // of grants, by their texts

	rows []*row
	next *place // where the next page begins; nil: nowhere
}

// start reads where the page begins. The end of the feed is looked up before anything is read: what is written later
// comes after it.
func (l *listing) start(ctx context.Context, skip string) error {
	if skip != "" {
		p, err := l.v.place(l.h.owner, skipObjects, &l.q, skip, "query.skip_token")
		if err != nil {
			return err
		}
		l.from = *p
		return nil
	}
	var err error
	if l.from.End, err = l.h.end(ctx); err != nil {
		return err
	}
	if l.q.Since != "" {
		p, err := l.v.place(l.h.owner, newerObjects, nil, l.q.Since, "query.since")
		if err != nil {
			return err
		}
		l.from.Cursor = p.End
	}
	return nil
}

// page returns what was found.
func (l *listing) page(ctx context.Context) (*coffer.ObjectPage, error) {
	page := &coffer.ObjectPage{Objects: make([]coffer.HubObject, len(l.rows))}
	var err error
	for i, r := range l.rows {
		page.Objects[i] = r.Object
		if r.Object.Interface == coffer.PermissionsInterface && l.v.owns(l.h.owner) {
			if page.Objects[i].Used, err = l.h.used(ctx, r.id); err != nil {
				return nil, err
			}
		}
	}
	if l.next != nil {
		l.next.End = l.from.End
		page.Skip, err = l.v.token(l.h.owner, skipObjects, &l.q, l.next)
	} else {
		page.Watermark, err = l.v.token(l.h.owner, newerObjects, nil, &place{End: l.from.End})
	}
	return page, err
}

// permit finds out what of the query's objects the caller may read: it sets tags and reads. Denied if it may read
// nothing of the kind.
func (l *listing) permit(ctx context.Context) error {
	h, v, q := l.h, l.v, &l.q
	var public []string
	switch {
	case len(q.IDs) > 0:
		for _, id := range q.IDs {
			l.tags = append(l.tags, h.tag(byObject, id.String()))
		}
	case q.Type != "":
		for _, c := range l.m.contexts {
			if v.owns(h.owner) && l.m.creator != "" {
				l.tags = append(l.tags, h.tag(byCreator, q.Interface, c, q.Type, l.m.creator))
			} else {
				l.tags = append(l.tags, h.tag(byKind, q.Interface, c, q.Type))
			}
			public = append(public, h.tag(byPublicKind, q.Interface, c, q.Type))
		}
	default:
		l.tags = []string{h.tag(byInterface, q.Interface)}
		public = []string{h.tag(byPublic, q.Interface)}
	}
	if v.owns(h.owner) || v.s.openToAll(q.Interface) {
		l.reads = func(*row) (bool, error) { return true, nil }
		return nil
	}
	if len(q.IDs) > 0 {
		return l.permitEach(ctx)
	}
	grants, err := l.grants(ctx)
	if err != nil {
		return err
	}
	some, mine := len(grants) > 0, public
	if q.Interface == coffer.PermissionsInterface && v.who != "" {
		mine = append(mine, h.tag(byGrantee, v.who))
	}
	if !some {
		if some, err = h.any(ctx, mine...); err != nil {
			return err
		}
	}
	if !some {
		return denied()
	}
	for _, p := range grants {
		mine = append(mine, l.tagsOf(p)...)
	}
	slices.Sort(mine)
	if mine = slices.Compact(mine); len(mine) <= coffer.MaxFilters {
		l.tags = mine // and otherwise all are looked at
	}
	l.reads = func(r *row) (bool, error) { return v.open(r) || l.granted(grants, r), nil }
	return nil
}

// tagsOf returns what the objects have that the grant may be for.
func (l *listing) tagsOf(p *grant.Permission) (tags []string) {
	q := &l.q
	switch {
	case q.Interface == coffer.StoresInterface && q.Type == "":
		return []string{l.h.tag(byContext, q.Interface, p.Context)}
	case q.Interface == coffer.StoresInterface:
		return []string{l.h.tag(byKind, q.Interface, p.Context, q.Type)}
	case p.Objects != nil:
		for _, o := range p.Objects {
			tags = append(tags, l.h.tag(byObject, o.String()))
		}
		return tags
	case p.CreatedBy != "":
		return []string{l.h.tag(byCreator, q.Interface, p.Context, p.Type, p.CreatedBy)}
	}
	return []string{l.h.tag(byKind, q.Interface, p.Context, p.Type)}
}

// permitEach is permit for a query by ids: each object is decided on, before any is answered with.
func (l *listing) permitEach(ctx context.Context) error {
	may := make(map[coffer.CommitRev]bool)
	for d, err := range l.h.documents(ctx, l.tags, coffer.ObjectID{}, rowsAtOnce) {
		if err != nil {
			return err
		}
		r, err := l.h.readRow(d, false)
		if err != nil {
			return err
		}
		if !l.m.kind(r) {
			continue
		}
		switch err := l.v.readable(ctx, l.h, r); {
		case err == nil:
			may[r.Object.ID] = true
		case !errors.Is(err, coffer.Denied):
			return err
		}
	}
	if len(may) == 0 && l.q.Type != "" {
		grants, err := l.grants(ctx)
		if err != nil {
			return err
		}
		if len(grants) == 0 {
			return denied()
		}
	} else if len(may) == 0 {
		return denied()
	}
	l.reads = func(r *row) (bool, error) { return may[r.Object.ID], nil }
	return nil
}

// grants returns the grants by which the caller may read something of the query's contexts and type. Without a type
// that is all of Services, and of Stores his own; there is nothing else that a grant is weighed for.
func (l *listing) grants(ctx context.Context) ([]*grant.Permission, error) {
	v, q := l.v, &l.q
	var tags []string
	asks := make(map[string]*grant.Ask) // by context; of all contexts, by ""
	ask := func(context, typ, name string) {
		a, ok := v.ask(l.h, grant.ReadRight, &coffer.HubObject{Interface: q.Interface, Context: context, Type: typ})
		if !ok {
			return
		}
		asks[name] = a
		for _, who := range []string{a.Who, coffer.Everybody} {
			if a.Type == "" {
				tags = append(tags, l.h.tag(byGrantee, who))
				continue
			}
			tags = append(tags, l.h.tag(byGrant, who, a.Context, a.Type), l.h.tag(bySomeGrant, who, a.Context, a.Type))
		}
	}
	switch {
	case q.Type != "":
		for _, c := range l.m.contexts {
			ask(c, q.Type, c)
		}
	case q.Interface == coffer.StoresInterface:
		ask(v.who, "", v.who)
	case q.Interface == coffer.ServicesInterface:
		ask("", "", "")
	}
	var grants []*grant.Permission
	var used []coffer.ObjectID
	for d, err := range l.h.documents(ctx, tags, coffer.ObjectID{}, grantsAtOnce) {
		if err != nil {
			return nil, err
		}
		p, err := l.h.grantIn(d)
		if err != nil {
			return nil, err
		}
		a := asks[p.Context]
		if all := asks[""]; all != nil {
			of := *all
			of.Context, of.Type = p.Context, p.Type
			a = &of
		}
		free := *p // of what only an object tells
		free.CreatedBy, free.Objects, free.Filter = "", nil, ""
		if a == nil || !allows(&free, a) {
			continue
		}
		if grants = append(grants, p); len(grants) > maxGrants {
			return nil, exhausted("query", "too many grants for one context and type")
		}
		used = append(used, d.ID)
	}
	for _, row := range used { // after the query, which has a view of the store open
		if err := l.h.use(ctx, row, v.s.o.Now()); err != nil {
			return nil, err
		}
	}
	return grants, nil
}

// maxGrants bounds the grants that a listing weighs for each object. Most have one.
const maxGrants = 1000

// granted reports whether one of the grants lets the caller read the object.
func (l *listing) granted(grants []*grant.Permission, r *row) bool {
	a, ok := l.v.ask(l.h, grant.ReadRight, &r.Object)
	if !ok {
		return false
	}
	a.Match = func(text string) (bool, error) {
		f, known := l.filters[text]
		if !known {
			f = l.v.s.filter(text)
			l.filters[text] = f
		}
		return matches(f, &r.Object), nil
	}
	return slices.ContainsFunc(grants, func(p *grant.Permission) bool { return allows(p, a) })
}

// take reports whether the object is an answer.
func (l *listing) take(r *row) (bool, error) {
	if ok, err := l.m.match(r); err != nil || !ok {
		return false, err
	}
	return l.reads(r)
}

// candidates yields what has the tags and comes after an id. What came at this node while an earlier arrival was not
// yet committed is waited for and read anew, so that nothing that comes later finds itself before what was listed.
func (l *listing) candidates(ctx context.Context, after coffer.ObjectID, atOnce int) iter.Seq2[*row, error] {
	s := l.v.s
	return func(yield func(*row, error) bool) {
		for again := true; again; {
			again = false
			settled := s.settled(l.h)
			for d, err := range l.h.documents(ctx, l.tags, after, atOnce) {
				if err != nil {
					yield(nil, err)
					return
				}
				if stamp := stampOf(d.ID); stamp > settled && stamp <= s.clock.Load() {
					again = true
					break
				}
				after = d.ID
				r, err := l.h.readRow(d, false)
				if !yield(r, err) || err != nil {
					return
				}
			}
		}
	}
}

// arrived lists in the order of arrival.
func (l *listing) arrived(ctx context.Context) error {
	scanned, last := 0, l.from.After
	for r, err := range l.candidates(ctx, l.from.After, l.limit+1) {
		if err != nil {
			return err
		}
		if len(l.rows) == l.limit || scanned == l.v.s.scan {
			l.next = &place{After: last}
			break
		}
		scanned++
		last = r.id
		ok, err := l.take(r)
		if err != nil {
			return err
		}
		if ok {
			l.rows = append(l.rows, r)
		}
	}
	return nil
}

// changed lists what was written after the watermark, in the order of the last writes.
func (l *listing) changed(ctx context.Context) error {
	scanned, last := 0, l.from.Cursor
	for c, err := range l.h.vault.Changes(ctx, l.from.Cursor, false) {
		if err != nil {
			return err
		}
		if len(l.rows) == l.limit || scanned == l.v.s.scan {
			l.next = &place{Cursor: last}
			return nil
		}
		scanned++
		last = c.Cursor
		if c.ID[0] != objectDocument {
			continue
		}
		d, err := l.h.get(ctx, c.ID)
		if err != nil {
			return err
		}
		if d == nil || d.Sequence != c.Sequence {
			continue // a later change is it
		}
		r, err := l.h.readRow(d, false)
		if err != nil {
			return err
		}
		ok, err := l.take(r)
		if err != nil {
			return err
		}
		if ok {
			l.rows = append(l.rows, r)
		}
	}
	l.from.End = last
	return nil
}

// sorted lists in the order that the query asks for.
func (l *listing) sorted(ctx context.Context) error {
	type item struct {
		key sortKey
		row *row
	}
	var best []item
	cut := func(n int) {
		slices.SortFunc(best, func(x, y item) int { return x.key.compare(&y.key) })
		if len(best) > n {
			clear(best[n:])
			best = best[:n]
		}
	}
	scanned := 0
	for r, err := range l.candidates(ctx, coffer.ObjectID{}, 1024) {
		if err != nil {
			return err
		}
		if scanned++; scanned > maxSorted {
			return invalid("query.sort", "too many objects to sort")
		}
		ok, err := l.take(r)
		if err != nil {
			return err
		}
		key := keyOf(l.q.Sort, r)
		if !ok || l.from.Key != nil && key.compare(l.from.Key) <= 0 {
			continue
		}
		if best = append(best, item{key, r}); len(best) >= 8*(l.limit+1) {
			cut(l.limit + 1)
		}
	}
	cut(l.limit + 1)
	for i, it := range best {
		if i == l.limit {
			l.next = &place{Key: &best[i-1].key}
			break
		}
		l.rows = append(l.rows, it.row)
	}
	return nil
}

// A sortKey is where an object stands in an order. No two objects have the same.
type sortKey struct {
	Rank       int             `json:"r"` // numbers, then texts, then truths, then what has no value
	Number     float64         `json:"n,omitzero"`
	Text       string          `json:"t,omitzero"`
	ID         coffer.ObjectID `json:"i"`
	Descending bool            `json:"d,omitzero"`
}

// maxSortText bounds the part of a text that counts for the order.
const maxSortText = 256

func keyOf(by string, r *row) sortKey {
	name, descending := strings.CutPrefix(by, "-")
	k := sortKey{ID: r.id, Descending: descending, Rank: 3}
	var value any
	switch name {
	case "created_at":
		value = float64(r.Object.CreatedAt.UnixMilli())
	case "updated_at":
		value = float64(r.Object.UpdatedAt.UnixMilli())
	default:
		value, _ = metaValue(r, name)
	}
	switch x := value.(type) {
	case float64:
		k.Rank, k.Number = 0, x
	case string:
		k.Rank, k.Text = 1, strings.ToValidUTF8(x[:min(len(x), maxSortText)], "")
	case bool:
		k.Rank = 2
		if x {
			k.Number = 1
		}
	}
	return k
}

func (k *sortKey) compare(o *sortKey) int {
	if k.Rank == 3 || o.Rank == 3 { // without a value: at the end, in either direction
		if k.Rank != o.Rank {
			return k.Rank - o.Rank
		}
		return slices.Compare(k.ID[:], o.ID[:])
	}
	c := k.Rank - o.Rank
	if c == 0 {
		switch {
		case k.Number < o.Number:
			c = -1
		case k.Number > o.Number:
			c = 1
		default:
			c = strings.Compare(k.Text, o.Text)
		}
	}
	if k.Descending {
		c = -c
	}
	if c == 0 {
		c = slices.Compare(k.ID[:], o.ID[:])
	}
	return c
}

// metaValue returns a member of meta; false if there is none.
func metaValue(r *row, field string) (any, bool) {
	name, ok := strings.CutPrefix(field, "meta.")
	if !ok || r.Object.Meta == nil {
		return nil, false
	}
	var m map[string]any
	if json.Unmarshal(r.Object.Meta, &m) != nil {
		return nil, false
	}
	value, ok := m[name]
	return value, ok
}

// A matcher is a query that was checked.
type matcher struct {
	q        *coffer.ObjectQuery
	contexts []string // any of which matches, if the query has a context
	filter   Filter   // nil: none
	creator  string   // who all that match were created by; "": anybody
}

// maxText bounds texts of queries.
const maxText = 4 << 10

// matcher checks a query. Invalid, with a Fault.
func (v *view) matcher(q *coffer.ObjectQuery) (*matcher, error) {
	m := &matcher{q: q, contexts: []string{q.Context}}
	switch {
	case q.Interface == "":
		return nil, invalid("query.interface", "Required parameter is missing")
	case rulesOf(q.Interface) == nil:
		return nil, invalid("query.interface", "no such interface")
	case (q.Context == "") != (q.Type == ""):
		return nil, invalid("query.context, query.type", "both, or neither")
	case q.Interface == coffer.PermissionsInterface && q.Type != "" &&
		(q.Context != grant.PermissionContext || q.Type != grant.PermissionType):
		return nil, invalid("query.context, query.type", "not those of PermissionGrants")
	case len(q.IDs) > coffer.MaxQueryIDs:
		return nil, invalid("query.object_id", "too many")
	case len(q.Filters) > coffer.MaxQueryFilters:
		return nil, invalid("query.filters", "too many")
	case len(q.Context) > maxText || len(q.Type) > maxText || len(q.Filter) > maxText || len(q.Sort) > maxSortText:
		return nil, invalid("query", "a text is too long")
	case q.Sort != "" && !sortable(q.Sort):
		return nil, invalid("query.sort", "not something to sort by")
	case q.Sort != "" && q.Since != "":
		return nil, invalid("query.sort", "does not go with since")
	}
	for i, f := range q.Filters {
		target := "query.filters[" + strconv.Itoa(i) + "]"
		switch {
		case f.Type != "eq":
			return nil, invalid(target+".type", "no such type of filter")
		case len(f.Value) > maxText:
			return nil, invalid(target+".value", "too long")
		case !strings.HasPrefix(f.Field, "meta.") && !exposed(f.Field):
			return nil, invalid(target+".field", "no such field")
		case f.Field == "created_by":
			m.creator = f.Value
		}
	}
	if q.Filter == "" {
		return m, nil
	}
	if v.s.o.Filter == nil {
		return nil, notImplemented("query.filter", "filters are not offered")
	}
	var err error
	if m.filter, err = v.s.o.Filter(q.Filter); err != nil {
		return nil, invalid("query.filter", "not a filter")
	}
	return m, nil
}

func sortable(by string) bool {
	name := strings.TrimPrefix(by, "-")
	return name == "created_at" || name == "updated_at" || strings.HasPrefix(name, "meta.") && name != "meta."
}

func exposed(field string) bool {
	_, ok := fieldOf(&coffer.HubObject{}, field)
	return ok
}

// fieldOf returns what an object exposes, as text.
func fieldOf(o *coffer.HubObject, field string) (string, bool) {
	switch field {
	case "interface":
		return o.Interface, true
	case "context":
		return o.Context, true
	case "type":
		return o.Type, true
	case "id":
		return o.ID.String(), true
	case "created_by":
		return o.CreatedBy, true
	case "created_at":
		return timeText(o.CreatedAt), true
	case "sub":
		return o.Sub, true
	case "commit_strategy":
		return o.Strategy, true
	case "updated_by":
		return o.UpdatedBy, true
	case "updated_at":
		return timeText(o.UpdatedAt), true
	case "revision":
		return o.Revision.String(), true
	case "deleted":
		return strconv.FormatBool(o.Deleted), true
	}
	return "", false
}

func timeText(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// kind reports whether the object is of the query's interface, context and type.
func (m *matcher) kind(r *row) bool {
	o := &r.Object
	return o.Interface == m.q.Interface && (m.q.Type == "" || slices.Contains(m.contexts, o.Context) && o.Type == m.q.Type)
}

// match reports whether an object matches the query.
func (m *matcher) match(r *row) (bool, error) {
	o := &r.Object
	if !m.kind(r) || m.q.NoDeleted && o.Deleted || len(m.q.IDs) > 0 && !slices.Contains(m.q.IDs, o.ID) {
		return false, nil
	}
	for _, f := range m.q.Filters {
		text, ok := fieldOf(o, f.Field)
		if !ok {
			value, there := metaValue(r, f.Field)
			text, ok = value.(string)
			if there && !ok {
				b, err := json.Marshal(value)
				if err != nil {
					return false, corrupt()
				}
				text, ok = string(b), true
			}
		}
		if !ok || text != f.Value {
			return false, nil
		}
	}
	if m.filter == nil {
		return true, nil
	}
	fields, err := json.Marshal(o)
	if err != nil {
		return false, corrupt()
	}
	return m.filter.Match(fields)
}
