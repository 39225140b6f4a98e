package agent

import (
	"context"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// PlaceOf returns the id of one of the agent's own records.
func (a *Agent) PlaceOf(ctx context.Context, what string) coffer.ObjectID {
	r, err := a.place(ctx, what)
	if err != nil {
		panic(err)
	}
	return r.ID
}

// RootOf returns the id of the tree's root page.
func (a *Agent) RootOf(ctx context.Context) coffer.ObjectID { return a.RefOf(ctx, "").ID }

// RefOf returns what opens what is at the path.
func (a *Agent) RefOf(ctx context.Context, path string) seal.Ref {
	v, err := a.look(ctx)
	if err != nil {
		panic(err)
	}
	if path == "" {
		return v.tree.Root()
	}
	n, err := v.tree.Get(ctx, path)
	if err != nil {
		panic(err)
	}
	return n.Ref
}
