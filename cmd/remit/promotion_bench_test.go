package main

import (
	"os"
	"os/exec"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// BenchmarkPromotion is how long a promotion takes from its last vote until its outcome is in the log: with a durable log,
// an executor of its own over HTTPS, and a command for a target. The target's own time is that of the same commands
// without Remit: what is there, the deployment, what is there now. The goal is one second more than that.
func BenchmarkPromotion(b *testing.B) {
	s := newSite(b, applied)
	stop := s.run(s.enroll(s.dir, remit.ZoneProduction))
	defer stop()
	sh := func(script string, env ...string) {
		c := exec.Command("/bin/sh", "-c", script, b.TempDir())
		c.Env = append(os.Environ(), env...)
		if err := c.Run(); err != nil {
			b.Fatal(err)
		}
	}
	var all, own []time.Duration
	for n := 1; b.Loop(); n++ {
		a := shipped(string("abcdef"[n%6]))
		b.StopTimer()
		id := s.release(a)
		v, err := s.w.SignIn("ben").Access(b.Context(), id)
		if err != nil {
			b.Fatal(err)
		}
		began := time.Now()
		sh(shows)
		sh(applied, "REMIT_ARTIFACTS="+a.String())
		sh(shows)
		own = append(own, time.Since(began))
		b.StartTimer()
		began = time.Now()
		s.w.Cast("ben", v, true)
		if r := s.outcome(n); r.Outcome != remit.Done || r.Access != id {
			b.Fatalf("%+v", r)
		}
		all = append(all, time.Since(began))
	}
	slices.Sort(all)
	slices.Sort(own)
	at := func(d []time.Duration, q int) float64 { return d[(len(d)-1)*q/100].Seconds() * 1e3 }
	b.ReportMetric(at(all, 50), "p50-ms")
	b.ReportMetric(at(all, 99), "p99-ms")
	b.ReportMetric(at(own, 50), "target-p50-ms")
	b.ReportMetric(at(all, 50)/at(own, 50), "ratio")
	b.ReportMetric(float64(runtime.NumCPU()), "cpus")
	if over := at(all, 99) - at(own, 50); over > 1000 {
		b.Logf("over the goal: %.0f ms more than the target's own time", over)
	}
}
