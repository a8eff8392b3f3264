package authority_test

import (
	"slices"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

// wish is a child task that somebody asks for, mostly one that may be had.
func (h *history) wish(c caller) remit.Request {
	art := h.artifact()
	kinds := map[string][]remit.Child{
		"planner": {publishing("1"), publishing("1", "2"), wants("helper", "source.push", "repo:forge/acme/payments"), wants("shipper", "artifact.read", remit.Pattern(image)),
			wants("medic", "operate.change", remit.Pattern(staging)), wants("coder", "source.push", "repo:forge/acme/*"), deploying(staging, art)},
		"shipper": {deploying(staging, art), deploying(production, art), wants("pilot", "deploy.promote", remit.Pattern(staging))},
		"coder":   {publishing("2"), wants("critic2", "review.submit", "repo:forge/acme/payments"), wants("helper", "source.push", "repo:forge/acme/payments"), wants("coder", "source.read", "repo:forge/acme/docs")},
		"helper":  {wants("coder", "source.push", "repo:forge/acme/payments"), wants("helper", "source.read", "repo:forge/acme/payments")},
	}[c.Agent]
	if len(kinds) == 0 {
		kinds = []remit.Child{publishing("1"), deploying(production, art)}
	}
	child := pick(h.r, "child", kinds)
	child.Scope = slices.Clone(child.Scope)
	if d := child.Deploy; d != nil {
		current, _ := h.s.CurrentRelease(d.Environment)
		d.From = current.Entry
	}
	child.For = int64(pick(h.r, "for", []time.Duration{0, time.Minute, time.Hour, 24 * time.Hour}))
	switch rapid.IntRange(0, 19).Draw(h.r, "twist") {
	case 0:
		child.Inputs = append(slices.Clone(child.Inputs), commit("3"))
	case 1:
		child.Inputs = nil
	case 2:
		child.Scope = nil
	case 3:
		child.Scope[0].Resources = append(slices.Clone(child.Scope[0].Resources), remit.Pattern(production))
	case 4:
		child.Scope[0].Actions = append(slices.Clone(child.Scope[0].Actions), "deploy.promote")
	case 5:
		child.Scope[0].MaxBytes, child.Scope[0].Refs = 500, []remit.Pattern{remit.Pattern("refs/heads/remit/" + string(c.Task) + "/x/**")}
	case 6:
		child.Deploy = nil
	}
	action := remit.Action("task.request")
	if a, b := h.s.Agents[c.Agent], h.s.Agents[child.Agent]; a.Function == b.Function != (rapid.IntRange(0, 9).Draw(h.r, "other way") == 0) {
		action = "task.delegate"
	}
	return asking(action, c, child)
}

func (h *history) relate() {
	if c, ok := h.someone(); ok {
		r := h.wish(c)
		h.wishes[authority.ChildDigest(*r.Child)] = *r.Child
		h.ask(r)
	}
}

// bear makes what was redeemed, mostly.
func (h *history) bear() {
	for _, id := range ids(h.s.Attempts) {
		a := h.s.Attempts[id]
		child, known := h.wishes[a.Child.Spec]
		if a.Child.Agent == "" || !known {
			continue
		}
		if rapid.IntRange(0, 9).Draw(h.r, "another") == 0 {
			child.For++
		}
		t := h.try(&authority.CreateChild{Attempt: id, Child: child}).ID
		if t != "" && h.s.LiveTasks[t] && rapid.IntRange(0, 3).Draw(h.r, "start") > 0 {
			h.start(t)
		}
		if rapid.Bool().Draw(h.r, "record") {
			h.try(&authority.Record{Attempt: id, Outcome: remit.Done, Made: string(t)})
		}
	}
}

// grow takes child tasks a good way from an idea to production.
func (h *history) grow() {
	if _, ok := h.of("planner"); !ok || rapid.IntRange(0, 4).Draw(h.r, "new root") == 0 {
		h.newTaskOf("planner")
	}
	if rapid.IntRange(0, 3).Draw(h.r, "all the way") == 0 {
		for _, n := range []int{2, 4, 1} {
			h.growBy(n)
		}
		return
	}
	h.growBy(rapid.IntRange(0, 5).Draw(h.r, "work"))
}

func (h *history) growBy(kind int) {
	want := func(agent string, child remit.Child) {
		for _, c := range slices.Backward(h.callers) {
			if c.Agent == agent && h.s.InstanceLive(c.Instance, h.now.UnixNano()) {
				h.wishes[authority.ChildDigest(child)] = child
				r := request(c, child)
				if h.s.Agents[agent].Function == h.s.Agents[child.Agent].Function {
					r = delegate(c, child)
				}
				h.ask(r)
				return
			}
		}
	}
	switch kind {
	case 0:
		want("planner", publishing(pick(h.r, "commit", []string{"1", "2", "3"})))
	case 1:
		child := wants("medic", "operate.change", remit.Pattern(staging))
		child.Inputs = []remit.Input{commit("1")}
		want("planner", child)
		h.carry()
		h.carry()
	case 2:
		want("planner", wants("shipper", "artifact.read", remit.Pattern(image)))
	case 3:
		want("coder", wants("helper", "source.push", "repo:forge/acme/payments"))
	default:
		if len(h.s.Artifacts) == 0 {
			h.build()
			h.spendAll()
		}
		if as := ids2(h.s.Artifacts); len(as) > 0 {
			child := deploying(pick(h.r, "environment", []remit.Resource{staging, production}), h.s.Artifacts[pick(h.r, "known", as)].Artifact)
			current, _ := h.s.CurrentRelease(child.Deploy.Environment)
			child.Deploy.From = current.Entry
			want("shipper", child)
		}
	}
	for _, p := range ids(h.s.Permits) {
		if h.s.Permits[p].Child.Agent != "" {
			h.try(&authority.Redeem{Permit: p, Proof: remit.Hash(secret[:]), Hash: proof})
		}
	}
	h.bear()
	h.work()
	h.work()
	h.operate()
	h.carry()
}

func (h *history) work() {
	j := job(pick(h.r, "token", []string{"a", "b", "c", "d"}))
	j.Commit = oid(pick(h.r, "commit", []string{"1", "2", "3"}))
	switch rapid.IntRange(0, 9).Draw(h.r, "claims") {
	case 0:
		j.Environment = ""
	case 1:
		j.Repository = "78"
	}
	if i := h.s.Instances[h.try(j).ID]; i != nil {
		h.callers = append(h.callers, caller{Instance: i.ID, Agent: i.Agent, Task: i.Task})
	}
}

// operate is an executor that asks for the deployment of a child task, mostly.
func (h *history) operate() {
	for _, id := range ids(h.s.LiveTasks) {
		t := h.s.Tasks[id]
		lie := rapid.IntRange(0, 9).Draw(h.r, "lie")
		if t.Deploy.Environment == "" && lie > 0 {
			continue
		}
		d := t.Deploy
		if lie == 1 || d.Environment == "" {
			d = remit.Deploy{Environment: staging.Name(), Artifacts: []remit.Artifact{h.artifact()}}
		}
		c := caller{Task: id, Agent: t.Agent, Executor: "executor/production"}
		if lie == 2 {
			c.Executor = "executor/source"
		}
		h.ask(deploy(c, d))
	}
}
