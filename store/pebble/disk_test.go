package pebble

import "github.com/cockroachdb/pebble/v2/vfs"

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
