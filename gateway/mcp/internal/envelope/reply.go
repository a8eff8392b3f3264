package envelope

import (
	"bytes"
	"encoding/json"
)

// Reply is one answer of Remit's own.
type Reply struct {
	Version string          `json:"jsonrpc"`
	ID      json.RawMessage `json:"id,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Error   json.RawMessage `json:"error,omitempty"`
}

// Error is the member error of an answer (JSON-RPC 2.0 §5.1).
type Error struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
	Data    any    `json:"data,omitempty"`
}

// Encode writes what is made of plain values.
func Encode(v any) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return json.RawMessage("null")
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// ClientInfo is how Remit calls itself. It can do nothing of what a server may ask of a client.
var ClientInfo = map[string]string{"name": "remit", "version": "1"}

// WithMeta adds what every request of the stateless protocol says of its client.
func WithMeta(params json.RawMessage, version string) (json.RawMessage, error) {
	var members, meta map[string]json.RawMessage
	if params != nil {
		if err := json.Unmarshal(params, &members); err != nil {
			return nil, err
		}
	}
	if m := members["_meta"]; m != nil {
		if err := json.Unmarshal(m, &meta); err != nil {
			return nil, err
		}
	}
	if members == nil {
		members = map[string]json.RawMessage{}
	}
	if meta == nil {
		meta = map[string]json.RawMessage{}
	}
	meta["io.modelcontextprotocol/protocolVersion"] = Encode(version)
	meta["io.modelcontextprotocol/clientInfo"] = Encode(ClientInfo)
	meta["io.modelcontextprotocol/clientCapabilities"] = Encode(struct{}{})
	members["_meta"] = Encode(meta)
	return Encode(members), nil
}
