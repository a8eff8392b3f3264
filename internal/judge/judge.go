// Package judge reads a log and says where it breaks the rules: whoever wrote the log, and without the code that did.
// It keeps a model of its own, as small as the rules allow, and shares nothing with the packages that decide; so a fault
// there is not a fault here as well.
package judge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// Violation is an entry that stands in no log of those who keep the rules.
type Violation struct {
	Entry remit.EntryIndex
	Kind  string // of the event
	Rule  string // R1 to R11, log for the order of entries, control for Remit's own steps
	Text  string
}

func (v Violation) String() string {
	return fmt.Sprintf("entry %d, %s: %s: %s", v.Entry, v.Kind, v.Rule, v.Text)
}

// Judge knows what the log has said so far.
type Judge struct {
	next     remit.EntryIndex
	now      int64
	profile  remit.Profile
	policy   remit.Digest
	ids      map[remit.ID]bool // that were ever given
	dead     map[remit.ID]bool // people who were killed or removed
	cut      map[remit.ID]int  // the entry by which they were, the last time
	cutBy    map[remit.ID]remit.ID
	killed   map[remit.ID]bool // those of them who do not come back
	forked   int               // the entry by which the log went on from a backup, the last time
	keys     map[remit.ID][]remit.Key
	groups   map[string][]remit.ID
	agents   map[string]*agent
	repos    map[string]remit.RepositoryDeclared
	envs     map[string]remit.EnvironmentDeclared
	tasks    map[remit.ID]*task
	runs     map[remit.ID]remit.InstanceStarted
	launched map[remit.ID]int // the entries of runs
	access   map[remit.ID]*access
	permits  map[remit.ID]*permit
	tries    map[remit.ID]*permit
	pushes   map[remit.EntryIndex]push
	denials  map[remit.EntryIndex]bool
	changed  map[string][]change // by KIND/NAME: who changed it, and when
	zones    map[string]map[remit.Zone]bool
	chain    chain
	secrets  map[string]remit.SecretDeclared
	tools    map[string]remit.ToolDeclared
	rules    int
	born     map[remit.ID]bool // attempts that made a child task
	tokens   map[remit.Digest]int64
	answers  map[remit.Digest]int64 // until when a key has one
	control  control
	people   people
	at       int64          // of the entry that is read
	last     *remit.Decided // nothing but the end of other holds lies between it and here
	limits   map[string]remit.Asks
	askedAt  map[string][]int64
	glasses  map[string]remit.BreakGlassDeclared
	broke    map[remit.ID]*glass
	set      *set // of declarations that nobody has closed yet
	reviews  reviews
}

type (
	change struct {
		by remit.ID
		at int
	}
	agent struct {
		remit.AgentDeclared
		status remit.AgentStatus
		owners []change
		cut    int // the entry that ended it, or its owner, the last time
		cutBy  remit.ID
		seen   int64 // its last sign of life
		idle   int64 // when it suspended or retired itself
	}
	task struct {
		remit.TaskCreated
		entry   int
		ended   bool
		causes  map[remit.ID]bool // a lower bound of its closure
		claimed map[remit.ID]bool // the closure as the log has stated it so far
		holds   int               // that are open
		bytes   int64
		taints  map[string]bool
		plan    planned
		gone    []remit.ID // plans of it that were withdrawn
		cut     int        // the entry that took away what its grant rests on
	}
	access struct {
		remit.AccessOpened
		entry    int
		at       int64
		votes    []remit.VoteCast
		votedAt  []int64
		seen     []remit.ID
		status   remit.AccessStatus
		uses     int
		launcher remit.ID
		agent    string
		steps    []remit.StepFacts
	}
	permit struct {
		remit.Decided
		launcher remit.ID
		redeemed bool
	}
	push struct {
		agent    string
		launcher remit.ID
	}
	// set is what was so before the first of some declarations: they are put in force together.
	set struct {
		admins []remit.ID
		met    map[remit.ID]bool
	}
)

// New has read nothing yet.
func New() *Judge {
	return &Judge{limits: map[string]remit.Asks{}, askedAt: map[string][]int64{}, glasses: map[string]remit.BreakGlassDeclared{}, broke: map[remit.ID]*glass{}, ids: map[remit.ID]bool{}, dead: map[remit.ID]bool{}, cut: map[remit.ID]int{}, cutBy: map[remit.ID]remit.ID{}, killed: map[remit.ID]bool{}, keys: map[remit.ID][]remit.Key{}, groups: map[string][]remit.ID{}, agents: map[string]*agent{},
		repos: map[string]remit.RepositoryDeclared{}, envs: map[string]remit.EnvironmentDeclared{}, tasks: map[remit.ID]*task{},
		runs: map[remit.ID]remit.InstanceStarted{}, launched: map[remit.ID]int{}, access: map[remit.ID]*access{}, permits: map[remit.ID]*permit{}, tries: map[remit.ID]*permit{},
		pushes: map[remit.EntryIndex]push{}, denials: map[remit.EntryIndex]bool{}, changed: map[string][]change{}, zones: map[string]map[remit.Zone]bool{}, chain: newChain(),
		secrets: map[string]remit.SecretDeclared{}, tools: map[string]remit.ToolDeclared{}, born: map[remit.ID]bool{}, tokens: map[remit.Digest]int64{}, answers: map[remit.Digest]int64{},
		reviews: newReviews(), people: newPeople(), control: control{erased: map[remit.Digest]bool{}, detects: map[string]bool{}, contained: map[string]bool{}, tried: map[remit.Digest]bool{}, trials: map[string]bool{}, wanted: map[string]bool{}}}
}

// Log judges a whole log. The error is for a log that cannot be read.
func Log(ctx context.Context, s ledger.Store) ([]Violation, error) {
	j := New()
	var found []Violation
	for e, err := range s.Read(ctx, 0) {
		if err != nil {
			return found, err
		}
		l, err := ledger.Decode(e.Leaf)
		var unknown *ledger.UnknownKindError
		switch {
		case errors.As(err, &unknown):
			found = append(found, Violation{e.Index, unknown.Kind, "log", "nobody knows what such an entry means"})
			j.next++
			continue
		case err != nil:
			return found, fmt.Errorf("entry %d: %w", e.Index, err)
		}
		if v := j.Read(e.Index, l.At, l.Event); v != nil {
			found = append(found, *v)
		}
	}
	return found, nil
}

// Read gives the first thing that is wrong with the next entry, nil for nothing.
func (j *Judge) Read(n remit.EntryIndex, at time.Time, event remit.Event) *Violation {
	t := at.UnixNano()
	j.at = t
	wrong := j.order(n, t, event)
	if wrong == "" {
		wrong = j.refers(event)
	}
	if wrong == "" {
		wrong = j.read(int(n), t, event)
	}
	j.next, j.now = n+1, max(j.now, t)
	if wrong == "" {
		return nil
	}
	rule, text, _ := strings.Cut(wrong, ": ")
	return &Violation{n, event.Kind(), rule, text}
}

// order is what holds of entries whatever they say.
func (j *Judge) order(n remit.EntryIndex, at int64, event remit.Event) string {
	_, genesis := event.(*remit.Genesis)
	switch {
	case n != j.next:
		return fmt.Sprintf("log: entry %d follows on entry %d", n, int64(j.next)-1)
	case at < j.now:
		return "R8: time goes back"
	case genesis != (n == 0):
		return "log: a log has one genesis, which is its first entry"
	}
	switch e := event.(type) {
	case *remit.TaskCreated:
		return j.once(e.ID)
	case *remit.InstanceStarted:
		return j.once(e.ID)
	case *remit.AccessOpened:
		return j.once(e.ID)
	case *remit.Redeemed:
		return j.once(e.ID)
	case *remit.LeaseOpened:
		return j.once(e.ID)
	case *remit.BreakGlassOpened:
		return j.once(e.ID)
	case *remit.Decided:
		if e.Verdict == remit.Allow && !e.Advice {
			return j.once(e.Permit)
		}
	}
	return ""
}

// once: an id means one thing, for ever.
func (j *Judge) once(id remit.ID) string {
	if id == "" || j.ids[id] {
		return fmt.Sprintf("log: the id %q is given a second time, or is none", id)
	}
	j.ids[id] = true
	return ""
}

// refers: what an entry speaks of was made by an entry before it.
func (j *Judge) refers(event remit.Event) string {
	missing := func(what string, id any) string { return fmt.Sprintf("log: there is no %s %v", what, id) }
	task := func(id remit.ID) bool { return j.tasks[id] != nil }
	switch e := event.(type) {
	case *remit.KeyConfirmed:
		if j.keys[e.Person] == nil {
			return missing("person", e.Person)
		}
	case *remit.PersonKilled:
		if j.keys[e.Person] == nil {
			return missing("person", e.Person)
		}
	case *remit.Removed:
		if e.What == "agent" && j.agents[e.Name] == nil {
			return missing("agent", e.Name)
		}
	case *remit.TaskCreated:
		if j.agents[e.Agent] == nil {
			return missing("agent", e.Agent)
		}
		if e.Parent != "" && !task(e.Parent) {
			return missing("task", e.Parent)
		}
	case *remit.TaskEnded:
		if !task(e.Task) || j.tasks[e.Task].ended {
			return missing("live task", e.Task)
		}
	case *remit.AgentChanged:
		if j.agents[e.Agent] == nil {
			return missing("agent", e.Agent)
		}
	case *remit.InstanceStarted:
		if !task(e.Task) {
			return missing("task", e.Task)
		}
	case *remit.InstanceEnded:
		if _, runs := j.runs[e.Instance]; !runs {
			return missing("running instance", e.Instance)
		}
	case *remit.Decided:
		switch {
		case e.Verdict == remit.Deny:
		case !task(e.Task):
			return missing("task", e.Task)
		case e.Verdict == remit.Allow && e.Access != "" && j.access[e.Access] == nil:
			return missing("access request", e.Access)
		}
	case *remit.DenialRepeated:
		if !j.denials[e.Entry] || e.Count < 1 {
			return missing("denial", e.Entry)
		}
	case *remit.AccessOpened:
		if e.Task != "" && !task(e.Task) {
			return missing("task", e.Task)
		}
		if e.Replaces != "" && j.access[e.Replaces] == nil {
			return missing("access request", e.Replaces)
		}
	case *remit.VoteCast:
		if j.access[e.Access] == nil {
			return missing("access request", e.Access)
		}
	case *remit.AccessMoved:
		if j.access[e.Access] == nil {
			return missing("access request", e.Access)
		}
	}
	return ""
}

// read gives what is wrong with the n-th entry; empty: nothing.
func (j *Judge) read(n int, at int64, event remit.Event) string {
	if wrong := j.declaring(event); wrong != "" {
		return wrong
	}
	j.follow(event)
	last := j.last
	switch event.(type) {
	case *remit.Decided, *remit.AccessOpened, *remit.AccessMoved:
	default:
		j.last = nil
	}
	if wrong := j.chainRead(n, at, event); wrong != "" {
		return wrong
	}
	if wrong, is := j.broken(n, at, event); is {
		return wrong
	}
	j.signs(n, at, event)
	if wrong, is := j.certifies(n, at, event); is || wrong != "" {
		return wrong
	}
	switch e := event.(type) {
	case *remit.Genesis:
		j.profile = e.Profile
	case *remit.RulesActivated:
		j.rules = e.Version
	case *remit.UpstreamDeclared, *remit.BoundaryDeclared, *remit.SecretStored, *remit.DenialRepeated, *remit.LeaseOpened, *remit.LeaseMoved:
	case *remit.PersonDeclared, *remit.KeyConfirmed, *remit.PersonKilled, *remit.GroupDeclared, *remit.RepositoryDeclared, *remit.EnvironmentDeclared,
		*remit.SecretDeclared, *remit.ToolDeclared, *remit.PolicyInstalled, *remit.AgentDeclared, *remit.DetectionDeclared, *remit.ActivationDeclared, *remit.NotifyDeclared, *remit.AgentChanged, *remit.Removed:
		return j.declared(n, event)
	case *remit.PersonInvited, *remit.InvitationWithdrawn, *remit.KeyEnrolled, *remit.KeyAdmitted, *remit.KeyRemoved, *remit.GroupsShown:
		return j.person(n, at, event)
	case *remit.ClockConfirmed:
		if !j.admin(e.By) {
			return "control: the clock is confirmed by somebody who is no administrator"
		}
	case *remit.TaskCreated:
		if e.Parent != "" {
			return j.child(n, at, e)
		}
		return j.created(n, at, e)
	case *remit.TaskEnded:
		return j.ended(e)
	case *remit.InstanceStarted:
		return j.started(n, at, e)
	case *remit.InstanceEnded:
		delete(j.runs, e.Instance)
	case *remit.Decided:
		j.last = e
		return j.decided(n, at, e)
	case *remit.AccessOpened:
		return j.opened(n, at, e, last)
	case *remit.VoteCast:
		return j.voted(at, e)
	case *remit.PlanWithdrawn:
		return j.withdrawn(at, e)
	case *remit.AccessSeen:
		return j.seen(at, e)
	case *remit.AnswerKept:
		return j.kept(at, e)
	case *remit.AccessMoved:
		return j.moved(at, e)
	case *remit.Applied:
		return j.applied(at, e)
	case *remit.Redeemed:
		if p := j.permits[e.Permit]; p != nil {
			j.used(n, p.Task, p.Steps, p.Child.Function)
		}
		return j.redeemed(at, e)
	case *remit.Recorded:
		return j.recorded(at, e)
	default:
		return j.others(n, event)
	}
	return ""
}

// admin tells whether somebody may take control steps now.
func (j *Judge) admin(p remit.ID) bool {
	return slices.Contains(j.groups[remit.Administrators], p) && !j.dead[p]
}
