package main

import (
	"context"
	"errors"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/pebble"
)

// An ours is a store of this module.
type ours struct {
	store store.Store
	vault coffer.VaultID
	dir   string // of an embedded one
}

func openPebble(c sideConfig) (side, error) {
	s, err := pebble.Open(c.Dir, pebble.Options{Memory: c.Memory})
	if err != nil {
		return nil, err
	}
	return &ours{store: s, vault: ourVault, dir: c.Dir}, nil
}

// write is as a node writes: under the law that it decided by.
func (o *ours) write(n int) store.Write {
	law := uint64(0)
	return store.Write{Vault: o.vault, By: writer, Time: time.Now(), Document: document(n), Law: &law}
}

func (o *ours) insert(ctx context.Context, n int) error {
	_, err := o.store.Apply(ctx, o.write(n))
	return err
}

func (o *ours) load(ctx context.Context, from, to int) error {
	writes := make([]store.Write, 0, to-from)
	for n := from; n < to; n++ {
		writes = append(writes, o.write(n))
	}
	_, err := o.store.Apply(ctx, writes...)
	return err
}

func (o *ours) get(ctx context.Context, n int) error {
	d, err := o.store.Get(ctx, o.vault, idOf(n))
	if err != nil {
		return err
	}
	return sized(d.Body)
}

// sized returns an error unless a body is as long as all are.
func sized(body []byte) error {
	if len(body) != bodySize {
		return errors.New("a body of another length")
	}
	return nil
}

func (o *ours) find(ctx context.Context, name, value string) (found int, err error) {
	q := coffer.Query{Index: tagKey, Equals: []map[string]string{{name: value}}}
	for d, err := range o.store.Query(ctx, o.vault, q) {
		if err != nil {
			return found, err
		}
		if err := sized(d.Body); err != nil {
			return found, err
		}
		found++
	}
	return found, nil
}

func (o *ours) unique(ctx context.Context, n int) (int, error) {
	return o.find(ctx, uniqueName, uniqueValue(n))
}

func (o *ours) shared(ctx context.Context, n int) (int, error) {
	return o.find(ctx, sharedName, sharedValue(n))
}

func (o *ours) changes(ctx context.Context, after int) (read int, err error) {
	for c, err := range o.store.Changes(ctx, o.vault, uint64(after)) {
		if err != nil {
			return read, err
		}
		if read++; c.Number != uint64(after+read) {
			return read, errors.New("the feed has a gap")
		}
		if read == page {
			break
		}
	}
	return read, nil
}

func (o *ours) rest(ctx context.Context) error {
	if o.dir == "" {
		return nil
	}
	return settled(ctx, o.dir)
}

func (o *ours) disk(ctx context.Context) (int64, error) {
	if o.dir != "" {
		return folderSize(o.dir)
	}
	m, ok := o.store.(store.Meter)
	if !ok {
		return 0, nil
	}
	stats, err := m.Stats(ctx)
	return stats.Disk, err
}

func (o *ours) stored(ctx context.Context) (int64, error) {
	u, err := o.store.Usage(ctx, o.vault)
	return u.Bytes, err
}

func (o *ours) server() int { return 0 }

// Close closes the store.
func (o *ours) Close() error { return o.store.Close() }
