package agents

import (
	"path/filepath"
)

// copilot is GitHub Copilot CLI, measured at 1.0.102. Of a folder that is not trusted it loads no hooks and no settings,
// so a repository cannot switch Remit's off; everything that trusts the folder is refused.
func copilot() *agent {
	const trust = "it trusts the folder, and then the repository's .github could switch Remit's hook off"
	return &agent{
		name: "GitHub Copilot CLI", host: "copilot", bins: []string{"copilot"}, packages: []string{"@github/copilot"},
		needs: []string{"COPILOT_GITHUB_TOKEN", "COPILOT_PROVIDER_API_KEY"},
		hosts: []string{"api.githubcopilot.com:443", "api.individual.githubcopilot.com:443", "api.business.githubcopilot.com:443", "api.enterprise.githubcopilot.com:443"}, bases: []string{"COPILOT_PROVIDER_BASE_URL"},
		refused: []banned{
			{"--trust-folder", trust}, {"--allow-all", trust}, {"--yolo", trust},
			{"--additional-mcp-config", "MCP servers come to it from Remit only; declare them, and they appear by themselves"},
			{"--config-dir", "Remit gives it a directory for this run"},
		},
		setup: (*agent).copilotCLI,
	}
}

func (a *agent) copilotCLI(r Run, own []string) (Setup, error) {
	r = r.alone(own, "-p", "--prompt")
	hooks := map[string]any{}
	for _, event := range []string{"preToolUse", "userPromptSubmitted", "sessionStart"} {
		// What it says to a hook does not name the event.
		hooks[event] = []any{map[string]any{"type": "command", "bash": r.hook(a.host, "--event", event), "timeoutSec": hookSeconds}}
	}
	mcp := map[string]any{}
	for _, s := range r.servers() {
		mcp[s.name] = map[string]any{"type": "http", "url": s.url, "headers": r.headers(), "tools": []string{"*"}}
	}
	config := filepath.Join(r.person("COPILOT_HOME", ".copilot"), "config.json")
	return Setup{
		Command: []string{"--additional-mcp-config", "@" + filepath.Join(r.Dir, "remit-mcp.json"), "--disable-builtin-mcps"},
		Set:     []Variable{{"COPILOT_HOME", r.Dir}},
		Unset:   []string{"COPILOT_ALLOW_ALL"},
		Files: []File{
			file(filepath.Join("hooks", "remit.json"), map[string]any{"version": 1, "hooks": hooks}), file("remit-mcp.json", map[string]any{"mcpServers": mcp}),
			file("config.json", r.members(config, "logged_in_users", "last_logged_in_user", "copilot_tokens", "model", "theme", "banner")),
		},
		Canary: canary(r.hook(a.host, "--event", "preToolUse"), `{"sessionId":"remit-canary","timestamp":0,"cwd":"/","toolName":"bash","toolArgs":{"command":"remit-canary"}}`),
		Observed: []string{
			"it signs in with a token of GitHub's, which opens what that token may open there: give it one with the permission Copilot Requests and no other",
		},
	}, nil
}

// opencode has no hook that a program of its own could be (its plugins run inside it), so only its servers come from
// Remit.
func opencode() *agent {
	return &agent{
		name: "opencode", bins: []string{"opencode"}, packages: []string{"opencode-ai"},
		needs: []string{"ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY", "MISTRAL_API_KEY", "GROQ_API_KEY", "XAI_API_KEY", "DEEPSEEK_API_KEY", "OPENROUTER_API_KEY"},
		setup: (*agent).openCode,
	}
}

func (a *agent) openCode(r Run, own []string) (Setup, error) {
	r = r.alone(own, "run")
	mcp := map[string]any{}
	for _, s := range r.servers() {
		mcp[s.name] = map[string]any{"type": "remote", "url": s.url, "headers": r.headers(), "enabled": true}
	}
	return Setup{
		Set:   []Variable{{"OPENCODE_CONFIG", filepath.Join(r.Dir, "opencode.json")}, {"OPENCODE_DISABLE_PROJECT_CONFIG", "1"}},
		Unset: []string{"OPENCODE_CONFIG_CONTENT", "OPENCODE_CONFIG_DIR", "OPENCODE_PERMISSION"},
		Files: []File{file("opencode.json", map[string]any{"mcp": mcp})},
	}, nil
}
