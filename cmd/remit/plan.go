package main

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newPlan(a *app) *cobra.Command {
	return group("plan", "Have people agree to several steps at once",
		`A plan says what an agent means to do for its task that people would be asked about one by one. They are asked once; what
lies inside then passes, and what deviates is held as ever, with the difference. A new plan takes the place of the one
before, and is judged together with what was used of it.`,
		`  remit plan file release.json
  remit plan show T-12
  remit plan withdraw T-12`,
		newPlanFile(a), newPlanShow(a), newPlanWithdraw(a))
}

// maxPlan bounds a plan, in bytes.
const maxPlan = 24 << 10

func newPlanFile(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "file FILE",
		Short: "File a plan for the task that this command runs in",
		Long: `Reads a plan as JSON from FILE, or - for standard input, and files it for the task of the instance that it runs in. Each step
has an action and a resource, and is exact (arguments of a call of a tool, or the commit that comes to a ref) or an
envelope: refs, paths, max_paths, max_bytes, max_commits, and uses, how often. What reaches production is exact.
Where people are asked it exits with 75: remit wait ACCESS waits for them.

  {"intent": "release 1.4", "steps": [
    {"action": "source.merge", "resource": "repo:forge/acme/payments", "refs": ["refs/heads/main"], "paths": ["src/**"], "max_paths": 20, "uses": 3},
    {"action": "tool.call", "resource": "tool:jira/close", "arguments": {"ticket": "PAY-12"}}]}`,
		Example: `  remit plan file release.json`,
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			body, err := a.planText(cmd, args[0])
			if err != nil {
				return err
			}
			var in remit.PlanRequest
			if err := remit.DecodeStrict(bytes.NewReader(body), maxPlan, &in); err != nil {
				return usagef("%s: %w", args[0], err)
			}
			c, token, err := a.within(cmd.Context(), "task")
			if err != nil {
				return err
			}
			out, err := c.FilePlan(cmd.Context(), token, in)
			if err != nil {
				return err
			}
			d := out.Decision
			if d != nil && d.Verdict == remit.Deny {
				return remit.Errorf(d.Code, "%s", d.Sentence)
			}
			if err := a.print(out, func() {
				if d == nil {
					a.printf("nobody has to be asked about any step of this plan\n")
					return
				}
				a.printHeld(*d)
			}); err != nil || d == nil {
				return err
			}
			return exitCode(remit.ExitWaiting)
		},
	}
}

func (a *app) planText(cmd *cobra.Command, name string) ([]byte, error) {
	if name != "-" {
		return readBounded(name)
	}
	body, err := io.ReadAll(io.LimitReader(cmd.InOrStdin(), maxPlan+1))
	if err != nil {
		return nil, fmt.Errorf("reading the plan: %w", err)
	}
	return body, nil
}

func newPlanShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "show TASK",
		Short:   "Show the plan of a task",
		Long:    "Shows the plan of a task that is in force: its steps, how often each was used, until when, whose votes carry it, and what was used of earlier plans.",
		Example: `  remit plan show T-12`,
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			p, err := s.Plan(cmd.Context(), remit.ID(args[0]))
			if err != nil {
				return err
			}
			return a.print(p, func() { a.printPlan(p) })
		},
	}
}

func newPlanWithdraw(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "withdraw [TASK|ACCESS]",
		Short: "Take back what is left of a plan",
		Long: `Takes back what is left of a plan, at once, and also when the log cannot be written (it is recorded when it can): whoever
asked for the task, agreed to the plan or may end the task may do it, and inside an instance its agent, without naming it.
The steps are then held as if there were no plan; what was used of it still counts when another is filed.`,
		Example: `  remit plan withdraw T-12
  remit plan withdraw A-41`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			var r remit.WithdrawRequest
			if len(args) == 1 && strings.HasPrefix(args[0], "A-") {
				r.Access = remit.ID(args[0])
			}
			said := func(out any, access remit.ID) error {
				return a.print(out, func() {
					a.printf("the plan %s is withdrawn; what is left of it is held as if there were none\n", visible(string(access)))
				})
			}
			if a.getenv("REMIT_INSTANCE") != "" { // nothing is signed in here, and an agent has one task
				c, token, err := a.within(ctx, "task")
				if err != nil {
					return err
				}
				out, err := c.WithdrawOwnPlan(ctx, token, r)
				if err != nil {
					return err
				}
				return said(out, out.Access)
			}
			if len(args) == 0 {
				return usagef("say of which task, or by which access request: remit plan withdraw T-12")
			}
			s, err := a.connect(ctx)
			if err != nil {
				return err
			}
			task := remit.ID(args[0])
			if r.Access != "" {
				v, err := s.Access(ctx, r.Access)
				if err != nil {
					return err
				}
				task = v.Task
			}
			p, err := s.WithdrawPlan(ctx, task, r)
			if err != nil {
				return err
			}
			return said(p, cmp.Or(r.Access, task))
		},
	}
}

func (a *app) printPlan(p remit.PlanView) {
	switch {
	case len(p.Steps) == 0:
		a.printf("task %s has no plan in force\n", visible(string(p.Task)))
	case p.Access == "":
		a.printf("the plan of task %s asked for nobody, and lets nothing pass\n", visible(string(p.Task)))
	case p.Live:
		a.printf("the plan of task %s is in force until %s, by the votes on %s\n", visible(string(p.Task)), stamp(p.Until), visible(string(p.Access)))
	default:
		a.printf("the plan of task %s has ended\n", visible(string(p.Task)))
	}
	if p.Waits != "" {
		a.printf("a newer one waits for people: %s\n", visible(string(p.Waits)))
	}
	for _, id := range p.Withdrawn {
		a.printf("the plan %s was withdrawn\n", visible(string(id)))
	}
	for i, st := range p.Steps {
		a.printf("  %2d  %s, used %d of %d\n", i, visible(planLine(st.PlanStep)), st.Used, st.Times())
	}
	for _, st := range p.Before {
		a.printf("  used before: %s, %d times\n", visible(planLine(st)), st.Times())
	}
}

// planLine is one step of a plan in one line.
func planLine(p remit.PlanStep) string {
	parts := []string{string(p.Action) + " on " + string(p.Resource)}
	add := func(format string, v any, there bool) {
		if there {
			parts = append(parts, fmt.Sprintf(format, v))
		}
	}
	add("refs %s", list(p.Refs), len(p.Refs) > 0)
	add("commit %.12s", p.New, p.New != "")
	add("on top of %.12s", p.Old, p.Old != "")
	add("arguments %.12s…", p.Args.String(), !p.Args.IsZero())
	add("effect %.12s…", p.Effect.String(), !p.Effect.IsZero())
	add("paths %s", list(p.Paths), len(p.Paths) > 0)
	add("at most %d paths", p.MaxPaths, p.MaxPaths > 0)
	add("at most %d bytes", p.MaxBytes, p.MaxBytes > 0)
	add("at most %d commits", p.MaxCommits, p.MaxCommits > 0)
	return strings.Join(parts, ", ")
}
