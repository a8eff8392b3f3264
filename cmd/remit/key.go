package main

import (
	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func newKey(a *app) *cobra.Command {
	confirm := &cobra.Command{
		Use:   "confirm NEW.pub",
		Short: "Prove a new key of yours with an old one",
		Long: `A key that was added to your declaration counts at once when a key that you had before signs for it: this command makes that
signature with --key (the old key) for NEW.pub. Without it, a new key counts only 24 hours after a second administrator
has approved it.`,
		Example: `  remit key confirm ~/.ssh/id_new.pub
  remit key confirm ~/.ssh/id_ed25519_sk.pub --key ~/.ssh/id_old`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx := cmd.Context()
			pub, err := publicKey(args[0])
			if err != nil {
				return err
			}
			s, err := a.connect(ctx)
			if err != nil {
				return err
			}
			org, err := s.Org(ctx)
			if err != nil {
				return err
			}
			r := remit.ConfirmKeyRequest{Key: remit.Hash(pub.Marshal())}
			text := authority.ConfirmStatement(org.Origin, s.session.Person, r.Key)
			if r.Signature, err = a.sign(ctx, s.profile.Key, authority.ConfirmNamespace, text); err != nil {
				return err
			}
			if err := s.ConfirmKey(ctx, r); err != nil {
				return err
			}
			return a.print(r, func() { a.printf("%s counts for requests made from now on\n", args[0]) })
		},
	}
	return group("key", "Confirm a new key of yours",
		"Your SSH keys are part of your declaration. A new one counts for votes only once it is confirmed.",
		"  remit key confirm ~/.ssh/id_new.pub", confirm)
}
