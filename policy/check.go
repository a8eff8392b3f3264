package policy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/remit-dev/remit"
)

// TestResult is one Rego test.
type TestResult struct {
	Name   string // remit.source.push_test.test_force_is_denied
	File   string
	Line   int
	Passed bool
	Why    string // it did not pass
}

// Report is what the tests of a bundle gave, sorted by name.
type Report struct{ Results []TestResult }

// Failed is the tests that did not pass. A test that is skipped (todo_test_…) did not pass.
func (r Report) Failed() []TestResult {
	var failed []TestResult
	for _, t := range r.Results {
		if !t.Passed {
			failed = append(failed, t)
		}
	}
	return failed
}

const (
	testLimit    = 5 * time.Second // of one Rego test
	maxUnindexed = 10              // of one package: about a microsecond each
)

// Test runs the rules test_… of files, each with the functions that a policy has and with failures of functions counted
// as failures. Its error is about files that do not compile; failed tests are in the report.
func Test(ctx context.Context, files []remit.PolicyFile) (Report, error) {
	var report Report
	if _, err := Compile(ctx, files); err != nil {
		return report, err
	}
	sorted, err := arrange(files)
	if err != nil {
		return report, err
	}
	modules, err := parse(sorted)
	if err != nil {
		return report, err
	}
	runner := tester.NewRunner().SetCompiler(newCompiler("internal.test_case")).SetModules(modules).
		RaiseBuiltinErrors(true).CapturePrintOutput(false).SetTimeout(testLimit)
	results, err := runner.RunTests(ctx, nil)
	if err != nil {
		return report, problemsOf("", err).err()
	}
	for r := range results {
		t := TestResult{Name: strings.TrimPrefix(r.Package, "data.") + "." + r.Name, Passed: r.Pass()}
		if r.Location != nil {
			t.File, t.Line = r.Location.File, r.Location.Row
		}
		switch {
		case r.Error != nil:
			t.Why = r.Error.Error()
		case r.Skip:
			t.Why = "it is skipped"
		case !t.Passed:
			t.Why = "it is not true"
		}
		report.Results = append(report.Results, t)
	}
	if err := ctx.Err(); err != nil {
		return report, fmt.Errorf("running the tests of the policy: %w", err)
	}
	slices.SortFunc(report.Results, func(a, b TestResult) int { return strings.Compare(a.Name, b.Name) })
	return report, nil
}

// Check is Compile, and more that a person who writes policy wants to know. Errors: a member of deny, hold or observe
// that is written as an object lacks a constant rule or a text, has votes outside of hold, lacks the verdict of an
// observe, or has other members; one of the three is not a set. Warnings: the rules that OPA cannot index, which are evaluated for every request of their action, in a package that
// has more than maxUnindexed of them; below that they cost less than what surrounds them.
func Check(ctx context.Context, files []remit.PolicyFile) (warnings []Problem, err error) {
	if _, err := Compile(ctx, files); err != nil {
		return nil, err
	}
	sorted, err := arrange(files)
	if err != nil {
		return nil, err
	}
	modules, err := parse(sorted)
	if err != nil {
		return nil, err
	}
	var problems Problems
	for _, m := range ordered(modules) {
		if _, kind := placeOf(m.Package); kind != judges {
			continue
		}
		for _, rule := range m.Rules {
			if name := ruleName(rule); slices.Contains(sets, name) {
				problems = append(problems, checkHead(rule, name)...)
			}
		}
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	compiler := newCompiler()
	if err := compile(compiler, modules); err != nil {
		return nil, err
	}
	slow := map[string][]Problem{}
	for _, m := range compiler.Modules { // its own copies: the index knows them by address
		if _, kind := placeOf(m.Package); kind != judges {
			continue
		}
		pkg := m.Package.String()
		for _, rule := range m.Rules {
			if name := ruleName(rule); slices.Contains(sets, name) && !indexed(compiler, rule) {
				slow[pkg] = append(slow[pkg], problemAt(rule.Location, "%s has many rules that OPA cannot index, and this is one, evaluated each time; "+
					"begin its body with a comparison of a member of input with a constant, for instance input.instance.confinement == \"none\"", pkg))
			}
		}
	}
	for _, list := range slow {
		if len(list) > maxUnindexed {
			warnings = append(warnings, list...)
		}
	}
	Problems(warnings).sort()
	return warnings, nil
}

// ruleName is the first name of the rule's head.
func ruleName(r *ast.Rule) string {
	if v, ok := r.Head.Ref()[0].Value.(ast.Var); ok {
		return string(v)
	}
	return ""
}

func checkHead(rule *ast.Rule, name string) Problems {
	if rule.Head.RuleKind() != ast.MultiValue || len(rule.Head.Ref()) != 1 {
		return Problems{problemAt(rule.Location, "%s is a set; write `%s contains {\"rule\": …, \"text\": …} if …`", name, name)}
	}
	obj, ok := rule.Head.Key.Value.(ast.Object)
	if !ok {
		return nil // computed: seen when it is judged
	}
	var problems Problems
	wrong := func(format string, args ...any) {
		problems = append(problems, problemAt(rule.Head.Key.Location, format, args...))
	}
	switch r := obj.Get(ast.StringTerm("rule")); {
	case r == nil:
		wrong("this member of %s has no rule; write \"rule\": \"short-name\"", name)
	default:
		if s, isString := r.Value.(ast.String); !isString || !ValidRule(string(s)) {
			wrong("rule is a constant of 1 to %d of a-z 0-9 . _ -, because it is written to the log", maxRuleName)
		}
	}
	if obj.Get(ast.StringTerm("text")) == nil {
		wrong("this member of %s has no text; write \"text\": \"what is wrong, and what would be right\"", name)
	}
	if name == "observe" {
		v := obj.Get(ast.StringTerm("verdict"))
		if v == nil {
			wrong("this member of observe has no verdict; write \"verdict\": \"deny\" or \"hold\", what it would be")
		} else if ast.IsConstant(v.Value) {
			s, _ := v.Value.(ast.String)
			if _, known := onTrial[s]; !known {
				wrong("verdict is \"deny\" or \"hold\", what it would be")
			}
		}
	}
	obj.Foreach(func(k, _ *ast.Term) {
		key, _ := k.Value.(ast.String)
		switch {
		case key == "votes" && name != "hold":
			wrong("a member of %s has no votes; only hold asks for them", name)
		case key == "verdict" && name != "observe":
			wrong("a member of %s has no verdict; only observe says what it would be", name)
		case key != "rule" && key != "text" && key != "votes" && key != "verdict":
			wrong("a member of %s has rule and text, a hold also votes, an observe also verdict, not %s", name, k)
		}
	})
	return problems
}

// indexed asks OPA itself: where every member of input has a value that no rule names, a rule that the index knows is
// not looked at.
func indexed(c *ast.Compiler, rule *ast.Rule) bool {
	index := c.RuleIndex(rule.Ref().GroundPrefix())
	if index == nil {
		return false
	}
	found, err := index.Lookup(elsewhere{})
	if err != nil {
		return false
	}
	for _, r := range found.Rules {
		if r == rule {
			return false
		}
	}
	return true
}

type elsewhere struct{}

func (elsewhere) Resolve(ast.Ref) (ast.Value, error) { return ast.String("\x00"), nil }
