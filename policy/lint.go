package policy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/cover"
	"github.com/open-policy-agent/opa/v1/tester"

	"github.com/remit-dev/remit"
)

// Lint is one thing in a bundle that compiles and is not as it should be.
type Lint struct {
	Problem
	Code string // one of LintCodes
	Help string // what would be right
}

// LintCode says what a code of Lint means.
type LintCode struct{ Code, Meaning string }

// LintCodes are all codes, in the order in which they are documented.
func LintCodes() []LintCode {
	return []LintCode{
		{"never", "a rule that can never say anything"},
		{"unmeetable", "a hold that nobody can meet: the group is not declared, or has too few members"},
		{"broad", "a rule without a condition: it is about every request"},
		{"untested", "a rule that no test sees saying anything"},
		{"unindexed", "a rule that OPA cannot index, so that it is evaluated for each request"},
	}
}

// LintBundle looks for what a compiler lets pass. groups are how many members each declared group has, -1 for as many as a
// provider says; nil: not known, and votes are not looked at. Its error is about files that do not compile.
func LintBundle(ctx context.Context, files []remit.PolicyFile, groups map[string]int) ([]Lint, error) {
	if _, err := Check(ctx, files); err != nil {
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
	c := newCompiler()
	if err := compile(c, modules); err != nil {
		return nil, err
	}
	fired, err := firedBy(ctx, sorted)
	if err != nil {
		return nil, err
	}
	var out []Lint
	say := func(rule *ast.Rule, code, help, format string, args ...any) {
		out = append(out, Lint{problemAt(rule.Location, format, args...), code, help})
	}
	for _, m := range c.Modules {
		action, kind := placeOf(m.Package)
		if kind != judges {
			continue
		}
		for _, rule := range m.Rules {
			name := ruleName(rule)
			if !slices.Contains(sets, name) {
				continue
			}
			if why := never(rule, action); why != "" {
				say(rule, "never", "compare with a value that there is", "this %s never says anything: %s", name, why)
			} else if !fired[spot{rule.Location.File, rule.Location.Row}] {
				say(rule, "untested", "write a test in which it says something, in a package that ends in _test", "no test sees this %s saying anything", name)
			}
			if bare(rule) && name != "observe" {
				say(rule, "broad", "begin with a condition on input", "this %s has no condition, so it is about every request of %s", name, cmp.Or(string(action), "every action"))
			}
			if !indexed(c, rule) {
				say(rule, "unindexed", "begin its body with a comparison of a member of input with a constant, for instance input.instance.confinement == \"none\"",
					"OPA cannot index this %s; it is evaluated for each request of %s", name, cmp.Or(string(action), "every action"))
			}
		}
	}
	if groups != nil {
		for _, m := range ordered(modules) {
			if _, kind := placeOf(m.Package); kind != judges {
				continue
			}
			for _, rule := range m.Rules {
				if ruleName(rule) != "hold" {
					continue
				}
				for _, v := range constantVotes(rule) {
					switch n, declared := groups[v.Group]; {
					case !declared:
						say(rule, "unmeetable", "name a group that is declared", "group %s is not declared, so what this holds is denied", v.Group)
					case n >= 0 && n < v.N:
						say(rule, "unmeetable", "ask for fewer, or add members", "it asks %d of group %s, which has %d", v.N, v.Group, n)
					}
				}
			}
		}
	}
	slices.SortFunc(out, func(a, b Lint) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Code, b.Code), strings.Compare(a.Sentence, b.Sentence))
	})
	return out, nil
}

type spot struct {
	file string
	line int
}

// firedBy are the rules, by the places of their heads, that the tests of a bundle see saying something.
func firedBy(ctx context.Context, sorted []remit.PolicyFile) (map[spot]bool, error) {
	modules, err := parse(sorted)
	if err != nil {
		return nil, err
	}
	seen := cover.New()
	runner := tester.NewRunner().SetCompiler(newCompiler("internal.test_case")).SetModules(modules).
		RaiseBuiltinErrors(true).CapturePrintOutput(false).SetTimeout(testLimit).SetCoverageQueryTracer(seen)
	results, err := runner.RunTests(ctx, nil)
	if err != nil {
		return nil, problemsOf("", err).err()
	}
	for range results { // they are counted as they run
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("running the tests of the policy: %w", err)
	}
	out := map[spot]bool{}
	for file, r := range seen.Report(modules).Files {
		for _, covered := range r.Covered {
			for line := covered.Start.Row; line <= covered.End.Row; line++ {
				out[spot{file, line}] = true
			}
		}
	}
	return out, nil
}

func constantVotes(rule *ast.Rule) []remit.Need {
	obj, ok := headObject(rule)
	if !ok {
		return nil
	}
	votes := obj.Get(ast.StringTerm("votes"))
	if votes == nil {
		return nil
	}
	list, err := readVotes(votes.Value)
	if err != nil {
		return nil // computed, or refused when it is judged
	}
	return list
}

// bare tells whether a rule has no condition.
func bare(rule *ast.Rule) bool {
	for _, e := range rule.Body {
		if t, ok := e.Terms.(*ast.Term); ok && ast.Boolean(true).Equal(t.Value) && !e.Negated {
			continue
		}
		if e.IsAssignment() || e.IsEquality() {
			read := false
			ast.WalkRefs(e, func(ref ast.Ref) bool { read = read || ref.HasPrefix(ast.InputRootRef); return false })
			if !read {
				continue
			}
		}
		return false
	}
	return true
}

// values are what members of input can be, where there are few; below steps they are those of a step.
func values() map[string][]string {
	stages, functions := []string{}, []string{}
	for _, c := range remit.Catalogue() {
		if s := string(c.Stage); !slices.Contains(stages, s) {
			stages = append(stages, s)
		}
	}
	for _, f := range []remit.Function{remit.FuncPlan, remit.FuncCode, remit.FuncReview, remit.FuncBuild, remit.FuncRelease, remit.FuncDeploy, remit.FuncOperate} {
		functions = append(functions, string(f))
	}
	return map[string][]string{
		"profile":              {string(remit.Team), string(remit.Solo), string(remit.Demo)},
		"agent.function":       functions,
		"instance.confinement": {"none", "home", "uid", "sandbox", "host"},
		"review.verdict":       {"approve", "reject"},
		"steps.stage":          stages,
		"steps.zone":           {"", "S", "B", "P", "C"},
		"steps.impact":         {string(remit.Read), string(remit.Write), string(remit.Privileged)},
		"steps.op":             {"", string(remit.RefCreate), string(remit.RefUpdate), string(remit.RefForce), string(remit.RefDelete)},
		"steps.tier":           {"", "staging", "production"},
		"steps.secrets":        {"", "none", "exposed"},
	}
}

// never tells why the body of a compiled rule cannot be true: one of its conditions is false, or compares a member of input
// with what it never is.
func never(rule *ast.Rule, action remit.Action) string {
	known, step := values(), map[string]bool{} // variables that are a step
	ast.WalkExprs(rule, func(e *ast.Expr) bool {
		if !e.IsEquality() {
			return false
		}
		for i := range 2 {
			v, isVar := e.Operand(i).Value.(ast.Var)
			ref, isRef := e.Operand(1 - i).Value.(ast.Ref)
			if isVar && isRef && len(ref) == 3 && ref.HasPrefix(ast.MustParseRef("input.steps")) {
				step[string(v)] = true
			}
		}
		return false
	})
	for _, e := range rule.Body {
		if t, ok := e.Terms.(*ast.Term); ok && (!e.Negated && ast.Boolean(false).Equal(t.Value) || e.Negated && ast.Boolean(true).Equal(t.Value)) {
			return "a condition of it is false"
		}
		name := e.Operator().String()
		if e.Negated || !e.IsCall() || name != ast.Equality.Name && name != ast.Equal.Name || len(e.Operands()) != 2 {
			continue
		}
		for i := range 2 {
			ref, isRef := e.Operand(i).Value.(ast.Ref)
			s, isString := e.Operand(1 - i).Value.(ast.String)
			if !isRef || !isString {
				continue
			}
			member := memberOf(ref, step)
			if member == "steps.action" {
				if _, ok := remit.Lookup(remit.Action(s)); !ok {
					return fmt.Sprintf("the catalogue has no action %q", string(s))
				}
				if action != "" && string(s) != string(action) {
					return fmt.Sprintf("the package sees steps of %s only, never %q", action, string(s))
				}
			}
			if of, few := known[member]; few && !slices.Contains(of, string(s)) {
				return fmt.Sprintf("input.%s is never %q; it is one of %s", strings.Replace(member, "steps.", "steps[].", 1), string(s), strings.TrimPrefix(strings.Join(of, ", "), ", "))
			}
		}
	}
	return ""
}

// memberOf names the member of input that a reference reads: NAME.MEMBER, and for a step steps.MEMBER.
func memberOf(ref ast.Ref, step map[string]bool) string {
	var path []string
	rest := ref[1:]
	if v, ok := ref[0].Value.(ast.Var); ok && step[string(v)] {
		path = []string{"steps"}
	} else if !ref.HasPrefix(ast.InputRootRef) {
		return ""
	}
	for i, t := range rest {
		s, ok := t.Value.(ast.String)
		if !ok && i == 1 && path != nil && path[0] == "steps" {
			continue // which of them
		}
		if !ok {
			return ""
		}
		path = append(path, string(s))
	}
	return strings.Join(path, ".")
}
