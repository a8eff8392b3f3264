package analysis

import (
	"fmt"
	"slices"

	"github.com/remit-dev/remit"
)

// maxPlaces bounds each list of a placement.
const maxPlaces = 200

// free tells what an attacker holds without asking anybody, by which edges, and from which of all nodes these lead on to
// one of the targets.
type free struct {
	w      *walk
	open   []bool // by edge: it is gone for nothing
	leads  []bool // by node: a free way leads from it to a target
	target []bool
}

func (g *Graph) free(from, to []int) *free {
	f := &free{w: g.walk(from), open: make([]bool, len(g.Edges)), leads: make([]bool, len(g.Nodes)), target: make([]bool, len(g.Nodes))}
	for e := range g.Edges {
		for at := g.src[e] * f.w.apart; at < (g.src[e]+1)*f.w.apart && !f.open[e]; at++ {
			if f.w.given[at] && f.w.asked[at] == 0 {
				_, asked, _, ok := f.w.step(e, at)
				f.open[e] = ok && asked == 0
			}
		}
	}
	todo := slices.Clone(to)
	for _, n := range to {
		f.leads[n], f.target[n] = true, true
	}
	for len(todo) > 0 {
		n := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		for _, e := range g.in[n] {
			if s := g.src[e]; f.open[e] && !f.leads[s] {
				f.leads[s], todo = true, append(todo, s)
			}
		}
	}
	return f
}

// gate tells whether an approval could stand on an edge: where somebody asks Remit for something. Nobody can be asked before
// a text is believed, an effect follows or a credential is used past Remit; an effect is judged with what sets it off.
func gate(e *Edge) bool {
	switch e.How {
	case HowActs, HowRequests, HowDelegates, HowBreakGlass:
		return true
	case HowControls:
		return e.Action == "control.apply"
	}
	return false
}

// Cut finds a smallest set of edges on which an approval by people whom the attacker does not hold leaves no free path from
// what From matches to what To matches. Of several such sets it is the one nearest to the targets. What a way must be held
// with besides is not used to make the set smaller.
func (g *Graph) Cut(from, to string) (Cut, error) {
	start, err := g.match(from)
	if err != nil {
		return Cut{}, err
	}
	end, err := g.match(to)
	if err != nil {
		return Cut{}, err
	}
	cut, _ := g.cut(start, end, g.free(start, end))
	return cut, nil
}

func (g *Graph) cut(start, end []int, f *free) (Cut, []int) {
	c := Cut{From: g.ids(start), To: g.ids(end), Edges: []Edge{}}
	var ends []int
	// What is held at first, or comes without anybody who could be asked, no approval cuts.
	bare := g.bare(start, f)
	for _, n := range end {
		if !bare.given[n] {
			ends = append(ends, n)
			continue
		}
		c.Uncut = append(c.Uncut, g.Nodes[n].ID)
		if edges := bare.back(n); len(edges) > 0 {
			c.UncutPaths = append(c.UncutPaths, f.w.path(g.src[edges[0]]*f.w.apart, edges))
		}
	}
	edges := g.mincut(start, ends, f)
	for _, e := range edges {
		c.Edges = append(c.Edges, g.Edges[e])
	}
	return c, edges
}

// bare is what is held by edges on which no approval could stand.
func (g *Graph) bare(start []int, f *free) *walk {
	w := &walk{g: g, apart: 1, given: make([]bool, len(g.Nodes)), via: make([]int, len(g.Nodes)), from: make([]int, len(g.Nodes))}
	for _, n := range start {
		w.given[n], w.via[n] = true, -1
	}
	for todo := slices.Clone(start); len(todo) > 0; {
		n := todo[0]
		todo = todo[1:]
		for _, e := range g.out[n] {
			if d := g.dst[e]; f.open[e] && !gate(&g.Edges[e]) && !w.given[d] {
				w.given[d], w.via[d], w.from[d] = true, e, n
				todo = append(todo, d)
			}
		}
	}
	return w
}

// flow is a network in which each edge of the graph stands beside its reverse.
type flow struct {
	head [][]int // by node, arcs
	to   []int
	room []int
	edge []int // of the graph; -1 for others
	deep []int
	next []int
}

const endless = 1 << 40

func (n *flow) arc(from, to, room, edge int) {
	n.head[from] = append(n.head[from], len(n.to))
	n.head[to] = append(n.head[to], len(n.to)+1)
	n.to, n.room, n.edge = append(n.to, to, from), append(n.room, room, 0), append(n.edge, edge, -1)
}

// mincut is Dinic's maximum flow over free edges, of which those that an approval can stand on have room for one. The cut is
// made of edges that are full between what still reaches the targets and what does not.
func (g *Graph) mincut(start, end []int, f *free) []int {
	if len(end) == 0 {
		return nil
	}
	s, t := len(g.Nodes), len(g.Nodes)+1
	n := &flow{head: make([][]int, len(g.Nodes)+2)}
	for e := range g.Edges {
		if f.open[e] && f.leads[g.dst[e]] {
			room := endless
			if gate(&g.Edges[e]) {
				room = 1
			}
			n.arc(g.src[e], g.dst[e], room, e)
		}
	}
	for _, v := range start {
		n.arc(s, v, endless, -1)
	}
	for _, v := range end {
		n.arc(v, t, endless, -1)
	}
	for n.level(s, t) {
		n.next = make([]int, len(n.head))
		for n.push(s, t, endless) > 0 {
		}
	}
	// What still reaches t, backwards over arcs with room.
	reaches := make([]bool, len(n.head))
	reaches[t] = true
	for todo := []int{t}; len(todo) > 0; {
		v := todo[0]
		todo = todo[1:]
		for _, a := range n.head[v] {
			if u := n.to[a]; n.room[a^1] > 0 && !reaches[u] {
				reaches[u], todo = true, append(todo, u)
			}
		}
	}
	var out []int
	for a := 0; a < len(n.to); a += 2 {
		if e := n.edge[a]; e >= 0 && !reaches[n.to[a+1]] && reaches[n.to[a]] {
			out = append(out, e)
		}
	}
	slices.Sort(out)
	return out
}

func (n *flow) level(s, t int) bool {
	n.deep = make([]int, len(n.head))
	n.deep[s] = 1
	for todo := []int{s}; len(todo) > 0; {
		v := todo[0]
		todo = todo[1:]
		for _, a := range n.head[v] {
			if u := n.to[a]; n.room[a] > 0 && n.deep[u] == 0 {
				n.deep[u], todo = n.deep[v]+1, append(todo, u)
			}
		}
	}
	return n.deep[t] != 0
}

// push sends flow along one shortest way, without recursion: graphs are deep.
func (n *flow) push(s, t, most int) int {
	var way []int
	for v := s; v != t; {
		moved := false
		for ; n.next[v] < len(n.head[v]); n.next[v]++ {
			if a := n.head[v][n.next[v]]; n.room[a] > 0 && n.deep[n.to[a]] == n.deep[v]+1 {
				way, v, moved = append(way, a), n.to[a], true
				break
			}
		}
		if moved {
			continue
		}
		if len(way) == 0 {
			return 0
		}
		v = n.to[way[len(way)-1]^1]
		way = way[:len(way)-1]
		n.next[v]++
	}
	for _, a := range way {
		most = min(most, n.room[a])
	}
	for _, a := range way {
		n.room[a] -= most
		n.room[a^1] += most
	}
	return most
}

// Placement compares where approvals stand between what From and To match with where they would cut.
//
//   - Missing: edges of free paths that escalate.
//   - Vacuous: approvals that who asks can give alone, or that are replaced by evidence which agents make; and such around
//     which a free path leads.
//   - Redundant: approvals on ways on each of which another one is asked for anyhow.
//
// Those to which nothing of From ever comes, or behind which nothing of To is, are only counted.
func (g *Graph) Placement(from, to string) (Placement, error) {
	start, err := g.match(from)
	if err != nil {
		return Placement{}, err
	}
	end, err := g.match(to)
	if err != nil {
		return Placement{}, err
	}
	f := g.free(start, end)
	p := Placement{Missing: []Place{}, Vacuous: []Place{}, Redundant: []Place{}}
	p.Cut, _ = g.cut(start, end, f)
	rest := f.w.rest(end, false)
	for e := range g.Edges {
		edge := &g.Edges[e]
		src, dst := f.w.best(g.src[e]), g.dst[e]
		switch {
		case edge.Verdict == remit.Allow && f.open[e] && f.leads[dst] && gate(edge) && edge.Crosses != "":
			put(&p.Missing, Place{Edge: *edge, Why: fmt.Sprintf("it escalates (%s), nobody is asked, and it lies on a free path", edge.Crosses), Path: g.through(f, e)})
			if edge.Instead != "" {
				put(&p.Vacuous, Place{Edge: *edge, Why: fmt.Sprintf("people are asked for only where there is no evidence %s, and the attacker has agents that make it", edge.Instead)})
			}
		case edge.Verdict == remit.Allow:
		case f.open[e]:
			put(&p.Vacuous, Place{Edge: *edge, Why: "whoever asks gives its votes alone", Path: g.through(f, e)})
		case edge.Approval.Self && edge.Approval.Glass == "":
			put(&p.Vacuous, Place{Edge: *edge, Why: "profile solo: who asked may vote for themselves"})
		case src < 0 || !f.reaches(rest, dst):
			p.Elsewhere++
		case f.w.cost(dst) == 0:
			put(&p.Vacuous, Place{Edge: *edge, Why: "a free path leads around it", Path: g.way(f.w, dst)})
		case f.w.asked[src] > 0:
			put(&p.Redundant, Place{Edge: *edge, Why: "whoever comes to it was let through by another approval", Path: g.way(f.w, g.src[e])})
		case !f.leads[dst]:
			put(&p.Redundant, Place{Edge: *edge, Why: "behind it another approval is asked for before anything is reached"})
		}
	}
	return p, nil
}

func put(list *[]Place, p Place) {
	if len(*list) < maxPlaces {
		*list = append(*list, p)
	}
}

// reaches tells whether any way leads from a node to a target.
func (f *free) reaches(rest []int, n int) bool {
	for at := n * f.w.apart; at < (n+1)*f.w.apart; at++ {
		if rest[at] < far {
			return true
		}
	}
	return false
}

// way is the best path to a node; nil where it is held at first.
func (g *Graph) way(w *walk, n int) *Path {
	edges := w.back(w.best(n))
	if len(edges) == 0 {
		return nil
	}
	p := w.path(g.src[edges[0]]*w.apart, edges)
	return &p
}

// through is a free path over an edge to a target.
func (g *Graph) through(f *free, e int) *Path {
	at := f.w.best(g.src[e])
	edges := append(f.w.back(at), e)
	seen := map[int]bool{}
	for _, x := range edges {
		seen[g.src[x]] = true
	}
	n := g.dst[e]
	back := map[int]int{n: -1}
	for todo := []int{n}; len(todo) > 0; {
		v := todo[0]
		todo = todo[1:]
		if f.target[v] {
			var tail []int
			for ; back[v] >= 0; v = g.src[back[v]] {
				tail = append(tail, back[v])
			}
			slices.Reverse(tail)
			p := f.w.path(g.src[edges[0]]*f.w.apart, append(edges, tail...))
			return &p
		}
		for _, x := range g.out[v] {
			d := g.dst[x]
			if _, had := back[d]; f.open[x] && f.leads[d] && !had && !seen[d] {
				back[d] = x
				todo = append(todo, d)
			}
		}
	}
	return nil // only by what it came from
}
