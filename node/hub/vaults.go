package hub

import (
	"container/list"
	"context"
	"errors"
	"iter"
	"slices"
	"sync"

	"github.com/cofferhq/coffer"
)

// A hub is one owner's, open.
type hub struct {
	secrets
	owner string
	vault coffer.Vault

	mu    sync.Mutex
	kinds map[coffer.ObjectID]bool // that are known to be kept; they never go
	uses  map[coffer.ObjectID]day  // of grants, by their rows: that their use on this day is recorded
	tail  tail
}

// maxKnownKinds bounds the kinds of one hub that are remembered.
const maxKnownKinds = 1024

// maxOpen is how many hubs are kept open, in about a kilobyte each.
const maxOpen = 4096

// hubs are the hubs that were used last. That a hub is here says that it exists, and nothing of what is in it.
type hubs struct {
	mu     sync.Mutex
	by     map[string]*list.Element // by owner
	recent *list.List               // of *hub; the one used last in front
}

func newHubs() hubs { return hubs{by: make(map[string]*list.Element), recent: list.New()} }

func (s *hubs) get(owner string) *hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.by[owner]
	if !ok {
		return nil
	}
	s.recent.MoveToFront(e)
	return e.Value.(*hub)
}

// add returns the hub that is there, if there is one by now.
func (s *hubs) add(h *hub) *hub {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e, ok := s.by[h.owner]; ok {
		return e.Value.(*hub)
	}
	s.by[h.owner] = s.recent.PushFront(h)
	if s.recent.Len() > maxOpen {
		last := s.recent.Back()
		delete(s.by, s.recent.Remove(last).(*hub).owner)
	}
	return h
}

// maxName bounds identifiers.
const maxName = 2 << 10

// open returns the owner's hub, nil if there is none and it is not to be made. Denied when the owner may have none.
func (s *Service) open(ctx context.Context, owner string, create bool) (*hub, error) {
	if len(s.o.Owners) > 0 && !slices.Contains(s.o.Owners, owner) || owner == "" || len(owner) > maxName {
		return nil, denied()
	}
	if h := s.hubs.get(owner); h != nil {
		return h, nil
	}
	v, err := s.o.Vaults.Vault(ctx, vaultName(s.o.Secret, owner), create)
	switch {
	case errors.Is(err, coffer.NotExist):
		return nil, nil
	case err != nil:
		return nil, err
	}
	h := &hub{
		secrets: newSecrets(s.o.Secret, owner), owner: owner, vault: v,
		kinds: make(map[coffer.ObjectID]bool), uses: make(map[coffer.ObjectID]day),
	}
	return s.hubs.add(h), nil
}

// get returns a document, nil if there is none.
func (h *hub) get(ctx context.Context, id coffer.ObjectID) (*coffer.Document, error) {
	ds, err := h.vault.Get(ctx, id)
	switch {
	case errors.Is(err, coffer.NotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case len(ds) != 1:
		return nil, corrupt() // the vault is ours, and nobody merges
	}
	return ds[0], nil
}

// commit returns a commit, nil if it is not there.
func (h *hub) commit(ctx context.Context, rev coffer.CommitRev) (*kept, error) {
	d, err := h.get(ctx, h.commitID(rev))
	if d == nil || err != nil {
		return nil, err
	}
	return h.readCommit(d)
}

// row returns an object, nil if it is not there.
func (h *hub) row(ctx context.Context, object coffer.CommitRev) (*row, error) {
	k, err := h.commit(ctx, object)
	if k == nil || err != nil || !k.object {
		return nil, err
	}
	d, err := h.get(ctx, k.row)
	if err != nil {
		return nil, err
	}
	if d == nil {
		return nil, corrupt()
	}
	return h.readRow(d, true)
}

// documents yields the documents after an id that have any of the tags, in the order of their ids. So many are asked
// for at first, and then more at a time. It ends with the request: what is done with each may take long.
func (h *hub) documents(
	ctx context.Context, tags []string, after coffer.ObjectID, atOnce int,
) iter.Seq2[*coffer.Document, error] {
	q := coffer.Query{Index: tagKey, After: after, Limit: atOnce}
	for _, t := range tags {
		q.Equals = append(q.Equals, map[string]string{tagName: t})
	}
	return func(yield func(*coffer.Document, error) bool) {
		for len(q.Equals) > 0 {
			n := 0
			for d, err := range h.vault.Query(ctx, q) {
				if ended := overdue(ctx); err == nil && ended != nil {
					d, err = nil, ended
				}
				if !yield(d, err) || err != nil {
					return
				}
				n++
				q.After = d.ID
			}
			if n < q.Limit {
				return
			}
			q.Limit = max(q.Limit, min(2*q.Limit, rowsAtOnce)) // not all of the first ones were what is looked for
		}
	}
}

// overdue returns Unavailable once the request has ended.
func overdue(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return coffer.E("hub", coffer.Unavailable, context.Cause(ctx))
}

// any reports whether a document has one of the tags.
func (h *hub) any(ctx context.Context, tags ...string) (bool, error) {
	for _, err := range h.documents(ctx, tags, coffer.ObjectID{}, 1) {
		return err == nil, err
	}
	return false, nil
}
