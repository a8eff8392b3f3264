package authority

import (
	"maps"
	"slices"

	"github.com/remit-dev/remit"
)

// Supposed is a state in which agents run on tasks that nobody asked for, and in which artifacts, merges, reviews and
// releases may be that never were: it is asked what they could do. It answers by the very functions that decide, and
// nothing of it comes into the state that it was made of. It knows of no task, request, attempt or budget of that: what
// is under way stops nobody for long.
type Supposed struct {
	s    *State
	now  int64
	next remit.EntryIndex
}

// Suppose makes one of a state at a moment, Unix nanoseconds. It shares what is declared with s, which must not be
// changed while it is used.
func Suppose(s *State, now int64) *Supposed {
	c := *s
	c.Tasks, c.LiveTasks, c.Instances = map[remit.ID]*Task{}, map[remit.ID]bool{}, map[remit.ID]*Instance{}
	c.Accesses, c.OpenHolds, c.Permits, c.PermitAge = map[remit.ID]*Access{}, map[remit.ID]bool{}, map[remit.ID]*Permit{}, nil
	c.Attempts, c.Pushes, c.Opened, c.Leases = map[remit.ID]*Attempt{}, map[remit.EntryIndex]Push{}, map[remit.ID]*Opened{}, map[remit.ID]*Lease{}
	c.Artifacts, c.Merged = map[string]*Published{}, map[string]remit.EntryIndex{}
	c.Reviews, c.Releases = map[string][]Review{}, map[string][]Release{}
	c.Groups = make(map[string]*Group, len(s.Groups))
	for _, name := range sorted(s.Groups) {
		unasked := *s.Groups[name]
		unasked.Asked = nil
		c.Groups[name] = &unasked
	}
	c.Agents = maps.Clone(s.Agents)
	return &Supposed{s: &c, now: now, next: s.Next}
}

// Declare supposes an agent that is not declared, by the boundaries of those that are.
func (x *Supposed) Declare(a remit.AgentDeclared) error {
	if x.s.Agents[a.Name] != nil {
		return remit.Errorf(remit.Conflict, "agent %s is declared", a.Name)
	}
	if err := x.s.checkBoundary(a.Function, a.Entitlements); err != nil {
		return err
	}
	x.s.Agents[a.Name] = &Agent{AgentDeclared: a, Status: remit.AgentActive, Owners: []Change{{a.Owner, x.s.Next}}}
	return nil
}

// id is a name that nothing has.
func (x *Supposed) id(letter string) remit.ID {
	x.next++
	return newID(x.s, letter, int(x.next-x.s.Next))
}

// Errand is what a supposed task is for. The zero value is a task that the agent's owner asked for.
type Errand struct {
	Taints []string     // labels of what came in with answers to it; sorted
	Parent remit.Caller // who asked for it, of another supposed task
	Inputs []remit.Input
	Deploy remit.Deploy // that it is for
	By     remit.ID     // who asked for it and launches it; empty: the owner
}

// Run supposes an instance of an agent on the widest task that there could be: with all that the agent is entitled to, for
// as long as a task lasts, launched by who asked for it. An agent that is not alive, or entitled to nothing, runs on none.
func (x *Supposed) Run(agent string, o Errand) (remit.Caller, error) {
	a := x.s.Agents[agent]
	if a == nil || !x.s.agentLive(agent, x.now) {
		return remit.Caller{}, remit.Errorf(remit.NotLive, "agent %s is not declared, is suspended or retired, has expired, or its owner has left", agent)
	}
	e := &remit.TaskCreated{ID: x.id("T"), Requester: a.Owner, Agent: agent, Deadline: x.now + int64(TaskLongest), Inputs: o.Inputs, Deploy: o.Deploy}
	if o.By != "" {
		e.Requester = o.By
	}
	t := &Task{TaskCreated: e, Entry: x.s.Next, Status: remit.TaskOpen, Taints: o.Taints}
	launcher := e.Requester
	if p := x.s.Tasks[o.Parent.Task]; p != nil {
		e.Parent, e.By, e.Requester = p.ID, o.Parent.Instance, p.Requester
		t.Taints = union(p.Taints, o.Taints)
		launcher = p.Requester
	}
	var err error
	if e.Grant, err = intersect(nil, a.Entitlements, e.ID); err != nil {
		return remit.Caller{}, err
	}
	if len(e.Grant) == 0 {
		return remit.Caller{}, remit.Errorf(remit.OutOfScope, "agent %s is entitled to nothing, so there is no task of it", agent)
	}
	t.Closure = add(t.Closure, e.Requester, a.Owner, launcher)
	i := &remit.InstanceStarted{ID: x.id("I"), Task: e.ID, Agent: agent, Launcher: launcher, Confinement: remit.ConfineSandbox}
	x.s.Tasks[e.ID], x.s.LiveTasks[e.ID], x.s.Instances[i.ID] = t, true, &Instance{i, x.s.Next}
	return remit.Caller{Instance: i.ID, Agent: agent, Task: e.ID}, nil
}

// End takes a supposed instance and its task away again.
func (x *Supposed) End(c remit.Caller) {
	delete(x.s.Tasks, c.Task)
	delete(x.s.LiveTasks, c.Task)
	delete(x.s.Instances, c.Instance)
}

// Push supposes a push by an instance, and gives the entry that it would have.
func (x *Supposed) Push(c remit.Caller) remit.EntryIndex {
	x.next++
	x.s.Pushes[x.next] = Push{Agent: c.Agent, Task: c.Task, Launcher: x.s.Instances[c.Instance].Launcher}
	return x.next
}

// Publish supposes that an artifact was published, built from inputs.
func (x *Supposed) Publish(a remit.Artifact, inputs ...remit.Input) {
	x.s.Artifacts[a.String()] = &Published{Artifact: a, Inputs: inputs, Entry: x.s.Next, At: x.now}
}

// Merge supposes that a commit came to the default branch of a repository.
func (x *Supposed) Merge(in remit.Input) {
	x.s.Merged[in.Resource.Name()+"@"+in.ID] = x.s.Next
}

// Release supposes a release of an environment that was done.
func (x *Supposed) Release(d remit.Deploy) remit.EntryIndex {
	x.next++
	x.s.Releases[d.Environment] = append(x.s.Releases[d.Environment], Release{Deploy: d, Outcome: remit.Done, Entry: x.next, At: x.now})
	return x.next
}

// Review supposes that an instance approved of what a request would merge.
func (x *Supposed) Review(c remit.Caller, merge remit.Request) {
	name := merge.Steps[0].Resource.Name()
	x.s.Reviews[name] = append(x.s.Reviews[name], Review{Change: x.s.reviewed(merge), Head: merge.Refs[0].New, Agent: c.Agent, Owner: x.s.Agents[c.Agent].Owner,
		Launcher: x.s.Instances[c.Instance].Launcher, Task: c.Task, Approve: true, Entry: x.s.Next})
}

// Forget takes back the reviews, artifacts, merges and releases that were supposed.
func (x *Supposed) Forget() {
	clear(x.s.Reviews)
	clear(x.s.Artifacts)
	clear(x.s.Merged)
	clear(x.s.Releases)
}

// Open supposes that by opened a break-glass for the task of an instance. It says why they could not.
func (x *Supposed) Open(name string, c remit.Caller, by remit.ID) error {
	g, task := x.s.Glasses[name], x.s.Tasks[c.Task]
	if g == nil || task == nil {
		return remit.Errorf(remit.NotFound, "no break-glass %q is declared, or there is no task", name)
	}
	if !slices.Contains(x.Openers(name, c), by) {
		return remit.Errorf(remit.Forbidden, "break-glass %s is opened by members of %v, where somebody else can review it", name, g.Who)
	}
	e := &remit.BreakGlassOpened{ID: x.id("G"), Name: name, Task: c.Task, By: by, Until: x.s.lifeEnd(c.Task)}
	return x.s.applyGlass(x.s.Next, x.now, e)
}

// Close takes back all break-glass that was supposed.
func (x *Supposed) Close() { clear(x.s.Opened) }

// Openers are the people who could open a break-glass for the task of an instance, sorted: each with a key that proves a
// touch, as decideOpenGlass asks, and with somebody else who could review it.
func (x *Supposed) Openers(name string, c remit.Caller) []remit.ID {
	g, task := x.s.Glasses[name], x.s.Tasks[c.Task]
	if g == nil || task == nil {
		return nil
	}
	closure, _ := x.s.closure(task, nil, nil)
	own := electorate{s: x.s, zone: remit.ZoneProduction, made: x.s.Next, madeAt: x.now, now: x.now}
	var may []remit.ID
	for _, w := range g.Who {
		for _, p := range x.s.everyone(x.s.Groups[w]) {
			if x.s.personLive(p) && (own.bestKey(p) == remit.AssuranceTouch || x.s.Profile == remit.Demo && own.bestKey(p) != "") && x.s.reviewable(g, closure, p, x.now) {
				may = add(may, p)
			}
		}
	}
	return may
}

// Answer is what would come of a request.
type Answer struct {
	remit.Decision
	Zone    remit.Zone        // the strictest of its steps, where people are asked
	Needs   []remit.Need      // of a hold
	Voters  [][]remit.ID      // for each of Needs, who could vote in it; sorted
	Closure []remit.ID        // of a hold
	Self    bool              // profile solo: who asked may vote, after a delay
	Stood   []remit.Stood     // evidence that stands in for people
	Steps   []remit.StepFacts // with what they set off
	Glass   remit.ID          // the break-glass under which it passes
}

// Ask says what would be decided on a request of a supposed instance, with judge as the policy.
func (x *Supposed) Ask(r remit.Request, judge func(Facts) Finding) Answer {
	events, res, err := x.s.authorize(x.now, &Authorize{Request: r}, func(f Facts) (*Judged, error) {
		return &Judged{finding: judge(f)}, nil // nobody compares it, so it needs no digest
	})
	if err != nil {
		return Answer{Decision: remit.Decision{Verdict: remit.Deny, Code: remit.Internal, Sentence: err.Error()}}
	}
	return x.answer(events, res)
}

// answer reads what the events of a decision say.
func (x *Supposed) answer(events []remit.Event, res Result) Answer {
	a := Answer{Decision: res.Decision}
	for _, e := range events {
		switch e := e.(type) {
		case *remit.Decided:
			a.Steps, a.Stood, a.Glass = e.Steps, e.Stood, e.Glass
		case *remit.AccessOpened:
			el := electorate{s: x.s, closure: e.Closure, needs: e.Needs, zone: e.Zone, made: x.s.Next, madeAt: x.now, now: x.now, lapsed: true}
			a.Zone, a.Needs, a.Closure, a.Self = e.Zone, e.Needs, e.Closure, el.soloMay()
			may, _ := el.eligible()
			for _, n := range e.Needs {
				a.Voters = append(a.Voters, slices.DeleteFunc(slices.Clone(may), func(p remit.ID) bool { return !el.in(n.Group, p) }))
			}
		}
	}
	return a
}

// MayAsk tells why a person may not ask for a task of an agent; nil: they may, and launch it.
func (x *Supposed) MayAsk(by remit.ID, agent string) error {
	_, _, err := decideCreateTask(x.s, x.now, &CreateTask{By: by, Agent: agent, Intent: remit.Hash([]byte("supposed"))})
	return err
}

// Widen says what would come of declarations of a person that widen authority.
func (x *Supposed) Widen(by remit.ID) Answer {
	switch {
	case !x.s.IsAdmin(by):
		return Answer{Decision: remit.Decision{Verdict: remit.Deny, Code: remit.Forbidden, Sentence: "declarations are applied by administrators"}}
	case x.s.otherAdmins(by) == 0:
		return Answer{Decision: remit.Decision{Verdict: remit.Allow}}
	}
	events, res, err := x.s.holdControl(x.now, control{by: by, code: remit.ControlWidens, why: "it widens authority"}, Result{})
	if err != nil {
		return Answer{Decision: remit.Decision{Verdict: remit.Deny, Code: remit.NoApprover, Sentence: err.Error()}}
	}
	return x.answer(events, res)
}

// Incoming are the labels of what comes in with the answers to steps, sorted.
func (x *Supposed) Incoming(steps []remit.Step) []string {
	if x.s.Rules < 2 {
		return nil
	}
	return x.s.incoming(steps)
}

// State is what is supposed, for those who read what is declared. It is not changed by them.
func (x *Supposed) State() *State { return x.s }
