package agents

import (
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
)

// claude is Claude Code, measured at 2.1.197 and 2.1.330. A repository's or a person's settings lose to --settings, and
// are not read at all with --setting-sources user and a configuration directory of our own; --bare and --safe-mode drop
// hooks of any source.
func claude() *agent {
	const settings = "Remit's hooks come that way, and two settings do not add up; put yours into ~/.claude/settings.json"
	const hooks = "it switches hooks off, Remit's too"
	return &agent{
		name: "Claude Code", host: "claude-code", bins: []string{"claude"}, packages: []string{"@anthropic-ai/claude-code"},
		needs: []string{"ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"},
		hosts: []string{"api.anthropic.com:443", "console.anthropic.com:443", "platform.claude.com:443", "claude.ai:443"}, bases: []string{"ANTHROPIC_BASE_URL"},
		refused: []banned{
			{"--bare", hooks}, {"--safe-mode", hooks},
			{"--restricted", "whether Remit's hooks hold under it is not known"},
			{"--settings", settings}, {"--setting-sources", settings},
			{"--mcp-config", "MCP servers that do not pass Remit would come in that way; declare them, and they appear by themselves"},
		},
		setup: (*agent).claudeCode,
	}
}

// claudeOff are variables that switch hooks off, or that an outer Claude Code leaves behind.
var claudeOff = []string{"CLAUDE_CODE_SIMPLE", "CLAUDE_CODE_SAFE_MODE", "CLAUDECODE", "CLAUDE_CODE_ENTRYPOINT", "CLAUDE_CODE_SSE_PORT"}

func (a *agent) claudeCode(r Run, own []string) (Setup, error) {
	r = r.alone(own, "-p", "--print")
	line := r.hook(a.host, "--shell", "bash")
	command := map[string]any{"type": "command", "command": line, "timeout": hookSeconds, "onFailure": "block"}
	every := []any{map[string]any{"matcher": "*", "hooks": []any{command}}}
	plain := []any{map[string]any{"hooks": []any{command}}}
	mcp, allow := map[string]any{}, []string{}
	for _, s := range r.servers() {
		mcp[s.name] = map[string]any{"type": "http", "url": s.url, "headers": r.headers()}
		allow = append(allow, "mcp__"+s.name) // Remit's gateway asks people where people are to be asked
	}
	settings := map[string]any{
		"disableAllHooks": false,
		"hooks":           map[string]any{"PreToolUse": every, "UserPromptSubmit": plain, "SessionStart": plain, "SubagentStart": every, "ConfigChange": every},
		"permissions":     map[string]any{"allow": allow},
	}
	config := r.person("CLAUDE_CONFIG_DIR", ".claude")
	state := filepath.Join(config, ".claude.json")
	if r.Getenv("CLAUDE_CONFIG_DIR") == "" {
		state = filepath.Join(r.Home, ".claude.json")
	}
	s := Setup{
		Command: []string{"--settings", filepath.Join(r.Dir, "remit-settings.json"), "--setting-sources", "user",
			"--mcp-config", filepath.Join(r.Dir, "remit-mcp.json"), "--strict-mcp-config"},
		Set:   []Variable{{"CLAUDE_CONFIG_DIR", r.Dir}, {"DISABLE_AUTOUPDATER", "1"}, {"SHELL", "/bin/bash"}}, // it runs commands in this, and the hook reads them as bash does
		Unset: claudeOff,
		Files: slices.Concat([]File{
			file("remit-settings.json", settings), file("remit-mcp.json", map[string]any{"mcpServers": mcp}),
			file("settings.json", r.claudeSettings(filepath.Join(config, "settings.json"))), file(".claude.json", r.claudeState(state)),
		}, r.carry(filepath.Join(config, "CLAUDE.md"), "CLAUDE.md")),
		Logins: r.logins(Login{filepath.Join(config, ".credentials.json"), ".credentials.json"}),
		Canary: canary(line, `{"session_id":"remit-canary","transcript_path":"","cwd":"/","hook_event_name":"PreToolUse","tool_name":"Bash","tool_input":{"command":"remit-canary"},"tool_use_id":"remit-canary"}`),
		Observed: []string{
			"files that a prompt names with @ are read without the hook",
			"before 2.1.295 a hook that Claude Code cannot start lets the call through; the line that starts Remit's turns all that a shell sees into a denial",
		},
	}
	if r.Sandboxed {
		s.Set = append(s.Set, Variable{"CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1"})
	}
	return s, nil
}

// claudeSettings are those of the person's settings that neither start programs at a hook nor bring servers in.
func (r Run) claudeSettings(from string) map[string]json.RawMessage {
	out := r.members(from, "model", "permissions", "outputStyle", "apiKeyHelper", "language", "alwaysThinkingEnabled", "effortLevel")
	var env map[string]string
	if raw, ok := r.members(from, "env")["env"]; ok && json.Unmarshal(raw, &env) == nil {
		kept := map[string]string{}
		for k, v := range env {
			if !slices.Contains(claudeOff, k) && (strings.HasPrefix(k, "ANTHROPIC_") || strings.HasPrefix(k, "CLAUDE_CODE_")) {
				kept[k] = v
			}
		}
		if b, err := json.Marshal(kept); err == nil && len(kept) > 0 {
			out["env"] = b
		}
	}
	return out
}

// claudeState is what spares the person the questions of a first start. Of what they answered for this directory only
// the trust comes along: servers and tools that were allowed once do not.
func (r Run) claudeState(from string) map[string]json.RawMessage {
	out := r.members(from, "hasCompletedOnboarding", "lastOnboardingVersion", "theme", "oauthAccount", "userID", "customApiKeyResponses",
		"installMethod", "editorMode", "numStartups", "hasAvailableSubscription", "bypassPermissionsModeAccepted")
	var projects map[string]struct {
		Trusted bool `json:"hasTrustDialogAccepted"`
	}
	raw, ok := r.members(from, "projects")["projects"]
	if !ok || json.Unmarshal(raw, &projects) != nil || !projects[r.Tree].Trusted {
		return out
	}
	if b, err := json.Marshal(map[string]any{r.Tree: map[string]any{"hasTrustDialogAccepted": true}}); err == nil {
		out["projects"] = b
	}
	return out
}
