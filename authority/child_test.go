package authority_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// family is a chain of agents from an idea to production, one for each function; tom owns those that supply has not.
func family(s *authority.Set) {
	supply(s)
	s.Upstreams = append(s.Upstreams, remit.UpstreamDeclared{Name: "ci", Type: remit.KindOIDC, Spec: remit.Hash([]byte("ci"))})
	s.Secrets = []remit.SecretDeclared{{Name: "lint/token", Zone: remit.ZoneSource, Approvers: []remit.Need{{Group: "reviewers", N: 1}}},
		{Name: "oci/push", Zone: remit.ZoneBuild}, {Name: "vault/db", Zone: remit.ZoneProduction, Approvers: []remit.Need{{Group: "release", N: 1}}}}
	for i := range s.Agents {
		switch a := &s.Agents[i]; a.Name {
		case "coder":
			a.MayRequest = []remit.Function{remit.FuncBuild, remit.FuncReview}
		case "builder":
			a.Jobs = []remit.Job{{Issuer: "ci", Repository: "77", Workflow: ".github/workflows/build.yml", Environment: "build", Source: payments.Name()}}
		}
	}
	all := []remit.Function{remit.FuncPlan, remit.FuncCode, remit.FuncReview, remit.FuncBuild, remit.FuncRelease, remit.FuncDeploy, remit.FuncOperate}
	s.Agents = append(s.Agents,
		remit.AgentDeclared{Name: "planner", Function: remit.FuncPlan, Owner: "p-tom", Requesters: []string{"devs"}, MayRequest: all, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"issue.read", "issue.comment"}, Resources: []remit.Pattern{"repo:forge/acme/*"}}}},
		remit.AgentDeclared{Name: "helper", Function: remit.FuncCode, Owner: "p-noa", Entitlements: []remit.Scope{
			{Actions: []remit.Action{"source.push", "source.read"}, Resources: []remit.Pattern{"repo:forge/acme/**"}},
			{Actions: []remit.Action{"secret.use"}, Resources: []remit.Pattern{"secret:lint/token"}}}},
		remit.AgentDeclared{Name: "shipper", Function: remit.FuncRelease, Owner: "p-tom", Requesters: []string{"devs"}, MayRequest: []remit.Function{remit.FuncDeploy}, Entitlements: []remit.Scope{
			{Actions: []remit.Action{"artifact.read", "artifact.release", "artifact.publish"}, Resources: []remit.Pattern{"artifact:oci/**", "repo:forge/acme/*"}}}},
		remit.AgentDeclared{Name: "medic", Function: remit.FuncOperate, Owner: "p-tom", Entitlements: []remit.Scope{
			{Actions: []remit.Action{"operate.change", "operate.read"}, Resources: []remit.Pattern{"environment:payments/*"}}}})
}

func related(t tb, changes ...func(*authority.Set)) *world {
	t.Helper()
	return newWorld(t, remit.Team, append([]func(*authority.Set){family}, changes...)...)
}

var words = remit.Hash([]byte("words"))

func wants(agent string, action remit.Action, on ...remit.Pattern) remit.Child {
	return remit.Child{Agent: agent, Intent: words, Scope: []remit.Scope{{Actions: []remit.Action{action}, Resources: on}}}
}

func commit(name string) remit.Input { return remit.Input{Resource: payments, ID: oid(name)} }

// publishing asks the builder for a build of a commit.
func publishing(commits ...string) remit.Child {
	c := wants("builder", "artifact.publish", remit.Pattern(image))
	for _, n := range commits {
		c.Inputs = append(c.Inputs, commit(n))
	}
	return c
}

// deploying asks the pilot for one deployment.
func deploying(env remit.Resource, as ...remit.Artifact) remit.Child {
	c := wants("pilot", "deploy.promote", remit.Pattern(env))
	c.Deploy = &remit.Deploy{Environment: env.Name(), Artifacts: as}
	for _, a := range as {
		c.Inputs = append(c.Inputs, remit.Input{Resource: a.Resource, ID: a.Digest})
	}
	return c
}

func asking(action remit.Action, c caller, child remit.Child) remit.Request {
	return remit.Request{Gateway: "task", Caller: c, Child: &child, Order: []byte("order"),
		Steps: []remit.Step{{Action: action, Resource: remit.Resource("task:" + child.Agent), Args: authority.ChildDigest(child)}}}
}

func request(c caller, child remit.Child) remit.Request { return asking("task.request", c, child) }

func delegate(c caller, child remit.Child) remit.Request { return asking("task.delegate", c, child) }

// made carries an allowed request for a child task out.
func (w *world) made(r remit.Request) *authority.Task {
	w.t.Helper()
	return w.bear(w.allow(r).Permit.ID, *r.Child)
}

func (w *world) bear(permit remit.ID, child remit.Child) *authority.Task {
	w.t.Helper()
	x := w.redeem(permit).Attempt.ID
	id := w.must(&authority.CreateChild{Attempt: x, Child: child}).ID
	w.must(&authority.Record{Attempt: x, Outcome: remit.Done, Made: string(id)})
	return w.s.Tasks[id]
}

func TestWhoMayAskForAChildTask(t *testing.T) {
	w := related(t)
	planner, coder, shipper := w.task("planner", "p-mia"), w.task("coder", "p-mia"), w.task("shipper", "p-mia")
	type change = func(*remit.Child)
	shipped := built("a")
	rollback := func(c *remit.Child) { c.Deploy.Rollback = true }
	for _, r := range []struct {
		name   string
		req    remit.Request
		change change
		code   remit.Code
		words  string
	}{
		{"an agent that is not declared", request(planner, wants("nobody", "source.push", "repo:forge/acme/payments")), nil, remit.UnknownResource, "no agent"},
		{"a function that may_request does not have", request(coder, deploying(staging, shipped)), nil, remit.OutOfScope, "not of deploy"},
		{"nobody may request by default", request(w.task("builder", "p-mia"), wants("helper", "source.push", "repo:forge/acme/payments")), nil, remit.OutOfScope, "functions []"},
		{"its own function", request(planner, wants("planner", "issue.read", "repo:forge/acme/payments")), nil, remit.OutOfScope, "delegate to it"},
		{"another function is not delegated to", delegate(coder, publishing()), nil, remit.CrossesBoundary, "keeps the function"},
		{"no words", request(planner, publishing("a")), func(c *remit.Child) { c.Intent = remit.Digest{} }, remit.BadRequest, "what it is for"},
		{"a scope without actions", request(planner, publishing("a")), func(c *remit.Child) { c.Scope[0].Actions = nil }, remit.BadRequest, "actions and resources"},
		{"a scope without resources", request(planner, publishing("a")), func(c *remit.Child) { c.Scope[0].Resources = nil }, remit.BadRequest, "actions and resources"},
		{"a pattern that is none", request(planner, publishing("a")), func(c *remit.Child) { c.Scope[0].Resources = []remit.Pattern{"x"} }, remit.BadRequest, "no type"},
		{"17 scopes", request(planner, publishing("a")), func(c *remit.Child) {
			for range 16 {
				c.Scope = append(c.Scope, c.Scope[0])
			}
		}, remit.TooLargeToJudge, "at most 16 scopes"},
		{"65 resources", request(planner, publishing("a")), func(c *remit.Child) {
			for range 64 {
				c.Scope[0].Resources = append(c.Scope[0].Resources, c.Scope[0].Resources[0])
			}
		}, remit.TooLargeToJudge, "more than 64"},
		{"an action nobody knows", request(planner, publishing("a")), func(c *remit.Child) { c.Scope[0].Actions = []remit.Action{"x.y"} }, remit.UnknownAction, "no action"},
		{"two zones", request(planner, publishing("a")), func(c *remit.Child) { c.Scope[0].Actions = append(c.Scope[0].Actions, "deploy.promote") }, remit.CrossesBoundary, "zones B and P"},
		{"two zones by a secret", request(planner, publishing("a")), func(c *remit.Child) {
			c.Scope = append(c.Scope, remit.Scope{Actions: []remit.Action{"secret.use"}, Resources: []remit.Pattern{"secret:vault/db"}})
		}, remit.CrossesBoundary, "zones B and P"},
		{"another zone than its function's", request(planner, wants("builder", "deploy.promote", "environment:payments/staging")), nil, remit.CrossesBoundary, "function build"},
		{"more than its agent is entitled to", request(planner, publishing("a")), func(c *remit.Child) {
			c.Scope[0].Resources = append(c.Scope[0].Resources, "artifact:other/x")
		}, remit.OutOfScope, "artifact.publish on artifact:other/x"},
		{"a part of it is no more than the rest", request(planner, publishing("a")), func(c *remit.Child) { c.Scope[0].Actions = []remit.Action{"artifact.publish", "build.read"} }, remit.OutOfScope, "build.read on"},
		{"refs that its agent is not entitled to", request(planner, wants("helper", "source.push", "repo:forge/acme/payments")), func(c *remit.Child) { c.Scope[0].Refs = []remit.Pattern{"refs/heads/main"} }, remit.OutOfScope, "source.push"},
		{"a build of nothing", request(planner, publishing()), nil, remit.BadRequest, "zone B rests on"},
		{"an operation on nothing", request(planner, wants("medic", "operate.change", "environment:payments/staging")), nil, remit.BadRequest, "zone P rests on"},
		{"a branch is no input", request(planner, publishing("a")), func(c *remit.Child) { c.Inputs[0].ID = "main" }, remit.BadRequest, "a branch or a tag moves"},
		{"an input twice", request(planner, publishing("a", "a")), nil, remit.BadRequest, "stands twice"},
		{"an input of no declared repository", request(planner, publishing("a")), func(c *remit.Child) { c.Inputs[0].Resource = "repo:forge/x/y" }, remit.UnknownResource, "no repository"},
		{"an input of no declared upstream", request(planner, publishing("a")), func(c *remit.Child) {
			c.Inputs[0] = remit.Input{Resource: "artifact:elsewhere/x", ID: shipped.Digest}
		}, remit.UnknownResource, "no upstream"},
		{"17 inputs", request(planner, publishing(strings.Split("abcdefghijklmnopq", "")...)), nil, remit.TooLargeToJudge, "at most 16"},
		{"less than a second", request(planner, publishing("a")), func(c *remit.Child) { c.For = int64(time.Second) - 1 }, remit.BadRequest, "at least 1s"},
		{"a time before it began", request(planner, publishing("a")), func(c *remit.Child) { c.For = -1 }, remit.BadRequest, "at least 1s"},
		{"longer than its parent", request(planner, publishing("a")), func(c *remit.Child) { c.For = int64(authority.TaskDefault) + 1 }, remit.OverLimit, "a child task ends with it"},
		{"a deployment by another function", request(planner, publishing("a")), func(c *remit.Child) { c.Deploy = deploying(staging, shipped).Deploy }, remit.CrossesBoundary, "of function deploy"},
		{"a deployment to nowhere", request(shipper, deploying(staging, shipped)), func(c *remit.Child) { c.Deploy.Environment = "x" }, remit.UnknownResource, "no environment"},
		{"a deployment of nothing", request(shipper, deploying(staging, shipped)), func(c *remit.Child) { c.Deploy.Artifacts = nil }, remit.BadRequest, "1 to 16"},
		{"a deployment of what it does not rest on", request(shipper, deploying(staging, shipped)), func(c *remit.Child) { c.Inputs = []remit.Input{commit("a")} }, remit.BadRequest, "no input"},
		{"a deployment with more in its scope", request(shipper, deploying(staging, shipped)), func(c *remit.Child) { c.Scope[0].Actions = append(c.Scope[0].Actions, "deploy.read") }, remit.BadRequest, "and nothing else"},
		{"a deployment to one place, a scope in another", request(shipper, deploying(staging, shipped)), func(c *remit.Child) { c.Scope[0].Resources = []remit.Pattern{remit.Pattern(production)} }, remit.BadRequest, "and nothing else"},
		{"a deployment with two scopes", request(shipper, deploying(staging, shipped)), func(c *remit.Child) { c.Scope = append(c.Scope, c.Scope[0]) }, remit.BadRequest, "and nothing else"},
		{"a rollback in the scope of a promotion", request(shipper, deploying(staging, shipped)), rollback, remit.BadRequest, "and nothing else"},
		{"a delegation with inputs", delegate(coder, wants("helper", "source.read", "repo:forge/acme/payments")), func(c *remit.Child) { c.Inputs = []remit.Input{commit("a")} }, remit.BadRequest, "stays in its zone"},
		{"a delegation with a deployment", delegate(coder, wants("helper", "source.read", "repo:forge/acme/payments")), func(c *remit.Child) { c.Deploy = &remit.Deploy{} }, remit.BadRequest, "stays in its zone"},
		{"a delegation of what one has not", delegate(coder, wants("helper", "secret.use", "secret:lint/token")), nil, remit.OutOfScope, "lies within the grant"},
		{"a delegation of other branches", delegate(coder, wants("merger", "source.merge", "repo:forge/acme/payments")), nil, remit.OutOfScope, "lies within the grant"},
		{"a delegation of everything", delegate(coder, remit.Child{Agent: "coder", Intent: words}), nil, remit.OutOfScope, "less than the whole"},
		{"no child", request(planner, publishing("a")), nil, remit.BadRequest, "alone"},
		{"a child beside another step", request(planner, publishing("a")), nil, remit.BadRequest, "alone"},
		{"a child of another step", request(planner, publishing("a")), nil, remit.BadRequest, "alone"},
		{"other arguments", request(planner, publishing("a")), nil, remit.BadRequest, "arguments"},
		{"another agent", request(planner, publishing("a")), nil, remit.BadRequest, "of that agent"},
	} {
		t.Run(r.name, func(t *testing.T) {
			w.t = t
			if r.change != nil {
				r.change(r.req.Child)
				r.req = asking(r.req.Steps[0].Action, r.req.Caller, *r.req.Child)
			}
			switch r.name {
			case "no child":
				r.req.Child = nil
			case "a child beside another step":
				r.req.Steps = append(r.req.Steps, remit.Step{Action: "issue.read", Resource: payments})
			case "a child of another step":
				r.req.Steps[0] = remit.Step{Action: "issue.read", Resource: payments}
			case "other arguments":
				r.req.Steps[0].Args = words
			case "another agent":
				r.req.Steps[0].Resource = "task:medic"
			}
			w.deny(r.req, r.code, r.words)
			if d := w.log[len(w.log)-1].event.(*remit.Decided); d.Child.Agent != "" {
				t.Fatal("a denied child stands in the leaf")
			}
		})
	}
	w.t = t
	w.replay()
}

func TestChildTasks(t *testing.T) {
	plan := func(w *world) caller { return w.task("planner", "p-mia") }
	for _, r := range []row{
		{"work of another function on immutable names", func(t *testing.T, w *world) {
			c := plan(w)
			child := publishing("a", "b")
			child.For = int64(time.Hour)
			var seen authority.StepView
			w.policy = func(f authority.Facts) authority.Finding {
				seen = f.Steps[0]
				return authority.Finding{Verdict: remit.Allow}
			}
			k := w.made(request(c, child))
			if seen.ChildFunction != remit.FuncBuild || seen.ChildZone != remit.ZoneBuild || seen.Impact != remit.Privileged || seen.Zone != remit.ZoneNone {
				t.Fatalf("policy sees %+v", seen)
			}
			if k.Requester != "p-mia" || k.Agent != "builder" || k.Parent != c.Task || k.By != c.Instance || k.Delegated || k.Intent != words || k.Deploy.Environment != "" ||
				k.Deadline != w.now.Add(time.Hour).UnixNano() || len(k.Inputs) != 2 || len(k.Grant) != 1 || fmt.Sprint(k.Grant[0].Actions, k.Grant[0].Resources) != "[artifact.publish] [artifact:oci/acme/payments]" {
				t.Fatalf("%+v", k)
			}
			b := w.launch(k.ID, "builder", "p-tom")
			w.policy = func(f authority.Facts) authority.Finding {
				if f.Task.Parent != c.Task || len(f.Task.Inputs) != 2 || f.Task.Depth != 2 || f.Task.Delegated {
					t.Errorf("policy sees %+v", f.Task)
				}
				return authority.Finding{Verdict: remit.Allow}
			}
			w.allow(publish(b, built("x")))
			w.deny(publish(b, remit.Artifact{Resource: "artifact:oci/acme/other", Digest: built("x").Digest}), remit.OutOfScope, "")
		}},
		{"nothing asked is all of its entitlements, until its parent's end", func(t *testing.T, w *world) {
			c := plan(w)
			k := w.made(request(c, remit.Child{Agent: "helper", Intent: words}))
			if len(k.Grant) != 2 || k.Deadline != w.s.Tasks[c.Task].Deadline || k.Grant[0].Refs[0] != remit.Pattern("refs/heads/remit/"+string(k.ID)+"/**") {
				t.Fatalf("%+v", k)
			}
			h := w.launch(k.ID, "helper", "p-noa")
			w.allow(push(h, branch(h, "x"), "1", "src/a"))
			w.deny(push(h, branch(c, "x"), "1", "src/a"), remit.RefOutOfScope, "")
		}},
		{"limits that are left out are those of the entitlement", func(t *testing.T, w *world) {
			w.apply(func(s *authority.Set) {
				a := &s.Agents[len(s.Agents)-3]
				a.Entitlements = slicesOf(a.Entitlements)
				a.Entitlements[0].Paths, a.Entitlements[0].MaxBytes, a.Entitlements[0].MaxCommits = []remit.Pattern{"src/**"}, 500, 5
				s.Agents[1].Entitlements = slicesOf(s.Agents[1].Entitlements)
				s.Agents[1].Entitlements[0].Refs = []remit.Pattern{"refs/heads/main"}
				s.Agents = append(s.Agents, remit.AgentDeclared{Name: "idle", Function: remit.FuncReview, Owner: "p-tom"})
			})
			c := plan(w)
			push := wants("helper", "source.push", "repo:forge/acme/payments")
			if g := w.made(request(c, push)).Grant[0]; g.MaxBytes != 500 || g.MaxCommits != 5 || len(g.Paths) != 1 {
				t.Fatalf("%+v", g)
			}
			narrow := func(change func(*remit.Scope)) remit.Request {
				p := push
				p.Scope = slicesOf(p.Scope)
				change(&p.Scope[0])
				return request(c, p)
			}
			w.allow(narrow(func(s *remit.Scope) { s.MaxBytes, s.MaxCommits, s.Paths = 500, 5, []remit.Pattern{"src/a/**"} }))
			w.allow(narrow(func(s *remit.Scope) { s.Refs = []remit.Pattern{"refs/heads/remit/{task}/x"} }))
			w.deny(narrow(func(s *remit.Scope) { s.MaxBytes = 501 }), remit.OutOfScope, "within these limits")
			merge := wants("merger", "source.merge", "repo:forge/acme/payments") // its branches are all but the task's own
			w.deny(request(c, merge), remit.OutOfScope, "within these limits")
			merge.Scope[0].Refs = []remit.Pattern{"refs/heads/main"}
			w.allow(request(c, merge))
			w.deny(request(c, remit.Child{Agent: "idle", Intent: words}), remit.OutOfScope, "entitled to nothing")
			w.deny(narrow(func(s *remit.Scope) { s.MaxCommits = 6 }), remit.OutOfScope, "within these limits")
			w.deny(narrow(func(s *remit.Scope) { s.Paths = []remit.Pattern{"src/a", "x"} }), remit.OutOfScope, "within these limits")
			w.deny(narrow(func(s *remit.Scope) { s.Refs = []remit.Pattern{"refs/heads/remit/{task}/x", "refs/heads/y"} }), remit.OutOfScope, "within these limits")
		}},
		{"review in the asker's own zone crosses nothing", func(t *testing.T, w *world) {
			c := w.task("coder", "p-mia")
			w.policy = func(f authority.Facts) authority.Finding {
				if f.Steps[0].Impact != remit.Write || f.Steps[0].ChildZone != remit.ZoneSource {
					t.Errorf("policy sees %+v", f.Steps[0])
				}
				return authority.Finding{Verdict: remit.Allow}
			}
			w.allow(request(c, wants("critic2", "review.submit", "repo:forge/acme/payments")))
			w.policy = func(f authority.Facts) authority.Finding {
				if f.Steps[0].Impact != remit.Write || f.Steps[0].ChildZone != remit.ZoneNone {
					t.Errorf("reads cross nothing either; policy sees %+v", f.Steps[0])
				}
				return authority.Finding{Verdict: remit.Allow}
			}
			w.allow(request(c, wants("builder", "artifact.read", remit.Pattern(image))))
		}},
		{"an agent that has ended is asked for nothing", func(t *testing.T, w *world) {
			c := plan(w)
			w.must(&authority.ChangeAgent{By: "p-tom", Agent: "builder", To: remit.AgentSuspended})
			w.deny(request(c, publishing("a")), remit.NotLive, "suspended")
		}},
		{"what people approved ends with its parent, however late it comes", func(t *testing.T, w *world) {
			c := plan(w)
			child := wants("medic", "operate.change", "environment:payments/staging")
			child.Inputs, child.For = []remit.Input{commit("a")}, int64(authority.TaskDefault)
			r := request(c, child)
			id := w.hold(r, remit.ImpactHeld, remit.Need{Group: "release", N: 1})
			w.vote(id, "sam", touch("sam"), true)
			w.later(time.Hour)
			k := w.bear(w.allow(w.claim(id, r)).Permit.ID, child)
			if k.Deadline != w.s.Tasks[c.Task].Deadline || k.By != c.Instance {
				t.Fatalf("%+v", k)
			}
		}},
		{"eight tasks are a chain", func(t *testing.T, w *world) {
			// A coder hands on to the other, a little less each time.
			c := w.task("coder", "p-mia")
			refs := remit.Pattern("refs/heads/remit/" + c.Task)
			for i := range 7 {
				refs += "/x"
				child := wants([]string{"helper", "coder"}[i%2], "source.push", "repo:forge/acme/payments")
				child.Scope[0].Refs = []remit.Pattern{refs + "/**"}
				k := w.made(delegate(c, child))
				c = w.launch(k.ID, k.Agent, "p-mia")
			}
			child := wants("coder", "source.push", "repo:forge/acme/payments")
			child.Scope[0].Refs = []remit.Pattern{refs + "/y"}
			w.deny(delegate(c, child), remit.OverBudget, "8th of its chain")
		}},
		{"32 live children are enough", func(t *testing.T, w *world) {
			w.quick = true
			c := plan(w)
			var last *authority.Task
			for i := range 32 {
				last = w.made(request(c, publishing(fmt.Sprint(i))))
			}
			w.deny(request(c, publishing("x")), remit.OverBudget, "32 child tasks")
			w.must(&authority.EndTask{By: "p-mia", Task: last.ID, Status: remit.TaskCancelled})
			w.allow(request(c, publishing("x")))
		}},
		{"a seal keeps a child out", func(t *testing.T, w *world) {
			c := plan(w)
			w.apply(func(s *authority.Set) {
				s.Boundaries = []remit.BoundaryDeclared{{Name: "pci", Seal: []remit.Pattern{"secret:lint/**"}, Functions: []remit.Function{remit.FuncCode}}}
				s.Agents = slicesOf(s.Agents)
				s.Agents[len(s.Agents)-3].Entitlements = s.Agents[len(s.Agents)-3].Entitlements[:1]
			})
			w.deny(request(c, wants("helper", "secret.use", "secret:lint/token")), remit.CrossesBoundary, "sealed")
		}},
	} {
		t.Run(r.name, func(t *testing.T) {
			w := related(t)
			r.run(t, w)
			w.policy = nil
			w.replay()
		})
	}
}

func TestDelegation(t *testing.T) {
	w := related(t)
	c := w.task("coder", "p-mia", func(c *authority.CreateTask) {
		c.Envelope = remit.Envelope{Paths: []remit.Pattern{"src/**"}}
		c.Budget = remit.Budget{Decisions: 20, Holds: 1, Bytes: 1000}
	})
	push1 := wants("helper", "source.push", "repo:forge/acme/payments")
	k := w.made(delegate(c, push1))
	if !k.Delegated || k.Envelope.Paths[0] != "src/**" || k.Budget.Bytes != 1000 || k.Grant[0].Refs[0] != remit.Pattern("refs/heads/remit/"+string(c.Task)+"/**") {
		t.Fatalf("%+v", k)
	}
	h := w.launch(k.ID, "helper", "p-noa")
	w.allow(push(h, branch(c, "x"), "1", "src/a"))
	w.hold(push(h, branch(c, "y"), "1", "docs/a"), remit.OutOfEnvelope)
	w.deny(push(h, branch(h, "x"), "1", "src/a"), remit.RefOutOfScope, "")
	push2 := push1
	push2.Agent = "coder"
	w.deny(delegate(h, push2), remit.OutOfScope, "less than the whole")
	push2.Scope = slicesOf(push2.Scope)
	push2.Scope[0].MaxBytes = 10
	k = w.made(delegate(h, push2))
	if g := k.Grant[0]; g.MaxBytes != 10 || g.Refs[0] != remit.Pattern("refs/heads/remit/"+string(c.Task)+"/**") {
		t.Fatalf("%+v", g)
	}
	w.replay()
}

func TestCreateChild(t *testing.T) {
	type given struct {
		*world
		c     caller
		child remit.Child
		x     remit.ID
	}
	start := func(t *testing.T) given {
		w := related(t)
		c := w.task("planner", "p-mia")
		child := publishing("a")
		child.For = int64(time.Hour)
		return given{w, c, child, w.redeem(w.allow(request(c, child)).Permit.ID).Attempt.ID}
	}
	for _, r := range []struct {
		name  string
		run   func(g given)
		code  remit.Code
		words string
	}{
		{"no attempt", func(g given) {
			g.x = "X-0"
			g.refuse(&authority.CreateChild{Attempt: "X-0", Child: g.child}, remit.NotFound, "does not exist")
		}, "", ""},
		{"an attempt of something else", func(g given) {
			x := g.redeem(g.allow(step(g.c, "issue.read", payments)).Permit.ID).Attempt.ID
			g.refuse(&authority.CreateChild{Attempt: x, Child: g.child}, remit.NotFound, "asked for no child")
		}, "", ""},
		{"another child", func(g given) {
			g.child.For++
			g.refuse(&authority.CreateChild{Attempt: g.x, Child: g.child}, remit.Stale, "not the child task")
		}, "", ""},
		{"too late", func(g given) { g.later(authority.AttemptLife) }, remit.Expired, "has expired"},
		{"after the parent", func(g given) {
			g.must(&authority.EndTask{By: "p-mia", Task: g.c.Task, Status: remit.TaskCancelled})
		}, remit.NotLive, "has ended"},
		{"after the instance", func(g given) { g.must(&authority.EndInstance{Instance: g.c.Instance}) }, remit.NotLive, "has ended"},
		{"after the agent", func(g given) {
			g.must(&authority.ChangeAgent{By: "p-tom", Agent: "builder", To: remit.AgentSuspended})
		}, remit.NotLive, "has ended"},
		{"less entitled than it was", func(g given) {
			g.apply(func(s *authority.Set) {
				s.Agents[4].Entitlements = []remit.Scope{{Actions: []remit.Action{"artifact.read"}, Resources: []remit.Pattern{"artifact:oci/**"}}}
			})
		}, remit.Stale, "not entitled to artifact.publish"},
		{"otherwise entitled than it was", func(g given) {
			g.apply(func(s *authority.Set) {
				s.Agents[4].Entitlements = slicesOf(s.Agents[4].Entitlements)
				s.Agents[4].Entitlements[0].MaxBytes = 7
			})
		}, remit.Stale, "ask for the work again"},
		{"with too many brothers", func(g given) {
			var xs []remit.ID
			g.quick = true
			for range 31 {
				xs = append(xs, g.redeem(g.allow(request(g.c, g.child)).Permit.ID).Attempt.ID)
			}
			y := g.redeem(g.allow(request(g.c, g.child)).Permit.ID).Attempt.ID
			for _, x := range append(xs, y) {
				g.must(&authority.CreateChild{Attempt: x, Child: g.child})
			}
		}, remit.Stale, "32 child tasks"},
	} {
		t.Run(r.name, func(t *testing.T) {
			g := start(t)
			r.run(g)
			if r.code != "" {
				g.refuse(&authority.CreateChild{Attempt: g.x, Child: g.child}, r.code, r.words)
			}
			g.replay()
		})
	}
	t.Run("once, and the same again", func(t *testing.T) {
		g := start(t)
		id := g.must(&authority.CreateChild{Attempt: g.x, Child: g.child}).ID
		n := len(g.log)
		g.later(authority.AttemptLife)
		if again := g.must(&authority.CreateChild{Attempt: g.x, Child: g.child}).ID; again != id || len(g.log) != n {
			t.Fatal(again, id)
		}
		g.must(&authority.Record{Attempt: g.x, Outcome: remit.Done})
		g.refuse(&authority.CreateChild{Attempt: g.x, Child: g.child}, remit.NotFound, "")
		g.replay()
	})
	t.Run("a log in which nothing asked for a child is none", func(t *testing.T) {
		g := start(t)
		e := remit.TaskCreated{ID: "T-999", Requester: "p-mia", Agent: "builder", Parent: g.c.Task, Attempt: g.x, Deadline: g.now.Add(time.Hour).UnixNano()}
		for _, change := range []func(*remit.TaskCreated){func(e *remit.TaskCreated) { e.Attempt = "" }, func(e *remit.TaskCreated) { e.Attempt = "X-0" },
			func(e *remit.TaskCreated) { e.Agent = "coder" }, func(e *remit.TaskCreated) { e.Parent = "T-0" }} {
			bad := e
			change(&bad)
			if err := authority.Apply(g.s, g.now.UnixNano(), &bad); err == nil {
				t.Errorf("%+v", bad)
			}
		}
		g.must(&authority.CreateChild{Attempt: g.x, Child: g.child})
		if err := authority.Apply(g.s, g.now.UnixNano(), &e); err == nil {
			t.Error("two children of one attempt")
		}
	})
}
