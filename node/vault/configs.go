package vault

import (
	"sync"
	"sync/atomic"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/cofferhq/coffer"
)

// configs keeps configurations in memory, each with the number of the vault's law that it was read under: it is good
// for decisions under that law, and for no others. Where this process alone changes laws, none is kept that is older
// than the last change that was acknowledged.
type configs struct {
	kept  *lru.Cache[coffer.VaultID, *record]
	mu    sync.Mutex
	moves atomic.Uint64 // how often one was forgotten
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

// get returns the vault's configuration, or nil, and what add needs to know once it has been read.
func (c *configs) get(id coffer.VaultID) (r *record, at uint64) {
	at = c.moves.Load()
	r, _ = c.kept.Get(id)
	return r, at
}

// add keeps what was read, unless a law may have moved in this process since the get that returned at.
func (c *configs) add(id coffer.VaultID, r *record, at uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.moves.Load() == at {
		c.kept.Add(id, r)
	}
}

// forget is called after every attempt to change a vault's law, and when it turns out to have moved.
func (c *configs) forget(id coffer.VaultID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moves.Add(1)
	c.kept.Remove(id)
}
