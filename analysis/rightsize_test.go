package analysis_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
	"github.com/remit-dev/remit/authority"
)

// sizing is a random agent: what is declared of it, what it did, and what its child tasks asked for.
type sizing struct {
	declared []remit.Scope
	uses     []authority.Use
	asks     [][]remit.Scope
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func some[T any](r *rand.Rand, list []T, least int) (out []T) {
	for _, i := range r.Perm(len(list))[:least+r.IntN(len(list)-least+1)] {
		out = append(out, list[i])
	}
	return out
}

var (
	sizedActions   = []remit.Action{"source.read", "source.push", "source.merge", "issue.read", "tool.read", "tool.list", "tool.write"}
	sizedResources = []remit.Pattern{"repo:forge/acme/payments", "repo:forge/acme/ledger", "repo:forge/acme/*", "repo:forge/**", "tool:jira/*", "tool:jira/-", "tool:jira/create"}
	sizedRefs      = []remit.Pattern{"refs/heads/main", "refs/heads/**", "refs/heads/remit/{task}/**", "refs/heads/remit/{task}/fix", "refs/tags/*", "refs/heads/release/**"}
	sizedPaths     = []remit.Pattern{"src/**", "src/*", "src/pay/**", "src/pay/a.go", "doc/**", "go.mod"}
)

func randomScope(r *rand.Rand) remit.Scope {
	sc := remit.Scope{Actions: some(r, sizedActions, 1), Resources: some(r, sizedResources, 1)}
	if r.IntN(2) == 0 {
		sc.Refs = some(r, sizedRefs, 1)
	}
	if r.IntN(2) == 0 {
		sc.Paths = some(r, sizedPaths, 1)
	}
	if r.IntN(3) == 0 {
		sc.MaxBytes, sc.MaxCommits = int64(1+r.IntN(1<<24)), 1+r.IntN(100)
	}
	return sc
}

func randomUse(r *rand.Rand) authority.Use {
	u := authority.Use{Step: remit.Step{Action: pick(r, sizedActions)}}
	if slices.Contains([]remit.Action{"tool.read", "tool.list", "tool.write"}, u.Step.Action) {
		u.Step.Resource = pick(r, []remit.Resource{"tool:jira/create", "tool:jira/read", "tool:jira/-"})
		return u
	}
	u.Step.Resource = remit.Resource(fmt.Sprintf("repo:forge/acme/%s", pick(r, []string{"payments", "ledger", fmt.Sprint("r", r.IntN(40))})))
	if u.Step.Action == "source.push" || u.Step.Action == "source.merge" {
		u.Ref = pick(r, []string{"refs/heads/main", "refs/heads/remit/{task}/fix", fmt.Sprint("refs/heads/remit/{task}/b", r.IntN(50)), "refs/tags/v1", fmt.Sprint("refs/heads/release/", r.IntN(40)), "refs/heads/release/1/x"})
		u.Op = pick(r, []remit.RefOp{remit.RefCreate, remit.RefUpdate, remit.RefForce, remit.RefDelete})
		u.Commits, u.Bytes = r.IntN(60), int64(r.IntN(1<<23))
		u.Paths = some(r, []string{"src/a.go", "src/b.go", "src/pay/a.go", "src/pay/deep/b.go", "src/pay*/c.go", "doc/x/y.md", "go.mod", fmt.Sprint("src/d", r.IntN(30), "/x.go")}, 0)
	}
	return u
}

func randomSizing(seed uint64) sizing {
	r := rand.New(rand.NewPCG(seed, 7))
	var s sizing
	for range 1 + r.IntN(4) {
		s.declared = append(s.declared, randomScope(r))
	}
	covers := authority.Entitled(s.declared)
	for range r.IntN(150) {
		if u := randomUse(r); covers(u) {
			s.uses = append(s.uses, u)
		}
	}
	for range r.IntN(2) {
		if a := []remit.Scope{randomScope(r)}; authority.MayAsk(a, s.declared, "{task}") {
			s.asks = append(s.asks, a)
		}
	}
	return s
}

func (s sizing) fit(t testing.TB) analysis.Fit {
	u := analysis.NewUsage(s.declared)
	for i, x := range s.uses {
		if err := u.Add(x, false, remit.EntryIndex(i), time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	for i, a := range s.asks {
		if err := u.Ask(a, "T-5", remit.EntryIndex(i), time.Unix(int64(i), 0)); err != nil {
			t.Fatal(err)
		}
	}
	return u.Fit()
}

func (s sizing) refused(scopes []remit.Scope) string {
	covers := authority.Entitled(scopes)
	for _, u := range s.uses {
		if !covers(u) {
			return fmt.Sprintf("%+v", u)
		}
	}
	for _, a := range s.asks {
		if !authority.MayAsk(a, scopes, "{task}") {
			return fmt.Sprintf("the ask for %+v", a)
		}
	}
	return ""
}

// What is proposed lies within what is declared, covers all that was done, and has no part that nothing needs. All three
// are decided by the code that decides on requests.
func TestWhatIsProposedCoversAllUseAndNoMore(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 100
	}
	shrunk := 0
	for seed := range uint64(n) {
		s := randomSizing(seed)
		f := s.fit(t)
		scopes := f.Scopes()
		if !authority.Narrows(scopes, s.declared) {
			t.Fatalf("seed %d: more than is declared:\n%+v\nof %+v", seed, scopes, s.declared)
		}
		if what := s.refused(scopes); what != "" {
			t.Fatalf("seed %d: it refuses %s:\n%+v\nof %+v", seed, what, scopes, s.declared)
		}
		if len(f.Outside) > 0 {
			t.Fatalf("seed %d: %+v is outside", seed, f.Outside)
		}
		for _, sc := range scopes {
			if len(s.asks) == 0 && pushes(sc) && (sc.MaxBytes == 0 || sc.MaxCommits == 0) {
				t.Fatalf("seed %d: no limit of a push: %+v", seed, sc)
			}
		}
		if len(s.asks) > 0 && len(s.asks[0][0].Paths) > 0 {
			continue // what it covers of the uses is not counted: it names paths that are not declared
		}
		for what, less := range parts(scopes) {
			if s.refused(less) == "" {
				t.Fatalf("seed %d: nothing needs %s:\n%+v", seed, what, scopes)
			}
		}
		if !authority.Narrows(s.declared, scopes) {
			shrunk++
		}
	}
	if shrunk < n/2 {
		t.Errorf("only %d of %d shrank", shrunk, n)
	}
}

// parts are scopes with one part left out, by what it is.
func parts(scopes []remit.Scope) map[string][]remit.Scope {
	out := map[string][]remit.Scope{}
	change := func(i int, what string, f func(*remit.Scope)) {
		less := slices.Clone(scopes)
		f(&less[i])
		out[fmt.Sprintf("%s of [%d]", what, i)] = less
	}
	for i, sc := range scopes {
		if pushes(sc) && sc.MaxBytes >= 2<<20 {
			change(i, "half of the bytes", func(s *remit.Scope) { s.MaxBytes /= 2 })
		}
		if pushes(sc) && sc.MaxCommits >= 32 {
			change(i, "half of the commits", func(s *remit.Scope) { s.MaxCommits /= 2 })
		}
		out[fmt.Sprintf("[%d]", i)] = slices.Delete(slices.Clone(scopes), i, i+1)
		for n, x := range sc.Actions {
			change(i, string(x), func(s *remit.Scope) { s.Actions = slices.Delete(slices.Clone(s.Actions), n, n+1) })
		}
		for n, x := range sc.Resources {
			change(i, string(x), func(s *remit.Scope) { s.Resources = slices.Delete(slices.Clone(s.Resources), n, n+1) })
		}
		for n, x := range sc.Refs {
			if len(sc.Refs) > 1 && pushes(sc) {
				change(i, string(x), func(s *remit.Scope) { s.Refs = slices.Delete(slices.Clone(s.Refs), n, n+1) })
			}
		}
		for n, x := range sc.Paths {
			if len(sc.Paths) > 1 {
				change(i, string(x), func(s *remit.Scope) { s.Paths = slices.Delete(slices.Clone(s.Paths), n, n+1) })
			}
		}
	}
	return out
}

func pushes(sc remit.Scope) bool {
	return slices.ContainsFunc(sc.Actions, func(a remit.Action) bool { return a == "source.push" || a == "source.merge" })
}

// Each form of what is proposed, by example.
func TestTheFormsOfWhatIsProposed(t *testing.T) {
	push := func(ref string, paths ...string) authority.Use {
		return authority.Use{Step: remit.Step{Action: "source.push", Resource: "repo:forge/shop"}, Ref: ref, Op: remit.RefUpdate, Commits: 17, Bytes: 3 << 20, Paths: paths}
	}
	var many []authority.Use
	for i := range 40 {
		many = append(many, authority.Use{Step: remit.Step{Action: "source.read", Resource: remit.Resource(fmt.Sprintf("repo:forge/t%d/r%d", i%3, i))}})
	}
	all := remit.Scope{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/**"}}
	with := func(f func(*remit.Scope)) []remit.Scope { sc := all; f(&sc); return []remit.Scope{sc} }
	for name, c := range map[string]struct {
		declared []remit.Scope
		uses     []authority.Use
		unread   bool
		asks     []remit.Scope
		want     []string
	}{
		"branches of its own": {with(func(*remit.Scope) {}), []authority.Use{push("refs/heads/remit/{task}/a"), push("refs/heads/remit/{task}/b/c")}, false, nil,
			[]string{"source.push on repo:forge/shop, 32 commits a push, 4194304 bytes a push"}},
		"of its own, where all are declared": {with(func(s *remit.Scope) { s.Refs = []remit.Pattern{"refs/heads/**"} }), []authority.Use{push("refs/heads/remit/{task}/a"), push("refs/heads/main")}, false, nil,
			[]string{"source.push on repo:forge/shop, refs refs/heads/main, refs/heads/remit/{task}/**, 32 commits a push, 4194304 bytes a push"}},
		"of its own, where fewer are": {with(func(s *remit.Scope) { s.Refs = []remit.Pattern{"refs/heads/remit/{task}/fix/**"} }), []authority.Use{push("refs/heads/remit/{task}/fix/a")}, false, nil,
			[]string{"source.push on repo:forge/shop, refs refs/heads/remit/{task}/fix/**, 32 commits a push, 4194304 bytes a push"}},
		"directories": {with(func(s *remit.Scope) { s.Paths = []remit.Pattern{"src/**", "doc/x/**", "go.mod"} }), []authority.Use{push("refs/heads/remit/{task}/a", "src/a/b/c.go", "src/x.go", "doc/x/y/z.md")}, false, nil,
			[]string{"source.push on repo:forge/shop, paths doc/x/**, src/*, src/a/**, 32 commits a push, 4194304 bytes a push"}},
		"paths that nobody knows": {with(func(s *remit.Scope) { s.Paths = []remit.Pattern{"src/**", "doc/*"} }), []authority.Use{push("refs/heads/remit/{task}/a")}, true, nil,
			[]string{"source.push on repo:forge/shop, paths src/**, doc/*, 32 commits a push, 4194304 bytes a push"}},
		"declared limits": {with(func(s *remit.Scope) { s.MaxBytes, s.MaxCommits = 3<<20+5, 20 }), []authority.Use{push("refs/heads/remit/{task}/a")}, false, nil,
			[]string{"source.push on repo:forge/shop, 20 commits a push, 3145733 bytes a push"}},
		"too many names": {[]remit.Scope{{Actions: []remit.Action{"source.read"}, Resources: []remit.Pattern{"repo:forge/**"}}}, many, false, nil,
			[]string{"source.read on repo:forge/t0/**, repo:forge/t1/**, repo:forge/t2/**"}},
		"a list of tools": {[]remit.Scope{{Actions: []remit.Action{"tool.read", "tool.write"}, Resources: []remit.Pattern{"tool:jira/*"}}},
			[]authority.Use{{Step: remit.Step{Action: "tool.list", Resource: "tool:jira/-"}}}, false, nil, []string{"tool.read on tool:jira/*"}},
		"what a child asked for": {with(func(*remit.Scope) {}), nil, false,
			[]remit.Scope{{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/a/*"}, Refs: []remit.Pattern{"refs/heads/remit/T-5/fix"}, MaxCommits: 3}},
			[]string{"source.push on repo:forge/a/*, refs refs/heads/remit/{task}/fix, 3 commits a push"}},
		"a child that asked for less than was done": {with(func(*remit.Scope) {}), []authority.Use{push("refs/heads/remit/{task}/a", "src/x")}, false,
			[]remit.Scope{{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/shop"}, Paths: []remit.Pattern{"src/x"}}},
			[]string{"source.push on repo:forge/shop, 32 commits a push, 4194304 bytes a push"}},
		"nothing": {with(func(*remit.Scope) {}), nil, false, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			u := analysis.NewUsage(c.declared)
			for i, x := range c.uses {
				if err := u.Add(x, c.unread, remit.EntryIndex(i), time.Unix(int64(i), 0)); err != nil {
					t.Fatal(err)
				}
			}
			if c.asks != nil {
				if err := u.Ask(c.asks, "T-5", 1, time.Unix(1, 0)); err != nil {
					t.Fatal(err)
				}
			}
			var got []string
			for _, sc := range u.Fit().Scopes() {
				got = append(got, sc.Line())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%q\nwant %q", got, c.want)
			}
		})
	}
}
