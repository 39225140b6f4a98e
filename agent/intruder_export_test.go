package agent

import (
	"context"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
)

// NodeAt returns what a folder says of a path.
func (a *Agent) NodeAt(ctx context.Context, path string) (tree.Node, error) {
	v, err := a.look(ctx)
	if err != nil {
		return tree.Node{}, err
	}
	return v.tree.Get(ctx, path)
}

// Plant puts an entry of the caller's making at a path, as a writer can whose program is not this one.
func (a *Agent) Plant(ctx context.Context, path string, n tree.Node) error {
	return a.commit(ctx, func(ctx context.Context, t *txn) error { return t.tree.Put(ctx, path, n) })
}

// Spoil stores, in the place of an object, one that opens for nobody.
func (a *Agent) Spoil(ctx context.Context, ref seal.Ref) error {
	if a.guest != nil {
		a.guest.meet(ref)
	}
	docs, err := a.Vault.Get(ctx, ref.ID)
	if err != nil {
		return err
	}
	other := ref
	other.Key = seal.NewRef().Key
	d, err := seal.SealObject(ctx, seal.Plain{Content: []byte("{}")}, seal.ObjectOptions{
		Ref: other, Sequence: docs[0].Sequence + 1, Parents: []coffer.Rev{docs[0].Rev()}, Author: a.Keyring, Time: a.Now(),
	})
	if err != nil {
		return err
	}
	_, err = a.Vault.Apply(ctx, coffer.Write{Document: d})
	return err
}

// Destroy erases an object and leaves the entry of it.
func (a *Agent) Destroy(ctx context.Context, ref seal.Ref) error {
	if a.guest != nil {
		a.guest.meet(ref)
	}
	_, err := a.Vault.Apply(ctx, coffer.Write{Erase: ref.ID})
	return err
}
