package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newLeases(a *app) *cobra.Command {
	var all bool
	c := &cobra.Command{
		Use:   "leases [LEASE]",
		Short: "See the upstream credentials that Remit has made, and which are not seen dead",
		Long: `A task's work at an upstream is done with a credential that is made for that task and that target, and ends with it. A
lease has ended when a probe saw it refused, or when its upstream's own end has passed.

Debt is leases whose end is overdue: Remit goes on trying. Exposure is leases that nothing but their own end ends, and
until when. --all adds those that have ended; with the id of one that has, its receipt is shown.`,
		Example: `  remit leases
  remit leases --all
  remit leases L-57
  remit leases contain forge
  remit leases abandon L-57 --reason "the cluster was dismantled"`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) > 1 {
				return fmt.Errorf("it takes at most one lease, not %d: %s", len(args), usageOf(c))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if len(args) == 1 {
				return a.oneLease(cmd, s, remit.ID(args[0]))
			}
			list, err := s.Leases(cmd.Context(), all)
			if err != nil {
				return err
			}
			return a.print(list, func() { a.printLeases(list) })
		},
	}
	c.Flags().BoolVar(&all, "all", false, "also those that have ended")
	c.AddCommand(newLeaseAbandon(a), newLeaseContain(a))
	return c
}

// oneLease shows a lease that lives, or the receipt of one that has ended.
func (a *app) oneLease(cmd *cobra.Command, s *signed, id remit.ID) error {
	list, err := s.Leases(cmd.Context(), false)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(list.Leases, func(l remit.LeaseView) bool { return l.ID == id }); i >= 0 {
		l := list.Leases[i]
		return a.print(l, func() { a.printLease(l) })
	}
	p, err := s.LeaseReceipt(cmd.Context(), id)
	if err != nil {
		return err
	}
	return a.print(p, func() {
		r := p.Receipt
		a.printf("%s  %s\n", a.paint(bold, visible(string(r.Lease))), a.paint(tone(string(r.Status)), visible(string(r.Status))))
		if r.Status == remit.LeaseAbandoned {
			a.field("reason", visibleText(string(p.Body)))
		} else {
			a.field("was", visible(r.Name)+" at "+visible(r.Upstream)+", for "+visible(string(r.Target)))
			a.field("asked", r.Asked.UTC().Format(time.RFC3339)+" ("+visible(string(r.Why))+")")
			a.field("how", visible(r.How))
			a.field("dead", r.Dead.UTC().Format(time.RFC3339)+", by probe: "+visible(r.Probe))
		}
		a.field("tries", fmt.Sprint(r.Tries))
		a.field("entry", fmt.Sprint(p.Entry)+", which commits to this as "+p.Commitment.String())
	})
}

func (a *app) printLeases(list remit.LeaseList) {
	for _, up := range list.Contained {
		a.printf("%s: nothing is made or done there; remit leases contain --lift %s\n", a.paint(red, "contained "+visible(up)), visible(up))
	}
	if list.Lost != nil {
		a.printf("%s: the log went on from a backup, and does not know what was made after it. Until %s such a credential may live.\n"+
			"Remit finds and ends them by name where an upstream lists them; look at the others yourself, or contain them.\n\n",
			a.paint(red, "exposed"), list.Lost.UTC().Format(time.RFC3339))
	}
	if len(list.Leases) == 0 && list.Lost != nil {
		a.printf("the log knows of no upstream credential that lives\n")
		return
	}
	if len(list.Leases) == 0 {
		a.printf("no upstream credential lives\n")
		return
	}
	rows := make([][]string, len(list.Leases))
	for i, l := range list.Leases {
		use := "read"
		if l.Write {
			use = "write"
		}
		ends := a.when(l.NotAfter)
		switch {
		case l.Ended != nil:
			ends = "ended " + a.when(*l.Ended)
		case l.Due != nil:
			ends = "overdue since " + a.when(*l.Due)
		case l.Until != nil:
			ends = "exposed until " + a.when(*l.Until)
		}
		rows[i] = []string{visible(string(l.ID)), visible(string(l.Status)), visible(l.Upstream), visible(string(l.Zone)), visible(string(l.Target)), use,
			visible(string(l.Task)), visible(l.Agent), a.when(l.Opened), ends, fmt.Sprint(l.Tries)}
	}
	a.table([]string{"LEASE", "STATUS", "UPSTREAM", "ZONE", "TARGET", "USE", "TASK", "AGENT", "MADE", "ENDS", "TRIES"}, rows)
	switch {
	case list.Debt > 0:
		a.printf("\n%d not seen dead in time: somebody who has one may still use it; Remit goes on trying\n", list.Debt)
	case list.Exposure == 0:
		a.printf("\nno debt, no exposure\n")
	}
	known := list.Exposure
	if list.Lost != nil {
		known-- // it is told above
	}
	if known > 0 {
		until := ""
		if list.Until != nil {
			until = ", the last one " + a.when(*list.Until)
		}
		a.printf("\n%d exposed until they end by themselves%s\n", known, until)
	}
}

func (a *app) printLease(l remit.LeaseView) {
	a.printf("%s  %s\n", a.paint(bold, visible(string(l.ID))), a.paint(tone(string(l.Status)), visible(string(l.Status))))
	a.field("for", visible(string(l.Target))+" at "+visible(l.Upstream)+", zone "+visible(string(l.Zone)))
	a.field("task", visible(string(l.Task))+" of "+visible(l.Agent)+", made for attempt "+visible(string(l.Attempt)))
	a.field("made", l.Opened.UTC().Format(time.RFC3339))
	a.field("ends", l.NotAfter.UTC().Format(time.RFC3339)+", revocation "+visible(string(l.Revocation)))
	if l.Ending != nil {
		a.field("ending", "since "+l.Ending.UTC().Format(time.RFC3339)+", tried "+fmt.Sprint(l.Tries)+" times")
	}
	if l.Due != nil {
		a.field("overdue", "since "+l.Due.UTC().Format(time.RFC3339))
	}
	if l.Until != nil {
		a.field("exposed", "until "+l.Until.UTC().Format(time.RFC3339))
	}
	a.field("entry", fmt.Sprint(l.Entry))
}

func newLeaseContain(a *app) *cobra.Command {
	var lift, yes bool
	c := &cobra.Command{
		Use:   "contain UPSTREAM",
		Short: "End all credentials of an upstream, and keep everything from it",
		Long: `For when credentials of an upstream may be in the wrong hands. Everything that Remit made there is ended at once, also what
the log knows no lease of, and no step is taken there until --lift. One administrator says so. What is not seen dead yet
stands in remit leases. What an upstream ends by its own clock only is exposed until then.`,
		Example: `  remit leases contain forge
  remit leases contain --lift forge`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if lift {
				if err := a.confirm(yes, "let credentials be made at "+args[0]+" again?"); err != nil {
					return err
				}
			}
			out, err := s.Contain(cmd.Context(), args[0], remit.ContainRequest{Lift: lift})
			if err != nil {
				return err
			}
			return a.print(out, func() {
				if lift {
					a.printf("%s is not contained any more\n", visible(out.Upstream))
					return
				}
				a.printf("%s is contained; %d of its credentials were alive and are being ended: remit leases\n", visible(out.Upstream), len(out.Leases))
				if out.Rest != "" {
					a.printf("%s\n", visibleText(out.Rest))
				}
			})
		},
	}
	c.Flags().BoolVar(&lift, "lift", false, "let credentials be made there again")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}

func newLeaseAbandon(a *app) *cobra.Command {
	var reason string
	var yes bool
	c := &cobra.Command{
		Use:   "abandon LEASE --reason WHY",
		Short: "Give up a credential that cannot be seen dead",
		Long: `Gives up a lease that is being revoked in vain, because its upstream does not exist any more. It takes two administrators:
this asks, and another one approves it. Whoever has the credential can use it for as long as the upstream takes it;
nobody will look again.`,
		Example: `  remit leases abandon L-57 --reason "the cluster was dismantled"`,
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return fmt.Errorf("say why, with --reason")
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.confirm(yes, "give up "+args[0]+"? whoever has it can go on using it"); err != nil {
				return err
			}
			d, err := s.AbandonLease(cmd.Context(), remit.ID(args[0]), remit.AbandonRequest{Reason: reason})
			if err != nil {
				return err
			}
			return a.print(d, func() {
				a.printf("%s waits for a second administrator: remit approvals show %s\n", visible(args[0]), visible(string(d.Access)))
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why; it is kept with the log")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return c
}
