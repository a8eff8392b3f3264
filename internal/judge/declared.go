package judge

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// declaredBy is who declares something by an entry; ok is false for entries that declare nothing.
func declaredBy(event remit.Event) (by remit.ID, ok bool) {
	switch e := event.(type) {
	case *remit.PersonDeclared:
		return e.By, true
	case *remit.GroupDeclared:
		return e.By, true
	case *remit.AgentDeclared:
		return e.By, true
	case *remit.UpstreamDeclared:
		return e.By, true
	case *remit.RepositoryDeclared:
		return e.By, true
	case *remit.EnvironmentDeclared:
		return e.By, true
	case *remit.SecretDeclared:
		return e.By, true
	case *remit.ToolDeclared:
		return e.By, true
	case *remit.BoundaryDeclared:
		return e.By, true
	case *remit.DetectionDeclared:
		return e.By, true
	case *remit.ActivationDeclared:
		return e.By, true
	case *remit.NotifyDeclared:
		return e.By, true
	case *remit.Removed:
		return e.By, true
	case *remit.PolicyInstalled:
		return e.By, true
	case *remit.CampaignDeclared:
		return e.By, true
	case *remit.ReviewsDeclared:
		return e.By, true
	}
	return "", false
}

// declaring: declarations are put in force together, by an administrator, and nothing rests on half of them. Genesis
// declares in nobody's name.
func (j *Judge) declaring(event remit.Event) string {
	by, declares := declaredBy(event)
	_, applies := event.(*remit.Applied)
	switch {
	case declares && by == "":
		if len(j.agents)+len(j.tasks)+len(j.access) > 0 {
			return "control: something is declared in nobody's name"
		}
	case (declares || applies) && j.set == nil:
		j.set = &set{admins: slices.DeleteFunc(slices.Clone(j.groups[remit.Administrators]), func(p remit.ID) bool { return j.dead[p] }), met: map[remit.ID]bool{}}
		for id, a := range j.access { // the set itself may take away who agreed
			if a.Task == "" && a.status == remit.AccessMet {
				j.set.met[id] = j.met(a, j.now, a.Needs)
			}
		}
	}
	if declares && j.set != nil && !slices.Contains(j.set.admins, by) {
		return "control: something is declared by somebody who is no administrator"
	}
	switch event.(type) {
	case *remit.TaskCreated, *remit.InstanceStarted, *remit.Decided, *remit.AccessOpened, *remit.VoteCast, *remit.Redeemed, *remit.LeaseOpened:
		if j.set != nil {
			j.set = nil
			return "control: declarations are in force that nobody applied"
		}
	}
	return ""
}

func (j *Judge) applied(at int64, e *remit.Applied) string {
	before := j.set
	j.set = nil
	j.control.trials = maps.Clone(j.control.wanted)
	if why := j.oneZone(); why != "" {
		return why
	}
	if !slices.Contains(before.admins, e.By) {
		return "control: declarations are put in force by somebody who is no administrator"
	}
	if e.Access == "" {
		return ""
	}
	a := j.access[e.Access]
	if a == nil || a.Task != "" || a.By != e.By || at >= a.NotAfter || a.entry < j.forked {
		return "R6: an approval of declarations is of something else, of another person's, or is used too late"
	}
	if a.status != remit.AccessMet || !before.met[e.Access] {
		return "R6: declarations are put in force without the votes that they need"
	}
	return j.move(a, remit.AccessUsed)
}

// declared takes up what is in force from here on.
func (j *Judge) declared(n int, event remit.Event) string {
	note := func(what string, by remit.ID) { j.changed[what] = append(j.changed[what], change{by, n}) }
	switch e := event.(type) {
	case *remit.PersonDeclared:
		for id, keys := range j.keys {
			for _, k := range e.Keys {
				if id != e.ID && !j.dead[id] && slices.ContainsFunc(keys, func(o remit.Key) bool { return string(o.Public) == string(k.Public) }) {
					return "R3: one key is two people's"
				}
			}
		}
		if why := j.redeclared(e); why != "" {
			return why
		}
		j.dead[e.ID] = j.killed[e.ID] // who was removed may come back
		note("person/"+string(e.ID), e.By)
	case *remit.KeyConfirmed:
		for i, k := range j.keys[e.Person] {
			if remit.Hash(k.Public) == e.Key {
				j.keys[e.Person][i].Confirmed, j.keys[e.Person][i].Since = true, remit.EntryIndex(n)
			}
		}
	case *remit.PersonKilled:
		if e.By != e.Person && !j.admin(e.By) {
			return "control: a person is killed by somebody who is no administrator"
		}
		j.killed[e.Person] = true
		j.leaves(n, e.Person, e.By)
		note("person/"+string(e.Person), e.By)
	case *remit.GroupDeclared:
		j.groups[e.Name], j.people.from[e.Name] = e.Members, e.From
		if j.limits[e.Name] = e.Asks; e.Asks.Most == 0 {
			j.askedAt[e.Name] = nil
		}
		note("group/"+e.Name, e.By)
	case *remit.RepositoryDeclared:
		j.repos[e.Name] = *e
		note("repo/"+e.Name, e.By)
	case *remit.EnvironmentDeclared:
		j.envs[e.Name] = *e
		note("environment/"+e.Name, e.By)
	case *remit.ToolDeclared:
		j.tools[e.Name] = *e
		note("tool/"+e.Name, e.By)
	case *remit.SecretDeclared:
		j.secrets[e.Name] = *e
		note("secret/"+e.Name, e.By)
	case *remit.DetectionDeclared:
		j.control.detects[e.Name] = e.Suspend
	case *remit.ActivationDeclared:
		j.control.wanted[e.Of] = true
	case *remit.PolicyInstalled:
		if e.By != "" && j.control.trials["policy"] && !j.control.tried[e.Bundle] {
			return "control: a policy comes into force that was not tried on the past, as it must be"
		}
		j.policy = e.Bundle
		note("policy", e.By)
	case *remit.AgentDeclared:
		a := j.agents[e.Name]
		if a == nil {
			a = &agent{status: remit.AgentActive}
			j.agents[e.Name] = a
		} else if a.Function != e.Function || a.status == remit.AgentRetired {
			return "R4: the function of an agent changed, or one that was retired came back"
		}
		a.AgentDeclared, a.seen = *e, j.at
		j.regranted(n, a)
		a.owners = append(a.owners, change{e.Owner, n})
		note("agent/"+e.Name, e.By)
	case *remit.AgentChanged:
		a := j.agents[e.Agent]
		if e.Cause != "" {
			why, known := j.idles(j.at, a, e)
			if why != "" {
				return why
			}
			if !known {
				return "log: nobody knows why an agent changes"
			}
			if a.status, a.idle = e.Status, 0; e.Cause == remit.CauseIdle {
				a.idle, a.cut, a.cutBy = j.at, n, e.By
			} else {
				a.seen = j.at
			}
			note("agent/"+e.Agent, e.By)
			return ""
		}
		if a.status == remit.AgentRetired {
			return "R2: an agent that was retired changes"
		}
		if a.idle = 0; e.Status == remit.AgentActive {
			a.seen = j.at
		}
		found := j.control.found
		j.control.found = nil
		if byFinding := e.By == "" && found != nil && found.Agent == e.Agent && e.Status == remit.AgentSuspended; !byFinding && !j.admin(e.By) && (e.By != a.Owner || j.dead[e.By]) {
			return "control: an agent is changed by somebody who neither owns it nor is an administrator"
		}
		if a.status = e.Status; a.status != remit.AgentActive {
			a.cut, a.cutBy = n, e.By
		}
		note("agent/"+e.Agent, e.By)
	case *remit.Removed:
		switch e.What {
		case "person":
			j.leaves(n, remit.ID(e.Name), e.By)
		case "agent":
			a := j.agents[e.Name]
			a.status, a.cut, a.cutBy, a.idle = remit.AgentRetired, n, e.By, 0
		case "campaign":
			delete(j.reviews.campaigns, e.Name)
		case "reviews":
			j.reviews.settings = nil
		case "group":
			j.groups[e.Name], j.people.from[e.Name] = nil, nil
		case "secret":
			delete(j.secrets, e.Name)
		case "tool":
			delete(j.tools, e.Name)
		case "activation":
			delete(j.control.wanted, e.Name)
		case "detection":
			delete(j.control.detects, e.Name)
		}
		note(e.What+"/"+e.Name, e.By)
	}
	return ""
}

// leaves ends a person, and for good all that rests on them so far.
func (j *Judge) leaves(n int, p, by remit.ID) {
	j.dead[p], j.cut[p], j.cutBy[p] = true, n, by
	for _, a := range j.agents {
		if a.Owner == p {
			a.cut, a.cutBy = n, by
		}
	}
}

// asked is why nothing comes of an access request any more; empty: something may.
func (j *Judge) asked(a *access, at int64) string {
	by := a.By
	if a.Task != "" {
		if why := j.alive(a.Task, at); why != "" {
			return why
		}
		by = a.launcher
	}
	if a.entry < j.forked || by != "" && (j.dead[by] || a.entry < j.cut[by]) {
		return "who asked has ended"
	}
	return ""
}

// alive is why a task's authority has ended; empty: it has not.
func (j *Judge) alive(task remit.ID, at int64) string {
	t := j.tasks[task]
	if t == nil {
		return "there is no such task"
	}
	a := j.agents[t.Agent]
	switch {
	case t.ended, at >= t.Deadline, t.entry < j.forked:
		return "the task has ended"
	case t.cut != 0:
		return "what its grant rests on was taken away"
	case a.status != remit.AgentActive, t.entry < a.cut, a.Expires != 0 && at >= a.Expires*1e9:
		return "its agent has ended"
	case j.dead[a.Owner], j.dead[t.Requester], t.entry < j.cut[t.Requester]:
		return "a person behind it has ended"
	case t.Parent != "":
		return j.alive(t.Parent, at)
	}
	return ""
}

const day = 24 * 3600e9

func (j *Judge) created(n int, at int64, e *remit.TaskCreated) string {
	a := j.agents[e.Agent]
	may := a.Owner == e.Requester
	for _, g := range a.Requesters {
		may = may || j.in(g, e.Requester, at, n)
	}
	if !may || j.dead[e.Requester] || j.dead[a.Owner] || a.status != remit.AgentActive {
		return "R2: a task that its requester may not request"
	}
	if e.Deadline > at+day {
		return "R2: a task of more than a day"
	}
	if why := j.entitled(e, a, e.ID); why != "" {
		return why
	}
	j.tasks[e.ID] = &task{TaskCreated: *e, entry: n, causes: map[remit.ID]bool{e.Requester: true, a.Owner: true}, claimed: map[remit.ID]bool{}, taints: map[string]bool{}}
	return ""
}

// ended: somebody who may ended it. What is left of the task is dead with it, and its end is written down later.
func (j *Judge) ended(e *remit.TaskEnded) string {
	t := j.tasks[e.Task]
	t.ended = true
	may := e.By == "" || j.admin(e.By) || e.Status != remit.TaskKilled && e.Status != remit.TaskCancelled
	j.up(t, func(t *task) {
		a := j.agents[t.Agent]
		may = may || e.By == t.Requester || e.By == a.Owner ||
			t.cut != 0 || t.entry < a.cut && e.By == a.cutBy || t.entry < j.cut[t.Requester] && e.By == j.cutBy[t.Requester] // who ended what it rests on
	})
	if !may {
		return "control: a task is ended by somebody who has no part in it"
	}
	return ""
}

func (j *Judge) started(n int, at int64, e *remit.InstanceStarted) string {
	if why := j.alive(e.Task, at); why != "" {
		return "R2: an instance starts although " + why
	}
	t := j.tasks[e.Task]
	if e.Agent != t.Agent {
		return "R4: an instance of one agent on the task of another"
	}
	if why := j.job(n, at, e); why != "" {
		return why
	}
	if e.Launcher != "" && e.Launcher != t.Requester && e.Launcher != j.agents[t.Agent].Owner {
		return "R2: a task is launched by somebody who has no part in it"
	}
	j.runs[e.ID], j.launched[e.ID] = *e, n
	if e.Launcher != "" {
		j.up(t, func(t *task) { t.causes[e.Launcher] = true })
	}
	return ""
}

// entitled is why a grant is wider than what its agent is entitled to; branches is the task on whose branches it works.
func (j *Judge) entitled(e *remit.TaskCreated, a *agent, branches remit.ID) string {
	for _, g := range e.Grant {
		for _, act := range g.Actions {
			for _, res := range g.Resources {
				if !slices.ContainsFunc(a.Entitlements, func(s remit.Scope) bool {
					own := []remit.Pattern{remit.Pattern("refs/heads/remit/" + string(branches) + "/**")}
					refs := slices.Clone(s.Refs)
					for i, r := range refs {
						refs[i] = remit.Pattern(strings.ReplaceAll(string(r), "{task}", string(branches)))
					}
					if len(refs) == 0 {
						refs = own
					}
					return slices.Contains(s.Actions, act) && inside(res, s.Resources) && allInside(g.Refs, refs) &&
						(len(s.Paths) == 0 || len(g.Paths) > 0 && allInside(g.Paths, s.Paths)) &&
						(s.MaxBytes == 0 || g.MaxBytes > 0 && g.MaxBytes <= s.MaxBytes) && (s.MaxCommits == 0 || g.MaxCommits > 0 && g.MaxCommits <= s.MaxCommits)
				}) {
					return fmt.Sprintf("R5: the grant %v is wider than the entitlement %v", g, a.Entitlements)
				}
			}
		}
	}
	return ""
}

// inside is containment of patterns, by looking at their segments.
func inside(p remit.Pattern, in []remit.Pattern) bool {
	return slices.ContainsFunc(in, func(q remit.Pattern) bool {
		ps, qs := strings.Split(string(p), "/"), strings.Split(string(q), "/")
		for i, seg := range qs {
			if seg == "**" && i == len(qs)-1 {
				return len(ps) > i
			}
			if i >= len(ps) || seg != ps[i] && (seg != "*" || ps[i] == "**") {
				return false
			}
		}
		return len(ps) == len(qs)
	})
}

func allInside(ps, in []remit.Pattern) bool {
	return !slices.ContainsFunc(ps, func(p remit.Pattern) bool { return !inside(p, in) })
}
