package model

import (
	"encoding/json"
	"fmt"
	"net/http"
)

type obj = map[string]any

// anthropic is the Messages API, with streaming (https://docs.anthropic.com/en/api/messages-streaming).
func (m *Model) anthropic(w http.ResponseWriter, body []byte) {
	var in struct {
		Stream bool `json:"stream"`
		Tools  []struct {
			Name string `json:"name"`
		} `json:"tools"`
		Messages []struct {
			Content json.RawMessage `json:"content"`
		} `json:"messages"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var tools, results []string
	for _, t := range in.Tools {
		tools = append(tools, t.Name)
	}
	for _, msg := range in.Messages {
		var parts []struct {
			Type    string          `json:"type"`
			Content json.RawMessage `json:"content"`
		}
		_ = json.Unmarshal(msg.Content, &parts) // a string: no parts
		for _, p := range parts {
			if p.Type == "tool_result" {
				results = append(results, text(p.Content))
			}
		}
	}
	s := m.next(tools, results)
	block, delta, stop := obj{"type": "text", "text": ""}, obj{"type": "text_delta", "text": s.Say}, "end_turn"
	whole := obj{"type": "text", "text": s.Say}
	if s.Say == "" {
		args := s.Args
		if s.Shell != "" {
			args = obj{"command": s.Shell, "description": "a step"}
		}
		b, err := json.Marshal(args)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		id, name := fmt.Sprintf("toolu_%02d", len(results)), named(tools, s, "Bash")
		block = obj{"type": "tool_use", "id": id, "name": name, "input": obj{}}
		whole = obj{"type": "tool_use", "id": id, "name": name, "input": args}
		delta, stop = obj{"type": "input_json_delta", "partial_json": string(b)}, "tool_use"
	}
	message := obj{"id": "msg_1", "type": "message", "role": "assistant", "model": "scripted", "content": []any{}, "stop_reason": nil, "stop_sequence": nil,
		"usage": obj{"input_tokens": 1, "output_tokens": 1}}
	if !in.Stream {
		message["content"], message["stop_reason"] = []any{whole}, stop
		reply(w, message)
		return
	}
	say := events(w)
	say("message_start", obj{"type": "message_start", "message": message})
	say("content_block_start", obj{"type": "content_block_start", "index": 0, "content_block": block})
	say("content_block_delta", obj{"type": "content_block_delta", "index": 0, "delta": delta})
	say("content_block_stop", obj{"type": "content_block_stop", "index": 0})
	say("message_delta", obj{"type": "message_delta", "delta": obj{"stop_reason": stop, "stop_sequence": nil}, "usage": obj{"output_tokens": 1}})
	say("message_stop", obj{"type": "message_stop"})
}

// openai is the Responses API, with streaming (https://platform.openai.com/docs/api-reference/responses-streaming).
func (m *Model) openai(w http.ResponseWriter, body []byte) {
	var in struct {
		Tools []struct {
			Type  string `json:"type"`
			Name  string `json:"name"`
			Tools []struct {
				Name string `json:"name"`
			} `json:"tools"` // of a namespace: those of one MCP server
		} `json:"tools"`
		Input []struct {
			Type   string          `json:"type"`
			Output json.RawMessage `json:"output"`
		} `json:"input"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var tools, results []string
	space := map[string][2]string{} // whole name: namespace and name
	for _, t := range in.Tools {
		tools = append(tools, t.Name)
		for _, sub := range t.Tools {
			whole := t.Name + "__" + sub.Name
			tools, space[whole] = append(tools, whole), [2]string{t.Name, sub.Name}
		}
	}
	for _, i := range in.Input {
		if i.Type == "function_call_output" || i.Type == "custom_tool_call_output" {
			results = append(results, text(i.Output))
		}
	}
	s := m.next(tools, results)
	item := obj{"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "content": []any{obj{"type": "output_text", "text": s.Say, "annotations": []any{}}}}
	if s.Say == "" {
		name := named(tools, s, "exec_command", "shell_command", "shell", "local_shell")
		args := s.Args
		if s.Shell != "" {
			args = obj{"cmd": s.Shell, "command": s.Shell}
		}
		b, err := json.Marshal(args)
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		item = obj{"type": "function_call", "id": fmt.Sprintf("fc_%d", len(results)), "call_id": fmt.Sprintf("c%d", len(results)), "name": name, "arguments": string(b), "status": "completed"}
		if parts, ok := space[name]; ok {
			item["namespace"], item["name"] = parts[0], parts[1]
		}
	}
	say := events(w)
	response := obj{"id": "resp_1", "object": "response", "status": "in_progress", "output": []any{}}
	say("response.created", obj{"type": "response.created", "response": response})
	say("response.output_item.added", obj{"type": "response.output_item.added", "output_index": 0, "item": item})
	say("response.output_item.done", obj{"type": "response.output_item.done", "output_index": 0, "item": item})
	say("response.completed", obj{"type": "response.completed", "response": obj{"id": "resp_1", "object": "response", "status": "completed", "output": []any{item},
		"usage": obj{"input_tokens": 1, "input_tokens_details": obj{"cached_tokens": 0}, "output_tokens": 1, "output_tokens_details": obj{"reasoning_tokens": 0}, "total_tokens": 2}}})
}

// gemini is generateContent, with and without streaming (https://ai.google.dev/api/generate-content).
func (m *Model) gemini(w http.ResponseWriter, body []byte, stream bool) {
	var in struct {
		Tools []struct {
			Functions []struct {
				Name string `json:"name"`
			} `json:"functionDeclarations"`
		} `json:"tools"`
		Contents []struct {
			Parts []struct {
				Response *struct {
					Name     string          `json:"name"`
					Response json.RawMessage `json:"response"`
				} `json:"functionResponse"`
			} `json:"parts"`
		} `json:"contents"`
	}
	if err := json.Unmarshal(body, &in); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var tools, results []string
	for _, t := range in.Tools {
		for _, f := range t.Functions {
			tools = append(tools, f.Name)
		}
	}
	for _, c := range in.Contents {
		for _, p := range c.Parts {
			if p.Response != nil {
				results = append(results, string(p.Response.Response))
			}
		}
	}
	s := m.next(tools, results)
	part := obj{"text": s.Say}
	if s.Say == "" {
		args := s.Args
		if s.Shell != "" {
			args = obj{"command": s.Shell, "description": "a step"}
		}
		part = obj{"functionCall": obj{"id": fmt.Sprintf("f%d", len(results)), "name": named(tools, s, "run_shell_command"), "args": args}}
	}
	answer := obj{"candidates": []any{obj{"index": 0, "content": obj{"role": "model", "parts": []any{part}}, "finishReason": "STOP"}},
		"usageMetadata": obj{"promptTokenCount": 1, "candidatesTokenCount": 1, "totalTokenCount": 2}}
	if !stream {
		reply(w, answer)
		return
	}
	events(w)("", answer)
}
