package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent"
)

// A folderPut stores a folder: one goroutine walks it, others store the files.
type folderPut struct {
	*transfer
	root         *os.Root
	small, large chan putJob
}

// A putJob is one file of a folder, or a folder with nothing in it.
type putJob struct {
	name   string // below the folder
	dest   string
	folder bool
	there  agent.Info // what is there already
}

// waitingFiles is how many files may be found before they are stored: small ones need not wait for large ones.
const waitingFiles = 1024

// folder stores the source, a folder, as the folder DEST.
func (c *putCommand) folder(ctx context.Context, t *transfer) (err error) {
	if t.at.whole() {
		return failed(coffer.Invalid, "give a file", "what was shared is no folder")
	}
	dest, err := agent.CleanPath(t.at.path)
	if err != nil {
		return explain(err, "", "cannot keep anything under %q", t.at.path)
	}
	root, err := os.OpenRoot(c.Source)
	if err != nil {
		return failed(kindOf(err), "", "cannot read %s: %v", c.Source, withoutPath(err))
	}
	defer root.Close()
	if t.bar = t.program.progress(c.Source, -1); t.bar != nil {
		t.bar.total(folderSize(ctx, root))
	}
	defer t.bar.done()
	there, err := t.at.agent.Stat(ctx, dest)
	if err == nil && !there.IsFolder() {
		return failed(coffer.Conflict, "remove it first, or take another name", "there is a file at %s", dest)
	}
	if err != nil && !errors.Is(err, coffer.NotExist) {
		return t.at.explain(err, "", "cannot look at %s", shown(dest))
	}
	if len(t.share) > 0 {
		if err := t.shareFolder(ctx, dest); err != nil {
			return err
		}
	}

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	u := &folderPut{
		transfer: t, root: root, small: make(chan putJob, waitingFiles), large: make(chan putJob, waitingFiles),
	}
	var workers sync.WaitGroup
	for n := range smallFilesAtOnce + filesAtOnce {
		jobs := u.small
		if n >= smallFilesAtOnce {
			jobs = u.large
		}
		workers.Go(func() {
			for j := range jobs {
				if ctx.Err() != nil {
					continue
				}
				if err := u.one(ctx, j); err != nil {
					cancel(err)
				}
			}
		})
	}
	err = u.walk(ctx, ".", dest, err == nil)
	close(u.small)
	close(u.large)
	workers.Wait()
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	t.bar.done()
	if err != nil {
		return t.at.explain(err, "", "cannot store %s", c.Source)
	}
	if !t.program.JSON && !t.program.Quiet {
		if err := t.program.result(nil, "stored %s, %s in %s (%d more unchanged)", filesText(t.files), bytesText(t.bytes),
			printable(shown(t.at.prefix+dest)), t.unchanged); err != nil {
			return err
		}
	}
	if t.failed != nil {
		return failed(kindOf(t.failed), "see above, and run the same command again", "not stored: %s", filesText(t.failures))
	}
	return nil
}

// shareFolder makes the folder, shares it, and writes the links: what is stored then, its readers have at once.
func (t *transfer) shareFolder(ctx context.Context, dest string) error {
	if dest == "" {
		return failed(coffer.Invalid, "put it into a folder", "the vault as a whole cannot be shared")
	}
	if err := t.at.agent.MkdirAll(ctx, dest); err != nil {
		return explain(err, "", "cannot make the folder %s", dest)
	}
	shares, err := t.at.agent.Share(ctx, dest, t.share...)
	if err != nil {
		return explain(err, "", "cannot share %s", dest)
	}
	t.share = nil // not each file by itself
	t.bar.clear()
	for _, s := range shares {
		if err := t.links([]link{{s.With, t.owner.callName(ctx, s.With), s.Link}}); err != nil {
			return err
		}
	}
	return nil
}

// walk hands out the files of a folder and of those below it. Exists says whether the vault has the folder already.
func (u *folderPut) walk(ctx context.Context, dir, dest string, exists bool) error {
	entries, err := fs.ReadDir(u.root.FS(), dir)
	if err != nil {
		u.complain(failed(kindOf(err), "", "cannot read the folder %s: %v", dir, withoutPath(err)))
	}
	there := make(map[string]agent.Info)
	if exists {
		for info, err := range u.at.agent.List(ctx, dest) {
			if err != nil {
				return err
			}
			there[info.Name()] = info
		}
	}
	holds := exists // something, so that the folder is made with that
	for _, e := range entries {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		name, to := path.Join(dir, e.Name()), path.Join(dest, e.Name())
		known, exists := there[e.Name()]
		if _, err := agent.CleanPath(to); err != nil {
			u.complain(explain(err, "rename it", "%q cannot be stored under its name", name))
			continue
		}
		switch {
		case e.Type()&fs.ModeSymlink != 0:
			u.note("skipped the symbolic link %s", name)
		case e.IsDir():
			if exists && !known.IsFolder() {
				u.complain(failed(coffer.Conflict, "remove it first", "%s is a folder here and a file there", name))
				continue
			}
			holds = true
			if err := u.walk(ctx, name, to, exists); err != nil {
				return err
			}
		case e.Type().IsRegular():
			holds = true
			jobs := u.large
			if info, err := e.Info(); err == nil && info.Size() <= agent.MaxInline {
				jobs = u.small
			}
			select {
			case jobs <- putJob{name: name, dest: to, there: known}:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		default:
			u.note("skipped %s: neither a file nor a folder", name)
		}
	}
	if !holds {
		select {
		case u.small <- putJob{dest: dest, folder: true}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// one stores a file. What fails on this machine is reported, and the others go on; a failure of the vault is returned.
func (u *folderPut) one(ctx context.Context, j putJob) error {
	if j.folder {
		return u.at.agent.MkdirAll(ctx, j.dest)
	}
	f, err := u.root.Open(j.name)
	if err != nil {
		u.complain(failed(kindOf(err), "", "cannot read %s: %v", j.name, withoutPath(err)))
		return nil
	}
	defer f.Close()
	info, unchanged, err := u.put(ctx, f, j.dest, j.there)
	var local *fs.PathError
	var changed *failure
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &local), errors.As(err, &changed), errors.Is(err, coffer.Conflict):
		u.complain(explain(err, "", "cannot store %s", j.name))
		return nil
	case err != nil:
		return explain(err, "", "cannot store %s", j.name)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if unchanged {
		u.unchanged++
	} else {
		u.files++
		u.bytes += info.Size
	}
	if u.program.JSON {
		return writeJSON(u.program.stdout, u.result(info, unchanged))
	}
	return nil
}

// folderSize returns the bytes of all files below a folder, as far as they can be seen.
func folderSize(ctx context.Context, root *os.Root) (total int64) {
	_ = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return ctx.Err()
		}
		if info, err := d.Info(); err == nil {
			total += info.Size()
		}
		return ctx.Err()
	})
	return total
}
