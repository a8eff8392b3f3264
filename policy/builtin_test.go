package policy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/format"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/policy"
)

func TestTheBuiltinPolicyPassesItsTests(t *testing.T) {
	report, err := policy.Test(t.Context(), policy.Builtin())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Failed() {
		t.Errorf("%s:%d: %s: %s", r.File, r.Line, r.Name, r.Why)
	}
	if len(report.Results) < 15 {
		t.Errorf("only %d tests ran", len(report.Results))
	}
	if _, err := policy.Check(t.Context(), policy.Builtin()); err != nil {
		t.Error(err)
	}
	for _, f := range policy.Builtin() {
		if pretty, err := format.Source(f.Name, []byte(f.Text)); err != nil || string(pretty) != f.Text {
			t.Errorf("%s is not formatted as `opa fmt` does; want\n%s", f.Name, pretty)
		}
	}
}

// A rule without a test is a hope. Each rule, and each condition of each rule, is taken away once; a test must notice.
func TestEveryRuleAndConditionOfTheBuiltinPolicyIsTested(t *testing.T) {
	if report, err := policy.Test(t.Context(), policy.Builtin()); err != nil || len(report.Failed()) > 0 {
		t.Fatalf("the tests fail without a mutant: %v %v", report.Failed(), err)
	}
	mutants := 0
	for i, f := range policy.Builtin() {
		if strings.HasSuffix(f.Name, "_test.rego") {
			continue
		}
		m := parseModule(t, f)
		for r := range m.Rules {
			mutants++
			t.Run(f.Name+" without rule at line "+m.Rules[r].Location.String(), func(t *testing.T) {
				killed(t, i, func(m *ast.Module) { m.Rules = slices.Delete(m.Rules, r, r+1) })
			})
			for e := range m.Rules[r].Body {
				expr := m.Rules[r].Body[e]
				if _, binds := expr.Terms.(*ast.SomeDecl); binds || expr.Generated || expr.String() == "true" {
					continue
				}
				mutants++
				t.Run(f.Name+" without condition "+expr.String(), func(t *testing.T) {
					killed(t, i, func(m *ast.Module) {
						m.Rules[r].Body[e] = ast.NewExpr(ast.BooleanTerm(true))
						m.Rules[r].Body[e].Index = e
					})
				})
			}
		}
	}
	if mutants < 20 {
		t.Fatalf("only %d mutants", mutants)
	}
}

func killed(t *testing.T, file int, mutate func(*ast.Module)) {
	t.Helper()
	files := policy.Builtin()
	m := parseModule(t, files[file])
	mutate(m)
	text, err := format.Ast(m)
	if err != nil {
		t.Fatal(err)
	}
	files[file].Text = string(text)
	report, err := policy.Test(t.Context(), files)
	if err == nil && len(report.Failed()) == 0 {
		t.Errorf("no test notices\n%s", text)
	}
}

func parseModule(t *testing.T, f remit.PolicyFile) *ast.Module {
	t.Helper()
	m, err := ast.ParseModuleWithOpts(f.Name, f.Text, ast.ParserOptions{RegoVersion: ast.RegoV1})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestReportsNameTheTestsThatFail(t *testing.T) {
	report, err := policy.Test(t.Context(), []remit.PolicyFile{
		{Name: "p.rego", Text: "package remit.any\ndeny contains {\"rule\": \"r\", \"text\": \"t\"} if input.org == \"a\""},
		{Name: "p_test.rego", Text: `package remit.any_test
import data.remit.any as policy
test_good if count(policy.deny) == 1 with input as {"org": "a"}
test_bad if count(policy.deny) == 0 with input as {"org": "a"}
test_broken if to_number("x") == 1
todo_test_later if true
`}})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]policy.TestResult{}
	for _, r := range report.Results {
		got[strings.TrimPrefix(r.Name, "remit.any_test.")] = r
	}
	if len(got) != 4 || !got["test_good"].Passed || got["test_bad"].Passed || got["test_bad"].Line != 4 || got["test_broken"].Passed || got["todo_test_later"].Passed {
		t.Fatalf("%+v", report)
	}
	if len(report.Failed()) != 3 {
		t.Fatalf("%+v", report.Failed())
	}
}

func TestCheck(t *testing.T) {
	const head = "package remit.source.push\n"
	for _, c := range []struct{ name, rule, want string }{
		{"no text", `deny contains {"rule": "r"} if true`, `p.rego:2:15: this member of deny has no text`},
		{"no rule", `hold contains {"text": "t"} if true`, `p.rego:2:15: this member of hold has no rule`},
		{"a computed rule", `deny contains {"rule": input.org, "text": "t"} if true`, "rule is a constant of 1 to 64"},
		{"votes in deny", `deny contains {"rule": "r", "text": "t", "votes": []} if true`, "a member of deny has no votes"},
		{"another member", `hold contains {"rule": "r", "text": "t", "vote": []} if true`, `a member of hold has rule and text, a hold also votes, an observe also verdict, not "vote"`},
		{"observe without a verdict", `observe contains {"rule": "r", "text": "t"} if true`, "p.rego:2:18: this member of observe has no verdict"},
		{"observe with another verdict", `observe contains {"rule": "r", "text": "t", "verdict": "allow"} if true`, `verdict is "deny" or "hold"`},
		{"observe with a verdict that is no word", `observe contains {"rule": "r", "text": "t", "verdict": 1} if true`, `verdict is "deny" or "hold"`},
		{"observe without a rule", `observe contains {"text": "t", "verdict": "deny"} if true`, "this member of observe has no rule"},
		{"votes in observe", `observe contains {"rule": "r", "text": "t", "verdict": "hold", "votes": []} if true`, "a member of observe has no votes"},
		{"a verdict in deny", `deny contains {"rule": "r", "text": "t", "verdict": "deny"} if true`, "a member of deny has no verdict"},
		{"observe is not a set", `observe := {"rule": "r", "text": "t", "verdict": "deny"}`, "observe is a set"},
		{"not a set", `deny := {"rule": "r", "text": "t"}`, "p.rego:2:1: deny is a set; write `deny contains"},
		{"a tree of sets", `deny.all contains {"rule": "r", "text": "t"} if true`, "deny is a set"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := policy.Check(t.Context(), module("p.rego", head+c.rule)); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestCheckWarnsOfManyRulesThatCannotBeIndexed(t *testing.T) {
	text := "package remit.source.push\n"
	for i := range 20 {
		text += fmt.Sprintf("deny contains {\"rule\": \"i%d\", \"text\": \"t\"} if input.agent.name == \"a%d\"\n", i, i)
	}
	for i := range 10 {
		text += fmt.Sprintf("deny contains {\"rule\": \"s%d\", \"text\": \"t\"} if contains(input.agent.name, \"a%d\")\n", i, i)
	}
	if warnings, err := policy.Check(t.Context(), module("p.rego", text)); err != nil || len(warnings) != 0 {
		t.Fatalf("ten: %v %v", warnings, err)
	}
	text += "hold contains {\"rule\": \"n\", \"text\": \"t\"} if not input.profile == \"demo\"\n"
	warnings, err := policy.Check(t.Context(), module("p.rego", text))
	if err != nil || len(warnings) != 11 || warnings[0].Line != 22 || warnings[10].Line != 32 {
		t.Fatalf("eleven: %v %v", warnings, err)
	}
}
