package authority

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority/internal/plan"
)

// InForce is the plan of a task.
type InForce struct {
	remit.PlanFacts
	Access remit.ID         // whose votes carry it; empty: nobody was asked, and so it lets nothing pass
	Rules  []string         // that asked for those votes
	Used   []int            // of each step, reserved uses included
	Entry  remit.EntryIndex // that put it in force
}

// checkPlan is the shape of a request that files a plan: one step, bound to all of it.
func checkPlan(d *verdict, r remit.Request) {
	files := slices.ContainsFunc(r.Steps, func(st remit.Step) bool { return st.Action == remit.ActionPlan })
	bad := func(format string, args ...any) {
		d.malformed = true
		d.deny(remit.BadRequest, "R1", format, args...)
	}
	switch p := r.Plan; {
	case !files && p == nil:
	case !files || p == nil || len(r.Steps) != 1:
		bad("a plan is filed by one step %s alone", remit.ActionPlan)
	case r.Steps[0].Args != p.Digest():
		bad("the arguments of %s are not the plan that it files", remit.ActionPlan)
	case len(p.Steps) == 0 || len(p.Steps) > remit.MaxPlanSteps || p.For < 0 || p.For > int64(TaskLongest):
		bad("a plan has 1 to %d steps, not %d, and is in force for at most %s", remit.MaxPlanSteps, len(p.Steps), TaskLongest)
	default:
		for i, st := range p.Steps {
			if why := plan.Check(st); why != "" {
				bad("steps[%d]: %s", i, why)
			}
		}
	}
}

// UsedSteps are the steps of a task's plans that were used so far, each with how often: whoever lets a plan grow by one step at
// a time asks for what the whole would ask.
func (t *Task) UsedSteps() []remit.PlanStep {
	out := slices.Clone(t.Planned)
	if f := t.Plan; f != nil {
		for i, n := range f.Used {
			if n > 0 {
				p := f.Filed[i]
				p.Uses = n
				out = append(out, p)
			}
		}
	}
	return out
}

// judgePlan judges a plan by the worst that its steps would be judged, those that were used before among them.
func (s *State) judgePlan(d *verdict, r remit.Request, task *Task) {
	if r.Plan == nil || task == nil || d.v == remit.Deny {
		return
	}
	if own := remit.Resource("task:" + task.Agent); r.Steps[0].Resource != own {
		d.deny(remit.OutOfScope, "R1", "a plan is filed on %s, for the agent's own task", own)
		return
	}
	before := task.UsedSteps()
	if n := len(before) + len(r.Plan.Steps); n > remit.MaxPlanSteps {
		d.deny(remit.OverLimit, "plan", "with the %d steps that were used before, the plans of task %s would have %d; at most %d", len(before), task.ID, n, remit.MaxPlanSteps)
		return
	}
	for i, p := range before {
		past := &verdict{v: remit.Allow}
		if s.judgePlanned(past, task, fmt.Sprintf("the used step %d", i), p); past.v != remit.Hold {
			continue // what is denied by now is done all the same, and cannot be asked for again
		}
		for _, rule := range past.rules {
			d.hold(past.code, rule, past.needs, "%s", strings.Join(past.sentences, "; "))
		}
		d.zone = stricter(d.zone, past.zone)
	}
	for i, p := range r.Plan.Steps {
		s.judgePlanned(d, task, fmt.Sprintf("steps[%d]", i), p)
	}
}

// judgePlanned is what the compiled rules would say of a step as it is planned, at its worst.
func (s *State) judgePlanned(d *verdict, task *Task, name string, p remit.PlanStep) {
	info, known := remit.Lookup(p.Action)
	scope := remit.Scope{Actions: []remit.Action{p.Action}, Resources: []remit.Pattern{p.Resource}, Refs: p.Refs, Paths: p.Paths, MaxBytes: p.MaxBytes, MaxCommits: p.MaxCommits}
	grant := task.Grant
	if !plan.Moves(p.Action) { // refs say nothing of what moves none
		grant = slices.Clone(grant)
		for i := range grant {
			grant[i].Refs = nil
		}
	}
	switch {
	case !known:
		d.deny(remit.UnknownAction, "R1", "%s: the catalogue has no action %q", name, p.Action)
		return
	case info.Resource == "task":
		d.deny(remit.OutOfScope, "plan", "%s: what is asked of other agents is decided when it is asked for; leave it out", name)
		return
	case uncovered([]remit.Scope{scope}, grant, s.branchesOf(task)) != "":
		d.deny(remit.OutOfScope, "scope", "%s: a plan holds nothing that the grant of task %s does not, and that is %s on %s within these limits", name, task.ID, p.Action, p.Resource)
		return
	}
	for _, on := range s.named(info, p.Resource) {
		st := remit.Step{Action: p.Action, Resource: on, Args: p.Args}
		if code, why := s.unknown(info, st); code != "" {
			d.deny(code, "R1", "%s: %s", name, why)
			return
		}
		zone := s.zoneOf(info, on)
		d.zone = stricter(d.zone, zone)
		if info.Impact == remit.Privileged && !s.foreseen(task, st) {
			d.hold(remit.ImpactHeld, "R6", s.deciders(st), "%s: %s on %s needs a person", name, p.Action, on)
			if zone == remit.ZoneProduction && !plan.Pins(p) {
				d.deny(remit.PlanInexact, "plan", "%s: %s on %s reaches production; name it by its arguments or its effect, not by an envelope", name, p.Action, on)
			}
		}
		if repo := s.Repositories[on.Name()]; repo != nil && plan.Moves(p.Action) {
			s.judgePlannedRefs(d, task, name, p, repo)
		}
	}
}

// judgePlannedRefs is what a push or a merge as it is planned would be held for, and what it would set off.
func (s *State) judgePlannedRefs(d *verdict, task *Task, name string, p remit.PlanStep, repo *Repository) {
	needs := repositoryApprovers(repo.RepositoryDeclared)
	refs := substitute(orBranches(p.Refs), s.branchesOf(task))
	guards := append(slices.Clone(ControlSurface), repo.Protected...)
	if p.Exact() || slices.ContainsFunc(p.Paths, func(q remit.Pattern) bool { return plan.Names(q, guards) }) {
		d.hold(remit.PathProtected, "protected", needs, "%s: it may change what runs by itself or is protected in %s", name, repo.Name)
	}
	if e := task.Envelope; !listWithin(refs, e.Refs) || !listWithin(p.Paths, e.Paths) || !limitWithin(p.MaxBytes, e.MaxBytes) || !limitWithin(int64(p.MaxCommits), int64(e.MaxCommits)) {
		d.hold(remit.OutOfEnvelope, "envelope", needs, "%s: it may go beyond what the task was described to do", name)
	}
	for _, e := range repo.Effects {
		if !slices.ContainsFunc(refs, func(q remit.Pattern) bool { _, overlap := q.Intersect(e.Refs); return overlap }) {
			continue
		}
		info, _ := remit.Lookup(e.Causes)
		zone := s.zoneOf(info, e.On)
		d.zone = stricter(d.zone, zone)
		switch {
		case zone == remit.ZoneProduction && !plan.Pins(p):
			d.deny(remit.PlanInexact, "plan", "%s: it would cause %s on %s; name the commit that comes to the ref and the one that is there, or its effect", name, e.Causes, e.On)
		case zone == remit.ZoneProduction:
			d.hold(remit.EffectHeld, "R4", s.approversOf(e.On), "%s: it causes %s on %s", name, e.Causes, e.On)
		case e.Causes == "build.trigger" && (e.Secrets == "none" || !p.Exact()): // an envelope never covers what runs with secrets
		case info.Impact != remit.Read:
			d.hold(remit.EffectHeld, "R4", needs, "%s: it causes %s on %s", name, e.Causes, e.On)
		}
	}
}

// named are the declared resources that a step of a plan may mean, in order; of what is not declared one by one, the
// pattern itself.
func (s *State) named(info remit.ActionInfo, p remit.Pattern) []remit.Resource {
	all := s.reached([]remit.Scope{{Resources: []remit.Pattern{p}}})
	for _, name := range sorted(s.Repositories) {
		if r := remit.Resource("repo:" + name); p.Match(r) {
			all = append(all, r)
		}
	}
	all = slices.DeleteFunc(all, func(r remit.Resource) bool { return r.Type() != info.Resource || !p.Match(r) })
	if len(all) == 0 {
		return []remit.Resource{remit.Resource(p)}
	}
	return all
}

// plannedViews are what a policy sees of the steps of a plan that is filed, with those that were used before.
func (s *State) plannedViews(task *Task, r remit.Request) []StepView {
	var out []StepView
	for _, p := range append(task.UsedSteps(), r.Plan.Steps...) {
		info, _ := remit.Lookup(p.Action)
		v := StepView{Action: p.Action, Stage: info.Stage, Zone: s.zoneOf(info, remit.Resource(p.Resource)), Impact: info.Impact,
			Resource: remit.Resource(p.Resource), Planned: true}
		if refs := substitute(orBranches(p.Refs), s.branchesOf(task)); plan.Moves(p.Action) && len(refs) == 1 {
			v.Ref = string(refs[0])
		}
		if repo := s.Repositories[v.Resource.Name()]; repo != nil {
			v.DefaultBranch = "refs/heads/" + repo.DefaultBranch
		}
		if env := s.Environments[v.Resource.Name()]; env != nil {
			v.Tier = env.Tier
		}
		out = append(out, v)
	}
	return out
}

// planState is what a policy sees of plans.
func (s *State) planState(task *Task, now int64, r remit.Request, steps []looked) PlanState {
	switch {
	case task == nil:
		return PlanState{}
	case r.Plan != nil:
		f := PlanState{Files: len(r.Plan.Steps), Before: len(task.UsedSteps())}
		for _, p := range r.Plan.Steps {
			if p.Exact() {
				f.Exact++
			}
		}
		return f
	}
	c := s.compare(task, now, r, steps)
	if c.in == nil {
		return PlanState{}
	}
	return PlanState{Before: len(task.UsedSteps()), In: c.in.Access, Inside: len(c.used) > 0}
}

// eachGranted gives who changed each declared thing that a grant names: a plan is read against them.
func (s *State) eachGranted(grant []remit.Scope, changed func([]Change)) {
	for _, r := range s.reached(grant) {
		changed(s.changesOf(r))
	}
	for _, name := range sorted(s.Repositories) {
		if slices.ContainsFunc(grant, func(sc remit.Scope) bool {
			return slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool { return p.Match(remit.Resource("repo:" + name)) })
		}) {
			changed(s.Repositories[name].Changes)
		}
	}
}

// compared is a request beside the plan of its task.
type compared struct {
	in   *InForce
	used []int  // its steps, one for each step that changes something; nil: the request deviates
	why  string // it does, in words
}

// compare finds for each step of a request that changes something an unused step of the plan in force that contains it.
// Only what a running instance does is compared: a work order has an approval of its own, and so has what is deployed.
func (s *State) compare(task *Task, now int64, r remit.Request, steps []looked) compared {
	if task == nil || task.Plan == nil || task.Plan.Access == "" || now >= task.Plan.Until ||
		r.Caller.Instance == "" || r.Elsewhere || r.Advice || r.Plan != nil || r.Deploy != nil { // what is carried out elsewhere redeems nothing that would be counted
		return compared{}
	}
	c := compared{in: task.Plan}
	left := make([]int, len(c.in.Filed))
	for i, p := range c.in.Filed {
		left[i] = p.Times() - c.in.Used[i]
	}
	effect := s.effectDigest(r, steps)
	var used []int
	for _, l := range steps {
		if l.effect != nil || l.info.Impact == remit.Read {
			continue
		}
		a := s.act(task, r, l, steps, effect)
		best, at, why := -1, -1, ""
		for i, p := range c.in.Filed {
			differs, near := plan.Differs(p, a)
			if differs == "" && left[i] < 1 {
				differs = fmt.Sprintf("that was used %d times, which is all", p.Times())
			}
			if differs == "" && (at < 0 || p.Exact() && !c.in.Filed[at].Exact()) { // an envelope is for what nothing names
				at = i
			}
			if near > best && differs != "" {
				best, why = near, fmt.Sprintf("of the plan %s, steps[%d] is nearest: %s", c.in.Access, i, differs)
			}
		}
		if at < 0 {
			c.why = why
			return c
		}
		left[at]--
		used = append(used, at)
	}
	if c.used = used; len(used) == 0 {
		c.why = "it changes nothing that a plan could name"
	}
	return c
}

// act is a step as plans are compared with it.
func (s *State) act(task *Task, r remit.Request, l looked, steps []looked, effect remit.Digest) plan.Act {
	a := plan.Act{Step: l.facts.Step, Effect: effect, Ref: l.ref, Bytes: r.Bytes, Own: substitute(orBranches(nil), s.branchesOf(task)),
		Pinned: s.zoneOf(l.info, l.facts.Step.Resource) == remit.ZoneProduction}
	if l.ref == nil {
		return a
	}
	for _, c := range l.ref.Paths {
		if slices.ContainsFunc(l.facts.Protected, func(p remit.Pattern) bool { return matchPath(p, c) }) {
			a.Guarded = append(a.Guarded, c.Path)
		}
	}
	a.Guards = l.facts.Protected
	for _, e := range steps {
		if e.effect != nil && e.ref == l.ref {
			a.Pinned = a.Pinned || s.zoneOf(e.info, e.facts.Step.Resource) == remit.ZoneProduction
			a.Runs = a.Runs || e.facts.Runs && e.effect.Secrets != "none"
		}
	}
	return a
}

// compiledRules are names that a rule of a policy may have as well; whose votes they were cannot be told then.
var compiledRules = []string{"protected", "envelope", "pin", "plan"}

// pass lets a held request pass that lies inside the plan of its task: the rules that hold it are ones that plans cover,
// and the people who agreed to the plan are still those whom it would take (R6).
func (s *State) pass(d *verdict, now int64, c compared, closure []remit.ID) (facts remit.PlanFacts) {
	if c.in == nil || d.v != remit.Hold {
		return remit.PlanFacts{}
	}
	facts.In = c.in.Access
	deviates := func(format string, args ...any) remit.PlanFacts {
		d.say("plan", format, args...)
		return facts
	}
	if len(c.used) == 0 {
		return deviates("%s", c.why)
	}
	for _, rule := range d.rules {
		if rule == "pin" || slices.Contains(d.policy, rule) && (!slices.Contains(c.in.Rules, rule) || slices.Contains(compiledRules, rule)) {
			return deviates("it lies inside the plan %s, and rule %s did not ask for the votes on that", c.in.Access, rule)
		}
	}
	if el := s.carriers(c.in.Access, closure, d.needs, d.zone, now); !el.met(s.standing(s.Accesses[c.in.Access], el)) {
		return deviates("it lies inside the plan %s, and needs %s, whom the votes on that are not of any more", c.in.Access, ask(d.needs))
	}
	facts.Used, facts.Needs = c.used, d.needs
	d.v = remit.Allow
	return facts
}

// carriers is who may carry what passes by a plan: its votes are judged as if they were cast on what is done.
func (s *State) carriers(access remit.ID, closure []remit.ID, needs []remit.Need, zone remit.Zone, now int64) electorate {
	a := s.Accesses[access]
	el := s.electorateOf(a, now)
	el.closure, el.needs, el.zone = mergeIDs(el.closure, closure), needs, stricter(a.Zone, zone)
	return el
}

// checkUse is R8 for what passes by a plan: at the redemption it is still in force, judged by the policy in force, has the
// use left and the votes of those who may.
func (s *State) checkUse(p *Permit, now int64) error {
	task := s.Tasks[p.Task]
	switch f := task.Plan; {
	case p.Plan.Used == nil:
		return nil
	case f == nil || f.Access != p.Plan.In || now >= f.Until || !f.has(p.Plan.Used):
		return remit.Errorf(remit.AlreadyUsed, "the plan %s is no longer in force, or what it planned was done; ask again", p.Plan.In)
	case p.Policy != s.Policy:
		return remit.Errorf(remit.Stale, "another policy came into force since it was decided; ask again")
	}
	var steps []remit.StepFacts
	for _, st := range p.Steps {
		steps = append(steps, remit.StepFacts{Step: st})
	}
	all, _ := s.closure(task, steps, p.Plan.Needs)
	if el := s.carriers(p.Plan.In, all, p.Plan.Needs, s.zoneOfSteps(p.Steps), now); !el.met(s.standing(s.Accesses[p.Plan.In], el)) {
		return remit.Errorf(remit.NotEligible, "the votes on the plan %s no longer stand; ask again", p.Plan.In)
	}
	return nil
}

// has tells whether steps may be used once more each.
func (f *InForce) has(steps []int) bool {
	left := slices.Clone(f.Used)
	for _, i := range steps {
		if i < 0 || i >= len(left) || left[i] >= f.Filed[i].Times() {
			return false
		}
		left[i]++
	}
	return true
}

// applyUse reserves the uses of a redeemed permit.
func (s *State) applyUse(p *Permit) error {
	if p.Plan.Used == nil {
		return nil
	}
	f := s.Tasks[p.Task].Plan
	if f == nil || f.Access != p.Plan.In || !f.has(p.Plan.Used) {
		return fmt.Errorf("plan %s is not in force, or what it planned was done", p.Plan.In)
	}
	for _, i := range p.Plan.Used {
		f.Used[i]++
	}
	return nil
}

// applyPlan puts in force what an attempt filed, and gives back the uses of one that proved to have changed nothing.
func (s *State) applyPlan(n remit.EntryIndex, x *Attempt, e *remit.Recorded) {
	t := s.Tasks[x.Task]
	switch f := t.Plan; {
	case len(x.Plan.Filed) > 0 && e.Outcome == remit.Done && !t.withdrawn(x.Access):
		t.Planned = t.UsedSteps()
		t.Plan = &InForce{PlanFacts: x.Plan, Access: x.Access, Rules: x.Rules, Used: make([]int, len(x.Plan.Filed)), Entry: n}
	case x.Plan.Used != nil && e.Outcome == remit.NotApplied && f != nil && f.Access == x.Plan.In:
		for _, i := range x.Plan.Used {
			f.Used[i]--
		}
	}
}
