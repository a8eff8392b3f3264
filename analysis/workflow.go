package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// WorkflowDraft says who would play each step of a workflow, and which agents that takes beyond those that are declared.
type WorkflowDraft struct {
	Steps   []remit.WorkflowPlayed // each after its inputs; without what is asked and met
	Missing []remit.WorkflowLack
	Patch   []remit.Agent // new ones, and those that get more, whole; by name
	// Declarations are those that were given, with Patch in them.
	Declarations remit.Declarations
}

// DraftWorkflow finds who plays each step of a workflow under declarations. What nobody may do yet is drafted as the least
// entitlement that allows it; where there is a choice that only a person can make, it drafts nothing and says so. A
// workflow that is wrong by itself, or names an owner whom nobody declared, is a *remit.DeclarationError.
func DraftWorkflow(d remit.Declarations, w remit.Workflow) (WorkflowDraft, error) {
	if wrong := w.Wrong(); len(wrong) > 0 {
		return WorkflowDraft{}, wrong[0]
	}
	if w.Owner != "" && !slices.ContainsFunc(d.People, func(p remit.Person) bool { return p.Name == w.Owner }) {
		return WorkflowDraft{}, &remit.DeclarationError{Path: "owner", Sentence: fmt.Sprintf("no person %q is declared; whoever owns an agent is", w.Owner)}
	}
	p := &drafting{w: w, d: d, changed: map[string]bool{}, plays: map[string]*remit.WorkflowPlayed{}}
	p.d.Agents = slices.Clone(d.Agents)
	for _, s := range w.Order() {
		p.step(s)
	}
	out := WorkflowDraft{Missing: p.lacks, Declarations: p.d}
	for _, s := range w.Order() {
		out.Steps = append(out.Steps, *p.plays[s.Name])
	}
	for _, a := range p.d.Agents {
		if p.changed[a.Name] {
			out.Patch = append(out.Patch, a)
		}
	}
	slices.SortFunc(out.Patch, func(a, b remit.Agent) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

type drafting struct {
	w       remit.Workflow
	d       remit.Declarations
	changed map[string]bool // agents
	lacks   []remit.WorkflowLack
	plays   map[string]*remit.WorkflowPlayed
}

func (p *drafting) lack(step string, patched bool, format string, args ...any) {
	l := remit.WorkflowLack{Step: step, Patched: patched, Text: fmt.Sprintf(format, args...)}
	if !slices.Contains(p.lacks, l) {
		p.lacks = append(p.lacks, l)
	}
}

func (p *drafting) agent(name string) *remit.Agent {
	i := slices.IndexFunc(p.d.Agents, func(a remit.Agent) bool { return a.Name == name })
	if i < 0 {
		return nil
	}
	return &p.d.Agents[i]
}

// step finds who plays a step, and drafts what they lack.
func (p *drafting) step(s remit.WorkflowStep) {
	info, _ := remit.Lookup(s.Action)
	out := &remit.WorkflowPlayed{Name: s.Name, Action: s.Action, Resource: s.Resource, Zone: p.zone(info, s.Resource), Impact: info.Impact, Inputs: s.Inputs}
	p.plays[s.Name] = out
	if text := p.undeclared(s.Resource); text != "" {
		p.lack(s.Name, false, "%s", text)
	}
	a := p.player(s, info, out)
	p.escalates(s, out)
	if a == nil {
		return
	}
	out.Agent, out.Function, out.Owner = a.Name, a.Function, a.Owner
	if !p.fits(a.Function, info, out.Zone) {
		p.lack(s.Name, false, "agent %s is for %s, and %s in zone %s is not that: a step of another function has an agent of its own (R4)", a.Name, a.Function, s.Action, zoneName(out.Zone))
		out.Agent = ""
		return
	}
	if !entitled(*a, s) {
		p.lack(s.Name, true, "agent %s is not entitled to %s on %s%s", a.Name, s.Action, s.Resource, refsOf(s))
		p.change(a.Name).Entitlements = append(slices.Clone(a.Entitlements), remit.Scope{Actions: []remit.Action{s.Action}, Resources: []remit.Pattern{remit.Pattern(s.Resource)}, Refs: s.Refs})
	}
	for _, in := range s.Inputs {
		p.handed(s, p.plays[in], out)
	}
	out.Drafted = p.changed[out.Agent]
}

// change gives an agent for writing.
func (p *drafting) change(name string) *remit.Agent {
	p.changed[name] = true
	return p.agent(name)
}

// player is who plays a step; nil: nobody can, and the lack says why.
func (p *drafting) player(s remit.WorkflowStep, info remit.ActionInfo, out *remit.WorkflowPlayed) *remit.Agent {
	if s.Agent != "" {
		a := p.agent(s.Agent)
		if a == nil {
			return p.draft(s, info, out.Zone, s.Agent)
		}
		if s.Function != "" && a.Function != s.Function {
			p.lack(s.Name, false, "agent %s is for %s, not for %s, and a function never changes", a.Name, a.Function, s.Function)
			return nil
		}
		return a
	}
	var may, all []string
	for _, a := range p.d.Agents {
		if a.Function != s.Function {
			continue
		}
		all = append(all, a.Name)
		if entitled(a, s) {
			may = append(may, a.Name)
		}
	}
	slices.Sort(all)
	slices.Sort(may)
	switch {
	case len(may) > 0:
		out.Others = may[1:]
		return p.agent(may[0])
	case len(all) == 0:
		return p.draft(s, info, out.Zone, string(s.Function))
	case len(all) == 1:
		return p.agent(all[0])
	}
	p.lack(s.Name, false, "none of %s, which are for %s, is entitled to %s on %s; write agent: with the one that is meant", strings.Join(all, ", "), s.Function, s.Action, s.Resource)
	return nil
}

// draft makes an agent that is missing.
func (p *drafting) draft(s remit.WorkflowStep, info remit.ActionInfo, zone remit.Zone, name string) *remit.Agent {
	function := s.Function
	if function == "" {
		var fit []string
		for _, f := range []remit.Function{remit.FuncPlan, remit.FuncCode, remit.FuncReview, remit.FuncBuild, remit.FuncRelease, remit.FuncDeploy, remit.FuncOperate} {
			if p.fits(f, info, zone) {
				fit = append(fit, string(f))
			}
		}
		if len(fit) != 1 {
			p.lack(s.Name, false, "no agent %s is declared, and %s may be for %s; write function: beside agent: to say which", name, s.Action, strings.Join(fit, " or "))
			return nil
		}
		function = remit.Function(fit[0])
	}
	switch {
	case p.w.Owner == "":
		p.lack(s.Name, false, "no agent for %s plays it; write owner: with the person who would own one, and it is drafted", function)
		return nil
	case p.agent(name) != nil:
		p.lack(s.Name, false, "no agent is for %s, and the name %s is taken; write agent: with another one", function, name)
		return nil
	}
	p.lack(s.Name, true, "no agent %s is declared", name)
	p.d.Agents = append(p.d.Agents, remit.Agent{Name: name, Function: function, Owner: p.w.Owner, Purpose: "plays " + s.Name + " of " + p.w.Name})
	p.changed[name] = true
	return p.agent(name)
}

// handed drafts what the one who played an input needs to have the step done.
func (p *drafting) handed(s remit.WorkflowStep, from, to *remit.WorkflowPlayed) {
	if from.Agent == "" || from.Agent == to.Agent || from.Function == to.Function {
		return // it goes on itself, or hands on its own work
	}
	a := p.agent(from.Agent)
	if !slices.Contains(a.MayRequest, to.Function) {
		p.lack(s.Name, true, "agent %s may not request work of an agent for %s", a.Name, to.Function)
		x := p.change(a.Name)
		x.MayRequest = append(slices.Clone(x.MayRequest), to.Function)
		from.Drafted = true
	}
}

// escalates says what a step has that its inputs have not.
func (p *drafting) escalates(s remit.WorkflowStep, out *remit.WorkflowPlayed) {
	if out.Impact == remit.Privileged {
		worst := remit.Read
		for _, in := range s.Inputs {
			worst = min(worst, p.plays[in].Impact)
		}
		if len(s.Inputs) == 0 || worst != remit.Privileged {
			out.Escalates = append(out.Escalates, "impact privileged")
		}
	}
	for _, in := range s.Inputs {
		from := p.plays[in].Zone
		if from != out.Zone && out.Zone != remit.ZoneNone && from != remit.ZoneNone {
			text := "zone " + zoneName(from) + " to " + zoneName(out.Zone)
			if !slices.Contains(out.Escalates, text) {
				out.Escalates = append(out.Escalates, text)
			}
		}
	}
}

func zoneName(z remit.Zone) string {
	if z == remit.ZoneNone {
		return "none"
	}
	return string(z)
}

func refsOf(s remit.WorkflowStep) string {
	if len(s.Refs) == 0 {
		return ""
	}
	parts := make([]string, len(s.Refs))
	for i, r := range s.Refs {
		parts[i] = string(r)
	}
	return ", refs " + strings.Join(parts, ", ")
}

// fits tells whether an agent of a function may take an action in a zone at all (R4a).
func (p *drafting) fits(f remit.Function, info remit.ActionInfo, zone remit.Zone) bool {
	if info.Impact == remit.Read && info.Stage != remit.StageSecret {
		return true
	}
	if info.Stage == remit.StageSecret || info.Stage == remit.StageTool {
		return zone == remit.ZoneNone || slices.Contains(remit.FunctionZones(f), zone)
	}
	return slices.Contains(remit.FunctionStages(f), info.Stage)
}

// zone is where a step lands: of secrets and tools, what is declared; what is not is production (R4).
func (p *drafting) zone(info remit.ActionInfo, r remit.Resource) remit.Zone {
	switch info.Stage {
	case remit.StageSecret:
		for _, x := range p.d.Secrets {
			if x.Name == r.Name() {
				return remit.Zone(x.Zone)
			}
		}
	case remit.StageTool:
		best := ""
		zone := remit.ZoneProduction
		for _, t := range p.d.Tools {
			if remit.Pattern("tool:"+t.Name).Match(r) && len(t.Name) > len(best) {
				best = t.Name
				if zone = remit.Zone(t.Zone); strings.HasPrefix(t.Name, "local/") {
					zone = remit.ZoneNone
				} else if zone == remit.ZoneNone {
					zone = remit.ZoneProduction
				}
			}
		}
		return zone
	}
	return info.Stage.Zone()
}

// undeclared says what the declarations lack of a resource; no entitlement mends that.
func (p *drafting) undeclared(r remit.Resource) string {
	name := r.Name()
	upstream, _, _ := strings.Cut(name, "/")
	known := true
	switch r.Type() {
	case "repo":
		known = slices.ContainsFunc(p.d.Repositories, func(x remit.Repository) bool { return x.Name == name })
	case "environment":
		known = slices.ContainsFunc(p.d.Environments, func(x remit.Environment) bool { return x.Name == name })
	case "secret":
		known = slices.ContainsFunc(p.d.Secrets, func(x remit.Secret) bool { return x.Name == name })
	case "tool":
		known = slices.ContainsFunc(p.d.Tools, func(x remit.Tool) bool { return remit.Pattern("tool:" + x.Name).Match(r) })
	case "artifact":
		if !slices.ContainsFunc(p.d.Upstreams, func(x remit.Upstream) bool { return x.Name == upstream }) {
			return fmt.Sprintf("%s lies at upstream %s, which is not declared", r, upstream)
		}
	}
	if !known {
		return fmt.Sprintf("%s is not declared", r)
	}
	return ""
}

// entitled tells whether an agent's entitlements cover a step.
func entitled(a remit.Agent, s remit.WorkflowStep) bool {
	return slices.ContainsFunc(a.Entitlements, func(sc remit.Scope) bool {
		if !slices.Contains(sc.Actions, s.Action) || !slices.ContainsFunc(sc.Resources, func(p remit.Pattern) bool { return p.Match(s.Resource) }) {
			return false
		}
		return !slices.ContainsFunc(s.Refs, func(want remit.Pattern) bool {
			return !slices.ContainsFunc(sc.Refs, func(has remit.Pattern) bool { return has.Contains(want) })
		})
	})
}

// Meets is what the authority answered on a step of a workflow: the edges of its player's, on the errand that rests on what
// the steps before it made. None: it is denied, or it is only read, which the graph does not ask about.
func (g *Graph) Meets(w remit.Workflow, agent string, s remit.WorkflowPlayed) (out []Edge) {
	for _, from := range g.errands(w, agent, s) {
		for _, e := range g.out[from] {
			if x := g.Edges[e]; x.Action == s.Action && (x.On == s.Resource || remit.Pattern(x.To).Match(s.Resource)) {
				out = append(out, x)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// Asks are the ways by which one agent has another one work on what it made.
func (g *Graph) Asks(w remit.Workflow, from, to string, s remit.WorkflowPlayed) (out []Edge) {
	for _, at := range g.errands(w, from, s) {
		for _, e := range g.out[at] {
			x := g.Edges[e]
			if (x.How == HowRequests || x.How == HowDelegates) && (agentOf(x.To) == to || NodeID(s.Resource) == x.To) {
				out = append(out, x)
			}
		}
		if len(out) > 0 {
			return out
		}
	}
	return nil
}

// errands are the nodes of an agent that nothing has steered: first those that rest on a repository of the steps before.
func (g *Graph) errands(w remit.Workflow, agent string, s remit.WorkflowPlayed) (out []int) {
	var on []string
	seen := map[string]bool{}
	var walk func(inputs []string)
	walk = func(inputs []string) {
		for _, in := range inputs {
			i := slices.IndexFunc(w.Steps, func(x remit.WorkflowStep) bool { return x.Name == in })
			if i < 0 || seen[in] {
				continue
			}
			seen[in] = true
			if w.Steps[i].Resource.Type() == "repo" {
				on = append(on, w.Steps[i].Resource.Name())
			}
			walk(w.Steps[i].Inputs)
		}
	}
	walk(s.Inputs)
	base := string(KindAgent) + ":" + agent
	for _, r := range on {
		if i, ok := g.at[NodeID(base+"@"+r)]; ok {
			out = append(out, i)
		}
	}
	if i, ok := g.at[NodeID(base)]; ok {
		out = append(out, i)
	}
	return out
}

// agentOf is the agent of a node, whatever its errand.
func agentOf(n NodeID) string {
	if n.Kind() != KindAgent {
		return ""
	}
	name, _, _ := strings.Cut(n.Name(), "@")
	name, _, _ = strings.Cut(name, "+")
	return name
}
