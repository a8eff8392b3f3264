package telemetry

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// first is where the attributes of a log call begin, by the method's name; log is what a helper is called.
var first = map[string]int{"Debug": 1, "Info": 1, "Warn": 1, "Error": 1, "DebugContext": 2, "InfoContext": 2, "WarnContext": 2, "ErrorContext": 2,
	"Log": 3, "With": 0, "log": 2}

// logger tells whether an expression is a *slog.Logger, by its name: every one of ours is called so.
func logger(e ast.Expr) bool {
	name := ""
	switch x := e.(type) {
	case *ast.Ident:
		name = x.Name
	case *ast.SelectorExpr:
		name = x.Sel.Name
	}
	return name == "log" || name == "Log" || name == "slog" || name == "Slog" || name == "logger"
}

// keys calls f with the name of each attribute of each log call; ok is false for one that is not a literal.
func keys(file *ast.File, f func(at token.Pos, key string, ok bool)) {
	literal := func(e ast.Expr) {
		l, ok := e.(*ast.BasicLit)
		if !ok || l.Kind != token.STRING {
			f(e.Pos(), "", false)
			return
		}
		key, err := strconv.Unquote(l.Value)
		f(e.Pos(), key, err == nil)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := call.Fun.(*ast.SelectorExpr)
		if !ok || !logger(sel.X) && sel.Sel.Name != "log" || call.Ellipsis.IsValid() { // those of a helper are seen at its callers
			return true
		}
		if x, ok := sel.X.(*ast.Ident); ok && x.Name == "slog" && len(call.Args) == 2 && map[string]bool{"String": true, "Int": true, "Int64": true,
			"Uint64": true, "Bool": true, "Any": true, "Duration": true, "Time": true, "Float64": true}[sel.Sel.Name] {
			literal(call.Args[0])
			return true
		}
		from, ok := first[sel.Sel.Name]
		if !ok {
			return true
		}
		for i := from; i < len(call.Args); i++ {
			if attr, ok := call.Args[i].(*ast.CallExpr); ok {
				if s, ok := attr.Fun.(*ast.SelectorExpr); ok && logger(s.X) {
					continue // slog.String(…): seen by itself
				}
			}
			literal(call.Args[i])
			i++ // its value
		}
		return true
	})
}

func TestEveryLogLineUsesTheNamesOfTheList(t *testing.T) {
	set, used, calls := token.NewFileSet(), map[string]bool{"trace_id": true, "span_id": true}, 0
	err := filepath.WalkDir("..", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(filepath.ToSlash(name))
		if d.IsDir() && (base == "testdata" || base == "tools" || base == "bin" || name != ".." && strings.HasPrefix(base, ".")) {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		src, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(set, name, src, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		keys(file, func(at token.Pos, key string, ok bool) {
			calls++
			used[key] = true
			if !ok {
				t.Errorf("%s: the name of an attribute is not a literal", set.Position(at))
			} else if Attributes[key] == "" {
				t.Errorf("%s: attribute %q is not in telemetry.Attributes: use the name that others use, or say there what it means", set.Position(at), key)
			}
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if calls < 80 {
		t.Errorf("only %d attributes were found: the test does not see log calls any more", calls)
	}
	for key := range Attributes {
		if !used[key] {
			t.Errorf("telemetry.Attributes has %q, which no line uses", key)
		}
	}
	for key := range traced {
		if Attributes[key] == "" {
			t.Errorf("spans carry %q, which log lines do not know", key)
		}
	}
}

// The test above must see what it is about.
func TestLogCallsAreSeen(t *testing.T) {
	const src = `package x
func f() {
	log.Error("text", "one", 1, "two", 2)
	e.cfg.Log.WarnContext(ctx, "text", "three", 3)
	slog.String("four", "x")
	p.Log.Info("text", slog.Int("five", 5), "six", 6)
	x.slog.With("seven", 7).Info("text")
	t.Error("text", "no")
	s.log(ctx, "text", "eight", 8)
	s.Log.Warn("text", args...)
	log.Info("text", key, 8)
}`
	file, err := parser.ParseFile(token.NewFileSet(), "x.go", src, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	keys(file, func(_ token.Pos, key string, ok bool) {
		if !ok {
			key = "?"
		}
		got += key + " "
	})
	for _, want := range []string{"one", "two", "three", "four", "five", "six", "seven", "eight", "?"} {
		if strings.Count(" "+got, " "+want+" ") != 1 {
			t.Errorf("%s is seen not once in %s", want, got)
		}
	}
	if strings.Contains(got, "no ") {
		t.Error("a test's own Error is taken for a log line")
	}
}
