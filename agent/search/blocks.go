package search

import (
	"container/list"
	"context"
	"sync"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/agent/seal"
)

// Blocks keeps the blocks of segments: bytes that are written once, read many times and dropped. It is handed
// plaintext, and each block becomes one object like any other.
type Blocks interface {
	// Get returns a block just as it was put. The caller does not change it.
	Get(ctx context.Context, ref seal.Ref) ([]byte, error)
	// Put keeps blocks, and returns where, in the same order. When it fails it may have kept some.
	Put(ctx context.Context, blocks [][]byte) ([]seal.Ref, error)
	// Drop forgets blocks. It passes over those that are not there.
	Drop(ctx context.Context, refs ...seal.Ref) error
}

// Sizes of blocks.
const (
	DefaultBlockSize = 64 << 10
	MinBlockSize     = 4 << 10
	MaxBlockSize     = 1 << 20
)

// The kinds of blocks: a block's first byte.
const (
	blockRoot      = 'R'
	blockDirectory = 'D'
	blockTerms     = 'T'
	blockPostings  = 'P'
	blockStored    = 'S'
)

// putAtOnce is how many blocks are put in one call.
const putAtOnce = 16

// block is where a block is: kept by Blocks, or at hand.
type block struct {
	ref  seal.Ref
	data []byte // nil if kept by Blocks
}

// fetch returns what stands in a block behind its first byte, which is to be kind. Blocks that are read from end to end
// do not drive others out of the cache.
func (x *Index) fetch(ctx context.Context, b *block, kind byte, once bool) ([]byte, error) {
	data := b.data
	if data == nil {
		var ok bool
		if data, ok = x.cache.get(b.ref.ID); !ok {
			var err error
			if data, err = x.blocks.Get(ctx, b.ref); err != nil {
				return nil, err
			}
			if len(data) > MaxBlockSize {
				return nil, errCorrupt("a block is too long")
			}
			if !once {
				x.cache.put(b.ref.ID, data)
			}
		}
	}
	if len(data) == 0 || data[0] != kind {
		return nil, errCorrupt("a block is of another kind")
	}
	return data[1:], nil
}

func errCorrupt(reason string) error { return coffer.Errorf("search", coffer.Corrupt, reason) }

// cache holds the blocks that were used last, up to a number of bytes.
type cache struct {
	mu    sync.Mutex
	most  int64
	size  int64
	order *list.List // of *cached, the last used in front
	byID  map[coffer.ObjectID]*list.Element
}

type cached struct {
	id   coffer.ObjectID
	data []byte
}

func newCache(most int64) *cache {
	return &cache{most: most, order: list.New(), byID: map[coffer.ObjectID]*list.Element{}}
}

func (c *cache) get(id coffer.ObjectID) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, ok := c.byID[id]
	if !ok {
		return nil, false
	}
	c.order.MoveToFront(e)
	return e.Value.(*cached).data, true
}

func (c *cache) put(id coffer.ObjectID, data []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.byID[id]; ok || int64(len(data)) > c.most {
		return
	}
	c.byID[id] = c.order.PushFront(&cached{id, data})
	c.size += int64(len(data))
	for c.size > c.most {
		last := c.order.Back()
		old := c.order.Remove(last).(*cached)
		delete(c.byID, old.id)
		c.size -= int64(len(old.data))
	}
}
