package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/remit-dev/remit"
)

// said is an answer to a message that a test writes itself.
type said struct {
	status int
	header http.Header
	Result struct {
		Type    string `json:"resultType"`
		State   string `json:"requestState"`
		IsError bool   `json:"isError"`
		Content []struct {
			Text string `json:"text"`
		} `json:"content"`
		Inputs map[string]struct {
			Method string `json:"method"`
			Params struct {
				Mode, URL, Message string
			} `json:"params"`
		} `json:"inputRequests"`
		ID     string          `json:"taskId"`
		Status string          `json:"status"`
		Poll   int             `json:"pollIntervalMs"`
		Result json.RawMessage `json:"result"`
		Error  json.RawMessage `json:"error"`
	} `json:"result"`
	Error *struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	} `json:"error"`
}

// post sends a message of the stateless protocol: method with the members of params, from a client with capabilities.
func (o *office) post(task, path, method, params, capabilities string) (a said) {
	o.t.Helper()
	name := ""
	var p struct{ Name, TaskID string }
	_ = json.Unmarshal([]byte("{"+params+"}"), &p)
	name = p.Name
	body := `{"jsonrpc":"2.0","id":7,"method":"` + method + `","params":{` + params + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",` +
		`"io.modelcontextprotocol/clientCapabilities":` + capabilities + `}}}`
	r, err := http.NewRequestWithContext(o.t.Context(), http.MethodPost, o.front.URL+prefix+path, strings.NewReader(body))
	if err != nil {
		o.t.Fatal(err)
	}
	for k, v := range map[string]string{"Authorization": "Bearer token-of-" + task, "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"MCP-Protocol-Version": newest, "Mcp-Method": method, "Mcp-Name": name, "Mcp-Param-Text": "x"} {
		if v != "" {
			r.Header.Set(k, v)
		}
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		o.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	a.status, a.header = resp.StatusCode, resp.Header
	text := string(b)
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		text = text[strings.LastIndex(text, "data: ")+6:]
	}
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		o.t.Fatalf("%q: %v", b, err)
	}
	return a
}

const (
	elicits = `{"elicitation":{"url":{}}}`
	tasks   = `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`
	merge   = `"name":"merge","arguments":{"text":"x"}`
)

func (a said) text() string {
	if len(a.Result.Content) == 0 {
		return ""
	}
	return a.Result.Content[0].Text
}

// state is the JSON of a retry with a state.
func state(s, action string) string {
	b, _ := json.Marshal(s)
	return `,"requestState":` + string(b) + `,"inputResponses":{"remit":{"action":"` + action + `"}}`
}

func TestAClientThatCanShowsThePage(t *testing.T) {
	for _, path := range []string{"/forge", ""} {
		o := newOffice(t, time.Hour, newest)
		o.verdicts["merge"] = held
		shown := make(chan string, 1)
		c := o.client("1", newest, path, &sdk.ClientOptions{Capabilities: &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{URL: &sdk.URLElicitationCapabilities{}}},
			ElicitationHandler: func(_ context.Context, r *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
				shown <- r.Params.URL
				go o.approve(o.opened())
				return &sdk.ElicitResult{Action: "accept"}, nil
			}})
		tool := "merge"
		if path == "" {
			tool = "forge__merge"
		}
		r, text := call(t, c, tool, "x")
		if url := <-shown; url != "https://remit.example/approve/A-1" || r.IsError || text != "merge 1" {
			t.Fatalf("%q %+v %q", url, r, text)
		}
		calls := 0
		for _, d := range o.decided {
			if d.Tool.Method == "tools/call" {
				calls++
			}
		}
		if calls != 1 {
			t.Fatalf("%d decisions on one call", calls)
		}
	}
}

func TestWhatAClientBringsBackIsGoodForItsTaskAndCallOnly(t *testing.T) {
	o := newOffice(t, time.Nanosecond, newest)
	o.verdicts["merge"] = held
	asked := o.post("1", "/forge", "tools/call", merge, elicits)
	s := asked.Result.State
	if asked.Result.Type != "input_required" || asked.Result.Inputs["remit"].Method != "elicitation/create" || asked.Result.Inputs["remit"].Params.Mode != "url" ||
		asked.Result.Inputs["remit"].Params.URL != "https://remit.example/approve/A-1" || !strings.HasPrefix(s, "remit1.") {
		t.Fatalf("%+v", asked)
	}
	if again := o.post("1", "/forge", "tools/call", merge+state(s, "accept"), elicits); again.Result.Type != "input_required" || again.Result.State != s {
		t.Fatalf("it is not asked again: %+v", again)
	}
	o.verdicts["merge"] = held
	o.approve("A-1")
	decided := len(o.decided)
	other := o.post("2", "/forge", "tools/call", merge+state(s, "accept"), elicits)
	flipped := []byte(s)
	flipped[20] ^= 1
	for name, a := range map[string]said{
		"another task":       other,
		"another call":       o.post("1", "/forge", "tools/call", strings.Replace(merge, `"x"`, `"y"`, 1)+state(s, "accept"), elicits),
		"another tool":       o.post("1", "/forge", "tools/call", strings.Replace(merge, "merge", "echo", 1)+state(s, "accept"), elicits),
		"a changed state":    o.post("1", "/forge", "tools/call", merge+state(string(flipped), "accept"), elicits),
		"a state cut off":    o.post("1", "/forge", "tools/call", merge+state(s[:30], "accept"), elicits),
		"an empty state":     o.post("1", "/forge", "tools/call", merge+state("remit1.", "accept"), elicits),
		"a state for a task": o.post("1", "/forge", "tasks/get", `"taskId":"`+s+`"`, tasks),
	} {
		if a.status != 400 || a.Error == nil || a.Error.Code != -32602 {
			t.Errorf("%s is answered %d %+v", name, a.status, a.Error)
		}
	}
	if len(o.decided) != decided || len(o.calls) != 1 {
		t.Fatalf("%d decisions, the server got %q", len(o.decided)-decided, o.calls)
	}
	if a := o.post("1", "/forge", "tools/call", merge+state(s, "accept"), elicits); a.text() != "merge 1" {
		t.Fatalf("%+v", a)
	}
	if a := o.post("1", "/forge", "tools/call", merge+state(s, "accept"), elicits); !a.Result.IsError || !strings.Contains(a.text(), "was collected") || len(o.calls) != 1 {
		t.Fatalf("a state is good twice: %+v, the server got %q", a, o.calls)
	}
}

func TestAStateOfTheServersIsNotRemits(t *testing.T) {
	o := newOffice(t, time.Nanosecond, newest)
	if a := o.post("1", "/forge", "tools/call", merge+`,"requestState":"its own"`, elicits); a.text() != "merge 1" {
		t.Fatalf("%+v", a)
	}
}

func TestAHeldCallBecomesATask(t *testing.T) {
	for _, path := range []string{"/forge", ""} {
		o := newOffice(t, time.Hour, newest)
		o.verdicts["merge"], o.verdicts["fail"] = held, held
		params := merge
		if path == "" {
			params = strings.Replace(merge, "merge", "forge__merge", 1)
		}
		made := o.post("1", path, "tools/call", params, tasks)
		id := `"taskId":"` + made.Result.ID + `"`
		if made.Result.Type != "task" || made.Result.Status != "working" || made.Result.Poll == 0 {
			t.Fatalf("%+v", made)
		}
		get := func(task, capabilities string) said { return o.post(task, path, "tasks/get", id, capabilities) }
		if a := get("1", tasks); a.Result.Status != "working" || a.Result.Type != "complete" || a.Result.ID != made.Result.ID {
			t.Fatalf("%+v", a)
		}
		if a := get("2", tasks); a.status != 400 || a.Error == nil || a.Error.Code != -32602 {
			t.Fatalf("another task's: %+v", a)
		}
		if a := get("1", elicits); a.status != 400 || a.Error == nil || a.Error.Code != -32021 {
			t.Fatalf("a client that knows no tasks: %+v", a)
		}
		if a := o.post("1", path, "tasks/cancel", id, tasks); a.Result.Type != "complete" || a.Error != nil {
			t.Fatalf("%+v", a)
		}
		o.approve("A-1")
		for range 3 { // a task that is done can be asked about more than once
			if a := get("1", tasks); a.Result.Status != "completed" || !strings.Contains(string(a.Result.Result), "merge 1") {
				t.Fatalf("%+v", a)
			}
		}
		if a := o.post("1", path, "tools/call", params, tasks); a.Result.Type != "task" || a.Result.ID == made.Result.ID {
			t.Fatalf("what a task has told is told to another call: %+v", a)
		}
	}
}

func TestATaskThatIsRefusedIsDone(t *testing.T) {
	o := newOffice(t, time.Hour, newest)
	o.verdicts["merge"] = held
	id := `"taskId":"` + o.post("1", "/forge", "tools/call", merge, tasks).Result.ID + `"`
	o.set("A-1", remit.AccessVoid)
	a := o.post("1", "/forge", "tasks/get", id, tasks)
	if a.Result.Status != "completed" || !strings.Contains(string(a.Result.Result), `"isError":true`) || !strings.Contains(string(a.Result.Result), "VETOED") {
		t.Fatalf("%+v", a)
	}
}

func TestAServerThatBreaksOffLeavesNobodyInDoubtOfTheDoubt(t *testing.T) {
	o := newOffice(t, time.Nanosecond, newest)
	o.verdicts["merge"] = held
	o.post("1", "/forge", "tools/call", merge, `{}`)
	broken := func(http.ResponseWriter) bool { panic(http.ErrAbortHandler) }
	o.broken.Store(&broken)
	if res := o.approve("A-1"); res.Outcome != remit.Ambiguous || res.Code != remit.UpstreamDown || strings.Contains(string(res.Receipt), "upstream-secret") {
		t.Fatalf("%+v %s", res, res.Receipt)
	}
	o.broken.Store(nil)
	if a := o.post("1", "/forge", "tools/call", merge, `{}`); a.Error == nil || !strings.Contains(a.Error.Message, "nobody knows") {
		t.Fatalf("%+v", a)
	}
}

func TestWhatAServerRefusesToBeginIsTriedAgain(t *testing.T) {
	o := newOffice(t, time.Nanosecond, newest)
	o.verdicts["merge"] = held
	o.post("1", "/forge", "tools/call", merge, `{}`)
	broken := func(w http.ResponseWriter) bool {
		http.Error(w, "upstream-secret is not known", http.StatusUnauthorized)
		return true
	}
	o.broken.Store(&broken)
	if res := o.approve("A-1"); res.Outcome != remit.NotApplied || strings.Contains(string(res.Receipt), "upstream-secret") {
		t.Fatalf("%+v %s", res, res.Receipt)
	}
	o.broken.Store(nil)
	if a := o.post("1", "/forge", "tools/call", merge, `{}`); a.Error != nil || !strings.Contains(a.text(), "Held by Remit") { // nothing is its answer yet
		t.Fatalf("%+v", a)
	}
	o.up.Close()
	if res := o.approve("A-1"); res.Outcome != remit.NotApplied {
		t.Fatalf("%+v %s", res, res.Receipt)
	}
}

func TestAPersonWhoDeclinesIsNotAskedAgain(t *testing.T) {
	o := newOffice(t, time.Hour, newest)
	o.verdicts["merge"] = held
	s := o.post("1", "/forge", "tools/call", merge, elicits).Result.State
	for _, action := range []string{"decline", "cancel"} {
		if a := o.post("1", "/forge", "tools/call", merge+state(s, action), elicits); !a.Result.IsError || !strings.Contains(a.text(), "Held by Remit as A-1") {
			t.Fatalf("%s: %+v", action, a)
		}
	}
	o.approve("A-1")
	if a := o.post("1", "/forge", "tools/call", merge+state(s, "decline"), elicits); a.text() != "merge 1" {
		t.Fatalf("%+v", a)
	}
}

// A client of a session shows the page when a call fails for want of that, and makes the call again.
func TestAClientOfASessionIsSentToThePageOnce(t *testing.T) {
	o := newOffice(t, time.Nanosecond, old)
	o.verdicts["merge"] = held
	c := o.client("1", old, "/forge", &sdk.ClientOptions{Capabilities: &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{URL: &sdk.URLElicitationCapabilities{}}},
		ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return nil, errors.New("not asked by itself")
		}})
	params := &sdk.CallToolParams{Name: "merge", Arguments: map[string]any{"text": "x"}}
	_, err := c.CallTool(t.Context(), params)
	var e *jsonrpc.Error
	if !errors.As(err, &e) || e.Code != sdk.CodeURLElicitationRequired || !strings.Contains(e.Message, "Held by Remit as A-1") {
		t.Fatalf("%v", err)
	}
	var data struct {
		Elicitations []sdk.ElicitParams `json:"elicitations"`
	}
	if err := json.Unmarshal(e.Data, &data); err != nil || len(data.Elicitations) != 1 || data.Elicitations[0].Mode != "url" || data.Elicitations[0].ElicitationID == "" ||
		data.Elicitations[0].URL != "https://remit.example/approve/A-1" {
		t.Fatalf("%s", e.Data)
	}
	if r, text := call(t, c, "merge", "x"); !r.IsError || !strings.Contains(text, "Held by Remit as A-1") {
		t.Fatalf("it is sent in circles: %+v", r)
	}
	o.approve("A-1")
	if r, text := call(t, c, "merge", "x"); r.IsError || text != "merge 1" {
		t.Fatalf("%+v %q", r, text)
	}
}

// Some clients that show pages cancel when nobody looks, and never make the call again: people get their time before that.
func TestAClientOfASessionIsNotSentToAPageThatIsOver(t *testing.T) {
	o := newOffice(t, time.Hour, old)
	o.verdicts["merge"] = held
	c := o.client("1", old, "/forge", &sdk.ClientOptions{Capabilities: &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{URL: &sdk.URLElicitationCapabilities{}}},
		ElicitationHandler: func(context.Context, *sdk.ElicitRequest) (*sdk.ElicitResult, error) {
			return &sdk.ElicitResult{Action: "cancel"}, nil
		}})
	go func() { o.approve(o.opened()) }()
	if r, text := call(t, c, "merge", "x"); r.IsError || text != "merge 1" {
		t.Fatalf("%+v %q", r, text)
	}
}
