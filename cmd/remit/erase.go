package main

import (
	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newErase(a *app) *cobra.Command {
	var r remit.EraseRequest
	var entry int64
	var yes bool
	c := &cobra.Command{
		Use:   "erase --task TASK | --person NAME | --entry N --reason WHY",
		Short: "Erase texts from beside the log, for good",
		Long: `Erases payloads: the words, paths and cards of a task that has ended, the name of a person who has left, or what stands at one
entry. The log keeps their commitments, so that nothing else changes: remit log verify says of such a decision that it is
bound, and by which entry it was erased. What something live rests on is refused.

Where there is a second administrator, it waits for them. Backups, exports and what was read before are not reached by it.`,
		Example: `  remit erase --task T-12 --reason "ticket 81: it named a customer"
  remit erase --person dan --reason "left in March"`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("entry") {
				n := remit.EntryIndex(entry)
				r.Entry = &n
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.confirm(yes, "erase it? nobody can bring it back"); err != nil {
				return err
			}
			out, err := s.Erase(cmd.Context(), r)
			if err != nil {
				return err
			}
			return a.print(out, func() {
				if out.Decision.Verdict == remit.Hold {
					a.printf("%d payloads wait for a second administrator: remit approvals show %s\n", out.Payloads, visible(string(out.Decision.Access)))
					return
				}
				a.printf("%d payloads are erased, by entry %d\n", out.Payloads, out.Decision.Entry)
			})
		},
	}
	c.Flags().StringVar((*string)(&r.Task), "task", "", "a task that has ended")
	c.Flags().StringVar(&r.Person, "person", "", "a person who is not declared any more, by name or id")
	c.Flags().Int64Var(&entry, "entry", 0, "one entry of the log")
	c.Flags().StringVar(&r.Reason, "reason", "", "why; it is kept with the log")
	c.Flags().BoolVar(&yes, "yes", false, "do not ask")
	c.MarkFlagsMutuallyExclusive("task", "person", "entry")
	c.MarkFlagsOneRequired("task", "person", "entry")
	required(c, "reason")
	return c
}
