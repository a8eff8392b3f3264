package analysis

import (
	"slices"
	"testing"

	"github.com/remit-dev/remit"
)

// Who goes a way that must be held with others comes through only with enough of them, who can do what it asks for there.
func TestWhatAWayIsHeldWith(t *testing.T) {
	const repo, other, pipe = "repo:forge/a", "repo:forge/b", "pipeline:a/ci"
	agent := func(id NodeID, owner remit.ID) Node { return Node{ID: id, Kind: KindAgent, Owner: owner} }
	nodes := []Node{{ID: repo, Kind: KindRepository}, {ID: other, Kind: KindRepository}, {ID: pipe, Kind: KindPipeline}, {ID: "person:pat", Kind: KindPerson},
		agent("agent:merger", "mo"), agent("agent:author", "pat"), agent("agent:one", "ria"), agent("agent:two", "ria"), agent("agent:three", "rob")}
	does := func(who NodeID, act remit.Action, on remit.Resource, to NodeID) Edge {
		return Edge{From: who, To: to, How: HowActs, Action: act, On: on, Verdict: remit.Allow}
	}
	waits := func(e Edge, voters ...remit.ID) Edge {
		e.Verdict, e.Approval = remit.Hold, &Approval{Needs: []remit.Need{{Group: "g", N: 1}}, Voters: [][]remit.ID{voters}}
		return e
	}
	merge := func(with ...Support) Edge {
		e := does("agent:merger", "source.merge", repo, repo)
		e.With = with
		return e
	}
	author := Support{N: 1, Of: []NodeID{"agent:author"}, By: "source.push"}
	reviews := func(n int) Support {
		return Support{N: n, Of: []NodeID{"agent:one", "agent:two", "agent:three"}, By: "review.submit"}
	}
	review := func(who NodeID) Edge { return does(who, "review.submit", repo, other) }
	starts := Edge{From: "person:pat", To: "agent:author", How: HowStarts, Verdict: remit.Allow}
	for _, c := range []struct {
		name  string
		from  []string
		edges []Edge
		want  int
	}{
		{"two reviewers of one owner are one", []string{"agent:merger", "agent:one", "agent:two"}, []Edge{merge(reviews(2)), review("agent:one"), review("agent:two")}, -1},
		{"of two owners they are two", []string{"agent:merger", "agent:one", "agent:three"}, []Edge{merge(reviews(2)), review("agent:one"), review("agent:three")}, 0},
		{"whoever cannot review there is none", []string{"agent:merger", "agent:one", "agent:three"}, []Edge{merge(reviews(2)), review("agent:one"), does("agent:three", "review.submit", other, other)}, -1},
		{"an author has pushed there", []string{"agent:merger", "agent:author"}, []Edge{merge(author), does("agent:author", "source.push", repo, other)}, 0},
		{"to another repository is no author here", []string{"agent:merger", "agent:author"}, []Edge{merge(author), does("agent:author", "source.push", other, other)}, -1},
		{"nor is who only says what a pipeline runs", []string{"agent:merger", "agent:author"}, []Edge{merge(author), does("agent:author", "source.push", repo, pipe)}, -1},
		{"an author that a stranger steers has others vote", []string{"agent:merger", "agent:author", "person:pat"}, []Edge{merge(author), waits(does("agent:author", "source.push", repo, other), "pat")}, 0},
		{"an author at work for pat does not have pat vote", []string{"agent:merger", "person:pat"}, []Edge{merge(author), starts, waits(does("agent:author", "source.push", repo, other), "pat")}, 1},
		{"nor has the merge of that", []string{"agent:merger", "person:pat"}, []Edge{waits(merge(author), "pat"), starts, does("agent:author", "source.push", repo, other)}, 1},
	} {
		g, err := NewGraph(slices.Clone(nodes), c.edges)
		if err != nil {
			t.Fatal(err)
		}
		from := make([]int, len(c.from))
		for i, id := range c.from {
			from[i] = g.at[NodeID(id)]
		}
		if n := g.walk(from).cost(g.at[repo]); n != c.want && (c.want >= 0 || n != far) {
			t.Errorf("%s: %d approvals; want %d", c.name, n, c.want)
		}
	}
}

// Each seat of an approval takes a person of its own; who could sit in either makes room.
func TestSeats(t *testing.T) {
	seats := func(voters ...[]remit.ID) *Approval {
		a := &Approval{Voters: voters}
		for range voters {
			a.Needs = append(a.Needs, remit.Need{Group: "g", N: 1})
		}
		return a
	}
	ann, both := []remit.ID{"ann"}, []remit.ID{"ann", "ben"}
	for _, c := range []struct {
		name   string
		a      *Approval
		people []remit.ID
		want   bool
	}{
		{"ann makes room", seats(both, ann), both, true},
		{"ann sits once", seats(ann, ann), both, false},
		{"one person for two seats", seats(both, both), ann, false},
		{"two of one group", &Approval{Needs: []remit.Need{{Group: "g", N: 2}}, Voters: [][]remit.ID{both}}, both, true},
		{"nobody else sits", seats(ann), []remit.ID{"cem"}, false},
	} {
		if got := c.a.met(c.people); got != c.want {
			t.Errorf("%s: %t", c.name, got)
		}
	}
}

// A deployment takes an artifact, and a merge sets off what its ref causes.
func TestWhatFollows(t *testing.T) {
	set := company()
	pilot := set.Agents[4].Entitlements
	pilot[0].Actions = slices.DeleteFunc(pilot[0].Actions, func(a remit.Action) bool { return a == "deploy.rollback" })
	g := build(t, made(t, remit.Team, set), allow)
	if n := asked(t, g, "agent:pilot", "environment:payments/staging"); n != -1 {
		t.Errorf("with no artifact that they made, %d approvals are enough to deploy", n)
	}
	if !slices.ContainsFunc(g.Edges, func(e Edge) bool {
		return e.How == HowFollows && e.From == "repo:forge/acme/payments" && e.To == "environment:payments/staging"
	}) {
		t.Error("a merge to main deploys nothing")
	}
}

// Reviewers count by their owners, however many agents one has.
func TestVerdictsOfOwners(t *testing.T) {
	set := company()
	set.Repositories[0].Approvers[0].Evidence = "verdict:2"
	set.Repositories[0].Effects = set.Repositories[0].Effects[1:]
	critic := set.Agents[2]
	for name, owner := range map[string]remit.ID{"critic-2": critic.Owner, "critic-3": "p-rio"} {
		c := critic
		c.Name, c.Owner = name, owner
		set.Agents = append(set.Agents, c)
	}
	if n := asked(t, build(t, made(t, remit.Team, set), allow), "agent", "repo:forge/acme/payments"); n != 0 {
		t.Errorf("three critics of two owners leave %d approvals", n)
	}
}
