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
}

// A getJob is one file of a folder.
type getJob struct {
	info agent.Info
	name string // below OUT
}

// folder writes what is in a folder into OUT.
func (c *getCommand) folder(ctx context.Context, t *transfer, folder string) error {
	if c.Out == "" {
		if c.Out = t.at.name(folder); c.Out == "" {
			return failed(coffer.Invalid, "give the folder to write into", "the vault as a whole has no name")
		}
	}
	g, err := c.into(t)
	if err != nil {
		return err
	}
	defer g.root.Close()
	return g.run(ctx, c.Path, func(yield func(getJob) bool) error {
		for i, err := range t.at.agent.Walk(ctx, folder) {
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
	small, large := make(chan getJob, waitingFiles), make(chan getJob, waitingFiles)
	var workers sync.WaitGroup
	for n := range smallFilesAtOnce/2 + filesAtOnce {
		todo := small
		if n < filesAtOnce {
			todo = large
		}
		workers.Go(func() {
			for j := range todo {
				if ctx.Err() != nil {
					continue
				}
				if err := g.one(ctx, j); err != nil {
					cancel(err)
				}
			}
		})
	}
	err := jobs(func(j getJob) bool {
		todo := small
		if j.info.Size > agent.MaxInline && !j.info.IsFolder() {
			todo = large
		}
		select {
		case todo <- j:
			return true
		case <-ctx.Done():
			return false
		}
	})
	close(small)
	close(large)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	g.bar.done()
	if err != nil {
		return g.at.explain(err, "", "cannot get %s", shown(what))
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
	object, err := g.at.agent.Get(ctx, j.info.Path)
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
		return writeJSON(g.program.stdout, fetched{g.at.item(object.Info), path.Join(g.out, j.name)})
	}
	return nil
}
