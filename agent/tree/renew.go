package tree

import (
	"context"
	"errors"
	"slices"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// Detach makes the folder at the path a page of its own, if it is not yet, and returns its Ref: with it the folder can
// be handed on. It stays a page of its own. NotExist if there is nothing, Conflict for a file.
func (t *Tree) Detach(ctx context.Context, path string) (ref seal.Ref, err error) {
	err = t.edit(func() error {
		s, err := t.detach(ctx, path)
		if err == nil {
			ref = s.ref
		}
		return err
	})
	if err != nil {
		return seal.Ref{}, err
	}
	return ref, nil
}

// detach returns the page of a folder, after it was made if need be.
func (t *Tree) detach(ctx context.Context, path string) (*sheet, error) {
	p, r, err := t.look(ctx, path, true, nil)
	switch {
	case err != nil:
		return nil, err
	case r == nil:
		return p.s, nil
	case r.kind == file:
		return nil, coffer.Errorf("tree", coffer.Conflict, "a file is at the path")
	case r.kind == paged:
		in, err := t.enter(ctx, p, r, true)
		return in.s, err
	}
	s, err := t.moveOut(p.s, append(slices.Clip(p.names), r.name))
	if err != nil {
		return nil, err
	}
	return s, t.fit(p.s)
}

// renewAtOnce is how many sub-pages of a folder [Tree.Renew] gives new keys itself. The rest is due like all below.
const renewAtOnce = 64

// Renew gives the folder at the path new keys, after it was made a page of its own if need be, and makes due all keys
// below it that are of a smaller epoch. "" is the root; [Tree.Root] then returns its new Ref. Sub-pages of the folder
// get new keys, too, but of a very large folder only some at once. NotExist if there is nothing; Conflict for a file,
// whose keys the caller renews himself and brings by Put; Invalid for epoch 0 and beyond [MaxEpoch].
func (t *Tree) Renew(ctx context.Context, path string, epoch uint64) error {
	if epoch == 0 || epoch > MaxEpoch {
		return coffer.Errorf("tree", coffer.Invalid, "epoch out of range")
	}
	return t.edit(func() error {
		s, err := t.detach(ctx, path)
		if err != nil {
			return err
		}
		if err := t.renew(s, epoch); err != nil {
			return err
		}
		left := t.atOnce
		return t.renewSubs(ctx, s, epoch, &left)
	})
}

// renewSubs gives the sub-pages of a divided folder new keys, as many as are left to be renewed.
func (t *Tree) renewSubs(ctx context.Context, s *sheet, epoch uint64, left *int) error {
	for _, l := range slices.Clone(s.body.top.subs) {
		if *left == 0 {
			return nil
		}
		child, err := t.open(ctx, s, l, s.body.top.id)
		if err != nil {
			return err
		}
		*left--
		if err := t.renew(child, epoch); err != nil {
			return err
		}
		if err := t.renewSubs(ctx, child, epoch, left); err != nil {
			return err
		}
	}
	return nil
}

// renew gives one page new keys, and notes that what is in it is due.
func (t *Tree) renew(s *sheet, epoch uint64) error {
	if err := t.own(s); err != nil {
		return err
	}
	ref := s.ref.Renewed()
	if err := s.body.top.rewrap(s.ref.Write, ref.Write); err != nil {
		return err
	}
	s.ref, s.body.due = ref, max(s.body.due, epoch)
	if s.parent == nil {
		t.root = ref
		return nil
	}
	return t.relink(s, func(l *link) {
		l.key, l.write, l.epoch = ref.Key, wrap(s.parent.ref.Write, ref.ID, ref.Write), max(l.epoch, epoch)
		l.waits = true
	})
}

// settled reports whether all keys that stand in the folder, and in the folders inline below it, are of this epoch at
// least. What is in pages of such an epoch is noted there.
func (f *folder) settled(epoch uint64) bool {
	for _, l := range f.subs {
		if l.epoch < epoch {
			return false
		}
	}
	for _, r := range f.rows {
		if r.kind != inline && r.epoch < epoch || !r.in.settled(epoch) {
			return false
		}
	}
	return true
}

// settle takes away what a page notes as due and is not any more.
func (t *Tree) settle(s *sheet) error {
	if b := s.body; b.due > 0 && b.top.settled(b.due) {
		if err := t.own(s); err != nil {
			return err
		}
		s.body.due = 0
	}
	if !s.body.top.overdue() {
		return nil
	}
	if err := t.own(s); err != nil {
		return err
	}
	s.body.top.settle()
	return nil
}

// overdue reports whether a row notes something as due that is not any more.
func (f *folder) overdue() bool {
	return slices.ContainsFunc(f.rows, func(r *row) bool { return r.overdue() || r.in.overdue() })
}

func (r *row) overdue() bool {
	return r.due > 0 && (r.kind == file && r.epoch >= r.due || r.kind == inline && r.in.settled(r.due))
}

// settle takes away what the rows note as due and is not any more.
func (f *folder) settle() {
	for i, r := range f.rows {
		if r.overdue() {
			c := *r
			c.due = 0
			f.rows[i], r = &c, &c
		}
		r.in.settle()
	}
}

// note lets the pages above know whether something in s, or below, needs new keys.
func (t *Tree) note(s *sheet) error {
	for ; s.parent != nil; s = s.parent {
		l, waits := s.parent.body.top.linkOf(s.ref.ID), s.body.waits()
		if l == nil {
			return corrupt("a page is not linked where it was found")
		}
		if l.waits == waits {
			return nil
		}
		if err := t.relink(s, func(l *link) { l.waits = waits }); err != nil {
			return err
		}
	}
	return nil
}

// Found is a node and where it stands.
type Found struct {
	Path string
	Node Node
}

// dueAtOnce is how many pages one call of [Tree.Due] gives new keys at most, beyond its limit.
const dueAtOnce = 64

// Due returns at most limit files at the path and below whose keys are due, to be sealed anew with keys of
// [Tree.EpochFor] at least and put back. Pages that it goes through get the keys that are due, and the marks of what is
// done are taken away; pages in which nothing waits are not loaded. More says that the call ended early, and that
// another may find more even if this one found nothing; when it is false, the files returned are all that was left.
// Pages that cannot be read are passed over; once nothing but such is left, the error is Corrupt.
// NotExist if there is nothing at the path; Invalid for a limit below 1.
func (t *Tree) Due(ctx context.Context, path string, limit int) (found []Found, more bool, err error) {
	if limit < 1 {
		return nil, false, coffer.Errorf("tree", coffer.Invalid, "the limit must be positive")
	}
	w := &dueWalk{t: t, ctx: ctx, limit: limit, pages: limit + dueAtOnce}
	err = t.edit(func() error {
		p, r, err := t.look(ctx, path, true, nil)
		if err != nil {
			return err
		}
		if r != nil {
			err = w.row(p, r, path, 0)
		} else {
			err = w.folder(p, "", 0)
		}
		if err != nil {
			return err
		}
		if err := t.done(p.s); err != nil {
			return err
		}
		if len(w.found) == 0 && !w.more && w.pages == limit+dueAtOnce {
			return w.broken // nothing else was left to do
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	return w.found, w.more || w.broken != nil, nil
}

// done settles a page through which a walk went, and lets the pages above know.
func (t *Tree) done(s *sheet) error {
	if err := t.settle(s); err != nil {
		return err
	}
	return t.note(s)
}

// A dueWalk finds files that are due, until it has enough.
type dueWalk struct {
	t     *Tree
	ctx   context.Context
	limit int
	pages int // how many more may be renewed
	found []Found
	more  bool // it stopped early
	// broken is the error of a page that cannot be read: who may write it must not keep the rest from new keys.
	broken error
}

// row looks at a row, and at what is below it.
func (w *dueWalk) row(p place, r *row, path string, depth int) error {
	switch r.kind {
	case file:
		if r.epoch >= max(p.due, r.due) {
			return nil
		}
		if len(w.found) == w.limit {
			w.more = true
			return nil
		}
		n, err := r.node(p.s.ref.Write)
		w.found = append(w.found, Found{Path: path, Node: n})
		return err
	case inline:
		in, err := w.t.enter(w.ctx, p, r, true)
		if err != nil {
			return err
		}
		return w.folder(in, path, depth+1)
	}
	return w.page(p, &r.link, r.id, path, depth)
}

// page looks at a page that is linked in p, if something in it waits.
func (w *dueWalk) page(p place, l *link, id coffer.ObjectID, path string, depth int) error {
	if !l.waits && l.epoch >= p.due {
		return nil
	}
	if len(w.found) == w.limit || w.pages == 0 {
		w.more = true
		return nil
	}
	anew := l.epoch < p.due
	in, err := w.t.into(w.ctx, p, l, id, true)
	if errors.Is(err, coffer.Corrupt) {
		w.broken = err
		return nil
	} else if err != nil {
		return err
	}
	if anew {
		w.pages--
	}
	if err := w.folder(in, path, depth+1); err != nil {
		return err
	}
	return w.t.done(in.s)
}

// folder looks at all in a folder. Nothing is inserted or removed meanwhile.
func (w *dueWalk) folder(p place, path string, depth int) error {
	if depth > maxNesting {
		return corrupt("folders are nested too deep")
	}
	f := p.folder()
	subs, rows := slices.Clone(f.subs), slices.Clone(f.rows)
	for _, l := range subs {
		if w.more {
			return nil
		}
		if err := w.page(p, l, f.id, path, depth); err != nil {
			return err
		}
	}
	for _, r := range rows {
		if w.more {
			return nil
		}
		if err := w.row(p, r, join(path, r.name), depth); err != nil {
			return err
		}
	}
	return nil
}
