package authority_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// leftPad is one change of a dependency.
func leftPad(i int) remit.DependencyChange {
	return remit.DependencyChange{File: "package-lock.json", Ecosystem: "npm", Name: fmt.Sprintf("left-pad-%d", i), To: "1.3.0", Registry: "evil.example",
		Elsewhere: true, New: true, Scripts: true, Findings: []string{remit.OddUnasked}, Text: "the manifest asks for nothing new"}
}

// What a gateway says of changed files reaches the policy, at the step that changes them and at no other, and no leaf.
func TestPolicySeesWhatChangedFilesMean(t *testing.T) {
	w := newWorld(t, remit.Team, func(s *authority.Set) {
		s.Repositories[0].Effects = []remit.Effect{{Refs: "refs/heads/**", Causes: "build.trigger", On: "pipeline:payments/ci", Secrets: "none"}}
	})
	c := w.task("coder", "p-mia")
	r := push(c, branch(c, "x"), "tip", "package-lock.json")
	plain := authority.FactsOf(w.s, r, w.now.UnixNano()).Digest()
	r.Refs[0].Dependencies = []remit.DependencyChange{leftPad(1)}
	r.Refs[0].Workflows = []remit.WorkflowFinding{{Path: ".github/workflows/ci.yml", Line: 3, Kind: "expression", Text: "untrusted"}}
	r.Refs[0].Owners = []remit.Ownership{{Owners: []string{"@security"}, Paths: 1, Path: "package-lock.json"}}
	r.Refs[0].Truncated = true
	var seen []authority.Facts
	w.policy = func(f authority.Facts) authority.Finding {
		seen = append(seen, f)
		return authority.Finding{Verdict: remit.Allow}
	}
	w.allow(r)
	if len(seen) == 0 {
		t.Fatal("the policy was not asked")
	}
	for _, f := range seen { // also when the stored command is decided again
		s := f.Steps[0]
		if len(f.Steps) != 2 || !reflect.DeepEqual(s.Dependencies, r.Refs[0].Dependencies) || !reflect.DeepEqual(s.Workflows, r.Refs[0].Workflows) ||
			!reflect.DeepEqual(s.Owners, r.Refs[0].Owners) || !s.Truncated {
			t.Fatalf("%+v", f.Steps)
		}
		if e := f.Steps[1]; !e.Effect || e.Dependencies != nil || e.Truncated {
			t.Fatalf("an effect changes no files itself: %+v", e)
		}
		if f.Digest() == plain {
			t.Fatal("the digest does not cover it")
		}
	}
	last := w.log[len(w.log)-1]
	if leaf := string(last.bytes); strings.Contains(leaf, "left-pad") || strings.Contains(leaf, "@security") || strings.Contains(leaf, "ci.yml") {
		t.Fatal("a leaf says what changed")
	}
	w.replay()
}

// Facts of a request that says nothing of it are those that older entries were decided on.
func TestFactsGrowOnlyWithWhatIsSaid(t *testing.T) {
	w := newWorld(t, remit.Team)
	c := w.task("coder", "p-mia")
	b := string(authority.FactsOf(w.s, push(c, branch(c, "x"), "tip", "a"), w.now.UnixNano()).Encode())
	for _, name := range []string{"dependencies", "workflows", "owners", "truncated", "artifacts", "deploy", "review"} {
		if strings.Contains(b, `"`+name+`"`) {
			t.Errorf("%s stands in %s", name, b)
		}
	}
}

func TestFactsOfFilesAreLimited(t *testing.T) {
	each(t, remit.Team, []row{
		{"as many as there may be", func(_ *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "tip", "a")
			for i := range remit.MaxDependencies {
				r.Refs[0].Dependencies = append(r.Refs[0].Dependencies, leftPad(i))
			}
			r.Refs[0].Workflows = make([]remit.WorkflowFinding, remit.MaxWorkflows)
			r.Refs[0].Owners = make([]remit.Ownership, remit.MaxOwnerships)
			w.allow(r)
		}},
		{"one dependency more, of two refs together", func(_ *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "tip", "a")
			r.Refs = append(r.Refs, push(c, branch(c, "y"), "tip", "a").Refs...)
			r.Refs[0].Dependencies = make([]remit.DependencyChange, remit.MaxDependencies)
			r.Refs[1].Dependencies = make([]remit.DependencyChange, 1)
			w.deny(r, remit.BadRequest, "at most 200 changes of dependencies")
		}},
		{"one finding more", func(_ *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "tip", "a")
			r.Refs[0].Workflows = make([]remit.WorkflowFinding, remit.MaxWorkflows+1)
			w.deny(r, remit.BadRequest, "100 findings about workflows")
		}},
		{"one group of owners more", func(_ *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			r := push(c, branch(c, "x"), "tip", "a")
			r.Refs[0].Owners = make([]remit.Ownership, remit.MaxOwnerships+1)
			w.deny(r, remit.BadRequest, "at most 100 groups")
		}},
	})
}

func TestPolicySeesArtifactsDeploymentsAndReviews(t *testing.T) {
	w := supplied(t, func(s *authority.Set) {
		for i := range s.Environments {
			s.Environments[i].Evidence = []string{remit.EvidenceMerged, remit.EvidenceBuilt}
		}
	})
	facts := func(r remit.Request) authority.Facts { return authority.FactsOf(w.s, r, w.now.UnixNano()) }

	p := publish(w.build("1"), built("a"))
	if f := facts(p); !slices.Equal(f.Artifacts, p.Artifacts) || f.Deploy.Environment != "" || f.Review.Verdict != "" {
		t.Fatalf("%+v", f)
	}
	known := w.published("a", "1")

	d := w.deployment(w.task("pilot", "p-mia"), staging, known)
	want := authority.DeployFacts{Environment: "payments/staging", Artifacts: []remit.Artifact{known},
		Evidence: []authority.EvidenceFacts{{Name: remit.EvidenceMerged, Met: false}, {Name: remit.EvidenceBuilt, Met: true}}}
	if f := facts(d); !reflect.DeepEqual(f.Deploy, want) || f.Artifacts != nil {
		t.Fatalf("%+v", f.Deploy)
	}
	d.Deploy.Artifacts = []remit.Artifact{built("nobody built it")}
	d.Deploy.From, d.Deploy.Rollback = 7, true
	want.Artifacts, want.Evidence[1].Met, want.From, want.Rollback = d.Deploy.Artifacts, false, 7, true
	if f := facts(d); !reflect.DeepEqual(f.Deploy, want) {
		t.Fatalf("%+v", f.Deploy)
	}

	c := w.task("critic", "p-mia")
	r := push(c, "refs/heads/main", "tip", "a")
	r.Steps[0].Action, r.Review, r.Refs[0].Old = "review.submit", remit.ReviewReject, oid("base")
	if f := facts(r); f.Review != (authority.ReviewFacts{Verdict: "reject", Into: "refs/heads/main", Base: oid("base"), Head: oid("tip")}) {
		t.Fatalf("%+v", f.Review)
	}
}

// A rule on trial is recorded and changes nothing: whatever the policy says besides, the decision is the same but for
// what was observed.
func TestWhatIsObservedChangesNothing(t *testing.T) {
	trial := []remit.Observation{{Rule: "b", Verdict: remit.Hold, Text: "Ask."}, {Rule: "z", Verdict: remit.Deny, Text: "No, ana."}, {Rule: "a", Verdict: remit.Hold, Text: "Ask."}}
	recorded := []string{"deny:z", "hold:a", "hold:b"}
	for _, f := range []authority.Finding{
		{Verdict: remit.Allow},
		{Verdict: remit.Hold, Rules: []string{"ask"}, Sentence: "ask", Votes: []remit.Need{{Group: "reviewers", N: 1}}},
		{Verdict: remit.Deny, Rules: []string{"no"}, Sentence: "no"},
	} {
		t.Run(f.Verdict.String(), func(t *testing.T) {
			run := func(observed []remit.Observation) (*world, authority.Result, *remit.Decided) {
				w := newWorld(t, remit.Team)
				w.policy = func(authority.Facts) authority.Finding { f.Observed = observed; return f }
				c := w.task("coder", "p-mia")
				at := len(w.log)
				res := w.must(&authority.Authorize{Request: push(c, branch(c, "x"), "tip", "a")})
				e := *w.log[at].event.(*remit.Decided)
				w.replay()
				return w, res, &e
			}
			_, plainResult, plain := run(nil)
			w, res, e := run(trial)
			if !slices.Equal(e.Observed, recorded) || !slices.Equal(res.Observed, trial) {
				t.Fatalf("%v, %v", e.Observed, res.Observed)
			}
			if leaf := string(w.log[len(w.log)-1].bytes); strings.Contains(leaf, "ana") {
				t.Fatal("a text stands in a leaf")
			}
			e.Observed, res.Observed = nil, nil
			if !reflect.DeepEqual(e, plain) || !reflect.DeepEqual(res, plainResult) {
				t.Fatalf("%+v\n%+v", e, plain)
			}
		})
	}
}

// However many rules are on trial, the entry holds what there is room for.
func TestObservedRulesFitTheEntry(t *testing.T) {
	w := newWorld(t, remit.Team)
	var many []remit.Observation
	for i := range remit.MaxObserved + 5 {
		many = append(many, remit.Observation{Rule: fmt.Sprintf("%02d%s", i, strings.Repeat("x", 62)), Verdict: remit.Deny, Text: "t"})
	}
	w.policy = func(authority.Facts) authority.Finding {
		return authority.Finding{Verdict: remit.Allow, Observed: many}
	}
	c := w.task("coder", "p-mia")
	at := len(w.log)
	w.allow(push(c, branch(c, "x"), "tip", "a"))
	if e := w.log[at].event.(*remit.Decided); len(e.Observed) != remit.MaxObserved {
		t.Fatalf("%d", len(e.Observed))
	}
	// Where even that is too much, the decision is a denial that says so, and not an entry that cannot be written.
	r := push(c, branch(c, "y"), "tip", "a")
	for i := range 40 {
		r.Refs = append(r.Refs, push(c, branch(c, fmt.Sprintf("%02d%s", i, strings.Repeat("y", 100))), "tip", "a").Refs...)
	}
	at = len(w.log)
	w.deny(r, remit.TooLargeToJudge, "the decision on it would take")
	if e := w.log[at].event.(*remit.Decided); len(e.Observed) != 0 {
		t.Fatalf("%d", len(e.Observed))
	}
	w.replay()
}

// Whatever a policy names and however much is pushed at once, there is an entry.
func TestNamedRulesFitTheEntry(t *testing.T) {
	w := newWorld(t, remit.Team)
	var rules []string
	for i := range 32 {
		rules = append(rules, fmt.Sprintf("%02d%s", i, strings.Repeat("x", 62)))
	}
	w.policy = func(authority.Facts) authority.Finding {
		return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: rules, Sentence: "no"}
	}
	c := w.task("coder", "p-mia")
	r := push(c, branch(c, "x"), "tip", "a")
	codes := map[remit.Code]int{}
	for i := range 49 {
		r.Refs = append(r.Refs, push(c, branch(c, fmt.Sprintf("%02d%s", i, strings.Repeat("y", 60))), "tip", "a").Refs...)
		codes[w.must(&authority.Authorize{Request: r}).Decision.Code]++
	}
	if codes[remit.PolicyDenied] == 0 || codes[remit.TooLargeToJudge] == 0 && codes[remit.PolicyDenied] != 49 {
		t.Fatalf("%v", codes)
	}
	w.replay()
}
