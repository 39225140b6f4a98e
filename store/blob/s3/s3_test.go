package s3

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"

	"github.com/cofferhq/coffer/internal/servers"
	"github.com/cofferhq/coffer/store/blob"
	"github.com/cofferhq/coffer/store/blob/blobtest"
)

// inProcess returns the URL of a bucket of a server in this process, which keeps all in memory.
func inProcess(t testing.TB) string {
	t.Helper()
	server := httptest.NewServer(gofakes3.New(s3mem.New()).Server())
	t.Cleanup(server.Close)
	return "s3+http://key:secret@" + strings.TrimPrefix(server.URL, "http://") + "/bucket"
}

func on(t testing.TB, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, Options{Create: true})
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return s
}

func TestStore(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		url := servers.Bucket(t) + "/some/prefix"
		return func() blob.Store { return on(t, url) }
	})
}

// TestStoreInParts lets blobs go up in parts that servers elsewhere would find too small, over TLS, to a server in this
// process.
func TestStoreInParts(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) func() blob.Store {
		server := httptest.NewTLSServer(gofakes3.New(s3mem.New()).Server())
		t.Cleanup(server.Close)
		transport := server.Client().Transport.(*http.Transport)
		transport.MaxIdleConnsPerHost = 64 // as of our own, or most of the work is handshakes
		return func() blob.Store {
			s, err := Open(t.Context(), "s3://bucket?endpoint="+server.URL, Options{
				Key: "key", Secret: "secret", Create: true, Transport: transport,
			})
			if err != nil {
				t.Fatalf("Open: %v", err)
			}
			s.part = 200_000
			return s
		}
	}, "memory")
}
