package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func pick[T any](w *World, of ...T) (v T) {
	if len(of) == 0 {
		return v
	}
	return of[w.r.IntN(len(of))]
}

// one in n.
func (w *World) one(n int) bool { return w.r.IntN(n) == 0 }

func (w *World) somebody() remit.ID { return remit.ID("p-" + pick(w, people...)) }

func sorted[V any](m map[remit.ID]V) []remit.ID {
	var out []remit.ID
	for id := range m {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// ids of what the state has, in order.
func (w *World) ids(f func(*authority.State) []remit.ID) (out []remit.ID) {
	w.view(func(s *authority.State) { out = f(s) })
	return out
}

// moves are what can happen, each with how often.
var moves = []struct {
	name   string
	weight int
	do     func(*World)
}{
	{"a task is requested", 2, func(w *World) {
		w.task(pick(w, "coder", "coder", "merger", "critic", "pilot", "planner", "builder"))
	}},
	{"an agent pushes", 8, (*World).push},
	{"an agent merges", 5, (*World).merge},
	{"an agent plans", 4, (*World).plan},
	{"a plan is withdrawn", 1, (*World).withdraws},
	{"somebody opens break-glass", 2, (*World).breaks},
	{"an agent merges what others reviewed", 3, (*World).mergeReviewed},
	{"somebody looks at what waits", 2, (*World).sees},
	{"an agent reviews", 2, (*World).review},
	{"an agent asks for something small", 3, (*World).small},
	{"an agent asks for a child task", 4, (*World).relate},
	{"an agent publishes", 4, (*World).publish},
	{"an agent deploys", 6, (*World).deploy},
	{"somebody votes", 4, (*World).vote},
	{"everybody who may votes", 8, (*World).carry},
	{"the executors work", 6, (*World).execute},
	{"a permit is used late, or again", 3, (*World).again},
	{"authority is taken away", 3, func(w *World) { w.takeAway() }},
	{"an instance starts", 2, (*World).start},
	{"a CI job starts", 1, (*World).job},
	{"declarations change", 3, (*World).declare},
	{"somebody enrols a key", 5, (*World).enrols},
	{"somebody loses a key", 1, (*World).loses},
	{"somebody signs in at a provider", 2, (*World).signsIn},
	{"time passes", 4, (*World).pass},
	{"somebody will interfere", 4, func(w *World) { w.interfere() }},
	{"the process will be killed", 2, func(w *World) { w.fuse = 1 + w.r.IntN(25) }},
	{"the disk will fail", 2, func(w *World) { w.fault = fault(1 + w.r.IntN(int(faults)-1)); w.say("  the next append %s", w.fault) }},
	{"an answer will be lost", 2, func(w *World) { w.cut = 1 + w.r.IntN(2) }},
	{"an upstream's answer will be lost", 2, func(w *World) { w.deaf = true }},
	{"the clock jumps", 1, (*World).jump},
	{"many act at once", 3, (*World).together},
	{"reviews open", 2, (*World).reviews},
	{"people answer reviews", 3, (*World).answers},
	{"something comes back", 2, (*World).returns},
}

// weighted has each move as often as it happens.
var weighted = func() (out []int) {
	for i, m := range moves {
		for range m.weight {
			out = append(out, i)
		}
	}
	return out
}()

func (w *World) task(agent string) {
	c := &authority.CreateTask{Agent: agent, By: pick(w, remit.ID("p-mia"), "p-mia", "p-noa", "p-sam"), Intent: digest("words"), For: int64(pick(w, 0, 10*time.Minute, 24*time.Hour))}
	c.Budget.Holds = pick(w, 0, 0, 1)
	if w.one(4) {
		c.Envelope.Paths = []remit.Pattern{"src/**"}
	}
	if w.one(5) { // more than there is
		c.Scope = []remit.Scope{{Actions: pick(w, []remit.Action{"source.push", "source.merge"}, []remit.Action{"source.push", "deploy.promote"}), Resources: []remit.Pattern{"repo:forge/**", "environment:app/*"}, Refs: pick(w, nil, []remit.Pattern{"refs/heads/**"})}}
	}
	if res, err := w.do(c); err == nil {
		w.launch(res.ID, agent, c.By)
	}
}

func (w *World) launch(task remit.ID, agent string, by remit.ID) {
	res, err := w.do(&authority.StartInstance{By: by, Task: task, Confinement: pick(w, remit.ConfineUID, remit.ConfineNone), Secret: digest("launcher"), Host: digest("a laptop")})
	if err == nil {
		w.callers = append(w.callers, remit.Caller{Instance: res.ID, Agent: agent, Task: task})
	}
}

// of is an instance of an agent, mostly one that runs; a task is requested where there is none.
func (w *World) of(agents ...string) (remit.Caller, bool) {
	find := func() (cs []remit.Caller) {
		for _, c := range w.callers {
			if slices.Contains(agents, c.Agent) {
				cs = append(cs, c)
			}
		}
		return cs
	}
	cs := find()
	live := slices.DeleteFunc(slices.Clone(cs), func(c remit.Caller) (gone bool) {
		w.view(func(s *authority.State) { gone = !s.InstanceLive(c.Instance, w.engine.Now().UnixNano()) })
		return gone
	})
	if len(live) == 0 && !w.one(4) && agents[0] != "helper" {
		w.task(agents[0])
		cs = find()
		live = cs[max(0, len(cs)-1):]
	}
	if len(live) > 0 && !w.one(12) {
		cs = live
	}
	if len(cs) == 0 {
		return remit.Caller{}, false
	}
	c := pick(w, cs...)
	if other := pick(w, w.callers...); w.one(25) { // a lie
		c.Task = other.Task
	} else if w.one(25) {
		c.Agent = other.Agent
	}
	return c, true
}

// ask takes a request through the pipeline, or keeps its permit for later.
func (w *World) ask(r remit.Request, o order) {
	b, err := json.Marshal(o)
	if err != nil {
		panic(err)
	}
	r.Order = b
	d, err := authorizer{w}.Authorize(context.Background(), r)
	w.say("  %s: %s %s %s %s: %s %s %s %s %s", r.Caller.Agent, r.Caller.Task, r.Steps[0].Action, r.Steps[0].Resource, o.Ref, d.Verdict, d.Code, d.Access, d.Sentence, reason(err))
	if err != nil {
		return
	}
	if d.Verdict == remit.Hold && !slices.Contains(w.held, d.Access) {
		w.held = append(w.held, d.Access)
	}
	if d.Verdict != remit.Allow || d.Permit.ID == "" {
		return
	}
	if len(r.Refs) > 0 && r.Review == "" {
		w.pushes = append(w.pushes, d.Entry)
	}
	w.permits = append(w.permits, stashed{d.Permit, remit.Order{Caller: r.Caller, Steps: r.Steps, Deploy: r.Deploy, Body: b}})
	w.meanwhile()
	if !w.one(6) {
		w.complete(w.permits[len(w.permits)-1])
	}
}

func (w *World) complete(p stashed) {
	res, err := w.pipeline().Complete(context.Background(), protocol{w}, p.permit, p.order, nil)
	w.say("  %s: %s %s", p.permit.ID, res.Outcome, reason(err))
}

func (w *World) again() {
	if len(w.permits) == 0 {
		return
	}
	p := pick(w, w.permits...)
	if w.one(5) {
		p.permit.Secret[0] ^= 1
	}
	w.complete(p)
}

// change is a request that moves a ref, and the order that does it.
func (w *World) change(c remit.Caller, action remit.Action, repo remit.Resource, ref, tip string, paths ...string) (remit.Request, order) {
	old := w.up.refs[repo.Name()+" "+ref]
	if oid(tip) == old {
		tip += "0"
	}
	x := remit.RefChange{Ref: ref, Op: remit.RefUpdate, Old: old, New: oid(tip), Tree: oid("tree " + tip), Commits: pick(w, 1, 3), Brought: []string{oid(tip)}}
	if w.one(8) {
		x.Op = pick(w, remit.RefForce, remit.RefDelete)
	}
	if x.Op == remit.RefDelete && old != "" {
		x.New, x.Tree, x.Commits, x.Brought = "", "", 0, nil
	} else if x.Op == remit.RefDelete {
		x.Op = remit.RefCreate
	}
	if old == "" {
		x.Op = remit.RefCreate
	}
	for _, p := range paths {
		x.Paths = append(x.Paths, remit.PathChange{Path: p, NewMode: 0o100644, New: oid("blob " + p + tip)})
	}
	if len(w.pushes) > 0 && w.one(2) {
		x.Pushers = []remit.EntryIndex{pick(w, w.pushes...)}
	}
	if w.one(6) {
		x.Signers = []remit.ID{w.somebody()}
	}
	if w.one(6) {
		x.Pinned = []remit.PathChange{{Path: ".github/workflows/ci.yml", NewMode: 0o100644, New: oid("workflow")}}
	}
	return remit.Request{Gateway: "git", Caller: c, Steps: []remit.Step{{Action: action, Resource: repo}}, Refs: []remit.RefChange{x}, Bytes: int64(pick(w, 10, 10, 1000))},
		order{Kind: "ref", Repo: repo.Name(), Ref: ref, Old: old, New: x.New}
}

func (w *World) tip() string { return pick(w, "1", "2", "3", "4", "5") }

func (w *World) push() {
	c, ok := w.of("coder", "helper")
	if !ok {
		return
	}
	ref := pick(w, "refs/heads/remit/"+string(c.Task)+"/x", "refs/heads/remit/"+string(c.Task)+"/y", "refs/heads/remit/"+string(c.Task)+"/x", "refs/heads/main")
	w.ask(w.change(c, "source.push", pick(w, app, app, docs), ref, w.tip(), pick(w, "src/a", "src/b", ".github/workflows/ci.yml", "deploy/x")))
}

func (w *World) merge() {
	if c, ok := w.of("merger"); ok {
		w.ask(w.change(c, "source.merge", pick(w, app, docs), pick(w, "refs/heads/main", "refs/heads/topic"), w.tip(), "src/a"))
	}
}

func (w *World) review() {
	if c, ok := w.of("critic"); ok {
		r, _ := w.change(c, "review.submit", pick(w, app, docs), "refs/heads/main", w.tip(), "src/a")
		r.Review = pick(w, remit.ReviewApprove, remit.ReviewApprove, remit.ReviewReject)
		w.ask(r, order{Kind: "say"})
	}
}

func (w *World) small() {
	c, ok := w.of(pick(w, "coder", "planner"))
	if !ok {
		return
	}
	if c.Agent == "coder" && w.one(2) {
		w.tool(c)
		return
	}
	type small struct {
		step remit.Step
		kind string
	}
	x := pick(w, small{remit.Step{Action: "probe.write", Resource: "probe:canary"}, "say"}, small{remit.Step{Action: "probe.privileged", Resource: "probe:canary"}, "say"},
		small{remit.Step{Action: "source.read", Resource: app}, "read"}, small{remit.Step{Action: "issue.comment", Resource: app}, "say"},
		small{remit.Step{Action: "deploy.promote", Resource: staging}, "say"}, small{remit.Step{Action: "secret.read", Resource: "secret:vault/db"}, "say"})
	w.ask(remit.Request{Gateway: "web", Caller: c, Steps: []remit.Step{x.step}}, order{Kind: x.kind})
}

// tool asks for a call of a tool, which is not always what was admitted.
func (w *World) tool(c remit.Caller) {
	x := pick(w, remit.Step{Action: "tool.read", Resource: "tool:hub/get"}, remit.Step{Action: "tool.write", Resource: "tool:hub/put"}, remit.Step{Action: "tool.read", Resource: "tool:hub/put"},
		remit.Step{Action: "tool.call", Resource: "tool:hub/wipe"}, remit.Step{Action: "tool.call", Resource: "tool:hub/new"}, remit.Step{Action: "tool.list", Resource: "tool:hub/-"},
		remit.Step{Action: "tool.read", Resource: "tool:local/web"}, remit.Step{Action: "tool.run", Resource: "tool:local/run/make"})
	server, name, _ := strings.Cut(x.Resource.Name(), "/")
	call := &remit.ToolCall{Server: server, Name: name, Method: "tools/call", Arguments: json.RawMessage(`{"repo":"app"}`), Pin: digest(x.Resource.Name())}
	if w.one(4) {
		call.Pin = digest("another")
	}
	x.Args = remit.ToolDigest(call.Method, call.Arguments)
	r := remit.Request{Gateway: "mcp", Caller: c, Tool: call, Steps: []remit.Step{x}}
	if name == "get" && !w.one(8) {
		r.Steps = append(r.Steps, remit.Step{Action: "source.read", Resource: app})
	}
	w.ask(r, order{Kind: "say"})
}

func (w *World) relate() {
	c, ok := w.of(pick(w, "planner", "planner", "coder"))
	if !ok {
		return
	}
	commit := remit.Input{Resource: app, ID: pick(w, oid("1"), oid("2"), oid("main"))}
	child := remit.Child{Agent: "builder", Intent: digest("words"), Inputs: []remit.Input{commit}, Scope: []remit.Scope{{Actions: []remit.Action{"artifact.publish"}, Resources: []remit.Pattern{remit.Pattern(image)}}},
		For: int64(pick(w, 0, time.Minute, time.Hour))}
	action := remit.Action("task.request")
	switch {
	case c.Agent == "coder" && w.one(2):
		action = "task.delegate"
		child.Agent, child.Inputs, child.Scope = "helper", nil, []remit.Scope{{Actions: []remit.Action{"source.push"}, Resources: []remit.Pattern{remit.Pattern(app)}}}
	case w.one(2):
		d, _ := w.deployment()
		if len(d.Artifacts) == 0 {
			return
		}
		child.Agent, child.Scope, child.Deploy = "pilot", []remit.Scope{{Actions: []remit.Action{d.Step().Action}, Resources: []remit.Pattern{remit.Pattern("environment:" + d.Environment)}}}, &d
		child.Inputs = nil
		for _, a := range d.Artifacts {
			child.Inputs = append(child.Inputs, remit.Input{Resource: a.Resource, ID: a.Digest})
		}
	}
	if w.one(12) {
		child.Scope = nil
	}
	r := remit.Request{Gateway: "task", Caller: c, Child: &child, Steps: []remit.Step{{Action: action, Resource: remit.Resource("task:" + child.Agent), Args: child.Digest()}}}
	w.ask(r, order{Kind: "child", Child: &child})
}

func (w *World) publish() {
	c, ok := w.of("builder")
	if !ok {
		return
	}
	as := []remit.Artifact{built(pick(w, "a", "b"))}
	r := remit.Request{Gateway: "oci", Caller: c, Artifacts: as, Steps: []remit.Step{{Action: "artifact.publish", Resource: image, Args: remit.ArtifactsDigest(as)}}}
	w.ask(r, order{Kind: "publish", Artifacts: as})
}

// deployment is one that could be made now, mostly, and what is there now.
func (w *World) deployment() (d remit.Deploy, was []remit.Artifact) {
	d.Environment = pick(w, staging, staging, production).Name()
	w.view(func(s *authority.State) {
		var known []string
		for k := range s.Artifacts {
			known = append(known, k)
		}
		slices.Sort(known)
		if len(known) > 0 {
			d.Artifacts = []remit.Artifact{s.Artifacts[pick(w, known...)].Artifact}
		}
		current, _ := s.CurrentRelease(d.Environment)
		d.From = current.Entry
		d.Rollback = len(s.Releases[d.Environment]) > 1 && w.one(2)
	})
	if w.one(10) {
		d.From, d.Artifacts = d.From+1, []remit.Artifact{built("c")}
	}
	return d, w.up.runs[d.Environment]
}

func (w *World) deploy() {
	d, was := w.deployment()
	if len(d.Artifacts) == 0 {
		w.publish() // there is nothing yet
		return
	}
	// What a task was made for is asked for by the executor itself.
	for _, id := range w.ids(func(s *authority.State) (out []remit.ID) {
		for _, id := range sorted(s.LiveTasks) {
			if s.Tasks[id].Deploy.Environment != "" {
				out = append(out, id)
			}
		}
		return out
	}) {
		var t authority.Task
		w.view(func(s *authority.State) { t = *s.Tasks[id] })
		w.ask(deploying(remit.Caller{Task: id, Agent: t.Agent, Executor: "executor/production"}, t.Deploy, w.up.runs[t.Deploy.Environment]))
		return
	}
	if c, ok := w.of("pilot"); ok {
		w.ask(deploying(c, d, was))
	}
}

func deploying(c remit.Caller, d remit.Deploy, was []remit.Artifact) (remit.Request, order) {
	return remit.Request{Gateway: "deploy", Caller: c, Steps: []remit.Step{d.Step()}, Deploy: &d}, order{Kind: "deploy", Deploy: &d, Was: was}
}

func (w *World) start() {
	tasks := w.ids(func(s *authority.State) []remit.ID { return sorted(s.LiveTasks) })
	if len(tasks) == 0 {
		return
	}
	id := pick(w, tasks...)
	var t authority.Task
	var owner remit.ID
	w.view(func(s *authority.State) { t = *s.Tasks[id]; owner = s.Agents[t.Agent].Owner })
	w.launch(id, t.Agent, pick(w, t.Requester, t.Requester, owner, "p-tom"))
}

func (w *World) job() {
	res, err := w.do(&authority.StartJob{Issuer: "ci", Repository: pick(w, "77", "77", "78"), Workflow: "build.yml", Commit: pick(w, oid("1"), oid("2"), oid("main")), Claims: digest("claims"),
		Token: digest(fmt.Sprint(w.r.IntN(20))), Secret: digest("launcher"), Host: digest("ci")})
	if err == nil {
		w.view(func(s *authority.State) {
			if i := s.Instances[res.ID]; i != nil {
				w.callers = append(w.callers, remit.Caller{Instance: i.ID, Agent: i.Agent, Task: i.Task})
			}
		})
	}
}

// together sends several requests at once, which are decided and committed in one group.
func (w *World) together() {
	if w.settle == nil || w.dead || w.fault != 0 || w.fuse != 0 {
		return
	}
	var work []func()
	ctx := context.Background()
	e := w.engine
	for range 2 + w.r.IntN(3) {
		switch {
		case len(w.permits) > 0 && w.one(2):
			p := pick(w, w.permits...)
			for range 2 { // by two processes of a gateway
				work = append(work, func() { w.odd(second(e.Redeem(ctx, p.permit))) })
			}
		case len(w.callers) > 0 && w.one(3):
			c := pick(w, w.callers...)
			work = append(work, func() { w.odd(second(e.Do(ctx, &authority.Kill{By: "p-ada", What: "task", ID: c.Task}))) })
		case len(w.callers) > 0:
			c := pick(w, w.callers...)
			work = append(work, func() {
				w.odd(second(e.Authorize(ctx, remit.Request{Gateway: "web", Caller: c, Steps: []remit.Step{{Action: "probe.write", Resource: "probe:canary"}}, Order: []byte(`{"Kind":"say"}`)})))
			})
		}
	}
	w.gate = make(chan struct{})
	var all sync.WaitGroup
	for i := range work {
		all.Go(work[i])
		w.settle() // it waits for the writer, which waits for the gate
	}
	w.say("  %d at once", len(work))
	close(w.gate)
	all.Wait()
	w.gate = nil
}

func second[T any](_ T, err error) error { return err }
