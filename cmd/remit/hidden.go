package main

import (
	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/launch"
)

// hidden runs the subcommands with which the binary calls itself; they are not for people and stand in no help. They
// come before everything else: what becomes an agent's command reads no profile and parses no flags.
func hidden(a *app, args []string) (code int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	switch args[0] {
	case launch.EnterCommand:
		return launch.Enter(), true
	case launch.CredentialCommand:
		if len(args) != 3 {
			return a.fail(usagef("git calls this as %s SOCKET OPERATION", launch.CredentialCommand)), true
		}
		if err := launch.CredentialHelper(a.ctx, args[1], args[2], a.stdin, a.stdout); err != nil {
			return a.fail(err), true
		}
		return remit.ExitOK, true
	}
	return 0, false
}
