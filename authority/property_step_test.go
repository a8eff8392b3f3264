package authority_test

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/judge"
)

// proved is how somebody truly was signed in when they voted, and how long before that they proved themselves.
type proved struct {
	in  remit.SignedIn
	ago time.Duration
}

// enough tells whether it is what a seat asks for.
func (p proved) enough(u remit.StepUp) bool {
	most, err := time.ParseDuration(u.MaxAge)
	return (len(u.ACR) == 0 || slices.Contains(u.ACR, p.in.ACR)) && (err != nil || p.ago >= 0 && p.ago <= most)
}

// stepping is a history of votes by people who are signed in in many ways, and of what is asked of that.
type stepping struct {
	*history
	votes map[remit.EntryIndex]proved
	seen  map[string]int
}

var (
	signIns = []remit.SignedIn{{Method: "key"}, {Method: "provider", Provider: "corp", ACR: "pwd"}, {Method: "provider", Provider: "corp", ACR: "phr"},
		{Method: "provider", Provider: "corp", ACR: "phrh"}}
	stepUps = []remit.StepUp{{}, {ACR: []string{"phr"}}, {ACR: []string{"phr", "phrh"}}, {MaxAge: "10m"}, {ACR: []string{"phr"}, MaxAge: "1m"}}
)

// asksFor declares how those who decide on payments are signed in.
func (h *stepping) asksFor() {
	needs := []remit.Need{{Group: "reviewers", N: rapid.IntRange(1, 2).Draw(h.r, "reviewers"), StepUp: pick(h.r, "of reviewers", stepUps)}}
	if rapid.Bool().Draw(h.r, "release") {
		needs = append(needs, remit.Need{Group: "release", N: 1, StepUp: pick(h.r, "of release", stepUps)})
	}
	if slices.EqualFunc(needs, h.set.Repositories[0].Approvers, remit.Need.Equal) {
		return
	}
	h.apply(func(s *authority.Set) { s.Repositories[0].Approvers = needs })
}

// opens has a commit asked for, or a plan of it.
func (h *stepping) opens() {
	c := h.task("coder", "p-mia")
	r := push(c, branch(c, "x"), pick(h.r, "tip", []string{"1", "2"}), "deploy/x")
	h.callers = append(h.callers, c)
	if rapid.Bool().Draw(h.r, "plan") {
		h.ask(filing(c, remit.PlanStep{Action: "source.push", Resource: remit.Pattern(payments), Refs: []remit.Pattern{remit.Pattern(branch(c, "x"))}, New: r.Refs[0].New}))
		return
	}
	h.ask(r)
}

// votesOn has a few people vote on one request.
func (h *stepping) votesOn() {
	open := ids(h.s.OpenHolds)
	if len(open) == 0 {
		return
	}
	id := pick(h.r, "request", open)
	for range rapid.IntRange(1, 5).Draw(h.r, "votes") {
		p := proved{pick(h.r, "signed in", signIns), pick(h.r, "ago", []time.Duration{unsaid, 0, time.Minute, time.Minute + 1, 10 * time.Minute, 10*time.Minute + 1})}
		voter := pick(h.r, "voter", []string{"noa", "rio", "tom", "sam"})
		k := touch(voter)
		if voter == "noa" { // who has no other
			k = soft(voter)
		}
		b := h.ballot(id, voter, k, true)
		if b.Signed = p.in; p.ago >= 0 {
			b.Proved = h.now.Add(-p.ago).UnixNano()
		}
		n := len(h.log)
		h.try(b)
		for i, l := range h.log[n:] {
			if _, ok := l.event.(*remit.VoteCast); ok {
				h.votes[remit.EntryIndex(n+i)] = p
				h.seen["vote"]++
			}
		}
		if len(h.log) == n {
			h.seen["refused"]++
		}
	}
}

// claims has an approved request carried out, or a plan put in force; what was claimed may be redeemed later.
func (h *stepping) claims() {
	for _, id := range ids(h.s.OpenHolds) {
		a, r := h.s.Accesses[id], h.requests[id]
		if a.Status != remit.AccessMet || rapid.IntRange(0, 3).Draw(h.r, "not now") == 0 {
			continue
		}
		h.ask(h.order(id, r))
		if h.s.Accesses[id].Status == remit.AccessOpen {
			h.seen["asked again"]++
		}
		if r.Plan != nil || rapid.Bool().Draw(h.r, "at once") {
			h.finish(remit.Done)
		}
	}
}

// follows does what a plan in force names.
func (h *stepping) follows() {
	for _, c := range h.callers {
		if f := h.s.Tasks[c.Task].Plan; f != nil && rapid.Bool().Draw(h.r, "follow") {
			r := push(c, branch(c, "x"), "", "deploy/x")
			r.Refs[0].New = f.Filed[0].New
			h.ask(r)
		}
	}
}

// seated tells whether votes fill needs, by trying all ways: each seat by somebody of its group who once voted signed in as
// it asks, nobody in two seats.
func (h *stepping) seated(needs []remit.Need, votes []authority.Vote) bool {
	i := slices.IndexFunc(needs, func(n remit.Need) bool { return n.N > 0 })
	if i < 0 {
		return true
	}
	n, rest := needs[i], slices.Clone(needs)
	rest[i].N--
	return slices.ContainsFunc(votes, func(v authority.Vote) bool {
		p, cast := h.votes[v.Entry]
		return cast && v.Approve && p.enough(n.StepUp) && slices.Contains(h.s.Groups[n.Group].Members, v.Person) &&
			h.seated(rest, slices.DeleteFunc(slices.Clone(votes), func(o authority.Vote) bool { return o.Person == v.Person }))
	})
}

// TestStepUpHistories: no vote counts for a seat that asks its voter to be signed in otherwise, whatever the order of
// votes, declarations and redemptions.
func TestStepUpHistories(t *testing.T) {
	seen := map[string]int{}
	reach(t, seen, []string{"vote", "refused", "claimed", "asked again", "by a plan"}, func(r *rapid.T) {
		h := &stepping{&history{world: newWorld(r, remit.Team), r: r, check: judge.New(), requests: map[remit.ID]remit.Request{}}, map[remit.EntryIndex]proved{}, seen}
		moves := []func(){h.asksFor, h.opens, h.opens, h.votesOn, h.votesOn, h.votesOn, h.votesOn, h.votesOn, h.claims, h.claims, h.claims, h.follows, h.follows,
			h.spend, h.record, func() { h.later(pick(h.r, "wait", []time.Duration{time.Minute, 10 * time.Minute})) }}
		h.quick = true
		for range 60 {
			n := len(h.log)
			moves[rapid.IntRange(0, len(moves)-1).Draw(r, "move")]()
			now := h.set.Repositories[0].Approvers
			for _, l := range h.log[n:] {
				e, ok := l.event.(*remit.Decided)
				switch {
				case !ok || e.Verdict != remit.Allow || e.Task == "":
				case e.Access != "":
					seen["claimed"]++
					if !h.seated(now, h.s.Accesses[e.Access].Votes) {
						r.Fatalf("%s is carried out on %+v; it asks for %v", e.Access, h.s.Accesses[e.Access].Votes, now)
					}
				case e.Plan.Used != nil:
					seen["by a plan"]++
					if !h.seated(now, h.s.Accesses[e.Plan.In].Votes) {
						r.Fatalf("it passes by the plan %s on %+v; it asks for %v", e.Plan.In, h.s.Accesses[e.Plan.In].Votes, now)
					}
				}
			}
			for id, a := range h.s.Accesses {
				counted := a.Status == remit.AccessMet || a.Status == remit.AccessReserved || a.Status == remit.AccessUsed
				if counted && a.Task != "" && !h.seated(a.Needs, a.Votes) {
					r.Fatalf("%s is %s on %+v; it asks for %v", id, a.Status, a.Votes, a.Needs)
				}
			}
		}
		h.replay()
	})
	if testing.Verbose() {
		t.Log(seen)
	}
}
