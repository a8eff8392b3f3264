package policy

import (
	"cmp"
	"context"
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// Problem is one thing that is wrong with a bundle, and where.
type Problem struct {
	File     string // name of the module
	Line     int    // from 1; 0: the module as a whole
	Column   int
	Sentence string
}

func (p Problem) String() string {
	if p.Line == 0 {
		return p.File + ": " + p.Sentence
	}
	return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Column, p.Sentence)
}

// Problems are sorted by place.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

func (p Problems) sort() {
	slices.SortFunc(p, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			strings.Compare(a.Sentence, b.Sentence))
	})
}

func (p Problems) err() error {
	if len(p) == 0 {
		return nil
	}
	p.sort()
	return &remit.Error{Code: remit.BadRequest, Sentence: p.Error(), Err: p}
}

func problemAt(loc *ast.Location, format string, args ...any) Problem {
	p := Problem{Sentence: fmt.Sprintf(format, args...)}
	if loc != nil {
		p.File, p.Line, p.Column = loc.File, loc.Row, loc.Col
	}
	return p
}

// Bundle is a compiled policy. It is safe for concurrent use.
type Bundle struct {
	digest  remit.Digest
	queries map[remit.Action]rego.PreparedEvalQuery // by action; "" is remit.any
	limit   time.Duration                           // of one evaluation
	reads   reads
}

var _ authority.Policy = (*Bundle)(nil)

// limit of one evaluation: thousands of times what one should take, so that a machine under load does not deny by it, and
// little enough for a person who waits.
const limit = 2 * time.Second

// Digest names the bundle: SHA-256 of Encode of its files.
func (b *Bundle) Digest() remit.Digest { return b.digest }

// Compile makes files one bundle of Rego v1. A module lives in package remit.any (judges every step), in
// remit.STAGE.VERB for an action of the catalogue, in remit.lib or below it (helpers), or in one of these with _test at
// the end. An error is a *remit.Error around Problems.
func Compile(ctx context.Context, files []remit.PolicyFile) (*Bundle, error) {
	sorted, err := arrange(files)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	modules, err := parse(sorted)
	if err != nil {
		return nil, err
	}
	compiler := newCompiler()
	if err := compile(compiler, modules); err != nil {
		return nil, err
	}
	b := &Bundle{digest: remit.Hash(encode(sorted)), queries: map[remit.Action]rego.PreparedEvalQuery{}, limit: limit, reads: readsOf(compiler)}
	var problems Problems
	for _, m := range ordered(modules) {
		action, kind := placeOf(m.Package)
		if _, done := b.queries[action]; kind != judges || done {
			continue
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		query := queryFor(compiler, m.Package.Path)
		if query == "" {
			problems = append(problems, problemAt(m.Package.Location,
				"%s has none of deny, hold and observe, so it judges nothing; write `deny contains {\"rule\": …, \"text\": …} if …`", m.Package))
			continue
		}
		prepared, err := rego.New(rego.Compiler(compiler), rego.Query(query), rego.StrictBuiltinErrors(true),
			rego.GenerateJSON(func(t *ast.Term, _ *rego.EvalContext) (any, error) { return t.Value, nil })).PrepareForEval(ctx)
		if err != nil {
			return nil, fmt.Errorf("preparing %s: %w", m.Package, err)
		}
		b.queries[action] = prepared
	}
	if err := problems.err(); err != nil {
		return nil, err
	}
	return b, nil
}

// sets are the names by which a package speaks.
var sets = []string{"deny", "hold", "observe"}

// queryFor binds deny, hold and observe to arrays that are empty where the rule is undefined and have its value as their one
// member where it is not: so a wrong shape is seen as it is.
func queryFor(c *ast.Compiler, pkg ast.Ref) string {
	var parts []string
	for _, name := range sets {
		if ref := pkg.Append(ast.StringTerm(name)); len(c.GetRules(ref)) > 0 {
			parts = append(parts, fmt.Sprintf("%s := [x | x := %s]", name, ref))
		}
	}
	return strings.Join(parts, "; ")
}

func newCompiler(extra ...string) *ast.Compiler {
	schemas := ast.NewSchemaSet()
	schemas.Put(ast.SchemaRootRef, schemaOf(reflect.TypeFor[authority.Facts]()))
	return ast.NewCompiler().WithCapabilities(capabilities(extra...)).WithDefaultRegoVersion(ast.RegoV1).WithStrict(true).
		WithSchemas(schemas).WithEnablePrintStatements(true)
}

// schemaOf is the JSON Schema of t as encoding/json writes it, so that the compiler finds a misspelt member of input:
// at run time it would be undefined, and a rule that reads it silent.
func schemaOf(t reflect.Type) any {
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return map[string]any{"type": "string"}
	}
	switch t.Kind() {
	case reflect.Struct:
		members := map[string]any{}
		for i := range t.NumField() {
			name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
			members[name] = schemaOf(t.Field(i).Type)
		}
		return map[string]any{"type": "object", "properties": members, "additionalProperties": false}
	case reflect.Slice:
		return map[string]any{"type": "array", "items": schemaOf(t.Elem())}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Bool:
		return map[string]any{"type": "boolean"}
	default:
		return map[string]any{"type": "number"}
	}
}

func parse(sorted []remit.PolicyFile) (map[string]*ast.Module, error) {
	modules := make(map[string]*ast.Module, len(sorted))
	var problems Problems
	for _, f := range sorted {
		m, err := ast.ParseModuleWithOpts(f.Name, f.Text, ast.ParserOptions{RegoVersion: ast.RegoV1, Capabilities: capabilities()})
		switch {
		case err != nil:
			problems = append(problems, problemsOf(f.Name, err)...)
		default:
			if _, kind := placeOf(m.Package); kind == nowhere {
				problems = append(problems, problemAt(m.Package.Location, "%s judges nothing%s; write `package remit.any`, "+
					"`package remit.STAGE.VERB` with an action of the catalogue (package remit.source.push), `package remit.lib…` for helpers, "+
					"or one of these with _test at its end", m.Package, suggest(m.Package)))
			}
			modules[f.Name] = m
		}
	}
	return modules, problems.err()
}

func compile(c *ast.Compiler, modules map[string]*ast.Module) error {
	c.Compile(modules)
	if c.Failed() {
		return problemsOf("", c.Errors).err()
	}
	var problems Problems
	for _, m := range c.Modules { // in these the names of imports are resolved
		ast.WalkRefs(m, func(r ast.Ref) bool {
			if !r.HasPrefix(ast.DefaultRootRef) {
				return false
			}
			if len(c.GetRulesDynamicWithOpts(r.ConstantPrefix(), ast.RulesOptions{IncludeHiddenModules: true})) == 0 {
				problems = append(problems, problemAt(r[0].Location, "%s names nothing in this bundle, so what reads it would never be true; "+
					"write the name of a rule of the bundle", r))
			}
			return false
		})
	}
	return problems.err()
}

func problemsOf(file string, err error) Problems {
	var list ast.Errors
	var one *ast.Error
	switch {
	case errors.As(err, &list):
	case errors.As(err, &one):
		list = ast.Errors{one}
	default:
		return Problems{{File: file, Sentence: err.Error()}}
	}
	var problems Problems
	for _, e := range list {
		p := problemAt(e.Location, "%s", e.Message)
		p.File = cmp.Or(p.File, file)
		if e.Message == "empty module" {
			p.Sentence = "the module is empty; it begins with `package remit.STAGE.VERB`"
		}
		if name, ok := strings.CutPrefix(e.Message, "undefined function "); ok && refused(name) {
			p.Sentence = name + " is not for policies: a verdict is a function of the facts alone, so that it can be derived again; use what input says"
		}
		if e.Details != nil {
			p.Sentence += " (" + strings.Join(e.Details.Lines(), " ") + ")"
		}
		problems = append(problems, p)
	}
	return problems
}

type place int

const (
	nowhere place = iota
	judges
	helps
	tests
)

// placeOf tells what a package is for and, if it judges, which action: "" is every action.
func placeOf(p *ast.Package) (remit.Action, place) {
	path := segments(p)
	if len(path) < 2 || path[0] != "remit" {
		return "", nowhere
	}
	path = path[1:]
	last, isTest := strings.CutSuffix(path[len(path)-1], "_test")
	name := strings.Join(append(slices.Clone(path[:len(path)-1]), last), ".")
	_, known := remit.Lookup(remit.Action(name))
	switch {
	case path[0] == "lib" && !isTest:
		return "", helps
	case isTest && (known || name == "any" || name == "lib" || strings.HasPrefix(name, "lib.")):
		return "", tests
	case !isTest && name == "any":
		return "", judges
	case !isTest && known:
		return remit.Action(name), judges
	}
	return "", nowhere
}

// segments of the path of p, without data.
func segments(p *ast.Package) []string {
	var path []string
	for _, t := range p.Path[1:] {
		s, ok := t.Value.(ast.String)
		if !ok {
			return nil
		}
		path = append(path, string(s))
	}
	return path
}

// suggest names the actions of the catalogue that share the stage or the verb of p.
func suggest(p *ast.Package) string {
	path := segments(p)
	if len(path) < 2 {
		return ""
	}
	var near []string
	for _, c := range remit.Catalogue() {
		stage, verb, _ := strings.Cut(string(c.Action), ".")
		if path[1] == stage || len(path) > 2 && path[2] == verb {
			near = append(near, string(c.Action))
		}
	}
	if len(near) == 0 {
		return ""
	}
	return " (the catalogue has " + strings.Join(near, ", ") + ")"
}

func ordered(modules map[string]*ast.Module) []*ast.Module {
	names := make([]string, 0, len(modules))
	for name := range modules {
		names = append(names, name)
	}
	slices.Sort(names)
	list := make([]*ast.Module, len(names))
	for i, name := range names {
		list[i] = modules[name]
	}
	return list
}
