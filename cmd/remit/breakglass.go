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

func newBreakGlass(a *app) *cobra.Command {
	return group("break-glass", "Go on without asking, in an emergency that was foreseen, and have it reviewed",
		`Declarations of kind break_glass say who may, for what, for how long, and who looks afterwards. Whoever opens it signs for
it. What of the task lies in its scope then passes without waiting for people, and every step is marked. Somebody who has no
part in it signs a review in time; while one is overdue, none is opened.`,
		`  remit break-glass open fire --task T-12 --reason "the certificate expired"
  remit break-glass list
  remit break-glass review G-41 --right`,
		newGlassOpen(a), newGlassList(a), newGlassReview(a))
}

func newGlassOpen(a *app) *cobra.Command {
	var task, reason string
	c := &cobra.Command{
		Use:     "open NAME --task TASK --reason TEXT",
		Short:   "Open declared break-glass for a task",
		Long:    "Signs, with a touch of your hardware-backed key, that you open it, now and for this task. Everybody who is told of such things is told.",
		Example: `  remit break-glass open fire --task T-12 --reason "the certificate expired"`,
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			if strings.TrimSpace(reason) == "" || task == "" {
				return usagef("--task says for which task, and --reason why, in your words")
			}
			ctx := cmd.Context()
			s, org, err := a.connectOrg(ctx)
			if err != nil {
				return err
			}
			text := remit.Opening{Origin: org.Origin, Name: args[0], Task: remit.ID(task), Reason: remit.Hash([]byte(reason)), At: time.Now()}.Bytes()
			sig, err := a.sign(ctx, s.profile.Key, remit.BreakGlassNamespace, text)
			if err != nil {
				return err
			}
			v, err := s.OpenBreakGlass(ctx, remit.OpenGlassRequest{Reason: reason, Statement: text, Signature: sig})
			if err != nil {
				return err
			}
			return a.print(v, func() {
				a.printf("%s is open for task %s until %s\nit has to be reviewed until %s: remit break-glass review %s\n", visible(string(v.ID)), visible(string(v.Task)), stamp(v.Until), stamp(v.Due), visible(string(v.ID)))
			})
		},
	}
	c.Flags().StringVar(&task, "task", "", "the task that goes on without asking")
	c.Flags().StringVar(&reason, "reason", "", "why, in your words; whoever reviews it reads it")
	return c
}

func newGlassList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List break-glass that was opened, and what of it waits for a review",
		Long:    "Lists break-glass that was opened, the newest first: by whom, for which task, why, what passed under it, and who reviewed it. remit why ENTRY explains each entry.",
		Example: `  remit break-glass list`,
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			list, err := s.BreakGlass(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list, func() {
				if len(list) == 0 {
					a.printf("none was opened\n")
				}
				for _, v := range list {
					a.printGlass(v)
				}
			})
		},
	}
}

func (a *app) printGlass(v remit.GlassView) {
	state := "review due " + stamp(v.Due)
	switch {
	case v.Reviewed != "" && v.Right:
		state = "reviewed by " + visible(v.Reviewed) + ": right"
	case v.Reviewed != "":
		state = a.paint(red, "reviewed by "+visible(v.Reviewed)+": wrong")
	case v.Overdue:
		state = a.paint(red, "review overdue since "+stamp(v.Due))
	}
	entries := make([]string, len(v.Entries))
	for i, e := range v.Entries {
		entries[i] = fmt.Sprint(e)
	}
	a.printf("%s  %s  %s for task %s, open until %s; %s\n", a.paint(bold, visible(string(v.ID))), visible(v.Name), visible(v.By), visible(string(v.Task)), stamp(v.Until), state)
	a.field("reason", quoted(v.Reason))
	a.field("entries", strings.Join(entries, " "))
	if v.YouMay {
		a.field("you", "may review it: remit break-glass review "+visible(string(v.ID))+" --right, or --wrong")
	}
}

func newGlassReview(a *app) *cobra.Command {
	var right, wrong bool
	c := &cobra.Command{
		Use:     "review ID --right|--wrong",
		Short:   "Review what was done under break-glass",
		Long:    "Shows what passed, and signs that you have looked at exactly that, with your verdict. Whoever has a part in it cannot.",
		Example: "  remit break-glass review G-41 --right\n  remit break-glass review G-41 --wrong",
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			s, org, err := a.connectOrg(ctx)
			if err != nil {
				return err
			}
			list, err := s.BreakGlass(ctx)
			if err != nil {
				return err
			}
			i := slices.IndexFunc(list, func(v remit.GlassView) bool { return string(v.ID) == args[0] })
			if i < 0 {
				return remit.Errorf(remit.NotFound, "there is no break-glass %s", visible(args[0]))
			}
			v := list[i]
			if !v.YouMay {
				return remit.Errorf(remit.NotEligible, "you may not review %s: %s", visible(args[0]), visible(v.WhyNot))
			}
			if a.output != "json" {
				a.printGlass(v)
			}
			// The digest is made of the entries that were shown, whatever the server says that it is.
			text := remit.Looking{Origin: org.Origin, ID: v.ID, Steps: remit.StepsDigest(v.Entries), Right: right}.Bytes()
			sig, err := a.sign(ctx, s.profile.Key, remit.BreakGlassNamespace, text)
			if err != nil {
				return err
			}
			after, err := s.ReviewBreakGlass(ctx, v.ID, remit.ReviewGlassRequest{Statement: text, Signature: sig})
			if err != nil {
				return err
			}
			return a.print(after, func() { a.printf("%s is reviewed\n", visible(string(after.ID))) })
		},
	}
	c.Flags().BoolVar(&right, "right", false, "it was right to open it, and what was done was right")
	c.Flags().BoolVar(&wrong, "wrong", false, "it was not")
	c.MarkFlagsOneRequired("right", "wrong")
	c.MarkFlagsMutuallyExclusive("right", "wrong")
	return c
}

// reviews names break-glass that nobody has reviewed in time: until somebody has, none can be opened.
func (x *examination) reviews(ctx context.Context, c *client.Client) error {
	list, err := c.BreakGlass(ctx)
	if err != nil {
		return err
	}
	missing := false
	for _, v := range list {
		missing = missing || v.Reviewed == ""
		switch {
		case v.Overdue:
			x.fail("break-glass "+string(v.ID), "%s opened %s for task %s, and its review is overdue since %s: nobody can open break-glass until somebody has signed one (remit break-glass review %s)",
				v.By, v.Name, v.Task, stamp(v.Due), v.ID)
		case v.Reviewed == "":
			x.warn("break-glass "+string(v.ID), "%s opened %s for task %s; its review is due at %s", v.By, v.Name, v.Task, stamp(v.Due))
		}
	}
	if !missing {
		x.ok("break-glass", "no review is missing")
	}
	return nil
}
