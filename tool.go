package remit

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Limits of what is declared of a tool.
const (
	MaxToolSteps = 4
	MaxTaints    = 4 // that one tool brings in
	MaxLabel     = 32
	maxWhen      = 4
	maxValue     = 128 // bytes of an argument that a step's When names
	maxProbe     = 16  // arguments of a probe
)

// ToolDeclared is what is declared of a tool. How a probe asks stands outside the leaf, as Spec.
type ToolDeclared struct {
	Name      string     `cbor:"1,keyasint"`
	Zone      Zone       `cbor:"2,keyasint,omitempty"`
	Impact    Impact     `cbor:"3,keyasint,omitempty"`
	Steps     []ToolRule `cbor:"4,keyasint,omitempty"`
	Pin       Digest     `cbor:"5,keyasint,omitzero"`
	Recovery  Recovery   `cbor:"6,keyasint,omitempty"`
	Taints    []string   `cbor:"7,keyasint,omitempty"`
	Approvers []Need     `cbor:"8,keyasint,omitempty"`
	By        ID         `cbor:"9,keyasint,omitempty"`
	Spec      Digest     `cbor:"10,keyasint,omitzero"` // commitment of its probe
}

// ToolRule is a ToolStep as it stands in the log.
type ToolRule struct {
	Action   Action     `cbor:"1,keyasint"`
	Resource string     `cbor:"2,keyasint"`
	When     []ToolWhen `cbor:"3,keyasint,omitempty"` // sorted
}

// ToolWhen is an argument that has this very value.
type ToolWhen struct {
	Argument string `cbor:"1,keyasint"`
	Value    string `cbor:"2,keyasint"`
}

// Step is r as it is declared.
func (r ToolRule) Step() ToolStep {
	st := ToolStep{Action: r.Action, Resource: r.Resource}
	for _, w := range r.When {
		if st.When == nil {
			st.When = map[string]string{}
		}
		st.When[w.Argument] = w.Value
	}
	return st
}

func (st ToolStep) rule() ToolRule {
	r := ToolRule{Action: st.Action, Resource: st.Resource}
	for _, name := range slices.Sorted(maps.Keys(st.When)) {
		r.When = append(r.When, ToolWhen{name, st.When[name]})
	}
	return r
}

func (*ToolDeclared) Kind() string { return "tool.declared" }

// Server is the first segment of a tool's name: github of github/create_issue.
func (t ToolDeclared) Server() string { return ToolServer(t.Name) }

// ToolServer is the first segment of a tool's name, or of a pattern over such names.
func ToolServer(name string) string {
	server, _, _ := strings.Cut(name, "/")
	return server
}

// Declared is t as it stands in the log, without the commitment of its probe.
func (t Tool) Declared() (ToolDeclared, error) {
	d := ToolDeclared{Name: t.Name, Zone: Zone(t.Zone), Pin: t.Pin, Recovery: t.Recovery, Taints: t.Taints, Approvers: t.Approvers}
	for _, st := range t.Steps {
		d.Steps = append(d.Steps, st.rule())
	}
	if t.Zone == "" && d.Server() != LocalTools {
		d.Zone = ZoneProduction
	}
	if t.Impact == "" {
		return d, nil
	}
	return d, d.Impact.UnmarshalText([]byte(t.Impact))
}

// Tool is d as it is declared, without its probe.
func (d ToolDeclared) Tool() Tool {
	t := Tool{Name: d.Name, Zone: string(d.Zone), Pin: d.Pin, Recovery: d.Recovery, Taints: slices.Clone(d.Taints), Approvers: slices.Clone(d.Approvers)}
	for _, r := range d.Steps {
		t.Steps = append(t.Steps, r.Step())
	}
	if d.Server() != LocalTools {
		t.Impact = d.Impact.String()
	}
	return t
}

// ToolAction is the action of a call of a tool that was declared with an impact.
func ToolAction(i Impact) Action {
	return [...]Action{Privileged: "tool.call", Write: "tool.write", Read: "tool.read"}[min(i, Read)]
}

// ToolDigest is what the step of a call has in Args. It binds the method and all arguments, also those that are too many
// for a policy to see. Both are JSON, and the digest does not hang on how that is spaced or which of its characters are
// escaped for HTML; zero where it is none.
func ToolDigest(method string, arguments json.RawMessage) Digest {
	b, err := json.Marshal(struct {
		Method    string
		Arguments json.RawMessage `json:",omitempty"`
	}{method, arguments})
	if err != nil {
		return Digest{}
	}
	return Hash([]byte("remit tool v1\n"), b)
}

// unshown are actions that are judged by more than a resource: what a call of a tool says does not show it.
var unshown = []Action{"source.push", "source.merge", "review.submit", "artifact.publish", "deploy.promote", "deploy.rollback", "task.request", "task.delegate"}

// CheckTools tells wrong of each member of tools that is none, by a path such as tools[2].zone. kind gives the kind of a
// declared upstream. Probes and approvers are looked at elsewhere.
func CheckTools(tools []ToolDeclared, kind func(upstream string) string, wrong func(path, format string, args ...any)) {
	first := map[string]int{} // of each server
	for i, t := range tools {
		at := fmt.Sprintf("tools[%d]", i)
		server, tool, _ := strings.Cut(t.Name, "/")
		if _, err := ParsePattern("tool:" + t.Name); err != nil {
			wrong(at+".name", "%v", err)
			continue
		}
		if tool == "" || tool == "-" {
			wrong(at+".name", "%q: write SERVER/TOOL, or a pattern such as SERVER/** or SERVER/-/resources/*", t.Name)
			continue
		}
		for j, label := range t.Taints {
			if !Label(label) || slices.Contains(t.Taints[:j], label) {
				wrong(fmt.Sprintf("%s.taints[%d]", at, j), "%q: a label is 1 to %d of a-z 0-9 -, and stands once", label, MaxLabel)
			}
		}
		if len(t.Taints) > MaxTaints {
			wrong(at+".taints", "a tool has at most %d labels", MaxTaints)
		}
		if server == LocalTools {
			if t.Zone != ZoneNone || !t.Pin.IsZero() || len(t.Steps) > 0 || t.Recovery != "" || t.Impact != Privileged {
				wrong(at, "what a tool within the agent's own process does is seen in each call of it: it has taints and approvers, and no zone, impact, steps, pin or recovery")
			}
			continue
		}
		if kind(server) != KindMCP {
			wrong(at+".name", "no upstream %q of kind %s is declared", server, KindMCP)
			continue
		}
		if t.Zone != ZoneSource && t.Zone != ZoneBuild && t.Zone != ZoneProduction {
			wrong(at+".zone", "a tool lies in zone S, B or P, not %q", t.Zone)
			continue
		}
		if j, seen := first[server]; !seen {
			first[server] = i
		} else if tools[j].Zone != t.Zone { // R4d
			wrong(at+".zone", "%s lies in zone %s and %s in zone %s; a server has one credential, and that serves one zone: write zone %s, or declare the server twice, with two credentials",
				t.Name, t.Zone, tools[j].Name, tools[j].Zone, tools[j].Zone)
		}
		t.check(at, wrong)
	}
}

// check looks at what a tool of a server is by itself.
func (t ToolDeclared) check(at string, wrong func(path, format string, args ...any)) {
	if t.Recovery != "" && t.Recovery != RecoverCAS && t.Recovery != RecoverProbe && t.Recovery != RecoverOnce {
		wrong(at+".recovery", "%q: write %s, %s or %s", t.Recovery, RecoverOnce, RecoverProbe, RecoverCAS)
	}
	if t.Impact > Read {
		wrong(at+".impact", "an impact is read, write or privileged")
	}
	pattern := strings.HasSuffix(t.Name, "*")
	_, tool, _ := strings.Cut(t.Name, "/")
	switch {
	case pattern && !t.Pin.IsZero():
		wrong(at+".pin", "a pattern covers many tools, and a pin is of one; declare that tool by its full name")
	case !pattern && t.Pin.IsZero() && !strings.HasPrefix(tool, "-/"):
		wrong(at+".pin", "missing; it is the digest of the definition that was looked at (`remit mcp import` writes it)")
	}
	if strings.HasPrefix(tool, "-/") && len(t.Steps) > 0 {
		wrong(at+".steps", "steps are made of a tool's arguments; what else a server has is judged by its impact")
	}
	if len(t.Steps) > MaxToolSteps {
		wrong(at+".steps", "a call has at most %d steps besides itself", MaxToolSteps)
	}
	for i, st := range t.Steps {
		if member, why := st.check(t.Zone); why != "" {
			wrong(fmt.Sprintf("%s.steps[%d]%s", at, i, member), "%s", why)
		}
	}
}

// Label tells whether s is a label of what an answer brings in.
func Label(s string) bool {
	return s != "" && len(s) <= MaxLabel && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// check is why a step is none that a tool of a zone may have, and which of its members is wrong.
func (r ToolRule) check(zone Zone) (member, why string) {
	info, known := Lookup(r.Action)
	switch {
	case !known:
		return ".action", fmt.Sprintf("the catalogue has no action %q", r.Action)
	case slices.Contains(unshown, r.Action):
		return ".action", fmt.Sprintf("%s is judged by what it changes, which a call does not show; leave the tool out, and let agents do that through the gateway that is for it", r.Action)
	case info.Stage == StageTool || info.Stage == StageSecret || info.Stage == StageControl || info.Stage == StageProbe:
		return ".action", fmt.Sprintf("%s is nothing that a tool does besides; issue.comment and source.read are", r.Action)
	}
	// Reading is no part of what a zone keeps apart (R4), and it is done with the one credential of the server.
	if z := info.Stage.Zone(); z != zone && z != ZoneNone && info.Impact != Read {
		return ".action", fmt.Sprintf("%s lies in zone %s, and the tool in zone %s; its credential serves one zone", r.Action, z, zone)
	}
	if len(r.When) > maxWhen {
		return ".when", fmt.Sprintf("at most %d arguments are looked at", maxWhen)
	}
	for _, w := range r.When {
		name, value := w.Argument, w.Value
		if slices.Contains(strings.Split(name, "."), "") || strings.ContainsAny(name, "{}\"\\") || len(name) > maxValue || len(value) > maxValue {
			return ".when", fmt.Sprintf("%q: write NAME or NAME.MEMBER of an argument, and its value, in at most %d bytes each", name, maxValue)
		}
	}
	segs, err := r.segments()
	if err != nil {
		return ".resource", err.Error()
	}
	if typ := Resource(r.Resource).Type(); typ != info.Resource {
		return ".resource", fmt.Sprintf("%s acts on a resource of type %s, not on %q", r.Action, info.Resource, typ)
	}
	spread := 0
	for _, seg := range segs {
		if strings.HasSuffix(seg, "...}") {
			spread++
		}
	}
	if spread > 1 {
		return ".resource", "one {NAME...} at most stands in a name; of two, nobody could tell where the first one ends"
	}
	return "", ""
}

// segments are those of the resource's template; an argument stands for a whole one.
func (r ToolRule) segments() ([]string, error) {
	typ, rest, _ := strings.Cut(r.Resource, ":")
	segs := strings.Split(rest, "/")
	plain := slices.Clone(segs)
	for i, seg := range segs {
		name, open := strings.CutPrefix(seg, "{")
		name, closed := strings.CutSuffix(name, "}")
		if !open || !closed {
			continue // braces elsewhere are no part of a name
		}
		name = strings.TrimSuffix(name, "...")
		if slices.Contains(strings.Split(name, "."), "") || strings.ContainsAny(name, "{}") {
			return nil, fmt.Errorf("%q: an argument is written {NAME}, {NAME.MEMBER} or {NAME...}", seg)
		}
		plain[i] = "x"
	}
	if _, err := ParseResource(typ + ":" + strings.Join(plain, "/")); err != nil {
		return nil, fmt.Errorf("%q is no name with arguments as whole segments, such as repo:forge/{owner}/{repo}", r.Resource)
	}
	return segs, nil
}

// Fits tells whether a resource is one that the template of r can become.
func (r ToolRule) Fits(res Resource) bool {
	segs, err := r.segments()
	if err != nil || res.Type() != Resource(r.Resource).Type() {
		return false
	}
	have := strings.Split(res.Name(), "/")
	spread := slices.IndexFunc(segs, func(seg string) bool { return strings.HasSuffix(seg, "...}") })
	if spread < 0 {
		return len(have) == len(segs) && fit(segs, have)
	}
	return len(have) >= len(segs) && fit(segs[:spread], have) && fit(segs[spread+1:], have[len(have)-len(segs)+spread+1:])
}

// fit tells whether names begin with what the segments of a template can become.
func fit(segs, names []string) bool {
	for i, seg := range segs {
		if !strings.HasPrefix(seg, "{") && seg != names[i] {
			return false
		}
	}
	return true
}

// CheckProbe tells wrong what is wrong with how the i-th of tools is asked about.
func CheckProbe(tools []Tool, i int, wrong func(path, format string, args ...any)) {
	t, at := tools[i], fmt.Sprintf("tools[%d].probe", i)
	switch {
	case t.Probe == nil && t.Recovery == RecoverProbe:
		wrong(at, "missing; recovery: probe says which call tells whether another one was carried out")
		return
	case t.Probe == nil:
		return
	case t.Recovery != RecoverProbe:
		wrong(at, "a probe is for recovery: probe only")
		return
	}
	name := ToolServer(t.Name) + "/" + t.Probe.Tool
	j := slices.IndexFunc(tools, func(o Tool) bool { return o.Name == name })
	switch {
	case j < 0:
		wrong(at+".tool", "no tool %q is declared", name)
	case tools[j].Impact != Read.String():
		wrong(at+".tool", "%q is not declared with impact: read; a probe only looks", name)
	case t.Probe.Contains == "":
		wrong(at+".contains", "missing; it is what the answer contains if the call was carried out")
	case len(t.Probe.Arguments) > maxProbe:
		wrong(at+".arguments", "a probe has at most %d arguments", maxProbe)
	}
}
