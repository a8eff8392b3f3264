package mcp

import (
	"bytes"
	"encoding/json"

	"github.com/remit-dev/remit"
	"github.com/remit-dev/remit/gateway/mcp/internal/envelope"
	"github.com/remit-dev/remit/gateway/mcp/internal/ticket"
)

// maxStored bounds a stored call, in bytes, as the order of a remit.Request is bounded.
const maxStored = 32 << 10

// stored is the call as it is kept until people have decided. The same call is always the same bytes, whoever wrote its
// members in which order, because its digest is what the answer is found by.
func (c *call) stored() ([]byte, error) {
	params, err := envelope.Canonical(c.params, ticket.Claims)
	if err != nil {
		return nil, err
	}
	return c.storedAs(params)
}

// storedAs is the call with its params as envelope.Canonical writes them.
func (c *call) storedAs(params json.RawMessage) ([]byte, error) {
	b, err := json.Marshal(order{Server: c.server.Name, Method: c.method, Params: params})
	if err != nil {
		return nil, remit.Errorf(remit.BadRequest, "the call cannot be stored: %w", err)
	}
	return b, nil
}

// readOrder reads a stored call.
func readOrder(body []byte) (o order, err error) {
	if err := remit.DecodeStrict(bytes.NewReader(body), 2*maxStored, &o); err != nil {
		return order{}, remit.Errorf(remit.Internal, "the stored call cannot be read: %w", err)
	}
	return o, nil
}
