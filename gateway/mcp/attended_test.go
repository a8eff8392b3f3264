package mcp

import (
	"net/http"
	"testing"

	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
)

// Whoever runs an agent on its own says so, and then the agent's word that it shows people pages counts for nothing.
func TestUnattended(t *testing.T) {
	can := envelope.Capabilities{ElicitURL: true, Tasks: true}
	r := &http.Request{Header: http.Header{}}
	if got := attended(r, can); got != can {
		t.Errorf("%+v", got)
	}
	r.Header.Set("Remit-Unattended", "1")
	if got := attended(r, can); got != (envelope.Capabilities{Tasks: true}) {
		t.Errorf("%+v", got)
	}
}
