package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

func newApprovals(a *app) *cobra.Command {
	list := newApprovalsList(a)
	c := group("approvals", "See what waits for people, approve it or refuse it",
		`What an agent may not do by itself waits here with everything that a person needs to decide: who, for whom, why, the exact
change, what it sets off. A vote is a statement signed with your SSH key over exactly that; enough votes make an
approval, good for that change once. Remit then carries it out itself. Without more it lists what waits.`,
		`  remit approvals
  remit approvals show A-41
  remit approvals approve A-41`,
		list, newApprovalsShow(a), newVote(a, true), newVote(a, false))
	args := c.Args
	c.Args = func(c *cobra.Command, given []string) error {
		if len(given) == 0 {
			return nil
		}
		return args(c, given)
	}
	c.RunE = list.RunE
	return c
}

func newApprovalsList(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List what waits for people",
		Long:  "Lists the requests that wait, the newest first, and whether you may vote on each. --all adds those that were used or are void. Below them it says how many items of reviews wait for your answer.",
		Example: `  remit approvals list
  remit approvals list --all -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			cards, err := s.Accesses(cmd.Context(), all)
			if err != nil {
				return err
			}
			var asked *remit.ReviewsWaiting
			if a.output != "json" {
				in, err := s.Inbox(cmd.Context())
				if err != nil {
					return err
				}
				asked = in.Reviews
			}
			return a.print(cards, func() {
				defer a.printReviewsWaiting(asked)
				if len(cards) == 0 {
					a.printf("no request waits\n")
					return
				}
				rows := make([][]string, len(cards))
				for i, v := range cards {
					who := v.Agent
					if who == "" {
						who = v.By
					}
					you := "no"
					if v.YouMay {
						you = "may vote"
					}
					what := strings.ReplaceAll(stepLines(v.Steps), "\n", "; ")
					rows[i] = []string{visible(string(v.ID)), visible(string(v.Status)), visible(who), visible(v.Requester), a.when(v.NotAfter), needLine(v.Needs), you, short(what, 60)}
				}
				a.table([]string{"REQUEST", "STATUS", "WHO", "FOR", "ENDS", "NEEDS", "YOU", "WHAT"}, rows)
			})
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that have ended")
	return c
}

// printReviewsWaiting points to the reviews that wait for who asks.
func (a *app) printReviewsWaiting(r *remit.ReviewsWaiting) {
	if r == nil {
		return
	}
	wait := "items wait"
	if r.Items == 1 {
		wait = "item waits"
	}
	a.printf("\n%d review %s for your answer, the first by %s (%s): remit review list --mine\n", r.Items, wait, stamp(r.Ends), a.when(r.Ends))
}

func newApprovalsShow(a *app) *cobra.Command {
	var diff bool
	c := &cobra.Command{
		Use:   "show REQUEST",
		Short: "Show all that is needed to decide",
		Long: `Shows the card of one request on one screen: who, for whom and in whose words, the refs, commits and changed paths as Remit
read them, the beginning of the diff, the rules that asked for people, what it sets off, who may vote and whether you
may. --diff shows the whole change as far as the card has it.`,
		Example: `  remit approvals show A-41
  remit approvals show A-41 --diff`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			v, err := s.Access(cmd.Context(), remit.ID(args[0]))
			if err != nil {
				return err
			}
			if err := a.print(v, func() { a.printCard(v, diff) }); err != nil {
				return err
			}
			return a.tellSeen(cmd.Context(), s.Client, v)
		},
	}
	c.Flags().BoolVar(&diff, "diff", false, "show the whole change")
	return c
}

func newVote(a *app, approve bool) *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "approve REQUEST",
		Short: "Approve a request, with your signature",
		Long: `Shows the card, asks, and signs your approval of exactly that: this request, its effect, its change and the card that you were
shown, until it ends. If anything of it changes, the vote does not count for it. Your own requests you cannot approve,
nor what you own, launched or pushed.`,
		Example: `  remit approvals approve A-41
  remit approvals approve A-41 --yes`,
		Args: one,
	}
	if !approve {
		c.Use, c.Short = "deny REQUEST", "Refuse a request, with your signature"
		c.Long = "Shows the card, asks, and signs your refusal. One refusal of somebody who may vote ends the request; the agent is told."
		c.Example = "  remit approvals deny A-41\n  remit approvals deny A-41 --yes"
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes && !a.terminal() {
			return usagef("there is no terminal to show the card and to ask on; look with remit approvals show %s, then give --yes", args[0])
		}
		ctx := cmd.Context()
		s, err := a.connect(ctx)
		if err != nil {
			return err
		}
		b, err := prepareVote(ctx, s.Client, remit.ID(args[0]), approve)
		if err != nil {
			return err
		}
		if string(b.org) != s.profile.Org {
			return remit.Errorf(remit.BadVote, "the card is one of organisation %s, not %s; nothing was signed", visible(string(b.org)), s.profile.Org)
		}
		v := b.card
		if v.Status != remit.AccessOpen {
			return remit.Errorf(remit.Conflict, "%s is %s; there is nothing to vote on", visible(string(v.ID)), visible(string(v.Status)))
		}
		if !v.YouMay {
			return remit.Errorf(remit.NotEligible, "you may not vote on %s: %s", visible(string(v.ID)), visible(v.WhyNot))
		}
		if a.output != "json" {
			a.printCard(v, false)
			a.printf("\n")
		}
		if !yes { // who says yes before the card is there has not seen it
			if err := a.tellSeen(ctx, s.Client, v); err != nil {
				return err
			}
		}
		what := "approve"
		if !approve {
			what = "refuse"
		}
		if err := a.confirm(yes, fmt.Sprintf("%s %s?", what, visible(string(v.ID)))); err != nil {
			return err
		}
		after, err := b.cast(ctx, s.Client, func(text []byte) ([]byte, error) {
			return a.sign(ctx, s.profile.Key, remit.VoteNamespace, text)
		})
		if isCode(err, remit.StepUpWanted) {
			return remit.Errorf(remit.StepUpWanted, "%s; sign in so in your browser and vote there: %s/console/approvals/%s", strings.TrimSuffix(err.Error(), " ["+string(remit.StepUpWanted)+"]"), s.profile.Server, visible(string(v.ID)))
		}
		if err != nil {
			return err
		}
		return a.print(after, func() { a.printf("%s\n", afterVote(after, approve)) })
	}
	return c
}

// tellSeen tells the server that a person has had the card before them, where they may vote. A program that reads JSON is none.
func (a *app) tellSeen(ctx context.Context, c *client.Client, v remit.AccessView) error {
	if a.output == "json" || !v.YouMay {
		return nil
	}
	return c.Seen(ctx, v.ID)
}

// afterVote says what happens next.
func afterVote(v remit.AccessView, approve bool) string {
	id := visible(string(v.ID))
	switch {
	case !approve:
		return id + " is refused; it is void, and nothing of it will be done"
	case v.Status == remit.AccessUsed:
		if v.Outcome == "" { // what is only declared is in force with the vote
			return id + " is approved and in force"
		}
		return id + " is approved and was carried out: " + visible(string(v.Outcome))
	case v.Status == remit.AccessMet, v.Status == remit.AccessReserved:
		return id + " is approved; Remit carries it out now (remit wait " + id + ")"
	case v.Status == remit.AccessOpen:
		cast := 0
		for _, x := range v.Votes {
			if x.Approve {
				cast++
			}
		}
		return fmt.Sprintf("your approval of %s counts; it has %s and needs %s", id, counted(cast, "approval"), needLine(v.Needs))
	}
	return fmt.Sprintf("%s is %s: %s", id, visible(string(v.Status)), visible(v.Why.Info().Meaning))
}
