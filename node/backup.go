package node

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
	"github.com/cofferhq/coffer/store"
)

// A Manifest says what a backup is: a folder laid out as a data folder is, with this as its file backup.json. It is
// written last: a folder without one is no whole backup.
type Manifest struct {
	Format  int       `json:"format"` // of the manifest and the folder's layout
	Version string    `json:"version,omitempty"`
	Time    time.Time `json:"time"` // when the documents were copied

	Documents Part  `json:"documents"`
	Chunks    *Part `json:"chunks,omitempty"` // nil: they are kept in a bucket, and are not in the backup

	// Keys are the SHA-256, in hexadecimal, of the files that hold or describe the node's keys, by their names.
	Keys map[string]string `json:"keys"`
}

// A Part is what a folder of a backup holds.
type Part struct {
	Files int64 `json:"files"`
	Bytes int64 `json:"bytes"`
}

const (
	manifestFormat = 1
	maxManifest    = 64 << 10
	maxKeyFile     = 1 << 20
)

// Backup copies the disks into a new folder, while they are being used or not, and returns what was copied: documents
// as they were at one moment not before the call, every chunk that these name, and the keys. Chunks in a bucket stay
// there.
//
// Conflict when the folder is there already, or another backup is under way; Invalid for a store that cannot be copied
// so. After a failure the folder is not there.
func (d *Disks) Backup(ctx context.Context, dir string) (m *Manifest, err error) {
	const op = "backup"
	documents, ok := d.documents.(store.Checkpointer)
	if !ok || d.folder == nil {
		return nil, coffer.Errorf(op, coffer.Invalid,
			"this store is a database: use pg_dump, and replication of the bucket, as doc/operating.md says")
	}
	if !d.backups.TryLock() {
		return nil, coffer.Errorf(op, coffer.Conflict, "another backup is under way")
	}
	defer d.backups.Unlock()
	switch err := os.Mkdir(dir, 0o700); {
	case errors.Is(err, fs.ErrExist):
		return nil, coffer.Errorf(op, coffer.Conflict, "the folder is there already: a backup goes into a new one")
	case err != nil:
		return nil, coffer.Errorf(op, coffer.Unavailable, "the folder cannot be made: "+withoutPath(err).Error())
	}
	defer func() {
		if err != nil {
			m, err = nil, errors.Join(err, os.RemoveAll(dir))
		}
	}()
	m = &Manifest{Format: manifestFormat, Version: d.config.Version, Time: d.config.Now().UTC(), Keys: map[string]string{}}
	if err := d.copyStores(ctx, documents, dir); err != nil {
		return nil, err
	}
	if m.Documents, err = measure(filepath.Join(dir, documentsFolder)); err != nil {
		return nil, err
	}
	if d.files != nil {
		chunks, err := measure(filepath.Join(dir, chunksFolder))
		if err != nil {
			return nil, err
		}
		m.Chunks = &chunks
	}
	for _, name := range []string{identityFile, identityKeyFile, logKeyFile} {
		b, err := readBounded(filepath.Join(d.folder.path, name), maxKeyFile)
		if errors.Is(err, fs.ErrNotExist) {
			continue // a log key may have been handed in
		}
		if err == nil {
			err = writeNew(filepath.Join(dir, name), b)
		}
		if err != nil {
			return nil, coffer.E(op, coffer.Unavailable, withoutPath(err))
		}
		m.Keys[name] = hashOf(b)
	}
	b, err := jose.Encode(m)
	if err != nil {
		return nil, coffer.E(op, coffer.Other, err)
	}
	if err := ctx.Err(); err != nil {
		return nil, coffer.E(op, coffer.Unavailable, err)
	}
	err = errors.Join(writeNew(filepath.Join(dir, manifestFile), append(b, '\n')), syncFolder(filepath.Dir(dir)))
	if err != nil {
		return nil, coffer.E(op, coffer.Unavailable, withoutPath(err))
	}
	return m, nil
}

// copyStores copies documents and then chunks. A chunk that the copied documents name was there when they were copied;
// what is released from before that moment on is not removed until the chunks are copied, too.
func (d *Disks) copyStores(ctx context.Context, documents store.Checkpointer, dir string) (err error) {
	if d.files != nil {
		release := d.chunks.hold()
		defer func() {
			// What cannot be removed now the sweep removes: that is no fault of the backup.
			if err := release(context.WithoutCancel(ctx)); err != nil {
				d.log.Error("removing chunks that were held back", "error", err)
			}
		}()
	}
	if err := documents.Checkpoint(ctx, filepath.Join(dir, documentsFolder)); err != nil {
		return err
	}
	if d.files == nil {
		return nil
	}
	return d.files.Copy(ctx, filepath.Join(dir, chunksFolder))
}

// measure counts the files below a folder and their bytes.
func measure(dir string) (p Part, err error) {
	err = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			p.Files++
			p.Bytes += info.Size()
		}
		return err
	})
	if err != nil {
		return p, coffer.E("backup", coffer.Unavailable, withoutPath(err))
	}
	return p, nil
}

// readBounded reads a small file.
func readBounded(path string, most int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(b)) > most {
		err = errors.New("a file is too large")
	}
	return b, err
}

func hashOf(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// syncFolder makes durable which entries a folder has.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
