package hook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
)

// house is an authority that decides as it is told, and writes down what it was asked.
type house struct {
	*Gateway
	verdict  remit.Verdict
	asked    []remit.Request
	cards    []string
	recorded []gateway.Result
	status   remit.AccessStatus
	why      string
	settled  chan struct{} // closed when people have decided
	err      error
}

func newHouse() *house {
	h := &house{verdict: remit.Allow, settled: make(chan struct{}), status: remit.AccessOpen}
	h.Gateway = &Gateway{Holds: h, Answers: &gateway.Answers{Now: time.Now}, Now: time.Now,
		Payload: func(body []byte) (remit.Payload, error) {
			h.cards = append(h.cards, string(body))
			return remit.Payload{Body: body}, nil
		}}
	return h
}

func (h *house) Authenticate(r *http.Request) (remit.Caller, error) {
	task := r.Header.Get("Authorization")
	if task == "" {
		return remit.Caller{}, errors.New("nobody")
	}
	return remit.Caller{Instance: remit.ID("I-" + task), Agent: "coder", Task: remit.ID("T-" + task)}, nil
}

func (h *house) Authorize(_ context.Context, r remit.Request, _ ...remit.Payload) (remit.Decision, error) {
	if h.err != nil {
		return remit.Decision{}, h.err
	}
	h.asked = append(h.asked, r)
	d := remit.Decision{Entry: 41, Verdict: h.verdict}
	switch h.verdict {
	case remit.Deny:
		d.Code, d.Sentence = remit.OutOfScope, "the grant does not cover tool.call on tool:local/shell; push with git, which goes through the gateway"
	case remit.Hold:
		d.Code, d.Sentence, d.Access = remit.ImpactHeld, "a privileged action needs a person", "A-12"
	default:
		d.Permit = remit.Permit{ID: "P-1"}
	}
	return d, nil
}

func (h *house) Redeem(_ context.Context, p remit.Permit) (remit.Attempt, error) {
	if p.ID == "" {
		return remit.Attempt{}, remit.Errorf(remit.Forbidden, "no permit")
	}
	return remit.Attempt{ID: "X-1", NotAfter: time.Now().Add(time.Hour)}, nil
}

func (h *house) Revoked(remit.ID) <-chan struct{} { return nil }

func (h *house) Record(_ context.Context, _ remit.Attempt, r gateway.Result) error {
	h.recorded = append(h.recorded, r)
	return nil
}

type none struct{}

func (none) Apply(*http.Request) error { return nil }
func (none) End(context.Context) error { return nil }

func (h *house) Lease(context.Context, remit.Attempt) (gateway.Credential, error) { return none{}, nil }

func (h *house) Wait(ctx context.Context, _ remit.ID) (remit.AccessStatus, string, error) {
	select {
	case <-h.settled:
		return h.status, h.why, nil
	case <-ctx.Done():
		return remit.AccessOpen, "", ctx.Err()
	}
}

func (h *house) URL(id remit.ID) string { return "https://remit.example/a/" + string(id) }

func (h *house) pipeline() *gateway.Pipeline {
	return &gateway.Pipeline{Authn: h, Authz: h, Creds: h, Log: slog.New(slog.NewTextHandler(io.Discard, nil))}
}

// post is one call of a host, in a task, with headers NAME: VALUE.
func (h *house) post(task, path, body string, headers ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, "/v1/orgs/acme/hook/"+path, strings.NewReader(body))
	r.Header.Set("Authorization", task)
	r.Header.Set("Remit-Tree", "/w")
	for _, line := range headers {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	w := httptest.NewRecorder()
	h.Handler(h.pipeline()).ServeHTTP(w, r)
	return w
}

// approve is what an executor does once people have approved.
func (h *house) approve(t *testing.T, task string) {
	t.Helper()
	req := h.asked[len(h.asked)-1]
	o := remit.Order{Caller: remit.Caller{Task: remit.ID("T-" + task)}, Steps: req.Steps, Body: req.Order}
	res, err := h.pipeline().Complete(t.Context(), h.Gateway, remit.Permit{ID: "P-2"}, o, nil)
	if err != nil || res.Outcome != remit.Done {
		t.Fatal(res, err)
	}
}

// letGo tells whether an answer is no objection; what is not says why.
func letGo(t *testing.T, w *httptest.ResponseRecorder) (string, bool) {
	t.Helper()
	if w.Code == http.StatusNoContent && w.Header().Get("Remit-Hook") == NoObjection && w.Body.Len() == 0 {
		return "", true
	}
	var p remit.Problem
	if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || p.Detail == "" || p.Code == "" || w.Header().Get("Remit-Hook") != "" {
		t.Fatalf("it is answered %d %v %q", w.Code, w.Header(), w.Body)
	}
	return string(p.Code) + " " + p.Detail, false
}

const pre = "claude-code/PreToolUse"

func TestAnAllowIsNoObjectionAndNothingMore(t *testing.T) {
	h := newHouse()
	if why, ok := letGo(t, h.post("7", pre, claudeJSON("Bash", `{"command":"ls -l","description":"look"}`))); !ok {
		t.Fatal(why)
	}
	r := h.asked[0]
	if len(r.Steps) != 1 || r.Steps[0].Action != "tool.read" || r.Steps[0].Resource != "tool:local/shell" || r.Steps[0].Args.IsZero() || r.Gateway != Name {
		t.Fatalf("%+v", r)
	}
	if r.Tool.Server != "local" || r.Tool.Name != "shell" || r.Tool.Host != claudeCode || string(r.Tool.Arguments) != `{"command":"ls -l","cwd":"/w","host":"claude-code","shell":"bash","tool":"Bash","tree":"/w"}` {
		t.Fatalf("%+v %s", r.Tool, r.Tool.Arguments)
	}
	if strings.Contains(string(r.Order), "ls -l") || len(r.Order) > 1024 {
		t.Fatalf("the order holds the command: %s", r.Order)
	}
	if !strings.Contains(h.cards[0], "ls -l") || !strings.Contains(h.cards[0], "does not carry it out") {
		t.Fatal(h.cards[0])
	}
	if len(h.recorded) != 1 || h.recorded[0].Outcome != remit.Done || !strings.Contains(string(h.recorded[0].Receipt), "handed to the host") {
		t.Fatalf("%+v", h.recorded)
	}
}

func TestADenialHasItsCodeAndItsLesson(t *testing.T) {
	h := newHouse()
	h.verdict = remit.Deny
	why, ok := letGo(t, h.post("7", pre, claudeJSON("Bash", `{"command":"$X"}`)))
	if ok || !strings.Contains(why, "; seen in it: dynamic (write the command out") || !strings.HasPrefix(why, "OUT_OF_SCOPE denied: ") || !strings.Contains(why, "which goes through the gateway") || !strings.Contains(why, "remit why 41") {
		t.Fatal(why)
	}
	if len(h.recorded) != 0 {
		t.Fatal("an outcome is recorded")
	}
}

func TestWhatConcernsTheHostAloneIsNotAskedAbout(t *testing.T) {
	h := newHouse()
	h.verdict = remit.Deny
	for path, body := range map[string]string{
		"claude-code/SessionStart":    `{"session_id":"s","hook_event_name":"SessionStart"}`,
		pre:                           claudeJSON("TodoWrite", `{"todos":[]}`),
		"copilot/userPromptSubmitted": `{"cwd":"/w","prompt":"x"}`,
	} {
		if why, ok := letGo(t, h.post("7", path, body)); !ok || len(h.asked) > 0 {
			t.Errorf("%s: %s %v", path, why, h.asked)
		}
	}
	// But not from just anybody: the hook of an ended instance denies the prompt already.
	if why, ok := letGo(t, h.post("", "claude-code/SessionStart", `{"session_id":"s","hook_event_name":"SessionStart"}`)); ok || !strings.HasPrefix(why, "UNAUTHENTICATED") {
		t.Error(why)
	}
}

func TestAHeldCallWaitsAndPassesOnceItIsApproved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.verdict = remit.Hold
		go func() {
			time.Sleep(3 * time.Second)
			synctest.Wait() // the call waits by now
			h.approve(t, "7")
			h.status = remit.AccessUsed
			close(h.settled)
		}()
		began := time.Now()
		if why, ok := letGo(t, h.post("7", pre, claudeJSON("Bash", `{"command":"nc x"}`), "Prefer: wait=10")); !ok || time.Since(began) != 3*time.Second {
			t.Fatal(why, time.Since(began))
		}
	})
}

// The executor may take the order a moment after it was seen to be approved.
func TestThePassMayComeAMomentLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.verdict, h.status = remit.Hold, remit.AccessReserved
		close(h.settled)
		go func() {
			time.Sleep(time.Second)
			synctest.Wait() // the call waits by now
			h.approve(t, "7")
		}()
		if why, ok := letGo(t, h.post("7", pre, claudeJSON("Bash", `{"command":"nc x"}`), "Prefer: wait=10")); !ok {
			t.Fatal(why)
		}
	})
}

func TestWaitingEndsBeforeTheClientDoes(t *testing.T) {
	for prefer, want := range map[string]time.Duration{"wait=7": 7 * time.Second, "wait=9999": maxWait, "": defaultWait, "wait=-1": defaultWait, "wait=x": defaultWait, "wait=0": 0} {
		synctest.Test(t, func(t *testing.T) {
			h := newHouse()
			h.verdict = remit.Hold
			began := time.Now()
			why, ok := letGo(t, h.post("7", pre, claudeJSON("Bash", `{"command":"nc x"}`), "Prefer: "+prefer))
			if ok || time.Since(began) != want || !strings.HasPrefix(why, "IMPACT_HELD waiting for approval A-12 https://remit.example/a/A-12: ") || !strings.Contains(why, "the same call asked again passes once people approved") {
				t.Fatalf("%q after %s", why, time.Since(began))
			}
		})
	}
}

func TestARefusedCallIsDenied(t *testing.T) {
	for why, code := range map[string]string{"EXPIRED: its time is over": "EXPIRED", "VETOED: a person refused it": "VETOED", "": "VETOED", "x": "VETOED"} {
		h := newHouse()
		h.verdict, h.status, h.why = remit.Hold, remit.AccessVoid, why
		close(h.settled)
		if got, ok := letGo(t, h.post("7", pre, claudeJSON("Bash", `{"command":"nc x"}`))); ok || got != code+" A-12 was not approved, so the call is denied: "+why {
			t.Error(got)
		}
	}
}

// Another call of the same task may have used the approval: then this one is not let go, and does not wait for what never comes.
func TestAnApprovalThatWasUsedIsNoPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		h.verdict, h.status = remit.Hold, remit.AccessUsed
		close(h.settled)
		began := time.Now()
		if why, ok := letGo(t, h.post("7", pre, claudeJSON("Bash", `{"command":"nc x"}`))); ok || time.Since(began) > 0 {
			t.Fatal(why, time.Since(began))
		}
	})
}

// An approval is of one call: the same command in the same place, of the same host, in the same task, once.
func TestAPassIsForTheIdenticalCallOfTheTaskOnce(t *testing.T) {
	push := claudeJSON("Bash", `{"command":"nc x","description":"publish"}`)
	same := strings.Replace(strings.Replace(push, "publish", "once more", 1), "toolu_00", "toolu_01", 1)
	for name, c := range map[string]struct {
		task, path, body, header string
		passes                   bool
	}{
		"the same, worded anew": {"7", pre, same, "", true},
		"another task":          {"8", pre, same, "", false},
		"another command":       {"7", pre, strings.Replace(same, "nc x", "nc x -f", 1), "", false},
		"another place":         {"7", pre, strings.Replace(same, `"/w"`, `"/w/x"`, 1), "", false},
		"another work tree":     {"7", pre, same, "Remit-Tree: /", false},
		"another home":          {"7", pre, same, "Remit-Home: /x", false},
		"another shell":         {"7", pre, same, "Remit-Shell: zsh", false},
		"another host":          {"7", "codex/PreToolUse", same, "", false},
		"another tool":          {"7", pre, strings.Replace(same, `"Bash"`, `"PowerShell"`, 1), "", false},
		"out of the sandbox":    {"7", pre, strings.Replace(same, `"command"`, `"dangerouslyDisableSandbox":true,"command"`, 1), "", false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHouse()
				h.verdict = remit.Hold
				if _, ok := letGo(t, h.post("7", pre, push, "Prefer: wait=0")); ok {
					t.Fatal("it passes")
				}
				h.approve(t, "7")
				h.verdict = remit.Deny
				headers := []string(nil)
				if c.header != "" {
					headers = append(headers, c.header)
				}
				if _, ok := letGo(t, h.post(c.task, c.path, c.body, headers...)); ok != c.passes {
					t.Fatalf("it passes: %v", ok)
				}
				again := strings.Replace(same, "toolu_01", "toolu_02", 1)
				if _, ok := letGo(t, h.post("7", pre, again)); ok == c.passes {
					t.Fatalf("the second passes: %v", ok)
				}
				if _, ok := letGo(t, h.post("7", pre, strings.Replace(same, "toolu_01", "toolu_03", 1))); ok {
					t.Fatal("it passes more than once")
				}
			})
		})
	}
}

// What is written is part of the call that people approved.
func TestAPassBindsWhatIsWritten(t *testing.T) {
	h := newHouse()
	h.verdict = remit.Hold
	h.post("7", pre, claudeJSON("Write", `{"file_path":"/w/.envrc","content":"a"}`), "Prefer: wait=0")
	h.approve(t, "7")
	if _, ok := letGo(t, h.post("7", pre, claudeJSON("Write", `{"file_path":"/w/.envrc","content":"b"}`), "Prefer: wait=0")); ok {
		t.Fatal("other content passes")
	}
	if why, ok := letGo(t, h.post("7", pre, claudeJSON("Write", `{"content":"a","file_path":"/w/.envrc"}`), "Prefer: wait=0")); !ok {
		t.Fatal(why)
	}
}

// Hosts run a hook twice when it is registered twice.
func TestOneUseIsOneDecision(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHouse()
		ls := claudeJSON("Bash", `{"command":"ls"}`)
		n := func(want int, task, body string, headers ...string) {
			t.Helper()
			if why, ok := letGo(t, h.post(task, pre, body, headers...)); !ok || len(h.asked) != want {
				t.Fatalf("%s, %d decisions, want %d", why, len(h.asked), want)
			}
		}
		n(1, "7", ls)
		n(1, "7", ls)
		n(2, "7", strings.Replace(ls, "toolu_00", "toolu_01", 1))
		n(3, "7", strings.Replace(ls, `"f0"`, `"f1"`, 1))
		n(4, "7", strings.Replace(ls, `"ls"`, `"ls -l"`, 1)) // the same id, another command
		n(5, "8", ls)
		n(6, "7", ls, "Remit-Tree: /")
		time.Sleep(rememberFor)
		n(7, "7", ls)
		h.verdict = remit.Deny
		if _, ok := letGo(t, h.post("7", pre, claudeJSON("Bash", `{"command":"pwd"}`))); ok {
			t.Fatal("a denial is remembered as an allow")
		}
	})
	h := newHouse()
	for range 2 { // Gemini CLI gives no id: two calls are two calls
		h.post("7", "gemini/BeforeTool", geminiJSON("run_shell_command", `{"command":"ls"}`, ""))
	}
	if len(h.asked) != 2 {
		t.Fatalf("%d decisions", len(h.asked))
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var s seen
	now := time.Now()
	for i := range 2 * maxSeen {
		s.add(use{id: fmt.Sprint(i)}, now)
	}
	if n := len(s.young) + len(s.old); n > maxSeen || n < maxSeen/2 {
		t.Fatal(n)
	}
	if newest := (use{id: fmt.Sprint(2*maxSeen - 1)}); !s.before(newest, now) {
		t.Fatal("the newest is forgotten")
	}
}

// The canary is denied whatever the authority says, and its answer shows that the authority was asked.
func TestTheCanaryIsWrittenDownAndDenied(t *testing.T) {
	bodies := map[string]string{
		pre:                  `{"session_id":"remit-canary","transcript_path":"","cwd":"/","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"remit-canary"},"tool_use_id":"remit-canary"}`,
		"codex/PreToolUse":   `{"session_id":"remit-canary","turn_id":"0","transcript_path":"","cwd":"/","hook_event_name":"PreToolUse","model":"","permission_mode":"default","tool_name":"Bash","tool_input":{"command":"remit-canary"},"tool_use_id":"remit-canary"}`,
		"gemini/BeforeTool":  `{"session_id":"remit-canary","transcript_path":"","cwd":"/","hook_event_name":"BeforeTool","timestamp":"1970-01-01T00:00:00Z","tool_name":"run_shell_command","tool_input":{"command":"remit-canary"}}`,
		"copilot/preToolUse": `{"sessionId":"remit-canary","timestamp":0,"cwd":"/","toolName":"bash","toolArgs":{"command":"remit-canary"}}`,
	}
	for path, body := range bodies {
		for _, v := range []remit.Verdict{remit.Allow, remit.Hold, remit.Deny} {
			h := newHouse()
			h.verdict = v
			why, ok := letGo(t, h.post("7", path, body))
			if ok || !strings.Contains(why, "remit-canary reached the authority") || len(h.asked) != 1 || !h.asked[0].Advice || h.asked[0].Steps[0].Resource != "tool:local/canary" {
				t.Errorf("%s, %s: %s, %+v", path, v, why, h.asked)
			}
		}
		dead := newHouse()
		dead.err = remit.Errorf(remit.LedgerDown, "the log cannot be written")
		if why, ok := letGo(t, dead.post("7", path, body)); ok || strings.Contains(why, "reached") {
			t.Errorf("%s: %s", path, why)
		}
		if why, ok := letGo(t, newHouse().post("", path, body)); ok || strings.Contains(why, "reached") {
			t.Errorf("%s: %s", path, why)
		}
	}
}

func TestWhatFailsIsDenied(t *testing.T) {
	ls := claudeJSON("Bash", `{"command":"ls"}`)
	for name, c := range map[string]struct {
		task, path, body, header, want string
		err                            error
	}{
		"nobody":              {path: pre, body: ls, want: "UNAUTHENTICATED"},
		"the log is down":     {task: "7", path: pre, body: ls, err: remit.Errorf(remit.LedgerDown, "x"), want: "LEDGER_UNAVAILABLE"},
		"a fault":             {task: "7", path: pre, body: ls, err: errors.New("x"), want: "INTERNAL"},
		"no host":             {task: "7", path: "cursor/PreToolUse", body: ls, want: "NOT_FOUND"},
		"no event":            {task: "7", path: "claude-code", body: ls, want: "BAD_REQUEST"},
		"an event below":      {task: "7", path: pre + "/x", body: ls, want: "BAD_REQUEST"},
		"no JSON":             {task: "7", path: pre, body: "{", want: "BAD_REQUEST"},
		"too much":            {task: "7", path: pre, body: claudeJSON("Write", `{"file_path":"a","content":"`+strings.Repeat("x", MaxBody)+`"}`), want: "TOO_LARGE"},
		"a tree that is none": {task: "7", path: pre, body: ls, header: "Remit-Tree: w", want: "BAD_REQUEST"},
		"a home with a zero":  {task: "7", path: pre, body: ls, header: "Remit-Home: /h%00", want: "BAD_REQUEST"},
		"a front of nothing":  {task: "7", path: pre, body: ls, header: "Remit-Front: remit,", want: "BAD_REQUEST"},
		"a long command":      {task: "7", path: pre, body: claudeJSON("Bash", `{"command":"`+strings.Repeat("(", maxCommand+1)+`"}`), want: "TOO_LARGE_TO_JUDGE"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse()
			h.err = c.err
			header := "X: y"
			if c.header != "" {
				header = c.header
			}
			if why, ok := letGo(t, h.post(c.task, c.path, c.body, header)); ok || !strings.HasPrefix(why, c.want+" ") || len(h.recorded) > 0 {
				t.Fatal(why)
			}
		})
	}
	w := httptest.NewRecorder()
	h := newHouse()
	r := httptest.NewRequest(http.MethodGet, "/v1/orgs/acme/hook/"+pre, nil)
	r.Header.Set("Authorization", "7")
	h.Handler(h.pipeline()).ServeHTTP(w, r)
	if _, ok := letGo(t, w); ok {
		t.Fatal("a GET passes")
	}
}

// A card shows what it can, and says what it does not show.
func TestACardShowsTheWholeCommand(t *testing.T) {
	h := newHouse()
	long := strings.Repeat("a ", maxCommand/2-10) + "; rm x"
	h.post("7", pre, claudeJSON("Bash", `{"command":"`+long+`"}`))
	h.post("7", pre, claudeJSON("Write", `{"file_path":"/w/a","content":"`+strings.Repeat("x", 100<<10)+`"}`))
	var shown remit.Shown
	if err := json.Unmarshal([]byte(h.cards[1]), &shown); err != nil || !shown.Cut || !strings.Contains(shown.Diff, "SHA-256") || len(shown.Diff) > 32<<10 {
		t.Fatal(err, shown.Cut, len(shown.Diff))
	}
	shown = remit.Shown{}
	if err := json.Unmarshal([]byte(h.cards[0]), &shown); err != nil || shown.Cut || !strings.HasSuffix(shown.Diff, "; rm x\n") || len(shown.Diff) > 32<<10 {
		t.Fatal(err, shown.Cut, len(shown.Diff))
	}
	if r := h.asked[0]; !r.Tool.Truncated || r.Tool.Arguments != nil {
		t.Fatal("policies see half of it")
	}
}

func TestNothingIsReconciled(t *testing.T) {
	if res := newHouse().Reconcile(t.Context(), remit.Order{}); res.Outcome != remit.Ambiguous {
		t.Fatal(res)
	}
}
