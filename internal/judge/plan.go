package judge

import (
	"encoding/hex"
	"slices"

	"github.com/remit-dev/remit"
)

// What the log must show of plans: who agreed to one, what passes by it and how often, and what it may not hold.

// planned is the plan of a task that is in force.
type planned struct {
	in     remit.ID // whose votes carry it
	steps  []remit.PlanStep
	until  int64
	used   []int
	before []remit.PlanStep // of earlier plans, that were used
}

// usedSteps are those of all plans of a task.
func (p planned) usedSteps() []remit.PlanStep {
	out := slices.Clone(p.before)
	for i, n := range p.used {
		if n > 0 {
			out = append(out, p.steps[i])
		}
	}
	return out
}

func moves(a remit.Action) bool { return a == "source.push" || a == "source.merge" }

// pinned: a digest says all of what is done.
func pinned(p remit.PlanStep) bool {
	return !p.Effect.IsZero() || p.New != "" && p.Old != "" || !p.Args.IsZero() && !moves(p.Action)
}

// plans judges what a decision says of plans: one that is filed, or one that lets it pass.
func (j *Judge) plans(at int64, e *remit.Decided, t *task) string {
	files := e.Steps[0].Step.Action == remit.ActionPlan
	if files != (len(e.Plan.Filed) > 0) || files && (len(e.Steps) > 1 || e.Steps[0].Step.Resource != remit.Resource("task:"+t.Agent)) {
		return "R6: a plan is filed by another step, for another agent, or is not said"
	}
	if files {
		return j.files(e, t)
	}
	if e.Plan.Used == nil {
		return ""
	}
	if e.Verdict != remit.Allow || e.Executor != "" || e.Access != "" || e.Advice {
		return "R6: what does not pass, or has an approval of its own, uses a plan"
	}
	if p := t.plan; p.in == "" || p.in != e.Plan.In || at >= p.until || e.NotAfter > p.until {
		return "R6: a plan lets something pass that is not in force"
	}
	next := e.Plan.Used
	for _, f := range e.Steps {
		if _, impact := j.zoneOf(f.Step); f.Step.Effect || impact == remit.Read {
			continue
		}
		if len(next) == 0 || next[0] < 0 || next[0] >= len(t.plan.steps) || !j.holds(t, t.plan.steps[next[0]], f, e) {
			return "R6: a step passes by a plan that does not name it"
		}
		next = next[1:]
	}
	if len(next) > 0 {
		return "R6: more of a plan is used than is done"
	}
	return j.carried(at, e)
}

// holds tells whether a step of a plan contains one that was decided, as far as the log tells.
func (j *Judge) holds(t *task, p remit.PlanStep, f remit.StepFacts, e *remit.Decided) bool {
	zone, _ := j.zoneOf(f.Step)
	production := zone == remit.ZoneProduction
	for _, o := range e.Steps {
		if z, _ := j.zoneOf(o.Step); o.Step.Effect && o.Ref == f.Ref {
			production = production || z == remit.ZoneProduction
			runs := o.Runs && slices.ContainsFunc(j.repos[f.Step.Resource.Name()].Effects, func(x remit.Effect) bool { return x.On == o.Step.Resource && x.Secrets != "none" })
			if runs && p.New == "" && p.Effect.IsZero() {
				return false
			}
		}
	}
	if p.Action != f.Step.Action || !inside(remit.Pattern(f.Step.Resource), []remit.Pattern{p.Resource}) || production && !pinned(p) {
		return false
	}
	if !p.Effect.IsZero() {
		return p.Effect == e.Effect
	}
	if !p.Args.IsZero() && p.Args != f.Step.Args {
		return false
	}
	if f.Ref == "" {
		return true
	}
	for t.Delegated {
		t = j.tasks[t.Parent]
	}
	own := inside(remit.Pattern(f.Ref), []remit.Pattern{remit.Pattern("refs/heads/remit/" + t.ID + "/**")})
	return (inside(remit.Pattern(f.Ref), p.Refs) || len(p.Refs) == 0 && own) && (own || f.Op != remit.RefForce && f.Op != remit.RefDelete) &&
		(p.New == "" || p.New == hex.EncodeToString(f.New)) && (p.Old == "" || p.Old == hex.EncodeToString(f.Old)) &&
		(p.MaxBytes == 0 || e.Bytes <= p.MaxBytes) && (p.MaxCommits == 0 || f.Commits <= p.MaxCommits) &&
		(len(f.Protected) == 0 || p.New != "" || len(p.Paths) > 0)
}

// carried tells what is wrong with the votes by which something passes: they are judged as if they were on it.
func (j *Judge) carried(at int64, e *remit.Decided) string {
	a := *j.access[e.Plan.In]
	a.steps, a.Needs = e.Steps, e.Plan.Needs
	for _, f := range e.Steps {
		if z, _ := j.zoneOf(f.Step); z == remit.ZoneProduction {
			a.Zone = z
		}
		for _, n := range j.decide(f.Step) {
			if !asksOf(e.Plan.Needs, n) {
				return "R6: a step passes by a plan without those who decide on it"
			}
		}
	}
	if !j.met(&a, at, e.Plan.Needs) {
		return "R6: a step passes by a plan whose votes do not stand for it"
	}
	return ""
}

// decide is who decides on a privileged step on a repository.
func (j *Judge) decide(st remit.Step) []remit.Need {
	_, impact := j.zoneOf(st)
	repo, known := j.repos[st.Resource.Name()]
	switch {
	case st.Effect || impact != remit.Privileged || st.Resource.Type() != "repo" || !known:
		return nil
	case len(repo.Approvers) > 0:
		return repo.Approvers
	}
	return []remit.Need{{Group: remit.Administrators, N: 1}}
}

func asksOf(needs []remit.Need, n remit.Need) bool {
	return slices.ContainsFunc(needs, func(o remit.Need) bool { return o.Group == n.Group && o.N >= n.N && o.StepUp.AtLeast(n.StepUp) })
}

// files judges what a plan may hold at all.
func (j *Judge) files(e *remit.Decided, t *task) string {
	if len(e.Plan.Filed)+len(t.plan.usedSteps()) > remit.MaxPlanSteps {
		return "R6: the plans of a task grow without end"
	}
	for _, p := range e.Plan.Filed {
		if !slices.ContainsFunc(t.Grant, func(g remit.Scope) bool {
			return slices.Contains(g.Actions, p.Action) && inside(p.Resource, g.Resources) && (!moves(p.Action) || len(p.Refs) == 0 || allInside(p.Refs, g.Refs)) &&
				(len(g.Paths) == 0 || len(p.Paths) == 0 || allInside(p.Paths, g.Paths))
		}) {
			return "R5: a plan holds what the grant of its task does not"
		}
		zone, impact := j.zoneOf(remit.Step{Action: p.Action, Resource: remit.Resource(p.Resource)})
		if zone == remit.ZoneProduction && impact == remit.Privileged && !pinned(p) {
			return "R6: a plan reaches production, and names no digest"
		}
		for _, x := range j.repos[remit.Resource(p.Resource).Name()].Effects {
			if z, _ := j.zoneOf(remit.Step{Action: x.Causes, Resource: x.On}); z == remit.ZoneProduction && moves(p.Action) && !pinned(p) &&
				slices.ContainsFunc(p.Refs, func(r remit.Pattern) bool {
					return inside(r, []remit.Pattern{x.Refs}) || inside(x.Refs, []remit.Pattern{r})
				}) {
				return "R4: a plan reaches production by what it sets off, and names no digest"
			}
		}
		if e.Verdict == remit.Allow && e.Access == "" && len(j.decide(remit.Step{Action: p.Action, Resource: remit.Resource(p.Resource)})) > 0 {
			return "R6: a plan with a privileged step is agreed to by nobody"
		}
	}
	return ""
}

// asksForAll: a plan asks for what all its steps would ask, those that were used before among them.
func (j *Judge) asksForAll(a *remit.AccessOpened, e *remit.Decided, t *task) string {
	if len(e.Plan.Filed) == 0 {
		return ""
	}
	for _, p := range slices.Concat(e.Plan.Filed, t.plan.usedSteps()) {
		for _, n := range j.decide(remit.Step{Action: p.Action, Resource: remit.Resource(p.Resource)}) {
			if !asksOf(a.Needs, n) {
				return "R6: a plan asks fewer people than its steps would"
			}
		}
	}
	return ""
}

// asksTooOften: no group is asked by tasks more often than is declared.
func (j *Judge) asksTooOften(at int64, e *remit.AccessOpened) string {
	for _, n := range e.Needs {
		limit := j.limits[n.Group]
		if e.Carried || limit.Most == 0 {
			continue
		}
		j.askedAt[n.Group] = append(j.askedAt[n.Group], at)
		lately := 0
		for _, t := range j.askedAt[n.Group] {
			if t+int64(limit.Hours)*3600e9 > at {
				lately++
			}
		}
		if lately > limit.Most {
			return "R6: a group is asked more often than it may be"
		}
	}
	return ""
}

// reserves counts what a redemption uses of a plan.
func (j *Judge) reserves(at int64, p *permit) string {
	if p.Plan.Used == nil {
		return ""
	}
	f := j.tasks[p.Task].plan
	if f.in != p.Plan.In || at >= f.until || p.Policy != j.policy {
		return "R6: a permit is redeemed whose plan is not in force, or was judged by another policy"
	}
	for _, i := range p.Plan.Used {
		if f.used[i]++; f.used[i] > f.steps[i].Times() {
			return "R6: a step of a plan is used once too often"
		}
	}
	return j.carried(at, &p.Decided)
}

// planned follows what an outcome makes of plans.
func (j *Judge) planned(p *permit, e *remit.Recorded) {
	t := j.tasks[p.Task]
	switch {
	case slices.Contains(t.gone, p.Access):
	case len(p.Plan.Filed) > 0 && e.Outcome == remit.Done && !t.ended:
		t.plan = planned{in: p.Access, steps: p.Plan.Filed, until: p.Plan.Until, used: make([]int, len(p.Plan.Filed)), before: t.plan.usedSteps()}
	case p.Plan.Used != nil && e.Outcome == remit.NotApplied && t.plan.in == p.Plan.In:
		for _, i := range p.Plan.Used {
			t.plan.used[i]--
		}
	}
}

// withdrawn judges who takes a plan away, and leaves of it what was used.
func (j *Judge) withdrawn(at int64, e *remit.PlanWithdrawn) string {
	t, a := j.tasks[e.Task], j.access[e.Access]
	if t == nil || a == nil || a.Task != e.Task || slices.Contains(t.gone, e.Access) {
		return "R6: a plan is withdrawn that is none, or was"
	}
	run, runs := j.runs[e.Instance]
	may := j.admin(e.By) || !j.dead[e.By] && (e.By == t.Requester || e.By == j.agents[t.Agent].Owner ||
		slices.ContainsFunc(a.votes, func(v remit.VoteCast) bool { return v.Approve && v.Person == e.By }))
	if e.By == "" {
		may = runs && run.Task == e.Task && j.alive(e.Task, at) == ""
	}
	if !may {
		return "control: a plan is withdrawn by somebody who has no part in it"
	}
	if t.plan.in == e.Access {
		t.plan = planned{before: t.plan.usedSteps()}
	}
	t.gone = append(t.gone, e.Access)
	return ""
}
