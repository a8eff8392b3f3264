package authority

import (
	"fmt"
	"slices"

	"github.com/remit-dev/remit"
)

// plan withdraws a plan: what is left of one that is in force, or one that waits or is about to come into force. Taking
// away never waits (R11), and so it is a kill: kept beside the log where that cannot be written.
func (e *ending) plan(now int64, c *Kill) error {
	s := e.s
	a := s.Accesses[c.ID]
	if a == nil || a.Task == "" {
		return remit.Errorf(remit.NotFound, "there is no access request %.64s of a plan", c.ID)
	}
	t := s.Tasks[a.Task]
	i := s.Instances[c.Instance]
	switch {
	case c.By == "" && (i == nil || i.Task != t.ID || !s.InstanceLive(c.Instance, now)):
		return remit.Errorf(remit.NotFound, "there is no plan %.64s of a running task of yours", c.ID)
	case c.By != "" && (c.Instance != "" || !s.mayWithdraw(c.By, t, a)):
		return remit.Errorf(remit.Forbidden, "the plan %s is withdrawn by who asked for task %s, who agreed to it, the agent's owner or an administrator", c.ID, t.ID)
	case t.withdrawn(c.ID):
		return nil // as with any kill, once more is no fault
	case t.Plan != nil && t.Plan.Access == c.ID && now < t.Plan.Until, a.plans() && a.Status == remit.AccessReserved:
		e.events = append(e.events, &remit.PlanWithdrawn{Task: t.ID, Access: c.ID, By: c.By, Instance: c.Instance})
	case a.plans() && (a.Status == remit.AccessOpen || a.Status == remit.AccessMet):
		e.hold(c.ID, remit.Dropped)
		e.idle(t.ID, c.ID)
	default:
		return remit.Errorf(remit.Conflict, "%s is not the access request of a plan that is in force or waits", c.ID)
	}
	return nil
}

// PlanOf is the access request of the plan of a task: of the one in force, else of one that waits; empty: there is none.
func (s *State) PlanOf(task remit.ID, now int64) remit.ID {
	t := s.Tasks[task]
	switch {
	case t == nil:
		return ""
	case t.Plan != nil && t.Plan.Access != "" && now < t.Plan.Until:
		return t.Plan.Access
	}
	for _, id := range t.Holds {
		if s.Accesses[id].plans() {
			return id
		}
	}
	return ""
}

// plans tells whether what waits is a plan; what is settled says no more what it was.
func (a *Access) plans() bool {
	return slices.ContainsFunc(a.Steps, func(f remit.StepFacts) bool { return f.Step.Action == remit.ActionPlan })
}

// mayWithdraw tells whether somebody may take a plan away: whoever may end its task, and everybody who agreed to it.
func (s *State) mayWithdraw(p remit.ID, t *Task, a *Access) bool {
	return s.mayEnd(p, t) || s.personLive(p) && slices.ContainsFunc(a.Votes, func(v Vote) bool { return v.Person == p && v.Approve })
}

func (t *Task) withdrawn(access remit.ID) bool { return slices.Contains(t.Withdrawn, access) }

// planGone tells whether an attempt rests on a plan that was withdrawn.
func (s *State) planGone(a *Attempt) bool {
	return a.Plan.Used != nil && s.Tasks[a.Task].withdrawn(a.Plan.In)
}

// PlanGone is R8 for what is under way: whether what an attempt rests on is a plan that was withdrawn, or that k withdraws.
func (s *State) PlanGone(a *Attempt, k Kill) bool {
	return s.planGone(a) || a.Plan.Used != nil && k.What == "plan" && k.ID == a.Plan.In
}

// applyWithdrawn leaves of a plan what was used of it, which another plan is judged with.
func (s *State) applyWithdrawn(e *remit.PlanWithdrawn) error {
	t, a := s.Tasks[e.Task], s.Accesses[e.Access]
	if t == nil || a == nil || a.Task != e.Task || t.withdrawn(e.Access) {
		return fmt.Errorf("plan %s is none of task %s, or was withdrawn", e.Access, e.Task)
	}
	if t.Plan != nil && t.Plan.Access == e.Access {
		t.Planned, t.Plan = t.UsedSteps(), nil
	}
	t.Withdrawn = append(t.Withdrawn, e.Access)
	return nil
}
