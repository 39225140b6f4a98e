package vault

import (
	"context"
	"iter"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
)

// A disk is the store as it is used on behalf of one vault, or of somebody who makes vaults: each act in its turn. The
// methods are those of [store.Store], and fail besides with Exhausted, and a time to wait, when too many are waiting.
type disk struct {
	s  *Service
	by coffer.VaultID // whose turns are taken
}

func (s *Service) disk(by coffer.VaultID) disk { return disk{s, by} }

func (d disk) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (*coffer.Document, error) {
	if err := d.s.turns.take(ctx, d.by, small, false); err != nil {
		return nil, err
	}
	defer d.s.turns.give(small)
	return d.s.store.Get(ctx, v, id)
}

func (d disk) Revision(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, sequence uint64,
) (*coffer.Document, error) {
	if err := d.s.turns.take(ctx, d.by, small, false); err != nil {
		return nil, err
	}
	defer d.s.turns.give(small)
	return d.s.store.Revision(ctx, v, id, sequence)
}

func (d disk) Chunk(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, set, index uint64,
) (store.Chunk, error) {
	if err := d.s.turns.take(ctx, d.by, small, false); err != nil {
		return store.Chunk{}, err
	}
	defer d.s.turns.give(small)
	return d.s.store.Chunk(ctx, v, id, set, index)
}

func (d disk) Usage(ctx context.Context, v coffer.VaultID) (store.Usage, error) {
	if err := d.s.turns.take(ctx, d.by, small, false); err != nil {
		return store.Usage{}, err
	}
	defer d.s.turns.give(small)
	return d.s.store.Usage(ctx, v)
}

func (d disk) Count(ctx context.Context, v coffer.VaultID, q coffer.Query) (int, error) {
	if err := d.s.turns.take(ctx, d.by, medium, false); err != nil {
		return 0, err
	}
	defer d.s.turns.give(medium)
	return d.s.store.Count(ctx, v, q)
}

// Apply commits, and waits for the end of it even when ctx ends first: of a commit that may yet happen, followers could
// not be told, configurations not be forgotten, and chunks not be removed.
func (d disk) Apply(ctx context.Context, writes ...store.Write) ([]store.Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, coffer.E("commit", coffer.Unavailable, err)
	}
	cost := writesCost(writes)
	if err := d.s.turns.take(ctx, d.by, cost, false); err != nil {
		return nil, err
	}
	defer d.s.turns.give(cost)
	return d.s.store.Apply(context.WithoutCancel(ctx), writes...)
}

// Up to which sizes a commit is small, and medium.
const (
	smallWrites, mediumWrites = 16, 256
	smallBytes, mediumBytes   = 64 << 10, 1 << 20
)

func writesCost(writes []store.Write) int {
	cost, size := small, int64(0)
	for i := range writes {
		switch w := &writes[i]; {
		case w.Purge:
			cost = large
		case w.Document != nil:
			size += store.Size(w.Document)
		}
	}
	switch {
	case len(writes) > mediumWrites || size > mediumBytes:
		cost = large
	case len(writes) > smallWrites || size > smallBytes:
		cost = max(cost, medium)
	}
	return cost
}

func (d disk) Query(ctx context.Context, v coffer.VaultID, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return inTurns(ctx, d, medium, d.s.store.Query(ctx, v, q), func(d *coffer.Document) int { return len(d.Body) })
}

func (d disk) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	return inTurns(ctx, d, small, d.s.store.Changes(ctx, v, after), func(coffer.Change) int { return 0 })
}

// What is listed is read so many, or so many bytes, at a time.
const (
	readAtOnce  = 128
	readAtBytes = 256 << 10
)

// inTurns yields what a listing does. No slots are held while what was read is handed on: that may take as long as a
// client likes.
func inTurns[T any](
	ctx context.Context, d disk, cost int, listing iter.Seq2[T, error], size func(T) int,
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		t := d.s.turns
		var none T
		if err := t.take(ctx, d.by, cost, false); err != nil {
			yield(none, err)
			return
		}
		holds := true
		defer func() {
			if holds {
				t.give(cost)
			}
		}()
		var read []T
		bytes := 0
		handOn := func() bool {
			t.give(cost)
			holds = false
			for _, v := range read {
				if !yield(v, nil) {
					return false
				}
			}
			clear(read)
			read, bytes = read[:0], 0
			return true
		}
		for v, err := range listing {
			if err != nil {
				if handOn() {
					yield(v, err)
				}
				return
			}
			if read == nil {
				read = make([]T, 0, 16)
			}
			read = append(read, v)
			if bytes += size(v); len(read) < readAtOnce && bytes < readAtBytes {
				continue
			}
			if !handOn() {
				return
			}
			if err := t.take(ctx, d.by, cost, true); err != nil {
				yield(none, err)
				return
			}
			holds = true
		}
		handOn()
	}
}
