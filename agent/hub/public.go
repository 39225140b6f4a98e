package hub

import (
	"context"
	"iter"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/merge"
)

// Publish keeps a value in plain text, signed, for anybody to find and to read. o may be nil.
func (h *Hub) Publish(ctx context.Context, k Kind, value any, o *PutOptions) (coffer.CommitRev, error) {
	var c PutOptions
	if o != nil {
		c = *o
	}
	c.Public = true
	return h.Put(ctx, k, value, &c)
}

// Verify returns the objects that commits make, wherever they were had from: a mirror, a file. It needs no hub. Each
// commit's signature is checked, and that those of an object go together; Corrupt otherwise. What is sealed stays
// sealed: such an object has no Value. Whether commits are missing cannot be seen.
func Verify(ctx context.Context, r Resolver, commits ...*coffer.Commit) ([]*Object, error) {
	of := make(map[coffer.CommitRev][]*merge.Commit)
	var order []coffer.CommitRev
	for _, c := range commits {
		m, err := verify(ctx, r, c)
		if err != nil {
			return nil, err
		}
		if of[m.Object] == nil {
			order = append(order, m.Object)
		}
		of[m.Object] = append(of[m.Object], m)
	}
	var list []*Object
	for _, id := range order {
		s, err := merge.Of(of[id])
		if err != nil {
			return nil, corrupt("commits that do not go together")
		}
		c := &s.Created.Header
		rec := &record{State: s, commits: of[id]}
		o := rec.object(Kind{Interface: c.Interface, Context: c.Context, Type: c.Type})
		e, err := parseEnvelope(s.Latest.Payload)
		if o.Sealed = err != nil || e != nil; !o.Sealed && !o.Deleted {
			o.Value = plain(s.Value)
		}
		list = append(list, o)
	}
	return list, nil
}

// SetProfile says something of the owner to everybody, in any schema: it puts the value in the place of the profile of
// this context and type. The first that there is is the primary one. The interface of the kind does not count.
func (h *Hub) SetProfile(ctx context.Context, k Kind, value any) error {
	if err := h.own("profile"); err != nil {
		return err
	}
	k.Interface = coffer.ProfileInterface
	for o, err := range h.Query(ctx, k, nil) {
		if err != nil {
			return err
		}
		return h.replace(ctx, o, value, &PutOptions{Public: true}, nil)
	}
	_, err := h.Publish(ctx, k, value, nil)
	return err
}

// Profile yields what the owner says of himself to everybody, the primary one first.
func (h *Hub) Profile(ctx context.Context) iter.Seq2[*Object, error] {
	return h.allOf(ctx, coffer.ProfileInterface)
}

// Services yields the descriptors of services that one may see: OpenAPI documents. The hub runs none of them.
func (h *Hub) Services(ctx context.Context) iter.Seq2[*Object, error] {
	return h.allOf(ctx, coffer.ServicesInterface)
}

// Describe returns what one may do here.
func (h *Hub) Describe(ctx context.Context) (*coffer.HubDescription, error) {
	return h.o.Hub.Describe(ctx, h.o.Owner)
}

// allOf yields the objects of an interface.
func (h *Hub) allOf(ctx context.Context, of string) iter.Seq2[*Object, error] {
	return h.list(ctx, Kind{Interface: of}, &coffer.ObjectQuery{NoDeleted: true}, nil)
}
