package files

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// An FS is what a store needs of a file system; see package os for what its methods do. Names are absolute or relative
// to the working directory.
type FS interface {
	Open(name string) (File, error)   // a file or a folder, for reading
	Create(name string) (File, error) // a new file, for writing; fs.ErrExist when the name is taken
	Link(name, to string) error       // fs.ErrExist when the name is taken
	Rename(name, to string) error
	Mkdir(name string) error
	Remove(name string) error // a file, or an empty folder
	RemoveAll(name string) error
}

// A File is an open file or folder. An *os.File is one.
type File interface {
	io.ReadWriteCloser
	Sync() error
	Stat() (fs.FileInfo, error)
	ReadDir(n int) ([]fs.DirEntry, error)
}

// disk is the file system of this machine. Its files are of type *os.File.
type disk struct{}

func (disk) Open(name string) (File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err // not a File that holds a nil *os.File
	}
	return f, nil
}

func (disk) Create(name string) (File, error) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (disk) Link(name, to string) error   { return os.Link(name, to) }
func (disk) Rename(name, to string) error { return os.Rename(name, to) }
func (disk) Mkdir(name string) error      { return os.Mkdir(name, 0o700) }
func (disk) Remove(name string) error     { return os.Remove(name) }
func (disk) RemoveAll(name string) error  { return os.RemoveAll(name) }

// syncFolder flushes a folder to the disk.
func syncFolder(fsys FS, name string) error {
	f, err := fsys.Open(name)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// makeAll makes a folder and those above it, as needed, durably. It returns those that it made, the highest first;
// after a failure, too.
func makeAll(fsys FS, name string) (made []string, err error) {
	err = fsys.Mkdir(name)
	if errors.Is(err, fs.ErrNotExist) && filepath.Dir(name) != name {
		if made, err = makeAll(fsys, filepath.Dir(name)); err != nil {
			return made, err
		}
		err = fsys.Mkdir(name)
	}
	switch {
	case errors.Is(err, fs.ErrExist): // or a file, which who comes next sees
		return made, nil
	case err != nil:
		return made, err
	}
	return append(made, name), syncFolder(fsys, filepath.Dir(name))
}

// removeMade removes folders that makeAll made and that are empty.
func removeMade(fsys FS, made []string) {
	for i := len(made) - 1; i >= 0; i-- {
		_ = fsys.Remove(made[i])
	}
}
