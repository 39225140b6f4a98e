package node

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Restore makes a data folder of a backup. It copies the backup, verifies that it is whole, and checks everything in
// the copy as [Disks.Check] does, before there is a data folder; the backup is only read. Of c it uses what says where
// the disks are to be: chunks that the backup does not hold must be in c.Blobs.
//
// Conflict when there is something in the data folder; Invalid when the backup is none, or not a whole one; Corrupt
// when it is damaged: report was called then, with a sentence for each thing that is wrong. After a failure nothing
// was made.
func Restore(
	ctx context.Context, from string, c Config, report func(string), progress func(Census),
) (m *Manifest, err error) {
	const op = "restore"
	c.setDefaults()
	if c.Store != "" {
		return nil, coffer.Errorf(op, coffer.Invalid,
			"a backup holds an embedded store: it cannot be restored into a database")
	}
	if _, err := c.disks(); err != nil {
		return nil, err
	}
	if m, err = readManifest(from); err != nil {
		return nil, err
	}
	switch {
	case m.Chunks == nil && c.Blobs == "":
		return nil, coffer.Errorf(op, coffer.Invalid,
			"the chunks of this node are in a bucket: say in which one, with --blobs")
	case m.Chunks != nil && c.Blobs != "":
		return nil, coffer.Errorf(op, coffer.Invalid, "the backup holds the chunks, which cannot be restored into a bucket")
	}
	there, err := inhabited(c.Data)
	if err != nil {
		return nil, err
	}
	if there {
		return nil, coffer.Errorf(op, coffer.Conflict,
			"there is something in the data folder: a backup is restored into an empty one")
	}
	made, err := absent(c.Data)
	if err != nil {
		return nil, err
	}
	// A folder that is there may be where a disk is mounted, and cannot be replaced: the copy is made in it then.
	work := filepath.Join(c.Data, restoring)
	if made == c.Data {
		work = filepath.Join(filepath.Dir(c.Data), "."+filepath.Base(c.Data)+restoring)
		made = work
	}
	if err := os.MkdirAll(filepath.Dir(work), 0o700); err != nil {
		return nil, unwritable(err)
	}
	if err := os.Mkdir(work, 0o700); errors.Is(err, fs.ErrExist) {
		return nil, coffer.Errorf(op, coffer.Conflict,
			"another restore is under way or was cut off: remove the folder that ends in "+restoring)
	} else if err != nil {
		return nil, unwritable(err)
	}
	defer func() {
		if err != nil {
			m, err = nil, errors.Join(err, os.RemoveAll(work))
			if made != "" {
				err = errors.Join(err, os.RemoveAll(made))
			}
		}
	}()
	if err := copyTree(ctx, from, work); err != nil {
		return nil, err
	}
	if err := m.verify(work); err != nil {
		return nil, err
	}
	if err := os.Remove(filepath.Join(work, manifestFile)); err != nil {
		return nil, coffer.E(op, coffer.Unavailable, withoutPath(err))
	}
	if err := checkRestored(ctx, c, work, report, progress); err != nil {
		return nil, err
	}
	if made == work {
		if err := errors.Join(os.Rename(work, c.Data), syncFolder(filepath.Dir(c.Data))); err != nil {
			return nil, coffer.E(op, coffer.Unavailable, withoutPath(err))
		}
		return m, nil
	}
	return m, unpack(work, c.Data)
}

// unpack moves what is in a folder to the one that it is in. If it is cut off the folder stays, and no node starts.
func unpack(work, to string) (err error) {
	entries, err := os.ReadDir(work)
	if err != nil {
		return coffer.E("restore", coffer.Unavailable, withoutPath(err))
	}
	defer func() {
		if err != nil {
			for _, e := range entries {
				err = errors.Join(err, os.RemoveAll(filepath.Join(to, e.Name())))
			}
			err = coffer.E("restore", coffer.Unavailable, err)
		}
	}()
	for _, e := range entries {
		if err := os.Rename(filepath.Join(work, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return withoutPath(err)
		}
	}
	if err := syncFolder(to); err != nil {
		return withoutPath(err)
	}
	return errors.Join(os.Remove(work), syncFolder(to))
}

// checkRestored checks a copy of a backup as a node's disks.
func checkRestored(ctx context.Context, c Config, work string, report func(string), progress func(Census)) error {
	c.Data = work
	d, err := OpenDisks(ctx, c)
	if err != nil {
		return err
	}
	wrong := 0
	err = d.Check(ctx, func(what string) {
		wrong++
		report(what)
	}, progress)
	if err = errors.Join(err, d.Close()); err != nil {
		return err
	}
	if wrong > 0 {
		return coffer.Errorf("restore", coffer.Corrupt, "the backup is damaged; nothing was restored")
	}
	if err := os.Remove(filepath.Join(work, lockFile)); err != nil {
		return coffer.E("restore", coffer.Unavailable, withoutPath(err))
	}
	return nil
}

// readManifest reads the manifest of a backup: Invalid if there is none, or it is of a later version.
func readManifest(dir string) (*Manifest, error) {
	const op = "backup"
	b, err := readBounded(filepath.Join(dir, manifestFile), maxManifest)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, coffer.Errorf(op, coffer.Invalid, "the folder is no backup, or not a whole one: it has no "+manifestFile)
	}
	if err != nil {
		return nil, coffer.E(op, coffer.Unavailable, withoutPath(err))
	}
	return parseManifest(b)
}

// parseManifest reads what is in a manifest.
func parseManifest(b []byte) (*Manifest, error) {
	const op = "backup"
	m := new(Manifest)
	if err := jose.DecodeOpen(b, m); err != nil || m.Format < 1 || len(m.Keys) == 0 {
		return nil, coffer.Errorf(op, coffer.Corrupt, manifestFile+" cannot be read")
	}
	if m.Format > manifestFormat {
		return nil, coffer.Errorf(op, coffer.Unavailable, "it was made by a later version: use that one")
	}
	return m, nil
}

// verify reports whether a folder holds what the manifest says.
func (m *Manifest) verify(dir string) error {
	const op = "backup"
	parts := map[string]*Part{documentsFolder: &m.Documents, chunksFolder: m.Chunks}
	for name, want := range parts {
		if want == nil {
			continue
		}
		if got, err := measure(filepath.Join(dir, name)); err != nil || got != *want {
			return coffer.Errorf(op, coffer.Corrupt, "files of it are missing or of another size")
		}
	}
	for name, want := range m.Keys {
		if name != identityFile && name != identityKeyFile && name != logKeyFile {
			return coffer.Errorf(op, coffer.Corrupt, manifestFile+" names what is no key")
		}
		if b, err := readBounded(filepath.Join(dir, name), maxKeyFile); err != nil || hashOf(b) != want {
			return coffer.Errorf(op, coffer.Corrupt, "a file of the node's keys is not what it was")
		}
	}
	return nil
}

// copyTree copies the files below a folder into one that is there, durably. Only files and folders are copied.
func copyTree(ctx context.Context, from, to string) error {
	buffer := make([]byte, 1<<20)
	err := filepath.WalkDir(from, func(name string, e fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, name)
		if err != nil || rel == "." {
			return err
		}
		target := filepath.Join(to, rel)
		switch {
		case e.IsDir():
			return os.Mkdir(target, 0o700)
		case e.Type().IsRegular():
			return copyFile(name, target, buffer)
		}
		return nil
	})
	if err == nil {
		err = filepath.WalkDir(to, func(name string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				err = syncFolder(name)
			}
			return err
		})
	}
	if err != nil {
		return coffer.E("restore", coffer.Unavailable, withoutPath(err))
	}
	return nil
}

func copyFile(from, to string, buffer []byte) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{out}, in, buffer)
	return errors.Join(err, out.Sync(), out.Close())
}
