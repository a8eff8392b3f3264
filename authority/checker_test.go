package authority_test

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// checker reads a log, entry by entry, and says what no rule-abiding log says. It knows the events and what the rules
// promise, and shares no code with Decide and Apply.
type checker struct {
	profile remit.Profile
	dead    map[remit.ID]bool // people who were killed or removed
	keys    map[remit.ID][]remit.Key
	groups  map[string][]remit.ID
	agents  map[string]*cAgent
	repos   map[string]remit.RepositoryDeclared
	envs    map[string]remit.EnvironmentDeclared
	tasks   map[remit.ID]*cTask
	runs    map[remit.ID]remit.InstanceStarted
	access  map[remit.ID]*cAccess
	permits map[remit.ID]*cPermit
	tries   map[remit.ID]*cPermit
	pushes  map[remit.EntryIndex]cPush
	changed map[string][]cChange // by KIND/NAME: who changed it, and when
	zones   map[string]map[remit.Zone]bool
	chain   chain
	secrets map[string]remit.SecretDeclared
	born    map[remit.ID]bool // attempts that made a child task
	tokens  map[remit.Digest]int64
}

type (
	cChange struct {
		by remit.ID
		at int
	}
	cAgent struct {
		remit.AgentDeclared
		status remit.AgentStatus
		owners []cChange
	}
	cTask struct {
		remit.TaskCreated
		entry   int
		ended   bool
		causes  map[remit.ID]bool // a lower bound of its closure
		claimed map[remit.ID]bool // the closure as the log has stated it so far
	}
	cAccess struct {
		remit.AccessOpened
		entry    int
		at       int64
		votes    []remit.VoteCast
		votedAt  []int64
		open     bool
		uses     int
		launcher remit.ID
		agent    string
		steps    []remit.StepFacts
	}
	cPermit struct {
		remit.Decided
		launcher remit.ID
		redeemed bool
	}
	cPush struct {
		agent    string
		launcher remit.ID
	}
)

func newChecker() *checker {
	return &checker{dead: map[remit.ID]bool{}, keys: map[remit.ID][]remit.Key{}, groups: map[string][]remit.ID{}, agents: map[string]*cAgent{},
		repos: map[string]remit.RepositoryDeclared{}, envs: map[string]remit.EnvironmentDeclared{}, tasks: map[remit.ID]*cTask{},
		runs: map[remit.ID]remit.InstanceStarted{}, access: map[remit.ID]*cAccess{}, permits: map[remit.ID]*cPermit{}, tries: map[remit.ID]*cPermit{},
		pushes: map[remit.EntryIndex]cPush{}, changed: map[string][]cChange{}, zones: map[string]map[remit.Zone]bool{}, chain: newChain(),
		secrets: map[string]remit.SecretDeclared{}, born: map[remit.ID]bool{}, tokens: map[remit.Digest]int64{}}
}

// read gives what is wrong with the n-th entry; empty: nothing.
func (c *checker) read(n int, at int64, event remit.Event) string {
	note := func(what string, by remit.ID) { c.changed[what] = append(c.changed[what], cChange{by, n}) }
	if wrong := c.chainRead(n, at, event); wrong != "" {
		return wrong
	}
	switch e := event.(type) {
	case *remit.Genesis:
		c.profile = e.Profile
	case *remit.PersonDeclared:
		c.keys[e.ID] = e.Keys
		note("person/"+string(e.ID), e.By)
	case *remit.PersonKilled:
		c.dead[e.Person] = true
		note("person/"+string(e.Person), e.By)
	case *remit.GroupDeclared:
		c.groups[e.Name] = e.Members
		note("group/"+e.Name, e.By)
	case *remit.RepositoryDeclared:
		c.repos[e.Name] = *e
		note("repo/"+e.Name, e.By)
	case *remit.EnvironmentDeclared:
		c.envs[e.Name] = *e
		note("environment/"+e.Name, e.By)
	case *remit.SecretDeclared:
		c.secrets[e.Name] = *e
		note("secret/"+e.Name, e.By)
	case *remit.PolicyInstalled:
		note("policy", e.By)
	case *remit.AgentDeclared:
		a := c.agents[e.Name]
		if a == nil {
			a = &cAgent{status: remit.AgentActive}
			c.agents[e.Name] = a
		} else if a.Function != e.Function {
			return "the function of an agent changed"
		}
		a.AgentDeclared = *e
		a.owners = append(a.owners, cChange{e.Owner, n})
		note("agent/"+e.Name, e.By)
	case *remit.AgentChanged:
		c.agents[e.Agent].status = e.Status
		note("agent/"+e.Agent, e.By)
	case *remit.Removed:
		switch e.What {
		case "person":
			c.dead[remit.ID(e.Name)] = true
		case "agent":
			c.agents[e.Name].status = remit.AgentRetired
		case "group":
			c.groups[e.Name] = nil
		case "secret":
			delete(c.secrets, e.Name)
		}
		note(e.What+"/"+e.Name, e.By)
	case *remit.TaskCreated:
		if e.Parent != "" {
			return c.child(n, at, e)
		}
		return c.created(n, at, e)
	case *remit.TaskEnded:
		c.tasks[e.Task].ended = true
		for _, t := range c.tasks {
			if t.Parent == e.Task && !t.ended {
				return "a child outlives its parent"
			}
		}
	case *remit.InstanceStarted:
		if why := c.alive(e.Task, at); why != "" {
			return "an instance starts although " + why
		}
		if why := c.job(n, at, e); why != "" {
			return why
		}
		c.runs[e.ID] = *e
		if e.Launcher != "" {
			c.up(c.tasks[e.Task], func(t *cTask) { t.causes[e.Launcher] = true })
		}
	case *remit.InstanceEnded:
		delete(c.runs, e.Instance)
	case *remit.Decided:
		return c.decided(n, at, e)
	case *remit.AccessOpened:
		return c.opened(n, at, e)
	case *remit.VoteCast:
		a := c.access[e.Access]
		if !a.open || c.dead[e.Person] || at >= a.NotAfter {
			return "a vote on what is not open, or by somebody who left"
		}
		if !c.member(e.Person, a.Needs) {
			return "a vote by somebody who was not asked"
		}
		if (slices.Contains(a.Closure, e.Person) || c.causes(a, e.Person)) && e.Assurance != remit.AssuranceSelf && e.Approve {
			return "somebody in the closure approves"
		}
		if e.Assurance == remit.AssuranceSelf && (c.profile != remit.Solo || a.Zone == remit.ZoneProduction || a.Zone == remit.ZoneControl) {
			return "an assurance self where there is none"
		}
		if a.Task != "" && e.Person == c.tasks[a.Task].Requester && e.Assurance != remit.AssuranceSelf {
			return "the requester votes"
		}
		if !slices.ContainsFunc(c.keys[e.Person], func(k remit.Key) bool { return remit.Hash(k.Public) == e.Key && int(k.Since) < a.entry }) {
			return "a vote by a key that was not in force before the request"
		}
		a.votes, a.votedAt = append(a.votes, *e), append(a.votedAt, at)
	case *remit.AccessMoved:
		a := c.access[e.Access]
		a.open = e.To == remit.AccessOpen
		if e.Needs != nil {
			a.Needs = e.Needs
		}
		if e.To == remit.AccessMet && !c.met(a, at, a.Needs) {
			return "a quorum is met that is not"
		}
	case *remit.Applied:
		if a := c.access[e.Access]; a != nil {
			if a.uses++; a.uses > 1 || a.By != e.By || at >= a.NotAfter {
				return "an approval of declarations is used twice, by another or too late"
			}
		}
	case *remit.Redeemed:
		return c.redeemed(at, e)
	case *remit.Recorded:
		p := c.tries[e.Attempt]
		if p == nil {
			return "an outcome of no attempt"
		}
		delete(c.tries, e.Attempt)
		if a := c.access[p.Access]; a != nil && e.Outcome == remit.NotApplied && e.Code != remit.Stale {
			a.uses--
		}
	}
	return ""
}

// alive is why a task's authority has ended; empty: it has not.
func (c *checker) alive(task remit.ID, at int64) string {
	t := c.tasks[task]
	if t == nil {
		return "there is no such task"
	}
	a := c.agents[t.Agent]
	switch {
	case t.ended, at >= t.Deadline:
		return "the task has ended"
	case a.status != remit.AgentActive, a.Expires != 0 && at >= a.Expires*1e9:
		return "its agent has ended"
	case c.dead[a.Owner], c.dead[t.Requester]:
		return "a person behind it has ended"
	case t.Parent != "":
		return c.alive(t.Parent, at)
	}
	return ""
}

func (c *checker) created(n int, at int64, e *remit.TaskCreated) string {
	a := c.agents[e.Agent]
	may := a.Owner == e.Requester
	for _, g := range a.Requesters {
		may = may || slices.Contains(c.groups[g], e.Requester)
	}
	if !may || c.dead[e.Requester] || c.dead[a.Owner] || a.status != remit.AgentActive {
		return "a task that its requester may not request"
	}
	if why := c.entitled(e, a, e.ID); why != "" {
		return why
	}
	c.tasks[e.ID] = &cTask{TaskCreated: *e, entry: n, causes: map[remit.ID]bool{e.Requester: true, a.Owner: true}, claimed: map[remit.ID]bool{}}
	return ""
}

// entitled is why a grant is wider than what its agent is entitled to; branches is the task on whose branches it works.
func (c *checker) entitled(e *remit.TaskCreated, a *cAgent, branches remit.ID) string {
	for _, g := range e.Grant {
		for _, act := range g.Actions {
			for _, res := range g.Resources {
				if !slices.ContainsFunc(a.Entitlements, func(s remit.Scope) bool {
					own := []remit.Pattern{remit.Pattern("refs/heads/remit/" + string(branches) + "/**")}
					refs := s.Refs
					if len(refs) == 0 {
						refs = own
					}
					return slices.Contains(s.Actions, act) && inside(res, s.Resources) && allInside(g.Refs, refs) &&
						(len(s.Paths) == 0 || len(g.Paths) > 0 && allInside(g.Paths, s.Paths)) &&
						(s.MaxBytes == 0 || g.MaxBytes > 0 && g.MaxBytes <= s.MaxBytes) && (s.MaxCommits == 0 || g.MaxCommits > 0 && g.MaxCommits <= s.MaxCommits)
				}) {
					return fmt.Sprintf("the grant %v is wider than the entitlement %v", g, a.Entitlements)
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

func zoneOfStep(s remit.Step) (remit.Zone, remit.Impact) {
	for _, l := range remit.Catalogue() {
		if l.Action == s.Action {
			return l.Stage.Zone(), l.Impact
		}
	}
	return remit.ZoneProduction, remit.Privileged
}

func (c *checker) decided(n int, at int64, e *remit.Decided) string {
	if e.Verdict == remit.Deny {
		c.learn(e)
		return ""
	}
	t := c.tasks[e.Task]
	if why := c.alive(e.Task, at); why != "" {
		return fmt.Sprintf("%s although %s", e.Verdict, why)
	}
	agent, launcher := e.Agent, remit.ID("")
	if e.Executor != "" {
		var why string
		if agent, launcher, why = c.executor(e, t); why != "" {
			return why
		}
	} else {
		i, runs := c.runs[e.Instance]
		if !runs || i.Task != e.Task || i.Agent != e.Agent || c.dead[i.Launcher] {
			return "an instance acts that does not run"
		}
		launcher = i.Launcher
	}
	if agent != t.Agent {
		return "an agent acts for the task of another"
	}
	c.learn(e)
	for _, f := range e.Steps {
		if why := c.step(e, t, agent, f); why != "" {
			return why
		}
	}
	if e.Verdict == remit.Hold {
		if launcher != "" {
			t.causes[launcher] = true
		}
		return ""
	}
	if e.Executor != "" && e.Access == "" {
		return "an executor gets a permit that no approval gave"
	}
	if e.Access != "" {
		a := c.access[e.Access]
		if a.Effect != e.Effect || at >= a.NotAfter {
			return "a claim of another effect, or too late" // the votes are counted when it is redeemed
		}
	}
	c.permits[e.Permit] = &cPermit{Decided: *e, launcher: launcher}
	if slices.ContainsFunc(e.Steps, func(f remit.StepFacts) bool {
		return f.Step.Action == "source.push" || f.Step.Action == "source.merge"
	}) {
		c.pushes[remit.EntryIndex(n)] = cPush{agent, launcher}
	}
	return ""
}

// learn adds to a task's closure what a decision states.
func (c *checker) learn(e *remit.Decided) {
	c.up(c.tasks[e.Task], func(t *cTask) {
		for _, p := range e.Closure {
			t.claimed[p] = true
		}
	})
}

func (c *checker) step(e *remit.Decided, t *cTask, agent string, f remit.StepFacts) string {
	zone, impact := c.zoneOf(f.Step)
	if f.Step.Action == "task.request" || f.Step.Action == "task.delegate" {
		return c.asks(e, t, f)
	}
	if f.Step.Effect {
		if zone == remit.ZoneProduction && e.Verdict == remit.Allow {
			return c.production(e, f)
		}
		return ""
	}
	if !slices.ContainsFunc(t.Grant, func(g remit.Scope) bool {
		return slices.Contains(g.Actions, f.Step.Action) && inside(remit.Pattern(f.Step.Resource), g.Resources) &&
			(f.Ref == "" || inside(remit.Pattern(f.Ref), g.Refs) && (g.MaxBytes == 0 || e.Bytes <= g.MaxBytes) && (g.MaxCommits == 0 || f.Commits <= g.MaxCommits))
	}) || f.OutsideScope {
		return fmt.Sprintf("%s of %v on %q outside of the grant %v", e.Verdict, f.Step, f.Ref, t.Grant)
	}
	if impact != remit.Read && zone != remit.ZoneNone {
		if c.zones[agent] == nil {
			c.zones[agent] = map[remit.Zone]bool{}
		}
		if c.zones[agent][zone] = true; len(c.zones[agent]) > 1 {
			return "an agent spans two zones"
		}
	}
	if zone == remit.ZoneControl {
		return "an agent takes a control step"
	}
	if f.Step.Action == "artifact.publish" && len(c.builtFor(t.Inputs, f.Step.Resource)) > 0 {
		impact = remit.Write
	}
	if e.Verdict == remit.Allow && e.Access == "" && (impact == remit.Privileged || len(f.Protected) > 0 || f.OutsideEnvelope) {
		return "a sensitive step passes without people"
	}
	if e.Verdict == remit.Allow && f.Step.Action == "deploy.promote" {
		if why := c.production(e, f); why != "" {
			return why
		}
	}
	if len(f.Findings) > 0 {
		return "what a gateway found fault with passes"
	}
	if f.Step.Action == "source.merge" {
		for _, p := range f.Pushers {
			if by := c.pushes[p]; by.agent == agent || by.launcher == c.agents[agent].Owner {
				return "an author merges"
			}
		}
	}
	if f.Ref != "" {
		for _, eff := range c.repos[f.Step.Resource.Name()].Effects {
			if inside(remit.Pattern(f.Ref), []remit.Pattern{eff.Refs}) && !slices.ContainsFunc(e.Steps, func(o remit.StepFacts) bool {
				return o.Step.Effect && o.Ref == f.Ref && o.Step.Action == eff.Causes && o.Step.Resource == eff.On
			}) {
				return "an effect is left out"
			}
		}
	}
	return ""
}

// production: no effect in zone P passes without the votes of its environment.
func (c *checker) production(e *remit.Decided, f remit.StepFacts) string {
	a := c.access[e.Access]
	if a == nil || e.Executor == "" {
		return "an effect in production passes without an approval"
	}
	env := c.envs[f.Step.Resource.Name()]
	for _, need := range env.Approvers {
		n := 0
		for _, v := range a.votes {
			if v.Approve && slices.Contains(c.groups[need.Group], v.Person) && (v.Assurance == remit.AssuranceTouch || c.profile == remit.Demo) {
				n++
			}
		}
		if n < need.N {
			return "an effect in production passes without the votes of its environment"
		}
	}
	return ""
}

func (c *checker) opened(n int, at int64, e *remit.AccessOpened) string {
	a := &cAccess{AccessOpened: *e, entry: n, at: at, open: true}
	c.access[e.ID] = a
	if e.Task == "" {
		if !slices.Contains(e.Closure, e.By) {
			return "who asks is not in the closure"
		}
		return ""
	}
	t := c.tasks[e.Task]
	a.agent = t.Agent
	lacks := ""
	c.up(t, func(t *cTask) {
		for p := range t.causes {
			if !slices.Contains(e.Closure, p) {
				lacks = fmt.Sprintf("the closure %v lacks %s, who caused it", e.Closure, p)
			}
		}
		for p := range t.claimed {
			if !slices.Contains(e.Closure, p) {
				lacks = "the closure shrinks"
			}
		}
	})
	if lacks != "" {
		return lacks
	}
	for _, p := range e.Closure {
		t.claimed[p] = true
	}
	if e.NotAfter > t.Deadline {
		return "a hold outlives its task"
	}
	if old := c.access[e.Replaces]; e.Carried {
		if old.Change != e.Change || old.Task != e.Task || e.Zone == remit.ZoneProduction {
			return "votes are carried to something else"
		}
		a.votes, a.votedAt = slices.Clone(old.votes), slices.Clone(old.votedAt)
	}
	return ""
}

// hold is told of the decision that an access request rests on; it follows in the same command.
func (c *checker) hold(e *remit.Decided, id remit.ID) {
	if a := c.access[id]; a != nil && e != nil {
		a.launcher, a.steps = c.runs[e.Instance].Launcher, e.Steps
		c.chain.held[id] = *e
	}
}

func (c *checker) member(p remit.ID, needs []remit.Need) bool {
	return slices.ContainsFunc(needs, func(n remit.Need) bool { return slices.Contains(c.groups[n.Group], p) })
}

// met tries every way to seat those who may sit.
func (c *checker) met(a *cAccess, at int64, needs []remit.Need) bool {
	var sit []remit.ID
	for i, v := range a.votes {
		own := slices.Contains(a.Closure, v.Person) || c.causes(a, v.Person)
		self := v.Assurance == remit.AssuranceSelf && at >= a.votedAt[i]+5*60e9
		hard := v.Assurance == remit.AssuranceTouch || a.Zone != remit.ZoneProduction || c.profile == remit.Demo
		key := slices.ContainsFunc(c.keys[v.Person], func(k remit.Key) bool { return remit.Hash(k.Public) == v.Key })
		if v.Approve && !c.dead[v.Person] && key && hard && (!own || self) && (own || v.Assurance != remit.AssuranceSelf) && !slices.Contains(sit, v.Person) {
			sit = append(sit, v.Person)
		}
	}
	var seats []string
	for _, n := range needs {
		for range n.N {
			seats = append(seats, n.Group)
		}
	}
	var try func(seats []string, left []remit.ID) bool
	try = func(seats []string, left []remit.ID) bool {
		if len(seats) == 0 {
			return true
		}
		for i, p := range left {
			if slices.Contains(c.groups[seats[0]], p) && try(seats[1:], slices.Delete(slices.Clone(left), i, i+1)) {
				return true
			}
		}
		return false
	}
	return len(seats) > 0 && try(seats, sit)
}

func (c *checker) redeemed(at int64, e *remit.Redeemed) string {
	p := c.permits[e.Permit]
	switch {
	case p == nil:
		return "a permit is redeemed that no decision gave"
	case p.redeemed:
		return "a permit is redeemed twice"
	case at >= p.NotAfter:
		return "a permit is redeemed after its time"
	}
	p.redeemed = true
	c.tries[e.ID] = p
	if why := c.alive(p.Task, at); why != "" {
		return "a permit is redeemed although " + why
	}
	if _, runs := c.runs[p.Instance]; c.dead[p.launcher] || p.Executor == "" && !runs {
		return "a permit is redeemed although its instance or who launched it has ended"
	}
	if e.NotAfter > c.tasks[p.Task].Deadline {
		return "an attempt outlives its task"
	}
	if a := c.access[p.Access]; p.Executor != "" {
		if a.uses++; a.uses > 1 {
			return "an approval is used twice"
		}
		if !c.met(a, at, a.Needs) {
			return "an approval is used whose votes no longer stand"
		}
	}
	return ""
}
