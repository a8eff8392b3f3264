package main

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/launch"
)

// afterwards bounds what is said to the server once the command has ended.
const afterwards = time.Minute

func newRun(a *app) *cobra.Command {
	w := wanted{}
	var task, confine string
	var env []string
	c := &cobra.Command{
		Use:   "run [--task TASK | --agent NAME --intent TEXT --repo R …] -- COMMAND [ARG …]",
		Short: "Run a command inside its remit",
		Long: `Starts an agent, or any command, as one instance of a task: with an identity and short-lived credentials of its own instead of
yours. Your keys, tokens and agent sockets are taken out of its environment and, where the kernel allows it, out of its
sight. git inside it goes through Remit without any set-up.

Without --task a task is made from --agent, --intent and the flags of remit task create, and completed when the command
ends, unless something of it waits for people. The exit code is the command's own; 125 if Remit could not start it.`,
		Example: `  remit run --agent coder --intent "fix the rounding (#12)" --repo forge/acme/payments -- claude
  remit run --task T-12 -- make test
  remit run --task T-12 --confine home --env GRADLE_OPTS -- codex`,
		Args: someCommand,
	}
	c.Flags().SetInterspersed(false)
	w.flags(c)
	c.Flags().StringVar(&task, "task", "", "task to run in, made before")
	c.Flags().StringVar(&confine, "confine", "", "none hides nothing; home fails where paths cannot be hidden; by default what can be had")
	c.Flags().StringArrayVar(&env, "env", nil, "variable to pass on although it looks like a credential, NAME or NAME=VALUE (repeatable); the task is then marked")
	c.RunE = func(cmd *cobra.Command, args []string) error {
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
		s, err := a.connect(ctx)
		if err != nil {
			return err
		}
		var t remit.TaskView
		if task == "" {
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
		code, err := l.Run(ctx, launch.Options{Task: t.ID, Command: args, Pass: env, Confinement: remit.Confinement(confine),
			Hide: a.secrets(s.profile), Stdin: file(a.stdin), Stdout: file(a.stdout), Stderr: file(a.stderr)})
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

// given tells whether any flag describes a new task.
func (w *wanted) given() bool {
	return w.agent != "" || w.intent != "" || w.life != 0 || w.maxCommits != 0 || w.maxBytes != 0 ||
		len(w.repos)+len(w.resources)+len(w.actions)+len(w.refs)+len(w.paths)+len(w.envelopePaths) > 0
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
	if key, err := filepath.Abs(strings.TrimSuffix(p.Key, ".pub")); err == nil {
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
