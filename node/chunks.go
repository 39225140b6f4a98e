package node

import (
	"context"
	"sync"

	"github.com/cofferhq/coffer/store/blob"
)

// chunks is a keeper of chunks that can hold deletions back for a while: a backup copies the documents first and then
// the chunks that they name, while the node goes on releasing chunks.
type chunks struct {
	blob.Store
	mu     sync.RWMutex // held for writing by who changes held, for reading by who deletes
	held   bool
	queue  sync.Mutex
	keys   []string
	groups []string // prefixes
}

// heldMost bounds how many deletions are remembered while they are held back. What goes beyond stays until the sweep.
const heldMost = 100_000

// Delete implements [blob.Store]. While deletions are held back, nothing is removed yet.
func (c *chunks) Delete(ctx context.Context, keys ...string) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.held {
		return c.Store.Delete(ctx, keys...)
	}
	c.queue.Lock()
	defer c.queue.Unlock()
	c.keys = append(c.keys, keys[:min(len(keys), heldMost-len(c.keys))]...)
	return nil
}

// DeleteAll implements [blob.Store].
func (c *chunks) DeleteAll(ctx context.Context, prefix string) error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if !c.held {
		return c.Store.DeleteAll(ctx, prefix)
	}
	c.queue.Lock()
	defer c.queue.Unlock()
	if len(c.groups) < heldMost {
		c.groups = append(c.groups, prefix)
	}
	return nil
}

// hold returns once no deletion is under way, and holds back those to come until release is called, which carries them
// out.
func (c *chunks) hold() (release func(context.Context) error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = true
	return func(ctx context.Context) error {
		c.mu.Lock()
		keys, groups := c.keys, c.groups
		c.held, c.keys, c.groups = false, nil, nil
		c.mu.Unlock()
		for _, prefix := range groups {
			if err := c.Store.DeleteAll(ctx, prefix); err != nil {
				return err
			}
		}
		return c.Store.Delete(ctx, keys...)
	}
}
