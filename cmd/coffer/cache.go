package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/cofferhq/coffer"
)

// maxCache is how many bytes of sealed objects are kept; when there are more, the oldest go.
const maxCache = 128 << 20

// A cache keeps sealed objects as files of a folder, for one process at a time. It keeps [agent.Cache].
//
// How far the feed of the vault was followed is in the journal, which all processes share, and only what follows there
// tells that an object in the cache was replaced. So a process that goes without the cache, because another one has it,
// leaves a mark: the cache then says nothing any more, and is emptied by the next process that is alone.
//
// Beside the objects there are three files: "lock" is locked by who uses the cache, and holds how many bytes there are;
// "others" is locked, shared, by all who go without; "stale" is the mark.
type cache struct {
	dir  string
	most int64
	lock *os.File

	mu   sync.Mutex
	size int64 // at least as much as there is
}

const (
	cacheLock   = "lock"
	cacheOthers = "others"
	cacheStale  = "stale"
)

// errOthers is the error of a cache that another process uses.
var errOthers = errors.New("another process is using the cache")

// openCache takes the cache in a folder for this process, and makes the folder. If it is not to be had, use is nil; left
// is to be called at the end in any case.
func openCache(dir string, most int64) (use *cache, left func()) {
	none := func() {}
	if !locks || os.MkdirAll(dir, 0o700) != nil {
		return nil, none
	}
	c := &cache{dir: dir, most: most}
	err := c.take()
	if err == nil {
		return c, c.close
	}
	others, err := os.OpenFile(filepath.Join(dir, cacheOthers), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, none
	}
	lockShared(others)
	_ = c.mark()
	return nil, func() { _ = others.Close() }
}

// take locks the cache, and empties it if somebody had gone without.
func (c *cache) take() (err error) {
	if c.lock, err = os.OpenFile(filepath.Join(c.dir, cacheLock), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = c.lock.Close()
		}
	}()
	if !lock(c.lock) {
		return errOthers
	}
	others, err := os.OpenFile(filepath.Join(c.dir, cacheOthers), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer others.Close()
	if !lock(others) {
		return errOthers
	}
	if c.stale() {
		if err := c.prune(0); err != nil {
			return err
		}
		if err := os.Remove(filepath.Join(c.dir, cacheStale)); err != nil {
			return err
		}
	}
	// While it is in use the file is empty: after a crash, what is there is counted.
	b, err := io.ReadAll(io.LimitReader(c.lock, 20))
	if err != nil {
		return err
	}
	if c.size, err = strconv.ParseInt(string(b), 10, 64); err != nil || c.size < 0 {
		c.size = 0
		if err := c.prune(c.most); err != nil {
			return err
		}
	}
	return c.lock.Truncate(0)
}

// mark leaves the mark of somebody who goes without.
func (c *cache) mark() error {
	f, err := os.OpenFile(filepath.Join(c.dir, cacheStale), os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	return f.Close()
}

// forgetCache makes what a cache holds be believed no more.
func forgetCache(dir string) {
	if there, err := exists(dir); there && err == nil {
		_ = (&cache{dir: dir}).mark()
	}
}

func (c *cache) stale() bool {
	there, err := exists(filepath.Join(c.dir, cacheStale))
	return there || err != nil
}

// close gives the cache back.
func (c *cache) close() {
	_, _ = c.lock.WriteAt([]byte(strconv.FormatInt(c.size, 10)), 0)
	_ = c.lock.Close()
}

// file returns the file of an object.
func (c *cache) file(name string) (string, error) {
	if !noteName.MatchString(name) {
		return "", coffer.Errorf("cache", coffer.Invalid, "not the name of an object")
	}
	return filepath.Join(c.dir, name), nil
}

// Load returns an object, or NotExist.
func (c *cache) Load(_ context.Context, name string) ([]byte, error) {
	file, err := c.file(name)
	if err != nil {
		return nil, err
	}
	b, err := readSmall(file, c.most)
	if errors.Is(err, fs.ErrNotExist) || err == nil && c.stale() {
		return nil, coffer.Errorf("cache", coffer.NotExist, "not kept")
	}
	return b, err
}

// Save keeps an object. It need not survive a loss of power, but is there whole or not at all.
func (c *cache) Save(_ context.Context, name string, object []byte) (err error) {
	file, err := c.file(name)
	if err != nil || int64(len(object)) > c.most/8 {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.size += int64(len(object)); c.size > c.most {
		if err := c.prune(c.most / 4 * 3); err != nil {
			return err
		}
		c.size += int64(len(object))
	}
	temporary := filepath.Join(c.dir, ".coffer-"+rand.Text())
	if err = os.WriteFile(temporary, object, 0o600); err == nil {
		err = os.Rename(temporary, file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temporary))
	}
	return nil
}

// Delete forgets an object.
func (c *cache) Delete(_ context.Context, name string) error {
	file, err := c.file(name)
	if err != nil {
		return err
	}
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// prune removes the oldest objects until no more than so many bytes are left, and counts them.
func (c *cache) prune(most int64) error {
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	type kept struct {
		name string
		size int64
		time time.Time
	}
	var all []kept
	c.size = 0
	for _, e := range entries {
		if e.Name() == cacheLock || e.Name() == cacheOthers || e.Name() == cacheStale {
			continue
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return err
		}
		k := kept{e.Name(), info.Size(), info.ModTime()}
		if !noteName.MatchString(k.name) {
			k.time = time.Time{} // left behind by a crash: it goes first
		}
		all = append(all, k)
		c.size += k.size
	}
	slices.SortFunc(all, func(a, b kept) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.name, b.name))
	})
	for _, k := range all {
		if c.size <= most && noteName.MatchString(k.name) {
			break
		}
		if err := os.Remove(filepath.Join(c.dir, k.name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		c.size -= k.size
	}
	return nil
}

// cacheSize returns how many bytes a cache holds.
func cacheSize(dir string) (n int64) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0
	}
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			n += info.Size()
		}
	}
	return n
}
