package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestPlansThatAreWithdrawn(t *testing.T) {
	const mia = remit.ID("p-mia")
	withdraw := func(by remit.ID, plan remit.ID) *authority.Kill {
		return &authority.Kill{By: by, What: "plan", ID: plan}
	}
	// decided lets reviewers, who administer nothing, decide on docs.
	decided := func(w *world) {
		w.t.Helper()
		w.apply(func(s *authority.Set) {
			for i := range s.Repositories {
				if "repo:"+s.Repositories[i].Name == string(docs) {
					s.Repositories[i].Approvers = []remit.Need{{Group: "reviewers", N: 1}}
				}
			}
		})
		w.later(time.Minute)
	}
	// inForce is a plan of three steps, one of which was used.
	inForce := func(w *world) (c caller, plan remit.ID) {
		w.t.Helper()
		if len(w.s.Tasks) == 0 {
			decided(w)
		}
		c = w.task("merger", mia)
		plan = w.adopt(filing(c, planMerge(docs, "1"), planMerge(docs, "2"), planMerge(docs, "3")), "tom")
		w.must(&authority.Record{Attempt: w.redeem(w.passes(mergeOf(c, docs, "1", "a"), plan, 0)).Attempt.ID, Outcome: remit.Done})
		return c, plan
	}
	each(t, remit.Team, []row{
		{"what is left is held as if there were none, and what was used still counts", func(t *testing.T, w *world) {
			c, plan := inForce(w)
			w.must(withdraw(mia, plan))
			if d := w.ask(mergeOf(c, docs, "2", "a")); d.Verdict != remit.Hold || w.decision(d.Entry).Plan.In != "" {
				t.Errorf("%s by %q", d.Verdict, w.decision(d.Entry).Plan.In)
			}
			if used := w.s.Tasks[c.Task].UsedSteps(); len(used) != 1 || used[0].New != oid("1") {
				t.Errorf("of the plan %+v is left", used)
			}
		}},
		{"by who agreed to it, the agent and an administrator", func(t *testing.T, w *world) {
			for _, k := range []func(c caller, plan remit.ID) *authority.Kill{
				func(_ caller, plan remit.ID) *authority.Kill { return withdraw("p-tom", plan) },
				func(_ caller, plan remit.ID) *authority.Kill { return withdraw("p-ada", plan) },
				func(c caller, plan remit.ID) *authority.Kill {
					return &authority.Kill{What: "plan", ID: plan, Instance: c.Instance}
				},
			} {
				c, plan := inForce(w)
				w.must(k(c, plan))
				w.hold(mergeOf(c, docs, "2", "a"), remit.ImpactHeld)
			}
		}},
		{"by nobody else", func(t *testing.T, w *world) {
			c, plan := inForce(w)
			other := w.task("merger", mia)
			w.refuse(withdraw("p-rio", plan), remit.Forbidden, "who agreed to it")
			w.refuse(withdraw("", plan), remit.NotFound, "running task of yours")
			w.refuse(&authority.Kill{What: "plan", ID: plan, Instance: other.Instance}, remit.NotFound, "running task of yours")
			w.refuse(&authority.Kill{By: mia, What: "plan", ID: plan, Instance: c.Instance}, remit.Forbidden, "")
			w.later(9 * time.Hour) // its task is over, which nobody has written down yet
			w.refuse(&authority.Kill{What: "plan", ID: plan, Instance: c.Instance}, remit.NotFound, "running task of yours")
			w.must(&authority.EndInstance{Instance: c.Instance})
			w.refuse(&authority.Kill{What: "plan", ID: plan, Instance: c.Instance}, remit.NotFound, "running task of yours")
		}},
		{"who refused it has not agreed to it, and who was killed agrees to nothing", func(t *testing.T, w *world) {
			decided(w)
			c := w.task("merger", mia)
			r := filing(c, planMerge(docs, "1"))
			id := w.hold(r, remit.ImpactHeld)
			w.vote(id, "tom", touch("tom"), false)
			w.refuse(withdraw("p-tom", id), remit.Forbidden, "")
			plan := w.adopt(r, "tom")
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-tom"})
			w.refuse(withdraw("p-tom", plan), remit.Forbidden, "")
		}},
		{"a permit that was decided by it is not redeemed", func(t *testing.T, w *world) {
			c, plan := inForce(w)
			p := w.passes(mergeOf(c, docs, "2", "a"), plan, 1)
			w.must(withdraw(mia, plan))
			w.refuse(&authority.Redeem{Permit: p, Proof: remit.Hash(secret[:]), Hash: proof}, remit.AlreadyUsed, "no longer in force")
		}},
		{"what is under way when it is withdrawn is recorded as that", func(t *testing.T, w *world) {
			c, plan := inForce(w)
			x := w.redeem(w.passes(mergeOf(c, docs, "2", "a"), plan, 1)).Attempt.ID
			b := w.task("coder", mia)
			other := w.redeem(w.allow(push(b, branch(b, "x"), "1", "src/a")).Permit.ID).Attempt.ID
			k := withdraw(mia, plan)
			if !w.s.PlanGone(w.s.Attempts[x], *k) || w.s.PlanGone(w.s.Attempts[other], *k) || w.s.PlanGone(w.s.Attempts[x], authority.Kill{What: "plan", ID: "A-0"}) {
				t.Error("what a withdrawal ends is not what passes by that plan")
			}
			w.must(k)
			if !w.s.PlanGone(w.s.Attempts[x], authority.Kill{}) {
				t.Error("the attempt goes on")
			}
			w.must(&authority.Record{Attempt: x, Outcome: remit.Done})
			if e, ok := w.log[len(w.log)-1].event.(*remit.Recorded); !ok || e.Outcome != remit.AfterRevocation {
				t.Errorf("%+v", w.log[len(w.log)-1].event)
			}
			w.must(&authority.Record{Attempt: other, Outcome: remit.Done})
			if e, ok := w.log[len(w.log)-1].event.(*remit.Recorded); !ok || e.Outcome != remit.Done {
				t.Errorf("%+v", w.log[len(w.log)-1].event)
			}
		}},
		{"one that waits, or that people have just agreed to, does not come into force", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r := filing(c, planMerge(docs, "1"))
			id := w.hold(r, remit.ImpactHeld)
			if got := w.s.PlanOf(c.Task, w.now.UnixNano()); got != id {
				t.Errorf("%q waits", got)
			}
			w.must(withdraw(mia, id))
			w.status(id, remit.AccessVoid, remit.Dropped)
			id = w.hold(r, remit.ImpactHeld)
			w.vote(id, "bob", touch("bob"), true)
			w.must(withdraw("p-bob", id))
			w.status(id, remit.AccessVoid, remit.Dropped)
			w.refuse(withdraw(mia, id), remit.Conflict, "in force or waits")
		}},
		{"nor one that the executor is just putting in force", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			r := filing(c, planMerge(docs, "1"))
			id := w.hold(r, remit.ImpactHeld)
			w.vote(id, "bob", touch("bob"), true)
			x := w.redeem(w.allow(w.claim(id, r)).Permit.ID).Attempt.ID
			w.must(withdraw(mia, id))
			w.must(&authority.Record{Attempt: x, Outcome: remit.Done})
			if w.s.Tasks[c.Task].Plan != nil {
				t.Error("it is in force")
			}
			w.hold(mergeOf(c, docs, "1", "a"), remit.ImpactHeld)
		}},
		{"only what is a plan, and in force", func(t *testing.T, w *world) {
			c, plan := inForce(w)
			w.refuse(withdraw(mia, "A-0"), remit.NotFound, "there is no access request A-0")
			w.refuse(withdraw(mia, w.hold(mergeOf(c, payments, "7", "a"), remit.ImpactHeld)), remit.Conflict, "in force or waits")
			next := w.adopt(filing(c, planMerge(docs, "4")), "tom")
			w.refuse(withdraw(mia, plan), remit.Conflict, "in force or waits")
			if got := w.s.PlanOf(c.Task, w.now.UnixNano()); got != next {
				t.Errorf("%q is in force; want %q", got, next)
			}
			w.must(withdraw(mia, next))
			before := len(w.log)
			w.must(withdraw(mia, next)) // once more is no fault, and no entry
			if len(w.log) != before || w.s.PlanOf(c.Task, w.now.UnixNano()) != "" {
				t.Error("it is withdrawn twice")
			}
		}},
		{"one whose time is over is over", func(t *testing.T, w *world) {
			c := w.task("merger", mia)
			plan := w.adopt(filed(c, remit.Plan{Steps: []remit.PlanStep{planMerge(docs, "1")}, For: int64(time.Minute)}), "bob")
			w.later(time.Minute)
			if got := w.s.PlanOf(c.Task, w.now.UnixNano()); got != "" {
				t.Errorf("%q is in force", got)
			}
			w.refuse(withdraw(mia, plan), remit.Conflict, "in force or waits")
		}},
	})
}
