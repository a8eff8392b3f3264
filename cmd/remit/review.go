package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
)

func newReview(a *app) *cobra.Command {
	return group("review", "Certify what agents may do, and see what reviews took away",
		`What an agent may ever do is reviewed: on the cadence of a declared campaign, and when something calls for it. Each item shows
exactly how an entitlement was used, and a recommendation. You keep it, shrink it to what was used, or remove it, with your
signature. What nobody certifies by its deadline is removed; what was removed is given back in one act for 30 days.

Agents review changes inside remit run: approve and reject give a verdict on merging exactly one commit, verdicts lists those
that stand.`,
		`  remit review list
  remit review show R-412
  remit review certify --all-recommended
  remit review remove R-412 R-413
  remit review report quarterly
  remit review approve --repo forge/payments --head 9fceb02d0ae598e95dc970b74767f19372d61af8`,
		newItems(a), newReviewShow(a), newAnswer(a, remit.Keep), newAnswer(a, remit.Shrink), newAnswer(a, remit.Remove), newReport(a), newOpenCampaign(a), newRegrant(a),
		newVerdict(a, remit.ReviewApprove), newVerdict(a, remit.ReviewReject), newVerdicts(a))
}

func newItems(a *app) *cobra.Command {
	var all, mine bool
	c := &cobra.Command{
		Use:   "list",
		Short: "List what waits to be reviewed",
		Long: `Lists the items that wait, those that you may answer first, and how far the open campaigns are. USES is how often the
entitlement was used since it was granted, exactly; ADVICE is computed from that alone. --all adds the items of the last 90 days
that have ended.`,
		Example: `  remit review list
  remit review list --mine
  remit review list --all -o json`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			l, err := s.ReviewItems(cmd.Context(), all)
			if err != nil {
				return err
			}
			if mine {
				l.Items = slices.DeleteFunc(l.Items, func(v remit.ItemView) bool { return !v.YouMay })
			}
			return a.print(l, func() { a.printItems(l) })
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that have ended")
	c.Flags().BoolVar(&mine, "mine", false, "only those that you may answer")
	return c
}

func (a *app) printItems(l remit.ReviewList) {
	for _, r := range l.Runs {
		a.printf("%s\n", a.runLine(r))
	}
	if len(l.Runs) > 0 {
		a.printf("\n")
	}
	if len(l.Items) == 0 {
		a.printf("nothing waits to be reviewed\n")
		return
	}
	rows := make([][]string, len(l.Items))
	for i, v := range l.Items {
		last, you := "never", "no"
		if v.LastUse != nil {
			last = a.when(*v.LastUse)
		}
		if v.YouMay {
			you = "may answer"
		}
		rows[i] = []string{visible(string(v.ID)), visible(string(v.Status)), a.when(v.Ends), visible(v.Agent), visible(v.Owner), fmt.Sprint(v.Uses), last, visible(string(v.Advice)), you, short(itemLine(v), 60)}
	}
	a.table([]string{"ITEM", "STATUS", "ENDS", "AGENT", "OWNER", "USES", "LAST USE", "ADVICE", "YOU", "WHAT"}, rows)
	if l.Yours > 0 {
		a.printf("\n%s for you; to take every recommendation: remit review certify --all-recommended\n", counted(l.Yours, "item"))
	}
}

// itemLine is what an item is about.
func itemLine(v remit.ItemView) string {
	if v.Entitlement == nil {
		return "may request work of " + string(v.MayRequest)
	}
	return scopeLines([]remit.Scope{*v.Entitlement})
}

func newReviewShow(a *app) *cobra.Command {
	statement := false
	c := &cobra.Command{
		Use:   "show ITEM|ENTRY",
		Short: "Show an item with its evidence, or a verdict on a change",
		Long: `Shows an item of a review: what the agent has, since when and from whom, how often and for what it was used, what it reaches,
what a shrink would leave, and who may answer. With a number it shows the verdict that this entry of the log records, and the
commits, the tree and the difference that it is on; --statement prints that as the server signs it: an in-toto simple
verification result in a DSSE envelope, which tools that know nothing of Remit verify with the key of remit artifact key.`,
		Example: `  remit review show R-412
  remit review show 57
  remit review show 57 --statement > review.intoto.json`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			if entry, err := parseEntry(args[0]); err == nil {
				return a.showVerdict(cmd.Context(), entry, statement)
			}
			if statement {
				return usagef("--statement is for a verdict, which has the number of an entry, not %.40q", args[0])
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			v, err := s.ReviewItem(cmd.Context(), remit.ID(args[0]))
			if err != nil {
				return err
			}
			return a.print(v, func() { a.printItem(v) })
		},
	}
	c.Flags().BoolVar(&statement, "statement", false, "print a verdict as a signed statement")
	return c
}

func (a *app) printItem(v remit.ItemView) {
	a.printf("%s  %s  %s\n", a.paint(bold, visible(string(v.ID))), a.paint(tone(string(v.Status)), visible(string(v.Status))), visible(causeLine(v)))
	a.field("agent", fmt.Sprintf("%s (%s, %s), owned by %s", visible(v.Agent), visible(string(v.Function)), visible(string(v.AgentStatus)), visible(v.Owner)))
	a.field("may", itemLine(v))
	granted := fmt.Sprintf("entry %d", v.Granted)
	if v.GrantedBy != "" {
		granted += ", by " + visible(v.GrantedBy)
	}
	if v.Alone {
		granted += a.paint(yellow, ", alone")
	}
	a.field("granted", granted)
	uses := a.paint(yellow, "never")
	if v.Uses > 0 {
		uses = fmt.Sprintf("%s, the last in entry %d", counted(v.Uses, "time"), v.LastEntry)
		if v.LastUse != nil {
			uses += ", " + a.when(*v.LastUse)
		}
		if v.Targets > 0 {
			uses += fmt.Sprintf("; on %s", counted(v.Targets, "resource"))
		}
	}
	a.field("used", uses)
	a.field("tasks", fmt.Sprintf("%d had it in their grant", v.Tasks))
	a.field("used for", list(v.Used))
	a.field("never for", list(v.Unused))
	reach := list(v.Reach)
	if v.MoreReach > 0 {
		reach += fmt.Sprintf(" and %d more", v.MoreReach)
	}
	a.field("reaches", reach)
	if v.KeptBefore > 0 {
		a.field("kept before", fmt.Sprintf("entry %d", v.KeptBefore))
	}
	a.field("advice", visible(string(v.Advice))+": "+visible(v.Why))
	if v.Status == remit.ItemOpen && v.Entitlement != nil {
		left := scopeLines(v.Leaves)
		if left == "" {
			left = "nothing"
		}
		a.field("shrunk to", left)
	}
	a.field("reviewers", list(v.Reviewers))
	if r := v.Answered; r != nil {
		said := fmt.Sprintf("%s says %s (entry %d)", visible(r.By), visible(string(r.Answer)), r.Entry)
		if r.Canary {
			said += a.paint(red, "; the agent never had this: it was there to see whether somebody looks")
		}
		a.field("answered", said)
	}
	switch {
	case v.Status == remit.ItemOpen && v.YouMay:
		a.field("you", fmt.Sprintf("may answer before %s: remit review certify %[2]s, shrink %[2]s or remove %[2]s", stamp(v.Ends), visible(string(v.ID))))
	case v.Status == remit.ItemOpen:
		not := "may not keep it: " + visible(v.WhyNot)
		if v.YouMayRemove {
			not += fmt.Sprintf("; you may take it away: remit review remove %s", visible(string(v.ID)))
		}
		a.field("you", not)
		a.field("ends", stamp(v.Ends)+"; what nobody certifies is removed then")
	case v.Ended > 0:
		a.field("receipt", fmt.Sprintf("entry %d: remit log receipt %d", v.Ended, v.Ended))
	}
	if v.RegrantUntil != nil {
		a.field("back", fmt.Sprintf("until %s: remit review regrant %s", stamp(*v.RegrantUntil), visible(string(v.ID))))
	}
}

// causeLine is why an item was opened.
func causeLine(v remit.ItemView) string {
	switch v.Cause {
	case remit.CauseCampaign:
		return "campaign " + v.Campaign
	case remit.CauseOwnerLeft:
		return "the owner of the agent left"
	case remit.CauseNewFunction:
		return "the agent had work of this function done for the first time"
	case remit.CauseUnused:
		return "it was not used for long"
	case remit.CauseWide:
		return "it was granted with a pattern that covers whatever comes"
	}
	return v.Cause
}

func newAnswer(a *app, answer remit.Answer) *cobra.Command {
	var yes, recommended bool
	c := &cobra.Command{
		Use:   string(answer) + " ITEM…",
		Short: map[remit.Answer]string{remit.Shrink: "Shrink what is reviewed to what was used, with your signature", remit.Remove: "Remove what is reviewed, with your signature"}[answer],
		Long: map[remit.Answer]string{
			remit.Shrink: "Shows the items, asks, and signs that each is cut down to what the agent used it for until now. What rests on the rest ends at once; for 30 days it is given back in one act (remit review regrant).",
			remit.Remove: "Shows the items, asks, and signs that each is taken away. What rests on it ends at once; for 30 days it is given back in one act (remit review regrant).",
		}[answer],
		Example: fmt.Sprintf("  remit review %[1]s R-412\n  remit review %[1]s R-412 R-413 --yes", answer),
	}
	if answer == remit.Keep {
		c.Use = "certify ITEM…|--all-recommended"
		c.Short = "Keep what is reviewed, or take every recommendation, with your signature"
		c.Long = `Shows the items with their evidence, asks, and signs that each stays as it is. With --all-recommended each item that you may
answer gets what is recommended: kept if it was used, shrunk to what was used, or removed if it never was. What it will do is
shown first. Your own agents' entitlements that you put there alone you cannot certify.`
		c.Example = "  remit review certify R-412\n  remit review certify --all-recommended\n  remit review certify --all-recommended --yes"
		c.Flags().BoolVar(&recommended, "all-recommended", false, "answer everything that you may with its recommendation")
	}
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.Args = func(_ *cobra.Command, args []string) error {
		switch {
		case recommended && len(args) > 0:
			return fmt.Errorf("--all-recommended takes no items; they are all that you may answer")
		case !recommended && len(args) == 0:
			return fmt.Errorf("say which items: remit review list shows them")
		}
		return nil
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if !yes && !a.terminal() {
			return usagef("there is no terminal to show the items and to ask on; look with remit review show, then give --yes")
		}
		ctx := cmd.Context()
		s, org, err := a.connectOrg(ctx)
		if err != nil {
			return err
		}
		if string(org.Org) != s.profile.Org {
			return remit.Errorf(remit.BadVote, "the server is one of organisation %s, not %s; nothing was signed", visible(string(org.Org)), s.profile.Org)
		}
		items, err := chosen(ctx, s, args, answer)
		if err != nil {
			return err
		}
		if len(items) == 0 {
			return a.print(remit.CertifyAnswer{Items: items}, func() { a.printf("nothing waits for your answer\n") })
		}
		said := make([]remit.Certified, len(items))
		for i, v := range items {
			with := answer
			if recommended {
				with = v.Advice
			}
			if said[i], err = bindItem(v, org.Origin, with); err != nil {
				return err
			}
			if a.output == "json" {
				continue
			}
			if recommended {
				a.printChoice(v, with)
			} else {
				a.printItem(v)
			}
		}
		if err := a.confirm(yes, answerQuestion(said)); err != nil {
			return err
		}
		var after remit.CertifyAnswer
		for part := range slices.Chunk(said, remit.MaxCertified) {
			text := remit.Certification{Origin: org.Origin, Answers: part}.Bytes()
			sig, err := a.sign(ctx, s.profile.Key, remit.ReviewNamespace, text)
			if err != nil {
				return err
			}
			done, err := s.Certify(ctx, remit.CertifyRequest{Statement: text, Signature: sig})
			if err != nil {
				return errors.Join(err, partly(len(after.Items), len(said)))
			}
			after.Items = append(after.Items, done.Items...)
		}
		return a.print(after, func() {
			for _, v := range after.Items {
				a.printf("%s is %s\n", visible(string(v.ID)), afterAnswer(v))
			}
		})
	}
	return c
}

// partly says what of several statements came through before one did not.
func partly(done, of int) error {
	if done == 0 {
		return nil
	}
	return fmt.Errorf("%d of %d items were answered before", done, of)
}

// chosen are the items of ids, or all that the person may answer.
func chosen(ctx context.Context, s *signed, ids []string, answer remit.Answer) ([]remit.ItemView, error) {
	items := []remit.ItemView{}
	if len(ids) == 0 {
		l, err := s.ReviewItems(ctx, false)
		if err != nil {
			return nil, err
		}
		return slices.DeleteFunc(l.Items, func(v remit.ItemView) bool { return !v.YouMay || v.Status != remit.ItemOpen }), nil
	}
	for i, id := range ids {
		if slices.Contains(ids[:i], id) {
			return nil, usagef("item %s stands twice", visible(id))
		}
		v, err := s.ReviewItem(ctx, remit.ID(id))
		switch {
		case err != nil:
			return nil, err
		case v.ID != remit.ID(id):
			return nil, remit.Errorf(remit.BadVote, "the server shows %s, not %s; nothing was signed", visible(string(v.ID)), visible(id))
		case v.Status != remit.ItemOpen:
			return nil, remit.Errorf(remit.Conflict, "%s is %s; there is nothing to answer", visible(id), visible(string(v.Status)))
		case !v.YouMay && !(answer == remit.Remove && v.YouMayRemove):
			return nil, remit.Errorf(remit.NotEligible, "you may not answer %s: %s", visible(id), visible(v.WhyNot))
		}
		items = append(items, v)
	}
	return items, nil
}

// bindItem makes the answer to an item, after checking that what the person is shown is what its digest binds. The server
// is not believed.
func bindItem(v remit.ItemView, origin string, answer remit.Answer) (remit.Certified, error) {
	if err := v.Bound(origin); err != nil {
		return remit.Certified{}, remit.Errorf(remit.BadVote, "item %s: %w; nothing was signed", visible(string(v.ID)), err)
	}
	if !answer.Valid() {
		return remit.Certified{}, remit.Errorf(remit.BadVote, "item %s recommends %q; nothing was signed", visible(string(v.ID)), visible(string(answer)))
	}
	return remit.Certified{Item: v.ID, Answer: answer, Shown: v.Shown}, nil
}

// printChoice is one line or two of what would be done with an item.
func (a *app) printChoice(v remit.ItemView, answer remit.Answer) {
	col := map[remit.Answer]colour{remit.Keep: green, remit.Shrink: yellow, remit.Remove: red}[answer]
	a.printf("%s  %s  %s: %s\n", a.paint(col, fmt.Sprintf("%-6s", answer)), visible(string(v.ID)), visible(v.Agent), itemLine(v))
	a.printf("        %s\n", a.paint(faint, visible(v.Why)))
	if answer == remit.Shrink {
		a.printf("        leaves %s\n", strings.ReplaceAll(scopeLines(v.Leaves), "\n", "; "))
	}
}

func answerQuestion(said []remit.Certified) string {
	n := map[remit.Answer]int{}
	for _, x := range said {
		n[x.Answer]++
	}
	var parts []string
	for _, x := range []remit.Answer{remit.Keep, remit.Shrink, remit.Remove} {
		if n[x] > 0 {
			parts = append(parts, fmt.Sprintf("%s %s", x, counted(n[x], "item")))
		}
	}
	return strings.Join(parts, ", ") + "?"
}

func afterAnswer(v remit.ItemView) string {
	said := visible(string(v.Status))
	if v.Answered != nil && v.Answered.Canary {
		return said + "; " + visible(v.Agent) + " never had this: it was there to see whether somebody looks"
	}
	switch v.Status {
	case remit.ItemShrunk:
		said += " to " + strings.ReplaceAll(scopeLines(v.Leaves), "\n", "; ")
	case remit.ItemKept:
		return fmt.Sprintf("kept (entry %d)", v.Ended)
	}
	if v.Ended > 0 {
		said += fmt.Sprintf(" (receipt: remit log receipt %d)", v.Ended)
	}
	return said
}

func newRegrant(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "regrant ITEM",
		Short: "Give back what a review took away",
		Long: `Gives back, exactly as it was, what an item took away in the last 30 days. Whoever owns the agent or administers asks for it; it
is a widening change, so where there is another administrator it waits for one: then the exit code is 75.`,
		Example: "  remit review regrant R-412",
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			out, err := s.Regrant(cmd.Context(), remit.ID(args[0]))
			if err != nil {
				return err
			}
			return a.printBack(out, visible(args[0])+" is given back")
		},
	}
}

func newRevive(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "revive AGENT",
		Short: "Bring an agent back that suspended or retired itself unused",
		Long: `Brings back an agent that suspended itself because nobody used it: its owner or an administrator does, at once. One that retired
itself in the last 30 days comes back as it was; where there is another administrator, that waits for one: then the exit code is
75. An agent that a person suspended is resumed (remit agent resume), one that a person retired stays retired.`,
		Example: "  remit agent revive coder",
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			out, err := s.Revive(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.printBack(out, visible(args[0])+" is active")
		},
	}
}

// printBack says what came of asking that something comes back.
func (a *app) printBack(out remit.RegrantAnswer, done string) error {
	if err := a.print(out, func() {
		if out.Decision.Verdict == remit.Hold {
			a.printf("%s: %s\n%s\n", a.paint(yellow, "waits for a second administrator"), visible(out.Decision.Sentence), howToApprove(out.Decision.Access))
			return
		}
		a.printf("%s (entry %d)\n", done, out.Decision.Entry)
	}); err != nil {
		return err
	}
	return verdictError(out.Decision)
}

// reviewing says whether campaigns are on time, and what nobody answers.
func (x *examination) reviewing(ctx context.Context, c *client.Client, now time.Time) error {
	l, err := c.ReviewItems(ctx, false)
	if err != nil {
		return err
	}
	late := 0
	for _, v := range l.Items {
		if v.Status == remit.ItemOpen && v.Ends.Sub(now) < 24*time.Hour && v.Uses > 0 {
			late++
		}
	}
	switch {
	case late > 0:
		x.warn("reviews", "%s that agents use end within a day unanswered, and are removed then; remit review list", counted(late, "item"))
	default:
		x.ok("reviews", "items that wait: %d, of them yours: %d", l.Open, l.Yours)
	}
	return nil
}
