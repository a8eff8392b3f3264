package engine_test

import (
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger"
	"github.com/remit-dev/remit/ledger/ledgertest"
)

// TestAPlanIsWithdrawnAlsoWhenTheLogCannotBeWritten: R11 for a plan. What passes by it is not redeemed from then on and its
// streams are cut, what does not pass by it goes on, and a restart remembers it.
func TestAPlanIsWithdrawnAlsoWhenTheLogCannotBeWritten(t *testing.T) {
	memory := &ledgertest.Memory{}
	store, dir := newGate(memory), t.TempDir()
	c := open(t, world.CoreOptions{Store: store, Dir: dir})
	caller, other := launch(t, c, "coder"), launch(t, c, "coder")
	push := world.Push(caller, "fix", "1", "deploy/prod.yaml")
	plan := remit.Plan{Steps: []remit.PlanStep{{Action: "source.push", Resource: remit.Pattern(push.Steps[0].Resource), Paths: []remit.Pattern{"deploy/**"}, Uses: 3}}}
	file := remit.Request{Gateway: "task", Caller: caller, Plan: &plan, Order: []byte("plan"),
		Steps: []remit.Step{{Action: remit.ActionPlan, Resource: "task:coder", Args: plan.Digest()}}}
	d := ask(t, c, file)
	if d.Verdict != remit.Hold {
		t.Fatalf("%+v", d)
	}
	if err := c.Vote(t.Context(), d.Access, "rio", true); err != nil {
		t.Fatal(err)
	}
	a := redeem(t, c, allow(t, c, world.Claim(d.Access, file)))
	if err := c.Engine.Record(t.Context(), a, remit.Done, "", nil, ""); err != nil {
		t.Fatal(err)
	}
	under := redeem(t, c, allow(t, c, push))
	beside := redeem(t, c, allow(t, c, world.Push(other, "b", "1", "x")))
	later := allow(t, c, world.Push(caller, "fix", "2", "deploy/prod.yaml"))
	store.Fail(ledger.Refused(remit.LedgerDown, "no"))
	withdraw := authority.Kill{By: "p-rio", What: "plan", ID: d.Access}
	coded(t, c.Engine.Kill(withdraw), remit.LedgerDown)
	if !isClosed(c.Engine.Revoked(under.ID)) || isClosed(c.Engine.Revoked(beside.ID)) {
		t.Fatal("what passes by the plan goes on, or what does not is cut")
	}
	_, err := c.Engine.Take(t.Context(), under)
	coded(t, err, remit.NotLive)
	_, err = c.Engine.Redeem(t.Context(), later)
	coded(t, err, remit.NotLive)

	c.Engine.Close()
	store.Fail(nil)
	c = open(t, world.CoreOptions{Store: store, Dir: dir, Clock: c.Clock, Rules: c.Rules})
	_, err = c.Engine.Redeem(t.Context(), later) // before the log has taken it
	coded(t, err, remit.NotLive)
	c.Engine.DrainKills()
	c.Engine.View(func(s *authority.State) {
		if p := s.Tasks[caller.Task]; p.Plan != nil || len(p.Withdrawn) != 1 {
			t.Errorf("the plan is %+v, and %v are withdrawn", p.Plan, p.Withdrawn)
		}
	})
	_, err = c.Engine.Redeem(t.Context(), later)
	coded(t, err, remit.AlreadyUsed)
	if d := ask(t, c, world.Push(caller, "fix", "3", "deploy/prod.yaml")); d.Verdict != remit.Hold {
		t.Errorf("%+v", d)
	}
	if err := c.Engine.Kill(withdraw); err != nil {
		t.Error(err)
	}
	check(t, c)
}
