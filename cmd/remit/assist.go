package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/authority"
	"github.com/remit-dev/remit/engine"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/assist"
	"github.com/remit-dev/remit/gateway/mcp"
)

// desk is the authority as an agent may see it through Remit's own tools: its own task, and those that descend from it.
type desk struct {
	engine  *engine.Engine
	holds   mcp.Holds
	answers *gateway.Answers // to calls of tools that people approved
	tasks   gateway.Protocol
	asking  *gateway.Pipeline // of tasks
}

// own tells whether a task is the caller's, or descends from it.
func own(s *authority.State, c remit.Caller, task remit.ID) bool {
	for range maxDescent {
		if task == c.Task {
			return task != ""
		}
		t := s.Tasks[task]
		if t == nil {
			return false
		}
		task = t.Parent
	}
	return false
}

// maxDescent bounds how far a task's ancestors are looked for.
const maxDescent = 64

// Task is the caller's own task.
func (d desk) Task(_ context.Context, c remit.Caller) (v remit.TaskView, err error) {
	now := d.engine.Now()
	d.engine.View(func(s *authority.State) {
		t := s.Tasks[c.Task]
		if t == nil {
			err = remit.Errorf(remit.NotFound, "there is no task %.64s", c.Task)
			return
		}
		v = remit.TaskView{ID: t.ID, Status: t.Status, Live: s.TaskLive(t.ID, now.UnixNano()), Agent: t.Agent, Grant: slices.Clone(t.Grant), Envelope: t.Envelope,
			Budget: t.Budget, Decisions: t.Used.Decisions, Bytes: t.Used.Bytes, Deadline: time.Unix(0, t.Deadline).UTC(), Parent: t.Parent,
			Branch: "refs/heads/remit/" + string(s.BranchesOf(t.ID)), Holds: s.HoldsOf(t.ID), Delegated: t.Delegated}
	})
	return v, err
}

// Decision is one of the caller's decisions, as the log has it.
func (d desk) Decision(ctx context.Context, c remit.Caller, entry remit.EntryIndex) (v remit.DecisionView, err error) {
	none := remit.Errorf(remit.NotFound, "entry %d is no decision of your task", entry)
	l, cmd, err := d.engine.Entry(ctx, entry)
	if err != nil {
		return v, none
	}
	e, ok := l.Event.(*remit.Decided)
	if !ok {
		return v, none
	}
	d.engine.View(func(s *authority.State) { ok = own(s, c, e.Task) })
	if !ok {
		return v, none
	}
	v = remit.DecisionView{Entry: entry, Verdict: e.Verdict, Code: e.Code, Rules: e.Rules, Gateway: e.Gateway, Agent: e.Agent, Task: e.Task, Access: e.Access}
	if a, ok := cmd.(*authority.Authorize); ok {
		v.Steps = a.Request.Steps
		return v, nil
	}
	for _, f := range e.Steps {
		v.Steps = append(v.Steps, f.Step)
	}
	return v, nil
}

// Access is how a request stands when it is settled, or when ctx ends. The answer to a call is given to its own task.
func (d desk) Access(ctx context.Context, c remit.Caller, id remit.ID) (h assist.Held, err error) {
	var at remit.EntryIndex
	var task remit.ID
	look := func(s *authority.State) bool {
		a := s.Accesses[id]
		if a == nil || !own(s, c, a.Task) {
			err = remit.Errorf(remit.NotFound, "there is no access request %.32q of your task", id)
			return true
		}
		at, task = a.Decision, a.Task
		h = assist.Held{Status: a.Status, Why: a.Why, Outcome: a.Outcome, Needs: slices.Clone(a.Needs), URL: d.holds.URL(id)}
		for _, f := range a.Steps {
			h.Steps = append(h.Steps, f.Step)
		}
		return a.Status == remit.AccessUsed || a.Status == remit.AccessVoid
	}
	if werr := d.engine.Wait(ctx, look); werr != nil {
		if ctx.Err() == nil {
			return h, werr
		}
		d.engine.View(func(s *authority.State) { look(s) })
	}
	if err != nil {
		return assist.Held{}, err
	}
	req, rerr := orders{d.engine}.request(context.WithoutCancel(ctx), at)
	if rerr != nil { // what was asked for was erased; how it stands is known all the same
		return h, nil
	}
	h.Steps = req.Steps
	if h.Status == remit.AccessUsed && req.Gateway == mcp.Name && task == c.Task {
		if a, ok := d.answers.Take(task, remit.Hash(req.Order)); ok {
			h.Answer = a.Body
		}
	}
	return h, nil
}

// Child asks for a child task at the gateway that is there for that.
func (d desk) Child(ctx context.Context, c remit.Caller, verb string, in remit.ChildRequest) (out remit.ChildAnswer, err error) {
	err = d.ask(ctx, c, verb, in, &out, func() bool { return out.Task != "" || out.Decision != nil })
	return out, err
}

// Plan files a plan, at the same gateway.
func (d desk) Plan(ctx context.Context, c remit.Caller, in remit.PlanRequest) (out remit.PlanAnswer, err error) {
	err = d.ask(ctx, c, "plan", in, &out, func() bool { return out.InForce || out.Decision != nil })
	return out, err
}

// Withdraw takes back the plan of the caller's task: that of an access request; by default the one in force, or that waits.
func (d desk) Withdraw(_ context.Context, c remit.Caller, access remit.ID) (remit.ID, error) {
	if now := d.engine.Now().UnixNano(); access == "" {
		d.engine.View(func(s *authority.State) { access = s.PlanOf(c.Task, now) })
	}
	return access, d.engine.Kill(authority.Kill{What: "plan", ID: access, Instance: c.Instance})
}

// withdrawing takes POST /task/plan/withdraw from an instance, and leaves all else to next.
func (d desk) withdrawing(path string, who gateway.Authenticator, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != path || r.Method != http.MethodPost {
			next.ServeHTTP(w, r)
			return
		}
		c, err := who.Authenticate(r)
		var in remit.WithdrawRequest
		if err == nil {
			err = remit.DecodeStrict(r.Body, 1<<10, &in)
		}
		if err == nil {
			in.Access, err = d.Withdraw(r.Context(), c, in.Access)
		}
		if err != nil {
			e := gateway.AsError(remit.Unauthenticated, err)
			i := e.Code.Info()
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(i.HTTP)
			_ = json.NewEncoder(w).Encode(remit.Problem{Code: e.Code, Title: i.Meaning, Detail: e.Sentence, Status: i.HTTP})
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(in) // the client is gone: it is withdrawn all the same
	})
}

// ask takes a request to the gateway of tasks, in this process; answered tells whether what was read is an answer.
func (d desk) ask(ctx context.Context, c remit.Caller, verb string, in, out any, answered func() bool) error {
	body, err := json.Marshal(in)
	if err != nil {
		return remit.Errorf(remit.BadRequest, "task %s: the request cannot be written: %w", verb, err)
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "/task/"+verb, bytes.NewReader(body))
	if err != nil {
		return err
	}
	p := *d.asking
	p.Authn = already(c)
	w := &kept{header: http.Header{}}
	p.Handle(d.tasks, w, r)
	if json.Unmarshal(w.body.Bytes(), out) == nil && answered() {
		return nil
	}
	var problem remit.Problem
	if json.Unmarshal(w.body.Bytes(), &problem) != nil || problem.Code == "" {
		return remit.Errorf(remit.Internal, "the request for task %s was not answered", verb)
	}
	return &remit.Error{Code: problem.Code, Sentence: problem.Detail}
}

// Complete ends the caller's task.
func (d desk) Complete(ctx context.Context, c remit.Caller, dropHolds bool) error {
	_, err := d.engine.Do(ctx, &authority.EndTask{Instance: c.Instance, Task: c.Task, Status: remit.TaskCompleted, DropHolds: dropHolds})
	return err
}

// already is a caller who has proved themselves.
type already remit.Caller

func (a already) Authenticate(*http.Request) (remit.Caller, error) { return remit.Caller(a), nil }

// kept is an answer that is read in the same process.
type kept struct {
	header http.Header
	body   bytes.Buffer
}

func (k *kept) Header() http.Header         { return k.header }
func (k *kept) WriteHeader(int)             {}
func (k *kept) Write(b []byte) (int, error) { return k.body.Write(b) }
