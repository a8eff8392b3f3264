package authzen_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/authzen"
)

// authority answers every request alike, and notes it.
type authority struct {
	gateway.Authorizer
	asked    []remit.Request
	foreseen []remit.Request
	answer   remit.Decision
	err      error
}

func (a *authority) Authorize(_ context.Context, r remit.Request, _ ...remit.Payload) (remit.Decision, error) {
	a.asked = append(a.asked, r)
	return a.answer, a.err
}

func (a *authority) Requester(context.Context, remit.Caller) (string, error) { return "ana", nil }

func (a *authority) Tool(_ context.Context, _ remit.Caller, server, tool string, args json.RawMessage) ([]remit.Step, *remit.ToolCall, error) {
	if server != "tracker" {
		return nil, nil, remit.Errorf(remit.UnknownResource, "no server of tools %q is declared", server)
	}
	return []remit.Step{{Action: "tool.write", Resource: remit.Resource("tool:" + server + "/" + tool), Args: remit.ToolDigest("tools/call", args)}, {Action: "issue.write", Resource: "repo:forge/payments"}},
		&remit.ToolCall{Server: server, Name: tool, Method: "tools/call", Arguments: args}, nil
}

func (a *authority) Named(_ context.Context, _ remit.Caller, typ string) ([]remit.Resource, error) {
	if typ != "repo" {
		return nil, nil
	}
	return []remit.Resource{"repo:forge/billing", "repo:forge/payments"}, nil
}

// Foresee allows reading, and writing in one place.
func (a *authority) Foresee(_ context.Context, r remit.Request) (remit.Decision, error) {
	a.foreseen = append(a.foreseen, r)
	if st := r.Steps[0]; strings.HasSuffix(string(st.Action), ".read") || st.Action == "issue.write" && st.Resource == "repo:forge/payments" {
		return remit.Decision{Verdict: remit.Allow}, nil
	}
	return remit.Decision{Verdict: remit.Hold}, nil
}

func house(t testing.TB, a *authority) *client {
	return point(t, &authzen.Authority{Authz: a, House: a}, &desk{})
}

const comment = `{"subject":{"type":"agent","id":"coder","properties":{"role":"admin"}},"action":{"name":"issue.comment"},"resource":{"type":"repo","id":"forge/payments"},"context":{"time":"now"}}`

func TestEvaluation(t *testing.T) {
	for _, x := range []struct {
		name   string
		answer remit.Decision
		want   string
	}{
		{"allow", remit.Decision{Verdict: remit.Allow, Entry: 7}, `{"decision":true,"context":{"verdict":"allow","entry":7}}`},
		{"deny", remit.Decision{Verdict: remit.Deny, Code: remit.OutOfScope, Rules: []string{"scope"}, Sentence: "not granted", Entry: 8},
			`{"decision":false,"context":{"verdict":"deny","code":"OUT_OF_SCOPE","rules":["scope"],"sentence":"not granted","entry":8}}`},
		{"hold", remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Entry: 9}, `{"decision":false,"context":{"verdict":"hold","code":"IMPACT_HELD","entry":9,"evaluation_id":"eval_9","evaluated_at":"2026-04-30T20:15:00Z","reason":"approval_required",` +
			`"access_request":{"endpoint":"` + base + requests + `","template":"remit","expires_at":"2026-04-30T20:25:00Z","binding_token":"<JWS>"}}}`},
	} {
		t.Run(x.name, func(t *testing.T) {
			a := &authority{answer: x.answer}
			w := house(t, a).do(http.MethodPost, evaluation, comment)
			if got := tokens.ReplaceAllString(strings.TrimSpace(w.Body.String()), `"<JWS>"`); w.Code != http.StatusOK || got != x.want {
				t.Errorf("%d %s", w.Code, got)
			}
			if r := a.asked[0]; !r.Advice || !r.Elsewhere || r.Gateway != authzen.Name || r.Caller != caller || len(r.Steps) != 1 || r.Steps[0].Action != "issue.comment" || r.Steps[0].Resource != "repo:forge/payments" || !r.Steps[0].Args.IsZero() {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestWhoAsks: the subject is the caller, in each of the ways to say so, and never anybody else.
func TestWhoAsks(t *testing.T) {
	for _, x := range []struct {
		subject string
		status  int
	}{
		{`{"type":"agent","id":"coder"}`, 200}, {`{"type":"instance","id":"I-3"}`, 200}, {`{"type":"task","id":"T-2"}`, 200},
		{`{"type":"person","id":"ana","properties":{"act":{"sub":"coder","iss":"https://remit.example"}}}`, 200},
		{`{"type":"user","id":"ana","properties":{"act":{"sub":"I-3"}}}`, 200},
		{`{"type":"agent","id":"coder","properties":{"act":{"sub":"coder"}}}`, 200},
		{`{"type":"person","id":"ana"}`, 403}, {`{"type":"person","id":"ben","properties":{"act":{"sub":"coder"}}}`, 403},
		{`{"type":"person","id":"ana","properties":{"act":{"sub":"deployer"}}}`, 403},
		{`{"type":"person","id":"ana","properties":{"act":{"sub":"coder","act":{"sub":"x"}}}}`, 403},
		{`{"type":"person","id":"ana","properties":{"act":"coder"}}`, 403},
		{`{"type":"agent","id":"deployer"}`, 403}, {`{"type":"instance","id":"I-4"}`, 403}, {`{"type":"task","id":"T-3"}`, 403}, {`{"type":"spaceship","id":"coder"}`, 403},
	} {
		a := &authority{answer: remit.Decision{Verdict: remit.Allow}}
		w := house(t, a).do(http.MethodPost, evaluation, strings.Replace(comment, `{"type":"agent","id":"coder","properties":{"role":"admin"}}`, x.subject, 1))
		if w.Code != x.status || (len(a.asked) == 1) != (x.status == 200) {
			t.Errorf("%s: %d %s, asked %d", x.subject, w.Code, w.Body, len(a.asked))
		}
	}
}

func TestWhatIsNoQuestion(t *testing.T) {
	for _, x := range []struct {
		name, old, new, want string
		status               int
	}{
		{"a resource that is none", `forge/payments`, `forge//payments`, "resource", 400},
		{"a resource of no type", `"type":"repo"`, `"type":"r e p o"`, "resource", 400},
		{"too long", `now`, strings.Repeat("x", 70<<10), "larger", 413},
	} {
		a := &authority{}
		w := house(t, a).do(http.MethodPost, evaluation, strings.Replace(comment, x.old, x.new, 1))
		if w.Code != x.status || !strings.Contains(w.Body.String(), x.want) || len(a.asked) != 0 {
			t.Errorf("%s: %d %s, asked %d", x.name, w.Code, w.Body, len(a.asked))
		}
	}
	if w := house(t, &authority{err: remit.Errorf(remit.LedgerDown, "the log cannot be written")}).do(http.MethodPost, evaluation, comment); w.Code != remit.LedgerDown.Info().HTTP {
		t.Errorf("no log: %d", w.Code)
	}
	if w := house(t, &authority{err: fmt.Errorf("secret detail")}).do(http.MethodPost, evaluation, comment); w.Code != http.StatusInternalServerError || strings.Contains(w.Body.String(), "secret") {
		t.Errorf("a fault: %d %s", w.Code, w.Body)
	}
}

// TestWhatIsSaidBinds: properties and context decide nothing, and two requests that differ in them are two.
func TestWhatIsSaidBinds(t *testing.T) {
	seen := map[remit.Digest]string{}
	for _, more := range []string{`,"context":{}`, `,"context":{"purpose":"a"}`, `,"context":{"purpose":"b"}`, `,"action":{"name":"issue.comment","properties":{"text":"a"}}`,
		`,"resource":{"type":"repo","id":"forge/payments","properties":{"text":"a"}}`} {
		a := &authority{answer: remit.Decision{Verdict: remit.Allow}}
		m := map[string]json.RawMessage{}
		for _, s := range []string{comment, "{" + more[1:] + "}"} {
			if err := json.Unmarshal([]byte(s), &m); err != nil {
				t.Fatal(err)
			}
		}
		house(t, a).post(evaluation, m, http.StatusOK, &decision{})
		d := a.asked[0].Steps[0].Args
		if was, twice := seen[d]; twice {
			t.Errorf("%s and %s are one", was, more)
		}
		seen[d] = more
	}
}

// TestTools: a question about a tool becomes the call that its gateway would ask about.
func TestTools(t *testing.T) {
	ask := func(resource, action, context string) (*authority, int) {
		a := &authority{answer: remit.Decision{Verdict: remit.Allow}}
		w := house(t, a).do(http.MethodPost, evaluation, object(`"subject":{"type":"agent","id":"coder"}`, `"action":`+action, `"resource":{"type":"tool","id":"`+resource+`"}`, `"context":`+context))
		return a, w.Code
	}
	for name, x := range map[string][2]string{"in the action": {`{"name":"tool.call","properties":{"arguments":{"b":1,"a":"x"}}}`, `{}`}, "in the context": {`{"name":"tool.call"}`, `{"arguments":{"a":"x","b":1}}`}} {
		a, status := ask("tracker/close", x[0], x[1])
		if status != 200 {
			t.Fatalf("%s: %d", name, status)
		}
		r := a.asked[0]
		if len(r.Steps) != 2 || r.Steps[0].Action != "tool.call" || r.Steps[0].Args != remit.ToolDigest("tools/call", json.RawMessage(`{"a":"x","b":1}`)) || r.Tool == nil || string(r.Tool.Arguments) != `{"a":"x","b":1}` || !r.Advice {
			t.Errorf("%s: %+v", name, r)
		}
	}
	a, status := ask("local/shell", `{"name":"tool.call","properties":{"arguments":{"command":"ls"}}}`, `{}`)
	if status != 200 || a.asked[0].Tool.Server != remit.LocalTools || a.asked[0].Tool.Name != "shell" || a.asked[0].Steps[0].Args != remit.ToolDigest("", json.RawMessage(`{"command":"ls"}`)) {
		t.Errorf("%d %+v", status, a.asked)
	}
	for _, x := range [][2]string{{"tracker/close", `{"name":"tool.call","properties":{"arguments":[1]}}`}, {"tracker/close", `{"name":"tool.call","properties":{"arguments":null}}`}, {"nowhere/close", `{"name":"tool.call"}`}} {
		if a, status := ask(x[0], x[1], `{}`); status < 400 || status >= 500 || len(a.asked) != 0 {
			t.Errorf("%v: %d", x, status)
		}
	}
}

// TestSearchesOfTheHouse: what the caller itself would be allowed, and nothing of others. Nothing is recorded by that.
func TestSearchesOfTheHouse(t *testing.T) {
	self := `"subject":{"type":"agent","id":"coder"}`
	repo := `"resource":{"type":"repo","id":"forge/payments"}`
	for _, x := range []struct{ name, find, body, want string }{
		{"what may be written", "resource", object(self, `"action":{"name":"issue.write"}`, `"resource":{"type":"repo"}`), "repoforge/payments"},
		{"what may be read", "resource", object(self, `"action":{"name":"issue.read"}`, `"resource":{"type":"repo"}`), "repoforge/billing repoforge/payments"},
		{"what waits for people is not in it", "resource", object(self, `"action":{"name":"source.merge"}`, `"resource":{"type":"repo"}`), ""},
		{"a type that there is not", "resource", object(self, `"action":{"name":"issue.read"}`, `"resource":{"type":"spaceship"}`), ""},
		{"what may be done", "action", object(self, repo), "issue.read issue.write review.read source.read"},
		{"for somebody else", "action", object(`"subject":{"type":"agent","id":"deployer"}`, repo), ""},
		{"on what is none", "action", object(self, `"resource":{"type":"repo","id":"a//b"}`), ""},
		{"who may", "subject", object(`"subject":{"type":"agent"}`, `"action":{"name":"issue.read"}`, repo), "agentcoder"},
		{"which instance may", "subject", object(`"subject":{"type":"instance"}`, `"action":{"name":"issue.read"}`, repo), "instanceI-3"},
		{"which person may", "subject", object(`"subject":{"type":"person"}`, `"action":{"name":"issue.read"}`, repo), ""},
		{"who may what is held", "subject", object(`"subject":{"type":"agent"}`, `"action":{"name":"source.merge"}`, repo), ""},
	} {
		t.Run(x.name, func(t *testing.T) {
			a := &authority{}
			var out results
			w := house(t, a).post(search+x.find, x.body, http.StatusOK, &out)
			if out.in() != x.want || out.Results == nil || len(a.asked) != 0 {
				t.Errorf("%s, asked %d", w.Body, len(a.asked))
			}
			for _, r := range a.foreseen {
				if !r.Advice || r.Caller != caller {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}
