package vault

import (
	"context"
	"iter"
	"slices"
	"strconv"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/grant"
	"github.com/cofferhq/coffer/ledger"
	"github.com/cofferhq/coffer/store"
)

// Get implements [coffer.Vault].
func (v *View) Get(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	return v.get(ctx, id, grant.Read, v.document(id))
}

// Present is Get for who may write the document, or its index, and perhaps not read it: to replace it one has to know
// what it replaces.
func (v *View) Present(ctx context.Context, id coffer.ObjectID) ([]*coffer.Document, error) {
	return v.get(ctx, id, grant.Write, v.document(id), v.document(id)+"/index")
}

func (v *View) get(ctx context.Context, id coffer.ObjectID, action grant.Action, targets ...string) ([]*coffer.Document, error) {
	if _, err := v.decide(ctx, action, targets...); err != nil {
		return nil, err
	}
	d, err := v.disk().Get(ctx, v.id, id)
	if err != nil {
		return nil, err
	}
	return []*coffer.Document{d}, nil
}

// Revision returns the revision of an object with the sequence, for who may read the object: the present one, or one
// that was replaced no longer ago than this node keeps them ([Limits.Keep]). NotExist if there is none. Of what was
// only reindexed there is but the last index. Chunks of replaced revisions are not kept.
func (v *View) Revision(ctx context.Context, id coffer.ObjectID, sequence uint64) (*coffer.Document, error) {
	if _, err := v.decide(ctx, grant.Read, v.document(id)+"/revisions/"+strconv.FormatUint(sequence, 10)); err != nil {
		return nil, err
	}
	return v.disk().Revision(ctx, v.id, id, sequence)
}

// Apply implements [coffer.Vault].
func (v *View) Apply(ctx context.Context, writes ...coffer.Write) ([]coffer.Change, error) {
	if len(writes) == 0 {
		return nil, nil
	}
	var changes []coffer.Change
	err := v.lawful(ctx, func(first bool) error {
		// One call counts once, however many writes it brings; and all of them are decided on under one law.
		r, err := v.decideOn(ctx, first, grant.Write, v.document(writes[0].ID()))
		if err != nil {
			return err
		}
		commit := make([]store.Write, len(writes))
		seen := make(map[coffer.ObjectID]bool, len(writes))
		for i, w := range writes {
			id := w.ID()
			if i > 0 {
				if err := v.judge(ctx, r, grant.Write, v.document(id)); err != nil {
					return err
				}
			}
			if seen[id] {
				return coffer.Errorf("apply", coffer.Invalid, "two writes to one object")
			}
			seen[id] = true
			if commit[i], err = v.write(w); err != nil {
				return err
			}
		}
		changes, err = v.commit(ctx, r, commit)
		return err
	})
	return changes, err
}

// Reindex replaces the present revision, its only parent, by one with the same sequence and stream that differs in
// its tags. Conflict if it is not present, or sequence or stream would change. Who may write the index alone may not
// change by which secrets the object is reached: Denied. That the body, which is opaque here, says the same but for the
// tags is the wire's to see to.
func (v *View) Reindex(ctx context.Context, d *coffer.Document) (coffer.Change, error) {
	var changes []coffer.Change
	err := v.lawful(ctx, func(first bool) (err error) {
		changes, err = v.reindex(ctx, d, first)
		return err
	})
	if err != nil {
		return coffer.Change{}, err
	}
	return changes[0], nil
}

func (v *View) reindex(ctx context.Context, d *coffer.Document, first bool) ([]coffer.Change, error) {
	r, err := v.decideOn(ctx, first, grant.Write, v.document(d.ID), v.document(d.ID)+"/index")
	if err != nil {
		return nil, err
	}
	w, err := v.write(coffer.Write{Document: d})
	if err != nil {
		return nil, err
	}
	present, err := v.disk().Get(ctx, v.id, d.ID)
	if err != nil {
		return nil, err
	}
	// Who may write the index alone must not get further by it. If present is not the parent, the store refuses.
	if d.Sequence != present.Sequence || (d.Stream == nil) != (present.Stream == nil) ||
		d.Stream != nil && *d.Stream != *present.Stream {
		return nil, coffer.Errorf("reindex", coffer.Conflict, "changes more than the tags")
	}
	if !slices.Equal(verifiers(d), verifiers(present)) { // nor let in whom the document does not
		if err := v.judge(ctx, r, grant.Write, v.document(d.ID)); err != nil {
			return nil, err
		}
	}
	w.Reindex, w.Keep = true, false
	return v.commit(ctx, r, []store.Write{w})
}

// write turns a write into one that the store takes, after checking its form.
func (v *View) write(w coffer.Write) (store.Write, error) {
	sw := store.Write{Vault: v.id, By: v.caller.Who(), Time: v.s.now(), Limit: v.s.quota()}
	if w.Document == nil {
		sw.Erase = &w.Erase
		return sw, nil
	}
	if err := w.Document.Check(); err != nil {
		return sw, err
	}
	if limit := v.s.limits.Document; limit > 0 && int64(len(w.Document.Body)) > limit {
		return sw, tooLarge("document")
	}
	sw.Document = w.Document
	sw.Keep = v.s.limits.Keep > 0 && len(w.Document.Parents) > 0
	return sw, nil
}

func (s *Service) quota() store.Usage {
	return store.Usage{Documents: s.limits.Documents, Bytes: s.limits.Bytes}
}

// commit carries out the writes under the law that they were decided on by, and tells of them.
func (v *View) commit(ctx context.Context, r *record, writes []store.Write) ([]coffer.Change, error) {
	writes[0].Law = &r.law // of one vault, one says it for all
	results, err := v.disk().Apply(ctx, writes...)
	if err != nil {
		return nil, err
	}
	return v.told(ctx, results), nil
}

// told tells followers of what was committed, removes the chunks that nothing names any more, and returns the changes.
func (v *View) told(ctx context.Context, results []store.Result) []coffer.Change {
	v.s.feed.Grew(v.id)
	changes := make([]coffer.Change, len(results))
	for i, r := range results {
		changes[i] = v.placed(r.Change)
		v.s.release(ctx, v.id, r)
	}
	return changes
}

// placed returns the change with its cursor.
func (v *View) placed(c coffer.Change) coffer.Change {
	c.Cursor = ledger.Cursor(v.id, c.Number)
	return c
}

// Query implements [coffer.Vault].
func (v *View) Query(ctx context.Context, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return func(yield func(*coffer.Document, error) bool) {
		if err := v.search(ctx, &q); err != nil {
			yield(nil, err)
			return
		}
		for d, err := range v.disk().Query(ctx, v.id, q) {
			if !yield(d, err) || err != nil {
				return
			}
		}
	}
}

// Count implements [coffer.Vault].
func (v *View) Count(ctx context.Context, q coffer.Query) (int, error) {
	q.IDsOnly = true
	if err := v.search(ctx, &q); err != nil {
		return 0, err
	}
	return v.disk().Count(ctx, v.id, q)
}

// search checks a query and decides on it. Listing all is reading the collection; a search may also be granted by
// itself, and narrower still as one that returns ids and no documents.
func (v *View) search(ctx context.Context, q *coffer.Query) error {
	if err := q.Check(); err != nil {
		return err
	}
	targets := []string{v.documents()}
	if len(q.Equals) > 0 || len(q.Has) > 0 {
		targets = []string{v.url + "/query", v.documents() + "/query"}
	}
	if q.IDsOnly {
		for _, t := range targets {
			targets = append(targets, t+"?returnDocuments=false")
		}
	}
	_, err := v.decide(ctx, grant.Read, targets...)
	return err
}

// Changes implements [coffer.Vault]. While it follows, the authority is decided on anew before every wait and every
// batch, and after every revocation, which ends it at once. An erased vault's controller may still read the change that says so.
func (v *View) Changes(ctx context.Context, after coffer.Cursor, follow bool) iter.Seq2[coffer.Change, error] {
	return func(yield func(coffer.Change, error) bool) {
		number, err := ledger.Place(v.id, after)
		if err != nil {
			yield(coffer.Change{}, err)
			return
		}
		// Whatever fails once the context of who follows has ended: it is why.
		ended := func() bool { return follow && ctx.Err() != nil }
		for decide := v.admit; ; decide = v.allow { // to follow is one call
			grown, stop := v.s.feed.Wait(v.id)
			r, err := decide(ctx, grant.Read, v.url+"/changes", v.url+"/history")
			if err != nil {
				stop()
				if !ended() {
					yield(coffer.Change{}, err)
				}
				return
			}
			for c, err := range v.disk().Changes(ctx, v.id, number) {
				if err != nil && ended() || !yield(v.placed(c), err) || err != nil {
					stop()
					return
				}
				number = c.Number
			}
			if !follow || r.Erased {
				stop()
				return
			}
			select {
			case <-grown:
			case <-ctx.Done():
			}
			stop()
			if ended() {
				return
			}
		}
	}
}
