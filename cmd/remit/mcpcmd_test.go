package main

import (
	"io/fs"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/declare"
	"github.com/remit-dev/remit/gateway/mcp"
)

// What is shipped can be declared as it stands, once it has names and pins.
func TestShippedToolsCanBeDeclared(t *testing.T) {
	files, err := fs.Glob(mcp.Shipped(), "*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		t.Run(f, func(t *testing.T) {
			text, err := fs.ReadFile(mcp.Shipped(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, forge := range []string{"", "forge"} {
				tools, err := shippedTools(text, "hub", forge)
				if err != nil {
					t.Fatal(err)
				}
				var all []remit.ToolDeclared
				names := map[string]bool{}
				for _, x := range tools {
					if x = placed(x, "S"); !strings.Contains(x.Name, "/-/") {
						x.Pin = remit.Digest{1}
					}
					d, err := x.Declared()
					if err != nil || names[x.Name] || !strings.HasPrefix(x.Name, "hub/") {
						t.Errorf("%s: %v, twice: %t", x.Name, err, names[x.Name])
					}
					names[x.Name] = true
					all = append(all, d)
				}
				remit.CheckTools(all, func(string) string { return remit.KindMCP }, func(path, format string, args ...any) {
					t.Errorf("%s: "+format, append([]any{path}, args...)...)
				})
				if strings.Contains(string(declare.Write(&remit.Declarations{Tools: tools})["tools.yaml"]), "FORGE") {
					t.Error("a place is left to be filled in")
				}
			}
		})
	}
}

func TestWithoutAForgeWhatActsOnItIsPrivileged(t *testing.T) {
	text := []byte("tools:\n  - {name: SERVER/a, zone: S, impact: read, steps: [{action: issue.read, resource: \"repo:FORGE/{owner}/{repo}\"}]}\n  - {name: SERVER/b, impact: read}\n")
	tools, err := shippedTools(text, "hub", "")
	if err != nil || tools[0].Impact != "" || tools[0].Steps != nil || tools[1].Impact != "read" {
		t.Fatalf("%+v, %v", tools, err)
	}
	if tools, err = shippedTools(text, "hub", "forge"); err != nil || tools[0].Impact != "read" || tools[0].Steps[0].Resource != "repo:forge/{owner}/{repo}" {
		t.Fatalf("%+v, %v", tools, err)
	}
}

func TestAServerIsKnownByItsTools(t *testing.T) {
	of := func(names ...string) (out []mcp.Definition) {
		for _, n := range names {
			out = append(out, mcp.Definition{Name: n, Resource: remit.Resource("tool:hub/" + n), Pin: remit.Digest{2}})
		}
		return out
	}
	for want, seen := range map[string][]mcp.Definition{"github-mcp-server": of("issue_read", "add_issue_comment", "something"), "mcp-server-fetch": of("fetch"), "": of("fetch", "a", "b"), "server-filesystem": of("read_file", "write_file", "own")} {
		name, known, err := likeness(seen, "hub", "forge")
		if err != nil || name != want {
			t.Errorf("%v is taken for %q, %v", seen, name, err)
		}
		tools, left := draft(seen, known, "B")
		for _, x := range tools {
			if x.Pin != x.seen.Pin || x.Name != "hub/"+x.seen.Name || x.Zone != "B" || (x.Impact == "") != (want == "") {
				t.Errorf("%+v", x)
			}
		}
		for _, d := range left {
			if d.Name != "something" && d.Name != "own" {
				t.Errorf("%s is left out", d.Name)
			}
		}
		if len(tools)+len(left) != len(seen) || want == "" && len(left) > 0 {
			t.Errorf("%v %v", tools, left)
		}
	}
}

func TestToolsAreComparedWithWhatIsDeclared(t *testing.T) {
	seen := []mcp.Definition{{Name: "a", Resource: "tool:hub/a", Pin: remit.Digest{1}}, {Name: "b", Resource: "tool:hub/b", Pin: remit.Digest{2}}, {Name: "c", Resource: "tool:hub/c", Pin: remit.Digest{3}}}
	declared := []remit.Tool{{Name: "hub/a", Pin: remit.Digest{1}}, {Name: "hub/b", Pin: remit.Digest{9}}, {Name: "hub/gone", Pin: remit.Digest{4}}, {Name: "other/x", Pin: remit.Digest{4}}}
	want := "hub/a admitted, hub/b drifted, hub/c undeclared, hub/gone gone"
	for range 2 {
		var got []string
		for _, s := range compare("hub", declared, seen) {
			got = append(got, s.Tool+" "+s.State)
		}
		if strings.Join(got, ", ") != want {
			t.Fatalf("%v, want %s", got, want)
		}
		declared, want = append(declared, remit.Tool{Name: "hub/*"}), strings.Replace(want, "undeclared", "pattern", 1)
	}
}
