package authzen_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	jose "github.com/go-jose/go-jose/v4"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/authzen"
)

var update = flag.Bool("update", false, "write the golden files anew")

// asking is a PDP that denies and lets people be asked.
type asking struct {
	template, reason, evaluation string
	allow                        bool
	never                        bool // nobody can be asked
}

func (a *asking) Evaluate(_ context.Context, _ remit.Caller, q authzen.Question) (authzen.Answer, error) {
	out := authzen.Answer{Decision: a.allow, Requestable: !a.never, Template: a.template, Why: authzen.Reason{Reason: a.reason, Evaluation: a.evaluation}}
	for name := range q.Context {
		if name == "purpose" {
			out.Relevant = []string{name}
		}
	}
	return out, nil
}

func (*asking) Search(context.Context, remit.Caller, authzen.Find, authzen.Question) ([]authzen.Entity, error) {
	return nil, nil
}

// transcript writes down what is said.
type transcript struct {
	*client
	bytes.Buffer
}

var (
	tokens = regexp.MustCompile(`"eyJ[A-Za-z0-9_.-]+"`)
	handle = regexp.MustCompile(`(arq|apr)_[A-Za-z0-9_-]+`)
)

// say sends a request, writes both sides down, and reads the answer.
func (s *transcript) say(what, method, path string, body, v any, headers ...string) *httptest.ResponseRecorder {
	s.t.Helper()
	text := ""
	if body != nil {
		b, err := json.MarshalIndent(body, "", "  ")
		if err != nil {
			s.t.Fatal(err)
		}
		text = string(b)
	}
	w := s.do(method, path, text, func(r *http.Request) {
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
	})
	if err := json.Unmarshal(w.Body.Bytes(), v); err != nil {
		s.t.Fatalf("%s: %d %s", what, w.Code, w.Body)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, w.Body.Bytes(), "", "  "); err != nil {
		s.t.Fatal(err)
	}
	said := fmt.Sprintf("## %s\n\n%s %s\n", what, method, path)
	for i := 0; i+1 < len(headers); i += 2 {
		said += headers[i] + ": " + headers[i+1] + "\n"
	}
	if text != "" {
		said += "\n" + text + "\n"
	}
	said += fmt.Sprintf("\n%d\n", w.Code)
	for _, h := range []string{"Content-Type", "Location", "Retry-After"} {
		if x := w.Header().Get(h); x != "" {
			said += h + ": " + x + "\n"
		}
	}
	said += "\n" + out.String() + "\n"
	said = tokens.ReplaceAllString(said, `"<JWS>"`)
	s.WriteString(handle.ReplaceAllString(said, "${1}_<handle>"))
	return w
}

func (s *transcript) golden(name string) {
	s.t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, s.Bytes(), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		s.t.Fatal(err)
	}
	if got := s.String(); got != string(want) {
		s.t.Errorf("it is said otherwise than in %s (write it anew with -update):\n%s", path, got)
	}
}

type denial struct {
	Decision bool `json:"decision"`
	Context  struct {
		Evaluation string `json:"evaluation_id"`
		At         string `json:"evaluated_at"`
		Reason     string `json:"reason"`
		Next       string `json:"next_action"`
		RetryAfter int    `json:"retry_after"`
		Request    *struct {
			Endpoint string `json:"endpoint"`
			Template string `json:"template"`
			Expires  string `json:"expires_at"`
			Token    string `json:"binding_token"`
		} `json:"access_request"`
		Approval *struct {
			ID    string    `json:"id"`
			Until time.Time `json:"approved_until"`
		} `json:"approval"`
	} `json:"context"`
}

// echoed is a denial as the submission hands it back.
func (d denial) echoed() map[string]any {
	return map[string]any{"evaluation_id": d.Context.Evaluation, "evaluated_at": d.Context.At, "expires_at": d.Context.Request.Expires, "reason": d.Context.Reason,
		"binding_token": d.Context.Request.Token, "template": d.Context.Request.Template}
}

type handed struct {
	Task struct {
		ID       string            `json:"id"`
		Status   string            `json:"status"`
		Endpoint string            `json:"status_endpoint"`
		Links    map[string]string `json:"links"`
	} `json:"task"`
	Result *struct {
		Mode     string          `json:"mode"`
		Approval json.RawMessage `json:"approval"`
	} `json:"result"`
	Type string `json:"type"`
}

func (h handed) path() string   { return strings.TrimPrefix(h.Task.Endpoint, base) }
func (h handed) cancel() string { return strings.TrimPrefix(h.Task.Links["cancel"], base) }

// TestProfileManagerApproval is the profile's first worked example.
func TestProfileManagerApproval(t *testing.T) {
	d := &desk{end: time.Date(2026, 4, 30, 23, 0, 0, 0, time.UTC), uses: remit.Decision{Verdict: remit.Allow, Entry: 12}, useEnd: time.Date(2026, 4, 30, 20, 44, 0, 0, time.UTC)}
	s := &transcript{client: point(t, &asking{template: "manager_approval", reason: "approval_required", evaluation: "eval_9"}, d)}
	q := map[string]any{"subject": entity("user", "alice@example.com", nil), "resource": entity("document", "q4-plan", nil), "action": map[string]any{"name": "can_read"},
		"context": map[string]any{"time": "2026-04-30T20:15:00Z"}}
	var no denial
	s.say("Initial Evaluation Request", http.MethodPost, evaluation, q, &no)
	if no.Decision || no.Context.Request == nil || no.Context.Request.Token == "" {
		t.Fatalf("%+v", no)
	}
	submission := map[string]any{"subject": q["subject"], "resource": q["resource"], "action": q["action"], "context": map[string]any{"business_justification": "Needed for customer renewal review"},
		"requested_access": map[string]any{"requested_until": "2026-05-01T00:15:00Z"}, "denial": no.echoed()}
	var task handed
	w := s.say("Submitting the Access Request", http.MethodPost, requests, submission, &task, "Idempotency-Key", "7b8d0f0d-65a1-4af1-9fd3-a684f08a5d13")
	if w.Code != http.StatusAccepted || w.Header().Get("Location") != task.Task.Endpoint || task.Task.Status != "pending" {
		t.Fatalf("%d %+v", w.Code, task)
	}
	s.say("Pending Task", http.MethodGet, task.path(), nil, &task)
	d.all[0].Status, d.all[0].Approved = remit.AccessMet, time.Date(2026, 4, 30, 20, 42, 0, 0, time.UTC)
	s.now = time.Date(2026, 4, 30, 20, 43, 0, 0, time.UTC)
	s.say("Completed Task", http.MethodGet, task.path(), nil, &task)
	if task.Task.Status != "approved" || task.Result == nil || task.Result.Mode != "reevaluate" {
		t.Fatalf("%+v", task)
	}
	q["context"] = map[string]any{"time": "2026-04-30T20:43:00Z", "approval": task.Result.Approval}
	var yes denial
	s.say("Re-evaluation After Approval", http.MethodPost, evaluation, q, &yes)
	if !yes.Decision || yes.Context.Approval == nil || !yes.Context.Approval.Until.Equal(d.useEnd) || d.used != 1 {
		t.Fatalf("%+v", yes)
	}
	s.golden("manager_approval.golden")
	if card := d.cards[0]; !strings.Contains(card, "q4-plan") || !strings.Contains(card, "asker's own words") || !strings.Contains(card, "renewal review") {
		t.Errorf("people see %s", card)
	}
}

// TestProfileAgentTool is the profile's second worked example: an agent acts for a person, and moves its actor to the
// submission's client. Broader approvals than for the one question are not given here, so a second tool is asked for anew.
func TestProfileAgentTool(t *testing.T) {
	d := &desk{end: time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC), uses: remit.Decision{Verdict: remit.Allow, Entry: 30}, useEnd: time.Date(2026, 4, 30, 20, 30, 0, 0, time.UTC)}
	s := &transcript{client: point(t, &asking{template: "agent_tool_class_approval", reason: "agent_authority_missing", evaluation: "eval_21"}, d)}
	act := map[string]any{"act": map[string]any{"iss": "https://agents.example.com", "sub": "coder", "sub_profile": "ai_agent"}}
	q := map[string]any{"subject": map[string]any{"type": "user", "id": "alice@example.com", "properties": act}, "resource": entity("tool", "crm.search_accounts", nil),
		"action": map[string]any{"name": "invoke"}, "context": map[string]any{"time": "2026-05-12T15:00:00Z"}}
	var no denial
	s.say("Initial Evaluation Request", http.MethodPost, evaluation, q, &no)
	submission := map[string]any{"subject": entity("user", "alice@example.com", nil), "resource": q["resource"], "action": q["action"],
		"context":          map[string]any{"business_justification": "Assembling Q2 renewal report for customer ACME-1042"},
		"requested_access": map[string]any{"requested_until": "2026-05-19T15:00:00Z"},
		"client": map[string]any{"id": "renewal_assistant", "actor": map[string]any{"id": "coder", "issuer": "https://agents.example.com", "type": "ai_agent"},
			"source": map[string]any{"session_id": "session_01HX69WJ8Q0K7P4F0V0K9D6Z7N"}},
		"callback": map[string]any{"endpoint": calledBack, "state": "session_01HX69WJ8Q0K7P4F0V0K9D6Z7N", "events": []string{"approved", "denied", "expired"}},
		"denial":   no.echoed()}
	var task handed
	s.say("Submitting the Access Request", http.MethodPost, requests, submission, &task, "Idempotency-Key", "9c1f5d12-2a18-4cba-8a5e-e0e8e2b6b5c7")
	if task.Task.Status != "pending" {
		t.Fatalf("%+v", task)
	}
	if _, _, ok := s.p.Told(*d.all[0]); ok {
		t.Error("it is told of what waits")
	}
	d.all[0].Status = remit.AccessMet
	endpoint, told, ok := s.p.Told(*d.all[0])
	if !ok || endpoint != calledBack || bytes.Contains(told, []byte("apr_")) { // a notification opens nothing
		t.Errorf("%s %s", endpoint, told)
	}
	s.WriteString("## Approval Callback\n\nPOST " + endpoint + "\n\n" + handle.ReplaceAllString(string(told), "${1}_<handle>") + "\n\n")
	s.say("Completed Task", http.MethodGet, task.path(), nil, &task)
	q["context"] = map[string]any{"time": "2026-05-12T17:31:00Z", "approval": task.Result.Approval}
	var yes, other denial
	s.say("Re-evaluation After Approval", http.MethodPost, evaluation, q, &yes)
	if !yes.Decision {
		t.Fatalf("%+v", yes)
	}
	q["resource"] = entity("tool", "crm.export_accounts", nil)
	s.say("Another Tool", http.MethodPost, evaluation, q, &other)
	if other.Decision || other.Context.Reason != "out_of_scope" || other.Context.Next != "request" || other.Context.Request == nil || d.used != 1 {
		t.Fatalf("%+v", other)
	}
	s.golden("agent_tool.golden")
}

// world is a denial that can be requested.
func world(t *testing.T) (*client, *desk, *asking, func(change func(map[string]any)) map[string]any) {
	d := &desk{end: time.Date(2026, 5, 1, 20, 0, 0, 0, time.UTC), uses: remit.Decision{Verdict: remit.Allow}, useEnd: time.Date(2026, 5, 1, 20, 0, 0, 0, time.UTC)}
	pdp := &asking{reason: "approval_required", evaluation: "eval_9"}
	c := point(t, pdp, d)
	return c, d, pdp, func(change func(map[string]any)) map[string]any {
		var no denial
		c.post(evaluation, question(nil), http.StatusOK, &no)
		m := question(nil)
		m["denial"] = no.echoed()
		if change != nil {
			change(m)
		}
		return m
	}
}

func question(approval any) map[string]any {
	ctx := map[string]any{"time": "now", "purpose": "audit"}
	if approval != nil {
		ctx["approval"] = approval
	}
	return map[string]any{"subject": entity("user", "alice", nil), "resource": entity("document", "q4", map[string]string{"class": "a"}), "action": map[string]any{"name": "read"}, "context": ctx}
}

func key(k string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Idempotency-Key", k) }
}

func as(token string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+token) }
}

// TestSubmissionsThatAreBoundToNothing: whatever of a submission differs from the denial, nobody is asked.
func TestSubmissionsThatAreBoundToNothing(t *testing.T) {
	denied := func(name string, v any) func(map[string]any) {
		return func(m map[string]any) { m["denial"].(map[string]any)[name] = v }
	}
	for _, x := range []struct {
		name   string
		change func(map[string]any)
		status int
		typ    string
	}{
		{"another subject", func(m map[string]any) { m["subject"] = entity("user", "bob", nil) }, 400, "invalid_denial_binding"},
		{"another resource", func(m map[string]any) { m["resource"] = entity("document", "q5", map[string]string{"class": "a"}) }, 400, "invalid_denial_binding"},
		{"a property of the resource", func(m map[string]any) { m["resource"] = entity("document", "q4", map[string]string{"class": "b"}) }, 400, "invalid_denial_binding"},
		{"a property more", func(m map[string]any) {
			m["resource"] = entity("document", "q4", map[string]string{"class": "a", "x": "y"})
		}, 400, "invalid_denial_binding"},
		{"another action", func(m map[string]any) { m["action"] = map[string]any{"name": "write"} }, 400, "invalid_denial_binding"},
		{"another context", func(m map[string]any) { m["context"] = map[string]any{"purpose": "fun"} }, 400, "invalid_denial_binding"},
		{"no context", func(m map[string]any) { delete(m, "context") }, 400, "invalid_denial_binding"},
		{"no denial", func(m map[string]any) { delete(m, "denial") }, 400, "invalid_denial_binding"},
		{"no token", denied("binding_token", ""), 400, "invalid_denial_binding"},
		{"a token that is none", denied("binding_token", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA"), 400, "invalid_denial_binding"},
		{"an unsigned token", denied("binding_token", "eyJhbGciOiJub25lIn0.e30."), 400, "invalid_denial_binding"},
		{"a later end", denied("expires_at", "2026-05-30T20:25:00Z"), 400, "invalid_denial_binding"},
		{"no end", denied("expires_at", nil), 400, "invalid_denial_binding"},
		{"another actor", func(m map[string]any) { m["client"] = map[string]any{"actor": map[string]any{"id": "deployer"}} }, 403, ""},
		{"a chain of actors", func(m map[string]any) {
			m["client"] = map[string]any{"actor": map[string]any{"id": "coder", "act": map[string]any{"sub": "x"}}}
		}, 403, ""},
		{"in bulk", func(m map[string]any) { m["items"] = []any{} }, 400, ""},
		{"called back where nobody declared it", func(m map[string]any) { m["callback"] = map[string]any{"endpoint": "https://169.254.169.254/"} }, 400, ""},
		{"called back below what is declared", func(m map[string]any) { m["callback"] = map[string]any{"endpoint": calledBack + "/../x"} }, 400, ""},
		{"called back with a long state", func(m map[string]any) {
			m["callback"] = map[string]any{"endpoint": calledBack, "state": strings.Repeat("x", 2000)}
		}, 400, ""},
		{"called back of what there is not", func(m map[string]any) {
			m["callback"] = map[string]any{"endpoint": calledBack, "events": []string{"paid"}}
		}, 400, ""},
		{"no subject", func(m map[string]any) { delete(m, "subject") }, 400, ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, d, _, submission := world(t)
			var p handed
			c.post(requests, submission(x.change), x.status, &p)
			if !strings.HasSuffix(p.Type, x.typ) || len(d.all) != 0 {
				t.Errorf("%+v, and %d were asked for", p, len(d.all))
			}
		})
	}
	c, d, _, submission := world(t)
	late := submission(nil)
	c.now = c.now.Add(11 * time.Minute)
	var p handed
	c.post(requests, late, http.StatusGone, &p)
	c.post(requests, submission(nil), http.StatusBadRequest, &p, as("other")) // another task's
	if len(d.all) != 0 || !strings.HasSuffix(p.Type, "invalid_denial_binding") {
		t.Errorf("%+v", p)
	}
	d.opens = remit.Decision{Verdict: remit.Deny, Code: remit.NoApprover, Sentence: "nobody may"}
	c.post(requests, submission(nil), http.StatusBadRequest, &p)
	if !strings.HasSuffix(p.Type, "not_requestable") {
		t.Errorf("%+v", p)
	}
	if w := c.do(http.MethodPost, requests, `{"denial":{"a":1,"a":2}}`); w.Code != http.StatusBadRequest {
		t.Errorf("a member twice: %d", w.Code)
	}
	if w := c.do(http.MethodPost, requests, `{"x":"`+strings.Repeat("x", 40<<10)+`"}`); w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("too long: %d", w.Code)
	}
}

// TestOneDenialIsRequestedOnce: with its Idempotency-Key or without, by the binding token alone.
func TestOneDenialIsRequestedOnce(t *testing.T) {
	c, d, _, submission := world(t)
	m := submission(nil)
	var first, again handed
	c.post(requests, m, http.StatusAccepted, &first, key("k"))
	c.now = c.now.Add(time.Hour) // a retry that was late finds its task all the same
	c.post(requests, m, http.StatusAccepted, &again, key("k"))
	if first.Task.ID != again.Task.ID || len(d.all) != 1 {
		t.Errorf("%+v %+v", first, again)
	}
	c.now = c.now.Add(-time.Hour)
	c.post(requests, m, http.StatusAccepted, &again, key("another"))
	if first.Task.ID != again.Task.ID || len(d.all) != 1 {
		t.Errorf("the token was good twice: %+v", again)
	}
	other := submission(nil)
	other["requested_access"] = map[string]any{"emergency": true}
	var p handed
	c.post(requests, other, http.StatusConflict, &p, key("k"))
	if !strings.HasSuffix(p.Type, "duplicate_request") || len(d.all) != 1 {
		t.Errorf("%+v", p)
	}
	d.all[0].Status, d.all[0].Why = remit.AccessVoid, remit.Vetoed
	c.post(requests, m, http.StatusCreated, &again)
	if again.Task.Status != "denied" || again.Result != nil || len(d.all) != 1 {
		t.Errorf("what was denied is asked for again by the same token: %+v", again)
	}
	if w := c.do(http.MethodPost, requests, "{}", key(strings.Repeat("x", 256))); w.Code != http.StatusBadRequest {
		t.Errorf("a long key: %d", w.Code)
	}
}

// TestPeopleSeeWhatIsThere: nothing of a request is hidden from those who decide on it, by being long or by being written
// so that it is not seen.
func TestPeopleSeeWhatIsThere(t *testing.T) {
	c, d, _, _ := world(t)
	q := question(nil)
	q["resource"] = entity("document", "q4\u202egpj.exe\x1b[2J", nil)
	ctx := q["context"].(map[string]any)
	ctx["purpose"] = "audit\u200b \U000e0041"
	var no denial
	c.post(evaluation, q, http.StatusOK, &no)
	q["denial"] = no.echoed()
	c.post(requests, q, http.StatusAccepted, &handed{})
	var shown remit.Shown
	if err := json.Unmarshal([]byte(d.cards[0]), &shown); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`q4\u202egpj.exe\u001b[2J`, `audit\u200b \udb40\udc41`} {
		if !strings.Contains(shown.Diff, want) {
			t.Errorf("%s is not in %s", want, shown.Diff)
		}
	}
	delete(q, "denial")
	ctx["purpose"] = strings.Repeat("<", 6000) // as JSON six times as long
	c.post(evaluation, q, http.StatusOK, &no)
	q["denial"] = no.echoed()
	var p handed
	c.post(requests, q, http.StatusRequestEntityTooLarge, &p)
	if len(d.all) != 1 {
		t.Errorf("%d were asked for", len(d.all))
	}
}

// TestTasks: states, cancelling, and handles that are guessed, changed or somebody else's.
func TestTasks(t *testing.T) {
	c, d, _, submission := world(t)
	var task, p handed
	c.post(requests, submission(nil), http.StatusAccepted, &task)
	for _, path := range []string{requests + "/A-1", requests + "/arq_A-1", requests + "/" + strings.Replace(task.Task.ID, "arq", "apr", 1), task.path() + "A", requests + "/arq_" + base64.RawURLEncoding.EncodeToString([]byte("0123456789abcdefA-1"))} {
		c.read(c.do(http.MethodGet, path, ""), http.StatusNotFound, &p)
		if !strings.HasSuffix(p.Type, "unknown_task") {
			t.Errorf("%s: %+v", path, p)
		}
	}
	c.read(c.do(http.MethodGet, task.path(), "", as("other")), http.StatusNotFound, &p)
	c.read(c.do(http.MethodPost, task.cancel(), "", as("other")), http.StatusNotFound, &p)
	if w := c.do(http.MethodGet, task.path(), "", as("nobody")); w.Code != http.StatusUnauthorized {
		t.Errorf("nobody: %d", w.Code)
	}
	for _, x := range []struct {
		status remit.AccessStatus
		why    remit.Code
		want   string
	}{
		{remit.AccessOpen, "", "pending"}, {remit.AccessMet, "", "approved"}, {remit.AccessReserved, "", "approved"}, {remit.AccessUsed, "", "approved"},
		{remit.AccessVoid, remit.Vetoed, "denied"}, {remit.AccessVoid, remit.Expired, "expired"}, {remit.AccessVoid, remit.Superseded, "cancelled"}, {remit.AccessVoid, remit.Stale, "failed"},
	} {
		d.all[0].Status, d.all[0].Why = x.status, x.why
		w := c.do(http.MethodGet, task.path(), "")
		task.Result = nil
		c.read(w, http.StatusOK, &task)
		if task.Task.Status != x.want || (task.Result != nil) != (x.want == "approved") || (w.Header().Get("Retry-After") != "") != (x.want == "pending") {
			t.Errorf("%s %s: %s", x.status, x.why, w.Body)
		}
		if x.want != "pending" {
			c.read(c.do(http.MethodPost, requests+"/"+task.Task.ID+"/cancel", ""), http.StatusConflict, &p)
			if !strings.HasSuffix(p.Type, "invalid_task_state") {
				t.Errorf("%+v", p)
			}
		}
	}
	d.all[0].Status, d.all[0].Why = remit.AccessOpen, ""
	c.read(c.do(http.MethodPost, requests+"/"+task.Task.ID+"/cancel", `{"reason":"x"}`), http.StatusOK, &task)
	if task.Task.Status != "cancelled" {
		t.Errorf("%+v", task)
	}
	c.now = d.end
	c.read(c.do(http.MethodGet, task.path(), ""), http.StatusGone, &p)
	if !strings.HasSuffix(p.Type, "task_expired") {
		t.Errorf("%+v", p)
	}
}

// approvedOnce is a request that people approved, and its approval.
func approvedOnce(t *testing.T) (*client, *desk, *asking, map[string]any) {
	c, d, pdp, submission := world(t)
	var task handed
	c.post(requests, submission(nil), http.StatusAccepted, &task)
	d.all[0].Status = remit.AccessMet
	c.read(c.do(http.MethodGet, task.path(), ""), http.StatusOK, &task)
	var a map[string]any
	if err := json.Unmarshal(task.Result.Approval, &a); err != nil {
		t.Fatal(err)
	}
	return c, d, pdp, a
}

// TestAnApprovalIsNeverEnough: its name alone opens nothing.
func TestAnApprovalIsNeverEnough(t *testing.T) {
	for _, x := range []struct {
		name       string
		change     func(q, approval map[string]any, c *client, d *desk, pdp *asking)
		who        string
		reason     string
		next       string
		mayBeAsked bool
	}{
		{"an id that was made up", func(_, a map[string]any, _ *client, _ *desk, _ *asking) { a["id"] = "apr_01HX4Y8E2NE3Y2X7P0K4JE6WVH" }, "good", "approval_unverifiable", "none", false},
		{"the task's handle", func(_, a map[string]any, _ *client, _ *desk, _ *asking) {
			a["id"] = strings.Replace(a["id"].(string), "apr", "arq", 1)
		}, "good", "approval_unverifiable", "none", false},
		{"a state that was changed", func(_, a map[string]any, _ *client, _ *desk, _ *asking) { a["state"] = a["state"].(string) + "A" }, "good", "approval_unverifiable", "none", false},
		{"somebody else's", func(_, _ map[string]any, _ *client, _ *desk, _ *asking) {}, "other", "approval_unverifiable", "none", false},
		{"another resource", func(q, _ map[string]any, _ *client, _ *desk, _ *asking) {
			q["resource"] = entity("document", "q5", nil)
		}, "good", "out_of_scope", "request", true},
		{"another context", func(q, _ map[string]any, _ *client, _ *desk, _ *asking) {
			q["context"].(map[string]any)["purpose"] = "fun"
		}, "good", "out_of_scope", "request", true},
		{"another resource, and nobody can be asked", func(q, _ map[string]any, _ *client, _ *desk, pdp *asking) {
			q["resource"], pdp.never = entity("document", "q5", nil), true
		}, "good", "out_of_scope", "none", false},
		{"vetoed since", func(_, _ map[string]any, _ *client, d *desk, _ *asking) {
			d.all[0].Status, d.all[0].Why = remit.AccessVoid, remit.Vetoed
		}, "good", "approval_expired", "request", true},
		{"used", func(_, _ map[string]any, _ *client, d *desk, _ *asking) { d.all[0].Status = remit.AccessUsed }, "good", "approval_expired", "request", true},
		{"too late", func(_, _ map[string]any, c *client, d *desk, _ *asking) { c.now = d.end }, "good", "approval_expired", "request", true},
		{"further votes", func(_, _ map[string]any, _ *client, d *desk, _ *asking) { d.all[0].Status = remit.AccessOpen }, "good", "grant_pending", "retry", false},
		{"policy asks for further votes now", func(_, _ map[string]any, _ *client, d *desk, _ *asking) {
			d.uses = remit.Decision{Verdict: remit.Deny, Code: remit.PolicyHeld}
		}, "good", "grant_pending", "retry", false},
		{"policy denies now", func(_, _ map[string]any, _ *client, d *desk, _ *asking) {
			d.uses = remit.Decision{Verdict: remit.Deny, Code: remit.PolicyDenied}
		}, "good", "policy_denied", "none", false},
	} {
		t.Run(x.name, func(t *testing.T) {
			c, d, pdp, a := approvedOnce(t)
			q := question(a)
			x.change(q, a, c, d, pdp)
			var no denial
			c.post(evaluation, q, http.StatusOK, &no, as(x.who))
			if no.Decision || no.Context.Reason != x.reason || no.Context.Next != x.next || (no.Context.Request != nil) != x.mayBeAsked || (no.Context.RetryAfter > 0) != (x.next == "retry") {
				t.Errorf("%+v", no)
			}
		})
	}
	c, d, _, a := approvedOnce(t)
	var yes, no denial
	c.post(evaluations, map[string]any{"evaluations": []any{question(a)}}, http.StatusOK, &struct {
		Evaluations []*denial `json:"evaluations"`
	}{[]*denial{&yes}})
	c.post(evaluation, question(a), http.StatusOK, &no)
	if no.Decision || no.Context.Reason != "approval_expired" || d.used != 1 {
		t.Errorf("it was good twice: %+v %+v", yes, no)
	}
	for _, body := range []any{7, []any{}, map[string]any{"id": 7}} {
		if w := c.do(http.MethodPost, evaluation, string(must(json.Marshal(question(body))))); w.Code != http.StatusBadRequest {
			t.Errorf("%v: %d", body, w.Code)
		}
	}
}

func must(b []byte, err error) []byte {
	if err != nil {
		panic(err)
	}
	return b
}

// TestKeys: whoever has the key set can check what a denial is bound to.
func TestKeys(t *testing.T) {
	c, _, _, _ := world(t)
	var set jose.JSONWebKeySet
	w := c.do(http.MethodGet, "/access/v1/jwks", "", as("nobody")) // it is public
	c.read(w, http.StatusOK, &set)
	if len(set.Keys) != 1 || !set.Keys[0].IsPublic() || set.Keys[0].Use != "sig" || set.Keys[0].KeyID == "" {
		t.Fatalf("%s", w.Body)
	}
	var no denial
	c.post(evaluation, question(nil), http.StatusOK, &no)
	js, err := jose.ParseSignedCompact(no.Context.Request.Token, []jose.SignatureAlgorithm{jose.ES256})
	if err != nil {
		t.Fatal(err)
	}
	body, err := js.Verify(&set.Keys[0])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(body, &claims); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iss", "aud", "iat", "exp", "jti", "denial_expires_at", "binding_context_members", "binding_hash", "evaluation_id"} {
		if claims[name] == nil {
			t.Errorf("no %s: %s", name, body)
		}
	}
	if bytes.Contains(body, []byte("alice")) || fmt.Sprint(claims["binding_context_members"]) != "[purpose]" {
		t.Errorf("%s", body)
	}
}
