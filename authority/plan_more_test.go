package authority_test

import (
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// rules are those of the last decision.
func (w *world) rules() []string {
	w.t.Helper()
	for i := len(w.log) - 1; i >= 0; i-- {
		if e, ok := w.log[i].event.(*remit.Decided); ok {
			return e.Rules
		}
	}
	return nil
}

// says expects that a rule is, or is not, among those of a decision on a plan.
func (w *world) says(rule string, want bool) {
	w.t.Helper()
	if got := slices.Contains(w.rules(), rule); got != want {
		w.t.Fatalf("rules %v; rule %s is among them: %v", w.rules(), rule, want)
	}
}

func TestPlansMore(t *testing.T) {
	mia := remit.ID("p-mia")
	topic := func() remit.PlanStep {
		return remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(payments), Refs: []remit.Pattern{"refs/heads/topic"}}
	}
	each(t, remit.Team, []row{
		{"the zone of what was used stays", func(t *testing.T, w *world) {
			w.apply(deploysNow)
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(payments, "1")), "rio", "sam", "tom")
			w.redeem(w.passes(mergeOf(c, payments, "1", "a"), plan, 0))
			w.apply(func(s *authority.Set) {
				s.Groups[0].Members, s.Environments[0].Approvers = []remit.ID{"p-ada", "p-bob", "p-tom"}, []remit.Need{{Group: remit.Administrators, N: 1}}
			})
			id := w.hold(filing(c, planMerge(docs, "2")), remit.ImpactHeld)
			if z := w.s.Accesses[id].Zone; z != remit.ZoneProduction {
				t.Errorf("zone %s", z)
			}
		}},
		{"what is declared, of what the grant covers", func(t *testing.T, w *world) {
			w.deny(filing(w.task("merger", mia), remit.PlanStep{Action: "source.merge", Resource: "repo:forge/acme/unknown", Refs: []remit.Pattern{"refs/heads/main"}}), remit.UnknownResource, "unknown")
		}},
		{"the zone of a step", func(t *testing.T, w *world) {
			c := w.task("pilot", mia)
			id := w.hold(filing(c, remit.PlanStep{Action: "deploy.promote", Resource: remit.Pattern(staging), Args: remit.Hash([]byte("x"))}), remit.ImpactHeld)
			if z := w.s.Accesses[id].Zone; z != remit.ZoneProduction {
				t.Errorf("zone %q", z)
			}
		}},
		{"a commit may hold whatever is protected, and run with secrets", func(t *testing.T, w *world) {
			c := w.task("coder", mia)
			own := []remit.Pattern{remit.Pattern(branch(c, "x"))}
			w.hold(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(docs), Refs: own, New: oid("1")}), remit.PathProtected)
			w.hold(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(payments), Refs: own, New: oid("1")}), remit.PathProtected)
			w.says("R4", true)
			w.apply(func(s *authority.Set) { s.Repositories[0].Effects = s.Repositories[0].Effects[2:] })
			w.hold(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(payments), Refs: own, New: oid("1")}), remit.PathProtected)
			w.says("R4", false)
		}},
		{"named paths are asked for", func(t *testing.T, w *world) {
			c := w.task("coder", mia)
			w.hold(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(docs), Paths: []remit.Pattern{"src/**", ".github/**"}}), remit.PathProtected)
			w.allow(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(docs), Paths: []remit.Pattern{"src/**"}}))
		}},
		{"the envelope of the task, in all that it says", func(t *testing.T, w *world) {
			c := w.task("coder", mia, func(c *authority.CreateTask) {
				c.Envelope = remit.Envelope{Refs: []remit.Pattern{"refs/heads/remit/{task}/x/**"}, MaxBytes: 100, MaxCommits: 3}
			})
			in := remit.PlanStep{Action: "source.push", Resource: remit.Pattern(docs), Refs: []remit.Pattern{remit.Pattern(branch(c, "x/y"))}, MaxBytes: 100, MaxCommits: 3}
			w.allow(filing(c, in))
			for _, beyond := range []func(*remit.PlanStep){
				func(p *remit.PlanStep) { p.Refs = []remit.Pattern{remit.Pattern(branch(c, "z"))} }, func(p *remit.PlanStep) { p.MaxBytes = 101 },
				func(p *remit.PlanStep) { p.MaxBytes = 0 }, func(p *remit.PlanStep) { p.MaxCommits = 4 },
			} {
				out := in
				beyond(&out)
				w.hold(filing(c, out), remit.OutOfEnvelope)
			}
		}},
		{"an effect of another ref is none", func(t *testing.T, w *world) {
			w.apply(deploysNow)
			w.hold(filing(w.task("merger", mia), topic()), remit.ImpactHeld, remit.Need{Group: "reviewers", N: 1})
		}},
		{"a plan that asked nobody is not compared with", func(t *testing.T, w *world) {
			c := w.task("coder", mia)
			w.must(&authority.Record{Attempt: w.redeem(w.allow(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(docs)})).Permit.ID).Attempt.ID, Outcome: remit.Done})
			w.policy = func(authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Hold, Rules: []string{"x"}, Votes: []remit.Need{{Group: "reviewers", N: 1}}}
			}
			r := push(c, branch(c, "x"), "1", "src/a")
			r.Steps[0].Resource = docs
			w.hold(r, remit.PolicyHeld)
			w.says("plan", false)
		}},
		{"a plan is not compared with a plan", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.adopt(filing(c, planMerge(docs, "1")), "bob")
			w.hold(filing(c, planMerge(docs, "2")), remit.ImpactHeld)
			w.says("plan", false)
		}},
		{"each ref of a push is a use", func(t *testing.T, w *world) {
			c := w.task("coder", mia)
			plan := w.adopt(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(payments), Paths: []remit.Pattern{workflow}, Uses: 3}), "tom")
			r := push(c, branch(c, "x"), "1", workflow)
			r.Refs = append(r.Refs, push(c, branch(c, "y"), "1", workflow).Refs...)
			w.redeem(w.passes(r, plan, 0, 0))
			w.deviates(r, remit.PathProtected, plan, "used 3 times")
			r.Refs = r.Refs[:1]
			w.passes(r, plan, 0)
		}},
		{"one ref outside is the whole push outside", func(t *testing.T, w *world) {
			c := w.task("coder", mia)
			plan := w.adopt(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(payments), Refs: []remit.Pattern{remit.Pattern(branch(c, "x"))}, Paths: []remit.Pattern{workflow}, Uses: 3}), "tom")
			r := push(c, branch(c, "y"), "1", workflow)
			r.Refs = append(r.Refs, push(c, branch(c, "x"), "1", workflow).Refs...)
			w.deviates(r, remit.PathProtected, plan, "it moves "+branch(c, "y"))
		}},
		{"another action deviates", func(t *testing.T, w *world) {
			w.policy = func(authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Hold, Rules: []string{"x"}, Votes: []remit.Need{{Group: "reviewers", N: 1}}}
			}
			c := w.task("coder", mia)
			plan := w.adopt(filing(c, remit.PlanStep{Action: "probe.privileged", Resource: "probe:canary"}), "tom", "bob")
			w.deviates(step(c, "probe.write", "probe:canary"), remit.PolicyHeld, plan, "it is probe.write, not probe.privileged")
			w.passes(step(c, "probe.privileged", "probe:canary"), plan, 0)
		}},
		{"a plan that could not be put in force is not", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r := filing(c, planMerge(docs, "1"))
			id := w.hold(r, remit.ImpactHeld)
			w.vote(id, "bob", touch("bob"), true)
			w.must(&authority.Record{Attempt: w.redeem(w.allow(w.claim(id, r)).Permit.ID).Attempt.ID, Outcome: remit.NotApplied, Code: remit.UpstreamDown})
			if w.s.Tasks[c.Task].Plan != nil {
				t.Error("it is in force")
			}
			w.enforce(id, r)
			if f := w.s.Tasks[c.Task].Plan; f == nil || f.Until != w.s.Tasks[c.Task].Deadline {
				t.Errorf("%+v ends with its task", f)
			}
		}},
		{"a tool that is not the one that was admitted waits", func(t *testing.T, w *world) {
			w.apply(withTools)
			w.later(time.Minute)
			c := w.task("handy", mia)
			r := use(c, "tool.call", "github/force", `{"a":1}`)
			r.Order = []byte("call")
			plan := w.adopt(filing(c, remit.PlanStep{Action: "tool.call", Resource: "tool:github/force", Args: r.Steps[0].Args}), "sam")
			w.passes(r, plan, 0)
			r.Tool.Pin = pin("another")
			w.deviates(r, remit.ToolDrift, plan, "rule pin did not ask")
			r = use(c, "tool.call", "github/force", `{"a":2}`)
			r.Order = []byte("call")
			w.deviates(r, remit.ImpactHeld, plan, "its arguments are others")
		}},
	})
	t.Run("what passes by evidence uses no plan", func(t *testing.T) {
		w := supplied(t)
		w.apply(func(s *authority.Set) {
			s.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, Evidence: remit.EvidenceVerdict}}
			s.Repositories[0].Effects = nil
		})
		c := w.task("merger", mia)
		w.adopt(filing(c, topic()), "tom")
		r := verdict(w.task("critic", "p-noa"), "refs/heads/topic", "1", remit.ReviewApprove, "src/a")
		w.carryOut(w.allow(r).Permit.ID, remit.Done, "")
		d := w.allow(merge(c, "refs/heads/topic", "1", "src/a"))
		if e := w.decision(d.Entry); len(e.Stood) != 1 || e.Plan.In != "" {
			t.Errorf("%+v %+v", e.Stood, e.Plan)
		}
		w.replay()
	})
}
