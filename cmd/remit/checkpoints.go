package main

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/ledger"
)

// checkpoints signs the head of the log whenever it moved, and writes it a second time. It is not on the path of a
// decision: an entry is durable before it is signed for, and signed for within a second.
type checkpoints struct {
	store  ledger.Store
	signer ledger.Signer
	second ledger.SecondHead
	origin string
	log    *slog.Logger

	mu     sync.Mutex
	signed []byte
	size   uint64
}

// sign makes a checkpoint of the head as it is now, unless the last one is still it.
func (c *checkpoints) sign(ctx context.Context) ([]byte, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	head, err := c.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	if head.Size == c.size && c.signed != nil {
		return c.signed, nil
	}
	signed, err := ledger.SignCheckpoint(c.origin, head, c.signer)
	if err != nil {
		return nil, err
	}
	if err := c.second.Write(signed); err != nil {
		return nil, err
	}
	c.signed, c.size = signed, head.Size
	return signed, nil
}

// run signs at once when something changed, and then rests a moment.
func (c *checkpoints) run(ctx context.Context, e *engine.Engine) error {
	for {
		changed := e.Changed()
		if _, err := c.sign(ctx); err != nil && ctx.Err() == nil {
			c.log.Error("signing the head of the log", "err", err)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}

// head is the signed head with what an outsider keeps.
func (c *checkpoints) head(ctx context.Context) (remit.LogHead, error) {
	signed, err := c.sign(ctx)
	if err != nil {
		return remit.LogHead{}, err
	}
	key, err := ledger.VerifierKey(c.origin, c.signer.Public())
	if err != nil {
		return remit.LogHead{}, err
	}
	cp, err := ledger.OpenCheckpoint(signed, key)
	if err != nil {
		return remit.LogHead{}, err
	}
	return remit.LogHead{Size: cp.Size, Root: cp.Root, Checkpoint: string(signed), Verifier: key,
		Trust: string(ledger.Trust{Verifier: key, Checkpoint: signed}.Bytes())}, nil
}
