package task_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/task"
)

// tasks is an authority that notes what it is asked.
type tasks struct {
	created  []remit.Child
	attempts []remit.ID
	create   error
	open     remit.Decision
	opened   []remit.ID
	openErr  error
}

func (t *tasks) Complete(in *remit.ChildRequest) error {
	if in.Deploy.Environment == "nowhere" {
		return remit.Errorf(remit.UnknownResource, "no environment is declared so")
	}
	in.Agent, in.Deploy.From = "deployer", 7
	return nil
}

func (t *tasks) Create(_ context.Context, attempt remit.ID, c remit.Child) (remit.ID, error) {
	if t.create != nil {
		return "", t.create
	}
	t.created, t.attempts = append(t.created, c), append(t.attempts, attempt)
	return "T-9", nil
}

func (t *tasks) Made(attempt remit.ID) (remit.ID, bool) { return "T-9", attempt == "X-1" }

func (t *tasks) Open(_ context.Context, id remit.ID) (remit.Decision, error) {
	t.opened = append(t.opened, id)
	return t.open, t.openErr
}

func (*tasks) Payload(body []byte) (remit.Payload, error) { return remit.Payload{Body: body}, nil }

func post(path, body string) *http.Request {
	return httptest.NewRequest(http.MethodPost, "/v1/orgs/acme/task/"+path, strings.NewReader(body))
}

var caller = remit.Caller{Instance: "I-3", Agent: "coder", Task: "T-2"}

const build = `{"agent":"builder","intent":"build it","scope":[{"actions":["artifact.publish"],"resources":["artifact:oci/app"]}],
	"inputs":[{"resource":"repo:forge/acme/app","id":"` + "0123456789012345678901234567890123456789" + `"}]}`

func TestAChildTaskIsClassifiedAndMade(t *testing.T) {
	a := &tasks{}
	g := task.Gateway{Tasks: a}
	req, payloads, err := g.Classify(t.Context(), caller, post("request", build))
	if err != nil {
		t.Fatal(err)
	}
	if req.Caller != caller || req.Gateway != task.Name || len(req.Steps) != 1 || req.Steps[0].Action != "task.request" || req.Steps[0].Resource != "task:builder" {
		t.Fatalf("%+v", req)
	}
	if req.Steps[0].Args != req.Child.Digest() || req.Child.Intent != payloads[0].Commitment() || req.Card != payloads[1].Commitment() {
		t.Fatal("the step does not bind what is asked for")
	}
	var shown remit.Shown
	if err := json.Unmarshal(payloads[1].Body, &shown); err != nil || !strings.HasSuffix(shown.Diff, "in the agent's own words: \"build it\"\n") || !strings.Contains(shown.Diff, "repo:forge/acme/app") {
		t.Fatalf("what people see apart from the agent's words: %v %s", err, payloads[1].Body)
	}
	w := httptest.NewRecorder()
	res := g.Forward(t.Context(), remit.Order{Caller: caller, Steps: req.Steps, Body: req.Order, Attempt: "X-5"}, nil, w)
	var out remit.ChildAnswer
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != 201 || out.Task != "T-9" || out.Deploy != nil {
		t.Fatalf("%d %s %v", w.Code, w.Body, err)
	}
	if res.Outcome != remit.Done || res.Made != "T-9" || len(a.created) != 1 || a.created[0].Digest() != req.Child.Digest() || a.attempts[0] != "X-5" || len(a.opened) != 0 {
		t.Fatalf("%+v %+v", res, a)
	}
}

func TestADeploymentIsCompletedAndAskedForAtOnce(t *testing.T) {
	a := &tasks{open: remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-4"}}
	g := task.Gateway{Tasks: a}
	req, _, err := g.Classify(t.Context(), caller, post("request", `{"agent":"","intent":"ship","scope":[],"deploy":{"environment":"app/staging","artifacts":[]}}`))
	if err != nil || req.Child.Agent != "deployer" || req.Child.Deploy.From != 7 || req.Steps[0].Resource != "task:deployer" {
		t.Fatalf("%+v %v", req, err)
	}
	for _, c := range []struct {
		decision remit.Decision
		err      error
		status   int
		verdict  remit.Verdict
	}{
		{remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-4"}, nil, 201, remit.Hold},
		{remit.Decision{Verdict: remit.Deny, Code: remit.CrossesBoundary}, nil, 403, remit.Deny},
		{remit.Decision{}, errors.New("the log is down"), 500, remit.Deny},
	} {
		a.open, a.openErr = c.decision, c.err
		w := httptest.NewRecorder()
		res := g.Forward(t.Context(), remit.Order{Body: req.Order, Attempt: "X-1"}, nil, w)
		var out remit.ChildAnswer
		if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || w.Code != c.status || out.Deploy == nil || out.Deploy.Verdict != c.verdict || out.Task != "T-9" || res.Outcome != remit.Done {
			t.Fatalf("%d %s %v %+v", w.Code, w.Body, err, res)
		}
		if strings.Contains(w.Body.String(), "the log is down") {
			t.Fatal("a cause reaches a user")
		}
	}
	if res := g.Forward(t.Context(), remit.Order{Body: req.Order, Attempt: "X-1"}, nil, nil); res.Outcome != remit.Done || len(a.opened) != 4 {
		t.Fatalf("an executor carries it out as well: %+v %v", res, a.opened)
	}
}

func TestWhatMakesNoTask(t *testing.T) {
	for _, c := range []struct {
		name string
		r    *http.Request
		code remit.Code
	}{
		{"another verb", post("create", build), remit.BadRequest},
		{"a GET", httptest.NewRequest(http.MethodGet, "/v1/orgs/acme/task/request", nil), remit.BadRequest},
		{"no JSON", post("request", "agent=x"), remit.BadRequest},
		{"an unknown member", post("request", `{"agent":"a","intent":"b","scope":[],"zone":"P"}`), remit.BadRequest},
		{"no intent", post("request", `{"agent":"a","intent":" ","scope":[]}`), remit.BadRequest},
		{"a long intent", post("request", `{"agent":"a","intent":"`+strings.Repeat("x", 5000)+`","scope":[]}`), remit.BadRequest},
		{"a body that is too large", post("request", `{"agent":"a","intent":"b","scope":[]`+strings.Repeat(" ", task.MaxBody)+`}`), remit.BadRequest},
		{"an agent that is a path", post("request", `{"agent":"a//b","intent":"b","scope":[]}`), remit.BadRequest},
		{"an environment that is not declared", post("request", `{"agent":"","intent":"b","scope":[],"deploy":{"environment":"nowhere","artifacts":[]}}`), remit.UnknownResource},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, _, err := task.Gateway{Tasks: &tasks{}}.Classify(t.Context(), caller, c.r)
			var e *remit.Error
			if !errors.As(err, &e) || e.Code != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
		})
	}
}

func TestATaskThatTheAuthorityRefusesIsNotApplied(t *testing.T) {
	g := task.Gateway{Tasks: &tasks{create: remit.Errorf(remit.Stale, "the declarations changed")}}
	w := httptest.NewRecorder()
	res := g.Forward(t.Context(), remit.Order{Body: []byte(`{"agent":"builder","intent":""}`), Attempt: "X-1"}, nil, w)
	if res.Outcome != remit.NotApplied || res.Code != remit.Stale || w.Code != 409 || !strings.Contains(w.Body.String(), "the declarations changed") {
		t.Fatalf("%+v %d %s", res, w.Code, w.Body)
	}
	if res := g.Forward(t.Context(), remit.Order{Body: []byte(`{`)}, nil, nil); res.Outcome != remit.NotApplied || res.Code != remit.Internal {
		t.Fatalf("%+v", res)
	}
}

func TestTheAuthorityKnowsWhatBecameOfAnAttempt(t *testing.T) {
	g := task.Gateway{Tasks: &tasks{}}
	if res := g.Reconcile(t.Context(), remit.Order{Attempt: "X-1"}); res.Outcome != remit.Done || res.Made != "T-9" {
		t.Fatalf("%+v", res)
	}
	if res := g.Reconcile(t.Context(), remit.Order{Attempt: "X-2"}); res.Outcome != remit.NotApplied {
		t.Fatalf("%+v", res)
	}
}

func TestADecisionAndAProblemAreAnswered(t *testing.T) {
	w := httptest.NewRecorder()
	task.Gateway{}.Refuse(w, nil, remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-1"})
	if w.Code != 409 || !strings.Contains(w.Body.String(), `"access":"A-1"`) {
		t.Fatalf("%d %s", w.Code, w.Body)
	}
	w = httptest.NewRecorder()
	task.Gateway{}.Fail(w, nil, remit.Errorf(remit.Unauthenticated, "nobody"))
	if w.Code != 401 || w.Header().Get("Content-Type") != "application/problem+json" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
}

// FuzzClassify: whatever an agent sends, it is refused, or what is stored is what the step binds.
func FuzzClassify(f *testing.F) {
	f.Add("request", build)
	f.Add("delegate", `{"agent":"a","intent":"b","scope":[],"for":5}`)
	f.Fuzz(func(t *testing.T, verb, body string) {
		if strings.ContainsAny(verb, "/?#% \x00\r\n") {
			return
		}
		r := post("request", body)
		r.URL.Path = "/v1/orgs/acme/task/" + verb
		req, _, err := task.Gateway{Tasks: &tasks{}}.Classify(t.Context(), caller, r)
		if err != nil {
			var e *remit.Error
			if !errors.As(err, &e) {
				t.Fatalf("an error without a code: %v", err)
			}
			return
		}
		var stored remit.Child
		if err := json.Unmarshal(req.Order, &stored); err != nil || stored.Digest() != req.Steps[0].Args || len(req.Order) > 32<<10 {
			t.Fatalf("%v %d bytes", err, len(req.Order))
		}
	})
}

var _ gateway.Protocol = task.Gateway{}
