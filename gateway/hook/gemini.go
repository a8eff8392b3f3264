package hook

import (
	"slices"
	"strings"
)

// gemini takes apart what Gemini CLI sends (0.61.0; docs/hooks/reference.md). It gives a use of a tool no id.
func (c *call) gemini(m members) error {
	if err := c.named(m); err != nil {
		return err
	}
	switch c.event {
	case "BeforeTool":
		args, err := c.before(m, "tool_name", "tool_input")
		if err != nil {
			return err
		}
		return c.geminiTool(m, args)
	case "AfterTool":
		_, err := m.text("tool_name")
		return err
	case "BeforeAgent":
		_, err := m.maybe("prompt")
		return err
	case "SessionStart", "SessionEnd":
		return nil
	}
	return c.unknown()
}

func (c *call) geminiTool(m, args members) (err error) {
	if _, ok := m["mcp_context"]; ok {
		return c.geminiMCP(m)
	}
	switch c.tool {
	case "run_shell_command":
		if c.dir, err = args.maybe("dir_path"); err == nil && c.dir == "" {
			c.dir, err = args.maybe("directory") // before 0.20
		}
		if err != nil {
			return err
		}
		return c.runs(args, "command")
	case "write_file", "replace":
		return c.changes(args, "file_path")
	case "read_file":
		return c.reads(args, "file_path", "absolute_path")
	case "list_directory":
		return c.reads(args, "dir_path", "path")
	case "read_many_files":
		c.kind = search
		if c.paths, err = args.texts("include"); err == nil && len(c.paths) == 0 {
			c.paths, err = args.texts("paths")
		}
		for i, p := range c.paths {
			c.paths[i] = literal(p)
		}
		return err
	case "glob", "grep_search", "search_file_content":
		return c.searches(args, "dir_path", "path")
	case "web_fetch":
		return c.geminiFetch(args)
	case "google_web_search":
		return c.asks(args)
	case "codebase_investigator", "cli_help", "delegate_to_agent", "generalist", "invoke_agent":
		return c.delegates(args, "agent_name", "agentName")
	case "ask_user", "complete_task", "enter_plan_mode", "exit_plan_mode", "get_internal_docs", "update_topic", "write_todos",
		"tracker_add_dependency", "tracker_create_task", "tracker_get_task", "tracker_list_tasks", "tracker_update_task", "tracker_visualize":
		c.kind = nothing
		return nil
	}
	if strings.HasPrefix(c.tool, "mcp_") {
		c.through("mcp_", "_")
		return nil
	}
	c.kind = other
	return nil
}

// geminiMCP is a tool of an MCP server, of which Gemini CLI says the name beside the tool's.
func (c *call) geminiMCP(m members) error {
	about, err := decode(m["mcp_context"])
	if err != nil {
		return err
	}
	server, err := about.text("server_name")
	if err != nil {
		return err
	}
	if slices.Contains(c.said.front, server) {
		c.kind = nothing
		return nil
	}
	c.kind, c.server = other, server
	c.why = append(c.why, "mcp")
	return nil
}

// geminiFetch finds the addresses in the text that the tool takes: the host itself takes every word with :// in it.
func (c *call) geminiFetch(args members) error {
	c.kind = web
	text, err := args.first("prompt", "url")
	if err != nil {
		return err
	}
	for word := range strings.FieldsSeq(text) {
		if strings.Contains(word, "://") {
			c.urls = append(c.urls, word)
		}
	}
	if len(c.urls) == 0 {
		c.why = append(c.why, "no-address")
	}
	if u, err := args.maybe("url"); err != nil || u != "" {
		c.urls = append(c.urls, u)
		return err
	}
	return nil
}

// literal is a pattern up to its first part that stands for several names.
func literal(pattern string) string {
	if i := strings.IndexAny(pattern, "*?[{"); i >= 0 {
		pattern = pattern[:i]
		return pattern[:strings.LastIndexByte(pattern, '/')+1] + "."
	}
	return pattern
}
