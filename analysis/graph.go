package analysis

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// The model of attack paths, exactly; doc/paths.md says it for people.
//
// A node is something that an attacker may hold. An edge is what somebody who holds its first end can do to its second:
// asked of the rules and the policy in force, or what follows from that by a declared effect. Whoever holds the first end
// holds the second one where the edge is free.
//
// The attacker holds the nodes that a question begins with, and whatever is free from there:
//
//   - An untrusted input is text that the attacker writes: an issue, a page, a change that a stranger proposes. It steers
//     every agent that may read it without being asked.
//   - An agent that is steered makes every request that its widest task allows, and does what it is told in full. Its task
//     was asked for and launched by its owner, who is no attacker. It has the labels of what steered it.
//   - A person is held by their keys: the attacker asks for tasks, launches them, opens break-glass and votes as they. What
//     they ask for themselves they do not vote on (R3), and the model does not let them.
//   - A repository, branch, artifact or secret is held by whoever says what is in it, or knows it. What is in a repository
//     steers whoever reads it.
//   - A credential of an upstream is held past Remit: everything that the upstream has is free to it.
//   - Control is held by whoever changes the declarations alone: everything is free to them.
//
// An approval stops the attacker unless the people whom they hold, without those who caused the request, can give all of
// its votes. Where evidence stands in for people, it stops them unless they can make the evidence. Time, budgets and the
// attention of people stop nobody here.

// Kind is what a node is.
type Kind string

// Kinds of nodes.
const (
	KindUntrusted   Kind = "untrusted"   // text that anybody may have written: untrusted:issue-text/forge/acme/payments
	KindPerson      Kind = "person"      // a person, by their id
	KindAgent       Kind = "agent"       // an agent with its widest task
	KindRepository  Kind = "repo"        // what a repository's default branch holds
	KindBranch      Kind = "branch"      // other refs of a repository, by pattern: branch:forge/acme/payments@refs/heads/remit/**
	KindPipeline    Kind = "pipeline"    // what a push or a merge sets off
	KindArtifact    Kind = "artifact"    // what deployments are made of, by pattern
	KindEnvironment Kind = "environment" // a declared target
	KindSecret      Kind = "secret"      // the value of a declared secret
	KindTool        Kind = "tool"        // a declared tool, or all that a pattern covers
	KindCredential  Kind = "credential"  // what an upstream obeys: credential:forge
	KindControl     Kind = "control"     // the declarations and the policy
	KindOutside     Kind = "outside"     // who holds authority past Remit, as a scan found it
)

// Kinds lists them in the order in which work flows.
func Kinds() []Kind {
	return []Kind{KindUntrusted, KindOutside, KindPerson, KindAgent, KindBranch, KindRepository, KindPipeline, KindArtifact,
		KindSecret, KindTool, KindEnvironment, KindCredential, KindControl}
}

// NodeID names a node: KIND:NAME, such as agent:coder or environment:payments/production. Names of resources are those of
// declarations, so that a NodeID of such a kind is a remit.Resource.
type NodeID string

// Kind is the part before the colon.
func (n NodeID) Kind() Kind {
	kind, _, _ := strings.Cut(string(n), ":")
	return Kind(kind)
}

// Name is the part after the colon.
func (n NodeID) Name() string {
	_, name, _ := strings.Cut(string(n), ":")
	return name
}

// Node is something that an attacker may hold.
type Node struct {
	ID   NodeID `json:"id"`
	Kind Kind   `json:"kind"`
	// Zone is where holding it matters; of an agent, that of its function. None for people and what is untrusted.
	Zone     remit.Zone     `json:"zone,omitempty"`
	Function remit.Function `json:"function,omitempty"` // of an agent
	Owner    remit.ID       `json:"owner,omitempty"`    // of an agent
	Tier     string         `json:"tier,omitempty"`     // of an environment
	Branch   string         `json:"branch,omitempty"`   // of a repository, its default branch in full
	Note     string         `json:"note,omitempty"`     // what holding it means where the name does not say it; one line
	// Entry is the entry of the log that declared it last; 0: none did, or it is a draft.
	Entry remit.EntryIndex `json:"entry,omitempty"`
	// Draft: it is not in force yet.
	Draft bool `json:"draft,omitempty"`
}

// How says by what the first end of an edge leads to the second.
type How string

// Ways from one node to another.
const (
	HowActs       How = "acts"        // a request that the authority was asked about
	HowSteers     How = "steers"      // what is read is taken for an instruction
	HowRequests   How = "requests"    // work of another agent, asked for by an agent
	HowDelegates  How = "delegates"   // part of an agent's own work
	HowStarts     How = "starts"      // a person asks for a task of an agent and launches it
	HowFollows    How = "follows"     // an effect, judged with the request that sets it off
	HowGives      How = "gives"       // holding the one is holding the other: a secret and what it opens
	HowBreakGlass How = "break-glass" // a request that passes under break-glass, which is opened before and reviewed afterwards
	HowOutside    How = "outside"     // past Remit, as a scan found it
	HowControls   How = "controls"    // whoever changes declarations changes this
)

// Edge is one way from a node to another. Denied ways are no edges.
type Edge struct {
	From   NodeID         `json:"from"`
	To     NodeID         `json:"to"`
	How    How            `json:"how"`
	Action remit.Action   `json:"action,omitempty"` // of the catalogue, of what was asked; of an effect, what it causes
	On     remit.Resource `json:"on,omitempty"`     // what was asked on; a name made up where a pattern is meant
	Ref    string         `json:"ref,omitempty"`    // that a push or merge moves
	// Verdict is Allow or Hold, with the rules that hold.
	Verdict  remit.Verdict `json:"verdict"`
	Rules    []string      `json:"rules,omitempty"`
	Approval *Approval     `json:"approval,omitempty"` // what a hold waits for; nil for Allow
	// Instead is the evidence that stands in for people, as in remit.Need; empty: none does.
	Instead string `json:"instead,omitempty"`
	// With is what whoever goes this way must hold besides its first end: the reviews that a merge asks for, say.
	With []Support `json:"with,omitempty"`
	// Crosses says what it escalates: "zone S to B", "impact privileged", "into production"; empty: nothing.
	Crosses string `json:"crosses,omitempty"`
	Why     string `json:"why"` // one sentence
}

// Approval is what a hold waits for.
type Approval struct {
	Needs []remit.Need `json:"needs"`
	// Voters lists for each of Needs the people who could vote in it, sorted: live, with a key that counts, and not in the
	// closure of the request. Those who have another part in the path are subtracted when it is walked.
	Voters [][]remit.ID `json:"voters"`
	Zone   remit.Zone   `json:"zone,omitempty"`
	// Glass names the break-glass that passes it; who opens it may have asked for it.
	Glass string `json:"glass,omitempty"`
	// Self: in the profile solo, who asked may vote themselves, after a delay.
	Self bool `json:"self,omitempty"`
}

// Support is what must be held besides: at least N of Of, of agents N with different owners.
type Support struct {
	N  int      `json:"n"`
	Of []NodeID `json:"of"`
	// By is what agents among Of have done before on what the edge acts on: an author has pushed there, say. Who was asked
	// then counts too. Empty: it is enough that they are held.
	By   remit.Action `json:"by,omitempty"`
	Text string       `json:"text"` // one sentence
}

// Graph is all nodes and edges, in a fixed order, with an index. It is made by NewGraph, and not changed.
type Graph struct {
	Nodes []Node `json:"nodes"` // sorted by Kinds, then by name
	Edges []Edge `json:"edges"` // sorted by From, To, How, Action, On, Ref
	// Unseen says in sentences what is not in the graph and why: upstreams that no scan looked at, for instance.
	Unseen []string `json:"unseen,omitempty"`

	at  map[NodeID]int
	out [][]int // by node, edges that begin there
	in  [][]int // by node, edges that end there
	src []int   // by edge, nodes at its ends
	dst []int
	// watch are by node the edges that rest on it besides their first ends; with are by edge who is of each Support.
	watch [][]int
	with  [][][]helper

	denied map[refusal]Denial // what Build was refused
}

// helper is a node of a Support, with the edges of which it goes one before; nil: it need not do anything.
type helper struct {
	node int
	by   []int
}

// NewGraph sorts and indexes nodes and edges. An edge between nodes that are not there, or a node that stands twice, is an
// error.
func NewGraph(nodes []Node, edges []Edge, unseen ...string) (*Graph, error) {
	rank := map[Kind]int{}
	for i, k := range Kinds() {
		rank[k] = i + 1
	}
	g := &Graph{Nodes: nodes, Edges: edges, Unseen: unseen, at: make(map[NodeID]int, len(nodes))}
	slices.SortFunc(g.Nodes, func(a, b Node) int { return cmp.Or(cmp.Compare(rank[a.Kind], rank[b.Kind]), cmp.Compare(a.ID, b.ID)) })
	for i, n := range g.Nodes {
		if _, twice := g.at[n.ID]; twice || rank[n.Kind] == 0 || n.ID.Kind() != n.Kind {
			return nil, fmt.Errorf("node %q of kind %q stands twice, or has no kind that there is", n.ID, n.Kind)
		}
		g.at[n.ID] = i
	}
	slices.SortStableFunc(g.Edges, func(a, b Edge) int {
		return cmp.Or(cmp.Compare(a.From, b.From), cmp.Compare(a.To, b.To), cmp.Compare(a.How, b.How), cmp.Compare(a.Action, b.Action),
			cmp.Compare(a.On, b.On), cmp.Compare(a.Ref, b.Ref), cmp.Compare(a.Verdict, b.Verdict))
	})
	g.out, g.in = make([][]int, len(nodes)), make([][]int, len(nodes))
	g.src, g.dst = make([]int, len(edges)), make([]int, len(edges))
	g.watch, g.with = make([][]int, len(nodes)), make([][][]helper, len(edges))
	for i, e := range g.Edges {
		from, ok := g.at[e.From]
		to, ok2 := g.at[e.To]
		if !ok || !ok2 {
			return nil, fmt.Errorf("edge %d from %q to %q: no such node", i, e.From, e.To)
		}
		g.src[i], g.dst[i] = from, to
		g.out[from], g.in[to] = append(g.out[from], i), append(g.in[to], i)
	}
	g.support()
	return g, nil
}

// support finds who is of the Support of each edge. Who is not there, or cannot do what it asks for, is of none.
func (g *Graph) support() {
	type done struct {
		node int
		by   remit.Action
		on   remit.Resource
	}
	ways := map[done][]int{}
	for i := range g.Edges {
		for _, w := range g.Edges[i].With {
			var of []helper
			for _, id := range w.Of {
				n, ok := g.at[id]
				if !ok {
					continue
				}
				h := helper{node: n}
				if w.By != "" && g.Nodes[n].Kind == KindAgent {
					key := done{n, w.By, g.Edges[i].On}
					if _, had := ways[key]; !had {
						ways[key] = g.doing(n, w.By, g.Edges[i].On)
					}
					if h.by = ways[key]; len(h.by) == 0 {
						continue
					}
				}
				of, g.watch[n] = append(of, h), append(g.watch[n], i)
			}
			g.with[i] = append(g.with[i], of)
		}
	}
}

// doing lists the edges by which a node takes an action on a resource. What says what a pipeline runs is not the work of an
// author that somebody else merges.
func (g *Graph) doing(n int, action remit.Action, on remit.Resource) (out []int) {
	for _, e := range g.out[n] {
		if x := &g.Edges[e]; x.Action == action && x.On == on && x.To.Kind() != KindPipeline {
			out = append(out, e)
		}
	}
	return out
}

// Node finds a node.
func (g *Graph) Node(id NodeID) (Node, bool) {
	i, ok := g.at[id]
	if !ok {
		return Node{}, false
	}
	return g.Nodes[i], true
}

// Path is one way of an attacker, from what they hold to what they would hold.
type Path struct {
	Edges []Edge `json:"edges"` // each begins where the one before ends
	// Approvals are the holds on the way that the attacker cannot meet, in order; none: the path is free.
	Approvals []Approval `json:"approvals,omitempty"`
	// Met are indexes of held edges whose votes the attacker gives alone.
	Met []int `json:"met,omitempty"`
	// Crosses are the escalations on the way, in order.
	Crosses []string `json:"crosses,omitempty"`
}

// From is where the path begins.
func (p Path) From() NodeID { return p.Edges[0].From }

// To is where it ends.
func (p Path) To() NodeID { return p.Edges[len(p.Edges)-1].To }

// Free tells whether nobody is asked on the way.
func (p Path) Free() bool { return len(p.Approvals) == 0 }

// Query asks for paths. From and To are patterns over nodes: KIND (all of it), KIND:NAME, KIND/NAME, or with a last segment
// * or **, such as untrusted, agent:coder, agent/coder, environment:payments/**. An attacker holds all that From matches.
type Query struct {
	From, To string
	Limit    int  // of paths in the answer; 0: 20, at most 1,000
	PerPair  int  // of paths with the same ends; 0: 3
	Free     bool // only those on which nobody is asked
}

// Paths are the answer to a query: fewest approvals first, then the shortest.
type Paths struct {
	From  []NodeID `json:"from"` // what the patterns match
	To    []NodeID `json:"to"`
	Paths []Path   `json:"paths"`
	More  bool     `json:"more,omitempty"` // there are, or may be, others that are left out
}

// Reached is a node that an attacker comes to hold, by the best way.
type Reached struct {
	Node      NodeID `json:"node"`
	Approvals int    `json:"approvals"` // on the best way
	Steps     int    `json:"steps"`     // of it
	Last      Edge   `json:"last"`      // the last one
}

// Reach is the blast radius of what an attacker holds at first.
type Reach struct {
	From []NodeID  `json:"from"`
	Free []Reached `json:"free"` // nobody is asked
	One  []Reached `json:"one"`  // after one approval
	More []Reached `json:"more"` // after more than one
}

// Cut is a smallest set of ways on which an approval would leave no free path.
type Cut struct {
	From  []NodeID `json:"from"`
	To    []NodeID `json:"to"`
	Edges []Edge   `json:"edges"` // nothing: there is no free path
	// Uncut are targets that the attacker holds at first, or holds by ways that no approval can stop: past Remit.
	Uncut []NodeID `json:"uncut,omitempty"`
	// UncutPaths show for each of Uncut by which way; empty for those that are held at first.
	UncutPaths []Path `json:"uncut_paths,omitempty"`
}

// Placement compares where approvals are with where they would cut.
type Placement struct {
	Cut       Cut     `json:"cut"`
	Missing   []Place `json:"missing"`   // free paths escalate here: an approval belongs on it
	Vacuous   []Place `json:"vacuous"`   // approvals that stop nobody
	Redundant []Place `json:"redundant"` // approvals on ways on which another one is asked for anyhow
	Elsewhere int     `json:"elsewhere"` // approvals that are on no path of the question
}

// Place is an edge with what is to be said of it.
type Place struct {
	Edge Edge   `json:"edge"`
	Why  string `json:"why"` // one sentence
	Path *Path  `json:"path,omitempty"`
}

// Change is what a change of declarations or policy adds and takes away.
type Change struct {
	Nodes []NodeID `json:"nodes,omitempty"` // that are new
	Gone  []NodeID `json:"gone,omitempty"`
	// New are paths that were not there, or that ask fewer people than before: from what is untrusted and from every new or
	// changed edge, one for each pair of ends. Free ones first.
	New  []NewPath `json:"new,omitempty"`
	More bool      `json:"more,omitempty"` // there are others
	// Widens tells whether anything is reached with fewer approvals than before.
	Widens bool `json:"widens"`
}

// NewPath is a path that a change adds.
type NewPath struct {
	Path
	// Before is how many approvals the best way between its ends took before; -1: there was none.
	Before int `json:"before"`
}

// Judge says what a policy adds to the compiled rules; authority.Policy is one.
type Judge interface {
	Judge(authority.Facts) authority.Finding
}

// A Narrower is a Judge that knows what of facts it never reads: it finds the same on those that it gives back. Build asks
// one that does not read labels only once for all of them.
type Narrower interface {
	Narrow(authority.Facts) authority.Facts
}

// Options of Build.
type Options struct {
	// At is the moment at which is asked, Unix nanoseconds.
	At int64
	// Drafts are agents that are not declared yet; they are asked about as if they were.
	Drafts []remit.AgentDeclared
}
