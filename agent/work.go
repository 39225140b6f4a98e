package agent

import (
	"context"
	"errors"
	"path"
	"slices"

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

	Object  bool `json:"object,omitzero"`  // the content of a single object
	Spoiled bool `json:"spoiled,omitzero"` // it could not be read, and has its old keys still
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
		} else if errors.Is(err, coffer.Corrupt) {
			path, j.Spoiled = j.Path, true
		} else if err != nil {
			return nil, err
		}
		left := 1
		if n.Type == TypeFolder && !j.Spoiled {
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
			case errors.Is(err, coffer.Corrupt):
				n++ // whatever is in it
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
//
// What cannot be read, as who could write it may have spoiled it, is passed over, and the error is Corrupt in the end;
// it has its old keys until it can be read, or is removed.
func (a *Agent) Work(ctx context.Context, progress func(done, left int)) error {
	if progress == nil {
		progress = func(done, left int) {}
	}
	type key struct {
		scope coffer.ObjectID
		epoch uint64
	}
	passed := make(map[key]bool)
	var w *worker
	var spoiled error
	left, torn := 0, 0
	for {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		v, err := a.look(ctx)
		if err != nil || v.head == nil {
			return err
		}
		i := slices.IndexFunc(v.head.Jobs, func(j job) bool { return !passed[key{j.Scope, j.Epoch}] })
		if i < 0 {
			return spoiled
		}
		j := v.head.Jobs[i]
		if w == nil || j.Scope != w.job.Scope || j.Epoch != w.job.Epoch {
			w, left = &worker{a: a, skip: make(map[coffer.ObjectID]bool)}, 1
			if at, n, err := v.jobPath(ctx, j); err == nil && n.Type == TypeFolder && !j.Spoiled {
				if left, err = v.due(ctx, at, j.Epoch); err != nil {
					return err
				}
			}
			progress(j.Done, left)
		}
		w.job = j
		done, err := w.step(ctx, v)
		left = max(0, left-done)
		switch {
		case errors.Is(err, coffer.Corrupt) && a.torn(ctx, v.number, torn, err):
			torn++
		case errors.Is(err, coffer.Corrupt):
			passed[key{j.Scope, j.Epoch}], spoiled = true, err
		case err != nil:
			return err
		default:
			progress(j.Done+done, left)
		}
	}
}

// A worker does one job.
type worker struct {
	a       *Agent
	job     job
	skip    map[coffer.ObjectID]bool // what cannot be read
	spoiled error                    // and why
}

// pass passes over an object that cannot be read. It reports false for other errors.
func (w *worker) pass(id coffer.ObjectID, err error) bool {
	switch {
	case errors.Is(err, coffer.Corrupt):
		w.spoiled = err
	case !errors.Is(err, coffer.NotExist):
		return false
	}
	w.skip[id] = true
	return true
}

// step does a part of the job and returns how many objects are done with it. Corrupt when only what cannot be read is
// left.
func (w *worker) step(ctx context.Context, v *view) (done int, err error) {
	a, j := w.a, w.job
	path, n, err := v.jobPath(ctx, j)
	switch {
	case errors.Is(err, coffer.NotExist):
		return 0, a.finish(ctx, j)
	case err != nil:
		return 0, err
	case j.Spoiled: // a commit takes it off the list if it can
		if err := a.commit(ctx, func(context.Context, *txn) error { return nil }); err != nil {
			return 0, err
		}
		if v, err = a.look(ctx); err == nil && slices.Contains(v.head.Jobs, j) {
			err = coffer.Errorf("work", coffer.Corrupt, "what was shared cannot be read")
		}
		return 0, err
	case n.Type != TypeFolder:
		if err := a.renewStream(ctx, path, n.Ref.ID, j.Epoch); err != nil && !errors.Is(err, coffer.NotExist) {
			return 0, err
		}
		return 1, a.finish(ctx, j)
	}
	limit := workBatch + len(w.skip)
	found, more, err := v.tree.Due(ctx, path, limit)
	if err != nil {
		return 0, err
	}
	found = slices.DeleteFunc(found, func(f tree.Found) bool { return w.skip[f.Node.Ref.ID] })
	revisions, err := w.readAll(ctx, v, found)
	if err != nil {
		return 0, err
	}
	var streams []tree.Found
	if err := a.commit(ctx, func(ctx context.Context, t *txn) error {
		streams, done = nil, 0
		// Going through them gives the pages on the way their new keys.
		now, _, err := t.tree.Due(ctx, path, limit)
		if err != nil {
			return err
		}
		for _, f := range now {
			i := slices.IndexFunc(found, func(o tree.Found) bool { return o.Node.Ref == f.Node.Ref })
			if i < 0 || revisions[i] == nil {
				continue // somebody wrote meanwhile, and it is due the next time; or it cannot be read
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
		err := a.renewStream(ctx, f.Path, f.Node.Ref.ID, j.Epoch)
		if err != nil && !w.pass(f.Node.Ref.ID, err) {
			return done, err
		}
		done++
	}
	switch {
	case more || len(found) > 0:
		return done, nil
	case w.spoiled != nil:
		return done, w.spoiled
	}
	return done, a.finish(ctx, j)
}

// readAll reads the present revisions of objects, several at once; nil for one that is gone or cannot be read.
func (w *worker) readAll(ctx context.Context, v *view, found []tree.Found) ([]*revision, error) {
	if _, err := v.grants(ctx); err != nil { // all of the workers need them, and a view is for one at a time
		return nil, err
	}
	out := make([]*revision, len(found))
	errs := make([]error, len(found))
	w.a.several(len(found), func(i int) { out[i], errs[i] = w.a.readNode(ctx, v, found[i].Node) })
	for i, err := range errs {
		if err != nil && !w.pass(found[i].Node.Ref.ID, err) {
			return nil, err
		}
	}
	return out, nil
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
