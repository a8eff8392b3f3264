package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newDrain(a *app) *cobra.Command {
	var undo bool
	var within time.Duration
	c := &cobra.Command{
		Use:   "drain [--within DURATION] [--undo]",
		Short: "Let the server come to rest, so that it can be stopped",
		Long: `From here on the server begins nothing new: requests of agents, new tasks and new holds are answered with DRAINING, to be tried
again later. Votes, outcomes, ends and kills go on. When nothing is under way any more, and the head of the log is signed
and written, it says so, and the server can be stopped without cutting anybody off. A server that starts again is not
drained; --undo lets this one go on.

It waits as long as --within says, and then exits with 75 and names what is still under way.`,
		Example: `  remit drain --within 2m && systemctl stop remit
  remit drain --undo`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			until := time.Now().Add(within)
			for {
				out, err := s.Drain(cmd.Context(), remit.DrainRequest{Undo: undo})
				if err != nil {
					return err
				}
				rest := undo || len(out.Attempts) == 0
				if !rest && time.Now().Before(until) {
					select {
					case <-cmd.Context().Done():
						return cmd.Context().Err()
					case <-time.After(time.Second):
					}
					continue
				}
				if err := a.print(out, func() {
					switch {
					case undo:
						a.printf("the server goes on, and takes new work\n")
					case rest:
						a.printf("the server is at rest, at %d entries; it can be stopped\n", out.Head.Size)
					default:
						a.printf("still under way: %v; say remit drain again to wait on, or remit drain --undo to let the server go on\n", out.Attempts)
					}
				}); err != nil || rest {
					return err
				}
				return exitCode(remit.ExitWaiting)
			}
		},
	}
	c.Flags().BoolVar(&undo, "undo", false, "go on")
	c.Flags().DurationVar(&within, "within", time.Minute, "how long to wait for what is under way")
	return c
}
