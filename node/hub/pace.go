package hub

import (
	"maps"
	"sync"
	"time"
)

// A pace holds each name to a rate. It is the generic cell rate algorithm: of a name it remembers when its burst is
// whole again, and of one whose burst is, nothing.
type pace struct {
	every, burst time.Duration // between acts at the rate; what the acts that may come at once would take

	mu    sync.Mutex
	whole map[[32]byte]int64 // Unix nanoseconds
}

// pacedNames is how many names are remembered. One that is forgotten starts with a full burst.
const pacedNames = 65536

func newPace(every time.Duration, burst int) *pace {
	return &pace{every: every, burst: every * time.Duration(max(burst, 1)), whole: make(map[[32]byte]int64)}
}

// take counts an act; Exhausted if there are too many.
func (p *pace) take(name [32]byte, now time.Time) error {
	n := now.UnixNano()
	p.mu.Lock()
	defer p.mu.Unlock()
	at, known := p.whole[name]
	at = min(max(at, n), n+int64(p.burst)) // a clock that was set back keeps nobody out for longer than a burst takes
	if time.Duration(at-n)+p.every > p.burst {
		p.whole[name] = at
		return exhausted("", "too many actions: try again later")
	}
	if !known && len(p.whole) >= pacedNames {
		maps.DeleteFunc(p.whole, func(_ [32]byte, at int64) bool { return at <= n })
		for k := range p.whole {
			if len(p.whole) <= pacedNames-pacedNames/8 {
				break
			}
			delete(p.whole, k)
		}
	}
	p.whole[name] = at + int64(p.every)
	return nil
}
