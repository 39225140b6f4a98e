package node

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"time"
)

// serve lets a request in, hands it to the wire, and tells the log and the traces of it.
func (n *Node) serve(w http.ResponseWriter, r *http.Request) {
	t := tierOf(r)
	start := time.Now()
	leave := n.entrances.enter(r.Context(), t)
	if leave == nil {
		route := routeOf(r)
		sent := refuse(w, r)
		n.metrics.observe(route, http.StatusTooManyRequests, time.Since(start), sent)
		return
	}
	defer leave()
	if n.config.Slow <= 0 && n.traces == nil {
		n.answer(w, r)
		return
	}
	route := routeOf(r)
	a := &answer{ResponseWriter: w}
	if n.traces != nil {
		ctx, span := n.traces.request(r.Context(), route)
		r = r.WithContext(ctx)
		defer func() { endRequest(span, t, a.status) }()
	}
	defer func() {
		// Those who follow a feed wait because nothing happens.
		if took := time.Since(start); n.config.Slow > 0 && took >= n.config.Slow && t != follower {
			n.log.LogAttrs(context.WithoutCancel(r.Context()), slog.LevelWarn, "slow request",
				slog.String("route", route), slog.Int("status", a.status), slog.Duration("took", took),
				slog.Int64("bytes", a.sent), slog.String("tier", t.String()))
		}
	}()
	n.answer(a, r)
}

// answer hands a request to the wire that its path belongs to.
func (n *Node) answer(w http.ResponseWriter, r *http.Request) {
	if n.hubs.has(r.URL.Path) {
		n.hubs.ServeHTTP(w, r)
		return
	}
	n.wire.ServeHTTP(w, r)
}

// An answer notes the status and the length of what is written through it.
type answer struct {
	http.ResponseWriter
	status int
	sent   int64
}

// WriteHeader notes the status.
func (a *answer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
	a.ResponseWriter.WriteHeader(status)
}

// Write counts the bytes.
func (a *answer) Write(b []byte) (int, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := a.ResponseWriter.Write(b)
	a.sent += int64(n)
	return n, err
}

// ReadFrom passes a file on to the connection, which sends it without copying where the system can.
func (a *answer) ReadFrom(r io.Reader) (int64, error) {
	if a.status == 0 {
		a.status = http.StatusOK
	}
	n, err := io.Copy(a.ResponseWriter, r)
	a.sent += n
	return n, err
}

// Unwrap is for [http.ResponseController].
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }
