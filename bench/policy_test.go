package bench

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/policy"
)

// rules is a bundle of n rules of one shape, each about an agent of its own: one fits the facts.
func rules(b *testing.B, n int) *policy.Bundle {
	b.Helper()
	var text strings.Builder
	text.WriteString("package remit.issue.comment\n\nimport rego.v1\n")
	for i := range n {
		fmt.Fprintf(&text, "\ndeny contains {\"rule\": \"r%d\", \"text\": \"no\"} if {\n\tinput.agent.name == \"agent-%d\"\n\tinput.bytes > 10\n}\n", i, i)
	}
	bundle, err := policy.Compile(b.Context(), []remit.PolicyFile{{Name: "rules.rego", Text: text.String()}})
	if err != nil {
		b.Fatal(err)
	}
	return bundle
}

// BenchmarkRules compares a judgement by a thousand rules with one by ten, in alternating rounds of one run. OPA finds
// the rules that fit by an index, and the linter names those for which it cannot.
func BenchmarkRules(b *testing.B) {
	few, many := rules(b, 10), rules(b, 1000)
	f := authority.Facts{Org: "acme", Profile: remit.Team, Agent: authority.AgentFacts{Name: "agent-7", Function: remit.FuncCode},
		Steps: []authority.StepView{{Action: "issue.comment", Resource: "repo:forge/payments", Stage: remit.StagePlan, Impact: remit.Write}}}
	each := atMost(2000, 20)
	took := func(p *policy.Bundle) float64 {
		start := time.Now()
		for range each {
			if p.Judge(f).Verdict != remit.Allow {
				b.Fatal("denied")
			}
		}
		return float64(time.Since(start))
	}
	for b.Loop() {
		var ratios []float64
		took(few)
		took(many)
		for range atMost(9, 1) {
			base := took(few)
			ratios = append(ratios, took(many)/base)
		}
		b.ReportMetric(median(ratios), "ratio")
	}
}
