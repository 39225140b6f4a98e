package pebble

import (
	"context"
	"strings"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A disk is a file system for the engine. When it fails to write a log or a file of separated documents, the engine ends
// the process, one way or another. So it is not told: the store is marked as broken, every caller is answered, and the
// operation does not return. Copies in other folders are no part of the store.
type disk struct {
	vfs.FS
	dir    string // of the store, as PathDir gives it
	health *health

	copying atomic.Pointer[copying] // nil unless a copy is being made
}

// copying is a copy that is being made, into a folder, until ctx ends.
type copying struct {
	ctx context.Context
	dir string
}

// cut returns an error when the file belongs to a copy that is given up.
func (d *disk) cut(name string) error {
	if c := d.copying.Load(); c != nil && d.FS.PathDir(name) == c.dir {
		return c.ctx.Err()
	}
	return nil
}

// Link makes another name of a file.
func (d *disk) Link(from, to string) error {
	if err := d.cut(to); err != nil {
		return err
	}
	return d.FS.Link(from, to)
}

// Unwrap returns the file system below.
func (d *disk) Unwrap() vfs.FS { return d.FS }

// Create creates a file.
func (d *disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.cut(name); err != nil {
		return nil, err
	}
	f, err := d.FS.Create(name, c)
	return d.file(name, f, err)
}

// ReuseForWrite makes an old file, most often a log, a new one.
func (d *disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, c)
	return d.file(to, f, err)
}

func (d *disk) file(name string, f vfs.File, err error) (vfs.File, error) {
	vitally := strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".blob")
	if !vitally || d.FS.PathDir(name) != d.dir {
		return f, err
	}
	if err != nil && !d.health.opened.Load() {
		return f, err // the engine gives up opening
	}
	d.health.require(err)
	return &vital{f, d.health}, nil
}

// A vital file is one whose writes may not fail.
type vital struct {
	vfs.File
	health *health
}

// Write writes.
func (f *vital) Write(b []byte) (int, error) {
	n, err := f.File.Write(b)
	f.health.require(err)
	return n, nil
}

// Sync flushes to the disk.
func (f *vital) Sync() error {
	f.health.require(f.File.Sync())
	return nil
}

// SyncData flushes all but times to the disk.
func (f *vital) SyncData() error {
	f.health.require(f.File.SyncData())
	return nil
}

// SyncTo begins to flush to the disk.
func (f *vital) SyncTo(length int64) (bool, error) {
	full, err := f.File.SyncTo(length)
	f.health.require(err)
	return full, nil
}

// Close closes.
func (f *vital) Close() error {
	f.health.require(f.File.Close())
	return nil
}
