package node

import (
	"context"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cofferhq/coffer/store"
)

// Stats are how a node and its disks are doing. There are no identifiers in them.
type Stats struct {
	Documents DocumentStats `json:"documents"`
	Chunks    *ChunkStats   `json:"chunks,omitempty"` // nil: they were not counted
	Node      *ServingStats `json:"node,omitempty"`   // nil: it does not run
}

// DocumentStats are what the store holds, all vaults together; see [store.Stats].
type DocumentStats struct {
	Vaults    int64 `json:"vaults"`
	Documents int64 `json:"documents"`
	Bytes     int64 `json:"bytes"`
	Changes   int64 `json:"changes"`
	Disk      int64 `json:"disk"`
	Memory    int64 `json:"memory"`
}

// ChunkStats are what is kept beside the documents.
type ChunkStats struct {
	Count int64 `json:"count"`
	Bytes int64 `json:"bytes"`
}

// ServingStats are what a running node does.
type ServingStats struct {
	Version   string    `json:"version,omitempty"`
	Uptime    float64   `json:"uptimeSeconds"`
	Requests  int64     `json:"requests"` // answered since the start
	Failed    int64     `json:"failed"`   // of them, with a fault of ours
	Refused   int64     `json:"refused"`  // of them, because there were too many
	InFlight  TierStats `json:"inFlight"`
	Waiting   TierStats `json:"waiting"`
	Memory    int64     `json:"memory"` // bytes that the process holds
	Goroutine int       `json:"goroutines"`
}

// TierStats count requests by their tier; see [Admission].
type TierStats struct {
	Small    int64 `json:"small"`
	Medium   int64 `json:"medium"`
	Large    int64 `json:"large"`
	Follower int64 `json:"followers"`
}

// Stats counts what the disks hold. With chunks, all of them are listed, which takes a while when there are many.
func (d *Disks) Stats(ctx context.Context, chunks bool) (*Stats, error) {
	s := new(Stats)
	if m, ok := d.documents.(store.Meter); ok {
		is, err := m.Stats(ctx)
		if err != nil {
			return nil, err
		}
		s.Documents = DocumentStats(is)
	}
	if !chunks {
		return s, nil
	}
	s.Chunks = new(ChunkStats)
	for info, err := range d.chunks.List(ctx) {
		if err != nil {
			return nil, err
		}
		s.Chunks.Count++
		s.Chunks.Bytes += info.Size
	}
	return s, nil
}

// Stats counts what the node holds and what it does.
func (n *Node) Stats(ctx context.Context, chunks bool) (*Stats, error) {
	s, err := n.disks.Stats(ctx, chunks)
	if err != nil {
		return nil, err
	}
	var in, waiting [tiers]int64
	for t := range n.entrances.tiers {
		e := &n.entrances.tiers[t]
		in[t], waiting[t] = int64(len(e.slots)), e.waiting.Load()
	}
	s.Node = &ServingStats{
		Version:  n.config.Version,
		Uptime:   time.Since(n.started).Seconds(),
		Requests: n.metrics.answered.Load(), Failed: n.metrics.failed.Load(), Refused: n.metrics.refused.Load(),
		InFlight: TierStats{in[small], in[medium], in[large], in[follower]},
		Waiting:  TierStats{waiting[small], waiting[medium], waiting[large], waiting[follower]},
		Memory:   resident(), Goroutine: runtime.NumGoroutine(),
	}
	return s, nil
}

// resident returns how many bytes of memory the process holds: of the machine where the system says so, else of the
// runtime.
func resident() int64 {
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		if fields := strings.Fields(string(b)); len(fields) > 1 {
			if pages, err := strconv.ParseInt(fields[1], 10, 64); err == nil {
				return pages * int64(os.Getpagesize())
			}
		}
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.Sys)
}

// gauges keep the last count of what a node holds, for metrics: counting may read a little for each vault.
type gauges struct {
	count func() (*Stats, error)

	mu      sync.Mutex
	last    *Stats
	at      time.Time
	pending chan struct{} // of the count that is under way
	closed  bool
}

// A count is used for gaugesKept, and waited for no longer than gaugesWait.
const (
	gaugesKept = time.Minute
	gaugesWait = time.Second
)

// read returns the last count, if there is one, and begins another one when it is old.
func (g *gauges) read() (s *Stats, ok bool) {
	g.mu.Lock()
	if g.pending == nil && !g.closed && time.Since(g.at) > gaugesKept {
		pending := make(chan struct{})
		g.pending = pending
		go func() {
			s, err := g.count()
			g.mu.Lock()
			defer g.mu.Unlock()
			if err == nil {
				g.last = s
			}
			g.at, g.pending = time.Now(), nil
			close(pending)
		}()
	}
	pending := g.pending
	g.mu.Unlock()
	if pending != nil {
		wait := time.NewTimer(gaugesWait)
		defer wait.Stop()
		select {
		case <-pending:
		case <-wait.C:
		}
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.last, g.last != nil
}

// close returns once no count is under way. Whoever calls it sees to it that counting ends soon.
func (g *gauges) close() {
	g.mu.Lock()
	g.closed = true
	pending := g.pending
	g.mu.Unlock()
	if pending != nil {
		<-pending
	}
}
