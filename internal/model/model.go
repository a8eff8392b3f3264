// Package model is a language model by script, for tests: it speaks the APIs of the models that coding agents are written
// for, and answers with the tool calls that it was given, one after the other. What the agent hands back is kept, so that a
// test sees what a model would have learnt.
package model

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// Step is one turn: a line for the agent's shell, a call of a tool of an MCP server, or the last words.
type Step struct {
	Shell        string
	Server, Tool string
	Args         map[string]any
	Say          string
}

// Model answers conversations. The step that it takes is the number of results that the conversation has, so it keeps
// nothing between requests.
type Model struct {
	Steps []Step

	mu      sync.Mutex
	results []string
	tools   []string
	seen    []string
}

// Results are what the tools gave, in the order of the steps.
func (m *Model) Results() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.results...)
}

// Tools are the names of the tools that the agent offered last.
func (m *Model) Tools() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.tools...)
}

// Requests are the bodies of all requests, for a test that failed.
func (m *Model) Requests() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.seen...)
}

// ServeHTTP finds the API by its path.
func (m *Model) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 32<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	m.mu.Lock()
	m.seen = append(m.seen, r.Method+" "+r.URL.Path+"\n"+string(body))
	m.mu.Unlock()
	switch path := r.URL.Path; {
	case strings.HasSuffix(path, "/messages"):
		m.anthropic(w, body)
	case strings.HasSuffix(path, "/messages/count_tokens"):
		reply(w, map[string]any{"input_tokens": 1})
	case strings.HasSuffix(path, "/responses"):
		m.openai(w, body)
	case strings.Contains(path, ":streamGenerateContent"), strings.Contains(path, ":generateContent"):
		m.gemini(w, body, strings.Contains(path, ":stream"))
	case strings.HasSuffix(path, ":countTokens"):
		reply(w, map[string]any{"totalTokens": 1})
	case strings.HasSuffix(path, "/models"):
		reply(w, map[string]any{"object": "list", "data": []any{}, "models": []any{}})
	default:
		http.Error(w, "{}", http.StatusNotFound)
	}
}

// next notes what a conversation has come to, and gives the step that follows. A conversation without tools is the agent's
// own business, such as a title.
func (m *Model) next(tools, results []string) Step {
	if len(tools) == 0 {
		return Step{Say: "ok"}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.tools = tools
	if len(results) >= len(m.results) {
		m.results = results
	}
	if len(results) < len(m.Steps) {
		return m.Steps[len(results)]
	}
	return Step{Say: "done"}
}

// named finds a tool among those that are offered: by its whole name, or by server and tool, whatever the agent puts
// between and before them.
func named(tools []string, s Step, shells ...string) string {
	for _, t := range tools {
		if s.Tool == "" {
			for _, name := range shells {
				if t == name {
					return t
				}
			}
		} else if t == s.Tool || s.Server != "" && strings.Contains(t, s.Server) && strings.HasSuffix(t, s.Tool) {
			return t
		}
	}
	return "no_such_tool"
}

func reply(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // the agent is gone: there is nobody to tell
}

// events writes server-sent events; the name is left out where it is empty.
func events(w http.ResponseWriter) func(name string, v any) {
	w.Header().Set("Content-Type", "text/event-stream")
	return func(name string, v any) {
		b, err := json.Marshal(v)
		if err != nil {
			panic(err) // plain values only
		}
		if name != "" {
			fmt.Fprintf(w, "event: %s\n", name)
		}
		fmt.Fprintf(w, "data: %s\n\n", b)
		if f, ok := w.(http.Flusher); ok {
			f.Flush()
		}
	}
}

// text is what a member that is a string, or a list of parts with text, says.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	var parts []struct {
		Text string `json:"text"`
	}
	if json.Unmarshal(raw, &parts) == nil {
		for _, p := range parts {
			s += p.Text
		}
		return s
	}
	return string(raw)
}
