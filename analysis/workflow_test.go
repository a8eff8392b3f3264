package analysis

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func shop() remit.Declarations {
	return remit.Declarations{
		People:       []remit.Person{{Name: "ana"}, {Name: "cem"}},
		Upstreams:    []remit.Upstream{{Name: "forge"}, {Name: "oci"}},
		Repositories: []remit.Repository{{Name: "forge/shop"}},
		Environments: []remit.Environment{{Name: "shop/production"}},
		Secrets:      []remit.Secret{{Name: "vault/key", Zone: "P"}},
		Tools:        []remit.Tool{{Name: "web/fetch", Zone: "S"}, {Name: "local/**"}},
		Agents: []remit.Agent{
			{Name: "coder", Function: remit.FuncCode, Owner: "ana", Entitlements: []remit.Scope{
				{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:forge/**"}, Refs: []remit.Pattern{"refs/heads/rel/**"}}}},
			{Name: "helper", Function: remit.FuncCode, Owner: "ana"},
			{Name: "pilot", Function: remit.FuncDeploy, Owner: "cem"}},
	}
}

func TestDraftWorkflow(t *testing.T) {
	push := remit.WorkflowStep{Name: "fix", Agent: "coder", Action: "source.push", Resource: "repo:forge/shop", Refs: []remit.Pattern{"refs/heads/rel/1"}}
	publish := remit.WorkflowStep{Name: "build", Function: remit.FuncBuild, Action: "artifact.publish", Resource: "artifact:oci/shop", Inputs: []string{"fix"}}
	for _, c := range []struct {
		name    string
		owner   string
		steps   []remit.WorkflowStep
		agent   string   // that plays the last step
		missing []string // in parts, in order
		patch   []string // agents
		escape  string   // what the last step escalates
	}{
		{name: "what an agent may do needs nothing", steps: []remit.WorkflowStep{push}, agent: "coder"},
		{name: "whoever may plays it", steps: []remit.WorkflowStep{{Name: "fix", Function: remit.FuncCode, Action: "source.push", Resource: "repo:forge/shop", Refs: []remit.Pattern{"refs/heads/rel/1"}}}, agent: "coder"},
		{name: "a ref beyond the entitlement is missing", steps: []remit.WorkflowStep{{Name: "fix", Agent: "coder", Action: "source.push", Resource: "repo:forge/shop", Refs: []remit.Pattern{"refs/heads/main"}}},
			agent: "coder", missing: []string{"agent coder is not entitled to source.push on repo:forge/shop, refs refs/heads/main"}, patch: []string{"coder"}},
		{name: "of two that may not, a person chooses", steps: []remit.WorkflowStep{{Name: "merge", Function: remit.FuncCode, Action: "source.merge", Resource: "repo:forge/shop"}},
			missing: []string{"none of coder, helper, which are for code, is entitled"}, escape: "impact privileged"},
		{name: "an agent that is not there is drafted, with the request for it", owner: "cem", steps: []remit.WorkflowStep{push, publish}, agent: "build",
			missing: []string{"no agent build is declared", "agent build is not entitled to artifact.publish", "agent coder may not request work of an agent for build"},
			patch:   []string{"build", "coder"}, escape: "impact privileged, zone S to B"},
		{name: "without somebody who would own it nothing is", steps: []remit.WorkflowStep{push, publish}, missing: []string{"no agent for build plays it; write owner:"}, escape: "impact privileged, zone S to B"},
		{name: "a step of another function has an agent of its own", steps: []remit.WorkflowStep{{Name: "go", Agent: "coder", Action: "deploy.promote", Resource: "environment:shop/production"}},
			missing: []string{"agent coder is for code, and deploy.promote in zone P is not that"}, escape: "impact privileged"},
		{name: "a function never changes", steps: []remit.WorkflowStep{{Name: "go", Agent: "coder", Function: remit.FuncDeploy, Action: "deploy.promote", Resource: "environment:shop/production"}},
			missing: []string{"agent coder is for code, not for deploy"}, escape: "impact privileged"},
		{name: "what is not declared is said", steps: []remit.WorkflowStep{{Name: "go", Agent: "pilot", Action: "deploy.promote", Resource: "environment:shop/nowhere"}},
			agent: "pilot", missing: []string{"environment:shop/nowhere is not declared", "agent pilot is not entitled"}, patch: []string{"pilot"}, escape: "impact privileged"},
		{name: "an artifact lies at an upstream", owner: "cem", steps: []remit.WorkflowStep{{Name: "b", Function: remit.FuncBuild, Action: "artifact.publish", Resource: "artifact:else/shop"}},
			agent: "build", missing: []string{"artifact:else/shop lies at upstream else, which is not declared", "no agent build", "agent build is not entitled"}, patch: []string{"build"}, escape: "impact privileged"},
		{name: "a secret is in the zone that is declared", steps: []remit.WorkflowStep{{Name: "s", Agent: "coder", Action: "secret.read", Resource: "secret:vault/key"}},
			missing: []string{"agent coder is for code, and secret.read in zone P is not that"}, escape: "impact privileged"},
		{name: "a tool that nobody declared counts as one of production", steps: []remit.WorkflowStep{{Name: "s", Agent: "coder", Action: "tool.write", Resource: "tool:web/send"}},
			missing: []string{"tool:web/send is not declared", "in zone P is not that"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, err := DraftWorkflow(shop(), remit.Workflow{Name: "w", Owner: c.owner, Steps: c.steps})
			if err != nil {
				t.Fatal(err)
			}
			last := d.Steps[len(d.Steps)-1]
			if last.Agent != c.agent || strings.Join(last.Escalates, ", ") != c.escape {
				t.Errorf("%q plays it, it escalates %q; want %q, %q", last.Agent, last.Escalates, c.agent, c.escape)
			}
			if len(d.Missing) != len(c.missing) {
				t.Fatalf("missing %+v; want %q", d.Missing, c.missing)
			}
			for i, part := range c.missing {
				if !strings.Contains(d.Missing[i].Text, part) {
					t.Errorf("missing %q; want %q", d.Missing[i].Text, part)
				}
			}
			var patch []string
			for _, a := range d.Patch {
				patch = append(patch, a.Name)
			}
			if !slices.Equal(patch, c.patch) {
				t.Errorf("the patch is of %v; want %v", patch, c.patch)
			}
		})
	}
	var at *remit.DeclarationError
	if _, err := DraftWorkflow(shop(), remit.Workflow{Name: "w", Owner: "nobody", Steps: []remit.WorkflowStep{push}}); !errors.As(err, &at) || at.Path != "owner" {
		t.Errorf("%v", err)
	}
	if _, err := DraftWorkflow(shop(), remit.Workflow{Name: "w"}); !errors.As(err, &at) || at.Path != "steps" {
		t.Errorf("%v", err)
	}
}

// A patch is enough, and is no more than it says: drafted again on top of it nothing is left that it could mend, what was
// there stays as it was, and nobody loses anything.
func TestAPatchMendsAllThatItSays(t *testing.T) {
	steps := []remit.WorkflowStep{
		{Action: "source.push", Resource: "repo:forge/shop"}, {Action: "source.merge", Resource: "repo:forge/shop", Refs: []remit.Pattern{"refs/heads/main"}},
		{Action: "artifact.publish", Resource: "artifact:oci/shop"}, {Action: "deploy.promote", Resource: "environment:shop/production"},
		{Action: "review.submit", Resource: "repo:forge/shop"}, {Action: "source.read", Resource: "repo:forge/shop"}, {Action: "tool.read", Resource: "tool:web/fetch"},
		{Action: "secret.use", Resource: "secret:vault/key"}, {Action: "deploy.promote", Resource: "environment:shop/nowhere"}}
	functions := []remit.Function{"", remit.FuncCode, remit.FuncReview, remit.FuncBuild, remit.FuncDeploy}
	patched := 0
	for seed := range uint64(400) {
		rng := rand.New(rand.NewPCG(seed, 11))
		w := remit.Workflow{Name: "w", Owner: []string{"", "ana", "cem"}[rng.IntN(3)]}
		for i := range 1 + rng.IntN(5) {
			s := steps[rng.IntN(len(steps))]
			s.Name, s.Function = fmt.Sprintf("s%d", i), functions[rng.IntN(len(functions))]
			if s.Function == "" || rng.IntN(4) == 0 {
				s.Agent = []string{"coder", "helper", "pilot", "new"}[rng.IntN(4)]
			}
			for j := range i {
				if rng.IntN(3) == 0 {
					s.Inputs = append(s.Inputs, fmt.Sprintf("s%d", j))
				}
			}
			w.Steps = append(w.Steps, s)
		}
		before := shop()
		d, err := DraftWorkflow(before, w)
		if err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		if !reflect.DeepEqual(before, shop()) {
			t.Fatalf("seed %d: the declarations that were given changed", seed)
		}
		mends := slices.ContainsFunc(d.Missing, func(l remit.WorkflowLack) bool { return l.Patched })
		if mends != (len(d.Patch) > 0) {
			t.Fatalf("seed %d: missing %+v, patch %+v", seed, d.Missing, d.Patch)
		}
		for _, was := range before.Agents {
			i := slices.IndexFunc(d.Declarations.Agents, func(a remit.Agent) bool { return a.Name == was.Name })
			if i < 0 {
				t.Fatalf("seed %d: agent %s is gone", seed, was.Name)
			}
			is := d.Declarations.Agents[i]
			kept := len(is.Entitlements) >= len(was.Entitlements) && reflect.DeepEqual(is.Entitlements[:len(was.Entitlements)], was.Entitlements) || len(was.Entitlements) == 0
			if is.Function != was.Function || is.Owner != was.Owner || !kept {
				t.Fatalf("seed %d: %+v became %+v", seed, was, is)
			}
			if in := slices.ContainsFunc(d.Patch, func(a remit.Agent) bool { return a.Name == was.Name }); !in && !reflect.DeepEqual(is, was) {
				t.Fatalf("seed %d: agent %s changed outside the patch", seed, was.Name)
			}
		}
		again, err := DraftWorkflow(d.Declarations, w)
		if err != nil || len(again.Patch) > 0 {
			t.Fatalf("seed %d: a second patch, %+v: %v", seed, again.Patch, err)
		}
		for i, s := range d.Steps {
			if s.Agent != "" && again.Steps[i].Agent == "" {
				t.Fatalf("seed %d: nobody plays %s any more", seed, s.Name)
			}
		}
		patched += len(d.Patch)
	}
	if patched < 100 {
		t.Fatalf("only %d agents were patched", patched)
	}
}

// What a step meets is what the authority answers its player, and a step that is denied has the rule that denies it.
func TestWhatAStepMeets(t *testing.T) {
	frozen := func(f authority.Facts) authority.Finding {
		if f.Steps[0].Action == "source.push" {
			return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"frozen"}, Sentence: "Nothing is pushed until Monday."}
		}
		return allow(f)
	}
	fix := remit.WorkflowStep{Name: "fix", Agent: "coder", Action: "source.push", Resource: "repo:forge/acme/payments"}
	pack := remit.WorkflowStep{Name: "build", Agent: "builder", Action: "artifact.publish", Resource: "artifact:oci/payments", Inputs: []string{"fix"}}
	w := remit.Workflow{Name: "w", Steps: []remit.WorkflowStep{fix, pack}}
	played := func(s remit.WorkflowStep) remit.WorkflowPlayed {
		return remit.WorkflowPlayed{Name: s.Name, Action: s.Action, Resource: s.Resource, Inputs: s.Inputs}
	}
	s := made(t, remit.Team, company())
	free, denied := build(t, s, allow), build(t, s, frozen)
	if e := free.Meets(w, "coder", played(fix)); len(e) == 0 {
		t.Error("a push meets nothing")
	}
	if _, ok := free.Refused(w, "coder", played(fix)); ok {
		t.Error("a push that is let through is not denied")
	}
	if e := denied.Meets(w, "coder", played(fix)); len(e) != 0 {
		t.Errorf("a push that is denied meets %+v", e)
	}
	if d, ok := denied.Refused(w, "coder", played(fix)); !ok || !slices.Equal(d.Rules, []string{"frozen"}) || d.Text != "Nothing is pushed until Monday." {
		t.Errorf("%+v %v", d, ok)
	}
	if d, ok := denied.Refused(w, "critic", played(fix)); ok {
		t.Errorf("nobody asked for what no entitlement names: %+v", d)
	}
	// On a task that rests on the commit, its builder publishes without a vote; by itself, it waits.
	if e := free.Meets(w, "builder", played(pack)); len(e) == 0 || e[0].Verdict != remit.Allow || e[0].From != "agent:builder@forge/acme/payments" {
		t.Errorf("%+v", e)
	}
	pack.Inputs = nil
	if e := free.Meets(w, "builder", played(pack)); len(e) == 0 || e[0].Verdict != remit.Hold {
		t.Errorf("%+v", e)
	}
	if e := free.Asks(w, "coder", "builder", played(pack)); len(e) == 0 || e[0].How != HowRequests {
		t.Errorf("%+v", e)
	}
	alone := build(t, s, func(f authority.Facts) authority.Finding {
		if f.Steps[0].Action == "task.request" {
			return authority.Finding{Verdict: remit.Deny, Rules: []string{"alone"}, Sentence: "Nobody asks."}
		}
		return allow(f)
	})
	if d, ok := alone.RefusedToAsk(w, "coder", "builder", played(pack)); !ok || !slices.Equal(d.Rules, []string{"alone"}) || len(alone.Asks(w, "coder", "builder", played(pack))) > 0 {
		t.Errorf("%+v %v", d, ok)
	}
}
