package analysis

import (
	"cmp"
	"encoding/json"
	"slices"

	"github.com/remit-dev/remit"
)

// Limits of a comparison.
const (
	maxStarts = 400 // nodes from which it looks
	maxAdded  = 200 // paths that it lists
)

// Compare says what a change of the declarations or the policy adds. Every path that asks fewer people than before goes over
// an edge that is new or looser; so it looks from where those begin, held with what else they need, and from all that is
// untrusted. What it leaves out for their number it says, and then counts as widening.
func Compare(before, after *Graph) (Change, error) {
	var c Change
	for _, n := range after.Nodes {
		if _, had := before.at[n.ID]; !had {
			c.Nodes = append(c.Nodes, n.ID)
		}
	}
	for _, n := range before.Nodes {
		if _, has := after.at[n.ID]; !has {
			c.Gone = append(c.Gone, n.ID)
		}
	}
	starts, edges := changed(before, after)
	if len(edges) == 0 {
		return c, nil
	}
	var all [][]NodeID
	if out, err := after.match(string(KindUntrusted)); err == nil {
		all = append(all, after.ids(out))
	}
	all = append(all, starts...)
	if len(all) > maxStarts {
		all, c.More, c.Widens = all[:maxStarts], true, true
	}
	had := map[[2]NodeID]bool{}
	for _, from := range all {
		was, is := before.walk(before.known(from)), after.walk(after.known(from))
		for n := range after.Nodes {
			id := after.Nodes[n].ID
			now, then := is.cost(n), far
			if i, ok := before.at[id]; ok {
				then = was.cost(i)
			}
			if now >= then || slices.Contains(from, id) {
				continue
			}
			c.Widens = true
			p := after.way(is, n)
			ends := [2]NodeID{p.From(), id}
			if had[ends] {
				continue
			}
			had[ends] = true
			x := NewPath{Path: *p, Before: then}
			if then == far {
				x.Before = -1
			}
			c.New = append(c.New, x)
		}
	}
	slices.SortStableFunc(c.New, func(a, b NewPath) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(len(a.Approvals), len(b.Approvals)), cmp.Compare(len(a.Edges), len(b.Edges)),
			cmp.Compare(a.From(), b.From()), cmp.Compare(a.To(), b.To()))
	})
	if len(c.New) > maxAdded {
		c.New, c.More = c.New[:maxAdded], true
	}
	return c, nil
}

// rank puts first what begins with what is untrusted and is free.
func rank(p NewPath) int {
	r := 0
	if !p.Free() {
		r += 2
	}
	if p.From().Kind() != KindUntrusted {
		r++
	}
	return r
}

// known are those of ids that a graph has.
func (g *Graph) known(ids []NodeID) (out []int) {
	for _, id := range ids {
		if n, ok := g.at[id]; ok {
			out = append(out, n)
		}
	}
	return out
}

// changed lists the edges of after that before does not have as they are, and from what each could be gone: its first end,
// with what it must be held with and those who may vote on it.
func changed(before, after *Graph) (starts [][]NodeID, edges []Edge) {
	had := make(map[string]bool, len(before.Edges))
	for i := range before.Edges {
		had[meaning(&before.Edges[i])] = true
	}
	fresh := make([]bool, len(after.Edges))
	for i := range after.Edges {
		fresh[i] = !had[meaning(&after.Edges[i])]
	}
	seen := map[string]bool{}
	for i := range after.Edges {
		e := &after.Edges[i]
		asked := []*Approval{e.Approval}
		looser := fresh[i]
		for _, of := range after.with[i] {
			for _, h := range of {
				for _, by := range h.by {
					looser = looser || fresh[by]
					asked = append(asked, after.Edges[by].Approval)
				}
			}
		}
		if !looser {
			continue
		}
		edges = append(edges, *e)
		if _, had := before.at[e.From]; !had && !actor(e.From.Kind()) {
			continue // what leads to it is new as well, and begins with somebody
		}
		from := []NodeID{e.From}
		for _, w := range e.With {
			from = append(from, w.Of...)
		}
		put := func(from []NodeID) {
			slices.Sort(from)
			from = slices.Compact(from)
			if b, _ := json.Marshal(from); !seen[string(b)] {
				seen[string(b)] = true
				starts = append(starts, from)
			}
		}
		put(slices.Clone(from))
		alone := len(from)
		for _, a := range asked {
			if a == nil {
				continue
			}
			for _, who := range a.Voters {
				for _, p := range who {
					from = append(from, NodeID(string(KindPerson)+":"+string(p)))
				}
			}
		}
		if len(from) > alone {
			put(from)
		}
	}
	return starts, edges
}

// actor tells whether an attacker may hold such a node at first. What is only made by others is held through them.
func actor(k Kind) bool {
	switch k {
	case KindUntrusted, KindOutside, KindPerson, KindAgent, KindCredential:
		return true
	}
	return false
}

// meaning is all of an edge that says where it leads and who is asked.
func meaning(e *Edge) string {
	b, err := json.Marshal(struct {
		From, To NodeID
		How      How
		Action   remit.Action
		On       remit.Resource
		Ref      string
		Verdict  remit.Verdict
		Approval *Approval
		With     []Support
	}{e.From, e.To, e.How, e.Action, e.On, e.Ref, e.Verdict, e.Approval, e.With})
	if err != nil {
		panic("analysis: an edge holds only what JSON can say: " + err.Error())
	}
	return string(b)
}
