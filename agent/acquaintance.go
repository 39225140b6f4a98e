package agent

import (
	"context"
	"errors"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/tree"
)

// maxAcquainted bounds how many contacts, and how many groups, are read whether they are needed or not.
const maxAcquainted = 256

// acquaint reads all contacts and groups that are not in memory or in the cache. Each commit does, and whoever needs
// one, so that the vault cannot tell by what is read whether something is granted, to whom, or to how many. What cannot
// be read is left to who needs it.
func (v *view) acquaint(ctx context.Context) {
	if v.a.guest != nil {
		return
	}
	for _, folder := range []string{contactFolder, groupFolder} {
		read := 0
		for n, err := range v.tree.List(ctx, folder) {
			if err != nil || read == maxAcquainted || ctx.Err() != nil {
				break
			}
			if v.sealed[n.Ref.ID] == nil && n.Type != TypeFolder {
				_, _ = v.own(ctx, n)
			}
			read++
		}
	}
}

// own reads one of the agent's own objects, which a folder names: from memory or the cache if that is the present one.
func (v *view) own(ctx context.Context, n tree.Node) (*revision, error) {
	k, err := v.a.record(ctx, n.Ref, v.a.mine)
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return nil, err
	}
	if err == nil && k.doc.Sequence == n.Sequence && k.rev == n.Rev {
		return k.revision, nil
	}
	return v.a.readNode(ctx, v, n)
}
