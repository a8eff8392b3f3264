package engine_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
)

// What is supposed of a set is what comes of it: the state after a set that nobody has to agree to is the supposed one,
// byte for byte, and a set that waits for a second administrator can be looked at although it waits.
func TestSupposedIsWhatComes(t *testing.T) {
	c := open(t, world.CoreOptions{})
	state := func() string {
		var b []byte
		c.Engine.View(func(s *authority.State) { b, _ = json.Marshal(s) })
		return string(b)
	}
	before := state()

	wider := c.Set
	wider.Agents = append(slices.Clone(wider.Agents), remit.AgentDeclared{Name: "builder", Function: remit.FuncBuild, Owner: "p-mia"})
	s, err := c.Engine.Supposed("p-ada", &wider)
	if err != nil || s.Agents["builder"] == nil {
		t.Fatalf("%v; want a state with the new agent", err)
	}
	if res, err := c.Engine.Do(t.Context(), &authority.ApplySet{By: "p-ada", Set: wider}); err != nil || res.Decision.Verdict != remit.Hold {
		t.Fatalf("%v, %v; want a hold: the set widens", res.Decision.Verdict, err)
	}
	if s, err = c.Engine.Supposed("", nil); err != nil || s.Agents["builder"] != nil {
		t.Fatalf("%v; the state as it is has the agent that was only supposed", err)
	}

	narrower := c.Set
	narrower.Agents = narrower.Agents[:1] // without coder
	launch(t, c, "coder")                 // whose task ends with it
	if s, err = c.Engine.Supposed("p-ada", &narrower); err != nil {
		t.Fatal(err)
	}
	supposed, _ := json.Marshal(s)
	if res, err := c.Engine.Do(t.Context(), &authority.ApplySet{By: "p-ada", Set: narrower}); err != nil || res.Decision.Verdict != remit.Allow {
		t.Fatalf("%v, %v", res.Decision.Verdict, err)
	}
	if got := state(); got != string(supposed) || got == before {
		t.Errorf("the state is\n%s\nwhat was supposed is\n%s", got, supposed)
	}

	wrong := narrower
	wrong.Agents = append(slices.Clone(wrong.Agents), remit.AgentDeclared{Name: "builder", Function: remit.FuncBuild, Owner: "p-nobody"})
	var at *remit.DeclarationError
	if _, err := c.Engine.Supposed("p-ada", &wrong); !errors.As(err, &at) || at.Path != "agents[1].owner" {
		t.Errorf("%v; want the place of the wrong owner", err)
	}
}
