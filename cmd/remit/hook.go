package main

import (
	"github.com/spf13/cobra"

	"github.com/remit-dev/remit/cmd/remit/internal/hookline"
)

// newHook is here for the help: what it does happens before main, in hookline.
func newHook(*app) *cobra.Command {
	return &cobra.Command{
		Use:   hookline.Usage,
		Short: "Judge what an agent does in its own process",
		Long: `An agent's program runs this before it uses a tool of its own (a shell command, a file change, a web fetch), with its JSON on
standard input. Exit code 0 and silence is no objection; 2 with a sentence on standard error is a denial, and so is
every failure. What waits for people is waited for, and denied when the time is over: asked again, it passes once they
have approved. remit run registers it with the agents that it knows.

No hook is a boundary: an agent's program can be told to skip its hooks, and a program that may run does what it likes.
It is the early denial, the lesson and the record.`,
		Example:            `  remit hook claude-code --socket "$REMIT_SOCKET" --org acme || { echo 'remit: the hook failed, so the call is denied' >&2; exit 2; }`,
		DisableFlagParsing: true,
		RunE: func(c *cobra.Command, args []string) error {
			if len(args) == 1 && (args[0] == "--help" || args[0] == "-h") {
				return c.Help()
			}
			return exitCode(hookline.Main(args))
		},
	}
}
