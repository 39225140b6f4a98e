package agent

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"slices"
	"time"

	"github.com/cofferhq/coffer"
)

// An Info describes an object.
type Info struct {
	ID       coffer.ObjectID
	Sequence uint64 // of the revision described
	Path     string // in the form of [CleanPath]; "" for an object of another program that has none
	Type     string // TypeFile, TypeFolder, or a typed object's
	MIME     string
	Size     int64 // bytes of a file, or of a typed object's JSON; -1 when another program wrote it and did not say
	Modified time.Time
	Mode     fs.FileMode // permission bits; 0 when not known
	Readers  []string    // ids of the keys that can open it
	Own      bool        // proven to be what this owner's agent wrote; else another writer's, or a forgery
}

// Name returns the last segment of the path.
func (i Info) Name() string { return baseName(i.Path) }

// IsFolder reports whether the object is a folder.
func (i Info) IsFolder() bool { return i.Type == TypeFolder }

// Stat describes what is at the path. NotExist if nothing is, or nothing yet: a file shows once all of it is stored.
// The root folder always is, with no ID.
func (a *Agent) Stat(ctx context.Context, path string) (Info, error) {
	if p, err := CleanPath(path); err == nil && p == "" {
		return Info{Type: TypeFolder}, nil
	}
	path, err := objectPath(path)
	if err != nil {
		return Info{}, err
	}
	r, err := a.lookup(ctx, path)
	if err != nil {
		return Info{}, err
	}
	return r.info(), nil
}

// List yields what is in a folder, in no particular order; "" is the root. NotExist if there is no such folder. Nothing
// that the agent keeps for itself shows.
func (a *Agent) List(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder, err := a.folder(ctx, folder)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for r, err := range a.in(ctx, folder) {
			if err != nil {
				yield(Info{}, err)
				return
			}
			if !r.pending() && !yield(r.info(), nil) {
				return
			}
		}
	}
}

// Walk yields all that is in a folder and the folders below it, each folder before what it holds.
func (a *Agent) Walk(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder, err := a.folder(ctx, folder)
		if err != nil {
			yield(Info{}, err)
			return
		}
		for waiting := []string{folder}; len(waiting) > 0; {
			next := waiting[len(waiting)-1]
			waiting = waiting[:len(waiting)-1]
			for r, err := range a.in(ctx, next) {
				if err != nil {
					yield(Info{}, err)
					return
				}
				if r.pending() {
					continue
				}
				if !yield(r.info(), nil) {
					return
				}
				if r.content.Type == TypeFolder {
					waiting = append(waiting, r.content.Path)
				}
			}
		}
	}
}

// folder returns the clean path of a folder after making sure that it is there.
func (a *Agent) folder(ctx context.Context, path string) (string, error) {
	if path, err := CleanPath(path); err != nil || path == "" {
		return path, err
	}
	path, err := objectPath(path)
	if err != nil {
		return "", err
	}
	r, err := a.lookup(ctx, path)
	if err != nil {
		return "", err
	}
	if r.content.Type != TypeFolder {
		return "", coffer.Errorf("folder", coffer.NotExist, "not a folder")
	}
	return path, nil
}

// in yields the objects whose folder is the one with this clean path, those not yet complete included.
func (a *Agent) in(ctx context.Context, folder string) iter.Seq2[*revision, error] {
	return a.search(ctx, [][]pair{{{"content.folder", folder}}}, func(c *content) bool { return c.Folder == folder })
}

// eraseBatch is how many objects are erased in one commit.
const eraseBatch = 64

// Remove erases what is at the path: no copy stays with the provider. A folder that is not empty is a Conflict, unless
// recursive is set; then all that is in it goes first, and a call that was interrupted can be repeated. NotExist if
// there is nothing.
func (a *Agent) Remove(ctx context.Context, path string, recursive bool) error {
	path, err := objectPath(path)
	if err != nil {
		return err
	}
	found, err := a.find(ctx, path)
	if err != nil {
		return err
	}
	r := found[path]
	if r == nil {
		return notThere()
	}
	if r.content.Type == TypeFolder {
		if err := a.empty(ctx, path, recursive, MaxDepth); err != nil {
			return err
		}
	}
	_, err = coffer.Erase(ctx, a.Vault, r.doc.ID)
	return err
}

// empty erases what is in a folder, or fails with Conflict if there is something and that is not wanted.
func (a *Agent) empty(ctx context.Context, folder string, recursive bool, depth int) error {
	for {
		// Collected first: the vault is not written to while it is being read.
		var batch []coffer.Write
		var folders []string
		for r, err := range a.in(ctx, folder) {
			if err != nil {
				return err
			}
			if !recursive || depth == 0 {
				return coffer.Errorf("remove", coffer.Conflict, "the folder is not empty")
			}
			batch = append(batch, coffer.Write{Erase: r.doc.ID})
			if r.content.Type == TypeFolder {
				folders = append(folders, r.content.Path)
			}
			if len(batch) == eraseBatch {
				break
			}
		}
		if len(batch) == 0 {
			return nil
		}
		for _, f := range folders {
			if err := a.empty(ctx, f, true, depth-1); err != nil {
				return err
			}
		}
		// Somebody else may be removing the same: what is gone already is no reason to stop.
		if _, err := a.Vault.Apply(ctx, batch...); errors.Is(err, coffer.NotExist) {
			for w := range slices.Values(batch) {
				if _, err := a.Vault.Apply(ctx, w); err != nil && !errors.Is(err, coffer.NotExist) {
					return err
				}
			}
		} else if err != nil {
			return err
		}
	}
}

func notThere() error { return coffer.Errorf("object", coffer.NotExist, "nothing is there") }
