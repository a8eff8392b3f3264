// Package draw lays out a graph of attack paths for a page: boxes in layers, from what the attacker holds down to what they
// are after, and lines between them. It gives coordinates; the template of the page writes the SVG, and escapes it.
package draw

import (
	"strings"

	"github.com/remit-dev/remit"
)

// Limits of one picture: what is larger nobody reads.
const (
	MaxBoxes = 60
	maxLines = 160
)

const (
	boxWidth, boxHeight = 190, 58
	between, layers     = 26, 54 // boxes of a layer, and layers
	margin              = 12
	bendWidth           = 14
	maxLine             = 29 // characters of one line in a box
)

// Picture is a drawn graph, in units of SVG, which are pixels where it is not scaled.
type Picture struct {
	Width, Height int
	Boxes         []Box
	Lines         []Line
	Left          int // ways that are not on it
}

// Box is a node.
type Box struct {
	X, Y, Width, Height int
	ID, Kind            string
	Zone                remit.Zone
	Name                []string // the part after the kind, in at most two lines
}

// Line is one or more ways between the same two nodes.
type Line struct {
	Points   string // of an SVG polyline
	From, To string
	Free     bool // nobody is asked on one of them
	Text     string
}

// Ways draws ways, in their order, as many as fit.
func Ways(ways []remit.PathWay, nodes []remit.PathNode) (p Picture) {
	known := map[string]remit.PathNode{}
	for _, n := range nodes {
		known[n.ID] = n
	}
	var order []string
	var lines []Line
	boxed, at := map[string]bool{}, map[[2]string]int{}
	for _, w := range ways {
		fresh := map[string]bool{}
		for _, e := range w.Edges {
			for _, id := range []string{e.From, e.To} {
				if !boxed[id] {
					fresh[id] = true
				}
			}
		}
		if len(boxed)+len(fresh) > MaxBoxes || len(lines)+len(w.Edges) > maxLines {
			p.Left++
			continue
		}
		for i, e := range w.Edges {
			for _, id := range []string{e.From, e.To} {
				if !boxed[id] {
					boxed[id], order = true, append(order, id)
				}
			}
			if e.From == e.To {
				continue
			}
			ends := [2]string{e.From, e.To}
			text := e.Does() + ": " + e.Why
			if j, had := at[ends]; had {
				if lines[j].Free = lines[j].Free || !w.Asked(i); !strings.Contains(lines[j].Text, text) && len(lines[j].Text) < 1000 {
					lines[j].Text += "; " + text
				}
				continue
			}
			at[ends] = len(lines)
			lines = append(lines, Line{From: e.From, To: e.To, Free: !w.Asked(i), Text: text})
		}
	}
	if len(lines) > 0 {
		p.lay(order, lines, known)
	}
	return p
}

// lay gives every box and line its place.
func (p *Picture) lay(order []string, lines []Line, known map[string]remit.PathNode) {
	g := newLayout(order, lines)
	g.layer()
	g.untangle()
	width := 0
	for _, row := range g.rows {
		width = max(width, rowWidth(row))
	}
	p.Width = width + 2*margin
	for depth, row := range g.rows {
		x := margin + (width-rowWidth(row))/2
		for _, n := range row {
			n.x, n.y = x, margin+depth*(boxHeight+layers)
			x += n.width() + between
			if !n.bend {
				kind, name, _ := strings.Cut(n.id, ":")
				p.Boxes = append(p.Boxes, Box{X: n.x, Y: n.y, Width: boxWidth, Height: boxHeight, ID: n.id, Kind: kind, Zone: known[n.id].Zone, Name: broken(name)})
			}
			p.Height = max(p.Height, n.y+boxHeight+margin)
		}
	}
	for i, l := range lines {
		l.Points = g.route(g.lines[i])
		p.Lines = append(p.Lines, l)
	}
}

// broken is a name in at most two lines; what is longer has dots in its middle.
func broken(name string) []string {
	r := []rune(remit.Visible(name))
	if len(r) > 2*maxLine {
		r = append(append(append([]rune{}, r[:maxLine-1]...), '…'), r[len(r)-maxLine:]...)
	}
	if len(r) <= maxLine {
		return []string{string(r)}
	}
	cut := maxLine
	for i := maxLine; i > maxLine/2; i-- {
		if r[i-1] == '/' {
			cut = i
			break
		}
	}
	if len(r)-cut > maxLine {
		cut = len(r) - maxLine
	}
	return []string{string(r[:cut]), string(r[cut:])}
}
