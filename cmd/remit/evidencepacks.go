package main

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/evidence"
	"github.com/remit-dev/remit/identity"
	"github.com/remit-dev/remit/ledger"
)

// packProver proves entries under one head, for a pack of evidence. The log's key signs packs as well: what they say is
// what its log says, and whoever verifies them has that key and needs no other.
type packProver struct {
	ctx  context.Context
	h    *checkpoints
	head remit.LogHead
}

func (p packProver) Receipt(i remit.EntryIndex) ([]byte, error) {
	return ledger.Receipt(p.ctx, p.h.store, i, []byte(p.head.Checkpoint), p.head.Verifier)
}

func (p packProver) Sign(kind string, d remit.Digest) ([]byte, error) {
	return ledger.SignDigest(p.h.origin, kind, d, p.h.signer)
}

// provers prove entries for packs of evidence, under a head that was signed before they were made.
func (h *House) provers(ctx context.Context, head remit.LogHead) evidence.Prover {
	return packProver{ctx, h.heads, head}
}

// settings are what this server says of itself in a report of evidence.
func (h *House) settings() remit.EvidenceSettings {
	second, err := filepath.Abs(layout(h.Data).secondHead(h.SecondHead))
	data, derr := filepath.Abs(h.Data)
	outside := err == nil && derr == nil && !strings.HasPrefix(second+string(filepath.Separator), data+string(filepath.Separator))
	return remit.EvidenceSettings{SecondHead: outside, PublicLog: h.PublicLog, TokenLife: int64(identity.TokenLife / time.Second), SVIDLife: int64(identity.SVIDLife / time.Second)}
}
