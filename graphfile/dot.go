// Package graphfile writes attack paths for other tools: DOT for Graphviz, OpenGraph for BloodHound, SARIF for code hosts.
// It knows nothing of where paths come from. What is written is safe to read: names and sentences of others are shown as
// remit.Visible has them.
package graphfile

import (
	"bufio"
	"fmt"
	"io"
	"strings"

	"github.com/remit-dev/remit"
)

// fills are the colours of zones, as Graphviz names them; shapes are those of kinds.
var (
	fills  = map[remit.Zone]string{remit.ZoneSource: "#dbe9fb", remit.ZoneBuild: "#fdf0cf", remit.ZoneProduction: "#f9d9d6", remit.ZoneControl: "#e6dcf5"}
	shapes = map[string]string{"untrusted": "note", "outside": "note", "person": "ellipse", "secret": "hexagon", "credential": "hexagon", "environment": "box3d", "control": "octagon"}
)

// DOT writes nodes and edges in the language of Graphviz. A solid line is a way on which nobody is asked; a dashed one waits
// for people or evidence.
func DOT(w io.Writer, nodes []remit.PathNode, edges []remit.PathEdge) error {
	b := bufio.NewWriter(w)
	b.WriteString("digraph paths {\n\trankdir=LR\n\tnode [fontname=\"sans-serif\" shape=box style=filled fillcolor=white]\n\tedge [fontname=\"sans-serif\" fontsize=10]\n")
	for _, n := range nodes {
		attributes := []string{"tooltip=" + quote(n.Note)}
		if f := fills[n.Zone]; f != "" {
			attributes = append(attributes, "fillcolor="+quote(f))
		}
		if s := shapes[n.Kind]; s != "" {
			attributes = append(attributes, "shape="+s)
		}
		fmt.Fprintf(b, "\t%s [label=%s %s]\n", quote(n.ID), quote(n.ID), strings.Join(attributes, " "))
	}
	for _, e := range edges {
		style := "style=solid color=\"#a01c14\""
		label := e.Does()
		if e.Verdict != remit.Allow {
			style = "style=dashed color=\"#17643a\""
			if needs := needLine(e.Needs); needs != "" {
				label += ": " + needs
			}
		}
		fmt.Fprintf(b, "\t%s -> %s [label=%s tooltip=%s %s]\n", quote(e.From), quote(e.To), quote(label), quote(e.Why), style)
	}
	b.WriteString("}\n")
	return b.Flush()
}

// quote is s as a quoted string in which no escape of Graphviz means anything.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(remit.Visible(s)) + `"`
}

func needLine(needs []remit.Need) string {
	parts := make([]string, len(needs))
	for i, n := range needs {
		parts[i] = n.String()
	}
	return strings.Join(parts, ", ")
}
