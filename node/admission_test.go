package node

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestTierOf(t *testing.T) {
	tests := []struct {
		name   string
		method string
		url    string
		length int64
		accept string
		want   tier
	}{
		{"a read", "GET", "/edvs/z1/documents/z2", 0, "", small},
		{"a write", "POST", "/edvs/z1/documents", 64 << 10, "", small},
		{"a larger one", "POST", "/edvs/z1/documents", 64<<10 + 1, "", medium},
		{"the largest of these", "POST", "/edvs/z1/documents/z2/chunks/0", 1 << 20, "", medium},
		{"a large one", "POST", "/edvs/z1/documents/z2/chunks/0", 1<<20 + 1, "", large},
		{"one of unknown length", "POST", "/edvs/z1/documents", -1, "", large},
		{"a chunk is asked for", "GET", "/edvs/z1/documents/z2/chunks/0", 0, "", medium},
		{"the feed up to now", "GET", "/edvs/z1/changes?after=x", 0, "", small},
		{"the feed and what comes", "GET", "/edvs/z1/changes?after=x&wait=30", 0, "", follower},
		{"the feed as events", "GET", "/edvs/z1/changes", 0, "text/event-stream", follower},
		{"a follower with a large body", "GET", "/edvs/z1/changes?wait=30", 1 << 30, "", large},
		{"events elsewhere", "GET", "/edvs/z1", 0, "text/event-stream", small},
	}
	for _, tt := range tests {
		r := httptest.NewRequest(tt.method, tt.url, nil)
		r.ContentLength = tt.length
		r.Header.Set("Accept", tt.accept)
		if got := tierOf(r); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

// TestEntrance lets in as many as there are slots, lets some wait, and refuses the rest.
func TestEntrance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEntrances(Admission{Small: 1, Medium: 1, Large: 1, Followers: 1, Wait: time.Second})
		leave := e.enter(t.Context(), small)
		if leave == nil {
			t.Fatal("the first was refused")
		}
		if other := e.enter(t.Context(), large); other == nil {
			t.Error("another tier is full, too")
		}
		let := make(chan func(), 10)
		for range queueFactor { // wait
			go func() { let <- e.enter(t.Context(), small) }()
			synctest.Wait()
		}
		before := time.Now()
		if e.enter(t.Context(), small) != nil || time.Since(before) > 0 {
			t.Errorf("one more than may wait was not refused at once")
		}
		if n := e.tiers[small].waiting.Load(); n != queueFactor {
			t.Errorf("%d wait, want %d", n, queueFactor)
		}
		leave()
		if leave = <-let; leave == nil {
			t.Error("one that waited was refused though there was room")
		}
		time.Sleep(2 * time.Second) // of the bubble
		for range queueFactor - 1 {
			if other := <-let; other != nil {
				t.Error("one that waited for too long was let in")
			}
		}
		ended, end := context.WithCancel(t.Context())
		end()
		if e.enter(ended, small) != nil {
			t.Error("one that went away was let in")
		}
		leave()
		if e.enter(t.Context(), small) == nil {
			t.Error("nobody is let in afterwards")
		}
		if n := e.tiers[small].refused.Load(); n != queueFactor+1 {
			t.Errorf("%d were counted as refused, want %d", n, queueFactor+1)
		}
		if e.enter(t.Context(), follower) == nil || e.enter(t.Context(), follower) != nil {
			t.Error("followers do not wait for others to end")
		}
	})
}

func TestRefusal(t *testing.T) {
	for range 20 {
		w := httptest.NewRecorder()
		sent := refuse(w, httptest.NewRequest("POST", "/edvs", strings.NewReader("x")))
		after, err := strconv.Atoi(w.Header().Get("Retry-After"))
		if w.Code != http.StatusTooManyRequests || err != nil || after < 1 || after > retrySeconds {
			t.Fatalf("%d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
		}
		want := `{"name":"RateError","message":"The node is busy.","type":"RateError",` +
			`"details":{"httpStatusCode":429,"kind":"exhausted"}}`
		if w.Body.String() != want || sent != int64(len(want)) {
			t.Errorf("%d bytes: %s", sent, w.Body)
		}
	}
}
