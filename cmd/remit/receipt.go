package main

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

func newLogReceipt(a *app) *cobra.Command {
	var file string
	var bare bool
	c := &cobra.Command{
		Use:   "receipt ENTRY",
		Short: "Print the proof that the log has an entry",
		Long: `Prints a receipt (c2sp.org/tlog-proof@v1): the entry, its place, the path of hashes from it to the signed head, and that head.
Whoever holds it and the log's verifier key can check it on a laptop, with remit log check-receipt or any other tool that
reads the format. An entry holds declared names and digests, nothing personal; --bare leaves it out of the receipt.`,
		Example: `  remit log receipt 1234 --file decision.receipt
  remit log receipt 1234 --bare`,
		Args: one,
		RunE: func(cmd *cobra.Command, args []string) error {
			entry, err := strconv.ParseUint(args[0], 10, 62)
			if err != nil {
				return usagef("an entry is a number, not %q", args[0])
			}
			s, err := a.connect(cmd.Context())
			if err != nil {
				return err
			}
			b, err := s.LogReceipt(cmd.Context(), remit.EntryIndex(entry), bare)
			if err != nil {
				return err
			}
			if file == "" {
				_, err = a.stdout.Write(b)
				return err
			}
			if err := replaceFile(file, b); err != nil {
				return fmt.Errorf("writing the receipt: %w", err)
			}
			return a.print(map[string]string{"file": file}, func() { a.printf("%s\n", file) })
		},
	}
	c.Flags().StringVar(&file, "file", "", "file to write; by default it is printed")
	c.Flags().BoolVar(&bare, "bare", false, "leave the entry itself out: to check the receipt one then brings it")
	return c
}

// checkedReceipt is what a receipt was found to prove.
type checkedReceipt struct {
	Entry remit.EntryIndex `json:"entry"`
	Log   string           `json:"log"`
	Size  uint64           `json:"size"` // of the log when the head was signed
	Root  remit.Digest     `json:"root"`
	Leaf  json.RawMessage  `json:"leaf"`
	// Seen: the signed head is the one in the trust file. One of another size cannot be compared with it here.
	Seen bool `json:"seen"`
}

func newLogCheckReceipt(a *app) *cobra.Command {
	var trust, leaf string
	c := &cobra.Command{
		Use:   "check-receipt FILE --trust TRUST",
		Short: "Check the proof that the log has an entry, without any server",
		Long: `Checks a receipt against the verifier key in the trust file: that the head in it was signed by that key, and that the entry is
under that head. If the trust file has a checkpoint of the same size it must be the same head. A receipt says nothing of
what the log was before or became later: remit log verify does.`,
		Example: `  remit log check-receipt decision.receipt --trust log.trust
  remit log check-receipt bare.receipt --trust log.trust --leaf leaf.cbor`,
		Args: one,
		RunE: func(_ *cobra.Command, args []string) error {
			out, err := checkReceiptFile(args[0], trust, leaf)
			if err != nil {
				return finding{err}
			}
			return a.print(out, func() {
				a.field("log", visible(out.Log))
				a.field("entry", fmt.Sprintf("%d of %d", out.Entry, out.Size))
				a.field("root", out.Root.String())
				a.field("leaf", visible(string(out.Leaf)))
				if out.Seen {
					a.field("trust", a.paint(green, "signed by the trusted key, under the head seen before"))
				} else {
					a.field("trust", a.paint(green, "signed by the trusted key"))
				}
			})
		},
	}
	c.Flags().StringVar(&trust, "trust", "", "trust file: the verifier key and, if you have one, the newest checkpoint that you saw")
	c.Flags().StringVar(&leaf, "leaf", "", "file with the entry as it stands in the log, for a receipt that does not hold it")
	required(c, "trust")
	return c
}

func checkReceiptFile(file, trustFile, leafFile string) (out checkedReceipt, err error) {
	b, err := readBounded(trustFile)
	if err != nil {
		return out, fmt.Errorf("reading the trust file: %w", err)
	}
	trust, err := ledger.ParseTrust(b)
	if err != nil {
		return out, err
	}
	receipt, err := readBounded(file)
	if err != nil {
		return out, fmt.Errorf("reading the receipt: %w", err)
	}
	var leaf []byte
	if leafFile != "" {
		if leaf, err = readBounded(leafFile); err != nil {
			return out, fmt.Errorf("reading the leaf: %w", err)
		}
	}
	p, err := ledger.ReadReceipt(receipt, leaf, trust)
	if err != nil {
		return out, err
	}
	l, err := ledger.Decode(p.Leaf)
	if err != nil {
		return out, err
	}
	out = checkedReceipt{Entry: p.Index, Log: p.Checkpoint.Origin, Size: p.Checkpoint.Size, Root: p.Checkpoint.Root, Seen: p.Seen}
	out.Leaf, err = ledger.View(l)
	return out, err
}
