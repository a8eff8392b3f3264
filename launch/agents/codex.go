package agents

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"github.com/remit-dev/remit"
)

// codex is Codex CLI, measured at 0.169.0. It skips a hook that it does not trust without a word, so Remit's is trusted
// before the start (Trust), in a CODEX_HOME of the run's own. -c on the command line wins over every file.
func codex() *agent {
	return &agent{
		name: "Codex", host: "codex", bins: []string{"codex"}, packages: []string{"@openai/codex"},
		needs: []string{"OPENAI_API_KEY", "CODEX_API_KEY", "CODEX_ACCESS_TOKEN"},
		hosts: []string{"api.openai.com:443", "chatgpt.com:443", "auth.openai.com:443"}, bases: []string{"OPENAI_BASE_URL"},
		refused: []banned{
			{"--dangerously-bypass-hook-trust", "it trusts the repository's hooks too; Remit's own is trusted without it"},
			{"--ignore-user-config", "Codex would then not know that Remit's hook is trusted, and skip it without a word"},
			{"--remote", "what a server elsewhere does is not part of this run"},
		},
		setup: (*agent).codexCLI,
	}
}

// codexOwn are the tables of Codex's configuration that are Remit's under remit run.
var codexOwn = []string{"features", "hooks", "mcp_servers", "projects", "shell_environment_policy", "notify", "profiles", "profile"}

func (a *agent) codexCLI(r Run, own []string) (Setup, error) {
	if err := a.codexArgs(own); err != nil {
		return Setup{}, err
	}
	r = r.alone(own, "exec", "e", "review")
	r.underscores = true
	var shell []string
	if s := filepath.Base(r.Getenv("SHELL")); s != "." { // it runs commands in the account's own
		shell = []string{"--shell", s}
	}
	line := r.hook(a.host, shell...)
	every := []any{map[string]any{"matcher": ".*", "hooks": []any{map[string]any{"type": "command", "command": line, "timeout": hookSeconds}}}}
	hooks := map[string]any{"PreToolUse": every, "UserPromptSubmit": every, "SessionStart": every, "SubagentStart": every}
	home := r.person("CODEX_HOME", ".codex")
	config := map[string]any{}
	if raw, err := r.ReadFile(filepath.Join(home, "config.toml")); err == nil {
		if err := toml.Unmarshal(raw, &config); err != nil {
			config = map[string]any{} // Codex would not start with it either
		}
	}
	for _, k := range codexOwn {
		delete(config, k)
	}
	mcp := map[string]any{}
	for _, s := range r.servers() {
		// Remit's gateway asks people where people are to be asked.
		mcp[s.name] = map[string]any{"url": s.url, "http_headers": r.headers(), "default_tools_approval_mode": "approve"}
	}
	config["mcp_servers"] = mcp
	config["features"] = map[string]any{"hooks": true}
	// The default leaves out whatever has KEY in its name, and with it GIT_CONFIG_KEY_0.
	config["shell_environment_policy"] = map[string]any{"inherit": "all", "ignore_default_excludes": true, "exclude": a.needs}
	// Without the network git cannot reach the gateway, and there is no credential that could be carried elsewhere.
	write, _ := config["sandbox_workspace_write"].(map[string]any)
	if write == nil {
		write = map[string]any{}
	}
	if _, said := write["network_access"]; !said {
		write["network_access"] = true
	}
	config["sandbox_workspace_write"] = write
	if r.Sandboxed {
		config["sandbox_mode"] = "danger-full-access" // there is one around it already, in which none can be made
	}
	text, err := toml.Marshal(config)
	if err != nil {
		return Setup{}, remit.Errorf(remit.Internal, "writing Codex's configuration: %w", err)
	}
	return Setup{
		Command: []string{"-c", "features.hooks=true"},
		Set:     []Variable{{"CODEX_HOME", r.Dir}},
		Files:   slices.Concat([]File{file("hooks.json", map[string]any{"hooks": hooks}), {"config.toml", text}}, r.carry(filepath.Join(home, "AGENTS.md"), "AGENTS.md")),
		Logins:  r.logins(Login{filepath.Join(home, "auth.json"), "auth.json"}),
		Canary:  canary(line, `{"session_id":"remit-canary","turn_id":"0","transcript_path":"","cwd":"/","hook_event_name":"PreToolUse","model":"","permission_mode":"default","tool_name":"Bash","tool_input":{"command":"remit-canary"},"tool_use_id":"remit-canary"}`),
		Trust:   &Trust{Command: []string{"-c", "features.hooks=true", "app-server"}, Line: line, Tree: r.Tree, Hooks: len(hooks), File: "config.toml"},
		Observed: []string{
			"what is typed into a program that a command left running (write_stdin) passes no hook; starting a shell or an interpreter that reads it is judged as a whole",
		},
	}, nil
}

// codexArgs refuses what on the command line would win over ours.
func (a *agent) codexArgs(own []string) error {
	for i, arg := range own {
		if arg == "--" {
			break
		}
		value, key := "", ""
		switch {
		case arg == "-c" || arg == "--config" || arg == "--enable" || arg == "--disable":
			if i+1 < len(own) {
				value = own[i+1]
			}
		case strings.HasPrefix(arg, "--config="), strings.HasPrefix(arg, "--enable="), strings.HasPrefix(arg, "--disable="):
			_, value, _ = strings.Cut(arg, "=")
		case strings.HasPrefix(arg, "-c"):
			value = strings.TrimPrefix(strings.TrimPrefix(arg, "-c"), "=")
		default:
			continue
		}
		if strings.HasPrefix(arg, "-c") || strings.HasPrefix(arg, "--config") {
			key, _, _ = strings.Cut(value, "=")
			key, _, _ = strings.Cut(strings.Trim(key, " \t\"'"), ".")
			key = strings.Trim(key, " \t\"'")
		} else if name := strings.TrimSpace(value); name == "hooks" || name == "codex_hooks" {
			key = "features"
		}
		if slices.Contains(codexOwn, key) {
			return remit.Errorf(remit.BadRequest, "Codex under remit run cannot have %s %s: Remit sets %s for the run, so that its hook, and only servers behind Remit, are there", arg, value, key)
		}
	}
	return nil
}

// maxSaid bounds one line of an app server, in bytes.
const maxSaid = 1 << 20

// Converse asks Codex's app server (JSON-RPC, a message a line) which hooks it sees and what it calls them, and gives the
// lines of config.toml that trust those with Remit's line. All others stay untrusted.
func (t Trust) Converse(in io.Writer, out io.Reader) ([]byte, error) {
	lines := bufio.NewScanner(io.LimitReader(out, 8*maxSaid))
	lines.Buffer(nil, maxSaid)
	ask := func(id int, method string, params, result any) error {
		if err := json.NewEncoder(in).Encode(map[string]any{"id": id, "method": method, "params": params}); err != nil {
			return fmt.Errorf("asking Codex's app server: %w", err)
		}
		for lines.Scan() {
			var m struct {
				ID     *int            `json:"id"`
				Result json.RawMessage `json:"result"`
				Error  *struct {
					Message string `json:"message"`
				} `json:"error"`
			}
			if json.Unmarshal(lines.Bytes(), &m) != nil || m.ID == nil || *m.ID != id {
				continue
			}
			if m.Error != nil {
				return fmt.Errorf("the app server of Codex refuses %s: %.200s", method, m.Error.Message)
			}
			return json.Unmarshal(m.Result, result)
		}
		return fmt.Errorf("the app server of Codex ended before it answered %s", method)
	}
	var hello struct{}
	if err := ask(0, "initialize", map[string]any{"clientInfo": map[string]string{"name": "remit", "title": "Remit", "version": "1"}}, &hello); err != nil {
		return nil, err
	}
	if err := json.NewEncoder(in).Encode(map[string]any{"method": "initialized"}); err != nil {
		return nil, err
	}
	var listed struct {
		Data []struct {
			Hooks []struct {
				Key     string `json:"key"`
				Command string `json:"command"`
				Hash    string `json:"currentHash"`
				Enabled bool   `json:"enabled"`
			} `json:"hooks"`
		} `json:"data"`
	}
	if err := ask(1, "hooks/list", map[string]any{"cwds": []string{t.Tree}}, &listed); err != nil {
		return nil, err
	}
	state := map[string]any{}
	for _, d := range listed.Data {
		for _, h := range d.Hooks {
			if h.Command == t.Line && h.Enabled && strings.HasPrefix(h.Hash, "sha256:") {
				state[h.Key] = map[string]string{"trusted_hash": h.Hash}
			}
		}
	}
	if len(state) != t.Hooks {
		return nil, fmt.Errorf("of Remit's %d hooks Codex sees %d", t.Hooks, len(state))
	}
	return toml.Marshal(map[string]any{"hooks": map[string]any{"state": state}})
}
