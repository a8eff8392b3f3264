package hook

import (
	"encoding/json"

	"github.com/remit-dev/remit"
)

// copilot takes apart what GitHub Copilot CLI sends (1.0.102; docs.github.com, CLI hooks reference). Its JSON does not
// name the event, and gives a use of a tool no id; its documentation has the arguments as a text of JSON.
func (c *call) copilot(m members) (err error) {
	if c.conversation, err = m.maybe("sessionId"); err != nil {
		return err
	}
	switch c.event {
	case "preToolUse":
		if raw, ok := m["toolArgs"]; ok && len(raw) > 0 && raw[0] == '"' {
			var text string
			if err := json.Unmarshal(raw, &text); err != nil {
				return remit.Errorf(remit.BadRequest, "toolArgs cannot be read: %w", err)
			}
			if tool, _ := m.maybe("toolName"); tool == "apply_patch" {
				m["toolArgs"], _ = json.Marshal(map[string]string{"input": text})
			} else {
				m["toolArgs"] = json.RawMessage(text)
			}
		}
		args, err := c.before(m, "toolName", "toolArgs")
		if err != nil {
			return err
		}
		return c.copilotTool(args)
	case "postToolUse":
		_, err := m.text("toolName")
		return err
	case "userPromptSubmitted":
		_, err := m.maybe("prompt")
		return err
	case "sessionStart", "sessionEnd", "errorOccurred":
		return nil
	}
	return c.unknown()
}

func (c *call) copilotTool(args members) error {
	switch c.tool {
	case "bash":
		return c.runs(args, "command")
	case "powershell":
		c.dialect = "powershell"
		return c.runs(args, "command")
	case "write_bash", "write_powershell":
		c.kind = other
		c.why = append(c.why, "repl")
		return nil
	case "create", "edit":
		return c.changes(args, "path")
	case "str_replace_editor":
		if verb, err := args.text("command"); err != nil || verb != "view" {
			if err != nil {
				return err
			}
			return c.changes(args, "path")
		}
		return c.reads(args, "path")
	case "apply_patch":
		text, err := args.first("input", "patch")
		if err != nil {
			return err
		}
		c.patches(text)
		return nil
	case "view":
		return c.reads(args, "path")
	case "glob", "grep", "rg":
		return c.searches(args, "path")
	case "web_fetch":
		return c.fetches(args, "url")
	case "web_search":
		return c.asks(args)
	case "task":
		return c.delegates(args, "agent_type")
	case "ask_user", "fetch_copilot_cli_documentation", "list_bash", "read_bash", "report_intent", "stop_bash", "update_todo":
		c.kind = nothing
		return nil
	}
	c.through("", "-") // SERVER-TOOL: a hyphen stands in no tool of its own
	if c.kind == other && c.server == c.tool {
		c.server, c.why = "", nil
	}
	return nil
}
