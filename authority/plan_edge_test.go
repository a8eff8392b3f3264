package authority_test

import (
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// TestPlansThatSayNothing: a step that cannot be meant is told to whoever files it, before anybody is asked.
func TestPlansThatSayNothing(t *testing.T) {
	main := []remit.Pattern{"refs/heads/main"}
	many := slices.Repeat(main, 17)
	step := func(change func(*remit.PlanStep)) remit.PlanStep {
		p := planMerge(docs, "1")
		change(&p)
		return p
	}
	each(t, remit.Team, []row{{"each is named", func(t *testing.T, w *world) {
		c := w.task("merger", "p-mia")
		for name, x := range map[string]struct {
			step  remit.PlanStep
			words string
		}{
			"a pattern that is none":      {remit.PlanStep{Action: "source.merge", Resource: "repo:a/**/b"}, "steps[0]"},
			"all tools":                   {remit.PlanStep{Action: "tool.call", Resource: "tool:hub/*"}, "each tool in full"},
			"exact on many":               {step(func(p *remit.PlanStep) { p.Resource = "repo:forge/acme/*" }), "names one resource"},
			"a commit of a tool":          {remit.PlanStep{Action: "artifact.publish", Resource: "artifact:oci/acme/app", New: oid("1"), Refs: main}, "brings no commit"},
			"old without new":             {step(func(p *remit.PlanStep) { p.New = "" }), "old belongs to new"},
			"a branch":                    {step(func(p *remit.PlanStep) { p.New = "main" }), "40 or 64"},
			"the place of a branch":       {step(func(p *remit.PlanStep) { p.Old = "main" }), "40 or 64"},
			"a commit anywhere":           {step(func(p *remit.PlanStep) { p.Refs = nil }), "comes to one ref"},
			"a commit on all branches":    {step(func(p *remit.PlanStep) { p.Refs = []remit.Pattern{"refs/heads/*"} }), "comes to one ref"},
			"paths of a publication":      {remit.PlanStep{Action: "artifact.publish", Resource: "artifact:oci/acme/app", Paths: []remit.Pattern{"src/**"}}, "moves no ref"},
			"the same commit twice":       {step(func(p *remit.PlanStep) { p.Uses = 2 }), "done once"},
			"a hundred and one":           {planMerges(101), "1 to 100 times"},
			"fewer than none":             {planMerges(-1), "1 to 100 times"},
			"too many refs":               {remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(docs), Refs: many}, "at most 16"},
			"too many paths":              {planMerges(1, slices.Repeat([]remit.Pattern{"src/**"}, 17)...), "at most 16"},
			"less than no paths":          {step(func(p *remit.PlanStep) { p.MaxPaths = -1 }), "or more"},
			"less than no bytes":          {step(func(p *remit.PlanStep) { p.MaxBytes = -1 }), "or more"},
			"less than no commits":        {step(func(p *remit.PlanStep) { p.MaxCommits = -1 }), "or more"},
			"a path that stands anywhere": {planMerges(1, "**/x"), "it plans nothing"},
		} {
			t.Log(name)
			w.deny(filing(c, x.step), remit.BadRequest, x.words)
		}
		for _, long := range []int64{-1, int64(authority.TaskLongest) + 1} {
			w.deny(filed(c, remit.Plan{Steps: []remit.PlanStep{planMerge(docs, "1")}, For: long}), remit.BadRequest, "in force for at most")
		}
	}}})
}

// TestPlansByDigest: what is named by its effect or by its arguments is that, and nothing else.
func TestPlansByDigest(t *testing.T) {
	mia := remit.ID("p-mia")
	each(t, remit.Team, []row{
		{"by its effect", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r, other := mergeOf(c, docs, "1", "a"), mergeOf(c, docs, "1", "a")
			r.Refs[0].Op = remit.RefForce // which only an effect names
			other.Refs[0].Op, other.Refs[0].Ref = remit.RefForce, "refs/heads/topic"
			effect := w.decision(w.ask(r).Entry).Effect
			plan := w.adopt(filing(c, remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(docs), Effect: effect}), "bob")
			w.deviates(other, remit.ImpactHeld, plan, "its effect is another one")
			w.passes(r, plan, 0)
		}},
		{"which is enough for production; arguments of a merge are not", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.hold(filing(c, remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(payments), Refs: []remit.Pattern{"refs/heads/main"}, Effect: remit.Hash([]byte("x"))}), remit.ImpactHeld)
			w.deny(filing(c, remit.PlanStep{Action: "source.merge", Resource: remit.Pattern(payments), Refs: []remit.Pattern{"refs/heads/main"}, Args: remit.Hash([]byte("x"))}), remit.PlanInexact, "")
		}},
		{"a use comes back to its own plan, not to the next one", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			first := w.adopt(filing(c, planMerge(docs, "1")), "bob")
			x := w.redeem(w.passes(mergeOf(c, docs, "1", "a"), first, 0)).Attempt.ID
			w.adopt(filing(c, planMerge(docs, "2")), "bob")
			w.must(&authority.Record{Attempt: x, Outcome: remit.NotApplied})
			if f := w.s.Tasks[c.Task].Plan; f.Used[0] != 0 {
				t.Fatalf("used %v", f.Used)
			}
		}},
		{"a task that has ended has none", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r := filing(c, planMerge(docs, "1"))
			id := w.hold(r, remit.ImpactHeld)
			w.vote(id, "bob", touch("bob"), true)
			x := w.redeem(w.allow(w.claim(id, r)).Permit.ID).Attempt.ID
			w.must(&authority.Kill{By: "p-ada", What: "task", ID: c.Task})
			w.must(&authority.Record{Attempt: x, Outcome: remit.Done})
			if w.s.Tasks[c.Task].Plan != nil {
				t.Fatal("a plan in force")
			}
		}},
		{"a work order has an approval of its own, and uses nothing of it", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r := mergeOf(c, docs, "1", "a")
			id := w.hold(r, remit.ImpactHeld)
			w.vote(id, "bob", touch("bob"), true)
			w.adopt(filing(c, planMerge(docs, "1")), "bob")
			p := w.allow(w.claim(id, r))
			if e := w.decision(p.Entry); e.Plan.In != "" {
				t.Fatalf("it passes by %+v", e.Plan)
			}
			w.redeem(p.Permit.ID)
			if f := w.s.Tasks[c.Task].Plan; f.Used[0] != 0 {
				t.Fatalf("used %v", f.Used)
			}
		}},
		{"one's own branch may be forced", func(t *testing.T, w *world) {
			c := w.task("coder", mia, func(c *authority.CreateTask) { c.Envelope.Paths = []remit.Pattern{"src/**"} })
			plan := w.adopt(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(payments), Paths: []remit.Pattern{"doc/**"}}), "tom")
			r := push(c, branch(c, "x"), "1", "doc/x")
			r.Refs[0].Op, r.Refs[0].Old = remit.RefForce, oid("0")
			w.passes(r, plan, 0)
		}},
		{"advice is not compared with it", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			w.adopt(filing(c, planMerge(docs, "1")), "bob")
			r := mergeOf(c, docs, "1", "a")
			if f := authority.FactsOf(w.s, r, w.now.UnixNano()); !f.Plan.Inside {
				t.Fatalf("%+v", f.Plan)
			}
			r.Advice = true
			if f := authority.FactsOf(w.s, r, w.now.Add(time.Second).UnixNano()); f.Plan.Inside {
				t.Fatalf("%+v", f.Plan)
			}
		}},
	})
}
