package analysis

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Build asks the authority what every agent and person could do in a state, with ask as the policy, and makes a graph of the
// answers. It asks once for each way there could be, and neither reads a clock nor anything but its arguments. A state
// without a policy is an error: nothing would be allowed there, and a graph without edges would look like safety.
func Build(s *authority.State, ask Judge, o Options) (*Graph, error) {
	if s.Policy.IsZero() {
		return nil, errors.New("no policy is in force, so nothing can be asked of it")
	}
	x := authority.Suppose(s, o.At)
	b := &builder{s: x.State(), x: x, judge: ask.Judge, draft: map[string]bool{}, nodes: map[NodeID]Node{}, edges: map[string]Edge{}, asked: map[errand]*context{},
		who: map[remit.Action]map[string][]candidate{}, functions: map[remit.Function][]string{}, built: map[string][]string{}}
	for _, a := range o.Drafts {
		if err := x.Declare(a); err != nil {
			return nil, err
		}
		b.draft[a.Name] = true
	}
	b.blind = blind(ask)
	b.list()
	b.declared()
	b.people()
	for _, name := range b.agents {
		b.visit(errand{agent: name})
	}
	for len(b.queue) > 0 {
		c := b.queue[0]
		b.queue = b.queue[1:]
		b.ways(c)
	}
	b.alike()
	b.emit()
	g, err := NewGraph(values(b.nodes), values(b.edges), b.unseen()...)
	if err == nil {
		g.denied = b.refusals()
	}
	return g, err
}

// blind tells whether a judge surely finds the same after any text that has a label. The compiled rules look at no labels.
func blind(ask Judge) bool {
	n, ok := ask.(Narrower)
	if !ok {
		return false
	}
	read := n.Narrow(authority.Facts{Task: authority.TaskFacts{History: authority.HistoryFacts{Taints: []string{madeUp}}}})
	return len(read.Task.History.Taints) == 0
}

// list keeps the names of what is declared, so that nobody sorts them again.
func (b *builder) list() {
	b.agents, b.repos = sorted(b.s.Agents), sorted(b.s.Repositories)
	b.environments, b.secrets, b.tools = sorted(b.s.Environments), sorted(b.s.Secrets), sorted(b.s.Tools)
	for _, name := range b.agents {
		f := b.s.Agents[name].Function
		b.functions[f] = append(b.functions[f], name)
	}
	for _, name := range b.repos {
		if len(b.s.Repositories[name].Artifacts) > 0 {
			b.building = append(b.building, name)
		}
	}
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }

func values[K cmp.Ordered, V any](m map[K]V) []V {
	out := make([]V, 0, len(m))
	for _, k := range sorted(m) {
		out = append(out, m[k])
	}
	return out
}

// builder asks, and keeps what it was answered.
type builder struct {
	s     *authority.State
	x     *authority.Supposed
	judge func(authority.Facts) authority.Finding
	blind bool // labels change no answer
	draft map[string]bool
	nodes map[NodeID]Node
	edges map[string]Edge
	asked map[errand]*context
	who   map[remit.Action]map[string][]candidate // by repository
	all   []*context                              // in the order in which they were met
	now   *context                                // that is asked about
	queue []*context

	// Names of what is declared, sorted; of building, the repositories that declare what is built of them; of functions, the
	// agents of each.
	agents, repos, environments, secrets, tools, building []string

	functions map[remit.Function][]string
	built     map[string][]string // what builds answered, by agent
	made      []NodeID            // pipelines and artifacts, in the order in which they were met
}

// errand is how an agent comes to act: for itself, or for a child task that rests on a repository; steered by what has
// labels, or by nothing that has any.
type errand struct {
	agent  string
	on     string // repository of the commit that its task rests on; empty: none
	labels string // sorted, joined by +
}

// node is how the graph names it.
func (e errand) node() NodeID {
	id := string(KindAgent) + ":" + e.agent
	if e.on != "" {
		id += "@" + e.on
	}
	if e.labels != "" {
		id += "+" + e.labels
	}
	return NodeID(id)
}

func (e errand) note() string {
	var parts []string
	if e.on != "" {
		parts = append(parts, "on a task that rests on a commit of "+e.on)
	}
	if e.labels != "" {
		parts = append(parts, "after it has read "+strings.ReplaceAll(e.labels, "+", " and "))
	}
	return strings.Join(parts, ", ")
}

func (e errand) taints() []string {
	if e.labels == "" {
		return nil
	}
	return strings.Split(e.labels, "+")
}

// context is an errand with the ways that begin at it.
type context struct {
	errand
	caller remit.Caller
	ways   []way
	same   bool // as the errand without labels
	denied map[refusal]Denial
}

// way is an edge whose ends that are agents are not named yet.
type way struct {
	Edge
	to      *errand        // where it leads to an agent
	request *remit.Request // that was asked
}

// visit meets an errand; an agent that could not act is met and has no ways.
func (b *builder) visit(e errand) *context {
	if c := b.asked[e]; c != nil {
		return c
	}
	c := &context{errand: e}
	b.asked[e] = c
	b.all, b.queue = append(b.all, c), append(b.queue, c)
	return c
}

func (b *builder) add(e Edge) {
	key := fmt.Sprintf("%s\x00%s\x00%s\x00%s\x00%s\x00%s\x00%s\x00%v", e.From, e.To, e.How, e.Action, e.On, e.Ref, e.Verdict, e.With)
	if e.Approval != nil { // of two files that lead to the same, others may be asked for each
		key += fmt.Sprintf("\x00%v", *e.Approval)
	}
	if _, had := b.edges[key]; !had {
		b.edges[key] = e
	}
}

func (b *builder) node(n Node) NodeID {
	n.Kind = n.ID.Kind()
	if _, had := b.nodes[n.ID]; !had {
		b.nodes[n.ID] = n
		if n.Kind == KindPipeline || n.Kind == KindArtifact {
			b.made = append(b.made, n.ID)
		}
	}
	return n.ID
}

// declared makes nodes of what is declared and what of it leads to what by itself.
func (b *builder) declared() {
	last := func(cs []authority.Change) remit.EntryIndex {
		if len(cs) == 0 {
			return 0
		}
		return cs[len(cs)-1].Entry
	}
	control := b.node(Node{ID: "control:declarations", Zone: remit.ZoneControl, Note: "the declarations and the policy; whoever changes them alone holds everything"})
	controls := func(id NodeID) {
		b.add(Edge{From: control, To: id, How: HowControls, Verdict: remit.Allow, Crosses: "control", Why: "whoever changes the declarations alone decides what this is and who may do what with it"})
	}
	for _, name := range sorted(b.s.Upstreams) {
		u := b.s.Upstreams[name]
		if u.Type == remit.KindOIDC {
			continue
		}
		controls(b.node(Node{ID: NodeID("credential:" + name), Zone: b.upstreamZone(u), Entry: last(u.Changes), Note: "what upstream " + name + " obeys, past Remit"}))
	}
	for _, name := range b.repos {
		r := b.s.Repositories[name]
		upstream, _, _ := strings.Cut(name, "/")
		id := b.node(Node{ID: NodeID("repo:" + name), Zone: remit.ZoneSource, Entry: last(r.Changes), Branch: "refs/heads/" + r.DefaultBranch, Note: "what " + r.DefaultBranch + " of it holds"})
		b.opens(upstream, id)
		for _, e := range r.Effects {
			to := b.resource(e.On)
			if e.Causes == "build.trigger" {
				b.opens(upstream, to) // whoever writes the workflow files says what it runs
			}
		}
		for _, p := range r.Artifacts {
			b.node(Node{ID: NodeID(p), Zone: remit.ZoneBuild})
		}
		for _, label := range []string{"issue-text", "review-text"} {
			b.node(Node{ID: words(label, name), Note: "words in " + name + " that anybody may have written"})
		}
		b.node(Node{ID: words("pull-request", name), Note: "a change that a stranger proposes for " + name})
	}
	for _, name := range b.environments {
		e := b.s.Environments[name]
		id := b.node(Node{ID: NodeID("environment:" + name), Zone: remit.ZoneProduction, Tier: e.Tier, Entry: last(e.Changes)})
		controls(id)
		b.opens(e.Upstream, id)
		for _, p := range e.Artifacts {
			a := b.node(Node{ID: NodeID(p), Zone: remit.ZoneBuild})
			upstream, _, _ := strings.Cut(a.Name(), "/")
			b.opens(upstream, a)
		}
	}
	for _, name := range b.secrets {
		x := b.s.Secrets[name]
		controls(b.node(Node{ID: NodeID("secret:" + name), Zone: x.Zone, Entry: last(x.Changes), Note: "its value, or requests that carry it"}))
	}
	for _, name := range b.tools {
		t := b.s.Tools[name]
		id := b.node(Node{ID: NodeID("tool:" + name), Zone: t.Zone, Entry: last(t.Changes)})
		b.opens(remit.ToolServer(name), id)
		for _, label := range t.Taints {
			b.node(Node{ID: words(label, name), Note: "what comes in with the answers of " + name})
		}
	}
	for _, name := range b.agents {
		a := b.s.Agents[name]
		note := ""
		if a.Status != remit.AgentActive && a.Status != "" {
			note = "is " + string(a.Status)
		}
		controls(b.node(Node{ID: NodeID("agent:" + name), Zone: functionZone(a.Function), Function: a.Function, Owner: a.Owner, Entry: last(a.Changes), Note: note, Draft: b.draft[name]}))
	}
}

// opens makes the way from the credential of an upstream to something that it has.
func (b *builder) opens(upstream string, id NodeID) {
	if from := NodeID("credential:" + upstream); b.has(from) {
		b.add(Edge{From: from, To: id, How: HowGives, Verdict: remit.Allow, Why: "whoever has the credential of " + upstream + " needs nobody's leave there"})
	}
}

// words is the node of what anybody may have written in a repository, or what a tool brings in.
func words(label, where string) NodeID {
	return NodeID(string(KindUntrusted) + ":" + label + "/" + where)
}

func functionZone(f remit.Function) remit.Zone {
	if z := remit.FunctionZones(f); len(z) > 0 {
		return z[0]
	}
	return remit.ZoneNone
}

func (b *builder) upstreamZone(u *authority.Upstream) remit.Zone {
	if z, ok := b.s.ToolZones[u.Name]; ok && u.Type == remit.KindMCP {
		return z
	}
	return remit.Upstream{Kind: u.Type}.Zone()
}

// resource is the node of a resource, or of a pattern over them.
func (b *builder) resource(r remit.Resource) NodeID {
	n := Node{ID: NodeID(r)}
	switch n.ID.Kind() {
	case KindPipeline, KindArtifact:
		n.Zone = remit.ZoneBuild
	case KindEnvironment:
		n.Zone = remit.ZoneProduction
	}
	return b.node(n)
}

// people makes nodes of people, and asks what they may ask for.
func (b *builder) people() {
	for _, p := range sorted(b.s.People) {
		x := b.s.People[p]
		if x.Killed || x.Removed {
			continue
		}
		id := b.node(Node{ID: NodeID("person:" + string(p)), Note: "their keys and sign-ins"})
		if a := b.x.Widen(p); a.Verdict != remit.Deny {
			b.add(b.edge(a, Edge{From: id, To: "control:declarations", How: HowControls, Action: "control.apply", Crosses: "control",
				Why: fmt.Sprintf("%s is an administrator, whose declarations widen authority%s", p, awaits(a))}))
		}
	}
	members := map[string][]remit.ID{}
	for _, name := range b.agents {
		a := b.s.Agents[name]
		may := []remit.ID{a.Owner}
		for _, g := range a.Requesters {
			if _, had := members[g]; !had {
				members[g] = b.members(g)
			}
			may = append(may, members[g]...)
		}
		slices.Sort(may)
		for _, p := range slices.Compact(may) {
			from := NodeID("person:" + string(p))
			if _, ok := b.nodes[from]; ok && b.x.MayAsk(p, name) == nil {
				b.add(Edge{From: from, To: errand{agent: name}.node(), How: HowStarts, Verdict: remit.Allow,
					Why: fmt.Sprintf("%s may ask for tasks of agent %s, and launches what they asked for", p, name)})
			}
		}
	}
}

// members are who a group has, by its declaration or as a provider said.
func (b *builder) members(name string) []remit.ID {
	group := b.s.Groups[name]
	if group == nil {
		return nil
	}
	out := slices.Clone(group.Members)
	if len(group.From) > 0 {
		for _, p := range sorted(b.s.People) {
			if b.s.InGroup(name, p, b.s.Now) {
				out = append(out, p)
			}
		}
	}
	return out
}

func awaits(a authority.Answer) string {
	if a.Verdict != remit.Hold {
		return ", and there is no second one"
	}
	return ", once another one agrees"
}

// edge says in e what was answered.
func (b *builder) edge(a authority.Answer, e Edge) Edge {
	e.Verdict, e.Rules = a.Verdict, a.Rules
	for _, st := range a.Stood {
		e.Instead = strings.TrimPrefix(e.Instead+"+"+st.Need.Evidence, "+")
	}
	if a.Verdict == remit.Hold {
		e.Approval = &Approval{Needs: a.Needs, Voters: a.Voters, Zone: a.Zone, Self: a.Self}
	}
	return e
}

// alike drops what labels of an agent do not change. A policy that does not look at them answers the same after them; then
// the agent is one node.
func (b *builder) alike() {
	for _, c := range b.all {
		plain := b.asked[errand{agent: c.agent, on: c.on}]
		c.same = c.labels != "" && plain != nil && sameWays(c.ways, plain.ways)
	}
	for changed := true; changed; {
		changed = false
		for _, c := range b.all {
			if !c.same {
				continue
			}
			for _, w := range c.ways {
				if w.to != nil && w.to.labels != "" && !b.asked[*w.to].same {
					c.same, changed = false, true
					break
				}
			}
		}
	}
}

// sameWays tells whether two errands have the same ways but for the labels of whom they lead to.
func sameWays(a, b []way) bool {
	own := func(ways []way) (out []way) {
		for _, w := range ways {
			if w.From == "" { // not how it comes to be steered
				out = append(out, w)
			}
		}
		return out
	}
	return slices.EqualFunc(own(a), own(b), func(x, y way) bool {
		same := (x.to == nil) == (y.to == nil) && (x.to == nil || x.to.agent == y.to.agent && x.to.on == y.to.on)
		return same && x.To == y.To && x.Verdict == y.Verdict && x.How == y.How && x.Action == y.Action && x.On == y.On && x.Ref == y.Ref &&
			fmt.Sprint(x.Approval) == fmt.Sprint(y.Approval) && fmt.Sprint(x.With) == fmt.Sprint(y.With)
	})
}

// name is the node of an errand, once it is known which are the same.
func (b *builder) name(e errand) NodeID {
	c := b.asked[e]
	if c != nil && c.same {
		e.labels = ""
	}
	id := e.node()
	if _, had := b.nodes[id]; !had {
		a := b.s.Agents[e.agent]
		b.node(Node{ID: id, Zone: functionZone(a.Function), Function: a.Function, Owner: a.Owner, Note: e.note(), Draft: b.draft[e.agent]})
	}
	return id
}

// support names who an edge must be held with: of an agent the nodes as which it may push, if it is an author, or review. It
// tells whether there is anybody.
func (b *builder) support(w *way, nodes map[string][]NodeID, can map[string]bool) bool {
	with := slices.Clone(w.With)
	for i := range with {
		var of []NodeID
		for _, id := range with[i].Of {
			if id.Kind() != KindAgent {
				of = append(of, id)
				continue
			}
			for _, n := range nodes[id.Name()] {
				if can[string(n)+" "+string(with[i].By)+" "+w.On.Name()] {
					of = append(of, n)
				}
			}
		}
		if with[i].Of = of; len(of) == 0 {
			return false
		}
	}
	w.With = with
	return true
}

// emit makes edges of ways.
func (b *builder) emit() {
	nodes, can := map[string][]NodeID{}, map[string]bool{}
	for _, c := range b.all {
		if c.same || c.on != "" {
			continue
		}
		id := b.name(c.errand)
		nodes[c.agent] = append(nodes[c.agent], id)
		for _, w := range c.ways {
			if w.From == "" && w.To.Kind() != KindPipeline {
				can[fmt.Sprintf("%s %s %s", id, w.Action, w.On.Name())] = true
			}
		}
	}
	branches := map[string][]NodeID{} // of a repository, by what stands before the @
	for _, id := range sorted(b.nodes) {
		if id.Kind() == KindBranch {
			repo, _, _ := strings.Cut(string(id), "@")
			branches[repo] = append(branches[repo], id)
		}
	}
	for _, c := range b.all {
		if c.same {
			continue
		}
		from := b.name(c.errand)
		for _, w := range c.ways {
			if !b.support(&w, nodes, can) {
				continue
			}
			e := w.Edge
			if e.From == "" {
				e.From = from
			}
			if w.to != nil {
				e.To = b.name(*w.to)
			}
			switch prefix, every := strings.CutSuffix(string(e.From), "@"); {
			case every:
				for _, id := range branches[prefix] {
					e.From = id
					b.add(e)
				}
			case e.From != e.To:
				b.add(e)
			}
		}
	}
	for _, repo := range sorted(branches) {
		upstream, _, _ := strings.Cut(NodeID(repo).Name(), "/")
		for _, id := range branches[repo] {
			b.opens(upstream, id)
		}
	}
	// What is one of those that a pattern means is one of them.
	artifacts := slices.DeleteFunc(sorted(b.nodes), func(id NodeID) bool { return id.Kind() != KindArtifact })
	for _, p := range artifacts {
		begin, many := strings.CutSuffix(strings.TrimRight(string(p), "*"), "/")
		if !many {
			continue // it is one alone
		}
		at, _ := slices.BinarySearch(artifacts, NodeID(begin))
		for _, q := range artifacts[at:] {
			if !strings.HasPrefix(string(q), begin) {
				break
			}
			if p != q && remit.Pattern(p).Contains(remit.Pattern(q)) {
				b.add(Edge{From: q, To: p, How: HowGives, Verdict: remit.Allow, Why: string(q) + " is one of " + string(p)})
			}
		}
	}
}

// unseen says what is not in the graph.
func (b *builder) unseen() []string {
	out := []string{"What people and programs can do past Remit is here only as far as a scan found it."}
	for _, name := range b.agents {
		if a := b.s.Agents[name]; a.Status == remit.AgentSuspended {
			out = append(out, fmt.Sprintf("Agent %s is suspended: what it could do once it is resumed is not here.", name))
		}
	}
	return out
}
