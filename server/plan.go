package server

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// onePlan is the plan of a task, for people and for its own instance.
func onePlan(s *Server, c *call) (v remit.PlanView, err error) {
	if err := c.own(c.id()); err != nil {
		return v, err
	}
	now := s.now().UnixNano()
	v = remit.PlanView{Task: c.id(), Steps: []remit.PlanUsage{}}
	s.view(func(st *authority.State) {
		t := st.Tasks[c.id()]
		if t == nil {
			err = remit.Errorf(remit.NotFound, "there is no task %.64s", c.id())
			return
		}
		v.Before, v.Withdrawn = slices.Clone(t.Planned), slices.Clone(t.Withdrawn)
		if f := t.Plan; f != nil {
			v.Access, v.Until, v.Live = f.Access, time.Unix(0, f.Until).UTC(), now < f.Until && st.TaskLive(t.ID, now)
			for i, p := range f.Filed {
				v.Steps = append(v.Steps, remit.PlanUsage{PlanStep: p, Used: f.Used[i]})
			}
		}
		for _, id := range t.Holds {
			if a := st.Accesses[id]; slices.ContainsFunc(a.Steps, func(f remit.StepFacts) bool { return f.Step.Action == remit.ActionPlan }) {
				v.Waits = id
			}
		}
	})
	return v, err
}

// withdrawPlan takes back the plan in force; where none is, the one that waits. Like a kill it waits for nothing.
func withdrawPlan(s *Server, c *call, in remit.WithdrawRequest) (remit.PlanView, error) {
	access, own := in.Access, false
	now := s.now().UnixNano()
	s.view(func(st *authority.State) {
		if access == "" {
			access = st.PlanOf(c.id(), now)
		}
		a := st.Accesses[access]
		own = a != nil && a.Task == c.id()
	})
	if err := c.own(c.id()); err != nil {
		return remit.PlanView{}, err
	}
	if !own {
		return remit.PlanView{}, remit.Errorf(remit.NotFound, "task %.64s has no plan %.64s to withdraw", c.id(), access)
	}
	if err := s.cfg.Engine.Kill(authority.Kill{By: c.person, What: "plan", ID: access, Instance: c.instance}); err != nil {
		return remit.PlanView{}, s.inNames(c, err)
	}
	return onePlan(s, c)
}

// planCard is what a card says of a plan that is filed: its steps, and what was used of the task's plans by now.
func (s *Server) planCard(task remit.ID, p *remit.Plan) *remit.PlanView {
	v := &remit.PlanView{Task: task, Steps: []remit.PlanUsage{}}
	for _, st := range p.Steps {
		v.Steps = append(v.Steps, remit.PlanUsage{PlanStep: st})
	}
	s.view(func(st *authority.State) {
		if t := st.Tasks[task]; t != nil {
			v.Before = t.UsedSteps()
		}
	})
	return v
}

// agreed is the plan in force of a task if it is the one that an access request carried; nil: another is by now, or none.
func (s *Server) agreed(task, access remit.ID) (v *remit.PlanView) {
	s.view(func(st *authority.State) {
		t := st.Tasks[task]
		if t == nil || t.Plan == nil || t.Plan.Access != access {
			return
		}
		v = &remit.PlanView{Task: task, Access: access, Until: time.Unix(0, t.Plan.Until).UTC(), Steps: []remit.PlanUsage{}}
		for i, p := range t.Plan.Filed {
			v.Steps = append(v.Steps, remit.PlanUsage{PlanStep: p, Used: t.Plan.Used[i]})
		}
	})
	return v
}
