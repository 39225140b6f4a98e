package agent

import (
	"context"
	"errors"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
	"github.com/cofferhq/coffer/internal/jose"
)

// recordSize is the size of what is sealed of each of the agent's own records, in bytes: heads, boxes and registers
// look like pages of the tree, and like small files.
const recordSize = tree.PageSize

// maxRecord is the most bytes that a record's content may have: the rest is for the binding and the signature.
const maxRecord = recordSize - 1792

// A head is where a vault begins: what it holds is found from here. It is replaced with every commit (doc/objects.md,
// section "Head").
type head struct {
	Type    string    `json:"type"`
	Version int       `json:"version"`
	Commits uint64    `json:"commits"`         // counts the owner's commits
	Root    refJSON   `json:"root"`            // the tree's root page
	Epoch   uint64    `json:"epoch"`           // the last epoch that was begun
	Index   base64url `json:"index,omitempty"` // the search index's manifest
	Log     []entry   `json:"log,omitempty"`   // what is not yet in the index and the registers
	// Registers is how many registers there are, and Boxes how many boxes; their places follow from their numbers.
	Registers int    `json:"registers,omitzero"`
	Boxes     int    `json:"boxes,omitzero"`
	Seen      string `json:"seen,omitempty"` // the last checkpoint of the vault's history that the writer knew
	Jobs      []job  `json:"jobs,omitempty"`
	Keys      []int  `json:"keys,omitempty"` // how many generations of keys there were
}

// An entry of a head's log is one thing that a commit did.
type entry struct {
	Delta  base64url    `json:"d,omitempty"` // to the search index
	Weight int          `json:"n,omitzero"`  // how much Delta counts until the index is written
	Grant  *grantRecord `json:"g,omitempty"`
}

const (
	headType    = "coffer/head"
	headVersion = 1
)

// refJSON is a Ref as records hold it.
type refJSON struct {
	ID    coffer.ObjectID `json:"id"`
	Key   base64url       `json:"key"`
	Write base64url       `json:"write,omitempty"`
}

func newRefJSON(r seal.Ref) refJSON {
	w := refJSON{ID: r.ID, Key: r.Key[:]}
	if r.Write != (seal.WriteKey{}) {
		w.Write = r.Write[:]
	}
	return w
}

func (w refJSON) ref() (r seal.Ref, err error) {
	if len(w.Key) != len(r.Key) || len(w.Write) != 0 && len(w.Write) != len(r.Write) {
		return r, coffer.Errorf("record", coffer.Corrupt, "a key has another length")
	}
	r.ID = w.ID
	copy(r.Key[:], w.Key)
	copy(r.Write[:], w.Write)
	return r, nil
}

// place returns the Ref of one of the agent's own records: it follows from the owner's secret, so that a device needs
// nothing but the keyring to find it.
func (a *Agent) place(ctx context.Context, what string) (seal.Ref, error) {
	return a.placeBy(ctx, a.Keyring, what)
}

// placeBy is place with the secret as it is, or was, for this owner.
func (a *Agent) placeBy(ctx context.Context, by coffer.Owner, what string) (r seal.Ref, err error) {
	derive := func(part string) ([]byte, error) {
		return by.Derive(ctx, "coffer record 2\x00"+a.Space+"\x00"+what+"\x00"+part)
	}
	id, err := derive("id")
	if err != nil {
		return r, err
	}
	key, err := derive("key")
	if err != nil {
		return r, err
	}
	write, err := derive("write")
	if err != nil {
		return r, err
	}
	copy(r.ID[:], id)
	copy(r.Key[:], key)
	copy(r.Write[:], write)
	return r, nil
}

// A view is one state of a vault: what all reads of one call look at.
type view struct {
	a       *Agent
	head    *head
	written *known       // the head as it was found; nil when there is none yet
	by      coffer.Owner // whose secret its places follow from: the newest, or one before (rotate.go)
	stale   bool         // it was written before the keys were rotated
	tree    *tree.Tree
	number  uint64 // of the last change that was read before
	listed  sync.Mutex
	list    *grants // once they were needed
	// sealed is what a commit on the view will write.
	sealed map[coffer.ObjectID]*coffer.Document

	mu    sync.Mutex
	pages map[coffer.ObjectID]*known // those that were loaded: what a commit replaces
}

// look returns the present state. A vault in which nothing was ever kept is empty.
func (a *Agent) look(ctx context.Context) (*view, error) {
	if err := a.refresh(ctx); err != nil {
		return nil, err
	}
	v := &view{a: a, number: a.number(), by: a.Keyring, pages: make(map[coffer.ObjectID]*known)}
	if a.guest != nil {
		if a.guest.folder { // the owner may have changed the keys
			if err := a.try(ctx, func() error { _, err := v.page(ctx, a.guest.root()); return err }); err != nil {
				return nil, err
			}
		}
		v.tree = tree.At(a.guest.root(), v.page)
		return v, nil
	}
	ref, err := a.place(ctx, "head")
	if err != nil {
		return nil, err
	}
	k, err := v.present(ctx, ref)
	switch {
	case errors.Is(err, coffer.NotExist):
		root := seal.NewRef()
		v.head = &head{Type: headType, Version: headVersion, Root: newRefJSON(root)}
		first := tree.NewRoot(root)
		v.tree = tree.At(root, func(ctx context.Context, r seal.Ref) (*tree.Page, error) {
			if r.ID == root.ID {
				return first, nil
			}
			return v.page(ctx, r)
		})
		return v, nil
	case err != nil:
		return nil, gone(err)
	}
	v.written = k
	if v.head, err = decodeHead(k); err != nil {
		return nil, err
	}
	if err := v.compare(ctx); err != nil {
		return nil, err
	}
	if err := a.hear(ctx, v.head.Seen); err != nil {
		return nil, err
	}
	root, err := v.head.Root.ref()
	if err != nil {
		return nil, err
	}
	v.tree = tree.At(root, v.page)
	return v, nil
}

// present returns the head that there is: NotExist when there never was one.
func (v *view) present(ctx context.Context, ref seal.Ref) (*known, error) {
	for again := false; ; again = true {
		k, err := v.a.record(ctx, ref, v.a.mine)
		if errors.Is(err, coffer.NotExist) {
			k, err = v.before(ctx)
		}
		if !errors.Is(err, coffer.NotExist) {
			return k, err
		}
		lost := v.a.absent(ctx, ref.ID, err)
		if lost == nil {
			return nil, err
		}
		// It may have been made after it was looked for, and before the history was. Then it is there now.
		if again || !errors.Is(lost, coffer.Corrupt) {
			return nil, lost
		}
	}
}

// makeHead makes the head of a vault that has none yet, and looks again. What is stored beside commits needs that first:
// a vault with a history and without a head is one that lost it.
func (v *view) makeHead(ctx context.Context) (*view, error) {
	if v.a.guest != nil || v.written != nil {
		return v, nil
	}
	if err := v.a.commit(ctx, func(ctx context.Context, t *txn) error {
		if t.written != nil { // somebody was faster
			return nil
		}
		return t.tree.MakeFolder(ctx, reserved, t.now) // a root page with something in it
	}); err != nil {
		return nil, err
	}
	return v.a.look(ctx)
}

// decodeHead reads a head. Corrupt when it is none; Invalid when a newer program wrote it.
func decodeHead(k *known) (*head, error) {
	var h head
	if err := jose.DecodeOpen(k.opened.Content, &h); err != nil || h.Type != headType {
		return nil, coffer.Errorf("head", coffer.Corrupt, "the vault's head is not what it should be")
	}
	if h.Version != headVersion {
		return nil, coffer.Errorf("head", coffer.Invalid, "the vault was written by a newer program")
	}
	return &h, nil
}

// page is the tree's loader.
func (v *view) page(ctx context.Context, ref seal.Ref) (*tree.Page, error) {
	k, err := v.a.record(ctx, ref, v.writers(ctx, ref, nil))
	if err != nil {
		return nil, gone(err)
	}
	if err := v.a.replaceable(&revision{ref: ref, doc: k.doc}); err != nil {
		return nil, err
	}
	v.mu.Lock()
	v.pages[ref.ID] = k
	v.mu.Unlock()
	k.mu.Lock()
	defer k.mu.Unlock()
	if p, ok := k.decoded.(*tree.Page); ok && p.Ref() == ref {
		return p, nil
	}
	p, err := tree.Decode(ref, k.opened.Content)
	if err == nil {
		k.decoded = p
	}
	return p, err
}
