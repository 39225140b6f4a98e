package main

import (
	"context"
	"errors"
	"os"
	"path"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// A folderGet writes the files of a folder, several at once.
type folderGet struct {
	*transfer
	root *os.Root
	out  string
	get  func(context.Context, agent.Info) (*agent.Object, error)
}

// A getJob is one file of a folder.
type getJob struct {
	info agent.Info
	name string // below OUT
}

// folder writes what the owner keeps in a folder into OUT.
func (c *getCommand) folder(ctx context.Context, t *transfer, folder string) error {
	g, err := c.into(t)
	if err != nil {
		return err
	}
	defer g.root.Close()
	g.get = func(ctx context.Context, i agent.Info) (*agent.Object, error) { return t.owner.Get(ctx, i.Path) }
	return g.run(ctx, folder, func(yield func(getJob) bool) error {
		for i, err := range t.owner.Walk(ctx, folder) {
			if err != nil {
				return err
			}
			if !yield(getJob{i, inside(i.Path, folder)}) {
				return nil
			}
		}
		return nil
	})
}

// shared writes the objects of a link into OUT, below it as they are below the folder that holds them all.
func (c *getCommand) shared(ctx context.Context, t *transfer, guest *agent.Agent, l *agent.Link) error {
	var found []agent.Info
	var paths []string
	for _, s := range l.Objects {
		object, err := guest.GetID(ctx, s.ID)
		if errors.Is(err, coffer.NotExist) {
			t.note("one of the objects is gone, or not shared any more")
			continue
		}
		if err != nil {
			return explain(err, "", "cannot get what was shared")
		}
		found, paths = append(found, object.Info), append(paths, object.Path)
	}
	if len(found) == 0 {
		return explainShare(coffer.NotExist)
	}
	g, err := c.into(t)
	if err != nil {
		return err
	}
	defer g.root.Close()
	g.get = func(ctx context.Context, i agent.Info) (*agent.Object, error) { return guest.GetID(ctx, i.ID) }
	folder := sharedFolder(paths)
	return g.run(ctx, "what was shared", func(yield func(getJob) bool) error {
		for _, i := range found {
			name := inside(i.Path, folder)
			if name == "" {
				name = i.ID.String() + ".json"
			}
			if !yield(getJob{i, name}) {
				return nil
			}
		}
		return nil
	})
}

// into opens OUT, making it if there is nothing.
func (c *getCommand) into(t *transfer) (*folderGet, error) {
	if c.Out == "-" {
		return nil, failed(coffer.Invalid, "give a folder to write into", "a folder cannot go to standard output")
	}
	err := os.MkdirAll(c.Out, 0o777)
	var root *os.Root
	if err == nil {
		root, err = os.OpenRoot(c.Out)
	}
	if err != nil {
		return nil, failed(kindOf(err), "", "cannot write into %s: %v", c.Out, withoutPath(err))
	}
	return &folderGet{transfer: t, root: root, out: c.Out}, nil
}

// run writes all that the jobs name.
func (g *folderGet) run(ctx context.Context, what string, jobs func(yield func(getJob) bool) error) error {
	g.bar = g.program.progress(shown(what), -1)
	defer g.bar.done()
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	todo := make(chan getJob)
	var workers sync.WaitGroup
	for range filesAtOnce {
		workers.Go(func() {
			for j := range todo {
				if err := g.one(ctx, j); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := jobs(func(j getJob) bool {
		select {
		case todo <- j:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(todo)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	g.bar.done()
	if err != nil {
		return explain(err, "", "cannot get %s", shown(what))
	}
	if !g.program.JSON && !g.program.Quiet {
		if err := g.program.result(nil, "wrote %s, %s into %s", filesText(g.files), bytesText(g.bytes),
			printable(g.out)); err != nil {
			return err
		}
	}
	if g.failed != nil {
		return failed(kindOf(g.failed), "see above", "not written: %s", filesText(g.failures))
	}
	return nil
}

// one writes a file or makes a folder. What fails on this machine, or changes meanwhile, is reported, and the others go
// on; other failures are returned.
func (g *folderGet) one(ctx context.Context, j getJob) error {
	err := g.write(ctx, j)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case local(err):
		g.complain(failed(kindOf(err), "", "cannot write %s: %v", j.name, withoutPath(err)))
		return nil
	case errors.Is(err, coffer.NotExist), errors.Is(err, coffer.Conflict):
		g.complain(explain(err, "", "cannot get %s", j.name))
		return nil
	}
	return explain(err, "", "cannot get %s", j.name)
}

func (g *folderGet) write(ctx context.Context, j getJob) error {
	if j.info.IsFolder() {
		return g.root.MkdirAll(j.name, 0o777)
	}
	if err := g.root.MkdirAll(path.Dir(j.name), 0o777); err != nil {
		return err
	}
	object, err := g.get(ctx, j.info)
	if err != nil {
		return err
	}
	if err := g.save(ctx, object, g.root, j.name); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.files++
	g.bytes += object.Size
	if g.program.JSON {
		return writeJSON(g.program.stdout, fetched{newItem(object.Info), path.Join(g.out, j.name)})
	}
	return nil
}
