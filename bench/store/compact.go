package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	engine "github.com/cockroachdb/pebble/v2"
)

// compacted returns how many bytes the files of an engine's folder would take if all of it were compacted, and how many of
// them are values apart from the tables that no table refers to any more. The folder, which nobody uses, stays as it is.
func compacted(ctx context.Context, dir string) (size, garbage int64, err error) {
	clone := dir + "-compacted"
	defer func() { err = errors.Join(err, os.RemoveAll(clone)) }()
	if err := cloneFolder(dir, clone); err != nil {
		return 0, 0, err
	}
	options, err := optionsOf(clone)
	if err != nil {
		return 0, 0, err
	}
	db, err := engine.Open(clone, options)
	if err != nil {
		return 0, 0, err
	}
	err = db.Compact(ctx, []byte{0}, []byte{0xff}, true)
	values := db.Metrics().BlobFiles
	garbage = int64(values.ValueSize - values.ReferencedValueSize)
	if err = errors.Join(err, db.Close()); err != nil {
		return 0, 0, err
	}
	size, err = folderSize(clone)
	return size, garbage, err
}

// cloneFolder copies a folder of an engine. Tables and files of values never change: the two folders share them.
func cloneFolder(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rest, err := filepath.Rel(from, path)
		if err != nil {
			return err
		}
		name := filepath.Join(to, rest)
		switch {
		case e.IsDir():
			return os.MkdirAll(name, 0o700)
		case slices.Contains([]string{".sst", ".blob"}, filepath.Ext(path)):
			return os.Link(path, name)
		}
		return copyFile(path, name)
	})
}

func copyFile(from, to string) (err error) {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}
