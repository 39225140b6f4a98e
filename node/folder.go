package node

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer"
)

// A folder is a data folder that this process uses, and no other.
type folder struct {
	path  string
	made  string // the topmost folder that was made for it; empty if it was there
	empty bool   // it was there, with nothing in it
	lock  *os.File
}

const (
	lockFile     = "lock"
	manifestFile = "backup.json" // of a backup; see Manifest
	restoring    = ".restoring"  // below a data folder: a restore that is under way, or was cut off
)

// openFolder makes the data folder if there is none and locks it. Locked when another process has done so, Invalid
// when the folder is no data folder, Unavailable when it cannot be written to. After a failure nothing was made.
func openFolder(path string) (f *folder, err error) {
	const op = "data folder"
	there, err := inhabited(path)
	if err != nil {
		return nil, err
	}
	f = &folder{path: path}
	if !there {
		if f.made, err = absent(path); err != nil {
			return nil, err
		}
		f.empty = f.made == ""
	}
	defer func() {
		if err != nil {
			f, err = nil, errors.Join(err, f.abandon())
		}
	}()
	if err := os.MkdirAll(path, 0o700); err != nil {
		return f, unwritable(err)
	}
	for name, reason := range map[string]string{
		manifestFile: "this is a backup: restore it with cofferd restore, and use what that makes",
		restoring:    "a restore into this folder was cut off: empty the folder and restore again",
	} {
		if _, err := os.Lstat(filepath.Join(path, name)); err == nil {
			return f, coffer.Errorf(op, coffer.Invalid, reason)
		}
	}
	f.lock, err = lock(filepath.Join(path, lockFile))
	if errors.Is(err, errLocked) {
		f.empty, f.made = false, "" // it is another's
		return f, coffer.Errorf(op, coffer.Locked, "a node is running with it")
	}
	if err != nil {
		return f, unwritable(err)
	}
	return f, nil
}

// errLocked is the error of lock for a file that another process has locked.
var errLocked = errors.New("locked")

// unwritable is the error for a data folder in which nothing can be made.
func unwritable(err error) error {
	return coffer.Errorf("data folder", coffer.Unavailable,
		"cannot be written to ("+withoutPath(err).Error()+"): make it writable for this user, or give another with --data")
}

// inhabited reports whether there is anything in a folder. A folder that is absent has nothing in it.
func inhabited(path string) (bool, error) {
	entries, err := os.ReadDir(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, coffer.E("data folder", coffer.Unavailable, withoutPath(err))
	}
	return len(entries) > 0, nil
}

// absent returns the topmost folder on the way to path that does not exist; empty if path does.
func absent(path string) (top string, err error) {
	for {
		_, err := os.Lstat(path)
		switch {
		case err == nil:
			return top, nil
		case !errors.Is(err, fs.ErrNotExist):
			return "", coffer.E("data folder", coffer.Unavailable, withoutPath(err))
		}
		top = path
		parent := filepath.Dir(path)
		if parent == path {
			return top, nil
		}
		path = parent
	}
}

// unlock lets others have the folder.
func (f *folder) unlock() error {
	if f.lock == nil {
		return nil
	}
	err := f.lock.Close()
	f.lock = nil
	return err
}

// abandon unlocks the folder and removes what was made in it, if there was nothing in it before.
func (f *folder) abandon() error {
	var errs []error
	switch {
	case f.made != "":
		errs = append(errs, os.RemoveAll(f.made))
	case f.empty:
		entries, err := os.ReadDir(f.path)
		errs = append(errs, err)
		for _, e := range entries {
			errs = append(errs, os.RemoveAll(filepath.Join(f.path, e.Name())))
		}
	}
	return errors.Join(append(errs, f.unlock())...)
}
