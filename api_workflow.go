package remit

import (
	"fmt"
	"slices"
	"strings"
)

// Workflow is work that does not exist yet, step by step: who would do what to what, resting on which steps.
type Workflow struct {
	Name  string         `json:"workflow"`
	Owner string         `json:"owner,omitempty"` // a person, who would own the agents that are missing
	Steps []WorkflowStep `json:"steps"`
}

// WorkflowStep is one step of a workflow.
type WorkflowStep struct {
	Name string `json:"name"`
	// Who plays it: an agent by name, or any agent of a function. With both, the function is what the agent is for.
	Agent    string    `json:"agent,omitempty"`
	Function Function  `json:"function,omitempty"`
	Action   Action    `json:"action"`
	Resource Resource  `json:"resource"`
	Refs     []Pattern `json:"refs,omitempty"`   // of a repository; those that an entitlement has by default
	Inputs   []string  `json:"inputs,omitempty"` // steps that it rests on
}

// Limits of a workflow.
const (
	MaxWorkflowSteps  = 100
	MaxWorkflowInputs = 16
)

// Wrong is all that is wrong with w by itself, whatever is declared: each with the path of its member.
func (w *Workflow) Wrong() (all []*DeclarationError) {
	wrong := func(path, format string, args ...any) {
		all = append(all, &DeclarationError{Path: path, Sentence: fmt.Sprintf(format, args...)})
	}
	if !workflowName(w.Name) {
		wrong("workflow", "%q: a name is 1 to 40 of a-z 0-9 -", w.Name)
	}
	if len(w.Steps) == 0 || len(w.Steps) > MaxWorkflowSteps {
		wrong("steps", "a workflow has 1 to %d steps, not %d", MaxWorkflowSteps, len(w.Steps))
		return all
	}
	at := map[string]int{}
	for i, s := range w.Steps {
		path := fmt.Sprintf("steps[%d]", i)
		if first, twice := at[s.Name]; twice {
			wrong(path+".name", "%q is the name of step %d already; a name is used once", s.Name, first+1)
		} else {
			at[s.Name] = i
		}
		if !workflowName(s.Name) {
			wrong(path+".name", "%q: a name is 1 to 40 of a-z 0-9 -", s.Name)
		}
		switch {
		case s.Agent == "" && s.Function == "":
			wrong(path, "nobody plays it; write agent: NAME, or function: with one of %s", functionList())
		case s.Function != "" && !s.Function.Valid():
			wrong(path+".function", "%q: write one of %s", s.Function, functionList())
		case s.Agent != "" && !workflowName(s.Agent):
			wrong(path+".agent", "%q: a name is 1 to 40 of a-z 0-9 -", s.Agent)
		}
		info, known := Lookup(s.Action)
		if !known {
			wrong(path+".action", "the catalogue has no action %q", s.Action)
		}
		if r, err := ParseResource(string(s.Resource)); err != nil {
			wrong(path+".resource", "%v", err)
		} else if known && info.Stage == StageControl {
			wrong(path+".action", "%s is for people only; no step of a workflow does it", s.Action)
		} else if known && info.Stage == StagePlan && info.Resource == "task" {
			wrong(path+".action", "%s follows from inputs: a step that rests on another one is asked for by who played that", s.Action)
		} else if known && r.Type() != info.Resource {
			wrong(path+".resource", "%s acts on %s:…, not on %s", s.Action, info.Resource, r)
		}
		for j, ref := range s.Refs {
			if _, err := ParseRefPattern(string(ref)); err != nil {
				wrong(fmt.Sprintf("%s.refs[%d]", path, j), "%v", err)
			} else if info.Resource != "repo" {
				wrong(fmt.Sprintf("%s.refs[%d]", path, j), "only a step on a repository has refs")
			}
		}
		if len(s.Inputs) > MaxWorkflowInputs {
			wrong(path+".inputs", "a step rests on at most %d others", MaxWorkflowInputs)
		}
	}
	for i, s := range w.Steps {
		for j, in := range s.Inputs {
			path := fmt.Sprintf("steps[%d].inputs[%d]", i, j)
			if _, ok := at[in]; !ok {
				wrong(path, "there is no step %q; there are %s", in, strings.Join(w.names(), ", "))
			} else if slices.Contains(s.Inputs[:j], in) {
				wrong(path, "%q stands twice", in)
			}
		}
	}
	if len(all) > 0 {
		return all
	}
	if ring := w.ring(); len(ring) > 0 {
		last := w.Steps[at[ring[0]]]
		j := slices.Index(last.Inputs, ring[1])
		wrong(fmt.Sprintf("steps[%d].inputs[%d]", at[ring[0]], j), "the steps go in a circle, so none of them can begin: %s", strings.Join(ring, " rests on "))
	}
	return all
}

func (w *Workflow) names() []string {
	out := make([]string, len(w.Steps))
	for i := range w.Steps {
		out[i] = w.Steps[i].Name
	}
	return out
}

// Order is the steps in an order in which each comes after its inputs: of those that could come next, the first that is
// written. Only for a workflow that is not Wrong.
func (w *Workflow) Order() []WorkflowStep {
	done, out := map[string]bool{}, make([]WorkflowStep, 0, len(w.Steps))
	for len(out) < len(w.Steps) {
		before := len(out)
		for _, s := range w.Steps {
			if !done[s.Name] && !slices.ContainsFunc(s.Inputs, func(in string) bool { return !done[in] }) {
				done[s.Name], out = true, append(out, s)
				break
			}
		}
		if len(out) == before {
			return out
		}
	}
	return out
}

// ring is names of steps of which each rests on the next, and the last is the first; nothing where there is no circle.
func (w *Workflow) ring() []string {
	order := w.Order()
	if len(order) == len(w.Steps) {
		return nil
	}
	rests := map[string]string{} // of the steps that never come, one input that does not either
	began := func(name string) bool {
		return slices.ContainsFunc(order, func(s WorkflowStep) bool { return s.Name == name })
	}
	at := ""
	for _, s := range w.Steps {
		if began(s.Name) {
			continue
		}
		for _, in := range s.Inputs {
			if !began(in) {
				rests[s.Name] = in
				break
			}
		}
		if at == "" {
			at = s.Name
		}
	}
	walked := []string{at}
	for {
		at = rests[at]
		if i := slices.Index(walked, at); i >= 0 {
			return append(walked[i:], at)
		}
		walked = append(walked, at)
	}
}

// workflowName tells whether s can be the name of a workflow, a step or an agent.
func workflowName(s string) bool {
	for _, b := range []byte(s) {
		if !(b >= 'a' && b <= 'z' || b >= '0' && b <= '9' || b == '-') {
			return false
		}
	}
	return s != "" && len(s) <= 40
}

func functionList() string {
	return "plan, code, review, build, release, deploy, operate"
}

// WorkflowRequest asks what a workflow would meet.
type WorkflowRequest struct {
	Workflow Workflow `json:"workflow"`
}

// WorkflowPlan is what a workflow would meet under the declarations and the policy in force, with what is missing added.
type WorkflowPlan struct {
	Name  string           `json:"workflow"`
	Steps []WorkflowPlayed `json:"steps"` // each after its inputs
	// Missing is what there is none of, in sentences. Patch holds the agents that would mend that, whole, as they would be
	// declared; what it does not mend has no entry there.
	Missing []WorkflowLack `json:"missing"`
	Patch   []Agent        `json:"patch,omitempty"`
	// Paths are the attack paths that the patch would add.
	Paths *PathsChange `json:"paths,omitempty"`
	// Asks counts the decisions that people take on the way.
	Asks int `json:"asks"`
}

// WorkflowLack is one thing that is missing.
type WorkflowLack struct {
	Step    string `json:"step,omitempty"`
	Text    string `json:"text"`    // one sentence
	Patched bool   `json:"patched"` // Patch mends it
}

// WorkflowPlayed is a step with who plays it and what it meets.
type WorkflowPlayed struct {
	Name     string   `json:"name"`
	Agent    string   `json:"agent,omitempty"` // empty: nobody can
	Drafted  bool     `json:"drafted,omitempty"`
	Function Function `json:"function,omitempty"`
	Owner    string   `json:"owner,omitempty"`
	Action   Action   `json:"action"`
	Resource Resource `json:"resource"`
	Zone     Zone     `json:"zone,omitempty"`
	Impact   Impact   `json:"impact"`
	Inputs   []string `json:"inputs,omitempty"`
	// Others are agents that could play it as well.
	Others []string `json:"others,omitempty"`
	// Escalates says what the step has that those before it have not: another zone, more impact. In sentences.
	Escalates []string `json:"escalates,omitempty"`
	// Asked are the requests by which those who played the inputs ask for it; none: a person asks, or they go on themselves.
	Asked []PathEdge `json:"asked,omitempty"`
	// Meets is what is decided on the step itself, under the policy in force; nil: it would be denied, as Missing says.
	Meets []PathEdge `json:"meets"`
}
