package analysis_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
	"github.com/remit-dev/remit/authority"
)

// BenchmarkAYearOfOneAgent weighs what a busy agent does in a year: a million uses on branches of its own and in many
// directories. What it keeps does not grow with them.
func BenchmarkAYearOfOneAgent(b *testing.B) {
	declared := []remit.Scope{{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/**"}, Paths: []remit.Pattern{"src/**", "doc/**"}}}
	for b.Loop() {
		r := rand.New(rand.NewPCG(1, 1))
		u := analysis.NewUsage(declared)
		for i := range 1_000_000 {
			use := authority.Use{Step: remit.Step{Action: "source.read", Resource: remit.Resource(fmt.Sprint("repo:forge/r", r.IntN(12)))}}
			if i%4 == 0 {
				use.Step.Action, use.Ref, use.Commits, use.Bytes = "source.push", fmt.Sprint("refs/heads/remit/{task}/b", i), r.IntN(30), int64(r.IntN(1<<22))
				use.Paths = []string{fmt.Sprintf("src/d%d/f%d.go", r.IntN(10), i), fmt.Sprint("doc/", i)}
			}
			if err := u.Add(use, false, remit.EntryIndex(i), time.Unix(int64(i), 0)); err != nil {
				b.Fatal(err)
			}
		}
		if len(u.Fit().Scopes()) == 0 {
			b.Fatal("nothing is proposed")
		}
	}
}
