package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestLife(t *testing.T) {
	ended := func(t *testing.T, end func(*world, caller)) {
		t.Helper()
		w := newWorld(t, remit.Team)
		c := w.task("coder", "p-noa") // noa requests and launches, mia owns
		permit := w.allow(push(c, branch(c, "x"), "1")).Permit.ID
		end(w, c)
		if a := w.s.Agents["coder"]; w.s.LiveTasks[c.Task] && w.s.Instances[c.Instance] != nil && a.Expires == 0 {
			t.Fatal("no event ends it")
		}
		w.refuse(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotLive, "has ended")
		if d := w.ask(push(c, branch(c, "x"), "1")); d.Verdict != remit.Deny || d.Code != remit.NotLive && d.Code != remit.UnknownPrincipal {
			t.Fatal(d)
		}
		if w.s.TaskLive(c.Task, w.now.UnixNano()) && w.s.InstanceLive(c.Instance, w.now.UnixNano()) {
			t.Fatal("still alive")
		}
		w.replay()
	}
	for name, end := range map[string]func(*world, caller){
		"its instance": func(w *world, c caller) { w.must(&authority.EndInstance{Instance: c.Instance}) },
		"completing the task": func(w *world, c caller) {
			w.must(&authority.EndTask{Instance: c.Instance, Task: c.Task, Status: remit.TaskCompleted})
		},
		"cancelling the task": func(w *world, c caller) {
			w.must(&authority.EndTask{By: "p-noa", Task: c.Task, Status: remit.TaskCancelled})
		},
		"killing the task":      func(w *world, c caller) { w.must(&authority.Kill{By: "p-mia", What: "task", ID: c.Task}) },
		"killing the agent":     func(w *world, c caller) { w.must(&authority.Kill{By: "p-mia", What: "agent", ID: "coder"}) },
		"killing the requester": func(w *world, c caller) { w.must(&authority.Kill{By: "p-noa", What: "person", ID: "p-noa"}) },
		"killing the owner":     func(w *world, c caller) { w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-mia"}) },
		"suspending the agent": func(w *world, c caller) {
			w.must(&authority.ChangeAgent{By: "p-mia", Agent: "coder", To: remit.AgentSuspended})
		},
		"retiring the agent": func(w *world, c caller) {
			w.must(&authority.ChangeAgent{By: "p-ada", Agent: "coder", To: remit.AgentRetired})
		},
		"leaving out the agent":  func(w *world, c caller) { w.apply(func(s *authority.Set) { s.Agents = s.Agents[1:] }) },
		"leaving out the person": func(w *world, c caller) { w.apply(without("p-noa")) },
		"leaving out agent and person": func(w *world, c caller) {
			w.apply(func(s *authority.Set) { s.Agents = s.Agents[1:]; without("p-noa")(s) })
		},
		"the agent's date, just before": func(w *world, c caller) { w.apply(func(s *authority.Set) { s.Agents[0].Expires = w.now.Unix() }) },
	} {
		t.Run("a permit dies with "+name, func(t *testing.T) { ended(t, end) })
	}
	t.Run("a task dies at its deadline, not before", func(t *testing.T) {
		w := newWorld(t, remit.Team)
		c := w.task("coder", "p-mia", func(c *authority.CreateTask) { c.For = int64(time.Hour) })
		w.later(time.Hour - 1)
		permit := w.allow(push(c, branch(c, "x"), "1")).Permit.ID
		if w.s.Permits[permit].NotAfter != w.now.UnixNano()+1 || w.s.Due(w.now.UnixNano()) {
			t.Fatal("a permit outlives its task, or a tick is due")
		}
		w.later(1)
		w.deny(push(c, branch(c, "x"), "1"), remit.NotLive, "has ended")
		w.refuse(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof}, remit.AlreadyUsed, "does not exist")
		if !w.s.Due(w.now.UnixNano()) {
			t.Fatal("no tick is due")
		}
		w.tick()
		if w.s.Tasks[c.Task].Status != remit.TaskExpired || len(w.s.Instances) != 0 || w.s.Due(w.now.UnixNano()) {
			t.Fatalf("%+v", w.s.Tasks[c.Task])
		}
	})
	t.Run("a date far away is no date of the past", func(t *testing.T) {
		w := newWorld(t, remit.Team, func(s *authority.Set) { s.Agents[0].Expires = 253402300799 })
		c := w.task("coder", "p-mia")
		w.allow(push(c, branch(c, "x"), "1"))
	})
	t.Run("an agent's date ends what rests on it, and bounds its permits and attempts", func(t *testing.T) {
		w := newWorld(t, remit.Team, func(s *authority.Set) { s.Agents[0].Expires = start.Unix() + 120 })
		c := w.task("coder", "p-mia")
		w.later(30 * time.Second)
		d := w.allow(push(c, branch(c, "x"), "1"))
		if w.s.Permits[d.Permit.ID].NotAfter != (start.Unix()+120)*1e9 || w.redeem(d.Permit.ID).Redemption.NotAfter() != (start.Unix()+120)*1e9 {
			t.Fatal("it outlives the agent")
		}
		w.later(30 * time.Second)
		w.deny(push(c, branch(c, "x"), "1"), remit.NotLive, "has ended")
		w.refuse(&authority.CreateTask{By: "p-mia", Agent: "coder"}, remit.NotLive, "expired")
		w.tick()
		if w.s.LiveTasks[c.Task] {
			t.Fatal("the task goes on")
		}
	})
}

// TestLifeIsArithmetic: authority ends with what it rests on, whether or not an event has said so of the task.
func TestLifeIsArithmetic(t *testing.T) {
	for name, e := range map[string]remit.Event{
		"requester killed":  &remit.PersonKilled{Person: "p-noa"},
		"requester removed": &remit.Removed{What: "person", Name: "p-noa"},
		"owner killed":      &remit.PersonKilled{Person: "p-tom"},
		"owner removed":     &remit.Removed{What: "person", Name: "p-tom"},
		"launcher killed":   &remit.PersonKilled{Person: "p-mia"},
		"launcher removed":  &remit.Removed{What: "person", Name: "p-mia"},
		"agent suspended":   &remit.AgentChanged{Agent: "coder", Status: remit.AgentSuspended},
		"agent retired":     &remit.Removed{What: "agent", Name: "coder"},
		"task ended":        &remit.TaskEnded{Task: "T", Status: remit.TaskKilled},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, remit.Team)
			c := w.launch(w.must(&authority.CreateTask{By: "p-noa", Agent: "coder"}).ID, "coder", "p-mia")
			w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-tom" })
			id := w.hold(push(c, branch(c, "y"), "1", workflow), remit.PathProtected)
			w.vote(id, "rio", touch("rio"), true)
			r := w.claim(id, push(c, branch(c, "y"), "1", workflow))
			permits := []remit.ID{w.allow(push(c, branch(c, "x"), "1")).Permit.ID, w.allow(r).Permit.ID}
			other := w.hold(push(c, branch(c, "z"), "2", workflow), remit.PathProtected)
			w.vote(other, "rio", touch("rio"), true)
			x := w.redeem(w.allow(w.claim(other, push(c, branch(c, "z"), "2", workflow))).Permit.ID).Attempt.ID
			if end, ok := e.(*remit.TaskEnded); ok {
				end.Task = c.Task
			}
			if err := authority.Apply(w.s, w.now.UnixNano(), e); err != nil {
				t.Fatal(err)
			}
			for _, p := range permits {
				w.refuse(&authority.Redeem{Permit: p, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotLive, "has ended")
			}
			w.refuse(&authority.OpenLease{Attempt: x, Upstream: "forge", Target: payments, Revocation: remit.RevokeImmediate}, remit.NotLive, "has ended")
			w.deny(push(c, branch(c, "x"), "1"), remit.NotLive, "has ended")
			w.deny(r, remit.NotLive, "has ended")
			w.status(id, remit.AccessVoid, remit.NotLive)
			if w.s.InstanceLive(c.Instance, w.now.UnixNano()) {
				t.Fatal("it lives")
			}
		})
	}
}
