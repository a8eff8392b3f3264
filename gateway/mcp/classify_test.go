package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/naming"
)

// plainServer is a server of tools that answers lists, page by page, in memory.
type plainServer struct {
	tools atomic.Pointer[[]string] // pages
	asked atomic.Int64
	auth  string
}

func (p *plainServer) says(pages ...string) { p.tools.Store(&pages) }

func (p *plainServer) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	var m struct {
		ID     json.RawMessage `json:"id"`
		Method string          `json:"method"`
		Params struct {
			Cursor string `json:"cursor"`
		} `json:"params"`
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, err
	}
	result := `{"supportedVersions":["2026-07-28"]}`
	if m.Method == "tools/list" {
		p.asked.Add(1)
		p.auth = r.Header.Get("Authorization")
		pages := *p.tools.Load()
		result = pages[min(len(m.Params.Cursor), len(pages)-1)]
	}
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":` + result + `}`))}, nil
}

// judged is a gateway with one server, hub, of which tools are declared.
type judged struct {
	*Gateway
	server Server
	up     *plainServer
	may    func(remit.Step) bool
	kept   map[remit.Digest][]byte
}

func (j *judged) Server(context.Context, string) (Server, error)        { return j.server, nil }
func (j *judged) Reach(context.Context, remit.Caller) ([]string, error) { return []string{"hub"}, nil }
func (j *judged) Payload(b []byte) (remit.Payload, error)               { return remit.Payload{Body: b}, nil }
func (j *judged) Definition(_ context.Context, d remit.Digest) ([]byte, bool) {
	b, ok := j.kept[d]
	return b, ok
}
func (j *judged) Keep(_ context.Context, plain []byte) error {
	j.kept[remit.Hash(plain)] = plain
	return nil
}
func (j *judged) May(_ context.Context, _ remit.Caller, st remit.Step) *remit.Error {
	if j.may == nil || j.may(st) {
		return nil
	}
	return remit.Errorf(remit.OutOfScope, "%s is not in it", st.Resource)
}

const (
	readIssue = `{"name":"read_issue","description":"Reads <b> an issue","inputSchema":{"type":"object"}}`
	comment   = `{ "name":"comment", "description":"Comments","inputSchema":{"type":"object"},"x-own":[1.50] }`
)

func pinOf(t testing.TB, definition string) remit.Digest {
	t.Helper()
	d, err := envelope.Digest([]byte(definition))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newJudged(t testing.TB, tools ...remit.Tool) *judged {
	j := &judged{up: &plainServer{}, kept: map[remit.Digest][]byte{}}
	j.up.says(`{"tools":[` + readIssue + `,` + comment + `],"resultType":"complete"}`)
	if tools == nil {
		on := []remit.ToolStep{{Action: "issue.read", Resource: "repo:forge/{owner}/{repo}"}}
		tools = []remit.Tool{{Name: "hub/read_issue", Impact: "read", Pin: pinOf(t, readIssue), Steps: on},
			{Name: "hub/comment", Impact: "write", Pin: pinOf(t, comment)}, {Name: "hub/-/**", Impact: "read"}, {Name: "hub/-/prompts/*", Impact: "write"}}
	}
	j.server = Server{Name: "hub", URL: "http://127.0.0.1:1/mcp", Transport: j.up, Tools: tools,
		Observer: func(r *http.Request) error { r.Header.Set("Authorization", "Bearer observer"); return nil }}
	j.Gateway = New(Config{Servers: j, Definitions: j, Prefix: "/v1/orgs/acme/mcp"})
	return j
}

// call is what a client's message is taken for.
func (j *judged) call(t testing.TB, method, params string) *call {
	t.Helper()
	m, err := envelope.FromClient([]byte(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`))
	if err != nil {
		t.Fatal(err)
	}
	c := &call{caller: remit.Caller{Instance: "I-1", Agent: "coder", Task: "T-1"}, server: j.server, version: envelope.Stateless, id: m.ID, method: m.Method, params: m.Params, raw: m.Raw}
	if err := c.understand(m); err != nil {
		t.Fatal(err)
	}
	return c
}

func (j *judged) judge(t testing.TB, method, params string) (remit.Request, string, error) {
	t.Helper()
	r, payloads, err := j.Gateway.judge(t.Context(), j.call(t, method, params))
	var shown remit.Shown
	if len(payloads) == 1 {
		if err := json.Unmarshal(payloads[0].Body, &shown); err != nil {
			t.Fatal(err)
		}
	}
	return r, shown.Diff, err
}

func TestACallIsTheStepsThatAreDeclared(t *testing.T) {
	j := newJudged(t)
	for _, c := range []struct{ method, params, want string }{
		{"tools/call", `{"name":"read_issue","arguments":{"owner":"acme","repo":"pay"}}`, "tool.read tool:hub/read_issue, issue.read repo:forge/acme/pay"},
		{"tools/call", `{"name":"comment","arguments":{}}`, "tool.write tool:hub/comment"},
		{"tools/call", `{"name":"other"}`, "tool.call tool:hub/other"},
		{"tools/call", `{"name":"-"}`, "tool.call tool:hub/%2D"},
		{"tools/call", `{"name":"a/b c"}`, "tool.call tool:hub/a%2Fb%20c"},
		{"resources/read", `{"uri":"file:///a/b"}`, "tool.read tool:hub/-/resources/file%3A%2F%2F%2Fa%2Fb"},
		{"resources/subscribe", `{"uri":"file:///a"}`, "tool.read tool:hub/-/resources/file%3A%2F%2F%2Fa"},
		{"prompts/get", `{"name":"review"}`, "tool.write tool:hub/-/prompts/review"},
		{"prompts/get", `{"name":".."}`, "tool.write tool:hub/-/prompts/%2E%2E"},
		{"completion/complete", `{"ref":{}}`, "tool.read tool:hub/-/methods/completion%2Fcomplete"},
		{"tasks/get", `{"taskId":"1"}`, "tool.read tool:hub/-/methods/tasks%2Fget"},
		{"tasks/list", `{}`, "tool.read tool:hub/-/methods/tasks%2Flist"},
		{"hub/special", `{}`, "tool.read tool:hub/-/methods/hub%2Fspecial"},
		{"initialize", `{}`, "tool.list tool:hub/-"}, {"server/discover", `{}`, "tool.list tool:hub/-"}, {"tools/list", `{}`, "tool.list tool:hub/-"},
		{"prompts/list", `{}`, "tool.list tool:hub/-"}, {"resources/list", `{}`, "tool.list tool:hub/-"}, {"resources/templates/list", `{}`, "tool.list tool:hub/-"},
	} {
		r, _, err := j.judge(t, c.method, c.params)
		var got []string
		for _, st := range r.Steps {
			got = append(got, string(st.Action)+" "+string(st.Resource))
		}
		if err != nil || strings.Join(got, ", ") != c.want || r.Tool == nil || "tool:hub/"+r.Tool.Name != string(r.Steps[0].Resource) || r.Tool.Method != c.method ||
			r.Steps[0].Args != remit.ToolDigest(c.method, r.Tool.Arguments) {
			t.Errorf("%s %s: %q %+v, %v; want %q", c.method, c.params, got, r.Tool, err, c.want)
		}
	}
	c := j.call(t, "sampling/createMessage", `{"messages":[]}`)
	c.asked = true
	r, payloads, err := j.Gateway.judge(t.Context(), c)
	if err != nil || r.Steps[0].Resource != "tool:hub/-/requests/sampling%2FcreateMessage" || !strings.Contains(string(payloads[0].Body), "which the server hub asks of the agent") {
		t.Fatalf("%+v %s %v", r, payloads, err)
	}
}

func TestWhatNobodyHasDeclaredIsPrivilegedOrNoMethod(t *testing.T) {
	j := newJudged(t, remit.Tool{Name: "hub/read_issue", Impact: "read"})
	for _, c := range []struct{ method, params string }{{"tools/call", `{"name":"comment"}`}, {"resources/read", `{"uri":"file:///a"}`}, {"prompts/get", `{"name":"x"}`},
		{"logging/setLevel", `{"level":"debug"}`}, {"tasks/cancel", `{"taskId":"1"}`}, {"subscriptions/listen", `{"notifications":{}}`}} {
		if r, _, err := j.judge(t, c.method, c.params); err != nil || r.Steps[0].Action != "tool.call" {
			t.Errorf("%s: %+v, %v", c.method, r.Steps, err)
		}
	}
	for _, method := range []string{"tools/Call", "hub/special", "resources/list/x", "roots/list", "sampling/createMessage", "elicitation/create"} {
		if r, _, err := j.judge(t, method, `{}`); codeOf(err) != remit.UnknownAction {
			t.Errorf("%s: %+v, %v", method, r.Steps, err)
		}
	}
}

func TestTheRecordWithinAllOthersCounts(t *testing.T) {
	tools := []remit.Tool{{Name: "hub/**", Impact: "read"}, {Name: "hub/a", Impact: "write"}, {Name: "hub/*"}, {Name: "hub/-/resources/*", Impact: "write"}}
	for name, want := range map[string]string{"hub/a": "hub/a", "hub/b": "hub/*", "hub/-/resources/x": "hub/-/resources/*", "hub/-/prompts/x": "hub/**", "other/a": ""} {
		for range 2 {
			if got, ok := naming.Record(tools, name); got.Name != want || ok != (want != "") {
				t.Errorf("%s: %q", name, got.Name)
			}
			slices.Reverse(tools)
		}
	}
}

func TestAURIThatCouldBeAnotherIsRefused(t *testing.T) {
	j := newJudged(t)
	for _, uri := range []string{"file:///a/../b", "file:///a/..", "..", "file:..", "file:///a/./b", "file:///a/%2e%2e/b", "file:///a/%2E./b", "file:///a%2fb", "file:///a%2Fb", "file:///a%5cb", `file:///a\\b`,
		"file:///a%00", "file:///a%0ab", "file:///a%25%32%65", "file:///a%zz", "file:///a%2", "file:///a%", "file:///a b", "file:///ä", "FILE:///a", "File:///a", "/a/b", "a", ":a", "1:a", "file:///a?x=/../b", "file:///a#/../b",
		"file:///a;/../b", "file:///a\\u0000", "file:///a\\u202e", "x:" + strings.Repeat("a", 400)} {
		r, _, err := j.judge(t, "resources/read", `{"uri":"`+uri+`"}`)
		if code := codeOf(err); code != remit.BadRequest && code != remit.TooLargeToJudge {
			t.Errorf("%s: %+v, %v", uri, r.Steps, err)
		}
	}
	for _, uri := range []string{"file:///a..b", "file:///...", "repo://acme/pay/contents/a.b%20c", "demo://x?y=1#z", "urn:a:b"} {
		if _, _, err := j.judge(t, "resources/read", `{"uri":"`+uri+`"}`); err != nil {
			t.Errorf("%s: %v", uri, err)
		}
	}
}

// R6: people approve one call; what is asked again is that call, and whatever is another effect is not.
func TestTheSameCallIsTheSameRequest(t *testing.T) {
	j := newJudged(t)
	first, _, err := j.judge(t, "tools/call", `{"name":"comment","arguments":{"a":1,"b":"é"},"_meta":{"progressToken":1}}`)
	if err != nil {
		t.Fatal(err)
	}
	for params, same := range map[string]bool{
		`{"arguments":{"b":"\u00e9","a":1.0},"name":"comment"}`: true,
		`{"name":"comment","arguments":{"a":1,"b":"é"},"_meta":{"progressToken":"x","traceparent":"00-1","io.modelcontextprotocol/clientInfo":{}}}`: true,
		`{"name":"comment","arguments":{"a":1,"b":"é"},"requestState":"remit1.abc","inputResponses":{"remit":{"action":"accept"}}}`:                 true,
		`{"name":"comment","arguments":{"a":2,"b":"é"}}`:       false,
		`{"name":"comment","arguments":{"a":1,"b":"e\u0301"}}`: false,
		`{"name":"comment","arguments":{"a":"1","b":"é"}}`:     false,
		`{"name":"comment"}`: false,
	} {
		r, _, err := j.judge(t, "tools/call", params)
		if err != nil {
			t.Fatal(err)
		}
		if got := r.Steps[0] == first.Steps[0] && bytes.Equal(r.Order, first.Order); got != same {
			t.Errorf("%s is the same: %t\n%s\n%s", params, got, r.Order, first.Order)
		}
	}
	for _, params := range []string{`{"name":"comment","_meta":{"n":9007199254740993}}`, `{"name":"comment","_meta":1}`, `[]`, `1`} {
		c := &call{server: j.server, method: "tools/call", name: "comment", params: json.RawMessage(params)}
		if _, _, err := j.Gateway.judge(t.Context(), c); codeOf(err) != remit.BadRequest {
			t.Errorf("%s: %v", params, err)
		}
	}
}

func TestALargeCallIsJudgedAndNotStored(t *testing.T) {
	j := newJudged(t)
	for size, stored := range map[int]bool{100: true, remit.MaxArguments + 1: true, 40 << 10: false} {
		r, card, err := j.judge(t, "tools/call", `{"name":"comment","arguments":{"a":"`+strings.Repeat("x", size)+`"}}`)
		if err != nil || (r.Order != nil) != stored || len(r.Order) > 32<<10 || r.Tool.Truncated != (size > remit.MaxArguments) || r.Tool.Truncated != (r.Tool.Arguments == nil) || r.Steps[0].Args.IsZero() || len(card) > 32<<10 {
			t.Errorf("%d bytes: %d stored, truncated %t, card %d, %v", size, len(r.Order), r.Tool.Truncated, len(card), err)
		}
	}
	if _, _, err := j.judge(t, "subscriptions/listen", `{"notifications":{"resourceSubscriptions":["`+strings.Repeat(`a:b","`, maxListened)+`a:b"]}}`); codeOf(err) != remit.TooLargeToJudge {
		t.Error(err)
	}
}

func TestTheCardShowsWhatIsThere(t *testing.T) {
	j := newJudged(t)
	_, card, err := j.judge(t, "tools/call", `{"name":"comment","arguments":{"body":"a\u202eb\u0007\u200bc\ufe0f\ue000\u3164","n":[1]}}`)
	want := "tools/call comment of the server hub\n\n{\n  \"body\": \"a\\u{202E}b\\u0007\\u{200B}c\\u{FE0F}\\u{E000}\\u{3164}\",\n  \"n\": [\n    1\n  ]\n}\n"
	if err != nil || card != want {
		t.Fatalf("%v\n%q\n%q", err, card, want)
	}
	// What is neither the name nor the arguments is shown as well: it is a part of what is approved.
	if _, card, err = j.judge(t, "tools/call", `{"name":"comment","arguments":{"a":1},"_meta":{"acme/as":"root"}}`); err != nil || !strings.Contains(card, `"acme/as": "root"`) {
		t.Fatalf("%v\n%s", err, card)
	}
}

func TestASubscriptionIsToWhatMayBeRead(t *testing.T) {
	j := newJudged(t)
	j.may = func(st remit.Step) bool {
		return st.Resource == "tool:hub/-/resources/a%3Ab" && st.Action == "tool.read"
	}
	if r, _, err := j.judge(t, "subscriptions/listen", `{"notifications":{"resourceSubscriptions":["a:b"]}}`); err != nil || len(r.Steps) != 1 {
		t.Fatalf("%+v, %v", r.Steps, err)
	}
	for _, uri := range []string{"a:c", "a:../b"} {
		if _, _, err := j.judge(t, "subscriptions/listen", `{"notifications":{"resourceSubscriptions":["a:b","`+uri+`"]}}`); err == nil {
			t.Errorf("%s may be listened to", uri)
		}
	}
}

func TestACompletionIsOfWhatMayBeUsed(t *testing.T) {
	j := newJudged(t)
	j.may = func(st remit.Step) bool {
		return st.Resource == "tool:hub/-/resources/x%3A%7Ba%7D" || st.Resource == "tool:hub/-/prompts/p"
	}
	for params, ok := range map[string]bool{`{"ref":{"type":"ref/prompt","name":"p"}}`: true, `{"ref":{"type":"ref/prompt","name":"q"}}`: false,
		`{"ref":{"type":"ref/resource","uri":"x:{a}"}}`: true, `{"ref":{"type":"ref/resource","uri":"x:{b}"}}`: false, `{"ref":1}`: false} {
		if _, _, err := j.judge(t, "completion/complete", params); (err == nil) != ok {
			t.Errorf("%s: %v", params, err)
		}
	}
}

// A call that is none of the declared ones is privileged, whatever its tool is declared as.
func TestACallOfWhichNobodySaidWhatItDoesIsPrivileged(t *testing.T) {
	j := newJudged(t, remit.Tool{Name: "hub/comment", Impact: "read", Pin: pinOf(t, comment), Steps: []remit.ToolStep{{Action: "issue.read", Resource: "repo:forge/a", When: map[string]string{"method": "get"}}}})
	for args, want := range map[string]remit.Action{`{"method":"get"}`: "tool.read", `{"method":"delete"}`: "tool.call", `{}`: "tool.call"} {
		if r, _, err := j.judge(t, "tools/call", `{"name":"comment","arguments":`+args+`}`); err != nil || r.Steps[0].Action != want || len(r.Steps) != 2 == (want == "tool.read") {
			t.Errorf("%s: %+v, %v", args, r.Steps, err)
		}
	}
}

func FuzzJudge(f *testing.F) {
	f.Add("tools/call", `{"name":"read_issue","arguments":{"owner":"acme","repo":"pay"}}`)
	f.Add("resources/read", `{"uri":"file:///a/%2e%2e/b"}`)
	f.Add("subscriptions/listen", `{"notifications":{"resourceSubscriptions":["a:b"]}}`)
	j := newJudged(f)
	f.Fuzz(func(t *testing.T, method, params string) {
		text, err := json.Marshal(method)
		if err != nil {
			return
		}
		m, err := envelope.FromClient([]byte(`{"jsonrpc":"2.0","id":1,"method":` + string(text) + `,"params":` + params + `}`))
		if err != nil {
			return
		}
		c := &call{server: j.server, version: envelope.Stateless, method: m.Method, params: m.Params}
		if c.understand(m) != nil {
			return
		}
		r, _, err := j.Gateway.judge(context.Background(), c)
		if err != nil {
			return
		}
		for _, st := range r.Steps {
			if _, err := remit.ParseResource(string(st.Resource)); err != nil {
				t.Fatalf("%s %s: %v", method, params, err)
			}
		}
		if !strings.HasPrefix(string(r.Steps[0].Resource), "tool:hub/") || r.Steps[0].Args.IsZero() {
			t.Fatalf("%s %s: %+v", method, params, r.Steps)
		}
	})
}

func BenchmarkJudge(b *testing.B) {
	tools := []remit.Tool{{Name: "hub/read_issue", Impact: "read", Pin: pinOf(b, readIssue), Steps: []remit.ToolStep{{Action: "issue.read", Resource: "repo:forge/{owner}/{repo}"}}}}
	for i := range 80 {
		tools = append(tools, remit.Tool{Name: "hub/tool" + strings.Repeat("x", i), Impact: "read", Pin: remit.Digest{1}})
	}
	j := newJudged(b, tools...)
	c := j.call(b, "tools/call", `{"name":"read_issue","arguments":{"owner":"acme","repo":"pay","n":12,"text":"a few words of a comment"},"_meta":{"progressToken":1}}`)
	for b.Loop() {
		if _, _, err := j.Gateway.judge(b.Context(), c); err != nil {
			b.Fatal(err)
		}
	}
}

func codeOf(err error) remit.Code {
	var e *remit.Error
	if !errors.As(err, &e) {
		return ""
	}
	return e.Code
}
