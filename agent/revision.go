package agent

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/api/edv"
)

// A revision is a sealed object as it was found in the vault, opened.
type revision struct {
	ref     seal.Ref
	doc     *coffer.Document
	rev     coffer.Rev
	present []coffer.Rev // all present revisions of the object: what the next one replaces
	opened  *seal.Opened
}

// next returns sequence and parents of the revision that is to replace r; nil stands for nothing.
func (r *revision) next() (sequence uint64, parents []coffer.Rev) {
	if r == nil {
		return 0, nil
	}
	return r.doc.Sequence + 1, r.present
}

// read fetches and opens the present revision of an object: of several, the one that all replicas choose. It checks
// that the author it names signed it, and that the author is among those who may have written it.
func (a *Agent) read(ctx context.Context, ref seal.Ref, authors authors) (*revision, error) {
	if a.guest != nil {
		a.guest.meet(ref)
	}
	least, known := a.feed.expects(ref.ID)
	docs, err := a.Vault.Get(ctx, ref.ID)
	if err != nil {
		return nil, err
	}
	r, err := a.open(ctx, ref, authors, docs...)
	if err != nil {
		return nil, err
	}
	// What the feed said before may have been replaced since, but not the other way round.
	if known && (r.doc.Sequence < least.sequence || r.doc.Sequence == least.sequence && r.rev != least.rev) {
		return nil, coffer.Errorf("object", coffer.Corrupt, "the vault shows an older state of an object than it did")
	}
	a.feed.saw(r)
	return r, nil
}

func (a *Agent) open(ctx context.Context, ref seal.Ref, authors authors, docs ...*coffer.Document) (*revision, error) {
	const op = "object"
	if len(docs) == 0 || len(docs) > 64 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the vault answered with no revision, or with too many")
	}
	r := &revision{ref: ref}
	for _, d := range docs {
		if d == nil || d.ID != ref.ID {
			return nil, coffer.Errorf(op, coffer.Corrupt, "the vault answered with another object")
		}
		rev := d.Rev()
		if slices.Contains(r.present, rev) {
			return nil, coffer.Errorf(op, coffer.Corrupt, "the vault answered with a revision twice")
		}
		r.present = append(r.present, rev)
		if r.doc == nil || d.Sequence > r.doc.Sequence || d.Sequence == r.doc.Sequence && bytes.Compare(rev[:], r.rev[:]) > 0 {
			r.doc, r.rev = d, rev
		}
	}
	var err error
	if r.opened, err = seal.OpenObject(ref, r.doc); err != nil {
		return nil, err
	}
	// First who may have written it at all: an author's keys may have to be looked up in a place of the author's choice,
	// who would learn who reads, and when.
	if authors != nil && !authors(r.opened) {
		return nil, coffer.Errorf(op, coffer.Corrupt, "written by somebody who may not write it")
	}
	if err := a.checkAuthor(ctx, r.opened); err != nil {
		return nil, err
	}
	return r, nil
}

// authors reports whether a revision can be by the author that signed it.
type authors = func(o *seal.Opened) bool

// mine reports whether the owner wrote it: in the owner's own vault nobody else writes pages, heads and boxes.
func (a *Agent) mine(o *seal.Opened) bool { return a.isOwner(o.Author) }

// isOwner reports whether an identifier is one of the vault's owner.
func (a *Agent) isOwner(did string) bool {
	if a.guest != nil {
		return slices.Contains(a.guest.owners(), did)
	}
	return did == a.Keyring.DID() || slices.Contains(a.formerDIDs(), did)
}

// formerDIDs returns the names that the owner had before keys were rotated.
func (a *Agent) formerDIDs() []string {
	if k, ok := a.Keyring.(interface{ FormerDIDs() []string }); ok {
		return k.FormerDIDs()
	}
	return nil
}

// checkAuthor checks that the author that a revision names signed it.
func (a *Agent) checkAuthor(ctx context.Context, o *seal.Opened) error {
	keys, err := a.signingKeys(ctx, o.Author)
	if err != nil {
		return err
	}
	for _, k := range keys {
		if k.ID == o.AuthorKey {
			return o.CheckAuthor(k)
		}
	}
	return coffer.Errorf("object", coffer.Corrupt, "signed with a key that is not its author's")
}

// signingKeys returns the Ed25519 keys with which an identity signs.
func (a *Agent) signingKeys(ctx context.Context, did string) ([]coffer.PublicKey, error) {
	if own := a.Keyring.Key(coffer.SigningKey); own.Controller == did {
		return []coffer.PublicKey{own}, nil
	}
	if text, ok := strings.CutPrefix(did, "did:key:"); ok {
		b, err := coffer.ParseMultibase(text)
		if err != nil || len(b) != 34 || b[0] != 0xed || b[1] != 1 {
			return nil, coffer.Errorf("object", coffer.Corrupt, "an author's key is of no known kind")
		}
		return []coffer.PublicKey{{
			ID: did + "#" + text, Controller: did, Type: "Ed25519VerificationKey2020", Public: b[2:],
		}}, nil
	}
	if a.Resolver == nil {
		return nil, coffer.Errorf("object", coffer.Unavailable, "an author's keys cannot be looked up here")
	}
	who, err := a.Resolver.Resolve(ctx, did)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(slices.Clone(who.Assert), func(k coffer.PublicKey) bool { return len(k.Public) != 32 }), nil
}

// objects remembers opened revisions of what is read over and over: pages, the head, boxes and registers. What the
// feed says was replaced is forgotten.
type objects struct {
	mu    sync.Mutex
	known map[coffer.ObjectID]*known
}

type known struct {
	*revision
	mu      sync.Mutex
	decoded any // what the content says, once somebody has read it
}

// maxKnown bounds how many objects are remembered: each has about 50 KiB.
const maxKnown = 1024

func (s *objects) get(ref seal.Ref) *known {
	s.mu.Lock()
	defer s.mu.Unlock()
	if k := s.known[ref.ID]; k != nil && k.ref.Key == ref.Key {
		return k
	}
	return nil
}

func (s *objects) remove(id coffer.ObjectID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known, id)
}

func (s *objects) put(k *known) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.known == nil {
		s.known = make(map[coffer.ObjectID]*known)
	}
	for id := range s.known { // any one: this is no more than a bound
		if len(s.known) < maxKnown {
			break
		}
		delete(s.known, id)
	}
	s.known[k.ref.ID] = k
}

// replaced forgets an object unless what is remembered is just this revision, which it reports.
func (s *objects) replaced(id coffer.ObjectID, by coffer.Rev) (same bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.known[id]
	if k != nil && k.rev == by {
		return true
	}
	delete(s.known, id)
	return false
}

// all returns the ids of what is remembered.
func (s *objects) all() map[coffer.ObjectID]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make(map[coffer.ObjectID]bool, len(s.known))
	for id := range s.known {
		ids[id] = true
	}
	return ids
}

func (s *objects) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.known)
}

// record returns the present revision of one of the agent's own records, from memory or the cache if the feed says
// that it is the present one.
func (a *Agent) record(ctx context.Context, ref seal.Ref, authors authors) (*known, error) {
	if k := a.objects.get(ref); k != nil {
		return k, nil
	}
	turn := a.feed.turn()
	if d := a.cached(ctx, ref.ID); d != nil {
		if r, err := a.open(ctx, ref, authors, d); err == nil {
			k := &known{revision: r}
			a.keepKnown(ctx, k, turn)
			return k, nil
		}
	}
	r, err := a.read(ctx, ref, authors)
	if err != nil {
		return nil, err
	}
	k := &known{revision: r}
	a.keepKnown(ctx, k, turn)
	return k, nil
}

// keepKnown remembers an object that was read, or written, in this turn of the follower, unless the feed said meanwhile
// that it is replaced.
func (a *Agent) keepKnown(ctx context.Context, k *known, turn uint64) {
	f := &a.feed
	f.mu.Lock()
	defer f.mu.Unlock()
	if latest, ok := f.latest[k.ref.ID]; f.forgot > turn || ok && latest.sequence > k.doc.Sequence {
		return
	}
	a.objects.put(k)
	if len(k.present) == 1 && f.started && !f.blind {
		a.keep(ctx, k.doc)
	}
}

// cacheName returns the name under which the cache keeps an object: one that tells nothing of it, as the cache may be
// in another person's hands.
func (a *Agent) cacheName(ctx context.Context, id coffer.ObjectID) (string, error) {
	mac, err := a.Keyring.MAC(ctx, append([]byte("coffer cache 2\x00"), id[:]...))
	return base64.RawURLEncoding.EncodeToString(mac), err
}

// cached returns a document that the cache keeps; nil when it keeps none.
func (a *Agent) cached(ctx context.Context, id coffer.ObjectID) *coffer.Document {
	if a.Cache == nil || !a.feed.follows() {
		return nil
	}
	name, err := a.cacheName(ctx, id)
	if err != nil {
		return nil
	}
	b, err := a.Cache.Load(ctx, name)
	if err != nil || len(b) < 2 {
		return nil
	}
	parents := int(b[0])
	if len(b) < 1+32*parents {
		return nil
	}
	d, err := edv.DecodeDocument(b[1+32*parents:])
	if err != nil || d.ID != id {
		return nil
	}
	for i := range parents {
		d.Parents = append(d.Parents, coffer.Rev(b[1+32*i:]))
	}
	// Others may have put back what the cache held before.
	if l, ok := a.feed.expects(id); ok && (l.sequence != d.Sequence || l.rev != d.Rev()) {
		return nil
	}
	return d
}

// keep puts a document into the cache, when the feed is followed. A cache that fails is no reason to stop.
func (a *Agent) keep(ctx context.Context, d *coffer.Document) {
	if a.Cache == nil || len(d.Parents) > 64 {
		return
	}
	name, err := a.cacheName(ctx, d.ID)
	if err != nil {
		return
	}
	b := make([]byte, 0, 1+32*len(d.Parents)+len(d.Body))
	b = append(b, byte(len(d.Parents)))
	for _, p := range d.Parents {
		b = append(b, p[:]...)
	}
	_ = a.Cache.Save(ctx, name, append(b, d.Body...))
}

// drop removes an object from the cache.
func (a *Agent) drop(ctx context.Context, id coffer.ObjectID) {
	if a.Cache == nil {
		return
	}
	if name, err := a.cacheName(ctx, id); err == nil {
		_ = a.Cache.Delete(ctx, name)
	}
}

// gone turns an object that should be there and is not into what it is: a vault that lost or withholds it.
func gone(err error) error {
	if errors.Is(err, coffer.NotExist) {
		return coffer.Errorf("object", coffer.Corrupt, "the vault does not have what belongs into it")
	}
	return err
}
