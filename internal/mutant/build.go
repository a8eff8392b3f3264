package mutant

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// One program holds all mutants: beside each function that a mutant changes stands a copy with the change, and the
// function begins by calling the copy of the mutant that is on. So the package is compiled once, not once for each.

// onName is the variable of the environment that says which mutant is on; 0 or nothing: none.
const onName = "REMIT_MUTANT_ON"

// edit replaces source[from:to].
type edit struct {
	from, to int
	text     string
}

// copied is where a mutant's copy of a function stands in the source that is compiled.
type copied struct{ mutant, first, last int }

// compile builds the tests with the mutants, keyed by their number; wrong says why some cannot be judged.
func compile(ctx context.Context, dir, here string, chosen map[int]Mutant) (bin string, wrong map[int]string, err error) {
	wrong = map[int]string{}
	bin = filepath.Join(dir, "mutants.test")
	for {
		replace, where := map[string]string{}, map[string][]copied{}
		tests, err := filepath.Glob(filepath.Join(here, "*_test.go"))
		if err != nil {
			return "", nil, err
		}
		for _, f := range tests {
			if !judges(filepath.Base(f)) {
				replace[f] = "" // as if it did not exist
			}
		}
		files := map[string]map[int]Mutant{}
		for i, m := range chosen {
			if wrong[i] == "" {
				if files[m.file()] == nil {
					files[m.file()] = map[int]Mutant{}
				}
				files[m.file()][i] = m
			}
		}
		for name, of := range files {
			path := filepath.Join(here, name)
			source, err := os.ReadFile(path)
			if err != nil {
				return "", nil, err
			}
			text, at, pkg, err := withMutants(source, of, wrong)
			if err != nil {
				return "", nil, fmt.Errorf("%s: %w", name, err)
			}
			on := fmt.Sprintf("package %s\n\nimport (\n\t\"os\"\n\t\"strconv\"\n)\n\nvar mutantOn, _ = strconv.Atoi(os.Getenv(%q))\n", pkg, onName)
			where[flat(path, here)] = at
			for file, body := range map[string]string{path: text, filepath.Join(filepath.Dir(path), "mutant_on.go"): on} {
				to := filepath.Join(dir, flat(file, here))
				if err := os.WriteFile(to, []byte(body), 0o600); err != nil {
					return "", nil, err
				}
				replace[file] = to
			}
		}
		overlay := filepath.Join(dir, "overlay.json")
		body, err := json.Marshal(map[string]map[string]string{"Replace": replace})
		if err != nil {
			return "", nil, err
		}
		if err := os.WriteFile(overlay, body, 0o600); err != nil {
			return "", nil, err
		}
		build := exec.CommandContext(ctx, "go", "test", "-c", "-vet=off", "-gcflags=-e", "-ldflags=-s -w", "-overlay", overlay, "-o", bin, ".")
		build.Dir = here
		out, err := build.CombinedOutput()
		if err == nil {
			return bin, wrong, nil
		}
		if !blame(string(out), where, wrong) {
			return "", nil, fmt.Errorf("%w\n%s", err, out)
		}
	}
}

// flat is the name that a source file has where it is changed.
func flat(path, here string) string {
	return strings.ReplaceAll(strings.TrimPrefix(path, here), string(filepath.Separator), "_")
}

var atLine = regexp.MustCompile(`(?m)^(?:\./)?(\S+\.go):(\d+):\d+: (.*)$`)

// blame says of which mutants the compiler complains; false: of something else.
func blame(out string, where map[string][]copied, wrong map[int]string) bool {
	found := false
	for _, hit := range atLine.FindAllStringSubmatch(out, -1) {
		line, err := strconv.Atoi(hit[2])
		if err != nil {
			return false
		}
		for _, c := range where[filepath.Base(hit[1])] {
			if c.first <= line && line <= c.last {
				wrong[c.mutant], found = "it does not compile: "+hit[3], true
			}
		}
	}
	return found
}

// withMutants is a file's source with the mutants in it, where their copies stand, and its package.
func withMutants(source []byte, of map[int]Mutant, wrong map[int]string) (string, []copied, string, error) {
	fset := gotoken.NewFileSet()
	file, err := parser.ParseFile(fset, "", source, parser.SkipObjectResolution)
	if err != nil {
		return "", nil, "", err
	}
	own := functions(file)
	calls := map[string]string{}
	copies := map[string]string{}
	var order []string
	for _, i := range slices.Sorted(maps.Keys(of)) {
		m := of[i]
		if n := bytes.Count(source, []byte(m.old())); n != 1 {
			wrong[i] = fmt.Sprintf("the text stands %d times; a mutant changes one place", n)
			continue
		}
		changed := bytes.Replace(source, []byte(m.old()), []byte(m.new()), 1)
		other, err := parser.ParseFile(gotoken.NewFileSet(), "", changed, parser.SkipObjectResolution)
		if err != nil {
			wrong[i] = "it does not compile: " + err.Error()
			continue
		}
		n := 0
		for name, f := range functions(other) {
			was := own[name]
			if was == nil || bytes.Equal(textOf(changed, f), textOf(source, was)) {
				continue
			}
			n++
			suffix := "Mutant" + strconv.Itoa(i)
			at := int(f.Name.End() - f.Pos())
			text := textOf(changed, f)
			key := name + suffix
			copies[key] = string(text[:at]) + suffix + string(text[at:])
			order = append(order, key)
			calls[name] += fmt.Sprintf("\tcase %d:\n%s", i, call(was, suffix))
		}
		if n == 0 {
			wrong[i] = "it changes no function, and only functions are judged"
		}
	}
	var edits []edit
	for name, cases := range calls {
		f := own[name]
		edits = append(edits, named(f)...)
		at := int(f.Body.Lbrace) // the offset after the brace: positions count from one
		edits = append(edits, edit{at, at, "\n\tswitch mutantOn {\n" + cases + "\t}\n"})
	}
	slices.SortFunc(edits, func(a, b edit) int { return b.from - a.from })
	text := string(source)
	for _, e := range edits {
		text = text[:e.from] + e.text + text[e.to:]
	}
	var at []copied
	line := strings.Count(text, "\n") + 1
	for _, key := range order {
		i, err := strconv.Atoi(key[strings.LastIndex(key, "Mutant")+len("Mutant"):])
		if err != nil {
			return "", nil, "", err
		}
		body := "\n" + copies[key] + "\n"
		at = append(at, copied{i, line, line + strings.Count(body, "\n")})
		line += strings.Count(body, "\n")
		text += body
	}
	return text, at, file.Name.Name, nil
}

// functions are a file's functions and methods by receiver and name.
func functions(file *ast.File) map[string]*ast.FuncDecl {
	out := map[string]*ast.FuncDecl{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			of := f.Recv.List[0].Type
			if star, ok := of.(*ast.StarExpr); ok {
				of = star.X
			}
			name = fmt.Sprint(of) + "." + name
		}
		out[name] = f
	}
	return out
}

func textOf(source []byte, f *ast.FuncDecl) []byte { return source[f.Pos()-1 : f.End()-1] }

// call is the statement that calls a copy of f with f's own arguments.
func call(f *ast.FuncDecl, suffix string) string {
	var args []string
	n := 0
	for _, field := range f.Type.Params.List {
		dots := ""
		if _, ok := field.Type.(*ast.Ellipsis); ok {
			dots = "..."
		}
		for j := range max(1, len(field.Names)) {
			name := fmt.Sprintf("arg%d", n)
			if j < len(field.Names) && field.Names[j].Name != "_" {
				name = field.Names[j].Name
			}
			args = append(args, name+dots)
			n++
		}
	}
	name := f.Name.Name + suffix
	if f.Recv != nil {
		of := "self"
		if names := f.Recv.List[0].Names; len(names) > 0 && names[0].Name != "_" {
			of = names[0].Name
		}
		name = of + "." + name
	}
	text := name + "(" + strings.Join(args, ", ") + ")"
	if f.Type.Results == nil {
		return "\t\t" + text + "\n\t\treturn\n"
	}
	return "\t\treturn " + text + "\n"
}

// named gives names to what f takes without one, so that it can be handed on.
func named(f *ast.FuncDecl) []edit {
	var out []edit
	give := func(fields []*ast.Field, name func(n int) string) {
		n := 0
		for _, field := range fields {
			if len(field.Names) == 0 {
				at := int(field.Type.Pos()) - 1
				out = append(out, edit{at, at, name(n) + " "})
				n++
			}
			for _, id := range field.Names {
				if id.Name == "_" {
					out = append(out, edit{int(id.Pos()) - 1, int(id.End()) - 1, name(n)})
				}
				n++
			}
		}
	}
	if f.Recv != nil {
		give(f.Recv.List, func(int) string { return "self" })
	}
	give(f.Type.Params.List, func(n int) string { return fmt.Sprintf("arg%d", n) })
	return out
}
