package node_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/node"
)

// TestTraces has a node send its traces to a collector: they have a span for each request and its parts, and name
// nobody.
func TestTraces(t *testing.T) {
	var mu sync.Mutex
	var raw strings.Builder
	spans := map[string]string{} // name -> of its parent
	names, parents := map[string]string{}, map[string]string{}
	c := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(b, &request) != nil {
			t.Errorf("%s: %v", r.URL.Path, err)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		raw.Write(b)
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				for _, s := range scope.Spans {
					names[string(s.SpanId)], parents[string(s.SpanId)] = s.Name, string(s.ParentSpanId)
				}
			}
		}
	}))
	defer c.Close()
	r := start(t, node.Config{Data: t.TempDir(), Traces: c.URL})
	forged := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	client := &http.Client{Transport: withHeader{forged}}
	v := r.vault(t, client)
	d := put(t, v)
	putChunk(t, v, d.ID)
	for range v.Query(t.Context(), coffer.Query{Index: "urn:none", Has: []string{"none"}}) {
	}
	get(t, client, r.Origin()+"/not/"+d.ID.String())
	if err := r.stop(); err != nil { // sends what is left
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	for id, name := range names {
		spans[name] = names[parents[id]]
		if _, there := names[parents[id]]; parents[id] != "" && !there {
			t.Errorf("%s has a parent that is not among the spans", name)
		}
	}
	for name, parent := range map[string]string{
		"POST /edvs": "", "POST /edvs/{vault}/documents/{id}/chunks/{index}": "", "unknown": "",
		"blobs.Put": "POST /edvs/{vault}/documents/{id}/chunks/{index}",
	} {
		if got, there := spans[name]; !there || got != parent {
			t.Errorf("span %q below %q: there %t, below %q", name, parent, there, got)
		}
	}
	if _, there := spans["store.Apply"]; !there {
		t.Errorf("no span for a commit: %v", slices.Collect(func(yield func(string) bool) {
			for name := range spans {
				if !yield(name) {
					return
				}
			}
		}))
	}
	nothingOf(t, "a trace", raw.String(), r, v, d)
	if strings.Contains(raw.String(), "\x0a\xf7\x65\x19\x16\xcd\x43\xdd") {
		t.Error("a client's trace id is passed on")
	}
}

// withHeader is a transport that adds to what is sent.
type withHeader struct{ h http.Header }

func (w withHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	for k, v := range w.h {
		r.Header[k] = v
	}
	return http.DefaultTransport.RoundTrip(r)
}

// TestTracesWithoutCollector serves, and ends, when nobody takes the traces, without a word.
func TestTracesWithoutCollector(t *testing.T) {
	c := httptest.NewServer(http.NotFoundHandler())
	c.Close()
	var log journal
	r := start(t, node.Config{Data: t.TempDir(), Traces: c.URL, Log: log.logger()})
	put(t, r.vault(t, nil))
	if err := r.stop(); err != nil {
		t.Errorf("the end: %v", err)
	}
	if text := log.String(); strings.Contains(text, "level=ERROR") || strings.Contains(text, "trace") {
		t.Errorf("the log speaks of it:\n%s", text)
	}
}
