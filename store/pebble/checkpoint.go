package pebble

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"strings"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

var (
	_ store.Checkpointer = (*Store)(nil)
	_ store.Meter        = (*Store)(nil)
)

// partly is what the name of a copy ends with until it is whole.
const partly = ".partly"

// Checkpoint writes a copy into a folder; see [store.Checkpointer]. Conflict if there is something already. Tables and
// documents are linked where the file system can, and copied elsewhere; the log is copied. The copy is made beside,
// under the folder's name with ".partly" behind it, and renamed when it is whole and durable. What an earlier call that
// was cut off has left there is removed. When ctx ends, the copy is given up at its next file.
func (s *Store) Checkpoint(ctx context.Context, dir string) error {
	const op = "pebble.Checkpoint"
	if err := s.enter(ctx, op); err != nil {
		return err
	}
	defer s.exit()
	s.copying.Lock()
	defer s.copying.Unlock()
	dir = s.fs.PathJoin(s.fs.PathDir(dir), s.fs.PathBase(dir)) // without a separator at its end
	switch _, err := s.fs.Stat(dir); {
	case err == nil:
		return coffer.Errorf(op, coffer.Conflict, "the folder for the copy is there already")
	case !errors.Is(err, fs.ErrNotExist):
		return copyFailure(op, err)
	}
	if _, err := s.fs.Stat(s.fs.PathDir(dir)); err != nil {
		return copyFailure(op, err)
	}
	part := dir + partly
	if err := s.fs.RemoveAll(part); err != nil {
		return copyFailure(op, err)
	}
	var err error
	c := &copying{ctx: ctx, dir: part}
	s.disk.copying.Store(c)
	defer s.disk.copying.Store(nil)
	if !s.health.guard(func() { err = s.copyTo(c, dir) }) {
		return s.health.failure(op)
	}
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		err = coffer.E(op, coffer.Unavailable, ctx.Err())
	default:
		err = copyFailure(op, err)
	}
	_ = s.fs.RemoveAll(part)
	return err
}

// copyTo makes the copy under a name and gives it another when it is durable.
func (s *Store) copyTo(c *copying, dir string) error {
	if err := s.db.Checkpoint(c.dir, engine.WithFlushedWAL()); err != nil {
		return err
	}
	if err := errors.Join(c.ctx.Err(), c.failed()); err != nil {
		return err
	}
	if err := s.fs.Rename(c.dir, dir); err != nil {
		return err
	}
	if err := syncFolder(s.fs, s.fs.PathDir(dir)); err != nil {
		_ = s.fs.RemoveAll(dir)
		return err
	}
	return nil
}

// copyFailure returns an error of making a copy as one of ours.
func copyFailure(op string, err error) error {
	e := failure(op, err)
	if text := reason(err); !strings.Contains(text, "engine") {
		e = coffer.Errorf(op, coffer.KindOf(e), "the copy could not be written: "+text)
	}
	return e
}

// Stats counts what the store holds; see [store.Meter]. It reads one record of each vault.
func (s *Store) Stats(ctx context.Context) (all store.Stats, err error) {
	const op = "pebble.Stats"
	if err := s.enter(ctx, op); err != nil {
		return store.Stats{}, err
	}
	defer s.exit()
	it, err := s.db.NewIterWithContext(ctx, &engine.IterOptions{
		LowerBound: []byte{vaultKeys}, UpperBound: []byte{vaultKeys + 1},
	})
	if err != nil {
		return store.Stats{}, failure(op, err)
	}
	defer s.health.leave(it)
	for more := it.First(); more; {
		if err := ctx.Err(); err != nil {
			return store.Stats{}, coffer.E(op, coffer.Unavailable, err)
		}
		key := it.Key()
		if len(key) < restAt {
			more = it.Next()
			continue
		}
		v := coffer.VaultID(key[vaultAt:])
		at := appendTable(nil, v, usageTable)
		if it.SeekGE(at) && bytes.Equal(it.Key(), at) {
			u, err := decodeUsage(it.Value())
			if err != nil {
				return store.Stats{}, err
			}
			if u.Changes > 0 {
				all.Vaults++
			}
			all.Documents += u.Documents
			all.Bytes += u.Bytes
			all.Changes += int64(u.Changes)
		}
		_, beyond := bounds(v)
		more = it.SeekGE(beyond)
	}
	if err := it.Error(); err != nil {
		return store.Stats{}, failure(op, err)
	}
	m, err := s.metrics(op)
	if err != nil {
		return store.Stats{}, err
	}
	all.Disk = int64(m.DiskSpaceUsage())
	all.Memory = m.BlockCache.Size + m.FileCache.Size + int64(m.MemTable.Size+m.MemTable.ZombieSize)
	return all, nil
}

// metrics returns what the engine counts.
func (s *Store) metrics(op string) (*engine.Metrics, error) {
	var m *engine.Metrics
	if !s.health.guard(func() { m = s.db.Metrics() }) {
		return nil, s.health.failure(op)
	}
	return m, nil
}
