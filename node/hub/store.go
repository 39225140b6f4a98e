package hub

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/merge"
)

// A draft is an object as it is, and as it becomes by commits that came.
type draft struct {
	was, is  *row // was is nil when it is not there
	fresh    []*merge.Commit
	whole    []filling // commits that were there without their payloads
	stranger bool      // its creator rests on nothing
}

// storeAttempts is how often a write is tried. Of those who write at once, one wins each time.
const storeAttempts = 64

// store stores commits, or none of them, and returns their objects in the order in which they first occur; of an object
// that has all already, nothing is fresh. judge decides on each, with the object as it is, and on what it rests; it is
// called anew when the object has changed meanwhile, then without first. Nil: the commits were accepted elsewhere.
func (s *Service) store(
	ctx context.Context, h *hub, commits []*merge.Commit,
	judge func(r *row, c *merge.Commit, first bool) (*standing, error),
) ([]*draft, error) {
	var held *sync.Mutex
	defer func() {
		if held != nil {
			held.Unlock()
		}
	}()
	for i := range storeAttempts {
		drafts, fresh, err := s.draft(ctx, h, commits, judge, i == 0)
		changed := func(d *draft) bool { return len(d.fresh)+len(d.whole) > 0 }
		if err != nil || !slices.ContainsFunc(drafts, changed) {
			return drafts, err
		}
		if i > 0 {
			if err := h.single(ctx, drafts, judge == nil); err != nil {
				return nil, err
			}
		}
		err = s.apply(ctx, h, drafts, fresh)
		if !errors.Is(err, coffer.Conflict) {
			if err != nil {
				return nil, err
			}
			h.written(ctx)
			return drafts, nil
		}
		if held == nil && len(drafts) == 1 {
			held = &s.busy[commits[0].Object[0]^h.ids[0]]
			held.Lock()
		}
	}
	return nil, coffer.Errorf("hub", coffer.Unavailable, "the object is changing all the time")
}

// draft returns what becomes of the objects of commits, and the drafts of the commits that are new here, in their
// order.
func (s *Service) draft(
	ctx context.Context, h *hub, commits []*merge.Commit,
	judge func(r *row, c *merge.Commit, first bool) (*standing, error), first bool,
) (drafts []*draft, fresh []arriving, err error) {
	by := make(map[coffer.CommitRev]*draft, len(commits))
	seen := make(map[coffer.CommitRev]bool, len(commits))
	for _, c := range commits {
		d := by[c.Object]
		if d == nil {
			d = new(draft)
			if d.was, err = h.row(ctx, c.Object); err != nil {
				return nil, nil, err
			}
			by[c.Object] = d
			drafts = append(drafts, d)
		}
		if judge != nil {
			rests, err := judge(d.was, c, first)
			if err != nil {
				return nil, nil, err
			}
			d.stranger = d.stranger || rests.stranger()
		}
		if seen[c.Rev] {
			continue
		}
		seen[c.Rev] = true
		if d.was != nil && d.was.has(c.Rev) {
			if d.was.Lacking > 0 && c.Raw.Withheld == nil {
				k, err := h.commit(ctx, c.Rev)
				if err != nil {
					return nil, nil, err
				}
				if k != nil && k.commit.Withheld != nil {
					// What was said of it could not be verified then. What is here follows from it.
					if k.commit.Protected != c.Raw.Protected {
						return nil, nil, invalid("commit", "it is here without its payload, and with another header")
					}
					d.whole = append(d.whole, filling{c, k})
				}
			}
			continue
		}
		if !first {
			k, err := h.commit(ctx, c.Rev)
			if err != nil {
				return nil, nil, err
			}
			if k != nil && k.commit.Withheld != nil && (d.was == nil || k.row != d.was.id) {
				return nil, nil, invalid("commit", "it is here without its payload, as one of another object")
			}
		}
		d.fresh = append(d.fresh, c)
		fresh = append(fresh, arriving{c, d})
	}
	for _, d := range drafts {
		if err := s.become(d); err != nil {
			return nil, nil, err
		}
		if judge == nil && d.is.Object.Interface == coffer.ActionsInterface {
			d.stranger = d.is.Object.CreatedBy != h.owner
		}
		if d.was == nil {
			d.is.Stranger = d.stranger
		}
	}
	return drafts, fresh, nil
}

// become sets what the object becomes.
func (s *Service) become(d *draft) error {
	if d.was != nil {
		is := *d.was
		d.is = &is
	}
	for _, c := range d.fresh {
		if d.was == nil && c.Header.Operation == merge.Create {
			d.is = newRow(c)
		}
	}
	if d.is == nil {
		return notExist("commit.protected.object_id")
	}
	for i, c := range d.fresh {
		if c.Rev == d.is.Object.ID {
			continue
		}
		if err := c.Follows(d.is.created()); err != nil {
			return err
		}
		// The object can always be deleted.
		if len(d.is.arrivals)+i >= s.o.Limits.Commits && (c.Header.Operation != merge.Delete || d.is.Object.Deleted) {
			return exhausted("commit", "the object has too many commits")
		}
		d.is.add(c)
	}
	for _, f := range d.whole {
		d.is.fill(f.commit)
	}
	if d.was != nil {
		return s.irrevocable(d.was, d.is)
	}
	return nil
}

// A filling is a commit that comes with its payload, and what was kept of it without.
type filling struct {
	commit *merge.Commit
	kept   *kept
}

// An arriving is a commit that is new, and what its object becomes.
type arriving struct {
	commit *merge.Commit
	draft  *draft
}

// single sees to it that of what there may be one of, there is: it fails when there is another one, unless it was
// accepted elsewhere.
func (h *hub) single(ctx context.Context, drafts []*draft, elsewhere bool) error {
	seen := make(map[string]bool)
	for _, d := range drafts {
		tag := h.unique(d.is)
		if tag == "" || d.is.Second || d.was != nil && h.unique(d.was) != "" {
			continue
		}
		taken, err := h.any(ctx, tag)
		taken = taken || seen[tag]
		switch {
		case err != nil:
			return err
		case taken && !elsewhere:
			return invalid("commit.protected.type", "there is an object with this interface, context and type")
		}
		d.is.Second, seen[tag] = taken, true
	}
	return nil
}

// apply commits the drafts.
func (s *Service) apply(ctx context.Context, h *hub, drafts []*draft, fresh []arriving) error {
	kinds, err := h.newKinds(ctx, drafts)
	if err != nil {
		return err
	}
	lock := &s.arriving[h.ids[0]]
	lock.RLock()
	defer lock.RUnlock()
	stamps := make([]int64, len(fresh))
	for i, f := range fresh {
		stamps[i] = s.stamp()
		f.draft.is.arrivals = append(f.draft.is.arrivals, arrival{stamps[i], f.commit.Rev})
		if f.commit.Header.Operation == merge.Create {
			f.draft.is.id = h.objectID(stamps[i], f.commit.Rev)
		}
	}
	writes := make([]coffer.Write, 0, len(fresh)+len(drafts)+len(kinds))
	for i, f := range fresh {
		writes = append(writes, coffer.Write{Document: h.keepCommit(f.commit, f.draft.is.id, stamps[i])})
	}
	for _, d := range drafts {
		if len(d.fresh)+len(d.whole) > 0 {
			writes = append(writes, coffer.Write{Document: h.document(d.is)})
		}
		for _, f := range d.whole {
			again := h.keepCommit(f.commit, f.kept.row, f.kept.stamp)
			again.Sequence, again.Parents = f.kept.present.Sequence+1, []coffer.Rev{f.kept.present.Rev()}
			writes = append(writes, coffer.Write{Document: again})
		}
	}
	for _, k := range kinds {
		writes = append(writes, coffer.Write{Document: k})
	}
	changes, err := h.vault.Apply(ctx, writes...)
	if err != nil {
		return err
	}
	for _, k := range kinds {
		h.know(k.ID)
	}
	h.saw(changes[len(changes)-1])
	return nil
}

// stamp returns the time in microseconds, later than all it returned before.
func (s *Service) stamp() int64 {
	for {
		last := s.clock.Load()
		next := max(s.o.Now().UnixMicro(), last+1)
		if s.clock.CompareAndSwap(last, next) {
			return next
		}
	}
}

// settled returns a time such that all that came to the hub until then, at this node, is committed or will never be.
func (s *Service) settled(h *hub) int64 {
	lock := &s.arriving[h.ids[0]]
	lock.Lock()
	defer lock.Unlock()
	return s.clock.Load()
}

// A kind is what is kept of one.
type kind struct {
	Interface string `json:"interface"`
	Context   string `json:"context"`
	Type      string `json:"type"`
}

// newKinds returns the documents of the kinds that new objects are the first of. What strangers leave makes none.
func (h *hub) newKinds(ctx context.Context, drafts []*draft) (kinds []*coffer.Document, err error) {
	seen := make(map[coffer.ObjectID]bool)
	for _, d := range drafts {
		o := &d.is.Object
		if d.was != nil || d.stranger {
			continue
		}
		id := h.kindID(o.Interface, o.Context, o.Type)
		if seen[id] || h.knows(id) {
			continue
		}
		seen[id] = true
		there, err := h.get(ctx, id)
		if err != nil {
			return nil, err
		}
		if there != nil {
			h.know(id)
			continue
		}
		b, err := json.Marshal(kind{o.Interface, o.Context, o.Type})
		if err != nil {
			return nil, corrupt()
		}
		kinds = append(kinds, &coffer.Document{ID: id, Body: h.body(id, b), Tags: []coffer.Tag{
			{Key: tagKey, Name: tagName, Value: h.tag(byListedKind)},
		}})
	}
	return kinds, nil
}

func (h *hub) knows(id coffer.ObjectID) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.kinds[id]
}

func (h *hub) know(id coffer.ObjectID) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.kinds) >= maxKnownKinds {
		clear(h.kinds)
	}
	h.kinds[id] = true
}
