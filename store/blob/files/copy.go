package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// Copy makes a store in a folder, which must be empty or not there yet and outside the store, with all blobs that were
// put before the call and not deleted since; those that are put or deleted meanwhile may be in it or not. Blobs are
// linked where the file system can do that, which takes no room and is safe because they never change; else they are
// copied. All is durable when it returns. It needs the same little memory for any number.
//
// It fails with Invalid when the folder is not empty, lies in the store or is a file, and with Unavailable when a disk
// fails or ctx ends. Then what it made is removed again.
func (s *Store) Copy(ctx context.Context, dir string) (err error) {
	const op = "files.Copy"
	if within(dir, s.dir) {
		return coffer.Errorf(op, coffer.Invalid, "the folder for the copy lies in the store")
	}
	made, err := makeAll(s.fs, dir)
	if err != nil {
		removeMade(s.fs, made)
		return refusal(err)
	}
	f, err := s.fs.Open(dir)
	if err != nil {
		return refusal(err)
	}
	there, err := f.ReadDir(1)
	_ = f.Close()
	switch {
	case len(there) > 0:
		return coffer.Errorf(op, coffer.Invalid, "the folder for the copy is not empty")
	case err != nil && err != io.EOF:
		return refusal(err)
	}
	c := &copier{ctx: ctx, fs: s.fs, links: true, buffer: make([]byte, 128<<10)}
	defer func() {
		if err != nil {
			c.empty(dir)
			removeMade(s.fs, made)
		}
	}()
	if err := each(s.fs, s.dir, func(e fs.DirEntry) (bool, error) {
		if len(e.Name()) != 2 || !e.IsDir() {
			return true, nil
		}
		_, err := c.folder(filepath.Join(s.dir, e.Name()), filepath.Join(dir, e.Name()), 1)
		return err == nil, err
	}); err != nil {
		return err
	}
	// What has no format is no store: a copy that was cut off is not taken for one.
	t := newStore(s.fs, dir)
	if err := s.fs.Mkdir(filepath.Join(dir, newName)); err != nil {
		return failure(op, unnamed(err))
	}
	if err := t.sign(); err != nil {
		return failure(op, unnamed(err))
	}
	return nil
}

// within reports whether a folder is another one or below it, as far as their names say.
func within(dir, other string) bool {
	dir, errDir := filepath.Abs(dir)
	other, errOther := filepath.Abs(other)
	return errDir == nil && errOther == nil && (dir == other || strings.HasPrefix(dir, other+string(filepath.Separator)))
}

type copier struct {
	ctx    context.Context
	fs     FS
	links  bool // the file system can link
	buffer []byte
}

// folder copies the blobs in and below a folder, whose keys have so many segments there, and flushes the other one. It
// reports whether there were any; else the other one is not left.
func (c *copier) folder(from, to string, segments int) (some bool, err error) {
	const op = "files.Copy"
	if err := c.fs.Mkdir(to); err != nil {
		return false, failure(op, unnamed(err))
	}
	err = each(c.fs, from, func(e fs.DirEntry) (bool, error) {
		if err := c.ctx.Err(); err != nil {
			return false, coffer.E(op, coffer.Unavailable, err)
		}
		name, isBlob := strings.CutSuffix(e.Name(), suffix)
		source, target := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		there := false
		var err error
		switch {
		case blob.CheckKey(name) != nil:
		case isBlob && e.Type().IsRegular():
			there, err = c.blob(source, target)
			err = failure(op, err)
		case !isBlob && e.IsDir() && segments < blob.MaxSegments:
			there, err = c.folder(source, target, segments+1)
		}
		some = some || there
		return err == nil, err
	})
	switch {
	case err != nil:
		return some, err
	case some:
		err = syncFolder(c.fs, to)
	default:
		err = c.fs.Remove(to)
	}
	return some, failure(op, unnamed(err))
}

// blob links or copies a file. It reports whether that was still there.
func (c *copier) blob(from, to string) (there bool, err error) {
	if c.links {
		err := c.fs.Link(from, to)
		switch {
		case err == nil:
			return true, nil
		case errors.Is(err, fs.ErrNotExist):
			return false, nil
		case errors.Is(err, syscall.EXDEV), errors.Is(err, syscall.EPERM), errors.Is(err, errors.ErrUnsupported):
			c.links = false
		case errors.Is(err, syscall.EMLINK): // this one has too many names
		default:
			return false, err
		}
	}
	r, err := c.fs.Open(from)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer r.Close()
	w, err := c.fs.Create(to)
	if err != nil {
		return false, unnamed(err)
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{r}, c.buffer)
	if err == nil {
		err = w.Sync()
	}
	return true, unnamed(errors.Join(err, w.Close()))
}

// empty removes all that is in a folder.
func (c *copier) empty(dir string) {
	_ = each(c.fs, dir, func(e fs.DirEntry) (bool, error) {
		_ = c.fs.RemoveAll(filepath.Join(dir, e.Name()))
		return true, nil
	})
}
