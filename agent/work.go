package agent

import (
	"context"
	"errors"
	"path"
	"slices"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
	"github.com/cofferhq/coffer/agent/tree"
)

// A job is a folder or an object that is being encrypted anew. It stands in the head, so that any device can go on.
type job struct {
	Scope coffer.ObjectID `json:"scope"`
	Path  string          `json:"path"`
	Epoch uint64          `json:"epoch"`
	Done  int             `json:"done,omitzero"` // objects
}

// A Job is work that goes on in the background: what was revoked or expired is encrypted anew.
type Job struct {
	Path string // of what was shared
	Done int    // objects that are done
	Left int    // objects that are not, as far as is known
}

// Jobs returns the work that is left.
func (a *Agent) Jobs(ctx context.Context) (jobs []Job, err error) {
	v, err := a.look(ctx)
	if err != nil || v.head == nil {
		return nil, err
	}
	for _, j := range v.head.Jobs {
		path, n, err := v.jobPath(ctx, j)
		if errors.Is(err, coffer.NotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		left := 1
		if n.Type == TypeFolder {
			if left, err = v.due(ctx, path, j.Epoch); err != nil {
				return nil, err
			}
		}
		jobs = append(jobs, Job{Path: path, Done: j.Done, Left: left})
	}
	return jobs, nil
}

// due counts the objects below a folder whose keys are of an earlier epoch.
func (v *view) due(ctx context.Context, folder string, epoch uint64) (n int, err error) {
	for waiting := []string{folder}; len(waiting) > 0; {
		next := waiting[len(waiting)-1]
		waiting = waiting[:len(waiting)-1]
		for node, err := range v.tree.List(ctx, next) {
			switch {
			case err != nil:
				return 0, err
			case node.Type == TypeFolder:
				waiting = append(waiting, path.Join(next, node.Name))
			case node.Epoch < epoch:
				n++
			}
		}
	}
	return n, nil
}

func (v *view) jobPath(ctx context.Context, j job) (string, tree.Node, error) {
	path, err := v.find(ctx, &grantRecord{Scope: j.Scope, Path: j.Path})
	if err != nil {
		return "", tree.Node{}, err
	}
	n, err := v.tree.Get(ctx, path)
	return path, n, err
}

// workBatch is how many small objects are encrypted anew in one commit.
const workBatch = 128

// Work encrypts anew what grants that are over had been for, until nothing is left. It may be interrupted at any time
// and goes on with the next call, here or on another device. Progress, if not nil, is called with the objects that are
// done and those left.
func (a *Agent) Work(ctx context.Context, progress func(done, left int)) error {
	if progress == nil {
		progress = func(done, left int) {}
	}
	var current job
	left := 0
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		v, err := a.look(ctx)
		if err != nil || v.head == nil || len(v.head.Jobs) == 0 {
			return err
		}
		j := v.head.Jobs[0]
		if j.Scope != current.Scope || j.Epoch != current.Epoch {
			current, left = j, 1
			if at, n, err := v.jobPath(ctx, j); err == nil && n.Type == TypeFolder {
				if left, err = v.due(ctx, at, j.Epoch); err != nil {
					return err
				}
			}
			progress(j.Done, left)
		}
		done, err := a.step(ctx, v, j)
		if err != nil {
			return err
		}
		left = max(0, left-done)
		progress(j.Done+done, left)
	}
}

// step does a part of a job and returns how many objects are done with it.
func (a *Agent) step(ctx context.Context, v *view, j job) (done int, err error) {
	path, n, err := v.jobPath(ctx, j)
	if errors.Is(err, coffer.NotExist) {
		return 0, a.finish(ctx, j)
	} else if err != nil {
		return 0, err
	}
	if n.Type != TypeFolder {
		if err := a.renewStream(ctx, path, n.Ref.ID, j.Epoch); err != nil {
			return 0, err
		}
		return 1, a.finish(ctx, j)
	}
	found, more, err := v.tree.Due(ctx, path, workBatch)
	if err != nil {
		return 0, err
	}
	revisions, err := a.readAll(ctx, v, found)
	if err != nil {
		return 0, err
	}
	var streams []tree.Found
	if err := a.commit(ctx, func(ctx context.Context, t *txn) error {
		streams, done = nil, 0
		// Going through them gives the pages on the way their new keys.
		now, _, err := t.tree.Due(ctx, path, workBatch)
		if err != nil {
			return err
		}
		for _, f := range now {
			i := slices.IndexFunc(found, func(o tree.Found) bool { return o.Node.Ref == f.Node.Ref })
			if i < 0 || revisions[i] == nil {
				continue // somebody wrote meanwhile: it is due the next time
			}
			r := revisions[i]
			if r.opened.Stream != nil {
				streams = append(streams, f)
				continue
			}
			if err := t.renewed(ctx, f.Path, f.Node, r, j.Epoch, nil); err != nil {
				return err
			}
			done++
		}
		return t.progressed(j, done)
	}); err != nil {
		return 0, err
	}
	for _, f := range streams {
		if err := a.renewStream(ctx, f.Path, f.Node.Ref.ID, j.Epoch); err != nil {
			return done, err
		}
		done++
	}
	if !more && len(found) == 0 {
		return done, a.finish(ctx, j)
	}
	return done, nil
}

// readAll reads the present revisions of objects, several at once; nil for one that is gone.
func (a *Agent) readAll(ctx context.Context, v *view, found []tree.Found) ([]*revision, error) {
	out := make([]*revision, len(found))
	errs := make([]error, len(found))
	next := make(chan int)
	var workers sync.WaitGroup
	for range 2 * a.Workers {
		workers.Go(func() {
			for i := range next {
				out[i], errs[i] = a.readNode(ctx, v, found[i].Node)
				if errors.Is(errs[i], coffer.NotExist) {
					errs[i] = nil
				}
			}
		})
	}
	for i := range found {
		next <- i
	}
	close(next)
	workers.Wait()
	return out, errors.Join(errs...)
}

// progressed counts objects of a job as done.
func (t *txn) progressed(j job, n int) error {
	t.next.Jobs = slices.Clone(t.next.Jobs)
	for i := range t.next.Jobs {
		if t.next.Jobs[i].Scope == j.Scope && t.next.Jobs[i].Epoch == j.Epoch {
			t.next.Jobs[i].Done += n
			t.touched = true
		}
	}
	return nil
}

// finish takes a job off the list.
func (a *Agent) finish(ctx context.Context, j job) error {
	return a.commit(ctx, func(_ context.Context, t *txn) error {
		t.next.Jobs = slices.DeleteFunc(slices.Clone(t.next.Jobs), func(o job) bool {
			return o.Scope == j.Scope && o.Epoch == j.Epoch
		})
		t.touched = true
		return nil
	})
}

// renewStream stores a file's content anew, under a key that nobody had.
func (a *Agent) renewStream(ctx context.Context, path string, id coffer.ObjectID, epoch uint64) error {
	o, err := a.objectAt(ctx, path)
	if err != nil {
		return err
	}
	if o.ID != id || o.stream == nil {
		return nil // replaced meanwhile, with other keys
	}
	return a.reupload(ctx, path, o, func(ctx context.Context, t *txn, n tree.Node, r *revision, s *seal.Stream) error {
		return t.renewed(ctx, path, n, r, epoch, s)
	})
}
