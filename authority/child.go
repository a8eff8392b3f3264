package authority

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// Limits of child tasks.
const (
	MaxInputs     = 16 // of a child task
	MaxChildren   = 32 // of one task, alive at one time
	MaxDepth      = 8  // tasks in a chain, its root counted
	MaxScopes     = 16 // that are asked for at once
	MaxScopeItems = 64 // in one list of a scope that is asked for
)

// ChildDigest is what a task.request or task.delegate step binds as its arguments: all of what is asked for.
func ChildDigest(c remit.Child) remit.Digest { return digestJSON("child", c) }

// ExecutorOf names the one executor that carries out work orders whose strictest step lies in z (R4d). No executor takes
// control steps.
func ExecutorOf(z remit.Zone) string {
	switch z {
	case remit.ZoneNone, remit.ZoneSource:
		return "executor/source"
	case remit.ZoneBuild:
		return "executor/build"
	case remit.ZoneProduction:
		return "executor/production"
	}
	return ""
}

// asked is a child task that a step asks for, as far as that takes no clock.
type asked struct {
	facts remit.ChildFacts
	grant []remit.Scope // the child's own task still stands in it as {task}
	code  remit.Code    // why it cannot be; empty: it can
	rule  string
	why   string
}

func asksChild(a remit.Action) bool { return a == "task.request" || a == "task.delegate" }

// lookChild is R4 and R5 for a child task: who may ask for it, on what it rests, and what it would be granted.
func (s *State) lookChild(task *Task, c *remit.Child, st remit.Step) *asked {
	no := func(code remit.Code, rule, format string, args ...any) *asked {
		return &asked{code: code, rule: rule, why: fmt.Sprintf(format, args...)}
	}
	asker, agent := s.Agents[task.Agent], s.Agents[st.Resource.Name()]
	if c == nil || c.Agent != agent.Name {
		return no(remit.BadRequest, "R1", "%s on %s says what it asks for, of that agent", st.Action, st.Resource)
	}
	delegated := st.Action == "task.delegate"
	switch {
	case delegated && agent.Function != asker.Function:
		return no(remit.CrossesBoundary, "R4", "agent %s has function %s, and delegation keeps the function %s; request the work instead", agent.Name, agent.Function, asker.Function)
	case !delegated && agent.Function == asker.Function:
		return no(remit.OutOfScope, "R4", "agent %s has function %s as well; delegate to it instead", agent.Name, agent.Function)
	case !delegated && !slices.Contains(asker.MayRequest, agent.Function):
		return no(remit.OutOfScope, "R4", "agent %s may request work of functions %v, not of %s", asker.Name, asker.MayRequest, agent.Function)
	case delegated && (len(c.Inputs) > 0 || c.Deploy != nil):
		return no(remit.BadRequest, "R4", "what is delegated stays in its zone: it has no inputs and no deployment")
	case c.Intent.IsZero():
		return no(remit.BadRequest, "R1", "a child task says what it is for")
	case s.depth(task) >= MaxDepth:
		return no(remit.OverBudget, "budget", "task %s is the %dth of its chain; it is not asked for more", task.ID, MaxDepth)
	case len(task.Children) >= MaxChildren:
		return no(remit.OverBudget, "budget", "task %s has %d child tasks; wait for one of them", task.ID, MaxChildren)
	}
	if code, why := s.checkInputs(c.Inputs); code != "" {
		return no(code, "R4", "%s", why)
	}
	own := remit.ID(taskPlaceholder)
	if delegated {
		own = s.branchesOf(task) // what is delegated is done on the branches of who delegates
	}
	grant, code, why := s.childGrant(agent, c.Scope, own)
	if code != "" {
		return no(code, "R4", "%s", why)
	}
	a := &asked{grant: grant, facts: remit.ChildFacts{Agent: agent.Name, Function: agent.Function, Spec: ChildDigest(*c),
		Inputs: c.Inputs, Grant: digestJSON("grant", grant)}}
	for _, z := range s.zonesOf(grant) {
		a.facts.Zone = stricter(a.facts.Zone, z)
	}
	if delegated {
		if !within(grant, task.Grant) {
			return no(remit.OutOfScope, "R5", "what is delegated lies within the grant of task %s", task.ID)
		}
		if within(task.Grant, grant) {
			return no(remit.OutOfScope, "R5", "what is delegated is less than the whole grant of task %s", task.ID)
		}
		return a
	}
	if len(c.Inputs) == 0 && (a.facts.Zone == remit.ZoneBuild || a.facts.Zone == remit.ZoneProduction) {
		return no(remit.BadRequest, "R4", "work in zone %s rests on a commit or an artifact; name it as an input, by its immutable name", a.facts.Zone)
	}
	if c.Deploy != nil {
		if code, why := s.checkChildDeploy(agent, c); code != "" {
			return no(code, "R4", "%s", why)
		}
		a.facts.Deploy = *c.Deploy
	}
	return a
}

// checkInputs tells what is wrong with what a child task would rest on (R4c).
func (s *State) checkInputs(inputs []remit.Input) (remit.Code, string) {
	if len(inputs) > MaxInputs {
		return remit.TooLargeToJudge, fmt.Sprintf("a task rests on at most %d inputs, not %d", MaxInputs, len(inputs))
	}
	for i, in := range inputs {
		if err := in.Check(); err != nil {
			return remit.BadRequest, fmt.Sprintf("inputs[%d]: %v", i, err)
		}
		if slices.Contains(inputs[:i], in) {
			return remit.BadRequest, fmt.Sprintf("inputs[%d]: %s stands twice", i, in)
		}
		if in.Resource.Type() == "repo" && s.Repositories[in.Resource.Name()] == nil {
			return remit.UnknownResource, fmt.Sprintf("inputs[%d]: no repository %q is declared", i, in.Resource.Name())
		}
		if in.Resource.Type() == "artifact" && s.Upstreams[firstSegment(in.Resource)] == nil {
			return remit.UnknownResource, fmt.Sprintf("inputs[%d]: no upstream %q is declared", i, firstSegment(in.Resource))
		}
	}
	return "", ""
}

// childGrant is what was asked for, all of which its agent is entitled to: nothing is dropped in silence. Nothing asked
// is all that the agent is entitled to.
func (s *State) childGrant(agent *Agent, scope []remit.Scope, own remit.ID) (grant []remit.Scope, code remit.Code, why string) {
	if len(scope) > MaxScopes {
		return nil, remit.TooLargeToJudge, fmt.Sprintf("at most %d scopes are asked for at once, not %d", MaxScopes, len(scope))
	}
	for i, sc := range scope {
		if len(sc.Actions) == 0 || len(sc.Resources) == 0 {
			return nil, remit.BadRequest, fmt.Sprintf("scope[%d] names actions and resources", i)
		}
		if max(len(sc.Actions), len(sc.Resources), len(sc.Refs), len(sc.Paths)) > MaxScopeItems {
			return nil, remit.TooLargeToJudge, fmt.Sprintf("a list of scope[%d] has more than %d members", i, MaxScopeItems)
		}
		if err := checkScope(sc); err != nil {
			return nil, remit.BadRequest, fmt.Sprintf("scope[%d]: %v", i, err)
		}
	}
	all := scope
	if len(all) == 0 {
		all = agent.Entitlements
	}
	if z := s.zonesOf(all); len(z) > 1 {
		return nil, remit.CrossesBoundary, fmt.Sprintf("it asks for zones %s and %s; a child task has one", z[0], z[1])
	}
	if err := s.checkBoundary(agent.Function, all); err != nil {
		var e *remit.Error
		errors.As(err, &e)
		return nil, e.Code, e.Sentence
	}
	if what := uncovered(scope, agent.Entitlements, own); what != "" {
		return nil, remit.OutOfScope, fmt.Sprintf("agent %s is not entitled to %s", agent.Name, what)
	}
	grant, _ = intersect(scope, agent.Entitlements, own) // every action is known: checkBoundary looked each up
	if len(grant) == 0 {
		return nil, remit.OutOfScope, fmt.Sprintf("agent %s is entitled to nothing", agent.Name)
	}
	return grant, "", ""
}

// uncovered is the first thing that is asked for and that no entitlement covers whole. A list or limit that the asker
// leaves out is what the entitlement says of it.
func uncovered(scope, entitled []remit.Scope, own remit.ID) string {
	for _, a := range scope {
		refs := substitute(orBranches(a.Refs), own)
		for _, act := range a.Actions {
			for _, res := range a.Resources {
				if !slices.ContainsFunc(entitled, func(e remit.Scope) bool {
					may := substitute(orBranches(e.Refs), own)
					return slices.Contains(e.Actions, act) && covers(e.Resources, res) &&
						(listWithin(refs, may) || len(a.Refs) == 0 && len(patterns(refs, may)) > 0) &&
						(len(a.Paths) == 0 || listWithin(a.Paths, e.Paths)) &&
						(a.MaxBytes == 0 || limitWithin(a.MaxBytes, e.MaxBytes)) &&
						(a.MaxCommits == 0 || limitWithin(int64(a.MaxCommits), int64(e.MaxCommits)))
				}) {
					return fmt.Sprintf("%s on %s within these limits", act, res)
				}
			}
		}
	}
	return ""
}

// within is R5 for grants: all of a is in b.
func within(a, b []remit.Scope) bool {
	return !slices.ContainsFunc(a, func(sc remit.Scope) bool { return !contained(sc, b) })
}

// checkChildDeploy tells what is wrong with the deployment that a child task is for. Its scope is that one step and nothing
// else, so that the votes on the step decide on all that the child can do.
func (s *State) checkChildDeploy(agent *Agent, c *remit.Child) (remit.Code, string) {
	d, step := c.Deploy, c.Deploy.Step()
	switch {
	case agent.Function != remit.FuncDeploy:
		return remit.CrossesBoundary, fmt.Sprintf("agent %s has function %s; an agent of function deploy deploys", agent.Name, agent.Function)
	case s.Environments[d.Environment] == nil:
		return remit.UnknownResource, fmt.Sprintf("no environment %q is declared", d.Environment)
	case len(c.Scope) != 1 || !equal(c.Scope[0], remit.Scope{Actions: []remit.Action{step.Action}, Resources: []remit.Pattern{remit.Pattern(step.Resource)}}):
		return remit.BadRequest, fmt.Sprintf("the scope of a deployment is %s on %s and nothing else", step.Action, step.Resource)
	}
	if why := checkDeploy(*d); why != "" {
		return remit.BadRequest, "its deployment: " + why
	}
	for _, a := range d.Artifacts {
		if !slices.Contains(c.Inputs, remit.Input{Resource: a.Resource, ID: a.Digest}) {
			return remit.BadRequest, fmt.Sprintf("%s is deployed and is no input of the task", a)
		}
	}
	return "", ""
}

// judgeChild applies to a child task what hangs on the time, and asks people where the work crosses into production
// (R4c). Where it is nothing but one deployment, the votes on that decide, once.
func (s *State) judgeChild(d *verdict, now int64, r remit.Request, task *Task, l looked) {
	a := l.child
	if a == nil {
		return
	}
	if a.code != "" {
		d.deny(a.code, a.rule, "%s", a.why)
		return
	}
	if !s.agentLive(a.facts.Agent, now) {
		d.deny(remit.NotLive, "R2", "agent %s is suspended or retired, has expired, or its owner has left", a.facts.Agent)
		return
	}
	life, left := time.Duration(r.Child.For), time.Duration(s.lifeEnd(task.ID)-now)
	if life != 0 && life < time.Second {
		d.deny(remit.BadRequest, "R2", "a task lasts at least 1s, not %s", life)
	}
	if r.Access == "" && life > left { // what was approved meanwhile ends with its parent
		d.deny(remit.OverLimit, "R5", "task %s ends in %s, and a child task ends with it; ask for at most that", task.ID, left.Truncate(time.Second))
	}
	if l.info.Action == "task.request" && a.facts.Zone == remit.ZoneProduction && a.facts.Deploy.Environment == "" {
		d.zone = stricter(d.zone, remit.ZoneProduction)
		d.hold(remit.ImpactHeld, "R4", s.approversOfScopes(a.grant), "work of agent %s reaches production", a.facts.Agent)
	}
}

// approversOfScopes is who decides over all that scopes reach: of each environment and secret its own approvers, or
// else an administrator.
func (s *State) approversOfScopes(scopes []remit.Scope) []remit.Need {
	var needs []remit.Need
	for _, r := range s.reached(scopes) {
		needs = mergeNeeds(needs, s.approversOf(r))
	}
	if len(needs) == 0 {
		return []remit.Need{{Group: remit.Administrators, N: 1}}
	}
	return needs
}

// reached lists the declared environments, secrets and tools that scopes name, in order. A record that covers several tools
// stands for them.
func (s *State) reached(scopes []remit.Scope) []remit.Resource {
	var all, out []remit.Resource
	for _, name := range sorted(s.Environments) {
		all = append(all, remit.Resource("environment:"+name))
	}
	for _, name := range sorted(s.Secrets) {
		all = append(all, remit.Resource("secret:"+name))
	}
	for _, name := range sorted(s.Tools) {
		all = append(all, remit.Resource("tool:"+name))
	}
	for _, r := range all {
		if slices.ContainsFunc(scopes, func(sc remit.Scope) bool {
			return slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool {
				_, overlap := p.Intersect(remit.Pattern(r))
				return overlap
			})
		}) {
			out = append(out, r)
		}
	}
	return out
}

// decideCreateChild makes the task that a redeemed step asked for, as it was decided. A second command for the same
// attempt, after a crash in between, is answered by the same task.
func decideCreateChild(s *State, now int64, c *CreateChild) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	at := s.Attempts[c.Attempt]
	if at == nil || at.Child.Agent == "" {
		return fail(remit.NotFound, "attempt %s does not exist, has its outcome, or asked for no child task", c.Attempt)
	}
	if at.Child.Spec != ChildDigest(c.Child) {
		return fail(remit.Stale, "this is not the child task that attempt %s asked for", c.Attempt)
	}
	if at.MadeTask != "" {
		return nil, Result{ID: at.MadeTask}, nil
	}
	if now >= at.NotAfter {
		return fail(remit.Expired, "attempt %s has expired", c.Attempt)
	}
	parent := s.Tasks[at.Task]
	if !s.permitLive(&at.Permit, now) || !s.agentLive(at.Child.Agent, now) {
		return fail(remit.NotLive, "the authority of attempt %s has ended", c.Attempt)
	}
	st := at.Steps[0] // a request for a child task has one step
	a := s.lookChild(parent, &c.Child, st)
	if a.code != "" {
		return fail(remit.Stale, "other declarations came into force since it was decided: %s", a.why)
	}
	if !equal(a.facts, at.Child) {
		return fail(remit.Stale, "other declarations came into force since it was decided; ask for the work again")
	}
	id := newID(s, "T", 0)
	e := &remit.TaskCreated{ID: id, Requester: parent.Requester, Agent: at.Child.Agent, Intent: c.Child.Intent, Parent: parent.ID, By: at.Instance,
		Attempt: c.Attempt, Inputs: c.Child.Inputs, Delegated: st.Action == "task.delegate", Deploy: at.Child.Deploy, Deadline: s.lifeEnd(parent.ID)}
	if c.Child.For != 0 {
		e.Deadline = min(e.Deadline, now+c.Child.For)
	}
	if e.By == "" { // an executor carries it out for the instance that asked
		e.By = s.Accesses[at.Access].Instance
	}
	if e.Delegated { // what is handed on is as narrow as it was
		e.Envelope, e.Budget = parent.Envelope, parent.Budget
	}
	for _, g := range a.grant {
		g.Refs = substitute(g.Refs, id)
		e.Grant = append(e.Grant, g)
	}
	return []remit.Event{e}, Result{ID: id}, nil
}

// applyChild holds that a child task rests on a redeemed request for it, and is the only one that does.
func (s *State) applyChild(e *remit.TaskCreated) error {
	at := s.Attempts[e.Attempt]
	if at == nil || at.MadeTask != "" || at.Task != e.Parent || at.Child.Agent != e.Agent || !s.LiveTasks[e.Parent] {
		return fmt.Errorf("no attempt of a live task %s asked for child task %s of agent %s", e.Parent, e.ID, e.Agent)
	}
	at.MadeTask = e.ID
	return nil
}

// depth is the place of a task in its chain; a root is the first.
func (s *State) depth(t *Task) int {
	n := 1
	for t = s.Tasks[t.Parent]; t != nil; t = s.Tasks[t.Parent] {
		n++
	}
	return n
}

// BranchesOf is the task on whose branches a task works: itself, or who delegated to it.
func (s *State) BranchesOf(id remit.ID) remit.ID {
	if t := s.Tasks[id]; t != nil {
		return s.branchesOf(t)
	}
	return id
}

// branchesOf is the task whose branches a task works on: its own, or those of who delegated it.
func (s *State) branchesOf(t *Task) remit.ID {
	for t.Delegated {
		t = s.Tasks[t.Parent]
	}
	return t.ID
}

// checkClaimer is R4d for a work order: only the executor of its zone claims it.
func (s *State) checkClaimer(d *verdict, a *Access, executor string) bool {
	if own := s.Executor(a); s.OpenHolds[a.ID] && executor != own {
		d.deny(remit.UnknownPrincipal, "R4", "%s does not claim work orders that %s carries out", executor, own)
		return false
	}
	return true
}

// checkExecutor is R1 for an executor that asks in the name of no instance: it asks for the one deployment that a live
// task was made for.
func (s *State) checkExecutor(d *verdict, now int64, r remit.Request) *Task {
	t := s.Tasks[r.Caller.Task]
	if t == nil || t.Deploy.Environment == "" || t.Agent != r.Caller.Agent || r.Caller.Executor != ExecutorOf(remit.ZoneProduction) {
		d.deny(remit.UnknownPrincipal, "R1", "the caller is no running instance of an agent, and not %s with a task that deploys", ExecutorOf(remit.ZoneProduction))
		return nil
	}
	if !s.TaskLive(t.ID, now) {
		d.deny(remit.NotLive, "R2", "task %s, its agent or a person behind it has ended", t.ID)
	}
	if want := t.Deploy.Step(); len(r.Steps) != 1 || r.Steps[0].Action != want.Action || r.Steps[0].Resource != want.Resource {
		d.deny(remit.OutOfScope, "R4", "%s asks for %s on %s and for nothing else", r.Caller.Executor, want.Action, want.Resource)
	}
	return t
}

// checkChild is the shape of a request for a child task: one step, bound to what it asks for.
func checkChild(r remit.Request, bad func(string, ...any)) {
	asks := slices.ContainsFunc(r.Steps, func(st remit.Step) bool { return asksChild(st.Action) })
	switch {
	case !asks && r.Child == nil:
	case !asks || r.Child == nil || len(r.Steps) != 1 || len(r.Refs) > 0:
		bad("a child task is asked for by one task.request or task.delegate step alone")
	case r.Steps[0].Args != ChildDigest(*r.Child):
		bad("the arguments of %s are not the child task that it asks for", r.Steps[0].Action)
	}
}
