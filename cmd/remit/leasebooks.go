package main

import (
	"context"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
)

// leaseBooks is the engine as the lease machine sees it.
type leaseBooks struct{ *engine.Engine }

// Open writes a lease down that is about to be made.
func (b leaseBooks) Open(ctx context.Context, c authority.OpenLease) (remit.ID, error) {
	res, err := b.Do(ctx, &c)
	return res.ID, err
}

// Move writes a step of a lease down, with its receipt.
func (b leaseBooks) Move(ctx context.Context, m authority.MoveLease, receipt []byte) error {
	var payloads []remit.Payload
	if len(receipt) > 0 {
		p, err := b.NewPayload(receipt)
		if err != nil {
			return err
		}
		m.Receipt, payloads = p.Commitment(), append(payloads, p)
	}
	_, err := b.Do(ctx, &m, payloads...)
	return err
}
