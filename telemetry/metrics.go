package telemetry

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/remit-dev/remit"
)

// metrics are what is counted as it happens. What can be read at a scrape is in state instead.
type metrics struct {
	decisions *prometheus.CounterVec
	steps     *prometheus.CounterVec
	repeated  prometheus.Counter
	votes     *prometheus.CounterVec
	redeemed  prometheus.Counter
	outcomes  *prometheus.CounterVec
	findings  *prometheus.CounterVec
	pushed    *prometheus.CounterVec
	ended     *prometheus.CounterVec
	calls     *prometheus.HistogramVec
	commit    prometheus.Histogram
	batch     prometheus.Histogram
	refused   prometheus.Counter
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
}

var (
	// fast fits what a decision takes (a tenth of a millisecond to some ten); slow fits what upstreams and clones take.
	fast = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1}
	slow = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60, 600}
)

func newMetrics(r *prometheus.Registry, version string) *metrics {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "remit_" + name, Help: help}, labels)
		r.MustRegister(c)
		return c
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: "remit_" + name, Help: help, Buckets: buckets}, labels)
		r.MustRegister(h)
		return h
	}
	m := &metrics{
		decisions: counter("decisions_total", "Decisions on requests of agents that were recorded, by verdict and first reason.", "verdict", "code"),
		steps:     counter("steps_total", "Steps of these decisions, by action of the catalogue and verdict.", "action", "verdict"),
		repeated:  counter("denials_repeated_total", "Denials that were answered with the entry of an earlier one, as far as the log counts them.").WithLabelValues(),
		votes:     counter("votes_total", "Votes that counted.", "vote", "assurance"),
		redeemed:  counter("permits_redeemed_total", "Permits that were redeemed: acts that may have been sent.").WithLabelValues(),
		outcomes:  counter("outcomes_total", "What came of attempts. Each ambiguous one is for a person to look at.", "outcome", "code"),
		findings:  counter("findings_total", "Findings of detections that were recorded.", "detection"),
		pushed:    counter("push_bytes_total", "Bytes of git packs that were decided on, by verdict.", "verdict"),
		ended:     counter("leases_ended_total", "Upstream credentials that have ended, by how.", "status"),
		calls:     histogram("call_duration_seconds", "How long each of the seven calls of a step took; authorize is the decision.", slow, "call"),
		commit:    histogram("log_commit_seconds", "How long the log took to make a batch of entries durable.", fast).WithLabelValues().(prometheus.Histogram),
		batch: histogram("log_batch_entries", "Entries that were made durable together.",
			[]float64{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024}).WithLabelValues().(prometheus.Histogram),
		refused:  counter("log_commit_failures_total", "Batches that the log did not take.").WithLabelValues(),
		requests: counter("http_requests_total", "HTTP requests answered, by the pattern of their route.", "route", "status"),
		duration: histogram("http_request_duration_seconds", "How long they took, by the pattern of their route. Some wait for people, or stream.", slow, "route"),
	}
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	build := prometheus.NewGauge(prometheus.GaugeOpts{Name: "remit_build_info", Help: "Always 1.", ConstLabels: prometheus.Labels{"version": version}})
	build.Set(1)
	r.MustRegister(build)
	// Series that alerts rest on are there from the start: a rate over one that appears with its first event misses it.
	for _, v := range []remit.Verdict{remit.Deny, remit.Hold, remit.Allow} {
		m.pushed.WithLabelValues(v.String())
	}
	for _, o := range []remit.Outcome{remit.Done, remit.NotApplied, remit.Ambiguous, remit.AfterRevocation} {
		m.outcomes.WithLabelValues(string(o), "")
	}
	return m
}

// other stands for every value that is not in a registry of ours: labels have few values, whatever a log says.
const other = "other"

func code(c remit.Code) string {
	if c == "" || c.Info().Code == c {
		return string(c)
	}
	return other
}

func action(a remit.Action) string {
	if _, ok := remit.Lookup(a); ok {
		return string(a)
	}
	return other
}

func oneOf[T ~string](v T, known ...T) string {
	if slices.Contains(known, v) {
		return string(v)
	}
	return other
}

// Event counts a committed event.
func (t *Telemetry) Event(e remit.Event) {
	m := t.metrics
	switch e := e.(type) {
	case *remit.Decided:
		m.decisions.WithLabelValues(e.Verdict.String(), code(e.Code)).Inc()
		push := false
		for _, s := range e.Steps {
			m.steps.WithLabelValues(action(s.Step.Action), e.Verdict.String()).Inc()
			push = push || s.Ref != ""
		}
		if push && e.Bytes > 0 {
			m.pushed.WithLabelValues(e.Verdict.String()).Add(float64(e.Bytes))
		}
	case *remit.DenialRepeated:
		m.repeated.Add(float64(max(e.Count, 0)))
	case *remit.VoteCast:
		vote := "deny"
		if e.Approve {
			vote = "approve"
		}
		m.votes.WithLabelValues(vote, oneOf(e.Assurance, remit.AssuranceNone, remit.AssuranceSoftware, remit.AssuranceTouch, remit.AssuranceSelf)).Inc()
	case *remit.Redeemed:
		m.redeemed.Inc()
	case *remit.Recorded:
		outcome := other
		if e.Outcome.Valid() {
			outcome = string(e.Outcome)
		}
		m.outcomes.WithLabelValues(outcome, code(e.Code)).Inc()
	case *remit.Found:
		m.findings.WithLabelValues(e.Detection).Inc() // detections are Remit's own
	case *remit.LeaseMoved:
		if e.To.Ended() {
			m.ended.WithLabelValues(oneOf(e.To, remit.LeaseRevoked, remit.LeaseExpired, remit.LeaseAbandoned)).Inc()
		}
	}
}

// Committed counts a batch of entries that the log took, or did not take.
func (t *Telemetry) Committed(entries int, took time.Duration, err error) {
	if err != nil {
		t.metrics.refused.Inc()
		return
	}
	t.metrics.commit.Observe(took.Seconds())
	t.metrics.batch.Observe(float64(entries))
}

// HTTP counts the requests that next answers. Requests are counted by the pattern that a mux found for them: an address
// as it was sent is a stranger's choice, and there is no end of those.
func (t *Telemetry) HTTP(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, seen := time.Now(), &status{ResponseWriter: w}
		defer func() {
			route := r.Pattern
			if route == "" || route == "/" {
				route = other
			}
			if !strings.Contains(route, " ") {
				route = "* " + route // a mux of ours that takes every method
			}
			t.metrics.requests.WithLabelValues(route, strconv.Itoa(seen.code())).Inc()
			t.metrics.duration.WithLabelValues(route).Observe(time.Since(began).Seconds())
		}()
		next.ServeHTTP(seen, r)
	})
}

// status remembers how a request was answered. http.ResponseController reaches what is under it.
type status struct {
	http.ResponseWriter
	wrote int
}

func (s *status) Unwrap() http.ResponseWriter { return s.ResponseWriter }

func (s *status) WriteHeader(code int) {
	if s.wrote == 0 && code >= 200 || s.wrote == 0 && code == http.StatusSwitchingProtocols {
		s.wrote = code
	}
	s.ResponseWriter.WriteHeader(code)
}

func (s *status) code() int {
	if s.wrote == 0 {
		return http.StatusOK // net/http's own answer for a handler that says nothing, and of a Write without a header
	}
	return s.wrote
}

// state is what is read at a scrape.
type state struct{ t *Telemetry }

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("remit_"+name, help, labels, nil)
}

var (
	descEntries    = gauge("log_entries", "Entries in the log.")
	descSigned     = gauge("log_signed_entries", "Entries that the newest checkpoint covers.")
	descBehind     = gauge("log_unsigned_seconds", "How long some entry has been waiting for a checkpoint; 0 while all are signed for.")
	descCheckpoint = gauge("log_checkpoint_age_seconds", "Age of the newest checkpoint. It grows while nothing happens.")
	descQueue      = gauge("queue_depth", "Commands that wait for the writer.")
	descTasks      = gauge("tasks_live", "Tasks that live.")
	descInstances  = gauge("instances_live", "Instances that live.")
	descHolds      = gauge("holds_open", "Access requests that are neither used nor void.")
	descAttempts   = gauge("attempts_open", "Redeemed permits without an outcome yet.")
	descLeases     = gauge("leases", "Upstream credentials that have not ended, by type of upstream and status.", "provider", "status")
	descDebt       = gauge("lease_debt", "Upstream credentials that should have been seen dead and were not.")
	descExposure   = gauge("lease_exposure", "Upstream credentials of which the authority has ended and that only their own end ends.")
	descLag        = gauge("follower_lag_entries", "Entries that a follower has not read yet.", "follower")
	descUsed       = gauge("store_used_bytes", "Bytes kept in a store.", "store")
	descQuota      = gauge("store_quota_bytes", "Bytes that a store may take; 0: no limit of its own.", "store")
	descFree       = gauge("store_free_bytes", "Bytes that are free on the volume of a store.", "store")
	descReserve    = gauge("store_reserve_bytes", "Free bytes that a store leaves to the log.", "store")
	descDoubt      = gauge("clock_doubt", "1 while the clock is in doubt and everything is denied.")
	descStopped    = gauge("log_stopped", "1 if the log could not be written and nothing is decided any more.")
	descReady      = gauge("ready", "1 if /readyz is green.")
	descReason     = gauge("not_ready", "1 for each reason for which /readyz is red.", "reason")
)

// Describe says nothing: which series there are depends on what there is.
func (s state) Describe(chan<- *prometheus.Desc) {}

// Collect reads the server.
func (s state) Collect(ch chan<- prometheus.Metric) {
	r := s.t.cfg.Read()
	put := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	put(descEntries, float64(r.Entries))
	put(descSigned, float64(r.Signed))
	put(descBehind, r.Behind.Seconds())
	if !r.Signing.IsZero() {
		put(descCheckpoint, r.Now.Sub(r.Signing).Seconds())
	}
	put(descQueue, float64(r.Queue))
	put(descTasks, float64(r.Tasks))
	put(descInstances, float64(r.Instances))
	put(descHolds, float64(r.Holds))
	put(descAttempts, float64(r.Attempts))
	put(descDebt, float64(r.Debt))
	put(descExposure, float64(r.Exposure))
	for k, n := range r.Leases {
		put(descLeases, float64(n), k.Provider, string(k.Status))
	}
	for name, n := range r.Lag {
		put(descLag, float64(n), name)
	}
	for name, b := range r.Stores {
		put(descUsed, float64(b.Used), name)
		put(descQuota, float64(b.Quota), name)
		put(descReserve, float64(b.Reserve), name)
		if !b.Unknown {
			put(descFree, float64(b.Free), name)
		}
	}
	put(descDoubt, truth(r.Doubt))
	put(descStopped, truth(r.Stopped))
	reasons := Reasons(r, s.t.cfg.MaxDebt)
	put(descReady, truth(len(reasons) == 0))
	red := map[string]bool{}
	for _, why := range reasons {
		red[why.Reason] = true
	}
	for _, reason := range []string{"log", "policy", "clock", "head", "debt", "disk", "draining"} {
		put(descReason, truth(red[reason]), reason)
	}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
