// Package authority is the pure state machine of Remit: State, Apply (what a fact means) and Decide (which facts a
// command makes true, or why not). Both are functions of their arguments: no clock, randomness, I/O, goroutines or map
// order. The rules that no policy can override are here; a policy's finding can only narrow them.
package authority

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// State is one organisation's authority after a prefix of its log. Only Apply changes it; everybody else reads.
type State struct {
	Org      remit.Org
	Origin   string
	Verifier string
	Profile  remit.Profile
	Rules    int
	Next     remit.EntryIndex // entries applied so far: the index of the next one
	Now      int64            // time of the last entry, Unix nanoseconds

	Policy        remit.Digest
	Policies      []remit.Digest // every one that was ever in force, oldest first
	PolicyChanges []Change
	Notify        remit.Digest     `json:",omitzero"` // commitment of who is told of what
	NotifyAt      remit.EntryIndex `json:",omitzero"` // that says so
	Set           remit.Digest     // of the declarations in force
	SetEntry      remit.EntryIndex // that put them in force

	People       map[remit.ID]*Person
	Groups       map[string]*Group
	Agents       map[string]*Agent
	Upstreams    map[string]*Upstream
	Repositories map[string]*Repository
	Environments map[string]*Environment
	Secrets      map[string]*Secret
	Boundaries   map[string]*Boundary
	Detections   map[string]*Detection
	Gone         map[string][]Change // changes of upstreams, repositories, environments and boundaries that were removed, by KIND/NAME

	Tasks     map[remit.ID]*Task
	LiveTasks map[remit.ID]bool // those of Tasks that have not ended
	Instances map[remit.ID]*Instance
	Accesses  map[remit.ID]*Access
	OpenHolds map[remit.ID]bool // those of Accesses that are neither used nor void
	Permits   map[remit.ID]*Permit
	PermitAge []remit.ID // permits in the order of their decisions
	Timers    Timers     // of live tasks and open access requests
	Loose     []remit.ID // sorted: tasks that wait for nothing any more, and those that ended before all that they have
	Attempts  map[remit.ID]*Attempt
	Pushes    map[remit.EntryIndex]Push

	Artifacts map[string]*Published       // by RESOURCE@DIGEST
	Releases  map[string][]Release        // by environment, in the order of their outcomes
	Reviews   map[string][]Review         // by repository
	Merged    map[string]remit.EntryIndex // UPSTREAM/PATH@COMMIT: what came to a default branch through Remit
	Leases    map[remit.ID]*Lease         // those that have not ended
	Contained map[string]Change           `json:",omitempty"` // upstreams at which nothing is done, with who said so
	Scans     map[string]*Scan            `json:",omitempty"` // the last look for authority outside Remit at each upstream
	Glasses   map[string]*Glass           `json:",omitempty"` // declared break-glass
	Opened    map[remit.ID]*Opened        `json:",omitempty"` // break-glass that was opened, reviewed or not
	Tools     map[string]*Tool            `json:",omitempty"` // by the name of the record, SERVER/TOOL or a pattern
	ToolZones map[string]remit.Zone       `json:",omitempty"` // the one of all tools of each server (R4d)
	Jobs      map[remit.Digest]int64      // tokens of CI jobs that have started an instance, until they expire
	JobAge    []remit.Digest              // the same in the order in which they expire

	Campaigns map[string]*Campaign `json:",omitempty"`
	Settings  *Settings            `json:",omitempty"` // of reviews; nil: nothing is reviewed but by campaigns
	Runs      map[remit.ID]*Run    `json:",omitempty"` // of campaigns, all that ever were
	Items     map[remit.ID]*Item   `json:",omitempty"` // of reviews, until they are forgotten
	OpenItems Line                 `json:",omitzero"`  // those of Items that have not ended
	ItemAge   []remit.ID           `json:",omitempty"` // those that have, in the order in which they did
	Cut       []remit.ID           `json:",omitempty"` // sorted: live tasks whose grant rests on what was taken away

	Kept    map[remit.Digest]Kept `json:",omitempty"` // answers, by the keyed digests of Idempotency-Keys, until they expire
	KeptAge []remit.Digest        `json:",omitempty"` // the same in the order in which they expire

	Activations map[string]*Activation `json:",omitempty"` // what must have been tried before a change of policy, or of declarations
	Tried       map[remit.Digest]Tried `json:",omitempty"` // the newest trials, by what was tried

	Fork     Fork                              // the last time that the log went on from a backup
	Erasures []remit.EntryIndex                // entries that say what was erased
	Erased   map[remit.Digest]remit.EntryIndex // payloads that are gone, by the entry that says so
	Findings map[string]LastFinding            // the last of each detection, by DETECTION/AGENT

	fresh []*Holding // what the set that is being applied has granted so far
}

// Change says who changed a thing, and in which entry. Whoever changed what a decision reads, after the work was
// requested, is in that decision's closure (R3).
type Change struct {
	By    remit.ID
	Entry remit.EntryIndex
}

// Person is a declared human.
type Person struct {
	ID      remit.ID
	Name    remit.Digest
	Keys    []remit.Key // declared and enrolled
	Killed  bool
	Removed bool
	Changes []Change
	Ended   Change // the last time that they were killed or removed: nothing of theirs from before comes back

	Identities []remit.Digest `json:",omitempty"` // commitments of who they are at OpenID providers
	Enrolled   []Enrolled     `json:",omitempty"` // of Keys, those that are not declared; oldest first
	Keyed      bool           `json:",omitempty"` // they have, or had, a key
	Lost       []remit.Digest `json:",omitempty"` // keys of theirs that were taken away
	Invite     *Invitation    `json:",omitempty"`
	Shown      []Shown        `json:",omitempty"` // groups at providers

	Tasks     Line // that they requested
	Instances Line // that they launched
	Holds     Line // that they asked for, or what they launched did
}

// Group is a declared set of people.
type Group struct {
	Members []remit.ID
	Changes []Change
	From    []remit.GroupSource `json:",omitempty"`
	Asks    remit.Asks          `json:",omitzero"`
	Asked   []int64             `json:",omitempty"` // when tasks asked it, within the time that Asks names; the oldest first
}

// Agent is a registered non-human identity.
type Agent struct {
	remit.AgentDeclared
	Status  remit.AgentStatus
	Owners  []Change // every owner, with the entry since which they own it
	Changes []Change
	LastUse int64
	Ended   Change // the last time that it, or its owner, was suspended or ended: no task from before comes back
	Tasks   Line

	Holds map[string]*Holding `json:",omitempty"` // by HoldingKey
	Seen  int64               `json:",omitempty"` // the last sign of life besides decisions: it was declared, resumed, or had a task made
	Idle  int64               `json:",omitempty"` // when it suspended or retired itself; 0: it did not
}

// Upstream is a declared place of repositories.
type Upstream struct {
	remit.UpstreamDeclared
	Changes []Change
}

// Repository is a declared repository.
type Repository struct {
	remit.RepositoryDeclared
	Changes []Change
}

// Environment is a declared deploy target.
type Environment struct {
	remit.EnvironmentDeclared
	Changes []Change
}

// Secret is a declared secret.
type Secret struct {
	remit.SecretDeclared
	Changes  []Change
	Version  int      // of the last value that was put; 0 for none ever
	Stored   bool     // that value is there
	StoredBy remit.ID // who put or removed it last
}

// Published is an artifact that a task published through Remit, with what it was built from.
type Published struct {
	remit.Artifact
	Task   remit.ID
	Agent  string
	Inputs []remit.Input
	Entry  remit.EntryIndex // of the outcome
	At     int64
}

// Release is one change of an environment that was carried out, whatever came of it.
type Release struct {
	remit.Deploy
	Task    remit.ID
	Access  remit.ID
	Attempt remit.ID
	Outcome remit.Outcome
	Entry   remit.EntryIndex // of the outcome
	At      int64
}

// Review is a verdict on a change.
type Review struct {
	Change   remit.Digest
	Head     string
	Agent    string
	Owner    remit.ID
	Launcher remit.ID
	Task     remit.ID
	Approve  bool
	Entry    remit.EntryIndex
}

// Lease is an upstream credential that has not ended.
type Lease struct {
	remit.LeaseOpened
	Status remit.LeaseStatus
	At     int64 // when it was written down
	Stated int64 // its end as the upstream stated it; 0: it stated none
	Ending int64 // when its end began, or its task's; debt counts from here
	Entry  remit.EntryIndex
	Tries  int
}

// Detection is what a detection may do by itself.
type Detection struct {
	remit.DetectionDeclared
	Changes []Change
}

// Fork is a log that went on from a backup of itself.
type Fork struct {
	Entry    remit.EntryIndex // that says so; 0: it never did
	Lost     uint64
	LostRoot remit.Digest
	Exposed  int64 // until then at most, credentials may live that were made since the backup
}

// LastFinding is what decides whether a finding is another one.
type LastFinding struct {
	Ends  remit.EntryIndex // that completed it
	Entry remit.EntryIndex // that records it
	At    int64
}

// Boundary is a declared narrowing.
type Boundary struct {
	remit.BoundaryDeclared
	Changes []Change
}

// Task is requested work with its grant.
type Task struct {
	*remit.TaskCreated // never changed, and shared by all copies of a state
	Entry              remit.EntryIndex
	Status             remit.TaskStatus
	Closure            []remit.ID     // sorted; grows, never shrinks
	Hosts              []remit.Digest // from which unconfined instances of it came
	// Ungoverned names the credentials that instances of it were handed past Remit; sorted.
	Ungoverned []string
	Used       Usage
	Taints     []string `json:",omitempty"` // labels of what came in with answers to it; sorted, they only grow

	Plan    *InForce         `json:",omitempty"`
	Planned []remit.PlanStep `json:",omitempty"` // steps of earlier plans that were used, with how often
	// Withdrawn are the access requests whose plans were taken back, in that order.
	Withdrawn []remit.ID `json:",omitempty"`

	// What it has that has not ended; sorted.
	Children, Instances, Holds, Leases []remit.ID

	Cut Change `json:",omitzero"` // what its grant rested on was taken away

	held *held // the last hold, while its command is applied
}

// Usage is what a task has used of its budget.
type Usage struct {
	Decisions int
	Bytes     int64
	// What came of it. Calls are the decisions on calls of tools among them.
	Denied, Held, Done, Failed, Calls int        `json:",omitempty"`
	LastFailure                       remit.Code `json:",omitempty"` // of the last attempt that failed; where it has none, its outcome
}

// Instance is a running copy of an agent. Ended instances leave the state.
type Instance struct {
	*remit.InstanceStarted
	Entry remit.EntryIndex
}

// Access is an access request and the approval that it becomes.
type Access struct {
	remit.AccessOpened
	Entry    remit.EntryIndex
	At       int64 // when it was made
	Status   remit.AccessStatus
	Why      remit.Code
	Votes    []Vote
	Seen     []Seen            `json:",omitempty"` // by people who may vote, in the order in which they looked
	Decision remit.EntryIndex  // the held decision, whose command is the work order
	Refs     []string          // sorted
	Steps    []remit.StepFacts // while it is open: what decides who caused it
	Agent    string
	Instance remit.ID
	Launcher remit.ID
	Confined remit.Confinement
	Outcome  remit.Outcome
	SelfAt   int64 // solo profile: when the requester's own vote begins to count
	// Artifacts are what an open request would deploy: who changed what they are judged by is in its closure.
	Artifacts []remit.Artifact
}

// Vote is a vote that was eligible when it was cast.
type Vote struct {
	Person    remit.ID
	Approve   bool
	Key       remit.Digest
	Assurance remit.Assurance
	Entry     remit.EntryIndex
	Signed    remit.SignedIn `json:",omitzero"`
}

// Permit is an allow that was not yet redeemed.
type Permit struct {
	Decision remit.EntryIndex
	Hash     remit.Digest
	NotAfter int64
	Instance remit.ID
	Launcher remit.ID
	Task     remit.ID
	Agent    string
	Executor string
	Access   remit.ID
	Steps    []remit.Step
	Bytes    int64
	Child    remit.ChildFacts // that it asks for
	// What the outcome makes true: the artifacts, the release, the verdict, and the commits that come to a default branch.
	Artifacts []remit.Artifact
	Deploy    remit.Deploy
	Review    string
	Change    remit.Digest // that the verdict is on
	Head      string       // of a change of refs, and of what is reviewed
	Merged    []string     // UPSTREAM/PATH@COMMIT
	Into      string       // UPSTREAM/PATH to whose default branch it merges
	// The plan that it files, or by which it passes; then also the rules that asked people for it, and the policy.
	Plan   remit.PlanFacts `json:",omitzero"`
	Rules  []string        `json:",omitempty"`
	Policy remit.Digest    `json:",omitzero"`
	// Rests are its steps with their refs: what its redemption uses of what the agent is entitled to.
	Rests []Rest `json:",omitempty"`
}

// Attempt is a redeemed permit without an outcome.
type Attempt struct {
	Permit
	ID       remit.ID
	Hash     remit.Digest
	NotAfter int64
	MadeTask remit.ID // the child task that it asked for
}

// Push says who pushed, for those who later push or merge the same commits.
type Push struct {
	Agent    string
	Task     remit.ID
	Launcher remit.ID
}

// New is the state before genesis.
func New() *State {
	return &State{
		People: map[remit.ID]*Person{}, Groups: map[string]*Group{}, Agents: map[string]*Agent{},
		Upstreams: map[string]*Upstream{}, Repositories: map[string]*Repository{},
		Environments: map[string]*Environment{}, Boundaries: map[string]*Boundary{}, Gone: map[string][]Change{},
		Tasks: map[remit.ID]*Task{}, LiveTasks: map[remit.ID]bool{}, Instances: map[remit.ID]*Instance{},
		Accesses: map[remit.ID]*Access{}, OpenHolds: map[remit.ID]bool{},
		Permits: map[remit.ID]*Permit{}, Attempts: map[remit.ID]*Attempt{}, Pushes: map[remit.EntryIndex]Push{},
		Secrets: map[string]*Secret{}, Artifacts: map[string]*Published{}, Releases: map[string][]Release{},
		Reviews: map[string][]Review{}, Merged: map[string]remit.EntryIndex{}, Leases: map[remit.ID]*Lease{},
		Jobs: map[remit.Digest]int64{}, Detections: map[string]*Detection{}, Findings: map[string]LastFinding{}, Erased: map[remit.Digest]remit.EntryIndex{},
	}
}

// Encode is the state as bytes: equal states, equal bytes. It is what replay is compared by.
func (s *State) Encode() []byte {
	b, err := json.Marshal(s)
	if err != nil {
		panic("authority: a state holds only what JSON can say: " + err.Error())
	}
	return b
}

// sorted gives the keys of m in order, so that nothing depends on map order.
func sorted[K interface{ ~string }, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

// add puts id into a sorted set.
func add(set []remit.ID, ids ...remit.ID) []remit.ID {
	for _, id := range ids {
		if id == "" {
			continue
		}
		if i, found := slices.BinarySearch(set, id); !found {
			set = slices.Insert(set, i, id)
		}
	}
	return set
}

// IsAdmin tells whether p is a living administrator.
func (s *State) IsAdmin(p remit.ID) bool {
	g := s.Groups[remit.Administrators]
	return g != nil && slices.Contains(g.Members, p) && s.personLive(p)
}

// personLive, agentLive and TaskLive are R2: expiry is arithmetic, parents first.
func (s *State) personLive(id remit.ID) bool {
	p := s.People[id]
	return p != nil && !p.Killed && !p.Removed
}

func (s *State) agentLive(name string, t int64) bool {
	a := s.Agents[name]
	return a != nil && a.Status == remit.AgentActive && !a.expired(t) && s.personLive(a.Owner)
}

// expired compares seconds, because a date far away does not fit into nanoseconds.
func (a *Agent) expired(t int64) bool { return a.Expires != 0 && t/1e9 >= a.Expires }

// TaskLive tells whether the grant of a task is alive at t: the task, its ancestors, its agent and the people behind
// them.
func (s *State) TaskLive(id remit.ID, t int64) bool {
	if !s.LiveTasks[id] {
		return false
	}
	status, _ := s.fate(s.Tasks[id], t)
	return status == ""
}

// lifeEnd is when the grant of a task ends by arithmetic: with the first of it, its ancestors and their agents.
func (s *State) lifeEnd(id remit.ID) int64 {
	end := int64(math.MaxInt64)
	for t := s.Tasks[id]; t != nil; t = s.Tasks[t.Parent] {
		end = min(end, t.Deadline)
		if a := s.Agents[t.Agent]; a != nil && a.Expires != 0 && a.Expires < math.MaxInt64/int64(time.Second) {
			end = min(end, a.Expires*1e9)
		}
	}
	return end
}

// permitLive tells whether what a permit rests on is alive at t: the grant, who launched it and, unless an executor
// holds it, the instance.
func (s *State) permitLive(p *Permit, t int64) bool {
	return s.TaskLive(p.Task, t) && s.launcherLive(p.Launcher) && (p.Executor != "" || s.InstanceLive(p.Instance, t))
}

// InstanceLive tells whether an instance may act at t.
func (s *State) InstanceLive(id remit.ID, t int64) bool {
	i := s.Instances[id]
	return i != nil && s.TaskLive(i.Task, t) && s.since(i.Launcher, i.Entry)
}

// launcherLive tells whether who launched an instance is alive. Nobody launched a CI job, nor what an executor asks in
// the name of no instance; Apply lets nothing else be without a launcher.
func (s *State) launcherLive(id remit.ID) bool { return id == "" || s.personLive(id) }

// InstancesOf lists the instances of a task, in order.
func (s *State) InstancesOf(task remit.ID) []remit.ID {
	if t := s.Tasks[task]; t != nil {
		return slices.Clone(t.Instances)
	}
	return nil
}

// HoldsOf lists the access requests of a task that are neither used nor void, in order.
func (s *State) HoldsOf(task remit.ID) []remit.ID {
	if t := s.Tasks[task]; t != nil {
		return slices.Clone(t.Holds)
	}
	return nil
}
