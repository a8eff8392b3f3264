package authority_test

import (
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// merge is a request of the merger to merge a head.
func merge(c caller, ref, tip string, names ...string) remit.Request {
	r := push(c, ref, tip, names...)
	r.Steps[0].Action = "source.merge"
	return r
}

// verdict is a critic's request to submit a review.
func verdict(c caller, ref, tip, review string, names ...string) remit.Request {
	r := push(c, ref, tip, names...)
	r.Steps[0].Action, r.Review, r.Bytes = "review.submit", review, 0
	return r
}

// merged merges a commit to payments' default branch.
func (w *world) merged(commit string) {
	w.t.Helper()
	w.mergedAs(merge(w.task("merger", "p-mia"), "refs/heads/main", commit), remit.Done, "")
}

func (w *world) mergedAs(r remit.Request, o remit.Outcome, made string) remit.EntryIndex {
	w.t.Helper()
	id := w.hold(r, remit.ImpactHeld)
	for _, v := range []string{"tom", "rio", "sam"} {
		if w.s.Accesses[id].Status == remit.AccessOpen {
			w.vote(id, v, touch(v), true)
		}
	}
	d := w.allow(w.order(id, r))
	w.carryOut(d.Permit.ID, o, made)
	return d.Entry
}

func (w *world) reviews(agent string, r remit.Request) {
	w.t.Helper()
	r.Caller = w.task(agent, "p-mia")
	w.carryOut(w.allow(r).Permit.ID, remit.Done, "")
}

func TestReviews(t *testing.T) {
	const topic = "refs/heads/topic"
	approve, reject := remit.ReviewApprove, remit.ReviewReject
	run := func(name string, n int, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			w.apply(func(s *authority.Set) { s.Repositories[0].Reviews = n })
			f(t, w)
			w.replay()
		})
	}
	asked := func(w *world) remit.Request { return merge(w.task("merger", "p-mia"), topic, "1", "src/a") }
	missing := func(w *world) { w.t.Helper(); w.deny(asked(w), remit.ReviewMissing, "") }

	run("a verdict is approve or reject, on one ref", 1, func(t *testing.T, w *world) {
		c := w.task("critic", "p-mia")
		w.deny(verdict(c, topic, "1", ""), remit.BadRequest, "says approve or reject")
		w.deny(verdict(c, topic, "1", "perhaps"), remit.BadRequest, "says approve or reject")
		r := verdict(c, topic, "1", approve)
		r.Refs = append(r.Refs, remit.RefChange{Ref: "refs/heads/x", Op: remit.RefCreate, New: oid("2")})
		w.deny(r, remit.BadRequest, "one ref")
		m := asked(w)
		m.Refs = r.Refs
		w.deny(m, remit.BadRequest, "one ref")
		m = asked(w)
		m.Steps = append(m.Steps, remit.Step{Action: "source.read", Resource: payments})
		w.deny(m, remit.BadRequest, "one step")
	})
	run("a merge needs them, of exactly this change", 1, func(t *testing.T, w *world) {
		w.deny(asked(w), remit.ReviewMissing, "asks for 1 approving reviews of exactly this change, by agents of different owners who did not write it; there are 0")
		for _, other := range []remit.Request{
			verdict(caller{}, "refs/heads/main", "1", approve, "src/a"), verdict(caller{}, topic, "2", approve, "src/a"), verdict(caller{}, topic, "1", approve, "src/b")} {
			w.reviews("critic", other)
			missing(w)
		}
		r := verdict(caller{}, topic, "1", approve, "src/a")
		r.Refs[0].Paths[0].NewMode = 0o100755
		w.reviews("critic", r)
		missing(w)
		r = verdict(w.task("critic", "p-mia"), topic, "1", approve, "src/a")
		r.Steps[0].Resource = docs
		w.carryOut(w.allow(r).Permit.ID, remit.Done, "")
		missing(w)
		w.reviews("critic", verdict(caller{}, topic, "1", approve, "src/a"))
		w.hold(asked(w), remit.ImpactHeld)
		m := asked(w)
		m.Refs[0].Old, m.Refs[0].Op = oid("base"), remit.RefUpdate
		w.hold(m, remit.ImpactHeld) // the base does not matter as long as the change is the same
		d, v := w.log[len(w.log)-2].event.(*remit.Decided), w.s.Reviews["forge/acme/payments"]
		if last := v[len(v)-1]; d.Change.IsZero() || last.Change != d.Change || last.Agent != "critic" || last.Owner != "p-noa" || last.Launcher != "p-mia" || last.Head != oid("1") || !last.Approve {
			t.Fatalf("%+v %+v", d, last)
		}
	})
	run("what is recorded names the change of one repository", 1, func(t *testing.T, w *world) {
		there := verdict(caller{}, topic, "1", approve, "src/a")
		there.Steps[0].Resource = docs
		w.reviews("critic", there)
		w.reviews("critic", verdict(caller{}, topic, "1", approve, "src/a"))
		w.reviews("critic2", verdict(caller{}, topic, "1", approve, "src/a"))
		here, elsewhere := w.s.Reviews["forge/acme/payments"], w.s.Reviews["forge/acme/docs"]
		if len(here) != 2 || len(elsewhere) != 1 || here[0].Change != here[1].Change || here[0].Change == elsewhere[0].Change {
			t.Fatalf("%+v %+v", here, elsewhere)
		}
	})
	run("not done is not said", 1, func(t *testing.T, w *world) {
		w.carryOut(w.allow(verdict(w.task("critic", "p-mia"), topic, "1", approve, "src/a")).Permit.ID, remit.NotApplied, "")
		missing(w)
	})
	run("two are of two owners", 2, func(t *testing.T, w *world) {
		w.reviews("critic", verdict(caller{}, topic, "1", approve, "src/a"))
		w.reviews("critic", verdict(caller{}, topic, "1", approve, "src/a"))
		if n := len(w.s.Reviews["forge/acme/payments"]); n != 1 {
			t.Fatal(n)
		}
		missing(w)
		w.apply(func(s *authority.Set) { s.Agents[5].Owner = "p-noa" })
		w.reviews("critic2", verdict(caller{}, topic, "1", approve, "src/a"))
		missing(w)
		w.apply(func(s *authority.Set) { s.Agents[5].Owner = "p-sam" })
		w.reviews("critic2", verdict(caller{}, topic, "1", approve, "src/a"))
		w.hold(asked(w), remit.ImpactHeld)
	})
	run("one that rejects blocks until it approves", 1, func(t *testing.T, w *world) {
		w.reviews("critic", verdict(caller{}, topic, "1", approve, "src/a"))
		w.reviews("critic2", verdict(caller{}, topic, "1", reject, "src/a"))
		w.deny(asked(w), remit.ReviewMissing, "agent critic2 rejects")
		w.reviews("critic2", verdict(caller{}, topic, "2", approve, "src/a"))
		w.deny(asked(w), remit.ReviewMissing, "agent critic2 rejects")
		w.must(&authority.ChangeAgent{By: "p-ada", Agent: "critic2", To: remit.AgentSuspended})
		w.deny(asked(w), remit.ReviewMissing, "agent critic2 rejects")
		w.must(&authority.ChangeAgent{By: "p-ada", Agent: "critic2", To: remit.AgentActive})
		w.reviews("critic2", verdict(caller{}, topic, "1", approve, "src/a"))
		w.hold(asked(w), remit.ImpactHeld)
	})
	run("an agent that was suspended approves of nothing", 1, func(t *testing.T, w *world) {
		w.reviews("critic", verdict(caller{}, topic, "1", approve, "src/a"))
		w.must(&authority.ChangeAgent{By: "p-ada", Agent: "critic", To: remit.AgentSuspended})
		missing(w)
	})
	run("who wrote it does not count, even if the review did not say so", 1, func(t *testing.T, w *world) {
		w.reviews("critic", verdict(caller{}, topic, "1", approve, "src/a"))
		m := asked(w)
		m.Refs[0].Signers = []remit.ID{"p-noa"}
		w.deny(m, remit.ReviewMissing, "there are 0")
	})
	run("they are asked for again when the order is claimed", 1, func(t *testing.T, w *world) {
		w.reviews("critic", verdict(caller{}, topic, "1", approve, "src/a"))
		r := asked(w)
		id := w.hold(r, remit.ImpactHeld)
		w.vote(id, "rio", touch("rio"), true)
		w.reviews("critic2", verdict(caller{}, topic, "1", reject, "src/a"))
		w.deny(w.order(id, r), remit.ReviewMissing, "critic2 rejects")
		w.status(id, remit.AccessVoid, remit.ReviewMissing)
	})
	run("where none is asked for, none is missing", 0, func(t *testing.T, w *world) {
		w.reviews("critic", verdict(caller{}, topic, "1", reject, "src/a"))
		w.hold(asked(w), remit.ImpactHeld)
	})
	run("a held verdict is approved as it is", 0, func(t *testing.T, w *world) {
		w.policy = func(f authority.Facts) authority.Finding {
			if f.Steps[0].Action == "review.submit" {
				return authority.Finding{Verdict: remit.Hold, Votes: []remit.Need{{Group: "reviewers", N: 1}}}
			}
			return authority.Finding{Verdict: remit.Allow}
		}
		c := w.task("critic", "p-mia")
		r := verdict(c, topic, "1", reject)
		id := w.hold(r, remit.PolicyHeld)
		w.vote(id, "rio", touch("rio"), true)
		r.Review = approve
		w.deny(w.order(id, r), remit.Stale, "not what was approved")
	})
}

func TestMerged(t *testing.T) {
	known := func(w *world, commit string) bool {
		_, ok := w.s.Merged["forge/acme/payments@"+commit]
		return ok
	}
	run := func(name string, f func(t *testing.T, w *world)) {
		t.Run(name, func(t *testing.T) {
			w := supplied(t)
			f(t, w)
			w.replay()
		})
	}
	run("a merge to the default branch brings its head and what it made", func(t *testing.T, w *world) {
		w.mergedAs(merge(w.task("merger", "p-mia"), "refs/heads/main", "1"), remit.Done, oid("made"))
		if !known(w, oid("1")) || !known(w, oid("made")) || len(w.s.Merged) != 2 || w.s.Merged["forge/acme/payments@"+oid("1")] != w.s.Next-2 {
			t.Fatalf("%v", w.s.Merged)
		}
		first := w.s.Merged["forge/acme/payments@"+oid("1")]
		w.mergedAs(merge(w.task("merger", "p-mia"), "refs/heads/main", "1"), remit.Done, "")
		if w.s.Merged["forge/acme/payments@"+oid("1")] != first || len(w.s.Merged) != 2 {
			t.Fatalf("%v", w.s.Merged)
		}
	})
	run("to another branch it brings nothing there", func(t *testing.T, w *world) {
		w.mergedAs(merge(w.task("merger", "p-mia"), "refs/heads/topic", "1"), remit.Done, oid("made"))
		if len(w.s.Merged) > 0 {
			t.Fatalf("%v", w.s.Merged)
		}
	})
	run("neither if it was not done", func(t *testing.T, w *world) {
		w.mergedAs(merge(w.task("merger", "p-mia"), "refs/heads/main", "1"), remit.Ambiguous, oid("made"))
		if len(w.s.Merged) > 0 {
			t.Fatalf("%v", w.s.Merged)
		}
	})
	run("a push to the default branch brings its tip, and nothing that is said of it", func(t *testing.T, w *world) {
		w.apply(func(s *authority.Set) {
			s.Repositories[0].Effects = nil
			s.Agents[0].Entitlements = append(slicesOf(s.Agents[0].Entitlements), remit.Scope{Actions: []remit.Action{"source.push"},
				Resources: []remit.Pattern{"repo:forge/acme/payments"}, Refs: []remit.Pattern{"refs/heads/main"}})
		})
		c := w.task("coder", "p-mia")
		w.carryOut(w.allow(push(c, branch(c, "x"), "1")).Permit.ID, remit.Done, "")
		w.carryOut(w.allow(push(c, "refs/heads/main", "2")).Permit.ID, remit.Done, oid("made"))
		if !known(w, oid("2")) || len(w.s.Merged) != 1 {
			t.Fatalf("%v", w.s.Merged)
		}
		r := push(c, "refs/heads/main", "")
		r.Refs[0].Op, r.Refs[0].Old, r.Refs[0].New = remit.RefDelete, r.Refs[0].New, ""
		w.carryOut(w.allow(r).Permit.ID, remit.Done, "")
		if len(w.s.Merged) != 1 {
			t.Fatalf("%v", w.s.Merged)
		}
	})
	run("what a merge made is a commit", func(t *testing.T, w *world) {
		r := merge(w.task("merger", "p-mia"), "refs/heads/topic", "1")
		id := w.hold(r, remit.ImpactHeld)
		w.vote(id, "rio", touch("rio"), true)
		x := w.redeem(w.allow(w.order(id, r)).Permit.ID).Attempt.ID
		w.refuse(&authority.Record{Attempt: x, Outcome: remit.Done, Made: "v1"}, remit.BadRequest, "is a commit")
		w.must(&authority.Record{Attempt: x, Outcome: remit.Done, Made: oid("made")})
	})
	run("who merged is behind what the merge brought", func(t *testing.T, w *world) {
		n := w.mergedAs(merge(w.task("merger", "p-mia"), "refs/heads/topic", "1"), remit.Done, oid("made"))
		if p, ok := w.s.Pushes[n]; !ok || p.Agent != "merger" || p.Launcher != "p-mia" {
			t.Fatalf("%+v", w.s.Pushes)
		}
		c := w.task("critic", "p-mia")
		w.apply(func(s *authority.Set) { s.Agents[2].Owner = "p-ada" })
		r := verdict(c, "refs/heads/topic", "2", remit.ReviewApprove)
		r.Refs[0].Pushers = []remit.EntryIndex{n}
		w.deny(r, remit.Separation, "wrote this change")
	})
}
