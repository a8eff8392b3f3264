package ledger

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

// Receipt is the proof that a log has an entry, in one file: C2SP tlog-proof, with the checkpoint that it proves under
// and the leaf as its extra data. Whoever has it and the log's verifier key checks it with ReadReceipt, offline, or with
// any other tool that reads the format.
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
	for e, err := range s.Read(ctx, index) {
		if err != nil {
			return nil, err
		}
		return torchwood.FormatProofWithExtraData(int64(index), e.Leaf, proof, checkpoint), nil
	}
	return nil, damaged("it has %d entries, and entry %d is missing", c.Size, index)
}

// WithoutLeaf is a receipt that does not show its entry: to check it one brings the leaf.
func WithoutLeaf(receipt []byte) ([]byte, error) {
	r, err := parseReceipt(receipt)
	if err != nil {
		return nil, err
	}
	return torchwood.FormatProof(int64(r.index), r.path, r.checkpoint), nil
}

// Proven is what a receipt proves: that the log has the leaf at that place.
type Proven struct {
	Index      remit.EntryIndex
	Leaf       []byte
	Checkpoint Checkpoint
	Seen       bool // under the very head that the verifier had seen
}

// maxReceipt is more than the largest receipt has: a leaf in base64, 63 hashes and a checkpoint.
const maxReceipt = 32 << 10

// ReadReceipt checks a receipt against the log's key, and against the head that trust holds if both are of one size. The
// leaf is that which the receipt holds; one that is given must be the same, and must be given where the receipt holds
// none. A receipt in any other than its one encoding is refused.
func ReadReceipt(receipt, leaf []byte, trust Trust) (Proven, error) {
	r, err := parseReceipt(receipt)
	if err != nil {
		return Proven{}, err
	}
	c, err := OpenCheckpoint(r.checkpoint, trust.Verifier)
	if err != nil {
		return Proven{}, err
	}
	var seen Checkpoint
	if len(trust.Checkpoint) > 0 {
		if seen, err = OpenCheckpoint(trust.Checkpoint, trust.Verifier); err != nil {
			return Proven{}, fmt.Errorf("the trusted checkpoint: %w", err)
		}
	}
	switch {
	case c.Size == seen.Size && c.Root != seen.Root:
		return Proven{}, remit.Errorf(remit.BadRequest, "the receipt is under another head than the trusted one of the same %d entries: the log was forked", c.Size)
	case leaf == nil && r.leaf == nil:
		return Proven{}, remit.Errorf(remit.BadRequest, "the receipt does not hold its entry: give the leaf as well")
	case leaf == nil:
		leaf = r.leaf
	case r.leaf != nil && !bytes.Equal(leaf, r.leaf):
		return Proven{}, remit.Errorf(remit.BadRequest, "the receipt is of another entry than the leaf that was given")
	}
	if uint64(r.index) >= c.Size || c.Size > 1<<62 {
		return Proven{}, remit.Errorf(remit.BadRequest, "the receipt is of entry %d, and its checkpoint covers %d", r.index, c.Size)
	}
	if err := tlog.CheckRecord(r.path, int64(c.Size), tlog.Hash(c.Root), int64(r.index), tlog.RecordHash(leaf)); err != nil {
		return Proven{}, remit.Errorf(remit.BadRequest, "the receipt does not prove that the log has this entry: %w", err)
	}
	return Proven{r.index, leaf, c, c == seen}, nil
}

// VerifyReceipt checks a receipt for a leaf and gives the place of the leaf in the log.
func VerifyReceipt(receipt, leaf []byte, verifierKey string) (remit.EntryIndex, error) {
	p, err := ReadReceipt(receipt, leaf, Trust{Verifier: verifierKey})
	return p.Index, err
}

// receipt is a parsed C2SP tlog-proof.
type receipt struct {
	index      remit.EntryIndex
	leaf       []byte // nil: it has no extra data
	path       tlog.RecordProof
	checkpoint []byte
}

// parseReceipt reads the header line, the extra data, if any, the index, the path, and after an empty line the checkpoint.
func parseReceipt(b []byte) (r receipt, err error) {
	bad := remit.Errorf(remit.BadRequest, "this is no receipt in its one encoding (c2sp.org/tlog-proof@v1), as remit log receipt writes it")
	if len(b) > maxReceipt {
		return r, bad
	}
	head, checkpoint, ok := strings.Cut(string(b), "\n\n")
	lines := strings.Split(head, "\n")
	if !ok || len(lines) < 2 {
		return r, bad
	}
	lines = lines[1:] // what the first is like is seen below
	if text, extra := strings.CutPrefix(lines[0], "extra "); extra {
		if r.leaf, err = base64.StdEncoding.DecodeString(text); err != nil || len(lines) < 2 {
			return r, bad
		}
		lines = lines[1:]
	}
	text, ok := strings.CutPrefix(lines[0], "index ")
	index, err := strconv.ParseUint(text, 10, 62)
	if !ok || err != nil {
		return r, bad
	}
	r.index, r.checkpoint = remit.EntryIndex(index), []byte(checkpoint)
	for _, line := range lines[1:] {
		h, err := base64.StdEncoding.DecodeString(line)
		if err != nil || len(h) != tlog.HashSize {
			return r, bad
		}
		r.path = append(r.path, tlog.Hash(h))
	}
	again := torchwood.FormatProof(int64(r.index), r.path, r.checkpoint)
	if r.leaf != nil {
		again = torchwood.FormatProofWithExtraData(int64(r.index), r.leaf, r.path, r.checkpoint)
	}
	if !bytes.Equal(again, b) {
		return r, bad
	}
	return r, nil
}

// Consistency proves that the log at one size grew out of the log at a smaller size, RFC 6962 §2.1.2; tlog.CheckTree
// checks it.
func Consistency(ctx context.Context, s Store, old, size uint64) (tlog.TreeProof, error) {
	if old == 0 || old > size || size > 1<<62 {
		return nil, remit.Errorf(remit.BadRequest, "a consistency proof leads from at least one entry to at least as many, not from %d to %d", old, size)
	}
	return tlog.ProveTree(int64(size), int64(old), HashReader(ctx, s))
}
