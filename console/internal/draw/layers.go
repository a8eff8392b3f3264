package draw

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// layout is a layered drawing in the way of Sugiyama: lines that would close a circle are turned, boxes get the layer below
// all that lead to them, lines over several layers get bends there, and layers are ordered so that few lines cross.
type layout struct {
	boxes []*node
	lines []line
	rows  [][]*node
}

type node struct {
	id     string
	bend   bool // of a line, on its way through a layer
	depth  int
	pull   float64 // where its neighbours would have it
	down   []*node // of the layer below
	up     []*node
	x, y   int
	marked int // while circles are looked for: 1 under way, 2 done
	out    []int
}

// line is a way between boxes; turned, it is laid out the other way round.
type line struct {
	from, to *node
	turned   bool
	through  []*node // from the upper box to the lower one, with the bends between them
}

const sweeps = 8 // of the ordering; more change nothing at this size

func newLayout(order []string, lines []Line) *layout {
	g := &layout{}
	at := map[string]*node{}
	for _, id := range order {
		at[id] = &node{id: id}
		g.boxes = append(g.boxes, at[id])
	}
	for i, l := range lines {
		g.lines = append(g.lines, line{from: at[l.From], to: at[l.To]})
		at[l.From].out = append(at[l.From].out, i)
	}
	for _, n := range g.boxes {
		g.turn(n)
	}
	return g
}

// turn walks from n and turns the lines that lead back to where the walk came from. It is as deep as there are boxes.
func (g *layout) turn(n *node) {
	if n.marked != 0 {
		return
	}
	n.marked = 1
	for _, i := range n.out {
		l := &g.lines[i]
		if l.to.marked == 1 {
			l.turned = true
			continue
		}
		g.turn(l.to)
	}
	n.marked = 2
}

// ends are the upper and the lower box of a line.
func (l *line) ends() (upper, lower *node) {
	if l.turned {
		return l.to, l.from
	}
	return l.from, l.to
}

// layer puts every box below all boxes that lead to it, and bends into the layers that a line passes.
func (g *layout) layer() {
	for range g.boxes { // the longest way has fewer lines than there are boxes
		for i := range g.lines {
			upper, lower := g.lines[i].ends()
			lower.depth = max(lower.depth, upper.depth+1)
		}
	}
	deepest := 0
	for _, n := range g.boxes {
		deepest = max(deepest, n.depth)
	}
	g.rows = make([][]*node, deepest+1)
	for _, n := range g.boxes {
		g.rows[n.depth] = append(g.rows[n.depth], n)
	}
	for i := range g.lines {
		l := &g.lines[i]
		upper, lower := l.ends()
		l.through = []*node{upper}
		for depth := upper.depth + 1; depth < lower.depth; depth++ {
			b := &node{bend: true, depth: depth}
			g.rows[depth] = append(g.rows[depth], b)
			l.through = append(l.through, b)
		}
		l.through = append(l.through, lower)
		for j := 1; j < len(l.through); j++ {
			l.through[j-1].down = append(l.through[j-1].down, l.through[j])
			l.through[j].up = append(l.through[j].up, l.through[j-1])
		}
	}
}

// untangle orders each layer by the middle of its neighbours, down and up again (the barycentre heuristic).
func (g *layout) untangle() {
	for sweep := range sweeps {
		for i := range g.rows {
			depth := i
			if sweep%2 == 1 {
				depth = len(g.rows) - 1 - i
			}
			for j, n := range g.rows[depth] {
				beside := n.up
				if sweep%2 == 1 {
					beside = n.down
				}
				n.pull = float64(j)
				if len(beside) > 0 {
					n.pull = 0
					for _, b := range beside {
						n.pull += float64(slices.Index(g.rows[b.depth], b)) / float64(len(beside))
					}
				}
			}
			slices.SortStableFunc(g.rows[depth], func(a, b *node) int { return cmp.Compare(a.pull, b.pull) })
		}
	}
}

func (n *node) width() int {
	if n.bend {
		return bendWidth
	}
	return boxWidth
}

func rowWidth(row []*node) int {
	w := (len(row) - 1) * between
	for _, n := range row {
		w += n.width()
	}
	return w
}

// route is the points of a line: from the lower edge of a box to the upper edge of the next, straight through its bends. A
// turned line is drawn from below.
func (g *layout) route(l line) string {
	var points []string
	for i, n := range l.through {
		x := n.x + n.width()/2
		if i > 0 {
			points = append(points, fmt.Sprintf("%d,%d", x, n.y))
		}
		if i < len(l.through)-1 {
			points = append(points, fmt.Sprintf("%d,%d", x, n.y+boxHeight))
		}
	}
	if l.turned {
		slices.Reverse(points)
	}
	return strings.Join(points, " ")
}
