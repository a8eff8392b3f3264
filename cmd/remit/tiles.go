package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/client"
	"github.com/remit-dev/remit/ledger"
)

func newLogTiles(a *app) *cobra.Command {
	var trust string
	c := &cobra.Command{
		Use:   "tiles DIR",
		Short: "Write the log as static files that other tools read (C2SP tlog-tiles)",
		Long: `Writes the signed head, the entries and the tree of hashes as C2SP tlog-tiles, to be served by any web server or read by any tool
that knows the format. The hashes are computed here from the entries, and must give the head that the log's key signed.
Run again it adds what is new: a log that was cut or forked since is refused. --trust names the key; without it the server
is asked for its key, which finds accidents but not a server that lies.`,
		Example: `  remit log tiles mirror --trust log.trust`,
		Args:    one,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			size, err := mirrorLog(cmd, s.Client, args[0], trust)
			if err != nil {
				return err
			}
			out := struct {
				Dir  string `json:"dir"`
				Size uint64 `json:"size"`
			}{args[0], size}
			return a.print(out, func() { a.printf("%s: %d entries\n", args[0], size) })
		},
	}
	c.Flags().StringVar(&trust, "trust", "", "trust file with the log's verifier key")
	return c
}

// mirrorLog brings a directory up to the log's signed head.
func mirrorLog(cmd *cobra.Command, c *client.Client, dir, trustFile string) (uint64, error) {
	ctx := cmd.Context()
	var trust ledger.Trust
	if trustFile != "" {
		b, err := readBounded(trustFile)
		if err != nil {
			return 0, fmt.Errorf("reading the trust file: %w", err)
		}
		if trust, err = ledger.ParseTrust(b); err != nil {
			return 0, err
		}
	} else {
		head, err := c.LogHead(ctx)
		if err != nil {
			return 0, err
		}
		trust.Verifier = head.Verifier
	}
	seen, err := mirrored(dir, trust)
	if err != nil {
		return 0, err
	}
	signed, err := c.LogTile(ctx, ledger.CheckpointPath)
	if err != nil {
		return 0, err
	}
	at := func(path string) string { return filepath.Join(dir, filepath.FromSlash(path)) }
	fetch := func(t ledger.Tile) ([]byte, error) {
		path := ledger.TilePath(t)
		if ledger.FullTile(t) {
			if b, err := os.ReadFile(at(path)); err == nil {
				return b, nil // what it holds is checked like all else
			}
		}
		return c.LogTile(ctx, path)
	}
	put := func(path string, b []byte) error {
		if old, err := os.ReadFile(at(path)); err == nil && string(old) == string(b) {
			return nil
		}
		if err := os.MkdirAll(filepath.Dir(at(path)), 0o700); err != nil {
			return fmt.Errorf("writing the tiles: %w", err)
		}
		if err := replaceFile(at(path), b); err != nil {
			return fmt.Errorf("writing the tiles: %w", err)
		}
		return nil
	}
	if err := ledger.WriteTiles(signed, trust.Verifier, seen, fetch, put); isCode(err, remit.BadRequest) {
		return 0, finding{err}
	} else if err != nil {
		return 0, err
	}
	head, err := ledger.OpenCheckpoint(signed, trust.Verifier)
	return head.Size, err
}

// mirrored is the newest head that is known of a log: that of the directory or that of the trust file.
func mirrored(dir string, trust ledger.Trust) (seen ledger.Checkpoint, err error) {
	b, err := os.ReadFile(filepath.Join(dir, ledger.CheckpointPath))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return seen, fmt.Errorf("reading the tiles: %w", err)
	default:
		if seen, err = ledger.OpenCheckpoint(b, trust.Verifier); err != nil {
			return seen, fmt.Errorf("the directory %s: %w", dir, err)
		}
	}
	if len(trust.Checkpoint) > 0 {
		known, err := ledger.OpenCheckpoint(trust.Checkpoint, trust.Verifier)
		if err != nil || known.Size > seen.Size {
			return known, err
		}
	}
	return seen, nil
}
