package shell

import (
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"mvdan.cc/sh/v3/syntax"
	"pgregory.net/rapid"
)

// wraps are ways to run a command by another, or as a part of one. %s stands for it.
var wraps = []string{
	"%s && true", "true && %s", "%s || true", "false || %s", "%s; true", "true; %s", "%s\ntrue", "( %s )", "{ %s; }", "%s | cat", "cat x | %s", "{ ! %s; }", "{ %s & }", "if %s; then true; fi", "if true; then %s; fi",
	"if true; then true; else %s; fi", "while %s; do true; done", "until true; do %s; done", "for i in 1 2; do %s; done", "case x in x) %s;; esac", "case x in y) true;; *) %s;; esac",
	"echo \"$( %s )\"", "echo $( %s )", "echo ${x:-$( %s )}", "cat <( %s )", "x=$( %s )", "[[ -n $( %s ) ]]", "f() { %s; }", "{ cat <<E\n$( %s )\nE\n}", "{ true; { ( %s ); }; }", "time %s", "%s 2>&1", "{ # c\n%s\n}",
}

// prefixes are put before a simple command.
var prefixes = []string{"timeout 5 ", "timeout -s KILL 5 ", "nice -n 5 ", "nohup ", "env ", "env LANG=C ", "command ", "setsid ", "stdbuf -oL ", "LC_ALL=C ", "xargs ", "sudo ", "eval ", "exec ", "builtin ", "busybox ", "watch ", "parallel ", "find . -exec ", "env -i "}

// simple are commands of each class that can be put anywhere: they change no directory and end no word.
var simple = sync.OnceValue(func() map[Class][]string {
	out := map[Class][]string{}
	add := func(c Class, commands []string) {
		for _, s := range commands {
			if s != "" && !strings.ContainsAny(s, "\n#;&") && !strings.Contains(s, "cd ") && strings.TrimSpace(s) != "" && !strings.ContainsAny(s, "()`") && !strings.HasPrefix(s, "~") && !strings.HasPrefix(s, "! ") {
				out[c] = append(out[c], s)
			}
		}
	}
	for c, commands := range allowed {
		add(c, commands)
	}
	for _, commands := range privileged {
		add(Privileged, slices.DeleteFunc(slices.Clone(commands), func(s string) bool { return parses(s) != nil }))
	}
	slices.Sort(out[Privileged]) // the same draws the same
	return out
})

func anyCommand(t *rapid.T, name string) (string, Class) {
	all := simple()
	class := rapid.SampledFrom([]Class{Read, Write, Run, Privileged}).Draw(t, name+" class")
	return rapid.SampledFrom(all[class]).Draw(t, name), class
}

// The class of what is composed is the worst of its parts: neither better (nothing hides) nor worse (nothing is called
// privileged for its form).
func TestACompositionIsTheWorstOfItsParts(t *testing.T) {
	for _, wrap := range wraps {
		if c := classOf(fmt.Sprintf(wrap, "true")); c.Worse(Read) {
			t.Errorf("%q alone is %v", wrap, c)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		command, want := anyCommand(t, "command")
		for range rapid.IntRange(1, 4).Draw(t, "depth") {
			wrap := rapid.SampledFrom(wraps).Draw(t, "wrap")
			if strings.Contains(wrap, "<<E") && strings.Contains(command, "<<E") {
				continue
			}
			command = fmt.Sprintf(wrap, command)
		}
		if got := classOf(command); got != want {
			t.Fatalf("%q is %v, its part is %v", command, got, want)
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, ca := anyCommand(t, "a")
		b, cb := anyCommand(t, "b")
		for _, join := range []string{" && ", " || ", "; ", " | ", "\n", " & "} {
			if got := classOf(a + join + b); got != ca.Worst(cb) {
				t.Fatalf("%q is %v, its parts are %v and %v", a+join+b, got, ca, cb)
			}
		}
	})
}

func TestAWrapperNeverLowers(t *testing.T) {
	assigns := regexp.MustCompile(`^\w+(\[\w+\])?\+?=`)
	rapid.Check(t, func(t *rapid.T) {
		command, class := anyCommand(t, "command")
		if _, err := syntax.NewParser().Parse(strings.NewReader("env "+command), ""); err != nil || assigns.MatchString(command) {
			return // it is more than a command, or would become an argument
		}
		for range rapid.IntRange(1, 3).Draw(t, "wrappers") {
			command = rapid.SampledFrom(prefixes).Draw(t, "wrapper") + command
		}
		if got := classOf(command); class.Worse(got) {
			t.Fatalf("%q is %v, what it runs is %v", command, got, class)
		}
	})
}

// Each table's near misses: what differs from an allowed shape in one thing is privileged.
func TestANearMissOfEveryToolIsPrivileged(t *testing.T) {
	letters := "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	check := func(what string) {
		t.Helper()
		if c := classOf(what); c != Privileged {
			t.Errorf("%q is %v", what, c)
		}
	}
	specs := map[string]string{}
	for name, tool := range tools {
		specs[name] = tool.spec
		if tool.class == Write {
			check(name + " x ../y")
			check(name + " x .git/hooks")
			check(name + " x *")
		}
		if tool.use == content {
			check(name + " x ~/.ssh/id_rsa")
			check(name + " /proc/self/environ")
		}
	}
	for name, command := range gitCommands {
		specs["git "+name] = command.spec
	}
	for name, w := range wrappers {
		specs[name] = w.spec
		check(name + " -unknown ls")
	}
	for name, spec := range specs {
		words := strings.Fields(spec)
		check("./" + name + " x")
		if name == "command" {
			continue // -v and -V only say what would run
		}
		check(name + " x$y")
		if !slices.Contains(words, "-*") {
			check(name + " --no-such-option x")
			for _, letter := range letters {
				if short(words, byte(letter)) == 0 {
					check(fmt.Sprintf("%s -%c x", name, letter))
				}
			}
			for _, word := range words {
				if long, ok := strings.CutSuffix(word, "="); ok && len(long) > 4 && !slices.ContainsFunc(words, func(o string) bool { return o != word && strings.TrimRight(o, "=?") == long[:len(long)-1] }) {
					check(name + " " + long[:len(long)-1] + "=x") // an abbreviation
				}
			}
		}
	}
	for name, r := range runners {
		sub := ""
		if subs := strings.Fields(r.subs); len(subs) > 0 {
			sub = " " + subs[0]
			check(name + " no-such-command")
		}
		check(name + sub + " /elsewhere/x")
		check(name + sub + " ../x")
		check(name + sub + " https://example.org/x")
		check(name + sub + " PATH=x")
		check(name + sub + " $x")
		check("cd /elsewhere; " + name + sub)
		check("PATH=x " + name + sub)
		for _, ban := range strings.Fields(r.bans) {
			check(name + sub + " " + ban + " x")
			check(name + sub + " " + ban + "=x")
		}
	}
	for name := range interpreters {
		for _, rest := range []string{"", " -c x", " -", " /elsewhere/x", " ../x", " $x", " *", " -i x", " <<< x", " /dev/stdin", " -unknown x"} {
			check(name + rest)
		}
	}
	for name := range modules {
		check("cd /elsewhere; python3 -m " + name)
	}
}

// A variable that is not known to be harmless makes a known program's behaviour unknown; one that programs obey is
// never let by.
func TestVariables(t *testing.T) {
	for name := range harmlessNames {
		if c := classOf(name + "=x ls"); c != Read {
			t.Errorf("%s=x ls is %v", name, c)
		}
	}
	for _, name := range slices.Concat(armedParts, slices.Collect(maps.Keys(armedNames))) {
		for _, form := range []string{name, "X" + name, name + "X"} {
			if !settable(form, 0) || harmless(form) || form != name && !slices.Contains(armedParts, name) {
				continue
			}
			t.Errorf("%s may be set", form)
		}
	}
	for _, c := range []string{"FOO=1 ls", "FOO=1 touch x", "env FOO=1 ls"} {
		if classOf(c) != Privileged {
			t.Errorf("%q is not privileged", c)
		}
	}
}

func TestWithoutATreeNothingIsWrittenOrRun(t *testing.T) {
	for _, class := range []Class{Write, Run} {
		for _, command := range allowed[class] {
			for _, o := range []Options{{}, {Dir: "/x"}, {Dir: "/x", Tree: "/y"}, {Dir: "/h/ada/src/shop2", Tree: "/h/ada/src/shop"}} {
				if strings.Contains(command, "/shop/") || strings.Contains(command, "~/") {
					continue // names the tree itself
				}
				if f := Classify(command, o); f.Class != Privileged {
					t.Errorf("%q with %+v is %v", command, o, f.Class)
				}
			}
		}
	}
}

func TestDialects(t *testing.T) {
	for _, c := range []struct {
		command       string
		bash, sh, zsh Class
	}{
		{"ls -l", Read, Read, Read},
		{"ls *.go", Privileged, Privileged, Privileged}, // a file may be called -x
		{"ls src/*.go", Read, Read, Privileged},         // zsh's patterns can run code
		{"cat {a,b}", Read, Privileged, Privileged},
		{"ls =git", Read, Read, Privileged},
		{"[[ -f x ]]", Read, Privileged, Read},
		{"$'git' status", Read, Privileged, Privileged},
		{"x=1; ls", Read, Read, Privileged},
		{"ls *(e:ls:)", Privileged, Privileged, Privileged},
		{"git push", Privileged, Privileged, Privileged},
		{"git commit -m 'x y'", Run, Run, Run},
		{"mkdir x && touch x/y", Write, Write, Write},
		{"echo ${(e)x}", Privileged, Privileged, Privileged},
		{"[ a -eq b ]", Read, Read, Privileged},
		{"echo *(e:ls:)", Read, Privileged, Privileged},
		{"echo *", Read, Read, Privileged},
		{"cat <<E\n*\nE", Read, Read, Read},
	} {
		for dialect, want := range map[string]Class{"": c.bash, "bash": c.bash, "sh": c.sh, "zsh": c.zsh, "fish": Privileged, "pwsh": Privileged, "BASH": Privileged} {
			o := here()
			o.Dialect = dialect
			if f := Classify(c.command, o); f.Class != want {
				t.Errorf("%s: %q is %v %q, want %v", dialect, c.command, f.Class, f.Why, want)
			}
		}
	}
}

func TestAFileIsJudgedAsACommandJudgesIt(t *testing.T) {
	for _, c := range []struct {
		name  string
		write bool
		want  Class
	}{
		{"a.go", false, Read}, {"a.go", true, Write}, {"/h/ada/src/shop/a.go", true, Write}, {"../x", true, Privileged}, {"../x", false, Read}, {"/tmp/x", true, Privileged},
		{".git/config", true, Privileged}, {".claude/settings.json", true, Privileged}, {"package.json", false, Read}, {"package.json", true, Privileged}, {"/h/ada/.ssh/id_rsa", false, Privileged},
		{".env", false, Privileged}, {"/proc/self/environ", false, Privileged}, {"", true, Privileged}, {"", false, Privileged}, {"a\x00b", true, Privileged}, {".", true, Privileged}, {"a*b", true, Write},
	} {
		f := File(c.name, c.write, here())
		if f.Class != c.want || (f.Class == Privileged) != (len(f.Why) > 0) {
			t.Errorf("%q, %v: %v %q, want %v", c.name, c.write, f.Class, f.Why, c.want)
		}
	}
}

// loops is n loops within each other, each of its own variable.
func loops(n int) string {
	if n == 0 {
		return "ls"
	}
	return fmt.Sprintf("for a%d in 1 2 3 4 5 6 7 8; do %s; done", n, loops(n-1))
}

func TestTheTreeItselfIsNotWritten(t *testing.T) {
	o := here()
	o.Env = nil
	for _, c := range []string{"rm -rf .", "rm -rf /h/ada/src/shop", "rm -rf sub/..", "mv . x", "touch .", "rm -rf ./", "rm -rf $PWD"} {
		if f := Classify(c, o); f.Class != Privileged {
			t.Errorf("%q is %v", c, f.Class)
		}
	}
}

// What repeats itself costs no more than the limits say, and says so.
func TestLimits(t *testing.T) {
	for what, command := range map[string]string{
		"deep":          strings.Repeat("( ", maxDepth+1) + "ls" + strings.Repeat(" )", maxDepth+1),
		"deep words":    strings.Repeat("if ls; then ", maxDepth) + "ls" + strings.Repeat("; fi", maxDepth),
		"parentheses":   strings.Repeat("(", 20_000) + "ls" + strings.Repeat(")", 20_000),
		"braces":        strings.Repeat("{ ", 20_000) + "ls" + strings.Repeat("; }", 10_000),
		"substitutions": strings.Repeat("$(", 20_000) + "ls" + strings.Repeat(")", 20_000),
		"backquotes":    strings.Repeat("`", 60_000),
		"ifs":           strings.Repeat("if ", 20_000) + "ls",
		"negations":     strings.Repeat("! ", 30_000) + "ls",
		"loops":         loops(12),
		"brace words":   "ls " + strings.Repeat("{a,b}", 4000),
		"sequence":      "ls {1..1000000000}",
		"directories":   strings.Repeat("cd x; ", 5000) + "ls",
		"words":         "ls " + strings.Repeat("a ", 32_000),
		"bytes":         strings.Repeat("#", maxCommand+1),
	} {
		f := Classify(command, here())
		if f.Class != Privileged {
			t.Errorf("%s: %v", what, f.Class)
		}
	}
}

func FuzzClassify(f *testing.F) {
	for _, commands := range allowed {
		for _, c := range commands {
			f.Add(c, "")
		}
	}
	for _, commands := range privileged {
		for _, c := range commands {
			f.Add(c, "bash")
		}
	}
	f.Add("ls", "zsh")
	f.Add("ls", "sh")
	f.Fuzz(func(t *testing.T, command, dialect string) {
		o := here()
		o.Dialect = dialect
		a, b := Classify(command, o), Classify(command, o)
		if !reflect.DeepEqual(a, b) {
			t.Fatalf("%q: %+v, then %+v", command, a, b)
		}
		if (a.Class == Privileged) != (len(a.Why) > 0) {
			t.Fatalf("%q: %v for %q", command, a.Class, a.Why)
		}
		if a.Class == Read && (len(a.Writes) > 0 || len(a.Programs) > 0) || a.Class == Write && len(a.Programs) > 0 {
			t.Fatalf("%q: %+v", command, a)
		}
		if strings.ContainsAny(command, "\n#\\") || parses(command) != nil {
			return // it would not be the same command within another
		}
		for _, wrap := range []string{"true && %s\n", "(%s\n)", "if true; then %s\nfi"} {
			if got := Classify(fmt.Sprintf(wrap, command), o); a.Class.Worse(got.Class) {
				t.Fatalf("%q is %v, wrapped by %q it is %v", command, a.Class, wrap, got.Class)
			}
		}
	})
}
