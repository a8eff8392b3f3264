package main

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/launch"
	"github.com/remit-dev/remit/launch/agents"
)

// afterwards bounds what is said to the server once the command has ended.
const afterwards = time.Minute

func newRun(a *app) *cobra.Command {
	w := wanted{}
	var task, confine, isolate, agent string
	var env, allow []string
	c := &cobra.Command{
		Use:   "run [--task TASK | --agent NAME --intent TEXT --repo R …] -- COMMAND [ARG …]",
		Short: "Run a command inside its remit",
		Long: `Starts an agent, or any command, as one instance of a task: with an identity and short-lived credentials of its own instead of
yours. Your keys, tokens and agent sockets are taken out of its environment and, where the kernel allows it, out of its
sight. git inside it goes through Remit without any set-up.

Claude Code, Codex, Gemini CLI, GitHub Copilot CLI and opencode are recognised and set up for this run only: MCP servers
come from Remit, and where the agent has hooks, Remit's judges its shell commands, file edits and web fetches before they
happen. A hook is an early denial with a good reason, not a wall; the wall is that the agent has no credential, and with
--isolate a sandbox out of which it reaches nothing but Remit and its model.

Without --task a task is made from --agent, --intent and the flags of remit task create, and completed when the command
ends, unless something of it waits for people. The exit code is the command's own; 125 if Remit could not start it.

Inside remit run an agent starts its sub-agents so, with no person's key: --task names what it handed on with remit
delegate. The sub-agent has an instance and tokens of its own, which are good for what was handed on and for no more, within
its parent's confinement; it ends with its parent, at most 16 run at a time, and inside --isolate there are none.`,
		Example: `  remit run --agent coder --intent "fix the rounding (#12)" --repo forge/acme/payments -- claude
  remit run --task T-12 -- make test
  remit run --task T-12 --isolate -- codex
  remit run --task T-12 --confine home --env GRADLE_OPTS -- gradle build`,
		Args: someCommand,
	}
	c.Flags().SetInterspersed(false)
	w.flags(c)
	c.Flags().StringVar(&task, "task", "", "task to run in, made before")
	c.Flags().StringVar(&confine, "confine", "", "none hides nothing; home fails where paths cannot be hidden; by default what can be had")
	c.Flags().StringArrayVar(&env, "env", nil, "variable to pass on although it looks like a credential, NAME or NAME=VALUE (repeatable); the task is then marked")
	c.Flags().StringVar(&isolate, "isolate", "", "run it in a sandbox: yes fails where there can be none; best takes what can be had")
	c.Flags().Lookup("isolate").NoOptDefVal = string(launch.IsolateYes)
	c.Flags().StringArrayVar(&allow, "allow-host", nil, "HOST:PORT that a sandbox may reach besides Remit and the agent's model (repeatable)")
	c.Flags().StringVar(&agent, "agent-setup", "", "which agent the command is, "+strings.Join(agents.Names(), ", ")+", or none; by default it is recognised")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		switch i := launch.Isolation(isolate); {
		case i != launch.IsolateNo && i != launch.IsolateYes && i != launch.IsolateBest:
			return usagef("--isolate is yes or best, not %q", isolate)
		case i != launch.IsolateNo && confine != "":
			return usagef("--isolate confines more than --confine can; give one of them")
		case i == launch.IsolateNo && len(allow) > 0:
			return usagef("--allow-host goes with --isolate; without it every host can be reached")
		}
		if _, known := agents.Named(agent); agent != "" && agent != launch.NoAgent && !known {
			return usagef("--agent-setup is %s or none, not %q", strings.Join(agents.Names(), ", "), agent)
		}
		switch remit.Confinement(confine) {
		case "", remit.ConfineNone, remit.ConfineHome:
		default:
			return usagef("--confine is none or home, not %q", confine)
		}
		var request remit.TaskRequest
		var err error
		if task == "" {
			if request, err = w.request(); err != nil {
				return err
			}
		} else if w.given() {
			return usagef("--task names a task that exists; the flags that describe a new one do not go with it")
		}
		ctx := context.WithoutCancel(cmd.Context()) // signals are the command's: the launcher passes them on
		options := launch.Options{Task: remit.ID(task), Command: args, Pass: env, Confinement: remit.Confinement(confine),
			Isolate: launch.Isolation(isolate), Allow: allow, Agent: agent, Stdin: file(a.stdin), Stdout: file(a.stdout), Stderr: file(a.stderr)}
		if _, err := a.inside(); err == nil {
			return a.runWithin(ctx, options, false)
		}
		s, err := a.connect(ctx)
		if err != nil {
			return err
		}
		var t remit.TaskView
		if task == "" {
			if err := w.withTools(ctx, s.Client, &request); err != nil {
				return err
			}
			t, err = s.CreateTask(ctx, request)
		} else {
			t, err = s.Task(ctx, remit.ID(task))
		}
		if err != nil {
			return err
		}
		a.noteDropped(t)
		where := ""
		if slices.ContainsFunc(t.Grant, func(s remit.Scope) bool { return slices.Contains(s.Actions, "source.push") }) {
			where = "; it pushes to " + visible(t.Branch)
		}
		a.notef("remit: task %s for %s, until %s%s", visible(string(t.ID)), visible(t.Agent), stamp(t.Deadline), where)
		l := launch.Launcher{Session: s.Session(), Say: a.stderr, Sole: true}
		options.Task, options.Hide = t.ID, a.secrets(s.profile)
		code, err := l.Run(ctx, options)
		if err != nil {
			a.fail(err)
		}
		if task == "" {
			a.finish(ctx, t.ID, err == nil)
		}
		return exitCode(code)
	}
	return c
}

// runWithin runs a sub-agent's command in the name of the instance that this process is part of. complete: its task was made
// for this command, and ends with it, unless something of it waits for people.
func (a *app) runWithin(ctx context.Context, o launch.Options, complete bool) error {
	if o.Task == "" {
		return usagef("inside remit run, --task names what was handed on with remit delegate; only a person makes a task of its own")
	}
	socket, err := a.inside()
	if err != nil {
		return err
	}
	outer, err := launch.NewOuter(socket)
	if err != nil {
		return err
	}
	a.notef("remit: task %s, handed on by instance %s", visible(string(o.Task)), visible(a.getenv("REMIT_INSTANCE")))
	// Where the kernel lets the sub-agent be confined in turn, the files of its parent's instance are out of its sight.
	o.Hide = append(a.secrets(profile{}), filepath.Dir(socket))
	if complete {
		o.Done = func(int) error {
			ctx, cancel := context.WithTimeout(ctx, afterwards)
			defer cancel()
			if err := outer.CompleteTask(ctx, o.Task); err != nil {
				return fmt.Errorf("task %s is not ended: %w", o.Task, err)
			}
			return nil
		}
	}
	code, err := launch.Launcher{Session: outer, Say: a.stderr, Sole: true}.Run(ctx, o)
	if err != nil {
		a.fail(err)
	}
	return exitCode(code)
}

// given tells whether any flag describes a new task.
func (w *wanted) given() bool {
	return w.agent != "" || w.intent != "" || w.life != 0 || w.maxCommits != 0 || w.maxBytes != 0 ||
		len(w.repos)+len(w.resources)+len(w.tools)+len(w.actions)+len(w.refs)+len(w.paths)+len(w.envelopePaths) > 0
}

// secrets are what of this person's own lies outside the paths that the launcher knows: sessions and the key.
func (a *app) secrets(p profile) []string {
	var hide []string
	if dir := a.sessionDir(); dir != "" {
		hide = append(hide, dir)
	}
	if config, err := a.configFile(); err == nil {
		hide = append(hide, filepath.Dir(config))
	}
	if key, err := filepath.Abs(strings.TrimSuffix(p.Key, ".pub")); err == nil && p.Key != "" {
		hide = append(hide, key)
	}
	return hide
}

// finish ends a task that run made for its command, unless something of it waits for people.
func (a *app) finish(ctx context.Context, id remit.ID, ran bool) {
	ctx, cancel := context.WithTimeout(ctx, afterwards)
	defer cancel()
	name := visible(string(id))
	left := func(err error) {
		a.notef("remit: task %s is not ended: %s; end it with: remit task complete %s", name, visible(err.Error()), name)
	}
	s, err := a.connect(ctx)
	if err != nil {
		left(err)
		return
	}
	how := "complete"
	if !ran {
		how = "cancel"
	}
	t, err := s.Task(ctx, id)
	switch {
	case err != nil:
		left(err)
	case t.Status != remit.TaskOpen && t.Status != remit.TaskWaiting:
		a.notef("remit: task %s is %s", name, visible(string(t.Status)))
	case len(t.Holds) > 0:
		a.notef("remit: task %s waits for people: %s. When they approve, Remit does it by itself; nothing needs to be sent again", name, list(t.Holds))
		for _, h := range t.Holds {
			a.notef("  remit wait %s", visible(string(h)))
		}
	default:
		if err := s.EndTask(ctx, id, how, remit.EndRequest{}); err != nil {
			left(err)
			return
		}
		a.notef("remit: task %s is %s", name, map[string]string{"complete": "completed", "cancel": "cancelled"}[how])
	}
}
