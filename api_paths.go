package remit

import (
	"fmt"
	"slices"
	"strings"
)

// What the API says of attack paths. doc/paths.md says what the nodes and edges mean; here people go by their names.

// PathsQuery is a question about paths. From, To and Node are patterns over nodes: KIND, KIND:NAME, KIND/NAME, or with a last
// segment * or **, such as untrusted, agent:coder, person:ana, environment:payments/**.
type PathsQuery struct {
	From, To string // what the attacker holds, and what they are after; untrusted and environment by default
	Node     string // whose blast radius is asked for
	Limit    int    // of paths; 0: 20, at most MaxPaths
	Free     bool   // only paths on which nobody is asked
}

// MaxPaths is the most paths that one answer has.
const MaxPaths = 1000

// PathNode is something that an attacker may hold.
type PathNode struct {
	ID   string `json:"id"` // KIND:NAME, as it is asked for: agent:coder, environment:payments/production, person:ana
	Kind string `json:"kind"`
	// Zone is where holding it matters; Function and Owner are those of an agent, Tier is that of an environment.
	Zone     Zone     `json:"zone,omitempty"`
	Function Function `json:"function,omitempty"`
	Owner    string   `json:"owner,omitempty"`
	Tier     string   `json:"tier,omitempty"`
	Note     string   `json:"note,omitempty"` // what holding it means where the name does not say it
	// Entry of the log is the one that declared it last; 0: none did.
	Entry EntryIndex `json:"entry,omitempty"`
}

// PathEdge is one way from a node to another. Ways that are denied are none.
type PathEdge struct {
	From   string   `json:"from"`
	To     string   `json:"to"`
	How    string   `json:"how"` // acts, steers, requests, delegates, starts, follows, gives, break-glass, outside, controls
	Action Action   `json:"action,omitempty"`
	On     Resource `json:"on,omitempty"`
	Ref    string   `json:"ref,omitempty"`
	// Verdict is allow, or hold with the rules that hold, the votes that they ask for, and for each of these who could give it.
	Verdict Verdict       `json:"verdict"`
	Rules   []string      `json:"rules,omitempty"`
	Needs   []Need        `json:"needs,omitempty"`
	Voters  [][]string    `json:"voters,omitempty"`
	Glass   string        `json:"break_glass,omitempty"` // that passes it
	With    []PathSupport `json:"with,omitempty"`
	Crosses string        `json:"crosses,omitempty"` // what it escalates: zone S to B
	Why     string        `json:"why"`               // one sentence
}

// PathSupport is what must be held besides the first end of an edge: at least N of Of.
type PathSupport struct {
	N    int      `json:"n"`
	Of   []string `json:"of"`
	Text string   `json:"text"`
}

// PathWay is one way of an attacker.
type PathWay struct {
	Edges     []PathEdge `json:"edges"`         // each begins where the one before ends
	Approvals int        `json:"approvals"`     // that the attacker cannot give on the way; 0: the path is free
	Met       []int      `json:"met,omitempty"` // indexes of held edges whose votes the attacker gives alone
	Crosses   []string   `json:"crosses,omitempty"`
}

// From is where w begins, and To where it ends.
func (w PathWay) From() string { return w.Edges[0].From }

// To is where w ends.
func (w PathWay) To() string { return w.Edges[len(w.Edges)-1].To }

// Asked tells whether people are asked at the i-th edge whom the attacker is not: votes that they give alone stop nobody.
func (w PathWay) Asked(i int) bool {
	return w.Edges[i].Verdict != Allow && !slices.Contains(w.Met, i)
}

// Sentence says w in one sentence, without a full stop.
func (w PathWay) Sentence() string {
	var b strings.Builder
	fmt.Fprintf(&b, "whoever holds %s comes to hold %s ", w.From(), w.To())
	switch w.Approvals {
	case 0:
		b.WriteString("and nobody is asked: ")
	case 1:
		b.WriteString("after one approval: ")
	default:
		fmt.Fprintf(&b, "after %d approvals: ", w.Approvals)
	}
	for i, e := range w.Edges {
		if i > 0 {
			b.WriteString(", then ")
		}
		fmt.Fprintf(&b, "%s %s", e.Does(), e.To)
		if w.Asked(i) {
			b.WriteString(" (asked)")
		}
	}
	return b.String()
}

// Does says what is done on an edge, before the name of its second end: source.push on, steers.
func (e PathEdge) Does() string {
	switch e.How {
	case "acts", "break-glass", "outside":
		if e.Action != "" {
			return string(e.Action) + " on"
		}
	case "follows":
		if e.Action != "" {
			return "which sets off " + string(e.Action) + " on"
		}
	case "requests":
		return "asks for work of"
	case "delegates":
		return "hands work on to"
	case "starts":
		return "starts a task of"
	}
	return e.How
}

// PathsAnswer is the paths from a pattern of nodes to another: fewest approvals first, then the shortest.
type PathsAnswer struct {
	From   []string   `json:"from"` // what the patterns match
	To     []string   `json:"to"`
	Paths  []PathWay  `json:"paths"`
	More   bool       `json:"more,omitempty"`   // there are, or may be, others that are left out
	Nodes  []PathNode `json:"nodes"`            // on the paths
	Unseen []string   `json:"unseen,omitempty"` // what the analysis cannot see, in sentences
}

// PathsReach is the blast radius of a node: what whoever holds it comes to hold.
type PathsReach struct {
	From   []string      `json:"from"`
	Free   []PathReached `json:"free"` // nobody is asked
	One    []PathReached `json:"one"`  // after one approval
	More   []PathReached `json:"more"` // after more than one
	Unseen []string      `json:"unseen,omitempty"`
}

// PathReached is a node that is reached, by the best way.
type PathReached struct {
	Node      PathNode `json:"node"`
	Approvals int      `json:"approvals"`
	Steps     int      `json:"steps"`
	Last      PathEdge `json:"last"` // the last step of that way
}

// PathsCut is a smallest set of ways on which an approval would leave no free path, beside where approvals are.
type PathsCut struct {
	From      []string    `json:"from"`
	To        []string    `json:"to"`
	Edges     []PathEdge  `json:"edges"`           // none: there is no free path
	Uncut     []PathUncut `json:"uncut,omitempty"` // targets that no approval protects
	Missing   []PathPlace `json:"missing"`         // free paths escalate here
	Vacuous   []PathPlace `json:"vacuous"`         // approvals that stop nobody
	Redundant []PathPlace `json:"redundant"`       // approvals where another one is asked for anyhow
	Elsewhere int         `json:"elsewhere"`       // approvals that are on no path of the question
	Nodes     []PathNode  `json:"nodes"`
	Unseen    []string    `json:"unseen,omitempty"`
}

// PathUncut is a target that is held at first, or by ways that no approval can stop.
type PathUncut struct {
	Node string   `json:"node"`
	Path *PathWay `json:"path,omitempty"`
}

// PathPlace is an edge, and what is to be said of it.
type PathPlace struct {
	Edge PathEdge `json:"edge"`
	Why  string   `json:"why"`
	Path *PathWay `json:"path,omitempty"`
}

// PathGraph is the whole graph.
type PathGraph struct {
	Org    Org        `json:"org"`
	Size   EntryIndex `json:"size"`   // of the log that it was made of
	Policy Digest     `json:"policy"` // that was asked
	Nodes  []PathNode `json:"nodes"`
	Edges  []PathEdge `json:"edges"`
	Unseen []string   `json:"unseen,omitempty"`
}

// PathsCompare asks what declarations would add to the paths.
type PathsCompare struct {
	Declarations Declarations `json:"declarations"`
}

// PathsChange is what a change adds to the paths, and takes away.
type PathsChange struct {
	Nodes  []string   `json:"nodes,omitempty"` // that are new
	Gone   []string   `json:"gone,omitempty"`
	New    []PathNew  `json:"new"`             // free ones first
	More   bool       `json:"more,omitempty"`  // there are others
	Widens bool       `json:"widens"`          // something is reached with fewer approvals than before
	Known  []PathNode `json:"known,omitempty"` // the nodes on New
	Unseen []string   `json:"unseen,omitempty"`
}

// PathNew is a path that was not there, or that asks fewer people than before.
type PathNew struct {
	PathWay
	Before int `json:"before"` // approvals on the best way between its ends before; -1: there was none
}
