package declare_test

import (
	"reflect"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
)

// called is two servers of tools that are right: tests change one thing of them.
const called = `people:
- name: ada
  keys: [KEY1]
groups:
- name: team
  members: [ada]
upstreams:
- {name: forge, kind: http, location: "https://git.example.org", write: {from: file, name: /etc/remit/forge}}
- name: github
  kind: mcp
  location: https://mcp.example.org/mcp/
  write: {from: file, name: /etc/remit/github}
- name: kube
  kind: mcp
  command: [/usr/local/bin/mcp-kube, --stdio]
  env:
    KUBE_TOKEN: {from: exec, argv: [pass, kube]}
tools:
- name: github/get_issue
  zone: S
  impact: read
  steps: [{action: issue.read, resource: "repo:forge/{owner}/{repo}"}]
  pin: "1111111111111111111111111111111111111111111111111111111111111111"
  taints: [issue-text]
- name: github/issue_write
  zone: S
  impact: write
  steps:
  - {action: issue.comment, resource: "repo:forge/{owner}/{repo}", when: {method: comment, a.b: "1"}}
  pin: "abcdef1111111111111111111111111111111111111111111111111111111111"
  recovery: probe
  probe: {tool: get_issue, arguments: {owner: "{owner}"}, contains: "{title}"}
  approvers: [{group: team, n: 1}]
- {name: github/-/resources/*, zone: S, impact: read}
- {name: kube/**}
- {name: local/web, taints: [web-page]}
`

func TestToolsAreReadAndWritten(t *testing.T) {
	set, _, err := declare.Read(fstest.MapFS{"x.yaml": {Data: []byte(keys(called))}})
	if err != nil {
		t.Fatal(err)
	}
	files := declare.Write(set)
	again, _, err := declare.Read(fsOf(files))
	if err != nil || !reflect.DeepEqual(set, again) {
		t.Fatalf("%v\n%+v\n%+v\n%s", err, set, again, files)
	}
	w := set.Tools[1]
	if w.Pin.String() != "abcdef"+strings.Repeat("1", 58) || w.Steps[0].When["a.b"] != "1" || w.Probe.Arguments["owner"] != "{owner}" {
		t.Errorf("%+v", w)
	}
	if u := set.Upstreams[2]; u.Env["KUBE_TOKEN"].Argv[1] != "kube" || u.Command[0] != "/usr/local/bin/mcp-kube" {
		t.Errorf("%+v", u)
	}
	for _, tool := range set.Tools {
		d, err := tool.Declared()
		if err != nil {
			t.Fatal(err)
		}
		back := d.Tool()
		back.Probe = tool.Probe
		if tool.Name == "kube/**" { // what is left out is said
			tool.Zone, tool.Impact = "P", "privileged"
		}
		if !reflect.DeepEqual(back, tool) {
			t.Errorf("%+v comes back as %+v", tool, back)
		}
	}
	zones := remit.UpstreamZones(*set)
	if zones["github"] != "S" || zones["kube"] != "P" || zones["forge"] != "S" {
		t.Errorf("%v", zones)
	}
}

func TestWhatIsWrongWithTools(t *testing.T) {
	for _, c := range []struct{ name, old, new, want string }{
		{"a server that is nowhere", "  location: https://mcp.example.org/mcp/\n", "", "x.yaml:9: upstreams[1]: a server of tools has a location, https://HOST/PATH, or a command"},
		{"a server by a name of Remit's own", "tools:\n", "- {name: remit, kind: mcp, command: [/bin/x]}\ntools:\n", "upstreams[3].name: local and remit are servers of Remit's own"},
		{"a server in two places", "  kind: mcp\n  command", "  kind: mcp\n  location: https://x.example.org\n  command", "x.yaml:13: upstreams[2]: a server of tools has a location or a command, not both"},
		{"a server in the clear", "https://mcp", "http://mcp", "upstreams[1].location: http:// sends credentials in the clear"},
		{"a server with variables and no process", "  write: {from: file, name: /etc/remit/github}\n", "  env: {A: {from: env, name: A}}\n", "upstreams[1].env: env is what the process of a command gets"},
		{"a command from the path", "/usr/local/bin/mcp-kube", "mcp-kube", "x.yaml:15: upstreams[2].command: write a command as a list that begins with its full path"},
		{"a command with a credential of its own", "  env:\n    KUBE", "  write: {from: env, name: X}\n  env:\n    KUBE", "has its credentials in env"},
		{"a variable in lower case", "KUBE_TOKEN:", "kube:", `x.yaml:17: upstreams[2].env.kube: "kube" is no name for a variable`},
		{"a variable of Remit's own", "KUBE_TOKEN:", "REMIT_X:", "REMIT_ is Remit's own"},
		{"a variable with its value", "KUBE_TOKEN: {from: exec, argv: [pass, kube]}", "KUBE_TOKEN: hunter2", "a credential is never written in a declaration"},
		{"a variable from nowhere", "{from: exec, argv: [pass, kube]}", "{from: exec}", "a source from a command has argv"},
		{"a variable from something else", "{from: exec, argv: [pass, kube]}", "{from: vault}", "write file, env or exec"},
		{"a command of a forge", `"https://git.example.org", `, `"https://git.example.org", command: [/bin/true], `, "command and env are for kind: mcp only"},
		{"one credential for two zones", "{from: exec, argv: [pass, kube]}", "{from: file, name: /etc/remit/forge}", "one credential serves one zone, and these are S and P"},
		{"one for a tool's zone and another", "/etc/remit/forge", "/etc/remit/github", ""},
		{"two zones of a server", "resources/*, zone: S", "resources/*, zone: B", "x.yaml:34: tools[2].zone: github/-/resources/* lies in zone B and github/get_issue in zone S"},
		{"a zone that there is not", "resources/*, zone: S", "resources/*, zone: X", `tools[2].zone: a tool lies in zone S, B or P, not "X"`},
		{"an impact that there is not", "  impact: write", "  impact: writes", `x.yaml:27: tools[1].impact: an impact is read, write or privileged, not "writes"`},
		{"a digest that is none", "abcdef", "ABCDEF", `x.yaml:30: tools[1].pin: a digest is 64 lower-case hex digits`},
		{"a digest without quotes", `pin: "1111111111111111111111111111111111111111111111111111111111111111"`, "pin: 12", "tools[0].pin: a number; text is wanted: put it in double quotes"},
		{"no digest", `  pin: "1111111111111111111111111111111111111111111111111111111111111111"` + "\n", "", "tools[0].pin: missing; it is the digest of the definition"},
		{"an action that there is not", "action: issue.read", "action: issue.reed", `tools[0].steps[0].action: the catalogue has no action "issue.reed"`},
		{"a template that is none", "{owner}/{repo}\"}]", "{owner}/{repo\"}]", "tools[0].steps[0].resource: \"repo:forge/{owner}/{repo\" is no name with arguments as whole segments"},
		{"a step without a resource", ", resource: \"repo:forge/{owner}/{repo}\"}]", "}]", "tools[0].steps[0].resource: missing"},
		{"another member", "taints: [issue-text]", "taint: [issue-text]", `tools[0]: unknown member "taint"; "taints" is meant, perhaps`},
		{"a label in capitals", "[issue-text]", "[Issue]", `tools[0].taints[0]: "Issue": a label is`},
		{"no such server", "kube/**", "cube/**", `tools[3].name: no upstream "cube" of kind mcp is declared`},
		{"a local tool in a zone", "local/web,", "local/web, zone: S,", "tools[4]: what a tool within the agent's own process does is seen in each call of it"},
		{"a probe without its recovery", "  recovery: probe\n", "", "tools[1].probe: a probe is for recovery: probe only"},
		{"a recovery without its probe", `  probe: {tool: get_issue, arguments: {owner: "{owner}"}, contains: "{title}"}` + "\n", "", "tools[1].probe: missing; recovery: probe says which call"},
		{"a probe with another tool", "tool: get_issue", "tool: gone", `tools[1].probe.tool: no tool "github/gone" is declared`},
		{"a probe that changes", "tool: get_issue", "tool: issue_write", `"github/issue_write" is not declared with impact: read`},
		{"a probe for anything", `contains: "{title}"`, `contains: ""`, "tools[1].probe.contains: empty"},
		{"approvers that there are not", "approvers: [{group: team, n: 1}]", "approvers: [{group: tea, n: 1}]", `no group "tea" is declared; "team" is meant`},
		{"a tool twice", "local/web,", "kube/**,", "tools[4].name: \"kube/**\" is declared already"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text := strings.Replace(called, c.old, c.new, 1)
			if text == called {
				t.Fatal("nothing was changed")
			}
			_, _, err := declare.Read(fstest.MapFS{"x.yaml": {Data: []byte(keys(text))}})
			if c.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %q", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Error("the error repeats a credential")
			}
			if strings.Count(err.Error(), "\n") > 0 {
				t.Errorf("one thing is wrong, and this is said: %v", err)
			}
		})
	}
}
