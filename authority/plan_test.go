package authority_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// filing is the request that files a plan.
func filing(c caller, steps ...remit.PlanStep) remit.Request {
	p := remit.Plan{Steps: steps}
	return filed(c, p)
}

func filed(c caller, p remit.Plan) remit.Request {
	return remit.Request{Gateway: "task", Caller: c, Steps: []remit.Step{{Action: remit.ActionPlan, Resource: remit.Resource("task:" + c.Agent), Args: p.Digest()}},
		Plan: &p, Order: []byte("plan")}
}

// mergeOf is a request to merge a commit into main of a repository.
func mergeOf(c caller, repo remit.Resource, tip string, names ...string) remit.Request {
	r := push(c, "refs/heads/main", tip, names...)
	r.Steps[0] = remit.Step{Action: "source.merge", Resource: repo}
	r.Refs[0].Op, r.Refs[0].Old = remit.RefUpdate, oid("0")
	return r
}

// planMerge is the step of a plan for that: exact.
func planMerge(repo remit.Resource, tip string) remit.PlanStep {
	return remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(repo), Refs: []remit.Pattern{"refs/heads/main"}, New: oid(tip), Old: oid("0")}
}

// planMerges is an envelope for merges into main of docs.
func planMerges(uses int, paths ...remit.Pattern) remit.PlanStep {
	return remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(docs), Refs: []remit.Pattern{"refs/heads/main"}, Paths: paths, Uses: uses}
}

// adopt files a plan, has people agree, and lets the executor put it in force.
func (w *world) adopt(r remit.Request, voters ...string) remit.ID {
	w.t.Helper()
	d := w.ask(r)
	if d.Verdict != remit.Hold || d.Access == "" {
		w.t.Fatalf("%s %s: %s; want a plan that waits", d.Verdict, d.Code, d.Sentence)
	}
	for _, v := range voters {
		w.vote(d.Access, v, touch(v), true)
	}
	w.enforce(d.Access, r)
	return d.Access
}

// enforce lets the executor put a plan in force that people agreed to.
func (w *world) enforce(access remit.ID, r remit.Request) {
	w.t.Helper()
	p := w.allow(w.claim(access, r)).Permit.ID
	w.must(&authority.Record{Attempt: w.redeem(p).Attempt.ID, Outcome: remit.Done})
}

// passes expects that a request passes by a plan, and gives its permit.
func (w *world) passes(r remit.Request, plan remit.ID, steps ...int) remit.ID {
	w.t.Helper()
	d := w.allow(r)
	e := w.decision(d.Entry)
	if e.Plan.In != plan || !slices.Equal(e.Plan.Used, steps) || len(e.Plan.Needs) == 0 {
		w.t.Fatalf("it passes by %+v; want %s %v", e.Plan, plan, steps)
	}
	return d.Permit.ID
}

func (w *world) decision(at remit.EntryIndex) *remit.Decided {
	w.t.Helper()
	e, ok := w.log[at].event.(*remit.Decided)
	if !ok {
		w.t.Fatalf("entry %d is %s", at, w.log[at].event.Kind())
	}
	return e
}

// deviates expects that a request is held, and that the plan is named with why it does not cover it.
func (w *world) deviates(r remit.Request, code remit.Code, plan remit.ID, words string) remit.ID {
	w.t.Helper()
	d := w.ask(r)
	if d.Verdict != remit.Hold || d.Code != code || !strings.Contains(d.Sentence, words) || !slices.Contains(d.Rules, "plan") {
		w.t.Fatalf("%s %s %v: %s; want a hold %s with %q", d.Verdict, d.Code, d.Rules, d.Sentence, code, words)
	}
	if e := w.decision(d.Entry); e.Plan.In != plan || e.Plan.Used != nil {
		w.t.Fatalf("it is compared with %+v; want %s", e.Plan, plan)
	}
	return d.Access
}

func TestPlans(t *testing.T) {
	mia := remit.ID("p-mia")
	each(t, remit.Team, []row{
		{"what a plan names passes, once", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1"), planMerge(docs, "2")), "bob")
			p := w.passes(mergeOf(c, docs, "2", "a"), plan, 1)
			w.must(&authority.Record{Attempt: w.redeem(p).Attempt.ID, Outcome: remit.Done})
			w.deviates(mergeOf(c, docs, "2", "a"), remit.ImpactHeld, plan, "steps[1] is nearest: that was used 1 times, which is all")
		}},
		{"the access request of a plan does not stay open", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			w.status(plan, remit.AccessUsed, "")
			if len(w.s.HoldsOf(c.Task)) != 0 {
				t.Error("the task waits")
			}
		}},
		{"nobody is asked about what nobody would be asked about, and it lets nothing pass", func(t *testing.T, w *world) {
			c := w.task("coder", mia)
			d := w.allow(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(docs), Paths: []remit.Pattern{"src/**"}}))
			w.must(&authority.Record{Attempt: w.redeem(d.Permit.ID).Attempt.ID, Outcome: remit.Done})
			w.hold(push(c, branch(c, "x"), "1", workflow), remit.PathProtected)
		}},
		{"a plan that is denied, vetoed or waiting lets nothing pass", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r := filing(c, planMerge(docs, "1"))
			id := w.hold(r, remit.ImpactHeld)
			w.hold(mergeOf(c, docs, "1", "a"), remit.ImpactHeld)
			w.vote(id, "bob", touch("bob"), false)
			w.hold(mergeOf(c, docs, "1", "a"), remit.ImpactHeld)
		}},
		{"another commit deviates", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			w.deviates(mergeOf(c, docs, "2", "a"), remit.ImpactHeld, plan, "it brings commit "+oid("2")[:12])
		}},
		{"a branch that has moved on deviates", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			r := mergeOf(c, docs, "1", "a")
			r.Refs[0].Old = oid("9")
			w.deviates(r, remit.ImpactHeld, plan, "is at "+oid("9")[:12]+" by now")
		}},
		{"another repository, ref or action deviates", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			r := mergeOf(c, docs, "1", "a")
			r.Refs[0].Ref = "refs/heads/release"
			w.deviates(r, remit.ImpactHeld, plan, "it moves refs/heads/release, not refs/heads/main")
			w.deviates(mergeOf(c, payments, "1", "a"), remit.ImpactHeld, plan, "not on "+string(docs))
		}},
		{"an envelope has its uses, paths and limits", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			st := planMerges(2, "src/**")
			st.MaxPaths, st.MaxBytes, st.MaxCommits = 2, 1000, 3
			plan := w.adopt(filing(c, st), "bob")
			w.passes(mergeOf(c, docs, "1", "src/a", "src/b"), plan, 0)
			w.deviates(mergeOf(c, docs, "1", "src/a", "doc/x"), remit.ImpactHeld, plan, "it changes doc/x, outside of src/**")
			w.deviates(mergeOf(c, docs, "1", "src/a", "src/b", "src/c"), remit.ImpactHeld, plan, "3 paths; at most 2")
			r := mergeOf(c, docs, "1", "src/a")
			r.Bytes = 1001
			w.deviates(r, remit.ImpactHeld, plan, "1001 bytes")
			r.Bytes, r.Refs[0].Commits = 1000, 4
			w.deviates(r, remit.ImpactHeld, plan, "4 commits")
			r.Refs[0].Commits, r.Refs[0].Op = 3, remit.RefForce
			w.deviates(r, remit.ImpactHeld, plan, "it is a force of refs/heads/main")
			r.Refs[0].Op = remit.RefUpdate
			for range 2 {
				w.redeem(w.passes(r, plan, 0))
			}
			w.deviates(r, remit.ImpactHeld, plan, "used 2 times")
		}},
		{"what is exact is used before an envelope", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerges(1), planMerge(docs, "1")), "bob")
			w.redeem(w.passes(mergeOf(c, docs, "1", "a"), plan, 1))
			w.redeem(w.passes(mergeOf(c, docs, "1", "a"), plan, 0))
		}},
		{"a use is reserved at the redemption, for whoever comes first", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			a, b := w.passes(mergeOf(c, docs, "1", "a"), plan, 0), w.passes(mergeOf(c, docs, "1", "a"), plan, 0)
			w.redeem(b)
			w.refuse(&authority.Redeem{Permit: a, Proof: remit.Hash(secret[:]), Hash: proof}, remit.AlreadyUsed, "was done")
		}},
		{"a use comes back where nothing changed, and only there", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			x := w.redeem(w.passes(mergeOf(c, docs, "1", "a"), plan, 0)).Attempt.ID
			w.must(&authority.Record{Attempt: x, Outcome: remit.NotApplied, Code: remit.UpstreamDown})
			x = w.redeem(w.passes(mergeOf(c, docs, "1", "a"), plan, 0)).Attempt.ID
			w.must(&authority.Record{Attempt: x, Outcome: remit.Ambiguous})
			w.deviates(mergeOf(c, docs, "1", "a"), remit.ImpactHeld, plan, "used")
		}},
		{"a plan ends with its time", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			p := remit.Plan{Steps: []remit.PlanStep{planMerge(docs, "1")}, For: int64(time.Hour)}
			plan := w.adopt(filed(c, p), "bob")
			w.later(time.Hour - 30*time.Second)
			permit := w.passes(mergeOf(c, docs, "1", "a"), plan, 0)
			w.later(30 * time.Second)
			w.refuse(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof}, remit.Expired, "")
			w.hold(mergeOf(c, docs, "1", "a"), remit.ImpactHeld)
		}},
		{"a plan is of one task", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.adopt(filing(c, planMerge(docs, "1")), "bob")
			other := w.task("merger", mia)
			w.hold(mergeOf(other, docs, "1", "a"), remit.ImpactHeld)
		}},
		{"whoever agreed has to be one who may, at the use and at the redemption", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			p := w.passes(mergeOf(c, docs, "1", "a"), plan, 0)
			w.apply(func(s *authority.Set) {
				s.Groups[0].Members = []remit.ID{"p-ada", "p-tom"}
			})
			w.refuse(&authority.Redeem{Permit: p, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotEligible, "no longer stand")
			w.deviates(mergeOf(c, docs, "1", "a"), remit.ImpactHeld, plan, "needs 1 of administrators, whom the votes on that are not of any more")
		}},
		{"whoever pushed what is merged did not agree to it", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) { s.Groups[0].Members = []remit.ID{"p-ada", "p-bob", "p-tom"} })
			w.later(time.Minute)
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			r := mergeOf(c, docs, "1", "a")
			r.Refs[0].Signers = []remit.ID{"p-bob"}
			w.deviates(r, remit.ImpactHeld, plan, "whom the votes on that")
		}},
		{"a policy that denies now, denies", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.adopt(filing(c, planMerge(docs, "1")), "bob")
			w.policy = func(authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Deny, Code: remit.PolicyDenied, Rules: []string{"freeze"}}
			}
			w.deny(mergeOf(c, docs, "1", "a"), remit.PolicyDenied, "")
		}},
		{"another policy between decision and redemption", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			p := w.passes(mergeOf(c, docs, "1", "a"), plan, 0)
			w.apply(func(s *authority.Set) { s.Policy = remit.Hash([]byte("another")) })
			w.refuse(&authority.Redeem{Permit: p, Proof: remit.Hash(secret[:]), Hash: proof}, remit.Stale, "another policy")
		}},
		{"a rule that did not ask for the votes on the plan asks for them", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerges(5)), "bob")
			w.policy = func(f authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Hold, Rules: []string{"dependencies"}, Votes: []remit.Need{{Group: remit.Administrators, N: 1}}}
			}
			w.deviates(mergeOf(c, docs, "1", "a"), remit.ImpactHeld, plan, "rule dependencies did not ask")
			w.policy = nil
			w.passes(mergeOf(c, docs, "1", "a"), plan, 0)
		}},
		{"a rule that did ask is covered, as long as it asks for no more", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			n := 1
			w.policy = func(f authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Hold, Rules: []string{"merges"}, Votes: []remit.Need{{Group: "release", N: n}}}
			}
			plan := w.adopt(filing(c, planMerges(5)), "bob", "sam")
			w.passes(mergeOf(c, docs, "1", "a"), plan, 0)
			n = 2
			w.deviates(mergeOf(c, docs, "1", "a"), remit.ImpactHeld, plan, "2 of release")
		}},
		{"a rule of a policy with a compiled rule's name is never covered", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.policy = func(f authority.Facts) authority.Finding {
				return authority.Finding{Verdict: remit.Hold, Rules: []string{"protected"}, Votes: []remit.Need{{Group: remit.Administrators, N: 1}}}
			}
			plan := w.adopt(filing(c, planMerges(5)), "bob")
			w.deviates(mergeOf(c, docs, "1", "a"), remit.ImpactHeld, plan, "rule protected did not ask")
		}},
		{"what is protected is inside only where it is named", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filing(c, planMerges(5, "src/**", ".github/workflows/ci.yml", "lib/AGENTS.md")), "bob")
			w.passes(mergeOf(c, docs, "1", "src/a", ".github/workflows/ci.yml", "lib/AGENTS.md"), plan, 0)
			w.deviates(mergeOf(c, docs, "1", "src/AGENTS.md"), remit.PathProtected, plan, "src/AGENTS.md, which is protected")
		}},
		{"the newest plan takes the place of the one before", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			first := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			p := w.passes(mergeOf(c, docs, "1", "a"), first, 0)
			second := w.adopt(filing(c, planMerge(docs, "2")), "bob")
			w.refuse(&authority.Redeem{Permit: p, Proof: remit.Hash(secret[:]), Hash: proof}, remit.AlreadyUsed, "no longer in force")
			w.deviates(mergeOf(c, docs, "1", "a"), remit.ImpactHeld, second, "it brings commit")
			w.passes(mergeOf(c, docs, "2", "a"), second, 0)
		}},
		{"of two plans that wait, the second supersedes the first", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			first := w.hold(filing(c, planMerge(docs, "1")), remit.ImpactHeld)
			w.hold(filing(c, planMerge(docs, "1"), planMerge(docs, "2")), remit.ImpactHeld)
			w.status(first, remit.AccessVoid, remit.Superseded)
		}},
		{"advice is not compared with a plan: it would be used without end", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.adopt(filing(c, planMerges(1)), "bob")
			r := mergeOf(c, docs, "1", "a")
			r.Advice = true
			if d := w.ask(r); d.Verdict != remit.Hold {
				t.Errorf("%s", d.Verdict)
			}
			r.Advice, r.Elsewhere = false, true
			if w.hold(r, remit.ImpactHeld); slices.Contains(w.rules(), "plan") {
				t.Error("what is carried out elsewhere is compared")
			}
		}},
	})
}
