package analysis

import (
	"cmp"
	"container/heap"
	"slices"

	"github.com/remit-dev/remit"
)

// far is the cost of what is not reached.
const far = 1 << 30

// maxHeld bounds how many people's own part in a path is told apart. Of more than that, one is always found who had none.
const maxHeld = 8

// walk is what an attacker comes to hold, with the fewest approvals for each node, and of those ways the shortest.
//
// It goes over places: a node, and whose own act brought the attacker there: 0 if none of the people whom they hold asked
// for it, or else the number of the one. Who caused a request does not vote on it.
type walk struct {
	g      *Graph
	people []remit.ID // whom the attacker holds, sorted
	apart  int        // places of a node
	asked  []int      // by place: approvals on the best way
	steps  []int
	via    []int // the last edge; -1 at the start
	from   []int // the place before
	given  []bool
}

// place is where the queue is.
type place struct{ at, asked, steps, via, from int }

type queue []place

func (q queue) Len() int { return len(q) }
func (q queue) Less(i, j int) bool {
	a, b := q[i], q[j]
	return cmp.Or(a.asked-b.asked, a.steps-b.steps, a.at-b.at, a.via-b.via, a.from-b.from) < 0
}
func (q queue) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *queue) Push(x any)   { *q = append(*q, x.(place)) }
func (q *queue) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// walk goes from nodes. Dijkstra's way stays right with what must be held besides: a way is open once all of that is, and
// then costs what all of it costs together (Knuth 1977).
func (g *Graph) walk(from []int) *walk {
	w := &walk{g: g, apart: 1}
	for _, n := range from {
		if g.Nodes[n].Kind == KindPerson {
			w.people = append(w.people, remit.ID(g.Nodes[n].ID.Name()))
		}
	}
	slices.Sort(w.people)
	if n := len(w.people); n > 0 && n <= maxHeld {
		w.apart = 1 + n
	}
	size := len(g.Nodes) * w.apart
	w.asked, w.steps, w.via, w.from, w.given = make([]int, size), make([]int, size), make([]int, size), make([]int, size), make([]bool, size)
	for i := range w.asked {
		w.asked[i], w.via[i] = far, -1
	}
	q := &queue{}
	for _, n := range from {
		heap.Push(q, place{at: n * w.apart, via: -1, from: -1})
	}
	for q.Len() > 0 {
		p := heap.Pop(q).(place)
		if w.given[p.at] {
			continue
		}
		w.given[p.at] = true
		w.asked[p.at], w.steps[p.at], w.via[p.at], w.from[p.at] = p.asked, p.steps, p.via, p.from
		n := p.at / w.apart
		for _, e := range g.out[n] {
			w.try(q, e, p.at)
		}
		for _, e := range g.watch[n] {
			for at := g.src[e] * w.apart; at < (g.src[e]+1)*w.apart; at++ {
				if w.given[at] {
					w.try(q, e, at)
				}
			}
		}
	}
	return w
}

func (w *walk) try(q *queue, e, at int) {
	to, asked, _, ok := w.step(e, at)
	if ok && !w.given[to] {
		heap.Push(q, place{to, w.asked[at] + asked, w.steps[at] + 1, e, at})
	}
}

// step takes an edge from a place: where it leads, how many approvals it takes with those of what must be held besides, and
// whether the attacker gives its votes alone.
func (w *walk) step(e, at int) (to, asked int, met, ok bool) {
	edge := &w.g.Edges[e]
	own := at % w.apart
	besides, others, ok := w.besides(e)
	if !ok {
		return 0, 0, false, false
	}
	asked = besides
	if edge.Verdict != remit.Allow {
		if met = w.meets(edge.Approval, append(others, own)); !met {
			asked++
		}
	}
	return w.g.dst[e]*w.apart + w.brings(edge, own), asked, met, true
}

// brings is whose own act an edge is.
func (w *walk) brings(e *Edge, own int) int {
	if w.apart == 1 {
		return 0
	}
	switch e.How {
	case HowStarts:
		if i, ok := slices.BinarySearch(w.people, remit.ID(e.From.Name())); ok {
			return i + 1
		}
	case HowRequests, HowDelegates:
		if own != 0 {
			return own
		}
		if n, ok := w.g.Node(e.From); ok {
			if i, ok := slices.BinarySearch(w.people, n.Owner); ok {
				return i + 1
			}
		}
	}
	return 0
}

// helped is who an edge is held with: its place, what it takes with what it did before, and the edge of that; -1: nothing.
type helped struct{ at, asked, by int }

// helpers are for each Support of an edge those who take the least; ok tells whether there are enough of them.
func (w *walk) helpers(e int) (out [][]helped, ok bool) {
	for i, of := range w.g.with[e] {
		need := w.g.Edges[e].With[i].N
		var have []helped // the best way of each
		for _, h := range of {
			best := helped{at: -1}
			for at := h.node * w.apart; at < (h.node+1)*w.apart; at++ {
				if !w.given[at] {
					continue
				}
				if x := w.did(at, h.by); best.at < 0 || x.asked < best.asked {
					best = x
				}
			}
			if best.at >= 0 {
				have = append(have, best)
			}
		}
		slices.SortFunc(have, func(a, b helped) int { return cmp.Or(a.asked-b.asked, a.at-b.at) })
		var owners []remit.ID
		var use []helped
		for _, h := range have {
			o := w.g.Nodes[h.at/w.apart].Owner
			if len(use) == need {
				break
			}
			if o != "" && slices.Contains(owners, o) {
				continue
			}
			owners, use = append(owners, o), append(use, h)
		}
		if len(use) < need {
			return nil, false
		}
		out = append(out, use)
	}
	return out, true
}

// did is the best of the edges of which who is in a place went one before.
func (w *walk) did(at int, by []int) helped {
	best := helped{at: at, asked: w.asked[at], by: -1}
	for i, e := range by {
		x := helped{at: at, asked: w.asked[at], by: e}
		if edge := &w.g.Edges[e]; edge.Verdict != remit.Allow && !w.meets(edge.Approval, []int{at % w.apart}) {
			x.asked++
		}
		if i == 0 || x.asked < best.asked {
			best = x
		}
	}
	return best
}

// besides adds up what an edge must be held with. others are those as whose own acts it was written: R3 keeps them from voting
// on what is made of it, but not who reviewed or built it.
func (w *walk) besides(e int) (asked int, others []int, ok bool) {
	if len(w.g.with[e]) == 0 {
		return 0, nil, true
	}
	all, ok := w.helpers(e)
	for i, of := range all {
		for _, h := range of {
			asked += h.asked
			if w.g.Edges[e].With[i].By == "source.push" {
				others = append(others, h.at%w.apart)
			}
		}
	}
	return asked, others, ok
}

// meets tells whether the people whom the attacker holds, but for those whose own acts it rests on, fill all seats.
func (w *walk) meets(a *Approval, own []int) bool {
	if a == nil || len(w.people) == 0 {
		return false
	}
	free := slices.Clone(w.people)
	if !a.Self {
		for _, i := range own {
			if i != 0 {
				free = slices.DeleteFunc(free, func(p remit.ID) bool { return p == w.people[i-1] })
			}
		}
	}
	return a.met(free)
}

// met tells whether people fill the seats of an approval, each in one.
func (a *Approval) met(people []remit.ID) bool {
	var seats []int
	for i, n := range a.Needs {
		for range n.N {
			seats = append(seats, i)
		}
	}
	if len(seats) > len(people) {
		return false
	}
	sits := make([]int, len(people))
	for i := range sits {
		sits[i] = -1
	}
	var seat func(s int, tried []bool) bool
	seat = func(s int, tried []bool) bool {
		for i, p := range people {
			if _, may := slices.BinarySearch(a.Voters[seats[s]], p); tried[i] || !may {
				continue
			}
			tried[i] = true
			if sits[i] < 0 || seat(sits[i], tried) {
				sits[i] = s
				return true
			}
		}
		return false
	}
	for s := range seats {
		if !seat(s, make([]bool, len(people))) {
			return false
		}
	}
	return true
}

// best is the place of a node that asks the fewest; -1: it is not reached.
func (w *walk) best(n int) int {
	best := -1
	for at := n * w.apart; at < (n+1)*w.apart; at++ {
		if w.given[at] && (best < 0 || cmp.Or(w.asked[at]-w.asked[best], w.steps[at]-w.steps[best]) < 0) {
			best = at
		}
	}
	return best
}

// cost is how many approvals a node takes; far: it is not reached.
func (w *walk) cost(n int) int {
	if at := w.best(n); at >= 0 {
		return w.asked[at]
	}
	return far
}

// back is the best way to a place, as edges.
func (w *walk) back(at int) []int {
	var out []int
	for w.via[at] >= 0 {
		out = append(out, w.via[at])
		at = w.from[at]
	}
	slices.Reverse(out)
	return out
}

// path describes a way over edges from a place.
func (w *walk) path(at int, edges []int) Path {
	var p Path
	for i, e := range edges {
		edge := w.g.Edges[e]
		p.Edges = append(p.Edges, edge)
		if edge.Crosses != "" {
			p.Crosses = append(p.Crosses, edge.Crosses)
		}
		to, asked, met, _ := w.step(e, at)
		switch {
		case met:
			p.Met = append(p.Met, i)
		case edge.Verdict != remit.Allow:
			asked--
			p.Approvals = append(p.Approvals, *edge.Approval)
		}
		if asked > 0 {
			p.Approvals = append(p.Approvals, w.beforehand(e, map[int]bool{})...)
		}
		at = to
	}
	return p
}

// beforehand lists the approvals behind what an edge must be held with.
func (w *walk) beforehand(e int, seen map[int]bool) (out []Approval) {
	if seen[e] {
		return nil
	}
	seen[e] = true
	all, _ := w.helpers(e)
	for _, of := range all {
		for _, h := range of {
			if h.by >= 0 && h.asked > w.asked[h.at] {
				out = append(out, *w.g.Edges[h.by].Approval)
			}
			for x := h.at; w.via[x] >= 0; x = w.from[x] {
				if _, asked, met, _ := w.step(w.via[x], w.from[x]); asked > 0 && w.g.Edges[w.via[x]].Verdict != remit.Allow && !met {
					out = append(out, *w.g.Edges[w.via[x]].Approval)
				}
				out = append(out, w.beforehand(w.via[x], seen)...)
			}
		}
	}
	return out
}
