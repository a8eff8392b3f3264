package ledger

import (
	"context"
	"fmt"
	"math/bits"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/remit-dev/remit"
)

// Tree is the Merkle tree of a log, RFC 6962 §2.1, as its right edge: the roots of its complete subtrees, largest first.
// It is a value: Append leaves its receiver as it was, so that what was not committed is simply forgotten. The zero
// value is the empty tree.
type Tree struct {
	size uint64
	edge []tlog.Hash
}

// OpenTree is the tree of a store at its head. It reads the right edge and checks it against the head's root; that the
// leaves are under it is checked by Replay.
func OpenTree(ctx context.Context, s Store) (Tree, Head, error) {
	h, err := s.Head(ctx)
	if err != nil {
		return Tree{}, Head{}, err
	}
	edge, err := s.Hashes(ctx, torchwood.RightEdge(int64(h.Size)))
	if err != nil {
		return Tree{}, Head{}, fmt.Errorf("the hashes at the log's end: %w", err)
	}
	t := Tree{size: h.Size, edge: edge}
	if t.Root() != h.Root {
		return Tree{}, Head{}, damaged("its hashes do not give the root of its head, at %d entries", h.Size)
	}
	return t, h, nil
}

func damaged(format string, args ...any) error {
	return remit.Errorf(remit.LedgerDown, "the log is damaged: "+format+"; put back the newest undamaged copy of it", args...)
}

// Size is the number of leaves.
func (t Tree) Size() uint64 { return t.size }

// Root is the tree hash.
func (t Tree) Root() remit.Digest {
	if len(t.edge) == 0 {
		return emptyRoot
	}
	h := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		h = tlog.NodeHash(t.edge[i], h)
	}
	return remit.Digest(h)
}

// Head is the head of t in an epoch.
func (t Tree) Head(epoch uint64) Head { return Head{Size: t.size, Root: t.Root(), Epoch: epoch} }

// Append gives the tree with further leaves, and the hashes to store for them, in the order of tlog.StoredHashIndex.
func (t Tree) Append(leaves ...[]byte) (Tree, []tlog.Hash) {
	stored := make([]tlog.Hash, 0, 2*len(leaves)+1)
	next := t.clone()
	for _, leaf := range leaves {
		stored = next.push(tlog.RecordHash(leaf), stored)
	}
	return next, stored
}

func (t Tree) clone() Tree {
	return Tree{t.size, append(make([]tlog.Hash, 0, len(t.edge)+8), t.edge...)}
}

// push adds a leaf's hash and appends to stored what the leaf completes: its own hash and one for each subtree.
func (t *Tree) push(h tlog.Hash, stored []tlog.Hash) []tlog.Hash {
	stored = append(stored, h)
	for range bits.TrailingZeros64(^t.size) {
		h = tlog.NodeHash(t.edge[len(t.edge)-1], h)
		t.edge = t.edge[:len(t.edge)-1]
		stored = append(stored, h)
	}
	t.edge = append(t.edge, h)
	t.size++
	return stored
}
