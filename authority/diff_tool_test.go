package authority_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// tools changes what is declared of the i-th tool of withTools.
func tools(i int, change func(*remit.ToolDeclared)) func(*authority.Set) {
	return func(s *authority.Set) {
		s.Tools = slices.Clone(s.Tools)
		change(&s.Tools[i])
	}
}

func TestDeclarationsOfToolsAreChecked(t *testing.T) {
	for _, r := range []struct {
		path, words string
		change      func(*authority.Set)
	}{
		{"tools[0].name", "no upstream \"gone\" of kind mcp", tools(0, func(t *remit.ToolDeclared) { t.Name = "gone/get" })},
		{"tools[0].name", "of kind mcp", tools(0, func(t *remit.ToolDeclared) { t.Name = "forge/get" })},
		{"tools[0].name", "write SERVER/TOOL", tools(0, func(t *remit.ToolDeclared) { t.Name = "github" })},
		{"tools[0].name", "write SERVER/TOOL", tools(0, func(t *remit.ToolDeclared) { t.Name = "github/-" })},
		{"tools[0].name", "write byte", tools(0, func(t *remit.ToolDeclared) { t.Name = "github/a b" })},
		{"tools[1].name", "declared twice", tools(1, func(t *remit.ToolDeclared) { t.Name = "github/get" })},
		{"tools[1].zone", "one credential", tools(1, func(t *remit.ToolDeclared) { t.Zone, t.Steps = "P", nil })},
		{"tools[0].zone", "S, B or P", tools(0, func(t *remit.ToolDeclared) { t.Zone = "C" })},
		{"tools[0].impact", "read, write or privileged", tools(0, func(t *remit.ToolDeclared) { t.Impact = 3 })},
		{"tools[0].steps", "at most 4", tools(0, func(t *remit.ToolDeclared) { t.Steps = slices.Repeat(t.Steps, 5) })},
		{"tools[0].steps[0].action", "no action", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.burn", ourRepo)} })},
		{"tools[0].steps[0].action", "a call does not show", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("source.merge", ourRepo)} })},
		{"tools[0].steps[0].action", "nothing that a tool does besides", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("tool.read", "tool:github/x")} })},
		{"tools[0].steps[0].action", "nothing that a tool does besides", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("secret.read", "secret:x")} })},
		{"tools[0].steps[0].action", "lies in zone B", tools(0, func(t *remit.ToolDeclared) {
			t.Steps = []remit.ToolRule{rule("build.trigger", "pipeline:payments/{x}")}
		})},
		{"tools[8].steps[0].action", "lies in zone S", tools(8, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("source.propose", ourRepo)} })},
		{"tools[0].steps[0].resource", "acts on a resource of type repo", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", "pipeline:a/{x}")} })},
		{"tools[0].steps[0].resource", "whole segments", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", "repo:forge/a-{x}")} })},
		{"tools[0].steps[0].resource", "whole segments", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", "repo:forge/{x")} })},
		{"tools[0].steps[0].resource", "whole segments", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", "{x}")} })},
		{"tools[0].steps[0].resource", "is written {NAME}", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", "repo:forge/{}")} })},
		{"tools[0].steps[0].resource", "is written {NAME}", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", "repo:forge/{a..b}")} })},
		{"tools[0].steps[0].resource", "one {NAME...} at most", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", "repo:{a...}/{b...}")} })},
		{"tools[0].steps[0].when", "write NAME", tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", ourRepo, ".x=1")} })},
		{"tools[0].steps[0].when", "at most 4 arguments", tools(0, func(t *remit.ToolDeclared) {
			t.Steps = []remit.ToolRule{rule("issue.read", ourRepo, "a=1", "b=1", "c=1", "d=1", "e=1")}
		})},
		{"tools[6].steps", "steps are made of a tool's arguments", tools(6, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", ourRepo)} })},
		{"tools[0].pin", "missing", tools(0, func(t *remit.ToolDeclared) { t.Pin = remit.Digest{} })},
		{"tools[6].pin", "a pin is of one", tools(6, func(t *remit.ToolDeclared) { t.Pin = pin("x") })},
		{"tools[0].recovery", "once, probe or cas", tools(0, func(t *remit.ToolDeclared) { t.Recovery = "twice" })},
		{"tools[0].probe", "which call tells", tools(0, func(t *remit.ToolDeclared) { t.Recovery = remit.RecoverProbe })},
		{"tools[0].probe", "which call tells", tools(0, func(t *remit.ToolDeclared) { t.Spec = pin("probe") })},
		{"tools[0].taints[0]", "a label is", tools(0, func(t *remit.ToolDeclared) { t.Taints = []string{"Issue text"} })},
		{"tools[0].taints[1]", "stands once", tools(0, func(t *remit.ToolDeclared) { t.Taints = []string{"a", "a"} })},
		{"tools[0].taints", "at most 4 labels", tools(0, func(t *remit.ToolDeclared) { t.Taints = []string{"a", "b", "c", "d", "e"} })},
		{"tools[0].taints[0]", "a label is", tools(0, func(t *remit.ToolDeclared) { t.Taints = []string{strings.Repeat("a", 33)} })},
		{"tools[0].approvers[0].group", "no group", tools(0, func(t *remit.ToolDeclared) { t.Approvers = []remit.Need{{Group: "nobody", N: 1}} })},
		{"tools[10]", "no zone, impact, steps", tools(10, func(t *remit.ToolDeclared) { t.Zone = "S" })},
		{"tools[10]", "no zone, impact, steps", tools(10, func(t *remit.ToolDeclared) { t.Impact = remit.Read })},
		{"tools[10]", "no zone, impact, steps", tools(10, func(t *remit.ToolDeclared) { t.Pin = pin("x") })},
		{"tools[10]", "no zone, impact, steps", tools(10, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("issue.read", ourRepo)} })},
		{"tools[10]", "no zone, impact, steps", tools(10, func(t *remit.ToolDeclared) { t.Recovery = remit.RecoverOnce })},
		{"agents[4].entitlements[0]", "here in zone P", func(s *authority.Set) { s.Tools = s.Tools[8:] }},
	} {
		w := newWorld(t, remit.Team, withTools)
		s := clone(w.set)
		r.change(&s)
		_, err := authority.Diff(w.s, &s)
		var e *remit.DeclarationError
		if !errors.As(err, &e) || e.Path != r.path || !strings.Contains(e.Sentence, r.words) {
			t.Errorf("%v; want %s: …%s", err, r.path, r.words)
		}
	}
	for name, fine := range map[string]func(*authority.Set){
		"a pin of a prompt": func(s *authority.Set) {
			s.Tools = append(s.Tools, remit.ToolDeclared{Name: "github/-/prompts/x", Zone: "S", Pin: pin("x")})
		},
		"every recovery":       tools(1, func(t *remit.ToolDeclared) { t.Recovery = remit.RecoverCAS }),
		"a probe":              tools(1, func(t *remit.ToolDeclared) { t.Recovery, t.Spec = remit.RecoverProbe, pin("probe") }),
		"reading another zone": tools(0, func(t *remit.ToolDeclared) { t.Steps = []remit.ToolRule{rule("deploy.read", "environment:{name...}")} }),
		"a whole path": tools(0, func(t *remit.ToolDeclared) {
			t.Steps = []remit.ToolRule{rule("source.read", "repo:{path...}", "a.b=1")}
		}),
		"production of its own": tools(9, func(t *remit.ToolDeclared) {
			t.Steps = []remit.ToolRule{rule("operate.change", "environment:{name...}")}
		}),
		"all that a server does": func(s *authority.Set) { s.Tools = append(s.Tools, remit.ToolDeclared{Name: "github/**", Zone: "S"}) },
	} {
		w := newWorld(t, remit.Team, withTools)
		s := clone(w.set)
		s.Tools = slices.Clone(s.Tools)
		fine(&s)
		if _, err := authority.Diff(w.s, &s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestWhatWidensATool(t *testing.T) {
	for _, r := range []struct {
		name   string
		before func(*authority.Set) // in force; nil: withTools
		change func(*authority.Set)
		widens string // part of the sentence; empty: it does not widen
	}{
		{"zone", nil, func(s *authority.Set) {
			s.Tools = slices.Clone(s.Tools)
			s.Tools[8].Zone, s.Tools[9].Zone = "S", "S"
			s.Agents[6].Entitlements = []remit.Scope{{Actions: []remit.Action{"tool.read"}, Resources: []remit.Pattern{"tool:kube/**"}}}
		}, "from zone P to S"},
		{"impact", nil, tools(1, func(t *remit.ToolDeclared) { t.Impact = remit.Read }), "counts as read, and no longer as write"},
		{"more impact", nil, tools(1, func(t *remit.ToolDeclared) { t.Impact = remit.Privileged }), ""},
		{"steps removed", nil, tools(1, func(t *remit.ToolDeclared) { t.Steps = nil }), "judged as something else"},
		{"steps changed", nil, tools(2, func(t *remit.ToolDeclared) {
			t.Steps = []remit.ToolRule{t.Steps[0], rule("issue.comment", ourRepo, "method=delete")}
		}), "judged as something else"},
		{"pin", nil, tools(1, func(t *remit.ToolDeclared) { t.Pin = pin("x") }), "another definition"},
		{"fewer approvers", nil, tools(5, func(t *remit.ToolDeclared) { t.Approvers = nil }), "fewer approvers"},
		{"more approvers", nil, tools(5, func(t *remit.ToolDeclared) { t.Approvers = []remit.Need{{Group: "release", N: 2}} }), ""},
		{"fewer labels", nil, tools(4, func(t *remit.ToolDeclared) { t.Taints = []string{"log"} }), "marked with less"},
		{"more labels", nil, tools(1, func(t *remit.ToolDeclared) { t.Taints = []string{"log"} }), ""},
		{"recovery", nil, tools(1, func(t *remit.ToolDeclared) { t.Recovery = remit.RecoverCAS }), "found out otherwise"},
		{"how the server is started", nil, func(s *authority.Set) { s.Upstreams[1].Spec = pin("x") }, "reached otherwise"},
		{"a new tool that an agent reaches", nil, func(s *authority.Set) {
			s.Tools = append(s.Tools, remit.ToolDeclared{Name: "github/new", Zone: "S", Pin: pin("github/new")})
		}, "already entitled"},
		{"a new tool that nobody reaches", nil, func(s *authority.Set) {
			s.Tools = append(s.Tools, remit.ToolDeclared{Name: "other/new", Zone: "S", Pin: pin("x")})
			s.Upstreams = append(s.Upstreams, remit.UpstreamDeclared{Name: "other", Type: remit.KindMCP})
		}, ""},
		{"a removed tool becomes undeclared", nil, func(s *authority.Set) { s.Tools = slices.Delete(slices.Clone(s.Tools), 5, 6) }, ""},
		{"a removed tool becomes what a pattern says", func(s *authority.Set) {
			s.Tools = append(s.Tools, remit.ToolDeclared{Name: "kube/**", Zone: "P", Impact: remit.Read})
		}, func(s *authority.Set) { s.Tools = slices.Delete(slices.Clone(s.Tools), 9, 10) }, "no longer as write"},
		{"the pattern is as strict", func(s *authority.Set) {
			s.Tools = append(s.Tools, remit.ToolDeclared{Name: "kube/-/**", Zone: "P"}, remit.ToolDeclared{Name: "kube/-/x/**", Zone: "P"}, remit.ToolDeclared{Name: "kube/-/x/*", Zone: "P", Impact: remit.Read})
		}, func(s *authority.Set) { s.Tools = slices.Delete(slices.Clone(s.Tools), 12, 13) }, ""},
		{"a new tool says less than the pattern did", func(s *authority.Set) {
			s.Tools = append(s.Tools, remit.ToolDeclared{Name: "other/**", Zone: "S"})
			s.Upstreams = append(s.Upstreams, remit.UpstreamDeclared{Name: "other", Type: remit.KindMCP})
		}, func(s *authority.Set) {
			s.Tools = append(slices.Clone(s.Tools), remit.ToolDeclared{Name: "other/x", Zone: "S", Impact: remit.Read, Pin: pin("x")})
		}, "counts as read"},
		{"it comes back", func(s *authority.Set) {
			s.Tools = append(s.Tools, remit.ToolDeclared{Name: "other/x", Zone: "S", Pin: pin("x")})
			s.Upstreams = append(s.Upstreams, remit.UpstreamDeclared{Name: "other", Type: remit.KindMCP})
		}, nil, "comes back"},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := newWorld(t, remit.Team, withTools)
			if r.before != nil {
				w.apply(r.before)
			}
			if r.change == nil { // it goes, and comes again
				with := w.set
				w.apply(func(s *authority.Set) { s.Tools = s.Tools[:len(s.Tools)-1] })
				r.change = func(s *authority.Set) { *s = with }
			}
			s := clone(w.set)
			r.change(&s)
			changes, err := authority.Diff(w.s, &s)
			if err != nil || len(changes) == 0 {
				t.Fatalf("%v %v", changes, err)
			}
			i := slices.IndexFunc(changes, func(c remit.Change) bool { return c.Widens != "" })
			if (i >= 0) != (r.widens != "") || i >= 0 && !strings.Contains(changes[i].Widens, r.widens) {
				t.Errorf("%+v; want %q", changes, r.widens)
			}
			w.apply(r.change)
			if again, err := authority.Diff(w.s, &w.set); err != nil || len(again) != 0 {
				t.Errorf("what is in force differs from what was applied: %+v %v", again, err)
			}
			w.replay()
		})
	}
}
