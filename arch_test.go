package remit_test

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/build/constraint"
	"go/parser"
	"go/token"
	"go/types"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

const module = "github.com/remit-dev/remit"

// unordered are the functions of authority that go through a map where the order cannot be seen: each only marks,
// counts, deletes, or fills another map.
var unordered = map[string]string{
	"sealsFor":  "fills a map",
	"inDebt":    "asks whether there is one",
	"escalated": "asks whether there is one",
}

// source is one parsed file.
type source struct {
	path, dir string
	test      bool
	text      []byte
	ast       *ast.File
}

type tree struct {
	fset  *token.FileSet
	files []source
}

// skipped are directories that hold no sources of ours.
func skipped(name string) bool {
	base := path.Base(name)
	return name != "." && (strings.HasPrefix(base, ".") && base != ".ci" || base == "testdata" || base == "bin" || base == "tools")
}

func parseTree(root fs.FS) (*tree, error) {
	tr := &tree{fset: token.NewFileSet()}
	err := fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(name):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go":
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(tr.fset, name, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		tr.files = append(tr.files, source{name, path.Dir(name), strings.HasSuffix(name, "_test.go"), text, f})
		return nil
	})
	return tr, err
}

func (tr *tree) at(p token.Pos) string {
	pos := tr.fset.Position(p)
	return fmt.Sprintf("%s:%d", pos.Filename, pos.Line)
}

// imported calls f with each import of each file, and the name that the file knows it by.
func (tr *tree) imported(f func(s source, p, name, at string)) {
	for _, s := range tr.files {
		for _, i := range s.ast.Imports {
			p := strings.Trim(i.Path.Value, "`\"")
			name := path.Base(p)
			if i.Name != nil {
				name = i.Name.Name
			}
			f(s, p, name, tr.at(i.Pos()))
		}
	}
}

// room is the room that a directory belongs to: gateway/git/internal/pack belongs to gateway/git.
func room(dir string) string {
	if i := strings.Index("/"+dir+"/", "/internal/"); i > 0 {
		return dir[:i-1]
	}
	return dir
}

func checkImports(tr *tree) (wrong []string) {
	for _, s := range tr.files {
		if _, known := rooms[room(s.dir)]; !known {
			wrong = append(wrong, s.path+": room "+room(s.dir)+" is not in the table of rooms")
		}
	}
	tr.imported(func(s source, p, name, at string) {
		if name == "." {
			wrong = append(wrong, at+": a dot import hides where names come from")
		}
		to, ours := strings.CutPrefix(p, module)
		if !ours {
			return
		}
		if to = strings.TrimPrefix(to, "/"); to == "" {
			to = "."
		}
		from := room(s.dir)
		switch {
		case room(to) == from && to != from: // an internal room of the same room
		case to == from && s.test: // an external test
		case slices.Contains(testRooms, to) && !s.test && !slices.Contains(testRooms, s.dir):
			wrong = append(wrong, at+": only tests import "+to)
		case room(to) != to:
			wrong = append(wrong, at+": "+to+" is internal to "+room(to))
		case s.test && to != "cmd/remit":
		case s.dir != from && to != ".":
			wrong = append(wrong, at+": an internal room imports the root and its neighbours only, not "+to)
		case s.dir != from, slices.Contains(rooms[from], to), slices.Contains(rooms[from], "*"):
		default:
			wrong = append(wrong, at+": "+from+" may not import "+to)
		}
	})
	return wrong
}

func checkLibraries(tr *tree) (wrong []string) {
	tr.imported(func(s source, p, _, at string) {
		first, _, _ := strings.Cut(p, "/")
		if s.dir == "." && !s.test && strings.Contains(first, ".") {
			wrong = append(wrong, at+": the root imports the standard library only, not "+p)
		}
		for library, by := range owned {
			if !s.test && (p == library || strings.HasPrefix(p, library+"/")) && !slices.Contains(by, room(s.dir)) {
				wrong = append(wrong, fmt.Sprintf("%s: %s is imported by %v only", at, library, by))
			}
		}
	})
	return wrong
}

// codeLines counts lines that are neither blank nor only a comment.
func codeLines(tr *tree, s source) int {
	comment := map[int]bool{}
	for _, g := range s.ast.Comments {
		for n := tr.fset.Position(g.Pos()).Line; n <= tr.fset.Position(g.End()).Line; n++ {
			comment[n] = true
		}
	}
	lines := 0
	for i, l := range bytes.Split(s.text, []byte("\n")) {
		l = bytes.TrimSpace(l)
		starts := bytes.HasPrefix(l, []byte("//")) || bytes.HasPrefix(l, []byte("/*"))
		if len(l) > 0 && !(comment[i+1] && starts) {
			lines++
		}
	}
	return lines
}

func checkSizes(tr *tree) (wrong []string) {
	packages := map[string]int{}
	for _, s := range tr.files {
		if n := bytes.Count(s.text, []byte("\n")); n > maxFile {
			wrong = append(wrong, fmt.Sprintf("%s has %d lines; a file has at most %d", s.path, n, maxFile))
		}
		if !s.test {
			packages[s.dir] += codeLines(tr, s)
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if i, ok := n.(*ast.InterfaceType); ok && i.Methods.NumFields() > maxMethods {
				wrong = append(wrong, fmt.Sprintf("%s: an interface of %d methods; at most %d", tr.at(i.Pos()), i.Methods.NumFields(), maxMethods))
			}
			return true
		})
	}
	for dir, n := range packages {
		most := maxPackage
		if l, ok := larger[dir]; ok {
			most = l
			if n <= maxPackage {
				wrong = append(wrong, dir+" is no longer larger than other packages; take it out of the list")
			}
		}
		if n > most {
			wrong = append(wrong, fmt.Sprintf("package %s has %d lines of code; at most %d", dir, n, most))
		}
	}
	return wrong
}

// pure are the packages that a pure function may use at all.
var pure = []string{"bytes", "cmp", "encoding/hex", "encoding/json", "errors", "fmt", "iter", "maps", "math", "math/bits",
	"reflect", "slices", "strconv", "strings", "time", "unicode", "unicode/utf8", module, module + "/sshsig",
	module + "/authority/internal/plan", module + "/internal/cadence", "github.com/robfig/cron/v3"}

// clocked are the names of package time that read a clock or the machine's time zone.
var clocked = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer", "Local", "LoadLocation"}

// checkPure holds that authority is a function of its arguments: no clock, randomness, I/O, goroutines or map order.
func checkPure(tr *tree) (wrong []string) {
	for _, dir := range []string{"authority", "authority/internal/plan", "internal/cadence"} {
		wrong = append(wrong, checkPureIn(tr, dir)...)
	}
	return wrong
}

func checkPureIn(tr *tree, dir string) (wrong []string) {
	var files []*ast.File
	tr.imported(func(s source, p, name, at string) {
		if s.dir == dir && !s.test && (!slices.Contains(pure, p) || name != path.Base(p)) {
			wrong = append(wrong, at+": "+dir+" may not import "+p+", nor under another name")
		}
	})
	for _, s := range tr.files {
		if s.dir == dir && !s.test {
			files = append(files, s.ast)
		}
	}
	info := looseTypes(tr.fset, files)
	for _, f := range files {
		for _, decl := range f.Decls {
			name := ""
			if fn, ok := decl.(*ast.FuncDecl); ok {
				name = fn.Name.Name
			}
			var args []ast.Expr // of slices.Sorted…
			ast.Inspect(decl, func(n ast.Node) bool {
				bad := ""
				switch n := n.(type) {
				case *ast.GoStmt:
					bad = "a goroutine"
				case *ast.SelectStmt:
					bad = "a select"
				case *ast.ChanType:
					bad = "a channel"
				case *ast.CallExpr:
					if p, f := qualified(n.Fun); p == "slices" && strings.HasPrefix(f, "Sorted") {
						args = append(args, n.Args...)
					} else if p == "maps" && (f == "Keys" || f == "Values" || f == "All") && !slices.Contains(args, ast.Expr(n)) {
						bad = "maps." + f + " that is not sorted at once"
					}
				case *ast.SelectorExpr:
					p, f := qualified(n)
					switch {
					case p == "time" && slices.Contains(clocked, f):
						bad = "time." + f
					case p == "reflect" && (f == "Select" || f == "MakeChan"), f == "MapRange", f == "MapKeys":
						bad = "reflection with an order or a channel"
					}
				case *ast.RangeStmt:
					t := info.TypeOf(n.X)
					if t == nil || unordered[name] != "" {
						break
					}
					if _, is := t.Underlying().(*types.Map); is {
						bad = "a range over a map in " + name
					}
				}
				if bad != "" {
					wrong = append(wrong, tr.at(n.Pos())+": "+bad+" in authority")
				}
				return true
			})
		}
	}
	return wrong
}

func qualified(e ast.Expr) (pkg, name string) {
	if s, ok := e.(*ast.SelectorExpr); ok {
		if x, ok := s.X.(*ast.Ident); ok {
			return x.Name, s.Sel.Name
		}
		return "", s.Sel.Name
	}
	return "", ""
}

// noImports gives empty packages: what the maps of a package are is said in the package itself.
type noImports struct{}

func (noImports) Import(p string) (*types.Package, error) {
	pkg := types.NewPackage(p, path.Base(p))
	pkg.MarkComplete()
	return pkg, nil
}

// looseTypes finds the types of expressions as far as the files tell by themselves.
func looseTypes(fset *token.FileSet, files []*ast.File) *types.Info {
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	cfg := types.Config{Importer: noImports{}, Error: func(error) {}}
	_, _ = cfg.Check("authority", fset, files, info) // it always fails: the imports are empty
	return info
}

// checkWriter holds that there is one writer: only the engine decides and applies.
func checkWriter(tr *tree) (wrong []string) {
	for _, s := range tr.files {
		if s.test || s.dir == "engine" || s.dir == "authority" || s.dir == "internal/world" {
			continue
		}
		name := "authority"
		for _, i := range s.ast.Imports {
			if i.Path.Value == `"`+module+`/authority"` && i.Name != nil {
				name = i.Name.Name
			}
		}
		ast.Inspect(s.ast, func(n ast.Node) bool {
			if e, ok := n.(*ast.SelectorExpr); ok {
				if p, f := qualified(e); p == name && (f == "Decide" || f == "Apply") {
					wrong = append(wrong, tr.at(n.Pos())+": only engine calls authority."+f)
				}
			}
			return true
		})
	}
	return wrong
}

var (
	dump   = regexp.MustCompile(`(^|/)(utils?|common|helpers?|misc|pkg|shared|lib)(/|$)`)
	unmade = regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X|HA` + `CK)\b`)
)

// checkHabits holds the small ones: no dumping grounds, no init, one package comment, nothing left for later.
func checkHabits(tr *tree) (wrong []string) {
	docs, packages := map[string][]string{}, map[string]bool{}
	for _, s := range tr.files {
		if dump.MatchString(s.dir) {
			wrong = append(wrong, s.path+": a folder is named for what is in it")
		}
		if !strings.HasSuffix(s.ast.Name.Name, "_test") {
			packages[s.dir] = true
		}
		if s.ast.Doc != nil && !onlyDirectives(s.ast.Doc) {
			docs[s.dir] = append(docs[s.dir], s.path)
		}
		for _, d := range s.ast.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "init" {
				wrong = append(wrong, tr.at(f.Pos())+": nothing happens before main; no init functions")
			}
		}
		for _, g := range s.ast.Comments {
			if m := unmade.FindString(g.Text()); m != "" {
				wrong = append(wrong, tr.at(g.Pos())+": "+m+"; do it, or write an issue")
			}
		}
	}
	for dir := range packages {
		if n := len(docs[dir]); n != 1 {
			wrong = append(wrong, fmt.Sprintf("package %s has %d package comments %v; one says what lives there", dir, n, docs[dir]))
		}
	}
	return wrong
}

func onlyDirectives(g *ast.CommentGroup) bool {
	for _, c := range g.List {
		if !constraint.IsGoBuild(c.Text) && !strings.HasPrefix(c.Text, "//go:") {
			return false
		}
	}
	return true
}

// private are places that exist on one machine or in one network only.
var private = regexp.MustCompile(`(^|[\s"'` + "`" + `(=:])(/root/|/home/[a-z]|/Users/[A-Za-z]|/mnt/data|[A-Z]:\\Users)` +
	`|\b192\.168\.\d+\.\d+|\b172\.(1[6-9]|2\d|3[01])\.\d+\.\d+|https?://10\.\d+\.\d+\.\d+|(https?://|@)[a-z0-9.-]+\.(corp|lan|internal|intranet)\b`)

// checkPrivate reads every file, not Go alone.
func checkPrivate(root fs.FS) (wrong []string, err error) {
	err = fs.WalkDir(root, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name != "." && (name == ".git" || path.Base(name) == "bin"):
			return fs.SkipDir
		case !d.Type().IsRegular() || name == "arch_test.go" || path.Ext(name) == ".sum":
			return nil
		}
		text, err := fs.ReadFile(root, name)
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			return err
		}
		for i, l := range strings.Split(string(text), "\n") {
			if m := private.FindString(l); m != "" {
				wrong = append(wrong, fmt.Sprintf("%s:%d: %q is a place of one machine or network", name, i+1, m))
			}
		}
		return nil
	})
	return wrong, err
}

var checks = map[string]func(*tree) []string{
	"imports": checkImports, "libraries": checkLibraries, "sizes": checkSizes, "pure": checkPure,
	"one writer": checkWriter, "habits": checkHabits,
}

// TestArchitecture holds the plan of the house. It reads the files themselves, so that go's test cache sees a change.
func TestArchitecture(t *testing.T) {
	root := os.DirFS(".")
	tr, err := parseTree(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, check := range checks {
		t.Run(name, func(t *testing.T) {
			report(t, check(tr))
		})
	}
	t.Run("places", func(t *testing.T) {
		wrong, err := checkPrivate(root)
		if err != nil {
			t.Fatal(err)
		}
		report(t, wrong)
	})
	t.Run("lists are current", func(t *testing.T) {
		seen := map[string]bool{}
		for _, s := range tr.files {
			seen[s.dir] = true
			for _, d := range s.ast.Decls {
				if f, ok := d.(*ast.FuncDecl); ok && s.dir == "authority" {
					seen[f.Name.Name] = true
				}
			}
		}
		for _, name := range slices.Concat(slices.Collect(maps.Keys(rooms)), slices.Collect(maps.Keys(unordered)), testRooms) {
			if !seen[name] {
				t.Errorf("%s is in a table here and no longer exists", name)
			}
		}
	})
}

func report(t *testing.T, wrong []string) {
	slices.Sort(wrong)
	for _, w := range wrong {
		t.Error(w)
	}
}

// TestArchitectureChecksCanFail breaks each rule once.
func TestArchitectureChecksCanFail(t *testing.T) {
	const header = "// Package x is x.\npackage x\n"
	imports := func(p ...string) string { return header + "import (\n\"" + strings.Join(p, "\"\n\"") + "\"\n)\n" }
	for _, c := range []struct{ what, check, path, text, want string }{
		{"a sideways import", "imports", "gateway/git/x.go", imports(module + "/engine"), "gateway/git may not import engine"},
		{"an import upwards", "imports", "x.go", imports(module + "/authority"), ". may not import authority"},
		{"a leaf that imports", "imports", "sshsig/x.go", imports(module), "sshsig may not import ."},
		{"a foreign internal room", "imports", "server/x.go", imports(module + "/gateway/git/internal/pack"), "internal to gateway/git"},
		{"an internal room that reaches out", "imports", "gateway/git/internal/y/x.go", imports(module + "/gateway"), "the root and its neighbours only"},
		{"a test room in the product", "imports", "engine/x.go", imports(module + "/ledger/ledgertest"), "only tests import"},
		{"a room nobody planned", "imports", "cache/x.go", header, "not in the table"},
		{"a dot import", "imports", "engine/x.go", header + "import . \"fmt\"\n", "dot import"},
		{"the binary imported", "imports", "engine/x_test.go", imports(module + "/cmd/remit"), "may not import cmd/remit"},
		{"OPA outside policy", "libraries", "engine/x.go", imports("github.com/open-policy-agent/opa/v1/rego"), "imported by [policy] only"},
		{"a library in the root", "libraries", "x.go", imports("golang.org/x/mod/semver"), "standard library only"},
		{"a long file", "sizes", "engine/x.go", header + strings.Repeat("\n", maxFile), "602 lines"},
		{"a large package", "sizes", "broker/x.go", header + "var (\n" + strings.Repeat("_ = 1\n", maxPackage) + ")\n", "2503 lines of code"},
		{"a list that is stale", "sizes", "authority/x.go", header, "take it out of the list"},
		{"a wide interface", "sizes", "engine/x.go", header + "type T interface { A(); B(); C(); D(); E(); F() }\n", "interface of 6"},
		{"the clock", "pure", "authority/x.go", imports("time") + "var now = time.Now()\n", "time.Now"},
		{"the clock beside it", "pure", "internal/cadence/x.go", imports("time") + "var now = time.Now()\n", "time.Now"},
		{"the zone of a machine beside it", "pure", "authority/internal/plan/x.go", imports("time") + "var here = time.Local\n", "time.Local"},
		{"chance", "pure", "authority/x.go", imports("math/rand/v2"), "may not import math/rand/v2"},
		{"secrets", "pure", "authority/x.go", imports("crypto/rand"), "may not import crypto/rand"},
		{"files", "pure", "authority/x.go", imports("os"), "may not import os"},
		{"a hidden name", "pure", "authority/x.go", header + "import tm \"time\"\nvar _ = tm.Now\n", "another name"},
		{"a goroutine", "pure", "authority/x.go", header + "func f() { go f() }\n", "a goroutine"},
		{"a select", "pure", "authority/x.go", header + "func f() { select {} }\n", "a select"},
		{"a map's order", "pure", "authority/x.go", header + "type T struct{ m map[string]int }\nfunc f(t *T) { for range t.m {} }\n", "range over a map in f"},
		{"a map's order by a call", "pure", "authority/x.go", imports("maps") + "func f(m map[int]int) { for range maps.Keys(m) {} }\n", "not sorted at once"},
		{"a second writer", "one writer", "server/x.go", imports(module+"/authority") + "var _ = authority.Decide\n", "only engine calls authority.Decide"},
		{"a renamed second writer", "one writer", "server/x.go", header + "import a \"" + module + "/authority\"\nvar _ = a.Apply\n", "authority.Apply"},
		{"a dumping ground", "habits", "server/util/x.go", header, "named for what is in it"},
		{"an init function", "habits", "server/x.go", header + "func init() {}\n", "no init"},
		{"no package comment", "habits", "server/x.go", "//go:build linux\n\npackage x\n", "0 package comments"},
		{"work left over", "habits", "server/x.go", header + "// TO" + "DO: more\n", "write an issue"},
	} {
		t.Run(c.what, func(t *testing.T) {
			tr, err := parseTree(fstest.MapFS{c.path: {Data: []byte(c.text)}})
			if err != nil {
				t.Fatal(err)
			}
			wrong := checks[c.check](tr)
			if !strings.Contains(strings.Join(wrong, "\n"), c.want) {
				t.Errorf("%s found %q; wanted %q", c.check, wrong, c.want)
			}
		})
	}
	t.Run("two package comments", func(t *testing.T) {
		tr, err := parseTree(fstest.MapFS{"server/a.go": {Data: []byte(header)}, "server/b.go": {Data: []byte(header)}})
		if err != nil || len(checkHabits(tr)) != 1 {
			t.Errorf("not found (%v)", err)
		}
	})
	for _, text := range []string{"see /ro" + "ot/x", "https://git.example.co" + "rp/x", "cd /mnt/" + "data/main", "http://10.1." + "2.3/", "192.16" + "8.0.1"} {
		if wrong, err := checkPrivate(fstest.MapFS{"a.md": {Data: []byte(text + "\n")}}); err != nil || len(wrong) != 1 {
			t.Errorf("%q passes as a public place (%v)", text, err)
		}
	}
	t.Run("a sound tree", func(t *testing.T) {
		defer func(debts map[string]int) { larger = debts }(larger)
		larger = nil // a small tree has outgrown nothing
		tr, err := parseTree(fstest.MapFS{"engine/a.go": {Data: []byte(imports("time", module+"/authority") + "var _ = authority.Decide\n// tomorrow\n")}})
		if err != nil {
			t.Fatal(err)
		}
		for name, check := range checks {
			if wrong := check(tr); len(wrong) > 0 {
				t.Errorf("%s: %v", name, wrong)
			}
		}
	})
}
