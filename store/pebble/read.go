package pebble

import (
	"context"
	"encoding/binary"
	"iter"

	engine "github.com/cockroachdb/pebble/v2"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// Get returns the present revision of an object; see [store.Store].
func (s *Store) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (d *coffer.Document, err error) {
	if err := s.enter(ctx, "pebble.Get"); err != nil {
		return nil, err
	}
	defer s.exit()
	err = s.read(appendObject(make([]byte, 0, restAt+idLen), v, docTable, id), func(b []byte) (err error) {
		d, _, err = decodeRevision(b, id)
		return err
	})
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Chunk returns where a chunk is; see [store.Store].
func (s *Store) Chunk(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, set, index uint64,
) (c store.Chunk, err error) {
	if err := s.enter(ctx, "pebble.Chunk"); err != nil {
		return store.Chunk{}, err
	}
	defer s.exit()
	err = s.read(appendChunk(nil, v, id, set, index), func(b []byte) (err error) {
		c, err = decodeChunk(b, id, set, index)
		return err
	})
	if err != nil {
		return store.Chunk{}, err
	}
	return c, nil
}

// Usage returns what a vault holds; see [store.Store].
func (s *Store) Usage(ctx context.Context, v coffer.VaultID) (store.Usage, error) {
	if err := s.enter(ctx, "pebble.Usage"); err != nil {
		return store.Usage{}, err
	}
	defer s.exit()
	u, err := s.usage(v)
	if err != nil {
		return store.Usage{}, err
	}
	if before, pending := s.durable.usage(v); pending {
		return before, nil
	}
	return u, nil
}

// Changes yields a vault's changes; see [store.Store].
func (s *Store) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	const op = "pebble.Changes"
	return func(yield func(coffer.Change, error) bool) {
		if err := s.enter(ctx, op); err != nil {
			yield(coffer.Change{}, err)
			return
		}
		defer s.exit()
		if after+1 == 0 {
			return
		}
		it, err := s.db.NewIterWithContext(ctx, &engine.IterOptions{
			LowerBound: appendChange(nil, v, after+1),
			UpperBound: appendTable(nil, v, feedTable+1),
		})
		if err != nil {
			yield(coffer.Change{}, failure(op, err))
			return
		}
		defer s.health.leave(it)
		last := ^uint64(0)
		if u, pending := s.durable.usage(v); pending {
			last = u.Changes
		}
		expected := after + 1
		for it.First(); it.Valid(); it.Next() {
			if err := ctx.Err(); err != nil {
				yield(coffer.Change{}, coffer.E(op, coffer.Unavailable, err))
				return
			}
			c, err := decodeChangeAt(it.Key(), it.Value())
			if err == nil && c.Number > last {
				return
			}
			// Only a purge leaves a gap, before its own change.
			if err == nil && c.Number != expected && !(c.Kind == coffer.VaultErased && expected == after+1) {
				err = coffer.Errorf(op, coffer.Corrupt, "a change is missing")
			}
			if !yield(c, err) || err != nil {
				return
			}
			expected = c.Number + 1
		}
		if err := it.Error(); err != nil {
			yield(coffer.Change{}, failure(op, err))
		}
	}
}

func decodeChangeAt(key, b []byte) (coffer.Change, error) {
	if len(key) != restAt+8 {
		return coffer.Change{}, errRecord()
	}
	return decodeChange(b, binary.BigEndian.Uint64(key[restAt:]))
}
