package ledger

import (
	"context"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

// Receipt is the proof that a log has an entry, in one file: C2SP tlog-proof, with the checkpoint that it proves under.
// Whoever has the leaf and the log's verifier key checks it with VerifyReceipt or any other tool that reads the format.
func Receipt(ctx context.Context, s Store, index remit.EntryIndex, checkpoint []byte, verifierKey string) ([]byte, error) {
	c, err := OpenCheckpoint(checkpoint, verifierKey)
	if err != nil {
		return nil, err
	}
	if uint64(index) >= c.Size {
		return nil, remit.Errorf(remit.NotFound, "the checkpoint covers %d entries and entry %d is not among them", c.Size, index)
	}
	proof, err := tlog.ProveRecord(int64(c.Size), int64(index), HashReader(ctx, s))
	if err != nil {
		return nil, err
	}
	return torchwood.FormatProof(int64(index), proof, checkpoint), nil
}

// VerifyReceipt checks a receipt for a leaf and gives the place of the leaf in the log.
func VerifyReceipt(receipt, leaf []byte, verifierKey string) (remit.EntryIndex, error) {
	policy, err := verifyWith(verifierKey)
	if err != nil {
		return 0, err
	}
	if err := torchwood.VerifyProof(policy, tlog.RecordHash(leaf), receipt); err != nil {
		return 0, remit.Errorf(remit.BadRequest, "the receipt does not prove that the log has this entry: %w", err)
	}
	_, rest, _ := strings.Cut(string(receipt), "\nindex ")
	line, _, _ := strings.Cut(rest, "\n")
	index, err := strconv.ParseUint(line, 10, 63)
	if err != nil {
		return 0, remit.Errorf(remit.BadRequest, "the receipt names no entry: %w", err)
	}
	return remit.EntryIndex(index), nil
}

// Consistency proves that the log at one size grew out of the log at a smaller size, RFC 6962 §2.1.2; tlog.CheckTree
// checks it.
func Consistency(ctx context.Context, s Store, old, size uint64) (tlog.TreeProof, error) {
	if old == 0 || old > size || size > 1<<62 {
		return nil, remit.Errorf(remit.BadRequest, "a consistency proof leads from at least one entry to at least as many, not from %d to %d", old, size)
	}
	return tlog.ProveTree(int64(size), int64(old), HashReader(ctx, s))
}
