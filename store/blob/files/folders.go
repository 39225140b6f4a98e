package files

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"sync"
)

// folders makes, flushes and removes the folders of a store.
type folders struct {
	fs FS

	// tree is held shared while a blob is placed: from when its folders are seen to be there until all is durable. It
	// is held alone while folders are removed.
	tree sync.RWMutex

	mu      sync.Mutex
	durable map[string]struct{} // folders that will be there after a crash
	flushes map[string]*flushes // under way
}

// maxDurable bounds how many folders are remembered. Those that are not are flushed to their parents once more.
const maxDurable = 4096

// place links a finished file to its place below root and makes it durable there. The error is fs.ErrExist when the
// place is taken.
func (d *folders) place(root, name, to string) error {
	d.tree.RLock()
	defer d.tree.RUnlock()
	folder := filepath.Dir(to)
	if err := d.make(root, folder); err != nil {
		return err
	}
	if err := d.fs.Link(name, to); err != nil {
		return err
	}
	if err := d.flush(folder); err != nil {
		_ = d.fs.Remove(to)
		return err
	}
	return nil
}

// make makes a folder below root, and those above it, durably.
func (d *folders) make(root, folder string) error {
	if folder == root {
		return nil
	}
	d.mu.Lock()
	_, durable := d.durable[folder]
	d.mu.Unlock()
	if durable {
		return nil
	}
	parent := filepath.Dir(folder)
	if err := d.make(root, parent); err != nil {
		return err
	}
	if err := d.fs.Mkdir(folder); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	// Even one that was there may have been made a moment ago, and not be durable yet.
	if err := d.flush(parent); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.durable == nil || len(d.durable) >= maxDurable {
		d.durable = make(map[string]struct{})
	}
	d.durable[folder] = struct{}{}
	return nil
}

// move takes a folder with all that is in it out of the tree, durably.
func (d *folders) move(folder, to string) error {
	d.tree.Lock()
	defer d.tree.Unlock()
	if err := d.fs.Rename(folder, to); err != nil {
		return err
	}
	d.mu.Lock()
	for known := range d.durable {
		if known == folder || strings.HasPrefix(known, folder+string(filepath.Separator)) {
			delete(d.durable, known)
		}
	}
	d.mu.Unlock()
	return errors.Join(d.flush(filepath.Dir(folder)), d.flush(filepath.Dir(to)))
}

// prune removes empty folders from folder up to root. It does nothing while blobs are being placed: an empty folder
// does no harm, and a later call will find it.
func (d *folders) prune(root, folder string) {
	if !d.tree.TryLock() {
		return
	}
	defer d.tree.Unlock()
	for ; folder != root; folder = filepath.Dir(folder) {
		if err := d.fs.Remove(folder); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return
		}
		d.mu.Lock()
		delete(d.durable, folder)
		d.mu.Unlock()
	}
}

// flushes are the flush of a folder that is under way and the one that will follow. Who comes while one is under way
// cannot rely on it, and joins the next.
type flushes struct{ running, next *flush }

type flush struct {
	done chan struct{}
	err  error
}

// flush makes durable which entries a folder has now. Concurrent calls for one folder share flushes.
func (d *folders) flush(folder string) error {
	d.mu.Lock()
	f := d.flushes[folder]
	if f == nil {
		if d.flushes == nil {
			d.flushes = make(map[string]*flushes)
		}
		f = new(flushes)
		d.flushes[folder] = f
	}
	if joined := f.next; joined != nil {
		d.mu.Unlock()
		<-joined.done
		return joined.err
	}
	own := &flush{done: make(chan struct{})}
	f.next = own
	if before := f.running; before != nil {
		d.mu.Unlock()
		<-before.done
		d.mu.Lock()
	}
	f.running, f.next = own, nil
	d.mu.Unlock()

	own.err = syncFolder(d.fs, folder)

	d.mu.Lock()
	if f.next == nil {
		delete(d.flushes, folder)
	}
	d.mu.Unlock()
	close(own.done)
	return own.err
}

// flushRemoval makes durable that something was removed from a folder. If the folder itself was removed meanwhile, that
// is what must be durable.
func (d *folders) flushRemoval(root, folder string) error {
	for {
		err := d.flush(folder)
		if folder == root || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		folder = filepath.Dir(folder)
	}
}
