package hook

import "strings"

// codex takes apart what Codex CLI sends (0.169.0; codex-rs/hooks/schema). A command arrives as Bash whichever tool ran
// it, a patch as apply_patch with its text in command. What is typed into a program that already runs (write_stdin)
// reaches no hook at all.
func (c *call) codex(m members) error {
	if err := c.named(m); err != nil {
		return err
	}
	switch c.event {
	case "PreToolUse", "PermissionRequest":
		args, err := c.before(m, "tool_name", "tool_input")
		if err != nil {
			return err
		}
		if c.event == "PreToolUse" {
			if c.id, err = m.text("tool_use_id"); err != nil {
				return err
			}
		}
		return c.codexTool(args)
	case "SubagentStart": // its tool is none that hooks see
		c.tool, c.input = c.event, m["agent_type"]
		var err error
		if c.cwd, err = m.text("cwd"); err != nil {
			return err
		}
		if c.id, err = m.text("agent_id"); err != nil {
			return err
		}
		return c.delegates(m, "agent_type")
	case "PostToolUse":
		_, err := m.text("tool_name")
		return err
	case "UserPromptSubmit":
		_, err := m.maybe("prompt")
		return err
	case "SessionStart", "SessionEnd", "SubagentStop":
		return nil
	}
	return c.unknown()
}

func (c *call) codexTool(args members) (err error) {
	switch c.tool {
	case "Bash":
		// 0.169.0 leaves out where the command runs and in which shell, though the model may choose both. Where nothing is
		// said, the conversation's directory and the account's shell are assumed.
		if c.dir, err = args.maybe("workdir"); err != nil {
			return err
		}
		return c.runs(args, "command")
	case "apply_patch":
		text, err := args.first("command", "input")
		if err != nil {
			return err
		}
		c.patches(text)
		return nil
	case "view_image":
		return c.reads(args, "path")
	case "spawn_agent":
		return c.delegates(args, "agent_type")
	case "update_plan", "request_user_input":
		c.kind = nothing
		return nil
	case "write_stdin":
		c.why = append(c.why, "repl")
	}
	if strings.HasPrefix(c.tool, "mcp__") {
		c.through("mcp__", "__")
		return nil
	}
	c.kind = other
	return nil
}

// patches finds the paths in a patch of Codex's own format. Its parser forgives spaces around a line, so this does; a
// patch in which no path is found is not understood.
func (c *call) patches(text string) {
	c.kind, c.command = write, text
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		for _, head := range []string{"*** Add File:", "*** Update File:", "*** Delete File:", "*** Move to:"} {
			if p, ok := strings.CutPrefix(line, head); ok {
				c.paths = append(c.paths, strings.TrimSpace(p))
			}
		}
	}
	if len(c.paths) == 0 {
		c.why = append(c.why, "patch")
	}
}
