package agent

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/internal/jose"
)

// A revision is a document as it was found in the vault, opened.
type revision struct {
	doc     *coffer.Document
	present []coffer.Rev // all present revisions of the object: what the next one replaces
	opened  *seal.Opened
	content *content // nil when another program wrote something else
	meta    meta
	own     bool // the MAC proves that this owner's agent wrote it, here
}

// meta is what the agent seals as the "meta" of a document.
type meta struct {
	// Readers are all who can open the revision, if there are others than the owner. The recipients that stand in the
	// envelope are not what goes: the provider could have added one there, for the next revision to be sealed to.
	Readers []reader `json:"readers,omitempty"`
	// Rekey says that somebody who is no reader any more knows the key of the stream.
	Rekey bool `json:"rekey,omitzero"`
	// MAC is the owner's, over all of the above and where the document stands.
	MAC base64url `json:"mac,omitempty"`
}

// A reader is somebody's key that a document is sealed to.
type reader struct {
	ID    string    `json:"id"`
	Key   base64url `json:"key"`
	Until time.Time `json:"until,omitzero"` // no revision made later is sealed to it
}

func (r reader) publicKey() coffer.PublicKey {
	return coffer.PublicKey{ID: r.ID, Type: "X25519KeyAgreementKey2020", Public: r.Key}
}

// mac returns the MAC by which the owner knows what the agent wrote. Anybody can seal something to the owner's public
// key, the provider first of all; without the MAC it could put files into folders.
//
// The message has 128 bytes, so it is none that is blinded for an index, which have 32.
func (a *Agent) mac(ctx context.Context, id coffer.ObjectID, sequence uint64, p seal.Plain, m meta) ([]byte, error) {
	m.MAC = nil
	noted, err := jose.Encode(m)
	if err != nil {
		return nil, coffer.E("object", coffer.Invalid, err)
	}
	written, err := jose.Canonical(p.Content) // so that spaces and escapes do not count
	if err != nil {
		written = p.Content
	}
	content, notes := sha256.Sum256(written), sha256.Sum256(noted)
	b := append(make([]byte, 0, 128), "coffer object 1\x00"...)
	b = append(b, id[:]...)
	b = binary.BigEndian.AppendUint64(b, sequence)
	var s seal.Stream
	if p.Stream != nil {
		s = *p.Stream
	}
	b = binary.BigEndian.AppendUint64(b, s.Sequence)
	b = binary.BigEndian.AppendUint64(b, s.Size)
	b = binary.BigEndian.AppendUint64(b, uint64(s.ChunkSize))
	b = append(b, content[:]...)
	b = append(b, notes[:]...)
	return a.Keyring.MAC(ctx, b)
}

// open opens the present revision of an object: of several, the one that all replicas choose.
func (a *Agent) open(ctx context.Context, docs ...*coffer.Document) (*revision, error) {
	const op = "object"
	if len(docs) == 0 {
		return nil, coffer.Errorf(op, coffer.Corrupt, "the vault answered with no revision")
	}
	r := &revision{}
	var chosen coffer.Rev
	for _, d := range docs {
		if d.ID != docs[0].ID {
			return nil, coffer.Errorf(op, coffer.Corrupt, "the vault answered with another document")
		}
		rev := d.Rev()
		r.present = append(r.present, rev)
		if r.doc == nil || d.Sequence > r.doc.Sequence ||
			d.Sequence == r.doc.Sequence && bytes.Compare(rev[:], chosen[:]) > 0 {
			r.doc, chosen = d, rev
		}
	}
	var err error
	if r.opened, err = seal.Open(ctx, a.Keyring, r.doc); err != nil {
		return nil, err
	}
	if r.meta, r.own, err = a.authenticate(ctx, r.opened); err != nil {
		return nil, err
	}
	r.content, err = decodeContent(r.opened.Content)
	if err != nil && r.own {
		return nil, err
	}
	return r, nil
}

// authenticate returns the meta of what was opened, and whether the owner's agent wrote it all.
func (a *Agent) authenticate(ctx context.Context, o *seal.Opened) (m meta, own bool, err error) {
	if jose.DecodeOpen(o.Meta, &m) != nil {
		return meta{}, false, nil // another program's
	}
	want, err := a.mac(ctx, o.ID, o.Sequence, o.Plain, m)
	return m, err == nil && o.Bound && subtle.ConstantTimeCompare(want, m.MAC) == 1, err
}

// current opens the present revision of the object with the id.
func (a *Agent) current(ctx context.Context, id coffer.ObjectID) (*revision, error) {
	docs, err := a.Vault.Get(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(docs) > 0 && docs[0].ID != id {
		return nil, coffer.Errorf("object", coffer.Corrupt, "the vault answered with another document")
	}
	return a.open(ctx, docs...)
}

// believed reports whether what the revision says of itself can be believed: the owner wrote it, or somebody who may
// write it by a grant that the owner gave.
func (a *Agent) believed(ctx context.Context, r *revision) (bool, error) {
	if r.content != nil && (r.own || a.Others) {
		return true, nil
	}
	return a.writtenUnder(ctx, r, (*Grant).covers)
}

// writtenUnder reports whether the revision can be what a reader with a grant to write made of the owner's object, a
// grant for which good holds. Such a reader must have left the object where it was, of which the owner's blinded tag
// for the path is a sign, and cannot make folders and grants of it: those are for the owner to make.
func (a *Agent) writtenUnder(ctx context.Context, r *revision, good func(*Grant, coffer.ObjectID) bool) (bool, error) {
	c := r.content
	if c == nil || a.guest || !r.opened.Bound ||
		within(c.Path, reserved) || c.Type == TypeFolder || c.Type == typeGrant {
		return false, nil
	}
	q, err := a.query(ctx, [][]pair{{{"content.path", c.Path}}})
	if err != nil {
		return false, err
	}
	placed := slices.ContainsFunc(r.doc.Tags, func(t coffer.Tag) bool {
		value, ok := q.Equals[0][t.Name]
		return ok && t.Key == q.Index && t.Value == value && t.Unique
	})
	if !placed {
		return false, nil
	}
	grants, err := a.grantsOf(ctx, r.doc.ID)
	return slices.ContainsFunc(grants, func(g *Grant) bool {
		return slices.Contains(g.Actions, grant.Write) && good(g, r.doc.ID)
	}), err
}

// pending reports whether the object is still being stored for the first time.
func (r *revision) pending() bool { return r.opened.Stream != nil && r.opened.Stream.Pending }

// info describes the revision.
func (r *revision) info() Info {
	i := Info{ID: r.doc.ID, Sequence: r.doc.Sequence, Own: r.own, Size: -1}
	if c := r.content; c != nil {
		i.Path, i.Type, i.MIME, i.Size = c.Path, c.Type, c.MIME, c.Size
		i.Modified, i.Mode = c.Modified, c.mode()
	}
	if !r.own || len(r.meta.Readers) == 0 {
		i.Readers = slices.Clone(r.opened.KeyIDs)
		return i
	}
	for _, reader := range r.meta.Readers {
		i.Readers = append(i.Readers, reader.ID)
	}
	return i
}

// search yields the believed objects that the index finds by any of the filters and that really are as wanted. What
// other programs keep in the same vault is passed over.
func (a *Agent) search(ctx context.Context, filters [][]pair, wanted func(*content) bool) iter.Seq2[*revision, error] {
	return func(yield func(*revision, error) bool) {
		q, err := a.query(ctx, filters)
		if err != nil {
			yield(nil, err)
			return
		}
		var last coffer.ObjectID
		for d, err := range a.Vault.Query(ctx, q) {
			if err != nil {
				yield(nil, err)
				return
			}
			if bytes.Compare(d.ID[:], last[:]) <= 0 { // or the vault could go on for ever
				yield(nil, coffer.Errorf("search", coffer.Corrupt, "the vault answered out of order, or twice"))
				return
			}
			last = d.ID
			r, err := a.open(ctx, d)
			if errors.Is(err, coffer.Denied) {
				continue // not sealed for this owner
			}
			ok := false
			if err == nil && r.content != nil && wanted(r.content) {
				ok, err = a.believed(ctx, r)
			}
			if (ok || err != nil) && !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// query blinds the filters, each of which names an attribute once.
func (a *Agent) query(ctx context.Context, filters [][]pair) (coffer.Query, error) {
	var indexes []seal.Index
	seen := make(map[string]bool)
	plain := make([]map[string]any, len(filters))
	for i, f := range filters {
		plain[i] = make(map[string]any, len(f))
		for _, p := range f {
			if !seen[p.path] {
				seen[p.path] = true
				indexes = append(indexes, seal.Index{Attributes: []string{p.path}})
			}
			plain[i][p.path] = p.value
		}
	}
	blinder, err := seal.NewBlinder(a.Keyring, indexes...)
	if err != nil {
		return coffer.Query{}, err
	}
	return blinder.Equals(ctx, plain...)
}

// find returns what is at clean paths: a revision for each path where there is something. What is there but cannot be
// believed is Corrupt.
func (a *Agent) find(ctx context.Context, paths ...string) (map[string]*revision, error) {
	const op = "find"
	filters := make([][]pair, len(paths))
	for i, p := range paths {
		filters[i] = []pair{{"content.path", p}}
	}
	q, err := a.query(ctx, filters)
	if err != nil {
		return nil, err
	}
	q.Limit = len(paths) + 1
	found := make(map[string]*revision, len(paths))
	for d, err := range a.Vault.Query(ctx, q) {
		if err != nil {
			return nil, err
		}
		r, err := a.open(ctx, d)
		if err != nil {
			return nil, err
		}
		if ok, err := a.believed(ctx, r); err != nil {
			return nil, err
		} else if !ok {
			return nil, coffer.Errorf(op, coffer.Corrupt, "what is there was not written by this owner")
		}
		path := r.content.Path
		if found[path] != nil || !slices.Contains(paths, path) {
			return nil, coffer.Errorf(op, coffer.Corrupt, "the vault answered with another object")
		}
		found[path] = r
	}
	return found, nil
}

// lookup returns what is at a clean path and complete.
func (a *Agent) lookup(ctx context.Context, path string) (*revision, error) {
	found, err := a.find(ctx, path)
	if err != nil {
		return nil, err
	}
	r := found[path]
	if r == nil || r.pending() {
		return nil, notThere()
	}
	return r, nil
}

// A draft is a revision to be.
type draft struct {
	id       coffer.ObjectID
	replaces *revision // nil for a new object
	content  []byte
	readers  []reader // none is the owner alone
	stream   *seal.Stream
	rekey    bool
}

// sequence returns the sequence that the draft will have.
func (d *draft) sequence() uint64 {
	if d.replaces == nil {
		return 0
	}
	return d.replaces.doc.Sequence + 1
}

// seal makes a document of the draft.
func (a *Agent) seal(ctx context.Context, d draft) (*coffer.Document, error) {
	m := meta{Readers: d.readers, Rekey: d.rekey}
	p := seal.Plain{Content: d.content, Stream: d.stream}
	var err error
	if m.MAC, err = a.mac(ctx, d.id, d.sequence(), p, m); err != nil {
		return nil, err
	}
	if p.Meta, err = jose.Encode(m); err != nil {
		return nil, coffer.E("object", coffer.Invalid, err)
	}
	o := seal.Options{ID: d.id, Sequence: d.sequence()}
	if d.replaces != nil {
		o.Parents, o.Keep = d.replaces.present, d.replaces.opened.Entries
	}
	for _, r := range d.readers {
		o.Recipients = append(o.Recipients, r.publicKey())
	}
	if c, err := decodeContent(d.content); err == nil && !a.guest {
		indexes := []seal.Index{{Attributes: []string{"content.path"}, Unique: true}}
		for _, path := range c.indexed() {
			indexes = append(indexes, seal.Index{Attributes: []string{path}})
		}
		if o.Blind, err = seal.NewBlinder(a.Keyring, indexes...); err != nil {
			return nil, err
		}
	}
	return seal.Seal(ctx, a.Keyring, p, o)
}

// readers returns who shall be able to read the next revision of an object: those who can read the present one and
// whose time is not over. A list that somebody else wrote down is not taken; then the grants say who.
func (a *Agent) readers(ctx context.Context, r *revision) ([]reader, error) {
	if r == nil {
		return nil, nil
	}
	if !r.own && !a.guest {
		return a.granted(ctx, r.doc.ID)
	}
	if a.guest && len(r.meta.Readers) == 0 {
		return nil, coffer.Errorf("object", coffer.Denied, "it does not say whom to seal it to")
	}
	now := a.Now()
	return slices.DeleteFunc(slices.Clone(r.meta.Readers), func(r reader) bool {
		return !r.Until.IsZero() && !now.Before(r.Until)
	}), nil
}
