package agents

import (
	"encoding/json"
	"io/fs"
	"path/filepath"

	"github.com/pelletier/go-toml/v2"
)

// Switches are sentences about what in a repository would switch the agent's hooks off if it were started by hand, or
// would bring in servers that do not pass Remit. remit run overrides or refuses all of it.
func (a Agent) Switches(tree string, read func(string) ([]byte, error)) []string {
	var out []string
	look := func(name string, members ...string) {
		raw, err := read(filepath.Join(tree, name))
		if err != nil {
			return
		}
		var all map[string]json.RawMessage
		if err := json.Unmarshal(raw, &all); err != nil {
			out = append(out, name+" is not plain JSON, so it cannot be seen what it switches")
			return
		}
		for _, m := range members {
			if _, ok := all[m]; ok {
				out = append(out, name+" has "+m)
			}
		}
	}
	switch a.agent.host {
	case "claude-code":
		look(".claude/settings.json", "disableAllHooks")
		look(".claude/settings.local.json", "disableAllHooks")
		look(".mcp.json", "mcpServers")
	case "gemini":
		look(geminiProject, geminiOwn...)
	case "copilot":
		look(".github/copilot/settings.json", "disableAllHooks")
	case "codex":
		raw, err := read(filepath.Join(tree, ".codex/config.toml"))
		if err != nil {
			return nil
		}
		var config map[string]any
		if err := toml.Unmarshal(raw, &config); err != nil {
			return []string{".codex/config.toml cannot be read, so it cannot be seen what it switches"}
		}
		for _, m := range []string{"features", "hooks", "mcp_servers"} {
			if _, ok := config[m]; ok {
				out = append(out, ".codex/config.toml has "+m)
			}
		}
	}
	return out
}

// About is what remit run makes of the agent: what then holds whatever it does, and what is judged only where it asks.
func (a Agent) About() (enforced, observed []string) {
	s, err := a.agent.setup(a.agent, Run{Getenv: func(string) string { return "" }, ReadFile: func(string) ([]byte, error) { return nil, fs.ErrNotExist }}, nil)
	if err != nil {
		return nil, nil
	}
	enforced = []string{"git, MCP servers and every other gateway: the agent has no credential of theirs, so nothing reaches them without a decision"}
	if a.agent.host == "" {
		return enforced, append([]string{"nothing within the agent is seen: it has no hook that Remit could use"}, s.Observed...)
	}
	return enforced, append([]string{"shell commands, file edits and web fetches within the agent: Remit's hook denies them early, but a program that the agent may run can do the same unseen"}, s.Observed...)
}
