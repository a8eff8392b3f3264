package analysis

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/policy"
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

// BenchmarkBuild asks the authority about as many agents, with an owner and a repository each, as it is told: with the policy
// that is built in, which does not look at labels, and with one that does, so that each agent is asked about after each text.
func BenchmarkBuild(b *testing.B) {
	bundle, err := policy.Compile(b.Context(), policy.Builtin())
	if err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{100, 1000, 10_000} {
		s := made(b, remit.Team, team(n))
		for name, ask := range map[string]Judge{"builtin": bundle, "labels": judge(bundle.Judge)} {
			b.Run(fmt.Sprintf("%d/%s", n, name), func(b *testing.B) {
				var before, after runtime.MemStats
				for b.Loop() {
					runtime.GC()
					runtime.ReadMemStats(&before)
					g, err := Build(s, ask, Options{At: start.Add(time.Hour).UnixNano()})
					if err != nil {
						b.Fatal(err)
					}
					runtime.GC()
					runtime.ReadMemStats(&after)
					b.ReportMetric(float64(len(g.Edges)), "ways")
					b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-graph")
					b.ReportMetric(float64(after.Sys)/1e6, "MB-process")
					runtime.KeepAlive(g)
				}
				b.ReportMetric(float64(b.Elapsed())/float64(b.N)/float64(n)/1e3, "us/agent")
			})
		}
	}
}

// team is a company with n more coders.
func team(n int) authority.Set {
	set := company()
	for i := range n {
		p := person(fmt.Sprintf("x%d", i))
		r := remit.RepositoryDeclared{Name: fmt.Sprintf("forge/team%d/app", i), Path: fmt.Sprintf("team%d/app.git", i), DefaultBranch: "main", Approvers: []remit.Need{{Group: "reviewers", N: 1}}}
		set.People, set.Repositories = append(set.People, p), append(set.Repositories, r)
		set.Agents = append(set.Agents, remit.AgentDeclared{Name: fmt.Sprintf("coder%d", i), Function: remit.FuncCode, Owner: p.ID, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"source.push", "source.read", "issue.read", "issue.comment"}, Resources: []remit.Pattern{remit.Pattern("repo:" + r.Name)}},
			{Actions: []remit.Action{"tool.read"}, Resources: []remit.Pattern{"tool:web/**"}}}})
	}
	return set
}

// A judge that does not read labels is asked once for all of them; the graph is the same as if it had been asked for each.
func TestABlindJudgeIsAskedOnce(t *testing.T) {
	bundle, err := policy.Compile(t.Context(), policy.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	asked := 0
	count := func(f authority.Facts) authority.Finding { asked++; return bundle.Judge(f) }
	for seed := range uint64(12) {
		set, _ := chance(rand.New(rand.NewPCG(seed, 7)))
		s := made(t, remit.Team, set)
		asked = 0
		once, err := Build(s, narrow{count, bundle}, Options{At: start.Add(time.Hour).UnixNano()})
		if err != nil {
			t.Fatal(err)
		}
		n := asked
		each, err := Build(s, judge(count), Options{At: start.Add(time.Hour).UnixNano()})
		if err != nil {
			t.Fatal(err)
		}
		if asked-n < n {
			t.Errorf("seed %d: asked %d times with labels, %d without", seed, asked-n, n)
		}
		if !slices.Equal(said(once), said(each)) {
			t.Errorf("seed %d: another graph", seed)
		}
	}
	if blind(judge(allow)) || blind(narrow{allow, reader{}}) || !blind(bundle) {
		t.Error("who may read labels is asked about each, and the policy that is built in reads none")
	}
}

// narrow counts for a policy that says what it reads.
type narrow struct {
	judge
	Narrower
}

// reader reads everything.
type reader struct{}

func (reader) Narrow(f authority.Facts) authority.Facts { return f }

// said is all that a graph says.
func said(g *Graph) (out []string) {
	for _, n := range g.Nodes {
		out = append(out, fmt.Sprintf("%+v", n))
	}
	for i := range g.Edges {
		out = append(out, meaning(&g.Edges[i])+g.Edges[i].Why+g.Edges[i].Crosses)
	}
	return out
}
