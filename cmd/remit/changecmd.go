package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newReview(a *app) *cobra.Command {
	return group("review", "Inside remit run: give a verdict on a change",
		`A review agent says what it thinks of merging exactly one commit. The verdict is bound to the commit, to what merging it would
change and to the branch; on any other change it counts nothing. Who wrote a change, or owns the agent that did, has no verdict on it.`,
		`  remit review approve --repo forge/payments --head 9fceb02d0ae598e95dc970b74767f19372d61af8
  remit review reject --repo forge/payments --head 9fceb02d0ae598e95dc970b74767f19372d61af8 --text "loses cents"`,
		newVerdict(a, remit.ReviewApprove), newVerdict(a, remit.ReviewReject))
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
