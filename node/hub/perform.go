package hub

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/merge"
)

// Perform implements [coffer.Hub].
func (v *view) Perform(ctx context.Context, owner string, a *coffer.HubAct) ([]coffer.HubItem, error) {
	if rulesOf(a.Interface) == nil {
		return nil, notImplemented("@type", "no such interface")
	}
	h, err := v.s.open(ctx, owner, false)
	if err != nil {
		return nil, err
	}
	if h != nil {
		location, err := v.s.relay(ctx, h, a.Interface)
		if err != nil {
			return nil, err
		}
		if location != "" {
			return nil, coffer.E("hub", coffer.Invalid, &coffer.Fault{Location: location, Reason: "offered elsewhere"})
		}
	}
	act := *a
	if err := v.normal(owner, &act); err != nil {
		return nil, err
	}
	switch {
	case act.Verb == coffer.RequestVerb:
		return v.request(ctx, owner, h, &act)
	case act.Verb != coffer.AddVerb && act.Verb != coffer.UpdateVerb && act.Verb != coffer.RemoveVerb:
		return nil, notImplemented("@type", "no such verb of this interface")
	case v.s.o.Signer == nil:
		return nil, notImplemented("@type", "this hub reads on this plane, and does not write")
	case v.who == "":
		return nil, denied()
	case act.Verb == coffer.AddVerb:
		return v.put(ctx, owner, h, &act)
	}
	return v.change(ctx, owner, h, &act)
}

// normal puts into context and type what an interface says otherwise: those of grants, and of Stores the pair and the
// key.
func (v *view) normal(owner string, a *coffer.HubAct) error {
	switch a.Interface {
	case coffer.PermissionsInterface:
		a.Context, a.Type = grant.PermissionContext, grant.PermissionType
	case coffer.StoresInterface:
		switch {
		case !v.owns(owner):
			a.Context = v.who
		case a.Context == "":
			a.Context = a.Type
		}
		a.Type = a.Key
	}
	if len(a.Context) > maxText || len(a.Type) > maxText || len(a.ID) > maxText {
		return invalid("request", "a text is too long")
	}
	return nil
}

// contexts returns how a context may have been written: with or without a scheme and a slash at the end.
func contexts(context string) []string {
	bare := strings.TrimPrefix(strings.TrimPrefix(context, "http://"), "https://")
	bare = strings.TrimSuffix(bare, "/")
	return []string{bare, bare + "/", "http://" + bare, "http://" + bare + "/", "https://" + bare, "https://" + bare + "/"}
}

// request returns the objects that an act asks for: the one with its id, or those of its kind, in the order of arrival.
// Skip counts those that the caller may read, and that match.
func (v *view) request(ctx context.Context, owner string, h *hub, a *coffer.HubAct) ([]coffer.HubItem, error) {
	q := &coffer.ObjectQuery{Interface: a.Interface, Context: a.Context, Type: a.Type, Filter: a.Filter, NoDeleted: true}
	if a.Interface == coffer.StoresInterface && a.Type == "" {
		q.Context = "" // all keys; those of other pairs are passed over
	}
	if a.ID != "" {
		id, err := coffer.ParseCommitRev(a.ID)
		if err != nil {
			return nil, invalid("request.id", "not an object's id")
		}
		q.IDs = []coffer.CommitRev{id}
	}
	m, err := v.matcher(q)
	if err != nil {
		return nil, err
	}
	m.contexts = contexts(a.Context)
	if h == nil {
		if !v.owns(owner) && !v.s.openToAll(a.Interface) {
			return nil, denied()
		}
		return v.nothingThere(a)
	}
	l := &listing{v: v, h: h, m: m, q: *q, filters: make(map[string]Filter)}
	if err := l.permit(ctx); err != nil {
		return nil, err
	}
	most, err := wanted(a.Meta)
	if err != nil {
		return nil, err
	}
	take := a.Take
	if take <= 0 || take > coffer.MaxHubPage {
		take = coffer.MaxHubPage
	}
	items := []coffer.HubItem{}
	scanned, passed, bytes := 0, 0, 0
	for r, err := range l.candidates(ctx, coffer.ObjectID{}, rowsAtOnce) {
		if err != nil {
			return nil, err
		}
		if scanned++; scanned > maxSorted {
			return nil, invalid("request.skip", "too far; the commit plane pages by tokens")
		}
		ok, err := l.take(r)
		if err != nil {
			return nil, err
		}
		if !ok || a.Interface == coffer.StoresInterface && a.Context != "" && r.Object.Context != a.Context {
			continue
		}
		if passed < a.Skip {
			passed++
			continue
		}
		i, err := h.item(ctx, r, most)
		if err != nil {
			return nil, err
		}
		items = append(items, i)
		if bytes += len(i.Data); len(items) == take || bytes > maxPageBytes {
			break
		}
	}
	if len(items) == 0 && a.Skip == 0 {
		return v.nothingThere(a)
	}
	return items, nil
}

// nothingThere is the answer when nothing matches: NotExist if one object was asked for.
func (v *view) nothingThere(a *coffer.HubAct) ([]coffer.HubItem, error) {
	if a.ID != "" || a.Key != "" {
		return nil, notExist("request")
	}
	return []coffer.HubItem{}, nil
}

// wanted returns how many bytes of an object's data a request wants, by the "cache-intent" of its meta.
func wanted(meta json.RawMessage) (most int64, err error) {
	var intent string
	if meta != nil && !exact(meta, members{"cache-intent": &intent}) {
		return 0, invalid("meta.cache-intent", "Required parameter is of the incorrect type")
	}
	switch intent {
	case "min":
		return 0, nil
	case "attr":
		return coffer.MaxAttributes, nil
	}
	return math.MaxInt64, nil
}

// item returns an object as the verb plane shows it, without data of more than so many bytes, or made of so many that
// it is read on the commit plane alone.
func (h *hub) item(ctx context.Context, r *row, most int64) (coffer.HubItem, error) {
	i := coffer.HubItem{ID: r.Object.ID.String(), Meta: r.Object.Meta, Author: r.Object.UpdatedBy}
	if r.Object.Withheld || r.Size > most {
		return i, nil
	}
	value, err := h.value(ctx, r)
	if err != nil || value == nil {
		return i, err
	}
	if !json.Valid(value) {
		if value, err = json.Marshal(string(value)); err != nil {
			return i, corrupt()
		}
	}
	i.Data = value
	return i, nil
}

// maxPatches bounds the commits that are held in memory to make a value: a grantee can make very many.
const maxPatches = 16 << 20

// value returns the present value of an object: with most strategies, what the last commit carries. It is nil when it
// is made of more than maxPatches bytes.
func (h *hub) value(ctx context.Context, r *row) ([]byte, error) {
	if r.Object.Strategy != merge.MergePatch {
		k, err := h.commit(ctx, r.Object.Revision)
		if err != nil {
			return nil, err
		}
		if k == nil {
			return nil, corrupt()
		}
		b, ok := decode64(k.commit.Payload)
		if !ok {
			return nil, corrupt()
		}
		return b, nil
	}
	r, err := h.readRow(r.present, true)
	if err != nil {
		return nil, err
	}
	if r.Size > maxPatches {
		return nil, nil
	}
	commits, bytes := make([]*merge.Commit, len(r.arrivals)), 0
	for i, a := range r.arrivals {
		k, err := h.commit(ctx, a.rev)
		if err != nil {
			return nil, err
		}
		if k == nil {
			return nil, corrupt()
		}
		if bytes += size(&k.commit); bytes > 2*maxPatches { // with headers, and in base64
			return nil, nil
		}
		if commits[i], err = merge.Parse(&k.commit); err != nil {
			return nil, corrupt()
		}
	}
	s, err := merge.Of(commits)
	if err != nil {
		return nil, corrupt()
	}
	return s.Value, nil
}

// sign returns a commit of the hub's for the caller. No two are the same, whatever is said in one millisecond: what is
// added twice is there twice.
func (v *view) sign(ctx context.Context, h merge.Header, meta json.RawMessage, payload []byte) (*merge.Commit, error) {
	m := make(map[string]any)
	if meta != nil && json.Unmarshal(meta, &m) != nil {
		return nil, invalid("meta", "Required parameter is of the incorrect type")
	}
	m["via"], m["author"] = madeHere, v.who
	b, err := json.Marshal(m)
	if err != nil {
		return nil, invalid("meta", "Required parameter is of the incorrect type")
	}
	s := v.s.o.Signer
	h.Meta, h.Alg, h.KeyID = b, s.Alg(), s.KeyID()
	h.CommittedAt = h.CommittedAt.Truncate(time.Millisecond).Add(1 + rand.N(time.Millisecond-1))
	c, err := merge.Build(h, payload, func(input []byte) ([]byte, error) { return s.SignInput(ctx, input) })
	if err != nil {
		return nil, err
	}
	return merge.Parse(c)
}

// put adds objects. Of what there is one of each context and type, it replaces the one that is there.
func (v *view) put(ctx context.Context, owner string, h *hub, a *coffer.HubAct) ([]coffer.HubItem, error) {
	if len(a.Payload) == 0 || len(a.Payload) > coffer.MaxHubPage {
		return nil, invalid("payload", "Required parameter is missing")
	}
	if rulesOf(a.Interface).unique {
		if len(a.Payload) > 1 {
			return nil, invalid("payload", "one at a time")
		}
		r, err := v.present(ctx, h, a)
		if err != nil {
			return nil, err
		}
		if r != nil {
			return v.commitTo(ctx, h, r, merge.Update, a)
		}
	}
	now := v.s.o.Now()
	commits := make([]*merge.Commit, len(a.Payload))
	for i, payload := range a.Payload {
		context, typ := kindIn(a, payload)
		if context == "" || typ == "" {
			return nil, invalid("request.schema", "Required parameter is missing")
		}
		c, err := v.sign(ctx, merge.Header{
			Interface: a.Interface, Context: context, Type: typ, Operation: merge.Create, Strategy: merge.Basic, Sub: owner,
			CommittedAt: now.Add(time.Duration(i) * time.Millisecond), // the later is after the earlier
		}, a.Meta, payload)
		if err != nil {
			return nil, err
		}
		commits[i] = c
	}
	drafts, err := v.write(ctx, owner, commits...)
	if err != nil {
		return nil, err
	}
	items := make([]coffer.HubItem, len(drafts))
	for i, d := range drafts {
		items[i] = coffer.HubItem{
			ID: d.is.Object.ID.String(), Meta: d.is.Object.Meta, Data: a.Payload[i], Author: d.is.Object.UpdatedBy,
		}
	}
	return items, nil
}

// kindIn returns what kind of object is added: if the act does not say, as the object itself does.
func kindIn(a *coffer.HubAct, payload json.RawMessage) (context, typ string) {
	if a.Context != "" || a.Interface == coffer.StoresInterface {
		return a.Context, a.Type
	}
	if !exact(payload, members{"@context": &context, "@type": &typ}) {
		return "", a.Type
	}
	if a.Type != "" {
		typ = a.Type
	}
	return context, typ
}

// present returns the object of which there is one for the act's context and type, nil if it is not there.
func (v *view) present(ctx context.Context, h *hub, a *coffer.HubAct) (*row, error) {
	if h == nil {
		return nil, nil
	}
	context, typ := a.Context, a.Type
	if len(a.Payload) > 0 {
		context, typ = kindIn(a, a.Payload[0])
	}
	var tags []string
	for _, c := range contexts(context) {
		tags = append(tags, h.tag(byUnique, a.Interface, c, typ))
	}
	for d, err := range h.documents(ctx, tags, coffer.ObjectID{}, 1) {
		if err != nil {
			return nil, err
		}
		return h.readRow(d, true)
	}
	return nil, nil
}

// change updates or removes an object.
func (v *view) change(ctx context.Context, owner string, h *hub, a *coffer.HubAct) ([]coffer.HubItem, error) {
	operation := merge.Update
	if a.Verb == coffer.RemoveVerb {
		operation = merge.Delete
	}
	if operation == merge.Update && len(a.Payload) != 1 {
		return nil, invalid("payload", "one object replaces another")
	}
	var r *row
	var err error
	switch {
	case a.ID != "":
		id, bad := coffer.ParseCommitRev(a.ID)
		if bad != nil {
			return nil, invalid("request.id", "not an object's id")
		}
		if h != nil {
			r, err = h.row(ctx, id)
		}
	case rulesOf(a.Interface).unique:
		r, err = v.present(ctx, h, a)
	default:
		return nil, invalid("request.id", "Required parameter is missing")
	}
	if err != nil {
		return nil, err
	}
	if r == nil || r.Object.Interface != a.Interface || r.Object.Deleted {
		return nil, v.missing(ctx, owner, h, operation, a)
	}
	return v.commitTo(ctx, h, r, operation, a)
}

// missing is the error for an object that is not there: Denied to those who could not have changed it.
func (v *view) missing(ctx context.Context, owner string, h *hub, operation string, a *coffer.HubAct) error {
	if v.owns(owner) {
		return notExist("request.id")
	}
	if h == nil {
		return denied()
	}
	for _, c := range contexts(a.Context) {
		o := &coffer.HubObject{Interface: a.Interface, Context: c, Type: a.Type}
		if _, err := v.may(ctx, h, rightFor(operation), o); !errors.Is(err, coffer.Denied) {
			if err == nil {
				err = notExist("request.id")
			}
			return err
		}
	}
	return denied()
}

// commitTo writes to an object that is there. Without a meta, it keeps what it has. Who may not is told nothing of the
// object, not even that it is there.
func (v *view) commitTo(
	ctx context.Context, h *hub, r *row, operation string, a *coffer.HubAct,
) ([]coffer.HubItem, error) {
	o := &r.Object
	if _, err := v.may(ctx, h, rightFor(operation), o); err != nil {
		return nil, err
	}
	if operation == merge.Update && o.Strategy == merge.MergePatch {
		return nil, invalid("request.id", "an object of this commit strategy is changed on the commit plane")
	}
	meta, payload := a.Meta, []byte(nil)
	if meta == nil {
		meta = o.Meta
	}
	if operation == merge.Update {
		payload = a.Payload[0]
	}
	at := v.s.o.Now()
	if !at.After(o.UpdatedAt.Add(time.Millisecond)) {
		at = o.UpdatedAt.Add(time.Millisecond) // or it would not count
	}
	c, err := v.sign(ctx, merge.Header{
		Interface: o.Interface, Context: o.Context, Type: o.Type, Operation: operation, Strategy: o.Strategy, Sub: h.owner,
		ObjectID: o.ID.String(), CommittedAt: at,
	}, meta, payload)
	if err != nil {
		return nil, err
	}
	drafts, err := v.write(ctx, h.owner, c)
	if err != nil || operation == merge.Delete {
		return []coffer.HubItem{}, err
	}
	is := drafts[0].is
	return []coffer.HubItem{{
		ID: is.Object.ID.String(), Meta: is.Object.Meta, Data: a.Payload[0], Author: is.Object.UpdatedBy,
	}}, nil
}
