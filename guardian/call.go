package guardian

import (
	"encoding/json"
	"slices"
	"strings"
)

// commands are the tools of hosts that run a command of the shell, by their lower-case names: what they run is in the
// argument command.
var commands = []string{"bash", "shell", "terminal", "run_shell_command", "run_terminal_cmd", "execute_command", "exec_command", "run_command", "powershell"}

// toolCall reads the payload of steps/toolCallRequest. The command may stand there twice, among the arguments and raw: it
// must be the same.
func toolCall(payload members) (*Call, *failure) {
	tool, ok := object(payload["tool"])
	name, isText := tool.text("name")
	if !ok || !isText || name == "" || len(name) > maxName {
		return nil, fail(invalidParams, "payload_invalid", "payload.tool.name is a text")
	}
	c := &Call{Tool: name, Input: map[string]json.RawMessage{}}
	arguments, ok := object(payload["arguments"])
	if !ok {
		return nil, fail(invalidParams, "payload_invalid", "payload.arguments is an object")
	}
	for key, raw := range arguments {
		argument, ok := object(raw)
		value, there := argument["value"]
		if !ok || !there {
			return nil, fail(invalidParams, "payload_invalid", "each of payload.arguments is an object with a value")
		}
		c.Input[key] = value
	}
	raw, ok := payload.text("raw_command")
	said, isText := members(c.Input).text("command")
	capability, isWord := payload.text("capability")
	if !ok || !isWord {
		return nil, fail(invalidParams, "payload_invalid", "payload.raw_command and payload.capability are texts")
	}
	switch {
	case raw != "" && c.Input["command"] != nil && (!isText || said != raw):
		return nil, fail(invalidParams, "command_ambiguous", "payload.raw_command and the argument command are not the same")
	case !slices.Contains(commands, strings.ToLower(name)):
		if raw != "" || capability == "process.execute" {
			c.Tool = "process.execute " + name // nobody knows what it does with its other arguments
		}
		return c, nil
	case raw == "" && (!isText || said == ""):
		return nil, fail(invalidParams, "payload_invalid", "a tool that runs a command has it in the argument command")
	}
	if raw == "" {
		raw = said
	}
	text, err := json.Marshal(raw)
	if err != nil {
		return nil, fail(invalidParams, "payload_invalid", "the command is no text")
	}
	if !strings.EqualFold(name, "powershell") {
		c.Tool = "Bash"
	} else {
		c.Tool = "PowerShell"
	}
	c.Input["command"] = text
	return c, nil
}

// subagent reads the payload of steps/subagentStart.
func subagent(payload members) (*Call, *failure) {
	t, ok := payload.texts("subagent_session_id", "parent_step_id", "intent_derivation")
	if !ok || t[0] == "" || t[1] == "" || t[2] == "" {
		return nil, fail(invalidParams, "payload_invalid", "payload has subagent_session_id, parent_step_id and intent_derivation")
	}
	kind, err := json.Marshal(t[2])
	if err != nil {
		return nil, fail(invalidParams, "payload_invalid", "intent_derivation is no text")
	}
	return &Call{Tool: "Agent", Input: map[string]json.RawMessage{"subagent_type": kind}}, nil
}

// free are the methods of MCP that only greet, list and report.
var free = []string{"initialize", "ping", "server/discover", "tools/list", "resources/list", "resources/templates/list", "prompts/list", "logging/setLevel"}

// message reads a wrapped message of MCP. A request that does something is judged as a tool of a server that Remit does
// not stand before: one of its own gateway's is judged there, whatever is said here.
func message(method string, payload members) (*Call, *failure) {
	_, result := payload["result"]
	_, failed := payload["error"]
	inner, isText := payload.text("method")
	switch {
	case !isText || inner != "" && inner != method:
		return nil, fail(invalidParams, "payload_invalid", "payload.method is not the method that is wrapped")
	case inner == "" && (result || failed), strings.HasPrefix(method, "notifications/"), slices.Contains(free, method):
		return nil, nil
	}
	params := payload
	if p, ok := object(payload["params"]); ok {
		params = p
	}
	t, ok := params.texts("name", "uri")
	if !ok {
		return nil, fail(invalidParams, "payload_invalid", "params.name and params.uri are texts")
	}
	c := &Call{Tool: "mcp__acs__" + strings.ReplaceAll(method, "/", "_"), Input: map[string]json.RawMessage{}}
	for key, v := range params {
		c.Input[key] = v
	}
	if method == "tools/call" && t[0] != "" {
		c.Tool = "mcp__acs__" + t[0]
		if arguments, ok := object(params["arguments"]); ok {
			c.Input = arguments
		}
	}
	return c, nil
}
