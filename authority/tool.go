package authority

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/remit-dev/remit"
)

// Tools: what a call may do is declared, and what a gateway says of it is checked against that. What an answer brings in
// stays with the task that asked.

// Limits of what a gateway says of a call.
const (
	maxMethod = 128 // bytes of the name of a method
	maxWhy    = 8   // short codes
)

// Tool is a declared tool, or all that a pattern covers.
type Tool struct {
	remit.ToolDeclared
	Changes []Change
}

// covering finds the record that says what holds of a tool: of those that cover its name, the one that is within all the
// others. has tells whether there is a record of exactly that name.
func covering(name string, has func(string) bool) (string, bool) {
	if has(name) {
		return name, true
	}
	above := name
	for i := strings.LastIndexByte(above, '/'); i > 0; i = strings.LastIndexByte(above, '/') {
		direct := above == name
		above = above[:i]
		if direct && has(above+"/*") {
			return above + "/*", true
		}
		if has(above + "/**") {
			return above + "/**", true
		}
	}
	return "", false
}

// ToolOf is the record that covers a resource of type tool; nil where none does.
func (s *State) ToolOf(r remit.Resource) *Tool {
	if r.Type() != "tool" {
		return nil
	}
	name, _ := covering(r.Name(), func(n string) bool { return s.Tools[n] != nil })
	return s.Tools[name]
}

func (s *State) applyTool(n remit.EntryIndex, e *remit.ToolDeclared) {
	old := s.Gone["tool/"+e.Name]
	if t := s.Tools[e.Name]; t != nil {
		old = t.Changes
	}
	if s.Tools == nil {
		s.Tools, s.ToolZones = map[string]*Tool{}, map[string]remit.Zone{}
	}
	s.Tools[e.Name] = &Tool{*e, append(old, Change{e.By, n})}
	s.ToolZones[e.Server()] = e.Zone
}

func (s *State) removeTool(n remit.EntryIndex, e *remit.Removed) {
	t := s.Tools[e.Name]
	if t == nil {
		return
	}
	s.Gone["tool/"+e.Name] = append(t.Changes, Change{e.By, n})
	delete(s.Tools, e.Name)
	if !slices.ContainsFunc(sorted(s.Tools), func(name string) bool { return remit.ToolServer(name) == t.Server() }) {
		delete(s.ToolZones, t.Server())
	}
}

// local tells whether a tool is one within the agent's own process. Those lie in no zone: Remit has no credential behind
// them that could reach one, and what the process itself can reach is not for a zone to say but for its confinement.
func local(r remit.Resource) bool { return remit.ToolServer(r.Name()) == remit.LocalTools }

// itself tells whether r is a server of tools itself, and not something that it has.
func itself(r remit.Resource) bool {
	server, rest, _ := strings.Cut(r.Name(), "/")
	return server != remit.LocalTools && rest == "-"
}

// toolZone is the zone of the credential that a call is made with: what the records of its server say. What none covers
// could be anything.
func (s *State) toolZone(r remit.Resource) remit.Zone {
	switch {
	case local(r):
		return remit.ZoneNone
	case itself(r):
		return s.serverZone(remit.ToolServer(r.Name()))
	}
	if t := s.ToolOf(r); t != nil {
		return t.Zone
	}
	return remit.ZoneProduction
}

// serverZone is the one zone of all tools of a server (R4d).
func (s *State) serverZone(server string) remit.Zone {
	if z, declared := s.ToolZones[server]; declared {
		return z
	}
	return remit.ZoneProduction
}

// serves is the zone that a credential of an upstream serves.
func (s *State) serves(up *Upstream) remit.Zone {
	if up.Type == remit.KindMCP {
		return s.serverZone(up.Name)
	}
	return upstreamZone(up.Type)
}

// toolZones are the zones in which the tools lie that a pattern over resources covers; where no record has to do with it,
// production.
func (s *State) toolZones(p remit.Pattern) []remit.Zone {
	if r := remit.Resource(p); local(r) || !strings.HasSuffix(string(p), "*") {
		return []remit.Zone{s.toolZone(r)}
	}
	for _, name := range sorted(s.Tools) {
		if _, overlap := p.Intersect(remit.Pattern("tool:" + name)); overlap {
			return []remit.Zone{s.Tools[name].Zone} // as that of all tools of the server
		}
	}
	return []remit.Zone{remit.ZoneProduction}
}

// readBesides tells whether a call of a tool only reads in a step: that is done with the one credential of the tool's
// server, and adds no zone to the call (R4d).
func readBesides(call bool, info remit.ActionInfo) bool {
	return call && info.Impact == remit.Read && info.Stage != remit.StageTool
}

// ZoneOf is the zone of a step.
func (s *State) ZoneOf(st remit.Step) remit.Zone {
	info, _ := remit.Lookup(st.Action)
	return s.zoneOf(info, st.Resource)
}

// Executor names who carries an access request out.
func (s *State) Executor(a *Access) string {
	var steps []remit.Step
	for _, f := range a.Steps {
		if !f.Step.Effect {
			steps = append(steps, f.Step)
		}
	}
	return ExecutorOf(s.zoneOfSteps(steps))
}

// ReachedServers lists the declared servers of tools of which the grant of a task names anything, sorted.
func (s *State) ReachedServers(task remit.ID) []string {
	t := s.Tasks[task]
	if t == nil {
		return nil
	}
	var out []string
	for _, name := range sorted(s.Upstreams) {
		if s.Upstreams[name].Type == remit.KindMCP && reaches(t.Grant, name) {
			out = append(out, name)
		}
	}
	return out
}

// reaches tells whether a grant names anything of a server of tools.
func reaches(grant []remit.Scope, server string) bool {
	return slices.ContainsFunc(grant, func(g remit.Scope) bool {
		return slices.ContainsFunc(g.Actions, func(a remit.Action) bool {
			info, _ := remit.Lookup(a)
			return info.Stage == remit.StageTool
		}) && slices.ContainsFunc(g.Resources, func(p remit.Pattern) bool { return strings.HasPrefix(string(p), "tool:"+server+"/") })
	})
}

// May tells why the grant of a task does not cover a step at all; nil: it does. It is for lists of what there is, and
// decides nothing: a call is judged by all that is in it.
func (s *State) May(task remit.ID, now int64, st remit.Step) *remit.Error {
	t := s.Tasks[task]
	if t == nil || !s.TaskLive(task, now) {
		return remit.Errorf(remit.NotLive, "task %s has ended, or its agent or a person behind it has", task)
	}
	d := &verdict{v: remit.Allow}
	l := s.lookOne(t, remit.Request{}, remit.Step{Action: st.Action, Resource: st.Resource}, nil, nil)
	s.judgeStep(d, remit.Request{Preview: true}, t, l)
	if d.v != remit.Deny {
		return nil
	}
	return remit.Errorf(d.code, "%s", strings.Join(d.sentences, "; "))
}

// checkTool is the shape of what a gateway says of a call: it belongs to steps of stage tool, and they bind it.
func checkTool(d *verdict, r remit.Request) {
	bad := func(format string, args ...any) {
		d.malformed = true
		d.deny(remit.BadRequest, "R1", format, args...)
	}
	var calls []remit.Step
	for _, st := range r.Steps {
		if st.Resource.Type() == "tool" {
			calls = append(calls, st)
		}
	}
	c := r.Tool
	switch {
	case len(calls) == 0 && c == nil, c == nil && r.Preview:
		return
	case len(calls) == 0 || c == nil:
		bad("a step on a tool says which call it is, and nothing else does")
		return
	}
	if !plain(c.Server, remit.MaxName) || !plain(c.Name, remit.MaxName) || c.Method != "" && !plain(c.Method, maxMethod) || c.Host != "" && !plain(c.Host, maxLabel) ||
		len(c.Why) > maxWhy || slices.ContainsFunc(c.Why, func(w string) bool { return !remit.Label(w) }) {
		bad("a call names its server and its tool, and its method in at most %d bytes, its host in at most %d; why has at most %d labels", maxMethod, maxLabel, maxWhy)
	}
	if len(c.Arguments) > remit.MaxArguments || len(c.Arguments) > 0 && (c.Truncated || !utf8.Valid(c.Arguments) || !json.Valid(c.Arguments)) {
		bad("the arguments of a call are JSON of at most %d bytes, or left out whole", remit.MaxArguments)
		return
	}
	own := remit.Resource("tool:" + c.Server + "/" + c.Name)
	if !slices.ContainsFunc(calls, func(st remit.Step) bool { return st.Resource == own }) ||
		slices.ContainsFunc(calls, func(st remit.Step) bool { return remit.ToolServer(st.Resource.Name()) != c.Server }) ||
		c.Server != remit.LocalTools && len(calls) != 1 {
		bad("the step of a call is on tool:SERVER/NAME of its server and its name; only what runs within the agent has more of them")
	}
	digest := remit.ToolDigest(c.Method, c.Arguments)
	if slices.ContainsFunc(calls, func(st remit.Step) bool { return st.Args.IsZero() || !c.Truncated && st.Args != digest }) {
		bad("the step of a call binds its method and its arguments")
	}
}

// checkStored denies a call that has to wait and is too large to be stored: after the votes there would be nothing to
// carry out. A request with a pack, or for a tool within the agent, is stored in other ways.
func checkStored(d *verdict, r remit.Request) {
	if r.Tool != nil && r.Tool.Server != remit.LocalTools && len(r.Order) == 0 {
		d.deny(remit.TooLarge, "R6", "a person has to decide on this call, and it is too large to be stored until then; make it smaller")
	}
}

// judgeTool holds a gateway to what is declared of a tool: the action, and what the call does besides; and asks people
// where its server says something else of it than when it was admitted.
func (s *State) judgeTool(d *verdict, r remit.Request, l looked) {
	st := l.facts.Step
	if st.Resource.Type() != "tool" || local(st.Resource) {
		return
	}
	wrong := func(format string, args ...any) { d.deny(remit.ToolMisjudged, "R1", format, args...) }
	if itself(st.Resource) {
		if st.Action != "tool.list" {
			wrong("%s on %s: what a server has is listed, and nothing else is done to it", st.Action, st.Resource)
		}
		return
	}
	t := s.ToolOf(st.Resource)
	if t == nil {
		t = &Tool{}
	}
	// The gateway may be stricter than what is declared: it has seen the call.
	if act := remit.ToolAction(t.Impact); st.Action != act && st.Action != "tool.call" && !(st.Action == "tool.write" && act == "tool.read") {
		wrong("%s on %s, which is %s by what is declared of it; if that has just changed, ask again", st.Action, st.Resource, act)
		return
	}
	if r.Preview || r.Tool == nil {
		return
	}
	steps := t.Steps
	if strings.HasPrefix(r.Tool.Name, "-/") {
		steps = nil // it has no arguments of which they could be made
	}
	if why := besides(steps, r.Steps, st.Action); why != "" {
		wrong("%s: %s", st.Resource, why)
	}
	if pinned := !strings.HasSuffix(t.Name, "*") && !t.Pin.IsZero(); pinned && r.Tool.Pin != t.Pin {
		d.hold(remit.ToolDrift, "pin", s.approversOf(st.Resource), "what server %s says of %s is not what it said when the tool was admitted; a person looks at the difference, and declares the new pin if it is right",
			t.Server(), st.Resource)
	}
}

// besides tells what is wrong with the further steps of a call: they are those that are declared, in that order; only one
// with a condition may be missing. Where all have conditions and none is met, nobody has said what the call does, so it is
// privileged.
func besides(declared []remit.ToolRule, steps []remit.Step, action remit.Action) string {
	asked := slices.DeleteFunc(slices.Clone(steps), func(st remit.Step) bool { return st.Resource.Type() == "tool" })
	if !sequence(declared, asked) {
		var all []string
		for _, st := range declared {
			all = append(all, fmt.Sprintf("%s on %s", st.Action, st.Resource))
		}
		return fmt.Sprintf("what the gateway says that it does besides is not what is declared of it [%s]", strings.Join(all, ", "))
	}
	if len(asked) == 0 && len(declared) > 0 && action != "tool.call" {
		return "no step that is declared of it is of this call, so nobody has said what it does: that is tool.call"
	}
	return ""
}

func sequence(declared []remit.ToolRule, asked []remit.Step) bool {
	if len(declared) == 0 {
		return len(asked) == 0
	}
	first := declared[0]
	if len(asked) > 0 && first.Action == asked[0].Action && first.Fits(asked[0].Resource) && sequence(declared[1:], asked[1:]) {
		return true
	}
	return len(first.When) > 0 && sequence(declared[1:], asked)
}

// incoming are the labels of what comes in with the answers to steps, sorted: of a tool what is declared, and the words of
// issues and reviews, which anybody may have written.
func (s *State) incoming(steps []remit.Step) []string {
	var out []string
	for _, st := range steps {
		switch st.Action {
		case "issue.read":
			out = append(out, "issue-text")
		case "review.read":
			out = append(out, "review-text")
		}
		if t := s.ToolOf(st.Resource); t != nil {
			out = append(out, t.Taints...)
		}
	}
	return union(nil, out)
}

// taint is what redeeming a permit adds to the labels of its task. It is recorded before anything is sent, so no answer
// comes to an agent whose task does not have them.
func (s *State) taint(p *Permit) []string {
	if s.Rules < 2 {
		return nil
	}
	return slices.DeleteFunc(s.incoming(p.Steps), func(l string) bool { return slices.Contains(s.Tasks[p.Task].Taints, l) })
}

// applyTaints puts labels on a task and those above it: they read what it found.
func (s *State) applyTaints(task remit.ID, labels []string) {
	for t := s.Tasks[task]; t != nil && len(labels) > 0; t = s.Tasks[t.Parent] {
		t.Taints = union(t.Taints, labels)
	}
}

// decided counts a decision, by its verdict.
func (u *Usage) decided(e *remit.Decided) {
	switch e.Verdict {
	case remit.Deny:
		u.Denied++
	case remit.Hold:
		u.Held++
	}
	if slices.ContainsFunc(e.Steps, func(f remit.StepFacts) bool { return f.Step.Resource.Type() == "tool" }) {
		u.Calls++
	}
}

// came counts an outcome.
func (u *Usage) came(e *remit.Recorded) {
	if e.Outcome == remit.Done {
		u.Done++
		return
	}
	u.Failed++
	u.LastFailure = cmp.Or(e.Code, remit.Code(e.Outcome))
}

// history is what a policy sees of what a task has done. The counts are given once the task has called a tool: they change
// with each of its requests, and who makes many at once would be judged twice.
func (s *State) history(t *Task) HistoryFacts {
	if s.Rules < 2 {
		return HistoryFacts{}
	}
	h := HistoryFacts{Taints: t.Taints}
	if u := t.Used; u.Calls > 0 {
		h.Decisions, h.Denied, h.Held, h.Done, h.Failed, h.Calls, h.Bytes, h.LastFailure = u.Decisions, u.Denied, u.Held, u.Done, u.Failed, u.Calls, u.Bytes, u.LastFailure
	}
	return h
}
