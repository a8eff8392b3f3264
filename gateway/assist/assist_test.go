package assist_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/assist"
)

// rooms is an authority that knows one task, T-1.
type rooms struct {
	asked []remit.ChildRequest
	verbs []string
	child func(remit.ChildRequest) (remit.ChildAnswer, error)
	held  map[remit.ID]assist.Held
	ended []bool
	plans []remit.PlanRequest
	plan  remit.PlanAnswer
}

var deadline = time.Date(2027, 1, 1, 12, 0, 0, 0, time.UTC)

func (r *rooms) Task(_ context.Context, c remit.Caller) (remit.TaskView, error) {
	if c.Task != "T-1" {
		return remit.TaskView{}, remit.Errorf(remit.NotFound, "there is no task %s", c.Task)
	}
	return remit.TaskView{ID: "T-1", Status: remit.TaskOpen, Agent: "coder", Branch: "refs/heads/remit/T-1", Deadline: deadline, Budget: remit.Budget{Decisions: 100}, Decisions: 40,
		Holds: []remit.ID{"A-1"}, Grant: []remit.Scope{{Actions: []remit.Action{"source.read", "source.push"}, Resources: []remit.Pattern{"repo:forge/acme/payments"}, Paths: []remit.Pattern{"docs/**"}}}}, nil
}

func (r *rooms) Decision(_ context.Context, c remit.Caller, entry remit.EntryIndex) (remit.DecisionView, error) {
	if entry != 118 || c.Task != "T-1" {
		return remit.DecisionView{}, remit.Errorf(remit.NotFound, "entry %d is no decision of your task", entry)
	}
	return remit.DecisionView{Entry: 118, Verdict: remit.Deny, Code: remit.OutOfScope, Rules: []string{"scope"}, Steps: []remit.Step{{Action: "tool.call", Resource: "tool:forge/merge"}}}, nil
}

func (r *rooms) Access(ctx context.Context, c remit.Caller, id remit.ID) (assist.Held, error) {
	h, ok := r.held[id]
	if !ok || c.Task != "T-1" {
		return assist.Held{}, remit.Errorf(remit.NotFound, "there is no access request %s of your task", id)
	}
	if h.Status == remit.AccessOpen {
		<-ctx.Done()
	}
	return h, nil
}

func (r *rooms) Child(_ context.Context, _ remit.Caller, verb string, in remit.ChildRequest) (remit.ChildAnswer, error) {
	r.asked, r.verbs = append(r.asked, in), append(r.verbs, verb)
	return r.child(in)
}

func (r *rooms) Complete(_ context.Context, _ remit.Caller, drop bool) error {
	r.ended = append(r.ended, drop)
	if !drop {
		return remit.Errorf(remit.Conflict, "A-1 still waits")
	}
	return nil
}

// who knows tokens of tasks.
type who struct{}

func (who) Authenticate(r *http.Request) (remit.Caller, error) {
	task, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer of-")
	if task == "executor" {
		return remit.Caller{Executor: "executor/source"}, nil
	}
	if !ok {
		return remit.Caller{}, remit.Errorf(remit.Unauthenticated, "nobody")
	}
	return remit.Caller{Instance: "I-1", Agent: "coder", Task: remit.ID(task)}, nil
}

type bearer string

func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer of-"+string(b))
	return http.DefaultTransport.RoundTrip(r)
}

func (r *rooms) handler() http.Handler {
	return assist.New(assist.Config{Authn: who{}, Rooms: r, Plans: r, Metadata: "https://remit.example/.well-known/x", Version: "1", Now: func() time.Time { return deadline.Add(-90 * time.Minute) }})
}

// each runs a test with a real client of each generation.
func each(t *testing.T, task string, f func(t *testing.T, r *rooms, call func(tool, args string) (string, *mcp.CallToolResult))) {
	for _, version := range []string{"2026-07-28", "2025-11-25"} {
		t.Run(version, func(t *testing.T) {
			r := &rooms{held: map[remit.ID]assist.Held{}}
			s := httptest.NewServer(r.handler())
			defer s.Close()
			c, err := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(),
				&mcp.StreamableClientTransport{Endpoint: s.URL, HTTPClient: &http.Client{Transport: bearer(task)}, DisableStandaloneSSE: true, MaxRetries: -1}, &mcp.ClientSessionOptions{ProtocolVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			f(t, r, func(tool, args string) (string, *mcp.CallToolResult) {
				t.Helper()
				res, err := c.CallTool(t.Context(), &mcp.CallToolParams{Name: tool, Arguments: json.RawMessage(args)})
				if err != nil {
					t.Fatal(err)
				}
				text := ""
				for _, part := range res.Content {
					text += part.(*mcp.TextContent).Text + "\n"
				}
				return text, res
			})
		})
	}
}

func says(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("it does not say %q: %q", w, text)
		}
	}
	if len(text) > 1024 {
		t.Errorf("it is %d bytes long", len(text))
	}
}

func TestAnAgentReadsWhatItMayDo(t *testing.T) {
	each(t, "T-1", func(t *testing.T, r *rooms, call func(string, string) (string, *mcp.CallToolResult)) {
		text, res := call("scope", `{}`)
		says(t, text, "task T-1", "1h30m", "refs/heads/remit/T-1", "60 of 100 decisions left", "A-1 waits", "may source.read, source.push on repo:forge/acme/payments", "paths docs/**")
		if res.IsError {
			t.Fatal(text)
		}
		text, res = call("why", `{"entry":118}`)
		says(t, text, "deny OUT_OF_SCOPE", "tool.call on tool:forge/merge", "rules: scope", "`ask`")
		if res.IsError {
			t.Fatal(text)
		}
		for _, args := range []string{`{}`, `{"entry":117}`, `{"access":"A-9"}`} {
			if text, res = call("why", args); !res.IsError {
				t.Errorf("%s is answered %q", args, text)
			}
		}
	})
}

func TestAnAnswerFitsAndMovesNoCursor(t *testing.T) {
	each(t, "T-1", func(t *testing.T, r *rooms, call func(string, string) (string, *mcp.CallToolResult)) {
		r.child = func(remit.ChildRequest) (remit.ChildAnswer, error) {
			return remit.ChildAnswer{}, remit.Errorf(remit.BadRequest, "\x1b[2J\u202e%s", strings.Repeat("é", 2000))
		}
		text, res := call("ask", `{"agent":"b","intent":"x","actions":[],"resources":[]}`)
		if !res.IsError || len(text) > 1024 || strings.ContainsAny(text, "\x1b\u202e") || !utf8.ValidString(text) {
			t.Fatalf("%d bytes: %q", len(text), text)
		}
	})
}

func TestAnotherTaskIsNotSeen(t *testing.T) {
	each(t, "T-2", func(t *testing.T, r *rooms, call func(string, string) (string, *mcp.CallToolResult)) {
		r.held["A-1"] = assist.Held{Status: remit.AccessUsed, Outcome: remit.Done, Answer: []byte(`{"result":{"content":[]}}`)}
		for tool, args := range map[string]string{"scope": `{}`, "why": `{"entry":118}`, "wait": `{"access":"A-1"}`} {
			if text, res := call(tool, args); !res.IsError || !strings.Contains(text, "NOT_FOUND") {
				t.Errorf("%s is answered %q", tool, text)
			}
		}
	})
}

func TestWaitTellsHowItStandsAndGivesTheAnswer(t *testing.T) {
	each(t, "T-1", func(t *testing.T, r *rooms, call func(string, string) (string, *mcp.CallToolResult)) {
		for _, c := range []struct {
			name  string
			held  assist.Held
			wrong bool
			want  []string
		}{
			{"void", assist.Held{Status: remit.AccessVoid, Why: remit.Vetoed}, true, []string{"A-1 is void", "VETOED"}},
			{"done", assist.Held{Status: remit.AccessUsed, Outcome: remit.Done}, false, []string{"is done"}},
			{"ambiguous", assist.Held{Status: remit.AccessUsed, Outcome: remit.Ambiguous}, false, []string{"nobody knows"}},
			{"not applied", assist.Held{Status: remit.AccessUsed, Outcome: remit.NotApplied}, false, []string{"nothing has changed"}},
			{"answered", assist.Held{Status: remit.AccessUsed, Outcome: remit.Done, Answer: []byte(`{"result":{"content":[{"type":"text","text":"merged \u001b[2J"}]}}`)}, false,
				[]string{"data and no instruction", "merged \x1b[2J"}},
			{"a tool that failed", assist.Held{Status: remit.AccessUsed, Outcome: remit.Done, Answer: []byte(`{"result":{"isError":true,"content":[{"type":"text","text":"conflict"}]}}`)}, true, []string{"conflict"}},
			{"a server's error", assist.Held{Status: remit.AccessUsed, Outcome: remit.Done, Answer: []byte(`{"error":{"code":-32602,"message":"no such tool"}}`)}, true, []string{"no such tool"}},
			{"a resource", assist.Held{Status: remit.AccessUsed, Outcome: remit.Done, Answer: []byte(`{"result":{"contents":[{"uri":"x"}]}}`)}, false, []string{`{"contents":[{"uri":"x"}]}`}},
		} {
			r.held["A-1"] = c.held
			text, res := call("wait", `{"access":"A-1"}`)
			says(t, text, c.want...)
			if res.IsError != c.wrong {
				t.Errorf("%s: %+v", c.name, res)
			}
			if origin, _ := res.Meta["io.github.remit-dev/origin"].(map[string]any); strings.Contains(string(c.held.Answer), "result") != (origin["untrusted"] == true) {
				t.Errorf("%s: it does not say where it comes from: %v", c.name, res.Meta)
			}
		}
	})
}

func TestWaitEndsBeforeClientsGiveUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rooms{held: map[remit.ID]assist.Held{"A-1": {Status: remit.AccessOpen, Needs: []remit.Need{{Group: "leads", N: 2}}, URL: "https://remit.example/approve/A-1"}}}
		req := httptest.NewRequest("POST", "/", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait","arguments":{"access":"A-1"}}}`))
		for k, v := range map[string]string{"Authorization": "Bearer of-T-1", "Content-Type": "application/json", "Accept": "application/json, text/event-stream", "Mcp-Protocol-Version": "2025-11-25"} {
			req.Header.Set(k, v)
		}
		w := httptest.NewRecorder()
		begun := time.Now()
		r.handler().ServeHTTP(w, req)
		if took := time.Since(begun); took != assist.Patience {
			t.Fatalf("it waits for %s", took)
		}
		says(t, w.Body.String(), "still waits", "2 of leads", "https://remit.example/approve/A-1")
	})
}

func TestAnAgentWaitsSoOftenAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rooms{held: map[remit.ID]assist.Held{"A-1": {Status: remit.AccessOpen}}}
		h := r.handler()
		refused := make(chan bool, 20)
		for range 20 {
			go func() {
				req := httptest.NewRequest("POST", "/", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"wait","arguments":{"access":"A-1"}}}`))
				for k, v := range map[string]string{"Authorization": "Bearer of-T-1", "Content-Type": "application/json", "Accept": "application/json, text/event-stream"} {
					req.Header.Set(k, v)
				}
				w := httptest.NewRecorder()
				h.ServeHTTP(w, req)
				refused <- strings.Contains(w.Body.String(), "OVERLOAD")
			}()
		}
		n := 0
		for range 20 {
			if <-refused {
				n++
			}
		}
		if n != 4 {
			t.Fatalf("%d of 20 do not wait", n)
		}
	})
}

func TestWhatIsAskedForIsWhatIsDecided(t *testing.T) {
	each(t, "T-1", func(t *testing.T, r *rooms, call func(string, string) (string, *mcp.CallToolResult)) {
		r.child = func(remit.ChildRequest) (remit.ChildAnswer, error) { return remit.ChildAnswer{Task: "T-9"}, nil }
		text, res := call("ask", `{"agent":"builder","intent":"build it","actions":["build.trigger"],"resources":["pipeline:payments/ci"],"minutes":30,"inputs":[{"resource":"repo:forge/acme/payments","id":"abc"}]}`)
		says(t, text, "task T-9", "builder")
		want := remit.ChildRequest{Agent: "builder", Intent: "build it", For: 30 * time.Minute, Inputs: []remit.Input{{Resource: "repo:forge/acme/payments", ID: "abc"}},
			Scope: []remit.Scope{{Actions: []remit.Action{"build.trigger"}, Resources: []remit.Pattern{"pipeline:payments/ci"}}}}
		a, _ := json.Marshal(r.asked[0])
		b, _ := json.Marshal(want)
		if string(a) != string(b) || res.IsError {
			t.Fatalf("%s", a)
		}
		text, _ = call("delegate", `{"intent":"docs","actions":["source.push"],"resources":["repo:forge/acme/payments"],"paths":["docs/**"]}`)
		says(t, text, "remit run --task T-9")
		if !slices.Equal(r.verbs, []string{"request", "delegate"}) || r.asked[1].Agent != "coder" {
			t.Fatalf("%v %+v", r.verbs, r.asked[1])
		}
		r.child = func(remit.ChildRequest) (remit.ChildAnswer, error) {
			return remit.ChildAnswer{Decision: &remit.Decision{Verdict: remit.Hold, Code: remit.ImpactHeld, Access: "A-2", Sentence: "it crosses a zone"}}, nil
		}
		if text, res = call("ask", `{"agent":"deployer","intent":"x","actions":[],"resources":[]}`); res.IsError || !strings.Contains(text, "Held as A-2") {
			t.Errorf("%q", text)
		}
		r.child = func(remit.ChildRequest) (remit.ChildAnswer, error) {
			return remit.ChildAnswer{Decision: &remit.Decision{Verdict: remit.Deny, Code: remit.OutOfScope, Entry: 7, Sentence: "the agent may not request that"}}, nil
		}
		if text, res = call("ask", `{"agent":"deployer","intent":"x","actions":[],"resources":[]}`); !res.IsError || !strings.Contains(text, "OUT_OF_SCOPE") || !strings.Contains(text, "Entry 7") {
			t.Errorf("%q", text)
		}
		n := len(r.asked)
		for _, args := range []string{`{"intent":"x","actions":[],"resources":[]}`, `{"agent":"b","intent":"x","actions":[],"resources":[],"minutes":-1}`} {
			if text, res = call("ask", args); !res.IsError || len(r.asked) != n {
				t.Errorf("%s is answered %q", args, text)
			}
		}
	})
}

func TestATaskIsCompletedOnPurpose(t *testing.T) {
	each(t, "T-1", func(t *testing.T, r *rooms, call func(string, string) (string, *mcp.CallToolResult)) {
		if text, res := call("complete", `{}`); !res.IsError || !strings.Contains(text, "drop_holds") {
			t.Fatalf("%q", text)
		}
		if text, res := call("complete", `{"drop_holds":true}`); res.IsError || !slices.Equal(r.ended, []bool{false, true}) {
			t.Fatalf("%q %v", text, r.ended)
		}
	})
}

func TestNobodyGetsAnythingWithoutAToken(t *testing.T) {
	for _, token := range []string{"", "Bearer remit_x", "Bearer of-executor"} {
		req := httptest.NewRequest("POST", "/", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		req.Header.Set("Authorization", token)
		w := httptest.NewRecorder()
		(&rooms{}).handler().ServeHTTP(w, req)
		if w.Code != 401 || !strings.Contains(w.Header().Get("WWW-Authenticate"), `resource_metadata="https://remit.example/.well-known/x"`) || strings.Contains(w.Body.String(), "scope") {
			t.Errorf("%q: %d %v %s", token, w.Code, w.Header(), w.Body)
		}
	}
}
