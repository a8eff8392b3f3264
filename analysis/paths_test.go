package analysis

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// asked is how many approvals the best path takes; -1: there is none.
func asked(t *testing.T, g *Graph, from, to string) int {
	t.Helper()
	p, err := g.Paths(Query{From: from, To: to, Limit: 1})
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Paths) == 0 {
		return -1
	}
	return len(p.Paths[0].Approvals)
}

// holds is a policy that asks one of the release group about some actions.
func holds(actions ...remit.Action) judge {
	return func(f authority.Facts) authority.Finding {
		if slices.Contains(actions, f.Steps[0].Action) {
			return authority.Finding{Verdict: remit.Hold, Rules: []string{"waits"}, Sentence: "it waits", Votes: []remit.Need{{Group: "release", N: 1}}}
		}
		return allow(f)
	}
}

func TestPathsOfACompany(t *testing.T) {
	const repo = "forge/acme/payments"
	for _, c := range []struct {
		name, from, to string
		want           int
		change         func(*authority.Set)
		profile        remit.Profile
		policy         judge
	}{
		{name: "text steers a coder, who has an artifact built and published without a vote", from: "untrusted:issue-text/" + repo, to: "artifact:oci/payments", want: 0},
		{name: "production asks people, once", from: "untrusted", to: "environment/payments/production", want: 1},
		{name: "the default branch asks people", from: "untrusted", to: "repo:" + repo, want: 1},
		{name: "what a pipeline runs is protected", from: "agent:coder", to: "pipeline:payments/ci", want: 1},
		{name: "a secret of production asks people twice: for the work, and for the secret", from: "agent:coder", to: "secret:vault/prod", want: 2},
		{name: "a critic gets at nothing in production", from: "agent:critic", to: "secret:vault/prod", want: -1},
		{name: "an administrator waits for the second one", from: "person:p-ada", to: "control", want: 1},
		{name: "the only administrator waits for nobody", from: "person:p-ada", to: "control", want: 0,
			change: func(s *authority.Set) { s.Groups[0].Members = []remit.ID{"p-ada"} }},
		{name: "who asks does not vote", from: "person:p-noa", to: "pipeline:payments/ci", want: 1,
			change: func(s *authority.Set) {
				s.Agents[0].Entitlements = s.Agents[0].Entitlements[:1]
				s.Agents[0].Entitlements[0].Actions = []remit.Action{"source.push"}
			}},
		{name: "who makes another's work ask does vote", from: "person:p-noa", to: "pipeline:payments/ci", want: 0},
		{name: "a solo vote stops nobody", from: "person:p-noa", to: "pipeline:payments/ci", want: 0, profile: remit.Solo, change: func(s *authority.Set) {
			s.Agents[0].Entitlements = s.Agents[0].Entitlements[:1]
			s.Agents[0].Entitlements[0].Actions = []remit.Action{"source.push"}
		}},
		{name: "evidence of steered agents stands in for people", from: "untrusted", to: "repo:" + repo, want: 0, change: func(s *authority.Set) {
			s.Repositories[0].Approvers[0].Evidence = "verdict"
			s.Repositories[0].Effects = s.Repositories[0].Effects[1:]
		}},
		{name: "not where it takes more of them than there are", from: "untrusted", to: "repo:" + repo, want: 1, change: func(s *authority.Set) {
			s.Repositories[0].Approvers[0].Evidence = "verdict:2"
			s.Repositories[0].Effects = s.Repositories[0].Effects[1:]
		}},
		{name: "an author whose push waits is one, and who is asked for it counts", from: "agent", to: "repo:" + repo, want: 1, change: func(s *authority.Set) {
			s.Repositories[0].Approvers[0].Evidence = "verdict"
			s.Repositories[0].Effects = s.Repositories[0].Effects[1:]
		}, policy: holds("source.push")},
		{name: "so is a reviewer whose review waits", from: "agent", to: "repo:" + repo, want: 1, change: func(s *authority.Set) {
			s.Repositories[0].Approvers[0].Evidence = "verdict"
			s.Repositories[0].Effects = s.Repositories[0].Effects[1:]
		}, policy: holds("review.submit")},
		{name: "with both, both are asked", from: "agent", to: "repo:" + repo, want: 2, change: func(s *authority.Set) {
			s.Repositories[0].Approvers[0].Evidence = "verdict"
			s.Repositories[0].Effects = s.Repositories[0].Effects[1:]
		}, policy: holds("source.push", "review.submit")},
		{name: "reviews of agents alone are no person", from: "untrusted", to: "repo:" + repo, want: 1, change: func(s *authority.Set) {
			s.Repositories[0].Reviews = 1
		}},
		{name: "reviews that nobody can give are a wall", from: "untrusted", to: "repo:" + repo, want: -1, change: func(s *authority.Set) {
			s.Repositories[0].Reviews = 2
		}},
		{name: "labels are shed where another task reads what was written", from: "untrusted:web-page/web/fetch", to: "artifact:oci/payments", want: 0, policy: func(f authority.Facts) authority.Finding {
			if f.Steps[0].Action == "artifact.publish" && slices.Contains(f.Task.History.Taints, "web-page") {
				return authority.Finding{Verdict: remit.Hold, Rules: []string{"after"}, Sentence: "after a page"}
			}
			return allow(f)
		}},
		{name: "a policy after untrusted text counts", from: "untrusted:web-page/web/fetch", to: "artifact:oci/payments", want: 1, change: func(s *authority.Set) {
			s.Agents[0].Entitlements = s.Agents[0].Entitlements[1:]
		}, policy: func(f authority.Facts) authority.Finding {
			if f.Steps[0].Action == "artifact.publish" && slices.Contains(f.Task.History.Taints, "web-page") {
				return authority.Finding{Verdict: remit.Hold, Rules: []string{"after"}, Sentence: "after a page"}
			}
			return allow(f)
		}},
		{name: "and for that text only", from: "untrusted:issue-text/" + repo, to: "artifact:oci/payments", want: 0, policy: func(f authority.Facts) authority.Finding {
			if f.Steps[0].Action == "artifact.publish" && slices.Contains(f.Task.History.Taints, "web-page") {
				return authority.Finding{Verdict: remit.Hold, Rules: []string{"after"}, Sentence: "after a page"}
			}
			return allow(f)
		}},
		{name: "a credential is past Remit", from: "credential:cluster", to: "environment", want: 0},
		{name: "break-glass is opened by who asks", from: "person:p-sam", to: "secret:vault/prod", want: 0, change: func(s *authority.Set) {
			s.Agents[4].Requesters = []string{"release"}
			s.BreakGlass = []remit.BreakGlassDeclared{{Name: "fire", Who: []string{"release"}, Scope: []remit.Scope{{Actions: []remit.Action{"secret.read"}, Resources: []remit.Pattern{"secret:vault/**"}}},
				Minutes: 30, Reviewers: remit.Administrators, ReviewHours: 24}}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := company()
			if c.change != nil {
				c.change(&set)
			}
			policy, profile := c.policy, c.profile
			if policy == nil {
				policy = allow
			}
			if profile == "" {
				profile = remit.Team
			}
			g := build(t, made(t, profile, set), policy)
			if n := asked(t, g, c.from, c.to); n != c.want {
				p, _ := g.Paths(Query{From: c.from, To: c.to, Limit: 2})
				for _, x := range p.Paths {
					for _, e := range x.Edges {
						t.Logf("%s -> %s: %s %+v", e.From, e.To, e.Why, e.Approval)
					}
				}
				t.Errorf("%s to %s: %d approvals; want %d", c.from, c.to, n, c.want)
			}
		})
	}
}

// Two files that lead to the same may be asked about by different people: who gives the votes for one of them need not have
// those of the other.
func TestEachFileAsksItsOwn(t *testing.T) {
	set := company()
	set.Repositories[0].Effects[1].Secrets = "none"
	g := build(t, made(t, remit.Team, set), holds("source.push"))
	needs := map[string]bool{}
	for _, e := range g.Edges {
		if e.From == "agent:coder" && e.To == "pipeline:payments/ci" {
			needs[fmt.Sprint(e.Approval.Needs)] = true
		}
	}
	if !needs["[1 of release]"] || !needs["[1 of release 1 of reviewers]"] {
		t.Errorf("a push to the pipeline waits for %v", sorted(needs))
	}
	if n := asked(t, g, "agent:coder", "pipeline:payments/ci"); n != 1 {
		t.Errorf("%d approvals", n)
	}
}

// A push of an author that waits no longer frees the merge of what they wrote, which is another edge.
func TestALooserPushWidensTheMerge(t *testing.T) {
	set := company()
	set.Repositories[0].Approvers[0].Evidence = "verdict"
	set.Repositories[0].Effects = set.Repositories[0].Effects[1:]
	s := made(t, remit.Team, set)
	before, after := build(t, s, holds("source.push")), build(t, s, allow)
	c, err := Compare(before, after)
	if err != nil || !c.Widens || !slices.ContainsFunc(c.New, func(p NewPath) bool {
		return p.From() == "agent:merger" && p.To() == "repo:forge/acme/payments" && p.Free() && p.Before == 1
	}) {
		for _, p := range c.New {
			t.Errorf("%s %s %d, before %d", p.From(), p.To(), len(p.Approvals), p.Before)
		}
		t.Errorf("%v", err)
	}
}

func TestWhatIsAskedWrongly(t *testing.T) {
	g := build(t, made(t, remit.Team, company()), allow)
	for pattern, words := range map[string]string{"agent:nobody": "of kind agent there are", "agnet": "is no node: write KIND", "outside": "there are none of kind outside"} {
		if _, err := g.Match(pattern); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", pattern, err)
		}
	}
	if _, err := g.Paths(Query{From: "agent", To: "secret", Limit: MaxPaths + 1}); err == nil {
		t.Error("too many paths were asked for")
	}
	if _, err := g.Reach(); err == nil {
		t.Error("nothing holds nothing")
	}
	if _, err := Build(authority.New(), judge(allow), Options{}); err == nil || !strings.Contains(err.Error(), "no policy is in force") {
		t.Errorf("%v", err)
	}
	if _, err := NewGraph([]Node{{ID: "agent:a", Kind: KindAgent}}, []Edge{{From: "agent:a", To: "agent:b"}}); err == nil {
		t.Error("an edge to nowhere")
	}
	if _, err := NewGraph([]Node{{ID: "agent:a", Kind: KindAgent}, {ID: "agent:a", Kind: KindAgent}}, nil); err == nil {
		t.Error("a node twice")
	}
}

// Asking changes nothing, and the same question has the same answer.
func TestBuildIsPure(t *testing.T) {
	s := made(t, remit.Team, company())
	before := string(s.Encode())
	a, b := build(t, s, allow), build(t, s, allow)
	if string(s.Encode()) != before {
		t.Fatal("asking changed the state")
	}
	if fmt.Sprint(a.Nodes) != fmt.Sprint(b.Nodes) || len(a.Edges) != len(b.Edges) {
		t.Fatal("another graph")
	}
	for i := range a.Edges {
		if meaning(&a.Edges[i]) != meaning(&b.Edges[i]) || a.Edges[i].Why != b.Edges[i].Why {
			t.Fatalf("%+v %+v", a.Edges[i], b.Edges[i])
		}
	}
}

func TestDrafts(t *testing.T) {
	s := made(t, remit.Team, company())
	draft := remit.AgentDeclared{Name: "new", Function: remit.FuncBuild, Owner: "p-mia", Entitlements: []remit.Scope{{Actions: []remit.Action{"artifact.publish"}, Resources: []remit.Pattern{"artifact:oci/**"}}}}
	g, err := Build(s, judge(allow), Options{At: start.UnixNano(), Drafts: []remit.AgentDeclared{draft}})
	if err != nil {
		t.Fatal(err)
	}
	if n, ok := g.Node("agent:new"); !ok || !n.Draft {
		t.Errorf("%+v", n)
	}
	draft.Entitlements[0].Actions[0] = "deploy.promote"
	if _, err := Build(s, judge(allow), Options{At: start.UnixNano(), Drafts: []remit.AgentDeclared{draft}}); err == nil {
		t.Error("a draft across zones")
	}
}

func TestPlacement(t *testing.T) {
	set := company()
	set.Agents[4].Entitlements = append(set.Agents[4].Entitlements, remit.Scope{Actions: []remit.Action{"operate.read"}, Resources: []remit.Pattern{"environment:payments/*"}})
	g := build(t, made(t, remit.Team, set), allow)
	p, err := g.Placement("untrusted", "artifact:oci/payments")
	if err != nil {
		t.Fatal(err)
	}
	if len(p.Cut.Edges) != 1 || p.Cut.Edges[0].From != "agent:builder@forge/acme/payments" {
		t.Errorf("the cut is %+v", p.Cut.Edges)
	}
	if !slices.ContainsFunc(p.Missing, func(x Place) bool { return x.Edge.Action == "artifact.publish" && x.Path != nil && x.Path.Free() }) {
		t.Errorf("missing %+v", p.Missing)
	}
	if !slices.ContainsFunc(p.Vacuous, func(x Place) bool {
		return x.Edge.From == "agent:builder" && x.Edge.Action == "artifact.publish"
	}) {
		t.Errorf("a free path leads around the vote on publishing without a build: %+v", p.Vacuous)
	}
	if p, err = g.Placement("untrusted", "secret:vault/prod"); err != nil {
		t.Fatal(err)
	}
	if len(p.Cut.Edges) != 0 || !slices.ContainsFunc(p.Redundant, func(x Place) bool { return x.Edge.Action == "secret.read" }) {
		t.Errorf("whoever asks for the secret was let in by a vote: %+v", p.Redundant)
	}
	held := 0
	for _, e := range g.Edges {
		if e.Verdict == remit.Hold {
			held++
		}
	}
	narrow, err := g.Placement("agent:merger", "repo:forge/acme/payments")
	if err != nil || narrow.Elsewhere <= p.Elsewhere || narrow.Elsewhere >= held || len(narrow.Vacuous) > 0 {
		t.Errorf("of %d approvals, %d and %d are elsewhere: %v", held, narrow.Elsewhere, p.Elsewhere, err)
	}
}

func TestCompare(t *testing.T) {
	before := build(t, made(t, remit.Team, company()), allow)
	if c, err := Compare(before, before); err != nil || c.Widens || len(c.New) > 0 {
		t.Fatalf("%+v %v", c, err)
	}
	set := company()
	set.Agents[0].Entitlements[0].Refs = []remit.Pattern{"refs/heads/main"}
	set.Repositories[0].Effects = set.Repositories[0].Effects[1:]
	after := build(t, made(t, remit.Team, set), allow)
	c, err := Compare(before, after)
	if err != nil || !c.Widens {
		t.Fatalf("%+v %v", c, err)
	}
	if !slices.ContainsFunc(c.New, func(p NewPath) bool {
		return p.To() == "repo:forge/acme/payments" && p.Free() && p.Before == 1 && p.From().Kind() == KindUntrusted
	}) {
		for _, p := range c.New {
			t.Errorf("%s %s %d, before %d", p.From(), p.To(), len(p.Approvals), p.Before)
		}
	}
	if back, err := Compare(after, before); err != nil || slices.ContainsFunc(back.New, func(p NewPath) bool { return p.To() == "repo:forge/acme/payments" }) {
		for _, p := range back.New {
			t.Errorf("%s %s %d, before %d: %v", p.From(), p.To(), len(p.Approvals), p.Before, err)
		}
	}
	narrow := company()
	narrow.Agents[0].Entitlements = narrow.Agents[0].Entitlements[1:]
	if c, err := Compare(before, build(t, made(t, remit.Team, narrow), allow)); err != nil || c.Widens {
		t.Errorf("less is no widening: %+v %v", c.New, err)
	}
}

func TestWithScan(t *testing.T) {
	g := build(t, made(t, remit.Team, company()), allow)
	report := remit.ScanReport{Upstream: "forge", At: start, Unseen: []remit.ScanGap{{What: "tokens of users", Why: "the observer is no administrator"}}, Reach: []remit.ScanReach{
		{Holder: "gitea:user/eve", Credential: "gitea:token/1", Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/acme/**"}, Except: []remit.Pattern{"refs/heads/main"}},
		{Holder: "gitea:user/sue", Credential: "gitea:token/3", Actions: []remit.Action{"artifact.read", "source.push"}, Resources: []remit.Pattern{"artifact:oci/**", "repo:forge/acme/**"}, Except: []remit.Pattern{"repo:forge/acme/payments"}},
		{Holder: "agent:critic", Credential: "gitea:key/2", Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/acme/payments"}}}}
	s, err := WithScan(g, report)
	if err != nil {
		t.Fatal(err)
	}
	if n := asked(t, s, "outside", "pipeline"); n != 0 {
		t.Errorf("whoever pushes past Remit says what pipelines run: %d", n)
	}
	if r, _ := s.Reach("outside:gitea:user/eve"); slices.ContainsFunc(s.Edges, func(e Edge) bool { return e.From == "outside:gitea:user/eve" && e.To.Kind() == KindRepository }) ||
		!slices.ContainsFunc(r.Free, func(x Reached) bool { return x.Node.Kind() == KindRepository && x.Last.From == "agent:critic" }) {
		t.Errorf("the default branch is spared, and the critic's key leads there: %+v", r.Free)
	}
	if r, _ := s.Reach("outside:gitea:user/sue"); len(r.Free)+len(r.One)+len(r.More) > 0 {
		t.Errorf("reading holds nothing, and no push goes where the token does not: %+v", r.Free)
	}
	if n := asked(t, s, "agent:critic", "repo"); n != 0 {
		t.Errorf("an agent that holds a key goes by it: %d", n)
	}
	if n := asked(t, g, "agent:critic", "repo"); n != -1 {
		t.Errorf("the graph that was given has changed: %d", n)
	}
	if !slices.ContainsFunc(s.Unseen, func(u string) bool { return strings.Contains(u, "no administrator") }) {
		t.Errorf("%v", s.Unseen)
	}
	c, err := s.Cut("outside", "branch")
	if err != nil || len(c.Edges) != 0 || len(c.Uncut) == 0 || len(c.UncutPaths) == 0 {
		t.Errorf("no approval cuts what is past Remit: %+v %v", c, err)
	}
}

// anything makes a graph of any shape, without people.
func anything(rng *rand.Rand, nodes, edges int, supports bool) ([]Node, []Edge) {
	ns := []Node{}
	id := func(i int) NodeID { return NodeID(fmt.Sprintf("agent:n%d", i)) }
	for i := range nodes {
		ns = append(ns, Node{ID: id(i), Kind: KindAgent})
	}
	var es []Edge
	seen := map[string]bool{}
	for range edges {
		a, b := rng.IntN(nodes), rng.IntN(nodes)
		e := Edge{From: id(a), To: id(b), How: HowActs, Action: "source.push", Verdict: remit.Allow}
		if key := fmt.Sprint(a, b); a == b || seen[key] {
			continue
		} else {
			seen[key] = true
		}
		switch rng.IntN(6) {
		case 0:
			e.Verdict, e.Approval = remit.Hold, &Approval{Needs: []remit.Need{{Group: "g", N: 1}}, Voters: [][]remit.ID{{"p"}}}
		case 1:
			e.How = HowSteers
		case 2:
			if supports {
				e.With = []Support{{N: 1, Of: []NodeID{id(rng.IntN(nodes))}, By: []remit.Action{"", "source.push"}[rng.IntN(2)]}}
			}
		}
		es = append(es, e)
	}
	return ns, es
}

func graph(t *testing.T, ns []Node, es []Edge) *Graph {
	t.Helper()
	g, err := NewGraph(slices.Clone(ns), slices.Clone(es))
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// freeOf is what is reached without asking, by a plain search of its own.
func freeOf(es []Edge, from NodeID) map[NodeID]bool {
	held := map[NodeID]bool{from: true}
	for more := true; more; {
		more = false
		for _, e := range es {
			ok := held[e.From] && !held[e.To] && e.Verdict == remit.Allow
			for _, w := range e.With {
				did := slices.ContainsFunc(es, func(x Edge) bool { return x.From == w.Of[0] && x.Action == w.By && x.Verdict == remit.Allow })
				ok = ok && held[w.Of[0]] && (w.By == "" || did)
			}
			if ok {
				held[e.To], more = true, true
			}
		}
	}
	return held
}

func TestProperties(t *testing.T) {
	for seed := range uint64(600) {
		rng := rand.New(rand.NewPCG(seed, 3))
		ns, es := anything(rng, 7, 16, seed%2 == 0)
		if len(es) == 0 {
			continue
		}
		g := graph(t, ns, es)
		r, err := g.Reach("agent:n0")
		if err != nil {
			t.Fatal(err)
		}
		want := freeOf(es, "agent:n0")
		if len(r.Free) != len(want)-1 {
			t.Fatalf("seed %d: %d are free, and %d by a plain search", seed, len(r.Free), len(want)-1)
		}
		all := func(r Reach) int { return len(r.Free) + len(r.One) + len(r.More) }
		i := rng.IntN(len(es))
		less, _ := graph(t, ns, slices.Delete(slices.Clone(es), i, i+1)).Reach("agent:n0")
		if all(less) > all(r) || len(less.Free) > len(r.Free) {
			t.Fatalf("seed %d: without edge %d more is reached", seed, i)
		}
		held := slices.Clone(es)
		held[i].Verdict, held[i].Approval = remit.Hold, &Approval{Needs: []remit.Need{{Group: "g", N: 1}}, Voters: [][]remit.ID{{"p"}}}
		if more, _ := graph(t, ns, held).Reach("agent:n0"); len(more.Free) > len(r.Free) {
			t.Fatalf("seed %d: with an approval on edge %d more is free", seed, i)
		}
		p, err := g.Paths(Query{From: "agent:n0", To: "agent:n6", Limit: 50, PerPair: 50})
		if err != nil {
			t.Fatal(err)
		}
		last := 0
		for _, x := range p.Paths {
			if n := weigh(len(x.Approvals), len(x.Edges)); seed%2 == 1 && n < last {
				t.Fatalf("seed %d: paths are out of order", seed)
			} else {
				last = n
			}
			for k := 1; k < len(x.Edges); k++ {
				if x.Edges[k].From != x.Edges[k-1].To {
					t.Fatalf("seed %d: a path with a gap", seed)
				}
			}
		}
		if seed%2 == 1 && (len(p.Paths) > 0 && p.Paths[0].Free()) != want["agent:n6"] {
			t.Fatalf("seed %d: a free path, or none, against a plain search", seed)
		}
	}
}

// The cut leaves nothing, and no smaller set does: all of them are tried.
func TestCutIsSmallest(t *testing.T) {
	tried := 0
	for seed := range uint64(800) {
		rng := rand.New(rand.NewPCG(seed, 5))
		ns, es := anything(rng, 6, 14, false)
		g := graph(t, ns, es)
		c, err := g.Cut("agent:n0", "agent:n5")
		if err != nil {
			t.Fatal(err)
		}
		without := func(drop func(Edge) bool) bool {
			return !freeOf(slices.DeleteFunc(slices.Clone(es), drop), "agent:n0")["agent:n5"]
		}
		in := func(e Edge) bool {
			return slices.ContainsFunc(c.Edges, func(x Edge) bool { return x.From == e.From && x.To == e.To })
		}
		if len(c.Uncut) > 0 {
			if without(func(e Edge) bool { return gate(&e) }) || len(c.UncutPaths) != 1 {
				t.Fatalf("seed %d: it could be cut", seed)
			}
			continue
		}
		if slices.ContainsFunc(c.Edges, func(e Edge) bool { return !gate(&e) }) {
			t.Fatalf("seed %d: no approval could stand on one of %+v", seed, c.Edges)
		}
		if !without(in) {
			t.Fatalf("seed %d: a free path is left after %+v", seed, c.Edges)
		}
		var gates []Edge
		for _, e := range es {
			if e.Verdict == remit.Allow && gate(&e) {
				gates = append(gates, e)
			}
		}
		for set := range 1 << len(gates) {
			size := 0
			drop := map[string]bool{}
			for i, e := range gates {
				if set>>i&1 == 1 {
					size++
					drop[string(e.From+e.To)] = true
				}
			}
			if size < len(c.Edges) && without(func(e Edge) bool { return drop[string(e.From+e.To)] }) {
				t.Fatalf("seed %d: %d edges are enough, and the cut has %d", seed, size, len(c.Edges))
			}
		}
		tried += len(c.Edges)
	}
	if tried < 100 {
		t.Fatalf("only %d edges were cut", tried)
	}
}

// A pattern is written by whoever asks: it means nodes of the graph, or is an error.
func FuzzMatch(f *testing.F) {
	ns, es := anything(rand.New(rand.NewPCG(1, 1)), 4, 6, false)
	g, err := NewGraph(append(ns, Node{ID: "environment:a/b", Kind: KindEnvironment}, Node{ID: "agent:n1@forge/a", Kind: KindAgent}), es)
	if err != nil {
		f.Fatal(err)
	}
	for _, s := range []string{"agent", "agent:n1", "agent/n1", "environment:a/**", "environment/a/*", "agent:**", ":", "/", "agent:n1@forge/a", "agent:+"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, pattern string) {
		out, err := g.Match(pattern)
		if (err == nil) != (len(out) > 0) {
			t.Fatalf("%q: %v %v", pattern, out, err)
		}
		for _, id := range out {
			if !strings.HasPrefix(pattern, string(id.Kind())) {
				t.Fatalf("%q means %s", pattern, id)
			}
		}
	})
}
