package authority_test

import (
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// twoReviews is a company whose payments asks for two reviews, or whose approvers give way to two; critic and critic2 have
// different owners.
func twoReviews(t *testing.T, instead bool) *world {
	t.Helper()
	return related(t, func(s *authority.Set) {
		if instead {
			s.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, Evidence: "verdict:2"}}
			return
		}
		s.Repositories[0].Reviews = 2
	})
}

// A reviewer that was steered hands its work on, or has it asked for on a way through another function: those verdicts are
// its own.
func TestVerdictsOfOneReviewer(t *testing.T) {
	const topic = "refs/heads/topic"
	review := func(w *world, c caller) {
		w.t.Helper()
		w.carryOut(w.allow(verdict(c, topic, "1", remit.ReviewApprove, "src/a")).Permit.ID, remit.Done, "")
	}
	child := func(w *world, r remit.Request) caller {
		w.t.Helper()
		task := w.made(r)
		return w.launch(task.ID, task.Agent, task.Requester)
	}
	second := wants("critic2", "review.submit", remit.Pattern(payments))
	asked := func(w *world) remit.Request { return merge(w.task("merger", "p-mia"), topic, "1", "src/a") }

	t.Run("what a reviewer delegates counts with its own", func(t *testing.T) {
		w := twoReviews(t, false)
		c := w.task("critic", "p-mia")
		review(w, c)
		review(w, child(w, delegate(c, second)))
		w.deny(asked(w), remit.ReviewMissing, "there are 1")
		review(w, w.task("critic2", "p-mia")) // for itself
		w.hold(asked(w), remit.ImpactHeld)
		w.replay()
	})
	t.Run("so does what it has asked for by another function", func(t *testing.T) {
		w := related(t, func(s *authority.Set) {
			s.Repositories[0].Reviews = 2
			for i := range s.Agents {
				if s.Agents[i].Name == "critic" {
					s.Agents[i].MayRequest = []remit.Function{remit.FuncPlan}
				}
			}
		})
		c := w.task("critic", "p-mia")
		review(w, c)
		planner := child(w, request(c, remit.Child{Agent: "planner", Intent: words}))
		review(w, child(w, request(planner, second)))
		w.deny(asked(w), remit.ReviewMissing, "there are 1")
	})
	t.Run("an owner of the one who delegates is no second one", func(t *testing.T) {
		w := related(t, func(s *authority.Set) {
			s.Repositories[0].Reviews = 1
			for i := range s.Agents {
				if s.Agents[i].Name == "critic" {
					s.Agents[i].Owner = "p-mia" // who signed the change
				}
			}
		})
		by := func(r remit.Request) remit.Request {
			r.Refs[0].Signers = []remit.ID{"p-mia"}
			return r
		}
		c := w.task("critic", "p-noa")
		r := child(w, delegate(c, second))
		v := by(verdict(r, topic, "1", remit.ReviewApprove, "src/a"))
		w.carryOut(w.allow(v).Permit.ID, remit.Done, "")
		w.deny(by(merge(w.task("merger", "p-noa"), topic, "1", "src/a")), remit.ReviewMissing, "there are 0")
	})
	t.Run("nor is an owner of the one to whom it is handed", func(t *testing.T) {
		w := related(t, func(s *authority.Set) { s.Repositories[0].Reviews = 1 })
		r := child(w, delegate(w.task("critic", "p-mia"), second))
		review(w, r)
		w.hold(asked(w), remit.ImpactHeld)
		m := asked(w)
		m.Refs[0].Signers = []remit.ID{w.s.Agents["critic2"].Owner} // known only now
		w.deny(m, remit.ReviewMissing, "there are 0")
	})
	t.Run("who asks two reviewers has two", func(t *testing.T) {
		w := twoReviews(t, false)
		c := w.task("planner", "p-mia")
		review(w, child(w, request(c, wants("critic", "review.submit", remit.Pattern(payments)))))
		review(w, child(w, request(c, second)))
		w.hold(asked(w), remit.ImpactHeld)
		w.replay()
	})
	t.Run("by the second rules they were two", func(t *testing.T) {
		w := twoReviews(t, false)
		w.s.Rules = 2
		c := w.task("critic", "p-mia")
		review(w, c)
		review(w, child(w, delegate(c, second)))
		w.hold(asked(w), remit.ImpactHeld)
	})
	t.Run("nor do they stand in for people", func(t *testing.T) {
		w := twoReviews(t, true)
		c := w.task("critic", "p-noa")
		review(w, c)
		review(w, child(w, delegate(c, second)))
		w.hold(asked(w), remit.ImpactHeld)
	})
}
