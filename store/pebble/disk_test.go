package pebble

import (
	"io"
	"os"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A hookedDisk is a file system that asks before it creates, writes and flushes files. The hook may take its time, and
// what it returns is the error of the operation.
type hookedDisk struct {
	vfs.FS
	hook func(op, name string) error
}

func (d *hookedDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.hook("create", name); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(name, c)
	return &hookedFile{f, d, name}, err
}

func (d *hookedDisk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.hook("reuse", to); err != nil {
		return nil, err
	}
	f, err := d.FS.ReuseForWrite(from, to, c)
	return &hookedFile{f, d, to}, err
}

type hookedFile struct {
	vfs.File
	disk *hookedDisk
	name string
}

func (f *hookedFile) Write(b []byte) (int, error) {
	if err := f.disk.hook("write", f.name); err != nil {
		return 0, err
	}
	return f.File.Write(b)
}

func (f *hookedFile) Sync() error {
	if err := f.disk.hook("sync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *hookedFile) SyncData() error {
	if err := f.disk.hook("sync", f.name); err != nil {
		return err
	}
	return f.File.SyncData()
}

func (d *hookedDisk) Link(from, to string) error {
	if err := d.hook("link", to); err != nil {
		return err
	}
	return d.FS.Link(from, to)
}

func (d *hookedDisk) Rename(from, to string) error {
	if err := d.hook("rename", to); err != nil {
		return err
	}
	return d.FS.Rename(from, to)
}

func (d *hookedDisk) MkdirAll(dir string, perm os.FileMode) error {
	if err := d.hook("mkdir", dir); err != nil {
		return err
	}
	return d.FS.MkdirAll(dir, perm)
}

func (d *hookedDisk) Lock(name string) (io.Closer, error) {
	if err := d.hook("lock", name); err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	return d.FS.Lock(name)
}

func (d *hookedDisk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	return &hookedFile{f, d, name + "/"}, err
}
