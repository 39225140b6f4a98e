package agent

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"path"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/tree"
)

// An Info describes an object.
type Info struct {
	ID       coffer.ObjectID
	Sequence uint64 // of the revision described
	Path     string // in the form of [CleanPath]
	Type     string // TypeFile, TypeFolder, or a typed object's
	MIME     string
	Size     int64 // bytes of a file, or of a typed object's JSON
	Modified time.Time
	Mode     fs.FileMode // permission bits; 0 when not known

	Author string   // identifier of who wrote the content; empty where only the folder was read
	Links  []string // for the readers named in PutOptions, in their order
}

// Name returns the last segment of the path.
func (i Info) Name() string { return tree.Base(i.Path) }

// IsFolder reports whether the object is a folder.
func (i Info) IsFolder() bool { return i.Type == TypeFolder }

func infoOf(path string, n tree.Node) Info {
	return Info{
		ID: n.Ref.ID, Sequence: n.Sequence, Path: path, Type: n.Type, MIME: n.MIME, Size: n.Size, Modified: n.Modified,
		Mode: n.Mode,
	}
}

// CleanPath returns the form in which a path is kept: segments joined by "/", without a slash at either end. One slash
// at each end is taken off; "" and "/" are the root folder, "". Invalid for an empty segment, "." and "..", a NUL,
// bytes that are not UTF-8, and beyond the bounds of package tree. Letters are not folded and not normalised: two names
// that look the same may differ.
//
// A path that this function accepted never leads out of the folder that it is joined to on systems where "/" alone
// separates. Elsewhere a name may still mean something else to the file system ("a\b", "NUL"): write through os.Root.
func CleanPath(p string) (string, error) { return tree.CleanPath(p) }

// reserved is the folder in which the agent keeps its own objects. No caller can name what is in it.
const reserved = ".coffer"

// objectPath is CleanPath for what a caller may name as an object: neither the root nor the agent's own folder.
func (a *Agent) objectPath(p string) (string, error) {
	p, err := tree.CleanPath(p)
	if err != nil {
		return "", err
	}
	if p == "" && (a.guest == nil || a.guest.folder) || tree.Within(p, reserved) {
		return "", coffer.Errorf("path", coffer.Invalid, "names the root, or what is kept for the agent itself")
	}
	return p, nil
}

// Stat describes what is at the path. NotExist if nothing is, or nothing yet: a file shows once all of it is stored.
// The root folder always is, with no ID.
func (a *Agent) Stat(ctx context.Context, path string) (Info, error) {
	path, err := a.anyPath(path)
	if err != nil {
		return Info{}, err
	}
	i := Info{Type: TypeFolder}
	err = a.steady(ctx, func(v *view) error {
		if path == "" && (a.guest == nil || a.guest.folder) {
			return nil
		}
		n, err := v.tree.Get(ctx, path)
		i = infoOf(path, n)
		return err
	})
	if err != nil {
		return Info{}, err
	}
	return i, nil
}

// anyPath is objectPath, with the root.
func (a *Agent) anyPath(p string) (string, error) {
	if clean, err := tree.CleanPath(p); err != nil || clean == "" {
		return clean, err
	}
	return a.objectPath(p)
}

// List yields what is in a folder, in the order of names; "" is the root. NotExist if there is no such folder. Nothing
// that the agent keeps for itself shows.
func (a *Agent) List(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder, err := a.anyPath(folder)
		var v *view
		if err == nil {
			v, err = a.look(ctx)
		}
		if err != nil {
			yield(Info{}, err)
			return
		}
		for i, err := range v.list1(ctx, folder) {
			if !yield(i, err) || err != nil {
				return
			}
		}
	}
}

// list1 yields what is in one folder: all of one state, later than the view's if others write.
func (v *view) list1(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		var nodes []tree.Node
		read := func(v *view) error {
			nodes = nodes[:0]
			for n, err := range v.tree.List(ctx, folder) {
				if err != nil {
					return err
				}
				nodes = append(nodes, n)
			}
			return nil
		}
		err := read(v)
		if v.sealed == nil && err != nil && v.a.torn(ctx, v.number, 0, err) {
			err = v.a.steady(ctx, read)
		}
		if err != nil {
			yield(Info{}, err)
			return
		}
		for _, n := range nodes {
			p := path.Join(folder, n.Name)
			if p != reserved && !yield(infoOf(p, n), nil) {
				return
			}
		}
	}
}

// Walk yields all that is in a folder and the folders below it, each folder before what it holds.
func (a *Agent) Walk(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder, err := a.anyPath(folder)
		var v *view
		if err == nil {
			v, err = a.look(ctx)
		}
		if err != nil {
			yield(Info{}, err)
			return
		}
		for i, err := range v.walk(ctx, folder) {
			if !yield(i, err) || err != nil {
				return
			}
		}
	}
}

func (v *view) walk(ctx context.Context, folder string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for waiting := []string{folder}; len(waiting) > 0; {
			next := waiting[len(waiting)-1]
			waiting = waiting[:len(waiting)-1]
			for i, err := range v.list1(ctx, next) {
				if next != folder && errors.Is(err, coffer.NotExist) {
					break // removed, or moved, meanwhile
				}
				if !yield(i, err) || err != nil {
					return
				}
				if i.IsFolder() {
					waiting = append(waiting, i.Path)
				}
			}
		}
	}
}
