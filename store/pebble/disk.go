package pebble

import (
	"context"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A disk is a file system for the engine. When it fails to write a log or a file of separated documents, the engine
// ends the process, one way or another. So it is not told: the store is marked as broken, every caller is answered, and
// the operation does not return. Copies in other folders are no part of the store.
type disk struct {
	vfs.FS
	dir    string // of the store, as PathDir gives it
	health *health

	// There is a store, which is being opened: nothing may fail. The engine, giving up after it has written something,
	// would leave behind a goroutine that ends the process.
	reopening bool

	copying atomic.Pointer[copying] // nil unless a copy is being made
}

// copying is a copy that is being made, into a folder, until ctx ends.
type copying struct {
	ctx context.Context
	dir string

	mu  sync.Mutex
	err error // that its folder could not be made durable
}

func (c *copying) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *copying) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
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

// Open opens a file to read it.
func (d *disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.Open(name, opts...)
	if err != nil || d.FS.PathDir(name) != d.dir {
		return f, err
	}
	return &readable{f, d.health}, nil
}

// Rename gives a file another name.
func (d *disk) Rename(from, to string) error { return d.opening(d.FS.Rename(from, to)) }

// OpenDir opens a folder, to make the names in it durable.
func (d *disk) OpenDir(name string) (vfs.File, error) {
	f, err := d.FS.OpenDir(name)
	if err != nil {
		return nil, err
	}
	return &folder{f, d, name}, nil
}

// opening does not return while a store is opened that is there, if there is an error.
func (d *disk) opening(err error) error {
	if d.reopening && !d.health.opened.Load() {
		d.health.require(err)
	}
	return err
}

// A folder is an open folder.
type folder struct {
	vfs.File
	disk *disk
	name string
}

// Sync makes the names in the folder durable. The engine would panic if that failed.
func (f *folder) Sync() error {
	err := f.File.Sync()
	if c := f.disk.copying.Load(); c != nil && f.disk.dir != f.name {
		c.fail(err)
		return nil
	}
	f.disk.health.require(err)
	return nil
}

// ReuseForWrite makes an old file, most often a log, a new one.
func (d *disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.ReuseForWrite(from, to, c)
	return d.file(to, f, err)
}

func (d *disk) file(name string, f vfs.File, err error) (vfs.File, error) {
	opened := d.health.opened.Load()
	vitally := strings.HasSuffix(name, ".log") || strings.HasSuffix(name, ".blob") || d.reopening && !opened
	if !vitally || d.FS.PathDir(name) != d.dir || err != nil && !opened && !d.reopening {
		return f, err
	}
	d.health.require(err)
	return &vital{f, d.health}, nil
}

// A vital file is one whose writes may not fail.
type vital struct {
	vfs.File
	health *health
}

// A readable file is one that is read.
type readable struct {
	vfs.File
	health *health
}

// ReadAt reads. An error is not for the engine while it rewrites a file of separated documents: it would panic then
// (as of version 2.1.7) for not having given its buffers back.
func (f *readable) ReadAt(b []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(b, at)
	if err != nil && rewriting() {
		f.health.require(err)
	}
	return n, err
}

// rewriting reports whether the engine called because it rewrites a file of separated documents. It is slow.
func rewriting() bool {
	callers := make([]uintptr, 64)
	frames := runtime.CallersFrames(callers[:runtime.Callers(0, callers)])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, ".runBlobFileRewriteLocked") {
			return true
		}
		if !more {
			return false
		}
	}
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
