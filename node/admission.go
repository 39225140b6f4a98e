package node

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/internal/jose"
)

// Admission bounds how many requests are served at once, by their size, before anything is known of who asks. Zero
// members take the default.
type Admission struct {
	Small     int           // with a body of at most 64 KiB, or none; 512
	Medium    int           // with one of at most 1 MiB, and those for a chunk; 128
	Large     int           // with more, or with one of unknown length; 32
	Followers int           // of feeds, which wait for something to happen; 8192
	Wait      time.Duration // how long a request may wait to be let in; 2 seconds
}

func (a *Admission) setDefaults() {
	for _, d := range []struct {
		limit *int
		value int
	}{{&a.Small, 512}, {&a.Medium, 128}, {&a.Large, 32}, {&a.Followers, 8192}} {
		if *d.limit <= 0 {
			*d.limit = d.value
		}
	}
	if a.Wait <= 0 {
		a.Wait = 2 * time.Second
	}
}

// A tier is a class of requests that are let in together.
type tier int

const (
	small tier = iota
	medium
	large
	follower
	tiers
)

var tierNames = [tiers]string{"small", "medium", "large", "follower"}

func (t tier) String() string { return tierNames[t] }

// The bounds of tiers, in bytes of a body.
const (
	smallBody  = 64 << 10
	mediumBody = 1 << 20
)

// tierOf returns the tier of a request, by what its header says of it.
func tierOf(r *http.Request) tier {
	switch n := r.ContentLength; {
	case n < 0 || n > mediumBody:
		return large
	case n > smallBody:
		return medium
	case r.Method != http.MethodGet:
		return small
	case strings.HasSuffix(r.URL.Path, "/changes") &&
		(strings.Contains(r.URL.RawQuery, "wait=") || strings.Contains(r.Header.Get("Accept"), "text/event-stream")):
		return follower
	case strings.Contains(r.URL.Path, "/chunks/"): // the answer is what is large
		return medium
	}
	return small
}

// queueFactor is how many requests may wait for each that may be served.
const queueFactor = 4

// An entrance lets in the requests of a tier, in the order in which they came.
type entrance struct {
	slots   chan struct{}
	most    int64 // that may wait
	waiting atomic.Int64
	refused atomic.Int64
}

// entrances are those of all tiers.
type entrances struct {
	tiers [tiers]entrance
	wait  time.Duration
}

func newEntrances(a Admission) *entrances {
	e := &entrances{wait: a.Wait}
	for t, n := range [tiers]int{a.Small, a.Medium, a.Large, a.Followers} {
		e.tiers[t].slots = make(chan struct{}, n)
		e.tiers[t].most = int64(n) * queueFactor
	}
	e.tiers[follower].most = 0 // those who are in stay for long
	return e
}

// enter lets a request in, perhaps after a while, and returns what is to be called when it was answered; nil if there
// are too many.
func (e *entrances) enter(ctx context.Context, t tier) (leave func()) {
	in := &e.tiers[t]
	leave = func() { <-in.slots }
	select {
	case in.slots <- struct{}{}:
		return leave
	default:
	}
	if in.waiting.Add(1) > in.most {
		in.waiting.Add(-1)
		in.refused.Add(1)
		return nil
	}
	defer in.waiting.Add(-1)
	patience := time.NewTimer(e.wait)
	defer patience.Stop()
	select {
	case in.slots <- struct{}{}:
		return leave
	case <-patience.C:
	case <-ctx.Done():
	}
	in.refused.Add(1)
	return nil
}

// Of the body of a request that is refused so much is read, for so long: a client that is still sending would not see
// the answer.
const (
	refusalBody = 2 << 20
	refusalTime = time.Second
)

// retrySeconds is after how many seconds those who were refused are to try again: one to so many, so that they do not
// all come back at once.
const retrySeconds = 3

// refuse answers a request that was not let in, in the form of the wire's problems.
func refuse(w http.ResponseWriter, r *http.Request) (sent int64) {
	type details struct {
		Status int    `json:"httpStatusCode"`
		Kind   string `json:"kind"`
	}
	body, err := jose.Encode(struct {
		Name    string  `json:"name"`
		Message string  `json:"message"`
		Type    string  `json:"type"`
		Details details `json:"details"`
	}{"RateError", "The node is busy.", "RateError", details{http.StatusTooManyRequests, coffer.Exhausted.Error()}})
	if err != nil {
		body = []byte(`{"name":"RateError"}`) // cannot be: the texts are ours
	}
	if r.ContentLength != 0 {
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusalTime))
		_, _ = io.CopyN(io.Discard, r.Body, refusalBody)
	}
	h := w.Header()
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	h.Set("Retry-After", strconv.Itoa(1+rand.IntN(retrySeconds)))
	w.WriteHeader(http.StatusTooManyRequests)
	n, _ := w.Write(body) // a client that went away needs no answer
	return int64(n)
}
