package change

import (
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"

	"github.com/remit-dev/remit/gateway/git/internal/object"
)

// Who reaches a commit.
const (
	fromNew uint8 = 1 << iota
	fromOld
	fromTrusted
	stale // an ancestor of a commit that both the new value and the trusted ref reach
)

// node is a commit of the walk.
type node struct {
	oid     object.OID
	tree    object.OID
	parents []object.OID
	when    int64
	reached uint8
	queued  bool
	brought bool
}

func (n *node) fresh() bool  { return n.reached&(fromNew|fromOld|fromTrusted) == fromNew }
func (n *node) notOld() bool { return n.reached&(fromNew|fromOld) == fromNew }
func (n *node) shared() bool { return n.reached&fromNew != 0 && n.reached&fromTrusted != 0 }

// later orders by claimed date, newest first; dates are only a guess at where
// to look next.
func later(a, b *node) int {
	return cmp.Or(cmp.Compare(b.when, a.when), a.oid.Compare(b.oid))
}

type queue []*node

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return later(q[i], q[j]) < 0 }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)        { *q = append(*q, x.(*node)) }
func (q *queue) Pop() any {
	old := *q
	n := old[len(old)-1]
	*q = old[:len(old)-1]
	return n
}

// history is what lies between the old and the new value of a ref.
type history struct {
	fresh     []*node // new commits, newest first
	isFresh   map[object.OID]bool
	forward   bool  // the new value descends from the old one
	mergeBase *node // with the trusted ref; nil if there is none
}

// slop is how many commits the walk goes on after the last one that seemed
// new: with wrong dates an accepted commit can turn up late. git has 5.
const slop = 16

// walker colours commits by who reaches them, as git's merge-base does.
type walker struct {
	s      *source
	nodes  map[object.OID]*node
	queue  queue
	fresh  int // queued nodes that only the new value reaches
	notOld int // queued nodes that the new value reaches and the old does not
	apart  int // queued nodes that the new value reaches and the trusted ref does not
	met    bool
}

func (w *walker) load(ctx context.Context, oid object.OID) (*node, error) {
	if n := w.nodes[oid]; n != nil {
		return n, nil
	}
	if len(w.nodes) >= w.s.limits.Walk {
		return nil, object.Refuse(object.CodeTooLargeJudge, oid.String(),
			"finding the new commits takes more than %d commits; rebase onto the trusted branch and push again", w.s.limits.Walk)
	}
	typ, body, brought, err := w.s.object(ctx, oid)
	if err != nil {
		return nil, err
	}
	if typ != object.Commit {
		return nil, object.Refuse(object.CodeBadObject, oid.String(), "it is named as a commit, but is a %s", typ)
	}
	n := &node{oid: oid, brought: brought}
	if n.tree, n.parents, n.when, err = object.CommitLinks(body); err != nil {
		return nil, fmt.Errorf("commit %s: %w", oid, err)
	}
	w.nodes[oid] = n
	return n, nil
}

// mark adds to who reaches n and queues it if that is news.
func (w *walker) mark(n *node, reached uint8) {
	if n.reached|reached == n.reached {
		return
	}
	w.count(n, -1)
	n.reached |= reached
	w.met = w.met || n.shared()
	if n.queued {
		w.count(n, 1)
		return
	}
	n.queued = true
	w.count(n, 1)
	heap.Push(&w.queue, n)
}

func (w *walker) count(n *node, by int) {
	if !n.queued {
		return
	}
	if n.fresh() {
		w.fresh += by
	}
	if n.notOld() {
		w.notOld += by
	}
	if n.reached&(fromNew|fromTrusted) == fromNew {
		w.apart += by
	}
}

// walk finds the new commits. Old and trusted may be zero.
//
// A commit is left out only when a chain of parents from an accepted tip was
// followed to it, so wrong dates can make a commit count as new that is not,
// never the reverse. Whether the new value descends from the old one does not
// depend on dates at all.
func (s *source) walk(ctx context.Context, new, old, trusted object.OID) (*history, error) {
	w := &walker{s: s, nodes: map[object.OID]*node{}}
	var oldNode *node
	for _, tip := range []struct {
		oid     object.OID
		reached uint8
	}{{new, fromNew}, {old, fromOld}, {trusted, fromTrusted}} {
		if tip.oid.IsZero() {
			continue
		}
		n, err := w.load(ctx, tip.oid)
		if err != nil {
			return nil, err
		}
		if tip.reached == fromOld {
			oldNode = n
		}
		w.mark(n, tip.reached)
	}
	undecided := func() bool { return oldNode != nil && oldNode.reached&fromNew == 0 && w.notOld > 0 }
	// Where a long branch left the trusted one can lie far behind its old value.
	parted := func() bool { return !trusted.IsZero() && !w.met && w.apart > 0 }
	further := 0
	for len(w.queue) > 0 && (w.fresh > 0 || undecided() || parted() || further > 0) {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		n := heap.Pop(&w.queue).(*node)
		w.count(n, -1)
		n.queued = false
		if further--; n.fresh() {
			further = slop
		}
		reached := n.reached
		if n.shared() {
			reached |= stale
		}
		for _, oid := range n.parents {
			parent, err := w.load(ctx, oid)
			if err != nil {
				return nil, err
			}
			w.mark(parent, reached)
		}
	}
	return w.history(oldNode)
}

func (w *walker) history(old *node) (*history, error) {
	h := &history{isFresh: map[object.OID]bool{}, forward: old != nil && old.reached&fromNew != 0}
	for _, n := range w.nodes {
		if n.fresh() {
			h.fresh = append(h.fresh, n)
			h.isFresh[n.oid] = true
		}
		if n.shared() && n.reached&stale == 0 && (h.mergeBase == nil || later(n, h.mergeBase) < 0) {
			h.mergeBase = n
		}
	}
	if len(h.fresh) > w.s.limits.Commits {
		return nil, object.Refuse(object.CodeTooLargeJudge, "",
			"the push has %d new commits for one ref, above the limit of %d; push the history in parts", len(h.fresh), w.s.limits.Commits)
	}
	slices.SortFunc(h.fresh, later)
	return h, nil
}
