package agent

import (
	"context"
	"testing"
	"time"

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

// Forge returns the next revision of what is at a path, as a guest's program makes it that gives it another time.
func (a *Agent) Forge(ctx context.Context, t testing.TB, path string, at time.Time) *coffer.Document {
	v, err := a.look(ctx)
	if err != nil {
		t.Fatal(err)
	}
	x := v.change()
	ref, there, err := x.target(ctx, path, TypeFile, nil)
	if err != nil {
		t.Fatal(err)
	}
	d, err := x.sealAs(ctx, ref, there, seal.Plain{Content: there.opened.Content}, seal.ObjectOptions{Time: at})
	if err != nil {
		t.Fatal(err)
	}
	return d
}
