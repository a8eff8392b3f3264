package agents

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// gemini is Gemini CLI, measured at 0.61.0. A project's settings come before the person's, and can switch a hook off by
// name or all at once; so a repository whose settings touch hooks or servers is refused.
func gemini() *agent {
	const servers = "MCP servers come to it from Remit only; declare them, and they appear by themselves"
	return &agent{
		name: "Gemini CLI", host: "gemini", bins: []string{"gemini"}, packages: []string{"@google/gemini-cli"},
		needs: []string{"GEMINI_API_KEY", "GOOGLE_API_KEY", "GOOGLE_GEMINI_BASE_URL", "GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_GENAI_USE_GCA",
			"GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"},
		hosts: []string{"generativelanguage.googleapis.com:443", "cloudcode-pa.googleapis.com:443", "oauth2.googleapis.com:443", "accounts.google.com:443", "aiplatform.googleapis.com:443"}, bases: []string{"GOOGLE_GEMINI_BASE_URL"},
		refused: []banned{{"--allowed-mcp-server-names", servers}},
		setup:   (*agent).geminiCLI,
	}
}

// geminiProject is the settings file of a project, and geminiOwn are its members that would come before Remit's.
const geminiProject = ".gemini/settings.json"

var geminiOwn = []string{"hooksConfig", "hooks", "mcpServers", "mcp", "admin"}

func (a *agent) geminiCLI(r Run, own []string) (Setup, error) {
	r = r.alone(own, "-p", "--prompt")
	project, err := r.repository(geminiProject)
	if err != nil {
		return Setup{}, err
	}
	for _, k := range slices.Sorted(maps.Keys(project)) {
		// Gemini CLI's own reader of JSON knows one spelling; a reader that knows more must not be cheated by it.
		if slices.ContainsFunc(geminiOwn, func(own string) bool { return strings.EqualFold(own, k) }) {
			return Setup{}, remit.Errorf(remit.BadRequest, "%s has %q, and a project's settings come before Remit's: they could switch its hook off or bring in servers that do not pass it; take that out of it", filepath.Join(r.Tree, geminiProject), k)
		}
	}
	line := r.hook(a.host)
	command := []any{map[string]any{"type": "command", "command": line, "timeout": hookSeconds * 1000}} // milliseconds
	plain := []any{map[string]any{"hooks": command}}
	mcp, names := map[string]any{}, []string{}
	for _, s := range r.servers() {
		// Remit's gateway asks people where people are to be asked.
		mcp[s.name] = map[string]any{"httpUrl": s.url, "headers": r.headers(), "trust": true}
		names = append(names, s.name)
	}
	home := filepath.Join(r.person("GEMINI_CLI_HOME", ""), ".gemini")
	settings := map[string]any{}
	for k, v := range r.members(filepath.Join(home, "settings.json"), "security", "model", "ui", "general", "privacy", "tools") {
		settings[k] = v
	}
	if raw, ok := settings["tools"].(json.RawMessage); ok {
		delete(settings, "tools") // discoveryCommand and callCommand start programs
		var tools map[string]json.RawMessage
		if json.Unmarshal(raw, &tools) == nil {
			delete(tools, "discoveryCommand")
			delete(tools, "callCommand")
			settings["tools"] = tools
		}
	}
	settings["hooksConfig"] = map[string]any{"enabled": true}
	settings["hooks"] = map[string]any{"BeforeTool": []any{map[string]any{"matcher": ".*", "hooks": command}}, "BeforeAgent": plain, "SessionStart": plain}
	settings["mcpServers"], settings["mcp"] = mcp, map[string]any{"allowed": names}
	in := func(name string) string { return filepath.Join(".gemini", name) }
	return Setup{
		Command: []string{"--allowed-mcp-server-names=" + strings.Join(names, ",")},
		Set:     []Variable{{"GEMINI_CLI_HOME", r.Dir}},
		// A machine's own settings must belong to root, so nothing of ours could come before a project's that way.
		Unset: []string{"GEMINI_CLI_SYSTEM_SETTINGS_PATH"},
		Files: slices.Concat([]File{file(in("settings.json"), settings)},
			r.carry(filepath.Join(home, "trustedFolders.json"), in("trustedFolders.json")), r.carry(filepath.Join(home, "google_accounts.json"), in("google_accounts.json")),
			r.carry(filepath.Join(home, "GEMINI.md"), in("GEMINI.md"))),
		GitInEnviron: true, // it puts /dev/null in the place of GIT_CONFIG_GLOBAL, and an empty credential.helper behind ours
		Logins:       r.logins(Login{filepath.Join(home, "oauth_creds.json"), in("oauth_creds.json")}),
		Canary:       canary(line, `{"session_id":"remit-canary","transcript_path":"","cwd":"/","hook_event_name":"BeforeTool","timestamp":"1970-01-01T00:00:00Z","tool_name":"run_shell_command","tool_input":{"command":"remit-canary"}}`),
		Observed: []string{
			"the project's " + geminiProject + " was looked at before the start; what a program writes there later, which it cannot in a sandbox, is read when the agent starts again",
		},
	}, nil
}
