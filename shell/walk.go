package shell

import (
	"maps"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// dirs are the directories in which a statement may run, sorted: after `cd x` it is known which, after `cd x; ` there
// are two, since a cd can fail. What holds must hold in each.
type dirs []string

func (d dirs) union(e dirs) dirs {
	out := slices.Concat(d, e)
	slices.Sort(out)
	return slices.Compact(out)
}

// walker judges one command. Whatever it does not know is denied: every switch over syntax ends so.
type walker struct {
	o     Options
	lang  syntax.LangVariant
	nodes int

	functions map[string]bool // what the command defines
	assigned  map[string]bool // what it assigns: such a variable is not what the environment says
	bound     map[string]string
	seen      map[*syntax.Stmt]bool

	class    Class
	why      map[string]bool
	programs map[string]bool
	writes   map[string]bool
}

func newWalker(o Options) *walker {
	if o.Dir == "" {
		o.Dir = o.Tree
	}
	return &walker{
		o: o, class: Read,
		functions: map[string]bool{}, assigned: map[string]bool{}, bound: map[string]string{}, seen: map[*syntax.Stmt]bool{},
		why: map[string]bool{}, programs: map[string]bool{}, writes: map[string]bool{},
	}
}

func (w *walker) finding() Finding {
	return Finding{Class: w.class, Programs: sorted(w.programs), Why: sorted(w.why), Writes: sorted(w.writes)}
}

func sorted(set map[string]bool) []string { return slices.Sorted(maps.Keys(set)) }

func (w *walker) deny(why string) {
	w.class = Privileged
	w.why[why] = true
	if why == WhyLimit {
		w.nodes = maxNodes + 1 // and no further
	}
}

func (w *walker) atLeast(c Class) { w.class = w.class.Worst(c) }

// runs judges that a program runs opaquely. What it runs is what it finds where it runs, which must be the tree.
func (w *walker) runs(program string, in dirs) {
	w.atLeast(Run)
	w.programs[program] = true
	for _, dir := range in {
		if _, ok := under(w.o.Tree, dir); !ok {
			w.deny(WhyOutside)
		}
	}
}

// spend counts work. It bounds what a small text that repeats itself can cost.
func (w *walker) spend() bool {
	w.nodes++
	if w.nodes > maxNodes {
		w.deny(WhyLimit)
	}
	return w.nodes <= maxNodes
}

// declared collects what the command defines and assigns anywhere, since order cannot be told from the text.
func (w *walker) declared(f *syntax.File) {
	syntax.Walk(f, func(n syntax.Node) bool {
		switch n := n.(type) {
		case *syntax.FuncDecl:
			for _, name := range append(n.Names, n.Name) {
				if name != nil {
					w.functions[name.Value] = true
				}
			}
		case *syntax.Assign:
			if n.Name != nil {
				w.assigned[n.Name.Value] = true
			}
		case *syntax.WordIter:
			w.assigned[n.Name.Value] = true
		}
		return true
	})
}

// unvisited denies a command of which a part was never judged. There is no such part; this is the second lock.
func (w *walker) unvisited(f *syntax.File) {
	if w.class == Privileged {
		return
	}
	syntax.Walk(f, func(n syntax.Node) bool {
		if s, ok := n.(*syntax.Stmt); ok && !w.seen[s] {
			w.deny(WhySyntax)
		}
		return true
	})
}

// stmts judges statements one after the other, and says where what follows may run.
func (w *walker) stmts(list []*syntax.Stmt, in dirs) dirs {
	for _, s := range list {
		yes, no := w.stmt(s, in)
		if in = yes.union(no); len(in) > maxDirs {
			w.deny(WhyLimit)
			return in[:maxDirs]
		}
	}
	return in
}

// stmt judges one statement, and says where what follows may run if it succeeds and if it fails.
func (w *walker) stmt(s *syntax.Stmt, in dirs) (yes, no dirs) {
	if !w.spend() {
		return in, in
	}
	w.seen[s] = true
	if s.Coprocess {
		w.deny(WhyDynamic)
	}
	for _, r := range s.Redirs {
		w.redirect(r, in)
	}
	yes, no = w.command(s.Cmd, in)
	if s.Background || s.Disown || s.Coprocess {
		return in, in // in a process of its own
	}
	if s.Negated {
		return no, yes
	}
	return yes, no
}

func (w *walker) command(c syntax.Command, in dirs) (yes, no dirs) {
	both := func(d dirs) (yes, no dirs) { return d, d }
	switch c := c.(type) {
	case nil: // redirections only
		return both(in)
	case *syntax.CallExpr:
		return w.call(c, in)
	case *syntax.BinaryCmd:
		return w.binary(c, in)
	case *syntax.Block:
		return both(w.stmts(c.Stmts, in))
	case *syntax.Subshell:
		w.stmts(c.Stmts, in)
		return both(in)
	case *syntax.IfClause:
		return both(w.ifClause(c, in))
	case *syntax.WhileClause:
		return both(w.repeat(in, func(d dirs) dirs { return w.stmts(c.Do, w.stmts(c.Cond, d)) }))
	case *syntax.ForClause:
		return both(w.forClause(c, in))
	case *syntax.CaseClause:
		w.visit(c.Word, in)
		out := in
		for _, item := range c.Items {
			for _, p := range item.Patterns {
				w.visit(p, in)
			}
			out = out.union(w.stmts(item.Stmts, out)) // `;&` goes on with the next
		}
		return both(out)
	case *syntax.FuncDecl:
		w.stmt(c.Body, in)
		if c.Name == nil && len(c.Names) == 0 { // zsh runs a function without a name at once
			w.deny(WhyFunction)
		}
		return both(in)
	case *syntax.TestClause:
		w.test(c.X, in)
		return both(in)
	case *syntax.TimeClause:
		if c.Stmt == nil {
			return both(in)
		}
		return w.stmt(c.Stmt, in)
	case *syntax.DeclClause:
		w.declare(c, in)
		return both(in)
	case *syntax.ArithmCmd:
		w.arithmetic(c.X, in)
		return both(in)
	case *syntax.LetClause:
		for _, x := range c.Exprs {
			w.arithmetic(x, in)
		}
		return both(in)
	case *syntax.CoprocClause:
		w.deny(WhyInline)
		w.stmt(c.Stmt, in)
		return both(in)
	}
	w.deny(WhySyntax)
	return both(in)
}

func (w *walker) binary(c *syntax.BinaryCmd, in dirs) (yes, no dirs) {
	xyes, xno := w.stmt(c.X, in)
	switch c.Op {
	case syntax.AndStmt:
		yyes, yno := w.stmt(c.Y, xyes)
		return yyes, xno.union(yno)
	case syntax.OrStmt:
		yyes, yno := w.stmt(c.Y, xno)
		return xyes.union(yyes), yno
	case syntax.Pipe, syntax.PipeAll:
		yyes, yno := w.stmt(c.Y, in)
		if w.lang != syntax.LangZsh {
			return in, in
		}
		out := yyes.union(yno) // zsh runs the last of a pipe itself
		return out, out
	}
	w.deny(WhySyntax)
	return in, in
}

func (w *walker) ifClause(c *syntax.IfClause, in dirs) dirs {
	after := w.stmts(c.Cond, in)
	out := after.union(w.stmts(c.Then, after))
	if c.Else != nil {
		out = out.union(w.ifClause(c.Else, after))
	}
	return out
}

// repeat judges a body until it runs nowhere that it was not judged for.
func (w *walker) repeat(in dirs, body func(dirs) dirs) dirs {
	for range maxDirs {
		out := in.union(body(in))
		if len(out) == len(in) {
			return in
		}
		in = out
	}
	w.deny(WhyLimit)
	return in
}

// forClause judges the body once for each of the words where the text says them all; else the variable is dynamic.
func (w *walker) forClause(c *syntax.ForClause, in dirs) dirs {
	body := func(d dirs) dirs { return w.stmts(c.Do, d) }
	loop, ok := c.Loop.(*syntax.WordIter)
	if !ok || c.Select {
		w.deny(WhyArithmetic)
		return w.repeat(in, body)
	}
	name := loop.Name.Value
	if !settable(name, w.lang) {
		w.deny(WhyAssignment)
	}
	items := w.fields(loop.Items, in)
	_, nested := w.bound[name]
	static := loop.InPos.IsValid() && !nested && !slices.ContainsFunc(items, func(a arg) bool { return a.dynamic || a.glob || !plain(a.s) })
	if !static || w.assignments(c, name) > 1 {
		return w.repeat(in, body)
	}
	defer delete(w.bound, name)
	for _, item := range items {
		w.bound[name] = item.s
		in = w.repeat(in, body)
	}
	if len(items) == 0 {
		w.stmts(c.Do, in)
	}
	return in
}

// assignments counts where the loop assigns its own variable.
func (w *walker) assignments(c *syntax.ForClause, name string) (n int) {
	syntax.Walk(c, func(x syntax.Node) bool {
		if !w.spend() {
			return false
		}
		switch x := x.(type) {
		case *syntax.Assign:
			if x.Name == nil || x.Name.Value == name {
				n++
			}
		case *syntax.WordIter:
			if x.Name.Value == name {
				n++
			}
		}
		return true
	})
	return n
}

func (w *walker) redirect(r *syntax.Redirect, in dirs) {
	if r.N != nil && strings.Trim(r.N.Value, "0123456789") != "" { // {name}>: assigns
		w.deny(WhyAssignment)
	}
	switch r.Op {
	case syntax.Hdoc, syntax.DashHdoc:
		w.visit(r.Word, in)
		if r.Hdoc != nil && w.spend() {
			w.parts(r.Hdoc.Parts, in, true)
		}
		return
	case syntax.WordHdoc:
		w.visit(r.Word, in)
		return
	}
	fields := w.fields([]*syntax.Word{r.Word}, in)
	if len(fields) != 1 || fields[0].dynamic || fields[0].glob {
		w.deny(WhyDynamic)
		return
	}
	target := fields[0]
	switch r.Op {
	case syntax.DplIn, syntax.DplOut:
		if number(strings.TrimSuffix(target.s, "-")) || target.s == "-" {
			return
		}
		if r.Op == syntax.DplOut {
			w.write(target, in)
			return
		}
		w.deny(WhyDynamic)
	case syntax.RdrIn:
		w.read(target, in, content)
	case syntax.RdrOut, syntax.AppOut, syntax.RdrClob, syntax.RdrAll, syntax.AppAll, syntax.RdrInOut,
		syntax.AppClob, syntax.RdrAllClob, syntax.AppAllClob:
		w.write(target, in)
	default:
		w.deny(WhySyntax)
	}
}

// test judges `[[ … ]]`. -v, -R and the comparisons of numbers evaluate their operands as arithmetic, and so run what
// stands in a subscript; the others compare text and look at files.
func (w *walker) test(x syntax.TestExpr, in dirs) {
	if !w.spend() {
		return
	}
	switch x := x.(type) {
	case *syntax.Word:
		w.visit(x, in)
	case *syntax.ParenTest:
		w.test(x.X, in)
	case *syntax.UnaryTest:
		switch x.Op {
		case syntax.TsVarSet, syntax.TsRefVar, syntax.TsOptSet:
			w.deny(WhyArithmetic)
		case syntax.TsNot:
		default:
			if _, ok := x.X.(*syntax.Word); !ok {
				w.deny(WhySyntax)
			}
		}
		w.test(x.X, in)
	case *syntax.BinaryTest:
		switch x.Op {
		case syntax.AndTest, syntax.OrTest, syntax.TsMatch, syntax.TsMatchShort, syntax.TsNoMatch, syntax.TsBefore, syntax.TsAfter,
			syntax.TsNewer, syntax.TsOlder, syntax.TsDevIno, syntax.TsReMatch:
		default:
			if !numeral(x.X) || !numeral(x.Y) {
				w.deny(WhyArithmetic)
			}
		}
		w.test(x.X, in)
		w.test(x.Y, in)
	default:
		w.deny(WhySyntax)
	}
}

// numeral tells whether an operand is a number that stands there as one.
func numeral(x syntax.Node) bool {
	word, ok := x.(*syntax.Word)
	return ok && number(word.Lit())
}

func number(s string) bool { return s != "" && len(s) < 10 && strings.Trim(s, "0123456789") == "" }

// arithmetic judges an expression: bash evaluates the value of a variable as an expression again, and runs commands in
// its subscripts, without any sign of it in the text.
func (w *walker) arithmetic(x syntax.ArithmExpr, in dirs) {
	if x == nil || !w.spend() {
		return
	}
	switch x := x.(type) {
	case *syntax.Word:
		w.visit(x, in)
		if !numeral(x) {
			w.deny(WhyArithmetic)
		}
	case *syntax.BinaryArithm:
		w.arithmetic(x.X, in)
		w.arithmetic(x.Y, in)
	case *syntax.UnaryArithm:
		w.arithmetic(x.X, in)
	case *syntax.ParenArithm:
		w.arithmetic(x.X, in)
	default:
		w.deny(WhyArithmetic)
	}
}

// declare judges export and its kin: only an export of harmless names is known.
func (w *walker) declare(c *syntax.DeclClause, in dirs) {
	for _, a := range c.Args {
		w.assign(a, in)
		if c.Variant.Value != "export" || a.Naked || a.Name == nil || !harmless(a.Name.Value) {
			w.deny(WhyAssignment)
		}
	}
	if len(c.Args) == 0 { // prints the environment
		w.deny(WhySecret)
	}
}

// assign judges one assignment's value, and that it is a plain one.
func (w *walker) assign(a *syntax.Assign, in dirs) {
	if a.Index != nil || a.Array != nil || a.Naked || a.Name == nil {
		w.deny(WhyDynamic)
	}
	if a.Index != nil {
		w.arithmetic(a.Index, in)
	}
	if a.Array != nil {
		for _, e := range a.Array.Elems {
			w.arithmetic(e.Index, in)
			if e.Value != nil {
				w.visit(e.Value, in)
			}
		}
	}
	if a.Value != nil {
		w.visit(a.Value, in)
	}
	if a.Name != nil && !settable(a.Name.Value, w.lang) {
		w.deny(WhyAssignment)
	}
}
