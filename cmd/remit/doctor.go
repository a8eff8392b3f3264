package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/broker"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/ledger"
)

// check is one thing that doctor looked at.
type check struct {
	Check    string `json:"check"`
	Result   string `json:"result"` // ok | warn | fail
	Sentence string `json:"sentence"`
}

// examination gathers checks; one that failed makes doctor exit with 1.
type examination struct {
	checks []check
	failed bool
}

func (x *examination) ok(name, format string, args ...any) {
	x.checks = append(x.checks, check{name, "ok", fmt.Sprintf(format, args...)})
}

// warn is what is not covered: true, and no fault.
func (x *examination) warn(name, format string, args ...any) {
	x.checks = append(x.checks, check{name, "warn", fmt.Sprintf(format, args...)})
}

func (x *examination) fail(name, format string, args ...any) {
	x.failed = true
	x.checks = append(x.checks, check{name, "fail", fmt.Sprintf(format, args...)})
}

func newDoctor(a *app) *cobra.Command {
	var data, upstream string
	var machineOnly bool
	var second remit.Source
	c := &cobra.Command{
		Use:   "doctor",
		Short: "See that what must be denied is denied, and what is not covered",
		Long: `Sends a canary through the whole pipeline: a privileged step that no task covers, which must be denied. Then says what
Remit does not protect here: unconfined agents, upstreams that others can reach past Remit, a second head beside the
first.

With --upstream it also tries a credential of somebody else at that upstream (--as-file, --as-env): the forge must refuse
it a push, or there is a way around. A bare repository has no forge that could.

With --data, on the server's own host, it looks at the data directory too.

Of each coding agent in PATH it says what remit run enforces and what it only observes, what in the repository here would
switch the agent's hooks off, and whether --isolate works on this machine. --agents says that only, and asks no server.`,
		Example: `  remit doctor
  remit doctor --upstream forge --as-file ~/.old-token
  remit doctor --data /var/lib/remit`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			x := &examination{}
			x.machine(cmd.Context())
			if machineOnly {
				return a.tell(x)
			}
			if data != "" {
				x.data(layout(data))
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := x.server(cmd.Context(), s.Client); err != nil {
				return err
			}
			if err := x.canary(cmd.Context(), s.Client); err != nil {
				return err
			}
			if err := x.coverage(cmd.Context(), s.Client, upstream, second); err != nil {
				return err
			}
			if err := x.channels(cmd.Context(), s.Client); err != nil {
				return err
			}
			if err := x.reviews(cmd.Context(), s.Client); err != nil {
				return err
			}
			if err := x.reviewing(cmd.Context(), s.Client, a.now()); err != nil {
				return err
			}
			if err := x.reached(cmd.Context(), s.Client); err != nil {
				return err
			}
			return a.tell(x)
		},
	}
	c.Flags().BoolVar(&machineOnly, "agents", false, "look at this machine's agents only; no server is asked")
	c.Flags().StringVar(&data, "data", "", "also look at this data directory, on the server's host")
	c.Flags().StringVar(&upstream, "upstream", "", "try another credential at this upstream")
	c.Flags().StringVar(&second.User, "as-user", "", "user name of that credential; a bearer token without")
	var file, env string
	c.Flags().StringVar(&file, "as-file", "", "file with the secret of that credential")
	c.Flags().StringVar(&env, "as-env", "", "variable with the secret of that credential")
	c.PreRunE = func(*cobra.Command, []string) error {
		switch {
		case file != "" && env != "":
			return usagef("--as-file and --as-env are two ways of saying the same; give one")
		case file != "":
			second.From, second.Name = "file", file
		case env != "":
			second.From, second.Name = "env", env
		}
		if (upstream == "") != (second.From == "") {
			return usagef("--upstream goes with --as-file or --as-env: the credential that the forge must refuse")
		}
		return nil
	}
	return c
}

// tell prints what was found.
func (a *app) tell(x *examination) error {
	err := a.print(x.checks, func() {
		for _, c := range x.checks {
			a.printf("%s  %s: %s\n", a.paint(tone(map[string]string{"ok": "allow", "warn": "hold", "fail": "deny"}[c.Result]), fmt.Sprintf("%-4s", c.Result)), c.Check, visible(c.Sentence))
		}
	})
	if err == nil && x.failed {
		return exitCode(remit.ExitError)
	}
	return err
}

// data looks at what lies on the server's disk.
func (x *examination) data(l layout) {
	info, err := os.Stat(string(l))
	switch {
	case err != nil:
		x.fail("data directory", "%v", err)
		return
	case info.Mode().Perm()&0o077 != 0:
		x.fail("data directory", "others may look into it; say: chmod 700 %s", string(l))
	default:
		x.ok("data directory", "closed to others")
	}
	if _, err := ledger.LoadKey(l.key()); err != nil {
		x.fail("log key", "%v", err)
	} else {
		x.ok("log key", "readable by its owner only; whoever has it can rewrite what no outsider has seen")
	}
	if _, err := os.Stat(l.at("second-head")); err == nil {
		x.warn("second head", "it lies in the data directory, where it protects against accidents only; give the server --second-head on another volume")
	}
}

// server looks at what anybody can see of it.
func (x *examination) server(ctx context.Context, c *client.Client) error {
	org, err := c.Org(ctx)
	if err != nil {
		return err
	}
	head, err := c.LogHead(ctx)
	if err != nil {
		return err
	}
	if cp, err := ledger.OpenCheckpoint([]byte(head.Checkpoint), org.Verifier); err != nil {
		x.fail("log", "its head is not signed by the key that the organisation names: %v", err)
	} else {
		x.ok("log", "%d entries, signed", cp.Size)
	}
	if org.Profile == remit.Demo {
		x.warn("profile", "demo: votes of one machine count; it shows, it does not protect")
	} else {
		x.ok("profile", "%s", org.Profile)
	}
	p, err := c.Policy(ctx)
	if err != nil {
		return err
	}
	x.ok("policy", "bundle %s with %d modules is in force", p.Digest.String()[:12], len(p.Files))
	return nil
}

// canary takes a step that nothing covers through the whole pipeline. It needs an agent that the person may start.
func (x *examination) canary(ctx context.Context, c *client.Client) error {
	agents, err := c.Agents(ctx)
	if err != nil {
		return err
	}
	who, err := c.WhoAmI(ctx)
	if err != nil {
		return err
	}
	var agent string
	for _, a := range agents {
		if a.Owner == who.Name && a.Status == remit.AgentActive && len(a.Entitlements) > 0 {
			agent = a.Name
		}
	}
	if agent == "" {
		x.warn("canary", "you own no active agent with entitlements, so the canary could not fly")
		return nil
	}
	task, err := c.CreateTask(ctx, remit.TaskRequest{Agent: agent, Intent: "remit doctor: a canary that must be denied", For: 10 * time.Minute})
	if err != nil {
		return err
	}
	defer func() {
		if err := c.EndTask(context.WithoutCancel(ctx), task.ID, "complete", remit.EndRequest{}); err != nil {
			x.fail("canary", "its task %s could not be completed: %v", task.ID, err)
		}
	}()
	s := c.Session()
	inst, err := s.StartInstance(ctx, client.InstanceStart{Task: task.ID, Confinement: remit.ConfineNone})
	if err != nil {
		return err
	}
	defer func() { _ = s.End(context.WithoutCancel(ctx), inst.ID, inst.Secret) }() // the task ends it too
	token, _, err := s.Token(ctx, inst.ID, inst.Secret, "probe")
	if err != nil {
		return err
	}
	for _, kind := range []string{"write", "privileged", "no-such-action"} {
		d, err := c.Probe(ctx, token, kind, "canary")
		if err != nil {
			return err
		}
		if d.Verdict != remit.Deny {
			x.fail("canary", "probe.%s, which no grant covers, was not denied but %s: do not rely on this server", kind, d.Verdict)
			return nil
		}
	}
	gitToken, _, err := s.Token(ctx, inst.ID, inst.Secret, "git")
	if err != nil {
		return err
	}
	if d, err := c.Probe(ctx, gitToken, "read", "canary"); err == nil {
		x.fail("canary", "a token for git was taken at the probe, and answered %s", d.Verdict)
		return nil
	}
	x.ok("canary", "three steps that nothing covers were denied, and a token of another gateway was refused (agent %s, task %s)", agent, task.ID)
	return nil
}

// coverage says what stays open, from the declarations.
func (x *examination) coverage(ctx context.Context, c *client.Client, upstream string, second remit.Source) error {
	set, err := c.Declarations(ctx)
	if err != nil {
		return err
	}
	known := false
	for _, u := range set.Upstreams {
		if u.Kind == "local" {
			x.warn("upstream "+u.Name, "bare repositories in %s have no forge: whoever may write there pushes past Remit; file permissions are all that is in the way", u.Location)
		}
		if u.Name != upstream {
			continue
		}
		known = true
		if u.Kind == "local" {
			x.fail("upstream "+u.Name, "there is no forge that could refuse another credential")
			continue
		}
		if err := x.tryAround(ctx, u, set.Repositories, second); err != nil {
			return err
		}
	}
	if upstream != "" && !known {
		return remit.Errorf(remit.NotFound, "no upstream %q is declared", upstream)
	}
	for _, r := range set.Repositories {
		if r.Effects != nil && len(*r.Effects) == 0 {
			x.warn("repository "+r.Name, "declared with effects: none; what a push sets off there all the same is not judged")
		}
	}
	for _, a := range set.Agents {
		if a.Expires == "" {
			x.warn("agent "+a.Name, "has no date on which it expires")
		}
	}
	return nil
}

// tryAround asks the forge for a push with a credential that must not have it.
func (x *examination) tryAround(ctx context.Context, u remit.Upstream, repos []remit.Repository, second remit.Source) error {
	header, err := broker.Authorization(ctx, second)
	if err != nil {
		return err
	}
	up := &upstreams{}
	transport, err := up.dial(ctx, u)
	if err != nil {
		return err
	}
	for _, r := range repos {
		rest, ok := strings.CutPrefix(r.Name, u.Name+"/")
		if !ok {
			continue
		}
		if r.Path != "" {
			rest = r.Path
		} else {
			rest += ".git"
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(u.Location, "/")+"/"+rest+"/info/refs?service=git-receive-pack", nil)
		if err != nil {
			return err
		}
		req.Header.Set("Authorization", header)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			x.fail("upstream "+u.Name, "%s does not answer: %v", r.Name, err)
			continue
		}
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
		resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
			x.ok("upstream "+u.Name, "the forge refuses that credential a push to %s (%s)", r.Name, resp.Status)
		case http.StatusOK:
			x.fail("upstream "+u.Name, "that credential may push to %s past Remit; take it away at the forge", r.Name)
		default:
			x.fail("upstream "+u.Name, "the forge answers %s for %s, which says neither yes nor no", resp.Status, r.Name)
		}
	}
	return nil
}
