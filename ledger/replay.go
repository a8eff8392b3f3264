package ledger

import (
	"context"
	"fmt"
	"runtime"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

// replayBatch is how many entries one goroutine decodes at a time.
const replayBatch = 512

// Replay folds a log: it gives every entry from start.Size() on to apply, in order, and then the tree at the head.
// Decoding and hashing run on all cores beside apply. The entries are checked against the head's root only at the end:
// a caller trusts nothing of what apply built until Replay returns nil.
func Replay(ctx context.Context, s Store, start Tree, apply func(remit.EntryIndex, Leaf) error) (Tree, Head, error) {
	head, err := s.Head(ctx)
	if err != nil {
		return Tree{}, Head{}, err
	}
	if head.Size < start.Size() {
		return Tree{}, Head{}, damaged("it has %d entries where a snapshot has %d", head.Size, start.Size())
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	tree := start.clone()
	var hashes []tlog.Hash
	for j := range decodeAll(ctx, limit(s.Read(ctx, remit.EntryIndex(start.Size())), head.Size)) {
		<-j.done
		for i := range j.leaves {
			at := remit.EntryIndex(tree.Size())
			if j.entries[i].Index != at {
				return Tree{}, Head{}, damaged("entry %d stands where entry %d belongs", j.entries[i].Index, at)
			}
			hashes = tree.push(j.hashes[i], hashes[:0])
			if err := apply(at, j.leaves[i]); err != nil {
				return Tree{}, Head{}, fmt.Errorf("entry %d: %w", at, err)
			}
		}
		if j.err != nil {
			return Tree{}, Head{}, fmt.Errorf("entry %d: %w", tree.Size(), j.err)
		}
	}
	if err := ctx.Err(); err != nil {
		return Tree{}, Head{}, err
	}
	if tree.Size() != head.Size {
		return Tree{}, Head{}, damaged("it ends after %d of %d entries", tree.Size(), head.Size)
	}
	if tree.Root() != head.Root {
		return Tree{}, Head{}, damaged("its entries do not give the root of its head, at %d entries", head.Size)
	}
	return tree, head, nil
}

// limit ends a sequence before the entry at size: the writer may have gone on meanwhile.
func limit(entries func(func(Entry, error) bool), size uint64) func(func(Entry, error) bool) {
	return func(yield func(Entry, error) bool) {
		for e, err := range entries {
			if err == nil && uint64(e.Index) >= size || !yield(e, err) {
				return
			}
		}
	}
}

// job is a run of entries that one goroutine decodes and hashes. The error, if any, is that of the entry that follows
// the last of leaves.
type job struct {
	entries []Entry
	leaves  []Leaf
	hashes  []tlog.Hash
	err     error
	done    chan struct{}
}

func (j *job) run() {
	defer close(j.done)
	n := len(j.entries)
	j.leaves, j.hashes = make([]Leaf, 0, n), make([]tlog.Hash, 0, n)
	for _, e := range j.entries {
		l, err := Decode(e.Leaf)
		if err != nil {
			j.err = err
			return
		}
		j.leaves, j.hashes = append(j.leaves, l), append(j.hashes, tlog.RecordHash(e.Leaf))
	}
}

// decodeAll gives the jobs of a sequence in its order, each perhaps still running. The caller cancels ctx when it stops
// early.
func decodeAll(ctx context.Context, entries func(func(Entry, error) bool)) <-chan *job {
	workers := runtime.GOMAXPROCS(0)
	work, out := make(chan *job), make(chan *job, 2*workers)
	for range workers {
		go func() {
			for j := range work {
				j.run()
			}
		}()
	}
	go func() {
		defer close(out)
		defer close(work)
		send := func(j *job) bool {
			for _, to := range []chan *job{work, out} {
				select {
				case to <- j:
				case <-ctx.Done():
					return false
				}
			}
			return true
		}
		next := &job{done: make(chan struct{})}
		for e, err := range entries {
			if err != nil {
				if len(next.entries) == 0 || send(next) {
					last := &job{err: err, done: make(chan struct{})}
					close(last.done)
					select {
					case out <- last:
					case <-ctx.Done():
					}
				}
				return
			}
			if next.entries = append(next.entries, e); len(next.entries) == replayBatch {
				if !send(next) {
					return
				}
				next = &job{done: make(chan struct{})}
			}
		}
		if len(next.entries) > 0 {
			send(next)
		}
	}()
	return out
}
