package shell

import (
	"path"
	"slices"
	"strings"

	"mvdan.cc/sh/v3/syntax"
)

func numbers(w *walker, p parsed, _ dirs) {
	for _, a := range p.rest {
		if a.glob || !number(strings.TrimRight(strings.Replace(a.s, ".", "", 1), "smh")) {
			w.deny(WhyOption)
		}
	}
}

// dateFormat: an argument that is no format sets the clock.
func dateFormat(w *walker, p parsed, _ dirs) {
	for _, a := range p.rest {
		if a.glob || !strings.HasPrefix(a.s, "+") {
			w.deny(WhyOption)
		}
	}
}

func listing(w *walker, p parsed, in dirs) {
	if !p.has["-R"] && !p.has["--recursive"] {
		return
	}
	w.reads(p.rest, in, below)
	if len(p.rest) == 0 {
		w.read(arg{s: "."}, in, below)
	}
}

// search is grep, rg and fd: the first argument is the pattern, unless an option is.
func search(w *walker, p parsed, in dirs) {
	files := p.rest
	if !p.has["-e"] && !p.has["--regexp"] && !p.has["-f"] && !p.has["--file"] && !p.has["--files"] && !p.has["--type-list"] && len(files) > 0 {
		if files[0].glob { // it may be several
			w.deny(WhyDynamic)
		}
		files = files[1:]
	}
	w.reads(files, in, below)
	if len(files) == 0 {
		w.read(arg{s: "."}, in, below)
	}
}

// filter is jq: a filter can read the environment, and modules from elsewhere.
func filter(w *walker, p parsed, in dirs) {
	files := p.rest
	if !p.has["-f"] && !p.has["--from-file"] && len(files) > 0 {
		code := strings.ToLower(files[0].s)
		if files[0].glob || slices.ContainsFunc([]string{"env", "import", "include", "modulemeta", "$__"}, func(s string) bool { return strings.Contains(code, s) }) {
			w.deny(WhyInline)
		}
		files = files[1:]
	}
	w.reads(files, in, content)
}

// awkScript: what runs, writes, reads from elsewhere, or cannot be told from that, is inline code.
func awkScript(w *walker, p parsed, in dirs) {
	if len(p.rest) == 0 || p.rest[0].glob {
		w.deny(WhyInline)
		return
	}
	code := strings.ReplaceAll(p.rest[0].s, "||", "")
	if strings.ContainsAny(code, "|>@`") || slices.ContainsFunc([]string{"system", "getline", "ENVIRON", "PROCINFO", "ARGV", "ARGC", "extension", "load"}, func(s string) bool { return strings.Contains(code, s) }) {
		w.deny(WhyInline)
	}
	for _, a := range p.rest[1:] {
		if _, _, assigns := strings.Cut(a.s, "="); assigns { // sets a variable; harmless, but it is no file
			continue
		}
		w.read(a, in, content)
	}
}

func writesAll(w *walker, p parsed, in dirs) {
	for _, a := range p.rest {
		w.write(a, in)
	}
}

// writesRest is chmod: the first argument is no path.
func writesRest(w *walker, p parsed, in dirs) {
	// A program that takes on its owner's rights (4000, 2000, s) is more than a file.
	if len(p.rest) < 2 || p.rest[0].glob || strings.Contains(p.rest[0].s, "s") || len(strings.TrimLeft(p.rest[0].s, "=0")) > 3 && number(strings.TrimLeft(p.rest[0].s, "=")) {
		w.deny(WhyOption)
		return
	}
	for _, a := range p.rest[1:] {
		w.write(a, in)
	}
}

func copies(w *walker, p parsed, in dirs) {
	how := content
	for _, flag := range []string{"-a", "-r", "-R", "--archive", "--recursive"} {
		if p.has[flag] {
			how = below
		}
	}
	if len(p.rest) > 1 {
		w.reads(p.rest[:len(p.rest)-1], in, how)
	}
	w.into(p, in)
}

func moves(w *walker, p parsed, in dirs) {
	if len(p.rest) > 1 {
		for _, a := range p.rest[:len(p.rest)-1] {
			w.write(a, in)
		}
	}
	w.into(p, in)
}

// into judges the last argument as what is written, or as the directory in which a namesake of each source is: which of
// both it is cannot be told from the text.
func (w *walker) into(p parsed, in dirs) {
	if len(p.rest) < 2 || p.rest[len(p.rest)-1].glob {
		w.deny(WhyOption)
		return
	}
	to := p.rest[len(p.rest)-1]
	for _, from := range p.rest[:len(p.rest)-1] {
		base := path.Base(from.s)
		if base == "." || base == ".." || base == "/" || strings.HasSuffix(from.s, "/.") {
			w.deny(WhyDynamic) // names that are not seen
			continue
		}
		w.write(arg{s: to.s + "/" + base, glob: from.glob}, in)
	}
	for _, dir := range in {
		if rel, ok := under(w.o.Tree, resolve(dir, to.s)); ok && rel == "" {
			continue // the tree itself is there
		}
		w.write(to, dirs{dir})
	}
}

// links: a link is written where it lies, and makes what it names reachable under another name.
func links(w *walker, p parsed, in dirs) {
	if len(p.rest) != 2 || p.rest[0].glob || p.rest[1].glob || !p.has["-s"] && !p.has["--symbolic"] || p.has["-r"] || p.has["--relative"] {
		w.deny(WhyOption)
		return
	}
	to, name := p.rest[0], p.rest[1]
	if _, ok := controlBelow[strings.ToLower(path.Base(to.s))]; ok { // what lies in it is known by this name
		w.deny(WhyControl)
	}
	for _, dir := range in {
		link := resolve(dir, name.s)
		// From where the link lies, and from within the directory that its name may be.
		w.write(to, dirs{path.Dir(link), link})
	}
	w.into(p, in)
}

func formats(w *walker, p parsed, in dirs) {
	if !p.has["-w"] {
		return
	}
	for _, a := range p.rest {
		for _, dir := range in {
			if rel, ok := under(w.o.Tree, resolve(dir, a.s)); ok && rel == "" && !a.glob { // the whole tree's Go files
				w.atLeast(Write)
				continue
			}
			w.write(a, dirs{dir})
		}
	}
}

// printf: -v and %n assign, and zsh evaluates numbers.
func (w *walker) printf(args []arg) {
	if len(args) == 0 || args[0].dynamic || args[0].glob || strings.HasPrefix(args[0].s, "-") {
		w.deny(WhyDynamic)
		return
	}
	format := args[0].s
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		i++
		for i < len(format) && strings.IndexByte("-+ #0.123456789", format[i]) >= 0 {
			i++
		}
		verbs := "s%bqdiuxXoc"
		if w.lang == syntax.LangZsh {
			verbs = "s%b"
		}
		if i >= len(format) || strings.IndexByte(verbs, format[i]) < 0 {
			w.deny(WhyArithmetic)
			return
		}
	}
}

// testCommand is `test` and `[`: -v and -R evaluate subscripts, and zsh evaluates what is compared as numbers.
func (w *walker) testCommand(args []arg) {
	for i, a := range args {
		switch a.s {
		case "-v", "-R":
			w.deny(WhyArithmetic)
		case "-eq", "-ne", "-lt", "-le", "-gt", "-ge":
			if w.lang == syntax.LangZsh && (i == 0 || i+1 >= len(args) || !number(args[i-1].s) || !number(args[i+1].s)) {
				w.deny(WhyArithmetic)
			}
		}
		if a.glob { // whatever it matches may be an operator
			w.deny(WhyDynamic)
		}
	}
}

func (w *walker) set(args []arg) {
	for i, a := range args {
		ok := len(a.s) > 1 && (a.s[0] == '-' || a.s[0] == '+') && strings.Trim(a.s[1:], "euxvo") == ""
		if i > 0 && strings.HasSuffix(args[i-1].s, "o") {
			ok = ok || slices.Contains([]string{"pipefail", "errexit", "nounset", "xtrace", "verbose"}, a.s)
		}
		if !ok {
			w.deny(WhyOption)
		}
	}
	if len(args) == 0 { // prints all variables
		w.deny(WhySecret)
	}
}

// Predicates of find that only look.
var (
	findFlags  = set("-print -print0 -prune -quit -depth -mount -xdev -daystart -follow -empty -executable -readable -writable -nouser -nogroup -true -false -ls -not -a -o -and -or ! ( ) , -H -L -P")
	findValues = set(`-name -iname -path -ipath -wholename -iwholename -regex -iregex -regextype -type -xtype -size -maxdepth -mindepth -mtime -mmin -atime -amin -ctime -cmin
		-newermt -perm -user -group -uid -gid -links -inum -lname -ilname -printf -used -fstype`)
	findFiles = set("-newer -anewer -cnewer -samefile")
)

func (w *walker) find(args []arg, in dirs) {
	roots, i := 0, 0
	for ; i < len(args) && !strings.HasPrefix(args[i].s, "-") && args[i].s != "(" && args[i].s != "!" && args[i].s != ","; i++ {
		if args[i].glob && strings.ContainsRune("*?[", rune(args[i].s[0])) {
			w.deny(WhyOption)
		}
		w.read(args[i], in, below)
		roots++
	}
	if roots == 0 {
		w.read(arg{s: "."}, in, below)
	}
	for ; i < len(args); i++ {
		a := args[i]
		switch {
		case a.glob:
			w.deny(WhyOption)
		case findFlags[a.s]:
		case (findValues[a.s] || findFiles[a.s]) && i+1 < len(args):
			i++
			if args[i].glob { // it may be several, and so predicates
				w.deny(WhyOption)
			}
			if findFiles[a.s] {
				w.read(args[i], in, content)
			}
		case !strings.HasPrefix(a.s, "-") && a.s != "": // a root after -H, -L or -P
			w.read(a, in, below)
		default:
			w.deny(WhyOption)
		}
	}
}
