package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

// newRoot builds the whole command line anew; nothing of it outlives the invocation.
func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "remit",
		Short: "The authority that developer agents work under",
		Long: `Every developer agent works within its remit, and everyone can check that it did.

A task says what an agent may do, for whom and until when. remit run starts the agent inside it; what needs a person
waits for one (remit approvals); what happened is in a log that anyone can verify (remit log, why, trace).`,
		Example: `  remit quickstart                                     try it on this machine, with nothing set up
  remit run --agent coder --intent "fix #12" --repo forge/acme/payments -- claude
  remit approvals list
  remit kill task T-12`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("there is no command %q", args[0])
			}
			return nil
		},
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return fmt.Errorf("%s", firstLine(err.Error()))
	})
	f := root.PersistentFlags()
	f.VarP(&outputFlag{a}, "output", "o", "what is printed: text or json")
	f.StringVar(&a.flags.Server, "server", "", "the server, https://HOST:PORT [REMIT_SERVER]")
	f.StringVar(&a.flags.Org, "org", "", "the organisation [REMIT_ORG]")
	f.StringVar(&a.flags.CA, "ca", "", "file of the server's CA certificates, PEM [REMIT_CA]")
	f.StringVar(&a.flags.Key, "key", "", "your SSH key: the private key's file, or a .pub whose key is in your ssh-agent [REMIT_KEY]")
	for _, make := range []func(*app) *cobra.Command{
		newLogin, newWhoAmI, newApply, newDiff, newDeclarations, newTask, newPlan, newBreakGlass, newAgent, newRun, newHook, newApprovals, newWait, newKill, newDelegate, newArtifact, newRelease, newRollback, newToken, newSecret, newReview, newMerge, newCI, newExecutor, newEnvironment,
		newPolicy, newPaths, newCheck, newWorkflow, newLog, newWhy, newTrace, newErase, newExport, newFindings, newEvidence, newAttest, newNotify, newGates, newDrain, newClock, newKey, newInvite, newLeases, newInventory, newRightsize, newVersion,
	} {
		root.AddCommand(make(a))
	}
	for _, make := range a.more {
		root.AddCommand(make(a))
	}
	noteStarts(a, root)
	return root
}

// noteStarts notes when a command really begins, so that errors before it are known as mistakes in the command line.
func noteStarts(a *app, c *cobra.Command) {
	if c.RunE != nil {
		run := c.RunE
		c.RunE = func(cmd *cobra.Command, args []string) error {
			a.started = true
			return run(cmd, args)
		}
	}
	if run := c.Run; run != nil {
		c.Run = func(cmd *cobra.Command, args []string) {
			a.started = true
			run(cmd, args)
		}
	}
	for _, sub := range c.Commands() {
		noteStarts(a, sub)
	}
}

// group is a command that only holds others.
func group(use, short, long, example string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, Long: long, Example: example,
		Args: func(c *cobra.Command, args []string) error {
			var names []string
			for _, s := range subs {
				names = append(names, s.Name())
			}
			if len(args) > 0 && !slices.Contains(names, args[0]) {
				return fmt.Errorf("%s has no command %q; it has %s", c.CommandPath(), args[0], strings.Join(names, ", "))
			}
			return fmt.Errorf("%s needs one of %s", c.CommandPath(), strings.Join(names, ", "))
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	c.AddCommand(subs...)
	return c
}

// one, none and someCommand say what arguments a command takes, and what would be right where they are others.
func one(c *cobra.Command, args []string) error {
	if len(args) == 1 {
		return nil
	}
	return fmt.Errorf("it takes one argument, not %d: %s", len(args), usageOf(c))
}

func none(c *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return fmt.Errorf("it takes no argument such as %q: %s", args[0], usageOf(c))
}

func someCommand(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return nil
	}
	return fmt.Errorf("no command is given; write it after --, as in: remit run --task T-12 -- make test")
}

func usageOf(c *cobra.Command) string {
	return strings.TrimSuffix(c.CommandPath(), c.Name()) + c.Use
}

// outputFlag is -o.
type outputFlag struct{ a *app }

func (o *outputFlag) Type() string { return "FORMAT" }

func (o *outputFlag) String() string {
	if o.a != nil && o.a.output == "json" {
		return "json"
	}
	return "text"
}

func (o *outputFlag) Set(s string) error {
	switch s {
	case "text", "json":
		o.a.output = s
		return nil
	}
	return fmt.Errorf("it is text or json")
}

func newVersion(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the release",
		Long:  "Prints the release of this binary and the version of the compiled rules that it decides by.",
		Example: `  remit version
  remit version -o json`,
		Args: none,
		RunE: func(*cobra.Command, []string) error {
			v := struct {
				Version string `json:"version"`
				Rules   int    `json:"rules"`
			}{version, remit.Rules}
			return a.print(v, func() { fmt.Fprintf(a.stdout, "remit %s (rules %d)\n", v.Version, v.Rules) })
		},
	}
}
