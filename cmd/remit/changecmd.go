package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newVerdicts(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "verdicts [REPOSITORY]",
		Short: "List the verdicts that stand, newest first",
		Long:  "Lists the last verdict of each agent on each change, of all repositories or of one, UPSTREAM/PATH, at most 500.",
		Example: `  remit review verdicts
  remit review verdicts forge/payments -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			list, err := s.Reviews(cmd.Context(), strings.Join(args, ""))
			if err != nil {
				return err
			}
			return a.print(list, func() {
				var rows [][]string
				for _, v := range list {
					rows = append(rows, []string{fmt.Sprint(v.Entry), visible(v.Verdict), visible(v.Repository.Name()), visible(v.Head), visible(v.Agent), visible(string(v.Task))})
				}
				a.table([]string{"ENTRY", "VERDICT", "REPOSITORY", "HEAD", "AGENT", "TASK"}, rows)
			})
		},
	}
}

// showVerdict prints the verdict that an entry records.
func (a *app) showVerdict(ctx context.Context, entry remit.EntryIndex, statement bool) error {
	s, err := a.connect(ctx)
	if err != nil {
		return err
	}
	if statement {
		return a.printEnvelope(s.Statement(ctx, "reviews", entry))
	}
	v, err := s.Review(ctx, entry)
	if err != nil {
		return err
	}
	return a.print(v, func() {
		a.printf("%s of %s\n", a.paint(bold, visible(v.Verdict)), visible(v.Repository.Name()))
		a.field("by agent", visible(v.Agent)+" in task "+visible(string(v.Task)))
		a.field("entry", fmt.Sprintf("%d, %s", v.Entry, stamp(v.At)))
		a.field("head", visible(v.Head))
		a.field("into", visible(v.Ref)+" at "+visible(v.Base))
		a.field("tree", visible(v.Tree))
		a.field("diff", "sha256:"+v.Diff.String())
		if v.Superseded {
			a.field("but", "the agent has given another verdict on this change since")
		}
	})
}

// parseEntry reads the number of an entry of the log.
func parseEntry(s string) (remit.EntryIndex, error) {
	n, err := strconv.ParseUint(s, 10, 63)
	if err != nil {
		return 0, usagef("an entry of the log is a number, not %.40q", s)
	}
	return remit.EntryIndex(n), nil
}

// printEnvelope prints a signed statement as the server wrote it.
func (a *app) printEnvelope(b json.RawMessage, err error) error {
	if err != nil {
		return err
	}
	a.printf("%s\n", b)
	return nil
}

func changeFlags(c *cobra.Command, in *remit.ChangeRequest) {
	c.Flags().StringVar(&in.Repo, "repo", "", "repository, UPSTREAM/PATH")
	c.Flags().StringVar(&in.Head, "head", "", "commit, in full")
	c.Flags().StringVar(&in.Into, "into", "", "branch; the default branch by default")
}

func newVerdict(a *app, verdict string) *cobra.Command {
	in := remit.ChangeRequest{Verdict: verdict}
	c := &cobra.Command{
		Use:     verdict + " --repo R --head COMMIT",
		Short:   map[string]string{remit.ReviewApprove: "Approve a change", remit.ReviewReject: "Reject a change"}[verdict],
		Long:    "Records the verdict on merging the commit into the branch as it is now.",
		Example: "  remit review " + verdict + ` --repo forge/payments --head "$(git rev-parse HEAD)"`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.askChange(cmd.Context(), "review", in)
		},
	}
	changeFlags(c, &in)
	c.Flags().StringVar(&in.Text, "text", "", "why")
	return c
}

func newMerge(a *app) *cobra.Command {
	in := remit.ChangeRequest{}
	c := &cobra.Command{
		Use:   "merge --repo R --head COMMIT",
		Short: "Inside remit run: have a commit merged into a branch",
		Long: `Asks that a commit is merged, for repositories whose upstream is plain git. Remit computes and makes the merge itself; it waits
for the repository's approvers, needs the verdicts that the repository declares, and is also whatever the branch is
declared to set off. If the branch moves before it is approved, it is stale.`,
		Example: `  remit merge --repo forge/payments --head "$(git rev-parse HEAD)"`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.askChange(cmd.Context(), "merge", in)
		},
	}
	changeFlags(c, &in)
	return c
}

func (a *app) askChange(ctx context.Context, verb string, in remit.ChangeRequest) error {
	if in.Repo == "" || in.Head == "" {
		return usagef("--repo says where, and --head which commit, in full")
	}
	c, token, err := a.within(ctx, "change")
	if err != nil {
		return err
	}
	out, err := c.AskChange(ctx, token, verb, in)
	if err != nil {
		return err
	}
	if d := out.Decision; d != nil && d.Verdict == remit.Deny {
		return remit.Errorf(d.Code, "%s", d.Sentence)
	}
	if err := a.print(out, func() {
		switch {
		case out.Decision != nil:
			a.printHeld(*out.Decision)
		case out.Commit != "":
			a.printf("merged as %s\n", visible(out.Commit))
		default:
			a.printf("%s of %s is recorded\n", visible(out.Verdict), visible(out.Head))
		}
	}); err != nil {
		return err
	}
	if out.Decision != nil {
		return exitCode(remit.ExitWaiting)
	}
	return nil
}

// printHeld says where a held step waits.
func (a *app) printHeld(d remit.Decision) {
	a.printf("held as %s: %s\n", visible(string(d.Access)), visible(d.Sentence))
	a.printf("wait for it: remit wait %s\n", visible(string(d.Access)))
}
