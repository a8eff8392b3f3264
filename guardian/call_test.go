package guardian

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/remit-dev/remit"
)

func payloadOf(t testing.TB, text string) members {
	t.Helper()
	m, ok := object(json.RawMessage(text))
	if !ok {
		t.Fatalf("%s is no object", text)
	}
	return m
}

func TestWhatAToolCallIsJudgedAs(t *testing.T) {
	for _, c := range []struct{ payload, tool, command string }{
		{`{"tool":{"name":"Bash"},"arguments":{"command":{"value":"ls"}}}`, "Bash", `"ls"`},
		{`{"tool":{"name":"Bash"},"arguments":{"command":{"value":"ls"}},"raw_command":"ls"}`, "Bash", `"ls"`},
		{`{"tool":{"name":"Bash"},"arguments":{},"raw_command":"ls"}`, "Bash", `"ls"`},
		{`{"tool":{"name":"run_shell_command"},"arguments":{"command":{"value":"ls"}}}`, "Bash", `"ls"`},
		{`{"tool":{"name":"PowerShell"},"arguments":{"command":{"value":"ls"}}}`, "PowerShell", `"ls"`},
		{`{"tool":{"name":"Write"},"arguments":{"file_path":{"value":"/x"},"content":{"value":""}}}`, "Write", ``},
		{`{"tool":{"name":"weather"},"arguments":{}}`, "weather", ``},
		// A tool that says that it runs a command beside what its name says is none that is known.
		{`{"tool":{"name":"Write"},"arguments":{"file_path":{"value":".git/config"}},"raw_command":"ls"}`, "process.execute Write", ``},
		{`{"tool":{"name":"Read"},"arguments":{},"capability":"process.execute"}`, "process.execute Read", ``},
	} {
		got, f := toolCall(payloadOf(t, c.payload))
		if f != nil || got.Tool != c.tool || string(got.Input["command"]) != c.command {
			t.Errorf("%s: %+v, %+v", c.payload, got, f)
		}
	}
	for _, bad := range []string{`{}`, `{"tool":{}}`, `{"tool":{"name":""},"arguments":{}}`, `{"tool":{"name":1},"arguments":{}}`, `{"tool":"Bash","arguments":{}}`, `{"tool":{"name":"Bash"}}`, `{"tool":{"name":"Bash"},"arguments":[]}`,
		`{"tool":{"name":"Bash"},"arguments":{"command":"ls"}}`, `{"tool":{"name":"Bash"},"arguments":{"command":{}}}`, `{"tool":{"name":"Bash"},"arguments":{}}`, `{"tool":{"name":"Bash"},"arguments":{"command":{"value":["ls"]}}}`,
		`{"tool":{"name":"Bash"},"arguments":{"command":{"value":"ls"}},"raw_command":"git push"}`, `{"tool":{"name":"Bash"},"arguments":{"command":{"value":1}},"raw_command":"ls"}`, `{"tool":{"name":"Bash"},"arguments":{"command":{"value":"ls"}},"raw_command":1}`,
		`{"tool":{"name":"Bash"},"arguments":{"Command":{"value":"ls"}}}`} {
		if got, f := toolCall(payloadOf(t, bad)); f == nil || f.Code != invalidParams {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}

func TestWhatAWrappedMessageIsJudgedAs(t *testing.T) {
	for _, c := range []struct{ method, payload, tool string }{
		{"tools/call", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"send","arguments":{"to":"x"}}}`, "mcp__acs__send"},
		{"tools/call", `{"params":{"name":"send"}}`, "mcp__acs__send"},
		{"tools/call", `{"name":"send","arguments":{}}`, "mcp__acs__send"},
		{"resources/read", `{"method":"resources/read","params":{"uri":"file:///x"}}`, "mcp__acs__resources_read"},
		{"of/tomorrow", `{"method":"of/tomorrow"}`, "mcp__acs__of_tomorrow"},
		{"tools/call", `{"method":"tools/call","params":{"name":"send"},"result":{}}`, "mcp__acs__send"},
		{"tools/list", `{"method":"tools/list"}`, ""}, {"notifications/message", `{}`, ""}, {"tools/call", `{"jsonrpc":"2.0","id":1,"result":{}}`, ""}, {"tools/call", `{"error":{}}`, ""},
	} {
		got, f := message(c.method, payloadOf(t, c.payload))
		if f != nil || (got == nil) != (c.tool == "") || got != nil && got.Tool != c.tool {
			t.Errorf("%s %s: %+v, %+v", c.method, c.payload, got, f)
		}
	}
	for _, bad := range []string{`{"method":"tools/list"}`, `{"method":1}`, `{"params":{"name":1}}`} {
		if got, f := message("tools/call", payloadOf(t, bad)); f == nil {
			t.Errorf("%s: %+v", bad, got)
		}
	}
}

// Every method of the standard is answered, and those that would do something are judged.
func TestEveryMethodIsAnswered(t *testing.T) {
	h := newHost(t)
	h.shake()
	h.verdict = Verdict{Decision: remit.Deny, Code: remit.OutOfScope, Sentence: "no"}
	for method, kind := range steps {
		if method == "steps/sessionEnd" {
			continue
		}
		payload := any(map[string]any{})
		switch method {
		case "steps/toolCallRequest":
			payload = bash("ls")
		case "steps/subagentStart":
			payload = map[string]any{"subagent_session_id": "s", "parent_step_id": "p", "intent_derivation": "fresh"}
		}
		want := "allow"
		if kind.judged {
			want = "deny"
		}
		if a := h.ask(method, payload); a.Result["decision"] != want || a.Result["chain_hash"] == nil || !h.checked(a) {
			t.Errorf("%s: %s", method, a.body)
		}
	}
	for method, want := range map[string]string{"protocols/MCP/tools/call": "deny", "protocols/MCP/tools/list": "allow", "wrapped:mcp-2025-06-18/resources/read": "deny"} {
		if a := h.ask(method, map[string]any{}); a.Result["decision"] != want {
			t.Errorf("%s: %s", method, a.body)
		}
	}
	if len(h.calls) != 4 || h.calls[0].Dir != "" {
		t.Errorf("judged %d: %v", len(h.calls), fmt.Sprint(h.calls))
	}
	if a := h.ask("steps/subagentStart", map[string]any{}); a.Error == nil || a.Error.Code != invalidParams {
		t.Errorf("%s", a.body)
	}
}

func TestDeferralsAreBounded(t *testing.T) {
	h := newHost(t)
	h.shake()
	h.verdict = Verdict{Decision: remit.Hold, Code: remit.ImpactHeld}
	for i := range maxDeferrals + 1 {
		want := "defer"
		if i == maxDeferrals {
			want = "deny"
		}
		if a := h.ask("steps/toolCallRequest", bash("git push")); a.Result["decision"] != want || a.Result["reasoning"] == "" {
			t.Fatalf("%d: %s", i, a.body)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte(vectorRequest))
	f.Add([]byte(`{"jsonrpc":"2.0","id":1,"method":"protocols/MCP/tools/call","params":{"metadata":{"session_id":"s","agent_id":"a"},"payload":{"method":"tools/call"},"signature":{}}}`))
	key, err := sessionKey(make([]byte, 32), "s")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		e, failed := read(body)
		if failed != nil || e.sealed() != nil {
			return
		}
		// What can be signed verifies, and does not once anything of it is changed.
		sig, err := sign(key, "k", e.raw, "params")
		if err != nil {
			return
		}
		if err := verify(key, "k", e.raw, sig); err != nil {
			t.Fatalf("%s: %v", body, err)
		}
		if e.open() != nil {
			return
		}
		other := members{}
		for name, v := range e.raw {
			other[name] = v
		}
		other["method"] = json.RawMessage(`"other` + "/" + `method"`)
		if e.method != "other/method" && verify(key, "k", other, sig) == nil {
			t.Fatalf("%s: another method has the same signature", body)
		}
		_, _ = toolCall(e.payload)
		_, _ = subagent(e.payload)
		_, _ = message("tools/call", e.payload)
	})
}
