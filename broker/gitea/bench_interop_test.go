//go:build interop && unix

package gitea_test

import (
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/broker/gitea"
)

// BenchmarkRevoke prints how long it takes from the call of Revoke until a probe sees the token dead, over twenty leases.
func BenchmarkRevoke(b *testing.B) {
	f := newForge(b)
	p := gitea.New(prefix)
	const rounds = 20
	for b.Loop() {
		var took []time.Duration
		for i := range rounds {
			a := f.asked(100+i, true)
			s := lease(b, p, a)
			life(b, p, a, &s, broker.Alive)
			start := time.Now()
			if err := p.Revoke(b.Context(), a, &s); err != nil {
				b.Fatal(err)
			}
			life(b, p, a, &s, broker.Dead)
			took = append(took, time.Since(start))
		}
		slices.Sort(took)
		b.Logf("| gitea | %d rounds | p50 %v | p99 %v |", rounds, took[rounds/2].Round(time.Millisecond), took[rounds-1].Round(time.Millisecond))
		b.ReportMetric(took[rounds/2].Seconds()*1e3, "p50-ms")
		b.ReportMetric(took[rounds-1].Seconds()*1e3, "p99-ms")
	}
}
