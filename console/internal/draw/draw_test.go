package draw_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/console/internal/draw"
)

// Whatever the ways are, the picture has each node once, within its bounds, no two boxes on each other, and a line for each
// two nodes that a way joins; what does not fit is counted.
func TestWays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(2, 40).Draw(t, "nodes")
		node := rapid.Custom(func(t *rapid.T) string {
			return fmt.Sprintf("agent:%s%d", strings.Repeat("long/", rapid.IntRange(0, 12).Draw(t, "length")), rapid.IntRange(0, n).Draw(t, "node"))
		})
		var ways []remit.PathWay
		for range rapid.IntRange(0, 30).Draw(t, "ways") {
			var w remit.PathWay
			from := node.Draw(t, "from")
			for range rapid.IntRange(1, 7).Draw(t, "steps") {
				to := node.Draw(t, "to")
				w.Edges = append(w.Edges, remit.PathEdge{From: from, To: to, How: "acts", Verdict: remit.Verdict(rapid.IntRange(1, 2).Draw(t, "verdict"))})
				from = to
			}
			ways = append(ways, w)
		}
		p := draw.Ways(ways, nil)
		if len(p.Boxes) > draw.MaxBoxes || p.Left > len(ways) {
			t.Fatalf("%d boxes, %d ways of %d left out", len(p.Boxes), p.Left, len(ways))
		}
		seen := map[string]bool{}
		for i, b := range p.Boxes {
			if seen[b.ID] || b.X < 0 || b.Y < 0 || b.X+b.Width > p.Width || b.Y+b.Height > p.Height || len(b.Name) > 2 {
				t.Fatalf("%+v on %d×%d", b, p.Width, p.Height)
			}
			seen[b.ID] = true
			for _, o := range p.Boxes[:i] {
				if b.X < o.X+o.Width && o.X < b.X+b.Width && b.Y < o.Y+o.Height && o.Y < b.Y+b.Height {
					t.Fatalf("%s lies on %s", b.ID, o.ID)
				}
			}
		}
		for _, l := range p.Lines {
			if !seen[l.From] || !seen[l.To] {
				t.Fatalf("a line from %s to %s, which are not there", l.From, l.To)
			}
			for pt := range strings.FieldsSeq(l.Points) {
				x, y, _ := strings.Cut(pt, ",")
				if _, err := strconv.Atoi(x); err != nil {
					t.Fatalf("%q", l.Points)
				}
				if _, err := strconv.Atoi(y); err != nil {
					t.Fatalf("%q", l.Points)
				}
			}
		}
	})
}

func TestNames(t *testing.T) {
	long := "untrusted:issue-text/" + strings.Repeat("a", 100)
	p := draw.Ways([]remit.PathWay{{Edges: []remit.PathEdge{{From: long, To: "agent:\u202eevil", How: "steers", Verdict: remit.Allow}}}}, nil)
	for _, b := range p.Boxes {
		for _, l := range b.Name {
			if len([]rune(l)) > 30 || strings.ContainsRune(l, '\u202e') {
				t.Errorf("%q", l)
			}
		}
	}
}
