package graphfile

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/remit-dev/remit"
)

// SourceKind is the kind that BloodHound gives every node of ours, by which they are found and removed there.
const SourceKind = "RemitBase"

type (
	openNode struct {
		ID         string         `json:"id"`
		Kinds      []string       `json:"kinds"` // the first one is the icon
		Properties map[string]any `json:"properties"`
	}
	openEnd struct {
		MatchBy string `json:"match_by"`
		Value   string `json:"value"`
	}
	openEdge struct {
		Kind       string         `json:"kind"`
		Start      openEnd        `json:"start"`
		End        openEnd        `json:"end"`
		Properties map[string]any `json:"properties"`
	}
)

// OpenGraph writes a graph as a payload of BloodHound OpenGraph (bloodhound.specterops.io/opengraph): metadata.source_kind
// and graph.nodes, graph.edges. Properties are in lower case, and values or lists of one kind of value. Ids begin with the
// organisation, and stay apart where BloodHound, which writes them in capitals, would make one of two.
func OpenGraph(w io.Writer, g remit.PathGraph) error {
	ids, taken := map[string]string{}, map[string]bool{}
	var doc struct {
		Metadata struct {
			SourceKind string `json:"source_kind"`
		} `json:"metadata"`
		Graph struct {
			Nodes []openNode `json:"nodes"`
			Edges []openEdge `json:"edges"`
		} `json:"graph"`
	}
	doc.Metadata.SourceKind = SourceKind
	doc.Graph.Nodes, doc.Graph.Edges = make([]openNode, 0, len(g.Nodes)), make([]openEdge, 0, len(g.Edges))
	for _, n := range g.Nodes {
		id := string(g.Org) + "/" + n.ID
		if taken[strings.ToUpper(id)] {
			id += fmt.Sprintf("#%.4x", remit.Hash([]byte(n.ID)))
		}
		taken[strings.ToUpper(id)], ids[n.ID] = true, id
		p := map[string]any{"name": remit.Visible(n.ID), "organisation": string(g.Org), "kind": n.Kind}
		for name, value := range map[string]string{"zone": string(n.Zone), "function": string(n.Function), "owner": n.Owner, "tier": n.Tier, "note": n.Note} {
			if value != "" {
				p[name] = remit.Visible(value)
			}
		}
		if n.Entry > 0 {
			p["entry"] = uint64(n.Entry)
		}
		doc.Graph.Nodes = append(doc.Graph.Nodes, openNode{id, []string{pascal(n.Kind), SourceKind}, p})
	}
	for i, e := range g.Edges {
		from, to := ids[e.From], ids[e.To]
		if from == "" || to == "" {
			return fmt.Errorf("edge %d goes from %q to %q, and the graph has no such node", i, e.From, e.To)
		}
		p := map[string]any{"verdict": e.Verdict.String(), "free": e.Verdict == remit.Allow, "why": remit.Visible(e.Why)}
		for name, value := range map[string]string{"action": string(e.Action), "on": string(e.On), "ref": e.Ref, "crosses": e.Crosses, "break_glass": e.Glass} {
			if value != "" {
				p[name] = remit.Visible(value)
			}
		}
		if len(e.Rules) > 0 {
			p["rules"] = e.Rules
		}
		if len(e.Needs) > 0 {
			p["votes"] = needLine(e.Needs)
		}
		doc.Graph.Edges = append(doc.Graph.Edges, openEdge{pascal(e.How), openEnd{"id", from}, openEnd{"id", to}, p})
	}
	enc := json.NewEncoder(w)
	enc.SetIndent("", " ")
	return enc.Encode(doc)
}

// pascal is a kind as BloodHound wants it: RemitBreakGlass of break-glass.
func pascal(kind string) string {
	out := "Remit"
	for part := range strings.FieldsFuncSeq(kind, func(r rune) bool { return r != '_' && (r < '0' || r > '9' && r < 'A' || r > 'Z' && r < 'a' || r > 'z') }) {
		out += strings.ToUpper(part[:1]) + part[1:]
	}
	return out
}
