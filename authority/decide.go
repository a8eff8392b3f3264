package authority

import (
	"fmt"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/sshsig"
)

// Limits and defaults of the compiled rules.
const (
	TaskDefault  = 8 * time.Hour
	TaskLongest  = 24 * time.Hour
	HoldLongest  = 24 * time.Hour
	PermitLife   = time.Minute
	AttemptLife  = 15 * time.Minute
	SoloDelay    = 5 * time.Minute
	KeyDelay     = 24 * time.Hour
	MaxSteps     = 50
	MaxRefs      = 50
	MaxCommits   = 10_000 // new ones in one push
	MaxPushers   = 64
	MaxOrder     = 32 << 10
	MaxDecisions = 10_000 // of a task, unless its budget says less
	MaxHolds     = 3      // open at one time
	// MaxUngoverned is how many known credentials a person may hand to a command.
	MaxUngoverned = 32
	MaxBytes      = 4 << 30
)

// Decide says which events command c makes true in state s at time t, or why none. It changes nothing. Errors are
// *remit.Error for what is refused, and *Stale when a policy must first judge the facts. What a gateway asks is never
// an error: a refusal is a decision, and a decision is an event.
func Decide(s *State, t time.Time, c Command) ([]remit.Event, Result, error) {
	events, res, err := decide(s, max(t.UnixNano(), s.Now), c) // R8: time never runs backwards
	if err != nil {
		return nil, Result{}, err
	}
	if kind, n, large := tooLarge(events); large {
		return nil, Result{}, remit.Errorf(remit.TooLargeToJudge, "its %s takes %d bytes; an entry of the log holds at most %d, so ask for less at once", kind, n, maxEvent)
	}
	return events, res, nil
}

func decide(s *State, now int64, c Command) ([]remit.Event, Result, error) {
	if _, first := c.(*Init); !first && s.Org == "" {
		return nil, Result{}, remit.Errorf(remit.Internal, "the log has no genesis")
	}
	switch c := c.(type) {
	case *Init:
		return decideInit(s, c)
	case *ApplySet:
		return decideApply(s, now, c)
	case *CreateTask:
		return decideCreateTask(s, now, c)
	case *CreateChild:
		return decideCreateChild(s, now, c)
	case *StartJob:
		return decideStartJob(s, now, c)
	case *EndTask:
		return decideEndTask(s, now, c)
	case *DropHold:
		return decideDropHold(s, now, c)
	case *Kill:
		return decideKill(s, now, c)
	case *ChangeAgent:
		return decideChangeAgent(s, now, c)
	case *StartInstance:
		return decideStartInstance(s, now, c)
	case *EndInstance:
		return decideEndInstance(s, c)
	case *Authorize:
		return decideAuthorize(s, now, c)
	case *Redeem:
		return decideRedeem(s, now, c)
	case *Record:
		return decideRecord(s, now, c)
	case *OpenLease:
		return decideOpenLease(s, now, c)
	case *MoveLease:
		return decideMoveLease(s, now, c)
	case *AbandonLease:
		return decideAbandonLease(s, now, c)
	case *ContainUpstream:
		return decideContain(s, c)
	case *RecordScan:
		return decideScan(s, c)
	case *CastVote:
		return decideVote(s, now, c)
	case *OpenGlass:
		return decideOpenGlass(s, now, c)
	case *ReviewGlass:
		return decideReviewGlass(s, now, c)
	case *SeeAccess:
		return decideSee(s, now, c)
	case *StoreSecret:
		return decideStoreSecret(s, c)
	case *ConfirmKey:
		return decideConfirmKey(s, now, c)
	case *Invite:
		return decideInvite(s, now, c)
	case *WithdrawInvitation:
		return decideWithdraw(s, c)
	case *EnrolKey:
		return decideEnrol(s, now, c)
	case *RemoveKey:
		return decideRemoveKey(s, c)
	case *ShowGroups:
		return decideShowGroups(s, now, c)
	case *KeepAnswer:
		return decideKeep(s, now, c)
	case *CountDenials:
		if c.Entry >= s.Next || c.Count < 1 {
			return nil, Result{}, remit.Errorf(remit.BadRequest, "entry %d is not a denial that could be counted", c.Entry)
		}
		return []remit.Event{&remit.DenialRepeated{Entry: c.Entry, Count: c.Count}}, Result{}, nil
	case *ConfirmClock:
		if !s.IsAdmin(c.By) {
			return nil, Result{}, remit.Errorf(remit.Forbidden, "only an administrator confirms the clock")
		}
		return []remit.Event{&remit.ClockConfirmed{By: c.By}}, Result{}, nil
	case *ErasePayloads:
		return decideErase(s, now, c)
	case *Restore:
		return decideRestore(s, now, c)
	case *FillLost:
		return decideFillLost(s), Result{}, nil
	case *RecordFinding:
		return decideFinding(s, now, c)
	case *RecordTrial:
		return decideTrial(s, now, c)
	case *Tick:
		return decideTick(s, now), Result{}, nil
	case *StepReviews:
		return stepReviews(s, now, c.Seed, reviewsAtOnce), Result{}, nil
	case *OpenRun:
		return decideOpenRun(s, now, c)
	case *Answers:
		return decideAnswers(s, now, c)
	case *Regrant:
		return decideRegrant(s, now, c)
	case *ReviveAgent:
		return decideRevive(s, now, c)
	}
	return nil, Result{}, remit.Errorf(remit.Internal, "command %T is not known", c)
}

// newID is the id of what the n-th event of a command creates.
func newID(s *State, letter string, n int) remit.ID {
	return remit.ID(fmt.Sprintf("%s-%d", letter, s.Next+remit.EntryIndex(n)))
}

func decideInit(s *State, c *Init) ([]remit.Event, Result, error) {
	if s.Next != 0 {
		return nil, Result{}, remit.Errorf(remit.Conflict, "the log already has a genesis, of organisation %s", s.Org)
	}
	if c.Org == "" || c.Origin == "" || len(c.Admins) == 0 || c.Policy.IsZero() {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "genesis names an organisation, an origin, a policy and at least one administrator")
	}
	if c.Profile != remit.Team && c.Profile != remit.Solo && c.Profile != remit.Demo {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "profile %q is not one of team, solo, demo", c.Profile)
	}
	gen := &remit.Genesis{Org: c.Org, Origin: c.Origin, Verifier: c.Verifier, Profile: c.Profile}
	events := []remit.Event{gen, &remit.RulesActivated{Version: remit.Rules, OPA: c.OPA}}
	taken := map[string]bool{}
	for _, p := range c.Admins {
		if p.ID == "" || len(p.Keys) == 0 || slices.Contains(gen.Admins, p.ID) {
			return nil, Result{}, remit.Errorf(remit.BadRequest, "each of the first administrators is one person and has a key")
		}
		for _, k := range p.Keys {
			if _, err := sshsig.ParseKey(k.Public); err != nil {
				return nil, Result{}, remit.Errorf(remit.BadRequest, "an administrator's key: %w", err)
			}
			if taken[string(k.Public)] {
				return nil, Result{}, remit.Errorf(remit.BadRequest, "a key stands twice; one person is one record")
			}
			taken[string(k.Public)] = true
		}
		gen.Admins = add(gen.Admins, p.ID)
		p.Keys = slices.Clone(p.Keys)
		for i := range p.Keys {
			p.Keys[i] = remit.Key{Public: p.Keys[i].Public, Since: remit.EntryIndex(len(events)), Confirmed: true}
		}
		events = append(events, &p)
	}
	events = append(events, &remit.GroupDeclared{Name: remit.Administrators, Members: gen.Admins},
		&remit.PolicyInstalled{Bundle: c.Policy})
	return events, Result{}, nil
}

func decideCreateTask(s *State, now int64, c *CreateTask) ([]remit.Event, Result, error) {
	fail := func(code remit.Code, format string, args ...any) ([]remit.Event, Result, error) {
		return nil, Result{}, remit.Errorf(code, format, args...)
	}
	if !s.personLive(c.By) {
		return fail(remit.UnknownPrincipal, "a task is requested by a declared person")
	}
	a := s.Agents[c.Agent]
	if a == nil {
		return fail(remit.UnknownPrincipal, "no agent %q is declared; `remit agent list` shows those that are", c.Agent)
	}
	if !s.agentLive(c.Agent, now) {
		return fail(remit.NotLive, "agent %s is %s, expired, or its owner has left", c.Agent, a.Status)
	}
	if !s.mayRequest(c.By, a, now) {
		return fail(remit.Forbidden, "you are neither the owner of agent %s nor in one of the groups that may request its tasks %v", c.Agent, a.Requesters)
	}
	life := time.Duration(c.For)
	if life == 0 {
		life = TaskDefault
	}
	if life < time.Second || life > TaskLongest {
		return fail(remit.BadRequest, "a task lasts between 1s and %s, not %s", TaskLongest, life)
	}
	b := c.Budget
	if b.Decisions < 0 || b.Holds < 0 || b.Bytes < 0 || b.Decisions > MaxDecisions || b.Holds > MaxHolds || b.Bytes > MaxBytes {
		return fail(remit.BadRequest, "a budget is at most %d decisions, %d open holds and %d bytes", MaxDecisions, MaxHolds, int64(MaxBytes))
	}
	if err := checkEnvelope(c.Envelope); err != nil {
		return nil, Result{}, err
	}
	for i, sc := range c.Scope {
		if err := checkScope(sc); err != nil {
			return fail(remit.BadRequest, "scope[%d]: %w", i, err)
		}
	}
	id := newID(s, "T", 0)
	grant, err := intersect(c.Scope, a.Entitlements, id)
	if err != nil {
		return nil, Result{}, err
	}
	if len(grant) == 0 {
		return fail(remit.OutOfScope, "nothing that was asked for is in the entitlements of agent %s", c.Agent)
	}
	if err := s.checkBoundary(a.Function, grant); err != nil {
		return nil, Result{}, err
	}
	env := c.Envelope
	env.Refs = substitute(env.Refs, id)
	e := &remit.TaskCreated{ID: id, Requester: c.By, Agent: c.Agent, Intent: c.Intent, Grant: grant, Envelope: env,
		Deadline: now + int64(life), Budget: b}
	return []remit.Event{e}, Result{ID: id}, nil
}

// mayRequest tells whether p may request tasks of a: an authority apart from executing them.
func (s *State) mayRequest(p remit.ID, a *Agent, now int64) bool {
	return a.Owner == p || slices.ContainsFunc(a.Requesters, func(g string) bool { return s.InGroup(g, p, now) })
}

// mayEnd tells whether p may end a task: who requested it, who owns its agent, an administrator.
func (s *State) mayEnd(p remit.ID, task *Task) bool {
	return s.personLive(p) && (p == task.Requester || p == s.Agents[task.Agent].Owner) || s.IsAdmin(p)
}

func decideEndTask(s *State, now int64, c *EndTask) ([]remit.Event, Result, error) {
	task := s.Tasks[c.Task]
	if task == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "there is no task %s", c.Task)
	}
	status := task.Status
	if s.LiveTasks[c.Task] {
		status, _ = s.fate(task, now)
	}
	if status != "" && status != remit.TaskExpired || !s.LiveTasks[c.Task] {
		return nil, Result{}, remit.Errorf(remit.NotLive, "task %s has already ended: %s", c.Task, status)
	}
	if c.Status != remit.TaskCompleted && c.Status != remit.TaskCancelled {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "a task is completed or cancelled, not %q", c.Status)
	}
	own := c.By == "" && c.Status == remit.TaskCompleted && s.InstanceLive(c.Instance, now) && s.Instances[c.Instance].Task == c.Task
	// The instance that asked for a child task may call it off.
	asked := c.By == "" && c.Status == remit.TaskCancelled && task.By != "" && c.Instance == task.By && s.InstanceLive(c.Instance, now)
	if !own && !asked && !s.mayEnd(c.By, task) {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "task %s is ended by its requester, its agent's owner or an administrator", c.Task)
	}
	if holds := task.Holds; len(holds) > 0 && !c.DropHolds && c.Status == remit.TaskCompleted {
		return nil, Result{}, remit.Errorf(remit.Conflict, "task %s has open holds %v; wait for them, or end it with --drop-holds", c.Task, holds)
	}
	if kids := task.Children; len(kids) > 0 && !c.DropHolds && c.Status == remit.TaskCompleted {
		return nil, Result{}, remit.Errorf(remit.Conflict, "task %s has live child tasks %v; wait for them, or end it and them with --drop-holds", c.Task, kids)
	}
	end := s.ending(c.By)
	end.task(c.Task, c.Status)
	return end.events, Result{ID: c.Task}, nil
}

func decideKill(s *State, now int64, c *Kill) ([]remit.Event, Result, error) {
	end := s.ending(c.By)
	switch c.What {
	case "task":
		task := s.Tasks[c.ID]
		if task == nil {
			return nil, Result{}, remit.Errorf(remit.NotFound, "there is no task %s", c.ID)
		}
		if !s.mayEnd(c.By, task) {
			return nil, Result{}, remit.Errorf(remit.Forbidden, "task %s is killed by its requester, its agent's owner or an administrator", c.ID)
		}
		if s.LiveTasks[c.ID] {
			end.task(c.ID, remit.TaskKilled)
		}
	case "agent":
		a := s.Agents[string(c.ID)]
		if a == nil {
			return nil, Result{}, remit.Errorf(remit.NotFound, "there is no agent %s", c.ID)
		}
		if !s.governs(c.By, a) {
			return nil, Result{}, remit.Errorf(remit.Forbidden, "agent %s is killed by its owner or an administrator", c.ID)
		}
		if a.Status == remit.AgentActive || a.Status == remit.AgentSuspended && a.Idle != 0 { // that it suspended itself, its owner undoes alone
			end.events = append(end.events, &remit.AgentChanged{Agent: a.Name, Status: remit.AgentSuspended, By: c.By})
		}
		end.agent(a.Name)
	case "person":
		p := s.People[c.ID]
		if p == nil {
			return nil, Result{}, remit.Errorf(remit.NotFound, "there is no such person")
		}
		if !s.IsAdmin(c.By) && c.By != c.ID {
			return nil, Result{}, remit.Errorf(remit.Forbidden, "a person's authority is killed by an administrator or by themselves")
		}
		if s.lastAdmin(c.ID) {
			return nil, Result{}, remit.Errorf(remit.Conflict, "this is the last administrator; nobody could undo it")
		}
		if !p.Killed {
			end.events = append(end.events, &remit.PersonKilled{Person: c.ID, By: c.By})
		}
		end.person(c.ID)
	case "plan":
		if err := end.plan(now, c); err != nil {
			return nil, Result{}, err
		}
	default:
		return nil, Result{}, remit.Errorf(remit.BadRequest, "kill ends a task, an agent or a person, or withdraws a plan, not %q", c.What)
	}
	return end.events, Result{ID: c.ID}, nil
}

// governs tells whether p may suspend, resume, retire and kill an agent.
func (s *State) governs(p remit.ID, a *Agent) bool {
	return s.IsAdmin(p) || a.Owner == p && s.personLive(p)
}

func (s *State) lastAdmin(p remit.ID) bool {
	if !s.IsAdmin(p) {
		return false
	}
	return s.otherAdmins(p) == 0
}

func (s *State) otherAdmins(p remit.ID) int {
	n := 0
	for _, m := range s.Groups[remit.Administrators].Members {
		if m != p && s.personLive(m) {
			n++
		}
	}
	return n
}

func decideChangeAgent(s *State, now int64, c *ChangeAgent) ([]remit.Event, Result, error) {
	a := s.Agents[c.Agent]
	if a == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "there is no agent %s", c.Agent)
	}
	if !s.governs(c.By, a) {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "agent %s is suspended, resumed and retired by its owner or an administrator", c.Agent)
	}
	switch {
	case a.Status == remit.AgentRetired:
		return nil, Result{}, remit.Errorf(remit.Conflict, "agent %s is retired, for good; register a new one", c.Agent)
	case c.To == a.Status && a.Idle == 0:
		return nil, Result{}, remit.Errorf(remit.Conflict, "agent %s is already %s", c.Agent, a.Status)
	case c.To == remit.AgentActive && !s.personLive(a.Owner):
		return nil, Result{}, remit.Errorf(remit.Conflict, "the owner of agent %s has left; declare another one first", c.Agent)
	case c.To == remit.AgentActive && a.expired(now):
		return nil, Result{}, remit.Errorf(remit.Conflict, "agent %s has expired; declare a later date first", c.Agent)
	case c.To != remit.AgentActive && c.To != remit.AgentSuspended && c.To != remit.AgentRetired:
		return nil, Result{}, remit.Errorf(remit.BadRequest, "an agent is active, suspended or retired, not %q", c.To)
	}
	end := s.ending(c.By)
	end.events = []remit.Event{&remit.AgentChanged{Agent: c.Agent, Status: c.To, By: c.By}}
	if c.To != remit.AgentActive {
		end.agent(c.Agent)
	}
	return end.events, Result{}, nil
}

func decideStartInstance(s *State, now int64, c *StartInstance) ([]remit.Event, Result, error) {
	task := s.Tasks[c.Task]
	if task == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "there is no task %s", c.Task)
	}
	if !s.TaskLive(c.Task, now) {
		return nil, Result{}, remit.Errorf(remit.NotLive, "task %s has ended, or its agent or its people have: %s", c.Task, task.Status)
	}
	if !s.personLive(c.By) || c.By != task.Requester && c.By != s.Agents[task.Agent].Owner {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "task %s is launched by its requester or its agent's owner", c.Task)
	}
	if task.Status == remit.TaskWaiting && c.By != task.Requester {
		return nil, Result{}, remit.Errorf(remit.Forbidden, "task %s waits for a hold; only its requester starts an instance on it", c.Task)
	}
	if !c.Confinement.Valid() || c.Secret.IsZero() {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "an instance names its confinement and the hash of its secret")
	}
	if len(c.Ungoverned) > MaxUngoverned || slices.ContainsFunc(c.Ungoverned, func(n string) bool { return !plain(n, 64) }) {
		return nil, Result{}, remit.Errorf(remit.BadRequest, "at most %d variables of at most 64 bytes are handed to a command", MaxUngoverned)
	}
	id := newID(s, "I", 0)
	return []remit.Event{&remit.InstanceStarted{ID: id, Task: c.Task, Agent: task.Agent, Launcher: c.By,
		Confinement: c.Confinement, Secret: c.Secret, Host: c.Host, Ungoverned: c.Ungoverned}}, Result{ID: id}, nil
}

func decideEndInstance(s *State, c *EndInstance) ([]remit.Event, Result, error) {
	if s.Instances[c.Instance] == nil {
		return nil, Result{}, remit.Errorf(remit.NotFound, "there is no instance %s, or it has ended", c.Instance)
	}
	return []remit.Event{&remit.InstanceEnded{Instance: c.Instance, Lost: c.Lost}}, Result{}, nil
}
