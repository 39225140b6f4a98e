package agent

import (
	"context"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
)

// single reports whether the agent is a guest's who was given one object: its path is "", and there are no folders.
func (a *Agent) single() bool { return a.guest != nil && !a.guest.folder }

// singleTarget returns where such a guest stores, and what is there now.
func (a *Agent) singleTarget(ctx context.Context, path string, over *Info) (ref seal.Ref, there *revision,
	err error) {
	if path != "" {
		return ref, nil, coffer.Errorf("put", coffer.NotExist, "what was shared is no folder")
	}
	n, r, err := a.node(ctx)
	if err != nil {
		return ref, nil, err
	}
	if over != nil && (over.ID != n.Ref.ID || over.Sequence != r.doc.Sequence) {
		return ref, nil, coffer.Errorf("put", coffer.Conflict, "something else is there")
	}
	return n.Ref, r, nil
}

// eraseNode makes the end of what a folder names part of the commit. A guest is admitted to that by its secrets.
func (t *txn) eraseNode(n tree.Node) {
	if t.a.guest != nil {
		t.a.guest.meet(n.Ref)
	}
	t.erase(n.Ref.ID)
}
