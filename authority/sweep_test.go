package authority_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// lots requests tasks of an agent and launches each.
func (w *world) lots(n int, agent string, by remit.ID) (out []caller) {
	w.t.Helper()
	for range n {
		out = append(out, w.task(agent, by))
	}
	return out
}

// live counts tasks that have not ended in the log.
func (w *world) live() int { return len(w.s.LiveTasks) }

// sweep ticks until nothing is due, and counts the ticks.
func (w *world) sweep() (n int) {
	w.t.Helper()
	for ; w.s.Due(w.now.UnixNano()); n++ {
		if w.tick(); n > 1000 {
			w.t.Fatalf("it is always due")
		}
	}
	return n
}

// TestSweep: what a command ends is over with its one entry. Of the ends that follow from that it writes down a few, and
// Ticks the rest.
func TestSweep(t *testing.T) {
	defer authority.SetEnds(4, 3)()
	over := func(w *world, callers ...caller) {
		w.t.Helper()
		for _, c := range callers {
			if d := w.ask(step(c, "source.read", payments)); d.Verdict != remit.Deny || d.Code != remit.NotLive && d.Code != remit.UnknownPrincipal {
				w.t.Fatalf("%s goes on: %+v", c.Task, d)
			}
			if w.s.TaskLive(c.Task, w.now.UnixNano()) || w.s.InstanceLive(c.Instance, w.now.UnixNano()) {
				w.t.Fatalf("%s lives", c.Task)
			}
			w.refuse(&authority.EndTask{By: "p-ada", Task: c.Task, Status: remit.TaskCompleted}, remit.NotLive, "already ended: killed")
		}
	}
	killed := func(w *world, by remit.ID, callers ...caller) {
		w.t.Helper()
		for _, c := range callers {
			if w.s.LiveTasks[c.Task] || w.s.Tasks[c.Task].Status != remit.TaskKilled || w.s.Instances[c.Instance] != nil {
				w.t.Fatalf("%s is not swept: %s", c.Task, w.s.Tasks[c.Task].Status)
			}
			for _, l := range w.log {
				if e, ok := l.event.(*remit.TaskEnded); ok && e.Task == c.Task && e.By != by {
					w.t.Fatalf("%s was ended by %q", c.Task, e.By)
				}
			}
		}
		if w.s.Due(w.now.UnixNano()) || len(w.s.Loose) > 0 {
			w.t.Fatalf("something is left: %v", w.s.Loose)
		}
	}
	for name, c := range map[string]struct {
		agent string
		by    remit.ID
		end   func(*world)
	}{
		"a killed person's requests": {"coder", "p-noa", func(w *world) { w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-noa"}) }},
		"a killed person's agents":   {"coder", "p-noa", func(w *world) { w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-mia"}) }},
		"a killed agent":             {"coder", "p-noa", func(w *world) { w.must(&authority.Kill{By: "p-ada", What: "agent", ID: "coder"}) }},
		"a suspended agent":          {"coder", "p-noa", func(w *world) { w.must(&authority.ChangeAgent{By: "p-ada", Agent: "coder", To: remit.AgentSuspended}) }},
		"a retired agent":            {"coder", "p-noa", func(w *world) { w.must(&authority.ChangeAgent{By: "p-ada", Agent: "coder", To: remit.AgentRetired}) }},
		"a removed agent":            {"coder", "p-noa", func(w *world) { w.apply(func(s *authority.Set) { s.Agents = s.Agents[1:] }) }},
		"a removed person":           {"coder", "p-noa", func(w *world) { w.apply(without("p-noa")) }},
		"a removed owner":            {"coder", "p-noa", func(w *world) { w.apply(without("p-mia")) }},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, remit.Team)
			all := w.lots(9, c.agent, c.by)
			other := w.task("pilot", "p-mia")
			n := len(w.log)
			if c.end(w); len(w.log)-n > 14 { // the set and its votes are some of these
				t.Fatalf("the command makes %d entries", len(w.log)-n)
			}
			if w.live() < 6 {
				t.Fatalf("only %d tasks are left to sweep", w.live())
			}
			over(w, all...)
			if name == "a killed person's requests" || name == "a removed person" { // mia's own goes on meanwhile
				w.allow(step(other, "deploy.read", staging))
			}
			if n := w.sweep(); n < 4 {
				t.Fatalf("%d ticks", n)
			}
			killed(w, "p-ada", all...)
			w.replay()
		})
	}
	each(t, remit.Team, []row{
		{"nobody gets back what an agent had before it was resumed", func(t *testing.T, w *world) {
			all := w.lots(9, "coder", "p-noa")
			w.must(&authority.Kill{By: "p-mia", What: "agent", ID: "coder"})
			w.must(&authority.ChangeAgent{By: "p-mia", Agent: "coder", To: remit.AgentActive})
			over(w, all...)
			fresh := w.task("coder", "p-noa")
			w.allow(step(fresh, "source.read", payments))
			w.sweep()
			killed(w, "p-mia", all...)
			w.allow(step(fresh, "source.read", payments))
		}},
		{"nor with another owner, after the old one was killed", func(t *testing.T, w *world) {
			all := w.lots(9, "coder", "p-noa")
			w.must(&authority.Kill{By: "p-ada", What: "person", ID: "p-mia"})
			w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-tom" })
			over(w, all...)
			w.sweep()
			killed(w, "p-ada", all...)
		}},
		{"nor a person who is declared again, of tasks, instances and requests", func(t *testing.T, w *world) {
			// mia launches on noa's tasks; noa's approvals are mia's requests
			var all []caller
			for range 9 {
				id := w.must(&authority.CreateTask{By: "p-noa", Agent: "coder", Intent: remit.Hash([]byte("words"))}).ID
				all = append(all, w.launch(id, "coder", "p-mia"))
			}
			w.apply(func(s *authority.Set) { s.Agents[0].Owner = "p-tom" })
			var holds []remit.ID
			var orders []remit.Request
			for _, c := range all[3:] {
				r := push(c, branch(c, "x"), "1", workflow)
				id := w.hold(r, remit.PathProtected)
				holds, orders = append(holds, id), append(orders, w.claim(id, r))
			}
			w.vote(holds[5], "rio", touch("rio"), true)
			permit := w.allow(orders[5]).Permit.ID
			was := w.set
			w.apply(without("p-mia"))
			gone := 0
			for i, id := range holds {
				if w.s.OpenHolds[id] {
					gone++
					if i < 5 {
						w.refuse(w.ballot(id, "rio", touch("rio"), true), remit.NotLive, "who asked")
					}
				}
			}
			if gone == 0 {
				t.Fatal("nothing is left to sweep")
			}
			w.apply(func(s *authority.Set) { s.People, s.Groups = was.People, was.Groups })
			w.refuse(w.ballot(holds[4], "rio", touch("rio"), true), remit.NotLive, "who asked")
			w.refuse(&authority.Redeem{Permit: permit, Proof: remit.Hash(secret[:]), Hash: proof}, remit.NotLive, "has ended")
			for _, c := range all {
				if w.s.InstanceLive(c.Instance, w.now.UnixNano()) || !w.s.TaskLive(c.Task, w.now.UnixNano()) {
					t.Fatal("the instances end, and noa's tasks do not")
				}
			}
			// Another instance that asks the same has a request of its own.
			c := w.launch(all[7].Task, "coder", "p-noa")
			if id := w.hold(push(c, branch(c, "x"), "1", workflow), remit.PathProtected); slices.Contains(holds, id) {
				t.Fatal("it waits for what nobody can approve")
			}
			w.deny(orders[5], remit.NotLive, "has ended")
			w.sweep()
			for _, id := range holds {
				if w.s.OpenHolds[id] {
					t.Fatal("a request is left")
				}
			}
			if len(w.s.Instances) != 1 || w.live() == 0 {
				t.Fatal(len(w.s.Instances), w.live())
			}
		}},
		{"nor an administrator, of what they asked of Remit", func(t *testing.T, w *world) {
			ask := clone(w.set)
			ask.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
			first := w.must(&authority.ApplySet{By: "p-bob", Set: ask}).Decision.Access
			w.vote(first, "ada", touch("ada"), true)
			w.lots(9, "coder", "p-noa")
			defer authority.SetEnds(0, 3)()
			for _, e := range []remit.Event{&remit.Removed{What: "person", Name: "p-bob", By: "p-ada"}, &w.set.People[1]} {
				if err := authority.Apply(w.s, w.now.UnixNano(), e); err != nil {
					t.Fatal(err)
				}
			}
			w.refuse(&authority.ApplySet{By: "p-bob", Set: ask, Access: first}, remit.AlreadyUsed, "not an approval")
			if second := w.must(&authority.ApplySet{By: "p-bob", Set: ask}).Decision.Access; second == first {
				t.Fatal("he waits for a request that is dead")
			}
			w.sweep()
			w.status(first, remit.AccessVoid, remit.Dropped)
			w.log, w.s = nil, authority.New()
		}},
		{"nor anybody, after a fork", func(t *testing.T, w *world) {
			all := w.lots(9, "coder", "p-noa")
			ask := clone(w.set)
			ask.Agents[0].MayRequest = []remit.Function{remit.FuncBuild}
			asked := w.must(&authority.ApplySet{By: "p-ada", Set: ask}).Decision.Access
			w.must(w.restore(nil, touch("ada"), touch("bob")))
			over(w, all...)
			w.refuse(w.ballot(asked, "bob", touch("bob"), true), remit.NotLive, "who asked")
			next := w.s.Next
			if w.must(&authority.SeeAccess{Access: asked, Person: "p-bob"}); w.s.Next != next {
				t.Fatal("somebody sees what nobody asks any more")
			}
			fresh := w.task("coder", "p-noa")
			w.sweep()
			killed(w, "", all...)
			w.status(asked, remit.AccessVoid, remit.Dropped)
			w.allow(step(fresh, "source.read", payments))
		}},
		{"a task with much of its own ends first, and its own after it", func(t *testing.T, w *world) {
			c := w.task("coder", "p-noa")
			for range 9 {
				w.launch(c.Task, "coder", "p-mia")
			}
			w.must(&authority.Kill{By: "p-mia", What: "task", ID: c.Task})
			if w.s.LiveTasks[c.Task] || len(w.s.Instances) != 6 {
				t.Fatal(w.live(), len(w.s.Instances))
			}
			over(w, c)
			w.sweep()
			if len(w.s.Instances) != 0 || len(w.s.Loose) != 0 {
				t.Fatal(w.s.Loose)
			}
		}},
		{"deadlines that come together are swept too", func(t *testing.T, w *world) {
			all := w.lots(9, "coder", "p-noa")
			w.later(8 * time.Hour)
			if w.tick(); w.live() < 6 || w.live() > 8 {
				t.Fatal(w.live())
			}
			w.sweep()
			for _, c := range all {
				if w.s.Tasks[c.Task].Status != remit.TaskExpired {
					t.Fatal(w.s.Tasks[c.Task].Status)
				}
			}
		}},
	})
	t.Run("children die with the agent of their parent", func(t *testing.T) {
		w := related(t)
		var kids []caller
		for i := range 6 {
			k := w.made(request(w.task("planner", "p-mia"), publishing(fmt.Sprint(i))))
			kids = append(kids, w.launch(k.ID, "builder", w.s.Agents["builder"].Owner))
		}
		w.must(&authority.Kill{By: "p-ada", What: "agent", ID: "planner"})
		if w.live() == 0 {
			t.Fatal("nothing is left to sweep")
		}
		over(w, kids...)
		w.sweep()
		killed(w, "p-ada", kids...)
		w.replay()
	})
	t.Run("children end as their parent", func(t *testing.T) {
		w := related(t)
		root := w.task("planner", "p-mia")
		var kids []caller
		for i := range 6 {
			k := w.made(request(root, publishing(fmt.Sprint(i))))
			kids = append(kids, w.launch(k.ID, "builder", w.s.Agents["builder"].Owner))
		}
		w.must(&authority.EndTask{By: "p-mia", Task: root.Task, Status: remit.TaskCancelled})
		left := 0
		for _, k := range kids {
			if w.s.TaskLive(k.Task, w.now.UnixNano()) {
				t.Fatal("a child lives")
			}
			if w.s.LiveTasks[k.Task] {
				left++
			}
		}
		if w.sweep(); left == 0 || w.live() != 0 {
			t.Fatal(left, w.live())
		}
		for _, k := range kids {
			if w.s.Tasks[k.Task].Status != remit.TaskCancelled {
				t.Fatal(w.s.Tasks[k.Task].Status)
			}
		}
		w.replay()
	})
}

// TestKilledBeforeAllElse: whichever end of a task is written down first, one that rests on what was killed ends as
// killed: when its parent is completed, when that has expired, and when both are left to the Tick.
func TestKilledBeforeAllElse(t *testing.T) {
	defer authority.SetEnds(1, 1)()
	for name, end := range map[string]func(*world, remit.ID){
		"its parent is completed": func(w *world, parent remit.ID) {
			w.must(&authority.EndTask{By: "p-mia", Task: parent, Status: remit.TaskCompleted, DropHolds: true})
		},
		"its parent has expired": func(w *world, _ remit.ID) { w.later(25 * time.Hour) },
		"nothing else":           func(*world, remit.ID) {},
	} {
		t.Run(name, func(t *testing.T) {
			w := related(t)
			parent := w.task("planner", "p-mia")
			var children []remit.ID
			for range 4 {
				children = append(children, w.made(request(parent, wants("helper", "source.push", "repo:forge/acme/payments"))).ID)
			}
			w.must(&authority.Kill{By: "p-ada", What: "agent", ID: "helper"})
			end(w, parent.Task)
			w.sweep()
			for _, id := range children {
				if got := w.s.Tasks[id].Status; got != remit.TaskKilled {
					t.Errorf("%s is %s", id, got)
				}
			}
			w.replay()
		})
	}
}
