package engine_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/world"
	"github.com/remit-dev/remit/ledger/ledgertest"
	"github.com/remit-dev/remit/sshsig"
)

// monthly declares a campaign for two days on the first of each month.
func monthly(t *testing.T, c *world.Core) {
	t.Helper()
	set := c.Set
	set.Campaigns = []remit.CampaignDeclared{{Name: "monthly", Cadence: "0 9 1 * *", Due: int64(48 * time.Hour), Fallback: "reviewers", Canaries: 1}}
	do(t, c, &authority.ApplySet{By: "p-ada", Set: set})
}

func tick(t *testing.T, c *world.Core) {
	t.Helper()
	if err := c.Engine.Tick(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// items lists what is open.
func items(c *world.Core) (out []authority.Item) {
	c.Engine.View(func(s *authority.State) {
		for _, id := range s.OpenItems.IDs {
			if x := s.Items[id]; x.Status == remit.ItemOpen {
				out = append(out, *x)
			}
		}
	})
	return out
}

func TestReviewsComeByThemselves(t *testing.T) {
	store, dir := &ledgertest.Memory{}, t.TempDir()
	c := open(t, world.CoreOptions{Store: store, Dir: dir})
	monthly(t, c)
	tick(t, c)
	if n := len(items(c)); n != 0 {
		t.Fatalf("%d items are open before their time", n)
	}
	for range 31 * 24 {
		c.Clock.Advance(time.Hour)
		tick(t, c)
		if len(items(c)) > 0 {
			break
		}
	}
	open := items(c)
	if len(open) != 4 { // three entitlements, and a canary
		t.Fatalf("%d items are open, not 4", len(open))
	}
	now := c.Engine.Now().UTC()
	if now.Day() != 1 || now.Hour() != 9 {
		t.Fatalf("they were opened at %s", now)
	}
	check(t, c)
	c.Clock.Advance(30 * time.Hour)
	tick(t, c)
	c.Clock.Advance(6 * time.Hour) // the last reminder is due, and nobody keeps anything
	tick(t, c)
	c.Clock.Advance(12*time.Hour + time.Minute)
	tick(t, c)
	if n := len(items(c)); n != 0 {
		t.Fatalf("%d items are open after their deadline", n)
	}
	c.Engine.View(func(s *authority.State) {
		for name, a := range s.Agents {
			if len(a.Entitlements) != 0 {
				t.Errorf("agent %s keeps %v, which nobody certified", name, a.Entitlements)
			}
		}
	})
	check(t, c)
}

func TestARemovalCutsStreamsBeforeItIsAcknowledged(t *testing.T) {
	c := open(t, world.CoreOptions{})
	monthly(t, c)
	do(t, c, &authority.OpenRun{By: "p-ada", Campaign: "monthly"})
	c.Clock.Advance(time.Minute)
	tick(t, c)
	caller, other := launch(t, c, "canary"), launch(t, c, "coder")
	a := redeem(t, c, allow(t, c, world.Ask(caller, "probe.read")))
	b := redeem(t, c, allow(t, c, world.Push(other, "a", "1", "x")))
	stream := c.Engine.Revoked(a.ID)
	var mine authority.Item
	for _, x := range items(c) {
		if x.Agent == "canary" && !x.Canary {
			mine = x
		}
	}
	var origin string
	c.Engine.View(func(s *authority.State) { origin = s.Origin })
	st := remit.Certification{Origin: origin, Answers: []remit.Certified{{Item: mine.ID, Answer: remit.Remove, Shown: mine.Shown}}}.Bytes()
	sig, err := sshsig.Sign(world.Touch("mia"), remit.ReviewNamespace, st)
	if err != nil {
		t.Fatal(err)
	}
	do(t, c, &authority.Answers{By: "p-mia", Statement: st, Signature: sig})
	if !isClosed(stream) {
		t.Fatal("a stream outlives the entitlement that it rests on")
	}
	if isClosed(c.Engine.Revoked(b.ID)) {
		t.Fatal("a stream of another agent is cut")
	}
	if _, err := c.Engine.Take(t.Context(), a); err == nil {
		t.Fatal("a credential is had for it")
	}
	tick(t, c)
	check(t, c)
}
