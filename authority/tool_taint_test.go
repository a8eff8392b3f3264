package authority_test

import (
	"reflect"
	"slices"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

func TestLabelsOfWhatCameInStay(t *testing.T) {
	w := newWorld(t, remit.Team, withTools, family)
	c := w.task("handy", "p-mia")
	taints := func(c caller, want ...string) {
		t.Helper()
		if got := w.s.Tasks[c.Task].Taints; !slices.Equal(got, want) {
			t.Fatalf("the labels are %v, want %v", got, want)
		}
		f := authority.FactsOf(w.s, push(c, branch(c, "x"), "1", "a"), w.now.UnixNano())
		if !slices.Equal(f.Task.History.Taints, want) {
			t.Fatalf("a policy sees %v", f.Task.History.Taints)
		}
	}
	taints(c)
	d := w.allow(use(c, "tool.read", "github/get", `{}`, on("issue.read", payments)))
	taints(c) // nothing was sent yet
	w.redeem(d.Permit.ID)
	taints(c, "issue-text", "page") // before anything came back
	if e := w.last("permit.redeemed").(*remit.Redeemed); !slices.Equal(e.Taints, []string{"issue-text", "page"}) {
		t.Fatalf("%+v", e)
	}
	w.redeem(w.allow(use(c, "tool.read", "github/get", `{}`, on("issue.read", payments))).Permit.ID)
	if e := w.last("permit.redeemed").(*remit.Redeemed); len(e.Taints) != 0 {
		t.Fatalf("%v is put on it twice", e.Taints)
	}
	w.redeem(w.allow(use(c, "tool.read", "local/web", `{}`)).Permit.ID)
	w.redeem(w.allow(step(c, "review.read", payments)).Permit.ID)
	taints(c, "issue-text", "page", "review-text", "web-page")
	w.replay()
}

// What was read below a task is known to it, and what it read goes into what it asks for.
func TestLabelsGoDownAndUp(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	w.apply(func(s *authority.Set) {
		for i := range s.Agents {
			if s.Agents[i].Name == "handy" {
				s.Agents[i].Entitlements = append(slices.Clone(s.Agents[i].Entitlements), remit.Scope{Actions: []remit.Action{"task.delegate"}, Resources: []remit.Pattern{"task:hand2"}})
			}
		}
	})
	c := w.task("handy", "p-mia")
	w.redeem(w.allow(use(c, "tool.read", "local/web", `{}`)).Permit.ID)
	child := remit.Child{Agent: "hand2", Intent: remit.Hash([]byte("words"))}
	req := remit.Request{Gateway: "task", Caller: c, Child: &child, Steps: []remit.Step{{Action: "task.delegate", Resource: "task:hand2", Args: authority.ChildDigest(child)}}}
	x := w.redeem(w.allow(req).Permit.ID).Attempt.ID
	id := w.must(&authority.CreateChild{Attempt: x, Child: child}).ID
	if got := w.s.Tasks[id].Taints; !slices.Equal(got, []string{"web-page"}) {
		t.Fatalf("the child begins with %v", got)
	}
	k := w.launch(id, "hand2", "p-mia")
	w.redeem(w.allow(use(k, "tool.read", "github/get", `{}`, on("issue.read", payments))).Permit.ID)
	for _, task := range []remit.ID{id, c.Task} {
		if got := w.s.Tasks[task].Taints; !slices.Equal(got, []string{"issue-text", "page", "web-page"}) {
			t.Fatalf("task %s has %v", task, got)
		}
	}
	w.deny(use(k, "tool.write", "github/comment", `{}`, on("issue.comment", payments)), remit.OutOfScope, "")
	w.replay()
}

// last is the last event of a kind.
func (w *world) last(kind string) remit.Event {
	for _, l := range slices.Backward(w.log) {
		if l.event.Kind() == kind {
			return l.event
		}
	}
	w.t.Fatalf("there is no %s", kind)
	return nil
}

func TestAPolicySeesWhatATaskHasDone(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	c := w.task("handy", "p-mia")
	facts := func() authority.HistoryFacts {
		return authority.FactsOf(w.s, push(c, branch(c, "x"), "1", "a"), w.now.UnixNano()).Task.History
	}
	w.allow(push(c, branch(c, "x"), "1", "a"))
	if h := facts(); !reflect.DeepEqual(h, authority.HistoryFacts{}) {
		t.Fatalf("%+v, and no tool was called", h)
	}
	call := use(c, "tool.run", "local/run/make", `{}`)
	w.redeem(w.allow(call).Permit.ID)
	w.deny(use(c, "tool.write", "kube/apply", `{}`), remit.OutOfScope, "")
	w.hold(use(c, "tool.call", "github/force", `{}`), remit.ImpactHeld)
	if h := facts(); !reflect.DeepEqual(h, authority.HistoryFacts{Decisions: 4, Denied: 1, Held: 1, Calls: 3, Bytes: 100}) {
		t.Fatalf("%+v", h)
	}
	w.must(&authority.Record{Attempt: w.attempts()[0], Outcome: remit.Done})
	for _, code := range []remit.Code{remit.UpstreamDown, ""} {
		w.redeem(w.allow(call).Permit.ID)
		w.must(&authority.Record{Attempt: w.attempts()[0], Outcome: remit.Ambiguous, Code: code})
		want := map[remit.Code]remit.Code{remit.UpstreamDown: remit.UpstreamDown, "": "ambiguous"}[code]
		if h := facts(); h.Done != 1 || h.LastFailure != want {
			t.Fatalf("%+v", h)
		}
	}
	if h := facts(); h.Failed != 2 {
		t.Fatalf("%+v", h)
	}
	f := authority.FactsOf(w.s, call, w.now.UnixNano())
	if !reflect.DeepEqual(f.Tool, *call.Tool) {
		t.Fatalf("%+v", f.Tool)
	}
	w.replay()
}

// A log that began with the first rules goes on by them: its decisions can be derived again.
func TestTheFirstRulesKnowNoLabels(t *testing.T) {
	w := newWorld(t, remit.Team, withTools)
	w.s.Rules = 1
	c := w.task("handy", "p-mia")
	w.redeem(w.allow(use(c, "tool.read", "github/get", `{}`, on("issue.read", payments))).Permit.ID)
	if h := authority.FactsOf(w.s, push(c, branch(c, "x"), "1", "a"), w.now.UnixNano()).Task.History; !reflect.DeepEqual(h, authority.HistoryFacts{}) {
		t.Fatalf("%+v", h)
	}
	if e := w.last("permit.redeemed").(*remit.Redeemed); e.Taints != nil {
		t.Fatalf("%+v", e)
	}
}
