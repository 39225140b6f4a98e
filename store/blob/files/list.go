package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"iter"
	"path/filepath"
	"strings"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store/blob"
)

// List yields all blobs; see [blob.Store]. It needs the same little memory for any number.
func (s *Store) List(ctx context.Context) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		l := &lister{ctx: ctx, fs: s.fs, yield: yield}
		err := each(s.fs, s.dir, func(e fs.DirEntry) (bool, error) {
			if len(e.Name()) != 2 || !e.IsDir() {
				return true, nil
			}
			return l.list(filepath.Join(s.dir, e.Name()), "", 1)
		})
		if err != nil {
			yield(blob.Info{}, err)
		}
	}
}

type lister struct {
	ctx   context.Context
	fs    FS
	yield func(blob.Info, error) bool
}

// list yields what is in a folder whose blobs have keys that begin with prefix and have so many segments, and below it.
// It returns false when no more is wanted.
func (l *lister) list(folder, prefix string, segments int) (more bool, err error) {
	more = true
	err = each(l.fs, folder, func(e fs.DirEntry) (bool, error) {
		if err := l.ctx.Err(); err != nil {
			return false, coffer.E("files.List", coffer.Unavailable, err)
		}
		name, isBlob := strings.CutSuffix(e.Name(), suffix)
		switch {
		case blob.CheckKey(prefix+name) != nil:
		case !isBlob && e.IsDir() && segments < blob.MaxSegments:
			more, err = l.list(filepath.Join(folder, name), prefix+name+"/", segments+1)
		case isBlob && e.Type().IsRegular():
			var info fs.FileInfo
			if info, err = e.Info(); err == nil {
				more = l.yield(blob.Info{Key: prefix + name, Size: info.Size(), Modified: info.ModTime()}, nil)
			} else if errors.Is(err, fs.ErrNotExist) { // deleted meanwhile
				err = nil
			} else {
				err = failure("files.List", err)
			}
		}
		return more, err
	})
	return more, err
}

// each calls visit for the entries of a folder, a few at a time, until it returns false or an error. A folder that is
// not there has none.
func each(fsys FS, folder string, visit func(fs.DirEntry) (bool, error)) error {
	const op = "files.List"
	f, err := fsys.Open(folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return failure(op, err)
	}
	defer f.Close()
	for {
		entries, err := f.ReadDir(256)
		for _, e := range entries {
			if more, err := visit(e); !more || err != nil {
				return err
			}
		}
		if err == io.EOF || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return failure(op, err)
		}
	}
}
