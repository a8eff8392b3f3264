package policy_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/policy"
)

func TestSuggest(t *testing.T) {
	files := policy.Builtin()
	until := time.Date(2027, 6, 1, 0, 0, 0, 0, time.UTC)
	push := remit.Step{Action: "source.push", Resource: "repo:forge/acme/shop"}
	repeat := func(n int) remit.Repeat {
		return remit.Repeat{Agent: "coder", Steps: []remit.Step{push}, Refs: []string{"refs/heads/remit/TASK/**", "refs/heads/next"}, Protected: []remit.Pattern{"docs/**"}, Approved: n, Requests: []remit.ID{"A-1", "A-2"}}
	}
	gate := func(rules []string, r ...remit.Repeat) []remit.GateView {
		return []remit.GateView{{Rules: rules, Action: "source.push", Resource: push.Resource, Routine: r}}
	}
	d := policy.Suggest(files, gate([]string{"many-commits", "submodule-moved"}, repeat(5), remit.Repeat{Agent: "rare", Steps: []remit.Step{push}, Approved: 4}), 5, until)
	if len(d.Files) != 2 || len(d.Edits) != 2 || len(d.Elsewhere) != 0 {
		t.Fatalf("%+v", d)
	}
	if e := d.Edits[0]; e.File != "source_push.rego" || e.Package != "remit.source.push" || e.Rule != "many-commits" || e.Line != "not data.remit.lib.routine.by_coder_source_push_1" {
		t.Fatalf("%+v", e)
	}
	// What is drafted compiles beside what is in force, changes none of its findings, and its tests pass.
	all := slices.Concat(files, d.Files)
	if warnings, err := policy.Check(t.Context(), all); err != nil || len(warnings) > 0 {
		t.Fatalf("%v %v\n%s", err, warnings, d.Files[0].Text)
	}
	report, err := policy.Test(t.Context(), all)
	if err != nil || len(report.Failed()) > 0 {
		t.Fatalf("%v %+v\n%s", err, report.Failed(), d.Files[0].Text)
	}
	if !slices.ContainsFunc(report.Results, func(r policy.TestResult) bool { return strings.Contains(r.Name, "by_coder_source_push_1_ends") }) {
		t.Fatalf("%+v", report.Results)
	}
	// With the line in the rule, the routine is not asked about any more, and everything else is.
	for i, f := range all {
		if f.Name == "source_push.rego" {
			all[i].Text = strings.Replace(f.Text, "step.commits > 200\n", "step.commits > 200\n\tnot data.remit.lib.routine.by_coder_source_push_1\n", 1)
		}
	}
	all = append(all, remit.PolicyFile{Name: "edited_test.rego", Text: `package remit.lib.edited_test

import data.remit.source.push

facts(agent, ref) := {
	"minute": 1, "profile": "team", "agent": {"name": agent}, "task": {"id": "T-7"}, "instance": {"confinement": "home"},
	"steps": [{"action": "source.push", "resource": "repo:forge/acme/shop", "op": "update", "commits": 201, "ref": ref, "default_branch": "refs/heads/main",
		"paths": null, "pinned": null, "protected": ["docs/**"], "outside_envelope": false}],
}

test_edited if {
	push.hold == set() with input as facts("coder", "refs/heads/remit/T-7/x")
	push.hold == set() with input as facts("coder", "refs/heads/next")
	count(push.hold) == 1 with input as facts("other", "refs/heads/next")
	count(push.hold) == 1 with input as facts("coder", "refs/heads/remit/T-8/x")
	count(push.hold) == 1 with input as object.union(facts("coder", "refs/heads/next"), {"minute": 99999999})
	step := object.union(facts("coder", "refs/heads/next").steps[0], {"protected": ["docs/**", ".github/**"]})
	count(push.hold) == 1 with input as object.union(facts("coder", "refs/heads/next"), {"steps": [step]})
}
`})
	if report, err := policy.Test(t.Context(), all); err != nil || len(report.Failed()) > 0 {
		t.Fatalf("%v %+v", err, report.Failed())
	}

	for name, gates := range map[string][]remit.GateView{
		"approved too seldom":     gate([]string{"many-commits"}, repeat(4)),
		"refused once":            gate([]string{"many-commits"}, remit.Repeat{Agent: "coder", Steps: []remit.Step{push}, Approved: 9, Denied: 1}),
		"a compiled rule":         gate([]string{"protected"}, repeat(9)),
		"a compiled rule as well": gate([]string{"many-commits", "protected"}, repeat(9)),
		"of another package":      gate([]string{"merge-only-forward"}, repeat(9)),
	} {
		d := policy.Suggest(files, gates, 5, until)
		if len(d.Files)+len(d.Edits) != 0 {
			t.Errorf("%s: %+v", name, d)
		}
		if compiled := strings.HasPrefix(name, "a compiled") || strings.HasPrefix(name, "of another"); compiled != (len(d.Elsewhere) == 1) {
			t.Errorf("%s: %v", name, d.Elsewhere)
		}
	}
}
