package judge

import (
	"slices"

	"github.com/remit-dev/remit"
)

// What the log must show of break-glass.

// glass is break-glass that was opened.
type glass struct {
	remit.BreakGlassOpened
	entry    int
	scope    []remit.Scope
	group    string
	reviewed bool
}

// broken judges entries about break-glass; ok is false for others.
func (j *Judge) broken(n int, at int64, event remit.Event) (wrong string, ok bool) {
	switch e := event.(type) {
	case *remit.BreakGlassDeclared:
		j.glasses[e.Name] = *e
		j.changed["break-glass/"+e.Name] = append(j.changed["break-glass/"+e.Name], change{e.By, n})
		return "", true
	case *remit.BreakGlassOpened:
		return j.breaks(n, at, e), true
	case *remit.BreakGlassReviewed:
		o := j.broke[e.ID]
		switch {
		case o == nil || o.reviewed || at < o.Until:
			return "R6: a review of break-glass that is none, is reviewed, or is still open", true
		case j.dead[e.By] || !j.in(o.group, e.By, at, o.entry):
			return "R3: break-glass is reviewed by somebody who was not asked", true
		case e.By == o.By || j.causes(&access{AccessOpened: remit.AccessOpened{Task: o.Task}}, e.By):
			return "R3: break-glass is reviewed by somebody who has a part in it", true
		case e.Assurance != remit.AssuranceTouch && j.profile != remit.Demo:
			return "R6: break-glass is reviewed without a touch", true
		}
		o.reviewed = true
		return "", true
	}
	return "", false
}

func (j *Judge) breaks(n int, at int64, e *remit.BreakGlassOpened) string {
	g, declared := j.glasses[e.Name]
	switch {
	case !declared || e.Until > at+int64(g.Minutes)*60e9 || e.Due > e.Until+int64(g.ReviewHours)*3600e9:
		return "R6: break-glass is opened that is not declared, or for longer"
	case j.alive(e.Task, at) != "" || e.Until > j.tasks[e.Task].Deadline:
		return "R2: break-glass of a task that has ended, or beyond it"
	case j.dead[e.By] || !slices.ContainsFunc(g.Who, func(w string) bool { return j.in(w, e.By, at, n) }):
		return "R6: break-glass is opened by somebody who may not"
	case e.Assurance != remit.AssuranceTouch && j.profile != remit.Demo:
		return "R6: break-glass is opened without a touch"
	}
	for _, o := range j.broke {
		if !o.reviewed && at >= o.Due {
			return "R6: break-glass is opened while a review is overdue"
		}
		if o.Statement == e.Statement {
			return "R6: one statement opens break-glass twice"
		}
	}
	o := &glass{BreakGlassOpened: *e, entry: n, group: g.Reviewers}
	own := j.tasks[e.Task]
	for own.Delegated {
		own = j.tasks[own.Parent]
	}
	for _, sc := range g.Scope {
		if len(sc.Refs) == 0 {
			sc.Refs = []remit.Pattern{remit.Pattern("refs/heads/remit/" + own.ID + "/**")}
		}
		o.scope = append(o.scope, sc)
	}
	j.broke[e.ID] = o
	j.up(j.tasks[e.Task], func(t *task) { t.claimed[e.By] = true })
	return ""
}

// under judges what passes under break-glass: it is open, for that task, and all that is changed lies in its scope.
func (j *Judge) under(at int64, e *remit.Decided) string {
	if e.Glass == "" {
		return ""
	}
	o := j.broke[e.Glass]
	if o == nil || o.Task != e.Task || at >= o.Until || e.NotAfter > o.Until || e.Verdict != remit.Allow || e.Instance == "" || e.Access != "" || e.Advice {
		return "R6: something passes under break-glass that is not open for it"
	}
	for _, f := range e.Steps {
		if _, impact := j.zoneOf(f.Step); impact == remit.Read && !f.Step.Effect {
			continue
		}
		if !slices.ContainsFunc(o.scope, func(g remit.Scope) bool {
			return slices.Contains(g.Actions, f.Step.Action) && inside(remit.Pattern(f.Step.Resource), g.Resources) &&
				(f.Step.Effect || f.Ref == "" || inside(remit.Pattern(f.Ref), g.Refs) && (g.MaxBytes == 0 || e.Bytes <= g.MaxBytes) && (g.MaxCommits == 0 || f.Commits <= g.MaxCommits))
		}) {
			return "R6: something passes under break-glass that it is not declared for"
		}
	}
	return ""
}
