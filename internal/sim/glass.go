package sim

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/sshsig"
)

// What happens where nobody is asked, or not again: break-glass and its review, verdicts in the place of people, plans
// that are withdrawn; and who has seen what waits.

// fire is break-glass of the release people, for merges and what they set off.
func fire() remit.BreakGlassDeclared {
	return remit.BreakGlassDeclared{Name: "fire", Who: []string{"release"}, Minutes: 30, Reviewers: "reviewers", ReviewHours: 24, Scope: []remit.Scope{
		{Actions: []remit.Action{"source.merge"}, Resources: []remit.Pattern{remit.Pattern(app), remit.Pattern(docs)}, Refs: []remit.Pattern{"refs/heads/main"}},
		{Actions: []remit.Action{"deploy.promote", "build.trigger"}, Resources: []remit.Pattern{remit.Pattern(production), "pipeline:app/*"}}}}
}

// hand is which of their keys somebody signs with.
func (w *World) hand() int {
	if w.one(8) {
		return 0 // a file
	}
	return 1
}

// breaks opens break-glass for a task, merges under it or beside it, and mostly has it reviewed in time.
func (w *World) breaks() {
	w.looks()
	c, ok := w.of("merger", "merger", "coder")
	if !ok || w.dead {
		return
	}
	name := pick(w, "sam", "sam", "rio", "mia")
	o := remit.Opening{Name: "fire", Task: c.Task, Reason: digest("it burns"), At: w.engine.Now().Add(pick(w, 0, 0, 0, -time.Hour))}
	w.view(func(s *authority.State) { o.Origin = s.Origin })
	sig, err := sshsig.Sign(keys[name][w.hand()], remit.BreakGlassNamespace, o.Bytes())
	if err != nil {
		panic(err)
	}
	res, err := w.do(&authority.OpenGlass{By: remit.ID("p-" + name), Reason: digest("salted"), Words: digest("it burns"), Statement: o.Bytes(), Signature: sig})
	w.say("  %s opens break-glass %s for %s: %s", name, res.ID, c.Task, reason(err))
	action := remit.Action("source.merge")
	if c.Agent == "coder" {
		action = "source.push"
	}
	for range pick(w, 1, 2) {
		w.ask(w.change(c, action, pick(w, app, docs), pick(w, "refs/heads/main", "refs/heads/main", "refs/heads/topic"), w.tip(), pick(w, "src/a", "deploy/x")))
	}
	if w.one(2) {
		w.sleep(pick(w, 31*time.Minute, 31*time.Minute, 26*time.Hour))
		w.looks()
	}
}

// looks has somebody review what was done under break-glass, mostly somebody who may.
func (w *World) looks() {
	type opened struct {
		id    remit.ID
		steps remit.Digest
	}
	var all []opened
	var origin string
	w.view(func(s *authority.State) {
		origin = s.Origin
		for _, id := range sorted(s.Opened) {
			if o := s.Opened[id]; o.Reviewed == "" || w.one(4) {
				all = append(all, opened{id, remit.StepsDigest(o.Under)})
			}
		}
	})
	for _, o := range all {
		name := pick(w, "tom", "tom", "rio", "sam", "noa")
		l := remit.Looking{Origin: origin, ID: o.id, Steps: o.steps, Right: !w.one(4)}
		sig, err := sshsig.Sign(keys[name][w.hand()], remit.BreakGlassNamespace, l.Bytes())
		if err != nil {
			panic(err)
		}
		_, err = w.do(&authority.ReviewGlass{By: remit.ID("p-" + name), Statement: l.Bytes(), Signature: sig})
		w.say("  %s reviews %s: %s", name, o.id, reason(err))
	}
}

// mergeReviewed has agents say what they think of a change, and another one merge it.
func (w *World) mergeReviewed() {
	c, ok := w.of("merger")
	if !ok {
		return
	}
	r, o := w.change(c, "source.merge", pick(w, docs, docs, app), pick(w, "refs/heads/main", "refs/heads/topic"), w.tip(), "src/a")
	for _, agent := range []string{"critic", "second"} {
		if w.one(4) {
			continue
		}
		k, ok := w.of(agent)
		if !ok {
			continue
		}
		v := r
		v.Caller, v.Steps, v.Review = k, slices.Clone(r.Steps), pick(w, remit.ReviewApprove, remit.ReviewApprove, remit.ReviewApprove, remit.ReviewReject)
		v.Steps[0].Action = "review.submit"
		w.ask(v, order{Kind: "say"})
	}
	w.ask(r, o)
}

// withdraws takes a plan away, or tries to.
func (w *World) withdraws() {
	var plans, votes []remit.ID
	w.view(func(s *authority.State) {
		for _, id := range sorted(s.Tasks) {
			if a := s.PlanOf(id, w.engine.Now().UnixNano()); a != "" {
				plans = append(plans, a)
				for _, v := range s.Accesses[a].Votes {
					votes = append(votes, v.Person)
				}
			}
		}
	})
	if len(plans) == 0 || w.dead {
		return
	}
	k := authority.Kill{By: pick(w, append(votes, "p-ada", "p-mia", w.somebody())...), What: "plan", ID: pick(w, plans...)}
	if len(w.callers) > 0 && w.one(3) {
		k.By, k.Instance = "", pick(w, w.callers...).Instance
	}
	err := w.engine.Kill(k)
	w.odd(err)
	w.say("  %s%s withdraws %s: %s", k.By, k.Instance, k.ID, reason(err))
}

// sees has somebody look at what waits.
func (w *World) sees() {
	if open := w.openHolds(); len(open) > 0 {
		for range pick(w, 1, 2, 3) {
			_, _ = w.do(&authority.SeeAccess{Access: pick(w, open...), Person: w.somebody()})
		}
	}
}
