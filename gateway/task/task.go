// Package task is the gateway at which an agent asks for work of another agent: a child task of its own, of another
// function (task.request) or a strictly smaller part of its own (task.delegate). It is a gateway like any other, so such
// a request is decided by policy at run time, may be held for people, and is written down with its outcome; what it
// forwards to is the authority itself.
package task

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// Name is what the gateway calls itself, and what its tokens are for.
const Name = "task"

// MaxBody bounds a request, in bytes.
const MaxBody = 24 << 10 // the order, in which it is stored, has at most 32 KiB

// Tasks is the authority, as this gateway sees it.
type Tasks interface {
	// Complete fills in what a request for a deployment may leave out: the agent that deploys there, its scope and inputs,
	// what is there now, and for a rollback without artifacts the last release that was good before.
	Complete(*remit.ChildRequest) error
	// Create makes the child task that a redeemed request asked for. Called again for the same attempt it gives the same
	// task.
	Create(ctx context.Context, attempt remit.ID, child remit.Child) (remit.ID, error)
	// Made tells which task an attempt has made, if any.
	Made(attempt remit.ID) (remit.ID, bool)
	// Open asks for what a child task is to deploy, in the name of the executor that will carry it out. Called again it
	// answers with the same access request.
	Open(ctx context.Context, task remit.ID) (remit.Decision, error)
	// Payload makes a payload of a text.
	Payload(body []byte) (remit.Payload, error)
}

// Gateway is the protocol.
type Gateway struct{ Tasks Tasks }

// Classify reads POST …/task/request or …/task/delegate with a remit.ChildRequest in JSON, or …/task/plan with a
// remit.PlanRequest.
func (g Gateway) Classify(_ context.Context, c remit.Caller, r *http.Request) (remit.Request, []remit.Payload, error) {
	verb := r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:]
	if r.Method != http.MethodPost || verb != "request" && verb != "delegate" && verb != "plan" {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "say POST …/task/request, …/task/delegate or …/task/plan")
	}
	if verb == "plan" {
		return g.plan(c, r)
	}
	var in remit.ChildRequest
	if err := remit.DecodeStrict(r.Body, MaxBody, &in); err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "the request for a child task cannot be read: %w", err)
	}
	if in.Deploy != nil {
		if err := g.Tasks.Complete(&in); err != nil {
			return remit.Request{}, nil, err
		}
	}
	if strings.TrimSpace(in.Intent) == "" || len(in.Intent) > maxIntent {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "intent says in at most %d bytes what the child task is for", maxIntent)
	}
	intent, err := g.Tasks.Payload([]byte(in.Intent))
	if err != nil {
		return remit.Request{}, nil, err
	}
	child := remit.Child{Agent: in.Agent, Intent: intent.Commitment(), Scope: in.Scope, Inputs: in.Inputs, For: int64(in.For), Deploy: in.Deploy}
	res, err := remit.ParseResource("task:" + in.Agent)
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "agent: %w", err)
	}
	order, err := json.Marshal(child)
	if err != nil {
		return remit.Request{}, nil, remit.Errorf(remit.BadRequest, "the request for a child task cannot be stored: %w", err)
	}
	card, err := show(verb, in)
	if err != nil {
		return remit.Request{}, nil, err
	}
	shown, err := g.Tasks.Payload(card)
	if err != nil {
		return remit.Request{}, nil, err
	}
	req := remit.Request{Gateway: Name, Caller: c, Child: &child, Order: order, Card: shown.Commitment(),
		Steps: []remit.Step{{Action: remit.Action("task." + verb), Resource: res, Args: child.Digest()}}}
	return req, []remit.Payload{intent, shown}, nil
}

// maxIntent is the longest intent, in bytes, as for any task.
const maxIntent = 4 << 10

// show is the request as people read it on the card.
func show(verb string, in remit.ChildRequest) ([]byte, error) {
	words := in.Intent
	in.Intent = "" // what was read stands apart from what the agent says
	b, err := json.MarshalIndent(in, "", "  ")
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the request for a child task cannot be shown: %w", err)
	}
	return json.Marshal(remit.Shown{Diff: fmt.Sprintf("task.%s\n%s\n\nin the agent's own words: %q\n", verb, b, words)})
}

// Forward makes the task, and where it is to deploy something asks for that at once.
func (g Gateway) Forward(ctx context.Context, o remit.Order, _ gateway.Credential, w http.ResponseWriter) gateway.Result {
	if files(o) {
		return adopted(w)
	}
	var child remit.Child
	if err := remit.DecodeStrict(bytes.NewReader(o.Body), MaxBody*2, &child); err != nil {
		return failed(w, remit.Errorf(remit.Internal, "the stored request for a child task cannot be read: %w", err))
	}
	id, err := g.Tasks.Create(ctx, o.Attempt, child)
	if err != nil {
		return failed(w, err)
	}
	answer := remit.ChildAnswer{Task: id}
	if child.Deploy != nil {
		d, err := g.Tasks.Open(ctx, id)
		if err != nil {
			// The task is made, and what it is to do is asked for again: the authority opens what is not open.
			e := gateway.AsError(remit.Internal, err)
			d = remit.Decision{Verdict: remit.Deny, Code: e.Code, Sentence: e.Sentence}
		}
		answer.Deploy = &d
	}
	if w != nil {
		status := http.StatusCreated
		if answer.Deploy != nil && answer.Deploy.Verdict == remit.Deny {
			status = answer.Deploy.Code.Info().HTTP
		}
		answerJSON(w, status, answer)
	}
	return gateway.Result{Outcome: remit.Done, Made: string(id)}
}

// failed is what did not make a task: nothing happened.
func failed(w http.ResponseWriter, err error) gateway.Result {
	e := gateway.AsError(remit.Internal, err)
	if w != nil {
		fail(w, e)
	}
	return gateway.Result{Outcome: remit.NotApplied, Code: e.Code, Receipt: []byte(e.Sentence)}
}

// Refuse answers with the decision. A remit.PlanAnswer has it in the same member.
func (Gateway) Refuse(w http.ResponseWriter, _ *http.Request, d remit.Decision) {
	answerJSON(w, d.Code.Info().HTTP, remit.ChildAnswer{Decision: &d})
}

// Fail answers with the problem.
func (Gateway) Fail(w http.ResponseWriter, _ *http.Request, e *remit.Error) { fail(w, e) }

// Reconcile asks the authority itself, which knows.
func (g Gateway) Reconcile(_ context.Context, o remit.Order) gateway.Result {
	if files(o) { // it comes into force by its outcome, and there was none
		return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal}
	}
	if id, made := g.Tasks.Made(o.Attempt); made {
		return gateway.Result{Outcome: remit.Done, Made: string(id)}
	}
	return gateway.Result{Outcome: remit.NotApplied, Code: remit.Internal}
}

func fail(w http.ResponseWriter, e *remit.Error) {
	i := e.Code.Info()
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(i.HTTP)
	write(w, remit.Problem{Code: e.Code, Title: i.Meaning, Detail: e.Sentence, Status: i.HTTP})
}

func answerJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	write(w, v)
}

func write(w http.ResponseWriter, v any) {
	// The client is gone: there is nobody to tell.
	if err := json.NewEncoder(w).Encode(v); err != nil && !errors.Is(err, http.ErrHandlerTimeout) {
		return
	}
}
