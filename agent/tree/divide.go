package tree

import (
	"context"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// moveOut gives a folder inline a page of its own, with new keys, and returns it.
func (t *Tree) moveOut(s *sheet, names []string) (*sheet, error) {
	if err := t.own(s); err != nil {
		return nil, err
	}
	due, f := s.body.due, &s.body.top
	for _, n := range names[:len(names)-1] {
		r := f.get(n)
		due, f = max(due, r.due), &r.in
	}
	r := f.get(names[len(names)-1])
	ref := seal.NewRef()
	ref.ID = r.id
	b := &body{top: r.in.clone()}
	if !b.top.settled(due) {
		b.due = due
	}
	b.due = max(b.due, r.due)
	child, err := t.add(ref, s, b)
	if err != nil {
		return nil, err
	}
	f.set(&row{
		kind: paged, name: r.name, modified: r.modified, shared: r.shared,
		link: s.linkTo(child, max(due, r.due)),
	})
	return child, nil
}

// linkTo returns the link of a page in s.
func (s *sheet) linkTo(child *sheet, epoch uint64) link {
	return link{
		id: child.ref.ID, key: child.ref.Key, write: wrap(s.ref.Write, child.ref.ID, child.ref.Write),
		epoch: epoch, waits: child.body.waits(), prefix: child.body.prefix,
	}
}

// fit makes a page fit after rows were put into it. A folder inline moves out if a good part of the page is gained;
// else the page's rows are divided. Exhausted when neither can be.
func (t *Tree) fit(s *sheet) error {
	for s.body.room() > t.max {
		names := s.body.top.heaviest(t.max)
		if names == nil {
			return t.divide(s)
		}
		child, err := t.moveOut(s, names)
		if err != nil {
			return err
		}
		if err := t.fit(child); err != nil {
			return err
		}
	}
	return nil
}

// heaviest returns the way to the folder inline that is best moved out: what it holds takes at least an eighth of a
// page, and both what stays and what goes are large. Of a chain of folders around a large one that is the innermost.
func (f *folder) heaviest(pageMax int) (best []string) {
	all, gain := f.room(), 0
	var search func(f *folder, way []string)
	search = func(f *folder, way []string) {
		for _, r := range f.rows {
			if r.kind != inline {
				continue
			}
			room := r.in.room()
			if room < pageMax/8 || room <= linkRoom {
				continue
			}
			way := append(way[:len(way):len(way)], r.name)
			if g := min(room, all-room); best == nil || g >= gain {
				best, gain = way, g
			}
			search(&r.in, way)
		}
	}
	search(f, nil)
	return best
}

// A half is one side of what is divided.
type half struct {
	prefix string
	rows   []*row
	subs   []*link
}

// halves divides what a page holds of its folder by the first bit in which the hashes differ. It reports false when
// there is nothing to divide.
func (f *folder) halves() (h [2]half, ok bool) {
	hashes := make([]string, 0, len(f.rows)+len(f.subs))
	for _, r := range f.rows {
		hashes = append(hashes, hashOf(f.id, r.name))
	}
	for _, l := range f.subs {
		hashes = append(hashes, l.prefix)
	}
	if len(hashes) < 2 {
		return h, false
	}
	common := hashes[0]
	for _, s := range hashes[1:] {
		common = commonPrefix(common, s)
	}
	at := len(common)
	if at >= maxPrefix {
		return h, false
	}
	h[0].prefix, h[1].prefix = common+"0", common+"1"
	for i, r := range f.rows {
		side := &h[hashes[i][at]-'0']
		side.rows = append(side.rows, r)
	}
	for _, l := range f.subs {
		side := &h[l.prefix[at]-'0']
		side.subs = append(side.subs, l)
	}
	return h, true
}

func commonPrefix(a, b string) string {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return a[:n]
}

// divide divides a page that is too full in two: a sub-page in its parent's page, a folder's own page below itself.
func (t *Tree) divide(s *sheet) error {
	if err := t.own(s); err != nil {
		return err
	}
	h, ok := s.body.top.halves()
	if !ok {
		return coffer.Errorf("tree", coffer.Exhausted, "an entry does not fit into a page")
	}
	into, epoch := s, s.body.due // a folder's own page keeps what it holds below it
	if s.body.prefix != "" {
		into = s.parent
		if err := t.own(into); err != nil {
			return err
		}
		// A half can stay in s, which has the keys that are due.
		epoch = max(into.body.due, into.body.top.linkOf(s.ref.ID).epoch)
		into.body.top.removeSub(s.ref.ID)
	}
	due, free := s.body.due, into != s
	var links []*link
	var pages []*sheet
	for _, h := range h {
		if len(h.subs) == 1 { // no page for a single sub-page
			l := *h.subs[0]
			if into != s {
				one := folder{subs: []*link{&l}}
				if err := t.adopt(&one, s, into); err != nil {
					return err
				}
				if l = *one.subs[0]; l.epoch < due {
					into.body.due = max(into.body.due, due)
				}
			}
			links = append(links, &l)
			continue
		}
		top := folder{id: s.body.top.id, rows: h.rows, subs: h.subs}
		var child *sheet
		var err error
		if free {
			child, free = s, false
			s.body = &body{top: top, prefix: h.prefix, due: due}
		} else if child, err = t.add(seal.NewRef(), s, &body{top: top, prefix: h.prefix, due: due}); err != nil {
			return err
		} else {
			child.parent = into
		}
		l := into.linkTo(child, epoch)
		links, pages = append(links, &l), append(pages, child)
	}
	if free {
		t.discard(s)
	}
	if into == s {
		s.body.top.rows, s.body.top.subs = nil, nil
	}
	for _, l := range links {
		into.body.top.setSub(l)
	}
	for _, p := range pages {
		if err := t.fit(p); err != nil {
			return err
		}
	}
	return t.fit(into)
}

// addSub makes a sub-page for names with this hash in a divided page that has none for them, and returns its place.
func (t *Tree) addSub(s *sheet, hash string) (place, error) {
	if err := t.own(s); err != nil {
		return place{}, err
	}
	f, n := &s.body.top, len(s.body.prefix)
	for _, l := range f.subs {
		n = max(n, len(commonPrefix(hash, l.prefix)))
	}
	b := &body{top: folder{id: f.id}, prefix: hash[:n+1]}
	child, err := t.add(seal.NewRef(), s, b)
	if err != nil {
		return place{}, err
	}
	l := s.linkTo(child, s.body.due)
	f.setSub(&l)
	return place{s: child}, t.fit(s)
}

// shrink drops sub-pages that became unneeded when rows were taken out of s: empty ones, and those that fit into half a
// page with what is beside them. A page that cannot be loaded for that stays as it is.
func (t *Tree) shrink(ctx context.Context, s *sheet) error {
	for s.body.prefix != "" && t.sheets[s.ref.ID] == s {
		if len(s.body.top.rows)+len(s.body.top.subs) == 0 {
			p := s.parent
			if err := t.own(p); err != nil {
				return err
			}
			t.discard(s)
			f := &p.body.top
			f.removeSub(s.ref.ID)
			if len(f.subs) == 0 {
				s = p
				continue
			}
			if len(f.subs) > 1 {
				return nil
			}
			only, err := t.open(ctx, p, f.subs[0], f.id)
			if err != nil {
				return nil
			}
			s = only
		}
		if len(s.body.top.subs) > 0 || s.body.room() > t.max/2 {
			return nil
		}
		if len(s.parent.body.top.subs) > 1 {
			if merged, err := t.merge(ctx, s); err != nil || !merged {
				return err
			}
			continue
		}
		p, top := s.parent, s.body.top.clone() // p can hold all itself
		if err := t.own(p); err != nil {
			return err
		}
		if err := t.adopt(&top, s, p); err != nil {
			return err
		}
		t.discard(s)
		p.body.top, p.body.due = top, max(p.body.due, s.body.due)
		s = p
	}
	return nil
}

// merge takes the rows of the sub-page beside s into s, if both fit into half a page, and reports whether it did.
func (t *Tree) merge(ctx context.Context, s *sheet) (bool, error) {
	p := s.parent
	var other *link
	prefix := "" // that of the two together
	for _, l := range p.body.top.subs {
		if c := commonPrefix(l.prefix, s.body.prefix); l.id != s.ref.ID && (other == nil || len(c) > len(prefix)) {
			other, prefix = l, c
		}
	}
	for _, l := range p.body.top.subs {
		if l.id != s.ref.ID && l.id != other.id && commonPrefix(l.prefix, prefix) == prefix {
			return false, nil
		}
	}
	o, err := t.open(ctx, p, other, p.body.top.id)
	if err != nil || len(o.body.top.subs) > 0 || s.body.room()+o.body.room()-pageRoom > t.max/2 {
		return false, nil
	}
	if err := t.own(p); err != nil {
		return false, err
	}
	if err := t.own(s); err != nil {
		return false, err
	}
	top := o.body.top.clone()
	if err := t.adopt(&top, o, s); err != nil {
		return false, err
	}
	for _, r := range top.rows {
		s.body.top.set(r)
	}
	s.body.due = max(s.body.due, o.body.due)
	if other.epoch < p.body.due {
		s.body.due = max(s.body.due, p.body.due)
	}
	kept := *p.body.top.linkOf(s.ref.ID)
	t.discard(o)
	p.body.top.removeSub(o.ref.ID)
	p.body.top.removeSub(s.ref.ID)
	if prefix != p.body.prefix { // else p has no other sub-page, and takes the rows itself next
		s.body.prefix = prefix
	}
	kept.prefix = s.body.prefix
	p.body.top.setSub(&kept)
	return true, nil
}
