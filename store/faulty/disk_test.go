package faulty

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
)

const category = vfs.WriteCategoryUnspecified

// create makes a file with something in it.
func create(t *testing.T, d *Disk, name, text string) vfs.File {
	t.Helper()
	f, err := d.Create(name, category)
	if err != nil {
		t.Fatal(err)
	}
	if n, err := f.Write([]byte(text)); n != len(text) || err != nil {
		t.Fatalf("Write: %d, %v", n, err)
	}
	return f
}

// contents returns what a file holds.
func contents(t *testing.T, d *Disk, name string) string {
	t.Helper()
	f, err := d.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := io.ReadAll(f)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestDiskOperations strikes each operation once, after one that passes.
func TestDiskOperations(t *testing.T) {
	for _, c := range []struct {
		op Op
		do func(d *Disk, f vfs.File) error
	}{
		{Create, func(d *Disk, _ vfs.File) error { _, err := d.Create("new", category); return err }},
		{Reuse, func(d *Disk, _ vfs.File) error {
			_, err := d.ReuseForWrite("old", "new", category)
			return errors.Join(err, d.Rename("new", "old"))
		}},
		{Open, func(d *Disk, _ vfs.File) error { _, err := d.Open("old"); return err }},
		{Open, func(d *Disk, _ vfs.File) error { _, err := d.OpenReadWrite("old", category); return err }},
		{Open, func(d *Disk, _ vfs.File) error { _, err := d.OpenDir(""); return err }},
		{Read, func(_ *Disk, f vfs.File) error { _, err := f.ReadAt(make([]byte, 2), 0); return err }},
		{Write, func(_ *Disk, f vfs.File) error { _, err := f.Write([]byte("more")); return err }},
		{Sync, func(_ *Disk, f vfs.File) error { return f.Sync() }},
		{Sync, func(_ *Disk, f vfs.File) error { return f.SyncData() }},
		{Sync, func(_ *Disk, f vfs.File) error { _, err := f.SyncTo(1); return err }},
		{Rename, func(d *Disk, _ vfs.File) error {
			return errors.Join(d.Rename("old", "new"), d.memory.Rename("new", "old"))
		}},
		{Link, func(d *Disk, _ vfs.File) error { return errors.Join(d.Link("old", "twin"), d.memory.Remove("twin")) }},
		{Remove, func(d *Disk, _ vfs.File) error { _ = d.memory.MkdirAll("empty", 0o700); return d.Remove("empty") }},
		{Remove, func(d *Disk, _ vfs.File) error { return d.RemoveAll("empty") }},
		{Mkdir, func(d *Disk, _ vfs.File) error { return d.MkdirAll("folder", 0o700) }},
		{List, func(d *Disk, _ vfs.File) error { _, err := d.List(""); return err }},
	} {
		t.Run(string(c.op), func(t *testing.T) {
			d := NewDisk()
			f := create(t, d, "old", "text")
			fault := d.Fail(Rule{Ops: []Op{c.op}, Skip: 1, Times: 1, Err: syscall.EIO})
			for i, want := range []error{nil, syscall.EIO, nil} {
				err := c.do(d, f)
				if want == nil && err != nil || want != nil && !errors.Is(err, want) {
					t.Errorf("operation %d: %v, want %v", i, err, want)
				}
			}
			if fault.Hits() != 1 {
				t.Errorf("%d hits, want 1", fault.Hits())
			}
			select {
			case <-fault.Struck():
			default:
				t.Error("nobody hears that it struck")
			}
		})
	}
}

func TestDiskRules(t *testing.T) {
	d := NewDisk()
	f := create(t, d, "a.log", "")
	other := create(t, d, "b.sst", "")
	var hooked []string
	d.Fail(Rule{Ops: []Op{Write}, Name: ".log", Hook: func(op Op, name string) error {
		hooked = append(hooked, string(op)+" "+name)
		return io.ErrShortWrite
	}})
	if _, err := other.Write([]byte("x")); err != nil {
		t.Errorf("Write of another file: %v", err)
	}
	var where *os.PathError
	_, err := f.Write([]byte("x"))
	if !errors.Is(err, io.ErrShortWrite) || !errors.As(err, &where) || where.Op != "write" {
		t.Errorf("Write: %v", err)
	}
	if len(hooked) != 1 || hooked[0] != "write a.log" {
		t.Errorf("the hook was called for %q", hooked)
	}
	d.Heal()
	if _, err := f.Write([]byte("x")); err != nil {
		t.Errorf("Write of a disk that is well: %v", err)
	}
	first, second := d.Fail(Rule{Times: 1, Err: syscall.EIO}), d.Fail(Rule{Err: syscall.EROFS})
	for _, want := range []error{syscall.EIO, syscall.EROFS, syscall.EROFS} {
		if err := f.Sync(); !errors.Is(err, want) {
			t.Errorf("Sync: %v, want %v", err, want)
		}
	}
	second.Heal()
	if err := f.Sync(); err != nil || first.Hits() != 1 || second.Hits() != 2 {
		t.Errorf("Sync: %v after %d and %d", err, first.Hits(), second.Hits())
	}
	d.Fail(Rule{Ops: []Op{Sync}, Delay: 10 * time.Millisecond})
	if start := time.Now(); f.Sync() != nil || time.Since(start) < 10*time.Millisecond {
		t.Error("a slow disk is not slow")
	}
}

func TestDiskParts(t *testing.T) {
	d := NewDisk()
	f := create(t, d, "f", "")
	d.Fail(Rule{Ops: []Op{Write}, Times: 1, Part: true, Err: syscall.EIO})
	if n, err := f.Write([]byte("12345678")); n != 4 || !errors.Is(err, syscall.EIO) {
		t.Errorf("torn Write: %d, %v", n, err)
	}
	d.Fail(Rule{Ops: []Op{Write}, Times: 1, Late: true, Err: syscall.EIO})
	if n, err := f.Write([]byte("abcd")); n != 4 || !errors.Is(err, syscall.EIO) {
		t.Errorf("late Write: %d, %v", n, err)
	}
	if got := contents(t, d, "f"); got != "1234abcd" {
		t.Errorf("the file holds %q", got)
	}
	d.Fail(Rule{Ops: []Op{Read}, Times: 1, Part: true, Err: syscall.EIO})
	b := make([]byte, 8)
	if n, err := f.ReadAt(b, 0); n != 4 || !errors.Is(err, syscall.EIO) || string(b[:n]) != "1234" {
		t.Errorf("ReadAt: %d %q, %v", n, b, err)
	}
	d.Fail(Rule{Ops: []Op{Create}, Times: 1, Late: true, Err: syscall.EIO})
	if _, err := d.Create("g", category); !errors.Is(err, syscall.EIO) {
		t.Errorf("Create: %v", err)
	}
	if got := contents(t, d, "g"); got != "" {
		t.Errorf("the file holds %q", got)
	}
}

func TestDiskFull(t *testing.T) {
	d := NewDisk()
	d.Room(6)
	f := create(t, d, "f", "1234")
	if n, err := f.Write([]byte("5678")); n != 2 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Write: %d, %v, want ENOSPC after 2", n, err)
	}
	if n, err := f.Write([]byte("9")); n != 0 || !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("Write: %d, %v, want ENOSPC", n, err)
	}
	if u, err := d.GetDiskUsage(""); err != nil || u.AvailBytes != 0 {
		t.Errorf("GetDiskUsage: %+v, %v", u, err)
	}
	d.Room(-1)
	if n, err := f.Write([]byte("9")); n != 1 || err != nil {
		t.Errorf("Write: %d, %v", n, err)
	}
	if got := contents(t, d, "f"); got != "1234569" {
		t.Errorf("the file holds %q", got)
	}
}

func TestDiskPower(t *testing.T) {
	d := NewDisk()
	f := create(t, d, "f", "flushed ")
	folder, err := d.OpenDir("")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Sync(), folder.Sync()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Write([]byte("and not")); err != nil {
		t.Fatal(err)
	}
	create(t, d, "g", "not flushed")
	d.Fail(Rule{Err: syscall.EIO})
	d.Room(0)
	after := d.Cut(nil, 0)
	if got := contents(t, after, "f"); got != "flushed " {
		t.Errorf("the file holds %q", got)
	}
	if _, err := after.Open("g"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Open: %v, want that it is lost", err)
	}
	create(t, after, "h", "it is well, with room")
	d.Heal()
	if got := contents(t, d, "f"); got != "flushed and not" {
		t.Errorf("before the cut, the file holds %q", got)
	}
	if got := contents(t, d.Cut(rand.New(rand.NewPCG(1, 1)), 100), "f"); got != "flushed and not" {
		t.Errorf("by chance, the file holds %q", got)
	}
}

// TestDiskLinksWhileCut links files and cuts the power at the same time: neither waits for the other for ever.
func TestDiskLinksWhileCut(t *testing.T) {
	d := NewDisk()
	create(t, d, "f", "text")
	done := make(chan struct{})
	go func() {
		defer close(done)
		for i := range 500 {
			_ = d.Link("f", strings.Repeat("x", i+1))
		}
	}()
	for {
		d.Cut(nil, 0)
		select {
		case <-done:
			return
		default:
		}
	}
}
