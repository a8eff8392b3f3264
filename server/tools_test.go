package server_test

import (
	"errors"
	"reflect"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/internal/world"
)

// tooled adds two servers of tools to a team.
func tooled(d *remit.Declarations) {
	d.Upstreams = append(d.Upstreams, remit.Upstream{Name: "hub", Kind: remit.KindMCP, Location: "https://mcp.example/", Write: remit.Source{From: "env", Name: "HUB"}},
		remit.Upstream{Name: "local-fs", Kind: remit.KindMCP, Command: []string{"/bin/fs"}, Env: map[string]remit.Source{"TOKEN": {From: "exec", Argv: []string{"pass"}}}})
	d.Tools = []remit.Tool{
		{Name: "hub/get", Zone: "S", Impact: "read", Pin: remit.Hash([]byte("get")), Taints: []string{"issue-text"}},
		{Name: "hub/write", Zone: "S", Impact: "write", Pin: remit.Hash([]byte("write")), Recovery: remit.RecoverProbe,
			Steps: []remit.ToolStep{{Action: "issue.write", Resource: "repo:forge/{owner}/{repo}", When: map[string]string{"method": "create", "a.b": "c"}}},
			Probe: &remit.ToolProbe{Tool: "get", Arguments: map[string]string{"q": "{title}"}, Contains: "{title}"}, Approvers: []remit.Need{{Group: remit.Administrators, N: 1}}},
		{Name: "local-fs/**"},
		{Name: "local/web", Taints: []string{"web-page"}},
	}
}

func TestToolsAreDeclaredAndGivenBack(t *testing.T) {
	w := world.New(t, world.Options{})
	ada := w.SignIn("ada")
	d := w.Team()
	tooled(&d)
	w.Declare(d)
	if a, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d}); err != nil || len(a.Changes) != 0 {
		t.Fatalf("again: %+v, %v", a.Changes, err)
	}
	got, err := ada.Declarations(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: got}); err != nil || len(a.Changes) != 0 {
		t.Fatalf("what is in force, applied again: %+v, %v", a.Changes, err)
	}
	want := d.Tools
	want[2].Zone, want[2].Impact = "P", "privileged" // what was left out is said
	if !reflect.DeepEqual(got.Tools, want) {
		t.Fatalf("got  %+v\nwant %+v", got.Tools, want)
	}
	d.Tools[1].Probe.Contains = "{body}"
	d.Upstreams[len(d.Upstreams)-1].Command = []string{"/bin/fs", "--all"}
	a, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d, DryRun: true})
	if err != nil || len(a.Changes) != 2 || a.Changes[0].Widens == "" || a.Changes[1].Widens == "" || a.Changes[1].Kind != "tool" {
		t.Fatalf("%+v %v", a.Changes, err)
	}
}

func TestWhatIsWrongWithToolsIsNamedByItsPlace(t *testing.T) {
	w := world.New(t, world.Options{})
	ada := w.SignIn("ada")
	for _, c := range []struct {
		path   string
		change func(*remit.Declarations)
	}{
		{"tools[0].zone", func(d *remit.Declarations) { d.Tools[0].Zone = "X" }},
		{"tools[2].impact", func(d *remit.Declarations) { d.Tools[2].Impact = "none" }},
		{"tools[3].name", func(d *remit.Declarations) { d.Tools[3].Name = "hub/get" }},
		{"tools[1].probe.tool", func(d *remit.Declarations) { d.Tools[1].Probe.Tool = "write" }},
		{"tools[1].probe", func(d *remit.Declarations) { d.Tools[1].Recovery = "" }},
		{"tools[1].steps[0].resource", func(d *remit.Declarations) { d.Tools[1].Steps[0].Resource = "repo:{a" }},
		{"upstreams[1]", func(d *remit.Declarations) { d.Upstreams[1].Location = "" }},
		{"upstreams[2]", func(d *remit.Declarations) { d.Upstreams[2].Location = "https://x.example" }},
		{"upstreams[0]", func(d *remit.Declarations) { d.Upstreams[0].Command = []string{"/bin/x"} }},
		{"upstreams[2].env.TOKEN.from", func(d *remit.Declarations) { d.Upstreams[2].Env = map[string]remit.Source{"TOKEN": {From: "vault"}} }},
		// R4d: the same variable is the credential of a server in zone S and of one in zone P.
		{"upstreams[2].env.TOKEN", func(d *remit.Declarations) {
			d.Upstreams[2].Env = map[string]remit.Source{"TOKEN": {From: "env", Name: "HUB"}}
		}},
	} {
		d := w.Team()
		tooled(&d)
		c.change(&d)
		_, err := ada.Apply(t.Context(), remit.ApplyRequest{Declarations: d, DryRun: true})
		var wrong *remit.DeclarationError
		if !errors.As(err, &wrong) || wrong.Path != c.path || wrong.Sentence == "" {
			t.Errorf("%s: %v", c.path, err)
		}
	}
}
