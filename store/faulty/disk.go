package faulty

import (
	"context"
	"io"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Disk is a file system in memory for the storage engine, whose operations are struck by its [Faults], which can be
// full, and which can lose its power. What a rule fails an operation with is wrapped as the operating system does.
type Disk struct {
	Faults
	memory *vfs.MemFS

	cutting sync.RWMutex // held while a clone is made, and, shared, by Link: the engine's cannot stand both at once

	mu      sync.Mutex
	bounded bool
	room    int64
}

var _ vfs.FS = (*Disk)(nil)

// NewDisk returns an empty disk that is well.
func NewDisk() *Disk { return &Disk{memory: vfs.NewCrashableMem()} }

// Room lets so many more bytes be written before the disk is full: the write that does not fit any more writes what
// does, and fails with ENOSPC, as all that follow. What is negative lets any number be written.
func (d *Disk) Room(bytes int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bounded, d.room = bytes >= 0, bytes
}

// take takes room for n bytes, or as much as there is.
func (d *Disk) take(n int) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.bounded {
		return n
	}
	n = int(min(int64(n), d.room))
	d.room -= int64(n)
	return n
}

// Cut returns the disk as it is after a power cut at this moment: all that was flushed, and of what was not, each block
// by chance, with so many per cent. It is well, with any room. The disk itself goes on, as if nothing had happened:
// whoever still works on it does so in vain.
func (d *Disk) Cut(rng *rand.Rand, percent int) *Disk {
	d.cutting.Lock()
	defer d.cutting.Unlock()
	return &Disk{memory: d.memory.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: percent, RNG: rng})}
}

// hit asks the rules and gives an error its operation.
func (d *Disk) hit(op Op, names ...string) blow {
	b := d.strike(context.Background(), op, names...)
	if b.err != nil {
		b.err = &os.PathError{Op: string(op), Path: names[0], Err: b.err}
	}
	return b
}

// do carries out an operation that is done or not.
func (d *Disk) do(op Op, f func() error, names ...string) error {
	b := d.hit(op, names...)
	if b.err != nil && !b.late {
		return b.err
	}
	return b.after(f())
}

// open carries out an operation that opens a file.
func (d *Disk) open(op Op, f func() (vfs.File, error), names ...string) (vfs.File, error) {
	b := d.hit(op, names...)
	if b.err != nil && !b.late {
		return nil, b.err
	}
	opened, err := f()
	if err != nil {
		return nil, err
	}
	if b.late {
		_ = opened.Close()
		return nil, b.err
	}
	return &file{File: opened, disk: d, name: names[0]}, nil
}

// Create makes a file.
func (d *Disk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(Create, func() (vfs.File, error) { return d.memory.Create(name, c) }, name)
}

// ReuseForWrite makes an old file a new one.
func (d *Disk) ReuseForWrite(from, to string, c vfs.DiskWriteCategory) (vfs.File, error) {
	return d.open(Reuse, func() (vfs.File, error) { return d.memory.ReuseForWrite(from, to, c) }, to, from)
}

// Open opens a file to read.
func (d *Disk) Open(name string, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.open(Open, func() (vfs.File, error) { return d.memory.Open(name, opts...) }, name)
}

// OpenReadWrite opens a file, or makes it.
func (d *Disk) OpenReadWrite(name string, c vfs.DiskWriteCategory, opts ...vfs.OpenOption) (vfs.File, error) {
	return d.open(Open, func() (vfs.File, error) { return d.memory.OpenReadWrite(name, c, opts...) }, name)
}

// OpenDir opens a folder to flush it.
func (d *Disk) OpenDir(name string) (vfs.File, error) {
	return d.open(Open, func() (vfs.File, error) { return d.memory.OpenDir(name) }, name)
}

// Link gives a file a second name.
func (d *Disk) Link(from, to string) error {
	d.cutting.RLock()
	defer d.cutting.RUnlock()
	return d.do(Link, func() error { return d.memory.Link(from, to) }, to, from)
}

// Remove removes a file or an empty folder.
func (d *Disk) Remove(name string) error {
	return d.do(Remove, func() error { return d.memory.Remove(name) }, name)
}

// RemoveAll removes a folder and all in it.
func (d *Disk) RemoveAll(name string) error {
	return d.do(Remove, func() error { return d.memory.RemoveAll(name) }, name)
}

// Rename renames a file.
func (d *Disk) Rename(from, to string) error {
	return d.do(Rename, func() error { return d.memory.Rename(from, to) }, to, from)
}

// MkdirAll makes folders.
func (d *Disk) MkdirAll(name string, mode os.FileMode) error {
	return d.do(Mkdir, func() error { return d.memory.MkdirAll(name, mode) }, name)
}

// Lock locks a file. No rule strikes it.
func (d *Disk) Lock(name string) (io.Closer, error) { return d.memory.Lock(name) }

// List lists a folder.
func (d *Disk) List(name string) (names []string, err error) {
	err = d.do(List, func() (err error) { names, err = d.memory.List(name); return err }, name)
	if err != nil {
		return nil, err
	}
	return names, nil
}

// Stat describes a file. No rule strikes it.
func (d *Disk) Stat(name string) (vfs.FileInfo, error) { return d.memory.Stat(name) }

// PathBase returns the last element of a path.
func (d *Disk) PathBase(path string) string { return d.memory.PathBase(path) }

// PathJoin joins the elements of a path.
func (d *Disk) PathJoin(elements ...string) string { return d.memory.PathJoin(elements...) }

// PathDir returns all but the last element of a path.
func (d *Disk) PathDir(path string) string { return d.memory.PathDir(path) }

// GetDiskUsage says how much room there is: what [Disk.Room] left, or much.
func (d *Disk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	const size = 1 << 40
	free := uint64(size)
	if d.bounded {
		free = uint64(d.room)
	}
	return vfs.DiskUsage{AvailBytes: free, TotalBytes: size, UsedBytes: size - free}, nil
}

// Unwrap returns nil: nothing may go past the faults.
func (d *Disk) Unwrap() vfs.FS { return nil }

// A file is an open file of a Disk.
type file struct {
	vfs.File
	disk *Disk
	name string
}

func (f *file) Read(b []byte) (int, error) {
	return f.read(b, f.File.Read)
}

func (f *file) ReadAt(b []byte, at int64) (int, error) {
	return f.read(b, func(b []byte) (int, error) { return f.File.ReadAt(b, at) })
}

func (f *file) read(b []byte, read func([]byte) (int, error)) (int, error) {
	w := f.disk.hit(Read, f.name)
	if w.early() {
		return 0, w.err
	}
	if w.part {
		n, _ := read(b[:len(b)/2])
		return n, w.err
	}
	n, err := read(b)
	return n, w.after(err)
}

func (f *file) Write(b []byte) (int, error) {
	return f.write(b, f.File.Write)
}

func (f *file) WriteAt(b []byte, at int64) (int, error) {
	return f.write(b, func(b []byte) (int, error) { return f.File.WriteAt(b, at) })
}

func (f *file) write(b []byte, write func([]byte) (int, error)) (int, error) {
	w := f.disk.hit(Write, f.name)
	if w.early() {
		return 0, w.err
	}
	whole := len(b)
	if w.part {
		b = b[:len(b)/2]
	}
	fits := f.disk.take(len(b))
	n, err := write(b[:fits])
	switch {
	case err != nil:
		return n, err
	case fits < len(b):
		return n, &os.PathError{Op: string(Write), Path: f.name, Err: syscall.ENOSPC}
	case n < whole:
		return n, w.err
	}
	return n, w.after(nil)
}

func (f *file) Sync() error { return f.disk.do(Sync, f.File.Sync, f.name) }

func (f *file) SyncData() error { return f.disk.do(Sync, f.File.SyncData, f.name) }

func (f *file) SyncTo(length int64) (full bool, err error) {
	err = f.disk.do(Sync, func() (err error) { full, err = f.File.SyncTo(length); return err }, f.name)
	return full && err == nil, err
}
