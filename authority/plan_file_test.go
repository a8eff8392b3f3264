package authority_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestPlansAreJudged(t *testing.T) {
	mia := remit.ID("p-mia")
	admin, reviewer := remit.Need{Group: remit.Administrators, N: 1}, remit.Need{Group: "reviewers", N: 1}
	each(t, remit.Team, []row{
		{"by the worst of its steps, for all who would be asked", func(t *testing.T, w *world) {
			w.apply(deploysNow)
			c := w.task("merger", mia)
			w.hold(filing(c, planMerge(docs, "1")), remit.ImpactHeld, admin)
			id := w.hold(filing(c, planMerge(docs, "1"), planMerge(payments, "2")), remit.ImpactHeld, admin, remit.Need{Group: "release", N: 2}, reviewer)
			if a := w.s.Accesses[id]; a.Zone != remit.ZoneProduction {
				t.Errorf("zone %s; it reaches production", a.Zone)
			}
		}},
		{"as a whole when it grows by one step at a time", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.policy = func(f authority.Facts) authority.Finding {
				n := 0
				for _, st := range f.Steps {
					if st.Planned && st.Action == "source.merge" {
						n++
					}
				}
				if n > 2 {
					return authority.Finding{Verdict: remit.Hold, Rules: []string{"large"}, Votes: []remit.Need{{Group: "release", N: 1}}}
				}
				return authority.Finding{Verdict: remit.Allow}
			}
			for i := range 2 {
				tip := fmt.Sprint(i)
				plan := w.adopt(filing(c, planMerge(docs, tip)), "bob")
				w.redeem(w.passes(mergeOf(c, docs, tip, "a"), plan, 0))
			}
			w.hold(filing(c, planMerge(docs, "2")), remit.ImpactHeld, admin, remit.Need{Group: "release", N: 1})
			w.hold(filing(w.task("merger", mia), planMerge(docs, "2")), remit.ImpactHeld, admin)
		}},
		{"with those whom its used steps would ask", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Repositories[0].Effects = nil })
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(payments, "1")), "rio")
			w.redeem(w.passes(mergeOf(c, payments, "1", "a"), plan, 0))
			w.hold(filing(c, planMerge(docs, "2")), remit.ImpactHeld, admin, reviewer)
		}},
		{"what was planned and not used does not count", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Repositories[0].Effects = nil })
			c := w.task("merger", mia)
			w.adopt(filing(c, planMerge(payments, "1")), "rio")
			w.hold(filing(c, planMerge(docs, "2")), remit.ImpactHeld, admin)
		}},
		{"up to fifty steps, the used ones counted", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "x")), "bob")
			w.redeem(w.passes(mergeOf(c, docs, "x", "a"), plan, 0))
			var steps []remit.PlanStep
			for i := range 50 {
				steps = append(steps, remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(docs), Refs: []remit.Pattern{"refs/heads/main"}, MaxPaths: i + 1})
			}
			w.hold(filing(c, steps[:49]...), remit.ImpactHeld)
			w.deny(filing(c, steps...), remit.OverLimit, "would have 51")
			w.deny(filing(c, append(steps, steps[0])...), remit.BadRequest, "1 to 50 steps")
			w.deny(filing(c), remit.BadRequest, "1 to 50 steps")
		}},
		{"again by the policy in force when it comes into force", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r := filing(c, planMerge(docs, "1"))
			id := w.hold(r, remit.ImpactHeld)
			w.vote(id, "bob", touch("bob"), true)
			w.policy = func(authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"freeze"}}
			}
			w.deny(w.claim(id, r), remit.PolicyDenied, "")
			w.status(id, remit.AccessVoid, remit.PolicyDenied)
		}},
		{"another plan than was agreed to", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			id := w.hold(filing(c, planMerge(docs, "1")), remit.ImpactHeld)
			w.vote(id, "bob", touch("bob"), true)
			w.deny(w.claim(id, filing(c, planMerge(docs, "2"))), remit.Stale, "")
		}},
		{"production is named by digest", func(t *testing.T, w *world) {
			w.apply(deploysNow)
			c := w.task("merger", mia)
			st := planMerge(payments, "1")
			st.Old = ""
			w.deny(filing(c, st), remit.PlanInexact, "would cause deploy.promote on environment:payments/production")
			st.New = ""
			w.deny(filing(c, st), remit.PlanInexact, "")
			w.deny(filing(c, remit.PlanStep{Action: "source.merge", Resource: "repo:forge/acme/*", Refs: []remit.Pattern{"refs/heads/**"}}), remit.PlanInexact, "")
			plan := w.adopt(filing(c, planMerge(payments, "1")), "rio", "sam", "tom")
			r := mergeOf(c, payments, "1", "a")
			w.passes(r, plan, 0)
			r.Refs[0].Old = oid("9")
			w.deviates(r, remit.ImpactHeld, plan, "by now")
			pilot := w.task("pilot", mia)
			st = remit.PlanStep{Action: "deploy.promote", Resource: "environment:payments/staging"}
			w.deny(filing(pilot, st), remit.PlanInexact, "by its arguments")
			st.Resource = "environment:payments/*"
			w.deny(filing(pilot, st), remit.PlanInexact, "")
			st.Resource, st.Args = "environment:payments/staging", remit.Hash([]byte("x"))
			w.hold(filing(pilot, st), remit.ImpactHeld, remit.Need{Group: "release", N: 1})
		}},
		{"in production, a touch is asked for as ever", func(t *testing.T, w *world) {
			w.apply(deploysNow)
			c := w.task("merger", mia)
			id := w.hold(filing(c, planMerge(payments, "1")), remit.ImpactHeld)
			if _, err := w.do(w.ballot(id, "rio", soft("rio"), true)); err == nil {
				t.Error("a key in a file votes on production")
			}
		}},
		{"whoever changed what it is read against since does not agree to it", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.now = w.now.Add(time.Second)
			w.set = clone(w.set)
			w.set.Repositories[1].Protected = []remit.Pattern{"secret/**"}
			w.must(&authority.ApplySet{By: "p-bob", Set: w.set})
			w.deny(filing(c, planMerge(docs, "1")), remit.NoApprover, "p-bob caused or steered")
		}},
		{"a step that reaches production is compared by its digest", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Repositories[0].Effects = nil })
			w.later(time.Minute)
			c := w.task("merger", mia)
			st := remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(payments), Refs: []remit.Pattern{"refs/heads/main"}, Uses: 3}
			plan := w.adopt(filing(c, st), "rio")
			w.passes(mergeOf(c, payments, "1", "a"), plan, 0)
			w.apply(deploysNow) // by now a merge deploys
			w.deviates(mergeOf(c, payments, "1", "a"), remit.ImpactHeld, plan, "it reaches production, and the plan does not name it by digest")
		}},
		{"what runs with secrets is named by its commit", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Repositories[0].Effects = s.Repositories[0].Effects[1:2] })
			c := w.task("merger", mia)
			st := remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(payments), Refs: []remit.Pattern{"refs/heads/main"}}
			plan := w.adopt(filing(c, st), "rio")
			r := mergeOf(c, payments, "1", "a")
			w.passes(r, plan, 0)
			r.Refs[0].Pinned = paths(workflow)
			w.deviates(r, remit.ImpactHeld, plan, "runs with secrets")
			plan = w.adopt(filing(c, planMerge(payments, "1")), "rio")
			w.passes(r, plan, 0)
		}},
		{"outside of the grant", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			for _, st := range []remit.PlanStep{
				{Action: "deploy.promote", Resource: "environment:payments/staging"},
				{Action: "source.merge", Resource: "repo:forge/other/x", Refs: []remit.Pattern{"refs/heads/main"}},
				{Action: "source.merge", Resource: "repo:**", Refs: []remit.Pattern{"refs/heads/main"}},
				{Action: "source.merge", Resource: remit.Pattern(docs), Refs: []remit.Pattern{"refs/tags/**"}},
			} {
				if d := w.ask(filing(c, st)); d.Verdict != remit.Deny {
					t.Errorf("%v: %s %s", st, d.Verdict, d.Sentence)
				}
			}
			w.deny(filing(c, remit.PlanStep{Action: "source.merge", Resource: "repo:forge/other/x", Refs: []remit.Pattern{"refs/heads/main"}}), remit.OutOfScope, "holds nothing that the grant")
			narrow := w.task("merger", mia, func(c *authority.CreateTask) {
				c.Scope = []remit.Scope{{Actions: []remit.Action{"source.merge"}, Resources: []remit.Pattern{remit.Pattern(docs)}, Refs: []remit.Pattern{"refs/heads/main"}, Paths: []remit.Pattern{"src/**"}}}
			})
			w.deny(filing(narrow, planMerges(1, "doc/**")), remit.OutOfScope, "")
			w.hold(filing(narrow, planMerges(1, "src/x/**")), remit.ImpactHeld)
		}},
		{"what does not exist, what is asked of others, and for another agent", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.deny(filing(c, remit.PlanStep{Action: "source.burn", Resource: remit.Pattern(docs)}), remit.UnknownAction, "")
			w.deny(filing(c, remit.PlanStep{Action: "task.request", Resource: "task:coder"}), remit.OutOfScope, "decided when it is asked for")
			r := filing(c, planMerge(docs, "1"))
			r.Steps[0].Resource = "task:coder"
			w.deny(r, remit.OutOfScope, "task:merger")
		}},
		{"beyond the task's envelope", func(t *testing.T, w *world) {
			c := w.task("coder", mia, func(c *authority.CreateTask) { c.Envelope.Paths = []remit.Pattern{"src/**"} })
			push1 := remit.PlanStep{Action: "source.push", Resource: remit.Pattern(docs), Paths: []remit.Pattern{"src/**", "doc/**"}}
			plan := w.adopt(filing(c, push1), "ada")
			r := push(c, branch(c, "x"), "1", "doc/a")
			r.Steps[0].Resource = docs
			w.passes(r, plan, 0)
			r = push(c, branch(c, "x"), "1", "lib/a")
			r.Steps[0].Resource = docs
			w.deviates(r, remit.OutOfEnvelope, plan, "it changes lib/a, outside of src/** or doc/**")
		}},
		{"a waiting task ends when its plan is in force and nothing else waits", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r := filing(c, planMerge(docs, "1"))
			id := w.hold(r, remit.ImpactHeld)
			w.must(&authority.EndInstance{Instance: c.Instance})
			w.vote(id, "bob", touch("bob"), true)
			w.enforce(id, r)
			if w.s.LiveTasks[c.Task] {
				t.Error("it waits for nothing")
			}
		}},
		{"nothing of what is malformed stands in the log", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.deny(filing(c, remit.PlanStep{Action: "source.merge", Resource: "repo:forge/acme/x secret"}), remit.BadRequest, "steps[0]")
			if last := w.log[len(w.log)-1].bytes; bytes.Contains(last, []byte("secret")) {
				t.Error("it does")
			}
			r := filing(c, planMerge(docs, "1"))
			r.Steps[0].Args = remit.Hash([]byte("x"))
			w.deny(r, remit.BadRequest, "are not the plan")
			r = filing(c, planMerge(docs, "1"))
			r.Steps = append(r.Steps, remit.Step{Action: "probe.read", Resource: "probe:canary"})
			w.deny(r, remit.BadRequest, "alone")
			r = step(c, "probe.read", "probe:canary")
			r.Plan = &remit.Plan{Steps: []remit.PlanStep{planMerge(docs, "1")}}
			w.deny(r, remit.BadRequest, "alone")
			r = filing(c, planMerge(docs, "1"))
			r.Plan = nil
			w.deny(r, remit.BadRequest, "alone")
		}},
		{"a plan that no entry could hold", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			long := remit.Pattern("src/" + strings.Repeat("x", 500))
			var all []remit.Pattern
			for i := range 16 {
				all = append(all, long+remit.Pattern(fmt.Sprint(i)))
			}
			w.deny(filing(c, planMerges(1, all...)), remit.TooLargeToJudge, "in parts")
		}},
	})
}

// deploysNow makes every merge into main of payments deploy.
func deploysNow(s *authority.Set) {
	s.Repositories[0].Effects = []remit.Effect{{Refs: "refs/heads/main", Causes: "deploy.promote", On: production}}
}
