//go:build interop && unix

package kubernetes_test

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/kubernetes"
)

// BenchmarkRevoke prints how long it takes from the call of Revoke until a probe sees the token dead, over twenty leases at
// a time. Each token was used just before, so it is in the API server's cache: the worst case.
func BenchmarkRevoke(b *testing.B) {
	c := newCluster(b)
	p := kubernetes.New(prefix, time.Now)
	const rounds = 20
	for b.Loop() {
		took := make([]time.Duration, rounds)
		var all sync.WaitGroup
		for i := range rounds {
			a := c.asked(100 + i)
			s := lease(b, p, a)
			life(b, p, a, &s, broker.Alive)
			all.Go(func() {
				start := time.Now()
				if err := p.Revoke(b.Context(), a, &s); err != nil {
					b.Error(err)
					return
				}
				dead(b, p, a, &s)
				took[i] = time.Since(start)
			})
		}
		all.Wait()
		slices.Sort(took)
		b.Logf("| kubernetes | %d rounds | p50 %v | p99 %v |", rounds, took[rounds/2].Round(time.Millisecond), took[rounds-1].Round(time.Millisecond))
		b.ReportMetric(took[rounds/2].Seconds()*1e3, "p50-ms")
		b.ReportMetric(took[rounds-1].Seconds()*1e3, "p99-ms")
	}
}
