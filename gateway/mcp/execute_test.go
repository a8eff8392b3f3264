package mcp_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway"
	"github.com/remit-dev/remit/gateway/mcp"
)

// ask is the order of a call that was held.
func (o *office) ask(tool string) remit.Order {
	o.t.Helper()
	o.verdicts[tool] = held
	o.post("1", "/forge", "tools/call", strings.Replace(merge, "merge", tool, 1), `{}`)
	r := o.payloads[remit.ID("A-1")]
	return remit.Order{Caller: r.Caller, Steps: r.Steps, Body: r.Order, Attempt: "X-1"}
}

func TestWhatBecameOfACallIsFoundOutAsItsToolDeclares(t *testing.T) {
	for _, c := range []struct {
		name string
		tool remit.Tool
		step remit.Action
		want remit.Outcome
		yet  bool
	}{
		{"once", remit.Tool{Name: "forge/merge", Recovery: remit.RecoverOnce}, "tool.call", remit.Ambiguous, false},
		{"nothing declared", remit.Tool{Name: "forge/other"}, "tool.call", remit.Ambiguous, false},
		{"cas, and the server wants a credential", remit.Tool{Name: "forge/merge", Recovery: remit.RecoverCAS}, "tool.call", remit.Ambiguous, false},
		{"a read", remit.Tool{Name: "forge/merge"}, "tool.read", remit.NotApplied, false},
		{"a probe that sees it", remit.Tool{Name: "forge/merge", Recovery: remit.RecoverProbe,
			Probe: &remit.ToolProbe{Tool: "echo", Arguments: map[string]string{"text": "{text}"}, Contains: "echo"}}, "tool.call", remit.Done, false},
		{"a probe that does not see it", remit.Tool{Name: "forge/merge", Recovery: remit.RecoverProbe,
			Probe: &remit.ToolProbe{Tool: "echo", Arguments: map[string]string{"text": "{text}"}, Contains: "is {text}"}}, "tool.call", remit.NotApplied, true},
		{"a probe that fails", remit.Tool{Name: "forge/merge", Recovery: remit.RecoverProbe, Probe: &remit.ToolProbe{Tool: "fail", Contains: "fail"}}, "tool.call", remit.Ambiguous, true},
		{"a probe without its argument", remit.Tool{Name: "forge/merge", Recovery: remit.RecoverProbe, Probe: &remit.ToolProbe{Tool: "echo", Contains: "{gone}"}}, "tool.call", remit.Ambiguous, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			o := newOffice(t, time.Nanosecond, newest)
			ord := o.ask("merge")
			ord.Steps[0].Action = c.step
			o.tools = []remit.Tool{c.tool}
			res := o.gw.Orders().Reconcile(t.Context(), ord)
			if res.Outcome != c.want || res.Yet != c.yet {
				t.Fatalf("%+v", res)
			}
			if strings.Contains(strings.Join(o.calls, "\n"), "merge") {
				t.Fatalf("the call was made: %q", o.calls)
			}
		})
	}
}

func TestAProbeThatReachesNobodyAsksAgain(t *testing.T) {
	o := newOffice(t, time.Nanosecond, newest)
	ord := o.ask("merge")
	o.tools = []remit.Tool{{Name: "forge/merge", Recovery: remit.RecoverProbe, Probe: &remit.ToolProbe{Tool: "echo", Contains: "echo"}}}
	o.up.Close()
	if res := o.gw.Orders().Reconcile(t.Context(), ord); res.Outcome != remit.Ambiguous || !res.Yet {
		t.Fatalf("%+v", res)
	}
}

func TestAStoredCallThatCannotBeReadIsNotMade(t *testing.T) {
	o := newOffice(t, 0, newest)
	for _, body := range []string{"", "{}", `{"server":"gone","method":"tools/call"}`, `{"server":"forge","method":"tools/call","x":1}`} {
		if res := o.gw.Orders().Forward(t.Context(), remit.Order{Body: []byte(body)}, upstreamSecret{}, nil); res.Outcome != remit.NotApplied || len(o.calls) != 0 {
			t.Errorf("%q: %+v", body, res)
		}
	}
}

// A server may echo what it was sent, also in an error; nobody gets to see the credential.
func TestAStoredAnswerHasNoCredential(t *testing.T) {
	o := newOffice(t, time.Nanosecond, newest)
	ord := o.ask("merge")
	broken := func(w http.ResponseWriter) bool {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":"remit-1","result":{"supportedVersions":["2026-07-28"],"tools":[],"content":[{"type":"text","text":"<Bearer upstream-secret> upstream-secret"}]}}`))
		return true
	}
	o.broken.Store(&broken)
	if res := o.gw.Orders().Forward(t.Context(), ord, upstreamSecret{}, nil); res.Outcome != remit.Done {
		t.Fatalf("%+v %s", res, res.Receipt)
	}
	o.broken.Store(nil)
	if a := o.post("1", "/forge", "tools/call", merge, `{}`); !strings.Contains(a.text(), "<") || strings.Contains(a.text(), "upstream-secret") {
		t.Fatalf("%+v", a)
	}
}

// A server cannot use a call that people approved to ask the agent's client for something.
func TestAStoredAnswerAsksForNothing(t *testing.T) {
	o := newOffice(t, time.Nanosecond, newest)
	ord := o.ask("merge")
	broken := func(w http.ResponseWriter) bool {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write([]byte(`{"jsonrpc":"2.0","id":"remit-1","result":{"supportedVersions":["2026-07-28"],"tools":[],"resultType":"input_required","inputRequests":{"a":{"method":"sampling/createMessage"}}}}`))
		return true
	}
	o.broken.Store(&broken)
	o.gw.Orders().Forward(t.Context(), ord, upstreamSecret{}, nil)
	o.broken.Store(nil)
	if a := o.post("1", "/forge", "tools/call", merge, `{}`); a.Error == nil || len(a.Result.Inputs) != 0 {
		t.Fatalf("%+v", a)
	}
}

// nobody reaches a server that has no tools of its own here: several servers, some of which fail, still make one list.
type several struct{ *office }

func (s several) Reach(context.Context, remit.Caller) ([]string, error) {
	return []string{"a__b", "ends_", "forge", "gone"}, nil
}

// unreached is a task whose grant names nothing of any server.
type unreached struct{ *office }

func (unreached) Reach(context.Context, remit.Caller) ([]string, error) { return nil, nil }

func TestAServerThatIsNotReachedIsNotThere(t *testing.T) {
	o := newOffice(t, 0, newest)
	front := httptest.NewServer(mcp.New(mcp.Config{Prefix: prefix, Servers: unreached{o}, Holds: o}).Handler(o.pipe))
	defer front.Close()
	o.front = front
	if a := o.post("1", "", "tools/call", strings.Replace(merge, "merge", "forge__merge", 1), `{}`); a.Error == nil || a.Error.Code != -32602 || len(o.decided) != 0 {
		t.Fatalf("%+v, %d decisions", a, len(o.decided))
	}
}

func TestOneListLeavesOutWhatCannotBeListed(t *testing.T) {
	o := newOffice(t, 0, newest)
	gw := mcp.New(mcp.Config{Prefix: prefix, Servers: several{o}, Holds: o})
	front := httptest.NewServer(gw.Handler(o.pipe))
	defer front.Close()
	o.front = front
	o.verdicts["-"] = remit.Decision{Verdict: remit.Allow}
	var m struct {
		Result struct {
			Tools []struct{ Name string }      `json:"tools"`
			Meta  map[string]map[string]string `json:"_meta"`
			Type  string                       `json:"resultType"`
			Scope string                       `json:"cacheScope"`
		} `json:"result"`
	}
	r, _ := http.NewRequest("POST", front.URL+prefix, strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	r.Header = http.Header{"Authorization": {"Bearer token-of-1"}, "Content-Type": {"application/json"}}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&m); err != nil {
		t.Fatal(err)
	}
	left := m.Result.Meta["io.github.remit-dev/left-out"]
	if len(m.Result.Tools) != 4 || m.Result.Tools[0].Name != "forge__echo" || len(left) != 3 || !strings.Contains(left["gone"], "UNKNOWN_RESOURCE") || left["a__b"] == "" || left["ends_"] == "" {
		t.Fatalf("%+v", m)
	}
	// What is denied of a server is none of its tools.
	o.verdicts["-"] = remit.Decision{Verdict: remit.Deny, Code: remit.OutOfScope, Sentence: "no"}
	if a := o.post("1", "", "tools/list", `"x":1`, `{}`); a.Error != nil {
		t.Fatalf("%+v", a)
	} else if b, _ := json.Marshal(a); strings.Contains(string(b), "forge__") {
		t.Fatalf("%s", b)
	}
	for _, tool := range []string{"a__b__echo", "ends___echo", "ends__echo", "echo", "forge__", "__echo", "gone__echo"} {
		if a := o.post("1", "", "tools/call", `"name":"`+tool+`","arguments":{}`, `{}`); a.Error == nil || a.Error.Code != -32602 || len(o.calls) != 0 {
			t.Errorf("%s: %+v", tool, a)
		}
	}
	for _, method := range []string{"resources/list", "prompts/list", "nonsense"} {
		if a := o.post("1", "", method, `"x":1`, `{}`); a.status != 404 || a.Error == nil || a.Error.Code != -32601 {
			t.Errorf("%s: %+v", method, a)
		}
	}
}

var _ gateway.Credential = upstreamSecret{}
