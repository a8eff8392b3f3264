package engine

import (
	"context"
	"iter"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/ledger"
)

// tailMost is how many of the newest entries are kept in memory, for those who follow the log closely: each of them
// would ask the store after every commit.
const tailMost = 4096

// tail is the newest committed entries. Engine.mu guards it.
type tail struct {
	next    remit.EntryIndex // after the last one
	entries [][]byte
}

// add puts the entries of a commit behind the others. They are never written to again.
func (t *tail) add(entries [][]byte) {
	t.entries = append(t.entries, entries...)
	t.next += remit.EntryIndex(len(entries))
	if over := len(t.entries) - tailMost; over > tailMost { // half of it goes at once: what is kept moves seldom
		t.entries = append([][]byte(nil), t.entries[over:]...)
	}
}

// from gives the entries from an index on; ok is false where they reach further back than the tail.
func (t *tail) from(n remit.EntryIndex) (_ [][]byte, ok bool) {
	first := t.next - remit.EntryIndex(len(t.entries))
	if n < first || n > t.next {
		return nil, n > t.next
	}
	return t.entries[n-first:], true
}

// Read gives the committed entries from an index on, up to the head at the time of reading.
func (e *Engine) Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error] {
	e.mu.RLock()
	entries, ok := e.tail.from(from)
	e.mu.RUnlock()
	if !ok {
		return e.cfg.Store.Read(ctx, from)
	}
	return func(yield func(ledger.Entry, error) bool) {
		for i, leaf := range entries {
			if !yield(ledger.Entry{Index: from + remit.EntryIndex(i), Leaf: leaf}, nil) {
				return
			}
		}
	}
}

// Ended gives a channel that is closed at the next commit after which something may have ended before its time: not by
// the common ones, which only let through, refuse and report. Who waits for an end is not woken by every decision.
func (e *Engine) Ended() <-chan struct{} {
	e.mu.RLock()
	defer e.mu.RUnlock()
	return e.ended
}

// mayEnd tells whether something may end with an event.
func mayEnd(ev remit.Event) bool {
	switch ev.(type) {
	case *remit.Redeemed, *remit.Recorded, *remit.DenialRepeated, *remit.AccessOpened, *remit.VoteCast, *remit.LeaseOpened, *remit.LeaseMoved,
		*remit.TaskCreated, *remit.InstanceStarted, *remit.Decided:
		return false
	}
	return true
}
