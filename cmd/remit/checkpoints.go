package main

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
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

	told signing
}

// signing is what others may know of the checkpoints without waiting for one.
type signing struct {
	size  atomic.Uint64 // entries that the newest one covers
	at    atomic.Int64  // when it was made, Unix nanoseconds; 0: none yet
	since atomic.Int64  // since when one is due, Unix nanoseconds; 0: none is
}

func (s *signing) begin() { s.since.CompareAndSwap(0, time.Now().UnixNano()) }

func (s *signing) done(size uint64, made bool) {
	s.size.Store(size)
	if made {
		s.at.Store(time.Now().UnixNano())
	}
	s.since.Store(0)
}

func (s *signing) read() (size uint64, at time.Time, behind time.Duration) {
	if t := s.at.Load(); t != 0 {
		at = time.Unix(0, t)
	}
	if t := s.since.Load(); t != 0 {
		behind = time.Since(time.Unix(0, t))
	}
	return s.size.Load(), at, behind
}

// sign makes a checkpoint of the head as it is now, unless the last one is still it.
func (c *checkpoints) sign(ctx context.Context) ([]byte, error) {
	c.told.begin()
	c.mu.Lock()
	defer c.mu.Unlock()
	head, err := c.store.Head(ctx)
	if err != nil {
		return nil, err
	}
	if head.Size == c.size && c.signed != nil {
		c.told.done(c.size, false)
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
	c.told.done(c.size, true)
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

// tile gives a tile of the log under its signed head.
func (c *checkpoints) tile(ctx context.Context, t ledger.Tile) ([]byte, error) {
	if _, err := c.sign(ctx); err != nil {
		return nil, err
	}
	c.mu.Lock()
	size := c.size
	c.mu.Unlock()
	return ledger.ReadTile(ctx, c.store, size, t)
}

// receipt proves an entry under a signed head that covers it: one that was just written is signed for now.
func (c *checkpoints) receipt(ctx context.Context, i remit.EntryIndex) ([]byte, error) {
	head, err := c.head(ctx)
	if err != nil {
		return nil, err
	}
	return ledger.Receipt(ctx, c.store, i, []byte(head.Checkpoint), head.Verifier)
}
