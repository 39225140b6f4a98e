package pebble

import (
	"sync"

	engine "github.com/cockroachdb/pebble/v2"
)

// A scheduler lets the engine tidy up one part of its tree at a time, and nothing before the store is open: opening
// would wait for it, after a crash for as long as that takes.
type scheduler struct {
	db engine.DBForCompaction

	mu      sync.Mutex
	open    bool
	running int
	grants  sync.WaitGroup // calls of the database under way
}

var _ engine.CompactionScheduler = (*scheduler)(nil)

// start allows compactions.
func (c *scheduler) start() {
	c.mu.Lock()
	c.open = true
	c.mu.Unlock()
	c.grant()
}

// Register is called by the engine when it opens.
func (c *scheduler) Register(_ int, db engine.DBForCompaction) { c.db = db }

// Unregister is called by the engine when it closes. The database is not called any more when it returns.
func (c *scheduler) Unregister() {
	c.mu.Lock()
	c.open = false
	c.mu.Unlock()
	c.grants.Wait()
}

// TrySchedule is called by the engine, which has its locks held, to ask whether it may compact. When it may not, it
// waits for grant.
func (c *scheduler) TrySchedule() (bool, engine.CompactionGrantHandle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.open || c.running > 0 {
		return false, nil
	}
	c.running++
	return true, c
}

// grant lets a waiting compaction begin unless one is running. One that the engine was allowed meanwhile may run beside
// it.
func (c *scheduler) grant() {
	c.mu.Lock()
	free := c.open && c.running == 0
	if free {
		c.grants.Add(1)
	}
	c.mu.Unlock()
	if !free {
		return
	}
	defer c.grants.Done()
	if waiting, _ := c.db.GetWaitingCompaction(); waiting && c.db.Schedule(c) {
		c.mu.Lock()
		c.running++
		c.mu.Unlock()
	}
}

// UpdateGetAllowedWithoutPermission is called by the engine when more could be allowed; here it never is.
func (c *scheduler) UpdateGetAllowedWithoutPermission() {}

// Started is called when a compaction begins.
func (c *scheduler) Started() {}

// MeasureCPU is called for each goroutine of a compaction.
func (c *scheduler) MeasureCPU(engine.CompactionGoroutineKind) {}

// CumulativeStats is called from time to time.
func (c *scheduler) CumulativeStats(engine.CompactionGrantHandleStats) {}

// Done is called when a compaction ends.
func (c *scheduler) Done() {
	c.mu.Lock()
	c.running--
	c.mu.Unlock()
	c.grant()
}
