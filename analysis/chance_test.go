package analysis

import (
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// chance makes a small organisation.
func chance(rng *rand.Rand) (authority.Set, judge) {
	pick := func(n int) bool { return rng.IntN(n) == 0 }
	people := []string{"ada", "bob", "mia", "noa", "rio"}
	someone := func() remit.ID { return remit.ID("p-" + people[rng.IntN(len(people))]) }
	set := authority.Set{Upstreams: []remit.UpstreamDeclared{{Name: "forge", Type: "gitea", Spec: remit.Hash([]byte("f"))}, {Name: "oci", Type: remit.KindRegistry, Spec: remit.Hash([]byte("o"))},
		{Name: "cluster", Type: remit.KindKubernetes, Spec: remit.Hash([]byte("c"))}, {Name: "web", Type: remit.KindMCP, Spec: remit.Hash([]byte("w"))}},
		Groups: []remit.GroupDeclared{{Name: remit.Administrators, Members: []remit.ID{"p-ada", "p-bob"}}, {Name: "g1", Members: []remit.ID{"p-mia", "p-noa", "p-rio"}}, {Name: "g2", Members: []remit.ID{"p-noa"}}}}
	for _, p := range people {
		set.People = append(set.People, person(p))
	}
	needs := func() []remit.Need {
		n := remit.Need{Group: []string{"g1", "g2", remit.Administrators}[rng.IntN(3)], N: 1}
		if n.Group == "g1" {
			n.N += rng.IntN(2)
		}
		return []remit.Need{n}
	}
	for i := range 1 + rng.IntN(2) {
		r := remit.RepositoryDeclared{Name: fmt.Sprintf("forge/a/r%d", i), Path: fmt.Sprintf("a/r%d.git", i), DefaultBranch: "main", Approvers: needs(), Reviews: max(0, rng.IntN(5)-2)}
		if pick(3) {
			r.Approvers[0].Evidence = []string{"verdict", "verdict:2"}[rng.IntN(2)]
		}
		if pick(2) {
			r.Artifacts = []remit.Pattern{[]remit.Pattern{"artifact:oci/one", "artifact:oci/two"}[rng.IntN(2)]}
		}
		if pick(2) {
			r.Effects = append(r.Effects, remit.Effect{Refs: []remit.Pattern{"refs/heads/**", "refs/heads/rel/**", "refs/heads/main"}[rng.IntN(3)], Causes: "build.trigger",
				On: remit.Resource(fmt.Sprintf("pipeline:p%d", i)), Secrets: []string{"none", "exposed"}[rng.IntN(2)], Runs: []remit.Pattern{"ci/**"}})
		}
		if pick(3) {
			r.Effects = append(r.Effects, remit.Effect{Refs: "refs/heads/main", Causes: "deploy.promote", On: "environment:e"})
		}
		set.Repositories = append(set.Repositories, r)
	}
	set.Environments = []remit.EnvironmentDeclared{{Name: "e", Tier: []string{"staging", "production"}[rng.IntN(2)], Approvers: needs(), Upstream: "cluster", Spec: remit.Hash([]byte("t")),
		Artifacts: []remit.Pattern{"artifact:oci/one"}, Evidence: [][]string{nil, {"built"}, {"merged"}}[rng.IntN(3)]}}
	set.Secrets = []remit.SecretDeclared{{Name: "s", Zone: []remit.Zone{"S", "B", "P"}[rng.IntN(3)], Approvers: needs()}}
	set.Tools = []remit.ToolDeclared{{Name: "web/fetch", Zone: remit.ZoneSource, Impact: remit.Read, Pin: remit.Hash([]byte("1")), Taints: []string{"web-page"}},
		{Name: "web/send", Zone: remit.ZoneSource, Impact: []remit.Impact{remit.Write, remit.Privileged}[rng.IntN(2)], Pin: remit.Hash([]byte("2"))}}
	all := map[remit.Function][]remit.Action{
		remit.FuncPlan:   {"issue.read", "issue.comment"},
		remit.FuncCode:   {"issue.read", "issue.comment", "source.read", "source.push", "source.merge", "source.propose", "review.read", "tool.read", "tool.write", "tool.call", "secret.use"},
		remit.FuncReview: {"review.read", "review.submit", "source.read", "issue.read", "tool.read"},
		remit.FuncBuild:  {"artifact.publish", "source.read", "secret.read"},
		remit.FuncDeploy: {"deploy.promote", "issue.read", "secret.read"},
	}
	functions := []remit.Function{remit.FuncPlan, remit.FuncCode, remit.FuncCode, remit.FuncReview, remit.FuncReview, remit.FuncBuild, remit.FuncDeploy}
	zones := map[remit.Function]remit.Zone{remit.FuncCode: "S", remit.FuncBuild: "B", remit.FuncDeploy: "P"}
	for i := range 2 + rng.IntN(5) {
		f := functions[rng.IntN(len(functions))]
		a := remit.AgentDeclared{Name: fmt.Sprintf("a%d", i), Function: f, Owner: someone()}
		for _, act := range all[f] {
			if pick(3) {
				continue
			}
			info, _ := remit.Lookup(act)
			sc := remit.Scope{Actions: []remit.Action{act}}
			switch info.Resource {
			case "repo":
				sc.Resources = []remit.Pattern{[]remit.Pattern{"repo:forge/a/*", "repo:forge/a/r0"}[rng.IntN(2)]}
				if act == "source.push" || act == "source.merge" {
					sc.Refs = [][]remit.Pattern{nil, {"refs/heads/**"}, {"refs/heads/main"}, {"refs/heads/rel/**", "refs/heads/remit/{task}/**"}}[rng.IntN(4)]
					if act == "source.merge" && sc.Refs == nil {
						sc.Refs = []remit.Pattern{"refs/heads/**"}
					}
					if pick(4) {
						sc.Paths = []remit.Pattern{"src/**"}
					}
				}
			case "artifact":
				sc.Resources = []remit.Pattern{[]remit.Pattern{"artifact:oci/one", "artifact:oci/two"}[rng.IntN(2)]}
			case "environment":
				sc.Resources = []remit.Pattern{"environment:e"}
			case "secret":
				if set.Secrets[0].Zone != zones[f] {
					continue
				}
				sc.Resources = []remit.Pattern{"secret:s"}
			case "tool":
				sc.Resources = []remit.Pattern{"tool:web/**"}
			}
			a.Entitlements = append(a.Entitlements, sc)
		}
		for _, g := range []remit.Function{remit.FuncPlan, remit.FuncCode, remit.FuncReview, remit.FuncBuild, remit.FuncDeploy} {
			if g != f && pick(3) {
				a.MayRequest = append(a.MayRequest, g)
			}
		}
		if pick(2) {
			a.Requesters = []string{"g1"}
		}
		set.Agents = append(set.Agents, a)
	}
	hold := authority.Finding{Verdict: remit.Hold, Rules: []string{"rule"}, Sentence: "it waits", Votes: needs()}
	deny := authority.Finding{Verdict: remit.Deny, Rules: []string{"rule"}, Sentence: "no"}
	policies := []judge{allow, allow,
		func(f authority.Facts) authority.Finding { // after untrusted text nothing is written
			for _, st := range f.Steps {
				if len(f.Task.History.Taints) > 0 && st.Impact != remit.Read {
					return hold
				}
			}
			return allow(f)
		},
		func(f authority.Facts) authority.Finding {
			if slices.Contains(f.Task.History.Taints, "issue-text") && f.Steps[0].Action == "task.request" {
				return deny
			}
			return allow(f)
		},
		func(f authority.Facts) authority.Finding {
			if f.Agent.Name == "a1" && f.Steps[0].Action == "source.push" || f.Steps[0].ChildZone == remit.ZoneBuild {
				return hold
			}
			return allow(f)
		},
		func(f authority.Facts) authority.Finding {
			if f.Steps[0].Impact == remit.Read && f.Agent.Name == "a0" {
				return hold
			}
			return allow(f)
		}}
	return set, policies[rng.IntN(len(policies))]
}

// worlds are how many are played, and from which seed on: REMIT_PATHS_WORLDS=5000 REMIT_PATHS_FROM=1.
func worlds(t *testing.T) (n, from uint64) {
	n, from = 40, 1
	if testing.Short() {
		n = 8
	}
	for name, v := range map[string]*uint64{"REMIT_PATHS_WORLDS": &n, "REMIT_PATHS_FROM": &from} {
		if s := os.Getenv(name); s != "" {
			x, err := strconv.ParseUint(s, 10, 64)
			if err != nil {
				t.Fatalf("%s is a number, not %q", name, s)
			}
			*v = x
		}
	}
	return n, from
}

// played is what the oracle holds in the end, without what no graph names.
func played(t *testing.T, set authority.Set, policy judge, from NodeID, patient bool) []string {
	s := made(t, remit.Team, set)
	o := &oracle{t: t, patient: patient, s: s, set: set, now: start.Add(time.Hour), policy: policy, held: map[string]bool{}, ways: map[string]map[string]fresh{}, pushed: map[string][]author{}, did: map[string]bool{}}
	for _, r := range set.Repositories {
		s.Merged[r.Name+"@"+honest] = 1
	}
	o.held[named(from)] = true
	switch from.Kind() {
	case KindPerson:
		o.person = strings.TrimPrefix(from.Name(), "p-")
		for _, a := range set.Agents {
			f := func(string) (remit.Caller, bool) { return o.start(a.Name, remit.ID(from.Name())) }
			if _, ok := f(""); ok {
				o.learn(a.Name, "own", f)
			}
		}
	case KindAgent:
		i := slices.IndexFunc(set.Agents, func(a remit.AgentDeclared) bool { return a.Name == from.Name() })
		o.learn(from.Name(), "read", func(string) (remit.Caller, bool) { return o.start(set.Agents[i].Name, set.Agents[i].Owner) })
	}
	o.play()
	return sorted(o.held)
}

// named is a node as the oracle names it: an agent whatever it has read, and the branches of a repository as one.
func named(id NodeID) string {
	s, _, _ := strings.Cut(string(id), "+")
	if id.Kind() == KindBranch {
		s, _, _ = strings.Cut(s, "@")
	}
	return s
}

// regressions are worlds in which the analysis once said something else than whoever plays: two files, of which each waits
// for other votes, set off the same pipeline (560); who owns a reviewer votes on the merge as well (1775).
var regressions = []uint64{560, 1775}

func TestOracle(t *testing.T) {
	n, from := worlds(t)
	seeds := slices.Clone(regressions)
	for seed := from; seed < from+n; seed++ {
		seeds = append(seeds, seed)
	}
	for _, seed := range seeds {
		rng := rand.New(rand.NewPCG(seed, 7))
		set, policy := chance(rng)
		g := build(t, made(t, remit.Team, set), policy)
		var starts []NodeID
		for _, x := range g.Nodes {
			plain := string(x.ID) == named(x.ID) && !strings.Contains(string(x.ID), "@")
			if plain && (x.Kind == KindUntrusted || x.Kind == KindPerson || x.Kind == KindAgent) {
				starts = append(starts, x.ID)
			}
		}
		for range 3 {
			x := starts[rng.IntN(len(starts))]
			r, err := g.Reach(x)
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]bool{named(x): true}
			for _, f := range r.Free {
				got[named(f.Node)] = true
			}
			want := played(t, set, policy, x, false)
			if !slices.Equal(sorted(got), want) { // who tells chains of requests apart reaches more, and takes long
				want = played(t, set, policy, x, true)
			}
			if !slices.Equal(sorted(got), want) {
				if n == 1 {
					show(t, g)
				}
				for _, k := range sorted(got) {
					if !slices.Contains(want, k) {
						t.Errorf("seed %d: from %s the analysis reaches %s, and nobody who plays does", seed, x, k)
					}
				}
				for _, k := range want {
					if !got[k] {
						t.Errorf("seed %d: from %s whoever plays reaches %s, and the analysis does not", seed, x, k)
					}
				}
			}
		}
	}
}
