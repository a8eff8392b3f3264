package agents

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/remit-dev/remit"
)

// hookSeconds is how long an agent waits for the hook. remit hook ends long before that by itself, with a denial: at an
// agent's own time-out most agents let the call through.
const hookSeconds = 60

// word makes s one word of sh.
func word(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// hook is the line that the agent's shell is given. Whatever becomes of the binary, the line ends with 0 or with 2 and a
// sentence: most agents let a call through where a hook ends in any other way, or with 2 and says nothing. With 2 remit
// hook, and a Go program that panics, has said its own.
func (r Run) hook(host string, more ...string) string {
	words := []string{word(r.Remit), "hook", host}
	front := r.names()
	if host == "codex" { // it names tools so
		front = strings.ReplaceAll(front, "-", "_")
	}
	for _, m := range more {
		words = append(words, word(m))
	}
	for _, f := range [][2]string{{"--socket", r.Socket}, {"--org", string(r.Org)}, {"--tree", r.Tree}, {"--home", r.Home}, {"--front", front}} {
		if f[1] != "" {
			words = append(words, f[0], word(f[1]))
		}
	}
	return strings.Join(words, " ") + " || { [ $? = 2 ] || echo 'remit: the hook failed, so the call is denied' >&2; exit 2; }"
}

// canary is the call that must be denied by who it must be denied by: a hook that reaches nobody denies as well.
func canary(line, input string) *Canary {
	return &Canary{Line: line, Input: input, Wants: []string{"remit-canary", "reached the authority"}}
}

// server is one MCP server as the agent's configuration names it.
type server struct{ name, url string }

// servers are Remit itself and each server that the task reaches. No name has an underscore in it, which Gemini CLI could
// not take apart; and for Codex, which makes underscores of dashes where it names tools, none has a dash. What is declared
// has no underscores, so no two names become one.
func (r Run) servers() []server {
	at := r.Front + "/v1/orgs/" + string(r.Org) + "/mcp/"
	out := []server{{"remit", at + "remit"}}
	for _, s := range r.MCP {
		if s != "remit" {
			name := "remit-" + s
			if r.underscores {
				name = strings.ReplaceAll(name, "-", "_")
			}
			out = append(out, server{name, at + s})
		}
	}
	return out
}

// names are those of servers, as the hook takes them: calls of these pass the gateway, which judges them.
func (r Run) names() string {
	var out []string
	for _, s := range r.servers() {
		out = append(out, s.name)
	}
	return strings.Join(out, ",")
}

// headers are sent with every message to a server.
func (r Run) headers() map[string]string {
	h := map[string]string{}
	if r.Bearer != "" { // in a sandbox the port wants none
		h["Authorization"] = "Bearer " + r.Bearer
	}
	if r.Unattended {
		h["Remit-Unattended"] = "1"
	}
	return h
}

// alone adds to r that an agent runs on its own, where one of its arguments says so.
func (r Run) alone(own []string, says ...string) Run {
	for _, arg := range own {
		if arg == "--" {
			break
		}
		r.Unattended = r.Unattended || slices.Contains(says, arg)
	}
	return r
}

// person is a path below the person's home, or below where a variable says that the agent's own directory is.
func (r Run) person(variable, below string) string {
	if dir := r.Getenv(variable); variable != "" && filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(r.Home, below)
}

// members reads the members of a JSON object of the person's that keep names. What cannot be read is as if it were not
// there: the agent starts as if it were new.
func (r Run) members(file string, keep ...string) map[string]json.RawMessage {
	out := map[string]json.RawMessage{}
	raw, err := r.ReadFile(file)
	if err != nil {
		return out
	}
	var all map[string]json.RawMessage
	if json.Unmarshal(raw, &all) != nil {
		return out
	}
	for _, k := range keep {
		if v, ok := all[k]; ok {
			out[k] = v
		}
	}
	return out
}

// carry is a file of the person's as it is, if there is one.
func (r Run) carry(from, name string) []File {
	b, err := r.ReadFile(from)
	if err != nil || len(b) > 1<<20 {
		return nil
	}
	return []File{{name, b}}
}

// logins are those of the person's logins that exist.
func (r Run) logins(all ...Login) []Login {
	var out []Login
	for _, l := range all {
		if _, err := r.ReadFile(l.From); err == nil {
			out = append(out, l)
		}
	}
	return out
}

// repository reads a JSON file of the repository's; nil where there is none.
func (r Run) repository(name string) (map[string]json.RawMessage, error) {
	file := filepath.Join(r.Tree, name)
	raw, err := r.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "%s cannot be read, and it could switch Remit's hook off: %w", file, err)
	}
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		return nil, remit.Errorf(remit.BadRequest, "%s is not plain JSON, so Remit cannot see whether it switches its hook off; take comments out of it", file)
	}
	return all, nil
}

// file is v as an indented JSON file.
func file(name string, v any) File {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		panic("agents: " + err.Error()) // maps and strings of our own always marshal
	}
	return File{name, b.Bytes()}
}
