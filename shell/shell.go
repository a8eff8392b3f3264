// Package shell says how much a shell command may do before it runs, from its text alone. It reads no file, starts
// nothing and looks no name up: what it cannot tell from the text, it calls privileged. It is no boundary: whoever may
// run a program of the project can do whatever that program can. It tells a harmless command from one that people or
// policy should see, and it must never err on the harmless side.
package shell

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"mvdan.cc/sh/v3/syntax"
)

// Class is how much a command may do. Classes are ordered: what is composed of several is the worst of them. The zero
// value is the strictest.
type Class int

const (
	// Privileged is everything that is dynamic, not understood, or reaches beyond the work tree.
	Privileged Class = iota
	// Run is the opaque execution of a program of the project, or of an interpreter with a file of it.
	Run
	// Write changes files within the work tree, by known programs, and nothing that arms a later execution.
	Write
	// Read reads only.
	Read
)

// Worse says whether c may do more than d: Read < Write < Run < Privileged.
func (c Class) Worse(d Class) bool { return c < d }

// Worst is the one of both that may do more.
func (c Class) Worst(d Class) Class { return min(c, d) }

// String is the class in lower case: read, write, run, privileged.
func (c Class) String() string {
	switch c {
	case Read:
		return "read"
	case Write:
		return "write"
	case Run:
		return "run"
	}
	return "privileged"
}

// Options say where a command would run. Paths are compared as text; no file is looked at.
type Options struct {
	Dialect string // bash (also if empty), sh or zsh; every other is privileged
	Dir     string // where it runs, absolute; empty is Tree
	Home    string // the home of who runs it, absolute; empty: unknown, so that what names it is privileged
	Tree    string // the work tree, absolute; empty: there is none, so that every write is privileged
	// Env is the environment that the command finds. A variable that it does not know makes a word dynamic. Nil knows none.
	Env func(name string) (value string, ok bool)
}

// Finding is what a command would do. All lists are sorted and without repetition, and empty for nothing.
type Finding struct {
	Class    Class
	Programs []string // the programs that it would run opaquely, by base name: make, npm, x.sh
	// Why has a code for each thing that made it privileged, and nothing else: where it is only "git-push", the rest of the
	// command is not privileged by itself.
	Why    []string
	Writes []string // paths within the tree that it names as written, relative to Tree; a pattern stays one
}

// The codes of Finding.Why.
const (
	WhyArithmetic = "arithmetic"      // evaluates arithmetic, which runs what a variable holds
	WhyAssignment = "assignment"      // sets a variable that changes what programs do
	WhyControl    = "control-surface" // writes what is run, or obeyed, later
	WhyDynamic    = "dynamic"         // the text does not say what would run, or on what
	WhyFunction   = "function"        // calls what the command itself defines
	WhyGitPush    = "git-push"        // pushes; where this is the only code, to a remote by its name
	WhyGitURL     = "git-url"         // git with a URL in place of a remote's name
	WhyInline     = "inline-code"     // gives an interpreter code by argument or standard input, or starts it to be typed at
	WhyLimit      = "limit"           // too long or too deep to be judged
	WhyOption     = "option"          // a known program with an option or argument that is not known to be harmless
	WhyOutside    = "outside-tree"    // writes, or runs something from, outside the work tree
	WhyProgram    = "program"         // a program that is not known, or known to reach beyond the work tree
	WhySecret     = "secret"          // names a place or variable where secrets are kept
	WhySyntax     = "syntax"          // does not parse, or is of a dialect that is not known
)

// Limits of what is judged.
const (
	maxCommand = 64 << 10
	maxDepth   = 200   // of anything that opens and closes
	maxNodes   = 5_000 // statements, words and fields, each time they are looked at, and long paths by length
	maxFields  = 256   // of one word
	maxDirs    = 8     // where a statement may run
	maxPath    = 4096  // of a path, absolute
)

// Classify says what a command would do. The same command and options always have the same finding; it never panics.
func Classify(command string, o Options) (f Finding) {
	defer func() {
		// The parser is not ours: what makes it fail is not understood.
		if recover() != nil {
			f = Finding{Class: Privileged, Why: []string{WhySyntax}}
		}
	}()
	w := newWalker(o)
	lang, ok := dialects[o.Dialect]
	switch {
	case !ok || !utf8.ValidString(command) || strings.ContainsFunc(command, invisible):
		w.deny(WhySyntax)
		return w.finding()
	case len(command) > maxCommand || depth(command) > maxDepth:
		w.deny(WhyLimit)
		return w.finding()
	}
	w.lang = lang
	file, err := syntax.NewParser(syntax.Variant(lang)).Parse(strings.NewReader(command), "")
	if err != nil {
		w.deny(WhySyntax)
		return w.finding()
	}
	w.declared(file)
	w.stmts(file.Stmts, dirs{w.o.Dir})
	w.unvisited(file)
	return w.finding()
}

var dialects = map[string]syntax.LangVariant{"": syntax.LangBash, "bash": syntax.LangBash, "sh": syntax.LangPOSIX, "zsh": syntax.LangZsh}

// invisible are characters that shells treat in ways of their own, or that show a person another command than the shell
// would run.
func invisible(r rune) bool {
	return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r >= 0x80 && !unicode.IsPrint(r)
}

// depth is an upper bound of how deep the parser would have to go: every opener that could be one counts.
func depth(command string) int {
	deep, most := 0, 0
	for _, c := range []byte(command) {
		switch c {
		case '(', '{', '[':
			deep++
		case ')', '}', ']':
			deep = max(deep-1, 0)
		}
		most = max(most, deep)
	}
	words := 0
	for word := range strings.FieldsFuncSeq(command, func(r rune) bool { return strings.ContainsRune(" \t\n;&|()", r) }) {
		switch word {
		case "if", "elif", "while", "until", "for", "case", "select", "do", "then", "!", "time", "function", "coproc", "repeat", "foreach":
			words++
		}
	}
	return most + words + strings.Count(command, "`") + strings.Count(command, "!")
}
