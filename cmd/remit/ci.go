package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/launch"
)

func newCI(a *app) *cobra.Command {
	return group("ci", "Be a CI job inside its remit",
		`A CI job proves which job it is by a token of its forge (GitHub Actions, GitLab CI), and becomes an instance of the agent
that declares such jobs, on the task that asked for a build of its commit. The task must be there before the job starts.

--server, --org and --ca say where the server is; --key is not needed: a job has none.`,
		`  remit ci run -- make release
  remit ci login                    one line in a workflow; the steps after it have git and remit token`, newCIRun(a), newCILogin(a), newCILogout(a))
}

// ciFlags say what the job's token is for and where it comes from.
type ciFlags struct{ audience, variable string }

func (f *ciFlags) flags(c *cobra.Command) {
	c.Flags().StringVar(&f.audience, "audience", "", "what the job's token must be meant for: as declared with the issuer; the server's address by default")
	c.Flags().StringVar(&f.variable, "id-token", "", "variable that has the job's token, where the forge gives it so; "+identity.JobVariable+" by default")
}

// place is where the server is. A job has no key.
func (a *app) place() (profile, *signed, error) {
	flags := a.flags
	defer func() { a.flags = flags }()
	a.flags.Key = "none"
	p, err := a.profile()
	if err != nil {
		return p, nil, err
	}
	s, err := a.dial(p)
	return p, s, err
}

func newCIRun(a *app) *cobra.Command {
	var f ciFlags
	var complete bool
	c := &cobra.Command{
		Use:   "run [--complete] -- COMMAND [ARG …]",
		Short: "Run a command of a CI job inside its remit",
		Long: `Logs the job in and runs the command as remit run does: with an identity and short-lived credentials of its own, and without
the job's other secrets. The instance lives as long as the command, and no longer than its task.

This is the form to prefer: what the command gets, nothing else in the job can use.`,
		Example: `  remit ci run -- make release
  remit ci run --complete -- sh -c 'make image && ./push'`,
		Args: someCommand,
	}
	c.Flags().SetInterspersed(false)
	f.flags(c)
	c.Flags().BoolVar(&complete, "complete", false, "complete the task when the command has succeeded")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		ctx := context.WithoutCancel(cmd.Context()) // signals are the command's: the launcher passes them on
		p, s, err := a.place()
		if err != nil {
			return err
		}
		key, err := identity.NewProofKey()
		if err != nil {
			return err
		}
		job := s.Job(key, func(ctx context.Context) (string, error) {
			return identity.JobSubject(ctx, a.env, cmp.Or(f.audience, p.Server), f.variable)
		})
		var inst client.Instance
		l := launch.Launcher{Session: &noted{job, &inst}, Say: a.stderr, Sole: true}
		o := launch.Options{Command: args, Stdin: file(a.stdin), Stdout: file(a.stdout), Stderr: file(a.stderr)}
		if complete {
			o.Done = func(code int) error {
				if code != 0 {
					return nil
				}
				return job.Complete(ctx, inst.Task, inst.ID, inst.Secret)
			}
		}
		code, err := l.Run(ctx, o)
		if err != nil {
			a.fail(err)
		}
		return exitCode(code)
	}
	return c
}

// noted is a job's session that remembers its instance.
type noted struct {
	*client.JobSession
	inst *client.Instance
}

// StartInstance starts it.
func (n *noted) StartInstance(ctx context.Context, i client.InstanceStart) (client.Instance, error) {
	inst, err := n.JobSession.StartInstance(ctx, i)
	*n.inst = inst
	return inst, err
}

func newCILogin(a *app) *cobra.Command {
	var f ciFlags
	c := &cobra.Command{
		Use:   "login",
		Short: "Log a CI job in for its next steps",
		Long: `Logs the job in and sets up the steps that come after: git goes through Remit, and remit token GATEWAY prints a short-lived
token for another gateway. At GitHub the environment is set by itself (GITHUB_ENV); elsewhere it is printed for the shell.

The login lies in a directory of the job that only its user can read. It is bound to a key there, and ends with the job's
own token (some minutes at GitHub), with the task, or with remit ci logout. When it has ended and the forge gives the job
another token, the next use logs in again.`,
		Example: `  remit ci login
  eval "$(remit ci login)"          # GitLab and others`,
		Args: none,
	}
	f.flags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		p, s, err := a.place()
		if err != nil {
			return err
		}
		dir := cmp.Or(a.getenv("RUNNER_TEMP"), os.TempDir())
		inst, until, env, err := launch.KeepJob(cmd.Context(), launch.JobLogin{Server: p.Server, Org: remit.Org(p.Org), CA: s.ca,
			Audience: cmp.Or(f.audience, p.Server), Variable: f.variable, Dir: dir, Launcher: launch.Launcher{Say: a.stderr}})
		if err != nil {
			return err
		}
		a.notef("remit: this job is instance %s of %s, on task %s, until %s", visible(string(inst.ID)), visible(inst.Agent), visible(string(inst.Task)), stamp(until))
		if path := a.getenv("GITHUB_ENV"); path != "" {
			return appendEnv(path, env)
		}
		for _, kv := range env {
			name, value, _ := strings.Cut(kv, "=")
			fmt.Fprintf(a.stdout, "export %s='%s'\n", name, strings.ReplaceAll(value, "'", `'\''`))
		}
		return nil
	}
	return c
}

// appendEnv tells the steps to come, as GitHub's runner reads it. None of the values is a secret, and none has a line break.
func appendEnv(path string, env []string) error {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("telling the next steps by GITHUB_ENV: %w", err)
	}
	_, err = f.WriteString(strings.Join(env, "\n") + "\n")
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

func newCILogout(a *app) *cobra.Command {
	var complete bool
	c := &cobra.Command{
		Use:   "logout",
		Short: "End the login of a CI job",
		Long:  "Ends the instance that remit ci login started, and removes what it left. Best as a last step that always runs.",
		Example: `  remit ci logout
  remit ci logout --complete`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			dir := a.getenv("REMIT_SOCKET")
			if dir == "" {
				return usagef("REMIT_SOCKET is not set: no step before this one was remit ci login")
			}
			return launch.EndJob(cmd.Context(), dir, complete)
		},
	}
	c.Flags().BoolVar(&complete, "complete", false, "complete the task too: its work is done")
	return c
}
