package authority_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/internal/judge"
	"github.com/remit-dev/remit/ledger"
)

// hires requests work of an agent that calls tools.
func (h *history) hires() {
	c := &authority.CreateTask{Agent: pick(h.r, "agent", []string{"handy", "handy", "hand2", "operator"}), By: pick(h.r, "requester", []remit.ID{"p-mia", "p-noa", "p-ada"}), Intent: remit.Hash([]byte("words"))}
	if id := h.try(c).ID; id != "" {
		h.start(id)
	}
}

// calls asks for a call of a tool: often what is declared of it, sometimes less.
func (h *history) calls() {
	c, ok := h.someone()
	if !ok {
		return
	}
	name := pick(h.r, "tool", []string{"github/get", "github/comment", "github/edit", "github/move", "github/ci", "github/force", "github/-/resources/x", "github/new", "github/-",
		"kube/get", "kube/apply", "kube/new", "kube/-", "local/web", "local/run/make"})
	st := remit.Step{Action: "tool.call"}
	var more []remit.Step
	if t := h.s.ToolOf(remit.Resource("tool:" + name)); t != nil && t.Server() != remit.LocalTools {
		st.Action = remit.ToolAction(t.Impact)
		for _, r := range t.Steps {
			if len(r.When) > 0 && rapid.Bool().Draw(h.r, "condition") || rapid.IntRange(0, 9).Draw(h.r, "forgotten") == 0 {
				continue
			}
			seg := pick(h.r, "segment", []string{"payments", "docs", "ci"})
			more = append(more, remit.Step{Action: r.Action, Resource: remit.Resource(r.Resource[:strings.LastIndexByte(r.Resource, '/')+1] + seg)})
		}
	}
	if strings.HasSuffix(name, "/-") {
		st.Action = "tool.list"
	}
	if rapid.IntRange(0, 5).Draw(h.r, "another action") == 0 || strings.HasPrefix(name, "local/") {
		st.Action = pick(h.r, "action", []remit.Action{"tool.read", "tool.write", "tool.run", "tool.call"})
	}
	r := use(c, st.Action, name, `{"a":"<b>"}`, more...)
	if strings.Contains(name, "/-") || rapid.IntRange(0, 5).Draw(h.r, "drift") == 0 {
		r.Tool.Pin = remit.Digest{}
	}
	h.ask(r)
}

// reads takes in what others wrote.
func (h *history) reads() {
	if c, ok := h.someone(); ok {
		h.ask(step(c, pick(h.r, "action", []remit.Action{"issue.read", "review.read"}), payments))
	}
}

// declares changes what is declared of a tool.
func (h *history) declares() {
	s := clone(h.set)
	s.Tools = slices.Clone(s.Tools)
	i := rapid.IntRange(0, len(s.Tools)-1).Draw(h.r, "tool")
	t := &s.Tools[i]
	switch rapid.IntRange(0, 5).Draw(h.r, "change") {
	case 0:
		t.Impact = pick(h.r, "impact", []remit.Impact{remit.Read, remit.Write, remit.Privileged})
	case 1:
		t.Pin = pick(h.r, "pin", []remit.Digest{pin(t.Name), pin("another")})
	case 2:
		t.Taints = pick(h.r, "taints", [][]string{nil, {"page"}, {"log", "page"}})
	case 3:
		s.Tools = slices.Delete(s.Tools, i, i+1)
	case 4:
		t.Steps = t.Steps[:rapid.IntRange(0, len(t.Steps)).Draw(h.r, "steps")]
	case 5:
		t.Zone = pick(h.r, "zone", []remit.Zone{"S", "P"})
	}
	h.putInForce(pick(h.r, "admin", []remit.ID{"p-ada", "p-bob"}), s, "")
}

// The judge reads along histories of tools, and knows nothing of the code that makes them.
func TestHistoriesOfTools(t *testing.T) {
	seen := map[string]int{}
	reach(t, seen, []string{"decision allow ", "decision allow  claim", "decision hold TOOL_DRIFT", "decision deny TOOL_MISJUDGED", "decision deny BOUNDARY", "decision deny CONTAINED",
		"permit.redeemed tainted", "tool.declared", "removed", "a zone of its own", "a drift that passes", "a label is lost", "a label too many", "a step is left out", "an action is less"}, func(r *rapid.T) {
		h := &history{world: newWorld(r, pick(r, "profile", []remit.Profile{remit.Team, remit.Demo}), withTools), r: r, check: judge.New(),
			requests: map[remit.ID]remit.Request{}, sets: map[remit.ID]authority.Set{}, wishes: map[remit.Digest]remit.Child{}}
		h.policy = h.policyOf
		moves := []func(){h.hires, h.calls, h.calls, h.calls, h.calls, h.calls, h.reads, h.push, h.spend, h.spend, h.record, h.cast, h.carry, h.claimOne, h.declares, h.contains, h.end, h.pass}
		labels := map[remit.ID][]string{}
		for i := range 40 {
			h.quick = i%4 != 0
			if i < 2 {
				h.hires()
				continue
			}
			moves[rapid.IntRange(0, len(moves)-1).Draw(r, "move")]()
			for _, id := range ids(h.s.Tasks) {
				now := h.s.Tasks[id].Taints
				if !slices.IsSorted(now) || slices.ContainsFunc(labels[id], func(l string) bool { return !slices.Contains(now, l) }) {
					t.Fatalf("task %s had the labels %v and has %v", id, labels[id], now)
				}
				labels[id] = now
			}
		}
		h.replay()
		if b := bent(r, h.log); b != "" {
			seen[b]++
		}
		for _, l := range h.log {
			k := l.event.Kind()
			switch e := l.event.(type) {
			case *remit.Decided:
				k += " " + e.Verdict.String() + " " + string(e.Code)
				if e.Verdict == remit.Allow && e.Executor != "" {
					k += " claim"
				}
			case *remit.Redeemed:
				if len(e.Taints) > 0 {
					k += " tainted"
				}
			}
			seen[k]++
		}
	})
}

// bent breaks one rule in a log, where it can, and expects the judge to find it. It gives the name of what it did.
func bent(r *rapid.T, log []entry) string {
	kinds := map[string]func(e remit.Event, t map[string]remit.ToolDeclared) bool{
		"a drift that passes": func(e remit.Event, t map[string]remit.ToolDeclared) bool {
			d, ok := e.(*remit.Decided)
			if !ok || d.Verdict != remit.Allow || d.Executor != "" || len(d.Steps) == 0 || t[d.Steps[0].Step.Resource.Name()].Pin.IsZero() {
				return false
			}
			d.Pin = remit.Digest{1}
			return true
		},
		"an action is less": func(e remit.Event, t map[string]remit.ToolDeclared) bool {
			d, ok := e.(*remit.Decided)
			if !ok || d.Verdict == remit.Deny || len(d.Steps) == 0 {
				return false
			}
			x, known := t[d.Steps[0].Step.Resource.Name()]
			if !known || x.Impact == remit.Read || x.Server() == remit.LocalTools {
				return false
			}
			d.Steps[0].Step.Action = "tool.read"
			return true
		},
		"a step is left out": func(e remit.Event, t map[string]remit.ToolDeclared) bool {
			d, ok := e.(*remit.Decided)
			if !ok || d.Verdict == remit.Deny || len(d.Steps) < 2 {
				return false
			}
			x := t[d.Steps[0].Step.Resource.Name()]
			if len(x.Steps) == 0 || len(x.Steps[0].When) > 0 {
				return false
			}
			d.Steps = d.Steps[:1]
			return true
		},
		"a label is lost": func(e remit.Event, t map[string]remit.ToolDeclared) bool {
			d, ok := e.(*remit.Redeemed)
			if !ok || len(d.Taints) == 0 {
				return false
			}
			d.Taints = d.Taints[1:]
			return true
		},
		"a label too many": func(e remit.Event, t map[string]remit.ToolDeclared) bool {
			d, ok := e.(*remit.Redeemed)
			if !ok {
				return false
			}
			d.Taints = append(d.Taints, "zeal")
			return true
		},
		"a zone of its own": func(e remit.Event, t map[string]remit.ToolDeclared) bool {
			d, ok := e.(*remit.ToolDeclared)
			if !ok || d.Server() != "kube" {
				return false
			}
			d.Zone = remit.ZoneBuild
			return true
		},
	}
	name := pick(r, "bend", []string{"a drift that passes", "an action is less", "a step is left out", "a label is lost", "a label too many", "a zone of its own"})
	check, declared, done := judge.New(), map[string]remit.ToolDeclared{}, false
	for i, l := range log {
		leaf, err := ledger.Decode(l.bytes)
		if err != nil {
			r.Fatalf("%v", err)
		}
		e := leaf.Event
		switch x := e.(type) {
		case *remit.ToolDeclared:
			declared[x.Name] = *x
		case *remit.Removed:
			delete(declared, x.Name)
		}
		if !done && kinds[name](e, declared) {
			done = true
		}
		if check.Read(remit.EntryIndex(i), time.Unix(0, l.at), e) != nil {
			if !done {
				r.Fatalf("entry %d is wrong, and nothing was bent", i)
			}
			return name
		}
	}
	if done {
		r.Fatalf("nobody found %s", name)
	}
	return ""
}
