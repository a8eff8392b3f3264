package authzen_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/authzen"
)

var caller = remit.Caller{Instance: "I-3", Agent: "coder", Task: "T-2"}

// authority answers every request alike, and notes it.
type authority struct {
	gateway.Authorizer
	asked  []remit.Request
	answer remit.Decision
	err    error
}

func (a *authority) Authorize(_ context.Context, r remit.Request, _ ...remit.Payload) (remit.Decision, error) {
	a.asked = append(a.asked, r)
	return a.answer, a.err
}

func (a *authority) Authenticate(r *http.Request) (remit.Caller, error) {
	if r.Header.Get("Authorization") != "Bearer good" {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "nobody proved who is calling")
	}
	return caller, nil
}

const prefix = "/v1/orgs/acme/authzen"

func ask(a *authority, body string, change ...func(*http.Request)) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, prefix+"/access/v1/evaluation", strings.NewReader(body))
	r.Header.Set("Authorization", "Bearer good")
	r.Header.Set("Content-Type", "application/json")
	for _, f := range change {
		f(r)
	}
	w := httptest.NewRecorder()
	(&authzen.Point{Authn: a, Authz: a, Base: "https://remit.example" + prefix}).Handler(prefix).ServeHTTP(w, r)
	return w
}

const question = `{"subject":{"type":"agent","id":"coder","properties":{"role":"admin"}},"action":{"name":"issue.comment"},"resource":{"type":"repo","id":"forge/payments"},"context":{"time":"now"}}`

func TestEvaluation(t *testing.T) {
	for _, c := range []struct {
		name   string
		answer remit.Decision
		want   string
	}{
		{"allow", remit.Decision{Verdict: remit.Allow, Entry: 7}, `{"decision":true,"context":{"verdict":"allow","entry":7}}`},
		{"deny", remit.Decision{Verdict: remit.Deny, Code: remit.OutOfScope, Rules: []string{"scope"}, Sentence: "not granted", Entry: 8},
			`{"decision":false,"context":{"verdict":"deny","code":"OUT_OF_SCOPE","rules":["scope"],"reason":"not granted","entry":8}}`},
		{"hold", remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Entry: 9}, `{"decision":false,"context":{"verdict":"hold","code":"` + string(remit.ImpactHeld) + `","entry":9}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &authority{answer: c.answer}
			w := ask(a, question, func(r *http.Request) { r.Header.Set("X-Request-ID", "abc") })
			if got := strings.TrimSpace(w.Body.String()); w.Code != http.StatusOK || got != c.want || w.Header().Get("X-Request-ID") != "abc" {
				t.Errorf("%d %s %v", w.Code, got, w.Header())
			}
			if r := a.asked[0]; !r.Advice || r.Gateway != authzen.Name || r.Caller != caller || len(r.Steps) != 1 || r.Steps[0].Action != "issue.comment" || r.Steps[0].Resource != "repo:forge/payments" {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestOneMayAskAsTheInstance(t *testing.T) {
	a := &authority{answer: remit.Decision{Verdict: remit.Allow}}
	if w := ask(a, strings.Replace(question, `"type":"agent","id":"coder"`, `"type":"instance","id":"I-3"`, 1)); w.Code != http.StatusOK {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}

func TestWhatIsNoQuestion(t *testing.T) {
	for _, c := range []struct {
		name, old, new, want string
		status               int
	}{
		{"no subject", `"subject":{"type":"agent","id":"coder","properties":{"role":"admin"}},`, ``, "subject", 400},
		{"no subject's id", `"id":"coder",`, ``, "subject", 400},
		{"no action", `"action":{"name":"issue.comment"},`, ``, "action", 400},
		{"no resource's type", `"type":"repo",`, ``, "resource", 400},
		{"a resource that is none", `forge/payments`, `forge//payments`, "resource", 400},
		{"somebody else", `"id":"coder"`, `"id":"deployer"`, "ask for itself only", 403},
		{"another instance", `"type":"agent","id":"coder"`, `"type":"instance","id":"I-4"`, "ask for itself only", 403},
		{"a member twice", `"action":`, `"action":{"name":"issue.read"},"action":`, "twice", 400},
		{"no JSON", `{`, `[`, "", 400},
		{"too long", `now`, strings.Repeat("x", 70<<10), "larger", 413},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := &authority{}
			w := ask(a, strings.Replace(question, c.old, c.new, 1))
			var p remit.Problem
			if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || w.Code != c.status || !strings.Contains(p.Detail, c.want) || len(a.asked) != 0 {
				t.Errorf("%d %s, asked %d", w.Code, w.Body, len(a.asked))
			}
		})
	}
	a := &authority{}
	if w := ask(a, question, func(r *http.Request) { r.Header.Del("Authorization") }); w.Code != http.StatusUnauthorized || w.Header().Get("WWW-Authenticate") == "" || len(a.asked) != 0 {
		t.Errorf("nobody: %d %v", w.Code, w.Header())
	}
	if w := ask(a, question, func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }); w.Code != http.StatusBadRequest {
		t.Errorf("text: %d", w.Code)
	}
	if w := ask(&authority{err: remit.Errorf(remit.LedgerDown, "the log cannot be written")}, question); w.Code != remit.LedgerDown.Info().HTTP {
		t.Errorf("no log: %d", w.Code)
	}
}

func TestConfiguration(t *testing.T) {
	w := httptest.NewRecorder()
	(&authzen.Point{Base: "https://remit.example" + prefix}).Handler(prefix).ServeHTTP(w, httptest.NewRequest(http.MethodGet, prefix+"/.well-known/authzen-configuration", nil))
	var m map[string]string
	if err := json.Unmarshal(w.Body.Bytes(), &m); err != nil || m["access_evaluation_endpoint"] != "https://remit.example"+prefix+"/access/v1/evaluation" || m["policy_decision_point"] == "" {
		t.Errorf("%s", w.Body)
	}
}
