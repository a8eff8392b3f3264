// Package follow is what is derived from the log for people and gateways to look things up in: the names of people, who
// brought which commits, the story of a task. Views are folds; what they know can be thrown away and built again from
// the first entry, and nothing that they say allows anything.
package follow

import (
	"context"
	"iter"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/ledger"
)

// Log is the log, as a follower reads it. *engine.Engine is one.
type Log interface {
	// Read gives the committed entries from an index on, up to the head at the time of reading.
	Read(ctx context.Context, from remit.EntryIndex) iter.Seq2[ledger.Entry, error]
	// Changed gives a channel that is closed at the next commit.
	Changed() <-chan struct{}
	// Command gives the command that a commitment stands for.
	Command(ctx context.Context, commitment remit.Digest) (authority.Command, error)
	// Text gives the payload of a commitment; ok is false if it is gone.
	Text(ctx context.Context, commitment remit.Digest) (_ []byte, ok bool)
}

// Follower folds the log into the views. Make one with New; it is safe for concurrent use. Its position is in memory:
// at start it reads from the first entry.
type Follower struct {
	log  Log
	slog *slog.Logger

	folded atomic.Uint64 // next, for Next

	mu         sync.Mutex
	next       remit.EntryIndex
	provenance provenance
	stories    stories
	gates      gates
	inventory  inventory
	names      names
	erased     map[remit.Digest]remit.EntryIndex // payloads, by the entry that says so
}

// New is a follower that has read nothing yet.
func New(log Log, l *slog.Logger) *Follower {
	if l == nil {
		l = slog.New(slog.DiscardHandler)
	}
	return &Follower{log: log, slog: l, provenance: newProvenance(), stories: newStories(), gates: newGates(), inventory: newInventory(), names: newNames(), erased: map[remit.Digest]remit.EntryIndex{}}
}

// Run follows the log until ctx ends, so that a look-up finds most of its work done. Nothing depends on it: a look-up
// reads what is missing itself.
func (f *Follower) Run(ctx context.Context) {
	for ctx.Err() == nil {
		changed := f.log.Changed()
		if err := f.CatchUp(ctx); err != nil && ctx.Err() == nil {
			f.slog.Error("following the log", "err", err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// CatchUp folds everything that was committed before the call. An error leaves the views as they were at some earlier
// entry; the next call goes on from there.
func (f *Follower) CatchUp(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for e, err := range f.log.Read(ctx, f.next) {
		if err != nil {
			return err
		}
		if e.Index < f.next {
			continue // at least once: an entry that was folded is not folded again
		}
		l, err := ledger.Decode(e.Leaf)
		if err != nil {
			return err
		}
		if err := f.provenance.fold(ctx, f.log, e.Index, l); err != nil {
			return err
		}
		f.stories.fold(e.Index, l)
		f.gates.fold(l.At, l.Event)
		f.inventory.fold(e.Index, l.At, l.Event)
		if gone, ok := l.Event.(*remit.PayloadsErased); ok {
			for _, d := range gone.Payloads {
				f.erased[d] = e.Index
				f.Forget(d)
			}
		}
		f.next = e.Index + 1
		f.folded.Store(uint64(f.next))
	}
	return nil
}

// Next is the entry that is folded next: the distance to the head is how far the views are behind. It does not wait for
// a catching up that is under way.
func (f *Follower) Next() remit.EntryIndex { return remit.EntryIndex(f.folded.Load()) }

// leaves reads the entries at ascending indexes, as few times as it can.
func (f *Follower) leaves(ctx context.Context, indexes []remit.EntryIndex, yield func(remit.EntryIndex, ledger.Leaf) bool) error {
	const near = 256 // reading on over this many entries is cheaper than asking again
	for len(indexes) > 0 {
		for e, err := range f.log.Read(ctx, indexes[0]) {
			if err != nil {
				return err
			}
			if len(indexes) == 0 || indexes[0] > e.Index+near {
				break
			}
			if e.Index != indexes[0] {
				continue
			}
			indexes = indexes[1:]
			l, err := ledger.Decode(e.Leaf)
			if err != nil {
				return err
			}
			if !yield(e.Index, l) {
				return nil
			}
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return nil
}
