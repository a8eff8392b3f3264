package analysis

import (
	"container/heap"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// Limits of what is answered.
const (
	MaxPaths = 1000
	maxTries = 200_000 // partial paths that are looked at for one answer
)

// Match lists the nodes that a pattern means, in the order of the graph: KIND for all of a kind, KIND:NAME or KIND/NAME, and
// names that end in /* or /** as patterns of resources do. An agent's name means it on all its tasks. What means none is an
// error that says what there is.
func (g *Graph) Match(pattern string) ([]NodeID, error) {
	in, err := g.match(pattern)
	var out []NodeID
	for _, n := range in {
		out = append(out, g.Nodes[n].ID)
	}
	return out, err
}

func (g *Graph) match(pattern string) (out []int, err error) {
	kind, name := pattern, ""
	if i := strings.IndexAny(pattern, ":/"); i >= 0 {
		kind, name = pattern[:i], pattern[i+1:]
	}
	if !slices.Contains(Kinds(), Kind(kind)) {
		return nil, remit.Errorf(remit.BadRequest, "%q is no node: write KIND or KIND:NAME, with one of the kinds %v", pattern, Kinds())
	}
	p := remit.Pattern(kind + ":" + name)
	all := name == "" || name == "*" || name == "**"
	for i, n := range g.Nodes {
		if n.Kind != Kind(kind) {
			continue
		}
		plain, _, task := strings.Cut(string(n.ID), "@")
		if !task {
			plain, _, _ = strings.Cut(string(n.ID), "+")
		}
		if all || string(n.ID) == string(p) || p.Match(remit.Resource(n.ID)) || n.Kind == KindAgent && p.Match(remit.Resource(plain)) {
			out = append(out, i)
		}
	}
	if len(out) == 0 {
		return nil, remit.Errorf(remit.NotFound, "there is no node %q%s", pattern, g.near(Kind(kind)))
	}
	return out, nil
}

// near names a few nodes of a kind.
func (g *Graph) near(kind Kind) string {
	var names []string
	for _, n := range g.Nodes {
		if n.Kind == kind {
			names = append(names, string(n.ID))
		}
	}
	if len(names) == 0 {
		return fmt.Sprintf("; there are none of kind %s", kind)
	}
	return fmt.Sprintf("; of kind %s there are %d, such as %s", kind, len(names), strings.Join(names[:min(3, len(names))], ", "))
}

func (g *Graph) ids(nodes []int) []NodeID {
	out := make([]NodeID, len(nodes))
	for i, n := range nodes {
		out[i] = g.Nodes[n].ID
	}
	return out
}

// Paths answers a query. A pattern that means no node is an error; that there is no path is an answer.
func (g *Graph) Paths(q Query) (Paths, error) {
	from, err := g.match(q.From)
	if err != nil {
		return Paths{}, err
	}
	to, err := g.match(q.To)
	if err != nil {
		return Paths{}, err
	}
	limit, pair := q.Limit, q.PerPair
	if limit == 0 {
		limit = 20
	}
	if pair == 0 {
		pair = 3
	}
	if limit < 0 || limit > MaxPaths || pair < 0 {
		return Paths{}, remit.Errorf(remit.BadRequest, "an answer has 1 to %d paths, not %d", MaxPaths, limit)
	}
	out := Paths{From: g.ids(from), To: g.ids(to)}
	out.Paths, out.More = g.search(g.walk(from), from, to, limit, pair, q.Free)
	return out, nil
}

// partial is a path that is not yet at its end. Its bound is what the whole takes at least.
type partial struct {
	at, asked, edge int
	length, bound   int
	before          *partial
	seq             int
}

type partials []*partial

func (q partials) Len() int { return len(q) }
func (q partials) Less(i, j int) bool {
	a, b := q[i], q[j]
	if a.bound != b.bound {
		return a.bound < b.bound
	}
	return a.seq < b.seq
}
func (q partials) Swap(i, j int) { q[i], q[j] = q[j], q[i] }
func (q *partials) Push(x any)   { *q = append(*q, x.(*partial)) }
func (q *partials) Pop() any {
	old := *q
	x := old[len(old)-1]
	*q = old[:len(old)-1]
	return x
}

// weigh puts approvals before length.
func weigh(asked, steps int) int {
	if asked >= far || steps >= far {
		return far
	}
	return asked<<20 + steps
}

// search lists paths without a node twice, fewest approvals first, then the shortest: A*, whose estimate of the rest is
// exact but for nodes that would stand twice.
func (g *Graph) search(w *walk, from, to []int, limit, pair int, free bool) (out []Path, more bool) {
	rest := w.rest(to, free)
	target := make([]bool, len(g.Nodes))
	for _, n := range to {
		target[n] = true
	}
	q := &partials{}
	seq := 0
	push := func(p *partial) {
		if r := rest[p.at]; r < far {
			p.bound = weigh(p.asked, p.length) + r
			p.seq = seq
			seq++
			heap.Push(q, p)
		}
	}
	for _, n := range from {
		push(&partial{at: n * w.apart, edge: -1})
	}
	count := map[[2]int]int{}
	for q.Len() > 0 && seq < maxTries {
		p := heap.Pop(q).(*partial)
		n := p.at / w.apart
		if target[n] && p.before != nil {
			first := p
			var edges []int
			for ; first.before != nil; first = first.before {
				edges = append(edges, first.edge)
			}
			slices.Reverse(edges)
			ends := [2]int{first.at / w.apart, n}
			if count[ends]++; count[ends] > pair {
				more = true
				continue
			}
			if len(out) == limit {
				return out, true
			}
			out = append(out, w.path(first.at, edges))
			continue
		}
		for _, e := range g.out[n] {
			dst := g.dst[e]
			twice := false
			for b := p; b != nil && !twice; b = b.before {
				twice = b.at/w.apart == dst
			}
			if twice {
				continue
			}
			if at, asked, _, ok := w.step(e, p.at); ok && (!free || asked == 0) {
				push(&partial{at: at, asked: p.asked + asked, edge: e, length: p.length + 1, before: p})
			}
		}
	}
	return out, more || q.Len() > 0
}

// rest is by place the least that a way to one of the targets takes.
func (w *walk) rest(to []int, free bool) []int {
	out := make([]int, len(w.given))
	for i := range out {
		out[i] = far
	}
	q := &queue{}
	for _, n := range to {
		for at := n * w.apart; at < (n+1)*w.apart; at++ {
			heap.Push(q, place{at: at, via: -1, from: -1})
		}
	}
	for q.Len() > 0 {
		p := heap.Pop(q).(place)
		if out[p.at] < far {
			continue
		}
		out[p.at] = weigh(p.asked, p.steps)
		for _, e := range w.g.in[p.at/w.apart] {
			for at := w.g.src[e] * w.apart; at < (w.g.src[e]+1)*w.apart; at++ {
				if !w.given[at] || out[at] < far {
					continue
				}
				if to, asked, _, ok := w.step(e, at); ok && to == p.at && (!free || asked == 0) {
					heap.Push(q, place{at, p.asked + asked, p.steps + 1, e, p.at})
				}
			}
		}
	}
	return out
}

// Reach is the blast radius of what an attacker holds at first: all other nodes, by how many approvals stand before them.
// A node that is not there is an error.
func (g *Graph) Reach(from ...NodeID) (Reach, error) {
	var start []int
	for _, id := range from {
		n, ok := g.at[id]
		if !ok {
			return Reach{}, remit.Errorf(remit.NotFound, "there is no node %q%s", id, g.near(id.Kind()))
		}
		start = append(start, n)
	}
	if len(start) == 0 {
		return Reach{}, remit.Errorf(remit.BadRequest, "an attacker holds something at first")
	}
	w := g.walk(start)
	r := Reach{From: from, Free: []Reached{}, One: []Reached{}, More: []Reached{}}
	for n := range g.Nodes {
		at := w.best(n)
		if at < 0 || slices.Contains(start, n) {
			continue
		}
		x := Reached{Node: g.Nodes[n].ID, Approvals: w.asked[at], Steps: w.steps[at], Last: g.Edges[w.via[at]]}
		switch x.Approvals {
		case 0:
			r.Free = append(r.Free, x)
		case 1:
			r.One = append(r.One, x)
		default:
			r.More = append(r.More, x)
		}
	}
	return r, nil
}
