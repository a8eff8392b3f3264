package main

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

// restoring is what `remit restore` is told.
type restoring struct {
	Data, SecondHead string
	Print            bool     // the statement, and nothing else
	Statement        string   // file
	Signatures       []string // files
}

func newRestore(a *app) *cobra.Command {
	o := restoring{}
	c := &cobra.Command{
		Use:   "restore --data DIR --print | --statement FILE --signature FILE …",
		Short: "Go on from a backup of the log, at the server's host",
		Long: `A server refuses to start on an older copy of its log: what the copy forgets was in force. When the newest log is lost for good,
this is the way back. Two administrators (one, where there is one) sign a statement about it with their SSH keys.

Everything that the backup says is alive ends: tasks, instances, holds; every credential is revoked, and those made since
the backup are found by their names and revoked when the server starts. People, agents and policy are as the backup has
them: apply your declarations again. The log says in an entry log.forked what happened, and whoever kept a newer checkpoint sees it.`,
		Example: `  remit restore --data /var/lib/remit --print > restore.txt
  ssh-keygen -Y sign -n restore@remit -f ~/.ssh/id_ed25519 restore.txt      (each administrator)
  remit restore --data /var/lib/remit --statement restore.txt --signature ana.sig --signature cem.sig`,
		Args: none,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.restore(cmd.Context(), o) },
	}
	c.Flags().StringVar(&o.Data, "data", "", "data directory, with the backup in it")
	c.Flags().StringVar(&o.SecondHead, "second-head", "", "the second head of the log, if it is not in the data directory")
	c.Flags().BoolVar(&o.Print, "print", false, "print the statement to sign")
	c.Flags().StringVar(&o.Statement, "statement", "", "file of the statement as it was signed")
	c.Flags().StringArrayVar(&o.Signatures, "signature", nil, "file of a signature over it, by ssh-keygen -Y sign (repeatable)")
	required(c, "data")
	return c
}

func (a *app) restore(ctx context.Context, o restoring) error {
	l := layout(o.Data)
	org, err := readOrg(l)
	if err != nil {
		return err
	}
	signer, err := ledger.LoadKey(l.key())
	if err != nil {
		return err
	}
	verifier, err := ledger.VerifierKey(org.Origin, signer.Public())
	if err != nil {
		return err
	}
	store, err := sqlite.Open(l.db(), sqlite.Options{Existing: true})
	if err != nil {
		return err
	}
	defer store.Close()
	blobs, err := ledger.OpenBlobDir(l.blobs(), ledger.BlobOptions{Reserve: reserve})
	if err != nil {
		return err
	}
	b, err := engine.OpenBackup(ctx, engine.Config{Store: store, Blobs: blobs, Policies: &bundles{blobs: blobs}, Clock: systemClock{},
		Log: slog.New(slog.DiscardHandler)}, ledger.SecondHead{Path: l.secondHead(o.SecondHead)}, verifier)
	if err != nil {
		return err
	}
	defer b.Close()
	if b.Unread != nil {
		a.notef("remit: %s; what is lost cannot be told from it", b.Unread)
	}
	if o.Print {
		_, err := a.stdout.Write(b.Statement(time.Now()).Bytes())
		return err
	}
	var text []byte
	var signatures [][]byte
	if !b.Forked() {
		if o.Statement == "" || len(o.Signatures) == 0 {
			return usagef("print the statement with --print, have it signed, and give it back with --statement and --signature")
		}
		for i, name := range append([]string{o.Statement}, o.Signatures...) {
			body, err := os.ReadFile(name)
			if err != nil {
				return remit.Errorf(remit.BadRequest, "%w", err)
			}
			if i == 0 {
				text = body
			} else {
				signatures = append(signatures, body)
			}
		}
	}
	fork, err := b.Restore(ctx, text, signatures, signer)
	if err != nil {
		return err
	}
	return a.print(fork, func() {
		fmt.Fprintf(a.stdout, "the log goes on from %d entries; entry %d says so, and its head is signed\n\nnext: start the server, kill again whom you killed since the backup, and apply your declarations again: remit kill, remit apply\n", b.Head.Size, fork.Entry)
	})
}
