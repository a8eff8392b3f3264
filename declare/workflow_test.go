package declare_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit/declare"
)

const release = `workflow: release
owner: ana
steps:
  - name: fix
    agent: coder
    action: source.push
    resource: repo:forge/acme/payments
    refs: [refs/heads/fix/*]
  - name: build
    function: build
    action: artifact.publish
    resource: artifact:oci/payments
    inputs: [fix]
`

func TestReadWorkflow(t *testing.T) {
	w, pos, err := declare.ReadWorkflow("release.yaml", []byte(release))
	if err != nil || w.Name != "release" || len(w.Steps) != 2 || w.Steps[1].Inputs[0] != "fix" || w.Steps[0].Refs[0] != "refs/heads/fix/*" {
		t.Fatalf("%+v, %v", w, err)
	}
	if file, line, ok := pos.Locate("steps[1].inputs[0]"); !ok || file != "release.yaml" || line != 13 {
		t.Errorf("%s:%d %v; want the line of the input", file, line, ok)
	}
}

// What is wrong in a workflow is said with its file, line and member.
func TestWorkflowErrors(t *testing.T) {
	for name, x := range map[string]struct{ old, new, want string }{
		"empty":              {release, "# nothing", "w.yaml: it is empty"},
		"not a mapping":      {release, "- a", "w.yaml:1: a list; members are wanted here"},
		"unknown member":     {"agent: coder", "agents: coder", `w.yaml:5: steps[0]: unknown member "agents"; "agent" is meant, perhaps`},
		"no action":          {"    action: source.push\n", "", "w.yaml:4: steps[0].action: missing"},
		"unknown action":     {"source.push", "source.pusk", `w.yaml:6: steps[0].action: the catalogue has no action "source.pusk"`},
		"control":            {"artifact.publish", "control.apply", "w.yaml:11: steps[1].action: control.apply is for people only"},
		"asking":             {"artifact.publish", "task.request", "w.yaml:11: steps[1].action: task.request follows from inputs"},
		"no resource":        {"repo:forge/acme/payments", "payments", "w.yaml:7: steps[0].resource: "},
		"other resource":     {"artifact:oci/payments", "repo:forge/a", "w.yaml:12: steps[1].resource: artifact.publish acts on artifact:…, not on repo:forge/a"},
		"nobody":             {"    function: build\n", "", "w.yaml:9: steps[1]: nobody plays it"},
		"unknown function":   {"function: build", "function: builds", `w.yaml:10: steps[1].function: "builds": write one of plan, code`},
		"unknown input":      {"[fix]", "[fax]", `w.yaml:13: steps[1].inputs[0]: there is no step "fax"; there are fix, build`},
		"input twice":        {"[fix]", "[fix, fix]", `w.yaml:13: steps[1].inputs[1]: "fix" stands twice`},
		"itself":             {"[fix]", "[build]", "steps[1].inputs[0]: the steps go in a circle, so none of them can begin: build rests on build"},
		"circle":             {"    refs: [refs/heads/fix/*]", "    inputs: [build]", "the steps go in a circle, so none of them can begin: fix rests on build rests on fix"},
		"name twice":         {"name: build", "name: fix", `w.yaml:9: steps[1].name: "fix" is the name of step 1 already`},
		"name":               {"name: fix", "name: Fix it", `w.yaml:4: steps[0].name: "Fix it": a name is 1 to 40 of a-z 0-9 -`},
		"ref":                {"refs/heads/fix/*", "fix", "w.yaml:8: steps[0].refs[0]: "},
		"a tab":              {"    agent", "\tagent", "w.yaml:5: a tab"},
		"two documents":      {"owner: ana", "---", "one file is one document"},
		"no steps":           {release, "workflow: release\nsteps: []\n", "w.yaml:2: steps: empty; it needs a value"},
		"a hidden direction": {"workflow: release", "workflow: release\u202e", `w.yaml:1: workflow: `},
	} {
		_, _, err := declare.ReadWorkflow("w.yaml", []byte(strings.Replace(release, x.old, x.new, 1)))
		if err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v; want %q", name, err, x.want)
		}
	}
}

// FuzzWorkflow looks for texts that the reader does not survive, and for workflows that it lets through although their
// steps have no order.
func FuzzWorkflow(f *testing.F) {
	f.Add([]byte(release))
	f.Add([]byte("workflow: a\nsteps: [{name: a, function: code, action: source.read, resource: 'repo:a/b', inputs: [a]}]"))
	f.Fuzz(func(t *testing.T, text []byte) {
		w, _, err := declare.ReadWorkflow("w.yaml", text)
		if (w == nil) != (err != nil) {
			t.Fatalf("%v, %v", w, err)
		}
		if err != nil {
			return
		}
		order := w.Order()
		if len(order) != len(w.Steps) {
			t.Fatalf("%d of %d steps have a place in the order", len(order), len(w.Steps))
		}
		var done []string
		for _, s := range order {
			for _, in := range s.Inputs {
				if !slices.Contains(done, in) {
					t.Fatalf("%s comes before its input %s", s.Name, in)
				}
			}
			done = append(done, s.Name)
		}
	})
}
