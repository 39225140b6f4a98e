package agent

import (
	"context"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/internal/jose"
)

// A certificate is the owner's word that somebody may write an object, or all that is in a folder. Whoever writes by it
// seals it with what he writes, so that every reader knows.
type certificate struct {
	Grant     string          `json:"grant"`
	Scope     coffer.ObjectID `json:"scope"`
	Writer    string          `json:"writer"`
	Until     time.Time       `json:"until"`
	By        string          `json:"by"`
	Statement base64url       `json:"statement,omitempty"`
}

func (c *certificate) statement() ([]byte, error) {
	s := *c
	s.Statement = nil
	return signable("certificate", s)
}

// meta is what the agent seals as the "meta" of an object that it writes in somebody else's vault.
type meta struct {
	Certificate *certificate `json:"certificate,omitempty"`
	// Proof is made with the object's write key: that the writer had it, the owner can tell by that.
	Proof base64url `json:"proof,omitempty"`
}

// proof proves that the writer of a revision held the object's write key: HMAC-SHA256, under a key that follows from
// it, of where the revision stands and what it says.
func proof(ref seal.Ref, sequence uint64, content []byte) base64url {
	key, err := hkdf.Key(sha256.New, ref.Write[:], nil, "coffer write proof 1", 32)
	if err != nil {
		panic("agent: HKDF refuses a fixed length")
	}
	h := hmac.New(sha256.New, key)
	h.Write(ref.ID[:])
	h.Write(binary.BigEndian.AppendUint64(nil, sequence))
	sum := sha256.Sum256(content)
	h.Write(sum[:])
	return h.Sum(nil)
}

// signedMeta returns the meta of what is written in the place of a revision: nothing in the owner's own vault.
func (a *Agent) signedMeta(ref seal.Ref, sequence uint64, content []byte) ([]byte, error) {
	if a.guest == nil {
		return nil, nil
	}
	if a.guest.Certificate == nil {
		return nil, coffer.Errorf("put", coffer.Denied, "shared for reading")
	}
	return jose.Encode(meta{Certificate: a.guest.Certificate, Proof: proof(ref, sequence, content)})
}

// sealAs is [Agent.seal], with what shows that the writer may write.
func (t *txn) sealAs(ctx context.Context, ref seal.Ref, there *revision, p seal.Plain,
	o seal.ObjectOptions) (*coffer.Document, error) {
	var err error
	if t.sealed[ref.ID] != nil {
		there = t.before[ref.ID]
	}
	t.before[ref.ID] = there
	sequence, _ := there.next()
	if p.Meta, err = t.a.signedMeta(ref, sequence, p.Content); err != nil {
		return nil, err
	}
	return t.a.seal(ctx, ref, there, p, o)
}

// writers reports whether the author of a revision of an object may write it: the owner, or who has a certificate. The
// owner believes a certificate if the grant lasts, or lasted when the revision was made, and the proof is good. Other
// readers believe one for something that holds the object, as far as they know: without a chain, for a page, that is
// every page that was read before.
func (v *view) writers(ctx context.Context, ref seal.Ref, chain []coffer.ObjectID) authors {
	a := v.a
	return func(o *seal.Opened) bool {
		if a.isOwner(o.Author) {
			return true
		}
		var m meta
		if jose.DecodeOpen(o.Meta, &m) != nil || m.Certificate == nil {
			return false
		}
		c := m.Certificate
		if c.Writer != o.Author || !a.isOwner(c.By) || a.signedBy(ctx, c.By, c, c.Statement) != nil ||
			!o.Time.Before(c.Until) {
			return false
		}
		if a.guest != nil {
			return c.Scope == ref.ID || slices.Contains(chain, c.Scope) || chain == nil && v.loaded(c.Scope) ||
				slices.Contains(a.guest.Above, c.Scope) || c.Scope == a.guest.root().ID
		}
		list, err := v.grants(ctx)
		if err != nil {
			return false
		}
		g := list.byID[c.Grant]
		return g != nil && g.writes() && g.With == o.Author && g.Scope == c.Scope && a.inTime(g, ref.ID, o) &&
			hmac.Equal(m.Proof, proof(ref, o.Sequence, o.Content))
	}
}

// inTime reports whether a revision was made while a grant lasted: by its number in the vault's feed if that is known,
// else by the time that its author gives it.
func (a *Agent) inTime(g *grantRecord, id coffer.ObjectID, o *seal.Opened) bool {
	if g.Ending == nil {
		return true
	}
	f := &a.feed
	f.mu.Lock()
	l, read := f.latest[id], f.history.number
	f.mu.Unlock()
	switch {
	case l.number > 0 && l.sequence == o.Sequence:
		return l.number <= g.Ending.To
	case l.number > 0 && l.sequence < o.Sequence && read >= g.Ending.To:
		return false // the feed does not know of it
	}
	return o.Time.Before(g.Ending.At)
}

// loaded reports whether a page was read before: pages that hold another are.
func (v *view) loaded(id coffer.ObjectID) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.pages[id] != nil
}

// origin returns who wrote the content of a revision that the owner is to seal anew.
func (r *revision) origin() *seal.Origin {
	if r.opened.Origin != nil {
		return r.opened.Origin
	}
	return &seal.Origin{Author: r.opened.Author, Time: r.opened.Time, Sequence: r.doc.Sequence}
}
