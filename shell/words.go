package shell

import (
	"io"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/expand"
	"mvdan.cc/sh/v3/syntax"
)

// arg is one argument of a command, after expansion.
type arg struct {
	s       string
	dynamic bool // the text does not say what it is, nor whether it is one argument
	glob    bool // a pattern that the shell would match against files; s is the pattern
}

// plain tells whether a value stays one argument, and itself, where a shell expands it unquoted.
func plain(value string) bool { return value != "" && !strings.ContainsAny(value, " \t\n*?[]{}~\\") }

// visit judges everything that happens while a word is expanded, and tells whether the text says what becomes of it.
func (w *walker) visit(word *syntax.Word, in dirs) (static bool) {
	if word == nil || !w.spend() {
		return false
	}
	return w.parts(word.Parts, in, false)
}

func (w *walker) parts(parts []syntax.WordPart, in dirs, quoted bool) (static bool) {
	static = true
	for i, part := range parts {
		known := false
		switch part := part.(type) {
		case *syntax.Lit:
			known = quoted || w.literal(part.Value, i == 0, i == len(parts)-1)
		case *syntax.SglQuoted:
			known = !part.Dollar || w.lang == syntax.LangBash
		case *syntax.DblQuoted:
			known = w.parts(part.Parts, in, true)
			if part.Dollar { // $"…" is translated, and what comes of that is expanded
				w.deny(WhyDynamic)
			}
		case *syntax.ParamExp:
			known = w.param(part, in, quoted)
		case *syntax.CmdSubst:
			if part.TempFile || part.ReplyVar {
				w.deny(WhySyntax)
			}
			w.stmts(part.Stmts, in)
			_, cited := w.cited(part)
			known = cited && quoted
		case *syntax.ProcSubst:
			w.stmts(part.Stmts, in)
			// What is read from <(…) is the output of what was just judged.
			if known = part.Op == syntax.CmdIn && len(parts) == 1; !known {
				w.deny(WhyDynamic)
			}
		case *syntax.ArithmExp:
			w.arithmetic(part.X, in)
		case *syntax.ExtGlob:
			if w.lang == syntax.LangZsh {
				w.deny(WhyDynamic)
			}
		default:
			w.deny(WhySyntax)
		}
		static = static && known
	}
	return static
}

// literal tells whether an unquoted literal means the same to us as to the shell.
func (w *walker) literal(s string, first, last bool) bool {
	if first && strings.HasPrefix(s, "~") && (len(s) > 1 || !last) && !strings.HasPrefix(s, "~/") {
		return false // somebody else's home, or zsh's named directories
	}
	if first && strings.HasPrefix(s, "~") {
		if _, ok := w.value("HOME", nil); !ok {
			return false
		}
	}
	if strings.Contains(s, "=~") || strings.Contains(s, ":~") {
		return false // expanded where it looks like an assignment
	}
	if !last && strings.HasSuffix(s, "$") && !strings.HasSuffix(s, `\$`) {
		return false // $'…' and $"…" where the dialect may have them or not
	}
	if w.lang == syntax.LangZsh {
		// zsh has more patterns (some run code), =program, and options that change what characters mean.
		if strings.HasPrefix(s, "=") || strings.ContainsAny(strings.TrimPrefix(s, "~/"), "*?[]{}()^#~<>|!\\$`") {
			w.deny(WhyDynamic)
		}
	}
	return true
}

// param judges an expansion of a parameter, and tells whether its value is known. Indirection, @P, assignment, subscripts
// and zsh's flags evaluate values as code.
func (w *walker) param(p *syntax.ParamExp, in dirs, quoted bool) (static bool) {
	if p.Excl || p.Names != 0 || p.Flags != nil || p.NestedParam != nil || len(p.Modifiers) > 0 || p.Width || p.IsSet || p.Param == nil ||
		p.Split != syntax.OptUnset || p.GlobSubst != syntax.OptUnset || p.RcExpand != syntax.OptUnset {
		w.deny(WhyDynamic)
	}
	if p.Param != nil && secretName(p.Param.Value) {
		w.deny(WhySecret)
	}
	if p.Index != nil {
		if word, ok := p.Index.(*syntax.Word); !ok || word.Lit() != "@" && word.Lit() != "*" {
			w.arithmetic(p.Index, in)
		}
	}
	if p.Slice != nil {
		w.arithmetic(p.Slice.Offset, in)
		w.arithmetic(p.Slice.Length, in)
	}
	if p.Repl != nil {
		w.visit(p.Repl.Orig, in)
		if p.Repl.With != nil {
			w.visit(p.Repl.With, in)
		}
	}
	if p.Exp != nil {
		switch p.Exp.Op {
		case syntax.AssignUnset, syntax.AssignUnsetOrNull:
			w.deny(WhyAssignment)
		case syntax.OtherParamOps:
			w.deny(WhyDynamic)
		}
		if p.Exp.Word != nil {
			w.visit(p.Exp.Word, in)
		}
	}
	if p.Length || p.Index != nil || p.Slice != nil || p.Repl != nil || p.Exp != nil || p.Param == nil {
		return false
	}
	value, ok := w.value(p.Param.Value, in)
	return ok && (quoted || plain(value))
}

// own are the variables that the shell itself sets, whatever the environment says.
var own = set(`_ - @ * ! IFS PWD OLDPWD RANDOM SRANDOM SECONDS LINENO BASHPID BASH_SUBSHELL BASH_COMMAND EPOCHSECONDS EPOCHREALTIME
	REPLY FUNCNAME GROUPS UID EUID PPID OPTARG OPTIND OPTERR PIPESTATUS HISTCMD SHLVL HOSTNAME HOSTTYPE MACHTYPE OSTYPE DIRSTACK`)

// value is what a variable holds, where that is known.
func (w *walker) value(name string, in dirs) (string, bool) {
	if v, ok := w.bound[name]; ok {
		return v, true
	}
	switch name {
	case "?", "#", "$":
		return "0", true // some number
	case "PWD":
		if len(in) == 1 && in[0] != "" && !w.assigned[name] {
			return in[0], true
		}
	}
	if w.assigned[name] || own[name] || number(name) {
		return "", false
	}
	if name == "HOME" && w.o.Home != "" {
		return w.o.Home, true
	}
	if w.o.Env == nil {
		return "", false
	}
	return w.o.Env(name)
}

// fields expands words as arguments.
func (w *walker) fields(words []*syntax.Word, in dirs) []arg {
	var out []arg
	for _, word := range words {
		if !w.visit(word, in) {
			out = append(out, arg{dynamic: true})
			continue
		}
		braces := braced(word)
		if braces != 1 && w.lang != syntax.LangBash || braces == 0 || braces > maxFields {
			out = append(out, arg{dynamic: true})
			continue
		}
		expanded, err := expand.Fields(w.expansion(in), word)
		if err != nil {
			out = append(out, arg{dynamic: true})
			continue
		}
		glob := globbed(word.Parts)
		for _, s := range expanded {
			if !w.spend() {
				return out
			}
			// A tilde may come to stand first only where braces are expanded.
			out = append(out, arg{s: s, glob: glob, dynamic: strings.Contains(s, "\x00") || strings.HasPrefix(s, "~")})
		}
	}
	return out
}

// expansion configures package expand: it runs nothing, looks at no file and looks nobody up.
func (w *walker) expansion(in dirs) *expand.Config {
	get := func(name string) string {
		v, _ := w.value(name, in)
		return v
	}
	return &expand.Config{
		Env: expand.FuncEnviron(func(name string) string {
			if strings.HasPrefix(name, "HOME ") || name == "IFS" {
				return ""
			}
			return get(name)
		}),
		ProcSubst: func(*syntax.ProcSubst) (string, error) { return "/dev/fd/63", nil },
		CmdSubst: func(out io.Writer, c *syntax.CmdSubst) error {
			text, ok := w.cited(c)
			if !ok {
				return expand.UnexpectedCommandError{Node: c}
			}
			_, err := io.WriteString(out, text)
			return err
		},
	}
}

// cited is the text of $(cat <<'EOF' … EOF), by which agents give messages of several lines: the one command whose output
// is known from the text.
func (w *walker) cited(c *syntax.CmdSubst) (string, bool) {
	if len(c.Stmts) != 1 || w.functions["cat"] {
		return "", false
	}
	s := c.Stmts[0]
	call, ok := s.Cmd.(*syntax.CallExpr)
	if !ok || s.Negated || s.Background || s.Coprocess || s.Disown || len(call.Assigns) > 0 || len(call.Args) != 1 || call.Args[0].Lit() != "cat" || len(s.Redirs) != 1 {
		return "", false
	}
	r := s.Redirs[0]
	if r.Op != syntax.Hdoc || r.N != nil || r.Hdoc == nil || len(r.Word.Parts) != 1 {
		return "", false
	}
	if _, quoted := r.Word.Parts[0].(*syntax.SglQuoted); !quoted { // else the text is expanded
		return "", false
	}
	text := r.Hdoc.Lit()
	return strings.TrimRight(text, "\n"), text != ""
}

// braced is how many words brace expansion makes of a word: 1 for one without, 0 for one that is not expanded here.
func braced(word *syntax.Word) int {
	w := *word
	if !syntax.SplitBraces(&w) {
		return 1
	}
	return product(&w)
}

func product(word *syntax.Word) int {
	n := 1
	for _, part := range word.Parts {
		b, ok := part.(*syntax.BraceExp)
		if !ok {
			continue
		}
		if b.Sequence {
			return 0
		}
		sum := 0
		for _, e := range b.Elems {
			p := product(e)
			if p == 0 {
				return 0
			}
			sum += p
		}
		if n *= sum; n > maxFields {
			return n
		}
	}
	return n
}

// globbed tells whether an unquoted part of a word holds a character of a pattern.
func globbed(parts []syntax.WordPart) bool {
	if len(parts) == 1 {
		if lit, ok := parts[0].(*syntax.Lit); ok && lit.Value == "[" {
			return false // the command of that name
		}
	}
	return slices.ContainsFunc(parts, func(part syntax.WordPart) bool {
		lit, ok := part.(*syntax.Lit)
		if !ok {
			return false
		}
		for i := 0; i < len(lit.Value); i++ {
			switch lit.Value[i] {
			case '\\':
				i++
			case '*', '?', '[':
				return true
			}
		}
		return false
	})
}

// call judges a simple command.
func (w *walker) call(c *syntax.CallExpr, in dirs) (yes, no dirs) {
	var names []string
	for _, a := range c.Assigns {
		w.assign(a, in)
		if a.Name != nil {
			names = append(names, a.Name.Value)
		}
	}
	if len(c.Args) == 0 {
		return in, in
	}
	return w.run(w.fields(c.Args, in), names, in)
}

// run judges a command line: names are the variables set for it.
func (w *walker) run(argv []arg, names []string, in dirs) (yes, no dirs) {
	if !w.spend() {
		return in, in
	}
	if len(argv) == 0 || argv[0].dynamic || argv[0].glob || argv[0].s == "" || strings.Contains(argv[0].s, "=") {
		w.deny(WhyDynamic)
		return in, in
	}
	before := w.class
	w.class = Read
	yes, no = w.program(argv, names, in)
	// What a known program does by the variables around it is known for harmless variables only; what is opaque is opaque.
	if !w.class.Worse(Write) && slices.ContainsFunc(names, func(n string) bool { return !harmless(n) }) {
		w.deny(WhyAssignment)
	}
	w.class = w.class.Worst(before)
	return yes, no
}

// harmless tells whether a variable changes nothing but how the output of programs looks, or is a switch that every
// project has.
func harmless(name string) bool {
	return strings.HasPrefix(name, "LC_") || harmlessNames[name]
}

var harmlessNames = set(`LANG LANGUAGE TZ TERM COLUMNS LINES NO_COLOR FORCE_COLOR CLICOLOR CLICOLOR_FORCE CI DEBUG VERBOSE NODE_ENV RAILS_ENV
	RUST_BACKTRACE RUST_LOG CGO_ENABLED GOOS GOARCH GOMAXPROCS GOGC SOURCE_DATE_EPOCH PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE`)

// settable tells whether a variable may be set at all: not those by which shells, loaders, interpreters, git, compilers
// and clients find programs, code, hosts or keys. It goes by the parts that such names are made of.
func settable(name string, lang syntax.LangVariant) bool {
	if harmless(name) {
		return true
	}
	if lang == syntax.LangZsh { // zsh has many special variables of its own, in lower case too
		return false
	}
	upper := strings.ToUpper(name)
	for _, part := range armedParts {
		if strings.Contains(upper, part) {
			return false
		}
	}
	return !armedNames[upper] && !own[name] && !secretName(name)
}

var armedParts = strings.Fields(`PATH GIT_ LD_ DYLD_ BASH PROXY PAGER EDITOR OPTIONS OPTS COMMAND CONFIG FLAGS HOME WRAPPER STARTUP NPM_ PIP_ UV_
	PYTHON NODE_ PERL RUBY JAVA MAVEN GRADLE CARGO RUSTC RUSTUP GOPROXY GOTOOL GONO GOSUM GOENV GOPRIVATE GOINSECURE GOVCS GOCACHE GOWORK
	SSL CERT CURL SSH SUDO DOCKER KUBE AWS_ REMIT CLAUDE CODEX GEMINI COPILOT ANTHROPIC OPENAI PROMPT SHELL LESS MAN BROWSER RC_ _RC PRELOAD HOOK
	TMP TEMP EXEC PREFIX URL HOST REGISTRY GLIBC MALLOC ZDOT XDG`)

var armedNames = set(`ENV IFS PS1 PS2 PS3 PS4 PS0 OPT OPTIND OPTARG CC CXX CPP LD AR AS FC MAKE MAKEFILES MFLAGS USER LOGNAME VISUAL RUBYOPT PERL5OPT
	GLOBIGNORE FIGNORE HISTFILE MAIL TMOUT POSIXLY_CORRECT FCEDIT INPUTRC READNULLCMD NULLCMD VIMINIT EXINIT R_PROFILE FPATH TERMINFO TERMCAP COLUMNS_ OPTERR`)

// secretName tells whether a variable of that name is likely to hold a secret.
func secretName(name string) bool {
	upper := strings.ToUpper(name)
	return slices.ContainsFunc([]string{"TOKEN", "SECRET", "PASSWORD", "PASSWD", "PASSPHRASE", "CREDENTIAL", "API_KEY", "APIKEY", "PRIVATE", "ACCESS_KEY", "AUTH"},
		func(part string) bool { return strings.Contains(upper, part) })
}

// set is the words of a text.
func set(words string) map[string]bool {
	out := map[string]bool{}
	for _, word := range strings.Fields(words) {
		out[word] = true
	}
	return out
}
