package main

import (
	"context"
	"fmt"
	"io"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/policy"
)

// logbook is the log as a whole, for the API.
type logbook struct {
	h        *House
	blobs    ledger.Blobs
	policies *bundles
}

func (b logbook) Head(ctx context.Context) (remit.LogHead, error) { return b.h.heads.head(ctx) }

// Tile gives a tile of the log up to its newest checkpoint.
func (b logbook) Tile(ctx context.Context, t ledger.Tile) ([]byte, error) {
	return b.h.heads.tile(ctx, t)
}

// Receipt proves an entry under the newest checkpoint.
func (b logbook) Receipt(ctx context.Context, i remit.EntryIndex) ([]byte, error) {
	return b.h.heads.receipt(ctx, i)
}

// Export writes the log up to its newest checkpoint, with the text of every policy that it ever installed.
func (b logbook) Export(ctx context.Context, w io.Writer) error {
	head, err := b.h.heads.head(ctx)
	if err != nil {
		return err
	}
	texts := map[remit.Digest][]byte{}
	var installed []remit.Digest
	b.h.Engine.View(func(s *authority.State) { installed = append(installed, s.Policies...) })
	for _, d := range installed {
		files, err := b.policies.Files(ctx, d)
		if err != nil {
			return fmt.Errorf("the policy %s: %w", d, err)
		}
		if texts[d], err = policy.Encode(files); err != nil {
			return err
		}
	}
	return ledger.WriteBundle(ctx, w, ledger.BundleSource{Store: b.h.store, Blobs: b.blobs, Org: b.h.Org, Verifier: head.Verifier,
		Checkpoint: []byte(head.Checkpoint), Policies: texts, Attached: engine.Attached})
}
