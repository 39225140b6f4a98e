package node

import (
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics count what the node does. They carry no identifiers: routes are named by their patterns.
type metrics struct {
	registry *prometheus.Registry
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	sent     *prometheus.CounterVec

	answered, failed, refused atomic.Int64 // of requests, for Stats
}

func newMetrics() *metrics {
	m := &metrics{
		registry: prometheus.NewRegistry(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coffer_requests_total", Help: "Requests answered, by route and status.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "coffer_request_seconds", Help: "Time from the end of a request's header to the end of its answer.",
			Buckets: []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5, 30},
		}, []string{"route"}),
		sent: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "coffer_sent_bytes_total", Help: "Bytes of answers' bodies, by route.",
		}, []string{"route"}),
	}
	m.registry.MustRegister(m.requests, m.seconds, m.sent,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// observe counts an answered request.
func (m *metrics) observe(route string, status int, took time.Duration, sent int64) {
	m.answered.Add(1)
	switch {
	case status >= http.StatusInternalServerError:
		m.failed.Add(1)
	case status == http.StatusTooManyRequests:
		m.refused.Add(1)
	}
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
	m.sent.WithLabelValues(route).Add(float64(sent))
}

func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{})
}

// watch adds what is known of the entrances and of the disks.
func (m *metrics) watch(e *entrances, g *gauges) { m.registry.MustRegister(&levels{e, g}) }

// levels are what goes up and down, as metrics.
type levels struct {
	entrances *entrances
	gauges    *gauges
}

// What levels describe.
var (
	inFlight = prometheus.NewDesc("coffer_requests_in_flight", "Requests being served, by tier.", []string{"tier"}, nil)
	waiting  = prometheus.NewDesc("coffer_requests_waiting",
		"Requests waiting to be let in, by tier.", []string{"tier"}, nil)
	refused = prometheus.NewDesc("coffer_requests_refused_total",
		"Requests that were not let in because there were too many, by tier.", []string{"tier"}, nil)

	storeGauges = []struct {
		desc *prometheus.Desc
		of   func(*DocumentStats) int64
	}{
		{prometheus.NewDesc("coffer_store_vaults", "Vaults with at least one change.", nil, nil),
			func(s *DocumentStats) int64 { return s.Vaults }},
		{prometheus.NewDesc("coffer_store_documents", "Documents present.", nil, nil),
			func(s *DocumentStats) int64 { return s.Documents }},
		{prometheus.NewDesc("coffer_store_bytes", "Bytes that count against quotas.", nil, nil),
			func(s *DocumentStats) int64 { return s.Bytes }},
		{prometheus.NewDesc("coffer_store_changes", "Changes in all feeds.", nil, nil),
			func(s *DocumentStats) int64 { return s.Changes }},
		{prometheus.NewDesc("coffer_store_disk_bytes", "Bytes on the store's disk or in its database.", nil, nil),
			func(s *DocumentStats) int64 { return s.Disk }},
		{prometheus.NewDesc("coffer_store_memory_bytes", "Bytes of the store's caches and buffers.", nil, nil),
			func(s *DocumentStats) int64 { return s.Memory }},
	}
)

// Describe implements [prometheus.Collector].
func (l *levels) Describe(to chan<- *prometheus.Desc) {
	to <- inFlight
	to <- waiting
	to <- refused
	for _, g := range storeGauges {
		to <- g.desc
	}
}

// Collect implements [prometheus.Collector].
func (l *levels) Collect(to chan<- prometheus.Metric) {
	for t := range l.entrances.tiers {
		e, name := &l.entrances.tiers[t], tier(t).String()
		to <- prometheus.MustNewConstMetric(inFlight, prometheus.GaugeValue, float64(len(e.slots)), name)
		to <- prometheus.MustNewConstMetric(waiting, prometheus.GaugeValue, float64(e.waiting.Load()), name)
		to <- prometheus.MustNewConstMetric(refused, prometheus.CounterValue, float64(e.refused.Load()), name)
	}
	s, ok := l.gauges.read()
	if !ok {
		return
	}
	for _, g := range storeGauges {
		to <- prometheus.MustNewConstMetric(g.desc, prometheus.GaugeValue, float64(g.of(&s.Documents)))
	}
}
