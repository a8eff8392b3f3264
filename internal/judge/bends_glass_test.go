package judge_test

import (
	"slices"
	"time"

	"github.com/remit-dev/remit"
)

// under bends a decision that passes under break-glass, with the entry that opened it.
func under(bend func(l []line, i int, e *remit.Decided, o *remit.BreakGlassOpened) []line) kind {
	return on(func(l []line, i int, e *remit.Decided) []line {
		if o := opened(l, e.Glass); e.Glass != "" && o >= 0 {
			return bend(l, i, e, l[o].e.(*remit.BreakGlassOpened))
		}
		return nil
	})
}

// opened is the entry that opened break-glass.
func opened(l []line, id remit.ID) int {
	return slices.IndexFunc(l, func(x line) bool { o, ok := x.e.(*remit.BreakGlassOpened); return ok && o.ID == id })
}

// touched bends what has to be signed with a touch.
func touched(l []line, how *remit.Assurance) []line {
	if l[0].e.(*remit.Genesis).Profile == remit.Demo {
		return nil
	}
	*how = remit.AssuranceSoftware
	return l
}

// glassBends are the ways in which a log can be wrong about break-glass, evidence, and how often people are asked.
var glassBends = []bend{
	{"a step under break-glass that nobody opened", "R6", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Executor != "" {
			return nil
		}
		e.Glass = "G-1"
		return allowed(e, l)
	})},
	{"evidence that nobody declared", "R6", on(func(l []line, i int, e *remit.Decided) []line {
		if e.Executor != "" || len(e.Plan.Filed) > 0 {
			return nil
		}
		e.Stood = []remit.Stood{{Need: remit.Need{Group: "reviewers", N: 1, Evidence: "verdict"}, Entries: []remit.EntryIndex{1}}}
		return allowed(e, l)
	})},
	{"break-glass that is not declared", "R6", late(&remit.BreakGlassOpened{ID: "G-36", Name: "flood", Task: "T-1", By: "p-sam"})},
	{"a review of break-glass that is none", "R6", late(&remit.BreakGlassReviewed{ID: "G-1", By: "p-tom"})},
	{"people are asked all day long", "R6", on(func(l []line, i int, e *remit.AccessOpened) []line {
		if e.Task == "" || e.Carried {
			return nil
		}
		for _, x := range l[:i] {
			if g, ok := x.e.(*remit.GroupDeclared); ok && g.Name == e.Needs[0].Group {
				g.Asks = remit.Asks{Most: 1, Hours: 168}
			}
		}
		for _, x := range l[:i] {
			if a, ok := x.e.(*remit.AccessOpened); ok && a.Task != "" && !a.Carried && a.Needs[0].Group == e.Needs[0].Group {
				return l
			}
		}
		return nil
	})},
	{"break-glass by somebody who may not", "R6", on(func(l []line, i int, e *remit.BreakGlassOpened) []line {
		if e.By = "p-bob"; slices.ContainsFunc(l[:i], func(x line) bool {
			g, ok := x.e.(*remit.GroupDeclared)
			return ok && g.Name == "release" && slices.Contains(g.Members, "p-bob")
		}) {
			return nil
		}
		return l
	})},
	{"break-glass without a touch", "R6", on(func(l []line, i int, e *remit.BreakGlassOpened) []line { return touched(l, &e.Assurance) })},
	{"break-glass for a day", "R6", on(func(l []line, i int, e *remit.BreakGlassOpened) []line { e.Until += int64(24 * time.Hour); return l })},
	{"break-glass that is reviewed next year", "R6", on(func(l []line, i int, e *remit.BreakGlassOpened) []line { e.Due += int64(8760 * time.Hour); return l })},
	{"break-glass for what is over", "R2", on(func(l []line, i int, e *remit.BreakGlassOpened) []line {
		return with(l, i, &remit.TaskEnded{Task: e.Task, Status: remit.TaskExpired})[:i+2]
	})},
	{"one statement opens break-glass twice", "R6", on(func(l []line, i int, e *remit.BreakGlassOpened) []line {
		again := *e
		again.ID = "G-again"
		return with(l, i+1, &again)[:i+2]
	})},
	{"break-glass although a review is overdue", "R6", on(func(l []line, i int, e *remit.BreakGlassOpened) []line {
		for k := range i {
			o, ok := l[k].e.(*remit.BreakGlassOpened)
			if ok && !slices.ContainsFunc(l[:i], func(x line) bool { r, ok := x.e.(*remit.BreakGlassReviewed); return ok && r.ID == o.ID }) {
				o.Due = l[i].at.UnixNano()
				return l
			}
		}
		return nil
	})},
	{"who opened break-glass is not in the closure", "R3", on(func(l []line, i int, e *remit.AccessOpened) []line {
		for _, x := range l[:i] {
			o, ok := x.e.(*remit.BreakGlassOpened)
			if ok && o.Task == e.Task && slices.Contains(e.Closure, o.By) && o.By != requester(l, e.Task) {
				e.Closure = slices.DeleteFunc(slices.Clone(e.Closure), func(p remit.ID) bool { return p == o.By })
				return l
			}
		}
		return nil
	})},
	{"break-glass of another task", "R6", under(func(l []line, i int, e *remit.Decided, o *remit.BreakGlassOpened) []line {
		at := opened(l, o.ID)
		for _, x := range l[:at] {
			t, ok := x.e.(*remit.TaskCreated)
			if ok && t.Parent == "" && t.ID != o.Task && t.Deadline > o.Until && !slices.ContainsFunc(l[:at], func(x line) bool { end, ok := x.e.(*remit.TaskEnded); return ok && end.Task == t.ID }) {
				o.Task = t.ID
				return l
			}
		}
		return nil
	})},
	{"break-glass that is over", "R6", under(func(l []line, i int, e *remit.Decided, o *remit.BreakGlassOpened) []line {
		o.Until, o.Due = l[i].at.UnixNano(), l[i].at.Add(time.Hour).UnixNano()
		return l
	})},
	{"a permit that outlives break-glass", "R6", under(func(l []line, i int, e *remit.Decided, o *remit.BreakGlassOpened) []line {
		o.Until = e.NotAfter - 1
		return l
	})},
	{"break-glass for something else", "R6", under(func(l []line, i int, e *remit.Decided, o *remit.BreakGlassOpened) []line {
		for _, x := range l[:i] {
			if g, ok := x.e.(*remit.BreakGlassDeclared); ok {
				g.Scope = []remit.Scope{{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{"repo:**"}, Refs: []remit.Pattern{"refs/heads/**"}}}
			}
		}
		return l
	})},
	{"break-glass for merges alone, and it deploys", "R6", under(func(l []line, i int, e *remit.Decided, o *remit.BreakGlassOpened) []line {
		if !slices.ContainsFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Action == "deploy.promote" }) {
			return nil
		}
		for _, x := range l[:i] {
			if g, ok := x.e.(*remit.BreakGlassDeclared); ok {
				g.Scope = g.Scope[:1]
			}
		}
		return l
	})},
	{"break-glass is reviewed while it is open", "R6", on(func(l []line, i int, e *remit.BreakGlassReviewed) []line {
		o := opened(l, e.ID)
		return append(l[:o+1], line{l[o].at, e})
	})},
	{"break-glass is reviewed twice", "R6", on(func(l []line, i int, e *remit.BreakGlassReviewed) []line { return with(l, i+1, e)[:i+2] })},
	{"break-glass is reviewed without a touch", "R6", on(func(l []line, i int, e *remit.BreakGlassReviewed) []line { return touched(l, &e.Assurance) })},
	{"whoever opened break-glass reviews it", "R3", on(func(l []line, i int, e *remit.BreakGlassReviewed) []line {
		e.By = l[opened(l, e.ID)].e.(*remit.BreakGlassOpened).By
		return l
	})},
	{"the requester reviews break-glass", "R3", on(func(l []line, i int, e *remit.BreakGlassReviewed) []line {
		e.By = requester(l, l[opened(l, e.ID)].e.(*remit.BreakGlassOpened).Task)
		return l
	})},
	{"somebody else reviews break-glass", "R3", on(func(l []line, i int, e *remit.BreakGlassReviewed) []line { e.By = "p-nobody"; return l })},

	{"evidence that a reviewer takes back", "R6", standing(func(l []line, i int, e *remit.Decided) []line {
		for _, x := range l[:i] {
			if d, ok := x.e.(*remit.Decided); ok && d.Review == remit.ReviewApprove && d.Change == e.Change {
				d.Review = remit.ReviewReject
			}
		}
		return l
	})},
	{"evidence that was never given", "R6", standing(func(l []line, i int, e *remit.Decided) []line {
		gone := false
		for _, x := range l[:i] {
			if d, ok := x.e.(*remit.Decided); ok && d.Review == remit.ReviewApprove && d.Change == e.Change {
				d.Change, gone = remit.Digest{1}, true
			}
		}
		if !gone {
			return nil
		}
		return l
	})},
	{"evidence where people are asked", "R6", standing(func(l []line, i int, e *remit.Decided) []line {
		for _, x := range l[:i] {
			if r, ok := x.e.(*remit.RepositoryDeclared); ok {
				for n := range r.Approvers {
					r.Approvers[n].Evidence = ""
				}
			}
		}
		return l
	})},
	{"evidence before what runs by itself", "R6", standing(func(l []line, i int, e *remit.Decided) []line {
		e.Steps[0].Protected = []remit.Pattern{".github/**"}
		return l
	})},
	{"evidence by who has a part in it", "R6", standing(func(l []line, i int, e *remit.Decided) []line {
		e.Closure = append(slices.Clone(e.Closure), "p-noa", "p-tom")
		return l
	})},
}

// standing bends a merge for which agents' verdicts stand in.
func standing(bend func(l []line, i int, e *remit.Decided) []line) kind {
	return on(func(l []line, i int, e *remit.Decided) []line {
		if len(e.Stood) == 0 || e.Verdict != remit.Allow || e.Steps[0].Step.Action != "source.merge" {
			return nil
		}
		return bend(l, i, e)
	})
}
