package vault

import (
	"context"
	"encoding/base64"
	"errors"
	"io"
	"iter"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/store"
)

// held is a vault as one sees it who may reach just the objects whose secrets he holds. doc/access.md is about it.
type held struct {
	v      *View
	secret func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool)
}

var _ coffer.Holder = (*View)(nil)

// Held implements [coffer.Holder].
//
// Every method asks for two things: by the ordinary law, the right to what is held in the vault; and a secret that the
// present revision admits. What is decided on is what is read, or replaced: a secret opens nothing of a revision that
// does not admit it, and a write happens only while the revision is present that admitted it.
func (v *View) Held(secret func(coffer.ObjectID, coffer.Access) (coffer.Secret, bool)) coffer.Vault {
	return &held{v, secret}
}

func (v *View) held() string { return v.url + "/held" }

// admission returns whether revisions of an object admit the caller.
func (h *held) admission(id coffer.ObjectID, a coffer.Access) admission {
	s, ok := h.secret(id, a)
	return func(d *coffer.Document) bool { return d.Admits(a, s) && ok }
}

// Get implements [coffer.Vault].
func (h *held) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	if _, err := h.v.decide(ctx, grant.Read, h.v.held()); err != nil {
		return nil, err
	}
	d, err := h.v.present(ctx, id, h.admission(id, coffer.ReadAccess))
	if err != nil {
		return nil, err
	}
	return []*coffer.Document{d}, nil
}

// Apply implements [coffer.Vault], for one write. Denied if the document has other tags than its writer may give it.
func (h *held) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	if len(writes) == 0 {
		return nil, nil
	}
	var changes []coffer.Change
	err := h.v.lawful(ctx, func(first bool) (err error) {
		changes, err = h.apply(ctx, writes, first)
		return err
	})
	return changes, err
}

func (h *held) apply(ctx context.Context, writes []coffer.Write, first bool) ([]coffer.Change, error) {
	r, err := h.v.decideOn(ctx, first, grant.Write, h.v.held())
	if err != nil {
		return nil, err
	}
	if len(writes) > 1 {
		return nil, denied("one write at a time")
	}
	w, err := h.v.write(writes[0])
	if err != nil {
		return nil, err
	}
	admits := h.admission(writes[0].ID(), coffer.WriteAccess)
	switch d := w.Document; {
	case d == nil:
		w.Law = &r.law
		results, err := h.v.whilePresent(ctx, *w.Erase, admits, func(*coffer.Document) (store.Write, error) { return w, nil })
		if err != nil {
			return nil, err
		}
		return h.v.told(ctx, results), nil
	case len(d.Parents) > 0:
		// The store takes the revision only while its parent, the one that admits here, is present.
		present, err := h.v.present(ctx, d.ID, admits)
		if err != nil {
			return nil, err
		}
		if len(d.Parents) != 1 || d.Parents[0] != present.Rev() {
			return nil, coffer.Errorf("apply", coffer.Conflict, "the present revision is not the parent")
		}
		if err := checkTags(d.Tags, present.Tags); err != nil {
			return nil, err
		}
	default:
		if err := checkTags(d.Tags, nil); err != nil {
			return nil, err
		}
	}
	return h.v.commit(ctx, r, []store.Write{w})
}

// checkTags checks that one who holds just an object's secret, or may only insert, gives it no tags that others search
// for, or may claim: but those that it has.
func checkTags(tags, present []coffer.Tag) error {
	has := make(map[coffer.Tag]bool, len(present))
	for _, t := range present {
		has[t] = true
	}
	for _, t := range tags {
		if !has[t] && !verifier(t) {
			return denied("a tag that is not the writer's to set")
		}
	}
	return nil
}

// verifiers returns the document's tags that have to do with secrets.
func verifiers(d *coffer.Document) (tags []coffer.Tag) {
	for _, t := range d.Tags {
		if t.Key == coffer.AccessKey {
			tags = append(tags, t)
		}
	}
	return tags
}

// verifier reports whether the tag is the verifier of a secret.
func verifier(t coffer.Tag) bool {
	switch coffer.Access(t.Name) {
	case coffer.ReadAccess, coffer.WriteAccess, coffer.OpenAccess:
	default:
		return false
	}
	if t.Key != coffer.AccessKey || t.Unique || len(t.Value) != 43 {
		return false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(t.Value)
	return err == nil && len(b) == 32 // line breaks are passed over
}

func denied(reason string) error { return refused(coffer.Errorf("held", coffer.Denied, reason)) }

// Chunk implements [coffer.Vault].
func (h *held) Chunk(ctx context.Context, id coffer.ObjectID, index uint64) (coffer.ChunkRef, io.ReadCloser, error) {
	if _, err := h.v.decide(ctx, grant.Read, h.v.held()); err != nil {
		return coffer.ChunkRef{}, nil, err
	}
	return h.v.read(ctx, id, index, h.admission(id, coffer.ReadAccess))
}

// PutChunk implements [coffer.Vault].
func (h *held) PutChunk(ctx context.Context, id coffer.ObjectID, ref coffer.ChunkRef, r io.Reader) error {
	return h.v.putChunk(ctx, id, ref, r, h.v.held(), h.admission(id, coffer.WriteAccess))
}

// DropChunk implements [coffer.Vault].
func (h *held) DropChunk(ctx context.Context, id coffer.ObjectID, index uint64) error {
	v := h.v
	return v.lawful(ctx, func(first bool) error {
		r, err := v.decideOn(ctx, first, grant.Write, v.held())
		if err != nil {
			return err
		}
		admits := h.admission(id, coffer.WriteAccess)
		results, err := v.whilePresent(ctx, id, admits, func(d *coffer.Document) (store.Write, error) {
			c, err := v.droppable(ctx, d, index)
			if errors.Is(err, coffer.NotExist) {
				err = absent()
			}
			return v.detach(r, &c), err
		})
		if err != nil {
			return err
		}
		v.s.release(ctx, v.id, results[0])
		return nil
	})
}

// Query implements [coffer.Vault]. It is Denied.
func (h *held) Query(ctx context.Context, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) { yield(nil, h.deny(ctx)) }
}

// Count implements [coffer.Vault]. It is Denied.
func (h *held) Count(ctx context.Context, q coffer.Query) (int, error) { return 0, h.deny(ctx) }

// Changes implements [coffer.Vault]. It is Denied.
func (h *held) Changes(ctx context.Context, after coffer.Cursor, follow bool) iter.Seq2[coffer.Change, error] {
	return func(yield func(coffer.Change, error) bool) { yield(coffer.Change{}, h.deny(ctx)) }
}

// deny is the answer to what who holds secrets may not do; to a stranger it says no more than anything else does.
func (h *held) deny(ctx context.Context) error {
	if _, err := h.v.decide(ctx, grant.Read, h.v.held()); err != nil {
		return err
	}
	return denied("not for what is held")
}
