package node

import (
	"context"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	"go.opentelemetry.io/otel/sdk/trace"
	api "go.opentelemetry.io/otel/trace"

	"github.com/cofferhq/coffer"
	"github.com/cofferhq/coffer/store"
	"github.com/cofferhq/coffer/store/blob"
)

// traces tell a collector how long requests take, and what of them the stores do. All names and attributes of spans are
// constants of this package or numbers. What clients say of traces of theirs is passed over: it would be an identifier.
type traces struct {
	provider *trace.TracerProvider
	tracer   api.Tracer
}

// Bounds on what is sent.
const (
	traceTime  = 5 * time.Second // for one delivery to the collector
	traceQueue = 2048            // spans that wait; more are dropped
)

// newTraces sends traces to the collector at the URL, by OTLP over HTTP. Invalid if the URL is none.
func newTraces(ctx context.Context, at, version string) (*traces, error) {
	const op = "traces"
	u, err := url.Parse(at)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, coffer.Errorf(op, coffer.Invalid, "the collector must be given as http://host:port")
	}
	if u.Path == "" || u.Path == "/" {
		u.Path = "/v1/traces"
	}
	exporter, err := otlptrace.New(ctx, otlptracehttp.NewClient(
		otlptracehttp.WithEndpointURL(u.String()),
		otlptracehttp.WithTimeout(traceTime),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{}),
	))
	if err != nil {
		return nil, coffer.E(op, coffer.Invalid, err)
	}
	t := &traces{provider: trace.NewTracerProvider(
		trace.WithBatcher(silent{exporter}, trace.WithMaxQueueSize(traceQueue), trace.WithExportTimeout(traceTime)),
		trace.WithSampler(trace.AlwaysSample()),
		trace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "cofferd"), attribute.String("service.version", version),
		)),
	)}
	t.tracer = t.provider.Tracer("github.com/cofferhq/coffer/node")
	return t, nil
}

// silent drops what the collector does not take: traces are never worth a word in the log.
type silent struct{ trace.SpanExporter }

// ExportSpans sends the spans, or drops them.
func (s silent) ExportSpans(ctx context.Context, spans []trace.ReadOnlySpan) error {
	_ = s.SpanExporter.ExportSpans(ctx, spans)
	return nil
}

// close sends what waits, and ends.
func (t *traces) close() {
	ctx, cancel := context.WithTimeout(context.Background(), traceTime)
	defer cancel()
	_ = t.provider.Shutdown(ctx)
}

// request begins the span of a request.
func (t *traces) request(ctx context.Context, route string) (context.Context, api.Span) {
	method, pattern, _ := strings.Cut(route, " ")
	ctx, span := t.tracer.Start(ctx, route, api.WithSpanKind(api.SpanKindServer))
	if pattern != "" {
		span.SetAttributes(attribute.String("http.request.method", method), attribute.String("http.route", pattern))
	}
	return ctx, span
}

// endRequest ends it.
func endRequest(span api.Span, t tier, status int) {
	span.SetAttributes(attribute.Int("http.response.status_code", status), attribute.String("coffer.tier", t.String()))
	if status >= http.StatusInternalServerError {
		span.SetStatus(codes.Error, "")
	}
	span.End()
}

// step begins a part of a request, and returns what ends it. Outside of a request nothing is traced.
func (t *traces) step(ctx context.Context, name string) (context.Context, func(error)) {
	if !api.SpanContextFromContext(ctx).IsValid() {
		return ctx, func(error) {}
	}
	ctx, span := t.tracer.Start(ctx, name)
	return ctx, func(err error) {
		if err != nil {
			span.SetAttributes(attribute.String("coffer.error", coffer.KindOf(err).Error()))
		}
		span.End()
	}
}

// documents returns a store that traces what it does, and is shared if s is.
func (t *traces) documents(s store.Store) store.Store {
	traced := &tracedStore{s, t}
	if shared, is := s.(store.Shared); is {
		return &tracedShared{traced, shared}
	}
	return traced
}

// A tracedStore is a store with spans.
type tracedStore struct {
	store.Store
	t *traces
}

// A tracedShared is one that is shared.
type tracedShared struct {
	*tracedStore
	shared store.Shared
}

// Watch implements [store.Shared].
func (s *tracedShared) Watch(ctx context.Context, grew func(coffer.VaultID)) error {
	return s.shared.Watch(ctx, grew)
}

// Once implements [store.Shared].
func (s *tracedShared) Once(ctx context.Context, name [16]byte, until time.Time) (first bool, err error) {
	ctx, end := s.t.step(ctx, "store.Once")
	defer func() { end(err) }()
	return s.shared.Once(ctx, name, until)
}

// Get implements [store.Store].
func (s *tracedStore) Get(ctx context.Context, v coffer.VaultID, id coffer.ObjectID) (d *coffer.Document, err error) {
	ctx, end := s.t.step(ctx, "store.Get")
	defer func() { end(err) }()
	return s.Store.Get(ctx, v, id)
}

// Apply implements [store.Store].
func (s *tracedStore) Apply(ctx context.Context, writes ...store.Write) (r []store.Result, err error) {
	ctx, end := s.t.step(ctx, "store.Apply")
	defer func() { end(err) }()
	return s.Store.Apply(ctx, writes...)
}

// Query implements [store.Store].
func (s *tracedStore) Query(ctx context.Context, v coffer.VaultID, q coffer.Query) iter.Seq2[*coffer.Document, error] {
	return traced(ctx, s.t, "store.Query", func(ctx context.Context) iter.Seq2[*coffer.Document, error] {
		return s.Store.Query(ctx, v, q)
	})
}

// Count implements [store.Store].
func (s *tracedStore) Count(ctx context.Context, v coffer.VaultID, q coffer.Query) (n int, err error) {
	ctx, end := s.t.step(ctx, "store.Count")
	defer func() { end(err) }()
	return s.Store.Count(ctx, v, q)
}

// Changes implements [store.Store].
func (s *tracedStore) Changes(ctx context.Context, v coffer.VaultID, after uint64) iter.Seq2[coffer.Change, error] {
	return traced(ctx, s.t, "store.Changes", func(ctx context.Context) iter.Seq2[coffer.Change, error] {
		return s.Store.Changes(ctx, v, after)
	})
}

// Revision implements [store.Store].
func (s *tracedStore) Revision(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, sequence uint64,
) (d *coffer.Document, err error) {
	ctx, end := s.t.step(ctx, "store.Revision")
	defer func() { end(err) }()
	return s.Store.Revision(ctx, v, id, sequence)
}

// Chunk implements [store.Store].
func (s *tracedStore) Chunk(
	ctx context.Context, v coffer.VaultID, id coffer.ObjectID, set, index uint64,
) (c store.Chunk, err error) {
	ctx, end := s.t.step(ctx, "store.Chunk")
	defer func() { end(err) }()
	return s.Store.Chunk(ctx, v, id, set, index)
}

// Usage implements [store.Store].
func (s *tracedStore) Usage(ctx context.Context, v coffer.VaultID) (u store.Usage, err error) {
	ctx, end := s.t.step(ctx, "store.Usage")
	defer func() { end(err) }()
	return s.Store.Usage(ctx, v)
}

// traced is a span over a sequence, from its first element asked for to its end.
func traced[T any](
	ctx context.Context, t *traces, name string, all func(context.Context) iter.Seq2[T, error],
) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		ctx, end := t.step(ctx, name)
		var failed error
		defer func() { end(failed) }()
		for v, err := range all(ctx) {
			failed = err
			if !yield(v, err) {
				return
			}
		}
	}
}

// tracedBlobs is a keeper of chunks with spans.
type tracedBlobs struct {
	blob.Store
	t *traces
}

// Put implements [blob.Store].
func (s *tracedBlobs) Put(ctx context.Context, key string, size int64, sum [32]byte, r io.Reader) (err error) {
	ctx, end := s.t.step(ctx, "blobs.Put")
	defer func() { end(err) }()
	return s.Store.Put(ctx, key, size, sum, r)
}

// Get implements [blob.Store].
func (s *tracedBlobs) Get(ctx context.Context, key string) (r io.ReadCloser, n int64, err error) {
	ctx, end := s.t.step(ctx, "blobs.Get")
	defer func() { end(err) }()
	return s.Store.Get(ctx, key)
}

// Delete implements [blob.Store].
func (s *tracedBlobs) Delete(ctx context.Context, keys ...string) (err error) {
	ctx, end := s.t.step(ctx, "blobs.Delete")
	defer func() { end(err) }()
	return s.Store.Delete(ctx, keys...)
}

// DeleteAll implements [blob.Store].
func (s *tracedBlobs) DeleteAll(ctx context.Context, prefix string) (err error) {
	ctx, end := s.t.step(ctx, "blobs.DeleteAll")
	defer func() { end(err) }()
	return s.Store.DeleteAll(ctx, prefix)
}
