package main

import (
	"bytes"
	"io"
	"strconv"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/remit-dev/remit"
)

func newSecret(a *app) *cobra.Command {
	return group("secret", "Put secrets into the sealed store, and see which there are",
		`A secret is declared with the zone that it belongs to; its value is put here, sealed, and shown to nobody again. An agent has
it used by Remit in a request (secret.use), or reads it (secret.read): both wait for the secret's approvers.`,
		`  remit secret put payments/db < password.txt
  remit secret list
  remit secret rotate payments/db < new.txt
  remit secret rm payments/db`,
		newSecretPut(a, "put", "Put the value of a declared secret"), newSecretPut(a, "rotate", "Put a new value in the place of the old"),
		newSecretList(a), newSecretRemove(a))
}

// maxSecretValue is what the server takes.
const maxSecretValue = 32 << 10

func newSecretPut(a *app, verb, short string) *cobra.Command {
	return &cobra.Command{
		Use:   verb + " NAME",
		Short: short,
		Long: `Reads the value from standard input, or asks for it without showing it, and has the server seal it. One line break at its end
is left out. The value before it is gone once the new one is in force.`,
		Example: "  remit secret " + verb + " payments/db < password.txt",
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			value, err := a.readSecret(args[0])
			if err != nil {
				return err
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			if verb == "rotate" {
				all, err := s.Secrets(cmd.Context())
				if err != nil {
					return err
				}
				for _, v := range all {
					if v.Name == args[0] && !v.Stored {
						return remit.Errorf(remit.NotFound, "secret %s has no value to replace; say: remit secret put %s", args[0], args[0])
					}
				}
			}
			v, err := s.PutSecret(cmd.Context(), remit.SecretValue{Name: args[0], Value: value})
			if err != nil {
				return err
			}
			return a.print(v, func() { a.printf("secret %s has version %d\n", visible(v.Name), v.Version) })
		},
	}
}

// readSecret never has the value in an argument, where other users of the machine would read it.
func (a *app) readSecret(name string) ([]byte, error) {
	if f := file(a.stdin); f != nil && term.IsTerminal(int(f.Fd())) {
		a.notef("value of %s (not shown):", visible(name))
		v, err := term.ReadPassword(int(f.Fd()))
		if err != nil {
			return nil, remit.Errorf(remit.BadRequest, "the value cannot be read: %w", err)
		}
		return v, nil
	}
	v, err := io.ReadAll(io.LimitReader(a.stdin, maxSecretValue+3))
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the value cannot be read: %w", err)
	}
	v = bytes.TrimSuffix(bytes.TrimSuffix(v, []byte("\n")), []byte("\r"))
	if len(v) == 0 || len(v) > maxSecretValue {
		return nil, remit.Errorf(remit.BadRequest, "a secret has between 1 and %d bytes; write it to standard input", maxSecretValue)
	}
	return v, nil
}

func newSecretList(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "list",
		Short:   "List the declared secrets, without their values",
		Long:    "Lists the declared secrets: the zone that each serves, who decides on its use, and whether a value is there.",
		Example: "  remit secret list",
		Args:    none,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			all, err := s.Secrets(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(all, func() {
				rows := make([][]string, len(all))
				for i, v := range all {
					value := "none"
					if v.Stored {
						value = "version " + strconv.Itoa(v.Version)
					}
					rows[i] = []string{visible(v.Name), visible(string(v.Zone)), value, visible(v.By), needLine(v.Approvers)}
				}
				a.table([]string{"SECRET", "ZONE", "VALUE", "BY", "APPROVERS"}, rows)
			})
		},
	}
}

func newSecretRemove(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "rm NAME",
		Short:   "Remove the value of a secret",
		Long:    "Removes the value. The secret stays declared; what needs it is refused until a new value is put.",
		Example: "  remit secret rm payments/db",
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			v, err := s.RemoveSecret(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(v, func() { a.printf("secret %s has no value any more\n", visible(v.Name)) })
		},
	}
}
