package authority_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// BenchmarkReviews opens a campaign over as many agents as a large organisation has, and then looks what is due.
func BenchmarkReviews(b *testing.B) {
	w := newWorld(b, remit.Team)
	w.quick = true
	apply := func(e remit.Event) {
		if err := authority.Apply(w.s, w.now.UnixNano(), e); err != nil {
			b.Fatal(err)
		}
	}
	for i := range 1000 {
		a := &remit.AgentDeclared{Name: fmt.Sprintf("agent-%d", i), Function: remit.FuncCode, Owner: "p-mia", By: "p-ada"}
		for j := range 10 {
			a.Entitlements = append(a.Entitlements, remit.Scope{Actions: []remit.Action{"source.push", "source.read"}, Resources: []remit.Pattern{remit.Pattern(fmt.Sprintf("repo:forge/team-%d/app-%d", i, j))}})
		}
		apply(a)
	}
	apply(&remit.ReviewsDeclared{UnusedAfter: int64(30 * day), Due: int64(7 * day), Fallback: "reviewers", Micro: remit.Causes(), SuspendAfter: int64(3000 * day)})
	apply(&remit.CampaignDeclared{Name: "quarterly", Cadence: "0 9 1 */3 *", Due: int64(14 * day), Fallback: "reviewers", Canaries: 20})
	w.now = april
	began, steps := time.Now(), 0
	for ; w.s.ReviewsDue(w.now.UnixNano()) && steps < 200; steps++ {
		w.must(&authority.StepReviews{Seed: remit.Hash([]byte("seed"))})
	}
	b.Logf("%d items in %d steps, %s", len(w.open()), steps, time.Since(began))
	for b.Loop() {
		w.s.ReviewsDue(w.now.UnixNano())
	}
}
