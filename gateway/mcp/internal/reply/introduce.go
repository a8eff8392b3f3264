package reply

import (
	"encoding/json"
	"slices"

	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// Introduce is how Remit presents itself as a server that has tools: the result of server/discover, or of initialize with
// those params.
func Introduce(method string, params json.RawMessage, instructions string) json.RawMessage {
	info := map[string]string{"name": "remit", "title": "Remit", "version": "1"}
	if method == "server/discover" {
		return envelope.Encode(map[string]any{"resultType": "complete", "supportedVersions": envelope.Versions, "instructions": instructions, "ttlMs": 0, "cacheScope": "private",
			"capabilities": map[string]any{"tools": struct{}{}, "extensions": map[string]any{envelope.TasksExtension: struct{}{}}},
			"_meta":        map[string]any{"io.modelcontextprotocol/serverInfo": info}})
	}
	var asked string
	_ = json.Unmarshal(envelope.Member(params, "protocolVersion"), &asked) // what is none gets the newest that has this method
	if !slices.Contains(envelope.Versions[1:], asked) {
		asked = envelope.Versions[1]
	}
	return envelope.Encode(map[string]any{"protocolVersion": asked, "capabilities": map[string]any{"tools": struct{}{}}, "serverInfo": info, "instructions": instructions})
}
