package server

import (
	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/analysis"
)

// pathWire puts what analysis says into the words of the API: people go by their names.
type pathWire struct {
	*graph
	seen []analysis.NodeID // at ends of edges, in the order in which they were met
	met  map[analysis.NodeID]bool
}

func (g *graph) wire() *pathWire { return &pathWire{graph: g, met: map[analysis.NodeID]bool{}} }

func (w *pathWire) id(n analysis.NodeID) string {
	if !w.met[n] {
		w.met[n] = true
		w.seen = append(w.seen, n)
	}
	return w.text(string(n))
}

func (w *pathWire) ids(list []analysis.NodeID) []string {
	out := make([]string, len(list))
	for i, n := range list {
		out[i] = w.text(string(n))
	}
	return out
}

func (w *pathWire) text(s string) string { return named(w.names, s) }

func (w *pathWire) texts(list []string) []string { return namedAll(w.names, list) }

// known are the nodes of all edges that were put into words so far.
func (w *pathWire) known() []remit.PathNode {
	out := make([]remit.PathNode, len(w.seen))
	for i, n := range w.seen {
		out[i] = w.node(n)
	}
	return out
}

func (w *pathWire) node(id analysis.NodeID) remit.PathNode {
	n, ok := w.Node(id)
	if !ok {
		return remit.PathNode{ID: w.text(string(id)), Kind: string(id.Kind())}
	}
	out := remit.PathNode{ID: w.text(string(n.ID)), Kind: string(n.Kind), Zone: n.Zone, Function: n.Function, Tier: n.Tier, Note: w.text(n.Note), Entry: n.Entry}
	if n.Owner != "" {
		out.Owner = w.names.Name(n.Owner)
	}
	return out
}

func (w *pathWire) edge(e analysis.Edge) remit.PathEdge {
	out := remit.PathEdge{From: w.id(e.From), To: w.id(e.To), How: string(e.How), Action: e.Action, On: e.On, Ref: e.Ref, Verdict: e.Verdict,
		Rules: e.Rules, Crosses: e.Crosses, Why: w.text(e.Why)}
	if a := e.Approval; a != nil {
		out.Needs, out.Glass = a.Needs, a.Glass
		for _, people := range a.Voters {
			out.Voters = append(out.Voters, namesOf(w.names, people))
		}
	}
	for _, with := range e.With {
		out.With = append(out.With, remit.PathSupport{N: with.N, Of: w.ids(with.Of), Text: w.text(with.Text)})
	}
	return out
}

func (w *pathWire) way(p analysis.Path) remit.PathWay {
	out := remit.PathWay{Approvals: len(p.Approvals), Met: p.Met, Crosses: p.Crosses}
	for _, e := range p.Edges {
		out.Edges = append(out.Edges, w.edge(e))
	}
	return out
}

func (w *pathWire) places(list []analysis.Place) []remit.PathPlace {
	out := []remit.PathPlace{}
	for _, p := range list {
		x := remit.PathPlace{Edge: w.edge(p.Edge), Why: w.text(p.Why)}
		if p.Path != nil && len(p.Path.Edges) > 0 {
			way := w.way(*p.Path)
			x.Path = &way
		}
		out = append(out, x)
	}
	return out
}
