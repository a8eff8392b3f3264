package main

import (
	"time"

	"github.com/spf13/cobra"
)

func newClock(a *app) *cobra.Command {
	var yes bool
	confirm := &cobra.Command{
		Use:   "confirm",
		Short: "Say that the server's clock is right after it jumped",
		Long: `When the server's clock jumps by more than a minute, or lies before the last entry of the log at start, everything is denied
with CLOCK: expiry could not be told. Look at the server's time, put it right, and then confirm it here. It takes an
administrator, and it is recorded.`,
		Example: `  remit clock confirm
  remit clock confirm --yes`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.confirm(yes, "did you look at the server's clock, and is it right? (here it is "+a.now().UTC().Format(time.RFC3339)+")"); err != nil {
				return err
			}
			if err := s.ConfirmClock(cmd.Context()); err != nil {
				return err
			}
			return a.print(struct {
				Confirmed bool `json:"confirmed"`
			}{true}, func() { a.printf("the clock is confirmed; decisions go on\n") })
		},
	}
	confirm.Flags().BoolVar(&yes, "yes", false, "do not ask")
	return group("clock", "Confirm the server's clock after a jump",
		"A clock that jumps makes expiry meaningless, so a server whose clock jumped denies everything until an administrator has looked.",
		"  remit clock confirm", confirm)
}
