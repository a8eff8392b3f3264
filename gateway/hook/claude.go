package hook

import "strings"

// claude takes apart what Claude Code sends (2.1.197 to 2.1.330; code.claude.com/docs/en/hooks). Its tools are named in
// capitals, those of MCP servers mcp__SERVER__TOOL.
func (c *call) claude(m members) error {
	if err := c.named(m); err != nil {
		return err
	}
	switch c.event {
	case "PreToolUse", "PermissionRequest":
		args, err := c.before(m, "tool_name", "tool_input")
		if err != nil {
			return err
		}
		if c.event == "PreToolUse" { // the other has none
			if c.id, err = m.text("tool_use_id"); err != nil {
				return err
			}
		}
		return c.claudeTool(args)
	case "ConfigChange":
		return c.settings(m)
	case "PostToolUse", "PostToolUseFailure":
		_, err := m.text("tool_name")
		return err
	case "UserPromptSubmit":
		_, err := m.maybe("prompt")
		return err
	case "SessionStart", "SessionEnd", "SubagentStart", "SubagentStop": // a sub-agent was judged as the tool Agent
		return nil
	}
	return c.unknown()
}

// settings is a change of the settings that the host reads while it runs, hooks among them.
func (c *call) settings(m members) (err error) {
	c.kind, c.tool = write, c.event
	if c.cwd, err = m.text("cwd"); err != nil {
		return err
	}
	p, err := m.maybe("file_path")
	if err != nil {
		return err
	}
	if p != "" {
		c.paths = []string{p}
	}
	c.why = append(c.why, "settings")
	return nil
}

func (c *call) claudeTool(args members) error {
	switch c.tool {
	case "Bash":
		if args.isTrue("dangerouslyDisableSandbox") {
			c.why = append(c.why, "unsandboxed")
		}
		return c.runs(args, "command")
	case "PowerShell":
		c.dialect = "powershell"
		return c.runs(args, "command")
	case "Write", "Edit", "MultiEdit":
		return c.changes(args, "file_path")
	case "NotebookEdit":
		return c.changes(args, "notebook_path")
	case "Read":
		return c.reads(args, "file_path")
	case "NotebookRead":
		return c.reads(args, "notebook_path")
	case "LS":
		return c.reads(args, "path")
	case "Glob", "Grep":
		return c.searches(args, "path")
	case "WebFetch":
		return c.fetches(args, "url")
	case "WebSearch":
		return c.asks(args)
	case "Agent", "Task":
		return c.delegates(args, "subagent_type")
	case "ReadMcpResourceTool":
		server, err := args.text("server")
		c.tool += "__" + server + "__" // as if it were one of the server's tools
		c.through("ReadMcpResourceTool__", "__")
		return err
	case "AskUserQuestion", "BashOutput", "EnterPlanMode", "ExitPlanMode", "KillBash", "KillShell", "ListMcpResourcesTool", "StructuredOutput",
		"TaskCreate", "TaskGet", "TaskList", "TaskOutput", "TaskStop", "TaskUpdate", "TodoWrite", "ToolSearch":
		c.kind = nothing
		return nil
	}
	if strings.HasPrefix(c.tool, "mcp__") {
		c.through("mcp__", "__")
		return nil
	}
	c.kind = other
	return nil
}
