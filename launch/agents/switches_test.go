package agents

import (
	"slices"
	"strings"
	"testing"
)

func TestWhatARepositorySwitches(t *testing.T) {
	d := disk{
		"/src/.claude/settings.json":         `{"disableAllHooks":true}`,
		"/src/.claude/settings.local.json":   `{"model":"x"}`,
		"/src/.mcp.json":                     `{"mcpServers":{}}`,
		"/src/.codex/config.toml":            "[features]\nhooks = false\n",
		"/src/.gemini/settings.json":         `// {"x":1}`,
		"/src/.github/copilot/settings.json": `{"disableAllHooks":false}`,
		"/other/.codex/config.toml":          "[",
	}
	for _, c := range []struct {
		agent, tree string
		want        []string
	}{
		{"claude", "/src", []string{".claude/settings.json has disableAllHooks", ".mcp.json has mcpServers"}},
		{"codex", "/src", []string{".codex/config.toml has features"}},
		{"codex", "/other", []string{".codex/config.toml cannot be read, so it cannot be seen what it switches"}},
		{"gemini", "/src", []string{".gemini/settings.json is not plain JSON, so it cannot be seen what it switches"}},
		{"copilot", "/src", []string{".github/copilot/settings.json has disableAllHooks"}},
		{"opencode", "/src", nil},
		{"claude", "/none", nil},
	} {
		a, _ := Named(c.agent)
		if got := a.Switches(c.tree, d.read); !slices.Equal(got, c.want) {
			t.Errorf("%s in %s: %q", c.agent, c.tree, got)
		}
	}
}

// Nobody is told that a hook is a wall, and of every agent something is said.
func TestAbout(t *testing.T) {
	for _, name := range Names() {
		a, _ := Named(name)
		enforced, observed := a.About()
		if len(enforced) == 0 || len(observed) == 0 || strings.Contains(strings.Join(enforced, " "), "hook") {
			t.Errorf("%s: %q %q", name, enforced, observed)
		}
	}
}
