package hub

import (
	"context"
	"encoding/json"
	"errors"
	"iter"

	"github.com/cofferhq/coffer"
)

// Progress says how far [Hub.Work] is.
type Progress struct {
	Kind Kind
	Seen int // objects of the kind that were looked at
	Done int // of these, how many were sealed anew
	// Left is how many could not be: what others wrote who have not the right keys, or what the hub altered.
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
	files := make(files)
	for o, err := range h.everyOf(ctx, k) {
		if err != nil && !errors.Is(err, coffer.Corrupt) {
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
			files.add(o)
		}
		if !yield(p, nil) {
			return false
		}
	}
	if k.Interface == coffer.CollectionsInterface && !h.workOnParts(ctx, r, files, &p, yield) {
		return false
	}
	if err := h.redeliver(ctx, k); err != nil {
		return yield(p, err)
	}
	if r.From < r.Epoch && p.Left == 0 {
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

// everyOf yields the objects of a kind; of a Store, all its keys.
func (h *Hub) everyOf(ctx context.Context, k Kind) iter.Seq2[*Object, error] {
	if k.Interface == coffer.StoresInterface {
		return (&Store{h: h, with: k.Context}).objects(ctx)
	}
	return h.list(ctx, k, &coffer.ObjectQuery{NoDeleted: true}, nil)
}
