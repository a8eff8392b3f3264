package policy_test

import (
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/policy"
)

// narrowing are bundles that read input in many ways.
var narrowing = []string{
	`deny contains {"rule": "a", "text": "no"} if input.agent.name > "m"`,
	`deny contains {"rule": "a", "text": "no"} if input.task.depth > 1
hold contains {"rule": "b", "text": "no"} if input.instance.ungoverned`,
	`deny contains {"rule": "a", "text": sprintf("%s", [input.agent.owner])} if input.deploy.rollback == false`,
	`deny contains {"rule": "a", "text": "no"} if count(input.task) > 3`,
	`deny contains {"rule": "a", "text": "no"} if not input.task.history.denied`,
	`deny contains {"rule": "a", "text": "no"} if count(input) > 9`,
	`deny contains {"rule": "a", "text": "no"} if { x := input; x.bytes > 3 }`,
	`deny contains {"rule": "a", "text": "no"} if { some k; input[k] == "acme" }`,
	`import input.agent as who
deny contains {"rule": "a", "text": "no"} if who.function == "code"`,
	`deny contains {"rule": "a", "text": "no"} if { some step in input.steps; step.commits > input.bytes }`,
	`name := "gateway"
deny contains {"rule": "a", "text": "no"} if input[name] == "x"`,
	`deny contains {"rule": "a", "text": "no"} if json.marshal(input.plan) == "{}"`,
}

func TestWhatARuleDoesNotReadChangesNoFinding(t *testing.T) {
	var bundles []*policy.Bundle
	for _, text := range narrowing {
		bundles = append(bundles, mustCompile(t, module("a.rego", "package remit.any\n\n"+text+"\n")))
	}
	bundles = append(bundles, mustCompile(t, policy.Builtin()))
	rapid.Check(t, func(t *rapid.T) {
		f := anyFacts(t)
		for i, b := range bundles {
			if full, less := b.Judge(f), b.Judge(b.Narrow(f)); !reflect.DeepEqual(full, less) {
				t.Fatalf("bundle %d: %+v, and without what it does not read %+v", i, full, less)
			}
		}
	})
}

func TestWhatARuleDoesNotReadIsLeftOut(t *testing.T) {
	f := push()
	f.Task.ID, f.Bytes, f.Agent.Owner = "T-1", 7, "p-mia"
	g := mustCompile(t, module("a.rego", "package remit.any\n\n"+narrowing[0]+"\n")).Narrow(f)
	want := authority.Facts{Agent: authority.AgentFacts{Name: f.Agent.Name}, Steps: f.Steps}
	if !reflect.DeepEqual(g, want) {
		t.Fatalf("%+v", g)
	}
	if g := mustCompile(t, module("a.rego", "package remit.any\n\n"+narrowing[5]+"\n")).Narrow(f); !reflect.DeepEqual(g, f) {
		t.Fatalf("a rule reads all of input, and %+v is left", g)
	}
	if g := mustCompile(t, policy.Builtin()).Narrow(f); g.Task.ID != "" || g.Minute != 0 || g.Profile != remit.Team {
		t.Fatalf("%+v", g)
	}
}
