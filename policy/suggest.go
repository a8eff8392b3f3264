package policy

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/remit-dev/remit"
)

// Names of the modules of a draft.
const (
	RoutineFile     = "routine.rego"
	RoutineTestFile = "routine_test.rego"
)

// Draft is what people may make of requests that they have approved again and again. It is for review: its modules say
// what was routine and change nothing; Edits are the lines by which rules would ask them.
type Draft struct {
	Files []remit.PolicyFile `json:"files"`
	Edits []Edit             `json:"edits"`
	// Elsewhere are rules that no policy can take back: they are compiled in or declared.
	Elsewhere []string `json:"elsewhere,omitempty"`
}

// Edit is a line for the body of a rule.
type Edit struct {
	File    string `json:"file"`
	Package string `json:"package"`
	Rule    string `json:"rule"`
	Line    string `json:"line"`
}

// Suggest drafts modules from the repetitions of gates: those that were approved at least so often and never refused. What
// is drafted ends with until, so that somebody looks again.
func Suggest(files []remit.PolicyFile, gates []remit.GateView, least int, until time.Time) Draft {
	d := Draft{Files: []remit.PolicyFile{}, Edits: []Edit{}}
	var module, tests strings.Builder
	n := 0
	for _, g := range gates {
		var edits []Edit
		for _, rule := range g.Rules {
			e, ok := ruleOf(files, rule, g.Action)
			if !ok {
				d.elsewhere(g, rule, least)
				continue
			}
			edits = append(edits, e)
		}
		if len(edits) < len(g.Rules) { // another rule would ask people all the same
			continue
		}
		for _, r := range g.Routine {
			if r.Approved < least || r.Denied > 0 || r.Agent == "" {
				continue
			}
			n++
			name := fmt.Sprintf("by_%s_%d", word.ReplaceAllString(r.Agent+"_"+string(g.Action), "_"), n)
			writeRoutine(&module, name, g, r, until)
			writeRoutineTest(&tests, name, r, until)
			for _, e := range edits {
				e.Line = "not data.remit.lib.routine." + name
				if !slices.Contains(d.Edits, e) {
					d.Edits = append(d.Edits, e)
				}
			}
		}
	}
	if n > 0 {
		d.Files = []remit.PolicyFile{
			{Name: RoutineFile, Text: "# Drafted from what people approved again and again. It allows nothing, and nothing asks it until a rule does: the lines\n" +
				"# for that stand with each. Whoever reviews this asks whether the next such request would be looked at, or only approved.\n" +
				"package remit.lib.routine\n" + module.String()},
			{Name: RoutineTestFile, Text: "package remit.lib.routine_test\n\nimport data.remit.lib.routine\n" + tests.String()},
		}
	}
	return d
}

func (d *Draft) elsewhere(g remit.GateView, rule string, least int) {
	for _, r := range g.Routine {
		if r.Approved >= least && r.Denied == 0 {
			s := fmt.Sprintf("%s on %s: rule %s is compiled in or declared (approvers, protected paths), so no policy takes it back; it was approved %d times for agent %s",
				g.Action, g.Resource, rule, r.Approved, r.Agent)
			if !slices.Contains(d.Elsewhere, s) {
				d.Elsewhere = append(d.Elsewhere, s)
			}
		}
	}
}

var (
	word        = regexp.MustCompile(`[^A-Za-z0-9]+`)
	packageLine = regexp.MustCompile(`(?m)^package (remit\.[a-z_.]+)\s*$`)
)

// ruleOf finds the rule that holds in the package of an action, or in the one for all.
func ruleOf(files []remit.PolicyFile, rule string, action remit.Action) (Edit, bool) {
	name := regexp.MustCompile(`"rule":\s*` + regexp.QuoteMeta(fmt.Sprintf("%q", rule)))
	for _, f := range files {
		m := packageLine.FindStringSubmatch(f.Text)
		if m == nil || strings.HasSuffix(m[1], "_test") || m[1] != "remit."+string(action) && m[1] != "remit.any" || !name.MatchString(f.Text) {
			continue
		}
		return Edit{File: f.Name, Package: m[1], Rule: rule}, true
	}
	return Edit{}, false
}

// literal is s as a string of Rego, which is one of JSON.
func literal[T ~string](s T) string {
	b, err := json.Marshal(string(s))
	if err != nil {
		panic("policy: a string is JSON: " + err.Error())
	}
	return string(b)
}

func quoted(list []string) string {
	out := make([]string, len(list))
	for i, s := range list {
		out[i] = literal(s)
	}
	return "{" + strings.Join(out, ", ") + "}"
}

func resources(r remit.Repeat, action remit.Action) (list []string) {
	for _, s := range r.Steps {
		if s.Action == action && !slices.Contains(list, string(s.Resource)) {
			list = append(list, string(s.Resource))
		}
	}
	return list
}

// ownBranches is how a repetition writes the branches of its own task.
const ownBranches = "refs/heads/remit/TASK/**"

func writeRoutine(b *strings.Builder, name string, g remit.GateView, r remit.Repeat, until time.Time) {
	var ids []string
	for _, id := range r.Requests {
		ids = append(ids, string(id))
	}
	fmt.Fprintf(b, "\n# Agent %s, %s: approved %d times and never refused, last as %s.\n# It ends on %s. To use it, write as a line of each rule's body (%s):\n#     not data.remit.lib.routine.%s\n",
		r.Agent, g.Action, r.Approved, strings.Join(ids, " "), until.UTC().Format(time.DateOnly), strings.Join(g.Rules, ", "), name)
	fmt.Fprintf(b, "%s if {\n\tinput.minute < %d\n\tinput.agent.name == %s\n\tcount(input.steps) > 0\n\tevery step in input.steps {\n\t\tstep.action == %s\n\t\tstep.resource in %s\n\t\tnot step.outside_envelope\n",
		name, until.Unix()/60, literal(r.Agent), literal(g.Action), quoted(resources(r, g.Action)))
	if len(r.Refs) > 0 {
		fmt.Fprintf(b, "\t\t%s_ref(step.ref)\n", name)
	}
	var protected []string
	for _, p := range r.Protected {
		protected = append(protected, string(p))
	}
	set := "set()"
	if len(protected) > 0 {
		set = quoted(protected)
	}
	fmt.Fprintf(b, "\t\tcount({p | some p in step.protected} - %s) == 0\n\t}\n}\n", set)
	var refs []string
	for _, ref := range r.Refs {
		if ref != ownBranches {
			refs = append(refs, ref)
			continue
		}
		fmt.Fprintf(b, "\n%s_ref(ref) if startswith(ref, concat(\"\", [\"refs/heads/remit/\", input.task.id, \"/\"]))\n", name)
	}
	if len(refs) > 0 {
		fmt.Fprintf(b, "\n%s_ref(ref) if ref in %s\n", name, quoted(refs))
	}
}

// writeRoutineTest shows that the draft means what was approved, and nobody else, nowhere else and no longer.
func writeRoutineTest(b *strings.Builder, name string, r remit.Repeat, until time.Time) {
	ref := ""
	if len(r.Refs) > 0 {
		ref = strings.ReplaceAll(strings.ReplaceAll(r.Refs[0], "TASK", "T-1"), "**", "x")
	}
	s := r.Steps[0]
	fmt.Fprintf(b, `
%[1]s_facts := {
	"minute": %[2]d, "agent": {"name": %[3]s}, "task": {"id": "T-1"},
	"steps": [{"action": %[4]s, "resource": %[5]s, "ref": %[6]s, "outside_envelope": false, "protected": null}],
}

test_%[1]s if routine.%[1]s with input as %[1]s_facts

test_%[1]s_of_nobody_else if not routine.%[1]s with input as object.union(%[1]s_facts, {"agent": {"name": "another"}})

test_%[1]s_ends if not routine.%[1]s with input as object.union(%[1]s_facts, {"minute": %[7]d})

test_%[1]s_nowhere_else if {
	step := object.union(%[1]s_facts.steps[0], {"resource": "repo:elsewhere/else"})
	not routine.%[1]s with input as object.union(%[1]s_facts, {"steps": [step]})
}
`, name, until.Unix()/60-1, literal(r.Agent), literal(s.Action), literal(s.Resource), literal(ref), until.Unix()/60)
}
