package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

// runLine is how far a run is.
func (a *app) runLine(r remit.RunView) string {
	c := r.Counts
	line := fmt.Sprintf("%s  %s  %d of %s answered, %s", a.paint(bold, visible(string(r.ID))), visible(r.Campaign), c.Items-r.Open, counted(c.Items, "item"), countLine(c))
	switch {
	case r.Closed != nil:
		return line + "; closed " + a.when(*r.Closed)
	case r.Opening > 0:
		line += fmt.Sprintf("; items of %s are still to be opened", counted(r.Opening, "agent"))
	}
	return line + "; ends " + a.when(r.Deadline)
}

func countLine(c remit.RunCount) string {
	return fmt.Sprintf("%d kept, %d shrunk, %d removed, %d lapsed", c.Kept, c.Shrunk, c.Removed, c.Lapsed)
}

func newReport(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "report [CAMPAIGN|RUN]",
		Short: "Report on campaigns: what was kept, shrunk, removed, and who looked",
		Long: `Lists the declared campaigns and when each opens again, or the runs of one, or one run item by item: what was answered by whom,
what nobody certified, and the entry that is the receipt of each removal. Once a run is closed, the share of its canaries that
somebody looked at is shown: items about what the agent never had.`,
		Example: `  remit review report
  remit review report quarterly
  remit review report C-380 -o json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			s, err := a.connect(ctx)
			if err != nil {
				return err
			}
			list, err := s.Campaigns(ctx)
			if err != nil {
				return err
			}
			if len(args) == 0 {
				return a.print(list, func() { a.printCampaigns(list) })
			}
			if i := slices.IndexFunc(list, func(c remit.CampaignView) bool { return c.Name == args[0] }); i >= 0 {
				return a.print(list[i], func() { a.printCampaigns(list[i : i+1]) })
			}
			r, err := s.CampaignRun(ctx, remit.ID(args[0]))
			if err != nil {
				return err
			}
			return a.print(r, func() { a.printRun(r) })
		},
	}
}

func (a *app) printCampaigns(list []remit.CampaignView) {
	if len(list) == 0 {
		a.printf("no campaign is declared (campaigns: in the declarations)\n")
	}
	for _, c := range list {
		next := "it is not declared any more"
		if c.Next != nil {
			next = "opens " + a.when(*c.Next)
		}
		a.printf("%s  %s (%s, UTC), %s to answer; %s\n", a.paint(bold, visible(c.Name)), visible(c.Cadence), "cron", visible(c.Due), next)
		for _, r := range c.Runs {
			a.printf("    %s\n", a.runLine(r))
			if r.Looked != nil {
				a.printf("        %s\n", lookedLine(r))
			}
		}
	}
}

// lookedLine is what the canaries of a run say.
func lookedLine(r remit.RunView) string {
	line := fmt.Sprintf("attention: %d %% of the %s that were answered were not kept", *r.Looked, counted(r.Counts.Canaries, "canary item"))
	if r.Counts.Unseen > 0 {
		line += fmt.Sprintf("; %d were answered by nobody", r.Counts.Unseen)
	}
	return line
}

func (a *app) printRun(r remit.RunView) {
	a.printf("%s\n", a.runLine(r))
	a.field("opened", fmt.Sprintf("%s (entry %d), %s in its scope", stamp(r.Opened), r.Entry, counted(r.Agents, "agent")))
	a.field("void", voidLine(r))
	if r.Looked != nil {
		a.field("attention", strings.TrimPrefix(lookedLine(r), "attention: "))
	}
	a.printf("\n")
	rows := make([][]string, len(r.Items))
	for i, v := range r.Items {
		by, receipt, canary := "", "", ""
		if v.Answered != nil {
			by = visible(v.Answered.By)
			if v.Answered.Canary {
				canary = ", canary"
			}
		}
		if v.Ended > 0 {
			receipt = fmt.Sprint(v.Ended)
		}
		rows[i] = []string{visible(string(v.ID)), visible(string(v.Status)) + canary, by, fmt.Sprint(v.Uses), visible(string(v.Advice)), receipt, visible(v.Agent), short(itemLine(v), 60)}
	}
	a.table([]string{"ITEM", "STATUS", "BY", "USES", "ADVICE", "RECEIPT", "AGENT", "WHAT"}, rows)
}

func voidLine(r remit.RunView) string {
	if r.Counts.Void == 0 {
		return ""
	}
	return fmt.Sprintf("%s came to nothing: what they were about had gone meanwhile", counted(r.Counts.Void, "item"))
}

func newOpenCampaign(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "open CAMPAIGN",
		Short:   "Open a run of a declared campaign now",
		Long:    "Opens a run of a campaign before its time. Its owners have as long to answer as ever; its cadence goes on as declared. For administrators.",
		Example: "  remit review open quarterly",
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			r, err := s.OpenCampaign(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(r, func() {
				a.printf("%s of %s is open until %s, over %s\n", visible(string(r.ID)), visible(r.Campaign), stamp(r.Deadline), counted(r.Agents, "agent"))
			})
		},
	}
}
