package edv

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
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
