package agent

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
)

// RevokeOptions say which grants are taken back: all those that meet every condition given.
type RevokeOptions struct {
	Path  string // of what was granted: its own grants, not those of folders that hold it
	Type  string // what was granted by type; Path is then empty
	With  string // identifier of the reader
	Group string
	ID    string // of one grant
}

// Revoke takes grants back and returns them. When it returns, the vault refuses the readers, and nothing that is stored
// from then on opens for them: what was granted has new keys, which those who keep access are sent. A signed statement
// says what could be read until then. What is present in a folder is encrypted anew by [Agent.Work].
//
// NotExist if no such grant lasts.
func (a *Agent) Revoke(ctx context.Context, o RevokeOptions) (ended []*Grant, err error) {
	if a.guest != nil || a.Revoker == nil {
		return nil, coffer.Errorf("revoke", coffer.Invalid, "needs a vault of one's own, and its API")
	}
	v, err := a.look(ctx)
	if err != nil {
		return nil, err
	}
	list, err := v.wanted(ctx, o)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, coffer.Errorf("revoke", coffer.NotExist, "no such grant lasts")
	}
	// The vault first: access ends with that, whatever happens to this process.
	for _, g := range list {
		_, _, capability, err := a.capability(ctx, g)
		if err != nil {
			return nil, err
		}
		if err := a.Revoker.Revoke(ctx, capability); err != nil && !errors.Is(err, coffer.NotExist) {
			return nil, err
		}
	}
	return a.end(ctx, list, revoked)
}

// wanted returns the lasting grants that the options mean.
func (v *view) wanted(ctx context.Context, o RevokeOptions) (out []*grantRecord, err error) {
	list, err := v.grants(ctx)
	if err != nil {
		return nil, err
	}
	var scope, source coffer.ObjectID
	switch {
	case o.Type != "":
		n, err := v.tree.Get(ctx, typePath(o.Type))
		if err != nil {
			return nil, err
		}
		scope = n.Ref.ID
	case o.Path != "":
		path, err := v.a.objectPath(o.Path)
		if err != nil {
			return nil, err
		}
		n, err := v.tree.Get(ctx, path)
		if err != nil {
			return nil, err
		}
		scope, source = n.Ref.ID, n.Ref.ID
	case o.ID == "" && o.With == "" && o.Group == "":
		return nil, coffer.Errorf("revoke", coffer.Invalid, "nothing says which grants are meant")
	}
	for _, g := range list.all {
		if g.lasts() && (scope == coffer.ObjectID{} || g.Scope == scope || g.Source == source && g.Source != coffer.ObjectID{}) &&
			(o.With == "" || g.With == o.With) && (o.Group == "" || g.Group == o.Group) && (o.ID == "" || g.ID == o.ID) {
			out = append(out, g)
		}
	}
	return out, nil
}

// end records that grants are over, and gives what they were for new keys.
func (a *Agent) end(ctx context.Context, which []*grantRecord, reason string) (ended []*Grant, err error) {
	err = a.commit(ctx, func(ctx context.Context, t *txn) error {
		ended = nil
		list, err := t.grants(ctx)
		if err != nil {
			return err
		}
		scopes := make(map[coffer.ObjectID]*grantRecord)
		for _, w := range which {
			g := list.byID[w.ID]
			if g == nil || !g.lasts() {
				continue
			}
			if err := t.endGrant(ctx, g, reason); err != nil {
				return err
			}
			scopes[g.Scope] = g
			ended = append(ended, g.grant())
		}
		for _, g := range scopes {
			if err := t.rekey(ctx, g); err != nil {
				return err
			}
		}
		return nil
	})
	return ended, err
}

// endGrant makes the signed end of a grant part of the commit.
func (t *txn) endGrant(ctx context.Context, g *grantRecord, reason string) error {
	e := &ending{
		At: t.now.Truncate(time.Millisecond), Reason: reason, To: t.a.feed.history.size(), By: t.a.Keyring.DID(),
	}
	var err error
	if e.Statement, err = t.a.sign(ctx, e.of(g)); err != nil {
		return err
	}
	g.Ending = e
	t.changedGrant(g)
	return t.empty(ctx, g)
}

// rekey gives what a grant was for new keys: an object's document at once, a folder's pages at once and what they hold
// by and by.
func (t *txn) rekey(ctx context.Context, g *grantRecord) error {
	path, err := t.find(ctx, g)
	switch {
	case err == nil && g.Source != (coffer.ObjectID{}): // an excerpt goes with its grant
		t.erase(g.Scope)
		return t.tree.Remove(ctx, path)
	case err == nil:
		err = t.withdraw(ctx, path)
	}
	switch {
	case errors.Is(err, coffer.NotExist):
		return nil // it is gone
	case errors.Is(err, coffer.Corrupt):
		// Whoever could write it may have spoiled it, and must not keep the owner from all else. As long as it cannot be
		// read, nothing is stored there either.
		t.addJob(job{Scope: g.Scope, Path: g.Path, Epoch: t.next.Epoch, Spoiled: true})
		return nil
	}
	return err
}

// retry gives what could not be read when it was to have new keys those keys, if it can be read now.
func (t *txn) retry(ctx context.Context) error {
	for _, j := range t.head.Jobs {
		if !j.Spoiled {
			continue
		}
		path, err := t.find(ctx, &grantRecord{Scope: j.Scope, Path: j.Path})
		if err == nil {
			err = t.withdraw(ctx, path)
		}
		switch {
		case errors.Is(err, coffer.Corrupt):
			continue
		case err != nil && !errors.Is(err, coffer.NotExist):
			return err
		}
		t.touched = true
		t.next.Jobs = slices.DeleteFunc(slices.Clone(t.next.Jobs), func(o job) bool { return o == j })
	}
	return nil
}

// maxJobs is how many folders wait one by one to be encrypted anew. If there are more, the root does for all of them:
// what is due is noted in the pages on the way to it.
const maxJobs = 16

// addJob makes work part of the commit, instead of what was to be done of the same already.
func (t *txn) addJob(j job) {
	jobs := slices.DeleteFunc(slices.Clone(t.next.Jobs), func(o job) bool { return o.Scope == j.Scope })
	jobs = append(jobs, j)
	folder := func(o job) bool { return !o.Spoiled && !o.Object }
	folders, others := 0, 0
	for _, o := range jobs {
		if folder(o) {
			folders++
		} else {
			others++
		}
	}
	if folders > maxJobs {
		jobs = append(slices.DeleteFunc(jobs, folder), job{Scope: t.tree.Root().ID, Epoch: t.next.Epoch})
	}
	for i := range jobs {
		if others > maxJobs { // the head is small: they are looked for instead
			jobs[i].Path = ""
		}
	}
	t.next.Jobs = jobs
}

// withdraw begins an epoch for what is at the path: an object's document gets new keys at once, and so do a folder's
// pages; what a folder holds, and an object's stream, by and by.
func (t *txn) withdraw(ctx context.Context, path string) error {
	t.next.Epoch++
	n, err := t.tree.Get(ctx, path)
	if err != nil {
		return err
	}
	work := job{Scope: n.Ref.ID, Path: path, Epoch: t.next.Epoch}
	if n.Type == TypeFolder {
		if err := t.tree.Renew(ctx, path, t.next.Epoch); err != nil {
			return err
		}
		t.addJob(work)
		return nil
	}
	r, err := t.a.readNode(ctx, t.view, n)
	if err != nil {
		return gone(err)
	}
	if r.opened.Stream != nil {
		work.Object = true
		t.addJob(work)
	}
	return t.renewed(ctx, path, n, r, t.next.Epoch, r.stream())
}

// renewed seals what is present of an object anew, under new keys, with this stream.
func (t *txn) renewed(ctx context.Context, path string, n tree.Node, r *revision, epoch uint64, s *seal.Stream) error {
	due, err := t.tree.EpochFor(ctx, path)
	if err != nil {
		return err
	}
	epoch = max(epoch, due) // somebody may have been cut off again since
	opts := seal.ObjectOptions{Origin: r.origin(), Time: t.now}
	if opts.Blind, opts.Keep, err = t.blinded(ctx, path, r); err != nil {
		return err
	}
	ref := n.Ref.Renewed()
	d, err := t.sealAs(ctx, ref, r, seal.Plain{Content: r.opened.Content, Stream: s}, opts)
	if err != nil {
		return err
	}
	t.write(ref, d)
	n.Ref, n.Epoch, n.Sequence, n.Rev = ref, epoch, d.Sequence, d.Rev()
	if err := t.tree.Put(ctx, path, n); err != nil {
		return err
	}
	return t.relink(ctx, path, n)
}

// relink keeps the other entry of an object that has two what the one at the path is: the object's own in its folder,
// and the one in the folder of its type.
func (t *txn) relink(ctx context.Context, path string, n tree.Node) error {
	if t.a.guest != nil {
		return nil
	}
	if !tree.Within(path, typePath(n.Type)) {
		return t.linked(ctx, n, false)
	}
	x, err := t.a.index(&t.next)
	if err != nil {
		return err
	}
	own, err := x.Path(ctx, n.Ref.ID)
	if errors.Is(err, coffer.NotExist) {
		return nil
	} else if err != nil {
		return err
	}
	n.Name = tree.Base(own)
	return t.tree.Put(ctx, own, n)
}

// expire ends the grants whose time is over, before anything else is written: nothing that is stored afterwards opens
// for their readers.
func (t *txn) expire(ctx context.Context) error {
	list, err := t.grants(ctx)
	if err != nil {
		return err
	}
	scopes := make(map[coffer.ObjectID]*grantRecord)
	for _, g := range list.all {
		if !g.lasts() || t.now.Before(g.Until) {
			continue
		}
		if err := t.endGrant(ctx, g, expired); err != nil {
			return err
		}
		scopes[g.Scope] = g
	}
	for _, g := range scopes {
		if err := t.rekey(ctx, g); err != nil {
			return err
		}
	}
	return nil
}
