package judge_test

import (
	"slices"

	"github.com/remit-dev/remit"
)

// passing bends a decision that passes by a plan.
func passing(bend func(l []line, i int, e *remit.Decided) []line) kind {
	return on(func(l []line, i int, e *remit.Decided) []line {
		if e.Plan.Used == nil {
			return nil
		}
		return bend(l, i, e)
	})
}

// planning bends a decision that files a plan and is not denied.
func planning(bend func(l []line, i int, e *remit.Decided) []line) kind {
	return on(func(l []line, i int, e *remit.Decided) []line {
		if len(e.Plan.Filed) == 0 || e.Verdict == remit.Deny {
			return nil
		}
		return bend(l, i, e)
	})
}

// planBends are the ways in which a log can be wrong about plans.
var planBends = []bend{
	{"a plan that is not said", "R6", planning(func(l []line, i int, e *remit.Decided) []line { e.Plan = remit.PlanFacts{}; return l })},
	{"a plan for another agent", "R6", planning(func(l []line, i int, e *remit.Decided) []line {
		e.Steps[0].Step.Resource = "task:critic"
		return l
	})},
	{"a plan for more than the grant", "R5", planning(func(l []line, i int, e *remit.Decided) []line {
		e.Plan.Filed = append(slices.Clone(e.Plan.Filed), remit.PlanStep{Action: "deploy.promote", Resource: "environment:app/staging", Args: remit.Hash([]byte("x"))})
		return l
	})},
	{"a plan without end", "R6", planning(func(l []line, i int, e *remit.Decided) []line {
		for len(e.Plan.Filed) <= remit.MaxPlanSteps {
			e.Plan.Filed = append(slices.Clone(e.Plan.Filed), e.Plan.Filed[0])
		}
		return l
	})},
	{"a plan that deploys whatever comes", "R4", planning(func(l []line, i int, e *remit.Decided) []line {
		p := &e.Plan.Filed[0]
		if p.Resource != "repo:forge/acme/app" || p.New == "" || p.Old == "" || !slices.Contains(p.Refs, "refs/heads/main") || !slices.ContainsFunc(l, func(x line) bool {
			r, ok := x.e.(*remit.RepositoryDeclared)
			return ok && "repo:"+r.Name == string(p.Resource) && slices.ContainsFunc(r.Effects, func(f remit.Effect) bool { return f.Causes == "deploy.promote" })
		}) {
			return nil
		}
		p.New, p.Old = "", ""
		return l
	})},
	{"a plan that asks nobody", "R6", on(func(l []line, i int, e *remit.AccessOpened) []line {
		d, ok := l[i-1].e.(*remit.Decided)
		if !ok || len(d.Plan.Filed) == 0 || d.Plan.Filed[0].Action != "source.merge" {
			return nil
		}
		e.Needs = []remit.Need{{Group: "devs", N: 1}}
		return l
	})},
	{"by a plan that is not in force", "R6", passing(func(l []line, i int, e *remit.Decided) []line { e.Plan.In = "A-1"; return l })},
	{"by a step that there is not", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		e.Plan.Used[0] = 99
		return l
	})},
	{"more is used than is done", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		e.Plan.Used = append(e.Plan.Used, e.Plan.Used[0])
		return l
	})},
	{"another ref than was planned", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		if e.Steps[0].Step.Action != "source.merge" {
			return nil
		}
		e.Steps = e.Steps[:1] // other refs have other effects
		e.Steps[0].Step.Resource = "repo:forge/acme/docs"
		if e.Steps[0].Ref = "refs/heads/elsewhere"; e.Steps[0].Op == remit.RefForce {
			return nil
		}
		return l
	})},
	{"by plan without people's votes", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		for k, x := range l {
			if v, ok := x.e.(*remit.VoteCast); ok && v.Access == e.Plan.In {
				v.Approve = false
				_ = k
			}
		}
		return l
	})},
	{"an envelope where nobody asks those who decide", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		e.Plan.Needs = []remit.Need{{Group: "nobody", N: 1}}
		return l
	})},
	{"what is held uses a plan", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		e.Verdict, e.Permit, e.Hash = remit.Hold, "", remit.Digest{}
		return l[:i+1]
	})},
	{"a permit that outlives its plan", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		for _, x := range l[:i] {
			if d, ok := x.e.(*remit.Decided); ok && d.Access == e.Plan.In && len(d.Plan.Filed) > 0 {
				d.Plan.Until = l[i].at.UnixNano() + 1
			}
		}
		return l
	})},
	{"a step that is used twice", "R6", on(func(l []line, i int, e *remit.Redeemed) []line {
		for _, x := range l[:i] {
			d, ok := x.e.(*remit.Decided)
			if !ok || d.Permit != e.Permit || d.Plan.Used == nil {
				continue
			}
			for _, y := range l[:i] {
				if f, ok := y.e.(*remit.Decided); ok && f.Access == d.Plan.In && len(f.Plan.Filed) > 0 && f.Plan.Filed[d.Plan.Used[0]].Times() == 1 {
					again := *d
					again.Permit = "P-again"
					redeemed := *e
					redeemed.ID, redeemed.Permit = "X-again", "P-again"
					return with(l, i+1, &again, &redeemed)[:i+3]
				}
			}
		}
		return nil
	})},
	{"by an envelope, and a build with secrets runs what nobody saw", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		n := slices.IndexFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Effect && f.Step.Resource == "pipeline:app/ci" })
		f := filing(l, e.Plan.In)
		if n < 0 || f == nil || f.Plan.Filed[e.Plan.Used[0]].New != "" {
			return nil
		}
		e.Steps[n].Runs = true
		return l
	})},
	{"by plan although who agreed to it has left", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		for _, x := range l[:i] {
			if v, ok := x.e.(*remit.VoteCast); ok && v.Access == e.Plan.In {
				return with(l, i, &remit.PersonKilled{Person: v.Person, By: v.Person})[:i+2]
			}
		}
		return nil
	})},
	{"by plan into production without the votes of its environment", "R4", passing(func(l []line, i int, e *remit.Decided) []line {
		if !slices.ContainsFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Effect && f.Step.Action == "deploy.promote" }) {
			return nil
		}
		for _, x := range l[:i] {
			if v, ok := x.e.(*remit.EnvironmentDeclared); ok {
				v.Approvers = append(slices.Clone(v.Approvers), remit.Need{Group: remit.Administrators, N: 1})
			}
		}
		return l
	})},
	{"by a plan that was withdrawn", "R6", passing(func(l []line, i int, e *remit.Decided) []line {
		return with(l, i, &remit.PlanWithdrawn{Task: e.Task, Access: e.Plan.In, By: requester(l, e.Task)})[:i+2]
	})},
	{"by a plan that another policy judged", "R6", on(func(l []line, i int, e *remit.Redeemed) []line {
		for _, x := range l[:i] {
			if d, ok := x.e.(*remit.Decided); ok && d.Permit == e.Permit && d.Plan.Used != nil {
				return with(l, i, &remit.PolicyInstalled{Bundle: remit.Hash([]byte("x")), By: "p-ada"}, &remit.Applied{By: "p-ada"})[:i+3]
			}
		}
		return nil
	})},
	{"somebody else withdraws a plan", "control", on(func(l []line, i int, e *remit.PlanWithdrawn) []line {
		e.By, e.Instance = "p-zoe", ""
		if slices.ContainsFunc(l[:i], func(x line) bool { v, ok := x.e.(*remit.VoteCast); return ok && v.Person == "p-zoe" }) {
			return nil
		}
		return l
	})},
	{"a plan is withdrawn twice", "R6", on(func(l []line, i int, e *remit.PlanWithdrawn) []line { return with(l, i+1, e)[:i+2] })},
}

// filing is the decision that filed the plan of an access request.
func filing(l []line, access remit.ID) *remit.Decided {
	for _, x := range l {
		if d, ok := x.e.(*remit.Decided); ok && d.Access == access && len(d.Plan.Filed) > 0 {
			return d
		}
	}
	return nil
}
