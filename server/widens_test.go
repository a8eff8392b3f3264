package server

import (
	"testing"

	"github.com/remit-dev/remit"
)

// A module that is added can loosen: a helper that becomes true makes the `not` of a rule that was there false.
func TestAddedModulesThatLoosen(t *testing.T) {
	file := func(name, text string) remit.PolicyFile { return remit.PolicyFile{Name: name, Text: text} }
	push := file("push.rego", "# pushes\n\npackage remit.source.push\n\nimport data.remit.lib\n\ndeny contains x if not lib.small\n")
	lone := file("lone.rego", "package remit.source.merge\n\ndeny contains x if not ok\n")
	for _, r := range []struct {
		name   string
		old    []remit.PolicyFile
		added  string
		widens bool
	}{
		{"another action", []remit.PolicyFile{push, lone}, "package remit.build.trigger\ndeny contains x if true\n", false},
		{"beside tests, which read everything", []remit.PolicyFile{lone, file("t.rego", "package remit.source.merge_test\nimport data.remit.source.merge\n")}, "package remit.any\n", false},
		{"all actions", []remit.PolicyFile{push, lone}, "package remit.any\n", false},
		{"tests", []remit.PolicyFile{push, lone}, "package remit.source.push_test\n", false},
		{"helpers that nothing reads", []remit.PolicyFile{lone}, "package remit.lib.x\n", false},
		{"the same package", []remit.PolicyFile{lone}, "package remit.source.merge\nok if true\n", true},
		{"helpers", []remit.PolicyFile{push}, "package remit.lib\nsmall if true\n", true},
		{"helpers below", []remit.PolicyFile{push}, "package remit.lib.x\n", true},
		{"read across packages", []remit.PolicyFile{file("a.rego", "package remit.any\ndeny contains x if not data[\"remit\"].build.trigger.ok\n")}, "package remit.build.trigger\n", true},
		{"a package in other words", []remit.PolicyFile{lone}, "package remit.source[\"merge\"]\nok if true\nx := `\npackage remit.any\n`\n", true},
		{"more on the line", []remit.PolicyFile{lone}, "package remit.any ; x\n", true},
		{"the first bundle", nil, "package remit.any\n", false},
	} {
		got := policyWidens(r.old, append([]remit.PolicyFile{file("new.rego", r.added)}, r.old...))
		if (got != "") != r.widens {
			t.Errorf("%s: %q; want widens: %v", r.name, got, r.widens)
		}
	}
	if policyWidens([]remit.PolicyFile{lone}, nil) == "" || policyWidens([]remit.PolicyFile{lone}, []remit.PolicyFile{file("lone.rego", "x")}) == "" {
		t.Error("a module less, or another, widens")
	}
}
