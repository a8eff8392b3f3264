package analysis

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/remit-dev/remit"
)

// questions are all that a graph of made-up agents is asked.
func questions(g *Graph) map[string]func() error {
	return map[string]func() error{
		"paths":     func() error { _, err := g.Paths(Query{From: "agent:n0", To: "agent:n9999"}); return err },
		"all-paths": func() error { _, err := g.Paths(Query{From: "agent:n0", To: "agent", Limit: 1000}); return err },
		"reach":     func() error { _, err := g.Reach("agent:n0"); return err },
		"cut":       func() error { _, err := g.Cut("agent:n0", "agent:n9999"); return err },
		"placement": func() error { _, err := g.Placement("agent:n0", "agent:n9999"); return err },
	}
}

// BenchmarkPaths asks a graph of 10,000 identities and 100,000 ways each question, against a plain walk of the same edges.
func BenchmarkPaths(b *testing.B) {
	ns, es := anything(rand.New(rand.NewPCG(1, 1)), 10_000, 100_000, true)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	g, err := NewGraph(ns, es)
	if err != nil {
		b.Fatal(err)
	}
	all := questions(g)
	plain := func() time.Duration {
		began := time.Now()
		seen := make([]bool, len(g.Nodes))
		seen[0] = true
		for todo := []int{0}; len(todo) > 0; {
			n := todo[0]
			todo = todo[1:]
			for _, e := range g.out[n] {
				if d := g.dst[e]; !seen[d] {
					seen[d], todo = true, append(todo, d)
				}
			}
		}
		return time.Since(began)
	}
	for _, name := range sorted(all) {
		b.Run(name, func(b *testing.B) {
			var walk time.Duration
			for b.Loop() {
				b.StopTimer()
				walk += plain()
				b.StartTimer()
				if err := all[name](); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed())/float64(walk), "x-walk")
			runtime.ReadMemStats(&after)
			b.ReportMetric(float64(after.Sys)/1e6, "MB-process")
		})
	}
}

// BenchmarkBuild asks the authority about as many agents and people as it is told.
func BenchmarkBuild(b *testing.B) {
	for _, n := range []int{100, 300, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			set := company()
			for i := range n {
				p := person(fmt.Sprintf("x%d", i))
				r := remit.RepositoryDeclared{Name: fmt.Sprintf("forge/team%d/app", i), Path: fmt.Sprintf("team%d/app.git", i), DefaultBranch: "main", Approvers: []remit.Need{{Group: "reviewers", N: 1}}}
				set.People, set.Repositories = append(set.People, p), append(set.Repositories, r)
				set.Agents = append(set.Agents, remit.AgentDeclared{Name: fmt.Sprintf("coder%d", i), Function: remit.FuncCode, Owner: p.ID, Entitlements: []remit.Scope{
					{Actions: []remit.Action{"source.push", "source.read", "issue.read", "issue.comment"}, Resources: []remit.Pattern{remit.Pattern("repo:" + r.Name)}},
					{Actions: []remit.Action{"tool.read"}, Resources: []remit.Pattern{"tool:web/**"}}}})
			}
			s := made(b, remit.Team, set)
			for b.Loop() {
				g := build(b, s, allow)
				b.ReportMetric(float64(len(g.Edges)), "edges")
			}
		})
	}
}
