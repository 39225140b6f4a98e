package hub

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/merge"
)

// A row is an object as the hub keeps it: all that it has to know without reading the commits.
type row struct {
	head
	id       coffer.ObjectID // of the document
	arrivals []arrival
	present  *coffer.Document // it was read from; nil if it is new
}

// A head is what a row says of the object as a whole.
type head struct {
	Object    coffer.HubObject
	Operation string          // of the commit that made the state
	Size      int64           // bytes of the present value, at most
	Lacking   int             // commits whose payloads are withheld
	Grant     json.RawMessage // the grant that is in force, without keys
	Second    bool            // came although there was one already; see rules.unique
	Stranger  bool            // its creator rests on nothing
}

// An arrival is when a commit came, in microseconds since 1970, and no two of a process at once.
type arrival struct {
	stamp int64
	rev   coffer.CommitRev
}

const arrivalSize = 8 + len(coffer.CommitRev{})

func (r *row) has(rev coffer.CommitRev) bool {
	return slices.ContainsFunc(r.arrivals, func(a arrival) bool { return a.rev == rev })
}

func (r *row) revs() []coffer.CommitRev {
	revs := make([]coffer.CommitRev, len(r.arrivals))
	for i, a := range r.arrivals {
		revs[i] = a.rev
	}
	return revs
}

// created and latest return what merge has to know of the first commit, and of the one that made the state.
func (r *row) created() *merge.Commit {
	o := &r.Object
	return &merge.Commit{Rev: o.ID, Object: o.ID, Header: merge.Header{
		Interface: o.Interface, Context: o.Context, Type: o.Type, Sub: o.Sub,
		Operation: merge.Create, Strategy: o.Strategy, CommittedAt: o.CreatedAt,
	}}
}

func (r *row) latest() *merge.Commit {
	o := &r.Object
	header := merge.Header{Operation: r.Operation, CommittedAt: o.UpdatedAt}
	return &merge.Commit{Rev: o.Revision, Object: o.ID, Header: header}
}

// of reports whether the object is of the commit's interface, context and type.
func (r *row) of(c *merge.Commit) bool {
	o, h := &r.Object, &c.Header
	return o.Interface == h.Interface && o.Context == h.Context && o.Type == h.Type
}

// newRow returns the row of an object that is created.
func newRow(c *merge.Commit) *row {
	h := &c.Header
	r := &row{head: head{Object: coffer.HubObject{
		Interface: h.Interface, Context: h.Context, Type: h.Type, ID: c.Rev,
		CreatedBy: author(c), CreatedAt: h.CommittedAt, Sub: h.Sub, Strategy: h.Strategy,
	}}}
	r.lack(c)
	r.set(c)
	return r
}

// add makes of the row what it is with one more commit, unless it made the row.
func (r *row) add(c *merge.Commit) {
	all := r.Size + int64(len(c.Payload))
	r.lack(c)
	if r.latest().Before(c) {
		r.set(c)
	}
	if r.Object.Strategy == merge.MergePatch {
		r.Size = all
		r.Object.Withheld = r.Lacking > 0 && !r.Object.Deleted
	}
}

// lack counts a commit whose payload is withheld.
func (r *row) lack(c *merge.Commit) {
	if c.Raw != nil && c.Raw.Withheld != nil {
		r.Lacking++
	}
}

// fill notes that a commit that was there without its payload is there with it.
func (r *row) fill(c *merge.Commit) {
	r.Lacking--
	if r.Object.Strategy == merge.MergePatch {
		r.Size += int64(len(c.Payload))
		r.Object.Withheld = r.Lacking > 0 && !r.Object.Deleted
	} else if c.Rev == r.Object.Revision {
		r.Size, r.Object.Withheld = int64(len(c.Payload)), false
	}
}

func (r *row) set(c *merge.Commit) {
	o := &r.Object
	o.Meta, o.UpdatedBy, o.UpdatedAt, o.Revision = c.Header.Meta, author(c), c.Header.CommittedAt, c.Rev
	o.Deleted = c.Header.Operation == merge.Delete
	o.Withheld = c.Raw != nil && c.Raw.Withheld != nil
	r.Operation, r.Size = c.Header.Operation, int64(len(c.Payload))
	r.Grant = nil
	if o.Interface == coffer.PermissionsInterface {
		r.Grant = inForce(o, c)
	}
}

// permission returns the grant that the row has in force, nil if none.
func (r *row) permission() *grant.Permission {
	if r.Grant == nil {
		return nil
	}
	p, err := grant.ParsePermission(r.Grant)
	if err != nil {
		return nil
	}
	return p
}

// public reports whether the owner has marked the state as public. What is withheld nobody could verify.
func (r *row) public() bool {
	o := &r.Object
	if o.UpdatedBy != o.Sub || o.Withheld || o.Interface == coffer.ActionsInterface || o.Interface == coffer.StoresInterface {
		return false
	}
	var public any
	return exact(o.Meta, members{"public": &public}) && public == true
}

// madeHere is the member of meta that says that the hub made a commit for somebody; it is then signed by a hub's key.
const madeHere = "hub"

// author returns whose a commit is: its signer's, or of one that a hub made and signed, his for whom it did.
func author(c *merge.Commit) string {
	var via, author string
	if exact(c.Header.Meta, members{"via": &via, "author": &author}) &&
		via == madeHere && strings.HasPrefix(author, "did:") {
		return author
	}
	return c.Signer()
}

// vouches reports whether a commit that signer signed is the owner's, if it says so: he signed it, or this hub did for
// him. What other hubs say that he did is their word alone.
func (s *Service) vouches(signer, owner string) bool {
	return signer == owner || s.o.Signer != nil && signer == s.o.Signer.DID()
}

// members are where to put members of a JSON object.
type members map[string]any

// exact reads those members of a JSON object whose names are just these, which encoding/json alone does not insist
// on. It returns false if it is no object, or one of them does not fit.
func exact(b []byte, into members) bool {
	var m map[string]json.RawMessage
	if json.Unmarshal(b, &m) != nil || m == nil {
		return false
	}
	for name, v := range into {
		if raw, ok := m[name]; ok && json.Unmarshal(raw, v) != nil {
			return false
		}
	}
	return true
}

// document returns the row's document, to be inserted or to replace what it was read from.
func (h *hub) document(r *row) *coffer.Document {
	p := r.head.append(make([]byte, 0, 1024+len(r.Object.Meta)+len(r.Grant)+len(r.arrivals)*arrivalSize))
	for _, a := range r.arrivals {
		p = append(binary.BigEndian.AppendUint64(p, uint64(a.stamp)), a.rev[:]...)
	}
	d := &coffer.Document{ID: r.id, Tags: h.tags(r), Body: h.body(r.id, p)}
	if r.present != nil {
		d.Sequence, d.Parents = r.present.Sequence+1, []coffer.Rev{r.present.Rev()}
	}
	return d
}

// readRow reads the document of an object. Of a listing, arrivals are not needed.
func (h *hub) readRow(d *coffer.Document, arrivals bool) (*row, error) {
	b, err := h.read(d)
	if err != nil {
		return nil, err
	}
	r := &row{id: d.ID, present: d}
	b, ok := r.head.parse(b)
	if !ok || len(b)%arrivalSize != 0 || rulesOf(r.Object.Interface) == nil {
		return nil, corrupt()
	}
	if arrivals {
		r.arrivals = make([]arrival, 0, len(b)/arrivalSize+1)
		for ; len(b) > 0; b = b[arrivalSize:] {
			r.arrivals = append(r.arrivals, arrival{int64(binary.BigEndian.Uint64(b)), coffer.CommitRev(b[8:arrivalSize])})
		}
	}
	return r, nil
}

// What rows are found by. The texts after it are in the order of the names.
const (
	byInterface     = "interface"
	byKind          = "kind"         // interface, context, type
	byContext       = "context"      // interface, context; Stores only
	byCreator       = "creator"      // interface, context, type, creator
	byObject        = "object"       // id
	byPublic        = "public"       // interface
	byPublicKind    = "public kind"  // interface, context, type
	byGrant         = "grant"        // grantee, context, type: a grant that is not for certain objects
	byObjectGrant   = "object grant" // grantee, context, type, id: one that is for this object, among others
	bySomeGrant     = "some grant"   // grantee, context, type: one that is for certain objects
	byGrantee       = "grantee"      // grantee
	byWaiting       = "waiting"      // a stranger's action that is not done
	byWaitingSender = "waiting from" // sender
	byUnique        = "unique"       // interface, context, type: at most one
	byListedKind    = "listed kind"  // the kinds themselves
)

// tags returns what the row is found by.
func (h *hub) tags(r *row) []coffer.Tag {
	o := &r.Object
	var tags []coffer.Tag
	add := func(texts ...string) {
		tags = append(tags, coffer.Tag{Key: tagKey, Name: tagName, Value: h.tag(texts...)})
	}
	add(byInterface, o.Interface)
	add(byKind, o.Interface, o.Context, o.Type)
	add(byCreator, o.Interface, o.Context, o.Type, o.CreatedBy)
	add(byObject, o.ID.String())
	if r.public() {
		add(byPublic, o.Interface)
		add(byPublicKind, o.Interface, o.Context, o.Type)
	}
	if rules := rulesOf(o.Interface); rules.tags != nil {
		rules.tags(r, add)
	}
	if u := h.unique(r); u != "" && !r.Second {
		tags = append(tags, coffer.Tag{Key: tagKey, Name: tagName, Value: u, Unique: true})
	}
	return tags
}

// unique returns the tag that at most one object may have, "" if the row's needs none.
func (h *hub) unique(r *row) string {
	o := &r.Object
	if o.Deleted || !rulesOf(o.Interface).unique {
		return ""
	}
	return h.tag(byUnique, o.Interface, o.Context, o.Type)
}

// A kept is a commit as it is kept.
type kept struct {
	row    coffer.ObjectID // of its object
	stamp  int64
	issuer string // identifier of the signer
	object bool   // it creates the object
	commit coffer.Commit

	present *coffer.Document // it was read from
}

// What is said of a commit in the byte before its texts.
const (
	creates  = 1 << iota // it creates its object
	withheld             // its payload is not here, and its revision stands in that place
)

// keepCommit returns the document of a commit.
func (h *hub) keepCommit(c *merge.Commit, row coffer.ObjectID, stamp int64) *coffer.Document {
	id := h.commitID(c.Rev)
	size := 64 + len(c.Raw.Protected) + len(c.Raw.Payload) + len(c.Raw.Signature) + len(c.Raw.Header) + len(c.Header.KeyID)
	p := append(make([]byte, 0, size), row[:]...)
	p = binary.BigEndian.AppendUint64(p, uint64(stamp))
	flags, payload := byte(0), c.Raw.Payload
	if c.Header.Operation == merge.Create {
		flags |= creates
	}
	if c.Raw.Withheld != nil {
		flags |= withheld
		payload = c.Rev.String()
	}
	p = append(p, flags)
	for _, s := range [...]string{c.Signer(), c.Raw.Protected, payload, c.Raw.Signature, string(c.Raw.Header)} {
		p = append(binary.AppendUvarint(p, uint64(len(s))), s...)
	}
	return &coffer.Document{ID: id, Body: h.body(id, p)}
}

func (h *hub) readCommit(d *coffer.Document) (*kept, error) {
	b, err := h.read(d)
	if err != nil || len(b) < 25 {
		return nil, corrupt()
	}
	flags := b[24]
	k := &kept{
		row: coffer.ObjectID(b[:16]), stamp: int64(binary.BigEndian.Uint64(b[16:])), object: flags&creates != 0, present: d,
	}
	b = b[25:]
	var header string
	r := reader{b, true}
	for _, s := range [...]*string{&k.issuer, &k.commit.Protected, &k.commit.Payload, &k.commit.Signature, &header} {
		*s = string(r.bytes())
	}
	if !r.ok {
		return nil, corrupt()
	}
	if flags&withheld != 0 {
		rev, err := coffer.ParseCommitRev(k.commit.Payload)
		if err != nil {
			return nil, corrupt()
		}
		k.commit.Payload, k.commit.Withheld = "", &rev
	}
	if header != "" {
		k.commit.Header = json.RawMessage(header)
	}
	return k, nil
}

// shown returns the commit as it is answered with: with what the hub knows of it in its header.
func (k *kept) shown() (*coffer.Commit, error) {
	m := make(map[string]json.RawMessage)
	if k.commit.Header != nil && json.Unmarshal(k.commit.Header, &m) != nil {
		return nil, corrupt()
	}
	delete(m, "object_id")
	rev := k.commit.Rev().String()
	known := map[string]string{"iss": k.issuer, "rev": rev}
	if k.object {
		known["object_id"] = rev
	}
	for name, text := range known {
		b, err := json.Marshal(text)
		if err != nil {
			return nil, corrupt()
		}
		m[name] = b
	}
	b, err := json.Marshal(m)
	if err != nil {
		return nil, corrupt()
	}
	c := k.commit
	c.Header = b
	return &c, nil
}
