package shell

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

// program judges one command line, the name of its program first.
func (w *walker) program(argv []arg, names []string, in dirs) (yes, no dirs) {
	name, args := argv[0].s, argv[1:]
	if w.functions[name] {
		w.deny(WhyFunction)
		return in, in
	}
	if strings.Contains(name, "/") {
		base, ok := w.atPath(argv[0], args, in)
		if !ok {
			return in, in
		}
		name = base
	}
	switch name {
	case "cd":
		return w.cd(args, in)
	case "echo": // it has no option that does anything, and makes nothing of its arguments
		return in, in
	}
	if _, ok := wrappers[name]; ok {
		return w.wrapper(name, args, in)
	}
	if slices.ContainsFunc(args, func(a arg) bool { return a.dynamic }) && name != "printf" {
		w.deny(WhyDynamic)
		return in, in
	}
	switch name {
	case "git":
		w.git(args, in)
	case "printf":
		w.printf(args)
	case "test", "[":
		w.testCommand(args)
	case "set":
		w.set(args)
	case "find":
		w.find(args, in)
	default:
		w.listed(name, args, in)
	}
	return in, in
}

// listed judges a program by the tables.
func (w *walker) listed(name string, args []arg, in dirs) {
	versioned := strings.TrimRight(name, "0123456789.")
	if t, ok := tools[name]; ok {
		w.tool(t, args, in)
	} else if r, ok := runners[name]; ok {
		w.runner(name, r, args, in)
	} else if spec, ok := interpreters[versioned]; ok {
		w.interpreter(versioned, spec, args, in)
	} else {
		w.deny(WhyProgram)
	}
}

// known tells whether a program of that name is judged to do less than whatever it likes.
func known(name string) bool {
	_, tool := tools[name]
	_, wrapper := wrappers[name]
	return tool || wrapper || slices.Contains([]string{"git", "echo", "cd", "printf", "test", "[", "set", "find"}, name)
}

// binaries are where the programs of the system lie.
var binaries = set("/bin /sbin /usr/bin /usr/sbin /usr/local/bin /opt/homebrew/bin")

// atPath judges a program that is named by its path: of the system it is judged by its name; of the project it is run
// opaquely, unless it goes by a name that means something else.
func (w *walker) atPath(name arg, args []arg, in dirs) (base string, listed bool) {
	base = path.Base(name.s)
	if path.IsAbs(name.s) && binaries[path.Dir(path.Clean(name.s))] {
		return base, true
	}
	_, runner := runners[base]
	_, interpreter := interpreters[strings.TrimRight(base, "0123456789.")]
	switch {
	case runner, interpreter: // the project's own of that name: opaque itself, and judged by what it is given
		w.ownFile(name, in)
		return base, true
	case known(base):
		w.deny(WhyProgram)
		return "", false
	}
	if slices.ContainsFunc(args, func(a arg) bool { return a.dynamic }) {
		w.deny(WhyDynamic)
	}
	w.ownFile(name, in)
	return "", false
}

// ownFile judges the run of a file: it must lie within the tree.
func (w *walker) ownFile(name arg, in dirs) {
	for _, dir := range in {
		if rel, ok := under(w.o.Tree, resolve(dir, name.s)); !ok || rel == "" {
			w.deny(WhyOutside)
		}
	}
	w.runs(path.Base(name.s), in)
}

// cd is the one command after which others run elsewhere.
func (w *walker) cd(args []arg, in dirs) (yes, no dirs) {
	if len(args) > 0 && args[0].s == "--" {
		args = args[1:]
	}
	if len(args) != 1 || args[0].dynamic || args[0].glob || args[0].s == "" || strings.HasPrefix(args[0].s, "-") || strings.HasPrefix(args[0].s, "+") {
		w.deny(WhyDynamic)
		return in, in
	}
	to := args[0].s
	if _, ok := w.value("CDPATH", in); ok && !path.IsAbs(to) && to != "." && to != ".." && !strings.HasPrefix(to, "./") && !strings.HasPrefix(to, "../") {
		w.deny(WhyDynamic)
	}
	w.read(args[0], in, names)
	for _, dir := range in {
		yes = yes.union(dirs{resolve(dir, to)})
	}
	return yes, in
}

// wrapper judges the command that another runs.
func (w *walker) wrapper(name string, args []arg, in dirs) (yes, no dirs) {
	if name == "command" && len(args) > 0 && (args[0].s == "-v" || args[0].s == "-V") {
		return in, in // says what would run
	}
	spec := wrappers[name]
	p, ok := parse(spec.spec, args, true)
	if !ok || len(p.rest) < spec.skip {
		w.deny(WhyOption)
		return in, in
	}
	rest := p.rest
	for _, a := range rest[:spec.skip] {
		if a.dynamic || a.glob {
			w.deny(WhyDynamic)
		}
	}
	rest = rest[spec.skip:]
	var vars []string
	for name == "env" && len(rest) > 0 && !rest[0].dynamic {
		key, _, ok := strings.Cut(rest[0].s, "=")
		if !ok {
			break
		}
		if rest[0].glob || !settable(key, w.lang) {
			w.deny(WhyAssignment)
		}
		vars, rest = append(vars, key), rest[1:]
	}
	switch {
	case len(rest) == 0 && name == "env": // prints the environment
		w.deny(WhySecret)
		return in, in
	case len(rest) == 0:
		w.deny(WhyOption)
		return in, in
	case rest[0].s == "cd" && !rest[0].dynamic: // `command cd`, or a cd elsewhere: not told apart
		w.deny(WhyDynamic)
		return in, in
	}
	w.run(rest, vars, in)
	return in, in
}

// parsed is a command line taken apart.
type parsed struct {
	has  map[string]bool
	opts []option
	rest []arg
}

type option struct {
	name  string
	value []arg
}

// parse takes arguments apart by a spec (see tool). It is false where an option is not in the spec, or cannot be told
// from an argument. With first, the options end at the first argument.
func parse(spec string, args []arg, first bool) (p parsed, ok bool) {
	words := strings.Fields(spec)
	anything := slices.Contains(words, "-*")
	p.has = map[string]bool{}
	add := func(name string, value ...arg) {
		p.has[name] = true
		p.opts = append(p.opts, option{name, value})
	}
	take := func(n int) ([]arg, bool) {
		if len(args) < n || slices.ContainsFunc(args[:n], func(a arg) bool { return a.dynamic || a.glob }) {
			return nil, false
		}
		v := args[:n]
		args = args[n:]
		return v, true
	}
	for len(args) > 0 {
		a := args[0]
		args = args[1:]
		switch {
		case a.dynamic && first: // it may be an option
			return p, false
		case a.glob && a.s != "" && strings.ContainsRune("*?[", rune(a.s[0])) && !anything:
			return p, false // it may match a file whose name is an option
		case a.s == "--" && !a.glob:
			p.rest = append(p.rest, args...)
			return p, true
		case len(a.s) < 2 || a.s[0] != '-':
			p.rest = append(p.rest, a)
			if first {
				p.rest = append(p.rest, args...)
				return p, true
			}
		case anything:
		case a.glob && (!strings.HasPrefix(a.s, "--") || strings.IndexByte(a.s, '=') < 0 || strings.ContainsAny(a.s[:strings.IndexByte(a.s, '=')], "*?[") || fileOptions[a.s[:strings.IndexByte(a.s, '=')]]):
			return p, false // --include=*.go is that option, whatever it matches
		case strings.HasPrefix(a.s, "--"):
			name, value, attached := strings.Cut(a.s, "=")
			switch {
			case !attached && (slices.Contains(words, name) || slices.Contains(words, name+"?")):
				add(name)
			case attached && (slices.Contains(words, name+"=") || slices.Contains(words, name+"?")):
				add(name, arg{s: value})
			case !attached && slices.Contains(words, name+"="):
				v, ok := take(1)
				if !ok {
					return p, false
				}
				add(name, v...)
			case !attached && slices.Contains(words, name+"=="):
				v, ok := take(2)
				if !ok {
					return p, false
				}
				add(name, v...)
			default:
				return p, false
			}
		case slices.Contains(words, "-#") && number(a.s[1:]):
		default:
			for i := 1; i < len(a.s); i++ {
				letter := "-" + a.s[i:i+1]
				kind := short(words, a.s[i])
				if kind == 0 {
					return p, false
				}
				if kind == 'f' {
					add(letter)
					continue
				}
				if rest := a.s[i+1:]; kind == 'o' && rest == "" {
					add(letter)
				} else if rest != "" {
					add(letter, arg{s: rest})
				} else if v, ok := take(1); ok {
					add(letter, v...)
				} else {
					return p, false
				}
				break
			}
		}
	}
	return p, true
}

// short is what a short option is in a spec: f without a value, v with one, o with one or none, 0 not in it.
func short(words []string, letter byte) byte {
	for _, word := range words {
		if strings.HasPrefix(word, "--") || word == "-#" || strings.IndexByte(word[1:], letter) < 0 || letter == ':' || letter == '?' {
			continue
		}
		if strings.HasSuffix(word, ":") {
			return 'v'
		}
		if strings.HasSuffix(word, "?") {
			return 'o'
		}
		return 'f'
	}
	return 0
}

// fileOptions are the options whose value is a file that is read, in every tool that has them.
var fileOptions = set("-f --file --from-file --exclude-from")

func (w *walker) tool(t tool, args []arg, in dirs) {
	p, ok := parse(t.spec, args, false)
	if !ok || t.max < 0 && len(p.rest) > 0 || t.max > 0 && len(p.rest) > t.max {
		w.deny(WhyOption)
		return
	}
	w.atLeast(t.class)
	for _, o := range p.opts {
		if fileOptions[o.name] {
			for _, v := range o.value {
				w.read(v, in, content)
			}
		}
	}
	w.reads(p.rest, in, t.use)
	if t.here && len(p.rest) == 0 {
		w.read(arg{s: "."}, in, t.use)
	}
	if t.judge != nil {
		t.judge(w, p, in)
	}
}

func (w *walker) reads(args []arg, in dirs, how depthOf) {
	for _, a := range args {
		w.read(a, in, how)
	}
}

// runner judges a program that runs what the project says.
func (w *walker) runner(name string, r runner, args []arg, in dirs) {
	if asksVersion(args) || name == "go" && len(args) == 1 && (args[0].s == "version" || args[0].s == "env") {
		return
	}
	if r.subs != "" && (len(args) == 0 || args[0].glob || !slices.Contains(strings.Fields(r.subs), args[0].s)) {
		w.deny(WhyOption)
		return
	}
	w.runs(name, in)
	outs := strings.Fields(r.outs)
	for i, a := range args {
		flag, value, attached := strings.Cut(a.s, "=")
		if slices.Contains(outs, flag) {
			if attached {
				w.write(arg{s: value}, in)
			} else if i+1 < len(args) {
				w.write(args[i+1], in)
			}
			continue
		}
		key := strings.TrimRight(flag, "+:?!") // of make's NAME:=VALUE
		switch {
		case a.glob && strings.ContainsRune("*?[-", rune(a.s[0])), banned(strings.Fields(r.bans), flag, name == "go"),
			attached && !strings.HasPrefix(flag, "-") && identifier(key) && !settable(key, syntax.LangBash):
			w.deny(WhyOption)
		case strings.Contains(a.s, "://"), name == "go" && (strings.Contains(a.s, "@") || strings.Contains(a.s, "-ext")):
			w.deny(WhyProgram)
		}
		for _, v := range []string{a.s, value} {
			if v == "" || strings.HasPrefix(v, "-") || !strings.Contains(v, "/") && v[0] != '.' {
				continue
			}
			for _, dir := range in {
				rel, ok := under(w.o.Tree, resolve(dir, v))
				switch {
				case !ok:
					w.deny(WhyOutside)
				case strings.Contains("/"+rel, "/.") && control(rel, a.glob): // it may be an option's, and written
					w.deny(WhyControl)
				}
			}
		}
	}
}

func asksVersion(args []arg) bool {
	return len(args) == 1 && (args[0].s == "--version" || args[0].s == "--help")
}

// identifier tells whether s could be a variable's name.
func identifier(s string) bool {
	return s != "" && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

// banned tells whether a flag is, or may be short for, one of the bans: with one dash or two, since some programs take
// either. Where flags are long with one dash, they stand alone; elsewhere a cluster of short options may hold one.
func banned(bans []string, flag string, singleDash bool) bool {
	if len(flag) < 2 || flag[0] != '-' || flag == "--" {
		return false
	}
	name := strings.TrimLeft(flag, "-")
	return slices.ContainsFunc(bans, func(ban string) bool {
		long := strings.TrimLeft(ban, "-")
		switch {
		case name == long, (len(name) > 2 || strings.HasPrefix(flag, "--")) && strings.HasPrefix(long, name):
			return true
		case len(long) == 1 && !strings.HasPrefix(flag, "--") && !singleDash:
			return strings.Contains(name, long)
		}
		return false
	})
}

// interpreter judges an interpreter: a file of the project is opaque, code by argument or standard input is not let by.
func (w *walker) interpreter(name, spec string, args []arg, in dirs) {
	if asksVersion(args) || len(args) == 1 && (args[0].s == "-V" && name == "python" || args[0].s == "-v" && name == "node") {
		return
	}
	if name == "python" && len(args) > 1 && args[0].s == "-m" {
		if args[1].glob || !modules[args[1].s] {
			w.deny(WhyProgram)
			return
		}
		if r, ok := runners[args[1].s]; ok {
			w.runner(args[1].s, r, args[2:], in)
			return
		}
		w.runner(args[1].s, runner{}, args[2:], in)
		return
	}
	p, ok := parse(spec, args, true)
	switch {
	case !ok:
		w.deny(WhyInline)
		return
	case len(p.rest) == 0 && p.has["--test"]:
		w.runs(name, in)
		return
	case len(p.rest) == 0 || p.rest[0].s == "-" || p.rest[0].glob || p.rest[0].s == "":
		w.deny(WhyInline)
		return
	}
	w.ownFile(p.rest[0], in)
}
