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

// plans files a plan of what its agent often does: commits by name, and envelopes of all widths.
func (h *history) plans() {
	c, ok := h.someone()
	if !ok {
		return
	}
	action := remit.Action("source.push")
	if c.Agent == "merger" {
		action = "source.merge"
	}
	var steps []remit.PlanStep
	for range rapid.IntRange(1, 3).Draw(h.r, "steps") {
		p := remit.PlanStep{Action: action, Resource: pick(h.r, "repository", []remit.Pattern{remit.Pattern(payments), remit.Pattern(docs), "repo:forge/acme/*"})}
		ref := pick(h.r, "ref", []remit.Pattern{"refs/heads/main", "refs/heads/topic", remit.Pattern(branch(c, "x"))})
		switch rapid.IntRange(0, 4).Draw(h.r, "exact") {
		case 0, 1:
			p.Resource = pick(h.r, "one", []remit.Pattern{remit.Pattern(payments), remit.Pattern(docs)})
			p.Refs, p.New = []remit.Pattern{ref}, oid(pick(h.r, "tip", []string{"1", "2", "3"}))
			if rapid.Bool().Draw(h.r, "old") {
				p.Old = oid("0")
			}
		case 2:
			p.Refs = []remit.Pattern{ref}
		case 3:
			p.Refs = []remit.Pattern{"refs/heads/**"}
		}
		if p.New == "" {
			p.Uses = rapid.IntRange(0, 2).Draw(h.r, "uses")
			p.Paths = pick(h.r, "paths", [][]remit.Pattern{nil, {"src/**"}, {workflow, "src/**"}})
			p.MaxBytes = int64(pick(h.r, "bytes", []int{0, 0, 500}))
			p.MaxCommits = pick(h.r, "commits", []int{0, 0, 1})
		}
		steps = append(steps, p)
	}
	h.ask(filed(c, remit.Plan{Steps: steps, For: pick(h.r, "for", []int64{0, 0, int64(10 * time.Minute)})}))
}

// follows does what a plan names, mostly.
func (h *history) follows() {
	c, ok := h.someone()
	if !ok {
		return
	}
	t := h.s.Tasks[c.Task]
	if t == nil || t.Plan == nil {
		h.push()
		return
	}
	p := pick(h.r, "planned", t.Plan.Filed)
	repo := remit.Resource(p.Resource)
	if repo == "repo:forge/acme/*" {
		repo = pick(h.r, "repository", []remit.Resource{payments, docs})
	}
	ref := branch(c, "x")
	if len(p.Refs) == 1 && p.Refs[0] != "refs/heads/**" {
		ref = string(p.Refs[0])
	}
	r := push(c, ref, pick(h.r, "tip", []string{"1", "2"}), pick(h.r, "path", []string{"src/a", "src/a", workflow, "src/AGENTS.md"}))
	r.Steps[0].Action, r.Steps[0].Resource = p.Action, repo
	r.Refs[0].Op, r.Refs[0].Old = pick(h.r, "op", []remit.RefOp{remit.RefUpdate, remit.RefUpdate, remit.RefCreate, remit.RefForce, remit.RefDelete}), oid("0")
	if p.New != "" && rapid.IntRange(0, 3).Draw(h.r, "another") > 0 {
		r.Refs[0].New = p.New
	}
	if len(h.pushes) > 0 && rapid.IntRange(0, 4).Draw(h.r, "pushed before") == 0 {
		r.Refs[0].Pushers = []remit.EntryIndex{pick(h.r, "pusher", h.pushes)}
	}
	if rapid.IntRange(0, 4).Draw(h.r, "pinned") == 0 {
		r.Refs[0].Pinned = paths(workflow)
	}
	r.Bytes = int64(pick(h.r, "bytes", []int{1, 1, 600}))
	h.ask(r)
	if rapid.Bool().Draw(h.r, "at once") {
		h.finish(pick(h.r, "outcome", []remit.Outcome{remit.Done, remit.NotApplied, remit.Ambiguous}))
	}
}

// finish redeems the last permit and records what came of it.
func (h *history) finish(out remit.Outcome) {
	if len(h.s.PermitAge) == 0 {
		return
	}
	id := h.s.PermitAge[len(h.s.PermitAge)-1]
	if x := h.try(&authority.Redeem{Permit: id, Proof: remit.Hash(secret[:]), Hash: proof}).Attempt.ID; x != "" {
		h.try(&authority.Record{Attempt: x, Outcome: out})
	}
}

// agrees brings a plan that waits into force, if people agree.
func (h *history) agrees() {
	for _, id := range ids(h.s.OpenHolds) {
		r, ok := h.requests[id]
		if !ok || r.Plan == nil {
			continue
		}
		may, _ := h.s.Eligible(id, h.now.UnixNano())
		for _, p := range may {
			if h.s.Accesses[id].Status == remit.AccessOpen {
				h.try(h.ballot(id, string(p[2:]), h.key(string(p[2:])), true))
			}
		}
		if h.s.Accesses[id].Status == remit.AccessMet {
			h.ask(h.order(id, r))
			h.finish(remit.Done)
		}
		return
	}
}

// TestPlanHistories: histories in which agents plan, and keep to it or not.
func TestPlanHistories(t *testing.T) {
	seen := map[string]int{}
	reach(t, seen, []string{"filed hold", "filed allow", "passes", "deviates hold", "in force", "used", "evidence allow", "under break-glass", "break-glass reviewed"}, func(r *rapid.T) {
		h := &history{world: newWorld(r, pick(r, "profile", []remit.Profile{remit.Team, remit.Team, remit.Solo, remit.Demo}), family), r: r, check: judge.New(),
			requests: map[remit.ID]remit.Request{}, sets: map[remit.ID]authority.Set{}, wishes: map[remit.Digest]remit.Child{}}
		h.policy = h.policyOf
		moves := []func(){h.newTask, h.plans, h.plans, h.plans, h.follows, h.follows, h.follows, h.follows, h.follows, h.cast, h.carry, h.agrees, h.agrees, h.agrees,
			h.claimOne, h.spend, h.spend, h.record, h.record, h.declare, h.reviewed, h.breaks, h.breaks, h.end, h.pass}
		for i := range 70 {
			h.quick = i%4 != 0
			if i < 3 {
				h.newTask()
				continue
			}
			moves[rapid.IntRange(0, len(moves)-1).Draw(r, "move")]()
		}
		h.replay()
		for _, l := range h.log {
			switch e := l.event.(type) {
			case *remit.Decided:
				switch {
				case e.Glass != "":
					seen["under break-glass"]++
				case len(e.Stood) > 0:
					seen["evidence "+e.Verdict.String()]++
				case len(e.Plan.Filed) > 0:
					seen["filed "+e.Verdict.String()]++
				case e.Plan.Used != nil:
					seen["passes"]++
				case e.Plan.In != "":
					seen["deviates "+e.Verdict.String()]++
				}
			case *remit.Redeemed:
				seen["redeemed"]++
			case *remit.BreakGlassReviewed:
				seen["break-glass reviewed"]++
			}
		}
		for _, task := range h.s.Tasks {
			if f := task.Plan; f != nil {
				seen["in force"]++
				if slices.ContainsFunc(f.Used, func(n int) bool { return n > 0 }) {
					seen["used"]++
				}
			}
			if len(task.Planned) > 0 {
				seen["grown"]++
			}
		}
	})
	if testing.Verbose() {
		t.Log(seen)
	}
}

// reviewed declares that verdicts stand in for people, has them given, and merges what they are on.
func (h *history) reviewed() {
	s := clone(h.set)
	s.Repositories[0].Approvers = []remit.Need{{Group: "reviewers", N: 1, Evidence: pick(h.r, "instead", []string{"verdict", "verdict", "verdict:2"}), InProduction: rapid.Bool().Draw(h.r, "in production")}}
	h.putInForce("p-ada", s, "")
	for _, id := range ids(h.s.OpenHolds) {
		if _, ok := h.sets[id]; ok {
			h.try(h.ballot(id, "bob", touch("bob"), true))
			h.putInForce("p-ada", h.sets[id], id)
		}
	}
	ref, tip := pick(h.r, "ref", []string{"refs/heads/main", "refs/heads/topic"}), pick(h.r, "tip", []string{"1", "2"})
	by := []remit.ID{"p-noa", "p-noa", "p-mia"}
	do := func(agent string, action remit.Action) {
		by := pick(h.r, "by", by)
		id := h.try(&authority.CreateTask{Agent: agent, By: by}).ID
		i := h.try(&authority.StartInstance{By: by, Task: id, Confinement: remit.ConfineUID, Secret: secret, Host: host}).ID
		if i == "" {
			return
		}
		r := push(caller{Instance: i, Agent: agent, Task: id}, ref, tip, "src/a")
		if r.Steps[0].Action = action; action == "review.submit" {
			r.Review = pick(h.r, "review", []string{remit.ReviewApprove, remit.ReviewApprove, remit.ReviewApprove, remit.ReviewReject})
		} else if rapid.IntRange(0, 5).Draw(h.r, "signed") == 0 {
			r.Refs[0].Signers = []remit.ID{h.person()}
		}
		n := len(h.s.PermitAge)
		if h.ask(r); len(h.s.PermitAge) > n {
			h.finish(remit.Done)
		}
	}
	do(pick(h.r, "agent", []string{"critic", "critic", "critic2"}), "review.submit")
	do(pick(h.r, "agent", []string{"critic2", "critic"}), "review.submit")
	do("merger", "source.merge")
}

// breaks opens break-glass, merges under it, and has it reviewed; sometimes by who may not, or late.
func (h *history) breaks() {
	if len(h.set.BreakGlass) == 0 {
		s := clone(h.set)
		fire(&s)
		h.putInForce("p-ada", s, "")
		for _, id := range ids(h.s.OpenHolds) {
			if _, ok := h.sets[id]; ok {
				h.try(h.ballot(id, "bob", touch("bob"), true))
				h.putInForce("p-ada", h.sets[id], id)
			}
		}
		return
	}
	for _, id := range ids(h.s.Opened) {
		if rapid.Bool().Draw(h.r, "look") {
			by := pick(h.r, "reviewer", []string{"tom", "tom", "rio", "sam"})
			h.try(h.looking(by, touch(by), id, nil))
		}
	}
	c, ok := h.someone()
	if !ok {
		return
	}
	by := pick(h.r, "by", []string{"sam", "sam", "rio", "tom"})
	h.try(h.opening(by, touch(by), c.Task, nil))
	r := push(c, pick(h.r, "ref", []string{"refs/heads/main", "refs/heads/topic", branch(c, "x")}), "1", pick(h.r, "path", []string{"src/a", workflow}))
	if c.Agent == "merger" {
		r.Steps[0].Action = "source.merge"
	}
	n := len(h.s.PermitAge)
	if h.ask(r); len(h.s.PermitAge) > n {
		h.later(pick(h.r, "wait", []time.Duration{0, 0, 50 * time.Second}))
		h.finish(remit.Done)
	}
	h.later(pick(h.r, "then", []time.Duration{0, time.Minute, 31 * time.Minute, 26 * time.Hour}))
}
