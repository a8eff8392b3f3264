package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func newAttest(a *app) *cobra.Command {
	return group("attest", "Statements on what Remit let through, for tools that know nothing of it",
		`Prints signed statements that other tools verify with the key of remit artifact key. Statements on artifacts, verdicts and
releases are printed by remit artifact provenance, remit review show and remit release history.`,
		`  remit attest source forge/payments 9fceb02d0ae598e95dc970b74767f19372d61af8
  remit attest source forge/payments 9fceb02d0ae598e95dc970b74767f19372d61af8 --explain`,
		newAttestSource(a))
}

func newAttestSource(a *app) *cobra.Command {
	var ref string
	var explain bool
	c := &cobra.Command{
		Use:   "source REPOSITORY COMMIT",
		Short: "Print the source verification summary of a revision",
		Long: `Prints the verification summary (SLSA, Source track) of a commit that a push or merge through Remit brought to a ref: an in-toto
statement in a DSSE envelope. Its level is what the log justifies and no more: an agent never counts as a person, so that
level 4 needs two people who approved exactly this change. --explain says why it is that level, and on which entries it rests.

Of a commit that came otherwise nothing is known, and nothing is said.`,
		Example: `  remit attest source forge/payments 9fceb02d0ae598e95dc970b74767f19372d61af8 > source.intoto.json
  remit attest source forge/payments 9fceb02d0ae598e95dc970b74767f19372d61af8 --ref refs/heads/main --explain`,
		Args: func(c *cobra.Command, args []string) error {
			if len(args) == 2 {
				return nil
			}
			return fmt.Errorf("it takes a repository and a commit: %s", usageOf(c))
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if !explain {
				return a.printEnvelope(s.SourceStatement(cmd.Context(), args[0], args[1], ref))
			}
			v, err := s.Source(cmd.Context(), args[0], args[1], ref)
			if err != nil {
				return err
			}
			return a.print(v, func() {
				a.printf("%s\n", a.paint(bold, visible(string(v.Repository)+"@"+v.Commit)))
				a.field("ref", visible(v.Ref))
				a.field("level", strings.Join(v.Levels, ", "))
				for _, why := range v.Why {
					a.field("", why)
				}
				a.field("by agent", visible(v.Agent)+" in task "+visible(string(v.Task)))
				a.field("approved by", fmt.Sprintf("%d people", len(v.Persons)))
				a.field("unbroken", fmt.Sprintf("since entry %d", v.Since))
				a.field("entries", strings.Trim(fmt.Sprint(v.Entries), "[]"))
			})
		},
	}
	c.Flags().StringVar(&ref, "ref", "", "in full, such as refs/heads/main; the only one to which the commit came, or the default branch")
	c.Flags().BoolVar(&explain, "explain", false, "say why, instead of printing the statement")
	return c
}
