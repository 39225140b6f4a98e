package hub

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/merge"
)

// A Permission is what the owner lets somebody do with objects of a kind.
type Permission struct {
	Grantee string // DID; [coffer.Everybody] for all, who can be let read alone, and open nothing that is sealed
	Kind    Kind
	Allow   string // "-R--", "CRUD": which of create, read, update and delete

	// What restricts it; all must hold. Whoever may read is sent the keys: of the whole kind, or, restricted by the first
	// three, of the objects that there are. Those that come later get keys with the next [Hub.Work].
	Objects   []coffer.CommitRev // only these
	CreatedBy string             // only what this identifier created
	Filter    string             // only what matches: of what the hub sees, in the syntax of Lucene
	Expires   time.Time          // until then; zero: until it is revoked
	Purpose   string             // only to whom says that it is for this

	// Plain sends no keys: for programs that know plain text only. What is sealed they cannot read.
	Plain bool

	NotRevocableBefore time.Time // the owner binds himself until then
	MaxBytes, MaxKeys  int64     // of a Store; 0 is the hub's own limit
}

// A Given is a permission that was given.
type Given struct {
	ID coffer.CommitRev
	Permission
	At      time.Time // when it was last written, as the owner says
	Created time.Time // when it was first
	Used    []string  // days of UTC, as in 2026-11-21, on which it was used here, as the hub says: of one's own hub alone
}

// permissionMembers are a PermissionGrant as it is written.
type permissionMembers struct {
	ContextIRI string             `json:"@context,omitempty"`
	TypeName   string             `json:"@type,omitempty"`
	Owner      string             `json:"owner"`
	Grantee    string             `json:"grantee"`
	Interface  string             `json:"interface"`
	Context    string             `json:"context"`
	Type       string             `json:"type"`
	Allow      string             `json:"allow"`
	CreatedBy  string             `json:"created_by,omitempty"`
	Objects    []coffer.CommitRev `json:"object_id,omitempty"`
	Filter     string             `json:"filter,omitempty"`
	Expires    string             `json:"expires_at,omitempty"`
	Purpose    string             `json:"purpose,omitempty"`
	Held       string             `json:"not_revocable_before,omitempty"`
	MaxBytes   int64              `json:"max_bytes,omitzero"`
	MaxKeys    int64              `json:"max_keys,omitzero"`
	Keys       json.RawMessage    `json:"keys,omitempty"`
}

// A delivery is the member "keys" of a PermissionGrant.
type delivery struct {
	Version int             `json:"v"`
	KEM     string          `json:"kem,omitempty"`
	Sealed  []byte          `json:"sealed,omitempty"` // a bundle
	Secrets int             `json:"secrets,omitzero"` // how many vault secrets the owner had then
	Own     json.RawMessage `json:"own,omitempty"`    // kindMembers, sealed for the owner, when the kind is private
}

// The ways in which a bundle is sealed.
const (
	hybridKEM  = "MLKEM768-X25519"
	classicKEM = "X25519"
	keysLabel  = "coffer hub keys 1"
)

// A bundle is what a reader is sent.
type bundle struct {
	Kind    kindMembers `json:"kind"`
	Epochs  []epochItem `json:"epochs,omitempty"`  // all of the kind
	Objects []saltItem  `json:"objects,omitempty"` // of single objects
}

type epochItem struct {
	Epoch uint32 `json:"epoch"`
	Key   []byte `json:"key"`
}

type saltItem struct {
	Epoch uint32 `json:"epoch"`
	Salt  []byte `json:"salt"`
	Key   []byte `json:"key"`
}

// Bounds of what one grant delivers: the objects whose keys it has, and the keys in all.
const (
	maxBundle   = 700
	maxKeysSent = 4096
)

func (p *Permission) restricted() bool {
	return len(p.Objects) > 0 || p.CreatedBy != "" || p.Filter != ""
}

var permissionKind = Kind{
	Interface: coffer.PermissionsInterface, Context: grant.PermissionContext, Type: grant.PermissionType,
}

// Grant gives a permission, with keys if it is to read, and returns its id. Invalid for what makes no sense, and when
// the grantee has no key that can be sent to (X25519); the errors of [Resolver] when he is not known.
func (h *Hub) Grant(ctx context.Context, p Permission) (coffer.CommitRev, error) {
	var none coffer.CommitRev
	if err := h.own("grant"); err != nil {
		return none, err
	}
	if _, err := h.latest(ctx, p.Kind); err != nil { // another device may have changed the keys just now
		return none, err
	}
	payload, err := h.grantPayload(ctx, &p)
	if err != nil {
		return none, err
	}
	return h.write(ctx, merge.Header{
		Interface: permissionKind.Interface, Context: permissionKind.Context, Type: permissionKind.Type,
		Operation: merge.Create, Strategy: merge.Basic,
	}, payload, nil, nil)
}

// grantPayload returns the payload of a grant, with keys as of now.
func (h *Hub) grantPayload(ctx context.Context, p *Permission) ([]byte, error) {
	k, err := p.Kind.check()
	if err != nil {
		return nil, err
	}
	p.Kind = k
	rights, err := grant.ParseRights(p.Allow)
	if err != nil {
		return nil, err
	}
	wire, err := h.wire(ctx, k)
	if err != nil {
		return nil, err
	}
	if p.Objects, err = h.withParts(ctx, k, wire, p.Objects); err != nil {
		return nil, err
	}
	m := permissionMembers{
		ContextIRI: grant.PermissionContext, TypeName: grant.PermissionType,
		Owner: h.o.Owner, Grantee: p.Grantee, Interface: wire.Interface, Context: wire.Context, Type: wire.Type,
		Allow: rights.String(), CreatedBy: p.CreatedBy, Objects: p.Objects, Filter: p.Filter, Purpose: p.Purpose,
		Expires: timeText(p.Expires), Held: timeText(p.NotRevocableBefore), MaxBytes: p.MaxBytes, MaxKeys: p.MaxKeys,
	}
	d := delivery{Version: 1}
	if k.Private {
		if d.Own, err = h.sealNote(ctx, membersOf(k)); err != nil {
			return nil, err
		}
	}
	reads := rights&grant.ReadRight != 0
	if (reads || k.Private) && p.Grantee != coffer.Everybody && !p.Plain {
		if err := h.deliver(ctx, p, reads, wire, &d); err != nil {
			return nil, err
		}
	}
	if d.Own != nil || d.Sealed != nil {
		if m.Keys, err = jose.Encode(d); err != nil {
			return nil, coffer.E("grant", coffer.Other, err)
		}
	}
	payload, err := jose.Encode(m)
	if err != nil {
		return nil, coffer.Errorf("grant", coffer.Invalid, "a text is not UTF-8")
	}
	if _, err := grant.ParsePermission(payload); err != nil {
		return nil, err
	}
	return payload, nil
}

func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// deliver seals the keys of a permission to its grantee: the kind alone when he is not to read, as he needs the names
// of a private one.
func (h *Hub) deliver(ctx context.Context, p *Permission, reads bool, wire Kind, d *delivery) error {
	to, err := h.reader(ctx, p.Grantee)
	if err != nil {
		return err
	}
	b := &bundle{Kind: membersOf(p.Kind)}
	if reads {
		if b, err = h.bundle(ctx, p); err != nil {
			return err
		}
	}
	text, err := jose.Encode(b)
	if err != nil {
		return coffer.E("grant", coffer.Other, err)
	}
	size := seal.Padme(int64(max(1024, len(text)+seal.PadOverhead)))
	if text, err = seal.PadDelivery(text, int(size)); err != nil {
		return err
	}
	d.Secrets = len(h.owners)
	about := keysInfo(h.o.Owner, p.Grantee, wire)
	if to.delivery != nil {
		d.KEM = hybridKEM
		d.Sealed, err = seal.Deliver(to.delivery, about, text)
	} else {
		d.KEM = classicKEM
		d.Sealed, err = seal.DeliverClassic(to.agreement.Public, about, text)
	}
	return err
}

func keysInfo(owner, grantee string, wire Kind) []byte {
	return info(keysLabel, owner, grantee, wire.Interface, wire.Context, wire.Type)
}

// bundle returns the keys that a permission is to come with.
func (h *Hub) bundle(ctx context.Context, p *Permission) (*bundle, error) {
	k := p.Kind
	r, err := h.present(ctx, k)
	if err != nil {
		return nil, err
	}
	b := &bundle{Kind: membersOf(k)}
	if !p.restricted() {
		// Those of former epochs, too: of what is not yet sealed anew, and of what a state is made of.
		for n := range r.Epoch + 1 {
			keys, err := h.ownKeys(ctx, k, n)
			if err != nil {
				return nil, err
			}
			for _, key := range keys {
				b.Epochs = append(b.Epochs, epochItem{n, key[:]})
			}
		}
		return b, nil
	}
	q := coffer.ObjectQuery{IDs: p.Objects, Filter: p.Filter, NoDeleted: true}
	type place struct {
		epoch uint32
		salt  salt
	}
	there := make(map[place]bool)
	add := func(n uint32, s salt) error {
		if there[place{n, s}] {
			return nil
		}
		if there[place{n, s}] = true; len(there) > maxBundle {
			return coffer.Errorf("grant", coffer.Exhausted, "too many objects for keys one by one: grant the kind")
		}
		keys, err := h.ownKeys(ctx, k, n)
		if err != nil {
			return err
		}
		for _, key := range keys {
			of := key.object(s)
			b.Objects = append(b.Objects, saltItem{n, s[:], of[:]})
		}
		return nil
	}
	for o, err := range h.list(ctx, k, &q, nil) {
		if err != nil && OfOne(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if p.CreatedBy != "" && o.Author != p.CreatedBy {
			continue
		}
		for _, c := range o.record.commits {
			e, err := parseEnvelope(c.Payload)
			if err != nil || e == nil || !e.keyed {
				continue
			}
			if err := errors.Join(add(e.epoch, e.salt), add(r.Epoch, e.salt)); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// A reader is whom something can be sealed for.
type reader struct {
	delivery  []byte           // if it is known
	agreement coffer.PublicKey // X25519, if not
}

const x25519Type = "X25519KeyAgreementKey2020"

// reader finds a key of somebody's to seal to.
func (h *Hub) reader(ctx context.Context, did string) (reader, error) {
	if h.o.Delivery != nil {
		key, err := h.o.Delivery(ctx, did)
		if err == nil {
			return reader{delivery: key}, nil
		}
		if !errors.Is(err, coffer.NotExist) {
			return reader{}, err
		}
	}
	id, err := h.o.Resolver.Resolve(ctx, did)
	if err != nil {
		return reader{}, err
	}
	for _, k := range id.Agreement {
		if k.Type == x25519Type {
			return reader{agreement: k}, nil
		}
	}
	return reader{}, coffer.Errorf("seal", coffer.Invalid, "the identity has no X25519 key to encrypt to")
}

// sealNote seals something for the owner alone.
func (h *Hub) sealNote(ctx context.Context, v any) (json.RawMessage, error) {
	value, err := jose.Encode(v)
	if err != nil {
		return nil, coffer.E("seal", coffer.Other, err)
	}
	return h.seal(ctx, noteKind, nil, &inside{Value: value})
}

func (h *Hub) openNote(ctx context.Context, sealed json.RawMessage, v any) error {
	e, err := parseEnvelope(sealed)
	if err != nil || e == nil || !e.keyed {
		return errSealed
	}
	in, err := h.openKeyed(ctx, noteKind, e)
	if err != nil {
		return err
	}
	if !in.binds(h.o.Owner, noteKind, h.o.Owner) || jose.DecodeOpen(in.Value, v) != nil {
		return errSealed
	}
	return nil
}

// A grantRecord is a grant as its commits have it.
type grantRecord struct {
	*record
	permission *grant.Permission
	Keys       *bundle // of grants to oneself
	private    *kindMembers
	sent       bool // keys came with it
	stale      bool // and the owner's vault secret was rotated since
}

// kindOf returns what the grant is for, as who granted it or got it knows it.
func (g *grantRecord) kindOf() Kind {
	switch {
	case g.private != nil:
		return g.private.kind()
	case g.Keys != nil:
		return g.Keys.Kind.kind()
	}
	p := g.permission
	i := p.Interface
	if i == "" {
		i = coffer.CollectionsInterface
	}
	return Kind{Interface: i, Context: p.Context, Type: p.Type}
}

func (g *grantRecord) given() *Given {
	p := g.permission
	return &Given{
		ID: g.Object, At: g.Latest.Header.CommittedAt, Created: g.Created.Header.CommittedAt,
		Used: g.used,
		Permission: Permission{
			Grantee: p.Grantee, Kind: g.kindOf(), Allow: p.Allow.String(),
			Objects: p.Objects, CreatedBy: p.CreatedBy, Filter: p.Filter, Expires: p.Expires, Purpose: p.Purpose,
			Plain:              p.Allow&grant.ReadRight != 0 && p.Grantee != coffer.Everybody && !g.sent,
			NotRevocableBefore: p.NotRevocableBefore, MaxBytes: p.MaxBytes, MaxKeys: p.MaxKeys,
		},
	}
}

// grantOf reads a grant out of the payload that made a state. It is nil for what is no grant of the owner's.
func (h *Hub) grantOf(ctx context.Context, r *record) (*grantRecord, error) {
	for _, c := range r.commits {
		if c.Signer() != h.o.Owner {
			return nil, corrupt("a grant that the owner did not sign")
		}
	}
	p, err := grant.ParsePermission(r.Value)
	if err != nil || p.Owner != h.o.Owner {
		return nil, nil // written by another program, and of no effect
	}
	g := &grantRecord{record: r, permission: p}
	var d delivery
	if p.Keys == nil || jose.DecodeOpen(p.Keys, &d) != nil || d.Version != 1 {
		return g, nil
	}
	g.sent = d.Sealed != nil
	g.stale = g.sent && h.mine && d.Secrets < len(h.owners)
	switch {
	case h.mine && d.Own != nil:
		var m kindMembers
		if err := h.openNote(ctx, d.Own, &m); err != nil {
			return nil, err
		}
		g.private = &m
	case !h.mine && p.Grantee == h.me && d.Sealed != nil && h.o.Keyring != nil:
		g.Keys, err = h.receive(ctx, p, &d)
	}
	return g, err
}

// receive opens the keys of a grant to oneself.
func (h *Hub) receive(ctx context.Context, p *grant.Permission, d *delivery) (*bundle, error) {
	wire := Kind{Interface: p.Interface, Context: p.Context, Type: p.Type}
	about := keysInfo(p.Owner, p.Grantee, wire)
	var text []byte
	var err error
	switch owner, ok := h.o.Keyring.(coffer.Owner); {
	case d.KEM == classicKEM:
		text, err = seal.ReceiveClassic(ctx, h.o.Keyring, about, d.Sealed)
	case d.KEM == hybridKEM && ok:
		text, err = owner.Receive(ctx, about, d.Sealed)
	default:
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if text, err = seal.UnpadDelivery(text); err != nil {
		return nil, err
	}
	var b bundle
	if jose.Decode(text, &b) != nil || len(b.Epochs) > maxKeysSent || len(b.Objects) > maxKeysSent {
		return nil, corrupt("keys that are none")
	}
	return &b, nil
}

// grantRecords yields the grants that one may see: the owner all, others those made to themselves.
func (h *Hub) grantRecords(ctx context.Context) iter.Seq2[*grantRecord, error] {
	return func(yield func(*grantRecord, error) bool) {
		q := coffer.ObjectQuery{
			Interface: permissionKind.Interface, Context: permissionKind.Context, Type: permissionKind.Type, NoDeleted: true,
		}
		for r, err := range h.pages(ctx, &q, nil) {
			var g *grantRecord
			if err == nil {
				if r.Deleted {
					continue
				}
				g, err = h.grantOf(ctx, r)
			}
			if err == nil && g == nil {
				continue
			}
			if !yield(g, err) {
				return
			}
		}
	}
}

// Grants yields the permissions that were given and not revoked, those that have expired included: to the owner all, to
// others those that were given to them.
func (h *Hub) Grants(ctx context.Context) iter.Seq2[*Given, error] {
	return func(yield func(*Given, error) bool) {
		for g, err := range h.grantRecords(ctx) {
			if err != nil {
				if !yield(nil, err) {
					return
				}
			} else if !yield(g.given(), nil) {
				return
			}
		}
	}
}

// AccessAt returns who had access to a kind at a time, by the owner's signed grants and when they say that they were
// written: also those that were revoked since.
func (h *Hub) AccessAt(ctx context.Context, k Kind, at time.Time) ([]*Given, error) {
	if err := h.own("access"); err != nil {
		return nil, err
	}
	k, err := k.check()
	if err != nil {
		return nil, err
	}
	wire, err := h.wire(ctx, k)
	if err != nil {
		return nil, err
	}
	var list []*Given
	q := coffer.ObjectQuery{
		Interface: permissionKind.Interface, Context: permissionKind.Context, Type: permissionKind.Type,
	}
	for r, err := range h.pages(ctx, &q, nil) {
		if err != nil {
			return nil, err
		}
		then := &record{}
		for _, c := range r.commits {
			if !c.Header.CommittedAt.After(at) {
				then.commits = append(then.commits, c)
			}
		}
		if then.State, err = merge.Of(then.commits); err != nil || then.Deleted {
			continue // not yet there, or no more
		}
		g, err := h.grantOf(ctx, then)
		if err != nil {
			return nil, err
		}
		if g == nil || !covers(g.permission, wire) ||
			!g.permission.Expires.IsZero() && !at.Before(g.permission.Expires) || g.permission.Allow == 0 {
			continue
		}
		list = append(list, g.given())
	}
	return list, nil
}

// covers reports whether a grant is for objects of a kind, as the hub sees it.
func covers(p *grant.Permission, wire Kind) bool {
	if wire.Interface == coffer.StoresInterface {
		wire.Type = storeType
	}
	return p.Context == wire.Context && p.Type == wire.Type && (p.Interface == "" || p.Interface == wire.Interface)
}

// Revoke ends a permission: the hub lets its grantee in no more from then on. If it was to read, what is written from
// now on is sealed under keys that he never had; those who may still read are sent them. What there is already is
// sealed anew by [Hub.Work]. What he has read, he knows.
//
// NotExist if there is no such permission, Locked before NotRevocableBefore.
func (h *Hub) Revoke(ctx context.Context, id coffer.CommitRev) error {
	if err := h.own("revoke"); err != nil {
		return err
	}
	r, err := h.one(ctx, permissionKind, id)
	if err != nil {
		return err
	}
	if r.Deleted {
		return coffer.Errorf("revoke", coffer.NotExist, "the permission was revoked")
	}
	g, err := h.grantOf(ctx, r)
	if err != nil {
		return err
	}
	if g == nil || !g.reads() {
		return h.remove(ctx, r)
	}
	if h.o.Now().Before(g.permission.NotRevocableBefore) {
		return coffer.Errorf("revoke", coffer.Locked, "cannot be revoked yet")
	}
	// The epoch ends first: what is interrupted after that is done again, and costs an epoch.
	k := g.kindOf()
	if err := h.endEpoch(ctx, k); err != nil {
		return err
	}
	if err := h.remove(ctx, r); err != nil {
		return err
	}
	for known := len(r.commits) + 1; ; known = len(r.commits) {
		if r, err = h.one(ctx, permissionKind, id); err != nil {
			return err
		}
		if len(r.commits) <= known {
			return h.redeliver(ctx, k)
		}
		// Another device that began the same epoch, to revoke another permission, may have sent its keys by this one.
		if err := h.endEpoch(ctx, k); err != nil {
			return err
		}
	}
}

// endEpoch begins the next epoch of a kind. Exhausted when there have been too many.
func (h *Hub) endEpoch(ctx context.Context, k Kind) error {
	e, err := h.latest(ctx, k)
	if err != nil {
		return err
	}
	if e.Epoch++; e.Epoch > maxEpoch {
		return coffer.Errorf("revoke", coffer.Exhausted, "the keys of the kind were changed too often")
	}
	return h.advance(ctx, e)
}

// redeliver sends all who may read a kind the keys as of now.
func (h *Hub) redeliver(ctx context.Context, k Kind) error {
	wire, err := h.wire(ctx, k)
	if err != nil {
		return err
	}
	if _, err := h.latest(ctx, k); err != nil {
		return err
	}
	var away error
	for g, err := range h.grantRecords(ctx) {
		if errors.Is(err, coffer.Corrupt) {
			continue
		}
		if err != nil {
			return err
		}
		if !covers(g.permission, wire) || !g.reads() || g.expired(h.o.Now()) {
			continue
		}
		p := g.given().Permission
		payload, err := h.grantPayload(ctx, &p)
		if errors.Is(err, coffer.Invalid) || errors.Is(err, coffer.NotExist) {
			continue // whose keys cannot be found any more is sent none, and does not keep others from theirs
		}
		if errors.Is(err, coffer.Unavailable) {
			away = err // nor does who cannot be reached now; he is sent them the next time
			continue
		}
		if err != nil {
			return err
		}
		hd := merge.Header{Operation: merge.Update, CommittedAt: g.Latest.Header.CommittedAt}
		if _, err := h.write(ctx, hd, payload, g.record, nil); err != nil {
			return err
		}
	}
	return away
}

// reads reports whether the grant is one that comes with keys.
func (g *grantRecord) reads() bool { return g.sent && g.permission.Allow&grant.ReadRight != 0 }

func (g *grantRecord) expired(now time.Time) bool {
	return !g.permission.Expires.IsZero() && !now.Before(g.permission.Expires)
}

// deliveries are the grants to oneself in somebody else's hub.
type deliveries struct {
	read time.Time // zero: never
	list []*grantRecord
}

// How old what is known of deliveries may be.
const (
	anyAge  time.Duration = math.MaxInt64
	justNow               = time.Second
)

// deliveries returns the grants to oneself that come with keys, as they are, or were less than so long ago.
func (h *Hub) deliveries(ctx context.Context, age time.Duration) ([]*grantRecord, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := h.o.Now()
	if d := &h.given; !d.read.IsZero() && now.Sub(d.read).Abs() < age {
		return d.list, nil
	}
	if h.me == "" {
		return nil, nil
	}
	var list []*grantRecord
	for g, err := range h.grantRecords(ctx) {
		switch {
		case errors.Is(err, coffer.Denied):
		case errors.Is(err, coffer.Corrupt): // not for the keys that one has now
		case err != nil:
			return nil, err
		case g.Keys != nil:
			list = append(list, g)
		}
	}
	h.given = deliveries{now, list}
	return list, nil
}

// openAsGuest opens an object in somebody else's hub with the keys that were delivered: those that are known, and, when
// these do not open it, those that are delivered now.
func (h *Hub) openAsGuest(ctx context.Context, k Kind, e *envelope) (*inside, error) {
	failed := coffer.Errorf("open", coffer.Denied, "the object's key was not delivered")
	for _, age := range [...]time.Duration{anyAge, justNow} {
		list, err := h.deliveries(ctx, age)
		if err != nil {
			return nil, err
		}
		for _, g := range list {
			for _, key := range g.Keys.of(k, e.epoch, e.salt) {
				in, err := e.open(key)
				if err == nil {
					return in, nil
				}
				failed = err
			}
		}
	}
	return nil, failed
}

// of returns the keys of an object that are in the bundle or follow from what is.
func (b *bundle) of(k Kind, epoch uint32, s salt) (list []objectKey) {
	if b.Kind.kind().digest() != k.digest() {
		return nil
	}
	for _, i := range b.Epochs {
		if i.Epoch == epoch && len(i.Key) == len(epochKey{}) {
			list = append(list, epochKey(i.Key).object(s))
		}
	}
	for _, i := range b.Objects {
		if i.Epoch == epoch && string(i.Salt) == string(s[:]) && len(i.Key) == len(objectKey{}) {
			list = append(list, objectKey(i.Key))
		}
	}
	return list
}

// guestWriting completes what an object in somebody else's hub is to be sealed with: the newest key that was delivered
// for it; none when there is none. Like other devices of the owner's, it hears of a new epoch in time.
func (h *Hub) guestWriting(ctx context.Context, k Kind, w writing) (writing, error) {
	for _, age := range [...]time.Duration{fresh, justNow} {
		list, err := h.deliveries(ctx, age)
		if err != nil {
			return w, err
		}
		w.handed = true
		for _, g := range list {
			newest := uint32(0)
			for _, i := range g.Keys.Epochs {
				newest = max(newest, i.Epoch)
			}
			for _, i := range g.Keys.Objects {
				if string(i.Salt) == string(w.salt[:]) {
					newest = max(newest, i.Epoch)
				}
			}
			if keys := g.Keys.of(k, newest, w.salt); len(keys) > 0 && (w.handed || newest > w.epoch) {
				w.key, w.epoch, w.handed = keys[0], newest, false
			}
		}
		if !w.handed {
			break
		}
	}
	return w, nil
}
