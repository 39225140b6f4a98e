package edv

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/keyring"
)

// TestBoundedAnswer lets a server answer with more than was asked for.
func TestBoundedAnswer(t *testing.T) {
	for name, declared := range map[string]bool{"with its length": true, "in pieces": false} {
		t.Run(name, func(t *testing.T) {
			at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if declared {
					w.Header().Set("Content-Length", "1000")
				}
				for range 10 {
					w.Write([]byte(strings.Repeat("x", 100)))
					w.(http.Flusher).Flush()
				}
			}))
			defer at.Close()
			c, err := NewClient(ClientOptions{Base: at.URL, Keyring: keyring.Generate(), Now: time.Now})
			if err != nil {
				t.Fatal(err)
			}
			for limit, want := range map[int64]bool{999: false, 1000: true, 1001: true} {
				a, err := c.send(t.Context(), &request{op: "x", method: "GET", url: at.URL, limit: limit})
				if want != (err == nil) || err != nil && coffer.KindOf(err) != coffer.Exhausted || want && len(a.body) != 1000 {
					t.Errorf("with a limit of %d: %v", limit, err)
				}
			}
		})
	}
}

// A slowReader takes almost as long as it may for all that it is sent.
type slowReader struct {
	http.ResponseWriter
	deadline time.Time
}

func (s *slowReader) SetWriteDeadline(t time.Time) error {
	s.deadline = t
	return nil
}

func (s *slowReader) Write(b []byte) (int, error) {
	time.Sleep(sendTime - time.Second)
	if time.Now().After(s.deadline) {
		return 0, os.ErrDeadlineExceeded
	}
	return len(b), nil
}

// TestSlowReader sends an answer of 32 MiB to a client that takes a buffer in a minute: it must not hold the vault's
// view open for hours.
func TestSlowReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		s := &Server{buffers: sync.Pool{New: func() any { b := make([]byte, 0, bufferSize); return &b }}}
		a := (&call{Server: s, out: &slowReader{ResponseWriter: httptest.NewRecorder()}}).answer("x")
		for range 32 << 10 {
			a.bytes(make([]byte, 1<<10))
		}
		if err := a.end(); coffer.KindOf(err) != coffer.Unavailable {
			t.Errorf("sent all: %v", err)
		}
		if took := time.Since(start); took > 10*time.Minute {
			t.Errorf("held open for %v", took)
		}
	})
}
