package authority_test

import (
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestCrossingIntoProduction(t *testing.T) {
	operate := func() remit.Child {
		c := wants("medic", "operate.change", "environment:payments/*")
		c.Inputs = []remit.Input{commit("a")}
		return c
	}
	for _, r := range []row{
		{"is voted on by those who decide over what it reaches", func(t *testing.T, w *world) {
			r := request(w.task("planner", "p-mia"), operate())
			id := w.hold(r, remit.ImpactHeld, remit.Need{Group: "release", N: 2})
			if a := w.s.Accesses[id]; a.Zone != remit.ZoneProduction {
				t.Fatalf("%+v", a.AccessOpened)
			}
			w.vote(id, "sam", touch("sam"), true)
			w.status(id, remit.AccessOpen, "")
			w.vote(id, "rio", touch("rio"), true)
			bad := w.claim(id, r)
			bad.Caller.Executor = "executor/production"
			w.deny(bad, remit.UnknownPrincipal, "executor/source")
			w.status(id, remit.AccessMet, "")
			w.bear(w.allow(w.claim(id, r)).Permit.ID, *r.Child)
			w.deny(w.claim(id, r), remit.AlreadyUsed, "")
		}},
		{"by fewer where it reaches less", func(t *testing.T, w *world) {
			child := operate()
			child.Scope[0].Resources = []remit.Pattern{remit.Pattern(staging)}
			w.hold(request(w.task("planner", "p-mia"), child), remit.ImpactHeld, remit.Need{Group: "release", N: 1})
		}},
		{"by an administrator where nobody is named", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				s.Agents = slicesOf(s.Agents)
				a := &s.Agents[len(s.Agents)-1]
				a.Entitlements = append(slicesOf(a.Entitlements), remit.Scope{Actions: []remit.Action{"tool.call"}, Resources: []remit.Pattern{"tool:page"}})
			})
			child := operate()
			child.Scope[0].Actions, child.Scope[0].Resources = []remit.Action{"tool.call"}, []remit.Pattern{"tool:page"}
			w.hold(request(w.task("planner", "p-mia"), child), remit.ImpactHeld, remit.Need{Group: remit.Administrators, N: 1})
		}},
		{"not by whom it asks", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				s.Agents = slicesOf(s.Agents)
				s.Agents[len(s.Agents)-1].Owner = "p-sam"
			})
			w.deny(request(w.task("planner", "p-mia"), operate()), remit.NoApprover, "p-sam caused or steered")
		}},
		{"not by who changed what decides, since the root was requested", func(t *testing.T, w *world) {
			c := w.task("planner", "p-mia")
			w.apply(func(s *authority.Set) { s.Groups[3].Members = []remit.ID{"p-bob", "p-rio", "p-sam"} })
			w.apply(func(s *authority.Set) { // ada changes the environment: she is no approver then
				s.Environments = slicesOf(s.Environments)
				s.Environments[1].Approvers = []remit.Need{{Group: remit.Administrators, N: 2}}
			})
			child := operate()
			child.Scope[0].Resources = []remit.Pattern{remit.Pattern(staging)}
			w.deny(request(c, child), remit.NoApprover, "p-ada caused or steered")
		}},
		{"not by the people of the ancestors", func(t *testing.T, w *world) {
			// tom launches nothing here, but owns the planner; rio comes to own it, and counts from then on.
			root := w.task("planner", "p-mia")
			k := w.made(request(root, wants("shipper", "artifact.read", remit.Pattern(image))))
			s := w.launch(k.ID, "shipper", "p-tom")
			w.apply(func(s *authority.Set) {
				s.Agents = slicesOf(s.Agents)
				for i := range s.Agents {
					if s.Agents[i].Name == "planner" {
						s.Agents[i].Owner = "p-rio"
					}
				}
			})
			w.apply(func(s *authority.Set) {
				for i := range s.Agents {
					if s.Agents[i].Name == "pilot" {
						s.Agents[i].Entitlements = append(slicesOf(s.Agents[i].Entitlements), remit.Scope{Actions: []remit.Action{"deploy.promote"}, Resources: []remit.Pattern{"environment:payments/staging"}, MaxBytes: 1})
					}
				}
			})
			child := wants("pilot", "deploy.promote", remit.Pattern(production))
			child.Inputs = []remit.Input{commit("a")}
			w.deny(request(s, child), remit.NoApprover, "p-rio caused or steered")
		}},
		{"an approval is stale when the grant would be another", func(t *testing.T, w *world) {
			c := w.task("planner", "p-mia")
			child := remit.Child{Agent: "medic", Intent: words, Inputs: []remit.Input{commit("a")}}
			r := request(c, child)
			id := w.hold(r, remit.ImpactHeld)
			w.vote(id, "sam", touch("sam"), true)
			w.vote(id, "rio", touch("rio"), true)
			w.apply(func(s *authority.Set) {
				s.Agents = slicesOf(s.Agents)
				a := &s.Agents[len(s.Agents)-1]
				a.Entitlements = slicesOf(a.Entitlements)
				a.Entitlements[0].Actions = []remit.Action{"operate.change"}
			})
			w.deny(w.claim(id, r), remit.Stale, "")
			w.status(id, remit.AccessVoid, remit.Stale)
		}},
		{"delegating within production does not", func(t *testing.T, w *world) {
			c := w.task("pilot", "p-mia")
			w.allow(delegate(c, wants("pilot", "deploy.promote", remit.Pattern(staging))))
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := related(t)
			r.run(t, w)
			w.replay()
		})
	}
}

func TestADeploymentByAChildTask(t *testing.T) {
	executor := func(k *authority.Task, change ...func(*remit.Request)) remit.Request {
		r := deploy(caller{Task: k.ID, Agent: k.Agent, Executor: "executor/production"}, k.Deploy)
		for _, c := range change {
			c(&r)
		}
		return r
	}
	type given struct {
		*world
		root, ship caller
		k          *authority.Task
	}
	start := func(t *testing.T) given {
		w := related(t)
		a := w.published("v1", "one")
		root := w.task("planner", "p-mia")
		rest := wants("shipper", "artifact.read", remit.Pattern(image))
		ship := w.launch(w.made(request(root, rest)).ID, "shipper", "p-tom")
		k := w.made(request(ship, deploying(production, a))) // nobody votes on the request: they vote on the step
		if k.Deploy.Environment != production.Name() || len(k.Grant) != 1 || len(k.Grant[0].Actions) != 1 {
			t.Fatalf("%+v", k)
		}
		return given{w, root, ship, k}
	}
	for _, r := range []struct {
		name string
		run  func(t *testing.T, g given)
	}{
		{"the executor asks, two people vote, the executor carries it out, and the task has done its work", func(t *testing.T, g given) {
			r := executor(g.k)
			id := g.hold(r, remit.ImpactHeld, remit.Need{Group: "release", N: 2})
			a := g.s.Accesses[id]
			if a.Zone != remit.ZoneProduction || a.Launcher != "" || a.Instance != "" || a.Agent != "pilot" || g.s.Tasks[g.k.ID].Status != remit.TaskWaiting {
				t.Fatalf("%+v", a)
			}
			for _, p := range []string{"p-mia", "p-tom", "p-ada"} {
				if why := g.s.MayVote(id, remit.ID(p), g.now.UnixNano()); why == "" {
					t.Errorf("%s may vote", p)
				}
			}
			if again := g.hold(r, remit.ImpactHeld); again != id {
				t.Fatal("asking again makes another request")
			}
			g.vote(id, "rio", touch("rio"), true)
			g.vote(id, "sam", touch("sam"), true)
			bad := g.claim(id, r)
			g.deny(bad, remit.UnknownPrincipal, "executor/production")
			bad.Caller.Executor = "executor/build"
			g.deny(bad, remit.UnknownPrincipal, "executor/production")
			g.status(id, remit.AccessMet, "")
			d := g.allow(g.order(id, r))
			x := g.redeem(d.Permit.ID).Attempt.ID
			g.must(&authority.Record{Attempt: x, Outcome: remit.Done})
			if rs := g.s.Releases[production.Name()]; len(rs) != 1 || rs[0].Outcome != remit.Done {
				t.Fatalf("%+v", rs)
			}
			if st := g.s.Tasks[g.k.ID].Status; st != remit.TaskCompleted {
				t.Fatal(st)
			}
		}},
		{"a veto ends it", func(t *testing.T, g given) {
			id := g.hold(executor(g.k), remit.ImpactHeld)
			g.vote(id, "rio", touch("rio"), false)
			if g.s.LiveTasks[g.k.ID] {
				t.Fatal("it goes on")
			}
		}},
		{"another executor does not ask", func(t *testing.T, g given) {
			for _, e := range []string{"executor/source", "executor/build", "executor/x"} {
				g.deny(executor(g.k, func(r *remit.Request) { r.Caller.Executor = e }), remit.UnknownPrincipal, "executor/production")
			}
		}},
		{"nor for another agent, nor in the name of an instance", func(t *testing.T, g given) {
			g.deny(executor(g.k, func(r *remit.Request) { r.Caller.Agent = "medic" }), remit.UnknownPrincipal, "")
			g.deny(executor(g.k, func(r *remit.Request) { r.Caller.Agent = "" }), remit.UnknownPrincipal, "")
			g.deny(executor(g.k, func(r *remit.Request) { r.Caller.Instance = g.ship.Instance }), remit.UnknownPrincipal, "")
		}},
		{"nor for a task that deploys nothing", func(t *testing.T, g given) {
			p := g.task("pilot", "p-mia")
			g.deny(executor(g.k, func(r *remit.Request) { r.Caller.Task = p.Task }), remit.UnknownPrincipal, "")
			g.deny(executor(g.k, func(r *remit.Request) { r.Caller.Task = "T-0" }), remit.UnknownPrincipal, "")
		}},
		{"nor for anything but that step", func(t *testing.T, g given) {
			g.deny(executor(g.k, func(r *remit.Request) {
				r.Steps, r.Deploy = []remit.Step{{Action: "deploy.read", Resource: production}}, nil
			}), remit.OutOfScope, "nothing else")
			other := g.k.Deploy
			other.Environment = staging.Name()
			g.deny(deploy(executor(g.k).Caller, other), remit.OutOfScope, "nothing else")
			g.deny(back(executor(g.k)), remit.OutOfScope, "nothing else")
			r := executor(g.k)
			r.Steps = append(r.Steps, remit.Step{Action: "deploy.read", Resource: production})
			g.deny(r, remit.OutOfScope, "nothing else")
		}},
		{"nor for other artifacts", func(t *testing.T, g given) {
			other := g.k.Deploy
			other.Artifacts = []remit.Artifact{g.published("v2", "two")}
			g.deny(deploy(executor(g.k).Caller, other), remit.OutOfScope, "another deployment")
			other = g.k.Deploy
			other.From = 3
			g.deny(deploy(executor(g.k).Caller, other), remit.OutOfScope, "another deployment")
		}},
		{"nor after the task", func(t *testing.T, g given) {
			g.must(&authority.Kill{By: "p-mia", What: "task", ID: g.root.Task})
			g.deny(executor(g.k), remit.NotLive, "")
		}},
		{"an executor without an approval gets no permit", func(t *testing.T, g given) {
			e := &remit.Decided{Verdict: remit.Allow, Gateway: "x", Task: g.k.ID, Agent: "pilot", Executor: "executor/production", Permit: "P-999"}
			if err := authority.Apply(g.s, g.now.UnixNano(), e); err == nil {
				t.Fatal("it applies")
			}
			e.Executor = ""
			if err := authority.Apply(g.s, g.now.UnixNano(), e); err == nil {
				t.Fatal("it applies for nobody at all")
			}
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			g := start(t)
			r.run(t, g)
			g.replay()
		})
	}
}

func TestParentsAndChildrenEnd(t *testing.T) {
	for _, r := range []row{
		{"a parent that is killed ends its children, their holds and instances", func(t *testing.T, w *world) {
			root := w.task("planner", "p-mia")
			k := w.made(request(root, wants("helper", "source.push", "repo:forge/acme/payments")))
			h := w.launch(k.ID, "helper", "p-noa")
			id := w.hold(push(h, branch(h, "x"), "1", workflow), remit.PathProtected)
			w.must(&authority.Kill{By: "p-mia", What: "task", ID: root.Task})
			w.status(id, remit.AccessVoid, remit.Dropped)
			if len(w.s.LiveTasks)+len(w.s.Instances) != 0 || w.s.Tasks[k.ID].Status != remit.TaskKilled {
				t.Fatal(w.s.LiveTasks, w.s.Instances)
			}
			w.deny(push(h, branch(h, "x"), "1", "src/a"), remit.UnknownPrincipal, "")
		}},
		{"and so does its agent's end, at once", func(t *testing.T, w *world) {
			root := w.task("planner", "p-mia")
			k := w.made(request(root, wants("helper", "source.push", "repo:forge/acme/payments")))
			w.must(&authority.ChangeAgent{By: "p-tom", Agent: "planner", To: remit.AgentSuspended})
			if w.s.LiveTasks[k.ID] {
				t.Fatal("the child lives")
			}
		}},
		{"completing says which children live", func(t *testing.T, w *world) {
			root := w.task("planner", "p-mia")
			k := w.made(request(root, publishing("a")))
			end := &authority.EndTask{By: "p-mia", Task: root.Task, Status: remit.TaskCompleted}
			w.refuse(end, remit.Conflict, string(k.ID))
			w.refuse(&authority.EndTask{Instance: root.Instance, Task: root.Task, Status: remit.TaskCompleted}, remit.Conflict, string(k.ID))
			w.must(&authority.EndTask{By: "p-mia", Task: k.ID, Status: remit.TaskCompleted})
			w.must(end)
		}},
		{"who asked for a child may call it off, and nobody else's", func(t *testing.T, w *world) {
			root, other := w.task("planner", "p-mia"), w.task("planner", "p-mia")
			k := w.made(request(root, publishing("a")))
			off := func(i remit.ID, status remit.TaskStatus) *authority.EndTask {
				return &authority.EndTask{Instance: i, Task: k.ID, Status: status}
			}
			w.refuse(off(other.Instance, remit.TaskCancelled), remit.Forbidden, "is ended by")
			w.refuse(off(root.Instance, remit.TaskCompleted), remit.Forbidden, "is ended by")
			w.refuse(off("", remit.TaskCancelled), remit.Forbidden, "is ended by")
			w.must(off(root.Instance, remit.TaskCancelled))
			k = w.made(request(root, publishing("b")))
			w.must(&authority.EndInstance{Instance: root.Instance})
			w.refuse(off(root.Instance, remit.TaskCancelled), remit.Forbidden, "is ended by")
		}},
		{"a log in which a child rests on what another task asked is none", func(t *testing.T, w *world) {
			root, other := w.task("planner", "p-mia"), w.task("planner", "p-mia")
			child := publishing("a")
			x := w.redeem(w.allow(request(root, child)).Permit.ID).Attempt.ID
			e := &remit.TaskCreated{ID: "T-x", Requester: "p-mia", Agent: "builder", Parent: other.Task, By: root.Instance, Attempt: x, Deadline: w.now.Add(time.Hour).UnixNano()}
			if err := authority.Apply(w.s, w.now.UnixNano(), e); err == nil {
				t.Fatal("it was applied")
			}
		}},
		{"completing all the same, and cancelling, end them", func(t *testing.T, w *world) {
			for _, end := range []authority.EndTask{{Status: remit.TaskCompleted, DropHolds: true}, {Status: remit.TaskCancelled}} {
				root := w.task("planner", "p-mia")
				k := w.made(request(root, publishing("a")))
				end.By, end.Task = "p-mia", root.Task
				w.must(&end)
				if w.s.LiveTasks[k.ID] {
					t.Fatal("the child lives")
				}
			}
		}},
		{"a task that waited for a vote waits for the child that came of it", func(t *testing.T, w *world) {
			root := w.task("planner", "p-mia")
			child := wants("medic", "operate.change", remit.Pattern(staging))
			child.Inputs = []remit.Input{commit("a")}
			r := request(root, child)
			id := w.hold(r, remit.ImpactHeld)
			w.must(&authority.EndInstance{Instance: root.Instance})
			w.vote(id, "sam", touch("sam"), true)
			k := w.bear(w.allow(w.claim(id, r)).Permit.ID, child)
			if !w.s.LiveTasks[root.Task] || !w.s.LiveTasks[k.ID] || w.s.Due(w.now.UnixNano()) {
				t.Fatal("it ended", w.s.Tasks[root.Task].Status, w.s.Tasks[k.ID].Status)
			}
			w.must(&authority.EndTask{By: "p-mia", Task: k.ID, Status: remit.TaskCompleted})
			w.tick()
			if st := w.s.Tasks[root.Task].Status; st != remit.TaskCompleted {
				t.Fatal(st)
			}
		}},
		{"a child ends with the time of its parent", func(t *testing.T, w *world) {
			root := w.task("planner", "p-mia", func(c *authority.CreateTask) { c.For = int64(time.Hour) })
			k := w.made(request(root, publishing("a")))
			w.later(time.Hour).tick()
			if w.s.LiveTasks[k.ID] || w.s.Tasks[k.ID].Status != remit.TaskExpired {
				t.Fatal(w.s.Tasks[k.ID].Status)
			}
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := related(t)
			r.run(t, w)
			w.replay()
		})
	}
}

func TestExecutorOf(t *testing.T) {
	for zone, want := range map[remit.Zone]string{remit.ZoneNone: "executor/source", remit.ZoneSource: "executor/source", remit.ZoneBuild: "executor/build",
		remit.ZoneProduction: "executor/production", remit.ZoneControl: "", "X": ""} {
		if got := authority.ExecutorOf(zone); got != want {
			t.Errorf("%q: %q", zone, got)
		}
	}
}
