package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/judge"
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

// judged is the first rule that the log breaks, as somebody finds who reads nothing else; empty: none.
func (w *world) judged() string {
	j := judge.New()
	for i, e := range w.log {
		if v := j.Read(remit.EntryIndex(i), time.Unix(0, e.at), e.event); v != nil {
			return v.Rule + ": " + v.Text
		}
	}
	return ""
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
	t.Run("who reads the log alone finds that they were not two", func(t *testing.T) {
		for rules, want := range map[int]string{remit.Rules: "", 2: "R3: a merge without its reviews"} {
			w := twoReviews(t, false)
			w.s.Rules = rules
			c := w.task("critic", "p-noa")
			review(w, c)
			if review(w, child(w, delegate(c, second))); rules == remit.Rules {
				review(w, w.task("critic2", "p-noa")) // for itself
			}
			w.mergedAs(asked(w), remit.Done, "")
			if got := w.judged(); got != want {
				t.Errorf("by rules %d the judge says %q, not %q", rules, got, want)
			}
		}
	})
	t.Run("nor that they stood in for people", func(t *testing.T) {
		for rules, want := range map[int]string{remit.Rules: "", 2: "R6: evidence stands in for people that is not there"} {
			w := twoReviews(t, true)
			w.s.Rules = rules
			c := w.task("critic", "p-noa")
			review(w, c)
			if review(w, child(w, delegate(c, second))); rules == remit.Rules {
				review(w, w.task("critic2", "p-noa"))
			}
			w.allow(asked(w))
			if got := w.judged(); got != want {
				t.Errorf("by rules %d the judge says %q, not %q", rules, got, want)
			}
		}
	})
	t.Run("nor do they stand in for people", func(t *testing.T) {
		w := twoReviews(t, true)
		c := w.task("critic", "p-noa")
		review(w, c)
		review(w, child(w, delegate(c, second)))
		w.hold(asked(w), remit.ImpactHeld)
	})
}
