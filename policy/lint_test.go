package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/policy"
)

const linted = `package remit.source.push

deny contains {"rule": "everything", "text": "no"}

deny contains {"rule": "op", "text": "no"} if {
	some step in input.steps
	step.op == "rebase"
}

deny contains {"rule": "elsewhere", "text": "no"} if {
	some step in input.steps
	step.action == "deploy.promote"
}

hold contains {"rule": "who", "text": "look", "votes": [{"group": "securty", "n": 1}]} if input.agent.function == "coder"

hold contains {"rule": "many", "text": "look", "votes": [{"group": "security", "n": 3}]} if {
	input.instance.confinement == "none"
	input.bytes > 10
}

deny contains {"rule": "good", "text": "no"} if {
	input.instance.confinement == "home"
	some step in input.steps
	step.op == "force"
}
`

const lintedTest = `package remit.source.push_test

import data.remit.source.push

test_good if push.deny != set() with input as {"instance": {"confinement": "home"}, "steps": [{"op": "force"}]}

test_many if push.hold == set() with input as {"instance": {"confinement": "none"}, "bytes": 1, "steps": []}
`

func TestLintNamesWhatIsNotAsItShouldBe(t *testing.T) {
	files := []remit.PolicyFile{{Name: "a.rego", Text: linted}, {Name: "a_test.rego", Text: lintedTest}}
	found, err := policy.LintBundle(t.Context(), files, map[string]int{"security": 2, "ops": -1})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range found {
		got = append(got, fmt.Sprintf("%d %s", l.Line, l.Code))
		if l.File != "a.rego" || l.Help == "" || !slices.ContainsFunc(policy.LintCodes(), func(c policy.LintCode) bool { return c.Code == l.Code }) {
			t.Errorf("%+v", l)
		}
	}
	want := []string{"3 broad", "3 unindexed", "5 never", "5 unindexed", "10 never", "10 unindexed", "15 never", "15 unmeetable", "17 unmeetable", "17 untested"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	for _, l := range found {
		t.Logf("%s: %s; %s", l.Code, l.Problem, l.Help)
	}
	if found, err := policy.LintBundle(t.Context(), policy.Builtin(), nil); err != nil || slices.ContainsFunc(found, func(l policy.Lint) bool { return l.Code != "unindexed" && l.Code != "untested" }) {
		t.Errorf("%+v %v", found, err)
	}
	if _, err := policy.LintBundle(t.Context(), module("a.rego", "package remit.any\n\ndeny"), nil); err == nil {
		t.Error("what does not compile is linted")
	}
}

func FuzzLint(f *testing.F) {
	f.Add(linted)
	f.Add(before)
	f.Add("package remit.any\n\ndeny contains {\"rule\": \"a\", \"text\": \"t\"} if input")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 4096 || strings.Contains(text, "numbers.range") {
			t.Skip()
		}
		files := module("a.rego", text)
		found, err := policy.LintBundle(t.Context(), files, map[string]int{})
		if err == nil {
			for _, l := range found {
				if l.Line < 1 || l.Sentence == "" || l.Help == "" {
					t.Fatalf("%+v", l)
				}
			}
		}
		if why := policy.Widens(files, files); why != "" && err == nil {
			t.Fatalf("a bundle widens itself: %s", why)
		}
	})
}
