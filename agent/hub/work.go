package hub

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"time"

	"github.com/cofferhq/coffer"
)

// Progress says how far [Hub.Work] is.
type Progress struct {
	Kind Kind
	Seen int // objects of the kind that were looked at
	Done int // of these, how many were sealed anew
	// Left is how many could not be: what others wrote who have not the right keys, or cannot be reached, or what the hub
	// altered.
	Left int
}

// Work does what revoking leaves to be done, and yields how far it is after each object that it looked at: permissions
// that have expired are revoked, what is sealed under keys that somebody lost, or under a rotated vault secret, is
// sealed anew, what was handed in by those who may write and not read is sealed for those who may read, and all who
// may read are sent the keys. Kinds that are named are gone through in any case, as are those of which it is known that
// something is to be done. It may be ended at any time, and goes on the next time.
func (h *Hub) Work(ctx context.Context, kinds ...Kind) iter.Seq2[Progress, error] {
	return func(yield func(Progress, error) bool) {
		if err := h.own("work"); err != nil {
			yield(Progress{}, err)
			return
		}
		stale, err := h.endExpired(ctx)
		if err != nil {
			yield(Progress{}, err)
			return
		}
		kinds = append(stale, kinds...)
		todo, err := h.unfinished(ctx)
		if err != nil {
			yield(Progress{}, err)
			return
		}
		known := make(map[string]bool)
		for _, r := range todo {
			known[r.Kind.kind().digest()] = true
		}
		for _, k := range kinds {
			k, err := k.check()
			if err == nil && !known[k.digest()] {
				var r epochRecord
				if r, err = h.present(ctx, k); err == nil {
					known[k.digest()] = true
					todo = append(todo, r)
				}
			}
			if err != nil {
				yield(Progress{Kind: k}, err)
				return
			}
		}
		for _, r := range todo {
			if !h.workOn(ctx, r, yield) {
				return
			}
		}
	}
}

// endExpired revokes the permissions to read that have expired, and returns the kinds of those of which the keys were
// sent before the vault secret was rotated.
func (h *Hub) endExpired(ctx context.Context) (stale []Kind, err error) {
	var ids []coffer.CommitRev
	for g, err := range h.grantRecords(ctx) {
		if errors.Is(err, coffer.Corrupt) {
			continue
		}
		switch {
		case err != nil:
			return nil, err
		case !g.reads():
		case g.expired(h.o.Now()):
			ids = append(ids, g.Object)
		case g.stale:
			stale = append(stale, g.kindOf())
		}
	}
	for _, id := range ids {
		if err := h.Revoke(ctx, id); err != nil && !errors.Is(err, coffer.Locked) {
			return nil, err
		}
	}
	return stale, nil
}

// workOn seals the objects of a kind anew. It reports whether to go on.
func (h *Hub) workOn(ctx context.Context, r epochRecord, yield func(Progress, error) bool) bool {
	k := r.Kind.kind()
	p := Progress{Kind: k}
	there := make(files)
	for o, err := range h.everyOf(ctx, k) {
		if err != nil && !OfOne(err) {
			return yield(p, err)
		}
		p.Seen++
		switch {
		case err != nil:
			p.Left++
		case o.seal != nil && o.seal.stale(r.Epoch):
			if !o.seal.keyed {
				o.seal = under(newSalt())
			}
			if err := h.renew(ctx, o); err != nil {
				return yield(p, err)
			}
			p.Done++
		}
		if err == nil {
			there.add(o)
		}
		if !yield(p, nil) {
			return false
		}
	}
	if k.Interface == coffer.CollectionsInterface && !h.workOnParts(ctx, r, there, &p, yield) {
		return false
	}
	if err := h.redeliver(ctx, k); err != nil {
		return yield(p, err)
	}
	// Before, somebody may still write under former keys, who has not heard of the epoch: then it is gone through again.
	if r.From < r.Epoch && p.Left == 0 && !h.o.Now().Before(r.began.Add(heard)) {
		r.From = r.Epoch
		if err := h.advance(ctx, r); err != nil {
			return yield(p, err)
		}
	}
	return true
}

// renew seals an object anew, as the others of its kind and with the salt that it has.
func (h *Hub) renew(ctx context.Context, o *Object) error {
	return h.replace(ctx, o, json.RawMessage(o.Value), &PutOptions{}, &origin{Author: o.UpdatedBy, At: o.UpdatedAt})
}

// files are the files of a kind: by each part that they should have, and whose it should be, the salt of the head.
type files map[wanted]salt

type wanted struct {
	part   coffer.CommitRev
	author string
}

// add adds an object, if it is a file.
func (f files) add(o *Object) {
	if o.file == nil {
		return
	}
	for i := range o.file.count() {
		f[wanted{o.file.part(i), o.Author}] = o.seal.salt
	}
}

// orphaned is how long after the last part of a file its head is waited for.
const orphaned = 24 * time.Hour

// workOnParts seals the parts of files anew, with the salts of their heads, and removes those of which the head never
// came. It reports whether to go on.
func (h *Hub) workOnParts(ctx context.Context, r epochRecord, there files, p *Progress,
	yield func(Progress, error) bool) bool {
	type orphan struct {
		parts []coffer.CommitRev
		last  time.Time // when the last of them was written, as its author says
	}
	orphans := make(map[string]*orphan)
	q := &coffer.ObjectQuery{NoDeleted: true, Limit: partsPage}
	for o, err := range h.listed(ctx, p.Kind, q, nil, true) {
		if err != nil && !OfOne(err) {
			return yield(*p, err)
		}
		p.Seen++
		switch {
		case err != nil:
			p.Left++
		case o.part == nil: // it only says so
		default:
			s, whole := there[wanted{o.ID, o.Author}]
			if !whole {
				s = o.seal.salt
				lost := orphans[string(o.part.ID)]
				if lost == nil {
					lost = new(orphan)
					orphans[string(o.part.ID)] = lost
				}
				lost.parts = append(lost.parts, o.ID)
				if o.CreatedAt.After(lost.last) {
					lost.last = o.CreatedAt
				}
			}
			// What was handed in waits for its head, whose salt it is to have.
			if (whole || o.seal.keyed) && (o.seal.stale(r.Epoch) || o.seal.salt != s) {
				o.seal = under(s)
				if err := h.renew(ctx, o); err != nil {
					return yield(*p, err)
				}
				p.Done++
			}
		}
		if !yield(*p, nil) {
			return false
		}
	}
	if p.Left > 0 {
		return true // what could not be opened may be a head
	}
	wire, err := h.wire(ctx, p.Kind)
	if err != nil {
		return yield(*p, err)
	}
	for _, lost := range orphans {
		if h.o.Now().Sub(lost.last) < orphaned {
			continue
		}
		for _, id := range lost.parts {
			if err := h.removePart(ctx, wire, id); err != nil {
				return yield(*p, err)
			}
		}
	}
	return true
}

// everyOf yields the objects of a kind; of a Store, all its keys.
func (h *Hub) everyOf(ctx context.Context, k Kind) iter.Seq2[*Object, error] {
	if k.Interface == coffer.StoresInterface {
		return (&Store{h: h, with: k.Context}).objects(ctx)
	}
	return h.list(ctx, k, &coffer.ObjectQuery{NoDeleted: true}, nil)
}
