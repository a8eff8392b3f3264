package main

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	orgs "github.com/remit-dev/remit/internal/world"
)

// BenchmarkNotify is how long it takes from an agent's request that is held, with a durable log, until an endpoint on the
// same machine has the signed message. The goal is one second for 95 of 100.
func BenchmarkNotify(b *testing.B) {
	arrived := make(chan time.Time, 1)
	endpoint := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- time.Now()
		w.WriteHeader(http.StatusNoContent)
	}))
	defer endpoint.Close()
	secret := filepath.Join(b.TempDir(), "hook")
	if err := os.WriteFile(secret, []byte("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="), 0o600); err != nil {
		b.Fatal(err)
	}
	w := orgs.New(b, orgs.Options{})
	d := w.Team()
	d.Notify = []remit.Channel{{Name: "oncall", Kind: remit.ChannelWebhook, URL: endpoint.URL, Insecure: true, Secret: remit.Source{From: "file", Name: secret},
		Events: []string{remit.TellOpened}}}
	w.Declare(d)
	h := &House{Config: Config{Data: b.TempDir(), Log: slog.New(slog.DiscardHandler)}, Engine: w.Engine, Org: orgs.Org, URL: w.URL, api: w.Server}
	if err := h.openNotify(nil, "/v1/orgs/"+string(orgs.Org)); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- h.notifier.Run(ctx) }()
	var all []time.Duration
	for b.Loop() {
		b.StopTimer()
		i := w.Instance("cleo", w.Task("cleo").ID)
		b.StartTimer()
		began := time.Now()
		if d := w.Push(i, remit.Shown{Paths: []remit.ShownPath{{Path: ".github/workflows/ci.yml", Kind: "modify"}}}, ".github/workflows/ci.yml"); d.Verdict != remit.Hold {
			b.Fatalf("%+v", d)
		}
		all = append(all, (<-arrived).Sub(began))
	}
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
	slices.Sort(all)
	at := func(q int) float64 { return all[(len(all)-1)*q/100].Seconds() * 1e3 }
	b.ReportMetric(at(50), "p50-ms")
	b.ReportMetric(at(95), "p95-ms")
	if at(95) > 1000 {
		b.Logf("over the goal: %.0f ms", at(95))
	}
}
