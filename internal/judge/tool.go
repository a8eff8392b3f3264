package judge

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// What the log must show of calls of tools, and of what came in with their answers.

// record is what is declared of a tool: of all records that cover it, the one that the others cover too.
func (j *Judge) record(r remit.Resource) (of remit.ToolDeclared, found bool) {
	for name, t := range j.tools {
		if inside(remit.Pattern(r.Name()), []remit.Pattern{remit.Pattern(name)}) && (!found || name != of.Name && inside(remit.Pattern(name), []remit.Pattern{remit.Pattern(of.Name)})) {
			of, found = t, true
		}
	}
	return of, found
}

// toolZone is the zone of the credential with which a tool is called.
func (j *Judge) toolZone(r remit.Resource) remit.Zone {
	server, rest, _ := strings.Cut(r.Name(), "/")
	if server == remit.LocalTools {
		return remit.ZoneNone
	}
	for name, t := range j.tools { // all of a server are in one
		if rest == "-" && strings.HasPrefix(name, server+"/") {
			return t.Zone
		}
	}
	if t, declared := j.record(r); declared && rest != "-" {
		return t.Zone
	}
	return remit.ZoneProduction
}

// oneZone: a server has one credential, and that serves one zone. It is asked once a set is in force whole.
func (j *Judge) oneZone() string {
	for a, t := range j.tools {
		for b, o := range j.tools {
			if t.Server() == o.Server() && t.Zone != o.Zone {
				return fmt.Sprintf("R4: the tools %s and %s of one server lie in two zones", a, b)
			}
		}
	}
	return ""
}

// lists tells whether a step shows what a server has to somebody whose grant names anything of it.
func lists(st remit.Step, grant []remit.Scope) bool {
	server, own := strings.CutSuffix(string(st.Resource), "/-")
	return own && st.Action == "tool.list" && slices.ContainsFunc(grant, func(g remit.Scope) bool {
		return slices.ContainsFunc(g.Actions, func(a remit.Action) bool { return strings.HasPrefix(string(a), "tool.") }) &&
			slices.ContainsFunc(g.Resources, func(p remit.Pattern) bool { return strings.HasPrefix(string(p), server+"/") })
	})
}

// called is why a call that is not denied is not what is declared of its tool.
func (j *Judge) called(e *remit.Decided) string {
	i := slices.IndexFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Resource.Type() == "tool" })
	if i < 0 {
		return ""
	}
	st := e.Steps[i].Step
	server, tool, _ := strings.Cut(st.Resource.Name(), "/")
	if server == remit.LocalTools || tool == "-" {
		return ""
	}
	if st.Args.IsZero() {
		return "R6: a call is not bound to its arguments"
	}
	t, declared := j.record(st.Resource)
	if !declared && st.Action != "tool.call" {
		return "R1: a tool that nobody declared passes as something known"
	}
	if lines[st.Action].Impact > t.Impact {
		return "R1: a tool passes for less than is declared of it"
	}
	for _, r := range t.Steps {
		if strings.HasPrefix(tool, "-/") || len(r.When) > 0 {
			continue
		}
		if !slices.ContainsFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Action == r.Action }) {
			return fmt.Sprintf("R1: %s is left out of a call", r.Action)
		}
	}
	if e.Verdict == remit.Allow && e.Access == "" && !t.Pin.IsZero() && e.Pin != t.Pin {
		return "R6: a tool of another definition than was admitted passes without people"
	}
	return ""
}

// tainted takes up the labels that a redemption puts on a task; each is put once, and none is forgotten.
func (j *Judge) tainted(p *permit, e *remit.Redeemed) string {
	if j.rules < 2 {
		return ""
	}
	own := j.tasks[p.Task]
	want := map[string]bool{}
	for _, f := range p.Steps {
		switch f.Step.Action {
		case "issue.read":
			want["issue-text"] = true
		case "review.read":
			want["review-text"] = true
		}
		if f.Step.Resource.Type() == "tool" {
			t, _ := j.record(f.Step.Resource)
			for _, l := range t.Taints {
				want[l] = true
			}
		}
	}
	for _, l := range e.Taints {
		if !want[l] || own.taints[l] {
			return fmt.Sprintf("R1: the label %s is put on a task that has it, or did not get it here", l)
		}
	}
	for l := range want {
		if !own.taints[l] && !slices.Contains(e.Taints, l) {
			return fmt.Sprintf("R1: what came in as %s leaves no label on the task", l)
		}
	}
	j.up(own, func(t *task) {
		for l := range want {
			t.taints[l] = true
		}
	})
	return ""
}
