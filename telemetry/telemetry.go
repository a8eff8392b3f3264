// Package telemetry watches a running server: numbers for Prometheus, whether it is ready, and a trace of each step. It
// reads what others know of themselves, changes nothing, and nothing that it does can fail a request. What it shows
// names no person, intent, path or secret, and no label of a metric is a string that an agent chooses.
package telemetry

import (
	"context"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/remit-dev/remit"
)

// Config is what a Telemetry needs.
type Config struct {
	Version string
	Org     remit.Org
	// Read gives the numbers as they are now. It is called at each scrape and each question of readiness, so it must not
	// wait for what may hang.
	Read func() Reading
	// OTLP is the base URL of a collector that takes traces, http://HOST:4318; empty: as OTEL_EXPORTER_OTLP_ENDPOINT says,
	// and without that no trace is made.
	OTLP string
	// Exporter takes the spans instead; tests.
	Exporter sdktrace.SpanExporter
	MaxDebt  int // leases in debt with which a server is still ready
}

// Telemetry is the watch over one server. Make one with New.
type Telemetry struct {
	cfg      Config
	metrics  *metrics
	registry *prometheus.Registry
	tracer   trace.Tracer // nil: no traces
	flush    func(context.Context) error

	mu    sync.Mutex
	ready bool // at asked
	asked time.Time
}

// New begins to watch.
func New(ctx context.Context, c Config) (*Telemetry, error) {
	t := &Telemetry{cfg: c, registry: prometheus.NewRegistry()}
	t.metrics = newMetrics(t.registry, c.Version)
	t.registry.MustRegister(state{t})
	return t, t.openTraces(ctx)
}

// Close sends what is not sent yet.
func (t *Telemetry) Close(ctx context.Context) error {
	if t.flush == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	return t.flush(ctx)
}

// Handler serves /metrics, /healthz and /readyz. It is for a listener that only operators reach: metrics tell how much
// is refused and what waits.
func (t *Telemetry) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(t.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))
	mux.HandleFunc("GET /healthz", Alive)
	mux.HandleFunc("GET /readyz", t.Ready)
	return mux
}

// Reading is what a server knows of itself at one moment.
type Reading struct {
	Now time.Time

	Stopped  bool // the writer has stopped: the log could not be written
	Policy   bool // a policy is in force
	Doubt    bool // the clock is in doubt
	Draining bool

	Entries uint64        // of the log
	Signed  uint64        // entries that the newest checkpoint covers
	Behind  time.Duration // how long some entry has been waiting to be signed for and written to the second head
	Signing time.Time     // of the newest checkpoint

	Queue     int // commands that wait for the writer
	Tasks     int // that live
	Instances int
	Holds     int // access requests that are neither used nor void
	Attempts  int // redeemed, without an outcome yet
	Debt      int // leases that should have been seen dead
	Exposure  int // leases that only their own end ends
	Leases    map[LeaseKey]int
	Lag       map[string]uint64 // entries that a follower has not read yet, by its name
	Stores    map[string]Store  // by name
}

// LeaseKey is what leases are counted by: the type of their upstream, which is one of a few, and their status.
type LeaseKey struct {
	Provider string
	Status   remit.LeaseStatus
}

// Store is how full a place on disk is.
type Store struct {
	Used, Quota int64 // bytes; no quota is 0
	Free        uint64
	Reserve     uint64 // free bytes that it does not touch: they are for the log
	Unknown     bool   // nobody can tell how much is free
}
