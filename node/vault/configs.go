package vault

import (
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cofferhq/coffer"
)

// configs keeps configurations in memory, none of them older than the last that was acknowledged: an old one would
// let a former controller in.
type configs struct {
	mu    sync.Mutex
	kept  *lru.Cache[coffer.VaultID, *record]
	moves uint64 // how often one was forgotten
}

// configsKept is how many configurations stay in memory: about a kilobyte each.
const configsKept = 8192

func newConfigs() configs {
	kept, err := lru.New[coffer.VaultID, *record](configsKept)
	if err != nil {
		panic(err) // only for a size below one
	}
	return configs{kept: kept}
}

// get returns the vault's configuration, or nil and what add needs to know once it has been read.
func (c *configs) get(id coffer.VaultID) (r *record, at uint64) {
	if r, ok := c.kept.Get(id); ok {
		return r, 0
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return nil, c.moves
}

// add keeps what was read, unless a configuration may have been replaced since the get that returned at.
func (c *configs) add(id coffer.VaultID, r *record, at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moves == at {
		c.kept.Add(id, r)
	}
}

// forget is called after every attempt to replace a configuration.
func (c *configs) forget(id coffer.VaultID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves++
	c.kept.Remove(id)
}
