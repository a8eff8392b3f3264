package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/sqlite"
)

func newBackup(a *app) *cobra.Command {
	var data string
	c := &cobra.Command{
		Use:   "backup --data DIR TO",
		Short: "Copy the log and its blobs while the server runs",
		Long: `Writes a copy of a data directory to the new directory TO: the log as it is at one moment, and the blobs that its entries name.
The server may go on meanwhile. Keys are not in it, nor the values of sealed secrets: a copy of those is kept apart, and
whoever has both is the server. How to go on from a backup: remit restore.

It holds what the log has of names and words, and keeps what is erased later: keep it no longer than you must.`,
		Example: `  remit backup --data /var/lib/remit /mnt/backup/remit-2026-03-02`,
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			n, err := backup(cmd.Context(), layout(data), layout(args[0]))
			if err != nil {
				return err
			}
			return a.print(map[string]any{"backup": args[0], "entries": n}, func() { a.printf("%s: %d entries\n", visible(args[0]), n) })
		},
	}
	c.Flags().StringVar(&data, "data", "", "data directory, made by remit init")
	required(c, "data")
	return c
}

// backup copies the log first and then the blobs: a blob is there before the entry that names it.
func backup(ctx context.Context, from, to layout) (n uint64, err error) {
	if _, err := readOrg(from); err != nil {
		return 0, err
	}
	if err := os.Mkdir(string(to), 0o700); err != nil {
		return 0, remit.Errorf(remit.Conflict, "a backup is a directory of its own, which is made for it: %w", err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(string(to)) // half of a backup looks like one
		}
	}()
	if err := sqlite.Backup(ctx, from.db(), to.db()); err != nil {
		return 0, err
	}
	for _, name := range []string{from.org(), from.roots()} {
		b, err := os.ReadFile(name)
		if err == nil {
			err = os.WriteFile(to.at(filepath.Base(name)), b, 0o600)
		}
		if err != nil {
			return 0, remit.Errorf(remit.Internal, "copying %s: %w", name, err)
		}
	}
	target, err := ledger.OpenBlobDir(to.blobs(), ledger.BlobOptions{})
	if err != nil {
		return 0, err
	}
	if err := ledger.CopyBlobs(ctx, target, ledger.ReadBlobDir(from.blobs())); err != nil {
		return 0, err
	}
	s, err := sqlite.Open(to.db(), sqlite.Options{Existing: true, ReadOnly: true})
	if err != nil {
		return 0, err
	}
	defer s.Close()
	_, head, err := ledger.Replay(ctx, s, ledger.Tree{}, func(remit.EntryIndex, ledger.Leaf) error { return nil })
	return head.Size, err
}
