package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"unicode/utf8"

	"github.com/cofferhq/coffer"
)

// A partial is the file that a long download fills, beside the file that it is going to be. After an interruption it
// stays, for the next run to go on with. While it is open, no other process opens it so.
type partial struct {
	*os.File
	root *os.Root
	name string
}

// partialName returns the name of the partial file of a document that is going to have this name: it is
// .NAME.….coffer-partial, and the same for all revisions, so that what is left of an older one is written over.
func partialName(name string, id coffer.ObjectID) string {
	const most = 200 // of the 255 bytes that names have
	dir, base := path.Split(name)
	sum := sha256.Sum256(append(id[:], base...))
	if len(base) > most {
		base = base[:most]
		for !utf8.ValidString(base) && len(base) > most-utf8.UTFMax {
			base = base[:len(base)-1]
		}
	}
	return dir + "." + base + "." + hex.EncodeToString(sum[:6]) + ".coffer-partial"
}

// errBusy is the error of a partial file that cannot be had for oneself.
var errBusy = errors.New("busy")

// openPartial opens a partial file, or makes it, with mode 0600. In a folder where others may write, one of theirs
// could be there already, for them to read what is written to it: what is not the owner's alone is removed.
func openPartial(root *os.Root, name string) (*partial, error) {
	if !locks {
		return nil, errBusy
	}
	for range 4 {
		flags := os.O_RDWR
		switch there, err := root.Lstat(name); {
		case errors.Is(err, fs.ErrNotExist):
			flags |= os.O_CREATE | os.O_EXCL
		case err != nil:
			return nil, err
		case !ownersAlone(there):
			if err := root.Remove(name); err != nil {
				return nil, err
			}
			continue
		}
		f, err := root.OpenFile(name, flags, 0o600)
		if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err != nil {
			continue // another process was faster
		}
		if !lock(f) {
			return nil, errors.Join(errBusy, f.Close())
		}
		// What was opened may have become the file that it was going to be, or a link may have led elsewhere.
		opened, err := f.Stat()
		there, thereErr := root.Lstat(name)
		if err == nil && thereErr == nil && os.SameFile(opened, there) && ownersAlone(opened) {
			return &partial{f, root, name}, nil
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
	}
	return nil, errBusy
}

// fill fills the partial file, makes it durable, and then gives it its name; finish does what is to be done before.
// What write leaves behind stays only if it says so. The place that write is given is the file's, on this machine.
func (f *partial) fill(name string, mode fs.FileMode, finish func(name string) error,
	write func(place string) (kept bool, err error)) (err error) {
	kept := false
	defer func() {
		if err != nil && !kept {
			err = errors.Join(err, f.root.Remove(f.name))
		}
		_ = f.Close() // only now another process may have it; what counts was synced
	}()
	place, err := filepath.Abs(filepath.Join(f.root.Name(), f.name))
	if err != nil {
		return err
	}
	if kept, err = write(place); err != nil {
		return err
	}
	if err = f.Chmod(mode); err != nil {
		return err
	}
	if err = finish(f.name); err != nil {
		return err
	}
	if err = f.Sync(); err != nil {
		return err
	}
	if err = f.root.Rename(f.name, name); err != nil {
		return err
	}
	return syncFolder(f.root, path.Dir(name))
}
