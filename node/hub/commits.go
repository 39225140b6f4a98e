package hub

import (
	"cmp"
	"context"
	"slices"

	"github.com/cofferhq/coffer"
)

// Commits implements [coffer.Hub].
func (v *view) Commits(ctx context.Context, owner string, q *coffer.CommitQuery) (*coffer.CommitPage, error) {
	switch {
	case len(q.Objects) > 0 && len(q.Revisions) > 0:
		return nil, notImplemented("query.object_id, query.revision", "not both")
	case len(q.Objects) > coffer.MaxQueryIDs:
		return nil, invalid("query.object_id", "too many")
	case len(q.Revisions) > coffer.MaxQueryIDs:
		return nil, invalid("query.revision", "too many")
	case q.Since != "" && (len(q.Objects) > 0 || len(q.Revisions) > 0):
		return nil, invalid("query.since", "does not go with object_id or revision")
	}
	h, err := v.s.open(ctx, owner, false)
	if err != nil {
		return nil, err
	}
	all := len(q.Objects)+len(q.Revisions) == 0
	if !v.owns(owner) && (all || h == nil) {
		return nil, denied()
	}
	bound := *q
	bound.Skip, bound.Limit = "", 0
	limit := q.Limit
	if limit <= 0 || limit > coffer.MaxHubPage {
		limit = coffer.MaxHubPage
	}
	from := new(place)
	if q.Skip != "" {
		if from, err = v.place(owner, skipCommits, &bound, q.Skip, "query.skip_token"); err != nil {
			return nil, err
		}
	} else if q.Since != "" {
		if from, err = v.place(owner, newerCommits, nil, q.Since, "query.since"); err != nil {
			return nil, err
		}
	}
	page := &coffer.CommitPage{Commits: []*coffer.Commit{}}
	var next *place
	switch {
	case h == nil:
		page.Watermark, err = v.token(owner, newerCommits, nil, &place{})
	case all:
		next, err = h.allCommits(ctx, from, limit, v.s.scan, page)
		if err == nil && next == nil {
			page.Watermark, err = v.token(owner, newerCommits, nil, from)
		}
	default:
		next, err = v.someCommits(ctx, h, q, from, limit, page)
	}
	if err == nil && next != nil {
		page.Skip, err = v.token(owner, skipCommits, &bound, next)
	}
	if err != nil {
		return nil, err
	}
	return page, nil
}

// maxPageBytes ends a page early: it is held in memory as a whole.
const maxPageBytes = 4 << 20

func size(c *coffer.Commit) int {
	return len(c.Protected) + len(c.Payload) + len(c.Signature) + len(c.Header)
}

// allCommits adds to the page the commits after a place, which it moves, and returns it if there are more. It looks at so
// many changes at most.
func (h *hub) allCommits(ctx context.Context, from *place, limit, scan int, page *coffer.CommitPage) (*place, error) {
	scanned, bytes := 0, 0
	for c, err := range h.vault.Changes(ctx, from.Cursor, false) {
		if err != nil {
			return nil, err
		}
		if len(page.Commits) == limit || scanned == scan || bytes > maxPageBytes {
			return from, nil
		}
		scanned++
		from.Cursor = c.Cursor
		if c.ID[0] != commitDocument {
			continue
		}
		d, err := h.get(ctx, c.ID)
		if err != nil {
			return nil, err
		}
		if d == nil {
			return nil, corrupt()
		}
		k, err := h.readCommit(d)
		if err != nil {
			return nil, err
		}
		shown, err := k.shown()
		if err != nil {
			return nil, err
		}
		bytes += size(shown)
		page.Commits = append(page.Commits, shown)
	}
	return nil, nil
}

// someCommits adds to the page the commits of objects, or those with revisions, that came after a place. Denied if
// one of the objects may not be read, or, but for the owner, there are none.
func (v *view) someCommits(
	ctx context.Context, h *hub, q *coffer.CommitQuery, from *place, limit int, page *coffer.CommitPage,
) (*place, error) {
	var wanted []arrival
	var err error
	if len(q.Objects) > 0 {
		wanted, err = v.ofObjects(ctx, h, q.Objects)
	} else {
		wanted, err = v.ofRevisions(ctx, h, q.Revisions)
	}
	if err != nil {
		return nil, err
	}
	if len(wanted) == 0 && !v.owns(h.owner) {
		return nil, denied()
	}
	slices.SortFunc(wanted, func(x, y arrival) int {
		return cmp.Or(cmp.Compare(x.stamp, y.stamp), slices.Compare(x.rev[:], y.rev[:]))
	})
	wanted = slices.Compact(wanted)
	bytes := 0
	for i, a := range wanted {
		// Of nodes that share the vaults, two may have stamped alike: those are shown together, and may exceed the page.
		if a.stamp <= from.Stamp {
			continue
		}
		if (len(page.Commits) >= limit || bytes > maxPageBytes) && a.stamp != wanted[i-1].stamp {
			return &place{Stamp: wanted[i-1].stamp}, nil
		}
		k, err := h.commit(ctx, a.rev)
		if err != nil {
			return nil, err
		}
		if k == nil {
			return nil, corrupt()
		}
		shown, err := k.shown()
		if err != nil {
			return nil, err
		}
		bytes += size(shown)
		page.Commits = append(page.Commits, shown)
	}
	return nil, nil
}

func (v *view) ofObjects(ctx context.Context, h *hub, ids []coffer.CommitRev) (wanted []arrival, err error) {
	for _, id := range ids {
		r, err := h.row(ctx, id)
		if err != nil {
			return nil, err
		}
		if r == nil {
			continue
		}
		if err := v.readable(ctx, h, r); err != nil {
			return nil, err
		}
		wanted = append(wanted, r.arrivals...)
	}
	return wanted, nil
}

func (v *view) ofRevisions(ctx context.Context, h *hub, revs []coffer.CommitRev) (wanted []arrival, err error) {
	readable := make(map[coffer.ObjectID]bool)
	for _, rev := range revs {
		k, err := h.commit(ctx, rev)
		if err != nil {
			return nil, err
		}
		if k == nil {
			continue
		}
		wanted = append(wanted, arrival{k.stamp, rev})
		if readable[k.row] || v.owns(h.owner) {
			continue
		}
		d, err := h.get(ctx, k.row)
		if err != nil {
			return nil, err
		}
		if d == nil {
			return nil, corrupt()
		}
		r, err := h.readRow(d, false)
		if err != nil {
			return nil, err
		}
		if err := v.readable(ctx, h, r); err != nil {
			return nil, err
		}
		readable[k.row] = true
	}
	return wanted, nil
}
