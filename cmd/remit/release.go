package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/launch"
)

// newToken prints a token for a gateway, for tools that cannot ask git's credential helper.
func newToken(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "token GATEWAY",
		Short: "Inside remit run: print a token for a gateway",
		Long: `Prints a bearer token of this instance for one gateway: task, forge, git, oci, secret, mcp, acs, authzen, probe. It is good for minutes and at that gateway
only, and ends with the instance. git needs none of this: its credential helper asks for itself.`,
		Example: `  curl --cacert "$REMIT_CA" -H "Authorization: Bearer $(remit token forge)" …
  remit token oci | docker login --username remit --password-stdin HOST:PORT`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			socket, err := a.inside()
			if err != nil {
				return err
			}
			t, err := launch.TokenThrough(cmd.Context(), socket, args[0])
			if err != nil {
				return err
			}
			return a.print(t, func() { a.printf("%s\n", t.Token) })
		},
	}
}

// inside is the socket of the instance that this process is part of.
func (a *app) inside() (string, error) {
	socket := a.getenv("REMIT_SOCKET")
	if socket == "" || a.getenv("REMIT_INSTANCE") == "" {
		return "", remit.Errorf(remit.Unauthenticated, "this is for an agent inside remit run; a person requests work with remit task create")
	}
	return socket, nil
}

// within is a client with a token for a gateway, in the name of the instance that this process is part of.
func (a *app) within(ctx context.Context, gateway string) (*client.Client, string, error) {
	socket, err := a.inside()
	if err != nil {
		return nil, "", err
	}
	if strings.HasPrefix(a.getenv("REMIT_SERVER"), "http://") { // in a sandbox: the way out adds the token
		return client.Through(socket, remit.Org(a.getenv("REMIT_ORG"))), "", nil
	}
	ca, err := readBounded(a.getenv("REMIT_CA"))
	if err != nil {
		return nil, "", fmt.Errorf("reading the server's CA: %w", err)
	}
	c, err := client.New(a.getenv("REMIT_SERVER"), remit.Org(a.getenv("REMIT_ORG")), ca)
	if err != nil {
		return nil, "", err
	}
	t, err := launch.TokenThrough(ctx, socket, gateway)
	return c, t.Token, err
}

// asked is what a child task is asked for with, as flags say it.
type asked struct {
	wanted
	inputs []string
}

func (w *asked) flags(c *cobra.Command) {
	w.wanted.flags(c)
	c.Flags().StringArrayVar(&w.inputs, "input", nil, "what it rests on: repo:UPSTREAM/PATH@COMMIT or artifact:UPSTREAM/NAME@sha256:… (repeatable)")
}

func (w *asked) request() (remit.ChildRequest, error) {
	t, err := w.wanted.request()
	if err != nil {
		return remit.ChildRequest{}, err
	}
	in := remit.ChildRequest{Agent: t.Agent, Intent: t.Intent, Scope: t.Scope, For: t.For}
	for _, s := range w.inputs {
		i, err := remit.ParseInput(s)
		if err != nil {
			return in, usagef("--input %w", err)
		}
		in.Inputs = append(in.Inputs, i)
	}
	return in, nil
}

func newTaskRequest(a *app) *cobra.Command {
	w := &asked{}
	c := &cobra.Command{
		Use:   "request --agent NAME --intent TEXT [--repo R …] [--input NAME@ID …]",
		Short: "Inside remit run: ask for work of an agent of another function",
		Long: `Asks for a child task: a coding agent has its commit reviewed or built, a build agent has its artifact released. The child
has its own agent, grant and credentials; it rests on commits and digests, never on branches or tags. What crosses into
production waits for a person who had no part in it.`,
		Example: `  remit task request --agent reviewer --intent "review the fix" --repo forge/acme/app --action review.read --action review.submit
  remit task request --agent builder --intent "build it" --resource artifact:oci/app --action artifact.publish --input "repo:forge/acme/app@$(git rev-parse HEAD)"`,
		Args: none,
	}
	w.flags(c)
	c.RunE = func(cmd *cobra.Command, _ []string) error { return a.askFor(cmd.Context(), w, "request") }
	return c
}

func newDelegate(a *app) *cobra.Command {
	w := &asked{}
	c := &cobra.Command{
		Use:   "delegate --agent NAME --intent TEXT --repo R [--path P …] [-- COMMAND [ARG …]]",
		Short: "Inside remit run: hand a smaller part of the task to another agent",
		Long: `Makes a child task whose grant is a strictly smaller part of this task's own: fewer repositories, actions or paths. Whatever
the other agent may do otherwise, it may do no more than that for it, and no longer than this task lives.

With a command it is run at once as that agent, in an instance of its own, as remit run --task does with a task that was
made before; the task is completed when the command ends, unless something of it waits for people.`,
		Example: `  remit delegate --agent docs-coder --intent "the documentation of it" --repo forge/acme/app --path 'docs/**'
  remit delegate --agent docs-coder --intent "the documentation of it" --repo forge/acme/app --path 'docs/**' -- claude -p "document it"`,
		Args: afterDash,
	}
	w.flags(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		in, err := w.request()
		if err != nil {
			return err
		}
		out, err := a.child(cmd.Context(), "delegate", in)
		if err != nil {
			return err
		}
		if len(args) == 0 || out.Task == "" {
			return a.sayChild(out)
		}
		return a.runWithin(context.WithoutCancel(cmd.Context()), // signals are the command's, as with remit run
			launch.Options{Task: out.Task, Command: args, Stdin: file(a.stdin), Stdout: file(a.stdout), Stderr: file(a.stderr)}, true)
	}
	return c
}

// afterDash allows arguments after -- only.
func afterDash(cmd *cobra.Command, args []string) error {
	if len(args) == 0 || cmd.ArgsLenAtDash() == 0 {
		return nil
	}
	return fmt.Errorf("it takes no argument such as %q but a command after --: %s", args[0], usageOf(cmd))
}

func (a *app) askFor(ctx context.Context, w *asked, verb string) error {
	in, err := w.request()
	if err != nil {
		return err
	}
	return a.askChild(ctx, verb, in)
}

// askChild asks for a child task in the name of the instance that this process is part of.
func (a *app) askChild(ctx context.Context, verb string, in remit.ChildRequest) error {
	out, err := a.child(ctx, verb, in)
	if err != nil {
		return err
	}
	return a.sayChild(out)
}

// child is askChild without a word; what is denied is an error.
func (a *app) child(ctx context.Context, verb string, in remit.ChildRequest) (remit.ChildAnswer, error) {
	c, token, err := a.within(ctx, "task")
	if err != nil {
		return remit.ChildAnswer{}, err
	}
	out, err := c.AskChild(ctx, token, verb, in)
	if err != nil {
		return out, err
	}
	if d := cmp.Or(out.Decision, out.Deploy); d != nil && d.Verdict == remit.Deny {
		return out, remit.Errorf(d.Code, "%s", d.Sentence)
	}
	return out, nil
}

// sayChild prints what came of it, and ends with a code of its own where people have to decide first.
func (a *app) sayChild(out remit.ChildAnswer) error {
	decision := cmp.Or(out.Decision, out.Deploy)
	if err := a.print(out, func() {
		if out.Task != "" {
			a.printf("task %s is made\n", visible(string(out.Task)))
		}
		if decision != nil && decision.Verdict == remit.Hold {
			a.printHeld(*decision)
		}
	}); err != nil {
		return err
	}
	if out.Decision != nil && out.Decision.Verdict == remit.Hold {
		return exitCode(remit.ExitWaiting)
	}
	return nil
}

func newRelease(a *app) *cobra.Command {
	return group("release", "Have an artifact deployed, and see what is where",
		`A release is a change of an environment: artifacts, by digest, take the place of what is there. A release agent asks for it;
the people who answer for the environment approve exactly that digest; an executor with an identity of its own carries it
out and looks whether it is so.`,
		`  remit release request --environment payments/staging --artifact artifact:oci/app@sha256:… --intent "release 1.4"
  remit release show payments/production
  remit release history payments/production`,
		newReleaseRequest(a), newReleaseShow(a), newReleaseHistory(a))
}

// deploying is what a deployment is asked for with.
type deploying struct {
	agent, intent string
	life          span
}

func (d *deploying) flags(c *cobra.Command) {
	c.Flags().StringVar(&d.agent, "agent", "", "agent of function deploy that is to do it; by default the only one that may")
	c.Flags().StringVar(&d.intent, "intent", "", "why, in your words; approvers read it")
	c.Flags().Var(&d.life, "for", "how long it may wait; what is left of this task by default")
}

func (d *deploying) request(deploy remit.Deploy) (remit.ChildRequest, error) {
	if strings.TrimSpace(d.intent) == "" {
		return remit.ChildRequest{}, usagef("--intent says why, in your words; approvers read it")
	}
	return remit.ChildRequest{Agent: d.agent, Intent: d.intent, For: time.Duration(d.life), Deploy: &deploy}, nil
}

func parseArtifacts(texts []string) ([]remit.Artifact, error) {
	var out []remit.Artifact
	for _, s := range texts {
		if !strings.HasPrefix(s, "artifact:") {
			s = "artifact:" + s
		}
		in, err := remit.ParseInput(s)
		if err != nil {
			return nil, usagef("--artifact %w", err)
		}
		out = append(out, remit.Artifact{Resource: in.Resource, Digest: in.ID})
	}
	slices.SortFunc(out, func(a, b remit.Artifact) int { return strings.Compare(a.String(), b.String()) })
	return out, nil
}

func newReleaseRequest(a *app) *cobra.Command {
	d := &deploying{}
	var environment string
	var artifacts []string
	c := &cobra.Command{
		Use:   "request --environment NAME --artifact NAME@sha256:… --intent TEXT",
		Short: "Inside remit run: ask that artifacts are deployed to an environment",
		Long: `Asks for a child task of a deploy agent that puts these digests into the environment. What the environment requires of them
(that they were built from merged commits, that they ran in staging) is looked up, not claimed. Then people decide, once.`,
		Example: `  remit release request --environment payments/production --artifact artifact:oci/app@sha256:… --intent "release 1.4"`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			list, err := parseArtifacts(artifacts)
			if err != nil {
				return err
			}
			if environment == "" || len(list) == 0 {
				return usagef("--environment says where to, and --artifact what, by digest")
			}
			in, err := d.request(remit.Deploy{Environment: environment, Artifacts: list})
			if err != nil {
				return err
			}
			return a.askChild(cmd.Context(), "request", in)
		},
	}
	d.flags(c)
	c.Flags().StringVar(&environment, "environment", "", "environment, as it is declared")
	c.Flags().StringArrayVar(&artifacts, "artifact", nil, "artifact:UPSTREAM/NAME@sha256:… (repeatable)")
	return c
}

func newRollback(a *app) *cobra.Command {
	d := &deploying{}
	var artifacts []string
	c := &cobra.Command{
		Use:   "rollback ENVIRONMENT --intent TEXT",
		Short: "Inside remit run: ask that an environment goes back to a release that was good",
		Long: `Asks that the last release that was good in the environment before the one that is there now takes its place again; with
--artifact another one, which must have been good there. It takes the votes that the environment declares for it: one,
unless it says otherwise. A person asks for it through an agent that may: the second example is one line to type.`,
		Example: `  remit rollback payments/production --intent "1.4 loses orders"
  remit run --agent releaser --intent "roll payments back" -- remit rollback payments/production --intent "1.4 loses orders"`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			list, err := parseArtifacts(artifacts)
			if err != nil {
				return err
			}
			in, err := d.request(remit.Deploy{Environment: args[0], Artifacts: list, Rollback: true})
			if err != nil {
				return err
			}
			return a.askChild(cmd.Context(), "request", in)
		},
	}
	d.flags(c)
	c.Flags().StringArrayVar(&artifacts, "artifact", nil, "artifact:UPSTREAM/NAME@sha256:… of a release that was good there (repeatable)")
	return c
}

func newReleaseShow(a *app) *cobra.Command {
	statement, entry := false, uint64(0)
	c := &cobra.Command{
		Use:   "show [ENVIRONMENT [--statement]]",
		Short: "Show what is deployed where, and what waits",
		Long: `Shows each environment, or one, with the digests that are there now, the entry that recorded them, and what waits for people.
With --statement it prints what is there now, or the release of another entry, as the server signs it: a SLSA verification
summary in a DSSE envelope, with the digests, the evidence, who approved, who carried it out and what came of it.`,
		Example: `  remit release show
  remit release show payments/production -o json
  remit release show payments/production --statement > release.intoto.json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if statement {
				return a.releaseStatement(cmd.Context(), args, remit.EntryIndex(entry))
			}
			envs, err := a.environments(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.print(envs, func() {
				for _, e := range envs {
					a.printf("%s  %s\n", a.paint(bold, visible(e.Name)), visible(e.Tier))
					if e.Current == nil {
						a.printf("  nothing was deployed here through Remit\n")
					} else {
						a.printRelease(*e.Current)
					}
					for _, r := range e.History {
						switch {
						case r.Status == "waiting", r.Status == "approved":
							a.printRelease(r)
						case r.Outcome != "" && r.Outcome != remit.Done && (e.Current == nil || r.At.After(e.Current.At)):
							a.printRelease(r)
							a.printf("    so it is not known what is there: look at the target; then ask for that release again, or roll back\n")
						}
					}
				}
			})
		},
	}
	c.Flags().BoolVar(&statement, "statement", false, "print what is there now as a signed statement")
	c.Flags().Uint64Var(&entry, "entry", 0, "with --statement: the release that this entry of the log records")
	return c
}

// releaseStatement prints the statement on what is in an environment, or on the release of an entry.
func (a *app) releaseStatement(ctx context.Context, args []string, entry remit.EntryIndex) error {
	if len(args) != 1 {
		return usagef("--statement is on one environment: remit release show ENVIRONMENT --statement")
	}
	envs, err := a.environments(ctx, args)
	if err != nil {
		return err
	}
	switch e := envs[0]; {
	case entry != 0 && !slices.ContainsFunc(e.History, func(r remit.ReleaseView) bool { return r.Entry == entry }):
		return remit.Errorf(remit.NotFound, "entry %d records no release of %s; remit release history shows them", entry, e.Name)
	case entry == 0 && e.Current == nil:
		return remit.Errorf(remit.NotFound, "nothing was deployed to %s through Remit", e.Name)
	case entry == 0:
		entry = e.Current.Entry
	}
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	return a.printEnvelope(s.Statement(ctx, "releases", entry))
}

func (a *app) printRelease(r remit.ReleaseView) {
	what := "release"
	if r.Rollback {
		what = "rollback"
	}
	a.printf("  %s %s", a.paint(tone(r.Status), visible(r.Status)), what)
	if r.Entry != 0 {
		a.printf(" of entry %d", r.Entry)
	}
	if r.Access != "" {
		a.printf(", %s", visible(string(r.Access)))
	}
	a.printf(", task %s for %s, %s\n", visible(string(r.Task)), visible(r.Requester), stamp(r.At))
	for _, x := range r.Artifacts {
		a.printf("    %s\n", visible(x.String()))
	}
}

func newReleaseHistory(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "history ENVIRONMENT",
		Short:   "List the releases of an environment, newest first",
		Long:    "Lists what was deployed to an environment and what came of it, the newest first, at most 100.",
		Example: `  remit release history payments/production`,
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			envs, err := a.environments(cmd.Context(), args)
			if err != nil {
				return err
			}
			return a.print(envs[0].History, func() {
				for _, r := range envs[0].History {
					a.printRelease(r)
				}
				if len(envs[0].History) == 0 {
					a.printf("nothing was deployed here through Remit\n")
				}
			})
		},
	}
}

func (a *app) environments(ctx context.Context, args []string) ([]remit.EnvironmentView, error) {
	s, err := a.connect(ctx)
	if err != nil {
		return nil, err
	}
	return s.Environments(ctx, strings.Join(args, ""))
}
