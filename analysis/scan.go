package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// WithScan is a graph with the authority past Remit that scans found: a node outside:HOLDER for each holder that is no
// declared agent, and a free edge to everything that its credential can change. What a scan could not see is among what is
// unseen. The graph that is given stays as it is.
func WithScan(g *Graph, reports ...remit.ScanReport) (*Graph, error) {
	nodes, unseen := slices.Clone(g.Nodes), slices.Clone(g.Unseen)
	edges := slices.Clone(g.Edges)
	have, runs := map[NodeID]bool{}, g.runs()
	type way struct{ from, to NodeID }
	had := map[way]bool{}
	for _, r := range reports {
		for _, gap := range r.Unseen {
			unseen = append(unseen, fmt.Sprintf("Upstream %s, %s: %s", r.Upstream, gap.What, gap.Why))
		}
		for _, reach := range r.Reach {
			from := NodeID(string(KindOutside) + ":" + reach.Holder)
			if a := NodeID(reach.Holder); a.Kind() == KindAgent && has(g, a) {
				from = a
			} else if !have[from] && !has(g, from) {
				have[from] = true
				nodes = append(nodes, Node{ID: from, Kind: KindOutside, Note: "holds authority at " + r.Upstream + " past Remit"})
			}
			for _, act := range reach.Actions {
				for _, to := range g.outside(act, reach, runs) {
					if to == from || had[way{from, to}] {
						continue
					}
					had[way{from, to}] = true
					e := Edge{From: from, To: to, How: HowOutside, Action: act, On: remit.Resource(to), Verdict: remit.Allow, Crosses: "past Remit",
						Why: fmt.Sprintf("%s holds %s, which can take %s there without asking Remit", reach.Holder, reach.Credential, act)}
					if to.Kind() == KindBranch || to.Kind() == KindPipeline {
						e.On = ""
					}
					if reach.Note != "" {
						e.Why += ": " + reach.Note
					}
					edges = append(edges, e)
				}
			}
		}
	}
	out, err := NewGraph(nodes, edges, unseen...)
	if err == nil {
		out.denied = g.denied
	}
	return out, err
}

func has(g *Graph, id NodeID) bool { _, ok := g.at[id]; return ok }

// outside lists what an action past Remit takes hold of. Reading takes hold of nothing but of secrets.
func (g *Graph) outside(act remit.Action, reach remit.ScanReach, runs map[NodeID][]NodeID) (out []NodeID) {
	info, known := remit.Lookup(act)
	if known && info.Impact == remit.Read && info.Stage != remit.StageSecret {
		return nil
	}
	covers := func(r string) bool {
		return slices.ContainsFunc(reach.Resources, func(p remit.Pattern) bool {
			_, ok := p.Intersect(remit.Pattern(r))
			return ok
		}) && !slices.ContainsFunc(reach.Except, func(p remit.Pattern) bool { return p.Contains(remit.Pattern(r)) })
	}
	spared := func(ref string) bool {
		return slices.ContainsFunc(reach.Except, func(p remit.Pattern) bool { return p.Contains(remit.Pattern(ref)) })
	}
	moves := act == "source.push" || act == "source.merge"
	for _, n := range g.Nodes {
		switch n.Kind {
		case KindRepository:
			if !covers(string(n.ID)) {
				continue
			}
			if moves && !spared(n.Branch) {
				out = append(out, n.ID)
			}
			if !moves && (act == "issue.write" || act == "issue.comment") {
				if w := words("issue-text", n.ID.Name()); has(g, w) {
					out = append(out, w)
				}
			}
			if act == "source.push" {
				out = append(out, runs[n.ID]...)
			}
		case KindBranch:
			repo, ref, _ := strings.Cut(n.ID.Name(), "@")
			if act == "source.push" && covers("repo:"+repo) && !spared(ref) {
				out = append(out, n.ID)
			}
		case KindArtifact, KindEnvironment, KindSecret, KindTool:
			if info.Resource == string(n.Kind) && covers(string(n.ID)) {
				out = append(out, n.ID)
			}
		}
	}
	return out
}

// runs are by repository the pipelines that pushes set off: whoever pushes there past Remit says what they run.
func (g *Graph) runs() map[NodeID][]NodeID {
	out := map[NodeID][]NodeID{}
	for _, e := range g.Edges {
		if repo := NodeID(e.On); e.To.Kind() == KindPipeline && !slices.Contains(out[repo], e.To) {
			out[repo] = append(out[repo], e.To)
		}
	}
	return out
}
