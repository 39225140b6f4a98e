package main

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
)

// replaceFile writes a file below a folder so that there is, at any moment, the old one or the whole new one under its
// name, after a loss of power, too. A write that fails leaves nothing behind. The name, with slashes, leads nowhere but
// below the folder; what it names is replaced even if it is a symbolic link. Until then the new file is at temporary.
func replaceFile(root *os.Root, name string, mode fs.FileMode,
	write func(f *os.File, temporary string) error) (err error) {
	dir := path.Dir(name)
	temporary := path.Join(dir, ".coffer-"+rand.Text())
	f, err := root.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, root.Remove(temporary))
		}
	}()
	err = write(f, temporary)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err = root.Rename(temporary, name); err != nil {
		return err
	}
	return syncFolder(root, dir)
}

// syncFolder makes the names in a folder durable, where the system can do that.
func syncFolder(root *os.Root, dir string) error {
	d, err := root.Open(dir)
	if err != nil {
		return nil // a folder that may be written but not read
	}
	_ = d.Sync() // some file systems cannot; the file itself is safe
	return d.Close()
}

// writeFile replaces a file of the owner's alone, and makes its folder.
func writeFile(name string, b []byte) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return err
	}
	defer root.Close()
	return replaceFile(root, filepath.Base(name), 0o600, func(f *os.File, _ string) error {
		_, err := f.Write(b)
		return err
	})
}
