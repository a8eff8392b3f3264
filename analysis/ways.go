package analysis

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// What is asked is made up where only its kind counts: a commit, a file, a segment of a name.
const (
	madeUp     = "supposed"
	madeCommit = "5000000000000000000000000000000000000005"
	madeBase   = "1000000000000000000000000000000000000001"
	madeTree   = "7000000000000000000000000000000000000007"
	madeDigest = "sha256:5000000000000000000000000000000000000000000000000000000000000005"
	gatewayOf  = "paths"
)

// most bounds how many names are tried where one stands for all: paths of a list, repositories that a tool's step fits.
const most = 16

// may is what the entitlements of an agent name of one action on one resource.
type may struct {
	action remit.Action
	on     remit.Resource
	node   NodeID // of the resource, or of the pattern that on was made up for
}

// ways asks everything that an errand could do.
func (b *builder) ways(c *context) {
	a := b.s.Agents[c.agent]
	o := authority.Errand{Taints: c.taints()}
	if c.on != "" {
		o.Inputs = []remit.Input{{Resource: remit.Resource("repo:" + c.on), ID: madeCommit}}
	}
	caller, err := b.x.Run(c.agent, o)
	var why *remit.Error
	if errors.As(err, &why) { // it is not alive, so it does nothing
		c.refuse("", "", Denial{Code: why.Code, Text: why.Sentence})
	}
	if err != nil {
		return
	}
	c.caller, b.now = caller, c
	defer b.x.End(caller)
	for _, m := range b.entitled(a) {
		switch m.action {
		case "source.push", "source.merge":
			b.moves(c, m)
		case "source.read", "issue.read", "review.read":
			b.reads(c, m)
		case "source.propose", "issue.write", "issue.comment":
			label := "issue-text"
			if m.action == "source.propose" {
				label = "review-text"
			}
			b.acts(c, m, b.request(c, m), words(label, m.on.Name()))
		case "review.submit":
			r := b.review(c, m.on)
			b.acts(c, m, r, words("review-text", m.on.Name()))
		case "artifact.publish":
			b.acts(c, m, b.publish(c, m.on), m.node)
		case "deploy.promote", "deploy.rollback":
			b.deploys(c, m, c.caller, nil)
		case "operate.change", "secret.read", "secret.use", "build.trigger":
			b.acts(c, m, b.request(c, m), m.node)
		case "tool.list":
		default:
			if m.on.Type() == "tool" {
				b.calls(c, m)
			}
		}
	}
	b.asks(c, a)
	b.glass(c, a)
	for i := range c.ways {
		c.ways[i].request = nil // nobody asks it again
	}
}

// entitled lists what an agent's entitlements name of what is declared, sorted. What they name beyond that is denied.
func (b *builder) entitled(a *authority.Agent) []may {
	var out []may
	had := map[may]bool{}
	for _, sc := range a.Entitlements {
		for _, act := range sc.Actions {
			info, known := remit.Lookup(act)
			if !known {
				continue
			}
			for _, p := range sc.Resources {
				for _, m := range b.named(info, p) {
					if !had[m] {
						had[m], out = true, append(out, m)
					}
				}
			}
		}
	}
	slices.SortFunc(out, func(x, y may) int {
		return cmp.Or(cmp.Compare(x.action, y.action), cmp.Compare(x.on, y.on))
	})
	return out
}

// covered are those of sorted names of a kind that a pattern covers. They stand together, behind what it begins with.
func covered(kind string, names []string, p remit.Pattern) (out []string) {
	begin, ok := strings.CutPrefix(string(p), kind+":")
	if !ok {
		return nil
	}
	begin = strings.TrimRight(begin, "*")
	at, _ := slices.BinarySearch(names, begin)
	for ; at < len(names) && strings.HasPrefix(names[at], begin); at++ {
		if p.Match(remit.Resource(kind + ":" + names[at])) {
			out = append(out, names[at])
		}
	}
	return out
}

// named lists what a pattern covers of the declared resources that an action acts on.
func (b *builder) named(info remit.ActionInfo, p remit.Pattern) (out []may) {
	kind := remit.Resource(p).Type()
	if kind != info.Resource {
		return nil
	}
	put := func(r remit.Resource, node NodeID) { out = append(out, may{info.Action, r, node}) }
	each := func(names []string) {
		for _, n := range covered(kind, names, p) {
			r := remit.Resource(kind + ":" + n)
			put(r, NodeID(r))
		}
	}
	switch kind {
	case "repo":
		each(b.repos)
	case "environment":
		each(b.environments)
	case "secret":
		each(b.secrets)
	case "tool":
		for _, n := range b.tools {
			t := b.s.Tools[n]
			both, ok := p.Intersect(remit.Pattern("tool:" + n))
			if !ok || t.Server() != remit.LocalTools && info.Action != remit.ToolAction(t.Impact) {
				continue // it would be denied: a call is by what is declared of it
			}
			if r := witness(both); b.s.ToolOf(r) == t {
				put(r, NodeID("tool:"+n))
			}
		}
	case "pipeline", "artifact":
		known := false
		for _, id := range b.made {
			if string(id.Kind()) != kind {
				continue
			}
			if both, ok := p.Intersect(remit.Pattern(id)); ok {
				known = true
				put(witness(both), id)
			}
		}
		if !known && kind == "artifact" {
			put(witness(p), b.node(Node{ID: NodeID(p), Zone: remit.ZoneBuild}))
		}
	}
	return out
}

// witness is a name that a pattern covers.
func witness(p remit.Pattern) remit.Resource {
	s := string(p)
	if rest, ok := strings.CutSuffix(s, "/**"); ok {
		return remit.Resource(rest + "/" + madeUp)
	}
	if rest, ok := strings.CutSuffix(s, "/*"); ok {
		return remit.Resource(rest + "/" + madeUp)
	}
	return remit.Resource(s)
}

func (b *builder) request(c *context, m may) remit.Request {
	return remit.Request{Gateway: gatewayOf, Caller: c.caller, Steps: []remit.Step{{Action: m.action, Resource: m.on}}, Order: []byte("{}")}
}

func (b *builder) ask(r remit.Request) authority.Answer {
	a := b.x.Ask(r, b.judge)
	if a.Verdict == remit.Deny {
		b.refuse(r, a)
	}
	return a
}

// acts asks, and makes a way of what is not denied.
func (b *builder) acts(c *context, m may, r remit.Request, to NodeID, with ...Support) (authority.Answer, bool) {
	a := b.ask(r)
	if a.Verdict == remit.Deny {
		return a, false
	}
	e := b.edge(a, Edge{To: to, How: HowActs, Action: m.action, On: m.on, With: with})
	if len(r.Refs) > 0 && (m.action == "source.push" || m.action == "source.merge") {
		e.Ref = b.pattern(c, r.Refs[0].Ref)
	}
	e.Crosses, e.Why = b.crosses(c, m), b.sentence(c, m, e, a)
	c.ways = append(c.ways, way{Edge: e, request: &r})
	return a, true
}

// crosses says what a step escalates.
func (b *builder) crosses(c *context, m may) string {
	info, _ := remit.Lookup(m.action)
	zone := b.s.ZoneOf(remit.Step{Action: m.action, Resource: m.on})
	own := functionZone(b.s.Agents[c.agent].Function)
	switch {
	case info.Impact == remit.Read && info.Stage != remit.StageSecret:
		return ""
	case zone == remit.ZoneProduction:
		return "into production"
	case zone != own && zone != remit.ZoneNone && own != remit.ZoneNone:
		return fmt.Sprintf("zone %s to %s", own, zone)
	case info.Impact == remit.Privileged:
		return "impact privileged"
	}
	return ""
}

func (b *builder) sentence(c *context, m may, e Edge, a authority.Answer) string {
	out := fmt.Sprintf("agent %s may take %s on %s", c.agent, m.action, m.on)
	if e.Ref != "" {
		out += ", " + e.Ref
	}
	switch {
	case a.Verdict == remit.Hold:
		out += "; it waits: " + plainly(c, a.Sentence)
	case len(a.Stood) > 0:
		out += "; evidence stands in for people"
	default:
		out += "; nobody is asked"
	}
	return plainly(c, out)
}

// plainly says the patterns that made-up names stand for.
func plainly(c *context, s string) string {
	return strings.NewReplacer(string(c.caller.Task), "{task}", "/"+madeUp+"/"+madeUp, "/**", "/"+madeUp+".yml", "/*", "/"+madeUp, "/*", madeUp+".txt", "a file").Replace(s)
}

// reads makes ways by which what is read steers the reader. A labelled errand has none: it is steered already.
func (b *builder) reads(c *context, m may) {
	if c.labels != "" || c.on != "" {
		return
	}
	r := b.request(c, m)
	a := b.ask(r)
	if a.Verdict == remit.Deny {
		return
	}
	var from []NodeID
	switch m.action {
	case "source.read":
		from = append(from, m.node, NodeID("branch:"+m.on.Name()+"@")) // every branch: emit finds them
	case "issue.read":
		from = append(from, words("issue-text", m.on.Name()))
	case "review.read":
		from = append(from, words("review-text", m.on.Name()), words("pull-request", m.on.Name()), NodeID("branch:"+m.on.Name()+"@"))
	}
	b.steers(c, m, a, from, b.x.Incoming(r.Steps))
}

func (b *builder) steers(c *context, m may, a authority.Answer, from []NodeID, labels []string) {
	to := c.errand
	if !b.blind {
		to.labels = strings.Join(labels, "+")
	}
	b.visit(to)
	for _, f := range from {
		e := b.edge(a, Edge{From: f, How: HowSteers, Action: m.action, On: m.on,
			Why: fmt.Sprintf("agent %s reads it by %s on %s, and takes what it says for an instruction", c.agent, m.action, m.on)})
		c.ways = append(c.ways, way{Edge: e, to: &to})
	}
}

// calls asks for a call of a tool, with all that is declared that it does besides.
func (b *builder) calls(c *context, m may) {
	t := b.s.ToolOf(m.on)
	args := json.RawMessage("{}")
	name := strings.TrimPrefix(m.on.Name(), t.Server()+"/")
	base := b.request(c, m)
	base.Tool = &remit.ToolCall{Server: t.Server(), Name: name, Arguments: args, Pin: t.Pin}
	if t.Server() != remit.LocalTools {
		base.Tool.Method = "tools/call"
	}
	base.Steps[0].Args = remit.ToolDigest(base.Tool.Method, args)
	for _, besides := range b.besides(t.Steps) {
		r := base
		r.Steps = slices.Concat(base.Steps, besides)
		a, ok := b.acts(c, m, r, m.node)
		if !ok {
			continue
		}
		for _, st := range besides {
			if to := stepNode(st); to != "" && b.has(to) {
				e := c.ways[len(c.ways)-1].Edge
				e.To, e.Action, e.On = to, st.Action, st.Resource
				e.Crosses = b.crosses(c, may{action: st.Action, on: st.Resource})
				e.Why = fmt.Sprintf("a call of %s does %s on %s", m.on, st.Action, st.Resource)
				c.ways = append(c.ways, way{Edge: e})
			}
		}
		if labels := b.x.Incoming(r.Steps); len(labels) > 0 && c.labels == "" && c.on == "" {
			var from []NodeID
			for _, l := range t.Taints {
				from = append(from, words(l, t.Name))
			}
			for _, st := range besides {
				if st.Action == "issue.read" && b.has(words("issue-text", st.Resource.Name())) {
					from = append(from, words("issue-text", st.Resource.Name()))
				}
				if st.Action == "review.read" && b.has(words("review-text", st.Resource.Name())) {
					from = append(from, words("review-text", st.Resource.Name()))
				}
			}
			b.steers(c, m, a, from, labels)
		}
	}
}

func (b *builder) has(id NodeID) bool { _, ok := b.nodes[id]; return ok }

// besides lists what the declared steps of a tool can be, on resources that are declared.
func (b *builder) besides(rules []remit.ToolRule) [][]remit.Step {
	out := [][]remit.Step{nil}
	for _, rule := range rules {
		info, _ := remit.Lookup(rule.Action)
		var on []remit.Resource
		var names []string
		switch info.Resource {
		case "repo":
			names = b.repos
		case "environment":
			names = b.environments
		case "secret":
			names = b.secrets
		}
		for _, n := range names {
			if r := remit.Resource(info.Resource + ":" + n); rule.Fits(r) && len(on) < most {
				on = append(on, r)
			}
		}
		var next [][]remit.Step
		for _, had := range out {
			for _, r := range on {
				next = append(next, append(slices.Clone(had), remit.Step{Action: rule.Action, Resource: r}))
			}
		}
		if out = next; len(out) > most*most {
			out = out[:most*most]
		}
	}
	return out
}

// stepNode is what a step by a tool takes hold of; empty: nothing that a node stands for.
func stepNode(st remit.Step) NodeID {
	switch st.Action {
	case "issue.write", "issue.comment":
		return words("issue-text", st.Resource.Name())
	case "source.propose", "review.submit":
		return words("review-text", st.Resource.Name())
	case "source.push", "source.merge", "secret.read", "secret.use", "operate.change", "deploy.promote", "deploy.rollback":
		return NodeID(st.Resource)
	}
	return ""
}

// asks asks for work of other agents.
func (b *builder) asks(c *context, a *authority.Agent) {
	if len(a.MayRequest) == 0 {
		return
	}
	for _, name := range b.players(a.MayRequest) {
		other := b.s.Agents[name]
		if name == c.agent {
			continue
		}
		rest := append(b.builds(other), "")
		for _, on := range rest {
			child := remit.Child{Agent: name, Intent: remit.Hash([]byte(madeUp))}
			switch {
			case on != "":
				child.Inputs = []remit.Input{{Resource: remit.Resource("repo:" + on), ID: madeCommit}}
			case functionZone(other.Function) == remit.ZoneBuild || functionZone(other.Function) == remit.ZoneProduction:
				child.Inputs = b.anyInput(rest)
			}
			ans := b.ask(b.child(c, child))
			if ans.Verdict == remit.Deny {
				continue
			}
			to := errand{agent: name, on: on, labels: c.labels}
			b.visit(to)
			e := b.edge(ans, Edge{How: HowRequests, Action: "task.request", On: remit.Resource("task:" + name),
				Why: fmt.Sprintf("agent %s may ask for work of agent %s, in its own words%s", c.agent, name, waits(c, ans))})
			if from, z := functionZone(a.Function), functionZone(other.Function); from != z && z != remit.ZoneNone {
				if e.Crosses = fmt.Sprintf("zone %s to %s", from, z); z == remit.ZoneProduction {
					e.Crosses = "into production"
				}
			}
			c.ways = append(c.ways, way{Edge: e, to: &to})
		}
		if other.Function == remit.FuncDeploy {
			for _, m := range b.entitled(other) {
				if m.action == "deploy.promote" || m.action == "deploy.rollback" {
					b.releases(c, name, m)
				}
			}
		}
	}
}

// players lists the agents of functions, by name.
func (b *builder) players(functions []remit.Function) (out []string) {
	for i, f := range functions {
		if !slices.Contains(functions[:i], f) {
			out = append(out, b.functions[f]...)
		}
	}
	slices.Sort(out)
	return out
}

func waits(c *context, a authority.Answer) string {
	if a.Verdict == remit.Hold {
		return "; it waits: " + plainly(c, a.Sentence)
	}
	return ""
}

// child is a request for work of another agent.
func (b *builder) child(c *context, child remit.Child) remit.Request {
	return remit.Request{Gateway: gatewayOf, Caller: c.caller, Child: &child,
		Steps: []remit.Step{{Action: "task.request", Resource: remit.Resource("task:" + child.Agent), Args: authority.ChildDigest(child)}}}
}

// builds lists the repositories whose commits an agent may build into what their declarations name: on a task that rests on
// one of these it publishes without a vote.
func (b *builder) builds(a *authority.Agent) (out []string) {
	if had, ok := b.built[a.Name]; ok {
		return had
	}
	defer func() { b.built[a.Name] = out }()
	for _, sc := range a.Entitlements {
		if !slices.Contains(sc.Actions, "artifact.publish") {
			continue
		}
		for _, name := range b.building {
			for _, p := range b.s.Repositories[name].Artifacts {
				if slices.ContainsFunc(sc.Resources, func(q remit.Pattern) bool { _, ok := p.Intersect(q); return ok }) && !slices.Contains(out, name) {
					out = append(out, name)
				}
			}
		}
	}
	slices.Sort(out)
	return out
}

// anyInput is something for a task of zone B or P to rest on that is no commit of some repositories.
func (b *builder) anyInput(but []string) []remit.Input {
	for _, name := range b.repos {
		if !slices.Contains(but, name) {
			return []remit.Input{{Resource: remit.Resource("repo:" + name), ID: madeCommit}}
		}
	}
	for _, name := range sorted(b.s.Upstreams) {
		return []remit.Input{{Resource: remit.Resource("artifact:" + name + "/" + madeUp), ID: madeDigest}}
	}
	return nil
}

// publish is a request that makes an artifact known.
func (b *builder) publish(c *context, on remit.Resource) remit.Request {
	as := []remit.Artifact{{Resource: on, Digest: madeDigest}}
	return remit.Request{Gateway: gatewayOf, Caller: c.caller, Artifacts: as,
		Steps: []remit.Step{{Action: "artifact.publish", Resource: on, Args: authority.ArtifactsDigest(as)}}}
}

// glass asks again for what waits, under each break-glass that could be opened for it.
func (b *builder) glass(c *context, a *authority.Agent) {
	for _, name := range sorted(b.s.Glasses) {
		g := b.s.Glasses[name]
		openers := b.x.Openers(name, c.caller)
		if len(openers) == 0 || b.x.Open(name, c.caller, openers[0]) != nil {
			continue
		}
		for i, n := 0, len(c.ways); i < n; i++ {
			w := c.ways[i]
			if w.Verdict != remit.Hold || w.How != HowActs || w.request == nil {
				continue
			}
			ans := b.ask(*w.request)
			if ans.Glass == "" || ans.Verdict != remit.Allow {
				continue
			}
			for _, group := range g.Who {
				var who []remit.ID
				for _, p := range openers {
					if b.s.InGroup(group, p, b.s.Now) {
						who = append(who, p)
					}
				}
				if len(who) == 0 {
					continue
				}
				e := w.Edge
				e.How, e.Rules = HowBreakGlass, ans.Rules
				e.Approval = &Approval{Needs: []remit.Need{{Group: group, N: 1}}, Voters: [][]remit.ID{who}, Zone: e.Approval.Zone, Glass: name, Self: true}
				e.Why = fmt.Sprintf("once one of %s has opened break-glass %s for its task, agent %s may take %s on %s, and somebody reviews it afterwards", group, name, c.agent, e.Action, e.On)
				c.ways = append(c.ways, way{Edge: e})
			}
		}
		b.x.Close()
	}
}
