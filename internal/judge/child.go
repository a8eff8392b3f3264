package judge

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// What the log must show of child tasks, CI jobs and executors.

// up goes from a task to its root.
func (j *Judge) up(t *task, visit func(*task)) (root *task) {
	for ; t != nil; t = j.tasks[t.Parent] {
		visit(t)
		root = t
	}
	return root
}

func (j *Judge) zoneOf(s remit.Step) (remit.Zone, remit.Impact) {
	zone, impact := zoneOfStep(s)
	if x, ok := j.secrets[s.Resource.Name()]; ok && s.Resource.Type() == "secret" {
		zone = x.Zone
	}
	if s.Resource.Type() == "tool" {
		zone = j.toolZone(s.Resource)
	}
	return zone, impact
}

// reach is the zones in which a grant may change something, by trying its actions on what is declared.
func (j *Judge) reach(grant []remit.Scope) map[remit.Zone]bool {
	zones := map[remit.Zone]bool{}
	for _, g := range grant {
		for _, act := range g.Actions {
			on := []remit.Resource{""}
			for name := range j.secrets {
				if r := remit.Resource("secret:" + name); strings.HasPrefix(string(act), "secret.") && inside(remit.Pattern(r), g.Resources) {
					on = append(on, r)
				}
			}
			for name := range j.tools {
				for _, p := range g.Resources {
					r := remit.Resource("tool:" + name)
					if strings.HasPrefix(string(act), "tool.") && (inside(remit.Pattern(r), []remit.Pattern{p}) || inside(p, []remit.Pattern{remit.Pattern(r)})) {
						on = append(on, r)
					}
				}
			}
			for _, p := range g.Resources {
				if strings.HasPrefix(string(act), "tool.") && strings.HasPrefix(string(p), "tool:local/") {
					on = append(on, remit.Resource(p))
				}
			}
			if len(on) > 1 {
				on = on[1:]
			}
			for _, r := range on {
				if zone, impact := j.zoneOf(remit.Step{Action: act, Resource: r}); zone != remit.ZoneNone && (impact != remit.Read || strings.HasPrefix(string(act), "secret.")) {
					zones[zone] = true
				}
			}
		}
	}
	return zones
}

// child judges a child task by the attempt that made it.
func (j *Judge) child(n int, at int64, e *remit.TaskCreated) string {
	parent, try, agent := j.tasks[e.Parent], j.tries[e.Attempt], j.agents[e.Agent]
	if why := j.alive(e.Parent, at); why != "" {
		return "R2: a child task although " + why
	}
	if try == nil || try.Task != e.Parent || len(try.Steps) != 1 || try.Child.Agent != e.Agent || j.born[e.Attempt] {
		return "R7: a child task that no redeemed request asked for, or that it made before"
	}
	j.born[e.Attempt] = true
	step, asker := try.Steps[0].Step, j.agents[parent.Agent]
	if !reflect.DeepEqual(e.Inputs, try.Child.Inputs) || !reflect.DeepEqual(e.Deploy, try.Child.Deploy) || step.Resource != remit.Resource("task:"+e.Agent) || step.Args != try.Child.Spec {
		return "R6: a child task other than was decided"
	}
	if e.Requester != parent.Requester || e.Deadline > parent.Deadline || j.dead[agent.Owner] || agent.status != remit.AgentActive {
		return "R2: a child task of another person, longer than its parent, or of an agent that has ended"
	}
	depth, kids, own := 0, 0, e.ID
	j.up(parent, func(*task) { depth++ })
	for _, t := range j.tasks {
		if t.Parent == e.Parent && !t.ended {
			kids++
		}
	}
	if depth >= 8 || kids >= 32 {
		return "R11: a chain too long, or a family too large"
	}
	zones := j.reach(e.Grant)
	if len(zones) > 1 || len(e.Grant) == 0 {
		return fmt.Sprintf("R4: a child task in zones %v", zones)
	}
	if e.Delegated != (step.Action == "task.delegate") {
		return "R4: a request is a delegation, or the other way round"
	}
	if e.Delegated {
		if agent.Function != asker.Function || len(e.Inputs) > 0 || e.Deploy.Environment != "" {
			return "R4: a delegation to another function, or with inputs"
		}
		for t := parent; ; t = j.tasks[t.Parent] {
			if own = t.ID; !t.Delegated {
				break
			}
		}
		if !j.narrower(e.Grant, parent.Grant) || j.narrower(parent.Grant, e.Grant) || !reflect.DeepEqual(e.Envelope, parent.Envelope) || !reflect.DeepEqual(e.Budget, parent.Budget) {
			return fmt.Sprintf("R5: a delegation %v that is not smaller than %v", e.Grant, parent.Grant)
		}
	} else {
		if agent.Function == asker.Function || !slices.Contains(asker.MayRequest, agent.Function) {
			return "R4: work that its agent may not request"
		}
		if len(e.Inputs) == 0 && (zones[remit.ZoneBuild] || zones[remit.ZoneProduction]) {
			return "R4: a crossing on nothing immutable"
		}
		deploys := len(e.Grant) > 0 && e.Deploy.Environment != ""
		for _, g := range e.Grant {
			want := e.Deploy.Step()
			deploys = deploys && slices.Equal(g.Actions, []remit.Action{want.Action}) && slices.Equal(g.Resources, []remit.Pattern{remit.Pattern(want.Resource)})
		}
		if a := j.access[try.Access]; zones[remit.ZoneProduction] && !deploys &&
			(try.Executor == "" || a.Zone != remit.ZoneProduction || !slices.Contains(a.Closure, e.Requester) || !slices.Contains(a.Closure, asker.Owner)) {
			return "R4: a crossing into production without people"
		}
	}
	if why := j.entitled(e, agent, own); why != "" {
		return why
	}
	j.tasks[e.ID] = &task{TaskCreated: *e, entry: n, causes: map[remit.ID]bool{e.Requester: true, agent.Owner: true}, claimed: map[remit.ID]bool{}, taints: maps.Clone(parent.taints)}
	return ""
}

// narrower tells whether each step of a is one of b.
func (j *Judge) narrower(a, b []remit.Scope) bool {
	for _, g := range a {
		for _, act := range g.Actions {
			for _, res := range g.Resources {
				if !slices.ContainsFunc(b, func(s remit.Scope) bool {
					return slices.Contains(s.Actions, act) && inside(res, s.Resources) && allInside(g.Refs, s.Refs) &&
						(len(s.Paths) == 0 || len(g.Paths) > 0 && allInside(g.Paths, s.Paths)) &&
						(s.MaxBytes == 0 || g.MaxBytes > 0 && g.MaxBytes <= s.MaxBytes) && (s.MaxCommits == 0 || g.MaxCommits > 0 && g.MaxCommits <= s.MaxCommits)
				}) {
					return false
				}
			}
		}
	}
	return true
}

// asks judges a step that asks for a child task, when it is allowed or held.
func (j *Judge) asks(e *remit.Decided, t *task, f remit.StepFacts) string {
	agent := j.agents[e.Child.Agent]
	switch {
	case len(e.Steps) != 1 || agent == nil || f.Step.Resource != remit.Resource("task:"+agent.Name) || f.Step.Args != e.Child.Spec || e.Child.Function != agent.Function:
		return "R6: a child task is asked for that the decision does not name"
	case f.Step.Action == "task.request" && (agent.Function == j.agents[t.Agent].Function || !slices.Contains(j.agents[t.Agent].MayRequest, agent.Function)):
		return "R4: work is asked for that its agent may not request"
	case f.Step.Action == "task.delegate" && agent.Function != j.agents[t.Agent].Function:
		return "R4: a delegation to another function"
	case e.Verdict == remit.Allow && e.Access == "" && f.Step.Action == "task.request" && e.Child.Zone == remit.ZoneProduction && e.Child.Deploy.Environment == "":
		return "R4: a crossing into production passes without people"
	}
	return ""
}

// executor judges what an executor claims, or asks in the name of no instance.
func (j *Judge) executor(e *remit.Decided, t *task) (agent string, launcher remit.ID, why string) {
	zone := remit.ZoneNone
	call := slices.ContainsFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Resource.Type() == "tool" })
	for _, f := range e.Steps {
		if call && f.Step.Resource.Type() != "tool" {
			continue // what a call does besides, it does with the one credential of its server
		}
		if z, _ := j.zoneOf(f.Step); !f.Step.Effect && z != remit.ZoneNone {
			zone = z // a request has one
		}
	}
	want := map[remit.Zone]string{remit.ZoneNone: "executor/source", remit.ZoneSource: "executor/source", remit.ZoneBuild: "executor/build", remit.ZoneProduction: "executor/production"}[zone]
	if e.Executor != want || e.Instance != "" {
		return "", "", fmt.Sprintf("R4: %s acts in zone %q", e.Executor, zone)
	}
	if e.Agent != "" { // nothing was held yet
		if e.Verdict != remit.Hold || t.Deploy.Environment == "" || !reflect.DeepEqual(e.Deploy, t.Deploy) || len(e.Steps) != 1 || e.Steps[0].Step.Action != t.Deploy.Step().Action ||
			e.Steps[0].Step.Resource != t.Deploy.Step().Resource {
			return "", "", "R6: an executor asks for something other than the deployment that a task was made for"
		}
		return e.Agent, "", ""
	}
	a := j.access[e.Access]
	if a == nil || a.Task != e.Task {
		return "", "", "R6: an executor acts without an approval of that task"
	}
	return a.agent, a.launcher, ""
}

// job judges an instance that nobody launched.
func (j *Judge) job(n int, at int64, e *remit.InstanceStarted) string {
	if e.Issuer == "" {
		if e.Launcher == "" || j.dead[e.Launcher] {
			return "R2: an instance that nobody launched"
		}
		return ""
	}
	t, agent := j.tasks[e.Task], j.agents[e.Agent]
	if seen, used := j.tokens[e.Token]; used && at < seen+24*3600e9 {
		return "R2: a token starts two instances"
	}
	j.tokens[e.Token] = at
	for _, i := range j.runs {
		if i.Task == e.Task && j.alive(i.Task, at) == "" {
			return "R2: a job joins another instance"
		}
	}
	if e.Launcher != "" || e.Confinement != remit.ConfineHost || t.Agent != e.Agent || !slices.ContainsFunc(agent.Jobs, func(j remit.Job) bool {
		return j.Issuer == e.Issuer && slices.ContainsFunc(t.Inputs, func(in remit.Input) bool { return in.Resource == remit.Resource("repo:"+j.Source) })
	}) {
		return "R2: a job that is no agent's, or on a task that asked for none"
	}
	return ""
}

// causes tells whether a person caused what an access request is about, or has come to do so since.
func (j *Judge) causes(a *access, p remit.ID) bool {
	t := j.tasks[a.Task]
	if t == nil {
		return false
	}
	reads, caused := []string{"policy"}, false
	root := j.up(t, func(t *task) {
		reads = append(reads, "agent/"+t.Agent)
		caused = caused || t.causes[p] || t.claimed[p]
	})
	for _, n := range a.Needs {
		reads = append(reads, "group/"+n.Group)
		for _, m := range j.everyone(n.Group) {
			reads = append(reads, "person/"+string(m))
		}
	}
	for _, f := range a.steps {
		reads = append(reads, strings.Replace(f.Step.Resource.Type(), "task", "agent", 1)+"/"+f.Step.Resource.Name())
		if by := j.agents[f.Step.Resource.Name()]; by != nil && f.Step.Resource.Type() == "task" {
			if by.Owner == p {
				return true
			}
			reads = append(reads, j.reached(by.Entitlements)...)
		}
		if f.Step.Action == remit.ActionPlan {
			reads = append(reads, j.reached(t.Grant)...)
			for name := range j.repos {
				if names(t.Grant, "repo:"+name) {
					reads = append(reads, "repo/"+name)
				}
			}
		}
		for _, i := range f.Pushers {
			by := j.agents[j.pushes[i].agent]
			if j.pushes[i].launcher == p || by != nil && by.Owner == p {
				return true
			}
		}
		if slices.Contains(f.Signers, p) {
			return true
		}
	}
	for _, what := range reads {
		if slices.ContainsFunc(j.changed[what], func(x change) bool { return x.at > root.entry && x.by == p }) {
			return true
		}
	}
	j.up(t, func(t *task) {
		for _, o := range j.agents[t.Agent].owners {
			caused = caused || o.at > root.entry && o.by == p
		}
	})
	return caused
}

// reached are the declared environments, secrets and tools that scopes name: what is asked of an agent, or planned, is judged
// by them.
func (j *Judge) reached(scopes []remit.Scope) (reads []string) {
	look := func(kind, name string) {
		if names(scopes, kind+":"+name) {
			reads = append(reads, kind+"/"+name)
		}
	}
	for name := range j.envs {
		look("environment", name)
	}
	for name := range j.secrets {
		look("secret", name)
	}
	for name := range j.tools {
		look("tool", name)
	}
	return reads
}

func names(scopes []remit.Scope, resource string) bool {
	return slices.ContainsFunc(scopes, func(sc remit.Scope) bool {
		return slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool {
			_, overlap := p.Intersect(remit.Pattern(resource))
			return overlap
		})
	})
}
