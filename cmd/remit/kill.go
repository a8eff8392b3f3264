package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newKill(a *app) *cobra.Command {
	return &cobra.Command{
		Use:   "kill task|agent|person NAME",
		Short: "End authority at once",
		Long: `Ends a task, everything of an agent, or everything that a person requested, owns or launched: at once, without being asked,
and also when the log cannot be written (it is recorded when it can). Instances end, tokens and leases are taken back,
streams are cut, approvals are void. A killed person stays killed; an agent can be resumed.`,
		Example: `  remit kill task T-12
  remit kill agent coder
  remit kill person ana`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) != 2 || !slices.Contains([]string{"task", "agent", "person"}, args[0]) {
				return fmt.Errorf("say what to end and its name: task T-12, agent coder or person ana")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			r := remit.KillRequest{What: args[0], ID: args[1]}
			if err := s.Kill(cmd.Context(), r); err != nil {
				return err
			}
			return a.print(r, func() { a.printf("%s %s has no authority any more\n", r.What, visible(r.ID)) })
		},
	}
}
