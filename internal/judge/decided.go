package judge

import (
	"fmt"
	"slices"

	"github.com/remit-dev/remit"
)

var lines = func() map[remit.Action]remit.ActionInfo {
	m := map[remit.Action]remit.ActionInfo{}
	for _, l := range remit.Catalogue() {
		m[l.Action] = l
	}
	return m
}()

func zoneOfStep(s remit.Step) (remit.Zone, remit.Impact) {
	if l, ok := lines[s.Action]; ok {
		return l.Stage.Zone(), l.Impact
	}
	return remit.ZoneProduction, remit.Privileged
}

const (
	maxDecisions = 10_000
	maxHolds     = 3
	permitLife   = 60e9
	attemptLife  = 15 * 60e9
)

func (j *Judge) decided(n int, at int64, e *remit.Decided) string {
	if e.Verdict == remit.Deny {
		j.denials[remit.EntryIndex(n)] = true
		j.learn(e)
		return ""
	}
	t := j.tasks[e.Task]
	if why := j.alive(e.Task, at); why != "" {
		return fmt.Sprintf("R2: %s although %s", e.Verdict, why)
	}
	by, launcher := e.Agent, remit.ID("")
	if e.Executor != "" {
		var why string
		if by, launcher, why = j.executor(e, t); why != "" {
			return why
		}
	} else {
		i, runs := j.runs[e.Instance]
		if !runs || i.Task != e.Task || i.Agent != e.Agent || i.Launcher != "" && (j.dead[i.Launcher] || j.launched[e.Instance] < j.cut[i.Launcher]) {
			return "R2: an instance acts that does not run"
		}
		launcher = i.Launcher
	}
	switch {
	case by != t.Agent:
		return "R4: an agent acts for the task of another"
	case len(e.Steps) == 0:
		return "R1: nothing was asked for, and is not denied"
	case e.Policy.IsZero() || e.Policy != j.policy || e.Facts.IsZero():
		return "R1: it was not judged by the policy in force"
	}
	j.learn(e)
	for _, f := range e.Steps {
		if _, known := lines[f.Step.Action]; !known {
			return fmt.Sprintf("R1: no catalogue has %s", f.Step.Action)
		}
		if why := j.step(e, t, by, f); why != "" {
			return why
		}
	}
	if why := j.called(e); why != "" {
		return why
	}
	if why := j.under(at, e); why != "" {
		return why
	}
	if why := j.evident(e, t); why != "" {
		return why
	}
	if why := j.plans(at, e, t); why != "" {
		return why
	}
	if e.Advice {
		if e.Permit != "" || e.Access != "" || !e.Hash.IsZero() || len(e.Closure) > 0 {
			return "R1: advice opens something"
		}
		return ""
	}
	if e.Verdict == remit.Hold {
		if launcher != "" {
			t.causes[launcher] = true
		}
		return ""
	}
	switch {
	case e.Executor != "" && e.Access == "":
		return "R6: an executor gets a permit that no approval gave"
	case e.Executor == "" && e.Access != "":
		return "R6: an instance claims an approval"
	case e.NotAfter > at+permitLife || e.NotAfter > t.Deadline:
		return "R2: a permit lives longer than a minute, or than its task"
	case e.Hash.IsZero():
		return "R8: a permit without a secret"
	}
	if e.Access != "" {
		a := j.access[e.Access]
		if why := j.asked(a, at); why != "" {
			return "R2: a claim although " + why
		}
		if a.status != remit.AccessMet || a.Effect != e.Effect || at >= a.NotAfter { // the votes are counted when it is redeemed
			return "R6: a claim of what is not approved, of another effect, or too late"
		}
	}
	t.bytes += e.Bytes
	if t.Budget.Bytes > 0 && e.Access == "" && t.bytes > t.Budget.Bytes {
		return "R11: a task has pushed more than its budget"
	}
	j.permits[e.Permit] = &permit{Decided: *e, launcher: launcher}
	if slices.ContainsFunc(e.Steps, func(f remit.StepFacts) bool {
		return f.Step.Action == "source.push" || f.Step.Action == "source.merge"
	}) {
		j.pushes[remit.EntryIndex(n)] = push{by, launcher}
	}
	return ""
}

// learn adds to a task's closure what a decision states.
func (j *Judge) learn(e *remit.Decided) {
	j.up(j.tasks[e.Task], func(t *task) {
		for _, p := range e.Closure {
			t.claimed[p] = true
		}
	})
}

func (j *Judge) step(e *remit.Decided, t *task, by string, f remit.StepFacts) string {
	zone, impact := j.zoneOf(f.Step)
	if f.Step.Action == "task.request" || f.Step.Action == "task.delegate" {
		return j.asks(e, t, f)
	}
	if f.Step.Action == remit.ActionPlan {
		return ""
	}
	if f.Step.Effect {
		if e.Verdict == remit.Allow {
			return j.effect(e, f, zone)
		}
		return ""
	}
	if !lists(f.Step, t.Grant) && !slices.ContainsFunc(t.Grant, func(g remit.Scope) bool {
		return slices.Contains(g.Actions, f.Step.Action) && inside(remit.Pattern(f.Step.Resource), g.Resources) &&
			(f.Ref == "" || inside(remit.Pattern(f.Ref), g.Refs) && (g.MaxBytes == 0 || e.Bytes <= g.MaxBytes) && (g.MaxCommits == 0 || f.Commits <= g.MaxCommits))
	}) || f.OutsideScope {
		return fmt.Sprintf("R1: %s of %v on %q outside of the grant %v", e.Verdict, f.Step, f.Ref, t.Grant)
	}
	if impact != remit.Read && zone != remit.ZoneNone {
		if j.zones[by] == nil {
			j.zones[by] = map[remit.Zone]bool{}
		}
		if j.zones[by][zone] = true; len(j.zones[by]) > 1 {
			return "R4: an agent spans two zones"
		}
		if !slices.Contains(remit.FunctionZones(j.agents[by].Function), zone) {
			return "R4: an agent acts in a zone that is not of its function"
		}
	}
	if zone == remit.ZoneControl {
		return "control: an agent takes a control step"
	}
	if f.Step.Action == "artifact.publish" && len(j.builtFor(t.Inputs, f.Step.Resource)) > 0 {
		impact = remit.Write
	}
	if e.Verdict == remit.Allow && e.Access == "" && e.Plan.Used == nil && e.Glass == "" && !stands(e, j.repos[f.Step.Resource.Name()].Approvers) && (impact == remit.Privileged || len(f.Protected) > 0 || f.OutsideEnvelope) {
		return "R6: a sensitive step passes without people"
	}
	if e.Verdict == remit.Allow && f.Step.Action == "deploy.promote" {
		if why := j.production(e, f); why != "" {
			return why
		}
	}
	if len(f.Findings) > 0 {
		return "R1: what a gateway found fault with passes"
	}
	if f.Step.Action == "source.merge" || f.Step.Action == "review.submit" {
		owner := j.agents[by].Owner
		for _, p := range f.Pushers {
			was := j.pushes[p]
			if was.agent == by || was.launcher == owner || j.agents[was.agent] != nil && j.agents[was.agent].Owner == owner {
				return "R3: an author merges or reviews"
			}
		}
		if slices.Contains(f.Signers, owner) {
			return "R3: the agent of an author merges or reviews"
		}
	}
	if f.Ref != "" && f.Step.Action != "review.submit" {
		for _, eff := range j.repos[f.Step.Resource.Name()].Effects {
			if inside(remit.Pattern(f.Ref), []remit.Pattern{eff.Refs}) && !slices.ContainsFunc(e.Steps, func(o remit.StepFacts) bool {
				return o.Step.Effect && o.Ref == f.Ref && o.Step.Action == eff.Causes && o.Step.Resource == eff.On
			}) {
				return "R4: an effect is left out"
			}
		}
	}
	return ""
}

// effect: what a push sets off by itself is judged as that too.
func (j *Judge) effect(e *remit.Decided, f remit.StepFacts, zone remit.Zone) string {
	if zone == remit.ZoneProduction {
		return j.production(e, f)
	}
	if e.Access != "" || e.Plan.Used != nil || e.Glass != "" || len(e.Stood) > 0 {
		return ""
	}
	if f.Step.Action != "build.trigger" {
		if _, impact := j.zoneOf(f.Step); impact != remit.Read {
			return "R4: an effect passes without people"
		}
		return ""
	}
	for _, o := range e.Steps {
		if o.Step.Effect || o.Ref != f.Ref {
			continue
		}
		for _, eff := range j.repos[o.Step.Resource.Name()].Effects {
			if eff.Causes == f.Step.Action && eff.On == f.Step.Resource && inside(remit.Pattern(f.Ref), []remit.Pattern{eff.Refs}) && eff.Secrets != "none" && f.Runs {
				return "R4: a build with secrets runs what nobody looked at"
			}
		}
	}
	return ""
}

// production: no effect in zone P passes without the votes of its environment.
func (j *Judge) production(e *remit.Decided, f remit.StepFacts) string {
	if e.Glass != "" || stands(e, j.envs[f.Step.Resource.Name()].Approvers) {
		return ""
	}
	a := j.access[e.Access]
	if e.Plan.Used != nil {
		a = j.access[e.Plan.In]
	} else if e.Executor == "" {
		a = nil
	}
	if a == nil {
		return "R4: an effect in production passes without an approval"
	}
	env := j.envs[f.Step.Resource.Name()]
	for _, need := range env.Approvers {
		if stands(e, []remit.Need{need}) {
			continue
		}
		n := 0
		for _, v := range a.votes {
			if v.Approve && j.in(need.Group, v.Person, j.at, a.entry) && (v.Assurance == remit.AssuranceTouch || j.profile == remit.Demo) {
				n++
			}
		}
		if n < need.N {
			return "R4: an effect in production passes without the votes of its environment"
		}
	}
	return ""
}

func (j *Judge) redeemed(at int64, e *remit.Redeemed) string {
	p := j.permits[e.Permit]
	switch {
	case p == nil:
		return "R8: a permit is redeemed that no decision gave"
	case p.redeemed:
		return "R8: a permit is redeemed twice"
	case at >= p.NotAfter:
		return "R2: a permit is redeemed after its time"
	}
	p.redeemed = true
	j.tries[e.ID] = p
	if why := j.alive(p.Task, at); why != "" {
		return "R8: a permit is redeemed although " + why
	}
	if _, runs := j.runs[p.Instance]; j.dead[p.launcher] || p.Executor == "" && !runs {
		return "R8: a permit is redeemed although its instance or who launched it has ended"
	}
	if e.NotAfter > j.tasks[p.Task].Deadline || e.NotAfter > at+attemptLife {
		return "R2: an attempt outlives its task, or its quarter of an hour"
	}
	if why := j.tainted(p, e); why != "" {
		return why
	}
	if why := j.reserves(at, p); why != "" {
		return why
	}
	if a := j.access[p.Access]; p.Executor != "" {
		if a.uses++; a.uses > 1 {
			return "R6: an approval is used twice"
		}
		if a.status != remit.AccessMet || at >= a.NotAfter || !j.met(a, at, a.Needs) {
			return "R6: an approval is used whose votes no longer stand"
		}
		return j.move(a, remit.AccessReserved)
	}
	return ""
}

func (j *Judge) recorded(at int64, e *remit.Recorded) string {
	p := j.tries[e.Attempt]
	if p == nil {
		return "R7: an outcome of no attempt, or its second"
	}
	delete(j.tries, e.Attempt)
	j.planned(p, e)
	if !e.Outcome.Valid() {
		return "R7: an outcome that there is not"
	}
	if a := j.access[p.Access]; a != nil && e.Outcome == remit.NotApplied && e.Code != remit.Stale {
		a.uses--
	}
	if e.Outcome == remit.Done && (j.alive(p.Task, at) != "" || j.dead[p.launcher]) {
		return "R8: done, and not after revocation, although its authority has ended"
	}
	return ""
}
