package main

import (
	"encoding/base64"
	"strings"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
)

func newInvite(a *app) *cobra.Command {
	var withdraw bool
	c := &cobra.Command{
		Use:   "invite PERSON",
		Short: "Invite a person to enrol their first key",
		Long: `Prints a link with which a declared person who has no key enrols one: a passkey in their browser, or an SSH key with remit key
add --invitation. It is good once, for 24 hours; a newer invitation takes its place. Hand it over where nobody else reads
it: the key will be theirs. Where there is another administrator, the key counts after their vote and 24 hours.`,
		Example: `  remit invite eve
  remit invite eve --withdraw`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			s, err := a.connect(ctx)
			if err != nil {
				return err
			}
			if withdraw {
				if err := s.WithdrawInvitation(ctx, args[0]); err != nil {
					return err
				}
				return a.print(remit.PersonName{Person: args[0]}, func() { a.printf("the invitation of %s is good for nothing any more\n", visible(args[0])) })
			}
			i, err := s.Invite(ctx, args[0])
			if err != nil {
				return err
			}
			return a.print(i, func() {
				a.printf("%s enrols their first key until %s:\n  %s\n  remit key add FILE --invitation %s\n", visible(i.Person), i.NotAfter.Local().Format("2006-01-02 15:04"), visible(i.Link), visible(i.Secret))
			})
		},
	}
	c.Flags().BoolVar(&withdraw, "withdraw", false, "make an invitation good for nothing")
	return c
}

// invitationHash is what the statement of a key binds of an invitation; zero where there is none.
func invitationHash(secret string) (remit.Digest, error) {
	if secret == "" {
		return remit.Digest{}, nil
	}
	text, ok := strings.CutPrefix(secret, "remiti_")
	raw, err := base64.RawURLEncoding.DecodeString(text)
	if !ok || err != nil || len(raw) != 32 {
		return remit.Digest{}, remit.Errorf(remit.BadRequest, "an invitation is remiti_ and 43 characters, as remit invite prints it")
	}
	return remit.Hash(raw), nil
}
