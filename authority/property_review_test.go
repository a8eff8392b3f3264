package authority_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// years is a small company over two years: agents push, read and deploy on some days, people answer some items and miss
// others, owners leave, and administrators change what is declared. Nothing of reviews is known to it but the log.
type years struct {
	*world
	r      *rand.Rand
	told   map[remit.ID][]int64 // when people were told of an item: when it was opened, and each reminder
	opened map[remit.ID]*remit.ReviewOpened
	seen   int // entries of the log that were read
	since  map[string]int64
	sure   map[string]int64 // by AGENT KEY: when it was last granted or certified
	runs   map[remit.ID]remit.CampaignOpened
}

func newYears(t tb, seed uint64) *years {
	y := &years{world: agreed(t, remit.Team, quarterly(func(c *remit.CampaignDeclared) { c.Canaries = 2 }),
		settings(func(r *remit.ReviewsDeclared) {
			r.Micro, r.SuspendAfter, r.RetireAfter = []string{remit.CauseNewFunction, remit.CauseOwnerLeft, remit.CauseUnused, remit.CauseWide}, int64(14*day), int64(60*day)
		})), r: rand.New(rand.NewPCG(seed, 7)),
		told: map[remit.ID][]int64{}, opened: map[remit.ID]*remit.ReviewOpened{}, since: map[string]int64{}, sure: map[string]int64{}, runs: map[remit.ID]remit.CampaignOpened{}}
	y.quick = true
	return y
}

func (y *years) one(n int) bool { return y.r.IntN(n) == 0 }

// works has agents use some of what they have.
func (y *years) works() {
	for _, use := range []struct {
		agent, by string
		r         func(caller) remit.Request
	}{
		{"coder", "mia", func(c caller) remit.Request { return push(c, branch(c, "a"), fmt.Sprint(y.now), "README.md") }},
		{"coder", "mia", func(c caller) remit.Request { return step(c, "source.read", docs) }},
		{"critic", "noa", func(c caller) remit.Request { return step(c, "review.read", payments) }},
		{"pilot", "mia", func(c caller) remit.Request { return step(c, "deploy.read", staging) }},
	} {
		a := y.s.Agents[use.agent]
		if y.one(3) || a.Status != remit.AgentActive || len(a.Entitlements) == 0 {
			continue
		}
		res, err := y.do(&authority.CreateTask{By: remit.ID("p-" + use.by), Agent: use.agent, Intent: remit.Hash([]byte("words"))})
		if err != nil {
			continue
		}
		i, err := y.do(&authority.StartInstance{By: remit.ID("p-" + use.by), Task: res.ID, Confinement: remit.ConfineUID, Secret: secret, Host: host})
		if err != nil {
			continue
		}
		if d := y.ask(use.r(caller{Instance: i.ID, Agent: use.agent, Task: res.ID})); d.Verdict == remit.Allow {
			y.redeem(d.Permit.ID)
		}
		if !y.one(4) {
			y.must(&authority.EndTask{By: remit.ID("p-" + use.by), Task: res.ID, Status: remit.TaskCancelled})
		}
	}
}

// replies has people answer what they may, or forget it.
func (y *years) replies() {
	for _, x := range y.open() {
		if y.one(3) {
			continue
		}
		may, _, _ := y.s.ReviewersOf(x.ID, y.now.UnixNano())
		if len(may) == 0 {
			continue
		}
		answer := x.Advice
		if y.one(4) {
			answer = remit.Keep
		}
		name := strings.TrimPrefix(string(may[y.r.IntN(len(may))]), "p-")
		k := touch(name)
		if name == "noa" {
			k = soft(name)
		}
		_, _ = y.do(y.answer(name, k, answer, x))
	}
}

// read checks what the log says since it was read last.
func (y *years) read() {
	y.t.Helper()
	for ; y.seen < len(y.log); y.seen++ {
		at := y.log[y.seen].at
		switch e := y.log[y.seen].event.(type) {
		case *remit.AgentDeclared:
			for _, sc := range e.Entitlements {
				if k := e.Name + " " + authority.HoldingKey(sc, ""); y.sure[k] == 0 {
					y.sure[k] = at
				}
			}
		case *remit.CampaignOpened:
			y.runs[e.ID] = *e
		case *remit.ReviewOpened:
			y.opened[e.ID], y.told[e.ID] = e, []int64{at}
		case *remit.ReviewReminded:
			for _, id := range e.Items {
				y.told[id] = append(y.told[id], at)
			}
		case *remit.ReviewAnswered:
			if x := y.opened[e.Item]; e.Answer == remit.Keep {
				y.sure[x.Agent+" "+authority.HoldingKey(x.Scope, x.Function)] = at
			}
		case *remit.ReviewRemoved:
			x := y.opened[e.Item]
			delete(y.sure, x.Agent+" "+authority.HoldingKey(x.Scope, x.Function))
			for _, sc := range e.Left {
				y.sure[x.Agent+" "+authority.HoldingKey(sc, "")] = at
			}
			if told := y.told[e.Item]; e.Lapsed && (len(told) < 2 || at-told[0] < int64(7*day) || at-told[len(told)-1] < int64(day)) {
				y.t.Fatalf("item %s of agent %s was removed at %s by silence, and people were told %v", e.Item, x.Agent, time.Unix(0, at), told)
			}
		case *remit.ReviewRegranted:
			x := y.opened[e.Item]
			y.sure[x.Agent+" "+authority.HoldingKey(x.Scope, x.Function)] = at
		case *remit.CampaignClosed:
			// Whatever an agent has now was granted or certified since the run began.
			for _, name := range []string{"coder", "merger", "critic", "pilot"} {
				a := y.s.Agents[name]
				for _, sc := range a.Entitlements {
					h := a.Holds[authority.HoldingKey(sc, "")]
					open := y.s.Items[h.Item] != nil && y.s.Items[h.Item].Status == remit.ItemOpen
					if began := y.runs[e.ID].Deadline - int64(14*day); a.Status != remit.AgentRetired && !open && y.sure[name+" "+authority.HoldingKey(sc, "")] < began {
						y.t.Fatalf("agent %s has %v after run %s, which nobody granted or certified since it began", name, sc, e.ID)
					}
				}
			}
		}
	}
}

func (y *years) run(years int) {
	y.t.Helper()
	end := y.now.Add(time.Duration(years) * 365 * day)
	for y.now.Before(end) {
		y.now = y.now.Add(time.Duration(6+y.r.IntN(12)) * time.Hour)
		if y.one(60) {
			y.now = y.now.Add(20 * day) // nobody looks: the server is down
		}
		y.tick()
		y.steps()
		y.read()
		if y.one(2) {
			y.works()
		}
		if y.one(6) {
			y.replies()
		}
		switch y.r.IntN(30) {
		case 0, 1, 2:
			y.back()
		case 3:
			y.set = clone(y.set)
			_, _ = y.do(&authority.ApplySet{By: "p-ada", Set: y.set}) // what reviews took away widens, and waits for bob
		case 4:
			if x := y.s.Agents["coder"]; x.Owner == "p-mia" && y.one(3) {
				y.apply(func(s *authority.Set) { s.Agents = slices.Clone(s.Agents); s.Agents[0].Owner = "p-tom" })
			}
		}
		y.read()
	}
}

// back brings back what was taken away, and who suspended themselves.
func (y *years) back() {
	for _, id := range y.s.ItemAge {
		if x := y.s.Items[id]; x.Status != remit.ItemKept && x.Status != remit.ItemVoid && y.one(2) {
			res, err := y.do(&authority.Regrant{By: "p-ada", Item: x.ID})
			if err == nil && res.Decision.Verdict == remit.Hold {
				y.vote(res.Decision.Access, "bob", touch("bob"), true)
				_, _ = y.do(&authority.Regrant{By: "p-ada", Item: x.ID, Access: res.Decision.Access})
			}
			break
		}
	}
	for _, name := range []string{"coder", "critic", "pilot"} {
		_, _ = y.do(&authority.ReviveAgent{By: "p-ada", Agent: name})
	}
}

// TestTwoYears: no entitlement survives a run uncertified, none is lost of which nobody was told in time, and each removal
// has its entry.
func TestTwoYears(t *testing.T) {
	stats := map[string]int{}
	for seed := range uint64(5) {
		y := newYears(t, seed)
		y.run(2)
		y.replay()
		for _, e := range y.log {
			stats[e.event.Kind()]++
			switch e := e.event.(type) {
			case *remit.ReviewAnswered:
				stats["answer "+string(e.Answer)]++
			case *remit.ReviewRemoved:
				stats[fmt.Sprint("lapsed ", e.Lapsed)]++
			case *remit.ReviewOpened:
				stats["cause "+e.Cause]++
			}
		}
	}
	for _, kind := range []string{"campaign.closed", "review.removed", "review.answered", "review.reminded", "review.regranted", "review.void", "lapsed true", "lapsed false", "answer keep", "answer shrink", "answer remove", "cause campaign", "cause unused"} {
		if stats[kind] == 0 {
			t.Errorf("in no history was there %s: %v", kind, stats)
		}
	}
}

// TestPropertyReviews is the same for any history, and looks after each of its years that replaying gives the same.
func TestPropertyReviews(t *testing.T) {
	if testing.Short() {
		t.Skip("histories of years")
	}
	rapid.Check(t, func(t *rapid.T) {
		y := newYears(t, rapid.Uint64().Draw(t, "seed"))
		y.run(1)
		y.replay()
	})
}
