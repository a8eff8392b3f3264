package agents

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pelletier/go-toml/v2"

	"github.com/remit-dev/remit"
)

var update = flag.Bool("update", false, "write the golden files anew")

// disk are files of a person and of a repository.
type disk map[string]string

func (d disk) read(name string) ([]byte, error) {
	s, ok := d[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return []byte(s), nil
}

func run(d disk, env ...string) Run {
	return Run{
		Dir: "/run/agent", Home: "/people/ada", Tree: "/src/it's", Remit: "/usr/bin/remit", Socket: "/run/I-7/instance.sock", Org: "acme",
		Front: "http://127.0.0.1:4711", Bearer: "BEARER", MCP: []string{"forge", "tracker"}, ReadFile: d.read,
		Getenv: func(name string) string {
			for _, kv := range env {
				if k, v, _ := strings.Cut(kv, "="); k == name {
					return v
				}
			}
			return ""
		},
	}
}

// own is a person who has used every agent, with settings that would bring servers and hooks of their own along.
var own = disk{
	"/people/ada/.claude/settings.json": `{"model":"opus","hooks":{"PreToolUse":[]},"disableAllHooks":true,"enabledPlugins":{"x":true},"permissions":{"deny":["Read(.env)"]},
		"env":{"CLAUDE_CODE_SIMPLE":"1","CLAUDE_CODE_USE_BEDROCK":"1","GITHUB_TOKEN":"secret-1"}}`,
	"/people/ada/.claude.json": `{"theme":"dark","hasCompletedOnboarding":true,"mcpServers":{"x":{"command":"y"}},
		"projects":{"/src/it's":{"hasTrustDialogAccepted":true,"mcpServers":{"x":{}},"allowedTools":["Bash"]},"/else":{"hasTrustDialogAccepted":true}}}`,
	"/people/ada/.claude/.credentials.json": `{"claudeAiOauth":"secret-2"}`,
	"/people/ada/.claude/CLAUDE.md":         "Be brief.\n",
	"/people/ada/.codex/config.toml":        "model = 'gpt-5'\nnotify = ['x']\n[features]\nhooks = false\n[mcp_servers.x]\ncommand = 'y'\n[projects.'/src/it']\ntrust_level = 'trusted'\n[model_providers.z]\nbase_url = 'https://z'\n",
	"/people/ada/.codex/auth.json":          `{"tokens":"secret-3"}`,
	"/people/ada/.gemini/settings.json": `{"security":{"auth":{"selectedType":"oauth-personal"}},"hooksConfig":{"enabled":false},"mcpServers":{"x":{"command":"y"}},"admin":{},
		"tools":{"sandbox":false,"discoveryCommand":"./x"}}`,
	"/people/ada/.gemini/oauth_creds.json": `{"refresh_token":"secret-4"}`,
	"/people/ada/.copilot/config.json":     `{"trusted_folders":["/src"],"logged_in_users":[{"login":"ada"}],"disableAllHooks":true}`,
}

// What each agent is started with is looked at by people when it changes.
func TestGolden(t *testing.T) {
	for _, c := range []struct {
		name      string
		argv      []string
		disk      disk
		sandboxed bool
	}{
		{"claude", []string{"claude", "-p", "fix it"}, own, false},
		{"claude-new", []string{"npx", "-y", "@anthropic-ai/claude-code@2.1.330", "--continue"}, disk{}, true},
		{"codex", []string{"codex", "exec", "-m", "o3", "fix it"}, own, false},
		{"codex-new", []string{"codex"}, disk{}, true},
		{"gemini", []string{"gemini", "-p", "fix it"}, own, false},
		{"copilot", []string{"copilot"}, own, false},
		{"opencode", []string{"opencode", "run", "fix it"}, own, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := run(c.disk)
			r.Sandboxed = c.sandboxed
			a, ok := Recognise(c.argv)
			if !ok {
				t.Fatal("not recognised")
			}
			s, err := a.Setup(r, c.argv)
			if err != nil {
				t.Fatal(err)
			}
			got := show(s) + "\nmodel at " + strings.Join(a.Hosts(r.Getenv), ", ") + "\n"
			if strings.Contains(got, "secret-") {
				t.Errorf("a secret of the person's is in what is written:\n%s", got)
			}
			if strings.Contains(strings.Join(s.Command, " "), "BEARER") {
				t.Error("the bearer is on the command line, where everybody can read it")
			}
			golden := filepath.Join("testdata", c.name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("run the test with -update if this is right:\n%s", got)
			}
		})
	}
}

// show writes a set-up for people.
func show(s Setup) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s)\n\n", s.Name, s.Host)
	for _, arg := range s.Command {
		fmt.Fprintf(&b, "arg %s\n", arg)
	}
	for _, v := range s.Set {
		fmt.Fprintf(&b, "set %s=%s\n", v.Name, v.Value)
	}
	for _, v := range s.Unset {
		fmt.Fprintf(&b, "unset %s\n", v)
	}
	for _, v := range s.Needs {
		fmt.Fprintf(&b, "gets %s\n", v)
	}
	for _, l := range s.Logins {
		fmt.Fprintf(&b, "login %s as %s\n", l.From, l.Name)
	}
	if s.Canary != nil {
		fmt.Fprintf(&b, "canary %s\n  reads %s\n", s.Canary.Line, s.Canary.Input)
	}
	if s.Trust != nil {
		fmt.Fprintf(&b, "trust %d hooks by %q into %s\n", s.Trust.Hooks, s.Trust.Command, s.Trust.File)
	}
	for _, o := range s.Observed {
		fmt.Fprintf(&b, "observed %s\n", o)
	}
	for _, f := range s.Files {
		fmt.Fprintf(&b, "\n-- %s --\n%s", f.Name, f.Content)
	}
	return b.String()
}

func TestRecognise(t *testing.T) {
	for line, want := range map[string]string{
		"claude":                              "Claude Code 1",
		"/usr/local/bin/claude -p x":          "Claude Code 1",
		"./node_modules/.bin/codex exec x":    "Codex 1",
		"node /x/node_modules/.bin/claude -p": "Claude Code 2",
		"node --max-old-space-size=1 -r x node_modules/@google/gemini-cli/bundle/gemini.js -p": "Gemini CLI 5",
		"/x/node_modules/@anthropic-ai/claude-code/cli.js x":                                   "Claude Code 1",
		"npx claude":                        "Claude Code 2",
		"npx -y @openai/codex@0.169.0 exec": "Codex 3",
		"npx -p @github/copilot copilot x":  "GitHub Copilot CLI 4",
		"npm exec -- @google/gemini-cli x":  "Gemini CLI 4",
		"pnpm dlx opencode-ai run x":        "opencode 3",
		"bunx @anthropic-ai/claude-code":    "Claude Code 2",
		"npx":                               "",
		"npx -c claude":                     "",
		"npx cowsay claude":                 "",
		"npm run claude":                    "",
		"node -e claude":                    "",
		"node":                              "",
		"node x.js claude":                  "",
		"sh -c claude":                      "",
		"claude2":                           "",
		"make claude":                       "",
		"":                                  "",
		"/x/other_modules/@openai/codex/bin/codex.mjs": "",
	} {
		a, ok := Recognise(strings.Fields(line))
		got := ""
		if ok {
			got = fmt.Sprintf("%s %d", a.Name(), a.args)
		}
		if got != want {
			t.Errorf("%q is %q, not %q", line, got, want)
		}
	}
	for _, n := range Names() {
		if a, ok := Named(n); !ok || a.args != 1 {
			t.Errorf("%s is not known", n)
		}
	}
	if _, ok := Named("vim"); ok {
		t.Error("vim is no agent")
	}
}

// What a person gives stays behind ours, in order, and what would win over ours is refused.
func TestArguments(t *testing.T) {
	for _, c := range []struct {
		line    string
		refused string // part of the sentence; empty: it starts
	}{
		{"claude --dangerously-skip-permissions -p x", ""}, // Remit's denial holds under it
		{"claude -p -- --bare", ""},
		{"claude --bare -p x", "switches hooks off"},
		{"claude -p x --safe-mode", "switches hooks off"},
		{"claude --settings x", "two settings do not add up"},
		{"claude --settings={} x", "two settings do not add up"},
		{"claude --setting-sources user,project", "two settings do not add up"},
		{"claude --mcp-config x", "do not pass Remit"},
		{"claude --restricted", "not known"},
		{"codex exec -c model=x y", ""},
		{"codex -c features.web_search=true", "features"},
		{"codex exec -c features.hooks=false x", "features"},
		{"codex exec -cfeatures.hooks=false x", "features"},
		{"codex exec -c=features={hooks=false} x", "features"},
		{`codex exec -c "features".hooks=false x`, "features"},
		{"codex exec --config features.hooks=false", "features"},
		{"codex exec --config=mcp_servers.x.url=y", "mcp_servers"},
		{"codex -c hooks.state.x.trusted_hash=y", "hooks"},
		{"codex -c projects./x.trust_level=trusted", "projects"},
		{"codex --disable hooks", "features"},
		{"codex --disable=hooks", "features"},
		{"codex --disable web_search", ""},
		{"codex --dangerously-bypass-hook-trust", "trusts the repository's hooks"},
		{"codex exec --ignore-user-config", "skip it without a word"},
		{"codex --remote ws://x:1", "not part of this run"},
		{"codex exec -- -c features.hooks=false", ""},
		{"gemini --allowed-mcp-server-names x", "from Remit only"},
		{"gemini --approval-mode yolo -p x", ""},
		{"copilot --trust-folder", "trusts the folder"},
		{"copilot --yolo", "trusts the folder"},
		{"copilot --additional-mcp-config {}", "from Remit only"},
		{"copilot --allow-all-tools", ""},
	} {
		argv := strings.Fields(c.line)
		a, ok := Recognise(argv)
		if !ok {
			t.Fatalf("%s: not recognised", c.line)
		}
		s, err := a.Setup(run(disk{}), argv)
		switch {
		case c.refused == "" && err != nil:
			t.Errorf("%s: %v", c.line, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%s: %v, and nothing of %q", c.line, err, c.refused)
		case c.refused != "":
			var e *remit.Error
			if !errors.As(err, &e) || e.Code != remit.BadRequest {
				t.Errorf("%s: %v", c.line, err)
			}
		default:
			if !slices.Equal(s.Command[:1], argv[:1]) || !slices.Equal(s.Command[len(s.Command)-len(argv)+1:], argv[1:]) {
				t.Errorf("%s became %q", c.line, s.Command)
			}
		}
	}
}

// A project's settings come before Remit's in Gemini CLI.
func TestGeminiProject(t *testing.T) {
	for settings, refused := range map[string]bool{
		`{}`:                                   false,
		`{"ui":{"theme":"x"}}`:                 false,
		`{"hooksConfig":{"enabled":false}}`:    true,
		`{"hooksConfig":{"disabled":["x"]}}`:   true,
		`{"HOOKSCONFIG":{}}`:                   true,
		`{"\u0068ooksConfig":{}}`:              true,
		`{"hooks":{}}`:                         true,
		`{"mcpServers":{"remit":{"url":"x"}}}`: true,
		`{"mcp":{"allowed":[]}}`:               true,
		`// a comment` + "\n{}":                true, // it may hide anything from a reader that knows no comments
		`[]`:                                   true,
		``:                                     true,
	} {
		d := disk{"/src/it's/.gemini/settings.json": settings}
		argv := []string{"gemini"}
		a, _ := Recognise(argv)
		if _, err := a.Setup(run(d), argv); (err != nil) != refused {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

// The line must be one command of sh whatever the paths are, and end with 2 and a sentence whatever the hook does.
func TestHookLine(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, `re'mit $(touch "x") ;`)
	for script, want := range map[string]int{"exit 0": 0, "exit 1": 2, "exit 2": 2, "exit 3": 2, "kill -SEGV $$": 2, "": 2} {
		_ = os.Remove(program)
		if script != "" {
			if err := os.WriteFile(program, []byte("#!/bin/sh\nfor a; do printf '%s\\n' \"$a\"; done\n"+script+"\n"), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		r := run(disk{})
		r.Remit, r.Tree = program, dir+"/a 'b' `c` \\"
		cmd := exec.Command("sh", "-c", r.hook("codex", "--event", "x y"))
		cmd.Dir = dir
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != want || want == 2 && script != "exit 2" && !strings.Contains(errs.String(), "the call is denied") ||
			script == "exit 2" && errs.Len() > 0 { // it has said why by itself
			t.Errorf("%q: exit %d, %q", script, got, errs.String())
		}
		args := "hook\ncodex\n--event\nx y\n--socket\n/run/I-7/instance.sock\n--org\nacme\n--tree\n" + r.Tree + "\n--home\n/people/ada\n--front\nremit,remit_forge,remit_tracker\n"
		if script != "" && out.String() != args {
			t.Errorf("%q: the arguments are %q", script, out.String())
		}
	}
}

// appServer is Codex's app server, as 0.169.0 answers, with these hooks.
func appServer(hooks string) string {
	return `{"id":0,"result":{"userAgent":"x"}}
{"method":"configWarning","params":{"summary":"x"}}
not JSON
{"id":1,"result":{"data":[{"cwd":"/src","hooks":[` + hooks + `],"warnings":[],"errors":[]}]}}
`
}

func TestConverse(t *testing.T) {
	const hook = `{"key":"/run/agent/hooks.json:%s:0:0","command":"LINE","enabled":true,"currentHash":"sha256:%s","trustStatus":"untrusted"}`
	a, b := fmt.Sprintf(hook, "pre_tool_use", "aa"), fmt.Sprintf(hook, "session_start", "bb")
	foreign := `{"key":"/src/.codex/hooks.json:pre_tool_use:0:0","command":"touch /tmp/x","enabled":true,"currentHash":"sha256:cc"}`
	trust := Trust{Line: "LINE", Tree: "/src", Hooks: 2}
	var said bytes.Buffer
	text, err := trust.Converse(&said, strings.NewReader(appServer(a+","+foreign+","+b)))
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Hooks struct {
			State map[string]map[string]string `toml:"state"`
		} `toml:"hooks"`
	}
	if err := toml.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]map[string]string{"/run/agent/hooks.json:pre_tool_use:0:0": {"trusted_hash": "sha256:aa"}, "/run/agent/hooks.json:session_start:0:0": {"trusted_hash": "sha256:bb"}}
	if fmt.Sprint(got.Hooks.State) != fmt.Sprint(want) {
		t.Errorf("trusted: %v", got.Hooks.State)
	}
	for line := range strings.Lines(said.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("said %q", line)
		}
	}
	for name, out := range map[string]string{
		"one hook is missing":  appServer(a),
		"one is switched off":  appServer(a + "," + strings.Replace(b, `"enabled":true`, `"enabled":false`, 1)),
		"another line":         appServer(a + "," + strings.Replace(b, "LINE", "LINE2", 1)),
		"it ends":              `{"id":0,"result":{}}` + "\n",
		"it says nothing":      "",
		"it refuses":           `{"id":0,"error":{"code":-32600,"message":"no"}}` + "\n",
		"it says too much":     strings.Repeat("x", maxSaid+1),
		"an answer of no sort": `{"id":0,"result":7}` + "\n",
	} {
		if text, err := trust.Converse(&bytes.Buffer{}, strings.NewReader(out)); err == nil {
			t.Errorf("%s: trusted %s", name, text)
		}
	}
}

func FuzzConverse(f *testing.F) {
	f.Add([]byte(appServer("")))
	f.Fuzz(func(t *testing.T, out []byte) {
		text, err := Trust{Line: "LINE", Hooks: 1}.Converse(&bytes.Buffer{}, bytes.NewReader(out))
		if err == nil && !bytes.Contains(out, []byte("sha256:")) {
			t.Errorf("trusted out of nothing: %s", text)
		}
	})
}
