package authority_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
)

type oddEvent struct{}

func (oddEvent) Kind() string { return "odd" }

// TestApplyRefuses: a fold stops at an entry that these rules could not have written.
func TestApplyRefuses(t *testing.T) {
	w := newWorld(t, remit.Team)
	c := w.task("coder", "p-mia")
	id, _ := held(w, c)
	used, r := merging(w)
	permit := w.allow(push(c, branch(c, "z"), "1")).Permit.ID
	for _, e := range []struct {
		event remit.Event
		words string
	}{
		{oddEvent{}, "does not know"},
		{&remit.Genesis{}, "one genesis"},
		{&remit.RulesActivated{Version: remit.Rules + 1}, "newer than this release"},
		{&remit.KeyConfirmed{Person: "p-eve"}, "unknown person"},
		{&remit.PersonKilled{Person: "p-eve"}, "unknown person"},
		{&remit.Removed{What: "person", Name: "p-eve"}, "unknown person"},
		{&remit.Removed{What: "agent", Name: "x"}, "unknown agent"},
		{&remit.Removed{What: "house", Name: "x"}, "nothing that is declared"},
		{&remit.TaskCreated{ID: c.Task}, "exists"},
		{&remit.TaskCreated{ID: "T-x", Agent: "x"}, "unknown agent"},
		{&remit.TaskCreated{ID: "T-x", Agent: "coder", Parent: "T-y"}, "no attempt of a live task T-y"},
		{&remit.TaskEnded{Task: "T-x"}, "not live"},
		{&remit.AgentChanged{Agent: "x"}, "does not exist"},
		{&remit.InstanceStarted{Task: "T-x"}, "not live"},
		{&remit.InstanceEnded{Instance: "I-x"}, "does not run"},
		{&remit.Decided{Verdict: remit.Allow, Task: "T-x"}, "allow without a live task"},
		{&remit.Decided{Verdict: remit.Hold}, "hold without a live task"},
		{&remit.Decided{Verdict: remit.Allow, Task: c.Task, Instance: c.Instance, Permit: permit}, "exists"},
		{&remit.Decided{Verdict: remit.Allow, Task: c.Task, Permit: "P-x"}, "no instance asks for"},
		{&remit.Decided{Verdict: remit.Hold, Task: c.Task}, "no instance asks for"},
		{&remit.Decided{Verdict: remit.Allow, Task: c.Task, Executor: "executor/source", Permit: "P-x"}, "no executor may"},
		{&remit.InstanceStarted{Task: c.Task}, "or neither"},
		{&remit.InstanceStarted{Task: c.Task, Launcher: "p-mia", Issuer: "ci"}, "a launcher and an issuer"},
		{&remit.AccessOpened{ID: id}, "exists"},
		{&remit.AccessOpened{ID: "A-x", Task: c.Task}, "no held decision"},
		{&remit.VoteCast{Access: "A-x"}, "not open"},
		{&remit.AccessMoved{Access: "A-x"}, "has ended"},
		{&remit.Redeemed{Permit: "P-x"}, "does not exist"},
		{&remit.Recorded{Attempt: "X-x"}, "does not exist"},
	} {
		next := w.s.Next
		if err := authority.Apply(w.s, w.now.UnixNano(), e.event); err == nil || !strings.Contains(err.Error(), e.words) || w.s.Next != next {
			t.Errorf("%s: %v; want %q", e.event.Kind(), err, e.words)
		}
	}
	if err := authority.Apply(w.s, w.now.UnixNano()-1, &remit.ClockConfirmed{}); err == nil {
		t.Error("time runs backwards")
	}
	if err := authority.Apply(authority.New(), 0, &remit.ClockConfirmed{}); err == nil {
		t.Error("a log begins with genesis")
	}
	for _, v := range []string{"rio", "sam", "tom"} {
		w.vote(used, v, touch(v), true)
	}
	first, second := w.allow(w.claim(used, r)).Permit.ID, w.allow(w.claim(used, r)).Permit.ID
	w.redeem(first)
	if err := authority.Apply(w.s, w.now.UnixNano(), &remit.Redeemed{Permit: second, ID: "X-x"}); err == nil || !strings.Contains(err.Error(), "is reserved") {
		t.Error(err)
	}
	w.must(&authority.EndTask{By: "p-mia", Task: c.Task, Status: remit.TaskCancelled, DropHolds: true})
	if err := authority.Apply(w.s, w.now.UnixNano(), &remit.Redeemed{Permit: permit, ID: "X-x"}); err == nil || !strings.Contains(err.Error(), "has ended") {
		t.Error(err)
	}
}

// TestParents: the grant of a child task lives within its parents', ends with them, and its closure holds their people.
func TestParents(t *testing.T) {
	w := related(t)
	parent := w.task("coder", "p-noa")
	child := w.made(delegate(parent, wants("coder", "source.push", "repo:forge/acme/payments")))
	c := w.launch(child.ID, "coder", "p-mia")
	id := w.hold(push(c, branch(parent, "x"), "1", workflow), remit.PathProtected)
	a := w.s.Accesses[id]
	if a.NotAfter != w.s.Tasks[parent.Task].Deadline || len(a.Closure) != 2 || len(w.s.Tasks[parent.Task].Closure) != 2 {
		t.Fatalf("%+v", a)
	}
	other := w.made(request(parent, publishing("a")))
	if got := w.s.Tasks[parent.Task].Closure; !slices.Contains(got, "p-tom") {
		t.Fatalf("who owns whom it asks for work is not in %v", got)
	}
	w.apply(func(s *authority.Set) { s.Agents[4].Owner = "p-sam" })
	w.launch(other.ID, "builder", "p-sam")
	if got := w.s.Tasks[parent.Task].Closure; !slices.Contains(got, "p-sam") {
		t.Fatalf("who launched a child is not in %v", got)
	}
	w.must(&authority.EndTask{By: "p-noa", Task: parent.Task, Status: remit.TaskCompleted, DropHolds: true})
	w.status(id, remit.AccessVoid, remit.Dropped)
	if w.s.LiveTasks[child.ID] || w.s.TaskLive(child.ID, w.now.UnixNano()) || len(w.s.Instances) != 0 {
		t.Fatal("a child outlives its parent")
	}
}

// TestCommands: what is stored is what was decided.
func TestCommands(t *testing.T) {
	for _, text := range []string{"\xff", "a\xc3", "x\\\xff"} {
		if _, err := authority.EncodeCommand(&authority.CreateTask{Agent: text}); err == nil {
			t.Errorf("%q is stored as something else", text)
		}
	}
	for _, text := range []string{`\ufffd`, `\\ufffd`, "\ufffd", "<&>\u2028"} {
		b, err := authority.EncodeCommand(&authority.CreateTask{Agent: text})
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		c, err := authority.DecodeCommand(b)
		if err != nil || c.(*authority.CreateTask).Agent != text {
			t.Errorf("%q became %+v: %v", text, c, err)
		}
	}
	for _, b := range []string{``, `{}`, `{"command":"fly","body":{}}`, `{"command":"tick","body":{"x":1}}`, `{"command":"tick","body":{}} `, `{"command":"tick","body":{},"x":1}`, `{"command":"tick","body":{},"body":{}}`,
		`{"command":"tick","command":"tick","body":{}}`, `{"body":{},"command":"tick"}`, `{"command":"tick","body":}`, `{"command":"tick","body":{}`} {
		if c, err := authority.DecodeCommand([]byte(b)); err == nil && b != `{"command":"tick","body":{}} ` {
			t.Errorf("%s is %T", b, c)
		}
	}
}
