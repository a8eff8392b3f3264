package authority

import (
	"fmt"
	"slices"

	"github.com/remit-dev/remit"
)

// Apply makes the next entry's event true. An error means that the log is not one that these rules could have written:
// the fold stops there.
func Apply(s *State, at int64, e remit.Event) error {
	n := s.Next
	if at < s.Now {
		return fmt.Errorf("entry %d: its time lies before that of the entry before", n)
	}
	if _, first := e.(*remit.Genesis); first != (n == 0) {
		return fmt.Errorf("entry %d: a log begins with its one genesis", n)
	}
	if err := s.apply(n, at, e); err != nil {
		return fmt.Errorf("entry %d, %s: %w", n, e.Kind(), err)
	}
	s.prune(at)
	s.Next, s.Now = n+1, at
	return nil
}

func (s *State) apply(n remit.EntryIndex, at int64, e remit.Event) error {
	switch e := e.(type) {
	case *remit.Genesis:
		s.Org, s.Origin, s.Verifier, s.Profile = e.Org, e.Origin, e.Verifier, e.Profile
	case *remit.RulesActivated:
		if e.Version > remit.Rules {
			return fmt.Errorf("rules version %d is newer than this release knows (%d); use the release that wrote the log", e.Version, remit.Rules)
		}
		s.Rules = e.Version
	case *remit.PersonDeclared:
		p := s.People[e.ID]
		if p == nil {
			p = &Person{ID: e.ID}
			s.People[e.ID] = p
		}
		p.applyDeclared(e)
		p.Removed = false
		p.Changes = append(p.Changes, Change{e.By, n})
	case *remit.KeyConfirmed:
		p := s.People[e.Person]
		if p == nil {
			return fmt.Errorf("unknown person %s", e.Person)
		}
		for i := range p.Keys {
			if remit.Hash(p.Keys[i].Public) == e.Key {
				p.Keys[i].Confirmed, p.Keys[i].Since = true, n // in force from here on
			}
		}
	case *remit.PersonInvited, *remit.InvitationWithdrawn, *remit.KeyEnrolled, *remit.KeyAdmitted, *remit.KeyRemoved, *remit.GroupsShown:
		return s.applyPerson(n, at, e)
	case *remit.GroupDeclared:
		g := s.Groups[e.Name]
		if g == nil {
			g = &Group{}
			s.Groups[e.Name] = g
		}
		g.Members, g.From = slices.Clone(e.Members), slices.Clone(e.From)
		if g.Asks = e.Asks; g.Asks.Most == 0 {
			g.Asked = nil
		}
		g.Changes = append(g.Changes, Change{e.By, n})
	case *remit.AgentDeclared:
		s.applyAgent(n, at, e)
	case *remit.CampaignDeclared, *remit.ReviewsDeclared, *remit.CampaignOpened, *remit.CampaignClosed, *remit.ReviewOpened, *remit.ReviewReminded,
		*remit.ReviewAnswered, *remit.ReviewRemoved, *remit.ReviewVoid, *remit.ReviewRegranted:
		return s.applyReviews(n, at, e)
	case *remit.UpstreamContained:
		return s.applyContained(n, at, e)
	case *remit.UpstreamScanned:
		return s.applyScanned(n, at, e)
	case *remit.UpstreamDeclared:
		old := s.Gone["upstream/"+e.Name]
		if u := s.Upstreams[e.Name]; u != nil {
			old = u.Changes
		}
		s.Upstreams[e.Name] = &Upstream{*e, append(old, Change{e.By, n})}
	case *remit.RepositoryDeclared:
		old := s.Gone["repository/"+e.Name]
		if r := s.Repositories[e.Name]; r != nil {
			old = r.Changes
		}
		s.Repositories[e.Name] = &Repository{*e, append(old, Change{e.By, n})}
	case *remit.EnvironmentDeclared:
		old := s.Gone["environment/"+e.Name]
		if v := s.Environments[e.Name]; v != nil {
			old = v.Changes
		}
		s.Environments[e.Name] = &Environment{*e, append(old, Change{e.By, n})}
	case *remit.SecretDeclared:
		x := s.Secrets[e.Name]
		if x == nil {
			x = &Secret{Changes: s.Gone["secret/"+e.Name]}
			s.Secrets[e.Name] = x
		}
		x.SecretDeclared, x.Changes = *e, append(x.Changes, Change{e.By, n})
	case *remit.SecretStored:
		x := s.Secrets[e.Name]
		if x == nil {
			return fmt.Errorf("unknown secret %s", e.Name)
		}
		x.Version, x.Stored, x.StoredBy = e.Version, !e.Removed, e.By
		x.Changes = append(x.Changes, Change{e.By, n})
	case *remit.ToolDeclared:
		s.applyTool(n, e)
	case *remit.BoundaryDeclared:
		old := s.Gone["boundary/"+e.Name]
		if b := s.Boundaries[e.Name]; b != nil {
			old = b.Changes
		}
		s.Boundaries[e.Name] = &Boundary{*e, append(old, Change{e.By, n})}
	case *remit.LogForked:
		if e.Size != uint64(n) || e.Lost < e.Size {
			return fmt.Errorf("the log goes on from %d entries of %d, and this is entry %d", e.Size, e.Lost, n)
		}
		s.Fork = Fork{Entry: n, Lost: e.Lost, LostRoot: e.LostRoot, Exposed: e.Exposed}
	case *remit.EntryLost:
		if n >= s.lostTo() {
			return fmt.Errorf("no entry was lost here")
		}
	case *remit.PayloadsErased:
		for _, d := range e.Payloads {
			if at, gone := s.Erased[d]; gone {
				return fmt.Errorf("entry %d erased payload %s", at, d)
			}
			s.Erased[d] = n
		}
		s.Erasures = append(s.Erasures, n)
		if a := s.Accesses[e.Access]; a != nil && s.OpenHolds[e.Access] {
			s.moveAccess(a, remit.AccessUsed, "")
		}
	case *remit.DetectionDeclared:
		old := s.Gone["detection/"+e.Name]
		if d := s.Detections[e.Name]; d != nil {
			old = d.Changes
		}
		s.Detections[e.Name] = &Detection{*e, append(old, Change{e.By, n})}
	case *remit.BreakGlassDeclared, *remit.BreakGlassOpened, *remit.BreakGlassReviewed:
		return s.applyGlass(n, at, e)
	case *remit.Found:
		if len(e.Entries) == 0 {
			return fmt.Errorf("a finding in no entry")
		}
		s.Findings[e.Detection+"/"+e.Agent] = LastFinding{Ends: e.Entries[len(e.Entries)-1], Entry: n, At: at}
	case *remit.ActivationDeclared:
		s.applyActivation(n, e)
	case *remit.PolicyTried:
		s.applyTried(n, at, e)
	case *remit.NotifyDeclared:
		s.Notify, s.NotifyAt = e.Spec, n
	case *remit.AnswerKept:
		return s.applyKept(n, at, e)
	case *remit.PlanWithdrawn:
		return s.applyWithdrawn(e)
	case *remit.AccessSeen:
		a := s.Accesses[e.Access]
		if a == nil || a.Status != remit.AccessOpen {
			return fmt.Errorf("access request %s is not open", e.Access)
		}
		a.Seen = append(a.Seen, Seen{e.Person, at})
	case *remit.Removed:
		return s.applyRemoved(n, e)
	case *remit.Applied:
		s.Set, s.SetEntry = e.Set, n
		s.agreed(e.Access != "")
		if a := s.Accesses[e.Access]; a != nil {
			s.moveAccess(a, remit.AccessUsed, "")
		}
	case *remit.PolicyInstalled:
		s.Policy = e.Bundle
		if !slices.Contains(s.Policies, e.Bundle) {
			s.Policies = append(s.Policies, e.Bundle)
		}
		s.PolicyChanges = append(s.PolicyChanges, Change{e.By, n})
	case *remit.TaskCreated:
		if s.Tasks[e.ID] != nil {
			return fmt.Errorf("task %s exists", e.ID)
		}
		a := s.Agents[e.Agent]
		if a == nil {
			return fmt.Errorf("unknown agent %s", e.Agent)
		}
		if e.Parent != "" {
			if err := s.applyChild(e); err != nil {
				return err
			}
		}
		t := &Task{TaskCreated: e, Entry: n, Status: remit.TaskOpen}
		t.Closure = add(t.Closure, e.Requester, a.Owner)
		if p := s.Tasks[e.Parent]; p != nil {
			t.Taints = slices.Clone(p.Taints) // what its parent read is in what it is asked to do
		}
		s.Tasks[e.ID], s.LiveTasks[e.ID] = t, true
		s.indexTask(t)
		s.granted(t, at)
	case *remit.TaskEnded:
		t := s.Tasks[e.Task]
		if t == nil || !s.LiveTasks[e.Task] {
			return fmt.Errorf("task %s is not live", e.Task)
		}
		t.Status = e.Status
		delete(s.LiveTasks, e.Task)
		s.Cut = drop(s.Cut, e.Task)
		s.forgetTask(t)
		s.endLeases(t, at)
	case *remit.AgentChanged:
		a := s.Agents[e.Agent]
		if a == nil || a.Status == remit.AgentRetired && (e.Cause != remit.CauseRevived || a.Idle == 0) {
			return fmt.Errorf("agent %s does not exist or is retired", e.Agent)
		}
		a.Status = e.Status
		if a.Idle = 0; e.Cause == remit.CauseIdle {
			a.Idle = at
		}
		if e.Status == remit.AgentActive {
			a.Seen = at
		}
		if e.Status != remit.AgentActive {
			a.Ended = Change{e.By, n}
		}
		a.Changes = append(a.Changes, Change{e.By, n})
	case *remit.PersonKilled:
		p := s.People[e.Person]
		if p == nil {
			return fmt.Errorf("unknown person %s", e.Person)
		}
		p.Killed = true
		s.endPerson(p, Change{e.By, n})
		p.Changes = append(p.Changes, Change{e.By, n})
	case *remit.InstanceStarted:
		t := s.Tasks[e.Task]
		if t == nil || !s.TaskLive(e.Task, at) {
			return fmt.Errorf("task %s is not live", e.Task)
		}
		if err := s.applyJob(at, e); err != nil {
			return err
		}
		s.Instances[e.ID] = &Instance{e, n}
		t.Status = remit.TaskOpen
		s.indexInstance(s.Instances[e.ID])
		for p := t; p != nil; p = s.Tasks[p.Parent] {
			p.Closure = add(p.Closure, e.Launcher)
		}
		if e.Confinement == remit.ConfineNone && !slices.Contains(t.Hosts, e.Host) {
			t.Hosts = append(t.Hosts, e.Host)
		}
		for _, name := range e.Ungoverned {
			if i, known := slices.BinarySearch(t.Ungoverned, name); !known {
				t.Ungoverned = slices.Insert(t.Ungoverned, i, name)
			}
		}
	case *remit.InstanceEnded:
		i := s.Instances[e.Instance]
		if i == nil {
			return fmt.Errorf("instance %s does not run", e.Instance)
		}
		delete(s.Instances, e.Instance)
		if t := s.Tasks[i.Task]; s.LiveTasks[i.Task] && len(t.Holds) > 0 && len(t.Instances) == 1 {
			t.Status = remit.TaskWaiting
		}
		s.forgetInstance(i)
	case *remit.Decided:
		return s.applyDecided(n, at, e)
	case *remit.DenialRepeated, *remit.ClockConfirmed:
	case *remit.AccessOpened:
		t := s.Tasks[e.Task]
		if s.Accesses[e.ID] != nil || e.Task != "" && (t == nil || !s.LiveTasks[e.Task] || t.held == nil) {
			return fmt.Errorf("access request %s exists, or rests on no held decision of a live task", e.ID)
		}
		a := &Access{AccessOpened: *e, Entry: n, At: at, Status: remit.AccessOpen}
		s.Accesses[e.ID], s.OpenHolds[e.ID] = a, true
		a.Decision = n
		if t != nil {
			// The decision that opened it is the nearest one before; only voids of replaced requests lie between.
			h := t.held
			t.held = nil
			a.Decision, a.Steps, a.Agent, a.Instance, a.Launcher, a.Confined = h.entry, h.steps, h.agent, h.instance, h.launcher, h.confined
			a.Artifacts = h.artifacts
			for _, f := range h.steps {
				if f.Ref != "" && !f.Step.Effect {
					a.Refs = append(a.Refs, f.Ref)
				}
			}
			slices.Sort(a.Refs)
			if a.Instance == "" { // nothing runs that would end the task: it ends with what it waits for
				t.Status = remit.TaskWaiting
			}
		}
		if old := s.Accesses[e.Replaces]; e.Carried && old != nil {
			a.Votes, a.SelfAt = slices.Clone(old.Votes), old.SelfAt
		}
		s.indexAccess(a)
		s.applyAsked(at, e)
	case *remit.VoteCast:
		a := s.Accesses[e.Access]
		if a == nil || a.Status != remit.AccessOpen {
			return fmt.Errorf("access request %s is not open", e.Access)
		}
		a.Votes = append(a.Votes, Vote{e.Person, e.Approve, e.Key, e.Assurance, n, e.Signed})
		if e.Approve && e.Assurance == remit.AssuranceSelf && a.SelfAt == 0 {
			a.SelfAt = at + int64(SoloDelay)
		}
	case *remit.AccessMoved:
		a := s.Accesses[e.Access]
		if a == nil || !s.OpenHolds[e.Access] {
			return fmt.Errorf("access request %s has ended", e.Access)
		}
		if e.Needs != nil {
			a.Needs = e.Needs
		}
		s.moveAccess(a, e.To, e.Why)
	case *remit.Redeemed:
		p := s.Permits[e.Permit]
		if p == nil {
			return fmt.Errorf("permit %s does not exist or was redeemed", e.Permit)
		}
		if !s.permitLive(p, at) {
			return fmt.Errorf("the authority of permit %s has ended", e.Permit)
		}
		if a := s.Accesses[p.Access]; a != nil {
			if a.Status != remit.AccessMet {
				return fmt.Errorf("access request %s is %s", p.Access, a.Status)
			}
			s.moveAccess(a, remit.AccessReserved, "")
		}
		if err := s.applyUse(p); err != nil {
			return err
		}
		s.use(n, at, s.Tasks[p.Task], p.Agent, p.Rests, p.Child.Function)
		delete(s.Permits, e.Permit)
		s.Attempts[e.ID] = &Attempt{Permit: *p, ID: e.ID, Hash: e.Hash, NotAfter: e.NotAfter}
		s.applyTaints(p.Task, e.Taints)
	case *remit.Recorded:
		x := s.Attempts[e.Attempt]
		if x == nil {
			return fmt.Errorf("attempt %s does not exist or has its outcome", e.Attempt)
		}
		if a := s.Accesses[x.Access]; a != nil {
			a.Outcome = e.Outcome
		}
		s.applyOutcome(n, at, x, e)
		s.Tasks[x.Task].Used.came(e)
		delete(s.Attempts, e.Attempt)
	case *remit.LeaseOpened:
		if s.Tasks[e.Task] == nil || s.Leases[e.ID] != nil {
			return fmt.Errorf("lease %s exists, or is of no task", e.ID)
		}
		s.Leases[e.ID] = &Lease{LeaseOpened: *e, Status: remit.LeaseIntended, At: at, Entry: n}
		s.Tasks[e.Task].Leases = add(s.Tasks[e.Task].Leases, e.ID)
	case *remit.LeaseMoved:
		return s.applyLeaseMoved(at, e)
	default:
		return fmt.Errorf("this release does not know such entries")
	}
	return nil
}

func (s *State) moveAccess(a *Access, to remit.AccessStatus, why remit.Code) {
	a.Status = to
	if why != "" {
		a.Why = why
	}
	if to == remit.AccessUsed || to == remit.AccessVoid {
		delete(s.OpenHolds, a.ID)
		a.Steps, a.Artifacts = nil, nil
		s.forgetAccess(a)
	}
}

func (s *State) applyAgent(n remit.EntryIndex, at int64, e *remit.AgentDeclared) {
	a := s.Agents[e.Name]
	if a == nil {
		a = &Agent{Status: remit.AgentActive}
		s.Agents[e.Name] = a
	}
	if len(a.Owners) == 0 || a.Owner != e.Owner {
		a.Owners = append(a.Owners, Change{e.Owner, n})
	}
	a.AgentDeclared, a.Seen = *e, at
	s.holdings(a, n, at, e.By)
	a.Changes = append(a.Changes, Change{e.By, n})
	for _, id := range a.Tasks.IDs {
		if t := s.Tasks[id]; s.LiveTasks[id] {
			t.Closure = add(t.Closure, e.Owner)
		}
	}
}

// endPerson ends for good what a person has requested, launched and owns.
func (s *State) endPerson(p *Person, ended Change) {
	p.Ended = ended
	for _, name := range sorted(s.Agents) {
		if a := s.Agents[name]; a.Owner == p.ID {
			a.Ended = ended
		}
	}
}

func (s *State) applyRemoved(n remit.EntryIndex, e *remit.Removed) error {
	switch e.What {
	case "person":
		p := s.People[remit.ID(e.Name)]
		if p == nil {
			return fmt.Errorf("unknown person %s", e.Name)
		}
		p.Removed = true
		s.endPerson(p, Change{e.By, n})
		p.Changes = append(p.Changes, Change{e.By, n})
	case "group":
		if g := s.Groups[e.Name]; g != nil {
			g.Members, g.From = nil, nil
			g.Changes = append(g.Changes, Change{e.By, n})
		}
	case "agent":
		a := s.Agents[e.Name]
		if a == nil {
			return fmt.Errorf("unknown agent %s", e.Name)
		}
		a.Status, a.Ended = remit.AgentRetired, Change{e.By, n}
		a.Idle = 0 // it did not end by itself
		a.Changes = append(a.Changes, Change{e.By, n})
	case "upstream":
		if u := s.Upstreams[e.Name]; u != nil {
			s.Gone["upstream/"+e.Name] = append(u.Changes, Change{e.By, n})
		}
		delete(s.Upstreams, e.Name)
		delete(s.Scans, e.Name)
	case "repository":
		if r := s.Repositories[e.Name]; r != nil {
			s.Gone["repository/"+e.Name] = append(r.Changes, Change{e.By, n})
		}
		delete(s.Repositories, e.Name)
	case "environment":
		if v := s.Environments[e.Name]; v != nil {
			s.Gone["environment/"+e.Name] = append(v.Changes, Change{e.By, n})
		}
		delete(s.Environments, e.Name)
	case "secret":
		if x := s.Secrets[e.Name]; x != nil {
			s.Gone["secret/"+e.Name] = append(x.Changes, Change{e.By, n})
		}
		delete(s.Secrets, e.Name)
	case "tool":
		s.removeTool(n, e)
	case "activation":
		if a := s.Activations[e.Name]; a != nil {
			s.Gone["activation/"+e.Name] = append(a.Changes, Change{e.By, n})
		}
		delete(s.Activations, e.Name)
	case "break-glass":
		if g := s.Glasses[e.Name]; g != nil {
			s.Gone["break-glass/"+e.Name] = append(g.Changes, Change{e.By, n})
		}
		delete(s.Glasses, e.Name)
	case "boundary":
		if b := s.Boundaries[e.Name]; b != nil {
			s.Gone["boundary/"+e.Name] = append(b.Changes, Change{e.By, n})
		}
		delete(s.Boundaries, e.Name)
	case "campaign", "reviews":
		s.removeReviews(n, e)
	case "detection":
		if d := s.Detections[e.Name]; d != nil {
			s.Gone["detection/"+e.Name] = append(d.Changes, Change{e.By, n})
		}
		delete(s.Detections, e.Name)
	default:
		return fmt.Errorf("%q is nothing that is declared", e.What)
	}
	return nil
}

func (s *State) applyDecided(n remit.EntryIndex, at int64, e *remit.Decided) error {
	t := s.Tasks[e.Task]
	if e.Verdict != remit.Deny && (t == nil || !s.LiveTasks[e.Task]) {
		return fmt.Errorf("%s without a live task", e.Verdict)
	}
	by := &held{entry: n, agent: e.Agent, steps: e.Steps, artifacts: e.Deploy.Artifacts}
	if a := s.Accesses[e.Access]; a != nil && e.Executor != "" {
		by.agent, by.instance, by.launcher, by.confined = a.Agent, a.Instance, a.Launcher, a.Confined
	} else if i := s.Instances[e.Instance]; i != nil {
		by.instance, by.launcher, by.confined = i.ID, i.Launcher, i.Confinement
	}
	if e.Verdict != remit.Deny && by.instance == "" && (e.Executor == "" || e.Verdict == remit.Allow && s.Accesses[e.Access] == nil) {
		return fmt.Errorf("%s of what no instance asks for and no executor may", e.Verdict)
	}
	if a := s.Agents[by.agent]; a != nil {
		a.LastUse = at
	}
	if t != nil {
		t.Used.Decisions++
		t.held = nil
		for p := t; p != nil; p = s.Tasks[p.Parent] {
			p.Closure = add(p.Closure, e.Closure...)
		}
	}
	if e.Advice {
		if e.Verdict == remit.Allow { // a call in the agent's own process only asks, and is never redeemed
			calls := slices.DeleteFunc(slices.Clone(e.Steps), func(f remit.StepFacts) bool { return !local(f.Step.Resource) })
			s.use(n, at, t, by.agent, rests(calls), "")
		}
		return nil
	}
	if t != nil {
		t.Used.decided(e)
	}
	switch e.Verdict {
	case remit.Hold:
		t.held = by
	case remit.Allow:
		if s.Permits[e.Permit] != nil {
			return fmt.Errorf("permit %s exists", e.Permit)
		}
		p := &Permit{Decision: n, Hash: e.Hash, NotAfter: e.NotAfter, Instance: e.Instance, Launcher: by.launcher, Task: e.Task,
			Agent: by.agent, Executor: e.Executor, Access: e.Access, Bytes: e.Bytes, Child: e.Child}
		for _, f := range e.Steps {
			if !f.Step.Effect && !slices.Contains(p.Steps, f.Step) {
				p.Steps = append(p.Steps, f.Step)
			}
		}
		if o := s.Opened[e.Glass]; o != nil {
			o.Under = append(o.Under, n)
		}
		p.Rests = rests(e.Steps)
		s.carry(p, e)
		s.Permits[e.Permit] = p
		s.PermitAge = append(s.PermitAge, e.Permit)
		t.Used.Bytes += e.Bytes
		if slices.ContainsFunc(e.Steps, func(f remit.StepFacts) bool {
			return f.Step.Action == "source.push" || f.Step.Action == "source.merge" // the commit that a merge makes is brought as well
		}) {
			s.Pushes[n] = Push{Agent: by.agent, Task: e.Task, Launcher: by.launcher}
		}
	}
	return nil
}

// held is a hold that an access.opened of the same command may follow.
type held struct {
	entry    remit.EntryIndex
	steps    []remit.StepFacts
	agent    string
	instance remit.ID
	launcher remit.ID
	confined remit.Confinement

	artifacts []remit.Artifact // that it would deploy
}

// prune forgets permits that nobody redeemed in time, and tokens that have expired by now. Their entries stay in the log.
func (s *State) prune(at int64) {
	s.forgetAnswers(at)
	s.forgetItems(at)
	for len(s.JobAge) > 0 && at >= s.Jobs[s.JobAge[0]] {
		delete(s.Jobs, s.JobAge[0])
		s.JobAge = s.JobAge[1:]
	}
	for len(s.PermitAge) > 0 {
		id := s.PermitAge[0]
		p := s.Permits[id]
		if p != nil && at < p.NotAfter {
			return
		}
		delete(s.Permits, id)
		s.PermitAge = s.PermitAge[1:]
	}
}
