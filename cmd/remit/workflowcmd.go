package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

func newWorkflow(a *app) *cobra.Command {
	return group("workflow", "Plan work before it exists",
		`A workflow is a file of steps: who would do what to what, resting on which steps. It is asked of the rules and the policy in
force before anybody declares or runs anything.`,
		`  remit workflow plan release.yaml
  remit workflow plan release.yaml -f declarations`,
		newWorkflowPlan(a))
}

func newWorkflowPlan(a *app) *cobra.Command {
	d := &drawn{}
	c := &cobra.Command{
		Use:   "plan FILE",
		Short: "Say of work to come who plays each step, whom it asks and what is missing",
		Long: `Reads the steps of FILE and asks the rules and the policy in force what each would meet: which agent plays it, whether it
crosses a zone or is privileged, whose votes it waits for. What is missing is drafted as a patch to the declarations, with
the attack paths that the patch would add. Nothing is changed.

    workflow: release
    owner: ana                       # would own agents that are missing
    steps:
      - name: fix
        agent: coder                 # or function: code
        action: source.push
        resource: repo:forge/acme/payments
      - name: build
        function: build
        action: artifact.publish
        resource: artifact:oci/payments
        inputs: [fix]

The exit code is 0 where the workflow can run as it is declared, and 1 where something is missing or would be denied.`,
		Example: `  remit workflow plan release.yaml
  remit workflow plan release.yaml -f declarations -o json`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			w, pos, err := readWorkflow(args[0])
			if err != nil {
				return err
			}
			who, _, done, err := a.asks(cmd.Context(), d.dir, d.profile)
			if err != nil {
				return err
			}
			defer done()
			plan, err := who.PlanWorkflow(cmd.Context(), *w)
			if err != nil {
				return locate(err, "", pos)
			}
			if err := a.print(plan, func() { a.printWorkflow(plan) }); err != nil {
				return err
			}
			if len(plan.Missing) > 0 {
				return exitCode(remit.ExitError)
			}
			return nil
		},
	}
	d.whom(c)
	return c
}

// readWorkflow reads one file.
func readWorkflow(name string) (*remit.Workflow, *declare.Positions, error) {
	fi, err := os.Stat(name)
	if err != nil || !fi.Mode().IsRegular() {
		return nil, nil, remit.Errorf(remit.NotFound, "%s is not a file", name)
	}
	if fi.Size() > declare.MaxWorkflow {
		return nil, nil, &declare.Error{File: name, Sentence: fmt.Sprintf("it is larger than %d bytes", declare.MaxWorkflow)}
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading the workflow: %w", err)
	}
	return declare.ReadWorkflow(name, b)
}

func (a *app) printWorkflow(p remit.WorkflowPlan) {
	for i, s := range p.Steps {
		zone := "no zone"
		if s.Zone != "" {
			zone = "zone " + string(s.Zone)
		}
		a.printf("%d. %s  %s on %s  %s, %s\n", i+1, a.paint(bold, visible(s.Name)), visible(string(s.Action)), visible(string(s.Resource)), zone, s.Impact)
		switch {
		case s.Agent == "":
			a.printf("   %s nobody\n", a.paint(red, "plays:"))
		default:
			note := ""
			if s.Drafted {
				note = a.paint(yellow, "  with what is missing")
			}
			if len(s.Others) > 0 {
				note += "  or " + list(s.Others)
			}
			a.printf("   plays: agent %s, for %s, owned by %s%s\n", visible(s.Agent), s.Function, visible(s.Owner), note)
		}
		if len(s.Inputs) > 0 {
			a.printf("   rests on: %s\n", list(s.Inputs))
		}
		if len(s.Escalates) > 0 {
			a.printf("   %s %s\n", a.paint(yellow, "escalates:"), list(s.Escalates))
		}
		for _, e := range s.Asked {
			a.printf("   asked for by %s: %s\n", visible(e.From), a.answered(e))
		}
		for _, e := range s.Meets {
			a.printf("   meets: %s\n", a.answered(e))
		}
		if s.Agent != "" && len(s.Meets) == 0 && s.Impact == remit.Read {
			a.printf("   meets: it only reads\n")
		}
	}
	a.printf("\n")
	if p.Asks == 0 {
		a.printf("no step asks anybody\n")
	} else {
		a.printf("people are asked %s\n", times(p.Asks))
	}
	for _, m := range p.Missing {
		step := ""
		if m.Step != "" {
			step = visible(m.Step) + ": "
		}
		a.printf("%s %s%s\n", a.paint(red, "missing:"), step, visible(m.Text))
	}
	if len(p.Patch) > 0 {
		a.printf("\n# what would mend it: these agents, whole, in the place of those of the same name\n")
		a.stdout.Write(declare.Write(&remit.Declarations{Agents: p.Patch})["agents.yaml"])
	}
	a.printAdded(p.Paths)
}

// answered is what the authority said of an edge.
func (a *app) answered(e remit.PathEdge) string {
	out := a.paint(green, "nobody is asked")
	if e.Verdict != remit.Allow {
		out = a.paint(yellow, "asks "+askLine(e))
	}
	if e.Why != "" {
		out += "\n     " + visible(e.Why)
	}
	return strings.TrimRight(out, " ")
}
