package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

// wanted is what a task asks for, as flags say it; task create and run share it.
type wanted struct {
	agent, intent        string
	repos, resources     []string
	tools                []string
	actions, refs, paths []string
	envelopePaths        []string
	maxCommits           int
	maxBytes             int64
	life                 span
	budget               remit.Budget
}

func (w *wanted) flags(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&w.agent, "agent", "", "agent that is to do it")
	f.StringVar(&w.intent, "intent", "", "what it is to do, in your words; approvers read it")
	f.StringArrayVar(&w.repos, "repo", nil, "repository it is about, UPSTREAM/PATH (repeatable)")
	f.StringArrayVar(&w.resources, "resource", nil, "other resource or pattern, TYPE:NAME (repeatable; needs --action)")
	f.StringArrayVar(&w.tools, "tool", nil, "tool or pattern it may use, SERVER/TOOL, such as github/** (repeatable); by default those that the agent is entitled to")
	f.StringArrayVar(&w.actions, "action", nil, "catalogue action it may take (repeatable); with --repo or --tool alone: reading, pushing, its issues and its tools")
	f.StringArrayVar(&w.refs, "ref", nil, "ref or pattern it may push to (repeatable); by default its own branches")
	f.StringArrayVar(&w.paths, "path", nil, "path or pattern it may change (repeatable); by default all")
	f.StringArrayVar(&w.envelopePaths, "envelope-path", nil, "path that the intent means (repeatable); a change elsewhere waits for a person")
	f.Var(&w.life, "for", "how long it lives; 8h by default, 24h at most")
	f.IntVar(&w.maxCommits, "max-commits", 0, "most new commits in one push")
	f.Int64Var(&w.maxBytes, "max-bytes", 0, "most bytes in one push")
	f.IntVar(&w.budget.Decisions, "budget-decisions", 0, "most decisions in all; 10,000 by default")
	f.IntVar(&w.budget.Holds, "budget-holds", 0, "most holds open at one time; 3 by default")
	f.Int64Var(&w.budget.Bytes, "budget-bytes", 0, "most bytes pushed in all")
}

// request is the task that w asks for.
func (w *wanted) request() (remit.TaskRequest, error) {
	r := remit.TaskRequest{Agent: w.agent, Intent: w.intent, For: time.Duration(w.life), Budget: w.budget}
	switch {
	case w.agent == "":
		return r, usagef("--agent says which agent is to do it; remit agent list shows them")
	case strings.TrimSpace(w.intent) == "":
		return r, usagef("--intent says in your words what the agent is to do; approvers read it")
	case w.maxCommits < 0 || w.maxBytes < 0 || w.budget.Decisions < 0 || w.budget.Holds < 0 || w.budget.Bytes < 0:
		return r, usagef("a limit is not negative")
	case len(w.resources) > 0 && len(w.actions) == 0:
		return r, usagef("--resource needs --action, for instance --action deploy.read --resource environment:payments/staging")
	}
	s := remit.Scope{MaxCommits: w.maxCommits, MaxBytes: w.maxBytes}
	for _, repo := range w.repos {
		p, err := remit.ParsePattern("repo:" + strings.TrimPrefix(repo, "repo:"))
		if err != nil {
			return r, usagef("--repo %w", err)
		}
		s.Resources = append(s.Resources, p)
	}
	for _, res := range w.resources {
		p, err := remit.ParsePattern(res)
		if err != nil {
			return r, usagef("--resource %w", err)
		}
		s.Resources = append(s.Resources, p)
	}
	for _, act := range w.actions {
		if _, ok := remit.Lookup(remit.Action(act)); !ok {
			return r, usagef("--action %q is not in the catalogue; actions are for instance source.read, source.push, source.merge", act)
		}
		s.Actions = append(s.Actions, remit.Action(act))
	}
	for _, ref := range w.refs {
		p, err := remit.ParseRefPattern(ref)
		if err != nil {
			return r, usagef("--ref %w", err)
		}
		s.Refs = append(s.Refs, p)
	}
	var err error
	if s.Paths, err = pathPatterns("--path", w.paths); err != nil {
		return r, err
	}
	if r.Envelope.Paths, err = pathPatterns("--envelope-path", w.envelopePaths); err != nil {
		return r, err
	}
	limited := len(s.Actions) > 0 || len(s.Refs) > 0 || len(s.Paths) > 0 || s.MaxCommits > 0 || s.MaxBytes > 0
	switch {
	case len(s.Resources) == 0 && limited:
		return r, usagef("--repo says where it applies; give it as UPSTREAM/PATH, for instance --repo forge/acme/payments")
	case len(s.Resources) == 0:
		return r, nil // all that the agent is entitled to, for this task
	case len(s.Actions) == 0:
		s.Actions = []remit.Action{"source.read", "source.push"}
	}
	if r.Scope, err = byType(s); err != nil {
		return r, err
	}
	return r, nil
}

// withTools adds to a task that is described by its repositories or tools alone what goes with them: the issues of the
// repositories, and of the tools that its agent is entitled to all, or those that --tool names.
func (w *wanted) withTools(ctx context.Context, c *client.Client, r *remit.TaskRequest) error {
	if len(w.actions) > 0 || len(r.Scope)+len(w.tools) == 0 {
		return nil
	}
	agent, err := c.Agent(ctx, w.agent)
	if err != nil {
		return err
	}
	var asked []remit.Pattern
	for _, t := range w.tools {
		p, err := remit.ParsePattern("tool:" + strings.TrimPrefix(t, "tool:"))
		if err != nil {
			return usagef("--tool %w", err)
		}
		asked = append(asked, p)
	}
	for _, e := range agent.Entitlements {
		var tools, issues remit.Scope
		for _, act := range e.Actions {
			switch info, _ := remit.Lookup(act); {
			case info.Stage == remit.StageTool:
				tools.Actions = append(tools.Actions, act)
			case info.Stage == remit.StagePlan && info.Resource == "repo":
				issues.Actions = append(issues.Actions, act)
			}
		}
		for _, p := range e.Resources {
			if remit.Resource(p).Type() != "tool" {
				for _, repo := range w.repos {
					if q := remit.Pattern("repo:" + strings.TrimPrefix(repo, "repo:")); p.Contains(q) {
						issues.Resources = append(issues.Resources, q)
					}
				}
				continue
			}
			if asked == nil {
				tools.Resources = append(tools.Resources, p)
			}
			for _, q := range asked {
				switch {
				case p.Contains(q):
					tools.Resources = append(tools.Resources, q)
				case q.Contains(p):
					tools.Resources = append(tools.Resources, p)
				}
			}
		}
		for _, s := range []remit.Scope{tools, issues} {
			if len(s.Actions) > 0 && len(s.Resources) > 0 {
				r.Scope = append(r.Scope, s)
			}
		}
	}
	return nil
}

// byType is one scope for each type of resource, with the actions that act on it: repositories and artifacts are asked
// for in one breath.
func byType(s remit.Scope) ([]remit.Scope, error) {
	var out []remit.Scope
	used := map[remit.Action]bool{}
	for _, res := range s.Resources {
		typ := remit.Resource(res).Type()
		i := slices.IndexFunc(out, func(o remit.Scope) bool { return remit.Resource(o.Resources[0]).Type() == typ })
		if i >= 0 {
			out[i].Resources = append(out[i].Resources, res)
			continue
		}
		o := s
		o.Resources, o.Actions = []remit.Pattern{res}, nil
		for _, act := range s.Actions {
			if info, _ := remit.Lookup(act); info.Resource == typ {
				o.Actions, used[act] = append(o.Actions, act), true
			}
		}
		if len(o.Actions) == 0 {
			return nil, usagef("no --action acts on %s; name one that does", res)
		}
		if typ != "repo" {
			o.Refs, o.Paths, o.MaxBytes, o.MaxCommits = nil, nil, 0, 0
		}
		out = append(out, o)
	}
	for _, act := range s.Actions {
		if !used[act] {
			info, _ := remit.Lookup(act)
			return nil, usagef("%s acts on a resource of type %s, and none is named: --resource %s:NAME", act, info.Resource, info.Resource)
		}
	}
	return out, nil
}

func pathPatterns(flag string, texts []string) ([]remit.Pattern, error) {
	var out []remit.Pattern
	for _, t := range texts {
		p, err := remit.ParsePathPattern(t)
		if err != nil {
			return nil, usagef("%s %w", flag, err)
		}
		out = append(out, p)
	}
	return out, nil
}

func newTask(a *app) *cobra.Command {
	return group("task", "Request work, look at it, end it",
		`A task is requested work: which agent, for what, on which resources, until when. Its grant is what you ask for within what
the agent is entitled to, and dies with the task. Requesting a task does not run anything; remit run does.`,
		`  remit task create --agent coder --intent "fix the rounding" --repo forge/acme/payments
  remit task list
  remit task show T-12`,
		newTaskCreate(a), newTaskRequest(a), newTaskList(a), newTaskShow(a), newTaskEnd(a, "complete"), newTaskEnd(a, "cancel"))
}

func newTaskCreate(a *app) *cobra.Command {
	w, strict := wanted{}, false
	c := &cobra.Command{
		Use:   "create --agent NAME --intent TEXT [--repo R …]",
		Short: "Request work from an agent",
		Long: `Makes a task and prints what its grant really covers. --repo alone asks for source.read and source.push on that repository;
--action, --ref, --path and the limits narrow it. --envelope-path says what your words mean: a step inside the grant but
outside the envelope waits for a person instead of being denied. What the agent is not entitled to is left out, and said;
with --strict there is no task then.`,
		Example: `  remit task create --agent coder --intent "fix the rounding (#12)" --repo forge/acme/payments
  remit task create --agent coder --intent "update the docs" --repo forge/acme/payments --path 'docs/**' --for 4h
  remit task create --agent reviewer --intent "review #12" --repo forge/acme/payments --action review.read --action review.submit`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := w.request()
			if err != nil {
				return err
			}
			r.Strict = strict
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := w.withTools(cmd.Context(), s.Client, &r); err != nil {
				return err
			}
			t, err := s.CreateTask(cmd.Context(), r)
			if err != nil {
				return err
			}
			a.noteDropped(t)
			return a.print(t, func() {
				a.printTask(t)
				a.printf("\nrun it:  remit run --task %s -- COMMAND\n", visible(string(t.ID)))
			})
		},
	}
	w.flags(c)
	c.Flags().BoolVar(&strict, "strict", false, "make no task if the agent is not entitled to all of it")
	return c
}

// noteDropped says which part of what was asked for the task does not have.
func (a *app) noteDropped(t remit.TaskView) {
	for _, line := range strings.Split(scopeLines(t.Dropped), "\n") {
		if line != "" {
			a.notef("remit: warning: not granted, because agent %s is not entitled to it: %s", visible(t.Agent), line)
		}
	}
	if len(t.Dropped) > 0 {
		a.notef("remit: granted is: %s", strings.ReplaceAll(scopeLines(t.Grant), "\n", "; "))
	}
}

func newTaskList(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List the tasks that are alive",
		Long:  "Lists tasks, the newest first: their state, agent, requester, what is left of their time, and the requester's words. --all adds those that have ended.",
		Example: `  remit task list
  remit task list --all -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			tasks, err := s.Tasks(cmd.Context(), all)
			if err != nil {
				return err
			}
			return a.print(tasks, func() {
				if len(tasks) == 0 {
					a.printf("no tasks\n")
					return
				}
				rows := make([][]string, len(tasks))
				for i, t := range tasks {
					rows[i] = []string{visible(string(t.ID)), visible(string(t.Status)), visible(t.Agent), visible(t.Requester), a.when(t.Deadline), holdsText(t.Holds), short(t.Intent, 60)}
				}
				a.table([]string{"TASK", "STATUS", "AGENT", "FOR", "ENDS", "HOLDS", "INTENT"}, rows)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that have ended")
	return c
}

func holdsText(holds []remit.ID) string {
	if len(holds) == 0 {
		return "-"
	}
	return list(holds)
}

func newTaskShow(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "show TASK",
		Short: "Show one task",
		Long:  "Shows what a task may do, for whom and until when, what it has used of its budget, and what of it waits for people.",
		Example: `  remit task show T-12
  remit trace T-12          # what happened in it`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			t, err := s.Task(cmd.Context(), remit.ID(args[0]))
			if err != nil {
				return err
			}
			return a.print(t, func() { a.printTask(t) })
		},
	}
}

func (a *app) printTask(t remit.TaskView) {
	status := string(t.Status)
	if t.Status == remit.TaskOpen && !t.Live {
		status += " (not live)"
	}
	a.printf("%s  %s\n", a.paint(bold, visible(string(t.ID))), a.paint(tone(string(t.Status)), visible(status)))
	a.field("agent", visible(t.Agent)+" ("+visible(string(t.Function))+")")
	a.field("for", visible(t.Requester))
	a.field("intent", quoted(t.Intent))
	a.field("may", scopeLines(t.Grant))
	a.field("branch", visible(t.Branch))
	if e := t.Envelope; len(e.Refs)+len(e.Paths) > 0 {
		a.field("envelope", strings.TrimSpace(list(e.Refs)+" "+list(e.Paths))+"; what lies outside waits for a person")
	}
	a.field("until", fmt.Sprintf("%s (%s)", stamp(t.Deadline), a.when(t.Deadline)))
	used := fmt.Sprintf("%s, %d bytes pushed", counted(t.Decisions, "decision"), t.Bytes)
	if t.Budget.Decisions > 0 {
		used += fmt.Sprintf(" of %d decisions", t.Budget.Decisions)
	}
	if t.Budget.Bytes > 0 {
		used += fmt.Sprintf(" of %d bytes", t.Budget.Bytes)
	}
	a.field("used", used)
	a.field("parent", visible(string(t.Parent)))
	for _, in := range t.Inputs {
		a.field("rests on", visible(in.String()))
	}
	if t.Deploy != nil {
		a.field("deploys", visible(string(t.Deploy.Step().Action)+" "+t.Deploy.Environment))
	}
	a.field("running", list(t.Instances))
	a.field("waits for", list(t.Holds))
	if len(t.Ungoverned) > 0 {
		a.field("ungoverned", "was handed credentials past Remit: "+visible(list(t.Ungoverned)))
	}
}

// quoted is somebody's words, marked as such.
func quoted(s string) string {
	if s == "" {
		return ""
	}
	return "“" + strings.ReplaceAll(visibleText(strings.TrimSpace(s)), "\n", "\n ") + "”"
}

func newTaskEnd(a *app, how string) *cobra.Command {
	c := &cobra.Command{
		Use:   how + " TASK",
		Short: "Say that a task is done",
		Long: `Ends a task and with it every grant, instance and credential that rests on it. If something of it still waits for people,
it is not ended, unless --drop-holds gives that up.`,
		Example: `  remit task complete T-12
  remit task complete T-12 --drop-holds`,
		Args: one,
	}
	past := map[string]string{"complete": "completed", "cancel": "cancelled"}[how]
	drop := how == "cancel"
	if how == "cancel" {
		c.Short = "Give a task up"
		c.Long = "Ends a task that is not wanted any more, with every grant, instance and credential that rests on it, and with what of it waits for people."
		c.Example = "  remit task cancel T-12\n  remit kill task T-12      # at once, also when the log cannot be written"
	} else {
		c.Flags().BoolVar(&drop, "drop-holds", false, "give up what waits for people")
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		s, err := a.connect(cmd.Context())
		if err != nil {
			return err
		}
		id := remit.ID(args[0])
		if err := s.EndTask(cmd.Context(), id, how, remit.EndRequest{DropHolds: drop}); err != nil {
			return err
		}
		return a.printEnded(cmd.Context(), s, id, past)
	}
	return c
}

func (a *app) printEnded(ctx context.Context, s *signed, id remit.ID, past string) error {
	if a.output != "json" {
		a.printf("%s is %s\n", visible(string(id)), past)
		return nil
	}
	t, err := s.Task(ctx, id)
	if err != nil {
		return err
	}
	return a.print(t, nil)
}
